//! Asks those who know users that the metadata does not know, on threads that are no shard's.
//!
//! The answer comes back by mail as all answers do. It decides nothing: whoever cannot be asked, or says nothing for
//! [`ANSWER_TIMEOUT`], has refused.
//! Limits: each connection and each of its channels asks one thing at a time; [`ASKED_MAX`] are under way at once, others wait.

use crate::mailbox::Mail;
use crate::shared::Shared;
use broker::auth::Authenticator;
use broker::command::{AccessRequest, ChannelId, Reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// How long somebody may be asked; backends have timeouts of their own, which are mostly shorter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Questions that are under way at once.
const ASKED_MAX: usize = 256;

/// Who is asked, and where.
pub(crate) struct Access {
    /// `None` if the metadata knows all users.
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    threads: Option<Handle>,
    permits: Semaphore,
}

impl Access {
    /// `threads` are there if `authenticator` is.
    pub(crate) fn new(
        authenticator: Option<Arc<dyn Authenticator>>,
        threads: Option<Handle>,
    ) -> Self {
        Self {
            authenticator,
            threads,
            permits: Semaphore::new(ASKED_MAX),
        }
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
            let answer = shared.asked(request).await;
            shared.answer_access(to, answer);
        });
    }

    async fn asked(&self, request: AccessRequest) -> broker::command::AccessReply {
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

    fn answer_access(&self, to: ChannelId, answer: broker::command::AccessReply) {
        let reply = Reply::Access(Box::new(answer));
        self.mailboxes[to.connection.shard.index()].send(Mail::Reply {
            from: self.desk_id(),
            to,
            reply,
        });
    }
}
