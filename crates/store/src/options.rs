//! Sizes and limits of a store.

use std::path::PathBuf;

/// How a store is laid out. All sizes may be changed between two starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; created (mode 0700) if it is not there.
    pub dir: PathBuf,
    /// Size of one log file in bytes. A batch that is larger makes its file larger.
    pub wal_file_bytes: u64,
    /// Log files that may exist; when all of them are full, batches wait for the mover.
    pub wal_files_max: usize,
    /// Full log files that are left alone for a while, since most of their messages will be settled soon.
    pub wal_files_kept: usize,
    /// Size in bytes at which a segment file is closed and the next begun.
    pub segment_bytes_max: u64,
    /// A full log file of which at least this many percent is live stays where it is, and is read there.
    pub kept_live_percent_min: u64,
    /// ... if the messages of each queue lie in it in pieces of at least this many bytes, on average.
    pub kept_piece_bytes_min: u64,
    /// What segments and kept log files may hold of settled messages, in bytes, beyond as much as they hold of live
    /// ones; above that, the emptiest are rewritten.
    pub garbage_bytes_min: u64,
    /// Metadata commands, in bytes, that are kept before a snapshot is asked for.
    pub metadata_log_bytes_max: u64,
}

impl Options {
    /// The defaults for a data directory: 64 MiB log files, at most 8 of them, 16 MiB segments.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            wal_file_bytes: 64 << 20,
            wal_files_max: 8,
            wal_files_kept: 1,
            segment_bytes_max: 16 << 20,
            kept_live_percent_min: 50,
            kept_piece_bytes_min: 16 << 10,
            garbage_bytes_min: 64 << 20,
            metadata_log_bytes_max: 4 << 20,
        }
    }
}
