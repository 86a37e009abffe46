//! Opening and closing things over and over: connections, channels or queues, one round at a time on each worker.

use client_amqp091::codec::Table;
use client_amqp091::{Connection, QueueOptions};

use crate::args::Churn;
use crate::clock::{Pacer, Timer, now_ns};
use crate::meter;
use crate::worker::{self, Outfit, Phase, Report};

/// A worker that makes rounds.
pub(crate) struct Churner {
    outfit: Outfit,
    kind: Churn,
    number: u32,
    /// Channels and queues are churned on a connection that stays; for connections there is none.
    connection: Option<Connection>,
    timer: Timer,
}

/// The channel that queues are churned on; churned channels have this number too.
const CHANNEL: u16 = 1;

impl Churner {
    /// Prepares worker `number`.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub(crate) async fn open(outfit: Outfit, kind: Churn, number: u32) -> anyhow::Result<Self> {
        let connection = match kind {
            Churn::Connection => None,
            Churn::Channel => Some(outfit.connect("churn", number).await?),
            Churn::Queue => {
                let mut connection = outfit.connect("churn", number).await?;
                connection.open_channel(CHANNEL).await?;
                Some(connection)
            }
        };
        Ok(Self {
            outfit,
            kind,
            number,
            connection,
            timer: Timer::new()?,
        })
    }

    /// Makes rounds until told to stop.
    ///
    /// # Errors
    /// A round failed.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.outfit.report(Report::Ready);
        self.outfit.wait_for(Phase::Run).await?;
        let mut pacer = self.outfit.args.rate.map(|rate| Pacer::new(rate, now_ns()));
        let mut remaining = self.outfit.args.pmessages.unwrap_or(u64::MAX);
        while remaining > 0 && self.outfit.phase() == Phase::Run {
            let began = match &mut pacer {
                None => now_ns(),
                Some(pacer) => {
                    let due = pacer.due_ns();
                    pacer.advance();
                    self.timer.sleep_until(due).await?;
                    due
                }
            };
            self.round().await?;
            remaining -= 1;
            let meter = &self.outfit.meter;
            meter.churned.add(1);
            meter.with_latencies(|latencies| {
                meter::record(&mut latencies.churn, began, now_ns());
            });
        }
        self.outfit.report(Report::Produced(Vec::new()));
        self.outfit.wait_for(Phase::Stop).await?;
        if let Some(connection) = self.connection {
            worker::close(connection).await;
        }
        Ok(())
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        match (self.kind, &mut self.connection) {
            (Churn::Connection, _) | (Churn::Channel | Churn::Queue, None) => {
                let mut connection = self.outfit.connect("churn", self.number).await?;
                connection.open_channel(CHANNEL).await?;
                connection.close().await?;
            }
            (Churn::Channel, Some(connection)) => {
                connection.open_channel(CHANNEL).await?;
                connection.close_channel(CHANNEL).await?;
            }
            (Churn::Queue, Some(connection)) => {
                let name = format!("{}-{}", self.outfit.id, self.number);
                let options = QueueOptions {
                    durable: !self.outfit.args.transient_queue,
                    auto_delete: self.outfit.args.auto_delete,
                    ..Default::default()
                };
                connection
                    .declare_queue(CHANNEL, &name, options, Table::empty())
                    .await?;
                connection.delete_queue(CHANNEL, &name).await?;
            }
        }
        Ok(())
    }
}
