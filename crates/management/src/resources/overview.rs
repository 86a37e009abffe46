//! The overview, and what belongs to the whole cluster.

use crate::access;
use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::directory::Queues;
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::Columns;
use crate::statistics::{Details, NodeTotals, Series, Subject, VhostTotals, of_vhosts};
use broker::command::MetadataCommand;
use broker::exchange::ExchangeType;
use hyper::Method;
use node::config::RetentionTier;
use node::{InUse, RABBITMQ_VERSION};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The global parameter that holds the cluster's name.
const CLUSTER_NAME: &str = "cluster_name";
const CLUSTER_TAGS: &str = "cluster_tags";

/// The protocols that this node listens for, with where.
pub(crate) fn listeners(call: &Call) -> Vec<(&'static str, SocketAddr)> {
    let amqp = call.state.node.amqp_listeners();
    let http = call.state.http_listeners();
    let metrics = call.state.metrics_listeners();
    [
        ("amqp", &amqp.plain),
        ("amqp/ssl", &amqp.tls),
        ("http", &http.plain),
        ("https", &http.tls),
        ("http/prometheus", &metrics.plain),
        ("https/prometheus", &metrics.tls),
    ]
    .into_iter()
    .flat_map(|(protocol, addresses)| addresses.iter().map(move |address| (protocol, *address)))
    .collect()
}

fn listener_items(call: &Call) -> Vec<Object> {
    let node = call.state.node_name();
    listeners(call)
        .into_iter()
        .map(|(protocol, address)| {
            object! {
                "node" => node.clone(),
                "protocol" => protocol,
                "ip_address" => address.ip().to_string(),
                "port" => address.port(),
                "socket_opts" => object! { "backlog" => 128_u64, "nodelay" => true },
                "tls" => matches!(protocol, "amqp/ssl" | "https" | "https/prometheus"),
            }
        })
        .collect()
}

/// Where the HTTP API is.
pub(crate) fn contexts(call: &Call) -> Vec<Object> {
    let node = call.state.node_name();
    let prefix = &call.state.settings().path_prefix;
    call.state
        .http_listeners()
        .all()
        .map(|address| {
            object! {
                "ssl_opts" => Json::List(Vec::new()),
                "node" => node.clone(),
                "description" => "RabbitMQ Management",
                "path" => if prefix.is_empty() { "/".to_owned() } else { prefix.clone() },
                "cowboy_opts" => "[]",
                "ip" => address.ip().to_string(),
                "port" => address.port().to_string(),
            }
        })
        .collect()
}

/// The exchange types that this node offers.
pub(crate) fn exchange_types() -> Vec<Object> {
    ExchangeType::ALL
        .iter()
        .map(|exchange_type| {
            object! {
                "name" => exchange_type.as_str(),
                "description" => exchange_type.description(),
                "enabled" => true,
            }
        })
        .collect()
}

/// The global parameter of that name, else what the configuration says.
fn cluster_tags(call: &Call) -> Json {
    let settings = call.state.node.settings();
    let set = call.metadata.global_parameter(CLUSTER_TAGS);
    set.map_or_else(|| tags(&settings.labels.cluster_tags).into(), Json::from)
}

/// Tags as an object.
fn tags(tags: &BTreeMap<String, String>) -> Object {
    let mut item = Object::default();
    for (tag, value) in tags {
        item.push(tag.clone(), value.clone());
    }
    item
}

/// The cluster's name: what was set, else what the configuration says.
pub(crate) fn cluster_name_of(call: &Call) -> String {
    let set = call
        .metadata
        .global_parameter(CLUSTER_NAME)
        .and_then(serde_json::Value::as_str);
    let settings = call.state.node.settings();
    set.map(str::to_owned)
        .or_else(|| settings.cluster_name.clone())
        .unwrap_or_else(|| settings.node_name.clone())
}

pub(crate) async fn overview(call: Call) -> Outcome {
    let details = Details::new(&call)?;
    let labels = &call.state.node.settings().labels;
    let statistics = &call.state.node.settings().statistics;
    let without_stats = call.without_stats();
    let mut item = object! {
        "management_version" => RABBITMQ_VERSION,
        "rates_mode" => statistics.rates.as_str(),
        "sample_retention_policies" => object! {
            "global" => ages(&statistics.retention.global),
            "basic" => ages(&statistics.retention.basic),
            "detailed" => ages(&statistics.retention.detailed),
        },
        "exchange_types" => exchange_types(),
        "product_version" => labels.product_version.clone().unwrap_or_else(|| RABBITMQ_VERSION.to_owned()),
        "product_name" => labels.product_name.clone().unwrap_or_else(|| "RabbitMQ".to_owned()),
        "rabbitmq_version" => RABBITMQ_VERSION,
        "cluster_name" => cluster_name_of(&call),
        "cluster_tags" => cluster_tags(&call),
        "node_tags" => tags(&labels.node_tags),
        "erlang_version" => "",
        "erlang_full_version" => concat!("WarrenMQ ", env!("CARGO_PKG_VERSION")),
        "crypto_lib_version" => "",
        "disable_stats" => without_stats,
        "default_queue_type" => "classic",
        "is_op_policy_updating_enabled" =>
            !call.state.settings().operator_policy_changes_disabled,
        "enable_queue_totals" => call.with_queue_totals(),
        "require_definition_json_extension" => call.state.settings().api.require_json_extension,
    };
    if without_stats {
        item.append(brief_totals(&call));
        return Ok(Columns::new(&call.query).apply(item).into());
    }
    let is_monitor = access::is_monitor(call.user());
    let node_totals = {
        let queues = Queues::current(&call.state).await;
        NodeTotals::new(&call.state, &queues)
    };
    let own = match is_monitor {
        true => VhostTotals::default(),
        false => own_totals(&call).await,
    };
    let consumers = if is_monitor {
        node_totals.queues.consumers
    } else {
        own.queues.consumers
    };
    let node_series = call.state.statistics.totals();
    let churn = node_totals.churn(&details, Some(&node_series));
    let (message_stats, lengths) = if is_monitor {
        let lengths = node_totals.queues.lengths(&details, Some(&node_series));
        let stats = node_totals.message_stats(&details, Some(&node_series));
        (stats, lengths)
    } else {
        let series = own_series(&call);
        (
            own.message_stats(&details, series.as_ref()),
            own.queues.lengths(&details, series.as_ref()),
        )
    };
    let user = (!is_monitor).then(|| &call.user().name);
    let InUse {
        connections,
        channels,
    } = call.state.node.in_use(user);
    let (mut queues, mut exchanges) = (0, 0);
    for vhost in call.metadata.vhosts() {
        if is_monitor || access::may_enter(call.user(), &vhost.name) {
            queues += vhost.queue_count();
            exchanges += vhost.exchange_count();
        }
    }
    item.append(object! {
        "message_stats" => message_stats,
        "churn_rates" => churn,
        "queue_totals" => lengths,
        "object_totals" => object! {
            "channels" => channels,
            "consumers" => consumers,
            "exchanges" => exchanges,
            "queues" => queues,
            "connections" => connections,
        },
        "statistics_db_event_queue" => 0_u64,
    });
    if is_monitor {
        item.append(object! {
            "node" => call.state.node_name(),
            "listeners" => listener_items(&call),
            "contexts" => contexts(&call),
        });
    }
    Ok(Columns::new(&call.query).apply(item).into())
}

/// The ages in seconds for which samples are kept, in the words of the web UI: ages that are nearly one of these count as that one.
fn ages(policy: &[RetentionTier]) -> Vec<u64> {
    const KNOWN: [(u64, std::ops::RangeInclusive<u64>); 5] = [
        (60, 0..=66),
        (600, 540..=660),
        (3_600, 3_240..=3_960),
        (28_800, 25_920..=31_681),
        (86_400, 77_760..=95_041),
    ];
    let known = |age: u64| KNOWN.iter().find(|(_, ages)| ages.contains(&age));
    let ages = policy
        .iter()
        .filter_map(|tier| known(tier.age_s).map(|(age, _)| *age));
    ages.collect()
}

/// What is shown where figures are not.
fn brief_totals(call: &Call) -> Object {
    let is_monitor = access::is_monitor(call.user());
    let vhosts = call.metadata.vhosts();
    let seen: Vec<_> = vhosts
        .filter(|vhost| is_monitor || access::may_enter(call.user(), &vhost.name))
        .collect();
    let mut totals = object! {
        "queues" => seen.iter().map(|vhost| vhost.queue_count()).sum::<usize>(),
        "exchanges" => seen.iter().map(|vhost| vhost.exchange_count()).sum::<usize>(),
    };
    if is_monitor {
        totals.push("connections", call.state.node.connection_count());
    }
    object! { "node" => call.state.node_name(), "object_totals" => totals }
}

/// The totals of the vhosts that the user may see.
async fn own_totals(call: &Call) -> VhostTotals {
    let vhosts = access::vhosts(&call.metadata, call.user());
    let names: Vec<_> = vhosts.iter().map(|vhost| vhost.name.clone()).collect();
    let mut sum = VhostTotals::default();
    for totals in of_vhosts(&call.state, &names).await {
        sum.add(&totals);
    }
    sum
}

/// What was in the vhosts that the user may see.
fn own_series(call: &Call) -> Option<Series> {
    let vhosts = access::vhosts(&call.metadata, call.user()).into_iter();
    let statistics = &call.state.statistics;
    let known = vhosts.filter_map(|vhost| statistics.look_at(Subject::Vhost(vhost.name.clone())));
    known.reduce(|mut sum, own| {
        sum.add(&own);
        sum
    })
}

pub(crate) async fn cluster_name(call: Call) -> Outcome {
    if call.method != Method::PUT {
        return Ok(object! { "name" => cluster_name_of(&call) }.into());
    }
    let body = call.body()?;
    let name = body.require_text("name")?;
    if name.is_empty() {
        return Err(ApiError::bad("name must not be empty"));
    }
    call.propose(MetadataCommand::PutGlobalParameter {
        name: CLUSTER_NAME.into(),
        value: name.into(),
    })
    .await?;
    Ok(Answer::NoContent)
}

pub(crate) async fn extensions(_call: Call) -> Outcome {
    Ok(Json::from(vec![object! { "javascript" => "dispatcher.js" }]).into())
}

pub(crate) async fn version(_call: Call) -> Outcome {
    Ok(Json::from(RABBITMQ_VERSION).into())
}

pub(crate) async fn reset(call: Call) -> Outcome {
    if !call.parameters.is_empty() {
        super::nodes::expect_node(&call)?;
    }
    call.state.statistics.reset();
    Ok(Answer::NoContent)
}
