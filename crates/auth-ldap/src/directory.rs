//! What is asked of a directory.

use thiserror::Error;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DirectoryError {
    /// No server can be reached, or not in time.
    #[error("ldap_connect_error: {0}")]
    Connect(String),
    /// The connection has ended; another one may do better.
    #[error("ldap_closed")]
    Closed,
    /// The credentials of the configuration (`other_bind`, `dn_lookup_bind`) are wrong, or a bind failed otherwise.
    #[error("ldap_bind_error")]
    Bind,
    /// `other_bind` is `as_user` and the user has logged in without a password.
    #[error("'other_bind' set to 'as_user' but no password supplied")]
    NoPassword,
    /// The server refuses a search, or has found too much.
    #[error("ldap_evaluate_error: {0}")]
    Search(String),
    /// A query cannot be answered with the variables that there are.
    #[error("ldap_evaluate_error: {0}")]
    Query(String),
}

impl DirectoryError {
    /// Whether another connection may do better.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// How far below its base a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are LDAP's")]
pub enum Scope {
    Base,
    OneLevel,
    Subtree,
}

/// Which entries a search finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All.
    All,
    /// Those of which an attribute has a value.
    Equals(String, String),
}

/// What a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The distinguished name.
    pub dn: String,
    /// The values of the attribute that was asked for, those that are text.
    pub values: Vec<String>,
}

/// A directory, or a connection to one.
pub trait Directory: Send {
    /// Finds entries, and one attribute of each. A base that does not exist has none.
    ///
    /// # Errors
    /// There is no answer.
    fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attribute: &str,
    ) -> impl Future<Output = Result<Vec<Entry>, DirectoryError>> + Send;
}

/// The only entry.
pub(crate) fn searched(entries: &[Entry]) -> Option<&Entry> {
    match entries {
        [entry] => Some(entry),
        _ => None,
    }
}
