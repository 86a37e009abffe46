//! The host: limits, memory, disk, clock and ports, as far as they decide how a node runs.

use crate::finding::{Area, Finding, Severity};
use config::{DiskFreeLimit, ListenAddress, Settings};
use rustix::process::{Resource, getrlimit};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Open files that are enough for anything.
const FILES_GOOD: u64 = 65_536;
/// Open files below which a node soon has no more for connections.
const FILES_MIN: u64 = 4_096;
/// Memory below which a node has little to work with.
const MEMORY_MIN_BYTES: u64 = 512 << 20;
/// Syncs that are measured.
const SYNCS: usize = 16;
/// A sync that takes longer than this keeps confirms waiting.
const SYNC_SLOW: Duration = Duration::from_millis(20);
/// A sync that takes less than this does not reach a disk.
const SYNC_TOO_FAST: Duration = Duration::from_micros(5);
/// No clock of a running machine is before this: 2024-01-01.
const CLOCK_MIN: Duration = Duration::from_secs(1_704_067_200);
/// How far a file may be in the future: clocks of file servers differ.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

fn found(severity: Severity, text: impl Into<String>) -> Finding {
    Finding::new(Area::Host, severity, text)
}

pub(crate) fn check(settings: &Settings, findings: &mut Vec<Finding>) {
    findings.push(open_files());
    findings.push(memory(settings));
    let place = existing(&settings.data_dir);
    findings.extend(file_system(&place));
    findings.push(disk_space(&place, settings));
    findings.push(sync_speed(&place));
    findings.push(clock(&settings.data_dir));
    let listeners = settings.tcp_listeners.iter();
    let listeners = listeners.chain(&settings.management.listeners);
    findings.extend(listeners.map(port));
}

/// The directory itself or the nearest one above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let found = dir.ancestors().find(|dir| dir.is_dir());
    found.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    let advice = format!(
        "each connection is an open file: set LimitNOFILE={FILES_GOOD} in the service or `ulimit -n {FILES_GOOD}`"
    );
    let text = format!("open files: {current}");
    if current >= FILES_GOOD {
        found(Severity::Ok, text)
    } else if current >= FILES_MIN {
        found(Severity::Warning, text).advise(advice)
    } else {
        found(
            Severity::Error,
            format!("{text}, at least {FILES_MIN} are needed"),
        )
        .advise(advice)
    }
}

fn memory(settings: &Settings) -> Finding {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib << 10)
    });
    let group = group_memory();
    let usable = match (settings.total_memory_override_bytes.or(total), group) {
        (Some(total), Some(group)) => total.min(group),
        (Some(bytes), None) | (None, Some(bytes)) => bytes,
        (None, None) => return found(Severity::Warning, "memory: cannot be measured"),
    };
    let limited = if group.is_some() {
        " (limit of the control group)"
    } else {
        ""
    };
    let text = format!("memory: {} MiB{limited}", usable >> 20);
    if usable < MEMORY_MIN_BYTES {
        found(Severity::Warning, text)
            .advise("give the node at least 512 MiB, or lower its watermark")
    } else {
        found(Severity::Ok, text)
    }
}

/// The memory limit of this process' control group.
fn group_memory() -> Option<u64> {
    let of_process = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = of_process
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    let mut lowest: Option<u64> = None;
    for dir in Path::new(path).ancestors() {
        let dir = dir.strip_prefix("/").unwrap_or(dir);
        let file = Path::new("/sys/fs/cgroup").join(dir).join("memory.max");
        let limit = fs::read_to_string(file)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        lowest = match (lowest, limit) {
            (Some(a), Some(b)) => Some(std::cmp::min::<u64>(a, b)),
            (a, b) => a.or(b),
        };
    }
    lowest
}

/// File systems on which data is not safe or not fast, by the numbers of statfs(2).
fn file_system(place: &Path) -> Option<Finding> {
    let stat = rustix::fs::statfs(place).ok()?;
    let shown = place.display();
    Some(match stat.f_type as u64 & 0xFFFF_FFFF {
        0x0102_1994 | 0x8584_58F6 => found(
            Severity::Warning,
            format!("{shown} is in memory: a restart of the host loses everything"),
        )
        .advise("put the data directory on a disk"),
        0x6969 | 0xFF53_4D42 | 0xFE53_4D42 | 0x517B => found(
            Severity::Warning,
            format!("{shown} is on a network file system"),
        )
        .advise("locks and syncs of network file systems are not always what they say: use a local disk"),
        0x794C_7630 => found(
            Severity::Warning,
            format!("{shown} is in a container's own layer: it goes with the container"),
        )
        .advise("mount a volume for the data directory"),
        0xEF53 => found(Severity::Ok, format!("{shown} is on ext4")),
        0x5846_5342 => found(Severity::Ok, format!("{shown} is on XFS")),
        0x9123_683E => found(Severity::Note, format!("{shown} is on Btrfs"))
            .advise("switch copy-on-write off for the directory before the first start: chattr +C"),
        number => found(
            Severity::Note,
            format!("{shown} is on a file system of type {number:#x}"),
        ),
    })
}

fn disk_space(place: &Path, settings: &Settings) -> Finding {
    let stat = match rustix::fs::statvfs(place) {
        Ok(stat) => stat,
        Err(error) => {
            let text = format!("free space of {}: {error}", place.display());
            return found(Severity::Error, text).advise("check the path of the data directory");
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let limit = match settings.disk_free_limit {
        DiskFreeLimit::Absolute(bytes) => bytes,
        DiskFreeLimit::Relative(_) => 0,
    };
    let text = format!("free disk space: {} MiB", free >> 20);
    if free < limit {
        let text = format!("{text}, less than disk_free_limit of {} MiB", limit >> 20);
        return found(Severity::Error, text)
            .advise("publishers would be blocked at once: make space, or lower disk_free_limit");
    }
    if free < limit.saturating_mul(4).max(1 << 30) {
        return found(Severity::Warning, text)
            .advise("the log alone takes up to 512 MiB: make space");
    }
    found(Severity::Ok, text)
}

/// How long a small write takes to be safe, by the median of some.
fn sync_speed(place: &Path) -> Finding {
    let path = place.join(format!(".warren-doctor-{}", std::process::id()));
    let measured = measure_syncs(&path);
    // It is ours: nothing else is called that.
    let _ = fs::remove_file(&path);
    match measured {
        Err(error) => {
            let text = format!("{} cannot be written: {error}", place.display());
            found(Severity::Error, text)
                .advise("run this as the user of the node, who must own the data directory")
        }
        Ok(median) => {
            let text = format!(
                "sync of a small write: {:.2} ms",
                median.as_secs_f64() * 1e3
            );
            if median > SYNC_SLOW {
                found(Severity::Warning, text).advise(
                    "confirms and declarations of durable things wait for it: use a faster disk, or one of its own",
                )
            } else if median < SYNC_TOO_FAST {
                found(
                    Severity::Warning,
                    format!("{text}: syncs do not reach a disk"),
                )
                .advise("after a power cut confirmed messages may be missing")
            } else {
                found(Severity::Ok, text)
            }
        }
    }
}

fn measure_syncs(path: &Path) -> io::Result<Duration> {
    let file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
    let block = [0_u8; 4096];
    let mut times = Vec::with_capacity(SYNCS);
    for number in 0..SYNCS {
        let started = Instant::now();
        file.write_all_at(&block, (number * block.len()) as u64)?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

fn clock(data_dir: &Path) -> Finding {
    let now = SystemTime::now();
    let advice =
        "run a time service (chrony, systemd-timesyncd): expiry and delays go by the clock";
    if now.duration_since(UNIX_EPOCH).unwrap_or_default() < CLOCK_MIN {
        return found(Severity::Error, "the clock is years behind").advise(advice);
    }
    let newest = fs::read_dir(data_dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    let ahead = newest.and_then(|newest| newest.duration_since(now).ok());
    match ahead {
        Some(ahead) if ahead > CLOCK_SKEW_MAX => found(
            Severity::Warning,
            format!(
                "the clock is {} s behind the newest file of the data",
                ahead.as_secs()
            ),
        )
        .advise(advice),
        Some(_) | None => found(Severity::Ok, "the clock is plausible"),
    }
}

fn port(listener: &ListenAddress) -> Finding {
    let port = listener.port;
    let bound = match listener.ip {
        Some(ip) => TcpListener::bind(SocketAddr::new(ip, port)),
        None => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))),
    };
    match bound {
        Ok(_) => found(Severity::Ok, format!("port {port} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            found(Severity::Warning, format!("port {port} is in use")).advise(format!(
                "unless it is this node that runs: `ss -ltnp 'sport = :{port}'` shows who has it"
            ))
        }
        Err(error) => found(Severity::Error, format!("port {port}: {error}"))
            .advise("choose another address or port, or give the program the right to use it"),
    }
}
