//! What a start says that a configuration stops, laid out as RabbitMQ does, so that operators and scripts find what they look for.
//!
//! The lines of RabbitMQ stay as they are; what is said beyond them (file and line) is on lines of its own.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most problems are told in their own words"
)]

use crate::error::{ConfigError, Problem};
use std::fmt;

/// The whole text, several lines.
#[derive(Debug)]
pub struct BootFailure<'a>(pub &'a ConfigError);

impl fmt::Display for BootFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = &self.0.problems;
        for problem in problems {
            match problem {
                Problem::UnknownKey {
                    place,
                    key,
                    similar,
                } => {
                    writeln!(
                        f,
                        "You've tried to set {key}, but there is no setting with that name."
                    )?;
                    writeln!(f, "  at {place}")?;
                    if !similar.is_empty() {
                        writeln!(f, "  Did you mean one of these?")?;
                    }
                    for name in similar {
                        writeln!(f, "    {name}")?;
                    }
                }
                Problem::Invalid { place, key, reason } => {
                    writeln!(f, "{key} invalid, {reason}\n  at {place}")?;
                }
                Problem::Datatype { .. } => {}
                _ => writeln!(f, "{problem}")?,
            }
        }
        let mut of_phase = problems.iter().filter(|problem| is_of_phase(problem));
        if let Some(first) = of_phase.next() {
            f.write_str("Error preparing configuration in phase transform_datatypes:\n")?;
            for problem in std::iter::once(first).chain(of_phase) {
                write_of_phase(f, problem)?;
            }
        }
        f.write_str(
            "\nBOOT FAILED\n===========\nError during startup: {error,failed_to_prepare_configuration}\n",
        )
    }
}

/// Whether RabbitMQ reports it at the end of its second step.
fn is_of_phase(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Datatype { .. } | Problem::UnknownKey { .. }
    )
}

fn write_of_phase(f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
    match problem {
        Problem::Datatype { place, key, lines } => {
            writeln!(f, "  - Error transforming datatype for: {key}")?;
            for line in lines {
                writeln!(f, "  - {line}")?;
            }
            writeln!(f, "    at {place}")
        }
        Problem::UnknownKey { key, .. } => {
            writeln!(f, "  - Conf file attempted to set unknown variable: {key}")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Place;

    #[test]
    fn it_looks_as_rabbitmqs() {
        let place = |line| Place {
            file: "/etc/rabbitmq/rabbitmq.conf".to_owned(),
            line,
        };
        let error = ConfigError {
            problems: vec![
                Problem::UnknownKey {
                    place: place(1),
                    key: "heartbaet".to_owned(),
                    similar: vec!["heartbeat", "default_pass"],
                },
                Problem::Datatype {
                    place: place(2),
                    key: "handshake_timeout".to_owned(),
                    lines: vec!["\"x\" is bad".to_owned(), "\"x\" is worse".to_owned()],
                },
                Problem::Refused {
                    place: place(3),
                    key: "mqtt.vhost".to_owned(),
                    reason: "MQTT is not supported yet",
                },
            ],
        };
        assert_eq!(
            BootFailure(&error).to_string(),
            "You've tried to set heartbaet, but there is no setting with that name.
  at /etc/rabbitmq/rabbitmq.conf:1
  Did you mean one of these?
    heartbeat
    default_pass
/etc/rabbitmq/rabbitmq.conf:3: mqtt.vhost cannot be set: MQTT is not supported yet
Error preparing configuration in phase transform_datatypes:
  - Conf file attempted to set unknown variable: heartbaet
  - Error transforming datatype for: handshake_timeout
  - \"x\" is bad
  - \"x\" is worse
    at /etc/rabbitmq/rabbitmq.conf:2

BOOT FAILED
===========
Error during startup: {error,failed_to_prepare_configuration}
"
        );
    }
}
