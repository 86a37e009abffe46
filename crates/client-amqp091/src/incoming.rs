//! What comes from the broker: bytes in, [`Event`]s out.
//!
//! A message whose frames lie complete in the read buffer, one behind the other, is returned as slices of that buffer
//! and costs no copy and no allocation. One that is cut off by the end of the buffer, spans several body frames or is
//! interleaved with other channels is put together aside, in [`Content`]:
//!
//! ```text
//!   deliver / return / get-ok        header             body frames
//!   (idle) ─────────────▶ WantHeader ──────▶ WantBody ──────────────▶ complete: returned by poll
//! ```
//!
//! This module knows no socket and no clock. It answers what must be answered at once (`close-ok`, `flow-ok`) into
//! the [`Outgoing`] it is given.
//!
//! Invariant: `start..end` of the buffer is what was read and not yet taken; half-received messages together hold at
//! most `content_bytes_max` bytes. Spec: AMQP 0-9-1 §4.2.6.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use codec_amqp091::{
    BasicProperties, FRAME_MIN_SIZE, FRAME_OVERHEAD, FrameKind, Method, channel, connection,
    decode_frame, peek_method,
};

use crate::error::Error;
use crate::outgoing::Outgoing;

/// Most bytes that may come in while a reply is awaited.
const SET_ASIDE_BYTES_MAX: usize = 256 << 20;

/// Class and method id, as in the specification.
pub(crate) type MethodId = (u16, u16);

const BASIC_RETURN: MethodId = (60, 50);
const BASIC_DELIVER: MethodId = (60, 60);
const BASIC_GET_OK: MethodId = (60, 71);
const CHANNEL_CLOSE: MethodId = (20, 40);
const CONNECTION_CLOSE: MethodId = (10, 50);

/// Class id, weight and body size before the property flags of a content header.
const PROPERTIES_OFFSET: usize = 12;

/// The receiving half of a connection. See the module.
#[derive(Debug)]
pub struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    frame_max: u32,
    /// Half-received messages by channel.
    contents: HashMap<u16, Content>,
    /// Bytes held by `contents`.
    content_bytes: usize,
    content_bytes_max: usize,
    /// The message that was put together last; it stays here while its event is looked at.
    complete: CompleteContent,
    /// Frames that came while a reply was awaited, in their order.
    set_aside: Vec<u8>,
}

/// A message of which more frames must come.
#[derive(Debug)]
enum Content {
    WantHeader {
        method: Vec<u8>,
    },
    WantBody {
        method: Vec<u8>,
        header: Vec<u8>,
        body: Vec<u8>,
        missing: u64,
    },
}

#[derive(Debug, Default)]
struct CompleteContent {
    method: Vec<u8>,
    header: Vec<u8>,
    body: Vec<u8>,
}

/// Something the broker sent. It borrows from the read buffer until the next call.
#[derive(Debug)]
pub enum Event<'a> {
    /// A message for a consumer.
    Delivery(Delivery<'a>),
    /// A mandatory message that reached no queue.
    Returned(Returned<'a>),
    /// The broker confirms publishes.
    Confirmed {
        /// Where they were published.
        channel: u16,
        /// The publish with this number, counted from 1 since `confirm.select`.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
    },
    /// The broker could not take responsibility for publishes.
    Refused {
        /// Where they were published.
        channel: u16,
        /// The publish with this number, counted from 1 since `confirm.select`.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
    },
    /// The broker cancelled a consumer, for example because its queue was deleted.
    ConsumerCancelled {
        /// The consumer's channel.
        channel: u16,
        /// Its tag.
        consumer_tag: &'a [u8],
    },
    /// The broker closed a channel (`close-ok` is already in the write buffer).
    ChannelClosed {
        /// Its number; it may be opened again.
        channel: u16,
        /// Spec: reply codes.
        reply_code: u16,
        /// The broker's words.
        reply_text: &'a [u8],
    },
    /// The broker takes no publishes for now; it stops reading the socket once one comes.
    Blocked {
        /// The broker's words.
        reason: &'a [u8],
    },
    /// Publishes are taken again.
    Unblocked,
    /// Any other method: the reply to a request that was sent without awaiting it.
    Reply {
        /// Its channel.
        channel: u16,
        /// What came.
        method: Method<'a>,
    },
}

/// A delivered message.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The consumer's channel.
    pub channel: u16,
    /// The consumer's tag.
    pub consumer_tag: &'a [u8],
    /// What an ack says to mean this message.
    pub delivery_tag: u64,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Where it was published to.
    pub exchange: &'a [u8],
    /// With which routing key.
    pub routing_key: &'a [u8],
    /// Flags and values of the properties as they are on the wire; see [`properties`](Self::properties).
    pub raw_properties: &'a [u8],
    /// The whole body.
    pub body: &'a [u8],
}

impl<'a> Delivery<'a> {
    /// The message's properties.
    ///
    /// # Errors
    /// The broker sent properties that cannot be read.
    pub fn properties(&self) -> Result<BasicProperties<'a>, Error> {
        Ok(BasicProperties::decode(self.raw_properties)?)
    }
}

/// A message that came back.
#[derive(Clone, Copy, Debug)]
pub struct Returned<'a> {
    /// Where it was published.
    pub channel: u16,
    /// Why it came back: 312 for no route.
    pub reply_code: u16,
    /// The broker's words.
    pub reply_text: &'a [u8],
    /// The exchange it was published to.
    pub exchange: &'a [u8],
    /// With which routing key.
    pub routing_key: &'a [u8],
    /// Flags and values of the properties as they are on the wire.
    pub raw_properties: &'a [u8],
    /// The whole body.
    pub body: &'a [u8],
}

/// A message that was asked for with `basic.get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What an ack says to mean this message.
    pub delivery_tag: u64,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Where it was published to.
    pub exchange: Vec<u8>,
    /// With which routing key.
    pub routing_key: Vec<u8>,
    /// How many ready messages the queue still holds.
    pub message_count: u32,
    /// Flags and values of the properties as they are on the wire.
    pub raw_properties: Vec<u8>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Message {
    /// The message's properties.
    ///
    /// # Errors
    /// The broker sent properties that cannot be read.
    pub fn properties(&self) -> Result<BasicProperties<'_>, Error> {
        Ok(BasicProperties::decode(&self.raw_properties)?)
    }
}

/// What one look at the buffer came to.
enum Step {
    /// The next frame is not complete.
    Starved,
    /// A frame was dealt with.
    Again,
    /// There is an event.
    Found(Found),
}

/// Where an event is.
pub(crate) enum Found {
    /// A method without content: its channel and payload.
    Method(u16, Range<usize>),
    /// A whole message in the buffer.
    Content {
        channel: u16,
        method: Range<usize>,
        header: Range<usize>,
        body: Range<usize>,
    },
    /// The message in `complete`, and its channel.
    Assembled(u16),
}

/// Header and body of a message, as positions in the buffer, and where it ends.
struct RestOfContent {
    header: Range<usize>,
    body: Range<usize>,
    end: usize,
}

/// A frame as positions in the buffer.
struct Located {
    kind: FrameKind,
    channel: u16,
    payload: Range<usize>,
    end: usize,
}

impl Incoming {
    /// A half that reads up to `read_buffer_bytes` at once (never less than two frames of `frame_max`).
    pub fn new(read_buffer_bytes: usize, content_bytes_max: usize) -> Self {
        Self {
            buffer: vec![0; read_buffer_bytes.max(2 * FRAME_MIN_SIZE as usize)],
            start: 0,
            end: 0,
            frame_max: FRAME_MIN_SIZE,
            contents: HashMap::new(),
            content_bytes: 0,
            content_bytes_max,
            complete: CompleteContent::default(),
            set_aside: Vec::new(),
        }
    }

    /// The frame size in force from now on, in bytes.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
        let needed = 2 * (frame_max as usize + FRAME_OVERHEAD);
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
    }

    /// Bytes that were read and not yet taken by [`poll`](Self::poll).
    pub fn pending(&self) -> usize {
        self.end - self.start
    }

    /// Whether [`read_with`](Self::read_with) has free space to offer.
    pub(crate) fn has_space(&self) -> bool {
        self.end - self.start < self.buffer.len()
    }

    /// Lets `read` fill free space of the buffer; it returns how many bytes it wrote there. There is always free
    /// space once [`poll`](Self::poll) has returned `None`.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read_with(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > self.buffer.len() / 2 || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let free = &mut self.buffer[self.end..];
        let count = read(free)?.min(free.len());
        self.end += count;
        Ok(count)
    }

    /// Appends bytes as if they had been read; for tests and for callers with their own transport.
    pub fn feed(&mut self, bytes: &[u8]) {
        let needed = self.end + bytes.len();
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        self.buffer[self.end..needed].copy_from_slice(bytes);
        self.end = needed;
    }

    /// The first 8 bytes if they are a protocol header rather than a frame.
    pub(crate) fn protocol_header(&self) -> Option<[u8; 8]> {
        let bytes = self.buffer[self.start..self.end].first_chunk::<8>()?;
        bytes.starts_with(b"AMQP").then_some(*bytes)
    }

    /// The next thing that happened; `None` when more must be read first.
    ///
    /// # Errors
    /// The broker broke the protocol or a limit, or closed the connection. All are final.
    #[inline]
    pub fn poll(&mut self, outgoing: &mut Outgoing) -> Result<Option<Event<'_>>, Error> {
        match self.find()? {
            Some(found) => self.event(found, outgoing).map(Some),
            None => Ok(None),
        }
    }

    /// Takes frames up to the next event. Apart from [`event`](Self::event) so that a caller can read more in between:
    /// a borrowed event cannot be returned from inside the loop that looks for it.
    #[inline]
    pub(crate) fn find(&mut self) -> Result<Option<Found>, Error> {
        loop {
            match self.step()? {
                Step::Starved => return Ok(None),
                Step::Again => {}
                Step::Found(found) => return Ok(Some(found)),
            }
        }
    }

    /// The event at the place that [`find`](Self::find) gave, before anything else was read.
    #[inline]
    pub(crate) fn event(
        &mut self,
        found: Found,
        outgoing: &mut Outgoing,
    ) -> Result<Event<'_>, Error> {
        match found {
            Found::Content {
                channel,
                method,
                header,
                body,
            } => {
                let bytes = &self.buffer;
                content_event(channel, &bytes[method], &bytes[header], &bytes[body])
            }
            Found::Assembled(channel) => {
                let CompleteContent {
                    method,
                    header,
                    body,
                } = &self.complete;
                content_event(channel, method, header, body)
            }
            Found::Method(channel, payload) => {
                if peek_method(&self.buffer[payload.clone()]) == Some(CHANNEL_CLOSE) {
                    self.forget_content(channel);
                }
                method_event(channel, &self.buffer[payload], outgoing)
            }
        }
    }

    #[inline]
    fn locate(&self, at: usize) -> Result<Option<Located>, Error> {
        let Some((frame, size)) = decode_frame(&self.buffer[at..self.end], self.frame_max)? else {
            return Ok(None);
        };
        let end = at + size;
        Ok(Some(Located {
            kind: frame.kind,
            channel: frame.channel,
            payload: end - 1 - frame.payload.len()..end - 1,
            end,
        }))
    }

    #[inline]
    fn step(&mut self) -> Result<Step, Error> {
        let Some(frame) = self.locate(self.start)? else {
            return Ok(Step::Starved);
        };
        match frame.kind {
            FrameKind::Method => self.step_method(frame),
            FrameKind::Header => self.step_header(frame),
            FrameKind::Body => self.step_body(frame),
            FrameKind::Heartbeat => {
                self.start = frame.end;
                Ok(Step::Again)
            }
        }
    }

    #[inline]
    fn step_method(&mut self, frame: Located) -> Result<Step, Error> {
        let method = peek_method(&self.buffer[frame.payload.clone()]);
        let carries_content = matches!(method, Some(BASIC_DELIVER | BASIC_RETURN | BASIC_GET_OK));
        if !self.contents.is_empty()
            && self.contents.contains_key(&frame.channel)
            && method != Some(CHANNEL_CLOSE)
        {
            return Err(unexpected(
                frame.channel,
                "method before content is complete",
            ));
        }
        if !carries_content {
            self.start = frame.end;
            return Ok(Step::Found(Found::Method(frame.channel, frame.payload)));
        }
        if let Some(RestOfContent { header, body, end }) = self.content_in_buffer(&frame)? {
            self.start = end;
            return Ok(Step::Found(Found::Content {
                channel: frame.channel,
                method: frame.payload,
                header,
                body,
            }));
        }
        let method = self.buffer[frame.payload].to_vec();
        self.start = frame.end;
        self.hold(method.len())?;
        self.contents
            .insert(frame.channel, Content::WantHeader { method });
        Ok(Step::Again)
    }

    /// Header and body of the message that `method` begins, and where it ends, if they are in the buffer, follow at
    /// once, and the body is at most one frame.
    #[inline]
    fn content_in_buffer(&self, method: &Located) -> Result<Option<RestOfContent>, Error> {
        let Some(header) = self.locate(method.end)? else {
            return Ok(None);
        };
        if header.kind != FrameKind::Header || header.channel != method.channel {
            return Ok(None);
        }
        let body_size = body_size(&self.buffer[header.payload.clone()]);
        if body_size == 0 {
            return Ok(Some(RestOfContent {
                header: header.payload,
                body: 0..0,
                end: header.end,
            }));
        }
        let Some(body) = self.locate(header.end)? else {
            return Ok(None);
        };
        let whole = body.kind == FrameKind::Body
            && body.channel == method.channel
            && body.payload.len() as u64 == body_size;
        Ok(whole.then_some(RestOfContent {
            header: header.payload,
            body: body.payload,
            end: body.end,
        }))
    }

    fn step_header(&mut self, frame: Located) -> Result<Step, Error> {
        let Some(Content::WantHeader { method }) = self.contents.remove(&frame.channel) else {
            return Err(unexpected(frame.channel, "content header"));
        };
        let header = self.buffer[frame.payload].to_vec();
        self.start = frame.end;
        self.hold(header.len())?;
        let missing = body_size(&header);
        // The size is only a promise; it is checked against the limit but memory is taken as bytes come.
        if missing > self.content_bytes_max as u64 {
            return Err(self.content_too_large());
        }
        if missing == 0 {
            return Ok(self.assembled(frame.channel, method, header, Vec::new()));
        }
        let body = Vec::new();
        self.contents.insert(
            frame.channel,
            Content::WantBody {
                method,
                header,
                body,
                missing,
            },
        );
        Ok(Step::Again)
    }

    fn step_body(&mut self, frame: Located) -> Result<Step, Error> {
        self.hold(frame.payload.len())?;
        let Some(Content::WantBody { body, missing, .. }) = self.contents.get_mut(&frame.channel)
        else {
            return Err(unexpected(frame.channel, "content body"));
        };
        let Some(rest) = missing.checked_sub(frame.payload.len() as u64) else {
            return Err(unexpected(
                frame.channel,
                "more content body than announced",
            ));
        };
        *missing = rest;
        body.extend_from_slice(&self.buffer[frame.payload]);
        self.start = frame.end;
        if rest > 0 {
            return Ok(Step::Again);
        }
        let Some(Content::WantBody {
            method,
            header,
            body,
            ..
        }) = self.contents.remove(&frame.channel)
        else {
            return Err(unexpected(frame.channel, "content body"));
        };
        Ok(self.assembled(frame.channel, method, header, body))
    }

    fn assembled(&mut self, channel: u16, method: Vec<u8>, header: Vec<u8>, body: Vec<u8>) -> Step {
        self.content_bytes -= method.len() + header.len() + body.len();
        self.complete = CompleteContent {
            method,
            header,
            body,
        };
        Step::Found(Found::Assembled(channel))
    }

    fn forget_content(&mut self, channel: u16) {
        self.content_bytes -= match self.contents.remove(&channel) {
            None => 0,
            Some(Content::WantHeader { method }) => method.len(),
            Some(Content::WantBody {
                method,
                header,
                body,
                ..
            }) => method.len() + header.len() + body.len(),
        };
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        self.content_bytes += bytes;
        if self.content_bytes > self.content_bytes_max {
            return Err(self.content_too_large());
        }
        Ok(())
    }

    fn content_too_large(&self) -> Error {
        Error::ContentTooLarge {
            limit_bytes: self.content_bytes_max,
        }
    }

    /// Looks for one of the methods `expected` on `channel` and returns its payload. Frames before it are kept and
    /// will be seen by [`poll`](Self::poll) once [`restore`](Self::restore) was called.
    pub(crate) fn take_reply(
        &mut self,
        channel: u16,
        expected: &[MethodId],
        outgoing: &mut Outgoing,
    ) -> Result<Option<Vec<u8>>, Error> {
        while let Some(frame) = self.locate(self.start)? {
            let whole = self.start..frame.end;
            self.start = frame.end;
            if frame.kind == FrameKind::Method
                && let Some(method) = peek_method(&self.buffer[frame.payload.clone()])
            {
                if frame.channel == channel && expected.contains(&method) {
                    return Ok(Some(self.buffer[frame.payload].to_vec()));
                }
                if method == CONNECTION_CLOSE
                    || (frame.channel == channel && method == CHANNEL_CLOSE)
                {
                    self.forget_content(frame.channel);
                    let event = method_event(frame.channel, &self.buffer[frame.payload], outgoing)?;
                    return Err(closed(&event));
                }
            }
            self.set_aside(whole)?;
        }
        Ok(None)
    }

    /// The content that follows a `get-ok` on `channel`, once it is all there; `None` when more must be read.
    /// Frames of other channels are set aside as in [`take_reply`](Self::take_reply).
    pub(crate) fn take_content(
        &mut self,
        channel: u16,
        content: &mut GetContent,
    ) -> Result<bool, Error> {
        while !content.is_complete() {
            let Some(frame) = self.locate(self.start)? else {
                return Ok(false);
            };
            let whole = self.start..frame.end;
            self.start = frame.end;
            if frame.channel != channel {
                self.set_aside(whole)?;
                continue;
            }
            let payload = &self.buffer[frame.payload];
            match (frame.kind, &mut content.header) {
                (FrameKind::Header, header @ None) => {
                    content.missing = body_size(payload);
                    if content.missing > self.content_bytes_max as u64 {
                        return Err(self.content_too_large());
                    }
                    *header = Some(payload.to_vec());
                }
                (FrameKind::Body, Some(_)) if payload.len() as u64 <= content.missing => {
                    content.missing -= payload.len() as u64;
                    content.body.extend_from_slice(payload);
                }
                _ => return Err(unexpected(channel, "frame inside content of get-ok")),
            }
        }
        Ok(true)
    }

    fn set_aside(&mut self, frame: Range<usize>) -> Result<(), Error> {
        if self.set_aside.len() + frame.len() > SET_ASIDE_BYTES_MAX {
            return Err(Error::ReplyTooLate {
                limit_bytes: SET_ASIDE_BYTES_MAX,
            });
        }
        self.set_aside.extend_from_slice(&self.buffer[frame]);
        Ok(())
    }

    /// Puts what was set aside back in front of what came after it.
    pub(crate) fn restore(&mut self) {
        if self.set_aside.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.set_aside);
        bytes.extend_from_slice(&self.buffer[self.start..self.end]);
        (self.start, self.end) = (0, 0);
        self.feed(&bytes);
    }
}

/// Header and body of a `get-ok` while they come in.
#[derive(Debug, Default)]
pub(crate) struct GetContent {
    header: Option<Vec<u8>>,
    body: Vec<u8>,
    missing: u64,
}

impl GetContent {
    fn is_complete(&self) -> bool {
        self.header.is_some() && self.missing == 0
    }

    /// Raw properties and body.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<u8>) {
        let mut header = self.header.unwrap_or_default();
        header.drain(..PROPERTIES_OFFSET.min(header.len()));
        (header, self.body)
    }
}

/// The body size in a header frame's payload; decoding the frame made sure that it is long enough.
#[inline]
fn body_size(header: &[u8]) -> u64 {
    header
        .get(4..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cold]
fn unexpected(channel: u16, found: &'static str) -> Error {
    Error::UnexpectedFrame { channel, found }
}

#[inline]
fn content_event<'a>(
    channel: u16,
    method: &'a [u8],
    header: &'a [u8],
    body: &'a [u8],
) -> Result<Event<'a>, Error> {
    let raw_properties = header.get(PROPERTIES_OFFSET..).unwrap_or_default();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all methods that carry no content are the same mistake"
    )]
    match Method::decode(method)? {
        Method::BasicDeliver(deliver) => Ok(Event::Delivery(Delivery {
            channel,
            consumer_tag: deliver.consumer_tag,
            delivery_tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            exchange: deliver.exchange,
            routing_key: deliver.routing_key,
            raw_properties,
            body,
        })),
        Method::BasicReturn(returned) => Ok(Event::Returned(Returned {
            channel,
            reply_code: returned.reply_code,
            reply_text: returned.reply_text,
            exchange: returned.exchange,
            routing_key: returned.routing_key,
            raw_properties,
            body,
        })),
        _ => Err(unexpected(channel, "get-ok without get")),
    }
}

/// The event of a method without content; answers it if the protocol wants that at once.
fn method_event<'a>(
    channel: u16,
    payload: &'a [u8],
    outgoing: &mut Outgoing,
) -> Result<Event<'a>, Error> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other method is a reply for the caller to judge"
    )]
    Ok(match Method::decode(payload)? {
        Method::BasicAck(ack) => Event::Confirmed {
            channel,
            delivery_tag: ack.delivery_tag,
            multiple: ack.multiple,
        },
        Method::BasicNack(nack) => Event::Refused {
            channel,
            delivery_tag: nack.delivery_tag,
            multiple: nack.multiple,
        },
        Method::BasicCancel(cancel) => Event::ConsumerCancelled {
            channel,
            consumer_tag: cancel.consumer_tag,
        },
        Method::ChannelClose(close) => {
            channel::CloseOk.encode(channel, outgoing.bytes());
            Event::ChannelClosed {
                channel,
                reply_code: close.reply_code,
                reply_text: close.reply_text,
            }
        }
        Method::ChannelFlow(flow) => {
            let active = flow.active;
            channel::FlowOk { active }.encode(channel, outgoing.bytes());
            Event::Reply {
                channel,
                method: Method::ChannelFlow(flow),
            }
        }
        Method::ConnectionClose(close) => {
            connection::CloseOk.encode(0, outgoing.bytes());
            return Err(Error::ConnectionClosed {
                reply_code: close.reply_code,
                reply_text: text(close.reply_text),
            });
        }
        Method::ConnectionBlocked(blocked) => Event::Blocked {
            reason: blocked.reason,
        },
        Method::ConnectionUnblocked(_) => Event::Unblocked,
        method => Event::Reply { channel, method },
    })
}

/// The error of a channel that was closed while a reply was awaited on it.
fn closed(event: &Event<'_>) -> Error {
    match event {
        Event::ChannelClosed {
            channel,
            reply_code,
            reply_text,
        } => Error::ChannelClosed {
            channel: *channel,
            reply_code: *reply_code,
            reply_text: text(reply_text),
        },
        Event::Delivery(_)
        | Event::Returned(_)
        | Event::Confirmed { .. }
        | Event::Refused { .. }
        | Event::ConsumerCancelled { .. }
        | Event::Blocked { .. }
        | Event::Unblocked
        | Event::Reply { .. } => unexpected(0, "close"),
    }
}

/// A short string of the broker as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
