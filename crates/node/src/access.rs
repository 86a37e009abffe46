//! Asks those who know users that the metadata does not know, on threads that are no shard's.
//!
//! The answer comes back by mail as all answers do. It decides nothing: whoever cannot be asked, or says nothing for
//! [`ANSWER_TIMEOUT`], has refused. What was allowed is asked about again and again, one question at a time, so that the connections that make use of it
//! hear within [`Access::recheck_interval`] that it is not any more; there, whoever says nothing has not changed its mind.
//!
//! Limits: each connection and each of its channels asks one thing at a time; [`ASKED_MAX`] are under way at once, others wait. What is beyond
//! [`RECHECKED_MAX`] is only asked about again when the connection has forgotten the answer.

use crate::mailbox::Mail;
use crate::shared::Shared;
use base::ConnectionId;
use broker::auth::{Answer, Authenticator, Authority, Question};
use broker::command::{AccessReply, AccessRequest, ChannelId, Reply};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

/// How long somebody may be asked; backends have timeouts of their own, which are mostly shorter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Questions that are under way at once.
const ASKED_MAX: usize = 256;
/// Different questions that are asked again.
const RECHECKED_MAX: usize = 10_000;
/// How long a routing key is asked about again after its last use; there may be many of them.
const ROUTING_KEY_TIME: Duration = Duration::from_secs(60);

/// Who is asked, and where.
pub(crate) struct Access {
    /// Who lets users of the HTTP API in; `None` if the metadata knows all of them.
    pub(crate) http_authenticator: Option<Arc<dyn Authenticator>>,
    threads: Option<Handle>,
    permits: Semaphore,
    /// Time between two looks at what was allowed; zero for none.
    recheck_interval: Duration,
    /// What was allowed to connections that are there, by whom it is about and who decides.
    allowed: Mutex<HashMap<Key, Vec<Asker>>>,
}

/// Whom a question is about and who decides, and the question.
type Key = (Arc<str>, Question);

/// A connection that was allowed something.
struct Asker {
    connection: ConnectionId,
    /// Gone when the connection is.
    authority: Weak<dyn Authority>,
    until: Option<Instant>,
}

impl Asker {
    fn is_there(&self, now: Instant) -> bool {
        self.authority.strong_count() > 0 && self.until.is_none_or(|until| now < until)
    }
}

impl Access {
    /// `threads` are there if users may come whom the metadata does not know.
    pub(crate) fn new(
        http_authenticator: Option<Arc<dyn Authenticator>>,
        threads: Option<Handle>,
        recheck_interval: Duration,
    ) -> Self {
        Self {
            http_authenticator,
            threads,
            permits: Semaphore::new(ASKED_MAX),
            recheck_interval,
            allowed: Mutex::default(),
        }
    }

    /// A connection will be told if this is not allowed any more.
    fn remember(
        &self,
        connection: ConnectionId,
        authority: &Arc<dyn Authority>,
        question: &Question,
    ) {
        if self.recheck_interval.is_zero() {
            return;
        }
        let until = match question {
            Question::Topic { .. } => Some(Instant::now() + ROUTING_KEY_TIME),
            Question::Vhost(_) | Question::Resource { .. } => None,
        };
        let key = (authority.identity(), question.clone());
        let mut allowed = self.allowed.lock();
        if allowed.len() >= RECHECKED_MAX && !allowed.contains_key(&key) {
            return;
        }
        let askers = allowed.entry(key).or_default();
        askers.retain(|asker| asker.connection != connection);
        askers.push(Asker {
            connection,
            authority: Arc::downgrade(authority),
            until,
        });
    }

    /// What somebody is still interested in.
    fn questions(&self) -> Vec<Key> {
        let now = Instant::now();
        let mut allowed = self.allowed.lock();
        allowed.retain(|_, askers| {
            askers.retain(|asker| asker.is_there(now));
            !askers.is_empty()
        });
        allowed.keys().cloned().collect()
    }

    /// Somebody who can be asked, while a connection is interested.
    fn authority_for(&self, key: &Key) -> Option<Arc<dyn Authority>> {
        let allowed = self.allowed.lock();
        let mut askers = allowed.get(key)?.iter();
        askers.find_map(|asker| asker.authority.upgrade())
    }
}

impl Shared {
    /// Asks on behalf of a connection or a channel, which gets the answer.
    pub(crate) fn ask_access(self: &Arc<Self>, to: ChannelId, request: AccessRequest) {
        let Some(threads) = &self.access.threads else {
            return self.answer_access(to, request.give_up("there is nobody to ask"));
        };
        let shared = Arc::clone(self);
        threads.spawn(async move {
            let authority = match &request {
                AccessRequest::Ask { authority, .. } => Some(Arc::clone(authority)),
                AccessRequest::LogIn { .. } | AccessRequest::Renew { .. } => None,
            };
            let answer = shared.asked(request).await;
            if let (Some(authority), AccessReply::Answered { question, answer }) =
                (&authority, &answer)
                && *answer == Answer::Allowed
            {
                let access = &shared.access;
                access.remember(to.connection, authority, question);
            }
            shared.answer_access(to, answer);
        });
    }

    /// Asks again what was allowed, until the task is dropped.
    pub(crate) async fn recheck_access(self: Arc<Self>) {
        let interval = self.access.recheck_interval;
        if interval.is_zero() {
            return;
        }
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for key in self.access.questions() {
                if let Some(authority) = self.access.authority_for(&key) {
                    self.recheck(key, authority).await;
                }
            }
        }
    }

    /// Asks again, and tells all connections that it concerns if the answer is no.
    async fn recheck(self: &Arc<Self>, key: Key, authority: Arc<dyn Authority>) {
        let asked = authority.ask_again(self.leader.snapshot(), key.1.clone());
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Some(answer @ Answer::Refused { .. })) => answer,
            Ok(Some(Answer::Allowed) | None) | Err(_) => return,
        };
        let askers = self.access.allowed.lock().remove(&key);
        for Asker { connection, .. } in askers.unwrap_or_default() {
            let to = ChannelId {
                connection,
                number: 0,
                epoch: 0,
            };
            let (question, answer) = (key.1.clone(), answer.clone());
            self.answer_access(to, AccessReply::Changed { question, answer });
        }
    }

    async fn asked(&self, request: AccessRequest) -> AccessReply {
        let unanswered = request.clone();
        let metadata = self.leader.snapshot();
        let answer = async {
            let _permit = self.access.permits.acquire().await;
            request.carry_out(metadata).await
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => unanswered.give_up("the backend does not answer in time"),
        }
    }

    fn answer_access(&self, to: ChannelId, answer: AccessReply) {
        let reply = Reply::Access(Box::new(answer));
        self.mailboxes[to.connection.shard.index()].send(Mail::Reply {
            from: self.desk_id(),
            to,
            reply,
        });
    }
}
