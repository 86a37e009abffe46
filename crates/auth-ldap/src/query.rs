//! Queries: what an operator wants to know of a directory before somebody may do something.
//!
//! They are written as Erlang terms (`{in_group, "cn=${vhost}-users,dc=example"}`); reading those is not done here.
//! RabbitMQ docs: ldap#query-types.

use crate::directory::{Directory, DirectoryError, Filter, Scope};
use crate::template::{Template, Variables};
use fancy_regex::RegexBuilder;
use std::collections::HashSet;
use std::pin::Pin;

/// Steps that matching a regular expression may take back.
const BACKTRACK_LIMIT: usize = 100_000;
/// Longest regular expression that is tried, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;
/// Most groups that one question looks into for groups in groups.
const GROUPS_MAX: usize = 1000;

/// A question with the answer yes or no.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Always this.
    Constant(bool),
    /// There is an entry with this name.
    Exists(Template),
    /// The user is a member of the group with this name.
    InGroup {
        /// The group.
        dn: Template,
        /// The attribute of a group that holds its members.
        attribute: String,
    },
    /// The user is a member of that group, or of one that is.
    InGroupNested {
        /// The group.
        dn: Template,
        /// The attribute of a group that holds its members.
        attribute: String,
        /// Where groups are looked for, below `group_lookup_base`.
        scope: Scope,
    },
    /// The query of the first case whose variable has the value; an error if there is none.
    For(Vec<(String, String, Self)>),
    /// The opposite.
    Not(Box<Self>),
    /// All.
    And(Vec<Self>),
    /// At least one.
    Or(Vec<Self>),
    /// Both are the same; one of several values is enough.
    Equals(Text, Text),
    /// The first matches the second as a regular expression; one of several values is enough.
    Match(Text, Text),
}

/// A text or several.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// A text with variables.
    Literal(Template),
    /// The values of an attribute.
    Attribute {
        /// Of the entry with this name.
        dn: Template,
        /// Which attribute.
        attribute: String,
    },
}

/// The query that decides whether a user has a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct TagQuery {
    /// The tag.
    pub tag: String,
    /// The query.
    pub query: Query,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<bool, DirectoryError>> + Send + 'a>>;

/// Answers a query. Its depth is bounded by that of the term that it was read from.
pub(crate) fn evaluate<'a, D: Directory>(
    query: &'a Query,
    variables: &'a Variables<'_>,
    groups_base: Option<&'a str>,
    directory: &'a mut D,
) -> Answer<'a> {
    Box::pin(async move {
        match query {
            Query::Constant(answer) => Ok(*answer),
            Query::Exists(dn) => {
                let dn = dn.fill_dn(variables);
                exists(directory, &dn, &Filter::All).await
            }
            Query::InGroup { dn, attribute } => {
                let dn = dn.fill_dn(variables);
                let filter = Filter::Equals(attribute.clone(), user_dn(variables)?);
                exists(directory, &dn, &filter).await
            }
            Query::InGroupNested {
                dn,
                attribute,
                scope,
            } => {
                let base = groups_base.ok_or_else(|| {
                    let text = "in_group_nested needs group_lookup_base or dn_lookup_base";
                    DirectoryError::Query(text.to_owned())
                })?;
                let groups = Groups {
                    base,
                    attribute,
                    scope: *scope,
                };
                let group = dn.fill_dn(variables);
                groups.hold(directory, user_dn(variables)?, &group).await
            }
            Query::For(cases) => {
                for (name, value, query) in cases {
                    let actual = variables.get(name).ok_or_else(|| {
                        DirectoryError::Query(format!("there is no variable {name} here"))
                    })?;
                    if actual == value {
                        return evaluate(query, variables, groups_base, directory).await;
                    }
                }
                let text = "no case of a for query fits";
                Err(DirectoryError::Query(text.to_owned()))
            }
            Query::Not(query) => evaluate(query, variables, groups_base, directory)
                .await
                .map(|answer| !answer),
            Query::And(queries) => {
                for query in queries {
                    if !settled(evaluate(query, variables, groups_base, directory).await)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Query::Or(queries) => {
                for query in queries {
                    if settled(evaluate(query, variables, groups_base, directory).await)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Query::Equals(one, other) => {
                let Some((one, other)) = both(one, other, variables, directory).await? else {
                    return Ok(false);
                };
                Ok(one.iter().any(|value| other.contains(value)))
            }
            Query::Match(subject, pattern) => {
                let Some((subjects, patterns)) =
                    both(subject, pattern, variables, directory).await?
                else {
                    return Ok(false);
                };
                match (&*subjects, &*patterns) {
                    ([subject], patterns) => Ok(patterns.iter().any(|one| matches(subject, one))),
                    (subjects, [pattern]) => Ok(subjects.iter().any(|one| matches(one, pattern))),
                    // Several values against several expressions say nothing.
                    _ => Ok(false),
                }
            }
        }
    })
}

/// In `and` and `or` what cannot be answered is a no, unless another connection may do better.
fn settled(answer: Result<bool, DirectoryError>) -> Result<bool, DirectoryError> {
    match answer {
        Err(error) if !error.is_of_connection() => Ok(false),
        answer => answer,
    }
}

fn user_dn(variables: &Variables<'_>) -> Result<String, DirectoryError> {
    let user_dn = variables.get("user_dn").map(str::to_owned);
    user_dn.ok_or_else(|| DirectoryError::Query("the user has no entry".to_owned()))
}

async fn exists(
    directory: &mut impl Directory,
    dn: &str,
    filter: &Filter,
) -> Result<bool, DirectoryError> {
    // The class is asked for because it is short.
    let found = directory.search(dn, Scope::Base, filter, "objectClass");
    Ok(!found.await?.is_empty())
}

/// The values of both texts; `None` if one has none.
async fn both(
    one: &Text,
    other: &Text,
    variables: &Variables<'_>,
    directory: &mut impl Directory,
) -> Result<Option<(Vec<String>, Vec<String>)>, DirectoryError> {
    let one = values(one, variables, directory).await?;
    let other = values(other, variables, directory).await?;
    Ok((!one.is_empty() && !other.is_empty()).then_some((one, other)))
}

async fn values(
    text: &Text,
    variables: &Variables<'_>,
    directory: &mut impl Directory,
) -> Result<Vec<String>, DirectoryError> {
    match text {
        Text::Literal(template) => Ok(vec![template.fill(variables)]),
        Text::Attribute { dn, attribute } => {
            let dn = dn.fill_dn(variables);
            let found = directory.search(&dn, Scope::Subtree, &Filter::All, attribute);
            match found.await {
                Ok(entries) => {
                    let mut entries = entries.into_iter().map(|entry| entry.values);
                    Ok(entries
                        .find(|values| !values.is_empty())
                        .unwrap_or_default())
                }
                Err(error) if error.is_of_connection() => Err(error),
                Err(_) => Ok(Vec::new()),
            }
        }
    }
}

/// What is no regular expression matches nothing.
fn matches(subject: &str, pattern: &str) -> bool {
    if pattern.len() > PATTERN_BYTES_MAX {
        return false;
    }
    let regex = RegexBuilder::new(pattern)
        .backtrack_limit(BACKTRACK_LIMIT)
        .build();
    regex.is_ok_and(|regex| regex.is_match(subject).unwrap_or(false))
}

/// Where groups are looked for.
struct Groups<'a> {
    base: &'a str,
    attribute: &'a str,
    scope: Scope,
}

impl Groups<'_> {
    /// Whether somebody is in a group, or in one that is. Each group is looked into once, so that circles end.
    async fn hold(
        &self,
        directory: &mut impl Directory,
        member: String,
        group: &str,
    ) -> Result<bool, DirectoryError> {
        let mut seen = HashSet::from([member.to_lowercase()]);
        let mut open = vec![member];
        while let Some(member) = open.pop() {
            let filter = Filter::Equals(self.attribute.to_owned(), member);
            let found = directory.search(self.base, self.scope, &filter, "objectClass");
            for entry in found.await? {
                let name = entry.dn.to_lowercase();
                if name == group.to_lowercase() {
                    return Ok(true);
                }
                if seen.insert(name) {
                    open.push(entry.dn);
                }
            }
            if seen.len() > GROUPS_MAX {
                let text = format!("more than {GROUPS_MAX} groups in groups");
                return Err(DirectoryError::Query(text));
            }
        }
        Ok(false)
    }
}
