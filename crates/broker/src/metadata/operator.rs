//! Commands by which operators steer vhosts: their metadata, policies, parameters and limits. All of them are durable.
//!
//! A runtime parameter is a JSON value that belongs to a component of the broker. Policies, operator policies and vhost limits
//! are such values for RabbitMQ's tools, and can be set as parameters; here they are kept as what they are.

use super::declaration::QueueDeclaration;
use super::rules::FALLBACK_QUEUE_TYPE;
use super::{Applied, Metadata, MetadataEvent, Origin};
use crate::Error;
use crate::command::MetadataCommand;
use crate::json::Json;
use crate::limits::{UserLimits, VhostLimits};
use crate::policy::{ALTERNATE_EXCHANGE, DELAYED_PUBLISH, Policy, PolicyScope};
use crate::schema::{self, Schema};
use crate::value::{Arguments, Value};
use crate::vhost::Vhost;
use crate::vhost_metadata::{VhostChanges, VhostMetadata};
use base::Name;
use bytes::Bytes;
use std::sync::Arc;

/// The component of vhost limits, and the only name that such a parameter may have.
const VHOST_LIMITS: (&str, &str) = ("vhost-limits", "limits");

/// The argument that chooses the type of a queue.
pub(super) const QUEUE_TYPE: &str = "x-queue-type";

impl Metadata {
    /// Does a command of an operator; `dispatch` sends no others here.
    pub(super) fn change_operation(
        &mut self,
        command: &MetadataCommand,
        origin: Origin,
    ) -> Result<Applied, Error> {
        use MetadataCommand as C;
        match command {
            C::CreateVhost { name, metadata } => self.create_vhost(name, metadata, origin),
            C::UpdateVhost { name, changes } => self.update_vhost(name, changes),
            C::PutPolicy {
                vhost,
                scope,
                policy,
            } => self.put_policy(vhost, *scope, policy, origin),
            C::DeletePolicy { vhost, scope, name } => self.delete_policy(vhost, *scope, name),
            C::PutParameter {
                vhost,
                component,
                name,
                value,
            } => self.put_parameter(vhost, component, name, value, origin),
            C::DeleteParameter {
                vhost,
                component,
                name,
            } => self.delete_parameter(vhost, component, name),
            C::PutGlobalParameter { name, value } => Ok(self.put_global_parameter(name, value)),
            C::DeleteGlobalParameter { name } => self.delete_global_parameter(name),
            C::SetVhostLimits { vhost, limits } => self.set_vhost_limits(vhost, *limits),
            C::SetUserLimits { user, limits } => self.set_user_limits(user, *limits),
            C::DeleteVhost { .. }
            | C::DeclareExchange { .. }
            | C::DeleteExchange { .. }
            | C::CreateSystemExchange { .. }
            | C::DeclareQueue { .. }
            | C::DeleteQueue { .. }
            | C::SetQueuePaused { .. }
            | C::DeleteExclusiveQueues { .. }
            | C::Bind { .. }
            | C::Unbind { .. }
            | C::PutUser { .. }
            | C::DeleteUser { .. }
            | C::SetPermissions { .. }
            | C::ClearPermissions { .. }
            | C::SetTopicPermissions { .. }
            | C::ClearTopicPermissions { .. } => {
                unreachable!("dispatch sends only operators' commands here")
            }
        }
        .map(|mut applied| {
            if !applied.events.is_empty() && applied.log.is_empty() {
                applied.log.push(command.clone());
            }
            applied
        })
    }

    /// Creating what exists succeeds and changes nothing.
    fn create_vhost(
        &mut self,
        name: &Name,
        metadata: &VhostMetadata,
        origin: Origin,
    ) -> Result<Applied, Error> {
        let mut applied = Applied::nothing();
        if self.vhosts.contains_key(name) {
            return Ok(applied);
        }
        metadata.check()?;
        let mut metadata = metadata.clone();
        if origin == Origin::Request {
            self.check_vhost_limit(name)?;
            let queue_type = &self.rules.default_queue_type;
            metadata
                .default_queue_type
                .get_or_insert_with(|| queue_type.clone());
        }
        let vhost = Vhost::new(name.clone(), metadata.clone());
        self.vhosts.insert_mut(name.clone(), Arc::new(vhost));
        applied.log.push(MetadataCommand::CreateVhost {
            name: name.clone(),
            metadata,
        });
        applied.events.push(MetadataEvent::VhostCreated {
            vhost: name.clone(),
        });
        if origin == Origin::Request {
            self.furnish(name, &mut applied)?;
        }
        Ok(applied)
    }

    fn check_vhost_limit(&self, name: &Name) -> Result<(), Error> {
        match self.rules.vhosts_max {
            Some(max) if self.vhosts.size() as u64 >= max => Err(Error::LimitReached(
                format!("cannot create vhost '{name}': vhost limit of {max} is reached").into(),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Gives a new vhost the limits, operator policies and users that the configuration says.
    fn furnish(&mut self, name: &Name, applied: &mut Applied) -> Result<(), Error> {
        let rules = Arc::clone(&self.rules);
        let mut commands = Vec::new();
        let limits = rules.limits_of(name);
        if limits != VhostLimits::default() {
            commands.push(MetadataCommand::SetVhostLimits {
                vhost: name.clone(),
                limits,
            });
        }
        commands.extend(
            rules
                .policies_of(name)
                .map(|policy| MetadataCommand::PutPolicy {
                    vhost: name.clone(),
                    scope: PolicyScope::Operator,
                    policy: Arc::clone(policy),
                }),
        );
        for command in commands {
            // As from the log: the operator who wrote the configuration is not bound by its limits.
            let furnished = self.change_operation(&command, Origin::Log)?;
            applied.log.extend(furnished.log);
            applied.events.extend(furnished.events);
        }
        for user in rules.users_of(name) {
            let is_new = self.user(&user.name).is_none();
            let make = MetadataCommand::PutUser {
                name: user.name.clone(),
                password_hash: user.password_hash.clone(),
                tags: user.tags.clone(),
            };
            let allow = MetadataCommand::SetPermissions {
                vhost: name.clone(),
                user: user.name.clone(),
                configure: user.configure.clone(),
                write: user.write.clone(),
                read: user.read.clone(),
            };
            for command in is_new.then_some(make).into_iter().chain([allow]) {
                let furnished = self.change_user(&command)?;
                applied.log.extend(furnished.log);
                applied.events.extend(furnished.events);
            }
        }
        Ok(())
    }

    fn update_vhost(&mut self, name: &Name, changes: &VhostChanges) -> Result<Applied, Error> {
        let current = &self.expect_vhost(name)?.metadata;
        let mut metadata = current.clone();
        metadata.update(changes);
        metadata.check()?;
        let event = MetadataEvent::VhostUpdated {
            vhost: name.clone(),
        };
        let applied = Applied::changed(metadata != *current, event);
        if metadata.tracing != current.tracing {
            self.connection_version += 1;
        }
        self.vhost_mut(name).metadata = metadata;
        Ok(applied)
    }

    fn put_policy(
        &mut self,
        vhost: &Name,
        scope: PolicyScope,
        policy: &Arc<Policy>,
        origin: Origin,
    ) -> Result<Applied, Error> {
        if origin == Origin::Request {
            let count = self.vhosts().map(|vhost| vhost.policies(scope).len()).sum();
            self.check_parameter_limit(scope.component(), count)?;
        }
        let event = MetadataEvent::PolicySet {
            vhost: vhost.clone(),
            scope,
            policy: Arc::clone(policy),
        };
        let known = self.expect_vhost(vhost)?.policies(scope).get(&policy.name);
        let applied = Applied::changed(known != Some(policy), event);
        let vhost = self.vhost_mut(vhost);
        let had = vhost.has_alternate_exchange_policies();
        let had_delays = vhost.has_delay_policies();
        let had_schemas = vhost.has_schema_policies();
        let had_deduplication = vhost.has_deduplication_policies();
        vhost.policies_mut(scope).insert(Arc::clone(policy));
        if had_schemas || vhost.has_schema_policies() {
            vhost.refresh_schemas();
        }
        if had_deduplication || vhost.has_deduplication_policies() {
            vhost.refresh_deduplication();
        }
        if had_delays || policy.definition.contains_key(DELAYED_PUBLISH) {
            vhost.refresh_delays();
        }
        if had || policy.definition.contains_key(ALTERNATE_EXCHANGE) {
            vhost.refresh_alternate_exchanges();
        }
        Ok(applied)
    }

    /// Compat: at the limit RabbitMQ refuses changes of what exists as well.
    fn check_parameter_limit(&self, component: &str, count: usize) -> Result<(), Error> {
        match self.rules.parameters_max(component) {
            Some(max) if count as u64 >= max => Err(Error::validation(vec![format!(
                "component {component} is limited to {max}"
            )])),
            Some(_) | None => Ok(()),
        }
    }

    fn delete_policy(
        &mut self,
        vhost: &Name,
        scope: PolicyScope,
        name: &Name,
    ) -> Result<Applied, Error> {
        if self
            .expect_vhost(vhost)?
            .policies(scope)
            .get(name)
            .is_none()
        {
            return Err(Error::ParameterNotFound);
        }
        let event = MetadataEvent::PolicyCleared {
            vhost: vhost.clone(),
            scope,
            name: name.clone(),
        };
        let vhost = self.vhost_mut(vhost);
        let had = vhost.has_alternate_exchange_policies();
        let had_delays = vhost.has_delay_policies();
        let had_schemas = vhost.has_schema_policies();
        let had_deduplication = vhost.has_deduplication_policies();
        vhost.policies_mut(scope).remove(name);
        if had_schemas {
            vhost.refresh_schemas();
        }
        if had_deduplication {
            vhost.refresh_deduplication();
        }
        if had_delays {
            vhost.refresh_delays();
        }
        if had {
            vhost.refresh_alternate_exchanges();
        }
        Ok(Applied::changed(true, event))
    }

    fn put_parameter(
        &mut self,
        vhost: &Name,
        component: &Name,
        name: &Name,
        value: &Json,
        origin: Origin,
    ) -> Result<Applied, Error> {
        match component.as_str() {
            "policy" => Err(Error::Invalid(
                "policies may not be set using this method".into(),
            )),
            "operator_policy" => {
                let scope = PolicyScope::Operator;
                let policy = match origin {
                    Origin::Request => Policy::from_json(scope, name, value)?,
                    Origin::Log => Policy::restore(name, value)?,
                };
                self.put_policy(vhost, scope, &Arc::new(policy), origin)
            }
            component if component == VHOST_LIMITS.0 && *name == VHOST_LIMITS.1 => {
                self.set_vhost_limits(vhost, VhostLimits::from_json(value)?)
            }
            schema::COMPONENT => {
                let schema = match origin {
                    Origin::Request => {
                        let count = self.vhosts().map(|vhost| vhost.schemas().count()).sum();
                        self.check_parameter_limit(schema::COMPONENT, count)?;
                        Schema::compile(value)
                            .map_err(|problem| Error::validation(vec![problem]))?
                    }
                    Origin::Log => Schema::restore(value),
                };
                self.put_schema(vhost, name, Arc::new(schema))
            }
            component => Err(Error::validation(vec![format!(
                "component {component} not found"
            )])),
        }
    }

    fn delete_parameter(
        &mut self,
        vhost: &Name,
        component: &Name,
        name: &Name,
    ) -> Result<Applied, Error> {
        match component.as_str() {
            "policy" => Err(Error::Invalid(
                "policies may not be cleared using this method".into(),
            )),
            "operator_policy" => self.delete_policy(vhost, PolicyScope::Operator, name),
            component if component == VHOST_LIMITS.0 && *name == VHOST_LIMITS.1 => {
                if self.expect_vhost(vhost)?.limits == VhostLimits::default() {
                    return Err(Error::ParameterNotFound);
                }
                self.set_vhost_limits(vhost, VhostLimits::default())
            }
            schema::COMPONENT => self.delete_schema(vhost, name),
            _ => Err(Error::ParameterNotFound),
        }
    }

    fn put_schema(
        &mut self,
        vhost: &Name,
        name: &Name,
        schema: Arc<Schema>,
    ) -> Result<Applied, Error> {
        let is_new = self.expect_vhost(vhost)?.schema(name) != Some(&schema);
        let event = MetadataEvent::SchemaSet {
            vhost: vhost.clone(),
            name: name.clone(),
        };
        let vhost = self.vhost_mut(vhost);
        vhost.insert_schema(name.clone(), schema);
        if vhost.has_schema_policies() {
            vhost.refresh_schemas();
        }
        Ok(Applied::changed(is_new, event))
    }

    fn delete_schema(&mut self, vhost: &Name, name: &Name) -> Result<Applied, Error> {
        if self.expect_vhost(vhost)?.schema(name).is_none() {
            return Err(Error::ParameterNotFound);
        }
        let event = MetadataEvent::SchemaCleared {
            vhost: vhost.clone(),
            name: name.clone(),
        };
        let vhost = self.vhost_mut(vhost);
        vhost.remove_schema(name);
        if vhost.has_schema_policies() {
            vhost.refresh_schemas();
        }
        Ok(Applied::changed(true, event))
    }

    fn put_global_parameter(&mut self, name: &Name, value: &Json) -> Applied {
        let is_new = self.global_parameters.get(name).map(|known| &**known) != Some(value);
        let event = MetadataEvent::GlobalParameterSet { name: name.clone() };
        self.global_parameters
            .insert_mut(name.clone(), Arc::new(value.clone()));
        Applied::changed(is_new, event)
    }

    fn delete_global_parameter(&mut self, name: &Name) -> Result<Applied, Error> {
        if !self.global_parameters.remove_mut(name) {
            return Err(Error::ParameterNotFound);
        }
        let event = MetadataEvent::GlobalParameterCleared { name: name.clone() };
        Ok(Applied::changed(true, event))
    }

    fn set_vhost_limits(&mut self, vhost: &Name, limits: VhostLimits) -> Result<Applied, Error> {
        let known = self.expect_vhost(vhost)?.limits;
        let is_new = known != limits;
        if known.publish != limits.publish {
            self.connection_version += 1;
        }
        self.vhost_mut(vhost).limits = limits;
        let event = MetadataEvent::VhostLimitsChanged {
            vhost: vhost.clone(),
        };
        Ok(Applied::changed(is_new, event))
    }

    fn set_user_limits(&mut self, user: &Name, limits: UserLimits) -> Result<Applied, Error> {
        self.check_user(user)?;
        let entry = self.user_mut(user);
        let known = std::mem::replace(&mut entry.limits, limits);
        let is_new = known != limits;
        if known.publish != limits.publish {
            self.connection_version += 1;
        }
        let event = MetadataEvent::UserLimitsChanged { user: user.clone() };
        Ok(Applied::changed(is_new, event))
    }
}

impl Metadata {
    /// The arguments of a declaration with a queue type, if they have none: the vhost's default where a queue of that type can be what is
    /// asked for, else classic. `None` if they need nothing.
    ///
    /// # Errors
    /// `VhostNotFound`
    pub(super) fn with_queue_type(
        &self,
        asked: &QueueDeclaration<'_>,
        origin: Origin,
    ) -> Result<Option<Arguments>, Error> {
        if origin == Origin::Log || asked.arguments.get(QUEUE_TYPE).is_some() {
            return Ok(None);
        }
        let default = &self.expect_vhost(asked.vhost)?.metadata.default_queue_type;
        let default = default.as_ref().unwrap_or(&self.rules.default_queue_type);
        let is_replicable = asked.durable && asked.exclusive_owner.is_none() && !asked.auto_delete;
        let queue_type = if is_replicable {
            default
        } else {
            FALLBACK_QUEUE_TYPE
        };
        let mut arguments = asked.arguments.clone();
        let queue_type = Bytes::copy_from_slice(queue_type.as_bytes());
        arguments.insert(QUEUE_TYPE, Value::LongStr(queue_type));
        Ok(Some(arguments))
    }
}

impl Applied {
    /// One event, if there was a change. `change_operation` adds the command itself to the log.
    fn changed(is_change: bool, event: MetadataEvent) -> Self {
        Self {
            events: is_change.then_some(event).into_iter().collect(),
            ..Self::nothing()
        }
    }
}
