//! Connections to servers: opened when they are needed, bound anew for every use, and kept for a while.
//!
//! Limits: [`Settings::connection_pool_size`] connections, [`TIMEOUT_MAX`] for connecting and for each operation, [`ENTRIES_MAX`] entries
//! of a search.

use crate::directory::{Directory, DirectoryError, Entry, Filter, Scope};
use crate::settings::{Log, Settings, SetupError};
use ldap3::adapters::EntriesOnly;
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope as Ldap3Scope, SearchEntry, StdStream,
    ldap_escape,
};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use transport::ClientTls;

/// The longest that anything may take, also where the settings say `infinity`.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Most entries that one search may find.
const ENTRIES_MAX: usize = 10_000;

/// Results of operations (RFC 4511, appendix A).
const SUCCESS: u32 = 0;
const REFERRAL: u32 = 10;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_DN_SYNTAX: u32 = 34;
const INVALID_CREDENTIALS: u32 = 49;

/// Whom a connection is bound as.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Anonymous,
    /// A distinguished name and its password.
    Password(String, String),
}

/// Connections to a directory.
pub(crate) struct Client {
    servers: Vec<String>,
    port: u16,
    tls: Option<Tls>,
    timeout: Duration,
    logs_network: bool,
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// How TLS is spoken.
struct Tls {
    client: ClientTls,
    server_name: Option<String>,
    /// On a connection that begins without.
    starts_later: bool,
}

/// Connections that nobody uses.
struct Idle {
    timeout: Option<Duration>,
    connections: Mutex<IdleConnections>,
}

#[derive(Default)]
struct IdleConnections {
    list: Vec<(Ldap, Instant)>,
    /// Somebody closes those that are old.
    is_watched: bool,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let tls = if settings.use_ssl || settings.use_starttls {
            let client = ClientTls::new(&settings.ssl_options)
                .map_err(|error| SetupError::new(format!("auth_ldap.ssl_options: {error}")))?;
            Some(Tls {
                client,
                server_name: settings.ssl_options.server_name.clone(),
                starts_later: settings.use_starttls,
            })
        } else {
            None
        };
        Ok(Self {
            servers: settings.servers.values().cloned().collect(),
            port: settings.port,
            tls,
            timeout: settings.timeout.unwrap_or(TIMEOUT_MAX).min(TIMEOUT_MAX),
            logs_network: settings.log == Log::Network,
            permits: Arc::new(Semaphore::new(settings.connection_pool_size)),
            idle: Arc::new(Idle {
                timeout: settings.idle_timeout,
                connections: Mutex::default(),
            }),
        })
    }

    /// A connection that is bound; `None` if the credentials are wrong.
    pub(crate) async fn session(
        &self,
        credentials: &Credentials,
    ) -> Result<Option<Session>, DirectoryError> {
        let permit = timeout(self.timeout, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| DirectoryError::Connect("all connections are in use".to_owned()))?
            .map_err(|_| DirectoryError::Closed)?;
        let mut permit = Some(permit);
        loop {
            let pooled = self.idle.take();
            let is_pooled = pooled.is_some();
            let ldap = match pooled {
                Some(ldap) => ldap,
                None => self.connect().await?,
            };
            let mut session = Session {
                ldap,
                timeout: self.timeout,
                logs_network: self.logs_network,
                is_usable: true,
                idle: Arc::clone(&self.idle),
                permit: permit.take(),
            };
            match session.bind(credentials).await {
                Ok(true) => return Ok(Some(session)),
                Ok(false) => return Ok(None),
                // It was closed while nobody used it. Each turn takes one of them.
                Err(DirectoryError::Closed) if is_pooled => permit = session.permit.take(),
                Err(error) => return Err(error),
            }
        }
    }

    /// The first server that can be reached.
    async fn connect(&self) -> Result<Ldap, DirectoryError> {
        let mut reasons = Vec::new();
        for server in &self.servers {
            match timeout(self.timeout, self.connect_to(server)).await {
                Ok(Ok(ldap)) => return Ok(ldap),
                Ok(Err(reason)) => reasons.push(format!("{server}: {reason}")),
                Err(_) => reasons.push(format!("{server}: it does not answer in time")),
            }
        }
        let reasons = reasons.join("; ");
        tracing::error!(%reasons, "LDAP connect error");
        Err(DirectoryError::Connect(reasons))
    }

    async fn connect_to(&self, server: &str) -> Result<Ldap, String> {
        let failed = |error: std::io::Error| error.to_string();
        let stream = TcpStream::connect((server, self.port)).await;
        let stream = stream.and_then(TcpStream::into_std).map_err(failed)?;
        let mut settings = LdapConnSettings::new().set_std_stream(StdStream::Tcp(stream));
        let mut scheme = "ldap";
        let mut name = server;
        if let Some(tls) = &self.tls {
            settings = settings
                .set_config(tls.client.config())
                .set_starttls(tls.starts_later);
            if !tls.starts_later {
                scheme = "ldaps";
            }
            name = tls.server_name.as_deref().unwrap_or(server);
        }
        // The address only says how and with which name TLS is spoken: the socket is connected.
        let host = if name.contains(':') {
            format!("[{name}]")
        } else {
            name.to_owned()
        };
        let address = format!("{scheme}://{host}:{}", self.port);
        if self.logs_network {
            tracing::info!("LDAP connects to {server}:{}", self.port);
        }
        let (connection, ldap) = LdapConnAsync::with_settings(settings, &address)
            .await
            .map_err(|error| error.to_string())?;
        // It ends with the last handle.
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "LDAP connection ended");
            }
        });
        Ok(ldap)
    }
}

impl Idle {
    fn take(&self) -> Option<Ldap> {
        let mut connections = self.connections.lock();
        while let Some((mut ldap, since)) = connections.list.pop() {
            let is_old = self
                .timeout
                .is_some_and(|timeout| since.elapsed() >= timeout);
            if !is_old && !ldap.is_closed() {
                return Some(ldap);
            }
        }
        None
    }

    fn put(self: &Arc<Self>, ldap: Ldap) {
        let mut connections = self.connections.lock();
        match self.timeout {
            Some(Duration::ZERO) => return,
            Some(timeout) if !connections.is_watched => {
                // Where there is no runtime nothing is kept.
                let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                    return;
                };
                connections.is_watched = true;
                runtime.spawn(watch(Arc::downgrade(self), timeout));
            }
            _ => {}
        }
        connections.list.push((ldap, Instant::now()));
    }
}

/// Closes connections that nobody has used for this long, until none is left.
async fn watch(idle: std::sync::Weak<Idle>, timeout: Duration) {
    loop {
        tokio::time::sleep(timeout).await;
        let Some(idle) = idle.upgrade() else {
            return;
        };
        let mut connections = idle.connections.lock();
        let is_new = |(_, since): &(Ldap, Instant)| since.elapsed() < timeout;
        connections.list.retain(is_new);
        if connections.list.is_empty() {
            connections.is_watched = false;
            return;
        }
    }
}

/// A connection in use. It is kept for later unless something went wrong on it, or an operation was given up.
pub(crate) struct Session {
    ldap: Ldap,
    timeout: Duration,
    logs_network: bool,
    is_usable: bool,
    idle: Arc<Idle>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_usable && self.permit.is_some() {
            self.idle.put(self.ldap.clone());
        }
    }
}

impl Session {
    /// `false` if the credentials are wrong.
    async fn bind(&mut self, credentials: &Credentials) -> Result<bool, DirectoryError> {
        let (name, password) = match credentials {
            Credentials::Anonymous => ("", ""),
            Credentials::Password(name, password) => (name.as_str(), password.as_str()),
        };
        if self.logs_network {
            tracing::info!("LDAP bind as \"{name}\"");
        }
        self.is_usable = false;
        let bound = self
            .ldap
            .with_timeout(self.timeout)
            .simple_bind(name, password);
        let result = bound.await.map_err(failure)?;
        self.is_usable = true;
        match result.rc {
            SUCCESS => Ok(true),
            // What is no name of an entry is nobody's.
            INVALID_CREDENTIALS | INVALID_DN_SYNTAX => Ok(false),
            rc => {
                tracing::error!(rc, text = %result.text, "LDAP bind error");
                Err(DirectoryError::Bind)
            }
        }
    }
}

impl Directory for Session {
    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attribute: &str,
    ) -> Result<Vec<Entry>, DirectoryError> {
        let scope = match scope {
            Scope::Base => Ldap3Scope::Base,
            Scope::OneLevel => Ldap3Scope::OneLevel,
            Scope::Subtree => Ldap3Scope::Subtree,
        };
        let filter = match filter {
            Filter::All => "(objectClass=*)".to_owned(),
            Filter::Equals(attribute, value) => format!("({attribute}={})", ldap_escape(value)),
        };
        if self.logs_network {
            tracing::info!("LDAP search below \"{base}\" for {filter}");
        }
        self.is_usable = false;
        let time = self.timeout;
        let search = search(&mut self.ldap, time, base, scope, &filter, attribute);
        let found = timeout(time, search).await;
        let found =
            found.map_err(|_| DirectoryError::Connect("a search takes too long".to_owned()))?;
        self.is_usable = !matches!(
            found,
            Err(DirectoryError::Closed | DirectoryError::Connect(_))
        );
        found
    }
}

async fn search(
    ldap: &mut Ldap,
    time: Duration,
    base: &str,
    scope: Ldap3Scope,
    filter: &str,
    attribute: &str,
) -> Result<Vec<Entry>, DirectoryError> {
    let adapter = EntriesOnly::new();
    let ldap = ldap.with_timeout(time);
    let mut stream = ldap
        .streaming_search_with(adapter, base, scope, filter, vec![attribute])
        .await
        .map_err(failure)?;
    let mut entries = Vec::new();
    while let Some(found) = stream.next().await.map_err(failure)? {
        if entries.len() >= ENTRIES_MAX {
            // The rest is not waited for: the connection goes.
            let text = format!("more than {ENTRIES_MAX} entries below {base}");
            return Err(DirectoryError::Connect(text));
        }
        let entry = SearchEntry::construct(found);
        let mut attributes = entry.attrs.into_iter();
        let own = attributes.find(|(name, _)| name.eq_ignore_ascii_case(attribute));
        entries.push(Entry {
            dn: entry.dn,
            values: own.map(|(_, values)| values).unwrap_or_default(),
        });
    }
    let result = stream.finish().await;
    match result.rc {
        SUCCESS => Ok(entries),
        NO_SUCH_OBJECT | INVALID_DN_SYNTAX => Ok(Vec::new()),
        REFERRAL => Err(DirectoryError::Search("referrals_not_supported".to_owned())),
        rc => Err(DirectoryError::Search(format!("{rc} {}", result.text))),
    }
}

fn failure(error: LdapError) -> DirectoryError {
    if matches!(error, LdapError::Timeout { .. }) {
        return DirectoryError::Connect("no answer in time".to_owned());
    }
    let is_of_connection = matches!(
        error,
        LdapError::Io { .. }
            | LdapError::OpSend { .. }
            | LdapError::ResultRecv { .. }
            | LdapError::EndOfStream
            | LdapError::IdScrubSend { .. }
            | LdapError::MiscSend { .. }
    );
    if is_of_connection {
        DirectoryError::Closed
    } else {
        DirectoryError::Search(error.to_string())
    }
}
