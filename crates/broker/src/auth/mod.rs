//! Who may do what.
//!
//! [`authenticate`] turns a name and a password into a [`User`]. [`authorize`] is the one place that decides about queues and
//! exchanges, for every protocol; what it returns, a [`Permit`], is what other functions ask for as proof.
//! Both read a metadata snapshot and keep nothing, so a revoked permission is gone with the next call. Users who were let in by
//! somebody else are [`Principal`]s with an [`Authority`].
//!
//! SASL mechanisms and when to ask again are the frontends'.

mod attempts;
mod password;
mod pattern;
mod principal;
mod user;
mod validator;

pub use attempts::{AttemptCount, Attempts, Entry, SOURCES_MAX, Source};
pub use password::{AuthFailure, authenticate};
pub use pattern::{BACKTRACK_LIMIT, PATTERN_BYTES_MAX, Pattern};
pub use principal::{
    Action, Answer, Authenticator, Authority, Credentials, Login, LoginFailure, Pending, Principal,
    Question, RenewFailure, Secret,
};
pub use user::{Permission, TopicPermission, User};
pub use validator::CredentialValidator;

use crate::Error;
use crate::error::ResourceKind;
use crate::metadata::Metadata;
use base::Name;
use std::marker::PhantomData;

/// What permission patterns and error texts call the default exchange.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// Declare and delete.
#[derive(Clone, Copy, Debug)]
pub struct Configure;

/// Publish, and be the destination of a binding.
#[derive(Clone, Copy, Debug)]
pub struct Write;

/// Consume, get, purge, and be the source of a binding.
#[derive(Clone, Copy, Debug)]
pub struct Read;

/// One of [`Configure`], [`Write`] and [`Read`].
pub trait Operation: Copy + sealed::Sealed {
    /// The same as a value.
    const ACTION: Action;

    /// The pattern that decides about it.
    fn pattern(permission: &Permission) -> &Pattern;
}

impl Operation for Configure {
    const ACTION: Action = Action::Configure;

    fn pattern(permission: &Permission) -> &Pattern {
        &permission.configure
    }
}

impl Operation for Write {
    const ACTION: Action = Action::Write;

    fn pattern(permission: &Permission) -> &Pattern {
        &permission.write
    }
}

impl Operation for Read {
    const ACTION: Action = Action::Read;

    fn pattern(permission: &Permission) -> &Pattern {
        &permission.read
    }
}

/// [`Write`] (publish) or [`Read`] (bind): what topic permissions are about.
pub trait TopicOperation: Operation {
    /// The pattern that decides about it.
    fn topic_pattern(permission: &TopicPermission) -> &Pattern;
}

impl TopicOperation for Write {
    fn topic_pattern(permission: &TopicPermission) -> &Pattern {
        &permission.write
    }
}

impl TopicOperation for Read {
    fn topic_pattern(permission: &TopicPermission) -> &Pattern {
        &permission.read
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Configure {}
    impl Sealed for super::Write {}
    impl Sealed for super::Read {}
}

/// Proof that a user was allowed an operation on one queue or exchange. Only [`authorize`] makes one.
#[derive(Clone, Debug)]
pub struct Permit<Op> {
    vhost: Name,
    kind: ResourceKind,
    name: Name,
    operation: PhantomData<Op>,
}

impl<Op> Permit<Op> {
    /// Whether the permit is about this queue or exchange. The default exchange goes by its empty name.
    pub fn covers(&self, vhost: &str, kind: ResourceKind, name: &str) -> bool {
        self.vhost == *vhost && self.kind == kind && self.name == *name
    }
}

/// Decides whether a user may do something with a queue or an exchange, which need not exist.
///
/// # Errors
/// `AccessRefused`, `Unanswered`
pub fn authorize<Op: Operation>(
    metadata: &Metadata,
    user: &Principal,
    vhost: &Name,
    _operation: Op,
    kind: ResourceKind,
    name: &Name,
) -> Result<Permit<Op>, Error> {
    let permitted = || {
        permission(metadata, user, vhost)
            .is_some_and(|entry| Op::pattern(entry).matches(shown_name(kind, name)))
    };
    user.decide(permitted, || resource(vhost, kind, name, Op::ACTION))
        .map_err(|denied| {
            denied.into_error(|note| refused(Op::ACTION, user, vhost, kind, name, note))
        })?;
    Ok(Permit {
        vhost: vhost.clone(),
        kind,
        name: name.clone(),
        operation: PhantomData,
    })
}

/// Decides whether a user may learn that a queue or an exchange exists (passive declare): any of the three permissions is enough.
///
/// # Errors
/// `AccessRefused`, worded for configure as in RabbitMQ; `Unanswered`
pub fn authorize_passive(
    metadata: &Metadata,
    user: &Principal,
    vhost: &Name,
    kind: ResourceKind,
    name: &Name,
) -> Result<(), Error> {
    let shown = shown_name(kind, name);
    let permitted = || {
        permission(metadata, user, vhost).is_some_and(|entry| {
            [&entry.configure, &entry.write, &entry.read]
                .into_iter()
                .any(|pattern| pattern.matches(shown))
        })
    };
    user.decide(permitted, || resource(vhost, kind, name, Action::Any))
        .map_err(|denied| {
            denied.into_error(|note| refused(Action::Any, user, vhost, kind, name, note))
        })
}

/// Decides whether a user may open a vhost: any permission entry there is enough, even one that allows nothing.
///
/// # Errors
/// `VhostNotFound`, `VhostAccessRefused`, `Unanswered`
pub fn authorize_vhost(metadata: &Metadata, user: &Principal, vhost: &Name) -> Result<(), Error> {
    if metadata.vhost(vhost).is_none() {
        return Err(Error::VhostNotFound {
            vhost: vhost.clone(),
        });
    }
    let permitted = || permission(metadata, user, vhost).is_some();
    user.decide(permitted, || Question::Vhost(vhost.clone()))
        .map_err(|denied| {
            denied.into_error(|note| Error::VhostAccessRefused {
                vhost: vhost.clone(),
                user: user.name().clone(),
                note,
            })
        })
}

/// Decides whether a user may publish with, or bind by, a routing key on a topic exchange.
///
/// Only users with a topic permission for the exchange are restricted (RabbitMQ docs: access-control#topic-authorisation); ask for
/// topic exchanges only. `client_id` is that of MQTT, where it exists.
///
/// # Errors
/// `TopicAccessRefused`, `Unanswered`
pub fn authorize_topic<Op: TopicOperation>(
    metadata: &Metadata,
    user: &Principal,
    vhost: &Name,
    _operation: Op,
    exchange: &Name,
    routing_key: &[u8],
    client_id: Option<&str>,
) -> Result<(), Error> {
    let name = user.name();
    let permitted = || {
        let entry = metadata
            .user(name)
            .and_then(|entry| entry.topic_permission(vhost, exchange));
        entry.is_none_or(|entry| {
            let variables = [
                ("{username}", Some(&**name)),
                ("{vhost}", Some(&**vhost)),
                ("{client_id}", client_id),
            ];
            let routing_key = String::from_utf8_lossy(routing_key);
            Op::topic_pattern(entry).matches_with(&variables, &routing_key)
        })
    };
    let question = || Question::Topic {
        vhost: vhost.clone(),
        exchange: exchange.clone(),
        action: Op::ACTION,
        routing_key: String::from_utf8_lossy(routing_key).into(),
        client_id: client_id.map(Box::from),
    };
    user.decide(permitted, question).map_err(|denied| {
        denied.into_error(|note| Error::TopicAccessRefused {
            operation: Op::ACTION.name(),
            routing_key: String::from_utf8_lossy(routing_key).into(),
            exchange: exchange.clone(),
            vhost: vhost.clone(),
            user: name.clone(),
            note,
        })
    })
}

/// What the metadata alone answers.
pub fn answer_by_metadata(metadata: &Metadata, user: &Name, question: &Question) -> Answer {
    let user = Principal::from(user.clone());
    let allowed = match question {
        Question::Vhost(vhost) => authorize_vhost(metadata, &user, vhost).is_ok(),
        Question::Resource {
            vhost,
            kind,
            name,
            action,
        } => match action {
            Action::Configure => authorize(metadata, &user, vhost, Configure, *kind, name).is_ok(),
            Action::Write => authorize(metadata, &user, vhost, Write, *kind, name).is_ok(),
            Action::Read => authorize(metadata, &user, vhost, Read, *kind, name).is_ok(),
            Action::Any => authorize_passive(metadata, &user, vhost, *kind, name).is_ok(),
        },
        Question::Topic {
            vhost,
            exchange,
            action,
            routing_key,
            client_id,
        } => {
            let (key, client) = (routing_key.as_bytes(), client_id.as_deref());
            match action {
                Action::Read => {
                    authorize_topic(metadata, &user, vhost, Read, exchange, key, client).is_ok()
                }
                Action::Write | Action::Configure | Action::Any => {
                    authorize_topic(metadata, &user, vhost, Write, exchange, key, client).is_ok()
                }
            }
        }
    };
    Answer::from_bool(allowed)
}

fn permission<'a>(metadata: &'a Metadata, user: &Principal, vhost: &str) -> Option<&'a Permission> {
    metadata.user(user.name())?.permission(vhost)
}

fn resource(vhost: &Name, kind: ResourceKind, name: &Name, action: Action) -> Question {
    Question::Resource {
        vhost: vhost.clone(),
        kind,
        name: if *shown_name(kind, name) == **name {
            name.clone()
        } else {
            DEFAULT_EXCHANGE.into()
        },
        action,
    }
}

fn shown_name(kind: ResourceKind, name: &Name) -> &str {
    if kind == ResourceKind::Exchange && name.is_empty() {
        DEFAULT_EXCHANGE
    } else {
        name
    }
}

fn refused(
    action: Action,
    user: &Principal,
    vhost: &Name,
    kind: ResourceKind,
    name: &Name,
    note: Box<str>,
) -> Error {
    Error::AccessRefused {
        operation: action.name(),
        kind,
        name: shown_name(kind, name).into(),
        vhost: vhost.clone(),
        user: user.name().clone(),
        note,
    }
}
