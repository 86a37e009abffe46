//! Definitions: everything a broker knows but messages, as one JSON file in RabbitMQ's form, out and in.
//!
//! [`read`] turns a file of RabbitMQ 3.6 to 4.3, or of ours, into metadata commands; whoever carries them out does all or none.
//! [`cluster`] and [`vhost`] show metadata as such a file. [`fields`] and [`objects`] read single objects, for files and for requests alike.
//! Nothing here does I/O, asks who may do what, or knows HTTP.
//!
//! RabbitMQ docs: definitions.

mod error;
mod export;
pub mod fields;
mod import;
pub mod objects;

pub use error::{Error, refusal};
pub use export::{Product, cluster, hashing_algorithm, vhost};
pub use import::{Context, read};
