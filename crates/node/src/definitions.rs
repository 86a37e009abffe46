//! Files of definitions that a node takes in, at its start or later.
//!
//! What such a file says is [`definitions`](::definitions)' matter; this reads, hashes and carries out.

use crate::metadata_leader::BatchError;
use base::Name;
use broker::Error;
use broker::command::MetadataCommand;
use thiserror::Error as ThisError;

/// Why definitions were not imported; nothing has changed then.
#[derive(Clone, Debug, PartialEq, ThisError)]
pub enum ImportError {
    /// The file, or something in it, makes no sense.
    #[error(transparent)]
    File(#[from] ::definitions::Error),
    /// The broker refuses something in it.
    #[error("{text}")]
    Refused {
        /// What RabbitMQ says of it.
        text: String,
        /// The rule.
        error: Error,
    },
}

impl ImportError {
    pub(crate) fn refused(commands: &[MetadataCommand], refused: BatchError) -> Self {
        let BatchError { index, error } = refused;
        let text = match index {
            Some(index) => ::definitions::refusal(&commands[index], &error),
            None => error.to_string(),
        };
        Self::Refused { text, error }
    }
}

/// The commands of a file.
pub(crate) fn read(
    file: &[u8],
    vhost: Option<&Name>,
    user: &Name,
) -> Result<Vec<MetadataCommand>, ::definitions::Error> {
    let mut context = ::definitions::Context {
        vhost,
        user,
        random: &mut rand::random,
    };
    ::definitions::read(file, &mut context)
}
