//! Lines on their way to something that may be slow or gone: a bounded queue and a thread.
//!
//! A thread that logs never waits here. A line that finds no room, or cannot be sent, is lost, and the next one that arrives says how
//! many are missing.
//!
//! Limit: [`LINES_MAX`] lines wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing::Level;

/// Lines that wait to be sent.
const LINES_MAX: usize = 1024;

/// One line.
pub(super) struct Entry {
    pub(super) level: Level,
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) text: String,
    /// Fields beside the text, where lines have some.
    pub(super) fields: Vec<(String, String)>,
}

/// Where lines go.
pub(super) trait Sink: Send + 'static {
    /// Sends a line with this note in front; the error says how many lines were lost.
    fn send(&mut self, entry: &Entry, note: &str) -> Result<(), usize>;
}

/// What the threads that log write to.
pub(super) struct Feed {
    sender: SyncSender<Entry>,
    missing: Arc<AtomicU64>,
}

impl Feed {
    /// Starts the thread that sends. It ends when nobody logs any more, which is the end of the process.
    ///
    /// # Errors
    /// The operating system refuses the thread.
    pub(super) fn start(name: &str, mut sink: impl Sink) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let missing = Arc::<AtomicU64>::default();
        let lost = Arc::clone(&missing);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&mut sink, &receiver, &lost))?;
        Ok(Self { sender, missing })
    }

    /// Hands a line over, if there is room.
    pub(super) fn send(&self, entry: Entry) {
        if self.sender.try_send(entry).is_err() {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn run(sink: &mut impl Sink, entries: &Receiver<Entry>, missing: &AtomicU64) {
    while let Ok(entry) = entries.recv() {
        let lost = missing.swap(0, Ordering::Relaxed);
        let note = match lost {
            0 => String::new(),
            _ => format!("({lost} lines are missing before this one) "),
        };
        if let Err(more) = sink.send(&entry, &note) {
            missing.fetch_add(lost + more as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Loses the first lines and tells of the others.
    struct Unreliable(usize, mpsc::Sender<String>);

    impl Sink for Unreliable {
        fn send(&mut self, entry: &Entry, note: &str) -> Result<(), usize> {
            if self.0 > 0 {
                self.0 -= 1;
                return Err(1);
            }
            self.1.send(format!("{note}{}", entry.text)).map_err(|_| 1)
        }
    }

    #[test]
    fn the_next_line_says_how_many_are_missing() {
        let (sender, lines) = mpsc::channel();
        let feed = Feed::start("test", Unreliable(2, sender)).unwrap();
        for text in ["a", "b", "c", "d"] {
            feed.send(Entry {
                level: Level::INFO,
                time: Duration::ZERO,
                text: text.to_owned(),
                fields: Vec::new(),
            });
        }
        drop(feed);
        let lines: Vec<String> = lines.iter().collect();
        assert_eq!(lines, ["(2 lines are missing before this one) c", "d"]);
    }
}
