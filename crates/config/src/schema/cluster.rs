//! Other nodes.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "cluster_name",
        alias: None,
        env: "rabbit.cluster_name",
        kind: TEXT,
        default: "",
        meaning: "Name that clients see in the server properties; the node name if unset.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.cluster_name = Some(name(value)?);
            Ok(())
        }),
    },
    Key {
        name: "cluster_tags.$tag",
        alias: None,
        env: "rabbit.cluster_tags",
        kind: TEXT,
        default: "",
        meaning: "A tag of the cluster and its value, shown in the HTTP API, where no global parameter `cluster_tags` says it.",
        state: State::Honoured(|draft, part, value| {
            let tags = &mut draft.settings.labels.cluster_tags;
            tags.insert(part.to_owned(), value.to_owned());
            Ok(())
        }),
    },
    Key {
        name: "node_tags.$tag",
        alias: None,
        env: "rabbit.node_tags",
        kind: TEXT,
        default: "",
        meaning: "A tag of this node and its value, shown in the HTTP API and by `status`.",
        state: State::Honoured(|draft, part, value| {
            let tags = &mut draft.settings.labels.node_tags;
            tags.insert(part.to_owned(), value.to_owned());
            Ok(())
        }),
    },
];

rows! {
    State::Accepted => {
        "cluster_formation.registration.enabled", "rabbit.cluster_formation.perform_registration", BOOLEAN, "";
        "cluster_formation.internal_lock_retries", "rabbit.cluster_formation.internal_lock_retries", POSITIVE, "";
        "cluster_formation.lock_retry_limit", "rabbit.cluster_formation.lock_retry_limit", POSITIVE, "";
        "cluster_formation.lock_retry_timeout", "rabbit.cluster_formation.lock_retry_timeout", POSITIVE, "";
        "cluster_formation.discovery_retry_limit", "rabbit.cluster_formation.discovery_retry_limit", OR_UNLIMITED, "";
        "cluster_formation.discovery_retry_interval", "rabbit.cluster_formation.discovery_retry_interval", POSITIVE, "";
        "net_ticktime", "kernel.net_ticktime", POSITIVE, "60";
        "distribution.listener.port_range.min", "kernel.inet_dist_listen_min", POSITIVE, "";
        "distribution.listener.port_range.max", "kernel.inet_dist_listen_max", POSITIVE, "";
        "distribution.listener.interface", "kernel.inet_dist_use_interface", TEXT, "";
        "quorum_queue.compute_checksums", "rabbit.quorum_compute_checksums", BOOLEAN, "";
        "quorum_queue.initial_cluster_size", "rabbit.quorum_cluster_size", POSITIVE, "3";
        "quorum_queue.commands_soft_limit", "rabbit.quorum_commands_soft_limit", POSITIVE, "32";
        "quorum_queue.wal_compute_checksums", "rabbit.quorum_wal_compute_checksums", BOOLEAN, "";
        "quorum_queue.segment_compute_checksums", "rabbit.quorum_segment_compute_checksums", BOOLEAN, "";
        "quorum_queue.max_append_entries_rpc_batch_size", "rabbit.quorum_max_append_entries_rpc_batch_size", POSITIVE, "";
        "quorum_queue.compress_mem_tables", "rabbit.quorum_compress_mem_tables", BOOLEAN, "";
        "quorum_queue.segment_max_size_bytes", "rabbit.quorum_segment_max_size_bytes", POSITIVE, "";
        "quorum_queue.segment_max_entries", "rabbit.quorum_segment_max_entries", WORD, "";
        "quorum_queue.wal_max_size_bytes", "rabbit.quorum_wal_max_size_bytes", POSITIVE, "";
        "quorum_queue.wal_max_entries", "rabbit.quorum_wal_max_entries", POSITIVE, "";
        "quorum_queue.wal_max_batch_size", "rabbit.quorum_wal_max_batch_size", POSITIVE, "";
        "quorum_queue.snapshot_chunk_size", "rabbit.quorum_snapshot_chunk_size", POSITIVE, "";
        "quorum_queue.continuous_membership_reconciliation.enabled", "rabbit.quorum_membership_reconciliation_enabled", BOOLEAN, "";
        "quorum_queue.continuous_membership_reconciliation.auto_remove", "rabbit.quorum_membership_reconciliation_auto_remove", BOOLEAN, "";
        "quorum_queue.continuous_membership_reconciliation.interval", "rabbit.quorum_membership_reconciliation_interval", NON_NEGATIVE, "";
        "quorum_queue.continuous_membership_reconciliation.trigger_interval", "rabbit.quorum_membership_reconciliation_trigger_interval", NON_NEGATIVE, "";
        "quorum_queue.continuous_membership_reconciliation.target_group_size", "rabbit.quorum_membership_reconciliation_target_group_size", NON_NEGATIVE, "";
    }
    State::Only(&["classic_config", "rabbit_peer_discovery_classic_config"], NO_CLUSTER) => {
        "cluster_formation.peer_discovery_backend", "rabbit.cluster_formation.peer_discovery_backend", TEXT, "";
    }
    State::Only(&["disc", "disk"], NO_CLUSTER) => {
        "cluster_formation.node_type", "rabbit.cluster_formation.node_type", &[Type::OneOf(&["disc", "disk"])], "";
    }
    State::Only(&["1"], NO_CLUSTER) => {
        "cluster_formation.target_cluster_size_hint", "rabbit.cluster_formation.target_cluster_size_hint", POSITIVE, "";
    }
    State::Only(&["client-local", "balanced"], "all queues are on this node") => {
        "queue_leader_locator", "rabbit.queue_leader_locator", TEXT, "";
    }
    State::Only(&["client-local", "min-masters", "random"], "all queues are on this node") => {
        "queue_master_locator", "rabbit.queue_master_locator", TEXT, "";
    }
    State::Only(&["false"], "a node whose data directory is empty is a new one") => {
        "prevent_startup_if_node_was_reset", "rabbit.prevent_startup_if_node_was_reset", BOOLEAN, "";
    }
    State::Only(&["false"], "a queue that is declared again must be the same") => {
        "quorum_queue.property_equivalence.relaxed_checks_on_redeclaration", "rabbit.quorum_relaxed_checks_on_redeclaration", BOOLEAN, "";
    }
    State::Accepted => {
        "metadata_store.khepri.default_timeout", "rabbit.khepri_default_timeout", INTEGER, "";
        "metadata_store.khepri.snapshot_interval", "rabbit.khepri_snapshot_interval", POSITIVE, "";
        "cluster_partition_handling", "rabbit.cluster_partition_handling", &[Type::OneOf(&["ignore", "pause_minority", "autoheal", "pause_if_all_down"])], "";
        "cluster_partition_handling.pause_if_all_down.recover", "rabbit.cluster_partition_handling", &[Type::OneOf(&["ignore", "autoheal"])], "";
        "cluster_partition_handling.pause_if_all_down.nodes.$name", "rabbit.cluster_partition_handling", TEXT, "";
        "delegate_count", "rabbit.delegate_count", NON_NEGATIVE, "16";
        "mirroring_sync_batch_size", "rabbit.mirroring_sync_batch_size", SIZE, "";
        "mirroring_sync_max_throughput", "rabbit.mirroring_sync_max_throughput", UNIT, "";
        "cluster_keepalive_interval", "rabbit.cluster_keepalive_interval", INTEGER, "10000";
        "mnesia_table_loading_retry_timeout", "rabbit.mnesia_table_loading_retry_timeout", INTEGER, "30000";
        "mnesia_table_loading_retry_limit", "rabbit.mnesia_table_loading_retry_limit", INTEGER, "10";
        "raft.segment_max_entries", "ra.segment_max_entries", WORD, "";
        "raft.wal_max_size_bytes", "ra.wal_max_size_bytes", POSITIVE, "536870912";
        "raft.wal_max_entries", "ra.wal_max_entries", POSITIVE, "";
        "raft.wal_hibernate_after", "ra.wal_hibernate_after", POSITIVE, "";
        "raft.wal_max_batch_size", "ra.wal_max_batch_size", POSITIVE, "4096";
        "raft.snapshot_chunk_size", "ra.snapshot_chunk_size", POSITIVE, "";
        "raft.data_dir", "ra.data_dir", TEXT, "";
        "raft.adaptive_failure_detector.poll_interval", "aten.poll_interval", POSITIVE, "5000";
        "raft.adaptive_failure_detector.scaling_factor", "aten.scaling_factor", FLOAT, "1.5";
        "raft.adaptive_failure_detector.heartbeat_interval", "aten.heartbeat_interval", POSITIVE, "100";
        "raft.adaptive_failure_detector.detection_threshold", "aten.detection_threshold", FLOAT, "0.99";
    }
    State::Refused(NO_CLUSTER) => {
        "cluster_formation.classic_config.nodes.$node", "rabbit.cluster_nodes", TEXT, "{[],disc}";
        "cluster_formation.dns.hostname", "rabbit.cluster_formation.peer_discovery_dns.hostname", TEXT, "";
        "aws.prefer_imdsv2", "rabbitmq_aws.aws_prefer_imdsv2", BOOLEAN, "";
        "cluster_formation.aws.region", "rabbit.cluster_formation.peer_discovery_aws.aws_ec2_region", TEXT, "";
        "cluster_formation.aws.use_private_ip", "rabbit.cluster_formation.peer_discovery_aws.aws_use_private_ip", BOOLEAN, "";
        "cluster_formation.aws.access_key_id", "rabbit.cluster_formation.peer_discovery_aws.aws_access_key", TEXT, "";
        "cluster_formation.aws.secret_key", "rabbit.cluster_formation.peer_discovery_aws.aws_secret_key", SECRET, "";
        "cluster_formation.aws.use_autoscaling_group", "rabbit.cluster_formation.peer_discovery_aws.aws_autoscaling", BOOLEAN, "";
        "cluster_formation.aws.instance_tags", "rabbit.cluster_formation.peer_discovery_aws.aws_ec2_tags", NONE, "";
        "cluster_formation.aws.instance_tags.$name", "rabbit.cluster_formation.peer_discovery_aws.aws_ec2_tags", TEXT, "";
        "cluster_formation.aws.hostname_path", "rabbit.cluster_formation.peer_discovery_aws.aws_hostname_path", TEXT, "";
        "cluster_formation.aws.ec2_instance_states.$state", "rabbit.cluster_formation.peer_discovery_aws.aws_ec2_instance_states", TEXT, "";
        "cluster_formation.aws.hostname_path.$number", "rabbit.cluster_formation.peer_discovery_aws.aws_hostname_paths", TEXT, "";
        "cluster_formation.node_cleanup.interval", "rabbit.cluster_formation.node_cleanup.cleanup_interval", NON_NEGATIVE, "";
        "cluster_formation.node_cleanup.only_log_warning", "rabbit.cluster_formation.node_cleanup.cleanup_only_log_warning", BOOLEAN, "";
        "cluster_formation.proxy.http_proxy", "rabbit.cluster_formation.proxy.http_proxy", TEXT, "";
        "cluster_formation.proxy.https_proxy", "rabbit.cluster_formation.proxy.https_proxy", TEXT, "";
        "cluster_formation.proxy.proxy_exclusions.$name", "rabbit.cluster_formation.proxy.proxy_exclusions", TEXT, "";
        "cluster_formation.consul.host", "rabbit.cluster_formation.peer_discovery_consul.consul_host", TEXT, "";
        "cluster_formation.consul.port", "rabbit.cluster_formation.peer_discovery_consul.consul_port", INTEGER, "";
        "cluster_formation.consul.scheme", "rabbit.cluster_formation.peer_discovery_consul.consul_scheme", TEXT, "";
        "cluster_formation.consul.acl_token", "rabbit.cluster_formation.peer_discovery_consul.consul_acl_token", SECRET, "";
        "cluster_formation.consul.cluster_name", "rabbit.cluster_formation.peer_discovery_consul.cluster_name", TEXT, "";
        "cluster_formation.consul.svc", "rabbit.cluster_formation.peer_discovery_consul.consul_svc", TEXT, "";
        "cluster_formation.consul.svc_addr", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_addr", TEXT, "";
        "cluster_formation.consul.svc_addr_auto", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_addr_auto", BOOLEAN, "";
        "cluster_formation.consul.svc_addr_nic", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_addr_nic", TEXT, "";
        "cluster_formation.consul.svc_addr_use_nodename", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_addr_nodename", BOOLEAN, "";
        "cluster_formation.consul.svc_id", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_id", TEXT, "";
        "cluster_formation.consul.domain_suffix", "rabbit.cluster_formation.peer_discovery_consul.consul_domain", TEXT, "";
        "cluster_formation.consul.include_nodes_with_warnings", "rabbit.cluster_formation.peer_discovery_consul.include_nodes_with_warnings", BOOLEAN, "";
        "cluster_formation.consul.svc_port", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_port", INTEGER, "";
        "cluster_formation.consul.svc_ttl", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_ttl", NON_NEGATIVE, "";
        "cluster_formation.consul.deregister_after", "rabbit.cluster_formation.peer_discovery_consul.consul_deregister_after", NON_NEGATIVE, "";
        "cluster_formation.consul.use_longname", "rabbit.cluster_formation.peer_discovery_consul.consul_use_longname", BOOLEAN, "";
        "cluster_formation.consul.svc_tags", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_tags", NONE, "";
        "cluster_formation.consul.svc_tags.$name", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_tags", TEXT, "";
        "cluster_formation.consul.svc_meta", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_meta", NONE, "";
        "cluster_formation.consul.svc_meta.$name", "rabbit.cluster_formation.peer_discovery_consul.consul_svc_meta", TEXT, "";
        "cluster_formation.consul.lock_prefix", "rabbit.cluster_formation.peer_discovery_consul.consul_lock_prefix", TEXT, "";
        "cluster_formation.consul.lock_wait_time", "rabbit.cluster_formation.peer_discovery_consul.lock_wait_time", NON_NEGATIVE, "";
        "cluster_formation.consul.lock_timeout", "rabbit.cluster_formation.peer_discovery_consul.lock_wait_time", NON_NEGATIVE, "";
        "cluster_formation.consul.ssl_options.verify", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.verify", VERIFY, "";
        "cluster_formation.consul.ssl_options.fail_if_no_peer_cert", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "cluster_formation.consul.ssl_options.cacertfile", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.cacertfile", TEXT, "";
        "cluster_formation.consul.ssl_options.certfile", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.certfile", TEXT, "";
        "cluster_formation.consul.ssl_options.cert", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.cert", TEXT, "";
        "cluster_formation.consul.ssl_options.crl_check", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.crl_check", CRL_CHECK, "";
        "cluster_formation.consul.ssl_options.depth", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.depth", BYTE, "";
        "cluster_formation.consul.ssl_options.dh", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.dh", TEXT, "";
        "cluster_formation.consul.ssl_options.dhfile", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.dhfile", TEXT, "";
        "cluster_formation.consul.ssl_options.keyfile", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.keyfile", TEXT, "";
        "cluster_formation.consul.ssl_options.log_alert", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.log_alert", BOOLEAN, "";
        "cluster_formation.consul.ssl_options.password", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.password", SECRET, "";
        "cluster_formation.consul.ssl_options.psk_identity", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.psk_identity", TEXT, "";
        "cluster_formation.consul.ssl_options.reuse_sessions", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.reuse_sessions", BOOLEAN, "";
        "cluster_formation.consul.ssl_options.secure_renegotiate", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.secure_renegotiate", BOOLEAN, "";
        "cluster_formation.consul.ssl_options.versions.$version", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.versions", TEXT, "";
        "cluster_formation.consul.ssl_options.ciphers.$cipher", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.ciphers", TEXT, "";
        "cluster_formation.consul.ssl_options", "rabbit.cluster_formation.peer_discovery_consul.ssl_options", NONE, "";
        "cluster_formation.consul.ssl_options.key.RSAPrivateKey", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.key", TEXT, "";
        "cluster_formation.consul.ssl_options.key.DSAPrivateKey", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.key", TEXT, "";
        "cluster_formation.consul.ssl_options.key.PrivateKeyInfo", "rabbit.cluster_formation.peer_discovery_consul.ssl_options.key", TEXT, "";
        "cluster_formation.etcd.endpoints", "rabbit.cluster_formation.peer_discovery_etcd.endpoints", NONE, "";
        "cluster_formation.etcd.endpoints.$index", "rabbit.cluster_formation.peer_discovery_etcd.endpoints", TEXT, "";
        "cluster_formation.etcd.host", "rabbit.cluster_formation.peer_discovery_etcd.etcd_host", TEXT, "";
        "cluster_formation.etcd.port", "rabbit.cluster_formation.peer_discovery_etcd.etcd_port", NON_NEGATIVE, "";
        "cluster_formation.etcd.scheme", "rabbit.cluster_formation.peer_discovery_etcd.etcd_scheme", TEXT, "";
        "cluster_formation.etcd.key_prefix", "rabbit.cluster_formation.peer_discovery_etcd.etcd_prefix", TEXT, "";
        "cluster_formation.etcd.cluster_name", "rabbit.cluster_formation.peer_discovery_etcd.cluster_name", TEXT, "";
        "cluster_formation.etcd.node_ttl", "rabbit.cluster_formation.peer_discovery_etcd.etcd_node_ttl", NON_NEGATIVE, "";
        "cluster_formation.etcd.lock_wait_time", "rabbit.cluster_formation.peer_discovery_etcd.lock_wait_time", NON_NEGATIVE, "";
        "cluster_formation.etcd.lock_timeout", "rabbit.cluster_formation.peer_discovery_etcd.lock_wait_time", NON_NEGATIVE, "";
        "cluster_formation.etcd.username", "rabbit.cluster_formation.peer_discovery_etcd.etcd_username", TEXT, "";
        "cluster_formation.etcd.password", "rabbit.cluster_formation.peer_discovery_etcd.etcd_password", SECRET, "";
        "cluster_formation.etcd.ssl_options.verify", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.verify", VERIFY, "";
        "cluster_formation.etcd.ssl_options.cacertfile", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.cacertfile", TEXT, "";
        "cluster_formation.etcd.ssl_options.certfile", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.certfile", TEXT, "";
        "cluster_formation.etcd.ssl_options.cert", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.cert", TEXT, "";
        "cluster_formation.etcd.ssl_options.crl_check", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.crl_check", CRL_CHECK, "";
        "cluster_formation.etcd.ssl_options.depth", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.depth", BYTE, "";
        "cluster_formation.etcd.ssl_options.keyfile", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.keyfile", TEXT, "";
        "cluster_formation.etcd.ssl_options.log_alert", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.log_alert", BOOLEAN, "";
        "cluster_formation.etcd.ssl_options.password", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.password", SECRET, "";
        "cluster_formation.etcd.ssl_options.psk_identity", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.psk_identity", TEXT, "";
        "cluster_formation.etcd.ssl_options.reuse_sessions", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.reuse_sessions", BOOLEAN, "";
        "cluster_formation.etcd.ssl_options.secure_renegotiate", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.secure_renegotiate", BOOLEAN, "";
        "cluster_formation.etcd.ssl_options.versions.$version", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.versions", TEXT, "";
        "cluster_formation.etcd.ssl_options.ciphers.$cipher", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.ciphers", TEXT, "";
        "cluster_formation.etcd.ssl_options", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options", NONE, "";
        "cluster_formation.etcd.ssl_options.key.RSAPrivateKey", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.key", TEXT, "";
        "cluster_formation.etcd.ssl_options.key.DSAPrivateKey", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.key", TEXT, "";
        "cluster_formation.etcd.ssl_options.key.PrivateKeyInfo", "rabbit.cluster_formation.peer_discovery_etcd.ssl_options.key", TEXT, "";
        "cluster_formation.k8s.ordinal_start", "rabbit.cluster_formation.peer_discovery_k8s.ordinal_start", INTEGER, "";
        "cluster_formation.k8s.seed_node", "rabbit.cluster_formation.peer_discovery_k8s.seed_node", TEXT, "";
        "cluster_formation.k8s.host", "rabbit.cluster_formation.peer_discovery_k8s.k8s_host", TEXT, "";
        "cluster_formation.k8s.port", "rabbit.cluster_formation.peer_discovery_k8s.k8s_port", NON_NEGATIVE, "";
        "cluster_formation.k8s.scheme", "rabbit.cluster_formation.peer_discovery_k8s.k8s_scheme", TEXT, "";
        "cluster_formation.k8s.token_path", "rabbit.cluster_formation.peer_discovery_k8s.k8s_token_path", TEXT, "";
        "cluster_formation.k8s.cert_path", "rabbit.cluster_formation.peer_discovery_k8s.k8s_cert_path", TEXT, "";
        "cluster_formation.k8s.tls.cacertfile", "rabbit.cluster_formation.peer_discovery_k8s.ssl_options.cacertfile", TEXT, "";
        "cluster_formation.k8s.tls.certfile", "rabbit.cluster_formation.peer_discovery_k8s.ssl_options.certfile", TEXT, "";
        "cluster_formation.k8s.tls.keyfile", "rabbit.cluster_formation.peer_discovery_k8s.ssl_options.keyfile", TEXT, "";
        "cluster_formation.k8s.tls.verify", "rabbit.cluster_formation.peer_discovery_k8s.ssl_options.verify", VERIFY, "";
        "cluster_formation.k8s.tls.fail_if_no_peer_cert", "rabbit.cluster_formation.peer_discovery_k8s.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "cluster_formation.k8s.namespace_path", "rabbit.cluster_formation.peer_discovery_k8s.k8s_namespace_path", TEXT, "";
        "cluster_formation.k8s.service_name", "rabbit.cluster_formation.peer_discovery_k8s.k8s_service_name", TEXT, "";
        "cluster_formation.k8s.address_type", "rabbit.cluster_formation.peer_discovery_k8s.k8s_address_type", &[Type::OneOf(&["hostname", "ip"])], "";
        "cluster_formation.k8s.hostname_suffix", "rabbit.cluster_formation.peer_discovery_k8s.k8s_hostname_suffix", TEXT, "";
    }
}
