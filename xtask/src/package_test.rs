//! The Debian package on a clean Debian: `cargo xtask package --test`.
//!
//! A Debian of its own, made by debootstrap below `target/package`, is started with systemd as its first process, in namespaces of
//! its own: nothing of it reaches the machine, and its ports are not the machine's. There the package is installed, upgraded,
//! removed and purged as an operator would.
//!
//! It needs root, the programs in [`PROGRAMS`], and, the first time, a Debian mirror; where one of these is missing it says so and
//! tests nothing.

use crate::package::{self, Purpose};
use crate::shell::{self, check};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The Debian that the package is tested on.
const SUITE: &str = "bookworm";
/// What has to be there before the package is installed: what every Debian server has.
const INCLUDED: &str = "--include=adduser,systemd,dbus,ca-certificates";
/// Programs of the machine that are needed.
const PROGRAMS: &[&str] = &["debootstrap", "unshare", "nsenter", "ip", "tar"];
/// How long the machine in the namespaces may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mounts what a system needs to start, and starts it. `$1` is its root.
const START: &str = r#"set -e
ip link set lo up
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys" || true
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup" || true
mount -t tmpfs tmpfs "$1/run"
mount -t tmpfs tmpfs "$1/tmp"
mount -t tmpfs tmpfs "$1/dev"
for device in null zero full random urandom tty; do
    touch "$1/dev/$device"
    mount --bind "/dev/$device" "$1/dev/$device"
done
export container=warren
exec chroot "$1" /lib/systemd/systemd --system
"#;

/// What is tried, in order: its name, and a script that has to succeed.
const TRIALS: &[(&str, &str)] = &[
    (
        "it is installed and runs as a service",
        r#"dpkg -i /srv/first.deb
systemctl is-active rabbitmq-server
systemctl is-enabled rabbitmq-server
test "$(systemctl show -P Type rabbitmq-server)" = notify
test "$(stat -c %U "/proc/$(systemctl show -P MainPID rabbitmq-server)")" = rabbitmq
systemd-analyze verify rabbitmq-server.service"#,
    ),
    (
        "its directories belong to the service and are closed to others",
        r#"for directory in /var/lib/rabbitmq /var/lib/rabbitmq/mnesia /var/log/rabbitmq; do
    test "$(stat -c '%U:%G %a' $directory)" = 'rabbitmq:rabbitmq 750'
done
test "$(stat -c '%U:%G %a' /etc/rabbitmq)" = 'root:rabbitmq 750'
grep -q 'Server startup complete' /var/log/rabbitmq/*.log
dpkg-query -W -f '${Conffiles}' warrenmq | grep -q /etc/rabbitmq/rabbitmq.conf"#,
    ),
    (
        "the tools work as root and as the service's user",
        r#"rabbitmqctl status | grep -q 'RabbitMQ version'
runuser -u rabbitmq -- rabbitmqctl status | grep -q 'RabbitMQ version'
rabbitmq-diagnostics -q ping
! runuser -u nobody -- rabbitmqctl status
rabbitmqctl add_vhost kept"#,
    ),
    (
        "settings are read again at a restart, and a wrong one is told of",
        r#"echo 'heartbeat = 31' >>/etc/rabbitmq/rabbitmq.conf
echo 'log.journald = true' >/etc/rabbitmq/conf.d/10-journal.conf
systemctl restart rabbitmq-server
rabbitmqctl status | grep -q 'Default heartbeat (seconds): 31'
rabbitmqctl list_vhosts | grep -q kept
systemctl reload rabbitmq-server
systemctl is-active rabbitmq-server
journalctl --sync
journalctl -u rabbitmq-server -o export | grep -q '^SYSLOG_IDENTIFIER=rabbitmq-server'
journalctl -u rabbitmq-server -o export | grep -q '^CODE_FILE='
echo 'no_such_key = 1' >/etc/rabbitmq/conf.d/20-wrong.conf
! systemctl restart rabbitmq-server
journalctl --sync
journalctl -u rabbitmq-server | grep -q no_such_key
rm /etc/rabbitmq/conf.d/20-wrong.conf
systemctl restart rabbitmq-server"#,
    ),
    (
        "an upgrade restarts it and keeps what there is",
        r#"before=$(systemctl show -P MainPID rabbitmq-server)
dpkg -i /srv/second.deb
test "$(dpkg-query -W -f '${Version}' warrenmq)" != "$(dpkg-deb -f /srv/first.deb Version)"
systemctl is-active rabbitmq-server
test "$(systemctl show -P MainPID rabbitmq-server)" != "$before"
rabbitmqctl list_vhosts | grep -q kept
grep -q 'heartbeat = 31' /etc/rabbitmq/rabbitmq.conf"#,
    ),
    (
        "when it is removed the service ends, and data and settings stay",
        r#"dpkg -r warrenmq
! systemctl is-active rabbitmq-server
! command -v rabbitmqctl
test -d /var/lib/rabbitmq/mnesia
test -f /etc/rabbitmq/rabbitmq.conf
dpkg -i /srv/second.deb
rabbitmqctl list_vhosts | grep -q kept"#,
    ),
    (
        "when it is purged nothing stays",
        r#"dpkg -P warrenmq
! systemctl is-active rabbitmq-server
test ! -e /etc/rabbitmq -a ! -e /var/lib/rabbitmq -a ! -e /var/log/rabbitmq
! getent passwd rabbitmq"#,
    ),
];

/// Tests the package of this binary. Returns why it could not, where the machine does not allow it.
pub(crate) fn run(binary: &Path) -> Result<Option<String>> {
    if shell::output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Ok(Some("it needs root".to_owned()));
    }
    let is_missing = |program: &&&str| {
        let probe = ["-c", &format!("command -v {program}")].map(str::to_owned);
        let found = Command::new("sh")
            .args(probe)
            .stdout(Stdio::null())
            .status();
        !found.is_ok_and(|status| status.success())
    };
    let missing: Vec<_> = PROGRAMS.iter().filter(is_missing).copied().collect();
    if !missing.is_empty() {
        return Ok(Some(format!("there is no {}", missing.join(", no "))));
    }
    let folder = shell::target().join("package");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let base = match debian(&folder) {
        Ok(base) => base,
        Err(error) => return Ok(Some(format!("no Debian to test on: {error:#}"))),
    };
    let root = folder.join("root");
    remove(&root)?;
    fs::create_dir(&root).with_context(|| format!("create {}", root.display()))?;
    check(
        Command::new("tar")
            .arg("-xf")
            .arg(&base)
            .arg("-C")
            .arg(&root),
    )?;
    for (suffix, name) in [("", "first.deb"), ("+1", "second.deb")] {
        let archive = package::build(binary, Purpose::Trial { suffix })?;
        let inside = root.join("srv").join(name);
        fs::copy(&archive, &inside).with_context(|| format!("copy {}", archive.display()))?;
    }
    let machine = match Machine::start(&root) {
        Ok(machine) => machine,
        Err(error) => return Ok(Some(format!("no systemd of its own: {error:#}"))),
    };
    for (name, script) in TRIALS {
        let started = Instant::now();
        machine
            .run(script)
            .with_context(|| format!("the package: not true that {name}"))?;
        eprintln!("{name} ({:.1} s)", started.elapsed().as_secs_f64());
    }
    drop(machine);
    remove(&root)?;
    Ok(None)
}

/// An archive of a clean Debian; made once.
fn debian(folder: &Path) -> Result<PathBuf> {
    let archive = folder.join(format!("{SUITE}.tar"));
    if archive.is_file() {
        return Ok(archive);
    }
    let root = folder.join("debootstrap");
    remove(&root)?;
    check(
        Command::new("debootstrap")
            .args(["--variant=minbase", INCLUDED, SUITE])
            .arg(&root)
            .stdout(Stdio::null()),
    )?;
    let unfinished = folder.join(format!("{SUITE}.tar.tmp"));
    check(
        Command::new("tar")
            .arg("-cf")
            .arg(&unfinished)
            .arg("-C")
            .arg(&root)
            .arg("."),
    )?;
    fs::rename(&unfinished, &archive).context("name the archive")?;
    remove(&root)?;
    Ok(archive)
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    Ok(())
}

/// A system in namespaces of its own; it ends with this.
struct Machine {
    unshare: Child,
    /// Process id of its systemd.
    init: u32,
}

impl Machine {
    fn start(root: &Path) -> Result<Self> {
        let namespaces = [
            "--mount",
            "--pid",
            "--net",
            "--cgroup",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
        ];
        let unshare = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", START, "sh"])
            .arg(root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("start unshare")?;
        let mut machine = Self { unshare, init: 0 };
        let deadline = Instant::now() + PATIENCE;
        while machine.init == 0 || !machine.is_up() {
            if let Some(status) = machine.unshare.try_wait().context("wait for it")? {
                bail!("it has ended: {status}");
            }
            ensure!(Instant::now() < deadline, "it does not start");
            std::thread::sleep(Duration::from_millis(100));
            machine.init = machine.child()?.unwrap_or(0);
        }
        Ok(machine)
    }

    /// The process that unshare has started: the shell that becomes systemd.
    fn child(&self) -> Result<Option<u32>> {
        let id = self.unshare.id();
        let path = format!("/proc/{id}/task/{id}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        Ok(children
            .split_whitespace()
            .next()
            .and_then(|id| id.parse().ok()))
    }

    fn is_up(&self) -> bool {
        let state = self
            .inside("systemctl is-system-running")
            .stderr(Stdio::null())
            .output();
        state.is_ok_and(|state| matches!(&state.stdout[..], b"running\n" | b"degraded\n"))
    }

    fn inside(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("-t")
            .arg(self.init.to_string())
            .args([
                "-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w", "sh", "-euc", script,
            ])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// Runs the lines of a script; the first that fails is the error.
    fn run(&self, script: &str) -> Result<()> {
        // With `set -e` a shell goes on after `! command`.
        let script: String = script
            .lines()
            .map(|line| match line.strip_prefix("! ") {
                Some(command) => {
                    format!("if {command}; then echo 'it succeeds: {command}' >&2; exit 1; fi\n")
                }
                None => format!("{line}\n"),
            })
            .collect();
        let output = self.inside(&format!("set -x\n{script}")).output();
        let output = output.context("start nsenter")?;
        if output.status.success() {
            return Ok(());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        bail!(
            "{}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With unshare its child dies, which is the first process of everything there.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
