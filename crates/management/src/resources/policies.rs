//! Policies and operator policies.

use crate::call::{Answer, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Listing};
use base::Name;
use broker::command::MetadataCommand;
use broker::policy::{Policy, PolicyScope};
use definitions::objects;
use hyper::Method;

/// A policy of a vhost.
pub(crate) fn item(vhost: &Name, policy: &Policy) -> Object {
    let definition = serde_json::Value::Object(policy.definition.clone());
    object! {
        "vhost" => vhost,
        "name" => &policy.name,
        "pattern" => policy.pattern.source().to_owned(),
        "apply-to" => policy.apply_to.as_str(),
        "definition" => Json::from(&definition),
        "priority" => Json::from(&serde_json::Value::Number(policy.priority.clone())),
    }
}

pub(crate) async fn list(call: Call) -> Outcome {
    list_of(&call, PolicyScope::User)
}

pub(crate) async fn operator_list(call: Call) -> Outcome {
    list_of(&call, PolicyScope::Operator)
}

fn list_of(call: &Call, scope: PolicyScope) -> Outcome {
    let mut items = Vec::new();
    for vhost in call.vhosts()? {
        items.extend(
            vhost
                .policies(scope)
                .iter()
                .map(|policy| item(&vhost.name, policy)),
        );
    }
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

pub(crate) async fn one(call: Call) -> Outcome {
    one_of(&call, PolicyScope::User).await
}

pub(crate) async fn operator_one(call: Call) -> Outcome {
    let disabled = call.state.settings().operator_policy_changes_disabled;
    if disabled && call.method != Method::GET && !call.is_operator() {
        return Err(ApiError::Disallowed(
            "Broker settings disallow editing of operator policies.",
        ));
    }
    one_of(&call, PolicyScope::Operator).await
}

async fn one_of(call: &Call, scope: PolicyScope) -> Outcome {
    let vhost = call.vhost()?;
    let name = call.parameter(1);
    let known = vhost.policies(scope).get(name);
    match call.method {
        Method::PUT => {
            let created = known.is_none();
            let command = objects::policy(
                vhost.name.clone(),
                name,
                scope,
                &call.body_with(&["pattern", "definition"])?,
            )?;
            call.propose(command).await?;
            Ok(Answer::put(created))
        }
        Method::DELETE => {
            known.ok_or(ApiError::NoObject)?;
            call.propose(MetadataCommand::DeletePolicy {
                vhost: vhost.name.clone(),
                scope,
                name: name.clone(),
            })
            .await?;
            Ok(Answer::NoContent)
        }
        _ => {
            let policy = known.ok_or(ApiError::NoObject)?;
            let item = item(&vhost.name, policy);
            Ok(Columns::new(&call.query).apply(item).into())
        }
    }
}
