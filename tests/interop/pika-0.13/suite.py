"""pika 0.13, as scripts of its time call it: positional callbacks, `no_ack=`, `type=` and `queue=` after the handler."""

import collections
import collections.abc

# The library predates Python 3.10, which dropped this alias; nothing else in it needs help.
collections.Callable = collections.abc.Callable

import pika
from pika.exceptions import ChannelClosed, UnroutableError

from harness import URL, check, equal, main, raises, unique, until


def connect(**overrides):
    parameters = pika.URLParameters(URL)
    for field, value in overrides.items():
        setattr(parameters, field, value)
    return pika.BlockingConnection(parameters)


def server_named(channel, **arguments):
    return channel.queue_declare(exclusive=True, **arguments).method.queue


def get(channel, queue, no_ack=True):
    return until(
        f"a message in {queue}",
        lambda: (reply := channel.basic_get(queue=queue, no_ack=no_ack))[0] and reply,
    )


def receive(connection, into, count):
    def enough():
        connection.process_data_events(time_limit=0.05)
        return len(into) >= count

    until(f"{count} arrivals", enough)


@check
def version_is_the_old_one():
    equal(pika.__version__, "0.13.1")


@check
def every_exchange_type():
    connection = connect()
    channel = connection.channel()
    for kind, binding, hits, misses in (
        ("direct", "k", ["k"], ["other"]),
        ("fanout", "", ["k", "other"], []),
        ("topic", "*.log.#", ["a.log", "a.log.b.c"], ["log", "a.b.log"]),
    ):
        exchange = unique(kind)
        channel.exchange_declare(exchange=exchange, exchange_type=kind)
        queue = server_named(channel)
        channel.queue_bind(exchange=exchange, queue=queue, routing_key=binding)
        for key in misses + hits:
            channel.basic_publish(exchange=exchange, routing_key=key, body=key)
        equal([get(channel, queue)[2].decode() for _ in hits], hits, kind)
        equal(channel.basic_get(queue=queue, no_ack=True), (None, None, None), kind)
        channel.exchange_delete(exchange=exchange)
    exchange, queue = unique("headers"), server_named(channel)
    channel.exchange_declare(exchange=exchange, exchange_type="headers")
    channel.queue_bind(exchange=exchange, queue=queue, arguments={"x-match": "all", "a": 1, "b": "two"})
    channel.basic_publish(exchange, "", "no", pika.BasicProperties(headers={"a": 1}))
    channel.basic_publish(exchange, "", "yes", pika.BasicProperties(headers={"a": 1, "b": "two"}))
    equal(get(channel, queue)[2], b"yes")
    channel.exchange_delete(exchange=exchange)
    connection.close()


@check
def consume_with_the_handler_first():
    connection = connect()
    channel = connection.channel()
    queue = unique("old")
    channel.queue_declare(queue=queue)
    seen = []

    def handler(channel, method, properties, body):
        seen.append((method.redelivered, body))

    channel.basic_consume(handler, queue=queue, no_ack=True)
    channel.basic_publish(exchange="", routing_key=queue, body="hello")
    receive(connection, seen, 1)
    equal(seen, [(False, b"hello")])
    channel.queue_delete(queue=queue)
    connection.close()


@check
def start_consuming_acks_and_stops():
    connection = connect()
    channel = connection.channel()
    queue = unique("work")
    channel.queue_declare(queue=queue, durable=True)
    for number in range(5):
        channel.basic_publish("", queue, str(number), pika.BasicProperties(delivery_mode=2))
    seen = []

    def handler(channel, method, _properties, body):
        seen.append(body)
        channel.basic_ack(delivery_tag=method.delivery_tag)
        if len(seen) == 5:
            channel.stop_consuming()

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(handler, queue=queue)
    channel.start_consuming()
    equal(seen, [b"0", b"1", b"2", b"3", b"4"])
    equal(channel.queue_delete(queue=queue).method.message_count, 0)
    connection.close()


@check
def reject_nack_and_redelivered():
    connection = connect()
    channel = connection.channel()
    queue = server_named(channel)
    channel.basic_publish("", queue, "again")
    method, _, _ = get(channel, queue, no_ack=False)
    equal(method.redelivered, False)
    channel.basic_reject(method.delivery_tag, requeue=True)
    method, _, _ = get(channel, queue, no_ack=False)
    equal(method.redelivered, True)
    channel.basic_nack(method.delivery_tag, requeue=True)
    method, _, _ = get(channel, queue, no_ack=False)
    channel.basic_nack(method.delivery_tag, requeue=False)
    equal(channel.queue_declare(queue=queue, passive=True).method.message_count, 0)
    connection.close()


@check
def confirm_returns_true_and_mandatory_comes_back():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    queue = server_named(channel)
    equal(channel.basic_publish("", queue, "confirmed", mandatory=True), True)
    with raises(UnroutableError):
        channel.publish("", unique("nowhere"), "comes back", mandatory=True)
    connection.close()


@check
def return_callback_without_confirm():
    connection = connect()
    channel = connection.channel()
    returned = []
    channel.add_on_return_callback(lambda _c, method, _p, body: returned.append((method.reply_code, body)))
    channel.basic_publish("", unique("nowhere"), "comes back", mandatory=True)
    receive(connection, returned, 1)
    equal(returned, [(312, b"comes back")])
    connection.close()


@check
def properties_and_headers_round_trip():
    connection = connect()
    channel = connection.channel()
    queue = server_named(channel)
    headers = {"i": 1, "s": "text", "b": True, "n": None, "t": {"x": [1, 2]}, "big": 1 << 40}
    sent = pika.BasicProperties(
        content_type="application/json", correlation_id="c", reply_to="r", priority=3, message_id="m", headers=headers
    )
    channel.basic_publish("", queue, "{}", sent)
    _, properties, _ = get(channel, queue)
    equal(properties.headers, headers)
    equal((properties.content_type, properties.correlation_id, properties.priority), ("application/json", "c", 3))
    connection.close()


@check
def large_message():
    connection = connect()
    channel = connection.channel()
    queue = server_named(channel)
    body = b"0123456789abcdef" * (2 * 1024 * 1024 // 16)
    channel.basic_publish("", queue, body)
    assert get(channel, queue)[2] == body
    connection.close()


@check
def transaction():
    connection = connect()
    channel = connection.channel()
    queue = server_named(channel)
    channel.tx_select()
    channel.basic_publish("", queue, "dropped")
    channel.tx_rollback()
    channel.basic_publish("", queue, "kept")
    channel.tx_commit()
    equal(get(channel, queue)[2], b"kept")
    connection.close()


@check
def channel_exception_then_new_channel():
    connection = connect()
    with raises(ChannelClosed) as caught:
        connection.channel().queue_declare(queue=unique("missing"), passive=True)
    equal(caught.error.args[0], 404)
    server_named(connection.channel())
    connection.close()


@check
def heartbeat_keeps_an_idle_connection():
    connection = connect(heartbeat=2)
    channel = connection.channel()
    target = server_named(channel)
    delay = server_named(channel, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target})
    seen = []
    channel.basic_consume(lambda _c, _m, _p, body: seen.append(body), queue=target, no_ack=True)
    channel.basic_publish("", delay, "after the silence", pika.BasicProperties(expiration="7000"))
    receive(connection, seen, 1)
    connection.close()


@check
def select_connection():
    """Opens, declares, publishes, consumes and closes with nothing but callbacks."""
    queue = unique("select")
    seen = []

    def on_open(connection):
        connection.channel(on_channel)

    def on_channel(channel):
        channel.queue_declare(lambda _frame: on_queue(channel), queue=queue, auto_delete=True)

    def on_queue(channel):
        channel.basic_consume(on_message, queue=queue)
        channel.basic_publish("", queue, "through select")

    def on_message(channel, method, _properties, body):
        seen.append(body)
        channel.basic_ack(method.delivery_tag)
        channel.connection.close()

    connection = pika.SelectConnection(
        pika.URLParameters(URL), on_open, on_close_callback=lambda connection, _code, _text: connection.ioloop.stop()
    )
    connection.ioloop.start()
    equal(seen, [b"through select"])


if __name__ == "__main__":
    main()
