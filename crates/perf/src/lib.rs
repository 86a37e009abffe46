//! The load generator: puts load on any AMQP 0-9-1 broker and measures it.
//!
//! Six programs in one: a configurable load (the default), `relay`, which measures what the kernel alone charges for
//! the same bytes, `suite`, which runs the standard rows against several brokers, `footprint`, which measures the
//! broker's memory, `scale`, which has very many bindings, queues and timers, and `management`, which asks the management API
//! while messages flow. It measures at the broker's border only: rates and latencies as clients see them, and the CPU time and memory of the broker's process.
//! It knows nothing of any broker's inside.
//!
//! Read `load` first; `docs/perf.md` is for users.

mod args;
mod body;
mod churn;
mod clock;
mod consumer;
mod footprint;
mod greeting;
mod load;
mod management;
mod meter;
mod output;
mod process;
mod producer;
mod relay;
mod scale;
mod suite;
mod summary;
mod sync;
mod topology;
mod unconfirmed;
mod verify;
mod worker;

use std::ffi::OsString;

use anyhow::bail;
use clap::Parser;

use args::{Cli, Command, LoadArgs};

/// Runs the load generator with a command line, of which the first item is the program's name, and prints to standard
/// output. Help and usage errors are printed too; the latter end in an error.
///
/// # Errors
/// The arguments are wrong, the broker cannot be reached, fails or refuses something, or verification found that it
/// broke a promise.
pub fn run(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => bail!("{error}"),
        Err(help) => return Ok(help.print()?),
    };
    match cli.command {
        None => run_load(cli.load),
        Some(Command::Relay(args)) => relay::run(&args),
        Some(Command::Suite(args)) => suite::run(&args),
        Some(Command::Footprint(args)) => footprint::run(&args),
        Some(Command::Management(args)) => management::run(&args),
        Some(Command::Scale(args)) => scale::run(&args),
    }
}

fn run_load(args: LoadArgs) -> anyhow::Result<()> {
    let json = args.json.clone();
    let text_output = output::TextOutput::beside(json.as_deref());
    let summary = load::run(args, &mut |line| text_output.line(line))?;
    text_output.line(summary.to_string().trim_end());
    if let Some(target) = json {
        output::write_json(&target, &summary)?;
    }
    if summary.verify.is_some_and(|verdict| verdict.violated()) {
        bail!("the broker broke a promise");
    }
    Ok(())
}
