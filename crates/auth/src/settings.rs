//! Which backends there are, as `rabbitmq.conf` names them.
//!
//! They are plain data. What a file holds is only looked at when the backends are made.

use crate::trust_store::TrustStoreSettings;
use http_client::Url;
use std::time::Duration;
use transport::ClientTlsSettings;

/// What is taken away ends within a second, with time for a slow answer.
const RECHECK_INTERVAL_DEFAULT: Duration = Duration::from_millis(600);

/// A backend by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendName {
    /// Users and permissions of the metadata.
    Internal,
    /// The same, for clients on this machine only.
    InternalLoopback,
    /// Lets nobody in.
    Dummy,
    /// An HTTP server.
    Http,
    /// A directory.
    Ldap,
    /// Tokens.
    OAuth2,
    /// Remembers what other backends have said.
    Cache,
}

impl BackendName {
    /// Reads a short name or that of RabbitMQ's module.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "internal" | "rabbit_auth_backend_internal" => Ok(Self::Internal),
            "internal_loopback" | "rabbit_auth_backend_internal_loopback" => {
                Ok(Self::InternalLoopback)
            }
            "dummy" | "rabbit_auth_backend_dummy" => Ok(Self::Dummy),
            "http" | "rabbit_auth_backend_http" => Ok(Self::Http),
            "ldap" | "rabbit_auth_backend_ldap" => Ok(Self::Ldap),
            "oauth" | "oauth2" | "uaa" | "rabbit_auth_backend_oauth2" => Ok(Self::OAuth2),
            "cache" | "rabbit_auth_backend_cache" => Ok(Self::Cache),
            _ => Err("internal, internal_loopback, http, ldap, oauth2, cache or dummy".to_owned()),
        }
    }

    /// The plugin whose work it is in RabbitMQ; `None` for what is always there.
    pub fn plugin(self) -> Option<&'static str> {
        match self {
            Self::Internal | Self::Dummy => None,
            Self::InternalLoopback => Some("rabbitmq_auth_backend_internal_loopback"),
            Self::Http => Some("rabbitmq_auth_backend_http"),
            Self::Ldap => Some("rabbitmq_auth_backend_ldap"),
            Self::OAuth2 => Some("rabbitmq_auth_backend_oauth2"),
            Self::Cache => Some("rabbitmq_auth_backend_cache"),
        }
    }

    /// RabbitMQ's module, which error texts name.
    pub fn module(self) -> &'static str {
        match self {
            Self::Internal => "rabbit_auth_backend_internal",
            Self::InternalLoopback => "rabbit_auth_backend_internal_loopback",
            Self::Dummy => "rabbit_auth_backend_dummy",
            Self::Http => "rabbit_auth_backend_http",
            Self::Ldap => "rabbit_auth_backend_ldap",
            Self::OAuth2 => "rabbit_auth_backend_oauth2",
            Self::Cache => "rabbit_auth_backend_cache",
        }
    }
}

/// One entry of `auth_backends`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who lets users in.
    pub authn: BackendName,
    /// Who decides about them; all have to agree. Empty if that is `authn`.
    pub authz: Vec<BackendName>,
}

/// `auth_backends` and what they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// In the order in which they are tried.
    pub backends: Vec<Link>,
    /// `auth_http`
    pub http: HttpSettings,
    /// `auth_cache`
    pub cache: CacheSettings,
    /// `auth_ldap`
    pub ldap: auth_ldap::Settings,
    /// `auth_oauth2`
    pub oauth2: auth_oauth2::Settings,
    /// Time between two looks at what backends have allowed to open connections; zero for none.
    pub recheck_interval: Duration,
    /// `trust_store`
    pub trust_store: TrustStoreSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backends: vec![Link {
                authn: BackendName::Internal,
                authz: Vec::new(),
            }],
            http: HttpSettings::default(),
            cache: CacheSettings::default(),
            ldap: auth_ldap::Settings::default(),
            oauth2: auth_oauth2::Settings::default(),
            recheck_interval: RECHECK_INTERVAL_DEFAULT,
            trust_store: TrustStoreSettings::default(),
        }
    }
}

impl Settings {
    /// Whether the metadata alone lets users in and decides about them.
    pub fn is_internal(&self) -> bool {
        let mut names = self
            .backends
            .iter()
            .flat_map(|link| std::iter::once(&link.authn).chain(&link.authz));
        names.all(|name| *name == BackendName::Internal)
    }
}

/// How the HTTP server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HttpMethod {
    Get,
    Post,
}

/// `auth_http`
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// `http_method`
    pub method: HttpMethod,
    /// Who may log in.
    pub user_path: Url,
    /// Who may open a vhost.
    pub vhost_path: Url,
    /// Who may do what with a queue or an exchange.
    pub resource_path: Url,
    /// Who may use which routing keys.
    pub topic_path: Url,
    /// How long an answer may take, from the first packet on.
    pub request_timeout: Duration,
    /// How long it may take to reach the server.
    pub connection_timeout: Duration,
    /// Clients are told the reasons that the server gives.
    pub discloses_reasons: bool,
    /// `ssl_options`
    pub tls: ClientTlsSettings,
}

impl Default for HttpSettings {
    fn default() -> Self {
        let path = |path: &str| {
            format!("http://localhost:8000/auth/{path}")
                .parse()
                .expect("it is a URL")
        };
        Self {
            method: HttpMethod::Get,
            user_path: path("user"),
            vhost_path: path("vhost"),
            resource_path: path("resource"),
            topic_path: path("topic"),
            request_timeout: Duration::from_secs(15),
            connection_timeout: Duration::from_secs(15),
            discloses_reasons: false,
            tls: ClientTlsSettings::default(),
        }
    }
}

/// `auth_cache`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Who lets users in.
    pub authn: BackendName,
    /// Who decides about them.
    pub authz: BackendName,
    /// How long an answer is remembered.
    pub ttl: Duration,
    /// Whether refusals are remembered, too.
    pub keeps_refusals: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            authn: BackendName::Internal,
            authz: BackendName::Internal,
            ttl: Duration::from_secs(15),
            keeps_refusals: false,
        }
    }
}
