//! The time, as an argument.

use std::time::Duration;

/// The moment at which a machine is asked to act. Drivers read the clocks once a turn and pass this on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic time since the node process started; all deadlines and timeouts are in this clock.
    pub monotonic: Duration,
    /// Wall clock, milliseconds since 1970-01-01 UTC; for timestamps and for expiry across restarts only.
    pub wall_ms: u64,
}
