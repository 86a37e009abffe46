//! The command line. Options that PerfTest has too keep its names and letters.

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::body::{TIMESTAMP_LEN, VERIFIED_LEN};

/// Most channels on either side.
const CHANNELS_MAX: u64 = 1_000_000;

/// Largest body that may be asked for: what RabbitMQ accepts at most.
const SIZE_MAX: usize = 512 << 20;

/// Generate load on an AMQP 0-9-1 broker and measure it.
#[derive(Debug, Parser)]
#[command(
    name = "warren perf",
    args_conflicts_with_subcommands = true,
    after_help = "Without a subcommand one load is run, by default one publisher and one consumer of 16 byte \
                  messages until interrupted by --time or by a number of messages (10 seconds if none is given)."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// What else there is.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the floor: the CPU time it takes the kernel to move the same bytes through a process.
    Relay(RelayArgs),
    /// Run the standard rows against brokers in turn and print a Markdown table.
    Suite(SuiteArgs),
    /// Measure the broker's memory: idle, for each idle connection, for each idle queue.
    Footprint(FootprintArgs),
    /// Ask the management API of brokers in turn with very many queues and connections while messages flow, and print a Markdown table.
    Management(ManagementArgs),
    /// Do things by the hundred thousand to brokers in turn, watch how long others wait, and print a Markdown table.
    Scale(ScaleArgs),
}

/// One load.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    /// Broker; give several, or a comma-separated list, to spread the connections.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "amqp://guest:guest@127.0.0.1:5672/"
    )]
    pub(crate) uri: Vec<String>,
    /// Name of this run: in connection names, in queue names and in the output [default: perf-PID].
    #[arg(short = 'd', long)]
    pub(crate) id: Option<String>,

    /// Publishing connections.
    #[arg(short = 'x', long, default_value_t = 1)]
    pub(crate) producers: u32,
    /// Consuming connections.
    #[arg(short = 'y', long, default_value_t = 1)]
    pub(crate) consumers: u32,
    /// Channels of each publishing connection; each publishes on its own.
    #[arg(short = 'X', long, default_value_t = 1)]
    pub(crate) producer_channels: u16,
    /// Channels of each consuming connection; each consumes on its own.
    #[arg(short = 'Y', long, default_value_t = 1)]
    pub(crate) consumer_channels: u16,

    /// Body size in bytes.
    #[arg(short, long, default_value_t = 16)]
    pub(crate) size: usize,
    /// Messages a second of each publishing channel [default: as fast as possible].
    #[arg(short, long)]
    pub(crate) rate: Option<f64>,
    /// Messages a second of each consuming connection [default: as fast as possible].
    #[arg(short = 'R', long)]
    pub(crate) consumer_rate: Option<f64>,
    /// Publisher confirms with at most this many in flight on each channel.
    #[arg(short, long)]
    pub(crate) confirm: Option<u32>,
    /// persistent (delivery mode 2) or mandatory; may be repeated.
    #[arg(short, long, value_delimiter = ',')]
    pub(crate) flag: Vec<Flag>,

    /// Prefetch count of each consumer, 0 for none.
    #[arg(short, long, default_value_t = 0)]
    pub(crate) qos: u16,
    /// Consumers ack automatically.
    #[arg(short, long)]
    pub(crate) autoack: bool,
    /// Consumers ack every that many messages at once.
    #[arg(short = 'A', long, default_value_t = 1)]
    pub(crate) multi_ack_every: u32,

    /// Queue [default: one named after --id that is deleted at the end].
    #[arg(short = 'u', long)]
    pub(crate) queue: Option<String>,
    /// Several queues: a name with %d in it, counted from --queue-pattern-from to --queue-pattern-to.
    #[arg(long, conflicts_with = "queue")]
    pub(crate) queue_pattern: Option<String>,
    /// First number of the queue pattern.
    #[arg(long, default_value_t = 1)]
    pub(crate) queue_pattern_from: u32,
    /// Last number of the queue pattern.
    #[arg(long, default_value_t = 1)]
    pub(crate) queue_pattern_to: u32,
    /// Queue arguments: name=value,name=value; numbers and true/false are sent as such.
    #[arg(long, value_delimiter = ',', value_parser = parse_argument)]
    pub(crate) queue_args: Vec<(String, ArgumentValue)>,
    /// Consumer arguments, such as x-priority=10 or x-stream-offset=first.
    #[arg(long, value_delimiter = ',', value_parser = parse_argument)]
    pub(crate) consumer_args: Vec<(String, ArgumentValue)>,
    /// Declare quorum queues.
    #[arg(long)]
    pub(crate) quorum_queue: bool,
    /// Declare streams; needs --qos and acks.
    #[arg(long, conflicts_with = "quorum_queue")]
    pub(crate) stream_queue: bool,
    /// Queues go when their last consumer does.
    #[arg(long)]
    pub(crate) auto_delete: bool,
    /// Queues do not survive a restart of the broker.
    #[arg(long)]
    pub(crate) transient_queue: bool,
    /// Declare and delete nothing: queues, exchange and bindings are there.
    #[arg(short, long)]
    pub(crate) predeclared: bool,
    /// Keep the queue that was named after --id.
    #[arg(long)]
    pub(crate) keep_queue: bool,

    /// Exchange to publish to [default: the default exchange, with the queue as routing key].
    #[arg(short, long, default_value = "")]
    pub(crate) exchange: String,
    /// Type of the exchange.
    #[arg(short = 't', long = "type", default_value = "direct")]
    pub(crate) exchange_type: String,
    /// Routing key, also of the bindings [default: the queue's name].
    #[arg(short = 'k', long)]
    pub(crate) routing_key: Option<String>,
    /// Publish each message with another routing key.
    #[arg(long)]
    pub(crate) random_routing_key: bool,

    /// End after this many seconds.
    #[arg(short = 'z', long)]
    pub(crate) time: Option<u64>,
    /// Seconds before measuring begins; they come on top of --time.
    #[arg(long, default_value_t = 0)]
    pub(crate) warmup: u64,
    /// Messages to publish on each publishing channel (rounds, in the churn modes).
    #[arg(short = 'C', long)]
    pub(crate) pmessages: Option<u64>,
    /// Messages to consume on each consuming connection.
    #[arg(short = 'D', long)]
    pub(crate) cmessages: Option<u64>,
    /// Publish only; the same as --consumers 0.
    #[arg(long, conflicts_with_all = ["drain", "verify"])]
    pub(crate) publish_only: bool,
    /// Publish nothing; consume what is in the queues and end when they are empty.
    #[arg(long, conflicts_with = "verify")]
    pub(crate) drain: bool,
    /// Check every message: lost, duplicated, out of order, corrupt. Ends with an error if there is any.
    #[arg(long)]
    pub(crate) verify: bool,

    /// Open and close connections (each of --producers does so one at a time) in the place of messages.
    #[arg(long, group = "churn", conflicts_with_all = ["drain", "verify"])]
    pub(crate) connection_churn: bool,
    /// Open and close channels.
    #[arg(long, group = "churn", conflicts_with_all = ["drain", "verify"])]
    pub(crate) channel_churn: bool,
    /// Declare and delete queues.
    #[arg(long, group = "churn", conflicts_with_all = ["drain", "verify"])]
    pub(crate) queue_churn: bool,

    /// Process id of the broker, on this machine: its CPU time for each message and its memory are measured.
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    /// Threads that generate load.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Heartbeat interval in seconds, 0 for none.
    #[arg(short = 'b', long, default_value_t = 60)]
    pub(crate) heartbeat: u16,
    /// Stamp messages with wall-clock time, for publishers and consumers on machines with synchronised clocks.
    #[arg(long)]
    pub(crate) wall_clock: bool,
    /// Write the results as JSON to a file, or to standard output (-).
    #[arg(long)]
    pub(crate) json: Option<String>,
    /// No line for each second.
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Options of `relay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RelayArgs {
    /// Body sizes in bytes.
    #[arg(short, long, value_delimiter = ',', default_value = "16,1024,16384")]
    pub(crate) size: Vec<usize>,
    /// Seconds for each size.
    #[arg(short = 'z', long, default_value_t = 3)]
    pub(crate) time: u64,
    /// Also measure fdatasync of one page in this directory.
    #[arg(long)]
    pub(crate) sync_dir: Option<std::path::PathBuf>,
    /// Write the results as JSON to a file, or to standard output (-).
    #[arg(long)]
    pub(crate) json: Option<String>,
}

/// Options of `suite`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SuiteArgs {
    /// A broker on this machine: name=uri,pid. The first one is what the others are compared to.
    #[arg(long, required = true, value_parser = parse_broker)]
    pub(crate) broker: Vec<Broker>,
    /// Rows to run, by name [default: all].
    #[arg(long, value_delimiter = ',')]
    pub(crate) rows: Vec<String>,
    /// Seconds to measure each row.
    #[arg(short = 'z', long, default_value_t = 5)]
    pub(crate) time: u64,
    /// Times each row is run on each broker, in turn; the run with the median rate is shown.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: usize,
    /// Messages of the rows that fill and drain a queue.
    #[arg(long, default_value_t = 500_000)]
    pub(crate) backlog: u64,
    /// Directory on the brokers' disk: fdatasync is measured there, the floor of one confirm at a time.
    #[arg(long)]
    pub(crate) sync_dir: Option<std::path::PathBuf>,
    /// Write the results as JSON to a file.
    #[arg(long)]
    pub(crate) json: Option<String>,
}

/// Options of `footprint`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FootprintArgs {
    /// Broker; best one that has just been started.
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    pub(crate) uri: String,
    /// Process id of the broker, on this machine.
    #[arg(long)]
    pub(crate) server_pid: u32,
    /// Connections to open, with a channel each.
    #[arg(long, default_value_t = 5000)]
    pub(crate) connections: u32,
    /// Durable queues to declare, and to delete at the end.
    #[arg(long, default_value_t = 0)]
    pub(crate) queues: u32,
    /// Write the results as JSON to a file, or to standard output (-).
    #[arg(long)]
    pub(crate) json: Option<String>,
}

/// Options of `scale`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScaleArgs {
    /// A broker on this machine: name=uri,pid,http://host:port, the last of which is its management API.
    /// The first one is what the others are compared to.
    #[arg(long, required = true, value_parser = parse_broker_with_api)]
    pub(crate) broker: Vec<(Broker, String)>,
    /// Parts to run, by name [default: all].
    #[arg(long, value_delimiter = ',')]
    pub(crate) parts: Vec<String>,
    /// How much of each thing there is, in percent of what the rows are called after.
    #[arg(long, default_value_t = 100)]
    pub(crate) percent: u32,
    /// Seconds for which each declaring, binding and filling may last. A broker that is not done by then goes on with less.
    #[arg(long, default_value_t = 20)]
    pub(crate) patience: u64,
    /// Write the results as JSON to a file.
    #[arg(long)]
    pub(crate) json: Option<String>,
}

/// Options of `management`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ManagementArgs {
    /// A broker on this machine: name=uri,pid,http://host:port, the last of which is its management API.
    /// The first one is what the others are compared to.
    #[arg(long, required = true, value_parser = parse_broker_with_api)]
    pub(crate) broker: Vec<(Broker, String)>,
    /// Durable queues.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) queues: u32,
    /// Connections with a channel each, beside those of the flow.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: u32,
    /// Messages a second while the API is asked.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) rate: u32,
    /// Times that each thing is asked for; lists of everything a hundredth of it.
    #[arg(long, default_value_t = 500)]
    pub(crate) requests: u32,
    /// Milliseconds between an answer and the next request.
    #[arg(long, default_value_t = 20)]
    pub(crate) pause: u64,
    /// Seconds for which declaring and connecting may last each. A broker that is not done by then goes on with less.
    #[arg(long, default_value_t = 60)]
    pub(crate) patience: u64,
    /// The last broker once more, by its URI, with `management_agent.disable_metrics_collector = true`: throughput without statistics.
    #[arg(long)]
    pub(crate) without: Option<String>,
    /// Seconds of each run that measures throughput.
    #[arg(short = 'z', long, default_value_t = 3)]
    pub(crate) time: u64,
    /// Turns of such runs: alone and beside somebody who asks.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) turns: u32,
    /// Write the results as JSON to a file.
    #[arg(long)]
    pub(crate) json: Option<String>,
}

/// A broker of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) name: String,
    pub(crate) uri: String,
    pub(crate) pid: u32,
}

/// How messages are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flag {
    /// Delivery mode 2.
    Persistent,
    /// Unroutable messages come back.
    Mandatory,
}

/// A queue argument's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentValue {
    Bool(bool),
    Integer(i64),
    Text(String),
}

/// What is opened and closed over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Churn {
    Connection,
    Channel,
    Queue,
}

impl LoadArgs {
    /// Fills in what depends on other options.
    ///
    /// # Errors
    /// Options contradict each other.
    pub(crate) fn normalised(mut self) -> anyhow::Result<Self> {
        if self.publish_only || self.churn().is_some() {
            self.consumers = 0;
        }
        if self.drain {
            self.producers = 0;
        }
        if self.time.is_none()
            && self.pmessages.is_none()
            && self.cmessages.is_none()
            && !self.drain
        {
            self.time = Some(10);
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.producers + self.consumers > 0,
            "neither producers nor consumers: nothing to do"
        );
        for (count, channels) in [
            (self.producers, self.producer_channels),
            (self.consumers, self.consumer_channels),
        ] {
            ensure!(
                u64::from(count) * u64::from(channels) <= CHANNELS_MAX,
                "more than {CHANNELS_MAX} channels"
            );
        }
        ensure!(
            self.producer_channels > 0,
            "--producer-channels must be 1 or more"
        );
        ensure!(
            self.consumer_channels > 0,
            "--consumer-channels must be 1 or more"
        );
        ensure!(self.size <= SIZE_MAX, "--size must be {SIZE_MAX} or less");
        ensure!(self.threads > 0, "--threads must be 1 or more");
        ensure!(self.confirm != Some(0), "--confirm must be 1 or more");
        ensure!(
            self.multi_ack_every > 0,
            "--multi-ack-every must be 1 or more"
        );
        for (name, rate) in [
            ("--rate", self.rate),
            ("--consumer-rate", self.consumer_rate),
        ] {
            ensure!(
                rate.is_none_or(|rate| rate > 0.0 && rate.is_finite()),
                "{name} must be more than 0"
            );
        }
        if self.qos > 0 && !self.autoack {
            ensure!(
                self.multi_ack_every <= u32::from(self.qos),
                "--multi-ack-every must not exceed --qos, or consumers would wait for ever"
            );
        }
        if self.verify {
            ensure!(
                self.size >= VERIFIED_LEN,
                "--verify needs --size {VERIFIED_LEN} or more"
            );
            ensure!(
                self.producers > 0 && self.consumers > 0,
                "--verify needs producers and consumers"
            );
        }
        if let Some(pattern) = &self.queue_pattern {
            ensure!(pattern.contains("%d"), "--queue-pattern must contain %d");
            ensure!(
                self.queue_pattern_from <= self.queue_pattern_to,
                "--queue-pattern-from must not be beyond --queue-pattern-to"
            );
        }
        Ok(())
    }

    pub(crate) fn churn(&self) -> Option<Churn> {
        if self.connection_churn {
            Some(Churn::Connection)
        } else if self.channel_churn {
            Some(Churn::Channel)
        } else if self.queue_churn {
            Some(Churn::Queue)
        } else {
            None
        }
    }

    pub(crate) fn persistent(&self) -> bool {
        self.flag.contains(&Flag::Persistent)
    }

    pub(crate) fn mandatory(&self) -> bool {
        self.flag.contains(&Flag::Mandatory)
    }

    pub(crate) fn measures_latency(&self) -> bool {
        self.size >= TIMESTAMP_LEN
    }

    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.time.map(Duration::from_secs)
    }
}

fn parse_argument(text: &str) -> anyhow::Result<(String, ArgumentValue)> {
    let Some((name, value)) = text.split_once('=') else {
        bail!("expected name=value");
    };
    let value = match value {
        "true" => ArgumentValue::Bool(true),
        "false" => ArgumentValue::Bool(false),
        _ => value.parse().map_or_else(
            |_| ArgumentValue::Text(value.to_owned()),
            ArgumentValue::Integer,
        ),
    };
    Ok((name.to_owned(), value))
}

fn parse_broker(text: &str) -> anyhow::Result<Broker> {
    let parts = text
        .split_once('=')
        .and_then(|(name, rest)| Some((name, rest.rsplit_once(',')?)));
    let Some((name, (uri, pid))) = parts else {
        bail!("expected name=uri,pid");
    };
    Ok(Broker {
        name: name.to_owned(),
        uri: uri.to_owned(),
        pid: pid.parse()?,
    })
}

fn parse_broker_with_api(text: &str) -> anyhow::Result<(Broker, String)> {
    let Some((broker, http)) = text.rsplit_once(',') else {
        bail!("expected name=uri,pid,http://host:port");
    };
    Ok((parse_broker(broker)?, http.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<LoadArgs> {
        let words = std::iter::once("perf").chain(line.split_ascii_whitespace());
        Cli::try_parse_from(words)?.load.normalised()
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn letters_mean_what_they_mean_in_perftest() {
        let args = parse(
            "-x 2 -y 3 -X 4 -Y 5 -s 1024 -r 100 -R 50 -q 500 -A 100 -c 200 -f persistent -f mandatory \
             -u q -e e -t topic -k key -p -z 7 -C 8 -D 9",
        )
        .unwrap();
        assert_eq!((args.producers, args.consumers), (2, 3));
        assert_eq!((args.producer_channels, args.consumer_channels), (4, 5));
        assert_eq!((args.rate, args.consumer_rate), (Some(100.0), Some(50.0)));
        assert_eq!((args.qos, args.multi_ack_every), (500, 100));
        assert_eq!((args.size, args.confirm), (1024, Some(200)));
        assert!(args.persistent() && args.mandatory() && args.predeclared);
        assert_eq!(args.queue.as_deref(), Some("q"));
        assert_eq!(
            (args.exchange.as_str(), args.exchange_type.as_str()),
            ("e", "topic")
        );
        assert_eq!(
            (args.time, args.pmessages, args.cmessages),
            (Some(7), Some(8), Some(9))
        );
    }

    #[test]
    fn a_run_without_an_end_gets_one() {
        assert_eq!(parse("").unwrap().time, Some(10));
        assert_eq!(parse("-C 5").unwrap().time, None);
        assert_eq!(parse("--drain").unwrap().time, None);
    }

    #[test]
    fn modes_switch_a_side_off() {
        assert_eq!(parse("--publish-only").unwrap().consumers, 0);
        assert_eq!(parse("--drain").unwrap().producers, 0);
        let churning = parse("--queue-churn -x 3").unwrap();
        assert_eq!((churning.producers, churning.consumers), (3, 0));
        assert_eq!(churning.churn(), Some(Churn::Queue));
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "-x 0 -y 0",
            "--verify -s 16",
            "--verify --publish-only",
            "-q 10 -A 11",
            "-r 0",
            "-c 0",
            "-x 1000000 -X 2",
            "-A 0",
            "--queue-pattern q",
            "--queue-pattern q%d --queue-pattern-from 2 --queue-pattern-to 1",
            "--queue q --queue-pattern q%d",
            "--connection-churn --queue-churn",
            "--queue-args x",
            "relay -x 1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn queue_arguments_have_types() {
        let args = parse("--queue-args x-max-length=10,x-overflow=reject-publish,a=true").unwrap();
        let text = |text: &str| ArgumentValue::Text(text.to_owned());
        assert_eq!(
            args.queue_args,
            [
                ("x-max-length".to_owned(), ArgumentValue::Integer(10)),
                ("x-overflow".to_owned(), text("reject-publish")),
                ("a".to_owned(), ArgumentValue::Bool(true)),
            ]
        );
    }

    #[test]
    fn a_broker_is_name_uri_and_pid() {
        let broker = parse_broker("rabbit=amqp://guest:guest@127.0.0.1:25672/,42").unwrap();
        assert_eq!((broker.name.as_str(), broker.pid), ("rabbit", 42));
        assert_eq!(broker.uri, "amqp://guest:guest@127.0.0.1:25672/");
        assert!(parse_broker("amqp://x").is_err());
    }
}
