//! Small files that are replaced whole: written beside the old one, synced, renamed over it.
//!
//! ```text
//! ├─ magic(8) kind(1) version(1) 0(6) length(8) crc(4) 0(4) ─ payload ─┤├─ the same again ─┤
//! ```
//!
//! The content is there twice, so that one bad sector or bit does not lose it. The crc covers kind, version,
//! length and payload.

use crate::error::IoContext;
use crate::format::{CHECKPOINT_VERSION, FILE_VERSION, FORMAT_VERSION};
use crate::{Disk, StoreError};
use std::path::Path;

const MAGIC: [u8; 8] = *b"WARRENMQ";
const HEADER_BYTES: usize = 32;

/// Which file it is; also its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AtomicFile {
    /// Identity and version of the directory.
    Format = 1,
    /// What the log files that are gone have left: see `checkpoint.rs`.
    Checkpoint = 2,
    /// The owner's last metadata snapshot, behind the index (u64) of the last command in it.
    MetadataSnapshot = 3,
    /// Metadata commands of log files that are gone, each behind its index (u64) and length (u64).
    MetadataLog = 4,
}

/// What [`AtomicFile::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Missing,
    /// Neither copy is whole.
    Damaged,
    Whole {
        /// Of its layout: at most the one that is written.
        version: u8,
        payload: Vec<u8>,
    },
}

impl AtomicFile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Checkpoint => "checkpoint",
            Self::MetadataSnapshot => "metadata-snapshot",
            Self::MetadataLog => "metadata-log",
        }
    }

    /// Version of the layout that is written.
    fn version(self) -> u8 {
        match self {
            Self::Checkpoint => CHECKPOINT_VERSION,
            Self::Format => FORMAT_VERSION,
            Self::MetadataSnapshot | Self::MetadataLog => FILE_VERSION,
        }
    }

    fn temporary_name(self) -> String {
        format!("{}{}", self.name(), TEMPORARY_SUFFIX)
    }

    /// Replaces the file; durable when this returns. If the disk is full the old file is untouched.
    pub(crate) fn write(
        self,
        disk: &dyn Disk,
        dir: &Path,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let temporary = dir.join(self.temporary_name());
        let path = dir.join(self.name());
        let file = disk.create(&temporary).context("create file", &temporary)?;
        let copy_bytes = (HEADER_BYTES + payload.len()) as u64;
        if let Err(error) = file
            .preallocate(copy_bytes * 2)
            .context("allocate file", &temporary)
        {
            if error.is_disk_full() {
                disk.unlink(&temporary).context("remove file", &temporary)?;
            }
            return Err(error);
        }
        let header = self.header(payload);
        for start in [0, copy_bytes] {
            file.write_at(&header, start)
                .context("write file", &temporary)?;
            file.write_at(payload, start + HEADER_BYTES as u64)
                .context("write file", &temporary)?;
        }
        file.datasync().context("sync file", &temporary)?;
        disk.rename(&temporary, &path)
            .context("rename file", &temporary)?;
        disk.sync_dir(dir).context("sync directory", dir)
    }

    /// Reads the file back.
    ///
    /// # Errors
    /// If it cannot be read, or is whole and of a newer version.
    pub(crate) fn read(self, disk: &dyn Disk, dir: &Path) -> Result<Content, StoreError> {
        let path = dir.join(self.name());
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Content::Missing);
            }
            Err(error) => return Err(error).context("open file", &path),
        };
        let size = file.len().context("read file", &path)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let count = file.read_at(&mut bytes, 0).context("read file", &path)?;
        bytes.truncate(count);
        for start in [0, bytes.len() / 2] {
            if let Some((version, payload)) = self.parse(&bytes[start..]) {
                if version > self.version() {
                    let (found, supported) = (version.to_string(), u32::from(self.version()));
                    return Err(StoreError::Format {
                        path,
                        found,
                        supported,
                    });
                }
                let payload = payload.to_vec();
                return Ok(Content::Whole { version, payload });
            }
        }
        Ok(Content::Damaged)
    }

    fn header(self, payload: &[u8]) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8] = self as u8;
        header[9] = self.version();
        header[16..24].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        let crc = checksum(&header, payload);
        header[24..28].copy_from_slice(&crc.to_le_bytes());
        header
    }

    fn parse(self, bytes: &[u8]) -> Option<(u8, &[u8])> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        if header[..8] != MAGIC || header[8] != self as u8 {
            return None;
        }
        let length = usize::try_from(crate::format::u64_at(header, 16)).ok()?;
        let payload = rest.get(..length)?;
        (header[24..28] == checksum(header, payload).to_le_bytes()).then_some((header[9], payload))
    }
}

/// Files with this ending are leftovers of an interrupted write.
pub(crate) const TEMPORARY_SUFFIX: &str = ".new";

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..24]);
    crc.update(payload);
    crc.finalize()
}
