//! What a broker and a client say to each other before the first message.
//!
//! [`server`] asks a broker what it is. [`answer`] is the broker's side, for the relay: it says what our own load
//! generator must hear until it publishes or consumes. It serves no other client: it checks no login and keeps nothing.
//! Spec: AMQP 0-9-1 §2.2.4.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use client_amqp091::AmqpUri;
use client_amqp091::codec::{
    FRAME_MIN_SIZE, Method, PROTOCOL_HEADER, Table, Value, basic, channel, connection,
    decode_frame, queue,
};
use serde::Serialize;

/// Frames before the first message are small; the first messages come on top of them.
const BUFFER_SIZE: usize = 256 << 10;
/// Longest wait for either side's next word.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest frame that the relay's clients are offered, as RabbitMQ and WarrenMQ offer it.
const FRAME_MAX: u32 = 131_072;

/// A broker as it describes itself in `connection.start`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Server {
    pub product: String,
    pub version: String,
}

/// What a client of the relay turned out to be.
#[derive(Debug)]
pub(crate) enum Peer {
    /// It publishes; its first bytes are read, as many as this.
    Publisher(TcpStream, usize),
    /// It consumes, and has been told that it does.
    Consumer(TcpStream),
    /// It has closed its connection.
    Gone,
}

/// Asks a broker what it is and hangs up.
///
/// # Errors
/// It cannot be reached or does not speak AMQP 0-9-1.
pub(crate) fn server(uri: &AmqpUri) -> anyhow::Result<Server> {
    let mut socket = TcpStream::connect((uri.host.as_str(), uri.port))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(&PROTOCOL_HEADER)?;
    let mut buffer = Buffer::new();
    loop {
        buffer.read(&mut socket)?;
        if let Some((frame, _)) = decode_frame(buffer.bytes(), FRAME_MIN_SIZE)? {
            let Method::ConnectionStart(start) = Method::decode(frame.payload)? else {
                anyhow::bail!("the broker does not begin with connection.start");
            };
            return Ok(describe(&start.server_properties));
        }
    }
}

fn describe(properties: &Table<'_>) -> Server {
    let text = |key: &[u8]| match properties.get(key) {
        Ok(Some(Value::LongStr(text))) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    Server {
        product: text(b"product"),
        version: text(b"version"),
    }
}

/// Talks to a client of the relay until it is known what it is.
///
/// # Errors
/// The socket fails, or the client says something that the load generator never says.
pub(crate) fn answer(mut socket: TcpStream) -> io::Result<Peer> {
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut buffer = Buffer::new();
    while buffer.bytes().len() < PROTOCOL_HEADER.len() {
        buffer.read(&mut socket)?;
    }
    buffer.take(PROTOCOL_HEADER.len());
    let mut out = Vec::new();
    connection::Start {
        version_minor: 9,
        mechanisms: b"PLAIN",
        locales: b"en_US",
        ..Default::default()
    }
    .encode(0, &mut out);
    loop {
        socket.write_all(&out)?;
        out.clear();
        while let Some((frame, size)) =
            decode_frame(buffer.bytes(), FRAME_MAX).map_err(io::Error::other)?
        {
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "these three end the greeting; all others are judged by `reply`"
            )]
            match Method::decode(frame.payload).map_err(io::Error::other)? {
                Method::BasicPublish(_) => {
                    return Ok(Peer::Publisher(socket, buffer.bytes().len()));
                }
                Method::BasicConsume(consume) => {
                    let consumer_tag = consume.consumer_tag;
                    basic::ConsumeOk { consumer_tag }.encode(frame.channel, &mut out);
                    socket.write_all(&out)?;
                    return Ok(Peer::Consumer(socket));
                }
                Method::ConnectionClose(_) => {
                    connection::CloseOk.encode(0, &mut out);
                    socket.write_all(&out)?;
                    return Ok(Peer::Gone);
                }
                method => reply(&method, frame.channel, &mut out)?,
            }
            buffer.take(size);
        }
        if out.is_empty() {
            buffer.read(&mut socket)?;
        }
    }
}

/// Appends the reply to a method that has one and decides nothing.
fn reply(method: &Method<'_>, channel: u16, out: &mut Vec<u8>) -> io::Result<()> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the load generator sends no other method before it publishes or consumes"
    )]
    match method {
        Method::ConnectionStartOk(_) => connection::Tune {
            channel_max: 2047,
            frame_max: FRAME_MAX,
            heartbeat: 0,
        }
        .encode(0, out),
        Method::ConnectionTuneOk(_) => {}
        Method::ConnectionOpen(_) => connection::OpenOk::default().encode(0, out),
        Method::ChannelOpen(_) => channel::OpenOk::default().encode(channel, out),
        Method::QueueDeclare(declare) => queue::DeclareOk {
            queue: declare.queue,
            ..Default::default()
        }
        .encode(channel, out),
        other => return Err(io::Error::other(format!("unexpected {other:?}"))),
    }
    Ok(())
}

/// What was read and not yet taken, of limited size.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER_SIZE],
            start: 0,
            end: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn take(&mut self, size: usize) {
        self.start += size;
    }

    /// Reads once; the end of the stream and a full buffer are errors.
    fn read(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        match socket.read(&mut self.bytes[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use client_amqp091::codec::TableWriter;

    use super::*;

    #[test]
    fn a_server_is_described_by_its_properties() {
        let mut bytes = Vec::new();
        let mut writer = TableWriter::new(&mut bytes);
        writer.field(b"product", &Value::LongStr(b"RabbitMQ"));
        writer.field(b"version", &Value::LongStr(b"4.3.6"));
        let server = describe(&Table::new(&bytes));
        assert_eq!((&*server.product, &*server.version), ("RabbitMQ", "4.3.6"));
        assert_eq!(describe(&Table::empty()), Server::default());
    }
}
