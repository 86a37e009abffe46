//! Message tracing to files, as the plugin rabbitmq_tracing has it: a trace is a consumer of the node's own that is bound to
//! `amq.rabbitmq.trace` and writes what comes.
//!
//! Here is which traces run; [`tracer`] is one of them, [`record`] what it writes, [`file`] where to. What is copied to that exchange
//! is the protocols' matter. Traces end with the node; their files stay.
//!
//! RabbitMQ docs: firehose. Compat: a trace that cannot begin leaves nothing behind, and two traces never write to one file.

pub(crate) mod file;
mod record;
mod tracer;

use crate::access;
use crate::json::Object;
use crate::state::State;
use base::Name;
use broker::command::MetadataCommand;
use broker::vhost_metadata::VhostChanges;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracer::Tracer;

/// Traces that run at once.
const TRACES_MAX: usize = 64;

/// What the threads of traces do is wait, and write files.
const THREADS: usize = 1;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Format {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// What somebody wants to be traced.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) vhost: Name,
    pub(crate) name: Name,
    pub(crate) format: Format,
    /// With which it is bound to the exchange.
    pub(crate) pattern: String,
    /// Bytes of a body that are written; `None` for all.
    pub(crate) payload_bytes_max: Option<usize>,
    /// Who consumes the copies; `None` for the user of the configuration.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// A trace that runs.
struct Running {
    trace: Trace,
    queue: Name,
    lost: Arc<AtomicU64>,
    /// Tells it to end.
    _stop: oneshot::Sender<()>,
}

/// All traces.
#[derive(Default)]
pub(crate) struct Traces {
    /// Held while a trace begins or ends.
    changing: tokio::sync::Mutex<()>,
    running: Mutex<BTreeMap<(Name, Name), Running>>,
    runtime: Mutex<Option<Runtime>>,
}

/// A trace as others see it.
pub(crate) struct Shown {
    pub(crate) vhost: Name,
    pub(crate) queue: Name,
    /// Its own fields.
    pub(crate) fields: Object,
    /// Records that could not be written.
    pub(crate) lost: u64,
}

impl Traces {
    /// Those that run, by vhost and name.
    pub(crate) fn list(&self) -> Vec<Shown> {
        self.running.lock().values().map(Running::shown).collect()
    }

    /// One of them.
    pub(crate) fn find(&self, vhost: &Name, name: &Name) -> Option<Shown> {
        let key = (vhost.clone(), name.clone());
        self.running.lock().get(&key).map(Running::shown)
    }

    /// Begins a trace on behalf of a user, and switches tracing on in its vhost.
    ///
    /// # Errors
    /// Why it cannot begin, for the log.
    pub(crate) async fn start(
        &self,
        state: &Arc<State>,
        by: &str,
        trace: Trace,
    ) -> Result<(), String> {
        let _changing = self.changing.lock().await;
        {
            let running = self.running.lock();
            if let Some((vhost, _)) = running.keys().find(|(_, name)| *name == trace.name) {
                return Err(format!("virtual host '{vhost}' has a trace of this name"));
            }
            if running.len() >= TRACES_MAX {
                return Err(format!("there are {TRACES_MAX} traces"));
            }
        }
        let principal = log_in(state, &trace).await?;
        let tracer = Tracer::open(state, &trace, principal).await?;
        self.set_tracing(state, by, &trace.vhost, true).await?;
        let (stop, stopped) = oneshot::channel();
        let key = (trace.vhost.clone(), trace.name.clone());
        let running = Running {
            queue: tracer.queue().clone(),
            lost: tracer.lost(),
            trace,
            _stop: stop,
        };
        let runtime = self.runtime()?;
        self.running.lock().insert(key.clone(), running);
        let state = Arc::clone(state);
        runtime.spawn(async move {
            let ended = tracer.run(&state, stopped).await;
            state.traces.ended(&state, &key, ended).await;
        });
        Ok(())
    }

    fn runtime(&self) -> Result<tokio::runtime::Handle, String> {
        let mut runtime = self.runtime.lock();
        if runtime.is_none() {
            let started = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(THREADS)
                .thread_name("traces")
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            *runtime = Some(started);
        }
        let runtime = runtime.as_ref().expect("it was just made");
        Ok(runtime.handle().clone())
    }

    /// Ends a trace, and tracing in its vhost if it was the last one there. False if there is none.
    ///
    /// # Errors
    /// Tracing cannot be switched off.
    pub(crate) async fn stop(
        &self,
        state: &State,
        by: &str,
        vhost: &Name,
        name: &Name,
    ) -> Result<bool, String> {
        let _changing = self.changing.lock().await;
        let key = (vhost.clone(), name.clone());
        if self.running.lock().remove(&key).is_none() {
            return Ok(false);
        }
        self.untrace(state, by, vhost).await?;
        Ok(true)
    }

    /// Ends all of them.
    pub(crate) async fn stop_all(&self, state: &State, by: &str) {
        let keys: Vec<_> = self.running.lock().keys().cloned().collect();
        for (vhost, name) in keys {
            if let Err(reason) = self.stop(state, by, &vhost, &name).await {
                tracing::warn!(%vhost, trace = %name, reason, "tracing stays on");
            }
        }
    }

    /// Ends all of them with the node, which forgets who is traced.
    pub(crate) fn shut_down(&self) {
        self.running.lock().clear();
        if let Some(runtime) = self.runtime.lock().take() {
            // Whoever stops the node must go on; what a trace has not written yet is written when it is dropped.
            runtime.shutdown_background();
        }
    }

    /// A trace has ended: because it was told to, or by itself.
    async fn ended(&self, state: &State, key: &(Name, Name), reason: Result<(), String>) {
        let Err(reason) = reason else { return };
        let _changing = self.changing.lock().await;
        if self.running.lock().remove(key).is_none() {
            return;
        }
        let (vhost, name) = key;
        tracing::warn!(%vhost, trace = %name, reason, "a trace has ended");
        if let Err(reason) = self
            .untrace(state, broker::event::INTERNAL_USER, vhost)
            .await
        {
            tracing::warn!(%vhost, reason, "tracing stays on");
        }
    }

    async fn untrace(&self, state: &State, by: &str, vhost: &Name) -> Result<(), String> {
        let is_last = self.running.lock().keys().all(|(other, _)| other != vhost);
        if is_last {
            self.set_tracing(state, by, vhost, false).await?;
        }
        Ok(())
    }

    async fn set_tracing(
        &self,
        state: &State,
        by: &str,
        vhost: &Name,
        tracing: bool,
    ) -> Result<(), String> {
        let metadata = state.node.metadata();
        let known = metadata.vhost(vhost);
        if known.is_none_or(|known| known.metadata.tracing == tracing) {
            return Ok(());
        }
        let command = MetadataCommand::UpdateVhost {
            name: vhost.clone(),
            changes: VhostChanges {
                tracing: Some(tracing),
                ..VhostChanges::default()
            },
        };
        let changed = state.node.propose_as(by, &command).await;
        changed.map(drop).map_err(|error| error.to_string())
    }
}

impl Running {
    fn shown(&self) -> Shown {
        let Trace {
            vhost,
            name,
            format,
            pattern,
            payload_bytes_max,
            user,
            password: _,
        } = &self.trace;
        let mut fields = crate::json::object! {
            "vhost" => vhost,
            "name" => name,
            "format" => format.as_str(),
            "pattern" => pattern.clone(),
        };
        if let Some(max) = payload_bytes_max {
            fields.push("max_payload_bytes", *max);
        }
        if let Some(user) = user {
            fields.push("tracer_connection_username", user.clone());
        }
        Shown {
            vhost: vhost.clone(),
            queue: self.queue.clone(),
            fields,
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

/// Logs the user of a trace in, as from this machine.
async fn log_in(state: &State, trace: &Trace) -> Result<broker::auth::Principal, String> {
    let settings = &state.node.settings().trace_files;
    let user = trace.user.as_ref().filter(|user| !user.is_empty());
    let (user, password) = match user {
        Some(user) => (user, trace.password.as_ref()),
        None => (&settings.username, None),
    };
    let password = password.map_or_else(|| settings.password.expose(), String::as_str);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let caller = access::check_password(state, user, password.as_bytes(), here, true).await?;
    access::may_open(&state.node.metadata(), &caller.principal, &trace.vhost)
        .await
        .map_err(|error| error.to_string())?;
    Ok(caller.principal)
}
