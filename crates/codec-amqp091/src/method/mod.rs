//! Methods: one struct per method with the fields of the specification, and [`Method`], the closed set of them.
//!
//! The structs are generated from `spec/amqp0-9-1.txt`. A short or long string is a byte slice of the frame, a table
//! stays undecoded. Nothing here says who may send a method, or when.
//! Spec: AMQP 0-9-1 §4.2.4 and XML class definitions; RabbitMQ docs: extensions.

mod generated;

pub use generated::{Method, access, basic, channel, confirm, connection, exchange, queue, tx};

/// Class id and method id at the start of a method frame's payload, or `None` if it is shorter than that.
#[inline]
pub fn peek_method(payload: &[u8]) -> Option<(u16, u16)> {
    let &[c0, c1, m0, m1] = payload.first_chunk::<4>()?;
    Some((u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])))
}
