//! Which queues there are, who publishes to which, and who consumes from which.
//!
//! Every pair of a publishing channel and one of its targets is a [`Lane`] with a number and a count of its own, so that
//! each queue can be checked for completeness. Queues are spread over channels in turn on both sides; no queue is left
//! out, and no channel either.

use anyhow::Context;
use client_amqp091::codec::{Table, TableWriter, Value, exchange, queue};
use client_amqp091::{AmqpUri, ConnectOptions, Connection, QueueOptions};

use crate::args::{ArgumentValue, LoadArgs};

/// Most queues a run may name.
const QUEUES_MAX: u32 = 1_000_000;

/// A run's queues.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) queues: Vec<String>,
    /// Delete the queues at the end: nobody else knows their names.
    owned: bool,
}

/// One stream of messages from a publishing channel to a routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Number of the lane in the run; the producer number in message bodies.
    pub(crate) number: u32,
    pub(crate) routing_key: String,
    /// Indices of the queues in which each message must arrive; empty if that cannot be known.
    pub(crate) queues: Vec<u32>,
}

impl Topology {
    /// # Errors
    /// More queues than we are willing to name.
    pub(crate) fn new(args: &LoadArgs, id: &str) -> anyhow::Result<Self> {
        let (queues, owned) = match (&args.queue, &args.queue_pattern) {
            (Some(name), _) => (vec![name.clone()], false),
            (None, Some(pattern)) => {
                let numbers = args.queue_pattern_from..=args.queue_pattern_to;
                anyhow::ensure!(
                    args.queue_pattern_to - args.queue_pattern_from < QUEUES_MAX,
                    "more than {QUEUES_MAX} queues"
                );
                let name = |number: u32| pattern.replace("%d", &number.to_string());
                (numbers.map(name).collect(), false)
            }
            (None, None) => (vec![id.to_owned()], !args.keep_queue),
        };
        Ok(Self { queues, owned })
    }

    /// The lanes of publishing channel `channel` of `channels`.
    pub(crate) fn lanes(&self, args: &LoadArgs, channel: u32, channels: u32) -> Vec<Lane> {
        let lane = |number: u32, routing_key: &str, queues: Vec<u32>| Lane {
            number,
            routing_key: routing_key.to_owned(),
            queues: if args.random_routing_key {
                Vec::new()
            } else {
                queues
            },
        };
        let to_all = !args.exchange.is_empty()
            && (args.routing_key.is_some() || !routes_by_key(&args.exchange_type));
        let key = args.routing_key.as_deref();
        if to_all {
            let all = (0..self.queues.len() as u32).collect();
            return vec![lane(channel, key.unwrap_or_default(), all)];
        }
        let targets = self.share(channel, channels);
        targets
            .into_iter()
            .map(|queue| {
                let name = &self.queues[queue as usize];
                // Either each queue has one channel, or each channel one queue: whichever there is more of tells lanes apart.
                let number = if channels < self.queues.len() as u32 {
                    queue
                } else {
                    channel
                };
                // On the default exchange a key of its own leads wherever it leads.
                match key {
                    Some(key) if key != name => lane(number, key, Vec::new()),
                    _ => lane(number, name, vec![queue]),
                }
            })
            .collect()
    }

    /// Indices of the queues that consuming channel `channel` of `channels` consumes from.
    pub(crate) fn share(&self, channel: u32, channels: u32) -> Vec<u32> {
        let queues = self.queues.len() as u32;
        if channels >= queues {
            vec![channel % queues]
        } else {
            (channel..queues).step_by(channels as usize).collect()
        }
    }

    /// Declares queues, exchange and bindings, unless they are there. Returns how many messages the queues hold.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses something.
    pub(crate) async fn declare(&self, args: &LoadArgs, uri: &AmqpUri) -> anyhow::Result<u64> {
        let mut connection = Connection::connect(uri, &ConnectOptions::default())
            .await
            .with_context(|| format!("connect to {uri}"))?;
        connection.open_channel(1).await?;
        if !args.exchange.is_empty() && !args.predeclared && !args.exchange.starts_with("amq.") {
            let declare = exchange::Declare {
                exchange: args.exchange.as_bytes(),
                exchange_type: args.exchange_type.as_bytes(),
                durable: true,
                ..Default::default()
            };
            connection
                .declare_exchange(1, &declare)
                .await
                .with_context(|| format!("declare exchange {}", args.exchange))?;
        }
        let mut waiting = 0;
        for name in &self.queues {
            waiting += declare_queue(&mut connection, args, name)
                .await
                .with_context(|| format!("declare queue {name}"))?;
        }
        connection.close().await?;
        Ok(waiting)
    }

    /// Deletes what only this run knew of.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub(crate) async fn clean_up(&self, args: &LoadArgs, uri: &AmqpUri) -> anyhow::Result<()> {
        if !self.owned || args.predeclared {
            return Ok(());
        }
        let mut connection = Connection::connect(uri, &ConnectOptions::default()).await?;
        connection.open_channel(1).await?;
        for name in &self.queues {
            connection
                .delete_queue(1, name)
                .await
                .with_context(|| format!("delete queue {name}"))?;
        }
        connection.close().await?;
        Ok(())
    }
}

async fn declare_queue(
    connection: &mut Connection,
    args: &LoadArgs,
    name: &str,
) -> anyhow::Result<u64> {
    let options = QueueOptions {
        passive: args.predeclared,
        durable: !args.transient_queue,
        exclusive: false,
        auto_delete: args.auto_delete,
    };
    let mut arguments = Vec::new();
    write_arguments(args, &mut TableWriter::new(&mut arguments));
    let declared = connection
        .declare_queue(1, name, options, Table::new(&arguments))
        .await?;
    if !args.exchange.is_empty() && !args.predeclared {
        let bind = queue::Bind {
            queue: name.as_bytes(),
            exchange: args.exchange.as_bytes(),
            routing_key: args.routing_key.as_deref().unwrap_or(name).as_bytes(),
            ..Default::default()
        };
        connection.bind_queue(1, &bind).await?;
    }
    Ok(declared.message_count.into())
}

fn write_arguments(args: &LoadArgs, table: &mut TableWriter<'_>) {
    if args.quorum_queue {
        table.field(b"x-queue-type", &Value::LongStr(b"quorum"));
    }
    if args.stream_queue {
        table.field(b"x-queue-type", &Value::LongStr(b"stream"));
    }
    write_fields(&args.queue_args, table);
}

/// Appends arguments of the command line to a table.
pub(crate) fn write_fields(arguments: &[(String, ArgumentValue)], table: &mut TableWriter<'_>) {
    for (name, value) in arguments {
        let value = match value {
            ArgumentValue::Bool(value) => Value::Bool(*value),
            ArgumentValue::Integer(value) => Value::I64(*value),
            ArgumentValue::Text(value) => Value::LongStr(value.as_bytes()),
        };
        table.field(name.as_bytes(), &value);
    }
}

/// Whether a message's routing key decides alone which of the run's queues it reaches.
fn routes_by_key(exchange_type: &str) -> bool {
    matches!(exchange_type, "direct" | "topic")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn topology(line: &str) -> (LoadArgs, Topology) {
        let words = std::iter::once("perf").chain(line.split_ascii_whitespace());
        let args = Cli::parse_from(words).load;
        let topology = Topology::new(&args, "run").unwrap();
        (args, topology)
    }

    fn lane(number: u32, routing_key: &str, queues: &[u32]) -> Lane {
        Lane {
            number,
            routing_key: routing_key.to_owned(),
            queues: queues.to_vec(),
        }
    }

    const FOUR: &str = "--queue-pattern q%d --queue-pattern-to 4";

    #[test]
    fn one_queue_is_named_after_the_run() {
        let (args, topology) = topology("");
        assert_eq!(topology.lanes(&args, 0, 1), [lane(0, "run", &[0])]);
        assert!(topology.owned);
    }

    #[test]
    fn queues_are_spread_over_channels() {
        let (args, topology) = topology(FOUR);
        assert_eq!(topology.queues, ["q1", "q2", "q3", "q4"]);
        // More channels than queues share them, fewer take several each; none is left out.
        assert_eq!(topology.share(5, 6), [1]);
        assert_eq!(topology.share(0, 3), [0, 3]);
        assert_eq!(topology.share(2, 3), [2]);
        let lanes = topology.lanes(&args, 1, 2);
        assert_eq!(lanes, [lane(1, "q2", &[1]), lane(3, "q4", &[3])]);
    }

    #[test]
    fn a_fanout_and_a_shared_key_reach_all_queues() {
        let (args, fanout) = topology(&format!("{FOUR} -e logs -t fanout"));
        assert_eq!(fanout.lanes(&args, 1, 2), [lane(1, "", &[0, 1, 2, 3])]);
        let (args, keyed) = topology(&format!("{FOUR} -e logs -k all"));
        assert_eq!(keyed.lanes(&args, 0, 1), [lane(0, "all", &[0, 1, 2, 3])]);
    }

    #[test]
    fn where_random_keys_lead_is_not_claimed() {
        let (args, topology) = topology("--random-routing-key -e logs");
        assert_eq!(topology.lanes(&args, 0, 1), [lane(0, "run", &[])]);
    }

    #[test]
    fn lane_numbers_are_different() {
        let (args, topology) = topology(FOUR);
        for channels in 1..9 {
            let numbers: Vec<u32> = (0..channels)
                .flat_map(|channel| topology.lanes(&args, channel, channels))
                .map(|lane| lane.number)
                .collect();
            let different: std::collections::HashSet<u32> = numbers.iter().copied().collect();
            assert_eq!(numbers.len(), different.len(), "{channels} channels");
        }
    }
}
