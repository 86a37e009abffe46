//! The threads for what comes before a protocol and takes time: PROXY headers, TLS handshakes, and asking others about users.
//!
//! They are there only if the configuration needs them. Nothing of a message passes here.

use crate::boot::NodeError;
use crate::listener::{self, Entrance, ListenOptions};
use crate::shared::Shared;
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};

/// How many threads there are. They sleep when nobody connects.
const THREADS: usize = 2;

/// A runtime that may not be there.
pub(crate) struct Edge {
    runtime: Option<Runtime>,
}

impl Edge {
    /// Starts the threads, if they are needed.
    ///
    /// # Errors
    /// There are none to be had.
    pub(crate) fn start(is_needed: bool) -> Result<Self, NodeError> {
        if !is_needed {
            return Ok(Self { runtime: None });
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("edge")
            .enable_all()
            .build()
            .map_err(|source| NodeError::System {
                what: "start threads for TLS and logins",
                source,
            })?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// The threads, if there are any.
    pub(crate) fn threads(&self) -> Option<Handle> {
        self.runtime
            .as_ref()
            .map(|runtime| runtime.handle().clone())
    }

    /// Runs a task until the node stops; nothing, if there are no threads.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// Accepts clients for shards until the node stops.
    ///
    /// # Errors
    /// The listener cannot be watched.
    pub(crate) fn accept(
        &self,
        listener: std::net::TcpListener,
        shared: Arc<Shared>,
        options: ListenOptions,
        entrance: Entrance,
    ) -> io::Result<()> {
        let Some(runtime) = &self.runtime else {
            return Ok(());
        };
        let _runtime = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        runtime.spawn(listener::accept(listener, shared, options, entrance));
        Ok(())
    }

    /// Ends all tasks without waiting for them.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A start that fails drops the threads where nothing may wait for them.
impl Drop for Edge {
    fn drop(&mut self) {
        self.stop();
    }
}
