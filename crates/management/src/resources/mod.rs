//! What the paths answer, one module for each kind of thing.

pub(crate) mod bindings;
pub(crate) mod browse;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod consumers;
pub(crate) mod control;
pub(crate) mod definitions;
pub(crate) mod delayed;
pub(crate) mod exchanges;
pub(crate) mod features;
pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod maintenance;
pub(crate) mod memory;
pub(crate) mod neighbours;
pub(crate) mod nodes;
pub(crate) mod oauth;
pub(crate) mod overview;
pub(crate) mod parameters;
pub(crate) mod permissions;
pub(crate) mod plugins;
pub(crate) mod policies;
pub(crate) mod queues;
pub(crate) mod top;
pub(crate) mod traces;
pub(crate) mod trust_store;
pub(crate) mod users;
pub(crate) mod vhosts;

use crate::call::Call;
use crate::error::ApiError;
use broker::Error;
use broker::command::{MetadataCommand, MetadataReply};
use broker::metadata::Metadata;
use node::BatchKind;

impl Call {
    /// Carries out a metadata command and waits until it is durable.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) async fn propose(
        &self,
        command: MetadataCommand,
    ) -> Result<MetadataReply, ApiError> {
        Ok(self
            .state
            .node
            .propose_as(&self.user().name, &command)
            .await?)
    }

    /// The same with a command that depends on what holds when it is carried out.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) async fn propose_change(
        &self,
        make: impl FnOnce(&Metadata) -> Result<MetadataCommand, Error>,
    ) -> Result<MetadataReply, ApiError> {
        let user = &self.user().name;
        Ok(self.state.node.propose_change(user, make).await?)
    }

    /// Carries out all commands or none.
    ///
    /// # Errors
    /// The rule that one of them breaks.
    pub(crate) async fn propose_all(&self, commands: &[MetadataCommand]) -> Result<(), ApiError> {
        let user = &self.user().name;
        let done = self
            .state
            .node
            .propose_batch(user, BatchKind::Requests, commands);
        Ok(done.await.map_err(|refused| refused.error)?)
    }
}
