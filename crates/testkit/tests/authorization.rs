//! The authorisation matrix for AMQP 0-9-1: every user, virtual host, operation and name, against an oracle that knows prefixes
//! instead of patterns and nothing of the broker.
//!
//! It runs with the users of the broker itself, who come by password, through a proxy, by certificate and with tokens, and with an HTTP server that decides by
//! the same oracle.
//!
//! Cells that cannot exist: whoever is not let in, or may not open a virtual host, has no channel there to try anything on, so that is one cell for each virtual
//! host instead of one for each operation. What a network namespace would add is the address in the PROXY header here: the broker sees either.

use anyhow::{Context as _, bail, ensure};
use client_amqp091::codec::connection as amqp_connection;
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value, basic, exchange, queue};
use client_amqp091::{
    AmqpUri, ConnectOptions, Connection, ConsumeOptions, Error, Event, codec::Method,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::client::{until, within};
use testkit::token::{Signer, now_s};
use testkit::{Broker, Http};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long what somebody else has to be asked for may go on after it was taken away, with what a busy machine adds; answers
/// are kept for much longer where they are kept.
const TAKEN_AWAY_WITHIN: Duration = Duration::from_secs(30);

// ── the oracle ──

/// Names that a user has a right to.
#[derive(Clone, Copy)]
enum Names {
    All,
    None,
    Prefix(&'static str),
    /// One name, with characters that mean something in patterns.
    Exactly(&'static str),
    /// What begins with the user's own name and a full stop.
    OfUser,
    /// What begins with the name of an MQTT client and a full stop: nobody here has one.
    OfClient,
}

use Names::{All, Exactly, None as Nothing, OfClient, OfUser, Prefix};

impl Names {
    fn hold(self, user: &str, name: &str) -> bool {
        match self {
            All => true,
            Nothing | OfClient => false,
            Prefix(prefix) => name.starts_with(prefix),
            Exactly(one) => name == one,
            OfUser => name
                .strip_prefix(user)
                .is_some_and(|rest| rest.starts_with('.')),
        }
    }

    /// The same as a part of a scope; `None` if it has none.
    fn scope(self) -> Option<String> {
        match self {
            All => Some("*".to_owned()),
            Prefix(prefix) => Some(format!("{prefix}*")),
            Exactly(one) => Some(one.replace('+', "%2B")),
            Nothing | OfUser | OfClient => None,
        }
    }

    /// The same for the broker.
    fn pattern(self) -> String {
        match self {
            All => ".*".to_owned(),
            Nothing => "^$".to_owned(),
            Prefix(prefix) => format!("^{prefix}"),
            Exactly(one) => format!("^{}$", one.replace('.', r"\.").replace('+', r"\+")),
            OfUser => r"^{username}\.".to_owned(),
            OfClient => r"^{client_id}\.".to_owned(),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Right {
    Configure,
    Write,
    Read,
}

use Right::{Configure, Read, Write};

impl Right {
    fn name(self) -> &'static str {
        match self {
            Configure => "configure",
            Write => "write",
            Read => "read",
        }
    }
}

/// How somebody gets to the broker.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// With a name and a password.
    Password,
    /// The same, and a proxy says that it comes from there.
    From(&'static str),
    /// With a password, but the user has none.
    NoPassword,
    /// With a certificate.
    Certificate,
    /// With a password and all rights, which are changed when it is there.
    Changed,
    /// With a token.
    Token,
    /// With a token that is good for everything and replaced by another when it is there.
    Renewed,
    /// With a token whose time is over.
    Expired,
}

impl Way {
    /// Whether it leads in.
    fn leads_in(self) -> bool {
        match self {
            Self::From(address) => address == "127.0.0.9" || address == "::1",
            Self::NoPassword | Self::Expired => false,
            Self::Password | Self::Certificate | Self::Changed | Self::Token | Self::Renewed => {
                true
            }
        }
    }

    fn has_token(self) -> bool {
        matches!(self, Self::Token | Self::Renewed | Self::Expired)
    }
}

struct User {
    name: &'static str,
    way: Way,
    tags: &'static str,
    /// Where it has rights.
    vhosts: &'static [&'static str],
    configure: Names,
    write: Names,
    read: Names,
    /// Keys on `amq.topic` to publish with and to bind by.
    topic: Option<(Names, Names)>,
}

const USER: User = User {
    name: "",
    way: Way::Password,
    tags: "",
    vhosts: &["a"],
    configure: All,
    write: All,
    read: All,
    topic: None,
};

/// A tag is no permission.
const TAGGED: User = User {
    configure: Nothing,
    write: Nothing,
    read: Nothing,
    vhosts: &["b"],
    ..USER
};

const USERS: &[User] = &[
    User {
        name: "admin",
        tags: "administrator",
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "full",
        ..USER
    },
    User {
        name: "nowhere",
        vhosts: &[],
        ..USER
    },
    User {
        name: "powerless",
        configure: Nothing,
        write: Nothing,
        read: Nothing,
        ..USER
    },
    User {
        name: "configures",
        write: Nothing,
        read: Nothing,
        ..USER
    },
    User {
        name: "writes",
        configure: Nothing,
        read: Nothing,
        ..USER
    },
    User {
        name: "reads",
        configure: Nothing,
        write: Nothing,
        ..USER
    },
    User {
        name: "no-write",
        write: Nothing,
        vhosts: &["b"],
        ..USER
    },
    User {
        name: "own",
        configure: Prefix("own-"),
        write: Prefix("own-"),
        read: Prefix("own-"),
        ..USER
    },
    User {
        name: "exact",
        configure: Exactly("a.b+c"),
        write: Exactly("a.b+c"),
        read: Exactly("a.b+c"),
        ..USER
    },
    User {
        name: "system",
        configure: Prefix("amq."),
        write: Prefix("amq."),
        read: All,
        ..USER
    },
    User {
        name: "topics",
        topic: Some((Prefix("own-"), Nothing)),
        ..USER
    },
    User {
        name: "binder",
        topic: Some((Nothing, Prefix("own-"))),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "m.t+(u)*",
        topic: Some((OfUser, OfUser)),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "mqtt",
        topic: Some((OfClient, OfClient)),
        ..USER
    },
    User {
        name: "tagged-admin",
        tags: "administrator",
        ..TAGGED
    },
    User {
        name: "tagged-manager",
        tags: "management",
        ..TAGGED
    },
    User {
        name: "tagged-policies",
        tags: "policymaker",
        ..TAGGED
    },
    User {
        name: "tagged-monitor",
        tags: "monitoring",
        ..TAGGED
    },
    User {
        name: "guest",
        way: Way::From("127.0.0.9"),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "guest",
        way: Way::From("::1"),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "guest",
        way: Way::From("192.0.2.7"),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "guest",
        way: Way::From("2001:db8::7"),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "no-password",
        way: Way::NoPassword,
        ..USER
    },
    User {
        name: "certified",
        way: Way::Certificate,
        write: Prefix("own-"),
        ..USER
    },
    User {
        name: "changed",
        way: Way::Changed,
        configure: Prefix("own-"),
        write: Prefix("own-"),
        read: Exactly("a.b+c"),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "token",
        way: Way::Token,
        configure: Prefix("own-"),
        read: Exactly("a.b+c"),
        topic: Some((Prefix("own-"), Nothing)),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "renewed",
        way: Way::Renewed,
        configure: Nothing,
        write: Prefix("own-"),
        vhosts: &["a", "b"],
        ..USER
    },
    User {
        name: "expired",
        way: Way::Expired,
        ..USER
    },
    User {
        name: "manager",
        tags: "management",
        vhosts: &[],
        ..USER
    },
    User {
        name: "policies",
        tags: "policymaker",
        vhosts: &[],
        ..USER
    },
    User {
        name: "monitor",
        tags: "monitoring",
        vhosts: &[],
        ..USER
    },
];

impl User {
    fn has(&self, right: Right, name: &str) -> bool {
        match right {
            Configure => self.configure.hold(self.name, name),
            Write => self.write.hold(self.name, name),
            Read => self.read.hold(self.name, name),
        }
    }

    /// Whether a key is allowed on an exchange.
    fn has_key(&self, right: Right, exchange: &str, key: &str) -> bool {
        match self.topic {
            // Tokens allow only the keys that they name.
            None if exchange == "amq.topic" && self.way.has_token() => false,
            Some((write, _)) if exchange == "amq.topic" && right == Write => {
                write.hold(self.name, key)
            }
            Some((_, read)) if exchange == "amq.topic" && right == Read => {
                read.hold(self.name, key)
            }
            _ => true,
        }
    }

    /// What a token says about these rights.
    fn scopes(&self) -> Vec<String> {
        let mut scopes = Vec::new();
        for vhost in self.vhosts {
            for (right, names) in [
                (Configure, self.configure),
                (Write, self.write),
                (Read, self.read),
            ] {
                if let Some(names) = names.scope() {
                    scopes.push(format!("rabbitmq.{}:{vhost}/{names}", right.name()));
                }
            }
            let (write, read) = self.topic.unwrap_or((Nothing, Nothing));
            for (right, keys) in [(Write, write), (Read, read)] {
                if let Some(keys) = keys.scope() {
                    scopes.push(format!(
                        "rabbitmq.{}:{vhost}/amq.topic/{keys}",
                        right.name()
                    ));
                }
            }
        }
        scopes
    }
}

/// What an operation needs, in the order in which it is asked for.
enum Need {
    Queue(Right, String),
    Exchange(Right, String),
    AnyOfQueue(String),
    AnyOfExchange(String),
    Key(Right, &'static str, String),
}

/// What the broker says when a user may not, if it may not.
fn refusal(user: &User, vhost: &str, needs: &[Need]) -> Option<String> {
    let any = |name: &str| {
        [Configure, Write, Read]
            .iter()
            .any(|right| user.has(*right, name))
    };
    needs.iter().find_map(|need| {
        let (right, what) = match need {
            Need::Queue(right, name) if !user.has(*right, name) => {
                (right, format!("queue '{name}'"))
            }
            Need::Exchange(right, name) if !user.has(*right, name) => {
                (right, format!("exchange '{name}'"))
            }
            Need::AnyOfQueue(name) if !any(name) => (&Configure, format!("queue '{name}'")),
            Need::AnyOfExchange(name) if !any(name) => (&Configure, format!("exchange '{name}'")),
            Need::Key(right, exchange, key) if !user.has_key(*right, exchange, key) => {
                (right, format!("topic '{key}' in exchange '{exchange}'"))
            }
            Need::Queue(..)
            | Need::Exchange(..)
            | Need::AnyOfQueue(_)
            | Need::AnyOfExchange(_)
            | Need::Key(..) => return None,
        };
        let right = right.name();
        Some(format!(
            "ACCESS_REFUSED - {right} access to {what} in vhost '{vhost}' refused for user '{}'",
            user.name
        ))
    })
}

// ── the operations ──

/// Names of queues and exchanges that are there, as both.
const NAMES: [&str; 5] = ["own-1", "Own-1", "other", "a.b+c", "axbbc"];
/// Of one that is always there.
const THERE: &str = "other";

struct Operation {
    what: &'static str,
    needs: Vec<Need>,
    frames: Vec<u8>,
    /// What is wrong with it even if it is allowed.
    wrong: Option<String>,
}

fn operation(what: &'static str, needs: Vec<Need>, encode: impl FnOnce(&mut Vec<u8>)) -> Operation {
    let mut frames = Vec::new();
    encode(&mut frames);
    Operation {
        what,
        needs,
        frames,
        wrong: None,
    }
}

/// Everything that one user can do with one name, on channel 1.
fn operations(user: &User, name: &str) -> Vec<Operation> {
    let owned = name.to_owned();
    let queue = |right| Need::Queue(right, owned.clone());
    let exchange = |right| Need::Exchange(right, owned.clone());
    let other = |right, name: &str| Need::Exchange(right, name.to_owned());
    let gone = format!("{name}-gone");
    let argument = |key: &str| {
        let mut bytes = Vec::new();
        TableWriter::new(&mut bytes).field(key.as_bytes(), &Value::LongStr(THERE.as_bytes()));
        bytes
    };
    let (dead_letter, alternate) = (
        argument("x-dead-letter-exchange"),
        argument("alternate-exchange"),
    );
    let (publish_key, bind_key) = (format!("{name}-p"), format!("{name}-b"));
    let (user_key, near_key) = (
        format!("{}.{name}", user.name),
        format!("{}.{name}", user.name.replace('.', "x")),
    );
    let topic = |right, key: &String| {
        vec![
            Need::Exchange(right, "amq.topic".to_owned()),
            Need::Key(right, "amq.topic", key.clone()),
        ]
    };
    let bound = |destination: Need, key: &String| {
        let mut needs = vec![destination];
        needs.extend(topic(Read, key));
        needs
    };
    let bind = |source: &'static str, key: &str| {
        let (queue, key) = (owned.clone(), key.to_owned());
        move |out: &mut Vec<u8>| {
            queue::Bind {
                queue: queue.as_bytes(),
                exchange: source.as_bytes(),
                routing_key: key.as_bytes(),
                ..Default::default()
            }
            .encode(1, out);
        }
    };
    vec![
        operation(
            "queue.declare passive",
            vec![Need::AnyOfQueue(owned.clone())],
            |out| {
                queue::Declare {
                    queue: name.as_bytes(),
                    passive: true,
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation("queue.declare", vec![queue(Configure)], |out| {
            queue::Declare {
                queue: name.as_bytes(),
                durable: true,
                ..Default::default()
            }
            .encode(1, out);
        }),
        operation(
            "queue.declare with a dead letter exchange",
            vec![
                Need::Queue(Configure, gone.clone()),
                Need::Queue(Read, gone.clone()),
                other(Write, THERE),
            ],
            |out| {
                queue::Declare {
                    queue: gone.as_bytes(),
                    arguments: Table::new(&dead_letter),
                    ..Default::default()
                }
                .encode(1, out);
                queue::Delete {
                    queue: gone.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "queue.delete",
            vec![Need::Queue(Configure, gone.clone())],
            |out| {
                queue::Delete {
                    queue: gone.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation("queue.purge", vec![queue(Read)], |out| {
            queue::Purge {
                queue: name.as_bytes(),
                ..Default::default()
            }
            .encode(1, out);
        }),
        operation("basic.get", vec![queue(Read)], |out| {
            basic::Get {
                queue: name.as_bytes(),
                no_ack: true,
                ..Default::default()
            }
            .encode(1, out);
        }),
        operation("basic.consume", vec![queue(Read)], |out| {
            basic::Consume {
                queue: name.as_bytes(),
                no_ack: true,
                ..Default::default()
            }
            .encode(1, out);
        }),
        operation("basic.publish", vec![exchange(Write)], |out| {
            publish(name, "k", &Extra::None, out)
        }),
        operation(
            "basic.publish to the default exchange",
            vec![other(Write, "amq.default")],
            |out| {
                publish("", "nobody", &Extra::None, out);
            },
        ),
        operation(
            "basic.publish to a topic exchange",
            vec![
                other(Write, "amq.topic"),
                Need::Key(Write, "amq.topic", publish_key.clone()),
            ],
            |out| publish("amq.topic", &publish_key, &Extra::None, out),
        ),
        operation(
            "basic.publish to a topic exchange with CC",
            vec![
                other(Write, "amq.topic"),
                Need::Key(Write, "amq.topic", "own-cc".to_owned()),
                Need::Key(Write, "amq.topic", publish_key.clone()),
            ],
            |out| {
                publish(
                    "amq.topic",
                    "own-cc",
                    &Extra::Copies("CC", &publish_key),
                    out,
                )
            },
        ),
        operation(
            "basic.publish to a topic exchange with BCC",
            vec![
                other(Write, "amq.topic"),
                Need::Key(Write, "amq.topic", "own-cc".to_owned()),
                Need::Key(Write, "amq.topic", publish_key.clone()),
            ],
            |out| {
                publish(
                    "amq.topic",
                    "own-cc",
                    &Extra::Copies("BCC", &publish_key),
                    out,
                )
            },
        ),
        operation(
            "basic.publish to a topic exchange with the user's name",
            topic(Write, &user_key),
            |out| publish("amq.topic", &user_key, &Extra::None, out),
        ),
        operation(
            "basic.publish to a topic exchange with a name like the user's",
            topic(Write, &near_key),
            |out| publish("amq.topic", &near_key, &Extra::None, out),
        ),
        operation("basic.publish as oneself", vec![exchange(Write)], |out| {
            publish(name, "k", &Extra::User(user.name), out);
        }),
        Operation {
            wrong: Some(format!(
                "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '{}'",
                user.name
            )),
            ..operation(
                "basic.publish as somebody else",
                vec![exchange(Write)],
                |out| {
                    publish(name, "k", &Extra::User("somebody"), out);
                },
            )
        },
        operation(
            "queue.bind to a topic exchange with the user's name",
            bound(queue(Write), &user_key),
            bind("amq.topic", &user_key),
        ),
        operation(
            "queue.unbind from a topic exchange",
            bound(queue(Write), &bind_key),
            |out| {
                queue::Unbind {
                    queue: name.as_bytes(),
                    exchange: b"amq.topic",
                    routing_key: bind_key.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "exchange.bind to a topic exchange",
            bound(exchange(Write), &bind_key),
            |out| {
                exchange::Bind {
                    destination: name.as_bytes(),
                    source: b"amq.topic",
                    routing_key: bind_key.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "exchange.unbind from a topic exchange",
            bound(exchange(Write), &bind_key),
            |out| {
                exchange::Unbind {
                    destination: name.as_bytes(),
                    source: b"amq.topic",
                    routing_key: bind_key.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "queue.declare exclusive",
            vec![Need::Queue(Configure, gone.clone())],
            |out| {
                queue::Declare {
                    queue: gone.as_bytes(),
                    exclusive: true,
                    ..Default::default()
                }
                .encode(1, out);
                queue::Delete {
                    queue: gone.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "queue.bind",
            vec![queue(Write), other(Read, "amq.direct")],
            bind("amq.direct", "k"),
        ),
        operation(
            "queue.bind to a topic exchange",
            vec![
                queue(Write),
                other(Read, "amq.topic"),
                Need::Key(Read, "amq.topic", bind_key.clone()),
            ],
            bind("amq.topic", &bind_key),
        ),
        operation(
            "queue.unbind",
            vec![queue(Write), other(Read, "amq.direct")],
            |out| {
                queue::Unbind {
                    queue: name.as_bytes(),
                    exchange: b"amq.direct",
                    routing_key: b"k",
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "exchange.declare passive",
            vec![Need::AnyOfExchange(owned.clone())],
            |out| {
                declare_exchange(name, true, &[], out);
            },
        ),
        operation("exchange.declare", vec![exchange(Configure)], |out| {
            declare_exchange(name, false, &[], out);
        }),
        operation(
            "exchange.declare with an alternate exchange",
            vec![
                Need::Exchange(Configure, gone.clone()),
                Need::Exchange(Read, gone.clone()),
                other(Write, THERE),
            ],
            |out| {
                declare_exchange(&gone, false, &alternate, out);
                exchange::Delete {
                    exchange: gone.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "exchange.delete",
            vec![Need::Exchange(Configure, gone.clone())],
            |out| {
                exchange::Delete {
                    exchange: gone.as_bytes(),
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "exchange.bind",
            vec![exchange(Write), other(Read, "amq.fanout")],
            |out| {
                exchange::Bind {
                    destination: name.as_bytes(),
                    source: b"amq.fanout",
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
        operation(
            "exchange.unbind",
            vec![exchange(Write), other(Read, "amq.fanout")],
            |out| {
                exchange::Unbind {
                    destination: name.as_bytes(),
                    source: b"amq.fanout",
                    ..Default::default()
                }
                .encode(1, out);
            },
        ),
    ]
}

fn declare_exchange(name: &str, passive: bool, arguments: &[u8], out: &mut Vec<u8>) {
    exchange::Declare {
        exchange: name.as_bytes(),
        exchange_type: b"direct",
        durable: true,
        passive,
        arguments: Table::new(arguments),
        ..Default::default()
    }
    .encode(1, out);
}

/// What a message says beside its key.
enum Extra<'a> {
    None,
    /// A header with another key.
    Copies(&'static str, &'a str),
    /// Who has sent it.
    User(&'a str),
}

fn publish(to: &str, key: &str, extra: &Extra<'_>, out: &mut Vec<u8>) {
    basic::Publish {
        exchange: to.as_bytes(),
        routing_key: key.as_bytes(),
        ..Default::default()
    }
    .encode(1, out);
    let mut headers = Vec::new();
    if let Extra::Copies(header, key) = extra {
        TableWriter::new(&mut headers).array(header.as_bytes(), |list| {
            list.value(&Value::LongStr(key.as_bytes()));
        });
    }
    let properties = BasicProperties {
        headers: (!headers.is_empty()).then(|| Table::new(&headers)),
        user_id: match extra {
            Extra::User(name) => Some(name.as_bytes()),
            Extra::None | Extra::Copies(..) => None,
        },
        ..BasicProperties::default()
    };
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    client_amqp091::codec::encode_header_frame(out, 1, 0, &encoded);
}

// ── the run ──

/// A broker with its entrances.
struct Doors {
    plain: SocketAddr,
    /// By the address from which a client seems to come.
    proxied: HashMap<&'static str, SocketAddr>,
    certified: Option<SocketAddr>,
    signer: Option<Signer>,
}

impl Doors {
    /// One that knows passwords only.
    fn of(broker: &Broker) -> Self {
        Self {
            plain: broker.address(),
            proxied: HashMap::new(),
            certified: None,
            signer: None,
        }
    }

    async fn connect(&self, user: &User, vhost: &str) -> Result<Connection, Error> {
        let address = match user.way {
            Way::From(from) => self.proxied[from],
            Way::Certificate => self.certified.expect("there is such an entrance"),
            Way::Password
            | Way::NoPassword
            | Way::Changed
            | Way::Token
            | Way::Renewed
            | Way::Expired => self.plain,
        };
        let password = match (user.way, &self.signer) {
            (Way::Token, Some(signer)) => token(signer, user, &user.scopes(), 3600),
            (Way::Expired, Some(signer)) => token(signer, user, &user.scopes(), -60),
            (Way::Renewed, Some(signer)) => {
                let all = ["configure", "write", "read"];
                let all = all.map(|right| format!("rabbitmq.{right}:*/*"));
                // Where the next one will not hold, this one does not either.
                let all: Vec<String> = match user.vhosts.contains(&vhost) {
                    true => all.into(),
                    false => Vec::new(),
                };
                token(signer, user, &all, 3600)
            }
            _ if user.name == "guest" => "guest".to_owned(),
            _ => "a-password".to_owned(),
        };
        let name = encoded(user.name);
        let uri: AmqpUri = format!("amqp://{name}:{password}@{address}/{vhost}")
            .parse()
            .expect("it is a URI");
        Connection::connect(&uri, &ConnectOptions::default()).await
    }

    /// What happens between opening the connection and the first operation.
    async fn open(
        &self,
        http: &Http,
        connection: &mut Connection,
        user: &User,
    ) -> anyhow::Result<()> {
        match (user.way, &self.signer) {
            (Way::Changed, _) => permit(http, user)?,
            (Way::Renewed, Some(signer)) => {
                let token = token(signer, user, &user.scopes(), 3600);
                amqp_connection::UpdateSecret {
                    new_secret: token.as_bytes(),
                    reason: b"test",
                }
                .encode(0, connection.outgoing().bytes());
                loop {
                    if let Event::Reply {
                        method: Method::ConnectionUpdateSecretOk(_),
                        ..
                    } = within(connection.next_event()).await?
                    {
                        break;
                    }
                }
            }
            _ => {}
        }
        connection.open_channel(1).await?;
        Ok(())
    }
}

/// A token with these scopes that ends after so many seconds.
fn token(signer: &Signer, user: &User, scopes: &[String], seconds: i64) -> String {
    let claims = json!({
        "sub": user.name,
        "aud": "rabbitmq",
        "exp": now_s().saturating_add_signed(seconds),
        "scope": scopes,
    });
    signer.sign(&claims).expect("the key is good")
}

/// A place where a plain client comes out at the broker with a PROXY header before what it says. With TLS around that it logs in by its certificate.
async fn relay(
    to: SocketAddr,
    from: &'static str,
    tls: Option<Arc<ClientConfig>>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let header = match from.contains(':') {
        true => format!("PROXY TCP6 {from} ::1 56612 5672\r\n"),
        false => format!("PROXY TCP4 {from} 127.0.0.1 56612 5672\r\n"),
    };
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (tls, header) = (tls.clone(), header.clone());
            tokio::spawn(async move {
                let mut broker = TcpStream::connect(to).await?;
                broker.set_nodelay(true)?;
                broker.write_all(header.as_bytes()).await?;
                match tls {
                    None => {
                        tokio::io::copy_bidirectional(&mut client, &mut broker).await?;
                    }
                    Some(tls) => {
                        let name = ServerName::try_from("localhost")?;
                        let connector = TlsConnector::from(tls);
                        let mut broker = connector.connect(name, broker).await?;
                        log_in_externally(&mut client, &mut broker).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut broker).await?;
                    }
                }
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}

/// Lets a client begin, and puts a login by certificate in the place of its own.
async fn log_in_externally(
    client: &mut TcpStream,
    broker: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> anyhow::Result<()> {
    let mut protocol = [0; 8];
    client.read_exact(&mut protocol).await?;
    broker.write_all(&protocol).await?;
    let start = frame(broker).await?;
    client.write_all(&start).await?;
    frame(client).await?;
    let mut login = Vec::new();
    amqp_connection::StartOk {
        client_properties: Table::default(),
        mechanism: b"EXTERNAL",
        response: b"",
        locale: b"en_US",
    }
    .encode(0, &mut login);
    Ok(broker.write_all(&login).await?)
}

async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Vec<u8>> {
    let mut frame = vec![0; 7];
    stream.read_exact(&mut frame).await?;
    let size = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]);
    frame.resize(7 + size as usize + 1, 0);
    stream.read_exact(&mut frame[7..]).await?;
    Ok(frame)
}

/// A name as URIs have it.
fn encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

/// Gives a user its rights.
fn permit(http: &Http, user: &User) -> anyhow::Result<()> {
    let name = encoded(user.name);
    for vhost in user.vhosts {
        http.put(
            &format!("/permissions/{vhost}/{name}"),
            json!({
                "configure": user.configure.pattern(),
                "write": user.write.pattern(),
                "read": user.read.pattern(),
            }),
        )?;
    }
    Ok(())
}

/// Sends frames on channel 1 and something that is always answered; why the channel was closed, if it was.
async fn closed_by(connection: &mut Connection, frames: &[u8]) -> anyhow::Result<Option<String>> {
    let out = connection.outgoing().bytes();
    out.extend_from_slice(frames);
    basic::Qos::default().encode(1, out);
    loop {
        match within(connection.next_event()).await? {
            Event::Reply {
                method: Method::BasicQosOk(_),
                ..
            } => return Ok(None),
            Event::ChannelClosed { reply_text, .. } => {
                return Ok(Some(String::from_utf8_lossy(reply_text).into_owned()));
            }
            Event::Delivery(_)
            | Event::Returned(_)
            | Event::Confirmed { .. }
            | Event::Refused { .. }
            | Event::ConsumerCancelled { .. }
            | Event::Blocked { .. }
            | Event::Unblocked
            | Event::Reply { .. } => {}
        }
    }
}

/// Runs every cell; gives how many there were, and what differed.
async fn run_matrix(
    doors: &Doors,
    http: &Http,
    users: impl Iterator<Item = &User>,
) -> anyhow::Result<(usize, Vec<String>)> {
    let (mut cells, mut differences) = (0, Vec::new());
    for user in users {
        for vhost in ["a", "b", "missing"] {
            cells += 1;
            let may_open = user.way.leads_in() && user.vhosts.contains(&vhost);
            let mut connection = match doors.connect(user, vhost).await {
                Ok(connection) if may_open => connection,
                Err(error) if !may_open => {
                    let text = error.to_string();
                    let expect = if !user.way.leads_in() {
                        "Login was refused using authentication mechanism PLAIN".to_owned()
                    } else if vhost == "missing" {
                        "vhost missing not found".to_owned()
                    } else {
                        format!("access to vhost '{vhost}' refused for user '{}'", user.name)
                    };
                    if !text.contains(&expect) {
                        differences.push(format!("{} opens {vhost}: {text}", user.name));
                    }
                    continue;
                }
                Ok(_) => {
                    differences.push(format!("{} opens {vhost}", user.name));
                    continue;
                }
                Err(error) => return Err(error).context(format!("{} in {vhost}", user.name)),
            };
            doors.open(http, &mut connection, user).await?;
            for name in NAMES {
                for operation in operations(user, name) {
                    cells += 1;
                    let expect = refusal(user, vhost, &operation.needs).or(operation.wrong);
                    let got = closed_by(&mut connection, &operation.frames).await?;
                    if got.is_some() {
                        connection.open_channel(1).await?;
                    }
                    if got != expect {
                        differences.push(format!(
                            "{} in {vhost}, {} {name}: {got:?} instead of {expect:?}",
                            user.name, operation.what
                        ));
                    }
                }
            }
        }
    }
    Ok((cells, differences))
}

/// Queues and exchanges of all names in both virtual hosts.
fn furnish(http: &Http) -> anyhow::Result<()> {
    for vhost in ["a", "b"] {
        http.put(&format!("/vhosts/{vhost}"), json!({}))?;
        http.put(
            &format!("/permissions/{vhost}/guest"),
            json!({"configure": ".*", "write": ".*", "read": ".*"}),
        )?;
        for name in NAMES {
            let name = name.replace('+', "%2B");
            http.put(&format!("/queues/{vhost}/{name}"), json!({"durable": true}))?;
            http.put(
                &format!("/exchanges/{vhost}/{name}"),
                json!({"type": "direct", "durable": true}),
            )?;
        }
    }
    Ok(())
}

/// Makes the users that the broker knows itself.
fn make_users(http: &Http) -> anyhow::Result<()> {
    for user in USERS
        .iter()
        .filter(|user| user.name != "guest" && !user.way.has_token())
    {
        let name = encoded(user.name);
        let body = if user.way == Way::NoPassword {
            json!({"password_hash": "", "tags": user.tags})
        } else {
            json!({"password": "a-password", "tags": user.tags})
        };
        http.put(&format!("/users/{name}"), body)?;
        let everything = User {
            name: user.name,
            vhosts: user.vhosts,
            ..USER
        };
        let is_changed = user.way == Way::Changed;
        permit(http, if is_changed { &everything } else { user })?;
        for vhost in user.vhosts {
            if let Some((write, read)) = user.topic {
                http.put(
                    &format!("/topic-permissions/{vhost}/{name}"),
                    json!({"exchange": "amq.topic", "write": write.pattern(), "read": read.pattern()}),
                )?;
            }
        }
    }
    Ok(())
}

/// The lines of rabbitmq.conf for all ways in.
fn all_ways(directory: &Path) -> String {
    let at = directory.display();
    format!(
        "proxy_protocol = true\nlisteners.ssl.1 = 127.0.0.1:0\nssl_options.cacertfile = {at}/ca_certificate.pem\n\
         ssl_options.certfile = {at}/server_certificate.pem\nssl_options.keyfile = {at}/server_key.pem\n\
         ssl_options.verify = verify_peer\nssl_cert_login_from = common_name\n\
         auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n\
         auth_backends.1 = internal\nauth_backends.2 = oauth2\nauth_oauth2.resource_server_id = rabbitmq\n\
         auth_oauth2.signing_keys.k1 = {at}/k1.pem\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_the_broker_may_do_what_the_table_says() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let at = directory.path();
    let status = std::process::Command::new(testkit::binary()?)
        .args(["tls", "generate"])
        .arg(at)
        .args(["--user", "certified"])
        .status()?;
    ensure!(status.success(), "certificates are not made");
    let signer = Signer::kept_in(at, "k1")?;
    let broker = Broker::start_with(&all_ways(at))?;
    let http = Http::new(&broker);
    furnish(&http)?;
    make_users(&http)?;

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(
        at.join("ca_certificate.pem"),
    )?)?;
    let chain = vec![CertificateDer::from_pem_file(
        at.join("client_certificate.pem"),
    )?];
    let key = PrivateKeyDer::from_pem_file(at.join("client_key.pem"))?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    let tls = broker.tls_address().context("no TLS listener")?;
    let mut proxied = HashMap::new();
    for user in USERS {
        if let Way::From(from) = user.way {
            proxied.insert(from, relay(broker.address(), from, None).await?);
        }
    }
    let doors = Doors {
        plain: relay(broker.address(), "127.0.0.1", None).await?,
        proxied,
        certified: Some(relay(tls, "192.0.2.7", Some(Arc::new(config))).await?),
        signer: Some(signer),
    };
    let (cells, differences) = run_matrix(&doors, &http, USERS.iter()).await?;
    println!("{cells} cells");
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(cells > 4_200, "{cells}");
    Ok(())
}

// ── the same by HTTP ──

/// An HTTP server that decides by the oracle.
struct Server {
    address: String,
    asked: Arc<AtomicUsize>,
    /// Nobody may do anything any more.
    is_closed: Arc<AtomicBool>,
    /// It answers nonsense.
    is_broken: Arc<AtomicBool>,
    /// Nobody may read any more.
    is_mute: Arc<AtomicBool>,
    /// All that it was asked.
    questions: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = Self {
            address: listener.local_addr()?.to_string(),
            asked: Arc::default(),
            is_closed: Arc::default(),
            is_broken: Arc::default(),
            is_mute: Arc::default(),
            questions: Arc::default(),
        };
        let (asked, is_closed) = (Arc::clone(&server.asked), Arc::clone(&server.is_closed));
        let (is_broken, is_mute) = (Arc::clone(&server.is_broken), Arc::clone(&server.is_mute));
        let questions = Arc::clone(&server.questions);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, is_closed) = (Arc::clone(&asked), Arc::clone(&is_closed));
                let (is_broken, is_mute) = (Arc::clone(&is_broken), Arc::clone(&is_mute));
                let questions = Arc::clone(&questions);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let target = head.split(' ').nth(1).unwrap_or_default();
                    let is_read = target.contains("permission=read");
                    let body = match answer(target) {
                        _ if is_broken.load(Ordering::Relaxed) => "what?".to_owned(),
                        _ if is_read && is_mute.load(Ordering::Relaxed) => "deny".to_owned(),
                        Some(tags) if !is_closed.load(Ordering::Relaxed) => tags,
                        _ => "deny".to_owned(),
                    };
                    if let Ok(mut questions) = questions.lock() {
                        questions.push(target.to_owned());
                    }
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                    // A client that has left needs no answer.
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Ok(server)
    }

    fn settings(&self) -> String {
        let address = &self.address;
        format!(
            "auth_backends.1 = http\nauth_backends.2 = internal\n\
             auth_http.user_path = http://{address}/user\nauth_http.vhost_path = http://{address}/vhost\n\
             auth_http.resource_path = http://{address}/resource\nauth_http.topic_path = http://{address}/topic\n"
        )
    }
}

/// `allow` and tags; `None` to deny.
fn answer(target: &str) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    let fields: HashMap<String, String> = query
        .split('&')
        .filter_map(|field| {
            let (key, value) = field.split_once('=')?;
            Some((key.to_owned(), decoded(value)))
        })
        .collect();
    let field = |name: &str| fields.get(name).map(String::as_str);
    let user = USERS
        .iter()
        .find(|user| Some(user.name) == field("username"))?;
    let right = match field("permission") {
        Some("configure") => Some(Configure),
        Some("write") => Some(Write),
        Some("read") => Some(Read),
        _ => None,
    };
    let allowed = match path {
        "/user" => {
            let is_right = field("password") == Some("a-password");
            return is_right.then(|| format!("allow {}", user.tags));
        }
        "/vhost" => user.vhosts.contains(&field("vhost")?),
        "/resource" => user.vhosts.contains(&field("vhost")?) && user.has(right?, field("name")?),
        "/topic" => user.has_key(right?, field("name")?, field("routing_key")?),
        _ => false,
    };
    allowed.then(|| "allow".to_owned())
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => b'?',
                }
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_an_http_server_may_do_what_the_table_says() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let broker = Broker::start_with(&server.settings())?;
    let http = Http::new(&broker);
    furnish(&http)?;
    let users = USERS.iter().filter(|user| user.way == Way::Password);
    let (cells, differences) = run_matrix(&Doors::of(&broker), &http, users).await?;
    println!(
        "{cells} cells, {} questions",
        server.asked.load(Ordering::Relaxed)
    );
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_http_server_takes_away_ends_on_open_connections() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let broker = Broker::start_with(&server.settings())?;
    furnish(&Http::new(&broker))?;
    let mut connection = connect(&broker, "full", "a").await?;
    connection.open_channel(1).await?;
    connection
        .consume(
            1,
            "other",
            "tag",
            ConsumeOptions::default(),
            Table::default(),
        )
        .await?;
    let mut frames = Vec::new();
    publish("other", "k", &Extra::None, &mut frames);
    ensure!(closed_by(&mut connection, &frames).await?.is_none());

    // Whoever cannot say takes nothing away.
    server.is_broken.store(true, Ordering::Relaxed);
    let before = server.asked.load(Ordering::Relaxed);
    until("the server to be asked again", || {
        server.asked.load(Ordering::Relaxed) >= before + 6
    })
    .await?;
    ensure!(closed_by(&mut connection, &frames).await?.is_none());
    server.is_broken.store(false, Ordering::Relaxed);

    let since = Instant::now();
    server.is_mute.store(true, Ordering::Relaxed);
    loop {
        if let Event::ConsumerCancelled { .. } = within(connection.next_event()).await? {
            break;
        }
    }
    println!("the consumer is gone after {:?}", since.elapsed());
    ensure!(since.elapsed() < TAKEN_AWAY_WITHIN);
    ensure!(closed_by(&mut connection, &frames).await?.is_none());

    let since = Instant::now();
    server.is_closed.store(true, Ordering::Relaxed);
    let error = loop {
        match within(connection.next_event()).await {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    println!("the connection is gone after {:?}", since.elapsed());
    ensure!(error.contains("access to vhost 'a' refused"), "{error}");
    ensure!(since.elapsed() < TAKEN_AWAY_WITHIN);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_an_http_server_use_the_http_api() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let broker = Broker::start_with(&server.settings())?;
    let http = Http::new(&broker);
    furnish(&http)?;
    let whoami = http.login("admin", "a-password").get("/whoami")?;
    ensure!(whoami["tags"] == json!(["administrator"]), "{whoami}");
    ensure!(whoami["is_internal_user"] == json!(false), "{whoami}");
    let whoami = http.get("/whoami")?;
    ensure!(whoami["is_internal_user"] == json!(true), "{whoami}");
    let wrong = http
        .login("admin", "wrong")
        .request("GET", "/whoami", None)?;
    ensure!(wrong.status == 401, "{}", wrong.status);
    // Without a tag of the API there is no API.
    let untagged = http
        .login("full", "a-password")
        .request("GET", "/whoami", None)?;
    ensure!(untagged.status == 401, "{}", untagged.status);
    let nobodys = http.login("manager", "a-password").get("/vhosts")?;
    ensure!(nobodys == json!([]), "{nobodys}");
    let published = http.login("admin", "a-password").post(
        "/exchanges/a/amq.default/publish",
        json!({"properties": {}, "routing_key": "other", "payload": "x", "payload_encoding": "string"}),
    )?;
    ensure!(published["routed"] == json!(true), "{published}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_metadata_no_longer_allows_ends_at_once() -> anyhow::Result<()> {
    let broker = Broker::start_with(
        "auth_backends.1.authn = internal\nauth_backends.1.authz = internal\nauth_backends.2 = cache\n",
    )?;
    let http = Http::new(&broker);
    furnish(&http)?;
    let rights = |write: &str| json!({"configure": ".*", "write": write, "read": ".*"});
    http.put("/users/full", json!({"password": "a-password", "tags": ""}))?;
    http.put("/permissions/a/full", rights(".*"))?;
    let mut connection = connect(&broker, "full", "a").await?;
    connection.open_channel(1).await?;
    let mut frames = Vec::new();
    publish("other", "k", &Extra::None, &mut frames);
    ensure!(closed_by(&mut connection, &frames).await?.is_none());
    http.put("/permissions/a/full", rights("^$"))?;
    let refused = closed_by(&mut connection, &frames).await?;
    ensure!(refused.is_some_and(|text| text.contains("ACCESS_REFUSED")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_gone_refuses() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let broker = Broker::start_with(&server.settings())?;
    furnish(&Http::new(&broker))?;
    let mut connection = connect(&broker, "full", "a").await?;
    connection.open_channel(1).await?;
    // Only what has not been asked for yet: the connection would end for the rest.
    server.is_mute.store(true, Ordering::Relaxed);
    let mut frames = Vec::new();
    basic::Get {
        queue: b"other",
        no_ack: true,
        ..Default::default()
    }
    .encode(1, &mut frames);
    let refused = closed_by(&mut connection, &frames).await?;
    ensure!(
        refused.as_deref()
            == Some(
                "ACCESS_REFUSED - read access to queue 'other' in vhost 'a' refused for user 'full'"
            ),
        "{refused:?}"
    );
    server.is_closed.store(true, Ordering::Relaxed);
    let Err(error) = connect(&broker, "full", "a").await else {
        bail!("nobody may log in any more");
    };
    ensure!(error.to_string().contains("ACCESS_REFUSED"), "{error}");
    // The next in the chain knows its own users.
    connect_as_guest(&broker).await?;
    // Somebody else may be asked about at the same time.
    let questions = server.questions.lock().map(|all| all.clone());
    let questions = questions.unwrap_or_default();
    let of_guest = |target: &String| target.starts_with("/user?username=guest&password=");
    ensure!(questions.iter().any(of_guest), "{questions:?}");
    Ok(())
}

async fn connect(broker: &Broker, user: &'static str, vhost: &str) -> Result<Connection, Error> {
    let user = User { name: user, ..USER };
    Doors::of(broker).connect(&user, vhost).await
}

async fn connect_as_guest(broker: &Broker) -> anyhow::Result<()> {
    let uri: AmqpUri = broker.uri().parse()?;
    let connection = Connection::connect(&uri, &ConnectOptions::default()).await?;
    Ok(connection.close().await?)
}
