//! What values look like, and RabbitMQ's words for those that do not.
//!
//! A [`Kind`] is a list of [`Type`]s of which a value must have one. It says nothing of what a value means: a row's own code does,
//! and may refuse more.

use crate::size;
use std::net::{Ipv6Addr, SocketAddr};

/// The types of which a value must have one, in the order in which they are tried.
pub type Kind = &'static [Type];

/// One form of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// A whole number, both ends included.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number with a decimal point; one without is taken too.
    Float,
    /// A number above 0 and below 1.
    Fraction,
    /// Any text.
    Text,
    /// A text that no message and no log shows; may be written `encrypted:…`.
    Secret,
    /// Bytes, every unit a power of 2.
    Size,
    /// Bytes, `MB` a power of 10 and `MiB` a power of 2.
    Unit,
    /// Milliseconds, or `1h30m`.
    Duration,
    /// `address:port`.
    Address,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

use Type::*;

const fn integer(min: i64, max: i64) -> Type {
    Integer { min, max }
}

pub(super) const BOOLEAN: Kind = &[Boolean];
pub(super) const TEXT: Kind = &[Text];
pub(super) const SECRET: Kind = &[Secret];
pub(super) const INTEGER: Kind = &[integer(i64::MIN, i64::MAX)];
pub(super) const INTEGER_OR_UNIT: Kind = &[integer(i64::MIN, i64::MAX), Unit];
pub(super) const NON_NEGATIVE: Kind = &[integer(0, i64::MAX)];
pub(super) const POSITIVE: Kind = &[integer(1, i64::MAX)];
pub(super) const BYTE: Kind = &[integer(0, 255)];
pub(super) const WORD: Kind = &[integer(1, 65_535)];
pub(super) const DOUBLE_WORD: Kind = &[integer(1, 4_294_967_295)];
pub(super) const FLOAT: Kind = &[Float];
pub(super) const FRACTION: Kind = &[Fraction];
pub(super) const SIZE: Kind = &[Size];
pub(super) const UNIT: Kind = &[Unit];
pub(super) const DURATION: Kind = &[Duration];
pub(super) const LISTENER: Kind = &[integer(0, 65_535), Address];
pub(crate) const NONE: Kind = &[OneOf(&["none"])];
pub(super) const NONE_OR_ADDRESS: Kind = &[OneOf(&["none"]), Address];
pub(super) const OR_INFINITY: Kind = &[OneOf(&["infinity"]), integer(i64::MIN, i64::MAX)];
pub(super) const OR_UNLIMITED: Kind = &[OneOf(&["unlimited"]), integer(i64::MIN, i64::MAX)];
pub(super) const TIMEOUT: Kind = &[
    OneOf(&["undefined", "infinity"]),
    integer(i64::MIN, i64::MAX),
];
pub(super) const OFF_OR_INTEGER: Kind = &[OneOf(&["off"]), integer(i64::MIN, i64::MAX)];
pub(super) const OFF_OR_DURATION: Kind = &[OneOf(&["off"]), Duration];
pub(super) const OFF_OR_SIZE: Kind = &[OneOf(&["off"]), Size];
pub(super) const FLAG: Kind = &[OneOf(&["on", "off"])];
pub(super) const VERIFY: Kind = &[OneOf(&["verify_peer", "verify_none"])];
pub(super) const CRL_CHECK: Kind = &[OneOf(&["true", "false", "peer", "best_effort"])];
pub(super) const WILDCARD: Kind = &[OneOf(&["wildcard", "none"])];
pub(super) const FORMATTER: Kind = &[OneOf(&["plaintext", "json"])];
pub(super) const LEVEL_FORMAT: Kind = &[OneOf(&["lc", "uc", "lc3", "uc3", "lc4", "uc4"])];
pub(super) const LOG_LEVEL: Kind = &[OneOf(&[
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
    "none",
])];
pub(super) const FACILITY: Kind = &[OneOf(&[
    "kern", "kernel", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
    "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3",
    "local4", "local5", "local6", "local7",
])];

/// Whether the value has one of the types.
///
/// # Errors
/// Why it has none, in RabbitMQ's words: a line for each type.
pub(crate) fn check(kind: Kind, value: &str) -> Result<(), Vec<String>> {
    let mut lines = Vec::new();
    for one in kind {
        match one.check(value) {
            Ok(()) => return Ok(()),
            Err(line) => lines.extend(line),
        }
    }
    Err(lines)
}

/// Whether values of this kind are kept out of messages and logs.
pub(crate) fn is_secret(kind: Kind) -> bool {
    kind.contains(&Secret)
}

/// The kind in words, for documents.
pub fn describe(kind: Kind) -> String {
    let words: Vec<_> = kind.iter().map(Type::describe).collect();
    words.join(" or ")
}

impl Type {
    fn check(&self, value: &str) -> Result<(), Option<String>> {
        let cannot = |what: &str| Some(format!("\"{value}\" cannot be converted to a(n) {what}"));
        let ok = match self {
            Text | Secret => true,
            Boolean => {
                return value
                    .parse::<bool>()
                    .map(drop)
                    .map_err(|_| cannot("boolean"));
            }
            Integer { min, max } => {
                let number: i64 = value.parse().map_err(|_| cannot("integer"))?;
                return match number {
                    n if n < *min => Err(Some(format!(
                        "{value} is below the minimum allowed value of {min}"
                    ))),
                    n if n > *max => Err(Some(format!(
                        "{value} exceeds the maximum allowed value of {max}"
                    ))),
                    _ => Ok(()),
                };
            }
            Float => return value.parse::<f64>().map(drop).map_err(|_| cannot("float")),
            Fraction => {
                let number: f64 = value.parse().map_err(|_| cannot("float"))?;
                return match number {
                    n if n <= 0.0 => Err(Some(format!("{value} must be strictly greater than 0"))),
                    n if n >= 1.0 => Err(Some(format!("{value} must be strictly less than 1"))),
                    _ => Ok(()),
                };
            }
            Size => {
                return size::parse_byte_size(value)
                    .map(drop)
                    .ok_or_else(|| cannot("bytesize"));
            }
            // Only a validator of RabbitMQ's knows units, so another type of the same key speaks first.
            Unit => return size::parse_information_unit(value).map(drop).ok_or(None),
            Duration => size::parse_duration_ms(value).is_some(),
            Address => {
                return if is_address(value) {
                    Ok(())
                } else {
                    Err(cannot("IP"))
                };
            }
            OneOf(words) => words.contains(&value),
        };
        if ok {
            return Ok(());
        }
        Err(Some(match self {
            OneOf([word @ ("infinity" | "off" | "unlimited")]) => {
                format!("\"{value}\" is not accepted value: {word}")
            }
            OneOf(words) => format!(
                "\"{value}\" is not a valid enum value, acceptable values are: {}",
                words.join(", ")
            ),
            Boolean
            | Integer { .. }
            | Float
            | Fraction
            | Text
            | Secret
            | Size
            | Unit
            | Duration
            | Address => format!("Invalid duration value: {value}"),
        }))
    }

    fn describe(&self) -> String {
        match self {
            Boolean => "`true` or `false`".to_owned(),
            Integer { min, max } if *min == i64::MIN && *max == i64::MAX => "integer".to_owned(),
            Integer { min, max } if *max == i64::MAX => format!("integer from {min}"),
            Integer { min, max } => format!("integer from {min} to {max}"),
            Float => "number".to_owned(),
            Fraction => "number above 0 and below 1".to_owned(),
            Text => "text".to_owned(),
            Secret => "secret".to_owned(),
            Size | Unit => "size".to_owned(),
            Duration => "duration".to_owned(),
            Address => "`address:port`".to_owned(),
            OneOf(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                quoted.join(", ")
            }
        }
    }
}

fn is_address(value: &str) -> bool {
    value.parse::<SocketAddr>().is_ok()
        || value
            .rsplit_once(':')
            .is_some_and(|(ip, port)| ip.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, value: &str) -> String {
        check(kind, value).unwrap_err().join("; ")
    }

    #[test]
    fn complaints_are_rabbitmqs() {
        for (kind, value, text) in [
            (
                INTEGER,
                "abc",
                "\"abc\" cannot be converted to a(n) integer",
            ),
            (BYTE, "300", "300 exceeds the maximum allowed value of 255"),
            (POSITIVE, "0", "0 is below the minimum allowed value of 1"),
            (
                BOOLEAN,
                "maybe",
                "\"maybe\" cannot be converted to a(n) boolean",
            ),
            (FLOAT, "x", "\"x\" cannot be converted to a(n) float"),
            (
                OR_INFINITY,
                "x",
                "\"x\" is not accepted value: infinity; \"x\" cannot be converted to a(n) integer",
            ),
            (
                LISTENER,
                "localhost",
                "\"localhost\" cannot be converted to a(n) integer; \"localhost\" cannot be converted to a(n) IP",
            ),
            (
                VERIFY,
                "verify_maybe",
                "\"verify_maybe\" is not a valid enum value, acceptable values are: verify_peer, verify_none",
            ),
            (DURATION, "1q", "Invalid duration value: 1q"),
        ] {
            assert_eq!(refused(kind, value), text);
        }
    }

    #[test]
    fn one_type_of_several_is_enough() {
        for (kind, value) in [
            (OR_INFINITY, "infinity"),
            (OR_INFINITY, "-1"),
            (LISTENER, "::1:5672"),
            (LISTENER, "127.0.0.1:5672"),
            (LISTENER, "0"),
            (INTEGER_OR_UNIT, "16MB"),
            (DURATION, "1h30m"),
        ] {
            assert_eq!(check(kind, value), Ok(()), "{value}");
        }
    }
}
