//! Schemas of exchanges: what the body of a message has to look like, as JSON Schema (<https://json-schema.org>).
//!
//! A policy gives exchanges a schema, its own or one of the runtime parameters of the component [`COMPONENT`], and says what becomes of
//! a message that breaks it. A schema is compiled when it is set. Messages are checked where a client publishes them; dead letters,
//! messages that have waited and those that come from another exchange are not checked again.
//!
//! Nothing is ever fetched: a `$ref` can only point into the schema itself. Patterns are of a kind whose time is linear in what they are
//! matched against. Who may set policies is trusted not to write a schema whose alternatives multiply without end.

use crate::json::{Json, Map};
use jsonschema::{PatternOptions, Validator};
use std::fmt;
use std::sync::Arc;

/// Component of the runtime parameters that are schemas.
pub const COMPONENT: &str = "json-schema";

/// Key of a policy: the schema of its exchanges, as an object or as JSON in a text.
pub const SCHEMA: &str = "schema";

/// Key of a policy: the parameter that holds the schema.
pub const SCHEMA_PARAMETER: &str = "schema-parameter";

/// Key of a policy: what becomes of a message that breaks the schema, `reject` or `dead-letter`.
pub const SCHEMA_ACTION: &str = "schema-action";

/// Key of a policy: where such a message goes with `dead-letter`.
pub const SCHEMA_EXCHANGE: &str = "schema-dead-letter-exchange";

/// Largest schema, in bytes of JSON.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Largest body that is looked at; a larger one breaks every schema.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Largest compiled form of one pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Longest text about what is wrong with a message, in bytes.
const VIOLATION_BYTES_MAX: usize = 160;

/// A compiled schema.
pub struct Schema {
    source: Json,
    /// The error is for one that was accepted by another version.
    validator: Result<Validator, String>,
}

impl Schema {
    /// Compiles what an operator wrote.
    ///
    /// # Errors
    /// Why it is none.
    pub fn compile(source: &Json) -> Result<Self, String> {
        let schema = Self::restore(source);
        match schema.validator {
            Ok(_) => Ok(schema),
            Err(problem) => Err(format!("schema is not a valid JSON schema: {problem}")),
        }
    }

    /// Compiles what was accepted once. If that fails, no message fits.
    pub(crate) fn restore(source: &Json) -> Self {
        Self {
            source: source.clone(),
            validator: validator(source),
        }
    }

    /// As the operator wrote it.
    pub fn source(&self) -> &Json {
        &self.source
    }

    /// Checks a message.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, content: Content<'_>) -> Result<(), String> {
        let problem = match (&self.validator, content.json()) {
            (Err(problem), _) => format!("its schema cannot be used: {problem}"),
            (_, Err(problem)) => problem,
            (Ok(validator), Ok(body)) => {
                if validator.is_valid(&body) {
                    return Ok(());
                }
                let error = validator.validate(&body).err();
                // Values of messages do not belong into texts that end up in logs.
                error.map_or_else(String::new, |error| {
                    format!("at '{}': {}", error.instance_path(), error.masked())
                })
            }
        };
        Err(shorten(problem))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.source)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

fn validator(source: &Json) -> Result<Validator, String> {
    let text = source.as_str();
    let parsed = text.map(serde_json::from_str::<Json>).transpose();
    let parsed = parsed.map_err(|error| error.to_string())?;
    let size = text.map_or_else(|| source.to_string().len(), str::len);
    if size > SCHEMA_BYTES_MAX {
        return Err(format!("it must not exceed {SCHEMA_BYTES_MAX} bytes"));
    }
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(parsed.as_ref().unwrap_or(source))
        .map_err(|error| shorten(error.to_string()))
}

fn shorten(mut text: String) -> String {
    if text.len() > VIOLATION_BYTES_MAX {
        text.truncate(text.floor_char_boundary(VIOLATION_BYTES_MAX));
        text.push_str("...");
    }
    text
}

/// What is checked of a message.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its property; JSON is assumed without it.
    pub content_type: Option<&'a [u8]>,
    /// Its property.
    pub content_encoding: Option<&'a [u8]>,
    /// The body.
    pub body: &'a [u8],
}

impl Content<'_> {
    /// The body, if it is JSON.
    fn json(self) -> Result<Json, String> {
        if let Some(content_type) = self.content_type.filter(|given| !is_json(given)) {
            let content_type = String::from_utf8_lossy(content_type);
            return Err(format!("content type '{content_type}' is not JSON"));
        }
        let is_plain = |given: &[u8]| {
            let plain: [&[u8]; 3] = [b"", b"utf-8", b"identity"];
            plain.iter().any(|plain| given.eq_ignore_ascii_case(plain))
        };
        if let Some(encoding) = self.content_encoding.filter(|given| !is_plain(given)) {
            let encoding = String::from_utf8_lossy(encoding);
            return Err(format!("content encoding '{encoding}' cannot be checked"));
        }
        if self.body.len() > BODY_BYTES_MAX {
            return Err(format!(
                "a body above {BODY_BYTES_MAX} bytes is not checked"
            ));
        }
        serde_json::from_slice(self.body).map_err(|error| format!("body is not JSON: {error}"))
    }
}

/// Whether a content type means JSON: `application/json`, or one that ends in `+json`, whatever its parameters.
fn is_json(content_type: &[u8]) -> bool {
    let name = content_type.split(|byte| *byte == b';').next();
    let name = name.unwrap_or_default().trim_ascii().to_ascii_lowercase();
    name.is_empty() || name == b"application/json" || name.ends_with(b"+json")
}

/// What becomes of a message that breaks the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnViolation {
    /// Its publisher hears of it.
    Reject,
    /// It goes to this exchange.
    DeadLetter(base::Name),
}

/// What an exchange does about schemas.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaCheck {
    /// `Err` names the parameter that is not there; then no message fits.
    pub schema: Result<Arc<Schema>, base::Name>,
    /// What becomes of others.
    pub on_violation: OnViolation,
}

impl SchemaCheck {
    /// Checks a message.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, content: Content<'_>) -> Result<(), String> {
        match &self.schema {
            Ok(schema) => schema.check(content),
            Err(name) => Err(format!("there is no parameter '{name}' with its schema")),
        }
    }
}

/// Checks what the keys of one policy say about schemas together.
pub(crate) fn check_definition(definition: &Map<String, Json>) -> Result<(), String> {
    if let Some(source) = definition.get(SCHEMA) {
        Schema::compile(source)?;
        if definition.contains_key(SCHEMA_PARAMETER) {
            return Err(format!(
                "{SCHEMA} and {SCHEMA_PARAMETER} exclude each other"
            ));
        }
    }
    let action = definition.get(SCHEMA_ACTION).and_then(Json::as_str);
    if action == Some("dead-letter") && !definition.contains_key(SCHEMA_EXCHANGE) {
        return Err(format!(
            "{SCHEMA_EXCHANGE} is required when {SCHEMA_ACTION} is dead-letter"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Json, content_type: Option<&str>, body: &str) -> Result<(), String> {
        Schema::compile(schema).unwrap().check(Content {
            content_type: content_type.map(str::as_bytes),
            content_encoding: None,
            body: body.as_bytes(),
        })
    }

    #[test]
    fn the_first_violation_is_told_without_values() {
        let schema = json!({"type": "object", "required": ["id"],
            "properties": {"id": {"type": "integer"}}});
        assert_eq!(check(&schema, None, r#"{"id": 5}"#), Ok(()));
        let violation = |body: &str| check(&schema, None, body).unwrap_err();
        assert_eq!(
            violation(r#"{"id": "secret"}"#),
            "at '/id': value is not of type \"integer\""
        );
        assert_eq!(violation("{}"), "at '': \"id\" is a required property");
        assert!(violation("{").starts_with("body is not JSON: EOF"));
        assert!(violation("").starts_with("body is not JSON: EOF"));
        // As JSON in a text it is the same schema.
        let text = Json::String(schema.to_string());
        assert!(check(&text, None, "{}").is_err());
        assert_eq!(check(&text, None, r#"{"id": 5}"#), Ok(()));
    }

    #[test]
    fn only_json_can_be_checked() {
        let any = json!(true);
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/cloudevents+json",
            "",
        ] {
            assert_eq!(check(&any, Some(json), "1"), Ok(()), "{json}");
        }
        assert_eq!(
            check(&any, Some("text/plain"), "1").unwrap_err(),
            "content type 'text/plain' is not JSON"
        );
        let content = Content {
            content_type: None,
            content_encoding: Some(b"gzip"),
            body: b"1",
        };
        let schema = Schema::compile(&any).unwrap();
        assert_eq!(
            schema.check(content).unwrap_err(),
            "content encoding 'gzip' cannot be checked"
        );
        let large = " ".repeat(BODY_BYTES_MAX) + "1";
        assert_eq!(
            check(&any, None, &large).unwrap_err(),
            "a body above 1048576 bytes is not checked"
        );
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let refusal = |schema: &Json| Schema::compile(schema).unwrap_err();
        for schema in [
            json!(5),
            json!("{"),
            json!({"type": "bogus"}),
            json!({"$ref": "http://example.com/schema"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"pattern": "("}),
            json!({"pattern": "(?=a)b"}),
            json!({"pattern": "(a{1000}){1000}"}),
            json!({"enum": ["x".repeat(SCHEMA_BYTES_MAX)]}),
        ] {
            let problem = refusal(&schema);
            assert!(
                problem.starts_with("schema is not a valid JSON schema: "),
                "{problem}"
            );
            assert!(problem.len() < 250, "{problem}");
        }
    }

    #[test]
    fn schemas_that_refer_to_themselves_and_hard_patterns_come_to_an_end() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
        ] {
            assert_eq!(check(&schema, None, "{}"), Ok(()));
        }
        let schema = json!({"pattern": "^(a+)+$"});
        let body = format!("\"{}!\"", "a".repeat(100_000));
        assert!(check(&schema, None, &body).is_err());
        let nested = "[".repeat(10_000) + &"]".repeat(10_000);
        let problem = check(&json!(true), None, &nested).unwrap_err();
        assert!(problem.contains("recursion limit"), "{problem}");
    }

    #[test]
    fn a_schema_that_cannot_be_used_any_more_lets_nothing_pass() {
        let schema = Schema::restore(&json!({"type": "bogus"}));
        let content = Content {
            content_type: None,
            content_encoding: None,
            body: b"1",
        };
        let problem = schema.check(content).unwrap_err();
        assert!(
            problem.starts_with("its schema cannot be used: "),
            "{problem}"
        );
    }
}
