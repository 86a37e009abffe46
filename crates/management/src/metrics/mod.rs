//! What Prometheus scrapes: RabbitMQ's metrics under RabbitMQ's names (RabbitMQ docs: prometheus).
//!
//! `/metrics` has sums, `/metrics/per-object` a sample for each queue, channel, connection and exchange, `/metrics/detailed` the
//! families that the query names, and `/metrics/memory-breakdown` what memory is used for. Answers are written in pieces while they
//! are sent, so that a node with very many objects answers with little memory; nothing is collected that is not asked for.
//! What is measured is counted elsewhere.

mod exposition;
mod families;

use crate::access::{self, Access};
use crate::directory::Queues;
use crate::guard::refusal;
use crate::pieces::{Gone, Pieces, pieces};
use crate::query::Query;
use crate::resources::channels::channel_name;
use crate::resources::connections::name;
use crate::resources::memory::Breakdown;
use crate::state::State;
use crate::statistics::deliveries;
use broker::metadata::{CLUSTER_NAME, Metadata};
use broker::queue::Counters;
use broker::queue_arguments::QueueType;
use broker::vhost::QueueRecord;
use bytes::Bytes;
use exposition::{Exposition, Kind, Labels, Value};
use families::{
    ALARMS, CHANNEL, CHANNEL_EXCHANGE, CHANNEL_QUEUE, CHURN, CONNECTION, CONNECTION_COARSE,
    ChurnRow, DEAD_LETTERED, DeadLetterRow, EXCHANGE, MEMORY, Metric, NODE, NODE_COARSE, NodeRow,
    OBJECTS, ObjectsRow, PROTOCOL, PROTOCOL_AND_TYPE, ProtocolRow, QUEUE, QUEUE_COARSE,
    QUEUE_CONSUMERS, QUEUE_DELIVERY, QUEUE_PUBLISHED, QueueRow,
};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use node::{
    ChannelDetails, ConnectionDetails, ConnectionFigures, DeliveryCounts, ProcessFigures,
    PublishCounts, QueueFigures, SIZE_BOUNDS, SLICE, TIME_BOUNDS_US,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Before the names of all metrics.
const PREFIX: &str = "rabbitmq_";
/// Before those of `/metrics/detailed`.
const DETAILED: &str = "rabbitmq_detailed_";
/// Before those of `/metrics/detailed` that are the same on all nodes.
const CLUSTER: &str = "rabbitmq_cluster_";
/// Families that a request may name; more are ignored.
const FAMILIES_MAX: usize = 64;
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"RabbitMQ Prometheus\"");
/// Types of queues whose counters are told apart.
const TYPES: [QueueType; 2] = [QueueType::Classic, QueueType::Quorum];
/// The only protocol whose messages are counted so far.
const PROTOCOL_NAME: &str = "amqp091";

/// The body of an answer.
pub(crate) type Body = Either<Full<Bytes>, Pieces>;

/// Which metrics are told.
#[derive(Clone, Debug)]
enum View {
    /// Sums.
    Aggregated,
    /// A sample for each object.
    PerObject,
    /// These families, of these vhosts or of all.
    Detailed {
        families: Vec<String>,
        vhosts: Vec<String>,
    },
    Memory,
}

impl View {
    /// The view that a path and a query mean.
    fn of(path: &str, base: &str, query: &str, per_object: bool) -> Option<Self> {
        let rest = path
            .strip_prefix('/')?
            .strip_prefix(base.trim_matches('/'))?;
        match rest.trim_end_matches('/') {
            "" if per_object => Some(Self::PerObject),
            "" => Some(Self::Aggregated),
            "/per-object" => Some(Self::PerObject),
            "/memory-breakdown" => Some(Self::Memory),
            "/detailed" => {
                let query = Query::parse(query);
                let all = |key| {
                    query
                        .all(key)
                        .take(FAMILIES_MAX)
                        .map(str::to_owned)
                        .collect()
                };
                Some(Self::Detailed {
                    families: all("family"),
                    vhosts: all("vhost"),
                })
            }
            _ => None,
        }
    }

    fn endpoint(&self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::PerObject => "per-object",
            Self::Detailed { .. } => "detailed",
            Self::Memory => "memory-breakdown",
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Detailed { .. } => DETAILED,
            Self::Aggregated | Self::PerObject | Self::Memory => PREFIX,
        }
    }

    fn wants(&self, family: &str) -> bool {
        match self {
            Self::Aggregated | Self::PerObject => true,
            Self::Detailed { families, .. } => families.iter().any(|own| own == family),
            Self::Memory => false,
        }
    }

    fn is_detailed(&self) -> bool {
        matches!(self, Self::Detailed { .. })
    }

    fn has_vhost(&self, vhost: &str) -> bool {
        match self {
            Self::Detailed { vhosts, .. } => {
                vhosts.is_empty() || vhosts.iter().any(|own| own == vhost)
            }
            Self::Aggregated | Self::PerObject | Self::Memory => true,
        }
    }
}

/// Answers a request to the metrics' listener.
pub(crate) async fn respond(
    state: Arc<State>,
    request: &Request<Incoming>,
    peer: SocketAddr,
) -> Response<Body> {
    if let Some(status) = refusal(request.method(), request.uri()) {
        let mut response = plain(status, "");
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        return response;
    }
    let settings = &state.node.settings().prometheus;
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    let view = View::of(uri.path(), &settings.path, query, settings.per_object);
    let Some(view) = view else {
        return plain(StatusCode::NOT_FOUND, "no such metrics\n");
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
        let allow = HeaderValue::from_static("HEAD, GET, OPTIONS");
        response.headers_mut().insert(header::ALLOW, allow);
        if request.method() == Method::OPTIONS {
            *response.status_mut() = StatusCode::OK;
        }
        return response;
    }
    if settings.authentication && !is_monitor(&state, request.headers(), peer).await {
        let mut response = plain(StatusCode::UNAUTHORIZED, "");
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, REALM);
        return response;
    }
    let compressed = crate::server::accepts_gzip(request.headers());
    let (out, body) = pieces(compressed);
    let mut response = Response::new(Either::Right(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, TEXT);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if request.method() == Method::HEAD {
        *response.body_mut() = Either::Left(Full::default());
    } else {
        tokio::spawn(async move {
            let mut exposition = Exposition::new(out);
            // Who hangs up early misses the rest.
            if tell(&state, &view, &mut exposition).await.is_ok() {
                let _ = exposition.finish().await;
            }
        });
    }
    response
}

/// A short answer that is no metrics.
fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

async fn is_monitor(state: &State, headers: &header::HeaderMap, peer: SocketAddr) -> bool {
    let credentials = headers.get(header::AUTHORIZATION);
    let credentials = credentials.map(HeaderValue::as_bytes);
    match access::login(state, credentials, peer.ip()).await {
        Ok(caller) => Access::Monitoring.check(&caller.user).is_ok(),
        Err(_) => false,
    }
}

/// A sample for each row, or their sum.
async fn table<R>(
    exposition: &mut Exposition,
    view: &View,
    metrics: &[Metric<R>],
    rows: &[(Labels, R)],
) -> Result<(), Gone> {
    let prefix = view.prefix();
    let is_sum = matches!(view, View::Aggregated);
    for metric in metrics {
        exposition.head(prefix, metric.name, metric.kind, metric.help);
        let name = (prefix, metric.name);
        if is_sum {
            let values = rows.iter().map(|(_, row)| (metric.value)(row));
            let sum = values.fold(Value::Int(0), Value::plus);
            exposition.sample(name, &Labels::default(), sum);
        } else {
            for (labels, row) in rows {
                exposition.sample(name, labels, (metric.value)(row));
                exposition.yield_if_full().await?;
            }
        }
    }
    exposition.yield_if_full().await
}

/// One sample of each metric, without labels.
async fn single<R>(
    exposition: &mut Exposition,
    view: &View,
    metrics: &[Metric<R>],
    row: R,
) -> Result<(), Gone> {
    table(exposition, view, metrics, &[(Labels::default(), row)]).await
}

async fn tell(state: &Arc<State>, view: &View, exposition: &mut Exposition) -> Result<(), Gone> {
    let metadata = state.node.metadata();
    let resources = || state.node.resources();
    if matches!(view, View::Memory) {
        tell_memory(state, exposition);
        return tell_identity(state, &metadata, view, exposition).await;
    }
    let node = || NodeRow {
        process: ProcessFigures::now(),
        resources: resources(),
        uptime: state.node.uptime(),
    };
    if view.wants("connection_churn_metrics") {
        single(exposition, view, CHURN, churn(state)).await?;
    }
    if view.wants("node_coarse_metrics") {
        single(exposition, view, NODE_COARSE, node()).await?;
    }
    if view.wants("node_metrics") {
        single(exposition, view, NODE, node()).await?;
    }
    let connections = if view.is_detailed() && !wants_connections(view) {
        Vec::new()
    } else {
        state.node.connections().await
    };
    tell_queues(state, &metadata, view, &connections, exposition).await?;
    tell_connections(view, connections, exposition).await?;
    tell_exchanges(state, &metadata, view, exposition).await?;
    if !view.is_detailed() {
        single(exposition, view, ALARMS, node()).await?;
    }
    tell_identity(state, &metadata, view, exposition).await
}

/// What memory is used for.
fn tell_memory(state: &State, exposition: &mut Exposition) {
    let breakdown = Breakdown::now(state);
    let parts: HashMap<_, _> = breakdown.parts().into_iter().collect();
    let named = MEMORY.iter().map(|(part, name)| {
        let bytes = parts.get(part).copied().unwrap_or_default();
        (*name, *part, bytes)
    });
    for (name, part, bytes) in named.chain([("memory_rss_bytes", "all", breakdown.total())]) {
        let help = format!("Bytes of memory in use: {part}.");
        exposition.head(PREFIX, name, Kind::Gauge, &help);
        exposition.sample((PREFIX, name), &Labels::default(), Value::Int(bytes));
    }
}

fn churn(state: &State) -> ChurnRow {
    let (queues_created, queues_deleted) = state.node.queue_churn();
    ChurnRow {
        churn: state.node.churn(),
        queues_declared: state.node.traffic().queues_declared,
        queues_created,
        queues_deleted,
    }
}

/// Metrics of queues, and what is counted in queues for all clients together.
async fn tell_queues(
    state: &Arc<State>,
    metadata: &Metadata,
    view: &View,
    connections: &[ConnectionFigures],
    exposition: &mut Exposition,
) -> Result<(), Gone> {
    const FAMILIES: [&str; 4] = [
        "queue_coarse_metrics",
        "queue_consumer_count",
        "queue_metrics",
        "queue_delivery_metrics",
    ];
    if !FAMILIES.iter().any(|family| view.wants(family)) {
        return Ok(());
    }
    let queues = told_queues(state, metadata, view).await;
    if view.wants("queue_coarse_metrics") {
        table(exposition, view, QUEUE_COARSE, &queues).await?;
    }
    let is_sum = matches!(view, View::Aggregated);
    if !is_sum && (view.wants("queue_coarse_metrics") || view.wants("queue_metrics")) {
        let name = (view.prefix(), "queue_info");
        exposition.head(name.0, name.1, Kind::Gauge, "1 for a queue, with its type.");
        for (labels, queue) in &queues {
            let labels = labels.clone().with("queue_type", queue.queue_type.module());
            let labels = labels.with("membership", "leader");
            exposition.sample(name, &labels, Value::Int(1));
            exposition.yield_if_full().await?;
        }
    }
    // The one family contains the other, and a metric may be told only once.
    if view.wants("queue_consumer_count") || view.wants("queue_metrics") {
        table(exposition, view, QUEUE_CONSUMERS, &queues).await?;
    }
    if view.wants("queue_metrics") {
        table(exposition, view, QUEUE, &queues).await?;
    }
    if view.is_detailed() {
        if view.wants("queue_delivery_metrics") {
            table(exposition, view, QUEUE_DELIVERY, &queues).await?;
        }
        return Ok(());
    }
    table(exposition, view, QUEUE_DELIVERY, &queues).await?;
    table(exposition, view, QUEUE_PUBLISHED, &queues).await?;
    drop(queues);
    let totals = Totals::of(state, metadata, connections);
    tell_totals(state, metadata, exposition, totals).await
}

/// The queues that metrics are told of, with no more than is told: all that is known of them would take much memory. In sums, those
/// that are gone count as well.
async fn told_queues(
    state: &Arc<State>,
    metadata: &Metadata,
    view: &View,
) -> Vec<(Labels, QueueRow)> {
    let filter = state.node.settings().prometheus.filter.as_ref();
    let is_sum = matches!(view, View::Aggregated);
    let is_told = |record: &&Arc<QueueRecord>| {
        let is_left_out = is_sum && filter.is_some_and(|filter| filter.matches(&record.name));
        !is_left_out && view.has_vhost(&record.vhost)
    };
    let records: Vec<&Arc<QueueRecord>> = metadata.queues().filter(is_told).collect();
    // What is known of queues is brought up to date.
    drop(Queues::current(state).await);
    let nothing = QueueFigures::default();
    let mut rows = Vec::with_capacity(records.len());
    for slice in records.chunks(SLICE) {
        let known = state.queues.named(&state.node);
        rows.extend(slice.iter().map(|record| {
            let labels = if is_sum {
                Labels::default()
            } else {
                Labels::new(&[("vhost", &record.vhost), ("queue", &record.name)])
            };
            let figures = known.figures(record.id()).unwrap_or(&nothing);
            (labels, QueueRow::new(record, figures))
        }));
    }
    if is_sum {
        // Counters must not go down when a queue goes.
        let gone = TYPES.map(|own| QueueRow::gone(own, &state.node.retired_counters(own)));
        rows.extend(gone.map(|row| (Labels::default(), row)));
    }
    rows
}

/// What `rabbitmq_global_*` is made of.
struct Totals<'a> {
    connections: &'a [ConnectionFigures],
    /// Of classic and of quorum queues.
    by_type: [Counters; 2],
    consumers: u64,
}

impl<'a> Totals<'a> {
    /// What is in all queues, and happened in those that are there or are gone.
    fn of(state: &State, metadata: &Metadata, connections: &'a [ConnectionFigures]) -> Self {
        let mut by_type = TYPES.map(|own| state.node.retired_counters(own));
        let mut consumers = 0;
        let known = state.queues.named(&state.node);
        for record in metadata.queues() {
            if let Some(figures) = known.figures(record.id()) {
                let place = usize::from(record.settings.queue_type == QueueType::Quorum);
                by_type[place].add(&figures.counters);
                consumers += u64::from(figures.consumers);
            }
        }
        Self {
            connections,
            by_type,
            consumers,
        }
    }
}

/// `rabbitmq_global_*`, the same in all views that have them.
async fn tell_totals(
    state: &State,
    metadata: &Metadata,
    exposition: &mut Exposition,
    totals: Totals<'_>,
) -> Result<(), Gone> {
    let Totals {
        connections,
        by_type,
        consumers,
    } = totals;
    let channels = || connections.iter().flat_map(|found| &found.channels);
    let objects = ObjectsRow {
        connections: connections.len() as u64,
        channels: channels().count() as u64,
        consumers,
        queues: metadata
            .vhosts()
            .map(|vhost| vhost.queue_count() as u64)
            .sum(),
    };
    single(exposition, &View::PerObject, OBJECTS, objects).await?;
    let traffic = state.node.traffic();
    let protocol = Labels::new(&[("protocol", PROTOCOL_NAME)]);
    let publishers = channels().filter(|channel| channel.published.published > 0);
    let row = ProtocolRow {
        traffic,
        publishers: publishers.count() as u64,
        consumers,
    };
    let view = &View::PerObject;
    table(exposition, view, PROTOCOL, &[(protocol.clone(), row)]).await?;
    let types = ["rabbit_classic_queue", "rabbit_quorum_queue"];
    let of_types: Vec<_> = types
        .iter()
        .zip(&by_type)
        .map(|(name, counters)| {
            (
                protocol.clone().with("queue_type", name),
                deliveries(counters),
            )
        })
        .collect();
    table(exposition, view, PROTOCOL_AND_TYPE, &of_types).await?;
    let dead_lettered: Vec<_> = types
        .iter()
        .zip(&by_type)
        .map(|(name, counters)| {
            (
                Labels::new(&[("queue_type", name)]),
                DeadLetterRow(*counters),
            )
        })
        .collect();
    table(exposition, view, DEAD_LETTERED, &dead_lettered).await?;
    let (name, help) = (
        "message_size_bytes",
        "Sizes of the bodies of published messages.",
    );
    let bounds = SIZE_BOUNDS.map(|bound| bound.to_string());
    histogram(
        exposition,
        (name, help),
        &protocol,
        &bounds,
        &traffic.sizes.classes,
        Value::Int(traffic.sizes.sum),
    );
    let seconds = TIME_BOUNDS_US.map(|bound| Value::Float(in_seconds(bound)).to_string());
    for (name, help, times) in [
        (
            "publish_confirm_duration_seconds",
            "From a publish to its confirm; of each channel one publish at a time is measured.",
            &traffic.confirm_times,
        ),
        (
            "enqueue_ack_duration_seconds",
            "From a message's entry into a queue to its acknowledgement; of each queue one message at a time is measured.",
            &traffic.ack_times,
        ),
    ] {
        let sum = Value::Float(in_seconds(times.sum));
        histogram(
            exposition,
            (name, help),
            &protocol,
            &seconds,
            &times.classes,
            sum,
        );
    }
    exposition.yield_if_full().await
}

#[expect(
    clippy::cast_precision_loss,
    reason = "metrics are shown, not reckoned with"
)]
fn in_seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// A histogram; `classes` do not contain those below them and are one more than `bounds`.
fn histogram(
    exposition: &mut Exposition,
    (name, help): (&str, &str),
    labels: &Labels,
    bounds: &[String],
    classes: &[u64],
    sum: Value,
) {
    exposition.head(PREFIX, name, Kind::Histogram, help);
    let mut count = 0;
    let bucket = format!("{name}_bucket");
    let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
    for (bound, class) in bounds.zip(classes) {
        count += class;
        let labels = labels.clone().with("le", bound);
        exposition.sample((PREFIX, &bucket), &labels, Value::Int(count));
    }
    exposition.sample(
        (PREFIX, &format!("{name}_count")),
        labels,
        Value::Int(count),
    );
    exposition.sample((PREFIX, &format!("{name}_sum")), labels, sum);
}

/// Whether a view has any metrics of connections and channels.
fn wants_connections(view: &View) -> bool {
    const FAMILIES: [&str; 5] = [
        "connection_coarse_metrics",
        "connection_metrics",
        "channel_metrics",
        "channel_exchange_metrics",
        "channel_queue_metrics",
    ];
    FAMILIES.iter().any(|family| view.wants(family))
}

/// Metrics of connections and channels.
async fn tell_connections(
    view: &View,
    found: Vec<ConnectionFigures>,
    exposition: &mut Exposition,
) -> Result<(), Gone> {
    let mut connections: Vec<(Labels, ConnectionDetails)> = Vec::new();
    let mut channels: Vec<(Labels, ChannelDetails)> = Vec::new();
    let mut published: Vec<(Labels, PublishCounts)> = Vec::new();
    let mut delivered: Vec<(Labels, DeliveryCounts)> = Vec::new();
    for found in found {
        if !view.has_vhost(&found.details.vhost) {
            continue;
        }
        for channel in &found.channels {
            let channel_labels = Labels::new(&[("channel", &channel_name(&found, channel.number))]);
            let in_vhost = channel_labels.clone().with("vhost", &found.details.vhost);
            for (exchange, counts) in &channel.publishes {
                published.push((in_vhost.clone().with("exchange", exchange), *counts));
            }
            for (queue, counts) in &channel.deliveries {
                delivered.push((in_vhost.clone().with("queue", queue), *counts));
            }
            channels.push((channel_labels, channel.clone()));
        }
        let labels = Labels::new(&[("channel", &name(&found.details))]);
        connections.push((labels, found.details));
    }
    if view.wants("channel_metrics") {
        table(exposition, view, CHANNEL, &channels).await?;
    }
    if view.wants("channel_exchange_metrics") {
        table(exposition, view, CHANNEL_EXCHANGE, &published).await?;
    }
    if view.wants("channel_queue_metrics") {
        table(exposition, view, CHANNEL_QUEUE, &delivered).await?;
    }
    if view.wants("connection_coarse_metrics") {
        table(exposition, view, CONNECTION_COARSE, &connections).await?;
    }
    if view.wants("connection_metrics") {
        table(exposition, view, CONNECTION, &connections).await?;
    }
    Ok(())
}

/// Metrics of exchanges and vhosts.
async fn tell_exchanges(
    state: &State,
    metadata: &Metadata,
    view: &View,
    exposition: &mut Exposition,
) -> Result<(), Gone> {
    if view.wants("exchange_metrics") {
        let found = state.node.exchange_traffic().into_iter();
        let rows: Vec<_> = found
            .filter(|((vhost, _), _)| view.has_vhost(vhost))
            .map(|((vhost, exchange), counts)| {
                let labels = Labels::new(&[("vhost", &vhost), ("exchange", &exchange)]);
                (labels, counts)
            })
            .collect();
        table(exposition, view, EXCHANGE, &rows).await?;
    }
    if !view.is_detailed() {
        return Ok(());
    }
    let vhosts = || {
        metadata
            .vhosts()
            .filter(|vhost| view.has_vhost(&vhost.name))
    };
    if view.wants("vhost_status") {
        let metric = "vhost_status";
        exposition.head(CLUSTER, metric, Kind::Gauge, "1 for a vhost that runs.");
        for vhost in vhosts() {
            let labels = Labels::new(&[("vhost", &vhost.name)]);
            exposition.sample((CLUSTER, metric), &labels, Value::Int(1));
        }
    }
    for (family, metric, help) in [
        (
            "exchange_bindings",
            "exchange_bindings",
            "Bindings that begin at an exchange.",
        ),
        (
            "exchange_names",
            "exchange_name",
            "1 for an exchange that is there.",
        ),
    ] {
        if !view.wants(family) {
            continue;
        }
        exposition.head(CLUSTER, metric, Kind::Gauge, help);
        for vhost in vhosts() {
            for exchange in vhost.exchanges().filter(|exchange| !exchange.is_default()) {
                let labels = Labels::new(&[
                    ("vhost", &vhost.name),
                    ("exchange", &exchange.name),
                    ("type", exchange.exchange_type.as_str()),
                ]);
                let value = match family {
                    "exchange_bindings" => vhost.bindings_of_source(&exchange.name).count() as u64,
                    _ => 1,
                };
                exposition.sample((CLUSTER, metric), &labels, Value::Int(value));
                exposition.yield_if_full().await?;
            }
        }
    }
    Ok(())
}

/// What this node is.
async fn tell_identity(
    state: &State,
    metadata: &Metadata,
    view: &View,
    exposition: &mut Exposition,
) -> Result<(), Gone> {
    let settings = state.node.settings();
    let set = metadata
        .global_parameter(CLUSTER_NAME)
        .and_then(serde_json::Value::as_str);
    let cluster = set
        .or(settings.cluster_name.as_deref())
        .unwrap_or(&settings.node_name);
    let version = node::RABBITMQ_VERSION;
    for (name, help, labels) in [
        (
            "build_info",
            "Which version this is, and which version of RabbitMQ it stands for.",
            Labels::new(&[
                ("rabbitmq_version", version),
                ("prometheus_plugin_version", version),
                ("warrenmq_version", env!("CARGO_PKG_VERSION")),
                ("erlang_version", ""),
            ]),
        ),
        (
            "identity_info",
            "Which node this is.",
            Labels::new(&[
                ("rabbitmq_node", &settings.node_name),
                ("rabbitmq_cluster", cluster),
                ("rabbitmq_endpoint", view.endpoint()),
            ]),
        ),
    ] {
        exposition.head(PREFIX, name, Kind::Untyped, help);
        exposition.sample((PREFIX, name), &labels, Value::Int(1));
    }
    exposition.yield_if_full().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_say_what_is_wanted() {
        let of = |path: &str, query: &str| View::of(path, "/metrics", query, false);
        assert!(matches!(of("/metrics", ""), Some(View::Aggregated)));
        assert!(matches!(
            of("/metrics/per-object", ""),
            Some(View::PerObject)
        ));
        assert!(of("/metrics/other", "").is_none());
        assert!(of("/", "").is_none());
        let detailed = of("/metrics/detailed", "family=a&vhost=v&family=b").unwrap();
        assert!(detailed.wants("a") && detailed.wants("b") && !detailed.wants("c"));
        assert!(detailed.has_vhost("v") && !detailed.has_vhost("w"));
        let per_object = View::of("/metrics", "metrics", "", true);
        assert!(matches!(per_object, Some(View::PerObject)));
    }
}
