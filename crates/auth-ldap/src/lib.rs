//! Logins and permissions by an LDAP directory.
//!
//! A login is a bind with the user's name and password. What the user may do are the answers to queries ([`Query`]), which an operator
//! writes and which look for entries, memberships and attributes. What is decided is pure, over a [`Directory`]; the real one is
//! `client`.
//! Nothing of the directory is kept but connections, and nothing in it is ever changed.
//!
//! RabbitMQ docs: ldap. Suggested reading order: [`Settings`], `template`, `query`, `client`.

mod client;
mod directory;
mod query;
mod settings;
mod template;
#[cfg(test)]
mod tests;

pub use directory::{Directory, DirectoryError, Entry, Filter, Scope};
pub use query::{Query, TagQuery, Text};
pub use settings::{Bind, Log, Settings, SetupError, attribute};
pub use template::Template;

use client::{Client, Credentials, Session};
use directory::searched;
use query::evaluate;
use std::fmt;
use template::Variables;

/// A user who has logged in.
#[derive(Clone)]
pub struct Login {
    username: String,
    user_dn: String,
    /// For queries that are put in the user's name.
    password: Option<String>,
    tags: Vec<String>,
}

impl Login {
    /// The name that the client gave.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The distinguished name of the user's entry.
    pub fn user_dn(&self) -> &str {
        &self.user_dn
    }

    /// The tags whose queries said yes.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    fn variables(&self) -> Variables<'_> {
        let mut variables = Variables::of_user(&self.username);
        variables.set("user_dn", &self.user_dn);
        variables
    }
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("user_dn", &self.user_dn)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

/// What may be done with a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "AMQP's and RabbitMQ's own words")]
pub enum Permission {
    Configure,
    Write,
    Read,
}

impl Permission {
    fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// What a permission is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "AMQP's own words")]
pub enum Kind {
    Queue,
    Exchange,
}

/// A queue or an exchange; the default exchange is `amq.default`.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// Its vhost.
    pub vhost: &'a str,
    /// Which of the two.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
}

/// A routing key on a topic exchange.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a> {
    /// The vhost.
    pub vhost: &'a str,
    /// The exchange.
    pub exchange: &'a str,
    /// The key.
    pub routing_key: &'a str,
    /// The client's id, where its protocol has one.
    pub client_id: Option<&'a str>,
}

/// Asks a directory.
#[derive(Debug)]
pub struct Ldap {
    settings: Settings,
    client: Client,
}

impl Ldap {
    /// Reads the files that the settings name. Nothing is connected yet.
    ///
    /// # Errors
    /// The settings do not fit together, or a file is missing or wrong.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        settings.check()?;
        Ok(Self {
            settings: settings.clone(),
            client: Client::new(settings)?,
        })
    }

    /// Logs a user in; `None` if the password is wrong. Without a password, as after a certificate, the user's entry is only looked
    /// for.
    ///
    /// # Errors
    /// The directory does not answer, or not to what was asked.
    pub async fn authenticate(
        &self,
        username: &str,
        password: Option<&str>,
    ) -> Result<Option<Login>, DirectoryError> {
        let login = self.log_in(username, password).await;
        self.settings.log_decision(
            || format!("login for {username}"),
            login.as_ref().map(Option::is_some),
        );
        login
    }

    async fn log_in(
        &self,
        username: &str,
        password: Option<&str>,
    ) -> Result<Option<Login>, DirectoryError> {
        // A bind without a password succeeds for anybody (RFC 4513 5.1.2).
        if password == Some("") {
            return Ok(None);
        }
        let settings = &self.settings;
        let looks_first = settings.looks_up_dn() && settings.dn_lookup_bind != Bind::AsUser;
        let Some(password) = password else {
            let mut directory = self.session(&settings.other_bind, None).await?;
            let user_dn = if settings.looks_up_dn() && !looks_first {
                lookup(&mut directory, settings, username).await?
            } else {
                settings.user_dn(username)
            };
            let login = login(username, user_dn, None);
            return with_tags(&mut directory, settings, login).await.map(Some);
        };
        let known_dn = if looks_first {
            let mut directory = self.session(&settings.dn_lookup_bind, None).await?;
            Some(lookup(&mut directory, settings, username).await?)
        } else {
            None
        };
        let name = known_dn
            .clone()
            .unwrap_or_else(|| settings.bind_name(username));
        let own = Credentials::Password(name, password.to_owned());
        let Some(mut directory) = self.client.session(&own).await? else {
            return Ok(None);
        };
        let user_dn = match known_dn {
            Some(dn) => dn,
            None if settings.looks_up_dn() => lookup(&mut directory, settings, username).await?,
            None => settings.user_dn(username),
        };
        let login = login(username, user_dn, Some(password));
        if settings.other_bind != Bind::AsUser {
            // The other connection may be this one.
            drop(directory);
            directory = self.session(&settings.other_bind, None).await?;
        }
        with_tags(&mut directory, settings, login).await.map(Some)
    }

    /// Whether the user may open a vhost.
    ///
    /// # Errors
    /// The directory does not answer, or not to what was asked.
    pub async fn may_access_vhost(
        &self,
        login: &Login,
        vhost: &str,
    ) -> Result<bool, DirectoryError> {
        let mut variables = login.variables();
        variables.set("vhost", vhost);
        let what = || format!("access to vhost \"{vhost}\" for \"{}\"", login.username);
        self.ask(login, &self.settings.vhost_access, &variables, what)
            .await
    }

    /// Whether the user has a permission on a queue or an exchange.
    ///
    /// # Errors
    /// The directory does not answer, or not to what was asked.
    pub async fn may(
        &self,
        login: &Login,
        resource: Resource<'_>,
        permission: Permission,
    ) -> Result<bool, DirectoryError> {
        let kind = match resource.kind {
            Kind::Queue => "queue",
            Kind::Exchange => "exchange",
        };
        let mut variables = login.variables();
        variables.set("vhost", resource.vhost);
        variables.set("resource", kind);
        variables.set("name", resource.name);
        variables.set("permission", permission.name());
        let what = || {
            format!(
                "{} permission for {kind} \"{}\" in \"{}\" for \"{}\"",
                permission.name(),
                resource.name,
                resource.vhost,
                login.username
            )
        };
        self.ask(login, &self.settings.resource_access, &variables, what)
            .await
    }

    /// Whether the user may publish (write) or bind (read) with a routing key on a topic exchange.
    ///
    /// # Errors
    /// The directory does not answer, or not to what was asked.
    pub async fn may_topic(
        &self,
        login: &Login,
        topic: Topic<'_>,
        permission: Permission,
    ) -> Result<bool, DirectoryError> {
        let mut variables = login.variables();
        variables.set("vhost", topic.vhost);
        variables.set("resource", "topic");
        variables.set("name", topic.exchange);
        variables.set("permission", permission.name());
        variables.set("routing_key", topic.routing_key);
        variables.set("variable_map.username", &login.username);
        variables.set("variable_map.vhost", topic.vhost);
        if let Some(client_id) = topic.client_id {
            variables.set("variable_map.client_id", client_id);
        }
        let what = || {
            format!(
                "{} permission for topic \"{}\" in \"{}\" for \"{}\"",
                permission.name(),
                topic.exchange,
                topic.vhost,
                login.username
            )
        };
        self.ask(login, &self.settings.topic_access, &variables, what)
            .await
    }

    async fn ask(
        &self,
        login: &Login,
        query: &Query,
        variables: &Variables<'_>,
        what: impl FnOnce() -> String,
    ) -> Result<bool, DirectoryError> {
        // Nothing has to be asked for a constant.
        let answer = if let Query::Constant(answer) = query {
            Ok(*answer)
        } else {
            self.ask_directory(login, query, variables).await
        };
        self.settings
            .log_decision(what, answer.as_ref().map(|yes| *yes));
        answer
    }

    async fn ask_directory(
        &self,
        login: &Login,
        query: &Query,
        variables: &Variables<'_>,
    ) -> Result<bool, DirectoryError> {
        let mut directory = self.session(&self.settings.other_bind, Some(login)).await?;
        let groups = self.settings.groups_base();
        evaluate(query, variables, groups, &mut directory).await
    }

    /// A connection that is bound as the settings or a user say.
    async fn session(&self, bind: &Bind, login: Option<&Login>) -> Result<Session, DirectoryError> {
        let credentials = match bind.credentials() {
            Some(credentials) => credentials,
            None => {
                let password = login.and_then(|login| login.password.as_ref().zip(Some(login)));
                let (password, login) = password.ok_or(DirectoryError::NoPassword)?;
                Credentials::Password(login.user_dn.clone(), password.clone())
            }
        };
        let session = self.client.session(&credentials).await?;
        session.ok_or(DirectoryError::Bind)
    }
}

fn login(username: &str, user_dn: String, password: Option<&str>) -> Login {
    Login {
        username: username.to_owned(),
        user_dn,
        password: password.map(str::to_owned),
        tags: Vec::new(),
    }
}

/// The distinguished name of the user's entry; by the pattern if there is none, or more than one.
async fn lookup(
    directory: &mut impl Directory,
    settings: &Settings,
    username: &str,
) -> Result<String, DirectoryError> {
    let (Some(attribute), Some(base)) = (&settings.dn_lookup_attribute, &settings.dn_lookup_base)
    else {
        return Ok(settings.user_dn(username));
    };
    let value = settings.user_dn_pattern.fill(&Variables::of_user(username));
    let filter = Filter::Equals(attribute.clone(), value);
    let entries = directory
        .search(base, Scope::Subtree, &filter, "distinguishedName")
        .await?;
    match searched(&entries) {
        Some(entry) => Ok(entry.dn.clone()),
        None => {
            tracing::warn!(
                entries = entries.len(),
                "LDAP: the search for a user's entry did not find exactly one"
            );
            Ok(settings.user_dn(username))
        }
    }
}

/// Asks for the tags. A query that cannot be answered is a tag that the user has not.
async fn with_tags(
    directory: &mut impl Directory,
    settings: &Settings,
    mut login: Login,
) -> Result<Login, DirectoryError> {
    let mut tags = Vec::new();
    for TagQuery { tag, query } in &settings.tags {
        let variables = login.variables();
        match evaluate(query, &variables, settings.groups_base(), directory).await {
            Ok(true) => tags.push(tag.clone()),
            Ok(false) => {}
            // Another connection may do better.
            Err(error) if error.is_of_connection() => return Err(error),
            Err(error) => settings.log_decision(
                || format!("does {} have tag {tag}?", login.username),
                Err(&error),
            ),
        }
    }
    login.tags = tags;
    Ok(login)
}
