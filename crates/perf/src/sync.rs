//! The disk's floor: how long one page takes to be on stable storage.
//!
//! Pages are overwritten in a file that was filled and synced before, as a write-ahead log with preallocated files does
//! it, so neither the file's size nor its block map changes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

const PAGE_SIZE: usize = 4096;
const PAGE_COUNT: u64 = 4096;
/// Syncs that are timed, unless [`TIME_MAX`] comes first.
const SYNC_COUNT: u64 = 2000;
const TIME_MAX: Duration = Duration::from_secs(3);

/// Median time of writing one page and `fdatasync`, in microseconds.
///
/// # Errors
/// A file in `dir` cannot be written.
pub(crate) fn measure(dir: &Path) -> anyhow::Result<f64> {
    let path = dir.join(format!("warren-perf-sync-{}", std::process::id()));
    let result = measure_file(&path);
    // The file is of no use to anybody; if it cannot be removed, the measurement still counts.
    let _ = fs::remove_file(&path);
    result.with_context(|| format!("write and sync {}", path.display()))
}

fn measure_file(path: &Path) -> anyhow::Result<f64> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    let page = [0x5a; PAGE_SIZE];
    for index in 0..PAGE_COUNT {
        file.write_all_at(&page, index * PAGE_SIZE as u64)?;
    }
    file.sync_all()?;
    let began = Instant::now();
    let mut times = Vec::new();
    while (times.len() as u64) < SYNC_COUNT && began.elapsed() < TIME_MAX {
        let offset = times.len() as u64 % PAGE_COUNT * PAGE_SIZE as u64;
        let before = Instant::now();
        file.write_all_at(&page, offset)?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(measure(Path::new("/nonexistent/directory")).is_err());
    }
}
