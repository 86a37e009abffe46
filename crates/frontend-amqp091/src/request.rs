//! What a connection asks of the node.

use base::{ConnectionId, Position, QueueRef};
use broker::command::{AccessRequest, ChannelId, MetadataCommand, Outcome, QueueCommand, Reply};
use broker::event::Event;
use broker::message::SharedMessage;

/// One request. The driver takes them in order with `Connection::poll_request` and must hand them on in that order.
#[derive(Debug)]
pub enum Request {
    /// For the machine of one queue. If the queue no longer exists, a command that wants an answer gets
    /// [`Reply::Failed`] with `NotFound`, a publish with a confirm gets [`Reply::Confirm`], and a barrier [`Reply::Barrier`].
    Queue {
        /// Which queue.
        queue: QueueRef,
        /// The command.
        command: QueueCommand,
    },
    /// For the metadata machine; the answer is [`Reply::Metadata`] to `channel`. Channel number 0 is the connection itself.
    Metadata {
        /// Who asks.
        channel: ChannelId,
        /// The command.
        command: MetadataCommand,
    },
    /// A direct reply-to answer for a channel of this node, to be handed over as [`Reply::DirectReply`]; dropped if the
    /// channel is gone.
    DirectReply {
        /// The requester.
        to: ChannelId,
        /// The answer.
        message: SharedMessage,
    },
    /// For somebody outside the metadata who knows about users; the answer is [`Reply::Access`] to `channel`. Channel number 0 is
    /// the connection itself. At most one of each channel is under way.
    Access {
        /// Who asks.
        channel: ChannelId,
        /// What.
        request: Box<AccessRequest>,
    },
    /// Something for observers; made only while there are any.
    Event(Box<Event>),
}

/// The address of the connection itself, for metadata commands that no channel asked for.
pub(crate) fn connection_address(connection: ConnectionId) -> ChannelId {
    ChannelId {
        connection,
        number: 0,
        epoch: 0,
    }
}

/// Gives `count` messages from `first` on back to their queue.
fn back(channel: ChannelId, queue: QueueRef, first: Position, count: usize) -> Request {
    let positions = (first.0..).take(count).map(Position).collect();
    Request::Queue {
        queue,
        command: QueueCommand::Settle {
            channel,
            positions,
            outcome: Outcome::Return,
        },
    }
}

/// What has to happen with a reply whose channel or connection is gone: a message goes back to its queue, everything
/// else is forgotten. The driver uses it for connections it no longer has.
pub fn return_late_reply(channel: ChannelId, reply: &Reply) -> Option<Request> {
    match reply {
        Reply::Deliver {
            queue,
            position,
            messages,
            ..
        } => Some(back(channel, *queue, *position, messages.len())),
        Reply::GetOk {
            queue, position, ..
        } => Some(back(channel, *queue, *position, 1)),
        Reply::DeliverAgain(again) => Some(back(channel, again.queue, again.position, 1)),
        Reply::GetEmpty
        | Reply::TimedOut { .. }
        | Reply::Confirm { .. }
        | Reply::Nack { .. }
        | Reply::Credit { .. }
        | Reply::ConsumeOk { .. }
        | Reply::CancelOk { .. }
        | Reply::ConsumerCancelled { .. }
        | Reply::Status { .. }
        | Reply::Purged { .. }
        | Reply::Deleted { .. }
        | Reply::Barrier(_)
        | Reply::Operated(_)
        | Reply::Failed(_)
        | Reply::Metadata(_)
        | Reply::Access(_)
        | Reply::DirectReply { .. } => None,
    }
}
