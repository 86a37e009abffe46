//! rabbitmq_http_client, the crate that rabbitmqadmin is made of: its own types take what is answered, blocking and async.

use anyhow::{Context as _, Result, ensure};
use rabbitmq_http_client::api::Client as AsyncClient;
use rabbitmq_http_client::blocking_api::{Client, HttpClientError};
use rabbitmq_http_client::commons::{
    ExchangeType, PaginationParams, PolicyTarget, QueueType, SupportedProtocol, UserLimitTarget,
    VirtualHostLimitTarget,
};
use rabbitmq_http_client::password_hashing;
use rabbitmq_http_client::requests::bindings::BindingDeletionParams;
use rabbitmq_http_client::requests::vhosts::VirtualHostParams;
use rabbitmq_http_client::requests::{
    EnforcedLimitParams, ExchangeParams, GlobalRuntimeParameterDefinition, Permissions,
    PolicyParams, QueueParams, RuntimeParameterDefinition, TopicPermissions, UserParams,
};
use rabbitmq_http_client::responses::ReachabilityProbeOutcome;
use serde_json::{Map, Value, json};
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

type Api = Client<String, String, String>;
type Check = (&'static str, fn(&Api) -> Result<()>);

macro_rules! checks {
    ($($name:ident),+ $(,)?) => { &[$((stringify!($name), $name)),+] };
}

const CHECKS: &[Check] = checks![
    the_node_and_its_health,
    vhosts,
    exchanges_queues_and_bindings,
    messages,
    users_and_permissions,
    limits,
    policies,
    parameters,
    definitions,
    everything_asynchronously,
];

fn main() -> ExitCode {
    let api = Client::new(endpoint(), "guest".to_owned(), "guest".to_owned());
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        let started = Instant::now();
        match check(&api) {
            Ok(()) => println!("ok   {name} ({:.0?})", started.elapsed()),
            Err(error) => {
                println!("FAIL {name}: {error:?}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} failed: {}", failed.len(), failed.join(", "));
    ExitCode::FAILURE
}

fn endpoint() -> String {
    let url = std::env::var("HTTP_URL").unwrap_or_else(|_| "http://127.0.0.1:15672".to_owned());
    format!("{url}/api")
}

/// A name no other check or run uses.
fn unique(stem: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("interop.{stem}.{}.{number}", std::process::id())
}

fn equal<T: PartialEq + Debug>(actual: T, expected: T) -> Result<()> {
    ensure!(actual == expected, "expected {expected:?}, got {actual:?}");
    Ok(())
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is written here as an object"),
    }
}

/// The refusal of a request, which has to have this status.
fn refused<T: Debug>(answer: Result<T, HttpClientError>, status: u16) -> Result<String> {
    match answer {
        Err(HttpClientError::NotFound) if status == 404 => Ok(String::new()),
        Err(HttpClientError::ClientErrorResponse {
            status_code,
            error_details,
            ..
        }) if status_code.as_u16() == status => {
            let details = error_details.context("an error tells what is wrong")?;
            Ok(details.reason().unwrap_or_default().to_owned())
        }
        other => anyhow::bail!("expected status {status}, got {other:?}"),
    }
}

/// Runs `check` with a new vhost in which guest may do everything.
fn with_vhost(api: &Api, check: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    let vhost = unique("rust");
    api.create_vhost(&VirtualHostParams::named(&vhost))?;
    let outcome = check(&vhost);
    api.delete_vhost(&vhost, false)?;
    outcome
}

fn the_node_and_its_health(api: &Api) -> Result<()> {
    let overview = api.overview()?;
    equal(api.server_version()?, overview.rabbitmq_version.clone())?;
    ensure!(!overview.listeners.is_empty());
    let nodes = api.list_nodes()?;
    equal(nodes.len(), 1)?;
    let node = api.get_node_info(&overview.node)?;
    equal(&node.name, &nodes[0].name)?;
    api.get_node_memory_footprint(&overview.node)?;
    let plugins = api.list_node_plugins(&overview.node)?;
    let has_management =
        |plugins: &dyn Debug| format!("{plugins:?}").contains("rabbitmq_management");
    ensure!(has_management(&plugins));
    ensure!(has_management(&api.list_all_cluster_plugins()?));
    equal(api.get_cluster_name()?.name, overview.cluster_name)?;
    equal(&*api.current_user()?.name, "guest")?;
    api.auth_attempts_statistics(&overview.node)?;
    api.list_feature_flags()?;
    api.enable_all_stable_feature_flags()?;
    api.list_all_deprecated_features()?;
    api.list_deprecated_features_in_use()?;
    api.health_check_cluster_wide_alarms()?;
    api.health_check_local_alarms()?;
    api.health_check_if_node_is_quorum_critical()?;
    api.health_check_protocol_listener(SupportedProtocol::AMQP)?;
    match api.health_check_port_listener(1) {
        Err(HttpClientError::HealthCheckFailed { status_code, .. }) => {
            equal(status_code.as_u16(), 503)?;
        }
        other => anyhow::bail!("nothing listens on port 1: {other:?}"),
    }
    api.rebalance_queue_leaders()?;
    let probe = api.probe_reachability();
    ensure!(
        matches!(probe, ReachabilityProbeOutcome::Reached(_)),
        "{probe:?}"
    );
    let stranger = Client::new(endpoint(), "guest".to_owned(), "wrong".to_owned());
    refused(stranger.overview(), 401)?;
    Ok(())
}

fn vhosts(api: &Api) -> Result<()> {
    let name = unique("rust/vhost");
    let params = VirtualHostParams::builder(&name)
        .description("of tests")
        .tags(vec!["a", "b"])
        .default_queue_type(QueueType::Quorum)
        .tracing(false)
        .build();
    api.create_vhost(&params)?;
    let found = api.get_vhost(&name)?;
    equal(&*found.name, &*name)?;
    equal(found.description.as_deref(), Some("of tests"))?;
    equal(found.default_queue_type.as_deref(), Some("quorum"))?;
    ensure!(api.list_vhosts()?.iter().any(|vhost| *vhost.name == *name));
    api.enable_vhost_deletion_protection(&name)?;
    refused(api.delete_vhost(&name, false), 412)?;
    api.disable_vhost_deletion_protection(&name)?;
    api.delete_vhost(&name, false)?;
    refused(api.get_vhost(&name), 404)?;
    refused(api.delete_vhost(&name, false), 404)?;
    api.delete_vhost(&name, true)?;
    Ok(())
}

fn exchanges_queues_and_bindings(api: &Api) -> Result<()> {
    with_vhost(api, |vhost| {
        let alternate = map(json!({"alternate-exchange": "amq.fanout"}));
        let params = ExchangeParams::durable("e 1/a", ExchangeType::Topic, Some(alternate.clone()));
        api.declare_exchange(vhost, &params)?;
        let found = api.get_exchange_info(vhost, "e 1/a")?;
        equal(&*found.exchange_type.to_string(), "topic")?;
        equal(found.durable, true)?;
        api.declare_exchange(vhost, &ExchangeParams::durable_fanout("f", None))?;
        let other = ExchangeParams::durable_fanout("e 1/a", Some(alternate));
        ensure!(
            refused(api.declare_exchange(vhost, &other), 400)?.contains("inequivalent arg 'type'")
        );

        let limited = map(json!({"x-max-length": 10, "x-message-ttl": 60_000}));
        let classic = QueueParams::new_durable_classic_queue("q #1", Some(limited));
        api.declare_queue(vhost, &classic)?;
        api.declare_queue(vhost, &QueueParams::new_quorum_queue("safe", None))?;
        let found = api.get_queue_info(vhost, "q #1")?;
        equal(&*found.queue_type, "classic")?;
        equal(found.arguments.get("x-max-length"), Some(&json!(10)))?;
        equal(found.durable, true)?;
        equal(api.list_queues_in(vhost)?.len(), 2)?;
        equal(api.list_quorum_queues_in(vhost)?.len(), 1)?;
        equal(api.list_classic_queues_in(vhost)?.len(), 1)?;
        api.list_queues()?;
        api.list_queues_with_details()?;
        equal(
            api.list_queues_paged(&PaginationParams::new(1, 1))?.len(),
            1,
        )?;

        api.bind_queue(vhost, "q #1", "e 1/a", Some("a b.#"), None)?;
        let extra = map(json!({"n": 1, "text": "é"}));
        api.bind_queue(vhost, "q #1", "e 1/a", Some("a b.#"), Some(extra))?;
        api.bind_exchange(vhost, "f", "e 1/a", Some("k"), None)?;
        equal(api.list_queue_bindings(vhost, "q #1")?.len(), 3)?;
        equal(
            api.list_exchange_bindings_with_source(vhost, "e 1/a")?
                .len(),
            3,
        )?;
        equal(
            api.list_exchange_bindings_with_destination(vhost, "f")?
                .len(),
            1,
        )?;
        api.list_bindings()?;
        for binding in api.list_exchange_bindings_with_source(vhost, "e 1/a")? {
            let params = BindingDeletionParams::from_binding_info(&binding);
            api.delete_binding(&params, false)
                .with_context(|| format!("delete {binding:?}"))?;
            api.recreate_binding(&binding)?;
            api.delete_binding(&params, false)?;
            refused(api.delete_binding(&params, false), 404)?;
        }
        equal(api.list_bindings_in(vhost)?.len(), 2)?;

        refused(api.delete_queue(vhost, "none", false), 404)?;
        api.delete_queues(vhost, &["q #1", "safe"], false)?;
        api.delete_exchanges(vhost, &["e 1/a", "f"], false)?;
        refused(api.get_exchange_info(vhost, "f"), 404)?;
        Ok(())
    })
}

fn messages(api: &Api) -> Result<()> {
    with_vhost(api, |vhost| {
        api.declare_queue(vhost, &QueueParams::new_durable_classic_queue("q", None))?;
        let properties = map(json!({"delivery_mode": 2, "message_id": "m", "headers": {"n": 1}}));
        ensure!(
            api.publish_message(vhost, "amq.default", "q", "hello", properties)?
                .routed
        );
        ensure!(
            !api.publish_message(vhost, "amq.default", "none", "lost", Map::new())?
                .routed
        );
        let got = api.get_messages(vhost, "q", 5, "ack_requeue_true")?;
        equal(got.len(), 1)?;
        equal(
            (&*got[0].payload, &*got[0].payload_encoding),
            ("hello", "string"),
        )?;
        equal(got[0].properties.0.get("message_id"), Some(&json!("m")))?;
        equal(
            api.get_messages(vhost, "q", 1, "ack_requeue_false")?[0].redelivered,
            true,
        )?;
        equal(
            api.get_messages(vhost, "q", 1, "ack_requeue_false")?.len(),
            0,
        )?;
        api.publish_message(vhost, "amq.default", "q", "again", Map::new())?;
        api.purge_queue(vhost, "q")?;
        equal(
            api.get_messages(vhost, "q", 1, "ack_requeue_false")?.len(),
            0,
        )
    })
}

fn users_and_permissions(api: &Api) -> Result<()> {
    let name = unique("rust.user");
    let salt = password_hashing::salt();
    let hash = password_hashing::base64_encoded_salted_password_hash_sha256(&salt, "secret");
    api.create_user(&UserParams::monitoring(&name, &hash))?;
    let found = api.get_user(&name)?;
    equal(
        found.password_hash.as_ref().map(AsRef::as_ref),
        Some(&*hash),
    )?;
    equal(found.tags.to_string(), "monitoring".to_owned())?;
    let user = Client::new(endpoint(), name.clone(), "secret".to_owned());
    equal(&*user.current_user()?.name, &*name)?;
    refused(user.list_users(), 401)?;
    ensure!(
        api.list_users_without_permissions()?
            .iter()
            .any(|user| *user.name == *name)
    );
    with_vhost(api, |vhost| {
        api.grant_permissions(&Permissions {
            user: &name,
            vhost,
            configure: "^c",
            read: ".*",
            write: "",
        })?;
        equal(&*api.get_permissions(vhost, &name)?.configure, "^c")?;
        equal(api.list_permissions_of(&name)?.len(), 1)?;
        equal(api.list_permissions_in(vhost)?.len(), 2)?;
        let own = QueueParams::new_durable_classic_queue("other", None);
        refused(user.declare_queue(vhost, &own), 401)?;
        api.declare_topic_permissions(&TopicPermissions {
            user: &name,
            vhost,
            exchange: "amq.topic",
            read: "^a",
            write: "^b",
        })?;
        equal(&*api.list_topic_permissions_of(&name)?[0].read, "^a")?;
        equal(api.list_topic_permissions_in(vhost)?.len(), 1)?;
        api.clear_topic_permissions(vhost, &name, false)?;
        refused(api.clear_topic_permissions(vhost, &name, false), 404)?;
        api.clear_permissions(vhost, &name, false)?;
        refused(api.clear_permissions(vhost, &name, false), 404)?;
        api.clear_permissions(vhost, &name, true)?;
        Ok(())
    })?;
    api.delete_users(vec![&name])?;
    refused(api.get_user(&name), 404)?;
    Ok(())
}

fn limits(api: &Api) -> Result<()> {
    with_vhost(api, |vhost| {
        let limit = EnforcedLimitParams::new(VirtualHostLimitTarget::MaxQueues, 1);
        api.set_vhost_limit(vhost, limit)?;
        equal(api.list_vhost_limits(vhost)?.len(), 1)?;
        api.declare_queue(vhost, &QueueParams::new_durable_classic_queue("a", None))?;
        let second = QueueParams::new_durable_classic_queue("b", None);
        ensure!(refused(api.declare_queue(vhost, &second), 400)?.contains("limit"));
        api.clear_vhost_limit(vhost, VirtualHostLimitTarget::MaxQueues)?;
        api.declare_queue(vhost, &second)?;
        api.list_all_vhost_limits()?;
        Ok(())
    })?;
    let name = unique("rust.user");
    api.create_user(&UserParams::without_tags(&name, ""))?;
    let limit = EnforcedLimitParams::new(UserLimitTarget::MaxConnections, 3);
    api.set_user_limit(&name, limit)?;
    equal(api.list_user_limits(&name)?.len(), 1)?;
    api.list_all_user_limits()?;
    api.clear_user_limit(&name, UserLimitTarget::MaxConnections)?;
    equal(api.list_user_limits(&name)?.len(), 0)?;
    Ok(api.delete_user(&name, false)?)
}

fn policies(api: &Api) -> Result<()> {
    with_vhost(api, |vhost| {
        let definition = map(json!({"max-length": 10}));
        let params = PolicyParams::new(vhost, "p 1", "^q", definition.clone())
            .apply_to(PolicyTarget::ClassicQueues)
            .priority(3);
        api.declare_policy(&params)?;
        let found = api.get_policy(vhost, "p 1")?;
        equal(
            (found.priority, found.apply_to),
            (3, PolicyTarget::ClassicQueues),
        )?;
        equal(found.definition.get("max-length"), Some(&json!(10)))?;
        equal(api.list_policies_in(vhost)?.len(), 1)?;
        let matching = api.list_matching_policies(vhost, "q1", PolicyTarget::ClassicQueues)?;
        equal(matching.len(), 1)?;
        api.declare_operator_policy(&PolicyParams::new(vhost, "o", ".*", definition))?;
        equal(&*api.get_operator_policy(vhost, "o")?.name, "o")?;
        equal(api.list_operator_policies_in(vhost)?.len(), 1)?;
        api.declare_queue(vhost, &QueueParams::new_durable_classic_queue("q1", None))?;
        // RabbitMQ tells it when it next emits statistics.
        let policies = (Some("p 1".to_owned()), Some("o".to_owned()));
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let queue = api.get_queue_info(vhost, "q1")?;
            let told = (queue.policy, queue.operator_policy);
            if told == policies {
                break;
            }
            ensure!(Instant::now() < deadline, "{told:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let wrong = PolicyParams::new(vhost, "w", ".*", map(json!({"max-length": "ten"})));
        refused(api.declare_policy(&wrong), 400)?;
        api.delete_policy(vhost, "p 1", false)?;
        refused(api.get_policy(vhost, "p 1"), 404)?;
        api.delete_operator_policies_in(vhost, vec!["o"])?;
        api.list_policies()?;
        api.list_operator_policies()?;
        Ok(())
    })
}

fn parameters(api: &Api) -> Result<()> {
    let name = unique("rust.parameter");
    let value = map(json!({"a": 1}));
    api.upsert_global_runtime_parameter(&GlobalRuntimeParameterDefinition {
        name: &name,
        value: value.clone(),
    })?;
    api.get_global_runtime_parameter(&name)?;
    let all = api.list_global_runtime_parameters()?;
    ensure!(all.iter().any(|parameter| *parameter.name == *name));
    api.clear_global_runtime_parameter(&name)?;
    api.list_runtime_parameters()?;
    let unknown = RuntimeParameterDefinition {
        name: "n",
        vhost: "/",
        component: "none",
        value,
    };
    let reason = refused(api.upsert_runtime_parameter(&unknown), 400)?;
    ensure!(reason.contains("component none not found"), "{reason}");
    api.list_federation_upstreams()?;
    Ok(())
}

fn definitions(api: &Api) -> Result<()> {
    with_vhost(api, |vhost| {
        let arguments = map(json!({"x-expires": 1_800_000}));
        let queue = QueueParams::new_durable_classic_queue("kept", Some(arguments));
        api.declare_queue(vhost, &queue)?;
        api.bind_queue(vhost, "kept", "amq.fanout", Some("r"), None)?;
        let whole = api.export_cluster_wide_definitions_as_data()?;
        ensure!(whole.queues.iter().any(|queue| *queue.name == *"kept"));
        let one = api.export_vhost_definitions_as_data(vhost)?;
        equal(one.queues.len(), 1)?;
        api.delete_queue(vhost, "kept", false)?;
        let text = api.export_vhost_definitions(vhost)?;
        let mut one: Value = serde_json::from_str(&text)?;
        equal(one["queues"].as_array().map(Vec::len), Some(0))?;
        one["queues"] =
            json!([{"name": "kept", "durable": true, "auto_delete": false, "arguments": {}}]);
        api.import_vhost_definitions(vhost, one)?;
        equal(api.list_queues_in(vhost)?.len(), 1)?;
        let text = api.export_cluster_wide_definitions()?;
        api.delete_queue(vhost, "kept", false)?;
        api.import_cluster_wide_definitions(serde_json::from_str(&text)?)?;
        equal(api.list_queues_in(vhost)?.len(), 1)
    })
}

/// What the blocking client made is read by the asynchronous one, which has the same types.
fn everything_asynchronously(api: &Api) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    with_vhost(api, |vhost| {
        api.declare_queue(vhost, &QueueParams::new_quorum_queue("q", None))?;
        runtime.block_on(read_all(vhost))
    })
}

async fn read_all(vhost: &str) -> Result<()> {
    let api = AsyncClient::new(endpoint(), "guest".to_owned(), "guest".to_owned());
    let node = api.overview().await?.node;
    api.get_node_info(&node).await?;
    api.list_nodes().await?;
    api.list_vhosts().await?;
    api.list_users().await?;
    api.list_permissions().await?;
    api.list_topic_permissions().await?;
    api.list_exchanges().await?;
    api.list_exchanges_in(vhost).await?;
    equal(api.list_queues_in(vhost).await?.len(), 1)?;
    equal(&*api.get_queue_info(vhost, "q").await?.queue_type, "quorum")?;
    api.list_bindings().await?;
    api.list_policies().await?;
    api.list_operator_policies().await?;
    api.list_runtime_parameters().await?;
    api.list_global_runtime_parameters().await?;
    api.list_connections().await?;
    api.list_channels().await?;
    api.list_consumers().await?;
    api.list_all_vhost_limits().await?;
    api.list_all_user_limits().await?;
    api.list_feature_flags().await?;
    api.list_all_deprecated_features().await?;
    api.export_cluster_wide_definitions_as_data().await?;
    api.health_check_local_alarms().await?;
    api.delete_queue(vhost, "q", false).await?;
    Ok(())
}
