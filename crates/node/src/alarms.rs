//! Memory and disk alarms (RabbitMQ docs: memory, disk-alarms).
//!
//! The rules are pure ([`AlarmRules`]); the monitor thread feeds them with figures twice a second and tells the shards when
//! something changed. An alarm is raised above its limit and cleared only some way below (memory) or above (disk) it, so that it
//! does not flap.
//!
//! What memory in use is, the configuration says ([`MemoryCalculation`]); the accountant's classes say what it is used for.

use crate::config::{DiskFreeLimit, MemoryCalculation, MemoryHighWatermark, Settings};
use crate::handle::{MemoryFigures, Resources};
use crate::mailbox::Mail;
use crate::shard::ShardMemory;
use crate::shared::Shared;
use broker::event::{Event, text};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often figures are taken.
const INTERVAL: Duration = Duration::from_millis(500);

/// A raised memory alarm is cleared at this share of its limit.
const MEMORY_CLEAR_RATIO: f64 = 0.95;

/// Shards are asked to move messages out of RAM from this share of the memory limit on.
const EVICT_RATIO: f64 = 0.7;

/// A raised disk alarm is cleared when this much more than the limit is free.
const DISK_CLEAR_RATIO: f64 = 1.1;

/// Which alarms are raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alarms {
    pub(crate) memory: bool,
    pub(crate) disk: bool,
}

impl From<Alarms> for frontend_amqp091::Alarms {
    fn from(alarms: Alarms) -> Self {
        Self {
            memory: alarms.memory,
            disk: alarms.disk,
        }
    }
}

/// The limits and the present state.
#[derive(Debug)]
pub(crate) struct AlarmRules {
    /// `vm_memory_high_watermark` in bytes.
    pub(crate) memory_limit_bytes: u64,
    /// `disk_free_limit` in bytes.
    pub(crate) disk_free_limit_bytes: u64,
    pub(crate) alarms: Alarms,
}

/// Where the alarms begin, as an operator says it. It holds until the node starts again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watermarks {
    /// Memory use above which publishers are blocked.
    pub memory: MemoryHighWatermark,
    /// Free disk space below which publishers are blocked.
    pub disk: DiskFreeLimit,
    /// The machine's memory in bytes, of which shares are taken.
    total_memory_bytes: u64,
    /// What counts as memory in use.
    calculation: MemoryCalculation,
}

impl Watermarks {
    /// Those of the configuration.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            memory: settings.memory_high_watermark,
            disk: settings.disk_free_limit,
            total_memory_bytes: settings
                .total_memory_override_bytes
                .or_else(total_memory_bytes)
                .unwrap_or(u64::MAX),
            calculation: settings.memory_calculation,
        }
    }

    /// Logs them in RabbitMQ's words.
    pub(crate) fn log(&self) {
        let (limit, total) = (self.memory_limit_bytes(), self.total_memory_bytes);
        tracing::info!(
            "Memory high watermark set to {} MiB ({limit} bytes) of {} MiB ({total} bytes) total",
            limit >> 20,
            total >> 20
        );
        tracing::info!(
            "Disk free limit set to {}MB",
            self.disk_free_limit_bytes() / 1_000_000
        );
    }

    fn memory_limit_bytes(&self) -> u64 {
        match self.memory {
            MemoryHighWatermark::Relative(ratio) => scale(self.total_memory_bytes, ratio),
            MemoryHighWatermark::Absolute(bytes) => bytes,
        }
    }

    fn disk_free_limit_bytes(&self) -> u64 {
        match self.disk {
            DiskFreeLimit::Relative(ratio) => scale(self.total_memory_bytes, ratio),
            DiskFreeLimit::Absolute(bytes) => bytes,
        }
    }
}

impl AlarmRules {
    /// The rules that the settings ask for, with no alarm raised.
    pub(crate) fn new(watermarks: &Watermarks) -> Self {
        Self {
            memory_limit_bytes: watermarks.memory_limit_bytes(),
            disk_free_limit_bytes: watermarks.disk_free_limit_bytes(),
            alarms: Alarms::default(),
        }
    }

    /// Other limits from now on.
    fn set_limits(&mut self, watermarks: &Watermarks) {
        self.memory_limit_bytes = watermarks.memory_limit_bytes();
        self.disk_free_limit_bytes = watermarks.disk_free_limit_bytes();
    }

    /// New figures; returns the alarms if they changed. `disk_full` is the log's own word and overrides the free space.
    fn update(
        &mut self,
        memory_bytes: u64,
        disk_free_bytes: u64,
        disk_full: bool,
    ) -> Option<Alarms> {
        let memory_limit = if self.alarms.memory {
            scale(self.memory_limit_bytes, MEMORY_CLEAR_RATIO)
        } else {
            self.memory_limit_bytes
        };
        let disk_limit = if self.alarms.disk {
            scale(self.disk_free_limit_bytes, DISK_CLEAR_RATIO)
        } else {
            self.disk_free_limit_bytes
        };
        let alarms = Alarms {
            memory: memory_bytes > memory_limit,
            disk: disk_full || disk_free_bytes < disk_limit,
        };
        (alarms != std::mem::replace(&mut self.alarms, alarms)).then_some(alarms)
    }

    fn wants_eviction(&self, memory_bytes: u64) -> bool {
        memory_bytes > scale(self.memory_limit_bytes, EVICT_RATIO)
    }
}

/// A share of a byte count.
fn scale(bytes: u64, ratio: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a byte count needs no more precision than a double has"
    )]
    let scaled = (bytes as f64 * ratio) as u64;
    scaled
}

/// Memory in use, by class.
#[derive(Debug, Default)]
pub(crate) struct Accountant {
    shards: Vec<Mutex<ShardMemory>>,
    /// The log has no space for its next file.
    pub(crate) disk_full: Arc<AtomicBool>,
}

impl Accountant {
    pub(crate) fn new(shards: usize, disk_full: Arc<AtomicBool>) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            disk_full,
        }
    }

    /// A shard's figures.
    pub(crate) fn set_shard(&self, shard: usize, memory: ShardMemory) {
        *self.shards[shard].lock() = memory;
    }

    fn totals(&self) -> ShardMemory {
        self.shards
            .iter()
            .fold(ShardMemory::default(), |sum, shard| {
                let shard = *shard.lock();
                ShardMemory {
                    connection_bytes: sum.connection_bytes + shard.connection_bytes,
                    queue_bytes: sum.queue_bytes + shard.queue_bytes,
                    quorum_queue_bytes: sum.quorum_queue_bytes + shard.quorum_queue_bytes,
                }
            })
    }
}

/// Runs until the node stops: takes figures, raises and clears alarms.
pub(crate) fn monitor(
    shared: &Arc<Shared>,
    mut rules: AlarmRules,
    data_dir: PathBuf,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let watermarks = *shared.watermarks.lock();
        rules.set_limits(&watermarks);
        let memory = shared.accountant.totals();
        let used = shared.memory_used_bytes(watermarks.calculation, memory);
        let disk_free = disk_free_bytes(&data_dir).unwrap_or(u64::MAX);
        let disk_full = shared.accountant.disk_full.load(Ordering::Relaxed);
        let before = rules.alarms;
        if let Some(alarms) = rules.update(used, disk_free, disk_full) {
            let node = &shared.frontend.node_name;
            log_change(node, before, alarms, used, &rules, disk_free, memory);
            publish_change(shared, before, alarms);
            // Who hears of it and asks gets no older answer.
            shared.desk.set_alarms(alarms);
            shared
                .shard_mailboxes()
                .iter()
                .for_each(|mailbox| mailbox.send(Mail::Alarms(alarms)));
        }
        let evict = rules.wants_eviction(used);
        shared
            .shard_mailboxes()
            .iter()
            .for_each(|mailbox| mailbox.send(Mail::Account { evict }));
        shared.leader.free_retired();
        std::thread::park_timeout(INTERVAL);
    }
}

fn publish_change(shared: &Shared, before: Alarms, now: Alarms) {
    let metadata = shared.leader.snapshot();
    for (source, was, is) in [
        ("memory", before.memory, now.memory),
        ("disk", before.disk, now.disk),
    ] {
        if was != is {
            let key = if is { "alarm.set" } else { "alarm.cleared" };
            let node = text(shared.events.node());
            let event = Event::new(key, [("source", text(source)), ("node", node)]);
            shared.events.publish(&metadata, &event);
        }
    }
}

/// RabbitMQ's words: operators search for them. What uses the memory is said beside them.
fn log_change(
    node: &str,
    before: Alarms,
    now: Alarms,
    used: u64,
    rules: &AlarmRules,
    disk_free: u64,
    memory: ShardMemory,
) {
    if before.memory != now.memory {
        tracing::info!(
            connection_bytes = memory.connection_bytes,
            queue_bytes = memory.queue_bytes,
            "vm_memory_high_watermark {}. Memory used:{used} allowed:{}",
            if now.memory { "set" } else { "clear" },
            rules.memory_limit_bytes
        );
        log_alarm(node, "memory", now.memory);
    }
    if before.disk != now.disk {
        tracing::info!(
            "Free disk space is {}. Free bytes: {disk_free}. Limit: {}",
            if now.disk {
                "insufficient"
            } else {
                "sufficient"
            },
            rules.disk_free_limit_bytes
        );
        log_alarm(node, "disk", now.disk);
    }
}

fn log_alarm(node: &str, resource: &str, is_set: bool) {
    if is_set {
        tracing::warn!(
            "{resource} resource limit alarm set on node {node}.\n\n\
             **********************************************************\n\
             *** Publishers will be blocked until this alarm clears ***\n\
             **********************************************************\n"
        );
    } else {
        tracing::warn!("{resource} resource limit alarm cleared on node {node}");
    }
}

impl Shared {
    /// What the alarms look at, as of now.
    pub(crate) fn resources(&self, settings: &Settings) -> Resources {
        let watermarks = *self.watermarks.lock();
        let rules = AlarmRules::new(&watermarks);
        let memory = self.accountant.totals();
        let alarms = self.desk.alarms();
        Resources {
            memory_used_bytes: self.memory_used_bytes(watermarks.calculation, memory),
            memory_limit_bytes: rules.memory_limit_bytes,
            memory_alarm: alarms.memory,
            disk_free_bytes: disk_free_bytes(&settings.data_dir).unwrap_or(u64::MAX),
            disk_free_limit_bytes: rules.disk_free_limit_bytes,
            disk_alarm: alarms.disk,
            connection_bytes: memory.connection_bytes as u64,
            queue_bytes: memory.queue_bytes as u64,
        }
    }

    /// What memory is used for, as of now.
    pub(crate) fn memory(&self) -> MemoryFigures {
        let counted = self.accountant.totals();
        let process = ProcessMemory::now().unwrap_or_default();
        let counters = self.traffic.iter().map(|traffic| traffic.memory_bytes());
        MemoryFigures {
            resident_bytes: process.resident_bytes,
            of_files_bytes: process.of_files_bytes,
            connection_bytes: counted.connection_bytes as u64,
            classic_queue_bytes: (counted.queue_bytes - counted.quorum_queue_bytes) as u64,
            quorum_queue_bytes: counted.quorum_queue_bytes as u64,
            log_bytes: self.log.pending_bytes(),
            index_bytes: self.log.index_bytes(),
            counter_bytes: counters.sum::<usize>() as u64,
        }
    }

    fn memory_used_bytes(&self, calculation: MemoryCalculation, memory: ShardMemory) -> u64 {
        let counted =
            (memory.connection_bytes + memory.queue_bytes) as u64 + self.log.pending_bytes();
        let process = ProcessMemory::now().unwrap_or_default();
        match calculation {
            MemoryCalculation::Rss => counted.max(process.resident_bytes),
            MemoryCalculation::Allocated => process
                .resident_bytes
                .saturating_sub(process.of_files_bytes),
            MemoryCalculation::Erlang => counted,
        }
    }
}

/// The size of this process.
#[derive(Clone, Copy, Debug, Default)]
struct ProcessMemory {
    resident_bytes: u64,
    /// The part of it that is in files.
    of_files_bytes: u64,
}

impl ProcessMemory {
    /// From `/proc/self/statm`.
    fn now() -> Option<Self> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let mut pages = statm.split(' ').map(str::parse::<u64>);
        let (resident, shared) = (pages.nth(1)?.ok()?, pages.next()?.ok()?);
        let page_bytes = rustix::param::page_size() as u64;
        Some(Self {
            resident_bytes: resident * page_bytes,
            of_files_bytes: shared * page_bytes,
        })
    }
}

/// Memory this process may use: the machine's, or its cgroup's limit if that is lower.
fn total_memory_bytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let machine: u64 = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let cgroup = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .into_iter()
    .find_map(|path| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    });
    Some(cgroup.map_or(machine, |cgroup| cgroup.min(machine)))
}

/// Free space for this process on the file system of `path`.
fn disk_free_bytes(path: &Path) -> Option<u64> {
    let statistics = rustix::fs::statvfs(path).ok()?;
    Some(statistics.f_bavail * statistics.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> AlarmRules {
        AlarmRules {
            memory_limit_bytes: 1000,
            disk_free_limit_bytes: 100,
            alarms: Alarms::default(),
        }
    }

    #[test]
    fn the_memory_alarm_clears_only_some_way_below_its_limit() {
        let mut rules = rules();
        assert_eq!(rules.update(1000, 500, false), None);
        assert_eq!(
            rules.update(1001, 500, false),
            Some(Alarms {
                memory: true,
                disk: false
            })
        );
        assert_eq!(rules.update(960, 500, false), None);
        assert_eq!(rules.update(950, 500, false), Some(Alarms::default()));
    }

    #[test]
    fn the_disk_alarm_clears_only_some_way_above_its_limit() {
        let mut rules = rules();
        assert_eq!(
            rules.update(0, 99, false),
            Some(Alarms {
                memory: false,
                disk: true
            })
        );
        assert_eq!(rules.update(0, 105, false), None);
        assert_eq!(rules.update(0, 110, false), Some(Alarms::default()));
        assert_eq!(
            rules.update(0, 500, true),
            Some(Alarms {
                memory: false,
                disk: true
            })
        );
    }
}
