"""The programs people learn this broker with, run as their own processes around one queue called `pages`."""

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pika

from harness import URL, check, equal, main, until

PROGRAMS = Path(__file__).parent / "programs"
LINE_SECONDS_MAX = 60


class Program:
    """One running program; its lines are read by a thread so that waiting for one has a deadline."""

    def __init__(self, name, *arguments):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, PROGRAMS / f"{name}.py", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "AMQP_URL": URL},
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    def line(self):
        try:
            return self.lines.get(timeout=LINE_SECONDS_MAX)
        except queue.Empty:
            raise AssertionError(f"{self.name}: no line within {LINE_SECONDS_MAX} s") from None

    def stop(self, how):
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(timeout=LINE_SECONDS_MAX)

    def ended_well(self):
        equal(self.process.wait(timeout=LINE_SECONDS_MAX), 0, f"exit status of {self.name}")


def run(name, *arguments):
    with Program(name, *arguments) as program:
        line = program.line()
        program.ended_well()
        return line


def with_empty_pages(function):
    """Hands the check a channel, with no queue `pages` before and after it."""

    def checked():
        with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
            channel = connection.channel()
            channel.queue_delete("pages")
            function(channel)
            channel.queue_delete("pages")

    checked.__name__ = function.__name__
    return check(checked)


def ready(channel):
    return channel.queue_declare("pages").method.message_count


@with_empty_pages
def producer_first_consumer_later(channel):
    for number in (1, 2):
        equal(run("publish_page", f"page {number}"), f"sent page {number}")
    equal(ready(channel), 2)
    with Program("consume_pages", "auto-ack") as consumer:
        equal([consumer.line() for _ in range(3)], ["waiting", "received page 1 first", "received page 2 first"])
    equal(ready(channel), 0)


@with_empty_pages
def consumer_first_producer_later(_channel):
    with Program("consume_pages", "manual-ack") as consumer:
        equal(consumer.line(), "waiting")
        run("publish_page", "page 1")
        equal(consumer.line(), "received page 1 first")
        run("publish_page", "page 2")
        equal(consumer.line(), "received page 2 first")


@with_empty_pages
def page_of_a_consumer_killed_before_its_ack_is_not_lost(channel):
    run("publish_page", "precious page")
    with Program("consume_pages", "never-ack") as consumer:
        equal([consumer.line(), consumer.line()], ["waiting", "received precious page first"])
        equal(ready(channel), 0)
        consumer.stop(signal.SIGKILL)
    until("the page is ready again", lambda: ready(channel) == 1)
    with Program("consume_pages", "manual-ack") as consumer:
        equal([consumer.line(), consumer.line()], ["waiting", "received precious page redelivered"])
    equal(ready(channel), 0)


@with_empty_pages
def page_of_an_auto_ack_consumer_is_gone(channel):
    run("publish_page", "page")
    with Program("consume_pages", "auto-ack") as consumer:
        equal([consumer.line(), consumer.line()], ["waiting", "received page first"])
        consumer.stop(signal.SIGKILL)
    until("no consumer", lambda: channel.queue_declare("pages").method.consumer_count == 0)
    equal(ready(channel), 0)


@with_empty_pages
def prefetch_shares_pages_between_consumers(_channel):
    with Program("consume_pages", "never-ack") as one, Program("consume_pages", "never-ack") as two:
        equal((one.line(), two.line()), ("waiting", "waiting"))
        equal(run("select_publisher", "5"), "confirmed 5 refused 0")
        equal(sorted((one.line(), two.line())), ["received page 1 first", "received page 2 first"])


@with_empty_pages
def producer_on_a_timer(_channel):
    with Program("publish_on_timer", "0.2"), Program("consume_pages", "manual-ack") as consumer:
        equal(consumer.line(), "waiting")
        equal([consumer.line() for _ in range(5)], [f"received page {number} first" for number in range(1, 6)])


@with_empty_pages
def select_connections_publish_and_consume(channel):
    equal(run("select_publisher", "100"), "confirmed 100 refused 0")
    equal(ready(channel), 100)
    with Program("select_consumer", "100") as consumer:
        equal([consumer.line() for _ in range(100)], [f"received page {number}" for number in range(1, 101)])
        equal(consumer.line(), "closed")
        consumer.ended_well()
    equal(ready(channel), 0)


@with_empty_pages
def mandatory_page_comes_back(_channel):
    equal(run("mandatory_page"), "returned 312 NO_ROUTE lost page")


if __name__ == "__main__":
    main()
