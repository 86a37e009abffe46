//! Frames: finding where one ends, and writing one.
//!
//! Which kind of frame may come when, and what is inside a method or header, is not decided here.
//! Spec: AMQP 0-9-1 §4.2.3.

use crate::error::{FrameDescription, FrameError, FrameErrorCause};

/// What a client sends first: `AMQP`, 0, then version 0-9-1.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// Bytes before the payload: kind, channel, payload size.
pub const FRAME_HEADER_SIZE: usize = 7;

/// Bytes of a frame around its payload: the header and the end octet.
pub const FRAME_OVERHEAD: usize = FRAME_HEADER_SIZE + 1;

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;

/// Smallest `frame_max` that may be negotiated, and the limit until then, in bytes.
///
/// Compat: the specification says 4096; RabbitMQ asks for 8192 since 4.1, so that large tokens fit in `start-ok`.
pub const FRAME_MIN_SIZE: u32 = 8192;

/// Compat: RabbitMQ lets a payload exceed the negotiated size by this many bytes, since some clients count the frame
/// without header and end.
const FRAME_SIZE_SLACK: u32 = 8;

const HEARTBEAT: [u8; FRAME_OVERHEAD] = [8, 0, 0, 0, 0, 0, 0, FRAME_END];

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A method: class id, method id, arguments.
    Method = 1,
    /// A content header: class id, weight, body size, properties.
    Header = 2,
    /// A part of a content body.
    Body = 3,
    /// A sign of life.
    Heartbeat = 8,
}

impl FrameKind {
    #[inline]
    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }

    /// The least, and the most, a payload of this kind can have.
    #[inline]
    fn payload_fits(self, size: usize) -> bool {
        match self {
            Self::Method => size >= 4,
            Self::Header => size >= 12,
            Self::Body => true,
            Self::Heartbeat => size == 0,
        }
    }
}

/// One complete frame, borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// Its channel; 0 is the connection itself.
    pub channel: u16,
    /// What is between the frame header and the end octet. A method has at least 4 bytes, a header 12, a heartbeat
    /// none.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// The frame as RabbitMQ describes it in the reply text of `UNEXPECTED_FRAME`: `type 8, all octets = <<>>`.
    #[cold]
    pub fn describe(&self) -> FrameDescription {
        FrameDescription::new(self.kind as u8, self.payload)
    }
}

/// Looks for one frame at the start of `input` and says how many bytes it takes. `None` means that more input is
/// needed.
///
/// `frame_max` is the negotiated limit in bytes, 0 for none; before negotiation it is [`FRAME_MIN_SIZE`]. The size is
/// judged as soon as the frame header is there, so a caller never has to buffer more than `frame_max` + 8 bytes.
///
/// # Errors
/// The first frame is broken or too large. There is no way to find the next one.
#[inline]
pub fn decode_frame(
    input: &[u8],
    frame_max: u32,
) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((header, rest)) = input.split_first_chunk::<FRAME_HEADER_SIZE>() else {
        return Ok(None);
    };
    let [kind, channel_high, channel_low, s0, s1, s2, s3] = *header;
    let size_announced = u32::from_be_bytes([s0, s1, s2, s3]);
    // `frame_max` is at least 8192 when it is not 0, but nothing here relies on that.
    if frame_max != 0
        && u64::from(size_announced) > payload_max(frame_max) + u64::from(FRAME_SIZE_SLACK)
    {
        return Err(too_large(kind, size_announced, frame_max));
    }
    let Ok(size) = usize::try_from(size_announced) else {
        return Err(too_large(kind, size_announced, frame_max));
    };
    let Some((payload, after)) = rest.split_at_checked(size) else {
        return Ok(None);
    };
    let Some(&end) = after.first() else {
        return Ok(None);
    };
    if end != FRAME_END {
        return Err(FrameError::new(
            kind,
            payload,
            FrameErrorCause::InvalidEndMarker(end),
        ));
    }
    match FrameKind::from_octet(kind) {
        Some(kind) if kind.payload_fits(size) => {
            let channel = u16::from_be_bytes([channel_high, channel_low]);
            Ok(Some((
                Frame {
                    kind,
                    channel,
                    payload,
                },
                size + FRAME_OVERHEAD,
            )))
        }
        Some(_) | None => Err(FrameError::new(
            kind,
            payload,
            FrameErrorCause::UnknownFrame,
        )),
    }
}

/// The largest payload that both sides agreed on.
#[inline]
fn payload_max(frame_max: u32) -> u64 {
    u64::from(frame_max).saturating_sub(FRAME_OVERHEAD as u64)
}

#[cold]
fn too_large(kind: u8, size: u32, frame_max: u32) -> FrameError {
    let max = payload_max(frame_max);
    FrameError::new(kind, &[], FrameErrorCause::TooLarge { size, max })
}

/// Appends a heartbeat frame.
#[inline]
pub fn encode_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&HEARTBEAT);
}

/// Appends any frame. `payload` must fit the negotiated `frame_max`, which is far below the 4 GiB a frame can say.
#[inline]
pub fn encode_frame(kind: FrameKind, channel: u16, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + FRAME_OVERHEAD);
    out.extend_from_slice(&frame_header(kind, channel, payload.len()));
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// The bytes before a payload of `size` bytes.
#[inline]
pub(crate) fn frame_header(kind: FrameKind, channel: u16, size: usize) -> [u8; FRAME_HEADER_SIZE] {
    let [channel_high, channel_low] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = crate::wire::long_size(size).to_be_bytes();
    [kind as u8, channel_high, channel_low, s0, s1, s2, s3]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(input: &[u8], frame_max: u32, expect: &str) {
        let error = decode_frame(input, frame_max).expect_err(expect);
        assert_eq!(error.to_string(), expect);
    }

    fn framed(kind: u8, payload: &[u8], end: u8) -> Vec<u8> {
        let mut out = frame_header(FrameKind::Body, 0, payload.len()).to_vec();
        out[0] = kind;
        out.extend_from_slice(payload);
        out.push(end);
        out
    }

    #[test]
    fn broken_frames_are_told_in_rabbitmqs_words() {
        for (kind, payload, end, expect) in [
            (
                1,
                &[0, 10, 0, 10][..],
                0,
                "type 1, all octets = <<0,10,0,10>>: {invalid_frame_end_marker,0}",
            ),
            (
                9,
                b"abc",
                FRAME_END,
                "type 9, all octets = <<\"abc\">>: unknown_frame",
            ),
            (
                0,
                b"",
                FRAME_END,
                "type 0, all octets = <<>>: unknown_frame",
            ),
            (
                255,
                b"abcdefghijklmnopq",
                FRAME_END,
                "type 255, first 16 octets = <<\"abcdefghijklmnop\">>: unknown_frame",
            ),
            (
                1,
                &[0, 10, 0],
                FRAME_END,
                "type 1, all octets = <<0,10,0>>: unknown_frame",
            ),
            (
                2,
                &[0; 11],
                FRAME_END,
                "type 2, all octets = <<0,0,0,0,0,0,0,0,0,0,0>>: unknown_frame",
            ),
            (
                8,
                &[1],
                FRAME_END,
                "type 8, all octets = <<1>>: unknown_frame",
            ),
        ] {
            check_error(&framed(kind, payload, end), 8192, expect);
        }
        for kind in (0..=255).filter(|kind| FrameKind::from_octet(*kind).is_none()) {
            assert!(decode_frame(&framed(kind, b"", FRAME_END), 0).is_err());
        }
    }

    #[test]
    fn the_size_is_judged_at_the_frame_header() {
        let header = |size: u32| [&[3, 0, 1][..], &size.to_be_bytes()].concat();
        check_error(
            &header(200_000),
            131_072,
            "type 3, all octets = <<>>: {frame_too_large,200000,131064}",
        );
        check_error(
            &header(u32::MAX),
            8192,
            "type 3, all octets = <<>>: {frame_too_large,4294967295,8184}",
        );
        for (size, allowed) in [
            (8184, true),
            (8185, true),
            (8192, true),
            (8193, false),
            (8200, false),
            (1 << 31, false),
        ] {
            assert_eq!(decode_frame(&header(size), 8192).is_ok(), allowed, "{size}");
            assert_eq!(decode_frame(&header(size), 0), Ok(None), "no limit, {size}");
        }
    }

    #[test]
    fn a_frame_is_found_only_when_its_last_byte_is_there() {
        let mut bytes = Vec::new();
        encode_frame(FrameKind::Body, 513, b"hello", &mut bytes);
        let size = bytes.len();
        encode_heartbeat(&mut bytes);
        for cut in 0..size {
            assert_eq!(decode_frame(&bytes[..cut], 8192), Ok(None));
        }
        let frame = Frame {
            kind: FrameKind::Body,
            channel: 513,
            payload: b"hello",
        };
        assert_eq!(decode_frame(&bytes, 8192), Ok(Some((frame, size))));
        let heartbeat = Frame {
            kind: FrameKind::Heartbeat,
            channel: 0,
            payload: b"",
        };
        assert_eq!(decode_frame(&bytes[size..], 8192), Ok(Some((heartbeat, 8))));
        assert_eq!(
            heartbeat.describe().to_string(),
            "type 8, all octets = <<>>"
        );
    }
}
