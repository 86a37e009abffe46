//! Metadata as a file of definitions. The same metadata gives the same file: every list is sorted.

use base::Name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::auth::{Permission, TopicPermission, User};
use broker::command::{Destination, HashAlgorithm};
use broker::json::{Json, Map, Number};
use broker::limits::VhostLimits;
use broker::metadata::{CLUSTER_NAME, IMPORTED_DEFINITIONS_HASH, INTERNAL_CLUSTER_ID, Metadata};
use broker::policy::{Policy, PolicyScope};
use broker::value::{Arguments, Value};
use broker::vhost::Vhost;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use std::borrow::Cow;

/// What says who wrote a file.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The RabbitMQ release whose format it is.
    pub version: &'static str,
}

/// Everything: users, vhosts and what is in them.
pub fn cluster<'m>(metadata: &'m Metadata, product: Product) -> impl Serialize + use<'m> {
    let mut vhosts: Vec<_> = metadata.vhosts().map(|vhost| &**vhost).collect();
    vhosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut users: Vec<_> = metadata.users().map(|user| &**user).collect();
    users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let name = metadata
        .global_parameter(CLUSTER_NAME)
        .and_then(Json::as_str)
        .unwrap_or_default();
    let globals = metadata
        .global_parameters()
        .filter(|(name, _)| {
            ![INTERNAL_CLUSTER_ID, IMPORTED_DEFINITIONS_HASH].contains(&name.as_str())
        })
        .map(|(name, value)| GlobalParameter { name, value });
    Cluster {
        header: Header::new(product),
        rabbitmq_definition_format: "cluster",
        original_cluster_name: name,
        explanation: format!("Definitions of cluster '{name}'"),
        users: users.iter().map(|user| UserItem::of(user)).collect(),
        permissions: sorted_permissions(&users),
        topic_permissions: sorted_topic_permissions(&users),
        global_parameters: globals.collect(),
        contents: Contents::of(&vhosts, IsNamed::Yes),
        vhosts: vhosts
            .iter()
            .map(|vhost| VhostItem {
                name: &vhost.name,
                limits: vhost.limits.to_json(),
                metadata: VhostMetadataItem::of(vhost),
            })
            .collect(),
    }
}

/// What is in one vhost, to be put into any.
pub fn vhost<'m>(vhost: &'m Vhost, product: Product) -> impl Serialize + use<'m> {
    SingleVhost {
        header: Header::new(product),
        rabbitmq_definition_format: "single_virtual_host",
        original_vhost_name: &vhost.name,
        explanation: format!("Definitions of virtual host '{}'", vhost.name),
        description: &vhost.metadata.description,
        metadata: VhostMetadataItem::of(vhost),
        limits: vhost.limits.to_json(),
        contents: Contents::of(&[vhost], IsNamed::No),
    }
}

#[derive(Serialize)]
struct Header {
    rabbit_version: &'static str,
    rabbitmq_version: &'static str,
    product_name: &'static str,
    product_version: &'static str,
}

impl Header {
    fn new(product: Product) -> Self {
        Self {
            rabbit_version: product.version,
            rabbitmq_version: product.version,
            product_name: "RabbitMQ",
            product_version: product.version,
        }
    }
}

#[derive(Serialize)]
struct Cluster<'m> {
    #[serde(flatten)]
    header: Header,
    rabbitmq_definition_format: &'static str,
    original_cluster_name: &'m str,
    explanation: String,
    users: Vec<UserItem<'m>>,
    vhosts: Vec<VhostItem<'m>>,
    permissions: Vec<PermissionItem<'m>>,
    topic_permissions: Vec<TopicPermissionItem<'m>>,
    global_parameters: Vec<GlobalParameter<'m>>,
    #[serde(flatten)]
    contents: Contents<'m>,
}

#[derive(Serialize)]
struct SingleVhost<'m> {
    #[serde(flatten)]
    header: Header,
    rabbitmq_definition_format: &'static str,
    original_vhost_name: &'m str,
    explanation: String,
    description: &'m str,
    metadata: VhostMetadataItem<'m>,
    limits: Json,
    #[serde(flatten)]
    contents: Contents<'m>,
}

/// A user.
#[derive(Serialize)]
struct UserItem<'m> {
    hashing_algorithm: &'static str,
    limits: Json,
    name: &'m str,
    password_hash: String,
    tags: &'m [Box<str>],
}

impl<'m> UserItem<'m> {
    fn of(user: &'m User) -> Self {
        let hash = user.password_hash.as_ref();
        Self {
            hashing_algorithm: hashing_algorithm(
                hash.map_or(crate::objects::HASHING_DEFAULT, |hash| hash.algorithm),
            ),
            limits: user.limits.to_json(),
            name: &user.name,
            password_hash: hash
                .map(|hash| BASE64.encode(&hash.salted))
                .unwrap_or_default(),
            tags: &user.tags,
        }
    }
}

/// RabbitMQ's name of an algorithm.
pub fn hashing_algorithm(algorithm: HashAlgorithm) -> &'static str {
    match algorithm {
        HashAlgorithm::Sha256 => "rabbit_password_hashing_sha256",
        HashAlgorithm::Sha512 => "rabbit_password_hashing_sha512",
        HashAlgorithm::Md5 => "rabbit_password_hashing_md5",
    }
}

#[derive(Serialize)]
struct VhostItem<'m> {
    limits: Json,
    metadata: VhostMetadataItem<'m>,
    name: &'m str,
}

#[derive(Serialize)]
struct VhostMetadataItem<'m> {
    description: &'m str,
    tags: &'m [Box<str>],
    default_queue_type: &'m str,
    protected_from_deletion: bool,
}

impl<'m> VhostMetadataItem<'m> {
    fn of(vhost: &'m Vhost) -> Self {
        let metadata = &vhost.metadata;
        Self {
            description: &metadata.description,
            tags: &metadata.tags,
            default_queue_type: metadata.default_queue_type.as_deref().unwrap_or("classic"),
            protected_from_deletion: metadata.protected_from_deletion,
        }
    }
}

/// A user's permission in a vhost.
#[derive(Serialize)]
struct PermissionItem<'m> {
    user: &'m str,
    vhost: &'m str,
    configure: &'m str,
    write: &'m str,
    read: &'m str,
}

impl<'m> PermissionItem<'m> {
    fn of(user: &'m Name, vhost: &'m Name, entry: &'m Permission) -> Self {
        Self {
            user,
            vhost,
            configure: entry.configure.source(),
            write: entry.write.source(),
            read: entry.read.source(),
        }
    }
}

/// A user's topic permission on an exchange.
#[derive(Serialize)]
struct TopicPermissionItem<'m> {
    user: &'m str,
    vhost: &'m str,
    exchange: &'m str,
    write: &'m str,
    read: &'m str,
}

impl<'m> TopicPermissionItem<'m> {
    fn of(user: &'m Name, vhost: &'m Name, exchange: &'m Name, entry: &'m TopicPermission) -> Self {
        Self {
            user,
            vhost,
            exchange,
            write: entry.write.source(),
            read: entry.read.source(),
        }
    }
}

fn sorted_permissions<'m>(users: &[&'m User]) -> Vec<PermissionItem<'m>> {
    let mut found: Vec<_> = users
        .iter()
        .flat_map(|user| {
            let entries = user.permissions();
            entries.map(|(vhost, entry)| (vhost, &user.name, entry))
        })
        .collect();
    found.sort_unstable_by_key(|(vhost, user, _)| (*vhost, *user));
    found
        .into_iter()
        .map(|(vhost, user, entry)| PermissionItem::of(user, vhost, entry))
        .collect()
}

fn sorted_topic_permissions<'m>(users: &[&'m User]) -> Vec<TopicPermissionItem<'m>> {
    let mut found: Vec<_> = users
        .iter()
        .flat_map(|user| {
            let entries = user.topic_permissions();
            entries.map(|(vhost, exchange, entry)| (vhost, &user.name, exchange, entry))
        })
        .collect();
    found.sort_unstable_by_key(|(vhost, user, exchange, _)| (*vhost, *user, *exchange));
    found
        .into_iter()
        .map(|(vhost, user, exchange, entry)| TopicPermissionItem::of(user, vhost, exchange, entry))
        .collect()
}

#[derive(Serialize)]
struct GlobalParameter<'m> {
    name: &'m str,
    value: &'m Json,
}

/// What is in vhosts.
#[derive(Serialize)]
struct Contents<'m> {
    parameters: Vec<Parameter<'m>>,
    policies: Vec<PolicyItem<'m>>,
    queues: Vec<Queue<'m>>,
    exchanges: Vec<Exchange<'m>>,
    bindings: Vec<Binding<'m>>,
}

/// Whether objects say which vhost they are in.
#[derive(Clone, Copy)]
enum IsNamed {
    Yes,
    No,
}

impl<'m> Contents<'m> {
    fn of(vhosts: &[&'m Vhost], is_named: IsNamed) -> Self {
        let mut contents = Self {
            parameters: Vec::new(),
            policies: Vec::new(),
            queues: Vec::new(),
            exchanges: Vec::new(),
            bindings: Vec::new(),
        };
        for vhost in vhosts {
            let name = match is_named {
                IsNamed::Yes => Some(vhost.name.as_str()),
                IsNamed::No => None,
            };
            contents.add(vhost, name);
        }
        contents
    }

    fn add(&mut self, vhost: &'m Vhost, name: Option<&'m str>) {
        // Vhost limits are with the vhosts, policies have a list of their own.
        let operator = vhost.policies(PolicyScope::Operator).iter();
        self.parameters.extend(operator.map(|policy| Parameter {
            vhost: name,
            component: PolicyScope::Operator.component(),
            name: &policy.name,
            value: policy.to_json(),
        }));
        if vhost.limits != VhostLimits::default() {
            self.parameters.push(Parameter {
                vhost: name,
                component: "vhost-limits",
                name: "limits",
                value: vhost.limits.to_json(),
            });
        }
        self.parameters
            .extend(vhost.schemas().map(|(schema, value)| Parameter {
                vhost: name,
                component: broker::schema::COMPONENT,
                name: schema,
                value: value.source().clone(),
            }));
        let policies = vhost.policies(PolicyScope::User).iter();
        self.policies
            .extend(policies.map(|policy| PolicyItem::of(name, policy)));
        self.add_queues(vhost, name);
        self.add_exchanges(vhost, name);
        self.add_bindings(vhost, name);
    }

    /// Exclusive queues go with their connections, so they are left out.
    fn add_queues(&mut self, vhost: &'m Vhost, name: Option<&'m str>) {
        let mut queues: Vec<_> = vhost
            .queues()
            .filter(|record| record.exclusive_owner.is_none())
            .collect();
        queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.queues.extend(queues.into_iter().map(|record| Queue {
            vhost: name,
            arguments: Table(&record.arguments),
            auto_delete: record.auto_delete,
            durable: record.durable,
            name: &record.name,
            queue_type: record.settings.queue_type.as_str(),
        }));
    }

    fn add_exchanges(&mut self, vhost: &'m Vhost, name: Option<&'m str>) {
        let mut exchanges: Vec<_> = vhost
            .exchanges()
            .filter(|exchange| !exchange.is_predeclared() && !exchange.is_default())
            .collect();
        exchanges.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let items = exchanges.into_iter().map(|exchange| Exchange {
            vhost: name,
            arguments: Table(&exchange.arguments),
            auto_delete: exchange.auto_delete,
            durable: exchange.durable,
            internal: exchange.internal,
            name: &exchange.name,
            exchange_type: exchange.exchange_type.as_str(),
        });
        self.exchanges.extend(items);
    }

    fn add_bindings(&mut self, vhost: &'m Vhost, name: Option<&'m str>) {
        let is_kept = |destination: &Destination| match destination {
            Destination::Queue(name) => vhost
                .queue(name)
                .is_some_and(|record| record.exclusive_owner.is_none()),
            Destination::Exchange(_) => true,
        };
        let mut bindings: Vec<_> = vhost
            .bindings()
            .filter(|binding| is_kept(&binding.destination))
            .collect();
        bindings.sort_unstable();
        self.bindings.extend(bindings.into_iter().map(|binding| {
            let (destination, kind) = match &binding.destination {
                Destination::Queue(name) => (name, "queue"),
                Destination::Exchange(name) => (name, "exchange"),
            };
            Binding {
                vhost: name,
                arguments: Table(&binding.arguments),
                destination,
                destination_type: kind,
                routing_key: String::from_utf8_lossy(&binding.binding_key),
                source: &binding.source,
            }
        }));
    }
}

#[derive(Serialize)]
struct Parameter<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'m str>,
    component: &'static str,
    name: &'m str,
    value: Json,
}

/// A policy.
#[derive(Serialize)]
struct PolicyItem<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'m str>,
    name: &'m str,
    pattern: &'m str,
    #[serde(rename = "apply-to")]
    apply_to: &'static str,
    definition: &'m Map<String, Json>,
    priority: &'m Number,
}

impl<'m> PolicyItem<'m> {
    /// The vhost's own file does without its name.
    fn of(vhost: Option<&'m str>, policy: &'m Policy) -> Self {
        Self {
            vhost,
            name: &policy.name,
            pattern: policy.pattern.source(),
            apply_to: policy.apply_to.as_str(),
            definition: &policy.definition,
            priority: &policy.priority,
        }
    }
}

#[derive(Serialize)]
struct Queue<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'m str>,
    arguments: Table<'m>,
    auto_delete: bool,
    durable: bool,
    name: &'m str,
    #[serde(rename = "type")]
    queue_type: &'static str,
}

#[derive(Serialize)]
struct Exchange<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'m str>,
    arguments: Table<'m>,
    auto_delete: bool,
    durable: bool,
    internal: bool,
    name: &'m str,
    #[serde(rename = "type")]
    exchange_type: &'static str,
}

#[derive(Serialize)]
struct Binding<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vhost: Option<&'m str>,
    arguments: Table<'m>,
    destination: &'m str,
    destination_type: &'static str,
    routing_key: Cow<'m, str>,
    source: &'m str,
}

/// An argument table as JSON. Bytes that are no text are shown as text with replacement characters, as nothing better fits.
#[derive(Clone, Copy)]
struct Table<'m>(&'m Arguments);

impl Serialize for Table<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0.iter() {
            map.serialize_entry(key, &Argument(value))?;
        }
        map.end()
    }
}

struct Argument<'m>(&'m Value);

impl Serialize for Argument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(_, value) => serializer.serialize_i64(*value),
            Value::Float(value) => f64::from(*value).serialize(serializer),
            Value::Double(value) => value.serialize(serializer),
            Value::Decimal(scale, unscaled) => {
                (f64::from(*unscaled) / 10_f64.powi((*scale).into())).serialize(serializer)
            }
            Value::LongStr(bytes) | Value::Binary(bytes) => {
                serializer.serialize_str(&String::from_utf8_lossy(bytes))
            }
            Value::Array(values) => serializer.collect_seq(values.iter().map(Argument)),
            Value::Timestamp(seconds) => serializer.serialize_u64(*seconds),
            Value::Table(table) => Table(table).serialize(serializer),
            Value::Void => serializer.serialize_unit(),
        }
    }
}
