//! What clients may do with the name of a sharded exchange where a queue is meant: it stands for the shards, of which those who consume
//! get the one with the fewest consumers.
//!
//! What shards are is the broker's matter ([`broker::sharding`]). Nothing here looks at messages.
//!
//! Compat: all this comes before anything else about the method, as an interceptor of RabbitMQ's plugin rabbitmq_sharding does it.

use crate::channel::{Channel, Waiting, unexpected_answer};
use crate::exception::{Exception, Violation};
use crate::session::{Session, Turn};
use base::{Name, QueueRef};
use broker::Error;
use broker::command::{QueueCommand, Reply};

/// Which shard a method means is being found out: they are asked one after the other how many consumers they have.
#[derive(Debug)]
pub(crate) struct ShardChoice {
    /// Class and method ids of the method.
    pub(crate) ids: (u16, u16),
    exchange: Box<[u8]>,
    /// The one that is asked.
    asked: Name,
    /// Those that come after it.
    left: Vec<(Name, QueueRef)>,
    /// The one with the fewest consumers so far; of those with equally many the first by name.
    best: Option<(u32, Name)>,
}

/// The names of the shards, if this is the name of a sharded exchange.
fn shards<'a>(turn: &'a Turn<'_>, name: &'a [u8]) -> Option<impl Iterator<Item = Name> + 'a> {
    let name = str::from_utf8(name).ok()?;
    turn.metadata.shards(&turn.session.vhost, name)
}

/// What is declared if a client declares a queue by the name of a sharded exchange.
pub(crate) fn first_shard(turn: &Turn<'_>, name: &[u8]) -> Option<Name> {
    let _names = shards(turn, name)?;
    let exchange = str::from_utf8(name).ok()?;
    Some(turn.metadata.shard(exchange, 0))
}

/// Refuses what cannot be done to all shards of an exchange.
///
/// # Errors
/// It is the name of a sharded exchange.
pub(crate) fn refuse(turn: &Turn<'_>, verb: &'static str, name: &[u8]) -> Result<(), Exception> {
    match shards(turn, name) {
        None => Ok(()),
        Some(_) => Err(Violation::Sharded {
            verb,
            exchange: name,
        }
        .into()),
    }
}

impl Channel {
    /// The queue that a method means from which messages are wanted.
    ///
    /// # Errors
    /// There is none; or the channel waits for [`Waiting::Shard`], and the method has to come again.
    pub(crate) fn consumed_queue(
        &mut self,
        turn: &mut Turn<'_>,
        given: &[u8],
        ids: (u16, u16),
    ) -> Result<Name, Exception> {
        if let Some(shard) = self.chosen_shard.take() {
            return Ok(shard);
        }
        let Some(names) = shards(turn, given) else {
            return self.queue_name(given);
        };
        let metadata = turn.metadata;
        let vhost = metadata.vhost(&turn.session.vhost);
        let queue = |name: Name| Some((name.clone(), vhost?.queue(&name)?.queue));
        let mut left: Vec<_> = names.filter_map(queue).collect();
        left.reverse();
        self.ask_next_shard(
            turn.session,
            Box::new(ShardChoice {
                ids,
                exchange: given.into(),
                asked: Name::default(),
                left,
                best: None,
            }),
        )?;
        // Nobody hears this: the method is kept, since the channel waits now.
        Err(Violation::Internal("no shard is chosen yet").into())
    }

    /// # Errors
    /// No shard is left, and none has answered.
    fn ask_next_shard(
        &mut self,
        session: &mut Session,
        mut choice: Box<ShardChoice>,
    ) -> Result<(), Exception> {
        if let Some((name, queue)) = choice.left.pop() {
            choice.asked = name;
            self.waiting = Some(Waiting::Shard(choice));
            session.ask_queue(queue, QueueCommand::Status { channel: self.id });
            return Ok(());
        }
        match choice.best {
            Some((_, name)) => self.chosen_shard = Some(name),
            None => return Err(Violation::NoShard(&choice.exchange).into()),
        }
        Ok(())
    }

    /// A shard has said how many consumers it has, or is gone.
    ///
    /// # Errors
    /// It was the last one, and none is there; or the answer is another one.
    pub(crate) fn shard_answered(
        &mut self,
        session: &mut Session,
        mut choice: Box<ShardChoice>,
        reply: &Reply,
    ) -> Result<(), Exception> {
        if let Reply::Status { consumers, .. } = reply {
            let this = (*consumers, std::mem::take(&mut choice.asked));
            if choice.best.as_ref().is_none_or(|best| this < *best) {
                choice.best = Some(this);
            }
        } else if let Reply::Failed(error) = reply {
            if !matches!(**error, Error::NotFound { .. }) {
                return Err(Error::clone(error).into());
            }
        } else {
            return Err(unexpected_answer());
        }
        self.ask_next_shard(session, choice)
    }
}
