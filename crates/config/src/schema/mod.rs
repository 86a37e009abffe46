//! Which keys there are, what they accept and what they mean.
//!
//! One table, [`keys`], is the only place that knows a key: reading files, RabbitMQ's Erlang terms, error texts,
//! `docs/configuration.md` and `warren config explain` all come from it. A new key is one row in the file of its area below this
//! module and the code that honours it. A row whose state is [`State::Honoured`] is a [`Key`]; the others, which this node accepts
//! without effect or refuses, are lines of `rows!`.
//! Nothing here reads files or the environment.

mod auth;
mod auth_backends;
mod auth_ldap;
mod auth_oauth2;
mod broker;
mod cluster;
mod definitions;
mod http_api;
mod http_server;
pub mod kind;
mod listeners;
mod log;
mod management;
mod node;
mod opentelemetry;
mod plugins;
mod prometheus;
mod protocols;
mod statistics;
mod tls;
mod trust_store;

use crate::error::{Place, Problem};
use crate::log::{LogDraft, LogLevel};
use crate::statistics::RetentionDraft;
use crate::{
    AuthMechanism, ContentHash, DefaultLimits, DefaultPolicy, DefinitionsSource, DiskFreeLimit,
    ListenAddress, MemoryCalculation, MemoryHighWatermark, Secret, Settings, VhostUser, size,
};
use ::auth::{BackendName, Link};
use ::broker::auth::{CredentialValidator, Pattern};
use frontend_amqp091::Existing;
use kind::Kind;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;
use transport::{LoginFrom, SanType};

/// RabbitMQ's hard cap of `max_message_size`: 512 MiB.
pub const MESSAGE_SIZE_CAP_BYTES: u64 = 512 << 20;
/// No client may be offered smaller frames (RabbitMQ's floor).
pub const FRAME_SIZE_MIN_BYTES: u64 = 8_192;
/// No client may be offered larger frames: a connection may have to hold one in memory.
pub const FRAME_SIZE_CAP_BYTES: u64 = 16 << 20;
/// Most shards a node may be told to run.
pub const SHARDS_MAX: u16 = 256;

/// A key of the configuration file.
#[derive(Debug)]
pub struct Key {
    /// Its name; a part `$…` stands for a name the operator chooses.
    pub name: &'static str,
    /// Another spelling of the same key, if there is one.
    pub alias: Option<&'static str>,
    /// Where RabbitMQ's files of Erlang terms have it, application first: `rabbit.heartbeat`. Empty if they do not.
    pub env: &'static str,
    /// What values look like.
    pub kind: Kind,
    /// What this node makes of it.
    pub state: State,
    /// The default, as it would be written.
    pub default: &'static str,
    /// One sentence for an operator; empty where the state says everything.
    pub meaning: &'static str,
}

/// Takes the part of the key that the operator chose (the first `$…`; empty if there is none) and the value. The error says what was
/// expected.
pub type Apply = fn(&mut Draft, &str, &str) -> Result<(), String>;

/// Takes all parts of the key and the value. The error says what was expected.
pub type ApplyWhole = fn(&mut Draft, &[String], &str) -> Result<(), String>;

/// What a node makes of a key.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// It is honoured.
    Honoured(Apply),
    /// It is honoured, by code that knows all the keys of its family.
    HonouredWhole(ApplyWhole),
    /// It is accepted and has no effect, and a line of the log says so: it tunes a runtime that is not here.
    Accepted,
    /// It may have these values, which say what is so anyway; others are refused for this reason.
    Only(&'static [&'static str], &'static str),
    /// It is refused for this reason: an operator must not believe that it is honoured.
    Refused(&'static str),
}

/// Rows of keys without code: name, place in Erlang terms, kind, default.
macro_rules! rows {
    ($($state:expr => { $($name:expr, $env:expr, $kind:expr, $default:expr;)* })*) => {
        pub(super) static OTHERS: &[Key] = &[$($(Key {
            name: $name,
            alias: None,
            env: $env,
            kind: $kind,
            default: $default,
            meaning: "",
            state: $state,
        },)*)*];
    };
}
use rows;

/// Rows of keys that one piece of code honours: name, place in Erlang terms, kind, default, meaning.
macro_rules! described {
    ($state:expr => { $($name:expr, $env:expr, $kind:expr, $default:expr, $meaning:expr;)* }) => {
        pub(super) static KEYS: &[Key] = &[$(Key {
            name: $name,
            alias: None,
            env: $env,
            kind: $kind,
            default: $default,
            meaning: $meaning,
            state: $state,
        },)*];
    };
}
use described;

const NO_TLS: &str = "TLS is not supported here yet";
const NO_SUCH_TLS: &str = "TLS here has certificates, keys and lists of revoked certificates in files, and elliptic curves only";
const NO_MQTT: &str = "MQTT is not supported yet";
const NO_STOMP: &str = "STOMP is not supported yet";
const NO_STREAMS: &str = "the stream protocol is not supported yet";
const NO_AMQP10: &str = "AMQP 1.0 is not supported yet";
const NO_SHOVEL: &str = "shovels are not supported yet";
const NO_FEDERATION: &str = "federation is not supported yet";
const NO_CLUSTER: &str = "clusters are not supported yet";

/// All keys, by area; those with an effect first in each.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    areas().flat_map(|(_, keys)| keys.into_iter().flatten())
}

/// The keys with the titles of their areas, for documents.
pub fn areas() -> impl Iterator<Item = (&'static str, Vec<&'static [Key]>)> {
    let mut log = vec![log::KEYS, log::SYSLOG_TLS_KEYS];
    log.extend(log::FORMAT_KEYS.iter().map(|family| &family[..]));
    log.extend(log::CATEGORY_KEYS.iter().map(|family| &family[..]));
    log.push(log::OTHERS);
    [
        (
            "Listeners and connections",
            vec![listeners::KEYS, listeners::OTHERS],
        ),
        ("TLS", vec![tls::KEYS, tls::OTHERS]),
        ("Trust store", vec![trust_store::KEYS, trust_store::OTHERS]),
        ("Users and logins", vec![auth::KEYS, auth::OTHERS]),
        (
            "Authentication backends",
            vec![
                auth_backends::KEYS,
                auth_backends::TLS_KEYS,
                auth_backends::OTHERS,
            ],
        ),
        ("LDAP", vec![auth_ldap::KEYS, auth_ldap::OTHERS]),
        ("OAuth 2", vec![auth_oauth2::KEYS]),
        (
            "Definitions",
            vec![
                definitions::KEYS,
                definitions::HTTPS_KEYS,
                definitions::OTHERS,
            ],
        ),
        ("Node", vec![node::KEYS, node::OTHERS]),
        (
            "Exchanges, queues, virtual hosts",
            vec![broker::KEYS, broker::OTHERS],
        ),
        (
            "HTTP API and statistics",
            vec![
                management::KEYS,
                http_server::KEYS,
                http_server::OTHERS,
                http_api::KEYS,
                http_api::BACKEND_KEYS,
                management::OTHERS,
                statistics::KEYS,
                prometheus::KEYS,
                prometheus::OTHERS,
            ],
        ),
        ("Log", log),
        ("Cluster", vec![cluster::KEYS, cluster::OTHERS]),
        ("Other protocols", vec![protocols::KEYS, protocols::OTHERS]),
        (
            "Shovel, federation, tracing",
            vec![plugins::KEYS, opentelemetry::KEYS, plugins::OTHERS],
        ),
    ]
    .into_iter()
}

/// Settings while files are applied to them: what is a list in the end is a map by the operator's names until then, so
/// that a later file can replace one element.
#[derive(Debug, Default)]
pub struct Draft {
    pub(crate) settings: Settings,
    listeners_off: bool,
    listeners: BTreeMap<String, ListenAddress>,
    validation_backend: ValidationBackend,
    validation_min_length: Option<usize>,
    validation_regexp: Option<Pattern>,
    tls_listeners_off: bool,
    tls_listeners: BTreeMap<String, ListenAddress>,
    login_san_type: Option<SanType>,
    login_san_index: usize,
    loopback_users_off: bool,
    loopback_users: BTreeMap<String, bool>,
    user_tags: BTreeMap<String, bool>,
    auth_mechanisms: BTreeMap<(u64, String), AuthMechanism>,
    auth_backends: BTreeMap<u64, DraftLink>,
    http_backends: BTreeMap<u64, DraftLink>,
    management_off: bool,
    management_listener_has_tls: bool,
    management_port: Option<u16>,
    management_ip: Option<IpAddr>,
    management_tls_port: Option<u16>,
    management_tls_ip: Option<IpAddr>,
    prometheus_off: bool,
    prometheus_port: Option<u16>,
    prometheus_ip: Option<IpAddr>,
    prometheus_tls_port: Option<u16>,
    prometheus_tls_ip: Option<IpAddr>,
    cors_origins: BTreeMap<String, String>,
    memory_relative: Option<f64>,
    memory_absolute: Option<u64>,
    disk_relative: Option<f64>,
    disk_absolute: Option<u64>,
    retention: RetentionDraft,
    stats_disabled: bool,
    collector_disabled: bool,
    definitions_https: bool,
    definitions_path: Option<PathBuf>,
    definitions_url: Option<Secret>,
    pub(crate) log: LogDraft,
}

/// An entry of `auth_backends`; where one part is missing, the other stands for both.
#[derive(Clone, Copy, Debug, Default)]
struct DraftLink {
    authn: Option<BackendName>,
    authz: Option<BackendName>,
}

impl DraftLink {
    fn finish(self) -> Option<Link> {
        let authn = self.authn.or(self.authz)?;
        let authz = self.authz.filter(|authz| *authz != authn);
        Some(Link {
            authn,
            authz: authz.into_iter().collect(),
        })
    }
}

/// What judges new passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ValidationBackend {
    #[default]
    AcceptEverything,
    MinLength,
    Regexp,
}

/// Bytes of a password where `credential_validator.min_length` does not say.
const PASSWORD_LENGTH_MIN: usize = 1;

impl Draft {
    /// Whether a file says where to listen; then the environment does not.
    pub(crate) fn has_listeners(&self) -> bool {
        self.listeners_off || !self.listeners.is_empty()
    }

    fn auth_backend(&mut self, number: &str) -> Result<&mut DraftLink, String> {
        let number = number
            .parse()
            .map_err(|_| "a key with a number".to_owned())?;
        Ok(self.auth_backends.entry(number).or_default())
    }

    fn http_backend(&mut self, number: &str) -> Result<&mut DraftLink, String> {
        let number = number
            .parse()
            .map_err(|_| "a key with a number".to_owned())?;
        Ok(self.http_backends.entry(number).or_default())
    }

    /// Turns the collected names into lists.
    pub(crate) fn finish(self) -> Result<Settings, Vec<Problem>> {
        let mut settings = self.settings;
        let mut problems = Vec::new();
        if self.listeners_off {
            settings.tcp_listeners.clear();
        } else if !self.listeners.is_empty() {
            settings.tcp_listeners = self.listeners.into_values().collect();
        }
        settings.credential_validator = match self.validation_backend {
            ValidationBackend::AcceptEverything => CredentialValidator::AcceptEverything,
            ValidationBackend::MinLength => {
                let min = self.validation_min_length;
                CredentialValidator::MinLength(min.unwrap_or(PASSWORD_LENGTH_MIN))
            }
            ValidationBackend::Regexp => match self.validation_regexp {
                Some(pattern) => CredentialValidator::Regexp(pattern),
                None => {
                    problems.push(Problem::Missing {
                        key: "credential_validator.regexp",
                        because: "credential_validator.validation_backend",
                    });
                    CredentialValidator::AcceptEverything
                }
            },
        };
        if !self.tls_listeners_off {
            settings.tls_listeners = self.tls_listeners.into_values().collect();
        }
        if let LoginFrom::SubjectAlternativeName(kind, index) = &mut settings.tls.login_from {
            *kind = self.login_san_type.unwrap_or(*kind);
            *index = self.login_san_index;
        }
        settings.management.tls.login_from = settings.tls.login_from;
        let management = &mut settings.management;
        management.tls_listeners = self
            .management_tls_port
            .map(|port| ListenAddress {
                ip: self.management_tls_ip,
                port,
            })
            .into_iter()
            .collect();
        if self.management_off {
            management.listeners.clear();
        }
        for listener in &mut management.listeners {
            listener.ip = self.management_ip;
            listener.port = self.management_port.unwrap_or(listener.port);
        }
        if self.management_listener_has_tls {
            let plain = std::mem::take(&mut management.listeners);
            management.tls_listeners.extend(plain);
        }
        let prometheus = &mut settings.prometheus;
        prometheus.tls_listeners = self
            .prometheus_tls_port
            .map(|port| ListenAddress {
                ip: self.prometheus_tls_ip,
                port,
            })
            .into_iter()
            .collect();
        if self.prometheus_off {
            prometheus.listeners.clear();
        }
        prometheus.port_is_chosen = self.prometheus_port.is_some();
        for listener in &mut prometheus.listeners {
            listener.ip = self.prometheus_ip;
            listener.port = self.prometheus_port.unwrap_or(listener.port);
        }
        self.retention.finish(&mut settings.statistics.retention);
        settings.statistics.disabled = self.stats_disabled || self.collector_disabled;
        management.cors_allow_origins = self.cors_origins.into_values().collect();
        let http_backends = self.http_backends.into_values();
        management.auth_backends = http_backends.filter_map(DraftLink::finish).collect();
        if self.loopback_users_off {
            settings.loopback_users.clear();
        } else if !self.loopback_users.is_empty() {
            settings.loopback_users = chosen(self.loopback_users);
        }
        if !self.user_tags.is_empty() {
            settings.default_user_tags = chosen(self.user_tags);
        }
        if !self.auth_mechanisms.is_empty() {
            settings.auth_mechanisms = self.auth_mechanisms.into_values().collect();
        }
        if !self.auth_backends.is_empty() {
            let links = self.auth_backends.into_values();
            settings.auth.backends = links.filter_map(DraftLink::finish).collect();
        }
        match (self.memory_relative, self.memory_absolute) {
            (Some(_), Some(_)) => problems.push(Problem::Conflict {
                first: "vm_memory_high_watermark.relative",
                second: "vm_memory_high_watermark.absolute",
            }),
            (Some(fraction), None) => {
                settings.memory_high_watermark = MemoryHighWatermark::Relative(fraction)
            }
            (None, Some(bytes)) => {
                settings.memory_high_watermark = MemoryHighWatermark::Absolute(bytes)
            }
            (None, None) => {}
        }
        match (self.disk_relative, self.disk_absolute) {
            (Some(_), Some(_)) => problems.push(Problem::Conflict {
                first: "disk_free_limit.relative",
                second: "disk_free_limit.absolute",
            }),
            (Some(fraction), None) => settings.disk_free_limit = DiskFreeLimit::Relative(fraction),
            (None, Some(bytes)) => settings.disk_free_limit = DiskFreeLimit::Absolute(bytes),
            (None, None) => {}
        }
        settings.definitions.source = match (self.definitions_https, self.definitions_url) {
            (true, Some(url)) => Some(DefinitionsSource::Https(url)),
            (true, None) => {
                problems.push(Problem::Missing {
                    key: "definitions.https.url",
                    because: "definitions.import_backend",
                });
                None
            }
            (false, Some(_)) => {
                problems.push(Problem::Missing {
                    key: "definitions.import_backend",
                    because: "definitions.https.url",
                });
                None
            }
            (false, None) => self.definitions_path.map(DefinitionsSource::Path),
        };
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }
}

/// The names that are switched on.
fn chosen(names: BTreeMap<String, bool>) -> Vec<String> {
    names
        .into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect()
}

/// Applies one entry of a file to the draft. `Ok(Some(note))` if it was accepted without effect.
pub(crate) fn apply(
    draft: &mut Draft,
    place: &Place,
    key: &str,
    value: &str,
) -> Result<Option<String>, Problem> {
    let Some((row, part)) = find(key) else {
        return Err(Problem::UnknownKey {
            place: place.clone(),
            key: key.to_owned(),
            similar: similar(key),
        });
    };
    if let State::Refused(reason) = row.state {
        return Err(Problem::Refused {
            place: place.clone(),
            key: key.to_owned(),
            reason,
        });
    }
    kind::check(row.kind, value).map_err(|lines| Problem::datatype(place, key, lines))?;
    let applied = match row.state {
        State::Honoured(apply) => apply(draft, &part, value),
        State::HonouredWhole(apply) => apply(draft, &split(key), value),
        State::Only(values, reason) if !values.contains(&value) => {
            return Err(Problem::Refused {
                place: place.clone(),
                key: format!("{key} = {value}"),
                reason,
            });
        }
        State::Only(..) => Ok(()),
        State::Accepted | State::Refused(_) => {
            return Ok(Some(format!("{place}: {key} has no effect here")));
        }
    };
    applied
        .map(|()| None)
        .map_err(|expected| Problem::BadValue {
            place: place.clone(),
            key: key.to_owned(),
            value: if kind::is_secret(row.kind) {
                "***".to_owned()
            } else {
                value.to_owned()
            },
            expected,
        })
}

/// The key's row and the first part that the operator chose; the row with the fewest chosen parts if there are several.
pub fn find(key: &str) -> Option<(&'static Key, String)> {
    let parts = split(key);
    let mut best: Option<(usize, &'static Key, String)> = None;
    for row in keys() {
        let Some(chosen) = [Some(row.name), row.alias]
            .into_iter()
            .flatten()
            .find_map(|name| chosen_parts(name, &parts))
        else {
            continue;
        };
        if best
            .as_ref()
            .is_none_or(|(count, _, _)| chosen.len() < *count)
        {
            best = Some((
                chosen.len(),
                row,
                chosen.first().cloned().unwrap_or_default(),
            ));
        }
    }
    best.map(|(_, row, part)| (row, part))
}

/// The parts of a key: a dot behind a backslash belongs to its part.
fn split(key: &str) -> Vec<String> {
    let hidden = key.replace("\\.", "\u{0}");
    let parts = hidden.split('.');
    parts.map(|part| part.replace('\u{0}', ".")).collect()
}

/// What stands in place of each `$…` of the name, if the parts fit it.
fn chosen_parts(name: &str, parts: &[String]) -> Option<Vec<String>> {
    let mut given = parts.iter();
    let mut chosen = Vec::new();
    for expected in name.split('.') {
        let part = given.next()?;
        if expected.starts_with('$') {
            chosen.push(part.clone());
        } else if expected != part {
            return None;
        }
    }
    given.next().is_none().then_some(chosen)
}

/// The three nearest names, nearest first.
pub(crate) fn similar(key: &str) -> Vec<&'static str> {
    /// Longer keys are no typing mistake; the limit also bounds the work.
    const COMPARED_MAX_BYTES: usize = 80;
    if key.len() > COMPARED_MAX_BYTES {
        return Vec::new();
    }
    let mut names: Vec<_> = keys()
        .map(|row| (edit_distance(key, row.name), row.name))
        .collect();
    names.sort_unstable();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn limits<'a>(draft: &'a mut Draft, id: &str) -> &'a mut DefaultLimits {
    let groups = &mut draft.settings.metadata.vhost_limits;
    groups.entry(id.to_owned()).or_default()
}

fn policy<'a>(draft: &'a mut Draft, id: &str) -> &'a mut DefaultPolicy {
    let groups = &mut draft.settings.metadata.operator_policies;
    groups.entry(id.to_owned()).or_default()
}

fn or_infinity(value: &str) -> Result<Option<u64>, String> {
    match value {
        "infinity" => Ok(None),
        value => positive(value)
            .map(Some)
            .map_err(|_| "an integer above 0 or infinity".to_owned()),
    }
}

fn none_only(value: &str) -> Result<(), String> {
    if value == "none" {
        Ok(())
    } else {
        Err("none".to_owned())
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "true or false".to_owned())
}

/// What becomes of a value that a publisher has set.
fn existing(overwrite: &str) -> Result<Existing, String> {
    Ok(match boolean(overwrite)? {
        true => Existing::Overwrite,
        false => Existing::Keep,
    })
}

fn positive<T: std::str::FromStr + PartialOrd + From<u8>>(value: &str) -> Result<T, String> {
    let number = value.parse().ok().filter(|number| *number >= T::from(1));
    number.ok_or_else(|| "an integer above 0".to_owned())
}

fn frame_size(value: &str) -> Result<u32, String> {
    size::parse_byte_size(value)
        .filter(|bytes| (FRAME_SIZE_MIN_BYTES..=FRAME_SIZE_CAP_BYTES).contains(bytes))
        .and_then(|bytes| u32::try_from(bytes).ok())
        .ok_or_else(|| "bytes, an integer from 8192 to 16777216".to_owned())
}

fn information_unit(value: &str) -> Result<u64, String> {
    size::parse_information_unit(value)
        .ok_or_else(|| "a size such as 50000000, 64MB or 2GiB".to_owned())
}

fn non_negative(value: &str) -> Result<f64, String> {
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a number of at least 0".to_owned())
}

fn fraction(value: &str) -> Result<f64, String> {
    non_negative(value)
        .ok()
        .filter(|number| *number <= 1.0)
        .ok_or_else(|| "a number from 0 to 1".to_owned())
}

/// Vhost and user names travel in AMQP short strings.
pub(crate) fn name(value: &str) -> Result<String, String> {
    if (1..=255).contains(&value.len()) {
        Ok(value.to_owned())
    } else {
        Err("a name of 1 to 255 bytes".to_owned())
    }
}
