//! Definitions: everything but messages in one file, out and in.
//!
//! Import checks the whole file before it changes anything, then proposes all of it and waits once for the disk. What exists
//! is changed or left as it is; nothing is deleted. Files of RabbitMQ 3 have the same form with fewer keys.

use crate::call::{Answer, Body, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object, to_arguments};
use crate::resources::{parameters, permissions, policies, users, vhosts};
use base::Name;
use broker::command::{Destination, MetadataCommand};
use broker::limits::{UserLimits, VhostLimits};
use broker::policy::PolicyScope;
use broker::value::Arguments;
use broker::vhost::Vhost;
use hyper::Method;
use node::RABBITMQ_VERSION;
use std::sync::Arc;

/// Component of vhost limits among parameters.
const VHOST_LIMITS: &str = "vhost-limits";

pub(crate) async fn all(call: Call) -> Outcome {
    if call.method == Method::POST {
        let file = read(&call)?;
        return import(&call, &file, None).await;
    }
    Ok(export(&call).into())
}

pub(crate) async fn vhost(call: Call) -> Outcome {
    if call.metadata.vhost(call.parameter(0)).is_none() {
        return Err(ApiError::bad("vhost_not_found"));
    }
    let vhost = Arc::clone(call.vhost()?);
    if call.method == Method::POST {
        let file = read(&call)?;
        return import(&call, &file, Some(&vhost.name)).await;
    }
    Ok(export_vhost(&vhost).into())
}

fn header() -> Object {
    object! {
        "rabbit_version" => RABBITMQ_VERSION,
        "rabbitmq_version" => RABBITMQ_VERSION,
        "product_name" => "RabbitMQ",
        "product_version" => RABBITMQ_VERSION,
    }
}

fn export(call: &Call) -> Object {
    let metadata = &call.metadata;
    let mut all: Vec<_> = metadata.vhosts().collect();
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut all_users: Vec<_> = metadata.users().collect();
    all_users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let each = |list: fn(&Vhost) -> Vec<Object>| -> Vec<Object> {
        all.iter()
            .flat_map(|vhost| {
                list(vhost).into_iter().map(|mut item| {
                    item.push("vhost", &vhost.name);
                    item
                })
            })
            .collect()
    };
    let vhost_items: Vec<Object> = all
        .iter()
        .map(|vhost| {
            object! {
                "limits" => Json::from(&vhost.limits.to_json()),
                "metadata" => exported_metadata(vhost),
                "name" => &vhost.name,
            }
        })
        .collect();
    let globals: Vec<Object> = metadata
        .global_parameters()
        .map(|(name, value)| parameters::global_item(name, value))
        .collect();
    let mut file = header();
    file.append(object! {
        "rabbitmq_definition_format" => "cluster",
        "original_cluster_name" => super::overview::cluster_name_of(call),
        "explanation" => format!("Definitions of cluster '{}'", super::overview::cluster_name_of(call)),
        "users" => all_users.iter().map(|user| users::item(user)).collect::<Vec<_>>(),
        "vhosts" => vhost_items,
        "permissions" => permissions::all(metadata, |_, _| true),
        "topic_permissions" => permissions::all_topics(metadata, |_, _| true),
        "parameters" => each(parameter_items),
        "global_parameters" => globals,
        "policies" => each(policy_items),
        "queues" => each(queue_items),
        "exchanges" => each(exchange_items),
        "bindings" => each(binding_items),
    });
    file
}

fn export_vhost(vhost: &Vhost) -> Object {
    let mut file = header();
    file.append(object! {
        "rabbitmq_definition_format" => "single_virtual_host",
        "original_vhost_name" => &vhost.name,
        "explanation" => format!("Definitions of virtual host '{}'", vhost.name),
        "description" => vhost.metadata.description.to_string(),
        "metadata" => exported_metadata(vhost),
        "limits" => Json::from(&vhost.limits.to_json()),
        "parameters" => parameter_items(vhost),
        "policies" => policy_items(vhost),
        "queues" => queue_items(vhost),
        "exchanges" => exchange_items(vhost),
        "bindings" => binding_items(vhost),
    });
    file
}

fn exported_metadata(vhost: &Vhost) -> Object {
    let mut item = vhosts::metadata_item(vhost);
    item.push(
        "protected_from_deletion",
        vhost.metadata.protected_from_deletion,
    );
    item
}

/// Limits are with the vhosts, policies in a list of their own.
fn parameter_items(vhost: &Vhost) -> Vec<Object> {
    parameters::of_vhost(vhost)
        .into_iter()
        .filter(|(component, ..)| *component != PolicyScope::User.component())
        .map(|(component, name, value)| {
            object! { "component" => component, "name" => name, "value" => Json::from(&value) }
        })
        .collect()
}

fn policy_items(vhost: &Vhost) -> Vec<Object> {
    vhost
        .policies(PolicyScope::User)
        .iter()
        .map(|policy| {
            let mut item = policies::item(&vhost.name, policy);
            item.retain(|key| key != "vhost");
            item
        })
        .collect()
}

/// Exclusive queues go with their connections, so they are left out.
fn queue_items(vhost: &Vhost) -> Vec<Object> {
    let mut queues: Vec<_> = vhost
        .queues()
        .filter(|record| record.exclusive_owner.is_none())
        .collect();
    queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    queues
        .into_iter()
        .map(|record| {
            object! {
                "arguments" => &record.arguments,
                "auto_delete" => record.auto_delete,
                "durable" => record.durable,
                "name" => &record.name,
                "type" => record.settings.queue_type.as_str(),
            }
        })
        .collect()
}

fn exchange_items(vhost: &Vhost) -> Vec<Object> {
    let mut exchanges: Vec<_> = vhost
        .exchanges()
        .filter(|exchange| !exchange.is_predeclared() && !exchange.is_default())
        .collect();
    exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    exchanges
        .into_iter()
        .map(|exchange| {
            object! {
                "arguments" => &exchange.arguments,
                "auto_delete" => exchange.auto_delete,
                "durable" => exchange.durable,
                "internal" => exchange.internal,
                "name" => &exchange.name,
                "type" => exchange.exchange_type.as_str(),
            }
        })
        .collect()
}

fn binding_items(vhost: &Vhost) -> Vec<Object> {
    let is_kept = |destination: &Destination| match destination {
        Destination::Queue(name) => vhost
            .queue(name)
            .is_some_and(|record| record.exclusive_owner.is_none()),
        Destination::Exchange(_) => true,
    };
    let mut bindings: Vec<_> = vhost
        .bindings()
        .filter(|binding| is_kept(&binding.destination))
        .collect();
    bindings.sort_unstable();
    bindings
        .into_iter()
        .map(|binding| {
            let (name, kind) = match &binding.destination {
                Destination::Queue(name) => (name, "queue"),
                Destination::Exchange(name) => (name, "exchange"),
            };
            object! {
                "arguments" => &binding.arguments,
                "destination" => name,
                "destination_type" => kind,
                "routing_key" => crate::json::text(&binding.binding_key),
                "source" => &binding.source,
            }
        })
        .collect()
}

/// The file in a request: the body itself, or the first file of a form.
fn read(call: &Call) -> Result<Body, ApiError> {
    if let Ok(body) = call.body() {
        return Ok(body);
    }
    let file = form_file(&call.body).ok_or_else(unreadable)?;
    match serde_json::from_slice(file) {
        Ok(serde_json::Value::Object(file)) => Ok(file),
        _ => Err(unreadable()),
    }
}

fn unreadable() -> ApiError {
    ApiError::bad("failed_to_parse_json")
}

/// The part named `file` of a multipart form, whose first line is its boundary.
fn form_file(body: &[u8]) -> Option<&[u8]> {
    let line_end = find(body, b"\r\n")?;
    let boundary = &body[..line_end];
    if !boundary.starts_with(b"--") {
        return None;
    }
    let mut rest = &body[line_end..];
    loop {
        let head_end = find(rest, b"\r\n\r\n")?;
        let (head, content) = (&rest[..head_end], &rest[head_end + 4..]);
        let end = find(content, boundary)?;
        if find(head, b"name=\"file\"").is_some() {
            return content[..end].strip_suffix(b"\r\n");
        }
        rest = &content[end + boundary.len()..];
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

/// What stands in a list of the file, item by item; no list is an empty one.
fn items<'f>(file: &'f Body, key: &str) -> Result<Vec<&'f Body>, ApiError> {
    match file.get(key) {
        None | Some(serde_json::Value::Null) => Ok(Vec::new()),
        Some(serde_json::Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_object()
                    .ok_or_else(|| ApiError::bad(format!("{key} must be a list of objects")))
            })
            .collect(),
        Some(_) => Err(ApiError::bad(format!("{key} must be a list"))),
    }
}

/// Imports a file into the vhosts that it names, or into one.
async fn import(call: &Call, file: &Body, into: Option<&Name>) -> Outcome {
    let mut commands = Vec::new();
    if into.is_none() {
        users_and_vhosts(file, &mut commands)?;
    }
    let importer = Importer { call, into };
    importer.contents(file, &mut commands)?;
    call.state.node.propose_all(&commands).await?;
    Ok(Answer::NoContent)
}

fn users_and_vhosts(file: &Body, commands: &mut Vec<MetadataCommand>) -> Result<(), ApiError> {
    for user in items(file, "users")? {
        let name = Name::from(user.require_text("name")?);
        commands.push(users::put(&name, user)?);
        if let Some(limits) = user.get("limits").filter(|limits| is_set(limits)) {
            commands.push(MetadataCommand::SetUserLimits {
                user: name,
                limits: UserLimits::from_json(limits)?,
            });
        }
    }
    for vhost in items(file, "vhosts")? {
        let name = Name::from(vhost.require_text("name")?);
        let described = vhost
            .get("metadata")
            .and_then(serde_json::Value::as_object)
            .unwrap_or(vhost);
        commands.push(MetadataCommand::CreateVhost {
            name: name.clone(),
            metadata: vhosts::read_metadata(described)?,
        });
        if let Some(limits) = vhost.get("limits").filter(|limits| is_set(limits)) {
            commands.push(MetadataCommand::SetVhostLimits {
                vhost: name,
                limits: VhostLimits::from_json(limits)?,
            });
        }
    }
    for entry in items(file, "permissions")? {
        let (vhost, user) = (entry.require_text("vhost")?, entry.require_text("user")?);
        commands.push(permissions::put(vhost.into(), user.into(), entry)?);
    }
    for entry in items(file, "topic_permissions")? {
        let (vhost, user) = (entry.require_text("vhost")?, entry.require_text("user")?);
        commands.push(permissions::put_topic(vhost.into(), user.into(), entry)?);
    }
    for parameter in items(file, "global_parameters")? {
        commands.push(MetadataCommand::PutGlobalParameter {
            name: parameter.require_text("name")?.into(),
            value: parameter.require("value")?.clone(),
        });
    }
    Ok(())
}

/// RabbitMQ writes no limits as an empty object or an empty list.
fn is_set(limits: &serde_json::Value) -> bool {
    match limits {
        serde_json::Value::Object(fields) => !fields.is_empty(),
        serde_json::Value::Array(values) => !values.is_empty(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => false,
    }
}

/// What is in vhosts.
struct Importer<'a> {
    call: &'a Call,
    into: Option<&'a Name>,
}

impl Importer<'_> {
    fn vhost(&self, item: &Body) -> Result<Name, ApiError> {
        match self.into {
            Some(vhost) => Ok(vhost.clone()),
            None => Ok(item.require_text("vhost")?.into()),
        }
    }

    fn contents(&self, file: &Body, commands: &mut Vec<MetadataCommand>) -> Result<(), ApiError> {
        for parameter in items(file, "parameters")? {
            let value = parameter.require("value")?.clone();
            let component = parameter.require_text("component")?;
            // How RabbitMQ writes that there are none.
            if component == VHOST_LIMITS && !is_set(&value) {
                continue;
            }
            commands.push(MetadataCommand::PutParameter {
                vhost: self.vhost(parameter)?,
                component: component.into(),
                name: parameter.require_text("name")?.into(),
                value,
            });
        }
        for policy in items(file, "policies")? {
            let name = policy.require_text("name")?.into();
            let vhost = self.vhost(policy)?;
            commands.push(policies::put(vhost, &name, PolicyScope::User, policy)?);
        }
        for queue in items(file, "queues")? {
            commands.push(self.queue(queue)?);
        }
        for exchange in items(file, "exchanges")? {
            commands.extend(self.exchange(exchange)?);
        }
        for binding in items(file, "bindings")? {
            commands.extend(self.binding(binding)?);
        }
        Ok(())
    }

    fn queue(&self, queue: &Body) -> Result<MetadataCommand, ApiError> {
        let mut arguments = arguments(queue)?;
        // The type stands beside the arguments; RabbitMQ's own files have it in both places.
        if let Some(queue_type) = queue.get("type").and_then(serde_json::Value::as_str)
            && queue_type != "classic"
            && arguments.get("x-queue-type").is_none()
        {
            let queue_type = bytes::Bytes::copy_from_slice(queue_type.as_bytes());
            arguments.insert("x-queue-type", broker::value::Value::LongStr(queue_type));
        }
        Ok(MetadataCommand::DeclareQueue {
            vhost: self.vhost(queue)?,
            name: queue.require_text("name")?.into(),
            durable: queue.switch("durable")?,
            exclusive_owner: None,
            auto_delete: queue.switch("auto_delete")?,
            arguments,
            user: self.call.user().name.clone(),
            home: rand::random(),
            // Names of the server's making may be in the file.
            server_named: true,
            id: None,
        })
    }

    /// Nothing for what every vhost has.
    fn exchange(&self, exchange: &Body) -> Result<Option<MetadataCommand>, ApiError> {
        let name = exchange.require_text("name")?;
        if name.is_empty() || name.starts_with("amq.") {
            return Ok(None);
        }
        Ok(Some(MetadataCommand::DeclareExchange {
            vhost: self.vhost(exchange)?,
            name: name.into(),
            exchange_type: exchange.require_text("type")?.into(),
            durable: exchange.switch("durable")?,
            auto_delete: exchange.switch("auto_delete")?,
            internal: exchange.switch("internal")?,
            arguments: arguments(exchange)?,
        }))
    }

    /// Nothing for the implicit bindings of the default exchange.
    fn binding(&self, binding: &Body) -> Result<Option<MetadataCommand>, ApiError> {
        let source = binding.require_text("source")?;
        if source.is_empty() {
            return Ok(None);
        }
        let name = Name::from(binding.require_text("destination")?);
        let destination = match binding.require_text("destination_type")? {
            "queue" => Destination::Queue(name),
            "exchange" => Destination::Exchange(name),
            other => {
                return Err(ApiError::bad(format!(
                    "destination_type '{other}' is neither queue nor exchange"
                )));
            }
        };
        let routing_key = binding.require_text("routing_key")?;
        Ok(Some(MetadataCommand::Bind {
            vhost: self.vhost(binding)?,
            source: source.into(),
            destination,
            routing_key: bytes::Bytes::copy_from_slice(routing_key.as_bytes()),
            arguments: arguments(binding)?,
        }))
    }
}

fn arguments(item: &Body) -> Result<Arguments, ApiError> {
    match item.get("arguments") {
        Some(serde_json::Value::Object(fields)) => {
            to_arguments(fields).ok_or_else(|| ApiError::bad("null_not_allowed"))
        }
        _ => Ok(Arguments::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_form_is_found() {
        let form = b"--x1\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x1\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\
            Content-Type: application/json\r\n\r\n{\"a\":1}\r\n--x1--\r\n";
        assert_eq!(form_file(form), Some(&b"{\"a\":1}"[..]));
        assert_eq!(form_file(b"{}"), None);
        assert_eq!(form_file(b"--x\r\n--x\r\n"), None);
    }
}
