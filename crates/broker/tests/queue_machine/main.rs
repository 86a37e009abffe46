//! Tests of the classic queue machine as its shard sees it: commands in, effects out, a log that answers later.

mod behaviour;
mod browsing;
mod credit;
mod dedup;
mod model;
mod reconfigure;
mod replay;
mod rig;
