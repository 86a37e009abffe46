//! From an exchange and routing keys to queues.
//!
//! The router reads one immutable [`Vhost`] and changes nothing. It walks bindings between exchanges, visits each exchange once
//! and names each queue once. An exchange of which no binding takes the message passes it to its alternate exchange, if
//! that exists. Where messages may wait ([`crate::delay`]) the way of one that asks for it ends, until it is due. Whether the exchange
//! may be published to at all (`internal`) is the caller's question.

use crate::Error;
use crate::auth::{Permit, Write};
use crate::delay::{DelayTarget, Wait};
use crate::error::ResourceKind;
use crate::exchange::{Exchange, History, MessageParts, RoutedMessage, Target, TargetSet};
use crate::message::SharedMessage;
use crate::reached::Reached;
use crate::vhost::Vhost;
use base::QueueRef;
use smallvec::SmallVec;
use std::sync::Arc;

/// Up to this many queues, comparing them one by one beats sorting them.
const SCAN_MAX: usize = 16;

/// The queues of a routed message; reusable, so that routing allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct Targets {
    queues: Vec<QueueRef>,
    histories: SmallVec<[Arc<History>; 1]>,
    delays: Vec<DelayTarget>,
    wait: Option<Result<Wait, Error>>,
}

impl Targets {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// The queues, each once.
    pub fn queues(&self) -> &[QueueRef] {
        &self.queues
    }

    /// Keeps a copy in the histories of the exchanges that have one. Does nothing for most messages.
    pub fn remember(&mut self, message: &SharedMessage) {
        for history in self.histories.drain(..) {
            history.push(message);
        }
    }

    /// Where the message goes later, each once, and when; `None` if nowhere, as nearly always. Then headers were used.
    ///
    /// # Errors
    /// The message asks for a wait that cannot be granted.
    pub fn delays(&self) -> Option<Result<(Wait, &[DelayTarget]), Error>> {
        if self.delays.is_empty() {
            return None;
        }
        let wait = self.wait.clone()?;
        Some(wait.map(|wait| (wait, &self.delays[..])))
    }

    /// Whether the message is unroutable.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.delays.is_empty()
    }

    fn clear(&mut self) {
        self.queues.clear();
        self.histories.clear();
        self.delays.clear();
        self.wait = None;
    }

    /// Whether the message asks to wait; asked only where it may. A wait that cannot be granted counts.
    fn waits(&mut self, message: &mut RoutedMessage<'_>) -> bool {
        if self.wait.is_none() {
            self.wait = Wait::of(message.headers());
        }
        self.wait.is_some()
    }
}

/// What a routing depended on besides exchange and routing keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteInfo {
    /// An exchange was reached that asked for more, so the result must not be reused for another message.
    pub once: bool,
}

/// Finds the queues for a published message. `targets` is overwritten.
///
/// Unless it is `once`, the result is the same for the same vhost, exchange and keys until `Metadata::version` changes.
///
/// `routing_keys` are the message's own key and those of its CC and BCC headers. `parts` is asked only if an exchange is reached
/// whose type needs it. Whoever sends the message on has to call [`Targets::remember`].
pub fn route(
    vhost: &Vhost,
    exchange: &Exchange,
    permit: &Permit<Write>,
    routing_keys: &[&[u8]],
    parts: &mut dyn MessageParts,
    targets: &mut Targets,
) -> RouteInfo {
    debug_assert!(
        permit.covers(&vhost.name, ResourceKind::Exchange, &exchange.name),
        "the permit is for another exchange"
    );
    walk(vhost, exchange, Start::New, routing_keys, parts, targets)
}

/// Finds the queues for a dead letter. It needs no permit: the declaration of its queue needed one.
pub fn route_dead_letter(
    vhost: &Vhost,
    exchange: &Exchange,
    routing_keys: &[&[u8]],
    parts: &mut dyn MessageParts,
    targets: &mut Targets,
) -> RouteInfo {
    walk(vhost, exchange, Start::New, routing_keys, parts, targets)
}

/// Finds the queues for a message that the broker itself publishes: one that has waited, the history of an exchange, what an operator
/// moves. It needs no permit, as somebody had one before, and waits nowhere.
pub fn route_unasked(
    vhost: &Vhost,
    exchange: &Exchange,
    routing_keys: &[&[u8]],
    parts: &mut dyn MessageParts,
    targets: &mut Targets,
) -> RouteInfo {
    walk(vhost, exchange, Start::Due, routing_keys, parts, targets)
}

/// Whether a message may ask to wait on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    New,
    /// It has waited, or nobody would wait for it.
    Due,
}

fn walk(
    vhost: &Vhost,
    exchange: &Exchange,
    start: Start,
    routing_keys: &[&[u8]],
    parts: &mut dyn MessageParts,
    targets: &mut Targets,
) -> RouteInfo {
    targets.clear();
    let mut message = RoutedMessage::new(routing_keys, parts);
    let mut exchanges = Reached::new();
    exchanges.insert(exchange);
    // Target sets that gave queues: within one of them no queue is named twice.
    let mut set_count = 0_usize;
    let mut index = 0;
    while let Some(exchange) = exchanges.nodes().get(index).copied() {
        index += 1;
        let mut matched = false;
        if exchange.delays && start == Start::New && targets.waits(&mut message) {
            targets
                .delays
                .push(DelayTarget::Exchange(exchange.name.clone()));
            continue;
        }
        let queues = &mut targets.queues;
        if exchange.is_default() {
            let found = routing_keys
                .iter()
                .filter_map(|key| vhost.queue(std::str::from_utf8(key).ok()?));
            for record in found {
                matched = true;
                set_count += 1;
                queues.push(record.queue);
            }
        } else {
            exchange.route(&mut message, &mut |set: &TargetSet| {
                matched = true;
                set_count += 1;
                set.for_each(&mut |target| match target {
                    Target::Queue(queue) => queues.push(*queue),
                    Target::Exchange(name) => {
                        if let Some(next) = vhost.exchange(name) {
                            exchanges.insert(next);
                        }
                    }
                });
            });
        }
        if !matched
            && let Some(name) = &exchange.alternate_exchange
            && let Some(alternate) = vhost.exchange(name)
            // Compat: no message comes to the default exchange this way.
            && !alternate.is_default()
        {
            exchanges.insert(alternate);
        }
    }
    if set_count > 1 {
        deduplicate(&mut targets.queues);
    }
    if start == Start::New && vhost.has_delaying_queues() {
        hold_before_queues(vhost, &mut message, targets);
    }
    let once = message.is_once();
    if once {
        targets.histories = message.into_histories();
    }
    RouteInfo { once }
}

/// A message that asks to wait does so before the queues that allow it.
fn hold_before_queues(vhost: &Vhost, message: &mut RoutedMessage<'_>, targets: &mut Targets) {
    let delays = |queue: &QueueRef| vhost.is_delaying_queue(queue.id);
    if !targets.queues.iter().any(delays) || !targets.waits(message) {
        return;
    }
    let held = targets.queues.extract_if(.., |queue| delays(queue));
    targets
        .delays
        .extend(held.map(|queue| DelayTarget::Queue(queue.id)));
}

fn deduplicate(queues: &mut Vec<QueueRef>) {
    if queues.len() > SCAN_MAX {
        queues.sort_unstable();
        queues.dedup();
        return;
    }
    let mut kept = 0;
    for index in 0..queues.len() {
        if !queues[..kept].contains(&queues[index]) {
            queues[kept] = queues[index];
            kept += 1;
        }
    }
    queues.truncate(kept);
}
