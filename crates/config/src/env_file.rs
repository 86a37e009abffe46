//! `rabbitmq-env.conf`: a few lines of shell that set variables.
//!
//! ```text
//! # a comment
//! NODENAME=rabbit2                      the prefix RABBITMQ_ may be left out
//! export RABBITMQ_LOG_BASE="$HOME/log"  quotes, $NAME and ${NAME} as in a shell
//! ```
//!
//! RabbitMQ gives this file to a shell. This module runs nothing: assignments, comments and `export` are read, and every other line
//! is a problem with its number, so that an operator knows which line does not hold here.

use crate::error::{Place, Problem, beginning};
use std::collections::BTreeMap;

/// Longest value in bytes: variables may hold each other, and would grow without a bound.
const VALUE_SIZE_MAX_BYTES: usize = 64 << 10;

/// Reads the text of the file; `variable` looks a variable of the real environment up.
///
/// The result has the names as RabbitMQ knows them, with `RABBITMQ_` in front, and under the names that were written.
pub(crate) fn parse(
    file: &str,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (BTreeMap<String, String>, Vec<Problem>) {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let look_up = |name: &str| values.get(name).cloned().or_else(|| variable(name));
        match parse_line(line.trim(), &look_up) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if !name.starts_with("RABBITMQ_") {
                    values.insert(format!("RABBITMQ_{name}"), value.clone());
                }
                values.insert(name, value);
            }
            Err(expected) => problems.push(Problem::Syntax {
                place: Place {
                    file: file.to_owned(),
                    line: index + 1,
                },
                text: beginning(line),
                expected,
            }),
        }
    }
    (values, problems)
}

fn parse_line(
    line: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or("NAME=value")?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err("NAME=value");
    }
    Ok(Some((name.to_owned(), word(value, variable)?)))
}

/// One word of a shell, and nothing but a comment behind it.
fn word(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if out.len() > VALUE_SIZE_MAX_BYTES {
            return Err("a value of at most 64 KiB");
        }
        let behind = &rest[first.len_utf8()..];
        rest = match first {
            ' ' | '\t' => return end(behind).map(|()| out),
            '\'' => {
                let (inside, behind) = behind.split_once('\'').ok_or("a closing single quote")?;
                out.push_str(inside);
                behind
            }
            '"' => double_quoted(behind, &mut out, variable)?,
            '$' => dollar(behind, &mut out, variable)?,
            '\\' => {
                let escaped = behind.chars().next().ok_or("a character behind '\\'")?;
                out.push(escaped);
                &behind[escaped.len_utf8()..]
            }
            '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => {
                return Err("a value without commands: this file is read, not run");
            }
            other => {
                out.push(other);
                behind
            }
        };
    }
    Ok(out)
}

fn end(behind: &str) -> Result<(), &'static str> {
    let behind = behind.trim_start();
    if behind.is_empty() || behind.starts_with('#') {
        Ok(())
    } else {
        Err("one value; put quotes around one with spaces")
    }
}

/// What stands up to the closing quote goes to `out`; returns what is behind it.
fn double_quoted<'a>(
    text: &'a str,
    out: &mut String,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<&'a str, &'static str> {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if out.len() > VALUE_SIZE_MAX_BYTES {
            return Err("a value of at most 64 KiB");
        }
        let behind = &rest[first.len_utf8()..];
        rest = match first {
            '"' => return Ok(behind),
            '$' => dollar(behind, out, variable)?,
            '`' => return Err("a value without commands: this file is read, not run"),
            '\\' => match behind.chars().next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => {
                    out.push(escaped);
                    &behind[1..]
                }
                _ => {
                    out.push('\\');
                    behind
                }
            },
            other => {
                out.push(other);
                behind
            }
        };
    }
    Err("a closing double quote")
}

/// `NAME` or `{NAME}` behind a dollar sign; a variable that is not set is empty, as in a shell.
fn dollar<'a>(
    text: &'a str,
    out: &mut String,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<&'a str, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, behind) = match text.strip_prefix('{') {
        Some(inside) => inside.split_once('}').ok_or("'}' behind '${'")?,
        None => text.split_at(text.find(|c| !is_plain(c)).unwrap_or(text.len())),
    };
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err("$NAME or ${NAME}: this file is read, not run");
    }
    out.push_str(&variable(name).unwrap_or_default());
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
        let variable = |name: &str| (name == "HOME").then(|| "/home/anna".to_owned());
        let (values, problems) = parse("env", text, &variable);
        (values, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn assignments_are_read_as_a_shell_would() {
        let (values, problems) = read(
            "# one\n\nNODENAME=rabbit2\nexport RABBITMQ_LOG_BASE=\"$HOME/log files\" # x\n\
             MNESIA_BASE=${RABBITMQ_LOG_BASE}'/$HOME'\nEMPTY=\nA=a\\ b\\\"\nB=\"x\\$y \\z\"\nC=x$NOTHING-y\n",
        );
        assert_eq!(problems, [""; 0]);
        for (name, value) in [
            ("RABBITMQ_NODENAME", "rabbit2"),
            ("NODENAME", "rabbit2"),
            ("RABBITMQ_LOG_BASE", "/home/anna/log files"),
            ("RABBITMQ_MNESIA_BASE", "/home/anna/log files/$HOME"),
            ("RABBITMQ_EMPTY", ""),
            ("A", "a b\""),
            ("B", "x$y \\z"),
            ("C", "x-y"),
        ] {
            assert_eq!(values.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_refused_with_its_line() {
        let (values, problems) = read(
            "A=$(hostname)\nif true; then\nB=`date`\nC=\"open\nD=a b\nE=x;y\nF=${X:-y}\n1A=x\nG='open\nH=1",
        );
        assert_eq!(values.get("H").map(String::as_str), Some("1"));
        assert_eq!(values.len(), 2);
        let lines: Vec<_> = problems
            .iter()
            .map(|text| text.split(": ").next().unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                "env:1", "env:2", "env:3", "env:4", "env:5", "env:6", "env:7", "env:8", "env:9"
            ]
        );
        assert_eq!(
            problems[5],
            "env:6: cannot read \"E …\": expected a value without commands: this file is read, not run"
        );
    }

    #[test]
    fn values_cannot_grow_without_a_bound() {
        let mut text = "A=xxxxxxxxxxxxxxxx\n".to_owned();
        for _ in 0..40 {
            text += "A=$A$A\n";
        }
        let (values, problems) = read(&text);
        assert!(values["A"].len() <= 2 * VALUE_SIZE_MAX_BYTES);
        assert!(!problems.is_empty());
    }
}
