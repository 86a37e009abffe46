//! Bindings, and the keys by which paths name them.
//!
//! The key of a binding is its routing key, encoded as in a form, and, if there are arguments, a short hash of these behind a `~`.
//! Compat: the hash is not RabbitMQ's, which only Erlang can compute; clients take it from listings.

use crate::amqp::{self, Amqp, CHANNEL};
use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Each, Listing};
use crate::query;
use crate::resources::{exchanges, queues};
use base::Name;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::binding::Binding;
use broker::command::Destination;
use broker::value::Arguments;
use broker::vhost::Vhost;
use bytes::Bytes;
use codec_amqp091::{Table, exchange, queue};
use hyper::Method;
use std::sync::Arc;

/// Which kind of destination a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Queue,
    Exchange,
}

/// A binding that exists, or the implicit one of a queue to the default exchange.
#[derive(Clone, Debug)]
enum Shown {
    Explicit(Name, Arc<Binding>),
    Implicit(Name, Name),
}

impl Shown {
    fn item(&self, call: &Call) -> Object {
        match self {
            Self::Implicit(vhost, queue) => object! {
                "source" => "",
                "vhost" => vhost,
                "destination" => queue,
                "destination_type" => "queue",
                "routing_key" => queue,
                "arguments" => call.arguments(&Arguments::default()),
                "properties_key" => query::encode(queue.as_bytes()),
            },
            Self::Explicit(vhost, binding) => {
                let (name, kind) = match &binding.destination {
                    Destination::Queue(name) => (name, "queue"),
                    Destination::Exchange(name) => (name, "exchange"),
                };
                object! {
                    "source" => &binding.source,
                    "vhost" => vhost,
                    "destination" => name,
                    "destination_type" => kind,
                    "routing_key" => crate::json::text(&binding.binding_key),
                    "arguments" => call.arguments(&binding.arguments),
                    "properties_key" => properties_key(&binding.binding_key, &binding.arguments),
                }
            }
        }
    }
}

fn properties_key(routing_key: &[u8], arguments: &Arguments) -> String {
    if arguments.is_empty() {
        return match routing_key {
            [] => "~".to_owned(),
            key => query::encode(key),
        };
    }
    let text = serde_json::to_vec(&Json::from(arguments)).expect("JSON values can be written");
    // FNV-1a: the same for the same arguments on every node, in 32 bits like RabbitMQ's.
    let hash = text.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let hash = URL_SAFE_NO_PAD.encode(hash.to_be_bytes());
    format!("{}~{hash}", query::encode(routing_key))
}

/// All bindings of a vhost by source, destination and key; those of the default exchange first.
fn of_vhost(vhost: &Vhost) -> Vec<Shown> {
    let mut queues: Vec<_> = vhost.queues().map(|record| record.name.clone()).collect();
    queues.sort_unstable();
    let mut bindings: Vec<_> = vhost.bindings().cloned().collect();
    bindings.sort_unstable();
    let implicit = queues
        .into_iter()
        .map(|queue| Shown::Implicit(vhost.name.clone(), queue));
    implicit
        .chain(
            bindings
                .into_iter()
                .map(|binding| Shown::Explicit(vhost.name.clone(), binding)),
        )
        .collect()
}

async fn show(call: Call, bindings: Vec<Shown>) -> Outcome {
    let listing = Listing::new(&call.query)?;
    let cut = listing.cut(listing.filter(bindings, |_| ""))?;
    let item = move |shown: &Shown| shown.item(&call);
    listing.stream(cut, Each(item)).await
}

pub(crate) async fn list(call: Call) -> Outcome {
    let bindings = call.vhosts()?.into_iter().flat_map(|vhost| of_vhost(vhost));
    let bindings = bindings.collect();
    show(call, bindings).await
}

pub(crate) async fn of_source(call: Call) -> Outcome {
    let vhost = call.vhost()?;
    let source = &exchanges::expect_exchange(&call)?.name;
    let bindings = if source.is_empty() {
        let mut all = of_vhost(vhost);
        all.retain(|binding| matches!(binding, Shown::Implicit(..)));
        all
    } else {
        let own = vhost.bindings_of_source(source);
        own.map(|binding| Shown::Explicit(vhost.name.clone(), Arc::clone(binding)))
            .collect()
    };
    show(call, bindings).await
}

pub(crate) async fn of_destination_exchange(call: Call) -> Outcome {
    let name = exchanges::expect_exchange(&call)?.name.clone();
    let found = ending_at(call.vhost()?, &Destination::Exchange(name));
    show(call, found).await
}

pub(crate) async fn of_destination_queue(call: Call) -> Outcome {
    let name = queues::expect_queue(&call)?.name.clone();
    let vhost = call.vhost()?;
    let mut found = vec![Shown::Implicit(vhost.name.clone(), name.clone())];
    found.extend(ending_at(vhost, &Destination::Queue(name)));
    show(call, found).await
}

fn ending_at(vhost: &Vhost, destination: &Destination) -> Vec<Shown> {
    vhost
        .bindings_of_destination(destination)
        .map(|binding| Shown::Explicit(vhost.name.clone(), Arc::clone(binding)))
        .collect()
}

pub(crate) async fn between_queue(call: Call) -> Outcome {
    between(call, To::Queue).await
}

pub(crate) async fn between_exchanges(call: Call) -> Outcome {
    between(call, To::Exchange).await
}

/// The bindings from the exchange to the destination in the path.
fn found(call: &Call, to: To) -> Result<Vec<Shown>, ApiError> {
    let vhost = call.vhost()?;
    let source = exchanges::name_in_path(call.parameter(1));
    let name = call.parameter(2).clone();
    let (destination, is_there) = match to {
        To::Queue => (
            Destination::Queue(name.clone()),
            vhost.queue(&name).is_some(),
        ),
        To::Exchange => {
            let name = exchanges::name_in_path(&name);
            let is_there = vhost.exchange(&name).is_some();
            (Destination::Exchange(name), is_there)
        }
    };
    if vhost.exchange(&source).is_none() {
        return Err(ApiError::NoObject);
    }
    if !is_there {
        return Ok(Vec::new());
    }
    if source.is_empty() {
        return Ok(match to {
            To::Queue => vec![Shown::Implicit(vhost.name.clone(), name)],
            To::Exchange => Vec::new(),
        });
    }
    let mut bindings = ending_at(vhost, &destination);
    bindings.retain(|binding| match binding {
        Shown::Explicit(_, binding) => binding.source == source,
        Shown::Implicit(..) => false,
    });
    Ok(bindings)
}

async fn between(call: Call, to: To) -> Outcome {
    if call.method == Method::POST {
        return bind(&call, to).await;
    }
    let bindings = found(&call, to)?;
    show(call, bindings).await
}

async fn bind(call: &Call, to: To) -> Outcome {
    let body = call.body()?;
    let routing_key = match body.get("routing_key") {
        None => "",
        Some(_) => body.require_text("routing_key")?,
    };
    let arguments = queues::arguments(&body)?;
    let binding = Asked {
        source: exchanges::name_in_path(call.parameter(1)),
        destination: call.parameter(2).clone(),
        routing_key: Bytes::copy_from_slice(routing_key.as_bytes()),
        arguments: amqp::table(&arguments),
        to,
    };
    let mut amqp = Amqp::open(call).await?;
    amqp.ask(|out| binding.encode_bind(out)).await?;
    let key = properties_key(routing_key.as_bytes(), &arguments);
    Ok(Answer::Created(Some(format!(
        "{}/{}",
        query::encode(binding.destination.as_bytes()),
        query::encode(key.as_bytes()).replace("%7E", "~"),
    ))))
}

pub(crate) async fn one_to_queue(call: Call) -> Outcome {
    one(call, To::Queue).await
}

pub(crate) async fn one_to_exchange(call: Call) -> Outcome {
    one(call, To::Exchange).await
}

async fn one(call: Call, to: To) -> Outcome {
    let wanted = parts(call.parameter(3));
    let binding = found(&call, to)?
        .into_iter()
        .find(|binding| {
            let item = binding.item(&call);
            let key = item.get("properties_key").and_then(Json::as_str);
            key.is_some_and(|key| parts(key) == wanted)
        })
        .ok_or(ApiError::NoObject)?;
    if call.method == Method::GET {
        return Ok(binding.item(&call).into());
    }
    let Shown::Explicit(_, binding) = binding else {
        return Err(ApiError::NotAuthorised("Access refused."));
    };
    let asked = Asked {
        source: binding.source.clone(),
        destination: call.parameter(2).clone(),
        routing_key: binding.binding_key.clone(),
        arguments: amqp::table(&binding.arguments),
        to,
    };
    let mut amqp = Amqp::open(&call).await?;
    amqp.ask(|out| asked.encode_unbind(out)).await?;
    Ok(Answer::NoContent)
}

/// The routing key and the hash of a binding's key.
///
/// The former is decoded, as clients send the key as it is in listings, with `%20` in the place of `+`, or not encoded.
fn parts(key: &str) -> (Vec<u8>, Option<&str>) {
    let (routing_key, hash) = match key.split_once('~') {
        Some((routing_key, hash)) => (routing_key, Some(hash)),
        None => (key, None),
    };
    let routing_key = routing_key.replace('+', " ");
    (query::decode(&routing_key).into_owned(), hash)
}

/// A binding that is to come or to go.
struct Asked {
    source: Name,
    destination: Name,
    routing_key: Bytes,
    arguments: Vec<u8>,
    to: To,
}

impl Asked {
    fn encode_bind(&self, out: &mut Vec<u8>) {
        match self.to {
            To::Queue => queue::Bind {
                queue: self.destination.as_bytes(),
                exchange: self.source.as_bytes(),
                routing_key: &self.routing_key,
                arguments: Table::new(&self.arguments),
                ..queue::Bind::default()
            }
            .encode(CHANNEL, out),
            To::Exchange => exchange::Bind {
                destination: self.destination.as_bytes(),
                source: self.source.as_bytes(),
                routing_key: &self.routing_key,
                arguments: Table::new(&self.arguments),
                ..exchange::Bind::default()
            }
            .encode(CHANNEL, out),
        }
    }

    fn encode_unbind(&self, out: &mut Vec<u8>) {
        match self.to {
            To::Queue => queue::Unbind {
                queue: self.destination.as_bytes(),
                exchange: self.source.as_bytes(),
                routing_key: &self.routing_key,
                arguments: Table::new(&self.arguments),
                ..queue::Unbind::default()
            }
            .encode(CHANNEL, out),
            To::Exchange => exchange::Unbind {
                destination: self.destination.as_bytes(),
                source: self.source.as_bytes(),
                routing_key: &self.routing_key,
                arguments: Table::new(&self.arguments),
                ..exchange::Unbind::default()
            }
            .encode(CHANNEL, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_each_form_that_clients_send() {
        let routing_key = "a b+c%d~é";
        let key = properties_key(routing_key.as_bytes(), &Arguments::default());
        assert_eq!(key, "a+b%2Bc%25d%7E%C3%A9");
        assert_eq!(parts(&key), (routing_key.as_bytes().to_vec(), None));
        assert_eq!(parts("a%20b%2Bc%25d%7E%C3%A9"), parts(&key));
        assert_eq!(parts("a.#"), parts("a.%23"));
        assert_ne!(parts("~"), parts("%7E"));
        assert_ne!(parts("a~R2bk8Q"), parts("a~b2dhvA"));
    }
}
