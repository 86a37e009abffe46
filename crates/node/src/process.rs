//! What the operating system says of this process. What it does not say is 0.

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
