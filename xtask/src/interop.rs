//! Other people's clients against this broker: installs, starts and judges the suites of `tests/interop`.
//!
//! What is checked is in the suites. Each gets a fresh broker on a free port of 127.0.0.1, and that broker has to end well.
//! Dependencies go to `target/interop/SUITE` and are installed again only when the files that pin them change.
//! Installations run beside the suites, one at a time and with less of the processors; suites run one after the other.
//! With `AMQP_URL` set, the suites run against that broker instead and none is started: that is how they are compared with RabbitMQ.

use crate::shell;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long one program of a suite may take; installations run beside it.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(900);
/// How long one step of an installation may take; the longest compiles a client on a busy machine.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a broker may take until it accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a broker may take to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a download is tried again that fails.
const DOWNLOAD_RETRIES: &str = "5";
/// The same for Debian's packages; somebody else may be installing some.
const APT_OPTIONS: [&str; 4] = ["-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=300"];
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How much of a failed program's output is shown.
const SHOWN_LINES_MAX: usize = 60;

/// How the suites ended.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Summary {
    fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// One folder of `tests/interop`.
struct Suite {
    name: &'static str,
    kind: Kind,
}

/// How a suite is installed and started.
enum Kind {
    /// A virtual environment with `requirements.txt`, and the programs to run in it.
    Python(&'static [&'static str]),
    Node,
    Maven,
    Go,
    /// A program in Go that does not speak AMQP.
    GoOverHttp,
    /// The programs of these packages, all in one target folder.
    Cargo(&'static [&'static str]),
    /// The program `rabbitmqadmin`, which `suite.py` drives, and one that uses the crate it is made of.
    Rabbitmqadmin,
    /// As `Python`, with a program from a Debian package that is unpacked and not installed.
    Unpacked(Unpacked),
    /// The same, with proxies from Debian; the program starts its brokers itself.
    Proxies,
    /// The same, with OpenLDAP's server.
    Ldap,
    /// A Debian package, as the other registries have no counterpart for it.
    Ruby,
}

/// A program of a Debian package.
struct Unpacked {
    package: &'static str,
    /// Its path in the package.
    file: &'static str,
    /// The variable that tells the suite where it is.
    variable: &'static str,
}

/// The programs of the suite that goes through the features row by row.
const PIKA: &[&str] = &[
    "suite.py",
    "features.py",
    "policies.py",
    "node.py",
    "pages.py",
    "tls.py",
    "tokens.py",
];

/// While one runs the next are installed, so those that run long come first, and then the one whose installation takes longest.
const SUITES: &[Suite] = &[
    Suite::new("pika", Kind::Python(PIKA)),
    Suite::new("celery", Kind::Python(&["suite.py"])),
    Suite::new("amqp091-go", Kind::Go),
    Suite::new(
        "rabbitmqadmin-v1",
        Kind::Unpacked(Unpacked {
            package: "rabbitmq-server",
            file: "usr/bin/rabbitmqadmin",
            variable: "RABBITMQADMIN",
        }),
    ),
    Suite::new("py-amqp", Kind::Python(&["suite.py"])),
    Suite::new("kombu", Kind::Python(&["suite.py"])),
    Suite::new("ldap", Kind::Ldap),
    Suite::new("amqplib", Kind::Node),
    Suite::new("bunny", Kind::Ruby),
    Suite::new("java", Kind::Maven),
    Suite::new("rabbitmqadmin", Kind::Rabbitmqadmin),
    Suite::new("openapi", Kind::Python(&["suite.py"])),
    Suite::new("aio-pika", Kind::Python(&["suite.py"])),
    Suite::new("lapin", Kind::Cargo(&["interop-lapin"])),
    Suite::new("pika-0.13", Kind::Python(&["suite.py"])),
    Suite::new("proxies", Kind::Proxies),
    Suite::new("rabbit-hole", Kind::GoOverHttp),
    Suite::new("terraform", Kind::Python(&["suite.py"])),
    Suite::new(
        "promtool",
        Kind::Unpacked(Unpacked {
            package: "prometheus",
            file: "usr/bin/promtool",
            variable: "PROMTOOL",
        }),
    ),
];

/// Runs all suites, or the one called `only`: a line each on the standard error stream, and the totals.
///
/// # Errors
/// If there is no suite of that name or the folders cannot be made. A suite that fails is counted, not an error.
pub(crate) fn run(root: &Path, warren: &Path, only: Option<&str>) -> Result<Summary> {
    let mut chosen = Vec::new();
    for suite in SUITES {
        if only.is_none_or(|only| only == suite.name) {
            chosen.push((suite, Place::new(root, suite.name)?));
        }
    }
    ensure!(
        !chosen.is_empty(),
        "no interop suite {:?}",
        only.unwrap_or_default()
    );
    let mut summary = Summary::default();
    let (sender, installed) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || install_all(chosen, &sender));
        for suite in installed {
            summary.count(suite.judge(warren));
        }
    });
    eprintln!("{} passed, {} failed", summary.passed, summary.failed);
    Ok(summary)
}

/// Installs one suite after the other; what failed is sent, too.
fn install_all(suites: Vec<(&'static Suite, Place)>, installed: &Sender<Installed>) {
    for (suite, place) in suites {
        let start = Instant::now();
        let programs = suite.install(&place);
        let suite = Installed {
            suite,
            place,
            programs,
            time: start.elapsed(),
        };
        // Nobody listens any more if a suite has made us panic.
        if installed.send(suite).is_err() {
            return;
        }
    }
}

/// A suite that can be run.
struct Installed {
    suite: &'static Suite,
    place: Place,
    /// What it consists of.
    programs: Result<Vec<Command>>,
    /// How long its installation took.
    time: Duration,
}

impl Installed {
    /// Runs it and says how it ended.
    fn judge(self, warren: &Path) -> bool {
        let start = Instant::now();
        let outcome = self
            .programs
            .and_then(|programs| self.suite.check(&self.place, programs, warren));
        let times = format!(
            "{:16}  {:>6.1} s to install, {:>6.1} s",
            self.suite.name,
            self.time.as_secs_f64(),
            start.elapsed().as_secs_f64()
        );
        match &outcome {
            Ok(()) => eprintln!("{times}  passed"),
            Err(error) => eprintln!("{times}  FAILED: {error:#}"),
        }
        outcome.is_ok()
    }
}

/// Where a suite's files are and where what it needs is put.
struct Place {
    /// `tests/interop`.
    suites: PathBuf,
    /// `tests/interop/SUITE`.
    source: PathBuf,
    /// `target/interop/SUITE`.
    build: PathBuf,
}

impl Place {
    fn new(root: &Path, name: &str) -> Result<Self> {
        let suites = root.join("tests/interop");
        let build = shell::target().join("interop").join(name);
        fs::create_dir_all(&build).with_context(|| format!("create {}", build.display()))?;
        Ok(Self {
            source: suites.join(name),
            suites,
            build,
        })
    }

    /// Runs `install` unless it succeeded before with the same `pins`, files below the source folder.
    fn install(&self, pins: &[&str], install: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut pinned = String::new();
        for pin in pins {
            let path = self.source.join(pin);
            pinned +=
                &fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        }
        // A suite can need more than one installation.
        let stamp = self.build.join(format!("installed.{}", pins[0]));
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) {
            return Ok(());
        }
        install().context("install")?;
        fs::write(&stamp, pinned).with_context(|| format!("write {}", stamp.display()))
    }

    /// A program in the source folder, in a process group of its own so that all it starts can be ended with it.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(program);
        command
            .current_dir(&self.source)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// The same for an installation, which stands back behind the suite that runs beside it.
    fn installer(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.command("nice");
        command.args(["-n", "10"]).arg(program);
        // A registry that does not answer at once is asked again.
        command
            .env("PIP_RETRIES", DOWNLOAD_RETRIES)
            .env("NPM_CONFIG_FETCH_RETRIES", DOWNLOAD_RETRIES)
            .env("CARGO_NET_RETRY", DOWNLOAD_RETRIES);
        command
    }

    fn copy(&self, names: &[&str]) -> Result<()> {
        for name in names {
            fs::copy(self.source.join(name), self.build.join(name))
                .with_context(|| format!("copy {name}"))?;
        }
        Ok(())
    }
}

impl Suite {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }

    fn check(&self, place: &Place, programs: Vec<Command>, warren: &Path) -> Result<()> {
        if let Ok(url) = std::env::var("AMQP_URL") {
            return run_programs(place, programs, &[("AMQP_URL", url)]);
        }
        let broker = Broker::start(place, warren)?;
        let plain = [
            ("AMQP_URL", broker.url()),
            ("HTTP_URL", format!("http://{}", broker.http_address)),
            (
                "HTTPS_URL",
                format!("https://localhost:{}", broker.https_address.port()),
            ),
            ("METRICS_URL", format!("http://{}", broker.metrics_address)),
            ("AMQPS_URL", broker.tls_url()),
            ("TLS_DIRECTORY", broker.certificates.display().to_string()),
            ("WARREN", warren.display().to_string()),
        ];
        let outcome = run_programs(place, programs, &plain).and_then(|()| {
            let Some(variables) = self.tls_variables(&broker)? else {
                return Ok(());
            };
            run_programs(place, self.install(place)?, &variables).context("over TLS")
        });
        let stopped = broker.stop();
        outcome.and(stopped)
    }

    /// Installs what the suite needs and gives the programs it consists of.
    fn install(&self, place: &Place) -> Result<Vec<Command>> {
        match self.kind {
            Kind::Python(programs) => python(place, programs),
            Kind::Node => node(place),
            Kind::Maven => maven(place),
            Kind::Go | Kind::GoOverHttp => go(place),
            Kind::Cargo(packages) => cargo(place, packages),
            Kind::Rabbitmqadmin => rabbitmqadmin(place),
            Kind::Unpacked(Unpacked {
                package,
                file,
                variable,
            }) => {
                let program = unpack(place, package, file)?;
                let mut programs = python(place, &["suite.py"])?;
                for suite in &mut programs {
                    suite.env(variable, &program);
                }
                Ok(programs)
            }
            Kind::Proxies => {
                debian(
                    place,
                    &["haproxy", "nginx", "libnginx-mod-stream"],
                    PROXIES_ARE_THERE,
                )?;
                python(place, &["suite.py"])
            }
            Kind::Ldap => {
                debian(place, &["slapd"], "test -x /usr/sbin/slapd")?;
                python(place, &["suite.py"])
            }
            Kind::Ruby => ruby(place),
        }
    }

    /// What makes the programs of a suite do all they do over TLS, with a certificate of the client; `None` if they have
    /// checks of their own for that, or none.
    fn tls_variables(&self, broker: &Broker) -> Result<Option<Vec<(&'static str, String)>>> {
        let url = broker.tls_url();
        let file = |name: &str| broker.certificates.join(name).display().to_string();
        match self.kind {
            Kind::Go => {
                let (ca, certificate, key) = (
                    file("ca_certificate.pem"),
                    file("client_certificate.pem"),
                    file("client_key.pem"),
                );
                let url = format!("{url}?cacertfile={ca}&certfile={certificate}&keyfile={key}");
                Ok(Some(vec![("AMQP_URL", url)]))
            }
            Kind::Maven => {
                key_stores(broker)?;
                let options = format!(
                    "-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword={STORE_PASSWORD} \
                     -Djavax.net.ssl.keyStore={} -Djavax.net.ssl.keyStorePassword={STORE_PASSWORD}",
                    file("trust.p12"),
                    file("client.p12")
                );
                Ok(Some(vec![
                    ("AMQP_URL", url),
                    ("JAVA_TOOL_OPTIONS", options),
                ]))
            }
            Kind::Python(_)
            | Kind::Node
            | Kind::GoOverHttp
            | Kind::Cargo(_)
            | Kind::Rabbitmqadmin
            | Kind::Unpacked(_)
            | Kind::Proxies
            | Kind::Ldap
            | Kind::Ruby => Ok(None),
        }
    }
}

/// Looks for both proxies and nginx's part for TCP.
const PROXIES_ARE_THERE: &str =
    "haproxy -v && nginx -v && test -e /usr/lib/nginx/modules/ngx_stream_module.so";

/// What protects the key stores of a test.
const STORE_PASSWORD: &str = "interop";

/// Java takes no PEM files.
fn key_stores(broker: &Broker) -> Result<()> {
    let at = &broker.certificates;
    shell::check(
        Command::new("keytool")
            .args([
                "-importcert",
                "-noprompt",
                "-alias",
                "ca",
                "-storetype",
                "PKCS12",
            ])
            .args(["-storepass", STORE_PASSWORD, "-keystore"])
            .arg(at.join("trust.p12"))
            .arg("-file")
            .arg(at.join("ca_certificate.pem")),
    )?;
    shell::check(
        Command::new("openssl")
            .args(["pkcs12", "-export", "-passout"])
            .arg(format!("pass:{STORE_PASSWORD}"))
            .arg("-in")
            .arg(at.join("client_certificate.pem"))
            .arg("-inkey")
            .arg(at.join("client_key.pem"))
            .arg("-out")
            .arg(at.join("client.p12")),
    )
}

fn python(place: &Place, programs: &[&str]) -> Result<Vec<Command>> {
    let environment = place.build.join("venv");
    let python = environment.join("bin/python");
    place.install(&["requirements.txt"], || {
        let new = "-m venv --clear --without-pip";
        let mut venv = place.installer("python3");
        install_step(place, venv.args(new.split(' ')).arg(&environment))?;
        let install = "install --quiet --disable-pip-version-check --requirement requirements.txt";
        let mut pip = place.installer(pip(place)?);
        pip.arg("--python").arg(&python).args(install.split(' '));
        install_step(place, &mut pip)
    })?;
    let start = |program: &&str| {
        let mut command = place.command(&python);
        command
            .arg(program)
            .env("PYTHONPATH", place.suites.join("common"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    Ok(programs.iter().map(start).collect())
}

/// A pip for all environments, as bringing one takes longer than most of what it installs.
fn pip(place: &Place) -> Result<PathBuf> {
    let environment = place.build.with_file_name("pip");
    let pip = environment.join("bin/pip");
    if !pip.is_file() {
        let mut venv = place.installer("python3");
        install_step(
            place,
            venv.args(["-m", "venv", "--clear"]).arg(&environment),
        )?;
    }
    Ok(pip)
}

fn node(place: &Place) -> Result<Vec<Command>> {
    // Modules are looked up from the folder of the importing file, so the program goes where they are.
    place.copy(&["package.json", "package-lock.json", "suite.js"])?;
    place.install(&["package-lock.json"], || {
        let mut npm = place.installer("npm");
        install_step(
            place,
            npm.args(["ci", "--no-audit", "--no-fund"])
                .current_dir(&place.build),
        )
    })?;
    let mut node = place.command("node");
    node.arg("suite.js").current_dir(&place.build);
    Ok(vec![node])
}

fn maven(place: &Place) -> Result<Vec<Command>> {
    let sources = [
        "pom.xml",
        "src/main/java/interop/Harness.java",
        "src/main/java/interop/Suite.java",
    ];
    place.install(&sources, || {
        let directory = format!("-Dinterop.directory={}", place.build.display());
        let mut mvn = place.installer("mvn");
        install_step(
            place,
            mvn.args(["--quiet", "--batch-mode", &directory, "compile"]),
        )
    })?;
    let path = place.build.join("classpath");
    let dependencies =
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut java = place.command("java");
    java.arg("-cp")
        .arg(format!(
            "{}:{}",
            place.build.join("classes").display(),
            dependencies.trim()
        ))
        .arg("interop.Suite");
    Ok(vec![java])
}

fn go(place: &Place) -> Result<Vec<Command>> {
    let program = place.build.join("suite");
    place.install(&["go.mod", "go.sum", "main.go"], || {
        install_step(
            place,
            place.installer("go").args(["build", "-o"]).arg(&program),
        )
    })?;
    Ok(vec![place.command(program)])
}

/// Builds them beside the workspace, as many of their dependencies are built there; cargo knows whether there is something to do.
fn cargo(place: &Place, packages: &[&str]) -> Result<Vec<Command>> {
    let mut build = place.installer("cargo");
    build
        .args(["build", "--quiet", "--locked", "--target-dir"])
        .arg(shell::target());
    for package in packages {
        build.args(["--package", package]);
    }
    install_step(place, &mut build)?;
    let start = |package: &&str| place.command(shell::target().join("debug").join(package));
    Ok(packages.iter().map(start).collect())
}

fn rabbitmqadmin(place: &Place) -> Result<Vec<Command>> {
    const PACKAGES: &[&str] = &["interop-rabbitmqadmin", "rabbitmqadmin"];
    let mut built = cargo(place, PACKAGES)?;
    let program = built.pop().expect("it gives a command for each package");
    let mut programs = python(place, &["suite.py"])?;
    for suite in &mut programs {
        suite.env("RABBITMQADMIN", program.get_program());
    }
    built.append(&mut programs);
    Ok(built)
}

/// Installs Debian packages, unless a line of shell says that what they bring is there.
fn debian(place: &Place, packages: &[&str], probe: &str) -> Result<()> {
    let is_there = || {
        let mut shell = place.command("sh");
        install_step(place, shell.args(["-c", probe])).is_ok()
    };
    if is_there() {
        return Ok(());
    }
    let update = ["update"];
    let install: Vec<&str> = ["install", "--yes"]
        .iter()
        .chain(packages)
        .copied()
        .collect();
    for arguments in [&update[..], &install] {
        let mut apt = place.installer("apt-get");
        apt.args(APT_OPTIONS)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        install_step(place, &mut apt).with_context(|| {
            let packages = packages.join(" ");
            format!("install the Debian packages {packages}, or run this as root")
        })?;
    }
    ensure!(
        is_there(),
        "this fails after the packages were installed: {probe}"
    );
    Ok(())
}

/// Unpacks a Debian package below the build folder and gives the path of one of its files.
///
/// It is not installed: only a program is wanted, and neither its services nor what these depend on.
fn unpack(place: &Place, package: &str, file: &str) -> Result<PathBuf> {
    let folder = place.build.join(package);
    if folder.join(file).is_file() {
        return Ok(folder.join(file));
    }
    let download = place.build.join("download");
    for folder in [&download, &folder] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    fs::create_dir_all(&download).with_context(|| format!("create {}", download.display()))?;
    let apt = |arguments: &[&str]| {
        let mut apt = place.installer("apt-get");
        install_step(
            place,
            apt.args(APT_OPTIONS).args(arguments).current_dir(&download),
        )
        .with_context(|| format!("get the Debian package {package}"))
    };
    // The lists are fetched only if they are missing or too old, as that takes root.
    if apt(&["download", package]).is_err() {
        apt(&["update"])?;
        apt(&["download", package])?;
    }
    let archive = fs::read_dir(&download)
        .with_context(|| format!("list {}", download.display()))?
        .next()
        .with_context(|| format!("apt-get has left no package {package}"))?
        .with_context(|| format!("list {}", download.display()))?
        .path();
    let mut dpkg = place.installer("dpkg-deb");
    install_step(place, dpkg.arg("--extract").arg(archive).arg(&folder))?;
    let path = folder.join(file);
    ensure!(path.is_file(), "the Debian package {package} has no {file}");
    Ok(path)
}

fn ruby(place: &Place) -> Result<Vec<Command>> {
    debian(
        place,
        &["ruby", "ruby-bunny"],
        "ruby -e \"require 'bunny'\"",
    )?;
    let mut ruby = place.command("ruby");
    ruby.arg("suite.rb");
    Ok(vec![ruby])
}

/// Runs all programs, also after one failed, so that one run shows all that is wrong.
fn run_programs(place: &Place, programs: Vec<Command>, variables: &[(&str, String)]) -> Result<()> {
    let failures: Vec<String> = programs
        .into_iter()
        .filter_map(|mut program| {
            for (name, value) in variables {
                program.env(name, value);
            }
            finish(place, &mut program, PROGRAM_TIMEOUT).err()
        })
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn install_step(place: &Place, command: &mut Command) -> Result<()> {
    finish(place, command, INSTALL_TIMEOUT)
}

/// Runs a program to its end with its output in a file, and shows the end of that file if it fails.
fn finish(place: &Place, command: &mut Command, timeout: Duration) -> Result<()> {
    let path = place.build.join("output");
    let output = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let program = shell::show(command);
    let mut child = command
        .stdout(output.try_clone().context("share the output file")?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let status = wait(&mut child, timeout)?;
    if status.is_none() {
        signal("KILL", &format!("-{}", child.id()))?;
        child.wait().context("wait for a killed program")?;
    }
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{program}: {status}\n{}", tail(&path)),
        None => bail!(
            "{program}: not done after {} s\n{}",
            timeout.as_secs(),
            tail(&path)
        ),
    }
}

/// The last lines of a file.
fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n")
}

/// Waits for the end of a program; `None` if it still runs at the deadline.
fn wait(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        let status = child.try_wait().context("wait for a program")?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Signals a process, or with a `-` before its id the group it leads.
fn signal(name: &str, target: &str) -> Result<()> {
    let status = Command::new("kill")
        .args(["-s", name, "--", target])
        .status()
        .context("start kill")?;
    ensure!(status.success(), "kill -s {name} {target}: {status}");
    Ok(())
}

/// A broker with an empty data folder, killed if it is dropped without [`Broker::stop`].
struct Broker {
    child: Child,
    address: SocketAddr,
    http_address: SocketAddr,
    tls_address: SocketAddr,
    https_address: SocketAddr,
    metrics_address: SocketAddr,
    /// Where the certificates are.
    certificates: PathBuf,
    log: PathBuf,
}

impl Broker {
    fn start(place: &Place, warren: &Path) -> Result<Self> {
        let data = place.build.join("data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))?;
        }
        fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        let certificates = place.build.join("tls");
        if certificates.exists() {
            fs::remove_dir_all(&certificates)
                .with_context(|| format!("remove {}", certificates.display()))?;
        }
        shell::check(
            Command::new(warren)
                .args(["tls", "generate", "--user", "guest"])
                .arg(&certificates),
        )?;
        let (http_address, tls_address) = (free_address(), free_address());
        let (https_address, metrics_address) = (free_address(), free_address());
        let (http_port, metrics_port) = (http_address.port(), metrics_address.port());
        let https_port = https_address.port();
        let at = certificates.display();
        // A file of its own, so that a configuration of this machine has no say.
        let configuration = place.build.join("rabbitmq.conf");
        let settings = format!(
            "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {http_port}\nlisteners.ssl.1 = {tls_address}\n\
             management.ssl.ip = 127.0.0.1\nmanagement.ssl.port = {https_port}\n\
             management.ssl.cacertfile = {at}/ca_certificate.pem\n\
             management.ssl.certfile = {at}/server_certificate.pem\n\
             management.ssl.keyfile = {at}/server_key.pem\n\
             prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {metrics_port}\n\
             ssl_options.cacertfile = {at}/ca_certificate.pem\nssl_options.certfile = {at}/server_certificate.pem\n\
             ssl_options.keyfile = {at}/server_key.pem\nssl_options.verify = verify_peer\n\
             ssl_cert_login_from = common_name\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = AMQPLAIN\n\
             auth_mechanisms.3 = ANONYMOUS\nauth_mechanisms.4 = EXTERNAL\n"
        );
        fs::write(&configuration, settings).context("write rabbitmq.conf")?;
        let log = place.build.join("broker.log");
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let address = free_address();
        let child = Command::new(warren)
            .arg("server")
            .env("RABBITMQ_NODE_IP_ADDRESS", address.ip().to_string())
            .env("RABBITMQ_NODE_PORT", address.port().to_string())
            .env("RABBITMQ_MNESIA_DIR", &data)
            .env("RABBITMQ_CONFIG_FILE", &configuration)
            .env("RABBITMQ_CONFIG_FILES", place.build.join("conf.d"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the log file")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", warren.display()))?;
        let mut broker = Self {
            child,
            address,
            http_address,
            tls_address,
            https_address,
            metrics_address,
            certificates,
            log,
        };
        broker.await_ready()?;
        Ok(broker)
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@{}/", self.address)
    }

    fn tls_url(&self) -> String {
        format!("amqps://guest:guest@localhost:{}/", self.tls_address.port())
    }

    /// Waits for all its listeners, as it does not open them at once.
    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        for address in [
            self.address,
            self.tls_address,
            self.http_address,
            self.https_address,
            self.metrics_address,
        ] {
            while TcpStream::connect(address).is_err() {
                if let Some(status) = self.child.try_wait().context("look at the broker")? {
                    bail!("the broker did not start: {status}\n{}", tail(&self.log));
                }
                ensure!(
                    Instant::now() < deadline,
                    "the broker does not listen on {address}\n{}",
                    tail(&self.log)
                );
                thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// Asks the broker to end and expects it to do so, in time and with success.
    fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("look at the broker")? {
            bail!(
                "the broker ended during the suite: {status}\n{}",
                tail(&self.log)
            );
        }
        signal("TERM", &self.child.id().to_string())?;
        match wait(&mut self.child, STOP_TIMEOUT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the broker ended with {status}\n{}", tail(&self.log)),
            None => bail!(
                "the broker runs {} s after SIGTERM\n{}",
                STOP_TIMEOUT.as_secs(),
                tail(&self.log)
            ),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only if the process has ended and was waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address nothing listens on, another one each time. Its port is below those that the kernel gives to clients, so that none of
/// them has it before the broker does.
fn free_address() -> SocketAddr {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Tests and suites look there as well, each from another port on.
    let from = std::process::id().wrapping_mul(101);
    loop {
        let offset = from.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + offset % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).expect("the range is one of ports");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_a_folder_and_every_folder_a_suite() {
        let folder = shell::root().join("tests/interop");
        let mut found: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir() && entry.file_name() != "common")
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        let mut named: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        found.sort();
        named.sort_unstable();
        assert_eq!(found, named);
    }

    #[test]
    fn an_unknown_suite_is_an_error() {
        let root = shell::root();
        assert!(run(&root, Path::new("warren"), Some("no-such-suite")).is_err());
    }
}
