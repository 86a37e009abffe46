//! The `warren` program: one binary that is the broker and its tools.
//!
//! It answers to the names of RabbitMQ's programs when it is called by them (a link is enough), so that scripts run unchanged.
//! This file only looks at its name and arguments; the broker is the crate `node`, the load generator the crate `perf`.

mod config_command;
mod daemon;
mod document;
mod log;

use clap::{Parser, Subcommand};
use cli::Tool;
use config::{Process, Settings};
use config_command::ConfigCommand;
use daemon::PidFile;
use management::Control;
use node::{Handle, Lifecycle, NodeError};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(
    unsafe_code,
    reason = "a function of the allocator that is linked in and that may be called at any time"
)]
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Memory that is freed stays with the allocator for a while, and the memory alarm would take it for used.
fn release_memory() {
    mi_collect(true);
}

/// A huge page is resident as a whole when a byte of it is: with the few that an allocator touches an idle node would be twice its
/// size, and no load was found that they make cheaper. The allocator asks for none (see its features in the root manifest); this is
/// for systems that hand them out unasked. Where it cannot be done nothing is lost but memory.
fn avoid_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// What a newcomer does first.
const FIRST_STEPS: &str = "\
First steps:
  warren server              start a broker; AMQP on port 5672, http://localhost:15672
  warren ctl status          ask it how it is, as the same user
  warren ctl add_user NAME   create a user; guest may log in from this host only
  warren config check        read the configuration without starting
  warren doctor              find out why something does not work

Called by the name of one of RabbitMQ's programs (rabbitmq-server, rabbitmqctl,
rabbitmq-plugins, ...) it is that program.";

/// A message broker for RabbitMQ's clients.
#[derive(Debug, Parser)]
#[command(name = "warren", version, arg_required_else_help = true, after_help = FIRST_STEPS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker. It is configured by rabbitmq.conf and the RABBITMQ_* environment variables.
    Server,
    /// Certificates for trying out TLS.
    Tls {
        #[command(subcommand)]
        command: TlsCommand,
    },
    /// Move in from a running RabbitMQ; `warren import --help` tells more.
    #[command(disable_help_flag = true)]
    Import {
        /// Arguments of the command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check this host, the configuration and the data directory, and say what to fix.
    #[command(disable_help_flag = true)]
    Doctor {
        /// Arguments of the command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Control a node, as rabbitmqctl does; `warren ctl help` tells more.
    #[command(disable_help_flag = true)]
    Ctl(Words),
    /// Look at a node, as rabbitmq-diagnostics does.
    #[command(disable_help_flag = true)]
    Diagnostics(Words),
    /// Enable and disable plugins, as rabbitmq-plugins does.
    #[command(disable_help_flag = true)]
    Plugins(Words),
    /// Control replicated queues, as rabbitmq-queues does.
    #[command(disable_help_flag = true)]
    Queues(Words),
    /// Control streams, as rabbitmq-streams does.
    #[command(disable_help_flag = true)]
    Streams(Words),
    /// Prepare a node for an upgrade, as rabbitmq-upgrade does.
    #[command(disable_help_flag = true)]
    Upgrade(Words),
    /// Write what a shell reads to complete the command lines of warren and its tools.
    Completion {
        /// The shell.
        shell: document::ShellName,
    },
    /// Write the manual page of warren or of one of its tools.
    Manual {
        /// `warren` or the name of a tool, such as rabbitmqctl.
        #[arg(default_value = "warren")]
        program: String,
    },
    /// Generate load and measure a broker; `warren perf --help` tells more.
    #[command(disable_help_flag = true)]
    Perf {
        /// Arguments of the load generator.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Subcommand)]
enum TlsCommand {
    /// Write a test authority, a server's and a client's certificate with their keys into a directory.
    Generate {
        /// The directory; it is made if it is not there, and no file in it is replaced.
        directory: PathBuf,
        /// Name of the server, besides localhost.
        #[arg(long, default_value = "localhost")]
        host: String,
        /// Name of the user in the client's certificate.
        #[arg(long, default_value = "guest")]
        user: String,
    },
}

/// What another tool reads by itself.
#[derive(Debug, clap::Args)]
struct Words {
    /// A command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

fn main() -> ExitCode {
    let started = Instant::now();
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    let name = Path::new(&called_as)
        .file_name()
        .unwrap_or_default()
        .to_os_string();
    if let Some(tool) = name.to_str().and_then(Tool::find) {
        return cli::run(tool, arguments);
    }
    let result = if name == "rabbitmq-server" {
        rabbitmq_server(arguments, started)
    } else {
        warren(started)
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}: {error:#}", name.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

fn warren(started: Instant) -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Server => return serve(started, ProcessKind::Program),
        Command::Config(command) => return Ok(config_command::run(command)),
        Command::Tls {
            command:
                TlsCommand::Generate {
                    directory,
                    host,
                    user,
                },
        } => transport::generate(&directory, &host, &user)?,
        Command::Import { arguments } => {
            import::run(std::iter::once(OsString::from("warren import")).chain(arguments))?;
        }
        Command::Doctor { arguments } => {
            let name = OsString::from("warren doctor");
            if !doctor::run(
                std::iter::once(name).chain(arguments),
                &config_command::problem,
            )? {
                // What is wrong is said already.
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Perf { arguments } => {
            perf::run(std::iter::once(OsString::from("warren perf")).chain(arguments))?;
        }
        Command::Completion { shell } => document::completion(shell),
        Command::Manual { program } => document::manual(&program)?,
        Command::Ctl(Words { words }) => return Ok(cli::run(Tool::Ctl, words)),
        Command::Diagnostics(Words { words }) => return Ok(cli::run(Tool::Diagnostics, words)),
        Command::Plugins(Words { words }) => return Ok(cli::run(Tool::Plugins, words)),
        Command::Queues(Words { words }) => return Ok(cli::run(Tool::Queues, words)),
        Command::Streams(Words { words }) => return Ok(cli::run(Tool::Streams, words)),
        Command::Upgrade(Words { words }) => return Ok(cli::run(Tool::Upgrade, words)),
    }
    Ok(ExitCode::SUCCESS)
}

/// `rabbitmq-server` takes its configuration from files and the environment only; `-detached` leaves the terminal.
fn rabbitmq_server(
    arguments: impl Iterator<Item = OsString>,
    started: Instant,
) -> anyhow::Result<ExitCode> {
    let mut detached = false;
    for argument in arguments {
        match argument.to_str() {
            Some("-detached" | "--detached") => detached = true,
            _ => anyhow::bail!("argument '{}' is not supported", argument.to_string_lossy()),
        }
    }
    if !detached {
        return serve(started, ProcessKind::Service);
    }
    if let Err(error) = config::load(&Process) {
        return Ok(config_command::boot_failed(&error));
    }
    daemon::detach()?;
    Ok(ExitCode::SUCCESS)
}

/// What the process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessKind {
    /// Somebody's program.
    Program,
    /// A service, which others find by its pid file.
    Service,
}

fn serve(started: Instant, kind: ProcessKind) -> anyhow::Result<ExitCode> {
    avoid_huge_pages();
    let is_detached = daemon::is_detached();
    let loaded = match config::load(&Process) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(config_command::boot_failed(&error)),
    };
    let settings = &loaded.settings;
    let log = log::start(&settings.log).map_err(|error| {
        let text = config_command::with_places(&loaded, format!("{error:#}"), &["log."]);
        anyhow::Error::msg(text)
    })?;
    node::install_log_control(Box::new(log.control.clone()));
    daemon::reopen_at_hangup(log.control.clone())?;
    daemon::raise_open_files(settings);
    let is_service = kind == ProcessKind::Service || is_detached;
    let _pid_file = is_service.then(|| PidFile::write(settings)).transpose()?;
    log_start(&loaded);
    let log_publisher = Arc::new(Mutex::new(Some(log.publisher)));
    let lifecycle = Arc::new(Lifecycle::default());
    let control = Control::open(settings, Arc::clone(&lifecycle), started);
    let services = |handle: &Handle| {
        let mut services = management::start(handle, control.as_ref())?;
        let publisher = log::exchange::start(&log_publisher, handle.clone());
        services.extend(publisher.map_err(|source| NodeError::System {
            what: "start thread of the log exchange",
            source,
        })?);
        Ok(services)
    };
    let reload = || reload(settings, &log.control);
    let ran = node::run(
        settings.clone(),
        &reload,
        started,
        release_memory,
        &services,
        &lifecycle,
    );
    Ok(match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => config_command::not_started(&loaded, &error),
    })
}

/// Reads the configuration again for a broker that starts again in this process, which began with `first`.
fn reload(first: &Settings, log: &log::Control) -> Result<Settings, String> {
    let loaded = config::load(&Process).map_err(|error| config::BootFailure(&error).to_string())?;
    let settings = &loaded.settings;
    if settings.node_name != first.node_name || settings.data_dir != first.data_dir {
        return Err(format!(
            "this process is node {} with data directory {}, and the configuration names node {} with {}: end the process and start it again",
            first.node_name,
            first.data_dir.display(),
            settings.node_name,
            settings.data_dir.display(),
        ));
    }
    let followed = log.follow(&settings.log);
    followed.map_err(|error| format!("the log cannot go where the configuration says: {error}"))?;
    let reopened = daemon::reopen_at_hangup(log.clone());
    reopened.map_err(|error| error.to_string())?;
    log_start(&loaded);
    Ok(loaded.settings)
}

/// What an operator wants to find in a log first, in RabbitMQ's form.
fn log_start(loaded: &config::Loaded) {
    let settings = &loaded.settings;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(
        "\n Starting WarrenMQ {version} for clients of RabbitMQ {}",
        node::RABBITMQ_VERSION
    );
    let shown = |paths: Vec<String>| match paths.is_empty() {
        true => "(none)".to_owned(),
        false => paths.join("\n                : "),
    };
    let files = loaded.files.iter().map(|file| file.display().to_string());
    let mut logs: Vec<String> = Vec::new();
    logs.extend(
        settings
            .log
            .file
            .iter()
            .map(|file| file.display().to_string()),
    );
    if settings.log.console.is_on {
        let to_stdout = settings.log.console.to_stdout;
        logs.push(if to_stdout { "<stdout>" } else { "<stderr>" }.to_owned());
    }
    tracing::info!(
        "\n node           : {}\n home dir       : {}\n config file(s) : {}\n log(s)         : {}\n data dir       : {}",
        settings.node_name,
        std::env::var("HOME").unwrap_or_default(),
        shown(files.collect()),
        shown(logs),
        settings.data_dir.display()
    );
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    if let Some(path) = &settings.motd_file {
        match std::fs::read_to_string(path) {
            Ok(text) => tracing::info!("{}", text.trim_end()),
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read motd_file"),
        }
    }
}
