//! Exchanges, queues and bindings: declare, delete, bind, unbind, purge.
//!
//! Permissions and whatever concerns the connection (exclusive queues, shortcuts for names) are decided here; whether a
//! change is possible, and every text about it, is the metadata machine's. Changes are asked for and answered later.
//!
//! Spec: class exchange, class queue; RabbitMQ docs: e2e, exclusive queues, access-control.

use crate::arguments;
use crate::channel::{Channel, Waiting, unexpected_answer};
use crate::exception::{Exception, Violation};
use crate::publish::vhost_gone;
use crate::reply_to::{self, REPLY_TO};
use crate::session::{Session, Turn};
use crate::sharding;
use base::Name;
use broker::Error;
use broker::auth::{self, Configure, Read, Write};
use broker::command::{Destination, MetadataCommand, MetadataReply, QueueCommand};
use broker::error::ResourceKind;
use broker::exchange::ExchangeType;
use broker::queue_arguments::QueueType;
use broker::value::{Arguments, Value};
use broker::vhost::{QueueRecord, Vhost};
use bytes::Bytes;
use codec_amqp091::{exchange, queue};
use std::sync::Arc;

/// Prefix of queue names that the server chooses.
const GENERATED_QUEUE_PREFIX: &str = "amq.gen-";
/// What names that belong to the server start with.
const RESERVED_PREFIX: &str = "amq.";
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

/// The vhost of the connection.
///
/// # Errors
/// It was deleted.
fn vhost<'m>(turn: &Turn<'m>) -> Result<&'m Arc<Vhost>, Exception> {
    turn.metadata
        .vhost(&turn.session.vhost)
        .ok_or_else(|| vhost_gone(turn.session))
}

/// A queue of the vhost.
///
/// # Errors
/// There is none of that name.
pub(crate) fn expect_queue<'m>(
    turn: &Turn<'m>,
    name: &Name,
) -> Result<&'m Arc<QueueRecord>, Exception> {
    Ok(vhost(turn)?.expect_queue(name)?)
}

/// A count as the protocol can say it.
pub(crate) fn count(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn refuse_default_exchange(name: &Name) -> Result<(), Exception> {
    if name.is_empty() {
        Err(Error::DefaultExchange.into())
    } else {
        Ok(())
    }
}

fn may_configure(turn: &Turn<'_>, kind: ResourceKind, name: &Name) -> Result<(), Exception> {
    auth::authorize(
        turn.metadata,
        &turn.session.principal,
        &turn.session.vhost,
        Configure,
        kind,
        name,
    )?;
    Ok(())
}

fn may_read(turn: &Turn<'_>, kind: ResourceKind, name: &Name) -> Result<(), Exception> {
    auth::authorize(
        turn.metadata,
        &turn.session.principal,
        &turn.session.vhost,
        Read,
        kind,
        name,
    )?;
    Ok(())
}

fn may_write(turn: &Turn<'_>, kind: ResourceKind, name: &Name) -> Result<(), Exception> {
    auth::authorize(
        turn.metadata,
        &turn.session.principal,
        &turn.session.vhost,
        Write,
        kind,
        name,
    )?;
    Ok(())
}

/// An argument that names an exchange, if it is there and of the right type. What is wrong with others is said when the
/// declaration is checked.
fn exchange_argument(arguments: &Arguments, key: &str) -> Option<Name> {
    arguments.get(key).and_then(Value::as_str).map(Name::from)
}

// Exchanges.
impl Channel {
    pub(crate) fn exchange_declare(
        &mut self,
        turn: &mut Turn<'_>,
        method: &exchange::Declare<'_>,
    ) -> Result<(), Exception> {
        let name = arguments::declared_name(method.exchange)?;
        refuse_default_exchange(&name)?;
        if method.passive {
            let Session {
                principal,
                vhost: vhost_name,
                ..
            } = &*turn.session;
            auth::authorize_passive(
                turn.metadata,
                principal,
                vhost_name,
                ResourceKind::Exchange,
                &name,
            )?;
            vhost(turn)?.expect_exchange(&name)?;
            self.exchange_declared(turn.session, method.no_wait);
            return Ok(());
        }
        may_configure(turn, ResourceKind::Exchange, &name)?;
        let exchange_arguments = arguments::from_table(method.arguments)?;
        if vhost(turn)?.exchange(&name).is_none()
            && let Some(alternate) = exchange_argument(&exchange_arguments, ALTERNATE_EXCHANGE)
        {
            may_read(turn, ResourceKind::Exchange, &name)?;
            may_write(turn, ResourceKind::Exchange, &alternate)?;
        }
        let command = MetadataCommand::DeclareExchange {
            vhost: turn.session.vhost.clone(),
            name,
            exchange_type: arguments::text(method.exchange_type)?.into(),
            durable: method.durable,
            auto_delete: method.auto_delete,
            internal: method.internal,
            arguments: exchange_arguments,
            history: None,
        };
        self.ask_metadata(
            turn.session,
            Waiting::ExchangeDeclare {
                no_wait: method.no_wait,
            },
            command,
        );
        Ok(())
    }

    fn exchange_declared(&self, session: &mut Session, no_wait: bool) {
        if !no_wait {
            exchange::DeclareOk.encode(self.number(), session.encoded());
        }
    }

    pub(crate) fn exchange_delete(
        &mut self,
        turn: &mut Turn<'_>,
        method: &exchange::Delete<'_>,
    ) -> Result<(), Exception> {
        let name = arguments::declared_name(method.exchange)?;
        refuse_default_exchange(&name)?;
        may_configure(turn, ResourceKind::Exchange, &name)?;
        let vhost = turn.session.vhost.clone();
        let command = MetadataCommand::DeleteExchange {
            vhost,
            name,
            if_unused: method.if_unused,
        };
        self.ask_metadata(
            turn.session,
            Waiting::ExchangeDelete {
                no_wait: method.no_wait,
            },
            command,
        );
        Ok(())
    }

    pub(crate) fn exchange_bind(
        &mut self,
        turn: &mut Turn<'_>,
        method: &exchange::Bind<'_>,
    ) -> Result<(), Exception> {
        let destination = arguments::name(method.destination)?;
        let source = arguments::name(method.source)?;
        refuse_default_exchange(&source)?;
        refuse_default_exchange(&destination)?;
        let destination = Destination::Exchange(destination);
        let routing_key = Bytes::copy_from_slice(arguments::text(method.routing_key)?.as_bytes());
        check_binding(turn, &source, &destination, &routing_key)?;
        let arguments = arguments::from_table(method.arguments)?;
        let vhost = turn.session.vhost.clone();
        let command = MetadataCommand::Bind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        };
        self.ask_metadata(
            turn.session,
            Waiting::ExchangeBind {
                no_wait: method.no_wait,
            },
            command,
        );
        Ok(())
    }

    pub(crate) fn exchange_unbind(
        &mut self,
        turn: &mut Turn<'_>,
        method: &exchange::Unbind<'_>,
    ) -> Result<(), Exception> {
        let destination = arguments::name(method.destination)?;
        let source = arguments::name(method.source)?;
        refuse_default_exchange(&source)?;
        refuse_default_exchange(&destination)?;
        let destination = Destination::Exchange(destination);
        let routing_key = Bytes::copy_from_slice(arguments::text(method.routing_key)?.as_bytes());
        check_binding(turn, &source, &destination, &routing_key)?;
        let arguments = arguments::from_table(method.arguments)?;
        let vhost = turn.session.vhost.clone();
        let command = MetadataCommand::Unbind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        };
        self.ask_metadata(
            turn.session,
            Waiting::ExchangeUnbind {
                no_wait: method.no_wait,
            },
            command,
        );
        Ok(())
    }
}

// Queues.
impl Channel {
    /// The queue a method means: an empty name is the last one that was declared on the channel.
    ///
    /// # Errors
    /// None was declared.
    pub(crate) fn queue_name(&self, name: &[u8]) -> Result<Name, Exception> {
        if name.is_empty() {
            return self
                .last_queue
                .clone()
                .ok_or_else(|| Violation::NoPreviousQueue.into());
        }
        arguments::name(name)
    }

    /// A name for a queue. While somebody is asked about it, it stays the same.
    fn choose_name(&mut self, session: &mut Session) -> Name {
        if let Some(name) = self.chosen_name.take() {
            self.chosen_name = Some(name.clone());
            return name;
        }
        let name: Name = session.random.name(GENERATED_QUEUE_PREFIX).into();
        if session.principal.authority().is_some() {
            self.chosen_name = Some(name.clone());
        }
        name
    }

    pub(crate) fn queue_declare(
        &mut self,
        turn: &mut Turn<'_>,
        method: &queue::Declare<'_>,
    ) -> Result<(), Exception> {
        let given = match sharding::first_shard(turn, method.queue) {
            Some(shard) => shard,
            None => arguments::declared_name(method.queue)?,
        };
        if reply_to::is_generated(&given) || given == REPLY_TO {
            return self.declare_reply_queue(turn.session, given, method.no_wait);
        }
        if method.passive {
            return self.queue_declare_passive(turn, given, method.no_wait);
        }
        let server_named = given.is_empty();
        // Compat: for queues RabbitMQ looks at the prefix before it looks for the queue, so the creator of a queue with a
        // generated name cannot declare it again either.
        if given.starts_with(RESERVED_PREFIX) {
            return Err(Error::ReservedName {
                kind: ResourceKind::Queue,
                name: given,
            }
            .into());
        }
        let name = if server_named {
            self.choose_name(turn.session)
        } else {
            given
        };
        may_configure(turn, ResourceKind::Queue, &name)?;
        let queue_arguments = arguments::from_table(method.arguments)?;
        if vhost(turn)?.queue(&name).is_none()
            && let Some(dead_letter_exchange) =
                exchange_argument(&queue_arguments, DEAD_LETTER_EXCHANGE)
        {
            may_read(turn, ResourceKind::Queue, &name)?;
            may_write(turn, ResourceKind::Exchange, &dead_letter_exchange)?;
        }
        self.chosen_name = None;
        turn.session.declared_exclusive |= method.exclusive;
        let command = MetadataCommand::DeclareQueue {
            vhost: turn.session.vhost.clone(),
            name: name.clone(),
            durable: method.durable,
            exclusive_owner: method.exclusive.then_some(turn.session.id),
            auto_delete: method.auto_delete,
            arguments: queue_arguments,
            user: turn.session.user.clone(),
            home: turn.session.id.shard.0,
            server_named,
            id: None,
        };
        self.ask_metadata(
            turn.session,
            Waiting::QueueDeclare {
                name,
                no_wait: method.no_wait,
            },
            command,
        );
        Ok(())
    }

    fn queue_declare_passive(
        &mut self,
        turn: &mut Turn<'_>,
        name: Name,
        no_wait: bool,
    ) -> Result<(), Exception> {
        let Session {
            principal,
            vhost,
            id,
            ..
        } = &*turn.session;
        auth::authorize_passive(turn.metadata, principal, vhost, ResourceKind::Queue, &name)?;
        let record = expect_queue(turn, &name)?;
        record.check_exclusive(*id)?;
        let queue = record.queue;
        self.waiting = Some(Waiting::QueueStatus { name, no_wait });
        turn.session
            .ask_queue(queue, QueueCommand::Status { channel: self.id });
        Ok(())
    }

    /// Names of direct reply-to look like queues with one consumer. Whether a requester on another connection still exists is
    /// not known here, so it is taken to.
    fn declare_reply_queue(
        &mut self,
        session: &mut Session,
        name: Name,
        no_wait: bool,
    ) -> Result<(), Exception> {
        let leads_somewhere = match reply_to::requester(name.as_bytes()) {
            None => name == REPLY_TO,
            Some(to) if to.connection == session.id => {
                session.reply_addresses.get(&to.number) == Some(&name)
            }
            Some(_) => true,
        };
        if !leads_somewhere {
            let vhost = session.vhost.clone();
            return Err(Error::NotFound {
                kind: ResourceKind::Queue,
                name,
                vhost,
            }
            .into());
        }
        self.queue_declared(session, name, no_wait, 0, 1);
        Ok(())
    }

    fn queue_declared(
        &mut self,
        session: &mut Session,
        name: Name,
        no_wait: bool,
        ready: u64,
        consumers: u32,
    ) {
        session.config.traffic.queues_declared.add(1);
        if !no_wait {
            let queue = name.as_bytes();
            queue::DeclareOk {
                queue,
                message_count: count(ready),
                consumer_count: consumers,
            }
            .encode(self.number(), session.encoded());
        }
        self.last_queue = Some(name);
    }

    /// The counts of a declared queue came.
    pub(crate) fn queue_status(
        &mut self,
        session: &mut Session,
        waiting: Waiting,
        ready: u64,
        consumers: u32,
    ) -> Result<(), Exception> {
        let Waiting::QueueStatus { name, no_wait } = waiting else {
            return Err(unexpected_answer());
        };
        self.queue_declared(session, name, no_wait, ready, consumers);
        Ok(())
    }

    pub(crate) fn queue_bind(
        &mut self,
        turn: &mut Turn<'_>,
        method: &queue::Bind<'_>,
    ) -> Result<(), Exception> {
        sharding::refuse(turn, "bind", method.queue)?;
        let name = self.queue_name(method.queue)?;
        let routing_key = binding_key(method.queue, &name, arguments::text(method.routing_key)?);
        let source = arguments::name(method.exchange)?;
        refuse_default_exchange(&source)?;
        refuse_reply_queue(&name)?;
        let destination = Destination::Queue(name.clone());
        check_binding(turn, &source, &destination, &routing_key)?;
        let vhost = vhost(turn)?;
        if let (Some(_), Some(record)) = (vhost.exchange(&source), vhost.queue(&name)) {
            record.check_exclusive(turn.session.id)?;
        }
        let arguments = arguments::from_table(method.arguments)?;
        let vhost = turn.session.vhost.clone();
        let command = MetadataCommand::Bind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        };
        self.ask_metadata(
            turn.session,
            Waiting::QueueBind {
                no_wait: method.no_wait,
            },
            command,
        );
        Ok(())
    }

    pub(crate) fn queue_unbind(
        &mut self,
        turn: &mut Turn<'_>,
        method: &queue::Unbind<'_>,
    ) -> Result<(), Exception> {
        sharding::refuse(turn, "unbind", method.queue)?;
        let name = self.queue_name(method.queue)?;
        let routing_key = binding_key(method.queue, &name, arguments::text(method.routing_key)?);
        let source = arguments::name(method.exchange)?;
        refuse_default_exchange(&source)?;
        refuse_reply_queue(&name)?;
        let destination = Destination::Queue(name.clone());
        check_binding(turn, &source, &destination, &routing_key)?;
        let arguments = arguments::from_table(method.arguments)?;
        // Compat: whoever unbinds what is not bound hears that it is done, whosever the queue is.
        let vhost = vhost(turn)?;
        if let Some(Err(not_ours)) = vhost
            .queue(&name)
            .map(|record| record.check_exclusive(turn.session.id))
            && vhost.bindings_of_destination(&destination).any(|binding| {
                binding.source == source
                    && binding.binding_key == routing_key
                    && binding.arguments == arguments
            })
        {
            return Err(not_ours.into());
        }
        let vhost = turn.session.vhost.clone();
        let command = MetadataCommand::Unbind {
            vhost,
            source,
            destination,
            routing_key,
            arguments,
        };
        self.ask_metadata(turn.session, Waiting::QueueUnbind, command);
        Ok(())
    }

    pub(crate) fn queue_purge(
        &mut self,
        turn: &mut Turn<'_>,
        method: &queue::Purge<'_>,
    ) -> Result<(), Exception> {
        sharding::refuse(turn, "purge", method.queue)?;
        let name = self.queue_name(method.queue)?;
        may_read(turn, ResourceKind::Queue, &name)?;
        let record = expect_queue(turn, &name)?;
        record.check_exclusive(turn.session.id)?;
        let queue = record.queue;
        self.waiting = Some(Waiting::QueuePurge {
            name,
            no_wait: method.no_wait,
        });
        turn.session
            .ask_queue(queue, QueueCommand::Purge { channel: self.id });
        Ok(())
    }

    /// The queue is empty.
    pub(crate) fn queue_purged(
        &self,
        session: &mut Session,
        waiting: Waiting,
        purged: u64,
    ) -> Result<(), Exception> {
        let Waiting::QueuePurge { no_wait, .. } = waiting else {
            return Err(unexpected_answer());
        };
        if !no_wait {
            queue::PurgeOk {
                message_count: count(purged),
            }
            .encode(self.number(), session.encoded());
        }
        Ok(())
    }

    pub(crate) fn queue_delete(
        &mut self,
        turn: &mut Turn<'_>,
        method: &queue::Delete<'_>,
    ) -> Result<(), Exception> {
        sharding::refuse(turn, "delete", method.queue)?;
        let name = self.queue_name(method.queue)?;
        may_configure(turn, ResourceKind::Queue, &name)?;
        let waiting = Waiting::QueueDelete {
            no_wait: method.no_wait,
        };
        let Some(record) = vhost(turn)?.queue(&name) else {
            return self.queue_deleted(turn.session, waiting, 0);
        };
        record.check_exclusive(turn.session.id)?;
        let queue = record.queue;
        let queue::Delete {
            if_unused,
            if_empty,
            ..
        } = *method;
        if record.settings.queue_type == QueueType::Quorum && (if_unused || if_empty) {
            let condition = if if_unused { "if-unused" } else { "if-empty" };
            let vhost = &turn.session.vhost;
            return Err(Violation::DeleteQuorumQueueIf {
                queue: &name,
                vhost,
                condition,
            }
            .into());
        }
        self.waiting = Some(waiting);
        turn.session.ask_queue(
            queue,
            QueueCommand::Delete {
                channel: self.id,
                if_unused,
                if_empty,
            },
        );
        Ok(())
    }

    /// The queue is gone.
    pub(crate) fn queue_deleted(
        &self,
        session: &mut Session,
        waiting: Waiting,
        ready: u64,
    ) -> Result<(), Exception> {
        let Waiting::QueueDelete { no_wait } = waiting else {
            return Err(unexpected_answer());
        };
        if !no_wait {
            queue::DeleteOk {
                message_count: count(ready),
            }
            .encode(self.number(), session.encoded());
        }
        Ok(())
    }
}

// Answers of the metadata machine.
impl Channel {
    fn ask_metadata(&mut self, session: &mut Session, waiting: Waiting, command: MetadataCommand) {
        self.waiting = Some(waiting);
        session.ask_metadata(self.id, command);
    }

    /// The change was made, durably if it had to be.
    pub(crate) fn metadata_changed(
        &mut self,
        turn: &mut Turn<'_>,
        waiting: Waiting,
        reply: &MetadataReply,
    ) -> Result<(), Exception> {
        let number = self.number();
        let out = turn.session.encoded();
        match waiting {
            Waiting::ExchangeDeclare { no_wait } => self.exchange_declared(turn.session, no_wait),
            Waiting::ExchangeDelete { no_wait: false } => exchange::DeleteOk.encode(number, out),
            Waiting::ExchangeBind { no_wait: false } => exchange::BindOk.encode(number, out),
            Waiting::ExchangeUnbind { no_wait: false } => exchange::UnbindOk.encode(number, out),
            Waiting::QueueBind { no_wait: false } => queue::BindOk.encode(number, out),
            Waiting::QueueUnbind => queue::UnbindOk.encode(number, out),
            Waiting::ExchangeDelete { no_wait: true }
            | Waiting::ExchangeBind { no_wait: true }
            | Waiting::ExchangeUnbind { no_wait: true }
            | Waiting::QueueBind { no_wait: true } => {}
            Waiting::QueueDeclare { name, no_wait } => {
                let MetadataReply::Queue { queue, created } = reply else {
                    return Err(unexpected_answer());
                };
                if *created {
                    self.queue_declared(turn.session, name, no_wait, 0, 0);
                } else {
                    self.waiting = Some(Waiting::QueueStatus { name, no_wait });
                    turn.session
                        .ask_queue(*queue, QueueCommand::Status { channel: self.id });
                }
            }
            Waiting::QueueStatus { .. }
            | Waiting::QueuePurge { .. }
            | Waiting::QueueDelete { .. }
            | Waiting::Consume { .. }
            | Waiting::Cancel { .. }
            | Waiting::Get { .. }
            | Waiting::Permission
            | Waiting::Shard(_)
            | Waiting::TxCommit(_) => return Err(unexpected_answer()),
        }
        Ok(())
    }
}

/// The binding key: if neither queue nor key was given, it is the queue's name.
fn binding_key(queue_given: &[u8], queue: &Name, routing_key: &str) -> Bytes {
    if queue_given.is_empty() && routing_key.is_empty() {
        return Bytes::copy_from_slice(queue.as_bytes());
    }
    Bytes::copy_from_slice(routing_key.as_bytes())
}

fn refuse_reply_queue(name: &Name) -> Result<(), Exception> {
    if reply_to::is_generated(name) {
        Err(Violation::BindReplyQueue.into())
    } else {
        Ok(())
    }
}

/// Checks what binding and unbinding need: write on the destination, read on the source.
fn check_binding(
    turn: &Turn<'_>,
    source: &Name,
    destination: &Destination,
    routing_key: &[u8],
) -> Result<(), Exception> {
    let (kind, name) = match destination {
        Destination::Queue(name) => (ResourceKind::Queue, name),
        Destination::Exchange(name) => (ResourceKind::Exchange, name),
    };
    may_write(turn, kind, name)?;
    may_read(turn, ResourceKind::Exchange, source)?;
    let vhost = vhost(turn)?;
    let Some(exchange) = vhost.exchange(source) else {
        return Ok(());
    };
    if exchange.exchange_type == ExchangeType::Topic {
        let Session {
            principal, vhost, ..
        } = &*turn.session;
        auth::authorize_topic(
            turn.metadata,
            principal,
            vhost,
            Read,
            source,
            routing_key,
            None,
        )?;
    }
    Ok(())
}
