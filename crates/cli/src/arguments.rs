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

/// The value of a switch that was switched off: `--no-quiet` or `--quiet=false`.
const OFF: &str = "false";

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
        "table-headers",
        "print tables with the names of columns; --no-table-headers without",
    ),
    Opt::switch("longnames", "take the host in a node's name as it is").short('l'),
    Opt::text(
        "erlang-cookie",
        "the secret of the node, if not that in its data directory",
    ),
    Opt::text(
        "script-name",
        "the name of the tool whose commands these are, if it is not the program's",
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
        let read = Self::read_for(tool, None, words.clone());
        match read.command {
            // Options in front of a command may be its own.
            Some(command) if !read.invalid.is_empty() => Self::read_for(tool, Some(command), words),
            _ => read,
        }
    }

    /// The same where it is known whose options they are.
    fn read_for(tool: Tool, command: Option<&'static Command>, words: Vec<String>) -> Self {
        let mut read = Self {
            raw: words.clone(),
            name: None,
            command,
            values: Vec::new(),
            options: Vec::new(),
            invalid: Vec::new(),
        };
        let mut words = words.into_iter();
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
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            match name.strip_prefix('-') {
                Some(long) => read.long(long, given, &mut words),
                None => read.letters(name, given, &mut words),
            }
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

    /// `--name`, `--name value`, `--name=value` or, of a switch, `--no-name`.
    fn long(&mut self, name: &str, given: Option<String>, rest: &mut impl Iterator<Item = String>) {
        if let Some(option) = self.find(name) {
            return self.option_given(&format!("--{name}"), option, given, rest);
        }
        let negated = name.strip_prefix("no-").and_then(|name| self.find(name));
        match negated.filter(|option| option.value == Value::None && given.is_none()) {
            Some(option) => self.options.push((option.name, OFF.to_owned())),
            None => self.invalid.push((format!("--{name}"), String::new())),
        }
    }

    /// `-n value` or `-n=value`, or several switches, `-qs`.
    fn letters(
        &mut self,
        letters: &str,
        given: Option<String>,
        rest: &mut impl Iterator<Item = String>,
    ) {
        let mut all = letters.chars();
        if let (Some(letter), None) = (all.next(), all.next()) {
            return match self.find_short(letter) {
                Some(option) => self.option_given(&format!("-{letter}"), option, given, rest),
                None => self.invalid.push((format!("-{letter}"), String::new())),
            };
        }
        for letter in letters.chars() {
            match self.find_short(letter) {
                Some(option) if option.value == Value::None => {
                    self.options.push((option.name, String::new()));
                }
                _ => self.invalid.push((format!("-{letter}"), String::new())),
            }
        }
    }

    fn option_given(
        &mut self,
        written: &str,
        option: &'static Opt,
        given: Option<String>,
        rest: &mut impl Iterator<Item = String>,
    ) {
        let value = match option.value {
            Value::None => given.unwrap_or_default(),
            Value::Text | Value::Number => match given.or_else(|| rest.next()) {
                Some(value) => value,
                None => return self.invalid.push((written.to_owned(), String::new())),
            },
        };
        let makes_sense = match option.value {
            Value::None => matches!(value.as_str(), "" | "true" | OFF),
            Value::Text => true,
            Value::Number if option.name == "timeout" => value.parse::<u32>().is_ok(),
            Value::Number => value.parse::<i64>().is_ok(),
        };
        if makes_sense {
            self.options.push((option.name, value));
        } else {
            self.invalid.push((written.to_owned(), value));
        }
    }

    fn known(&self) -> impl Iterator<Item = &'static Opt> {
        let own = self.command.map_or(&[][..], |command| command.options);
        own.iter().chain(GLOBAL)
    }

    /// The option of a name without its hyphens.
    fn find(&self, name: &str) -> Option<&'static Opt> {
        self.known().find(|option| option.name == name)
    }

    fn find_short(&self, letter: char) -> Option<&'static Opt> {
        self.known().find(|option| option.short == Some(letter))
    }

    /// The option that a word names whose value has still to follow.
    pub(crate) fn unfinished(&self, word: &str) -> Option<&'static Opt> {
        let body = word.strip_prefix('-')?;
        let option = match body.strip_prefix('-') {
            Some(name) => self.find(name),
            None => self
                .known()
                .find(|option| option.short.is_some_and(|short| body == short.to_string())),
        }?;
        (option.value != Value::None).then_some(option)
    }

    /// Whether an option was given, and a switch was not switched off again.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.option(name).is_some_and(|value| value != OFF)
    }

    /// Whether a switch was switched off.
    pub(crate) fn is_off(&self, name: &str) -> bool {
        self.option(name) == Some(OFF)
    }

    /// Whether tables are to have no names of columns.
    pub(crate) fn is_without_headers(&self) -> bool {
        self.has("silent") || self.is_off("table-headers")
    }

    /// The value of an option, the last one if there are more.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of an option that may be given several times.
    pub(crate) fn options_of(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options
            .iter()
            .filter(move |(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }

    /// Sets an option, for a command that runs others.
    pub(crate) fn set_option(&mut self, name: &'static str, value: String) {
        self.options.push((name, value));
    }

    /// How long to wait, if it was said.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let seconds = self.option("timeout")?.parse().ok()?;
        Some(Duration::from_secs(seconds))
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
        let Some(value) = self.option("table-headers") else {
            return Ok(());
        };
        let name = if value == OFF {
            "no-table-headers"
        } else {
            "table-headers"
        };
        Err(Failure::usage(format!(
            "Invalid options for this command:\n--{name} : "
        )))
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
    fn switches_can_be_switched_off_and_put_together() {
        assert!(read(&["list_users", "-qs"]).has("silent"));
        assert!(read(&["list_users", "--quiet=true"]).has("quiet"));
        assert!(!read(&["list_users", "-q", "--no-quiet"]).has("quiet"));
        assert!(read(&["list_users", "--no-table-headers"]).is_without_headers());
        assert!(read(&["shutdown", "--no-wait"]).is_off("wait"));
        let wrong = |words: &[&str]| read(words).invalid;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(wrong(&["list_users", "-qz"]), [pair("-z", "")]);
        assert_eq!(wrong(&["list_users", "--quiet=1"]), [pair("--quiet", "1")]);
        assert_eq!(wrong(&["list_users", "--bogus=1"]), [pair("--bogus", "")]);
        for timeout in ["-1", "1.5", "infinity"] {
            assert_eq!(wrong(&["list_users", "-t", timeout]), [pair("-t", timeout)]);
        }
    }

    #[test]
    fn a_commands_own_options_may_stand_in_front_of_it() {
        let read = read(&["--offline", "list_queues", "name"]);
        assert!(read.has("offline"));
        assert!(read.invalid.is_empty());
        assert_eq!(read.values, ["name"]);
    }

    #[test]
    fn negative_numbers_are_values() {
        assert_eq!(read(&["set_user_limits", "u", "-1"]).values, ["u", "-1"]);
    }
}
