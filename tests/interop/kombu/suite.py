"""kombu over py-amqp: its own exchanges, queues, pools, producers, mixins, `SimpleQueue` and pidbox."""

import socket
import threading

import kombu
import kombu.pidbox
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.common import Broadcast
from kombu.mixins import ConsumerMixin, ConsumerProducerMixin
from kombu.pools import connections, producers

from harness import URL, check, equal, main, raises, unique, until


def receive(connection, into, count):
    def enough():
        try:
            connection.drain_events(timeout=0.05)
        except socket.timeout:
            pass
        return len(into) >= count

    until(f"{count} arrivals", enough)


def temporary(exchange, **options):
    return Queue(unique("queue"), exchange, auto_delete=False, exclusive=True, **options)


@check
def every_exchange_type():
    with Connection(URL) as connection:
        for kind, binding, hits, misses in (
            ("direct", "k", ["k"], ["other"]),
            ("fanout", "", ["k", "other"], []),
            ("topic", "*.log.#", ["a.log", "a.log.b.c"], ["log", "a.b.log"]),
        ):
            exchange = Exchange(unique(kind), kind, durable=False, auto_delete=True)
            queue = temporary(exchange, routing_key=binding)(connection)
            queue.declare()
            producer = Producer(connection, exchange)
            for key in misses + hits:
                producer.publish({"key": key}, routing_key=key)
            received = [until("a message", queue.get) for _ in hits]
            equal([message.payload["key"] for message in received], hits, kind)
            equal(queue.get(), None, kind)
        exchange = Exchange(unique("headers"), "headers", durable=False, auto_delete=True)
        queue = temporary(exchange, binding_arguments={"x-match": "all", "a": 1, "b": "two"})(connection)
        queue.declare()
        producer = Producer(connection, exchange)
        producer.publish("no", headers={"a": 1})
        producer.publish("yes", headers={"a": 1, "b": "two"})
        equal(until("a message", queue.get).payload, "yes")


@check
def serializers_and_compression():
    with Connection(URL) as connection:
        queue = temporary(None)(connection)
        queue.declare()
        payload = {"numbers": list(range(100)), "text": "žluťoučký"}
        producer = Producer(connection)
        for serializer in ("json", "pickle"):
            for compression in (None, "zlib", "bzip2"):
                producer.publish(payload, routing_key=queue.name, serializer=serializer, compression=compression)
                message = until("a message", lambda: queue.get(accept=["json", "pickle"]))
                equal(message.payload, payload, f"{serializer} {compression}")
                message.ack()


@check
def consume_ack_reject_requeue():
    with Connection(URL) as connection:
        queue = temporary(None)(connection)
        queue.declare()
        producer = Producer(connection)
        for body in ("acked", "requeued", "dropped"):
            producer.publish(body, routing_key=queue.name)
        seen = []

        def on_message(body, message):
            redelivered = message.delivery_info["redelivered"]
            seen.append((body, redelivered))
            if body == "requeued" and not redelivered:
                message.requeue()
            elif body == "dropped":
                message.reject()
            else:
                message.ack()

        with Consumer(connection, [queue], callbacks=[on_message], prefetch_count=1):
            receive(connection, seen, 4)
            equal(queue.queue_declare(passive=True).message_count, 0)
        equal(sorted(seen), [("acked", False), ("dropped", False), ("requeued", False), ("requeued", True)])


@check
def confirmed_publish_through_pools():
    queue = unique("pooled")
    with Connection(URL, transport_options={"confirm_publish": True}) as connection:
        with producers[connection].acquire(block=True, timeout=60) as producer:
            for number in range(10):
                producer.publish(
                    {"n": number},
                    routing_key=queue,
                    declare=[Queue(queue, durable=True)],
                    retry=True,
                    delivery_mode="persistent",
                )
        with connections[connection].acquire(block=True, timeout=60) as pooled:
            simple = pooled.SimpleQueue(queue)
            equal([simple.get(timeout=60).payload["n"] for _ in range(10)], list(range(10)))
            simple.close()
        connection.default_channel.queue_delete(queue)
    kombu.pools.reset()


@check
def mandatory_return():
    with Connection(URL) as connection:
        returned = []
        producer = Producer(connection, on_return=lambda error, _e, _k, message: returned.append((error, message)))
        producer.publish("comes back", routing_key=unique("nowhere"), mandatory=True)
        receive(connection, returned, 1)
        equal(returned[0][0].reply_code, 312)


@check
def simple_queue():
    with Connection(URL) as connection:
        simple = connection.SimpleQueue(unique("simple"))
        simple.put({"hello": "world"})
        message = simple.get(block=True, timeout=60)
        equal(message.payload, {"hello": "world"})
        message.ack()
        with raises(simple.Empty):
            simple.get_nowait()
        simple.close()
        connection.default_channel.queue_delete(simple.queue.name)


@check
def queue_arguments_and_large_message():
    with Connection(URL) as connection:
        queue = temporary(
            None, max_priority=5, message_ttl=600, expires=600, max_length=10, queue_arguments={"x-overflow": "drop-head"}
        )(connection)
        queue.declare()
        body = b"\x00\xff" * (1 << 20)
        Producer(connection).publish(body, routing_key=queue.name, content_type="application/data", priority=3)
        message = until("a message", queue.get)
        assert bytes(message.body) == body
        equal(message.properties["priority"], 3)


@check
def broadcast_reaches_each_consumer():
    with Connection(URL) as connection:
        name = unique("broadcast")
        seen = []
        consumers = [
            Consumer(connection.channel(), [Broadcast(name)], callbacks=[lambda body, _m: seen.append(body)], no_ack=True)
            for _ in range(3)
        ]
        for consumer in consumers:
            consumer.consume()
        Producer(connection).publish("all", exchange=name, routing_key="")
        receive(connection, seen, 3)
        for consumer in consumers:
            consumer.cancel()
        connection.default_channel.exchange_delete(name)


@check
def rpc_with_consumer_producer_mixin():
    """A server of kombu's own RPC example in a thread, with heartbeats on."""
    requests = Queue(unique("rpc"), auto_delete=True)

    class Server(ConsumerProducerMixin):
        def __init__(self, connection):
            self.connection = connection
            self.ready = threading.Event()

        def get_consumers(self, consumer, _channel):
            return [consumer([requests], on_message=self.on_request, accept={"json"}, prefetch_count=1)]

        def on_consume_ready(self, *_args, **_options):
            self.ready.set()

        def on_request(self, message):
            self.producer.publish(
                message.payload["n"] * 2,
                exchange="",
                routing_key=message.properties["reply_to"],
                correlation_id=message.properties["correlation_id"],
            )
            message.ack()

    server = Server(Connection(URL, heartbeat=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.ready.wait(60)
        with Connection(URL) as connection:
            callback = Queue(kombu.uuid(), exclusive=True, auto_delete=True)
            replies = []
            with Consumer(connection, [callback], on_message=replies.append, no_ack=True):
                Producer(connection).publish(
                    {"n": 21}, routing_key=requests.name, reply_to=callback.name, correlation_id="x"
                )
                receive(connection, replies, 1)
            equal((replies[0].payload, replies[0].properties["correlation_id"]), (42, "x"))
    finally:
        server.should_stop = True
        thread.join(10)
        server.connection.release()


@check
def pidbox_call_and_broadcast():
    """The control mailbox Celery's `inspect` and `control` are built on."""
    with Connection(URL) as connection:
        mailbox = kombu.pidbox.Mailbox(unique("pidbox"), type="fanout")
        channel = connection.channel()
        node = mailbox(connection).Node("worker-1", state=None, channel=channel)
        node.handler(ping)
        consumer = node.listen(channel=channel)
        answers = []
        thread = threading.Thread(
            target=lambda: answers.extend(
                kombu.pidbox.Mailbox(mailbox.namespace, type="fanout")(Connection(URL))._broadcast(
                    "ping", {}, reply=True, timeout=60, limit=1
                )
            )
        )
        thread.start()
        receive(connection, answers, 1)
        thread.join(10)
        equal(answers, [{"worker-1": {"ok": "pong"}}])
        consumer.cancel()


def ping(_state, **_options):
    return {"ok": "pong"}


@check
def consumer_mixin_survives_a_dropped_connection():
    """The socket is shut under the consumer; the mixin reconnects and goes on."""
    queue = Queue(unique("survivor"), durable=True)
    with Connection(URL) as connection:
        queue(connection).declare()

        class Reader(ConsumerMixin):
            def __init__(self):
                self.connection = Connection(URL)
                self.seen = []
                self.opened = 0

            def get_consumers(self, consumer, channel):
                self.socket = channel.connection.sock
                return [consumer([queue], on_message=self.on_message)]

            def on_consume_ready(self, *_args, **_options):
                self.opened += 1

            def on_message(self, message):
                self.seen.append(message.payload)
                message.ack()

        reader = Reader()
        thread = threading.Thread(target=reader.run)
        thread.start()
        try:
            producer = Producer(connection)
            producer.publish(1, routing_key=queue.name)
            until("the first message", lambda: reader.seen == [1])
            reader.socket.shutdown(socket.SHUT_RDWR)
            producer.publish(2, routing_key=queue.name)
            until("the second message", lambda: 2 in reader.seen)
            # Whether the first was acknowledged before its connection was lost nobody knows.
            equal(list(dict.fromkeys(reader.seen)), [1, 2])
            equal(reader.opened, 2)
        finally:
            reader.should_stop = True
            thread.join(10)
            reader.connection.release()
        queue(connection).delete()


@check
def heartbeat_check_keeps_the_connection():
    with Connection(URL, heartbeat=2) as connection:
        target = temporary(None)(connection)
        target.declare()
        delay = temporary(
            None, queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target.name}
        )(connection)
        delay.declare()
        seen = []
        with Consumer(connection, [target], on_message=seen.append, no_ack=True):
            Producer(connection).publish("after the silence", routing_key=delay.name, expiration=7)

            def arrived():
                connection.heartbeat_check()
                try:
                    connection.drain_events(timeout=0.25)
                except socket.timeout:
                    pass
                return seen

            until("the delayed message", arrived)


@check
def channel_error_then_new_channel():
    with Connection(URL) as connection:
        with raises(*connection.channel_errors):
            connection.channel().queue_declare(unique("missing"), passive=True)
        connection.channel().close()


if __name__ == "__main__":
    main()
