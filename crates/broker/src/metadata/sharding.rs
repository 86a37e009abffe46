//! Shards come with the command that makes a policy shard an exchange: its declaration, or a change of policies.
//!
//! They are ordinary queues and bindings, and are in the log as such, so replaying it needs no policies. No queue is ever deleted
//! here, since messages may be in it: those of an exchange that is sharded no more, or less, stay.

use super::operator::QUEUE_TYPE;
use super::{Applied, Metadata, Origin};
use crate::Error;
use crate::command::{Destination, MetadataCommand};
use crate::exchange::Exchange;
use crate::sharding::{SHARDING_USER, SHARDS_PER_NODE, Sharding, shard_name};
use crate::value::{Arguments, Value};
use crate::vhost::Vhost;
use base::Name;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;

/// Longest name of a queue that clients can say, in bytes.
const NAME_BYTES_MAX: usize = 255;

impl Metadata {
    /// The names of the queues that an exchange is sharded over on this node, whether they exist or not; `None` if no policy shards it.
    /// Costs one look at a flag where no policy of the vhost is about shards.
    pub fn shards(&self, vhost: &str, exchange: &str) -> Option<impl Iterator<Item = Name>> {
        let Sharding { shards, .. } = self.vhost(vhost)?.sharding_of(exchange)?;
        Some((0..shards).map(move |number| self.shard(exchange, number)))
    }

    /// The name of one of them, by its number.
    pub fn shard(&self, exchange: &str, number: u32) -> Name {
        shard_name(exchange, &self.rules.node, number)
    }

    /// For each exchange that is sharded, the commands that make what it lacks. A node gives them at its start: its name may be another
    /// one than before, and clients can delete queues.
    pub fn missing_shards(&self) -> Vec<Vec<MetadataCommand>> {
        let exchanges = |vhost| {
            let shardings = shardings(vhost, None).into_iter();
            shardings.map(move |(name, sharding)| (vhost, name, sharding))
        };
        let all = self.vhosts().flat_map(|vhost| exchanges(&**vhost));
        all.filter_map(|(vhost, name, sharding)| {
            let exchange = vhost.exchange(&name)?;
            let commands = self.shard_commands(vhost, exchange, &sharding);
            let declares =
                |command: &MetadataCommand| matches!(command, MetadataCommand::DeclareQueue { .. });
            commands.iter().any(declares).then_some(commands)
        })
        .collect()
    }

    /// The vhost whose shards a command may change.
    pub(super) fn reshards<'a>(&self, command: &'a MetadataCommand) -> Option<&'a Name> {
        use MetadataCommand as C;
        if let C::DeclareExchange { vhost, .. }
        | C::DeletePolicy { vhost, .. }
        | C::PutPolicy { vhost, .. } = command
        {
            let shards = |vhost: &Vhost| vhost.has_sharding();
            let adds = matches!(command, C::PutPolicy { policy, .. } if policy.definition.contains_key(SHARDS_PER_NODE));
            return (adds || self.has(vhost, shards)).then_some(vhost);
        }
        None
    }

    /// Does what a command asks for and gives the exchanges of its vhost the shards that policies then say.
    ///
    /// # Errors
    /// The rule that the command or a shard would break. Nothing has changed then.
    pub(super) fn apply_and_reshard(
        &mut self,
        command: &MetadataCommand,
        vhost: &Name,
    ) -> Result<Applied, Error> {
        let mut only = None;
        if let MetadataCommand::DeclareExchange { name, .. } = command {
            only = Some(name);
        }
        let mut next = self.clone();
        let shardings = |metadata: &Self| {
            let vhost = metadata.vhost(vhost);
            vhost.map_or_else(BTreeMap::new, |vhost| shardings(vhost, only))
        };
        let before = shardings(&next);
        let mut applied = next.dispatch(command, Origin::Request)?;
        let after = shardings(&next);
        for (exchange, commands) in next.reshard_commands(vhost, &before, &after)? {
            for command in commands {
                let followed = next.dispatch(&command, Origin::Request);
                let followed = followed.map_err(|error| refusal(vhost, &exchange, &error))?;
                applied.log.extend(followed.log);
                applied.events.extend(followed.events);
            }
        }
        applied.durable = !applied.log.is_empty();
        *self = next;
        Ok(applied)
    }

    /// What makes the shards of each exchange what policies say now. New bindings come before old ones go: an exchange that goes with
    /// its last binding stays.
    fn reshard_commands(
        &self,
        vhost: &Name,
        before: &BTreeMap<Name, Sharding>,
        after: &BTreeMap<Name, Sharding>,
    ) -> Result<Vec<(Name, Vec<MetadataCommand>)>, Error> {
        let vhost = self.expect_vhost(vhost)?;
        let mut all = Vec::new();
        for (name, sharding) in after {
            if before.get(name) != Some(sharding) {
                self.check_names(&vhost.name, name, sharding)?;
                let exchange = vhost.expect_exchange(name)?;
                let commands = self.shard_commands(vhost, exchange, sharding);
                all.push((name.clone(), commands));
            }
        }
        for (name, old) in before {
            let key = after.get(name).map(|sharding| &sharding.routing_key);
            if key != Some(&old.routing_key) {
                all.push((name.clone(), self.unbind_commands(vhost, name, old)));
            }
        }
        Ok(all)
    }

    fn check_names(&self, vhost: &Name, exchange: &Name, sharding: &Sharding) -> Result<(), Error> {
        let Some(last) = sharding.shards.checked_sub(1) else {
            return Ok(());
        };
        let longest = self.shard(exchange, last).len();
        if longest <= NAME_BYTES_MAX {
            return Ok(());
        }
        let problem = format!(
            "the names of its queues would have {longest} bytes, more than {NAME_BYTES_MAX}"
        );
        Err(refusal(vhost, exchange, &problem))
    }

    fn unbind_commands(
        &self,
        vhost: &Vhost,
        exchange: &Name,
        old: &Sharding,
    ) -> Vec<MetadataCommand> {
        let unbind = |number| MetadataCommand::Unbind {
            vhost: vhost.name.clone(),
            source: exchange.clone(),
            destination: Destination::Queue(self.shard(exchange, number)),
            routing_key: old.routing_key.clone(),
            arguments: Arguments::default(),
        };
        (0..old.shards).map(unbind).collect()
    }

    /// Declares the queues that do not exist, and binds all. A queue that exists is taken as it is.
    fn shard_commands(
        &self,
        vhost: &Vhost,
        exchange: &Exchange,
        sharding: &Sharding,
    ) -> Vec<MetadataCommand> {
        let mut commands = Vec::new();
        for number in 0..sharding.shards {
            let name = self.shard(&exchange.name, number);
            if vhost.queue(&name).is_none() {
                commands.push(MetadataCommand::DeclareQueue {
                    vhost: vhost.name.clone(),
                    name: name.clone(),
                    durable: exchange.durable,
                    exclusive_owner: None,
                    auto_delete: false,
                    arguments: classic(),
                    user: SHARDING_USER.into(),
                    // Each on another thread, as far as there are so many.
                    home: u16::try_from(number).unwrap_or(u16::MAX),
                    server_named: false,
                    id: None,
                });
            }
            commands.push(MetadataCommand::Bind {
                vhost: vhost.name.clone(),
                source: exchange.name.clone(),
                destination: Destination::Queue(name),
                routing_key: sharding.routing_key.clone(),
                arguments: Arguments::default(),
            });
        }
        commands
    }
}

fn refusal(vhost: &Name, exchange: &Name, problem: &dyn fmt::Display) -> Error {
    let text = format!("cannot shard exchange '{exchange}' in vhost '{vhost}': {problem}");
    Error::Precondition(text.into())
}

/// Shards are classic, whatever the default of the vhost is.
fn classic() -> Arguments {
    let queue_type = Value::LongStr(Bytes::from_static(b"classic"));
    Arguments::from_pairs([(QUEUE_TYPE.into(), queue_type)])
}

/// How the exchanges of a vhost are sharded, or `only` that one.
fn shardings(vhost: &Vhost, only: Option<&Name>) -> BTreeMap<Name, Sharding> {
    let of = |name: &Name| Some((name.clone(), vhost.sharding_of(name)?));
    match only {
        _ if !vhost.has_sharding() => BTreeMap::new(),
        Some(name) => of(name).into_iter().collect(),
        None => {
            let exchanges = vhost.exchanges();
            exchanges
                .filter_map(|exchange| of(&exchange.name))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MetadataRules;
    use crate::policy::{Policy, PolicyScope};
    use crate::vhost_metadata::VhostMetadata;
    use MetadataCommand as C;
    use serde_json::json;
    use std::sync::Arc;

    const NODE: &str = "a@b";

    fn fresh() -> Metadata {
        let mut metadata = Metadata::new(2);
        metadata.set_rules(MetadataRules {
            node: NODE.into(),
            default_queue_type: "quorum".into(),
            ..MetadataRules::default()
        });
        let name = "v".into();
        let create = C::CreateVhost {
            name,
            metadata: VhostMetadata::default(),
        };
        metadata.apply(&create).unwrap();
        metadata
    }

    fn put(pattern: &str, shards: u32, routing_key: &str) -> C {
        let policy = json!({"pattern": pattern, "priority": 0,
            "definition": {SHARDS_PER_NODE: shards, "routing-key": routing_key}});
        let policy = Policy::from_json(PolicyScope::User, &"p".into(), &policy).unwrap();
        C::PutPolicy {
            vhost: "v".into(),
            scope: PolicyScope::User,
            policy: Arc::new(policy),
        }
    }

    fn delete_policy() -> C {
        C::DeletePolicy {
            vhost: "v".into(),
            scope: PolicyScope::User,
            name: "p".into(),
        }
    }

    fn exchange(name: &str, exchange_type: &str, durable: bool, auto_delete: bool) -> C {
        C::DeclareExchange {
            vhost: "v".into(),
            name: name.into(),
            exchange_type: exchange_type.into(),
            durable,
            auto_delete,
            internal: false,
            arguments: Arguments::default(),
            history: None,
        }
    }

    /// What is bound to `x`, as `number key`.
    fn bound(metadata: &Metadata) -> Vec<String> {
        let vhost = metadata.vhost("v").unwrap();
        let bindings = vhost.bindings_of_source("x");
        let mut bound: Vec<_> = bindings
            .map(|binding| {
                let Destination::Queue(name) = &binding.destination else {
                    panic!("{binding:?}");
                };
                let number = name.rsplit(' ').next().unwrap();
                format!("{number} {}", str::from_utf8(&binding.binding_key).unwrap())
            })
            .collect();
        bound.sort();
        bound
    }

    fn queues(metadata: &Metadata) -> Vec<String> {
        let queues = metadata.queues().map(|record| record.name.to_string());
        let mut queues: Vec<_> = queues.collect();
        queues.sort();
        queues
    }

    /// Applies what is refused, and checks that it leaves no trace.
    fn refused(metadata: &mut Metadata, command: &C) -> String {
        let before = metadata.to_snapshot();
        let text = metadata.apply(command).unwrap_err().to_string();
        assert_eq!(metadata.to_snapshot(), before);
        text
    }

    #[test]
    fn shards_come_with_the_exchange_and_are_classic_whatever_the_default_is() {
        let mut metadata = fresh();
        metadata.apply(&put("^x", 3, "7")).unwrap();
        assert_eq!(queues(&metadata), [""; 0]);
        metadata
            .apply(&exchange("x", "direct", true, false))
            .unwrap();
        let vhost = metadata.vhost("v").unwrap();
        for (number, shard) in [(0_u32, 0), (1, 1), (2, 0)] {
            let record = vhost.queue(&metadata.shard("x", number)).unwrap();
            assert_eq!(*record.name, format!("sharding: x - {NODE} - {number}"));
            assert_eq!(record.queue.shard.0, shard, "they are on all threads");
            assert!(record.durable && !record.auto_delete);
            assert_eq!(
                record.arguments.get(QUEUE_TYPE).unwrap().as_str(),
                Some("classic")
            );
            assert_eq!(*record.user, *SHARDING_USER);
        }
        assert_eq!(bound(&metadata), ["0 7", "1 7", "2 7"]);
        let names: Vec<_> = metadata.shards("v", "x").unwrap().collect();
        assert_eq!(names.len(), 3);
        assert!(metadata.shards("v", "y").is_none(), "no such exchange");
        assert!(
            metadata.shards("v", "amq.topic").is_none(),
            "it does not match"
        );
        metadata.check_invariants();
    }

    #[test]
    fn the_log_brings_the_same_shards_back() {
        let mut metadata = fresh();
        let mut restored = fresh();
        let commands = [
            exchange("x", "direct", true, false),
            exchange("xt", "fanout", false, false),
            put("^x", 2, "a"),
            put("^x", 3, "b"),
            exchange("xx", "fanout", true, true),
            delete_policy(),
            put("^x", 1, ""),
        ];
        for command in &commands {
            let applied = metadata.apply(command).unwrap();
            assert!(
                applied.durable || matches!(command, C::DeclareExchange { durable: false, .. })
            );
            for logged in &applied.log {
                restored.replay(logged).unwrap();
            }
            restored.check_invariants();
        }
        assert_eq!(
            metadata.to_snapshot().commands,
            restored.to_snapshot().commands
        );
        assert_eq!(bound(&restored), ["0 "]);
        assert_eq!(
            queues(&restored).len(),
            6,
            "transient ones are not in the log"
        );
    }

    #[test]
    fn queues_stay_and_bindings_follow_the_routing_key() {
        let mut metadata = fresh();
        metadata
            .apply(&exchange("x", "direct", true, true))
            .unwrap();
        let mut check = |command: C, expected: &[&str]| {
            metadata.apply(&command).unwrap();
            assert_eq!(bound(&metadata), expected, "{command:?}");
            metadata.check_invariants();
        };
        check(put("^x", 1, "a"), &["0 a"]);
        check(put("^x", 3, "a"), &["0 a", "1 a", "2 a"]);
        check(put("^x", 1, "a"), &["0 a", "1 a", "2 a"]);
        // The old key is taken from as many as there were by the last policy, as in RabbitMQ.
        check(put("^x", 2, "b"), &["0 b", "1 a", "1 b", "2 a"]);
        check(put("^y", 2, "b"), &["1 a", "2 a"]);
        assert_eq!(queues(&metadata).len(), 3);
        assert!(metadata.vhost("v").unwrap().exchange("x").is_some());
    }

    #[test]
    fn an_auto_delete_exchange_outlives_a_new_key_and_goes_with_its_policy() {
        let mut metadata = fresh();
        metadata
            .apply(&exchange("x", "direct", true, true))
            .unwrap();
        metadata.apply(&put("^x", 1, "a")).unwrap();
        metadata.apply(&put("^x", 1, "b")).unwrap();
        assert!(metadata.vhost("v").unwrap().exchange("x").is_some());
        metadata.apply(&delete_policy()).unwrap();
        assert!(metadata.vhost("v").unwrap().exchange("x").is_none());
        assert_eq!(queues(&metadata).len(), 1);
    }

    #[test]
    fn what_cannot_be_sharded_is_refused_with_all_that_goes_with_it() {
        let mut metadata = fresh();
        metadata
            .apply(&exchange("x", "x-consistent-hash", true, false))
            .unwrap();
        metadata
            .apply(&exchange("w", "fanout", true, false))
            .unwrap();
        assert_eq!(
            refused(&mut metadata, &put("^[wx]$", 2, "a")),
            "cannot shard exchange 'x' in vhost 'v': The binding key must be an integer: <<\"a\">>"
        );
        metadata.apply(&put("^y", 2, "")).unwrap();
        let long = "y".repeat(250);
        assert_eq!(
            refused(&mut metadata, &exchange(&long, "fanout", true, false)),
            format!(
                "cannot shard exchange '{long}' in vhost 'v': the names of its queues would have 270 bytes, more than 255"
            )
        );
        metadata.set_rules(MetadataRules {
            queues_max: Some(1),
            ..MetadataRules::default()
        });
        assert_eq!(
            refused(&mut metadata, &exchange("y", "fanout", true, false)),
            "cannot shard exchange 'y' in vhost 'v': cannot declare queue 'sharding: y - rabbit@localhost - 1': queue limit in cluster (1) is reached"
        );
    }

    #[test]
    fn all_exchanges_but_the_default_one_are_sharded() {
        let mut metadata = fresh();
        metadata.apply(&put("", 1, "")).unwrap();
        let exchanges = metadata.vhost("v").unwrap().exchange_count();
        assert_eq!(queues(&metadata).len(), exchanges - 1);
        assert!(metadata.shards("v", "").is_none());
        assert!(metadata.shards("v", "amq.topic").is_some());
    }

    #[test]
    fn a_queue_of_that_name_is_taken_as_it_is() {
        let mut metadata = fresh();
        let declare = C::DeclareQueue {
            vhost: "v".into(),
            name: metadata.shard("x", 0),
            durable: false,
            exclusive_owner: None,
            auto_delete: true,
            arguments: Arguments::default(),
            user: "u".into(),
            home: 0,
            server_named: false,
            id: None,
        };
        metadata.apply(&declare).unwrap();
        metadata.apply(&put("^x", 1, "a")).unwrap();
        metadata
            .apply(&exchange("x", "direct", true, false))
            .unwrap();
        assert_eq!(bound(&metadata), ["0 a"]);
        assert_eq!(queues(&metadata).len(), 1);
    }

    #[test]
    fn a_start_makes_what_is_missing() {
        let mut metadata = fresh();
        metadata.apply(&put("^x", 2, "a")).unwrap();
        metadata
            .apply(&exchange("x", "direct", true, false))
            .unwrap();
        assert!(metadata.missing_shards().is_empty());
        metadata.set_rules(MetadataRules {
            node: "c@d".into(),
            ..MetadataRules::default()
        });
        let missing = metadata.missing_shards();
        assert_eq!(missing.len(), 1);
        for command in missing.iter().flatten() {
            metadata.apply(command).unwrap();
        }
        assert!(metadata.missing_shards().is_empty());
        assert_eq!(bound(&metadata), ["0 a", "0 a", "1 a", "1 a"]);
    }
}
