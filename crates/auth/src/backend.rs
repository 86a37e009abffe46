//! Each backend: lets a user in, or says how it stands to one whom another has let in.
//!
//! What it answers about that user later is in [`standing`](crate::standing).

use crate::cache::Cache;
use crate::http::Http;
use crate::settings::BackendName;
use crate::standing::{Decider, Standing};
use crate::{Refusal, http, ldap, oauth2};
use base::Name;
use broker::auth::{Credentials, authenticate};
use broker::metadata::Metadata;
use std::sync::Arc;

/// A backend.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Internal,
    InternalLoopback,
    Dummy,
    Http(Arc<Http>),
    Ldap(Arc<auth_ldap::Ldap>),
    OAuth2(Arc<auth_oauth2::OAuth2>),
    Cache(Arc<Cache>),
}

/// A user whom a backend has let in.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: Name,
    pub(crate) tags: Vec<Box<str>>,
    pub(crate) standing: Standing,
}

const NOT_LOOPBACK: &str = "attempted to log in, but the socket or address was not from loopback/localhost, which is \
    prohibited by the internal loopback authN backend.";

impl Backend {
    pub(crate) fn name(&self) -> BackendName {
        match self {
            Self::Internal => BackendName::Internal,
            Self::InternalLoopback => BackendName::InternalLoopback,
            Self::Dummy => BackendName::Dummy,
            Self::Http(_) => BackendName::Http,
            Self::Ldap(_) => BackendName::Ldap,
            Self::OAuth2(_) => BackendName::OAuth2,
            Self::Cache(_) => BackendName::Cache,
        }
    }

    /// Lets a user in.
    ///
    /// # Errors
    /// It does not, or cannot say.
    pub(crate) async fn authenticate(
        &self,
        metadata: &Metadata,
        credentials: &Credentials,
    ) -> Result<Found, Refusal> {
        if let Self::Cache(cache) = self {
            return cache.authenticate(metadata, credentials).await;
        }
        self.authenticate_itself(metadata, credentials).await
    }

    /// The same without a cache in front.
    pub(crate) async fn authenticate_itself(
        &self,
        metadata: &Metadata,
        credentials: &Credentials,
    ) -> Result<Found, Refusal> {
        match self {
            Self::Internal => internal(metadata, credentials),
            Self::InternalLoopback if credentials.is_loopback => internal(metadata, credentials),
            Self::InternalLoopback => Err(Refusal::Refused(format!(
                "user '{}' {NOT_LOOPBACK}",
                credentials.user
            ))),
            Self::Dummy => Err(dummy()),
            Self::Http(http) => {
                let tags = http.authenticate(credentials).await?;
                Ok(Found {
                    name: credentials.user.clone(),
                    tags,
                    standing: Standing::plain(Decider::Http(Arc::clone(http))),
                })
            }
            Self::Ldap(ldap) => ldap::authenticate(ldap, &credentials.user, credentials).await,
            Self::OAuth2(oauth2) => oauth2::authenticate(oauth2, credentials).await,
            // `Chain::new` has refused that.
            Self::Cache(_) => Err(Refusal::Failed("a cache in front of itself".to_owned())),
        }
    }

    /// Says how it stands to a user whom another backend has let in, and with which tags.
    ///
    /// # Errors
    /// It does not know the user, or cannot say.
    pub(crate) async fn authorize_login(
        &self,
        metadata: &Metadata,
        user: &Name,
        credentials: &Credentials,
    ) -> Result<(Standing, Vec<Box<str>>), Refusal> {
        if let Self::Cache(cache) = self {
            return cache.authorize_login(metadata, user, credentials).await;
        }
        self.authorize_login_itself(metadata, user, credentials)
            .await
    }

    /// The same without a cache in front.
    pub(crate) async fn authorize_login_itself(
        &self,
        metadata: &Metadata,
        user: &Name,
        credentials: &Credentials,
    ) -> Result<(Standing, Vec<Box<str>>), Refusal> {
        match self {
            Self::Internal | Self::InternalLoopback => match metadata.user(user) {
                Some(_) => Ok((Standing::plain(Decider::Internal), Vec::new())),
                None => Err(invalid(user)),
            },
            Self::Dummy => Err(dummy()),
            Self::Http(http) => {
                let credentials = Credentials {
                    user: user.clone(),
                    ..credentials.clone()
                };
                http.authenticate(&credentials).await?;
                Ok((Standing::plain(Decider::Http(Arc::clone(http))), Vec::new()))
            }
            Self::Ldap(ldap) => {
                let found = ldap::authenticate(ldap, user, credentials).await?;
                Ok((found.standing, found.tags))
            }
            Self::OAuth2(oauth2) => {
                let found = oauth2::authenticate(oauth2, credentials).await?;
                Ok((found.standing, found.tags))
            }
            // `Chain::new` has refused that.
            Self::Cache(_) => Err(Refusal::Failed("a cache in front of itself".to_owned())),
        }
    }
}

/// Users of the metadata; one with a certificate needs no password.
fn internal(metadata: &Metadata, credentials: &Credentials) -> Result<Found, Refusal> {
    let name = match &credentials.password {
        // Where a user may come from is looked at by whoever asks.
        Some(password) => authenticate(metadata, &credentials.user, password.expose(), true, &[])
            .map_err(|failure| Refusal::Refused(failure.to_string()))?
            .name
            .clone(),
        None => match metadata.user(&credentials.user) {
            Some(user) => user.name.clone(),
            None => return Err(invalid(&credentials.user)),
        },
    };
    Ok(Found {
        name,
        tags: Vec::new(),
        standing: Standing::plain(Decider::Internal),
    })
}

fn invalid(user: &Name) -> Refusal {
    Refusal::Refused(format!("user '{user}' - invalid credentials"))
}

fn dummy() -> Refusal {
    Refusal::Refused("cannot log in conventionally as dummy user".to_owned())
}

impl From<http::Problem> for Refusal {
    fn from(problem: http::Problem) -> Self {
        match problem {
            http::Problem::Denied { .. } => {
                Self::Refused("Denied by the backing HTTP service".to_owned())
            }
            http::Problem::Failed(reason) => Self::Failed(reason),
        }
    }
}
