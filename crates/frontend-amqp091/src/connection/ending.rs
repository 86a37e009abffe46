//! The end of a connection: exceptions, close and close-ok, and what is given back.

use super::{CLOSE_OK_TIMEOUT_MAX, Connection, Leaving, State};
use crate::channel::Farewell;
use crate::exception::{Exception, SILENT_CLOSE_DELAY, Scope};
use crate::heartbeat::Heartbeat;
use crate::log::End;
use crate::request::connection_address;
use base::{ChannelNumber, Now};
use broker::command::MetadataCommand;
use codec_amqp091::connection;
use std::time::Duration;

impl Connection {
    pub(super) fn go_on_leaving(&mut self, mut step: Leaving) {
        if step == Leaving::Draining && self.channels.values().all(|channel| channel.is_drained()) {
            self.cancel_consumers();
            for channel in self
                .channels
                .values_mut()
                .filter(|channel| channel.is_open())
            {
                channel.leave(&mut self.session, Farewell::Silent);
            }
            step = Leaving::Syncing;
            self.state = State::Leaving(step);
        }
        let is_synced = self.session.orphaned_barriers == 0
            && !self.channels.values().any(|channel| channel.is_leaving());
        if step != Leaving::Syncing || !is_synced {
            return;
        }
        self.release();
        if self.session.declared_exclusive {
            self.state = State::Leaving(Leaving::Deleting);
        } else {
            self.say_close_ok();
        }
    }

    pub(super) fn handle_exception(
        &mut self,
        now: Now,
        number: ChannelNumber,
        exception: Exception,
    ) {
        if exception.scope != Scope::Channel {
            self.fail(now, exception);
            return;
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            self.session.log_channel_failed(number, &exception);
            channel.close(&mut self.session, &exception);
        }
    }

    /// Ends the connection because of an exception, and tells the client.
    pub(super) fn fail(&mut self, now: Now, exception: Exception) {
        match self.state {
            State::Handshake(_) | State::Running | State::Leaving(_) => {}
            // Nothing is said twice; but unreadable input is not read on.
            State::Closing { until, .. } => {
                self.state = State::Closing {
                    until,
                    reads: exception.scope == Scope::Connection,
                };
                return;
            }
            State::Silent { .. } | State::Finished => return,
        }
        self.log_failure(now, &exception);
        if exception.scope == Scope::Socket {
            self.finish();
            return;
        }
        let is_early =
            matches!(&self.state, State::Handshake(handshake) if handshake.is_before_tuning());
        self.flush_all_confirms();
        self.release();
        if is_early && exception.reply_code != codec_amqp091::reply_code::ACCESS_REFUSED {
            self.state = State::Silent {
                until: now.monotonic + SILENT_CLOSE_DELAY,
            };
            return;
        }
        connection::Close {
            reply_code: exception.reply_code,
            reply_text: exception.reply_text.as_bytes(),
            class_id: exception.class_id,
            method_id: exception.method_id,
        }
        .encode(0, self.session.encoded());
        let reads = exception.scope != Scope::Input;
        let wait = if reads {
            self.close_ok_timeout()
        } else {
            SILENT_CLOSE_DELAY
        };
        self.state = State::Closing {
            until: now.monotonic + wait,
            reads,
        };
    }

    pub(super) fn log_failure(&mut self, now: Now, exception: &Exception) {
        match &self.state {
            State::Handshake(handshake) if handshake.is_before_tuning() => {
                // A refused login is in the log already.
                if exception.reply_code != codec_amqp091::reply_code::ACCESS_REFUSED {
                    let reason = &exception.reply_text;
                    self.session.log_end(self.age_ms(now), End::Broken(reason));
                }
            }
            State::Handshake(_) => self.session.log_failed("opening", exception),
            State::Running
            | State::Leaving(_)
            | State::Closing { .. }
            | State::Silent { .. }
            | State::Finished => self.session.log_failed("running", exception),
        }
    }

    pub(super) fn close_ok_timeout(&self) -> Duration {
        let interval = self
            .heartbeat
            .as_ref()
            .map_or(CLOSE_OK_TIMEOUT_MAX, Heartbeat::interval);
        interval.min(CLOSE_OK_TIMEOUT_MAX)
    }

    pub(super) fn flush_all_confirms(&mut self) {
        let _out = self.output();
    }

    pub(super) fn say_close_ok(&mut self) {
        connection::CloseOk.encode(0, self.session.encoded());
        self.state = State::Finished;
    }

    /// Ends the connection without a word.
    pub(super) fn finish(&mut self) {
        if !self.is_finished() {
            self.release();
            self.state = State::Finished;
        }
    }

    /// Gives back everything the connection has. Consumers go first, so that none of them gets what others gave back.
    pub(super) fn release(&mut self) {
        self.cancel_consumers();
        for channel in self.channels.values_mut() {
            channel.end(&mut self.session);
        }
        self.channels.clear();
        self.session.seat = None;
        let was_released = matches!(self.state, State::Leaving(Leaving::Deleting));
        if self.session.declared_exclusive && !was_released {
            let connection = self.session.id;
            let command = MetadataCommand::DeleteExclusiveQueues { connection };
            self.session
                .ask_metadata(connection_address(connection), command);
        }
    }

    pub(super) fn cancel_consumers(&mut self) {
        for channel in self.channels.values_mut() {
            channel.cancel_consumers(&mut self.session);
        }
    }
}
