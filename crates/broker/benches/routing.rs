//! What bindings cost: adding and removing one among many, routing among many, and deleting a queue that has many.
//!
//! `cargo bench -p broker --bench routing` prints one line each; nothing is judged here.

#![expect(clippy::unwrap_used, reason = "a panic is how a bench fails")]
#![expect(clippy::print_stdout, reason = "the output is the result")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use base::QueueId;
use broker::command::{Destination, MetadataCommand as Command};
use broker::exchange::{HashProperty, MessageParts};
use broker::metadata::Metadata;
use broker::router::{Targets, route_unasked};
use broker::value::{Arguments, IntKind, Value};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Operations that one figure is the mean of.
const ROUNDS: usize = 200;

struct Parts(Arguments);

impl MessageParts for Parts {
    fn headers(&mut self) -> Arguments {
        self.0.clone()
    }

    fn property(&mut self, _property: HashProperty) -> Option<Bytes> {
        None
    }

    fn random(&mut self) -> u64 {
        0
    }
}

struct World(Metadata);

impl World {
    fn new(queues: usize) -> Self {
        let mut world = Self(Metadata::new(1));
        world.apply(&Command::CreateVhost {
            name: "/".into(),
            metadata: Default::default(),
        });
        for number in 0..queues {
            world.apply(&Command::DeclareQueue {
                vhost: "/".into(),
                name: format!("q{number}").into(),
                durable: true,
                exclusive_owner: None,
                auto_delete: false,
                arguments: Arguments::default(),
                user: "guest".into(),
                home: 0,
                server_named: false,
                id: None,
            });
        }
        world
    }

    /// As a node does it: on a copy that then becomes the state.
    fn apply(&mut self, command: &Command) {
        let mut next = self.0.clone();
        next.apply(command).unwrap();
        self.0 = next;
    }

    fn measure(&mut self, what: &str, command: &Command) {
        let mut next = self.0.clone();
        let started = cpu();
        let applied = next.apply(command).unwrap();
        let changed = cpu();
        drop(applied);
        self.0 = next;
        let freed = cpu();
        println!(
            "{what}: {:?}, and {:?} to free what went",
            changed - started,
            freed - changed
        );
    }

    fn bind(&mut self, exchange: &str, queue: usize, key: &str, arguments: Arguments) {
        self.apply(&Command::Bind {
            vhost: "/".into(),
            source: exchange.into(),
            destination: Destination::Queue(format!("q{queue}").into()),
            routing_key: Bytes::copy_from_slice(key.as_bytes()),
            arguments,
        });
    }

    /// How many queues a message with this key and header goes to, and the mean time that takes.
    fn route(&self, what: &str, exchange: &str, key: &str, headers: Arguments) {
        let vhost = self.0.vhost("/").unwrap();
        let exchange = vhost.exchange(exchange).unwrap();
        let mut targets = Targets::new();
        let mut parts = Parts(headers);
        let keys = [key.as_bytes()];
        let started = Instant::now();
        for _ in 0..ROUNDS {
            route_unasked(vhost, exchange, &keys, &mut parts, &mut targets);
        }
        let each = started.elapsed() / ROUNDS as u32;
        println!("{what}: {each:?}, {} queues", targets.queues().len());
    }
}

/// Time that this thread has had a processor: others who want it do not count.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = text.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

fn number(value: usize) -> Arguments {
    let value = Value::Int(IntKind::I64, value as i64);
    Arguments::from_pairs([("id".into(), value)])
}

/// Prints the mean time of the first and of the last `ROUNDS` of `count` calls.
fn first_and_last(what: &str, count: usize, mut call: impl FnMut(usize)) {
    let mut times = Vec::with_capacity(count);
    for index in 0..count {
        let started = Instant::now();
        call(index);
        times.push(started.elapsed());
    }
    let mean = |times: &[Duration]| times.iter().sum::<Duration>() / times.len() as u32;
    let (first, last) = (mean(&times[..ROUNDS]), mean(&times[count - ROUNDS..]));
    println!("{what}: first {first:?}, last of {count} {last:?}");
}

fn main() {
    let mut world = World::new(10_000);
    first_and_last("bind topic", 100_000, |index| {
        let key = format!("a.{}.b{index}.*", index % 100);
        world.bind("amq.topic", index % 10_000, &key, Arguments::default());
    });
    let none = Arguments::default;
    world.route("route topic", "amq.topic", "a.7.b4007.x", none());
    first_and_last("bind headers", 10_000, |index| {
        world.bind("amq.headers", index, "", number(index));
    });
    world.route("route headers", "amq.headers", "", number(5000));
    world.route("route headers, no match", "amq.headers", "", none());
    first_and_last("bind fanout", 10_000, |index| {
        world.bind("amq.fanout", index, "", Arguments::default());
    });
    world.route("route fanout", "amq.fanout", "", none());
    first_and_last("delete queue among 120,000 bindings", 10_000, |index| {
        let id = QueueId(10_000 - index as u64);
        world.apply(&Command::DeleteQueue { id });
    });

    delete_at_once();
}

/// What happens under the lock of the metadata while one thing goes with 100,000 bindings.
fn delete_at_once() {
    let none = Arguments::default;
    let delete_queue = Command::DeleteQueue { id: QueueId(1) };
    let mut world = World::new(2);
    for index in 0..100_000 {
        world.bind("amq.topic", 0, &format!("k{index}.#"), none());
    }
    world.measure(
        "delete queue, alone with 100,000 bindings of a topic exchange",
        &delete_queue,
    );
    for exchange in ["amq.topic", "amq.direct", "amq.headers"] {
        let mut world = World::new(2);
        for index in 0..100_000 {
            let key = format!("k{index}.#");
            world.bind(exchange, 0, &key, number(index));
            world.bind(exchange, 1, &key, number(index));
        }
        world.measure(
            &format!("delete queue with 100,000 of 200,000 bindings of {exchange}"),
            &delete_queue,
        );
    }
    let mut world = World::new(100_000);
    world.apply(&Command::DeclareExchange {
        vhost: "/".into(),
        name: "x".into(),
        exchange_type: "topic".into(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: none(),
        history: None,
    });
    for index in 0..100_000 {
        world.bind("x", index, &format!("k{index}.#"), none());
    }
    world.measure(
        "delete exchange with bindings to 100,000 queues",
        &Command::DeleteExchange {
            vhost: "/".into(),
            name: "x".into(),
            if_unused: false,
        },
    );
    world.measure(
        "delete vhost with 100,000 queues",
        &Command::DeleteVhost { name: "/".into() },
    );
}
