//! Accepting clients and giving each to a shard.
//!
//! A plain client is handed over at once. What comes before the protocol, a PROXY header or a TLS handshake, is done here, in a task for each
//! client on the `edge` threads, so that no shard waits for it or computes it; the shard gets a client that can begin.

use crate::doors::Door;
use crate::file_reserve::{FileReserve, FileUser, NO_FILES_FOR_CLIENTS};
use crate::mailbox::Mail;
use crate::shared::Shared;
use base::tls::TlsDetails;
use frontend_amqp091::Peer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use transport::proxy_header::{self, Header};
use transport::{Handshaken, ServerConnection, TlsAcceptor, TlsStream};

/// Pause after a failed accept (no file descriptors left, say), so that it is not tried in a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Clients of one listener that may be before their protocol at once; others wait in the kernel.
const ENTERING_MAX: usize = 1024;

/// How long a proxy may take to send its header.
pub(crate) const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How a listening socket is made (`tcp_listen_options` of rabbitmq.conf).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenOptions {
    pub(crate) backlog: i32,
    pub(crate) nodelay: bool,
    pub(crate) keepalive: bool,
    pub(crate) send_buffer_bytes: Option<u32>,
    pub(crate) receive_buffer_bytes: Option<u32>,
}

/// What a client of a listener has to do before it may speak its protocol.
#[derive(Clone, Default)]
pub struct Entrance {
    /// A PROXY header comes first.
    pub proxy_protocol: bool,
    /// Then, or first, a TLS handshake.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// How long the TLS handshake may take.
    pub tls_handshake_timeout: Duration,
}

/// A client that may begin.
pub struct Entered {
    /// Its socket.
    pub stream: EnteredStream,
    /// Where it comes from, as the proxy says if there is one.
    pub address: SocketAddr,
    /// Where it wanted to.
    pub local: SocketAddr,
}

/// A socket on which a protocol may begin.
pub enum EnteredStream {
    /// Without TLS.
    Plain(TcpStream),
    /// With it.
    Tls(Box<TlsStream<TcpStream>>, TlsDetails),
}

/// A client for a shard.
pub(crate) struct Arrival {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: Peer,
    pub(crate) tls: Option<Box<ServerConnection>>,
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Opens a listening socket.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn bind(
    address: SocketAddr,
    options: ListenOptions,
) -> io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // One dual-stack socket for the wildcard, as RabbitMQ listens; [::1] stays what it is.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Accepted sockets inherit both.
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Entrance {
    /// Whether clients may begin at once.
    pub fn is_open(&self) -> bool {
        !self.proxy_protocol && self.tls.is_none()
    }

    /// Does what comes before the protocol.
    ///
    /// # Errors
    /// The client does it wrong, too slowly or not at all.
    pub async fn enter(&self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<Entered> {
        let (mut address, mut local) = (peer, stream.local_addr()?);
        if self.proxy_protocol {
            let read = proxy_header::read(&mut stream);
            match tokio::time::timeout(PROXY_HEADER_TIMEOUT, read).await?? {
                Header::Local => {}
                Header::Proxied {
                    source,
                    destination,
                } => (address, local) = (source, destination),
            }
        }
        let Some(acceptor) = &self.tls else {
            return Ok(Entered {
                stream: EnteredStream::Plain(stream),
                address,
                local,
            });
        };
        let accept = acceptor.accept(stream);
        let Handshaken { stream, details } =
            tokio::time::timeout(self.tls_handshake_timeout, accept).await??;
        Ok(Entered {
            stream: EnteredStream::Tls(stream, details),
            address,
            local,
        })
    }

    /// Logs why a client did not get in. Who only connects and leaves, as health checks do, is not worth a line.
    pub fn log_refusal(&self, peer: SocketAddr, error: &io::Error) {
        if matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        ) {
            tracing::debug!(%peer, %error, "client left before it was served");
        } else {
            tracing::warn!(%peer, %error, "connection refused before its protocol began");
        }
    }
}

/// Accepts until the task is dropped, while the node's doors are open.
pub(crate) async fn accept(
    mut listener: TcpListener,
    shared: Arc<Shared>,
    options: ListenOptions,
    entrance: Entrance,
) {
    let mut failing = false;
    let reserve = FileReserve::against(FileUser::Client);
    let mut door = shared.doors.door();
    let entering = Arc::new(Semaphore::new(ENTERING_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = door.close_wanted() => {
                listener = reopened(listener, &mut door, options).await;
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let is_last = reserve.is_touched_by(&stream);
                failing &= is_last;
                if let Err(error) = set_options(&stream, options) {
                    tracing::debug!(%peer, %error, "client left before it was served");
                } else if entrance.is_open() {
                    let local = stream.local_addr().unwrap_or(peer);
                    hand_over(
                        &shared,
                        Entered {
                            stream: EnteredStream::Plain(stream),
                            address: peer,
                            local,
                        },
                    );
                } else {
                    let permit = Arc::clone(&entering)
                        .acquire_owned()
                        .await
                        .expect("it is never closed");
                    let (shared, entrance) = (Arc::clone(&shared), entrance.clone());
                    tokio::spawn(async move {
                        match entrance.enter(stream, peer).await {
                            Ok(entered) => hand_over(&shared, entered),
                            Err(error) => entrance.log_refusal(peer, &error),
                        }
                        drop(permit);
                    });
                }
                if is_last {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!("cannot accept connections: {NO_FILES_FOR_CLIENTS}");
                    }
                    reserve.wait_for_room(&listener).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Closes a listener, and opens it at the same address when the door opens again.
async fn reopened(listener: TcpListener, door: &mut Door, options: ListenOptions) -> TcpListener {
    let address = listener.local_addr();
    drop(listener);
    door.is_now(false);
    let mut failing = false;
    loop {
        door.open_wanted().await;
        let opened = address
            .as_ref()
            .map_err(|error| io::Error::from(error.kind()))
            .and_then(|address| TcpListener::from_std(bind(*address, options)?));
        match opened {
            Ok(listener) => {
                door.is_now(true);
                return listener;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(?address, %error, "cannot listen again");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn set_options(stream: &TcpStream, options: ListenOptions) -> io::Result<()> {
    stream.set_nodelay(options.nodelay)?;
    if options.keepalive {
        socket2::SockRef::from(stream).set_keepalive(true)?;
    }
    Ok(())
}

fn hand_over(shared: &Shared, entered: Entered) {
    let Entered {
        stream,
        address,
        local,
    } = entered;
    let (stream, tls, details) = match stream {
        EnteredStream::Plain(stream) => (stream, None, None),
        EnteredStream::Tls(stream, details) => {
            let (stream, connection) = stream.into_inner();
            (stream, Some(Box::new(connection)), Some(details))
        }
    };
    let stream = match stream.into_std() {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(peer = %address, %error, "cannot hand over a socket"),
    };
    let peer = Peer {
        address,
        local,
        is_loopback: address.ip().to_canonical().is_loopback(),
        tls: details.map(Arc::new),
    };
    let shard = shared.least_loaded_shard();
    shared.connection_counts[shard].fetch_add(1, Ordering::Relaxed);
    shared.mailboxes[shard].send(Mail::Socket(Box::new(Arrival { stream, peer, tls })));
}
