//! What the program adds to a node: servers that use its [`Handle`].
//!
//! The node starts and stops them and knows nothing else about them.

use crate::boot::NodeError;
use crate::handle::Handle;

/// Something that runs beside the node's own threads as long as the node does.
pub trait Service {
    /// Where it listens, as URIs, for the ready line.
    fn addresses(&self) -> Vec<String>;

    /// RabbitMQ's names of the plugins whose work it does, for the log.
    fn plugins(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Stops it. Clients of the node are still connected then.
    fn stop(self: Box<Self>);
}

/// Starts the services of a node; given to [`crate::run`].
pub type StartServices<'a> = &'a dyn Fn(&Handle) -> Result<Vec<Box<dyn Service>>, NodeError>;
