//! The AMQP 0-9-1 wire format, both directions, as RabbitMQ speaks it.
//!
//! Everything is bytes in, values out, or the other way round. This crate knows no connection state, opens no socket
//! and keeps nothing: a half-read frame stays with the caller, who offers the bytes again when there are more.
//! Decoded values borrow from the input; encoders append to a `Vec<u8>`. It does not check that names are UTF-8 and
//! does not know which method is allowed when: that is the frontend's part.
//!
//! ```text
//!  0      1         3            7                  7 + size
//!  +------+---------+------------+--------- - - ----+------+
//!  | kind | channel | size (u32) |     payload      | 0xCE |     integers are big-endian
//!  +------+---------+------------+--------- - - ----+------+
//!
//!  kind           payload
//!  1  method      class u16 | method u16 | arguments …
//!  2  header      class u16 | weight u16 | body size u64 | flags u16 | properties …
//!  3  body        a part of the content body
//!  8  heartbeat   nothing, on channel 0
//! ```
//!
//! A content is a header frame and as many body frames as its body size takes, right behind the method that has it.
//!
//! Invariant: no function here panics, recurses without bound, or allocates by a length it was told, whatever the
//! input. Spec: AMQP 0-9-1 §2.3 and §4.2.

pub mod content;
pub mod error;
pub mod frame;
pub mod method;
pub mod properties;
pub mod reply_code;
pub mod value;
mod wire;

pub use content::{
    ContentHeader, PreparedDeliver, encode_body_frames, encode_deliver, encode_header_frame,
    encode_small_content,
};
pub use error::{DecodeError, ErlangBinary, FrameDescription, FrameError, FrameErrorCause};
pub use frame::{
    FRAME_END, FRAME_HEADER_SIZE, FRAME_MIN_SIZE, FRAME_OVERHEAD, Frame, FrameKind,
    PROTOCOL_HEADER, decode_frame, encode_frame, encode_heartbeat,
};
pub use method::{
    Method, access, basic, channel, confirm, connection, exchange, peek_method, queue, tx,
};
pub use properties::{BasicProperties, PropertyScan};
pub use value::{
    Array, ArrayIter, ArrayWriter, Table, TableIter, TableWriter, Value, encode_value, write_table,
};
