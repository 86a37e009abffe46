//! Signs of life, both ways.
//!
//! We send one when nothing else was sent for half the negotiated interval; the peer is dead when nothing came for two whole
//! intervals in a row. Any traffic counts. Spec: AMQP 0-9-1 §4.2.7; RabbitMQ docs: heartbeats.

use base::Now;
use std::time::Duration;

/// Intervals without input after which the peer is taken for dead.
const MISSES_MAX: u8 = 2;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Nothing,
    /// Send a heartbeat frame.
    Send,
    /// The peer is dead.
    Dead,
}

/// The two timers of a connection.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    send_at: Duration,
    /// The output's mark when the send timer was set.
    send_mark: u64,
    receive_at: Duration,
    received: bool,
    misses: u8,
}

impl Heartbeat {
    /// `None` if the peer asked for no heartbeats. `mark` is the output's.
    pub(crate) fn new(now: Now, interval_s: u16, mark: u64) -> Option<Self> {
        let interval = Duration::from_secs(interval_s.into());
        (interval_s > 0).then(|| Self {
            interval,
            send_at: now.monotonic + interval / 2,
            send_mark: mark,
            receive_at: now.monotonic + interval,
            received: true,
            misses: 0,
        })
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn poll_deadline(&self) -> Duration {
        self.send_at.min(self.receive_at)
    }

    pub(crate) fn handle_received(&mut self) {
        self.received = true;
    }

    /// `is_reading` is false while we do not read, which is no fault of the peer's.
    pub(crate) fn handle_timeout(&mut self, now: Now, mark: u64, is_reading: bool) -> Beat {
        if self.receive_at <= now.monotonic {
            self.misses = if self.received || !is_reading {
                0
            } else {
                self.misses + 1
            };
            if self.misses >= MISSES_MAX {
                return Beat::Dead;
            }
            self.received = false;
            self.receive_at = now.monotonic + self.interval;
        }
        if self.send_at > now.monotonic {
            return Beat::Nothing;
        }
        self.send_at = now.monotonic + self.interval / 2;
        let beat = if mark == self.send_mark {
            Beat::Send
        } else {
            Beat::Nothing
        };
        self.send_mark = mark;
        beat
    }

    /// The heartbeat frame was added to the output.
    pub(crate) fn handle_sent(&mut self, mark: u64) {
        self.send_mark = mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            monotonic: Duration::from_millis(ms),
            wall_ms: 0,
        }
    }

    #[test]
    fn a_silent_peer_is_dead_after_three_intervals_of_which_the_first_had_the_handshake() {
        let mut heartbeat = Heartbeat::new(at(0), 1, 0).unwrap();
        let mut beats = Vec::new();
        loop {
            let now = Now {
                monotonic: heartbeat.poll_deadline(),
                wall_ms: 0,
            };
            let beat = heartbeat.handle_timeout(now, 0, true);
            beats.push((now.monotonic.as_millis(), beat));
            if beat == Beat::Dead {
                break;
            }
        }
        let sent: Vec<_> = beats
            .iter()
            .filter(|(_, beat)| *beat == Beat::Send)
            .map(|(ms, _)| *ms)
            .collect();
        assert_eq!(sent, [500, 1000, 1500, 2000, 2500]);
        assert_eq!(beats.last().map(|(ms, _)| *ms), Some(3000));
    }

    #[test]
    fn input_and_pauses_keep_the_peer_alive_and_output_replaces_heartbeats() {
        let mut heartbeat = Heartbeat::new(at(0), 2, 0).unwrap();
        for second in 1..=20 {
            if second % 2 == 0 {
                heartbeat.handle_received();
            }
            assert_eq!(
                heartbeat.handle_timeout(at(second * 1000), second, true),
                Beat::Nothing
            );
        }
        for second in 21..=40 {
            assert_ne!(
                heartbeat.handle_timeout(at(second * 1000), 0, false),
                Beat::Dead
            );
        }
        assert!(Heartbeat::new(at(0), 0, 0).is_none());
    }
}
