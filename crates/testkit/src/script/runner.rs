//! Runs the commands of a case and collects what the broker answers.

use super::compare::Addresses;
use super::peer::{Event, Peer, frame};
use super::spec::{self, by_name};
use super::text::{
    Argument, Scanner, Shown, arguments, decode_method, decode_properties, encode_method,
    encode_properties, show_body, take_argument,
};
use crate::Http;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long any one answer may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(45);
/// An end of the socket this long after the last thing sent is delayed on purpose, which both servers do for three seconds.
const DELAY: Duration = Duration::from_millis(2_900);
/// The channel on which the runner makes its own round trips.
const SYNC_CHANNEL: u16 = 60_000;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
const CAPABILITIES: [&str; 6] = [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "exchange_exchange_bindings",
    "publisher_confirms",
];

/// Everything of one case.
pub(super) struct Runner {
    address: SocketAddr,
    http: Http,
    user: String,
    password: String,
    /// Of connections that name none.
    vhost: String,
    sender: Sender<(usize, Event)>,
    events: Receiver<(usize, Event)>,
    connections: Vec<Connection>,
    names: Names,
    /// Queues declared in the case, with the connection that did.
    queues: Vec<(Vec<u8>, usize)>,
    exchanges: Vec<Vec<u8>>,
    answers: Vec<Answer>,
    http_answers: Vec<String>,
}

struct Connection {
    name: String,
    peer: Peer,
    channels: BTreeMap<u16, Channel>,
    state: State,
    /// The runner may use a channel of it.
    has_sync: bool,
    answers_closes: bool,
    frame_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshake,
    Open,
    Closing,
    Gone,
}

#[derive(Default)]
struct Channel {
    is_open: bool,
    /// Replies that are due, and whether the runner asked for them itself.
    due: VecDeque<(Vec<&'static str>, bool)>,
    content: Option<Content>,
    /// Tag of the next publish, in confirm mode.
    next_tag: Option<u64>,
    unconfirmed: BTreeSet<u64>,
    /// Names of methods that came in this step.
    came: Vec<&'static str>,
    declared: Option<(u64, u64)>,
    close_code: Option<u16>,
}

struct Content {
    method: Shown,
    properties: Option<String>,
    body: Vec<u8>,
    missing: u64,
}

struct Answer {
    connection: usize,
    channel: u16,
    text: String,
    /// For confirms: the tags confirmed.
    tags: BTreeSet<u64>,
}

/// Names made up by the broker, and what scripts call them.
#[derive(Default)]
struct Names(Vec<(String, String)>);

impl Names {
    /// Prefixes of generated names, and how many characters the generated part has at least.
    const GENERATED: [(&'static str, usize); 4] = [
        ("amq.gen-", 20),
        ("amq.ctag-", 20),
        ("amq.rabbitmq.reply-to.", 8),
        // Connections and channels, as Erlang names their processes.
        ("<rabbit@localhost.", 5),
    ];

    fn symbols_in(&mut self, text: &str) -> String {
        let mut out = text.to_owned();
        for (prefix, size_min) in Self::GENERATED {
            let mut from = 0;
            while let Some(found) = out[from..].find(prefix) {
                let start = from + found;
                let tail = &out[start + prefix.len()..];
                let size = tail
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "-_=.+/".contains(c)))
                    .unwrap_or(tail.len());
                from = start + prefix.len();
                if size < size_min {
                    continue;
                }
                let actual = out[start..from + size].to_owned();
                let symbol = self.symbol(prefix, actual);
                let end = from + size;
                out.replace_range(start..end, &symbol);
            }
        }
        out
    }

    fn symbol(&mut self, prefix: &str, actual: String) -> String {
        if let Some((_, symbol)) = self.0.iter().find(|(known, _)| *known == actual) {
            return symbol.clone();
        }
        let number = self
            .0
            .iter()
            .filter(|(known, _)| known.starts_with(prefix))
            .count()
            + 1;
        let symbol = format!("{prefix}{number}");
        self.0.push((actual, symbol.clone()));
        symbol
    }

    fn actual_in(&self, text: &str) -> String {
        let longest_first = self.0.iter().rev();
        longest_first.fold(text.to_owned(), |text, (actual, symbol)| {
            text.replace(symbol, actual)
        })
    }
}

impl Runner {
    pub(super) fn new(addresses: Addresses, user: &str, password: &str, vhost: &str) -> Self {
        let (sender, events) = channel();
        Self {
            address: addresses.amqp,
            http: Http::at(addresses.http).login(user, password),
            http_answers: Vec::new(),
            user: user.to_owned(),
            password: password.to_owned(),
            vhost: vhost.to_owned(),
            sender,
            events,
            connections: Vec::new(),
            names: Names::default(),
            queues: Vec::new(),
            exchanges: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Runs one line and returns what came back, one line each.
    pub(super) fn step(&mut self, line: &str) -> anyhow::Result<Vec<String>> {
        self.answers.clear();
        for channel in self
            .connections
            .iter_mut()
            .flat_map(|connection| connection.channels.values_mut())
        {
            channel.came.clear();
        }
        let line = self.names.actual_in(line);
        self.run(&line)?;
        Ok(self.take_answers())
    }

    fn take_answers(&mut self) -> Vec<String> {
        let mut answers = std::mem::take(&mut self.answers);
        // A consumer hears of its queue's end from elsewhere than the channel: the order of that and a reply is not defined.
        answers.sort_by_key(|answer| {
            (
                answer.connection,
                answer.channel,
                answer.text.starts_with("basic.cancel "),
            )
        });
        let mut lines = std::mem::take(&mut self.http_answers);
        for answer in answers {
            let name = &self.connections[answer.connection].name;
            let mut text = answer.text;
            if !answer.tags.is_empty() {
                let tags: Vec<String> = answer.tags.iter().map(u64::to_string).collect();
                write!(text, " tags={}", tags.join(","))
                    .expect("writing to a string does not fail");
            }
            let text = self.names.symbols_in(&text);
            // The end of the socket concerns no channel.
            let channel = if text.starts_with("eof") || text.starts_with("header") {
                String::new()
            } else {
                format!(".{}", answer.channel)
            };
            lines.push(format!("{name}{channel} < {text}"));
        }
        lines
    }

    fn run(&mut self, line: &str) -> anyhow::Result<()> {
        let (line, waits) = line
            .strip_suffix(" &")
            .map_or((line, true), |line| (line, false));
        let (subject, rest) = line
            .split_once(' ')
            .context("a command has two words at least")?;
        match subject {
            "conn" => self.connect(rest),
            "drop" => {
                let index = self.connection(rest)?;
                self.connections[index].peer.close();
                self.wait(&format!("the end of {rest}"), |runner| {
                    runner.connections[index].state == State::Gone
                })?;
                self.answers.clear();
                Ok(())
            }
            "http" => self.ask_http(rest),
            "until" => self.until(rest),
            "until-gone" => self.until_gone(rest),
            _ => self.talk(subject, rest, waits),
        }
    }

    /// Makes a vhost for one case.
    pub(super) fn begin_vhost(&self, vhost: &str) -> anyhow::Result<()> {
        self.http
            .put(&format!("/vhosts/{vhost}"), serde_json::json!({}))
            .map(drop)
    }

    /// Deletes it with what is in it.
    pub(super) fn end_vhost(&self, vhost: &str) -> anyhow::Result<()> {
        self.http.delete(&format!("/vhosts/{vhost}")).map(drop)
    }

    /// Sends a request and waits for its answer, then for what it caused.
    fn ask_http(&mut self, request: &str) -> anyhow::Result<()> {
        let mut words = request.splitn(3, ' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().context("a request has a path")?;
        let body = words.next().unwrap_or_default();
        let response = self.http.request_with(method, path, &[], body.as_bytes())?;
        let mut answer = format!("http < {}", response.status);
        match response.json() {
            Ok(Value::Null) => {}
            Ok(json) => write!(answer, " {json}")?,
            Err(_) => write!(answer, " {}", String::from_utf8_lossy(&response.body))?,
        }
        self.http_answers.push(answer);
        self.settle()
    }

    fn talk(&mut self, subject: &str, rest: &str, waits: bool) -> anyhow::Result<()> {
        let (name, channel) = subject.split_once('.').unwrap_or((subject, "0"));
        let index = self.connection(name)?;
        let channel: u16 = channel.parse().context("a channel is a number")?;
        let (verb, rest) = rest.split_once(' ').context("what shall it do?")?;
        ensure!(
            verb == "?" || self.connections[index].state != State::Gone,
            "{name} is gone"
        );
        match verb {
            ">" => self.send_method(index, channel, rest)?,
            ">>" => self.connections[index].peer.send(&raw_bytes(rest)?),
            "?" => {
                let method = by_name(rest)
                    .with_context(|| format!("no method {rest}"))?
                    .name
                    .as_str();
                let came = |runner: &Self| {
                    let came = |channel: &Channel| channel.came.contains(&method);
                    runner.connections[index]
                        .channels
                        .get(&channel)
                        .is_some_and(came)
                };
                self.wait(&format!("{subject} {rest}"), came)?;
            }
            other => bail!("unknown verb {other}"),
        }
        if !waits {
            return Ok(());
        }
        if verb == ">>" {
            let before = self.answers.len();
            let answered = |runner: &Self| {
                runner.answers[before..]
                    .iter()
                    .any(|answer| answer.connection == index)
            };
            self.wait(&format!("an answer to raw bytes on {name}"), answered)?;
        }
        self.settle()
    }

    fn connection(&self, name: &str) -> anyhow::Result<usize> {
        self.connections
            .iter()
            .rposition(|connection| connection.name == name)
            .with_context(|| format!("no connection {name}"))
    }

    // ── sending ──

    fn send_method(&mut self, index: usize, channel: u16, text: &str) -> anyhow::Result<()> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        // `basic.publish!` is the method without its content.
        let (name, is_bare) = name
            .strip_suffix('!')
            .map_or((name, false), |name| (name, true));
        let spec = by_name(name).with_context(|| format!("no method {name}"))?;
        let mut list = arguments(rest.as_bytes())?;
        let repeat = match take_argument(&mut list, "repeat") {
            Some(Argument::Text(text)) => std::str::from_utf8(&text)?.parse()?,
            _ => 1,
        };
        let is_set = |list: &[(String, Argument)], key: &str| {
            list.iter().any(|(name, value)| {
                name == key && matches!(value, Argument::Text(text) if text == b"true")
            })
        };
        let no_wait = is_set(&list, "no_wait");
        self.note_names(index, name, &list);
        let mut bytes = frame(METHOD, channel, &encode_method(spec, &mut list)?);
        if spec.has_content && !is_bare {
            self.encode_content(index, channel, &mut list, &mut bytes)?;
        }
        ensure!(list.is_empty(), "unknown arguments: {list:?}");
        let state = self.connections[index].channels.entry(channel).or_default();
        for _ in 0..repeat {
            if name == "basic.publish"
                && let Some(tag) = &mut state.next_tag
            {
                state.unconfirmed.insert(*tag);
                *tag += 1;
            }
            if let Some(replies) = spec::reply_to(name).filter(|_| !no_wait) {
                state.due.push_back((replies, false));
            }
        }
        if name == "confirm.select" {
            state.next_tag.get_or_insert(1);
        }
        if name == "channel.close-ok" {
            state.is_open = false;
        }
        self.connections[index].peer.send(&bytes.repeat(repeat));
        Ok(())
    }

    fn note_names(&mut self, index: usize, method: &str, list: &[(String, Argument)]) {
        let text = |key: &str| {
            list.iter().find_map(|(name, value)| match value {
                Argument::Text(text) if name == key && !text.is_empty() => Some(text.clone()),
                Argument::Text(_) | Argument::Table(_) => None,
            })
        };
        let is_unanswered = list.iter().any(|(name, _)| name == "no_wait");
        if method == "queue.declare"
            && is_unanswered
            && let Some(queue) = text("queue")
        {
            self.note_queue(queue, index);
        }
        if method == "exchange.declare" {
            self.exchanges
                .extend(text("exchange").filter(|name| !name.starts_with(b"amq.")));
        }
    }

    fn note_queue(&mut self, queue: Vec<u8>, owner: usize) {
        if !self.queues.iter().any(|(known, _)| *known == queue) {
            self.queues.push((queue, owner));
        }
    }

    fn encode_content(
        &self,
        index: usize,
        channel: u16,
        list: &mut Vec<(String, Argument)>,
        out: &mut Vec<u8>,
    ) -> anyhow::Result<()> {
        let mut body = match take_argument(list, "body") {
            Some(Argument::Text(text)) => text,
            Some(Argument::Table(_)) => bail!("a body is text"),
            None => Vec::new(),
        };
        if let Some(Argument::Text(size)) = take_argument(list, "body_size") {
            body = vec![b'x'; std::str::from_utf8(&size)?.parse()?];
        }
        let properties = encode_properties(list)?;
        let header = [
            &[0, 60, 0, 0][..],
            &(body.len() as u64).to_be_bytes(),
            &properties,
        ]
        .concat();
        out.extend(frame(HEADER, channel, &header));
        for part in body.chunks(self.connections[index].frame_max - 8) {
            out.extend(frame(BODY, channel, part));
        }
        Ok(())
    }

    // ── connecting ──

    /// `NAME` and options: `raw` (no handshake), `nosync` (the runner opens no channel on it), `manual` (closes are not answered),
    /// `caps=all|none|a,b`, `user=`, `pass=`, `vhost=`, `frame_max=`, `channel_max=`.
    fn connect(&mut self, options: &str) -> anyhow::Result<()> {
        let mut words = options.split(' ');
        let name = words.next().context("a connection has a name")?.to_owned();
        let words: Vec<&str> = words.collect();
        let option = |key: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        let index =
            self.open_socket(name, !words.contains(&"nosync"), !words.contains(&"manual"))?;
        if words.contains(&"raw") {
            return Ok(());
        }
        let capabilities: Vec<&str> = match option("caps") {
            None | Some("all") => CAPABILITIES.to_vec(),
            Some("none") => Vec::new(),
            Some(list) => list.split(',').collect(),
        };
        let capabilities: Vec<String> = capabilities
            .iter()
            .map(|name| format!("{name}=true"))
            .collect();
        let user = option("user").unwrap_or(&self.user).to_owned();
        let password = option("pass").unwrap_or(&self.password).to_owned();
        let frame_max = option("frame_max").unwrap_or("131072");
        if let Ok(size) = frame_max.parse::<usize>() {
            self.connections[index].frame_max = if size == 0 { 131_072 } else { size };
        }
        let channel_max = option("channel_max").unwrap_or("2047");
        let vhost = option("vhost").unwrap_or(&self.vhost).to_owned();
        self.connections[index].peer.send(PROTOCOL_HEADER);
        if !self.handshake_step(index, "connection.start")? {
            return Ok(());
        }
        let capabilities = capabilities.join(" ");
        let start_ok = format!(
            "connection.start-ok client_properties={{product=\"testkit\" capabilities={{{capabilities}}}}} mechanism=PLAIN \
             response=\"\\x00{user}\\x00{password}\" locale=en_US"
        );
        self.send_method(index, 0, &start_ok)?;
        if !self.handshake_step(index, "connection.tune")? {
            return Ok(());
        }
        self.send_method(
            index,
            0,
            &format!(
                "connection.tune-ok channel_max={channel_max} frame_max={frame_max} heartbeat=0"
            ),
        )?;
        self.send_method(index, 0, &format!("connection.open virtual_host={vhost}"))?;
        self.handshake_step(index, "connection.open-ok")?;
        Ok(())
    }

    fn open_socket(
        &mut self,
        name: String,
        has_sync: bool,
        answers_closes: bool,
    ) -> anyhow::Result<usize> {
        let index = self.connections.len();
        let peer = Peer::connect(self.address, index, self.sender.clone())?;
        self.connections.push(Connection {
            name,
            peer,
            channels: BTreeMap::new(),
            state: State::Handshake,
            has_sync,
            answers_closes,
            frame_max: 131_072,
        });
        Ok(index)
    }

    /// Waits for one method of the handshake, which is not shown if it comes; says whether it came.
    fn handshake_step(&mut self, index: usize, name: &str) -> anyhow::Result<bool> {
        let before = self.answers.len();
        let has_come = |runner: &Self| {
            let came = |channel: &Channel| channel.came.contains(&name);
            runner.connections[index].channels.get(&0).is_some_and(came)
        };
        let is_over = |runner: &Self| matches!(runner.connections[index].state, State::Gone);
        self.wait(name, |runner| has_come(runner) || is_over(runner))?;
        let came = has_come(self);
        if came {
            let mut nth = 0;
            self.answers.retain(|answer| {
                nth += 1;
                nth <= before || answer.connection != index
            });
        }
        Ok(came)
    }

    // ── receiving ──

    fn wait(&mut self, what: &str, mut is_done: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((index, event)) = self.events.recv_timeout(left) else {
                bail!("nothing within {PATIENCE:?}: {what}");
            };
            self.handle(index, event)?;
        }
        Ok(())
    }

    fn answer(&mut self, connection: usize, channel: u16, text: String) {
        self.answers.push(Answer {
            connection,
            channel,
            text,
            tags: BTreeSet::new(),
        });
    }

    fn handle(&mut self, index: usize, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Eof => self.handle_eof(index),
            Event::Header(header) => {
                let version: Vec<String> = header[4..].iter().map(u8::to_string).collect();
                self.answer(index, 0, format!("header AMQP {}", version.join(" ")));
            }
            Event::Frame {
                kind: METHOD,
                channel,
                payload,
            } => {
                let method = decode_method(&payload)?;
                self.handle_method(index, channel, method)?;
            }
            Event::Frame {
                kind: HEADER,
                channel,
                payload,
            } => {
                let size = payload
                    .get(4..12)
                    .context("a content header is too short")?;
                let size = size
                    .iter()
                    .fold(0, |number, byte| number << 8 | u64::from(*byte));
                let properties = decode_properties(&payload[12..])?;
                let content = self.content(index, channel)?;
                content.properties = Some(properties);
                content.missing = size;
                self.finish_content(index, channel)?;
            }
            Event::Frame {
                kind: BODY,
                channel,
                payload,
            } => {
                let content = self.content(index, channel)?;
                content.missing = content
                    .missing
                    .checked_sub(payload.len() as u64)
                    .context("the broker sent too much body")?;
                content.body.extend(payload);
                self.finish_content(index, channel)?;
            }
            Event::Frame { kind: 8, .. } => {}
            Event::Frame { kind, .. } => bail!("the broker sent a frame of type {kind}"),
        }
        Ok(())
    }

    fn handle_eof(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.state == State::Gone {
            return;
        }
        let is_delayed =
            connection.state != State::Closing && connection.peer.sent_at.elapsed() >= DELAY;
        connection.state = State::Gone;
        connection.channels.clear();
        self.answer(
            index,
            0,
            if is_delayed { "eof delayed" } else { "eof" }.to_owned(),
        );
    }

    fn content(&mut self, index: usize, channel: u16) -> anyhow::Result<&mut Content> {
        let channel = self.connections[index].channels.get_mut(&channel);
        channel
            .and_then(|channel| channel.content.as_mut())
            .context("the broker sent content without a method")
    }

    fn finish_content(&mut self, index: usize, channel: u16) -> anyhow::Result<()> {
        if self.content(index, channel)?.missing > 0 {
            return Ok(());
        }
        let state = self.connections[index].channels.entry(channel).or_default();
        let content = state.content.take().context("the content is there")?;
        state.came.push(&content.method.spec.name);
        let is_reply = state
            .due
            .front()
            .is_some_and(|(names, _)| names.contains(&content.method.spec.name.as_str()));
        if is_reply {
            state.due.pop_front();
        }
        let properties = content.properties.unwrap_or_default();
        let text = format!(
            "{}{properties} body={}",
            content.method.text(),
            show_body(&content.body)
        );
        self.answer(index, channel, text);
        Ok(())
    }

    fn handle_method(&mut self, index: usize, channel: u16, method: Shown) -> anyhow::Result<()> {
        let name = method.spec.name.as_str();
        let connection = &mut self.connections[index];
        let state = connection.channels.entry(channel).or_default();
        if method.spec.has_content {
            state.content = Some(Content {
                method,
                properties: None,
                body: Vec::new(),
                missing: 0,
            });
            return Ok(());
        }
        state.came.push(name);
        let mut is_ours = channel == SYNC_CHANNEL;
        if state
            .due
            .front()
            .is_some_and(|(names, _)| names.contains(&name))
        {
            is_ours |= state.due.pop_front().is_some_and(|(_, ours)| ours);
        }
        match name {
            "connection.open-ok" => connection.state = State::Open,
            "connection.close" => {
                connection.state = State::Closing;
                connection
                    .channels
                    .values_mut()
                    .for_each(|channel| channel.due.clear());
                if connection.answers_closes {
                    connection.peer.send(&frame(METHOD, 0, &[0, 10, 0, 51]));
                }
            }
            "connection.close-ok" => {
                // The client closes the socket, as clients do; whether the broker is faster is not of interest.
                connection.state = State::Gone;
                connection.channels.clear();
                connection.peer.close();
                self.answer(index, channel, method.text());
                return Ok(());
            }
            "channel.open-ok" => {
                *state = Channel {
                    is_open: true,
                    came: std::mem::take(&mut state.came),
                    ..Channel::default()
                }
            }
            "channel.close" => {
                let code = method.field("reply_code").parse()?;
                *state = Channel {
                    came: std::mem::take(&mut state.came),
                    close_code: Some(code),
                    ..Channel::default()
                };
                if connection.answers_closes || channel == SYNC_CHANNEL {
                    connection
                        .peer
                        .send(&frame(METHOD, channel, &[0, 20, 0, 41]));
                }
            }
            "channel.close-ok" => {
                state.is_open = false;
                state.unconfirmed.clear();
            }
            "queue.declare-ok" => {
                state.declared = Some((
                    method.field("message_count").parse()?,
                    method.field("consumer_count").parse()?,
                ));
                let queue = Scanner::new(method.field("queue").as_bytes()).string()?;
                if !is_ours && !queue.starts_with(b"amq.rabbitmq.") {
                    self.note_queue(queue, index);
                }
            }
            "basic.ack" | "basic.nack" => {
                let (up_to, multiple) = (
                    method.field("delivery_tag").parse()?,
                    method.field("multiple") == "true",
                );
                let mut tags: BTreeSet<u64> = state
                    .unconfirmed
                    .iter()
                    .copied()
                    .filter(|tag| *tag == up_to || (multiple && *tag < up_to))
                    .collect();
                state.unconfirmed.retain(|tag| !tags.contains(tag));
                if tags.is_empty() {
                    // Nothing to confirm: shown as it is.
                    self.answer(index, channel, method.text());
                    return Ok(());
                }
                let known = self.answers.iter_mut().find(|answer| {
                    (answer.connection, answer.channel, answer.text.as_str())
                        == (index, channel, name)
                });
                match known {
                    Some(answer) => answer.tags.append(&mut tags),
                    None => self.answers.push(Answer {
                        connection: index,
                        channel,
                        text: name.to_owned(),
                        tags,
                    }),
                }
                return Ok(());
            }
            _ => {}
        }
        if !is_ours {
            self.answer(index, channel, method.text());
        }
        Ok(())
    }

    // ── knowing that nothing more will come ──

    fn settle(&mut self) -> anyhow::Result<()> {
        let is_answered = |runner: &Self| {
            let mut channels = runner
                .connections
                .iter()
                .flat_map(|connection| connection.channels.values());
            channels.all(|channel| channel.due.is_empty())
        };
        self.wait("a reply", is_answered)?;
        self.flush_channels()?;
        self.flush_queues()?;
        self.flush_queues()?;
        let is_confirmed = |runner: &Self| {
            let mut channels = runner
                .connections
                .iter()
                .flat_map(|connection| connection.channels.values());
            channels.all(|channel| channel.unconfirmed.is_empty())
        };
        self.wait("a confirm", is_confirmed)?;
        self.flush_channels()?;
        let has_ended = |runner: &Self| {
            let mut ending = runner
                .connections
                .iter()
                .filter(|connection| connection.answers_closes);
            ending.all(|connection| connection.state != State::Closing)
        };
        self.wait("the end of a closed connection", has_ended)
    }

    /// A round trip through every open channel.
    fn flush_channels(&mut self) -> anyhow::Result<()> {
        let passive = self.method_bytes("exchange.declare exchange=amq.direct passive=true")?;
        for connection in self
            .connections
            .iter_mut()
            .filter(|connection| connection.state == State::Open && connection.has_sync)
        {
            for (number, channel) in connection
                .channels
                .iter_mut()
                .filter(|(_, channel)| channel.is_open)
            {
                channel.due.push_back((vec!["exchange.declare-ok"], true));
                connection.peer.send(&frame(METHOD, *number, &passive));
            }
        }
        let is_flushed = |runner: &Self| {
            let mut channels = runner
                .connections
                .iter()
                .flat_map(|connection| connection.channels.values());
            channels.all(|channel| channel.due.is_empty())
        };
        self.wait("a round trip through a channel", is_flushed)
    }

    fn method_bytes(&self, text: &str) -> anyhow::Result<Vec<u8>> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        encode_method(
            by_name(name).context("no such method")?,
            &mut arguments(rest.as_bytes())?,
        )
    }

    /// A round trip through every queue of the case.
    fn flush_queues(&mut self) -> anyhow::Result<()> {
        for (queue, owner) in self.queues.clone() {
            // Gone or locked is an answer too.
            let _ = self.passive_declare(&queue, owner)?;
        }
        Ok(())
    }

    /// Ready messages and consumers of a queue, or the code of the refusal.
    fn passive_declare(
        &mut self,
        queue: &[u8],
        owner: usize,
    ) -> anyhow::Result<Result<(u64, u64), u16>> {
        let is_usable = self
            .connections
            .get(owner)
            .is_some_and(|connection| connection.state == State::Open && connection.has_sync);
        let index = if is_usable { owner } else { self.control()? };
        if !self.connections[index]
            .channels
            .get(&SYNC_CHANNEL)
            .is_some_and(|channel| channel.is_open)
        {
            self.round_trip(index, "channel.open", &[])?;
        }
        self.round_trip(index, "queue.declare", queue)?;
        let channel = self.connections[index]
            .channels
            .entry(SYNC_CHANNEL)
            .or_default();
        Ok(channel
            .declared
            .take()
            .ok_or_else(|| channel.close_code.unwrap_or(0)))
    }

    fn round_trip(&mut self, index: usize, name: &str, queue: &[u8]) -> anyhow::Result<()> {
        let mut list = vec![
            ("queue".to_owned(), Argument::Text(queue.to_vec())),
            ("passive".to_owned(), Argument::Text(b"true".to_vec())),
        ];
        let payload = encode_method(by_name(name).context("no such method")?, &mut list)?;
        let connection = &mut self.connections[index];
        let due = spec::reply_to(name).context("it has a reply")?;
        connection
            .channels
            .entry(SYNC_CHANNEL)
            .or_default()
            .due
            .push_back((due, true));
        connection.peer.send(&frame(METHOD, SYNC_CHANNEL, &payload));
        self.wait("the runner's round trip", |runner| {
            runner.connections[index]
                .channels
                .get(&SYNC_CHANNEL)
                .is_none_or(|channel| channel.due.is_empty())
        })
    }

    /// The connection for what no connection of the case can do.
    fn control(&mut self) -> anyhow::Result<usize> {
        let known = self.connections.iter().rposition(|connection| {
            connection.name == "control" && connection.state == State::Open
        });
        if let Some(index) = known {
            return Ok(index);
        }
        self.connect("control")?;
        self.connection("control")
    }

    fn until(&mut self, text: &str) -> anyhow::Result<()> {
        let (queue, conditions) = text
            .split_once(' ')
            .context("until QUEUE message_count=… consumer_count=…")?;
        let wanted = |key: &str| -> Option<u64> {
            conditions
                .split(' ')
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
        };
        let (messages, consumers) = (wanted("message_count"), wanted("consumer_count"));
        self.poll(queue, |found| {
            found.is_ok_and(|(m, c)| {
                messages.is_none_or(|wanted| wanted == m)
                    && consumers.is_none_or(|wanted| wanted == c)
            })
        })
    }

    fn until_gone(&mut self, queue: &str) -> anyhow::Result<()> {
        self.poll(queue, |found| found == Err(404))
    }

    fn poll(
        &mut self,
        queue: &str,
        is_done: impl Fn(Result<(u64, u64), u16>) -> bool,
    ) -> anyhow::Result<()> {
        let owner = self
            .queues
            .iter()
            .find(|(known, _)| known == queue.as_bytes())
            .map_or(usize::MAX, |(_, owner)| *owner);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.passive_declare(queue.as_bytes(), owner)?;
            if is_done(found) {
                return self.settle();
            }
            ensure!(
                Instant::now() < deadline,
                "queue {queue} stays at {found:?}"
            );
        }
    }

    /// Ends all connections and deletes what the case made.
    pub(super) fn clean_up(&mut self) -> anyhow::Result<()> {
        for index in 0..self.connections.len() {
            if self.connections[index].state == State::Open
                && self.connections[index].name != "control"
            {
                self.send_method(index, 0, "connection.close reply_code=200")?;
                self.wait("the end of a connection", |runner| {
                    runner.connections[index].state == State::Gone
                })?;
            } else if self.connections[index].name != "control" {
                self.connections[index].peer.close();
            }
        }
        let index = self.control()?;
        let queues = self
            .queues
            .iter()
            .map(|(queue, _)| ("queue.delete", "queue", queue.clone()));
        let exchanges = self
            .exchanges
            .iter()
            .map(|exchange| ("exchange.delete", "exchange", exchange.clone()));
        for (method, key, name) in queues.chain(exchanges).collect::<Vec<_>>() {
            if !self.connections[index]
                .channels
                .get(&SYNC_CHANNEL)
                .is_some_and(|channel| channel.is_open)
            {
                self.round_trip(index, "channel.open", &[])?;
            }
            let payload = encode_method(
                by_name(method).context("no such method")?,
                &mut vec![(key.to_owned(), Argument::Text(name))],
            )?;
            let connection = &mut self.connections[index];
            let due = spec::reply_to(method).context("it has a reply")?;
            connection
                .channels
                .entry(SYNC_CHANNEL)
                .or_default()
                .due
                .push_back((due, true));
            connection.peer.send(&frame(METHOD, SYNC_CHANNEL, &payload));
            self.wait("a deletion", |runner| {
                runner.connections[index]
                    .channels
                    .get(&SYNC_CHANNEL)
                    .is_none_or(|channel| channel.due.is_empty())
            })?;
        }
        Ok(())
    }
}

/// Raw bytes: `[type/channel: …]` is a frame; octets in hex and texts may be repeated with `*`.
fn raw_bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut scanner = Scanner::new(text.as_bytes());
    let bytes = raw_items(&mut scanner)?;
    ensure!(scanner.is_at_end(), "a ] too many");
    Ok(bytes)
}

fn raw_items(scanner: &mut Scanner<'_>) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        if scanner.is_at_end() {
            return Ok(out);
        }
        if scanner.take(b'[') {
            let head = std::str::from_utf8(scanner.word(b":"))?;
            let (kind, channel) = head
                .split_once('/')
                .context("a frame is [type/channel: payload]")?;
            ensure!(scanner.take(b':'), "no : after {head}");
            let payload = raw_items(scanner)?;
            ensure!(scanner.take(b']'), "a frame ends with ]");
            out.extend(frame(kind.parse()?, channel.parse()?, &payload));
            continue;
        }
        let mut item = if scanner.take(b'"') {
            scanner.rest_of_string()?
        } else {
            let word = std::str::from_utf8(scanner.word(b"*"))?;
            if word.is_empty() {
                return Ok(out);
            }
            vec![
                u8::from_str_radix(word, 16)
                    .with_context(|| format!("'{word}' is not an octet"))?,
            ]
        };
        if scanner.take(b'*') {
            item = item.repeat(std::str::from_utf8(scanner.word(&[]))?.parse()?);
        }
        out.append(&mut item);
    }
}
