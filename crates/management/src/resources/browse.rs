//! Looking into a queue and acting on what is there. These paths are ours; RabbitMQ has none like them.
//!
//! Rights are those of AMQP: looking and deleting need `read` for the queue, publishing `write` for the exchange, and pausing
//! `configure` for the queue.

use super::queues::expect_queue;
use crate::amqp;
use crate::call::{Answer, Body, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use base::Name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::auth::{self, Configure, Operation, Read, Write};
use broker::browse::{BrowsedMessage, BrowsedState, Cursor, Filter, Present, SettledTime};
use broker::error::ResourceKind;
use bytes::Bytes;
use hyper::Method;
use node::{Acted, Action, PAGE_MESSAGES_MAX, Route, Selection};

/// Messages of a page that does not say how many.
const COUNT_DEFAULT: u64 = 100;

pub(crate) async fn browse(call: Call) -> Outcome {
    let body = call.body()?;
    allow(
        &body,
        &[
            "filter",
            "positions",
            "from",
            "count",
            "truncate",
            "settled",
            "settled_from",
            "settled_until",
        ],
    )?;
    let queue = allowed(&call, Read).await?;
    let present = if body.get("settled") == Some(&true.into()) {
        Present::Settled(settled_time(&body)?)
    } else if ["settled_from", "settled_until"]
        .iter()
        .any(|key| body.contains_key(*key))
        || body.get("settled").is_some_and(|value| !value.is_boolean())
    {
        return Err(ApiError::bad(
            "'settled_from' and 'settled_until' go with \"settled\": true",
        ));
    } else {
        Present::Waiting
    };
    let truncate = count(&body, "truncate")?.map_or(usize::MAX, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    });
    let most = count(&body, "count")?.unwrap_or(COUNT_DEFAULT);
    let selection = selection(&body, most.min(PAGE_MESSAGES_MAX as u64), present)?;
    let page = call
        .state
        .node
        .browse(call.parameter(0), &queue, selection)
        .await
        .map_err(refused)?;
    let messages: Vec<Object> = page
        .messages
        .iter()
        .map(|message| message_item(message, truncate))
        .collect();
    let answer = object! {
        "messages" => Json::from(messages),
        "examined" => page.examined,
        "next" => page.next.map(|next| next.to_string()),
    };
    Ok(Json::from(answer).into())
}

pub(crate) async fn move_messages(call: Call) -> Outcome {
    publish_again(call, Action::Move).await
}

pub(crate) async fn copy(call: Call) -> Outcome {
    publish_again(call, Action::Copy).await
}

pub(crate) async fn delete_messages(call: Call) -> Outcome {
    let body = call.body()?;
    allow(&body, &["filter", "positions", "from", "count", "dry_run"])?;
    let queue = allowed(&call, Read).await?;
    act(&call, &body, &queue, &Action::Delete, Present::Waiting).await
}

/// Publishes what consumers have settled again: to this queue, unless the request says where to.
pub(crate) async fn replay(call: Call) -> Outcome {
    if call.method == Method::DELETE {
        return forget(call).await;
    }
    let body = call.body()?;
    allow(
        &body,
        &[
            "filter",
            "positions",
            "from",
            "count",
            "dry_run",
            "settled_from",
            "settled_until",
            "to_queue",
            "to_exchange",
            "routing_key",
        ],
    )?;
    let queue = allowed(&call, Read).await?;
    let says_where = ["to_queue", "to_exchange", "routing_key"]
        .iter()
        .any(|key| body.contains_key(*key));
    let route = if says_where {
        route(&call, &body)?
    } else {
        Route::to_queue(&queue, call.principal().clone())
    };
    check(&call, Write, ResourceKind::Exchange, &route.exchange).await?;
    let present = Present::Settled(settled_time(&body)?);
    act(&call, &body, &queue, &Action::Copy(route), present).await
}

/// Lets go of what the replay window keeps.
async fn forget(call: Call) -> Outcome {
    let queue = allowed(&call, Read).await?;
    let node = &call.state.node;
    let count = node
        .forget_settled(call.parameter(0), &queue)
        .await
        .map_err(refused)?;
    Ok(Json::from(object! { "done" => count }).into())
}

pub(crate) async fn pause(call: Call) -> Outcome {
    set_paused(call, true).await
}

pub(crate) async fn resume(call: Call) -> Outcome {
    set_paused(call, false).await
}

async fn set_paused(call: Call, paused: bool) -> Outcome {
    let queue = allowed(&call, Configure).await?;
    let node = &call.state.node;
    node.set_queue_paused(call.parameter(0), &queue, paused)
        .await
        .map_err(refused)?;
    Ok(Answer::NoContent)
}

async fn publish_again(call: Call, action: fn(Route) -> Action) -> Outcome {
    let body = call.body()?;
    allow(
        &body,
        &[
            "filter",
            "positions",
            "from",
            "count",
            "dry_run",
            "to_queue",
            "to_exchange",
            "routing_key",
        ],
    )?;
    let queue = allowed(&call, Read).await?;
    let route = route(&call, &body)?;
    check(&call, Write, ResourceKind::Exchange, &route.exchange).await?;
    act(&call, &body, &queue, &action(route), Present::Waiting).await
}

async fn act(call: &Call, body: &Body, queue: &Name, action: &Action, present: Present) -> Outcome {
    if !body.contains_key("filter") && !body.contains_key("positions") {
        return Err(ApiError::bad(
            "say which messages: \"filter\" ({} for all) or \"positions\"",
        ));
    }
    let most = count(body, "count")?.unwrap_or(u64::MAX);
    let selection = selection(body, most, present)?;
    let is_dry = match body.get("dry_run") {
        None => false,
        Some(value) => value
            .as_bool()
            .ok_or_else(|| ApiError::bad("'dry_run' is true or false"))?,
    };
    let (node, vhost) = (&call.state.node, call.parameter(0));
    let acted = if is_dry {
        node.would_act(vhost, queue, selection, action).await
    } else {
        node.act(vhost, queue, selection, action).await
    };
    let acted = acted.map_err(refused)?;
    Ok(Json::from(acted_item(&acted)).into())
}

/// The queue of the path, if the user may do that with it.
pub(super) async fn allowed(call: &Call, operation: impl Operation) -> Result<Name, ApiError> {
    let name = expect_queue(call)?.name.clone();
    check(call, operation, ResourceKind::Queue, &name).await?;
    Ok(name)
}

/// Whether the user may do that, in the virtual host of the path.
pub(super) async fn check(
    call: &Call,
    operation: impl Operation,
    kind: ResourceKind,
    name: &Name,
) -> Result<(), ApiError> {
    // Nobody's permissions are asked over the control socket.
    if call.is_operator() {
        return Ok(());
    }
    let (metadata, vhost) = (&call.metadata, &call.vhost()?.name);
    let mut user = call.principal().clone();
    user.settle(metadata, |user| {
        auth::authorize(metadata, user, vhost, operation, kind, name)
    })
    .await
    .map(drop)
    .map_err(refused)
}

fn refused(error: broker::Error) -> ApiError {
    if matches!(error, broker::Error::AccessRefused { .. }) {
        return ApiError::NotAuthorised("Access refused.");
    }
    error.into()
}

/// What is not understood is refused: a mistyped filter must not select everything.
fn allow(body: &Body, keys: &[&str]) -> Result<(), ApiError> {
    match body.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(unknown) => Err(ApiError::bad(format!("unknown key '{unknown}'"))),
        None => Ok(()),
    }
}

fn count(body: &Body, key: &str) -> Result<Option<u64>, ApiError> {
    match body.get(key) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(value) => Ok(Some(value)),
            None => Err(ApiError::bad(format!(
                "'{key}' is a number that is not negative"
            ))),
        },
    }
}

fn cursor(key: &str, value: &serde_json::Value) -> Result<Cursor, ApiError> {
    let text = match value.as_u64() {
        Some(position) => position.to_string(),
        None => value.as_str().unwrap_or_default().to_owned(),
    };
    text.parse()
        .map_err(|error| ApiError::bad(format!("'{key}': {error}")))
}

/// When the messages were settled that are meant; at any time, if the request does not say.
fn settled_time(body: &Body) -> Result<SettledTime, ApiError> {
    let any = SettledTime::ANY;
    Ok(SettledTime {
        from_ms: count(body, "settled_from")?.unwrap_or(any.from_ms),
        until_ms: count(body, "settled_until")?.unwrap_or(any.until_ms),
    })
}

fn selection(body: &Body, messages_max: u64, present: Present) -> Result<Selection, ApiError> {
    if let Some(positions) = body.get("positions") {
        if body.contains_key("filter") || body.contains_key("from") {
            return Err(ApiError::bad(
                "'positions' stands for itself, without 'filter' and 'from'",
            ));
        }
        let positions = positions
            .as_array()
            .filter(|positions| positions.len() <= PAGE_MESSAGES_MAX)
            .ok_or_else(|| {
                ApiError::bad(format!(
                    "'positions' is a list of at most {PAGE_MESSAGES_MAX} places"
                ))
            })?;
        let places: Result<_, _> = positions
            .iter()
            .map(|place| cursor("positions", place))
            .collect();
        return places.map(|places| Selection::At { places, present });
    }
    let filter = body.get("filter").unwrap_or(&serde_json::Value::Null);
    let filter = Filter::parse(filter).map_err(|error| ApiError::bad(error.to_string()))?;
    let from = match body.get("from") {
        None | Some(serde_json::Value::Null) => Cursor::START,
        Some(from) => cursor("from", from)?,
    };
    Ok(Selection::Matching {
        filter,
        from,
        messages_max,
        present,
    })
}

fn route(call: &Call, body: &Body) -> Result<Route, ApiError> {
    let user = call.principal().clone();
    let text = |key: &str| -> Result<Option<&str>, ApiError> {
        match body.get(key) {
            None => Ok(None),
            Some(_) => {
                let text = body.require_text(key)?;
                if text.len() > 255 {
                    return Err(ApiError::bad(format!("'{key}' has at most 255 bytes")));
                }
                Ok(Some(text))
            }
        }
    };
    match (
        text("to_queue")?,
        text("to_exchange")?,
        text("routing_key")?,
    ) {
        (Some(queue), None, None) => {
            let name = Name::from(queue);
            call.vhost()?.expect_queue(&name).map_err(refused)?;
            Ok(Route::to_queue(&name, user))
        }
        (None, Some(exchange), routing_key) => Ok(Route {
            exchange: Name::from(exchange),
            routing_key: routing_key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            user,
        }),
        _ => Err(ApiError::bad(
            "say where to: \"to_queue\", or \"to_exchange\" with or without \"routing_key\"",
        )),
    }
}

fn message_item(browsed: &BrowsedMessage, truncate: usize) -> Object {
    let message = &browsed.message;
    let body = &message.body[..message.body.len().min(truncate)];
    let (payload, encoding) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), "string"),
        Err(_) => (BASE64.encode(body), "base64"),
    };
    let state = match browsed.state {
        BrowsedState::Ready => "ready",
        BrowsedState::Unacked => "unacknowledged",
        BrowsedState::Settled { .. } => "settled",
    };
    let settled_at = match browsed.state {
        BrowsedState::Settled { at_ms } => Some(at_ms),
        BrowsedState::Ready | BrowsedState::Unacked => None,
    };
    object! {
        "position" => browsed.at.to_string(),
        "state" => state,
        "redelivered" => browsed.redelivered,
        "expires_at" => browsed.expires_at_ms,
        "settled_at" => settled_at,
        "exchange" => message.exchange(),
        "routing_key" => crate::json::text(message.routing_key()),
        "properties" => amqp::shown_properties(&message.properties),
        "payload_bytes" => message.body.len(),
        "payload" => payload,
        "payload_encoding" => encoding,
    }
}

fn acted_item(acted: &Acted) -> Object {
    object! {
        "examined" => acted.examined,
        "matched" => acted.matched,
        "done" => acted.done,
        "unroutable" => acted.unroutable,
        "refused" => acted.refused,
        "busy" => acted.busy,
        "next" => acted.next.map(|next| next.to_string()),
    }
}
