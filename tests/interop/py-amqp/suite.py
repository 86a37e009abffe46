"""py-amqp, the library below kombu and Celery. It sends heartbeats only when asked, which the last checks use."""

import datetime
import decimal
from urllib.parse import urlsplit

import amqp

from harness import URL, check, equal, main, raises, unique, until


def connect(**overrides):
    url = urlsplit(URL)
    options = dict(host=f"{url.hostname}:{url.port}", userid=url.username, password=url.password, connect_timeout=60)
    connection = amqp.Connection(**{**options, **overrides})
    connection.connect()
    return connection


def server_named(channel, **options):
    return channel.queue_declare("", exclusive=True, auto_delete=False, **options).queue


def get(channel, queue, no_ack=True):
    return until(f"a message in {queue}", lambda: channel.basic_get(queue, no_ack=no_ack))


def receive(connection, into, count):
    def enough():
        try:
            connection.drain_events(timeout=0.05)
        except TimeoutError:
            pass
        return len(into) >= count

    until(f"{count} arrivals", enough)


def text(body, **properties):
    return amqp.Message(body, **properties)


@check
def every_exchange_type():
    with connect() as connection:
        channel = connection.channel()
        for kind, binding, hits, misses in (
            ("direct", "k", ["k"], ["other"]),
            ("fanout", "", ["k", "other"], []),
            ("topic", "*.log.#", ["a.log", "a.log.b.c"], ["log", "a.b.log"]),
        ):
            exchange, queue = unique(kind), server_named(channel)
            channel.exchange_declare(exchange, kind, auto_delete=False)
            channel.queue_bind(queue, exchange, binding)
            for key in misses + hits:
                channel.basic_publish(text(key), exchange, key)
            equal([get(channel, queue).body for _ in hits], hits, kind)
            equal(channel.basic_get(queue), None, kind)
            channel.queue_unbind(queue, exchange, binding)
            channel.exchange_delete(exchange, if_unused=True)
        exchange, queue = unique("headers"), server_named(channel)
        channel.exchange_declare(exchange, "headers", auto_delete=True)
        channel.queue_bind(queue, exchange, arguments={"x-match": "any", "a": 1, "b": "two"})
        channel.basic_publish(text("no", application_headers={"a": 2}), exchange)
        channel.basic_publish(text("yes", application_headers={"b": "two"}), exchange)
        equal(get(channel, queue).body, "yes")


@check
def exchange_to_exchange():
    with connect() as connection:
        channel = connection.channel()
        source, destination, queue = unique("source"), unique("destination"), server_named(channel)
        channel.exchange_declare(source, "direct", auto_delete=True)
        channel.exchange_declare(destination, "fanout", auto_delete=True)
        channel.exchange_bind(destination, source, "k")
        channel.queue_bind(queue, destination)
        channel.basic_publish(text("through two"), source, "k")
        equal(get(channel, queue).body, "through two")
        channel.exchange_unbind(destination, source, "k")


@check
def publish_with_confirm():
    with connect(confirm_publish=True) as connection:
        channel = connection.channel()
        queue = unique("confirmed")
        channel.queue_declare(queue, durable=True, auto_delete=False)
        for number in range(20):
            channel.basic_publish(text(str(number), delivery_mode=2), "", queue)
        equal(channel.queue_declare(queue, passive=True).message_count, 20)
        equal(channel.queue_purge(queue), 20)
        channel.queue_delete(queue, if_empty=True)


@check
def mandatory_return():
    with connect() as connection:
        channel = connection.channel()
        returned = []
        channel.events["basic_return"].add(lambda *args: returned.append(args))
        channel.basic_publish(text("comes back"), "", unique("nowhere"), mandatory=True)
        receive(connection, returned, 1)
        error, exchange, _key, message = returned[0]
        equal((error.reply_code, error.reply_text, exchange, message.body), (312, "NO_ROUTE", "", "comes back"))


@check
def consume_ack_reject_requeue():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        for body in ("acked", "requeued", "dropped"):
            channel.basic_publish(text(body), "", queue)
        seen = []

        def on_message(message):
            redelivered = message.delivery_info["redelivered"]
            seen.append((message.body, redelivered))
            if message.body == "requeued" and not redelivered:
                channel.basic_reject(message.delivery_tag, requeue=True)
            elif message.body == "dropped":
                channel.basic_reject(message.delivery_tag, requeue=False)
            else:
                channel.basic_ack(message.delivery_tag)

        tag = channel.basic_consume(queue, callback=on_message)
        receive(connection, seen, 4)
        equal(sorted(seen), [("acked", False), ("dropped", False), ("requeued", False), ("requeued", True)])
        channel.basic_cancel(tag)
        equal(channel.queue_declare(queue, passive=True).message_count, 0)


@check
def prefetch_and_recover():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        for number in range(6):
            channel.basic_publish(text(str(number)), "", queue)
        channel.basic_qos(0, 2, False)
        seen = []
        tag = channel.basic_consume(queue, callback=seen.append)
        receive(connection, seen, 2)
        until("four ready", lambda: channel.queue_declare(queue, passive=True).message_count == 4)
        equal(len(seen), 2, "deliveries before an ack")
        channel.basic_cancel(tag)
        channel.basic_recover(requeue=True)
        until("six ready", lambda: channel.queue_declare(queue, passive=True).message_count == 6)
        first = get(channel, queue)
        equal((first.body, first.delivery_info["redelivered"], first.delivery_info["message_count"]), ("0", True, 5))


@check
def exclusive_and_auto_delete_queues():
    with connect() as connection, connect() as other:
        channel = connection.channel()
        queue = server_named(channel)
        assert queue.startswith("amq.gen-"), queue
        with raises(amqp.ResourceLocked):
            other.channel().queue_declare(queue, passive=True)
        shared = channel.queue_declare("", auto_delete=True).queue
        channel.basic_cancel(channel.basic_consume(shared))

        def gone():
            try:
                other.channel().queue_declare(shared, passive=True)
            except amqp.NotFound:
                return True
            return False

        until("auto-delete queue gone", gone)


@check
def properties_and_headers_round_trip():
    headers = {
        "bool": True,
        "int": 7,
        "negative": -1,
        "big": 1 << 40,
        "float": 2.5,
        "text": "žluťoučký",
        "decimal": decimal.Decimal("3.14"),
        "time": datetime.datetime(2024, 1, 2, 3, 4, 5),
        "none": None,
        "table": {"deep": {"deeper": [1, "x", {"y": False}]}},
        "array": [1, "a", True, None],
    }
    properties = dict(
        content_type="text/plain",
        content_encoding="utf-8",
        delivery_mode=2,
        priority=4,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
        cluster_id="cl",
    )
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.basic_publish(text("x", application_headers=headers, **properties), "", queue)
        message = get(channel, queue)
        for field, value in properties.items():
            actual = message.properties[field]
            if isinstance(actual, datetime.datetime):
                actual = int(actual.replace(tzinfo=datetime.timezone.utc).timestamp())
            equal(actual, value, field)
        for key, value in headers.items():
            equal(message.properties["application_headers"][key], value, key)


@check
def large_binary_message():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        body = bytes(range(256)) * (2 * 1024 * 1024 // 256)
        channel.basic_publish(text(body, content_encoding="binary"), "", queue)
        assert bytes(get(channel, queue).body) == body


@check
def transaction():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.tx_select()
        channel.basic_publish(text("dropped"), "", queue)
        channel.tx_rollback()
        channel.basic_publish(text("kept"), "", queue)
        channel.tx_commit()
        equal(get(channel, queue).body, "kept")
        equal(channel.basic_get(queue), None)


@check
def channel_exceptions_then_new_channels():
    with connect() as connection:
        queue = unique("redeclared")
        connection.channel().queue_declare(queue, auto_delete=False)
        with raises(amqp.PreconditionFailed):
            connection.channel().queue_declare(queue, durable=True, auto_delete=False)
        with raises(amqp.NotFound):
            connection.channel().exchange_declare(unique("missing"), "direct", passive=True)
        with raises(amqp.AccessRefused):
            connection.channel().exchange_declare("amq.reserved", "direct")
        connection.channel().queue_delete(queue)


@check
def flow_is_answered():
    with connect() as connection:
        connection.channel().flow(True)


@check
def amqplain_login():
    with connect(login_method="AMQPLAIN") as connection:
        server_named(connection.channel())


@check
def refused_login():
    with raises(amqp.AccessRefused):
        connect(password="wrong")


@check
def close_and_reconnect():
    connection = connect()
    queue = unique("durable")
    connection.channel().queue_declare(queue, durable=True, auto_delete=False)
    connection.close()
    assert not connection.connected
    with connect() as connection:
        equal(connection.channel().queue_delete(queue), 0)


@check
def blocked_handlers_register():
    with connect(on_blocked=lambda _reason: None, on_unblocked=lambda: None) as connection:
        assert connection.server_capabilities["connection.blocked"] is True
        equal(connection.server_properties["product"], "RabbitMQ")


@check
def server_heartbeats_and_hangs_up_on_a_silent_client():
    """This client never calls `heartbeat_tick`: it must see heartbeats first and the end of the socket after."""
    connection = connect(heartbeat=1)
    equal(connection.heartbeat, 1)
    opened_with = connection.bytes_recv

    def hung_up():
        try:
            connection.drain_events(timeout=0.2)
        except TimeoutError:
            return False
        except (ConnectionError, OSError, amqp.ConnectionError):
            return True
        return False

    until("the server hangs up", hung_up)
    assert connection.bytes_recv > opened_with, "no heartbeat came before the hang-up"


@check
def heartbeat_tick_keeps_the_connection():
    with connect(heartbeat=2) as connection:
        channel = connection.channel()
        target = server_named(channel)
        delay = server_named(channel, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target})
        seen = []
        channel.basic_consume(target, callback=seen.append, no_ack=True)
        channel.basic_publish(text("after the silence", expiration="7000"), "", delay)

        def arrived():
            connection.heartbeat_tick()
            try:
                connection.drain_events(timeout=0.25)
            except TimeoutError:
                pass
            return seen

        until("the delayed message", arrived)


@check
def direct_reply_to():
    with connect() as connection:
        client, server = connection.channel(), connection.channel()
        queue = server_named(server)
        replies = []
        server.basic_consume(
            queue,
            no_ack=True,
            callback=lambda request: server.basic_publish(text(request.body[::-1]), "", request.properties["reply_to"]),
        )
        client.basic_consume("amq.rabbitmq.reply-to", no_ack=True, callback=replies.append)
        client.basic_publish(text("abc", reply_to="amq.rabbitmq.reply-to"), "", queue)
        receive(connection, replies, 1)
        equal(replies[0].body, "cba")


if __name__ == "__main__":
    main()
