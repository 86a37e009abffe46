//! The text format of Prometheus (version 0.0.4), written in pieces as they are wanted.
//!
//! Nothing here knows what is measured. At most [`PIECE_BYTES`] and what the channel holds are in memory, however much is told.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use tokio::sync::mpsc;

/// A piece is sent when it has grown to this size.
const PIECE_BYTES: usize = 64 << 10;

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
        pairs.iter().fold(Self::default(), |labels, (name, value)| {
            labels.with(name, value)
        })
    }

    /// These and one more.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let text = &mut self.0;
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
        self
    }
}

/// Whoever asked has gone.
#[derive(Debug)]
pub(super) struct Gone;

/// What is being told.
pub(super) struct Exposition {
    text: String,
    gzip: Option<GzEncoder<Vec<u8>>>,
    out: mpsc::Sender<Bytes>,
}

impl Exposition {
    pub(super) fn new(out: mpsc::Sender<Bytes>, compressed: bool) -> Self {
        Self {
            text: String::with_capacity(PIECE_BYTES),
            gzip: compressed.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            out,
        }
    }

    /// Begins a metric; its samples follow.
    pub(super) fn head(&mut self, prefix: &str, name: &str, kind: Kind, help: &str) {
        let kind = kind.as_str();
        // Writing to a string does not fail.
        let _ = writeln!(
            self.text,
            "# TYPE {prefix}{name} {kind}\n# HELP {prefix}{name} {help}"
        );
    }

    /// One sample. `suffix` belongs to the name.
    pub(super) fn sample(&mut self, (prefix, name): (&str, &str), labels: &Labels, value: Value) {
        let text = &mut self.text;
        text.push_str(prefix);
        text.push_str(name);
        if !labels.0.is_empty() {
            text.push('{');
            text.push_str(&labels.0);
            text.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, " {value}");
    }

    /// Sends what there is if that is much.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub(super) async fn yield_if_full(&mut self) -> Result<(), Gone> {
        if self.text.len() >= PIECE_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Gone> {
        let piece = match &mut self.gzip {
            None => Bytes::copy_from_slice(self.text.as_bytes()),
            Some(gzip) => {
                gzip.write_all(self.text.as_bytes()).map_err(|_| Gone)?;
                Bytes::from(std::mem::take(gzip.get_mut()))
            }
        };
        self.text.clear();
        if piece.is_empty() {
            return Ok(());
        }
        self.out.send(piece).await.map_err(|_| Gone)
    }

    /// Sends the rest.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub(super) async fn finish(mut self) -> Result<(), Gone> {
        self.send().await?;
        if let Some(gzip) = self.gzip {
            let rest = gzip.finish().map_err(|_| Gone)?;
            self.out.send(rest.into()).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    async fn told(compressed: bool, samples: u64) -> Vec<u8> {
        let (out, mut pieces) = mpsc::channel(2);
        let telling = tokio::spawn(async move {
            let mut exposition = Exposition::new(out, compressed);
            exposition.head("p_", "x", Kind::Gauge, "Help.");
            for number in 0..samples {
                let labels = Labels::new(&[("a", "b\"\\\n"), ("n", &number.to_string())]);
                exposition.sample(("p_", "x"), &labels, Value::Int(number));
                exposition.yield_if_full().await.unwrap();
            }
            exposition.finish().await.unwrap();
        });
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend_from_slice(&piece);
        }
        telling.await.unwrap();
        all
    }

    #[tokio::test]
    async fn samples_stand_behind_their_head_and_labels_are_escaped() {
        let text = String::from_utf8(told(false, 1).await).unwrap();
        assert_eq!(
            text,
            "# TYPE p_x gauge\n# HELP p_x Help.\np_x{a=\"b\\\"\\\\\\n\",n=\"0\"} 0\n"
        );
    }

    #[tokio::test]
    async fn pieces_are_the_whole_compressed_or_not() {
        let plain = told(false, 20_000).await;
        assert!(plain.len() > 4 * PIECE_BYTES);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&told(true, 20_000).await[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert!(unpacked == plain);
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
