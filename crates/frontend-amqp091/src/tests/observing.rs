//! What others hear of a connection: events, copies of its messages, and what the node adds to them.

use super::*;
use crate::interceptor::{Existing, Interceptors};
use broker::vhost_metadata::VhostChanges;

/// A connection of which observers hear.
fn observed(world: &mut World) -> ConnectionId {
    let id = world.accept();
    let metadata = Arc::clone(&world.metadata);
    world.machine(id).handle_observers(&metadata, true);
    world.log_in(id, "guest");
    id
}

fn keys(world: &mut World) -> Vec<&'static str> {
    world.events.drain(..).map(|event| event.key).collect()
}

#[test]
fn nothing_is_said_without_observers() {
    let mut world = World::new();
    let id = world.connect();
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    world.send(id, 1, Method::BasicConsume(consume("q", "t")));
    world.eof(id);
    world.machine(id).handle_removed();
    assert_eq!(world.machine(id).poll_request().map(|_| ()), None);
    assert!(keys(&mut world).is_empty());
}

#[test]
fn a_connection_tells_of_its_life() {
    let mut world = World::new();
    let id = observed(&mut world);
    assert_eq!(
        keys(&mut world),
        [
            "user.authentication.success",
            "connection.created",
            "channel.created"
        ]
    );
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    world.send(id, 1, Method::BasicConsume(consume("q", "t")));
    world.send(id, 1, Method::BasicConsume(consume("q", "u")));
    let cancel = basic::Cancel {
        consumer_tag: b"t",
        no_wait: false,
    };
    world.send(id, 1, Method::BasicCancel(cancel));
    assert_eq!(
        keys(&mut world),
        ["consumer.created", "consumer.created", "consumer.deleted"]
    );
    world.eof(id);
    let event = world.events.last().unwrap();
    let count = event.headers.get("consumer_count").unwrap();
    assert_eq!(count.as_int(), Some(1));
    assert_eq!(keys(&mut world), ["consumer.deleted", "channel.closed"]);
    world.machine(id).handle_removed();
    let Some(Request::Event(event)) = world.machine(id).poll_request() else {
        panic!("the end is an event");
    };
    assert_eq!(event.key, "connection.closed");
}

#[test]
fn a_refused_login_names_the_user() {
    let mut world = World::new();
    let id = world.accept();
    let metadata = Arc::clone(&world.metadata);
    world.machine(id).handle_observers(&metadata, true);
    world.feed(id, &PROTOCOL_HEADER);
    let capabilities = all_capabilities();
    let start_ok = start_ok(&capabilities, b"PLAIN", b"\0anna\0wrong");
    world.send(id, 0, start_ok);
    let event = world.events.pop().unwrap();
    assert_eq!(event.key, "user.authentication.failure");
    let header = |key| event.headers.get(key).and_then(|value| value.as_str());
    assert_eq!(header("name"), Some("anna"));
    assert_eq!(header("error"), Some("user 'anna' - invalid credentials"));
    assert_eq!(header("peer_host"), Some("{127,0,0,1}"));
}

/// A connection in a traced vhost with a queue `trace` that gets all copies.
fn traced() -> (World, ConnectionId) {
    let mut world = World::new();
    world.apply(MetadataCommand::UpdateVhost {
        name: "/".into(),
        changes: VhostChanges {
            tracing: Some(true),
            ..VhostChanges::default()
        },
    });
    let id = world.connect();
    for queue in ["trace", "q"] {
        world.send(id, 1, Method::QueueDeclare(declare(queue)));
    }
    let bind = queue::Bind {
        queue: b"trace",
        exchange: b"amq.rabbitmq.trace",
        routing_key: b"#",
        ..Default::default()
    };
    world.send(id, 1, Method::QueueBind(bind));
    world.hear(id);
    (world, id)
}

fn get(world: &mut World, id: ConnectionId, queue: &'static str) -> String {
    let get = basic::Get {
        queue: queue.as_bytes(),
        no_ack: true,
        ..Default::default()
    };
    world.ask(id, 1, Method::BasicGet(get)).concat()
}

#[test]
fn publishes_and_deliveries_of_a_traced_vhost_are_copied() {
    let (mut world, id) = traced();
    let properties = BasicProperties::default();
    for _ in 0..2 {
        world.feed(id, &message(1, publish("", "q"), &properties, b"body"));
    }
    world.hear(id);
    for _ in 0..2 {
        let copy = get(&mut world, id, "trace");
        assert!(copy.contains("amq.rabbitmq.trace"), "{copy}");
        assert!(
            copy.contains("'publish.'") && copy.ends_with(" body"),
            "{copy}"
        );
    }
    get(&mut world, id, "q");
    assert!(get(&mut world, id, "trace").contains("'deliver.q'"));
    let consumed = world.ask(id, 1, Method::BasicConsume(consume("q", "c")));
    assert_eq!(consumed.len(), 2, "{consumed:?}");
    assert!(get(&mut world, id, "trace").contains("'deliver.q'"));
    // Copies are not traced themselves.
    assert!(get(&mut world, id, "trace").contains("get-empty"));
}

#[test]
fn tracing_ends_when_it_is_switched_off() {
    let (mut world, id) = traced();
    world.apply(MetadataCommand::UpdateVhost {
        name: "/".into(),
        changes: VhostChanges {
            tracing: Some(false),
            ..VhostChanges::default()
        },
    });
    let metadata = Arc::clone(&world.metadata);
    world.machine(id).handle_observers(&metadata, false);
    let properties = BasicProperties::default();
    world.feed(id, &message(1, publish("", "q"), &properties, b"body"));
    assert!(get(&mut world, id, "trace").contains("get-empty"));
}

#[test]
fn interceptors_work_before_routing() {
    let interceptors = Interceptors {
        timestamp: None,
        routing_node: Some(Existing::Overwrite),
    };
    let mut world = World::with_config(Config {
        interceptors,
        ..Config::default()
    });
    let id = world.connect();
    world.send(id, 1, Method::QueueDeclare(declare("q")));
    let mut arguments = Vec::new();
    let mut writer = TableWriter::new(&mut arguments);
    writer.field(b"x-match", &Value::LongStr(b"all-with-x"));
    writer.field(b"x-routed-by", &Value::LongStr(b"rabbit@localhost"));
    let bind = queue::Bind {
        queue: b"q",
        exchange: b"amq.headers",
        arguments: Table::new(&arguments),
        ..Default::default()
    };
    world.send(id, 1, Method::QueueBind(bind));
    world.hear(id);
    let properties = BasicProperties::default();
    world.feed(
        id,
        &message(1, publish("amq.headers", ""), &properties, b"body"),
    );
    assert!(get(&mut world, id, "q").ends_with(" body"));
}
