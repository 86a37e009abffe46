"""Two brokers behind HAProxy and behind nginx, which tell them who the clients are.

The suite starts its brokers itself, from the program that `WARREN` names, since the proxies have to know them before they start.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

import pika
from pika.exceptions import AMQPConnectionError

from harness import check, equal, free_port, main, unique, until

WARREN = os.environ.get("WARREN")
HEALTH_CHECKS = 20


class Broker:
    def __init__(self, directory, name, settings):
        self.port = free_port()
        self.http = free_port()
        self.log = os.path.join(directory, f"{name}.log")
        conf = os.path.join(directory, f"{name}.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(
                f"listeners.tcp.1 = 127.0.0.1:{self.port}\n{settings}\n"
                f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http}\n"
            )
        environment = {
            **os.environ,
            "RABBITMQ_CONFIG_FILE": conf,
            "RABBITMQ_CONFIG_FILES": os.path.join(directory, "conf.d"),
            "RABBITMQ_MNESIA_DIR": os.path.join(directory, name),
            "RABBITMQ_NODENAME": f"{name}@localhost",
        }
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([WARREN, "server"], env=environment, stdout=log, stderr=log)

    def is_listening(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def connections(self):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/connections")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def lines(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read().splitlines()


@contextlib.contextmanager
def running(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextlib.contextmanager
def two_brokers(settings="proxy_protocol = true"):
    directory = tempfile.mkdtemp()
    brokers = []
    try:
        brokers.extend(Broker(directory, name, settings) for name in ("one", "two"))
        for broker in brokers:
            until("a broker that listens", broker.is_listening)
        yield directory, brokers
    finally:
        for broker in brokers:
            broker.process.send_signal(signal.SIGTERM)
        for broker in brokers:
            broker.process.wait(timeout=60)
        shutil.rmtree(directory)


def connect(port):
    return pika.BlockingConnection(pika.URLParameters(f"amqp://guest:guest@127.0.0.1:{port}/"))


def connect_when_ready(port):
    def attempt():
        try:
            return connect(port)
        except AMQPConnectionError:
            return None

    return until("a connection through the proxy", attempt)


def use(port, brokers):
    """Four clients through the proxy: each works, both brokers have some, and each is known by its own address."""
    clients = [connect_when_ready(port) for _ in range(4)]
    try:
        ours = set()
        for client in clients:
            channel = client.channel()
            queue = channel.queue_declare(unique("proxied"), exclusive=True).method.queue
            channel.confirm_delivery()
            channel.basic_publish("", queue, b"x" * 100_000, mandatory=True)
            equal(len(channel.basic_get(queue, auto_ack=True)[2]), 100_000)
            # Behind pika's adapter is the socket that the proxy accepted.
            ours.add(client._impl._transport._sock.getsockname()[1])

        def known():
            """What the brokers know, without attempts that came before they were ready."""
            found = [broker.connections() for broker in brokers]
            ports = {connection["peer_port"] for connections in found for connection in connections}
            return found if ports == ours else None

        seen = until("the ports of the clients, and no others", known)
        assert all(seen), f"one broker has no client: {seen}"
        for connections in seen:
            for connection in connections:
                equal(connection["port"], port, "the port that the client connected to")
    finally:
        for client in clients:
            client.close()


def count_lines_of(brokers):
    return sum(len(broker.lines()) for broker in brokers)


def haproxy_configuration(directory, port, brokers, version):
    path = os.path.join(directory, f"haproxy-{version}.cfg")
    servers = "\n".join(
        f"    server s{broker.port} 127.0.0.1:{broker.port} check inter 100 fall 100 {version}" for broker in brokers
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
            f"frontend amqp\n    bind 127.0.0.1:{port}\n    default_backend brokers\n"
            f"backend brokers\n    balance roundrobin\n{servers}\n"
        )
    return path


@check
def haproxy_with_both_versions():
    with two_brokers() as (directory, brokers):
        for version in ("send-proxy", "send-proxy-v2"):
            port = free_port()
            configuration = haproxy_configuration(directory, port, brokers, version)
            with running(["haproxy", "-db", "-f", configuration]):
                use(port, brokers)


@check
def health_checks_do_not_flood_the_log():
    with two_brokers() as (directory, brokers):
        port = free_port()
        configuration = haproxy_configuration(directory, port, brokers, "send-proxy-v2 check-send-proxy")
        with running(["haproxy", "-db", "-f", configuration]):
            connect_when_ready(port).close()
            before = count_lines_of(brokers)
            for _ in range(HEALTH_CHECKS):
                for broker in brokers:
                    equal(broker.is_listening(), True)
            # What the checks of the proxy do meanwhile is in the same logs.
            connect(port).close()
            after = count_lines_of(brokers)
            # The client itself is told of, and the end of the one before it.
            assert after - before < HEALTH_CHECKS, "\n".join(brokers[0].lines() + brokers[1].lines())


@check
def checks_over_tcp_and_http_are_answered_and_not_logged():
    """Without the PROXY protocol: HAProxy connects and closes at once, and asks the HTTP API whether the node serves clients."""
    with two_brokers("log.level = info") as (directory, brokers):
        port, stats = free_port(), free_port()
        path = os.path.join(directory, "haproxy-checks.cfg")
        amqp = "\n".join(f"    server a{b.port} 127.0.0.1:{b.port} check inter 50 fall 100" for b in brokers)
        http = "\n".join(f"    server h{b.http} 127.0.0.1:{b.http} check inter 50 fall 100" for b in brokers)
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                f"global\n    stats socket {directory}/stats level user\n"
                "defaults\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
                f"frontend amqp\n    mode tcp\n    option clitcpka\n    bind 127.0.0.1:{port}\n    default_backend brokers\n"
                f"backend brokers\n    mode tcp\n    balance roundrobin\n{amqp}\n"
                f"frontend api\n    mode http\n    bind 127.0.0.1:{stats}\n    default_backend apis\n"
                "backend apis\n    mode http\n    option httpchk\n"
                "    http-check send meth GET uri /api/health/checks/is-in-service hdr Authorization 'Basic Z3Vlc3Q6Z3Vlc3Q='\n"
                f"    http-check expect status 200\n{http}\n"
            )
        with running(["haproxy", "-db", "-f", path]):
            connect_when_ready(port).close()

            def checks_passed():
                """How many checks of each server have passed, by HAProxy's own count of them."""
                with socket.socket(socket.AF_UNIX) as control:
                    control.connect(os.path.join(directory, "stats"))
                    control.sendall(b"show stat\n")
                    lines = b"".join(iter(lambda: control.recv(65536), b"")).decode().splitlines()
                names = lines[0].lstrip("# ").split(",")
                rows = [dict(zip(names, line.split(","))) for line in lines[1:] if line]
                return [row for row in rows if row["svname"][0] in "ah" and row["svname"][1:].isdigit()]

            def all_pass():
                rows = checks_passed()
                states = sorted(row["check_status"] for row in rows)
                return states == ["L4OK", "L4OK", "L7OK", "L7OK"] and all(row["status"] == "UP" for row in rows)

            until("checks that pass, and servers that are up", all_pass)
            before = count_lines_of(brokers)
            for _ in range(HEALTH_CHECKS):
                for broker in brokers:
                    equal(broker.is_listening(), True)
            client = connect(port)
            client.close()
            added = [line for broker in brokers for line in broker.lines()][-(count_lines_of(brokers) - before) :]
            # Only the client itself is told of (accepted, logged in, closed), and the end of the one before it.
            assert len(added) < HEALTH_CHECKS, "\n".join(added)


@check
def nginx_with_version_1():
    with two_brokers() as (directory, brokers):
        port = free_port()
        path = os.path.join(directory, "nginx.conf")
        servers = " ".join(f"server 127.0.0.1:{broker.port};" for broker in brokers)
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
                f"daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;\n"
                "events {}\n"
                f"stream {{ upstream brokers {{ {servers} }}\n"
                f"server {{ listen 127.0.0.1:{port}; proxy_pass brokers; proxy_protocol on; }} }}\n"
            )
        with running(["nginx", "-c", path, "-p", directory]):
            use(port, brokers)


if __name__ == "__main__":
    if WARREN is None:
        print("WARREN is not set: there is no broker to put behind a proxy")
        sys.exit(0)
    main()
