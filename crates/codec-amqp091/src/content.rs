//! Content: the header frame and the body frames behind a publish, deliver, return or get-ok; and the writers a broker
//! uses once per delivered message.
//!
//! Putting a content together from its frames is the frontend's part. Spec: AMQP 0-9-1 §4.2.6.

use crate::error::DecodeError;
use crate::frame::{FRAME_END, FRAME_OVERHEAD, FrameKind, encode_frame, frame_header};
use crate::method::basic;

/// Class of every content.
const BASIC: u16 = 60;

/// Bytes before the properties: class id, weight, body size.
const FIXED_SIZE: usize = 12;

/// A content header, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Class of the content; 60 is the only one there is.
    pub class_id: u16,
    /// Unused, should be 0.
    pub weight: u16,
    /// Bytes of the body, all body frames together. Any number: the receiver has to compare it with its limit.
    pub body_size: u64,
    /// Property flags and property list as received, for [`PropertyScan`](crate::PropertyScan) or
    /// [`BasicProperties`](crate::BasicProperties).
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads a header frame's payload. The properties are not looked at.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((fixed, properties)) = payload.split_first_chunk::<FIXED_SIZE>() else {
            return Err(DecodeError::truncated(payload));
        };
        let [c0, c1, w0, w1, body_size @ ..] = *fixed;
        Ok(Self {
            class_id: u16::from_be_bytes([c0, c1]),
            weight: u16::from_be_bytes([w0, w1]),
            body_size: u64::from_be_bytes(body_size),
            properties,
        })
    }

    /// Appends a header frame of class basic; `properties` are flags and list.
    #[inline]
    pub fn encode(channel: u16, body_size: u64, properties: &[u8], out: &mut Vec<u8>) {
        encode_header_frame(out, channel, body_size, properties);
    }
}

/// Appends a header frame of class basic; `properties` are flags and list.
#[inline]
pub fn encode_header_frame(out: &mut Vec<u8>, channel: u16, body_size: u64, properties: &[u8]) {
    let mut start = [0; FIXED_SIZE + 7];
    let payload_size = FIXED_SIZE + properties.len();
    start[..7].copy_from_slice(&frame_header(FrameKind::Header, channel, payload_size));
    start[7..9].copy_from_slice(&BASIC.to_be_bytes());
    start[11..].copy_from_slice(&body_size.to_be_bytes());
    out.reserve(payload_size + FRAME_OVERHEAD);
    out.extend_from_slice(&start);
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

/// Appends the body frames of `body`, none if it is empty; `frame_max` is the negotiated limit, 0 for none.
#[inline]
pub fn encode_body_frames(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    let unlimited = u32::MAX as usize;
    let frame_size = if frame_max == 0 {
        unlimited
    } else {
        frame_max as usize
    };
    let part_size = frame_size.saturating_sub(FRAME_OVERHEAD).max(1);
    if body.len() > part_size {
        out.reserve(body.len() + body.len().div_ceil(part_size) * FRAME_OVERHEAD);
    }
    for part in body.chunks(part_size) {
        encode_frame(FrameKind::Body, channel, part, out);
    }
}

/// Appends a basic.deliver method frame; header and body frames follow.
#[inline]
pub fn encode_deliver(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    delivery_tag: u64,
    redelivered: bool,
    exchange: &[u8],
    routing_key: &[u8],
) {
    basic::Deliver {
        consumer_tag,
        delivery_tag,
        redelivered,
        exchange,
        routing_key,
    }
    .encode(channel, out);
}

/// A basic.deliver method frame that is sent again and again with another delivery tag: what a consumer gets of one
/// exchange and routing key.
#[derive(Debug, Default)]
pub struct PreparedDeliver {
    frame: Vec<u8>,
    /// Where the delivery tag is; the redelivered flag follows it.
    tag_at: usize,
    /// The frame and what follows it up to the body: what all messages of [`Self::encode_run`] begin with. Kept for its capacity.
    block: Vec<u8>,
}

impl PreparedDeliver {
    /// Makes the frame anew.
    pub fn prepare(
        &mut self,
        channel: u16,
        consumer_tag: &[u8],
        exchange: &[u8],
        routing_key: &[u8],
    ) {
        self.frame.clear();
        encode_deliver(
            &mut self.frame,
            channel,
            consumer_tag,
            0,
            false,
            exchange,
            routing_key,
        );
        // Behind the frame header, class, method and the consumer tag with its length.
        self.tag_at = FRAME_OVERHEAD - 1 + 4 + 1 + consumer_tag.len();
    }

    /// Appends the frame.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, delivery_tag: u64, redelivered: bool) {
        self.append(&self.frame, out, delivery_tag, redelivered);
    }

    /// Appends deliver, header and body frames of messages that differ in nothing but their bodies, each of which fits one frame.
    /// The delivery tags count from `first_tag` on.
    #[inline]
    pub fn encode_run<'a>(
        &mut self,
        out: &mut Vec<u8>,
        channel: u16,
        (first_tag, redelivered): (u64, bool),
        properties: &[u8],
        bodies: impl Iterator<Item = &'a [u8]>,
    ) {
        let mut size = None;
        for (body, tag) in bodies.zip(first_tag..) {
            if size != Some(body.len()) {
                size = Some(body.len());
                self.begin_block(channel, properties, body.len());
            }
            out.reserve(self.block.len() + body.len() + 1);
            self.append(&self.block, out, tag, redelivered);
            out.extend_from_slice(body);
            out.push(FRAME_END);
        }
    }

    /// Sets `block` to what a message begins with whose body is this large, up to the body or, without one, to the last octet.
    fn begin_block(&mut self, channel: u16, properties: &[u8], body_size: usize) {
        self.block.clear();
        self.block.extend_from_slice(&self.frame);
        encode_header_frame(&mut self.block, channel, body_size as u64, properties);
        if body_size == 0 {
            self.block.pop();
        } else {
            let header = frame_header(FrameKind::Body, channel, body_size);
            self.block.extend_from_slice(&header);
        }
    }

    /// Appends what begins with the frame. The tag is put into the copy, not into the original: reading what was just written in
    /// smaller pieces would make the processor wait.
    #[inline]
    fn append(&self, bytes: &[u8], out: &mut Vec<u8>, delivery_tag: u64, redelivered: bool) {
        let start = out.len();
        out.extend_from_slice(bytes);
        if let Some((tag, [flags, ..])) = out
            .get_mut(start + self.tag_at..)
            .and_then(|rest| rest.split_first_chunk_mut())
        {
            *tag = delivery_tag.to_be_bytes();
            *flags = u8::from(redelivered);
        }
    }
}

/// Appends the header frame and the body frame of a message that fits one; a body without a byte has no frame.
/// One reservation, few writes: a broker does this for each small message.
#[inline]
pub fn encode_small_content(out: &mut Vec<u8>, channel: u16, properties: &[u8], body: &[u8]) {
    let header_size = FIXED_SIZE + properties.len();
    out.reserve(header_size + body.len() + 2 * FRAME_OVERHEAD);
    let mut start = [0; FIXED_SIZE + FRAME_OVERHEAD - 1];
    start[..7].copy_from_slice(&frame_header(FrameKind::Header, channel, header_size));
    start[7..9].copy_from_slice(&BASIC.to_be_bytes());
    start[11..].copy_from_slice(&(body.len() as u64).to_be_bytes());
    out.extend_from_slice(&start);
    out.extend_from_slice(properties);
    if body.is_empty() {
        out.push(FRAME_END);
        return;
    }
    let mut between = [FRAME_END; FRAME_OVERHEAD];
    between[1..].copy_from_slice(&frame_header(FrameKind::Body, channel, body.len()));
    out.extend_from_slice(&between);
    out.extend_from_slice(body);
    out.push(FRAME_END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::decode_frame;

    #[test]
    fn a_prepared_delivery_is_the_same_frame() {
        let mut prepared = PreparedDeliver::default();
        for (consumer_tag, exchange, key) in [("", "", ""), ("ctag", "amq.topic", "a.b")] {
            let [consumer_tag, exchange, key] = [consumer_tag, exchange, key].map(str::as_bytes);
            prepared.prepare(7, consumer_tag, exchange, key);
            for (tag, redelivered) in [(1, false), (u64::MAX, true), (2, false)] {
                let (mut expect, mut out) = (Vec::new(), Vec::new());
                encode_deliver(
                    &mut expect,
                    7,
                    consumer_tag,
                    tag,
                    redelivered,
                    exchange,
                    key,
                );
                prepared.encode(&mut out, tag, redelivered);
                assert_eq!(out, expect);
            }
        }
    }

    #[test]
    fn a_run_is_the_same_frames() {
        let mut prepared = PreparedDeliver::default();
        prepared.prepare(7, b"ctag", b"amq.topic", b"a.b");
        let properties = &[0x10, 0, 2];
        let bodies: [&[u8]; 7] = [b"12", b"34", b"", b"", b"5", &[7; 300], b"6"];
        for redelivered in [false, true] {
            let (mut expect, mut out) = (b"before".to_vec(), b"before".to_vec());
            for (body, tag) in bodies.into_iter().zip(u64::from(u32::MAX)..) {
                prepared.encode(&mut expect, tag, redelivered);
                encode_small_content(&mut expect, 7, properties, body);
            }
            let tags = (u64::from(u32::MAX), redelivered);
            prepared.encode_run(&mut out, 7, tags, properties, bodies.into_iter());
            assert_eq!(out, expect);
        }
    }

    #[test]
    fn small_contents_are_the_same_frames() {
        for body in [&b""[..], b"x", &[7; 300]] {
            let (mut expect, mut out) = (Vec::new(), Vec::new());
            encode_header_frame(&mut expect, 7, body.len() as u64, &[0x10, 0, 2]);
            encode_body_frames(&mut expect, 7, body, 8192);
            encode_small_content(&mut out, 7, &[0x10, 0, 2], body);
            assert_eq!(out, expect);
        }
    }

    fn body_frame_sizes(body: &[u8], frame_max: u32) -> Vec<usize> {
        let mut bytes = Vec::new();
        encode_body_frames(&mut bytes, 3, body, frame_max);
        let (mut rest, mut joined, mut sizes) = (&bytes[..], Vec::new(), Vec::new());
        while let Some((frame, size)) = decode_frame(rest, frame_max).unwrap() {
            assert_eq!((frame.kind, frame.channel), (FrameKind::Body, 3));
            joined.extend_from_slice(frame.payload);
            sizes.push(size);
            rest = &rest[size..];
        }
        assert!(rest.is_empty());
        assert_eq!(joined, body);
        sizes
    }

    #[test]
    fn a_body_is_split_at_frame_max() {
        assert_eq!(body_frame_sizes(b"", 8192), [0; 0]);
        assert_eq!(body_frame_sizes(&[7; 8184], 8192), [8192]);
        assert_eq!(body_frame_sizes(&[7; 8185], 8192), [8192, 9]);
        assert_eq!(body_frame_sizes(&[7; 20_000], 0), [20_008]);
    }

    #[test]
    fn a_header_is_read_as_written() {
        let mut bytes = Vec::new();
        ContentHeader::encode(9, 1 << 63, &[0x10, 0, 2], &mut bytes);
        let (frame, _) = decode_frame(&bytes, 8192).unwrap().unwrap();
        assert_eq!((frame.kind, frame.channel), (FrameKind::Header, 9));
        let header = ContentHeader {
            class_id: 60,
            weight: 0,
            body_size: 1 << 63,
            properties: &[0x10, 0, 2],
        };
        assert_eq!(ContentHeader::decode(frame.payload), Ok(header));
        assert!(ContentHeader::decode(&frame.payload[..11]).is_err());
    }
}
