//! Messages that wait for their time at an exchange or before a queue: listing and cancelling. These paths are ours; RabbitMQ has
//! none like them.
//!
//! The index knows when a message is due and where it goes, and none of its contents; so neither do these.
//!
//! Rights: `read` to look, and to cancel `write` for an exchange or `read` for a queue, as for deleting what is in it.

use super::browse::{allowed, check};
use super::exchanges::expect_exchange;
use super::queues::expect_queue;
use crate::call::{Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use base::{Position, ShardId};
use broker::auth::{Read, Write};
use broker::delay::{self, DelayTarget, Listed, Only, Selector};
use broker::error::ResourceKind;
use hyper::Method;
use node::SLICE;

/// Messages of a list that does not say how many.
const COUNT_DEFAULT: usize = 100;

/// What waits at an exchange.
pub(crate) async fn of_exchange(call: Call) -> Outcome {
    let name = expect_exchange(&call)?.name.clone();
    if call.method == Method::DELETE {
        check(&call, Write, ResourceKind::Exchange, &name).await?;
    } else {
        check(&call, Read, ResourceKind::Exchange, &name).await?;
    }
    answer(&call, &[DelayTarget::Exchange(name)]).await
}

/// What waits before a queue, to enter it or to be tried again.
pub(crate) async fn of_queue(call: Call) -> Outcome {
    allowed(&call, Read).await?;
    let id = expect_queue(&call)?.queue.id;
    answer(&call, &[DelayTarget::Queue(id), DelayTarget::Retry(id)]).await
}

async fn answer(call: &Call, targets: &[DelayTarget]) -> Outcome {
    if call.method == Method::DELETE {
        return cancel(call, targets).await;
    }
    let most = match call.query.get("count") {
        None => COUNT_DEFAULT,
        Some(count) => count
            .parse()
            .map_err(|_| ApiError::bad("'count' is a number that is not negative"))?,
    };
    let (vhost, node) = (&call.vhost()?.name, &call.state.node);
    let counts = node.delayed_counts().await;
    let own = counts
        .iter()
        .filter(|of| of.vhost == *vhost && targets.contains(&of.target));
    let count: u64 = own.map(|of| of.count).sum();
    let mut listed = Vec::new();
    for target in targets {
        let selector = Selector::of_target(vhost.clone(), target.clone());
        listed.extend(node.delayed(&selector, most.min(SLICE)).await);
    }
    listed.sort_by_key(|message| message.due_at_ms);
    listed.truncate(most);
    let messages: Vec<Object> = listed.iter().filter_map(item).collect();
    let answer = object! {
        "messages" => Json::from(messages),
        "messages_delayed" => count,
    };
    Ok(Json::from(answer).into())
}

fn item(message: &Listed) -> Option<Object> {
    let store = delay::store_number(message.store)?;
    Some(object! {
        "position" => format!("{store}/{}", message.position.0),
        "due_at" => message.due_at_ms,
        "retry" => matches!(message.target, DelayTarget::Retry(_)),
    })
}

async fn cancel(call: &Call, targets: &[DelayTarget]) -> Outcome {
    let only = only(call)?;
    let mut count = 0;
    for target in targets {
        let selector = Selector {
            only: only.clone(),
            ..Selector::of_target(call.vhost()?.name.clone(), target.clone())
        };
        count += call.state.node.cancel_delayed(&selector).await;
    }
    Ok(Json::from(object! { "done" => count }).into())
}

/// Which messages the query means. Nothing said does not mean all.
fn only(call: &Call) -> Result<Option<Only>, ApiError> {
    let query = &call.query;
    match (query.get("message_id"), query.get("position")) {
        (Some(id), None) => Ok(Some(Only::MessageId(id.as_bytes().into()))),
        (None, Some(place)) => at(place)
            .map(Some)
            .ok_or_else(|| ApiError::bad("'position' is a place as the list tells it")),
        (None, None) if query.is_true("all") => Ok(None),
        _ => Err(ApiError::bad(
            "say which messages: 'message_id', 'position' or 'all=true'",
        )),
    }
}

fn at(place: &str) -> Option<Only> {
    let (store, position) = place.split_once('/')?;
    Some(Only::At {
        store: delay::store_of(ShardId(store.parse().ok()?)).id,
        position: Position(position.parse().ok()?),
    })
}
