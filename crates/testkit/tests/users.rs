//! Users over their lives: passwords, tags, who protects them, and how often somebody tried to be one.

use anyhow::{Context as _, ensure};
use client_amqp091::{AmqpUri, ConnectOptions, Connection};
use serde_json::{Value, json};
use testkit::{Broker, Http};

async fn logs_in(broker: &Broker, user: &str, password: &str, vhost: &str) -> anyhow::Result<bool> {
    let address = broker.address();
    let uri: AmqpUri = format!("amqp://{user}:{password}@{address}/{vhost}").parse()?;
    match Connection::connect(&uri, &ConnectOptions::default()).await {
        Ok(connection) => {
            connection.close().await?;
            Ok(true)
        }
        Err(_) => Ok(false),
    }
}

/// Runs `rabbitmqctl`, which has to succeed.
fn ctl(broker: &Broker, arguments: &[&str]) -> anyhow::Result<String> {
    tool(broker, "rabbitmqctl", arguments)
}

fn tool(broker: &Broker, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = broker
        .tool(name)?
        .args(arguments)
        .output()
        .with_context(|| format!("run {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {text}{error}");
    Ok(text)
}

#[tokio::test]
async fn passwords_are_set_changed_and_taken_away() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let alice = |password: &str| json!({"password": password, "tags": ""});
    http.put("/users/alice", alice("first"))?;
    http.put(
        "/permissions/%2F/alice",
        json!({"configure": ".*", "write": ".*", "read": ".*"}),
    )?;
    ensure!(logs_in(&broker, "alice", "first", "%2F").await?);
    http.put("/users/alice", alice("second"))?;
    ensure!(!logs_in(&broker, "alice", "first", "%2F").await?);
    ensure!(logs_in(&broker, "alice", "second", "%2F").await?);
    ctl(&broker, &["change_password", "alice", "third"])?;
    ensure!(logs_in(&broker, "alice", "third", "%2F").await?);
    // Without a password nobody logs in with one, not even an empty one.
    ctl(&broker, &["clear_password", "alice"])?;
    for password in ["third", "second", ""] {
        ensure!(
            !logs_in(&broker, "alice", password, "%2F").await?,
            "{password}"
        );
    }
    http.put("/users/bob", json!({"password_hash": "", "tags": ""}))?;
    ensure!(!logs_in(&broker, "bob", "", "%2F").await?);
    ctl(&broker, &["change_password", "alice", "fourth"])?;
    ensure!(logs_in(&broker, "alice", "fourth", "%2F").await?);
    http.delete("/users/alice")?;
    ensure!(!logs_in(&broker, "alice", "fourth", "%2F").await?);
    Ok(())
}

#[test]
fn tags_say_what_the_api_is_open_for() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    for (tags, whoami, nodes, users) in [
        ("administrator", 200, 200, 200),
        ("monitoring", 200, 200, 401),
        ("policymaker", 200, 401, 401),
        ("management", 200, 401, 401),
        ("impersonator", 401, 401, 401),
        ("any-text", 401, 401, 401),
        ("", 401, 401, 401),
    ] {
        http.put("/users/alice", json!({"password": "secret", "tags": tags}))?;
        let alice = http.login("alice", "secret");
        for (path, expect) in [("/whoami", whoami), ("/nodes", nodes), ("/users", users)] {
            let status = alice.request("GET", path, None)?.status;
            ensure!(status == expect, "{tags}: {path}: {status}");
        }
        let listed = http.get("/users/alice")?;
        let expect: Vec<_> = tags.split(',').filter(|tag| !tag.is_empty()).collect();
        ensure!(listed["tags"] == json!(expect), "{listed}");
    }
    ctl(
        &broker,
        &["set_user_tags", "alice", "management", "any-text"],
    )?;
    let whoami = http.login("alice", "secret").get("/whoami")?;
    ensure!(
        whoami["tags"] == json!(["management", "any-text"]),
        "{whoami}"
    );
    Ok(())
}

#[test]
fn protected_users_are_the_operators_alone() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let protected = json!({"password": "secret", "tags": "management,protected"});
    http.put("/users/alice", protected)?;
    http.put("/users/bob", json!({"password": "secret", "tags": ""}))?;
    let change = json!({"password": "other", "tags": ""});
    for (method, body) in [("PUT", Some(change)), ("DELETE", None)] {
        let refused = http.request(method, "/users/alice", body.as_ref())?;
        ensure!(refused.status == 400, "{method}: {}", refused.status);
        let reason = refused.json()?;
        ensure!(
            reason["reason"] == json!("Protected users cannot be modified via the HTTP API"),
            "{reason}"
        );
    }
    http.post("/users/bulk-delete", json!({"users": ["alice", "bob"]}))?;
    let names = |users: &Value| -> Vec<String> {
        let users = users.as_array().into_iter().flatten();
        users
            .filter_map(|user| user["name"].as_str().map(str::to_owned))
            .collect()
    };
    ensure!(names(&http.get("/users")?) == ["alice", "guest"]);
    ctl(&broker, &["delete_user", "alice"])?;
    ensure!(names(&http.get("/users")?) == ["guest"]);
    Ok(())
}

#[tokio::test]
async fn new_virtual_hosts_let_in_the_users_of_the_configuration() -> anyhow::Result<()> {
    let broker = Broker::start_with(
        "default_users.carol.vhost_pattern = ^team-\ndefault_users.carol.password = a-password\n\
         default_users.carol.configure = ^carol\ndefault_users.carol.tags = management,monitoring\n\
         default_users.dave.read = ^$\n",
    )?;
    let http = Http::new(&broker);
    // The first virtual host is one as well.
    ensure!(http.get("/users/dave")?["tags"] == json!([]));
    http.put("/vhosts/other", json!({}))?;
    ensure!(!logs_in(&broker, "carol", "a-password", "other").await?);
    http.put("/vhosts/team-1", json!({}))?;
    ensure!(logs_in(&broker, "carol", "a-password", "team-1").await?);
    let carol = http.get("/users/carol")?;
    ensure!(
        carol["tags"] == json!(["management", "monitoring"]),
        "{carol}"
    );
    let permission = http.get("/permissions/team-1/carol")?;
    ensure!(
        permission["configure"] == json!("^carol") && permission["write"] == json!(".*"),
        "{permission}"
    );
    ensure!(http.get("/permissions/other/dave")?["read"] == json!("^$"));
    // A user who is there keeps password and tags.
    http.put("/users/carol", json!({"password": "changed", "tags": ""}))?;
    http.put("/vhosts/team-2", json!({}))?;
    ensure!(logs_in(&broker, "carol", "changed", "team-2").await?);
    Ok(())
}

#[tokio::test]
async fn logins_are_counted_by_source_while_that_is_switched_on() -> anyhow::Result<()> {
    let broker = Broker::start_with("warren.track_auth_attempt_source = true\n")?;
    let http = Http::new(&broker);
    let overview = http.get("/overview")?;
    let node = overview["node"].as_str().context("a node")?;
    let path = format!("/auth/attempts/{node}/source");
    ensure!(logs_in(&broker, "guest", "guest", "%2F").await?);
    ensure!(!logs_in(&broker, "eve", "wrong", "%2F").await?);
    let switch = |command: &str| tool(&broker, "rabbitmq-diagnostics", &[command, "-q"]);
    switch("disable_auth_attempt_source_tracking")?;
    ensure!(!logs_in(&broker, "eve", "wrong", "%2F").await?);
    let attempts = http.get(&path)?;
    let amqp = |user: &str, failed: u64| {
        json!({"remote_address": "127.0.0.1", "username": user, "protocol": "amqp091",
               "auth_attempts": 1, "auth_attempts_failed": failed, "auth_attempts_succeeded": 1 - failed})
    };
    let attempts = attempts.as_array().context("a list")?;
    ensure!(attempts.len() == 3, "{attempts:?}");
    ensure!(attempts.contains(&amqp("guest", 0)), "{attempts:?}");
    ensure!(attempts.contains(&amqp("eve", 1)), "{attempts:?}");
    http.delete(&path)?;
    ensure!(http.get(&path)? == json!([]));
    switch("enable_auth_attempt_source_tracking")?;
    ensure!(!logs_in(&broker, "eve", "wrong", "%2F").await?);
    let listed = ctl(
        &broker,
        &["list_node_auth_attempt_stats", "--by-source", "-q"],
    )?;
    ensure!(
        listed.lines().any(|line| {
            line.split_whitespace().collect::<Vec<_>>()
                == ["127.0.0.1", "eve", "amqp091", "1", "1", "0"]
        }),
        "{listed}"
    );
    Ok(())
}

#[tokio::test]
async fn logins_are_counted() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let http = Http::new(&broker);
    let overview = http.get("/overview")?;
    let node = overview["node"].as_str().context("a node")?;
    let path = format!("/auth/attempts/{node}");
    http.delete(&path)?;
    ensure!(logs_in(&broker, "guest", "guest", "%2F").await?);
    for _ in 0..3 {
        ensure!(!logs_in(&broker, "guest", "wrong", "%2F").await?);
    }
    let wrong = http.login("guest", "wrong");
    ensure!(wrong.request("GET", "/whoami", None)?.status == 401);
    let attempts = http.get(&path)?;
    ensure!(
        attempts
            == json!([
                {"protocol": "amqp091", "auth_attempts": 4, "auth_attempts_failed": 3, "auth_attempts_succeeded": 1},
                {"protocol": "http", "auth_attempts": 2, "auth_attempts_failed": 1, "auth_attempts_succeeded": 1},
            ]),
        "{attempts}"
    );
    let listed = ctl(&broker, &["list_node_auth_attempt_stats", "-q"])?;
    ensure!(
        listed
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>() == ["amqp091", "4", "3", "1"]),
        "{listed}"
    );
    Ok(())
}
