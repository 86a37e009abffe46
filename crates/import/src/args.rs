//! The command line of `warren import`. Passwords are never on it.

use crate::http::HttpUri;
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use client_amqp091::AmqpUri;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};

/// Where the password of the source is looked for.
const PASSWORD_VARIABLE: &str = "WARREN_IMPORT_PASSWORD";
/// Where the password of the target is looked for.
const TO_PASSWORD_VARIABLE: &str = "WARREN_IMPORT_TO_PASSWORD";
/// Longest password that is read.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Move in from another broker.
#[derive(Debug, Parser)]
#[command(name = "warren import", arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) source: Source,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Copy the definitions of a running RabbitMQ and, with --drain, move its messages.
    Rabbitmq(RabbitMqArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RabbitMqArgs {
    /// HTTP API of the source, as http://USER@HOST:15672 or https://USER@HOST:15671. The password comes from --password-file, from the variable
    /// WARREN_IMPORT_PASSWORD or from the standard input.
    #[arg(long, value_name = "URI")]
    pub(crate) uri: HttpUri,
    /// File that holds the source's password; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// HTTP API of the node that moves in. The password comes from --to-password-file or from WARREN_IMPORT_TO_PASSWORD.
    #[arg(
        long,
        value_name = "URI",
        default_value = "http://guest@127.0.0.1:15672"
    )]
    pub(crate) to: HttpUri,
    /// File that holds the password of the node that moves in.
    #[arg(long, value_name = "FILE")]
    to_password_file: Option<PathBuf>,
    /// PEM file of certificates that vouch for the servers at https:// addresses; those that the operating system trusts by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacertfile: Option<PathBuf>,
    /// Only this virtual host; may be given several times.
    #[arg(long = "vhost", value_name = "NAME")]
    pub(crate) vhosts: Vec<String>,
    /// Leave out what this broker does not support (shovels, federation, mirroring, streams) instead of refusing all.
    #[arg(long)]
    pub(crate) skip_unsupported: bool,
    /// Say what would be copied, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Move the messages of all queues as well. A message leaves the source when it is on stable storage here; after a crash
    /// some may be there twice, none is lost. Running it again goes on where it stopped.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) drain: bool,
    /// AMQP listener of the source, as amqp://HOST:5672; the host of --uri by default.
    #[arg(long, value_name = "URI")]
    amqp: Option<AmqpUri>,
    /// AMQP listener of the node that moves in, as amqp://HOST:5672; the host of --to by default.
    #[arg(long, value_name = "URI")]
    to_amqp: Option<AmqpUri>,
}

impl RabbitMqArgs {
    /// The password of the source.
    pub(crate) fn password(&self) -> anyhow::Result<String> {
        match (&self.password_file, std::env::var(PASSWORD_VARIABLE)) {
            (Some(file), _) => password_in(file),
            (None, Ok(password)) => Ok(password),
            (None, Err(_)) if self.uri.user == "guest" => Ok("guest".to_owned()),
            (None, Err(_)) => {
                eprintln!("password of '{}' at the source:", self.uri.user);
                password_in(Path::new("-"))
            }
        }
    }

    /// The password of the node that moves in.
    pub(crate) fn to_password(&self) -> anyhow::Result<String> {
        match (&self.to_password_file, std::env::var(TO_PASSWORD_VARIABLE)) {
            (Some(file), _) => password_in(file),
            (None, Ok(password)) => Ok(password),
            (None, Err(_)) if self.to.user == "guest" => Ok("guest".to_owned()),
            (None, Err(_)) => bail!(
                "no password of '{}': give --to-password-file or set {TO_PASSWORD_VARIABLE}",
                self.to.user
            ),
        }
    }

    pub(crate) fn source_amqp(&self, password: &str) -> AmqpUri {
        amqp(self.amqp.as_ref(), &self.uri, password)
    }

    pub(crate) fn target_amqp(&self, password: &str) -> AmqpUri {
        amqp(self.to_amqp.as_ref(), &self.to, password)
    }
}

/// The user of the HTTP API at an AMQP listener.
fn amqp(given: Option<&AmqpUri>, api: &HttpUri, password: &str) -> AmqpUri {
    let mut uri = given.cloned().unwrap_or_else(|| AmqpUri {
        host: api.host.clone(),
        ..AmqpUri::default()
    });
    uri.user.clone_from(&api.user);
    password.clone_into(&mut uri.password);
    uri
}

/// The first line of a file.
fn password_in(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        let mut input = std::io::stdin().lock().take(PASSWORD_BYTES_MAX);
        input
            .read_line(&mut text)
            .context("read a password from the standard input")?;
    } else {
        std::fs::File::open(file)
            .and_then(|file| file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text))
            .with_context(|| format!("read a password from {}", file.display()))?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
