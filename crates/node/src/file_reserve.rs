//! File descriptors that clients leave to the node: its log takes new files while it works, and operators have to get in.
//!
//! It counts nothing. The kernel gives out the lowest number that is free, so the number of the newest socket says how many are
//! taken.

use std::os::fd::{AsFd, AsRawFd as _, RawFd};
use std::time::Duration;

/// One in so many descriptors is reserved.
const SHARE: u64 = 16;
/// At least so many are.
const RESERVED_MIN: u64 = 16;
/// More are not.
const RESERVED_MAX: u64 = 256;

/// Why nobody is let in.
pub const NO_FILES_FOR_CLIENTS: &str = "the file descriptors that are left are for the node itself";

/// How often a full node looks for room.
const INTERVAL: Duration = Duration::from_millis(100);

/// Who takes a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileUser {
    /// A client of a messaging protocol.
    Client,
    /// A request of the HTTP API: half of the reserve is for these.
    Operator,
}

/// The descriptors from one number on.
#[derive(Clone, Copy, Debug)]
pub struct FileReserve {
    first: u64,
}

impl FileReserve {
    /// What this process leaves free of its limit for others than these users.
    pub fn against(user: FileUser) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self::of(limit.current.unwrap_or(u64::MAX), user)
    }

    fn of(limit: u64, user: FileUser) -> Self {
        let reserved = (limit / SHARE).clamp(RESERVED_MIN, RESERVED_MAX);
        let kept = match user {
            FileUser::Client => reserved,
            FileUser::Operator => reserved / 2,
        };
        Self {
            first: limit.saturating_sub(kept),
        }
    }

    /// Whether nothing but the reserve was left for the newest of all descriptors.
    pub fn is_touched_by(self, newest: &impl AsFd) -> bool {
        self.holds(newest.as_fd().as_raw_fd())
    }

    fn holds(self, number: RawFd) -> bool {
        u64::try_from(number).is_ok_and(|number| number >= self.first)
    }

    /// Waits until there is more than the reserve. `known` is any open descriptor.
    pub async fn wait_for_room(self, known: &impl AsFd) {
        // A copy gets the number that the next socket would get.
        let is_full = || match rustix::io::fcntl_dupfd_cloexec(known, 0) {
            Ok(next) => self.is_touched_by(&next),
            Err(_) => true,
        };
        while is_full() {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_reserved_and_operators_may_have_half_of_it() {
        for (limit, client, operator) in [
            (64, 48, 56),
            (1024, 960, 992),
            (1 << 20, (1 << 20) - 256, (1 << 20) - 128),
            (8, 0, 0),
        ] {
            assert_eq!(FileReserve::of(limit, FileUser::Client).first, client);
            assert_eq!(FileReserve::of(limit, FileUser::Operator).first, operator);
        }
        let reserve = FileReserve::of(64, FileUser::Client);
        assert!(!reserve.holds(47) && reserve.holds(48));
    }
}
