//! Logins with tokens of OAuth 2: who a signed JWT stands for, and what it may do.
//!
//! [`OAuth2::verify`] decides, without I/O, by the keys that are known; [`OAuth2::authenticate`] also fetches keys of an issuer when a
//! token is signed with one that is not known yet ([`provider`]). What comes out is an [`Identity`], which answers for one token what
//! the scopes in it allow.
//! [`LoginProvider`] is what a web page needs to get a token.
//! It issues no tokens, remembers none, keeps no connections, and does not know what a login is for.
//!
//! RabbitMQ docs: oauth2. Suggested reading order: [`Settings`], `token`, `claims`, `scope`, `provider`.

mod claims;
mod identity;
mod key;
mod login;
pub mod provider;
mod refusal;
mod scope;
mod server;
mod settings;
mod token;

pub use identity::Identity;
pub use key::Algorithm;
pub use login::{Endpoints, LoginProvider, TokenAnswer};
pub use refusal::{AudienceProblem, Refusal};
pub use scope::Permission;
pub use settings::{ProviderSettings, ServerSettings, Settings, SetupError, SigningKey};

use provider::Provider;
use serde_json::{Map, Value};
use server::ResourceServers;
use std::collections::BTreeMap;
use token::Token;

/// Seconds that the clock of whoever has issued a token may be ahead of ours (`nbf`).
const CLOCK_SKEW_S: u64 = 60;

/// Judges tokens.
#[derive(Debug)]
pub struct OAuth2 {
    servers: ResourceServers,
    /// `None` is the one without a name.
    providers: BTreeMap<Option<String>, Provider>,
}

impl OAuth2 {
    /// Reads the files that the settings name. Nothing is fetched yet.
    ///
    /// # Errors
    /// The settings do not fit together, or a file is missing or wrong.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let servers = ResourceServers::new(settings)?;
        let mut providers = BTreeMap::new();
        for id in servers.providers() {
            let provider = match id {
                None => &settings.provider,
                Some(name) => settings.providers.get(name).ok_or_else(|| {
                    SetupError::new(format!(
                        "auth_oauth2.oauth_providers.{name} is missing, and a resource server needs it"
                    ))
                })?,
            };
            providers.insert(id.map(str::to_owned), Provider::new(id, provider)?);
        }
        Ok(Self { servers, providers })
    }

    /// Decides about a token by the keys that are known. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Why the token is not taken. After [`Refusal::UnknownKey`] it may be taken when keys have been fetched.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, Refusal> {
        let token = Token::parse(token)?;
        let server = self.servers.choose(token.claims.get("aud"))?;
        let provider = self.provider(server.provider.as_deref());
        provider.verify(&token)?;
        let expires = expiry(&token.claims, server.requires_expiry, now)?;
        if let Some(begins) = seconds(token.claims.get("nbf"))
            && begins > now.saturating_add(CLOCK_SKEW_S)
        {
            return Err(Refusal::NotYetValid { begins, now });
        }
        let scopes = claims::scopes(server, &token.claims)?;
        Ok(Identity::new(server, &token.claims, &scopes, expires))
    }

    /// As [`OAuth2::verify`], but fetches the issuer's keys if the token's is not known, and if they were fetched long ago.
    ///
    /// # Errors
    /// Why the token is not taken.
    pub async fn authenticate(&self, token: &str, now: u64) -> Result<Identity, Refusal> {
        if let Ok(parsed) = Token::parse(token)
            && let Ok(server) = self.servers.choose(parsed.claims.get("aud"))
        {
            let provider = self.provider(server.provider.as_deref());
            provider.refresh_for(&parsed).await?;
        }
        self.verify(token, now)
    }

    /// As [`OAuth2::authenticate`], for a token that takes the place of another one of the same user.
    ///
    /// # Errors
    /// Why the token is not taken; [`Refusal::OtherUser`] if it is somebody else's.
    pub async fn renew(
        &self,
        current: &Identity,
        token: &str,
        now: u64,
    ) -> Result<Identity, Refusal> {
        let renewed = self.authenticate(token, now).await?;
        if renewed.username() == current.username() {
            Ok(renewed)
        } else {
            Err(Refusal::OtherUser)
        }
    }

    fn provider(&self, id: Option<&str>) -> &Provider {
        self.providers
            .iter()
            .find_map(|(known, provider)| (known.as_deref() == id).then_some(provider))
            .expect("all providers of resource servers were made with them")
    }
}

/// When the token ends, if it does.
fn expiry(claims: &Map<String, Value>, required: bool, now: u64) -> Result<Option<u64>, Refusal> {
    match claims.get("exp") {
        None if required => Err(Refusal::NoExpiry),
        None => Ok(None),
        Some(value) => {
            let expires = seconds(Some(value)).ok_or(Refusal::BadExpiry)?;
            if expires > now {
                Ok(Some(expires))
            } else {
                Err(Refusal::Expired { expires, now })
            }
        }
    }
}

/// A time, which may have a fraction. What was before 1970 is 1970.
fn seconds(value: Option<&Value>) -> Option<u64> {
    let number = value?;
    number
        .as_u64()
        .or_else(|| number.as_f64().map(|number| number as u64))
}
