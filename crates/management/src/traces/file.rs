//! The files of traces: where they are, which names they may have, how large they become.
//!
//! A file that would become too large makes room for a new one: `t.log` becomes `t.log.1`, and what that was before is gone. A file that
//! somebody has deleted is made anew. It does not know what is in a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of a file that is written to.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a trace's name; that of its files has a few more.
const NAME_BYTES_MAX: usize = 200;

/// Files that are listed.
const FILES_MAX: usize = 10_000;

/// Whether files may have this name: one that leads nowhere else.
pub(crate) fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name
            .chars()
            .any(|c| matches!(c, '/' | '\\') || c.is_control())
}

/// A file that a trace writes to.
#[derive(Debug)]
pub(super) struct TraceFile {
    path: PathBuf,
    file: File,
    size_bytes: u64,
}

impl TraceFile {
    /// Opens the file of a trace, behind what is in it.
    ///
    /// # Errors
    /// It cannot be opened, or is no plain file.
    pub(super) fn open(directory: &Path, trace: &str) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)?;
        let path = directory.join(format!("{trace}.log"));
        let (file, size_bytes) = append(&path)?;
        Ok(Self {
            path,
            file,
            size_bytes,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole records.
    ///
    /// # Errors
    /// They are not in the file, or not all of them.
    pub(super) fn write(&mut self, records: &[u8]) -> io::Result<()> {
        let size = records.len() as u64;
        if self.file.metadata()?.nlink() == 0 {
            (self.file, self.size_bytes) = append(&self.path)?;
        }
        if self.size_bytes > 0 && self.size_bytes + size > FILE_BYTES_MAX {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            fs::rename(&self.path, before)?;
            (self.file, self.size_bytes) = append(&self.path)?;
        }
        self.file.write_all(records)?;
        self.size_bytes += size;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(no_surprises())
        .open(path)?;
    let size_bytes = plain(&file)?;
    Ok((file, size_bytes))
}

/// Others may write to the directory: no link is followed, and a pipe does not make anybody wait.
fn no_surprises() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    flags.bits().cast_signed()
}

/// The size of what has to be a plain file.
fn plain(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// A file of the directory, to be read, and its size.
///
/// # Errors
/// There is none of that name, or it cannot be read.
pub(crate) fn read(directory: &Path, name: &str) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(no_surprises())
        .open(place(directory, name)?)?;
    let size_bytes = plain(&file)?;
    Ok((file, size_bytes))
}

/// Deletes a file of the directory.
///
/// # Errors
/// As [`read`].
pub(crate) fn delete(directory: &Path, name: &str) -> io::Result<()> {
    let path = place(directory, name)?;
    if !fs::symlink_metadata(&path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    fs::remove_file(path)
}

fn place(directory: &Path, name: &str) -> io::Result<PathBuf> {
    if is_safe(name) {
        Ok(directory.join(name))
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Names and sizes of the files, by name.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<(String, u64)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let file = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        // Of a link it is the link's own.
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let name = entry.file_name().into_string().ok()?;
        is_safe(&name).then_some((name, metadata.len()))
    };
    let mut files: Vec<_> = entries.filter_map(file).take(FILES_MAX).collect();
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["t", "t.log", "a b", "ü..", "t.log.1"] {
            assert!(is_safe(name), "{name}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\0b",
            "a\nb",
            "..\\x",
            ".x",
            &long,
        ] {
            assert!(!is_safe(name), "{name}");
            let directory = tempfile::tempdir().unwrap();
            assert!(read(directory.path(), name).is_err());
            assert!(delete(directory.path(), name).is_err());
        }
    }

    #[test]
    fn a_full_file_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = TraceFile::open(directory.path(), "t").unwrap();
        file.write(b"old").unwrap();
        file.size_bytes = FILE_BYTES_MAX;
        file.write(b"new").unwrap();
        file.write(b"er").unwrap();
        let text = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((&*text("t.log"), &*text("t.log.1")), ("newer", "old"));
        let listed = [("t.log".to_owned(), 5), ("t.log.1".to_owned(), 3)];
        assert_eq!(list(directory.path()).unwrap(), listed);
    }

    #[test]
    fn a_deleted_file_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = TraceFile::open(directory.path(), "t").unwrap();
        file.write(b"a").unwrap();
        delete(directory.path(), "t.log").unwrap();
        file.write(b"b").unwrap();
        let text = fs::read_to_string(directory.path().join("t.log")).unwrap();
        assert_eq!(text, "b");
    }

    #[test]
    fn links_and_directories_are_no_files() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "canary").unwrap();
        let traces = directory.path().join("traces");
        fs::create_dir_all(traces.join("d")).unwrap();
        std::os::unix::fs::symlink(&secret, traces.join("t.log")).unwrap();
        assert!(read(&traces, "t.log").is_err());
        assert!(read(&traces, "d").is_err());
        assert!(delete(&traces, "t.log").is_err());
        assert!(TraceFile::open(&traces, "t").is_err());
        assert_eq!(list(&traces).unwrap(), []);
    }
}
