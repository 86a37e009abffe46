"""Infrastructure as code: the requests that Terraform's provider for RabbitMQ makes for each of its resources.

Each resource is created, read back and compared attribute by attribute, as a plan that must show no change does; created
again, updated, read, deleted, and found to be gone. The bodies are those that Go's client rabbit-hole writes, down to tags
that are one text and attributes that are null or empty. Answers are held to the types that a client in Go expects.
"""

import contextlib
import http.client
import json
import os
import urllib.parse
from base64 import b64encode

from harness import check, equal, main, unique

API = urllib.parse.urlsplit(os.environ.get("HTTP_URL", "http://127.0.0.1:15672"))


def path(*parts):
    """A path below /api, its parts encoded as Go does it."""
    return "/api/" + "/".join(urllib.parse.quote(part, safe="$&+:=@") for part in parts)


def request(method, where, body=None, user=("guest", "guest")):
    """The status, the headers and the JSON document of an answer."""
    connection = http.client.HTTPConnection(API.hostname, API.port, timeout=20)
    headers = {"Authorization": "Basic " + b64encode(":".join(user).encode()).decode()}
    if body is not None:
        headers["Content-Type"] = "application/json"
    with contextlib.closing(connection):
        connection.request(method, where, body=None if body is None else json.dumps(body), headers=headers)
        answer = connection.getresponse()
        content = answer.read()
    return answer.status, answer.headers, json.loads(content) if content else None


def succeeds(method, where, status, body=None):
    """The document of an answer, which has to have this status."""
    got, headers, document = request(method, where, body)
    equal(got, status, f"status of {method} {where}: {document}")
    return document


def read(where, **attributes):
    """Reads an object; each attribute has to be there with this value and type."""
    document = succeeds("GET", where, 200)
    for name, value in attributes.items():
        name = name.replace("apply_to", "apply-to")
        equal(document.get(name), value, f"{name} of {where}")
        equal(type(document[name]), type(value), f"type of {name} of {where}")
    return document


def gone(where):
    """Deletes an object: it is not there any more, and to delete it again says so."""
    succeeds("DELETE", where, 204)
    for method in ("GET", "DELETE"):
        equal(succeeds(method, where, 404), {"error": "Object Not Found", "reason": "Not Found"}, where)


def put(where, body, **attributes):
    """Creates an object, finds it as it is wanted, and may do so again."""
    succeeds("PUT", where, 201, body)
    read(where, **attributes)
    succeeds("PUT", where, 204, body)
    read(where, **attributes)


def update(where, body, **attributes):
    """Changes an object, and finds it as it is wanted."""
    succeeds("PUT", where, 204, body)
    read(where, **attributes)


@contextlib.contextmanager
def vhost():
    """A vhost; who creates it may do everything there."""
    name = unique("terraform/a b")
    succeeds("PUT", path("vhosts", name), 201, {"description": "", "tags": "", "tracing": False})
    try:
        yield name
    finally:
        succeeds("DELETE", path("vhosts", name), 204)


@contextlib.contextmanager
def user():
    """A user without tags."""
    name = unique("terraform@user")
    succeeds("PUT", path("users", name), 201, {"name": name, "tags": "", "password": "secret"})
    try:
        yield name
    finally:
        succeeds("DELETE", path("users", name), 204)


@check
def vhosts():
    name = unique("terraform/vhost")
    where, limits = path("vhosts", name), path("vhost-limits", name)
    body = {"description": "first", "tags": "", "default_queue_type": "quorum", "tracing": False}
    same = {"name": name, "description": "first", "tracing": False, "default_queue_type": "quorum"}
    put(where, body, **same)
    equal(succeeds("GET", limits, 200), [])
    for limit, value in (("max-connections", 10), ("max-queues", 20)):
        succeeds("PUT", f"{limits}/{limit}", 204, {"value": value})
    equal(succeeds("GET", limits, 200), [{"vhost": name, "value": {"max-connections": 10, "max-queues": 20}}])
    update(where, body | {"description": "second", "tags": "a,b", "tracing": True}, description="second", tags=["a", "b"], tracing=True)
    for limit in ("max-connections", "max-queues"):
        succeeds("DELETE", f"{limits}/{limit}", 204)
    equal(succeeds("GET", limits, 200), [])
    assert name in [found["name"] for found in succeeds("GET", "/api/vhosts", 200)]
    state = read(where)["cluster_state"]
    assert state and set(state.values()) == {"running"}, state
    gone(where)


@check
def users():
    name = unique("terraform@user")
    where = path("users", name)
    body = {"name": name, "tags": "administrator,management", "password": "secret"}
    put(where, body, name=name, tags=["administrator", "management"], hashing_algorithm="rabbit_password_hashing_sha256", limits={})
    status, _, who = request("GET", "/api/whoami", user=(name, "secret"))
    equal((status, who["name"], who["tags"]), (200, name, ["administrator", "management"]))
    update(where, {"name": name, "tags": "", "password": "changed"}, tags=[])
    equal(request("GET", "/api/whoami", user=(name, "secret"))[0], 401)
    # What was read may be written: this is how users move.
    read_back = read(where)
    gone(where)
    succeeds("PUT", where, 201, {"name": name, "tags": "", "password_hash": read_back["password_hash"], "hashing_algorithm": read_back["hashing_algorithm"]})
    read(where, password_hash=read_back["password_hash"])
    gone(where)


@check
def permissions():
    with vhost() as v, user() as u:
        where = path("permissions", v, u)
        body = {"configure": "^a$", "write": "", "read": ".*"}
        put(where, body, user=u, vhost=v, **body)
        equal(succeeds("GET", path("users", u, "permissions"), 200), [{"user": u, "vhost": v} | body])
        body = {"configure": "", "write": "[a-z]+\\.", "read": ""}
        update(where, body, **body)
        gone(where)


@check
def topic_permissions():
    with vhost() as v, user() as u:
        where = path("topic-permissions", v, u)
        first = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
        second = {"exchange": "", "write": ".*", "read": "^b"}
        succeeds("PUT", where, 201, first)
        succeeds("PUT", where, 204, first)
        succeeds("PUT", where, 204, second)
        named = lambda rights: {"user": u, "vhost": v} | rights
        by_exchange = lambda rights: rights["exchange"]
        equal(sorted(succeeds("GET", where, 200), key=by_exchange), [named(second), named(first)])
        succeeds("PUT", where, 204, first | {"read": ""})
        assert named(first | {"read": ""}) in succeeds("GET", where, 200)
        succeeds("DELETE", where + "/amq.topic", 204)
        equal(succeeds("GET", where, 200), [named(second)])
        gone(where)


@check
def exchanges():
    with vhost() as v:
        arguments = {"alternate-exchange": "amq.fanout", "x-number": 5, "x-true": True, "x-list": ["a", 1], "x-table": {"k": "v"}}
        for kind in ("direct", "fanout", "topic", "headers"):
            where = path("exchanges", v, f"e/{kind} #%")
            body = {"type": kind, "durable": True, "auto_delete": False, "arguments": arguments}
            put(where, body, name=f"e/{kind} #%", vhost=v, internal=False, **body)
            assert "inequivalent arg 'durable'" in succeeds("PUT", where, 400, body | {"durable": False})["reason"]
            gone(where)
        where = path("exchanges", v, "fleeting")
        put(where, {"type": "fanout", "durable": False, "auto_delete": True}, type="fanout", durable=False, auto_delete=True, arguments={})
        gone(where)


@check
def queues():
    with vhost() as v:
        arguments = {
            "x-queue-type": "classic", "x-message-ttl": 60000, "x-expires": 1800000, "x-max-length": 100, "x-max-length-bytes": 1048576,
            "x-overflow": "reject-publish", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-max-priority": 5,
            "x-single-active-consumer": True,
        }
        where = path("queues", v, "a/b c#%?")
        body = {"type": "", "durable": True, "auto_delete": False, "arguments": arguments}
        put(where, body, name="a/b c#%?", vhost=v, type="classic", durable=True, auto_delete=False, exclusive=False, arguments=arguments)
        assert "inequivalent arg" in succeeds("PUT", where, 400, body | {"arguments": {}})["reason"]
        gone(where)
        where = path("queues", v, "fleeting")
        put(where, {"type": "", "durable": False, "auto_delete": True}, durable=False, auto_delete=True)
        gone(where)
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-quorum-initial-group-size": 1}
        where = path("queues", v, "safe")
        found = {"type": "quorum", "durable": True, "arguments": arguments}
        put(where, {"type": "", "durable": True, "arguments": arguments}, **found)
        gone(where)


@check
def bindings():
    with vhost() as v:
        for name in ("q", "r"):
            succeeds("PUT", path("queues", v, name), 201, {"type": "", "durable": True})
        cases = [
            ("amq.direct", "", {}), ("amq.topic", "a.#", {}), ("amq.topic", "a/b c+d%~é", {}),
            ("amq.headers", "", {"x-match": "any", "number": 1, "yes": True, "text": "é"}), ("amq.topic", "k", {"extra": "1"}),
        ]
        for kind, letter, destination in (("queue", "q", "q"), ("exchange", "e", "amq.fanout")):
            between = lambda source: path("bindings", v, "e", source, letter, destination)
            for source, key, arguments in cases:
                body = {"source": source, "destination": destination, "destination_type": kind, "routing_key": key, "arguments": arguments}
                status, headers, _ = request("POST", between(source), body)
                equal(status, 201, f"bind {body}")
                # The provider takes the last part of the location for the key, and looks for it in the listing.
                properties_key = urllib.parse.unquote(headers["Location"].split("/")[-1])
                found = [b for b in succeeds("GET", between(source), 200) if b["properties_key"] == properties_key]
                equal(found, [body | {"vhost": v, "properties_key": properties_key}])
                one = between(source) + "/" + urllib.parse.quote(properties_key, safe="$&+:=@")
                equal(succeeds("GET", one, 200), found[0])
                # To bind again changes nothing.
                succeeds("POST", between(source), 201, body)
                equal(len([b for b in succeeds("GET", between(source), 200) if b["properties_key"] == properties_key]), 1)
                gone(one)
        everything = succeeds("GET", path("bindings", v), 200)
        equal(sorted(b["destination"] for b in everything), ["q", "r"])
        no_queue = {"source": "amq.topic", "destination": "none", "destination_type": "queue", "routing_key": "", "arguments": {}}
        succeeds("POST", path("bindings", v, "e", "amq.topic", "q", "none"), 404, no_queue)


@check
def policies():
    with vhost() as v:
        for kind, definition in (
            ("policies", {"max-length": 10, "dead-letter-exchange": "amq.fanout", "overflow": "drop-head"}),
            ("operator-policies", {"max-length": 10, "expires": 1800000}),
        ):
            where = path(kind, v, "my policy/1")
            body = {"vhost": v, "pattern": "^a.*", "apply-to": "queues", "name": "my policy/1", "priority": 7, "definition": definition}
            put(where, body, vhost=v, pattern="^a.*", apply_to="queues", name="my policy/1", priority=7, definition=definition)
            changed = body | {"pattern": ".*", "apply-to": "classic_queues", "priority": 0, "definition": {"max-length": 20}}
            update(where, changed, pattern=".*", apply_to="classic_queues", priority=0, definition={"max-length": 20})
            equal(len(succeeds("GET", path(kind, v), 200)), 1)
            succeeds("PUT", where, 400, body | {"definition": {"max-length": "ten"}})
            read(where, definition={"max-length": 20})
            gone(where)


@check
def parameters_of_plugins_that_are_off():
    with vhost() as v:
        upstream = {"uri": ["amqp://127.0.0.1/%2f"], "reconnect-delay": 5, "trust-user-id": False, "ack-mode": "on-confirm", "prefetch-count": 1000}
        shovel = {"src-uri": ["amqp://"], "src-queue": "a", "src-protocol": "amqp091", "dest-uri": ["amqp://"], "dest-queue": "b", "dest-protocol": "amqp091"}
        for component, value in (("federation-upstream", upstream), ("shovel", shovel)):
            where = path("parameters", component, v, "name")
            refusal = succeeds("PUT", where, 400, {"name": "name", "vhost": v, "component": component, "value": value})
            equal(refusal, {"error": "bad_request", "reason": f"Validation failed\n\ncomponent {component} not found\n"})
            succeeds("GET", where, 404)
            equal(succeeds("GET", path("parameters", component, v), 200), [])


@check
def sources_of_data():
    """What the provider's data sources read."""
    read(path("users", "guest"), name="guest", tags=["administrator"])
    read(path("vhosts", "/"), name="/")
    read(path("exchanges", "/", "amq.topic"), name="amq.topic", type="topic", durable=True, auto_delete=False, internal=False)
    for kind in ("vhosts", "users", "exchanges", "queues"):
        where = path(kind, "none") if kind in ("vhosts", "users") else path(kind, "/", "none")
        succeeds("GET", where, 404)


if __name__ == "__main__":
    main()
