//! How much of what a client sent may be handled now, where a limit says how fast it may publish.
//!
//! Frames are counted before anything looks at them, and not at all where there is no limit. What is over the limit stays in the input
//! as it came; nothing that a channel does is delayed or changed. The buckets are [`broker::throttle`]'s.

use base::Now;
use broker::throttle::{Published, Throttle};
use codec_amqp091::{FRAME_HEADER_SIZE, FRAME_OVERHEAD, FrameKind, basic, peek_method};

/// Bytes of complete frames at the start of `input`, as far as the limits let them through; they are charged.
pub(crate) fn admit(throttle: &mut Throttle, now: Now, input: &[u8]) -> usize {
    let mut admitted = 0;
    while !throttle.waits()
        && let Some(frame) = complete_frame(&input[admitted..])
    {
        admitted += frame.len();
        let published = published_by(frame);
        if published != Published::default() {
            throttle.charge(now, published);
        }
    }
    admitted
}

/// The frame at the start of the input, as far as its size can be believed.
fn complete_frame(input: &[u8]) -> Option<&[u8]> {
    let [_, _, _, s0, s1, s2, s3] = input.first_chunk::<FRAME_HEADER_SIZE>()?;
    let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]) as usize;
    input.get(..size.checked_add(FRAME_OVERHEAD)?)
}

fn published_by(frame: &[u8]) -> Published {
    const PUBLISH: (u16, u16) = (basic::Publish::CLASS_ID, basic::Publish::METHOD_ID);
    let payload = &frame[FRAME_HEADER_SIZE..frame.len() - 1];
    let is = |kind: FrameKind| frame[0] == kind as u8;
    let is_publish = is(FrameKind::Method) && peek_method(payload) == Some(PUBLISH);
    Published {
        messages: is_publish.into(),
        bytes: if is(FrameKind::Body) {
            payload.len() as u64
        } else {
            0
        },
    }
}
