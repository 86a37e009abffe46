//! Feature flags and deprecated features.
//!
//! This node has no flags to switch: whatever it can do, it does. It names RabbitMQ's flags as enabled, since tools enable them before
//! they go on and make sure that they are. Deprecated features are those whose use its configuration permits or denies, and those that
//! there are no more.

use crate::call::{Answer, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, object};
use crate::listing::Listing;

/// The feature flags of RabbitMQ 4.3, and how much a node of it insists on them.
const FLAGS: [(&str, &str); 33] = [
    ("classic_mirrored_queue_version", "hard"),
    ("classic_queue_type_delivery_support", "hard"),
    ("detailed_queues_endpoint", "soft"),
    ("direct_exchange_routing_v2", "hard"),
    ("drop_unroutable_metric", "hard"),
    ("empty_basic_get_metric", "hard"),
    ("feature_flags_v2", "hard"),
    ("implicit_default_bindings", "hard"),
    ("khepri_db", "soft"),
    ("listener_records_in_ets", "hard"),
    ("maintenance_mode_status", "hard"),
    ("message_containers", "hard"),
    ("message_containers_deaths_v2", "soft"),
    ("quorum_queue", "hard"),
    ("quorum_queue_non_voters", "soft"),
    ("rabbit_exchange_type_local_random", "soft"),
    ("rabbitmq_4.0.0", "soft"),
    ("rabbitmq_4.1.0", "soft"),
    ("rabbitmq_4.2.0", "soft"),
    ("rabbitmq_4.3.0", "none"),
    ("restart_streams", "hard"),
    ("stream_filtering", "hard"),
    ("stream_queue", "hard"),
    ("stream_sac_coordinator_unblock_group", "hard"),
    ("stream_single_active_consumer", "hard"),
    ("stream_update_config_command", "hard"),
    ("tie_binding_to_dest_with_keep_while_cond", "none"),
    ("topic_binding_projection_v4", "none"),
    ("topic_binding_projection_v5", "none"),
    ("track_qq_members_uids", "none"),
    ("tracking_records_in_ets", "hard"),
    ("user_limits", "hard"),
    ("virtual_host_metadata", "hard"),
];

/// Deprecated features: name, whether they are permitted by default, and RabbitMQ's phase.
const DEPRECATED: [(&str, bool, &str); 8] = [
    ("amqp_address_v1", false, "denied_by_default"),
    ("amqp_filter_set_bug", false, "denied_by_default"),
    ("classic_queue_mirroring", false, REMOVED),
    ("global_qos", false, "denied_by_default"),
    (
        "management_metrics_collection",
        true,
        "permitted_by_default",
    ),
    ("queue_master_locator", false, "denied_by_default"),
    ("ram_node_type", false, REMOVED),
    ("transient_nonexcl_queues", true, "permitted_by_default"),
];

/// The phase of features that nothing can permit any more.
const REMOVED: &str = "removed";

pub(crate) async fn flags(call: Call) -> Outcome {
    Listing::new(&call.query)?.list(
        FLAGS.to_vec(),
        |(name, _)| name,
        |(name, level)| {
            let provider = match *name {
                "detailed_queues_endpoint" => "rabbitmq_management",
                "drop_unroutable_metric" | "empty_basic_get_metric" => "rabbitmq_management_agent",
                _ => "rabbit",
            };
            object! {
                "name" => *name,
                "desc" => "",
                "doc_url" => "",
                "state" => "enabled",
                "stability" => if *level == "none" { "stable" } else { "required" },
                "require_level" => *level,
                "experiment_level" => "supported",
                "callbacks" => Json::List(Vec::new()),
                "provided_by" => provider,
            }
        },
    )
}

/// Enabling what is enabled changes nothing.
pub(crate) async fn enable(call: Call) -> Outcome {
    let name = call.parameter(0);
    if FLAGS.iter().any(|(own, _)| **own == **name) {
        return Ok(Answer::NoContent);
    }
    Err(ApiError::bad("unsupported"))
}

pub(crate) async fn deprecated(call: Call) -> Outcome {
    show_deprecated(&call, |_| true)
}

fn show_deprecated(call: &Call, keep: impl Fn(&str) -> bool) -> Outcome {
    let set = &call.state.node.settings().deprecated_features;
    let features = DEPRECATED.into_iter().filter(|(name, ..)| keep(name));
    Listing::new(&call.query)?.list(
        features.collect(),
        |(name, ..)| name,
        |(name, permitted, phase)| {
            let asked = set.get(*name).copied().filter(|_| *phase != REMOVED);
            let permitted = asked.unwrap_or(*permitted);
            object! {
                "name" => *name,
                "state" => if permitted { "permitted" } else { "denied" },
                "desc" => "",
                "deprecation_phase" => *phase,
                "doc_url" => "",
                "provided_by" => "rabbit",
            }
        },
    )
}

/// Those that are used now: queues that go with the node and are nobody's own.
pub(crate) async fn deprecated_used(call: Call) -> Outcome {
    let has_transient_queues = call
        .metadata
        .queues()
        .any(|record| !record.durable && record.exclusive_owner.is_none());
    let used = move |name: &str| name == "transient_nonexcl_queues" && has_transient_queues;
    show_deprecated(&call, used)
}
