//! The command line: a command, its arguments and options, in any order.
//!
//! Options may stand before and behind the command. What they mean is the commands' matter; here is only which there are.

use crate::catalogue::{self, Command};
use crate::{Failure, Tool};
use std::time::Duration;

/// What follows the name of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing.
    None,
    /// Text.
    Text,
    /// A whole number.
    Number,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    /// Its name, without dashes.
    pub(crate) name: &'static str,
    /// One letter for it.
    pub(crate) short: Option<char>,
    /// What follows it.
    pub(crate) value: Value,
    /// What it is for.
    pub(crate) help: &'static str,
}

/// Options of every command.
pub(crate) const GLOBAL: &[Opt] = &[
    Opt::text("node", "the node to ask, name or name@host").short('n'),
    Opt::text("vhost", "the virtual host, / without it").short('p'),
    Opt::number("timeout", "seconds to wait for the node").short('t'),
    Opt::switch("quiet", "print no informational lines").short('q'),
    Opt::switch(
        "silent",
        "print neither informational lines nor table headers",
    )
    .short('s'),
    Opt::text(
        "formatter",
        "table, pretty_table, json, json_stream, csv, erlang or inspect",
    ),
    Opt::switch(
        "no-table-headers",
        "print tables without the names of columns",
    ),
    Opt::switch("table-headers", "print tables with the names of columns"),
    Opt::switch("longnames", "take the host in a node's name as it is").short('l'),
    Opt::text(
        "erlang-cookie",
        "the secret of the node, if not that in its data directory",
    ),
    Opt::text(
        "script-name",
        "another name for this tool in what it prints",
    ),
    Opt::switch("print-stacktrace", "accepted; there are no stack traces"),
    Opt::text(
        "aliases-file",
        "a file with commands of one's own, a line `name = command` each",
    ),
    Opt::switch("dry-run", "say what would be done, and do not do it"),
    Opt::switch("help", "explain the command").short('?'),
];

impl Opt {
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Value::None, help)
    }

    pub(crate) const fn text(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Value::Text, help)
    }

    pub(crate) const fn number(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Value::Number, help)
    }

    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn new(name: &'static str, value: Value, help: &'static str) -> Self {
        Self {
            name,
            short: None,
            value,
            help,
        }
    }
}

/// A command line that was read.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    /// All words as they came, for error texts.
    pub(crate) raw: Vec<String>,
    /// The word that names the command.
    pub(crate) name: Option<String>,
    /// The command, if there is one of that name.
    pub(crate) command: Option<&'static Command>,
    /// The words behind it that belong to no option.
    pub(crate) values: Vec<String>,
    options: Vec<(&'static str, String)>,
    /// Options that do not exist or have a wrong value.
    invalid: Vec<(String, String)>,
}

impl Arguments {
    /// Reads the words behind the name of a tool.
    pub(crate) fn read(tool: Tool, words: Vec<String>) -> Self {
        let mut read = Self {
            raw: words.clone(),
            name: None,
            command: None,
            values: Vec::new(),
            options: Vec::new(),
            invalid: Vec::new(),
        };
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                words.by_ref().for_each(|word| read.positional(tool, word));
                break;
            }
            // Documents that were typeset have dashes in the place of hyphens.
            let normal = word.replacen(['–', '—'], "-", 1);
            let Some(body) = normal.strip_prefix('-').filter(|body| !body.is_empty()) else {
                read.positional(tool, word);
                continue;
            };
            if body.starts_with(|c: char| c.is_ascii_digit()) {
                read.positional(tool, word);
                continue;
            }
            let (name, given) = match body.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (body.to_owned(), None),
            };
            let Some(option) = read.find(&name) else {
                read.invalid
                    .push((format!("-{name}"), given.unwrap_or_default()));
                continue;
            };
            let value = match option.value {
                Value::None => given.unwrap_or_default(),
                Value::Text | Value::Number => match given.or_else(|| words.next()) {
                    Some(value) => value,
                    None => {
                        read.invalid.push((format!("-{name}"), String::new()));
                        continue;
                    }
                },
            };
            let is_number = value.parse::<f64>().is_ok() || value == "infinity";
            if option.value == Value::Number && !is_number {
                read.invalid.push((format!("-{name}"), value));
                continue;
            }
            read.options.push((option.name, value));
        }
        read
    }

    fn positional(&mut self, tool: Tool, word: String) {
        if self.name.is_some() {
            self.values.push(word);
        } else {
            self.command = catalogue::find(tool, &word);
            self.name = Some(word);
        }
    }

    /// The option of a name without its first hyphen.
    fn find(&self, name: &str) -> Option<&'static Opt> {
        let own = self.command.map_or(&[][..], |command| command.options);
        let mut all = own.iter().chain(GLOBAL);
        match name.strip_prefix('-') {
            Some(long) => {
                all.find(|option| option.name == long || option.name.replace('-', "_") == long)
            }
            // Single hyphens before long names were usual once (`-detached`).
            None => all.find(|option| {
                option.name == name || option.short.is_some_and(|short| name == short.to_string())
            }),
        }
    }

    /// The option that a word names whose value has still to follow.
    pub(crate) fn unfinished(&self, word: &str) -> Option<&'static Opt> {
        let option = self.find(word.strip_prefix('-')?)?;
        (option.value != Value::None).then_some(option)
    }

    /// Whether an option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(own, _)| *own == name)
    }

    /// The value of an option, the last one if there are more.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }

    /// Sets an option, for a command that runs others.
    pub(crate) fn set_option(&mut self, name: &'static str, value: String) {
        self.options.push((name, value));
    }

    /// How long to wait, if it was said.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let seconds: f64 = self.option("timeout")?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The virtual host.
    pub(crate) fn vhost(&self) -> &str {
        self.option("vhost").unwrap_or("/")
    }

    /// Checks that nothing is said about headers, which only tables have.
    ///
    /// # Errors
    /// There is.
    pub(crate) fn check_headers(&self) -> Result<(), Failure> {
        for name in ["no-table-headers", "table-headers"] {
            if self.has(name) {
                return Err(Failure::usage(format!(
                    "Invalid options for this command:\n--{name} : "
                )));
            }
        }
        Ok(())
    }

    /// Checks options and the number of values.
    ///
    /// # Errors
    /// An option does not exist, or there are too few or too many values.
    pub(crate) fn check(&self, command: &Command) -> Result<(), Failure> {
        if !self.invalid.is_empty() {
            let mut text = "Invalid options for this command:".to_owned();
            for (name, value) in &self.invalid {
                text.push_str(&format!("\n{name} : {value}"));
            }
            return Err(Failure::usage(text));
        }
        let (min, max) = command.values;
        if self.values.len() < min {
            return Err(Failure::usage("not enough arguments."));
        }
        if self.values.len() > max {
            return Err(Failure::usage("too many arguments."));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Arguments {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Arguments::read(Tool::Ctl, words)
    }

    #[test]
    fn options_stand_before_and_behind_the_command() {
        for words in [
            &["-n", "a", "list_queues", "-p", "v", "name"][..],
            &["list_queues", "name", "--node", "a", "--vhost=v"],
            &["–n", "a", "list_queues", "-p=v", "name"],
        ] {
            let read = read(words);
            assert_eq!(read.name.as_deref(), Some("list_queues"));
            assert_eq!(read.option("node"), Some("a"));
            assert_eq!(read.vhost(), "v");
            assert_eq!(read.values, ["name"]);
        }
    }

    #[test]
    fn what_is_no_option_is_told() {
        let read = read(&["list_queues", "--bogus", "-t", "x"]);
        let failure = read.check(read.command.unwrap()).unwrap_err();
        assert_eq!(
            failure.text,
            "Invalid options for this command:\n--bogus : \n-t : x"
        );
    }

    #[test]
    fn negative_numbers_are_values() {
        assert_eq!(read(&["set_user_limits", "u", "-1"]).values, ["u", "-1"]);
    }
}
