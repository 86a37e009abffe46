//! Exchanges: listings, declare, delete, publish.

use crate::amqp::{self, Amqp, CHANNEL, Received};
use crate::call::{Answer, Body, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Each, Listing};
use crate::resources::neighbours;
use crate::statistics::{Details, Subject, exchange_stats};
use base::Name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::delay::DelayTarget;
use broker::exchange::Exchange;
use broker::vhost::Vhost;
use codec_amqp091::{BasicProperties, Table, confirm, exchange};
use definitions::fields::to_arguments;
use hyper::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// How paths call the default exchange.
pub(crate) const DEFAULT_EXCHANGE: &str = "amq.default";

/// Who made what was there from the start.
const INTERNAL_USER: &str = "rmq-internal";

pub(crate) async fn list(call: Call) -> Outcome {
    let listing = Listing::new(&call.query)?;
    let mut exchanges: Vec<(Arc<Vhost>, Arc<Exchange>)> = Vec::new();
    for vhost in call.vhosts()? {
        let start = exchanges.len();
        let own = vhost.exchanges();
        exchanges.extend(own.map(|exchange| (Arc::clone(vhost), Arc::clone(exchange))));
        exchanges[start..].sort_unstable_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    }
    let details = Details::new(&call)?;
    let without_stats = call.without_stats();
    let traffic = call.state.node.exchange_traffic();
    let waiting = waiting(&call).await;
    let cut = listing.cut(listing.filter(exchanges, |(_, exchange)| &exchange.name))?;
    let item = move |(vhost, exchange): &(Arc<Vhost>, Arc<Exchange>)| {
        let mut item = item(&call, vhost, exchange);
        let key = (vhost.name.clone(), exchange.name.clone());
        push_waiting(&mut item, &waiting, exchange, &key);
        if let Some(counts) = traffic.get(&key).filter(|_| !without_stats) {
            let series = call
                .state
                .statistics
                .glance_at(Subject::Exchange(key.0, key.1));
            let stats = exchange_stats(counts, &details, series.as_ref());
            item.push("message_stats", stats);
        }
        item
    };
    listing.stream(cut, Each(item)).await
}

fn item(call: &Call, vhost: &Vhost, exchange: &Exchange) -> Object {
    let mut item = object! {
        "arguments" => call.arguments(&exchange.arguments),
        "auto_delete" => exchange.auto_delete,
        "durable" => exchange.durable,
        "internal" => exchange.internal,
        "name" => &exchange.name,
        "type" => exchange.exchange_type.as_str(),
        "vhost" => &vhost.name,
    };
    if exchange.is_predeclared() || exchange.is_default() {
        item.push("user_who_performed_action", INTERNAL_USER);
    }
    let effective = vhost.effective(broker::policy::Subject::Exchange(&exchange.name));
    if let Some(policy) = effective.policy {
        item.push("policy", &policy.name);
    }
    item
}

/// How many messages wait at exchanges for their time, by virtual host and exchange. Empty without statistics.
async fn waiting(call: &Call) -> HashMap<(Name, Name), u64> {
    if call.without_stats() {
        return HashMap::new();
    }
    let counts = call.state.node.delayed_counts().await;
    let at_exchanges = counts.into_iter().filter_map(|of| match of.target {
        DelayTarget::Exchange(exchange) => Some(((of.vhost, exchange), of.count)),
        DelayTarget::Queue(_) | DelayTarget::Retry(_) => None,
    });
    at_exchanges.collect()
}

/// Says how many messages wait at an exchange that can have any.
fn push_waiting(
    item: &mut Object,
    waiting: &HashMap<(Name, Name), u64>,
    exchange: &Exchange,
    key: &(Name, Name),
) {
    let count = waiting.get(key).copied();
    if exchange.delays || count.is_some() {
        item.push("messages_delayed", count.unwrap_or(0));
    }
}

/// The name of an exchange in a path.
pub(crate) fn name_in_path(name: &Name) -> Name {
    if *name == *DEFAULT_EXCHANGE {
        Name::default()
    } else {
        name.clone()
    }
}

/// The exchange in the path.
///
/// # Errors
/// There is none.
pub(crate) fn expect_exchange(call: &Call) -> Result<&Arc<Exchange>, ApiError> {
    call.vhost()?
        .exchange(&name_in_path(call.parameter(1)))
        .ok_or(ApiError::NoObject)
}

pub(crate) async fn one(call: Call) -> Outcome {
    match call.method {
        Method::PUT => declare(&call).await,
        Method::DELETE => delete(&call).await,
        _ => {
            let (vhost, exchange) = (call.vhost()?, expect_exchange(&call)?);
            let mut item = item(&call, vhost, exchange);
            if call.without_stats() {
                return Ok(Columns::new(&call.query).apply(item).into());
            }
            let details = Details::new(&call)?;
            let key = (vhost.name.clone(), exchange.name.clone());
            push_waiting(&mut item, &waiting(&call).await, exchange, &key);
            if let Some(counts) = call.state.node.exchange_traffic().get(&key) {
                let series = call
                    .state
                    .statistics
                    .look_at(Subject::Exchange(key.0, key.1));
                let stats = exchange_stats(counts, &details, series.as_ref());
                item.push("message_stats", stats);
            }
            item.append(
                neighbours::of_exchange(&call, &vhost.name, &exchange.name, &details).await,
            );
            Ok(Columns::new(&call.query).apply(item).into())
        }
    }
}

async fn declare(call: &Call) -> Outcome {
    let name = name_in_path(call.parameter(1));
    let is_new = call.vhost()?.exchange(&name).is_none();
    let body = call.body()?;
    let exchange_type = match body.get("type") {
        None => "direct",
        Some(_) => body.require_text("type")?,
    };
    let arguments = amqp::table(&super::queues::arguments(&body)?);
    let (durable, auto_delete) = (body.switch("durable")?, body.switch("auto_delete")?);
    let internal = body.switch("internal")?;
    let mut amqp = Amqp::open(call).await?;
    amqp.ask(|out| {
        exchange::Declare {
            exchange: name.as_bytes(),
            exchange_type: exchange_type.as_bytes(),
            durable,
            auto_delete,
            internal,
            arguments: Table::new(&arguments),
            ..exchange::Declare::default()
        }
        .encode(CHANNEL, out);
    })
    .await?;
    Ok(Answer::put(is_new))
}

async fn delete(call: &Call) -> Outcome {
    let name = expect_exchange(call)?.name.clone();
    let mut amqp = Amqp::open(call).await?;
    amqp.ask(|out| {
        exchange::Delete {
            exchange: name.as_bytes(),
            if_unused: call.query.is_true("if-unused"),
            ..exchange::Delete::default()
        }
        .encode(CHANNEL, out);
    })
    .await?;
    Ok(Answer::NoContent)
}

pub(crate) async fn publish(call: Call) -> Outcome {
    let name = name_in_path(call.parameter(1));
    if call.vhost()?.exchange(&name).is_none() {
        return Err(ApiError::NotFound("exchange_not_found".to_owned()));
    }
    let body = call.body_with(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let properties = body
        .require("properties")?
        .as_object()
        .cloned()
        .unwrap_or_default();
    let routing_key = body.require_text("routing_key")?;
    let text = body.require_text("payload")?;
    let payload = match body.require_text("payload_encoding")? {
        "string" => text.as_bytes().to_vec(),
        "base64" => BASE64.decode(text).map_err(|_| pair("not_base64", text))?,
        other => return Err(pair("unsupported_encoding", other)),
    };
    let properties = properties_of(&properties)?;
    let mut amqp = Amqp::open(&call).await?;
    amqp.ask(|out| confirm::Select::default().encode(CHANNEL, out))
        .await?;
    amqp.tell(|out| {
        amqp::publish(
            out,
            name.as_bytes(),
            routing_key.as_bytes(),
            &properties,
            &payload,
        );
    });
    let mut routed = true;
    loop {
        match amqp.receive().await.map_err(ApiError::with_code)? {
            Received::Returned => routed = false,
            Received::Confirmed => break,
            Received::Refused => return Err(ApiError::bad("rejected")),
            Received::Done
            | Received::Declared(_)
            | Received::Message(_)
            | Received::Delivered(_)
            | Received::Cancelled
            | Received::Empty => {}
        }
    }
    Ok(object! { "routed" => routed }.into())
}

/// Bytes of a text among properties.
const SHORT_BYTES_MAX: usize = 255;

fn pair(word: &'static str, value: &str) -> ApiError {
    ApiError::BadRequest(Json::List(vec![word.into(), value.to_owned().into()]))
}

/// Properties as a client wrote them, in AMQP's form. Names that are no property's are passed over, as in RabbitMQ.
fn properties_of(given: &Body) -> Result<Vec<u8>, ApiError> {
    let text = |key: &'static str| match given.get(key) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(text)) if text.len() > SHORT_BYTES_MAX => Err(
            ApiError::bad("506 failed to deliver message: content_properties_shortstr_overflow"),
        ),
        Some(serde_json::Value::String(text)) => Ok(Some(text.as_bytes())),
        Some(_) => Err(pair("not_string", key)),
    };
    let number = |key: &'static str| match given.get(key) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            .map(Some)
            .ok_or_else(|| pair("not_int", key)),
    };
    let octet = |key: &'static str| {
        let value = number(key)?;
        value
            .map(|value| u8::try_from(value).map_err(|_| pair("not_int", key)))
            .transpose()
    };
    let headers = match given.get("headers") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::Array(empty)) if empty.is_empty() => None,
        Some(serde_json::Value::Object(fields)) => Some(amqp::table(
            &to_arguments(fields).ok_or_else(|| ApiError::bad("null_not_allowed"))?,
        )),
        Some(_) => return Err(pair("not_object", "headers")),
    };
    let mut bytes = Vec::new();
    BasicProperties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers.as_deref().map(Table::new),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        message_type: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    }
    .encode(&mut bytes);
    Ok(bytes)
}
