//! `trust_store` as `rabbitmq.conf` names it: plain data.

use http_client::Url;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use transport::ClientTlsSettings;

/// Who says which certificates are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustStoreProvider {
    /// The files of a directory.
    Directory,
    /// An HTTP server.
    Http,
}

/// `trust_store`
#[derive(Clone, Debug, PartialEq)]
pub struct TrustStoreSettings {
    /// By the operator's names for them; if there are none, the directory.
    pub providers: BTreeMap<String, TrustStoreProvider>,
    /// Time between two refreshes; zero leaves them to the operator.
    pub refresh_interval: Duration,
    /// Where the files are.
    pub directory: Option<PathBuf>,
    /// Where the HTTP server is.
    pub url: Option<Url>,
    /// How long an answer of the HTTP server may take.
    pub request_timeout: Duration,
    /// `ssl_options`
    pub tls: ClientTlsSettings,
}

impl Default for TrustStoreSettings {
    fn default() -> Self {
        Self {
            providers: BTreeMap::new(),
            refresh_interval: Duration::from_secs(30),
            directory: None,
            url: None,
            request_timeout: Duration::from_secs(20),
            tls: ClientTlsSettings::default(),
        }
    }
}

impl TrustStoreSettings {
    /// Whether the operator wants one, where nothing else says so.
    pub fn is_configured(&self) -> bool {
        !self.providers.is_empty() || self.directory.is_some() || self.url.is_some()
    }

    /// Sets an option by its name behind `trust_store.`, for example `directory` or `ssl_options.verify`.
    ///
    /// # Errors
    /// What was expected.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option.split_once('.') {
            Some(("providers", name)) => {
                let provider = match value {
                    "file" | "rabbit_trust_store_file_provider" => TrustStoreProvider::Directory,
                    "http" | "rabbit_trust_store_http_provider" => TrustStoreProvider::Http,
                    _ => return Err("file or http".to_owned()),
                };
                self.providers.insert(name.to_owned(), provider);
            }
            Some(("ssl_options", option)) => self.tls.set(option, value)?,
            _ => match option {
                "refresh_interval" => {
                    let seconds: u32 = value.parse().map_err(|_| "seconds from 0")?;
                    self.refresh_interval = Duration::from_secs(seconds.into());
                }
                "https_request_timeout" => {
                    let ms: u32 = value.parse().map_err(|_| "milliseconds from 0")?;
                    self.request_timeout = Duration::from_millis(ms.into());
                }
                "directory" if value.is_empty() => return Err("a path".to_owned()),
                "directory" => self.directory = Some(PathBuf::from(value)),
                "url" => self.url = Some(value.parse()?),
                _ => return Err(format!("no value: trust_store.{option} is not supported")),
            },
        }
        Ok(())
    }
}
