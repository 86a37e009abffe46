//! A file of definitions as metadata commands.
//!
//! The whole file is read before anything is carried out. Objects are parsed one at a time, so that a large file costs little more
//! than its own size and its commands'.

use crate::error::policy_refusal;
use crate::fields::{Fields as _, Object, is_set, is_too_deep};
use crate::{Error, objects};
use base::Name;
use broker::auth::CredentialValidator;
use broker::command::{Destination, HashAlgorithm, MetadataCommand};
use broker::json::Json;
use broker::limits::{UserLimits, VhostLimits};
use broker::metadata::{IMPORTED_DEFINITIONS_HASH, INTERNAL_CLUSTER_ID};
use broker::policy::PolicyScope;
use broker::value::Value;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Component of vhost limits among parameters.
const VHOST_LIMITS: &str = "vhost-limits";

/// What is to be done with a file.
pub struct Context<'a> {
    /// Everything goes into this vhost, and what belongs to no vhost is left out; `None` for where the file says.
    pub vhost: Option<&'a Name>,
    /// Who imports, for listings of queues.
    pub user: &'a Name,
    /// Random numbers: where queues live, and salts of passwords in clear.
    pub random: &'a mut dyn FnMut() -> u32,
    /// What passwords in clear have to be like.
    pub validator: &'a CredentialValidator,
}

/// The commands that make what a file says, in the order in which they need each other. They are for
/// [`Metadata::import`](broker::metadata::Metadata::import).
///
/// # Errors
/// The file, or the first object of it that cannot be used.
pub fn read(file: &[u8], context: &mut Context<'_>) -> Result<Vec<MetadataCommand>, Error> {
    // Some editors begin a file so.
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let lists: BTreeMap<String, &RawValue> =
        serde_json::from_slice(file).map_err(|_| Error::invalid("failed_to_parse_json"))?;
    let file = File { lists };
    let mut import = Import {
        context,
        hashing: file.hashing()?,
        commands: Vec::new(),
    };
    if import.context.vhost.is_none() {
        if file.text("rabbitmq_definition_format")?.as_deref() == Some("single_virtual_host") {
            return Err(Error::invalid(
                "these are the definitions of one virtual host: import them into a virtual host",
            ));
        }
        file.each("users", |user| import.user(user))?;
        file.each("vhosts", |vhost| import.vhost(vhost))?;
        file.each("permissions", |entry| import.permissions(entry))?;
    }
    file.each("exchanges", |exchange| import.exchange(exchange))?;
    if import.context.vhost.is_none() {
        file.each("topic_permissions", |entry| import.topic_permissions(entry))?;
        file.each("global_parameters", |item| import.global_parameter(item))?;
    }
    file.each("parameters", |parameter| import.parameter(parameter))?;
    file.each("policies", |policy| import.policy(policy))?;
    file.each("queues", |queue| import.queue(queue))?;
    file.each("bindings", |binding| import.binding(binding))?;
    Ok(import.commands)
}

/// The lists of a file, not yet looked at.
struct File<'f> {
    lists: BTreeMap<String, &'f RawValue>,
}

impl File<'_> {
    fn text(&self, key: &str) -> Result<Option<String>, Error> {
        let Some(value) = self.lists.get(key) else {
            return Ok(None);
        };
        serde_json::from_str(value.get()).map_err(|_| Error::NotText(key.to_owned()))
    }

    /// Before 3.6 hashes were MD5 and did not say so.
    fn hashing(&self) -> Result<HashAlgorithm, Error> {
        let version = match self.text("rabbitmq_version")? {
            Some(version) => Some(version),
            None => self.text("rabbit_version")?,
        };
        let Some(version) = version else {
            return Ok(objects::HASHING_DEFAULT);
        };
        let mut parts = version.split('.').map(str::parse::<u32>);
        Ok(match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (3, 6) => HashAlgorithm::Md5,
            _ => objects::HASHING_DEFAULT,
        })
    }

    /// Reads a list item by item; no list is an empty one.
    fn each(
        &self,
        key: &str,
        mut read: impl FnMut(&Object) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(list) = self.lists.get(key) else {
            return Ok(());
        };
        let items: Option<Vec<&RawValue>> = serde_json::from_str(list.get())
            .map_err(|_| Error::invalid(format!("{key} must be a list")))?;
        for (index, item) in items.into_iter().flatten().enumerate() {
            let place = |name: &str, error| {
                let number = index + 1;
                let object = if name.is_empty() {
                    format!("{key}, number {number}")
                } else {
                    format!("{key}, number {number} ('{name}')")
                };
                Error::In {
                    object,
                    error: Box::new(error),
                }
            };
            let object: Object = serde_json::from_str(item.get())
                .map_err(|_| place("", Error::invalid("should be an object")))?;
            if is_too_deep(&object) {
                return Err(place("", Error::invalid("is nested too deeply")));
            }
            let name = object.get("name").and_then(Json::as_str).unwrap_or("");
            read(&object).map_err(|error| match error {
                // Texts that RabbitMQ has as well say all they need.
                Error::Invalid(_) | Error::NotBase64(_) | Error::Broker(_) => error,
                Error::KeyMissing(_)
                | Error::NotText(_)
                | Error::NotBoolean(_)
                | Error::In { .. } => place(name, error),
            })?;
        }
        Ok(())
    }
}

struct Import<'a, 'c> {
    context: &'a mut Context<'c>,
    /// What hashes are made with that do not say so.
    hashing: HashAlgorithm,
    commands: Vec<MetadataCommand>,
}

impl Import<'_, '_> {
    fn vhost_of(&self, item: &Object) -> Result<Name, Error> {
        match self.context.vhost {
            Some(vhost) => Ok(vhost.clone()),
            None => Ok(item.require_text("vhost")?.into()),
        }
    }

    fn user(&mut self, user: &Object) -> Result<(), Error> {
        let name = Name::from(user.require_text("name")?);
        let password = user.get("password").and_then(Json::as_str);
        if password.is_some() && self.context.validator.check(password).is_err() {
            return Err(Error::invalid("credential_validation_failed"));
        }
        let salt = (self.context.random)();
        self.commands
            .push(objects::user(&name, user, self.hashing, salt)?);
        if let Some(limits) = user.get("limits").filter(|limits| is_set(limits)) {
            self.commands.push(MetadataCommand::SetUserLimits {
                user: name,
                limits: UserLimits::from_json(limits)?,
            });
        }
        Ok(())
    }

    /// Since 3.8 metadata is an object of its own; before, and in listings, it stands beside the name.
    fn vhost(&mut self, vhost: &Object) -> Result<(), Error> {
        let name = Name::from(vhost.require_text("name")?);
        let mut described = vhost.clone();
        if let Some(Json::Object(metadata)) = vhost.get("metadata") {
            described.extend(metadata.clone());
        }
        self.commands.push(MetadataCommand::CreateVhost {
            name: name.clone(),
            metadata: objects::vhost_metadata(&described)?,
        });
        if let Some(limits) = vhost.get("limits").filter(|limits| is_set(limits)) {
            self.commands.push(MetadataCommand::SetVhostLimits {
                vhost: name,
                limits: VhostLimits::from_json(limits)?,
            });
        }
        Ok(())
    }

    fn permissions(&mut self, entry: &Object) -> Result<(), Error> {
        let (vhost, user) = (entry.require_text("vhost")?, entry.require_text("user")?);
        let command = objects::permissions(vhost.into(), user.into(), entry)?;
        self.commands.push(command);
        Ok(())
    }

    fn topic_permissions(&mut self, entry: &Object) -> Result<(), Error> {
        let (vhost, user) = (entry.require_text("vhost")?, entry.require_text("user")?);
        let command = objects::topic_permissions(vhost.into(), user.into(), entry)?;
        self.commands.push(command);
        Ok(())
    }

    /// The identity of another cluster stays with it.
    fn global_parameter(&mut self, parameter: &Object) -> Result<(), Error> {
        let name = parameter.require_text("name")?;
        if ![INTERNAL_CLUSTER_ID, IMPORTED_DEFINITIONS_HASH].contains(&name) {
            self.commands.push(MetadataCommand::PutGlobalParameter {
                name: name.into(),
                value: parameter.require("value")?.clone(),
            });
        }
        Ok(())
    }

    fn parameter(&mut self, parameter: &Object) -> Result<(), Error> {
        let value = parameter.require("value")?;
        let component = parameter.require_text("component")?;
        // How RabbitMQ writes that there are none.
        if component == VHOST_LIMITS && !is_set(value) {
            return Ok(());
        }
        self.commands.push(MetadataCommand::PutParameter {
            vhost: self.vhost_of(parameter)?,
            component: component.into(),
            name: parameter.require_text("name")?.into(),
            value: value.clone(),
        });
        Ok(())
    }

    fn policy(&mut self, policy: &Object) -> Result<(), Error> {
        let name = policy.require_text("name")?.into();
        let vhost = self.vhost_of(policy)?;
        let command = objects::policy(vhost.clone(), &name, PolicyScope::User, policy);
        self.commands.push(command.map_err(|error| match error {
            Error::Broker(error) => Error::Invalid(policy_refusal(&vhost, &name, &error)),
            Error::KeyMissing(_)
            | Error::NotText(_)
            | Error::NotBoolean(_)
            | Error::NotBase64(_)
            | Error::Invalid(_)
            | Error::In { .. } => error,
        })?);
        Ok(())
    }

    fn queue(&mut self, queue: &Object) -> Result<(), Error> {
        let mut arguments = queue.arguments()?;
        // The type stands beside the arguments; RabbitMQ's own files have it in both places.
        if let Some(queue_type) = queue.get("type").and_then(Json::as_str)
            && arguments.get("x-queue-type").is_none()
        {
            let queue_type = Bytes::copy_from_slice(queue_type.as_bytes());
            arguments.insert("x-queue-type", Value::LongStr(queue_type));
        }
        let (name, home) = (queue.require_text("name")?, (self.context.random)());
        self.commands.push(MetadataCommand::DeclareQueue {
            vhost: self.vhost_of(queue)?,
            name: name.into(),
            durable: queue.switch("durable")?,
            exclusive_owner: None,
            auto_delete: queue.switch("auto_delete")?,
            arguments,
            user: self.context.user.clone(),
            home: home as u16,
            // Names of the server's making may be in the file.
            server_named: name.starts_with("amq."),
            id: None,
        });
        Ok(())
    }

    /// Nothing for what every vhost has.
    fn exchange(&mut self, exchange: &Object) -> Result<(), Error> {
        let name = exchange.require_text("name")?;
        if name.is_empty() || name.starts_with("amq.") {
            return Ok(());
        }
        self.commands.push(MetadataCommand::DeclareExchange {
            vhost: self.vhost_of(exchange)?,
            name: name.into(),
            exchange_type: exchange.require_text("type")?.into(),
            durable: exchange.switch("durable")?,
            auto_delete: exchange.switch("auto_delete")?,
            internal: exchange.switch("internal")?,
            arguments: exchange.arguments()?,
            history: None,
        });
        Ok(())
    }

    /// Nothing for the implicit bindings of the default exchange.
    fn binding(&mut self, binding: &Object) -> Result<(), Error> {
        let source = binding.require_text("source")?;
        if source.is_empty() {
            return Ok(());
        }
        let name = Name::from(binding.require_text("destination")?);
        let destination = match binding.require_text("destination_type")? {
            "queue" => Destination::Queue(name),
            "exchange" => Destination::Exchange(name),
            other => {
                return Err(Error::invalid(format!(
                    "destination_type '{other}' is neither queue nor exchange"
                )));
            }
        };
        let routing_key = binding.require_text("routing_key")?;
        self.commands.push(MetadataCommand::Bind {
            vhost: self.vhost_of(binding)?,
            source: source.into(),
            destination,
            routing_key: Bytes::copy_from_slice(routing_key.as_bytes()),
            arguments: binding.arguments()?,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::DEPTH_MAX;
    use serde_json::json;

    fn read_into(file: &Json, vhost: Option<&Name>) -> Result<Vec<MetadataCommand>, String> {
        let mut context = Context {
            vhost,
            user: &"u".into(),
            random: &mut || 7,
            validator: &CredentialValidator::MinLength(3),
        };
        read(file.to_string().as_bytes(), &mut context).map_err(|error| error.to_string())
    }

    #[test]
    fn passwords_in_clear_are_validated_and_hashes_are_not() {
        let file =
            |password: &str| json!({"users": [{"name": "u", "password": password, "tags": ""}]});
        assert!(read_into(&file("long"), None).is_ok());
        let refused = read_into(&file("ab"), None).unwrap_err();
        assert!(
            refused.contains("credential_validation_failed"),
            "{refused}"
        );
        assert!(!refused.contains("ab\""), "{refused}");
        let hashed = json!({"users": [{"name": "u", "password_hash": "", "tags": ""}]});
        assert!(read_into(&hashed, None).is_ok());
    }

    #[test]
    fn hashes_of_old_files_are_md5() {
        let user =
            json!([{"name": "u", "password_hash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "tags": ""}]);
        for (version, expected) in [
            ("3.5.7", HashAlgorithm::Md5),
            ("2.8.7", HashAlgorithm::Md5),
            ("3.6.0", HashAlgorithm::Sha256),
            ("4.3.6", HashAlgorithm::Sha256),
        ] {
            let file = json!({"rabbit_version": version, "users": user});
            let commands = read_into(&file, None).unwrap();
            let MetadataCommand::PutUser { password_hash, .. } = &commands[0] else {
                panic!("{commands:?}");
            };
            assert_eq!(password_hash.as_ref().unwrap().algorithm, expected);
        }
    }

    #[test]
    fn the_place_of_what_is_wrong_is_told() {
        let refused = |file| read_into(&file, None).unwrap_err();
        assert_eq!(
            refused(json!({"queues": [{"name": "a", "vhost": "/"}, {"name": "b"}]})),
            "queues, number 2 ('b'): [{key_missing,vhost}]"
        );
        assert_eq!(refused(json!({"queues": {}})), "queues must be a list");
        assert_eq!(
            refused(json!({"queues": ["x"]})),
            "queues, number 1: should be an object"
        );
        assert_eq!(refused(json!([])), "failed_to_parse_json");
        assert_eq!(
            refused(json!({"rabbitmq_definition_format": "single_virtual_host"})),
            "these are the definitions of one virtual host: import them into a virtual host"
        );
    }

    #[test]
    fn only_what_is_in_vhosts_goes_into_a_vhost() {
        let file = json!({
            "users": [{}],
            "vhosts": [{"name": "a"}],
            "queues": [{"name": "q", "vhost": "a"}],
        });
        let commands = read_into(&file, Some(&"b".into())).unwrap();
        assert_eq!(commands.len(), 1);
        assert!(
            matches!(&commands[0], MetadataCommand::DeclareQueue { vhost, .. } if vhost == "b")
        );
    }

    #[test]
    fn a_deep_object_is_refused() {
        let deep = (0..=DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
        let file = json!({"queues": [{"name": "q", "vhost": "/", "arguments": {"a": deep}}]});
        assert!(read_into(&file, None).unwrap_err().contains("too deeply"));
    }

    #[test]
    fn empty_lists_stand_for_nothing() {
        let file = json!({
            "vhosts": [{"name": "/", "limits": []}],
            "queues": null,
            "bindings": [],
            "parameters": [{"vhost": "/", "component": "vhost-limits", "name": "limits", "value": []}],
        });
        assert_eq!(read_into(&file, None).unwrap().len(), 1);
    }
}
