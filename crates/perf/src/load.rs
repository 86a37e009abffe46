//! Runs one load from beginning to end.
//!
//! ```text
//!   SetUp ─all ready─▶ Run ──warm-up──▶ measured window ──time or count──▶ Finish ──caught up──▶ Stop
//! ```
//!
//! Workers live on `--threads` threads with a runtime each; this module's thread only moves them through the phases,
//! looks at their meters every second and takes the processes' CPU time at both ends of the window.
//! `Finish` is for verification and for bounded runs: it waits for confirms and for deliveries that are on
//! their way, but not for longer than the broker keeps delivering.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use client_amqp091::AmqpUri;
use tokio::sync::watch;

use crate::args::LoadArgs;
use crate::churn::Churner;
use crate::clock;
use crate::consumer::Consumer;
use crate::meter::{Counts, Latencies, LatencySummary, Meter};
use crate::process::{Process, Usage};
use crate::producer::Producer;
use crate::summary::{self, Interval, ProcessSummary, Summary, per};
use crate::topology::Topology;
use crate::verify::{Checker, Expected};
use crate::worker::{Outfit, Phase, Report};

/// How often the end of a bounded run is looked for.
const TICK: Duration = Duration::from_millis(20);
/// How often rates are shown.
const INTERVAL: Duration = Duration::from_secs(1);
/// A bounded run is over when nothing has come for this long.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// Longest wait until every worker is connected.
const SET_UP_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs a load; `show` is given each second's figures.
///
/// # Errors
/// The broker cannot be reached, refuses something, or a worker fails.
pub(crate) fn run(args: LoadArgs, show: &mut dyn FnMut(&str)) -> anyhow::Result<Summary> {
    let args = Arc::new(args.normalised()?);
    let uris = parse_uris(&args.uri)?;
    let id: Arc<str> = match &args.id {
        Some(id) => id.as_str().into(),
        None => format!("perf-{}", std::process::id()).into(),
    };
    let topology = Arc::new(Topology::new(&args, &id)?);
    let setup = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let churns = args.churn().is_some();
    let waiting = if churns {
        0
    } else {
        setup.block_on(topology.declare(&args, &uris[0]))?
    };

    let result =
        Load::start(args.clone(), id, &uris, &topology).and_then(|load| load.run(waiting, show));
    let cleaned = if churns {
        Ok(())
    } else {
        setup.block_on(topology.clean_up(&args, &uris[0]))
    };
    // What went wrong in the run is more telling than what went wrong in tidying up after it.
    let summary = result?;
    cleaned?;
    Ok(summary)
}

fn parse_uris(texts: &[String]) -> anyhow::Result<Vec<Arc<AmqpUri>>> {
    let parse = |text: &String| {
        Ok(Arc::new(
            text.parse::<AmqpUri>().with_context(|| text.clone())?,
        ))
    };
    texts.iter().map(parse).collect()
}

/// A load under way.
struct Load {
    args: Arc<LoadArgs>,
    id: Arc<str>,
    meters: Vec<Arc<Meter>>,
    checker: Option<Arc<Mutex<Checker>>>,
    phase: watch::Sender<Phase>,
    reports: mpsc::Receiver<Report>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
    workers: Workers,
}

/// How many workers there are and how many are done.
#[derive(Debug, Default)]
struct Workers {
    producers: u32,
    consumers: u32,
    ready: u32,
    produced: u32,
    consumed: u32,
    expected: Vec<Expected>,
}

/// What a worker is.
#[derive(Clone, Copy)]
enum Role {
    Producer(u32),
    Consumer(u32),
}

/// The measured window's beginning.
#[derive(Clone, Copy)]
struct WindowStart {
    at: Instant,
    counts: Counts,
    server: Option<Usage>,
    client: Usage,
}

impl Load {
    fn start(
        args: Arc<LoadArgs>,
        id: Arc<str>,
        uris: &[Arc<AmqpUri>],
        topology: &Arc<Topology>,
    ) -> anyhow::Result<Self> {
        let (phase, phase_seen) = watch::channel(Phase::SetUp);
        let (reporting, reports) = mpsc::channel();
        let run = rand::random();
        let checker = args.verify.then(|| Arc::new(Mutex::new(Checker::new(run))));
        let clock_offset_ns = if args.wall_clock {
            clock::wall_clock_offset_ns()
        } else {
            0
        };
        let roles: Vec<Role> = (0..args.consumers)
            .map(Role::Consumer)
            .chain((0..args.producers).map(Role::Producer))
            .collect();
        let mut load = Self {
            workers: Workers {
                producers: args.producers,
                consumers: args.consumers,
                ..Default::default()
            },
            args,
            id,
            meters: Vec::new(),
            checker,
            phase,
            reports,
            threads: Vec::new(),
        };
        for index in 0..load.args.threads.min(roles.len()) {
            let meter = Arc::new(Meter::new());
            load.meters.push(meter.clone());
            let mine = roles
                .iter()
                .enumerate()
                .skip(index)
                .step_by(load.args.threads);
            let outfits = mine.map(|(position, role)| {
                let outfit = Outfit {
                    args: load.args.clone(),
                    uri: uris[position % uris.len()].clone(),
                    id: load.id.clone(),
                    meter: meter.clone(),
                    checker: load.checker.clone(),
                    run,
                    clock_offset_ns,
                    phase: phase_seen.clone(),
                    reports: reporting.clone(),
                };
                (*role, outfit)
            });
            let outfits: Vec<(Role, Outfit)> = outfits.collect();
            let topology = topology.clone();
            let thread = thread::Builder::new()
                .name(format!("perf-{index}"))
                .spawn(move || work(outfits, &topology))?;
            load.threads.push(thread);
        }
        Ok(load)
    }

    fn run(mut self, waiting: u64, show: &mut dyn FnMut(&str)) -> anyhow::Result<Summary> {
        let result = self.drive(waiting, show);
        self.phase.send_replace(Phase::Stop);
        for thread in self.threads {
            let ended = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a worker thread panicked"))?;
            if result.is_ok() {
                ended?;
            }
        }
        result
    }

    fn drive(&mut self, waiting: u64, show: &mut dyn FnMut(&str)) -> anyhow::Result<Summary> {
        self.wait_until_ready()?;
        let server = self.args.server_pid.map(Process::new);
        let mut view = View::new(Instant::now(), server);
        // Without a warm-up the window begins before the first message: socket buffers take megabytes in no time.
        let mut start = self.window_start(server)?;
        self.phase.send_replace(Phase::Run);
        if self.args.warmup > 0 {
            let warm_up = Duration::from_secs(self.args.warmup);
            while view.began.elapsed() < warm_up {
                self.watch(&mut view, show, warm_up)?;
            }
            view.skip(&self.meters);
            start = self.window_start(server)?;
        }
        view.measuring = true;
        let end = self.window_end(&mut view, show, waiting, start)?;
        let counts = self.counts().since(start.counts);
        let client_usage = Process::this().usage()?;
        let server_usage = server.map(Process::usage).transpose()?;
        view.collect(&self.meters);

        self.phase.send_replace(Phase::Finish);
        if self.args.verify {
            self.catch_up(&mut view, show)?;
        }
        let window = end - start.at;
        let seconds = window.as_secs_f64();
        let messages = summary::messages(&counts);
        let verdict = self.checker.as_ref().map(|checker| {
            let checker = checker.lock().unwrap_or_else(PoisonError::into_inner);
            checker.summary(&self.workers.expected)
        });
        Ok(Summary {
            id: self.id.to_string(),
            size: self.args.size,
            duration_s: seconds,
            counts,
            sent_rate: per(counts.sent as f64, seconds),
            received_rate: per(counts.received as f64, seconds),
            confirmed_rate: per(counts.confirmed as f64, seconds),
            churned_rate: per(counts.churned as f64, seconds),
            delivery_latency: self.delivery_latency(&view.total),
            confirm_latency: LatencySummary::of(&view.total.confirm),
            churn_latency: LatencySummary::of(&view.total.churn),
            server: start.server.zip(server_usage).map(|(start, end)| {
                ProcessSummary::new(start, end, view.server_rss_max, window, messages)
            }),
            client: ProcessSummary::new(start.client, client_usage, 0, window, messages),
            verify: verdict,
            intervals: view.intervals,
        })
    }

    fn delivery_latency(&self, latencies: &Latencies) -> LatencySummary {
        // Bodies too short for a time hold filler where it would be.
        if self.args.measures_latency() {
            LatencySummary::of(&latencies.delivery)
        } else {
            LatencySummary::default()
        }
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + SET_UP_TIMEOUT;
        while self.workers.ready < self.workers.producers + self.workers.consumers {
            if Instant::now() >= deadline {
                bail!("not all connections are up after {SET_UP_TIMEOUT:?}");
            }
            self.take_report(TICK)?;
        }
        Ok(())
    }

    fn window_start(&self, server: Option<Process>) -> anyhow::Result<WindowStart> {
        Ok(WindowStart {
            at: Instant::now(),
            counts: self.counts(),
            server: server.map(Process::usage).transpose()?,
            client: Process::this().usage()?,
        })
    }

    /// Waits for the end of the window.
    fn window_end(
        &mut self,
        view: &mut View,
        show: &mut dyn FnMut(&str),
        waiting: u64,
        start: WindowStart,
    ) -> anyhow::Result<Instant> {
        let time_limit = self.args.time_limit();
        let until = time_limit.map_or(Duration::MAX, |limit| {
            limit.saturating_add(start.at - view.began)
        });
        let mut last = (self.counts(), Instant::now());
        loop {
            self.watch(view, show, until)?;
            let now = Instant::now();
            if time_limit.is_some_and(|limit| now - start.at >= limit) {
                return Ok(now);
            }
            let counts = self.counts();
            if counts != last.0 {
                last = (counts, now);
            }
            if self.work_is_done(counts, waiting) {
                return Ok(now);
            }
            let bounded_side_is_done = self.producers_are_done() && !self.consumers_are_bounded();
            if (bounded_side_is_done || self.args.drain) && now - last.1 >= QUIET_MAX {
                return Ok(last.1);
            }
        }
    }

    fn producers_are_done(&self) -> bool {
        self.workers.produced == self.workers.producers
    }

    fn consumers_are_bounded(&self) -> bool {
        self.args.cmessages.is_some()
    }

    /// Whether everything that was asked for has happened.
    fn work_is_done(&self, counts: Counts, waiting: u64) -> bool {
        let workers = &self.workers;
        if self.args.drain && !self.consumers_are_bounded() {
            return counts.received >= waiting;
        }
        let consumed = workers.consumed == workers.consumers;
        if workers.producers == 0 || (workers.consumers > 0 && self.consumers_are_bounded()) {
            return consumed;
        }
        self.producers_are_done()
            && (workers.consumers == 0 || counts.received >= self.deliveries_expected())
    }

    /// Deliveries that must come of all that was published; the largest number there is if that cannot be known.
    fn deliveries_expected(&self) -> u64 {
        if self.args.random_routing_key || self.workers.expected.is_empty() {
            return u64::MAX;
        }
        self.workers.expected.iter().map(|pair| pair.sent).sum()
    }

    /// Waits for the last confirms and deliveries.
    fn catch_up(&mut self, view: &mut View, show: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        view.measuring = false;
        let mut last = (self.counts(), Instant::now());
        while !(self.producers_are_done() && last.0.received >= self.deliveries_expected()) {
            self.watch(view, show, Duration::MAX)?;
            let counts = self.counts();
            if counts != last.0 {
                last = (counts, Instant::now());
            } else if last.1.elapsed() >= QUIET_MAX && self.producers_are_done() {
                break;
            }
        }
        // A duplicate follows its original; one more moment shows it.
        let deadline = Instant::now() + 5 * TICK;
        while Instant::now() < deadline {
            self.take_report(TICK)?;
        }
        Ok(())
    }

    /// Waits a tick, or until `until` after the beginning if that is sooner; shows the interval if it is over.
    fn watch(
        &mut self,
        view: &mut View,
        show: &mut dyn FnMut(&str),
        until: Duration,
    ) -> anyhow::Result<()> {
        let left = until.saturating_sub(view.began.elapsed());
        self.take_report(TICK.min(left))?;
        if view.interval_began.elapsed() >= INTERVAL {
            let interval = view.close_interval(&self.meters);
            if !self.args.quiet {
                show(&format!("{interval}{}", self.progress(view)));
            }
        }
        Ok(())
    }

    /// How far a bounded run is.
    fn progress(&self, view: &View) -> String {
        let counts = self.counts();
        let channels = u64::from(self.args.producers) * u64::from(self.args.producer_channels);
        let consumers = u64::from(self.args.consumers);
        let (done, all) = match (self.args.pmessages, self.args.cmessages) {
            (Some(_), _) if self.args.churn().is_some() => (
                counts.churned,
                self.args.pmessages.unwrap_or(0) * u64::from(self.args.producers),
            ),
            (Some(each), _) => (counts.sent, each.saturating_mul(channels)),
            (None, Some(each)) => (counts.received, each.saturating_mul(consumers)),
            (None, None) => return String::new(),
        };
        let share = per(done as f64, all as f64).min(1.0);
        if share == 0.0 {
            return String::new();
        }
        let elapsed = view.began.elapsed().as_secs_f64();
        let left = elapsed / share - elapsed;
        format!("  {:.0} %, {left:.0} s left", share * 100.0)
    }

    /// Waits for one report, for at most `limit`, and takes all that are there.
    fn take_report(&mut self, limit: Duration) -> anyhow::Result<()> {
        let mut next = match self.reports.recv_timeout(limit) {
            Ok(report) => Some(report),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => bail!("all workers are gone"),
        };
        while let Some(report) = next {
            let workers = &mut self.workers;
            match report {
                Report::Ready => workers.ready += 1,
                Report::Produced(expected) => {
                    workers.produced += 1;
                    workers.expected.extend(expected);
                }
                Report::Consumed => workers.consumed += 1,
                Report::Failed(error) => return Err(error),
            }
            next = self.reports.try_recv().ok();
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        Counts::sum(self.meters.iter().map(|meter| meter.counts()))
    }
}

/// One worker thread.
fn work(outfits: Vec<(Role, Outfit)>, topology: &Arc<Topology>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (role, outfit) in outfits {
            let topology = topology.clone();
            tasks.spawn(async move {
                let reports = outfit.reports.clone();
                if let Err(error) = worker(role, outfit, &topology).await {
                    // As in `Outfit::report`: if nobody listens, the run has failed already.
                    let _ = reports.send(Report::Failed(error));
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a worker panicked")?;
        }
        Ok(())
    })
}

async fn worker(role: Role, outfit: Outfit, topology: &Topology) -> anyhow::Result<()> {
    match (role, outfit.args.churn()) {
        (Role::Producer(number), Some(churn)) => {
            let churner = Churner::open(outfit, churn, number).await?;
            churner
                .run()
                .await
                .with_context(|| format!("churn {number}"))
        }
        (Role::Producer(number), None) => {
            let producer = Producer::open(outfit, topology, number).await?;
            producer
                .run()
                .await
                .with_context(|| format!("producer {number}"))
        }
        (Role::Consumer(number), _) => {
            let consumer = Consumer::open(outfit, topology, number).await?;
            consumer
                .run()
                .await
                .with_context(|| format!("consumer {number}"))
        }
    }
}

/// What the reporting thread has seen.
struct View {
    began: Instant,
    interval_began: Instant,
    interval_counts: Counts,
    interval: Latencies,
    total: Latencies,
    measuring: bool,
    server: Option<Process>,
    server_rss_max: u64,
    intervals: Vec<Interval>,
}

impl View {
    fn new(began: Instant, server: Option<Process>) -> Self {
        Self {
            began,
            interval_began: began,
            interval_counts: Counts::default(),
            interval: Latencies::new(),
            total: Latencies::new(),
            measuring: false,
            server,
            server_rss_max: 0,
            intervals: Vec::new(),
        }
    }

    /// Takes the meters' latencies into the interval, and into the total if it is measured.
    fn collect(&mut self, meters: &[Arc<Meter>]) {
        let mut taken = Latencies::new();
        for meter in meters {
            meter.take_latencies(&mut taken);
            self.interval.merge(&taken);
            if self.measuring {
                self.total.merge(&taken);
            }
            taken.clear();
        }
    }

    /// Forgets what was measured so far.
    fn skip(&mut self, meters: &[Arc<Meter>]) {
        self.collect(meters);
        self.interval.clear();
        self.interval_began = Instant::now();
        self.interval_counts = Counts::sum(meters.iter().map(|meter| meter.counts()));
    }

    fn close_interval(&mut self, meters: &[Arc<Meter>]) -> Interval {
        self.collect(meters);
        if let Some(Ok(usage)) = self.server.map(Process::usage) {
            self.server_rss_max = self.server_rss_max.max(usage.rss_bytes);
        }
        let now = Instant::now();
        let counts = Counts::sum(meters.iter().map(|meter| meter.counts()));
        let seconds = (now - self.interval_began).as_secs_f64();
        let change = counts.since(self.interval_counts);
        let interval = Interval {
            time_s: (now - self.began).as_secs_f64(),
            measured: self.measuring,
            sent_rate: per(change.sent as f64, seconds),
            received_rate: per(change.received as f64, seconds),
            confirmed_rate: per(change.confirmed as f64, seconds),
            nacked_rate: per(change.nacked as f64, seconds),
            churned_rate: per(change.churned as f64, seconds),
            delivery_latency: LatencySummary::of(&self.interval.delivery),
            confirm_latency: LatencySummary::of(&self.interval.confirm),
            churn_latency: LatencySummary::of(&self.interval.churn),
        };
        self.interval.clear();
        (self.interval_began, self.interval_counts) = (now, counts);
        self.intervals.push(interval);
        interval
    }
}
