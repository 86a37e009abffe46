//! From a request's path to who answers it: looks paths up in the [table](crate::routes), and admits users.
//!
//! A path is looked up by its decoded segments, each decoded exactly once, so that `%2F` can be a vhost.

use crate::access::{self, Access};
use crate::call::{Answer, Call, Caller, NAME_BYTES_MAX, Outcome};
use crate::error::ApiError;
use crate::query::{self, Query};
use crate::routes::{CONTROL_ENDPOINTS, ENDPOINTS, Endpoint, Operation, Verb};
use crate::sessions;
use crate::state::State;
use base::Name;
use broker::auth::{Entry, User};
use bytes::Bytes;
use hyper::Method;
use hyper::header;
use hyper::http::request::Parts;
use std::sync::Arc;
use std::time::Instant;

/// Who changes things over the control socket, in events.
const OPERATOR: &str = "rmq-cli";

/// The header that names a vhost where the path does not.
const VHOST_HEADER: &str = "x-vhost";

/// Paths outside the API that lead somewhere else, all below the prefix (`management.path_prefix`).
const MOVED: [(&str, &str); 8] = [
    ("/api", "/api/index.html"),
    ("/api/", "/api/index.html"),
    ("/cli", "/cli/index.html"),
    ("/cli/", "/cli/index.html"),
    ("/cli/index.html", "/api/index.html"),
    ("/mgmt", "/"),
    ("/stats", "/api/index.html"),
    ("/doc/stats.html", "/api/index.html"),
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
pub(crate) fn moved(state: &State, path: &str) -> Option<Answer> {
    let prefix = state.settings().path_prefix.as_str();
    if !prefix.is_empty() && (path == "/" || path == prefix) {
        return Some(Answer::Moved(format!("{prefix}/")));
    }
    let below = path.strip_prefix(prefix)?;
    if below == "/login" {
        return Some(Answer::SeeOther(format!("{prefix}/")));
    }
    let (_, target) = MOVED.iter().find(|(from, _)| *from == below)?;
    Some(Answer::Moved(format!("{prefix}{target}")))
}

impl Endpoint {
    /// The methods, as the header `Allow` has them.
    pub(crate) fn allow(&self) -> &'static str {
        let has = |verb| self.operation(verb).is_some();
        let verbs = [Verb::Get, Verb::Put, Verb::Post, Verb::Delete].map(has);
        match verbs {
            [true, false, false, false] => "HEAD, GET, OPTIONS",
            [true, true, false, false] => "HEAD, GET, PUT, OPTIONS",
            [true, true, false, true] => "HEAD, GET, PUT, DELETE, OPTIONS",
            [true, false, false, true] => "HEAD, GET, DELETE, OPTIONS",
            [true, false, true, false] => "HEAD, GET, POST, OPTIONS",
            [true, false, true, true] => "HEAD, GET, POST, DELETE, OPTIONS",
            [true, true, true, _] => "HEAD, GET, PUT, POST, DELETE, OPTIONS",
            [false, true, false, true] => "PUT, DELETE, OPTIONS",
            [false, false, true, true] => "POST, DELETE, OPTIONS",
            [false, true, true, _] => "PUT, POST, DELETE, OPTIONS",
            [false, false, true, false] => "POST, OPTIONS",
            [false, true, false, false] => "PUT, OPTIONS",
            [false, false, false, true] => "DELETE, OPTIONS",
            [false, false, false, false] => "OPTIONS",
        }
    }

    fn is_definitions(&self) -> bool {
        self.path.starts_with("definitions") || self.path == "all-configuration"
    }

    /// What a method of the path is.
    fn operation(&self, verb: Verb) -> Option<&'static Operation> {
        self.operations.iter().find(|own| own.verb == verb)
    }

    fn matches(&self, segments: &[&str]) -> Option<Vec<Name>> {
        let mut parameters = Vec::new();
        let mut given = segments.iter();
        for expected in self.path.split('/') {
            let given = given.next()?;
            if expected.starts_with('{') {
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
        self.endpoint.allow()
    }

    /// A name in the path that is longer than names are: what it is of, and its bytes.
    fn too_long(&self) -> Option<(&'static str, usize)> {
        let segments = self.endpoint.path.split('/');
        let kinds = segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let lengths = self.parameters.iter().map(|parameter| parameter.len());
        let mut named = kinds.zip(lengths);
        named.find(|(_, bytes)| *bytes > NAME_BYTES_MAX)
    }

    /// Finds out who asks and whether they may.
    ///
    /// # Errors
    /// The method is not there, or the user may not use it.
    pub(crate) async fn admit(
        &self,
        state: &State,
        head: &Parts,
        caller: Caller,
    ) -> Result<Option<access::Caller>, ApiError> {
        let (method, headers) = (&head.method, &head.headers);
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let operation = Verb::of(method).and_then(|verb| self.endpoint.operation(verb));
        let operation = operation.ok_or(ApiError::MethodNotAllowed)?;
        let Caller::Network(peer) = caller else {
            return Ok(Some(User::operator(OPERATOR.into()).into()));
        };
        let access = operation.access;
        let api = &state.settings().api;
        match access {
            Access::Open => return Ok(None),
            Access::Reference if !api.require_auth_for_api_reference => return Ok(None),
            Access::Reference
            | Access::Management
            | Access::Monitoring
            | Access::Policymaker
            | Access::Administrator => {}
        }
        let header = match headers.get(header::AUTHORIZATION) {
            None if headers.contains_key(sessions::HEADER) => {
                let id = sessions::id(headers).unwrap_or_default();
                Some(state.sessions.credentials(id, Instant::now())?)
            }
            // A browser that keeps definitions as a file sends no header.
            None if self.endpoint.is_definitions() => query
                .get("auth")
                .map(|pair| format!("Basic {pair}").into_bytes()),
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
        if let Some((what, bytes)) = self.too_long() {
            return Err(match head.method {
                // Compat: the line ends with the text.
                Method::PUT => ApiError::bad(format!(
                    "{what} should be less than {NAME_BYTES_MAX} bytes, actually was {bytes}\n"
                )),
                _ => ApiError::NoObject,
            });
        }
        let method = match head.method {
            Method::HEAD => Method::GET,
            ref other => other.clone(),
        };
        let vhost_wanted = head.headers.get(VHOST_HEADER);
        let vhost_wanted = vhost_wanted.and_then(|value| value.to_str().ok());
        let vhost_wanted = vhost_wanted.map(Name::from);
        let found = self.in_vhost(vhost_wanted.as_ref());
        let call = Call {
            metadata: state.node.metadata(),
            state: Arc::clone(state),
            user,
            method,
            parameters: found.parameters,
            vhost_wanted,
            query: Query::parse(head.uri.query().unwrap_or_default()),
            known_etag: head
                .headers
                .get(header::IF_NONE_MATCH)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            reason,
            session: sessions::id(&head.headers).unwrap_or_default().to_owned(),
            caller,
            body,
        };
        (found.endpoint.handler)(call).await
    }

    /// Compat: where there is the same path with a vhost at its end, the header stands for that.
    fn in_vhost(mut self, vhost: Option<&Name>) -> Self {
        let Some(vhost) = vhost.filter(|_| self.endpoint.path != "vhosts") else {
            return self;
        };
        let own = self.endpoint.path;
        let in_vhost = |path: &str| path.strip_prefix(own) == Some("/{vhost}");
        if let Some(endpoint) = ENDPOINTS.iter().find(|other| in_vhost(other.path)) {
            self.endpoint = endpoint;
            self.parameters.push(vhost.clone());
        }
        self
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
        one("queues/%2F/a%20b", "queues/{vhost}/{queue}", &["/", "a b"]);
        one("queues/%252F/q", "queues/{vhost}/{queue}", &["%2F", "q"]);
        one("queues/detailed", "queues/detailed", &[]);
        one("queues/x", "queues/{vhost}", &["x"]);
        one(
            "exchanges/v/..%2f..",
            "exchanges/{vhost}/{exchange}",
            &["v", "../.."],
        );
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
