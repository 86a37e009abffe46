"""pika 1.x over TLS, with and without a certificate of the client."""

import os
import ssl

import pika
from pika.exceptions import AMQPConnectionError

from harness import check, equal, main, raises, unique

URL = os.environ.get("AMQPS_URL")
DIRECTORY = os.environ.get("TLS_DIRECTORY", "")


def context(version=None, certificate=False):
    made = ssl.create_default_context(cafile=os.path.join(DIRECTORY, "ca_certificate.pem"))
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if certificate:
        made.load_cert_chain(
            os.path.join(DIRECTORY, "client_certificate.pem"), os.path.join(DIRECTORY, "client_key.pem")
        )
    return made


def connect(made, credentials=None):
    parameters = pika.URLParameters(URL)
    parameters.ssl_options = pika.SSLOptions(made, "localhost")
    if credentials is not None:
        parameters.credentials = credentials
    return pika.BlockingConnection(parameters)


def exchange_messages(connection):
    channel = connection.channel()
    queue = channel.queue_declare(unique("tls"), exclusive=True).method.queue
    channel.confirm_delivery()
    bodies = [b"", b"x", b"y" * 50_000, b"z" * 3_000_000]
    for body in bodies:
        channel.basic_publish("", queue, body, mandatory=True)
    received = []
    for _method, _properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=60):
        received.append(body)
        if len(received) == len(bodies):
            break
    equal(received, bodies)


@check
def each_version_of_tls():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with connect(context(version)) as connection:
            exchange_messages(connection)


@check
def a_certificate_and_a_password():
    with connect(context(certificate=True)) as connection:
        exchange_messages(connection)


@check
def a_certificate_is_a_login():
    with connect(context(certificate=True), pika.credentials.ExternalCredentials()) as connection:
        exchange_messages(connection)


@check
def no_certificate_is_no_login():
    with raises(AMQPConnectionError):
        connect(context(), pika.credentials.ExternalCredentials())


@check
def a_server_that_is_not_trusted():
    with raises(ssl.SSLCertVerificationError):
        connect(ssl.create_default_context())


if __name__ == "__main__" and URL:
    main()
