//! What clients did: channels, between channels and exchanges or queues, through exchanges.

use super::details::{Details, stats};
use super::keys::*;
use super::series::Series;
use crate::json::Object;
use broker::queue::Counters;
use node::{ChannelDetails, DeliveryCounts, PublishCounts};

/// What consumers and those who fetch got of a queue.
pub(crate) fn deliveries(counters: &Counters) -> DeliveryCounts {
    let delivered_no_ack = counters.auto_acked.saturating_sub(counters.auto_fetched);
    DeliveryCounts {
        delivered: counters.delivered.saturating_sub(delivered_no_ack),
        delivered_no_ack,
        got: counters.fetched.saturating_sub(counters.auto_fetched),
        got_no_ack: counters.auto_fetched,
        got_nothing: counters.empty_gets,
        redelivered: counters.redelivered,
        acked: counters.acked,
    }
}

pub(super) fn channel_values(
    published: &PublishCounts,
    delivered: &DeliveryCounts,
) -> [u64; CHANNEL_KEYS.len()] {
    let deliver_get =
        delivered.delivered + delivered.delivered_no_ack + delivered.got + delivered.got_no_ack;
    [
        published.published,
        published.confirmed,
        published.returned,
        published.dropped,
        delivered.delivered,
        delivered.delivered_no_ack,
        delivered.got,
        delivered.got_no_ack,
        delivered.got_nothing,
        delivered.redelivered,
        delivered.acked,
        deliver_get,
    ]
}

/// What a channel did, with details; empty if it did nothing.
pub(crate) fn channel_stats(
    channel: &ChannelDetails,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = channel_values(&channel.published, &channel.delivered);
    stats(details, &CHANNEL_KEYS, &values, series)
}

/// What a channel published to an exchange, with details.
pub(crate) fn publish_stats(
    counts: &PublishCounts,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = channel_values(counts, &DeliveryCounts::default());
    stats(
        details,
        &CHANNEL_KEYS[..PUBLISH_KEYS],
        &values[..PUBLISH_KEYS],
        series,
    )
}

/// What a channel was sent from a queue, with details.
pub(crate) fn delivery_stats(
    counts: &DeliveryCounts,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = channel_values(&PublishCounts::default(), counts);
    stats(
        details,
        &CHANNEL_KEYS[PUBLISH_KEYS..],
        &values[PUBLISH_KEYS..],
        series,
    )
}

/// What an exchange gave to a queue, with details.
pub(crate) fn leg_stats(count: u64, details: &Details, series: Option<&Series>) -> Object {
    stats(details, &LEG_KEYS, &[count], series)
}

/// Since when a channel has done nothing.
pub(crate) fn channel_idle_since(
    channel: &ChannelDetails,
    series: Option<&Series>,
) -> Option<String> {
    series?.idle_since(&channel_values(&channel.published, &channel.delivered))
}

/// What went through an exchange, with details; empty if nothing did.
pub(crate) fn exchange_stats(
    counts: &PublishCounts,
    details: &Details,
    series: Option<&Series>,
) -> Object {
    let values = [counts.published, counts.routed];
    stats(details, &EXCHANGE_KEYS, &values, series)
}
