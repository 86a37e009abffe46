//! How the backends of a link stand to a user who is in: its [`Authority`].
//!
//! `internal` is not among them: what the metadata says is looked up with every call, see [`Login::in_metadata`].

use crate::cache::Cache;
use crate::http::{Http, Problem};
use crate::ldap::{self, LdapUser};
use crate::oauth2::TokenUser;
use crate::settings::BackendName;
use base::Name;
use broker::auth::{
    Action, Answer, Authority, Login, Pending, Question, RenewFailure, Secret, answer_by_metadata,
};
use broker::metadata::Metadata;
use std::net::IpAddr;
use std::sync::Arc;

/// A user who is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    pub(crate) name: Name,
    pub(crate) tags: Vec<Box<str>>,
    pub(crate) address: IpAddr,
}

/// How one backend stands to a user.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) decider: Decider,
    /// What is in front of it.
    pub(crate) cache: Option<Arc<Cache>>,
}

/// What a backend needs to decide.
#[derive(Clone, Debug)]
pub(crate) enum Decider {
    Internal,
    Http(Arc<Http>),
    Ldap(LdapUser),
    OAuth2(TokenUser),
}

/// How all backends of a link stand to a user; each has to allow what it does.
#[derive(Debug)]
pub(crate) struct Standings {
    who: Who,
    in_metadata: bool,
    standings: Vec<Standing>,
}

impl Standings {
    /// The user as others see it.
    pub(crate) fn login(who: Who, standings: Vec<Standing>) -> Login {
        let (internal, standings): (Vec<_>, Vec<_>) = standings
            .into_iter()
            .partition(|standing| standing.is_live());
        let in_metadata = !internal.is_empty();
        Arc::new(Self {
            who,
            in_metadata,
            standings,
        })
        .as_login()
    }

    fn as_login(self: Arc<Self>) -> Login {
        let Who { name, tags, .. } = &self.who;
        Login {
            name: name.clone(),
            tags: tags.clone(),
            in_metadata: self.in_metadata,
            expires_s: self.expires_s(),
            authority: (!self.standings.is_empty())
                .then(|| Arc::clone(&self) as Arc<dyn Authority>),
        }
    }

    /// When the first of its credentials ends.
    fn expires_s(&self) -> Option<u64> {
        let tokens = self.standings.iter().filter_map(Standing::token);
        tokens.filter_map(TokenUser::expires_s).min()
    }

    /// The same user with a new token.
    async fn with_token(&self, secret: &Secret) -> Result<Login, RenewFailure> {
        let mut who = self.who.clone();
        let mut standings = Vec::new();
        for standing in &self.standings {
            let mut standing = standing.clone();
            if let Decider::OAuth2(token) = &standing.decider {
                let renewed = token.renew(secret).await?;
                // The tags of the old token go with it.
                who.tags
                    .retain(|tag| !token.tags().any(|own| own == &**tag));
                who.tags.extend(renewed.tags().map(Box::from));
                standing.decider = Decider::OAuth2(renewed);
            }
            standings.push(standing);
        }
        let renewed = Arc::new(Self {
            who,
            in_metadata: self.in_metadata,
            standings,
        });
        Ok(renewed.as_login())
    }
}

impl Authority for Standings {
    fn decide(&self, question: &Question) -> Option<Answer> {
        let mut known = Some(Answer::Allowed);
        for standing in &self.standings {
            match standing.decide(&self.who, question) {
                Some(Answer::Allowed) => {}
                Some(refused) => return Some(refused),
                None => known = None,
            }
        }
        known
    }

    fn ask(self: Arc<Self>, metadata: Arc<Metadata>, question: Question) -> Pending<Answer> {
        Box::pin(async move {
            for standing in &self.standings {
                let answer = standing.ask(&self.who, &metadata, &question).await;
                if answer != Answer::Allowed {
                    return answer;
                }
            }
            Answer::Allowed
        })
    }

    fn ask_again(
        self: Arc<Self>,
        metadata: Arc<Metadata>,
        question: Question,
    ) -> Pending<Option<Answer>> {
        Box::pin(async move {
            for standing in &self.standings {
                let answer = standing.answer(&self.who, &metadata, &question).await;
                match answer.ok()? {
                    Answer::Allowed => {}
                    refused @ Answer::Refused { .. } => return Some(refused),
                }
            }
            Some(Answer::Allowed)
        })
    }

    fn identity(&self) -> Arc<str> {
        let Who {
            name,
            tags,
            address,
        } = &self.who;
        let deciders = self.standings.iter().map(Standing::identity);
        format!(
            "{name:?} {tags:?} {address} {:?}",
            deciders.collect::<Vec<_>>()
        )
        .into()
    }

    fn renew(self: Arc<Self>, secret: Secret) -> Pending<Result<Login, RenewFailure>> {
        // Backends whose credentials do not end have nothing to renew.
        Box::pin(async move { self.with_token(&secret).await })
    }
}

impl Standing {
    pub(crate) fn plain(decider: Decider) -> Self {
        Self {
            decider,
            cache: None,
        }
    }

    /// Whether it is the metadata as it is now.
    fn is_live(&self) -> bool {
        self.cache.is_none() && matches!(self.decider, Decider::Internal)
    }

    /// The user's token, if that is what decides.
    fn token(&self) -> Option<&TokenUser> {
        match &self.decider {
            Decider::OAuth2(token) => Some(token),
            Decider::Internal | Decider::Http(_) | Decider::Ldap(_) => None,
        }
    }

    fn decide(&self, who: &Who, question: &Question) -> Option<Answer> {
        // Another token of the same user may say something else, so a cache is not asked.
        if let Some(token) = self.token() {
            return Some(token.answer(question));
        }
        self.cache.as_ref()?.recall(who, question)
    }

    /// What it says now; the error is why nobody can tell.
    async fn answer(
        &self,
        who: &Who,
        metadata: &Metadata,
        question: &Question,
    ) -> Result<Answer, String> {
        if let Some(known) = self.decide(who, question) {
            return Ok(known);
        }
        let answer = self.decider.ask(who, metadata, question).await;
        if let Some(cache) = &self.cache {
            cache.remember(who, question, &answer);
        }
        answer
    }

    async fn ask(&self, who: &Who, metadata: &Metadata, question: &Question) -> Answer {
        match self.answer(who, metadata, question).await {
            Ok(answer) => answer,
            Err(reason) => {
                let module = self.module();
                tracing::error!(user = %who.name, "backend {module} returned an error: {reason}");
                let note = format!(", backend {module} returned an error: {reason}");
                Answer::Refused { note: note.into() }
            }
        }
    }

    /// Who decides, and as whom it asks.
    fn identity(&self) -> (&'static str, Option<&str>) {
        let asks_as = match &self.decider {
            Decider::Ldap(user) => Some(user.identity()),
            Decider::Internal | Decider::Http(_) | Decider::OAuth2(_) => None,
        };
        (self.module(), asks_as)
    }

    fn module(&self) -> &'static str {
        match (&self.cache, &self.decider) {
            (Some(_), _) => BackendName::Cache,
            (None, Decider::Internal) => BackendName::Internal,
            (None, Decider::Http(_)) => BackendName::Http,
            (None, Decider::Ldap(_)) => BackendName::Ldap,
            (None, Decider::OAuth2(_)) => BackendName::OAuth2,
        }
        .module()
    }
}

impl Decider {
    /// Asks; the error is why nobody can tell.
    async fn ask(
        &self,
        who: &Who,
        metadata: &Metadata,
        question: &Question,
    ) -> Result<Answer, String> {
        match self {
            Self::Internal => Ok(answer_by_metadata(metadata, &who.name, question)),
            Self::Http(http) => {
                for question in each(question) {
                    match http.ask(who, &question).await {
                        Ok(()) => return Ok(Answer::Allowed),
                        Err(Problem::Denied { reason }) if is_last(&question) => {
                            let note = reason.map_or_else(String::new, |reason| {
                                format!(" by backend {}: {reason}", BackendName::Http.module())
                            });
                            return Ok(Answer::Refused { note: note.into() });
                        }
                        Err(Problem::Denied { .. }) => {}
                        Err(Problem::Failed(reason)) => return Err(reason),
                    }
                }
                Ok(Answer::from_bool(false))
            }
            Self::Ldap(user) => {
                for question in each(question) {
                    if ldap::ask(user, &question).await? {
                        return Ok(Answer::Allowed);
                    }
                }
                Ok(Answer::from_bool(false))
            }
            Self::OAuth2(token) => Ok(token.answer(question)),
        }
    }
}

/// What has to be asked where one of the three permissions is enough, in RabbitMQ's order.
pub(crate) fn each(question: &Question) -> Vec<Question> {
    match question {
        Question::Resource {
            vhost,
            kind,
            name,
            action: Action::Any,
        } => [Action::Read, Action::Write, Action::Configure]
            .map(|action| Question::Resource {
                vhost: vhost.clone(),
                kind: *kind,
                name: name.clone(),
                action,
            })
            .into(),
        Question::Vhost(_) | Question::Resource { .. } | Question::Topic { .. } => {
            vec![question.clone()]
        }
    }
}

/// Whether a refusal of this is the end: of several, the one for configure is told.
fn is_last(question: &Question) -> bool {
    !matches!(
        question,
        Question::Resource {
            action: Action::Read | Action::Write,
            ..
        }
    )
}
