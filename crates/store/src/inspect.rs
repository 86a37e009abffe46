//! A look at a data directory that changes nothing in it.
//!
//! It is recovery itself on a disk that takes no writes: what it would clean up stays, what it would write is forgotten.

use crate::atomic_file::AtomicFile;
use crate::disk::{Disk, DiskFile, RealDisk};
use crate::event::{Event, EventSink};
use crate::options::Options;
use crate::recovered::Recovered;
use crate::{StoreError, recovery};
use std::any::Any;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Reads a data directory as a start would, and keeps others from starting on it meanwhile.
///
/// # Errors
/// As [`crate::open`]: it is in use, of a newer format, or cannot be read.
pub fn inspect(dir: &Path) -> Result<Recovered, StoreError> {
    let disk = Arc::new(ReadOnlyDisk);
    let (_, mut recovered) = recovery::recover(Options::new(dir), disk, Arc::new(Nobody))?;
    if !dir.join(AtomicFile::Format.name()).exists() {
        // There is no data yet. What the first start would have made cannot be missed.
        recovered.damage.clear();
    }
    Ok(recovered)
}

struct Nobody;

impl EventSink for Nobody {
    fn event(&self, _: Event) {}
}

/// The operating system's file system without its changes.
struct ReadOnlyDisk;

impl Disk for ReadOnlyDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        if !path.exists() {
            return Ok(Box::new(()));
        }
        RealDisk.lock(path)
    }

    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ReadOnlyFile(None)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ReadOnlyFile(Some(File::open(path)?))))
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_space(path)
    }
}

/// A file as it is; one that would have been made has nothing in it.
struct ReadOnlyFile(Option<File>);

impl DiskFile for ReadOnlyFile {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(file) = &self.0 else {
            return Ok(0);
        };
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn preallocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn datasync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        match &self.0 {
            Some(file) => Ok(file.metadata()?.len()),
            None => Ok(0),
        }
    }
}
