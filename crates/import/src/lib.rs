//! `warren import`: moves in from a running RabbitMQ.
//!
//! It copies definitions over the HTTP APIs of both sides and, if asked to, drains queues over AMQP. It is an ordinary client of both: it
//! reads no files of theirs, and stops nothing. Read `args` first; `docs/moving-in.md` is for users.

mod args;
mod drain;
mod http;
mod unsupported;

use anyhow::{Context as _, bail};
use args::{Cli, RabbitMqArgs, Source};
use clap::Parser as _;
use http::Api;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::io::Write as _;

/// Runs the command with a command line, of which the first item is the program's name.
///
/// # Errors
/// The arguments are wrong, one of the sides cannot be reached or refuses something, or a queue could not be drained.
pub fn run(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => bail!("{error}"),
        Err(help) => return Ok(help.print()?),
    };
    let Source::Rabbitmq(args) = cli.source;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(rabbitmq(&args))
}

async fn rabbitmq(args: &RabbitMqArgs) -> anyhow::Result<()> {
    let trusted = || args.cacertfile.clone();
    let source = Api::new(args.uri.clone(), args.password()?, trusted())?;
    let target = Api::new(args.to.clone(), args.to_password()?, trusted())?;
    let mut definitions = source
        .get("/definitions")
        .await
        .context("read the definitions of the source")?;
    if !args.vhosts.is_empty() {
        keep_vhosts(&mut definitions, &args.vhosts);
    }
    let left_out = unsupported::take(&mut definitions);
    for what in &left_out {
        eprintln!("not supported: {what}");
    }
    if !left_out.is_empty() && !args.skip_unsupported {
        bail!(
            "the source has {} definitions that are not supported; --skip-unsupported leaves them out",
            left_out.len()
        );
    }
    say(&format!("definitions: {}", counts(&definitions)))?;
    if args.dry_run {
        return Ok(());
    }
    let body = Value::Object(definitions.clone());
    target
        .post("/definitions", &body)
        .await
        .context("import the definitions; nothing of them was imported")?;
    say("definitions imported")?;
    if args.drain {
        let ends = drain::Ends {
            source: args.source_amqp(source.password()),
            target: args.target_amqp(target.password()),
        };
        drain::all(&ends, &queues(&source, &args.vhosts).await?).await?;
    }
    Ok(())
}

/// One line of what was done.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("write to the standard output")
}

/// Leaves what is in some vhosts, and who may enter them.
fn keep_vhosts(definitions: &mut Map<String, Value>, vhosts: &[String]) {
    let is_kept = |name: &Value| {
        name.as_str()
            .is_some_and(|name| vhosts.iter().any(|vhost| vhost == name))
    };
    for (list, items) in definitions.iter_mut() {
        let Some(items) = items.as_array_mut() else {
            continue;
        };
        match list.as_str() {
            "users" | "global_parameters" => {}
            "vhosts" => items.retain(|item| is_kept(&item["name"])),
            _ => items.retain(|item| is_kept(&item["vhost"])),
        }
    }
}

fn counts(definitions: &Map<String, Value>) -> String {
    let lists = [
        "users",
        "vhosts",
        "permissions",
        "policies",
        "exchanges",
        "queues",
        "bindings",
    ];
    let count = |list: &str| {
        definitions
            .get(list)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    let counts: Vec<_> = lists
        .iter()
        .map(|list| format!("{} {list}", count(list)))
        .collect();
    counts.join(", ")
}

/// The queues that can be drained, of some vhosts or of all.
async fn queues(source: &Api, vhosts: &[String]) -> anyhow::Result<Vec<drain::Queue>> {
    let list = source
        .get_list("/queues?columns=vhost,name,type,exclusive")
        .await
        .context("list the queues of the source")?;
    let mut queues = Vec::new();
    for item in &list {
        let (Some(vhost), Some(name)) = (item["vhost"].as_str(), item["name"].as_str()) else {
            continue;
        };
        if !vhosts.is_empty() && !vhosts.iter().any(|wanted| wanted == vhost) {
            continue;
        }
        if item["type"] == "stream" || item["exclusive"] == true {
            eprintln!("not drained: {vhost}: {name}: streams and exclusive queues stay");
            continue;
        }
        queues.push(drain::Queue {
            vhost: vhost.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok(queues)
}
