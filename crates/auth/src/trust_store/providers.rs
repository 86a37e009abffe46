//! Who says which certificates are trusted, and what each has said.

use super::settings::{TrustStoreProvider, TrustStoreSettings};
use super::{CERTIFICATES_MAX, Listed};
use bytes::Bytes;
use http_client::{Client, Limits, Request, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use transport::{ClientTls, TrustedCertificate};

/// Longest answer of an HTTP server.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Who is asked.
#[derive(Debug)]
pub(super) enum Provider {
    /// Each file is a certificate.
    Directory(PathBuf),
    Http(Box<Http>),
}

/// A server that has a list, and the certificates below its own address.
#[derive(Debug)]
pub(super) struct Http {
    url: Url,
    client: Client,
}

/// What one provider has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    certificates: BTreeMap<String, Arc<TrustedCertificate>>,
    /// What was wrong with those that are missing; each is logged once.
    problems: BTreeMap<String, String>,
    /// Why it said nothing the last time.
    failure: Option<String>,
    /// When the server's list was made, as it says.
    modified: Option<header::HeaderValue>,
}

/// A list of an HTTP server.
#[derive(Deserialize)]
struct Index {
    certificates: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    id: Value,
    path: String,
}

impl Provider {
    /// All that the settings name.
    pub(super) fn all(
        settings: &TrustStoreSettings,
        default_directory: &Path,
    ) -> Result<Vec<Self>, String> {
        let names = |provider| settings.providers.values().any(|one| *one == provider);
        let has_http = names(TrustStoreProvider::Http);
        let has_directory = settings.providers.is_empty() || names(TrustStoreProvider::Directory);
        if settings.url.is_some() && !has_http {
            return Err("url needs providers.1 = http".to_owned());
        }
        if settings.directory.is_some() && !has_directory {
            return Err("directory needs providers.1 = file".to_owned());
        }
        let mut all = Vec::new();
        if has_directory {
            let directory = settings.directory.as_deref().unwrap_or(default_directory);
            std::fs::create_dir_all(directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
            all.push(Self::Directory(directory.to_owned()));
        }
        if has_http {
            let url = settings.url.clone().ok_or("providers = http needs url")?;
            let tls = url.is_https().then(|| ClientTls::new(&settings.tls));
            let tls = tls.transpose().map_err(|error| error.to_string())?;
            let limits = Limits {
                timeout: settings.request_timeout,
                answer_bytes_max: ANSWER_BYTES_MAX,
            };
            let client = Client::new(tls, limits);
            all.push(Self::Http(Box::new(Http { url, client })));
        }
        Ok(all)
    }
}

impl Http {
    /// What is at an address; `None` if it is still the same.
    async fn get(
        &self,
        url: &Url,
        since: Option<&header::HeaderValue>,
    ) -> Result<Option<(Bytes, header::HeaderMap)>, String> {
        let mut request = Request::new(Bytes::new());
        if let Some(since) = since {
            let headers = request.headers_mut();
            headers.insert(header::IF_MODIFIED_SINCE, since.clone());
        }
        let answer = self.client.send(url, request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::OK => Ok(Some((answer.body, answer.headers))),
            StatusCode::NOT_MODIFIED if since.is_some() => Ok(None),
            status => Err(format!("{url} answers {status}")),
        }
    }

    /// Below the server's own address, as RabbitMQ joins them.
    fn url_of(&self, path: &str) -> Url {
        let base = self.url.target().split('?').next().unwrap_or_default();
        let base = base.trim_end_matches('/');
        let path = path.trim_start_matches('/');
        self.url.with_target(&format!("{base}/{path}"))
    }
}

impl Known {
    pub(super) fn list(&self) -> impl Iterator<Item = Listed> {
        self.certificates.iter().map(|(name, certificate)| Listed {
            name: name.clone(),
            certificate: Arc::clone(certificate),
        })
    }

    /// Asks again. Where there is no answer, everything stays as it is.
    pub(super) async fn refresh(&mut self, provider: &Provider) {
        let asked = match provider {
            Provider::Directory(directory) => self.read_directory(directory),
            Provider::Http(http) => self.fetch(http).await,
        };
        let failure = asked.err();
        if let Some(reason) = &failure
            && self.failure != failure
        {
            tracing::error!("trust store: certificates stay as they are: {reason}");
        }
        self.failure = failure;
    }

    /// Takes what the files of a directory say, whose names do not begin with a dot.
    pub(super) fn read_directory(&mut self, directory: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || !path.is_file() {
                continue;
            }
            if found.len() == CERTIFICATES_MAX {
                let directory = directory.display();
                return Err(format!("{directory}: more than {CERTIFICATES_MAX} files"));
            }
            found.insert(name.into_owned(), TrustedCertificate::read(&path));
        }
        self.take(found);
        Ok(())
    }

    /// Takes what a server says. A certificate is fetched once for each id.
    async fn fetch(&mut self, http: &Http) -> Result<(), String> {
        // A certificate that is missing may be there by now, although the list is the same.
        let since = self.modified.as_ref().filter(|_| self.problems.is_empty());
        let Some((body, headers)) = http.get(&http.url, since).await? else {
            return Ok(());
        };
        let index: Index = serde_json::from_slice(&body)
            .map_err(|error| format!("{} is no list of certificates: {error}", http.url))?;
        if index.certificates.len() > CERTIFICATES_MAX {
            let url = &http.url;
            return Err(format!("{url}: more than {CERTIFICATES_MAX} certificates"));
        }
        let mut found = BTreeMap::new();
        for IndexEntry { id, path } in index.certificates {
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            let certificate = match self.certificates.get(&id) {
                Some(known) => Ok(TrustedCertificate::clone(known)),
                None => match http.get(&http.url_of(&path), None).await {
                    Ok(Some((pem, _))) => TrustedCertificate::from_pem(&pem),
                    Ok(None) => Err(format!("{path} is not there")),
                    Err(reason) => Err(reason),
                },
            };
            found.insert(id, certificate);
        }
        self.take(found);
        self.modified = headers.get(header::LAST_MODIFIED).cloned();
        Ok(())
    }

    fn take(&mut self, found: BTreeMap<String, Result<TrustedCertificate, String>>) {
        let before: BTreeSet<String> = self.certificates.keys().cloned().collect();
        let mut certificates = BTreeMap::new();
        let mut problems = BTreeMap::new();
        for (name, certificate) in found {
            match certificate {
                Ok(certificate) => {
                    let known = self.certificates.remove(&name);
                    let known = known.filter(|known| **known == certificate);
                    if known.is_none() {
                        tracing::info!("trust store: loading certificate '{name}'");
                    }
                    let certificate = known.unwrap_or_else(|| Arc::new(certificate));
                    certificates.insert(name, certificate);
                }
                Err(reason) => {
                    if self.problems.get(&name) != Some(&reason) {
                        tracing::error!("trust store: certificate '{name}' is not used: {reason}");
                    }
                    problems.insert(name, reason);
                }
            }
        }
        for name in before {
            if !certificates.contains_key(&name) {
                tracing::info!("trust store: certificate '{name}' is no longer trusted");
            }
        }
        self.certificates = certificates;
        self.problems = problems;
    }
}
