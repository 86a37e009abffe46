//! What the node's configuration says about the metadata.
//!
//! It is not part of the metadata: it is given again at each start and may differ then. Only a command that is asked for now looks at
//! it; what comes of that is in the log, so a replayed command needs no rules.

use crate::auth::Pattern;
use crate::command::PasswordHash;
use crate::limits::VhostLimits;
use crate::policy::Policy;
use base::Name;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The queue type of last resort.
pub(super) const FALLBACK_QUEUE_TYPE: &str = "classic";

/// Limits and defaults of a node.
#[derive(Clone, Debug)]
pub struct MetadataRules {
    /// The name of this node, which is part of the names of shards.
    pub node: Box<str>,
    /// Vhosts that may exist (`vhost_max`), `None` for no limit.
    pub vhosts_max: Option<u64>,
    /// Exchanges of all vhosts that may exist, predeclared ones with them, when another one is declared
    /// (`cluster_exchange_limit`), `None` for no limit.
    pub exchanges_max: Option<u64>,
    /// Queues of all vhosts that may exist when another one is declared (`cluster_queue_limit`), `None` for no limit.
    pub queues_max: Option<u64>,
    /// Exchanges of the type `x-local-random` may not be declared (`exchange_types.local_random.enabled`).
    pub local_random_disabled: bool,
    /// Default queue type of new vhosts (`default_queue_type`): `classic`, `quorum` or `stream`.
    pub default_queue_type: Box<str>,
    /// Runtime parameters that a component may have, by its name (`runtime_parameters.limits`). Policies are such a component.
    pub parameters_max: BTreeMap<Box<str>, u64>,
    /// Limits of new vhosts whose names match (`default_limits.vhosts`): the first that does.
    pub vhost_limits: Vec<(Pattern, VhostLimits)>,
    /// Operator policies that new vhosts whose names match begin with (`default_policies.operator`): all that do.
    pub operator_policies: Vec<(Pattern, Arc<Policy>)>,
    /// Users whom new vhosts whose names match let in (`default_users`): all that do.
    pub users: Vec<VhostUser>,
}

/// A user who may do something in each new vhost.
#[derive(Clone, Debug)]
pub struct VhostUser {
    /// Which vhosts.
    pub vhosts: Pattern,
    /// The user, who is made if there is none of this name.
    pub name: Name,
    /// The password of one who is made.
    pub password_hash: Option<PasswordHash>,
    /// The tags of one who is made.
    pub tags: Vec<Box<str>>,
    /// Names to declare and delete.
    pub configure: Box<str>,
    /// Names to publish to.
    pub write: Box<str>,
    /// Names to consume from.
    pub read: Box<str>,
}

impl Default for MetadataRules {
    fn default() -> Self {
        Self {
            node: "rabbit@localhost".into(),
            vhosts_max: None,
            exchanges_max: None,
            queues_max: None,
            local_random_disabled: false,
            default_queue_type: FALLBACK_QUEUE_TYPE.into(),
            parameters_max: BTreeMap::new(),
            vhost_limits: Vec::new(),
            operator_policies: Vec::new(),
            users: Vec::new(),
        }
    }
}

impl MetadataRules {
    /// The limits that a new vhost begins with.
    pub(super) fn limits_of(&self, vhost: &Name) -> VhostLimits {
        let found = self
            .vhost_limits
            .iter()
            .find(|(pattern, _)| pattern.matches(vhost));
        found.map_or_else(VhostLimits::default, |(_, limits)| *limits)
    }

    /// The operator policies that a new vhost begins with.
    pub(super) fn policies_of(&self, vhost: &Name) -> impl Iterator<Item = &Arc<Policy>> {
        self.operator_policies
            .iter()
            .filter(|(pattern, _)| pattern.matches(vhost))
            .map(|(_, policy)| policy)
    }

    /// The users whom a new vhost lets in.
    pub(super) fn users_of(&self, vhost: &Name) -> impl Iterator<Item = &VhostUser> {
        self.users.iter().filter(|user| user.vhosts.matches(vhost))
    }

    /// How many policies of one kind all vhosts may have together.
    pub(super) fn parameters_max(&self, component: &str) -> Option<u64> {
        self.parameters_max.get(component).copied()
    }
}
