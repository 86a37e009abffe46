//! What tests of the whole broker need: real broker processes and ways to talk to them.
//!
//! Development only: nothing that ships depends on this crate.

pub mod broker;
pub mod checker;
pub mod client;
pub mod http;
pub mod openapi;
pub mod random;
pub mod script;
pub mod token;

pub use broker::{Broker, binary, free_address};
pub use client::Client;
pub use http::{Http, Response};
