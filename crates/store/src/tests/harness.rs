//! The store's machines on a simulated disk, without threads, beside a model of what must be true.

use crate::mover::Mover;
use crate::reader::Reader;
use crate::recovery::{Opened, recover};
use crate::shared::Shared;
use crate::testing::{Random, SimDisk};
use crate::wal::{Step, Wal};
use crate::{
    Batch, Event, EventSink, LoadRequest, Loaded, MetadataIndex, Options, Payload, Record,
    Recovered, StoreError,
};
use base::{Position, QueueId, ShardId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Keeps events for the test.
#[derive(Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<Event>>);

impl EventSink for Events {
    fn event(&self, event: Event) {
        self.0.lock().push(event);
    }
}

/// A payload, a part of which may be shared.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) head: Bytes,
    /// What others may end with, too.
    pub(crate) tail: Option<Bytes>,
}

impl Content {
    /// What is read back.
    pub(crate) fn whole(&self) -> Bytes {
        let tail = self.tail.as_deref().unwrap_or_default();
        [&self.head, tail].concat().into()
    }
}

impl From<Bytes> for Content {
    fn from(head: Bytes) -> Self {
        Self { head, tail: None }
    }
}

impl Payload for Content {
    fn len(&self) -> usize {
        self.head.len() + self.tail.as_ref().map_or(0, Bytes::len)
    }

    fn head_len(&self) -> usize {
        self.head.len()
    }

    fn tail_id(&self) -> Option<usize> {
        self.tail.as_ref().map(|tail| tail.as_ptr().addr())
    }

    fn write_head_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
    }

    fn write_tail_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.tail.as_deref().unwrap_or_default());
    }
}

/// A store without threads.
pub(crate) struct Machine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wal: Wal<Content>,
    pub(crate) mover: Mover,
    pub(crate) reader: Reader,
    pub(crate) events: Arc<Events>,
    _lock: Box<dyn std::any::Any + Send + Sync>,
}

/// Small files, so that everything that can happen happens soon.
pub(crate) fn small() -> Options {
    Options {
        wal_file_bytes: 8 << 10,
        wal_files_max: 4,
        wal_files_kept: 1,
        segment_bytes_max: 4 << 10,
        kept_live_percent_min: 30,
        kept_piece_bytes_min: 256,
        garbage_bytes_min: 4 << 10,
        metadata_log_bytes_max: 300,
        ..Options::new("/data")
    }
}

impl Machine {
    pub(crate) fn open(disk: &SimDisk, options: Options) -> Result<(Self, Recovered), StoreError> {
        let events = Arc::new(Events::default());
        let sink: Arc<dyn EventSink> = Arc::clone(&events) as _;
        let (opened, recovered) = recover(options, Arc::new(disk.clone()), sink)?;
        let Opened {
            shared,
            next_epoch,
            has_reserve,
            lock,
        } = opened;
        let machine = Self {
            wal: Wal::new(Arc::clone(&shared), next_epoch, recovered.metadata_index),
            mover: Mover::new(Arc::clone(&shared), has_reserve),
            reader: Reader::new(Arc::clone(&shared)),
            shared,
            events,
            _lock: lock,
        };
        Ok((machine, recovered))
    }

    /// Writes all that waits, letting the mover work when the log needs it.
    pub(crate) fn write(&mut self) -> Result<(), StoreError> {
        loop {
            match self.wal.step()? {
                Step::Wrote => {}
                Step::MoverLags => {
                    self.mover.step()?;
                }
                Step::Idle | Step::DiskFull => return Ok(()),
            }
        }
    }

    /// Lets the mover do all it has to do.
    pub(crate) fn settle_down(&mut self) -> Result<(), StoreError> {
        while self.mover.step()? {}
        Ok(())
    }

    /// Log files that are kept at the moment.
    pub(crate) fn kept_logs(&self) -> u64 {
        self.shared.index.lock().kept_logs().count() as u64
    }

    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.0.lock())
    }

    /// Everything live of a queue, in loads of `bytes_max`.
    pub(crate) fn load_all(&mut self, queue: QueueId, bytes_max: usize) -> Vec<Loaded> {
        let mut from = Position(0);
        let until = Position(1 << 40);
        let mut loads = Vec::new();
        while from < until {
            let request = LoadRequest {
                shard: ShardId(0),
                token: 1,
                queue,
                from,
                until,
                bytes_max,
            };
            let loaded = self.reader.load(&request);
            assert!(loaded.reached > from, "a load makes progress");
            from = loaded.reached;
            loads.push(loaded);
        }
        loads
    }

    pub(crate) fn messages(&mut self, queue: QueueId) -> BTreeMap<u64, Bytes> {
        let loads = self.load_all(queue, 600);
        let mut messages = BTreeMap::new();
        let mut last = None;
        for load in loads {
            assert_eq!(load.damaged, []);
            for (position, payload) in load.messages {
                assert!(last.is_none_or(|last| last < position), "order is kept");
                last = Some(position);
                messages.insert(position.0, payload);
            }
        }
        messages
    }
}

/// One message of the model.
#[derive(Clone, Debug)]
struct Expected {
    payload: Bytes,
    transient: bool,
    ticket: u64,
    durable: bool,
    settle_submitted: bool,
    settle_durable: bool,
}

#[derive(Default)]
struct Pending {
    messages: Vec<(QueueId, u64)>,
    settled: Vec<(QueueId, u64)>,
    dropped: Vec<QueueId>,
    delivered: Vec<(QueueId, u64)>,
    metadata_last: u64,
}

/// What was submitted, what was promised, and what may therefore be found after a crash.
#[derive(Default)]
pub(crate) struct Model {
    messages: BTreeMap<(QueueId, u64), Expected>,
    pending: BTreeMap<u64, Pending>,
    next: BTreeMap<QueueId, u64>,
    /// Queues whose deletion was submitted; true when it is durable.
    dropped: BTreeMap<QueueId, bool>,
    delivered: BTreeMap<QueueId, (u64, u64)>,
    metadata: Vec<Bytes>,
    metadata_durable: u64,
    ticket: u64,
    live_queues: Vec<QueueId>,
    next_queue: u64,
    /// What messages of one script may share; no two of them are the same memory.
    tails: Vec<Bytes>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            live_queues: (1..=3).map(QueueId).collect(),
            next_queue: 4,
            ..Self::default()
        }
    }

    /// A random batch, noted as submitted.
    pub(crate) fn batch(&mut self, random: &mut Random) -> Batch<Content> {
        self.ticket += 1;
        let ticket = self.ticket;
        let mut pending = Pending::default();
        let mut records = Vec::new();
        for _ in 0..=random.below(4) {
            let at = random.below(self.live_queues.len() as u64) as usize;
            let queue = self.live_queues[at];
            match random.below(20) {
                0..=10 => records.push(self.message(queue, random, &mut pending)),
                11..=15 => records.extend(self.settle(queue, random, &mut pending)),
                16 => {
                    let until = self.next.get(&queue).copied().unwrap_or(0);
                    pending.delivered.push((queue, until));
                    let delivered = self.delivered.entry(queue).or_default();
                    delivered.1 = delivered.1.max(until);
                    records.push(Record::DeliveredUpTo {
                        queue,
                        until: Position(until),
                    });
                }
                17 if random.one_in(3) => {
                    self.live_queues[at] = QueueId(self.next_queue);
                    self.next_queue += 1;
                    self.dropped.insert(queue, false);
                    pending.dropped.push(queue);
                    records.push(Record::DropQueue { queue });
                }
                _ => {
                    let command = random_bytes(random, 60);
                    self.metadata.push(command.clone());
                    pending.metadata_last = self.metadata.len() as u64;
                    records.push(Record::Metadata(command));
                }
            }
        }
        self.pending.insert(ticket, pending);
        Batch {
            shard: ShardId(0),
            ticket,
            sync: random.one_in(2),
            records,
        }
    }

    fn message(
        &mut self,
        queue: QueueId,
        random: &mut Random,
        pending: &mut Pending,
    ) -> Record<Content> {
        let next = self.next.entry(queue).or_insert(0);
        // Now and then a position is left free, for a message that comes late or never.
        *next += u64::from(random.one_in(8));
        let late =
            *next > 0 && random.one_in(6) && !self.messages.contains_key(&(queue, *next - 1));
        let position = if late { *next - 1 } else { *next };
        *next = (*next).max(position + 1);
        let transient = random.one_in(8);
        let size = if random.one_in(10) { 3000 } else { 200 };
        let payload = self.content(size, random);
        let expected = Expected {
            payload: payload.whole(),
            transient,
            ticket: self.ticket,
            durable: false,
            settle_submitted: false,
            settle_durable: false,
        };
        assert!(
            self.messages.insert((queue, position), expected).is_none(),
            "positions are used once"
        );
        pending.messages.push((queue, position));
        Record::Message {
            queue,
            position: Position(position),
            transient,
            payload,
        }
    }

    /// A payload; of some the tail is that of others.
    fn content(&mut self, size: u64, random: &mut Random) -> Content {
        if !random.one_in(3) {
            return random_bytes(random, size).into();
        }
        if self.tails.is_empty() || random.one_in(6) {
            self.tails.push(random_bytes(random, size + 1));
        }
        let recent = self.tails.len() - random.below(2.min(self.tails.len() as u64)) as usize;
        // Heads that are too long to be kept beside a reference are written with their tails.
        let head_max = if random.one_in(10) { 300 } else { 20 };
        Content {
            head: random_bytes(random, head_max),
            tail: Some(self.tails[recent - 1].clone()).filter(|tail| !tail.is_empty()),
        }
    }

    fn settle(
        &mut self,
        queue: QueueId,
        random: &mut Random,
        pending: &mut Pending,
    ) -> Option<Record<Content>> {
        let next = self.next.get(&queue).copied().filter(|next| *next > 0)?;
        let from = if random.one_in(2) {
            0
        } else {
            random.below(next)
        };
        let until = (from + 1 + random.below(12)).min(next);
        for (key, expected) in self.messages.range_mut((queue, from)..(queue, until)) {
            expected.settle_submitted = true;
            pending.settled.push(*key);
        }
        Some(Record::Settled {
            queue,
            from: Position(from),
            until: Position(until),
        })
    }

    /// Notes what the store has promised.
    pub(crate) fn note(&mut self, events: Vec<Event>) {
        let mut last = 0;
        for event in events {
            match event {
                Event::Durable { ticket, .. } => {
                    assert!(ticket > last, "tickets are answered in order");
                    last = ticket;
                    // Durable is a prefix of the log: earlier unsynced batches are durable with it.
                    let later = self.pending.split_off(&(ticket + 1));
                    let done = std::mem::replace(&mut self.pending, later);
                    done.into_values().for_each(|pending| self.promise(pending));
                }
                Event::Written { ticket, .. } => {
                    assert!(ticket > last, "tickets are answered in order");
                    last = ticket;
                }
                Event::SnapshotWanted
                | Event::DiskFull { .. }
                | Event::DiskOk
                | Event::Failed(_) => {}
                Event::Loaded(_) => {}
            }
        }
    }

    fn promise(&mut self, pending: Pending) {
        for key in pending.messages {
            if let Some(expected) = self.messages.get_mut(&key) {
                expected.durable = true;
            }
        }
        for key in pending.settled {
            if let Some(expected) = self.messages.get_mut(&key) {
                expected.settle_durable = true;
            }
        }
        for queue in pending.dropped {
            self.dropped.insert(queue, true);
        }
        for (queue, until) in pending.delivered {
            let delivered = self.delivered.entry(queue).or_default();
            delivered.0 = delivered.0.max(until);
        }
        self.metadata_durable = self.metadata_durable.max(pending.metadata_last);
    }

    /// A snapshot of the metadata: here, how many commands it contains.
    pub(crate) fn snapshot(&self) -> (Bytes, MetadataIndex) {
        let count = self.metadata.len() as u64;
        (
            Bytes::copy_from_slice(&count.to_le_bytes()),
            MetadataIndex(count),
        )
    }

    /// Checks what was recovered, and takes it for the truth from now on.
    pub(crate) fn check(&mut self, machine: &mut Machine, recovered: &Recovered) {
        assert_eq!(recovered.damage, [], "a crash is no damage");
        self.check_metadata(recovered);
        let mut queues: BTreeSet<QueueId> = recovered.queues.keys().copied().collect();
        queues.extend(self.messages.keys().map(|(queue, _)| *queue));
        let mut found = BTreeMap::new();
        for queue in queues {
            let messages = machine.messages(queue);
            let state = recovered.queues.get(&queue).copied().unwrap_or_default();
            assert_eq!(state.messages, messages.len() as u64);
            if let (Some((first, _)), Some((last, _))) =
                (messages.first_key_value(), messages.last_key_value())
            {
                assert_eq!(state.first.0, *first);
                assert!(state.next.0 > *last);
            }
            if !self.dropped.contains_key(&queue) {
                let (low, high) = self.delivered.get(&queue).copied().unwrap_or_default();
                assert!(
                    (low..=high).contains(&state.delivered_until.0),
                    "delivered_until"
                );
            }
            let next = self.next.entry(queue).or_insert(0);
            assert!(state.next.0 <= *next);
            found.extend(
                messages
                    .into_iter()
                    .map(|(position, payload)| ((queue, position), payload)),
            );
        }
        self.check_messages(&found);
        self.check_batches(&found);
        self.accept(recovered, &found);
    }

    fn check_messages(&self, found: &BTreeMap<(QueueId, u64), Bytes>) {
        for (key, payload) in found {
            if self.dropped.get(&key.0) == Some(&false) {
                // The owner forgot the queue at an earlier start and does so again at each, until its files are gone.
                continue;
            }
            let expected = self
                .messages
                .get(key)
                .unwrap_or_else(|| panic!("{key:?} was never submitted"));
            assert_eq!(*payload, expected.payload, "{key:?} is altered");
            assert!(!expected.transient, "{key:?} was transient");
            assert!(!expected.settle_durable, "{key:?} was settled");
            assert_ne!(
                self.dropped.get(&key.0),
                Some(&true),
                "{key:?} is of a deleted queue"
            );
        }
        for (key, expected) in &self.messages {
            let may_be_gone = expected.transient
                || expected.settle_submitted
                || self.dropped.contains_key(&key.0);
            assert!(
                may_be_gone || !expected.durable || found.contains_key(key),
                "{key:?} is lost"
            );
        }
    }

    /// A batch is there whole or not at all.
    fn check_batches(&self, found: &BTreeMap<(QueueId, u64), Bytes>) {
        let mut seen: BTreeMap<u64, bool> = BTreeMap::new();
        for (key, expected) in &self.messages {
            if expected.transient || expected.settle_submitted || self.dropped.contains_key(&key.0)
            {
                continue;
            }
            let present = found.contains_key(key);
            assert_eq!(
                *seen.entry(expected.ticket).or_insert(present),
                present,
                "{key:?}: a part of its batch"
            );
        }
    }

    fn check_metadata(&self, recovered: &Recovered) {
        let covered = recovered
            .metadata_snapshot
            .as_ref()
            .map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()));
        let last = covered + recovered.metadata_commands.len() as u64;
        assert_eq!(recovered.metadata_index.0, last);
        assert!(
            last >= self.metadata_durable,
            "metadata is lost: {last} of {}",
            self.metadata_durable
        );
        assert_eq!(
            recovered.metadata_commands,
            self.metadata[covered as usize..last as usize]
        );
    }

    fn accept(&mut self, recovered: &Recovered, found: &BTreeMap<(QueueId, u64), Bytes>) {
        self.metadata.truncate(recovered.metadata_index.0 as usize);
        self.metadata_durable = recovered.metadata_index.0;
        self.messages.retain(|key, _| found.contains_key(key));
        for expected in self.messages.values_mut() {
            // Batches are not looked at again: the rest of one may have been settled.
            self.ticket += 1;
            (expected.durable, expected.settle_submitted, expected.ticket) =
                (true, false, self.ticket);
        }
        self.pending.clear();
        for (queue, next) in &mut self.next {
            *next = recovered.queues.get(queue).map_or(0, |state| state.next.0);
        }
        for (queue, delivered) in &mut self.delivered {
            let until = recovered
                .queues
                .get(queue)
                .map_or(0, |state| state.delivered_until.0);
            *delivered = (until, until);
        }
        for queue in self.dropped.keys() {
            self.messages.retain(|(other, _), _| other != queue);
        }
    }

    /// The deletions that are not certain, to be repeated as an owner would do after a crash.
    pub(crate) fn live_queues(&self) -> std::collections::HashSet<QueueId> {
        self.live_queues.iter().copied().collect()
    }
}

pub(crate) fn random_bytes(random: &mut Random, size_max: u64) -> Bytes {
    let size = random.below(size_max) as usize;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&random.number().to_le_bytes());
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}
