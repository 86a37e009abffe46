//! What a channel remembers of its publishes: exchanges that it may publish to, where their routing keys lead, and the frames of the
//! last one.
//!
//! It asks nobody: whoever fills it in has checked what it says.

use crate::counts::{PublishLineIndex, PublishLines};
use crate::credit::{Credits, Target};
use crate::spans::Sampling;
use base::ChannelNumber;
use broker::auth::{Permit, Write};
use broker::exchange::Exchange;
use broker::message::Address;
use broker::router::Targets;
use codec_amqp091::{FRAME_END, FRAME_HEADER_SIZE, FrameKind, encode_frame, encode_header_frame};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// Routes a channel remembers; then it begins anew.
const ROUTES_MAX: usize = 1024;

/// What a channel knows about exchanges and routing keys it published to. Everything in it was true at `version`.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(super) version: u64,
    pub(super) exchanges: Vec<Allowed>,
    pub(super) routes: Vec<Route>,
    /// Indexes into `routes`, by exchange and routing key.
    pub(super) index: HashTable<usize>,
    pub(super) hasher: FixedState,
    /// The route of the last publish.
    pub(super) last: usize,
    /// The method that may come again.
    pub(super) repeated: Repeated,
    pub(super) targets: TargetBuffer,
    /// What the channel may publish.
    pub(crate) credits: Credits,
    /// What it has published.
    pub(crate) publishes: PublishLines,
}

/// A target list that prints nothing.
#[derive(Default)]
pub(super) struct TargetBuffer(pub(super) Targets);

impl std::fmt::Debug for TargetBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Targets")
    }
}

/// An exchange this user may publish to.
#[derive(Clone)]
pub(super) struct Allowed {
    pub(super) permit: Permit<Write>,
    pub(super) exchange: Arc<Exchange>,
}

impl std::fmt::Debug for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.exchange.name.fmt(f)
    }
}

/// The frames of the last publish but for its body: most publishers say the same each time. There is one only if the properties
/// say nothing but the delivery mode.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    /// From the method frame to the weight in the header frame; empty if there is none.
    pub(super) before_size: SmallVec<[u8; 96]>,
    /// Properties, end of the header frame, kind and channel of the body frame.
    pub(super) after_size: SmallVec<[u8; 16]>,
    pub(super) route: usize,
    pub(super) mandatory: bool,
    pub(super) persistent: bool,
    pub(super) properties: &'static [u8],
}

impl Repeated {
    pub(super) fn new(
        channel: ChannelNumber,
        method: &[u8],
        (properties, persistent): (&'static [u8], bool),
        route: usize,
        mandatory: bool,
    ) -> Self {
        /// Class and weight, which are before the size.
        const FIXED_SIZE: usize = 4;
        let mut frames = Vec::new();
        encode_frame(FrameKind::Method, channel, method, &mut frames);
        let size_at = frames.len() + FRAME_HEADER_SIZE + FIXED_SIZE;
        encode_header_frame(&mut frames, channel, 0, properties);
        let (before_size, rest) = frames.split_at(size_at);
        let mut after_size = SmallVec::from_slice(&rest[size_of::<u64>()..]);
        after_size.push(FrameKind::Body as u8);
        after_size.extend_from_slice(&channel.to_be_bytes());
        Self {
            before_size: SmallVec::from_slice(before_size),
            after_size,
            route,
            mandatory,
            persistent,
            properties,
        }
    }

    /// The body of a publish at the start of `input` that is the same but for its body, and how many bytes its frames take. A body
    /// that is empty or more than `size_max` is left to others, as is everything else.
    #[inline]
    pub(super) fn body_of<'a>(&self, input: &'a [u8], size_max: u64) -> Option<(&'a [u8], usize)> {
        if self.before_size.is_empty() {
            return None;
        }
        let rest = input.strip_prefix(&self.before_size[..])?;
        let (size, rest) = rest.split_first_chunk()?;
        let rest = rest.strip_prefix(&self.after_size[..])?;
        let (frame_size, rest) = rest.split_first_chunk()?;
        let size = u64::from_be_bytes(*size);
        if size == 0 || size > size_max || size != u64::from(u32::from_be_bytes(*frame_size)) {
            return None;
        }
        let (body, rest) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        let (end, rest) = rest.split_first()?;
        (*end == FRAME_END).then_some((body, input.len() - rest.len()))
    }
}

/// Where a routing key of an exchange leads.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) address: Arc<Address>,
    pub(super) queues: SmallVec<[Target; 2]>,
    /// Which of its messages are followed in an exported trace.
    pub(super) sampling: Sampling,
    /// Each message has to be looked at for that.
    pub(super) is_sampled: bool,
    /// Where the exchange is counted.
    pub(super) line: PublishLineIndex,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            version: 0,
            exchanges: Vec::new(),
            routes: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::default(),
            last: 0,
            repeated: Repeated::default(),
            targets: TargetBuffer::default(),
            credits: Credits::default(),
            publishes: PublishLines::default(),
        }
    }
}

impl Routes {
    /// Forgets what may no longer be true.
    #[inline]
    pub(super) fn refresh(&mut self, version: u64) {
        if self.version != version {
            self.forget();
            self.version = version;
        }
    }

    /// Forgets what the user was allowed.
    pub(crate) fn forget(&mut self) {
        self.clear();
        self.exchanges.clear();
    }

    pub(super) fn clear(&mut self) {
        self.routes.clear();
        self.index.clear();
        self.last = 0;
        self.repeated = Repeated::default();
        self.credits.forget_settled();
    }

    /// The queue of what may be repeated, if there is just one.
    #[inline]
    pub(super) fn repeated_target(&self) -> Option<Target> {
        match self.routes.get(self.repeated.route)?.queues[..] {
            [target] => Some(target),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn find(&mut self, exchange: &[u8], routing_key: &[u8]) -> Option<usize> {
        let is_it = |route: &Route| {
            let address = &*route.address;
            *address.routing_key == *routing_key && *address.exchange.as_bytes() == *exchange
        };
        if self.routes.get(self.last).is_some_and(is_it) {
            return Some(self.last);
        }
        let hash = self.hasher.hash_one((exchange, routing_key));
        let found = *self.index.find(hash, |index| is_it(&self.routes[*index]))?;
        self.last = found;
        Some(found)
    }

    pub(super) fn insert(&mut self, route: Route) -> usize {
        if self.routes.len() >= ROUTES_MAX {
            self.clear();
        }
        let index = self.routes.len();
        let hash_of = |route: &Route| {
            let address = &*route.address;
            self.hasher
                .hash_one((address.exchange.as_bytes(), &*address.routing_key))
        };
        let hash = hash_of(&route);
        self.routes.push(route);
        self.index
            .insert_unique(hash, index, |index| hash_of(&self.routes[*index]));
        self.last = index;
        index
    }
}

#[cfg(test)]
mod tests {
    use super::super::bare_properties;
    use super::*;
    use bytes::Bytes;
    use codec_amqp091::basic;

    #[test]
    fn a_repeated_publish_is_known_by_all_its_bytes_but_the_body() {
        let publish = |key: &str, mode: u8, channel: u16, body: &[u8]| {
            let (routing_key, mut out) = (key.as_bytes(), Vec::new());
            basic::Publish {
                routing_key,
                ..Default::default()
            }
            .encode(channel, &mut out);
            encode_header_frame(&mut out, channel, body.len() as u64, &[0x10, 0, mode]);
            codec_amqp091::encode_body_frames(&mut out, channel, body, 8192);
            out
        };
        let mut payload = Vec::new();
        basic::Publish {
            routing_key: b"q",
            ..Default::default()
        }
        .encode(0, &mut payload);
        let payload = &payload[FRAME_HEADER_SIZE..payload.len() - 1];
        let bare = bare_properties(&[0x10, 0, 2]).unwrap();
        let repeated = Repeated::new(7, payload, bare, 0, false);
        let check = |input: &[u8], size_max: u64, expect: Option<&[u8]>| {
            let found = repeated.body_of(input, size_max);
            assert_eq!(found.map(|(body, _)| body), expect);
            assert!(found.is_none_or(|(_, size)| size <= input.len()));
        };
        let same = publish("q", 2, 7, b"hello");
        check(&same, 5, Some(b"hello"));
        check(&[&same[..], b"more"].concat(), 5, Some(b"hello"));
        check(&same, 4, None);
        (0..same.len()).for_each(|cut| check(&same[..cut], 5, None));
        check(&publish("k", 2, 7, b"hello"), 5, None);
        check(&publish("q", 1, 7, b"hello"), 5, None);
        check(&publish("q", 2, 8, b"hello"), 5, None);
        check(&publish("q", 2, 7, b""), 5, None);
        check(&publish("q", 2, 7, &[0; 9000]), u64::MAX, None);
        for position in 0..same.len() {
            let mut other = same.clone();
            other[position] ^= 0x40;
            let is_body = (same.len() - 6..same.len() - 1).contains(&position);
            assert_eq!(repeated.body_of(&other, 5).is_some(), is_body, "{position}");
        }
    }

    #[test]
    fn the_route_table_starts_anew_when_it_is_full() {
        let mut routes = Routes::default();
        for number in 0..3 * ROUTES_MAX {
            let address = Address::new("x".into(), Bytes::from(number.to_string()));
            routes.insert(Route {
                sampling: Sampling::default(),
                is_sampled: false,
                address,
                queues: SmallVec::new(),
                line: PublishLineIndex::NONE,
            });
            assert!(routes.routes.len() <= ROUTES_MAX);
        }
        let last = (3 * ROUTES_MAX - 1).to_string();
        assert!(routes.find(b"x", last.as_bytes()).is_some());
        assert!(routes.find(b"", last.as_bytes()).is_none());
        assert!(routes.find(b"x", b"0").is_none());
        routes.refresh(7);
        assert!(routes.find(b"x", last.as_bytes()).is_none());
    }
}
