"""Publishes pages with confirms over a `SelectConnection`: `select_publisher.py COUNT`; prints the confirmed total."""

import os
import sys

import pika


class Publisher:
    """Each callback does one step and asks for the next: connection, channel, queue, confirms, publishes, close."""

    def __init__(self, url, count):
        self.count = count
        self.confirmed = 0
        self.refused = 0
        self.channel = None
        self.connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=self.on_open,
            on_open_error_callback=self.on_open_error,
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def on_open_error(self, connection, error):
        print("cannot connect:", error, flush=True)
        connection.ioloop.stop()

    def on_open(self, connection):
        connection.channel(on_open_callback=self.on_channel_open)

    def on_channel_open(self, channel):
        self.channel = channel
        channel.queue_declare(queue="pages", callback=self.on_queue)

    def on_queue(self, _frame):
        self.channel.confirm_delivery(self.on_confirm, callback=self.on_confirm_select)

    def on_confirm_select(self, _frame):
        for number in range(1, self.count + 1):
            self.channel.basic_publish("", "pages", f"page {number}")

    def on_confirm(self, frame):
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self.refused += 1
        if frame.method.multiple:
            self.confirmed = frame.method.delivery_tag
        else:
            self.confirmed += 1
        if self.confirmed >= self.count:
            self.connection.close()


publisher = Publisher(os.environ["AMQP_URL"], int(sys.argv[1]))
publisher.connection.ioloop.start()
print("confirmed", publisher.confirmed, "refused", publisher.refused, flush=True)
