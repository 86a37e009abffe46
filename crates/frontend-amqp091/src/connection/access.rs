//! What a connection's user may do, as it changes while the connection is open: answers of backends, new secrets, credentials that end.
//!
//! It decides nothing about permissions; it asks, and acts on what was said.

use super::{ANSWERS_AGE_MAX, CREDENTIALS_MS_MAX, Connection, State, UPDATE_SECRET};
use crate::exception::{Exception, Violation};
use crate::handshake::{self, Handshake};
use crate::request::connection_address;
use crate::session::{Session, Turn};
use base::Now;
use broker::Error;
use broker::auth::{self, Answer, Login, Question, RenewFailure, Secret};
use broker::command::{AccessReply, AccessRequest};
use broker::metadata::Metadata;
use codec_amqp091::connection;
use std::sync::Arc;
use std::time::Duration;

impl Connection {
    /// Takes what somebody outside the metadata said to the connection itself.
    pub(super) fn handle_access(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        access: AccessReply,
    ) {
        match (access, &self.state) {
            (AccessReply::LoggedIn(result), State::Handshake(Handshake::LoggingIn { user })) => {
                let outcome = handshake::logged_in(&mut self.session, &user.clone(), result);
                self.take_step(now, outcome);
            }
            (
                AccessReply::Answered { question, answer },
                State::Handshake(Handshake::Opening { vhost }),
            ) => {
                let vhost = vhost.clone();
                self.session.principal.learn(question, answer);
                let mut turn = Turn {
                    metadata,
                    session: &mut self.session,
                };
                let outcome = handshake::open(&mut turn, vhost);
                self.take_step(now, outcome);
            }
            (AccessReply::Answered { question, answer }, State::Running) => {
                self.session.principal.learn(question, answer);
                self.check_vhost_again(now, metadata);
            }
            (AccessReply::Renewed(result), State::Running) => {
                self.renewed(now, metadata, result);
            }
            (AccessReply::Changed { question, answer }, State::Running) => {
                self.take_back(now, metadata, question, answer);
            }
            // It has ended meanwhile.
            (
                AccessReply::LoggedIn(_)
                | AccessReply::Answered { .. }
                | AccessReply::Renewed(_)
                | AccessReply::Changed { .. },
                State::Handshake(_)
                | State::Running
                | State::Leaving(_)
                | State::Closing { .. }
                | State::Silent { .. }
                | State::Finished,
            ) => {}
        }
    }

    /// The client has new credentials. What the metadata lets in has none that end.
    pub(super) fn renew(&mut self, secret: Secret) {
        let Some(authority) = self.session.principal.authority().cloned() else {
            connection::UpdateSecretOk.encode(0, self.session.encoded());
            return;
        };
        let request = AccessRequest::Renew { authority, secret };
        let asker = connection_address(self.session.id);
        self.session.ask_access(asker, request);
    }

    pub(super) fn renewed(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        result: Result<Login, RenewFailure>,
    ) {
        let user = &self.session.user;
        let violation = match result {
            Ok(login) => {
                self.session.become_user(login.into());
                self.check_vhost_again(now, metadata);
                return;
            }
            Err(RenewFailure::Refused(reason)) => {
                tracing::error!("Secret update was refused for user '{user}': {reason}");
                Violation::SecretRefused
            }
            Err(RenewFailure::Failed(reason)) => {
                tracing::error!("Secret update for user '{user}' failed: {reason}");
                Violation::SecretUpdateFailed
            }
        };
        self.fail(now, Exception::from(violation).caused_by(UPDATE_SECRET));
    }

    /// The second half of connection.update-secret: what the old credentials allowed the new ones have to allow as well.
    pub(super) fn check_vhost_again(&mut self, now: Now, metadata: &Arc<Metadata>) {
        let Session {
            principal, vhost, ..
        } = &self.session;
        match auth::authorize_vhost(metadata, principal, vhost) {
            Ok(()) => {}
            Err(Error::Unanswered(question)) => {
                let asker = connection_address(self.session.id);
                self.session.ask_authority(asker, *question);
                return;
            }
            Err(error) => {
                self.fail(now, Exception::from(error).caused_by(UPDATE_SECRET));
                return;
            }
        }
        self.forget_permissions(metadata);
        self.watch_credentials(now);
        connection::UpdateSecretOk.encode(0, self.session.encoded());
        tracing::info!(
            target: "connection",
            "connection {}: user '{}' updated secret",
            self.session.id,
            self.session.user
        );
    }

    /// The user may not do something any more that it was allowed to.
    pub(super) fn take_back(
        &mut self,
        now: Now,
        metadata: &Arc<Metadata>,
        question: Question,
        answer: Answer,
    ) {
        let is_vhost = matches!(question, Question::Vhost(_));
        self.session.principal.learn(question, answer);
        let Session {
            principal, vhost, ..
        } = &self.session;
        if is_vhost && let Err(error) = auth::authorize_vhost(metadata, principal, vhost) {
            return self.fail(now, Exception::from(error));
        }
        self.forget_permissions(metadata);
        self.session.principal.forget_refusals();
    }

    pub(super) fn watch_credentials(&mut self, now: Now) {
        let expires_s = self.session.principal.expires_s();
        self.credentials_until = expires_s.map(|expires_s| {
            let left_ms = expires_s.saturating_mul(1000).saturating_sub(now.wall_ms);
            now.monotonic + Duration::from_millis(left_ms.min(CREDENTIALS_MS_MAX))
        });
    }

    /// An answer has come that is true for a while.
    pub(super) fn keep_answers(&mut self, now: Now) {
        self.answers_until
            .get_or_insert(now.monotonic + ANSWERS_AGE_MAX);
    }

    /// Answers that are old are forgotten; who has no credentials any more goes.
    pub(super) fn handle_lapse(&mut self, now: Now) {
        if self
            .answers_until
            .is_some_and(|until| until <= now.monotonic)
        {
            self.answers_until = None;
            self.session.principal.forget_answers();
            for channel in self.channels.values_mut() {
                channel.forget_permissions();
            }
        }
        if self
            .credentials_until
            .is_some_and(|until| until <= now.monotonic)
        {
            self.credentials_until = None;
            // The furthest time that is watched may be before it.
            let expires_s = self.session.principal.expires_s().unwrap_or_default();
            if expires_s.saturating_mul(1000) > now.wall_ms + CREDENTIALS_MS_MAX {
                self.watch_credentials(now);
                return;
            }
            tracing::warn!(
                target: "connection",
                "closing AMQP connection {} of user '{}': credential has expired",
                self.session.id,
                self.session.user
            );
            self.fail(now, Exception::forced("credential expired"));
        }
    }

    /// Has every channel ask anew what the user may do.
    fn forget_permissions(&mut self, metadata: &Arc<Metadata>) {
        for channel in self.channels.values_mut() {
            let mut turn = Turn {
                metadata,
                session: &mut self.session,
            };
            channel.forget_permissions();
            channel.recheck_consumers(&mut turn);
        }
    }
}
