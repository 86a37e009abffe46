//! The log in the journal of systemd, by its own protocol: one datagram an entry, with fields.
//!
//! A field is `NAME=value` and a line end, or, if the value has line ends, the name, its length in 8 bytes and the value
//! (systemd docs: JOURNAL_NATIVE_PROTOCOL).
//!
//! Limit: a message is cut at [`MESSAGE_BYTES_MAX`], so that an entry fits into a datagram.

use super::feed::{Entry, Sink};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest message in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The journal.
pub(super) struct Journald {
    socket: UnixDatagram,
    path: &'static Path,
}

impl Journald {
    /// # Errors
    /// There is no journal.
    pub(super) fn open(path: &'static Path) -> io::Result<Self> {
        let named = |error: io::Error| {
            let text = format!("log.journald: {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        };
        let socket = UnixDatagram::unbound().map_err(named)?;
        // A journal that has started again later is found again by its name.
        socket.connect(path).map_err(named)?;
        Ok(Self { socket, path })
    }
}

impl Sink for Journald {
    fn send(&mut self, entry: &Entry, note: &str) -> Result<(), usize> {
        let datagram = datagram(entry, note);
        let sent = self.socket.send_to(&datagram, self.path);
        sent.map(drop).map_err(|_| 1)
    }
}

fn datagram(entry: &Entry, note: &str) -> Vec<u8> {
    let mut message = format!("{note}{}", entry.text);
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    let mut out = Vec::with_capacity(message.len() + 256);
    append(&mut out, "MESSAGE", &message);
    for (name, value) in &entry.fields {
        append(&mut out, name, value);
    }
    out
}

fn append(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::feed::Feed;
    use std::time::Duration;
    use tracing::Level;

    fn entry(text: &str) -> Entry {
        Entry {
            level: Level::WARN,
            time: Duration::ZERO,
            text: text.to_owned(),
            fields: vec![("PRIORITY".to_owned(), "4".to_owned())],
        }
    }

    #[test]
    fn entries_arrive_with_their_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path: &'static Path = Box::leak(directory.path().join("journal").into_boxed_path());
        assert!(Journald::open(path).is_err());
        let server = UnixDatagram::bind(path).unwrap();
        let patience = Some(Duration::from_secs(10));
        server.set_read_timeout(patience).unwrap();
        let feed = Feed::start("journald", Journald::open(path).unwrap()).unwrap();
        feed.send(entry("one"));
        feed.send(entry("two\nlines"));
        let mut buffer = [0; 1024];
        let size = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..size], b"MESSAGE=one\nPRIORITY=4\n");
        let size = server.recv(&mut buffer).unwrap();
        assert_eq!(
            &buffer[..size],
            b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=4\n"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = "ä".repeat(MESSAGE_BYTES_MAX);
        let datagram = datagram(&entry(&text), "x");
        assert!(datagram.len() < MESSAGE_BYTES_MAX + 100);
        assert!(String::from_utf8(datagram).is_ok());
    }
}
