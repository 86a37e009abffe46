//! Development tasks: `cargo xtask VERB`.
//!
//! A fresh clone needs cargo for all of them but `interop`, which drives other people's clients; `perf` also uses
//! Maven and Java if they are there.
//! What a verb runs is in this crate; what it checks is in the crate it belongs to.

mod broker;
mod codegen;
mod interop;
mod package;
mod package_test;
mod performance;
mod shell;
mod steps;
mod tidy;
mod ui;
mod verbs;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask VERB

  run [ARGS]          build for release and start `warren server` with ARGS
  test                everything that CI runs
  verify              format, lints, tests, documentation, tidy; writes nothing
  fix                 what verify asks for and a machine can do
  dev [ARGS]          a node with a verbose log and its data below target/
  perf [scale|management] [--quick] [--broker NAME=URI,PID[,HTTP]]
                      measure and write docs/performance.md; with --quick a short look, in target/performance.md;
                      with --broker compared with RabbitMQ, which runs on this machine as process PID
  codegen [--check]   write or compare the generated AMQP methods; write the tables of docs/cli.md and
                      docs/configuration.md, which tests compare
  tidy                the rules that no compiler knows
  interop [CLIENT]    other people's client libraries against our binary
  ui                  get the web UI's modules from npm, so that the next build has them
  ui test [--screenshots]
                      the web UI's types and pages, in Chromium; with --screenshots write the pictures in docs/ui
  package [BINARY]    the Debian package, of a release build or of BINARY, in target/package
  package --test [BINARY]
                      installs it on a clean Debian with systemd, upgrades, removes and purges it (root, debootstrap)
  fuzz TARGET [ARGS]  fuzz one decoder or state machine (nightly, cargo-fuzz)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((verb, rest)) = args.split_first() else {
        bail!("no verb\n\n{USAGE}")
    };
    match (verb.as_str(), rest) {
        ("run", args) => verbs::run(args),
        ("test", []) => verbs::test(),
        ("verify", []) => verbs::verify(),
        ("fix", []) => verbs::fix(),
        ("dev", args) => verbs::dev(args),
        ("perf", args) => verbs::perf(args),
        ("codegen", []) => verbs::codegen(verbs::Generated::Write),
        ("codegen", [flag]) if flag == "--check" => verbs::codegen(verbs::Generated::Compare),
        ("tidy", []) => tidy::run(&shell::root()),
        ("interop", []) => verbs::interop(None),
        ("interop", [client]) => verbs::interop(Some(client)),
        ("ui", []) => ui::install(),
        ("ui", [test]) if test == "test" => verbs::ui(false),
        ("ui", [test, flag]) if test == "test" && flag == "--screenshots" => verbs::ui(true),
        ("package", [flag]) if flag == "--test" => verbs::package_test(None),
        ("package", [flag, binary]) if flag == "--test" => verbs::package_test(Some(binary)),
        ("package", []) => verbs::package(None),
        ("package", [binary]) => verbs::package(Some(binary)),
        ("fuzz", [target, args @ ..]) => verbs::fuzz(target, args),
        ("help" | "-h" | "--help", _) => {
            eprint!("{USAGE}");
            Ok(())
        }
        _ => bail!("cannot run {:?}\n\n{USAGE}", args.join(" ")),
    }
}
