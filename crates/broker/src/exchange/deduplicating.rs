//! `x-message-deduplication`: every binding takes every message, and no queue takes one twice.
//!
//! Here are the arguments of the type and where its messages go. Which messages a queue has had before is known by the queue, see
//! `queue/dedup.rs`: so an id is as safe as its message, and forgotten with it if a queue refuses it.

use super::{RoutedMessage, RoutingTable, Target, TargetSet, fanout};
use crate::Error;
use crate::binding::Binding;
use crate::queue_arguments::{DEDUPLICATION_IDS_MAX, Deduplication, EXPIRY_MS_MAX};
use crate::value::{Arguments, Value};

/// As a fanout exchange.
#[derive(Clone, Debug)]
pub(super) struct Table(fanout::Table);

impl RoutingTable for Table {
    fn new(arguments: &Arguments) -> Result<Self, Error> {
        settings(arguments)?;
        fanout::Table::new(arguments).map(Self)
    }

    fn add(&mut self, binding: &Binding, target: Target) {
        self.0.add(binding, target);
    }

    fn remove(&mut self, binding: &Binding, target: &Target) {
        self.0.remove(binding, target);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn route<'a>(
        &'a self,
        message: &mut RoutedMessage<'_>,
        matched: &mut dyn FnMut(&'a TargetSet),
    ) {
        self.0.route(message, matched);
    }
}

/// What the arguments of an exchange of this type ask for.
///
/// # Errors
/// `Precondition`, with texts like those of the plugin that brought the type.
pub(crate) fn settings(arguments: &Arguments) -> Result<Deduplication, Error> {
    let refuse = |text: String| Err(Error::Precondition(text.into()));
    let number = |key: &str, max: i64| {
        let value = arguments.get(key)?;
        let number = if let Value::LongStr(text) = value {
            std::str::from_utf8(text).ok()?.parse().ok()
        } else {
            value.as_int()
        };
        number.filter(|number| (1..=max).contains(number))
    };
    let ids_max = number("x-cache-size", DEDUPLICATION_IDS_MAX);
    if ids_max.is_none() {
        return refuse(format!(
            "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0, {DEDUPLICATION_IDS_MAX} at most"
        ));
    }
    let window_ms = number("x-cache-ttl", EXPIRY_MS_MAX);
    if window_ms.is_none() && arguments.get("x-cache-ttl").is_some() {
        return refuse("Invalid argument, 'x-cache-ttl' must be an integer greater than 0".into());
    }
    match arguments.get("x-cache-persistence").map(Value::as_str) {
        None | Some(Some("disk" | "memory")) => {}
        Some(_) => {
            return refuse(
                "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'".into(),
            );
        }
    }
    Ok(Deduplication {
        enabled: true,
        ids_max: ids_max.map(i64::unsigned_abs),
        window_ms: window_ms.map(i64::unsigned_abs),
    })
}
