//! Users and what they may do in each vhost.

use super::Pattern;
use crate::command::PasswordHash;
use crate::limits::UserLimits;
use crate::persistent::PersistentMap;
use base::Name;
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// A user of the internal database. Immutable in the metadata; every change makes a new one.
#[derive(Clone, Debug)]
pub struct User {
    /// The name, unique in the cluster.
    pub name: Name,
    /// `None` for a user who cannot log in with a password.
    pub password_hash: Option<PasswordHash>,
    /// `administrator`, `monitoring`, `policymaker`, `management`, `impersonator` or any other text.
    pub tags: Vec<Box<str>>,
    /// How much the user may have open.
    pub limits: UserLimits,
    pub(crate) permissions: PersistentMap<Name, Arc<Permission>>,
    /// By vhost and exchange.
    pub(crate) topic_permissions: RedBlackTreeMapSync<(Name, Name), Arc<TopicPermission>>,
}

/// What a user may do in one vhost.
#[derive(Debug)]
pub struct Permission {
    /// Names to declare and delete.
    pub configure: Pattern,
    /// Names to publish to.
    pub write: Pattern,
    /// Names to consume from.
    pub read: Pattern,
}

/// Which routing keys a user may use on one topic exchange.
#[derive(Debug)]
pub struct TopicPermission {
    /// Keys to publish with.
    pub write: Pattern,
    /// Keys to bind by.
    pub read: Pattern,
}

impl User {
    pub(crate) fn new(name: Name) -> Self {
        Self {
            name,
            password_hash: None,
            tags: Vec::new(),
            limits: UserLimits::default(),
            permissions: PersistentMap::default(),
            topic_permissions: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// An administrator that is in no database, for tools that act for the node's operator.
    pub fn operator(name: Name) -> Self {
        Self {
            tags: vec!["administrator".into()],
            ..Self::new(name)
        }
    }

    /// A user that is in no database and may enter these vhosts; what it may do there is somebody else's decision.
    pub fn elsewhere(
        name: Name,
        tags: Vec<Box<str>>,
        vhosts: impl IntoIterator<Item = Name>,
    ) -> Self {
        let mut user = Self {
            tags,
            ..Self::new(name)
        };
        for vhost in vhosts {
            let everything = Permission {
                configure: Pattern::everything(),
                write: Pattern::everything(),
                read: Pattern::everything(),
            };
            user.permissions.insert_mut(vhost, Arc::new(everything));
        }
        user
    }

    /// Whether the user has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| **own == *tag)
    }

    /// What the user may do in a vhost.
    pub fn permission(&self, vhost: &str) -> Option<&Permission> {
        self.permissions.get(vhost).map(|entry| &**entry)
    }

    /// All permissions with their vhosts, in no particular order.
    pub fn permissions(&self) -> impl Iterator<Item = (&Name, &Permission)> {
        self.permissions
            .iter()
            .map(|(vhost, entry)| (vhost, &**entry))
    }

    /// How the user is restricted on a topic exchange, if at all.
    pub fn topic_permission(&self, vhost: &Name, exchange: &Name) -> Option<&TopicPermission> {
        if self.topic_permissions.is_empty() {
            return None;
        }
        self.topic_permissions
            .get(&(vhost.clone(), exchange.clone()))
            .map(|entry| &**entry)
    }

    /// All topic permissions with vhost and exchange, ordered by these.
    pub fn topic_permissions(&self) -> impl Iterator<Item = (&Name, &Name, &TopicPermission)> {
        self.topic_permissions
            .iter()
            .map(|((vhost, exchange), entry)| (vhost, exchange, &**entry))
    }

    /// Whether the user has any permission in a vhost.
    pub(crate) fn mentions(&self, vhost: &Name) -> bool {
        self.permissions.contains_key(vhost)
            || self
                .topic_permissions
                .keys()
                .any(|(entry, _)| entry == vhost)
    }

    pub(crate) fn forget_vhost(&mut self, vhost: &Name) {
        self.permissions.remove_mut(vhost);
        self.clear_topic_permissions(vhost, None);
    }

    /// Clears those for one exchange, or all in the vhost.
    pub(crate) fn clear_topic_permissions(&mut self, vhost: &Name, exchange: Option<&Name>) {
        let cleared = |key: &&(Name, Name)| {
            key.0 == *vhost && exchange.is_none_or(|exchange| key.1 == *exchange)
        };
        let keys: Vec<_> = self
            .topic_permissions
            .keys()
            .filter(cleared)
            .cloned()
            .collect();
        keys.iter()
            .for_each(|key| _ = self.topic_permissions.remove_mut(key));
    }
}
