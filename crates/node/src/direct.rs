//! A client connection without a socket: how management publishes, gets, declares and deletes.
//!
//! It is the same machine as behind a socket, for a user who was authenticated elsewhere, so every rule and every text of AMQP
//! holds. Frames go in as bytes and come out as bytes; what they say is the caller's matter. It is not in listings.
//! Whatever it holds when it is dropped goes back to its queues.

use crate::mailbox::Mail;
use crate::shard::delivered_bytes;
use crate::shared::Shared;
use base::{ConnectionId, Name, ShardId};
use broker::auth::Principal;
use broker::command::{ChannelId, Reply};
use broker::event::INTERNAL_USER;
use bytes::BytesMut;
use frontend_amqp091::counts::Traffic;
use frontend_amqp091::{Connection, Peer};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Pieces of output copied at once.
const SLICES_MAX: usize = 16;

/// A connection of the node to itself.
pub struct DirectConnection {
    shared: Arc<Shared>,
    id: ConnectionId,
    machine: Connection,
    traffic: Arc<Traffic>,
    replies: mpsc::UnboundedReceiver<(ChannelId, Reply)>,
    /// Shards have a window for it.
    has_consumed: bool,
}

impl DirectConnection {
    pub(crate) fn open(shared: Arc<Shared>, user: Principal, vhost: Name) -> Self {
        let (id, replies) = shared.desk.open(shared.desk_id());
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = Peer {
            address: nowhere,
            local: nowhere,
            is_loopback: true,
            tls: None,
        };
        let now = shared.now();
        let traffic = Arc::<Traffic>::default();
        let config = Arc::new(frontend_amqp091::Config {
            traffic: Arc::clone(&traffic),
            ..(*shared.frontend).clone()
        });
        let metadata = shared.leader.snapshot();
        let mut machine = Connection::direct(id, peer, config, now, rand::random(), user, vhost);
        machine.handle_tracing(&metadata);
        machine.handle_alarms(now, &metadata, shared.desk.alarms().into());
        Self {
            shared,
            id,
            machine,
            traffic,
            replies,
            has_consumed: false,
        }
    }

    /// Gives the connection complete frames.
    pub fn send(&mut self, frames: &[u8]) {
        let metadata = self.shared.leader.snapshot();
        let mut input = BytesMut::from(frames);
        self.machine
            .handle_input(self.shared.now(), &metadata, &mut input);
        self.hand_on();
    }

    /// Appends complete frames that the connection has to say, and waits until there are some. False: there will be none, since
    /// the connection has ended.
    pub async fn receive(&mut self, into: &mut Vec<u8>) -> bool {
        loop {
            if self.take_output(into) {
                return true;
            }
            if self.machine.is_finished() {
                return false;
            }
            let Some((to, reply)) = self.replies.recv().await else {
                return false;
            };
            self.handle_reply(to, reply);
            // All that is there already, so that it is one answer.
            while let Ok((to, reply)) = self.replies.try_recv() {
                self.handle_reply(to, reply);
            }
            self.hand_on();
        }
    }

    fn handle_reply(&mut self, to: ChannelId, reply: Reply) {
        let metadata = self.shared.leader.snapshot();
        let (from, bytes) = (delivered_from(&reply), delivered_bytes(&reply));
        self.machine
            .handle_reply(self.shared.now(), &metadata, to, reply);
        // Whoever receives takes all there is, so a delivery does not stay on the way.
        if let Some(shard) = from {
            self.has_consumed = true;
            self.shared.mailboxes[shard.index()].send(Mail::WindowCredit {
                connection: self.id,
                bytes,
            });
        }
    }

    fn take_output(&mut self, into: &mut Vec<u8>) -> bool {
        let output = self.machine.output();
        let any = !output.is_empty();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = output.io_slices(&mut slices);
            let mut copied = 0;
            for slice in &slices[..count] {
                into.extend_from_slice(slice);
                copied += slice.len();
            }
            output.advance(copied);
        }
        any
    }

    fn hand_on(&mut self) {
        while let Some(request) = self.machine.poll_request() {
            let user = self.machine.user().clone();
            self.shared.hand_on(request, &user);
        }
    }
}

/// The shard that sent a delivery.
fn delivered_from(reply: &Reply) -> Option<ShardId> {
    if let Reply::Deliver { queue, .. } = reply {
        Some(queue.shard)
    } else if let Reply::DeliverAgain(again) = reply {
        Some(again.queue.shard)
    } else {
        None
    }
}

impl Drop for DirectConnection {
    fn drop(&mut self) {
        self.machine.handle_eof(self.shared.now());
        self.hand_on();
        self.shared.desk.close(self.id);
        if self.has_consumed {
            for mailbox in self.shared.shard_mailboxes() {
                mailbox.send(Mail::WindowGone {
                    connection: self.id,
                });
            }
        }
        while let Ok((to, reply)) = self.replies.try_recv() {
            if let Some(request) = frontend_amqp091::return_late_reply(to, &reply) {
                self.shared.hand_on(request, INTERNAL_USER);
            }
        }
        self.shared.direct_traffic.lock().absorb(&self.traffic);
    }
}
