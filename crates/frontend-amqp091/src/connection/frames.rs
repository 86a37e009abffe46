//! Frames of a connection: who they are for in which state, and the steps of the handshake.
//!
//! What a channel does with its frames is the channel's matter.

use super::{Connection, Leaving, State};
use crate::channel::{Channel, decode_method};
use crate::consume::PrefetchLimits;
use crate::content::{Assembled, Whole};
use crate::exception::{Exception, Refusal, SILENT_CLOSE_DELAY, Violation};
use crate::handshake::{self, Failure, Handshake, Header, Step};
use crate::heartbeat::Heartbeat;
use crate::log::End;
use crate::session::{Session, Turn};
use base::{ChannelNumber, Now};
use broker::auth::Secret;
use broker::command::ChannelId;
use broker::metadata::Metadata;
use bytes::{Bytes, BytesMut};
use codec_amqp091::{Frame, FrameKind, Method, channel, connection, peek_method};
use std::sync::Arc;

impl Connection {
    /// Takes the protocol header; false if there is nothing more to do with the input now.
    pub(super) fn handle_header(&mut self, metadata: &Metadata, input: &mut BytesMut) -> bool {
        match handshake::judge_header(input) {
            None => false,
            Some(Header::Accepted) => {
                let _header = input.split_to(codec_amqp091::PROTOCOL_HEADER.len());
                self.session.log_accepted();
                self.state = State::Handshake(handshake::start(metadata, &mut self.session));
                true
            }
            Some(Header::Refused(answer)) => {
                self.log_foreign_protocol(input);
                input.clear();
                self.session.encoded().extend_from_slice(&answer);
                self.finish();
                false
            }
        }
    }

    /// A client that has the wrong port is told apart from one that speaks another version of AMQP.
    pub(super) fn log_foreign_protocol(&self, input: &[u8]) {
        let Session { id, peer, .. } = &self.session;
        let what = match input {
            [0x16, 0x03, ..] => "the client speaks TLS; is it meant for a TLS port?",
            [b'G', b'E', b'T', ..] | [b'P', b'O', b'S', ..] | [b'P', b'U', b'T', ..] => {
                "the client speaks HTTP; is it meant for the port of the HTTP API?"
            }
            _ => "the client speaks no version of AMQP that is spoken here",
        };
        tracing::warn!(connection = %id, peer = %peer.address, "handshake failed: {what}");
    }

    /// The short way for most messages: all frames are in `batch`, and the channel is free. `offset` is behind the method frame;
    /// returned is how many bytes the other frames
    /// take, with those of messages behind it that are published alike.
    #[inline]
    pub(super) fn handle_whole(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        method: &Frame<'_>,
        batch: &Bytes,
        offset: usize,
    ) -> Option<usize> {
        let State::Running = self.state else {
            return None;
        };
        let whole = Whole::find(method, &batch[offset..], self.session.frame_max)?;
        let channel = self.channels.get_mut(&method.channel)?;
        if !channel.is_free(&self.session) {
            return None;
        }
        let mut turn = Turn {
            metadata,
            session: &mut self.session,
        };
        let mut size = whole.size;
        let outcome = channel
            .publish(&mut turn, whole.method, whole.content(batch))
            .and_then(|()| channel.publish_repeated(&mut turn, batch, offset + size))
            .map(|repeated| size += repeated)
            .or_else(|exception| {
                let method = batch.slice_ref(whole.method);
                let content = whole.content(batch);
                channel.refuse_whole(turn.session, exception, Assembled { method, content })
            });
        if let Err(exception) = outcome {
            self.handle_exception(now, method.channel, exception);
        }
        Some(size)
    }

    #[inline]
    pub(super) fn handle_frame(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        kind: FrameKind,
        number: ChannelNumber,
        payload: Bytes,
    ) {
        if let State::Running = self.state
            && let Some(channel) = self.channels.get_mut(&number)
            && kind != FrameKind::Heartbeat
        {
            let mut turn = Turn {
                metadata,
                session: &mut self.session,
            };
            let outcome = channel.handle_frame(&mut turn, kind, payload);
            if channel.is_closed() {
                self.channels.remove(&number);
            }
            if let Err(exception) = outcome {
                self.handle_exception(now, number, exception);
            }
            return;
        }
        self.handle_connection_frame(
            now,
            metadata,
            Frame {
                kind,
                channel: number,
                payload: &payload,
            },
        );
    }

    /// A frame that is for no open channel.
    pub(super) fn handle_connection_frame(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        frame: Frame<'_>,
    ) {
        let outcome = match &self.state {
            State::Handshake(_) => {
                self.handle_handshake_frame(now, metadata, frame);
                Ok(())
            }
            State::Running => match (frame.kind, frame.channel) {
                (FrameKind::Heartbeat, 0) => Ok(()),
                (FrameKind::Heartbeat, _) => Err(Violation::Unexpected(frame.describe()).into()),
                (FrameKind::Method, 0) => self.handle_connection_method(frame.payload),
                (FrameKind::Method, number) => {
                    self.handle_closed_channel_method(metadata, number, frame.payload)
                }
                (FrameKind::Header | FrameKind::Body, 0) => {
                    Err(Violation::Unexpected(frame.describe()).into())
                }
                (FrameKind::Header | FrameKind::Body, _) => Err(Violation::ExpectedMethod.into()),
            },
            State::Closing { .. } => {
                self.handle_frame_after_close(frame);
                Ok(())
            }
            State::Leaving(_) | State::Silent { .. } | State::Finished => Ok(()),
        };
        if let Err(exception) = outcome {
            self.fail(now, exception);
        }
    }

    pub(super) fn handle_connection_method(&mut self, payload: &[u8]) -> Result<(), Exception> {
        let method = decode_method(payload)?;
        if let Method::ConnectionClose(_) = method {
            self.state = State::Leaving(Leaving::Draining);
            self.handle_progress();
            return Ok(());
        }
        if let Method::ConnectionUpdateSecret(method) = method {
            self.renew(Secret::new(method.new_secret));
            return Ok(());
        }
        Err(Exception::from(Violation::MethodInState("running")).caused_by(method.ids()))
    }

    pub(super) fn handle_closed_channel_method(
        &mut self,
        metadata: &Metadata,
        number: ChannelNumber,
        payload: &[u8],
    ) -> Result<(), Exception> {
        let method = decode_method(payload)?;
        let Method::ChannelOpen(_) = method else {
            return Err(Exception::from(Violation::ExpectedChannelOpen).caused_by(method.ids()));
        };
        let channel_max = self.session.channel_max;
        if channel_max != 0 && self.channels.len() >= usize::from(channel_max) {
            return Err(Violation::ChannelMax(channel_max).into());
        }
        let Session { config, user, .. } = &self.session;
        let seat = config.admission.admit_channel(metadata, user)?;
        let id = ChannelId {
            connection: self.session.id,
            number,
            epoch: self.next_epoch,
        };
        self.next_epoch = self.next_epoch.wrapping_add(1);
        let prefetch = PrefetchLimits::new(&self.session.config);
        self.channels
            .insert(number, Box::new(Channel::new(id, seat, prefetch)));
        channel::OpenOk::default().encode(number, self.session.encoded());
        self.session.observe_channel_opened(number);
        Ok(())
    }

    pub(super) fn handle_handshake_frame(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        frame: Frame<'_>,
    ) {
        let State::Handshake(handshake) = &self.state else {
            return;
        };
        let outcome = match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, 0) if !handshake.is_before_tuning() => return,
            (FrameKind::Method, 0) => match Method::decode(frame.payload) {
                Ok(method) => {
                    let mut turn = Turn {
                        metadata,
                        session: &mut self.session,
                    };
                    handshake.handle_method(&mut turn, &method)
                }
                Err(error) => Err(Failure::Told(error.into())),
            },
            _ => Err(Failure::Told(
                Violation::Unexpected(frame.describe()).into(),
            )),
        };
        self.take_step(now, outcome);
    }

    pub(super) fn take_step(&mut self, now: Now, outcome: Result<Step, Failure>) {
        match outcome {
            Ok(Step::Next(next)) => self.state = State::Handshake(next),
            Ok(Step::Tuned { heartbeat_s }) => {
                self.heartbeat = Heartbeat::new(now, heartbeat_s, self.session.out.mark());
                self.state = State::Handshake(Handshake::Open);
            }
            Ok(Step::Open) => {
                self.state = State::Running;
                self.watch_credentials(now);
                let interval_s = self.heartbeat_s();
                self.session
                    .observe_opened(self.connected_at_ms, interval_s);
            }
            Err(Failure::Told(exception)) => self.fail_handshake(now, exception),
            Err(Failure::Untold(refusal)) => {
                // A refused login is in the log already.
                if !matches!(refusal, Refusal::Login) {
                    self.session
                        .log_end(self.age_ms(now), End::Broken(&refusal));
                }
                self.state = State::Silent {
                    until: now.monotonic + SILENT_CLOSE_DELAY,
                };
            }
        }
    }

    /// Only refused logins and what comes after tuning are told to the client.
    pub(super) fn fail_handshake(&mut self, now: Now, exception: Exception) {
        let is_early =
            matches!(&self.state, State::Handshake(handshake) if handshake.is_before_tuning());
        let is_login = exception.reply_code == codec_amqp091::reply_code::ACCESS_REFUSED;
        if is_early && !is_login {
            let reason = &exception.reply_text;
            self.session.log_end(self.age_ms(now), End::Broken(reason));
            self.state = State::Silent {
                until: now.monotonic + SILENT_CLOSE_DELAY,
            };
            return;
        }
        self.fail(now, exception);
        if is_login {
            self.state = State::Closing {
                until: now.monotonic + SILENT_CLOSE_DELAY,
                reads: true,
            };
        }
    }

    pub(super) fn handle_frame_after_close(&mut self, frame: Frame<'_>) {
        if frame.kind != FrameKind::Method || frame.channel != 0 {
            return;
        }
        match peek_method(frame.payload) {
            Some((connection::CloseOk::CLASS_ID, connection::CloseOk::METHOD_ID)) => self.finish(),
            // Both sides closed at once.
            Some((connection::Close::CLASS_ID, connection::Close::METHOD_ID)) => {
                connection::CloseOk.encode(0, self.session.encoded());
            }
            _ => {}
        }
    }
}
