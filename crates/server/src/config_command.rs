//! `warren config`: what a configuration says, before or without a node.
//!
//! It reads what a node would read and changes nothing. Secrets are not shown.

use clap::Subcommand;
use config::{BootFailure, ConfigError, Loaded, Process, document};
use std::path::PathBuf;
use std::process::ExitCode;

/// Look at the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check whether a node would start with this configuration.
    Check {
        /// Files in place of those that the environment names.
        files: Vec<PathBuf>,
    },
    /// Show what is set, and where.
    Show {
        /// Files in place of those that the environment names.
        files: Vec<PathBuf>,
    },
    /// Explain a key of rabbitmq.conf or an environment variable.
    Explain {
        /// Its name, for example heartbeat or RABBITMQ_LOGS.
        key: String,
    },
}

#[expect(clippy::print_stdout, reason = "this is its output")]
pub(crate) fn run(command: ConfigCommand) -> ExitCode {
    match command {
        ConfigCommand::Check { files } => with_loaded(&files, |loaded| {
            for note in &loaded.notes {
                println!("note: {note}");
            }
            let counted = |count: usize, what: &str| match count {
                1 => format!("1 {what}"),
                _ => format!("{count} {what}s"),
            };
            println!(
                "the configuration is good: {}, {}",
                counted(loaded.files.len(), "file"),
                counted(loaded.values.len(), "key")
            );
        }),
        ConfigCommand::Show { files } => with_loaded(&files, |loaded| {
            for file in &loaded.files {
                println!("# {}", file.display());
            }
            for value in &loaded.values {
                println!("{} = {}    # {}", value.key, value.value, value.place);
            }
            let settings = &loaded.settings;
            println!("# node name {}", settings.node_name);
            println!("# data directory {}", settings.data_dir.display());
            let management = &settings.management;
            for (listeners, what) in [
                (&settings.tcp_listeners, "AMQP"),
                (&settings.tls_listeners, "AMQP over TLS"),
                (&management.listeners, "the HTTP API"),
                (&management.tls_listeners, "the HTTP API over TLS"),
            ] {
                for listener in listeners {
                    println!("# listens on {listener} for {what}");
                }
            }
            match &settings.log.file {
                Some(file) => println!("# log file {}", file.display()),
                None => println!("# log on the console"),
            }
        }),
        ConfigCommand::Explain { key } => explain(&key),
    }
}

fn load(files: &[PathBuf]) -> Result<Loaded, ConfigError> {
    if files.is_empty() {
        config::load(&Process)
    } else {
        config::load_named(&Process, files)
    }
}

fn with_loaded(files: &[PathBuf], show: impl FnOnce(&Loaded)) -> ExitCode {
    match load(files) {
        Ok(loaded) => {
            show(&loaded);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is its output")]
fn explain(key: &str) -> ExitCode {
    if let Some(text) = document::explain(key) {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    eprintln!("there is no key or variable {key}");
    let similar = document::similar(key);
    if !similar.is_empty() {
        eprintln!("Did you mean one of these? {}", similar.join(", "));
    }
    ExitCode::FAILURE
}

/// Prints why a node does not start, in RabbitMQ's form.
pub(crate) fn boot_failed(error: &ConfigError) -> ExitCode {
    eprint!("{}", BootFailure(error));
    ExitCode::FAILURE
}
