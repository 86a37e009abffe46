//! Connections driven with bytes, against real metadata and real queue machines: everything but sockets, threads and disk.
//!
//! [`World`] plays the node. What a client hears is compared as text, one line a frame.

mod authority;
mod barriers;
mod consuming;
mod credit;
mod handshake;
mod limits;
mod methods;
mod observing;
mod publishing;
mod schema;
mod sharding;
mod split;

use crate::{Alarms, Config, Connection, Peer, Request, return_late_reply};
use base::{ConnectionId, Name, Now, Position, QueueId, ShardId};
use broker::Error;
use broker::command::{ChannelId, MetadataCommand, PasswordHash, QueueCommand, Reply};
use broker::effect::{Effect, Effects};
use broker::error::ResourceKind;
use broker::message::SharedMessage;
use broker::metadata::{DefaultUser, Metadata, MetadataEvent, bootstrap_commands};
use broker::queue::{Queue, QueueSettings, RecordSink, Stored, Windows};
use bytes::BytesMut;
use codec_amqp091::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A node without I/O: one shard, a log that is always durable at once, unless it is stopped.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) config: Arc<Config>,
    queues: BTreeMap<QueueId, Queue>,
    connections: BTreeMap<ConnectionId, Client>,
    next_serial: u64,
    /// Replies that wait, while [`Self::hold`] is on.
    held: Vec<(ChannelId, Reply)>,
    holds: bool,
    is_log_stopped: bool,
    pub(crate) is_loopback: bool,
    /// What observers heard.
    pub(crate) events: Vec<broker::event::Event>,
}

struct Client {
    machine: Connection,
    input: BytesMut,
    output: Vec<u8>,
}

struct OpenWindows;

impl Windows for OpenWindows {
    fn take(&mut self, _connection: ConnectionId, _queue: QueueId, _bytes: usize) -> bool {
        true
    }
}

struct NoRecords;

impl RecordSink for NoRecords {
    fn message(&mut self, _: QueueId, _: Position, _: bool, _: Option<u64>, _: &SharedMessage) {}
    fn settled(&mut self, _: QueueId, _: Position, _: Position) {}
    fn delivered_until(&mut self, _: QueueId, _: Position) {}
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_config(Config::default())
    }

    pub(crate) fn with_config(config: Config) -> Self {
        let mut metadata = Metadata::new(1);
        let hash = PasswordHash::new(b"guest", *b"salt");
        let user = DefaultUser::administrator("guest".into(), hash, "/".into());
        for command in bootstrap_commands(user) {
            metadata.apply(&command).unwrap();
        }
        Self {
            now: Now::default(),
            metadata: Arc::new(metadata),
            config: Arc::new(config),
            queues: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_serial: 1,
            held: Vec::new(),
            holds: false,
            is_log_stopped: false,
            is_loopback: true,
            events: Vec::new(),
        }
    }

    /// A connection that has said nothing yet.
    pub(crate) fn accept(&mut self) -> ConnectionId {
        let id = ConnectionId {
            shard: ShardId(0),
            serial: self.next_serial,
        };
        self.next_serial += 1;
        let address: SocketAddr = "127.0.0.1:5672".parse().unwrap();
        let peer = Peer {
            address,
            local: address,
            is_loopback: self.is_loopback,
            tls: None,
        };
        let machine = Connection::new(id, peer, Arc::clone(&self.config), self.now, id.serial);
        self.connections.insert(
            id,
            Client {
                machine,
                input: BytesMut::new(),
                output: Vec::new(),
            },
        );
        id
    }

    /// A connection of a user, with all capabilities, after the handshake; channel 1 is open.
    pub(crate) fn connect_as(&mut self, user: &str) -> ConnectionId {
        let id = self.accept();
        self.log_in(id, user);
        id
    }

    /// The handshake of an accepted connection; channel 1 is open then.
    pub(crate) fn log_in(&mut self, id: ConnectionId, user: &str) {
        self.feed(id, &PROTOCOL_HEADER);
        let response = format!("\0{user}\0{user}");
        self.send(
            id,
            0,
            start_ok(&all_capabilities(), b"PLAIN", response.as_bytes()),
        );
        self.send(
            id,
            0,
            Method::ConnectionTuneOk(connection::TuneOk {
                channel_max: 2047,
                frame_max: 131_072,
                heartbeat: 0,
            }),
        );
        self.send(
            id,
            0,
            Method::ConnectionOpen(connection::Open {
                virtual_host: b"/",
                ..Default::default()
            }),
        );
        self.send(id, 1, Method::ChannelOpen(channel::Open::default()));
        let heard = self.hear(id);
        assert_eq!(
            heard.last().map(String::as_str),
            Some("1 channel.open-ok"),
            "{heard:?}"
        );
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        self.connect_as("guest")
    }

    pub(crate) fn add_user(&mut self, name: &str, [configure, write, read]: [&str; 3]) {
        let hash = PasswordHash::new(name.as_bytes(), *b"salt");
        self.apply(MetadataCommand::PutUser {
            name: name.into(),
            password_hash: Some(hash),
            tags: vec![],
        });
        self.apply(MetadataCommand::SetPermissions {
            vhost: "/".into(),
            user: name.into(),
            configure: configure.into(),
            write: write.into(),
            read: read.into(),
        });
    }

    pub(crate) fn apply(&mut self, command: MetadataCommand) {
        self.change(&command).unwrap();
    }

    pub(crate) fn machine(&mut self, id: ConnectionId) -> &mut Connection {
        &mut self.connections.get_mut(&id).unwrap().machine
    }

    /// Keeps replies back until [`Self::release`].
    pub(crate) fn hold(&mut self) {
        self.holds = true;
    }

    pub(crate) fn release(&mut self) {
        self.holds = false;
        for (to, reply) in std::mem::take(&mut self.held) {
            self.reply(to, reply);
        }
        self.run();
    }

    /// Nothing becomes durable until [`Self::start_log`].
    pub(crate) fn stop_log(&mut self) {
        self.is_log_stopped = true;
    }

    pub(crate) fn start_log(&mut self) {
        self.is_log_stopped = false;
        self.make_durable();
        self.run();
    }

    /// The log is lost for good.
    pub(crate) fn fail_log(&mut self) {
        let mut effects = Effects::new();
        for queue in self.queues.values_mut() {
            queue.handle_storage_failed(&mut effects);
        }
        self.execute(effects);
        self.run();
    }

    pub(crate) fn send(&mut self, id: ConnectionId, channel: u16, method: Method<'_>) {
        let mut bytes = Vec::new();
        method.encode(channel, &mut bytes);
        self.feed(id, &bytes);
    }

    /// Sends a method and gives what is heard then.
    pub(crate) fn ask(
        &mut self,
        id: ConnectionId,
        channel: u16,
        method: Method<'_>,
    ) -> Vec<String> {
        self.send(id, channel, method);
        self.hear(id)
    }

    pub(crate) fn feed(&mut self, id: ConnectionId, bytes: &[u8]) {
        let (now, metadata) = (self.now, Arc::clone(&self.metadata));
        let client = self.connections.get_mut(&id).unwrap();
        client.input.extend_from_slice(bytes);
        client
            .machine
            .handle_input(now, &metadata, &mut client.input);
        self.run();
    }

    pub(crate) fn alarms(&mut self, memory: bool, disk: bool) {
        let (now, metadata) = (self.now, Arc::clone(&self.metadata));
        for client in self.connections.values_mut() {
            client
                .machine
                .handle_alarms(now, &metadata, Alarms { memory, disk });
        }
        self.run();
    }

    pub(crate) fn credit(&mut self, open: bool) {
        let (now, metadata) = (self.now, Arc::clone(&self.metadata));
        for client in self.connections.values_mut() {
            client.machine.handle_publish_credit(now, &metadata, open);
        }
        self.run();
    }

    pub(crate) fn eof(&mut self, id: ConnectionId) {
        let now = self.now;
        self.machine(id).handle_eof(now);
        self.run();
    }

    /// Lets time pass; every deadline on the way is met.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now.monotonic + duration;
        loop {
            let due = self
                .connections
                .values()
                .filter_map(|client| client.machine.poll_deadline())
                .min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.now.monotonic = self.now.monotonic.max(due);
            let (now, metadata) = (self.now, Arc::clone(&self.metadata));
            for client in self.connections.values_mut() {
                client.machine.handle_timeout(now, &metadata);
            }
            self.run();
        }
        self.now.monotonic = end;
    }

    /// All bytes the client got since the last time.
    pub(crate) fn bytes(&mut self, id: ConnectionId) -> Vec<u8> {
        std::mem::take(&mut self.connections.get_mut(&id).unwrap().output)
    }

    /// All frames the client got since the last time, and `eof` if the socket is closed.
    pub(crate) fn hear(&mut self, id: ConnectionId) -> Vec<String> {
        let bytes = self.bytes(id);
        let mut lines = describe_frames(&bytes);
        if self.machine(id).is_finished() {
            lines.push("eof".to_owned());
        }
        lines
    }

    fn run(&mut self) {
        loop {
            let mut requests = Vec::new();
            for (id, client) in &mut self.connections {
                client.machine.check_invariants();
                requests.extend(
                    std::iter::from_fn(|| client.machine.poll_request())
                        .map(|request| (*id, request)),
                );
            }
            if requests.is_empty() {
                break;
            }
            for (_, request) in requests {
                self.perform(request);
            }
            self.make_durable();
        }
        for client in self.connections.values_mut() {
            drain(&mut client.machine, &mut client.output);
        }
    }

    fn perform(&mut self, request: Request) {
        match request {
            Request::Queue { queue, command } => match self.queues.get_mut(&queue.id) {
                Some(machine) => {
                    let mut effects = Effects::new();
                    machine.apply(self.now, command, &mut OpenWindows, &mut effects);
                    machine.flush(self.now, &mut effects);
                    self.execute(effects);
                }
                None => self.answer_for_gone(queue.id, command),
            },
            Request::Metadata { channel, command } => {
                let reply = self.change(&command);
                self.reply(channel, Reply::Metadata(reply.map_err(Box::new)));
            }
            Request::DirectReply { to, message } => self.reply(to, Reply::DirectReply { message }),
            Request::Access { channel, request } => {
                let answer = request.carry_out(Arc::clone(&self.metadata));
                let answer = std::pin::pin!(answer);
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                // Authorities of tests know at once.
                let std::task::Poll::Ready(answer) = answer.poll(&mut context) else {
                    panic!("an authority of a test waits");
                };
                self.reply(channel, Reply::Access(Box::new(answer)));
            }
            Request::Event(event) => self.events.push(*event),
        }
    }

    fn answer_for_gone(&mut self, queue: QueueId, command: QueueCommand) {
        let unknown = || Error::NotFound {
            kind: ResourceKind::Queue,
            name: Name::default(),
            vhost: Name::default(),
        };
        match command {
            QueueCommand::Publish {
                confirm: Some(confirm),
                messages,
            } => {
                let first = confirm.sequence;
                let last = confirm.nth(messages.len() as u64 - 1).sequence;
                self.reply(confirm.channel, Reply::Confirm { first, last });
            }
            QueueCommand::Consume { consumer, .. }
            | QueueCommand::Cancel {
                consumer,
                reply: true,
            } => {
                self.reply(consumer.channel, Reply::Failed(unknown().into()));
            }
            QueueCommand::Get { channel, .. }
            | QueueCommand::Purge { channel }
            | QueueCommand::Status { channel }
            | QueueCommand::Delete { channel, .. } => {
                self.reply(channel, Reply::Failed(unknown().into()))
            }
            QueueCommand::Barrier { channel } => self.reply(channel, Reply::Barrier(Ok(()))),
            QueueCommand::AskCredit { channel, spent } => {
                let bytes = spent.bytes;
                self.reply(channel, Reply::Credit { queue, bytes });
            }
            QueueCommand::Publish { confirm: None, .. }
            | QueueCommand::Operate { .. }
            | QueueCommand::Delay(_)
            | QueueCommand::Retry { .. }
            | QueueCommand::Cancel { reply: false, .. }
            | QueueCommand::Settle { .. }
            | QueueCommand::Resume { .. } => {}
        }
    }

    fn execute(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Reply { to, reply } => self.reply(to, reply),
                Effect::Delete { queue, reply } => {
                    self.change(&MetadataCommand::DeleteQueue { id: queue })
                        .unwrap();
                    if let Some((to, ready)) = reply {
                        self.reply(to, Reply::Deleted { ready });
                    }
                }
                Effect::RecordsWaiting { .. }
                | Effect::Load { .. }
                | Effect::LookUp { .. }
                | Effect::Acknowledged { .. }
                | Effect::Wake { .. }
                | Effect::Retry { .. }
                | Effect::DeadLetter { .. } => {}
            }
        }
    }

    fn make_durable(&mut self) {
        if self.is_log_stopped {
            return;
        }
        let mut effects = Effects::new();
        for queue in self.queues.values_mut() {
            queue.collect_records(1, &mut NoRecords);
            queue.handle_durable(self.now, 1, &mut OpenWindows, &mut effects);
            queue.flush(self.now, &mut effects);
        }
        self.execute(effects);
    }

    fn change(
        &mut self,
        command: &MetadataCommand,
    ) -> Result<broker::command::MetadataReply, Error> {
        let applied = Arc::make_mut(&mut self.metadata).apply(command)?;
        for event in applied.events {
            if let MetadataEvent::QueueCreated { record } = &event {
                let settings = QueueSettings {
                    queue: record.queue,
                    vhost: record.vhost.clone(),
                    name: record.name.clone(),
                    durable: record.durable,
                    auto_delete: record.auto_delete,
                    arguments: record.settings.clone(),
                };
                self.queues
                    .insert(record.id(), Queue::new(settings, Stored::default()));
            }
            if let MetadataEvent::QueueDeleted { record } = &event
                && let Some(mut queue) = self.queues.remove(&record.id())
            {
                let mut effects = Effects::new();
                queue.handle_deleted(&mut effects);
                self.execute(effects);
            }
        }
        Ok(applied.reply)
    }

    fn reply(&mut self, to: ChannelId, reply: Reply) {
        if self.holds {
            self.held.push((to, reply));
            return;
        }
        let (now, metadata) = (self.now, Arc::clone(&self.metadata));
        match self.connections.get_mut(&to.connection) {
            Some(client) => {
                let Client { machine, input, .. } = client;
                let is_access = matches!(reply, Reply::Access(_));
                machine.handle_reply(now, &metadata, to, reply);
                // What waited for the answer is offered again.
                if is_access && machine.wants_input() && machine.holds_input() {
                    machine.handle_input(now, &metadata, input);
                }
            }
            None => {
                if let Some(request) = return_late_reply(to, &reply) {
                    self.perform(request);
                }
            }
        }
    }
}

fn drain(machine: &mut Connection, output: &mut Vec<u8>) {
    let out = machine.output();
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); 4];
        let used = out.io_slices(&mut slices);
        let written: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        out.advance(written.len());
        output.extend(written);
    }
}

pub(crate) fn all_capabilities() -> Vec<u8> {
    let mut bytes = Vec::new();
    TableWriter::new(&mut bytes).table(b"capabilities", |capabilities| {
        for name in [
            "authentication_failure_close",
            "connection.blocked",
            "consumer_cancel_notify",
        ] {
            capabilities.field(name.as_bytes(), &Value::Bool(true));
        }
    });
    bytes
}

pub(crate) fn start_ok<'a>(
    properties: &'a [u8],
    mechanism: &'a [u8],
    response: &'a [u8],
) -> Method<'a> {
    Method::ConnectionStartOk(connection::StartOk {
        client_properties: Table::new(properties),
        mechanism,
        response,
        locale: b"en_US",
    })
}

/// Frames of a message.
pub(crate) fn message(
    channel: u16,
    publish: basic::Publish<'_>,
    properties: &BasicProperties<'_>,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    publish.encode(channel, &mut bytes);
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    encode_header_frame(&mut bytes, channel, body.len() as u64, &encoded);
    encode_body_frames(&mut bytes, channel, body, 131_072);
    bytes
}

pub(crate) fn publish<'a>(exchange: &'a str, routing_key: &'a str) -> basic::Publish<'a> {
    basic::Publish {
        exchange: exchange.as_bytes(),
        routing_key: routing_key.as_bytes(),
        ..Default::default()
    }
}

pub(crate) fn declare(queue: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: queue.as_bytes(),
        ..Default::default()
    }
}

pub(crate) fn consume<'a>(queue: &'a str, tag: &'a str) -> basic::Consume<'a> {
    basic::Consume {
        queue: queue.as_bytes(),
        consumer_tag: tag.as_bytes(),
        ..Default::default()
    }
}

/// Output frames as text.
pub(crate) fn describe_frames(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = bytes;
    while let Some((frame, size)) = decode_frame(rest, 0).expect("what we send is well formed") {
        rest = &rest[size..];
        match frame.kind {
            FrameKind::Method => {
                let method = Method::decode(frame.payload).expect("what we send is well formed");
                lines.push(format!(
                    "{} {}{}",
                    frame.channel,
                    method.name(),
                    arguments(&method)
                ));
            }
            // A header and its body belong to the line of their method.
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).unwrap();
                BasicProperties::decode(header.properties).unwrap();
                let line = lines.last_mut().unwrap();
                let _ = write!(line, " [{}]", header.body_size);
            }
            FrameKind::Body => {
                let line = lines.last_mut().unwrap();
                if frame.payload.len() < 32 {
                    let _ = write!(line, " {}", text(frame.payload));
                }
            }
            FrameKind::Heartbeat => lines.push(format!("{} heartbeat", frame.channel)),
        }
    }
    assert!(rest.is_empty(), "an incomplete frame was sent");
    lines
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other methods have no arguments worth a line"
)]
fn arguments(method: &Method<'_>) -> String {
    let close = |code: u16, reply: &[u8], class: u16, method: u16| {
        format!(" {code} {} ({class},{method})", text(reply))
    };
    match method {
        Method::ConnectionClose(close_) => close(
            close_.reply_code,
            close_.reply_text,
            close_.class_id,
            close_.method_id,
        ),
        Method::ChannelClose(close_) => close(
            close_.reply_code,
            close_.reply_text,
            close_.class_id,
            close_.method_id,
        ),
        Method::ConnectionBlocked(blocked) => format!(" {}", text(blocked.reason)),
        Method::ConnectionStart(start) => format!(" {}", text(start.mechanisms)),
        Method::ConnectionTune(tune) => format!(
            " {} {} {}",
            tune.channel_max, tune.frame_max, tune.heartbeat
        ),
        Method::QueueDeclareOk(ok) => format!(
            " {} {} {}",
            text(ok.queue),
            ok.message_count,
            ok.consumer_count
        ),
        Method::QueueDeleteOk(ok) => format!(" {}", ok.message_count),
        Method::QueuePurgeOk(ok) => format!(" {}", ok.message_count),
        Method::BasicConsumeOk(ok) => format!(" {}", text(ok.consumer_tag)),
        Method::BasicCancelOk(ok) => format!(" {}", text(ok.consumer_tag)),
        Method::BasicCancel(cancel) => format!(" {}", text(cancel.consumer_tag)),
        Method::BasicDeliver(deliver) => format!(
            " {} #{}{} '{}' '{}'",
            text(deliver.consumer_tag),
            deliver.delivery_tag,
            if deliver.redelivered { " again" } else { "" },
            text(deliver.exchange),
            text(deliver.routing_key)
        ),
        Method::BasicGetOk(ok) => format!(
            " #{}{} '{}' '{}' {} left",
            ok.delivery_tag,
            if ok.redelivered { " again" } else { "" },
            text(ok.exchange),
            text(ok.routing_key),
            ok.message_count
        ),
        Method::BasicReturn(returned) => format!(
            " {} {} '{}' '{}'",
            returned.reply_code,
            text(returned.reply_text),
            text(returned.exchange),
            text(returned.routing_key)
        ),
        Method::BasicAck(ack) => format!(
            " {}{}",
            ack.delivery_tag,
            if ack.multiple { " multiple" } else { "" }
        ),
        Method::BasicNack(nack) => format!(" {}", nack.delivery_tag),
        Method::AccessRequestOk(ok) => format!(" {}", ok.ticket),
        Method::ChannelFlowOk(ok) => format!(" {}", ok.active),
        _ => String::new(),
    }
}
