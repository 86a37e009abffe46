//! Runtime parameters and policies.

use super::{Done, cells, document, validated};
use crate::Failure;
use crate::call::Call;
use crate::failure::UNAVAILABLE;
use crate::node::encode;
use crate::output::Output;
use crate::term::Term;
use serde_json::{Value as Json, json};

fn missing() -> Failure {
    Failure::error(UNAVAILABLE, "Parameter does not exist")
}

fn cleared(call: &mut Call, path: &str) -> Done {
    let answer = call.node.delete(path)?;
    if answer.is_missing() {
        return Err(missing());
    }
    Call::done(answer)?;
    Ok(Output::Nothing)
}

/// What parameters hold: documents as text.
fn value(item: &Json) -> Term {
    Term::text(item["value"].to_string())
}

pub(crate) fn set_parameter(call: &mut Call) -> Done {
    let [component, name, text] = [0, 1, 2].map(|index| call.value(index).to_owned());
    call.say(&format!(
        "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{text}\" in vhost \"{}\" ...",
        call.vhost()
    ));
    let value = document(&text)?;
    call.expect_vhost()?;
    let path = format!(
        "/api/parameters/{}/{}/{}",
        encode(&component),
        call.vhost_path(),
        encode(&name)
    );
    validated(call.node.put(&path, &json!({ "value": value }))?)
}

pub(crate) fn clear_parameter(call: &mut Call) -> Done {
    let (component, name) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!(
        "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{}\" ...",
        call.vhost()
    ));
    call.expect_vhost()?;
    let path = format!(
        "/api/parameters/{}/{}/{}",
        encode(&component),
        call.vhost_path(),
        encode(&name)
    );
    cleared(call, &path)
}

/// Components that have commands of their own.
const HIDDEN: [&str; 3] = ["policy", "operator_policy", "vhost-limits"];

pub(crate) fn list_parameters(call: &mut Call) -> Done {
    call.say(&format!(
        "Listing runtime parameters for vhost \"{}\" ...",
        call.vhost()
    ));
    call.expect_vhost()?;
    let vhost = call.vhost().to_owned();
    let all = call.list("/api/parameters")?;
    let own = all.iter().filter(|item| {
        let component = item["component"].as_str().unwrap_or_default();
        item["vhost"] == vhost.as_str() && !HIDDEN.contains(&component)
    });
    let rows = own.map(|item| {
        let mut row = cells(item, &["component", "name"]);
        row.push(value(item));
        row
    });
    Ok(Output::rows(&["component", "name", "value"], rows.collect()).marking_empty())
}

pub(crate) fn set_global_parameter(call: &mut Call) -> Done {
    let (name, text) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!(
        "Setting global runtime parameter \"{name}\" to \"{text}\" ..."
    ));
    let value = document(&text)?;
    let path = format!("/api/global-parameters/{}", encode(&name));
    validated(call.node.put(&path, &json!({ "value": value }))?)
}

pub(crate) fn clear_global_parameter(call: &mut Call) -> Done {
    let name = call.value(0).to_owned();
    call.say(&format!("Clearing global runtime parameter \"{name}\" ..."));
    cleared(call, &format!("/api/global-parameters/{}", encode(&name)))
}

pub(crate) fn list_global_parameters(call: &mut Call) -> Done {
    call.say("Listing global runtime parameters ...");
    let all = call.list("/api/global-parameters")?;
    let rows = all
        .iter()
        .map(|item| vec![Term::from_json(&item["name"]), value(item)]);
    Ok(Output::rows(&["name", "value"], rows.collect()).marking_empty())
}

/// The two kinds of policies.
#[derive(Clone, Copy)]
struct Kind {
    path: &'static str,
    noun: &'static str,
}

const USER: Kind = Kind {
    path: "policies",
    noun: "policy",
};
const OPERATOR: Kind = Kind {
    path: "operator-policies",
    noun: "operator policy",
};

impl Kind {
    fn one(self, call: &Call, name: &str) -> String {
        format!("/api/{}/{}/{}", self.path, call.vhost_path(), encode(name))
    }
}

pub(crate) fn set_policy(call: &mut Call) -> Done {
    set(call, USER, "policy")
}

pub(crate) fn set_operator_policy(call: &mut Call) -> Done {
    set(call, OPERATOR, "operator policy override")
}

fn set(call: &mut Call, kind: Kind, noun: &str) -> Done {
    let [name, pattern, definition] = [0, 1, 2].map(|index| call.value(index).to_owned());
    let priority = call.arguments.option("priority").unwrap_or("0").to_owned();
    call.say(&format!(
        "Setting {noun} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \"{}\" ...",
        call.vhost()
    ));
    let priority: i64 = priority.parse().map_err(|_| {
        Failure::error(
            UNAVAILABLE,
            format!("Validation failed\n\npriority should be a number, actually was {priority}\n"),
        )
    })?;
    let definition = document(&definition)?;
    call.expect_vhost()?;
    let body = json!({
        "pattern": pattern,
        "definition": definition,
        "priority": priority,
        "apply-to": call.arguments.option("apply-to").unwrap_or("all"),
    });
    let path = kind.one(call, &name);
    validated(call.node.put(&path, &body)?)
}

pub(crate) fn clear_policy(call: &mut Call) -> Done {
    clear(call, USER)
}

pub(crate) fn clear_operator_policy(call: &mut Call) -> Done {
    clear(call, OPERATOR)
}

fn clear(call: &mut Call, kind: Kind) -> Done {
    let name = call.value(0).to_owned();
    call.say(&format!(
        "Clearing {} \"{name}\" on vhost \"{}\" ...",
        kind.noun,
        call.vhost()
    ));
    call.expect_vhost()?;
    let path = kind.one(call, &name);
    cleared(call, &path)
}

pub(crate) fn list_policies(call: &mut Call) -> Done {
    call.say(&format!(
        "Listing policies for vhost \"{}\" ...",
        call.vhost()
    ));
    list(call, USER)
}

pub(crate) fn list_operator_policies(call: &mut Call) -> Done {
    call.say(&format!(
        "Listing operator policy overrides for vhost \"{}\" ...",
        call.vhost()
    ));
    list(call, OPERATOR)
}

const POLICY_COLUMNS: [&str; 6] = [
    "vhost",
    "name",
    "pattern",
    "apply-to",
    "definition",
    "priority",
];

fn list(call: &mut Call, kind: Kind) -> Done {
    let items = call.items_in_vhost(kind.path)?;
    let rows = items.iter().map(|item| {
        let cells = POLICY_COLUMNS.iter().map(|column| match *column {
            "definition" => Term::text(item["definition"].to_string()),
            other => Term::from_json(&item[other]),
        });
        cells.collect()
    });
    Ok(Output::rows(&POLICY_COLUMNS, rows.collect()).marking_empty())
}
