//! `auth_ldap.…`, as `rabbitmq.conf` names it, but for queries, which come as [`Query`].
//!
//! Plain data. What a file holds, and whether all fits together, is only looked at by [`crate::Ldap::new`].

use crate::client::Credentials;
use crate::directory::DirectoryError;
use crate::query::{Query, TagQuery};
use crate::template::{Template, Variables};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use transport::ClientTlsSettings;

/// Most connections to the directory, of each of the two kinds.
const POOL_SIZE_MAX: usize = 1024;

/// Why the backend cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SetupError(String);

impl SetupError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// In whose name something is asked.
#[derive(Clone, PartialEq, Eq)]
pub enum Bind {
    /// The user's who logs in.
    AsUser,
    /// Nobody's.
    Anonymous,
    /// That of a distinguished name and a password.
    As(String, String),
}

/// Without the password.
impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsUser => f.write_str("AsUser"),
            Self::Anonymous => f.write_str("Anonymous"),
            Self::As(dn, _) => write!(f, "As({dn}, …)"),
        }
    }
}

impl Bind {
    /// `None` for the user's own.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        match self {
            Self::AsUser => None,
            Self::Anonymous => Some(Credentials::Anonymous),
            Self::As(dn, password) => Some(Credentials::Password(dn.clone(), password.clone())),
        }
    }

    fn set(&mut self, key: &[&str], value: &str) -> Result<(), String> {
        let secret = || value.strip_prefix("plain:").unwrap_or(value).to_owned();
        let (mut dn, mut password) = match self {
            Self::As(dn, password) => (std::mem::take(dn), std::mem::take(password)),
            Self::AsUser | Self::Anonymous => <(String, String)>::default(),
        };
        match key {
            [] if value == "as_user" => *self = Self::AsUser,
            [] if value == "anon" => *self = Self::Anonymous,
            ["user_dn"] => {
                value.clone_into(&mut dn);
                *self = Self::As(dn, password);
            }
            ["password"] => {
                password = secret();
                *self = Self::As(dn, password);
            }
            _ => return Err("as_user, anon, or .user_dn and .password".to_owned()),
        }
        Ok(())
    }

    fn check(&self, name: &str) -> Result<(), SetupError> {
        match self {
            Self::As(dn, password) if dn.is_empty() || password.is_empty() => Err(SetupError::new(
                format!("auth_ldap.{name} needs both user_dn and password"),
            )),
            Self::AsUser | Self::Anonymous | Self::As(..) => Ok(()),
        }
    }
}

/// What is logged beyond problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// Nothing.
    #[default]
    Off,
    /// What was decided.
    Decisions,
    /// Also what was asked of the directory; never passwords.
    Network,
}

/// Everything below `auth_ldap`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are RabbitMQ's")]
pub struct Settings {
    /// Tried in the order of the operator's numbers.
    pub servers: BTreeMap<(u64, String), String>,
    pub port: u16,
    pub connection_pool_size: usize,
    /// Of connecting and of each operation; `None` is bounded too ([`crate`]'s client says by what).
    pub timeout: Option<Duration>,
    /// How long a connection that nobody uses stays open.
    pub idle_timeout: Option<Duration>,
    pub log: Log,
    pub user_bind_pattern: Option<Template>,
    pub user_dn_pattern: Template,
    pub dn_lookup_attribute: Option<String>,
    pub dn_lookup_base: Option<String>,
    pub dn_lookup_bind: Bind,
    pub other_bind: Bind,
    pub group_lookup_base: Option<String>,
    pub use_ssl: bool,
    pub use_starttls: bool,
    pub ssl_options: ClientTlsSettings,
    pub vhost_access: Query,
    pub resource_access: Query,
    pub topic_access: Query,
    pub tags: Vec<TagQuery>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: BTreeMap::new(),
            port: 389,
            connection_pool_size: 64,
            timeout: None,
            idle_timeout: Some(Duration::from_secs(300)),
            log: Log::Off,
            user_bind_pattern: None,
            user_dn_pattern: Template::from("${username}"),
            dn_lookup_attribute: None,
            dn_lookup_base: None,
            dn_lookup_bind: Bind::AsUser,
            other_bind: Bind::AsUser,
            group_lookup_base: None,
            use_ssl: false,
            use_starttls: false,
            ssl_options: ClientTlsSettings::default(),
            vhost_access: Query::Constant(true),
            resource_access: Query::Constant(true),
            topic_access: Query::Constant(true),
            tags: vec![TagQuery {
                tag: "administrator".to_owned(),
                query: Query::Constant(false),
            }],
        }
    }
}

impl Settings {
    /// Sets what a key of `rabbitmq.conf` names; `key` are its parts behind `auth_ldap.`. Queries are set as they are.
    ///
    /// # Errors
    /// What was expected.
    pub fn set(&mut self, key: &[&str], value: &str) -> Result<(), String> {
        let or_none = || (value != "none").then(|| value.to_owned());
        match key {
            ["servers"] => self.servers.clear(),
            ["servers", number] => {
                if value.is_empty() || value.contains(['/', ' ']) {
                    return Err("the name or address of a host".to_owned());
                }
                let number = (number.parse().unwrap_or(u64::MAX), (*number).to_owned());
                self.servers.insert(number, value.to_owned());
            }
            ["port"] => {
                let port = value.parse().ok().filter(|port| *port != 0);
                self.port = port.ok_or("a port")?;
            }
            ["connection_pool_size"] => {
                let size = value.parse().ok();
                let size = size.filter(|size| (1..=POOL_SIZE_MAX).contains(size));
                self.connection_pool_size =
                    size.ok_or_else(|| format!("a number from 1 to {POOL_SIZE_MAX}"))?;
            }
            ["timeout"] => self.timeout = duration(value)?,
            ["idle_timeout"] => self.idle_timeout = duration(value)?,
            ["log"] => {
                self.log = match value {
                    "false" => Log::Off,
                    "true" => Log::Decisions,
                    "network" => Log::Network,
                    "network_unsafe" => {
                        return Err("true, false or network: no password is ever logged".to_owned());
                    }
                    _ => return Err("true, false or network".to_owned()),
                }
            }
            ["user_bind_pattern"] => {
                self.user_bind_pattern = or_none().as_deref().map(Template::from);
            }
            ["user_dn_pattern"] => self.user_dn_pattern = Template::from(value),
            ["dn_lookup_attribute"] => {
                self.dn_lookup_attribute = match or_none() {
                    Some(name) => Some(attribute(&name)?),
                    None => None,
                }
            }
            ["dn_lookup_base"] => self.dn_lookup_base = or_none(),
            ["dn_lookup_bind", rest @ ..] => self.dn_lookup_bind.set(rest, value)?,
            ["other_bind", rest @ ..] => self.other_bind.set(rest, value)?,
            ["group_lookup_base"] => self.group_lookup_base = or_none(),
            ["use_ssl"] => self.use_ssl = boolean(value)?,
            ["use_starttls"] => self.use_starttls = boolean(value)?,
            ["ssl_options"] => self.ssl_options = ClientTlsSettings::default(),
            ["ssl_options", option @ ..] => {
                let value = value.strip_prefix("plain:").unwrap_or(value);
                self.ssl_options.set(&option.join("."), value)?;
            }
            _ => return Err("no value: there is no such setting".to_owned()),
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), SetupError> {
        if self.servers.is_empty() {
            return Err(SetupError::new("the LDAP backend needs auth_ldap.servers"));
        }
        if self.use_ssl && self.use_starttls {
            return Err(SetupError::new(
                "auth_ldap.use_ssl and auth_ldap.use_starttls exclude each other",
            ));
        }
        if self.dn_lookup_attribute.is_some() && self.dn_lookup_base.is_none() {
            return Err(SetupError::new(
                "auth_ldap.dn_lookup_attribute needs auth_ldap.dn_lookup_base",
            ));
        }
        self.dn_lookup_bind.check("dn_lookup_bind")?;
        self.other_bind.check("other_bind")
    }

    /// Whether the user's entry is looked for.
    pub(crate) fn looks_up_dn(&self) -> bool {
        self.dn_lookup_attribute.is_some()
    }

    /// The user's distinguished name by the pattern.
    pub(crate) fn user_dn(&self, username: &str) -> String {
        self.user_dn_pattern.fill_dn(&Variables::of_user(username))
    }

    /// What the user is bound as.
    pub(crate) fn bind_name(&self, username: &str) -> String {
        let pattern = self.user_bind_pattern.as_ref();
        let pattern = pattern.unwrap_or(&self.user_dn_pattern);
        pattern.fill_dn(&Variables::of_user(username))
    }

    /// Where groups are looked for.
    pub(crate) fn groups_base(&self) -> Option<&str> {
        let base = self.group_lookup_base.as_ref();
        base.or(self.dn_lookup_base.as_ref()).map(String::as_str)
    }

    /// Writes a decision to the log if the operator wants it.
    pub(crate) fn log_decision(
        &self,
        what: impl FnOnce() -> String,
        answer: Result<bool, &DirectoryError>,
    ) {
        if self.log == Log::Off {
            return;
        }
        let answer = match answer {
            Ok(true) => "ok".to_owned(),
            Ok(false) => "denied".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::info!("LDAP DECISION: {}: {answer}", what());
    }
}

/// The name of an attribute as a search has it (RFC 4512 2.5).
///
/// # Errors
/// What was expected.
pub fn attribute(name: &str) -> Result<String, String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';');
    if !name.is_empty() && name.chars().all(is_fit) {
        Ok(name.to_owned())
    } else {
        Err("the name of an attribute".to_owned())
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "true or false".to_owned())
}

fn duration(value: &str) -> Result<Option<Duration>, String> {
    match value {
        "infinity" => Ok(None),
        value => match value.parse() {
            Ok(ms) => Ok(Some(Duration::from_millis(ms))),
            Err(_) => Err("milliseconds or infinity".to_owned()),
        },
    }
}
