"""Prometheus' own check of what there is to scrape: it can be parsed, and names, kinds and help texts are as they should be.

`PROMTOOL` names the program, `METRICS_URL` where the metrics are. The suite makes objects of every sort first, with names
that have to be escaped.
"""

import contextlib
import os
import subprocess
import urllib.request

import pika

from harness import URL, check, equal, main, unique, until

METRICS = os.environ.get("METRICS_URL", "http://127.0.0.1:15692")
FAMILIES = (
    "queue_coarse_metrics", "queue_metrics", "queue_consumer_count", "queue_delivery_metrics", "channel_metrics",
    "channel_exchange_metrics", "channel_queue_metrics", "channel_queue_exchange_metrics", "connection_coarse_metrics", "connection_metrics",
    "connection_churn_metrics", "exchange_metrics", "exchange_names", "exchange_bindings", "vhost_status", "node_coarse_metrics",
    "node_metrics", "node_persister_metrics", "ra_metrics", "auth_attempt_metrics", "auth_attempt_detailed_metrics", "alarm_metrics",
)


def scrape(path):
    """The text of a view."""
    with urllib.request.urlopen(METRICS + path, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain"), answer.headers["Content-Type"]
        return answer.read().decode()


def lint(path):
    """promtool has nothing to say about a view; gives its text."""
    text = scrape(path)
    ended = subprocess.run([os.environ["PROMTOOL"], "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    equal((ended.returncode, ended.stdout + ended.stderr), (0, ""), path)
    return text


@contextlib.contextmanager
def busy():
    """Queues, an exchange, bindings, messages, consumers, a channel and a connection; gives the name of a queue."""
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.confirm_delivery()
    odd = unique("odd \"name\"\\ with {all} of it, é=")
    arguments = {"x-queue-type": "quorum"}
    safe = unique("safe")
    exchange = unique("exchange")
    try:
        channel.exchange_declare(exchange, "topic", durable=True)
        channel.queue_declare(odd, durable=True)
        channel.queue_declare(safe, durable=True, arguments=arguments)
        for queue in (odd, safe):
            channel.queue_bind(queue, exchange, "#")
        for _ in range(5):
            channel.basic_publish(exchange, "a", b"body")
        channel.basic_get(odd, auto_ack=True)
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(odd, lambda *delivery: None)
        connection.process_data_events(time_limit=0)
        yield odd
    finally:
        for queue in (odd, safe):
            channel.queue_delete(queue)
        channel.exchange_delete(exchange)
        connection.close()


@check
def sums_and_single_objects():
    with busy() as queue:
        told = queue.replace("\\", "\\\\").replace('"', '\\"')
        until("the queue is told", lambda: told in scrape("/metrics/per-object"))
        for path in ("/metrics", "/metrics/per-object", "/metrics/memory-breakdown"):
            assert "rabbitmq_" in lint(path), path
        assert told in lint("/metrics/per-object")


@check
def each_family_alone_and_all_of_them():
    with busy():
        for family in FAMILIES:
            lint(f"/metrics/detailed?family={family}")
            lint(f"/metrics/detailed?family={family}&vhost=%2F")
        text = lint("/metrics/detailed?" + "&".join(f"family={family}" for family in FAMILIES))
        assert "rabbitmq_detailed_queue_messages_ready{" in text


@check
def an_idle_node():
    for path in ("/metrics", "/metrics/per-object", "/metrics/detailed", "/metrics/detailed?family=none"):
        lint(path)


if __name__ == "__main__":
    main()
