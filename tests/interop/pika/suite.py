"""pika 1.x, `BlockingConnection`: the method classes one by one. The programs people learn with are in `pages.py`."""

import datetime
import decimal
import time

import pika
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    NoFreeChannels,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from client import collect, connect, get, receive, server_named
from harness import URL, check, equal, free_port, main, raises, unique, until


@check
def delayed_message_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange, queue = unique("delayed"), server_named(channel)
        channel.exchange_declare(exchange, "x-delayed-message", arguments={"x-delayed-type": "direct"})
        channel.queue_bind(queue, exchange, "key")
        channel.confirm_delivery()
        started = time.monotonic()
        for delay in (3000, 500):
            properties = pika.BasicProperties(headers={"x-delay": delay})
            channel.basic_publish(exchange, "key", str(delay).encode(), properties, mandatory=True)
        arrived = [(get(channel, queue), time.monotonic() - started) for _ in range(2)]
        equal([body for (_, _, body), _ in arrived], [b"500", b"3000"])
        equal([properties.headers for (_, properties, _), _ in arrived], [{"x-delay": -500}, {"x-delay": -3000}])
        assert arrived[0][1] >= 0.5 and arrived[1][1] >= 3, arrived
        channel.exchange_delete(exchange)
        for arguments in ({}, {"x-delayed-type": "x-delayed-message"}, {"x-delayed-type": "nothing"}):
            with raises(ChannelClosedByBroker) as caught:
                connection.channel().exchange_declare(exchange, "x-delayed-message", arguments=arguments)
            equal(caught.error.reply_code, 406)


@check
def direct_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("direct")
        channel.exchange_declare(exchange, "direct")
        queue = server_named(channel)
        channel.queue_bind(queue, exchange, "red")
        channel.queue_bind(queue, exchange, "green")
        for key in ("red", "blue", "green"):
            channel.basic_publish(exchange, key, key.encode())
        equal([get(channel, queue)[2], get(channel, queue)[2]], [b"red", b"green"])
        channel.queue_unbind(queue, exchange, "red")
        channel.basic_publish(exchange, "red", b"unbound")
        equal(channel.basic_get(queue), (None, None, None))
        channel.exchange_delete(exchange)


@check
def fanout_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("fanout")
        channel.exchange_declare(exchange, "fanout", auto_delete=True)
        queues = [server_named(channel) for _ in range(3)]
        for queue in queues:
            channel.queue_bind(queue, exchange)
        channel.basic_publish(exchange, "ignored", b"to all")
        for queue in queues:
            equal(get(channel, queue)[2], b"to all")


@check
def topic_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("topic")
        channel.exchange_declare(exchange, "topic", durable=True)
        one_word, any_words = server_named(channel), server_named(channel)
        channel.queue_bind(one_word, exchange, "*.error")
        channel.queue_bind(any_words, exchange, "kern.#")
        for key in ("kern.error", "kern", "kern.a.b", "disk.error", "a.b.error"):
            channel.basic_publish(exchange, key, key.encode())
        equal([get(channel, one_word)[2] for _ in range(2)], [b"kern.error", b"disk.error"])
        equal([get(channel, any_words)[2] for _ in range(3)], [b"kern.error", b"kern", b"kern.a.b"])
        equal(channel.basic_get(one_word)[0], None)
        channel.exchange_delete(exchange)


@check
def headers_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("headers")
        channel.exchange_declare(exchange, "headers")
        every, either = server_named(channel), server_named(channel)
        wanted = {"format": "pdf", "pages": 3}
        channel.queue_bind(every, exchange, arguments={"x-match": "all", **wanted})
        channel.queue_bind(either, exchange, arguments={"x-match": "any", **wanted})
        for body, headers in (
            (b"both", {"format": "pdf", "pages": 3, "more": True}),
            (b"one", {"format": "pdf", "pages": 4}),
            (b"none", {"format": "txt"}),
        ):
            channel.basic_publish(exchange, "", body, pika.BasicProperties(headers=headers))
        equal(get(channel, every)[2], b"both")
        equal(channel.basic_get(every)[0], None)
        equal([get(channel, either)[2] for _ in range(2)], [b"both", b"one"])
        equal(channel.basic_get(either)[0], None)
        channel.exchange_delete(exchange)


@check
def consistent_hash_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("consistent")
        channel.exchange_declare(exchange, "x-consistent-hash", arguments={"hash-property": "message_id"})
        queues = [server_named(channel) for _ in range(2)]
        for queue in queues:
            channel.queue_bind(queue, exchange, "10")
        channel.confirm_delivery()
        for number in range(100):
            # Each id twice: both have to go to the same queue.
            properties = pika.BasicProperties(message_id=str(number // 2))
            channel.basic_publish(exchange, "", b"x", properties)
        seen = [[], []]
        for queue, ids in zip(queues, seen):
            while (reply := channel.basic_get(queue, auto_ack=True))[0]:
                ids.append(reply[1].message_id)
        equal(len(seen[0]) + len(seen[1]), 100)
        equal(set(seen[0]) & set(seen[1]), set())
        assert min(map(len, seen)) > 20, f"a fair share each, not {[len(ids) for ids in seen]}"
        with raises(ChannelClosedByBroker) as caught:
            channel.queue_bind(queues[0], exchange, "0")
        equal(caught.error.reply_code, 406)
        connection.channel().exchange_delete(exchange)


@check
def modulus_hash_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("modulus")
        channel.exchange_declare(exchange, "x-modulus-hash")
        queues = [server_named(channel) for _ in range(3)]
        for queue in queues:
            channel.queue_bind(queue, exchange)
        channel.confirm_delivery()
        for number in range(60):
            channel.basic_publish(exchange, f"key-{number % 20}", str(number % 20).encode())
        bodies = []
        for queue in queues:
            found = []
            while (reply := channel.basic_get(queue, auto_ack=True))[0]:
                found.append(reply[2])
            bodies.append(found)
        equal(sum(map(len, bodies)), 60)
        # A key is in one queue, with all its messages.
        equal(sum(len(set(found)) for found in bodies), 20)
        channel.exchange_delete(exchange)


@check
def random_exchanges():
    with connect() as connection:
        for kind in ("x-random", "x-local-random"):
            channel = connection.channel()
            exchange = unique("random")
            channel.exchange_declare(exchange, kind)
            queues = [server_named(channel) for _ in range(2)]
            for queue in queues:
                channel.queue_bind(queue, exchange, "")
            channel.confirm_delivery()
            for _ in range(100):
                channel.basic_publish(exchange, "any", b"x")
            counts = [channel.queue_declare(queue, passive=True).method.message_count for queue in queues]
            equal(sum(counts), 100)
            assert min(counts) > 10, f"both get some, not {counts}"
            channel.exchange_delete(exchange)


@check
def recent_history_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("history")
        channel.exchange_declare(exchange, "x-recent-history", arguments={"x-recent-history-length": 3})
        for number in range(5):
            channel.basic_publish(exchange, "", str(number).encode())
        channel.basic_publish(
            exchange, "", b"not kept", pika.BasicProperties(headers={"x-recent-history-no-store": True})
        )
        queue = server_named(channel)
        channel.queue_bind(queue, exchange)
        equal([get(channel, queue)[2] for _ in range(3)], [b"2", b"3", b"4"])
        channel.basic_publish(exchange, "", b"live")
        equal(get(channel, queue)[2], b"live")
        channel.exchange_delete(exchange)


@check
def jms_topic_exchange():
    with connect() as connection:
        channel = connection.channel()
        exchange = unique("jms")
        channel.exchange_declare(exchange, "x-jms-topic")
        queue = server_named(channel)
        selector = """{'and',{'=',{'ident',<<"colour">>},<<"blue">>},{'>',{'ident',<<"weight">>},2}}."""
        channel.queue_bind(queue, exchange, "", {"rjms_erlang_selector": selector})
        for body, headers in (
            (b"light", {"colour": "blue", "weight": 1}),
            (b"heavy", {"colour": "blue", "weight": 3}),
            (b"red", {"colour": "red", "weight": 3}),
            (b"bare", {}),
        ):
            channel.basic_publish(exchange, "", body, pika.BasicProperties(headers=headers))
        equal(get(channel, queue)[2], b"heavy")
        equal(channel.basic_get(queue)[0], None)
        with raises(ChannelClosedByBroker) as caught:
            channel.queue_bind(queue, exchange, "", {"rjms_erlang_selector": "{"})
        equal(caught.error.reply_code, 406)
        connection.channel().exchange_delete(exchange)


@check
def exchange_to_exchange():
    with connect() as connection:
        channel = connection.channel()
        source, destination = unique("source"), unique("destination")
        channel.exchange_declare(source, "topic")
        channel.exchange_declare(destination, "fanout")
        channel.exchange_bind(destination, source, "a.*")
        queue = server_named(channel)
        channel.queue_bind(queue, destination)
        channel.basic_publish(source, "a.b", b"through two")
        equal(get(channel, queue)[2], b"through two")
        channel.exchange_unbind(destination, source, "a.*")
        channel.basic_publish(source, "a.b", b"lost")
        equal(channel.basic_get(queue)[0], None)
        channel.exchange_delete(source)
        channel.exchange_delete(destination)


@check
def publish_with_confirm():
    with connect() as connection:
        channel = connection.channel()
        queue = unique("confirmed")
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()
        for number in range(20):
            channel.basic_publish(
                "", queue, str(number).encode(), pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
            )
        equal(channel.queue_declare(queue, passive=True).method.message_count, 20)
        equal(channel.queue_purge(queue).method.message_count, 20)
        equal(channel.queue_delete(queue).method.message_count, 0)


@check
def confirm_nack_on_full_queue():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"fits")
        with raises(NackError):
            channel.basic_publish("", queue, b"does not")
        equal(channel.queue_declare(queue, passive=True).method.message_count, 1)


@check
def mandatory_return_with_confirm():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with raises(UnroutableError) as caught:
            channel.basic_publish("", unique("nowhere"), b"comes back", mandatory=True)
        returned = caught.error.messages[0]
        equal((returned.method.reply_code, returned.method.reply_text), (312, "NO_ROUTE"))
        equal(returned.body, b"comes back")


@check
def mandatory_return_without_confirm():
    with connect() as connection:
        channel = connection.channel()
        returned = []
        channel.add_on_return_callback(lambda _c, method, properties, body: returned.append((method, properties, body)))
        key = unique("nowhere")
        channel.basic_publish("", key, b"comes back", pika.BasicProperties(message_id="m1"), mandatory=True)
        receive(connection, returned, 1)
        method, properties, body = returned[0]
        equal((method.reply_code, method.exchange, method.routing_key), (312, "", key))
        equal((properties.message_id, body), ("m1", b"comes back"))


@check
def ack_nack_reject_requeue():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        for body in (b"acked", b"nacked", b"rejected", b"dropped"):
            channel.basic_publish("", queue, body)
        seen = []

        def on_message(channel, method, _properties, body):
            seen.append((body, method.redelivered))
            if body == b"nacked" and not method.redelivered:
                channel.basic_nack(method.delivery_tag, requeue=True)
            elif body == b"rejected" and not method.redelivered:
                channel.basic_reject(method.delivery_tag, requeue=True)
            elif body == b"dropped":
                channel.basic_reject(method.delivery_tag, requeue=False)
            else:
                channel.basic_ack(method.delivery_tag)

        channel.basic_consume(queue, on_message)
        receive(connection, seen, 6)
        equal(
            sorted(seen),
            [
                (b"acked", False),
                (b"dropped", False),
                (b"nacked", False),
                (b"nacked", True),
                (b"rejected", False),
                (b"rejected", True),
            ],
        )
        equal(channel.queue_delete(queue).method.message_count, 0)


@check
def ack_multiple_and_recover():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        for number in range(5):
            channel.basic_publish("", queue, str(number).encode())
        tags = [get(channel, queue, auto_ack=False)[0].delivery_tag for _ in range(5)]
        channel.basic_ack(tags[2], multiple=True)
        channel.basic_recover(requeue=True)
        again = [get(channel, queue) for _ in range(2)]
        equal([(method.redelivered, body) for method, _, body in again], [(True, b"3"), (True, b"4")])
        equal(channel.basic_get(queue)[0], None)


@check
def unacked_return_when_channel_closes():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.basic_publish("", queue, b"kept")
        equal(get(channel, queue, auto_ack=False)[0].redelivered, False)
        channel.close()
        method, _, body = get(connection.channel(), queue)
        equal((method.redelivered, body), (True, b"kept"))


@check
def basic_get_counts():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.confirm_delivery()
        for _ in range(3):
            channel.basic_publish("", queue, b"x")
        equal([channel.basic_get(queue, auto_ack=True)[0].message_count for _ in range(3)], [2, 1, 0])
        equal(channel.basic_get(queue), (None, None, None))


@check
def prefetch_count_limits_unacked():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        for number in range(10):
            channel.basic_publish("", queue, str(number).encode())
        channel.basic_qos(prefetch_count=3)
        seen = []
        channel.basic_consume(queue, collect(seen))
        receive(connection, seen, 3)
        until("seven ready", lambda: channel.queue_declare(queue, passive=True).method.message_count == 7)
        equal(len(seen), 3, "deliveries before an ack")
        channel.basic_ack(seen[1][0].delivery_tag, multiple=True)
        receive(connection, seen, 5)
        equal(channel.queue_declare(queue, passive=True).method.message_count, 5)
        channel.basic_ack(0, multiple=True)
        receive(connection, seen, 8)


@check
def consume_generator_with_inactivity():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        for number in range(4):
            channel.basic_publish("", queue, str(number).encode())
        bodies = []
        for method, _, body in channel.consume(queue, inactivity_timeout=60):
            bodies.append(body)
            channel.basic_ack(method.delivery_tag)
            if len(bodies) == 3:
                break
        channel.cancel()
        equal((bodies, get(channel, queue)[2]), ([b"0", b"1", b"2"], b"3"), "the fourth came back with the cancel")


@check
def exclusive_queue_is_locked_and_goes_with_its_connection():
    with connect() as other:
        owner = connect()
        queue = owner.channel().queue_declare(unique("exclusive"), exclusive=True).method.queue
        with raises(ChannelClosedByBroker) as caught:
            other.channel().queue_declare(queue, passive=True)
        equal(caught.error.reply_code, 405)
        owner.close()

        def is_gone():
            with raises(ChannelClosedByBroker) as caught:
                other.channel().queue_declare(queue, passive=True)
            return caught.error.reply_code == 404

        until("the end of the queue", is_gone)


@check
def exclusive_consumer():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.basic_consume(queue, collect([]), exclusive=True)
        with raises(ChannelClosedByBroker) as caught:
            connection.channel().basic_consume(queue, collect([]))
        equal(caught.error.reply_code, 403)


@check
def auto_delete_and_server_named_queues():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", auto_delete=True).method.queue
        assert queue.startswith("amq.gen-"), queue
        tag = channel.basic_consume(queue, collect([]))
        assert channel.queue_declare(queue, passive=True).method.consumer_count == 1
        channel.basic_cancel(tag)

        def gone():
            try:
                connection.channel().queue_declare(queue, passive=True)
            except ChannelClosedByBroker as error:
                return error.reply_code == 404
            return False

        until("auto-delete queue gone", gone)


@check
def server_cancel_when_queue_is_deleted():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        cancelled = []
        channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        tag = channel.basic_consume(queue, collect([]))
        connection.channel().queue_delete(queue)
        receive(connection, cancelled, 1)
        equal(cancelled, [tag])


PROPERTIES = dict(
    content_type="text/plain",
    content_encoding="utf-8",
    delivery_mode=2,
    priority=7,
    correlation_id="c-1",
    reply_to="r-1",
    expiration="60000",
    message_id="m-1",
    timestamp=1_700_000_000,
    type="t-1",
    user_id="guest",
    app_id="a-1",
    cluster_id="cl-1",
)
HEADERS = {
    "bool": True,
    "not": False,
    "small": 1,
    "negative": -5,
    "big": 1 << 40,
    "text": "žluťoučký",
    "empty": "",
    "decimal": decimal.Decimal("3.14"),
    "time": datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
    "none": None,
    "table": {"inner": {"deep": [1, "two", {"three": 3}]}},
    "array": [1, "a", True, None],
}


@check
def properties_and_headers_round_trip():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.basic_publish("", queue, b"", pika.BasicProperties(headers=HEADERS, **PROPERTIES))
        _, properties, body = get(channel, queue)
        equal(body, b"")
        for field, value in PROPERTIES.items():
            equal(getattr(properties, field), value, field)
        for key, value in HEADERS.items():
            equal(properties.headers[key], value, key)
        equal(set(properties.headers), set(HEADERS))


@check
def large_message():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.confirm_delivery()
        body = bytes(range(256)) * (3 * 1024 * 1024 // 256) + b"odd tail"
        channel.basic_publish("", queue, body)
        assert get(channel, queue)[2] == body, "3 MiB body differs"
        exactly_one_frame = b"f" * (131072 - 8)
        channel.basic_publish("", queue, exactly_one_frame)
        assert get(channel, queue)[2] == exactly_one_frame


@check
def transaction():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel)
        channel.tx_select()
        channel.basic_publish("", queue, b"rolled back")
        channel.tx_rollback()
        channel.basic_publish("", queue, b"committed")
        equal(channel.queue_declare(queue, passive=True).method.message_count, 0)
        channel.tx_commit()
        method, _, body = get(channel, queue, auto_ack=False)
        equal(body, b"committed")
        channel.basic_ack(method.delivery_tag)
        channel.tx_commit()
        channel.close()
        equal(connection.channel().basic_get(queue)[0], None)


@check
def channel_exception_then_new_channel():
    with connect() as connection:
        channel = connection.channel()
        missing = unique("missing")
        with raises(ChannelClosedByBroker) as caught:
            channel.queue_declare(missing, passive=True)
        equal((caught.error.reply_code, caught.error.reply_text), (404, f"NOT_FOUND - no queue '{missing}' in vhost '/'"))
        assert channel.is_closed and connection.is_open
        channel = connection.channel()
        queue = unique("redeclared")
        channel.queue_declare(queue)
        with raises(ChannelClosedByBroker) as caught:
            channel.queue_declare(queue, durable=True)
        equal(caught.error.reply_code, 406)
        equal(
            caught.error.reply_text,
            f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}' in vhost '/': "
            "received 'true' but current is 'false'",
        )
        connection.channel().queue_delete(queue)


@check
def publish_to_missing_exchange_closes_the_channel():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with raises(ChannelClosedByBroker) as caught:
            channel.basic_publish(unique("no-exchange"), "k", b"x")
        equal(caught.error.reply_code, 404)


@check
def unknown_delivery_tag_closes_the_channel():
    with connect() as connection:
        channel = connection.channel()
        channel.basic_ack(99)
        with raises(ChannelClosedByBroker) as caught:
            until("channel closed", lambda: channel.basic_get("", auto_ack=True) and False)
        equal((caught.error.reply_code, caught.error.reply_text), (406, "PRECONDITION_FAILED - unknown delivery tag 99"))


@check
def wrong_password_is_refused():
    with raises(pika.exceptions.ProbableAuthenticationError) as caught:
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    assert "ACCESS_REFUSED" in str(caught.error), caught.error


@check
def unknown_vhost_is_refused():
    with raises(ConnectionClosedByBroker, pika.exceptions.ProbableAccessDeniedError) as caught:
        connect(virtual_host="no-such-vhost")
    assert "530" in str(caught.error), caught.error


@check
def close_and_reconnect():
    queue = unique("durable")
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"waits", pika.BasicProperties(delivery_mode=2))
    assert connection.is_closed
    with connect() as connection:
        channel = connection.channel()
        equal(get(channel, queue)[2], b"waits")
        channel.queue_delete(queue)


@check
def many_channels_one_connection():
    with connect() as connection:
        channels = [connection.channel() for _ in range(50)]
        queue = server_named(channels[0])
        for number, channel in enumerate(channels):
            channel.basic_publish("", queue, str(number).encode())
        bodies = {get(channels[0], queue)[2] for _ in channels}
        equal(bodies, {str(number).encode() for number in range(50)})


@check
def ttl_dead_letter_and_x_death():
    with connect() as connection:
        channel = connection.channel()
        target = server_named(channel)
        source = server_named(
            channel,
            arguments={"x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": target},
        )
        channel.basic_publish("", source, b"late")
        method, properties, body = get(channel, target)
        equal((method.exchange, method.routing_key, body), ("", target, b"late"))
        death = properties.headers["x-death"][0]
        equal((death["reason"], death["queue"], death["count"]), ("expired", source, 1))


@check
def quorum_queue_counts_and_tries_again_later():
    with connect() as connection:
        channel = connection.channel()
        queue, dead = unique("retries"), server_named(channel)
        channel.queue_declare(
            queue,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": 1,
                "x-delayed-retry-type": "failed",
                "x-delayed-retry-min": 300,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead,
            },
        )
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"x")
        method, properties, _ = get(channel, queue, auto_ack=False)
        equal((method.redelivered, properties.headers), (False, None))
        failed = time.monotonic()
        channel.basic_reject(method.delivery_tag, requeue=True)
        method, properties, _ = get(channel, queue, auto_ack=False)
        assert time.monotonic() - failed >= 0.3, "it came back at once"
        equal((method.redelivered, properties.headers["x-delivery-count"]), (True, 1))
        channel.basic_reject(method.delivery_tag, requeue=True)
        _, properties, body = get(channel, dead)
        equal((body, properties.headers["x-death"][0]["reason"]), (b"x", "delivery_limit"))
        channel.queue_delete(queue)


@check
def priority_queue():
    with connect() as connection:
        channel = connection.channel()
        queue = server_named(channel, arguments={"x-max-priority": 10})
        for priority in (1, 5, 9, 5):
            channel.basic_publish("", queue, str(priority).encode(), pika.BasicProperties(priority=priority))
        until("four ready", lambda: channel.queue_declare(queue, passive=True).method.message_count == 4)
        equal([get(channel, queue)[2] for _ in range(4)], [b"9", b"5", b"5", b"1"])


@check
def heartbeat_keeps_an_idle_connection():
    """Three and a half heartbeat intervals pass in silence; the broker's own timer ends the wait."""
    with connect(heartbeat=2) as connection:
        channel = connection.channel()
        target = server_named(channel)
        delay = server_named(channel, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target})
        seen = []
        channel.basic_consume(target, collect(seen), auto_ack=True)
        channel.basic_publish("", delay, b"after the silence", pika.BasicProperties(expiration="7000"))
        receive(connection, seen, 1)
        equal(seen[0][2], b"after the silence")


@check
def blocked_callbacks_register():
    with connect() as connection:
        connection.add_on_connection_blocked_callback(lambda _connection, _method: None)
        connection.add_on_connection_unblocked_callback(lambda _connection, _method: None)
        capabilities = connection._impl.server_capabilities
        for name in ("connection.blocked", "consumer_cancel_notify", "basic.nack", "publisher_confirms"):
            assert capabilities[name] is True, name
        equal(connection._impl.server_properties["product"], "RabbitMQ")


@check
def direct_reply_to():
    with connect() as connection:
        client, server = connection.channel(), connection.channel()
        queue = server_named(server)

        def serve(channel, method, properties, body):
            channel.basic_publish(
                "", properties.reply_to, body[::-1], pika.BasicProperties(correlation_id=properties.correlation_id)
            )
            channel.basic_ack(method.delivery_tag)

        server.basic_consume(queue, serve)
        replies = []
        client.basic_consume("amq.rabbitmq.reply-to", collect(replies), auto_ack=True)
        client.basic_publish(
            "", queue, b"abc", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="42")
        )
        receive(connection, replies, 1)
        equal((replies[0][1].correlation_id, replies[0][2]), ("42", b"cba"))


@check
def exclusive_callback_queue_rpc():
    """The RPC of the tutorials: an exclusive server-named callback queue instead of direct reply-to."""
    with connect() as connection:
        channel = connection.channel()
        requests, callback = server_named(channel), server_named(channel)
        replies = []
        channel.basic_consume(callback, collect(replies), auto_ack=True)
        channel.basic_consume(
            requests,
            lambda c, method, properties, body: c.basic_publish(
                "", properties.reply_to, str(int(body) * 2).encode(), properties
            ),
            auto_ack=True,
        )
        channel.basic_publish("", requests, b"21", pika.BasicProperties(reply_to=callback, correlation_id="x"))
        receive(connection, replies, 1)
        equal(replies[0][2], b"42")


@check
def options_of_connections():
    """What programs set in `ConnectionParameters` or in the address: limits are negotiated, what cannot be is told."""
    with connect(heartbeat=7, channel_max=9, frame_max=8192) as connection:
        negotiated = connection._impl.params
        equal((negotiated.heartbeat, negotiated.channel_max, negotiated.frame_max), (7, 9, 8192))
        channels = [connection.channel() for _ in range(9)]
        queue = server_named(channels[8])
        channels[0].basic_publish("", queue, b"x" * 50_000)
        equal(len(get(channels[8], queue)[2]), 50_000)
        with raises(NoFreeChannels):
            connection.channel()
    with connect(heartbeat=0) as connection:
        equal(connection._impl.params.heartbeat, 0)
    # A function is given what the server offers.
    with connect(heartbeat=lambda _, offered: offered // 2) as connection:
        equal(connection._impl.params.heartbeat, 30)
    with connect(
        locale="en_US",
        connection_attempts=3,
        retry_delay=0.1,
        socket_timeout=30,
        stack_timeout=60,
        blocked_connection_timeout=20,
        client_properties={"connection_name": "options"},
        tcp_options={"TCP_KEEPIDLE": 60},
    ) as connection:
        get(connection.channel(), put(connection, b"y"))
    # Several addresses are tried in turn, each as often as it says.
    somebody, nobody = pika.URLParameters(URL), pika.URLParameters(URL)
    nobody.port, nobody.connection_attempts, nobody.retry_delay = free_port(), 2, 0
    with pika.BlockingConnection([nobody, somebody]) as connection:
        equal(connection.is_open, True)
    with raises(AMQPConnectionError):
        pika.BlockingConnection(nobody)
    with raises(ProbableAuthenticationError):
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    with raises(ProbableAccessDeniedError):
        connect(virtual_host=unique("none"))


def put(connection, body):
    """Puts a message into a new queue and returns that queue's name."""
    channel = connection.channel()
    queue = server_named(channel)
    channel.basic_publish("", queue, body)
    return queue


if __name__ == "__main__":
    main()
