//! The backend `oauth2`: what [`auth_oauth2`] says, in the words of the chain. A token comes in the place of a password.

use crate::Refusal;
use crate::backend::Found;
use crate::standing::{Decider, Standing};
use auth_oauth2::{Identity, OAuth2, Permission};
use base::Name;
use broker::auth::{Action, Answer, Credentials, Question, RenewFailure, Secret};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A user whom a token has let in.
#[derive(Clone, Debug)]
pub(crate) struct TokenUser {
    oauth2: Arc<OAuth2>,
    identity: Arc<Identity>,
}

/// Lets the user of a token in, who has the name that the token says.
pub(crate) async fn authenticate(
    oauth2: &Arc<OAuth2>,
    credentials: &Credentials,
) -> Result<Found, Refusal> {
    let token = credentials.password.as_ref().map(text).unwrap_or_default();
    let identity = oauth2.authenticate(token, now_s()).await;
    let identity = identity.map_err(|refusal| Refusal::Refused(refusal.to_string()))?;
    let user = TokenUser {
        oauth2: Arc::clone(oauth2),
        identity: Arc::new(identity),
    };
    Ok(Found {
        name: Name::from(user.identity.username()),
        tags: user.tags().map(Box::from).collect(),
        standing: Standing::plain(Decider::OAuth2(user)),
    })
}

impl TokenUser {
    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        self.identity.tags().iter().map(String::as_str)
    }

    /// When the token ends, in seconds since 1970.
    pub(crate) fn expires_s(&self) -> Option<u64> {
        self.identity.expires()
    }

    /// The same user with another token.
    pub(crate) async fn renew(&self, secret: &Secret) -> Result<Self, RenewFailure> {
        let renewed = self.oauth2.renew(&self.identity, text(secret), now_s());
        match renewed.await {
            Ok(identity) => Ok(Self {
                oauth2: Arc::clone(&self.oauth2),
                identity: Arc::new(identity),
            }),
            Err(refusal) => Err(RenewFailure::Refused(refusal.to_string().into())),
        }
    }

    /// What the token says. Nobody else has to be asked.
    pub(crate) fn answer(&self, question: &Question) -> Answer {
        Answer::from_bool(!self.identity.is_expired(now_s()) && self.allows(question))
    }

    fn allows(&self, question: &Question) -> bool {
        let identity = &self.identity;
        match question {
            Question::Vhost(vhost) => identity.may_access_vhost(vhost),
            Question::Resource {
                vhost,
                kind: _,
                name,
                action,
            } => permissions(*action)
                .iter()
                .any(|permission| identity.may(vhost, name, *permission)),
            Question::Topic {
                vhost,
                exchange,
                action,
                routing_key,
                client_id: _,
            } => permissions(*action)
                .iter()
                .any(|permission| identity.may_topic(vhost, exchange, *permission, routing_key)),
        }
    }
}

/// The permissions of which one is enough.
fn permissions(action: Action) -> &'static [Permission] {
    match action {
        Action::Configure => &[Permission::Configure],
        Action::Write => &[Permission::Write],
        Action::Read => &[Permission::Read],
        Action::Any => &[Permission::Configure, Permission::Write, Permission::Read],
    }
}

/// What is not UTF-8 is no token.
fn text(secret: &Secret) -> &str {
    std::str::from_utf8(secret.expose()).unwrap_or_default()
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
