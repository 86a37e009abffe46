//! Permissions and topic permissions.

use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Listing};
use base::Name;
use broker::auth::{Permission, TopicPermission, User};
use broker::command::MetadataCommand;
use broker::metadata::Metadata;
use definitions::objects;
use hyper::Method;
use std::sync::Arc;

/// A user's permission in a vhost.
pub(crate) fn item(user: &Name, vhost: &Name, entry: &Permission) -> Object {
    object! {
        "user" => user,
        "vhost" => vhost,
        "configure" => entry.configure.source().to_owned(),
        "write" => entry.write.source().to_owned(),
        "read" => entry.read.source().to_owned(),
    }
}

/// A user's topic permission on an exchange.
pub(crate) fn topic_item(
    user: &Name,
    vhost: &Name,
    exchange: &Name,
    entry: &TopicPermission,
) -> Object {
    object! {
        "user" => user,
        "vhost" => vhost,
        "exchange" => exchange,
        "write" => entry.write.source().to_owned(),
        "read" => entry.read.source().to_owned(),
    }
}

/// All permissions that pass, by vhost and user.
pub(crate) fn all(metadata: &Metadata, keep: impl Fn(&Name, &Name) -> bool) -> Vec<Object> {
    let mut found: Vec<_> = metadata
        .users()
        .flat_map(|user| {
            user.permissions()
                .map(|(vhost, entry)| (vhost, &user.name, entry))
        })
        .filter(|(vhost, user, _)| keep(vhost, user))
        .collect();
    found.sort_unstable_by_key(|(vhost, user, _)| (*vhost, *user));
    found
        .into_iter()
        .map(|(vhost, user, entry)| item(user, vhost, entry))
        .collect()
}

/// All topic permissions that pass, by vhost, user and exchange.
pub(crate) fn all_topics(metadata: &Metadata, keep: impl Fn(&Name, &Name) -> bool) -> Vec<Object> {
    let mut found: Vec<_> = metadata
        .users()
        .flat_map(|user| {
            user.topic_permissions()
                .map(|(vhost, exchange, entry)| (vhost, &user.name, exchange, entry))
        })
        .filter(|(vhost, user, ..)| keep(vhost, user))
        .collect();
    found.sort_unstable_by_key(|(vhost, user, exchange, _)| (*vhost, *user, *exchange));
    found
        .into_iter()
        .map(|(vhost, user, exchange, entry)| topic_item(user, vhost, exchange, entry))
        .collect()
}

fn shown(call: &Call, items: Vec<Object>) -> Outcome {
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

pub(crate) async fn list(call: Call) -> Outcome {
    shown(&call, all(&call.metadata, |_, _| true))
}

pub(crate) async fn of_user(call: Call) -> Outcome {
    let name = expect_user(&call, 0)?.name.clone();
    shown(&call, all(&call.metadata, |_, user| *user == name))
}

pub(crate) async fn of_vhost(call: Call) -> Outcome {
    let name = call.vhost()?.name.clone();
    shown(&call, all(&call.metadata, |vhost, _| *vhost == name))
}

pub(crate) async fn topics(call: Call) -> Outcome {
    shown(&call, all_topics(&call.metadata, |_, _| true))
}

pub(crate) async fn topics_of_user(call: Call) -> Outcome {
    let name = expect_user(&call, 0)?.name.clone();
    shown(&call, all_topics(&call.metadata, |_, user| *user == name))
}

pub(crate) async fn topics_of_vhost(call: Call) -> Outcome {
    let name = call.vhost()?.name.clone();
    shown(&call, all_topics(&call.metadata, |vhost, _| *vhost == name))
}

fn expect_user(call: &Call, index: usize) -> Result<&Arc<User>, ApiError> {
    call.metadata
        .user(call.parameter(index))
        .ok_or(ApiError::NoObject)
}

pub(crate) async fn one(call: Call) -> Outcome {
    let (vhost, user) = (call.parameter(0).clone(), call.parameter(1).clone());
    let known = call
        .metadata
        .user(&user)
        .and_then(|user| user.permission(&vhost));
    match call.method {
        Method::PUT => {
            let created = known.is_none();
            let command = objects::permissions(
                vhost,
                user,
                &call.body_with(&["configure", "write", "read"])?,
            )?;
            call.propose(command).await?;
            Ok(Answer::put(created))
        }
        Method::DELETE => {
            known.ok_or(ApiError::NoObject)?;
            call.propose(MetadataCommand::ClearPermissions { vhost, user })
                .await?;
            Ok(Answer::NoContent)
        }
        _ => {
            let entry = known.ok_or(ApiError::NoObject)?;
            let item = item(&user, &vhost, entry);
            Ok(Columns::new(&call.query).apply(item).into())
        }
    }
}

pub(crate) async fn topic(call: Call) -> Outcome {
    let (vhost, user) = (call.parameter(0).clone(), call.parameter(1).clone());
    let known = topics_in(&call, &vhost, &user);
    match call.method {
        Method::PUT => {
            let body = call.body_with(&["exchange", "write", "read"])?;
            let exchange = body.require_text("exchange")?;
            let is_there = call
                .metadata
                .vhost(&vhost)
                .is_none_or(|vhost| vhost.exchange(exchange).is_some());
            if !is_there {
                return Err(ApiError::BadRequest(Json::List(vec![
                    "no_such_exchange".into(),
                    exchange.to_owned().into(),
                ])));
            }
            let created = known.is_empty();
            let command = objects::topic_permissions(vhost, user, &body)?;
            call.propose(command).await?;
            Ok(Answer::put(created))
        }
        _ if known.is_empty() => Err(ApiError::NoObject),
        Method::DELETE => clear_topics(&call, vhost, user, None).await,
        _ => shown(&call, known),
    }
}

/// Compat: the exchange only matters to what is deleted.
pub(crate) async fn topic_exchange(call: Call) -> Outcome {
    let [vhost, user, exchange] = [0, 1, 2].map(|index| call.parameter(index).clone());
    let known = topics_in(&call, &vhost, &user);
    match call.method {
        _ if known.is_empty() => Err(ApiError::NoObject),
        Method::DELETE => clear_topics(&call, vhost, user, Some(exchange)).await,
        _ => shown(&call, known),
    }
}

fn topics_in(call: &Call, vhost: &Name, user: &Name) -> Vec<Object> {
    all_topics(&call.metadata, |own_vhost, own_user| {
        own_vhost == vhost && own_user == user
    })
}

async fn clear_topics(call: &Call, vhost: Name, user: Name, exchange: Option<Name>) -> Outcome {
    call.propose(MetadataCommand::ClearTopicPermissions {
        vhost,
        user,
        exchange,
    })
    .await?;
    Ok(Answer::NoContent)
}
