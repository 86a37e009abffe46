//! How much may be open at once: connections and channels of the node, of a vhost and of a user.
//!
//! The one piece of state in the core that threads share, because a limit is for all of them together. It is asked when a
//! connection or a channel opens and never about a message. What was admitted holds a seat and gives it back by dropping it.
//! Limits are read when somebody asks, so that a lower one keeps newcomers out and ends nothing.
//!
//! Error texts are RabbitMQ's (RabbitMQ docs: limits).

use crate::Error;
use crate::limits::allowed;
use crate::metadata::Metadata;
use base::Name;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the node's configuration allows; `None` for no limit.
#[derive(Clone, Debug, Default)]
pub struct NodeLimits {
    /// For error texts.
    pub node_name: String,
    /// Open connections (`max_connections`).
    pub connections_max: Option<u64>,
    /// Open channels (`channel_max_per_node`).
    pub channels_max: Option<u64>,
}

/// Counts what is open.
#[derive(Debug, Default)]
pub struct Admission {
    limits: NodeLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: u64,
    channels: u64,
    connections_opened: u64,
    channels_opened: u64,
    vhost_connections: HashMap<Name, u64>,
    user_connections: HashMap<Name, u64>,
    user_channels: HashMap<Name, u64>,
}

/// What was opened and what has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Churn {
    /// Connections that were opened.
    pub connections_opened: u64,
    /// Connections that ended.
    pub connections_closed: u64,
    /// Channels that were opened.
    pub channels_opened: u64,
    /// Channels that ended.
    pub channels_closed: u64,
}

/// What is open now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Connections that were let into their vhosts.
    pub connections: u64,
    /// Their channels.
    pub channels: u64,
}

/// The place of an open connection.
#[derive(Debug)]
pub struct ConnectionSeat {
    admission: Arc<Admission>,
    vhost: Name,
    user: Name,
}

/// The place of an open channel.
#[derive(Debug)]
pub struct ChannelSeat {
    admission: Arc<Admission>,
    user: Name,
}

impl Admission {
    /// Nothing is open.
    pub fn new(limits: NodeLimits) -> Self {
        Self {
            limits,
            open: Mutex::default(),
        }
    }

    /// Takes a place for a connection of a user to a vhost.
    ///
    /// # Errors
    /// `LimitReached`, `VhostNotFound`
    pub fn admit_connection(
        self: &Arc<Self>,
        metadata: &Metadata,
        user: &Name,
        vhost: &Name,
    ) -> Result<ConnectionSeat, Error> {
        let mut open = self.open();
        if let Some(max) = self.limits.connections_max
            && open.connections >= max
        {
            return refuse(format!(
                "connection refused: node connection limit ({max}) is reached"
            ));
        }
        let Some(entry) = metadata.vhost(vhost) else {
            return Err(Error::VhostNotFound {
                vhost: vhost.clone(),
            });
        };
        if let Some(max) = allowed(entry.limits.max_connections)
            && count(&open.vhost_connections, vhost) >= max
        {
            return refuse(format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({max}) is reached"
            ));
        }
        let limits = metadata.user(user).map(|user| user.limits);
        if let Some(max) = limits.and_then(|limits| allowed(limits.max_connections))
            && count(&open.user_connections, user) >= max
        {
            return refuse(format!(
                "connection refused for user '{user}': user connection limit ({max}) is reached"
            ));
        }
        open.connections += 1;
        open.connections_opened += 1;
        *open.vhost_connections.entry(vhost.clone()).or_default() += 1;
        *open.user_connections.entry(user.clone()).or_default() += 1;
        Ok(ConnectionSeat {
            admission: Arc::clone(self),
            vhost: vhost.clone(),
            user: user.clone(),
        })
    }

    /// Takes a place for a channel of a user.
    ///
    /// # Errors
    /// `LimitReached`
    pub fn admit_channel(
        self: &Arc<Self>,
        metadata: &Metadata,
        user: &Name,
    ) -> Result<ChannelSeat, Error> {
        let mut open = self.open();
        let limits = metadata.user(user).map(|user| user.limits);
        if let Some(max) = limits.and_then(|limits| allowed(limits.max_channels))
            && count(&open.user_channels, user) >= max
        {
            return refuse(format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user limit of {max}"
            ));
        }
        if let Some(max) = self.limits.channels_max
            && open.channels >= max
        {
            let node = &self.limits.node_name;
            return refuse(format!(
                "number of channels opened on node '{node}' has reached the maximum allowed limit of {max}"
            ));
        }
        open.channels += 1;
        open.channels_opened += 1;
        *open.user_channels.entry(user.clone()).or_default() += 1;
        Ok(ChannelSeat {
            admission: Arc::clone(self),
            user: user.clone(),
        })
    }

    /// What was opened and what has ended since the node's start.
    pub fn churn(&self) -> Churn {
        let open = self.open();
        Churn {
            connections_opened: open.connections_opened,
            connections_closed: open.connections_opened - open.connections,
            channels_opened: open.channels_opened,
            channels_closed: open.channels_opened - open.channels,
        }
    }

    /// What a user has open, or all users.
    pub fn in_use(&self, user: Option<&Name>) -> InUse {
        let open = self.open();
        match user {
            Some(user) => InUse {
                connections: count(&open.user_connections, user),
                channels: count(&open.user_channels, user),
            },
            None => InUse {
                connections: open.connections,
                channels: open.channels,
            },
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is held, and counts would be right even then.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSeat {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        open.connections = open.connections.saturating_sub(1);
        give_back(&mut open.vhost_connections, &self.vhost);
        give_back(&mut open.user_connections, &self.user);
    }
}

impl Drop for ChannelSeat {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        open.channels = open.channels.saturating_sub(1);
        give_back(&mut open.user_channels, &self.user);
    }
}

fn refuse<T>(text: String) -> Result<T, Error> {
    Err(Error::LimitReached(text.into()))
}

fn count(counts: &HashMap<Name, u64>, name: &Name) -> u64 {
    counts.get(name).copied().unwrap_or(0)
}

fn give_back(counts: &mut HashMap<Name, u64>, name: &Name) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{MetadataCommand, PasswordHash};
    use crate::limits::{UserLimits, VhostLimits};
    use crate::metadata::{DefaultUser, bootstrap_commands};

    fn metadata(vhost: VhostLimits, user: UserLimits) -> Metadata {
        let mut metadata = Metadata::new(1);
        let guest = DefaultUser::administrator(
            "guest".into(),
            PasswordHash::new(b"guest", [1; 4]),
            "/".into(),
        );
        let mut commands = bootstrap_commands(guest);
        commands.push(MetadataCommand::SetVhostLimits {
            vhost: "/".into(),
            limits: vhost,
        });
        commands.push(MetadataCommand::SetUserLimits {
            user: "guest".into(),
            limits: user,
        });
        for command in &commands {
            metadata.apply(command).unwrap();
        }
        metadata
    }

    #[test]
    fn a_seat_that_is_given_back_can_be_taken_again() {
        let limits = VhostLimits {
            max_connections: Some(1),
            max_queues: None,
            ..VhostLimits::default()
        };
        let metadata = metadata(limits, UserLimits::default());
        let admission = Arc::new(Admission::default());
        let (user, vhost) = (Name::from("guest"), Name::from("/"));
        let admit = || admission.admit_connection(&metadata, &user, &vhost);
        let seat = admit().unwrap();
        let one = InUse {
            connections: 1,
            channels: 0,
        };
        assert_eq!(admission.in_use(Some(&user)), one);
        assert_eq!(admission.in_use(Some(&"other".into())), InUse::default());
        assert_eq!(admission.in_use(None), one);
        assert_eq!(
            admit().unwrap_err().to_string(),
            "access to vhost '/' refused for user 'guest': connection limit (1) is reached"
        );
        drop(seat);
        drop(admit().unwrap());
        assert!(admission.open().vhost_connections.is_empty());
        assert!(admission.open().user_connections.is_empty());
    }

    #[test]
    fn a_user_has_limits_and_a_negative_one_is_none() {
        let limits = UserLimits {
            max_connections: Some(0),
            max_channels: Some(1),
            ..UserLimits::default()
        };
        let no_limit = VhostLimits {
            max_connections: Some(-1),
            max_queues: None,
            ..VhostLimits::default()
        };
        let metadata = metadata(no_limit, limits);
        let admission = Arc::new(Admission::default());
        let (user, vhost) = (Name::from("guest"), Name::from("/"));
        let refused = admission.admit_connection(&metadata, &user, &vhost);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "connection refused for user 'guest': user connection limit (0) is reached"
        );
        let _seat = admission.admit_channel(&metadata, &user).unwrap();
        assert_eq!(
            admission
                .admit_channel(&metadata, &user)
                .unwrap_err()
                .to_string(),
            "number of channels opened for user 'guest' has reached the maximum allowed user limit of 1"
        );
    }

    #[test]
    fn a_node_has_limits() {
        let metadata = metadata(VhostLimits::default(), UserLimits::default());
        let admission = Arc::new(Admission::new(NodeLimits {
            node_name: "rabbit@here".to_owned(),
            connections_max: Some(1),
            channels_max: Some(0),
        }));
        let (user, vhost) = (Name::from("guest"), Name::from("/"));
        let _seat = admission
            .admit_connection(&metadata, &user, &vhost)
            .unwrap();
        let refused = admission.admit_connection(&metadata, &user, &"nope".into());
        assert_eq!(
            refused.unwrap_err().to_string(),
            "connection refused: node connection limit (1) is reached"
        );
        assert_eq!(
            admission
                .admit_channel(&metadata, &user)
                .unwrap_err()
                .to_string(),
            "number of channels opened on node 'rabbit@here' has reached the maximum allowed limit of 0"
        );
    }
}
