//! All queues by name, and what is in them, kept up to date by what changes: so a page of a hundred thousand queues, or their sum,
//! costs no walk over the shards.
//!
//! The names follow the metadata and are always current. Figures are asked of shards when somebody wants them, only of queues in
//! which something happened since. Where that is more than one slice of them, they are asked in the background, and who wants them
//! gets what is known, at most [`AGE_MAX`] old.
//!
//! Memory: some 70 bytes a queue, 500 more for one in which something happened since the node's start, and the names once more
//! where somebody filters by them.

use crate::state::State;
use crate::statistics::Totals;
use base::{Name, QueueId};
use broker::metadata::Metadata;
use broker::vhost::QueueRecord;
use node::{ChangedQueues, Handle, QueueChanges, QueueFigures, SLICE};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Oldest figures that are shown without asking.
const AGE_MAX: Duration = Duration::from_secs(2);
/// Figures of very many queues are asked for again after that much for each, so that they take a shard a few percent of its time.
const PAUSE_EACH: Duration = Duration::from_micros(10);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// New queues that are put into their places one at a time; more are sorted in.
const INSERTED_MAX: usize = 64;

/// Keys are the node's own numbers.
type FastMap<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// The directory of a node, and when it was brought up to date.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    directory: RwLock<Directory>,
    asking: tokio::sync::Mutex<()>,
    asked: Mutex<Asked>,
}

/// The last time that shards were asked.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    begun: Option<Instant>,
    /// Queues that had changed.
    changed: usize,
}

/// What is known of all queues.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// How far the changes of the metadata are in.
    seen: Option<u64>,
    records: FastMap<QueueId, Arc<QueueRecord>>,
    vhosts: BTreeMap<Name, OfVhost>,
    /// Of queues in which something happened, also of those that are gone from the metadata and not yet from their shard.
    figures: FastMap<QueueId, (Name, Box<QueueFigures>)>,
    /// Of `figures`, by vhost.
    totals: HashMap<Name, Totals>,
}

/// The queues of a vhost, by name.
#[derive(Debug, Default)]
pub(crate) struct OfVhost {
    entries: Vec<Entry>,
    /// From the first time that somebody wants them until something changes.
    names: OnceLock<Names>,
}

/// Names in one piece of memory, so that looking at all of them waits for none.
#[derive(Debug)]
struct Names {
    text: String,
    /// Where each one ends.
    ends: Vec<usize>,
}

/// A queue. What lists are ordered and filtered by is here, as the record is elsewhere in memory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: QueueId,
    pub(crate) name: Name,
    pub(crate) record: Arc<QueueRecord>,
}

impl Queues {
    /// Brings names and figures up to date, and lets somebody read them.
    pub(crate) async fn current(state: &Arc<State>) -> RwLockReadGuard<'_, Directory> {
        let queues = &state.queues;
        let now = Instant::now();
        let asked = *queues.asked.lock();
        let age = asked
            .begun
            .map(|begun| now.saturating_duration_since(begun));
        if asked.changed > SLICE
            && let Some(age) = age.filter(|age| *age < AGE_MAX)
        {
            if age > asked.pause() {
                drop(Self::ask(state, now));
            }
        } else {
            Self::refresh(state, now).await;
        }
        queues.named(&state.node)
    }

    /// Brings the figures up to date with what was at `wanted`.
    pub(crate) async fn refresh(state: &Arc<State>, wanted: Instant) {
        // It ends early with the runtime only, and then so do we.
        let _ = Self::ask(state, wanted).await;
    }

    /// Asks in a task of its own: a shard tells of each change once, and whoever wants to know it may be gone before the answer, as
    /// clients go.
    fn ask(state: &Arc<State>, wanted: Instant) -> JoinHandle<()> {
        let state = Arc::clone(state);
        tokio::spawn(async move { state.queues.ask_all(&state.node, wanted).await })
    }

    /// Brings the names up to date, and lets somebody read them.
    pub(crate) fn named(&self, node: &Handle) -> RwLockReadGuard<'_, Directory> {
        let seen = self.directory.read().seen;
        let changed = node.queues_changed_since(seen);
        if seen != Some(changed.until) {
            let mut directory = self.directory.write();
            // Read behind the changes, so it has them.
            directory.follow(&node.metadata(), changed);
        }
        self.directory.read()
    }

    /// Asks all shards, unless somebody else began to after `wanted`. Must not be abandoned.
    async fn ask_all(&self, node: &Handle, wanted: Instant) {
        let _asking = self.asking.lock().await;
        if !self.asked.lock().begins(wanted) {
            return;
        }
        let mut changed = 0;
        for shard in 0..node.shard_count() {
            let mut slices = 1;
            while slices > 0 {
                let Some(changes) = node.queue_changes(shard).await else {
                    break;
                };
                if slices == 1 {
                    // What changes meanwhile is for the next time.
                    slices += changes.left.div_ceil(SLICE);
                }
                slices -= 1;
                changed += changes.figures.len();
                self.directory.write().take(shard, changes);
            }
        }
        self.asked.lock().changed = changed;
    }
}

impl Asked {
    /// Whether somebody has to ask for who wants to know what was at `wanted`; if so, it begins now.
    fn begins(&mut self, wanted: Instant) -> bool {
        let is_wanted = self.begun.is_none_or(|begun| begun <= wanted);
        if is_wanted {
            self.begun = Some(Instant::now());
        }
        is_wanted
    }

    fn pause(self) -> Duration {
        let count = u32::try_from(self.changed).unwrap_or(u32::MAX);
        PAUSE_EACH.saturating_mul(count).min(PAUSE_MAX)
    }
}

impl Directory {
    /// The queues of a vhost, if there are any.
    pub(crate) fn of_vhost(&self, vhost: &str) -> Option<&OfVhost> {
        self.vhosts.get(vhost)
    }

    /// What is known to be in a queue and to have happened there; `None` stands for nothing.
    pub(crate) fn figures(&self, queue: QueueId) -> Option<&QueueFigures> {
        self.figures.get(&queue).map(|(_, figures)| &**figures)
    }

    /// What is in the queues of a vhost, and happened in those that are there.
    pub(crate) fn totals_of(&self, vhost: &str) -> Totals {
        self.totals.get(vhost).copied().unwrap_or_default()
    }

    /// The same of all vhosts.
    pub(crate) fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.totals.values() {
            sum.add(totals);
        }
        sum
    }

    /// The same of queues with some names, which looks at all queues.
    pub(crate) fn sum_of(&self, is_counted: impl Fn(&str) -> bool) -> Totals {
        let mut sum = Totals::default();
        for (id, record) in &self.records {
            if let Some(figures) = self.figures(*id)
                && is_counted(&record.name)
            {
                sum.add(&Totals::of(figures));
            }
        }
        sum
    }

    fn follow(&mut self, metadata: &Metadata, changed: ChangedQueues) {
        let Some(queues) = changed.queues else {
            *self = Self {
                seen: Some(changed.until),
                figures: std::mem::take(&mut self.figures),
                totals: std::mem::take(&mut self.totals),
                ..Self::default()
            };
            let all = metadata.queues().map(|record| (record.id(), Some(record)));
            return self.put(all);
        };
        let queues: HashSet<QueueId> = queues.into_iter().collect();
        let records = queues.into_iter().map(|id| (id, metadata.queue_by_id(id)));
        self.put(records);
        self.seen = Some(changed.until);
    }

    /// Sets queues, or takes away those without a record; each id comes once.
    fn put<'m>(&mut self, queues: impl Iterator<Item = (QueueId, Option<&'m Arc<QueueRecord>>)>) {
        let mut new: HashMap<Name, Vec<Entry>> = HashMap::new();
        let mut old: HashMap<Name, HashSet<QueueId>> = HashMap::new();
        for (id, record) in queues {
            let before = match record {
                Some(record) => self.records.insert(id, Arc::clone(record)),
                None => self.records.remove(&id),
            };
            if let Some(before) = before {
                old.entry(before.vhost.clone()).or_default().insert(id);
            }
            if let Some(record) = record {
                let entries = new.entry(record.vhost.clone()).or_default();
                entries.push(Entry {
                    id,
                    name: record.name.clone(),
                    record: Arc::clone(record),
                });
            }
        }
        for (vhost, gone) in old {
            if let Some(own) = self.vhosts.get_mut(&vhost) {
                own.change(|entries| entries.retain(|entry| !gone.contains(&entry.id)));
                if own.entries.is_empty() {
                    self.vhosts.remove(&vhost);
                }
            }
        }
        for (vhost, new) in new {
            let own = self.vhosts.entry(vhost).or_default();
            own.change(|entries| insert(entries, new));
        }
    }

    fn take(&mut self, shard: usize, changes: QueueChanges) {
        if changes.is_anew {
            let of_shard = |id: &QueueId| {
                let record = self.records.get(id);
                record.is_none_or(|record| record.queue.shard.index() == shard)
            };
            let forgotten: Vec<_> = self.figures.keys().copied().filter(of_shard).collect();
            forgotten.into_iter().for_each(|id| self.forget(id));
        }
        for (vhost, figures) in changes.figures {
            self.forget(figures.id);
            let totals = self.totals.entry(vhost.clone()).or_default();
            totals.add(&Totals::of(&figures));
            self.figures.insert(figures.id, (vhost, Box::new(figures)));
        }
        for id in changes.gone {
            self.forget(id);
        }
    }

    fn forget(&mut self, queue: QueueId) {
        let Some((vhost, figures)) = self.figures.remove(&queue) else {
            return;
        };
        if let Some(totals) = self.totals.get_mut(&vhost) {
            totals.subtract(&Totals::of(&figures));
            if *totals == Totals::default() {
                self.totals.remove(&vhost);
            }
        }
    }
}

impl OfVhost {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Each queue with its name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&Entry, &str)> {
        let names = self.names.get_or_init(|| Names::of(&self.entries));
        self.entries.iter().zip(names.iter())
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<Entry>)) {
        self.names.take();
        change(&mut self.entries);
    }
}

impl Names {
    fn of(entries: &[Entry]) -> Self {
        let mut names = Self {
            text: String::new(),
            ends: Vec::with_capacity(entries.len()),
        };
        for entry in entries {
            names.text.push_str(&entry.name);
            names.ends.push(names.text.len());
        }
        names
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ends = self.ends.iter();
        starts.zip(ends).map(|(start, end)| &self.text[start..*end])
    }
}

/// Puts new entries into their places.
fn insert(entries: &mut Vec<Entry>, new: Vec<Entry>) {
    if new.len() > INSERTED_MAX {
        entries.extend(new);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        return;
    }
    for entry in new {
        let place = entries.partition_point(|own| own.name < entry.name);
        entries.insert(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::command::{MetadataCommand, MetadataReply};
    use broker::value::Arguments;
    use broker::vhost_metadata::VhostMetadata;

    fn figures(id: u64, ready: u64) -> (Name, QueueFigures) {
        let figures = QueueFigures {
            id: QueueId(id),
            ready,
            consumers: 1,
            ..QueueFigures::default()
        };
        ("/".into(), figures)
    }

    fn changes(figures: Vec<(Name, QueueFigures)>, gone: Vec<u64>) -> QueueChanges {
        QueueChanges {
            figures,
            gone: gone.into_iter().map(QueueId).collect(),
            ..QueueChanges::default()
        }
    }

    fn declare(metadata: &mut Metadata, name: &str) -> QueueId {
        let command = MetadataCommand::DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
            durable: true,
            exclusive_owner: None,
            auto_delete: false,
            arguments: Arguments::default(),
            user: "guest".into(),
            home: 0,
            id: None,
            server_named: false,
        };
        match metadata.apply(&command).unwrap().reply {
            MetadataReply::Queue { queue, .. } => queue.id,
            MetadataReply::Done => panic!("a queue was declared"),
        }
    }

    fn names(directory: &Directory) -> Vec<String> {
        let queues = directory.of_vhost("/").unwrap();
        let named = queues.named().map(|(entry, name)| {
            assert_eq!(entry.name, *name);
            name.to_owned()
        });
        named.collect()
    }

    #[test]
    fn names_follow_the_metadata() {
        let mut metadata = Metadata::new(1);
        let create = MetadataCommand::CreateVhost {
            name: "/".into(),
            metadata: VhostMetadata::default(),
        };
        metadata.apply(&create).unwrap();
        declare(&mut metadata, "m");
        let mut directory = Directory::default();
        let changed = |until, queues: Option<Vec<QueueId>>| ChangedQueues { until, queues };
        directory.follow(&metadata, changed(1, None));
        assert_eq!(names(&directory), ["m"]);
        let first = declare(&mut metadata, "z");
        let second = declare(&mut metadata, "a");
        directory.follow(&metadata, changed(3, Some(vec![first, second, first])));
        assert_eq!(names(&directory), ["a", "m", "z"]);
        let many = (0..200).map(|number| declare(&mut metadata, &format!("b{number:03}")));
        let many: Vec<_> = many.collect();
        directory.follow(&metadata, changed(203, Some(many)));
        assert_eq!(names(&directory).len(), 203);
        assert!(names(&directory).is_sorted());
        metadata
            .apply(&MetadataCommand::DeleteQueue { id: first })
            .unwrap();
        directory.follow(&metadata, changed(204, Some(vec![first, second])));
        assert_eq!(names(&directory).len(), 202);
        assert!(names(&directory).is_sorted());
        assert_eq!(directory.seen, Some(204));
    }

    #[test]
    fn sums_follow_what_changes() {
        let mut directory = Directory::default();
        directory.take(0, changes(vec![figures(1, 5), figures(2, 7)], vec![]));
        assert_eq!(
            (directory.totals().ready, directory.totals().consumers),
            (12, 2)
        );
        directory.take(0, changes(vec![figures(1, 1)], vec![2, 3]));
        assert_eq!(directory.totals_of("/").ready, 1);
        assert_eq!(directory.figures(QueueId(2)), None);
        let anew = QueueChanges {
            is_anew: true,
            ..changes(vec![figures(4, 2)], vec![])
        };
        directory.take(0, anew);
        assert_eq!(directory.totals().ready, 2);
        directory.take(0, changes(vec![], vec![4]));
        assert!(directory.totals.is_empty());
    }
}
