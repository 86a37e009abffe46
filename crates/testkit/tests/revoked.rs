//! What becomes of open connections when rights are taken away, and what new passwords have to be like.

use anyhow::{Context, bail, ensure};
use client_amqp091::codec::{BasicProperties, basic};
use client_amqp091::{AmqpUri, ConnectOptions, Connection, Error, Event};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::client::within;
use testkit::{Broker, Http};

/// To an exchange to which nothing is bound.
const PUBLISH: basic::Publish<'_> = basic::Publish {
    reserved_1: 0,
    exchange: b"amq.direct",
    routing_key: b"k",
    mandatory: false,
    immediate: false,
};

/// How long a connection may outlive its rights, on a busy machine; a heartbeat would take longer to notice.
const REVOKED_WITHIN: Duration = Duration::from_secs(15);

fn make_user(http: &Http, name: &str) -> anyhow::Result<()> {
    http.put(
        &format!("/users/{name}"),
        json!({"password": "a-password", "tags": ""}),
    )?;
    http.put(
        &format!("/permissions/%2F/{name}"),
        json!({"configure": ".*", "write": ".*", "read": ".*"}),
    )?;
    Ok(())
}

async fn connect(broker: &Broker, user: &str, vhost: &str) -> anyhow::Result<Connection> {
    let address = broker.address();
    let uri: AmqpUri = format!("amqp://{user}:a-password@{address}/{vhost}").parse()?;
    Ok(Connection::connect(&uri, &ConnectOptions::default()).await?)
}

/// Waits until the broker closes the connection; returns why and how long it took.
async fn closed(connection: &mut Connection) -> anyhow::Result<(String, Duration)> {
    let since = Instant::now();
    loop {
        match within(connection.next_event()).await {
            Ok(Event::ChannelClosed { reply_text, .. }) => {
                let reason = String::from_utf8_lossy(reply_text).into_owned();
                return Ok((reason, since.elapsed()));
            }
            Ok(_) => {}
            Err(error) => match error.downcast::<Error>() {
                Ok(error) => return Ok((error.to_string(), since.elapsed())),
                Err(error) => bail!(error),
            },
        }
    }
}

#[tokio::test]
async fn the_connections_of_a_deleted_user_end() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    make_user(&http, "alice")?;
    make_user(&http, "bob")?;
    let mut alice = connect(&broker, "alice", "%2F").await?;
    let mut bob = connect(&broker, "bob", "%2F").await?;
    http.delete("/users/alice")?;
    let (reason, took) = closed(&mut alice).await?;
    ensure!(
        reason.contains("CONNECTION_FORCED - user 'alice' is deleted"),
        "{reason}"
    );
    ensure!(took < REVOKED_WITHIN, "{took:?}");
    bob.open_channel(1).await?;
    Ok(())
}

#[tokio::test]
async fn the_connections_of_a_deleted_vhost_end() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    http.put("/vhosts/v", json!({}))?;
    make_user(&http, "alice")?;
    http.put(
        "/permissions/v/alice",
        json!({"configure": ".*", "write": ".*", "read": ".*"}),
    )?;
    let mut inside = connect(&broker, "alice", "v").await?;
    let mut outside = connect(&broker, "alice", "%2F").await?;
    http.delete("/vhosts/v")?;
    let (reason, took) = closed(&mut inside).await?;
    ensure!(
        reason.contains("CONNECTION_FORCED - vhost 'v' is down"),
        "{reason}"
    );
    ensure!(took < REVOKED_WITHIN, "{took:?}");
    outside.open_channel(1).await?;
    Ok(())
}

#[tokio::test]
async fn a_permission_that_is_taken_away_is_gone_for_open_channels() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    make_user(&http, "alice")?;
    let mut alice = connect(&broker, "alice", "%2F").await?;
    alice.open_channel(1).await?;
    alice.confirm_select(1).await?;
    let properties = BasicProperties::default();
    alice.publish(1, &PUBLISH, &properties, b"1").await?;
    http.put(
        "/permissions/%2F/alice",
        json!({"configure": ".*", "write": "^$", "read": ".*"}),
    )?;
    alice.publish(1, &PUBLISH, &properties, b"2").await?;
    let (reason, took) = closed(&mut alice).await?;
    ensure!(
        reason.contains("ACCESS_REFUSED - write access to exchange 'amq.direct' in vhost '/' refused for user 'alice'"),
        "{reason}"
    );
    ensure!(took < REVOKED_WITHIN, "{took:?}");
    Ok(())
}

#[tokio::test]
async fn new_passwords_are_validated_and_hashed_as_configured() -> anyhow::Result<()> {
    let broker = Broker::start_with(
        "credential_validator.validation_backend = rabbit_credential_validator_min_password_length\n\
         credential_validator.min_length = 10\npassword_hashing_module = rabbit_password_hashing_sha512\n\
         default_pass = guest-guest\n",
    )?;
    let http = Http::new(&broker).login("guest", "guest-guest");
    let refused = http.request(
        "PUT",
        "/users/alice",
        Some(&json!({"password": "short", "tags": ""})),
    )?;
    ensure!(refused.status == 400, "{refused:?}");
    ensure!(
        refused.json()?["reason"] == "credential_validation_failed",
        "{refused:?}"
    );
    make_user(&http, "alice")?;
    let alice = http.get("/users/alice")?;
    ensure!(
        alice["hashing_algorithm"] == "rabbit_password_hashing_sha512",
        "{alice}"
    );
    connect(&broker, "alice", "%2F")
        .await
        .context("the hash is hers")?;
    // An import is judged as well.
    let file = json!({"users": [{"name": "eve", "password": "short", "tags": ""}]});
    let refused = http.request("POST", "/definitions", Some(&file))?;
    ensure!(
        refused.status == 400
            && String::from_utf8_lossy(&refused.body).contains("credential_validation_failed"),
        "{refused:?}"
    );
    // A hash cannot be judged, and is what an operator has who moves users.
    http.put(
        "/users/bob",
        json!({"password_hash": alice["password_hash"], "hashing_algorithm": alice["hashing_algorithm"], "tags": ""}),
    )?;
    Ok(())
}
