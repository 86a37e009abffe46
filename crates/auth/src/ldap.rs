//! The backend `ldap`: what [`auth_ldap`] says, in the words of the chain.

use crate::Refusal;
use crate::backend::Found;
use crate::standing::{Decider, Standing};
use auth_ldap::{Kind, Ldap, Login, Permission, Resource, Topic};
use base::Name;
use broker::auth::{Action, Credentials, Question};
use broker::error::ResourceKind;
use std::sync::Arc;

/// A user whom the directory has let in.
#[derive(Clone, Debug)]
pub(crate) struct LdapUser {
    ldap: Arc<Ldap>,
    login: Arc<Login>,
}

impl LdapUser {
    /// The user's entry in the directory.
    pub(crate) fn identity(&self) -> &str {
        self.login.user_dn()
    }
}

/// Lets a user in, or looks for one who has a certificate.
pub(crate) async fn authenticate(
    ldap: &Arc<Ldap>,
    user: &Name,
    credentials: &Credentials,
) -> Result<Found, Refusal> {
    let refused = || Refusal::Refused(format!("user '{user}' - invalid credentials"));
    let password = match &credentials.password {
        None => None,
        // LDAP has passwords in UTF-8 only (RFC 4513 5.1.3).
        Some(password) => Some(std::str::from_utf8(password.expose()).map_err(|_| refused())?),
    };
    if password == Some("") {
        let reason = format!("user '{user}' - unauthenticated bind not allowed");
        return Err(Refusal::Refused(reason));
    }
    let login = ldap.authenticate(user, password).await;
    let login = login.map_err(|error| Refusal::Failed(error.to_string()))?;
    let login = login.ok_or_else(refused)?;
    Ok(Found {
        name: user.clone(),
        tags: login.tags().iter().map(|tag| tag.as_str().into()).collect(),
        standing: Standing::plain(Decider::Ldap(LdapUser {
            ldap: Arc::clone(ldap),
            login: Arc::new(login),
        })),
    })
}

/// Whether the directory lets the user; the error is why nobody can tell.
pub(crate) async fn ask(user: &LdapUser, question: &Question) -> Result<bool, String> {
    let LdapUser { ldap, login } = user;
    let permission = |action: &Action| match action {
        Action::Configure | Action::Any => Permission::Configure,
        Action::Write => Permission::Write,
        Action::Read => Permission::Read,
    };
    let answer = match question {
        Question::Vhost(vhost) => ldap.may_access_vhost(login, vhost).await,
        Question::Resource {
            vhost,
            kind,
            name,
            action,
        } => {
            let resource = Resource {
                vhost,
                kind: match kind {
                    ResourceKind::Queue => Kind::Queue,
                    ResourceKind::Exchange => Kind::Exchange,
                },
                name,
            };
            ldap.may(login, resource, permission(action)).await
        }
        Question::Topic {
            vhost,
            exchange,
            action,
            routing_key,
            client_id,
        } => {
            let topic = Topic {
                vhost,
                exchange,
                routing_key,
                client_id: client_id.as_deref(),
            };
            ldap.may_topic(login, topic, permission(action)).await
        }
    };
    answer.map_err(|error| error.to_string())
}
