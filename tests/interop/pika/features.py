"""Exchanges, queue arguments and consumers as a client sees them: what `suite.py` leaves of these rows of docs/features.md."""

import pika
from pika.exceptions import ChannelClosedByBroker, NackError

from client import collect, connect, get, is_ready, ready, receive, refused, server_named
from harness import check, equal, main, raises, unique, until

TEN_YEARS_MS = 315_360_000_000


def dead_letter(channel, queue):
    """The next message of `queue` and its newest death."""
    method, properties, body = get(channel, queue)
    return method, properties.headers, properties.headers["x-death"][0], body


def quorum(channel, **arguments):
    queue = unique("quorum")
    arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", **arguments})
    return queue


@check
def predeclared_exchanges():
    with connect() as connection:
        channel = connection.channel()
        for name in ("direct", "fanout", "topic", "headers", "match", "rabbitmq.trace"):
            channel.exchange_declare(f"amq.{name}", passive=True)
        refused(connection, 403, "reserved prefix", lambda c: c.exchange_declare("amq.mine"))


@check
def alternate_exchange():
    with connect() as connection:
        channel = connection.channel()
        other, exchange, queue = unique("other"), unique("first"), server_named(channel)
        channel.exchange_declare(other, "fanout", auto_delete=True)
        channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": other})
        channel.queue_bind(queue, other)
        channel.confirm_delivery()
        channel.basic_publish(exchange, "nobody", b"astray", mandatory=True)
        equal(get(channel, queue)[2], b"astray")
        channel.exchange_delete(exchange)


@check
def cc_and_bcc():
    with connect() as connection:
        channel = connection.channel()
        queues = [server_named(channel) for _ in range(3)]
        headers = {"CC": [queues[1]], "BCC": [queues[2]]}
        channel.basic_publish("", queues[0], b"to three", pika.BasicProperties(headers=headers))
        for queue in queues:
            method, properties, body = get(channel, queue)
            equal((method.routing_key, properties.headers, body), (queues[0], {"CC": [queues[1]]}, b"to three"))
        properties = pika.BasicProperties(headers={"CC": "text"})

        def publish(c):
            c.confirm_delivery()
            c.basic_publish("", queues[0], b"", properties)

        refused(connection, 406, "unacceptable_type_in_header", publish)


@check
def local_random_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange, queues = unique("local"), [server_named(channel) for _ in range(2)]
        channel.exchange_declare(exchange, "x-local-random", auto_delete=True)
        for queue in queues:
            channel.queue_bind(queue, exchange, "")
        for number in range(60):
            channel.basic_publish(exchange, "any", str(number).encode())
        until("all", lambda: sum(ready(channel, queue) for queue in queues) == 60)
        assert all(ready(channel, queue) > 0 for queue in queues)
        refused(connection, 406, "Non empty binding", lambda c: c.queue_bind(queues[0], exchange, "key"))


@check
def event_exchange():
    with connect() as connection:
        channel = connection.channel()
        events, name = server_named(channel), unique("told-of")
        channel.queue_bind(events, "amq.rabbitmq.event", "queue.*")
        channel.queue_declare(name, exclusive=True)
        channel.queue_delete(name)
        told = []

        def mine():
            method, properties, _ = channel.basic_get(events, auto_ack=True)
            if method and properties.headers["name"] == name:
                told.append(method.routing_key)
            return len(told) == 2

        until("two events", mine)
        equal(told, ["queue.created", "queue.deleted"])


@check
def times_to_live():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel, arguments={"x-message-ttl": 100})
        channel.basic_publish("", queue, b"of the queue")
        is_ready(channel, queue, 0)
        queue = server_named(channel)
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"of the message", pika.BasicProperties(expiration="100"))
        is_ready(channel, queue, 0)
        channel.basic_publish("", queue, b"stays", pika.BasicProperties(expiration="600000"))
        equal(get(channel, queue)[2], b"stays")
        for bad, text in (("abc", "no_integer"), ("-1", "value_negative"), (str(TEN_YEARS_MS + 1), "value_too_large")):

            def publish(c, bad=bad):
                c.confirm_delivery()
                c.basic_publish("", queue, b"", pika.BasicProperties(expiration=bad))

            refused(connection, 406, text, publish)


@check
def time_to_live_of_zero():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel, arguments={"x-message-ttl": 0})
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"for nobody")
        equal(ready(channel, queue), 0)
        seen = []
        channel.basic_consume(queue, collect(seen), auto_ack=True)
        channel.basic_publish("", queue, b"for a waiting consumer")
        receive(connection, seen, 1)
        equal(seen[0][2], b"for a waiting consumer")


@check
def unused_queue_expires():
    with connect() as connection:
        queue = unique("expires")
        connection.channel().queue_declare(queue, arguments={"x-expires": 100})

        def is_gone():
            try:
                connection.channel().queue_declare(queue, passive=True)
            except ChannelClosedByBroker as error:
                return error.reply_code == 404
            connection.sleep(0.3)
            return False

        until("the end of the queue", is_gone)


@check
def length_limits():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for limit in ({"x-max-length": 2}, {"x-max-length-bytes": 2}):
            queue = server_named(channel, arguments=limit)
            for body in (b"1", b"2", b"3"):
                channel.basic_publish("", queue, body)
            equal([get(channel, queue)[2] for _ in range(2)], [b"2", b"3"])
            is_ready(channel, queue, 0)


@check
def full_queue_refuses_and_dead_letters():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        target = server_named(channel)
        arguments = {
            "x-max-length": 1,
            "x-overflow": "reject-publish-dlx",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": target,
        }
        queue = server_named(channel, arguments=arguments)
        channel.basic_publish("", queue, b"first")
        with raises(NackError):
            channel.basic_publish("", queue, b"second")
        _, _, death, body = dead_letter(channel, target)
        equal((body, death["reason"], death["queue"]), (b"second", "maxlen", queue))
        equal(get(channel, queue)[2], b"first")


@check
def deaths_are_told_in_headers():
    with connect() as connection:
        channel = connection.channel()
        last = server_named(channel)
        middle = server_named(
            channel,
            arguments={"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": last},
        )
        first = server_named(
            channel, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": middle}
        )
        channel.basic_publish("amq.direct", "unbound", b"")
        channel.queue_bind(first, "amq.direct", unique("key"))
        channel.basic_publish("", first, b"twice", pika.BasicProperties(expiration="600000"))
        method, _, _ = get(channel, first, auto_ack=False)
        channel.basic_reject(method.delivery_tag, requeue=False)
        method, headers, death, body = dead_letter(channel, last)
        equal((method.exchange, method.routing_key, body), ("", last, b"twice"))
        equal((death["reason"], death["queue"], death["exchange"], death["count"]), ("expired", middle, "", 1))
        older = headers["x-death"][1]
        equal((older["reason"], older["queue"], older["routing-keys"]), ("rejected", first, [first]))
        equal(older["original-expiration"], "600000")
        equal([headers[f"x-first-death-{key}"] for key in ("queue", "reason", "exchange")], [first, "rejected", ""])
        equal([headers[f"x-last-death-{key}"] for key in ("queue", "reason", "exchange")], [middle, "expired", ""])


@check
def dead_letters_do_not_go_round():
    with connect() as connection:
        channel = connection.channel()
        queue = unique("cycle")
        arguments = {"x-message-ttl": 20, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
        channel.queue_declare(queue, exclusive=True, arguments=arguments)
        channel.basic_publish("", queue, b"once")
        is_ready(channel, queue, 0)
        # What expires later in another queue has come to its end, so this one would be back if it went round.
        end = server_named(channel)
        later = server_named(
            channel,
            arguments={"x-message-ttl": 40, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": end},
        )
        channel.basic_publish("", later, b"later")
        is_ready(channel, end, 1)
        equal(ready(channel, queue), 0)


@check
def dead_letters_at_least_once():
    with connect() as connection:
        channel = connection.channel()
        target = unique("target")
        queue = quorum(
            channel,
            x_dead_letter_exchange="",
            x_dead_letter_routing_key=target,
            x_dead_letter_strategy="at-least-once",
            x_overflow="reject-publish",
        )
        channel.queue_declare(target, durable=True)
        channel.basic_publish("", queue, b"safe")
        method, _, _ = get(channel, queue, auto_ack=False)
        channel.basic_reject(method.delivery_tag, requeue=False)
        _, _, death, body = dead_letter(channel, target)
        equal((death["reason"], body), ("rejected", b"safe"))
        for name in (queue, target):
            channel.queue_delete(name)


@check
def quorum_queue_priorities():
    with connect() as connection:
        channel = connection.channel()
        queue = quorum(channel)
        for priority in (1, 31, None, 9):
            channel.basic_publish("", queue, str(priority).encode(), pika.BasicProperties(priority=priority))
        is_ready(channel, queue, 4)
        equal([get(channel, queue)[2] for _ in range(4)], [b"31", b"9", b"None", b"1"])
        channel.queue_delete(queue)


@check
def queue_types():
    with connect() as connection:
        channel = connection.channel()
        queue = quorum(channel)
        refused(connection, 406, "inequivalent arg 'x-queue-type'", lambda c: c.queue_declare(queue, durable=True))
        for flags, text in (
            ({}, "non-durable"),
            ({"durable": True, "exclusive": True}, "exclusive-owner"),
            ({"durable": True, "auto_delete": True}, "auto-delete"),
        ):

            def declare(c, flags=flags):
                c.queue_declare(unique("bad"), arguments={"x-queue-type": "quorum"}, **flags)

            refused(connection, 406, text, declare)
        refused(
            connection,
            406,
            "unsupported queue type 'bogus'",
            lambda c: c.queue_declare(unique("bad"), durable=True, arguments={"x-queue-type": "bogus"}),
        )
        channel.queue_delete(queue)


@check
def arguments_of_old_programs():
    with connect() as connection:
        channel = connection.channel()
        for arguments in (
            {"x-queue-mode": "lazy"},
            {"x-queue-mode": "default"},
            {"x-queue-version": 2},
            {"x-ha-policy": "all"},
            {"x-queue-leader-locator": "client-local"},
            {"x-queue-leader-locator": "balanced"},
        ):
            queue = server_named(channel, arguments=arguments)
            channel.basic_publish("", queue, b"works")
            equal(get(channel, queue)[2], b"works")


@check
def argument_errors():
    with connect() as connection:
        for name, value, text in (
            ("x-message-ttl", "1", "expected integer, got longstr"),
            ("x-message-ttl", -1, "{value_negative,-1}"),
            ("x-expires", 0, "{value_zero,0}"),
            ("x-max-length", -1, "{value_negative,-1}"),
            ("x-max-priority", 256, "{max_value_exceeded,256}"),
            ("x-overflow", "bogus", "invalid_overflow"),
            ("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"),
            ("x-dead-letter-exchange", 1, "invalid type 'signedint' for arg 'x-dead-letter-exchange'"),
            ("x-queue-version", 1, "unsupported queue version '1'"),
            ("x-queue-leader-locator", "bogus", "invalid_queue_locator_arg"),
            ("x-single-active-consumer", "yes", "{unacceptable_type,longstr}"),
            ("x-delivery-limit", 1, "of queue type rabbit_classic_queue"),
        ):

            def declare(c, name=name, value=value):
                c.queue_declare(unique("bad"), arguments={name: value})

            refused(connection, 406, text, declare)


@check
def declared_again_with_other_arguments():
    with connect() as connection:
        channel = connection.channel()
        queue = unique("again")
        for _ in range(2):
            channel.queue_declare(queue, exclusive=True, arguments={"x-max-length": 5})
        for arguments, text in (
            ({"x-max-length": 6}, "received '6' but current is '5'"),
            ({}, "received none but current is the value '5' of type 'signedint'"),
        ):

            def declare(c, arguments=arguments):
                c.queue_declare(queue, exclusive=True, arguments=arguments)

            refused(connection, 406, f"inequivalent arg 'x-max-length' for queue '{queue}' in vhost '/': {text}", declare)


@check
def single_active_consumer():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel, arguments={"x-single-active-consumer": True})
        first, second = [], []
        tag = channel.basic_consume(queue, collect(first), auto_ack=True)
        channel.basic_consume(queue, collect(second), auto_ack=True)
        for number in range(3):
            channel.basic_publish("", queue, str(number).encode())
        receive(connection, first, 3)
        channel.basic_cancel(tag)
        channel.basic_publish("", queue, b"next")
        receive(connection, second, 1)
        equal((len(first), second[0][2]), (3, b"next"))


@check
def delivery_limit():
    with connect() as connection:
        channel = connection.channel()
        target = server_named(channel)
        queue = quorum(channel, x_delivery_limit=2, x_dead_letter_exchange="", x_dead_letter_routing_key=target)
        channel.basic_publish("", queue, b"poison")
        for count in (None, 1, 2):
            method, properties, _ = get(channel, queue, auto_ack=False)
            equal((properties.headers or {}).get("x-delivery-count"), count)
            channel.basic_reject(method.delivery_tag, requeue=True)
        _, _, death, body = dead_letter(channel, target)
        equal((death["reason"], body), ("delivery_limit", b"poison"))
        channel.queue_delete(queue)


@check
def consumer_timeout_takes_messages_back():
    with connect() as connection:
        channel = connection.channel()
        queue = quorum(channel, x_consumer_timeout=1000)
        seen, cancelled = [], []
        channel.add_on_cancel_callback(cancelled.append)
        channel.basic_consume(queue, collect(seen))
        channel.basic_publish("", queue, b"held for too long")
        receive(connection, seen, 1)
        receive(connection, cancelled, 1)
        method, _, body = get(connection.channel(), queue)
        equal((body, method.redelivered), (b"held for too long", True))
    # RabbitMQ would cancel the consumer once more, and pika does not expect that.
    with connect() as connection:
        connection.channel().queue_delete(queue)


@check
def confirms_and_transactions_exclude_each_other():
    with connect() as connection:
        for first, second, text in (
            ("confirm_delivery", "tx_select", "cannot switch from confirm to tx mode"),
            ("tx_select", "confirm_delivery", "cannot switch from tx to confirm mode"),
        ):

            def both(c, first=first, second=second):
                getattr(c, first)()
                getattr(c, second)()

            refused(connection, 406, text, both)
        refused(connection, 406, "channel is not transactional", lambda c: c.tx_commit())


@check
def higher_priority_consumers_come_first():
    with connect() as connection:
        low, high = connection.channel(), connection.channel()
        queue = server_named(low)
        into_low, into_high = [], []
        high.basic_qos(prefetch_count=2)
        low.basic_consume(queue, collect(into_low), auto_ack=True)
        high.basic_consume(queue, collect(into_high), arguments={"x-priority": 10})
        for number in range(5):
            low.basic_publish("", queue, str(number).encode())
        receive(connection, into_high, 2)
        receive(connection, into_low, 3)
        equal([body for _, _, body in into_high], [b"0", b"1"])
        equal([body for _, _, body in into_low], [b"2", b"3", b"4"])


@check
def round_robin():
    with connect() as connection:
        channel = connection.channel()
        queue, workers = server_named(channel), [[], [], []]
        for worker in workers:
            channel.basic_consume(queue, collect(worker), auto_ack=True)
        for number in range(9):
            channel.basic_publish("", queue, bytes([number]))
        for worker in workers:
            receive(connection, worker, 3)


@check
def user_id_is_checked():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"mine", pika.BasicProperties(user_id="guest"))
        equal(get(channel, queue)[1].user_id, "guest")

        def publish(c):
            c.confirm_delivery()
            c.basic_publish("", queue, b"", pika.BasicProperties(user_id="somebody"))

        refused(connection, 406, "user_id property set to 'somebody' but authenticated user was 'guest'", publish)


if __name__ == "__main__":
    main()
