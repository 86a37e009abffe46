//! What the commands do, one module for each kind of thing.

pub(crate) mod access;
pub(crate) mod cluster;
pub(crate) mod diagnostics;
pub(crate) mod encryption;
pub(crate) mod environment;
pub(crate) mod eval;
pub(crate) mod general;
pub(crate) mod listing;
pub(crate) mod logins;
pub(crate) mod maintenance;
pub(crate) mod messages;
pub(crate) mod nodes;
pub(crate) mod observer;
pub(crate) mod operations;
pub(crate) mod parameters;
pub(crate) mod plugins;
pub(crate) mod replicas;
pub(crate) mod runtime;
pub(crate) mod settings;
pub(crate) mod users;
pub(crate) mod vhosts;

use crate::call::Call;
use crate::node::Answer;
use crate::output::Output;
use crate::term::Term;
use crate::{Failure, failure};
use serde_json::Value as Json;

/// What a command answers.
type Done = Result<Output, Failure>;

/// A document in an argument.
fn document(text: &str) -> Result<Json, Failure> {
    serde_json::from_str(text).map_err(|_| {
        let shown = Term::text(text);
        Failure::error(
            failure::UNAVAILABLE,
            format!("Could not parse JSON document: {{error,{{failed_to_decode_json,{shown}}}}}"),
        )
    })
}

/// Nothing to print, or why a value was refused.
fn validated(answer: Answer) -> Done {
    match answer.refused() {
        None => Ok(Output::Nothing),
        Some(reason) => {
            let reason = reason
                .strip_prefix("Validation failed\n\n")
                .unwrap_or(&reason);
            Err(Failure::error(
                failure::UNAVAILABLE,
                format!("Validation failed\n\n{}\n", reason.trim_end()),
            ))
        }
    }
}

fn no_user(user: &str) -> Failure {
    Failure::error(
        failure::UNAVAILABLE,
        format!("{{:no_such_user, {}}}", Term::text(user).inspect()),
    )
}

/// The values of some fields as cells.
fn cells(item: &Json, fields: &[&str]) -> Vec<Term> {
    fields
        .iter()
        .map(|field| Term::from_json(&item[field]))
        .collect()
}

/// What a command says that is about to do something where a call says where.
impl Call {
    fn items_in_vhost(&mut self, what: &str) -> Result<Vec<Json>, Failure> {
        self.expect_vhost()?;
        self.list(&format!("/api/{what}/{}", self.vhost_path()))
    }
}
