"""Logins with tokens of OAuth 2: the password is a JWT, `update_secret` renews it, and no connection outlives it.

The program starts its brokers itself, from the program that `WARREN` names. Tokens are signed with a shared secret, which the
standard library can do; what other algorithms do is tested beside the backend.
"""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import pika
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, ConnectionClosedByBroker, ProbableAccessDeniedError

from harness import check, equal, free_port, main, raises, unique, until

WARREN = os.environ.get("WARREN")
SECRET = "interop-signing-secret"
ALL = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*"

ADVANCED = """
[{rabbitmq_auth_backend_oauth2, [
    {key_config, [
        {default_key, <<"legacy">>},
        {signing_keys, #{
            <<"legacy">> => {map, #{<<"kty">> => <<"MAC">>, <<"alg">> => <<"HS256">>, <<"value">> => <<"SECRET">>}}
        }}
    ]}
]}].
""".replace("SECRET", SECRET)


def token(user="anna", seconds=600, scope=ALL, key_id="legacy", secret=SECRET, **claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    header = {"alg": "HS256", "typ": "JWT", "kid": key_id}
    claims = {"sub": user, "aud": "rabbitmq", "exp": int(time.time()) + seconds, "scope": scope, **claims}
    message = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
    signature = hmac.new(secret.encode(), message, hashlib.sha256).digest()
    return (message + b"." + part(signature)).decode()


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    def __init__(self, directory, conf, advanced=""):
        self.port = free_port()
        self.http = free_port()
        self.log = f"{directory}/broker.log"
        with open(f"{directory}/rabbitmq.conf", "w", encoding="utf-8") as file:
            file.write(
                f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console.level = debug\n"
                f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http}\n"
                "auth_backends.1 = oauth2\nauth_backends.2 = internal\n"
                f"auth_oauth2.resource_server_id = rabbitmq\n{conf}"
            )
        environment = {
            **os.environ,
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq.conf",
            "RABBITMQ_CONFIG_FILES": f"{directory}/conf.d",
            "RABBITMQ_MNESIA_DIR": f"{directory}/data",
            "RABBITMQ_NODENAME": f"tokens{self.port}@localhost",
        }
        if advanced:
            environment["RABBITMQ_ADVANCED_CONFIG_FILE"] = f"{directory}/advanced.config"
            with open(f"{directory}/advanced.config", "w", encoding="utf-8") as file:
                file.write(advanced)
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([WARREN, "server"], env=environment, stdout=log, stderr=log)
        until("a broker that listens", lambda: is_listening(self.port) and is_listening(self.http))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def connect(self, password, user="whoever", vhost="/"):
        credentials = pika.PlainCredentials(user, password)
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, vhost, credentials))

    def lets_in(self, password, user="whoever"):
        try:
            self.connect(password, user).close()
            return True
        except AMQPConnectionError:
            return False

    def whoami(self, authorization):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/whoami")
        request.add_header("Authorization", authorization)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None


@contextlib.contextmanager
def broker(conf="", advanced=ADVANCED):
    directory = tempfile.mkdtemp()
    try:
        started = Broker(directory, conf, advanced)
        try:
            yield started
        finally:
            started.stop()
    finally:
        shutil.rmtree(directory)


@check
def a_token_is_a_password():
    with broker() as node:
        equal(node.lets_in(token()), True, "a token")
        equal(node.lets_in("guest", "guest"), True, "a user of the broker itself")
        for wrong in (
            token(secret="another"),
            token(seconds=-5),
            token(aud="another"),
            token(key_id="unknown"),
            token()[:-4],
            "nonsense",
            "",
        ):
            equal(node.lets_in(wrong), False, wrong)
        with open(node.log, encoding="utf-8") as log:
            text = log.read()
        assert token().split(".")[0] not in text, "a token is in the log"
        assert SECRET not in text, "the key is in the log"


@check
def scopes_say_what_a_user_may_do():
    scope = (
        "rabbitmq.configure:{vhost}/interop.own-{sub}* rabbitmq.write:*/amq.topic/a.* "
        "rabbitmq.write:*/interop.own-* rabbitmq.read:*/*/* rabbitmq.tag:management other.tag:administrator"
    )
    with broker() as node:
        connection = node.connect(token(scope=scope))
        channel = connection.channel()
        queue = channel.queue_declare(unique("own-anna"), exclusive=True).method.queue
        channel.queue_bind(queue, "amq.topic", "a.b")
        channel.confirm_delivery()
        channel.basic_publish("amq.topic", "a.b", b"x", mandatory=True)
        assert channel.basic_get(queue, auto_ack=True)[2] == b"x"
        with raises(ChannelClosedByBroker) as refused:
            channel.basic_publish("amq.topic", "b", b"x")
        equal(refused.error.reply_code, 403, "reply code")
        with raises(ChannelClosedByBroker) as refused:
            connection.channel().queue_declare(unique("own-bert"))
        equal(refused.error.reply_code, 403, "reply code")
        connection.close()

        with raises(ProbableAccessDeniedError) as refused:
            node.connect(token(scope="rabbitmq.read:other/*"))
        assert "(530)" in str(refused.error), refused.error

        basic = "Basic " + base64.b64encode(f"x:{token(scope=scope)}".encode()).decode()
        status, me = node.whoami(basic)
        equal((status, me["name"], me["tags"]), (200, "anna", ["management"]), "whoami")


@check
def update_secret_renews_a_token():
    with broker() as node:
        connection = node.connect(token(seconds=8, scope="rabbitmq.read:*/*"))
        ends = time.monotonic() + 8
        connection.update_secret(token(seconds=600), "a new one")
        channel = connection.channel()
        channel.queue_declare(unique("renewed"), exclusive=True)
        connection.process_data_events(time_limit=max(0, ends + 1 - time.monotonic()))
        equal(connection.is_open, True, "the connection after the end of the first token")
        connection.close()

        for wrong in (token(user="bert"), token(seconds=-5), "nonsense"):
            connection = node.connect(token())
            with raises(ConnectionClosedByBroker) as refused:
                connection.update_secret(wrong, "a wrong one")
                connection.process_data_events(time_limit=60)
            equal(refused.error.reply_code, 530, refused.error.reply_text)


@check
def no_connection_outlives_its_token():
    with broker() as node:
        connection = node.connect(token(seconds=6))
        with raises(ConnectionClosedByBroker) as closed:
            connection.process_data_events(time_limit=60)
        equal(closed.error.reply_code, 320, closed.error.reply_text)


@check
def keys_are_fetched_from_the_issuer():
    directory = tempfile.mkdtemp()
    subprocess.run([WARREN, "tls", "generate", f"{directory}/tls"], check=True, stdout=subprocess.DEVNULL)
    keys = {"k1": "first-secret"}
    asked = []

    class Issuer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/.well-known/openid-configuration":
                body = {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}
            else:
                secrets = {key: base64.urlsafe_b64encode(secret.encode()) for key, secret in keys.items()}
                body = {
                    "keys": [
                        {"kid": key, "kty": "oct", "alg": "HS256", "k": secret.decode().rstrip("=")}
                        for key, secret in secrets.items()
                    ]
                }
            body = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    issuer = f"https://127.0.0.1:{server.server_port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/tls/server_certificate.pem", f"{directory}/tls/server_key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        conf = f"auth_oauth2.issuer = {issuer}\nauth_oauth2.https.cacertfile = {directory}/tls/ca_certificate.pem\n"
        with broker(conf, advanced="") as node:
            first = token(key_id="k1", secret="first-secret")
            for _ in range(3):
                equal(node.lets_in(first), True, "a token")
            equal(asked, ["/.well-known/openid-configuration", "/keys"], "what the issuer was asked")
            keys["k2"] = "second-secret"
            second = token(key_id="k2", secret="second-secret")
            until("the new key", lambda: node.lets_in(second))
            equal(node.lets_in(token(key_id="k2", secret="first-secret")), False, "a token of another key")
    finally:
        server.shutdown()
        shutil.rmtree(directory)


if __name__ == "__main__":
    if WARREN is None:
        print("WARREN is not set: there is no broker that takes tokens")
        sys.exit(0)
    main()
