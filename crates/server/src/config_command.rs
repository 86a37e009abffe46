//! `warren config`: what a configuration says, before or without a node.
//!
//! It reads what a node would read and changes nothing. Secrets are not shown.

use clap::Subcommand;
use config::{BootFailure, ConfigError, Loaded, Process, document};
use node::NodeError;
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
            if let Some(problem) = problem(loaded) {
                eprintln!("{problem}");
                return ExitCode::FAILURE;
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
            ExitCode::SUCCESS
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
            ExitCode::SUCCESS
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

fn with_loaded(files: &[PathBuf], show: impl FnOnce(&Loaded) -> ExitCode) -> ExitCode {
    match load(files) {
        Ok(loaded) => show(&loaded),
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

/// What would keep a node from starting though every line of its configuration can be read.
pub(crate) fn problem(loaded: &Loaded) -> Option<String> {
    let error = node::check(&loaded.settings).err()?;
    Some(placed(loaded, &error))
}

/// Prints why a node has not started or has ended, with the lines of the configuration that are to blame.
pub(crate) fn not_started(loaded: &Loaded, error: &NodeError) -> ExitCode {
    let text = placed(loaded, error);
    // On a console it would be there twice.
    if loaded.settings.log.file.is_some() {
        tracing::error!("the node has ended: {text}");
    }
    eprintln!("warren: {text}");
    ExitCode::FAILURE
}

/// The error, and below it the lines of the configuration that it speaks of, or those of its area.
fn placed(loaded: &Loaded, error: &NodeError) -> String {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        text.push_str(&format!(": {cause}"));
    }
    let areas: &[&str] = match error {
        NodeError::Auth(_) | NodeError::NoBackend => &["auth_backends.", "http_dispatch."],
        NodeError::Tls {
            keys: "ssl_options",
            ..
        } => &["listeners.ssl", "ssl_options."],
        NodeError::Tls { keys, .. } => &[*keys],
        NodeError::Store(_)
        | NodeError::Metadata(_)
        | NodeError::Definitions { .. }
        | NodeError::DefaultPassword { .. }
        | NodeError::Listen { .. }
        | NodeError::System { .. }
        | NodeError::TrustStore(_)
        | NodeError::LogFailed(_) => &[],
    };
    with_places(loaded, text, areas)
}

/// A message, and below it the lines of the configuration that it speaks of, or those whose keys begin like one of these.
pub(crate) fn with_places(loaded: &Loaded, text: String, areas: &[&str]) -> String {
    let mut places: Vec<_> = loaded.spoken_of(&text).collect();
    if places.is_empty() {
        let is_in = |key: &str| areas.iter().any(|area| key.starts_with(area));
        places.extend(loaded.values.iter().filter(|value| is_in(&value.key)));
    }
    let places = places.iter();
    let places: String = places
        .map(|value| format!("\n  {} = {}    # {}", value.key, value.value, value.place))
        .collect();
    text + &places
}

/// Prints why a node does not start, in RabbitMQ's form.
pub(crate) fn boot_failed(error: &ConfigError) -> ExitCode {
    eprint!("{}", BootFailure(error));
    ExitCode::FAILURE
}
