//! Runtime parameters and global parameters.
//!
//! Policies, operator policies and vhost limits are kept as what they are; RabbitMQ shows them as parameters as well, and so
//! does this.

use crate::access;
use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Listing};
use base::Name;
use broker::command::MetadataCommand;
use broker::limits::VhostLimits;
use broker::policy::PolicyScope;
use broker::vhost::Vhost;
use hyper::Method;

/// A parameter: component, name and value.
pub(crate) type Parameter = (&'static str, Name, serde_json::Value);

/// All parameters of a vhost, by component.
pub(crate) fn of_vhost(vhost: &Vhost) -> Vec<Parameter> {
    let mut found = Vec::new();
    for scope in [PolicyScope::Operator, PolicyScope::User] {
        let policies = vhost.policies(scope).iter();
        found.extend(
            policies.map(|policy| (scope.component(), policy.name.clone(), policy.to_json())),
        );
    }
    if vhost.limits != VhostLimits::default() {
        found.push(("vhost-limits", "limits".into(), vhost.limits.to_json()));
    }
    let schemas = vhost.schemas();
    found.extend(schemas.map(|(name, schema)| {
        let value = schema.source().clone();
        (broker::schema::COMPONENT, name.clone(), value)
    }));
    found
}

fn item(vhost: &Name, (component, name, value): &Parameter) -> Object {
    object! {
        "value" => Json::from(value),
        "vhost" => vhost,
        "component" => *component,
        "name" => name,
    }
}

pub(crate) async fn list(call: Call) -> Outcome {
    let component = call.parameters.first();
    let vhosts = match call.parameters.get(1) {
        None => access::vhosts(&call.metadata, call.user()),
        Some(name) => {
            let vhost = call.metadata.vhost(name).ok_or(ApiError::NoObject)?;
            if !access::may_enter(call.user(), name) {
                return Err(ApiError::NotFound("Not Found".to_owned()));
            }
            vec![vhost]
        }
    };
    let mut items = Vec::new();
    for vhost in vhosts {
        let wanted = of_vhost(vhost)
            .into_iter()
            .filter(|(own, ..)| component.is_none_or(|component| *component == **own));
        items.extend(wanted.map(|parameter| item(&vhost.name, &parameter)));
    }
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

pub(crate) async fn one(call: Call) -> Outcome {
    let [component, vhost_name, name] = [0, 1, 2].map(|index| call.parameter(index).clone());
    let vhost = call
        .metadata
        .vhost(&vhost_name)
        .ok_or_else(|| match call.method {
            Method::PUT => ApiError::NotFound("vhost_not_found".to_owned()),
            _ => ApiError::NoObject,
        })?;
    if !access::may_enter(call.user(), &vhost_name) {
        return Err(ApiError::NotFound("Not Found".to_owned()));
    }
    let known = of_vhost(vhost)
        .into_iter()
        .find(|(own, own_name, _)| component == **own && *own_name == name);
    match call.method {
        Method::PUT => {
            let value = call.body()?.require("value")?.clone();
            call.propose(MetadataCommand::PutParameter {
                vhost: vhost_name,
                component,
                name,
                value,
            })
            .await?;
            Ok(Answer::put(known.is_none()))
        }
        Method::DELETE => {
            known.ok_or(ApiError::NoObject)?;
            call.propose(MetadataCommand::DeleteParameter {
                vhost: vhost_name,
                component,
                name,
            })
            .await?;
            Ok(Answer::NoContent)
        }
        _ => {
            let parameter = known.ok_or(ApiError::NoObject)?;
            let item = item(&vhost_name, &parameter);
            Ok(Columns::new(&call.query).apply(item).into())
        }
    }
}

/// A global parameter.
pub(crate) fn global_item(name: &Name, value: &serde_json::Value) -> Object {
    object! { "name" => name, "value" => Json::from(value) }
}

pub(crate) async fn global_list(call: Call) -> Outcome {
    let items: Vec<_> = call
        .metadata
        .global_parameters()
        .map(|(name, value)| global_item(name, value))
        .collect();
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

pub(crate) async fn global(call: Call) -> Outcome {
    let name = call.parameter(0).clone();
    let known = call.metadata.global_parameter(&name);
    match call.method {
        Method::PUT => {
            let value = call.body()?.require("value")?.clone();
            let created = known.is_none();
            call.propose(MetadataCommand::PutGlobalParameter { name, value })
                .await?;
            Ok(Answer::put(created))
        }
        Method::DELETE => {
            known.ok_or(ApiError::NoObject)?;
            call.propose(MetadataCommand::DeleteGlobalParameter { name })
                .await?;
            Ok(Answer::NoContent)
        }
        _ => Ok(global_item(&name, known.ok_or(ApiError::NoObject)?).into()),
    }
}
