"""rabbitmqadmin v2, run as operators' scripts run it: every group of commands, tables and files, exit codes.

`RABBITMQADMIN` names the program, and `HTTP_URL` the HTTP API. Each check works in a vhost of its own.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.parse

import pika
from pika.exceptions import ConnectionClosedByBroker

from harness import URL, check, equal, main, raises, unique, until

PROGRAM = os.environ["RABBITMQADMIN"]
API = urllib.parse.urlsplit(os.environ.get("HTTP_URL", "http://127.0.0.1:15672"))

# The program's exit codes, of sysexits.h.
USAGE = 64
DATA = 65
UNAVAILABLE = 69


def start(*arguments, user="guest", password="guest", stdin=""):
    """Runs the program to its end."""
    command = [PROGRAM, "-H", API.hostname, "-P", str(API.port), "-u", user, "-p", password, *arguments]
    # No configuration of this machine has a say.
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, env={"HOME": home})


def admin(*arguments, **options):
    """What the program prints; it has to succeed."""
    ended = start(*arguments, **options)
    assert ended.returncode == 0, f"{arguments}: exit code {ended.returncode}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def fails(code, message, *arguments, **options):
    """The program has to end with this exit code and to say `message`."""
    ended = start(*arguments, **options)
    said = ended.stdout + ended.stderr
    equal(ended.returncode, code, f"exit code of {arguments}: {said}")
    assert message in said, f"{arguments}: {message!r} is not in {said!r}"


def rows(*arguments):
    """The cells of a table, without the columns' names."""
    printed = admin("--table-style", "markdown", *arguments)
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in printed.splitlines() if line.startswith("|")]
    # Above the rule are the columns' names, and some tables have a title below which the rule is.
    rule = next(at for at, line in enumerate(lines) if set("".join(line)) <= {"-"})
    found = []
    for line in lines[rule + 1 :]:
        if found and not any(line[:2]):
            # More lines of the cells above.
            found[-1] = [" ".join([above, cell]).strip() for above, cell in zip(found[-1], line)]
        else:
            found.append(line)
    return found


def names(*arguments):
    """The first column of a table, sorted."""
    return sorted(row[0] for row in rows(*arguments))


@contextlib.contextmanager
def vhost():
    """A vhost; who creates it may do everything there."""
    name = unique("v2")
    equal(admin("vhosts", "declare", "--name", name), "")
    try:
        yield name
    finally:
        admin("vhosts", "delete", "--name", name)


@check
def overview_nodes_and_endpoint():
    table = admin("show", "overview")
    assert "RabbitMQ version" in table and "Product name" in table, table
    assert "Client connections opened" in admin("show", "churn")
    assert f"{API.hostname}:{API.port}" in admin("show", "endpoint")
    (node,) = rows("nodes", "list")
    assert "@" in node[0], node
    for command in ("memory_breakdown_in_bytes", "memory_breakdown_in_percent"):
        for group in ("show", "nodes"):
            assert "otal" in admin(group, command, "--node", node[0])
    assert "rabbitmq_management" in admin("plugins", "list_all")
    assert "rabbitmq_management" in admin("plugins", "list_on_node", "--node", node[0])
    pika.BlockingConnection(pika.URLParameters(URL)).close()
    assert "amqp" in admin("auth_attempts", "stats", "--node", node[0])
    fails(DATA, "404", "show", "memory_breakdown_in_bytes", "--node", "rabbit@none")


@check
def health_checks():
    for command in ("local_alarms", "cluster_wide_alarms", "node_is_quorum_critical"):
        equal(admin("health_check", command), "health check passed\n")
    port = str(urllib.parse.urlsplit(URL).port)
    equal(admin("health_check", "port_listener", "--port", port), "health check passed\n")
    equal(admin("health_check", "protocol_listener", "--protocol", "amqp"), "health check passed\n")
    fails(UNAVAILABLE, "503", "health_check", "port_listener", "--port", "1")
    fails(UNAVAILABLE, "503", "health_check", "protocol_listener", "--protocol", "mqtt")


@check
def features():
    flags = {row[0]: row for row in rows("feature_flags", "list")}
    assert "enabled" in flags["quorum_queue"][1].lower(), flags["quorum_queue"]
    admin("feature_flags", "enable", "--name", "quorum_queue")
    admin("feature_flags", "enable_all")
    assert "global_qos" in admin("deprecated_features", "list")
    admin("deprecated_features", "list_used")


@check
def vhosts():
    name = unique("v2")
    declare = ("vhosts", "declare", "--name", name)
    admin(*declare, "--description", "of tests", "--default-queue-type", "quorum")
    assert name in names("vhosts", "list")
    (row,) = [row for row in rows("list", "vhosts") if row[0] == name]
    assert "quorum" in row and "of tests" in row, row
    admin("vhosts", "enable_deletion_protection", "--name", name)
    fails(DATA, "protected from deletion", "vhosts", "delete", "--name", name)
    admin("vhosts", "disable_deletion_protection", "--name", name)
    admin("vhosts", "delete", "--name", name)
    fails(DATA, "404", "vhosts", "delete", "--name", name)
    admin("vhosts", "delete", "--name", name, "--idempotently")
    many = [unique("many") for _ in range(3)]
    for each in many:
        admin("declare", "vhost", "--name", each)
    printed = admin("vhosts", "delete_multiple", "--name-pattern", r"^interop\.many\.", "--approve", "--output", "json")
    assert many[0] in printed and json.loads(printed), printed
    assert not set(many) & set(names("vhosts", "list"))


@check
def exchanges():
    with vhost() as v:
        declare = ("-V", v, "exchanges", "declare", "--name", "orders", "--type", "topic", "--durable", "true")
        admin(*declare, "--arguments", '{"alternate-exchange": "amq.fanout"}')
        admin("-V", v, "declare", "exchange", "--name", "fleeting", "--type", "fanout", "--durable", "false", "--auto-delete", "true")
        listed = {row[0]: row for row in rows("-V", v, "exchanges", "list")}
        assert "topic" in listed["orders"] and 'alternate-exchange: "amq.fanout"' in listed["orders"], listed["orders"]
        fails(DATA, "inequivalent arg 'type'", "-V", v, "exchanges", "declare", "--name", "orders", "--type", "direct")
        bind = ("--source", "orders", "--destination-type", "exchange", "--destination", "fleeting", "--routing-key", "a.#")
        admin("-V", v, "exchanges", "bind", *bind)
        assert "a.#" in admin("-V", v, "bindings", "list")
        admin("-V", v, "exchanges", "unbind", *bind)
        admin("-V", v, "exchanges", "delete", "--name", "orders")
        fails(DATA, "404", "-V", v, "exchanges", "delete", "--name", "orders")
        admin("-V", v, "delete", "exchange", "--name", "orders", "--idempotently")


@check
def queues_and_bindings():
    with vhost() as v:
        arguments = '{"x-max-length": 10, "x-message-ttl": 60000}'
        admin("-V", v, "queues", "declare", "--name", "jobs", "--type", "classic", "--durable", "true", "--arguments", arguments)
        admin("-V", v, "declare", "queue", "--name", "safe", "--type", "quorum")
        equal(names("-V", v, "queues", "list"), ["jobs", "safe"])
        equal(sorted(rows("-V", v, "queues", "list", "--columns", "name,queue_type")), [["jobs", "classic"], ["safe", "quorum"]])
        ((leader, members, online),) = rows("-V", v, "queues", "show", "--name", "safe", "--columns", "leader,members,online")
        assert "@" in leader and leader == members == online, (leader, members, online)
        equal(rows("-V", v, "queues", "show", "--name", "jobs", "--columns", "name,durable"), [["jobs", "true"]])
        equal(len(rows("-V", v, "queues", "list", "--page", "1", "--page-size", "1")), 1)
        for arguments in ([], ["--arguments", '{"k": "v"}']):
            binding = ["--source", "amq.topic", "--destination-type", "queue", "--destination", "jobs", "--routing-key", "a b/#", *arguments]
            admin("-V", v, "bindings", "declare", *binding)
            assert "a b/#" in admin("-V", v, "list", "bindings")
            admin("-V", v, "bindings", "delete", *binding)
            assert "a b/#" not in admin("-V", v, "list", "bindings")
            fails(DATA, "404", "-V", v, "bindings", "delete", *binding)
            admin("-V", v, "delete", "binding", *binding, "--idempotently")
        fails(DATA, "inequivalent arg", "-V", v, "queues", "declare", "--name", "safe", "--type", "classic")
        admin("-V", v, "queues", "purge", "--name", "jobs")
        admin("-V", v, "queues", "rebalance")
        admin("rebalance", "queues")
        admin("-V", v, "queues", "delete", "--name", "jobs")
        fails(DATA, "404", "-V", v, "queues", "show", "--name", "jobs")
        admin("-V", v, "queues", "delete", "--name", "jobs", "--idempotently")
        for n in range(3):
            admin("-V", v, "queues", "declare", "--name", f"many.{n}", "--type", "classic")
        admin("-V", v, "queues", "delete_multiple", "--name-pattern", "^many", "--dry-run")
        equal(len(names("-V", v, "queues", "list")), 4)
        printed = admin("-V", v, "queues", "delete_multiple", "--name-pattern", "^many", "--approve", "--output", "json")
        assert "many.1" in printed and json.loads(printed), printed
        equal(names("-V", v, "queues", "list"), ["safe"])


@check
def messages():
    with vhost() as v:
        admin("-V", v, "queues", "declare", "--name", "in", "--type", "quorum")
        publish = ("-V", v, "publish", "message", "--routing-key", "in")
        properties = '{"delivery_mode": 2, "message_id": "m1", "headers": {"n": 1}}'
        routed = "Message published and routed successfully\n"
        equal(admin(*publish, "--payload", "hello", "--properties", properties), routed)
        equal(admin(*publish, "--exchange", "amq.default", "--payload-file", "-", stdin="from stdin"), routed)
        assert "NOT" in admin("-V", v, "publish", "message", "--routing-key", "nowhere", "--payload", "lost")
        table = admin("-V", v, "get", "messages", "--queue", "in", "--count", "5", "--ack-mode", "ack_requeue_true")
        assert "hello" in table and "from stdin" in table and "m1" in table, table
        assert "hello" in admin("-V", v, "get", "messages", "--queue", "in", "--ack-mode", "ack_requeue_false")
        assert "from stdin" in admin("-V", v, "get", "messages", "--queue", "in", "--ack-mode", "reject_requeue_false")
        equal(rows("-V", v, "get", "messages", "--queue", "in"), [])
        admin(*publish, "--payload", "again")
        admin("-V", v, "purge", "queue", "--name", "in")
        equal(rows("-V", v, "get", "messages", "--queue", "in"), [])
        fails(DATA, "404", "-V", v, "get", "messages", "--queue", "none")


@check
def users_permissions_and_limits():
    name = unique("user")
    hashed = dict(row[:2] for row in rows("passwords", "salt_and_hash", "secret"))["password hash"]
    admin("users", "declare", "--name", name, "--password", "secret", "--tags", "monitoring management")
    try:
        assert name in names("users", "list")
        fails(DATA, "Not_Authorized", "show", "overview", user=name, password="wrong")
        admin("users", "declare", "--name", name, "--password-hash", hashed, "--tags", "monitoring")
        assert "RabbitMQ version" in admin("show", "overview", user=name, password="secret")
        fails(DATA, "", "vhosts", "declare", "--name", "none", user=name, password="secret")
        with vhost() as v:
            rights = ("--username", name, "--configure", "^c", "--read", ".*", "--write", "")
            admin("-V", v, "permissions", "declare", *rights)
            assert [name, v] in [row[:2] for row in rows("permissions", "list")], rows("permissions", "list")
            assert name in admin("users", "permissions")
            fails(DATA, "", "-V", v, "queues", "declare", "--name", "other", "--type", "classic", user=name, password="secret")
            admin("-V", v, "permissions", "delete", "--username", name)
            admin("-V", v, "permissions", "delete", "--username", name, "--idempotently")
            fails(DATA, "404", "-V", v, "permissions", "delete", "--username", name)
            admin("-V", v, "vhost_limits", "declare", "--name", "max-queues", "--value", "1")
            assert "max-queues" in admin("-V", v, "vhost_limits", "list")
            admin("-V", v, "queues", "declare", "--name", "one", "--type", "classic")
            fails(DATA, "limit", "-V", v, "queues", "declare", "--name", "two", "--type", "classic")
            admin("-V", v, "vhost_limits", "delete", "--name", "max-queues")
        admin("user_limits", "declare", "--username", name, "--name", "max-connections", "--value", "7")
        assert "7" in admin("user_limits", "list", "--username", name)
        assert "7" in admin("users", "limits", "--username", name)
        admin("user_limits", "delete", "--username", name, "--name", "max-connections")
        admin("users", "connections", "--username", name)
    finally:
        admin("users", "delete", "--name", name)
    fails(DATA, "404", "users", "delete", "--name", name)
    admin("delete", "user", "--name", name, "--idempotently")


@check
def policies():
    with vhost() as v:
        for group, definition in (("policies", {"max-length": 10, "overflow": "drop-head"}), ("operator_policies", {"max-length": 10, "expires": 1800000})):
            keys = list(definition)
            declare = ("-V", v, group, "declare", "--name", "short", "--pattern", "^q", "--apply-to", "queues", "--priority", "3")
            admin(*declare, "--definition", json.dumps(definition))
            equal(names("-V", v, group, "list_in"), ["short"])
            assert "short" in names(group, "list")
            assert "short" in admin("-V", v, group, "list_matching_object", "--name", "q1", "--type", "queues")
            admin("-V", v, group, "update_definition", "--name", "short", "--definition-key", "max-length", "--new-value", "20")
            admin("-V", v, group, "patch", "--name", "short", "--definition", '{"max-length-bytes": 1000}')
            shown = admin("-V", v, group, "list_in")
            assert "max-length: 20" in shown and "max-length-bytes: 1000" in shown, shown
            admin("-V", v, group, "delete_definition_keys", "--name", "short", "--definition-keys", keys[1])
            admin("-V", v, group, "update_definitions_of_all_in", "--definition-key", "max-length", "--new-value", "30")
            admin("-V", v, group, "delete_definition_keys_from_all_in", "--definition-keys", "max-length-bytes")
            shown = admin("-V", v, group, "list_in")
            assert "max-length: 30" in shown and keys[1] not in shown and "bytes" not in shown, shown
            fails(DATA, "is not a valid maximum length", *declare, "--definition", '{"max-length": "ten"}')
            if group == "policies":
                admin("-V", v, group, "declare_override", "--name", "short", "--override-name", "override", "--definition", '{"max-length": 1}')
                admin("-V", v, group, "declare_blanket", "--name", "blanket", "--apply-to", "queues", "--definition", '{"max-length": 2}')
                equal(names("-V", v, group, "list_in"), ["blanket", "override", "short"])
                admin("-V", v, group, "list_conflicting_in")
            admin("-V", v, group, "delete", "--name", "short")
            fails(DATA, "404", "-V", v, group, "delete", "--name", "short")
            admin("-V", v, group, "delete", "--name", "short", "--idempotently")


@check
def parameters():
    admin("parameters", "list_all")
    fails(DATA, "component none not found", "parameters", "set", "--component", "none", "--name", "n", "--value", '{"a": 1}')
    admin("parameters", "list", "--component", "federation-upstream")
    admin("parameters", "list_in", "--component", "federation-upstream")
    name = unique("global")
    admin("global_parameters", "set", "--name", name, "--value", '{"a": 1}')
    assert name in names("global_parameters", "list")
    admin("global_parameters", "clear", "--name", name)
    assert name not in names("global_parameters", "list")


@check
def definitions():
    with vhost() as v, tempfile.TemporaryDirectory() as folder:
        whole, one = str(pathlib.Path(folder, "all.json")), str(pathlib.Path(folder, "one.json"))
        admin("-V", v, "queues", "declare", "--name", "kept", "--type", "classic", "--arguments", '{"x-expires": 1800000}')
        admin("-V", v, "policies", "declare", "--name", "p", "--pattern", ".*", "--apply-to", "queues", "--definition", '{"max-length": 5}')
        binding = ["--source", "amq.fanout", "--destination-type", "queue", "--destination", "kept", "--routing-key", "r"]
        admin("-V", v, "bindings", "declare", *binding)
        admin("definitions", "export", "--file", whole)
        admin("-V", v, "definitions", "export_from_vhost", "--file", one)
        exported = json.loads(pathlib.Path(whole).read_text())
        for key in ("rabbitmq_version", "users", "vhosts", "permissions", "topic_permissions", "parameters", "policies", "queues", "exchanges", "bindings"):
            assert key in exported, key
        equal([q["name"] for q in json.loads(pathlib.Path(one).read_text())["queues"]], ["kept"])
        assert json.loads(admin("export", "definitions", "--stdout"))["queues"], "queues on the standard output"
        bare = json.loads(admin("definitions", "export", "--stdout", "--transformations", "exclude_users,exclude_permissions,exclude_policies"))
        equal((bare["users"], bare["permissions"], bare["policies"]), ([], [], []))
        hidden = json.loads(admin("definitions", "export", "--stdout", "--transformations", "obfuscate_usernames"))
        assert "guest" not in [user["name"] for user in hidden["users"]], hidden["users"]
        moved = json.loads(admin("-V", v, "definitions", "export_from_vhost", "--stdout", "--transformations", "prepare_for_quorum_queue_migration"))
        equal(moved["queues"][0]["arguments"]["x-queue-type"], "quorum")
        for arguments in (["-V", v, "definitions", "import_into_vhost", "--file", one], ["definitions", "import", "--file", whole]):
            admin("-V", v, "queues", "delete", "--name", "kept")
            admin(*arguments)
            equal(names("-V", v, "queues", "list"), ["kept"])
            assert "amq.fanout" in admin("-V", v, "bindings", "list")
        admin("-V", v, "queues", "delete", "--name", "kept")
        admin("-V", v, "definitions", "import_into_vhost", "--stdin", stdin=pathlib.Path(one).read_text())
        equal(names("-V", v, "queues", "list"), ["kept"])
        assert start("definitions", "import", "--stdin", stdin='{"queues": 1}').returncode != 0


@check
def connections_are_listed_and_closed():
    for command in (["connections", "close", "--name"], ["close", "connection", "--name"], ["connections", "close_of_user", "--username"]):
        user = unique("user")
        admin("users", "declare", "--name", user, "--password", "secret", "--tags", "")
        admin("permissions", "declare", "--username", user, "--configure", ".*", "--read", ".*", "--write", ".*")
        parameters = pika.URLParameters(URL)
        parameters.credentials = pika.PlainCredentials(user, "secret")
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_consume(queue, print)
        mine = lambda: rows("connections", "list_of_user", "--username", user)
        (found,) = until("the connection is listed", mine)
        until("it is among all connections", lambda: found[0] in names("connections", "list"))
        until("its channel is listed", lambda: any(name.startswith(found[0]) for row in rows("channels", "list") for name in row))
        until("its consumer is listed", lambda: queue in admin("list", "consumers"))
        admin(*command, user if command[-1] == "--username" else found[0])
        with raises(ConnectionClosedByBroker) as caught:
            connection.process_data_events(time_limit=60)
        equal(caught.error.reply_code, 320)
        until("the connection is gone", lambda: not mine())
        admin("users", "delete", "--name", user)
    fails(DATA, "404", "connections", "close", "--name", "none")
    admin("connections", "close", "--name", "none", "--idempotently")


@check
def plugins_that_are_off():
    with vhost() as v:
        # These lists are made of parameters, of which there are none.
        equal(rows("federation", "list_all_upstreams"), [])
        shovel = ("--source-uri", "amqp://", "--destination-uri", "amqp://", "--source-queue", "a", "--destination-queue", "b")
        fails(DATA, "component shovel not found", "-V", v, "shovels", "declare_amqp091", "--name", "s", *shovel)
        fails(DATA, "component federation-upstream not found", "-V", v, "federation", "declare_upstream_for_queues", "--name", "u", "--uri", "amqp://")
        fails(DATA, "404", "federation", "list_all_links")
        fails(DATA, "404", "shovels", "list_all")


@check
def forms_of_tables():
    with vhost() as v:
        admin("-V", v, "queues", "declare", "--name", "q", "--type", "classic")
        for style in ("modern", "borderless", "ascii", "dots", "psql", "markdown", "sharp"):
            assert "q" in admin("--table-style", style, "-V", v, "queues", "list"), style
        plain = admin("--non-interactive", "-V", v, "queues", "list", "--columns", "name")
        equal(plain.split(), ["q"])
        equal(admin("--quiet", "health_check", "local_alarms"), "")


@check
def configuration_file_and_base_uri():
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "rabbitmqadmin.conf"))
        lines = ["[here]", f'hostname = "{API.hostname}"', f"port = {API.port}", 'username = "guest"', 'password = "guest"', 'vhost = "/"']
        pathlib.Path(path).write_text("\n".join(lines) + "\n")
        for options in (["--config", path, "--node", "here"], ["--base-uri", f"http://{API.hostname}:{API.port}", "-u", "guest", "-p", "guest"]):
            ended = subprocess.run([PROGRAM, *options, "show", "overview"], capture_output=True, text=True, timeout=60, env={"HOME": folder})
            assert ended.returncode == 0 and "RabbitMQ version" in ended.stdout, ended.stdout + ended.stderr


@check
def over_tls():
    """At a broker that `cargo xtask interop` has started."""
    if "HTTPS_URL" not in os.environ:
        return
    at = urllib.parse.urlsplit(os.environ["HTTPS_URL"])
    ca = os.path.join(os.environ["TLS_DIRECTORY"], "ca_certificate.pem")
    command = [PROGRAM, "--use-tls", "-H", at.hostname, "-P", str(at.port)]
    for options, works in ([["--tls-ca-cert-file", ca], True], [["--insecure"], True], [[], False]):
        ended = subprocess.run([*command, *options, "show", "overview"], capture_output=True, text=True, timeout=60)
        equal(ended.returncode == 0, works, f"{options}: {ended.stdout}{ended.stderr}")


@check
def wrong_calls_end_with_a_code():
    for arguments in (["frobnicate"], ["queues", "declare"], ["queues", "frobnicate"]):
        assert start(*arguments).returncode == 2, arguments
    ended = start("-P", "1", "show", "overview")
    assert ended.returncode != 0 and "rror" in ended.stderr + ended.stdout, ended


if __name__ == "__main__":
    main()
