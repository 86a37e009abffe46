//! Messages that the node publishes itself: what happens in it, and its log lines.
//!
//! There is one place for it, used by the metadata leader, the shards and the monitor alike. A message goes to the mailboxes of the
//! shards that own the target queues, like any that comes from another shard; nobody waits for anything. Nothing is made
//! while nothing is bound to the exchange.
//!
//! Limit: a shard whose mailbox is congested (`mailbox::CONGESTED_BYTES`) gets none of these messages; they are dropped,
//! counted and, each time the count has doubled, logged.

use crate::mailbox::{Mail, Mailbox};
use crate::shared::wall_ms;
use base::Name;
use broker::command::QueueCommand;
use broker::event::{self, Change, Event};
use broker::exchange::Exchange;
use broker::message::SharedMessage;
use broker::metadata::Metadata;
use broker::router::{self, Targets};
use broker::vhost::{EVENT_EXCHANGE, Vhost};
use frontend_amqp091::{UnaskedParts, internal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Publishes what the node itself has to say.
#[derive(Debug)]
pub(crate) struct EventBus {
    /// Where the exchange for events is.
    vhost: Name,
    exchange: Name,
    /// This node.
    node: Name,
    mailboxes: Arc<[Mailbox]>,
    dropped: AtomicU64,
}

impl EventBus {
    /// Events go to their exchange in `vhost`.
    pub(crate) fn new(vhost: Name, node: Name, mailboxes: Arc<[Mailbox]>) -> Self {
        Self {
            vhost,
            exchange: EVENT_EXCHANGE.into(),
            node,
            mailboxes,
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether anybody listens to events.
    pub(crate) fn is_observed(&self, metadata: &Metadata) -> bool {
        bound_exchange(metadata, &self.vhost, &self.exchange).is_some()
    }

    /// Tells of a change of the metadata.
    pub(crate) fn publish_change(&self, change: &Change<'_>) {
        if change.happened.is_empty() || !self.is_observed(change.after) {
            return;
        }
        for event in event::of_change(change) {
            self.publish(change.after, &event);
        }
    }

    /// Publishes an event, if anybody listens.
    pub(crate) fn publish(&self, metadata: &Metadata, event: &Event) {
        let Some((vhost, exchange)) = bound_exchange(metadata, &self.vhost, &self.exchange) else {
            return;
        };
        let message = internal::event(&exchange.name, event, wall_ms());
        let dropped = self.route(vhost, exchange, &message);
        if dropped > 0 {
            let total = self.dropped.fetch_add(dropped, Ordering::Relaxed) + dropped;
            if total.is_power_of_two() {
                tracing::warn!(total, "events were dropped: their queues do not keep up");
            }
        }
    }

    /// Where the exchange for events is.
    pub(crate) fn vhost(&self) -> &Name {
        &self.vhost
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &Name {
        &self.node
    }

    /// Publishes a message to an exchange. Returns to how many queues it could not be sent.
    pub(crate) fn route(&self, vhost: &Vhost, exchange: &Exchange, message: &SharedMessage) -> u64 {
        let mut targets = Targets::new();
        let keys = [&message.routing_key()[..]];
        let mut parts = UnaskedParts {
            properties: &message.properties,
            random: rand::random(),
        };
        router::route_unasked(vhost, exchange, &keys, &mut parts, &mut targets);
        targets.remember(message);
        let mut dropped = 0;
        for queue in targets.queues() {
            let mailbox = &self.mailboxes[queue.shard.index()];
            if mailbox.is_congested() {
                dropped += 1;
                continue;
            }
            mailbox.send(Mail::Queue {
                queue: queue.id,
                command: QueueCommand::Publish {
                    messages: Arc::clone(message).into(),
                    confirm: None,
                },
            });
        }
        dropped
    }
}

/// The exchange, if something is bound to it.
pub(crate) fn bound_exchange<'a>(
    metadata: &'a Metadata,
    vhost: &str,
    exchange: &str,
) -> Option<(&'a Vhost, &'a Exchange)> {
    let vhost = metadata.vhost(vhost)?;
    let exchange = vhost.exchange(exchange)?;
    (exchange.binding_count() > 0).then_some((&**vhost, &**exchange))
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::wildcard_enum_match_arm,
        reason = "a test names what it waits for; whatever else comes fails it"
    )]

    use super::*;
    use base::{ConnectionId, ShardId};
    use broker::command::{Destination, MetadataCommand as C};
    use broker::messages::Messages;
    use broker::value::Arguments;

    fn apply(
        metadata: &mut Metadata,
        command: &C,
    ) -> (Metadata, Vec<broker::metadata::MetadataEvent>) {
        let before = metadata.clone();
        let happened = metadata.apply(command).unwrap().events;
        (before, happened)
    }

    fn queue(name: &str, home: u16) -> C {
        C::DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
            durable: false,
            exclusive_owner: None,
            auto_delete: false,
            arguments: Arguments::default(),
            user: "guest".into(),
            home,
            server_named: false,
            id: None,
        }
    }

    fn world() -> (Metadata, EventBus) {
        let mut metadata = Metadata::new(2);
        apply(
            &mut metadata,
            &C::CreateVhost {
                name: "/".into(),
                metadata: Default::default(),
            },
        );
        let (vhost, name) = ("/".into(), EVENT_EXCHANGE.into());
        apply(&mut metadata, &C::CreateSystemExchange { vhost, name });
        apply(&mut metadata, &queue("events", 1));
        let mailboxes: Arc<[Mailbox]> = (0..2).map(|_| Mailbox::default()).collect();
        let bus = EventBus::new("/".into(), "rabbit@localhost".into(), mailboxes);
        (metadata, bus)
    }

    fn bind(key: &'static str) -> C {
        C::Bind {
            vhost: "/".into(),
            source: EVENT_EXCHANGE.into(),
            destination: Destination::Queue("events".into()),
            routing_key: key.into(),
            arguments: Arguments::default(),
        }
    }

    fn mail(bus: &EventBus, shard: usize) -> Vec<String> {
        let mut mail = Vec::new();
        bus.mailboxes[shard].take(&mut mail);
        let keys = mail.iter().map(|mail| match mail {
            Mail::Queue {
                command:
                    QueueCommand::Publish {
                        messages: Messages::Listed(listed),
                        ..
                    },
                ..
            } => String::from_utf8_lossy(listed[0].routing_key()).into_owned(),
            other => panic!("unexpected {other:?}"),
        });
        keys.collect()
    }

    fn change(metadata: &mut Metadata, bus: &EventBus, command: &C) {
        let (before, happened) = apply(metadata, command);
        bus.publish_change(&Change {
            command,
            before: &before,
            after: metadata,
            happened: &happened,
            user: "guest",
            node: bus.node(),
        });
    }

    #[test]
    fn nothing_is_made_until_something_is_bound() {
        let (mut metadata, bus) = world();
        change(&mut metadata, &bus, &queue("a", 0));
        assert!(!bus.is_observed(&metadata));
        assert!(mail(&bus, 1).is_empty());
        // The binding itself is the first that is heard of.
        change(&mut metadata, &bus, &bind("#"));
        change(&mut metadata, &bus, &queue("b", 0));
        // A declaration that changes nothing is no event.
        change(&mut metadata, &bus, &queue("b", 0));
        assert_eq!(mail(&bus, 1), ["binding.created", "queue.created"]);
        assert!(mail(&bus, 0).is_empty());
    }

    #[test]
    fn a_binding_chooses_events() {
        let (mut metadata, bus) = world();
        change(&mut metadata, &bus, &bind("vhost.*"));
        change(
            &mut metadata,
            &bus,
            &C::CreateVhost {
                name: "v".into(),
                metadata: Default::default(),
            },
        );
        change(&mut metadata, &bus, &C::DeleteVhost { name: "v".into() });
        assert_eq!(mail(&bus, 1), ["vhost.created", "vhost.deleted"]);
    }

    #[test]
    fn a_congested_shard_gets_no_events() {
        let (mut metadata, bus) = world();
        change(&mut metadata, &bus, &bind("#"));
        mail(&bus, 1);
        let event = Event::new("test", [("text", event::text(&"x".repeat(100 << 10)))]);
        let fits = crate::mailbox::CONGESTED_BYTES / (100 << 10) + 1;
        for _ in 0..fits + 7 {
            bus.publish(&metadata, &event);
        }
        assert!(mail(&bus, 1).len() <= fits);
        assert!(bus.dropped.load(Ordering::Relaxed) >= 7);
        let owner = ConnectionId {
            shard: ShardId(0),
            serial: 1,
        };
        assert_eq!(event::term::connection("n@h", owner), "<n@h.0.1.0>");
    }
}
