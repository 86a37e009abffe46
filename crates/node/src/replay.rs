//! What a new binding gets of its exchange's history (`x-recent-history`).
//!
//! The messages are taken before others can see the binding, so none comes twice; one that is published elsewhere at the same moment
//! may miss the new destination, as it would have a moment earlier.

use base::QueueRef;
use broker::binding::Binding;
use broker::command::Destination;
use broker::message::SharedMessage;
use broker::metadata::{Metadata, MetadataEvent};
use broker::router::{self, Targets};
use broker::vhost::Vhost;
use frontend_amqp091::UnaskedParts;

/// Copies of remembered messages for the queues behind the bindings that were made, oldest first.
pub(crate) fn replays(
    metadata: &Metadata,
    events: &[MetadataEvent],
) -> Vec<(QueueRef, SharedMessage)> {
    let mut replays = Vec::new();
    for event in events {
        if let MetadataEvent::BindingCreated { vhost, binding } = event
            && let Some(vhost) = metadata.vhost(vhost)
        {
            replay(vhost, binding, &mut replays);
        }
    }
    replays
}

fn replay(vhost: &Vhost, binding: &Binding, into: &mut Vec<(QueueRef, SharedMessage)>) {
    let source = vhost.exchange(&binding.source);
    let Some(history) = source.and_then(|source| source.history()) else {
        return;
    };
    match &binding.destination {
        Destination::Queue(name) => {
            if let Some(record) = vhost.queue(name) {
                into.extend(
                    history
                        .messages()
                        .into_iter()
                        .map(|message| (record.queue, message)),
                );
            }
        }
        Destination::Exchange(name) => {
            let Some(exchange) = vhost.exchange(name) else {
                return;
            };
            let mut targets = Targets::new();
            for (number, message) in (0..).zip(history.messages()) {
                let keys: Vec<_> = message.routing_keys().map(|key| &key[..]).collect();
                let mut parts = UnaskedParts {
                    properties: &message.properties,
                    random: number,
                };
                router::route_unasked(vhost, exchange, &keys, &mut parts, &mut targets);
                targets.remember(&message);
                into.extend(
                    targets
                        .queues()
                        .iter()
                        .map(|queue| (*queue, message.clone())),
                );
            }
        }
    }
}
