//! Settings in Erlang terms: `advanced.config` and the classic `rabbitmq.config`.
//!
//! Each term is turned into the entries that `rabbitmq.conf` would have for it, so that both go through one table
//! ([`crate::schema`]): a row says where Erlang's form of its key is. Forms that differ in more than the name are listed in
//! [`special`]. What has no key is either of another runtime ([`OF_ANOTHER_RUNTIME`]: accepted, with a line in the log) or a problem.

mod backends;

use crate::conf_file::Entry;
use crate::encrypted::{Cipher, Decoder, Hash, Scheme};
use crate::erlang::{self, Node, Term};
use crate::error::{Place, Problem};
use crate::schema::{self, Key};

/// Applications and keys that tune Erlang or RabbitMQ's own store and have no effect here; each stands for all below it.
const OF_ANOTHER_RUNTIME: &[&str] = &[
    "aten",
    "cowboy",
    "inets",
    "kernel",
    "lager",
    "mnesia",
    "os_mon",
    "osiris",
    "ra",
    "rabbit.channel_operation_timeout",
    "rabbit.channel_tick_interval",
    "rabbit.cluster_partition_handling.pause_if_all_down",
    "rabbit.credit_flow_default_credit",
    "rabbit.disk_monitor_failure_retries",
    "rabbit.disk_monitor_failure_retry_interval",
    "rabbit.halt_on_upgrade_failure",
    "rabbit.lager_default_file",
    "rabbit.lazy_queue_explicit_gc_run_operation_threshold",
    "rabbit.mirroring_flow_control",
    "rabbit.mnesia_table_loading_timeout",
    "rabbit.msg_store_credit_disc_bound",
    "rabbit.msg_store_file_size_limit",
    "rabbit.msg_store_index_module",
    "rabbit.queue_explicit_gc_run_operation_threshold",
    "rabbit.queue_index_max_journal_entries",
    "rabbit.tcp_listen_options.binary",
    "rabbit.tcp_listen_options.packet",
    "rabbit.tcp_listen_options.reuseaddr",
    "rabbit.tracking_execution_timeout",
    "rabbit.vhost_process_reconciliation_run_interval",
    "rabbit.writer_gc_threshold",
    "ranch",
    "sasl",
    "ssl",
    "stdlib",
    "sysmon_handler",
];

/// What a file of terms says.
#[derive(Debug, Default)]
pub(crate) struct Classic {
    /// The same in the words of `rabbitmq.conf`.
    pub(crate) entries: Vec<Entry>,
    /// Application and key of everything that is set: it replaces what other files say of it.
    pub(crate) replaced: Vec<String>,
    /// How encrypted values are read, if the file says so.
    pub(crate) decoder: Option<PassphraseSource>,
    /// What is accepted without effect.
    pub(crate) notes: Vec<String>,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
}

/// Where a passphrase is, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PassphraseSource {
    /// In the file of terms.
    Here(Decoder),
    /// The first line of a file.
    File(String, Option<Scheme>),
}

/// Reads the text of one file.
pub(crate) fn read(file: &str, text: &str) -> Classic {
    let mut reader = Reader {
        file,
        out: Classic::default(),
    };
    match erlang::parse(text) {
        Ok(node) => reader.applications(&node),
        Err(error) => reader.out.problems.push(Problem::ErlangSyntax {
            place: reader.place(error.line),
            expected: error.expected,
        }),
    }
    reader.out
}

struct Reader<'a> {
    file: &'a str,
    out: Classic,
}

impl Reader<'_> {
    fn place(&self, line: usize) -> Place {
        Place {
            file: self.file.to_owned(),
            line,
        }
    }

    fn expect(&mut self, node: &Node, path: &str, expected: &'static str) {
        self.out.problems.push(Problem::ErlangSetting {
            place: self.place(node.line),
            path: path.to_owned(),
            expected,
        });
    }

    fn entry(&mut self, node: &Node, key: impl Into<String>, value: impl Into<String>) {
        self.out.entries.push(Entry {
            key: key.into(),
            value: value.into(),
            place: self.place(node.line),
        });
    }

    fn applications(&mut self, node: &Node) {
        let Some(applications) = node.list() else {
            return self.expect(node, "the file", "a list of {application, Settings}");
        };
        for application in applications {
            match application.pair() {
                Some((name, settings)) if settings.list().is_some() => {
                    for setting in settings.list().unwrap_or_default() {
                        self.setting(name, setting);
                    }
                }
                _ => self.expect(
                    application,
                    "the file",
                    "{application, [{key, Value}, ...]}",
                ),
            }
        }
    }

    fn setting(&mut self, application: &str, node: &Node) {
        let Some((key, value)) = node.pair() else {
            return self.expect(node, application, "{key, Value}");
        };
        let path = format!("{application}.{key}");
        if !self.special(&path, value) {
            self.general(&path, value);
        }
        self.out.replaced.push(path);
    }

    /// A value for the rows of the table that have this path.
    fn general(&mut self, path: &str, node: &Node) {
        if is_of_another_runtime(path) {
            let place = self.place(node.line);
            let note = format!("{place}: {path} has no effect here");
            return self.out.notes.push(note);
        }
        let (scalar, list) = rows(path);
        if let (Some(row), Some(value)) = (scalar, value_of(node)) {
            return self.entry(node, row.name, value);
        }
        match (node.list(), list) {
            (Some([]), _) if scalar.is_some_and(|row| row.kind == schema::kind::NONE) => {
                let name = scalar.map_or("", |row| row.name);
                self.entry(node, name, "none");
            }
            (Some(items), Some(row)) => {
                for (index, item) in items.iter().enumerate() {
                    match element_of(item) {
                        Some(value) => {
                            let number = (index + 1).to_string();
                            self.entry(item, chosen(row, &number), value);
                        }
                        None => self.expect(item, path, "an atom, number, string or binary"),
                    }
                }
            }
            (Some([]), _) => {}
            (Some(items), None) if items.iter().all(is_option) => {
                for item in items {
                    match item.pair() {
                        Some((key, value)) => {
                            let path = format!("{path}.{key}");
                            if !self.special(&path, value) {
                                self.general(&path, value);
                            }
                        }
                        None => {
                            let name = item.atom().unwrap_or_default();
                            self.general(&format!("{path}.{name}"), item);
                        }
                    }
                }
            }
            _ => self.out.problems.push(Problem::ErlangUnknown {
                place: self.place(node.line),
                path: path.to_owned(),
            }),
        }
    }

    /// Forms that differ from `rabbitmq.conf` in more than the name. `false` if this is none of them.
    fn special(&mut self, path: &str, node: &Node) -> bool {
        match path {
            "rabbit.vm_memory_high_watermark" => {
                self.limit(node, path, ("relative", "absolute"), "relative")
            }
            "rabbit.disk_free_limit" => {
                self.limit(node, path, ("mem_relative", "absolute"), "absolute")
            }
            "rabbit.loopback_users" => self.names(node, path, "loopback_users"),
            "rabbit.default_user_tags" => self.names(node, path, "default_user_tags"),
            "rabbit.default_permissions" | "rabbit.default_permission" => {
                self.permissions(node, path)
            }
            "rabbit.auth_backends" | "rabbitmq_web_dispatch.auth_backends" => {
                let key = if path.starts_with("rabbit.") {
                    "auth_backends"
                } else {
                    "http_dispatch.auth_backends"
                };
                self.backends(node, path, key);
            }
            "rabbitmq_management.sample_retention_policies"
            | "rabbitmq_management_agent.sample_retention_policies" => self.retention(node, path),
            "rabbitmq_management_agent.rates_mode" => {
                self.general("rabbitmq_management.rates_mode", node);
            }
            "rabbit.log_levels" => self.log_levels(node, path),
            "rabbit.cluster_nodes" => self.cluster_nodes(node, path),
            "rabbit.config_entry_decoder" => self.decoder(node, path),
            "rabbit.tcp_listen_options.linger" => match node.tuple() {
                Some([on, timeout]) => {
                    for (part, value) in [("on", on), ("timeout", timeout)] {
                        let key = format!("tcp_listen_options.linger.{part}");
                        self.entry(value, key, value.scalar().unwrap_or_default());
                    }
                }
                _ => self.expect(node, path, "{true or false, Seconds}"),
            },
            "rabbitmq_trust_store.refresh_interval" if node.tuple().is_some() => {
                match node.pair() {
                    Some(("seconds", seconds)) => {
                        let value = seconds.scalar().unwrap_or_default();
                        self.entry(seconds, "trust_store.refresh_interval", value);
                    }
                    _ => self.expect(node, path, "{seconds, Seconds}"),
                }
            }
            "rabbit.default_consumer_prefetch" => match node.tuple() {
                Some([global, count]) => {
                    for (part, value) in [("global", global), ("count", count)] {
                        let key = format!("warren.default_consumer_prefetch.{part}");
                        self.entry(value, key, value.scalar().unwrap_or_default());
                    }
                }
                _ => self.expect(node, path, "{true or false, Count}"),
            },
            _ if self.oauth2(path, node) || self.ldap(path, node) => {}
            _ => {
                // The listener of 3.x under its later name.
                let Some(rest) = path.strip_prefix("rabbitmq_management.listener.") else {
                    return false;
                };
                let later = match rest.strip_prefix("ssl_opts") {
                    Some(option) => format!("rabbitmq_management.ssl_config{option}"),
                    None => format!("rabbitmq_management.tcp_config.{rest}"),
                };
                if rest == "ssl" {
                    let has_tls = node.scalar().unwrap_or_default();
                    self.entry(node, "management.listener.ssl".to_owned(), has_tls);
                    return true;
                }
                self.general(&later, node);
            }
        }
        true
    }

    /// A number or `{relative | absolute, Value}`; `plain` is what a bare value means.
    fn limit(&mut self, node: &Node, path: &str, names: (&str, &str), plain: &str) {
        let (relative, absolute) = names;
        let key = path.strip_prefix("rabbit.").unwrap_or(path);
        let given = node.pair().map_or_else(
            || Some((plain, node.scalar()?)),
            |(name, value)| Some((name, value.scalar()?)),
        );
        match given {
            Some((name, value)) if name == relative || name == "relative" => {
                self.entry(node, format!("{key}.relative"), value);
            }
            Some((name, value)) if name == absolute => {
                self.entry(node, format!("{key}.absolute"), value);
            }
            _ => self.expect(node, path, "a number, {absolute, Size} or a relative one"),
        }
    }

    fn names(&mut self, node: &Node, path: &str, key: &str) {
        let Some(names) = node.list() else {
            return self.expect(node, path, "a list of names");
        };
        if names.is_empty() && key == "loopback_users" {
            return self.entry(node, key, "none");
        }
        for name in names {
            match name.scalar() {
                Some(text) => {
                    let part = text.replace('.', "\\.");
                    self.entry(name, format!("{key}.{part}"), "true");
                }
                None => self.expect(name, path, "a name"),
            }
        }
    }

    fn permissions(&mut self, node: &Node, path: &str) {
        match node.list() {
            Some(items @ [_, _, _]) => {
                for (part, item) in ["configure", "write", "read"].iter().zip(items) {
                    let key = format!("default_permissions.{part}");
                    self.entry(item, key, item.scalar().unwrap_or_default());
                }
            }
            _ => self.expect(node, path, "[Configure, Write, Read]"),
        }
    }

    fn backends(&mut self, node: &Node, path: &str, key: &str) {
        let Some(backends) = node.list() else {
            return self.expect(node, path, "a list of backends");
        };
        for (index, backend) in backends.iter().enumerate() {
            let key = format!("{key}.{}", index + 1);
            match (backend.atom(), backend.pair()) {
                (Some(module), _) => self.entry(backend, key, module),
                (None, Some((authn, authz))) => {
                    let one = authz.list().map_or(Some(authz), |list| match list {
                        [one] => Some(one),
                        _ => None,
                    });
                    match one.and_then(Node::atom) {
                        Some(authz) => {
                            self.entry(backend, format!("{key}.authn"), authn);
                            self.entry(backend, format!("{key}.authz"), authz);
                        }
                        None => self.expect(backend, path, "one backend for authorisation"),
                    }
                }
                _ => self.expect(backend, path, "Backend or {Authn, Authz}"),
            }
        }
    }

    /// `[{basic, [{Age, Step}, ...]}, ...]`
    fn retention(&mut self, node: &Node, path: &str) {
        for section in node.list().unwrap_or_default() {
            let Some((name, tiers)) = section.pair() else {
                self.expect(section, path, "{Section, [{Age, Step}, ...]}");
                continue;
            };
            for tier in tiers.list().unwrap_or_default() {
                let numbers = match tier.tuple() {
                    Some([age, step]) => age.scalar().zip(step.scalar()),
                    _ => None,
                };
                match numbers {
                    Some((age, step)) => {
                        let key = format!("management.sample_retention_policies.{name}.{age}");
                        self.entry(tier, key, step);
                    }
                    None => self.expect(tier, path, "{Age, Step}"),
                }
            }
        }
    }

    fn log_levels(&mut self, node: &Node, path: &str) {
        for item in node.list().unwrap_or_default() {
            match item.pair() {
                Some((category, level)) if level.atom().is_some() => {
                    let level = level.atom().unwrap_or_default().to_owned();
                    self.entry(item, format!("log.{category}.level"), level);
                }
                _ => self.expect(item, path, "{category, level}"),
            }
        }
    }

    fn cluster_nodes(&mut self, node: &Node, path: &str) {
        let (nodes, kind) = match node.tuple() {
            Some([nodes, kind]) => (nodes, kind.atom().unwrap_or_default()),
            _ => (node, "disc"),
        };
        if !["disc", "disk"].contains(&kind) {
            return self.out.problems.push(Problem::NodeType {
                place: self.place(node.line),
                kind: kind.to_owned(),
            });
        }
        for (index, node) in nodes.list().unwrap_or_default().iter().enumerate() {
            match node.scalar() {
                Some(name) => {
                    let key = format!("cluster_formation.classic_config.nodes.{}", index + 1);
                    self.entry(node, key, name);
                }
                None => self.expect(node, path, "the name of a node"),
            }
        }
    }

    /// `[{passphrase, ...}, {cipher, ...}, {hash, ...}, {iterations, ...}]`.
    fn decoder(&mut self, node: &Node, path: &str) {
        let option = |name: &str| {
            let items = node.list().unwrap_or_default();
            items.iter().find_map(|item| {
                let (key, value) = item.pair()?;
                (key == name).then_some(value)
            })
        };
        let named = [option("cipher"), option("hash"), option("iterations")];
        let scheme = if named.iter().all(Option::is_none) {
            None
        } else {
            let mut scheme = crate::encrypted::STRONG;
            let [cipher, hash, iterations] = named;
            if let Some(node) = cipher {
                match node.atom().and_then(Cipher::parse) {
                    Some(cipher) => scheme.cipher = cipher,
                    None => {
                        return self.expect(
                            node,
                            path,
                            "the cipher aes_128_cbc, aes_192_cbc or aes_256_cbc",
                        );
                    }
                }
            }
            if let Some(node) = hash {
                match node.atom().and_then(Hash::parse) {
                    Some(hash) => scheme.hash = hash,
                    None => {
                        return self.expect(
                            node,
                            path,
                            "the hash sha224, sha256, sha384 or sha512",
                        );
                    }
                }
            }
            if let Some(node) = iterations {
                let Term::Integer(n @ 1..=10_000_000) = node.term else {
                    return self.expect(node, path, "iterations, an integer from 1 to 10000000");
                };
                scheme.iterations = n as u32;
            }
            Some(scheme)
        };
        let Some(passphrase) = option("passphrase") else {
            return;
        };
        if let Some(("file", file)) = passphrase.pair()
            && let Some(file) = file.scalar()
        {
            self.out.decoder = Some(PassphraseSource::File(file, scheme));
        } else if passphrase.atom() == Some("prompt") {
            self.expect(
                passphrase,
                path,
                "a passphrase or {file, Path}: a service has nobody to ask",
            );
        } else if let Some(passphrase) = passphrase.scalar() {
            self.out.decoder = Some(PassphraseSource::Here(Decoder { passphrase, scheme }));
        } else {
            self.expect(passphrase, path, "a passphrase or {file, Path}");
        }
    }
}

/// The row for one value and the row for numbered values that have this path.
fn rows(path: &str) -> (Option<&'static Key>, Option<&'static Key>) {
    let of_path = || schema::keys().filter(|row| row.env == path);
    let parts = |row: &&Key| row.name.matches('$').count();
    (
        of_path().find(|row| parts(row) == 0),
        of_path().find(|row| {
            parts(row) == 1
                && row
                    .name
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| last.starts_with('$'))
        }),
    )
}

/// The name of a row with its chosen part filled in.
fn chosen(row: &Key, part: &str) -> String {
    row.name
        .split_once('$')
        .map_or_else(|| row.name.to_owned(), |(stem, _)| format!("{stem}{part}"))
}

fn is_of_another_runtime(path: &str) -> bool {
    OF_ANOTHER_RUNTIME.iter().any(|prefix| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// An element of a list of options.
fn is_option(node: &Node) -> bool {
    node.pair().is_some() || node.atom().is_some()
}

/// A value as `rabbitmq.conf` has it; `{encrypted, <<"...">>}` too.
fn value_of(node: &Node) -> Option<String> {
    match node.pair() {
        Some(("encrypted", value)) => Some(format!("encrypted:{}", value.scalar()?)),
        _ => node.scalar(),
    }
}

/// An element of a list; `{"127.0.0.1", 5672}` is a listener.
fn element_of(node: &Node) -> Option<String> {
    match node.tuple() {
        Some([ip, port]) => match (&ip.term, &port.term) {
            (Term::String(ip) | Term::Binary(ip), Term::Integer(port)) => {
                Some(format!("{ip}:{port}"))
            }
            (Term::Atom(ip), Term::Integer(port)) if ip == "auto" => Some(port.to_string()),
            _ => None,
        },
        Some(_) => None,
        None => node.scalar(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<String> {
        let classic = read("x.config", text);
        let problems: Vec<_> = classic.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, [""; 0], "{text}");
        let entries = classic.entries.iter();
        entries
            .map(|entry| format!("{} = {}", entry.key, entry.value))
            .collect()
    }

    fn problem(text: &str) -> String {
        let classic = read("x.config", text);
        let problems: Vec<_> = classic.problems.iter().map(ToString::to_string).collect();
        problems.join("\n")
    }

    #[test]
    fn each_key_of_the_classic_file_has_its_place() {
        for (setting, expected) in [
            (
                "{auth_mechanisms, ['PLAIN','AMQPLAIN']}",
                &["auth_mechanisms.1 = PLAIN", "auth_mechanisms.2 = AMQPLAIN"][..],
            ),
            (
                "{default_consumer_prefetch, {false, 250}}",
                &[
                    "warren.default_consumer_prefetch.global = false",
                    "warren.default_consumer_prefetch.count = 250",
                ],
            ),
            (
                "{auth_backends, [rabbit_auth_backend_internal]}",
                &["auth_backends.1 = rabbit_auth_backend_internal"],
            ),
            (
                "{auth_backends, [{rabbit_auth_backend_ldap, rabbit_auth_backend_internal}]}",
                &[
                    "auth_backends.1.authn = rabbit_auth_backend_ldap",
                    "auth_backends.1.authz = rabbit_auth_backend_internal",
                ],
            ),
            ("{default_user, <<\"anna\">>}", &["default_user = anna"]),
            (
                "{default_pass, {encrypted, <<\"abc\">>}}",
                &["default_pass = encrypted:abc"],
            ),
            (
                "{default_permission, [<<\"a\">>,<<\"b\">>,<<\"c\">>]}",
                &[
                    "default_permissions.configure = a",
                    "default_permissions.write = b",
                    "default_permissions.read = c",
                ],
            ),
            (
                "{default_user_tags, [administrator]}",
                &["default_user_tags.administrator = true"],
            ),
            (
                "{disk_free_limit, 50000000}",
                &["disk_free_limit.absolute = 50000000"],
            ),
            (
                "{disk_free_limit, \"1GB\"}",
                &["disk_free_limit.absolute = 1GB"],
            ),
            (
                "{disk_free_limit, {mem_relative, 1.0}}",
                &["disk_free_limit.relative = 1.0"],
            ),
            ("{heartbeat, 580}", &["heartbeat = 580"]),
            ("{hipe_compile, true}", &["hipe_compile = true"]),
            (
                "{log_levels, [{connection, info}, {channel, error}]}",
                &["log.connection.level = info", "log.channel.level = error"],
            ),
            (
                "{tcp_listeners, [5672, {\"127.0.0.1\", 5673}, {\"::1\", 5674}]}",
                &[
                    "listeners.tcp.1 = 5672",
                    "listeners.tcp.2 = 127.0.0.1:5673",
                    "listeners.tcp.3 = ::1:5674",
                ],
            ),
            ("{tcp_listeners, []}", &["listeners.tcp = none"]),
            ("{ssl_listeners, [5671]}", &["listeners.ssl.1 = 5671"]),
            (
                "{ssl_options, [{cacertfile,\"/ca\"},{verify,verify_peer},{versions,['tlsv1.2']}]}",
                &[
                    "ssl_options.cacertfile = /ca",
                    "ssl_options.verify = verify_peer",
                    "ssl_options.versions.1 = tlsv1.2",
                ],
            ),
            (
                "{vm_memory_high_watermark, 0.4}",
                &["vm_memory_high_watermark.relative = 0.4"],
            ),
            (
                "{vm_memory_high_watermark, {absolute, \"2GB\"}}",
                &["vm_memory_high_watermark.absolute = 2GB"],
            ),
            (
                "{collect_statistics, coarse}",
                &["collect_statistics = coarse"],
            ),
            (
                "{collect_statistics_interval, 5000}",
                &["collect_statistics_interval = 5000"],
            ),
            ("{loopback_users, []}", &["loopback_users = none"]),
            (
                "{track_auth_attempt_source, true}",
                &["warren.track_auth_attempt_source = true"],
            ),
            (
                "{loopback_users, [<<\"a.b\">>]}",
                &["loopback_users.a\\.b = true"],
            ),
            (
                "{cluster_nodes, {['rabbit@a','rabbit@b'], disc}}",
                &[
                    "cluster_formation.classic_config.nodes.1 = rabbit@a",
                    "cluster_formation.classic_config.nodes.2 = rabbit@b",
                ],
            ),
            (
                "{cluster_partition_handling, autoheal}",
                &["cluster_partition_handling = autoheal"],
            ),
            (
                "{tcp_listen_options, [binary, {packet, raw}, {backlog, 5}, {nodelay, true}, {linger, {true, 0}}]}",
                &[
                    "tcp_listen_options.backlog = 5",
                    "tcp_listen_options.nodelay = true",
                    "tcp_listen_options.linger.on = true",
                    "tcp_listen_options.linger.timeout = 0",
                ],
            ),
        ] {
            assert_eq!(
                entries(&format!("[{{rabbit, [{setting}]}}].")),
                expected,
                "{setting}"
            );
        }
    }

    #[test]
    fn keys_of_plugins_have_theirs() {
        assert_eq!(
            entries(
                "[{rabbitmq_management, [{listener, [{port, 12345}, {ip, \"127.0.0.1\"}]}, {cors_allow_origins, [\"*\"]}]}]."
            ),
            [
                "management.tcp.port = 12345",
                "management.tcp.ip = 127.0.0.1",
                "management.cors.allow_origins.1 = *"
            ]
        );
        assert_eq!(
            entries(
                "[{rabbitmq_management, [{http_log_dir, \"/x\"}, {listener, [{port, 1}, {ssl, true}, {cowboy_opts, [{idle_timeout, 5}]}, {ssl_opts, [{certfile, \"/c\"}]}]}]}]."
            ),
            [
                "management.http_log_dir = /x",
                "management.tcp.port = 1",
                "management.listener.ssl = true",
                "management.tcp.idle_timeout = 5",
                "management.ssl.certfile = /c"
            ]
        );
    }

    #[test]
    fn maps_of_the_oauth2_backend_have_theirs() {
        assert_eq!(
            entries(
                "[{rabbitmq_auth_backend_oauth2, [
                    {resource_server_id, <<\"rabbitmq\">>},
                    {preferred_username_claims, [<<\"user_name\">>, <<\"email\">>]},
                    {scope_aliases, #{<<\"a.b\">> => [<<\"x.read:*/*\">>, <<\"x.tag:management\">>], <<\"c\">> => <<\"d\">>}},
                    {key_config, [
                        {default_key, <<\"k1\">>},
                        {signing_keys, #{
                            <<\"k1\">> => {map, #{<<\"kty\">> => <<\"MAC\">>, <<\"alg\">> => <<\"HS256\">>, <<\"value\">> => <<\"s\">>}},
                            <<\"k2\">> => {pem, <<\"-----BEGIN\">>}}},
                        {algorithms, [<<\"HS256\">>]}]},
                    {oauth_providers, #{<<\"keycloak\">> => [
                        {issuer, <<\"https://keycloak\">>},
                        {https, [{depth, 2}, {verify, verify_none}]},
                        {discovery_endpoint_params, [{<<\"p\">>, <<\"v\">>}]},
                        {algorithms, [<<\"RS256\">>]}]}},
                    {resource_servers, #{<<\"prod\">> => [
                        {extra_scopes_source, <<\"roles\">>},
                        {oauth_provider_id, <<\"keycloak\">>}]}}
                ]}]."
            ),
            [
                "auth_oauth2.resource_server_id = rabbitmq",
                "auth_oauth2.preferred_username_claims.1 = user_name",
                "auth_oauth2.preferred_username_claims.2 = email",
                "auth_oauth2.scope_aliases.a\\.b = x.read:*/* x.tag:management",
                "auth_oauth2.scope_aliases.c = d",
                "auth_oauth2.default_key = k1",
                "auth_oauth2.signing_keys.k1 = {\"alg\":\"HS256\",\"kty\":\"MAC\",\"value\":\"s\"}",
                "auth_oauth2.signing_keys.k2 = -----BEGIN",
                "auth_oauth2.algorithms.1 = HS256",
                "auth_oauth2.oauth_providers.keycloak.issuer = https://keycloak",
                "auth_oauth2.oauth_providers.keycloak.https.depth = 2",
                "auth_oauth2.oauth_providers.keycloak.https.verify = verify_none",
                "auth_oauth2.oauth_providers.keycloak.discovery_endpoint_params.p = v",
                "auth_oauth2.oauth_providers.keycloak.algorithms.1 = RS256",
                "auth_oauth2.resource_servers.prod.additional_scopes_key = roles",
                "auth_oauth2.resource_servers.prod.oauth_provider_id = keycloak",
            ]
        );
    }

    #[test]
    fn binds_and_queries_of_the_ldap_backend_have_theirs() {
        assert_eq!(
            entries(
                "[{rabbitmq_auth_backend_ldap, [
                    {servers, [\"a.example\", \"b.example\"]},
                    {user_dn_pattern, \"cn=${username},dc=x\"},
                    {other_bind, {\"cn=admin,dc=x\", \"secret\"}},
                    {dn_lookup_bind, anon},
                    {ssl_options, [{cacertfile, \"/ca.pem\"}, {verify, verify_peer}]},
                    {timeout, infinity},
                    {vhost_access_query, {in_group, \"cn=${vhost}\"}},
                    {tag_queries, [{administrator, {constant, false}}]}
                ]}]."
            ),
            [
                "auth_ldap.servers.1 = a.example",
                "auth_ldap.servers.2 = b.example",
                "auth_ldap.user_dn_pattern = cn=${username},dc=x",
                "auth_ldap.other_bind.user_dn = cn=admin,dc=x",
                "auth_ldap.other_bind.password = secret",
                "auth_ldap.dn_lookup_bind = anon",
                "auth_ldap.ssl_options.cacertfile = /ca.pem",
                "auth_ldap.ssl_options.verify = verify_peer",
                "auth_ldap.timeout = infinity",
                "auth_ldap.queries.vhost_access = {in_group,\"cn=${vhost}\"}",
                "auth_ldap.queries.tags = [{administrator,{constant,false}}]",
            ]
        );
    }

    #[test]
    fn what_belongs_to_erlang_is_noted() {
        let classic = read(
            "x.config",
            "[{kernel, [{net_ticktime, 60}]},\n {rabbit, [{msg_store_file_size_limit, 16777216}]}].",
        );
        assert!(classic.problems.is_empty() && classic.entries.is_empty());
        assert_eq!(
            classic.notes,
            [
                "x.config:1: kernel.net_ticktime has no effect here",
                "x.config:2: rabbit.msg_store_file_size_limit has no effect here"
            ]
        );
    }

    #[test]
    fn what_is_unknown_or_misshapen_is_a_problem_with_its_line() {
        for (text, expected) in [
            (
                "[{rabbit, [{bogus, 1}]}].",
                "x.config:1: You've tried to set rabbit.bogus, but there is no setting with that name.",
            ),
            (
                "[{surprise, [{a, 1}]}].",
                "x.config:1: You've tried to set surprise.a, but there is no setting with that name.",
            ),
            (
                "[\n{rabbit, [\n{heartbeat}]}].",
                "x.config:3: rabbit: expected {key, Value}",
            ),
            (
                "[{rabbit, 1}].",
                "x.config:1: the file: expected {application, [{key, Value}, ...]}",
            ),
            (
                "{}.",
                "x.config:1: the file: expected a list of {application, Settings}",
            ),
            (
                "[{rabbit, [}].",
                "x.config:1: expected an atom, number, string, binary, list, tuple or map",
            ),
            (
                "[{rabbit, [{cluster_nodes, {[], ram}}]}].",
                "x.config:1: {{invalid_cluster_node_type,ram},\"In the 'cluster_nodes' configuration key, the node type is invalid (expected 'disc'): ram\"}",
            ),
            (
                "[{rabbit, [{vm_memory_high_watermark, {some, 1}}]}].",
                "x.config:1: rabbit.vm_memory_high_watermark: expected a number, {absolute, Size} or a relative one",
            ),
            (
                "[{rabbit, [{config_entry_decoder, [{passphrase, prompt}]}]}].",
                "x.config:1: rabbit.config_entry_decoder: expected a passphrase or {file, Path}: a service has nobody to ask",
            ),
            (
                "[{rabbit, [{config_entry_decoder, [{cipher, rot13}]}]}].",
                "x.config:1: rabbit.config_entry_decoder: expected the cipher aes_128_cbc, aes_192_cbc or aes_256_cbc",
            ),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
    }

    #[test]
    fn a_passphrase_is_here_or_in_a_file() {
        let decoder = |options: &str| {
            read(
                "x",
                &format!("[{{rabbit,[{{config_entry_decoder,[{options}]}}]}}]."),
            )
            .decoder
        };
        assert_eq!(
            decoder("{passphrase, <<\"p\">>}"),
            Some(PassphraseSource::Here(Decoder {
                passphrase: "p".to_owned(),
                scheme: None
            }))
        );
        assert_eq!(
            decoder("{passphrase, {file, \"/p\"}}, {cipher, aes_cbc256}, {iterations, 7}"),
            Some(PassphraseSource::File(
                "/p".to_owned(),
                Some(Scheme {
                    iterations: 7,
                    ..crate::encrypted::STRONG
                })
            ))
        );
    }
}
