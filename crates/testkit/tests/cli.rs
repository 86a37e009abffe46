//! The command line tools, compared with what RabbitMQ's tools printed: `tests/cli/*.script`.
//!
//! A script is a list of commands with what they print. All its commands run against one broker.
//!
//! | line | |
//! |---|---|
//! | `$ rabbitmqctl …` | a command, in the quotes of a shell; its output has to be as recorded |
//! | `$sorted …` | the same, whatever the order of the lines |
//! | `$shape …` | only the keys of the JSON, or the words before the first colon of each line |
//! | `$code …` | only the exit code |
//! | `- rabbitmqctl …` | a command whose outcome does not matter |
//! | `% PUT PATH BODY` | a request to the HTTP API, to prepare something |
//! | `% connect NAME VHOST`, `% consume NAME QUEUE` | a client with a channel, and a consumer on it; it stays until the end |
//! | `< text` | what the command reads from its standard input |
//! | `\| text`, `! text`, `= code` | what RabbitMQ's tool wrote to its standard output and error streams, and its exit code |
//! | `~\| text`, `~! text`, `~= code` | what ours does instead, on purpose |
//!
//! `FILE` selects a script. `UPDATE_EXPECT=1` with `CLI_PREFIX` (words before the name of a tool), `HTTP_ADDRESS` and `AMQP_ADDRESS`
//! records from a RabbitMQ; `UPDATE_WANTED=1` writes the lines with `~`, which then are to be reviewed.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON is data: other kinds are treated alike"
)]

use anyhow::{Context, bail, ensure};
use client_amqp091::codec::Table;
use client_amqp091::{AmqpUri, ConnectOptions, Connection, ConsumeOptions};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{Broker, Http};

/// A name in a recording that stands for something else each time.
const PID: &str = "<pid>";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Exact,
    Sorted,
    Shape,
    Code,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    out: Vec<String>,
    error: Vec<String>,
    code: Option<i32>,
}

#[derive(Debug)]
enum Step {
    Text(String),
    Prepare(String),
    Ignore(String),
    Run {
        line: String,
        mode: Mode,
        words: String,
        input: Vec<String>,
        recorded: Said,
        wanted: Said,
    },
}

fn scripts() -> anyhow::Result<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cli");
    let wanted = std::env::var("FILE").ok();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).context("list scripts")? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if wanted.as_ref().is_none_or(|wanted| *wanted == name) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn parse(text: &str) -> anyhow::Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("% ") {
            steps.push(Step::Prepare(rest.to_owned()));
            continue;
        }
        if let Some(rest) = line.strip_prefix("- ") {
            steps.push(Step::Ignore(rest.to_owned()));
            continue;
        }
        if line.starts_with('$') {
            let (mode, words) = line.split_once(' ').context("a command")?;
            let mode = match mode {
                "$" => Mode::Exact,
                "$sorted" => Mode::Sorted,
                "$shape" => Mode::Shape,
                "$code" => Mode::Code,
                other => bail!("unknown mode {other}"),
            };
            steps.push(Step::Run {
                line: line.to_owned(),
                mode,
                words: words.to_owned(),
                input: Vec::new(),
                recorded: Said::default(),
                wanted: Said::default(),
            });
            continue;
        }
        let (own, body) = match line.strip_prefix('~') {
            Some(body) => (true, body),
            None => (false, line),
        };
        let text = body.get(2..).unwrap_or_default().to_owned();
        let Some(Step::Run {
            input,
            recorded,
            wanted,
            ..
        }) = steps
            .last_mut()
            .filter(|_| !line.is_empty() && !line.starts_with('#'))
        else {
            steps.push(Step::Text(line.to_owned()));
            continue;
        };
        let said = if own { wanted } else { recorded };
        match body.chars().next() {
            Some('|') => said.out.push(text),
            Some('!') => said.error.push(text),
            Some('=') => said.code = Some(text.trim().parse()?),
            Some('<') => input.push(text),
            _ => bail!("cannot read line '{line}'"),
        }
    }
    Ok(steps)
}

fn write(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Text(line) => _ = writeln!(text, "{line}"),
            Step::Prepare(line) => _ = writeln!(text, "% {line}"),
            Step::Ignore(line) => _ = writeln!(text, "- {line}"),
            Step::Run {
                line,
                input,
                recorded,
                wanted,
                ..
            } => {
                let _ = writeln!(text, "{line}");
                for line in input {
                    let _ = writeln!(text, "< {line}");
                }
                put(&mut text, "", recorded);
                put(&mut text, "~", wanted);
            }
        }
    }
    text
}

fn put(text: &mut String, mark: &str, said: &Said) {
    for line in &said.out {
        let _ = writeln!(text, "{}", format!("{mark}| {line}").trim_end());
    }
    for line in &said.error {
        let _ = writeln!(text, "{}", format!("{mark}! {line}").trim_end());
    }
    if let Some(code) = said.code {
        let _ = writeln!(text, "{mark}= {code}");
    }
}

/// Words as a shell reads them, of single and double quotes and backslashes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Where commands run.
struct Target {
    broker: Option<Broker>,
    prefix: Vec<String>,
    http: Http,
    amqp: SocketAddr,
    clients: BTreeMap<String, Connection>,
}

impl Target {
    fn find() -> anyhow::Result<Self> {
        let Ok(prefix) = std::env::var("CLI_PREFIX") else {
            // Its metrics were off where the answers were recorded.
            let broker = Broker::start_with("prometheus.tcp.listener = none\n")?;
            return Ok(Self {
                http: Http::new(&broker),
                amqp: broker.address(),
                broker: Some(broker),
                prefix: Vec::new(),
                clients: BTreeMap::new(),
            });
        };
        let address = |name| -> anyhow::Result<SocketAddr> {
            Ok(std::env::var(name).context(name)?.parse()?)
        };
        Ok(Self {
            broker: None,
            prefix: prefix.split(' ').map(str::to_owned).collect(),
            http: Http::at(address("HTTP_ADDRESS")?).login("guest", "guest"),
            amqp: address("AMQP_ADDRESS")?,
            clients: BTreeMap::new(),
        })
    }

    fn run(&self, line: &str, input: &[String]) -> anyhow::Result<Said> {
        let words = words(line);
        let (tool, arguments) = words.split_first().context("a tool")?;
        let mut command = match (&self.broker, self.prefix.split_last()) {
            (Some(broker), _) => broker.tool(tool)?,
            (None, Some((last, first))) => {
                let mut all: Vec<String> = first.to_vec();
                all.push(format!("{last}{tool}"));
                let mut command = Command::new(&all[0]);
                command.args(&all[1..]);
                command
            }
            (None, None) => bail!("CLI_PREFIX is empty"),
        };
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {tool}"))?;
        let mut stdin = child.stdin.take().context("it is piped")?;
        for line in input {
            // A command that reads nothing may have ended.
            let _ = writeln!(stdin, "{line}");
        }
        drop(stdin);
        let output = child.wait_with_output()?;
        Ok(Said {
            out: lines(&output.stdout),
            error: lines(&output.stderr),
            code: output.status.code(),
        })
    }

    async fn prepare(&mut self, line: &str) -> anyhow::Result<()> {
        let words = words(line);
        let parts: Vec<&str> = words.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["connect", name, vhost] => {
                let mut uri: AmqpUri = format!("amqp://guest:guest@{}/", self.amqp).parse()?;
                uri.vhost = (*vhost).to_owned();
                let mut connection = Connection::connect(&uri, &ConnectOptions::default()).await?;
                connection.open_channel(1).await?;
                self.clients.insert((*name).to_owned(), connection);
            }
            ["consume", name, queue] => {
                let client = self.clients.get_mut(*name).context("it is connected")?;
                let options = ConsumeOptions::default();
                client
                    .consume(1, queue, "tag", options, Table::default())
                    .await?;
            }
            _ => {
                let (method, rest) = line.split_once(' ').context("a method")?;
                let (path, body) = rest.split_once(' ').unwrap_or((rest, "null"));
                let body: Value = serde_json::from_str(body)?;
                match method {
                    "PUT" => self.http.put(path, body)?,
                    "POST" => self.http.post(path, body)?,
                    "DELETE" => self.http.delete(path)?,
                    other => bail!("unknown request {other}"),
                };
            }
        }
        Ok(())
    }
}

/// Lines of output; what cannot be seen is written with a backslash.
fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(|line| {
            let line = line.replace('\u{1b}', "\\e").replace('\t', "\\t");
            line.trim_end().to_owned()
        })
        .collect()
}

/// What has to be the same each time.
fn normal(mode: Mode, said: &Said) -> Said {
    let mut said = said.clone();
    match mode {
        Mode::Exact => {
            said.out = said.out.iter().map(|line| normal_line(line)).collect();
            said.error = said.error.iter().map(|line| normal_line(line)).collect();
        }
        Mode::Sorted => {
            said = normal(Mode::Exact, &said);
            said.out.sort();
        }
        Mode::Shape => {
            let mut keys = BTreeSet::new();
            for line in &said.out {
                match serde_json::from_str::<Value>(line.trim_start_matches(',')) {
                    Ok(value) => shape(&value, "", &mut keys),
                    Err(_) => _ = keys.insert(label(line)),
                }
            }
            said.out = keys.into_iter().collect();
            said.error = said.error.iter().map(|line| label(line)).collect();
        }
        Mode::Code => {
            said.out.clear();
            said.error.clear();
        }
    }
    said
}

fn label(line: &str) -> String {
    // Files are somewhere else each time.
    if line.starts_with(" * /") {
        return " * <path>".to_owned();
    }
    let line = normal_line(line);
    let label = line.split(": ").next().unwrap_or_default();
    label.to_owned()
}

/// The paths to all values.
fn shape(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                shape(value, &format!("{path}.{key}"), into);
            }
        }
        Value::Array(values) => {
            into.insert(format!("{path}[]"));
            values
                .iter()
                .for_each(|value| shape(value, &format!("{path}[]"), into));
        }
        _ => _ = into.insert(path.to_owned()),
    }
}

fn normal_line(line: &str) -> String {
    let line = without_pids(line);
    let (comma, body) = match line.strip_prefix(',') {
        Some(body) => (",", body),
        None => ("", line.as_str()),
    };
    match serde_json::from_str::<Value>(body) {
        Ok(value) if body.starts_with(['{', '[']) => format!("{comma}{value}"),
        _ => line,
    }
}

/// Process ids in angle brackets are different each time.
fn without_pids(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let end = from.find('>').map_or(from.len(), |end| end + 1);
        let word = &from[..end];
        let dots = word.bytes().filter(|byte| *byte == b'.').count();
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        if dots >= 2 && digits >= 3 && !word.contains(' ') {
            out.push_str(PID);
            rest = &from[end..];
        } else {
            out.push('<');
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    out.replace("Pid(#PID<pid>)", PID)
}

fn difference(expected: &Said, got: &Said) -> String {
    let mut text = String::new();
    put(&mut text, "  expected ", expected);
    put(&mut text, "  got      ", got);
    text
}

#[tokio::test]
async fn the_tools_print_what_rabbitmqs_tools_print() -> anyhow::Result<()> {
    let flag = |name| std::env::var_os(name).is_some();
    let records = flag("UPDATE_EXPECT");
    let accepts = flag("UPDATE_WANTED");
    let mut failures = String::new();
    for path in scripts()? {
        let text = std::fs::read_to_string(&path)?;
        let mut steps = parse(&text).with_context(|| path.display().to_string())?;
        let mut target = Target::find()?;
        for step in &mut steps {
            match step {
                Step::Text(_) => {}
                Step::Prepare(line) => target
                    .prepare(line)
                    .await
                    .with_context(|| format!("{}: {line}", path.display()))?,
                Step::Ignore(line) => _ = target.run(line, &[])?,
                Step::Run {
                    line,
                    mode,
                    words,
                    input,
                    recorded,
                    wanted,
                } => {
                    let mut got = target.run(words, input)?;
                    if matches!(mode, Mode::Shape | Mode::Code) {
                        got = normal(*mode, &got);
                    }
                    if records {
                        *recorded = got.clone();
                    }
                    // Nothing more is kept than is compared.
                    if matches!(mode, Mode::Shape | Mode::Code) {
                        *recorded = normal(*mode, recorded);
                    }
                    if records {
                        continue;
                    }
                    let is_wanted = *wanted != Said::default();
                    let expected = if is_wanted && target.broker.is_some() {
                        &*wanted
                    } else {
                        &*recorded
                    };
                    if normal(*mode, expected) == normal(*mode, &got) {
                        continue;
                    }
                    if accepts {
                        let is_recorded = normal(*mode, recorded) == normal(*mode, &got);
                        *wanted = if is_recorded { Said::default() } else { got };
                        continue;
                    }
                    let (expected, got) = (normal(*mode, expected), normal(*mode, &got));
                    let _ = writeln!(
                        failures,
                        "{}: {line}\n{}",
                        path.display(),
                        difference(&expected, &got)
                    );
                }
            }
        }
        if records || accepts {
            std::fs::write(&path, write(&steps))?;
        }
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}
