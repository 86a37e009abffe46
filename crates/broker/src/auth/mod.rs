//! Who may do what.
//!
//! [`authenticate`] turns a name and a password into a [`User`]. [`authorize`] is the one place that decides about queues and
//! exchanges, for every protocol; what it returns, a [`Permit`], is what other functions ask for as proof.
//! Both read a metadata snapshot and keep nothing, so a revoked permission is gone with the next call.
//!
//! SASL mechanisms and when to ask again are the frontends'.

mod password;
mod pattern;
mod user;
mod validator;

pub use password::{AuthFailure, authenticate};
pub use pattern::{BACKTRACK_LIMIT, PATTERN_BYTES_MAX, Pattern};
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
    /// As error texts call it.
    const NAME: &'static str;

    /// The pattern that decides about it.
    fn pattern(permission: &Permission) -> &Pattern;
}

impl Operation for Configure {
    const NAME: &'static str = "configure";

    fn pattern(permission: &Permission) -> &Pattern {
        &permission.configure
    }
}

impl Operation for Write {
    const NAME: &'static str = "write";

    fn pattern(permission: &Permission) -> &Pattern {
        &permission.write
    }
}

impl Operation for Read {
    const NAME: &'static str = "read";

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
/// `AccessRefused`
pub fn authorize<Op: Operation>(
    metadata: &Metadata,
    user: &Name,
    vhost: &Name,
    _operation: Op,
    kind: ResourceKind,
    name: &Name,
) -> Result<Permit<Op>, Error> {
    let allowed = permission(metadata, user, vhost)
        .is_some_and(|entry| Op::pattern(entry).matches(shown_name(kind, name)));
    if !allowed {
        return Err(refused(Op::NAME, user, vhost, kind, name));
    }
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
/// `AccessRefused`, worded for configure as in RabbitMQ.
pub fn authorize_passive(
    metadata: &Metadata,
    user: &Name,
    vhost: &Name,
    kind: ResourceKind,
    name: &Name,
) -> Result<(), Error> {
    let shown = shown_name(kind, name);
    let allowed = permission(metadata, user, vhost).is_some_and(|entry| {
        [&entry.configure, &entry.write, &entry.read]
            .into_iter()
            .any(|pattern| pattern.matches(shown))
    });
    if allowed {
        Ok(())
    } else {
        Err(refused(Configure::NAME, user, vhost, kind, name))
    }
}

/// Decides whether a user may open a vhost: any permission entry there is enough, even one that allows nothing.
///
/// # Errors
/// `VhostNotFound`, `VhostAccessRefused`
pub fn authorize_vhost(metadata: &Metadata, user: &Name, vhost: &Name) -> Result<(), Error> {
    if metadata.vhost(vhost).is_none() {
        return Err(Error::VhostNotFound {
            vhost: vhost.clone(),
        });
    }
    match permission(metadata, user, vhost) {
        Some(_) => Ok(()),
        None => Err(Error::VhostAccessRefused {
            vhost: vhost.clone(),
            user: user.clone(),
        }),
    }
}

/// Decides whether a user may publish with, or bind by, a routing key on a topic exchange.
///
/// Only users with a topic permission for the exchange are restricted (RabbitMQ docs: access-control#topic-authorisation); ask for
/// topic exchanges only. `client_id` is that of MQTT, where it exists.
///
/// # Errors
/// `TopicAccessRefused`
pub fn authorize_topic<Op: TopicOperation>(
    metadata: &Metadata,
    user: &Name,
    vhost: &Name,
    _operation: Op,
    exchange: &Name,
    routing_key: &[u8],
    client_id: Option<&str>,
) -> Result<(), Error> {
    let Some(entry) = metadata
        .user(user)
        .and_then(|entry| entry.topic_permission(vhost, exchange))
    else {
        return Ok(());
    };
    let routing_key = String::from_utf8_lossy(routing_key);
    let variables = [
        ("{username}", Some(&**user)),
        ("{vhost}", Some(&**vhost)),
        ("{client_id}", client_id),
    ];
    if Op::topic_pattern(entry).matches_with(&variables, &routing_key) {
        return Ok(());
    }
    Err(Error::TopicAccessRefused {
        operation: Op::NAME,
        routing_key: routing_key.into(),
        exchange: exchange.clone(),
        vhost: vhost.clone(),
        user: user.clone(),
    })
}

fn permission<'a>(metadata: &'a Metadata, user: &str, vhost: &str) -> Option<&'a Permission> {
    metadata.user(user)?.permission(vhost)
}

fn shown_name(kind: ResourceKind, name: &Name) -> &str {
    if kind == ResourceKind::Exchange && name.is_empty() {
        DEFAULT_EXCHANGE
    } else {
        name
    }
}

fn refused(
    operation: &'static str,
    user: &Name,
    vhost: &Name,
    kind: ResourceKind,
    name: &Name,
) -> Error {
    Error::AccessRefused {
        operation,
        kind,
        name: shown_name(kind, name).into(),
        vhost: vhost.clone(),
        user: user.clone(),
    }
}
