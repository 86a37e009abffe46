//! What the core can be asked for.
//!
//! A frontend turns each protocol request into a [`QueueCommand`] for one queue or a [`MetadataCommand`] for the metadata state
//! machine. Both are plain data: they can cross shards, wait in mailboxes, and (metadata) be written to a log and replayed.
//! Every answer is a [`Reply`] to the channel that asked, in the order in which the queue handled the commands.

use crate::Error;
use crate::auth::{
    Answer, Authenticator, Authority, Credentials, Login, LoginFailure, Question, RenewFailure,
    Secret,
};
use crate::browse::{Operation, OperationReply};
use crate::delay::DelayRequest;
use crate::json::Json;
use crate::limits::{UserLimits, VhostLimits};
use crate::message::SharedMessage;
use crate::messages::Messages;
use crate::metadata::Metadata;
use crate::policy::{Policy, PolicyScope};
use crate::value::Arguments;
use crate::vhost_metadata::{VhostChanges, VhostMetadata};
use base::{ChannelNumber, ConnectionId, ConsumerTagIndex, Name, Position, QueueId, QueueRef};
use smallvec::SmallVec;
use std::sync::Arc;

/// A channel of a connection: where replies and deliveries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    /// The connection.
    pub connection: ConnectionId,
    /// The channel in it.
    pub number: ChannelNumber,
    /// Distinguishes this opening of the channel number from earlier ones, so that late replies are recognised.
    pub epoch: u32,
}

/// A consumer, as its queue knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId {
    /// The channel that consumes.
    pub channel: ChannelId,
    /// The channel's number for the consumer tag.
    pub index: ConsumerTagIndex,
}

/// How a consumer wants its messages (AMQP: basic.consume, basic.qos).
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// The tag, for listings and events; unique on its channel only.
    pub tag: Name,
    /// Messages count as settled once they are sent.
    pub no_ack: bool,
    /// No other consumer may be on the queue.
    pub exclusive: bool,
    /// Unacknowledged messages allowed at once, 0 for no limit. Ignored with `no_ack`.
    pub prefetch_count: u16,
    /// `x-priority`; higher is served first, 0 by default.
    pub priority: i32,
    /// The arguments as given, for listings.
    pub arguments: Arguments,
}

/// The publisher's end of a message that wants a confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmTo {
    /// The publishing channel.
    pub channel: ChannelId,
    /// Its sequence number of the publish, from 1.
    pub sequence: u64,
}

impl ConfirmTo {
    /// The confirm of the channel's next publish.
    #[must_use]
    pub fn next(self) -> Self {
        self.nth(1)
    }

    /// The confirm of the publish that comes `count` later.
    #[must_use]
    pub fn nth(self, count: u64) -> Self {
        Self {
            sequence: self.sequence + count,
            ..self
        }
    }
}

/// What a published message costs of a channel's credit beside its size, in bytes: about what it takes in RAM on its way.
pub const MESSAGE_COST_BYTES: usize = 256;

/// What a channel has published to one queue. Credit is counted in both: bytes keep memory bounded, messages are what
/// consumers settle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The sizes of the messages, and [`MESSAGE_COST_BYTES`] for each.
    pub bytes: u32,
    /// How many there were.
    pub messages: u32,
}

/// What becomes of delivered messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; forget them (ack).
    Ack,
    /// Not done; discard or dead-letter them (nack without requeue).
    Discard,
    /// The same, and the consumer has failed with them (reject without requeue).
    Reject,
    /// Not done; back to their place, marked redelivered (nack, recover).
    Requeue,
    /// The same, and the consumer has failed with them, which a delivery limit counts (reject, or the channel is gone).
    Fail,
    /// Never reached the client (its channel limit was full); back to their place, not marked.
    Return,
}

/// Positions that are settled together.
pub type Positions = SmallVec<[Position; 2]>;

/// A request to one queue. The queue may be on another shard.
#[derive(Clone, Debug)]
pub enum QueueCommand {
    /// Routed messages.
    Publish {
        /// The messages.
        messages: Messages,
        /// Who waits for the confirm of the first, if anybody; the sequence numbers of the others follow.
        confirm: Option<ConfirmTo>,
    },
    /// Ask to get back what the channel spent on the messages that it published to this queue since it last asked. Answered by
    /// one [`Reply::Credit`] a command, as soon as the queue can take more from the channel.
    AskCredit {
        /// Who asks.
        channel: ChannelId,
        /// What it spent.
        spent: Spent,
    },
    /// A message that is to wait; for a delay store instead of a queue, see [`crate::delay`]. Answered as a publish is.
    Delay(Box<DelayRequest>),
    /// A message that was to be tried again later comes back. It enters as if it had never left: marked redelivered, and whatever
    /// the length limits say about new messages.
    Retry {
        /// The message.
        message: SharedMessage,
    },
    /// Start a consumer; answered by [`Reply::ConsumeOk`] before its first delivery, or by [`Reply::Failed`].
    Consume {
        /// The consumer.
        consumer: ConsumerId,
        /// Its settings.
        settings: Box<ConsumerSettings>,
    },
    /// Stop a consumer; its unsettled messages stay with its channel. Answered by [`Reply::CancelOk`], if `reply`.
    Cancel {
        /// The consumer.
        consumer: ConsumerId,
        /// Whether anybody waits for the answer.
        reply: bool,
    },
    /// One message, if there is one; answered by [`Reply::GetOk`] or [`Reply::GetEmpty`].
    Get {
        /// Who asks.
        channel: ChannelId,
        /// Settle it at once.
        no_ack: bool,
    },
    /// Settle delivered messages of a channel. Positions that are not unacked are ignored.
    Settle {
        /// The channel they were delivered to.
        channel: ChannelId,
        /// Which messages; in ascending order.
        positions: Positions,
        /// What becomes of them.
        outcome: Outcome,
    },
    /// A consumer whose deliveries were returned by its channel's limit may get messages again.
    Resume {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Drop all ready messages; answered by [`Reply::Purged`].
    Purge {
        /// Who asks.
        channel: ChannelId,
    },
    /// Ask for the counts of a declare-ok; answered by [`Reply::Status`].
    Status {
        /// Who asks.
        channel: ChannelId,
    },
    /// Ask to hear when everything that the queue has settled so far is on stable storage; answered by one
    /// [`Reply::Barrier`] a command. Requeued messages need no record, so it does not wait for those.
    Barrier {
        /// Who asks.
        channel: ChannelId,
    },
    /// Something that an operator wants, see [`Operation`]; answered by [`Reply::Operated`] or [`Reply::Failed`], if it has an answer.
    Operate {
        /// Who asks.
        channel: ChannelId,
        /// What for.
        operation: Box<Operation>,
    },
    /// Delete the queue if the conditions hold; answered by [`Reply::Deleted`] or [`Reply::Failed`].
    Delete {
        /// Who asks.
        channel: ChannelId,
        /// Only without consumers.
        if_unused: bool,
        /// Only without ready messages.
        if_empty: bool,
    },
}

/// What a channel hears back from queues and from the metadata machine.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Messages for a consumer.
    Deliver {
        /// The channel's number of the consumer.
        consumer: ConsumerTagIndex,
        /// The queue they come from.
        queue: QueueRef,
        /// The place of the first there, those of the others follow; the channel names them when it settles.
        position: Position,
        /// The messages.
        messages: Messages,
        /// Whether they were delivered before.
        redelivered: bool,
    },
    /// Like [`Reply::Deliver`], of a message of a quorum queue that came back before.
    DeliverAgain(Box<Redelivery>),
    /// Answer to [`QueueCommand::Get`].
    GetOk {
        /// The queue it comes from.
        queue: QueueRef,
        /// Its place there.
        position: Position,
        /// The message.
        message: SharedMessage,
        /// Whether it was delivered before.
        redelivered: bool,
        /// Ready messages left.
        ready: u64,
        /// How often it came back before, of a quorum queue.
        attempts: Attempts,
    },
    /// Answer to [`QueueCommand::Operate`].
    Operated(Box<OperationReply>),
    /// The queue has no ready message.
    GetEmpty,
    /// Somebody kept messages longer than the consumer timeout: they are in the queue again, and if it was a consumer, the queue has
    /// forgotten it.
    TimedOut {
        /// The channel's number of the consumer; `None` if they had been fetched with get.
        consumer: Option<ConsumerTagIndex>,
        /// The queue.
        queue: QueueRef,
        /// Their places there, in no particular order.
        positions: Positions,
        /// The timeout in milliseconds.
        timeout_ms: u64,
    },
    /// The publishes `first..=last` of the channel are safe in this queue.
    Confirm {
        /// First sequence number.
        first: u64,
        /// Last sequence number.
        last: u64,
    },
    /// The publishes `first..=last` were refused by this queue (full, or storage failed).
    Nack {
        /// First sequence number.
        first: u64,
        /// Last sequence number.
        last: u64,
    },
    /// Answer to [`QueueCommand::AskCredit`]: the channel may publish that much more to this queue.
    Credit {
        /// The queue.
        queue: QueueId,
        /// What the channel said it spent, in bytes.
        bytes: u32,
    },
    /// The consumer is registered.
    ConsumeOk {
        /// The channel's number of the consumer.
        consumer: ConsumerTagIndex,
    },
    /// The consumer is gone, as asked.
    CancelOk {
        /// The channel's number of the consumer.
        consumer: ConsumerTagIndex,
    },
    /// The queue ended the consumer: it was deleted or became unavailable.
    ConsumerCancelled {
        /// The channel's number of the consumer.
        consumer: ConsumerTagIndex,
    },
    /// Counts for declare-ok.
    Status {
        /// Ready messages.
        ready: u64,
        /// Consumers.
        consumers: u32,
    },
    /// Number of ready messages that were dropped.
    Purged {
        /// How many.
        count: u64,
    },
    /// The queue is gone, durably if it was durable.
    Deleted {
        /// Ready messages that went with it.
        ready: u64,
    },
    /// Answer to [`QueueCommand::Barrier`]: no message that was settled before it comes back, whatever happens, or, if the
    /// log has failed, some may. A queue that is gone has nothing to give back.
    Barrier(Result<(), Box<Error>>),
    /// The queue refused the request, or it no longer exists (then `NotFound`).
    Failed(Box<Error>),
    /// Answer to a metadata command; of durable things it comes after they are on stable storage.
    Metadata(Result<MetadataReply, Box<Error>>),
    /// What somebody outside the metadata said about the user.
    Access(Box<AccessReply>),
    /// A message for a direct reply-to consumer of this channel (RabbitMQ docs: direct-reply-to).
    DirectReply {
        /// The message; its routing key is the full reply-to name.
        message: SharedMessage,
    },
}

/// What somebody outside the metadata is asked about a user.
#[derive(Clone, Debug)]
pub enum AccessRequest {
    /// Who it is. Answered by [`AccessReply::LoggedIn`].
    LogIn {
        /// Who is asked.
        authenticator: Arc<dyn Authenticator>,
        /// What the client said.
        credentials: Credentials,
    },
    /// Whether it may do something. Answered by [`AccessReply::Answered`].
    Ask {
        /// Who is asked.
        authority: Arc<dyn Authority>,
        /// What.
        question: Question,
    },
    /// Whether new credentials are good. Answered by [`AccessReply::Renewed`].
    Renew {
        /// Who is asked.
        authority: Arc<dyn Authority>,
        /// The credentials.
        secret: Secret,
    },
}

/// The answer to an [`AccessRequest`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the request says what they are")]
pub enum AccessReply {
    LoggedIn(Result<Login, LoginFailure>),
    Answered {
        question: Question,
        answer: Answer,
    },
    Renewed(Result<Login, RenewFailure>),
    /// Nobody asked: what was allowed is refused now.
    Changed {
        question: Question,
        answer: Answer,
    },
}

impl AccessRequest {
    /// Finds the answer.
    pub async fn carry_out(self, metadata: Arc<Metadata>) -> AccessReply {
        match self {
            Self::LogIn {
                authenticator,
                credentials,
            } => AccessReply::LoggedIn(authenticator.log_in(metadata, credentials).await),
            Self::Ask {
                authority,
                question,
            } => {
                let answer = authority.ask(metadata, question.clone()).await;
                AccessReply::Answered { question, answer }
            }
            Self::Renew { authority, secret } => {
                AccessReply::Renewed(authority.renew(secret).await)
            }
        }
    }

    /// What to say when nobody finds the answer.
    pub fn give_up(self, reason: &str) -> AccessReply {
        match self {
            Self::LogIn { .. } => AccessReply::LoggedIn(Err(LoginFailure(reason.into()))),
            Self::Ask { question, .. } => AccessReply::Answered {
                question,
                answer: Answer::Refused {
                    note: format!(", {reason}").into(),
                },
            },
            Self::Renew { .. } => AccessReply::Renewed(Err(RenewFailure::Failed(reason.into()))),
        }
    }
}

/// How often a message of a quorum queue came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Times it was handed out and returned.
    pub acquired: u32,
    /// Of these, times a consumer failed with it; also in the queues where it died before.
    pub failed: u32,
}

impl Attempts {
    /// It never came back.
    pub fn is_first(self) -> bool {
        self == Self::default()
    }
}

/// A message that goes out again.
#[derive(Clone, Debug)]
pub struct Redelivery {
    /// The channel's number of the consumer.
    pub consumer: ConsumerTagIndex,
    /// The queue it comes from.
    pub queue: QueueRef,
    /// Its place there; the channel names it when it settles.
    pub position: Position,
    /// The message.
    pub message: SharedMessage,
    /// How often it came back.
    pub attempts: Attempts,
}

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// A queue.
    Queue(Name),
    /// Another exchange (RabbitMQ docs: e2e).
    Exchange(Name),
}

/// One change of the metadata. Commands are deterministic: applying the same ones in the same order gives the same state on
/// every replica. Random names and hashes are chosen before the command is made.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are the AMQP method's or the HTTP API's of the same name"
)]
pub enum MetadataCommand {
    /// Creates the vhost; one that exists stays as it is.
    CreateVhost {
        name: Name,
        metadata: VhostMetadata,
    },
    UpdateVhost {
        name: Name,
        changes: VhostChanges,
    },
    DeleteVhost {
        name: Name,
    },
    /// Creates the exchange or checks that the existing one is equivalent.
    DeclareExchange {
        vhost: Name,
        name: Name,
        exchange_type: Box<str>,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Arguments,
        /// Where the log keeps its history, if it has one and is durable: set in logged commands, `None` in requests.
        history: Option<QueueId>,
    },
    DeleteExchange {
        vhost: Name,
        name: Name,
        if_unused: bool,
    },
    /// Creates a durable internal topic exchange of the node's own, under a name that clients may not declare. Nothing
    /// changes if it exists.
    CreateSystemExchange {
        vhost: Name,
        name: Name,
    },
    /// Creates the queue or checks that the existing one is equivalent.
    DeclareQueue {
        vhost: Name,
        name: Name,
        durable: bool,
        /// The declaring connection, for exclusive queues.
        exclusive_owner: Option<ConnectionId>,
        auto_delete: bool,
        arguments: Arguments,
        /// The user who declares, for listings.
        user: Name,
        /// Preferred shard; the owner is `home % shards`.
        home: u16,
        /// The server chose the name, so `amq.` may start it.
        server_named: bool,
        /// The id the queue has to get: set in logged commands, `None` in requests.
        id: Option<QueueId>,
    },
    /// Deletes this incarnation, whatever it is called.
    DeleteQueue {
        id: QueueId,
    },
    /// Stops or resumes the deliveries of this incarnation.
    SetQueuePaused {
        id: QueueId,
        paused: bool,
    },
    /// All exclusive queues of a connection that ended.
    DeleteExclusiveQueues {
        connection: ConnectionId,
    },
    Bind {
        vhost: Name,
        source: Name,
        destination: Destination,
        routing_key: bytes::Bytes,
        arguments: Arguments,
    },
    Unbind {
        vhost: Name,
        source: Name,
        destination: Destination,
        routing_key: bytes::Bytes,
        arguments: Arguments,
    },
    /// Creates or replaces a user.
    PutUser {
        name: Name,
        password_hash: Option<PasswordHash>,
        tags: Vec<Box<str>>,
    },
    DeleteUser {
        name: Name,
    },
    /// Regular expressions as RabbitMQ's set_permissions takes them.
    SetPermissions {
        vhost: Name,
        user: Name,
        configure: Box<str>,
        write: Box<str>,
        read: Box<str>,
    },
    ClearPermissions {
        vhost: Name,
        user: Name,
    },
    SetTopicPermissions {
        vhost: Name,
        user: Name,
        exchange: Name,
        write: Box<str>,
        read: Box<str>,
    },
    ClearTopicPermissions {
        vhost: Name,
        user: Name,
        exchange: Option<Name>,
    },
    /// Creates or replaces a policy that was read by [`Policy::from_json`].
    PutPolicy {
        vhost: Name,
        scope: PolicyScope,
        policy: Arc<Policy>,
    },
    DeletePolicy {
        vhost: Name,
        scope: PolicyScope,
        name: Name,
    },
    /// Creates or replaces a runtime parameter; its component checks the value.
    PutParameter {
        vhost: Name,
        component: Name,
        name: Name,
        value: Json,
    },
    DeleteParameter {
        vhost: Name,
        component: Name,
        name: Name,
    },
    PutGlobalParameter {
        name: Name,
        value: Json,
    },
    DeleteGlobalParameter {
        name: Name,
    },
    /// Replaces all limits of the vhost.
    SetVhostLimits {
        vhost: Name,
        limits: VhostLimits,
    },
    /// Replaces all limits of the user.
    SetUserLimits {
        user: Name,
        limits: UserLimits,
    },
}

/// A salted password hash in RabbitMQ's form: 4 bytes of salt followed by the digest.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// Which digest.
    pub algorithm: HashAlgorithm,
    /// Salt and digest.
    pub salted: Arc<[u8]>,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordHash({:?}, …)", self.algorithm)
    }
}

/// The digests that RabbitMQ offers (`password_hashing_module`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// `rabbit_password_hashing_sha256`, the default.
    Sha256,
    /// `rabbit_password_hashing_sha512`
    Sha512,
    /// `rabbit_password_hashing_md5`
    Md5,
}

/// What a metadata command did.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataReply {
    /// It holds now, or held already.
    Done,
    /// The queue exists.
    Queue {
        /// Where it is.
        queue: QueueRef,
        /// Whether this command created it.
        created: bool,
    },
}
