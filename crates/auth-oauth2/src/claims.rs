//! From the claims of a token to scopes without their prefix.
//!
//! Scopes are in `scope`, in a requesting party token (UMA, as Keycloak makes them), in whatever claims `additional_scopes_key` names,
//! in `authorization_details` (RFC 9396), and behind aliases. RabbitMQ docs: oauth2.

use crate::refusal::Refusal;
use crate::scope::Pattern;
use crate::server::ResourceServer;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Most scopes of a token.
const SCOPES_MAX: usize = 2048;

/// Where a requesting party token has its scopes.
const REQUESTING_PARTY_PATH: [&str; 3] = ["authorization", "permissions", "scopes"];

/// Actions of `authorization_details` that are tags of users.
const TAGS: [&str; 4] = ["monitoring", "administrator", "management", "policymaker"];

/// All scopes that concern this resource server, once each.
pub(crate) fn scopes(
    server: &ResourceServer,
    claims: &Map<String, Value>,
) -> Result<BTreeSet<String>, Refusal> {
    let mut found = Vec::new();
    if let Some(scope) = claims.get("scope") {
        collect(server, scope, &[], &mut found);
    }
    let claims_value = |path: &[&str], found: &mut Vec<String>| {
        if let Some((first, rest)) = path.split_first()
            && let Some(value) = claims.get(*first)
        {
            collect(server, value, rest, found);
        }
    };
    claims_value(&REQUESTING_PARTY_PATH, &mut found);
    for path in &server.additional_scopes {
        let path: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
        claims_value(&path, &mut found);
    }
    if found.len() > SCOPES_MAX {
        return Err(Refusal::TooManyScopes);
    }
    let aliased = found.iter().filter_map(|scope| server.aliases.get(scope));
    let aliased: Vec<String> = aliased.flatten().cloned().collect();
    let mut scopes: BTreeSet<String> = found
        .iter()
        .chain(&aliased)
        .filter_map(|scope| scope.strip_prefix(&server.scope_prefix))
        .map(str::to_owned)
        .collect();
    if let Some(Value::Array(details)) = claims.get("authorization_details") {
        for detail in details {
            scopes.extend(detail_scopes(server, detail));
            if scopes.len() > SCOPES_MAX {
                break;
            }
        }
    }
    if scopes.len() > SCOPES_MAX {
        return Err(Refusal::TooManyScopes);
    }
    Ok(scopes)
}

/// The scopes at a path below a value: a list of them, a text with blanks between them, or an object that has them for each resource
/// server. Recursion ends with the depth of JSON, which its parser bounds.
fn collect(server: &ResourceServer, value: &Value, path: &[&str], found: &mut Vec<String>) {
    match (value, path) {
        (Value::Array(items), _) => {
            for item in items {
                collect(server, item, path, found);
            }
        }
        (Value::Object(members), [first, rest @ ..]) => {
            if let Some(member) = members.get(*first) {
                collect(server, member, rest, found);
            }
        }
        (Value::Object(members), []) => {
            let mut ours = Vec::new();
            match members.get(&server.id) {
                // Why not: any value. An object in an object of ours would be looked into without an end.
                Some(own @ (Value::String(_) | Value::Array(_))) => texts(own, &mut ours),
                _ => return,
            }
            found.extend(
                ours.into_iter()
                    .map(|scope| format!("{}.{scope}", server.id)),
            );
        }
        (Value::String(_), []) => texts(value, found),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {}
    }
}

/// The texts of a list of texts, or of a text with blanks.
fn texts(value: &Value, found: &mut Vec<String>) {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    match value {
        Value::String(text) => found.extend(words(text)),
        Value::Array(items) => {
            let items = items.iter().filter_map(Value::as_str);
            found.extend(items.map(str::to_owned));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
}

/// The scopes of one element of `authorization_details`.
fn detail_scopes(server: &ResourceServer, detail: &Value) -> Vec<String> {
    let kind = detail.get("type").and_then(Value::as_str);
    let ours = server.kind.as_deref().filter(|kind| !kind.is_empty());
    if kind.is_none() || kind != ours {
        return Vec::new();
    }
    let one_or_many = |name: &str| -> Vec<&str> {
        match detail.get(name) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    };
    let locations: Vec<String> = one_or_many("locations")
        .into_iter()
        .filter_map(|location| resource_path(server, location))
        .collect();
    if locations.is_empty() {
        return Vec::new();
    }
    let mut scopes = Vec::new();
    for action in one_or_many("actions") {
        if TAGS.contains(&action) {
            scopes.push(format!("tag:{action}"));
        } else if ["read", "write", "configure"].contains(&action) {
            scopes.extend(locations.iter().map(|path| format!("{action}:{path}")));
            if scopes.len() > SCOPES_MAX {
                break;
            }
        }
    }
    scopes
}

/// `cluster:finance/vhost:prod/queue:bills-*` as the resource of a scope, if it is about this resource server.
fn resource_path(server: &ResourceServer, location: &str) -> Option<String> {
    let attributes: BTreeMap<&str, &str> = location
        .split('/')
        .filter_map(|attribute| {
            let mut parts = attribute.split(':').filter(|part| !part.is_empty());
            Some((parts.next()?, parts.next()?))
        })
        .collect();
    let cluster = Pattern::parse(attributes.get("cluster")?, &Map::new())?;
    if !cluster.matches(&server.id, "") {
        return None;
    }
    let queue = attributes.get("queue");
    let exchange = attributes.get("exchange");
    // Both together are taken only if they say the same.
    if queue.is_some() && exchange.is_some() && queue != exchange {
        return None;
    }
    let vhost = attributes.get("vhost").unwrap_or(&"*");
    let name = queue.or(exchange).unwrap_or(&"*");
    let key = attributes.get("routing-key").unwrap_or(&"*");
    Some(format!("{vhost}/{name}/{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server() -> ResourceServer {
        let aliases = [
            ("admin", vec!["rabbitmq.tag:administrator"]),
            ("dev", vec!["rabbitmq.tag:management", "rabbitmq.read:*/*"]),
        ];
        ResourceServer {
            id: "rabbitmq".to_owned(),
            kind: Some("rabbit-kind".to_owned()),
            scope_prefix: "rabbitmq.".to_owned(),
            additional_scopes: vec!["roles".to_owned(), "realm.roles".to_owned()],
            aliases: aliases
                .into_iter()
                .map(|(alias, scopes)| {
                    let scopes = scopes.into_iter().map(str::to_owned).collect();
                    (alias.to_owned(), scopes)
                })
                .collect(),
            ..ResourceServer::default()
        }
    }

    fn found(claims: Value) -> Vec<String> {
        let scopes = scopes(&server(), claims.as_object().unwrap()).unwrap();
        scopes.into_iter().collect()
    }

    #[test]
    fn scopes_are_a_list_or_a_text() {
        let expected = ["read:a/b", "write:*/*"];
        assert_eq!(
            found(
                json!({"scope": ["rabbitmq.read:a/b", "other.read:*/*", "rabbitmq.write:*/*", 7]})
            ),
            expected
        );
        assert_eq!(
            found(
                json!({"scope": " rabbitmq.write:*/*  openid rabbitmq.read:a/b rabbitmq.read:a/b"})
            ),
            expected
        );
        for nothing in [json!({}), json!({"scope": 7}), json!({"scope": null})] {
            assert!(found(nothing).is_empty());
        }
    }

    #[test]
    fn scopes_are_in_other_claims_too() {
        for claims in [
            json!({"roles": ["rabbitmq.read:a/b"]}),
            json!({"roles": "rabbitmq.read:a/b other"}),
            json!({"roles": {"rabbitmq": ["read:a/b"], "else": ["write:a/b"]}}),
            json!({"roles": {"rabbitmq": "read:a/b"}}),
            json!({"realm": {"roles": ["rabbitmq.read:a/b"]}}),
            json!({"realm": [{"roles": "rabbitmq.read:a/b"}, {"x": 1}, 7]}),
            json!({"authorization": {"permissions": [
                {"scopes": ["rabbitmq.read:a/b"], "rsid": "1"},
                {"rsid": "2"},
            ]}}),
        ] {
            assert_eq!(found(claims.clone()), ["read:a/b"], "{claims}");
        }
        for claims in [
            json!({"roles": {"rabbitmq": {"rabbitmq": ["read:a/b"]}}}),
            json!({"realm": {"else": ["rabbitmq.read:a/b"]}}),
        ] {
            assert!(found(claims).is_empty());
        }
    }

    #[test]
    fn aliases_stand_for_scopes() {
        assert_eq!(
            found(json!({"scope": "dev", "roles": ["admin"]})),
            ["read:*/*", "tag:administrator", "tag:management"]
        );
    }

    #[test]
    fn authorization_details_are_scopes() {
        let detail = |actions: Value, locations: Value| {
            found(json!({"authorization_details": [
                {"type": "rabbit-kind", "actions": actions, "locations": locations},
                {"type": "other", "actions": ["configure"], "locations": ["cluster:*"]},
                {"actions": ["configure"], "locations": ["cluster:*"]},
            ]}))
        };
        assert_eq!(
            detail(
                json!(["read", "write"]),
                json!("cluster:rabbitmq/vhost:a/queue:q-*")
            ),
            ["read:a/q-*/*", "write:a/q-*/*"]
        );
        assert_eq!(
            detail(
                json!("write"),
                json!([
                    "cluster:rab*/exchange:e/routing-key:k",
                    "cluster:other",
                    "vhost:x"
                ])
            ),
            ["write:*/e/k"]
        );
        assert_eq!(
            detail(json!(["administrator", "root"]), json!(["cluster:*"])),
            ["tag:administrator"]
        );
        assert!(detail(json!(["read"]), json!("cluster:*/queue:a/exchange:b")).is_empty());
        assert_eq!(
            detail(json!(["read"]), json!("cluster:*/queue:a/exchange:a")),
            ["read:*/a/*"]
        );
    }

    #[test]
    fn the_number_of_scopes_has_a_bound() {
        let many = |count: usize| {
            let list: Vec<String> = (0..count).map(|i| format!("rabbitmq.read:a/{i}")).collect();
            let claims = json!({"scope": list});
            scopes(&server(), claims.as_object().unwrap()).map(|scopes| scopes.len())
        };
        assert_eq!(many(SCOPES_MAX), Ok(SCOPES_MAX));
        assert_eq!(many(SCOPES_MAX + 1), Err(Refusal::TooManyScopes));
    }
}
