//! What producers, consumers and churners share: how they are told what to do and how they tell what they did.
//!
//! Every worker owns one connection and runs as one task; the reporting thread moves all of them through [`Phase`]s and
//! hears from them through a [`Report`]. They share no other state than their thread's meter and, if messages are
//! verified, the checker.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use client_amqp091::{AmqpUri, ConnectOptions, Connection};
use tokio::sync::watch;

use crate::args::LoadArgs;
use crate::meter::Meter;
use crate::verify::{Checker, Expected};

/// Longest wait for an orderly close at the end of a run.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What workers should be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Connect and prepare.
    SetUp,
    /// Publish and consume.
    Run,
    /// Publish no more; wait for confirms, go on consuming.
    Finish,
    /// Close the connection and end.
    Stop,
}

/// What a worker tells the reporting thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// Connected and prepared.
    Ready,
    /// A producer, or churner, has done all it was asked for; how many messages it published to each lane.
    Produced(Vec<Expected>),
    /// A consumer has taken all it was asked for.
    Consumed,
    /// The worker gave up.
    Failed(anyhow::Error),
}

/// A worker's means.
#[derive(Clone)]
pub(crate) struct Outfit {
    pub(crate) args: Arc<LoadArgs>,
    pub(crate) uri: Arc<AmqpUri>,
    pub(crate) id: Arc<str>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) checker: Option<Arc<Mutex<Checker>>>,
    /// In message bodies; tells this run's messages from others.
    pub(crate) run: u32,
    /// Added to the monotonic clock to give the time in message bodies.
    pub(crate) clock_offset_ns: u64,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl Outfit {
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns when `phase` or a later one has come.
    pub(crate) async fn wait_for(&mut self, phase: Phase) -> anyhow::Result<()> {
        self.phase
            .wait_for(|now| *now >= phase)
            .await
            .context("the run ended early")?;
        Ok(())
    }

    /// Returns when the phase changes.
    pub(crate) async fn phase_changed(&mut self) -> anyhow::Result<()> {
        self.phase.changed().await.context("the run ended early")
    }

    pub(crate) fn report(&self, report: Report) {
        // The reporting thread has gone when the run has failed elsewhere; nobody wants to know then.
        let _ = self.reports.send(report);
    }

    pub(crate) fn connect_options(&self, role: &str, number: u32) -> ConnectOptions {
        ConnectOptions {
            connection_name: Some(format!("{} {role} {number}", self.id)),
            heartbeat_seconds: self.args.heartbeat,
            ..Default::default()
        }
    }

    pub(crate) async fn connect(&self, role: &str, number: u32) -> anyhow::Result<Connection> {
        Connection::connect(&self.uri, &self.connect_options(role, number))
            .await
            .with_context(|| format!("connect to {}", self.uri))
    }

    /// Runs `check` on the run's checker, if messages are verified.
    pub(crate) fn with_checker(&self, check: impl FnOnce(&mut Checker)) {
        if let Some(checker) = &self.checker {
            check(&mut checker.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Closes a connection at the end of a run. Whether that succeeds is of no interest any more.
pub(crate) async fn close(connection: Connection) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await;
}
