//! Message interceptors: what the node adds to messages that come in, where an operator wants it.
//!
//! They work before routing, so exchanges see what they add. Without any, nothing here is called.
//!
//! RabbitMQ docs: message-interceptors.

use bytes::Bytes;
use codec_amqp091::{BasicProperties, Table, TableWriter, Value};

/// Header with the time of arrival in milliseconds since 1970.
const TIMESTAMP_IN_MS: &[u8] = b"timestamp_in_ms";
/// Header with the name of the node that routed the message.
const ROUTED_BY: &[u8] = b"x-routed-by";

/// What to do with a value that the publisher has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it.
    Keep,
    /// Put ours in its place.
    Overwrite,
}

/// Which interceptors are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interceptors {
    /// Header `timestamp_in_ms` and property `timestamp`: when the message came in.
    pub timestamp: Option<Existing>,
    /// Header `x-routed-by`: the name of this node.
    pub routing_node: Option<Existing>,
}

impl Interceptors {
    /// Whether there are any.
    pub(crate) fn any(self) -> bool {
        self.timestamp.is_some() || self.routing_node.is_some()
    }

    /// The properties of a message that came in at `wall_ms`. Those that cannot be read stay as they are.
    pub(crate) fn apply(self, properties: Bytes, node: &str, wall_ms: u64) -> Bytes {
        let Ok(mut decoded) = BasicProperties::decode(&properties) else {
            return properties;
        };
        let at_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
        let added = [
            (TIMESTAMP_IN_MS, self.timestamp, Value::I64(at_ms)),
            (
                ROUTED_BY,
                self.routing_node,
                Value::LongStr(node.as_bytes()),
            ),
        ];
        let theirs = decoded.headers.unwrap_or_default();
        let has = |key: &[u8]| theirs.iter().flatten().any(|(known, _)| known == key);
        let sets = |key: &[u8], existing: Option<Existing>| match existing {
            None => false,
            Some(Existing::Overwrite) => true,
            Some(Existing::Keep) => !has(key),
        };
        let mut headers = Vec::with_capacity(theirs.as_bytes().len() + 64);
        let mut writer = TableWriter::new(&mut headers);
        for (key, value) in theirs.iter().flatten() {
            if !added
                .iter()
                .any(|(ours, existing, _)| *ours == key && sets(ours, *existing))
            {
                writer.field(key, &value);
            }
        }
        for (key, existing, value) in &added {
            if sets(key, *existing) {
                writer.field(key, value);
            }
        }
        decoded.headers = Some(Table::new(&headers));
        let keeps = self.timestamp == Some(Existing::Keep) && decoded.timestamp.is_some();
        if self.timestamp.is_some() && !keeps {
            decoded.timestamp = Some(wall_ms / 1000);
        }
        let mut encoded = Vec::with_capacity(properties.len() + 64);
        decoded.encode(&mut encoded);
        encoded.into()
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::wildcard_enum_match_arm,
        reason = "a test names what it waits for; whatever else comes fails it"
    )]

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_123;

    fn applied(
        interceptors: Interceptors,
        headers: &[(&[u8], Value<'_>)],
        timestamp: Option<u64>,
    ) -> String {
        let mut table = Vec::new();
        let mut writer = TableWriter::new(&mut table);
        for (key, value) in headers {
            writer.field(key, value);
        }
        let mut properties = Vec::new();
        BasicProperties {
            headers: (!headers.is_empty()).then_some(Table::new(&table)),
            timestamp,
            ..BasicProperties::default()
        }
        .encode(&mut properties);
        let properties = interceptors.apply(properties.into(), "rabbit@box", NOW_MS);
        let decoded = BasicProperties::decode(&properties).unwrap();
        let fields = decoded.headers.unwrap_or_default();
        let fields = fields.iter().map(|field| {
            let (key, value) = field.unwrap();
            match value {
                Value::LongStr(text) => format!("{}={} ", key.escape_ascii(), text.escape_ascii()),
                other => format!("{}={other:?} ", key.escape_ascii()),
            }
        });
        format!("{}{:?}", fields.collect::<String>(), decoded.timestamp)
    }

    #[test]
    fn each_adds_what_it_is_for() {
        let both = Interceptors {
            timestamp: Some(Existing::Keep),
            routing_node: Some(Existing::Keep),
        };
        assert_eq!(
            applied(both, &[(b"a", Value::Bool(true))], None),
            "a=Bool(true) timestamp_in_ms=I64(1700000000123) x-routed-by=rabbit@box Some(1700000000)"
        );
        let node = Interceptors {
            timestamp: None,
            ..both
        };
        assert_eq!(
            applied(node, &[], Some(5)),
            "x-routed-by=rabbit@box Some(5)"
        );
    }

    #[test]
    fn what_the_publisher_has_set_stays_unless_it_is_overwritten() {
        let theirs: [(&[u8], Value<'_>); 2] = [
            (b"timestamp_in_ms", Value::I64(1)),
            (b"x-routed-by", Value::LongStr(b"me")),
        ];
        let on = |existing| Interceptors {
            timestamp: Some(existing),
            routing_node: Some(existing),
        };
        assert_eq!(
            applied(on(Existing::Keep), &theirs, Some(1)),
            "timestamp_in_ms=I64(1) x-routed-by=me Some(1)"
        );
        assert_eq!(
            applied(on(Existing::Overwrite), &theirs, Some(1)),
            "timestamp_in_ms=I64(1700000000123) x-routed-by=rabbit@box Some(1700000000)"
        );
    }
}
