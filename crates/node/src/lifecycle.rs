//! The broker inside its process: whoever holds a [`Lifecycle`] stops it, starts it again, or ends the process.
//!
//! The process and the broker are two things, as in RabbitMQ: after `stop_app` the process goes on, without listeners, shards and
//! log, so that its data directory can be reset before `start_app`. What is wanted is said here and carried out by
//! [`crate::run`]; nothing here touches a node.

use std::time::Duration;
use tokio::sync::watch;

/// What an operator wants of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// It runs.
    Running,
    /// It is stopped and its process goes on.
    Stopped,
    /// The process ends.
    Ended,
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It recovers its data and opens its listeners.
    Booting,
    /// Clients can connect.
    Running,
    /// It closes connections and gives everything to the log.
    Stopping,
    /// It is stopped; its data directory is not in use.
    Stopped {
        /// Why the last start failed, if it did.
        failure: Option<String>,
    },
}

/// What is wanted of a broker and where it is.
#[derive(Debug)]
pub struct Lifecycle {
    wanted: watch::Sender<Wanted>,
    phase: watch::Sender<Phase>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            wanted: watch::Sender::new(Wanted::Running),
            phase: watch::Sender::new(Phase::Booting),
        }
    }
}

impl Lifecycle {
    /// Where the broker is now.
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Stops the broker and waits until it has.
    pub async fn stop(&self) {
        self.wanted.send_replace(Wanted::Stopped);
        self.settle(|phase| matches!(phase, Phase::Stopped { .. }))
            .await;
    }

    /// Starts the broker and waits until clients can connect.
    ///
    /// # Errors
    /// Why it did not start.
    pub async fn start(&self) -> Result<(), String> {
        if matches!(self.phase(), Phase::Stopped { .. }) {
            self.phase.send_replace(Phase::Booting);
        }
        self.wanted.send_replace(Wanted::Running);
        let settled =
            |phase: &Phase| matches!(phase, Phase::Running | Phase::Stopped { failure: Some(_) });
        match self.settle(settled).await {
            Phase::Stopped {
                failure: Some(failure),
            } => Err(failure),
            Phase::Booting | Phase::Running | Phase::Stopping | Phase::Stopped { .. } => Ok(()),
        }
    }

    /// Ends the process, in order. Returns at once.
    pub fn end(&self) {
        self.wanted.send_replace(Wanted::Ended);
    }

    /// Waits until clients can connect; false if they still cannot when the time is over.
    pub async fn await_running(&self, patience: Duration) -> bool {
        let running = self.settle(|phase| *phase == Phase::Running);
        tokio::time::timeout(patience, running).await.is_ok()
    }

    async fn settle(&self, is_settled: impl FnMut(&Phase) -> bool) -> Phase {
        let mut phases = self.phase.subscribe();
        match phases.wait_for(is_settled).await {
            Ok(phase) => phase.clone(),
            // The sender is `self`.
            Err(_) => self.phase(),
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// The start has failed: the broker stays stopped until somebody asks again.
    pub(crate) fn failed(&self, failure: String) {
        self.wanted.send_replace(Wanted::Stopped);
        self.enter(Phase::Stopped {
            failure: Some(failure),
        });
    }

    /// Waits until the broker has to stop. True if its process has to end, too.
    pub(crate) async fn stop_wanted(&self) -> bool {
        self.wanted(|wanted| wanted != Wanted::Running).await == Wanted::Ended
    }

    /// Waits until a stopped broker has to start, which is true, or its process has to end.
    pub(crate) async fn start_wanted(&self) -> bool {
        self.wanted(|wanted| wanted != Wanted::Stopped).await == Wanted::Running
    }

    async fn wanted(&self, is_it: impl Fn(Wanted) -> bool) -> Wanted {
        let mut wishes = self.wanted.subscribe();
        match wishes.wait_for(|wanted| is_it(*wanted)).await {
            Ok(wanted) => *wanted,
            // The sender is `self`.
            Err(_) => Wanted::Ended,
        }
    }
}
