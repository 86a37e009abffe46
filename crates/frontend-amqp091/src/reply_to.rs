//! Direct reply-to: answers go straight to the channel that asked, without a queue.
//!
//! A requester consumes from the pseudo-queue `amq.rabbitmq.reply-to`. Its requests carry a generated name in reply-to; an
//! answer that is published to the default exchange with that name as its routing key finds the channel by it.
//!
//! ```text
//! amq.rabbitmq.reply-to.<channel, 22 characters>.<key, 22 characters>==
//! ```
//!
//! The first part says where the channel is; the second is random and known to it only, so that nobody can answer who
//! was not asked. RabbitMQ docs: direct-reply-to.

use crate::channel::{Channel, Mode};
use crate::counts::PublishLineIndex;
use crate::exception::{Exception, Violation};
use crate::publish::published;
use crate::random::{ENCODED_ID_SIZE, parse_base64, push_base64};
use crate::request::Request;
use crate::session::Session;
use base::{ConnectionId, Name, ShardId};
use broker::command::ChannelId;
use broker::message::SharedMessage;
use bytes::Bytes;
use codec_amqp091::{BasicProperties, PropertyScan, basic, encode_deliver};

/// The pseudo-queue.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A channel's consumer of answers.
#[derive(Debug)]
pub(crate) struct ReplyConsumer {
    pub(crate) tag: Name,
    /// The name that requests carry.
    pub(crate) address: Name,
}

impl ReplyConsumer {
    pub(crate) fn new(tag: Name, channel: ChannelId, key: [u8; 16]) -> Self {
        let mut address = format!("{REPLY_TO}.");
        push_base64(&mut address, pack(channel));
        address.push('.');
        push_base64(&mut address, key);
        address.push_str("==");
        Self {
            tag,
            address: address.into(),
        }
    }
}

/// The channel that a generated name leads to; it may be gone.
pub(crate) fn requester(name: &[u8]) -> Option<ChannelId> {
    let rest = name.strip_prefix(REPLY_TO.as_bytes())?.strip_prefix(b".")?;
    let (channel, rest) = rest.split_at_checked(ENCODED_ID_SIZE)?;
    let key = rest.strip_prefix(b".")?.strip_suffix(b"==")?;
    parse_base64(key)?;
    unpack(parse_base64(channel)?)
}

/// Whether the name is one that a requester could have; passed on as it is, it leads nowhere.
pub(crate) fn is_generated(name: &str) -> bool {
    name.strip_prefix(REPLY_TO)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// shard u16, serial u64, channel u16, epoch u32.
fn pack(channel: ChannelId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&channel.connection.shard.0.to_be_bytes());
    bytes[2..10].copy_from_slice(&channel.connection.serial.to_be_bytes());
    bytes[10..12].copy_from_slice(&channel.number.to_be_bytes());
    bytes[12..].copy_from_slice(&channel.epoch.to_be_bytes());
    bytes
}

fn unpack(bytes: [u8; 16]) -> Option<ChannelId> {
    let (shard, rest) = bytes.split_first_chunk()?;
    let (serial, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (epoch, _) = rest.split_first_chunk()?;
    let connection = ConnectionId {
        shard: ShardId(u16::from_be_bytes(*shard)),
        serial: u64::from_be_bytes(*serial),
    };
    Some(ChannelId {
        connection,
        number: u16::from_be_bytes(*number),
        epoch: u32::from_be_bytes(*epoch),
    })
}

impl Channel {
    /// Starts the channel's consumer of answers. Answers count as settled once they are sent.
    ///
    /// # Errors
    /// There is one, or this one wants to acknowledge.
    pub(crate) fn consume_replies(
        &mut self,
        session: &mut Session,
        method: &basic::Consume<'_>,
        tag: Name,
    ) -> Result<(), Exception> {
        if self.reply_consumer.is_some() {
            return Err(Violation::ReplyConsumerSet.into());
        }
        if !method.no_ack {
            return Err(Violation::ReplyConsumerAcks.into());
        }
        if !method.no_wait {
            basic::ConsumeOk {
                consumer_tag: tag.as_bytes(),
            }
            .encode(self.number(), session.encoded());
        }
        let consumer = ReplyConsumer::new(tag, self.id, session.random.bytes16());
        session
            .reply_addresses
            .insert(self.id.number, consumer.address.clone());
        self.reply_consumer = Some(consumer);
        Ok(())
    }

    /// Ends the channel's consumer of answers.
    pub(crate) fn cancel_replies(&mut self, session: &mut Session) {
        session.reply_addresses.remove(&self.id.number);
        self.reply_consumer = None;
    }

    /// Puts the channel's own address into a request that says only that it wants a direct answer.
    ///
    /// # Errors
    /// There is nobody on the channel to take the answer.
    pub(crate) fn rewrite_reply_to(
        &self,
        scan: &PropertyScan<'_>,
        properties: &[u8],
    ) -> Result<Option<Bytes>, Exception> {
        if scan.reply_to != Some(REPLY_TO.as_bytes()) {
            return Ok(None);
        }
        let consumer = self
            .reply_consumer
            .as_ref()
            .ok_or(Violation::NoReplyConsumer)?;
        let decoded = BasicProperties::decode(properties)?;
        let mut encoded = Vec::with_capacity(properties.len() + consumer.address.len());
        BasicProperties {
            reply_to: Some(consumer.address.as_bytes()),
            ..decoded
        }
        .encode(&mut encoded);
        Ok(Some(encoded.into()))
    }

    /// Sends an answer. It is never returned and always confirmed, whether the requester is there or not.
    pub(crate) fn publish_direct_reply(
        &mut self,
        session: &mut Session,
        to: ChannelId,
        message: SharedMessage,
        line: PublishLineIndex,
    ) {
        let confirm = matches!(self.mode, Mode::Confirm(_));
        let published = published(line, &message, 1, false, confirm);
        let publishes = &mut self.routes.publishes;
        publishes.published(&session.config.traffic, published);
        session
            .requests
            .push_back(Request::DirectReply { to, message });
        self.confirm_unrouted(session, line);
    }

    /// An answer came. Forged ones are dropped.
    pub(crate) fn deliver_direct_reply(&mut self, session: &mut Session, message: &SharedMessage) {
        let Some(consumer) = &self.reply_consumer else {
            return;
        };
        if *consumer.address.as_bytes() != **message.routing_key() {
            return;
        }
        self.delivery_tag += 1;
        let out = session.encoded();
        let tag = consumer.tag.as_bytes();
        encode_deliver(
            out,
            self.id.number,
            tag,
            self.delivery_tag,
            false,
            b"",
            message.routing_key(),
        );
        session.send_content(self.id.number, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_leads_to_the_channel() {
        let connection = ConnectionId {
            shard: ShardId(3),
            serial: 0x0102_0304_0506_0708,
        };
        let channel = ChannelId {
            connection,
            number: 65_535,
            epoch: 9,
        };
        let consumer = ReplyConsumer::new("tag".into(), channel, [7; 16]);
        assert_eq!(requester(consumer.address.as_bytes()), Some(channel));
        assert!(is_generated(&consumer.address) && !is_generated(REPLY_TO));
        for cut in 0..consumer.address.len() {
            assert_eq!(requester(&consumer.address.as_bytes()[..cut]), None);
        }
    }
}
