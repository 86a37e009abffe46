//! Why definitions or an object in them are refused, in RabbitMQ's words where it has any.

use broker::command::{Destination, MetadataCommand};
use thiserror::Error;

/// A file, or an object of it, that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Error {
    /// A key that must be there is not.
    #[error("[{{key_missing,{0}}}]")]
    KeyMissing(String),
    /// The value of a key should be text.
    #[error("'{0}' should be text")]
    NotText(String),
    /// The value of a switch is none; what it is instead.
    #[error("{{not_boolean,{0}}}")]
    NotBoolean(String),
    /// A password hash.
    #[error("{{not_base64,<<\"{0}\">>}}")]
    NotBase64(String),
    /// Anything else; all of the text.
    #[error("{0}")]
    Invalid(String),
    /// A rule of the broker.
    #[error("{0}")]
    Broker(#[from] broker::Error),
    /// Something about one object of the file.
    #[error("{object}: {error}")]
    In {
        /// The list, the place there from 1 and the name, if there is one.
        object: String,
        /// What about it.
        error: Box<Self>,
    },
}

impl Error {
    /// A refusal with a text of its own.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

/// What RabbitMQ says of a definition that the broker refuses.
pub fn refusal(command: &MetadataCommand, error: &broker::Error) -> String {
    use MetadataCommand as C;
    use broker::Error as E;
    if let E::VhostNotFound { vhost } = error {
        return format!("Please create virtual host \"{vhost}\" prior to importing definitions.");
    }
    if let E::UserNotFound { user } = error {
        return format!("{{no_such_user,<<\"{user}\">>}}");
    }
    if let E::NotFound { kind, name, vhost } = error {
        if matches!(command, C::Bind { .. }) {
            return format!(
                "{{resources_missing,[{{not_found,{{resource,<<\"{vhost}\">>,{kind},<<\"{name}\">>}}}}]}}"
            );
        }
        if matches!(command, C::SetTopicPermissions { .. }) {
            return format!("{{no_such_exchange,<<\"{name}\">>}}");
        }
    }
    if let E::Precondition(text) = error
        && matches!(command, C::DeclareQueue { .. } | C::DeclareExchange { .. })
    {
        // Compat: RabbitMQ has another word for it here than in AMQP.
        let text = match text.strip_prefix("unknown exchange type") {
            Some(exchange_type) => format!("invalid exchange type{exchange_type}"),
            None => text.to_string(),
        };
        return format!("precondition_failed: {text}");
    }
    if let C::PutPolicy { vhost, policy, .. } = command {
        return policy_refusal(vhost, &policy.name, error);
    }
    if let C::PutParameter {
        vhost,
        component,
        name,
        ..
    } = command
    {
        return format!(
            "{error} (vhost: \"{vhost}\" / component: \"{component}\" / key: \"{name}\")"
        );
    }
    match object_of(command) {
        Some(object) => format!("{object}: {error}"),
        None => error.to_string(),
    }
}

/// What RabbitMQ says of a policy.
pub(crate) fn policy_refusal(vhost: &str, name: &str, error: &broker::Error) -> String {
    format!("{error} (vhost: \"{vhost}\" key: \"{name}\")")
}

/// What a command is about, where the text of a refusal does not tell.
fn object_of(command: &MetadataCommand) -> Option<String> {
    use MetadataCommand as C;
    if let C::SetPermissions { vhost, user, .. } | C::SetTopicPermissions { vhost, user, .. } =
        command
    {
        return Some(format!("permissions of user '{user}' in vhost '{vhost}'"));
    }
    if let C::Bind {
        vhost,
        source,
        destination,
        ..
    } = command
    {
        let (Destination::Queue(name) | Destination::Exchange(name)) = destination;
        return Some(format!(
            "binding from '{source}' to '{name}' in vhost '{vhost}'"
        ));
    }
    None
}
