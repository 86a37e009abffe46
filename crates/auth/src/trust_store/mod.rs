//! The trust store: keeps a [`Whitelist`] of clients' certificates the same as what a directory or an HTTP server says.
//!
//! RabbitMQ docs: rabbitmq_trust_store. It decides about nobody: handshakes look at the whitelist themselves. What a provider cannot say stays as it was; a
//! certificate that cannot be read is trusted by nobody.

mod providers;
mod settings;

pub use settings::{TrustStoreProvider, TrustStoreSettings};

use crate::SetupError;
use parking_lot::Mutex;
use providers::{Known, Provider};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use transport::{TrustedCertificate, Whitelist};

/// Certificates of one provider.
pub(crate) const CERTIFICATES_MAX: usize = 10_000;

/// The providers, and what they said last.
#[derive(Debug)]
pub struct TrustStore {
    whitelist: Arc<Whitelist>,
    providers: Vec<Provider>,
    /// `None`: only when somebody asks for it.
    refresh_interval: Option<Duration>,
    known: Mutex<Vec<Known>>,
    /// Who refreshes holds it.
    turn: tokio::sync::Mutex<()>,
}

/// A certificate that is trusted, with its name.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its file, or the server's id for it.
    pub name: String,
    /// The certificate.
    pub certificate: Arc<TrustedCertificate>,
}

impl TrustStore {
    /// Makes the providers and reads what is here; an HTTP server is asked by [`TrustStore::watch`]. The directory is made if it is not there.
    ///
    /// # Errors
    /// A directory cannot be read, or the settings do not fit together.
    pub fn new(
        settings: &TrustStoreSettings,
        default_directory: &Path,
    ) -> Result<Arc<Self>, SetupError> {
        let failed = |reason| SetupError(format!("trust_store: {reason}"));
        let providers = Provider::all(settings, default_directory).map_err(failed)?;
        let known = providers.iter().map(|provider| match provider {
            Provider::Directory(directory) => {
                let mut known = Known::default();
                known.read_directory(directory)?;
                Ok(known)
            }
            Provider::Http(_) => Ok(Known::default()),
        });
        let known = known.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let interval = settings.refresh_interval;
        let store = Arc::new(Self {
            whitelist: Arc::default(),
            providers,
            refresh_interval: (!interval.is_zero()).then_some(interval),
            known: Mutex::new(known),
            turn: tokio::sync::Mutex::default(),
        });
        store.publish();
        Ok(store)
    }

    /// What handshakes look at.
    pub fn whitelist(&self) -> Arc<Whitelist> {
        Arc::clone(&self.whitelist)
    }

    /// Asks all providers now.
    pub async fn refresh(&self) {
        let _turn = self.turn.lock().await;
        for (index, provider) in self.providers.iter().enumerate() {
            let mut known = self.known.lock()[index].clone();
            known.refresh(provider).await;
            self.known.lock()[index] = known;
        }
        self.publish();
    }

    /// Asks all providers now and again after each interval, until the task is dropped.
    pub async fn watch(self: Arc<Self>) {
        loop {
            self.refresh().await;
            match self.refresh_interval {
                Some(interval) => tokio::time::sleep(interval).await,
                None => return,
            }
        }
    }

    /// What is trusted, by provider and name.
    pub fn list(&self) -> Vec<Listed> {
        let known = self.known.lock();
        known.iter().flat_map(Known::list).collect()
    }

    fn publish(&self) {
        let trusted = self.list();
        let certificates = trusted.iter().map(|listed| &*listed.certificate);
        self.whitelist.replace(certificates);
    }
}

#[cfg(test)]
mod tests;
