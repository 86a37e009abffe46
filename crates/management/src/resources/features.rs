//! Feature flags and deprecated features.
//!
//! This node has no flags to switch: whatever it can do, it does. Deprecated features are those whose use its configuration
//! permits or denies.

use crate::call::{Call, Outcome};
use crate::error::ApiError;
use crate::json::object;
use crate::listing::Listing;

/// Deprecated features that this node knows: name, whether they are permitted by default, and RabbitMQ's phase.
const DEPRECATED: [(&str, bool, &str); 2] = [
    ("global_qos", false, "denied_by_default"),
    ("transient_nonexcl_queues", true, "permitted_by_default"),
];

pub(crate) async fn flags(call: Call) -> Outcome {
    Listing::new(&call.query)?.list(Vec::<()>::new(), |()| "", |()| object! {})
}

pub(crate) async fn enable(_call: Call) -> Outcome {
    Err(ApiError::bad("unsupported"))
}

pub(crate) async fn deprecated(call: Call) -> Outcome {
    let set = &call.state.node.settings().deprecated_features;
    Listing::new(&call.query)?.list(
        DEPRECATED.to_vec(),
        |(name, ..)| name,
        |(name, permitted, phase)| {
            let permitted = set.get(*name).copied().unwrap_or(*permitted);
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

/// Compat: RabbitMQ answers with those in use; their use is not tracked here.
pub(crate) async fn deprecated_used(call: Call) -> Outcome {
    Listing::new(&call.query)?.list(Vec::<()>::new(), |()| "", |()| object! {})
}
