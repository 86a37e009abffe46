//! Nanoseconds a message costs in the queue machine alone: no frames, no log, no sockets.
//!
//! `cargo bench -p broker --bench queue`. Each figure is the best of several rounds, so that a busy machine disturbs little.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]

use base::{ConnectionId, Name, Now, Position, QueueId, QueueRef, ShardId};
use broker::command::{
    ChannelId, ConfirmTo, ConsumerId, ConsumerSettings, Outcome, QueueCommand, Reply,
};
use broker::effect::{Effect, Effects};
use broker::message::{Address, Message, SharedMessage};
use broker::queue::{Queue, QueueSettings, RecordSink, Stored, Windows};
use broker::queue_arguments::QueueArguments;
use broker::value::Arguments;
use bytes::Bytes;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that a turn handles.
const BATCH: u64 = 256;
const ROUNDS: usize = 15;
const BATCHES: u64 = 400;

struct Open;

impl Windows for Open {
    fn take(&mut self, _: ConnectionId, _: QueueId, bytes: usize) -> bool {
        black_box(bytes);
        true
    }
}

/// Counts records and drops them.
#[derive(Default)]
struct Counted(u64);

impl RecordSink for Counted {
    fn message(
        &mut self,
        _: QueueId,
        _: Position,
        _: bool,
        _: Option<u64>,
        message: &SharedMessage,
    ) {
        black_box(message);
        self.0 += 1;
    }

    fn settled(&mut self, _: QueueId, _: Position, _: Position) {
        self.0 += 1;
    }

    fn delivered_until(&mut self, _: QueueId, _: Position) {
        self.0 += 1;
    }
}

fn channel(serial: u64) -> ChannelId {
    ChannelId {
        connection: ConnectionId {
            shard: ShardId(0),
            serial,
        },
        number: 1,
        epoch: 0,
    }
}

fn queue(durable: bool) -> Queue {
    let settings = QueueSettings {
        queue: QueueRef {
            id: QueueId(1),
            shard: ShardId(0),
        },
        vhost: Name::from("/"),
        name: Name::from("q"),
        durable,
        auto_delete: false,
        arguments: QueueArguments::default(),
    };
    Queue::new(settings, Stored::default())
}

fn consume(no_ack: bool) -> QueueCommand {
    let settings = ConsumerSettings {
        tag: Name::from("c"),
        no_ack,
        exclusive: false,
        prefetch_count: 0,
        priority: 0,
        arguments: Arguments::default(),
    };
    QueueCommand::Consume {
        consumer: ConsumerId {
            channel: channel(2),
            index: 0,
        },
        settings: Box::new(settings),
    }
}

fn message(persistent: bool, body_bytes: usize) -> SharedMessage {
    Arc::new(Message {
        address: Address::new(Name::default(), Bytes::from_static(b"q")),
        properties: Bytes::new(),
        body: Bytes::from(vec![0; body_bytes]),
        persistent,
        priority: 0,
        expiration_ms: None,
        extra_routing_keys: None,
        deaths: None,
    })
}

/// Best nanoseconds a message over all rounds; `round` handles `messages` of them.
fn measure(name: &str, messages: u64, mut round: impl FnMut() -> Duration) {
    let best = (0..ROUNDS)
        .map(|_| round())
        .min()
        .expect("there are rounds");
    println!(
        "{name:<46} {:>7.1} ns/message",
        best.as_nanos() as f64 / messages as f64
    );
}

struct Bench {
    queue: Queue,
    now: Now,
    effects: Effects,
    sequence: u64,
    ticket: u64,
}

impl Bench {
    fn new(durable: bool) -> Self {
        Self {
            queue: queue(durable),
            now: Now::default(),
            effects: Effects::new(),
            sequence: 0,
            ticket: 0,
        }
    }

    fn apply(&mut self, command: QueueCommand) {
        self.queue
            .apply(self.now, command, &mut Open, &mut self.effects);
    }

    fn publish(&mut self, message: &SharedMessage, count: u64) {
        for _ in 0..count {
            self.apply(QueueCommand::Publish {
                messages: message.clone().into(),
                confirm: None,
            });
        }
    }

    fn publish_confirmed(&mut self, message: &SharedMessage, count: u64) {
        for _ in 0..count {
            self.sequence += 1;
            let confirm = Some(ConfirmTo {
                channel: channel(1),
                sequence: self.sequence,
            });
            self.apply(QueueCommand::Publish {
                messages: message.clone().into(),
                confirm,
            });
        }
    }

    /// Ends a turn and drops its effects.
    fn end_turn(&mut self) {
        self.queue.flush(self.now, &mut self.effects);
        black_box(&self.effects);
        self.effects.clear();
    }

    /// Acknowledges what this turn delivered.
    fn ack_delivered(&mut self) {
        let delivered = self.effects.drain(..).filter_map(|effect| {
            let Effect::Reply {
                reply: Reply::Deliver {
                    position, messages, ..
                },
                ..
            } = effect
            else {
                return None;
            };
            Some((position.0..).take(messages.len()).map(Position))
        });
        let positions = delivered.flatten().collect();
        self.apply(QueueCommand::Settle {
            channel: channel(2),
            positions,
            outcome: Outcome::Ack,
        });
    }

    fn log(&mut self) {
        self.ticket += 1;
        let mut sink = Counted::default();
        self.queue.collect_records(self.ticket, &mut sink);
        black_box(sink.0);
        self.queue
            .handle_durable(self.now, self.ticket, &mut Open, &mut self.effects);
    }
}

/// `turn` with a queue that has one consumer.
fn measure_turns(name: &str, durable: bool, no_ack: bool, mut turn: impl FnMut(&mut Bench)) {
    let mut bench = Bench::new(durable);
    bench.apply(consume(no_ack));
    measure(name, BATCH * BATCHES, || {
        let start = Instant::now();
        for _ in 0..BATCHES {
            turn(&mut bench);
            bench.end_turn();
        }
        start.elapsed()
    });
}

fn main() {
    let transient = message(false, 16);
    let persistent = message(true, 1024);
    measure_turns("publish, deliver, auto-ack", false, true, |bench| {
        bench.publish(&transient, BATCH)
    });
    measure_turns("publish, deliver, ack", false, false, |bench| {
        bench.publish(&transient, BATCH);
        bench.ack_delivered();
    });
    measure_turns(
        "publish with confirm, deliver, ack",
        false,
        false,
        |bench| {
            bench.publish_confirmed(&transient, BATCH);
            bench.ack_delivered();
        },
    );
    measure_turns(
        "persistent: publish, deliver, log, ack",
        true,
        false,
        |bench| {
            bench.publish_confirmed(&persistent, BATCH);
            bench.log();
            bench.ack_delivered();
        },
    );
    measure_turns(
        "persistent: acked before the log took it",
        true,
        false,
        |bench| {
            bench.publish_confirmed(&persistent, BATCH);
            bench.ack_delivered();
            bench.log();
        },
    );

    let backlog = 10_000;
    let mut bench = Bench::new(false);
    measure("backlog in RAM: publish", backlog, || {
        bench.queue = queue(false);
        let start = Instant::now();
        bench.publish(&transient, backlog);
        start.elapsed()
    });
    measure("backlog in RAM: drain", backlog, || {
        bench.queue = queue(false);
        bench.publish(&transient, backlog);
        bench.end_turn();
        let start = Instant::now();
        bench.apply(consume(true));
        let elapsed = start.elapsed();
        bench.end_turn();
        elapsed
    });

    let paged = 200_000;
    let mut bench = Bench::new(true);
    measure("backlog on disk: publish and log, 1 KiB", paged, || {
        bench.queue = queue(true);
        let start = Instant::now();
        for _ in 0..paged / BATCH {
            bench.publish(&persistent, BATCH);
            bench.log();
            bench.effects.clear();
        }
        start.elapsed()
    });
    println!(
        "RAM accounted for {} messages of 1 KiB: {} KiB",
        bench.queue.ready_count(),
        bench.queue.ram_bytes() >> 10
    );
    println!(
        "size of an idle queue: {} bytes and its names",
        size_of::<Queue>() + size_of::<QueueSettings>()
    );
}
