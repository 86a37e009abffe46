//! A command on its way: its arguments, the node it is about, and what it says meanwhile.

use crate::arguments::Arguments;
use crate::catalogue::Command;
use crate::failure::{DATA, UNAVAILABLE};
use crate::node::{Answer, Node, encode};
use crate::output::Formatter;
use crate::{Failure, Tool};
use serde_json::Value as Json;
use std::io::{IsTerminal as _, Read as _, Write as _};

/// Longest text that is read from the standard input.
const INPUT_BYTES_MAX: u64 = 1 << 30;

/// What a command has.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) tool: Tool,
    pub(crate) command: &'static Command,
    pub(crate) arguments: Arguments,
    pub(crate) formatter: Formatter,
    pub(crate) node: Node,
}

impl Call {
    /// An argument, by its place behind the command.
    pub(crate) fn value(&self, index: usize) -> &str {
        self.arguments.values.get(index).map_or("", String::as_str)
    }

    /// The virtual host.
    pub(crate) fn vhost(&self) -> &str {
        self.arguments.vhost()
    }

    /// The virtual host as a part of a path.
    pub(crate) fn vhost_path(&self) -> String {
        encode(self.vhost())
    }

    /// Prints a line for people, if there are any.
    pub(crate) fn say(&self, line: &str) {
        if self.is_quiet() || self.formatter.is_machine_readable() {
            return;
        }
        self.print(&format!("{line}\n"));
    }

    /// Whether nobody wants to know what is going on.
    pub(crate) fn is_quiet(&self) -> bool {
        self.arguments.has("quiet") || self.arguments.has("silent")
    }

    /// Prints text at once.
    pub(crate) fn print(&self, text: &str) {
        self.print_bytes(text.as_bytes());
    }

    /// The same with what need not be text.
    #[expect(clippy::unused_self, reason = "what is printed belongs to a call")]
    pub(crate) fn print_bytes(&self, bytes: &[u8]) {
        print(bytes);
    }

    /// A list of the API.
    pub(crate) fn list(&mut self, path: &str) -> Result<Vec<Json>, Failure> {
        match self.node.get(path)?.ok()? {
            Json::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Checks that there is such a virtual host.
    pub(crate) fn vhost_exists(&mut self) -> Result<bool, Failure> {
        let path = format!("/api/vhost-limits/{}", self.vhost_path());
        Ok(!self.node.get(&path)?.is_missing())
    }

    /// The same.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn expect_vhost(&mut self) -> Result<(), Failure> {
        if self.vhost_exists()? {
            Ok(())
        } else {
            Err(Failure::no_vhost(self.vhost()))
        }
    }

    /// Whether there is such a user.
    pub(crate) fn user_exists(&mut self, user: &str) -> Result<bool, Failure> {
        let path = format!("/api/user-limits/{}", encode(user));
        Ok(!self.node.get(&path)?.is_missing())
    }

    /// What was done, or why it was not.
    ///
    /// # Errors
    /// It was refused.
    pub(crate) fn done(answer: Answer) -> Result<(), Failure> {
        answer.ok().map(drop)
    }

    /// A secret: an argument, or a line of the standard input. `None` if there is none.
    pub(crate) fn secret(&self, index: usize, prompt: &str) -> Option<String> {
        if let Some(secret) = self.arguments.values.get(index) {
            return Some(secret.clone());
        }
        self.print(prompt);
        let read = if std::io::stdin().is_terminal() {
            hidden_line()
        } else {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        };
        self.print("\n");
        let line = read.unwrap_or_default();
        let secret = line.trim_end_matches(['\r', '\n']);
        (!secret.is_empty()).then(|| secret.to_owned())
    }

    /// A password: an argument, or a line of the standard input.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn password(&self, index: usize) -> Result<String, Failure> {
        self.secret(index, "Password: ")
            .ok_or_else(|| Failure::error(DATA, "Password is not provided via argument or stdin"))
    }

    /// Everything on the standard input.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn input(&self) -> Result<Vec<u8>, Failure> {
        let mut input = Vec::new();
        std::io::stdin()
            .take(INPUT_BYTES_MAX)
            .read_to_end(&mut input)
            .map_err(|error| {
                Failure::error(
                    UNAVAILABLE,
                    format!("cannot read the standard input: {error}"),
                )
            })?;
        Ok(input)
    }
}

/// Prints bytes at once.
pub(crate) fn print(bytes: &[u8]) {
    let mut out = std::io::stdout();
    // Whoever closed it does not want to read any more.
    let _ = out.write_all(bytes);
    let _ = out.flush();
}

/// A line that the terminal does not show.
fn hidden_line() -> std::io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    let before = tcgetattr(&input)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Now, &hidden)?;
    let mut line = String::new();
    let read = input.read_line(&mut line);
    tcsetattr(&input, OptionalActions::Now, &before)?;
    read.map(|_| line)
}
