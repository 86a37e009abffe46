"""Consumes the queue `pages`: `consume_pages.py auto-ack|manual-ack|never-ack`, one printed line a page."""

import os
import sys

import pika

mode = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue="pages")


def on_page(channel, method, _properties, body):
    if mode == "manual-ack":
        channel.basic_ack(delivery_tag=method.delivery_tag)
    print("received", body.decode(), "redelivered" if method.redelivered else "first", flush=True)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="pages", on_message_callback=on_page, auto_ack=(mode == "auto-ack"))
print("waiting", flush=True)
channel.start_consuming()
