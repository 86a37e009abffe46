"""Consumes COUNT pages over a `SelectConnection` with manual acks, then cancels and closes: `select_consumer.py COUNT`."""

import os
import sys

import pika


class Consumer:
    """Each callback does one step and asks for the next: connection, channel, queue, qos, deliveries, cancel, close."""

    def __init__(self, url, count):
        self.count = count
        self.channel = None
        self.tag = None
        self.connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel_open),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def on_channel_open(self, channel):
        self.channel = channel
        channel.queue_declare(queue="pages", callback=self.on_queue)

    def on_queue(self, _frame):
        self.channel.basic_qos(prefetch_count=2, callback=self.on_qos)

    def on_qos(self, _frame):
        self.tag = self.channel.basic_consume("pages", self.on_page)

    def on_page(self, channel, method, _properties, body):
        print("received", body.decode(), flush=True)
        channel.basic_ack(method.delivery_tag)
        self.count -= 1
        if self.count == 0:
            channel.basic_cancel(self.tag, callback=lambda _frame: self.connection.close())


consumer = Consumer(os.environ["AMQP_URL"], int(sys.argv[1]))
consumer.connection.ioloop.start()
print("closed", flush=True)
