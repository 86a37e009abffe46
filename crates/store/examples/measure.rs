//! Measures the log on a real disk: append and sync of 1-KiB messages, and the time to open a backlog.
//!
//! `cargo run --release -p store --example measure -- DIRECTORY [MESSAGES]`; the directory must not exist.
#![expect(clippy::print_stdout, reason = "a measurement is for the terminal")]

use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use store::{Batch, Event, EventSink, LoadRequest, Options, RealDisk, Record, open};

struct Sink(Sender<Event>);

impl EventSink for Sink {
    fn event(&self, event: Event) {
        self.0.send(event).expect("main waits");
    }
}

const BATCH: u64 = 100;
const IN_FLIGHT: u64 = 10;

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("read statm");
    status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .map_or(0, |pages| pages * 4 / 1024)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("a directory as argument");
    let count: u64 = arguments
        .next()
        .map_or(1_000_000, |count| count.parse().expect("a number"));
    let (sender, events) = channel();
    let (store, _) = open(
        Options::new(&dir),
        Arc::new(RealDisk),
        Arc::new(Sink(sender)),
    )
    .expect("open");
    let handle = store.handle();
    let payload = Bytes::from(vec![7; 1024]);
    let (started, cpu_started) = (Instant::now(), cpu());
    let mut in_flight = 0;
    for ticket in 0..count / BATCH {
        let records = (0..BATCH)
            .map(|number| Record::Message {
                queue: QueueId(1),
                position: Position(ticket * BATCH + number),
                transient: false,
                payload: payload.clone(),
            })
            .collect();
        handle
            .submit(Batch {
                shard: ShardId(0),
                ticket,
                sync: true,
                records,
            })
            .expect("submit");
        in_flight += 1;
        while in_flight > IN_FLIGHT {
            if let Event::Durable { .. } = events.recv().expect("events") {
                in_flight -= 1;
            }
        }
    }
    while in_flight > 0 {
        if let Event::Durable { .. } = events.recv().expect("events") {
            in_flight -= 1;
        }
    }
    let (elapsed, cpu_time) = (started.elapsed(), cpu() - cpu_started);
    println!(
        "append: {:.0} messages/s, {:.2} µs CPU each (with moving to segments), {:?}",
        count as f64 / elapsed.as_secs_f64(),
        cpu_time.as_secs_f64() * 1e6 / count as f64,
        handle.statistics()
    );
    handle.shutdown().expect("shut down");
    drop(store);

    let resident = resident_mib();
    let (sender, events) = channel();
    let started = Instant::now();
    let (store, recovered) = open::<Bytes>(
        Options::new(&dir),
        Arc::new(RealDisk),
        Arc::new(Sink(sender)),
    )
    .expect("open");
    println!(
        "open: {:?}, {:?}, {resident} -> {} MiB",
        started.elapsed(),
        recovered.queues,
        resident_mib()
    );
    let started = Instant::now();
    let mut from = Position(0);
    while from < Position(count) {
        let (shard, queue, until) = (ShardId(0), QueueId(1), Position(count));
        store.handle().load(LoadRequest {
            shard,
            token: 0,
            queue,
            from,
            until,
            bytes_max: 1 << 20,
        });
        if let Event::Loaded(loaded) = events.recv().expect("events") {
            from = loaded.reached;
        }
    }
    println!(
        "load: {:.0} messages/s",
        count as f64 / started.elapsed().as_secs_f64()
    );
    store.handle().shutdown().expect("shut down");
}
