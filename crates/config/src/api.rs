//! What the HTTP API is told beyond where it listens: headers of its answers, how users log in, what it refuses.

use super::Secret;
use http_client::Url;
use std::collections::BTreeMap;

/// Settings of the HTTP API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiSettings {
    /// Headers that every answer has, by their names in lower case (`management.csp.policy`, `.hsts.policy`, `.headers.…`).
    pub response_headers: BTreeMap<&'static str, String>,
    /// Answers do not say which methods a path has.
    pub hide_allow_header: bool,
    /// Files of definitions that come in a form must be called `….json`.
    pub require_json_extension: bool,
    /// Nobody gets in with a name and a password.
    pub disable_basic_auth: bool,
    /// Logins are answered with a token that stands for name and password, and not with these.
    pub login_tokens: bool,
    /// How long a login or a session lasts, in minutes; `None` for RabbitMQ's eight hours.
    pub login_session_timeout_min: Option<u32>,
    /// The description of the API is for users only.
    pub require_auth_for_api_reference: bool,
    /// Members of quorum queues may not be changed over HTTP.
    pub quorum_replica_operations_disabled: bool,
    /// Logins to the web UI with OAuth 2.
    pub oauth: OAuthLogin,
}

/// `management.oauth_…`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OAuthLogin {
    /// Whether there are such logins.
    pub enabled: bool,
    /// The web UI asks for no name and password; `None` is yes.
    pub disable_basic_auth: Option<bool>,
    /// What holds for resource servers that do not say it themselves.
    pub common: OAuthResource,
    /// By their names in the configuration.
    pub resource_servers: BTreeMap<String, OAuthResource>,
}

/// How users of a resource server log in. What is `None` is not set.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are RabbitMQ's")]
pub struct OAuthResource {
    pub id: Option<String>,
    pub label: Option<String>,
    pub disabled: bool,
    pub provider_url: Option<Url>,
    pub metadata_url: Option<Url>,
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    pub response_type: Option<String>,
    pub scopes: Option<String>,
    pub initiated_logon_type: Option<LogonType>,
    pub authorization_endpoint_params: BTreeMap<String, String>,
    pub token_endpoint_params: BTreeMap<String, String>,
}

/// Who begins a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogonType {
    /// The web UI sends users to the provider.
    #[default]
    SpInitiated,
    /// Users come from the provider with a token.
    IdpInitiated,
}

impl LogonType {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpInitiated => "sp_initiated",
            Self::IdpInitiated => "idp_initiated",
        }
    }
}

/// The response type of the authorization code flow, the only one that there is.
const CODE: &str = "code";

impl ApiSettings {
    /// Sets what a key of `rabbitmq.conf` names; `key` are its parts behind `management.`.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn set(&mut self, key: &[&str], value: &str) -> Result<(), String> {
        let header = match key {
            ["csp", "policy"] => Some("content-security-policy"),
            ["hsts", "policy"] => Some("strict-transport-security"),
            ["headers", "content_type_options"] => Some("x-content-type-options"),
            ["headers", "xss_protection"] => Some("x-xss-protection"),
            ["headers", "frame_options"] => Some("x-frame-options"),
            ["headers", "referrer_policy"] => Some("referrer-policy"),
            _ => None,
        };
        if let Some(header) = header {
            let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if !is_plain {
                return Err("printable ASCII".to_owned());
            }
            self.response_headers.insert(header, value.to_owned());
            return Ok(());
        }
        match key {
            ["http", "hide_allow_header"] => self.hide_allow_header = boolean(value)?,
            ["definitions", "require_json_extension"] => {
                self.require_json_extension = boolean(value)?;
            }
            ["disable_basic_auth"] => self.disable_basic_auth = boolean(value)?,
            ["credential_encryption_secret"] => self.login_tokens = !value.is_empty(),
            ["login_session_timeout"] => {
                let minutes = value.parse().ok().filter(|minutes| *minutes > 0);
                let minutes = minutes.ok_or_else(|| "minutes, 1 or more".to_owned())?;
                self.login_session_timeout_min = Some(minutes);
            }
            ["require_auth_for_api_reference"] => {
                self.require_auth_for_api_reference = boolean(value)?;
            }
            [
                "restrictions",
                "quorum_queue_replica_operations",
                "disabled",
            ] => {
                self.quorum_replica_operations_disabled = boolean(value)?;
            }
            ["oauth_enabled"] => self.oauth.enabled = boolean(value)?,
            ["oauth_disable_basic_auth"] => self.oauth.disable_basic_auth = Some(boolean(value)?),
            ["oauth_resource_servers", name, rest @ ..] => {
                let servers = &mut self.oauth.resource_servers;
                servers
                    .entry((*name).to_owned())
                    .or_default()
                    .set(rest, value)?;
            }
            _ => self.oauth.common.set(key, value)?,
        }
        Ok(())
    }
}

impl OAuthResource {
    fn set(&mut self, key: &[&str], value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned());
        match key {
            ["id"] => self.id = text(),
            ["label"] => self.label = text(),
            ["disabled"] => self.disabled = boolean(value)?,
            ["oauth_provider_url"] => self.provider_url = Some(value.parse()?),
            ["oauth_metadata_url"] => self.metadata_url = Some(value.parse()?),
            ["oauth_client_id"] => self.client_id = text(),
            ["oauth_client_secret"] => self.client_secret = Some(Secret::from(value)),
            ["oauth_response_type"] if value == CODE => self.response_type = text(),
            ["oauth_response_type"] => return Err(format!("{CODE}, the only flow that there is")),
            ["oauth_scopes"] => self.scopes = text(),
            ["oauth_initiated_logon_type"] => {
                self.initiated_logon_type = Some(match value {
                    "idp_initiated" => LogonType::IdpInitiated,
                    _ => LogonType::SpInitiated,
                });
            }
            ["oauth_authorization_endpoint_params", name] => {
                let params = &mut self.authorization_endpoint_params;
                params.insert((*name).to_owned(), value.to_owned());
            }
            ["oauth_token_endpoint_params", name] => {
                let params = &mut self.token_endpoint_params;
                params.insert((*name).to_owned(), value.to_owned());
            }
            _ => return Err("no value: there is no such setting".to_owned()),
        }
        Ok(())
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "true or false".to_owned())
}
