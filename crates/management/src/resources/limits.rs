//! Limits of vhosts and of users.

use crate::access;
use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::Listing;
use broker::Error;
use broker::command::MetadataCommand;
use broker::limits::{UserLimits, VhostLimits};
use hyper::Method;

pub(crate) async fn vhost_list(call: Call) -> Outcome {
    let vhosts: Vec<_> = match (call.parameters.is_empty(), access::is_monitor(call.user())) {
        (true, true) => call.metadata.vhosts().collect(),
        (true, false) => call.vhosts()?,
        (false, _) => vec![call.watched_vhost()?],
    };
    let mut items: Vec<_> = vhosts
        .into_iter()
        .filter(|vhost| vhost.limits != VhostLimits::default())
        .map(|vhost| {
            object! { "value" => Json::from(&vhost.limits.to_json()), "vhost" => &vhost.name }
        })
        .collect();
    items.sort_by(|a, b| order(a, b, "vhost"));
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

fn order(a: &Object, b: &Object, key: &str) -> std::cmp::Ordering {
    let text = |item: &Object| item.get(key).and_then(Json::as_str).map(str::to_owned);
    text(a).cmp(&text(b))
}

/// One limit among those that are set.
fn with(
    limits: serde_json::Value,
    name: &str,
    value: Option<serde_json::Value>,
) -> serde_json::Value {
    let serde_json::Value::Object(mut limits) = limits else {
        return limits;
    };
    match value {
        Some(value) => _ = limits.insert(name.to_owned(), value),
        None => _ = limits.remove(name),
    }
    serde_json::Value::Object(limits)
}

pub(crate) async fn vhost(call: Call) -> Outcome {
    let (name, value) = (&call.vhost()?.name, value(&call)?);
    call.propose_change(|metadata| {
        let vhost = metadata.vhost(name).ok_or_else(|| Error::VhostNotFound {
            vhost: name.clone(),
        })?;
        let limits = with(vhost.limits.to_json(), call.parameter(1), value);
        Ok(MetadataCommand::SetVhostLimits {
            vhost: name.clone(),
            limits: VhostLimits::from_json(&limits)?,
        })
    })
    .await?;
    Ok(Answer::NoContent)
}

/// The new value of a limit; none for DELETE.
fn value(call: &Call) -> Result<Option<serde_json::Value>, ApiError> {
    if call.method == Method::PUT {
        Ok(Some(call.body()?.require("value")?.clone()))
    } else {
        Ok(None)
    }
}

pub(crate) async fn user_list(call: Call) -> Outcome {
    let wanted = call.parameters.first();
    if let Some(name) = wanted {
        let own = call.user().name == *name;
        if !own && !access::is_monitor(call.user()) {
            return Err(ApiError::NotAuthorised(
                "User not authorised to access object",
            ));
        }
        call.metadata.user(name).ok_or(ApiError::NoObject)?;
    }
    let mut items: Vec<_> = call
        .metadata
        .users()
        .filter(|user| wanted.is_none_or(|name| user.name == *name))
        .filter(|user| user.limits != UserLimits::default())
        .map(|user| {
            object! { "user" => &user.name, "value" => Json::from(&user.limits.to_json()) }
        })
        .collect();
    items.sort_by(|a, b| order(a, b, "user"));
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

pub(crate) async fn user(call: Call) -> Outcome {
    let name = call.parameter(0);
    call.metadata.user(name).ok_or(ApiError::NoObject)?;
    let value = value(&call)?;
    call.propose_change(|metadata| {
        let user = metadata
            .user(name)
            .ok_or_else(|| Error::UserNotFound { user: name.clone() })?;
        let limits = with(user.limits.to_json(), call.parameter(1), value);
        Ok(MetadataCommand::SetUserLimits {
            user: name.clone(),
            limits: UserLimits::from_json(&limits)?,
        })
    })
    .await?;
    Ok(Answer::NoContent)
}
