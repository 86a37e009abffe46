//! lapin, the Rust client: one connection a check, on a current-thread tokio runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, BasicRecoverOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind, Queue,
};

const CHECK_TIMEOUT: Duration = Duration::from_secs(120);
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

type Check = (
    &'static str,
    fn() -> Pin<Box<dyn Future<Output = Result<()>>>>,
);

macro_rules! checks {
    ($($name:ident),+ $(,)?) => { &[$((stringify!($name), || Box::pin($name()))),+] };
}

const CHECKS: &[Check] = checks![
    direct_fanout_and_topic_exchanges,
    headers_exchange,
    exchange_to_exchange,
    confirms_and_refusals,
    mandatory_message_comes_back,
    ack_nack_reject_redelivered,
    prefetch_and_multiple_ack,
    get_recover_and_requeue_by_close,
    exclusive_auto_delete_and_server_named_queues,
    server_cancel_ends_the_stream,
    properties_and_headers_round_trip,
    large_message,
    transactions,
    channel_exception_then_a_new_channel,
    refused_login_and_unknown_vhost,
    close_and_reconnect,
    heartbeat_keeps_an_idle_connection,
    direct_reply_to,
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        let started = Instant::now();
        let outcome = tokio::time::timeout(CHECK_TIMEOUT, check()).await;
        match outcome
            .unwrap_or_else(|_| Err(anyhow::anyhow!("did not end within {CHECK_TIMEOUT:?}")))
        {
            Ok(()) => println!("ok   {name} ({:.0?})", started.elapsed()),
            Err(error) => {
                println!("FAIL {name}: {error:#}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} failed: {}", failed.len(), failed.join(", "));
    ExitCode::FAILURE
}

fn broker_url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/".to_owned())
}

/// The URL with the default vhost spelled out, as lapin reads the path `/` as an empty vhost name.
fn url_of_vhost(vhost: &str) -> String {
    format!("{}/{vhost}", broker_url().trim_end_matches('/'))
}

async fn connect() -> Result<(Connection, Channel)> {
    connect_to(&url_of_vhost("%2f")).await
}

async fn connect_to(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Closes the connection. A channel dropped just before is still closing then, which lapin reports as an error,
/// so the checks keep every channel in a variable.
async fn close(connection: Connection) -> Result<()> {
    Ok(connection.close(200, "OK".into()).await?)
}

/// A queue or exchange name no other check or run uses.
fn unique(stem: &str) -> ShortString {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("interop.{stem}.{}.{number}", std::process::id()).into()
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    FieldTable::from(BTreeMap::from(
        entries.map(|(key, value)| (ShortString::from(key), value)),
    ))
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn temporary(channel: &Channel, arguments: FieldTable) -> Result<ShortString> {
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    Ok(channel
        .queue_declare("".into(), options, arguments)
        .await?
        .name()
        .clone())
}

async fn state(channel: &Channel, queue: &ShortString) -> lapin::Result<Queue> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.clone(), passive, FieldTable::default())
        .await
}

async fn await_ready(channel: &Channel, queue: &ShortString, count: u32) -> Result<()> {
    let deadline = Instant::now() + ARRIVAL_TIMEOUT;
    while state(channel, queue).await?.message_count() != count {
        ensure!(Instant::now() < deadline, "not {count} ready in time");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

async fn declare(channel: &Channel, name: &ShortString, kind: ExchangeKind) -> Result<()> {
    let options = ExchangeDeclareOptions {
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    Ok(channel
        .exchange_declare(name.clone(), kind, options, FieldTable::default())
        .await?)
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &str,
    arguments: FieldTable,
) -> Result<()> {
    Ok(channel
        .queue_bind(
            queue.clone(),
            exchange.clone(),
            key.into(),
            QueueBindOptions::default(),
            arguments,
        )
        .await?)
}

async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<Confirmation> {
    let options = BasicPublishOptions::default();
    Ok(channel
        .basic_publish(exchange.into(), key.into(), options, body, properties)
        .await?
        .await?)
}

async fn send(channel: &Channel, queue: &ShortString, body: &str) -> Result<()> {
    publish(
        channel,
        "",
        queue.as_str(),
        body.as_bytes(),
        BasicProperties::default(),
    )
    .await
    .map(drop)
}

async fn consume(channel: &Channel, queue: &str, no_ack: bool) -> Result<Consumer> {
    let options = BasicConsumeOptions {
        no_ack,
        ..BasicConsumeOptions::default()
    };
    Ok(channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?)
}

async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    let delivery = tokio::time::timeout(ARRIVAL_TIMEOUT, consumer.next())
        .await
        .context("no delivery in time")?;
    Ok(delivery.context("the consumer ended")??)
}

async fn get(channel: &Channel, queue: &ShortString, no_ack: bool) -> Result<BasicGetMessage> {
    let deadline = Instant::now() + ARRIVAL_TIMEOUT;
    loop {
        if let Some(message) = channel
            .basic_get(queue.clone(), BasicGetOptions { no_ack })
            .await?
        {
            return Ok(message);
        }
        ensure!(Instant::now() < deadline, "no message in {queue} in time");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Takes exactly these bodies out of the queue, in this order, and finds it empty then.
async fn expect_bodies(channel: &Channel, queue: &ShortString, bodies: &[&str]) -> Result<()> {
    for body in bodies {
        let message = get(channel, queue, true).await?;
        ensure!(
            message.data == body.as_bytes(),
            "expected {body}, got {:?}",
            String::from_utf8_lossy(&message.data)
        );
    }
    ensure!(
        channel
            .basic_get(queue.clone(), BasicGetOptions { no_ack: true })
            .await?
            .is_none(),
        "more than {bodies:?}"
    );
    Ok(())
}

fn expect_code<T>(outcome: lapin::Result<T>, code: u16) -> Result<()> {
    let Err(error) = outcome else {
        bail!("expected {code}, got success")
    };
    match error.kind() {
        ErrorKind::ProtocolError(closed) if closed.get_id() == code => Ok(()),
        _ => bail!("expected {code}, got {error}"),
    }
}

async fn direct_fanout_and_topic_exchanges() -> Result<()> {
    let (connection, channel) = connect().await?;
    let cases: [(ExchangeKind, &str, &[&str], &[&str]); 3] = [
        (ExchangeKind::Direct, "k", &["k"], &["other"]),
        (ExchangeKind::Fanout, "", &["k", "other"], &[]),
        (
            ExchangeKind::Topic,
            "*.log.#",
            &["a.log", "a.log.b.c"],
            &["log", "a.b.log"],
        ),
    ];
    for (kind, binding_key, hits, misses) in cases {
        let exchange = unique("exchange");
        declare(&channel, &exchange, kind).await?;
        let queue = temporary(&channel, FieldTable::default()).await?;
        bind(
            &channel,
            &queue,
            &exchange,
            binding_key,
            FieldTable::default(),
        )
        .await?;
        for key in misses.iter().chain(hits) {
            publish(
                &channel,
                exchange.as_str(),
                key,
                key.as_bytes(),
                BasicProperties::default(),
            )
            .await?;
        }
        expect_bodies(&channel, &queue, hits).await?;
        channel
            .queue_unbind(queue, exchange, binding_key.into(), FieldTable::default())
            .await?;
    }
    close(connection).await
}

async fn headers_exchange() -> Result<()> {
    let (connection, channel) = connect().await?;
    let exchange = unique("headers");
    declare(&channel, &exchange, ExchangeKind::Headers).await?;
    let (all, any) = (
        temporary(&channel, FieldTable::default()).await?,
        temporary(&channel, FieldTable::default()).await?,
    );
    for (queue, x_match) in [(&all, "all"), (&any, "any")] {
        let arguments = table([
            ("x-match", long(x_match)),
            ("a", AMQPValue::LongInt(1)),
            ("b", long("two")),
        ]);
        bind(&channel, queue, &exchange, "", arguments).await?;
    }
    for (body, headers) in [
        (
            "both",
            table([("a", AMQPValue::LongLongInt(1)), ("b", long("two"))]),
        ),
        ("one", table([("b", long("two"))])),
        ("none", table([("a", AMQPValue::LongInt(2))])),
    ] {
        let properties = BasicProperties::default().with_headers(headers);
        publish(&channel, exchange.as_str(), "", body.as_bytes(), properties).await?;
    }
    expect_bodies(&channel, &all, &["both"]).await?;
    expect_bodies(&channel, &any, &["both", "one"]).await?;
    close(connection).await
}

async fn exchange_to_exchange() -> Result<()> {
    let (connection, channel) = connect().await?;
    let (source, destination) = (unique("source"), unique("destination"));
    declare(&channel, &source, ExchangeKind::Direct).await?;
    declare(&channel, &destination, ExchangeKind::Fanout).await?;
    let none = FieldTable::default;
    channel
        .exchange_bind(
            destination.clone(),
            source.clone(),
            "k".into(),
            ExchangeBindOptions::default(),
            none(),
        )
        .await?;
    let queue = temporary(&channel, none()).await?;
    bind(&channel, &queue, &destination, "", none()).await?;
    publish(
        &channel,
        source.as_str(),
        "k",
        b"through two",
        BasicProperties::default(),
    )
    .await?;
    expect_bodies(&channel, &queue, &["through two"]).await?;
    channel
        .exchange_unbind(
            destination,
            source,
            "k".into(),
            ExchangeUnbindOptions::default(),
            none(),
        )
        .await?;
    close(connection).await
}

async fn confirms_and_refusals() -> Result<()> {
    let (connection, channel) = connect().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let limits = table([
        ("x-max-length", AMQPValue::LongInt(200)),
        ("x-overflow", long("reject-publish")),
    ]);
    let queue = temporary(&channel, limits).await?;
    let mut pending = Vec::new();
    for _ in 0..201 {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        pending.push(
            channel
                .basic_publish(
                    "".into(),
                    queue.clone(),
                    BasicPublishOptions::default(),
                    b"x",
                    persistent,
                )
                .await?,
        );
    }
    for (number, confirm) in pending.into_iter().enumerate() {
        let confirmation = confirm.await?;
        ensure!(
            confirmation.is_ack() == (number < 200),
            "publish {number}: {confirmation:?}"
        );
    }
    let purged = channel
        .queue_purge(queue, QueuePurgeOptions::default())
        .await?;
    ensure!(purged == 200, "purged {purged}");
    close(connection).await
}

async fn mandatory_message_comes_back() -> Result<()> {
    let (connection, channel) = connect().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default().with_message_id("m".into());
    let confirmation = channel
        .basic_publish(
            "".into(),
            unique("nowhere"),
            options,
            b"comes back",
            properties,
        )
        .await?
        .await?;
    let message = confirmation.take_message().context("nothing came back")?;
    ensure!(
        (message.reply_code, message.reply_text.as_str()) == (312, "NO_ROUTE"),
        "{message:?}"
    );
    ensure!(message.delivery.data == b"comes back", "{message:?}");
    close(connection).await
}

async fn ack_nack_reject_redelivered() -> Result<()> {
    let (connection, channel) = connect().await?;
    let queue = temporary(&channel, FieldTable::default()).await?;
    for body in ["acked", "nacked", "rejected", "dropped"] {
        send(&channel, &queue, body).await?;
    }
    let mut consumer = consume(&channel, queue.as_str(), false).await?;
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let delivery = next(&mut consumer).await?;
        let body = String::from_utf8_lossy(&delivery.data).into_owned();
        match body.as_str() {
            "nacked" if !delivery.redelivered => {
                delivery
                    .nack(BasicNackOptions {
                        requeue: true,
                        ..BasicNackOptions::default()
                    })
                    .await?;
            }
            "rejected" if !delivery.redelivered => {
                delivery
                    .reject(BasicRejectOptions { requeue: true })
                    .await?;
            }
            "dropped" => {
                delivery
                    .reject(BasicRejectOptions { requeue: false })
                    .await?;
            }
            _ => {
                delivery.ack(BasicAckOptions::default()).await?;
            }
        }
        seen.push((body, delivery.redelivered));
    }
    seen.sort();
    let expected = [
        ("acked", false),
        ("dropped", false),
        ("nacked", false),
        ("nacked", true),
        ("rejected", false),
        ("rejected", true),
    ];
    ensure!(
        seen.iter()
            .map(|(body, again)| (body.as_str(), *again))
            .eq(expected),
        "{seen:?}"
    );
    await_ready(&channel, &queue, 0).await?;
    close(connection).await
}

async fn prefetch_and_multiple_ack() -> Result<()> {
    let (connection, channel) = connect().await?;
    let queue = temporary(&channel, FieldTable::default()).await?;
    for number in 0..10 {
        send(&channel, &queue, &number.to_string()).await?;
    }
    channel.basic_qos(3, BasicQosOptions::default()).await?;
    let mut consumer = consume(&channel, queue.as_str(), false).await?;
    next(&mut consumer).await?;
    next(&mut consumer).await?;
    let third = next(&mut consumer).await?;
    await_ready(&channel, &queue, 7).await?;
    third.ack(BasicAckOptions { multiple: true }).await?;
    for number in 3..6 {
        let delivery = next(&mut consumer).await?;
        ensure!(
            delivery.data == number.to_string().as_bytes(),
            "out of order: {delivery:?}"
        );
    }
    channel
        .basic_cancel(consumer.tag(), BasicCancelOptions::default())
        .await?;
    close(connection).await
}

async fn get_recover_and_requeue_by_close() -> Result<()> {
    let (connection, channel) = connect().await?;
    let queue = temporary(&channel, FieldTable::default()).await?;
    send(&channel, &queue, "a").await?;
    send(&channel, &queue, "b").await?;
    let first = get(&channel, &queue, false).await?;
    ensure!(!first.redelivered && first.message_count == 1, "{first:?}");
    channel
        .basic_recover(BasicRecoverOptions { requeue: true })
        .await?;
    let again = get(&channel, &queue, false).await?;
    ensure!(again.redelivered && again.data == b"a", "{again:?}");
    channel.close(200, "OK".into()).await?;
    let other = connection.create_channel().await?;
    expect_bodies(&other, &queue, &["a", "b"]).await?;
    close(connection).await
}

async fn exclusive_auto_delete_and_server_named_queues() -> Result<()> {
    let (connection, channel) = connect().await?;
    let exclusive = temporary(&channel, FieldTable::default()).await?;
    ensure!(exclusive.as_str().starts_with("amq.gen-"), "{exclusive}");
    let (other, other_channel) = connect().await?;
    expect_code(state(&other_channel, &exclusive).await, 405)?;
    let options = QueueDeclareOptions {
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let shared = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await?
        .name()
        .clone();
    let consumer = consume(&channel, shared.as_str(), true).await?;
    channel
        .basic_cancel(consumer.tag(), BasicCancelOptions::default())
        .await?;
    let deadline = Instant::now() + ARRIVAL_TIMEOUT;
    loop {
        let outcome = state(&other.create_channel().await?, &shared).await;
        if outcome.is_err() {
            expect_code(outcome, 404)?;
            break;
        }
        ensure!(Instant::now() < deadline, "the auto-delete queue stays");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    close(other).await?;
    close(connection).await
}

async fn server_cancel_ends_the_stream() -> Result<()> {
    let (connection, channel) = connect().await?;
    let queue = temporary(&channel, FieldTable::default()).await?;
    let mut consumer = consume(&channel, queue.as_str(), true).await?;
    let other = connection.create_channel().await?;
    other
        .queue_delete(queue, QueueDeleteOptions::default())
        .await?;
    let end = tokio::time::timeout(ARRIVAL_TIMEOUT, consumer.next())
        .await
        .context("no cancel in time")?;
    ensure!(end.is_none(), "{end:?}");
    close(connection).await
}

async fn properties_and_headers_round_trip() -> Result<()> {
    let (connection, channel) = connect().await?;
    let headers = table([
        ("boolean", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-5)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-300)),
        ("u16", AMQPValue::ShortUInt(60_000)),
        ("i32", AMQPValue::LongInt(-70_000)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(1 << 40)),
        ("f32", AMQPValue::Float(0.5)),
        ("f64", AMQPValue::Double(2.5)),
        (
            "decimal",
            AMQPValue::DecimalValue(DecimalValue {
                scale: 2,
                value: 314,
            }),
        ),
        ("text", long("žluťoučký")),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("bytes", AMQPValue::ByteArray(ByteArray::from(vec![0, 255]))),
        ("void", AMQPValue::Void),
        (
            "table",
            AMQPValue::FieldTable(table([(
                "inner",
                AMQPValue::FieldTable(table([("deeper", long("x"))])),
            )])),
        ),
        (
            "array",
            AMQPValue::FieldArray(FieldArray::from(vec![
                AMQPValue::LongInt(1),
                long("a"),
                AMQPValue::Void,
            ])),
        ),
    ]);
    let sent = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(4)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("60000".into())
        .with_message_id("m".into())
        .with_timestamp(1_700_000_000)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into())
        .with_cluster_id("cl".into());
    let queue = temporary(&channel, FieldTable::default()).await?;
    publish(&channel, "", queue.as_str(), b"", sent.clone()).await?;
    let message = get(&channel, &queue, true).await?;
    ensure!(
        message.properties == sent,
        "expected {sent:?}, got {:?}",
        message.properties
    );
    ensure!(message.data.is_empty(), "the body is not empty");
    close(connection).await
}

async fn large_message() -> Result<()> {
    let (connection, channel) = connect().await?;
    let queue = temporary(&channel, FieldTable::default()).await?;
    let body: Vec<u8> = (0_u32..4 << 20)
        .map(|index| index.to_le_bytes()[0] ^ index.to_le_bytes()[1])
        .collect();
    publish(
        &channel,
        "",
        queue.as_str(),
        &body,
        BasicProperties::default(),
    )
    .await?;
    ensure!(
        get(&channel, &queue, true).await?.data == body,
        "4 MiB body differs"
    );
    close(connection).await
}

async fn transactions() -> Result<()> {
    let (connection, channel) = connect().await?;
    let queue = temporary(&channel, FieldTable::default()).await?;
    channel.tx_select().await?;
    send(&channel, &queue, "rolled back").await?;
    channel.tx_rollback().await?;
    send(&channel, &queue, "committed").await?;
    channel.tx_commit().await?;
    expect_bodies(&channel, &queue, &["committed"]).await?;
    close(connection).await
}

async fn channel_exception_then_a_new_channel() -> Result<()> {
    let (connection, channel) = connect().await?;
    expect_code(state(&channel, &unique("missing")).await, 404)?;
    ensure!(connection.status().connected(), "the connection went too");
    let channel = connection.create_channel().await?;
    let queue = unique("redeclared");
    let none = FieldTable::default;
    channel
        .queue_declare(queue.clone(), QueueDeclareOptions::default(), none())
        .await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    expect_code(
        channel.queue_declare(queue.clone(), durable, none()).await,
        406,
    )?;
    let other = connection.create_channel().await?;
    other
        .queue_delete(queue, QueueDeleteOptions::default())
        .await?;
    close(connection).await
}

async fn refused_login_and_unknown_vhost() -> Result<()> {
    let wrong_password = url_of_vhost("%2f").replacen("guest:guest", "guest:wrong", 1);
    expect_code(
        Connection::connect(&wrong_password, ConnectionProperties::default()).await,
        403,
    )?;
    expect_code(
        Connection::connect(
            &url_of_vhost("no-such-vhost"),
            ConnectionProperties::default(),
        )
        .await,
        530,
    )
}

async fn close_and_reconnect() -> Result<()> {
    let queue = unique("durable");
    let (connection, channel) = connect().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.clone(), durable, FieldTable::default())
        .await?;
    let persistent = BasicProperties::default().with_delivery_mode(2);
    ensure!(
        publish(&channel, "", queue.as_str(), b"waits", persistent)
            .await?
            .is_ack(),
        "refused"
    );
    close(connection).await?;
    let (connection, channel) = connect().await?;
    expect_bodies(&channel, &queue, &["waits"]).await?;
    channel
        .queue_delete(queue, QueueDeleteOptions::default())
        .await?;
    close(connection).await
}

async fn heartbeat_keeps_an_idle_connection() -> Result<()> {
    let (connection, channel) = connect_to(&format!("{}?heartbeat=2", url_of_vhost("%2f"))).await?;
    let target = temporary(&channel, FieldTable::default()).await?;
    let dead_letters = table([
        ("x-dead-letter-exchange", long("")),
        (
            "x-dead-letter-routing-key",
            AMQPValue::LongString(LongString::from(target.as_str())),
        ),
    ]);
    let delay = temporary(&channel, dead_letters).await?;
    let mut consumer = consume(&channel, target.as_str(), true).await?;
    let late = BasicProperties::default().with_expiration("7000".into());
    publish(&channel, "", delay.as_str(), b"after the silence", late).await?;
    ensure!(
        next(&mut consumer).await?.data == b"after the silence",
        "another body"
    );
    close(connection).await
}

async fn direct_reply_to() -> Result<()> {
    let (connection, client) = connect().await?;
    let server = connection.create_channel().await?;
    let queue = temporary(&server, FieldTable::default()).await?;
    let mut requests = consume(&server, queue.as_str(), true).await?;
    let mut replies = consume(&client, "amq.rabbitmq.reply-to", true).await?;
    let asking = BasicProperties::default()
        .with_reply_to("amq.rabbitmq.reply-to".into())
        .with_correlation_id("42".into());
    publish(&client, "", queue.as_str(), b"abc", asking).await?;
    let request = next(&mut requests).await?;
    let reply_to = request
        .properties
        .reply_to()
        .clone()
        .context("no reply-to")?;
    let correlation = request
        .properties
        .correlation_id()
        .clone()
        .context("no correlation id")?;
    let answering = BasicProperties::default().with_correlation_id(correlation);
    publish(&server, "", reply_to.as_str(), b"cba", answering).await?;
    let reply = next(&mut replies).await?;
    ensure!(reply.data == b"cba", "{reply:?}");
    ensure!(
        reply
            .properties
            .correlation_id()
            .as_ref()
            .map(ShortString::as_str)
            == Some("42"),
        "{reply:?}"
    );
    close(connection).await
}
