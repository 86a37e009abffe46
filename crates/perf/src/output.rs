//! Where results go: text to people, JSON to programs, never both to the same place.

use std::fs;
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// The JSON target that means standard output.
const STANDARD_OUTPUT: &str = "-";

/// Where text for people goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TextOutput {
    Standard,
    Error,
}

impl TextOutput {
    /// Standard output, unless JSON goes there.
    pub(crate) fn beside(json: Option<&str>) -> Self {
        if json == Some(STANDARD_OUTPUT) {
            Self::Error
        } else {
            Self::Standard
        }
    }

    /// Writes a line. A reader that went away does not stop the measurement.
    pub(crate) fn line(self, line: &str) {
        let _ = match self {
            Self::Standard => writeln!(io::stdout(), "{line}"),
            Self::Error => writeln!(io::stderr(), "{line}"),
        };
    }
}

/// Writes `value` as JSON to a file, or to standard output if `target` is `-`.
pub(crate) fn write_json(target: &str, value: &impl Serialize) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    if target == STANDARD_OUTPUT {
        return io::stdout().write_all(&json).context("write JSON");
    }
    fs::write(target, json).with_context(|| format!("write {target}"))
}
