//! What all requests share.

use crate::access_log::AccessLog;
use crate::directory::Queues;
use crate::login_rate::LoginRate;
use crate::resources::oauth::Logins;
use crate::resources::top::ThreadSample;
use crate::sessions::{self, Sessions};
use crate::statistics::Statistics;
use crate::traces::Traces;
use auth_oauth2::SetupError;
use base::Name;
use node::config::{DiskFreeLimit, ManagementSettings};
use node::{Handle, Listeners};
use parking_lot::{Mutex, RwLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// Passwords that are checked at once, so that some threads are left to those who are in.
const HASHED_AT_ONCE: usize = 1;

/// Shared by all requests.
pub(crate) struct State {
    pub(crate) node: Handle,
    pub(crate) statistics: Statistics,
    pub(crate) queues: Queues,
    pub(crate) sessions: Sessions,
    pub(crate) login_rate: LoginRate,
    /// Passwords that are being checked.
    pub(crate) hashing: Semaphore,
    pub(crate) traces: Traces,
    /// Logins to the web UI with OAuth 2.
    pub(crate) oauth: Logins,
    /// Users who may come from this machine only.
    pub(crate) loopback_users: Vec<Name>,
    /// Where each request is told of, if it is.
    pub(crate) access_log: Option<AccessLog>,
    /// Where the API listens now.
    listeners: RwLock<Listeners>,
    /// Where metrics are told now.
    metrics_listeners: RwLock<Listeners>,
    /// The limit of free disk space from before it was no longer watched.
    pub(crate) disk_limit_before: Mutex<Option<DiskFreeLimit>>,
    /// What the metadata of a version takes in memory.
    pub(crate) metadata_bytes: Mutex<(u64, u64)>,
    /// What the threads of the process had used when somebody last asked.
    pub(crate) threads_before: Mutex<Option<ThreadSample>>,
    /// What serves the listeners of the API, while there are any.
    pub(crate) threads: Mutex<Option<Runtime>>,
    /// The same of the metrics.
    pub(crate) metrics_threads: Mutex<Option<Runtime>>,
}

impl State {
    /// # Errors
    /// Logins with OAuth 2 cannot be had as they are configured.
    pub(crate) fn new(node: Handle) -> Result<Self, SetupError> {
        let users = node.settings().loopback_users.iter();
        Ok(Self {
            oauth: Logins::new(node.settings())?,
            loopback_users: users.map(|user| user.as_str().into()).collect(),
            statistics: Statistics::new(&node.settings().statistics),
            queues: Queues::default(),
            sessions: Sessions::default(),
            login_rate: LoginRate::default(),
            hashing: Semaphore::new(HASHED_AT_ONCE),
            traces: Traces::default(),
            access_log: None,
            listeners: RwLock::default(),
            metrics_listeners: RwLock::default(),
            disk_limit_before: Mutex::default(),
            metadata_bytes: Mutex::default(),
            threads_before: Mutex::default(),
            threads: Mutex::default(),
            metrics_threads: Mutex::default(),
            node,
        })
    }

    /// The API's own settings.
    pub(crate) fn settings(&self) -> &ManagementSettings {
        &self.node.settings().management
    }

    /// How long a session lasts.
    pub(crate) fn session_lifetime(&self) -> Duration {
        let minutes = self.settings().api.login_session_timeout_min;
        minutes.map_or(sessions::LIFETIME, |minutes| {
            Duration::from_secs(u64::from(minutes) * 60)
        })
    }

    /// The node's name, as clients see it everywhere.
    pub(crate) fn node_name(&self) -> String {
        self.node.settings().node_name.clone()
    }

    /// Where the API listens.
    pub(crate) fn http_listeners(&self) -> Listeners {
        self.listeners.read().clone()
    }

    /// Where metrics are told.
    pub(crate) fn metrics_listeners(&self) -> Listeners {
        self.metrics_listeners.read().clone()
    }

    /// Says where metrics are told.
    pub(crate) fn set_metrics_listeners(&self, listeners: Listeners) {
        *self.metrics_listeners.write() = listeners;
    }

    /// Says where the API listens.
    pub(crate) fn set_http_listeners(&self, listeners: Listeners) {
        *self.listeners.write() = listeners;
    }
}
