//! What tokens of OAuth 2 are good for, on the wire, compared with what RabbitMQ has answered.
//!
//! `tests/oauth2/answers.txt` is recorded from a RabbitMQ 4.3 that has the lines of `tests/oauth2/rabbitmq.conf`, and the public halves of the keys that the test
//! leaves in the directory `OAUTH2_KEYS`: `UPDATE_EXPECT=1 AMQP_ADDRESS=… HTTP_ADDRESS=… OAUTH2_KEYS=…`.
//! Lines that begin with `~` are what this broker answers instead of all that is said about the token before them.

use anyhow::{Context as _, ensure};
use client_amqp091::codec::{BasicProperties, basic};
use client_amqp091::{
    AmqpUri, ConnectOptions, Connection, ConsumeOptions, Error, QueueOptions, codec::Table,
};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use testkit::token::{Signer, now_s, unsigned};
use testkit::{Broker, Http};

/// The keys that the broker knows, and one that it does not.
struct Keys {
    first: Signer,
    second: Signer,
    strange: Signer,
}

struct Case {
    name: &'static str,
    token: String,
}

/// Claims of a token that is good for everything that begins with `own-`.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "sub": "anna",
        "aud": "rabbitmq",
        "exp": now_s() + 3600,
        "scope": ["rabbitmq.configure:t/own-*", "rabbitmq.write:t/own-*", "rabbitmq.read:t/own-*"],
    });
    if let (Some(claims), Value::Object(changes)) = (claims.as_object_mut(), changes) {
        claims.extend(changes);
        claims.retain(|_, value| !value.is_null());
    }
    claims
}

fn cases(keys: &Keys) -> anyhow::Result<Vec<Case>> {
    let now = now_s();
    let everything = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*";
    let changed = [
        ("plain", json!({})),
        (
            "scopes in a text",
            json!({"scope": "rabbitmq.configure:t/own-* rabbitmq.read:t/own-*"}),
        ),
        ("scopes for everything", json!({"scope": everything})),
        (
            "a wildcard in the middle",
            json!({"scope": ["rabbitmq.configure:t/o*1"]}),
        ),
        (
            "a wildcard that stands for nothing",
            json!({"scope": ["rabbitmq.configure:t/own-1*"]}),
        ),
        (
            "an escaped name",
            json!({"scope": ["rabbitmq.configure:t/own%2D1"]}),
        ),
        (
            "an escaped wildcard",
            json!({"scope": ["rabbitmq.configure:t/own-%2A"]}),
        ),
        (
            "a wildcard for virtual hosts",
            json!({"scope": ["rabbitmq.configure:*t/own-1"]}),
        ),
        (
            "a full stop is a full stop",
            json!({"scope": ["rabbitmq.configure:t/own.1"]}),
        ),
        (
            "another virtual host",
            json!({"scope": ["rabbitmq.configure:other/*"]}),
        ),
        (
            "a scope without a name",
            json!({"scope": ["rabbitmq.configure:t"]}),
        ),
        ("no scopes", json!({"scope": null})),
        ("an empty list of scopes", json!({"scope": []})),
        ("a number for scopes", json!({"scope": 7})),
        (
            "scopes without a prefix",
            json!({"scope": ["configure:t/own-*"]}),
        ),
        (
            "scopes with another prefix",
            json!({"scope": ["other.configure:t/own-*"]}),
        ),
        (
            "a prefix in capitals",
            json!({"scope": ["RABBITMQ.configure:t/own-*"]}),
        ),
        (
            "a tag alone",
            json!({"scope": ["rabbitmq.tag:administrator"]}),
        ),
        ("an alias", json!({"scope": ["role_of_own"]})),
        (
            "an alias with a prefix",
            json!({"scope": ["rabbitmq.role_of_own"]}),
        ),
        (
            "an alias in another claim",
            json!({"scope": null, "roles": "role_of_own"}),
        ),
        (
            "scopes in another claim",
            json!({"scope": null, "roles": "rabbitmq.configure:t/own-*"}),
        ),
        (
            "a list in another claim",
            json!({"scope": null, "roles": ["rabbitmq.configure:t/own-*"]}),
        ),
        (
            "scopes in a nested claim",
            json!({"scope": null, "realm": {"roles": ["rabbitmq.configure:t/own-*"]}}),
        ),
        (
            "scopes in two claims",
            json!({"scope": ["rabbitmq.configure:t/own-*"], "roles": "rabbitmq.read:t/*"}),
        ),
        (
            "scopes for routing keys",
            json!({"scope": ["rabbitmq.write:t/amq.topic/own.*"]}),
        ),
        (
            "scopes for any routing key",
            json!({"scope": ["rabbitmq.write:t/amq.topic"]}),
        ),
        ("time is over", json!({"exp": now - 10})),
        (
            "a fraction of a second",
            json!({"exp": (now + 3600) as f64 + 0.5}),
        ),
        (
            "a fraction of a second, and time is over",
            json!({"exp": (now - 10) as f64 + 0.5}),
        ),
        ("an end in a text", json!({"exp": (now + 3600).to_string()})),
        ("a negative end", json!({"exp": -1})),
        (
            "an end that is far",
            json!({"exp": 1_000_000_000_000_000_000_u64}),
        ),
        ("no end", json!({"exp": null})),
        ("not before tomorrow", json!({"nbf": now + 86_400})),
        ("issued tomorrow", json!({"iat": now + 86_400})),
        ("for somebody else", json!({"aud": "others"})),
        ("for two", json!({"aud": ["others", "rabbitmq"]})),
        ("for two in a text", json!({"aud": "others rabbitmq"})),
        ("for nobody", json!({"aud": null})),
        ("no subject", json!({"sub": null, "client_id": "berta"})),
        ("no name at all", json!({"sub": null})),
        ("a number for a name", json!({"sub": 7})),
    ];
    let mut cases = Vec::new();
    for (name, changes) in changed {
        let token = keys.first.sign(&claims(changes))?;
        cases.push(Case { name, token });
    }
    let good = claims(json!({}));
    let header = |changes: Value| {
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "k1"});
        if let (Some(header), Value::Object(changes)) = (header.as_object_mut(), changes) {
            header.extend(changes);
            header.retain(|_, value| !value.is_null());
        }
        header
    };
    let signed = |signer: &Signer, changes| signer.sign_with_header(&header(changes), &good);
    let plain = keys.first.sign(&good)?;
    let (message, signature) = plain.rsplit_once('.').context("three parts")?;
    for (name, token) in [
        ("another key", keys.second.sign(&good)?),
        ("no key named", signed(&keys.first, json!({"kid": null}))?),
        (
            "no key named, and it is not the usual one",
            signed(&keys.second, json!({"kid": null}))?,
        ),
        (
            "a key that nobody knows",
            signed(&keys.first, json!({"kid": "k9"}))?,
        ),
        ("somebody else's key", signed(&keys.strange, json!({}))?),
        (
            "the other's key",
            signed(&keys.second, json!({"kid": "k1"}))?,
        ),
        (
            "another algorithm",
            signed(&keys.first, json!({"alg": "RS256"}))?,
        ),
        ("no type", signed(&keys.first, json!({"typ": null}))?),
        (
            "no signature",
            format!("{}.", unsigned(&header(json!({"alg": "none"})), &good)),
        ),
        ("an empty signature", format!("{message}.")),
        (
            "half a signature",
            format!("{message}.{}", &signature[..signature.len() / 2]),
        ),
        ("two parts", message.to_owned()),
        ("no token", "nonsense".to_owned()),
    ] {
        cases.push(Case { name, token });
    }
    Ok(cases)
}

/// A broker and how it is reached.
struct Place {
    amqp: SocketAddr,
    http: Http,
}

impl Place {
    async fn connect(&self, token: &str) -> Result<Connection, Error> {
        let uri: AmqpUri = format!("amqp://who:{token}@{}/t", self.amqp)
            .parse()
            .expect("it is a URI");
        Connection::connect(&uri, &ConnectOptions::default()).await
    }

    fn furnish(&self) -> anyhow::Result<()> {
        // What is left of a run before.
        self.http.request("DELETE", "/vhosts/t", None)?;
        self.http.put("/vhosts/t", json!({}))?;
        self.http.put(
            "/permissions/t/guest",
            json!({"configure": ".*", "write": ".*", "read": ".*"}),
        )?;
        for name in ["own-x", "other-x"] {
            self.http
                .put(&format!("/exchanges/t/{name}"), json!({"type": "direct"}))?;
        }
        for name in ["own-c", "other-c"] {
            self.http
                .put(&format!("/queues/t/{name}"), json!({"durable": true}))?;
        }
        Ok(())
    }
}

/// What a broker says to one thing after the other, each on a channel of its own.
async fn answers(place: &Place, case: &Case) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut connection = match place.connect(&case.token).await {
        Ok(connection) => connection,
        Err(error) => {
            writeln!(text, "{}: {}", case.name, reason(&error))?;
            return Ok(text);
        }
    };
    writeln!(text, "{}: let in", case.name)?;
    for (channel, attempt) in (1..).zip(ATTEMPTS) {
        // A connection that is lost has nothing more to say.
        if connection.open_channel(channel).await.is_err() {
            writeln!(text, "  is gone")?;
            return Ok(text);
        }
        let (what, result) = attempt.make(&mut connection, channel).await;
        writeln!(text, "  {what}: {}", outcome(result))?;
    }
    connection.close().await?;
    Ok(text)
}

/// Something that needs a right.
#[derive(Clone, Copy)]
enum Attempt {
    Declare(&'static str),
    Publish(&'static str, &'static str),
    Consume(&'static str),
}

const ATTEMPTS: [Attempt; 8] = [
    Attempt::Declare("own-1"),
    Attempt::Declare("other-1"),
    Attempt::Publish("own-x", "k"),
    Attempt::Publish("other-x", "k"),
    Attempt::Publish("amq.topic", "own.1"),
    Attempt::Publish("amq.topic", "other.1"),
    Attempt::Consume("own-c"),
    Attempt::Consume("other-c"),
];

impl Attempt {
    async fn make(self, connection: &mut Connection, channel: u16) -> (String, Result<(), Error>) {
        match self {
            Self::Declare(name) => {
                let options = QueueOptions::default();
                let declared = connection.declare_queue(channel, name, options, Table::default());
                (format!("declares {name}"), declared.await.map(drop))
            }
            Self::Publish(exchange, key) => {
                let publish = basic::Publish {
                    exchange: exchange.as_bytes(),
                    routing_key: key.as_bytes(),
                    ..Default::default()
                };
                let properties = BasicProperties::default();
                let published = connection
                    .publish(channel, &publish, &properties, b"")
                    .await;
                let answered = match published {
                    Ok(()) => connection.qos(channel, 1).await,
                    Err(error) => Err(error),
                };
                (format!("publishes to {exchange} {key}"), answered)
            }
            Self::Consume(name) => {
                let options = ConsumeOptions::default();
                let consumed = connection.consume(channel, name, "", options, Table::default());
                (format!("consumes {name}"), consumed.await.map(drop))
            }
        }
    }
}

fn outcome(result: Result<(), Error>) -> String {
    match result {
        Ok(()) => "yes".to_owned(),
        Err(error) => reason(&error),
    }
}

/// The broker's words.
fn reason(error: &Error) -> String {
    if let Error::ConnectionClosed { reply_text, .. } | Error::ChannelClosed { reply_text, .. } =
        error
    {
        reply_text.clone()
    } else {
        error.to_string()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oauth2")
}

/// The lines that this broker has to give: those with `~` stand for all of the token before them.
fn expected(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut is_own = false;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let own = line.strip_prefix('~');
        if own.is_some() && !is_own {
            let starts = |line: &&str| !line.starts_with(' ');
            lines.truncate(lines.iter().rposition(starts).unwrap_or(0));
        }
        is_own = own.is_some();
        lines.push(own.unwrap_or(line));
    }
    lines.join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_good_for_what_they_are_in_rabbitmq() -> anyhow::Result<()> {
    let own_keys = tempfile::tempdir()?;
    let kept = std::env::var_os("OAUTH2_KEYS").map(PathBuf::from);
    let directory = kept.as_deref().unwrap_or_else(|| own_keys.path());
    let keys = Keys {
        first: Signer::kept_in(directory, "k1")?,
        second: Signer::kept_in(directory, "k2")?,
        strange: Signer::new("k1")?,
    };
    let (broker, place);
    match std::env::var("AMQP_ADDRESS") {
        Ok(amqp) => {
            let http = std::env::var("HTTP_ADDRESS").context("HTTP_ADDRESS")?;
            place = Place {
                amqp: amqp.parse()?,
                http: Http::at(http.parse()?).login("guest", "guest"),
            };
        }
        Err(_) => {
            let settings = std::fs::read_to_string(folder().join("rabbitmq.conf"))?;
            let at = directory.display().to_string();
            broker = Broker::start_with(&settings.replace("KEYS", &at))?;
            place = Place {
                amqp: broker.address(),
                http: Http::new(&broker),
            };
        }
    }
    place.furnish()?;
    let mut given = String::new();
    for case in cases(&keys)? {
        given.push_str(&answers(&place, &case).await?);
    }
    let file = folder().join("answers.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, given)?;
        return Ok(());
    }
    let expected = expected(&std::fs::read_to_string(&file)?);
    let differences: Vec<String> = expected
        .lines()
        .zip(given.lines())
        .filter(|(expected, given)| expected != given)
        .map(|(expected, given)| format!("- {expected}\n+ {given}"))
        .collect();
    ensure!(expected == given, "{}\n{given}", differences.join("\n"));
    Ok(())
}
