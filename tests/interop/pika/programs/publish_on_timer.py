"""Publishes a numbered page to `pages` every so many seconds until it is stopped: `publish_on_timer.py SECONDS`."""

import itertools
import os
import sys

import pika

seconds = float(sys.argv[1])
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"] + "?heartbeat=5"))
channel = connection.channel()
channel.queue_declare(queue="pages")
numbers = itertools.count(1)


def publish():
    channel.basic_publish(exchange="", routing_key="pages", body=f"page {next(numbers)}")
    connection.call_later(seconds, publish)


publish()
while True:
    connection.process_data_events(time_limit=None)
