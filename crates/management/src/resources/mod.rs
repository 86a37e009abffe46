//! What the paths answer, one module for each kind of thing.

pub(crate) mod bindings;
pub(crate) mod browse;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod consumers;
pub(crate) mod definitions;
pub(crate) mod exchanges;
pub(crate) mod features;
pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod nodes;
pub(crate) mod overview;
pub(crate) mod parameters;
pub(crate) mod permissions;
pub(crate) mod policies;
pub(crate) mod queues;
pub(crate) mod users;
pub(crate) mod vhosts;

use crate::call::Call;
use crate::error::ApiError;
use broker::command::{MetadataCommand, MetadataReply};

impl Call {
    /// Carries out a metadata command and waits until it is durable.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) async fn propose(
        &self,
        command: MetadataCommand,
    ) -> Result<MetadataReply, ApiError> {
        Ok(self.state.node.propose(&command).await?)
    }
}
