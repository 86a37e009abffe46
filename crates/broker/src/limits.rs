//! Limits that an operator sets for a vhost or a user.
//!
//! Only what they are and how they are written; the vhost's queues are counted by [`metadata`](crate::metadata), connections
//! and channels by [`admission`](crate::admission), what is published by [`throttle`](crate::throttle). A negative limit means none and is kept as it was written.

use crate::Error;
use crate::json::{Json, Map, erlang_pairs, erlang_term};

/// How much may be published in a second. RabbitMQ has no such limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishRates {
    /// `max-publish-rate`: messages of all connections together.
    pub messages: Option<i64>,
    /// `max-publish-bytes-rate`: bytes of their bodies.
    pub bytes: Option<i64>,
    /// `max-connection-publish-rate`: messages of each connection.
    pub connection_messages: Option<i64>,
    /// `max-connection-publish-bytes-rate`: bytes of their bodies.
    pub connection_bytes: Option<i64>,
}

/// Limits of a vhost (RabbitMQ docs: vhosts#limits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// `max-connections`: client connections open at once.
    pub max_connections: Option<i64>,
    /// `max-queues`: queues that exist at once.
    pub max_queues: Option<i64>,
    /// How fast its connections may publish.
    pub publish: PublishRates,
}

/// Limits of a user (RabbitMQ docs: user-limits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// `max-connections`: connections open at once.
    pub max_connections: Option<i64>,
    /// `max-channels`: channels open at once, over all connections.
    pub max_channels: Option<i64>,
    /// How fast the user's connections may publish.
    pub publish: PublishRates,
}

/// The number that a limit allows, if it is one.
pub(crate) fn allowed(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

/// The keys of [`PublishRates`].
const RATE_KEYS: [&str; 4] = [
    "max-publish-rate",
    "max-publish-bytes-rate",
    "max-connection-publish-rate",
    "max-connection-publish-bytes-rate",
];

impl PublishRates {
    fn of([messages, bytes, connection_messages, connection_bytes]: [Option<i64>; 4]) -> Self {
        Self {
            messages,
            bytes,
            connection_messages,
            connection_bytes,
        }
    }

    fn values(self) -> [Option<i64>; 4] {
        [
            self.messages,
            self.bytes,
            self.connection_messages,
            self.connection_bytes,
        ]
    }

    /// These, and those of `other` where these are not set.
    fn or(self, other: Self) -> Self {
        let [own, others] = [self.values(), other.values()];
        Self::of(std::array::from_fn(|index| own[index].or(others[index])))
    }
}

impl VhostLimits {
    const KEYS: [&str; 2] = ["max-connections", "max-queues"];

    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// `Invalid`, for an unknown limit or one that is no integer.
    pub fn from_json(value: &Json) -> Result<Self, Error> {
        let ([max_connections, max_queues], publish) =
            read(value, Self::KEYS, "limits").map_err(Error::validation)?;
        Ok(Self {
            max_connections,
            max_queues,
            publish,
        })
    }

    /// The limits that are set.
    pub fn to_json(self) -> Json {
        let counts = [self.max_connections, self.max_queues];
        write(Self::KEYS, counts, self.publish)
    }
}

impl UserLimits {
    const KEYS: [&str; 2] = ["max-connections", "max-channels"];

    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// `Invalid`, for an unknown limit or one that is no integer.
    pub fn from_json(value: &Json) -> Result<Self, Error> {
        let ([max_connections, max_channels], publish) = read(value, Self::KEYS, "user-limits")
            .map_err(|problems| Error::Invalid(problems.join("\n").into()))?;
        Ok(Self {
            max_connections,
            max_channels,
            publish,
        })
    }

    /// The limits that are set.
    pub fn to_json(self) -> Json {
        let counts = [self.max_connections, self.max_channels];
        write(Self::KEYS, counts, self.publish)
    }

    /// These limits, and those of `other` where these are not set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            max_connections: self.max_connections.or(other.max_connections),
            max_channels: self.max_channels.or(other.max_channels),
            publish: self.publish.or(other.publish),
        }
    }
}

/// Two counts and the rates.
fn read(
    value: &Json,
    keys: [&str; 2],
    name: &str,
) -> Result<([Option<i64>; 2], PublishRates), Vec<String>> {
    let Json::Object(fields) = value else {
        return Err(vec![format!("{name} not a list {}", erlang_term(value))]);
    };
    let mut problems = Vec::new();
    let mut limit = |key: &str| {
        let field = fields.get(key)?;
        let limit = field.as_i64();
        if limit.is_none() {
            let found = erlang_term(field);
            problems.insert(0, format!("{key} should be a number, actually was {found}"));
        }
        limit
    };
    let counts = keys.map(&mut limit);
    let rates = PublishRates::of(RATE_KEYS.map(&mut limit));
    let unknown = |(key, _): &(&String, &Json)| {
        let key = key.as_str();
        !keys.contains(&key) && !RATE_KEYS.contains(&key)
    };
    if fields.iter().any(|field| unknown(&field)) {
        let terms = erlang_pairs(fields.iter().filter(unknown));
        problems.insert(0, format!("Unrecognised terms {terms} in {name}"));
    }
    if problems.is_empty() {
        Ok((counts, rates))
    } else {
        Err(problems)
    }
}

fn write(keys: [&str; 2], counts: [Option<i64>; 2], rates: PublishRates) -> Json {
    let counts = keys.into_iter().zip(counts);
    let rates = RATE_KEYS.into_iter().zip(rates.values());
    let set = counts
        .chain(rates)
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
        let limits = json!({"max-channels": 3, "max-publish-rate": 0,
            "max-publish-bytes-rate": 1, "max-connection-publish-rate": 2,
            "max-connection-publish-bytes-rate": -1});
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
