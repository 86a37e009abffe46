//! What can be wrong with bytes from a peer, with the words RabbitMQ has for it.
//!
//! Turning an error into a reply code and a close method is the frontend's part.

use std::fmt;

/// Bytes of a broken payload that are kept for the error text.
const EXCERPT_SIZE_MAX: usize = 16;

/// Bytes of broken method arguments that are kept for the error text, which is cut at 255 characters anyway.
const ARGUMENTS_KEPT_MAX: usize = 256;

/// The input is not a frame. `Display` is what RabbitMQ writes after `FRAME_ERROR - `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{frame}: {cause}")]
pub struct FrameError {
    /// The frame as far as it is known.
    pub frame: FrameDescription,
    /// What is wrong with it.
    pub cause: FrameErrorCause,
}

impl FrameError {
    #[cold]
    pub(crate) fn new(kind: u8, payload: &[u8], cause: FrameErrorCause) -> Self {
        Self {
            frame: FrameDescription::new(kind, payload),
            cause,
        }
    }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameErrorCause {
    /// The octet after the payload is this one instead of 0xCE.
    InvalidEndMarker(u8),
    /// The payload is larger than negotiated.
    TooLarge {
        /// Payload size announced, in bytes.
        size: u32,
        /// Payload size allowed, in bytes.
        max: u64,
    },
    /// The frame type does not exist, or the payload cannot be of that type (a heartbeat that carries something, a
    /// method without ids).
    UnknownFrame,
}

impl fmt::Display for FrameErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidEndMarker(octet) => write!(f, "{{invalid_frame_end_marker,{octet}}}"),
            Self::TooLarge { size, max } => write!(f, "{{frame_too_large,{size},{max}}}"),
            Self::UnknownFrame => f.write_str("unknown_frame"),
        }
    }
}

/// Type and first bytes of a frame; `Display` writes `type 1, all octets = <<0,10>>` or
/// `type 1, first 16 octets = …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameDescription {
    /// The type octet as it came.
    pub kind: u8,
    excerpt: [u8; EXCERPT_SIZE_MAX],
    payload_size: usize,
}

impl FrameDescription {
    pub(crate) fn new(kind: u8, payload: &[u8]) -> Self {
        let mut excerpt = [0; EXCERPT_SIZE_MAX];
        let kept = payload.len().min(EXCERPT_SIZE_MAX);
        excerpt[..kept].copy_from_slice(&payload[..kept]);
        Self {
            kind,
            excerpt,
            payload_size: payload.len(),
        }
    }

    /// The first bytes of the payload, at most 16.
    pub fn payload_excerpt(&self) -> &[u8] {
        &self.excerpt[..self.payload_size.min(EXCERPT_SIZE_MAX)]
    }
}

impl fmt::Display for FrameDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = if self.payload_size > EXCERPT_SIZE_MAX {
            "first 16"
        } else {
            "all"
        };
        write!(
            f,
            "type {}, {part} octets = {}",
            self.kind,
            ErlangBinary(self.payload_excerpt())
        )
    }
}

/// A payload cannot be read.
///
/// `Display` of [`Truncated`](Self::Truncated) and [`Trailing`](Self::Trailing) is what RabbitMQ writes after
/// `FRAME_ERROR - `. For the others it has no words: it drops the socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no such method.
    #[error("unknown method {method_id} of class {class_id}")]
    UnknownMethod {
        /// Class id as it came.
        class_id: u16,
        /// Method id as it came.
        method_id: u16,
    },
    /// Arguments, or properties, end too early.
    #[error("cannot decode {}", ErlangBinary(.arguments))]
    Truncated {
        /// Their first bytes.
        arguments: Box<[u8]>,
    },
    /// Something follows the last argument, or property.
    #[error("cannot decode {}", ErlangBinary(.arguments))]
    Trailing {
        /// Their first bytes.
        arguments: Box<[u8]>,
    },
    /// Property flags that no property has, or a continuation of the flags, which no class needs.
    #[error("unknown property flags {flags:#06x}")]
    UnknownPropertyFlags {
        /// The flag word as it came.
        flags: u16,
    },
    /// A field of a table or array has a type that does not exist.
    #[error("unknown field type {tag}")]
    UnknownFieldType {
        /// The type octet as it came.
        tag: u8,
    },
    /// A table or array ends in the middle of a field: a length in it, or its own length, is wrong.
    #[error("table or array ends in the middle of a field")]
    TableTruncated,
    /// Tables and arrays are nested deeper than [`TABLE_DEPTH_MAX`](crate::value::TABLE_DEPTH_MAX).
    #[error("tables or arrays are nested too deep")]
    NestingTooDeep,
    /// A table or array, with all that is nested in it, has more than
    /// [`TABLE_FIELD_COUNT_MAX`](crate::value::TABLE_FIELD_COUNT_MAX) fields.
    #[error("table or array has too many fields")]
    TooManyFields,
}

impl DecodeError {
    #[cold]
    pub(crate) fn truncated(arguments: &[u8]) -> Self {
        Self::Truncated {
            arguments: kept(arguments),
        }
    }

    #[cold]
    pub(crate) fn trailing(arguments: &[u8]) -> Self {
        Self::Trailing {
            arguments: kept(arguments),
        }
    }
}

fn kept(arguments: &[u8]) -> Box<[u8]> {
    arguments[..arguments.len().min(ARGUMENTS_KEPT_MAX)].into()
}

/// Writes bytes as Erlang's `~tp` does, which is how RabbitMQ's reply texts show them: `<<"abc">>` if all of it is
/// printable, `<<0,10>>` if not.
///
/// Why not wrap long ones at column 80 as Erlang does: no client compares that, and reply texts are short.
#[derive(Clone, Copy, Debug)]
pub struct ErlangBinary<'a>(
    /// The bytes to show.
    pub &'a [u8],
);

impl fmt::Display for ErlangBinary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        if bytes.is_empty() {
            return f.write_str("<<>>");
        }
        // Latin-1 is tried first, so "é" in UTF-8 shows as two characters; only then is it read as UTF-8.
        if bytes.iter().all(|byte| is_printable(char::from(*byte))) {
            f.write_str("<<")?;
            write_quoted(f, bytes.iter().map(|byte| char::from(*byte)))?;
            return f.write_str(">>");
        }
        if let Ok(text) = std::str::from_utf8(bytes)
            && text.chars().all(is_printable)
        {
            f.write_str("<<")?;
            write_quoted(f, text.chars())?;
            return f.write_str("/utf8>>");
        }
        let mut separator = "<<";
        for byte in bytes {
            write!(f, "{separator}{byte}")?;
            separator = ",";
        }
        f.write_str(">>")
    }
}

fn is_printable(char: char) -> bool {
    escaped(char).is_some() || matches!(char, ' '..='~' | '\u{a0}'..)
}

/// The letter that follows a backslash for this character.
fn escaped(char: char) -> Option<char> {
    Some(match char {
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => char,
        _ => return None,
    })
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: impl Iterator<Item = char>) -> fmt::Result {
    use fmt::Write as _;
    f.write_char('"')?;
    for char in text {
        match escaped(char) {
            Some(letter) => write!(f, "\\{letter}")?,
            None => f.write_char(char)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_show_as_erlang_shows_them() {
        for (bytes, expect) in [
            (&b""[..], "<<>>"),
            (b"abc", "<<\"abc\">>"),
            (b"\0", "<<0>>"),
            (b"a\0", "<<97,0>>"),
            (b"a\n\"\\", "<<\"a\\n\\\"\\\\\">>"),
            (b"\x7f", "<<127>>"),
            ("\u{c0}".as_bytes(), "<<\"\u{c0}\"/utf8>>"),
            (b"\xff", "<<\"\u{ff}\">>"),
        ] {
            assert_eq!(ErlangBinary(bytes).to_string(), expect);
        }
    }
}
