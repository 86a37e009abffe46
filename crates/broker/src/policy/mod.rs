//! Policies: arguments that an operator gives to queues and exchanges by patterns of their names (RabbitMQ docs: policies).
//!
//! Of each kind ([`PolicyScope`]) at most one policy applies to a queue or an exchange: of those that match, the one of highest
//! priority. A policy that says [`MERGE`] applies as well where it is not the highest: what it says counts where those above it say
//! nothing. What a policy says is never copied into the metadata of the queue: [`PolicySet::find`] is asked when somebody needs to know,
//! so that a change costs the same for one queue as for 100,000. Shards bring their running queues up to date in steps.
//!
//! A key is one line of the table in `keys.rs`: its name, which values it takes, which queue types know it, whether an operator
//! policy may set it and which of two values wins, and what it does to the settings of a queue
//! ([`QueueArguments`]). A new key that a queue machine honours needs that line, a field there, and
//! the machine to look at the field each time it matters, because [`Queue::reconfigure`](crate::queue::Queue::reconfigure)
//! changes it at any moment. Keys that only exchanges know are looked up with [`Effective::get`].
//!
//! Compat: of policies with equal priorities RabbitMQ takes one by the order of a hash table; here the first by name.

mod keys;
mod read;

use crate::auth::Pattern;
use crate::json::{Json, Map, Number};
use crate::queue_arguments::{QueueArguments, QueueType};
use crate::schema::Schema;
use crate::sharding::SHARDS_PER_NODE;
use crate::value::Arguments;
use base::Name;
use rpds::RedBlackTreeMapSync;
use std::cmp::Ordering;
use std::sync::Arc;

/// Key of a policy that names the alternate exchange of exchanges.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// Key of a policy that applies also below others.
pub const MERGE: &str = "merge";

/// Key of a policy that lets messages wait at exchanges and before queues, see [`crate::delay`].
pub const DELAYED_PUBLISH: &str = "delayed-publish";

/// Key of a policy that lets queues, or queues behind exchanges, drop what they have had before.
pub const MESSAGE_DEDUPLICATION: &str = "message-deduplication";

/// Key of a policy that says how many of the messages of an exchange or queue are followed in exported traces, from 0 to 1.
pub const TRACE_SAMPLE_RATE: &str = "trace-sample-rate";

/// Who sets a policy: whoever may manage the vhost, or the operator of the node, who has the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyScope {
    /// An ordinary policy.
    User,
    /// An operator policy: fewer keys, merged over the ordinary one (RabbitMQ docs: operator policies).
    Operator,
}

impl PolicyScope {
    /// The component that RabbitMQ's runtime parameters keep it in.
    pub fn component(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator_policy",
        }
    }
}

/// What a policy may apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues of all types and exchanges.
    #[default]
    All,
    /// Queues of all types.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
    /// Exchanges.
    Exchanges,
}

impl ApplyTo {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::All,
        Self::Queues,
        Self::ClassicQueues,
        Self::QuorumQueues,
        Self::Streams,
        Self::Exchanges,
    ];

    /// The name by which an operator chooses it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|apply_to| apply_to.as_str() == name)
    }

    /// The one that is only for queues of this type.
    fn of_type(queue_type: QueueType) -> Self {
        match queue_type {
            QueueType::Classic => Self::ClassicQueues,
            QueueType::Quorum => Self::QuorumQueues,
        }
    }
}

/// What a policy is matched against.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A queue of this type and name.
    Queue(QueueType, &'a str),
    /// An exchange of this name.
    Exchange(&'a str),
}

/// A policy. It never changes; setting it again makes another.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name, unique among those of its kind in the vhost.
    pub name: Name,
    /// Found anywhere in the names of queues and exchanges that it applies to.
    pub pattern: Pattern,
    /// What it applies to.
    pub apply_to: ApplyTo,
    /// Higher wins.
    pub priority: Number,
    /// What it says.
    pub definition: Map<String, Json>,
    /// The schema in it, compiled.
    pub(crate) schema: Option<Arc<Schema>>,
}

impl Policy {
    /// The policy without its name, as RabbitMQ keeps it in a runtime parameter.
    pub fn to_json(&self) -> Json {
        let fields = [
            ("pattern", Json::from(self.pattern.source())),
            ("apply-to", Json::from(self.apply_to.as_str())),
            ("priority", Json::Number(self.priority.clone())),
            ("definition", Json::Object(self.definition.clone())),
        ];
        Json::Object(
            fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// Whether it applies also where another of higher priority does.
    pub fn merges(&self) -> bool {
        self.definition.get(MERGE).and_then(Json::as_bool) == Some(true)
    }

    /// Whether it applies to a queue or an exchange, as far as this policy alone decides that.
    pub fn matches(&self, subject: Subject<'_>) -> bool {
        let (fits, name) = match subject {
            Subject::Queue(queue_type, name) => {
                let by_type = self.apply_to == ApplyTo::of_type(queue_type)
                    || matches!(self.apply_to, ApplyTo::All | ApplyTo::Queues);
                (by_type && keys::suit(&self.definition, queue_type), name)
            }
            Subject::Exchange(name) => {
                let fits = matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges);
                (fits, name)
            }
        };
        fits && self.pattern.matches(name)
    }
}

/// Higher first.
fn by_priority(a: &Number, b: &Number) -> Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => b.cmp(&a),
        _ => {
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap_or(0.0));
            b.total_cmp(&a)
        }
    }
}

/// The policies of one kind in a vhost. A clone costs nothing.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    by_name: RedBlackTreeMapSync<Name, Arc<Policy>>,
    /// The same, as they are looked through.
    ordered: Arc<[Arc<Policy>]>,
    /// Whether any merges.
    has_merging: bool,
    /// Whether any is about shards.
    has_sharding: bool,
}

impl PolicySet {
    /// The policy of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Policy>> {
        self.by_name.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_name.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ordered.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// The policy that applies.
    pub fn find(&self, subject: Subject<'_>) -> Option<&Arc<Policy>> {
        self.ordered.iter().find(|policy| policy.matches(subject))
    }

    /// Those that merge below `policy`, which is the one that applies; higher ones first.
    fn find_below<'a>(
        &'a self,
        policy: &Arc<Policy>,
        subject: Subject<'_>,
    ) -> Vec<&'a Arc<Policy>> {
        if !self.has_merging {
            return Vec::new();
        }
        self.ordered
            .iter()
            .skip_while(|other| !Arc::ptr_eq(other, policy))
            .skip(1)
            .filter(|other| other.merges() && other.matches(subject))
            .collect()
    }

    /// Whether any says something about this key.
    pub(crate) fn mentions(&self, key: &str) -> bool {
        self.ordered
            .iter()
            .any(|policy| policy.definition.contains_key(key))
    }

    /// Whether any may say that an exchange is sharded.
    pub(crate) fn has_sharding(&self) -> bool {
        self.has_sharding
    }

    pub(crate) fn insert(&mut self, policy: Arc<Policy>) {
        self.by_name.insert_mut(policy.name.clone(), policy);
        self.reorder();
    }

    pub(crate) fn remove(&mut self, name: &Name) -> Option<Arc<Policy>> {
        let removed = self.by_name.get(name).cloned()?;
        self.by_name.remove_mut(name);
        self.reorder();
        Some(removed)
    }

    fn reorder(&mut self) {
        let mut ordered: Vec<_> = self.by_name.values().cloned().collect();
        // Stable: equal ones stay sorted by name.
        ordered.sort_by(|a, b| by_priority(&a.priority, &b.priority));
        self.has_merging = ordered.iter().any(|policy| policy.merges());
        self.ordered = ordered.into();
        self.has_sharding = self.mentions(SHARDS_PER_NODE);
    }
}

/// The policies that apply to one queue or exchange.
#[derive(Clone, Debug, Default)]
pub struct Effective<'a> {
    /// The ordinary one, of highest priority.
    pub policy: Option<&'a Arc<Policy>>,
    /// Those that merge below it, higher ones first.
    pub merged: Vec<&'a Arc<Policy>>,
    /// The operator's.
    pub operator_policy: Option<&'a Arc<Policy>>,
}

impl<'a> Effective<'a> {
    /// Those of `policies` and `operator_policies` that apply.
    pub(crate) fn find(
        policies: &'a PolicySet,
        operator_policies: &'a PolicySet,
        subject: Subject<'_>,
    ) -> Self {
        let policy = policies.find(subject);
        Self {
            policy,
            merged: policy.map_or_else(Vec::new, |policy| policies.find_below(policy, subject)),
            operator_policy: operator_policies.find(subject),
        }
    }

    /// The value of a key, merged.
    pub fn get(&self, key: &str) -> Option<&'a Json> {
        let own = self.own().find_map(|policy| policy.definition.get(key));
        let operators = self
            .operator_policy
            .and_then(|policy| policy.definition.get(key));
        match (own, operators) {
            (Some(own), Some(operators)) => Some(keys::merge(key, own, operators)),
            (own, operators) => own.or(operators),
        }
    }

    /// The highest of the ordinary policies that has one of these keys.
    pub(crate) fn first_with(&self, keys: &[&str]) -> Option<&'a Arc<Policy>> {
        self.own()
            .find(|policy| keys.iter().any(|key| policy.definition.contains_key(*key)))
    }

    /// All but the operator's, higher ones first.
    fn own(&self) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.policy.into_iter().chain(self.merged.iter().copied())
    }

    /// All keys with their merged values; `None` if no policy applies. [`MERGE`] is about policies, so it is not among them.
    pub fn definition(&self) -> Option<Map<String, Json>> {
        if self.policy.is_none() && self.operator_policy.is_none() {
            return None;
        }
        let keys = self.own().chain(self.operator_policy);
        let keys = keys.flat_map(|policy| policy.definition.keys());
        let values = keys
            .filter(|key| *key != MERGE)
            .filter_map(|key| Some((key.clone(), self.get(key)?.clone())));
        Some(values.collect())
    }

    /// What a queue has to do that was declared with these arguments and so got these `settings`
    /// (RabbitMQ docs: policies, "combining policy definitions").
    pub fn settings(&self, arguments: &Arguments, settings: &QueueArguments) -> QueueArguments {
        let mut settings = settings.clone();
        if self.policy.is_some() || self.operator_policy.is_some() {
            keys::apply(
                self,
                &mut keys::Target {
                    settings: &mut settings,
                    arguments,
                },
            );
        }
        settings
    }
}
