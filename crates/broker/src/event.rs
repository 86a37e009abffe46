//! What observers hear: a routing key of the event exchange and headers.
//!
//! This module says what a change of the metadata looks like to them, in RabbitMQ's words. Who listens, and how events travel,
//! is the node's matter; what connections and consumers do is told by their frontend with [`Event::new`].
//!
//! RabbitMQ docs: event-exchange. Compat: values that RabbitMQ prints as Erlang terms are printed as such ([`term`]), since
//! consumers parse them.

mod operator;
pub mod pretty;
pub mod term;

use crate::binding::Binding;
use crate::command::{Destination, MetadataCommand};
use crate::exchange::Exchange;
use crate::metadata::{Metadata, MetadataEvent};
use crate::value::{Arguments, IntKind, Value};
use crate::vhost::QueueRecord;
use base::Name;
use bytes::Bytes;
use std::sync::Arc;

/// The user of changes that nobody asked for.
pub const INTERNAL_USER: &str = "rmq-internal";

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Routing key, such as `queue.created`.
    pub key: &'static str,
    /// What is known about it.
    pub headers: Arguments,
}

impl Event {
    /// An event with these headers.
    pub fn new(
        key: &'static str,
        headers: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let headers = headers.into_iter().map(|(key, value)| (key.into(), value));
        Self {
            key,
            headers: Arguments::from_pairs(headers),
        }
    }

    /// The same with the name of the user who did it.
    #[must_use]
    pub fn by(mut self, user: &str) -> Self {
        self.headers.insert("user_who_performed_action", text(user));
        self
    }
}

/// A header of text.
pub fn text(value: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(value.as_bytes()))
}

/// A header of a number.
pub fn number(value: impl Into<i64>) -> Value {
    Value::Int(IntKind::I64, value.into())
}

/// A metadata command that was carried out.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The command.
    pub command: &'a MetadataCommand,
    /// The state that it met.
    pub before: &'a Metadata,
    /// The state that it left.
    pub after: &'a Metadata,
    /// What came and went by it.
    pub happened: &'a [MetadataEvent],
    /// Who asked for it.
    pub user: &'a str,
    /// The name of this node.
    pub node: &'a str,
}

/// The events of a metadata command, in order.
pub fn of_change(change: &Change<'_>) -> Vec<Event> {
    // Nobody asked for what goes with its connection.
    let of_connection = matches!(
        change.command,
        MetadataCommand::DeleteExclusiveQueues { .. }
    );
    let user = if of_connection {
        INTERNAL_USER
    } else {
        change.user
    };
    let mut events = Vec::new();
    for event in change.happened {
        push_event(&mut events, event, change);
    }
    push_command(&mut events, change);
    // Compat: nor for the bindings of a queue that was deleted.
    let of_queue = matches!(change.command, MetadataCommand::DeleteQueue { .. });
    let by = |event: Event| match event.key {
        "binding.deleted" if of_queue => event.by(INTERNAL_USER),
        _ => event.by(user),
    };
    events.into_iter().map(by).collect()
}

/// What came or went by itself or by a command.
fn push_event(events: &mut Vec<Event>, event: &MetadataEvent, change: &Change<'_>) {
    use MetadataEvent as E;
    match event {
        E::VhostCreated { vhost } => {
            let created = |exchange: &Arc<Exchange>| exchange_created(vhost, exchange);
            events.extend(exchanges(change.after, vhost).iter().map(created));
            events.push(operator::vhost(
                "vhost.created",
                change.after,
                vhost,
                change.node,
            ));
        }
        E::VhostDeleted { vhost } => {
            let deleted = |exchange: &Arc<Exchange>| exchange_deleted(vhost, exchange);
            events.extend(exchanges(change.before, vhost).iter().map(deleted));
            events.push(Event::new("vhost.deleted", [("name", text(vhost))]));
        }
        E::ExchangeCreated { vhost, exchange } => events.push(exchange_created(vhost, exchange)),
        E::ExchangeDeleted { vhost, exchange } => events.push(exchange_deleted(vhost, exchange)),
        E::QueueCreated { record } => events.push(queue_created(record, change.node)),
        E::QueueDeleted { record } => events.push(Event::new(
            "queue.deleted",
            [
                ("name", text(&record.name)),
                ("type", text(record.settings.queue_type.module())),
                ("vhost", text(&record.vhost)),
            ],
        )),
        E::BindingCreated { vhost, binding } => {
            events.push(binding_event("binding.created", vhost, binding));
        }
        E::BindingDeleted { vhost, binding } => {
            events.push(binding_event("binding.deleted", vhost, binding));
        }
        E::VhostUpdated { vhost } => {
            events.push(operator::vhost(
                "vhost.updated",
                change.after,
                vhost,
                change.node,
            ));
        }
        E::PolicySet {
            vhost,
            scope,
            policy,
        } => operator::push_policy_set(events, vhost, *scope, policy),
        E::PolicyCleared { vhost, scope, name } => {
            operator::push_policy_cleared(events, vhost, *scope, name);
        }
        E::VhostLimitsChanged { vhost } => {
            operator::push_vhost_limits(events, change.after, vhost);
        }
        E::UserLimitsChanged { user } => operator::push_user_limits(events, change.after, user),
        E::QueuePaused { record, .. } => events.push(Event::new(
            if record.paused {
                "queue.paused"
            } else {
                "queue.resumed"
            },
            [("name", text(&record.name)), ("vhost", text(&record.vhost))],
        )),
        // The command says more.
        E::UserChanged { .. }
        | E::UserDeleted { .. }
        | E::PermissionsChanged { .. }
        | E::SchemaSet { .. }
        | E::SchemaCleared { .. }
        | E::GlobalParameterSet { .. }
        | E::GlobalParameterCleared { .. } => {}
    }
}

/// What the command itself says. A command that changed nothing says nothing.
fn push_command(events: &mut Vec<Event>, change: &Change<'_>) {
    use MetadataCommand as C;
    if change.happened.is_empty() {
        return;
    }
    match change.command {
        C::PutUser {
            name,
            password_hash,
            tags,
        } => {
            let key = match (change.before.user(name), password_hash) {
                (None, _) => "user.created",
                (Some(_), Some(_)) => "user.password.changed",
                (Some(_), None) => "user.password.cleared",
            };
            events.push(Event::new(key, [("name", text(name))]));
            let tags = tags.iter().map(|tag| text(tag)).collect();
            let headers = [("name", text(name)), ("tags", Value::Array(tags))];
            events.push(Event::new("user.tags.set", headers));
        }
        C::DeleteUser { name } => {
            events.push(Event::new("user.deleted", [("name", text(name))]));
        }
        C::SetPermissions {
            vhost,
            user,
            configure,
            write,
            read,
        } => events.push(Event::new(
            "permission.created",
            [
                ("user", text(user)),
                ("vhost", text(vhost)),
                ("configure", text(configure)),
                ("write", text(write)),
                ("read", text(read)),
            ],
        )),
        C::ClearPermissions { vhost, user } => events.push(Event::new(
            "permission.deleted",
            [("user", text(user)), ("vhost", text(vhost))],
        )),
        C::SetTopicPermissions {
            vhost,
            user,
            exchange,
            write,
            read,
        } => events.push(Event::new(
            "topic.permission.created",
            [
                ("user", text(user)),
                ("vhost", text(vhost)),
                ("exchange", text(exchange)),
                ("write", text(write)),
                ("read", text(read)),
            ],
        )),
        C::ClearTopicPermissions {
            vhost,
            user,
            exchange,
        } => {
            let mut event = Event::new(
                "topic.permission.deleted",
                [("user", text(user)), ("vhost", text(vhost))],
            );
            if let Some(exchange) = exchange {
                event.headers.insert("exchange", text(exchange));
            }
            events.push(event);
        }
        C::PutParameter {
            vhost,
            component,
            name,
            value,
        } => operator::push_parameter(events, vhost, component, name, Some(value)),
        C::DeleteParameter {
            vhost,
            component,
            name,
        } => operator::push_parameter(events, vhost, component, name, None),
        C::PutGlobalParameter { name, value } => {
            operator::push_global_parameter(events, name, Some(value));
        }
        C::DeleteGlobalParameter { name } => operator::push_global_parameter(events, name, None),
        C::CreateVhost { .. }
        | C::UpdateVhost { .. }
        | C::DeleteVhost { .. }
        | C::PutPolicy { .. }
        | C::DeletePolicy { .. }
        | C::SetVhostLimits { .. }
        | C::SetUserLimits { .. }
        | C::DeclareExchange { .. }
        | C::DeleteExchange { .. }
        | C::CreateSystemExchange { .. }
        | C::DeclareQueue { .. }
        | C::DeleteQueue { .. }
        | C::SetQueuePaused { .. }
        | C::DeleteExclusiveQueues { .. }
        | C::Bind { .. }
        | C::Unbind { .. } => {}
    }
}

/// The exchanges of a vhost, by name.
fn exchanges(metadata: &Metadata, vhost: &Name) -> Vec<Arc<Exchange>> {
    let vhost = metadata.vhost(vhost);
    let mut exchanges: Vec<_> = vhost
        .iter()
        .flat_map(|vhost| vhost.exchanges())
        .cloned()
        .collect();
    exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    exchanges
}

fn exchange_deleted(vhost: &Name, exchange: &Exchange) -> Event {
    Event::new(
        "exchange.deleted",
        [("name", text(&exchange.name)), ("vhost", text(vhost))],
    )
}

fn exchange_created(vhost: &Name, exchange: &Exchange) -> Event {
    Event::new(
        "exchange.created",
        [
            ("name", text(&exchange.name)),
            ("vhost", text(vhost)),
            ("type", text(exchange.exchange_type.as_str())),
            ("durable", Value::Bool(exchange.durable)),
            ("auto_delete", Value::Bool(exchange.auto_delete)),
            ("internal", Value::Bool(exchange.internal)),
            ("arguments", term::fields(&exchange.arguments)),
            ("policy", text("")),
        ],
    )
}

fn queue_created(record: &QueueRecord, node: &str) -> Event {
    // Compat: RabbitMQ gives each queue its type for an argument.
    let mut arguments = record.arguments.clone();
    if arguments.get("x-queue-type").is_none() {
        arguments.insert("x-queue-type", text(record.settings.queue_type.as_str()));
    }
    let owner = record
        .exclusive_owner
        .map_or_else(String::new, |owner| term::connection(node, owner));
    Event::new(
        "queue.created",
        [
            ("name", text(&record.name)),
            ("vhost", text(&record.vhost)),
            ("type", text(record.settings.queue_type.module())),
            ("durable", Value::Bool(record.durable)),
            ("auto_delete", Value::Bool(record.auto_delete)),
            ("exclusive", Value::Bool(record.exclusive_owner.is_some())),
            ("arguments", term::fields(&arguments)),
            ("owner_pid", text(&owner)),
            ("leader", text(node)),
            ("members", Value::Array(vec![text(node)])),
        ],
    )
}

fn binding_event(key: &'static str, vhost: &Name, binding: &Binding) -> Event {
    let (kind, destination) = match &binding.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    Event::new(
        key,
        [
            ("vhost", text(vhost)),
            ("source_kind", text("exchange")),
            ("source_name", text(&binding.source)),
            ("destination_kind", text(kind)),
            ("destination_name", text(destination)),
            ("routing_key", Value::LongStr(binding.binding_key.clone())),
            ("arguments", term::fields(&binding.arguments)),
        ],
    )
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::wildcard_enum_match_arm,
        reason = "a test names what it waits for; whatever else comes fails it"
    )]

    use super::*;
    use crate::command::MetadataCommand as C;
    use crate::policy::{Policy, PolicyScope};
    use serde_json::json;

    /// What is told of commands: key and headers, without the user.
    fn told(commands: Vec<C>) -> Vec<String> {
        let mut metadata = Metadata::new(1);
        let mut lines = Vec::new();
        for command in commands {
            let before = metadata.clone();
            let happened = metadata.apply(&command).unwrap().events;
            let events = of_change(&Change {
                command: &command,
                before: &before,
                after: &metadata,
                happened: &happened,
                user: "anna",
                node: "rabbit@box",
            });
            lines.extend(events.into_iter().map(|event| {
                let by = event.headers.get("user_who_performed_action");
                assert_eq!(by, Some(&text("anna")));
                let headers = event
                    .headers
                    .iter()
                    .filter(|(key, _)| *key != "user_who_performed_action")
                    .map(|(key, value)| format!(" {key}={}", shown(value)));
                format!("{}{}", event.key, headers.collect::<String>())
            }));
        }
        lines.retain(|line| !line.starts_with("exchange."));
        lines
    }

    fn shown(value: &Value) -> String {
        match value {
            Value::LongStr(_) => value.as_str().unwrap_or_default().to_owned(),
            Value::Int(_, value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Array(values) => format!("{:?}", values.iter().map(shown).collect::<Vec<_>>()),
            Value::Table(table) => {
                let fields = table
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", shown(value)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
            other => format!("{other:?}"),
        }
    }

    fn vhost() -> C {
        C::CreateVhost {
            name: "v".into(),
            metadata: Default::default(),
        }
    }

    fn user(password: bool) -> C {
        let hash = crate::command::PasswordHash::new(b"x", *b"salt");
        C::PutUser {
            name: "bob".into(),
            password_hash: password.then_some(hash),
            tags: vec!["monitoring".into()],
        }
    }

    #[test]
    fn users_and_permissions() {
        let told = told(vec![
            vhost(),
            user(true),
            user(true),
            user(false),
            C::SetPermissions {
                vhost: "v".into(),
                user: "bob".into(),
                configure: "a".into(),
                write: "b".into(),
                read: "c".into(),
            },
            C::ClearPermissions {
                vhost: "v".into(),
                user: "bob".into(),
            },
            C::DeleteUser { name: "bob".into() },
        ]);
        assert_eq!(
            told[1..],
            [
                "user.created name=bob",
                "user.tags.set name=bob tags=[\"monitoring\"]",
                "user.password.changed name=bob",
                "user.tags.set name=bob tags=[\"monitoring\"]",
                "user.password.cleared name=bob",
                "user.tags.set name=bob tags=[\"monitoring\"]",
                "permission.created configure=a read=c user=bob vhost=v write=b",
                "permission.deleted user=bob vhost=v",
                "user.deleted name=bob",
            ]
        );
    }

    #[test]
    fn vhosts_and_what_operators_say_about_them() {
        let told = told(vec![
            vhost(),
            vhost(),
            C::SetVhostLimits {
                vhost: "v".into(),
                limits: crate::limits::VhostLimits {
                    max_connections: None,
                    max_queues: Some(7),
                    ..crate::limits::VhostLimits::default()
                },
            },
            C::PutGlobalParameter {
                name: "p".into(),
                value: json!({"a": 1}),
            },
            C::DeleteGlobalParameter { name: "p".into() },
            C::DeleteVhost { name: "v".into() },
        ]);
        let about = "cluster_state={rabbit@box:running} default_queue_type=classic description= name=v \
                     protected_from_deletion=false tags=[] tracing=false";
        assert_eq!(
            told,
            [
                format!("vhost.created {about}").as_str(),
                "parameter.set component=vhost-limits name=limits value={max-queues:7} vhost=v",
                "vhost.limits.set max-queues=7 name=limits vhost=v",
                "parameter.set component=global name=p value={a:1}",
                "parameter.cleared component=global name=p",
                "vhost.deleted name=v",
            ]
        );
    }

    #[test]
    fn policies() {
        let put = |scope| {
            let value = json!({"pattern": "^q", "definition": {"max-length": 5}, "apply-to": "queues", "priority": 0});
            let policy = Policy::from_json(scope, &"p".into(), &value).unwrap();
            C::PutPolicy {
                vhost: "v".into(),
                scope,
                policy: Arc::new(policy),
            }
        };
        let delete = |scope| C::DeletePolicy {
            vhost: "v".into(),
            scope,
            name: "p".into(),
        };
        let (user, operator) = (PolicyScope::User, PolicyScope::Operator);
        let told = told(vec![
            vhost(),
            put(user),
            delete(user),
            put(operator),
            delete(operator),
        ]);
        let set = "policy.set apply-to=queues definition={max-length:5} name=p pattern=^q priority=0 vhost=v";
        assert_eq!(
            told[1..],
            [
                set,
                "policy.cleared name=p vhost=v",
                "parameter.set component=operator_policy name=p \
                 value={apply-to:queues,definition:{max-length:5},pattern:^q,priority:0} vhost=v",
                set,
                "parameter.cleared component=operator_policy name=p vhost=v",
                "operator.policy.cleared name=p vhost=v",
            ]
        );
    }
}
