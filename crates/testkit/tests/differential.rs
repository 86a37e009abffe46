//! The scripts of `tests/differential` against our broker: it answers as RabbitMQ did when they were recorded.
//!
//! `UPDATE_EXPECT=1 AMQP_ADDRESS=127.0.0.1:5672` records them again from the RabbitMQ at that address, `AMQP_ADDRESS` alone compares
//! with it. `CASE` and `FILE` select cases and files by a part of the name.

use anyhow::Context;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use testkit::Broker;
use testkit::script::{self, Addresses, Outcome, Target};

fn scripts() -> anyhow::Result<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/differential");
    let part = std::env::var("FILE").unwrap_or_default();
    let mut paths = Vec::new();
    for entry in
        std::fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?
    {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "script")
            && path.to_string_lossy().contains(&part)
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// `more` is added to the rabbitmq.conf of our broker.
fn outcome(path: &Path, given: Option<Addresses>, more: &str) -> anyhow::Result<Outcome> {
    if let Some(addresses) = given {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            script::record_file(path, addresses)?;
            return Ok(Outcome::default());
        }
        return script::check_file(path, addresses, Target::RabbitMq);
    }
    let broker = Broker::start_with(&(settings(path)? + more))?;
    let addresses = Addresses {
        amqp: broker.address(),
        http: broker.http_address(),
    };
    script::check_file(path, addresses, Target::WarrenMq)
}

/// Lines `# rabbitmq.conf: key = value` at the top of a script.
fn settings(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("# rabbitmq.conf: "));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

#[test]
fn answers_are_those_of_rabbitmq() -> anyhow::Result<()> {
    compare("warren.shards = 1\n")
}

/// The same when the connections and the queues of a script live on different threads.
#[test]
fn answers_do_not_depend_on_the_number_of_shards() -> anyhow::Result<()> {
    if std::env::var_os("AMQP_ADDRESS").is_some() {
        return Ok(());
    }
    compare("warren.shards = 3\n")
}

/// The broker that the environment names, with its HTTP API at `HTTP_ADDRESS` or where RabbitMQ has it.
fn given() -> anyhow::Result<Option<Addresses>> {
    let Ok(amqp) = std::env::var("AMQP_ADDRESS") else {
        return Ok(None);
    };
    let amqp: SocketAddr = amqp.parse()?;
    let http = match std::env::var("HTTP_ADDRESS") {
        Ok(http) => http.parse()?,
        Err(_) => SocketAddr::new(amqp.ip(), 15672),
    };
    Ok(Some(Addresses { amqp, http }))
}

fn compare(settings: &str) -> anyhow::Result<()> {
    let given = given()?;
    // Each file has a broker of its own; with one given, files still use different names, so they run side by side too.
    let outcomes: Vec<anyhow::Result<Outcome>> = std::thread::scope(|scope| {
        let paths = scripts()?;
        let threads: Vec<_> = paths
            .into_iter()
            .map(|path| scope.spawn(move || outcome(&path, given, settings)))
            .collect();
        anyhow::Ok(
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a comparison does not panic"))
                .collect(),
        )
    })?;
    let mut total = Outcome::default();
    for outcome in outcomes {
        let outcome = outcome?;
        total.cases += outcome.cases;
        total.steps += outcome.steps;
        total.mismatches.extend(outcome.mismatches);
    }
    eprintln!(
        "{} cases, {} steps, {} cases differ",
        total.cases,
        total.steps,
        total.mismatches.len()
    );
    assert!(
        total.mismatches.is_empty(),
        "{}",
        total.mismatches.join("\n")
    );
    Ok(())
}
