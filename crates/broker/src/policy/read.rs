//! Policies as operators write them: what is wrong with one, in RabbitMQ's words.

use super::{ApplyTo, Policy, PolicyScope, keys};
use crate::Error;
use crate::auth::{PATTERN_BYTES_MAX, Pattern};
use crate::json::{Json, Map, Number, erlang_pairs, erlang_term};
use crate::schema::{SCHEMA, Schema};
use base::Name;
use std::sync::Arc;

/// The fields of a policy in the order in which RabbitMQ looks at them. It tells of problems in the opposite order.
const FIELDS: [&str; 4] = ["priority", "pattern", "apply-to", "definition"];

impl Policy {
    /// Reads and checks a policy that an operator sets: an object with `pattern`, `definition`, `priority` and `apply-to` (`all` if
    /// it is not there).
    ///
    /// # Errors
    /// `Invalid`, with everything that is wrong with it.
    pub fn from_json(scope: PolicyScope, name: &Name, value: &Json) -> Result<Self, Error> {
        let Json::Object(fields) = value else {
            let problem = format!("{name} not a list {}", erlang_term(value));
            return Err(Error::validation(vec![problem]));
        };
        let mut problems = Vec::new();
        let mut keep = |problem: Result<(), String>| {
            if let Err(problem) = problem {
                problems.insert(0, problem);
            }
        };
        keep(field(name, fields, "priority", priority));
        keep(field(name, fields, "pattern", pattern));
        keep(fields.get("apply-to").map_or(Ok(()), apply_to));
        keep(field(name, fields, "definition", |value| {
            definition(scope, value)
        }));
        let unknown = |(key, _): &(&String, &Json)| !FIELDS.contains(&key.as_str());
        if fields.iter().any(|field| unknown(&field)) {
            let terms = erlang_pairs(fields.iter().filter(unknown));
            keep(Err(format!("Unrecognised terms {terms} in {name}")));
        }
        if !problems.is_empty() {
            return Err(Error::validation(problems));
        }
        Self::restore(name, value)
    }

    /// Reads a policy that was accepted once, from what [`Policy::to_json`] gave. Keys that this node does not know stay in it without
    /// effect: a newer node may have written them.
    ///
    /// # Errors
    /// `Invalid`, if it is none.
    pub fn restore(name: &Name, value: &Json) -> Result<Self, Error> {
        let field = |key: &str| {
            value
                .get(key)
                .ok_or_else(|| Error::Invalid(format!("policy '{name}' has no {key}").into()))
        };
        let apply_to = match value.get("apply-to").and_then(Json::as_str) {
            Some(apply_to) => ApplyTo::parse(apply_to).ok_or_else(|| {
                Error::Invalid(format!("policy '{name}' applies to '{apply_to}'").into())
            })?,
            None => ApplyTo::default(),
        };
        let definition = field("definition")?
            .as_object()
            .cloned()
            .unwrap_or_default();
        let schema = definition.get(SCHEMA).map(Schema::restore);
        Ok(Self {
            name: name.clone(),
            pattern: Pattern::of_policy(field("pattern")?.as_str().unwrap_or_default())?,
            apply_to,
            priority: field("priority")?
                .as_number()
                .cloned()
                .unwrap_or_else(|| Number::from(0)),
            definition,
            schema: schema.map(Arc::new),
        })
    }
}

/// A field that has to be there.
fn field(
    name: &Name,
    fields: &Map<String, Json>,
    key: &str,
    check: impl Fn(&Json) -> Result<(), String>,
) -> Result<(), String> {
    match fields.get(key) {
        Some(value) => check(value),
        None => Err(format!("Key \"{key}\" not found in {name}")),
    }
}

fn priority(value: &Json) -> Result<(), String> {
    if value.is_number() {
        return Ok(());
    }
    let found = erlang_term(value);
    Err(format!("priority should be a number, actually was {found}"))
}

/// Compat: what is wrong with an expression is told in other words than RabbitMQ's, whose library is another.
fn pattern(value: &Json) -> Result<(), String> {
    let Some(source) = value.as_str() else {
        let found = erlang_term(value);
        return Err(format!("pattern should be a binary but was {found}"));
    };
    if source.len() > PATTERN_BYTES_MAX {
        return Err(format!("pattern must not exceed {PATTERN_BYTES_MAX} bytes"));
    }
    match Pattern::of_policy(source) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "pattern should be regular expression but is invalid: {error}"
        )),
    }
}

fn apply_to(value: &Json) -> Result<(), String> {
    if value.as_str().and_then(ApplyTo::parse).is_some() {
        return Ok(());
    }
    let found = value
        .as_str()
        .map_or_else(|| erlang_term(value), str::to_owned);
    // The two spaces are RabbitMQ's.
    Err(format!(
        "apply-to '{found}' unrecognised; should be one of: 'queues', 'classic_queues',  \
         'quorum_queues', 'streams', 'exchanges', or 'all'"
    ))
}

fn definition(scope: PolicyScope, value: &Json) -> Result<(), String> {
    match value.as_object() {
        Some(definition) => keys::check(scope, definition),
        None => Err(format!(
            "definition must be a dictionary: {}",
            erlang_term(value)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(scope: PolicyScope, value: &Json) -> String {
        let text = Policy::from_json(scope, &"p".into(), value)
            .unwrap_err()
            .to_string();
        let text = text.strip_prefix("Validation failed\n\n").unwrap();
        text.trim_end_matches('\n').to_owned()
    }

    fn check(definition: &Json, expect: &str) {
        let policy = json!({"pattern": "a", "priority": 0, "definition": definition});
        assert_eq!(refusal(PolicyScope::User, &policy), expect, "{definition}");
    }

    #[test]
    fn definitions_are_refused_in_rabbitmqs_words() {
        check(&json!({}), "no policy provided");
        check(
            &json!({"bogus": 5}),
            r#"[{<<"bogus">>,5}] are not recognised policy settings"#,
        );
        check(
            &json!({"bogus": 5, "max-length": -1}),
            "-1 is not a valid maximum length",
        );
        check(
            &json!({"max-length": "x"}),
            r#"<<"x">> is not a valid maximum length"#,
        );
        check(
            &json!({"max-length": 1.5}),
            "1.5 is not a valid maximum length",
        );
        check(
            &json!({"max-length": {"a": 1}}),
            r#"#{<<"a">> => 1} is not a valid maximum length"#,
        );
        check(
            &json!({"message-ttl": -1, "expires": 0}),
            "0 is not a valid queue expiry",
        );
        check(
            &json!({"max-age": "5x"}),
            r#"<<"5x">> is not a valid max age"#,
        );
        check(
            &json!({"stream-filter-size-bytes": 5}),
            "5 is not a valid filter size. Valid range is 16-255",
        );
        check(
            &json!({"queue-master-locator": "min-masters"}),
            "use of deprecated queue-master-locator argument is not permitted",
        );
        check(
            &json!({"ha-mode": "all"}),
            r#"[{<<"ha-mode">>,<<"all">>}] are not recognised policy settings"#,
        );
        check(
            &json!({"delayed-retry-type": "all"}),
            "delayed-retry-min is required when delayed-retry-type is all",
        );
        check(
            &json!({"delayed-retry-min": 10, "delayed-retry-max": 5}),
            "delayed-retry-max (5) must not be smaller than delayed-retry-min (10)",
        );
        check(
            &json!({"merge": "yes"}),
            r#"<<"yes">> is not a valid merge value. Must be true or false"#,
        );
        check(
            &json!({"consumer-timeout": -1}),
            "-1 is not a valid consumer timeout",
        );
        check(
            &json!({"shards-per-node": -1.5}),
            "shards-per-node should be greater than 0, actually was -1.5",
        );
        check(
            &json!({"shards-per-node": 3.0}),
            "shards-per-node should be an integer, actually was 3.0",
        );
        check(
            &json!({"shards-per-node": 1001}),
            "shards-per-node should be at most 1000, actually was 1001",
        );
        check(
            &json!({"shards-per-node": 1, "routing-key": []}),
            "routing-key should be binary, actually was []",
        );
    }

    #[test]
    fn everything_wrong_with_a_policy_is_told_at_once() {
        let policy = json!({"pattern": "a", "priority": "5", "apply-to": "bogus",
            "definition": {"max-length": -1}});
        assert_eq!(
            refusal(PolicyScope::User, &policy),
            "-1 is not a valid maximum length\n\
             apply-to 'bogus' unrecognised; should be one of: 'queues', 'classic_queues',  \
             'quorum_queues', 'streams', 'exchanges', or 'all'\n\
             priority should be a number, actually was <<\"5\">>"
        );
        assert_eq!(
            refusal(PolicyScope::Operator, &json!({"pattern": "a"})),
            "Key \"definition\" not found in p\nKey \"priority\" not found in p"
        );
        assert_eq!(refusal(PolicyScope::Operator, &json!(5)), "p not a list 5");
        let policy = json!({"pattern": 5, "priority": 0, "definition": {"max-length": 1}});
        assert_eq!(
            refusal(PolicyScope::User, &policy),
            "pattern should be a binary but was 5"
        );
    }

    #[test]
    fn operators_may_set_fewer_keys() {
        let policy =
            json!({"pattern": "a", "priority": 0, "definition": {"dead-letter-exchange": "x"}});
        assert!(Policy::from_json(PolicyScope::User, &"p".into(), &policy).is_ok());
        assert_eq!(
            refusal(PolicyScope::Operator, &policy),
            r#"[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings"#
        );
        let policy = json!({"pattern": "a", "priority": 0, "definition": {"merge": true}});
        assert_eq!(
            refusal(PolicyScope::Operator, &policy),
            r#"[{<<"merge">>,true}] are not recognised policy settings"#
        );
    }

    #[test]
    fn a_policy_reads_back_as_it_was_kept() {
        let value = json!({"pattern": "", "priority": 1.5, "apply-to": "queues",
            "definition": {"overflow": "drop-head"}});
        let policy = Policy::from_json(PolicyScope::User, &"p".into(), &value).unwrap();
        assert_eq!(policy.to_json(), value);
        assert_eq!(
            Policy::restore(&"p".into(), &policy.to_json()).unwrap(),
            policy
        );
    }
}
