//! TLS on a shard's socket: the bytes of the client behind those of the wire.
//!
//! The handshake is over when a connection comes here (see `listener`). Nothing waits: what the socket does not take or does not have yet is told
//! by `WouldBlock`, as the socket itself would.

use crate::connection_driver::Found;
use bytes::{BufMut as _, BytesMut};
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use tokio::net::TcpStream;
use transport::ServerConnection;

/// Room for the client's bytes below which no more of the wire is read: more than one record holds.
const ROOM_BYTES_MIN: usize = 32 << 10;

/// The state of TLS on one socket.
pub(crate) struct TlsStream {
    connection: Box<ServerConnection>,
    /// The client has said that nothing more comes.
    is_closed: bool,
}

impl TlsStream {
    pub(crate) fn new(connection: Box<ServerConnection>) -> Self {
        Self {
            connection,
            is_closed: false,
        }
    }

    /// Appends what the client has sent to `buffer`. As with a socket, everything that was there has been read only after
    /// [`Found::All`].
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing; else the socket or TLS failed.
    pub(crate) fn read(&mut self, stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<Found> {
        let before = buffer.len();
        loop {
            self.decrypt(stream, buffer)?;
            if self.is_closed {
                // What came before the end is handled first; the socket stays readable.
                return Ok(if buffer.len() > before {
                    Found::Part
                } else {
                    Found::End
                });
            }
            if buffer.capacity() - buffer.len() < ROOM_BYTES_MIN && buffer.len() > before {
                return Ok(Found::Part);
            }
            match self.connection.read_tls(&mut Wire(stream)) {
                Ok(0) => self.is_closed = true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && buffer.len() > before => {
                    return Ok(Found::All);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what is decrypted to `buffer`.
    fn decrypt(&mut self, stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
        let state = match self.connection.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The client is told why, if it can be.
                let _ = self.flush(stream);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        };
        let count = state.plaintext_bytes_to_read();
        if count > 0 {
            buffer.reserve(count);
            let mut reader = self.connection.reader().take(count as u64);
            io::copy(&mut reader, &mut buffer.writer())?;
        }
        self.is_closed |= state.peer_has_closed();
        Ok(())
    }

    /// Takes some of these bytes for the client.
    ///
    /// # Errors
    /// `WouldBlock` if nothing was taken; else the socket failed.
    pub(crate) fn write(
        &mut self,
        stream: &TcpStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.flush(stream)?;
        let taken = self.connection.writer().write_vectored(slices)?;
        match self.flush(stream) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(taken),
        }
    }

    /// Writes what is encrypted.
    ///
    /// # Errors
    /// `WouldBlock` if the socket takes no more; else it failed.
    pub(crate) fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Wire(stream))?;
        }
        Ok(())
    }

    /// Whether something encrypted waits for the socket.
    pub(crate) fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Says that nothing more comes, if the socket takes it.
    pub(crate) fn close(&mut self, stream: &TcpStream) {
        self.connection.send_close_notify();
        let _ = self.flush(stream);
    }
}

/// The socket as rustls reads and writes it.
struct Wire<'a>(&'a TcpStream);

impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
