//! Accepting clients and giving each to a shard.

use crate::mailbox::Mail;
use crate::shared::Shared;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;

/// Pause after a failed accept (no file descriptors left, say), so that it is not tried in a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How a listening socket is made (`tcp_listen_options` of rabbitmq.conf).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenOptions {
    pub(crate) backlog: i32,
    pub(crate) nodelay: bool,
    pub(crate) keepalive: bool,
    pub(crate) send_buffer_bytes: Option<u32>,
    pub(crate) receive_buffer_bytes: Option<u32>,
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

/// Accepts until the task is dropped.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, options: ListenOptions) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                if let Err(error) = hand_over(stream, peer, &shared, options) {
                    tracing::debug!(%peer, %error, "client left before it was served");
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

fn hand_over(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    shared: &Shared,
    options: ListenOptions,
) -> io::Result<()> {
    stream.set_nodelay(options.nodelay)?;
    if options.keepalive {
        socket2::SockRef::from(&stream).set_keepalive(true)?;
    }
    let stream = stream.into_std()?;
    let shard = shared.least_loaded_shard();
    shared.connection_counts[shard].fetch_add(1, Ordering::Relaxed);
    shared.mailboxes[shard].send(Mail::Socket { stream, peer });
    Ok(())
}
