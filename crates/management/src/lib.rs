//! The HTTP API: RabbitMQ's paths, fields, words and status codes, for a node that runs in this process.
//!
//! It reads the metadata snapshot and asks shards for figures through a [`node::Handle`], and changes things by metadata commands or
//! by AMQP on a connection of the node to itself, so every rule is the broker's own. It never touches messages on their way;
//! copies of them go to files where somebody wants that (`traces`).
//! The same answers, and some for operators on this host, come over the [`Control`] socket.
//! It runs on threads of its own; nothing here can hold up a shard for longer than one slice of figures.
//!
//! Suggested reading order: `routes` (all paths), `table`, `call`, `access`, `guard`, `server`, `directory`, `listing`, `amqp`, then `resources`.
//!
//! RabbitMQ docs: management#http-api.

mod access;
mod access_log;
mod amqp;
mod call;
mod control;
mod directory;
mod download;
mod error;
mod guard;
mod json;
mod listing;
mod login_rate;
mod metrics;
mod pieces;
mod query;
mod reference;
mod resources;
mod routes;
mod schemas;
mod server;
mod service;
mod sessions;
mod state;
mod statistics;
mod strict_json;
mod table;
mod traces;

pub use control::Control;
pub use service::start;
