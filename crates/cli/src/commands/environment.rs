//! What a node is configured with: `environment`, variables and arguments of its process, and `report`, which puts everything
//! together that somebody who helps from afar wants to see.

use super::Done;
use crate::call::Call;
use crate::failure::UNAVAILABLE;
use crate::output::Output;
use crate::pretty::pretty;
use crate::term::Term;
use crate::{Failure, Tool, catalogue};
use config::erlang;
use serde_json::Value as Json;

/// Applications with their settings.
pub(super) type Environment = Vec<(String, Vec<(String, Term)>)>;

/// A term as the configuration reads it.
pub(super) fn term(node: &erlang::Node) -> Term {
    let all = |items: &[erlang::Node]| items.iter().map(term).collect();
    match &node.term {
        erlang::Term::Atom(text) => Term::atom(text),
        erlang::Term::Integer(value) => Term::int(*value),
        erlang::Term::Float(value) => Term::Float(*value),
        erlang::Term::String(text) => Term::characters(text),
        erlang::Term::Binary(text) => Term::text(text),
        erlang::Term::List(items) => Term::List(all(items)),
        erlang::Term::Tuple(items) => Term::Tuple(all(items)),
    }
}

/// What the node was told, and what was changed since.
///
/// # Errors
/// The node cannot be asked.
pub(super) fn read(call: &mut Call) -> Result<Environment, Failure> {
    let answer = call.node.get("/control/environment")?.ok()?;
    let applications = answer.as_array().into_iter().flatten();
    let settings = |item: &Json| {
        let values = item["settings"].as_array().into_iter().flatten();
        values
            .map(|value| {
                let key = value["key"].as_str().unwrap_or_default().to_owned();
                let text = value["value"].as_str().unwrap_or_default();
                let parsed = erlang::parse(&format!("{text}."));
                let value = parsed.map_or_else(|_| Term::characters(text), |node| term(&node));
                (key, value)
            })
            .collect()
    };
    Ok(applications
        .map(|item| {
            let name = item["application"].as_str().unwrap_or_default();
            (name.to_owned(), settings(item))
        })
        .collect())
}

pub(crate) fn environment(call: &mut Call) -> Done {
    call.say(&format!(
        "Application environment of node {} ...",
        call.node.name()
    ));
    let applications = read(call)?.into_iter().map(|(name, settings)| {
        let settings = settings
            .into_iter()
            .map(|(key, value)| Term::pair(&key, value));
        Term::pair(&name, Term::List(settings.collect()))
    });
    let value = Term::List(applications.collect());
    Ok(Output::Report {
        text: pretty(&value),
        value,
    })
}

pub(crate) fn os_env(call: &mut Call) -> Done {
    call.say(&format!(
        "Listing RabbitMQ-specific environment variables defined on node {}...",
        call.node.name()
    ));
    let process = call.node.get("/control/process")?.ok()?;
    let variables = process["variables"].as_array().into_iter().flatten();
    let pairs: Vec<(Term, Term)> = variables
        .filter_map(|pair| {
            let name = pair[0].as_str()?;
            // RabbitMQ's tool leaves the prefix out.
            let short = name.strip_prefix("RABBITMQ_").unwrap_or(name);
            Some((Term::text(short), Term::text(pair[1].as_str()?)))
        })
        .collect();
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", name.plain(), value.plain()))
        .collect();
    let fields = vec![
        (Term::atom("node"), Term::text(call.node.name())),
        (Term::atom("result"), Term::atom("ok")),
        (Term::atom("variables"), Term::Map(pairs)),
    ];
    Ok(Output::Said {
        text: lines.join("\n"),
        value: Term::Map(fields),
    })
}

pub(crate) fn command_line_arguments(call: &mut Call) -> Done {
    call.say(&format!(
        "Command line arguments of node {} ...",
        call.node.name()
    ));
    let process = call.node.get("/control/process")?.ok()?;
    let words: Vec<&str> = process["arguments"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let strings =
        |words: &[&str]| Term::List(words.iter().map(|word| Term::characters(word)).collect());
    let (program, rest) = words.split_at(words.len().min(1));
    let value = Term::List(vec![
        Term::pair("progname", strings(program)),
        Term::pair("arguments", strings(rest)),
    ]);
    Ok(Output::Report {
        text: pretty(&value),
        value,
    })
}

/// The parts of a report about the node.
const OF_NODE: [&str; 7] = [
    "status",
    "cluster_status",
    "environment",
    "list_connections",
    "list_channels",
    "command_line_arguments",
    "os_env",
];

/// The parts about each virtual host.
const OF_VHOST: [&str; 7] = [
    "list_queues",
    "list_exchanges",
    "list_bindings",
    "list_permissions",
    "list_policies",
    "list_global_parameters",
    "list_parameters",
];

pub(crate) fn report(call: &mut Call) -> Done {
    if !call.arguments.values.is_empty() {
        return Err(Failure::usage("too many arguments."));
    }
    call.say(&format!(
        "Reporting server status of node {} ...\n",
        call.node.name()
    ));
    for name in OF_NODE {
        part(call, name)?;
    }
    let vhosts = call.list("/api/vhosts?columns=name")?;
    for vhost in &vhosts {
        let name = vhost["name"].as_str().unwrap_or_default();
        call.arguments.set_option("vhost", name.to_owned());
        for name in OF_VHOST {
            part(call, name)?;
        }
    }
    Ok(Output::Nothing)
}

/// Prints what another command would.
fn part(call: &mut Call, name: &str) -> Result<(), Failure> {
    let command = Tool::ALL
        .into_iter()
        .find_map(|tool| catalogue::find(tool, name))
        .ok_or_else(|| Failure::error(UNAVAILABLE, format!("{name} is not among the commands")))?;
    let own = call.command;
    call.command = command;
    let output = (command.run)(call);
    call.command = own;
    let text = call.formatter.format(&output?, true);
    call.print(&format!("{text}\n"));
    Ok(())
}
