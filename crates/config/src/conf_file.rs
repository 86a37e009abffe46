//! The syntax of `rabbitmq.conf`: lines of `key = value`.
//!
//! ```text
//! # a comment
//! listeners.tcp.default = 5672          # another
//! default_pass = 's3cr#t'               single quotes keep # and outer spaces
//! default_user = $(BROKER_USER)         an environment variable, whole or part of a value
//! auth_ldap.queries.tags = '''          three single quotes keep all lines up to the next three
//!   [{management, {constant, true}}]
//! '''
//! ```
//!
//! This module knows no key: [`super::schema`] says what they mean. It reads text that is already in memory and never a file
//! or the environment. Invariant: one entry at most for each line, so the output is bounded by the input.

use super::error::{Place, Problem, beginning};

/// One `key = value` of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key as written, for example `listeners.tcp.default`.
    pub key: String,
    /// The value without quotes, variables replaced.
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

/// Reads the text of one file; `variable` looks an environment variable up.
///
/// Entries come in the order of the file. Lines that cannot be read are returned as problems, all of them, beside the entries
/// of the other lines.
pub fn parse(
    file: &str,
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (Vec<Entry>, Vec<Problem>) {
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let place = Place {
            file: file.to_owned(),
            line: index + 1,
        };
        let mut rest = || lines.next().map(|(_, line)| line);
        let parsed = match parse_block(line, &mut rest, variable) {
            Ok(None) => parse_line(line, variable),
            parsed => parsed,
        };
        match parsed {
            Ok(Some((key, value))) => entries.push(Entry { key, value, place }),
            Ok(None) => {}
            Err(LineError::Syntax(expected)) => {
                problems.push(Problem::Syntax {
                    place,
                    text: beginning(line),
                    expected,
                });
            }
            Err(LineError::UnsetVariable(name)) => {
                problems.push(Problem::UnsetVariable { place, name })
            }
        }
    }
    (entries, problems)
}

/// Why a line gives no entry.
enum LineError {
    /// What was expected in its place.
    Syntax(&'static str),
    /// `$(NAME)` of a variable that is not set.
    UnsetVariable(String),
}

/// What opens and closes a value of several lines.
const BLOCK: &str = "'''";

/// A key whose value goes on over the following lines; `None` if this line begins none.
fn parse_block<'a>(
    line: &str,
    rest: &mut dyn FnMut() -> Option<&'a str>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, LineError> {
    let line = line.trim();
    let parts = line.split_once('=').filter(|_| !line.starts_with('#'));
    let Some((key, first)) = parts.and_then(|(key, value)| {
        let first = value.trim().strip_prefix(BLOCK)?;
        Some((key, first))
    }) else {
        return Ok(None);
    };
    let mut value = first.to_owned();
    while !value.contains(BLOCK) {
        let next = rest().ok_or(LineError::Syntax("three closing single quotes"))?;
        value.push('\n');
        value.push_str(next);
    }
    let (value, behind) = value.split_once(BLOCK).expect("the loop has found it");
    let behind = behind.trim_start();
    if !behind.is_empty() && !behind.starts_with('#') {
        return Err(LineError::Syntax(
            "nothing but a comment behind the closing single quotes",
        ));
    }
    let key = checked_key(key, variable)?;
    Ok(Some((key, interpolate(value, variable)?)))
}

fn checked_key(key: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, LineError> {
    let key = interpolate(key.trim(), variable)?;
    if is_key(&key) {
        Ok(key)
    } else {
        Err(LineError::Syntax(
            "a key of letters, digits, '_' and '-', its parts joined by '.'",
        ))
    }
}

fn parse_line(
    line: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, LineError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let Some((key, value)) = line.split_once('=') else {
        return Err(LineError::Syntax("key = value"));
    };
    let key = checked_key(key, variable)?;
    let value = value.trim();
    let value = match value.strip_prefix('\'') {
        Some(rest) => quoted(rest)?,
        None => unquoted(value)?,
    };
    Ok(Some((key, interpolate(value, variable)?)))
}

fn unquoted(value: &str) -> Result<&str, LineError> {
    let value = value
        .split_once('#')
        .map_or(value, |(value, _comment)| value.trim_end());
    if value.is_empty() {
        Err(LineError::Syntax("a value behind '='"))
    } else {
        Ok(value)
    }
}

/// What stands between the quotes; `rest` begins behind the first.
fn quoted(rest: &str) -> Result<&str, LineError> {
    let Some((value, behind)) = rest.split_once('\'') else {
        return Err(LineError::Syntax("a closing single quote"));
    };
    let behind = behind.trim_start();
    if behind.is_empty() || behind.starts_with('#') {
        return Ok(value);
    }
    Err(LineError::Syntax(
        "nothing but a comment behind the closing single quote",
    ))
}

/// A dot that belongs to a part is written `\.`.
fn is_key(key: &str) -> bool {
    key.replace("\\.", "_").split('.').all(|part| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@'))
    })
}

/// Replaces each `$(NAME)`. What a variable holds is not looked at again, so it cannot bring in further keys, comments or variables.
fn interpolate(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, LineError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("$(") {
        out.push_str(before);
        let Some((name, after)) = behind.split_once(')') else {
            return Err(LineError::Syntax("')' behind '$('"));
        };
        let value = variable(name.trim())
            .ok_or_else(|| LineError::UnsetVariable(name.trim().to_owned()))?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, String, usize)>, Vec<String>) {
        let variable = |name: &str| match name {
            "BROKER_USER" => Some("anna".to_owned()),
            "TRICKY" => Some("a#b $(BROKER_USER)".to_owned()),
            _ => None,
        };
        let (entries, problems) = parse("rabbitmq.conf", text, &variable);
        let entries = entries
            .into_iter()
            .map(|e| (e.key, e.value, e.place.line))
            .collect();
        (entries, problems.iter().map(ToString::to_string).collect())
    }

    fn check(text: &str, expected: &[(&str, &str, usize)]) {
        let (entries, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        let entries: Vec<_> = entries
            .iter()
            .map(|(k, v, l)| (k.as_str(), v.as_str(), *l))
            .collect();
        assert_eq!(entries, expected);
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        check(
            "# one\n\n  # two\r\nheartbeat = 30 # seconds\r\n",
            &[("heartbeat", "30", 4)],
        );
    }

    #[test]
    fn values_keep_inner_spaces_and_equal_signs() {
        check("a.b=c = d e\n", &[("a.b", "c = d e", 1)]);
    }

    #[test]
    fn quotes_protect_hashes_and_outer_spaces() {
        check(
            "default_pass = ' s3cr#t '\nx = '' # empty\n",
            &[("default_pass", " s3cr#t ", 1), ("x", "", 2)],
        );
    }

    #[test]
    fn three_quotes_keep_lines() {
        check(
            "a = '''\n  {x,\n   # y}\n''' # end\nb = '''one''' \nc = 1\n# d = '''\n",
            &[
                ("a", "\n  {x,\n   # y}\n", 1),
                ("b", "one", 5),
                ("c", "1", 6),
            ],
        );
        let (entries, problems) = read("a = '''\nb = 1\n");
        assert!(entries.is_empty());
        assert!(
            problems[0].contains("three closing single quotes"),
            "{problems:?}"
        );
        let (_, problems) = read("a = '''\n''' b\nc = '''''' d");
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn variables_are_replaced_once() {
        check(
            "default_user = x-$(BROKER_USER)-y\ndefault_pass = $(TRICKY)\nloopback_users.$(BROKER_USER) = true",
            &[
                ("default_user", "x-anna-y", 1),
                ("default_pass", "a#b $(BROKER_USER)", 2),
                ("loopback_users.anna", "true", 3),
            ],
        );
    }

    #[test]
    fn bad_lines_are_all_reported_with_their_number() {
        let (entries, problems) =
            read("no value\nok = 1\na..b = 2\nc = 'open\nd = $(NOPE)\ne =\nf = 'x' y\ng = $(X\n");
        assert_eq!(entries.len(), 1);
        assert_eq!(
            problems,
            [
                "rabbitmq.conf:1: cannot read \"no …\": expected key = value",
                "rabbitmq.conf:3: cannot read \"a..b …\": expected a key of letters, digits, '_' and '-', its parts joined by '.'",
                "rabbitmq.conf:4: cannot read \"c …\": expected a closing single quote",
                "rabbitmq.conf:5: environment variable NOPE is not set",
                "rabbitmq.conf:6: cannot read \"e …\": expected a value behind '='",
                "rabbitmq.conf:7: cannot read \"f …\": expected nothing but a comment behind the closing single quote",
                "rabbitmq.conf:8: cannot read \"g …\": expected ')' behind '$('",
            ]
        );
    }
}
