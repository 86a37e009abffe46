//! Queues: listings, declare, delete, purge, get.

use crate::amqp::{self, Amqp, CHANNEL, GotMessage, Received};
use crate::call::{Answer, Body, Call, Fields as _, Outcome};
use crate::directory::{Entry, OfVhost, Queues};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Cut, Filtered, Items, Listing};
use crate::statistics::{Details, Subject, Totals};
use base::{ConnectionId, Name, QueueId, QueueRef};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::delayed_retry::{DelayedRetry, RetryType};
use broker::queue::LEVEL_DEFAULT;
use broker::queue_arguments::QueueType;
use broker::value::Arguments;
use broker::vhost::QueueRecord;
use codec_amqp091::{Table, basic, queue};
use definitions::fields::to_arguments;
use hyper::Method;
use node::{ConnectionFigures, QueueFigures};
use std::collections::HashMap;
use std::sync::Arc;

/// Messages of one get.
const GET_COUNT_MAX: u64 = 1_000;
/// Bytes of payload that one get may return; the rest stays in the queue.
const GET_BYTES_MAX: usize = 64 << 20;

/// How much of a queue is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// As lists show it.
    Reduced,
    /// With everything.
    Full,
}

/// Fields that are at hand. Tools ask for these of all queues, and everything else about a queue takes longer to make than they do.
const BRIEF: &[&str] = &[
    "auto_delete",
    "consumers",
    "durable",
    "messages",
    "messages_ready",
    "messages_unacknowledged",
    "name",
    "node",
    "state",
    "type",
    "vhost",
];

/// Everything that an item is made of.
struct Source<'a> {
    record: &'a QueueRecord,
    figures: QueueFigures,
}

pub(crate) async fn list(call: Call) -> Outcome {
    show_list(call, Depth::Reduced, None).await
}

pub(crate) async fn detailed(call: Call) -> Outcome {
    show_list(call, Depth::Full, None).await
}

/// Those that a user has declared, as far as the caller sees them.
pub(crate) async fn of_user(call: Call) -> Outcome {
    let user = call.parameter(0).clone();
    show_list(call, Depth::Reduced, Some(&user)).await
}

/// Queues; only those of whoever declared them, if that is said.
async fn show_list(call: Call, depth: Depth, declared_by: Option<&Name>) -> Outcome {
    let listing = Listing::new(&call.query)?;
    let details = Details::new(&call)?;
    let with_totals = call.with_queue_totals();
    let fields = if call.without_stats() {
        Fields::Static { with_totals }
    } else if listing.asks_only_for(BRIEF) {
        Fields::Brief
    } else {
        Fields::All
    };
    let with_figures = fields != Fields::Static { with_totals: false };
    let cut = cut(&call, &listing, with_figures, declared_by).await?;
    if fields == Fields::Brief {
        // Asks shards once for all slices of the list.
        drop(Queues::current(&call.state).await);
    }
    let list = List {
        call,
        details,
        depth,
        fields,
    };
    listing.stream(cut, list).await
}

/// Which fields of queues a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    /// What does not change while a queue exists, and how much is in it if that is wanted.
    Static {
        with_totals: bool,
    },
    /// Those of [`BRIEF`].
    Brief,
    All,
}

/// What items of a list are made by.
struct List {
    call: Call,
    details: Details,
    depth: Depth,
    fields: Fields,
}

impl Items<Arc<QueueRecord>> for List {
    async fn make(&self, records: &[Arc<QueueRecord>]) -> Vec<Option<Object>> {
        let call = &self.call;
        let mut figures = match self.fields {
            Fields::Static { with_totals: false } => HashMap::new(),
            Fields::Brief => known_figures(call, records),
            Fields::Static { with_totals: true } | Fields::All => figures(call, records).await,
        };
        let shown = Shown {
            call,
            details: &self.details,
            owners: &owners(call, records).await,
            depth: self.depth,
            is_single: false,
        };
        let item = |record: &Arc<QueueRecord>| {
            let source = Source {
                record,
                figures: figures.remove(&record.id()).unwrap_or_default(),
            };
            Some(match self.fields {
                Fields::Static { with_totals } => shown.static_item(&source, with_totals),
                Fields::Brief => shown.brief_item(&source),
                Fields::All => shown.item(&source),
            })
        };
        records.iter().map(item).collect()
    }
}

/// The queues that a list shows; in order, if the directory knows what it is by.
async fn cut(
    call: &Call,
    listing: &Listing,
    with_figures: bool,
    declared_by: Option<&Name>,
) -> Result<Cut<Arc<QueueRecord>>, ApiError> {
    let vhosts = match declared_by {
        Some(_) => call.named_vhosts(None)?,
        None => call.vhosts()?,
    };
    let order = listing.order().and_then(Order::new);
    let directory = if with_figures && order.is_some_and(|order| order.needs_figures()) {
        Queues::current(&call.state).await
    } else {
        call.state.queues.named(&call.state.node)
    };
    let of_vhosts = vhosts.into_iter();
    let of_vhosts = of_vhosts.filter_map(|vhost| directory.of_vhost(&vhost.name));
    let of_vhosts: Vec<&OfVhost> = of_vhosts.collect();
    let is_listed = |entry: &&Entry| declared_by.is_none_or(|user| entry.record.user == *user);
    let filtered = if listing.has_filter() {
        let named = of_vhosts.iter().flat_map(|own| own.named());
        listing.filter_named(named.filter(|(entry, _)| is_listed(entry)))
    } else {
        let entries = of_vhosts.iter().flat_map(|own| own.entries());
        Filtered::all(entries.filter(is_listed).collect())
    };
    let figures_of = |entry: &&Entry| directory.figures(entry.id).filter(|_| with_figures);
    let cut = match order {
        None => listing.cut(filtered)?,
        // As the directory has them.
        Some(Order::Vhost) => listing.cut_in_order(filtered)?,
        Some(Order::Name) if of_vhosts.len() < 2 => listing.cut_in_order(filtered)?,
        Some(Order::Name) => listing.cut_by(filtered, |entry| entry.name.as_str(), Ord::cmp)?,
        Some(Order::Type) => {
            let key = |entry: &&Entry| entry.record.settings.queue_type.as_str();
            listing.cut_by(filtered, key, Ord::cmp)?
        }
        Some(Order::Durable) => listing.cut_by(filtered, |entry| entry.record.durable, Ord::cmp)?,
        Some(Order::Count(count)) => {
            let key = |entry: &&Entry| figures_of(entry).map_or(0, count);
            listing.cut_by(filtered, key, Ord::cmp)?
        }
        Some(Order::Value(key)) => {
            let value = |figures: &QueueFigures| Totals::of(figures).value(key);
            let key = |entry: &&Entry| figures_of(entry).map_or(0, value);
            listing.cut_by(filtered, key, Ord::cmp)?
        }
        Some(Order::Rate(key)) => {
            // From now on it is sampled; a queue in which nothing ever happened need not be.
            let statistics = &call.state.statistics;
            let rate = |entry: &&Entry| {
                figures_of(entry)?;
                let series = statistics.glance_at(Subject::Queue(entry.record.queue))?;
                Some(series.rate_of(key))
            };
            let key = |entry: &&Entry| rate(entry).unwrap_or(0.0);
            listing.cut_by(filtered, key, f64::total_cmp)?
        }
    };
    let sources = cut.sources.iter().map(|entry| Arc::clone(&entry.record));
    let sources = sources.collect();
    Ok(cut.with(sources))
}

/// What lists of queues are ordered by that is known without making items. What an item has not is 0.
#[derive(Clone, Copy, Debug)]
enum Order {
    Name,
    Vhost,
    Type,
    Durable,
    /// How much there is of something.
    Count(fn(&QueueFigures) -> u64),
    /// What has a key among totals.
    Value(&'static str),
    /// How fast that changes.
    Rate(&'static str),
}

impl Order {
    fn new(path: &str) -> Option<Self> {
        Some(match path {
            "name" => Self::Name,
            "vhost" => Self::Vhost,
            "type" => Self::Type,
            "durable" => Self::Durable,
            "consumers" => Self::Count(|figures| figures.consumers.into()),
            "memory" => Self::Count(|figures| figures.ram_bytes),
            "messages" => Self::Count(|figures| figures.ready + figures.unacked + figures.delayed),
            "messages_ready" => Self::Count(|figures| figures.ready),
            "messages_unacknowledged" => Self::Count(|figures| figures.unacked),
            _ => match path.strip_suffix("_details.rate") {
                Some(path) => Self::Rate(Totals::key(path)?),
                None => Self::Value(Totals::key(path)?),
            },
        })
    }

    fn needs_figures(self) -> bool {
        matches!(self, Self::Count(_) | Self::Value(_) | Self::Rate(_))
    }
}

/// A queue as lists show it.
///
/// # Errors
/// The query asks for samples that make no sense.
pub(crate) async fn listed(call: &Call, record: &Arc<QueueRecord>) -> Result<Object, ApiError> {
    let mut figures = figures(call, std::slice::from_ref(record)).await;
    let shown = Shown {
        call,
        details: &Details::new(call)?,
        owners: &HashMap::new(),
        depth: Depth::Reduced,
        is_single: false,
    };
    Ok(shown.item(&Source {
        record,
        figures: figures.remove(&record.id()).unwrap_or_default(),
    }))
}

async fn figures(call: &Call, records: &[Arc<QueueRecord>]) -> HashMap<QueueId, QueueFigures> {
    let queues: Vec<QueueRef> = records.iter().map(|record| record.queue).collect();
    let figures = call.state.node.queue_figures(&queues).await;
    figures
        .into_iter()
        .map(|figures| (figures.id, figures))
        .collect()
}

/// What is known of these queues without asking; shares of time are as of when something happened in them.
fn known_figures(call: &Call, records: &[Arc<QueueRecord>]) -> HashMap<QueueId, QueueFigures> {
    let directory = call.state.queues.named(&call.state.node);
    let known = |record: &Arc<QueueRecord>| Some((record.id(), directory.figures(record.id())?));
    let known = records.iter().filter_map(known);
    known.map(|(id, figures)| (id, figures.clone())).collect()
}

/// The connections of exclusive queues, if there are such queues.
async fn owners(
    call: &Call,
    records: &[Arc<QueueRecord>],
) -> HashMap<ConnectionId, ConnectionFigures> {
    let owners = records.iter().filter_map(|record| record.exclusive_owner);
    super::connections::by_id(call, owners).await
}

/// How queues are shown in one answer.
struct Shown<'a> {
    call: &'a Call,
    details: &'a Details,
    owners: &'a HashMap<ConnectionId, ConnectionFigures>,
    depth: Depth,
    /// Samples, and not only rates, are for single queues.
    is_single: bool,
}

impl Shown<'_> {
    /// What does not change while the queue exists.
    fn base(&self, record: &QueueRecord) -> Object {
        let mut arguments = record.arguments.clone();
        if arguments.get("x-queue-type").is_none() {
            let queue_type = record.settings.queue_type.as_str();
            arguments.insert(
                "x-queue-type",
                broker::value::Value::LongStr(bytes::Bytes::from_static(queue_type.as_bytes())),
            );
        }
        let mut item = object! {
            "arguments" => self.call.arguments(&arguments),
            "auto_delete" => record.auto_delete,
            "durable" => record.durable,
            "exclusive" => record.exclusive_owner.is_some(),
            "internal" => false,
            "internal_owner" => false,
            "name" => &record.name,
            "node" => self.call.state.node_name(),
            "state" => if record.paused { "paused" } else { "running" },
            "type" => record.settings.queue_type.as_str(),
            "vhost" => &record.vhost,
        };
        if record.settings.queue_type == QueueType::Quorum {
            item.append(self.members());
        }
        if let Some(owner) = record.exclusive_owner.and_then(|id| self.owners.get(&id)) {
            item.push("owner_pid_details", super::connections::short(owner));
        }
        if let Some(owner) = record.exclusive_owner.filter(|_| self.call.is_operator()) {
            item.push("owner_pid", self.call.pid(owner, 0));
        }
        item
    }

    /// Where the copies of a quorum queue are: there is one so far.
    fn members(&self) -> Object {
        let node = self.call.state.node_name();
        let list = Json::List(vec![node.clone().into()]);
        object! { "leader" => node, "members" => list.clone(), "online" => list }
    }

    fn policies(&self, record: &QueueRecord) -> (Option<Json>, Option<Json>, Json) {
        let Some(vhost) = self.call.metadata.vhost(&record.vhost) else {
            return (None, None, Object::default().into());
        };
        let effective = vhost.queue_policies(record);
        let name = |policy: Option<&Arc<broker::policy::Policy>>| {
            policy.map(|policy| Json::from(&policy.name))
        };
        let definition = effective.definition().map_or_else(
            || Object::default().into(),
            |definition| Json::from(&serde_json::Value::Object(definition)),
        );
        (
            name(effective.policy),
            name(effective.operator_policy),
            definition,
        )
    }

    fn static_item(&self, source: &Source<'_>, with_totals: bool) -> Object {
        let mut item = self.base(source.record);
        if with_totals {
            let QueueFigures {
                ready,
                unacked,
                delayed,
                ..
            } = source.figures;
            item.append(object! {
                "messages" => ready + unacked + delayed,
                "messages_ready" => ready,
                "messages_unacknowledged" => unacked,
            });
            if source.record.settings.queue_type != QueueType::Quorum {
                item.push("online", Json::Null);
            }
            return item;
        }
        let (policy, operator_policy, definition) = self.policies(source.record);
        item.append(object! {
            "effective_policy_definition" => definition,
            "operator_policy" => operator_policy,
            "policy" => policy,
        });
        item
    }

    /// The fields of [`BRIEF`], as in [`Shown::item`].
    fn brief_item(&self, Source { record, figures }: &Source<'_>) -> Object {
        object! {
            "auto_delete" => record.auto_delete,
            "consumers" => figures.consumers,
            "durable" => record.durable,
            "messages" => Totals::of(figures).messages(),
            "messages_ready" => figures.ready,
            "messages_unacknowledged" => figures.unacked,
            "name" => &record.name,
            "node" => self.call.state.node_name(),
            "state" => if record.paused { "paused" } else { "running" },
            "type" => record.settings.queue_type.as_str(),
            "vhost" => &record.vhost,
        }
    }

    fn item(&self, Source { record, figures }: &Source<'_>) -> Object {
        let mut item = self.base(record);
        let totals = Totals::of(figures);
        let (statistics, subject) = (&self.call.state.statistics, Subject::Queue(record.queue));
        let series = if self.is_single {
            statistics.look_at(subject)
        } else {
            statistics.glance_at(subject)
        };
        let (policy, operator_policy, definition) = self.policies(record);
        let persistent = if record.durable { totals.messages() } else { 0 };
        // Compat: what waits to be tried again is not ready, but its bytes are.
        let ready_bytes = figures.ready_bytes + figures.delayed_bytes;
        item.append(object! {
            "consumer_capacity" => figures.consumer_capacity,
            "consumer_utilisation" => figures.consumer_capacity,
            "consumers" => figures.consumers,
            "effective_policy_definition" => definition,
            "memory" => figures.ram_bytes,
            "message_bytes" => ready_bytes + figures.unacked_bytes,
            "message_bytes_persistent" => if record.durable { ready_bytes + figures.unacked_bytes } else { 0 },
            "message_bytes_ram" => figures.ram_bytes,
            "message_bytes_ready" => ready_bytes,
            "message_bytes_unacknowledged" => figures.unacked_bytes,
            "messages_persistent" => persistent,
            "message_bytes_replayable" => figures.replayable_bytes,
            "messages_replayable" => figures.replayable,
            "messages_ram" => figures.ready + figures.unacked,
            "messages_ready_ram" => figures.ready,
            "messages_unacknowledged_ram" => figures.unacked,
            "reductions" => 0_u64,
            "reductions_details" => object! { "rate" => 0.0 },
            "storage_version" => 2_u64,
        });
        let settings = self.call.metadata.queue_settings(record);
        if settings.queue_type == QueueType::Quorum {
            let limit = settings.delivery_limit.map(Json::from);
            item.append(object! {
                "delivery_limit" => limit.unwrap_or_else(|| "unlimited".into()),
                "open_files" => object! { self.call.state.node_name() => 0_u64 },
            });
            item.append(retries(&settings.delayed_retry, figures));
            item.append(rare(figures));
        }
        item.append(totals.lengths(self.details, series.as_ref()));
        let stats = totals.message_stats(self.details, series.as_ref());
        if !stats.is_empty() {
            item.push("message_stats", stats);
        }
        if let Some(since) = totals.idle_since(series.as_ref()) {
            item.push("idle_since", since);
        }
        let is_full = self.depth == Depth::Full;
        let single_active = figures
            .single_active_consumer
            .as_ref()
            .map(|(_, tag)| tag.clone());
        for (key, value) in [
            ("policy", policy),
            ("operator_policy", operator_policy),
            (
                "exclusive_consumer_tag",
                figures.exclusive_consumer_tag.clone().map(Json::from),
            ),
            ("single_active_consumer_tag", single_active.map(Json::from)),
        ] {
            if is_full || value.is_some() {
                item.push(key, value);
            }
        }
        if is_full {
            item.push("garbage_collection", garbage_collection());
            item.push("head_message_timestamp", Json::Null);
        }
        item
    }
}

/// There is no garbage collector; clients look for the object.
pub(crate) fn garbage_collection() -> Object {
    object! {
        "fullsweep_after" => 0_u64,
        "max_heap_size" => 0_u64,
        "min_bin_vheap_size" => 0_u64,
        "min_heap_size" => 0_u64,
        "minor_gcs" => 0_u64,
    }
}

pub(crate) async fn one(call: Call) -> Outcome {
    match call.method {
        Method::PUT => declare(&call).await,
        Method::DELETE => delete(&call).await,
        _ => show(&call).await,
    }
}

/// The queue in the path.
///
/// # Errors
/// There is none.
pub(crate) fn expect_queue(call: &Call) -> Result<&Arc<QueueRecord>, ApiError> {
    call.vhost()?
        .queue(call.parameter(1))
        .ok_or(ApiError::NoObject)
}

async fn show(call: &Call) -> Outcome {
    let record = Arc::clone(expect_queue(call)?);
    let details = Details::new(call)?;
    let records = [Arc::clone(&record)];
    let mut figures = figures(call, &records).await;
    let consumers = call.state.node.consumers(&[record.queue]).await;
    let connections = consumers.iter().map(super::consumers::connection_of);
    let connections = connections.chain(record.exclusive_owner);
    let connections = if super::neighbours::is_wanted(call) {
        let all = call.state.node.connections().await.into_iter();
        all.map(|connection| (connection.details.id, connection))
            .collect()
    } else {
        super::connections::by_id(call, connections).await
    };
    let shown = Shown {
        call,
        details: &details,
        owners: &connections,
        depth: Depth::Full,
        is_single: true,
    };
    let consumers: Vec<Object> = consumers
        .iter()
        .map(|consumer| super::consumers::item(call, consumer, &connections))
        .collect();
    let source = Source {
        figures: figures.remove(&record.id()).unwrap_or_default(),
        record: &record,
    };
    let mut item = object! { "consumer_details" => consumers };
    item.append(shown.item(&source));
    item.append(super::neighbours::of_queue(
        call,
        &record,
        &connections,
        &details,
    ));
    Ok(Columns::new(&call.query).apply(item).into())
}

/// The argument table of a body.
///
/// # Errors
/// 400
pub(crate) fn arguments(body: &Body) -> Result<Arguments, ApiError> {
    match body.get("arguments") {
        None | Some(serde_json::Value::Null) => Ok(Arguments::default()),
        Some(serde_json::Value::Array(empty)) if empty.is_empty() => Ok(Arguments::default()),
        Some(serde_json::Value::Object(fields)) => {
            to_arguments(fields).ok_or_else(|| ApiError::bad("null_not_allowed"))
        }
        Some(_) => Err(ApiError::not_json()),
    }
}

async fn declare(call: &Call) -> Outcome {
    let is_new = call.vhost()?.queue(call.parameter(1)).is_none();
    let body = call.body()?;
    if let Some(node) = body.get("node").and_then(serde_json::Value::as_str) {
        super::nodes::expect_member(call, node)?;
    }
    let arguments = amqp::table(&arguments(&body)?);
    let (durable, auto_delete) = (body.switch("durable")?, body.switch("auto_delete")?);
    let mut amqp = Amqp::open(call).await?;
    let name = call.parameter(1).as_bytes();
    amqp.ask(|out| {
        queue::Declare {
            queue: name,
            durable,
            auto_delete,
            arguments: Table::new(&arguments),
            ..queue::Declare::default()
        }
        .encode(CHANNEL, out);
    })
    .await?;
    Ok(Answer::put(is_new))
}

async fn delete(call: &Call) -> Outcome {
    let name = expect_queue(call)?.name.clone();
    let mut amqp = Amqp::open(call).await?;
    amqp.ask(|out| {
        queue::Delete {
            queue: name.as_bytes(),
            if_unused: call.query.is_true("if-unused"),
            if_empty: call.query.is_true("if-empty"),
            ..queue::Delete::default()
        }
        .encode(CHANNEL, out);
    })
    .await?;
    Ok(Answer::NoContent)
}

pub(crate) async fn purge(call: Call) -> Outcome {
    let name = expect_queue(&call)?.name.clone();
    let mut amqp = Amqp::open(&call).await?;
    amqp.ask(|out| {
        queue::Purge {
            queue: name.as_bytes(),
            ..queue::Purge::default()
        }
        .encode(CHANNEL, out);
    })
    .await?;
    Ok(Answer::NoContent)
}

/// What becomes of messages that were got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AckMode {
    /// They go back to the queue.
    requeue: bool,
    /// They are rejected, not acknowledged.
    reject: bool,
}

impl AckMode {
    fn read(body: &Body) -> Result<Self, ApiError> {
        let Some(mode) = body.get("ackmode") else {
            // Before 3.7 the switch was `requeue`.
            return match body.get("requeue") {
                Some(_) => Ok(Self {
                    requeue: body.switch("requeue")?,
                    reject: false,
                }),
                None => Err(definitions::Error::KeyMissing("ackmode".to_owned()).into()),
            };
        };
        let mode = mode.as_str().unwrap_or_default();
        let (reject, requeue) = match mode {
            "ack_requeue_true" => (false, true),
            "ack_requeue_false" => (false, false),
            "reject_requeue_true" => (true, true),
            "reject_requeue_false" => (true, false),
            _ => {
                return Err(ApiError::bad(format!(
                    "Invalid ackmode value: {mode}. Valid values are: ack_requeue_true, ack_requeue_false, reject_requeue_true, reject_requeue_false"
                )));
            }
        };
        Ok(Self { requeue, reject })
    }
}

fn integer(body: &Body, key: &str) -> Result<i64, ApiError> {
    let value = body.require(key)?;
    let read = value
        .as_i64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    read.ok_or_else(|| {
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        ApiError::BadRequest(Json::List(vec!["not_integer".into(), shown.into()]))
    })
}

pub(crate) async fn get(call: Call) -> Outcome {
    let body = match call.body()? {
        old if old.contains_key("requeue") => old,
        _ => call.body_with(&["ackmode", "count", "encoding"])?,
    };
    let Some(record) = call.vhost()?.queue(call.parameter(1)) else {
        return Err(ApiError::NotFound("queue_not_found".to_owned()));
    };
    let name = record.name.clone();
    let mode = AckMode::read(&body)?;
    let count = integer(&body, "count")?;
    let is_base64 = match body.require_text("encoding")? {
        "auto" => false,
        "base64" => true,
        _ => {
            return Err(ApiError::bad(
                "Unsupported encoding. Please use auto or base64.",
            ));
        }
    };
    let truncate = match body.get("truncate") {
        Some(_) => usize::try_from(integer(&body, "truncate")?)
            .map_err(|_| ApiError::bad("truncate must not be negative"))?,
        None => usize::MAX,
    };
    // Compat: less than none is all.
    let count = u64::try_from(count).unwrap_or(u64::MAX).min(GET_COUNT_MAX);
    let mut amqp = Amqp::open(&call).await?;
    let messages = fetch(&mut amqp, &name, count, mode).await?;
    let items: Vec<Object> = messages
        .iter()
        .map(|message| message_item(message, is_base64, truncate))
        .collect();
    Ok(Json::from(items).into())
}

/// Fetches up to `count` messages, and settles them.
async fn fetch(
    amqp: &mut Amqp,
    name: &Name,
    count: u64,
    mode: AckMode,
) -> Result<Vec<GotMessage>, ApiError> {
    // Settled at once, if nothing has to come back.
    let no_ack = !mode.requeue && !mode.reject;
    let mut messages: Vec<GotMessage> = Vec::new();
    let mut bytes = 0;
    for _ in 0..count {
        let received = amqp
            .ask(|out| {
                basic::Get {
                    queue: name.as_bytes(),
                    no_ack,
                    ..basic::Get::default()
                }
                .encode(CHANNEL, out);
            })
            .await
            .map_err(ApiError::with_text)?;
        let Received::Message(message) = received else {
            break;
        };
        bytes += message.body.len();
        messages.push(message);
        if bytes >= GET_BYTES_MAX {
            break;
        }
    }
    if mode.reject {
        // A queue may count who rejected, but not who gave back.
        amqp.tell(|out| {
            for message in &messages {
                basic::Reject {
                    delivery_tag: message.delivery_tag,
                    requeue: mode.requeue,
                }
                .encode(CHANNEL, out);
            }
        });
    } else if let Some(last) = messages.last().filter(|_| !no_ack) {
        amqp.tell(|out| {
            basic::Nack {
                delivery_tag: last.delivery_tag,
                multiple: true,
                requeue: mode.requeue,
            }
            .encode(CHANNEL, out);
        });
    }
    Ok(messages)
}

fn message_item(message: &GotMessage, is_base64: bool, truncate: usize) -> Object {
    let body = &message.body[..message.body.len().min(truncate)];
    let text = std::str::from_utf8(body).ok().filter(|_| !is_base64);
    let (payload, encoding) = match text {
        Some(text) => (text.to_owned(), "string"),
        None => (BASE64.encode(body), "base64"),
    };
    object! {
        "payload_bytes" => message.body.len(),
        "redelivered" => message.redelivered,
        "exchange" => crate::json::text(&message.exchange),
        "routing_key" => crate::json::text(&message.routing_key),
        "message_count" => message.message_count,
        "properties" => amqp::shown_properties(&message.properties),
        "payload" => payload,
        "payload_encoding" => encoding,
    }
}

/// The actions of RabbitMQ 3 were for mirrors, which 4 has no more.
pub(crate) async fn actions(call: Call) -> Outcome {
    expect_queue(&call)?;
    let body = call.body()?;
    let action = body.require_text("action")?.to_owned();
    Err(ApiError::BadRequest(Json::List(vec![
        "unknown".into(),
        action.into(),
    ])))
}

/// How far the members of a quorum queue are: here one, which is the log's own.
pub(crate) async fn quorum_status(call: Call) -> Outcome {
    let record = expect_queue(&call)?;
    if record.settings.queue_type != QueueType::Quorum {
        return Err(ApiError::Unavailable(
            object! { "status" => "failed", "reason" => NOT_QUORUM }.into(),
        ));
    }
    let counters = figures(&call, std::slice::from_ref(record)).await;
    let counters = counters.get(&record.id()).map(|figures| figures.counters);
    let index = counters.map_or(0, |counters| counters.published + counters.recovered);
    let member = object! {
        "Node Name" => call.state.node_name(),
        "Raft State" => "leader",
        "Membership" => "voter",
        "Last Log Index" => index,
        "Last Written" => index,
        "Last Applied" => index,
        "Commit Index" => index,
        "Snapshot Index" => -1_i64,
        "Term" => 1_u64,
        "Machine Version" => 0_u64,
    };
    Ok(Json::from(vec![member]).into())
}

const NOT_QUORUM: &str = "classic_queue_not_supported";

/// Checks that members may be changed, and that a queue has members.
fn expect_quorum_queue(call: &Call) -> Result<(), ApiError> {
    let is_quorum = |record: &Arc<QueueRecord>| record.settings.queue_type == QueueType::Quorum;
    match call.vhost()?.queue(call.parameter(1)).map(is_quorum) {
        Some(true) => Ok(()),
        Some(false) => Err(ApiError::NoReplicas(NOT_QUORUM)),
        None => Err(ApiError::NoReplicas("not_found")),
    }
}

fn expect_replica_operations(call: &Call) -> Result<(), ApiError> {
    if call.state.settings().api.quorum_replica_operations_disabled {
        return Err(ApiError::Disallowed(
            "Broker settings disallow quorum queue replica operations.",
        ));
    }
    Ok(())
}

fn expect_member_in_body(call: &Call) -> Result<(), ApiError> {
    let body = call.body()?;
    let node = body.require_text("node")?;
    if node == call.state.node_name() {
        return Ok(());
    }
    Err(ApiError::bad("Node is not a cluster member"))
}

/// The only node has a member already.
pub(crate) async fn add_replica(call: Call) -> Outcome {
    expect_replica_operations(&call)?;
    expect_member_in_body(&call)?;
    expect_quorum_queue(&call)?;
    Ok(Answer::NoContent)
}

/// The only member stays.
pub(crate) async fn delete_replica(call: Call) -> Outcome {
    expect_replica_operations(&call)?;
    expect_queue(&call)?;
    expect_member_in_body(&call)?;
    expect_quorum_queue(&call)?;
    Err(ApiError::NoReplicas("last_node"))
}

/// All quorum queues have their member on the only node.
pub(crate) async fn grow_replicas(call: Call) -> Outcome {
    expect_replica_operations(&call)?;
    super::nodes::expect_node(&call)?;
    let body = call.body()?;
    for key in ["vhost_pattern", "queue_pattern"] {
        body.require_text(key)?;
    }
    match body.require_text("strategy")? {
        "all" | "even" => Ok(Answer::NoContent),
        _ => Err(ApiError::bad("Invalid strategy value")),
    }
}

/// The last member of a queue cannot be taken from it.
pub(crate) async fn shrink_replicas(call: Call) -> Outcome {
    expect_replica_operations(&call)?;
    super::nodes::expect_node(&call)?;
    Ok(Answer::Accepted)
}

/// What a quorum queue tells of messages that came back and wait.
fn retries(retry: &DelayedRetry, figures: &QueueFigures) -> Object {
    let kind = match (retry.is_enabled(), retry.min_ms) {
        (true, Some(min)) => {
            let (name, max) = (retry.retry_type.as_str(), retry.longest_ms());
            format!("{name} (min: {min}ms, max: {max}ms)")
        }
        (true | false, _) => RetryType::Disabled.as_str().to_owned(),
    };
    let mut item = object! {
        "delayed_retry" => kind,
        "messages_delayed" => figures.delayed,
    };
    if let Some((next, last)) = figures.delayed_until_ms {
        item.push("next_delayed_at", next);
        item.push("last_delayed_at", last);
    }
    item
}

/// Dead letters and priorities of a quorum queue. Messages without a priority have the one in the middle, and nobody counts others
/// where there are none. After a restart a message counts when the queue has read it.
fn rare(figures: &QueueFigures) -> Object {
    let known = figures.rare.as_deref();
    let mut levels = Object::default();
    match known.map_or(&[][..], |rare| &rare.levels) {
        [] if figures.ready > 0 && !figures.has_unknown_levels => {
            levels.push(LEVEL_DEFAULT.to_string(), figures.ready)
        }
        counts => counts
            .iter()
            .for_each(|(level, count)| levels.push(level.to_string(), *count)),
    }
    object! {
        "message_bytes_dlx" => known.map_or(0, |rare| rare.dead_bytes),
        "messages_active_priorities" => levels.len(),
        "messages_by_priority" => levels,
        "messages_dlx" => known.map_or(0, |rare| rare.dead),
    }
}

/// There is one node, so everything is where it should be.
pub(crate) async fn rebalance(_call: Call) -> Outcome {
    Ok(Answer::NoContent)
}
