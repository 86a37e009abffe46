//! Who lets users in, and who decides about them, beside the metadata: the chain of `auth_backends`.
//!
//! [`Chain`] tries one link after the other until one lets the user in; the user's [`Authority`](broker::auth::Authority) is then
//! made of the backends of that link. It knows no protocol: frontends and the HTTP API use it through
//! [`Authenticator`].
//!
//! [`TrustStore`] says which certificates of clients are trusted for themselves.
//!
//! It decides nothing that the metadata can decide alone: a node whose only backend is `internal` has no chain at all.

mod backend;
mod cache;
mod http;
mod ldap;
mod oauth2;
mod settings;
mod standing;
mod trust_store;

pub use settings::{BackendName, CacheSettings, HttpMethod, HttpSettings, Link, Settings};
pub use trust_store::{Listed, TrustStore, TrustStoreProvider, TrustStoreSettings};

use backend::{Backend, Found};
use broker::auth::{Authenticator, Credentials, Login, LoginFailure, Pending};
use broker::metadata::Metadata;
use cache::Cache;
use http::Http;
use standing::{Standings, Who};
use std::sync::Arc;
use thiserror::Error;

/// A backend cannot be used as it is configured.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SetupError(pub(crate) String);

/// Why a backend did not let somebody in, or did not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No.
    Refused(String),
    /// It could not be asked, or did not answer as it should.
    Failed(String),
}

/// The backends of a node, in the order in which they are tried.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Tried>,
}

/// A link with its backends.
#[derive(Debug)]
struct Tried {
    authn: Backend,
    /// Empty if `authn` decides about its users as well.
    authz: Vec<Backend>,
}

impl Chain {
    /// Makes the backends that are configured; `None` if that is the metadata alone.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(settings: &Settings) -> Result<Option<Arc<Self>>, SetupError> {
        if settings.is_internal() {
            return Ok(None);
        }
        let mut shared = Shared {
            settings,
            http: None,
            ldap: None,
            oauth2: None,
            cache: None,
        };
        let mut links = Vec::new();
        for Link { authn, authz } in &settings.backends {
            let mut tried = Tried {
                authn: shared.backend(*authn)?,
                authz: Vec::new(),
            };
            for name in authz {
                tried.authz.push(shared.backend(*name)?);
            }
            // What the cache is in front of may be two backends as well.
            if *authn == BackendName::Cache && authz.is_empty() {
                tried.authz.push(tried.authn.clone());
            }
            links.push(tried);
        }
        Ok(Some(Arc::new(Self { links })))
    }

    async fn find(
        &self,
        metadata: &Arc<Metadata>,
        credentials: &Credentials,
    ) -> Result<Login, LoginFailure> {
        let user = &credentials.user;
        let mut last = format!("No modules checked '{user}'");
        for link in &self.links {
            match link.log_in(metadata, credentials).await {
                Ok(login) => return Ok(login),
                Err(Refusal::Refused(reason)) => last = reason,
                Err(Refusal::Failed(reason)) => {
                    last = format!(
                        "{} failed authenticating {user}: {reason}",
                        link.authn.name().module()
                    );
                }
            }
            tracing::debug!(
                target: "user",
                "User '{user}' failed authentication by backend {}",
                link.authn.name().module()
            );
        }
        Err(LoginFailure(last.into()))
    }
}

impl Authenticator for Chain {
    fn log_in(
        self: Arc<Self>,
        metadata: Arc<Metadata>,
        credentials: Credentials,
    ) -> Pending<Result<Login, LoginFailure>> {
        Box::pin(async move { self.find(&metadata, &credentials).await })
    }
}

impl Tried {
    async fn log_in(
        &self,
        metadata: &Arc<Metadata>,
        credentials: &Credentials,
    ) -> Result<Login, Refusal> {
        let found = self.authn.authenticate(metadata, credentials).await?;
        tracing::debug!(
            target: "user",
            "User '{}' authenticated successfully by backend {}",
            found.name,
            self.authn.name().module()
        );
        let Found {
            name,
            mut tags,
            standing,
        } = found;
        let mut standings = Vec::new();
        if self.authz.is_empty() {
            standings.push(standing);
        } else {
            let mut others = Vec::new();
            for backend in self.authz.iter().rev() {
                let found = backend.authorize_login(metadata, &name, credentials).await;
                let (standing, more) = found.map_err(|refusal| match refusal {
                    Refusal::Failed(reason) => Refusal::Refused(format!(
                        "{} failed authorizing {name}: {reason}",
                        backend.name().module()
                    )),
                    Refusal::Refused(_) => refusal,
                })?;
                others.extend(more);
                standings.push(standing);
            }
            standings.reverse();
            tags.extend(others);
        }
        let mut seen = std::collections::HashSet::new();
        tags.retain(|tag| seen.insert(tag.clone()));
        let who = Who {
            name,
            tags,
            address: credentials.address,
        };
        Ok(Standings::login(who, standings))
    }
}

/// Backends are made once, however often they are named.
struct Shared<'a> {
    settings: &'a Settings,
    http: Option<Arc<Http>>,
    ldap: Option<Arc<auth_ldap::Ldap>>,
    oauth2: Option<Arc<auth_oauth2::OAuth2>>,
    cache: Option<Arc<Cache>>,
}

impl Shared<'_> {
    fn backend(&mut self, name: BackendName) -> Result<Backend, SetupError> {
        Ok(match name {
            BackendName::Internal => Backend::Internal,
            BackendName::InternalLoopback => Backend::InternalLoopback,
            BackendName::Dummy => Backend::Dummy,
            BackendName::Http => Backend::Http(self.http()?),
            BackendName::Ldap => Backend::Ldap(self.ldap()?),
            BackendName::OAuth2 => Backend::OAuth2(self.oauth2()?),
            BackendName::Cache => Backend::Cache(self.cache()?),
        })
    }

    fn ldap(&mut self) -> Result<Arc<auth_ldap::Ldap>, SetupError> {
        if let Some(ldap) = &self.ldap {
            return Ok(Arc::clone(ldap));
        }
        let ldap = auth_ldap::Ldap::new(&self.settings.ldap);
        let ldap = Arc::new(ldap.map_err(|error| SetupError(error.to_string()))?);
        self.ldap = Some(Arc::clone(&ldap));
        Ok(ldap)
    }

    fn oauth2(&mut self) -> Result<Arc<auth_oauth2::OAuth2>, SetupError> {
        if let Some(oauth2) = &self.oauth2 {
            return Ok(Arc::clone(oauth2));
        }
        let oauth2 = auth_oauth2::OAuth2::new(&self.settings.oauth2);
        let oauth2 = Arc::new(oauth2.map_err(|error| SetupError(error.to_string()))?);
        self.oauth2 = Some(Arc::clone(&oauth2));
        Ok(oauth2)
    }

    fn http(&mut self) -> Result<Arc<Http>, SetupError> {
        if let Some(http) = &self.http {
            return Ok(Arc::clone(http));
        }
        let http = Arc::new(Http::new(&self.settings.http)?);
        self.http = Some(Arc::clone(&http));
        Ok(http)
    }

    fn cache(&mut self) -> Result<Arc<Cache>, SetupError> {
        if let Some(cache) = &self.cache {
            return Ok(Arc::clone(cache));
        }
        let CacheSettings {
            authn,
            authz,
            ttl,
            keeps_refusals,
        } = self.settings.cache;
        if authn == BackendName::Cache || authz == BackendName::Cache {
            let reason = "auth_cache.cached_backend: a cache cannot be in front of itself";
            return Err(SetupError(reason.to_owned()));
        }
        let (authn, authz) = (self.backend(authn)?, self.backend(authz)?);
        let cache = Arc::new(Cache::new(authn, authz, ttl, keeps_refusals));
        self.cache = Some(Arc::clone(&cache));
        Ok(cache)
    }
}

#[cfg(test)]
mod tests;
