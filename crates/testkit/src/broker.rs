//! A broker process of its own for one test.
//!
//! Every broker has its own data directory and ports, so tests run side by side. What it logs is kept and
//! printed when the test fails.

use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a broker may take to start or to stop before the test fails, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the last lines of a broker that has ended may be on their way.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// The name of every broker; each has a data directory of its own.
const NODE_NAME: &str = "rabbit@localhost";

/// A running (or killed) broker.
#[derive(Debug)]
pub struct Broker {
    directory: tempfile::TempDir,
    child: Option<Child>,
    address: SocketAddr,
    http_address: SocketAddr,
    tls_address: Option<SocketAddr>,
    https_address: Option<SocketAddr>,
    metrics_address: SocketAddr,
    metrics_tls_address: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    /// Ends when all that a process has logged is in `log`.
    log_reader: Option<JoinHandle<()>>,
    settings: String,
    /// Where the data is, if not in `directory`.
    data: Option<PathBuf>,
    /// A program and its arguments that run the broker, such as strace.
    wrapper: Vec<String>,
    /// How long the last start took until the ready line, by this test's clock.
    pub start_took: Duration,
}

impl Broker {
    /// Starts a broker with an empty data directory.
    ///
    /// # Errors
    /// The binary is missing or the broker does not get ready.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with("")
    }

    /// The same, with these lines in its rabbitmq.conf.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn start_with(settings: &str) -> anyhow::Result<Self> {
        Self::start_wrapped(settings, &[], None)
    }

    /// The same, run by another program (`wrapper` is that and its arguments), and with its data in a directory that is there.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn start_wrapped(
        settings: &str,
        wrapper: &[&str],
        data: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut broker = Self {
            data: data.map(Path::to_owned),
            wrapper: wrapper.iter().map(|word| (*word).to_owned()).collect(),
            directory: tempfile::tempdir().context("make a directory for the broker")?,
            child: None,
            address: free_address(),
            http_address: free_address(),
            tls_address: None,
            https_address: None,
            metrics_address: free_address(),
            metrics_tls_address: None,
            log: Arc::default(),
            log_reader: None,
            settings: settings.to_owned(),
            start_took: Duration::ZERO,
        };
        broker.restart()?;
        Ok(broker)
    }

    /// Starts it again on the same data directory (and the same port, so that clients can come back).
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "the broker is still running");
        let started = Instant::now();
        let mut child = self.spawn()?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        self.child = Some(child);
        self.log_reader = Some(keep_log(stderr, Arc::clone(&self.log)));
        let line = ready_line(stdout)?;
        self.start_took = started.elapsed();
        self.address = address_in(&line, "amqp://")
            .with_context(|| format!("no address in the ready line '{line}'\n{}", self.log()))?;
        self.tls_address = address_in(&line, "amqps://");
        self.https_address = address_in(&line, "https://");
        self.metrics_tls_address = line
            .split([' ', ','])
            .find_map(|word| word.strip_prefix("https://")?.strip_suffix("/metrics"))
            .and_then(|address| address.parse().ok());
        // Absent where a test turns it off.
        self.http_address = address_in(&line, "http://").unwrap_or(self.http_address);
        Ok(())
    }

    /// Replaces the lines in its rabbitmq.conf now, for a broker that is started again in its process.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rewrite(&mut self, settings: &str) -> anyhow::Result<()> {
        self.configure(settings);
        self.write_settings().map(drop)
    }

    fn write_settings(&self) -> anyhow::Result<PathBuf> {
        let conf = self.directory.path().join("rabbitmq.conf");
        let mut settings = format!(
            "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n\
             prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {}\n\
             tracing.dir = {}\n",
            self.http_address.port(),
            self.metrics_address.port(),
            self.directory.path().join("traces").display(),
        );
        settings.push_str(&self.settings);
        std::fs::write(&conf, settings).context("write rabbitmq.conf")?;
        Ok(conf)
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let conf = self.write_settings()?;
        let binary = binary()?;
        let mut command = match self.wrapper.split_first() {
            None => Command::new(&binary),
            Some((program, arguments)) => {
                use std::os::unix::process::CommandExt as _;
                let mut command = Command::new(program);
                // A wrapper that is killed may leave the broker behind: they are killed as a group.
                command.args(arguments).arg(&binary).process_group(0);
                command
            }
        };
        command
            .arg("server")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.address.port().to_string())
            .env("RABBITMQ_NODENAME", NODE_NAME)
            .env("RABBITMQ_MNESIA_DIR", self.data_directory())
            .env("RABBITMQ_CONFIG_FILE", &conf)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", binary.display()))
    }

    /// A command line tool for this broker, by the name that RabbitMQ's tool has.
    ///
    /// # Errors
    /// The binary is missing.
    pub fn tool(&self, name: &str) -> anyhow::Result<Command> {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(binary()?);
        command
            .arg0(name)
            .env("RABBITMQ_NODENAME", NODE_NAME)
            .env("RABBITMQ_MNESIA_DIR", self.data_directory());
        Ok(command)
    }

    /// Starts a process on a data directory that it must refuse; returns what it says.
    ///
    /// # Errors
    /// It starts, or exits with 0.
    pub fn refused(wrapper: &[&str], data: &Path) -> anyhow::Result<String> {
        let attempt = Self {
            directory: tempfile::tempdir().context("make a directory for the broker")?,
            child: None,
            address: free_address(),
            http_address: free_address(),
            tls_address: None,
            https_address: None,
            metrics_address: free_address(),
            metrics_tls_address: None,
            log: Arc::default(),
            log_reader: None,
            settings: String::new(),
            data: Some(data.to_owned()),
            wrapper: wrapper.iter().map(|word| (*word).to_owned()).collect(),
            start_took: Duration::ZERO,
        };
        let mut child = attempt.spawn()?;
        let status = exit_of(&mut child, PATIENCE);
        // Where it has not exited, this ends it; elsewhere there is nothing to end.
        let _ = child.kill();
        let output = child.wait_with_output().context("read its words")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = status.with_context(|| format!("it runs\n{said}"))?;
        ensure!(!status.success(), "it exited with 0\n{said}");
        Ok(said)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It does not run, or goes on.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let child = self.child.as_mut().context("the broker does not run")?;
        let status = exit_of(child, PATIENCE)?;
        self.child = None;
        self.await_log_end();
        Ok(status)
    }

    /// Replaces the lines in its rabbitmq.conf from the next start on.
    pub fn configure(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
    }

    /// Runs it without its wrapper from the next start on.
    pub fn unwrap_command(&mut self) {
        self.wrapper.clear();
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its HTTP API is.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where clients connect with TLS, if its configuration says so.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Where its HTTP API is with TLS, if its configuration says so.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https_address
    }

    /// Where it tells its metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// Where it tells its metrics with TLS, if its configuration says so.
    pub fn metrics_tls_address(&self) -> Option<SocketAddr> {
        self.metrics_tls_address
    }

    /// The address as clients write it, for guest in the default vhost.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/", self.address)
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where it keeps its data.
    pub fn data_directory(&self) -> PathBuf {
        match &self.data {
            Some(data) => data.clone(),
            None => self.directory.path().join("data"),
        }
    }

    /// Everything it logged so far, over all its starts.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// It does not run.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The part of its resident memory that is not of a file, in bytes.
    ///
    /// # Errors
    /// It does not run.
    pub fn anonymous_bytes(&self) -> anyhow::Result<u64> {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, field: &'static str) -> anyhow::Result<u64> {
        let pid = self.pid().context("the broker does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .context("read process status")?;
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .context(field)?;
        let kilobytes: u64 = line
            .split_whitespace()
            .nth(1)
            .context("no value")?
            .parse()
            .context("parse process status")?;
        Ok(kilobytes * 1024)
    }

    /// Ends it as a crash of the process does.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the broker does not run")?;
        if self.wrapper.is_empty() {
            child.kill().context("kill the broker")?;
        } else {
            signal("KILL", &format!("-{}", child.id()))?;
        }
        child.wait().context("wait for the killed broker")?;
        self.await_log_end();
        Ok(())
    }

    /// Waits until what a process that has ended wrote is in the log. One that it started may still hold the pipe.
    fn await_log_end(&mut self) {
        let deadline = Instant::now() + LOG_PATIENCE;
        let reader = self.log_reader.take();
        while reader.as_ref().is_some_and(|reader| !reader.is_finished()) {
            // What is missing after that is missed by whoever looks for it.
            if Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks it to stop (SIGTERM) and checks that it does so in order.
    ///
    /// # Errors
    /// It does not run, takes too long, or exits with anything but 0.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the broker does not run")?;
        signal("TERM", &child.id().to_string())?;
        let (sender, receiver) = mpsc::channel();
        let waiter = std::thread::spawn(move || {
            let status = child.wait();
            // Nobody listens any more if the wait below has timed out.
            let _ = sender.send(());
            status
        });
        if receiver.recv_timeout(PATIENCE).is_err() {
            bail!(
                "the broker does not stop within {PATIENCE:?}\n{}",
                self.log()
            );
        }
        let Ok(status) = waiter.join() else {
            bail!("the waiting thread panicked")
        };
        let status = status.context("wait for the broker")?;
        self.await_log_end();
        ensure!(
            status.success(),
            "the broker exited with {status}\n{}",
            self.log()
        );
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("── log of the broker ──\n{log}");
        }
        if self.child.is_some() {
            // Nothing is left to do about an error here.
            let _ = self.kill();
        }
    }
}

/// The binary under test: `WARREN_BIN`, or the newest one that cargo has built beside this test.
///
/// # Errors
/// There is none.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("WARREN_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe().context("find the running test")?;
    let built = test
        .ancestors()
        .map(|directory| directory.join("warren"))
        .find(|path| path.is_file());
    built
        .or_else(|| newest(Path::new(env!("CARGO_MANIFEST_DIR"))))
        .context(
            "no warren binary: build it with `cargo build --bin warren` or name it in WARREN_BIN",
        )
}

fn newest(manifest: &Path) -> Option<PathBuf> {
    let target = manifest.parent()?.parent()?.join("target");
    ["release", "debug"]
        .into_iter()
        .map(|profile| target.join(profile).join("warren"))
        .filter(|path| path.is_file())
        .max_by_key(|path| {
            path.metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
        })
}

fn exit_of(child: &mut Child, patience: Duration) -> anyhow::Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().context("wait for the broker")? {
            return Ok(status);
        }
        ensure!(
            Instant::now() < deadline,
            "the broker does not end within {patience:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Signals a process, or with a `-` before its id the group it leads.
fn signal(name: &str, target: &str) -> anyhow::Result<()> {
    let status = Command::new("kill")
        .args(["-s", name, "--", target])
        .status()
        .context("run kill")?;
    ensure!(status.success(), "cannot signal the broker");
    Ok(())
}

/// Collects what is logged, until there is no more.
fn keep_log(stderr: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    })
}

/// The first line of the standard output; the rest is read and dropped, so that the broker never blocks on it.
fn ready_line(stdout: impl Read + Send + 'static) -> anyhow::Result<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        if let Some(first) = lines.next() {
            // The test may have given up.
            let _ = sender.send(first);
        }
        lines.for_each(drop);
    });
    receiver
        .recv_timeout(PATIENCE)
        .context("the broker prints no ready line")
}

/// A free port below those that the kernel gives to clients: nobody takes it before it is used, or while its broker is down for
/// a restart.
pub fn free_address() -> SocketAddr {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs that run side by side begin in different places.
    let from = std::process::id().wrapping_mul(101);
    loop {
        let offset = from.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + offset % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).expect("the range is one of ports");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn address_in(line: &str, scheme: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(scheme)?;
    rest.split([' ', ',']).next()?.parse().ok()
}
