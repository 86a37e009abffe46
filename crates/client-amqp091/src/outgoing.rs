//! What goes to the broker: one write buffer that everything is appended to.
//!
//! Nothing here waits: the buffer grows as long as the caller appends. Callers that produce without end look at
//! [`Outgoing::pending`] and stop there; how much they let pile up decides how large the writes are.

use std::io;

use codec_amqp091::{
    BasicProperties, FRAME_MIN_SIZE, basic, encode_body_frames, encode_header_frame,
};

/// A buffer that grew beyond this is given back once it is empty.
const BUFFER_KEPT_BYTES_MAX: usize = 1 << 20;

/// The sending half of a connection. See the module.
#[derive(Debug)]
pub struct Outgoing {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are written already.
    written: usize,
    frame_max: u32,
}

/// Publish method and content header of a message, encoded once for many bodies.
#[derive(Clone, Debug)]
pub struct PreparedPublish {
    channel: u16,
    head: Vec<u8>,
    /// Where in `head` the 8 bytes of the body size are.
    body_size_at: usize,
}

impl PreparedPublish {
    /// Encodes everything of a publish but its body. Names longer than 255 bytes are cut.
    pub fn new(
        channel: u16,
        publish: &basic::Publish<'_>,
        properties: &BasicProperties<'_>,
    ) -> Self {
        let mut head = Vec::new();
        publish.encode(channel, &mut head);
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        // Frame header of 7 bytes, class id and weight of 2 bytes each.
        let body_size_at = head.len() + 11;
        encode_header_frame(&mut head, channel, 0, &raw_properties);
        Self {
            channel,
            head,
            body_size_at,
        }
    }
}

impl Outgoing {
    /// An empty buffer.
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            written: 0,
            frame_max: FRAME_MIN_SIZE,
        }
    }

    /// The frame size in force from now on, in bytes; 0 for no limit.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
    }

    /// The negotiated frame size in bytes; 0 for no limit.
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Bytes that are not written yet.
    #[inline]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// Where to append whole frames, for the `encode` functions of the codec's methods.
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Appends a publish of `body`.
    #[inline]
    pub fn publish_prepared(&mut self, prepared: &PreparedPublish, body: &[u8]) {
        let size_at = self.buffer.len() + prepared.body_size_at;
        self.buffer.extend_from_slice(&prepared.head);
        self.buffer[size_at..size_at + 8].copy_from_slice(&(body.len() as u64).to_be_bytes());
        encode_body_frames(&mut self.buffer, prepared.channel, body, self.frame_max);
    }

    /// Appends a publish.
    pub fn publish(
        &mut self,
        channel: u16,
        publish: &basic::Publish<'_>,
        properties: &BasicProperties<'_>,
        body: &[u8],
    ) {
        self.publish_prepared(&PreparedPublish::new(channel, publish, properties), body);
    }

    /// Appends an ack of one delivery, or with `multiple` of it and all before it on the channel.
    #[inline]
    pub fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        basic::Ack {
            delivery_tag,
            multiple,
        }
        .encode(channel, &mut self.buffer);
    }

    /// Appends a negative ack: the broker requeues or drops (dead-letters) the delivery.
    pub fn nack(&mut self, channel: u16, nack: &basic::Nack) {
        nack.encode(channel, &mut self.buffer);
    }

    /// Offers what is pending to `write`, which returns how much of it was taken.
    ///
    /// # Errors
    /// Those of `write`.
    #[inline]
    pub fn write_with(
        &mut self,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let pending = &self.buffer[self.written..];
        let count = write(pending)?.min(pending.len());
        self.written += count;
        if self.written == self.buffer.len() {
            self.written = 0;
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_KEPT_BYTES_MAX);
        } else if self.written > BUFFER_KEPT_BYTES_MAX {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
        Ok(count)
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use codec_amqp091::{ContentHeader, FrameKind, Method, decode_frame};

    use super::*;

    fn publish(frame_max: u32, body: &[u8]) -> Vec<u8> {
        let mut outgoing = Outgoing::new();
        outgoing.set_frame_max(frame_max);
        let publish = basic::Publish {
            routing_key: b"orders",
            mandatory: true,
            ..Default::default()
        };
        let properties = BasicProperties {
            delivery_mode: Some(2),
            ..Default::default()
        };
        let prepared = PreparedPublish::new(5, &publish, &properties);
        outgoing.publish_prepared(&prepared, body);
        outgoing.bytes().clone()
    }

    #[test]
    fn a_prepared_publish_is_method_header_and_body_frames() {
        let body: Vec<u8> = (0..20_000).map(|index| index as u8).collect();
        let bytes = publish(8192, &body);
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let Some((frame, size)) = decode_frame(rest, 8192).unwrap() {
            assert_eq!(frame.channel, 5);
            frames.push(frame);
            rest = &rest[size..];
        }
        assert!(rest.is_empty());
        let Ok(Method::BasicPublish(method)) = Method::decode(frames[0].payload) else {
            panic!("no publish: {:?}", frames[0]);
        };
        assert_eq!(
            (method.routing_key, method.mandatory),
            (&b"orders"[..], true)
        );
        let header = ContentHeader::decode(frames[1].payload).unwrap();
        assert_eq!(header.body_size, 20_000);
        let properties = BasicProperties::decode(header.properties).unwrap();
        assert_eq!(properties.delivery_mode, Some(2));
        let parts: Vec<u8> = frames[2..]
            .iter()
            .inspect(|frame| assert_eq!(frame.kind, FrameKind::Body))
            .flat_map(|frame| frame.payload.to_vec())
            .collect();
        assert_eq!((parts, frames.len()), (body, 5));
    }

    #[test]
    fn an_empty_body_has_no_body_frame() {
        let bytes = publish(8192, b"");
        let (_, size) = decode_frame(&bytes, 8192).unwrap().unwrap();
        let (header, header_size) = decode_frame(&bytes[size..], 8192).unwrap().unwrap();
        assert_eq!(header.kind, FrameKind::Header);
        assert_eq!(size + header_size, bytes.len());
    }

    #[test]
    fn short_writes_lose_nothing() {
        let mut outgoing = Outgoing::new();
        outgoing.bytes().extend(0..=255);
        let mut written = Vec::new();
        while outgoing.pending() > 0 {
            outgoing
                .write_with(|bytes| {
                    let part = &bytes[..bytes.len().min(7)];
                    written.extend_from_slice(part);
                    Ok(part.len())
                })
                .unwrap();
        }
        assert_eq!(written, (0..=255).collect::<Vec<u8>>());
    }
}
