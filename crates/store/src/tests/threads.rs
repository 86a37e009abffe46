//! The running store on a real file system.

use crate::{
    Batch, Event, EventSink, Handle, LoadRequest, Options, RealDisk, Record, Recovered, Store,
    StoreError, open,
};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

struct Sink(Mutex<Sender<Event>>);

impl EventSink for Sink {
    fn event(&self, event: Event) {
        // The test may have seen enough.
        let _ = self.0.lock().send(event);
    }
}

fn start(options: &Options) -> (Store<Bytes>, Recovered, Receiver<Event>) {
    let (sender, receiver) = channel();
    let (store, recovered) = open(
        options.clone(),
        Arc::new(RealDisk),
        Arc::new(Sink(Mutex::new(sender))),
    )
    .unwrap();
    (store, recovered, receiver)
}

fn message(queue: u64, position: u64, payload: Bytes) -> Record<Bytes> {
    Record::Message {
        queue: QueueId(queue),
        position: Position(position),
        transient: false,
        payload,
    }
}

fn submit(handle: &Handle<Bytes>, ticket: u64, sync: bool, records: Vec<Record<Bytes>>) {
    handle
        .submit(Batch {
            shard: ShardId(0),
            ticket,
            sync,
            records,
        })
        .unwrap();
}

fn wait_for(events: &Receiver<Event>, wanted: u64) {
    loop {
        let event = events.recv_timeout(Duration::from_secs(60)).unwrap();
        if let Event::Durable { ticket, .. } | Event::Written { ticket, .. } = event
            && ticket == wanted
        {
            return;
        }
        assert!(!matches!(event, Event::Failed(_)), "{event:?}");
    }
}

#[test]
fn a_backlog_over_many_log_files_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        wal_file_bytes: 1 << 20,
        segment_bytes_max: 1 << 20,
        ..Options::new(dir.path())
    };
    let (store, recovered, events) = start(&options);
    assert!(recovered.clean && recovered.queues.is_empty());
    let handle = store.handle();
    let count = 200_000;
    let payload = |position: u64| Bytes::from(position.to_le_bytes().repeat(6));
    for chunk in 0..count / 500 {
        let positions = chunk * 500..(chunk + 1) * 500;
        let records = positions
            .map(|position| message(1 + position % 2, position / 2, payload(position)))
            .collect();
        submit(&handle, chunk, chunk % 10 == 0, records);
    }
    submit(&handle, 9999, true, Vec::new());
    wait_for(&events, 9999);
    handle.shutdown().unwrap();
    drop(store);

    let started = Instant::now();
    let (store, recovered, events) = start(&options);
    eprintln!("200,000 messages opened in {:?}", started.elapsed());
    assert!(recovered.clean);
    assert_eq!(recovered.damage, []);
    let handle = store.handle();
    for queue in [1, 2] {
        let state = recovered.queues[&QueueId(queue)];
        assert_eq!(
            (state.messages, state.first.0, state.next.0),
            (count / 2, 0, count / 2)
        );
        let mut from = Position(0);
        while from < state.next {
            let (shard, until, queue) = (ShardId(3), state.next, QueueId(queue));
            handle.load(LoadRequest {
                shard,
                token: 8,
                queue,
                from,
                until,
                bytes_max: 100_000,
            });
            let loaded = loop {
                if let Event::Loaded(loaded) = events.recv_timeout(Duration::from_secs(60)).unwrap()
                {
                    break loaded;
                }
            };
            assert_eq!(
                (loaded.shard, loaded.token, loaded.damaged.len()),
                (ShardId(3), 8, 0)
            );
            for (position, content) in &loaded.messages {
                assert_eq!(*position, from, "no message is missing");
                assert_eq!(*content, payload(position.0 * 2 + queue.0 - 1));
                from = position.next();
            }
            assert_eq!(loaded.reached, from);
        }
    }
    handle.shutdown().unwrap();
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path());
    let (store, _, _events) = start(&options);
    let (sender, _receiver) = channel();
    let sink = Arc::new(Sink(Mutex::new(sender)));
    let second = open::<Bytes>(options.clone(), Arc::new(RealDisk), sink);
    assert!(matches!(second.err(), Some(StoreError::Locked { .. })));
    drop(store);
    start(&options);
}

#[test]
fn acks_reach_the_disk_soon_without_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, events) = start(&Options::new(dir.path()));
    let handle = store.handle();
    let settled = Record::Settled {
        queue: QueueId(1),
        from: Position(0),
        until: Position(9),
    };
    submit(&handle, 1, false, vec![settled]);
    wait_for(&events, 1);
    let deadline = Instant::now() + Duration::from_secs(60);
    while handle.statistics().syncs == 0 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(handle.pending_bytes(), 0);
    handle.shutdown().unwrap();
}

#[test]
fn a_closed_store_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _events) = start(&Options::new(dir.path()));
    let handle = store.handle();
    store.handle().shutdown().unwrap();
    let batch = Batch {
        shard: ShardId(0),
        ticket: 1,
        sync: true,
        records: Vec::new(),
    };
    assert!(matches!(handle.submit(batch), Err(StoreError::Closed)));
    assert_eq!(handle.pending_bytes(), 0);
}

#[test]
fn an_empty_directory_opens_fast_and_small() {
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let (store, _, _events) = start(&Options::new(dir.path()));
    let elapsed = started.elapsed();
    let bytes: u64 = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 4096, "{bytes} bytes before the first message");
    eprintln!("empty directory opened in {elapsed:?}");
    drop(store);
}
