//! Who acts, and whoever else decides about it.
//!
//! A user of the metadata is a name: what it may do is looked up with every call. A user who was let in by somebody else, an HTTP
//! server, say, is a name with an [`Authority`]. What that has said is kept for a while with the user, in [`Principal`]; what it has
//! not said yet is a [`Question`], which comes out as [`Error::Unanswered`] and is to be put again with the answer.
//!
//! Nothing is asked here: who drives the machines asks, and gives the answers to [`Principal::learn`].

use crate::Error;
use crate::error::ResourceKind;
use crate::metadata::Metadata;
use base::Name;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

/// Answers a user's connection keeps; then it begins anew. One publish can need one for each of its routing keys.
const ANSWERS_MAX: usize = 4096;

/// An answer that is on its way.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is to be done with a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Declare and delete.
    Configure,
    /// Publish, and be the destination of a binding.
    Write,
    /// Consume, get, purge, and be the source of a binding.
    Read,
    /// Learn that it exists: any of the others is enough.
    Any,
}

impl Action {
    /// As error texts and other programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configure | Self::Any => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// Whether a user may do something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Open this vhost.
    Vhost(Name),
    /// Do something with a queue or an exchange.
    Resource {
        /// Its vhost.
        vhost: Name,
        /// Which of the two.
        kind: ResourceKind,
        /// Its name; the default exchange is `amq.default`.
        name: Name,
        /// What.
        action: Action,
    },
    /// Publish with, or bind by, a routing key on a topic exchange.
    Topic {
        /// The vhost.
        vhost: Name,
        /// The exchange.
        exchange: Name,
        /// `Write` or `Read`.
        action: Action,
        /// The key.
        routing_key: Box<str>,
        /// That of MQTT, where it exists.
        client_id: Option<Box<str>>,
    },
}

/// What an authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Allowed,
    /// No, or it does not know. The note is what error texts say behind the name of the user.
    Refused {
        /// Empty, or something that begins like ` by backend` or `, backend`.
        note: Box<str>,
    },
}

impl Answer {
    /// A plain yes or no.
    pub fn from_bool(allowed: bool) -> Self {
        if allowed {
            Self::Allowed
        } else {
            Self::Refused { note: "".into() }
        }
    }
}

/// Somebody outside the metadata who decides what one user may do.
pub trait Authority: fmt::Debug + Send + Sync {
    /// What it can say without asking anybody.
    fn decide(&self, question: &Question) -> Option<Answer>;

    /// Finds out. Whoever does not answer in time has refused.
    fn ask(self: Arc<Self>, metadata: Arc<Metadata>, question: Question) -> Pending<Answer>;

    /// Finds out again; `None` if nobody can tell just now.
    fn ask_again(
        self: Arc<Self>,
        metadata: Arc<Metadata>,
        question: Question,
    ) -> Pending<Option<Answer>>;

    /// Whom it decides about and who decides: two that say the same here give the same answers.
    fn identity(&self) -> Arc<str>;

    /// Puts new credentials in the place of those that the user logged in with.
    fn renew(self: Arc<Self>, secret: Secret) -> Pending<Result<Login, RenewFailure>>;
}

/// Somebody who lets users in.
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Finds out who it is.
    fn log_in(
        self: Arc<Self>,
        metadata: Arc<Metadata>,
        credentials: Credentials,
    ) -> Pending<Result<Login, LoginFailure>>;
}

/// A password or a token; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Keeps it.
    pub fn new(secret: &[u8]) -> Self {
        Self(secret.into())
    }

    /// What it is.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a client says about itself when it logs in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name it gave.
    pub user: Name,
    /// The password; `None` if the client was known by its certificate.
    pub password: Option<Secret>,
    /// Its address.
    pub address: IpAddr,
    /// Whether it is on this machine.
    pub is_loopback: bool,
}

/// A user who was let in by an [`Authenticator`].
#[derive(Clone, Debug)]
pub struct Login {
    /// Who it is; not always the name that was given.
    pub name: Name,
    /// What it is called beside what the metadata says.
    pub tags: Vec<Box<str>>,
    /// Whether permissions and tags of the metadata count for it.
    pub in_metadata: bool,
    /// Who has to agree with what it does.
    pub authority: Option<Arc<dyn Authority>>,
    /// When its credentials end, in seconds since 1970.
    pub expires_s: Option<u64>,
}

impl Login {
    /// A user of the metadata.
    pub fn internal(name: Name) -> Self {
        Self {
            name,
            tags: Vec::new(),
            in_metadata: true,
            authority: None,
            expires_s: None,
        }
    }
}

/// Why nobody let a user in. It is for the log; the client must not learn it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFailure(pub Box<str>);

impl fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why new credentials were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenewFailure {
    /// They are not good enough; the text is for the log.
    Refused(Box<str>),
    /// Nobody can tell; the text is for the log.
    Failed(Box<str>),
}

/// Who acts.
#[derive(Clone, Debug, Default)]
pub struct Principal {
    name: Name,
    /// `None` for a user of the metadata.
    elsewhere: Option<Box<Elsewhere>>,
}

#[derive(Clone, Debug)]
struct Elsewhere {
    tags: Vec<Box<str>>,
    in_metadata: bool,
    authority: Option<Arc<dyn Authority>>,
    expires_s: Option<u64>,
    answers: HashMap<Question, Answer>,
}

impl From<Name> for Principal {
    fn from(name: Name) -> Self {
        Self {
            name,
            elsewhere: None,
        }
    }
}

impl From<&str> for Principal {
    fn from(name: &str) -> Self {
        Name::from(name).into()
    }
}

impl From<Login> for Principal {
    fn from(login: Login) -> Self {
        let Login {
            name,
            tags,
            in_metadata,
            authority,
            expires_s,
        } = login;
        let is_plain = in_metadata && tags.is_empty() && authority.is_none() && expires_s.is_none();
        let elsewhere = (!is_plain).then(|| {
            Box::new(Elsewhere {
                tags,
                in_metadata,
                authority,
                expires_s,
                answers: HashMap::new(),
            })
        });
        Self { name, elsewhere }
    }
}

impl Principal {
    /// The user's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Whether the user has this tag.
    pub fn has_tag(&self, metadata: &Metadata, tag: &str) -> bool {
        self.own_tags().iter().any(|own| **own == *tag)
            || (self.is_in_metadata()
                && metadata
                    .user(&self.name)
                    .is_some_and(|user| user.has_tag(tag)))
    }

    /// The tags that are not the metadata's.
    pub fn own_tags(&self) -> &[Box<str>] {
        self.elsewhere
            .as_ref()
            .map_or(&[], |elsewhere| &elsewhere.tags)
    }

    /// Whether permissions and tags of the metadata count.
    pub fn is_in_metadata(&self) -> bool {
        self.elsewhere
            .as_ref()
            .is_none_or(|elsewhere| elsewhere.in_metadata)
    }

    /// Who decides beside the metadata.
    pub fn authority(&self) -> Option<&Arc<dyn Authority>> {
        self.elsewhere.as_ref()?.authority.as_ref()
    }

    /// When the credentials end, in seconds since 1970.
    pub fn expires_s(&self) -> Option<u64> {
        self.elsewhere.as_ref()?.expires_s
    }

    /// Keeps an answer, so that the question need not be put again for now.
    pub fn learn(&mut self, question: Question, answer: Answer) {
        let Some(elsewhere) = &mut self.elsewhere else {
            return;
        };
        if elsewhere.answers.len() >= ANSWERS_MAX {
            elsewhere.answers.clear();
        }
        elsewhere.answers.insert(question, answer);
    }

    /// Forgets who was refused: the next time somebody is asked again.
    pub fn forget_refusals(&mut self) {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere
                .answers
                .retain(|_, answer| *answer == Answer::Allowed);
        }
    }

    /// Forgets all answers.
    pub fn forget_answers(&mut self) {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.answers = HashMap::new();
        }
    }

    /// Decides by what the metadata says and by what the authority has said.
    #[inline]
    pub(super) fn decide(
        &self,
        permitted: impl FnOnce() -> bool,
        question: impl FnOnce() -> Question,
    ) -> Result<(), Denied> {
        let Some(elsewhere) = &self.elsewhere else {
            return Denied::unless(permitted());
        };
        if elsewhere.in_metadata {
            Denied::unless(permitted())?;
        }
        let Some(authority) = &elsewhere.authority else {
            // Somebody has to say yes.
            return Denied::unless(elsewhere.in_metadata);
        };
        let question = question();
        let known = elsewhere.answers.get(&question).cloned();
        match known.or_else(|| authority.decide(&question)) {
            Some(Answer::Allowed) => Ok(()),
            Some(Answer::Refused { note }) => Err(Denied::Refused(note)),
            None => Err(Denied::Unanswered(Box::new(question))),
        }
    }

    /// Decides with `decide` and asks the authority for what is not known, until everything is.
    ///
    /// # Errors
    /// Those of `decide`, never `Unanswered`.
    pub async fn settle<T>(
        &mut self,
        metadata: &Arc<Metadata>,
        decide: impl Fn(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let question = match decide(self) {
                Err(Error::Unanswered(question)) => *question,
                decided => return decided,
            };
            let Some(authority) = self.authority().cloned() else {
                return Err(Error::Unanswered(Box::new(question)));
            };
            let answer = authority.ask(Arc::clone(metadata), question.clone()).await;
            self.learn(question, answer);
        }
    }
}

/// Why something was not allowed.
#[derive(Debug)]
pub(super) enum Denied {
    /// With what the text says behind the name of the user.
    Refused(Box<str>),
    Unanswered(Box<Question>),
}

impl Denied {
    fn unless(allowed: bool) -> Result<(), Self> {
        if allowed {
            Ok(())
        } else {
            Err(Self::Refused("".into()))
        }
    }

    /// As an error; `refused` makes it of the note.
    pub(super) fn into_error(self, refused: impl FnOnce(Box<str>) -> Error) -> Error {
        match self {
            Self::Refused(note) => refused(note),
            Self::Unanswered(question) => Error::Unanswered(question),
        }
    }
}
