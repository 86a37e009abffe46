//! Commands about users and their permissions. All of them are durable.

use super::{Applied, Metadata, MetadataEvent};
use crate::Error;
use crate::auth::{Pattern, Permission, TopicPermission, User};
use crate::command::MetadataCommand;
use base::Name;
use std::sync::Arc;

impl Metadata {
    /// Does a command about users; `dispatch` sends no others here.
    pub(super) fn change_user(&mut self, command: &MetadataCommand) -> Result<Applied, Error> {
        use MetadataCommand as C;
        let mut applied = Applied::nothing();
        let event = match command {
            C::PutUser {
                name,
                password_hash,
                tags,
            } => {
                let user = self
                    .users
                    .get(name)
                    .cloned()
                    .unwrap_or_else(|| Arc::new(User::new(name.clone())));
                let user = User {
                    password_hash: password_hash.clone(),
                    tags: tags.clone(),
                    ..(*user).clone()
                };
                self.users.insert_mut(name.clone(), Arc::new(user));
                MetadataEvent::UserChanged { user: name.clone() }
            }
            C::DeleteUser { name } => {
                self.check_user(name)?;
                self.users.remove_mut(name);
                self.connection_version += 1;
                MetadataEvent::UserDeleted { user: name.clone() }
            }
            C::SetPermissions {
                vhost,
                user,
                configure,
                write,
                read,
            } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                let entry = Permission {
                    configure: Pattern::new(configure)?,
                    write: Pattern::new(write)?,
                    read: Pattern::new(read)?,
                };
                self.user_mut(user)
                    .permissions
                    .insert_mut(vhost.clone(), Arc::new(entry));
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::ClearPermissions { vhost, user } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                self.user_mut(user).permissions.remove_mut(vhost);
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::SetTopicPermissions {
                vhost,
                user,
                exchange,
                write,
                read,
            } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                let entry = TopicPermission {
                    write: Pattern::with_variables(write)?,
                    read: Pattern::with_variables(read)?,
                };
                let key = (vhost.clone(), exchange.clone());
                self.user_mut(user)
                    .topic_permissions
                    .insert_mut(key, Arc::new(entry));
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::ClearTopicPermissions {
                vhost,
                user,
                exchange,
            } => {
                self.check_user(user)?;
                self.expect_vhost(vhost)?;
                self.user_mut(user)
                    .clear_topic_permissions(vhost, exchange.as_ref());
                MetadataEvent::PermissionsChanged {
                    user: user.clone(),
                    vhost: vhost.clone(),
                }
            }
            C::CreateVhost { .. }
            | C::UpdateVhost { .. }
            | C::PutPolicy { .. }
            | C::DeletePolicy { .. }
            | C::PutParameter { .. }
            | C::DeleteParameter { .. }
            | C::PutGlobalParameter { .. }
            | C::DeleteGlobalParameter { .. }
            | C::SetVhostLimits { .. }
            | C::SetUserLimits { .. }
            | C::DeleteVhost { .. }
            | C::DeclareExchange { .. }
            | C::DeleteExchange { .. }
            | C::CreateSystemExchange { .. }
            | C::DeclareQueue { .. }
            | C::DeleteQueue { .. }
            | C::SetQueuePaused { .. }
            | C::DeleteExclusiveQueues { .. }
            | C::Bind { .. }
            | C::Unbind { .. } => unreachable!("dispatch sends only user commands here"),
        };
        applied.log.push(command.clone());
        applied.events.push(event);
        Ok(applied)
    }

    pub(super) fn check_user(&self, name: &Name) -> Result<(), Error> {
        if self.users.contains_key(name) {
            Ok(())
        } else {
            Err(Error::UserNotFound { user: name.clone() })
        }
    }

    /// A user that was checked to exist, to be changed.
    pub(super) fn user_mut(&mut self, name: &Name) -> &mut User {
        Arc::make_mut(self.users.get_mut(name).expect("the user was checked"))
    }
}
