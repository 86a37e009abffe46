//! The map that all snapshots share structure through.

use rpds::HashTrieMapSync;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// A map that clones in constant time; a changed clone copies only the path to the change.
///
/// Keys come from clients, so the hash has to be strong; its key is fixed, so that the same commands build the same maps.
/// SipHash with a fixed key is both: finding many keys of one hash value costs a search through 2^64.
///
/// Iteration order means nothing; whatever leaves the core in an order is sorted first.
pub(crate) type PersistentMap<K, V> = HashTrieMapSync<K, V, BuildHasherDefault<DefaultHasher>>;
