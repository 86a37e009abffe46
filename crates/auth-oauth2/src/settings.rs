//! `auth_oauth2.…`, as `rabbitmq.conf` names it.
//!
//! Plain data. What a file holds, and whether all fits together, is only looked at by [`crate::OAuth2::new`].

use crate::key::Algorithm;
use http_client::Url;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;
use transport::ClientTlsSettings;

/// Where an issuer describes itself unless the settings say otherwise (OpenID Connect Discovery).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Why the backend cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SetupError(String);

impl SetupError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Elements by the operator's names for them, numbers in their order first.
pub(crate) type Numbered<T> = BTreeMap<(u64, String), T>;

/// Everything below `auth_oauth2`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The resource server without a number, from which others take what they do not say.
    pub server: ServerSettings,
    /// `resource_servers`.
    pub resource_servers: BTreeMap<String, ServerSettings>,
    /// The provider without a name.
    pub provider: ProviderSettings,
    /// `oauth_providers`.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// Which of them resource servers have that name none; `None` for the one without a name.
    pub default_oauth_provider: Option<String>,
}

/// A resource server. What is `None` or empty is not set.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are RabbitMQ's")]
pub struct ServerSettings {
    pub id: Option<String>,
    pub resource_server_type: Option<String>,
    pub scope_prefix: Option<String>,
    pub additional_scopes_key: Option<String>,
    pub verify_aud: Option<bool>,
    pub require_exp: Option<bool>,
    pub oauth_provider_id: Option<String>,
    pub preferred_username_claims: Numbered<String>,
    /// `scope_aliases.NAME = SCOPES`.
    pub named_aliases: BTreeMap<String, String>,
    /// `scope_aliases.N.alias`, `scope_aliases.N.scope`.
    pub numbered_aliases: BTreeMap<String, (Option<String>, Option<String>)>,
}

/// Who issues tokens.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are RabbitMQ's")]
pub struct ProviderSettings {
    pub issuer: Option<Url>,
    pub jwks_uri: Option<Url>,
    /// The older name of `jwks_uri`.
    pub jwks_url: Option<Url>,
    pub discovery_endpoint_path: Option<String>,
    pub discovery_endpoint_params: BTreeMap<String, String>,
    /// All that fit a key if empty.
    pub algorithms: Numbered<Algorithm>,
    pub default_key: Option<String>,
    pub signing_keys: BTreeMap<String, SigningKey>,
    pub https: ClientTlsSettings,
    pub authorization_endpoint: Option<Url>,
    pub token_endpoint: Option<Url>,
    pub end_session_endpoint: Option<Url>,
}

/// A key that is not fetched.
#[derive(Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// A file in PEM.
    File(PathBuf),
    /// PEM.
    Pem(String),
    /// A JSON web key.
    Jwk(serde_json::Value),
}

impl SigningKey {
    /// Reads the path of a file; `advanced.config` also has keys in PEM and in JSON.
    fn parse(value: &str) -> Result<Self, String> {
        let value = value.strip_prefix("plain:").unwrap_or(value);
        if value.trim_start().starts_with("-----BEGIN ") {
            Ok(Self::Pem(value.to_owned()))
        } else if value.trim_start().starts_with('{') {
            let jwk = serde_json::from_str(value).map_err(|_| "a JSON web key")?;
            Ok(Self::Jwk(jwk))
        } else {
            Ok(Self::File(value.into()))
        }
    }
}

/// Never with what is in it: it may be a shared secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Pem(_) => f.write_str("Pem(…)"),
            Self::Jwk(_) => f.write_str("Jwk(…)"),
        }
    }
}

impl Settings {
    /// Sets what a key of `rabbitmq.conf` names; `key` are its parts behind `auth_oauth2.`.
    ///
    /// # Errors
    /// What was expected.
    pub fn set(&mut self, key: &[&str], value: &str) -> Result<(), String> {
        match key {
            ["resource_server_id"] => self.server.id = Some(value.to_owned()),
            ["default_oauth_provider"] => self.default_oauth_provider = Some(value.to_owned()),
            ["resource_servers", name, "verify_aud"] => {
                self.resource_server(name).verify_aud = Some(boolean(value)?);
            }
            ["resource_servers", name, rest @ ..] => self.resource_server(name).set(rest, value)?,
            ["oauth_providers", name, rest @ ..] => {
                let provider = self.providers.entry((*name).to_owned()).or_default();
                provider.set(rest, value)?;
            }
            [first, ..] if ServerSettings::KEYS.contains(first) => self.server.set(key, value)?,
            _ => self.provider.set(key, value)?,
        }
        Ok(())
    }

    /// Every resource server by its id, with who issues tokens for it.
    pub fn servers(&self) -> BTreeMap<String, &ProviderSettings> {
        let named = self.resource_servers.iter().map(|(name, server)| {
            let id = server.id.as_ref().unwrap_or(name);
            (id.clone(), self.provider_of(server))
        });
        let own = self.server.id.iter();
        let own = own.map(|id| (id.clone(), self.provider_of(&self.server)));
        named.chain(own).collect()
    }

    fn provider_of(&self, server: &ServerSettings) -> &ProviderSettings {
        let id = server.oauth_provider_id.as_ref();
        let id = id.or(self.default_oauth_provider.as_ref());
        id.and_then(|id| self.providers.get(id))
            .unwrap_or(&self.provider)
    }

    fn resource_server(&mut self, name: &str) -> &mut ServerSettings {
        self.resource_servers.entry(name.to_owned()).or_default()
    }
}

impl ServerSettings {
    const KEYS: [&str; 7] = [
        "resource_server_type",
        "scope_prefix",
        "additional_scopes_key",
        "verify_aud",
        "require_exp",
        "preferred_username_claims",
        "scope_aliases",
    ];

    fn set(&mut self, key: &[&str], value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned());
        match key {
            ["id"] => self.id = text(),
            ["resource_server_type"] => self.resource_server_type = text(),
            ["scope_prefix"] => self.scope_prefix = text(),
            ["additional_scopes_key"] => self.additional_scopes_key = text(),
            ["oauth_provider_id"] => self.oauth_provider_id = text(),
            ["verify_aud"] => self.verify_aud = Some(boolean(value)?),
            ["require_exp"] => self.require_exp = Some(boolean(value)?),
            ["preferred_username_claims", number] => {
                let claims = &mut self.preferred_username_claims;
                claims.insert(numbered(number), value.to_owned());
            }
            ["scope_aliases", alias] => {
                let aliases = &mut self.named_aliases;
                aliases.insert((*alias).to_owned(), value.to_owned());
            }
            ["scope_aliases", number, part @ ("alias" | "scope")] => {
                let aliases = &mut self.numbered_aliases;
                let (alias, scope) = aliases.entry((*number).to_owned()).or_default();
                *(if *part == "alias" { alias } else { scope }) = text();
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    pub(crate) fn has_aliases(&self) -> bool {
        !(self.named_aliases.is_empty() && self.numbered_aliases.is_empty())
    }

    /// Scopes by alias.
    pub(crate) fn aliases(&self) -> Result<BTreeMap<String, Vec<String>>, SetupError> {
        let scopes = |text: &str| -> Vec<String> {
            let scopes = text.split(' ').filter(|scope| !scope.is_empty());
            scopes.map(str::to_owned).collect()
        };
        let named = self.named_aliases.iter();
        let mut aliases: BTreeMap<_, _> = named
            .map(|(alias, text)| (alias.clone(), scopes(text)))
            .collect();
        for (number, pair) in &self.numbered_aliases {
            let missing = |part| {
                SetupError::new(format!(
                    "auth_oauth2: scope_aliases.{number}.{part} is missing"
                ))
            };
            let (alias, text) = pair;
            let alias = alias.as_ref().ok_or_else(|| missing("alias"))?;
            let text = text.as_ref().ok_or_else(|| missing("scope"))?;
            aliases.insert(alias.clone(), scopes(text));
        }
        Ok(aliases)
    }
}

impl ProviderSettings {
    fn set(&mut self, key: &[&str], value: &str) -> Result<(), String> {
        match key {
            ["issuer"] => self.issuer = Some(https(value)?),
            ["jwks_uri"] => self.jwks_uri = Some(https(value)?),
            ["jwks_url"] => self.jwks_url = Some(https(value)?),
            ["discovery_endpoint_path"] => {
                self.discovery_endpoint_path = Some(value.to_owned());
            }
            ["discovery_endpoint_params", name] => {
                let params = &mut self.discovery_endpoint_params;
                params.insert((*name).to_owned(), value.to_owned());
            }
            ["algorithms", number] => {
                self.algorithms.insert(numbered(number), value.parse()?);
            }
            ["default_key"] => self.default_key = Some(value.to_owned()),
            ["signing_keys", id] => {
                let key = SigningKey::parse(value)?;
                self.signing_keys.insert((*id).to_owned(), key);
            }
            ["https", option] => self.https.set(option, value)?,
            ["authorization_endpoint"] => self.authorization_endpoint = Some(https(value)?),
            ["token_endpoint"] => self.token_endpoint = Some(https(value)?),
            ["end_session_endpoint"] => self.end_session_endpoint = Some(https(value)?),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Where the issuer describes itself.
    pub(crate) fn discovery(&self) -> Option<Result<Url, SetupError>> {
        let issuer = self.issuer.as_ref()?;
        let (base, query) = match issuer.target().split_once('?') {
            Some((path, query)) => (path, vec![query.to_owned()]),
            None => (issuer.target(), Vec::new()),
        };
        let path = self.discovery_endpoint_path.as_deref();
        let path = path.unwrap_or(DISCOVERY_PATH);
        let params = self.discovery_endpoint_params.iter();
        let params = params.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let query: Vec<String> = query.into_iter().chain(params).collect();
        let mut target = format!(
            "{}/{}",
            base.trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let url = issuer.with_target(&target);
        // What the path holds was not looked at before.
        Some(url.to_string().parse().map_err(|expected| {
            SetupError::new(format!(
                "auth_oauth2: discovery_endpoint_path {path:?}: expected {expected}"
            ))
        }))
    }
}

/// A name or value of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn numbered(name: &str) -> (u64, String) {
    (name.parse().unwrap_or(u64::MAX), name.to_owned())
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "true or false".to_owned())
}

fn https(value: &str) -> Result<Url, String> {
    let url: Url = value.parse()?;
    if url.is_https() {
        Ok(url)
    } else {
        Err("an address that begins with https://".to_owned())
    }
}

fn unknown() -> String {
    "no value: there is no such setting".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(lines: &[(&str, &str)]) -> ProviderSettings {
        let mut settings = Settings::default();
        for (key, value) in lines {
            let parts: Vec<&str> = key.split('.').collect();
            settings.set(&parts, value).unwrap();
        }
        settings.provider
    }

    #[test]
    fn an_issuer_describes_itself_at_a_path_below_its_own() {
        let discovery = |lines: &[(&str, &str)]| {
            let url = provider(lines).discovery().unwrap().unwrap();
            url.to_string()
        };
        assert_eq!(
            discovery(&[("issuer", "https://idp")]),
            "https://idp/.well-known/openid-configuration"
        );
        assert_eq!(
            discovery(&[
                ("issuer", "https://idp:8443/realms/test/"),
                ("discovery_endpoint_path", "some/path"),
                ("discovery_endpoint_params.appid", "a b&c"),
                ("discovery_endpoint_params.x", "1"),
            ]),
            "https://idp:8443/realms/test/some/path?appid=a%20b%26c&x=1"
        );
    }

    #[test]
    fn values_are_taken_or_refused_and_never_ignored() {
        let mut settings = Settings::default();
        for (key, value) in [
            ("issuer", "http://idp"),
            ("jwks_uri", "ftp://idp"),
            ("oauth_providers.k.jwks_uri", "idp"),
            ("algorithms.1", "none"),
            ("algorithms.1", "ES512"),
            ("verify_aud", "yes"),
            ("https.verify", "maybe"),
            ("https.crl_check", "peer"),
            ("surprise", "1"),
            ("resource_servers.a.surprise", "1"),
            ("oauth_providers.a.surprise", "1"),
        ] {
            let parts: Vec<&str> = key.split('.').collect();
            assert!(settings.set(&parts, value).is_err(), "{key} = {value}");
        }
    }

    #[test]
    fn a_secret_does_not_show() {
        let mut provider = ProviderSettings::default();
        let jwk = SigningKey::Jwk(serde_json::json!({"kty": "oct", "k": "canary"}));
        provider.signing_keys.insert("a".to_owned(), jwk);
        assert!(!format!("{provider:?}").contains("canary"));
    }
}
