//! Exchanges whose messages have to fit a schema.

use super::*;
use broker::policy::{Policy, PolicyScope};

const NOTHING: [&str; 0] = [];

fn set_policy(world: &mut World, definition: &str) {
    let policy = format!(
        r#"{{"pattern": "^amq.fanout$", "priority": 0, "apply-to": "exchanges", "definition": {definition}}}"#
    );
    let policy = serde_json_of(&policy);
    let policy = Policy::from_json(PolicyScope::User, &"p".into(), &policy).unwrap();
    world.apply(MetadataCommand::PutPolicy {
        vhost: "/".into(),
        scope: PolicyScope::User,
        policy: Arc::new(policy),
    });
}

fn serde_json_of(text: &str) -> broker::json::Json {
    text.parse().unwrap()
}

/// A world with two queues: `q` gets what fits, `bad` what is bound to amq.direct.
fn checked(definition: &str) -> (World, ConnectionId) {
    let mut world = World::new();
    set_policy(&mut world, definition);
    let id = world.connect();
    for (queue, exchange) in [("q", "amq.fanout"), ("bad", "amq.direct")] {
        world.send(id, 1, Method::QueueDeclare(declare(queue)));
        let bind = queue::Bind {
            queue: queue.as_bytes(),
            exchange: exchange.as_bytes(),
            routing_key: b"key",
            ..Default::default()
        };
        world.send(id, 1, Method::QueueBind(bind));
    }
    world.hear(id);
    (world, id)
}

fn send(world: &mut World, id: ConnectionId, mandatory: bool, body: &str) -> Vec<String> {
    let publish = basic::Publish {
        mandatory,
        ..publish("amq.fanout", "key")
    };
    let properties = BasicProperties::default();
    world.feed(id, &message(1, publish, &properties, body.as_bytes()));
    world.hear(id)
}

fn ready(world: &mut World, id: ConnectionId, queue: &str) -> String {
    let passive = queue::Declare {
        passive: true,
        ..declare(queue)
    };
    world.ask(id, 1, Method::QueueDeclare(passive)).remove(0)
}

const NUMBERS: &str = r#"{"schema": {"type": "integer"}}"#;

#[test]
fn with_confirms_a_message_that_breaks_the_schema_is_refused() {
    let (mut world, id) = checked(NUMBERS);
    world.ask(id, 1, Method::ConfirmSelect(confirm::Select::default()));
    assert_eq!(send(&mut world, id, false, "1"), ["1 basic.ack 1"]);
    assert_eq!(send(&mut world, id, false, "x"), ["1 basic.nack 2"]);
    let heard = send(&mut world, id, true, "\"a\"");
    assert_eq!(
        heard,
        [
            "1 basic.return 406 PRECONDITION_FAILED - message to exchange 'amq.fanout' in vhost '/' breaks its schema at '': value is not of type \"integer\" 'amq.fanout' 'key' [3] \"a\"",
            "1 basic.nack 3"
        ]
    );
    assert_eq!(send(&mut world, id, true, "2"), ["1 basic.ack 4"]);
    assert_eq!(ready(&mut world, id, "q"), "1 queue.declare-ok q 2 0");
}

#[test]
fn without_confirms_the_channel_ends() {
    let (mut world, id) = checked(NUMBERS);
    assert_eq!(send(&mut world, id, false, "1"), NOTHING);
    assert_eq!(
        send(&mut world, id, false, "{}"),
        [
            "1 channel.close 406 PRECONDITION_FAILED - message to exchange 'amq.fanout' in vhost '/' breaks its schema at '': value is not of type \"integer\" (60,40)"
        ]
    );
}

#[test]
fn a_dead_letter_says_what_was_wrong_with_it() {
    let definition = r#"{"schema": {"type": "integer"}, "schema-action": "dead-letter",
        "schema-dead-letter-exchange": "amq.direct"}"#;
    let (mut world, id) = checked(definition);
    world.ask(id, 1, Method::ConfirmSelect(confirm::Select::default()));
    assert_eq!(send(&mut world, id, false, "x"), ["1 basic.ack 1"]);
    assert_eq!(send(&mut world, id, false, "1"), ["1 basic.ack 2"]);
    assert_eq!(ready(&mut world, id, "q"), "1 queue.declare-ok q 1 0");
    world.send(
        id,
        1,
        Method::BasicGet(basic::Get {
            queue: b"bad",
            no_ack: true,
            ..Default::default()
        }),
    );
    let bytes = world.bytes(id);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("x-schema-violation"), "{text:?}");
    assert!(text.contains("body is not JSON"), "{text:?}");
    assert!(text.contains("x-schema-exchange"), "{text:?}");
    let heard = describe_frames(&bytes);
    assert!(heard[0].contains("'amq.direct' 'key'"), "{heard:?}");
    // Without the exchange nothing gets lost.
    set_policy(&mut world, &definition.replace("amq.direct", "missing"));
    assert_eq!(send(&mut world, id, false, "x"), ["1 basic.nack 3"]);
}

#[test]
fn a_schema_can_be_a_parameter_and_changes_at_once() {
    let (mut world, id) = checked(r#"{"schema-parameter": "numbers"}"#);
    world.ask(id, 1, Method::ConfirmSelect(confirm::Select::default()));
    assert_eq!(send(&mut world, id, false, "1"), ["1 basic.nack 1"]);
    let set = |world: &mut World, value: &str| {
        world.apply(MetadataCommand::PutParameter {
            vhost: "/".into(),
            component: "json-schema".into(),
            name: "numbers".into(),
            value: serde_json_of(value),
        });
        send(world, id, false, "1").remove(0)
    };
    assert_eq!(set(&mut world, r#"{"type": "integer"}"#), "1 basic.ack 2");
    assert_eq!(set(&mut world, r#"{"type": "string"}"#), "1 basic.nack 3");
    world.apply(MetadataCommand::DeletePolicy {
        vhost: "/".into(),
        scope: PolicyScope::User,
        name: "p".into(),
    });
    assert_eq!(send(&mut world, id, false, "x"), ["1 basic.ack 4"]);
    assert_eq!(send(&mut world, id, false, "x"), ["1 basic.ack 5"]);
}
