//! Switches the trust store on and off: it is the work of a plugin.
//!
//! Which certificates are trusted is [`auth::TrustStore`]'s business, who is let in the handshake's.

use crate::boot::NodeError;
use crate::check::enabled_plugins;
use crate::config::Settings;
use auth::TrustStore;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use transport::TlsAcceptor;

/// The plugin.
const NAME: &str = "rabbitmq_trust_store";

/// Where certificates are if the settings do not say, in the data directory.
const DIRECTORY: &str = "trust_store/whitelist";

/// The trust store of a node, on or off.
#[derive(Default)]
pub(crate) struct TrustStoreSwitch {
    /// Whose handshakes look at it; without one it has nothing to do.
    acceptor: Option<Arc<TlsAcceptor>>,
    /// Where it is kept up to date.
    threads: Option<Handle>,
    settings: auth::TrustStoreSettings,
    default_directory: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    store: Arc<TrustStore>,
    task: Option<AbortHandle>,
}

impl TrustStoreSwitch {
    /// Switches it on if the plugin is enabled; where no list says so, if it is configured.
    ///
    /// # Errors
    /// As [`TrustStoreSwitch::switch`].
    pub(crate) fn start(
        settings: &Settings,
        acceptor: Arc<TlsAcceptor>,
        threads: Option<Handle>,
    ) -> Result<Self, NodeError> {
        let store = &settings.auth.trust_store;
        let listed = enabled_plugins(settings);
        let listed = listed.map(|names| names.iter().any(|name| name == NAME));
        let switch = Self {
            acceptor: Some(acceptor),
            threads,
            settings: store.clone(),
            default_directory: settings.data_dir.join(DIRECTORY),
            running: Mutex::new(None),
        };
        switch.switch(listed.unwrap_or_else(|| store.is_configured()))?;
        Ok(switch)
    }

    /// Switches it on or off, from the next handshake on.
    ///
    /// # Errors
    /// The store cannot be made as it is configured.
    pub(crate) fn switch(&self, on: bool) -> Result<(), NodeError> {
        let mut running = self.running.lock();
        let Some(acceptor) = &self.acceptor else {
            return Ok(());
        };
        if !on {
            if let Some(Running { task, .. }) = running.take() {
                acceptor.set_whitelist(None)?;
                if let Some(task) = task {
                    task.abort();
                }
            }
            return Ok(());
        }
        if running.is_some() {
            return Ok(());
        }
        let store = TrustStore::new(&self.settings, &self.default_directory);
        let store = store.map_err(NodeError::Auth)?;
        acceptor.set_whitelist(Some(store.whitelist()))?;
        let threads = self.threads.as_ref();
        let task = threads.map(|threads| threads.spawn(Arc::clone(&store).watch()).abort_handle());
        *running = Some(Running { store, task });
        tracing::info!("trust store: clients of TLS listeners have to have a certificate");
        Ok(())
    }

    /// The store, while it is on.
    pub(crate) fn store(&self) -> Option<Arc<TrustStore>> {
        let running = self.running.lock();
        running.as_ref().map(|running| Arc::clone(&running.store))
    }
}
