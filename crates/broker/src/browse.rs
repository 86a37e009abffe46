//! Looking into a queue and acting on what is there: the words for it.
//!
//! An [`Operation`] is asked of one queue and works in a bounded step; whoever wants more asks again from where the answer ended.
//! Which messages are meant is decided between the steps, by a [`Filter`], away from the queue: a queue never looks into a message.
//!
//! ```text
//! Browse from a cursor ─▶ Browsed: messages, next cursor ─▶ filter ─┬─▶ Delete those
//!                                                                  └─▶ Take those, publish them elsewhere, then Remove them
//! ```
//!
//! Nothing here changes a message or publishes one.

mod filter;

pub use filter::{
    Candidate, DEPTH_MAX, Filter, FilterError, JSON_BODY_BYTES_MAX, Standing, TERMS_MAX,
    TEXT_BYTES_MAX,
};

use crate::message::SharedMessage;
use base::Position;
use std::cmp::Reverse;

/// Messages that one browse may return.
pub const BROWSE_MESSAGES_MAX: usize = 1024;

/// Bytes of messages after which a browse ends its step.
pub const BROWSE_BYTES_MAX: usize = 512 << 10;

/// Browses that may wait in one queue; more are refused.
pub const BROWSES_WAITING_MAX: usize = 64;

/// A place in a queue, in the order in which its messages go out: by level from the highest, then by position.
/// Queues without priorities have the level 0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The priority level.
    pub level: u8,
    /// The position.
    pub position: Position,
}

impl Cursor {
    /// Before everything.
    pub const START: Self = Self {
        level: u8::MAX,
        position: Position(0),
    };

    /// What cursors are ordered by.
    pub fn key(self) -> (Reverse<u8>, Position) {
        (Reverse(self.level), self.position)
    }
}

/// `12`, or `3/12` on level 3.
impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.level {
            0 => write!(f, "{}", self.position.0),
            level => write!(f, "{level}/{}", self.position.0),
        }
    }
}

/// Not a place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place in a queue is a position, or level/position")]
pub struct CursorError;

impl std::str::FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (level, position) = text.split_once('/').unwrap_or(("0", text));
        Ok(Self {
            level: level.parse().map_err(|_| CursorError)?,
            position: Position(position.parse().map_err(|_| CursorError)?),
        })
    }
}

/// Whether somebody has the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowsedState {
    /// It waits.
    Ready,
    /// It was delivered and is not settled. It can be copied but neither moved nor deleted.
    Unacked,
    /// It was settled and is kept by the replay window of its queue. It can be copied.
    Settled {
        /// When: wall clock, milliseconds, to about a second.
        at_ms: u64,
    },
}

/// Which messages of a queue are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Those that wait or are out.
    Waiting,
    /// Those that were settled in that time and are kept by the replay window.
    Settled(SettledTime),
}

/// Between two moments of the wall clock, in milliseconds. Messages that were settled within a second of each other are told apart
/// by chance only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledTime {
    /// Not before.
    pub from_ms: u64,
    /// Not after.
    pub until_ms: u64,
}

impl SettledTime {
    /// At any time.
    pub const ANY: Self = Self {
        from_ms: 0,
        until_ms: u64::MAX,
    };
}

/// A message as it stands in its queue.
#[derive(Clone, Debug)]
pub struct BrowsedMessage {
    /// Where it stands.
    pub at: Cursor,
    /// Whether somebody has it.
    pub state: BrowsedState,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// When it expires: wall clock, milliseconds.
    pub expires_at_ms: Option<u64>,
    /// The message.
    pub message: SharedMessage,
}

/// Something that an operator asks of one queue.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Shows messages without changing anything.
    Browse {
        /// Which messages.
        present: Present,
        /// The first place to look at.
        from: Cursor,
        /// At most so many messages, and never more than [`BROWSE_MESSAGES_MAX`].
        messages_max: usize,
    },
    /// Holds those of the messages that are still ready, as if they were delivered to the channel that asks.
    /// It settles them with [`QueueCommand::Settle`](crate::command::QueueCommand::Settle) or [`Operation::Remove`].
    Take {
        /// As a browse returned them.
        messages: Vec<BrowsedMessage>,
    },
    /// Settles messages that the channel took: they are somewhere else now.
    Remove {
        /// Where they stood.
        positions: Vec<Position>,
    },
    /// Drops those of the messages that are still ready. They are not dead-lettered.
    Delete {
        /// As a browse returned them.
        messages: Vec<BrowsedMessage>,
    },
    /// Lets go of all that the replay window keeps.
    Forget,
    /// Stops or resumes deliveries. Publishes are accepted as before.
    SetPaused {
        /// Whether they stop.
        paused: bool,
    },
}

impl Operation {
    /// Whether the queue answers it.
    pub fn is_answered(&self) -> bool {
        match self {
            Self::Browse { .. } | Self::Take { .. } | Self::Delete { .. } | Self::Forget => true,
            Self::Remove { .. } | Self::SetPaused { .. } => false,
        }
    }
}

/// Answer to an [`Operation`] that has one: all but `Remove` and `SetPaused`.
#[derive(Clone, Debug)]
pub enum OperationReply {
    /// Answer to [`Operation::Browse`].
    Browsed {
        /// In the order of their cursors.
        messages: Vec<BrowsedMessage>,
        /// Where to go on; `None` at the end of the queue.
        next: Option<Cursor>,
        /// No message that came before the answer stands here or behind.
        end: Position,
    },
    /// Answer to [`Operation::Take`].
    Taken {
        /// Those that were still ready.
        positions: Vec<Position>,
    },
    /// Answer to [`Operation::Delete`] and [`Operation::Forget`].
    Deleted {
        /// How many were still there.
        count: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_shown() {
        for (level, text) in [(0, "12"), (3, "3/12")] {
            let cursor = Cursor {
                level,
                position: Position(12),
            };
            assert_eq!(cursor.to_string(), text);
            assert_eq!(text.parse(), Ok(cursor));
        }
        for text in ["", "-1", "1/", "/1", "256/1", "a"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
