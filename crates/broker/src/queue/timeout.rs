//! Consumer timeouts: messages of a quorum queue that somebody keeps for too long come back (RabbitMQ docs: consumers#acknowledgement-timeout).
//!
//! Every message that is out has a note of when it went, in ticks, and nothing else happens per message: the queue looks through
//! those that are out when the oldest could be due, and then knows when to look again. Classic queues have no such timeout, as
//! in RabbitMQ 4.3.

use super::Queue;
use super::consumers::{ConsumerKey, Consumers};
use super::unacked::AT_NO_TIME;
use crate::command::{ChannelId, Outcome, Positions, Reply};
use crate::effect::{Effect, Effects};
use crate::value::Value;
use base::{Now, Position};
use std::time::Duration;

/// Argument of a consumer that has a timeout of its own.
const CONSUMER_TIMEOUT: &str = "x-consumer-timeout";

/// How exactly the queue knows when a message went out.
const TICK_MS: u64 = 100;

#[derive(Debug, Default)]
pub(super) struct Leases {
    /// The tick of the last delivery.
    tick: u32,
    /// When to look next: not after the first that could be due.
    check_at: Option<Duration>,
}

impl Leases {
    pub(super) fn tick(&self) -> u32 {
        self.tick
    }

    /// The timeout may be another now.
    pub(super) fn check_soon(&mut self, now: Now) {
        self.check_at = self.check_at.map(|_| now.monotonic);
    }

    pub(super) fn check_at(&self) -> Option<Duration> {
        self.check_at
    }
}

/// A message that was out for too long.
struct Overdue {
    position: Position,
    channel: ChannelId,
    consumer: ConsumerKey,
}

impl Queue {
    /// A message goes out now.
    pub(super) fn lease(&mut self, now: Now, consumer: ConsumerKey, no_ack: bool) {
        let Some(leases) = &mut self.leases else {
            return;
        };
        if no_ack {
            return;
        }
        leases.tick = ticks(now.monotonic);
        let of_queue = self.settings.arguments.consumer_timeout_ms;
        let Some(due) = due(leases.tick, timeout_ms(&self.consumers, of_queue, consumer)) else {
            return;
        };
        if leases.check_at.is_none_or(|check_at| due < check_at) {
            leases.check_at = Some(due);
        }
    }

    /// Takes back what is out for too long. Whoever has it is told, and a consumer is forgotten.
    pub(super) fn take_back_overdue(&mut self, now: Now, effects: &mut Effects) {
        let Some(leases) = &mut self.leases else {
            return;
        };
        if leases.check_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        let (mut overdue, mut next) = (Vec::new(), None::<Duration>);
        let of_queue = self.settings.arguments.consumer_timeout_ms;
        for (delivered, since) in self.unacked.iter_since() {
            let timeout_ms = timeout_ms(&self.consumers, of_queue, delivered.consumer);
            let Some(at) = due(since, timeout_ms).filter(|_| since != AT_NO_TIME) else {
                continue;
            };
            if at <= now.monotonic {
                overdue.push(Overdue {
                    position: delivered.entry.position,
                    channel: delivered.channel,
                    consumer: delivered.consumer,
                });
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        leases.check_at = next;
        overdue.sort_by_key(|overdue| (overdue.channel, overdue.consumer, overdue.position));
        for of_one in overdue.chunk_by(|a, b| (a.channel, a.consumer) == (b.channel, b.consumer)) {
            self.take_back(now, of_one, effects);
        }
    }

    fn take_back(&mut self, now: Now, overdue: &[Overdue], effects: &mut Effects) {
        let Some(&Overdue {
            channel, consumer, ..
        }) = overdue.first()
        else {
            return;
        };
        let of_queue = self.settings.arguments.consumer_timeout_ms;
        let timeout_ms = timeout_ms(&self.consumers, of_queue, consumer).unwrap_or_default();
        let mut positions = Positions::new();
        // From the highest down, so that each touches the frontier when it comes back.
        for &Overdue { position, .. } in overdue.iter().rev() {
            let Some(mut delivered) = self.unacked.remove(position, channel) else {
                continue;
            };
            self.consumers.settled(consumer);
            positions.push(position);
            delivered.entry.redelivered = true;
            self.come_back(now, delivered.entry, Outcome::Requeue, effects);
        }
        let known = self.consumers.id_of(consumer);
        if let Some(id) = known {
            self.consumers.remove(id);
            self.last_used = Some(now.monotonic);
        }
        effects.push(Effect::Reply {
            to: channel,
            reply: Reply::TimedOut {
                consumer: known.map(|id| id.index),
                queue: self.settings.queue,
                positions,
                timeout_ms,
            },
        });
    }
}

/// The consumer's own timeout, or the queue's.
fn timeout_ms(consumers: &Consumers, of_queue: Option<u64>, consumer: ConsumerKey) -> Option<u64> {
    let own = consumers
        .settings_of(consumer)
        .and_then(|settings| settings.arguments.get(CONSUMER_TIMEOUT))
        .and_then(Value::as_int)
        .and_then(|timeout_ms| u64::try_from(timeout_ms).ok());
    own.or(of_queue)
}

fn ticks(monotonic: Duration) -> u32 {
    u32::try_from(monotonic.as_millis() / u128::from(TICK_MS)).unwrap_or(u32::MAX)
}

/// When a message that went out in that tick is overdue: never too early, at most a tick late.
fn due(tick: u32, timeout_ms: Option<u64>) -> Option<Duration> {
    let next_tick = Duration::from_millis((u64::from(tick) + 1) * TICK_MS);
    timeout_ms.map(|timeout_ms| next_tick.saturating_add(Duration::from_millis(timeout_ms)))
}
