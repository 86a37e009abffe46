//! A log file that makes room for a new one: by size, by time, or because somebody says so.
//!
//! `node.log` becomes `node.log.0`, `node.log.0` becomes `node.log.1`, and the last goes. A file that another program has moved
//! is opened anew. A line that cannot be written is lost, which the standard error stream hears of once.
//!
//! Old files may be compressed (`node.log.0.gz`). That is the work of a thread of its own; only a rotation that comes before the last
//! one's thread is done waits for it.

use base::Civil;
use config::log::{Rotation, RotationDate};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a log writes to.
pub(super) trait Target {
    /// Writes one line, its end included; `now` is the time since 1970.
    fn write(&mut self, line: &[u8], now: Duration);
}

/// A file and its rule.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: Option<File>,
    size_bytes: u64,
    /// The next time of [`Rotation::date`], in seconds since 1970.
    next_s: Option<u64>,
    has_failed: bool,
    /// Compresses the newest old file.
    compressor: Option<JoinHandle<io::Result<()>>>,
}

impl LogFile {
    /// Opens the file at its end, and makes its directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("log file {}: {error}", path.display()),
            )
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(named)?;
        }
        let (file, size_bytes) = append(path).map_err(named)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs();
        Ok(Self {
            path: path.to_owned(),
            next_s: rotation.date.map(|date| next(date, now_s)),
            rotation,
            file: Some(file),
            size_bytes,
            has_failed: false,
            compressor: None,
        })
    }

    /// Begins a new file.
    pub(super) fn rotate(&mut self) {
        self.finish_compression();
        self.file = None;
        let count = self.rotation.count;
        if count == 0 {
            // Nothing stays: the file begins again.
            self.note(fs::remove_file(&self.path));
        }
        for number in (0..count).rev() {
            let from = match number {
                0 => self.path.clone(),
                _ => self.numbered(number - 1),
            };
            for compressed in [false, true] {
                let (from, to) = match compressed {
                    false => (from.clone(), self.numbered(number)),
                    true => (
                        compressed_name(&from),
                        compressed_name(&self.numbered(number)),
                    ),
                };
                if from.exists() {
                    self.note(fs::rename(&from, to));
                }
            }
        }
        self.reopen();
        if self.rotation.compresses && count > 0 {
            let old = self.numbered(0);
            let started = std::thread::Builder::new()
                .name("log-compress".to_owned())
                .spawn(move || compress(&old));
            match started {
                Ok(thread) => self.compressor = Some(thread),
                Err(error) => self.note(Err(error)),
            }
        }
    }

    /// Waits until the newest old file is compressed.
    fn finish_compression(&mut self) {
        if let Some(Ok(result)) = self.compressor.take().map(JoinHandle::join) {
            self.note(result);
        }
    }

    /// Opens the file again by its name.
    pub(super) fn reopen(&mut self) {
        match append(&self.path) {
            Ok((file, size_bytes)) => {
                self.file = Some(file);
                self.size_bytes = size_bytes;
            }
            Err(error) => self.note(Err(error)),
        }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }

    #[expect(
        clippy::print_stderr,
        reason = "the log cannot say that it cannot be written"
    )]
    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.has_failed
        {
            self.has_failed = true;
            eprintln!("log file {}: {error}", self.path.display());
        }
    }
}

impl Target for LogFile {
    fn write(&mut self, line: &[u8], now: Duration) {
        let is_full = self.rotation.size_bytes.is_some_and(|max| {
            self.size_bytes > 0 && self.size_bytes.saturating_add(line.len() as u64) > max
        });
        let now_s = now.as_secs();
        let is_due = self.next_s.is_some_and(|next_s| next_s <= now_s);
        if is_due {
            self.next_s = self.rotation.date.map(|date| next(date, now_s));
        }
        if is_full || is_due {
            self.rotate();
        }
        let Some(file) = &mut self.file else {
            return self.reopen();
        };
        match file.write_all(line) {
            Ok(()) => {
                self.size_bytes += line.len() as u64;
                self.has_failed = false;
            }
            Err(error) => self.note(Err(error)),
        }
    }
}

/// The name of a file's compressed form.
fn compressed_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".gz");
    name.into()
}

/// Puts a file's compressed form in its place; there is a whole one of the two at each moment.
fn compress(path: &Path) -> io::Result<()> {
    let mut from = File::open(path)?;
    let mut unfinished = OsString::from(path);
    unfinished.push(".gz.tmp");
    let unfinished = PathBuf::from(unfinished);
    let mut to = GzEncoder::new(File::create(&unfinished)?, Compression::default());
    io::copy(&mut from, &mut to)?;
    to.finish()?;
    fs::rename(&unfinished, compressed_name(path))?;
    fs::remove_file(path)
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size_bytes = file.metadata()?.len();
    Ok((file, size_bytes))
}

/// The first time of the rule after `now_s`.
fn next(date: RotationDate, now_s: u64) -> u64 {
    /// From the 31st to the next one it can be two months, and any other rule is met sooner.
    const HOURS_MAX: u64 = 24 * 63;
    let hour_s = now_s - now_s % 3_600;
    (0..=HOURS_MAX)
        .map(|hours| hour_s + hours * 3_600 + u64::from(date.minute) * 60)
        .find(|candidate| {
            let civil = Civil::from_unix(*candidate);
            *candidate > now_s
                && date.hour.is_none_or(|hour| hour == civil.hour)
                && date.week_day.is_none_or(|day| day == civil.week_day)
                && date.month_day.is_none_or(|day| day == civil.day)
        })
        .unwrap_or(hour_s + HOURS_MAX * 3_600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn open(directory: &Path, rotation: Rotation) -> LogFile {
        LogFile::open(&directory.join("logs/a.log"), rotation).unwrap()
    }

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(
            directory.path(),
            Rotation {
                size_bytes: Some(10),
                count: 2,
                ..Rotation::default()
            },
        );
        for line in ["one 456\n", "two 456\n", "three 6\n", "four 56\n"] {
            file.write(line.as_bytes(), Duration::ZERO);
        }
        let logs = directory.path().join("logs");
        assert_eq!(names(&logs), ["a.log", "a.log.0", "a.log.1"]);
        let text = |name: &str| fs::read_to_string(logs.join(name)).unwrap();
        assert_eq!(text("a.log"), "four 56\n");
        assert_eq!(text("a.log.0"), "three 6\n");
        assert_eq!(text("a.log.1"), "two 456\n");
    }

    #[test]
    fn old_files_can_be_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(
            directory.path(),
            Rotation {
                count: 2,
                compresses: true,
                ..Rotation::default()
            },
        );
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            file.write(line.as_bytes(), Duration::ZERO);
            if line != "four\n" {
                file.rotate();
            }
        }
        file.finish_compression();
        let logs = directory.path().join("logs");
        assert_eq!(names(&logs), ["a.log", "a.log.0.gz", "a.log.1.gz"]);
        let text = |name: &str| {
            let compressed = File::open(logs.join(name)).unwrap();
            io::read_to_string(flate2::read::GzDecoder::new(compressed)).unwrap()
        };
        assert_eq!(text("a.log.0.gz"), "three\n");
        assert_eq!(text("a.log.1.gz"), "two\n");
    }

    #[test]
    fn with_no_old_files_it_begins_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(directory.path(), Rotation::default());
        file.write(b"one\n", Duration::ZERO);
        file.rotate();
        file.write(b"two\n", Duration::ZERO);
        let logs = directory.path().join("logs");
        assert_eq!(names(&logs), ["a.log"]);
        assert_eq!(fs::read_to_string(logs.join("a.log")).unwrap(), "two\n");
    }

    #[test]
    fn a_line_after_the_time_begins_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(
            directory.path(),
            Rotation {
                date: RotationDate::parse("$D0"),
                count: 1,
                ..Rotation::default()
            },
        );
        file.write(b"today\n", Duration::ZERO);
        let tomorrow = Duration::from_secs(file.next_s.unwrap() + 1);
        file.write(b"tomorrow\n", tomorrow);
        file.write(b"later\n", tomorrow);
        let logs = directory.path().join("logs");
        let text = |name: &str| fs::read_to_string(logs.join(name)).unwrap();
        assert_eq!(text("a.log.0"), "today\n");
        assert_eq!(text("a.log"), "tomorrow\nlater\n");
    }

    #[test]
    fn a_moved_file_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(directory.path(), Rotation::default());
        file.write(b"one\n", Duration::ZERO);
        let logs = directory.path().join("logs");
        fs::rename(logs.join("a.log"), logs.join("a.log.old")).unwrap();
        file.reopen();
        file.write(b"two\n", Duration::ZERO);
        assert_eq!(fs::read_to_string(logs.join("a.log")).unwrap(), "two\n");
    }

    #[test]
    fn times_come_again() {
        // 2026-01-30 10:20:00, a Friday.
        const NOW: u64 = 1_769_768_400;
        for (rule, expected) in [
            ("$H00", (30, 11, 0)),
            ("$H30", (30, 10, 30)),
            ("$D0", (31, 0, 0)),
            ("$D12", (30, 12, 0)),
            ("$W5D10", (6, 10, 0)),
            ("$W0D23", (1, 23, 0)),
            ("$M1D0", (1, 0, 0)),
            ("$M31D5H30", (31, 5, 30)),
        ] {
            let civil = Civil::from_unix(next(RotationDate::parse(rule).unwrap(), NOW));
            assert_eq!((civil.day, civil.hour, civil.minute), expected, "{rule}");
        }
    }
}
