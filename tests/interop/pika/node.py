"""Watermarks, limits and persistence of a node that the suite starts itself, from the program that `WARREN` names.

Where there is none, as beside a RabbitMQ, nothing is checked: no other server should be stopped or starved of memory.
"""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pika
from pika.exceptions import AMQPConnectionError, ConnectionClosedByBroker, ProbableAccessDeniedError

from client import collect, done, get, http, is_ready, ready, receive, refused
from harness import check, equal, free_port, main, raises, until

WARREN = os.environ.get("WARREN")
PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Node:
    def __init__(self, settings="", terms="[].", files_max=None):
        self.directory = tempfile.mkdtemp()
        self.port, self.http_port = free_port(), free_port()
        self.conf = os.path.join(self.directory, "rabbitmq.conf")
        self.files_max = files_max
        self.terms = os.path.join(self.directory, "advanced.config")
        with open(self.conf, "w", encoding="utf-8") as file:
            file.write(
                f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
                f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http_port}\n{settings}"
            )
        with open(self.terms, "w", encoding="utf-8") as file:
            file.write(terms)
        self.start()

    def environment(self):
        return {
            **os.environ,
            "RABBITMQ_CONFIG_FILE": self.conf,
            "RABBITMQ_CONFIG_FILES": os.path.join(self.directory, "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": self.terms,
            "RABBITMQ_MNESIA_DIR": os.path.join(self.directory, "data"),
            "RABBITMQ_NODENAME": "rabbit@localhost",
        }

    def start(self):
        def fewer_files():
            if self.files_max:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.files_max, self.files_max))

        with open(os.path.join(self.directory, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [WARREN, "server"], env=self.environment(), stdout=log, stderr=log, preexec_fn=fewer_files
            )
        until("a node that listens", self.is_listening)

    def is_listening(self):
        equal(self.process.poll(), None, "exit status of a node that should run")
        for port in (self.port, self.http_port):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def end(self, how):
        self.process.send_signal(how)
        return self.process.wait(timeout=60)

    def connect(self, **overrides):
        parameters = pika.ConnectionParameters("127.0.0.1", self.port)
        for field, value in overrides.items():
            setattr(parameters, field, value)
        return pika.BlockingConnection(parameters)

    def http(self, method, path, body=None):
        return http(method, path, body, url=f"http://127.0.0.1:{self.http_port}")

    def ctl(self, *arguments):
        command = [WARREN, "ctl", *arguments]
        run = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=60)
        equal(run.returncode, 0, run.stderr)
        return run.stdout

    def figures(self):
        return done(self.http("GET", "/nodes"))[0]


@contextlib.contextmanager
def node(*arguments, **settings):
    own = Node(*arguments, **settings)
    try:
        yield own
    finally:
        if own.process.poll() is None:
            equal(own.end(signal.SIGTERM), 0, "exit status of the node")
        shutil.rmtree(own.directory)


def blocked_and_unblocked(own, begin, end, reason):
    """A publisher is blocked by `begin`, for this reason, until `end`; who consumes is not."""
    with own.connect() as publisher, own.connect() as consumer:
        told = []
        publisher.add_on_connection_blocked_callback(lambda _, frame: told.append(frame.method.reason))
        publisher.add_on_connection_unblocked_callback(lambda _, frame: told.append("unblocked"))
        channel, other = publisher.channel(), consumer.channel()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"before", PERSISTENT)
        is_ready(other, "q", 1)
        own.ctl(*begin)
        until("an alarm", lambda: own.http("GET", "/health/checks/alarms")[0] == 503)
        channel.basic_publish("", "q", b"during", PERSISTENT)
        receive(publisher, told, 1)
        equal(get(other, "q")[2], b"before")
        equal(other.basic_get("q")[0], None)
        own.ctl(*end)
        receive(publisher, told, 2)
        equal(told, [reason, "unblocked"])
        equal(get(other, "q")[2], b"during")
        equal(own.http("GET", "/health/checks/alarms"), (200, {"status": "ok"}))


@check
def watermarks_are_set_on_the_running_node():
    with node("total_memory_available_override_value = 8GB\n") as own:
        equal(own.figures()["mem_limit"], 4_800_000_000)
        own.ctl("set_vm_memory_high_watermark", "absolute", "2GB")
        equal(own.figures()["mem_limit"], 2_000_000_000)
        setting = "set_vm_memory_high_watermark"
        blocked_and_unblocked(own, (setting, "0.00001"), (setting, "0.6"), "low on memory")
        setting = "set_disk_free_limit"
        blocked_and_unblocked(own, (setting, "900000GB"), (setting, "1MB"), "low on disk")


@check
def memory_is_counted_as_configured():
    settings = "vm_memory_high_watermark.absolute = 4MB\nvm_memory_calculation_strategy = erlang\n"
    with node(settings) as own:
        figures = own.figures()
        equal((figures["mem_calculation_strategy"], figures["mem_alarm"]), ("erlang", False))
        assert figures["mem_used"] < 4_000_000, figures["mem_used"]


@check
def newcomers_wait_for_files():
    with node(files_max=64) as own, own.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        with contextlib.ExitStack() as crowd:
            for _ in range(64):
                crowd.enter_context(socket.create_connection(("127.0.0.1", own.port)))
            channel.basic_publish("", "q", b"served")
            equal(get(channel, "q")[2], b"served")
        with own.connect() as other:
            other.channel()


@check
def limits_of_the_node():
    settings = (
        "max_connections = 2\nchannel_max_per_node = 3\nvhost_max = 2\ncluster_exchange_limit = 13\n"
        "consumer_max_per_channel = 1\nruntime_parameters.limits.policy = 1\n"
    )
    with node(settings) as own, own.connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        with own.connect() as second:
            with raises(ProbableAccessDeniedError) as caught:
                own.connect()
            assert "node connection limit (2) is reached" in str(caught.error), caught.error
            equal(own.http("GET", "/health/checks/below-node-connection-limit")[0], 503)
            second.channel()
            second.channel()
            with raises(ConnectionClosedByBroker) as caught:
                second.channel()
            text = "number of channels opened on node 'rabbit@localhost' has reached the maximum allowed limit of 3"
            assert text in caught.error.reply_text, caught.error
        done(own.http("PUT", "/vhosts/a", {}))
        equal(own.http("PUT", "/vhosts/b", {})[1]["reason"], "cannot create vhost 'b': vhost limit of 2 is reached")
        text = "cannot declare exchange 'x' in vhost '/': exchange limit of 13 is reached"
        refused(connection, 406, text, lambda c: c.exchange_declare("x"))
        policy = {"pattern": ".*", "definition": {"max-length": 1}}
        done(own.http("PUT", "/policies/%2F/one", policy))
        equal(own.http("PUT", "/policies/%2F/two", policy)[0], 400)
        channel.basic_consume(queue, collect([]))
        with raises(ConnectionClosedByBroker) as caught:
            channel.basic_consume(queue, collect([]))
        assert "reached maximum (1) of consumers per channel" in caught.error.reply_text, caught.error
        with contextlib.suppress(AMQPConnectionError):
            connection.close()


@check
def new_vhosts_begin_as_configured():
    settings = (
        "default_policies.operator.short.vhost_pattern = ^dev\ndefault_policies.operator.short.queue_pattern = .*\n"
        "default_policies.operator.short.max_length = 1\n"
        "default_limits.vhosts.1.pattern = ^dev\ndefault_limits.vhosts.1.max_queues = 1\n"
    )
    with node(settings) as own:
        done(own.http("PUT", "/vhosts/dev", {}))
        with own.connect(virtual_host="dev") as connection:
            channel = connection.channel()
            channel.queue_declare("q")
            for body in (b"1", b"2"):
                channel.basic_publish("", "q", body)
            equal(get(channel, "q")[2], b"2")
            text = "queue limit in vhost 'dev' (1) is reached"
            refused(connection, 406, text, lambda c: c.queue_declare("second"))


@check
def operator_policies_are_locked():
    with node("management.restrictions.operator_policy_changes.disabled = true\n") as own:
        policy = {"pattern": ".*", "definition": {"max-length": 1}}
        equal(own.http("PUT", "/operator-policies/%2F/o", policy)[0], 405)
        own.ctl("set_operator_policy", "o", ".*", '{"max-length":1}')
        equal(own.http("DELETE", "/operator-policies/%2F/o")[0], 405)
        with own.connect() as connection:
            channel = connection.channel()
            channel.queue_declare("q")
            for body in (b"1", b"2"):
                channel.basic_publish("", "q", body)
            equal(get(channel, "q")[2], b"2")


@check
def terms_of_erlang_are_honoured():
    terms = """[{rabbit, [{default_consumer_prefetch, {false, 2}}, {msg_store_file_size_limit, 16777216},
                          {vm_memory_high_watermark_paging_ratio, 0.5}]}]."""
    with node(terms=terms) as own, own.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        seen = []
        channel.basic_consume("q", collect(seen))
        for number in range(5):
            channel.basic_publish("", "q", bytes([number]))
        receive(connection, seen, 2)
        is_ready(channel, "q", 3)
        channel.basic_ack(seen[0][0].delivery_tag)
        receive(connection, seen, 3)
        equal(ready(channel, "q"), 2)


@check
def silent_clients_are_sent_away():
    with node("handshake_timeout = 3000\n") as own:
        with socket.create_connection(("127.0.0.1", own.port), timeout=60) as silent:
            equal(silent.recv(1), b"")
        with own.connect() as connection:
            connection.channel()


@check
def nodes_listen_where_they_are_told_to():
    port = free_port()
    with node(f"listeners.tcp.2 = 127.0.0.2:{port}\n") as own:
        with own.connect(host="127.0.0.2", port=port) as connection:
            connection.channel()
        with raises(AMQPConnectionError):
            own.connect(port=port)


@check
def log_lines_are_published():
    with node("log.exchange = true\n") as own, own.connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.rabbitmq.log", "info")
        with own.connect():
            pass

        def of_connection():
            method, _, body = channel.basic_get(queue, auto_ack=True)
            return method and b"connection" in body and method.routing_key == "info"

        until("a line about the connection", of_connection)


@check
def confirmed_messages_survive_a_crash():
    with node() as own:
        with own.connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("durable", durable=True)
            channel.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
            for queue in ("durable", "quorum"):
                channel.basic_publish("", queue, b"confirmed", PERSISTENT, mandatory=True)
            own.end(signal.SIGKILL)
            with contextlib.suppress(AMQPConnectionError):
                connection.close()
        own.start()
        with own.connect() as connection:
            channel = connection.channel()
            for queue in ("durable", "quorum"):
                equal(get(channel, queue)[2], b"confirmed")


@check
def transient_messages_do_not_survive_a_stop():
    with node() as own:
        connection = own.connect()
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"gone")
        channel.basic_publish("", "q", b"stays", PERSISTENT)
        equal(own.end(signal.SIGTERM), 0)
        with raises(ConnectionClosedByBroker) as caught:
            while True:
                connection.process_data_events(time_limit=1)
        equal(caught.error.reply_code, 320)
        own.start()
        with own.connect() as connection:
            channel = connection.channel()
            equal(get(channel, "q")[2], b"stays")
            equal(channel.basic_get("q")[0], None)


@check
def long_queues_leave_memory():
    with node() as own, own.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        before, body = own.figures()["mem_used"], bytes(100_000)
        for _ in range(2000):
            channel.basic_publish("", "q", body, PERSISTENT)
        is_ready(channel, "q", 2000)
        until("room", lambda: own.figures()["mem_used"] - before < 100_000_000)


if __name__ == "__main__":
    if WARREN:
        main()
    print("WARREN names no program: nothing is checked", flush=True)
    sys.exit(0)
