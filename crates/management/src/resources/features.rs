//! Feature flags and deprecated features.
//!
//! This node has no flags to switch: whatever it can do, it does. It names RabbitMQ's flags as enabled, since tools enable them before
//! they go on and make sure that they are. Deprecated features are those whose use its configuration permits or denies, and those that
//! there are no more.

use crate::call::{Answer, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, object};
use crate::listing::Listing;

/// The feature flags of RabbitMQ 4.3, how much a node of it insists on them, and what each is for.
const FLAGS: [(&str, &str, &str); 33] = [
    (
        "classic_mirrored_queue_version",
        "hard",
        "Classic queues with mirrors can say which version they are",
    ),
    (
        "classic_queue_type_delivery_support",
        "hard",
        "Classic queues deliver to nodes of other versions as they should",
    ),
    (
        "detailed_queues_endpoint",
        "soft",
        "Details of queues have a path of their own, the usual one has fewer figures",
    ),
    (
        "direct_exchange_routing_v2",
        "hard",
        "Direct exchanges route by a second, faster table",
    ),
    (
        "drop_unroutable_metric",
        "hard",
        "Messages that no queue takes and nobody wants back are counted",
    ),
    (
        "empty_basic_get_metric",
        "hard",
        "Each basic.get of an empty queue is counted",
    ),
    (
        "feature_flags_v2",
        "hard",
        "Feature flags are kept by their second subsystem",
    ),
    (
        "implicit_default_bindings",
        "hard",
        "Bindings to the default exchange are known without being stored",
    ),
    (
        "khepri_db",
        "soft",
        "Metadata are in a store that is replicated with Raft",
    ),
    (
        "listener_records_in_ets",
        "hard",
        "Listeners are listed in memory only",
    ),
    (
        "maintenance_mode_status",
        "hard",
        "Nodes tell each other whether they are in maintenance",
    ),
    (
        "message_containers",
        "hard",
        "Messages are kept in one form for all protocols",
    ),
    (
        "message_containers_deaths_v2",
        "soft",
        "Cycles of dead letters are found in all of a history of deaths",
    ),
    (
        "quorum_queue",
        "hard",
        "Queues of the type quorum can be declared",
    ),
    (
        "quorum_queue_non_voters",
        "soft",
        "New members of quorum queues wait with their vote until they have caught up",
    ),
    (
        "rabbit_exchange_type_local_random",
        "soft",
        "Exchanges of the type x-local-random can be declared",
    ),
    (
        "rabbitmq_4.0.0",
        "soft",
        "Nodes of 3.13 can be replaced by nodes of 4.0 one by one",
    ),
    (
        "rabbitmq_4.1.0",
        "soft",
        "Nodes can be replaced by nodes of 4.1 one by one",
    ),
    (
        "rabbitmq_4.2.0",
        "soft",
        "Nodes can be replaced by nodes of 4.2 one by one",
    ),
    (
        "rabbitmq_4.3.0",
        "none",
        "Nodes can be replaced by nodes of 4.3 one by one",
    ),
    (
        "restart_streams",
        "hard",
        "Streams can be restarted with another leader",
    ),
    (
        "stream_filtering",
        "hard",
        "Consumers of streams can ask for a part of the messages",
    ),
    (
        "stream_queue",
        "hard",
        "Queues of the type stream can be declared",
    ),
    (
        "stream_sac_coordinator_unblock_group",
        "hard",
        "Groups of consumers of a super stream do not stay blocked",
    ),
    (
        "stream_single_active_consumer",
        "hard",
        "Streams can have a single active consumer",
    ),
    (
        "stream_update_config_command",
        "hard",
        "Policies can change streams that exist",
    ),
    (
        "tie_binding_to_dest_with_keep_while_cond",
        "none",
        "A binding is stored only as long as its destination",
    ),
    (
        "topic_binding_projection_v4",
        "none",
        "Topic exchanges route by the fourth form of their table",
    ),
    (
        "topic_binding_projection_v5",
        "none",
        "Topic exchanges route by the fifth form of their table",
    ),
    (
        "track_qq_members_uids",
        "none",
        "Members of quorum queues are known by unique ids",
    ),
    (
        "tracking_records_in_ets",
        "hard",
        "What is counted of connections and channels is in memory only",
    ),
    (
        "user_limits",
        "hard",
        "Users can have limits of connections and channels",
    ),
    (
        "virtual_host_metadata",
        "hard",
        "Virtual hosts can have a description and tags",
    ),
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
        |(name, ..)| name,
        |(name, level, description)| {
            let provider = match *name {
                "detailed_queues_endpoint" => "rabbitmq_management",
                "drop_unroutable_metric" | "empty_basic_get_metric" => "rabbitmq_management_agent",
                _ => "rabbit",
            };
            object! {
                "name" => *name,
                "desc" => *description,
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
    if FLAGS.iter().any(|(own, ..)| **own == **name) {
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
