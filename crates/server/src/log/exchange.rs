//! The log in the exchange `amq.rabbitmq.log`: each line is a message, its level the routing key.
//!
//! A thread that logs never waits for this: lines go through a channel to a thread of their own, which publishes them. That thread
//! and what it calls log nothing, so no line makes another.
//!
//! Limit: [`LINES_MAX`] lines wait; what comes beyond is not in the exchange, and the next line there says how much is missing.

use node::{Handle, Service};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Lines that wait to be published.
const LINES_MAX: usize = 1024;

/// Longest line in bytes; the rest is cut.
const LINE_SIZE_MAX: usize = 16 << 10;

/// One line and its level.
#[derive(Debug)]
struct Line {
    level: &'static str,
    text: Vec<u8>,
}

/// What the threads that log write to.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    sender: SyncSender<Option<Line>>,
    missing: Arc<AtomicU64>,
}

/// Publishes the lines, as soon as there is a node.
#[derive(Debug)]
pub(crate) struct Publisher {
    receiver: Receiver<Option<Line>>,
    lines: Lines,
}

/// Both ends.
pub(crate) fn channel() -> (Lines, Publisher) {
    let (sender, receiver) = sync_channel(LINES_MAX);
    let lines = Lines {
        sender,
        missing: Arc::default(),
    };
    let publisher = Publisher {
        receiver,
        lines: lines.clone(),
    };
    (lines, publisher)
}

impl Lines {
    /// Sends a line, if there is room.
    pub(super) fn send(&self, level: &'static str, text: String) {
        let mut text = text.into_bytes();
        text.truncate(LINE_SIZE_MAX);
        if self.sender.try_send(Some(Line { level, text })).is_err() {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where a publisher is while no broker runs.
pub(crate) type Slot = Arc<Mutex<Option<Publisher>>>;

/// Starts the thread of the publisher in the slot; it is there again when the thread has ended. `None` where the log does not go to
/// the exchange.
///
/// # Errors
/// The operating system refuses the thread.
pub(crate) fn start(slot: &Slot, handle: Handle) -> io::Result<Option<Box<dyn Service>>> {
    if handle.settings().log.exchange.is_none() {
        return Ok(None);
    }
    let Some(lines) = slot.lock().as_ref().map(|own| own.lines.clone()) else {
        return Ok(None);
    };
    let own = Arc::clone(slot);
    let thread = std::thread::Builder::new()
        .name("log-exchange".to_owned())
        .spawn(move || {
            let taken = own.lock().take();
            if let Some(publisher) = taken {
                publisher.run(&handle);
                *own.lock() = Some(publisher);
            }
        })?;
    Ok(Some(Box::new(Running { lines, thread })))
}

impl Publisher {
    fn run(&self, handle: &Handle) {
        while let Ok(Some(line)) = self.receiver.recv() {
            let mut text = String::from_utf8_lossy(&line.text).into_owned();
            let missing = self.lines.missing.swap(0, Ordering::Relaxed);
            if missing > 0 {
                text.insert_str(
                    0,
                    &format!("({missing} lines are missing before this one) "),
                );
            }
            handle.publish_log_line(line.level, text);
        }
    }
}

/// The thread that publishes.
struct Running {
    lines: Lines,
    thread: JoinHandle<()>,
}

impl Service for Running {
    fn addresses(&self) -> Vec<String> {
        Vec::new()
    }

    fn stop(self: Box<Self>) {
        // The thread takes lines until it is told to end, so there is room soon.
        if self.lines.sender.send(None).is_ok() && self.thread.join().is_err() {
            tracing::error!("the log exchange's thread has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_channel_loses_lines_and_counts_them() {
        let (lines, publisher) = channel();
        for number in 0..LINES_MAX + 3 {
            lines.send("info", format!("line {number}"));
        }
        let first = publisher.receiver.try_recv().unwrap().unwrap();
        assert_eq!((first.level, &first.text[..]), ("info", &b"line 0"[..]));
        assert_eq!(lines.missing.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn long_lines_are_cut() {
        let (lines, publisher) = channel();
        lines.send("info", "x".repeat(3 * LINE_SIZE_MAX));
        let line = publisher.receiver.try_recv().unwrap().unwrap();
        assert_eq!(line.text.len(), LINE_SIZE_MAX);
    }
}
