//! Resource servers: whom tokens are meant for, and what follows from it.
//!
//! A node is one, or several (`resource_servers`), which take what they do not say themselves from the one without a number.

use crate::refusal::{AudienceProblem, Refusal};
use crate::settings::{ServerSettings, Settings, SetupError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Claims that a user's name is taken from unless the settings name others.
const USERNAME_CLAIMS: [&str; 2] = ["sub", "client_id"];

/// Whom tokens are meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceServer {
    pub(crate) id: String,
    /// `resource_server_type`, which `authorization_details` name.
    pub(crate) kind: Option<String>,
    pub(crate) verifies_audience: bool,
    pub(crate) requires_expiry: bool,
    /// What scopes begin with; may be empty.
    pub(crate) scope_prefix: String,
    /// Paths of further claims with scopes.
    pub(crate) additional_scopes: Vec<String>,
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    /// In order; the first that the token has is the name.
    pub(crate) username_claims: Vec<String>,
    /// Who issues the tokens; `None` for the one without a name.
    pub(crate) provider: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct ResourceServers(Vec<ResourceServer>);

impl ResourceServers {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let root = &settings.server;
        let mut servers: Vec<ResourceServer> = Vec::new();
        if let Some(id) = root.id.as_deref().filter(|id| !id.is_empty()) {
            servers.push(resource_server(id, root, root, settings)?);
        }
        for (name, own) in &settings.resource_servers {
            let id = own.id.as_deref().unwrap_or(name);
            if servers.iter().any(|known| known.id == id) {
                return Err(SetupError::new(format!(
                    "auth_oauth2.resource_servers.{name}: there is another resource server with the id {id}"
                )));
            }
            servers.push(resource_server(id, own, root, settings)?);
        }
        if servers.is_empty() {
            return Err(SetupError::new(
                "the OAuth 2 backend needs auth_oauth2.resource_server_id or auth_oauth2.resource_servers",
            ));
        }
        Ok(Self(servers))
    }

    /// The providers that are needed.
    pub(crate) fn providers(&self) -> BTreeSet<Option<&str>> {
        self.0
            .iter()
            .map(|server| server.provider.as_deref())
            .collect()
    }

    /// The one that a token with this `aud` is meant for.
    pub(crate) fn choose(&self, audience: Option<&Value>) -> Result<&ResourceServer, Refusal> {
        let named = match audience {
            None => return self.without_audience(false),
            Some(Value::String(text)) => text.split(' ').collect::<BTreeSet<_>>(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                BTreeSet::new()
            }
        };
        let mut matching = self.0.iter().filter(|server| named.contains(&*server.id));
        match (matching.next(), matching.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(Refusal::Audience(AudienceProblem::ManyMatch)),
            (None, _) => self.without_audience(true),
        }
    }

    /// The only one that does not ask whom a token is meant for.
    fn without_audience(&self, has_audience: bool) -> Result<&ResourceServer, Refusal> {
        let mut open = self.0.iter().filter(|server| !server.verifies_audience);
        let problem = match (open.next(), open.next()) {
            (Some(one), None) => return Ok(one),
            (None, _) if has_audience => AudienceProblem::NoMatch,
            (None, _) => AudienceProblem::None,
            (Some(_), Some(_)) if has_audience => AudienceProblem::NoMatchForMany,
            (Some(_), Some(_)) => AudienceProblem::NoneForMany,
        };
        Err(Refusal::Audience(problem))
    }
}

fn resource_server(
    id: &str,
    own: &ServerSettings,
    root: &ServerSettings,
    settings: &Settings,
) -> Result<ResourceServer, SetupError> {
    let prefix = own.scope_prefix.as_ref().or(root.scope_prefix.as_ref());
    let additional = own
        .additional_scopes_key
        .as_ref()
        .or(root.additional_scopes_key.as_ref());
    let additional = additional.map_or("", String::as_str).split(' ');
    let claims = [own, root]
        .into_iter()
        .map(|server| &server.preferred_username_claims)
        .find(|claims| !claims.is_empty());
    let aliases = if own.has_aliases() { own } else { root };
    let provider = own
        .oauth_provider_id
        .as_ref()
        .or(settings.default_oauth_provider.as_ref());
    Ok(ResourceServer {
        id: id.to_owned(),
        kind: own
            .resource_server_type
            .clone()
            .or_else(|| root.resource_server_type.clone()),
        verifies_audience: own.verify_aud.or(root.verify_aud).unwrap_or(true),
        requires_expiry: own.require_exp.or(root.require_exp).unwrap_or(true),
        scope_prefix: prefix.cloned().unwrap_or_else(|| format!("{id}.")),
        additional_scopes: additional
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect(),
        aliases: aliases.aliases()?,
        username_claims: match claims {
            Some(claims) => claims.values().cloned().collect(),
            None => USERNAME_CLAIMS.map(str::to_owned).to_vec(),
        },
        provider: provider.cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn servers(lines: &[(&str, &str)]) -> ResourceServers {
        let mut settings = Settings::default();
        for (key, value) in lines {
            let parts: Vec<&str> = key.split('.').collect();
            settings.set(&parts, value).unwrap();
        }
        ResourceServers::new(&settings).unwrap()
    }

    fn chosen(servers: &ResourceServers, audience: Value) -> Result<&str, AudienceProblem> {
        let audience = Some(&audience).filter(|audience| !audience.is_null());
        match servers.choose(audience) {
            Ok(server) => Ok(&server.id),
            Err(Refusal::Audience(problem)) => Err(problem),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_audience_says_which_server_is_meant() {
        let one = servers(&[("resource_server_id", "rabbitmq")]);
        for audience in [
            json!("rabbitmq"),
            json!("a rabbitmq"),
            json!(["b", "rabbitmq"]),
        ] {
            assert_eq!(chosen(&one, audience), Ok("rabbitmq"));
        }
        for audience in [json!("rabbit"), json!([]), json!(7), json!({"rabbitmq": 1})] {
            assert_eq!(chosen(&one, audience), Err(AudienceProblem::NoMatch));
        }
        assert_eq!(chosen(&one, json!(null)), Err(AudienceProblem::None));

        let two = servers(&[
            ("resource_servers.prod.scope_prefix", "p:"),
            ("resource_servers.1.id", "dev"),
        ]);
        assert_eq!(chosen(&two, json!("prod")), Ok("prod"));
        assert_eq!(chosen(&two, json!("dev")), Ok("dev"));
        assert_eq!(chosen(&two, json!("1")), Err(AudienceProblem::NoMatch));
        assert_eq!(
            chosen(&two, json!(["prod", "dev"])),
            Err(AudienceProblem::ManyMatch)
        );
    }

    #[test]
    fn a_server_that_does_not_ask_takes_all() {
        let one = servers(&[("resource_server_id", "rabbitmq"), ("verify_aud", "false")]);
        assert_eq!(chosen(&one, json!("other")), Ok("rabbitmq"));
        assert_eq!(chosen(&one, json!(null)), Ok("rabbitmq"));
        let two = servers(&[
            ("verify_aud", "false"),
            ("resource_servers.a.id", "a"),
            ("resource_servers.b.id", "b"),
        ]);
        assert_eq!(chosen(&two, json!("a")), Ok("a"));
        assert_eq!(
            chosen(&two, json!("other")),
            Err(AudienceProblem::NoMatchForMany)
        );
        assert_eq!(chosen(&two, json!(null)), Err(AudienceProblem::NoneForMany));
    }

    #[test]
    fn what_a_server_does_not_say_the_root_says() {
        let ResourceServers(all) = servers(&[
            ("resource_server_id", "root"),
            ("resource_server_type", "t"),
            ("additional_scopes_key", "roles  realm.roles"),
            ("preferred_username_claims.2", "email"),
            ("preferred_username_claims.1", "user_name"),
            ("scope_aliases.admin", "x.tag:administrator x.read:*/*"),
            ("default_oauth_provider", "keycloak"),
            ("resource_servers.a.scope_prefix", ""),
            ("resource_servers.a.oauth_provider_id", "uaa"),
            ("resource_servers.a.preferred_username_claims.1", "sub"),
            ("resource_servers.a.scope_aliases.1.alias", "dev"),
            ("resource_servers.a.scope_aliases.1.scope", "read:*/*"),
            ("resource_servers.b.verify_aud", "false"),
        ]);
        let [root, a, b] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!((&*root.scope_prefix, &*a.scope_prefix), ("root.", ""));
        assert_eq!(&*b.scope_prefix, "b.");
        assert_eq!(a.kind.as_deref(), Some("t"));
        assert_eq!(a.additional_scopes, ["roles", "realm.roles"]);
        assert_eq!(b.username_claims, ["user_name", "email"]);
        assert_eq!(a.username_claims, ["sub"]);
        assert_eq!(b.aliases["admin"], ["x.tag:administrator", "x.read:*/*"]);
        assert_eq!(a.aliases.len(), 1);
        assert_eq!(a.aliases["dev"], ["read:*/*"]);
        assert_eq!(a.provider.as_deref(), Some("uaa"));
        assert_eq!(b.provider.as_deref(), Some("keycloak"));
        assert!(a.verifies_audience && !b.verifies_audience && a.requires_expiry);
    }

    #[test]
    fn settings_that_do_not_fit_together_are_told() {
        let problem = |lines: &[(&str, &str)]| {
            let mut settings = Settings::default();
            for (key, value) in lines {
                let parts: Vec<&str> = key.split('.').collect();
                settings.set(&parts, value).unwrap();
            }
            ResourceServers::new(&settings).unwrap_err().to_string()
        };
        assert!(problem(&[]).contains("resource_server_id"));
        assert!(
            problem(&[("resource_server_id", "a"), ("resource_servers.1.id", "a")])
                .contains("another resource server with the id a")
        );
        assert!(
            problem(&[("resource_server_id", "a"), ("scope_aliases.1.alias", "x")])
                .contains("scope_aliases.1.scope")
        );
    }
}
