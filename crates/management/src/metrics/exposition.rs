//! The text format of Prometheus (version 0.0.4), written in pieces as they are wanted.
//!
//! Nothing here knows what is measured.

use crate::pieces::{Gone, PieceWriter};
use std::fmt;
use std::io::Write as _;

/// What Prometheus does with the values of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, until the node starts again.
    Counter,
    /// Counts values by size.
    Histogram,
    /// Has labels that say something and the value 1.
    Untyped,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Int(u64),
    Float(f64),
}

impl Value {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::Int(a.saturating_add(b)),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "metrics are shown, not reckoned with"
    )]
    fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

/// The labels of a sample, written once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(String);

impl Labels {
    pub(super) fn new(pairs: &[(&str, &str)]) -> Self {
        // Quotes, `=` and commas; few values are escaped.
        let length = pairs
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4);
        let labels = Self(String::with_capacity(length.sum()));
        pairs
            .iter()
            .fold(labels, |labels, (name, value)| labels.with(name, value))
    }

    /// These and one more.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let text = &mut self.0;
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        if value.contains(['\\', '"', '\n']) {
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
        } else {
            text.push_str(value);
        }
        text.push('"');
        self
    }
}

/// What is being told.
pub(super) struct Exposition(PieceWriter);

impl Exposition {
    pub(super) fn new(out: PieceWriter) -> Self {
        Self(out)
    }

    /// Begins a metric; its samples follow.
    pub(super) fn head(&mut self, prefix: &str, name: &str, kind: Kind, help: &str) {
        let kind = kind.as_str();
        // What is written goes to memory.
        let _ = writeln!(
            self.0,
            "# TYPE {prefix}{name} {kind}\n# HELP {prefix}{name} {help}"
        );
    }

    /// One sample. `suffix` belongs to the name.
    pub(super) fn sample(&mut self, (prefix, name): (&str, &str), labels: &Labels, value: Value) {
        let text = &mut self.0;
        // As above. Samples are many, and formatting takes longer than this.
        for part in [prefix, name] {
            let _ = text.write_all(part.as_bytes());
        }
        if !labels.0.is_empty() {
            let _ = text.write_all(b"{");
            let _ = text.write_all(labels.0.as_bytes());
            let _ = text.write_all(b"}");
        }
        let _ = writeln!(text, " {value}");
    }

    /// Sends what there is if that is much.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub(super) async fn yield_if_full(&mut self) -> Result<(), Gone> {
        self.0.yield_if_full().await
    }

    /// Sends the rest.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub(super) async fn finish(self) -> Result<(), Gone> {
        self.0.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::pieces;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn samples_stand_behind_their_head_and_labels_are_escaped() {
        let (out, body) = pieces(false);
        let mut exposition = Exposition::new(out);
        exposition.head("p_", "x", Kind::Gauge, "Help.");
        let labels = Labels::new(&[("a", "b\"\\\n"), ("n", "0")]);
        exposition.sample(("p_", "x"), &labels, Value::Int(0));
        exposition.finish().await.unwrap();
        let text = body.collect().await.unwrap().to_bytes();
        assert_eq!(
            text,
            "# TYPE p_x gauge\n# HELP p_x Help.\np_x{a=\"b\\\"\\\\\\n\",n=\"0\"} 0\n"
        );
    }

    #[test]
    fn values_add_up() {
        let sum = Value::Int(1).plus(Value::Int(2));
        assert_eq!(sum, Value::Int(3));
        assert_eq!(sum.plus(Value::Float(0.5)).to_string(), "3.5");
        assert_eq!(Value::Float(f64::NAN).to_string(), "NaN");
        assert_eq!(Value::Float(1.0).to_string(), "1");
    }
}
