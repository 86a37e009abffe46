"""Publishes a mandatory page to a queue nobody declared and prints what comes back."""

import os

import pika

parameters = pika.URLParameters(os.environ["AMQP_URL"] + "?heartbeat=10&blocked_connection_timeout=30")
connection = pika.BlockingConnection(parameters)
channel = connection.channel()
channel.confirm_delivery()
try:
    channel.basic_publish("", "no-such-pages", b"lost page", mandatory=True)
except pika.exceptions.UnroutableError as error:
    returned = error.messages[0]
    print("returned", returned.method.reply_code, returned.method.reply_text, returned.body.decode(), flush=True)
connection.close()
