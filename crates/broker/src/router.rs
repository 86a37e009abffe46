//! From an exchange and routing keys to queues.
//!
//! The router reads one immutable [`Vhost`] and changes nothing. It walks bindings between exchanges, visits each exchange once
//! and names each queue once. An exchange of which no binding takes the message passes it to its alternate exchange, if
//! that exists. Whether the exchange may be published to at all (`internal`) is the caller's question.

use crate::auth::{Permit, Write};
use crate::error::ResourceKind;
use crate::exchange::{Exchange, RoutedMessage, Target, TargetSet};
use crate::reached::Reached;
use crate::value::Arguments;
use crate::vhost::Vhost;
use base::QueueRef;

/// Up to this many queues, comparing them one by one beats sorting them.
const SCAN_MAX: usize = 16;

/// The queues of a routed message; reusable, so that routing allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct Targets {
    queues: Vec<QueueRef>,
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

    /// Whether the message is unroutable.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }
}

/// What a routing depended on besides exchange and routing keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteInfo {
    /// A headers exchange was reached, so the result must not be reused for another message.
    pub used_headers: bool,
}

/// Finds the queues for a published message. `targets` is overwritten.
///
/// Unless headers were used, the result is the same for the same vhost, exchange and keys until `Metadata::version` changes.
///
/// `routing_keys` are the message's own key and those of its CC and BCC headers. `headers` is called at most once, and only if a
/// headers exchange is reached.
pub fn route(
    vhost: &Vhost,
    exchange: &Exchange,
    permit: &Permit<Write>,
    routing_keys: &[&[u8]],
    headers: &mut dyn FnMut() -> Arguments,
    targets: &mut Targets,
) -> RouteInfo {
    debug_assert!(
        permit.covers(&vhost.name, ResourceKind::Exchange, &exchange.name),
        "the permit is for another exchange"
    );
    walk(vhost, exchange, routing_keys, headers, targets)
}

/// Finds the queues for a message that a queue dead-letters. It needs no permit: the declaration of the queue needed one.
pub fn route_dead_letter(
    vhost: &Vhost,
    exchange: &Exchange,
    routing_keys: &[&[u8]],
    headers: &mut dyn FnMut() -> Arguments,
    targets: &mut Targets,
) -> RouteInfo {
    walk(vhost, exchange, routing_keys, headers, targets)
}

fn walk(
    vhost: &Vhost,
    exchange: &Exchange,
    routing_keys: &[&[u8]],
    headers: &mut dyn FnMut() -> Arguments,
    targets: &mut Targets,
) -> RouteInfo {
    let queues = &mut targets.queues;
    queues.clear();
    let mut message = RoutedMessage::new(routing_keys, headers);
    let mut exchanges = Reached::new();
    exchanges.insert(exchange);
    // Target sets that gave queues: within one of them no queue is named twice.
    let mut set_count = 0_usize;
    let mut index = 0;
    while let Some(exchange) = exchanges.nodes().get(index).copied() {
        index += 1;
        let mut matched = false;
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
        {
            exchanges.insert(alternate);
        }
    }
    if set_count > 1 {
        deduplicate(queues);
    }
    RouteInfo {
        used_headers: message.headers_were_used(),
    }
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
