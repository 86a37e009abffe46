//! What can go wrong in the store.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the store refused to open, or why the log has ended. Cheap to clone, since one failure is reported to many.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An operation on a file failed. On the log's own files this is final: nothing is confirmed after it.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// What was tried, in present tense ("sync log file").
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Another process has the data directory open.
    #[error("data directory {} is in use by another process", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory was written by a newer release, or is something else's. It was not touched.
    #[error("data directory {} has format {found}, this release reads formats up to {supported}", path.display())]
    Format {
        /// The format file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// The newest version that is understood.
        supported: u32,
    },
    /// The store was shut down.
    #[error("the store is shut down")]
    Closed,
    /// One record is larger than the log takes.
    #[error("record of {bytes} bytes is larger than the log's limit of {bytes_max}")]
    RecordTooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The limit, see [`crate::RECORD_BYTES_MAX`].
        bytes_max: usize,
    },
    /// One batch is larger than a log file can be.
    #[error("batch of {bytes} bytes is larger than the log's limit of {bytes_max}")]
    BatchTooLarge {
        /// Size of the batch.
        bytes: u64,
        /// The limit, see [`crate::BATCH_BYTES_MAX`].
        bytes_max: u64,
    },
}

impl StoreError {
    pub(crate) fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            op,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    /// Whether there was no room for more, in the file system or in the table of open files. Either may pass.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                let no_space = matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                );
                let no_file = [Errno::MFILE, Errno::NFILE]
                    .iter()
                    .any(|errno| source.raw_os_error() == Some(errno.raw_os_error()));
                no_space || no_file
            }
            Self::Locked { .. }
            | Self::Format { .. }
            | Self::Closed
            | Self::RecordTooLarge { .. }
            | Self::BatchTooLarge { .. } => false,
        }
    }
}

/// Adds the operation and the file to an [`io::Error`].
pub(crate) trait IoContext<T> {
    fn context(self, op: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, op: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::io(op, path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        for (errno, passes) in [
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::IO, false),
            (Errno::ROFS, false),
        ] {
            let error = StoreError::io("create", Path::new("wal-0001"), errno.into());
            assert_eq!(error.is_disk_full(), passes, "{error}");
        }
    }
}
