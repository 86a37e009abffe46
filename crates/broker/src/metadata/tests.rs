//! Tests of the metadata machine: rules one by one, then properties over random commands.

use super::*;
use crate::command::{Destination, PasswordHash};
use crate::limits::{UserLimits, VhostLimits};
use crate::value::{Arguments, IntKind, Value};
use crate::vhost_metadata::{VhostChanges, VhostMetadata};
use MetadataCommand as C;
use bytes::Bytes;
use proptest::prelude::*;

const CONNECTION: ConnectionId = ConnectionId {
    shard: ShardId(0),
    serial: 1,
};
const OTHER_CONNECTION: ConnectionId = ConnectionId {
    shard: ShardId(0),
    serial: 2,
};

fn fresh() -> Metadata {
    let mut metadata = Metadata::new(2);
    for command in bootstrap_commands(DefaultUser::administrator(
        "guest".into(),
        PasswordHash::new(b"guest", [1; 4]),
        "/".into(),
    )) {
        metadata.apply(&command).unwrap();
    }
    metadata
}

fn exchange(name: &str) -> C {
    exchange_with(name, "direct", true, false, &[])
}

fn exchange_with(
    name: &str,
    exchange_type: &str,
    durable: bool,
    auto_delete: bool,
    arguments: &[(&str, Value)],
) -> C {
    C::DeclareExchange {
        vhost: "/".into(),
        name: name.into(),
        exchange_type: exchange_type.into(),
        durable,
        auto_delete,
        internal: false,
        arguments: table(arguments),
        history: None,
    }
}

fn table(pairs: &[(&str, Value)]) -> Arguments {
    Arguments::from_pairs(
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), value.clone())),
    )
}

fn text(text: &'static str) -> Value {
    Value::LongStr(Bytes::from_static(text.as_bytes()))
}

fn queue(name: &str) -> C {
    queue_with(name, true, None)
}

fn queue_with(name: &str, durable: bool, exclusive_owner: Option<ConnectionId>) -> C {
    C::DeclareQueue {
        vhost: "/".into(),
        name: name.into(),
        durable,
        exclusive_owner,
        auto_delete: false,
        arguments: Arguments::default(),
        user: "guest".into(),
        home: 3,
        server_named: false,
        id: None,
    }
}

fn bind(source: &str, destination: Destination, key: &'static str) -> C {
    C::Bind {
        vhost: "/".into(),
        source: source.into(),
        destination,
        routing_key: Bytes::from_static(key.as_bytes()),
        arguments: Arguments::default(),
    }
}

fn unbind(source: &str, destination: Destination, key: &'static str) -> C {
    C::Unbind {
        vhost: "/".into(),
        source: source.into(),
        destination,
        routing_key: Bytes::from_static(key.as_bytes()),
        arguments: Arguments::default(),
    }
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(name.into())
}

fn delete_exchange(name: &str, if_unused: bool) -> C {
    C::DeleteExchange {
        vhost: "/".into(),
        name: name.into(),
        if_unused,
    }
}

/// Applies commands that have to succeed.
fn run(metadata: &mut Metadata, commands: impl IntoIterator<Item = C>) -> Vec<Applied> {
    let applied = commands
        .into_iter()
        .map(|command| metadata.apply(&command).unwrap())
        .collect();
    metadata.check_invariants();
    applied
}

/// The text with which a command is refused.
fn refusal(metadata: &mut Metadata, command: &C) -> String {
    let (version, before) = (metadata.version(), metadata.to_snapshot());
    let text = metadata.apply(command).unwrap_err().to_string();
    assert_eq!(
        (version, before),
        (metadata.version(), metadata.to_snapshot()),
        "a refusal leaves no trace"
    );
    text
}

fn names_of_deleted_exchanges(applied: &Applied) -> Vec<&str> {
    let deleted = applied.events.iter().filter_map(|event| {
        if let MetadataEvent::ExchangeDeleted { exchange, .. } = event {
            Some(&*exchange.name)
        } else {
            None
        }
    });
    deleted.collect()
}

#[test]
fn exchanges_are_declared_up_to_the_limit_of_the_node() {
    let mut metadata = fresh();
    let predeclared = metadata.vhost("/").unwrap().exchange_count();
    metadata.set_rules(MetadataRules {
        exchanges_max: Some(predeclared as u64 + 1),
        ..MetadataRules::default()
    });
    metadata.apply(&exchange("first")).unwrap();
    let refused = metadata.apply(&exchange("second")).unwrap_err();
    let expect = format!(
        "cannot declare exchange 'second' in vhost '/': exchange limit of {} is reached",
        predeclared + 1
    );
    assert_eq!(refused.to_string(), expect);
    // What is there can be declared again, and what the log has is not held to the limit.
    metadata.apply(&exchange("first")).unwrap();
    metadata.replay(&exchange("second")).unwrap();
}

#[test]
fn a_vhost_starts_with_the_predeclared_exchanges() {
    let metadata = fresh();
    let vhost = metadata.vhost("/").unwrap();
    let mut names: Vec<_> = vhost
        .exchanges()
        .map(|exchange| exchange.name.to_string())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "",
            "amq.direct",
            "amq.fanout",
            "amq.headers",
            "amq.match",
            "amq.rabbitmq.trace",
            "amq.topic"
        ]
    );
    assert!(vhost.exchange("amq.rabbitmq.trace").unwrap().internal);
}

#[test]
fn a_queue_is_created_once_and_lives_on_its_home_shard() {
    let mut metadata = fresh();
    let applied = run(&mut metadata, [queue("q"), queue("q")]);
    let queue_ref = QueueRef {
        id: QueueId(1),
        shard: ShardId(1),
    };
    assert_eq!(
        applied[0].reply,
        MetadataReply::Queue {
            queue: queue_ref,
            created: true
        }
    );
    assert_eq!(
        applied[1].reply,
        MetadataReply::Queue {
            queue: queue_ref,
            created: false
        }
    );
    assert!(applied[0].durable && !applied[1].durable && applied[1].events.is_empty());
}

#[test]
fn a_queue_that_is_declared_again_after_deletion_is_another_one() {
    let mut metadata = fresh();
    run(
        &mut metadata,
        [queue("q"), C::DeleteQueue { id: QueueId(1) }, queue("q")],
    );
    assert_eq!(
        metadata.vhost("/").unwrap().queue("q").unwrap().id(),
        QueueId(2)
    );
    assert!(metadata.queue_by_id(QueueId(1)).is_none());
}

#[test]
fn redeclaring_a_queue_differently_is_refused() {
    let mut metadata = fresh();
    run(
        &mut metadata,
        [queue("dq"), queue_with("exq", true, Some(CONNECTION))],
    );
    let locked = "cannot obtain exclusive access to locked queue 'exq' in vhost '/'. It could be originally declared on \
                  another connection or the exclusive property value does not match that of the original declaration.";
    assert_eq!(
        refusal(&mut metadata, &queue_with("dq", false, None)),
        "inequivalent arg 'durable' for queue 'dq' in vhost '/': received 'false' but current is 'true'"
    );
    assert_eq!(
        refusal(&mut metadata, &queue_with("exq", true, None)),
        locked
    );
    assert_eq!(
        refusal(
            &mut metadata,
            &queue_with("exq", true, Some(OTHER_CONNECTION))
        ),
        locked
    );
    assert_eq!(
        refusal(&mut metadata, &queue_with("dq", true, Some(CONNECTION))),
        locked.replace("exq", "dq"),
        "exclusivity comes before durability"
    );
    run(&mut metadata, [queue_with("exq", false, Some(CONNECTION))]);
    let record = metadata.vhost("/").unwrap().queue("exq").unwrap();
    assert!(!record.durable);
    assert_eq!(record.check_exclusive(CONNECTION), Ok(()));
    assert!(record.check_exclusive(OTHER_CONNECTION).is_err());
}

#[test]
fn exclusive_queues_go_with_their_connection_and_are_never_logged() {
    let mut metadata = fresh();
    let created = run(
        &mut metadata,
        [
            queue_with("a", true, Some(CONNECTION)),
            queue_with("b", false, Some(CONNECTION)),
            queue_with("c", true, Some(OTHER_CONNECTION)),
            bind("amq.direct", to_queue("a"), "k"),
        ],
    );
    assert!(created.iter().all(|applied| !applied.durable));
    assert_eq!(metadata.exclusive_queues(CONNECTION).count(), 2);
    run(
        &mut metadata,
        [C::DeleteExclusiveQueues {
            connection: CONNECTION,
        }],
    );
    assert_eq!(metadata.queues().count(), 1);
    assert_eq!(
        metadata
            .vhost("/")
            .unwrap()
            .exchange("amq.direct")
            .unwrap()
            .binding_count(),
        0
    );
}

#[test]
fn reserved_names_are_refused() {
    let mut metadata = fresh();
    assert_eq!(
        refusal(&mut metadata, &queue("amq.foo")),
        "queue name 'amq.foo' contains reserved prefix 'amq.*'"
    );
    assert_eq!(
        refusal(&mut metadata, &exchange("amq.x")),
        "exchange name 'amq.x' contains reserved prefix 'amq.*'"
    );
    assert_eq!(
        refusal(&mut metadata, &delete_exchange("amq.direct", false)),
        "deletion of system exchange 'amq.direct' in vhost '/' not allowed"
    );
    let default = "operation not permitted on the default exchange";
    assert_eq!(refusal(&mut metadata, &exchange("")), default);
    assert_eq!(refusal(&mut metadata, &delete_exchange("", false)), default);
    assert_eq!(
        refusal(&mut metadata, &bind("", to_queue("q"), "k")),
        default
    );
    assert_eq!(
        refusal(&mut metadata, &bind("amq.direct", to_exchange(""), "k")),
        default
    );
    run(&mut metadata, [exchange("amq.direct")]);
    let C::DeclareQueue {
        vhost,
        durable,
        exclusive_owner,
        auto_delete,
        arguments,
        user,
        home,
        id,
        ..
    } = queue("")
    else {
        panic!("queue() makes a DeclareQueue");
    };
    let name = "amq.gen-AAAAAAAAAAAAAAAAAAAAAA".into();
    let server_named = true;
    run(
        &mut metadata,
        [C::DeclareQueue {
            vhost,
            name,
            durable,
            exclusive_owner,
            auto_delete,
            arguments,
            user,
            home,
            server_named,
            id,
        }],
    );
}

#[test]
fn redeclaring_an_exchange_differently_is_refused() {
    let mut metadata = fresh();
    run(&mut metadata, [exchange("x1")]);
    assert_eq!(
        refusal(
            &mut metadata,
            &exchange_with("x1", "fanout", true, false, &[])
        ),
        "inequivalent arg 'type' for exchange 'x1' in vhost '/': received 'fanout' but current is 'direct'"
    );
    assert_eq!(
        refusal(
            &mut metadata,
            &exchange_with("x1", "direct", true, true, &[])
        ),
        "inequivalent arg 'auto_delete' for exchange 'x1' in vhost '/': received 'true' but current is 'false'"
    );
    assert_eq!(
        refusal(
            &mut metadata,
            &exchange_with(
                "x1",
                "direct",
                true,
                false,
                &[(ALTERNATE, text("amq.fanout"))]
            )
        ),
        "inequivalent arg 'alternate-exchange' for exchange 'x1' in vhost '/': \
         received the value 'amq.fanout' of type 'longstr' but current is none"
    );
    assert_eq!(
        refusal(
            &mut metadata,
            &exchange_with(
                "x3",
                "direct",
                true,
                false,
                &[(ALTERNATE, Value::Int(IntKind::I32, 1))]
            )
        ),
        "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x3' in vhost '/'"
    );
    assert_eq!(
        refusal(
            &mut metadata,
            &exchange_with("x", "bogus", true, false, &[])
        ),
        "unknown exchange type 'bogus'"
    );
    assert_eq!(
        refusal(&mut metadata, &exchange_with("x", "", true, false, &[])),
        "invalid exchange type ''"
    );
}

const ALTERNATE: &str = crate::exchange::ALTERNATE_EXCHANGE;

#[test]
fn binding_needs_both_ends_and_unbinding_neither() {
    let mut metadata = fresh();
    assert_eq!(
        refusal(&mut metadata, &bind("nope", to_queue("q"), "k")),
        "no exchange 'nope' in vhost '/'"
    );
    assert_eq!(
        refusal(&mut metadata, &bind("amq.direct", to_queue("q"), "k")),
        "no queue 'q' in vhost '/'"
    );
    assert_eq!(
        refusal(&mut metadata, &bind("amq.direct", to_exchange("x"), "k")),
        "no exchange 'x' in vhost '/'"
    );
    run(
        &mut metadata,
        [
            unbind("nope", to_queue("q"), "k"),
            unbind("amq.direct", to_queue("q"), "k"),
        ],
    );
    run(&mut metadata, [queue("q")]);
    assert_eq!(
        refusal(
            &mut metadata,
            &bind("amq.topic", to_queue("q"), "#.a.#.b.#")
        ),
        "Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed"
    );
    let applied = run(
        &mut metadata,
        [
            bind("amq.topic", to_queue("q"), "#.a.#"),
            bind("amq.topic", to_queue("q"), "#.a.#"),
        ],
    );
    assert_eq!((applied[0].durable, applied[1].durable), (true, false));
    assert_eq!(
        metadata
            .vhost("/")
            .unwrap()
            .bindings_of_destination(&to_queue("q"))
            .count(),
        1
    );
    assert!(run(&mut metadata, [unbind("amq.topic", to_queue("q"), "#.a.#")])[0].durable);
    assert_eq!(metadata.vhost("/").unwrap().bindings().count(), 0);
}

#[test]
fn a_binding_is_durable_if_both_ends_are() {
    let mut metadata = fresh();
    run(
        &mut metadata,
        [
            queue("durable"),
            queue_with("transient", false, None),
            exchange_with("x", "fanout", false, false, &[]),
        ],
    );
    let applied = run(
        &mut metadata,
        [
            bind("amq.fanout", to_queue("durable"), ""),
            bind("amq.fanout", to_queue("transient"), ""),
            bind("x", to_queue("durable"), ""),
            bind("amq.fanout", to_exchange("x"), ""),
            bind("amq.fanout", to_exchange("amq.direct"), ""),
        ],
    );
    assert_eq!(
        applied
            .iter()
            .map(|applied| applied.durable)
            .collect::<Vec<_>>(),
        [true, false, false, false, true]
    );
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_takes_others_along() {
    let mut metadata = fresh();
    let auto = |name| exchange_with(name, "fanout", true, true, &[]);
    run(
        &mut metadata,
        [
            auto("first"),
            auto("second"),
            auto("never-bound"),
            queue("q"),
            queue("r"),
            bind("first", to_exchange("second"), ""),
            bind("second", to_queue("q"), ""),
            bind("second", to_queue("r"), ""),
        ],
    );
    assert!(
        names_of_deleted_exchanges(&run(&mut metadata, [unbind("second", to_queue("q"), "")])[0])
            .is_empty()
    );
    let applied = run(&mut metadata, [C::DeleteQueue { id: QueueId(2) }]);
    assert_eq!(names_of_deleted_exchanges(&applied[0]), ["second", "first"]);
    assert_eq!(
        applied[0].log,
        [
            C::DeleteQueue { id: QueueId(2) },
            delete_exchange("second", false),
            delete_exchange("first", false)
        ]
    );
    assert!(
        metadata
            .vhost("/")
            .unwrap()
            .exchange("never-bound")
            .is_some()
    );
}

#[test]
fn a_bound_exchange_is_in_use() {
    let mut metadata = fresh();
    run(
        &mut metadata,
        [
            exchange("x1"),
            queue("q"),
            bind("x1", to_queue("q"), "k"),
            bind("amq.direct", to_exchange("x1"), "k"),
        ],
    );
    assert_eq!(
        refusal(&mut metadata, &delete_exchange("x1", true)),
        "exchange 'x1' in vhost '/' in use"
    );
    run(
        &mut metadata,
        [delete_exchange("x1", false), delete_exchange("x1", true)],
    );
    assert_eq!(metadata.vhost("/").unwrap().bindings().count(), 0);
}

#[test]
fn an_auto_delete_exchange_bound_to_itself_goes_cleanly() {
    let mut metadata = fresh();
    run(
        &mut metadata,
        [
            exchange_with("x", "fanout", true, true, &[]),
            bind("x", to_exchange("x"), "a"),
            bind("x", to_exchange("x"), "b"),
            delete_exchange("x", false),
        ],
    );
    assert!(metadata.vhost("/").unwrap().exchange("x").is_none());
}

#[test]
fn an_auto_delete_exchange_that_a_transient_binding_kept_stays_after_a_restart() {
    let mut metadata = fresh();
    let mut restarted = metadata.clone();
    let commands = [
        exchange_with("x", "fanout", true, true, &[]),
        queue("q"),
        queue_with("t", false, None),
        bind("x", to_queue("q"), ""),
        bind("x", to_queue("t"), ""),
        unbind("x", to_queue("q"), ""),
    ];
    for applied in run(&mut metadata, commands) {
        applied
            .log
            .iter()
            .for_each(|command| restarted.replay(command).unwrap());
    }
    assert!(restarted.vhost("/").unwrap().exchange("x").is_some());
}

#[test]
fn a_vhost_goes_with_everything_in_it() {
    let mut metadata = fresh();
    run(
        &mut metadata,
        [
            queue("q"),
            queue_with("e", false, Some(CONNECTION)),
            C::CreateVhost {
                name: "v".into(),
                metadata: VhostMetadata::default(),
            },
        ],
    );
    let applied = run(&mut metadata, [C::DeleteVhost { name: "/".into() }]);
    assert_eq!(
        applied[0].events.len(),
        4,
        "two queues, one user's permissions, the vhost"
    );
    assert!(metadata.vhost("/").is_none() && metadata.queues().next().is_none());
    assert!(metadata.user("guest").unwrap().permission("/").is_none());
    assert_eq!(refusal(&mut metadata, &queue("q")), "vhost / not found");
}

#[test]
fn permissions_need_a_user_a_vhost_and_valid_patterns() {
    let mut metadata = fresh();
    let set = |user: &str, vhost: &str, configure: &str| C::SetPermissions {
        vhost: vhost.into(),
        user: user.into(),
        configure: configure.into(),
        write: ".*".into(),
        read: ".*".into(),
    };
    assert_eq!(
        refusal(&mut metadata, &set("nobody", "/", "")),
        "user 'nobody' does not exist"
    );
    assert_eq!(
        refusal(&mut metadata, &set("guest", "v", "")),
        "vhost v not found"
    );
    assert!(
        refusal(&mut metadata, &set("guest", "/", "("))
            .starts_with("invalid regular expression '('")
    );
    run(
        &mut metadata,
        [C::PutUser {
            name: "guest".into(),
            password_hash: None,
            tags: vec![],
        }],
    );
    assert!(
        metadata.user("guest").unwrap().permission("/").is_some(),
        "a new password keeps permissions"
    );
}

#[test]
fn ten_thousand_queues_can_share_an_exchange() {
    let mut metadata = fresh();
    for index in 0..10_000 {
        let name = format!("q{index}");
        metadata.apply(&queue(&name)).unwrap();
        metadata
            .apply(&bind("amq.fanout", to_queue(&name), ""))
            .unwrap();
    }
    metadata.check_invariants();
    for id in 1..=10_000 {
        metadata.apply(&C::DeleteQueue { id: QueueId(id) }).unwrap();
    }
    assert_eq!(metadata.vhost("/").unwrap().bindings().count(), 0);
}

fn policy(scope: PolicyScope, name: &str, priority: i64) -> Arc<Policy> {
    let policy = serde_json::json!({
        "pattern": "^[qx]", "priority": priority, "apply-to": "all",
        "definition": match scope {
            PolicyScope::User => serde_json::json!({"alternate-exchange": name, "max-length": 2}),
            PolicyScope::Operator => serde_json::json!({"max-length": 1}),
        },
    });
    Arc::new(Policy::from_json(scope, &name.into(), &policy).unwrap())
}

fn sharding_policy(pattern: &str, shards: i64) -> Arc<Policy> {
    let policy = serde_json::json!({"pattern": pattern, "priority": 2, "definition": {"shards-per-node": shards}});
    Arc::new(Policy::from_json(PolicyScope::User, &"p".into(), &policy).unwrap())
}

#[test]
fn a_new_vhost_begins_with_what_the_configuration_says() {
    let mut metadata = fresh();
    metadata.set_rules(MetadataRules {
        node: "a@b".into(),
        exchanges_max: None,
        queues_max: None,
        local_random_disabled: false,
        vhosts_max: Some(2),
        default_queue_type: "quorum".into(),
        vhost_limits: vec![(
            crate::auth::Pattern::of_policy("^v").unwrap(),
            VhostLimits {
                max_connections: None,
                max_queues: Some(1),
                ..VhostLimits::default()
            },
        )],
        operator_policies: vec![(
            crate::auth::Pattern::everything(),
            policy(PolicyScope::Operator, "o", 0),
        )],
        parameters_max: [("operator_policy".into(), 1)].into(),
        users: vec![VhostUser {
            vhosts: crate::auth::Pattern::of_policy("^v").unwrap(),
            name: "carol".into(),
            password_hash: None,
            tags: vec!["management".into()],
            configure: "^carol".into(),
            write: ".*".into(),
            read: ".*".into(),
        }],
    });
    let create = |name: &str| C::CreateVhost {
        name: name.into(),
        metadata: VhostMetadata::default(),
    };
    let before = metadata.clone();
    let applied = run(&mut metadata, [create("v")]);
    let vhost = metadata.vhost("v").unwrap();
    assert_eq!(vhost.metadata.default_queue_type.as_deref(), Some("quorum"));
    assert_eq!(vhost.limits.max_queues, Some(1));
    assert_eq!(vhost.policies(PolicyScope::Operator).len(), 1);
    let carol = metadata.user("carol").unwrap();
    assert!(carol.has_tag("management") && carol.permission("v").is_some());
    assert_eq!(
        refusal(&mut metadata, &create("w")),
        "cannot create vhost 'w': vhost limit of 2 is reached"
    );
    let another = C::PutPolicy {
        vhost: "v".into(),
        scope: PolicyScope::Operator,
        policy: policy(PolicyScope::Operator, "another", 0),
    };
    assert_eq!(
        refusal(&mut metadata, &another),
        "Validation failed\n\ncomponent operator_policy is limited to 1\n"
    );
    // The log needs no configuration.
    let mut restored = before;
    restored.set_rules(MetadataRules::default());
    for command in &applied[0].log {
        restored.replay(command).unwrap();
    }
    assert_eq!(restored.to_snapshot(), metadata.to_snapshot());
}

#[test]
fn a_vhost_may_hold_only_so_many_queues() {
    let mut metadata = fresh();
    let limit = C::SetVhostLimits {
        vhost: "/".into(),
        limits: VhostLimits {
            max_connections: None,
            max_queues: Some(1),
            ..VhostLimits::default()
        },
    };
    run(&mut metadata, [queue("q"), limit, queue("q")]);
    assert_eq!(
        refusal(&mut metadata, &queue("r")),
        "cannot declare queue 'r': queue limit in vhost '/' (1) is reached"
    );
    // What exists is not bound by a limit that came later.
    let mut more = metadata.to_snapshot();
    let C::SetVhostLimits { limits, .. } = more
        .commands
        .iter_mut()
        .find(|command| matches!(command, C::SetVhostLimits { .. }))
        .unwrap()
    else {
        panic!("it was looked for");
    };
    limits.max_queues = Some(0);
    assert!(Metadata::from_snapshot(&more, 1).is_ok());
}

#[test]
fn a_protected_vhost_is_not_deleted() {
    let mut metadata = fresh();
    let protect = |protected| C::UpdateVhost {
        name: "/".into(),
        changes: VhostChanges {
            protected_from_deletion: Some(protected),
            ..VhostChanges::default()
        },
    };
    run(&mut metadata, [protect(true)]);
    assert_eq!(
        refusal(&mut metadata, &C::DeleteVhost { name: "/".into() }),
        "Refusing to delete virtual host '/' because it is protected from deletion"
    );
    run(
        &mut metadata,
        [protect(false), C::DeleteVhost { name: "/".into() }],
    );
}

#[test]
fn a_queue_gets_the_default_type_where_it_can_have_it() {
    let mut metadata = fresh();
    let to_stream = C::UpdateVhost {
        name: "/".into(),
        changes: VhostChanges {
            default_queue_type: Some(Some("stream".into())),
            ..VhostChanges::default()
        },
    };
    run(
        &mut metadata,
        [
            queue("classic"),
            to_stream,
            queue_with("transient", false, None),
            queue_with("exclusive", true, Some(CONNECTION)),
        ],
    );
    for name in ["classic", "transient", "exclusive"] {
        let record = metadata.vhost("/").unwrap().queue(name).unwrap();
        let queue_type = record.arguments.get("x-queue-type").and_then(Value::as_str);
        assert_eq!(queue_type, Some("classic"), "{name}");
    }
    assert_eq!(
        refusal(&mut metadata, &queue("stream")),
        "queue type 'stream' is not available on this node"
    );
    assert_eq!(
        refusal(&mut metadata, &queue("classic")),
        "inequivalent arg 'x-queue-type' for queue 'classic' in vhost '/': \
         received 'stream' but current is 'classic'"
    );
    let bogus = C::UpdateVhost {
        name: "/".into(),
        changes: VhostChanges {
            default_queue_type: Some(Some("bogus".into())),
            ..VhostChanges::default()
        },
    };
    assert_eq!(
        refusal(&mut metadata, &bogus),
        "bogus is not a valid queue type"
    );
}

/// Commands over few names, so that they meet.
fn command() -> impl Strategy<Value = C> {
    let exchange_name =
        || proptest::sample::select(&["x", "y", "z", "amq.direct", "amq.topic", ""][..]);
    let queue_name = || proptest::sample::select(&["q", "r", "s", "amq.t"][..]);
    let key = || proptest::sample::select(&["", "a", "a.#", "#.*.#.#"][..]);
    let owner = || proptest::option::weighted(0.2, Just(CONNECTION));
    let kinds = || proptest::sample::select(&["direct", "fanout", "topic", "headers", "other"][..]);
    let destination = move || {
        prop_oneof![
            2 => queue_name().prop_map(to_queue),
            1 => exchange_name().prop_map(to_exchange),
        ]
    };
    let vhost = || proptest::sample::select(&["/", "v"][..]).prop_map(Name::from);
    let scope = || proptest::sample::select(&[PolicyScope::User, PolicyScope::Operator][..]);
    let policy_name = || proptest::sample::select(&["p", "o"][..]);
    prop_oneof![
        4 => (exchange_name(), kinds(), any::<bool>(), any::<bool>())
            .prop_map(|(name, kind, durable, auto_delete)| exchange_with(name, kind, durable, auto_delete, &[])),
        2 => exchange_name().prop_map(|name| delete_exchange(name, false)),
        1 => exchange_name().prop_map(|name| delete_exchange(name, true)),
        6 => (queue_name(), any::<bool>(), owner()).prop_map(|(name, durable, owner)| queue_with(name, durable, owner)),
        2 => (1..40_u64).prop_map(|id| C::DeleteQueue { id: QueueId(id) }),
        1 => (1..40_u64, any::<bool>()).prop_map(|(id, paused)| C::SetQueuePaused { id: QueueId(id), paused }),
        8 => (exchange_name(), destination(), key()).prop_map(|(source, destination, key)| bind(source, destination, key)),
        4 => (exchange_name(), destination(), key()).prop_map(|(source, destination, key)| unbind(source, destination, key)),
        1 => Just(C::DeleteExclusiveQueues { connection: CONNECTION }),
        1 => vhost().prop_map(|name| C::CreateVhost { name, metadata: VhostMetadata::default() }),
        1 => Just(C::DeleteVhost { name: "v".into() }),
        1 => vhost().prop_map(|vhost| C::SetPermissions {
            vhost,
            user: "guest".into(),
            configure: "".into(),
            write: "^q".into(),
            read: ".*".into(),
        }),
        1 => vhost().prop_map(|vhost| C::ClearPermissions { vhost, user: "guest".into() }),
        1 => (vhost(), any::<bool>()).prop_map(|(name, tracing)| C::UpdateVhost {
            name,
            changes: VhostChanges { tracing: Some(tracing), ..VhostChanges::default() },
        }),
        2 => (vhost(), scope(), policy_name(), 0..2_i64).prop_map(|(vhost, scope, name, priority)| C::PutPolicy {
            vhost,
            scope,
            policy: policy(scope, name, priority),
        }),
        1 => (exchange_name(), 0..3_i64).prop_map(|(pattern, shards)| C::PutPolicy {
            vhost: "/".into(),
            scope: PolicyScope::User,
            policy: sharding_policy(pattern, shards),
        }),
        1 => (vhost(), scope(), policy_name()).prop_map(|(vhost, scope, name)| C::DeletePolicy {
            vhost,
            scope,
            name: name.into(),
        }),
        1 => policy_name().prop_map(|name| C::PutGlobalParameter { name: name.into(), value: name.into() }),
        1 => policy_name().prop_map(|name| C::DeleteGlobalParameter { name: name.into() }),
        1 => (vhost(), proptest::option::of(0..4_i64)).prop_map(|(vhost, max_queues)| C::SetVhostLimits {
            vhost,
            limits: VhostLimits { max_connections: None, max_queues, ..VhostLimits::default() },
        }),
        1 => (0..4_i64).prop_map(|max| C::SetUserLimits {
            user: "guest".into(),
            limits: UserLimits { max_connections: Some(max), max_channels: None , ..UserLimits::default()},
        }),
    ]
}

proptest! {
    /// Two replicas that apply the same commands agree, the log restores the durable part, and so does a snapshot.
    #[test]
    fn the_log_and_the_snapshot_restore_what_is_durable(commands in proptest::collection::vec(command(), 0..80)) {
        let mut metadata = fresh();
        let mut replica = fresh();
        let mut restored = fresh();
        for command in &commands {
            let before = metadata.to_snapshot();
            match metadata.apply(command) {
                Ok(applied) => {
                    prop_assert_eq!(applied.durable, !applied.log.is_empty());
                    let changed = before.commands != metadata.to_snapshot().commands;
                    prop_assert!(applied.durable || !changed, "{:?} changed something durable", command);
                    for command in &applied.log {
                        restored.replay(command).unwrap();
                    }
                }
                Err(_) => prop_assert_eq!(before, metadata.to_snapshot()),
            }
            metadata.check_invariants();
            restored.check_invariants();
            _ = replica.apply(command);
        }
        let snapshot = metadata.to_snapshot();
        prop_assert_eq!(&snapshot, &replica.to_snapshot());
        prop_assert_eq!(&snapshot.commands, &restored.to_snapshot().commands);
        let again = Metadata::from_snapshot(&snapshot, 2).unwrap();
        again.check_invariants();
        prop_assert_eq!(snapshot, again.to_snapshot());
    }
}

#[test]
fn a_durable_history_has_a_place_in_the_log_and_no_other_exchange_ever_gets_it() {
    let mut metadata = fresh();
    let place = |metadata: &Metadata, name: &str| {
        let exchange = metadata.vhost("/").unwrap().exchange(name).unwrap().clone();
        exchange.history().and_then(|history| history.log_id())
    };
    let durable = exchange_with("durable", "x-recent-history", true, false, &[]);
    let transient = exchange_with("transient", "x-recent-history", false, false, &[]);
    let applied = run(
        &mut metadata,
        [durable.clone(), transient, exchange("plain")],
    );
    let first = place(&metadata, "durable").unwrap();
    assert!(crate::exchange::is_history(first));
    assert_eq!(place(&metadata, "transient"), None);
    assert_eq!(
        metadata.histories().map(|(id, _)| id).collect::<Vec<_>>(),
        [first]
    );

    let mut replayed = fresh();
    for command in applied.iter().flat_map(|applied| &applied.log) {
        replayed.replay(command).unwrap();
    }
    assert_eq!(place(&replayed, "durable"), Some(first));
    let mut restored = Metadata::from_snapshot(&metadata.to_snapshot(), 2).unwrap();
    assert_eq!(place(&restored, "durable"), Some(first));
    run(&mut restored, [delete_exchange("durable", false), durable]);
    assert_ne!(place(&restored, "durable"), Some(first));
}
