//! Scripts of raw AMQP 0-9-1, replayed against any broker, with every frame it answers written below the line that caused it.
//!
//! The answers in `tests/differential` were recorded from RabbitMQ; replaying them against another broker shows where it differs.
//! This speaks the protocol from the specification table alone and shares no code with the broker under test.
//!
//! ```text
//! # case: declare-twice
//! conn c1                                     a connection, with its handshake; options are in `Runner::connect`
//! c1.1 > channel.open                         a method on channel 1 of it; arguments not named are 0, empty or false
//! c1.1 < channel.open-ok                      recorded
//! c1.1 > basic.publish routing_key=q body=x & a publish with header and body; `&`: do not wait for answers yet
//! c1 >> [1/0: 00 0a "abc" 00*8] 00            raw bytes: frames [type/channel: payload], octets, text, repetition
//! c1.1 ? basic.deliver                        wait until this method has come
//! http PUT /vhosts/v {"tags":"a"}             a request to the HTTP API; the path is below /api, the body JSON without blanks at its ends
//! http < 201                                  its status, and its body if it has one; JSON with its keys sorted
//! until q message_count=0                     wait until a passive declare says this
//! until-gone q                                wait until the queue does not exist
//! drop c1                                     close the socket without a word
//! ~ reason: why WarrenMQ answers otherwise    on the lines below the recorded ones
//! ~ c1.1 < queue.declare-ok queue=q           what it answers instead of all the `<` lines of this step
//! ```
//!
//! Before the first case, `# vhost: NAME` makes a vhost for each case and deletes it behind it; connections that name none use it.
//! `# cases: side by side` there runs them at the same time, for cases that mostly wait; they have names of their own.
//!
//! When a step is over is never a matter of time: its answer has come, then round trips through every open channel and every
//! queue of the case have flushed what else was under way, and publishes in confirm mode have been confirmed.
//! Names a broker makes up (`amq.gen-…`) are numbered; confirms are written as the set of tags.

mod compare;
mod file;
mod peer;
mod runner;
mod spec;
mod text;

pub use compare::{Addresses, Outcome, Target, check_file, record_file};
