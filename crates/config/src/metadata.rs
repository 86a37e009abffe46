//! Limits and defaults of vhosts: `vhost_max`, `default_queue_type`, `default_limits`, `default_policies`, `runtime_parameters`.
//!
//! Names that the operator chooses stand in the middle of these keys, so one group of lines describes one thing:
//! `default_policies.operator.NAME.max_length = 10`. The groups are read in the order of their names.

use super::{Settings, size};
use broker::auth::Pattern;
use broker::json::{Json, Map};
use broker::limits::VhostLimits;
use broker::metadata::MetadataRules;
use broker::policy::{ApplyTo, Policy, PolicyScope};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a file says about vhosts.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataSettings {
    /// Vhosts that may exist; `None` for no limit.
    pub vhosts_max: Option<u64>,
    /// `classic`, `quorum` or `stream`.
    pub default_queue_type: String,
    /// Runtime parameters that a component may have.
    pub parameters_max: BTreeMap<String, u64>,
    /// Limits of new vhosts, by the operator's names.
    pub vhost_limits: BTreeMap<String, DefaultLimits>,
    /// Operator policies of new vhosts, by name.
    pub operator_policies: BTreeMap<String, DefaultPolicy>,
}

impl Default for MetadataSettings {
    fn default() -> Self {
        Self {
            vhosts_max: None,
            default_queue_type: "classic".to_owned(),
            parameters_max: BTreeMap::new(),
            vhost_limits: BTreeMap::new(),
            operator_policies: BTreeMap::new(),
        }
    }
}

/// Limits that new vhosts begin with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefaultLimits {
    /// Names of vhosts; `None` for all.
    pattern: Option<Pattern>,
    limits: VhostLimits,
}

/// An operator policy that new vhosts begin with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefaultPolicy {
    vhost_pattern: Option<Pattern>,
    queue_pattern: Option<String>,
    apply_to: Option<ApplyTo>,
    definition: Map<String, Json>,
}

impl DefaultLimits {
    /// Takes the last part of a key of the table and its value.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set(&mut self, field: &str, value: &str) -> Result<(), String> {
        match field {
            "pattern" => self.pattern = Some(pattern(value)?),
            "max_connections" => self.limits.max_connections = Some(positive(value)?),
            _ => self.limits.max_queues = Some(positive(value)?),
        }
        Ok(())
    }
}

impl DefaultPolicy {
    /// Takes the last part of a key of the table and its value. The definition is checked here, so that a file with a bad one is
    /// refused.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn set(&mut self, name: &str, field: &str, value: &str) -> Result<(), String> {
        let number = match field {
            "vhost_pattern" => {
                self.vhost_pattern = Some(pattern(value)?);
                return Ok(());
            }
            "queue_pattern" => {
                pattern(value)?;
                self.queue_pattern = Some(value.to_owned());
                return Ok(());
            }
            "apply_to" => {
                let known = ApplyTo::parse(value).ok_or("a kind of queues, or all")?;
                self.apply_to = Some(known);
                return Ok(());
            }
            "expires" | "message_ttl" => size::parse_duration_ms(value)
                .ok_or("a duration such as 500ms, 30s, 10m or 1h30m")?,
            "max_length_bytes" | "max_in_memory_bytes" => size::parse_byte_size(value)
                .filter(|bytes| *bytes > 0)
                .ok_or("a size above 0, such as 10M")?,
            _ => positive(value)?.unsigned_abs(),
        };
        self.definition
            .insert(field.replace('_', "-"), Json::from(number));
        self.policy(name).map(drop)
    }

    fn policy(&self, name: &str) -> Result<Policy, String> {
        let fields = [
            (
                "pattern",
                Json::from(self.queue_pattern.as_deref().unwrap_or(".*")),
            ),
            (
                "apply-to",
                Json::from(self.apply_to.unwrap_or_default().as_str()),
            ),
            ("priority", Json::from(0)),
            ("definition", Json::Object(self.definition.clone())),
        ];
        let fields = fields.map(|(key, value)| (key.to_owned(), value));
        let policy = Json::Object(fields.into_iter().collect());
        Policy::from_json(PolicyScope::Operator, &name.into(), &policy)
            .map_err(|error| error.to_string().trim().replace('\n', " "))
    }
}

impl Settings {
    /// What the metadata machine has to respect, but for users: their passwords are hashed with something random.
    pub fn metadata_rules(&self) -> MetadataRules {
        let settings = &self.metadata;
        let limits = settings
            .vhost_limits
            .values()
            .map(|default| (or_all(&default.pattern), default.limits));
        let policies = settings
            .operator_policies
            .iter()
            .filter_map(|(name, default)| {
                // A group without a definition is about nothing.
                let policy = default.policy(name).ok()?;
                Some((or_all(&default.vhost_pattern), Arc::new(policy)))
            });
        MetadataRules {
            node: self.node_name.as_str().into(),
            exchanges_max: self.exchange_limit.map(u64::from),
            queues_max: self.queue_limit,
            local_random_disabled: !self.local_random_enabled,
            vhosts_max: settings.vhosts_max,
            default_queue_type: settings.default_queue_type.as_str().into(),
            parameters_max: settings
                .parameters_max
                .iter()
                .map(|(component, max)| (component.as_str().into(), *max))
                .collect(),
            vhost_limits: limits.collect(),
            operator_policies: policies.collect(),
            users: Vec::new(),
        }
    }
}

fn or_all(pattern: &Option<Pattern>) -> Pattern {
    pattern.clone().unwrap_or_else(Pattern::everything)
}

fn pattern(value: &str) -> Result<Pattern, String> {
    Pattern::of_policy(value).map_err(|_| "a regular expression".to_owned())
}

fn positive(value: &str) -> Result<i64, String> {
    value
        .parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "an integer above 0".to_owned())
}
