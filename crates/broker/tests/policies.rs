//! Which policies apply to what, and what they make of queues and exchanges.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use base::Name;
use broker::Error;
use broker::command::{Destination, MetadataCommand as Command, PasswordHash};
use broker::metadata::{Applied, DefaultUser, Metadata, bootstrap_commands};
use broker::policy::{Policy, PolicyScope};
use broker::queue_arguments::{Overflow, QueueArguments};
use broker::value::{Arguments, IntKind, Value};
use serde_json::{Value as Json, json};
use std::sync::Arc;

fn fresh() -> Metadata {
    let mut metadata = Metadata::new(1);
    for command in bootstrap_commands(DefaultUser::administrator(
        "guest".into(),
        PasswordHash::new(b"guest", [1; 4]),
        "/".into(),
    )) {
        metadata.apply(&command).unwrap();
    }
    metadata
}

fn put(metadata: &mut Metadata, scope: PolicyScope, name: &str, policy: &Json) -> Applied {
    let mut policy = policy.clone();
    if policy.get("priority").is_none() {
        policy["priority"] = json!(0);
    }
    let policy = Policy::from_json(scope, &name.into(), &policy).unwrap();
    let command = Command::PutPolicy {
        vhost: "/".into(),
        scope,
        policy: Arc::new(policy),
    };
    metadata.apply(&command).unwrap()
}

fn delete(metadata: &mut Metadata, scope: PolicyScope, name: &str) -> Result<Applied, Error> {
    metadata.apply(&Command::DeletePolicy {
        vhost: "/".into(),
        scope,
        name: name.into(),
    })
}

fn declare(metadata: &mut Metadata, name: &str, arguments: &[(&str, Value)]) {
    let pairs = arguments
        .iter()
        .map(|(key, value)| ((*key).into(), value.clone()));
    let command = Command::DeclareQueue {
        vhost: "/".into(),
        name: name.into(),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: Arguments::from_pairs(pairs),
        user: "guest".into(),
        home: 0,
        server_named: false,
        id: None,
    };
    metadata.apply(&command).unwrap();
}

fn declare_exchange(metadata: &mut Metadata, name: &str, arguments: Arguments) {
    let command = Command::DeclareExchange {
        vhost: "/".into(),
        name: name.into(),
        exchange_type: "fanout".into(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
        history: None,
    };
    metadata.apply(&command).unwrap();
}

fn settings(metadata: &Metadata, queue: &str) -> QueueArguments {
    let record = metadata.vhost("/").unwrap().queue(queue).unwrap();
    metadata.queue_settings(record)
}

/// The names of the two policies that apply to a queue, and what they say together.
fn effective(metadata: &Metadata, queue: &str) -> (Option<Name>, Option<Name>, Json) {
    let vhost = metadata.vhost("/").unwrap();
    let policies = vhost.queue_policies(vhost.queue(queue).unwrap());
    let name = |policy: Option<&Arc<Policy>>| policy.map(|policy| policy.name.clone());
    let definition = policies.definition().map_or(Json::Null, Json::Object);
    (
        name(policies.policy),
        name(policies.operator_policy),
        definition,
    )
}

fn applies(metadata: &Metadata, queue: &str) -> Option<String> {
    effective(metadata, queue).0.map(|name| name.to_string())
}

fn int(value: i64) -> Value {
    Value::Int(IntKind::I64, value)
}

fn text(value: &'static str) -> Value {
    Value::LongStr(bytes::Bytes::from_static(value.as_bytes()))
}

#[test]
fn the_highest_priority_wins_and_then_the_name() {
    let mut metadata = fresh();
    declare(&mut metadata, "orders", &[]);
    assert_eq!(applies(&metadata, "orders"), None);
    let mut set = |name, pattern, priority: Json| {
        let policy =
            json!({"pattern": pattern, "priority": priority, "definition": {"max-length": 1}});
        put(&mut metadata, PolicyScope::User, name, &policy);
        applies(&metadata, "orders")
    };
    assert_eq!(set("n", "rde", json!(0)).as_deref(), Some("n"));
    assert_eq!(set("m", "", json!(0)).as_deref(), Some("m"));
    assert_eq!(set("z", "^o", json!(0)).as_deref(), Some("m"));
    assert_eq!(set("z", "^o", json!(0.5)).as_deref(), Some("z"));
    assert_eq!(set("y", "^o", json!(1)).as_deref(), Some("y"));
    assert_eq!(set("x", "^x", json!(9)).as_deref(), Some("y"));
    assert_eq!(set("m", ".*", json!(-1)).as_deref(), Some("y"));
    for (gone, left) in [
        ("y", Some("z")),
        ("z", Some("n")),
        ("n", Some("m")),
        ("m", None),
    ] {
        delete(&mut metadata, PolicyScope::User, gone).unwrap();
        assert_eq!(applies(&metadata, "orders").as_deref(), left);
    }
    assert_eq!(
        delete(&mut metadata, PolicyScope::User, "m").unwrap_err(),
        Error::ParameterNotFound
    );
}

#[test]
fn a_policy_applies_to_what_it_is_for() {
    let mut metadata = fresh();
    declare(&mut metadata, "q", &[]);
    for (apply_to, expect) in [
        ("all", true),
        ("queues", true),
        ("classic_queues", true),
        ("quorum_queues", false),
        ("streams", false),
        ("exchanges", false),
    ] {
        let policy = json!({"pattern": "q", "apply-to": apply_to, "definition": {"max-length": 1}});
        put(&mut metadata, PolicyScope::User, "p", &policy);
        assert_eq!(applies(&metadata, "q").is_some(), expect, "{apply_to}");
    }
    // One key of another queue type keeps the whole policy away.
    let policy = json!({"pattern": "q", "definition": {"max-length": 1, "delivery-limit": 5}});
    put(&mut metadata, PolicyScope::User, "p", &policy);
    assert_eq!(applies(&metadata, "q"), None);
}

#[test]
fn the_smaller_of_arguments_and_policies_counts() {
    let mut metadata = fresh();
    declare(
        &mut metadata,
        "q",
        &[("x-max-length", int(10)), ("x-message-ttl", int(10))],
    );
    let own = json!({"pattern": "q", "definition":
        {"max-length": 5, "message-ttl": 20, "max-length-bytes": 7, "expires": 1_000_000_000_000_000_u64}});
    put(&mut metadata, PolicyScope::User, "p", &own);
    let operators = json!({"pattern": "q", "definition": {"max-length": 8, "max-length-bytes": 6}});
    put(&mut metadata, PolicyScope::Operator, "o", &operators);
    let found = settings(&metadata, "q");
    assert_eq!(found.max_length, Some(5));
    assert_eq!(found.message_ttl_ms, Some(10));
    assert_eq!(found.max_length_bytes, Some(6));
    assert_eq!(found.expires_ms, Some(315_360_000_000));
    let merged = json!({"max-length": 5, "message-ttl": 20, "max-length-bytes": 6,
        "expires": 1_000_000_000_000_000_u64});
    assert_eq!(
        effective(&metadata, "q"),
        (Some("p".into()), Some("o".into()), merged)
    );
    delete(&mut metadata, PolicyScope::User, "p").unwrap();
    assert_eq!(settings(&metadata, "q").max_length, Some(8));
}

#[test]
fn an_argument_about_dead_letters_or_overflow_wins() {
    let mut metadata = fresh();
    declare(&mut metadata, "plain", &[]);
    declare(
        &mut metadata,
        "own",
        &[
            ("x-dead-letter-exchange", text("mine")),
            ("x-overflow", text("drop-head")),
        ],
    );
    let policy = json!({"pattern": "", "definition": {"dead-letter-exchange": "theirs",
        "dead-letter-routing-key": "key", "overflow": "reject-publish"}});
    put(&mut metadata, PolicyScope::User, "p", &policy);
    let plain = settings(&metadata, "plain");
    assert_eq!(plain.dead_letter_exchange, Some("theirs".into()));
    assert_eq!(plain.dead_letter_routing_key.as_deref(), Some(&b"key"[..]));
    assert_eq!(plain.overflow, Overflow::RejectPublish);
    let own = settings(&metadata, "own");
    assert_eq!(own.dead_letter_exchange, Some("mine".into()));
    assert_eq!(own.overflow, Overflow::DropHead);
    let operators = json!({"pattern": "", "definition": {"overflow": "reject-publish-dlx"}});
    put(&mut metadata, PolicyScope::Operator, "o", &operators);
    assert_eq!(
        settings(&metadata, "plain").overflow,
        Overflow::RejectPublishDlx
    );
}

#[test]
fn exchanges_get_the_alternate_exchange_of_a_policy() {
    let alternate = |metadata: &Metadata, exchange: &str| {
        let exchange = metadata.vhost("/").unwrap().exchange(exchange);
        exchange
            .unwrap()
            .alternate_exchange
            .as_deref()
            .map(str::to_owned)
    };
    let mut metadata = fresh();
    declare_exchange(&mut metadata, "x.before", Arguments::default());
    let own = Arguments::from_pairs([("alternate-exchange".into(), text("own"))]);
    declare_exchange(&mut metadata, "x.own", own);
    let policy = json!({"pattern": "^x", "definition": {"alternate-exchange": "theirs"}});
    put(&mut metadata, PolicyScope::User, "p", &policy);
    declare_exchange(&mut metadata, "x.after", Arguments::default());
    assert_eq!(alternate(&metadata, "x.before").as_deref(), Some("theirs"));
    assert_eq!(alternate(&metadata, "x.after").as_deref(), Some("theirs"));
    assert_eq!(alternate(&metadata, "x.own").as_deref(), Some("own"));
    assert_eq!(alternate(&metadata, "amq.fanout"), None);

    let restored = Metadata::from_snapshot(&metadata.to_snapshot(), 1).unwrap();
    assert_eq!(alternate(&restored, "x.before").as_deref(), Some("theirs"));

    let policy = json!({"pattern": "^x", "definition": {"max-length": 1}});
    put(&mut metadata, PolicyScope::User, "p", &policy);
    assert_eq!(alternate(&metadata, "x.before"), None);
    assert_eq!(alternate(&metadata, "x.own").as_deref(), Some("own"));
    metadata.check_invariants();
    let bind = Command::Bind {
        vhost: "/".into(),
        source: "x.before".into(),
        destination: Destination::Exchange("x.after".into()),
        routing_key: "".into(),
        arguments: Arguments::default(),
    };
    metadata.apply(&bind).unwrap();
}

#[test]
fn the_same_policy_again_is_no_change() {
    let mut metadata = fresh();
    let policy = json!({"pattern": "q", "definition": {"max-length": 1}});
    let first = put(&mut metadata, PolicyScope::User, "p", &policy);
    assert!(first.durable && first.events.len() == 1);
    let again = put(&mut metadata, PolicyScope::User, "p", &policy);
    assert!(!again.durable && again.events.is_empty());
}

#[test]
fn operator_policies_and_vhost_limits_can_be_set_as_parameters() {
    let mut metadata = fresh();
    declare(&mut metadata, "q", &[]);
    let set = |metadata: &mut Metadata, component: &str, name: &str, value: Json| {
        metadata
            .apply(&Command::PutParameter {
                vhost: "/".into(),
                component: component.into(),
                name: name.into(),
                value,
            })
            .map_err(|error| error.to_string())
    };
    let policy = json!({"pattern": "q", "priority": 1, "definition": {"max-length": 1}});
    set(&mut metadata, "operator_policy", "o", policy.clone()).unwrap();
    assert_eq!(settings(&metadata, "q").max_length, Some(1));
    set(
        &mut metadata,
        "vhost-limits",
        "limits",
        json!({"max-queues": 1}),
    )
    .unwrap();
    assert_eq!(metadata.vhost("/").unwrap().limits.max_queues, Some(1));
    for (component, expect) in [
        ("policy", "policies may not be set using this method"),
        ("bogus", "Validation failed\n\ncomponent bogus not found\n"),
        (
            "shovel",
            "Validation failed\n\ncomponent shovel not found\n",
        ),
    ] {
        let refused = set(&mut metadata, component, "p", policy.clone());
        assert_eq!(refused.unwrap_err(), expect);
    }
    let clear = |component: &str, name: &str| Command::DeleteParameter {
        vhost: "/".into(),
        component: component.into(),
        name: name.into(),
    };
    metadata.apply(&clear("operator_policy", "o")).unwrap();
    metadata.apply(&clear("vhost-limits", "limits")).unwrap();
    assert_eq!(settings(&metadata, "q").max_length, None);
    let twice = metadata.apply(&clear("vhost-limits", "limits"));
    assert_eq!(twice.unwrap_err().to_string(), "Parameter does not exist");
}

#[test]
fn policies_that_merge_are_laid_below_the_highest() {
    let mut metadata = fresh();
    declare(&mut metadata, "orders", &[]);
    let mut set = |name: &str, pattern: &str, priority: i64, definition: Json| {
        let policy = json!({"pattern": pattern, "priority": priority, "definition": definition});
        put(&mut metadata, PolicyScope::User, name, &policy);
        effective(&metadata, "orders")
    };
    // Alone, the key changes nothing.
    let base = json!({"max-length": 100, "message-ttl": 60_000, "merge": true});
    let (policy, _, definition) = set("base", "", 0, base);
    assert_eq!(policy.unwrap(), "base");
    assert_eq!(
        definition,
        json!({"max-length": 100, "message-ttl": 60_000})
    );
    // Without it a policy applies only where it is the highest.
    set("silent", "", 1, json!({"max-length-bytes": 7}));
    let (policy, _, definition) = set("team", "^o", 5, json!({"max-length": 10}));
    assert_eq!(policy.unwrap(), "team");
    assert_eq!(definition, json!({"max-length": 10, "message-ttl": 60_000}));
    // The higher of two that merge wins, key by key, and one that does not match is left out.
    let middle = json!({"message-ttl": 5, "expires": 9, "merge": true});
    set("middle", "orders", 2, middle);
    let (_, _, definition) = set(
        "other",
        "^x",
        3,
        json!({"overflow": "drop-head", "merge": true}),
    );
    let merged = json!({"max-length": 10, "message-ttl": 5, "expires": 9});
    assert_eq!(definition, merged);
    let settings = settings(&metadata, "orders");
    assert_eq!(settings.max_length, Some(10));
    assert_eq!(settings.message_ttl_ms, Some(5));
    assert_eq!(settings.expires_ms, Some(9));
    assert_eq!(settings.max_length_bytes, None);
    // The operator's is laid over the result.
    let policy = json!({"pattern": "", "definition": {"expires": 20, "max-length": 3}});
    put(&mut metadata, PolicyScope::Operator, "op", &policy);
    let (_, operator, definition) = effective(&metadata, "orders");
    assert_eq!(operator.unwrap(), "op");
    assert_eq!(
        definition,
        json!({"max-length": 3, "message-ttl": 5, "expires": 9})
    );
    delete(&mut metadata, PolicyScope::User, "middle").unwrap();
    let (_, _, definition) = effective(&metadata, "orders");
    assert_eq!(
        definition,
        json!({"max-length": 3, "message-ttl": 60_000, "expires": 20})
    );
}

#[test]
fn schemas_are_checked_when_they_are_set_and_kept() {
    let refused = |definition: Json| {
        let policy = json!({"pattern": "", "priority": 0, "definition": definition});
        let refused = Policy::from_json(PolicyScope::User, &"p".into(), &policy);
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refused(json!({"schema": 5})),
        "Validation failed\n\nschema is not a valid JSON schema: 5 is not of types \"boolean\", \"object\"\n"
    );
    assert_eq!(
        refused(json!({"schema": true, "schema-parameter": "s"})),
        "Validation failed\n\nschema and schema-parameter exclude each other\n"
    );
    assert_eq!(
        refused(json!({"schema": true, "schema-action": "dead-letter"})),
        "Validation failed\n\nschema-dead-letter-exchange is required when schema-action is dead-letter\n"
    );
    assert_eq!(
        refused(json!({"schema": true, "schema-action": "drop"})),
        "Validation failed\n\n<<\"drop\">> is not a valid schema action. Must be one of: reject, dead-letter\n"
    );
    let mut metadata = fresh();
    let put = |value: Json| Command::PutParameter {
        vhost: "/".into(),
        component: "json-schema".into(),
        name: "s".into(),
        value,
    };
    assert_eq!(
        metadata
            .apply(&put(json!({"type": "x"})))
            .unwrap_err()
            .to_string(),
        "Validation failed\n\nschema is not a valid JSON schema: \"x\" is not valid under any of the schemas listed in the 'anyOf' keyword\n"
    );
    assert!(metadata.apply(&put(json!(true))).unwrap().durable);
    assert!(!metadata.apply(&put(json!(true))).unwrap().durable);
    let policy = json!({"pattern": "", "definition": {"schema-parameter": "s"}});
    self::put(&mut metadata, PolicyScope::User, "p", &policy);
    declare_exchange(&mut metadata, "x", Arguments::default());
    let snapshot = metadata.to_snapshot();
    let mut restored = Metadata::new(1);
    for command in &snapshot.commands {
        restored.replay(command).unwrap();
    }
    for metadata in [&metadata, &restored] {
        let vhost = metadata.vhost("/").unwrap();
        for name in ["x", "amq.topic"] {
            let check = vhost.exchange(name).unwrap().schema.as_ref().unwrap();
            assert_eq!(*check.schema.as_ref().unwrap().source(), json!(true));
        }
        // Replies of remote calls go through this one.
        assert_eq!(vhost.exchange("").unwrap().schema, None);
    }
}
