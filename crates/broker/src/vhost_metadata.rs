//! What an operator says about a vhost besides what is in it (RabbitMQ docs: vhosts).

use crate::Error;

/// The queue types that RabbitMQ knows; not all need to be offered by this node.
const QUEUE_TYPES: [&str; 3] = ["classic", "quorum", "stream"];

/// Description, tags and switches of a vhost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostMetadata {
    /// For people; may be empty.
    pub description: Box<str>,
    /// For people and tools.
    pub tags: Vec<Box<str>>,
    /// The type of durable queues that are declared without one; `None` for the node's default.
    pub default_queue_type: Option<Box<str>>,
    /// Refuses to be deleted.
    pub protected_from_deletion: bool,
    /// Copies of its messages go to `amq.rabbitmq.trace` (RabbitMQ docs: firehose).
    pub tracing: bool,
}

/// A change of a vhost's metadata; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `VhostMetadata`")]
pub struct VhostChanges {
    pub description: Option<Box<str>>,
    pub tags: Option<Vec<Box<str>>>,
    /// `Some(None)` goes back to the node's default.
    pub default_queue_type: Option<Option<Box<str>>>,
    pub protected_from_deletion: Option<bool>,
    pub tracing: Option<bool>,
}

impl VhostMetadata {
    /// Checks what an operator asks for.
    ///
    /// # Errors
    /// `Invalid`, for a default queue type that does not exist.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.default_queue_type {
            Some(queue_type) if !QUEUE_TYPES.contains(&&**queue_type) => Err(Error::Invalid(
                format!("{queue_type} is not a valid queue type").into(),
            )),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn update(&mut self, changes: &VhostChanges) {
        let VhostChanges {
            description,
            tags,
            default_queue_type,
            protected_from_deletion,
            tracing,
        } = changes.clone();
        self.description = description.unwrap_or_else(|| self.description.clone());
        self.tags = tags.unwrap_or_else(|| self.tags.clone());
        self.default_queue_type =
            default_queue_type.unwrap_or_else(|| self.default_queue_type.clone());
        self.protected_from_deletion =
            protected_from_deletion.unwrap_or(self.protected_from_deletion);
        self.tracing = tracing.unwrap_or(self.tracing);
    }
}
