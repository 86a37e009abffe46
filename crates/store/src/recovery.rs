//! Opens a data directory: reads what is small, replays the log, and names what is damaged.
//!
//! Segments and kept log files are not read: the checkpoint says what is live in them. The other log files are read
//! whole, oldest first.
//!
//! A group that does not verify is the *torn tail* of the log if it is in the newest file and nothing behind it
//! proves that it was durable; it is cut off. Otherwise it is *damage*: what verifies in it and behind it is
//! kept, the rest is named. A cut can happen only in the newest file, because a file is sealed and synced
//! before the next is begun. The newest file is sealed here and never continued, so that bytes behind the cut
//! can never be read as part of what is written later.

use crate::atomic_file::{AtomicFile, Content, TEMPORARY_SUFFIX};
use crate::checkpoint::u64_of;
use crate::disk::{Disk, DiskFile};
use crate::error::IoContext;
use crate::format::{self, Encoder, FileSeed, Header, Kind, Parsed, WalHeader};
use crate::index::{Change, FreeFile, Index, Segment, WalEntry, WalFile};
use crate::kept::KeptLog;
use crate::mover::Mover;
use crate::segment::{SEGMENT_PREFIX, read_footer, segment_id, segment_name};
use crate::shared::{Shared, random};
use crate::wal::WAL_PREFIX;
use crate::{Damage, EventSink, MetadataIndex, Options, Recovered, StoreError};
use base::{Position, QueueId};
use bytes::Bytes;
use hashbrown::HashSet;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

const LOCK_NAME: &str = "lock";

/// A store without its threads.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    /// For the first file that is written.
    pub(crate) next_epoch: u32,
    pub(crate) has_reserve: bool,
    /// Keeps other processes out while it lives.
    pub(crate) lock: Box<dyn Any + Send + Sync>,
}

/// Opens the directory of `options` and recovers its content.
pub(crate) fn recover(
    options: Options,
    disk: Arc<dyn Disk>,
    events: Arc<dyn EventSink>,
) -> Result<(Opened, Recovered), StoreError> {
    let dir = options.dir.clone();
    disk.create_dir(&dir)
        .context("create data directory", &dir)?;
    let lock = match disk.lock(&dir.join(LOCK_NAME)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            return Err(StoreError::Locked { path: dir });
        }
        Err(error) => return Err(error).context("lock data directory", &dir),
    };
    let names = disk.list(&dir).context("list data directory", &dir)?;
    let identity = identity_of(&*disk, &options, &names)?;
    let names = disk.list(&dir).context("list data directory", &dir)?;
    let shared = Shared::new(options, disk, events, identity);
    let mut recovery = Recovery {
        shared: &shared,
        recovered: Recovered::default(),
        trusts_checkpoint: true,
    };
    let next_epoch = recovery.run(&names)?;
    let recovered = recovery.finish();
    let has_reserve = names.iter().any(|name| Mover::is_reserve(name));
    Ok((
        Opened {
            shared: Arc::new(shared),
            next_epoch,
            has_reserve,
            lock,
        },
        recovered,
    ))
}

/// Reads the identity of a directory, or makes one for a directory that holds nothing.
fn identity_of(disk: &dyn Disk, options: &Options, names: &[String]) -> Result<u64, StoreError> {
    let unreadable = |found: &str| StoreError::Format {
        path: options.dir.join(AtomicFile::Format.name()),
        found: found.to_owned(),
        supported: u32::from(format::FORMAT_VERSION),
    };
    match AtomicFile::Format.read(disk, &options.dir)? {
        Content::Whole { version, payload } => {
            let identity = u64_of(&mut &payload[..]).ok_or_else(|| unreadable("unreadable"))?;
            if version < format::FORMAT_VERSION {
                // From now on there may be in it what a program of that version would take for damage.
                AtomicFile::Format.write(disk, &options.dir, &payload)?;
            }
            Ok(identity)
        }
        Content::Damaged => Err(unreadable("unreadable")),
        // The identity seeds all checksums: without it the files cannot be told from garbage, and must not be lost.
        Content::Missing if names.iter().any(|name| holds_messages(name)) => {
            Err(unreadable("missing"))
        }
        Content::Missing => {
            let identity = random();
            // The format file comes last: where it is, a checkpoint must be.
            AtomicFile::Checkpoint.write(
                disk,
                &options.dir,
                &Index::default().encode_checkpoint(0),
            )?;
            AtomicFile::Format.write(disk, &options.dir, &identity.to_le_bytes())?;
            Ok(identity)
        }
    }
}

fn holds_messages(name: &str) -> bool {
    name.starts_with(WAL_PREFIX) || name.starts_with(SEGMENT_PREFIX)
}

struct Recovery<'a> {
    shared: &'a Shared,
    recovered: Recovered,
    /// Without a checkpoint, messages may be found twice: in a segment and in a log file that was emptied into it.
    trusts_checkpoint: bool,
}

/// A log file that recycling has not freed.
struct FoundFile {
    name: String,
    file: Arc<dyn DiskFile>,
    epoch: u32,
    header: WalHeader,
    size: u64,
}

impl FoundFile {
    fn seed(&self, identity: u64) -> FileSeed {
        FileSeed::wal(identity, self.header.epoch, self.header.salt)
    }
}

impl Recovery<'_> {
    /// Returns the epoch for the first file that is written.
    fn run(&mut self, names: &[String]) -> Result<u32, StoreError> {
        for name in names.iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX)) {
            let path = self.shared.path(name);
            self.shared
                .disk
                .unlink(&path)
                .context("remove unfinished file", &path)?;
        }
        let mut index = self.read_checkpoint()?;
        let segments: Vec<u64> = names.iter().filter_map(|name| segment_id(name)).collect();
        if self.trusts_checkpoint {
            self.check_segments(&mut index, &segments)?;
        } else {
            self.read_footers(&mut index, &segments)?;
        }
        index.next_segment = segments
            .iter()
            .fold(index.next_segment, |next, id| next.max(id + 1));
        self.read_metadata(&mut index)?;
        let next_epoch = self.read_log(&mut index, names)?;
        self.describe(&index);
        *self.shared.index.lock() = index;
        Ok(next_epoch)
    }

    fn finish(mut self) -> Recovered {
        self.recovered.damage.dedup();
        self.recovered
    }

    fn describe(&mut self, index: &Index) {
        let metadata = &index.metadata;
        self.recovered.metadata_index = MetadataIndex(metadata.last());
        self.recovered.metadata_commands = metadata
            .commands
            .iter()
            .map(|(_, command)| command.clone())
            .collect();
        let mut expected = metadata.covered + 1;
        for (number, _) in &metadata.commands {
            if *number > expected {
                let file = AtomicFile::MetadataLog.name().to_owned();
                self.recovered.damage.push(Damage::Metadata {
                    commands: expected..*number,
                    file,
                });
            }
            expected = number + 1;
        }
        self.recovered.queues = index
            .queues
            .iter()
            .map(|(id, queue)| (*id, queue.recovered()))
            .collect();
    }

    fn read_checkpoint(&mut self) -> Result<Index, StoreError> {
        let content = AtomicFile::Checkpoint.read(&*self.shared.disk, &self.shared.options.dir)?;
        if let Content::Whole { version, payload } = content
            && let Some(index) = Index::decode_checkpoint(version, &payload)
        {
            return Ok(index);
        }
        self.trusts_checkpoint = false;
        self.recovered.damage.push(Damage::Checkpoint {
            file: AtomicFile::Checkpoint.name().to_owned(),
        });
        Ok(Index::default())
    }

    /// Removes segments that the checkpoint does not need, and names what is missing of the others.
    fn check_segments(&mut self, index: &mut Index, found: &[u64]) -> Result<(), StoreError> {
        index.segments.retain(|_, segment| segment.runs > 0);
        let is_needed = |id| {
            index
                .segments
                .get(id)
                .is_some_and(|segment| segment.kept.is_none())
        };
        for id in found.iter().filter(|id| !is_needed(*id)) {
            let path = self.shared.path(&segment_name(*id));
            self.shared
                .disk
                .unlink(&path)
                .context("remove segment file", &path)?;
        }
        for (id, segment) in &index.segments {
            let path = self.shared.path(&segment.name(*id));
            let size = match self.shared.disk.open(&path) {
                Ok(file) => file.len().context("read segment file", &path)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error).context("open segment file", &path),
            };
            if size >= segment.file_bytes {
                continue;
            }
            for queue in &segment.queues {
                let runs = index.queues[queue].runs.iter();
                for run in runs.filter(|run| run.segment == *id && u64::from(run.end) > size) {
                    let positions = Position(run.first)..Position(run.last + 1);
                    let file = segment.name(*id);
                    self.recovered.damage.push(Damage::Messages {
                        queue: *queue,
                        positions,
                        file,
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes all messages of all segments for live, when there is no checkpoint to say which are.
    fn read_footers(&mut self, index: &mut Index, found: &[u64]) -> Result<(), StoreError> {
        for id in found {
            let path = self.shared.path(&segment_name(*id));
            let file = self
                .shared
                .disk
                .open(&path)
                .context("open segment file", &path)?;
            let file_bytes = file.len().context("read segment file", &path)?;
            let Some(runs) = read_footer(&*file, *id).context("read segment file", &path)? else {
                self.recovered.damage.push(Damage::Bytes {
                    file: segment_name(*id),
                    range: 0..file_bytes,
                });
                continue;
            };
            let mut queues: Vec<_> = runs.iter().map(|(queue, _)| *queue).collect();
            queues.dedup();
            let record_bytes = runs
                .iter()
                .map(|(_, run)| u64::from(run.end - run.offset))
                .sum();
            index.segments.insert(
                *id,
                Segment {
                    file_bytes,
                    record_bytes,
                    queues,
                    ..Segment::default()
                },
            );
            for (queue, run) in runs.into_iter().filter(|(_, run)| !run.transient) {
                let state = index.queues.entry(queue).or_default();
                state.next = state.next.max(run.last + 1);
                index.add_run(queue, run);
            }
            index.bury_empty(&[*id]);
        }
        Ok(())
    }

    fn read_metadata(&mut self, index: &mut Index) -> Result<(), StoreError> {
        let (disk, dir) = (&*self.shared.disk, &self.shared.options.dir);
        let mut snapshot_lost = false;
        match AtomicFile::MetadataSnapshot.read(disk, dir)? {
            Content::Missing => {}
            Content::Damaged => snapshot_lost = true,
            Content::Whole { payload, .. } => {
                let payload = Bytes::from(payload);
                match u64_of(&mut &payload[..]) {
                    Some(covered) => {
                        index.metadata.covered = covered;
                        self.recovered.metadata_snapshot = Some(payload.slice(8..));
                    }
                    None => snapshot_lost = true,
                }
            }
        }
        if snapshot_lost {
            let file = AtomicFile::MetadataSnapshot.name().to_owned();
            self.recovered.damage.push(Damage::Metadata {
                commands: 1..u64::MAX,
                file,
            });
        }
        index.metadata.snapshot_at = self.shared.options.metadata_log_bytes_max;
        let log_whole = match AtomicFile::MetadataLog.read(disk, dir)? {
            Content::Missing => true,
            Content::Damaged => false,
            Content::Whole { payload, .. } => read_commands(index, Bytes::from(payload)).is_some(),
        };
        if !log_whole {
            let file = AtomicFile::MetadataLog.name().to_owned();
            self.recovered.damage.push(Damage::Metadata {
                commands: index.metadata.covered + 1..u64::MAX,
                file,
            });
        }
        Ok(())
    }

    /// Replays the log files and seals the newest.
    fn read_log(&mut self, index: &mut Index, names: &[String]) -> Result<u32, StoreError> {
        let mut files = Vec::new();
        let mut newest = index.retired_epoch;
        let kept: HashSet<String> = index.kept_logs().map(KeptLog::name).collect();
        for name in names
            .iter()
            .filter(|name| name.starts_with(WAL_PREFIX) && !name.ends_with(TEMPORARY_SUFFIX))
            .filter(|name| !kept.contains(*name))
        {
            let path = self.shared.path(name);
            let file = self
                .shared
                .disk
                .open(&path)
                .context("open log file", &path)?;
            let size = file.len().context("read log file", &path)?;
            let found = self.header_of(name, &*file)?;
            newest = newest.max(found.map_or(0, |(epoch, _)| epoch));
            match found {
                Some((epoch, header)) if epoch > index.retired_epoch => {
                    files.push(FoundFile {
                        name: name.clone(),
                        file,
                        epoch,
                        header,
                        size,
                    });
                }
                _ => index.free_files.push(FreeFile {
                    name: name.clone(),
                    file,
                    capacity: size,
                }),
            }
        }
        files.sort_unstable_by_key(|file| file.epoch);
        self.recovered.clean = self.recovered.damage.is_empty();
        let mut bytes = Vec::new();
        let count = files.len();
        for (number, found) in files.into_iter().enumerate() {
            let path = self.shared.path(&found.name);
            bytes.resize(usize::try_from(found.size).unwrap_or(0), 0);
            let filled = found
                .file
                .read_at(&mut bytes, 0)
                .context("read log file", &path)?;
            let mut capacity = found.size;
            let state = WalFile {
                seed: found.seed(self.shared.identity),
                salt: found.header.salt,
                name: found.name.clone(),
                file: Arc::clone(&found.file),
                capacity,
                queues: HashSet::new(),
                metadata_last: 0,
                has_tails: false,
                sealed: true,
            };
            index.wal_files.insert(found.epoch, state);
            let is_newest = number + 1 == count;
            let mut replay = Replay {
                file: &found.name,
                seed: found.seed(self.shared.identity),
                epoch: found.epoch,
                bytes: &bytes[..filled],
                is_newest,
                checks_duplicates: !self.trusts_checkpoint,
                damage: &mut self.recovered.damage,
                lsn: found.header.first_lsn.saturating_sub(1),
            };
            match replay.run(index) {
                End::Sealed { clean } => self.recovered.clean &= clean || !is_newest,
                End::Torn { at } => {
                    self.recovered.clean = false;
                    capacity = self.seal(&found, at)?;
                }
                End::Unsealed => self.recovered.clean = false,
            }
            if let Some(state) = index.wal_files.get_mut(&found.epoch) {
                state.capacity = capacity;
            }
        }
        Ok(newest + 1)
    }

    /// Epoch and header of a log file; `None` if nothing was ever written to it.
    fn header_of(
        &mut self,
        name: &str,
        file: &dyn DiskFile,
    ) -> Result<Option<(u32, WalHeader)>, StoreError> {
        let path = self.shared.path(name);
        let mut bytes = [0; format::WAL_DATA_OFFSET];
        let filled = file
            .read_at(&mut bytes, 0)
            .context("read log file", &path)?;
        let header = format::parse_wal_header(&bytes[..filled], self.shared.identity);
        if header.is_none() && format::has_wal_header(&bytes[..filled]) {
            let range = 0..file.len().context("read log file", &path)?;
            self.recovered.damage.push(Damage::Bytes {
                file: name.to_owned(),
                range,
            });
        }
        Ok(header.and_then(|header| Some((u32::try_from(header.epoch).ok()?, header))))
    }

    /// Cuts the newest file at `at` and marks its end, so that a later start does not take the cut for damage.
    fn seal(&self, found: &FoundFile, at: u64) -> Result<u64, StoreError> {
        let path = self.shared.path(&found.name);
        found
            .file
            .truncate(at)
            .context("truncate log file", &path)?;
        let mut seal = Vec::new();
        let seed = found.seed(self.shared.identity);
        Encoder {
            out: &mut seal,
            base: at,
            seed,
        }
        .record(Kind::Seal, 0, (0, 0), |_| ());
        found
            .file
            .write_at(&seal, at)
            .context("write log file", &path)?;
        found.file.datasync().context("sync log file", &path)?;
        Ok(at + seal.len() as u64)
    }
}

fn read_commands(index: &mut Index, payload: Bytes) -> Option<()> {
    let mut input = &payload[..];
    while !input.is_empty() {
        let number = u64_of(&mut input)?;
        let length = usize::try_from(u64_of(&mut input)?).ok()?;
        let start = payload.len() - input.len();
        input = input.get(length..)?;
        // Commands that the snapshot contains are skipped by `push`.
        index
            .metadata
            .push(number, payload.slice(start..start + length));
    }
    Some(())
}

/// How a log file ended.
enum End {
    Sealed {
        clean: bool,
    },
    /// In the newest file: nothing durable is at or behind this offset.
    Torn {
        at: u64,
    },
    /// The seal of an older file is damaged, which has been noted.
    Unsealed,
}

/// Replays one log file.
struct Replay<'a> {
    file: &'a str,
    seed: FileSeed,
    epoch: u32,
    bytes: &'a [u8],
    is_newest: bool,
    checks_duplicates: bool,
    damage: &'a mut Vec<Damage>,
    /// Of the last group that was whole, or that damage was found in.
    lsn: u64,
}

impl<'a> Replay<'a> {
    fn run(&mut self, index: &mut Index) -> End {
        let mut offset = format::WAL_DATA_OFFSET;
        loop {
            if let Some((Parsed::Seal { clean }, _)) = self.record(offset) {
                return End::Sealed { clean };
            }
            if let Some((lsn, end)) = self.whole_group(offset, index) {
                self.lsn = lsn;
                offset = end;
                continue;
            }
            let Some((resume, is_damage)) = self.look_behind(offset) else {
                if self.is_newest {
                    return End::Torn { at: offset as u64 };
                }
                self.salvage(offset..self.bytes.len(), index);
                return End::Unsealed;
            };
            if !is_damage {
                return End::Torn { at: offset as u64 };
            }
            self.salvage(offset..resume, index);
            offset = resume;
        }
    }

    /// The record at `offset` if it verifies, and where the next one starts.
    fn record(&self, offset: usize) -> Option<(Parsed<'a>, usize)> {
        let (header, payload) =
            format::parse_record(self.bytes.get(offset..)?, self.seed, offset as u64)?;
        Some((
            Parsed::new(&header, payload)?,
            offset + header.record_bytes(),
        ))
    }

    /// Applies the group at `offset` if all of it verifies; returns its lsn and end.
    fn whole_group(&self, offset: usize, index: &mut Index) -> Option<(u64, usize)> {
        let (Parsed::Group { lsn, bytes, .. }, start) = self.record(offset)? else {
            return None;
        };
        let end = start
            .checked_add(bytes)
            .filter(|end| *end <= self.bytes.len())?;
        let mut changes = Vec::new();
        let mut at = start;
        while at < end {
            let (parsed, next) = self.record(at)?;
            self.push_changes(index, at, &parsed, &mut changes);
            at = next;
        }
        if at != end {
            return None;
        }
        index.apply(self.epoch, changes);
        Some((lsn, end))
    }

    fn push_changes(
        &self,
        index: &Index,
        at: usize,
        parsed: &Parsed<'_>,
        changes: &mut Vec<Change>,
    ) {
        let change = match *parsed {
            Parsed::Message {
                queue,
                position,
                transient,
                length,
                reference,
            } => {
                if self.checks_duplicates && index.contains(queue, position.0) {
                    return;
                }
                let (position, offset) = (position.0, at as u32);
                let entry = WalEntry {
                    position,
                    epoch: self.epoch,
                    offset,
                    length,
                    transient,
                    reference,
                };
                changes.push(Change::Message { queue, entry });
                if !transient {
                    return;
                }
                // It is forgotten, but its position is not given out again.
                Change::Settled {
                    queue,
                    range: position..position.saturating_add(1),
                }
            }
            Parsed::Settled { queue, from, until } => Change::Settled {
                queue,
                range: from.0..until.0,
            },
            Parsed::DeliveredUpTo { queue, until } => Change::DeliveredUpTo {
                queue,
                until: until.0,
            },
            Parsed::DropQueue { queue } => Change::DropQueue { queue },
            Parsed::Metadata { index, command } => Change::Metadata {
                index,
                command: Bytes::copy_from_slice(command),
            },
            Parsed::Group { .. } | Parsed::Seal { .. } | Parsed::Tail => return,
        };
        changes.push(change);
    }

    /// Looks behind a group that does not verify for the next thing that does. Returns where that is, and whether
    /// it proves that what is missing was durable.
    fn look_behind(&self, offset: usize) -> Option<(usize, bool)> {
        let missing = match self.record(offset) {
            Some((Parsed::Group { lsn, .. }, _)) => lsn,
            _ => self.lsn + 1,
        };
        let mut next = None;
        let mut proof = !self.is_newest;
        for at in (offset + format::ALIGN..self.bytes.len()).step_by(format::ALIGN) {
            let durable_lsn = match self.start_at(at) {
                Some(Parsed::Group { durable_lsn, .. }) => durable_lsn,
                Some(Parsed::Seal { .. }) => u64::MAX,
                _ => continue,
            };
            next = next.or(Some(at));
            proof |= durable_lsn >= missing;
            if proof {
                break;
            }
        }
        next.map(|at| (at, proof))
    }

    /// A group or seal at `at`.
    fn start_at(&self, at: usize) -> Option<Parsed<'a>> {
        // The header alone is cheap to refuse; most places are not even the start of a record.
        let header = format::parse_header(self.bytes.get(at..)?, self.seed, at as u64)?;
        let starts = matches!(header.kind, Kind::Group | Kind::Seal);
        starts
            .then(|| self.record(at))
            .flatten()
            .map(|(parsed, _)| parsed)
    }

    /// Applies what verifies in a damaged part and names the rest.
    fn salvage(&mut self, range: Range<usize>, index: &mut Index) {
        let mut at = range.start;
        let mut bad_from = None;
        while at + format::RECORD_HEADER_BYTES <= range.end {
            let header = format::parse_header(&self.bytes[at..], self.seed, at as u64)
                .filter(|header| at + header.record_bytes() <= range.end);
            let Some(header) = header else {
                bad_from.get_or_insert(at);
                at += format::ALIGN;
                continue;
            };
            self.name_bytes(bad_from.take(), at);
            match self.record(at) {
                Some((parsed, _)) => {
                    if let Parsed::Group { lsn, .. } = parsed {
                        self.lsn = lsn;
                    }
                    let mut changes = Vec::new();
                    self.push_changes(index, at, &parsed, &mut changes);
                    index.apply(self.epoch, changes);
                }
                None => self.name_record(&header, at),
            }
            at += header.record_bytes();
        }
        self.name_bytes(
            bad_from.or_else(|| (at < range.end).then_some(at)),
            range.end,
        );
    }

    fn name_bytes(&mut self, from: Option<usize>, until: usize) {
        let Some(from) = from else {
            return;
        };
        // The unused rest of an older file is zeros.
        if self.bytes[from..until].iter().any(|byte| *byte != 0) {
            self.damage.push(Damage::Bytes {
                file: self.file.to_owned(),
                range: from as u64..until as u64,
            });
        }
    }

    fn name_record(&mut self, header: &Header, at: usize) {
        let file = self.file.to_owned();
        let queue = QueueId(header.queue);
        let positions = Position(header.position)..Position(header.position.saturating_add(1));
        self.damage.push(match header.kind {
            Kind::Message => Damage::Messages {
                queue,
                positions,
                file,
            },
            Kind::Settled | Kind::DeliveredUpTo | Kind::DropQueue => Damage::Marks { queue, file },
            Kind::Metadata => Damage::Metadata {
                commands: positions.start.0..positions.end.0,
                file,
            },
            // Messages that refer to a tail are named by the load that meets them.
            Kind::Group | Kind::Seal | Kind::Tail => Damage::Bytes {
                file,
                range: at as u64..(at + header.record_bytes()) as u64,
            },
        });
    }
}
