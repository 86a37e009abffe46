//! Commands of a definitions file, which says what there should be and not what to change.
//!
//! What cannot be changed while it exists (queues, exchanges) stays as it is, whatever the file says about it; what can be is replaced.
//! RabbitMQ docs: definitions#import.

use super::{Applied, Metadata};
use crate::Error;
use crate::command::MetadataCommand;
use crate::vhost_metadata::VhostChanges;
use base::Name;

impl Metadata {
    /// Does what a command asks for where it is about something new or something that can be changed.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn import(&mut self, command: &MetadataCommand) -> Result<Applied, Error> {
        if let MetadataCommand::DeclareQueue { vhost, name, .. } = command
            && self.has(vhost, |vhost| vhost.queue(name).is_some())
        {
            return Ok(Applied::nothing());
        }
        if let MetadataCommand::DeclareExchange { vhost, name, .. } = command
            && self.has(vhost, |vhost| vhost.exchange(name).is_some())
        {
            return Ok(Applied::nothing());
        }
        if let MetadataCommand::SetTopicPermissions {
            vhost, exchange, ..
        } = command
        {
            self.expect_vhost(vhost)?.expect_exchange(exchange)?;
        }
        if let MetadataCommand::CreateVhost { name, metadata } = command
            && self.vhosts.contains_key(name)
        {
            let asked = metadata.clone();
            let queue_type = asked.default_queue_type;
            let changes = VhostChanges {
                description: Some(asked.description),
                tags: Some(asked.tags),
                default_queue_type: Some(
                    queue_type.or_else(|| Some(self.rules.default_queue_type.clone())),
                ),
                // A file that does not mention these is none that switches them off.
                protected_from_deletion: asked.protected_from_deletion.then_some(true),
                tracing: asked.tracing.then_some(true),
            };
            return self.apply(&MetadataCommand::UpdateVhost {
                name: name.clone(),
                changes,
            });
        }
        self.apply(command)
    }

    pub(super) fn has(&self, vhost: &Name, test: impl Fn(&crate::vhost::Vhost) -> bool) -> bool {
        self.vhost(vhost).is_some_and(|vhost| test(vhost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::MetadataCommand as C;
    use crate::value::Arguments;
    use crate::vhost_metadata::VhostMetadata;

    fn vhost(description: &str) -> C {
        let metadata = VhostMetadata {
            description: description.into(),
            ..VhostMetadata::default()
        };
        C::CreateVhost {
            name: "v".into(),
            metadata,
        }
    }

    fn queue(durable: bool) -> C {
        C::DeclareQueue {
            vhost: "v".into(),
            name: "q".into(),
            durable,
            exclusive_owner: None,
            auto_delete: false,
            arguments: Arguments::default(),
            user: "u".into(),
            home: 0,
            server_named: true,
            id: None,
        }
    }

    #[test]
    fn what_cannot_be_changed_stays_and_what_can_is_replaced() {
        let mut metadata = Metadata::new(1);
        for command in [vhost("a"), queue(true)] {
            assert!(metadata.import(&command).unwrap().durable);
        }
        assert!(metadata.apply(&queue(false)).is_err());
        assert!(metadata.import(&queue(false)).unwrap().events.is_empty());
        assert!(metadata.import(&vhost("a")).unwrap().events.is_empty());
        assert!(metadata.import(&vhost("b")).unwrap().durable);
        let vhost = metadata.vhost("v").unwrap();
        assert_eq!(&*vhost.metadata.description, "b");
        assert!(vhost.queue("q").unwrap().durable);
        metadata.check_invariants();
    }
}
