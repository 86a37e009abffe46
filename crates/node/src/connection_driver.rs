//! The sockets of one shard: reads into the shard, writes what the shard has for a client.
//!
//! One small task a connection waits for its socket, its deadline or a nudge; all the work is done in the shard's turn, by whichever
//! task started it. Input is read into a buffer that all connections of the shard share; only the incomplete frame at its end
//! is kept by the connection, so an idle connection owns no buffer.

use crate::listener::Arrival;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::tls_stream::TlsStream;
use base::{ConnectionId, ShardId};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Room for one read. Larger reads save system calls, smaller ones stay in the cache.
const READ_BYTES: usize = 128 << 10;

/// The shared buffer is replaced when less room than this is left.
const READ_BYTES_MIN: usize = 32 << 10;

/// Reads of one connection in a row before the others, the mail and the timers of the shard get their turn.
const READS_IN_A_ROW: u32 = 2;

/// Pieces of one vectored write.
const SLICES_MAX: usize = 64;

/// Rounds of writing and refilling out-buffers in one turn, so that a fast consumer of a long queue does not hold up the rest.
const FLUSH_ROUNDS: usize = 4;

/// What one read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// All that was there.
    All,
    /// As much as there was room for.
    Part,
    /// The end of the stream.
    End,
}

/// A connection's socket and the way to reach its task.
struct Socket {
    stream: TcpStream,
    /// What is between the socket and the connection, if anything is.
    tls: Option<RefCell<TlsStream>>,
    /// Something about the connection changed: deadline, wish to read, end.
    nudge: Notify,
    /// The socket did not take everything: wait until it is writable.
    blocked: Cell<bool>,
    /// What the task waits for now: whether it reads, whether it waits to write, and its deadline.
    awaited: Cell<(bool, bool, Option<Duration>)>,
}

impl Socket {
    /// Whether TLS keeps bytes that the socket did not take.
    fn has_unsent(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|tls| tls.borrow().has_unsent())
    }

    fn flush(&self) -> std::io::Result<()> {
        match &self.tls {
            None => Ok(()),
            Some(tls) => tls.borrow_mut().flush(&self.stream),
        }
    }

    #[inline]
    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        match &self.tls {
            None => self.stream.try_write_vectored(slices),
            Some(tls) => tls.borrow_mut().write(&self.stream, slices),
        }
    }
}

/// A shard with its sockets, shared by the tasks of its thread.
pub(crate) struct ShardDriver {
    pub(crate) id: ShardId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) shard: RefCell<Shard>,
    sockets: RefCell<HashMap<ConnectionId, Rc<Socket>>>,
    read_buffer: RefCell<BytesMut>,
    dirty: RefCell<Vec<ConnectionId>>,
    /// The shard has more to do, or an earlier deadline, than its main task knows of.
    pub(crate) wake: Notify,
    /// The deadline that the main task waits for.
    pub(crate) armed: Cell<Option<Duration>>,
}

impl ShardDriver {
    pub(crate) fn new(id: ShardId, shared: Arc<Shared>, shard: Shard) -> Self {
        Self {
            id,
            shared,
            shard: RefCell::new(shard),
            sockets: RefCell::default(),
            read_buffer: RefCell::default(),
            dirty: RefCell::default(),
            wake: Notify::new(),
            armed: Cell::new(None),
        }
    }

    /// Takes over an accepted socket.
    pub(crate) fn adopt(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { stream, peer, tls } = arrival;
        let address = peer.address;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(peer = %address, %error, "cannot take over accepted socket");
                self.shared.connection_counts[self.id.index()].fetch_sub(1, Ordering::Relaxed);
                return;
            }
        };
        let id = self
            .shard
            .borrow_mut()
            .handle_connect(self.shared.now(), peer, rand::random());
        tracing::debug!(connection = %id, peer = %address, "accepting AMQP connection");
        let socket = Rc::new(Socket {
            stream,
            tls: tls.map(|connection| RefCell::new(TlsStream::new(connection))),
            nudge: Notify::new(),
            blocked: Cell::new(false),
            awaited: Cell::default(),
        });
        self.sockets.borrow_mut().insert(id, Rc::clone(&socket));
        let driver = Rc::clone(self);
        tokio::task::spawn_local(async move {
            driver.drive(id, &socket).await;
            if let Some(tls) = &socket.tls {
                tls.borrow_mut().close(&socket.stream);
            }
            driver.sockets.borrow_mut().remove(&id);
            driver.shard.borrow_mut().remove_connection(id);
            driver.shared.connection_counts[driver.id.index()].fetch_sub(1, Ordering::Relaxed);
            driver.finish_turn();
            driver.wake.notify_one();
        });
    }

    /// Waits for one connection's socket and deadline until it has finished.
    async fn drive(&self, id: ConnectionId, socket: &Socket) {
        let mut partial = BytesMut::new();
        let mut eof = false;
        let mut reads = 0;
        if socket.tls.is_some() {
            // The client's first bytes may have come with the end of the handshake.
            if self.read(id, socket, &mut partial) == Found::End {
                self.eof(id, &mut eof);
            }
            self.finish_turn();
        }
        loop {
            let (wants_input, holds_input, deadline) = {
                let mut shard = self.shard.borrow_mut();
                let Some(connection) = shard.connection(id) else {
                    return;
                };
                let is_sent = connection.output().is_empty() && !socket.has_unsent();
                if connection.is_finished() && (eof || is_sent) {
                    return;
                }
                (
                    connection.wants_input() && !eof,
                    connection.holds_input(),
                    connection.poll_deadline(),
                )
            };
            if wants_input && holds_input {
                self.offer_again(id, &mut partial);
                self.finish_turn();
                tokio::task::yield_now().await;
                continue;
            }
            socket
                .awaited
                .set((wants_input, socket.blocked.get(), deadline));
            let interest = match (wants_input, socket.blocked.get()) {
                (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
                (true, false) => Some(Interest::READABLE),
                (false, true) => Some(Interest::WRITABLE),
                (false, false) => None,
            };
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until((self.shared.started + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            let ready = async {
                match interest {
                    Some(interest) => socket.stream.ready(interest).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = ready => {
                    let Ok(ready) = ready else {
                        self.eof(id, &mut eof);
                        continue;
                    };
                    if ready.is_writable() && socket.blocked.get() {
                        self.write(id, socket, &mut eof);
                    }
                    if ready.is_readable() && wants_input {
                        match self.read(id, socket, &mut partial) {
                            // What comes next is waited for, and others get their turn there.
                            Found::All => reads = 0,
                            Found::Part => reads += 1,
                            Found::End => self.eof(id, &mut eof),
                        }
                    }
                }
                () = timer => {
                    let now = self.shared.now();
                    let mut shard = self.shard.borrow_mut();
                    shard.handle_connection_timeout(now, id);
                }
                () = socket.nudge.notified() => continue,
            }
            self.finish_turn();
            if reads == READS_IN_A_ROW {
                reads = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn eof(&self, id: ConnectionId, eof: &mut bool) {
        if !std::mem::replace(eof, true) {
            self.shard.borrow_mut().handle_eof(self.shared.now(), id);
            self.finish_turn();
        }
    }

    /// Runs the shard on input that it left although it was complete.
    fn offer_again(&self, id: ConnectionId, partial: &mut BytesMut) {
        let now = self.shared.now();
        self.shard.borrow_mut().handle_input(now, id, partial);
        if partial.is_empty() {
            *partial = BytesMut::new();
        }
    }

    /// Reads once and runs the shard on it.
    fn read(&self, id: ConnectionId, socket: &Socket, partial: &mut BytesMut) -> Found {
        let mut buffer = self.read_buffer.borrow_mut();
        buffer.clear();
        if buffer.capacity() < partial.len() + READ_BYTES_MIN {
            buffer.reserve(partial.len() + READ_BYTES);
        }
        buffer.extend_from_slice(partial);
        partial.clear();
        let room = buffer.capacity() - buffer.len();
        let outcome = match &socket.tls {
            None => match socket.stream.try_read_buf(&mut *buffer) {
                Ok(0) => Ok(Found::End),
                Ok(count) if count < room => {
                    wait_for_more(&socket.stream);
                    Ok(Found::All)
                }
                Ok(_) => Ok(Found::Part),
                Err(error) => Err(error),
            },
            Some(tls) => {
                let outcome = tls.borrow_mut().read(&socket.stream, &mut buffer);
                // An answer of TLS itself is sent by the connection's task.
                if socket.has_unsent() {
                    socket.blocked.set(true);
                }
                outcome
            }
        };
        let found = match outcome {
            Ok(found) => found,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                partial.extend_from_slice(&buffer);
                return Found::All;
            }
            Err(_) => Found::End,
        };
        if found != Found::End {
            self.shard
                .borrow_mut()
                .handle_input(self.shared.now(), id, &mut buffer);
            partial.extend_from_slice(&buffer);
            if partial.is_empty() && partial.capacity() > READ_BYTES_MIN {
                *partial = BytesMut::new();
            }
        }
        found
    }

    /// Ends the turn that some task began, and writes what it made.
    pub(crate) fn finish_turn(&self) {
        for round in 0.. {
            let now = self.shared.now();
            let mut dirty = self.dirty.take();
            {
                let mut shard = self.shard.borrow_mut();
                shard.finish_turn(now);
                shard.take_dirty(&mut dirty);
            }
            if dirty.is_empty() || round == FLUSH_ROUNDS {
                if !dirty.is_empty() {
                    // The rest goes on in the main task, behind whoever waits now.
                    let mut shard = self.shard.borrow_mut();
                    dirty.iter().for_each(|id| shard.mark_dirty(*id));
                    self.wake.notify_one();
                }
                dirty.clear();
                self.dirty.replace(dirty);
                break;
            }
            for id in dirty.drain(..) {
                let Some(socket) = self.sockets.borrow().get(&id).cloned() else {
                    continue;
                };
                let mut failed = false;
                self.write(id, &socket, &mut failed);
                if self.must_nudge(id, &socket) {
                    socket.nudge.notify_one();
                }
            }
            self.dirty.replace(dirty);
        }
        let deadline = self.shard.borrow().poll_deadline();
        if deadline.is_some_and(|at| self.armed.get().is_none_or(|armed| at < armed)) {
            self.wake.notify_one();
        }
    }

    /// Whether the connection's task waits for the wrong things. A later deadline than it waits for does not matter: it will
    /// wake, find nothing to do, and wait again.
    fn must_nudge(&self, id: ConnectionId, socket: &Socket) -> bool {
        let mut shard = self.shard.borrow_mut();
        let Some(connection) = shard.connection(id) else {
            return true;
        };
        let (reads, writes, deadline) = socket.awaited.get();
        connection.is_finished()
            || reads != connection.wants_input()
            || writes != socket.blocked.get()
            || connection
                .poll_deadline()
                .is_some_and(|at| deadline.is_none_or(|awaited| at < awaited))
    }

    /// Writes as much of a connection's out-buffer as the socket takes.
    fn write(&self, id: ConnectionId, socket: &Socket, failed: &mut bool) {
        let mut shard = self.shard.borrow_mut();
        let Some(connection) = shard.connection(id) else {
            return;
        };
        let output = connection.output();
        let mut blocked = false;
        if socket.has_unsent()
            && let Err(error) = socket.flush()
        {
            blocked = error.kind() == ErrorKind::WouldBlock;
            *failed = !blocked;
        }
        while !blocked && !*failed && !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = output.io_slices(&mut slices);
            match socket.try_write_vectored(&slices[..count]) {
                Ok(written) => output.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    *failed = true;
                    break;
                }
            }
        }
        // What TLS has taken is not on its way yet.
        blocked |= socket.has_unsent();
        let left = output.len();
        socket.blocked.set(blocked);
        let now = self.shared.now();
        if *failed {
            shard.handle_eof(now, id);
        } else {
            shard.handle_sent(now, id, left);
        }
    }
}

/// Takes note that the socket is empty, which saves a read that finds nothing, and its turn. The kernel tells of all that comes
/// after the last read (epoll(7), edge-triggered).
fn wait_for_more(stream: &TcpStream) {
    let nothing = stream.try_io(Interest::READABLE, || -> std::io::Result<()> {
        Err(ErrorKind::WouldBlock.into())
    });
    debug_assert!(nothing.is_err());
}
