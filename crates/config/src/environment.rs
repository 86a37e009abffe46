//! The effective configuration in Erlang's terms, application by application, as `rabbitmqctl environment` shows it.
//!
//! It is made from the schema: each key that has a place in RabbitMQ's files of terms is shown there, with what a file says or its
//! default. What variables and several keys decide together comes from the settings. Secrets are left out.

use crate::erlang::{Node, Term};
use crate::schema::kind::{self, Type};
use crate::schema::{self, Key, State};
use crate::{DiskFreeLimit, ListenAddress, MemoryHighWatermark, Settings, size};
use broker::command::HashAlgorithm;
use std::collections::BTreeMap;

/// Settings by application, both in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment(BTreeMap<String, Tree>);

/// A setting, or several of them below one name.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Leaf(Node),
    Branch(BTreeMap<String, Self>),
}

fn node(term: Term) -> Node {
    Node { line: 0, term }
}

fn atom(text: &str) -> Node {
    node(Term::Atom(text.to_owned()))
}

fn binary(text: &str) -> Node {
    node(Term::Binary(text.to_owned()))
}

fn string(text: &str) -> Node {
    node(Term::String(text.to_owned()))
}

fn integer(value: impl TryInto<i64>) -> Node {
    node(Term::Integer(value.try_into().unwrap_or(i64::MAX)))
}

fn boolean(value: bool) -> Node {
    atom(if value { "true" } else { "false" })
}

fn list(items: impl IntoIterator<Item = Node>) -> Node {
    node(Term::List(items.into_iter().collect()))
}

fn tuple(items: impl IntoIterator<Item = Node>) -> Node {
    node(Term::Tuple(items.into_iter().collect()))
}

fn pair(key: &str, value: Node) -> Node {
    tuple([atom(key), value])
}

impl Tree {
    fn node(&self) -> Node {
        match self {
            Self::Leaf(own) => own.clone(),
            Self::Branch(settings) => {
                list(settings.iter().map(|(key, tree)| pair(key, tree.node())))
            }
        }
    }

    /// Sets what is at a path; what is there is replaced.
    fn set(&mut self, path: &[&str], value: Node) {
        let Some((first, rest)) = path.split_first() else {
            *self = Self::Leaf(value);
            return;
        };
        if let Self::Leaf(_) = self {
            *self = Self::Branch(BTreeMap::new());
        }
        if let Self::Branch(settings) = self {
            settings
                .entry((*first).to_owned())
                .or_insert_with(|| Self::Branch(BTreeMap::new()))
                .set(rest, value);
        }
    }
}

impl Environment {
    /// Applications with their settings, each a name and a term in Erlang's syntax.
    pub fn applications(&self) -> impl Iterator<Item = (&str, Vec<(&str, String)>)> {
        self.0.iter().map(|(application, tree)| {
            let settings = match tree {
                Tree::Branch(settings) => settings
                    .iter()
                    .map(|(key, tree)| (key.as_str(), tree.node().to_string()))
                    .collect(),
                Tree::Leaf(_) => Vec::new(),
            };
            (application.as_str(), settings)
        })
    }

    /// What the files say, which is text by key, and what came of it.
    pub(crate) fn new(values: &BTreeMap<&str, &str>, settings: &Settings) -> Self {
        let mut environment = Self::default();
        for key in schema::keys() {
            let text = values.get(key.name).copied().unwrap_or(key.default);
            let is_shown = matches!(key.state, State::Honoured(_) | State::Only(..))
                || values.contains_key(key.name);
            let is_one = !key.env.is_empty() && !key.name.contains('$') && !key.env.contains('$');
            if is_shown && is_one && !text.is_empty() && !kind::is_secret(key.kind) {
                environment.set(key.env, value(key, text));
            }
        }
        environment.add_settings(settings);
        environment
    }

    fn set(&mut self, path: &str, value: Node) {
        let Some((application, path)) = path.split_once('.') else {
            return;
        };
        let path: Vec<&str> = path.split('.').collect();
        self.0
            .entry(application.to_owned())
            .or_insert_with(|| Tree::Branch(BTreeMap::new()))
            .set(&path, value);
    }

    fn add_settings(&mut self, settings: &Settings) {
        let Settings {
            tcp_listeners,
            tls_listeners,
            loopback_users,
            auth_mechanisms,
            default_permissions,
            default_user_tags,
            management,
            tcp_listen_options,
            ..
        } = settings;
        let timeout = settings
            .handshake_timeout
            .map_or_else(|| atom("infinity"), |timeout| integer(timeout.as_millis()));
        let memory = match settings.memory_high_watermark {
            MemoryHighWatermark::Relative(share) => node(Term::Float(share)),
            MemoryHighWatermark::Absolute(bytes) => pair("absolute", integer(bytes)),
        };
        let disk = match settings.disk_free_limit {
            DiskFreeLimit::Relative(share) => pair("mem_relative", node(Term::Float(share))),
            DiskFreeLimit::Absolute(bytes) => integer(bytes),
        };
        let hashing = match settings.password_hashing {
            HashAlgorithm::Sha256 => "rabbit_password_hashing_sha256",
            HashAlgorithm::Sha512 => "rabbit_password_hashing_sha512",
            HashAlgorithm::Md5 => "rabbit_password_hashing_md5",
        };
        let permissions = [
            &default_permissions.configure,
            &default_permissions.write,
            &default_permissions.read,
        ];
        let data_dir = string(&settings.data_dir.display().to_string());
        let mechanisms = auth_mechanisms.iter().map(|own| atom(own.as_str()));
        for (path, value) in [
            ("rabbit.tcp_listeners", addresses(tcp_listeners)),
            ("rabbit.ssl_listeners", addresses(tls_listeners)),
            (
                "rabbit.loopback_users",
                list(loopback_users.iter().map(|user| binary(user))),
            ),
            ("rabbit.auth_mechanisms", list(mechanisms)),
            ("rabbit.default_user", binary(&settings.default_user)),
            ("rabbit.default_vhost", binary(&settings.default_vhost)),
            (
                "rabbit.default_user_tags",
                list(default_user_tags.iter().map(|tag| atom(tag))),
            ),
            (
                "rabbit.default_permissions",
                list(permissions.map(|pattern| binary(pattern))),
            ),
            ("rabbit.handshake_timeout", timeout),
            ("rabbit.heartbeat", integer(settings.heartbeat_s)),
            ("rabbit.frame_max", integer(settings.frame_size_max_bytes)),
            ("rabbit.channel_max", integer(settings.channel_max)),
            (
                "rabbit.max_message_size",
                integer(settings.message_size_max_bytes),
            ),
            (
                "rabbit.consumer_timeout",
                integer(settings.consumer_timeout_ms),
            ),
            ("rabbit.vm_memory_high_watermark", memory),
            ("rabbit.disk_free_limit", disk),
            ("rabbit.password_hashing_module", atom(hashing)),
            (
                "rabbit.collect_statistics",
                atom(settings.statistics.effective_level().as_str()),
            ),
            ("rabbit.proxy_protocol", boolean(settings.proxy_protocol)),
            ("rabbit.data_dir", data_dir.clone()),
            ("mnesia.dir", data_dir),
            (
                "rabbit.tcp_listen_options",
                list([
                    pair("backlog", integer(tcp_listen_options.backlog)),
                    pair("nodelay", boolean(tcp_listen_options.nodelay)),
                    pair("keepalive", boolean(tcp_listen_options.keepalive)),
                ]),
            ),
        ] {
            self.set(path, value);
        }
        for (path, listeners) in [
            ("rabbitmq_management.tcp_config", &management.listeners),
            ("rabbitmq_management.ssl_config", &management.tls_listeners),
        ] {
            let Some(address) = listeners.first() else {
                continue;
            };
            let ip = address.ip.map(|ip| pair("ip", string(&ip.to_string())));
            let port = pair("port", integer(address.port));
            self.set(path, list(ip.into_iter().chain([port])));
        }
    }
}

fn addresses(listeners: &[ListenAddress]) -> Node {
    list(listeners.iter().map(|address| match address.ip {
        Some(ip) => tuple([string(&ip.to_string()), integer(address.port)]),
        None => integer(address.port),
    }))
}

/// A value as files of terms have it.
fn value(key: &Key, text: &str) -> Node {
    let first = key
        .kind
        .iter()
        .find(|own| kind::check(std::slice::from_ref(*own), text).is_ok());
    match first {
        Some(Type::Boolean) => atom(text),
        Some(Type::OneOf(words)) if words.contains(&"on") => boolean(text == "on"),
        Some(Type::OneOf(_)) => atom(text),
        Some(Type::Integer { .. }) => text.parse::<i64>().map_or_else(|_| string(text), integer),
        Some(Type::Float | Type::Fraction) => text
            .parse()
            .map_or_else(|_| string(text), |value| node(Term::Float(value))),
        Some(Type::Size | Type::Unit) => size::parse_information_unit(text)
            .or_else(|| size::parse_byte_size(text))
            .map_or_else(|| string(text), integer),
        Some(Type::Duration) => size::parse_duration_ms(text).map_or_else(|| string(text), integer),
        Some(Type::Text) if key.env.ends_with("_backend") || key.env.ends_with("_type") => {
            atom(text)
        }
        Some(Type::Text) if key.env.ends_with("_user") || key.env.ends_with("_vhost") => {
            binary(text)
        }
        Some(Type::Text | Type::Address | Type::Secret) | None => string(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[(&str, &str)], settings: &Settings) -> BTreeMap<String, String> {
        let values = values.iter().copied().collect();
        let environment = Environment::new(&values, settings);
        environment
            .applications()
            .flat_map(|(application, settings)| {
                settings
                    .into_iter()
                    .map(move |(key, value)| (format!("{application}.{key}"), value))
            })
            .collect()
    }

    #[test]
    fn defaults_are_shown_and_files_win() {
        let settings = Settings {
            heartbeat_s: 30,
            ..Settings::default()
        };
        let all = shown(&[("heartbeat", "30")], &settings);
        assert_eq!(all["rabbit.heartbeat"], "30");
        assert_eq!(all["rabbit.vm_memory_high_watermark"], "0.6");
        assert_eq!(all["rabbit.tcp_listeners"], "[5672]");
        assert_eq!(all["rabbit.loopback_users"], "[<<\"guest\">>]");
        assert_eq!(
            all["rabbit.auth_mechanisms"],
            "['PLAIN','AMQPLAIN','ANONYMOUS']"
        );
        assert_eq!(
            all["rabbit.tcp_listen_options"],
            "[{backlog,128},{nodelay,true},{keepalive,false}]"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = Settings {
            default_pass: "swordfish".into(),
            ..Settings::default()
        };
        let all = shown(
            &[
                ("default_pass", "swordfish"),
                ("anonymous_login_pass", "swordfish"),
            ],
            &settings,
        );
        assert!(!format!("{all:?}").contains("swordfish"));
        assert!(!all.contains_key("rabbit.default_pass"));
    }

    #[test]
    fn every_value_is_a_term() {
        for (key, value) in shown(&[], &Settings::default()) {
            assert!(
                crate::erlang::parse(&format!("{value}.")).is_ok(),
                "{key}: {value}"
            );
        }
    }
}
