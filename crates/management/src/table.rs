//! All paths of the API: what they ask of their user, which methods they have, and who answers.
//!
//! A path is looked up by its decoded segments, each decoded exactly once, so that `%2F` can be a vhost. The tables are
//! walked from the front, so what is fixed stands before what varies.

use crate::access::{self, Access};
use crate::call::{Answer, Call, Caller, NAME_BYTES_MAX, Outcome};
use crate::error::ApiError;
use crate::query::{self, Query};
use crate::resources::*;
use crate::sessions;
use crate::state::State;
use base::Name;
use broker::auth::{Entry, User};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A path.
struct Endpoint {
    /// Segments below `/api`; `*` varies.
    path: &'static str,
    /// As the header `Allow` has them.
    allow: &'static str,
    /// To read it.
    read: Access,
    /// To do anything else.
    write: Access,
    handler: Handler,
}

const GET: &str = "HEAD, GET, OPTIONS";
const GET_PUT: &str = "HEAD, GET, PUT, OPTIONS";
const GET_PUT_DELETE: &str = "HEAD, GET, PUT, DELETE, OPTIONS";
const GET_DELETE: &str = "HEAD, GET, DELETE, OPTIONS";
const GET_POST: &str = "HEAD, GET, POST, OPTIONS";
const PUT_DELETE: &str = "PUT, DELETE, OPTIONS";
const GET_POST_DELETE: &str = "HEAD, GET, POST, DELETE, OPTIONS";
const POST_DELETE: &str = "POST, DELETE, OPTIONS";
const POST: &str = "POST, OPTIONS";
const PUT: &str = "PUT, OPTIONS";
const DELETE: &str = "DELETE, OPTIONS";

macro_rules! endpoints {
    ($($path:literal, $allow:ident, $read:ident $(/ $write:ident)?, $handler:path;)*) => {
        &[$(Endpoint {
            path: $path,
            allow: $allow,
            read: Access::$read,
            write: endpoints!(@write $read $($write)?),
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
    (@write $read:ident) => { Access::$read };
    (@write $read:ident $write:ident) => { Access::$write };
}

static ENDPOINTS: &[Endpoint] = endpoints! {
    "overview", GET, Management, overview::overview;
    "cluster-name", GET_PUT, Management / Administrator, overview::cluster_name;
    "extensions", GET, Management, overview::extensions;
    "version", GET, Management, overview::version;
    "whoami", GET, Management, users::whoami;
    "login", POST_DELETE, Open, users::login;
    "session", GET_POST_DELETE, Open, users::session;
    "nodes", GET, Monitoring, nodes::list;
    "nodes/*", GET, Monitoring, nodes::one;
    "nodes/*/memory", GET, Monitoring, memory::show;
    "nodes/*/memory/relative", GET, Monitoring, memory::relative;
    "definitions", GET_POST, Administrator, definitions::all;
    "all-configuration", GET_POST, Administrator, definitions::all;
    "definitions/*", GET_POST, Administrator, definitions::vhost;
    "connections", GET, Management, connections::list;
    "connections/username/*", GET_DELETE, Management, connections::of_user;
    "connections/*", GET_DELETE, Management, connections::one;
    "connections/*/channels", GET, Management, channels::of_connection;
    "connections/*/sessions", GET, Management, connections::sessions;
    "channels", GET, Management, channels::list;
    "channels/*", GET, Management, channels::one;
    "consumers", GET, Management, consumers::list;
    "consumers/*", GET, Management, consumers::list;
    "exchanges", GET, Management, exchanges::list;
    "exchanges/*", GET, Management, exchanges::list;
    "exchanges/*/*", GET_PUT_DELETE, Management, exchanges::one;
    "exchanges/*/*/publish", POST, Management, exchanges::publish;
    "exchanges/*/*/bindings/source", GET, Management, bindings::of_source;
    "exchanges/*/*/bindings/destination", GET, Management, bindings::of_destination_exchange;
    "queues", GET, Management, queues::list;
    "queues/detailed", GET, Management, queues::detailed;
    "queues/quorum/*/*/status", GET, Management, queues::quorum_status;
    "queues/quorum/*/*/replicas/add", POST, Administrator, queues::replicas;
    "queues/quorum/*/*/replicas/delete", DELETE, Administrator, queues::replicas;
    "queues/*", GET, Management, queues::list;
    "queues/*/*", GET_PUT_DELETE, Management, queues::one;
    "queues/*/*/bindings", GET, Management, bindings::of_destination_queue;
    "queues/*/*/browse", POST, Management, browse::browse;
    "queues/*/*/move", POST, Management, browse::move_messages;
    "queues/*/*/copy", POST, Management, browse::copy;
    "queues/*/*/delete-messages", POST, Management, browse::delete_messages;
    "queues/*/*/replay", POST_DELETE, Management, browse::replay;
    "queues/*/*/pause", PUT, Management, browse::pause;
    "queues/*/*/resume", PUT, Management, browse::resume;
    "queues/*/*/contents", DELETE, Management, queues::purge;
    "queues/*/*/get", POST, Management, queues::get;
    "queues/*/*/actions", POST, Administrator, queues::actions;
    "bindings", GET, Management, bindings::list;
    "bindings/*", GET, Management, bindings::list;
    "bindings/*/e/*/q/*", GET_POST, Management, bindings::between_queue;
    "bindings/*/e/*/q/*/*", GET_DELETE, Management, bindings::one_to_queue;
    "bindings/*/e/*/e/*", GET_POST, Management, bindings::between_exchanges;
    "bindings/*/e/*/e/*/*", GET_DELETE, Management, bindings::one_to_exchange;
    "vhosts", GET, Management, vhosts::list;
    "vhosts/*", GET_PUT_DELETE, Management / Administrator, vhosts::one;
    "vhosts/*/deletion/protection", POST_DELETE, Administrator, vhosts::protection;
    "vhosts/*/start/*", POST, Administrator, vhosts::start;
    "vhosts/*/permissions", GET, Administrator, permissions::of_vhost;
    "vhosts/*/topic-permissions", GET, Administrator, permissions::topics_of_vhost;
    "vhosts/*/connections", GET, Management, connections::of_vhost;
    "vhosts/*/channels", GET, Management, channels::of_vhost;
    "users", GET, Administrator, users::list;
    "users/without-permissions", GET, Administrator, users::without_permissions;
    "users/bulk-delete", POST, Administrator, users::bulk_delete;
    "users/*", GET_PUT_DELETE, Administrator, users::one;
    "users/*/permissions", GET, Administrator, permissions::of_user;
    "users/*/topic-permissions", GET, Administrator, permissions::topics_of_user;
    "permissions", GET, Administrator, permissions::list;
    "permissions/*/*", GET_PUT_DELETE, Administrator, permissions::one;
    "topic-permissions", GET, Administrator, permissions::topics;
    "topic-permissions/*/*", GET_PUT_DELETE, Administrator, permissions::topic;
    "topic-permissions/*/*/*", GET_DELETE, Administrator, permissions::topic_exchange;
    "policies", GET, Management, policies::list;
    "policies/*", GET, Management, policies::list;
    "policies/*/*", GET_PUT_DELETE, Management / Policymaker, policies::one;
    "operator-policies", GET, Management, policies::operator_list;
    "operator-policies/*", GET, Management, policies::operator_list;
    "operator-policies/*/*", GET_PUT_DELETE, Management / Administrator, policies::operator_one;
    "parameters", GET, Policymaker, parameters::list;
    "parameters/*", GET, Policymaker, parameters::list;
    "parameters/*/*", GET, Policymaker, parameters::list;
    "parameters/*/*/*", GET_PUT_DELETE, Policymaker, parameters::one;
    "global-parameters", GET, Policymaker, parameters::global_list;
    "global-parameters/*", GET_PUT_DELETE, Policymaker, parameters::global;
    "vhost-limits", GET, Management, limits::vhost_list;
    "vhost-limits/*", GET, Management, limits::vhost_list;
    "vhost-limits/*/*", PUT_DELETE, Administrator, limits::vhost;
    "user-limits", GET, Administrator, limits::user_list;
    "user-limits/*", GET, Management, limits::user_list;
    "user-limits/*/*", PUT_DELETE, Administrator, limits::user;
    "auth/attempts/*", GET_DELETE, Monitoring, users::attempts;
    "auth/attempts/*/source", GET_DELETE, Monitoring, users::attempts_by_source;
    "auth/hash_password/*", GET, Administrator, users::hash_password;
    "feature-flags", GET, Management, features::flags;
    "feature-flags/*/enable", PUT, Administrator, features::enable;
    "deprecated-features", GET, Management, features::deprecated;
    "deprecated-features/used", GET, Management, features::deprecated_used;
    "traces", GET, Administrator, traces::list;
    "traces/node/*", GET, Administrator, traces::list_of_node;
    "traces/*", GET, Administrator, traces::list;
    "traces/node/*/*", GET, Administrator, traces::list_of_node;
    "traces/*/*", GET_PUT_DELETE, Administrator, traces::one;
    "traces/node/*/*/*", GET_PUT_DELETE, Administrator, traces::one_of_node;
    "trace-files", GET, Administrator, traces::files;
    "trace-files/node/*", GET, Administrator, traces::files_of_node;
    "trace-files/*", GET_DELETE, Administrator, traces::file;
    "trace-files/node/*/*", GET_DELETE, Administrator, traces::file_of_node;
    "rebalance/queues", POST, Administrator, queues::rebalance;
    "config/effective", GET, Administrator, maintenance::effective_configuration;
    "top/*", GET, Administrator, top::threads;
    "top/ets/*", GET, Administrator, top::tables;
    "process/*", GET, Administrator, top::thread;
    "reset", DELETE, Administrator, overview::reset;
    "reset/*", DELETE, Administrator, overview::reset;
    "aliveness-test/*", GET, Management, health::aliveness;
    "healthchecks/node", GET, Management, health::ok;
    "healthchecks/node/*", GET, Management, health::ok;
    "health/checks/alarms", GET, Management, health::alarms;
    "health/checks/local-alarms", GET, Management, health::local_alarms;
    "health/checks/certificate-expiration/*/*", GET, Management, health::certificates;
    "health/checks/port-listener/*", GET, Management, health::port;
    "health/checks/protocol-listener/*", GET, Management, health::protocols;
    "health/checks/virtual-hosts", GET, Management, health::ok;
    "health/checks/node-is-quorum-critical", GET, Management, health::quorum_critical;
    "health/checks/quorum-queues-without-elected-leaders/all-vhosts", GET, Management, health::ok;
    "health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/*", GET, Management, health::ok;
    "health/checks/quorum-queues-without-elected-leaders/vhost/*", GET, Management, health::ok;
    "health/checks/quorum-queues-without-elected-leaders/vhost/*/pattern/*", GET, Management, health::ok;
    "health/checks/is-in-service", GET, Management, health::in_service;
    "health/checks/below-node-connection-limit", GET, Management, health::below_connection_limit;
    "health/checks/ready-to-serve-clients", GET, Management, health::ready_to_serve;
    "health/checks/reached-target-cluster-size", GET, Management, health::ok;
    "health/checks/metadata-store/initialized", GET, Management, health::ok;
    "health/checks/metadata-store/initialized/with-data", GET, Management, health::ok;
};

/// Paths of the control socket, below `/control/`.
static CONTROL_ENDPOINTS: &[Endpoint] = endpoints! {
    "status", GET, Administrator, control::status;
    "authenticate", POST, Administrator, control::authenticate_user;
    "plugins", GET_PUT, Administrator, plugins::enabled;
    "watermarks", PUT, Administrator, control::watermarks;
    "environment", GET, Administrator, maintenance::environment;
    "process", GET, Administrator, maintenance::process;
    "certificates", GET, Administrator, maintenance::certificates;
    "listeners/suspend", POST, Administrator, maintenance::suspend;
    "listeners/resume", POST, Administrator, maintenance::resume;
    "drain", POST, Administrator, maintenance::drain;
    "revive", POST, Administrator, maintenance::revive;
    "force-gc", POST, Administrator, maintenance::force_gc;
    "message-sizes", GET, Administrator, maintenance::message_sizes;
    "disk-monitor", POST, Administrator, maintenance::disk_monitor;
    "log", GET, Administrator, maintenance::log;
    "log/level", PUT, Administrator, maintenance::log_level;
    "log/rotate", POST, Administrator, maintenance::log_rotate;
    "queues/*/*/purge", POST, Administrator, control::purge;
    "queues/*/*/delete", POST, Administrator, control::delete;
    "connections/close", POST, Administrator, control::close_connection;
    "auth-attempt-sources", PUT_DELETE, Administrator, users::attempt_sources;
    "trust-store", GET_POST, Administrator, trust_store::trust_store;
};

/// Who changes things over the control socket, in events.
const OPERATOR: &str = "rmq-cli";

/// Paths outside the API that lead somewhere else.
const MOVED: [(&str, &str); 3] = [
    ("/api", "/api/index.html"),
    ("/cli", "/cli/index.html"),
    ("/mgmt", "/"),
];

/// A path that exists, with its parameters.
pub(crate) struct Found {
    endpoint: &'static Endpoint,
    parameters: Vec<Name>,
}

/// Looks a path up. What has a prefix (`management.path_prefix`) is looked up without it; the control socket has none, and paths of
/// its own.
pub(crate) fn find(state: &State, path: &str, caller: Caller) -> Option<Found> {
    let (endpoints, below) = match caller {
        Caller::Network(_) => {
            let path = path.strip_prefix(state.settings().path_prefix.as_str())?;
            (ENDPOINTS, path.strip_prefix("/api/")?)
        }
        Caller::Operator => match path.strip_prefix("/control/") {
            Some(below) => (CONTROL_ENDPOINTS, below),
            None => (ENDPOINTS, path.strip_prefix("/api/")?),
        },
    };
    let below = below.strip_suffix('/').unwrap_or(below);
    let segments: Vec<&str> = below.split('/').collect();
    endpoints.iter().find_map(|endpoint| {
        let parameters = endpoint.matches(&segments)?;
        Some(Found {
            endpoint,
            parameters,
        })
    })
}

/// The file of the web UI at a path, and what a client may have of it already.
pub(crate) fn file(state: &State, head: &Parts) -> Option<Answer> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = head.uri.path();
    let path = path.strip_prefix(state.settings().path_prefix.as_str())?;
    let asset = web::asset(path.strip_prefix('/')?)?;
    let known = head.headers.get(header::IF_NONE_MATCH);
    Some(if known.is_some_and(|known| known == asset.etag.as_str()) {
        Answer::NotModified(asset)
    } else {
        Answer::File(asset)
    })
}

/// Where a path outside the API leads.
pub(crate) fn moved(path: &str) -> Option<&'static str> {
    MOVED
        .iter()
        .find(|(from, _)| *from == path)
        .map(|(_, to)| *to)
}

impl Endpoint {
    fn matches(&self, segments: &[&str]) -> Option<Vec<Name>> {
        let mut parameters = Vec::new();
        let mut given = segments.iter();
        for expected in self.path.split('/') {
            let given = given.next()?;
            if expected == "*" {
                let decoded = query::decode(given);
                let name = std::str::from_utf8(&decoded).ok()?;
                parameters.push(Name::from(name));
            } else if expected != *given {
                return None;
            }
        }
        given.next().is_none().then_some(parameters)
    }
}

impl Found {
    /// The methods, as the header `Allow` has them.
    pub(crate) fn allow(&self) -> &'static str {
        self.endpoint.allow
    }

    /// Finds out who asks and whether they may.
    ///
    /// # Errors
    /// The method is not there, or the user may not use it.
    pub(crate) async fn admit(
        &self,
        state: &State,
        method: &Method,
        headers: &HeaderMap,
        caller: Caller,
    ) -> Result<Option<access::Caller>, ApiError> {
        if !self.allow().split(", ").any(|own| own == method.as_str()) {
            return Err(ApiError::MethodNotAllowed);
        }
        let Caller::Network(peer) = caller else {
            return Ok(Some(User::operator(OPERATOR.into()).into()));
        };
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let access = if reads {
            self.endpoint.read
        } else {
            self.endpoint.write
        };
        if access == Access::Open {
            return Ok(None);
        }
        let header = match headers.get(header::AUTHORIZATION) {
            None if headers.contains_key(sessions::HEADER) => {
                let id = sessions::id(headers).unwrap_or_default();
                Some(state.sessions.credentials(id, Instant::now())?)
            }
            header => header.map(|value| value.as_bytes().to_vec()),
        };
        let user = access::login(state, header.as_deref(), peer.ip()).await;
        let attempts = state.node.login_attempts();
        let name = header.as_deref().and_then(access::name_in);
        let name = name.unwrap_or_default();
        attempts.count(Entry::Http, user.is_ok(), peer.ip(), &name);
        let user = user?;
        access.check(&user.user)?;
        Ok(Some(user))
    }

    /// Lets the path answer.
    ///
    /// # Errors
    /// Whatever it refuses.
    pub(crate) async fn carry_out(
        self,
        state: &Arc<State>,
        head: &Parts,
        user: Option<access::Caller>,
        reason: Option<String>,
        caller: Caller,
        body: Bytes,
    ) -> Outcome {
        if self
            .parameters
            .iter()
            .any(|parameter| parameter.len() > NAME_BYTES_MAX)
        {
            return Err(ApiError::NoObject);
        }
        let method = match head.method {
            Method::HEAD => Method::GET,
            ref other => other.clone(),
        };
        let call = Call {
            metadata: state.node.metadata(),
            state: Arc::clone(state),
            user,
            method,
            parameters: self.parameters,
            query: Query::parse(head.uri.query().unwrap_or_default()),
            reason,
            session: sessions::id(&head.headers).unwrap_or_default().to_owned(),
            caller,
            body,
        };
        (self.endpoint.handler)(call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(&'static str, Vec<String>)> {
        let segments: Vec<&str> = path.split('/').collect();
        ENDPOINTS.iter().find_map(|endpoint| {
            let parameters = endpoint.matches(&segments)?;
            let parameters = parameters.iter().map(ToString::to_string).collect();
            Some((endpoint.path, parameters))
        })
    }

    #[test]
    fn names_in_paths_are_decoded_once() {
        let one = |path, expected: &str, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(found(path), Some((expected, names)), "{path}");
        };
        one("queues/%2F/a%20b", "queues/*/*", &["/", "a b"]);
        one("queues/%252F/q", "queues/*/*", &["%2F", "q"]);
        one("queues/detailed", "queues/detailed", &[]);
        one("queues/x", "queues/*", &["x"]);
        one("exchanges/v/..%2f..", "exchanges/*/*", &["v", "../.."]);
        assert_eq!(found("queues/%ff"), None);
        assert_eq!(found("queues/a/b/c"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn no_path_is_there_twice() {
        let mut paths: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
        paths.sort_unstable();
        let all = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), all);
    }
}
