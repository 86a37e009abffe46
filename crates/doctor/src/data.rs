//! The data directory: whether a node can use it, and whether what is in it is whole.

use crate::finding::{Area, Finding, Severity};
use std::path::Path;
use store::{Damage, Recovered, StoreError};

/// Damages that are told one by one.
const DAMAGES_SHOWN_MAX: usize = 20;

pub(crate) fn check(dir: &Path, findings: &mut Vec<Finding>) {
    let found = |severity, text| Finding::new(Area::Data, severity, text);
    let shown = dir.display();
    if !dir.exists() {
        findings.push(found(
            Severity::Note,
            format!("{shown} does not exist yet: the first start makes it"),
        ));
        return;
    }
    let recovered = match store::inspect(dir) {
        Ok(recovered) => recovered,
        Err(StoreError::Locked { .. }) => {
            findings.push(
                found(
                    Severity::Note,
                    format!("{shown} is in use by a running node"),
                )
                .advise("stop the node to have its data looked at"),
            );
            return;
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            findings.push(found(Severity::Error, text).advise(
                "a node does not start on it: check its owner and mode, and that the program is not older than the data",
            ));
            return;
        }
    };
    findings.push(found(Severity::Ok, summary(&recovered)));
    if !recovered.clean && recovered.metadata_index.0 > 0 {
        findings.push(found(
            Severity::Note,
            "the last node on it did not stop in order; nothing that was confirmed is missing unless damage is named below".to_owned(),
        ));
    }
    findings.extend(
        recovered
            .damage
            .iter()
            .take(DAMAGES_SHOWN_MAX)
            .map(|damage| found(Severity::Error, text_of(damage)).advise(advice(damage))),
    );
    let more = recovered.damage.len().saturating_sub(DAMAGES_SHOWN_MAX);
    if more > 0 {
        findings.push(found(
            Severity::Error,
            format!("{more} further places are damaged"),
        ));
    }
}

fn summary(recovered: &Recovered) -> String {
    let messages: u64 = recovered.queues.values().map(|queue| queue.messages).sum();
    let bytes: u64 = recovered.queues.values().map(|queue| queue.bytes).sum();
    format!(
        "{messages} messages with {} MiB in {} queues; {} metadata commands behind the snapshot",
        bytes >> 20,
        recovered.queues.len(),
        recovered.metadata_commands.len()
    )
}

fn text_of(damage: &Damage) -> String {
    if let Damage::Messages {
        queue,
        positions,
        file,
    } = damage
    {
        return format!(
            "{file}: messages of queue {} among positions {} to {} are damaged and lost",
            queue.0, positions.start.0, positions.end.0
        );
    }
    if let Damage::Marks { queue, file } = damage {
        return format!(
            "{file}: marks of queue {} are damaged: settled messages may come again",
            queue.0
        );
    }
    if let Damage::Bytes { file, range } = damage {
        return format!(
            "{file}: bytes {} to {} cannot be read",
            range.start, range.end
        );
    }
    if let Damage::Metadata { commands, file } = damage {
        return format!(
            "{file}: metadata commands {} to {} are damaged and lost",
            commands.start, commands.end
        );
    }
    format!("damaged: {damage:?}")
}

fn advice(damage: &Damage) -> &'static str {
    if matches!(damage, Damage::Metadata { .. }) {
        "copy the directory before a start, then import definitions from a backup"
    } else {
        "a node starts with what is left; check the disk (its log, SMART) and copy the directory before a start"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severities(dir: &Path) -> Vec<Severity> {
        let mut findings = Vec::new();
        check(dir, &mut findings);
        findings.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn what_is_not_there_is_no_error_and_what_is_unreadable_is_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(severities(&folder.path().join("none")), [Severity::Note]);
        assert_eq!(severities(folder.path()), [Severity::Ok]);
        // Nothing was written.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(folder.path().join("format"), b"something else").unwrap();
        assert_eq!(severities(folder.path()), [Severity::Error]);
    }
}
