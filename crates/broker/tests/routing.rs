//! Where messages go, asked through the public interface only.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use base::{Name, QueueId};
use broker::auth::{Permit, Write, authorize};
use broker::command::{Destination, MetadataCommand as Command, PasswordHash};
use broker::error::ResourceKind;
use broker::exchange::{ExchangeType, HashProperty, MessageParts};
use broker::message::{Address, Message};
use broker::metadata::{DefaultUser, Metadata, bootstrap_commands};
use broker::router::{Targets, route};
use broker::value::{Arguments, Value};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A broker's metadata with one user who may do everything.
struct World {
    metadata: Metadata,
    targets: Targets,
    random: u64,
}

struct Parts<'a> {
    headers: &'a Arguments,
    random: &'a mut u64,
}

impl MessageParts for Parts<'_> {
    fn headers(&mut self) -> Arguments {
        self.headers.clone()
    }

    fn property(&mut self, property: HashProperty) -> Option<Bytes> {
        (property == HashProperty::MessageId).then(|| Bytes::from_static(b"m"))
    }

    /// A Weyl sequence: no two alike and evenly spread.
    fn random(&mut self) -> u64 {
        *self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        *self.random
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            metadata: Metadata::new(1),
            targets: Targets::new(),
            random: 0,
        };
        bootstrap_commands(DefaultUser::administrator(
            "guest".into(),
            PasswordHash::new(b"guest", [0; 4]),
            "/".into(),
        ))
        .iter()
        .for_each(|c| world.apply(c));
        world
    }

    fn apply(&mut self, command: &Command) {
        self.metadata.apply(command).unwrap();
    }

    fn exchange(&mut self, name: &str, exchange_type: &str, alternate: Option<&'static str>) {
        let alternate = alternate.map(|name| {
            (
                "alternate-exchange".into(),
                Value::LongStr(Bytes::from_static(name.as_bytes())),
            )
        });
        self.apply(&Command::DeclareExchange {
            vhost: "/".into(),
            name: name.into(),
            exchange_type: exchange_type.into(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Arguments::from_pairs(alternate),
            history: None,
        });
    }

    fn queue(&mut self, name: &str) {
        self.apply(&Command::DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
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

    fn bind(&mut self, source: &str, destination: Destination, key: &str, arguments: Arguments) {
        self.apply(&Command::Bind {
            vhost: "/".into(),
            source: source.into(),
            destination,
            routing_key: Bytes::copy_from_slice(key.as_bytes()),
            arguments,
        });
    }

    fn bind_queue(&mut self, source: &str, queue: &str, key: &str) {
        self.bind(
            source,
            Destination::Queue(queue.into()),
            key,
            Arguments::default(),
        );
    }

    fn bind_exchange(&mut self, source: &str, exchange: &str, key: &str) {
        self.bind(
            source,
            Destination::Exchange(exchange.into()),
            key,
            Arguments::default(),
        );
    }

    /// Names of the queues that get a message, sorted, and whether that is right for this message only.
    fn publish(
        &mut self,
        exchange: &str,
        keys: &[&str],
        headers: &Arguments,
    ) -> (Vec<String>, bool) {
        let vhost = self.metadata.vhost("/").unwrap();
        let permit: Permit<Write> = authorize(
            &self.metadata,
            &"guest".into(),
            &"/".into(),
            Write,
            ResourceKind::Exchange,
            &exchange.into(),
        )
        .unwrap();
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
        let exchange = vhost.exchange(exchange).unwrap();
        let info = route(
            vhost,
            exchange,
            &permit,
            &keys,
            &mut Parts {
                headers,
                random: &mut self.random,
            },
            &mut self.targets,
        );
        let name = |id: QueueId| self.metadata.queue_by_id(id).unwrap().name.to_string();
        let mut names: Vec<_> = self
            .targets
            .queues()
            .iter()
            .map(|queue| name(queue.id))
            .collect();
        names.sort_unstable();
        (names, info.once)
    }

    fn queues(&mut self, exchange: &str, keys: &[&str]) -> Vec<String> {
        self.publish(exchange, keys, &Arguments::default()).0
    }
}

#[test]
fn the_default_exchange_knows_every_queue_by_name() {
    let mut world = World::new();
    world.queue("q");
    assert_eq!(world.queues("", &["q"]), ["q"]);
    assert!(world.queues("", &["nope"]).is_empty());
    assert!(world.targets.is_empty());
}

#[test]
fn a_queue_gets_one_copy_however_many_bindings_match() {
    let mut world = World::new();
    world.queue("q");
    world.queue("r");
    for key in ["a", "b"] {
        world.bind_queue("amq.direct", "q", key);
        world.bind_queue("amq.fanout", "q", key);
    }
    world.bind_queue("amq.direct", "r", "b");
    world.bind_queue("amq.topic", "q", "#");
    world.bind_queue("amq.topic", "q", "a.*");
    world.bind_exchange("amq.topic", "amq.fanout", "a.b");
    assert_eq!(world.queues("amq.direct", &["a", "b", "a"]), ["q", "r"]);
    assert_eq!(world.queues("amq.fanout", &["zzz"]), ["q"]);
    assert_eq!(world.queues("amq.topic", &["a.b"]), ["q"]);
    assert_eq!(world.queues("", &["q", "r", "q"]), ["q", "r"]);
}

#[test]
fn more_queues_than_are_scanned_are_still_distinct() {
    let mut world = World::new();
    for index in 0..100 {
        let name = format!("q{index}");
        world.queue(&name);
        world.bind_queue("amq.topic", &name, "a.#");
        world.bind_queue("amq.topic", &name, "#.b");
    }
    assert_eq!(world.queues("amq.topic", &["a.b"]).len(), 100);
}

#[test]
fn an_alternate_exchange_gets_what_no_binding_took() {
    let mut world = World::new();
    world.exchange("last", "fanout", None);
    world.exchange("middle", "direct", Some("last"));
    world.exchange("first", "direct", Some("middle"));
    world.exchange("lost", "direct", Some("missing"));
    world.queue("bound");
    world.queue("rest");
    world.bind_queue("first", "bound", "k");
    world.bind_queue("last", "rest", "");
    assert_eq!(world.queues("first", &["k"]), ["bound"]);
    assert_eq!(world.queues("first", &["other"]), ["rest"]);
    assert!(world.queues("lost", &["k"]).is_empty());
}

#[test]
fn cycles_of_bindings_and_alternates_end() {
    let mut world = World::new();
    world.exchange("a", "fanout", Some("b"));
    world.exchange("b", "fanout", Some("a"));
    assert!(world.queues("a", &[""]).is_empty());
    world.queue("q");
    world.bind_exchange("a", "b", "");
    world.bind_exchange("b", "a", "");
    world.bind_queue("b", "q", "");
    assert_eq!(world.queues("a", &[""]), ["q"]);
}

#[test]
fn headers_are_decoded_only_for_headers_exchanges() {
    let mut world = World::new();
    world.queue("q");
    world.queue("r");
    let wanted = Arguments::from_pairs([("colour".into(), Value::Bool(true))]);
    world.bind(
        "amq.headers",
        Destination::Queue("q".into()),
        "",
        wanted.clone(),
    );
    world.bind_queue("amq.fanout", "r", "");
    assert_eq!(
        world.publish("amq.fanout", &[""], &wanted),
        (vec!["r".into()], false)
    );
    assert_eq!(
        world.publish("amq.headers", &[""], &wanted),
        (vec!["q".into()], true)
    );
    assert_eq!(
        world.publish("amq.headers", &[""], &Arguments::default()),
        (vec![], true)
    );
}

/// A naive broker: a list of bindings, tried one after the other.
#[derive(Debug, Default)]
struct Naive {
    bindings: BTreeSet<(&'static str, &'static str, &'static str)>,
}

impl Naive {
    fn queues(
        &self,
        exchange: &str,
        key: &str,
        seen: &mut BTreeSet<&'static str>,
        out: &mut BTreeSet<String>,
    ) {
        for (source, destination, binding_key) in &self.bindings {
            let matches = match exchange {
                "direct" | "amq.direct" => *binding_key == key,
                _ => true,
            };
            if *source != exchange || !matches {
                continue;
            }
            if destination.starts_with('q') {
                out.insert((*destination).into());
            } else if seen.insert(destination) {
                self.queues(destination, key, seen, out);
            }
        }
    }
}

proptest! {
    #[test]
    fn routing_agrees_with_trying_every_binding(
        edges in proptest::collection::vec((
            any::<bool>(),
            proptest::sample::select(&["direct", "fanout", "amq.direct"][..]),
            proptest::sample::select(&["q1", "q2", "q3", "direct", "fanout", "amq.direct"][..]),
            proptest::sample::select(&["a", "b"][..]),
        ), 0..40),
    ) {
        let mut world = World::new();
        let mut naive = Naive::default();
        world.exchange("direct", "direct", None);
        world.exchange("fanout", "fanout", None);
        ["q1", "q2", "q3"].iter().for_each(|name| world.queue(name));
        for (add, source, destination, key) in edges {
            let end: Name = destination.into();
            let to = if destination.starts_with('q') { Destination::Queue(end) } else { Destination::Exchange(end) };
            if add {
                world.bind(source, to, key, Arguments::default());
                naive.bindings.insert((source, destination, key));
            } else {
                let (routing_key, arguments) = (Bytes::from_static(key.as_bytes()), Arguments::default());
                world.apply(&Command::Unbind { vhost: "/".into(), source: source.into(), destination: to, routing_key, arguments });
                naive.bindings.remove(&(source, destination, key));
            }
            for exchange in ["direct", "fanout", "amq.direct"] {
                for key in ["a", "b", "c"] {
                    let mut expect = BTreeSet::new();
                    naive.queues(exchange, key, &mut BTreeSet::new(), &mut expect);
                    prop_assert_eq!(world.queues(exchange, &[key]), expect.into_iter().collect::<Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn exchange_types_have_rabbitmqs_names() {
    let names = ExchangeType::ALL.map(ExchangeType::as_str);
    assert!(names.is_sorted_by_key(|name| (name.starts_with("x-"), *name)));
    for exchange_type in ExchangeType::ALL {
        assert_eq!(
            ExchangeType::parse(exchange_type.as_str()),
            Ok(exchange_type)
        );
        assert!(!exchange_type.description().is_empty());
    }
}

/// How many of the keys 0 to 9999 lead to each of the queues.
fn spread(world: &mut World, exchange: &str, queues: &[&str]) -> Vec<usize> {
    let mut counts = vec![0; queues.len()];
    for number in 0..10_000 {
        let found = world.queues(exchange, &[&number.to_string()]);
        let [name] = &found[..] else {
            panic!("one queue, not {found:?}");
        };
        counts[queues.iter().position(|queue| queue == name).unwrap()] += 1;
    }
    counts
}

fn assert_near(counts: &[usize], shares: &[usize], percent: usize) {
    let total: usize = shares.iter().sum();
    for (count, share) in counts.iter().zip(shares) {
        let fair = 10_000 * share / total;
        assert!(
            count.abs_diff(fair) * 100 <= fair * percent,
            "{counts:?} is not as {shares:?}"
        );
    }
}

#[test]
fn a_consistent_hash_follows_the_weights_and_moves_few_keys() {
    let mut world = World::new();
    world.exchange("x", "x-consistent-hash", None);
    let queues = ["a", "b", "c"];
    for (queue, weight) in queues.iter().zip(["10", "20", "30"]) {
        world.queue(queue);
        world.bind_queue("x", queue, weight);
    }
    assert_near(&spread(&mut world, "x", &queues), &[10, 20, 30], 5);

    let before: Vec<_> = (0..10_000)
        .map(|number| world.queues("x", &[&number.to_string()]))
        .collect();
    world.queue("d");
    world.bind_queue("x", "d", "60");
    let mut moved = 0;
    for (number, before) in before.iter().enumerate() {
        let after = world.queues("x", &[&number.to_string()]);
        assert!(after == *before || after == ["d"]);
        moved += usize::from(after != *before);
    }
    assert_near(&[moved, 10_000 - moved], &[60, 60], 5);
}

#[test]
fn a_consistent_hash_is_the_same_after_a_restart() {
    let mut world = World::new();
    world.exchange("x", "x-consistent-hash", None);
    for queue in ["d", "b", "c", "a"] {
        world.queue(queue);
        world.bind_queue("x", queue, "3");
        world.bind_queue("x", queue, "1");
    }
    world.apply(&Command::Unbind {
        vhost: "/".into(),
        source: "x".into(),
        destination: Destination::Queue("b".into()),
        routing_key: Bytes::from_static(b"3"),
        arguments: Arguments::default(),
    });
    let mut restored = World::new();
    restored.metadata = Metadata::new(1);
    for command in &world.metadata.to_snapshot().commands {
        restored.metadata.replay(command).unwrap();
    }
    for number in 0..1000 {
        let key = number.to_string();
        assert_eq!(
            world.queues("x", &[&key]),
            restored.queues("x", &[&key]),
            "{key}"
        );
    }
}

#[test]
fn random_exchanges_give_each_binding_its_share() {
    for exchange_type in ["x-random", "x-local-random"] {
        let mut world = World::new();
        world.exchange("x", exchange_type, None);
        assert!(world.queues("x", &["k"]).is_empty());
        for queue in ["a", "b", "c", "d"] {
            world.queue(queue);
            world.bind_queue("x", queue, "");
        }
        let counts = spread(&mut world, "x", &["a", "b", "c", "d"]);
        assert_near(&counts, &[1, 1, 1, 1], 5);
        let (_, once) = world.publish("x", &["k"], &Arguments::default());
        assert!(once);
    }
}

#[test]
fn a_reverse_topic_has_its_patterns_in_routing_keys() {
    let mut world = World::new();
    world.exchange("r", "x-rtopic", None);
    let bindings = [
        ("a", "server1.app1.mod1.info"),
        ("b", "server1.app1.mod1.error"),
        ("c", "server1.app2.mod1.info"),
        ("d", "server2.app2.mod1.warning"),
        ("e", "server1.app1.mod2.info"),
        ("f", "server2.app1.mod1.info"),
        ("star", "*"),
        ("empty", ""),
    ];
    for (queue, key) in bindings {
        world.queue(queue);
        world.bind_queue("r", queue, key);
    }
    let all = "a b c d e empty f star";
    for (key, expected) in [
        ("server1.app1.mod1.info", "a"),
        ("*.app1.mod1.info", "a f"),
        ("#.info", "a c e f"),
        ("#.mod1.info", "a c f"),
        ("#", all),
        ("#.#", all),
        ("server1.app1.mod1.*", "a b"),
        ("server1.app1.#", "a b e"),
        ("server1.#.info", "a c e"),
        ("#.app2.#.mod1.#", "c d"),
        ("*", "star"),
        ("", "empty"),
        ("server1.app1.mod1.info.#", "a"),
        ("server1", ""),
        ("*.*.*", ""),
    ] {
        assert_eq!(world.queues("r", &[key]).join(" "), expected, "{key}");
    }
    assert_eq!(world.queues("r", &["*", "#.warning"]), ["d", "star"]);
    world.apply(&Command::Unbind {
        vhost: "/".into(),
        source: "r".into(),
        destination: Destination::Queue("a".into()),
        routing_key: Bytes::from_static(b"server1.app1.mod1.info"),
        arguments: Arguments::default(),
    });
    assert_eq!(world.queues("r", &["*.app1.mod1.info"]), ["f"]);
}

#[test]
fn a_modulus_hash_counts_every_binding() {
    let mut world = World::new();
    world.exchange("x", "x-modulus-hash", None);
    for (queue, keys) in [("a", &["1", "2", "3"][..]), ("b", &["1"])] {
        world.queue(queue);
        for key in keys {
            world.bind_queue("x", queue, key);
        }
    }
    assert_near(&spread(&mut world, "x", &["a", "b"]), &[3, 1], 5);
    let (_, once) = world.publish("x", &["k"], &Arguments::default());
    assert!(!once);
}

#[test]
fn the_history_is_asked_for_messages_that_may_be_stored() {
    let mut world = World::new();
    world.exchange("x", "x-recent-history", None);
    let no_store = Arguments::from_pairs([("x-recent-history-no-store".into(), Value::Bool(true))]);
    assert!(world.publish("x", &["k"], &Arguments::default()).1);
    let vhost = Arc::clone(world.metadata.vhost("/").unwrap());
    let history = vhost.exchange("x").unwrap().history().unwrap();
    let message = Arc::new(Message {
        address: Address::new("x".into(), Bytes::from_static(b"k")),
        properties: Bytes::new(),
        body: Bytes::from_static(b"body"),
        persistent: false,
        priority: 0,
        expiration_ms: None,
        extra_routing_keys: None,
        deaths: None,
    });
    world.targets.remember(&message);
    assert_eq!(history.messages().len(), 1);
    world.publish("x", &["k"], &no_store);
    world.targets.remember(&message);
    assert_eq!(history.messages().len(), 1);
}
