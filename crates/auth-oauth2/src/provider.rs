//! Who issues tokens: the keys that were configured, and those that are fetched.
//!
//! An issuer's keys are fetched when a token comes that is signed with another one, at most once in [`FETCH_INTERVAL`], and again when they
//! are older than [`KEYS_AGE_MAX`], so that a key which the issuer has withdrawn does not stay. What cannot be fetched leaves what is
//! there. Everything else reads a snapshot.

use crate::key::{Algorithm, Key};
use crate::refusal::Refusal;
use crate::settings::{ProviderSettings, SetupError, SigningKey};
use crate::token::Token;
use arc_swap::ArcSwap;
use http_client::{Client, Limits, StatusCode, Url};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use transport::ClientTls;

/// The least time between two fetches, whether or not the first one succeeds.
pub const FETCH_INTERVAL: Duration = Duration::from_secs(5);
/// How old keys may be.
pub const KEYS_AGE_MAX: Duration = Duration::from_secs(15 * 60);
/// How long a fetch may take, of which two may be necessary.
const FETCH_LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    answer_bytes_max: 1 << 20,
};
/// Most keys of an issuer that are kept.
const KEYS_MAX: usize = 1024;
/// Largest file with a key.
const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

/// Keys by their ids; a key without one is that of tokens without one.
type Keys = HashMap<Option<String>, Result<Key, &'static str>>;

/// Who issues tokens.
#[derive(Debug)]
pub(crate) struct Provider {
    /// For messages.
    name: String,
    /// All that fit a key if `None`.
    algorithms: Option<Vec<Algorithm>>,
    default_key: Option<String>,
    configured: Keys,
    fetched: ArcSwap<Fetched>,
    source: Option<Source>,
    last_fetch: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Fetched {
    keys: Keys,
    at: Option<Instant>,
}

/// Where keys come from.
#[derive(Debug)]
struct Source {
    client: Client,
    location: Location,
}

#[derive(Debug)]
enum Location {
    Keys(Url),
    /// A document that says where the keys are.
    Discovery(Url),
}

impl Provider {
    pub(crate) fn new(id: Option<&str>, settings: &ProviderSettings) -> Result<Self, SetupError> {
        let name = match id {
            Some(id) => format!("auth_oauth2.oauth_providers.{id}"),
            None => "auth_oauth2".to_owned(),
        };
        let location = match settings.jwks_uri.as_ref().or(settings.jwks_url.as_ref()) {
            Some(url) => Some(Location::Keys(url.clone())),
            None => settings.discovery().transpose()?.map(Location::Discovery),
        };
        let source = match location {
            None => None,
            Some(location) => {
                let tls = ClientTls::new(&settings.https)
                    .map_err(|error| SetupError::new(format!("{name}.https: {error}")))?;
                let client = Client::new(Some(tls), FETCH_LIMITS);
                Some(Source { client, location })
            }
        };
        let mut configured = Keys::new();
        for (id, key) in &settings.signing_keys {
            let key = signing_key(key)
                .map_err(|reason| SetupError::new(format!("{name}.signing_keys.{id}: {reason}")))?;
            configured.insert(Some(id.clone()), Ok(key));
        }
        if source.is_none() && configured.is_empty() {
            return Err(SetupError::new(format!(
                "{name} needs issuer, jwks_uri or signing_keys: without them no token can be verified"
            )));
        }
        let algorithms: Vec<Algorithm> = settings.algorithms.values().copied().collect();
        Ok(Self {
            name,
            algorithms: Some(algorithms).filter(|algorithms| !algorithms.is_empty()),
            default_key: settings.default_key.clone(),
            configured,
            fetched: ArcSwap::default(),
            source,
            last_fetch: Mutex::new(None),
        })
    }

    /// Whether the token is signed with a key of this issuer.
    pub(crate) fn verify(&self, token: &Token<'_>) -> Result<(), Refusal> {
        let fetched = self.fetched.load();
        let id = self.key_id(token);
        let known = fetched.keys.get(&id).or_else(|| self.configured.get(&id));
        let key = match known.ok_or(Refusal::UnknownKey)? {
            Ok(key) => key,
            Err(reason) => return Err(Refusal::UnusableKey(reason)),
        };
        let algorithm = token.algorithm.parse::<Algorithm>();
        let algorithm = algorithm.map_err(|_| Refusal::Signature)?;
        let allowed = self.algorithms.as_ref();
        if allowed.is_some_and(|allowed| !allowed.contains(&algorithm)) {
            return Err(Refusal::Signature);
        }
        if key.verifies(algorithm, token.message, token.signature) {
            Ok(())
        } else {
            Err(Refusal::Signature)
        }
    }

    fn key_id(&self, token: &Token<'_>) -> Option<String> {
        token.key_id.clone().or_else(|| self.default_key.clone())
    }

    /// Fetches keys if this token needs it.
    pub(crate) async fn refresh_for(&self, token: &Token<'_>) -> Result<(), Refusal> {
        let Some(source) = &self.source else {
            return Ok(());
        };
        let id = self.key_id(token);
        let fetched = self.fetched.load_full();
        let is_known = fetched.keys.contains_key(&id) || self.configured.contains_key(&id);
        let is_old = fetched.at.is_some_and(|at| at.elapsed() > KEYS_AGE_MAX);
        if is_known && !is_old {
            return Ok(());
        }
        match self.fetch(source, &fetched).await {
            // What is there is better than nothing.
            Err(_) if is_known => Ok(()),
            outcome => outcome,
        }
    }

    /// Fetches keys unless somebody has done so since the caller looked.
    async fn fetch(&self, source: &Source, seen: &Arc<Fetched>) -> Result<(), Refusal> {
        let mut last_fetch = self.last_fetch.lock().await;
        if !Arc::ptr_eq(seen, &self.fetched.load_full()) {
            return Ok(());
        }
        if last_fetch.is_some_and(|last| last.elapsed() < FETCH_INTERVAL) {
            return Ok(());
        }
        *last_fetch = Some(Instant::now());
        match source.keys().await {
            Ok(keys) => {
                tracing::debug!(provider = %self.name, keys = keys.len(), "OAuth 2: signing keys were fetched");
                self.fetched.store(Arc::new(Fetched {
                    keys,
                    at: Some(Instant::now()),
                }));
                Ok(())
            }
            Err(reason) => {
                tracing::error!(provider = %self.name, %reason, "OAuth 2: failed to fetch signing keys");
                Err(Refusal::KeysUnavailable(reason))
            }
        }
    }
}

impl Source {
    async fn keys(&self) -> Result<Keys, String> {
        let url = match &self.location {
            Location::Keys(url) => url.clone(),
            Location::Discovery(url) => {
                let document = self.json(url).await?;
                let found = document.get("jwks_uri").and_then(Value::as_str);
                let found = found.ok_or_else(|| format!("{url:?}: there is no jwks_uri"))?;
                let found: Url = found
                    .parse()
                    .map_err(|expected| format!("{url:?}: jwks_uri: expected {expected}"))?;
                if !found.is_https() {
                    return Err(format!("{url:?}: jwks_uri {found:?} is not HTTPS"));
                }
                found
            }
        };
        let document = self.json(&url).await?;
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| format!("{url:?}: there is no list of keys"))?;
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(format!("{url:?}: {} keys", keys.len()));
        }
        let id = |key: &Value| key.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok(keys
            .iter()
            .map(|key| (id(key), Key::from_jwk(key)))
            .collect())
    }

    async fn json(&self, url: &Url) -> Result<Value, String> {
        let answer = self
            .client
            .get(url)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("{url:?}: {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|_| format!("{url:?}: the answer is no JSON"))
    }
}

fn signing_key(key: &SigningKey) -> Result<Key, String> {
    match key {
        SigningKey::File(path) => read(path).and_then(|pem| {
            Key::from_pem(&pem).map_err(|reason| format!("{}: {reason}", path.display()))
        }),
        SigningKey::Pem(pem) => Key::from_pem(pem.as_bytes()).map_err(str::to_owned),
        SigningKey::Jwk(jwk) => Key::from_jwk(jwk).map_err(str::to_owned),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > KEY_FILE_BYTES_MAX {
        return Err(format!("{}: it is too long for a key", path.display()));
    }
    std::fs::read(path).map_err(failed)
}
