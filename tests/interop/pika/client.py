"""What the suites of this folder do with pika, and requests to the HTTP API at `HTTP_URL`."""

import base64
import contextlib
import json
import os
import urllib.error
import urllib.parse
import urllib.request

import pika

from harness import URL, equal, unique, until

HTTP_URL = os.environ.get("HTTP_URL", "http://127.0.0.1:15672")


def connect(**overrides):
    parameters = pika.URLParameters(URL)
    for field, value in overrides.items():
        setattr(parameters, field, value)
    return pika.BlockingConnection(parameters)


def server_named(channel, **arguments):
    return channel.queue_declare("", exclusive=True, **arguments).method.queue


def get(channel, queue, auto_ack=True):
    """Polls basic.get until a message is there."""
    return until(
        f"a message in {queue}",
        lambda: (reply := channel.basic_get(queue, auto_ack=auto_ack))[0] and reply,
    )


def receive(connection, into, count):
    """Serves the connection until `count` things have arrived in the list `into`."""

    def enough():
        connection.process_data_events(time_limit=0.05)
        return len(into) >= count

    until(f"{count} arrivals", enough)


def collect(into):
    return lambda _channel, method, properties, body: into.append((method, properties, body))


def in_path(text):
    """As a part of a path or of a URI."""
    return urllib.parse.quote(text, safe="")


def http(method, path, body=None, login="guest:guest", url=HTTP_URL):
    """Status and JSON of an answer; `path` is below `/api`."""
    request = urllib.request.Request(f"{url}/api{path}", method=method)
    request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text[:1] in (b"{", b"[") else None


def done(answer):
    """The body of an answer that says that all went well."""
    status, body = answer
    assert status < 300, answer
    return body


@contextlib.contextmanager
def own_vhost(**settings):
    """A vhost of its own, deleted at the end."""
    vhost = unique("vhost")
    done(http("PUT", f"/vhosts/{vhost}", settings))
    try:
        yield vhost
    finally:
        http("DELETE", f"/vhosts/{vhost}/deletion/protection")
        done(http("DELETE", f"/vhosts/{vhost}"))


@contextlib.contextmanager
def own_user(vhost, tags="", permissions=(".*", ".*", ".*")):
    """A user whose password is `p`, deleted at the end."""
    user = unique("user")
    done(http("PUT", f"/users/{user}", {"password": "p", "tags": tags}))
    if permissions:
        grant(user, vhost, permissions)
    try:
        yield user
    finally:
        done(http("DELETE", f"/users/{user}"))


def grant(user, vhost, permissions=(".*", ".*", ".*")):
    names = ("configure", "write", "read")
    done(http("PUT", f"/permissions/{in_path(vhost)}/{user}", dict(zip(names, permissions, strict=True))))


def credentials(user):
    return pika.PlainCredentials(user, "p")


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def is_ready(channel, queue, count):
    """Waits until that many messages are ready."""
    until(f"{count} ready in {queue}", lambda: ready(channel, queue) == count)


def refused(connection, code, text, call):
    """A channel of its own is closed for `call` with this code and a text that has this part."""
    channel = connection.channel()
    try:
        call(channel)
    except pika.exceptions.ChannelClosedByBroker as error:
        equal(error.reply_code, code, error.reply_text)
        assert text in error.reply_text, error.reply_text
    else:
        raise AssertionError(f"it was not refused: {text}")
