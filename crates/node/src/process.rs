//! What the operating system says of this process. What it does not say is 0.

use std::path::Path;
use std::time::Duration;

/// Figures of this process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessFigures {
    /// Open file descriptors.
    pub open_files: u64,
    /// File descriptors that may be open.
    pub open_files_max: u64,
    /// Threads.
    pub threads: u64,
    /// Threads that there may be.
    pub threads_max: u64,
    /// Times that threads gave up or lost the processor.
    pub context_switches: u64,
}

impl ProcessFigures {
    /// As of now.
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let limit = |resource| {
            rustix::process::getrlimit(resource)
                .current
                .unwrap_or(u64::MAX)
        };
        Self {
            open_files: files as u64,
            open_files_max: limit(rustix::process::Resource::Nofile),
            threads: field("Threads:").unwrap_or(0),
            threads_max: limit(rustix::process::Resource::Nproc),
            context_switches: field("voluntary_ctxt_switches:").unwrap_or(0)
                + field("nonvoluntary_ctxt_switches:").unwrap_or(0),
        }
    }
}

/// A thread of this process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadFigures {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it has used of processors.
    pub processor_time: Duration,
    /// It runs or could.
    pub is_running: bool,
}

impl ThreadFigures {
    /// All of them as of now, in no particular order.
    pub fn all() -> Vec<Self> {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
        tasks
            .filter_map(|task| Self::of(&task.ok()?.path()))
            .collect()
    }

    /// One that has ended meanwhile is none.
    fn of(task: &Path) -> Option<Self> {
        let read = |file: &str| std::fs::read_to_string(task.join(file)).ok();
        let nanoseconds = read("schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
        Some(Self {
            id: task.file_name()?.to_str()?.parse().ok()?,
            name: read("comm")?.trim_end().to_owned(),
            processor_time: Duration::from_nanos(nanoseconds.unwrap_or(0)),
            // Behind the name, which may hold anything, comes the state.
            is_running: read("stat")?.rsplit_once(") ")?.1.starts_with('R'),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_names_and_use_processors() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("a (b) c".to_owned());
        let thread = thread.spawn(move || wait.recv()).unwrap();
        let named = || {
            ThreadFigures::all()
                .into_iter()
                .find(|one| one.name == "a (b) c")
        };
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while named().is_none() {
            assert!(std::time::Instant::now() < deadline, "no such thread");
            std::thread::yield_now();
        }
        let all = ThreadFigures::all();
        let used: Duration = all.iter().map(|thread| thread.processor_time).sum();
        assert!(all.len() > 1 && used > Duration::ZERO, "{all:?}");
        assert!(all.iter().any(|thread| thread.is_running), "{all:?}");
        drop(done);
        thread.join().unwrap().unwrap_err();
    }
}
