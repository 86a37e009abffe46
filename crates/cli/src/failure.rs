//! Why a command did not do what it was asked for, with the exit code that scripts look at.
//!
//! The codes are those of sysexits.h, as RabbitMQ's tools use them.

/// Wrong command line, or the broker is not in the state that the command needs.
pub(crate) const USAGE: u8 = 64;
/// An argument that makes no sense, or an object that is not there.
pub(crate) const DATA: u8 = 65;
/// No such user.
pub(crate) const NO_USER: u8 = 67;
/// The node cannot be reached, or refuses.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Something that should not happen, and things that exist already.
pub(crate) const SOFTWARE: u8 = 70;
/// It took too long.
pub(crate) const TIMEOUT: u8 = 75;
/// A file cannot be read or written.
pub(crate) const FILE: u8 = 74;

/// How a failure is told on the standard error stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As a wrong command line: with the arguments and how the command is used.
    Validation,
    /// The same without the words in front.
    State,
    /// Below a line `Error:`.
    Error,
    /// As it is.
    Plain,
    /// Not at all: it only ends a command that was to do nothing.
    Silent,
}

/// A failure of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What happened; may have more than one line.
    pub(crate) text: String,
    /// How it is told.
    pub(crate) shape: Shape,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(USAGE, Shape::Validation, text)
    }

    /// An argument is wrong.
    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(DATA, Shape::Validation, text)
    }

    /// The broker has to be started or stopped before.
    pub(crate) fn state(text: impl Into<String>) -> Self {
        Self::new(USAGE, Shape::State, text)
    }

    /// Below `Error:`.
    pub(crate) fn error(code: u8, text: impl Into<String>) -> Self {
        Self::new(code, Shape::Error, text)
    }

    /// Only the text.
    pub(crate) fn plain(code: u8, text: impl Into<String>) -> Self {
        Self::new(code, Shape::Plain, text)
    }

    /// The end of a command that was to ask the node nothing.
    pub(crate) fn silent() -> Self {
        Self::new(0, Shape::Silent, "")
    }

    /// A vhost that is not there.
    pub(crate) fn no_vhost(vhost: &str) -> Self {
        Self::plain(DATA, format!("Virtual host '{vhost}' does not exist"))
    }

    fn new(code: u8, shape: Shape, text: impl Into<String>) -> Self {
        Self {
            code,
            shape,
            text: text.into(),
        }
    }
}
