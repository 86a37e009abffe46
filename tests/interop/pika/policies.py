"""Policies, parameters, limits and vhosts: an operator sets them over HTTP, and a client sees what they do."""

import urllib.parse

import pika
from pika.exceptions import ConnectionClosedByBroker, NackError, ProbableAccessDeniedError

from client import (
    collect,
    connect,
    credentials,
    done,
    get,
    grant,
    http,
    in_path,
    is_ready,
    own_user,
    own_vhost,
    ready,
    receive,
    refused,
    server_named,
)
from harness import URL, check, equal, main, raises, unique, until


def put_policy(vhost, name, definition, kind="policies", pattern=".*", **settings):
    body = {"pattern": pattern, "definition": definition, **settings}
    return http("PUT", f"/{kind}/{vhost}/{name}", body)


def effective(vhost, queue):
    """What the policies of a queue say; RabbitMQ knows it after its next round of statistics, or when it is asked so."""
    return done(http("GET", f"/queues/{vhost}/{queue}?disable_stats=true"))["effective_policy_definition"]


def not_let_in(text, **overrides):
    """A connection is refused with 530 and this text."""
    with raises(ProbableAccessDeniedError) as caught:
        connect(**overrides)
    assert "(530)" in str(caught.error) and text in str(caught.error), caught.error


@check
def policy_comes_and_goes():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("orders", durable=True)
        for body in (b"1", b"2", b"3"):
            channel.basic_publish("", "orders", body)
        is_ready(channel, "orders", 3)
        equal(put_policy(vhost, "short", {"max-length": 1}, pattern="^orders$")[0], 201)
        is_ready(channel, "orders", 1)
        equal(put_policy(vhost, "short", {"max-length": 2}, pattern="^orders$")[0], 204)
        equal(effective(vhost, "orders"), {"max-length": 2})
        done(http("DELETE", f"/policies/{vhost}/short"))

        def more_fits():
            """Queues follow policies a little later."""
            channel.basic_publish("", "orders", b"more")
            return ready(channel, "orders") >= 3

        until("the limit is gone", more_fits)


@check
def policies_apply_to_kinds():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("classic", durable=True)
        channel.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
        length = {"max-length": 1}
        for kind, classic, quorum in (
            ("queues", length, length),
            ("classic_queues", length, {}),
            ("quorum_queues", {}, length),
            ("streams", {}, {}),
            ("exchanges", {}, {}),
            ("all", length, length),
        ):
            done(put_policy(vhost, "p", length, **{"apply-to": kind}))
            equal((effective(vhost, "classic"), effective(vhost, "quorum")), (classic, quorum), kind)
        status, body = put_policy(vhost, "p", length, **{"apply-to": "bogus"})
        assert status == 400 and "apply-to 'bogus' unrecognised" in body["reason"], body


@check
def policy_of_the_highest_priority_counts():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        connection.channel().queue_declare("q", durable=True)
        done(put_policy(vhost, "low", {"max-length": 1, "message-ttl": 1000}, priority=1))
        done(put_policy(vhost, "high", {"max-length": 2}, priority=2))
        equal(effective(vhost, "q"), {"max-length": 2})
        done(http("DELETE", f"/policies/{vhost}/high"))
        equal(effective(vhost, "q"), {"max-length": 1, "message-ttl": 1000})


@check
def keys_of_queues_do_what_arguments_do():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("dead", durable=True)
        queues = {
            "ttl": {"message-ttl": 50, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"},
            "full": {"max-length-bytes": 3, "overflow": "reject-publish"},
            "unused": {"expires": 5000},
        }
        for name, definition in queues.items():
            done(put_policy(vhost, name, definition, pattern=f"^{name}$", **{"apply-to": "queues"}))
            channel.queue_declare(name, durable=True)
            equal(effective(vhost, name), definition)
        channel.basic_publish("", "ttl", b"late")
        equal(get(channel, "dead")[1].headers["x-death"][0]["reason"], "expired")
        channel.basic_publish("", "full", b"abc")
        with raises(NackError):
            channel.basic_publish("", "full", b"d")
        until("the end of it", lambda: http("GET", f"/queues/{vhost}/unused")[0] == 404)


@check
def arguments_and_policies_are_merged():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        done(put_policy(vhost, "p", {"max-length": 2}))
        channel.queue_declare("less", durable=True, arguments={"x-max-length": 1})
        channel.queue_declare("more", durable=True, arguments={"x-max-length": 9})
        channel.confirm_delivery()
        for queue in ("less", "more"):
            for body in (b"1", b"2", b"3"):
                channel.basic_publish("", queue, body)
        equal([ready(channel, queue) for queue in ("less", "more")], [1, 2])


@check
def keys_of_exchanges():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.exchange_declare("x", "direct")
        queue = server_named(channel)
        channel.queue_bind(queue, "amq.fanout")
        channel.confirm_delivery()
        done(put_policy(vhost, "p", {"alternate-exchange": "amq.fanout"}, pattern="^x$", **{"apply-to": "exchanges"}))
        channel.basic_publish("x", "nobody", b"astray", mandatory=True)
        equal(get(channel, queue)[2], b"astray")


@check
def wrong_policies_are_refused():
    with own_vhost() as vhost:
        for definition, text in (
            ({"bogus": 5}, 'Validation failed\n\n[{<<"bogus">>,5}] are not recognised policy settings\n'),
            ({"max-length": -1}, "-1 is not a valid maximum length"),
            ({}, "no policy provided"),
        ):
            status, body = put_policy(vhost, "p", definition)
            assert status == 400 and text in body["reason"], body
        equal(http("GET", f"/policies/{vhost}"), (200, []))


@check
def operator_policies_are_merged_with_policies():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        done(put_policy(vhost, "p", {"max-length": 5, "message-ttl": 1000, "overflow": "drop-head"}))
        operators = {"max-length": 1, "message-ttl": 600000, "overflow": "reject-publish", "expires": 900000}
        done(put_policy(vhost, "o", operators, kind="operator-policies"))
        merged = {"max-length": 1, "message-ttl": 1000, "overflow": "reject-publish", "expires": 900000}
        equal(effective(vhost, "q"), merged)
        channel.confirm_delivery()
        channel.basic_publish("", "q", b"1")
        with raises(NackError):
            channel.basic_publish("", "q", b"2")
        status, body = put_policy(vhost, "o", {"alternate-exchange": "x"}, kind="operator-policies")
        assert status == 400 and "are not recognised policy settings" in body["reason"], body


@check
def parameters_of_components():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        done(http("PUT", f"/parameters/vhost-limits/{vhost}/limits", {"value": {"max-queues": 1}}))
        channel = connection.channel()
        channel.queue_declare("one")
        refused(connection, 406, f"queue limit in vhost '{vhost}' (1) is reached", lambda c: c.queue_declare("two"))
        value = {"pattern": ".*", "definition": {"max-length": 3}, "priority": 0, "apply-to": "queues"}
        done(http("PUT", f"/parameters/operator_policy/{vhost}/o", {"value": value}))
        equal(effective(vhost, "one"), {"max-length": 3})
        done(http("DELETE", f"/parameters/vhost-limits/{vhost}/limits"))
        channel.queue_declare("two")
        status, body = http("PUT", f"/parameters/bogus/{vhost}/x", {"value": {}})
        assert status == 400 and "component bogus not found" in body["reason"], body


@check
def global_parameters():
    name = unique("parameter")
    for value in ({"a": [1, "two"]}, "text"):
        done(http("PUT", f"/global-parameters/{name}", {"value": value}))
        equal(done(http("GET", f"/global-parameters/{name}")), {"name": name, "value": value})
    done(http("DELETE", f"/global-parameters/{name}"))
    equal(http("GET", f"/global-parameters/{name}")[0], 404)


@check
def limits_of_vhosts():
    with own_vhost() as vhost:
        done(http("PUT", f"/vhost-limits/{vhost}/max-connections", {"value": 1}))
        with connect(virtual_host=vhost):
            not_let_in("connection limit (1) is reached", virtual_host=vhost)
        done(http("PUT", f"/vhost-limits/{vhost}/max-connections", {"value": -1}))
        with connect(virtual_host=vhost), connect(virtual_host=vhost):
            pass


@check
def limits_of_users():
    with own_vhost() as vhost, own_user(vhost) as user:
        own = {"virtual_host": vhost, "credentials": credentials(user)}
        done(http("PUT", f"/user-limits/{user}/max-connections", {"value": 1}))
        done(http("PUT", f"/user-limits/{user}/max-channels", {"value": 2}))
        with connect(**own) as connection:
            not_let_in("user connection limit (1) is reached", **own)
            connection.channel()
            connection.channel()
            with raises(ConnectionClosedByBroker) as caught:
                connection.channel()
            text = f"number of channels opened for user '{user}' has reached the maximum allowed user limit of 2"
            assert text in caught.error.reply_text, caught.error


@check
def impersonators_may_name_anybody():
    with own_vhost() as vhost, own_user(vhost, tags="impersonator") as user:
        with connect(virtual_host=vhost, credentials=credentials(user)) as connection:
            channel = connection.channel()
            queue = server_named(channel)
            channel.confirm_delivery()
            channel.basic_publish("", queue, b"", pika.BasicProperties(user_id="somebody"))
            equal(get(channel, queue)[1].user_id, "somebody")


@check
def capacity_of_consumers():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.basic_qos(prefetch_count=1)
        seen = []
        channel.basic_consume("q", collect(seen))

        def capacity():
            connection.process_data_events(time_limit=0.05)
            return http("GET", f"/queues/{vhost}/q")[1].get("consumer_capacity")

        until("a free consumer", lambda: (capacity() or 0) > 0.9)
        for _ in range(3):
            channel.basic_publish("", "q", b"")
        until("a busy consumer", lambda: capacity() < 0.9)
        receive(connection, seen, 1)
        equal(len(seen), 1)


@check
def exchange_types_are_listed():
    listed = {kind["name"] for kind in done(http("GET", "/overview"))["exchange_types"]}
    core = {"direct", "fanout", "topic", "headers", "x-local-random", "x-modulus-hash"}
    assert core <= listed, listed
    for kind in core:
        with connect() as connection:
            connection.channel().exchange_declare(unique("of-type"), kind, auto_delete=True)


@check
def vhosts_are_apart():
    with own_vhost() as one, own_vhost() as two:
        with connect(virtual_host=one) as first, connect(virtual_host=two) as second:
            mine, theirs = first.channel(), second.channel()
            mine.queue_declare("q", durable=True)
            refused(second, 404, f"no queue 'q' in vhost '{two}'", lambda c: c.queue_declare("q", passive=True))
            theirs.queue_declare("q", durable=True)
            mine.basic_publish("", "q", b"here")
            equal(get(mine, "q")[2], b"here")
            equal(theirs.basic_get("q"), (None, None, None))


@check
def deleted_vhost_ends_its_connections():
    vhost = unique("deleted")
    done(http("PUT", f"/vhosts/{vhost}", {}))
    connection = connect(virtual_host=vhost)
    connection.channel().queue_declare("q", durable=True)
    done(http("DELETE", f"/vhosts/{vhost}"))
    with raises(ConnectionClosedByBroker, pika.exceptions.StreamLostError):
        while True:
            connection.process_data_events(time_limit=1)
    equal(http("GET", f"/queues/{vhost}")[0], 404)
    not_let_in(f"vhost {vhost} not found", virtual_host=vhost)


@check
def vhosts_describe_themselves():
    settings = {"description": "of a test", "tags": "one,two", "default_queue_type": "quorum"}
    with own_vhost(**settings) as vhost, connect(virtual_host=vhost) as connection:
        shown = done(http("GET", f"/vhosts/{vhost}"))
        equal((shown["description"], shown["tags"], shown["default_queue_type"]), ("of a test", ["one", "two"], "quorum"))
        channel = connection.channel()
        channel.queue_declare("durable", durable=True)
        exclusive = server_named(channel)
        kinds = [done(http("GET", f"/queues/{vhost}/{in_path(name)}"))["type"] for name in ("durable", exclusive)]
        equal(kinds, ["quorum", "classic"])
        done(http("POST", f"/vhosts/{vhost}/deletion/protection"))
        equal(http("DELETE", f"/vhosts/{vhost}")[0], 412)
        node = done(http("GET", "/overview"))["node"]
        done(http("POST", f"/vhosts/{vhost}/start/{node}"))
        equal(list(done(http("GET", f"/vhosts/{vhost}"))["cluster_state"].values()), ["running"])


@check
def tracing_of_a_vhost():
    with own_vhost() as vhost, connect(virtual_host=vhost) as connection:
        channel = connection.channel()
        traces, queue = server_named(channel), server_named(channel)
        channel.queue_bind(traces, "amq.rabbitmq.trace", "publish.#")
        channel.basic_publish("", queue, b"unseen")
        # Its answer comes after the message is routed.
        channel.queue_declare(queue, passive=True)
        done(http("PUT", f"/vhosts/{vhost}", {"tracing": True}))
        channel.basic_publish("", queue, b"seen")
        method, properties, body = get(channel, traces)
        equal((method.routing_key, body, properties.headers["vhost"]), ("publish.", b"seen", vhost))
        done(http("PUT", f"/vhosts/{vhost}", {"tracing": False}))


@check
def vhosts_in_uris():
    parts = urllib.parse.urlsplit(URL)
    for vhost in ("a/b", "with blank", "größe"):
        vhost = unique(vhost)
        done(http("PUT", f"/vhosts/{in_path(vhost)}", {}))
        try:
            uri = f"{parts.scheme}://{parts.netloc}/{in_path(vhost)}"
            with pika.BlockingConnection(pika.URLParameters(uri)) as connection:
                channel = connection.channel()
                refused(connection, 404, f"in vhost '{vhost}'", lambda c: c.queue_declare("q", passive=True))
                server_named(channel)
        finally:
            done(http("DELETE", f"/vhosts/{in_path(vhost)}"))
    for path in ("", "/", "/%2F", "/%2f?heartbeat=30&connection_attempts=1"):
        with pika.BlockingConnection(pika.URLParameters(f"{parts.scheme}://{parts.netloc}{path}")) as connection:
            refused(connection, 404, "in vhost '/'", lambda c: c.queue_declare(unique("none"), passive=True))


@check
def vhosts_are_entered_by_permission():
    with own_vhost() as one, own_vhost() as two, own_user(one) as user:
        with connect(virtual_host=one, credentials=credentials(user)):
            pass
        text = f"access to vhost '{two}' refused for user '{user}'"
        not_let_in(text, virtual_host=two, credentials=credentials(user))
        grant(user, two, ("^$", "^$", ".*"))
        with connect(virtual_host=two, credentials=credentials(user)) as connection:
            refused(connection, 403, "configure access to queue 'q'", lambda c: c.queue_declare("q"))


@check
def operators_close_connections():
    with own_vhost() as vhost, own_user(vhost) as user:
        connection = connect(virtual_host=vhost, credentials=credentials(user))
        queue = server_named(connection.channel())

        def listed():
            return [each for each in http("GET", "/connections")[1] if each.get("user") == user]

        until("it is listed", lambda: [each for each in listed() if each.get("state") == "running"])
        done(http("DELETE", f"/connections/{in_path(listed()[0]['name'])}"))
        with raises(ConnectionClosedByBroker) as caught:
            while True:
                connection.process_data_events(time_limit=1)
        equal((caught.error.reply_code, caught.error.reply_text), (320, "CONNECTION_FORCED - Closed via management plugin"))
        until("its queue is gone", lambda: http("GET", f"/queues/{vhost}/{in_path(queue)}")[0] == 404)


if __name__ == "__main__":
    main()
