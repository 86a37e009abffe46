//! Who may do what over HTTP: user tags and vhosts.
//!
//! Who a user is, is the broker's question ([`broker::auth`]), or that of the backends; what a tag allows is answered here alone.
//! RabbitMQ docs: management#permissions.

use crate::error::ApiError;
use crate::login_rate::Attempt;
use crate::state::State;
use base::Name;
use broker::Error;
use broker::auth::{Credentials, Principal, Secret, User, authenticate, authorize_vhost};
use broker::metadata::Metadata;
use broker::vhost::Vhost;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// What a path asks of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing, not even a name.
    Open,
    /// Nothing either, unless `management.require_auth_for_api_reference` asks for any of the four tags.
    Reference,
    /// Any of the four tags.
    Management,
    /// `monitoring` or `administrator`.
    Monitoring,
    /// `policymaker` or `administrator`.
    Policymaker,
    /// `administrator`.
    Administrator,
}

/// Any of these opens the API at all.
const TAGS: [&str; 4] = ["administrator", "monitoring", "policymaker", "management"];

/// Vhosts that another authority is asked about when one of its users, who is no administrator, logs in.
const VHOSTS_ASKED_MAX: usize = 1_000;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Name, tags and vhosts.
    pub(crate) user: Arc<User>,
    /// The same for everything that is decided elsewhere.
    pub(crate) principal: Principal,
}

impl From<User> for Caller {
    fn from(user: User) -> Self {
        Arc::new(user).into()
    }
}

impl From<Arc<User>> for Caller {
    fn from(user: Arc<User>) -> Self {
        let principal = user.name.clone().into();
        Self { user, principal }
    }
}

/// Finds the user that an `Authorization` header names.
///
/// # Errors
/// `NoCredentials` without a header, else `WrongCredentials`.
pub(crate) async fn login(
    state: &State,
    header: Option<&[u8]>,
    peer: IpAddr,
) -> Result<Caller, ApiError> {
    let api = &state.settings().api;
    let Some(header) = header else {
        return Err(match api.disable_basic_auth {
            true => ApiError::NotAuthorised("HTTP access denied: no credentials"),
            false => ApiError::NoCredentials,
        });
    };
    let given = Given::read(header).ok_or(ApiError::WrongCredentials)?;
    let (name, password) = match given {
        Given::Password(..) if api.disable_basic_auth => {
            return Err(ApiError::NotAuthorised(
                "HTTP access denied: basic auth disabled",
            ));
        }
        Given::Password(name, password) => (name, password),
        // Backends that know tokens find the name in them.
        Given::Token(token) => match state.sessions.of_token(&token) {
            Some((name, password)) if api.login_tokens => (name, password),
            Some(_) | None => (String::new(), token.into_bytes()),
        },
    };
    let attempt = Attempt {
        address: peer,
        user: &name,
        password: &password,
    };
    if let Err(wait) = state.login_rate.admit(attempt, Instant::now()) {
        let wait_s = wait.as_secs() + 1;
        return Err(ApiError::TooManyAttempts { wait_s });
    }
    let is_local = peer.to_canonical().is_loopback();
    let checked = check_password(state, &name, &password, peer, is_local).await;
    let is_right = checked.is_ok();
    state.login_rate.settle(attempt, is_right, Instant::now());
    checked.map_err(|failure| {
        tracing::warn!(%peer, "HTTP access denied: {failure}");
        ApiError::WrongCredentials
    })
}

/// Finds the user with this name and password.
///
/// # Errors
/// Why there is none, for the log.
pub(crate) async fn check_password(
    state: &State,
    name: &str,
    password: &[u8],
    peer: IpAddr,
    is_local: bool,
) -> Result<Caller, String> {
    let metadata = state.node.metadata();
    let loopback_users = &state.loopback_users;
    let Some(authenticator) = state.node.http_authenticator() else {
        let _hashing = state.hashing.acquire().await;
        return authenticate(&metadata, name, password, is_local, loopback_users)
            .map(Caller::from)
            .map_err(|failure| failure.to_string());
    };
    let credentials = Credentials {
        user: name.into(),
        password: Some(Secret::new(password)),
        address: peer,
        is_loopback: is_local,
    };
    let login = authenticator
        .log_in(Arc::clone(&metadata), credentials)
        .await
        .map_err(|failure| failure.to_string())?;
    if !is_local && loopback_users.contains(&login.name) {
        return Err(format!(
            "user '{}' can only connect via localhost",
            login.name
        ));
    }
    let principal = Principal::from(login);
    let known = metadata.user(principal.name());
    if let Some(user) = known
        && principal.is_in_metadata()
        && principal.own_tags().is_empty()
        && principal.authority().is_none()
    {
        let user = Arc::clone(user);
        return Ok(Caller { user, principal });
    }
    let mut tags = principal.own_tags().to_vec();
    if let Some(user) = known.filter(|_| principal.is_in_metadata()) {
        tags.extend(user.tags.iter().cloned());
    }
    let is_administrator = tags.iter().any(|tag| **tag == *"administrator");
    let vhosts = if is_administrator {
        Vec::new()
    } else {
        open_vhosts(&metadata, &principal).await
    };
    let name = principal.name().clone();
    let user = Arc::new(User::elsewhere(name, tags, vhosts));
    Ok(Caller { user, principal })
}

/// The vhosts that a user may open.
async fn open_vhosts(metadata: &Arc<Metadata>, principal: &Principal) -> Vec<Name> {
    let mut asked = tokio::task::JoinSet::new();
    for vhost in metadata.vhosts().take(VHOSTS_ASKED_MAX) {
        let (metadata, vhost) = (Arc::clone(metadata), vhost.name.clone());
        let principal = principal.clone();
        asked.spawn(async move {
            may_open(&metadata, &principal, &vhost)
                .await
                .is_ok()
                .then_some(vhost)
        });
    }
    let mut open = Vec::new();
    while let Some(vhost) = asked.join_next().await {
        open.extend(vhost.ok().flatten());
    }
    open
}

/// Decides whether a user may open a vhost.
///
/// # Errors
/// No.
pub(crate) async fn may_open(
    metadata: &Arc<Metadata>,
    principal: &Principal,
    vhost: &Name,
) -> Result<(), Error> {
    principal
        .clone()
        .settle(metadata, |principal| {
            authorize_vhost(metadata, principal, vhost)
        })
        .await
}

/// The name that somebody gave, whoever it is.
pub(crate) fn name_in(header: &[u8]) -> Option<String> {
    match Given::read(header)? {
        Given::Password(name, _) => Some(name),
        Given::Token(_) => None,
    }
}

/// What the header `Authorization` may hold.
#[derive(Debug, PartialEq)]
enum Given {
    /// Basic: a name and a password.
    Password(String, Vec<u8>),
    /// Bearer: a token.
    Token(String),
}

impl Given {
    fn read(header: &[u8]) -> Option<Self> {
        let header = std::str::from_utf8(header).ok()?;
        let (scheme, value) = header.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return (!value.is_empty()).then(|| Self::Token(value.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let (name, password) = name_and_password(value)?;
        Some(Self::Password(name, password))
    }
}

/// A name and a password as Basic authentication writes them.
pub(crate) fn name_and_password(base64: &str) -> Option<(String, Vec<u8>)> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

impl Access {
    /// Whether a user may use a path that asks for this.
    ///
    /// # Errors
    /// `NotAuthorised`
    pub(crate) fn check(self, user: &User) -> Result<(), ApiError> {
        if !TAGS.iter().any(|tag| user.has_tag(tag)) {
            return Err(ApiError::NotAuthorised("Not management user"));
        }
        let (allowed, refusal) = match self {
            Self::Open | Self::Reference | Self::Management => return Ok(()),
            Self::Monitoring => (is_monitor(user), "Not monitor user"),
            Self::Policymaker => (
                user.has_tag("policymaker") || is_administrator(user),
                "User not authorised to access object",
            ),
            Self::Administrator => (is_administrator(user), "Not administrator user"),
        };
        if allowed {
            Ok(())
        } else {
            Err(ApiError::NotAuthorised(refusal))
        }
    }
}

/// Whether the user may do everything.
pub(crate) fn is_administrator(user: &User) -> bool {
    user.has_tag("administrator")
}

/// Whether the user may see what others do.
pub(crate) fn is_monitor(user: &User) -> bool {
    user.has_tag("monitoring") || is_administrator(user)
}

/// Whether the user may see what is in a vhost: administrators all, others where they have a permission.
pub(crate) fn may_enter(user: &User, vhost: &str) -> bool {
    is_administrator(user) || user.permission(vhost).is_some()
}

/// The vhosts whose contents a user may see, by name.
pub(crate) fn vhosts<'m>(metadata: &'m Metadata, user: &User) -> Vec<&'m Arc<Vhost>> {
    let mut vhosts: Vec<_> = metadata
        .vhosts()
        .filter(|vhost| may_enter(user, &vhost.name))
        .collect();
    vhosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    vhosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_credentials_count() {
        let pair =
            |name: &str, password: &[u8]| Some(Given::Password(name.to_owned(), password.to_vec()));
        assert_eq!(
            Given::read(b"Basic Z3Vlc3Q6Z3Vlc3Q="),
            pair("guest", b"guest")
        );
        assert_eq!(Given::read(b"basic YTpiOmM="), pair("a", b"b:c"));
        let token = Some(Given::Token("a.b.c".to_owned()));
        assert_eq!(Given::read(b"Bearer a.b.c"), token);
        for header in [
            &b"Basic"[..],
            b"Basic !!",
            b"Basic Z3Vlc3Q=",
            b"Bearer ",
            b"Digest Z3Vlc3Q6Z3Vlc3Q=",
            b"Basic \xff",
            b"",
        ] {
            assert_eq!(Given::read(header), None, "{header:?}");
        }
    }
}
