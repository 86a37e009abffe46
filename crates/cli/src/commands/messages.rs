//! Messages in queues: looked at, moved, copied, deleted, replayed; those that wait for their time; queues that are paused.
//!
//! The commands are ours; RabbitMQ's tools have none like them. Each puts its options into the words of the HTTP API, which does the
//! work and knows what is allowed.

use super::Done;
use super::listing::columns;
use crate::Failure;
use crate::call::Call;
use crate::failure::DATA;
use crate::node::{Answer, encode};
use crate::output::{Formatter, Output, Rows};
use crate::term::Term;
use serde_json::{Map, Value as Json, json};
use std::time::Duration;

/// What can be told about a message.
pub(crate) const COLUMNS: [&str; 11] = [
    "position",
    "state",
    "redelivered",
    "expires_at",
    "settled_at",
    "exchange",
    "routing_key",
    "properties",
    "payload_bytes",
    "payload_encoding",
    "payload",
];

/// What is told about it unless a command line says otherwise.
const COLUMNS_DEFAULT: [&str; 6] = [
    "position",
    "state",
    "exchange",
    "routing_key",
    "payload_bytes",
    "payload",
];

/// What is told about a message that waits for its time.
const DELAYED_COLUMNS: [&str; 3] = ["position", "due_at", "retry"];

/// Messages that are shown where no `--count` is given.
const COUNT_DEFAULT: u64 = 100;

/// Messages that the API shows at once.
const PAGE_MESSAGES_MAX: u64 = 1_000;

/// How long messages may take to be moved, unless the command line says otherwise: they are so many as there are.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// Something that has messages.
struct Place {
    /// As the API calls it: `queues` or `exchanges`.
    kind: &'static str,
    name: String,
}

impl Place {
    fn queue(name: &str) -> Self {
        Self {
            kind: "queues",
            name: name.to_owned(),
        }
    }

    /// The queue or the exchange that the options name.
    fn of_options(call: &Call) -> Result<Self, Failure> {
        let option = |name| call.arguments.option(name).map(str::to_owned);
        match (option("queue"), option("exchange")) {
            (Some(name), None) => Ok(Self::queue(&name)),
            (None, Some(name)) => Ok(Self {
                kind: "exchanges",
                name,
            }),
            _ => Err(Failure::usage("say where: --queue or --exchange")),
        }
    }

    fn path(&self, call: &Call, what: &str) -> String {
        let (vhost, name) = (call.vhost_path(), encode(&self.name));
        format!("/api/{}/{vhost}/{name}/{what}", self.kind)
    }

    fn shown(&self, call: &Call) -> String {
        let kind = self.kind.trim_end_matches('s');
        format!("{kind} '{}' in vhost '{}'", self.name, call.vhost())
    }

    /// What the API answered about it.
    fn answered(&self, call: &Call, answer: Answer) -> Result<Json, Failure> {
        if !answer.is_missing() {
            return answer.ok();
        }
        match answer.reason().as_str() {
            "Not Found" => Err(Failure::plain(
                DATA,
                format!("There is no {}", self.shown(call)),
            )),
            // Something else that the request names.
            reason => Err(Failure::plain(DATA, reason)),
        }
    }
}

pub(crate) fn browse(call: &mut Call) -> Done {
    let queue = Place::queue(call.value(0));
    let columns = columns(&call.arguments.values[1..], &COLUMNS, &COLUMNS_DEFAULT)?;
    let mut body = selected(call)?;
    let is_settled = call.arguments.has("settled");
    if is_settled {
        body.insert("settled".to_owned(), true.into());
    }
    settled_time(call, &mut body)?;
    let bytes = match number(call, "truncate")? {
        // Nobody wants to read what is not shown.
        None if !columns.iter().any(|column| column == "payload") => Some(0),
        bytes => bytes,
    };
    if let Some(bytes) = bytes {
        body.insert("truncate".to_owned(), bytes.into());
    }
    let mut left = number(call, "count")?.unwrap_or(COUNT_DEFAULT);
    let what = if is_settled {
        "settled messages"
    } else {
        "messages"
    };
    call.say(&format!("Browsing {what} of {} ...", queue.shown(call)));
    call.expect_vhost()?;

    let mut table = Rows::new(
        call.formatter,
        columns.clone(),
        !call.arguments.is_without_headers(),
    );
    let path = queue.path(call, "browse");
    let next = loop {
        body.insert("count".to_owned(), left.min(PAGE_MESSAGES_MAX).into());
        let answer = call.node.post(&path, &Json::Object(body.clone()))?;
        let page = queue.answered(call, answer)?;
        let messages = page["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |message| {
            let cells = columns.iter();
            cells
                .map(|column| cell(call.formatter, message, column))
                .collect()
        };
        call.print(&table.add(messages.iter().map(row).collect()));
        left = left.saturating_sub(messages.len() as u64);
        if left == 0 || page["next"].is_null() || body.contains_key("positions") {
            break page["next"].clone();
        }
        body.insert("from".to_owned(), page["next"].clone());
    };
    call.print(&table.end(false));
    if let Some(next) = next.as_str() {
        call.say(&format!("There may be more: go on with --from {next}"));
    }
    Ok(Output::Printed)
}

/// One thing about a message. What people read has no control characters: a message may have come from anybody.
fn cell(formatter: Formatter, message: &Json, column: &str) -> Term {
    let value = &message[column];
    let is_read_by_people = match formatter {
        Formatter::Table | Formatter::PrettyTable => true,
        Formatter::Json
        | Formatter::JsonStream
        | Formatter::Csv
        | Formatter::Erlang
        | Formatter::Inspect
        | Formatter::String => false,
    };
    match value {
        Json::String(text) if is_read_by_people => Term::text(visible(text)),
        Json::Object(_) if is_read_by_people || formatter == Formatter::Csv => {
            Term::text(visible(&value.to_string()))
        }
        other => Term::from_json(other),
    }
}

fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

pub(crate) fn move_messages(call: &mut Call) -> Done {
    act(call, &Act::new("move", "Moving", "moved").to(true))
}

pub(crate) fn copy(call: &mut Call) -> Done {
    act(call, &Act::new("copy", "Copying", "copied").to(true))
}

pub(crate) fn delete(call: &mut Call) -> Done {
    act(call, &Act::new("delete-messages", "Deleting", "deleted"))
}

pub(crate) fn replay(call: &mut Call) -> Done {
    act(call, &Act::new("replay", "Replaying", "replayed").to(false))
}

/// Something that can be done with messages of a queue.
struct Act {
    /// As the API calls it.
    path: &'static str,
    doing: &'static str,
    done: &'static str,
    /// Whether it publishes, and then whether it must be said where to.
    publishes: Option<bool>,
}

impl Act {
    const fn new(path: &'static str, doing: &'static str, done: &'static str) -> Self {
        Self {
            path,
            doing,
            done,
            publishes: None,
        }
    }

    const fn to(mut self, must_be_said: bool) -> Self {
        self.publishes = Some(must_be_said);
        self
    }
}

fn act(call: &mut Call, act: &Act) -> Done {
    let queue = Place::queue(call.value(0));
    let mut body = selected(call)?;
    if body.is_empty() || body.keys().eq(["from"]) {
        if !call.arguments.has("all") {
            return Err(Failure::usage(
                "say which messages: --positions, terms of a filter, or --all",
            ));
        }
        body.insert("filter".to_owned(), json!({}));
    } else if call.arguments.has("all") {
        return Err(Failure::usage("--all goes with no other choice"));
    }
    settled_time(call, &mut body)?;
    let is_elsewhere = match act.publishes {
        None => true,
        Some(must_be_said) => route(call, &mut body, &queue.name, must_be_said)?,
    };
    let is_dry = call.arguments.has("dry-run");
    if is_dry {
        body.insert("dry_run".to_owned(), true.into());
    }
    let mut left = number(call, "count")?;
    call.say(&format!(
        "{} messages of {} ...",
        act.doing,
        queue.shown(call)
    ));
    call.expect_vhost()?;
    call.node
        .be_patient(call.arguments.timeout().unwrap_or(PATIENCE));

    let path = queue.path(call, act.path);
    let mut sum = Sum::default();
    loop {
        if let Some(left) = left {
            body.insert("count".to_owned(), left.into());
        }
        let answer = call.node.post(&path, &Json::Object(body.clone()))?;
        let acted = queue.answered(call, answer)?;
        sum.add(&acted);
        if let Some(left) = &mut left {
            *left = left.saturating_sub(acted["matched"].as_u64().unwrap_or(0));
        }
        // What is published to where it came from would be found again, without an end.
        let goes_on = (is_dry || is_elsewhere) && left != Some(0);
        if !goes_on || sum.next.is_null() || body.contains_key("positions") {
            break;
        }
        body.insert("from".to_owned(), sum.next.clone());
    }
    Ok(sum.output(act, is_dry))
}

/// What became of the messages, over all requests.
#[derive(Default)]
struct Sum {
    counts: [u64; 6],
    next: Json,
}

impl Sum {
    const FIELDS: [&str; 6] = [
        "examined",
        "matched",
        "done",
        "unroutable",
        "refused",
        "busy",
    ];

    fn add(&mut self, acted: &Json) {
        for (count, field) in self.counts.iter_mut().zip(Self::FIELDS) {
            *count += acted[field].as_u64().unwrap_or(0);
        }
        self.next = acted["next"].clone();
    }

    fn output(&self, act: &Act, is_dry: bool) -> Output {
        let [_, matched, done, unroutable, refused, busy] = self.counts;
        let mut text = if is_dry {
            format!("{} would be {}", messages(matched), act.done)
        } else {
            format!("{} {}", messages(done), act.done)
        };
        let left = [
            (unroutable, "that no queue takes"),
            (refused, "that a queue refused"),
            (busy, "that a consumer has"),
        ];
        for (count, why) in left.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("\n{} {why} stayed", messages(count)));
        }
        if let Some(next) = self.next.as_str() {
            text.push_str(&format!("\nThere may be more: go on with --from {next}"));
        }
        let mut fields: Vec<_> = Self::FIELDS
            .into_iter()
            .zip(self.counts)
            .map(|(field, count)| (Term::atom(field), Term::int(count)))
            .collect();
        fields.push((Term::atom("next"), Term::from_json(&self.next)));
        let value = Term::Map(fields);
        Output::Report { text, value }
    }
}

fn messages(count: u64) -> String {
    match count {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    }
}

/// Where messages are published to. Returns whether that is certainly not the queue that they are in.
fn route(
    call: &Call,
    body: &mut Map<String, Json>,
    queue: &str,
    must_be_said: bool,
) -> Result<bool, Failure> {
    let option = |name| call.arguments.option(name);
    match (
        option("to"),
        option("to-exchange"),
        option("to-routing-key"),
    ) {
        (Some(to), None, None) => {
            body.insert("to_queue".to_owned(), to.into());
            Ok(to != queue)
        }
        (None, Some(exchange), key) => {
            body.insert("to_exchange".to_owned(), exchange.into());
            if let Some(key) = key {
                body.insert("routing_key".to_owned(), key.into());
            }
            Ok(false)
        }
        (None, None, None) if !must_be_said => Ok(false),
        _ => Err(Failure::usage(
            "say where to: --to, or --to-exchange with or without --to-routing-key",
        )),
    }
}

/// Which messages the options mean, as a request says it. Empty if they do not say.
fn selected(call: &Call) -> Result<Map<String, Json>, Failure> {
    let mut body = Map::new();
    let terms = terms(call)?;
    let from = call.arguments.option("from");
    if let Some(list) = call.arguments.option("positions") {
        if !terms.is_empty() || from.is_some() || number(call, "count")?.is_some() {
            return Err(Failure::usage(
                "--positions stands for itself, without a filter, --from and --count",
            ));
        }
        let places: Vec<&str> = list.split(',').map(str::trim).collect();
        body.insert("positions".to_owned(), json!(places));
        return Ok(body);
    }
    if let Some(from) = from {
        body.insert("from".to_owned(), from.into());
    }
    match <[Json; 1]>::try_from(terms) {
        Ok([only]) => _ = body.insert("filter".to_owned(), only),
        Err(terms) if terms.is_empty() => {}
        Err(terms) => _ = body.insert("filter".to_owned(), json!({ "all": terms })),
    }
    Ok(body)
}

/// The terms of the filter; all of them have to hold.
fn terms(call: &Call) -> Result<Vec<Json>, Failure> {
    let arguments = &call.arguments;
    let mut terms = Vec::new();
    for text in arguments.options_of("filter") {
        terms.push(super::document(text)?);
    }
    for text in arguments.options_of("header") {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        terms.push(tested("header", name, value));
    }
    for text in arguments.options_of("json") {
        let (path, value) = path_and_value(text);
        terms.push(tested("json", path, value));
    }
    for (option, term) in [
        ("routing-key", "routing_key"),
        ("exchange", "exchange"),
        ("body", "body"),
    ] {
        let texts = arguments.options_of(option);
        terms.extend(texts.map(|text| json!({ term: text })));
    }
    for term in ["redelivered", "unacknowledged"] {
        if arguments.has(term) {
            terms.push(json!({ term: true }));
        } else if arguments.is_off(term) {
            terms.push(json!({ term: false }));
        }
    }
    Ok(terms)
}

/// A term that something is there, or has a value. A value that could be a number or a boolean is meant as either.
fn tested(term: &str, name: &str, value: Option<&str>) -> Json {
    let Some(text) = value else {
        return json!({ term: name });
    };
    match serde_json::from_str(text) {
        Ok(value @ (Json::Number(_) | Json::Bool(_))) => json!({ "any": [
            { term: name, "equals": value },
            { term: name, "equals": text },
        ] }),
        Ok(_) | Err(_) => json!({ term: name, "equals": text }),
    }
}

/// Takes `PATH=VALUE` apart: an equals sign in brackets belongs to the path.
fn path_and_value(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if depth > 0 => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, '=') if depth == 0 => return (&text[..index], Some(&text[index + 1..])),
            (None, _) => {}
        }
    }
    (text, None)
}

fn settled_time(call: &Call, body: &mut Map<String, Json>) -> Result<(), Failure> {
    for (option, key) in [
        ("settled-from", "settled_from"),
        ("settled-until", "settled_until"),
    ] {
        if let Some(time) = number(call, option)? {
            body.insert(key.to_owned(), time.into());
        }
    }
    Ok(())
}

/// The value of an option that is not negative.
fn number(call: &Call, name: &str) -> Result<Option<u64>, Failure> {
    call.arguments
        .option(name)
        .map(|text| text.parse().map_err(|_| invalid(name, text)))
        .transpose()
}

fn invalid(name: &str, value: &str) -> Failure {
    Failure::usage(format!(
        "Invalid options for this command:\n--{name} : {value}"
    ))
}

pub(crate) fn forget(call: &mut Call) -> Done {
    let queue = Place::queue(call.value(0));
    let shown = queue.shown(call);
    call.say(&format!("Forgetting settled messages of {shown} ..."));
    call.expect_vhost()?;
    let answer = call.node.delete(&queue.path(call, "replay"))?;
    let done = queue.answered(call, answer)?["done"].as_u64().unwrap_or(0);
    Ok(counted(done, "forgotten"))
}

/// How many messages it was done with.
fn counted(done: u64, what: &str) -> Output {
    Output::Report {
        text: format!("{} {what}", messages(done)),
        value: Term::Map(vec![(Term::atom("done"), Term::int(done))]),
    }
}

pub(crate) fn pause(call: &mut Call) -> Done {
    set_paused(call, "Pausing", "pause")
}

pub(crate) fn resume(call: &mut Call) -> Done {
    set_paused(call, "Resuming", "resume")
}

fn set_paused(call: &mut Call, doing: &str, path: &str) -> Done {
    let queue = Place::queue(call.value(0));
    call.say(&format!("{doing} {} ...", queue.shown(call)));
    call.expect_vhost()?;
    let answer = call.node.put(&queue.path(call, path), &Json::Null)?;
    queue.answered(call, answer)?;
    Ok(Output::Nothing)
}

pub(crate) fn list_delayed(call: &mut Call) -> Done {
    let place = Place::of_options(call)?;
    let count = number(call, "count")?.unwrap_or(COUNT_DEFAULT);
    if count > PAGE_MESSAGES_MAX {
        return Err(invalid("count", &count.to_string()));
    }
    call.say(&format!(
        "Listing delayed messages of {} ...",
        place.shown(call)
    ));
    call.expect_vhost()?;
    let path = place.path(call, &format!("delayed?count={count}"));
    let answer = call.node.get(&path)?;
    let list = place.answered(call, answer)?;
    let items = list["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = items
        .iter()
        .map(|item| super::cells(item, &DELAYED_COLUMNS));
    let output = Output::rows(&DELAYED_COLUMNS, rows.collect());
    let all = list["messages_delayed"].as_u64().unwrap_or(0);
    if all > items.len() as u64 {
        call.say(&format!(
            "{} wait, those that are due first:",
            messages(all)
        ));
    }
    Ok(output)
}

pub(crate) fn cancel_delayed(call: &mut Call) -> Done {
    let place = Place::of_options(call)?;
    let arguments = &call.arguments;
    let queries: Vec<String> = match (
        arguments.option("message-id"),
        arguments.option("positions"),
        arguments.has("all"),
    ) {
        (Some(id), None, false) => vec![format!("message_id={}", encode(id))],
        (None, Some(list), false) => {
            let places = list.split(',').map(str::trim);
            places
                .map(|at| format!("position={}", encode(at)))
                .collect()
        }
        (None, None, true) => vec!["all=true".to_owned()],
        _ => {
            return Err(Failure::usage(
                "say which messages: --message-id, --positions or --all",
            ));
        }
    };
    let shown = place.shown(call);
    call.say(&format!("Cancelling delayed messages of {shown} ..."));
    call.expect_vhost()?;
    let mut done = 0;
    for query in queries {
        let path = place.path(call, &format!("delayed?{query}"));
        let answer = call.node.delete(&path)?;
        done += place.answered(call, answer)?["done"].as_u64().unwrap_or(0);
    }
    Ok(counted(done, "cancelled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_may_be_a_number_is_both() {
        assert_eq!(tested("header", "a", None), json!({ "header": "a" }));
        assert_eq!(
            tested("header", "a", Some("b")),
            json!({ "header": "a", "equals": "b" })
        );
        assert_eq!(
            tested("json", "$.a", Some("7")),
            json!({ "any": [{ "json": "$.a", "equals": 7 }, { "json": "$.a", "equals": "7" }] })
        );
    }

    #[test]
    fn an_equals_sign_in_brackets_belongs_to_the_path() {
        for (text, expected) in [
            ("$.a", ("$.a", None)),
            ("$.a=b=c", ("$.a", Some("b=c"))),
            ("$.a=", ("$.a", Some(""))),
            ("$[?@.a=='x]=']=1", ("$[?@.a=='x]=']", Some("1"))),
            ("$['a=b'].c", ("$['a=b'].c", None)),
        ] {
            assert_eq!(path_and_value(text), expected, "{text}");
        }
    }

    #[test]
    fn control_characters_of_messages_do_not_reach_a_terminal() {
        assert_eq!(visible("a\tb\u{1b}[2Jé\n"), "a\\tb\\u{1b}[2Jé\\n");
        let message = json!({ "payload": "a\nb", "properties": { "type": "\u{7}" } });
        assert_eq!(
            cell(Formatter::Table, &message, "payload"),
            Term::text("a\\nb")
        );
        assert_eq!(
            cell(Formatter::Csv, &message, "payload"),
            Term::text("a\nb")
        );
        assert_eq!(
            cell(Formatter::Table, &message, "properties"),
            Term::text("{\"type\":\"\\u0007\"}")
        );
    }
}
