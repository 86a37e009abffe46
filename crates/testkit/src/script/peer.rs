//! One socket to a broker: a thread cuts what comes into frames; sending is direct.

use anyhow::Context;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// What came from a broker.
#[derive(Debug)]
pub(super) enum Event {
    Frame {
        kind: u8,
        channel: u16,
        payload: Vec<u8>,
    },
    /// Its protocol header, which it sends to a client it does not understand.
    Header([u8; 8]),
    /// The socket was closed or reset.
    Eof,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Peer {
    socket: TcpStream,
    /// When the script last sent something.
    pub(super) sent_at: Instant,
}

impl Peer {
    /// Connects; events arrive on `events` under this index.
    pub(super) fn connect(
        address: SocketAddr,
        index: usize,
        events: Sender<(usize, Event)>,
    ) -> anyhow::Result<Self> {
        let socket =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = BufReader::new(socket.try_clone()?);
        std::thread::spawn(move || {
            while let Ok(event) = next_event(&mut reader) {
                if events.send((index, event)).is_err() {
                    return;
                }
            }
            // The case may be over.
            let _ = events.send((index, Event::Eof));
        });
        Ok(Self {
            socket,
            sent_at: Instant::now(),
        })
    }

    /// Sends; a broker that closed the socket meanwhile is seen by the reader.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.sent_at = Instant::now();
        let _ = self.socket.write_all(bytes);
    }

    pub(super) fn close(&self) {
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.close();
    }
}

fn next_event(reader: &mut impl Read) -> std::io::Result<Event> {
    let mut head = [0; 7];
    reader.read_exact(&mut head)?;
    if head.starts_with(b"AMQP") {
        let mut last = [0];
        reader.read_exact(&mut last)?;
        let [a, b, c, d, e, f, g] = head;
        return Ok(Event::Header([a, b, c, d, e, f, g, last[0]]));
    }
    let [kind, c0, c1, s0, s1, s2, s3] = head;
    let mut payload = vec![0; u32::from_be_bytes([s0, s1, s2, s3]) as usize + 1];
    reader.read_exact(&mut payload)?;
    payload.pop();
    Ok(Event::Frame {
        kind,
        channel: u16::from_be_bytes([c0, c1]),
        payload,
    })
}

/// A whole frame.
pub(super) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("scripts are short");
    [
        &[kind][..],
        &channel.to_be_bytes(),
        &size.to_be_bytes(),
        payload,
        &[0xCE],
    ]
    .concat()
}
