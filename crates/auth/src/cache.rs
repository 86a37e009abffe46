//! The backend `cache`: remembers for a while what other backends have said.
//!
//! No password is kept: a login is known by its salted hash. What could not be told is not remembered.
//! Limit: [`ENTRIES_MAX`]; then what is out of date goes, and if nothing is, everything.

use crate::Refusal;
use crate::backend::{Backend, Found};
use crate::standing::{Standing, Who};
use base::Name;
use broker::auth::{Answer, Credentials, Question};
use broker::metadata::Metadata;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries of each kind.
const ENTRIES_MAX: usize = 100_000;

/// A cache in front of one or two backends.
#[derive(Debug)]
pub(crate) struct Cache {
    authn: Backend,
    authz: Backend,
    ttl: Duration,
    keeps_refusals: bool,
    salt: [u8; 32],
    logins: Entries<LoginKey, Result<Found, Refusal>>,
    standings: Entries<LoginKey, Known>,
    answers: Entries<(Who, Question), Answer>,
}

/// How a backend stands to a user, and with which tags.
type Known = Result<(Standing, Vec<Box<str>>), Refusal>;

/// A login without its password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LoginKey {
    user: Name,
    /// Of the salt and the password.
    hash: Option<[u8; 32]>,
    is_loopback: bool,
}

impl Cache {
    pub(crate) fn new(authn: Backend, authz: Backend, ttl: Duration, keeps_refusals: bool) -> Self {
        Self {
            authn,
            authz,
            ttl,
            keeps_refusals,
            salt: rand::random(),
            logins: Entries::default(),
            standings: Entries::default(),
            answers: Entries::default(),
        }
    }

    /// As [`Backend::authenticate`].
    pub(crate) async fn authenticate(
        self: &Arc<Self>,
        metadata: &Metadata,
        credentials: &Credentials,
    ) -> Result<Found, Refusal> {
        let key = self.key(&credentials.user, credentials);
        if let Some(known) = self.logins.recall(&key) {
            return known;
        }
        let found = self.authn.authenticate_itself(metadata, credentials).await;
        let found = found.map(|found| Found {
            standing: self.in_front_of(found.standing),
            ..found
        });
        if self.is_kept(&found) {
            self.logins.remember(key, found.clone(), self.ttl);
        }
        found
    }

    /// As [`Backend::authorize_login`].
    pub(crate) async fn authorize_login(
        self: &Arc<Self>,
        metadata: &Metadata,
        user: &Name,
        credentials: &Credentials,
    ) -> Result<(Standing, Vec<Box<str>>), Refusal> {
        let key = self.key(user, credentials);
        if let Some(known) = self.standings.recall(&key) {
            return known;
        }
        let found = self
            .authz
            .authorize_login_itself(metadata, user, credentials)
            .await;
        let found = found.map(|(standing, tags)| (self.in_front_of(standing), tags));
        if self.is_kept(&found) {
            self.standings.remember(key, found.clone(), self.ttl);
        }
        found
    }

    /// What is known about a user.
    pub(crate) fn recall(&self, who: &Who, question: &Question) -> Option<Answer> {
        self.answers.recall(&(who.clone(), question.clone()))
    }

    /// Keeps an answer, if answers like this are kept.
    pub(crate) fn remember(&self, who: &Who, question: &Question, answer: &Result<Answer, String>) {
        if let Ok(answer) = answer
            && (*answer == Answer::Allowed || self.keeps_refusals)
        {
            let key = (who.clone(), question.clone());
            self.answers.remember(key, answer.clone(), self.ttl);
        }
    }

    fn is_kept<T>(&self, result: &Result<T, Refusal>) -> bool {
        match result {
            Ok(_) => true,
            Err(Refusal::Refused(_)) => self.keeps_refusals,
            Err(Refusal::Failed(_)) => false,
        }
    }

    fn in_front_of(self: &Arc<Self>, standing: Standing) -> Standing {
        Standing {
            cache: Some(Arc::clone(self)),
            ..standing
        }
    }

    fn key(&self, user: &Name, credentials: &Credentials) -> LoginKey {
        let hash = credentials.password.as_ref().map(|password| {
            Sha256::new()
                .chain_update(self.salt)
                .chain_update(password.expose())
                .finalize()
                .into()
        });
        LoginKey {
            user: user.clone(),
            hash,
            is_loopback: credentials.is_loopback,
        }
    }
}

/// What was said, and until when it counts.
#[derive(Debug)]
struct Entries<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Entries<K, V> {
    fn recall(&self, key: &K) -> Option<V> {
        let entries = self.0.lock();
        let (until, value) = entries.get(key)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    fn remember(&self, key: K, value: V, ttl: Duration) {
        let now = Instant::now();
        let mut entries = self.0.lock();
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, (until, _)| now < *until);
        }
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(key, (now + ttl, value));
    }
}
