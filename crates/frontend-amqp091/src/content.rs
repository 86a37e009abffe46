//! Puts a message together from its method, header and body frames.
//!
//! A body that comes in one frame stays a slice of the read buffer; one in several frames is collected in a buffer that
//! grows by what arrived, never by what was announced. It does not look at what the method or the properties say.
//!
//! ```text
//! Idle --basic.publish--> WantHeader --header, size 0------------------------> Idle + Content
//!                                    --header--> WantBody --body, complete --> Idle + Content
//! ```
//!
//! Spec: AMQP 0-9-1 §4.2.6.

use crate::config::MESSAGE_SIZE_HARD_MAX;
use crate::exception::{Exception, Violation};
use bytes::{Bytes, BytesMut};
use codec_amqp091::{ContentHeader, Frame, FrameKind, basic, decode_frame, peek_method};

/// Body frames without a byte that one message may have. A client needs none.
const EMPTY_BODY_FRAMES_MAX: u32 = 1000;

const PUBLISH: (u16, u16) = (basic::Publish::CLASS_ID, basic::Publish::METHOD_ID);

/// A complete message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Property flags and list.
    pub(crate) properties: Bytes,
    /// Empty if the message is larger than allowed.
    pub(crate) body: Bytes,
    /// Body size as announced.
    pub(crate) body_size: u64,
}

/// A complete message with the method that brought it.
#[derive(Clone, Debug)]
pub(crate) struct Assembled {
    /// Payload of the basic.publish frame, which can be decoded.
    pub(crate) method: Bytes,
    pub(crate) content: Content,
}

impl Assembled {
    /// Bytes it keeps in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.method.len() + self.content.size_bytes()
    }
}

/// The method in the payload of a basic.publish frame, whose ids were looked at before.
///
/// # Errors
/// It is malformed. In an [`Assembled`] message it is not: [`Assembly::begin`] looked.
pub(crate) fn publish_of(payload: &[u8]) -> Result<basic::Publish<'_>, Exception> {
    Ok(basic::Publish::decode(
        payload.get(4..).unwrap_or_default(),
    )?)
}

impl Content {
    /// The parts of a message that stand in `batch`.
    fn new(batch: &Bytes, properties: &[u8], body: &[u8]) -> Self {
        let body_size = body.len() as u64;
        let body = if body.is_empty() {
            Bytes::new()
        } else {
            batch.slice_ref(body)
        };
        Self {
            properties: slice_properties(batch, properties),
            body,
            body_size,
        }
    }

    /// Bytes it keeps in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.properties.len() + self.body.len()
    }
}

/// Properties as a part of the batch. The most frequent ones share nothing with it.
#[inline]
fn slice_properties(batch: &Bytes, properties: &[u8]) -> Bytes {
    match properties {
        [0, 0] => Bytes::from_static(&[0, 0]),
        [0x10, 0, 1] => Bytes::from_static(&[0x10, 0, 1]),
        [0x10, 0, 2] => Bytes::from_static(&[0x10, 0, 2]),
        _ => batch.slice_ref(properties),
    }
}

/// A message whose frames stand one behind the other, as most do. It needs no assembly.
#[derive(Debug)]
pub(crate) struct Whole<'a> {
    /// Payload of the method frame.
    pub(crate) method: &'a [u8],
    properties: &'a [u8],
    body: &'a [u8],
    /// Bytes of the header and body frames.
    pub(crate) size: usize,
}

impl<'a> Whole<'a> {
    /// Looks behind a method frame. `None` if it is not basic.publish, or if something is missing or not as it should be: then
    /// [`Assembly`] will say what.
    #[inline]
    pub(crate) fn find(method: &Frame<'a>, rest: &'a [u8], frame_max: u32) -> Option<Self> {
        if method.kind != FrameKind::Method || peek_method(method.payload) != Some(PUBLISH) {
            return None;
        }
        let (header, header_size) = decode_frame(rest, frame_max).ok()??;
        if header.kind != FrameKind::Header || header.channel != method.channel {
            return None;
        }
        let ContentHeader {
            class_id,
            weight,
            body_size,
            properties,
        } = ContentHeader::decode(header.payload).ok()?;
        let (body, size) = if body_size == 0 {
            (&[][..], header_size)
        } else {
            let (body, body_frame_size) = decode_frame(&rest[header_size..], frame_max).ok()??;
            if body.kind != FrameKind::Body || body.channel != method.channel {
                return None;
            }
            (body.payload, header_size + body_frame_size)
        };
        if (class_id, weight) != (basic::Publish::CLASS_ID, 0) || body.len() as u64 != body_size {
            return None;
        }
        Some(Self {
            method: method.payload,
            properties,
            body,
            size,
        })
    }

    pub(crate) fn content(&self, batch: &Bytes) -> Content {
        Content::new(batch, self.properties, self.body)
    }
}

/// How far the current message of a channel is.
#[derive(Debug, Default)]
pub(crate) enum Assembly {
    /// No message has begun.
    #[default]
    Idle,
    /// The method is there.
    WantHeader {
        /// Its payload.
        method: Bytes,
    },
    /// Header and a part of the body are there.
    WantBody(Partial),
}

#[derive(Debug)]
pub(crate) struct Partial {
    method: Bytes,
    properties: Bytes,
    body_size: u64,
    received: u64,
    empty_frames: u32,
    body: PartialBody,
}

#[derive(Debug)]
enum PartialBody {
    Kept(BytesMut),
    /// Too large to be accepted: counted, not kept.
    Dropped,
}

impl Assembly {
    /// Bytes of the unfinished body that are in memory.
    pub(crate) fn buffered_bytes(&self) -> usize {
        match self {
            Self::Idle
            | Self::WantHeader { .. }
            | Self::WantBody(Partial {
                body: PartialBody::Dropped,
                ..
            }) => 0,
            Self::WantBody(Partial {
                body: PartialBody::Kept(body),
                ..
            }) => body.capacity(),
        }
    }

    /// Takes a method frame: only basic.publish begins a message, and no method may come inside one.
    ///
    /// # Errors
    /// The frame is in the wrong place.
    pub(crate) fn check_method(&self) -> Result<(), Exception> {
        match self {
            Self::Idle => Ok(()),
            Self::WantHeader { .. } => {
                Err(Exception::from(Violation::ExpectedHeader).caused_by(PUBLISH))
            }
            Self::WantBody(_) => Err(Exception::from(Violation::ExpectedBody).caused_by(PUBLISH)),
        }
    }

    /// Begins a message.
    ///
    /// # Errors
    /// The method is malformed.
    pub(crate) fn begin(&mut self, method: Bytes) -> Result<(), Exception> {
        publish_of(&method).map_err(|exception| exception.caused_by(PUBLISH))?;
        *self = Self::WantHeader { method };
        Ok(())
    }

    /// Takes a header frame. Bodies over `size_max` bytes are read but not kept.
    ///
    /// # Errors
    /// The frame is in the wrong place or malformed.
    pub(crate) fn header(
        &mut self,
        payload: &Bytes,
        size_max: u64,
    ) -> Result<Option<Assembled>, Exception> {
        let method = match std::mem::take(self) {
            Self::WantHeader { method } => method,
            Self::Idle => return Err(Violation::ExpectedMethod.into()),
            Self::WantBody(_) => {
                return Err(Exception::from(Violation::ExpectedBody).caused_by(PUBLISH));
            }
        };
        let header = ContentHeader::decode(payload)?;
        // Compat: RabbitMQ does not know a header with a weight.
        if header.weight != 0 {
            return Err(Exception::from(Violation::ExpectedHeader).caused_by(PUBLISH));
        }
        if header.body_size > MESSAGE_SIZE_HARD_MAX {
            return Err(Exception::from(Violation::BodySize(header.body_size)).caused_by(PUBLISH));
        }
        if header.class_id != basic::Publish::CLASS_ID {
            return Err(
                Exception::from(Violation::HeaderOfClass(header.class_id)).caused_by(PUBLISH)
            );
        }
        let properties = slice_properties(payload, header.properties);
        let body_size = header.body_size;
        if body_size == 0 {
            let content = Content {
                properties,
                body: Bytes::new(),
                body_size,
            };
            return Ok(Some(Assembled { method, content }));
        }
        let body = if body_size > size_max {
            PartialBody::Dropped
        } else {
            PartialBody::Kept(BytesMut::new())
        };
        *self = Self::WantBody(Partial {
            method,
            properties,
            body_size,
            received: 0,
            empty_frames: 0,
            body,
        });
        Ok(None)
    }

    /// Takes a body frame.
    ///
    /// # Errors
    /// The frame is in the wrong place or holds more than was announced.
    pub(crate) fn body(&mut self, payload: Bytes) -> Result<Option<Assembled>, Exception> {
        let partial = match self {
            Self::WantBody(partial) => partial,
            Self::Idle => return Err(Violation::ExpectedMethod.into()),
            Self::WantHeader { .. } => {
                return Err(Exception::from(Violation::ExpectedHeader).caused_by(PUBLISH));
            }
        };
        let whole = partial.received == 0 && payload.len() as u64 == partial.body_size;
        partial.take(&payload)?;
        if partial.received < partial.body_size {
            return Ok(None);
        }
        let Self::WantBody(Partial {
            method,
            properties,
            body_size,
            body,
            ..
        }) = std::mem::take(self)
        else {
            return Err(Violation::Internal("message assembly lost its state").into());
        };
        let body = match body {
            PartialBody::Dropped => Bytes::new(),
            PartialBody::Kept(_) if whole => payload,
            PartialBody::Kept(collected) => collected.freeze(),
        };
        let content = Content {
            properties,
            body,
            body_size,
        };
        Ok(Some(Assembled { method, content }))
    }
}

impl Partial {
    fn take(&mut self, payload: &Bytes) -> Result<(), Exception> {
        self.received += payload.len() as u64;
        if self.received > self.body_size {
            return Err(Exception::from(Violation::BodyTooLong).caused_by(PUBLISH));
        }
        if payload.is_empty() {
            self.empty_frames += 1;
            if self.empty_frames > EMPTY_BODY_FRAMES_MAX {
                return Err(Exception::from(Violation::EmptyBodyFrames).caused_by(PUBLISH));
            }
        }
        let whole = payload.len() as u64 == self.body_size;
        if let PartialBody::Kept(body) = &mut self.body
            && !whole
        {
            body.extend_from_slice(payload);
        }
        Ok(())
    }
}
