//! What a service needs beside the node: a process of its own, its id in a file, enough open files, and log files that are opened
//! again at SIGHUP.

use crate::log;
use anyhow::Context as _;
use config::Settings;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set in the process that [`detach`] starts.
const DETACHED: &str = "WARREN_DETACHED";

/// Starts this program again without a terminal. It has read the configuration already, so that mistakes are seen.
///
/// # Errors
/// The process cannot be started.
pub(crate) fn detach() -> anyhow::Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    Command::new(program)
        .arg("server")
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the detached process")?;
    Ok(())
}

/// Whether this process was started by [`detach`]; then it leaves the terminal.
pub(crate) fn is_detached() -> bool {
    let is_detached = std::env::var_os(DETACHED).is_some();
    if is_detached {
        // It fails only for a process that leads a group already, which has no terminal then.
        let _session = rustix::process::setsid();
    }
    is_detached
}

/// Asks for as many open files as the settings say.
pub(crate) fn raise_open_files(settings: &Settings) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let Some(wanted) = settings.open_files_max else {
        return;
    };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(wanted);
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        limit.maximum = Some(wanted);
    }
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(wanted, %error, "cannot raise the limit of open files");
    }
}

/// The file with the id of this process; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    stays: bool,
}

impl PidFile {
    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(settings: &Settings) -> anyhow::Result<Self> {
        let path = settings.pid_file.clone();
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, format!("{}\n", std::process::id())));
        written.with_context(|| format!("write pid file {}", path.display()))?;
        Ok(Self {
            path,
            stays: settings.keeps_pid_file,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the pid file");
        }
    }
}

/// Opens log files again at each SIGHUP, on a thread of its own. Without log files the signal keeps its meaning.
///
/// # Errors
/// The operating system refuses the thread or the signal.
pub(crate) fn reopen_at_hangup(control: log::Control) -> io::Result<()> {
    static IS_WATCHED: AtomicBool = AtomicBool::new(false);
    if !control.has_files() || IS_WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let mut hangups = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?
    };
    std::thread::Builder::new()
        .name("hangup".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                while hangups.recv().await.is_some() {
                    control.reopen();
                    tracing::info!("log files were opened again");
                }
            });
        })?;
    Ok(())
}
