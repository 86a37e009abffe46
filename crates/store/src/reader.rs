//! Reads live messages back, from log files and segments.
//!
//! A file may be moved or reused while it is read. That shows as a record that does not verify, so the place is
//! looked up anew; only what fails twice at the same place is damage.

use crate::Loaded;
use crate::disk::DiskFile;
use crate::format::{self, FileSeed, RECORD_HEADER_BYTES, Reference};
use crate::index::{Run, WalEntry};
use crate::segment::{Near, RunSource, TailSource, read_run};
use crate::shared::{Counters, Shared};
use crate::store::LoadRequest;
use base::{Position, QueueId};
use bytes::Bytes;
use hashbrown::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Runs that one load looks at; what is behind them is left to the next load.
const RUNS_MAX: usize = 8;
/// Log entries that one load looks at.
const ENTRIES_MAX: usize = 64 << 10;
/// Open segments and kept log files.
const OPEN_FILES_MAX: usize = 16;
/// Runs whose last place of reading is remembered.
const CURSORS_MAX: usize = 4096;
/// Lookups of one load. Each but the first means that the mover has just moved something.
const ATTEMPTS_MAX: usize = 8;

/// Answers [`LoadRequest`]s.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// Most recently used last.
    open: Vec<(u64, Arc<dyn DiskFile>)>,
    /// Where reading of a run stopped: by segment and offset, a position and the offset of a record at or before it.
    cursors: HashMap<(u64, u32), (u64, u32)>,
}

/// Where the messages of a load are, at one moment.
struct Plan {
    entries: Vec<WalEntry>,
    files: HashMap<u32, (Arc<dyn DiskFile>, FileSeed)>,
    runs: Vec<(Run, DataFile)>,
    lost: Vec<u64>,
    until: u64,
}

/// A segment or kept log file.
struct DataFile {
    name: String,
    seed: FileSeed,
}

/// A place that could not be read: which file (epoch, or segment), and which positions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bad {
    place: (bool, u64),
    positions: Range<u64>,
}

#[derive(Default)]
struct Found {
    messages: Vec<(u64, Bytes)>,
    bad: Vec<Bad>,
    reached: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: Vec::new(),
            cursors: HashMap::new(),
        }
    }

    /// Reads what is asked for.
    pub(crate) fn load(&mut self, request: &LoadRequest) -> Loaded {
        let mut attempts = 0;
        let mut before: Option<Vec<Bad>> = None;
        loop {
            attempts += 1;
            let plan = self.plan(request);
            let found = self.read(request, &plan);
            let same = before.as_ref() == Some(&found.bad);
            if found.bad.is_empty() || same || attempts == ATTEMPTS_MAX {
                let messages = found.messages.len() as u64;
                Counters::add(&self.shared.counters.messages_read, messages);
                return answer(request, found, &plan.lost);
            }
            self.open.clear();
            self.cursors.clear();
            before = Some(found.bad);
        }
    }

    fn plan(&self, request: &LoadRequest) -> Plan {
        let mut range = request.from.0..request.until.0;
        let index = self.shared.index.lock();
        let mut plan = Plan {
            entries: Vec::new(),
            files: HashMap::new(),
            runs: Vec::new(),
            lost: Vec::new(),
            until: range.end,
        };
        let Some(state) = index
            .queues
            .get(&request.queue)
            .filter(|_| !range.is_empty())
        else {
            return plan;
        };
        let mut first_live = u64::MAX;
        for run in state.runs.iter().take_while(|run| run.first < range.end) {
            let Some(first) = run.first_in(&range) else {
                continue;
            };
            // Runs are sorted by their first record: this one and all behind it have nothing before `run.first`.
            if plan.runs.len() >= RUNS_MAX && first_live < run.first {
                plan.until = run.first;
                break;
            }
            first_live = first_live.min(first);
            let segment = &index.segments[&run.segment];
            let file = DataFile {
                name: segment.name(run.segment),
                seed: segment.seed(self.shared.identity, run.segment),
            };
            plan.runs.push((run.clone(), file));
        }
        range.end = plan.until;
        let mut bytes = 0;
        for entry in state.wal.range(range.clone()) {
            if (bytes > request.bytes_max || plan.entries.len() == ENTRIES_MAX)
                && !plan.entries.is_empty()
            {
                plan.until = plan.until.min(entry.position);
                break;
            }
            bytes += entry.length as usize;
            plan.entries.push(entry);
            if let Some(file) = index.wal_files.get(&entry.epoch) {
                plan.files
                    .entry(entry.epoch)
                    .or_insert_with(|| (Arc::clone(&file.file), file.seed));
            }
        }
        plan.lost.extend(state.lost.range(range));
        plan
    }

    fn read(&mut self, request: &LoadRequest, plan: &Plan) -> Found {
        let mut found = Found {
            reached: plan.until,
            ..Found::default()
        };
        for (run, file) in &plan.runs {
            self.read_segment(request, run, file, &mut found);
        }
        self.read_log(request, plan, &mut found);
        let reached = found.reached;
        found.messages.retain(|(position, _)| *position < reached);
        found.messages.sort_by_key(|(position, _)| *position);
        found.bad.retain_mut(|bad| {
            bad.positions.end = bad.positions.end.min(reached);
            !bad.positions.is_empty()
        });
        found
    }

    fn read_segment(
        &mut self,
        request: &LoadRequest,
        run: &Run,
        file: &DataFile,
        found: &mut Found,
    ) {
        let range = request.from.0..found.reached;
        let Some(next) = run.first_in(&range) else {
            return;
        };
        let key = (run.segment, run.offset);
        let start = self
            .cursors
            .get(&key)
            .filter(|(position, _)| *position <= next)
            .map_or(run.offset, |at| at.1)
            .max(run.seek(next));
        let content = self.open_file(run.segment, &file.name).and_then(|open| {
            let source = RunSource {
                file: &open,
                seed: file.seed,
                queue: request.queue,
                run,
            };
            read_run(&source, range.clone(), request.bytes_max, start)
        });
        let place = (true, run.segment);
        match content {
            Ok(content) => {
                found.reached = found.reached.min(content.reached);
                found.bad.extend(
                    content
                        .damaged
                        .into_iter()
                        .map(|positions| Bad { place, positions }),
                );
                found.messages.extend(content.messages);
                if self.cursors.len() >= CURSORS_MAX {
                    self.cursors.clear();
                }
                self.cursors.insert(key, (content.reached, content.cursor));
            }
            Err(_) => found.bad.push(Bad {
                place,
                positions: next..range.end.min(run.last + 1),
            }),
        }
    }

    fn read_log(&self, request: &LoadRequest, plan: &Plan, found: &mut Found) {
        let last_in_runs = found.messages.iter().map(|(position, _)| *position).max();
        let run_bytes: usize = found
            .messages
            .iter()
            .map(|(_, payload)| payload.len())
            .sum();
        let mut sources: HashMap<u32, WalSource<'_>> = HashMap::new();
        let mut bytes = 0;
        for (count, entry) in plan
            .entries
            .iter()
            .take_while(|entry| entry.position < found.reached)
            .enumerate()
        {
            // What lies between the messages of runs has a budget of its own, or they could not be used.
            let behind_runs = last_in_runs.is_none_or(|last| entry.position > last);
            let spent = if behind_runs {
                bytes + run_bytes
            } else {
                bytes
            };
            if spent >= request.bytes_max && (count > 0 || (behind_runs && run_bytes > 0)) {
                found.reached = entry.position;
                break;
            }
            let payload = match plan.files.get(&entry.epoch) {
                Some((file, seed)) => {
                    let new = || WalSource::new(file, *seed);
                    let source = sources.entry(entry.epoch).or_insert_with(new);
                    source
                        .read(request.queue, entry)
                        .ok()
                        .flatten()
                        .map(Bytes::copy_from_slice)
                }
                None => None,
            };
            match payload {
                Some(payload) => {
                    bytes += payload.len();
                    found.messages.push((entry.position, payload));
                }
                None => found.bad.push(Bad {
                    place: (false, u64::from(entry.epoch)),
                    positions: entry.position..entry.position + 1,
                }),
            }
        }
    }

    fn open_file(&mut self, id: u64, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(at) = self.open.iter().position(|(open, _)| *open == id) {
            let entry = self.open.remove(at);
            let file = Arc::clone(&entry.1);
            self.open.push(entry);
            return Ok(file);
        }
        let file = self.shared.disk.open(&self.shared.path(name))?;
        if self.open.len() >= OPEN_FILES_MAX {
            self.open.remove(0);
        }
        self.open.push((id, Arc::clone(&file)));
        Ok(file)
    }
}

fn answer(request: &LoadRequest, found: Found, lost: &[u64]) -> Loaded {
    let mut damaged: Vec<Range<u64>> = found.bad.into_iter().map(|bad| bad.positions).collect();
    damaged.extend(
        lost.iter()
            .filter(|position| **position < found.reached)
            .map(|position| *position..position + 1),
    );
    damaged.sort_unstable_by_key(|range| (range.start, range.end));
    Loaded {
        shard: request.shard,
        queue: request.queue,
        token: request.token,
        messages: found
            .messages
            .into_iter()
            .map(|(position, payload)| (Position(position), payload))
            .collect(),
        from: request.from,
        reached: Position(found.reached.max(request.from.0)),
        damaged: damaged
            .into_iter()
            .map(|range| Position(range.start)..Position(range.end))
            .collect(),
    }
}

/// Reads messages of one log file.
pub(crate) struct WalSource<'a> {
    records: Near<'a>,
    tails: TailSource<'a>,
    seed: FileSeed,
    /// A message that was put together from head and tail.
    whole: Vec<u8>,
}

impl<'a> WalSource<'a> {
    pub(crate) fn new(file: &'a Arc<dyn DiskFile>, seed: FileSeed) -> Self {
        Self {
            records: Near::new(file),
            tails: TailSource::new(file, seed),
            seed,
            whole: Vec::new(),
        }
    }

    /// The payload of a message. `None` if it is damaged.
    pub(crate) fn read(&mut self, queue: QueueId, entry: &WalEntry) -> io::Result<Option<&[u8]>> {
        let offset = u64::from(entry.offset);
        let size = RECORD_HEADER_BYTES + entry.own_bytes() as usize;
        let record = format::parse_record(self.records.read(offset, size)?, self.seed, offset);
        let Some((header, payload)) = record
            .filter(|(header, _)| header.queue == queue.0 && header.position == entry.position)
        else {
            return Ok(None);
        };
        let Some((reference, head)) = Reference::of(&header, payload) else {
            return Ok(Some(payload));
        };
        self.whole.clear();
        self.whole.extend_from_slice(head);
        Ok(self.tails.read(reference)?.map(|tail| {
            self.whole.extend_from_slice(tail);
            &self.whole[..]
        }))
    }
}
