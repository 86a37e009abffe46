//! Looking into queues and acting on what is there, for whoever holds a [`Handle`].
//!
//! A queue answers in bounded steps; this module walks through it step by step, applies the filter on the caller's thread and acts in
//! batches of [`BATCH_MESSAGES_MAX`]. So neither a large queue nor an expensive filter holds up a shard.
//!
//! A move is safe at any moment: the messages are taken, published, and settled only when all their target queues have confirmed
//! them. After a crash in between they are in both places. What cannot be routed or is refused goes back to its place. Each batch
//! is a task of its own, so that it comes to its end when the caller does not wait any more.
//!
//! Permissions are the caller's matter.

use crate::handle::Handle;
use crate::mailbox::Mail;
use crate::shared::Shared;
use base::{ConnectionId, Name, Position, QueueRef};
use broker::Error;
use broker::auth::{self, Principal};
use broker::browse::{
    BROWSE_MESSAGES_MAX, BrowsedMessage, BrowsedState, Candidate, Cursor, Filter, Operation,
    OperationReply, Present, Standing,
};
use broker::command::{ChannelId, ConfirmTo, MetadataCommand, Outcome, QueueCommand, Reply};
use broker::event::INTERNAL_USER;
use broker::exchange::ExchangeType;
use broker::message::{Address, Message, SharedMessage};
use broker::metadata::Metadata;
use broker::router::{self, Targets};
use bytes::Bytes;
use frontend_amqp091::UnaskedParts;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages that one batch of a move, copy or deletion is about.
pub const BATCH_MESSAGES_MAX: usize = 512;

/// Messages that one call looks at; its answer says where to go on.
pub const EXAMINED_MAX: u64 = 1_000_000;

/// Messages that one page returns, or that may be named by their places.
pub const PAGE_MESSAGES_MAX: usize = 1_000;

/// Bytes of bodies after which a page ends.
pub const PAGE_BYTES_MAX: usize = 16 << 20;

/// Which messages of a queue are meant.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Those that pass a filter, in the order of the queue.
    Matching {
        /// The filter.
        filter: Filter,
        /// Where to begin.
        from: Cursor,
        /// At most so many.
        messages_max: u64,
        /// Among which.
        present: Present,
    },
    /// Those at these places, at most [`PAGE_MESSAGES_MAX`] of them; places without a message are passed over.
    At {
        /// The places.
        places: Vec<Cursor>,
        /// Among which messages.
        present: Present,
    },
}

/// What becomes of the selected messages.
#[derive(Clone, Debug)]
pub enum Action {
    /// They are published, and leave when that is safe.
    Move(Route),
    /// They are published, and stay.
    Copy(Route),
    /// They leave.
    Delete,
}

impl Action {
    /// Whether messages can be published where it says.
    fn check(&self, metadata: &Metadata, vhost: &str) -> Result<(), Error> {
        match self {
            Self::Move(route) | Self::Copy(route) => check_route(metadata, vhost, route),
            Self::Delete => Ok(()),
        }
    }
}

/// Where a message is published to. `CC` and `BCC` of the message do not count, and it has no history of deaths there.
#[derive(Clone, Debug)]
pub struct Route {
    /// The exchange, in the queue's vhost; empty for the default exchange.
    pub exchange: Name,
    /// The routing key; `None` for each message's own.
    pub routing_key: Option<Bytes>,
    /// Who publishes: a topic exchange refuses keys that this user may not use.
    pub user: Principal,
}

impl Route {
    /// To a queue.
    pub fn to_queue(name: &Name, user: Principal) -> Self {
        Self {
            exchange: Name::default(),
            routing_key: Some(Bytes::copy_from_slice(name.as_bytes())),
            user,
        }
    }
}

/// Some messages of a queue.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order of the queue.
    pub messages: Vec<BrowsedMessage>,
    /// Where to go on; `None` at the end of what was in the queue at the beginning.
    pub next: Option<Cursor>,
    /// Messages that were looked at.
    pub examined: u64,
}

/// What became of the selected messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// Messages that were looked at.
    pub examined: u64,
    /// Messages that were selected.
    pub matched: u64,
    /// Moved, copied or deleted.
    pub done: u64,
    /// Of the others: no queue takes them. They are where they were.
    pub unroutable: u64,
    /// A target queue refused them. They are where they were.
    pub refused: u64,
    /// Somebody else had them when it was their turn, or they are unacked.
    pub busy: u64,
    /// Where to go on, if not all of the queue was looked at.
    pub next: Option<Cursor>,
}

impl Handle {
    /// Shows messages of a queue and changes nothing.
    ///
    /// # Errors
    /// There is no such queue, or too many browse it.
    pub async fn browse(
        &self,
        vhost: &str,
        queue: &Name,
        selection: Selection,
    ) -> Result<Page, Error> {
        let mut walk = Walk::begin(self.shared(), vhost, queue, selection)?;
        let mut page = Page::default();
        let mut bytes = 0;
        while let Some(message) = walk.next().await? {
            bytes += message.message.size_bytes();
            page.messages.push(message);
            if page.messages.len() == PAGE_MESSAGES_MAX || bytes > PAGE_BYTES_MAX {
                break;
            }
        }
        page.examined = walk.examined;
        page.next = walk.rest();
        Ok(page)
    }

    /// Lets go of everything that the replay window of a queue keeps. Returns how many messages that is.
    ///
    /// # Errors
    /// There is no such queue.
    pub async fn forget_settled(&self, vhost: &str, queue: &Name) -> Result<u64, Error> {
        let shared = self.shared();
        let queue = expect_queue(&shared.leader.snapshot(), vhost, queue)?;
        let mut visitor = Visitor::open(shared);
        match visitor.operated(queue, Operation::Forget).await? {
            OperationReply::Deleted { count } => Ok(count),
            OperationReply::Browsed { .. } | OperationReply::Taken { .. } => Ok(0),
        }
    }

    /// Stops or resumes the deliveries of a queue. It stays so over restarts, if the queue does.
    ///
    /// # Errors
    /// There is no such queue, or the log has failed.
    pub async fn set_queue_paused(
        &self,
        vhost: &str,
        queue: &Name,
        paused: bool,
    ) -> Result<(), Error> {
        let shared = self.shared();
        let id = expect_queue(&shared.leader.snapshot(), vhost, queue)?.id;
        let answer = {
            let _order = shared.desk.pausing.lock();
            let command = MetadataCommand::SetQueuePaused { id, paused };
            let answer = shared.propose(&command, INTERNAL_USER);
            if let Some(record) = shared.leader.snapshot().queue_by_id(id) {
                let paused = record.paused;
                Visitor::open(shared).operate(record.queue, Operation::SetPaused { paused });
            }
            answer
        };
        answer.await.map_err(|_| stopping())?.map(drop)
    }

    /// Counts what [`Handle::act`] would select, and changes nothing. `done` stays 0.
    ///
    /// # Errors
    /// There is no such queue or exchange, or the exchange is internal.
    pub async fn would_act(
        &self,
        vhost: &str,
        queue: &Name,
        selection: Selection,
        action: &Action,
    ) -> Result<Acted, Error> {
        let shared = self.shared();
        action.check(&shared.leader.snapshot(), vhost)?;
        let mut walk = Walk::begin(shared, vhost, queue, selection)?;
        let mut acted = Acted::default();
        while walk.next().await?.is_some() {
            acted.matched += 1;
        }
        acted.examined = walk.examined;
        acted.next = walk.rest();
        Ok(acted)
    }

    /// Moves, copies or deletes messages of a queue. What it did is on stable storage when it returns, as far as the queues are.
    ///
    /// # Errors
    /// There is no such queue or exchange, the exchange is internal, an alarm stops publishers, or storage has failed. What was done
    /// before stays done.
    pub async fn act(
        &self,
        vhost: &str,
        queue: &Name,
        selection: Selection,
        action: &Action,
    ) -> Result<Acted, Error> {
        let shared = self.shared();
        action.check(&shared.leader.snapshot(), vhost)?;
        let mut walk = Walk::begin(shared, vhost, queue, selection)?;
        let mut acted = Acted::default();
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH_MESSAGES_MAX && (batch.is_empty() || !walk.needs_step()) {
                let Some(message) = walk.next().await? else {
                    break;
                };
                batch.push(message);
            }
            if batch.is_empty() {
                break;
            }
            acted.matched += batch.len() as u64;
            let task = Batch {
                shared: Arc::clone(shared),
                vhost: Name::from(vhost),
                source: walk.queue,
                messages: batch,
                action: action.clone(),
            };
            // A task of its own: it must come to its end even if nobody waits for it any more.
            let done = tokio::spawn(task.run()).await.map_err(|_| stopping())??;
            acted.done += done.done;
            acted.unroutable += done.unroutable;
            acted.refused += done.refused;
            acted.busy += done.busy;
        }
        acted.examined = walk.examined;
        acted.next = walk.rest();
        Ok(acted)
    }
}

fn stopping() -> Error {
    Error::Storage("the node is stopping".into())
}

fn expect_queue(metadata: &Metadata, vhost: &str, queue: &Name) -> Result<QueueRef, Error> {
    let vhost = metadata.vhost(vhost).ok_or_else(|| Error::VhostNotFound {
        vhost: Name::from(vhost),
    })?;
    Ok(vhost.expect_queue(queue)?.queue)
}

fn check_route(metadata: &Metadata, vhost: &str, route: &Route) -> Result<(), Error> {
    let vhost = metadata.vhost(vhost).ok_or_else(|| Error::VhostNotFound {
        vhost: Name::from(vhost),
    })?;
    if vhost.expect_exchange(&route.exchange)?.internal {
        return Err(Error::InternalExchange {
            name: route.exchange.clone(),
            vhost: vhost.name.clone(),
        });
    }
    Ok(())
}

/// Somebody whom queues can answer.
struct Visitor {
    shared: Arc<Shared>,
    id: ConnectionId,
    replies: mpsc::UnboundedReceiver<(ChannelId, Reply)>,
}

impl Visitor {
    fn open(shared: &Arc<Shared>) -> Self {
        let (id, replies) = shared.desk.open(shared.desk_id());
        Self {
            shared: Arc::clone(shared),
            id,
            replies,
        }
    }

    fn channel(&self) -> ChannelId {
        ChannelId {
            connection: self.id,
            number: 1,
            epoch: 0,
        }
    }

    fn send(&self, queue: QueueRef, command: QueueCommand) {
        self.shared.mailboxes[queue.shard.index()].send(Mail::Queue {
            queue: queue.id,
            command,
        });
    }

    fn operate(&self, queue: QueueRef, operation: Operation) {
        let command = QueueCommand::Operate {
            channel: self.channel(),
            operation: Box::new(operation),
        };
        self.send(queue, command);
    }

    async fn receive(&mut self) -> Result<Reply, Error> {
        match self.replies.recv().await {
            Some((_, Reply::Failed(error))) => Err(*error),
            Some((_, reply)) => Ok(reply),
            None => Err(stopping()),
        }
    }

    async fn operated(
        &mut self,
        queue: QueueRef,
        operation: Operation,
    ) -> Result<OperationReply, Error> {
        self.operate(queue, operation);
        loop {
            if let Reply::Operated(reply) = self.receive().await? {
                return Ok(*reply);
            }
        }
    }

    /// Waits until everything that the queue has settled is on stable storage.
    async fn barrier(&mut self, queue: QueueRef) -> Result<(), Error> {
        let channel = self.channel();
        self.send(queue, QueueCommand::Barrier { channel });
        loop {
            if let Reply::Barrier(result) = self.receive().await? {
                return result.map_err(|error| *error);
            }
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.shared.desk.close(self.id);
    }
}

/// A way through a queue.
struct Walk {
    visitor: Visitor,
    queue: QueueRef,
    filter: Filter,
    present: Present,
    /// Where the next step begins.
    from: Option<Cursor>,
    /// Places that are looked at one by one instead, the next one last.
    places: Vec<Cursor>,
    by_places: bool,
    left: u64,
    /// Messages from here on came after the beginning.
    end: Option<Position>,
    /// What a step brought and nobody has seen, the next one last.
    step: Vec<BrowsedMessage>,
    examined: u64,
}

impl Walk {
    fn begin(
        shared: &Arc<Shared>,
        vhost: &str,
        queue: &Name,
        selection: Selection,
    ) -> Result<Self, Error> {
        let queue = expect_queue(&shared.leader.snapshot(), vhost, queue)?;
        let (filter, from, left, mut places, by_places, present) = match selection {
            Selection::Matching {
                filter,
                from,
                messages_max,
                present,
            } => (filter, Some(from), messages_max, Vec::new(), false, present),
            Selection::At { places, present } => {
                (Filter::ALL, None, u64::MAX, places, true, present)
            }
        };
        places.sort_unstable_by_key(|place| place.key());
        places.dedup();
        places.truncate(PAGE_MESSAGES_MAX);
        places.reverse();
        Ok(Self {
            visitor: Visitor::open(shared),
            queue,
            filter,
            present,
            from,
            places,
            by_places,
            left,
            end: None,
            step: Vec::new(),
            examined: 0,
        })
    }

    /// Whether the next message has to be asked for.
    fn needs_step(&self) -> bool {
        self.step.is_empty()
    }

    /// Where another walk would go on.
    fn rest(&self) -> Option<Cursor> {
        match self.step.last() {
            Some(message) if !self.by_places => Some(message.at),
            _ => self.from,
        }
    }

    /// The next selected message.
    async fn next(&mut self) -> Result<Option<BrowsedMessage>, Error> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            while let Some(message) = self.step.pop() {
                self.examined += 1;
                if self.selects(&message) {
                    self.left -= 1;
                    return Ok(Some(message));
                }
            }
            if self.examined >= EXAMINED_MAX || !self.take_step().await? {
                return Ok(None);
            }
        }
    }

    fn selects(&self, browsed: &BrowsedMessage) -> bool {
        let message = &*browsed.message;
        let standing = Standing {
            redelivered: browsed.redelivered,
            unacknowledged: browsed.state == BrowsedState::Unacked,
        };
        let candidate = Candidate::new(message, standing, || {
            frontend_amqp091::headers(&message.properties)
        });
        self.filter.matches(&candidate)
    }

    /// Asks for more. False at the end.
    async fn take_step(&mut self) -> Result<bool, Error> {
        let place = self.places.pop();
        let Some(from) = place.or(self.from) else {
            return Ok(false);
        };
        let messages_max = if place.is_some() {
            1
        } else {
            // A short list needs no long step.
            usize::try_from(self.left).map_or(BROWSE_MESSAGES_MAX, |left| {
                left.saturating_mul(4).clamp(64, BROWSE_MESSAGES_MAX)
            })
        };
        let operation = Operation::Browse {
            present: self.present,
            from,
            messages_max,
        };
        let reply = self.visitor.operated(self.queue, operation).await?;
        let OperationReply::Browsed {
            mut messages,
            next,
            end,
        } = reply
        else {
            return Ok(false);
        };
        if place.is_some() {
            messages.retain(|message| message.at.position == from.position);
            self.step = messages;
            return Ok(true);
        }
        let end = *self.end.get_or_insert(end);
        messages.retain(|message| message.at.position < end);
        messages.reverse();
        self.step = messages;
        self.from = next.filter(|next| next.level > 0 || next.position < end);
        Ok(true)
    }
}

/// A part of the selected messages.
struct Batch {
    shared: Arc<Shared>,
    vhost: Name,
    source: QueueRef,
    messages: Vec<BrowsedMessage>,
    action: Action,
}

impl Batch {
    async fn run(mut self) -> Result<Acted, Error> {
        let mut visitor = Visitor::open(&self.shared);
        let mut acted = Acted::default();
        let selected = self.messages.len() as u64;
        match self.action.clone() {
            Action::Copy(route) => {
                self.check_alarms()?;
                let published = self.publish(&mut visitor, &route).await?;
                published.count(&mut acted);
            }
            Action::Move(route) => {
                self.check_alarms()?;
                self.take(&mut visitor).await?;
                acted.busy = selected - self.messages.len() as u64;
                let published = match self.publish(&mut visitor, &route).await {
                    Ok(published) => published,
                    Err(error) => {
                        self.settle_taken(&visitor, &|_| false);
                        return Err(error);
                    }
                };
                published.count(&mut acted);
                self.settle_taken(&visitor, &|index| published.is_safe(index));
                visitor.barrier(self.source).await?;
            }
            Action::Delete => {
                let messages = std::mem::take(&mut self.messages);
                let reply = visitor
                    .operated(self.source, Operation::Delete { messages })
                    .await?;
                if let OperationReply::Deleted { count } = reply {
                    acted.done = count;
                    acted.busy = selected - count;
                }
                visitor.barrier(self.source).await?;
            }
        }
        Ok(acted)
    }

    /// An operator publishes no more than others may.
    fn check_alarms(&self) -> Result<(), Error> {
        let alarms = self.shared.desk.alarms();
        if alarms.memory || alarms.disk {
            return Err(Error::Precondition(
                "publishers are stopped: memory or disk is low".into(),
            ));
        }
        Ok(())
    }

    async fn take(&mut self, visitor: &mut Visitor) -> Result<(), Error> {
        self.messages
            .retain(|message| message.state == BrowsedState::Ready);
        let messages = self.messages.clone();
        let reply = visitor
            .operated(self.source, Operation::Take { messages })
            .await?;
        let OperationReply::Taken { positions } = reply else {
            self.messages.clear();
            return Ok(());
        };
        // Both are in the order of the request.
        let mut taken = positions.into_iter().peekable();
        self.messages
            .retain(|message| taken.next_if_eq(&message.at.position).is_some());
        Ok(())
    }

    /// What is safe elsewhere leaves, the rest goes back to its place.
    fn settle_taken(&self, visitor: &Visitor, is_safe: &dyn Fn(usize) -> bool) {
        let places = self.messages.iter().map(|message| message.at.position);
        let (gone, back): (Vec<_>, Vec<_>) =
            places.enumerate().partition(|(index, _)| is_safe(*index));
        let positions: Vec<_> = gone.into_iter().map(|(_, position)| position).collect();
        if !positions.is_empty() {
            visitor.operate(self.source, Operation::Remove { positions });
        }
        if !back.is_empty() {
            let mut positions: broker::command::Positions =
                back.into_iter().map(|(_, position)| position).collect();
            positions.sort_unstable();
            let command = QueueCommand::Settle {
                channel: visitor.channel(),
                positions,
                outcome: Outcome::Return,
            };
            visitor.send(self.source, command);
        }
    }

    /// Publishes all messages and waits for all confirms.
    async fn publish(&self, visitor: &mut Visitor, route: &Route) -> Result<Published, Error> {
        let metadata = self.shared.leader.snapshot();
        check_route(&metadata, &self.vhost, route)?;
        let mut published = Published::default();
        let mut mail: Vec<_> = self.shared.mailboxes.iter().map(|_| Vec::new()).collect();
        let mut targets = Targets::new();
        let mut waiting = 0;
        let mut user = route.user.clone();
        for (index, browsed) in self.messages.iter().enumerate() {
            let message = readdressed(&browsed.message, route);
            let is_allowed = self.is_key_allowed(&metadata, &message, &mut user).await?;
            if !is_allowed {
                published.outcomes.push(Sent::Refused(0));
                continue;
            }
            self.route(&metadata, &message, &mut targets)?;
            published.outcomes.push(match targets.queues().len() {
                0 => Sent::Unroutable,
                count => Sent::Waiting(count),
            });
            waiting += targets.queues().len();
            for queue in targets.queues() {
                let confirm = ConfirmTo {
                    channel: visitor.channel(),
                    sequence: index as u64 + 1,
                };
                let command = QueueCommand::Publish {
                    messages: Arc::clone(&message).into(),
                    confirm: Some(confirm),
                };
                mail[queue.shard.index()].push(Mail::Queue {
                    queue: queue.id,
                    command,
                });
            }
        }
        for (mailbox, mail) in self.shared.mailboxes.iter().zip(&mut mail) {
            mailbox.send_all(mail);
        }
        while waiting > 0 {
            let reply = visitor.receive().await?;
            if let Reply::Confirm { first, last } = reply {
                waiting -= published.note(first, last, true);
            } else if let Reply::Nack { first, last } = reply {
                waiting -= published.note(first, last, false);
            }
        }
        Ok(published)
    }

    /// Whether the user may publish with the message's routing key.
    async fn is_key_allowed(
        &self,
        metadata: &Arc<Metadata>,
        message: &SharedMessage,
        user: &mut Principal,
    ) -> Result<bool, Error> {
        let vhost = metadata.vhost(&self.vhost).ok_or_else(stopping)?;
        let exchange = vhost.expect_exchange(message.exchange())?;
        if exchange.exchange_type != ExchangeType::Topic {
            return Ok(true);
        }
        let (name, key) = (&exchange.name, &message.address.routing_key[..]);
        let decided = user.settle(metadata, |user| {
            auth::authorize_topic(metadata, user, &self.vhost, auth::Write, name, key, None)
        });
        Ok(decided.await.is_ok())
    }

    /// Finds the queues for a message.
    fn route(
        &self,
        metadata: &Metadata,
        message: &SharedMessage,
        targets: &mut Targets,
    ) -> Result<(), Error> {
        let vhost = metadata.vhost(&self.vhost).ok_or_else(stopping)?;
        let exchange = vhost.expect_exchange(message.exchange())?;
        let key = &message.address.routing_key[..];
        let mut parts = UnaskedParts {
            properties: &message.properties,
            random: rand::random(),
        };
        router::route_unasked(vhost, exchange, &[key], &mut parts, targets);
        targets.remember(message);
        Ok(())
    }
}

/// The message as it is published again.
fn readdressed(message: &SharedMessage, route: &Route) -> SharedMessage {
    let mut message = Message::clone(message);
    let routing_key = route.routing_key.as_ref();
    let routing_key = routing_key.unwrap_or(&message.address.routing_key).clone();
    message.address = Address::new(route.exchange.clone(), routing_key);
    message.extra_routing_keys = None;
    message.deaths = None;
    Arc::new(message)
}

/// What became of the publishes of a batch, in its order.
#[derive(Default)]
struct Published {
    outcomes: Vec<Sent>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Unroutable,
    /// So many queues have not answered.
    Waiting(usize),
    Safe,
    Refused(usize),
}

impl Published {
    /// Notes the answer of one queue. Returns how many answers it stood for.
    fn note(&mut self, first: u64, last: u64, safe: bool) -> usize {
        let mut count = 0;
        for sequence in first..=last {
            let index = usize::try_from(sequence - 1).unwrap_or(usize::MAX);
            let Some(sent) = self.outcomes.get_mut(index) else {
                continue;
            };
            count += 1;
            *sent = match *sent {
                Sent::Waiting(1) if safe => Sent::Safe,
                Sent::Waiting(left) if safe => Sent::Waiting(left - 1),
                Sent::Waiting(left) => Sent::Refused(left - 1),
                Sent::Refused(left) => Sent::Refused(left.saturating_sub(1)),
                Sent::Safe | Sent::Unroutable => *sent,
            };
        }
        count
    }

    fn is_safe(&self, index: usize) -> bool {
        self.outcomes.get(index) == Some(&Sent::Safe)
    }

    fn count(&self, acted: &mut Acted) {
        for sent in &self.outcomes {
            match sent {
                Sent::Safe => acted.done += 1,
                Sent::Unroutable => acted.unroutable += 1,
                Sent::Refused(_) | Sent::Waiting(_) => acted.refused += 1,
            }
        }
    }
}
