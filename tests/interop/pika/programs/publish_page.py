"""Publishes one page to the queue `pages` through the default exchange: `publish_page.py BODY`."""

import os
import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue="pages")
channel.basic_publish(exchange="", routing_key="pages", body=sys.argv[1])
print("sent", sys.argv[1], flush=True)
connection.close()
