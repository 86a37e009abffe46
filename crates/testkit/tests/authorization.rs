//! The authorisation matrix for AMQP 0-9-1: every user, virtual host, operation and name, against an oracle that knows prefixes
//! instead of patterns and nothing of the broker.
//!
//! It runs with the users of the broker itself and with an HTTP server that decides by the same oracle.

use anyhow::{Context as _, bail, ensure};
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value, basic, exchange, queue};
use client_amqp091::{AmqpUri, ConnectOptions, Connection, Error, Event, codec::Method};
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::client::within;
use testkit::{Broker, Http};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// How long what was allowed may go on after it was taken away.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

// ── the oracle ──

/// Names that a user has a right to.
#[derive(Clone, Copy)]
enum Names {
    All,
    None,
    Prefix(&'static str),
    /// One name, with characters that mean something in patterns.
    Exactly(&'static str),
}

use Names::{All, Exactly, None as Nothing, Prefix};

impl Names {
    fn hold(self, name: &str) -> bool {
        match self {
            All => true,
            Nothing => false,
            Prefix(prefix) => name.starts_with(prefix),
            Exactly(one) => name == one,
        }
    }

    /// The same for the broker.
    fn pattern(self) -> String {
        match self {
            All => ".*".to_owned(),
            Nothing => "^$".to_owned(),
            Prefix(prefix) => format!("^{prefix}"),
            Exactly(one) => format!("^{}$", one.replace('.', r"\.").replace('+', r"\+")),
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

struct User {
    name: &'static str,
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
    tags: "",
    vhosts: &["a"],
    configure: All,
    write: All,
    read: All,
    topic: None,
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
            Configure => self.configure.hold(name),
            Write => self.write.hold(name),
            Read => self.read.hold(name),
        }
    }

    /// Whether a key is allowed on an exchange.
    fn has_key(&self, right: Right, exchange: &str, key: &str) -> bool {
        match self.topic {
            Some((write, _)) if exchange == "amq.topic" && right == Write => write.hold(key),
            Some((_, read)) if exchange == "amq.topic" && right == Read => read.hold(key),
            _ => true,
        }
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
const NAMES: [&str; 4] = ["own-1", "other", "a.b+c", "axbbc"];
/// Of one that is always there.
const THERE: &str = "other";

struct Operation {
    what: &'static str,
    needs: Vec<Need>,
    frames: Vec<u8>,
}

fn operation(what: &'static str, needs: Vec<Need>, encode: impl FnOnce(&mut Vec<u8>)) -> Operation {
    let mut frames = Vec::new();
    encode(&mut frames);
    Operation {
        what,
        needs,
        frames,
    }
}

/// Everything that can be done with one name, on channel 1.
fn operations(name: &str) -> Vec<Operation> {
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
            publish(name, "k", &[], out)
        }),
        operation(
            "basic.publish to the default exchange",
            vec![other(Write, "amq.default")],
            |out| {
                publish("", "nobody", &[], out);
            },
        ),
        operation(
            "basic.publish to a topic exchange",
            vec![
                other(Write, "amq.topic"),
                Need::Key(Write, "amq.topic", publish_key.clone()),
            ],
            |out| publish("amq.topic", &publish_key, &[], out),
        ),
        operation(
            "basic.publish to a topic exchange with CC",
            vec![
                other(Write, "amq.topic"),
                Need::Key(Write, "amq.topic", "own-cc".to_owned()),
                Need::Key(Write, "amq.topic", publish_key.clone()),
            ],
            |out| publish("amq.topic", "own-cc", &[&publish_key], out),
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

fn publish(to: &str, key: &str, cc: &[&str], out: &mut Vec<u8>) {
    basic::Publish {
        exchange: to.as_bytes(),
        routing_key: key.as_bytes(),
        ..Default::default()
    }
    .encode(1, out);
    let mut headers = Vec::new();
    if !cc.is_empty() {
        TableWriter::new(&mut headers).array(b"CC", |list| {
            cc.iter()
                .for_each(|key| list.value(&Value::LongStr(key.as_bytes())));
        });
    }
    let properties = BasicProperties {
        headers: (!cc.is_empty()).then(|| Table::new(&headers)),
        ..BasicProperties::default()
    };
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    client_amqp091::codec::encode_header_frame(out, 1, 0, &encoded);
}

// ── the run ──

async fn connect(broker: &Broker, user: &str, vhost: &str) -> Result<Connection, Error> {
    let address = broker.address();
    let uri: AmqpUri = format!("amqp://{user}:a-password@{address}/{vhost}")
        .parse()
        .expect("it is a URI");
    Connection::connect(&uri, &ConnectOptions::default()).await
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
async fn run_matrix(broker: &Broker) -> anyhow::Result<(usize, Vec<String>)> {
    let (mut cells, mut differences) = (0, Vec::new());
    for user in USERS {
        for vhost in ["a", "b"] {
            cells += 1;
            let may_open = user.vhosts.contains(&vhost);
            let mut connection = match connect(broker, user.name, vhost).await {
                Ok(connection) if may_open => connection,
                Err(error) if !may_open => {
                    let text = error.to_string();
                    let expect =
                        format!("access to vhost '{vhost}' refused for user '{}'", user.name);
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
            connection.open_channel(1).await?;
            for name in NAMES {
                for operation in operations(name) {
                    cells += 1;
                    let expect = refusal(user, vhost, &operation.needs);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_the_broker_may_do_what_the_table_says() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    furnish(&http)?;
    for user in USERS {
        let name = user.name;
        http.put(
            &format!("/users/{name}"),
            json!({"password": "a-password", "tags": user.tags}),
        )?;
        for vhost in user.vhosts {
            http.put(
                &format!("/permissions/{vhost}/{name}"),
                json!({
                    "configure": user.configure.pattern(),
                    "write": user.write.pattern(),
                    "read": user.read.pattern(),
                }),
            )?;
            if let Some((write, read)) = user.topic {
                http.put(
                    &format!("/topic-permissions/{vhost}/{name}"),
                    json!({"exchange": "amq.topic", "write": write.pattern(), "read": read.pattern()}),
                )?;
            }
        }
    }
    let (cells, differences) = run_matrix(&broker).await?;
    println!("{cells} cells");
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(cells > 1000, "{cells}");
    Ok(())
}

// ── the same by HTTP ──

/// An HTTP server that decides by the oracle.
struct Server {
    address: String,
    asked: Arc<AtomicUsize>,
    /// Nobody may do anything any more.
    is_closed: Arc<AtomicBool>,
    /// What it was asked last.
    last: Arc<Mutex<String>>,
}

impl Server {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = Self {
            address: listener.local_addr()?.to_string(),
            asked: Arc::default(),
            is_closed: Arc::default(),
            last: Arc::default(),
        };
        let (asked, is_closed) = (Arc::clone(&server.asked), Arc::clone(&server.is_closed));
        let last = Arc::clone(&server.last);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (asked, is_closed) = (Arc::clone(&asked), Arc::clone(&is_closed));
                let last = Arc::clone(&last);
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
                    let body = match answer(target) {
                        Some(tags) if !is_closed.load(Ordering::Relaxed) => tags,
                        _ => "deny".to_owned(),
                    };
                    if let Ok(mut last) = last.lock() {
                        *last = target.to_owned();
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
    furnish(&Http::new(&broker))?;
    let (cells, differences) = run_matrix(&broker).await?;
    println!(
        "{cells} cells, {} questions",
        server.asked.load(Ordering::Relaxed)
    );
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
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
    publish("other", "k", &[], &mut frames);
    ensure!(closed_by(&mut connection, &frames).await?.is_none());
    http.put("/permissions/a/full", rights("^$"))?;
    let since = Instant::now();
    let refused = closed_by(&mut connection, &frames).await?;
    ensure!(refused.is_some_and(|text| text.contains("ACCESS_REFUSED")));
    ensure!(since.elapsed() < REVOKED_WITHIN);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_gone_refuses() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let broker = Broker::start_with(&server.settings())?;
    furnish(&Http::new(&broker))?;
    let mut connection = connect(&broker, "full", "a").await?;
    connection.open_channel(1).await?;
    server.is_closed.store(true, Ordering::Relaxed);
    let mut frames = Vec::new();
    publish("other", "k", &[], &mut frames);
    let refused = closed_by(&mut connection, &frames).await?;
    ensure!(
        refused.as_deref()
            == Some(
                "ACCESS_REFUSED - write access to exchange 'other' in vhost 'a' refused for user 'full'"
            ),
        "{refused:?}"
    );
    let Err(error) = connect(&broker, "full", "a").await else {
        bail!("nobody may log in any more");
    };
    ensure!(error.to_string().contains("ACCESS_REFUSED"), "{error}");
    // The next in the chain knows its own users.
    connect_as_guest(&broker).await?;
    let last = server
        .last
        .lock()
        .map(|last| last.clone())
        .unwrap_or_default();
    ensure!(last.starts_with("/user?username=guest&password="), "{last}");
    Ok(())
}

async fn connect_as_guest(broker: &Broker) -> anyhow::Result<()> {
    let uri: AmqpUri = broker.uri().parse()?;
    let connection = Connection::connect(&uri, &ConnectOptions::default()).await?;
    Ok(connection.close().await?)
}
