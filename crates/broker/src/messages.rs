//! Messages that travel together: in a command to their queue, in a reply to a consumer.
//!
//! Most publishers say the same of each message but for its body. Such messages need not exist one by one before somebody keeps
//! one: a [`Run`] is what they have in common, and where their bodies are in the bytes that were read. A queue hands it on as it
//! came to a consumer that waits and does not acknowledge; for everybody else it is taken apart, and nobody can tell the difference.
//! Per message that saves an allocation and the reference counts of all its parts.
//!
//! It does not look for such messages: that is the frontend's part.

use crate::message::{Address, Message, SharedMessage};
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use std::ops::Range;
use std::sync::Arc;

/// Messages that one [`Messages::Listed`] holds at most.
pub const MESSAGES_MAX: usize = 128;

/// Messages of one [`Run`].
pub const RUN_LENGTH_MAX: usize = 256;

/// A [`Run`] that has this many bytes takes no further message. A window can be overshot by as much.
pub const RUN_BYTES_MAX: usize = 32 << 10;

/// Messages that go the same way together, in order: at least one.
#[derive(Clone, Debug)]
pub enum Messages {
    /// Any messages, at most [`MESSAGES_MAX`].
    Listed(SmallVec<[SharedMessage; 1]>),
    /// Messages that differ in nothing but their bodies.
    Run(Box<Run>),
}

/// Messages that differ in nothing but their bodies: published one behind the other on one channel, with one address and the same
/// properties, which say nothing but the delivery mode.
#[derive(Clone, Debug)]
pub struct Run {
    address: Arc<Address>,
    properties: Bytes,
    persistent: bool,
    /// What was read from the socket.
    batch: Bytes,
    /// Where in `batch` the bodies are, in order.
    bodies: Vec<Range<usize>>,
    size_bytes: usize,
    body_size_max: usize,
}

impl Messages {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Listed(listed) => listed.len(),
            Self::Run(run) => run.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of [`Message::size_bytes`].
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Listed(listed) => listed.iter().map(|message| message.size_bytes()).sum(),
            Self::Run(run) => run.size_bytes,
        }
    }

    /// Adds a message to some that it follows.
    ///
    /// # Errors
    /// There are too many, or they are a run: the message comes back.
    #[inline]
    pub fn push(&mut self, message: SharedMessage) -> Result<(), SharedMessage> {
        let Self::Listed(listed) = self else {
            return Err(message);
        };
        if listed.len() >= MESSAGES_MAX {
            return Err(message);
        }
        if listed.len() == listed.capacity() {
            make_room(listed);
        }
        listed.push(message);
        Ok(())
    }

    /// The messages one by one.
    pub fn into_listed(self) -> SmallVec<[SharedMessage; 1]> {
        match self {
            Self::Listed(listed) => listed,
            Self::Run(run) => run.messages().collect(),
        }
    }
}

impl From<SharedMessage> for Messages {
    #[inline]
    fn from(message: SharedMessage) -> Self {
        Self::Listed(smallvec![message])
    }
}

/// Where there are two there will be many.
#[cold]
fn make_room(listed: &mut SmallVec<[SharedMessage; 1]>) {
    listed.reserve_exact(MESSAGES_MAX - listed.len());
}

impl Run {
    /// A run without messages, with room for `length`. All bodies are parts of `batch`.
    pub fn new(
        address: Arc<Address>,
        properties: Bytes,
        persistent: bool,
        batch: Bytes,
        length: usize,
    ) -> Self {
        Self {
            address,
            properties,
            persistent,
            batch,
            bodies: Vec::with_capacity(length.min(RUN_LENGTH_MAX)),
            size_bytes: 0,
            body_size_max: 0,
        }
    }

    /// Adds a message with this part of the batch as its body.
    ///
    /// # Panics
    /// If it is no part of the batch.
    #[inline]
    pub fn push(&mut self, body: Range<usize>) {
        assert!(body.start <= body.end && body.end <= self.batch.len());
        self.size_bytes += self.size_around() + body.len();
        self.body_size_max = self.body_size_max.max(body.len());
        self.bodies.push(body);
    }

    /// Whether one more message may be added.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.bodies.len() < RUN_LENGTH_MAX && self.size_bytes < RUN_BYTES_MAX
    }

    /// How many messages there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// The sum of [`Message::size_bytes`].
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// What [`Message::size_bytes`] of each is more than its body.
    #[inline]
    pub fn size_around(&self) -> usize {
        self.properties.len() + self.address.routing_key.len()
    }

    /// The size of the largest body in bytes.
    pub fn body_size_max(&self) -> usize {
        self.body_size_max
    }

    /// What they were published to.
    pub fn address(&self) -> &Arc<Address> {
        &self.address
    }

    /// Property flags and property list of each.
    pub fn properties(&self) -> &Bytes {
        &self.properties
    }

    /// The bodies, in order.
    #[inline]
    pub fn bodies(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bodies.iter().map(|body| &self.batch[body.clone()])
    }

    /// The messages one by one, in order.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = SharedMessage> {
        self.bodies.iter().map(|body| {
            Arc::new(Message {
                address: Arc::clone(&self.address),
                properties: self.properties.clone(),
                body: self.batch.slice(body.clone()),
                persistent: self.persistent,
                priority: 0,
                expiration_ms: None,
                extra_routing_keys: None,
                deaths: None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bodies: &[&[u8]]) -> Run {
        let batch = Bytes::from(bodies.concat());
        let address = Address::new("x".into(), Bytes::from_static(b"key"));
        let properties = Bytes::from_static(&[0x10, 0, 2]);
        let mut run = Run::new(address, properties, true, batch, bodies.len());
        let mut at = 0;
        for body in bodies {
            run.push(at..at + body.len());
            at += body.len();
        }
        run
    }

    #[test]
    fn a_run_says_of_its_messages_what_they_say_themselves() {
        let bodies: [&[u8]; 4] = [b"one", b"", b"three", b"4"];
        let run = run(&bodies);
        let messages: Vec<_> = run.messages().collect();
        assert_eq!(run.len(), messages.len());
        assert_eq!(run.bodies().collect::<Vec<_>>(), bodies);
        assert_eq!(run.body_size_max(), 5);
        let sizes = messages.iter().map(|message| message.size_bytes());
        assert_eq!(run.size_bytes(), sizes.sum::<usize>());
        for (message, body) in messages.iter().zip(bodies) {
            assert_eq!(message.body, body);
            assert_eq!(message.size_bytes(), body.len() + run.size_around());
            assert_eq!(message.properties, run.properties());
            assert!(Arc::ptr_eq(&message.address, run.address()));
            assert!(message.persistent);
        }
        let listed = Messages::Run(Box::new(run)).into_listed();
        assert_eq!(listed.len(), 4);
    }

    #[test]
    fn a_run_is_full_by_length_and_by_bytes() {
        let body: &[u8] = b"1";
        let full = run(&[body; RUN_LENGTH_MAX]);
        assert!(!full.has_room());
        assert!(run(&[body; RUN_LENGTH_MAX - 1]).has_room());
        assert!(!run(&[&[7; RUN_BYTES_MAX]]).has_room());
    }

    #[test]
    fn messages_follow_each_other_up_to_the_limit_and_never_behind_a_run() {
        let message = run(&[b"x"]).messages().next().expect("there is one");
        let mut messages = Messages::from(Arc::clone(&message));
        for _ in 1..MESSAGES_MAX {
            assert!(messages.push(Arc::clone(&message)).is_ok());
        }
        assert!(messages.push(Arc::clone(&message)).is_err());
        assert_eq!(messages.len(), MESSAGES_MAX);
        assert_eq!(messages.size_bytes(), MESSAGES_MAX * message.size_bytes());
        let mut messages = Messages::Run(Box::new(run(&[b"x"])));
        assert!(messages.push(message).is_err());
        assert_eq!(messages.len(), 1);
    }
}
