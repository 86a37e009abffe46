//! Consuming from sharded exchanges while shards come and go. What clients hear otherwise is in `tests/differential/sharding.script`.

use super::*;
use broker::policy::{Policy, PolicyScope};

/// A world in which `amq.fanout` has two shards.
fn sharded() -> (World, ConnectionId) {
    let mut world = World::new();
    let policy =
        r#"{"pattern": "^amq.fanout$", "priority": 0, "definition": {"shards-per-node": 2}}"#;
    let policy = policy.parse().unwrap();
    let policy = Policy::from_json(PolicyScope::User, &"p".into(), &policy).unwrap();
    world.apply(MetadataCommand::PutPolicy {
        vhost: "/".into(),
        scope: PolicyScope::User,
        policy: Arc::new(policy),
    });
    let id = world.connect();
    world.hear(id);
    (world, id)
}

fn shard(world: &World, number: u32) -> Name {
    world.metadata.shard("amq.fanout", number)
}

fn delete(world: &mut World, number: u32) {
    let name = shard(world, number);
    let id = world
        .metadata
        .vhost("/")
        .unwrap()
        .queue(&name)
        .unwrap()
        .id();
    world.apply(MetadataCommand::DeleteQueue { id });
}

fn consume_shard(world: &mut World, id: ConnectionId, tag: &str) {
    world.send(id, 1, Method::BasicConsume(consume("amq.fanout", tag)));
}

#[test]
fn a_shard_that_goes_while_one_is_chosen_is_passed_over() {
    let (mut world, id) = sharded();
    world.hold();
    consume_shard(&mut world, id, "a");
    delete(&mut world, 1);
    world.release();
    assert_eq!(world.hear(id), ["1 basic.consume-ok a"]);
    let properties = BasicProperties::default();
    world.feed(
        id,
        &message(1, publish("amq.fanout", "k"), &properties, b"m"),
    );
    assert_eq!(
        world.hear(id),
        ["1 basic.deliver a #1 'amq.fanout' 'k' [1] m"]
    );
}

#[test]
fn a_chosen_shard_that_goes_is_missed_by_its_own_name() {
    let (mut world, id) = sharded();
    world.hold();
    consume_shard(&mut world, id, "a");
    let name = shard(&world, 0);
    delete(&mut world, 0);
    delete(&mut world, 1);
    world.release();
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    assert_eq!(
        world.hear(id),
        [format!("1 channel.close 404 {text} (60,20)")]
    );
}

#[test]
fn without_shards_there_is_nothing_to_consume() {
    let (mut world, id) = sharded();
    delete(&mut world, 0);
    delete(&mut world, 1);
    consume_shard(&mut world, id, "a");
    let text = "PRECONDITION_FAILED - Error finding sharded queue for: <<\"amq.fanout\">>";
    assert_eq!(
        world.hear(id),
        [format!("1 channel.close 406 {text} (60,20)")]
    );
}

#[test]
fn what_follows_waits_until_a_shard_is_chosen() {
    let (mut world, id) = sharded();
    world.hold();
    for tag in ["a", "b", "c"] {
        consume_shard(&mut world, id, tag);
    }
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    assert_eq!(world.hear(id), [""; 0]);
    world.release();
    assert_eq!(
        world.hear(id),
        [
            "1 basic.consume-ok a",
            "1 basic.consume-ok b",
            "1 basic.consume-ok c",
            "1 queue.declare-ok q 0 0"
        ]
    );
    for (number, consumers) in [(0, 2), (1, 1)] {
        let name = shard(&world, number);
        let passive = queue::Declare {
            passive: true,
            ..declare(&name)
        };
        let heard = world.ask(id, 1, Method::QueueDeclare(passive));
        assert_eq!(heard, [format!("1 queue.declare-ok {name} 0 {consumers}")]);
    }
}
