//! What a broker says of itself: events, log lines, and what it adds to messages.

use anyhow::{Context, ensure};
use client_amqp091::codec::{BasicProperties, Table, Value};
use client_amqp091::{ConnectOptions, QueueOptions};
use std::collections::BTreeSet;
use std::time::Instant;
use testkit::client::{DURABLE, PATIENCE, PERSISTENT, Received};
use testkit::{Broker, Client};

const EVENTS: &str = "amq.rabbitmq.event";

/// The next message of a queue, as soon as there is one.
async fn get(client: &mut Client, queue: &str) -> anyhow::Result<Received> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(message) = client.get(queue, true).await? {
            return Ok(message);
        }
        ensure!(Instant::now() < deadline, "nothing came to {queue}");
    }
}

/// A header as text.
fn header(message: &Received, key: &str) -> anyhow::Result<String> {
    let properties = BasicProperties::decode(&message.raw_properties)?;
    let headers = properties.headers.context("there are headers")?;
    Ok(match headers.get(key.as_bytes())? {
        Some(Value::LongStr(text)) => String::from_utf8_lossy(text).into_owned(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    })
}

fn names(message: &Received) -> anyhow::Result<BTreeSet<String>> {
    let properties = BasicProperties::decode(&message.raw_properties)?;
    let headers = properties.headers.context("there are headers")?;
    let names = headers.iter().map(|field| {
        let (key, _) = field?;
        Ok(String::from_utf8_lossy(key).into_owned())
    });
    names.collect()
}

async fn listen(client: &mut Client, options: QueueOptions, key: &str) -> anyhow::Result<()> {
    client.declare("events", options).await?;
    client.bind("events", EVENTS, key).await
}

#[tokio::test]
async fn connections_and_channels_are_told_of() -> anyhow::Result<()> {
    let broker = Broker::start_with("warren.shards = 2\n")?;
    let mut watcher = Client::connect(&broker).await?;
    listen(&mut watcher, QueueOptions::default(), "user.#").await?;
    for key in ["connection.*", "channel.*"] {
        watcher.bind("events", EVENTS, key).await?;
    }
    let client = Client::connect(&broker).await?;
    let login = get(&mut watcher, "events").await?;
    ensure!(header(&login, "name")? == "guest");
    ensure!(header(&login, "auth_mechanism")? == "PLAIN");
    let created = get(&mut watcher, "events").await?;
    ensure!(header(&created, "vhost")? == "/");
    ensure!(header(&created, "peer_host")? == "{127,0,0,1}");
    let process = header(&created, "pid")?;
    // What RabbitMQ tells of a connection that gave itself no name.
    let expected = "auth_mechanism channel_max client_properties connected_at frame_max host name node \
                    peer_cert_issuer peer_cert_serial_number peer_cert_subject peer_cert_validity peer_host peer_port \
                    pid port protocol ssl ssl_cipher ssl_hash ssl_key_exchange ssl_protocol timeout timestamp_in_ms \
                    type user user_who_performed_action vhost";
    let mut told = names(&created)?;
    told.remove("user_provided_name");
    ensure!(
        told == expected.split_whitespace().map(str::to_owned).collect(),
        "{told:?}"
    );
    let channel = get(&mut watcher, "events").await?;
    ensure!(header(&channel, "connection")? == process);
    ensure!(header(&channel, "number")? == "I64(1)");
    client.close().await?;
    let closed = get(&mut watcher, "events").await?;
    ensure!(header(&closed, "consumer_count")? == "I64(0)");
    let closed = get(&mut watcher, "events").await?;
    ensure!(header(&closed, "pid")? == process);
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_told_of() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut watcher = Client::connect(&broker).await?;
    listen(
        &mut watcher,
        QueueOptions::default(),
        "user.authentication.failure",
    )
    .await?;
    let uri = format!("amqp://guest:wrong@{}/", broker.address()).parse()?;
    let refused = client_amqp091::Connection::connect(&uri, &ConnectOptions::default()).await;
    ensure!(refused.is_err());
    let event = get(&mut watcher, "events").await?;
    ensure!(header(&event, "error")? == "user 'guest' - invalid credentials");
    Ok(())
}

#[tokio::test]
async fn bindings_to_the_event_exchange_survive_a_crash() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    listen(&mut client, DURABLE, "queue.created").await?;
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    client.declare("new", QueueOptions::default()).await?;
    ensure!(header(&get(&mut client, "events").await?, "name")? == "new");
    Ok(())
}

#[tokio::test]
async fn log_lines_go_to_their_exchange_by_level() -> anyhow::Result<()> {
    let broker = Broker::start_with("log.exchange = true\nlog.exchange.level = warning\n")?;
    let mut watcher = Client::connect(&broker).await?;
    watcher.declare("log", QueueOptions::default()).await?;
    watcher.bind("log", "amq.rabbitmq.log", "error").await?;
    let uri = format!("amqp://guest:wrong@{}/", broker.address()).parse()?;
    let refused = client_amqp091::Connection::connect(&uri, &ConnectOptions::default()).await;
    ensure!(refused.is_err());
    let line = get(&mut watcher, "log").await?;
    let text = String::from_utf8_lossy(&line.body).into_owned();
    ensure!(
        text.contains("PLAIN login refused: user 'guest' - invalid credentials"),
        "{text}"
    );
    ensure!(header(&line, "node")? == "rabbit@localhost");
    Ok(())
}

#[tokio::test]
async fn without_being_asked_for_there_is_no_log_exchange() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.declare("log", QueueOptions::default()).await?;
    ensure!(client.bind("log", "amq.rabbitmq.log", "#").await.is_err());
    Ok(())
}

#[tokio::test]
async fn interceptors_stamp_messages() -> anyhow::Result<()> {
    let broker = Broker::start_with(
        "message_interceptors.incoming.set_header_timestamp.overwrite = false\n\
         message_interceptors.incoming.set_header_routing_node.overwrite = true\n",
    )?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    client.confirm_select().await?;
    let body = |_| b"body".to_vec();
    client.publish_all("q", &PERSISTENT, 1, body).await?;
    let message = get(&mut client, "q").await?;
    ensure!(header(&message, "x-routed-by")? == "rabbit@localhost");
    let properties = BasicProperties::decode(&message.raw_properties)?;
    let seconds = properties.timestamp.context("there is a timestamp")?;
    let headers: Table<'_> = properties.headers.context("there are headers")?;
    let Some(Value::I64(milliseconds)) = headers.get(b"timestamp_in_ms")? else {
        anyhow::bail!("no time in {headers:?}");
    };
    ensure!(milliseconds / 1000 == i64::try_from(seconds)?);
    ensure!(properties.delivery_mode == Some(2) && message.body == b"body");
    Ok(())
}
