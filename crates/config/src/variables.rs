//! The `RABBITMQ_*` variables: what each means here, and the way through them.
//!
//! One table, [`VARIABLES`], knows them all; `docs/configuration.md` and `warren config explain` come from it. The real environment
//! wins over `rabbitmq-env.conf`, and both over a default.

use crate::env_file;
use crate::error::Problem;
use crate::surroundings::Surroundings;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What this node makes of it.
    pub state: VariableState,
    /// What holds if it is not set, in words.
    pub default: &'static str,
    /// One sentence for an operator.
    pub meaning: &'static str,
}

/// What a node makes of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableState {
    /// It is honoured.
    Honoured,
    /// It is accepted and has no effect, and a line of the log says so.
    Accepted,
    /// A node does not start with it, since nothing would follow from it.
    Refused,
}

use VariableState::{Accepted, Honoured, Refused};

macro_rules! variables {
    ($($state:ident $name:literal, $default:literal, $meaning:literal;)*) => {
        /// All variables. Others that begin with `RABBITMQ_` are somebody else's (Kubernetes sets such for services) and are left alone.
        pub static VARIABLES: &[Variable] = &[$(Variable {
            name: concat!("RABBITMQ_", $name),
            state: $state,
            default: $default,
            meaning: $meaning,
        },)*];
    };
}

variables! {
    Honoured "NODENAME", "`rabbit@` and the short host name", "Name of the node; a name without `@` gets the host name.";
    Honoured "USE_LONGNAME", "`false`", "`true` takes the host's long name for the node's.";
    Honoured "NODE_IP_ADDRESS", "all addresses", "Where to listen, if no file names a listener.";
    Honoured "NODE_PORT", "`5672`", "Port of that listener.";
    Honoured "BASE", "", "Directory above `db` and `log`, where the more special variables say nothing.";
    Honoured "MNESIA_BASE", "`/var/lib/rabbitmq/mnesia` if it can be written, else `$XDG_STATE_HOME/warrenmq`, else `~/.local/state/warrenmq`", "Directory above the data directories of nodes.";
    Honoured "MNESIA_DIR", "base and node name", "Data directory of this node.";
    Honoured "CONFIG_FILE", "`/etc/rabbitmq/rabbitmq.conf`", "Main file, with or without `.conf`; one that ends in `.config` holds Erlang terms.";
    Honoured "CONFIG_FILES", "`/etc/rabbitmq/conf.d`", "Directory of further files.";
    Honoured "ADVANCED_CONFIG_FILE", "`/etc/rabbitmq/advanced.config`", "File of Erlang terms, read last; with or without `.config`.";
    Honoured "CONF_ENV_FILE", "`/etc/rabbitmq/rabbitmq-env.conf`", "File of variables.";
    Honoured "LOGS", "a file in the log directory, if there is one", "Log file; `-` is the console alone.";
    Honoured "LOG_BASE", "", "Directory of log files; setting it turns the log file on.";
    Honoured "LOG", "", "Levels: `debug`, or `connection=debug,queue=error`; `+json` and `-color` choose the console's form.";
    Honoured "PID_FILE", "data directory and `.pid`, for `rabbitmq-server`", "Where the process id is written.";
    Honoured "KEEP_PID_FILE_ON_EXIT", "`false`", "`true` leaves that file when the node stops.";
    Honoured "MAX_OPEN_FILES", "", "Open files that the process asks for.";
    Honoured "LIMIT_NOFILE", "", "The same.";
    Honoured "DEFAULT_USER", "as `default_user`", "Wins over that key.";
    Honoured "DEFAULT_PASS", "as `default_pass`", "Wins over that key.";
    Honoured "DEFAULT_VHOST", "as `default_vhost`", "Wins over that key.";
    Honoured "DEFAULT_USER_FILE", "", "File whose first line is the name of the default user.";
    Honoured "DEFAULT_PASS_FILE", "", "File whose first line is the password of the default user.";
    Honoured "MOTD_FILE", "", "Text that is logged at start, as the key `motd_file`.";
    Accepted "HOME", "", "There is one program, which needs no installation directory.";
    Accepted "SASL_LOGS", "", "There is one log; RabbitMQ ignores this since 3.7 too.";
    Accepted "CONSOLE_LOG", "", "For services of Windows.";
    Accepted "SERVICENAME", "", "For services of Windows.";
    Accepted "SERVICE_RESTART", "", "For services of Windows.";
    Accepted "PLUGINS_DIR", "", "What RabbitMQ has in plugins is part of the program.";
    Accepted "PLUGINS_EXPAND_DIR", "", "The same.";
    Honoured "ENABLED_PLUGINS_FILE", "`/etc/rabbitmq/enabled_plugins` if it is there, else `enabled_plugins` in the data directory", "The list of enabled plugins, as a term.";
    Honoured "ENABLED_PLUGINS", "", "Plugins to enable at the start, with commas between them, or `ALL`; the list says the same from then on.";
    Accepted "FEATURE_FLAGS", "", "All feature flags are always on.";
    Accepted "FEATURE_FLAGS_FILE", "", "The same.";
    Accepted "QUORUM_DIR", "", "Everything durable is in the data directory's one log.";
    Accepted "STREAM_DIR", "", "The same.";
    Accepted "ERLANG_COOKIE", "", "There is no Erlang distribution.";
    Accepted "DIST_PORT", "", "The same.";
    Accepted "CTL_DIST_PORT_MIN", "", "The same.";
    Accepted "CTL_DIST_PORT_MAX", "", "The same.";
    Accepted "DISTRIBUTION_BUFFER_SIZE", "", "The same.";
    Accepted "CTL_ERL_ARGS", "", "There is no Erlang VM.";
    Accepted "SERVER_ERL_ARGS", "", "The same.";
    Accepted "SERVER_ADDITIONAL_ERL_ARGS", "", "The same.";
    Accepted "SERVER_START_ARGS", "", "The same.";
    Accepted "SERVER_CODE_PATH", "", "The same.";
    Accepted "IO_THREAD_POOL_SIZE", "", "The same.";
    Accepted "MAX_NUMBER_OF_PROCESSES", "", "The same.";
    Accepted "MAX_NUMBER_OF_ATOMS", "", "The same.";
    Accepted "SCHEDULER_BIND_TYPE", "", "The same.";
    Accepted "SCHEDULER_BUSY_WAIT_THRESHOLD", "", "The same.";
    Accepted "DEFAULT_ALLOC_ARGS", "", "The same.";
    Accepted "ALLOW_INPUT", "", "The same.";
    Accepted "DBG", "", "The same.";
    Accepted "IGNORE_SIGINT", "", "The same.";
    Accepted "CLI_ALIASES_FILE", "", "It is for the command line tools.";
    Refused "NODE_ONLY", "", "a node without a broker is not supported";
    Honoured "PRODUCT_NAME", "as `product.name`", "Wins over that key.";
    Honoured "PRODUCT_VERSION", "as `product.version`", "Wins over that key.";
    Refused "VM_MEMORY_HIGH_WATERMARK", "", "set vm_memory_high_watermark.relative or .absolute in rabbitmq.conf";
    Refused "SSL_CACERTFILE", "", "set ssl_options.cacertfile in rabbitmq.conf";
    Refused "SSL_CERTFILE", "", "set ssl_options.certfile in rabbitmq.conf";
    Refused "SSL_KEYFILE", "", "set ssl_options.keyfile in rabbitmq.conf";
    Refused "SSL_DEPTH", "", "set ssl_options.depth in rabbitmq.conf";
    Refused "SSL_VERIFY", "", "set ssl_options.verify in rabbitmq.conf";
    Refused "SSL_FAIL_IF_NO_PEER_CERT", "", "set ssl_options.fail_if_no_peer_cert in rabbitmq.conf";
    Refused "MANAGEMENT_SSL_CACERTFILE", "", "set management.ssl.cacertfile in rabbitmq.conf";
    Refused "MANAGEMENT_SSL_CERTFILE", "", "set management.ssl.certfile in rabbitmq.conf";
    Refused "MANAGEMENT_SSL_KEYFILE", "", "set management.ssl.keyfile in rabbitmq.conf";
    Refused "MANAGEMENT_SSL_DEPTH", "", "set management.ssl.depth in rabbitmq.conf";
    Refused "MANAGEMENT_SSL_VERIFY", "", "set management.ssl.verify in rabbitmq.conf";
    Refused "MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT", "", "set management.ssl.fail_if_no_peer_cert in rabbitmq.conf";
}

/// Where packages keep the file of variables.
const SYSTEM_ENV_FILE: &str = "/etc/rabbitmq/rabbitmq-env.conf";

/// Surroundings in which `rabbitmq-env.conf` has been read.
pub(crate) struct WithEnvFile<'a> {
    inner: &'a dyn Surroundings,
    values: BTreeMap<String, String>,
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
}

impl<'a> WithEnvFile<'a> {
    /// Reads the file.
    pub(crate) fn new(inner: &'a dyn Surroundings, problems: &mut Vec<Problem>) -> Self {
        let mut read = Self {
            inner,
            values: BTreeMap::new(),
            file: None,
        };
        let named = inner.variable("RABBITMQ_CONF_ENV_FILE");
        let path = PathBuf::from(named.as_deref().unwrap_or(SYSTEM_ENV_FILE));
        if !inner.is_file(&path) {
            return read;
        }
        let file = path.display().to_string();
        match inner.read(&path) {
            Ok(text) => {
                let (values, bad) = env_file::parse(&file, &text, &|name| inner.variable(name));
                read.values = values;
                problems.extend(bad);
            }
            Err(error) => problems.push(Problem::Unreadable {
                file,
                reason: error.to_string(),
            }),
        }
        read.file = Some(path);
        read
    }

    /// What an operator must know of the variables that are set.
    pub(crate) fn check(&self, notes: &mut Vec<String>, problems: &mut Vec<Problem>) {
        for variable in VARIABLES {
            let name = variable.name;
            if self.variable(name).is_none() {
                continue;
            }
            match variable.state {
                Honoured => {}
                Accepted => {
                    notes.push(format!(
                        "environment variable {name} is set but has no effect"
                    ));
                }
                Refused => problems.push(Problem::RefusedVariable {
                    name,
                    reason: variable.meaning,
                }),
            }
        }
    }
}

impl Surroundings for WithEnvFile<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.inner.variable(name).or_else(|| {
            let value = self.values.get(name).cloned();
            value.filter(|value| !value.is_empty())
        })
    }

    fn host_name(&self) -> String {
        self.inner.host_name()
    }

    fn is_file(&self, path: &Path) -> bool {
        self.inner.is_file(path)
    }

    fn is_writable_directory(&self, path: &Path) -> bool {
        self.inner.is_writable_directory(path)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.inner.read(path)
    }

    fn list(&self, directory: &Path) -> Vec<PathBuf> {
        self.inner.list(directory)
    }
}
