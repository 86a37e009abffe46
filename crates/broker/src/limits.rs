//! Limits that an operator sets for a vhost or a user.
//!
//! Only what they are and how they are written; the vhost's queues are counted by [`metadata`](crate::metadata), connections
//! and channels by [`admission`](crate::admission). A negative limit means none and is kept as it was written.

use crate::Error;
use crate::json::{Json, Map, erlang_pairs, erlang_term};

/// Limits of a vhost (RabbitMQ docs: vhosts#limits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// `max-connections`: client connections open at once.
    pub max_connections: Option<i64>,
    /// `max-queues`: queues that exist at once.
    pub max_queues: Option<i64>,
}

/// Limits of a user (RabbitMQ docs: user-limits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// `max-connections`: connections open at once.
    pub max_connections: Option<i64>,
    /// `max-channels`: channels open at once, over all connections.
    pub max_channels: Option<i64>,
}

/// The number that a limit allows, if it is one.
pub(crate) fn allowed(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

impl VhostLimits {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// `Invalid`, for an unknown limit or one that is no integer.
    pub fn from_json(value: &Json) -> Result<Self, Error> {
        let [max_connections, max_queues] =
            read(value, ["max-connections", "max-queues"], "limits").map_err(Error::validation)?;
        Ok(Self {
            max_connections,
            max_queues,
        })
    }

    /// The limits that are set.
    pub fn to_json(self) -> Json {
        write([
            ("max-connections", self.max_connections),
            ("max-queues", self.max_queues),
        ])
    }
}

impl UserLimits {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// `Invalid`, for an unknown limit or one that is no integer.
    pub fn from_json(value: &Json) -> Result<Self, Error> {
        let [max_connections, max_channels] =
            read(value, ["max-connections", "max-channels"], "user-limits")
                .map_err(|problems| Error::Invalid(problems.join("\n").into()))?;
        Ok(Self {
            max_connections,
            max_channels,
        })
    }

    /// The limits that are set.
    pub fn to_json(self) -> Json {
        write([
            ("max-connections", self.max_connections),
            ("max-channels", self.max_channels),
        ])
    }

    /// These limits, and those of `other` where these are not set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            max_connections: self.max_connections.or(other.max_connections),
            max_channels: self.max_channels.or(other.max_channels),
        }
    }
}

fn read<const N: usize>(
    value: &Json,
    keys: [&str; N],
    name: &str,
) -> Result<[Option<i64>; N], Vec<String>> {
    let Json::Object(fields) = value else {
        return Err(vec![format!("{name} not a list {}", erlang_term(value))]);
    };
    let mut limits = [None; N];
    let mut problems = Vec::new();
    for (key, limit) in keys.iter().zip(&mut limits) {
        let Some(field) = fields.get(*key) else {
            continue;
        };
        *limit = field.as_i64();
        if limit.is_none() {
            let found = erlang_term(field);
            problems.insert(0, format!("{key} should be a number, actually was {found}"));
        }
    }
    let unknown = |(key, _): &(&String, &Json)| !keys.contains(&key.as_str());
    if fields.iter().any(|field| unknown(&field)) {
        let terms = erlang_pairs(fields.iter().filter(unknown));
        problems.insert(0, format!("Unrecognised terms {terms} in {name}"));
    }
    if problems.is_empty() {
        Ok(limits)
    } else {
        Err(problems)
    }
}

fn write<const N: usize>(limits: [(&str, Option<i64>); N]) -> Json {
    let set = limits
        .into_iter()
        .filter_map(|(key, limit)| Some((key.to_owned(), Json::from(limit?))));
    Json::Object(set.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_read_back_as_they_were_written() {
        let limits = json!({"max-connections": -1, "max-queues": 10});
        assert_eq!(VhostLimits::from_json(&limits).unwrap().to_json(), limits);
        let limits = json!({"max-channels": 3});
        assert_eq!(UserLimits::from_json(&limits).unwrap().to_json(), limits);
    }

    #[test]
    fn refusals_have_rabbitmqs_words() {
        let refusal = |value| VhostLimits::from_json(&value).unwrap_err().to_string();
        assert_eq!(
            refusal(json!({"bogus": 10})),
            "Validation failed\n\nUnrecognised terms [{<<\"bogus\">>,10}] in limits\n"
        );
        assert_eq!(
            refusal(json!({"max-queues": "1"})),
            "Validation failed\n\nmax-queues should be a number, actually was <<\"1\">>\n"
        );
        let refusal = |value| UserLimits::from_json(&value).unwrap_err().to_string();
        assert_eq!(
            refusal(json!({"max-queues": 1})),
            "Unrecognised terms [{<<\"max-queues\">>,1}] in user-limits"
        );
    }
}
