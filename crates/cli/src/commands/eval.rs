//! `eval` and `eval_file`: Erlang expressions about a node, and what of RabbitMQ's functions they may call.
//!
//! Expressions are evaluated here, by [`crate::eval`]; the node is asked what the functions below need, in the words of its API.
//! `docs/eval.md` lists them.

use super::Done;
use super::listing::{self, Kind};
use super::logins;
use crate::call::Call;
use crate::eval::{
    self, Expression, Facts, Raised, Session, argument_error, resource, resource_term,
};
use crate::failure::{DATA, UNAVAILABLE, USAGE};
use crate::node::encode;
use crate::output::{Formatter, Output};
use crate::pretty::pretty;
use crate::term::Term;
use crate::{Failure, failure};
use serde_json::{Value as Json, json};
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::time::{SystemTime, UNIX_EPOCH};

/// Largest file with an expression in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn eval(call: &mut Call) -> Done {
    let text = match call.arguments.values.first() {
        Some(text) => text.clone(),
        None => String::from_utf8_lossy(&call.input()?).into_owned(),
    };
    if call.arguments.values.is_empty() && text.trim().is_empty() {
        return Err(Failure::error(
            DATA,
            "Expression to evaluate is not provided via argument or stdin",
        ));
    }
    if text.trim().is_empty() {
        return Err(Failure::usage("\"Expression must not be blank\""));
    }
    let arguments = call.arguments.values.get(1..).unwrap_or_default().to_vec();
    evaluate(call, &text, &arguments)
}

pub(crate) fn eval_file(call: &mut Call) -> Done {
    let path = call.value(0).to_owned();
    let missing = || Failure::usage(format!("\"File {path} does not exist\""));
    let file = std::fs::File::open(&path).map_err(|_| missing())?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::error(failure::FILE, format!("cannot read {path}: {error}")))?;
    evaluate(call, &text, &[])
}

/// Compat: `exec` evaluates Elixir in the virtual machine of RabbitMQ's tools, which these tools do not have.
pub(crate) fn exec(call: &mut Call) -> Done {
    Err(Failure::error(
        UNAVAILABLE,
        format!(
            "exec cannot evaluate {}: it takes Elixir, and these tools are not written in it. \
             'eval' takes Erlang expressions; see {}",
            Term::text(call.value(0)).inspect(),
            eval::DOCUMENT
        ),
    ))
}

/// Reads expressions from the standard input, each up to the full stop at the end of a line, and prints their values.
pub(crate) fn remote_shell(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Starting a shell on node {node}... q(). or the end of the input ends it; {} lists what can be called",
        eval::DOCUMENT
    ));
    call.node.get("/control/node/ping")?.ok()?;
    let asks = std::io::stdin().is_terminal();
    let mut session = Session::default();
    let mut lines = std::io::stdin().lock();
    let (mut text, mut number) = (String::new(), 1_u32);
    loop {
        if asks && text.is_empty() {
            call.print(&format!("({node}){number}> "));
        }
        let mut line = lines.by_ref().take(FILE_BYTES_MAX);
        let read = line.read_line(&mut text).map_err(|error| {
            Failure::error(
                failure::FILE,
                format!("cannot read the standard input: {error}"),
            )
        })?;
        let is_over = read == 0 || text.len() as u64 >= FILE_BYTES_MAX;
        if is_over && text.trim().is_empty() {
            return Ok(Output::Nothing);
        }
        if !is_over && !text.trim_end().ends_with('.') {
            continue;
        }
        match text.trim() {
            "q()." | "halt()." => return Ok(Output::Nothing),
            "f()." => session = Session::default(),
            expression => {
                let said = step(call, expression, &mut session);
                call.print(&format!("{said}\n"));
            }
        }
        if is_over {
            return Ok(Output::Nothing);
        }
        text.clear();
        number = number.saturating_add(1);
    }
}

/// The value of one expression of a shell, or why it has none.
fn step(call: &mut Call, text: &str, session: &mut Session) -> String {
    let expression = match Expression::read(text) {
        Ok(expression) => expression,
        Err(problem) => return format!("* {problem}"),
    };
    match expression.evaluate_in(session, &mut Node { call }) {
        Ok(value) => pretty(&value),
        Err(raised) => format!("** exception: {}", failure_of(raised).text),
    }
}

fn evaluate(call: &mut Call, text: &str, arguments: &[String]) -> Done {
    let expression =
        Expression::read(text).map_err(|problem| Failure::usage(Term::text(problem).inspect()))?;
    // The node has to be there, also where nobody asks it anything.
    call.node.get("/control/node/ping")?.ok()?;
    let outcome = expression.evaluate(arguments, &mut Node { call });
    let value = match outcome {
        // Compat: what is thrown is the value.
        Ok(value) | Err(Raised::Throw(value)) => value,
        Err(raised) => return Err(failure_of(raised)),
    };
    let text = pretty(&value);
    let value = if call.formatter == Formatter::Json {
        let answer = json!({ "result": "ok", "node": call.node.name(), "value": value.to_json() });
        Term::from_json(&answer)
    } else {
        value
    };
    Ok(Output::Report { text, value })
}

fn failure_of(raised: Raised) -> Failure {
    let hint = raised.missing_function().map(|function| {
        format!(
            "\n\n{function} is not among the functions that can be called here; those that can are in {}",
            eval::DOCUMENT
        )
    });
    let text = match raised {
        Raised::Error { reason, frames } => {
            Term::Tuple(vec![reason, Term::List(frames)]).inspect() + &hint.unwrap_or_default()
        }
        Raised::Exit(Term::Atom(reason)) => reason,
        Raised::Exit(reason) | Raised::Throw(reason) => reason.inspect(),
        Raised::TooMuch(what) => {
            return Failure::error(
                USAGE,
                format!("{what}; limits of expressions are in {}", eval::DOCUMENT),
            );
        }
        Raised::Failure(failure) => return failure,
    };
    Failure::error(UNAVAILABLE, text)
}

/// The node behind the functions.
struct Node<'a> {
    call: &'a mut Call,
}

type Value = Result<Term, Raised>;

fn undefined() -> Term {
    Term::atom("undefined")
}

fn text(term: &Term) -> Option<String> {
    match term {
        Term::Binary(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

fn string(item: &Json, key: &str) -> String {
    item[key].as_str().unwrap_or_default().to_owned()
}

/// A pid, or an atom where there is none.
fn pid_or(item: &Json, key: &str, none: &str) -> Term {
    match item[key].as_str() {
        Some(pid) if !pid.is_empty() => Term::Pid(pid.to_owned()),
        _ => Term::atom(none),
    }
}

fn or_undefined(item: &Json, key: &str) -> Term {
    match item[key].as_str() {
        Some(text) if !text.is_empty() => Term::text(text),
        _ => undefined(),
    }
}

fn empty() -> Term {
    Term::List(Vec::new())
}

fn user_options(item: &Json) -> Term {
    let user = item["user_who_performed_action"]
        .as_str()
        .unwrap_or("rmq-internal");
    Term::Map(vec![(Term::atom("user"), Term::text(user))])
}

/// RabbitMQ's record of a queue.
fn queue_record(item: &Json) -> Term {
    let vhost = string(item, "vhost");
    let module = match item["type"].as_str() {
        Some("quorum") => "rabbit_quorum_queue",
        Some("stream") => "rabbit_stream_queue",
        _ => "rabbit_classic_queue",
    };
    Term::Tuple(vec![
        Term::atom("amqqueue"),
        resource_term(&vhost, "queue", &string(item, "name")),
        Term::from_json(&item["durable"]),
        Term::from_json(&item["auto_delete"]),
        pid_or(item, "owner_pid", "none"),
        Term::table(&item["arguments"]),
        pid_or(item, "pid", "none"),
        empty(),
        empty(),
        empty(),
        or_undefined(item, "policy"),
        or_undefined(item, "operator_policy"),
        empty(),
        empty(),
        Term::atom("live"),
        Term::int(0),
        empty(),
        Term::text(vhost),
        user_options(item),
        Term::atom(module),
        Term::Map(Vec::new()),
    ])
}

/// RabbitMQ's record of an exchange.
fn exchange_record(item: &Json) -> Term {
    Term::Tuple(vec![
        Term::atom("exchange"),
        resource_term(&string(item, "vhost"), "exchange", &string(item, "name")),
        Term::atom(string(item, "type")),
        Term::from_json(&item["durable"]),
        Term::from_json(&item["auto_delete"]),
        Term::from_json(&item["internal"]),
        Term::table(&item["arguments"]),
        undefined(),
        or_undefined(item, "policy"),
        undefined(),
        Term::Tuple(vec![empty(), empty()]),
        user_options(item),
    ])
}

/// RabbitMQ's record of a binding.
fn binding_record(item: &Json) -> Term {
    let vhost = string(item, "vhost");
    Term::Tuple(vec![
        Term::atom("binding"),
        resource_term(&vhost, "exchange", &string(item, "source")),
        Term::text(string(item, "routing_key")),
        resource_term(
            &vhost,
            &string(item, "destination_type"),
            &string(item, "destination"),
        ),
        Term::table(&item["arguments"]),
    ])
}

fn pairs(cells: Vec<(&str, Term)>) -> Term {
    Term::List(
        cells
            .into_iter()
            .map(|(name, value)| Term::pair(name, value))
            .collect(),
    )
}

/// The names of columns in a list of atoms.
fn columns(items: &Term) -> Option<Vec<String>> {
    let Term::List(items) = items else {
        return None;
    };
    let name = |item: &Term| match item {
        Term::Atom(name) => Some(name.clone()),
        _ => None,
    };
    items.iter().map(name).collect()
}

/// The virtual host and name of a queue's or exchange's record, or of its name.
fn named(term: &Term) -> Option<(String, String)> {
    let name = match term {
        Term::Tuple(items) if items.len() > 4 => items.get(1)?,
        other => other,
    };
    resource(name).map(|(vhost, _, name)| (vhost, name))
}

impl Facts for Node<'_> {
    fn print(&mut self, text: &str) {
        self.call.print(text);
    }

    fn call(&mut self, module: &str, function: &str, arguments: &[Term]) -> Option<Value> {
        let found = match module {
            "erlang" => self.erlang(function, arguments),
            "os" | "init" | "inet" => self.system(module, function, arguments),
            "application" => self.application(function, arguments),
            "rabbit_amqqueue" => self.queues(function, arguments),
            "rabbit_exchange" => self.exchanges(function, arguments),
            "rabbit_binding" => self.bindings(function, arguments),
            "rabbit_vhost" => self.vhosts(function, arguments),
            "rabbit_auth_backend_internal" => self.users(function, arguments),
            "rabbit_networking" | "rabbit_channel" | "rabbit_connection_tracking" => {
                self.connections(module, function, arguments)
            }
            "rabbit_policy" | "rabbit_runtime_parameters" => {
                self.parameters(module, function, arguments)
            }
            _ => self.node(module, function, arguments),
        };
        match found {
            Ok(found) => found.map(Ok),
            Err(raised) => Some(Err(raised)),
        }
    }
}

/// A value, if there is such a function.
type Found = Result<Option<Term>, Raised>;

impl Node<'_> {
    fn list(&mut self, path: &str) -> Result<Vec<Json>, Raised> {
        let answer = self.call.node.get(path)?;
        if answer.is_missing() {
            return Ok(Vec::new());
        }
        match answer.ok()? {
            Json::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    fn status(&mut self) -> Result<Json, Raised> {
        Ok(self.call.node.get("/control/status")?.ok()?)
    }

    fn own(&self) -> Term {
        Term::atom(self.call.node.name())
    }

    /// Objects of a kind, in a virtual host or in all, as terms.
    fn records(
        &mut self,
        kind: &str,
        vhost: Option<&Term>,
        record: fn(&Json) -> Term,
    ) -> Result<Term, Raised> {
        let path = match vhost.map(text) {
            None => format!("/api/{kind}"),
            Some(Some(vhost)) => format!("/api/{kind}/{}", encode(&vhost)),
            Some(None) => return Ok(empty()),
        };
        Ok(Term::List(self.list(&path)?.iter().map(record).collect()))
    }

    /// Columns of all objects of a kind.
    fn rows(
        &mut self,
        (kind, path, resource): (Kind, &str, Option<&str>),
        items: Option<&Term>,
        arguments: (&str, &str, &[Term]),
    ) -> Result<Term, Raised> {
        let (module, function, given) = arguments;
        let bad = || argument_error(module, function, given);
        let chosen = match items {
            None => None,
            Some(items) => Some(columns(items).ok_or_else(bad)?),
        };
        let node = self.call.node.name().to_owned();
        let mut rows = Vec::new();
        for item in self.list(path)? {
            rows.push(row(kind, resource, &item, chosen.as_deref(), &node).ok_or_else(bad)?);
        }
        Ok(Term::List(rows))
    }

    fn one(&mut self, kind: &str, name: &Term) -> Result<Option<Json>, Raised> {
        let Some((vhost, name)) = named(name) else {
            return Ok(None);
        };
        let path = format!("/api/{kind}/{}/{}", encode(&vhost), encode(&name));
        let answer = self.call.node.get(&path)?;
        if answer.is_missing() {
            return Ok(None);
        }
        Ok(Some(answer.ok()?))
    }

    fn queues(&mut self, function: &str, arguments: &[Term]) -> Found {
        let given = ("rabbit_amqqueue", function, arguments);
        let not_found = || Term::pair("error", Term::atom("not_found"));
        Ok(Some(match (function, arguments) {
            ("list" | "list_local", []) => self.records("queues", None, queue_record)?,
            ("list", [vhost]) => self.records("queues", Some(vhost), queue_record)?,
            ("list_names", []) => self.records("queues?columns=name,vhost", None, queue_name)?,
            ("list_names", [vhost]) => self.records("queues", Some(vhost), queue_name)?,
            ("count", []) => {
                let count = self.list("/api/queues?columns=name")?.len();
                Term::Int(i128::try_from(count).unwrap_or(i128::MAX))
            }
            ("info_all", [vhost]) | ("info_all", [vhost, Term::List(_)]) => {
                let vhost = text(vhost).ok_or_else(|| bad(given))?;
                let path = format!("/api/queues/{}", encode(&vhost));
                self.rows(
                    (Kind::Queues, &path, Some("queue")),
                    arguments.get(1),
                    given,
                )?
            }
            ("info", [queue] | [queue, Term::List(_)]) => {
                let item = self.one("queues", queue)?.ok_or_else(|| bad(given))?;
                let chosen = match arguments.get(1) {
                    None => None,
                    Some(items) => Some(columns(items).ok_or_else(|| bad(given))?),
                };
                let node = self.call.node.name();
                row(Kind::Queues, Some("queue"), &item, chosen.as_deref(), node)
                    .ok_or_else(|| bad(given))?
            }
            ("lookup", [name]) => match self.one("queues", name)? {
                Some(item) => Term::pair("ok", queue_record(&item)),
                None => not_found(),
            },
            ("exists", [name]) => Term::bool(self.one("queues", name)?.is_some()),
            ("purge", [queue]) => {
                let (vhost, name) = named(queue).ok_or_else(|| bad(given))?;
                let path = format!("/control/queues/{}/{}/purge", encode(&vhost), encode(&name));
                let answer = self.call.node.post(&path, &Json::Null)?;
                if answer.is_missing() {
                    return Ok(Some(not_found()));
                }
                Term::pair("ok", Term::from_json(&answer.ok()?["messages"]))
            }
            ("delete", [queue, unused, is_empty, _]) => {
                let (vhost, name) = named(queue).ok_or_else(|| bad(given))?;
                let is_true = |term: &Term| *term == Term::bool(true);
                let path = format!(
                    "/control/queues/{}/{}/delete?if-unused={}&if-empty={}",
                    encode(&vhost),
                    encode(&name),
                    is_true(unused),
                    is_true(is_empty)
                );
                let answer = self.call.node.post(&path, &Json::Null)?;
                if answer.is_missing() {
                    return Ok(Some(not_found()));
                }
                match answer.refused() {
                    Some(reason) if reason.contains("not empty") => {
                        Term::pair("error", Term::atom("not_empty"))
                    }
                    Some(reason) if reason.contains("in use") => {
                        Term::pair("error", Term::atom("in_use"))
                    }
                    Some(reason) => Term::pair("error", Term::text(reason)),
                    None => Term::pair("ok", Term::from_json(&answer.ok()?["messages"])),
                }
            }
            _ => return Ok(None),
        }))
    }

    fn exchanges(&mut self, function: &str, arguments: &[Term]) -> Found {
        let given = ("rabbit_exchange", function, arguments);
        Ok(Some(match (function, arguments) {
            ("list", []) => self.records("exchanges", None, exchange_record)?,
            ("list", [vhost]) => self.records("exchanges", Some(vhost), exchange_record)?,
            ("list_names", []) => self.records("exchanges", None, exchange_name)?,
            ("count", []) => {
                let count = self.list("/api/exchanges")?.len();
                Term::Int(i128::try_from(count).unwrap_or(i128::MAX))
            }
            ("info_all", [vhost] | [vhost, Term::List(_)]) => {
                let vhost = text(vhost).ok_or_else(|| bad(given))?;
                let path = format!("/api/exchanges/{}", encode(&vhost));
                let what = (Kind::Exchanges, path.as_str(), Some("exchange"));
                self.rows(what, arguments.get(1), given)?
            }
            ("lookup", [name]) => match self.one("exchanges", name)? {
                Some(item) => Term::pair("ok", exchange_record(&item)),
                None => Term::pair("error", Term::atom("not_found")),
            },
            ("exists", [name]) => Term::bool(self.one("exchanges", name)?.is_some()),
            _ => return Ok(None),
        }))
    }

    fn bindings(&mut self, function: &str, arguments: &[Term]) -> Found {
        Ok(Some(match (function, arguments) {
            ("list", [vhost]) => self.records("bindings", Some(vhost), binding_record)?,
            ("list_for_source" | "list_for_destination", [name]) => {
                let Some((vhost, kind, own)) = resource(name) else {
                    return Err(bad(("rabbit_binding", function, arguments)));
                };
                let side = match (function, kind.as_str()) {
                    ("list_for_source", _) => "exchanges/*/bindings/source",
                    (_, "exchange") => "exchanges/*/bindings/destination",
                    _ => "queues/*/bindings",
                };
                let place = format!("{}/{}", encode(&vhost), encode(&own));
                let path = format!("/api/{}", side.replace('*', &place));
                Term::List(self.list(&path)?.iter().map(binding_record).collect())
            }
            _ => return Ok(None),
        }))
    }

    fn vhosts(&mut self, function: &str, arguments: &[Term]) -> Found {
        let vhosts =
            self.list("/api/vhosts?columns=name,description,tags,tracing,default_queue_type")?;
        let names = vhosts.iter().map(|item| Term::from_json(&item["name"]));
        Ok(Some(match (function, arguments) {
            ("list_names" | "list", []) => Term::List(names.collect()),
            ("count", []) => Term::Int(i128::try_from(vhosts.len()).unwrap_or(i128::MAX)),
            ("exists", [name]) => Term::bool(names.into_iter().any(|own| own == *name)),
            ("info_all", []) => {
                let row = |item: &Json| {
                    pairs(vec![
                        ("name", Term::from_json(&item["name"])),
                        ("description", Term::from_json(&item["description"])),
                        ("tags", Term::from_json(&item["tags"])),
                        (
                            "default_queue_type",
                            Term::from_json(&item["default_queue_type"]),
                        ),
                        ("tracing", Term::from_json(&item["tracing"])),
                    ])
                };
                Term::List(vhosts.iter().map(row).collect())
            }
            _ => return Ok(None),
        }))
    }

    fn users(&mut self, function: &str, arguments: &[Term]) -> Found {
        const PERMISSIONS: [&str; 5] = ["user", "vhost", "configure", "write", "read"];
        let permissions = |items: Vec<Json>, without: &str| {
            let row = |item: &Json| {
                let columns = PERMISSIONS.iter().filter(|column| **column != without);
                pairs(
                    columns
                        .map(|column| (*column, Term::from_json(&item[*column])))
                        .collect(),
                )
            };
            Term::List(items.iter().map(row).collect())
        };
        Ok(Some(match (function, arguments) {
            ("list_users", []) => {
                let row = |item: &Json| {
                    let tags = item["tags"].as_array().into_iter().flatten();
                    let tags = tags.filter_map(Json::as_str);
                    pairs(vec![
                        ("user", Term::from_json(&item["name"])),
                        ("tags", Term::atoms(tags)),
                    ])
                };
                Term::List(self.list("/api/users")?.iter().map(row).collect())
            }
            ("exists", [name]) => {
                let users = self.list("/api/users")?;
                Term::bool(
                    users
                        .iter()
                        .any(|item| Term::from_json(&item["name"]) == *name),
                )
            }
            ("list_permissions", []) => permissions(self.list("/api/permissions")?, ""),
            ("list_user_permissions", [user]) => {
                let name = encode(&text(user).unwrap_or_default());
                permissions(
                    self.list(&format!("/api/users/{name}/permissions"))?,
                    "user",
                )
            }
            ("list_vhost_permissions", [vhost]) => {
                let name = encode(&text(vhost).unwrap_or_default());
                permissions(
                    self.list(&format!("/api/vhosts/{name}/permissions"))?,
                    "vhost",
                )
            }
            _ => return Ok(None),
        }))
    }

    fn connections(&mut self, module: &str, function: &str, arguments: &[Term]) -> Found {
        let given = (module, function, arguments);
        let pid = |item: &Json| pid_or(item, "pid", "none");
        Ok(Some(match (module, function, arguments) {
            ("rabbit_networking", "connections" | "local_connections", [])
            | ("rabbit_connection_tracking", "list", []) => {
                let all = self.list("/api/connections?columns=name,pid")?;
                Term::List(all.iter().map(pid).collect())
            }
            ("rabbit_connection_tracking", "count", []) => {
                let count = self.list("/api/connections?columns=name")?.len();
                Term::Int(i128::try_from(count).unwrap_or(i128::MAX))
            }
            ("rabbit_networking", "connection_info_all", [] | [Term::List(_)]) => {
                let what = (Kind::Connections, "/api/connections", None);
                self.rows(what, arguments.first(), given)?
            }
            ("rabbit_networking", "close_connection", [Term::Pid(pid), reason]) => {
                let reason = eval::text_of(reason).ok_or_else(|| bad(given))?;
                let body = json!({ "pid": pid, "reason": reason });
                let answer = self.call.node.post("/control/connections/close", &body)?;
                match answer.refused() {
                    None => Term::atom("ok"),
                    Some(_) => Term::pair("error", Term::atom("not_found")),
                }
            }
            ("rabbit_networking", "active_listeners" | "node_listeners", _) => {
                let node = self.own();
                let listeners = self.status()?["listeners"].clone();
                let row = |item: &Json| {
                    Term::Tuple(vec![
                        Term::atom("listener"),
                        node.clone(),
                        Term::atom(string(item, "protocol")),
                        Term::characters(string(item, "node").rsplit('@').next().unwrap_or("")),
                        Term::characters(string(item, "interface").trim_matches(['[', ']'])),
                        Term::from_json(&item["port"]),
                        empty(),
                    ])
                };
                let listeners = listeners.as_array().into_iter().flatten();
                Term::List(listeners.map(row).collect())
            }
            ("rabbit_channel", "list" | "list_local", []) => {
                let all = self.list("/api/channels?columns=name,pid")?;
                Term::List(all.iter().map(pid).collect())
            }
            ("rabbit_channel", "info_all", [] | [Term::List(_)]) => {
                let what = (Kind::Channels, "/api/channels", None);
                self.rows(what, arguments.first(), given)?
            }
            _ => return Ok(None),
        }))
    }

    fn parameters(&mut self, module: &str, function: &str, arguments: &[Term]) -> Found {
        let path = match (module, function, arguments) {
            ("rabbit_policy", "list", []) => "/api/policies".to_owned(),
            ("rabbit_policy", "list", [vhost]) => {
                format!("/api/policies/{}", encode(&text(vhost).unwrap_or_default()))
            }
            ("rabbit_policy", "list_op", []) => "/api/operator-policies".to_owned(),
            ("rabbit_runtime_parameters", "list", []) => "/api/parameters".to_owned(),
            ("rabbit_runtime_parameters", "list_global", []) => "/api/global-parameters".to_owned(),
            _ => return Ok(None),
        };
        let is_policy = module == "rabbit_policy";
        let row = |item: &Json| {
            let names: &[&'static str] = if is_policy {
                &[
                    "vhost",
                    "name",
                    "pattern",
                    "apply-to",
                    "definition",
                    "priority",
                ]
            } else {
                &["vhost", "component", "name", "value"]
            };
            let cell = |name: &&'static str| match &item[*name] {
                Json::Null => None,
                value if *name == "definition" => {
                    let fields = value.as_object().into_iter().flatten();
                    let pairs = fields.map(|(key, value)| {
                        Term::Tuple(vec![Term::text(key), Term::from_json(value)])
                    });
                    Some((*name, Term::List(pairs.collect())))
                }
                value => Some((*name, Term::from_json(value))),
            };
            let cells: Vec<(&str, Term)> = names.iter().filter_map(cell).collect();
            pairs(cells)
        };
        Ok(Some(Term::List(
            self.list(&path)?.iter().map(row).collect(),
        )))
    }

    fn erlang(&mut self, function: &str, arguments: &[Term]) -> Found {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Some(match (function, arguments) {
            ("node", [] | [_]) => self.own(),
            ("nodes", [] | [_]) => empty(),
            ("self", []) => Term::Pid(format!("<{}.0.0>", self.call.node.name())),
            ("now", []) => {
                let micros = i128::try_from(now.as_micros()).unwrap_or_default();
                let parts = [
                    micros / 1_000_000_000_000,
                    micros / 1_000_000 % 1_000_000,
                    micros % 1_000_000,
                ];
                Term::Tuple(parts.map(Term::Int).to_vec())
            }
            ("system_time", [] | [_]) => system_time(now, arguments.first()),
            ("memory", [] | [_]) => self.memory(arguments)?,
            ("system_info", [Term::Atom(item)]) => {
                return self.system_info(item, arguments).map(Some);
            }
            ("statistics", [Term::Atom(item)]) => {
                let status = self.status()?;
                let milliseconds = status["uptime"].as_i64().unwrap_or_default() * 1000;
                match item.as_str() {
                    "wall_clock" => Term::Tuple(vec![Term::int(milliseconds), Term::int(0)]),
                    "run_queue" | "total_run_queue_lengths" => Term::int(0),
                    _ => return Err(bad(("erlang", function, arguments))),
                }
            }
            _ => return Ok(None),
        }))
    }

    fn memory(&mut self, arguments: &[Term]) -> Value {
        let memory = self.status()?["memory"].clone();
        let bytes = |name: &str| memory[name].as_i64().unwrap_or_default();
        let total = memory["total"]["rss"].as_i64().unwrap_or_default();
        let processes = bytes("queue_procs") + bytes("connection_readers");
        let figures = [
            ("total", total),
            ("processes", processes),
            ("processes_used", processes),
            ("system", total - processes),
            ("atom", bytes("atom")),
            ("atom_used", bytes("atom")),
            ("binary", bytes("binary")),
            ("code", bytes("code")),
            ("ets", bytes("metadata_store")),
        ];
        match arguments {
            [Term::Atom(name)] => figures
                .iter()
                .find(|(own, _)| own == name)
                .map(|(_, value)| Term::int(*value))
                .ok_or_else(|| bad(("erlang", "memory", arguments))),
            _ => Ok(pairs(
                figures
                    .map(|(name, value)| (name, Term::int(value)))
                    .to_vec(),
            )),
        }
    }

    fn system_info(&mut self, item: &str, arguments: &[Term]) -> Value {
        let status = self.status()?;
        let processors = Term::from_json(&status["processors"]);
        Ok(match item {
            "process_count" => Term::from_json(&status["processes"]["used"]),
            "process_limit" => Term::from_json(&status["processes"]["limit"]),
            "port_count" => Term::from_json(&status["file_descriptors"]["total_used"]),
            "port_limit" => Term::from_json(&status["file_descriptors"]["total_limit"]),
            "schedulers"
            | "schedulers_online"
            | "logical_processors"
            | "logical_processors_online"
            | "logical_processors_available" => processors,
            "otp_release" | "version" => Term::characters("none"),
            "system_version" => {
                Term::characters(status["erlang_version"].as_str().unwrap_or_default())
            }
            "system_architecture" => Term::characters(std::env::consts::ARCH),
            "wordsize" => Term::int(8),
            "uptime" => Term::from_json(&status["uptime"]),
            _ => return Err(bad(("erlang", "system_info", arguments))),
        })
    }

    fn system(&mut self, module: &str, function: &str, arguments: &[Term]) -> Found {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Some(match (module, function, arguments) {
            ("os", "getpid", []) => Term::characters(&self.status()?["pid"].to_string()),
            ("os", "type", []) => Term::Tuple(vec![Term::atom("unix"), Term::atom("linux")]),
            ("os", "system_time", [] | [_]) => system_time(now, arguments.first()),
            ("inet", "gethostname", []) => {
                let node = self.call.node.name();
                let host = node.split_once('@').map_or(node, |(_, host)| host);
                Term::pair("ok", Term::characters(host))
            }
            _ => return Ok(None),
        }))
    }

    fn environment(&mut self) -> Result<super::environment::Environment, Raised> {
        Ok(super::environment::read(self.call)?)
    }

    fn application(&mut self, function: &str, arguments: &[Term]) -> Found {
        let find = |all: super::environment::Environment, application: &str| {
            let own = all.into_iter().find(|(own, _)| own == application);
            own.map(|(_, values)| values)
        };
        Ok(Some(match (function, arguments) {
            ("get_env", [Term::Atom(application), Term::Atom(key)])
            | ("get_env", [Term::Atom(application), Term::Atom(key), _]) => {
                let values = find(self.environment()?, application).unwrap_or_default();
                let value = values.into_iter().find(|(own, _)| own == key);
                match (value, arguments.get(2)) {
                    (Some((_, value)), None) => Term::pair("ok", value),
                    (Some((_, value)), Some(_)) => value,
                    (None, None) => undefined(),
                    (None, Some(default)) => default.clone(),
                }
            }
            ("get_all_env", [Term::Atom(application)]) => {
                let values = find(self.environment()?, application).unwrap_or_default();
                let values = values
                    .into_iter()
                    .map(|(key, value)| Term::pair(&key, value));
                Term::List(values.collect())
            }
            ("set_env", [Term::Atom(application), Term::Atom(key), value]) => {
                return self.set_env(application, key, value, arguments).map(Some);
            }
            ("which_applications", [] | [_]) => {
                let plugins = self.status()?["active_plugins"].clone();
                let row = |name: &str| {
                    Term::Tuple(vec![
                        Term::atom(name),
                        Term::characters(name),
                        Term::characters(super::general::VERSION),
                    ])
                };
                let plugins = plugins.as_array().into_iter().flatten();
                let names = plugins.filter_map(Json::as_str).chain(["rabbit"]);
                Term::List(names.map(row).collect())
            }
            _ => return Ok(None),
        }))
    }

    /// Only what can change while the node runs can be set.
    fn set_env(&mut self, application: &str, key: &str, value: &Term, arguments: &[Term]) -> Value {
        let share = |value: &Term| match value {
            Term::Float(share) => Some(json!({ "relative": share })),
            Term::Int(bytes) => u64::try_from(*bytes)
                .ok()
                .map(|bytes| json!({ "absolute": bytes })),
            Term::Tuple(items) => match items.as_slice() {
                [Term::Atom(how), Term::Int(bytes)] if how == "absolute" => u64::try_from(*bytes)
                    .ok()
                    .map(|bytes| json!({ "absolute": bytes })),
                [Term::Atom(how), Term::Float(share)]
                    if how == "mem_relative" || how == "relative" =>
                {
                    Some(json!({ "relative": share }))
                }
                _ => None,
            },
            _ => None,
        };
        let which = match (application, key) {
            ("rabbit", "vm_memory_high_watermark") => "memory",
            ("rabbit", "disk_free_limit") => "disk",
            _ => {
                return Err(Raised::Failure(Failure::error(
                    UNAVAILABLE,
                    format!(
                        "application:set_env({application}, {key}, {value}): this setting cannot change while the node runs; \
                         set it in rabbitmq.conf and start the node again. {} names those that can",
                        eval::DOCUMENT
                    ),
                )));
            }
        };
        let limit = share(value).ok_or_else(|| bad(("application", "set_env", arguments)))?;
        let answer = self
            .call
            .node
            .put("/control/watermarks", &json!({ which: limit }))?;
        answer.ok()?;
        Ok(Term::atom("ok"))
    }

    fn node(&mut self, module: &str, function: &str, arguments: &[Term]) -> Found {
        let given = (module, function, arguments);
        let own = self.own();
        Ok(Some(match (module, function, arguments) {
            ("rabbit_misc", "version", [])
            | ("rabbit", "product_version" | "base_product_version", []) => {
                Term::characters(super::general::VERSION)
            }
            ("rabbit", "product_name", []) => Term::characters("WarrenMQ"),
            ("rabbit", "is_running", [] | [_]) | ("rabbit_nodes", "is_running", [_]) => {
                let phase = self.call.node.get("/control/node/ping")?.ok()?;
                Term::bool(phase["phase"] == "running")
            }
            ("rabbit", "status", []) => status_term(&self.status()?),
            ("rabbit" | "rabbit_alarm", "alarms" | "get_alarms" | "get_local_alarms", []) => {
                let alarms = self.status()?["alarms"].clone();
                let row = |alarm: &Json| {
                    let resource = Term::atom(string(alarm, "resource"));
                    let limit =
                        Term::Tuple(vec![Term::atom("resource_limit"), resource, own.clone()]);
                    Term::Tuple(vec![limit, empty()])
                };
                Term::List(alarms.as_array().into_iter().flatten().map(row).collect())
            }
            ("rabbit_nodes", "cluster_name", []) => {
                Term::from_json(&self.status()?["cluster_name"])
            }
            (
                "rabbit_nodes",
                "list_running" | "list_members" | "list_reachable" | "list_serving" | "all_running"
                | "all",
                [],
            ) => Term::List(vec![own]),
            ("rabbit_nodes", "running_count" | "total_count" | "count", []) => Term::int(1),
            ("rabbit_nodes", "list_not_running", []) => empty(),
            ("rabbit_plugins", "active", []) => {
                let plugins = self.status()?["active_plugins"].clone();
                let names = plugins.as_array().into_iter().flatten();
                Term::atoms(names.filter_map(Json::as_str))
            }
            ("rabbit_plugins", "is_enabled", [Term::Atom(name)]) => {
                let plugins = self.status()?["active_plugins"].clone();
                let mut names = plugins.as_array().into_iter().flatten();
                Term::bool(names.any(|own| own == name.as_str()))
            }
            ("vm_memory_monitor", "get_vm_memory_high_watermark", []) => {
                let setting = self.status()?["vm_memory_high_watermark_setting"].clone();
                match setting["relative"].as_f64() {
                    Some(share) => Term::Float(share),
                    None => Term::pair("absolute", Term::from_json(&setting["absolute"])),
                }
            }
            ("vm_memory_monitor", "set_vm_memory_high_watermark", [value]) => {
                let values = [Term::atom("rabbit"), Term::atom("x"), value.clone()];
                self.set_env("rabbit", "vm_memory_high_watermark", value, &values)?
            }
            ("vm_memory_monitor", "get_memory_limit", []) => {
                Term::from_json(&self.status()?["vm_memory_high_watermark_limit"])
            }
            ("vm_memory_monitor", "get_process_memory" | "get_rss_memory", []) => {
                Term::from_json(&self.status()?["memory"]["total"]["rss"])
            }
            ("rabbit_disk_monitor", "get_disk_free", []) => {
                Term::from_json(&self.status()?["disk_free"])
            }
            ("rabbit_disk_monitor", "get_disk_free_limit", []) => {
                Term::from_json(&self.status()?["disk_free_limit"])
            }
            ("rabbit_disk_monitor", "set_disk_free_limit", [value]) => {
                let values = [Term::atom("rabbit"), Term::atom("x"), value.clone()];
                self.set_env("rabbit", "disk_free_limit", value, &values)?
            }
            ("rabbit_trust_store", "list", []) => {
                let items = self.list("/control/trust-store")?;
                Term::characters(&logins::trusted_certificates(&items))
            }
            ("rabbit_trust_store", "refresh", []) => {
                let answer = self.call.node.post("/control/trust-store", &Json::Null)?;
                answer.ok().map_err(|_| bad(given))?;
                Term::atom("ok")
            }
            ("logger", "set_primary_config", [Term::Atom(key), Term::Atom(level)])
                if key == "level" =>
            {
                let body = json!({ "level": level });
                let answer = self.call.node.put("/control/log/level", &body)?;
                answer.ok().map_err(|_| bad(given))?;
                Term::atom("ok")
            }
            _ => return Ok(None),
        }))
    }
}

fn bad((module, function, arguments): (&str, &str, &[Term])) -> Raised {
    argument_error(module, function, arguments)
}

fn queue_name(item: &Json) -> Term {
    resource_term(&string(item, "vhost"), "queue", &string(item, "name"))
}

fn exchange_name(item: &Json) -> Term {
    resource_term(&string(item, "vhost"), "exchange", &string(item, "name"))
}

/// Columns of an object with their names. `None` if there is no such column.
fn row(
    kind: Kind,
    resource: Option<&str>,
    item: &Json,
    chosen: Option<&[String]>,
    node: &str,
) -> Option<Term> {
    let mut cells = listing::cells_of(kind, item, chosen, node).ok()?;
    if let Some(resource) = resource {
        let vhost = string(item, "vhost");
        for (name, value) in &mut cells {
            if *name == "name" {
                *value = resource_term(&vhost, resource, &value.plain());
            }
        }
    }
    Some(pairs(cells))
}

/// Time since 1970 in a unit; nanoseconds without one.
fn system_time(now: std::time::Duration, unit: Option<&Term>) -> Term {
    let amount = match unit.map(Term::plain).as_deref() {
        Some("second" | "seconds") => u128::from(now.as_secs()),
        Some("millisecond" | "milli_seconds") => now.as_millis(),
        Some("microsecond" | "micro_seconds") => now.as_micros(),
        _ => now.as_nanos(),
    };
    Term::Int(i128::try_from(amount).unwrap_or(i128::MAX))
}

/// `rabbit:status()`
fn status_term(status: &Json) -> Term {
    let value = |key: &str| Term::from_json(&status[key]);
    let characters = |key: &str| Term::characters(status[key].as_str().unwrap_or_default());
    let plugins = status["active_plugins"].as_array().into_iter().flatten();
    let applications = plugins.filter_map(Json::as_str).chain(["rabbit"]);
    let application = |name: &str| {
        Term::Tuple(vec![
            Term::atom(name),
            Term::characters(name),
            Term::characters(super::general::VERSION),
        ])
    };
    let memory = status["memory"].as_object().into_iter().flatten();
    let memory =
        memory.filter_map(|(name, bytes)| Some(Term::pair(name, Term::int(bytes.as_i64()?))));
    pairs(vec![
        ("pid", value("pid")),
        (
            "running_applications",
            Term::List(applications.map(application).collect()),
        ),
        (
            "os",
            Term::Tuple(vec![Term::atom("unix"), Term::atom("linux")]),
        ),
        ("rabbitmq_version", characters("rabbitmq_version")),
        ("erlang_version", characters("erlang_version")),
        ("memory", Term::List(memory.collect())),
        ("alarms", empty()),
        ("is_under_maintenance", value("is_under_maintenance")),
        ("vm_memory_limit", value("vm_memory_high_watermark_limit")),
        ("disk_free_limit", value("disk_free_limit")),
        ("disk_free", value("disk_free")),
        ("run_queue", Term::int(0)),
        ("net_ticktime", value("net_ticktime")),
        ("uptime", value("uptime")),
        ("data_directory", characters("data_directory")),
    ])
}
