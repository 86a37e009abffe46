//! Time for latencies, schedules that a slow broker cannot stretch, and a timer finer than the runtime's.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds of the machine's monotonic clock. All processes of one machine share it, so a publisher and a consumer
/// in two processes measure true latencies.
#[inline]
pub(crate) fn now_ns() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// CPU time the calling thread has used, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}

/// What to add to [`now_ns`] to get wall-clock time, for publishers and consumers on machines with synchronised clocks.
pub(crate) fn wall_clock_offset_ns() -> u64 {
    nanos(clock_gettime(ClockId::Realtime)).wrapping_sub(now_ns())
}

fn nanos(time: Timespec) -> u64 {
    // Neither clock goes below zero.
    time.tv_sec.cast_unsigned() * NANOS_PER_SECOND + time.tv_nsec.cast_unsigned()
}

/// When each message of a producer with a fixed rate is meant to be sent.
///
/// The schedule never shifts: a message that the broker's slowness delayed keeps its intended time, and its latency
/// is counted from there. Without this, a stall of a second would be one slow message instead of a second's worth of
/// them ("coordinated omission").
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    start_ns: u64,
    period_ns: f64,
    next: u64,
}

impl Pacer {
    /// A schedule of `rate` messages a second (more than 0) from `start_ns` on.
    pub(crate) fn new(rate: f64, start_ns: u64) -> Self {
        Self {
            start_ns,
            period_ns: NANOS_PER_SECOND as f64 / rate,
            next: 0,
        }
    }

    /// Begins anew at `now_ns` if the schedule is more than `slack_ns` behind. For consumers, which should not make up
    /// for the time in which there was nothing to consume.
    pub(crate) fn catch_up(&mut self, now_ns: u64, slack_ns: u64) {
        if self.due_ns().saturating_add(slack_ns) < now_ns {
            (self.start_ns, self.next) = (now_ns, 0);
        }
    }

    /// When the next message is due.
    #[inline]
    pub(crate) fn due_ns(&self) -> u64 {
        self.start_ns + (self.next as f64 * self.period_ns) as u64
    }

    /// The next message was sent.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.next += 1;
    }
}

/// A timer with the kernel's precision; the runtime's own rounds to a millisecond, which would show in every latency
/// of a run with a rate.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            unsafe_code,
            reason = "tokio marks it so for file descriptors that do not own themselves"
        )]
        // SAFETY: the `OwnedFd` moves into the `AsyncFd` and is open, and the same, until both are dropped together.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { fd })
    }

    /// Returns at `deadline_ns` of [`now_ns`], at once if that has passed.
    pub(crate) async fn sleep_until(&self, deadline_ns: u64) -> io::Result<()> {
        let deadline = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: (deadline_ns / NANOS_PER_SECOND).cast_signed(),
                // A value of zero would switch the timer off.
                tv_nsec: (deadline_ns % NANOS_PER_SECOND).max(1).cast_signed(),
            },
        };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &deadline)?;
        loop {
            let mut ready = self.fd.readable().await?;
            let mut expirations = [0; 8];
            match rustix::io::read(self.fd.get_ref(), &mut expirations) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_shift_when_sending_is_late() {
        let mut pacer = Pacer::new(1000.0, 5_000);
        let mut due = Vec::new();
        for _ in 0..4 {
            due.push(pacer.due_ns());
            pacer.advance();
        }
        assert_eq!(due, [5_000, 1_005_000, 2_005_000, 3_005_000]);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let mut pacer = Pacer::new(3.0, 0);
        (0..3_000_000).for_each(|_| pacer.advance());
        assert_eq!(pacer.due_ns(), 1_000_000 * NANOS_PER_SECOND);
    }

    #[tokio::test]
    async fn the_timer_is_not_early() {
        let timer = Timer::new().unwrap();
        let deadline = now_ns() + 2_000_000;
        timer.sleep_until(deadline).await.unwrap();
        assert!(now_ns() >= deadline);
        timer.sleep_until(1).await.unwrap();
    }
}
