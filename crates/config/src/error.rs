//! What can be wrong with a configuration.
//!
//! A node that finds a problem does not start, and it names all of them at once, so that one restart is enough to fix a file.

use std::fmt;
use thiserror::Error;

/// A line of a configuration file, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// The line.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One thing to put right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(
    missing_docs,
    reason = "the message text above each variant says what its fields are"
)]
pub enum Problem {
    /// The wording of the first sentence is RabbitMQ's: operators search for it.
    #[error(
        "{place}: You've tried to set {key}, but there is no setting with that name.{}",
        DidYouMean(similar)
    )]
    UnknownKey {
        place: Place,
        key: String,
        similar: Vec<&'static str>,
    },
    /// A key of RabbitMQ that would have no effect here, though it should have one.
    #[error("{place}: {key} cannot be set: {reason}")]
    Refused {
        place: Place,
        key: String,
        reason: &'static str,
    },
    /// The wording is RabbitMQ's.
    #[error("{place}: Error transforming datatype for: {key}: {}", lines.join("; "))]
    Datatype {
        place: Place,
        key: String,
        lines: Vec<String>,
    },
    /// The wording is RabbitMQ's.
    #[error("{place}: {key} invalid, {reason}")]
    Invalid {
        place: Place,
        key: String,
        reason: &'static str,
    },
    #[error("{place}: {key} = {value}: expected {expected}")]
    BadValue {
        place: Place,
        key: String,
        value: String,
        expected: String,
    },
    #[error("{place}: cannot read {text:?}: expected {expected}")]
    Syntax {
        place: Place,
        /// As `beginning` makes it.
        text: String,
        expected: &'static str,
    },
    #[error("{place}: environment variable {name} is not set")]
    UnsetVariable { place: Place, name: String },
    #[error("environment variable {name} = {value}: expected {expected}")]
    BadVariable {
        name: &'static str,
        value: String,
        expected: String,
    },
    #[error("environment variable {name} cannot be set: {reason}")]
    RefusedVariable {
        name: &'static str,
        reason: &'static str,
    },
    #[error("{place}: expected {expected}")]
    ErlangSyntax {
        place: Place,
        expected: &'static str,
    },
    #[error("{place}: {path}: expected {expected}")]
    ErlangSetting {
        place: Place,
        path: String,
        expected: &'static str,
    },
    #[error("{place}: You've tried to set {path}, but there is no setting with that name.")]
    ErlangUnknown { place: Place, path: String },
    /// The wording is RabbitMQ's.
    #[error(
        "{place}: {{{{invalid_cluster_node_type,{kind}}},\"In the 'cluster_nodes' configuration key, the node type is \
         invalid (expected 'disc'): {kind}\"}}"
    )]
    NodeType { place: Place, kind: String },
    #[error("{place}: {key} cannot be decrypted: {reason}")]
    Encrypted {
        place: Place,
        key: String,
        reason: &'static str,
    },
    #[error("read configuration file {file}: {reason}")]
    Unreadable { file: String, reason: String },
    #[error("{because} needs {key}")]
    Missing {
        key: &'static str,
        because: &'static str,
    },
    #[error("set {first} or {second}, not both")]
    Conflict {
        first: &'static str,
        second: &'static str,
    },
    #[error("no directory for data: set RABBITMQ_MNESIA_BASE, RABBITMQ_MNESIA_DIR or HOME")]
    NoDataDirectory,
}

impl Problem {
    /// A value that has none of the types of its key; `lines` is empty if only units would have done.
    pub(crate) fn datatype(place: &Place, key: &str, lines: Vec<String>) -> Self {
        let (place, key) = (place.clone(), key.to_owned());
        if lines.is_empty() {
            let reason = "supported formats: 500MB, 500MiB, 10GB, 10GiB, 2TB, 2TiB, 10000000000";
            return Self::Invalid { place, key, reason };
        }
        Self::Datatype { place, key, lines }
    }
}

/// The suggestions behind an unknown key, if there are any.
struct DidYouMean<'a>(&'a [&'static str]);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " Did you mean one of these? {}", self.0.join(", "))
    }
}

/// Everything that is wrong with a configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, in the order in which they were found.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The part of a line that cannot be read by which an operator finds it; the rest may be a secret.
pub(crate) fn beginning(line: &str) -> String {
    let line = line.trim();
    let ends = |c: char| c.is_whitespace() || "='\"<".contains(c);
    match line.find(ends) {
        Some(end) => format!("{} …", &line[..end]),
        None => line.to_owned(),
    }
}
