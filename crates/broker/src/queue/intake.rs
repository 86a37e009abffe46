//! How fast publishers may go on: the queue gives their channels back what they have spent, at once or later.
//!
//! A channel asks after each part of its credit that it has spent, behind the messages it was spent on. The queue answers at the end
//! of the turn, unless
//!
//! - more waits in RAM than the log has taken yet: then when the log has, or
//! - consumers that would keep up have fallen behind: then as messages go out. Held in RAM, and acknowledged before they are
//!   written, messages cost a fraction of what they cost once they must be read back; so everybody is faster when publishers do
//!   not run ahead.
//!
//! Consumers that are not there or that are much slower never hold anybody back: they are only waited for if, while publishers went
//! freely, at least half as much went out as came in, or consumers mostly waited for the store; never for longer than
//! [`PACED_MAX`], and [`STALLED_MAX`] without any progress, before publishers go freely again and that is looked at anew.
//!
//! Limit: a channel asks a few times for its whole credit, so what is held is bounded by the publishing channels.
//!
//! It knows no channel's account, and stops nobody by itself.

use super::Queue;
use crate::command::{ChannelId, Reply, Spent};
use crate::effect::{Effect, Effects};
use base::Now;
use std::collections::VecDeque;
use std::time::Duration;

/// Waiting payloads in RAM, in multiples of the queue's limit, above which publishers wait for the log.
const UNWRITTEN_LIMITS_MAX: usize = 8;

/// Waiting payloads in RAM from which on consumers count as being behind.
const BEHIND_BYTES: usize = 512 << 10;

/// What is published freely before it is looked at how consumers do.
const WINDOW_BYTES: u64 = 2 << 20;

/// How long publishers go at the pace of consumers before they go freely again, at most.
const PACED_MAX: Duration = Duration::from_millis(400);

/// How long one part of credit waits for consumers, at most.
const STALLED_MAX: Duration = Duration::from_millis(100);

/// A channel that waits for credit.
#[derive(Clone, Copy, Debug)]
struct Asked {
    channel: ChannelId,
    spent: Spent,
}

/// Who decides how fast publishers go.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// They do.
    Free(Window),
    /// Consumers do.
    Consumers {
        until: Duration,
        /// When they count as slow if no credit was given meanwhile.
        stalled_at: Duration,
        /// Messages that had gone out when it was last looked at.
        delivered: u64,
        /// Eighths of messages that may still be published.
        allowance: u64,
    },
}

/// What happened since publishers began to go freely.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Credit that was asked for.
    asked_bytes: u64,
    /// How often it was asked for.
    asked: u32,
    /// How often consumers waited for the store then.
    hungry: u32,
    /// Messages at its beginning.
    published: u64,
    /// Messages at its beginning.
    delivered: u64,
}

#[derive(Debug)]
pub(super) struct Intake {
    asked: VecDeque<Asked>,
    pace: Pace,
    /// Messages of recent free windows, fading.
    published: u64,
    /// The same of those that went out.
    delivered: u64,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            asked: VecDeque::new(),
            pace: Pace::Free(Window::default()),
            published: 0,
            delivered: 0,
        }
    }
}

impl Intake {
    /// Nobody waits for credit.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    pub(super) fn ask(&mut self, channel: ChannelId, spent: Spent) {
        self.asked.push_back(Asked { channel, spent });
    }

    /// At least half of what was published freely of late went out.
    fn keeps_up(&mut self, published: u64, delivered: u64) -> bool {
        let fade = |sum: u64| sum - sum / 8;
        self.published = fade(self.published) + published;
        self.delivered = fade(self.delivered) + delivered;
        self.delivered * 2 >= self.published
    }
}

impl Queue {
    /// Gives credit to those who asked, as far as the queue can take more now.
    pub(super) fn give_credit(&mut self, now: Now, effects: &mut Effects) {
        while let Some(&asked) = self.intake.asked.front() {
            if !self.may_take(now, asked.spent) {
                if let Pace::Consumers {
                    until, stalled_at, ..
                } = self.intake.pace
                {
                    self.wake_by(until.min(stalled_at), effects);
                }
                return;
            }
            self.intake.asked.pop_front();
            self.credit(asked, effects);
        }
    }

    /// Holds nobody back any more: the log has failed or the queue goes.
    pub(super) fn give_all_credit(&mut self, effects: &mut Effects) {
        for asked in std::mem::take(&mut self.intake.asked) {
            self.credit(asked, effects);
        }
    }

    fn credit(&self, asked: Asked, effects: &mut Effects) {
        let reply = Reply::Credit {
            queue: self.id(),
            bytes: asked.spent.bytes,
        };
        effects.push(Effect::Reply {
            to: asked.channel,
            reply,
        });
    }

    fn may_take(&mut self, now: Now, spent: Spent) -> bool {
        // Without the log being at work nothing would end the wait.
        if self.ready.ram_bytes() > UNWRITTEN_LIMITS_MAX * self.ram_limit && self.journal.is_busy()
        {
            return self.journal.failed();
        }
        if let Pace::Free(window) = self.intake.pace {
            self.intake.pace = self.watch(now, window, spent);
        }
        let Pace::Consumers {
            until,
            stalled_at,
            delivered,
            allowance,
        } = &mut self.intake.pace
        else {
            return true;
        };
        // Less than what went out, so that the queue becomes shorter.
        *allowance += 6 * (self.counters.delivered - *delivered);
        *delivered = self.counters.delivered;
        let cost = 8 * u64::from(spent.messages);
        let is_behind = self.ready.has_cold() || self.ready.ram_bytes() > BEHIND_BYTES;
        let must_wait = is_behind && *allowance < cost;
        if *until.min(stalled_at) <= now.monotonic {
            if must_wait {
                // They became slow: that counts at once.
                self.intake.delivered /= 2;
            }
            self.intake.pace = self.free();
            return true;
        }
        if !must_wait {
            *stalled_at = now.monotonic + STALLED_MAX;
            *allowance = allowance.saturating_sub(cost);
        }
        !must_wait
    }

    /// Publishers go freely and have got this much further.
    fn watch(&mut self, now: Now, mut window: Window, spent: Spent) -> Pace {
        window.asked_bytes += u64::from(spent.bytes);
        window.asked += 1;
        window.hungry += u32::from(self.load.is_some() && self.consumers.has_turns());
        if window.asked_bytes < WINDOW_BYTES {
            return Pace::Free(window);
        }
        let published = self.counters.published - window.published;
        let delivered = self.counters.delivered - window.delivered;
        let keeps_up = self.intake.keeps_up(published, delivered);
        let is_hungry = window.hungry * 2 >= window.asked;
        let is_behind = self.ready.has_cold() || self.ready.ram_bytes() > BEHIND_BYTES;
        if !is_behind || !(keeps_up || is_hungry) {
            return self.free();
        }
        Pace::Consumers {
            until: now.monotonic + PACED_MAX,
            stalled_at: now.monotonic + STALLED_MAX,
            delivered: self.counters.delivered,
            allowance: 0,
        }
    }

    fn free(&self) -> Pace {
        Pace::Free(Window {
            published: self.counters.published,
            delivered: self.counters.delivered,
            ..Window::default()
        })
    }
}
