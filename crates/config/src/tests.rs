//! The whole way from files and variables to settings.

use super::*;
use frontend_amqp091::{Existing, Interceptors};
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU16;

/// Surroundings that are written down.
#[derive(Default)]
struct Written {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
    writable: Vec<&'static str>,
}

impl Surroundings for Written {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(ToString::to_string)
    }

    fn host_name(&self) -> String {
        "box.example.org".to_owned()
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.keys().any(|file| Path::new(file) == path)
    }

    fn is_writable_directory(&self, path: &Path) -> bool {
        self.writable
            .iter()
            .any(|directory| Path::new(directory) == path)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let found = self.files.iter().find(|(file, _)| Path::new(file) == path);
        found
            .map(|(_, text)| text.to_string())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> Vec<PathBuf> {
        self.files
            .keys()
            .map(PathBuf::from)
            .filter(|file| file.parent() == Some(directory))
            .collect()
    }
}

fn around(variables: &[(&'static str, &'static str)], conf: &'static str) -> Written {
    let mut written = Written {
        variables: variables.iter().copied().collect(),
        ..Written::default()
    };
    written.variables.insert("HOME", "/home/anna");
    written.files.insert("/etc/rabbitmq/rabbitmq.conf", conf);
    written
}

fn settings(conf: &'static str) -> Settings {
    load(&around(&[], conf)).unwrap().settings
}

fn problems(conf: &'static str) -> Vec<String> {
    load(&around(&[], conf))
        .unwrap_err()
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn listeners(variables: &[(&'static str, &'static str)], conf: &'static str) -> Vec<String> {
    let loaded = load(&around(variables, conf)).unwrap();
    loaded
        .settings
        .tcp_listeners
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn nothing_given_gives_the_defaults() {
    let loaded = load(&Written {
        variables: [("HOME", "/home/anna")].into(),
        ..Written::default()
    })
    .unwrap();
    let expected = Settings {
        node_name: "rabbit@box".to_owned(),
        data_dir: "/home/anna/.local/state/warrenmq/rabbit@box".into(),
        enabled_plugins_file: "/home/anna/.local/state/warrenmq/rabbit@box/enabled_plugins".into(),
        config_files: loaded.settings.config_files.clone(),
        environment: loaded.settings.environment.clone(),
        pid_file: "/home/anna/.local/state/warrenmq/rabbit@box.pid".into(),
        ..Settings::default()
    };
    assert_eq!(loaded.settings, expected);
    assert_eq!(loaded.files, Vec::<PathBuf>::new());
    assert_eq!(loaded.notes, Vec::<String>::new());
}

#[test]
fn listeners_are_ports_or_addresses() {
    assert_eq!(listeners(&[], ""), ["[::]:5672"]);
    assert_eq!(
        listeners(
            &[],
            "listeners.tcp.1 = 5673\nlisteners.tcp.2 = 127.0.0.1:5674\nlisteners.tcp.3 = [::1]:5675\nlisteners.tcp.4 = ::1:5676"
        ),
        ["[::]:5673", "127.0.0.1:5674", "[::1]:5675", "[::1]:5676"]
    );
    assert_eq!(
        listeners(&[], "listeners.tcp = none\nlisteners.tcp.1 = 5673"),
        [""; 0]
    );
    assert_eq!(
        problems("listeners.tcp.default = localhost"),
        [
            "/etc/rabbitmq/rabbitmq.conf:1: Error transforming datatype for: listeners.tcp.default: \"localhost\" cannot be \
             converted to a(n) integer; \"localhost\" cannot be converted to a(n) IP"
        ]
    );
}

#[test]
fn address_and_port_variables_hold_unless_a_file_names_listeners() {
    let variables = [
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"),
        ("RABBITMQ_NODE_PORT", "5999"),
    ];
    assert_eq!(listeners(&variables, ""), ["127.0.0.1:5999"]);
    assert_eq!(
        listeners(&variables, "listeners.tcp.default = 6000"),
        ["[::]:6000"]
    );
    let error = load(&around(&[("RABBITMQ_NODE_PORT", "99999")], "")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable RABBITMQ_NODE_PORT = 99999: expected a port, 0 to 65535"
    );
}

#[test]
fn node_name_gets_the_short_host_name() {
    for (given, name) in [("hare", "hare@box"), ("hare@other.host", "hare@other.host")] {
        assert_eq!(
            load(&around(&[("RABBITMQ_NODENAME", given)], ""))
                .unwrap()
                .settings
                .node_name,
            name
        );
    }
    for given in ["../x", "a@b/c", "@x", "a@"] {
        assert!(
            load(&around(&[("RABBITMQ_NODENAME", given)], "")).is_err(),
            "{given}"
        );
    }
}

#[test]
fn data_directory_follows_the_variables() {
    let check =
        |variables: &[(&'static str, &'static str)], writable: &[&'static str], expected: &str| {
            let mut written = around(variables, "");
            written.writable = writable.to_vec();
            assert_eq!(
                load(&written).unwrap().settings.data_dir,
                Path::new(expected)
            );
        };
    check(
        &[
            ("RABBITMQ_MNESIA_DIR", "/d"),
            ("RABBITMQ_MNESIA_BASE", "/b"),
        ],
        &[],
        "/d",
    );
    check(
        &[("RABBITMQ_MNESIA_BASE", "/b"), ("RABBITMQ_NODENAME", "n@h")],
        &[SYSTEM_DATA_BASE],
        "/b/n@h",
    );
    check(
        &[],
        &[SYSTEM_DATA_BASE],
        "/var/lib/rabbitmq/mnesia/rabbit@box",
    );
    check(&[("XDG_STATE_HOME", "/s")], &[], "/s/warrenmq/rabbit@box");
    let error = load(&Written::default()).unwrap_err();
    assert_eq!(error.problems, [Problem::NoDataDirectory]);
}

#[test]
fn every_key_can_be_set() {
    let settings = settings(
        "default_user = anna\ndefault_pass = 'p#w'\ndefault_vhost = v\ndefault_permissions.configure = ^$\n\
         default_permissions.write = ^w\ndefault_permissions.read = ^r\ndefault_user_tags.monitoring = true\n\
         default_user_tags.management = false\ndefault_users.eve.password = pw\ndefault_users.eve.tags = a, b\nloopback_users.anna = true\nloopback_users.guest = false\nheartbeat = 0\n\
         channel_max = 0\nframe_max = 64KB\ninitial_frame_max = 16384\nhandshake_timeout = infinity\nmax_message_size = 536870912\n\
         cluster_exchange_limit = 90\ncluster_queue_limit = 80\nchannel_tx_message_max = 6\nexchange_types.local_random.enabled = false\nproduct.name = Hare\n\
         product.version = 2\ncluster_tags.region = eu\nnode_tags.rack = 7\n\
         collect_statistics = fine\ncollect_statistics_interval = 1000\nmanagement.rates_mode = none\nmanagement.enable_queue_totals = true\n\
         management_agent.disable_metrics_collector = true\nmanagement_agent.filter_aggregated_queue_metrics_pattern = ^amq\n\
         management.sample_retention_policies.global.minute = 5\nmanagement.sample_retention_policies.global.day = 1200\n\
         consumer_max_per_channel = 7\nconsumer_timeout = 5000\nvm_memory_high_watermark.absolute = 2GiB\ndisk_free_limit.relative = 1.5\n\
         total_memory_available_override_value = 8GB\nlog.level = warning\nlog.console = false\nlog.console.level = debug\n\
         log.file = false\nanonymous_login_user = none\nauth_mechanisms.2 = PLAIN\nauth_mechanisms.10 = ANONYMOUS\n\
         auth_mechanisms.1 = AMQPLAIN\ndeprecated_features.permit.global_qos = false\ncluster_name = warren\n\
         tcp_listen_options.backlog = 4096\ntcp_listen_options.nodelay = false\ntcp_listen_options.keepalive = true\n\
         tcp_listen_options.sndbuf = 1000\ntcp_listen_options.recbuf = 2000\nwarren.shards = 3\nlisteners.tcp = none\n\
         max_connections = 10\nchannel_max_per_node = 20\nvhost_max = 30\ndefault_queue_type = quorum\n\
         runtime_parameters.limits.policy = 5\nvm_memory_calculation_strategy = allocated\nwarren.default_consumer_prefetch.count = 250\n\
         credential_validator.validation_backend = rabbit_credential_validator_min_password_length\n\
         credential_validator.min_length = 8\nanonymous_login_pass = secret\n\
         password_hashing_module = rabbit_password_hashing_sha512\nevent_exchange.vhost = events\nevent_exchange.protocol = amqp_0_9_1\n\
         message_interceptors.incoming.set_header_timestamp.overwrite = false\n\
         message_interceptors.incoming.set_header_routing_node.overwrite = true\nlog.exchange = true\nlog.exchange.level = error\n\
         load_definitions = /etc/definitions\ndefinitions.skip_if_unchanged = true\ndefinitions.hashing.algorithm = sha384\n\
         definitions.import_backend = local_filesystem\n\
         prometheus.tcp.listener = 127.0.0.1:1\nprometheus.tcp.port = 9000\nprometheus.path = /m\n\
         prometheus.return_per_object_metrics = true\nprometheus.authentication.enabled = true\n\
         prometheus.filter_aggregated_queue_metrics_pattern = ^amq\nprometheus.ssl.port = 9001\nprometheus.ssl.ip = ::1\n\
         tracing.dir = /traces\ntracing.username = tracer\ntracing.password = tp\n\
         opentelemetry.endpoint = http://collector:4318\nopentelemetry.service_name = shop\nopentelemetry.headers.x-key = k\n\
         opentelemetry.resource.team = hares\nopentelemetry.timeout = 500\nopentelemetry.sample_rate = 0.5\n\
         warren.track_auth_attempt_source = true\n",
    );
    let expected = Settings {
        definitions: DefinitionsSettings {
            source: Some(DefinitionsSource::Path("/etc/definitions".into())),
            tls: transport::ClientTlsSettings::default(),
            skip_if_unchanged: true,
            hashing: ContentHash::Sha384,
        },
        node_name: "rabbit@box".to_owned(),
        data_dir: "/home/anna/.local/state/warrenmq/rabbit@box".into(),
        tcp_listeners: Vec::new(),
        tls_listeners: vec![],
        tls: transport::TlsSettings::default(),
        tls_handshake_timeout: std::time::Duration::from_secs(5),
        proxy_protocol: false,
        tcp_listen_options: TcpListenOptions {
            backlog: 4096,
            nodelay: false,
            keepalive: true,
            send_buffer_bytes: Some(1000),
            receive_buffer_bytes: Some(2000),
        },
        handshake_timeout: None,
        heartbeat_s: 0,
        frame_size_max_bytes: 65_536,
        initial_frame_size_max_bytes: 16_384,
        channel_max: u16::MAX,
        exchange_limit: Some(90),
        queue_limit: Some(80),
        local_random_enabled: false,
        tx_messages_max: Some(6),
        consumer_max_per_channel: Some(7),
        consumer_prefetch: ConsumerPrefetch {
            count: 250,
            is_global: false,
        },
        consumer_timeout_ms: 5000,
        message_size_max_bytes: 512 << 20,
        connections_max: Some(10),
        channels_max_per_node: Some(20),
        metadata: MetadataSettings {
            vhosts_max: Some(30),
            default_queue_type: "quorum".to_owned(),
            parameters_max: [("policy".to_owned(), 5)].into(),
            ..MetadataSettings::default()
        },
        memory_high_watermark: MemoryHighWatermark::Absolute(2 << 30),
        memory_calculation: MemoryCalculation::Allocated,
        total_memory_override_bytes: Some(8_000_000_000),
        disk_free_limit: DiskFreeLimit::Relative(1.5),
        default_vhost: "v".to_owned(),
        default_user: "anna".to_owned(),
        default_pass: Secret::from("p#w"),
        default_permissions: Permissions {
            configure: "^$".to_owned(),
            write: "^w".to_owned(),
            read: "^r".to_owned(),
        },
        default_user_tags: vec!["monitoring".to_owned()],
        default_users: [(
            "eve".to_owned(),
            VhostUser {
                password: Some(Secret::from("pw")),
                tags: vec!["a".to_owned(), "b".to_owned()],
                ..VhostUser::default()
            },
        )]
        .into(),
        loopback_users: vec!["anna".to_owned()],
        auth_mechanisms: vec![
            AuthMechanism::AmqPlain,
            AuthMechanism::Plain,
            AuthMechanism::Anonymous,
        ],
        auth: auth::Settings::default(),
        tracks_auth_attempt_source: true,
        anonymous_login_user: None,
        anonymous_login_pass: Secret::from("secret"),
        credential_validator: broker::auth::CredentialValidator::MinLength(8),
        password_hashing: broker::command::HashAlgorithm::Sha512,
        cluster_name: Some("warren".to_owned()),
        interceptors: Interceptors {
            timestamp: Some(Existing::Keep),
            routing_node: Some(Existing::Overwrite),
        },
        event_exchange_vhost: Some("events".to_owned()),
        trace_files: TraceFileSettings {
            directory: "/traces".into(),
            username: "tracer".to_owned(),
            password: Secret::from("tp"),
        },
        opentelemetry: OpenTelemetrySettings {
            endpoint: Some("http://collector:4318/v1/traces".parse().unwrap()),
            headers: [("x-key".to_owned(), Secret::from("k"))].into(),
            service_name: "shop".to_owned(),
            resource: [("team".to_owned(), "hares".to_owned())].into(),
            timeout: std::time::Duration::from_millis(500),
            sample_rate: Some(0.5),
            tls: transport::ClientTlsSettings::default(),
        },
        deprecated_features: [("global_qos".to_owned(), false)].into(),
        labels: Labels {
            product_name: Some("Hare".to_owned()),
            product_version: Some("2".to_owned()),
            cluster_tags: [("region".to_owned(), "eu".to_owned())].into(),
            node_tags: [("rack".to_owned(), "7".to_owned())].into(),
        },
        statistics: StatisticsSettings {
            rates: RatesMode::None,
            level: StatisticsLevel::Fine,
            interval: std::time::Duration::from_secs(1),
            disabled: true,
            queue_totals: true,
            filter: Some(broker::auth::Pattern::new("^amq").unwrap()),
            retention: Retention {
                global: vec![
                    RetentionTier {
                        age_s: 60,
                        step_s: 5,
                    },
                    RetentionTier {
                        age_s: 86_400,
                        step_s: 1_200,
                    },
                ],
                ..Retention::default()
            },
        },
        management: ManagementSettings::default(),
        prometheus: PrometheusSettings {
            listeners: vec![ListenAddress::parse("127.0.0.1:9000").unwrap()],
            port_is_chosen: true,
            tls_listeners: vec![ListenAddress::parse("[::1]:9001").unwrap()],
            path: "/m".to_owned(),
            per_object: true,
            filter: Some(broker::auth::Pattern::new("^amq").unwrap()),
            authentication: true,
            ..PrometheusSettings::default()
        },
        log: LogSettings {
            level: LogLevel::Warning,
            console: log::ConsoleLog {
                is_on: false,
                output: log::LogOutput {
                    level: Some(LogLevel::Debug),
                    ..log::LogOutput::default()
                },
                ..log::ConsoleLog::default()
            },
            exchange: Some(log::LogOutput {
                level: Some(LogLevel::Error),
                ..log::LogOutput::default()
            }),
            ..LogSettings::default()
        },
        motd_file: None,
        pid_file: "/home/anna/.local/state/warrenmq/rabbit@box.pid".into(),
        keeps_pid_file: false,
        open_files_max: None,
        shards: NonZeroU16::new(3),
        enabled_plugins_file: "/home/anna/.local/state/warrenmq/rabbit@box/enabled_plugins".into(),
        enabled_plugins: None,
        // These have tests of their own.
        config_files: settings.config_files.clone(),
        environment: settings.environment.clone(),
    };
    assert_eq!(settings, expected);
}

#[test]
fn what_is_kept_of_samples_is_bounded() {
    for (line, expected) in [
        ("global.minute = 0", "seconds between two samples"),
        ("global.86400 = 5", "no more than 10000 of them"),
        ("other.minute = 5", "global, basic or detailed"),
        ("basic.week = 5", "minute, hour or day"),
    ] {
        let conf: &str = format!("management.sample_retention_policies.{line}").leak();
        assert!(problems(conf)[0].contains(expected), "{:?}", problems(conf));
    }
    assert!(problems("collect_statistics_interval = 99")[0].contains("an integer from 100"));
    let terms = "[{rabbitmq_management, [{rates_mode, detailed}, {sample_retention_policies, [{basic, [{600, 10}]}]}]}].";
    let mut written = around(&[], "");
    written.files.insert("/etc/rabbitmq/advanced.config", terms);
    let statistics = load(&written).unwrap().settings.statistics;
    assert!(statistics.shows_neighbours());
    let tier = RetentionTier {
        age_s: 600,
        step_s: 10,
    };
    assert_eq!(statistics.retention.basic, [tier]);
}

#[test]
fn a_cluster_of_this_node_alone_is_none() {
    let nodes = "cluster_formation.classic_config.nodes.1 = ";
    settings(
        format!("{nodes}rabbit@box\ncluster_formation.peer_discovery_backend = classic_config")
            .leak(),
    );
    assert_eq!(
        problems(format!("{nodes}rabbit@other").leak()),
        [
            "/etc/rabbitmq/rabbitmq.conf:1: cluster_formation.classic_config.nodes.1 cannot be set: clusters are not supported yet"
        ]
    );
}

#[test]
fn some_keys_may_only_say_what_is_so_anyway() {
    settings(
        "reverse_dns_lookups = false\nranch_connection_max = infinity\ntcp_listen_options = none",
    );
    assert_eq!(
        problems("heartbeat = 5\nreverse_dns_lookups = true"),
        [
            "/etc/rabbitmq/rabbitmq.conf:2: reverse_dns_lookups = true cannot be set: clients are shown by their addresses"
        ]
    );
}

#[test]
fn groups_of_keys_describe_what_new_vhosts_begin_with() {
    let settings = settings(
        "default_limits.vhosts.2.max_queues = 7\ndefault_limits.vhosts.1.pattern = ^dev\n\
         default_limits.vhosts.1.max_connections = 3\n\
         default_policies.operator.tame.vhost_pattern = ^dev\ndefault_policies.operator.tame.queue_pattern = ^q\n\
         default_policies.operator.tame.apply_to = classic_queues\ndefault_policies.operator.tame.expires = 1h\n\
         default_policies.operator.tame.max_length_bytes = 1KB\n\
         default_policies.operator.tame.classic_queues.queue_version = 2\n",
    );
    let mut metadata = broker::metadata::Metadata::new(1);
    metadata.set_rules(settings.metadata_rules());
    for vhost in ["dev-1", "live"] {
        let command = broker::command::MetadataCommand::CreateVhost {
            name: vhost.into(),
            metadata: broker::vhost_metadata::VhostMetadata::default(),
        };
        metadata.apply(&command).unwrap();
    }
    let dev = metadata.vhost("dev-1").unwrap();
    assert_eq!(dev.limits.max_connections, Some(3));
    assert_eq!(dev.limits.max_queues, None);
    let policies = dev.policies(broker::policy::PolicyScope::Operator);
    let tame = policies.get("tame").unwrap().to_json().to_string();
    assert_eq!(
        tame,
        r#"{"apply-to":"classic_queues","definition":{"expires":3600000,"max-length-bytes":1024,"queue-version":2},"pattern":"^q","priority":0}"#
    );
    let live = metadata.vhost("live").unwrap();
    assert_eq!(live.limits.max_queues, Some(7));
    assert!(
        live.policies(broker::policy::PolicyScope::Operator)
            .is_empty()
    );
}

#[test]
fn loopback_users_none_lifts_the_restriction() {
    assert_eq!(
        settings("loopback_users = none").loopback_users,
        Vec::<String>::new()
    );
    assert_eq!(
        settings("loopback_users.guest = false").loopback_users,
        Vec::<String>::new()
    );
    assert_eq!(
        settings("loopback_users.a\\.b = true").loopback_users,
        ["a.b"]
    );
}

#[test]
fn the_alias_of_a_key_works() {
    assert_eq!(settings("max_channels_per_connection = 9").channel_max, 9);
    assert_eq!(
        settings("log.default.level = error").log.level,
        LogLevel::Error
    );
}

#[test]
fn bad_values_name_what_is_expected() {
    let expected = [
        ("heartbeat = 70000", "seconds, an integer from 0 to 65535"),
        (
            "frame_max = 4096",
            "bytes, an integer from 8192 to 16777216",
        ),
        ("channel_max = 70000", "an integer from 0 to 65535"),
        ("max_connections = 0", "an integer above 0 or infinity"),
        ("default_queue_type = lazy", "classic, quorum or stream"),
        (
            "default_policies.operator.a.expires = 0",
            "Validation failed  0 is not a valid queue expiry",
        ),
        (
            "default_policies.operator.a.apply_to = everything",
            "a kind of queues, or all",
        ),
        (
            "default_limits.vhosts.a.pattern = (",
            "a regular expression",
        ),
        (
            "max_message_size = 536870913",
            "bytes, an integer from 1 to 536870912",
        ),
        ("handshake_timeout = 0", "milliseconds above 0 or infinity"),
        (
            "vm_memory_high_watermark.relative = 1.1",
            "a number from 0 to 1",
        ),
        (
            "vm_memory_high_watermark.relative = NaN",
            "a number from 0 to 1",
        ),
        (
            "auth_mechanisms.1 = KERBEROS",
            "PLAIN, AMQPLAIN, ANONYMOUS or EXTERNAL",
        ),
        ("tcp_listen_options.backlog = 0", "an integer above 0"),
        ("warren.shards = 257", "an integer from 1 to 256"),
    ];
    for (conf, expected) in expected {
        assert_eq!(
            problems(conf),
            [format!(
                "/etc/rabbitmq/rabbitmq.conf:1: {conf}: expected {expected}"
            )]
        );
    }
}

#[test]
fn values_of_a_wrong_type_are_refused_in_rabbitmqs_words() {
    for (conf, text) in [
        (
            "heartbeat = abc",
            "Error transforming datatype for: heartbeat: \"abc\" cannot be converted to a(n) integer",
        ),
        (
            "loopback_users = guest",
            "Error transforming datatype for: loopback_users: \"guest\" is not a valid enum value, acceptable values are: none",
        ),
        (
            "handshake_timeout = x",
            "Error transforming datatype for: handshake_timeout: \"x\" is not accepted value: infinity; \
             \"x\" cannot be converted to a(n) integer",
        ),
        (
            "disk_free_limit.absolute = 2ZB",
            "disk_free_limit.absolute invalid, supported formats: 500MB, 500MiB, 10GB, 10GiB, 2TB, 2TiB, 10000000000",
        ),
    ] {
        assert_eq!(
            problems(conf),
            [format!("/etc/rabbitmq/rabbitmq.conf:1: {text}")]
        );
    }
}

#[test]
fn all_problems_are_reported_at_once_and_passwords_are_not() {
    assert_eq!(
        problems("bogus.key = 1\nheartbaet = 3\nmqtt.vhost = x\nfoo\nheartbeat = 60"),
        [
            "/etc/rabbitmq/rabbitmq.conf:4: cannot read \"foo\": expected key = value",
            "/etc/rabbitmq/rabbitmq.conf:1: You've tried to set bogus.key, but there is no setting with that name. \
             Did you mean one of these? log.dir, log.file, log.level",
            "/etc/rabbitmq/rabbitmq.conf:2: You've tried to set heartbaet, but there is no setting with that name. \
             Did you mean one of these? heartbeat, default_pass, default_user",
            "/etc/rabbitmq/rabbitmq.conf:3: mqtt.vhost cannot be set: MQTT is not supported yet",
        ]
    );
}

#[test]
fn both_forms_of_one_limit_are_a_conflict() {
    assert_eq!(
        problems("disk_free_limit.relative = 1.0\ndisk_free_limit.absolute = 1GB"),
        ["set disk_free_limit.relative or disk_free_limit.absolute, not both"]
    );
}

#[test]
fn keys_of_another_runtime_are_accepted_with_a_note() {
    let loaded = load(&around(
        &[],
        "num_acceptors.tcp = 10\ntcp_listen_options.linger.timeout = 0",
    ))
    .unwrap();
    assert_eq!(
        loaded.notes,
        [
            "/etc/rabbitmq/rabbitmq.conf:1: num_acceptors.tcp has no effect here",
            "/etc/rabbitmq/rabbitmq.conf:2: tcp_listen_options.linger.timeout has no effect here",
        ]
    );
}

#[test]
fn later_files_and_lines_win_and_variables_win_over_files() {
    let mut written = around(
        &[("RABBITMQ_DEFAULT_PASS", "env")],
        "heartbeat = bad\nheartbeat = 1\ndefault_pass = file\n",
    );
    written
        .files
        .insert("/etc/rabbitmq/conf.d/20.conf", "heartbeat = 3");
    written.files.insert(
        "/etc/rabbitmq/conf.d/10.conf",
        "heartbeat = 2\nchannel_max = 5",
    );
    written
        .files
        .insert("/etc/rabbitmq/conf.d/notes.txt", "heartbeat = 4");
    let loaded = load(&written).unwrap();
    assert_eq!(
        (loaded.settings.heartbeat_s, loaded.settings.channel_max),
        (3, 5)
    );
    assert_eq!(loaded.settings.default_pass.expose(), "env");
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn the_main_file_may_be_named_without_its_suffix() {
    for given in ["/x/my", "/x/my.conf"] {
        let mut written = around(&[("RABBITMQ_CONFIG_FILE", given)], "heartbeat = 1");
        written.files.insert("/x/my.conf", "heartbeat = 2");
        assert_eq!(load(&written).unwrap().settings.heartbeat_s, 2);
    }
    let absent = load(&around(
        &[("RABBITMQ_CONFIG_FILE", "/x/none")],
        "heartbeat = 1",
    ))
    .unwrap();
    assert_eq!(absent.notes, ["configuration file /x/none does not exist"]);
    assert_eq!(absent.settings.heartbeat_s, 60);
}

#[test]
fn erlang_terms_say_the_same_and_the_advanced_file_wins() {
    let mut written = around(&[("RABBITMQ_CONFIG_FILE", "/x/old")], "heartbeat = 9");
    written.files.insert(
        "/x/old.config",
        "[{rabbit, [{heartbeat, 1}, {channel_max, 5}, {auth_mechanisms, ['PLAIN','AMQPLAIN']},
                    {tcp_listeners, [{\"127.0.0.1\", 5999}]}]}].",
    );
    written.files.insert(
        "/etc/rabbitmq/conf.d/10.conf",
        "heartbeat = 2\nauth_mechanisms.3 = ANONYMOUS",
    );
    written.files.insert(
        "/etc/rabbitmq/advanced.config",
        "[{rabbit, [{heartbeat, 3}, {auth_mechanisms, ['AMQPLAIN']}, {msg_store_file_size_limit, 16777216}]}].",
    );
    let loaded = load(&written).unwrap();
    let settings = &loaded.settings;
    assert_eq!((settings.heartbeat_s, settings.channel_max), (3, 5));
    assert_eq!(settings.auth_mechanisms, [AuthMechanism::AmqPlain]);
    assert_eq!(settings.tcp_listeners[0].to_string(), "127.0.0.1:5999");
    assert_eq!(
        loaded.notes,
        ["/etc/rabbitmq/advanced.config:1: rabbit.msg_store_file_size_limit has no effect here"]
    );
}

#[test]
fn a_broken_erlang_file_stops_the_start() {
    let mut written = around(&[], "");
    written
        .files
        .insert("/etc/rabbitmq/advanced.config", "[{rabbit, [}].");
    let missing = around(&[("RABBITMQ_ADVANCED_CONFIG_FILE", "/x/none")], "");
    for (surroundings, expected) in [
        (
            written,
            "/etc/rabbitmq/advanced.config:1: expected an atom, number, string, binary, list, tuple or map",
        ),
        (
            missing,
            "read configuration file /x/none: there is no such file",
        ),
    ] {
        assert_eq!(load(&surroundings).unwrap_err().to_string(), expected);
    }
}

#[test]
fn variables_may_stand_in_their_file_and_the_environment_wins() {
    let mut written = around(
        &[
            ("RABBITMQ_CONF_ENV_FILE", "/x/env"),
            ("RABBITMQ_NODE_PORT", "5001"),
        ],
        "",
    );
    written.files.insert(
        "/x/env",
        "NODENAME=rabbit2\nNODE_PORT=5000\nCONFIG_FILE=/x/my\nMNESIA_BASE=$HOME/db\n",
    );
    written.files.insert("/x/my.conf", "heartbeat = 4");
    let loaded = load(&written).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.node_name, "rabbit2@box");
    assert_eq!(settings.tcp_listeners[0].port, 5001);
    assert_eq!(settings.heartbeat_s, 4);
    assert_eq!(settings.data_dir, Path::new("/home/anna/db/rabbit2@box"));
    assert_eq!(loaded.files, [Path::new("/x/env"), Path::new("/x/my.conf")]);
}

#[test]
fn encrypted_values_need_a_passphrase() {
    const VALUE: &str =
        "default_pass = encrypted:X+vBOtLCH6EWT7Uor+UegcH0UPZWawc+tept3KCmyyeDrsuZX+8WHRq52c35mKJS";
    let decoder = "[{rabbit, [{config_entry_decoder, [{passphrase, {file, \"/x/pass\"}}]}]}].";
    let mut written = around(&[], VALUE);
    assert_eq!(
        load(&written).unwrap_err().to_string(),
        "/etc/rabbitmq/rabbitmq.conf:1: default_pass cannot be decrypted: no config_entry_decoder in advanced.config says the passphrase"
    );
    written
        .files
        .insert("/etc/rabbitmq/advanced.config", decoder);
    written.files.insert("/x/pass", "pass phrase\n");
    let loaded = load(&written).unwrap();
    assert_eq!(loaded.settings.default_pass.expose(), "s3cr#t");
    assert_eq!(loaded.values[0].value, "***");
    let of_key: &'static str = VALUE.replace("default_pass", "ssl_options.password").leak();
    for (conf, password) in [
        (of_key, "s3cr#t"),
        ("ssl_options.password = plain:encrypted:x", "encrypted:x"),
        ("ssl_options.password = a:b", "a:b"),
    ] {
        let mut tls = around(&[], conf);
        tls.files.insert("/etc/rabbitmq/advanced.config", decoder);
        tls.files.insert("/x/pass", "pass phrase\n");
        let mut expected = Settings::default().tls;
        expected.set("password", password).unwrap();
        let settings = load(&tls).unwrap().settings;
        assert!(settings.tls.password == expected.password, "{conf}");
    }
    written.files.insert("/x/pass", "another\n");
    assert_eq!(
        load(&written).unwrap_err().to_string(),
        "/etc/rabbitmq/rabbitmq.conf:1: default_pass cannot be decrypted: the value or the passphrase is wrong"
    );
}

#[test]
fn a_password_may_come_from_a_file() {
    let mut written = around(
        &[
            ("RABBITMQ_DEFAULT_USER_FILE", "/run/user"),
            ("RABBITMQ_DEFAULT_PASS_FILE", "/run/pass"),
        ],
        "",
    );
    written.files.insert("/run/user", "anna\n");
    written.files.insert("/run/pass", "s3cr#t\n");
    let settings = load(&written).unwrap().settings;
    assert_eq!(settings.default_user, "anna");
    assert_eq!(settings.default_pass.expose(), "s3cr#t");
}

#[test]
fn the_log_goes_where_files_and_variables_say() {
    let log = |variables: &[(&'static str, &'static str)], conf| {
        let log = load(&around(variables, conf)).unwrap().settings.log;
        let file = log.file.map(|path| path.display().to_string());
        (log.console.is_on, file.unwrap_or_default())
    };
    let base = ("RABBITMQ_LOG_BASE", "/var/log/rabbitmq");
    for (variables, conf, console, file) in [
        (&[][..], "", true, ""),
        (&[base], "", false, "/var/log/rabbitmq/rabbit@box.log"),
        (
            &[base],
            "log.console = true",
            true,
            "/var/log/rabbitmq/rabbit@box.log",
        ),
        (
            &[base],
            "log.file = my.log",
            false,
            "/var/log/rabbitmq/my.log",
        ),
        (&[base], "log.file = false", true, ""),
        (&[base], "log.dir = /x", false, "/x/rabbit@box.log"),
        (
            &[base, ("RABBITMQ_LOGS", "/y.log")],
            "log.file = my.log",
            false,
            "/y.log",
        ),
        (
            &[base, ("RABBITMQ_LOGS", "-")],
            "log.console = false",
            true,
            "",
        ),
        (
            &[("RABBITMQ_BASE", "/b"), ("RABBITMQ_MNESIA_DIR", "/d")],
            "",
            false,
            "/b/log/rabbit@box.log",
        ),
        (&[], "log.file = /z.log", false, "/z.log"),
    ] {
        assert_eq!(
            log(variables, conf),
            (console, file.to_owned()),
            "{variables:?} {conf}"
        );
    }
}

#[test]
fn the_variable_for_levels_wins_over_files() {
    let variables = [("RABBITMQ_LOG", "warning,connection=debug,+json,-color")];
    let log = load(&around(
        &variables,
        "log.level = error\nlog.queue.level = none",
    ))
    .unwrap()
    .settings
    .log;
    assert_eq!(log.level, LogLevel::Warning);
    assert_eq!(log.categories["connection"].level, Some(LogLevel::Debug));
    assert_eq!(log.categories["queue"].level, Some(LogLevel::None));
    assert!(log.console.output.format.json);
    assert_eq!(log.console.colors, Some(false));
    assert!(load(&around(&[("RABBITMQ_LOG", "nonsense=debug")], "")).is_err());
}

#[test]
fn outputs_have_forms_and_files_rotate() {
    let log = settings(
        "log.file = a.log\nlog.file.rotation.date = $W0D23\nlog.file.rotation.size = 10485760\nlog.file.rotation.count = 5\n\
         log.file.formatter = json\nlog.file.formatter.json.field_map = level:severity pid:-\n\
         log.console = true\nlog.console.formatter.plaintext.format = $level $msg\nlog.console.formatter.level_format = uc4\n\
         log.connection.level = debug\nlog.connection.file = conn.log\nlog.connection.rotation.size = 5\nlog.dir = /l\n\
         log.syslog = true\nlog.syslog.host = /dev/log\nlog.syslog.protocol = rfc5424\nlog.syslog.facility = local3",
    )
    .log;
    assert_eq!(log.file.as_deref(), Some(Path::new("/l/a.log")));
    assert_eq!(
        (log.rotation.size_bytes, log.rotation.count),
        (Some(10_485_760), 5)
    );
    assert_eq!(log.rotation.date.unwrap().week_day, Some(0));
    let fields = &log.file_output.format.json_fields;
    assert!(fields.contains(&("level".to_owned(), "severity".to_owned())));
    assert!(!fields.iter().any(|(name, _)| name == "pid"));
    assert_eq!(log.console.output.format.plaintext, "$level $msg");
    let connection = &log.categories["connection"];
    assert_eq!(connection.file.as_deref(), Some(Path::new("/l/conn.log")));
    assert_eq!(connection.rotation.as_ref().unwrap().size_bytes, Some(5));
    let syslog = log.syslog.unwrap();
    assert_eq!((syslog.host.as_str(), syslog.facility), ("/dev/log", 19));
    assert!(syslog.is_rfc5424);
}

#[test]
fn logs_go_to_the_journal_and_to_syslog_over_tls() {
    let log = settings(
        "log.journald = true\nlog.journald.level = error\nlog.journald.fields = PRIORITY=priority APP=\"mq\"\n\
         log.syslog = true\nlog.syslog.transport = ssl\nlog.syslog.ssl_options.cacertfile = /ca.pem\n\
         log.syslog.ssl_options.versions.1 = tlsv1.3\nlog.file.rotation.compress = true\nlog.queue.rotation.compress = true\n\
         log.console.formatter.json.verbosity_map = debug:7 error:3\nlog.console.color_esc_seqs.info = \\e[1m",
    )
    .log;
    let journald = log.journald.unwrap();
    assert_eq!(journald.output.level, Some(LogLevel::Error));
    assert_eq!(journald.fields.len(), 2);
    let syslog = log.syslog.unwrap();
    assert_eq!(syslog.transport, log::SyslogTransport::Tls);
    assert_eq!(
        syslog.tls.tls.cacertfile.as_deref(),
        Some(Path::new("/ca.pem"))
    );
    assert!(syslog.tls.tls.verify_peer);
    assert!(log.rotation.compresses);
    assert!(
        log.categories["queue"]
            .rotation
            .as_ref()
            .unwrap()
            .compresses
    );
    assert_eq!(log.console.output.format.verbosity["debug"], 7);
    assert_eq!(log.console.escapes.info, "\u{1b}[1m");
    for bad in [
        "log.journald.fields = nonsense",
        "log.console.formatter.json.verbosity_map = loud:1",
        "log.syslog.ssl_options.crl_check = peer",
    ] {
        assert_eq!(problems(bad).len(), 1, "{bad}");
    }
}

#[test]
fn definitions_come_from_a_path_or_a_server() {
    let url = "definitions.https.url = https://h/d.json?token=t\n";
    let https = "definitions.import_backend = https\n";
    let both = Box::leak(format!("{url}{https}").into_boxed_str());
    let Some(DefinitionsSource::Https(secret)) = settings(both).definitions.source else {
        panic!("there is an address");
    };
    assert_eq!(secret.expose(), "https://h/d.json?token=t");
    assert!(
        settings("definitions.tls.verify = verify_none")
            .definitions
            .source
            .is_none()
    );
    assert_eq!(
        problems(https),
        ["definitions.import_backend needs definitions.https.url"]
    );
    assert_eq!(
        problems(url),
        ["definitions.https.url needs definitions.import_backend"]
    );
    let plain = problems("definitions.https.url = http://h/d.json?token=t");
    assert!(!plain[0].contains("token"), "{plain:?}");
}

/// What packages bring along as examples, with the lines in it that are only a suggestion.
#[test]
fn every_sample_is_a_configuration_that_works() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let samples = std::fs::read_dir(packaging.join("samples")).unwrap();
    let mut paths: Vec<_> = samples.map(|entry| entry.unwrap().path()).collect();
    paths.push(packaging.join("rabbitmq.conf"));
    assert!(paths.len() > 5);
    for path in paths {
        let text: &'static str = std::fs::read_to_string(&path).unwrap().leak();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut written = around(&[], "");
        if name.ends_with(".config") {
            written.files.insert("/etc/rabbitmq/advanced.config", text);
        } else {
            // A suggestion is a key, not a sentence.
            let suggested = |line: &&str| {
                line.split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains(' '))
            };
            let suggestions = text.lines().filter_map(|line| line.strip_prefix("# "));
            let suggestions: Vec<_> = suggestions.filter(suggested).collect();
            let all = format!("{text}\n{}\n", suggestions.join("\n"));
            written
                .files
                .insert("/etc/rabbitmq/rabbitmq.conf", all.leak());
        }
        let loaded = load(&written).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(loaded.notes.is_empty(), "{name}: {:?}", loaded.notes);
    }
}

#[test]
fn every_key_has_one_row() {
    let mut names: Vec<_> = schema::keys()
        .flat_map(|row| [Some(row.name), row.alias])
        .flatten()
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count > 1_100, "{count}");
}

#[test]
fn a_password_is_not_in_debug_output() {
    let text = format!("{:?}", settings("default_pass = swordfish"));
    assert!(!text.contains("swordfish"), "{text}");
}

/// The blocks of a document that are marked as `language`.
fn examples(document: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = std::fs::read_to_string(path.join(document)).unwrap();
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// What the documents' examples of these keys set; the choice of backends itself is another matter.
fn example_settings(document: &str, prefix: &str) -> Vec<Settings> {
    let conf = examples(document, "ini").into_iter().map(|text| {
        let lines = text.lines();
        let lines = lines.filter(|line| !line.starts_with("auth_backends."));
        let lines: Vec<_> = lines.collect();
        assert!(lines.iter().any(|line| line.starts_with(prefix)), "{text}");
        (lines.join("\n"), "/x/rabbitmq.conf")
    });
    let classic = examples(document, "erlang");
    let classic = classic.into_iter().map(|text| (text, "/x/advanced.config"));
    conf.chain(classic)
        .map(|(text, file)| {
            let mut written = around(&[], "");
            written.files.insert(file, text.leak());
            let loaded = load_named(&written, &[file.into()]);
            loaded.unwrap_or_else(|error| panic!("{error}")).settings
        })
        .collect()
}

#[test]
fn the_examples_of_oauth2_are_settings() {
    let all = example_settings("oauth2.md", "auth_oauth2.");
    let first = &all[0].auth.oauth2;
    assert_eq!(first.server.id.as_deref(), Some("rabbitmq"));
    assert!(first.provider.issuer.is_some());
    assert!(auth_oauth2::OAuth2::new(first).is_ok());
    let several = all
        .iter()
        .find(|one| one.auth.oauth2.resource_servers.len() == 2);
    let several = &several.unwrap().auth.oauth2;
    assert_eq!(several.providers["uaa"].https.tls.depth, 10);
    assert_eq!(several.providers["uaa"].algorithms.len(), 1);
    let classic = &all.last().unwrap().auth.oauth2;
    assert!(auth_oauth2::OAuth2::new(classic).is_ok());
}

#[test]
fn the_examples_of_ldap_are_settings() {
    let all = example_settings("ldap.md", "auth_ldap.");
    for one in &all {
        assert!(!one.auth.ldap.servers.is_empty());
    }
    assert_eq!(all[0].auth.ldap.servers.len(), 2);
    assert!(matches!(
        all[1].auth.ldap.dn_lookup_bind,
        auth_ldap::Bind::As(..)
    ));
    let queries = all.iter().find(|one| one.auth.ldap.tags.len() == 2);
    let queries = &queries.unwrap().auth.ldap;
    assert!(matches!(queries.resource_access, auth_ldap::Query::For(_)));
    assert!(matches!(
        all.last().unwrap().auth.ldap.other_bind,
        auth_ldap::Bind::As(..)
    ));
    assert_eq!(
        problems("auth_ldap.queries.vhost_access = {in_group}\nauth_ldap.log = network_unsafe"),
        [
            "/etc/rabbitmq/rabbitmq.conf:1: auth_ldap.queries.vhost_access = {in_group}: expected a query and not {in_group}",
            "/etc/rabbitmq/rabbitmq.conf:2: auth_ldap.log = network_unsafe: expected true, false or network: no password is ever logged",
        ]
    );
}

#[test]
fn keys_of_oauth2_are_read_with_all_their_parts() {
    let settings = settings(
        "auth_oauth2.oauth_providers.a\\.b.discovery_endpoint_params.p = v\n\
         auth_oauth2.resource_servers.1.scope_aliases.2.alias = x\n\
         auth_oauth2.resource_servers.1.scope_aliases.2.scope = y z\n",
    )
    .auth
    .oauth2;
    let provider = &settings.providers["a.b"];
    assert_eq!(provider.discovery_endpoint_params["p"], "v");
    let aliases = &settings.resource_servers["1"].numbered_aliases;
    assert_eq!(aliases["2"], (Some("x".to_owned()), Some("y z".to_owned())));
    assert_eq!(
        problems("auth_oauth2.jwks_uri = http://idp\nauth_oauth2.algorithms.1 = none"),
        [
            "/etc/rabbitmq/rabbitmq.conf:1: auth_oauth2.jwks_uri = http://idp: expected an address that begins with https://",
            "/etc/rabbitmq/rabbitmq.conf:2: auth_oauth2.algorithms.1 = none: expected HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
        ]
    );
}

/// `UPDATE_EXPECT=1 cargo test -p config` rewrites the tables.
#[test]
fn the_document_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let mut expected = document.clone();
    for (name, table) in [
        ("variables", document::variables()),
        ("keys", document::keys()),
    ] {
        let begin = format!("<!-- {name}: begin (written by a test from the schema) -->\n");
        let end = format!("<!-- {name}: end -->");
        let (head, rest) = expected.split_once(&begin).unwrap();
        let (_, tail) = rest.split_once(&end).unwrap();
        expected = format!("{head}{begin}{table}{end}{tail}");
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(document == expected, "run with UPDATE_EXPECT=1");
    }
}

#[test]
fn the_variables_of_opentelemetry_stand_for_keys() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/base/"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1%2C2,b=3"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "c=4"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=named,team=x%20y,deployment.environment.name=a",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
    ];
    let settings = load(&around(&variables, "")).unwrap().settings;
    let OpenTelemetrySettings {
        endpoint,
        headers,
        service_name,
        resource,
        timeout,
        sample_rate,
        tls,
    } = settings.opentelemetry;
    assert_eq!(
        endpoint,
        Some("http://all:4318/base/v1/traces".parse().unwrap())
    );
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(headers, [("a", "1,2"), ("b", "3")]);
    assert_eq!(service_name, "named");
    let named = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let expected = [("team", "x y"), ("deployment.environment.name", "a")];
    assert_eq!(resource, expected.map(named).into());
    assert_eq!(timeout, std::time::Duration::from_millis(250));
    assert_eq!(sample_rate, Some(0.25));
    let mut expect = transport::ClientTlsSettings::default();
    expect.set("keyfile", "/key.pem").unwrap();
    assert_eq!(tls, expect);
    // What files say counts.
    let conf = "opentelemetry.service_name = own\nopentelemetry.sample_rate = 0\n";
    let settings = load(&around(&variables, conf)).unwrap().settings;
    assert_eq!(settings.opentelemetry.service_name, "own");
    assert_eq!(settings.opentelemetry.sample_rate, Some(0.0));
}

#[test]
fn what_opentelemetry_asks_for_and_is_not_there_stops_the_start() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
    ] {
        let error = load(&around(&[endpoint, (name, value)], "")).unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    for off in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let settings = load(&around(&[endpoint, off], "")).unwrap().settings;
        assert_eq!(settings.opentelemetry.endpoint, None);
    }
}

#[test]
fn variables_without_effect_are_named_and_those_of_others_left_alone() {
    let variables = [
        ("RABBITMQ_SASL_LOGS", "/x"),
        ("RABBITMQ_SERVICE_HOST", "10.0.0.1"),
    ];
    let loaded = load(&around(&variables, "")).unwrap();
    assert_eq!(
        loaded.notes,
        ["environment variable RABBITMQ_SASL_LOGS is set but has no effect"]
    );
    let refused = load(&around(&[("RABBITMQ_SSL_CERTFILE", "/x")], "")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "environment variable RABBITMQ_SSL_CERTFILE cannot be set: set ssl_options.certfile in rabbitmq.conf"
    );
}

#[test]
fn plugins_are_listed_where_the_variables_say() {
    let own = "/home/anna/.local/state/warrenmq/rabbit@box/enabled_plugins";
    for (variables, system, file) in [
        (&[][..], false, own),
        (&[], true, "/etc/rabbitmq/enabled_plugins"),
        (
            &[("RABBITMQ_ENABLED_PLUGINS_FILE", "/x/list")],
            true,
            "/x/list",
        ),
    ] {
        let mut written = around(variables, "");
        if system {
            written.files.insert("/etc/rabbitmq/enabled_plugins", "[].");
        }
        let settings = load(&written).unwrap().settings;
        assert_eq!(settings.enabled_plugins_file, Path::new(file));
        assert_eq!(
            Place::find(&written, None).unwrap().enabled_plugins,
            Path::new(file)
        );
    }
    let enabled = |names| {
        let variables = [("RABBITMQ_ENABLED_PLUGINS", names)];
        load(&around(&variables, ""))
            .unwrap()
            .settings
            .enabled_plugins
    };
    assert_eq!(enabled("ALL"), Some(EnabledPlugins::All));
    let two = ["a".to_owned(), "b".to_owned()];
    assert_eq!(enabled("a, b"), Some(EnabledPlugins::These(two.to_vec())));
}

#[test]
fn logins_to_the_http_api_are_read_with_all_their_parts() {
    let settings = settings(
        "management.oauth_enabled = true\n\
         management.oauth_client_secret = canary\n\
         management.oauth_resource_servers.1.id = r\n\
         management.oauth_resource_servers.1.oauth_initiated_logon_type = idp_initiated\n\
         management.oauth_resource_servers.1.oauth_token_endpoint_params.p = v\n\
         management.headers.frame_options = DENY\n\
         http_dispatch.auth_backends.1.authn = ldap\n\
         http_dispatch.auth_backends.1.authz = internal\n",
    );
    let management = settings.management;
    let oauth = &management.api.oauth;
    assert!(oauth.enabled);
    let own = &oauth.resource_servers["1"];
    assert_eq!(own.initiated_logon_type, Some(LogonType::IdpInitiated));
    assert_eq!(own.token_endpoint_params["p"], "v");
    assert_eq!(management.api.response_headers["x-frame-options"], "DENY");
    assert_eq!(management.auth_backends.len(), 1);
    assert!(!format!("{management:?}").contains("canary"));
    assert_eq!(
        problems("management.oauth_response_type = token\nmanagement.login_session_timeout = 0"),
        [
            "/etc/rabbitmq/rabbitmq.conf:1: management.oauth_response_type = token: expected code, the only flow that there is",
            "/etc/rabbitmq/rabbitmq.conf:2: management.login_session_timeout = 0: expected minutes, 1 or more",
        ]
    );
}

#[test]
fn the_list_of_plugins_is_a_term_with_comments() {
    let names = EnabledPlugins::names_in("% [not_me].\n[rabbitmq_a, % nor_me\n rabbitmq_b].\n");
    assert_eq!(names, ["rabbitmq_a", "rabbitmq_b"]);
}

#[test]
fn a_message_is_told_with_the_lines_that_it_speaks_of() {
    let text = "listeners.ssl.1 = 5671\nssl_options.certfile = /none.pem\nheartbeat = 60\nlisteners.tcp.1 = 127.0.0.1:7801";
    let loaded = load(&around(&[], text)).unwrap();
    let keys = |message: &str| -> Vec<String> {
        let values = loaded.spoken_of(message);
        values.map(|value| value.key.clone()).collect()
    };
    assert_eq!(keys("/none.pem: No such file"), ["ssl_options.certfile"]);
    assert_eq!(
        keys("ssl_options.certfile is wrong."),
        ["ssl_options.certfile"]
    );
    assert_eq!(
        keys("listen on 127.0.0.1:7801: in use"),
        ["listeners.tcp.1"]
    );
    assert_eq!(keys("listen on [::]:5671"), ["listeners.ssl.1"]);
    assert!(keys("/none.pem2, 60, ssl_options.certfile.x").is_empty());
}
