//! Who a token stands for, and what it allows.

use crate::scope::{Permission, Scope};
use crate::server::ResourceServer;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Name of a user whose token has none.
const NAMELESS: &str = "unknown";

/// Who a token stands for. It is worth as much as its signature was when it was made: whoever keeps one looks at
/// [`Identity::expires`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    username: String,
    tags: Vec<String>,
    expires: Option<u64>,
    scopes: Vec<Scope>,
}

impl Identity {
    pub(crate) fn new(
        server: &ResourceServer,
        claims: &Map<String, Value>,
        scopes: &BTreeSet<String>,
        expires: Option<u64>,
    ) -> Self {
        let mut names = server.username_claims.iter();
        let name = names.find_map(|claim| claims.get(claim).and_then(Value::as_str));
        let tags = scopes.iter().filter_map(|scope| scope.strip_prefix("tag:"));
        Self {
            username: name.unwrap_or(NAMELESS).to_owned(),
            tags: tags.map(str::to_owned).collect(),
            expires,
            scopes: scopes
                .iter()
                .filter_map(|scope| Scope::parse(scope, claims))
                .collect(),
        }
    }

    /// The user's name, from the first of the preferred claims that the token has.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The user's tags, sorted. They are the issuer's words and need not be tags that this node knows.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// When the token ends, in seconds since 1970; `None` if never.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// Whether the token has ended.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether the user may open a vhost: any permission in it is enough.
    pub fn may_access_vhost(&self, vhost: &str) -> bool {
        self.scopes.iter().any(|scope| scope.is_of_vhost(vhost))
    }

    /// Whether the user has a permission on a queue or an exchange; the default exchange is `amq.default`.
    pub fn may(&self, vhost: &str, name: &str, permission: Permission) -> bool {
        self.having(permission)
            .any(|scope| scope.allows(vhost, name))
    }

    /// Whether the user may publish (write) or bind (read) with a routing key on a topic exchange.
    pub fn may_topic(
        &self,
        vhost: &str,
        exchange: &str,
        permission: Permission,
        routing_key: &str,
    ) -> bool {
        self.having(permission)
            .any(|scope| scope.allows_key(vhost, exchange, routing_key))
    }

    fn having(&self, permission: Permission) -> impl Iterator<Item = &Scope> {
        self.scopes
            .iter()
            .filter(move |scope| scope.permission == permission)
    }
}
