"""The Python `rabbitmqadmin` that RabbitMQ up to 4.2 brings, run as operators' scripts run it.

`RABBITMQADMIN` names the script, and `HTTP_URL` the HTTP API. Each check works in a vhost of its own.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

import pika
from pika.exceptions import ConnectionClosedByBroker

from harness import URL, check, equal, main, raises, unique, until

SCRIPT = os.environ["RABBITMQADMIN"]
API = urllib.parse.urlsplit(os.environ.get("HTTP_URL", "http://127.0.0.1:15672"))


def start(*arguments, user="guest", password="guest", stdin=""):
    """Runs the script to its end."""
    command = [sys.executable, SCRIPT, "-H", API.hostname, "-P", str(API.port), "-u", user, "-p", password]
    return subprocess.run([*command, *arguments], input=stdin, capture_output=True, text=True, timeout=60)


def admin(*arguments, **options):
    """What the script prints; it has to succeed."""
    ended = start(*arguments, **options)
    assert ended.returncode == 0, f"{arguments}: exit code {ended.returncode}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def fails(message, *arguments, **options):
    """The script has to end with exit code 1 and to say `message`."""
    ended = start(*arguments, **options)
    equal(ended.returncode, 1, f"exit code of {arguments}: {ended.stdout}{ended.stderr}")
    said = ended.stdout + ended.stderr
    assert message in said, f"{arguments}: {message!r} is not in {said!r}"


def rows(*arguments):
    """A listing with tabs, without the columns' names."""
    printed = admin("-q", "-f", "tsv", *arguments)
    return sorted(tuple(line.split("\t")) for line in printed.splitlines())


def documents(*arguments):
    """A listing as JSON."""
    return json.loads(admin("-f", "raw_json", *arguments))


@contextlib.contextmanager
def vhost():
    """A vhost in which guest may do everything."""
    name = unique("v1")
    equal(admin("declare", "vhost", f"name={name}"), "vhost declared\n")
    said = admin("declare", "permission", f"vhost={name}", "user=guest", "configure=.*", "write=.*", "read=.*")
    equal(said, "permission declared\n")
    try:
        yield name
    finally:
        equal(admin("delete", "vhost", f"name={name}"), "vhost deleted\n")


@check
def help_and_version():
    assert "rabbitmqadmin" in admin("--version")
    assert "declare queue name=..." in admin("help", "subcommands")


@check
def overview_is_shown():
    (row,) = rows("show", "overview", "rabbitmq_version", "node", "object_totals.queues")
    assert row[0][0].isdigit() and "@" in row[1] and row[2].isdigit(), row
    table = admin("show", "overview")
    assert "rabbitmq_version" in table and "object_totals.queues" in table, table
    (node,) = documents("list", "nodes")
    assert node["running"] and node["mem_used"] > 0, node
    assert node["name"] in admin("list", "nodes")


@check
def exchanges():
    with vhost() as v:
        alternate = json.dumps({"alternate-exchange": "amq.fanout"})
        said = admin("-V", v, "declare", "exchange", "name=orders", "type=topic", f"arguments={alternate}")
        equal(said, "exchange declared\n")
        admin("-V", v, "declare", "exchange", "name=inner", "type=fanout", "internal=true", "durable=false", "auto_delete=true")
        (orders,) = [e for e in documents("-V", v, "list", "exchanges") if e["name"] == "orders"]
        equal((orders["durable"], orders["auto_delete"], orders["internal"]), (True, False, False))
        equal(orders["arguments"], {"alternate-exchange": "amq.fanout"})
        columns = ("list", "exchanges", "name", "type", "durable", "auto_delete", "internal")
        found = [e for e in documents("-V", v, *columns) if e["name"] == "inner"]
        equal(found, [{"name": "inner", "type": "fanout", "durable": False, "auto_delete": True, "internal": True}])
        # Again and the same is fine; otherwise it says why not.
        admin("-V", v, "declare", "exchange", "name=orders", "type=topic", f"arguments={alternate}")
        fails("inequivalent arg 'type' for exchange 'orders'", "-V", v, "declare", "exchange", "name=orders", "type=direct")
        fails("exchange type 'none'", "-V", v, "declare", "exchange", "name=other", "type=none")
        equal(admin("-V", v, "delete", "exchange", "name=inner"), "exchange deleted\n")
        fails("Not found: /api/exchanges/", "-V", v, "delete", "exchange", "name=inner")


@check
def queues_and_bindings():
    with vhost() as v:
        arguments = json.dumps({"x-max-length": 10, "x-message-ttl": 60000})
        equal(admin("-V", v, "declare", "queue", "name=jobs", f"arguments={arguments}"), "queue declared\n")
        admin("-V", v, "declare", "queue", "name=safe", "queue_type=quorum")
        found = documents("-V", v, "list", "queues", "name", "durable", "auto_delete", "arguments", "type")
        jobs, safe = sorted(found, key=lambda queue: queue["name"])
        equal(jobs["arguments"]["x-max-length"], 10)
        equal((jobs["type"], safe["type"], safe["arguments"]["x-queue-type"]), ("classic", "quorum", "quorum"))
        said = admin("-V", v, "declare", "binding", "source=amq.topic", "destination=jobs", "routing_key=a.#")
        equal(said, "binding declared\n")
        to_exchange = ("destination_type=exchange", "destination=amq.direct", "routing_key=b")
        admin("-V", v, "declare", "binding", "source=amq.topic", *to_exchange)
        expected = [("", "jobs", "jobs"), ("", "safe", "safe"), ("amq.topic", "amq.direct", "b"), ("amq.topic", "jobs", "a.#")]
        equal(rows("-V", v, "list", "bindings", "source", "destination", "routing_key"), expected)
        key = rows("-V", v, "list", "bindings", "routing_key", "properties_key")
        assert ("a.#", "a.%23") in key, key
        delete = ("delete", "binding", "source=amq.topic", "destination_type=queue", "destination=jobs")
        fails("Not found", "-V", v, *delete, "properties_key=a.b")
        equal(admin("-V", v, *delete, "properties_key=a.%23"), "binding deleted\n")
        equal(len(rows("-V", v, "list", "bindings", "source")), 3)
        fails("inequivalent arg 'x-message-ttl'", "-V", v, "declare", "queue", "name=jobs", 'arguments={"x-max-length":11}')
        equal(admin("-V", v, "delete", "queue", "name=jobs"), "queue deleted\n")
        fails("Not found: /api/queues/", "-V", v, "delete", "queue", "name=jobs")


@check
def messages_are_published_got_and_purged():
    with vhost() as v:
        admin("-V", v, "declare", "queue", "name=in")
        properties = 'properties={"delivery_mode":2,"headers":{"n":1}}'
        said = admin("-V", v, "publish", "routing_key=in", "payload=hello", properties)
        equal(said, "Message published\n")
        equal(admin("-V", v, "publish", "exchange=amq.default", "routing_key=in", stdin="from stdin"), "Message published\n")
        said = admin("-V", v, "publish", "routing_key=nowhere", "payload=lost")
        equal(said, "Message published but NOT routed\n")
        first, second = documents("-V", v, "get", "queue=in", "count=5")
        equal((first["payload"], second["payload"]), ("hello", "from stdin"))
        equal((first["message_count"], first["redelivered"], first["payload_bytes"]), (1, False, 5))
        equal(first["properties"], {"delivery_mode": 2, "headers": {"n": 1}})
        table = admin("-V", v, "get", "queue=in", "ackmode=ack_requeue_false")
        assert "hello" in table and "True" in table, table
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "payload")
            admin("-V", v, "get", "queue=in", f"payload_file={path}", "ackmode=reject_requeue_true")
            equal(path.read_text(), "from stdin")
        ready = lambda: rows("-V", v, "list", "queues", "name", "messages") == [("in", "1")]
        until("the count of messages is told", ready)
        equal(admin("-V", v, "purge", "queue", "name=in"), "queue purged\n")
        equal(documents("-V", v, "get", "queue=in"), [])
        equal(admin("-V", v, "get", "queue=in"), "No items\n")
        fails("Not found", "-V", v, "get", "queue=none")


@check
def users_and_permissions():
    name = unique("user")
    equal(admin("declare", "user", f"name={name}", "password=secret", "tags=monitoring,management"), "user declared\n")
    try:
        (found,) = [u for u in documents("list", "users") if u["name"] == name]
        equal(found["hashing_algorithm"], "rabbit_password_hashing_sha256")
        equal(found["tags"], ["monitoring", "management"])
        # An export's hash is accepted as it is.
        admin("declare", "user", f"name={name}", f"password_hash={found['password_hash']}", "tags=monitoring")
        fails("Access refused: /api/overview", "show", "overview", user=name, password="wrong")
        admin("show", "overview", user=name, password="secret")
        with vhost() as v:
            admin("declare", "permission", f"vhost={v}", f"user={name}", "configure=^c", "write=", "read=.*")
            found = [p for p in documents("list", "permissions") if p["user"] == name]
            equal(found, [{"user": name, "vhost": v, "configure": "^c", "write": "", "read": ".*"}])
            fails("Access refused", "-V", v, "declare", "queue", "name=other", user=name, password="secret")
            equal(admin("delete", "permission", f"vhost={v}", f"user={name}"), "permission deleted\n")
            equal([p for p in documents("list", "permissions") if p["user"] == name], [])
        fails("Access refused", "delete", "user", f"name={name}", user=name, password="secret")
    finally:
        equal(admin("delete", "user", f"name={name}"), "user deleted\n")
    fails("Not found", "delete", "user", f"name={name}")


@check
def policies():
    with vhost() as v:
        definition = 'definition={"max-length":7}'
        said = admin("-V", v, "declare", "policy", "name=short", "pattern=^q", definition, "apply-to=queues", "priority=3")
        equal(said, "policy declared\n")
        said = admin("-V", v, "declare", "operator_policy", "name=limit", "pattern=.*", definition, "apply-to=queues")
        equal(said, "operator_policy declared\n")
        admin("-V", v, "declare", "queue", "name=q")
        both = lambda: rows("-V", v, "list", "queues", "policy", "operator_policy") == [("short", "limit")]
        until("the queue has its policies", both)
        (found,) = [p for p in documents("list", "policies") if p["vhost"] == v]
        expected = {"apply-to": "queues", "definition": {"max-length": 7}, "name": "short", "pattern": "^q", "priority": 3, "vhost": v}
        equal(found, expected)
        (found,) = [p for p in documents("list", "operator_policies") if p["vhost"] == v]
        equal((found["name"], found["priority"]), ("limit", 0))
        fails("Validation failed", "-V", v, "declare", "policy", "name=bad", "pattern=.*", 'definition={"max-length":"a"}')
        equal(admin("-V", v, "delete", "policy", "name=short"), "policy deleted\n")
        equal(admin("-V", v, "delete", "operator_policy", "name=limit"), "operator_policy deleted\n")
        equal([p for p in documents("list", "policies") if p["vhost"] == v], [])


@check
def limits_and_parameters():
    with vhost() as v:
        admin("declare", "vhost_limit", f"vhost={v}", "name=max-queues", "value=1")
        equal([limit["value"] for limit in documents("list", "vhost_limits") if limit["vhost"] == v], [{"max-queues": 1}])
        admin("-V", v, "declare", "queue", "name=one")
        fails("queue limit", "-V", v, "declare", "queue", "name=two")
        equal(admin("delete", "vhost_limit", f"vhost={v}", "name=max-queues"), "vhost_limit deleted\n")
        equal(isinstance(documents("list", "parameters"), list), True)
        upstream = ("component=none", "name=n", 'value={"a":1}')
        fails("component none not found", "-V", v, "declare", "parameter", *upstream)


@check
def definitions_come_back():
    with vhost() as v, tempfile.TemporaryDirectory() as folder:
        whole, one = pathlib.Path(folder, "all.json"), pathlib.Path(folder, "one.json")
        admin("-V", v, "declare", "queue", "name=kept", 'arguments={"x-expires":1800000}')
        admin("-V", v, "declare", "binding", "source=amq.fanout", "destination=kept", "routing_key=r")
        assert "Exported definitions" in admin("export", str(whole))
        admin("-V", v, "export", str(one))
        definitions = json.loads(whole.read_text())
        for key in ("rabbitmq_version", "users", "vhosts", "permissions", "parameters", "policies", "queues", "exchanges", "bindings"):
            assert key in definitions, key
        admin("-V", v, "delete", "queue", "name=kept")
        assert "Uploaded definitions" in admin("-V", v, "import", str(one))
        equal(rows("-V", v, "list", "queues", "name"), [("kept",)])
        admin("-V", v, "delete", "queue", "name=kept")
        admin("import", str(whole))
        equal(rows("-V", v, "list", "queues", "name"), [("kept",)])
        assert ("amq.fanout", "kept", "r") in rows("-V", v, "list", "bindings", "source", "destination", "routing_key")
        one.write_text("{")
        fails("", "-V", v, "import", str(one))


@check
def connections_are_listed_and_closed():
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    connection.channel().basic_consume(queue="amq.rabbitmq.reply-to", on_message_callback=print, auto_ack=True)
    local = connection._impl._transport._sock.getsockname()  # pika has no public call that tells it
    end = f"{local[0]}:{local[1]} ->"
    mine = lambda: [c for c in documents("list", "connections") if c["name"].startswith(end)]
    running = lambda: [c for c in mine() if c["state"] == "running"]
    (found,) = until("the connection is listed", running)
    equal((found["user"], found["protocol"]), ("guest", "AMQP 0-9-1"))
    until("its channel is listed", lambda: [c for c in rows("list", "channels", "name") if c[0].startswith(end)])
    rows("list", "consumers")
    assert end in admin("list", "connections")
    equal(admin("close", "connection", f"name={found['name']}"), "connection closed\n")
    with raises(ConnectionClosedByBroker) as caught:
        connection.process_data_events(time_limit=60)
    equal(caught.error.reply_code, 320)
    until("the connection is gone", lambda: not mine())


@check
def formats_sorting_and_depth():
    with vhost() as v:
        for name in ("a", "c", "b"):
            admin("-V", v, "declare", "queue", f"name={name}")
        names = lambda *options: [q["name"] for q in documents("-V", v, *options, "list", "queues")]
        equal(names("-S", "name"), ["a", "b", "c"])
        equal(names("-S", "name", "-R"), ["c", "b", "a"])
        for form in ("long", "kvp", "bash", "table"):
            printed = admin("-V", v, "-f", form, "list", "queues", "name")
            assert all(name in printed for name in "abc"), (form, printed)
        equal([q["name"] for q in json.loads(admin("-V", v, "-f", "pretty_json", "-S", "name", "list", "queues", "name"))], ["a", "b", "c"])
        # Everything there is, nested objects as columns of their own.
        deep = admin("-V", v, "-d", "3", "-f", "long", "list", "queues")
        assert "arguments" in deep or "name: a" in deep, deep


@check
def base_uri_and_configuration_file():
    base = f"http://{API.hostname}:{API.port}"
    command = [sys.executable, SCRIPT, "-U", base, "-u", "guest", "-p", "guest", "list", "vhosts", "name"]
    assert "/" in subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rabbitmqadmin.conf")
        path.write_text(f"[here]\nhostname = {API.hostname}\nport = {API.port}\nusername = guest\npassword = guest\n")
        command = [sys.executable, SCRIPT, "-c", str(path), "-N", "here", "show", "overview"]
        assert "cluster_name" in subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


@check
def over_tls():
    """At a broker that `cargo xtask interop` has started."""
    if "HTTPS_URL" not in os.environ:
        return
    at = urllib.parse.urlsplit(os.environ["HTTPS_URL"])
    ca = os.path.join(os.environ["TLS_DIRECTORY"], "ca_certificate.pem")
    command = ("-H", at.hostname, "-P", str(at.port), "-s", "show", "overview")
    assert "rabbitmq_version" in admin("--ssl-ca-cert-file", ca, *command)
    assert "rabbitmq_version" in admin("-k", *command)
    fails("CERTIFICATE_VERIFY_FAILED", *command)


@check
def wrong_calls_end_with_a_code():
    for arguments in (["list", "none"], ["declare", "queue"], ["declare", "queue", "name"], ["frobnicate"]):
        ended = start(*arguments)
        assert ended.returncode != 0, arguments
    fails("Could not connect", "-P", "1", "show", "overview")


if __name__ == "__main__":
    main()
