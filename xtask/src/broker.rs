//! A broker for one task: on a port of its own, without anybody's configuration, killed at the end.

use crate::shell;
use anyhow::{Context as _, Result};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running broker; dropping it kills it.
pub(crate) struct Broker {
    child: Child,
    /// Where it listens, for example `amqp://127.0.0.1:40123`.
    pub(crate) uri: String,
    /// Where its HTTP API and web UI are.
    pub(crate) http: String,
    /// Where its data is.
    pub(crate) folder: PathBuf,
}

/// How a broker is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is asked to, with SIGTERM.
    Orderly,
    /// It is killed, with SIGKILL.
    Kill,
}

impl Broker {
    /// Starts the release build with an empty data directory below `target/` and waits until it listens.
    pub(crate) fn start(name: &str) -> Result<Self> {
        Self::start_on(empty_folder(name)?)
    }

    /// The same with more lines of configuration.
    pub(crate) fn start_with(name: &str, configuration: &str) -> Result<Self> {
        Self::start_configured(empty_folder(name)?, configuration)
    }

    /// Starts the release build with the data that is in `folder` and waits until it listens.
    pub(crate) fn start_on(folder: PathBuf) -> Result<Self> {
        Self::start_configured(folder, "")
    }

    fn start_configured(folder: PathBuf, configuration: &str) -> Result<Self> {
        let conf = folder.join("rabbitmq.conf");
        let listen = "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = 0\n";
        fs::write(&conf, format!("{listen}{configuration}"))
            .with_context(|| format!("write {}", conf.display()))?;
        let mut child = Command::new(shell::warren(shell::RELEASE))
            .arg("server")
            .env("RABBITMQ_CONFIG_FILE", &conf)
            .env("RABBITMQ_CONFIG_FILES", folder.join("conf.d"))
            .env("RABBITMQ_MNESIA_DIR", folder.join("data"))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .context("start warren server")?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let found = lines.find_map(|line| match line {
            Ok(line) => address(&line, "amqp://")
                .zip(address(&line, "http://"))
                .map(Ok),
            Err(error) => Some(Err(error)),
        });
        // Nobody reads what comes later, and the broker must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let mut broker = Self {
            child,
            uri: String::new(),
            http: String::new(),
            folder,
        };
        (broker.uri, broker.http) = found
            .context("the broker ended before it was ready")?
            .context("read the broker's output")?;
        Ok(broker)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and waits until it has ended; its data stays, and is where the result says.
    pub(crate) fn end(mut self, ending: Ending) -> Result<PathBuf> {
        if ending == Ending::Orderly {
            shell::check(Command::new("kill").arg(self.pid().to_string()))?;
            self.child.wait().context("wait for the broker's end")?;
        }
        Ok(self.folder.clone())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // If it has ended already, that is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty folder below `target/`.
pub(crate) fn empty_folder(name: &str) -> Result<PathBuf> {
    let folder = shell::target().join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// The first address of a kind in the line that says the broker is ready.
fn address(line: &str, scheme: &str) -> Option<String> {
    let address = line
        .split_whitespace()
        .find(|word| word.starts_with(scheme))?;
    Some(address.trim_end_matches(',').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_holds_the_address() {
        let line = "rabbit@box is ready in 12 ms: amqp://127.0.0.1:4000, http://127.0.0.1:4001 (data in /x)";
        assert_eq!(
            address(line, "amqp://").as_deref(),
            Some("amqp://127.0.0.1:4000")
        );
        assert_eq!(
            address(line, "http://").as_deref(),
            Some("http://127.0.0.1:4001")
        );
        assert_eq!(address("2026-01-01 info starting", "amqp://"), None);
    }
}
