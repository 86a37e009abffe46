//! What a configuration is made from, as a trait, and the process that it usually is.
//!
//! Reading only: nothing here creates or changes a file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files, variables and names around a node.
pub trait Surroundings {
    /// An environment variable; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<String>;
    /// The host's name, short or long.
    fn host_name(&self) -> String;
    /// Whether there is such a file.
    fn is_file(&self, path: &Path) -> bool;
    /// Whether there is such a directory and this process may create files in it.
    fn is_writable_directory(&self, path: &Path) -> bool;
    /// The text of a file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8 or is larger than a configuration can be.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// The files in a directory, in any order; none if there is no such directory.
    fn list(&self, directory: &Path) -> Vec<PathBuf>;
}

/// The process and machine the node runs in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

/// Largest configuration file that is read, 1 MiB; a larger one is an error.
const FILE_SIZE_MAX_BYTES: u64 = 1 << 20;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn host_name(&self) -> String {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_writable_directory(&self, path: &Path) -> bool {
        path.is_dir() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?
            .take(FILE_SIZE_MAX_BYTES + 1)
            .read_to_string(&mut text)?;
        if text.len() as u64 > FILE_SIZE_MAX_BYTES {
            return Err(io::Error::other("larger than 1 MiB"));
        }
        Ok(text)
    }

    fn list(&self, directory: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(directory) else {
            return Vec::new();
        };
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect()
    }
}
