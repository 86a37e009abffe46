"""Logins and permissions by OpenLDAP's slapd, which the suite starts with a small directory of its own.

The suite starts its brokers itself, from the program that `WARREN` names, since each check configures its own.
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
import urllib.error
import urllib.request

import pika
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker

from harness import check, equal, free_port, main, raises, unique, until

WARREN = os.environ.get("WARREN")
SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
READER = f"cn=reader,{SUFFIX}"

SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {directory}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {directory}/tls/ca_certificate.pem
TLSCertificateFile {directory}/tls/server_certificate.pem
TLSCertificateKeyFile {directory}/tls/server_key.pem
database mdb
suffix "dc=example,dc=org"
rootdn "cn=root,dc=example,dc=org"
directory {directory}/data
maxsize 16777216
access to attrs=userPassword by anonymous auth by * none
access to dn.base="cn=secret,ou=groups,dc=example,dc=org" by * none
access to * by users read by anonymous auth
"""

DIRECTORY = """
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=reader,dc=example,dc=org
objectClass: person
cn: reader
sn: Reader
userPassword: reader-secret

dn: cn=anna,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: anna
sn: A
uid: a1
employeeType: operator
userPassword: anna-secret

dn: cn=bert,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: bert
sn: B
uid: b1
userPassword: bert-secret

dn: cn=Meier\\, Eva (x*),ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Meier, Eva (x*)
sn: M
uid: e1
userPassword: eva-secret

dn: cn=core,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: core
member: cn=anna,ou=people,dc=example,dc=org

dn: cn=admins,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: admins
member: cn=core,ou=groups,dc=example,dc=org
member: cn=admins,ou=groups,dc=example,dc=org

dn: cn=users of prod,ou=groups,dc=example,dc=org
objectClass: groupOfUniqueNames
cn: users of prod
uniqueMember: cn=anna,ou=people,dc=example,dc=org
uniqueMember: cn=bert,ou=people,dc=example,dc=org
"""

BY_PATTERN = f"auth_ldap.user_dn_pattern = cn=${{username}},{PEOPLE}\n"


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Slapd:
    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        self.tls_port = free_port()
        self.ca = f"{directory}/tls/ca_certificate.pem"
        self.configuration = f"{directory}/slapd.conf"
        self.process = None
        os.mkdir(f"{directory}/data")
        subprocess.run([WARREN, "tls", "generate", f"{directory}/tls"], check=True, stdout=subprocess.DEVNULL)
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(SLAPD.format(directory=directory))
        ldif = f"{directory}/directory.ldif"
        with open(ldif, "w", encoding="utf-8") as file:
            file.write(DIRECTORY.lstrip())
        subprocess.run(["/usr/sbin/slapadd", "-f", self.configuration, "-l", ldif], check=True)

    def start(self):
        listeners = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
        with open(f"{self.directory}/slapd.log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/slapd", "-f", self.configuration, "-h", listeners, "-d", "0"], stdout=log, stderr=log
            )
        until("a directory that listens", lambda: is_listening(self.port) and is_listening(self.tls_port))

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


class Broker:
    def __init__(self, directory, slapd, conf):
        self.port = free_port()
        self.http = free_port()
        self.log = f"{directory}/broker-{self.port}.log"
        path = f"{directory}/broker-{self.port}.conf"
        defaults = {
            "auth_backends.1": "ldap",
            "auth_backends.2": "internal",
            "auth_ldap.servers.1": "127.0.0.1",
            "auth_ldap.port": slapd.port,
            "log.console.level": "debug",
        }
        set_by_check = {line.split("=")[0].strip() for line in conf.splitlines() if "=" in line}
        lines = [f"{key} = {value}" for key, value in defaults.items() if key not in set_by_check]
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
            file.write(
                f"\nlisteners.tcp.1 = 127.0.0.1:{self.port}\n"
                f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http}\n{conf}"
            )
        environment = {
            **os.environ,
            "RABBITMQ_CONFIG_FILE": path,
            "RABBITMQ_CONFIG_FILES": f"{directory}/conf.d",
            "RABBITMQ_MNESIA_DIR": f"{directory}/data-{self.port}",
            "RABBITMQ_NODENAME": f"ldap{self.port}@localhost",
        }
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([WARREN, "server"], env=environment, stdout=log, stderr=log)
        until("a broker that listens", lambda: is_listening(self.port) and is_listening(self.http))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def connect(self, user, password, vhost="/"):
        credentials = pika.PlainCredentials(user, password)
        return pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", self.port, vhost, credentials, connection_attempts=1)
        )

    def lets_in(self, user, password, vhost="/"):
        try:
            self.connect(user, password, vhost).close()
            return True
        except AMQPConnectionError:
            return False

    def api(self, path, user, password, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/{path}", method=method)
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                body = answer.read()
                return answer.status, json.loads(body) if body else None
        except urllib.error.HTTPError as error:
            return error.code, None


@contextlib.contextmanager
def directory_server():
    directory = tempfile.mkdtemp()
    try:
        slapd = Slapd(directory)
        slapd.start()
        try:
            yield directory, slapd
        finally:
            slapd.stop()
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def broker(conf):
    with directory_server() as (directory, slapd):
        started = Broker(directory, slapd, conf)
        try:
            yield started, slapd
        finally:
            started.stop()


@check
def users_of_the_directory_log_in():
    with broker(BY_PATTERN) as (node, _):
        equal(node.lets_in("anna", "anna-secret"), True, "the right password")
        equal(node.lets_in("anna", "bert-secret"), False, "another password")
        equal(node.lets_in("anna", ""), False, "no password")
        equal(node.lets_in("nobody", "anna-secret"), False, "another user")
        equal(node.lets_in("guest", "guest"), True, "a user of the broker itself")
        # A name with everything that means something in names and filters.
        equal(node.lets_in("Meier, Eva (x*)", "eva-secret"), True, "a name with special characters")
        for name in (f"anna,{PEOPLE}", "*", "anna)(cn=*", "anna\\", "anna\0"):
            equal(node.lets_in(name, "anna-secret"), False, name)


@check
def queries_decide_what_users_may_do():
    conf = BY_PATTERN + f"""
auth_ldap.group_lookup_base = {GROUPS}
auth_ldap.queries.vhost_access = '''
  {{'or', [{{equals, "${{vhost}}", "/"}},
           {{in_group, "cn=users of ${{vhost}},{GROUPS}", "uniqueMember"}}]}}
'''
auth_ldap.queries.resource_access = '''
  {{for, [{{permission, configure,
           {{'or', [{{in_group_nested, "cn=admins,{GROUPS}"}},
                    {{match, {{string, "${{name}}"}}, {{string, "^interop.own-${{username}}"}}}}]}}}},
         {{permission, write,
           {{for, [{{resource, exchange, {{constant, true}}}},
                   {{resource, queue, {{equals, {{attribute, "${{user_dn}}", "employeeType"}},
                                               {{string, "operator"}}}}}}]}}}},
         {{permission, read, {{'not', {{exists, "cn=${{name}},{GROUPS}"}}}}}}]}}
'''
auth_ldap.queries.topic_access = '''
  {{for, [{{permission, write, {{match, {{string, "${{routing_key}}"}}, {{string, "^a"}}}}}},
         {{permission, read, {{constant, true}}}}]}}
'''
auth_ldap.queries.tags = '''
  [{{administrator, {{in_group_nested, "cn=admins,{GROUPS}"}}}},
   {{management, {{constant, true}}}},
   {{monitoring, {{in_group, "cn=secret,{GROUPS}"}}}}]
'''
"""
    with broker(conf) as (node, _):
        for vhost in ("prod", "other"):
            equal(node.api(f"vhosts/{vhost}", "guest", "guest", "PUT")[0], 201, "PUT")
        equal(node.lets_in("bert", "bert-secret", "prod"), True, "a member's virtual host")
        equal(node.lets_in("bert", "bert-secret", "other"), False, "another virtual host")

        anna = node.connect("anna", "anna-secret")
        bert = node.connect("bert", "bert-secret")
        queue = anna.channel().queue_declare(unique("any")).method.queue
        with raises(ChannelClosedByBroker) as refused:
            bert.channel().queue_declare(unique("any"))
        equal(refused.error.reply_code, 403, "reply code")
        own = bert.channel().queue_declare(unique("own-bert")).method.queue
        # A binding writes to the queue.
        anna.channel().queue_bind(queue, "amq.topic", "b")
        with raises(ChannelClosedByBroker):
            bert.channel().queue_bind(own, "amq.topic", "b")
        topic = anna.channel()
        topic.confirm_delivery()
        topic.basic_publish("amq.topic", "a.b", b"x")
        with raises(ChannelClosedByBroker):
            topic.basic_publish("amq.topic", "b", b"x")
        anna.channel().basic_get(queue)
        admins = anna.channel()
        admins.queue_declare("admins")
        with raises(ChannelClosedByBroker):
            admins.basic_get("admins")
        anna.close()
        bert.close()

        equal(sorted(node.api("whoami", "anna", "anna-secret")[1]["tags"]), ["administrator", "management"], "tags")
        equal(node.api("whoami", "bert", "bert-secret")[1]["tags"], ["management"], "tags")
        equal(node.api("whoami", "bert", "wrong")[0], 401, "status")


@check
def entries_are_looked_for_by_an_attribute():
    lookup = f"auth_ldap.dn_lookup_attribute = uid\nauth_ldap.dn_lookup_base = {PEOPLE}\n"
    bind = f"auth_ldap.{{0}}.user_dn = {READER}\nauth_ldap.{{0}}.password = reader-secret\n"
    member = f'auth_ldap.queries.vhost_access = {{in_group_nested, "cn=admins,{GROUPS}"}}\n'
    with broker(lookup + bind.format("dn_lookup_bind") + bind.format("other_bind") + member) as (node, _):
        equal(node.lets_in("a1", "anna-secret"), False, "no group without group_lookup_base")
    groups = f"auth_ldap.group_lookup_base = {GROUPS}\n"
    with broker(lookup + bind.format("dn_lookup_bind") + bind.format("other_bind") + member + groups) as (node, _):
        equal(node.lets_in("a1", "anna-secret"), True, "found")
        equal(node.lets_in("b1", "bert-secret"), False, "found, and not in the group")
        equal(node.lets_in("a1", "bert-secret"), False, "another password")
        equal(node.lets_in("*", "anna-secret"), False, "a star")
        with open(node.log, encoding="utf-8") as log:
            text = log.read()
        for secret in ("anna-secret", "bert-secret", "reader-secret"):
            assert secret not in text, f"{secret} is in the log"


@check
def tls_is_spoken_and_verified():
    with directory_server() as (directory, slapd):
        ca = f"auth_ldap.ssl_options.cacertfile = {slapd.ca}\n"
        start = "auth_ldap.use_starttls = true\n"
        whole = f"auth_ldap.use_ssl = true\nauth_ldap.port = {slapd.tls_port}\n"
        for conf, expected in (
            (start + ca, True),
            (whole + ca, True),
            (start, False),
            (whole, False),
            (whole + ca + "auth_ldap.ssl_options.sni = other.example\n", False),
            (whole + "auth_ldap.ssl_options.verify = verify_none\n", True),
        ):
            node = Broker(directory, slapd, BY_PATTERN + conf)
            try:
                equal(node.lets_in("anna", "anna-secret"), expected, conf)
                equal(node.lets_in("guest", "guest"), True, "a user of the broker itself")
            finally:
                node.stop()


@check
def a_directory_that_goes_and_comes_back_is_used_again():
    conf = BY_PATTERN + f'auth_ldap.queries.vhost_access = {{exists, "cn=${{username}},{PEOPLE}"}}\n'
    with broker(conf) as (node, slapd):
        equal(node.lets_in("anna", "anna-secret"), True, "before")
        slapd.stop()
        equal(node.lets_in("anna", "anna-secret"), False, "without a directory")
        equal(node.lets_in("guest", "guest"), True, "a user of the broker itself")
        slapd.start()
        equal(node.lets_in("anna", "anna-secret"), True, "after")


if __name__ == "__main__":
    if WARREN is None:
        print("WARREN is not set: there is no broker to ask a directory")
        sys.exit(0)
    main()
