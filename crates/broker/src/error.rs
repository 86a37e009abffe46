//! Every way to break a rule of the core, one variant each.
//!
//! Display texts are RabbitMQ's reply texts without the code name in front (`NOT_FOUND - `); a frontend chooses the reply
//! code and scope by one exhaustive match. They are pinned by tests, since clients and operators read them.

use base::Name;
use thiserror::Error;

/// A queue or an exchange, for error texts and permission checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

impl std::fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
        })
    }
}

/// A rule of the broker that a request broke.
#[derive(Clone, Debug, PartialEq, Error)]
#[expect(
    missing_docs,
    reason = "the message text above each variant says what its fields are"
)]
pub enum Error {
    #[error("no {kind} '{name}' in vhost '{vhost}'")]
    NotFound {
        kind: ResourceKind,
        name: Name,
        vhost: Name,
    },
    #[error("vhost {vhost} not found")]
    VhostNotFound { vhost: Name },
    /// `note` is what another authority than the metadata has to say.
    #[error("access to vhost '{vhost}' refused for user '{user}'{note}")]
    VhostAccessRefused {
        vhost: Name,
        user: Name,
        note: Box<str>,
    },
    /// `argument` is `type`, `durable`, `auto_delete`, `internal` or an argument's name.
    /// `received` and `current` are worded as RabbitMQ words them.
    #[error(
        "inequivalent arg '{argument}' for {kind} '{name}' in vhost '{vhost}': received {received} but current is {current}"
    )]
    InequivalentArgument {
        kind: ResourceKind,
        name: Name,
        vhost: Name,
        argument: Box<str>,
        received: Box<str>,
        current: Box<str>,
    },
    #[error(
        "cannot obtain exclusive access to locked queue '{name}' in vhost '{vhost}'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."
    )]
    ExclusiveToOther { name: Name, vhost: Name },
    #[error("{kind} name '{name}' contains reserved prefix 'amq.*'")]
    ReservedName { kind: ResourceKind, name: Name },
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    #[error("deletion of system exchange '{name}' in vhost '{vhost}' not allowed")]
    SystemExchange { name: Name, vhost: Name },
    #[error("{kind} '{name}' in vhost '{vhost}' in use")]
    InUse {
        kind: ResourceKind,
        name: Name,
        vhost: Name,
    },
    #[error("queue '{name}' in vhost '{vhost}' not empty")]
    NotEmpty { name: Name, vhost: Name },
    #[error("cannot publish to internal exchange '{name}' in vhost '{vhost}'")]
    InternalExchange { name: Name, vhost: Name },
    #[error("queue '{name}' in vhost '{vhost}' in exclusive use")]
    ExclusiveUse { name: Name, vhost: Name },
    /// A precondition with a text of its own, ready to send (unknown exchange type, invalid argument, topic pattern, …).
    #[error("{0}")]
    Precondition(Box<str>),
    /// A feature that is known but not offered; the text names it. AMQP 0-9-1 540.
    #[error("{0}")]
    NotImplemented(Box<str>),
    /// A feature that RabbitMQ no longer permits; the text names it. AMQP 0-9-1 541.
    #[error("{0}")]
    Deprecated(Box<str>),
    /// Only management commands name users that need not exist.
    #[error("user '{user}' does not exist")]
    UserNotFound { user: Name },
    /// `operation` is `configure`, `write` or `read`; `note` as above.
    #[error(
        "{operation} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'{note}"
    )]
    AccessRefused {
        operation: &'static str,
        kind: ResourceKind,
        name: Name,
        vhost: Name,
        user: Name,
        note: Box<str>,
    },
    #[error(
        "{operation} access to topic '{routing_key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'{note}"
    )]
    TopicAccessRefused {
        operation: &'static str,
        routing_key: Box<str>,
        exchange: Name,
        vhost: Name,
        user: Name,
        note: Box<str>,
    },
    /// Nobody has said yet whether the user may do that. Whoever gets this asks, and tries again with the answer; no client sees it.
    #[error("nobody has said yet whether this is allowed")]
    Unanswered(Box<crate::auth::Question>),
    /// What an operator set is not valid; all of the text, with RabbitMQ's introduction and line breaks. Management only.
    #[error("{0}")]
    Invalid(Box<str>),
    /// A parameter, policy or limit to be cleared is not there. Management only.
    #[error("Parameter does not exist")]
    ParameterNotFound,
    /// Management only.
    #[error("Refusing to delete virtual host '{vhost}' because it is protected from deletion")]
    VhostProtected { vhost: Name },
    /// A limit on connections, channels or vhosts is reached; the text names it. AMQP 0-9-1 530.
    #[error("{0}")]
    LimitReached(Box<str>),
    /// The log cannot take what must be durable (a write or a sync failed); nothing was acknowledged. AMQP 0-9-1 541.
    #[error("{0}")]
    Storage(Box<str>),
}

impl Error {
    /// `Invalid`, with problems that RabbitMQ tells one a line.
    pub(crate) fn validation(problems: Vec<String>) -> Self {
        let mut text = "Validation failed\n\n".to_owned();
        for problem in problems {
            text.push_str(&problem);
            text.push('\n');
        }
        Self::Invalid(text.into())
    }
}
