"""aio-pika (over aiormq): one asyncio coroutine a check, robust connections included."""

import asyncio
import datetime
import decimal

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError, QueueEmpty
from aio_pika.patterns import RPC, Master
from aiormq.exceptions import ChannelLockedResource

import harness
from harness import URL, equal, main, raises, unique

ARRIVAL_SECONDS_MAX = 60


def check(coroutine):
    def run():
        asyncio.run(asyncio.wait_for(coroutine(), timeout=harness.CHECK_SECONDS_MAX - 5))

    run.__name__ = coroutine.__name__
    return harness.check(run)


async def connect(**options):
    return await aio_pika.connect(URL, **options)


async def first(queue, **options):
    """Polls basic.get until a message is there."""
    async with asyncio.timeout(ARRIVAL_SECONDS_MAX):
        while (message := await queue.get(fail=False, **options)) is None:
            await asyncio.sleep(harness.POLL_SECONDS)
        return message


@check
async def every_exchange_type():
    async with await connect() as connection:
        channel = await connection.channel()
        for kind, binding, hits, misses in (
            (ExchangeType.DIRECT, "k", ["k"], ["other"]),
            (ExchangeType.FANOUT, "", ["k", "other"], []),
            (ExchangeType.TOPIC, "*.log.#", ["a.log", "a.log.b.c"], ["log", "a.b.log"]),
        ):
            exchange = await channel.declare_exchange(unique(kind.value), kind, auto_delete=True)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, binding)
            for key in misses + hits:
                await exchange.publish(Message(key.encode()), key)
            equal([(await first(queue, no_ack=True)).body.decode() for _ in hits], hits, kind)
            equal(await queue.get(fail=False), None, kind)
            await queue.unbind(exchange, binding)
        exchange = await channel.declare_exchange(unique("headers"), ExchangeType.HEADERS, auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, arguments={"x-match": "all", "a": 1, "b": "two"})
        await exchange.publish(Message(b"no", headers={"a": 1}), "")
        await exchange.publish(Message(b"yes", headers={"a": 1, "b": "two"}), "")
        equal((await first(queue)).body, b"yes")


@check
async def exchange_to_exchange():
    async with await connect() as connection:
        channel = await connection.channel()
        source = await channel.declare_exchange(unique("source"), ExchangeType.DIRECT, auto_delete=True)
        destination = await channel.declare_exchange(unique("destination"), ExchangeType.FANOUT, auto_delete=True)
        await destination.bind(source, "k")
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(destination)
        await source.publish(Message(b"through two"), "k")
        equal((await first(queue)).body, b"through two")


@check
async def many_confirms_at_once():
    async with await connect() as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(unique("confirmed"), durable=True)
        message = Message(b"x", delivery_mode=DeliveryMode.PERSISTENT)
        await asyncio.gather(*(channel.default_exchange.publish(message, queue.name) for _ in range(200)))
        equal((await queue.purge()).message_count, 200)
        await queue.delete()


@check
async def mandatory_return_and_nack_are_errors():
    async with await connect() as connection:
        channel = await connection.channel(on_return_raises=True)
        with raises(DeliveryError):
            await channel.default_exchange.publish(Message(b"comes back"), unique("nowhere"), mandatory=True)
        full = await channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await channel.default_exchange.publish(Message(b"fits"), full.name)
        with raises(DeliveryError):
            await channel.default_exchange.publish(Message(b"does not"), full.name)


@check
async def ack_nack_reject_and_redelivered():
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for body in (b"acked", b"nacked", b"rejected", b"dropped"):
            await channel.default_exchange.publish(Message(body), queue.name)
        seen = []
        async with queue.iterator(timeout=ARRIVAL_SECONDS_MAX) as messages:
            async for message in messages:
                seen.append((message.body, message.redelivered))
                if message.redelivered or message.body == b"acked":
                    await message.ack()
                elif message.body == b"nacked":
                    await message.nack(requeue=True)
                else:
                    await message.reject(requeue=message.body == b"rejected")
                if len(seen) == 6:
                    break
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


@check
async def process_context_requeues_on_error():
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(Message(b"retry"), queue.name)
        with raises(ZeroDivisionError):
            async with (await first(queue)).process(requeue=True):
                raise ZeroDivisionError
        async with (message := await first(queue)).process():
            equal(message.redelivered, True)
        with raises(QueueEmpty):
            await queue.get(fail=True)


@check
async def prefetch_count():
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for number in range(5):
            await channel.default_exchange.publish(Message(str(number).encode()), queue.name)
        await channel.set_qos(prefetch_count=2)
        seen = asyncio.Queue()
        await queue.consume(seen.put)
        held = [await seen.get(), await seen.get()]
        equal((await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count, 3)
        assert seen.empty()
        await held[1].ack(multiple=True)
        equal([(await seen.get()).body, (await seen.get()).body], [b"2", b"3"])


@check
async def exclusive_auto_delete_and_server_named_queues():
    async with await connect() as connection, await connect() as other:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        assert queue.name.startswith("amq"), queue.name
        with raises(ChannelLockedResource):
            await (await other.channel()).declare_queue(queue.name, passive=True)
        shared = await channel.declare_queue(unique("shared"), auto_delete=True)
        await shared.cancel(await shared.consume(lambda _message: None))

        async def gone():
            try:
                await (await other.channel()).declare_queue(shared.name, passive=True)
            except ChannelNotFoundEntity:
                return True
            return False

        async with asyncio.timeout(ARRIVAL_SECONDS_MAX):
            while not await gone():
                await asyncio.sleep(harness.POLL_SECONDS)


@check
async def properties_and_headers_round_trip():
    headers = {
        "bool": True,
        "int": 7,
        "negative": -1,
        "big": 1 << 40,
        "float": 2.5,
        "text": "žluťoučký",
        "bytes": bytearray(b"\x00\xff"),
        "decimal": decimal.Decimal("3.14"),
        "time": datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "none": None,
        "table": {"deep": {"deeper": [1, "x", {"y": False}]}},
        "array": [1, "a", True, None, 1.25],
    }
    sent = Message(
        b"x",
        headers=headers,
        content_type="text/plain",
        content_encoding="utf-8",
        delivery_mode=DeliveryMode.PERSISTENT,
        priority=4,
        correlation_id="c",
        reply_to="r",
        expiration=60,
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
    )
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.default_exchange.publish(sent, queue.name)
        message = await first(queue)
        for field in "content_type content_encoding delivery_mode priority correlation_id reply_to".split() + (
            "expiration message_id timestamp type user_id app_id".split()
        ):
            equal(getattr(message, field), getattr(sent, field), field)
        for key, value in headers.items():
            equal(message.headers[key], value, key)


@check
async def large_message():
    async with await connect() as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        body = bytes(range(256)) * (4 * 1024 * 1024 // 256)
        await channel.default_exchange.publish(Message(body), queue.name)
        assert (await first(queue)).body == body


@check
async def transaction():
    async with await connect() as connection:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True)
        async with channel.transaction():
            await channel.default_exchange.publish(Message(b"committed"), queue.name)
        equal((await first(queue, no_ack=True)).body, b"committed")
        with raises(ZeroDivisionError):
            async with channel.transaction():
                await channel.default_exchange.publish(Message(b"rolled back"), queue.name)
                raise ZeroDivisionError
        equal(await queue.get(fail=False), None)


@check
async def channel_exception_then_new_channel():
    async with await connect() as connection:
        with raises(ChannelNotFoundEntity):
            await (await connection.channel()).declare_queue(unique("missing"), passive=True)
        queue = await (await connection.channel()).declare_queue(unique("redeclared"))
        with raises(ChannelPreconditionFailed):
            await (await connection.channel()).declare_queue(queue.name, durable=True)
        await queue.delete()


@check
async def robust_connection_restores_its_topology():
    """The transport is cut; the robust connection redeclares its exclusive queue and consumer by itself."""
    # What goes with the old connection has to be gone before it is declared again.
    connection = await aio_pika.connect_robust(URL, reconnect_interval=2)
    async with connection, await connect() as other:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(unique("robust"), ExchangeType.FANOUT, auto_delete=True)
        queue = await channel.declare_queue(unique("robust"), auto_delete=True)
        await queue.bind(exchange)
        seen = asyncio.Queue()
        await queue.consume(seen.put, no_ack=True)
        reconnected = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: reconnected.set())
        await connection.transport.connection.close(ConnectionAbortedError("cut by the check"))
        await reconnected.wait()
        publisher = await other.channel()
        async with asyncio.timeout(ARRIVAL_SECONDS_MAX):
            await (await publisher.get_exchange(exchange.name)).publish(Message(b"after"), "")
            equal((await seen.get()).body, b"after")


@check
async def heartbeat_keeps_an_idle_connection():
    async with await aio_pika.connect(URL + "?heartbeat=2") as connection:
        channel = await connection.channel()
        target = await channel.declare_queue(exclusive=True)
        delay = await channel.declare_queue(
            exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target.name}
        )
        seen = asyncio.Queue()
        await target.consume(seen.put, no_ack=True)
        await channel.default_exchange.publish(Message(b"late", expiration=7), delay.name)
        equal((await seen.get()).body, b"late")


@check
async def rpc_pattern():
    """Declares its result queue, binds by headers to the dead-letter exchange and answers by correlation id."""
    async with await connect() as connection:
        rpc = await RPC.create(await connection.channel())

        async def multiply(*, x, y):
            return x * y

        name = unique("multiply")
        await rpc.register(name, multiply, auto_delete=True)
        equal(await asyncio.gather(*(rpc.call(name, {"x": n, "y": 2}) for n in range(10))), [n * 2 for n in range(10)])
        await rpc.close()


@check
async def master_worker_pattern():
    async with await connect() as connection:
        master = Master(await connection.channel())
        done = asyncio.Queue()
        name = unique("tasks")

        async def work(*, number):
            await done.put(number)

        worker = await master.create_worker(name, work, auto_delete=True)
        for number in range(5):
            await master.create_task(name, {"number": number})
        equal(sorted([await done.get() for _ in range(5)]), list(range(5)))
        await worker.close()


@check
async def direct_reply_to():
    async with await connect() as connection:
        client, server = await connection.channel(), await connection.channel()
        requests = await server.declare_queue(exclusive=True)

        async def serve(request):
            await server.default_exchange.publish(Message(request.body[::-1]), request.reply_to)

        await requests.consume(serve, no_ack=True)
        replies = asyncio.Queue()
        reply_to = await client.get_queue("amq.rabbitmq.reply-to", ensure=False)
        await reply_to.consume(replies.put, no_ack=True)
        await client.default_exchange.publish(Message(b"abc", reply_to="amq.rabbitmq.reply-to"), requests.name)
        equal((await replies.get()).body, b"cba")


if __name__ == "__main__":
    main()
