//! Every way in which a connection or channel ends against the client's will, in RabbitMQ's words.
//!
//! This is the only place that chooses reply codes, scopes and texts. The texts are interface: clients and operators match
//! them, and tests pin them. Spec: AMQP 0-9-1 §1.2; RabbitMQ docs: channels#error-handling.

use broker::Error;
use broker::auth::Question;
use codec_amqp091::{DecodeError, ErlangBinary, FrameError, reply_code};
use std::fmt;
use std::time::Duration;

/// A reply text is a short string.
const REPLY_TEXT_SIZE_MAX: usize = 255;
const ELLIPSIS: &str = "...";

/// How far an exception reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// channel.close; the connection goes on.
    Channel,
    /// connection.close; frames are still read until close-ok.
    Connection,
    /// connection.close, but what the client sends can no longer be read: the socket is closed after a delay.
    Input,
    /// The socket is closed at once without a word. RabbitMQ does that where its decoder fails.
    Socket,
}

/// Why a channel or connection is closed: the arguments of channel.close or connection.close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// How far it reaches.
    pub scope: Scope,
    /// The reply code.
    pub reply_code: u16,
    /// `CODE_NAME - text`, at most 255 bytes.
    pub reply_text: String,
    /// Class of the method that caused it, 0 if none did.
    pub class_id: u16,
    /// The method that caused it, 0 if none did.
    pub method_id: u16,
    /// No method is named as the cause, even if there is one.
    is_anonymous: bool,
    /// It is none yet: this has to be asked first, and then the same tried again.
    pub(crate) question: Option<Box<Question>>,
}

impl Exception {
    fn new(scope: Scope, reply_code: u16, text: &dyn fmt::Display) -> Self {
        let reply_text = format!("{} - {text}", reply_code::name(reply_code));
        Self::with_reply_text(scope, reply_code, reply_text)
    }

    fn with_reply_text(scope: Scope, reply_code: u16, mut reply_text: String) -> Self {
        if reply_text.len() > REPLY_TEXT_SIZE_MAX {
            let end = reply_text.floor_char_boundary(REPLY_TEXT_SIZE_MAX - ELLIPSIS.len());
            reply_text.truncate(end);
            reply_text.push_str(ELLIPSIS);
        }
        Self {
            scope,
            reply_code,
            reply_text,
            class_id: 0,
            method_id: 0,
            is_anonymous: false,
            question: None,
        }
    }

    fn anonymous(self) -> Self {
        Self {
            is_anonymous: true,
            ..self
        }
    }

    /// The same, caused by this method, unless it is one that names none.
    #[must_use]
    pub(crate) fn caused_by(self, (class_id, method_id): (u16, u16)) -> Self {
        if self.is_anonymous {
            return self;
        }
        Self {
            class_id,
            method_id,
            ..self
        }
    }

    /// An operator's or the node's reason to close the connection.
    pub(crate) fn forced(reason: &str) -> Self {
        Self::new(Scope::Connection, reply_code::CONNECTION_FORCED, &reason)
    }
}

impl From<Error> for Exception {
    fn from(error: Error) -> Self {
        let (scope, code) = match &error {
            Error::Unanswered(question) => {
                let question = Some(question.clone());
                let text = reply_code::name(reply_code::ACCESS_REFUSED).to_owned();
                return Self {
                    question,
                    ..Self::with_reply_text(Scope::Channel, reply_code::ACCESS_REFUSED, text)
                };
            }
            Error::NotFound { .. } => (Scope::Channel, reply_code::NOT_FOUND),
            Error::VhostNotFound { .. }
            | Error::VhostAccessRefused { .. }
            | Error::VhostProtected { .. }
            | Error::LimitReached(_) => (Scope::Connection, reply_code::NOT_ALLOWED),
            Error::InequivalentArgument { .. }
            | Error::InUse { .. }
            | Error::NotEmpty { .. }
            | Error::Precondition(_) => (Scope::Channel, reply_code::PRECONDITION_FAILED),
            Error::ExclusiveToOther { .. } => (Scope::Channel, reply_code::RESOURCE_LOCKED),
            Error::ReservedName { .. }
            | Error::DefaultExchange
            | Error::SystemExchange { .. }
            | Error::InternalExchange { .. }
            | Error::ExclusiveUse { .. }
            | Error::AccessRefused { .. }
            | Error::TopicAccessRefused { .. } => (Scope::Channel, reply_code::ACCESS_REFUSED),
            Error::NotImplemented(_) => (Scope::Connection, reply_code::NOT_IMPLEMENTED),
            Error::Storage(_)
            | Error::Deprecated(_)
            | Error::UserNotFound { .. }
            | Error::ParameterNotFound
            | Error::Invalid(_) => (Scope::Connection, reply_code::INTERNAL_ERROR),
        };
        Self::new(scope, code, &error)
    }
}

impl From<FrameError> for Exception {
    fn from(error: FrameError) -> Self {
        Self::new(Scope::Input, reply_code::FRAME_ERROR, &error)
    }
}

impl From<DecodeError> for Exception {
    fn from(error: DecodeError) -> Self {
        let (scope, code) = match &error {
            DecodeError::Truncated { .. } | DecodeError::Trailing { .. } => {
                (Scope::Connection, reply_code::FRAME_ERROR)
            }
            // RabbitMQ has no limit here and no words for it.
            DecodeError::NestingTooDeep | DecodeError::TooManyFields => {
                (Scope::Connection, reply_code::SYNTAX_ERROR)
            }
            DecodeError::UnknownMethod { .. }
            | DecodeError::UnknownPropertyFlags { .. }
            | DecodeError::UnknownFieldType { .. }
            | DecodeError::TableTruncated => (Scope::Socket, reply_code::FRAME_ERROR),
        };
        Self::new(scope, code, &error)
    }
}

impl Exception {
    /// The properties of a message cannot be read.
    pub(crate) fn from_properties(error: DecodeError) -> Self {
        match error {
            DecodeError::NestingTooDeep | DecodeError::TooManyFields => error.into(),
            DecodeError::Truncated { .. }
            | DecodeError::Trailing { .. }
            | DecodeError::UnknownMethod { .. }
            | DecodeError::UnknownPropertyFlags { .. }
            | DecodeError::UnknownFieldType { .. }
            | DecodeError::TableTruncated => Violation::MalformedProperties.into(),
        }
    }
}

/// A rule of the protocol, or of this broker's use of it, that a client broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation<'a> {
    /// A method on channel 0 that does not belong there; the state as RabbitMQ calls it.
    MethodInState(&'static str),
    /// A heartbeat on a channel; the text describes the frame.
    Unexpected(codec_amqp091::error::FrameDescription),
    /// Content without a method.
    ExpectedMethod,
    /// A method or body frame in the place of a content header.
    ExpectedHeader,
    /// The header of another class.
    HeaderOfClass(u16),
    /// Another frame in the place of a body frame.
    ExpectedBody,
    /// More announced than any message may have.
    BodySize(u64),
    BodyTooLong,
    /// More than [`EMPTY_BODY_FRAMES_MAX`](crate::content) body frames without a byte for one message.
    EmptyBodyFrames,
    MalformedName,
    /// Compat: RabbitMQ fails without a text here.
    MalformedProperties,
    UnimplementedMethod,
    ExpectedChannelOpen,
    SecondChannelOpen,
    ChannelMax(u16),
    LoginRefused(&'a str),
    SecretRefused,
    SecretUpdateFailed,
    NoPreviousQueue,
    Immediate,
    MessageTooLarge {
        size: u64,
        max: u64,
    },
    Expiration {
        value: &'a [u8],
        problem: ExpirationProblem<'a>,
    },
    UserId {
        given: &'a [u8],
        user: &'a str,
    },
    HeaderType {
        header: &'static str,
        type_name: &'static str,
    },
    TooManyKeys(usize),
    TxAfterConfirm,
    ConfirmAfterTx,
    NotTransactional,
    PartialCompletion,
    TxTooLarge {
        limit: usize,
    },
    TooManyUncommitted(usize),
    DuplicateConsumerTag(&'a str),
    ConsumersPerChannel(usize),
    ConsumerArgumentValue {
        argument: &'a str,
        queue: &'a str,
        vhost: &'a str,
        problem: String,
    },
    ConsumerArgument {
        argument: &'a str,
        queue: &'a str,
        vhost: &'a str,
        queue_type: &'static str,
    },
    ConsumerTimeout {
        channel: u16,
        timeout_ms: u64,
    },
    GetWithSingleActiveConsumer {
        queue: &'a str,
        vhost: &'a str,
    },
    DeleteQuorumQueueIf {
        queue: &'a str,
        vhost: &'a str,
        condition: &'static str,
    },
    UnknownDeliveryTag(u64),
    RecoverWithoutRequeue,
    PrefetchSize(u32),
    FlowInactive,
    ReplyConsumerAcks,
    ReplyConsumerSet,
    NoReplyConsumer,
    BindReplyQueue,
    /// What the name of a sharded exchange stands for is no queue that a client could do this to.
    Sharded {
        verb: &'static str,
        exchange: &'a [u8],
    },
    /// A sharded exchange has no queue.
    NoShard(&'a [u8]),
    /// Our own mistake, seen and survived.
    Internal(&'static str),
}

/// What is wrong with the expiration property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExpirationProblem<'a> {
    NoInteger,
    Leftover(&'a [u8]),
    Negative,
    TooLarge,
}

impl From<Violation<'_>> for Exception {
    #[expect(clippy::too_many_lines, reason = "one flat table of texts")]
    fn from(violation: Violation<'_>) -> Self {
        use Scope::{Channel, Connection};
        use reply_code as code;
        let refuse = |scope, code, text: &dyn fmt::Display| Self::new(scope, code, text);
        let precondition =
            |text: &dyn fmt::Display| refuse(Channel, code::PRECONDITION_FAILED, text);
        match violation {
            Violation::MethodInState(state) => refuse(
                Connection,
                code::CHANNEL_ERROR,
                &format_args!("unexpected method in connection state {state}"),
            ),
            Violation::Unexpected(frame) => refuse(Connection, code::UNEXPECTED_FRAME, &frame),
            Violation::ExpectedMethod => refuse(
                Connection,
                code::UNEXPECTED_FRAME,
                &"expected method frame, got non method frame instead",
            ),
            Violation::ExpectedHeader => refuse(
                Connection,
                code::UNEXPECTED_FRAME,
                &"expected content header for class 60, got non content header frame instead",
            ),
            Violation::HeaderOfClass(class) => refuse(
                Connection,
                code::UNEXPECTED_FRAME,
                &format_args!(
                    "expected content header for class 60, got one for class {class} instead"
                ),
            ),
            Violation::ExpectedBody => refuse(
                Connection,
                code::UNEXPECTED_FRAME,
                &"expected content body, got non content body frame instead",
            ),
            Violation::BodySize(size) => {
                let max = crate::config::MESSAGE_SIZE_HARD_MAX;
                let text =
                    format_args!("content body size {size} exceeds maximum allowed size {max}");
                refuse(Connection, code::FRAME_ERROR, &text)
            }
            Violation::BodyTooLong => refuse(
                Connection,
                code::FRAME_ERROR,
                &"content body frame exceeds remaining content size",
            ),
            Violation::EmptyBodyFrames => refuse(
                Connection,
                code::FRAME_ERROR,
                &"too many empty content body frames",
            ),
            Violation::MalformedName => refuse(
                Connection,
                code::FRAME_ERROR,
                &"Malformed UTF-8 in shortstr",
            )
            .anonymous(),
            Violation::MalformedProperties => {
                let text = code::name(code::INTERNAL_ERROR).to_owned();
                Self::with_reply_text(Connection, code::INTERNAL_ERROR, text).anonymous()
            }
            Violation::UnimplementedMethod => {
                refuse(Connection, code::COMMAND_INVALID, &"unimplemented method")
            }
            Violation::ExpectedChannelOpen => {
                refuse(Connection, code::CHANNEL_ERROR, &"expected 'channel.open'")
            }
            Violation::SecondChannelOpen => refuse(
                Connection,
                code::CHANNEL_ERROR,
                &"second 'channel.open' seen",
            ),
            Violation::ChannelMax(max) => refuse(
                Connection,
                code::NOT_ALLOWED,
                &format_args!(
                    "number of channels opened ({max}) has reached the negotiated channel_max ({max})"
                ),
            ),
            Violation::LoginRefused(mechanism) => refuse(
                Connection,
                code::ACCESS_REFUSED,
                &format_args!(
                    "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
                ),
            ),
            Violation::SecretRefused => refuse(
                Connection,
                code::NOT_ALLOWED,
                &"New secret was refused by one of the backends",
            ),
            Violation::SecretUpdateFailed => {
                refuse(Connection, code::NOT_ALLOWED, &"Secret update failed")
            }
            Violation::NoPreviousQueue => {
                refuse(Channel, code::NOT_FOUND, &"no previously declared queue")
            }
            Violation::Immediate => refuse(Connection, code::NOT_IMPLEMENTED, &"immediate=true"),
            Violation::MessageTooLarge { size, max }
                if max >= crate::config::MESSAGE_SIZE_HARD_MAX =>
            {
                precondition(&format_args!(
                    "message size {size} is larger than max size {max}"
                ))
            }
            Violation::MessageTooLarge { size, max } => precondition(&format_args!(
                "message size {size} is larger than configured max size {max}"
            )),
            Violation::Expiration { value, problem } => precondition(&format_args!(
                "invalid expiration '{}': {}",
                String::from_utf8_lossy(value),
                problem.text(value)
            )),
            Violation::UserId { given, user } => precondition(&format_args!(
                "user_id property set to '{}' but authenticated user was '{user}'",
                String::from_utf8_lossy(given)
            )),
            Violation::HeaderType { header, type_name } => precondition(&format_args!(
                "invalid message: {{unacceptable_type_in_header,\"{header}\",{type_name}}}"
            )),
            Violation::TooManyKeys(max) => precondition(&format_args!(
                "message has more than {max} CC or BCC routing keys"
            )),
            Violation::TxAfterConfirm => precondition(&"cannot switch from confirm to tx mode"),
            Violation::ConfirmAfterTx => precondition(&"cannot switch from tx to confirm mode"),
            Violation::NotTransactional => precondition(&"channel is not transactional"),
            Violation::PartialCompletion => precondition(&"partial tx completion"),
            Violation::TooManyUncommitted(max) => precondition(&format_args!(
                "transaction has reached the maximum of {max} uncommitted publishes"
            )),
            Violation::TxTooLarge { limit } => {
                precondition(&format_args!("transaction is larger than {limit} bytes"))
            }
            Violation::DuplicateConsumerTag(tag) => refuse(
                Connection,
                code::NOT_ALLOWED,
                &format_args!("attempt to reuse consumer tag '{tag}'"),
            ),
            Violation::ConsumersPerChannel(max) => refuse(
                Connection,
                code::NOT_ALLOWED,
                &format_args!("reached maximum ({max}) of consumers per channel"),
            ),
            Violation::ConsumerArgumentValue {
                argument,
                queue,
                vhost,
                problem,
            } => precondition(&format_args!(
                "invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}': {problem}"
            )),
            Violation::ConsumerArgument {
                argument,
                queue,
                vhost,
                queue_type,
            } => precondition(&format_args!(
                "invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}' of queue type {queue_type}"
            )),
            Violation::ConsumerTimeout {
                channel,
                timeout_ms,
            } => precondition(&format_args!(
                "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} ms. This timeout value can be configured, see consumers doc guide to learn more"
            )),
            Violation::GetWithSingleActiveConsumer { queue, vhost } => refuse(
                Channel,
                code::RESOURCE_LOCKED,
                &format_args!(
                    "cannot obtain access to locked queue '{queue}' in vhost '{vhost}'. basic.get operations are not supported by <<\"quorum\">> queues with single active consumer"
                ),
            ),
            Violation::DeleteQuorumQueueIf {
                queue,
                vhost,
                condition,
            } => refuse(
                Connection,
                code::NOT_IMPLEMENTED,
                &format_args!(
                    "cannot delete queue '{queue}' in vhost '{vhost}'. queue.delete operations with {condition} flag set are not supported by quorum queues"
                ),
            ),
            Violation::UnknownDeliveryTag(tag) => {
                precondition(&format_args!("unknown delivery tag {tag}"))
            }
            Violation::RecoverWithoutRequeue => {
                refuse(Connection, code::NOT_IMPLEMENTED, &"requeue=false")
            }
            Violation::PrefetchSize(size) => refuse(
                Connection,
                code::NOT_IMPLEMENTED,
                &format_args!("prefetch_size!=0 ({size})"),
            ),
            Violation::FlowInactive => refuse(Connection, code::NOT_IMPLEMENTED, &"active=false"),
            Violation::ReplyConsumerAcks => precondition(&"reply consumer cannot acknowledge"),
            Violation::ReplyConsumerSet => precondition(&"reply consumer already set"),
            Violation::NoReplyConsumer => precondition(&"fast reply consumer does not exist"),
            Violation::BindReplyQueue => refuse(
                Channel,
                code::ACCESS_REFUSED,
                &"cannot bind or unbind to a volatile (direct reply-to) queue",
            ),
            Violation::Sharded { verb, exchange } => precondition(&format_args!(
                "Can't {verb} sharded queue: {}",
                ErlangBinary(exchange)
            )),
            Violation::NoShard(exchange) => precondition(&format_args!(
                "Error finding sharded queue for: {}",
                ErlangBinary(exchange)
            )),
            Violation::Internal(what) => refuse(Connection, code::INTERNAL_ERROR, &what),
        }
    }
}

impl ExpirationProblem<'_> {
    fn text(&self, value: &[u8]) -> String {
        match self {
            Self::NoInteger => "no_integer".to_owned(),
            Self::Leftover(rest) => {
                format!("{{leftover_string,\"{}\"}}", String::from_utf8_lossy(rest))
            }
            Self::Negative => format!("{{value_negative,{}}}", canonical_integer(value)),
            Self::TooLarge => format!("{{value_too_large,{}}}", canonical_integer(value)),
        }
    }
}

/// Digits as Erlang prints the integer they stand for: no plus sign, no leading zeros.
fn canonical_integer(digits: &[u8]) -> String {
    let text = String::from_utf8_lossy(digits);
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    format!("{sign}{}", magnitude.trim_start_matches('0'))
}

/// Why a handshake fails without a connection.close: the reason goes to the log only and the socket is closed after
/// [`SILENT_CLOSE_DELAY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Mechanism(String),
    MalformedResponse,
    /// Wrong credentials; the client did not ask to be told.
    Login,
    UnexpectedFrame,
    FrameMaxTooLarge {
        negotiated: u32,
        offered: u32,
    },
    FrameMaxTooSmall {
        negotiated: u32,
        min: u32,
    },
    ChannelMaxTooLarge {
        negotiated: u16,
        offered: u16,
    },
    NoFrameLimit,
    NoChannelLimit,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mechanism(name) => write!(f, "unknown authentication mechanism '{name}'"),
            Self::MalformedResponse => f.write_str("malformed authentication response"),
            Self::Login => f.write_str("login refused"),
            Self::UnexpectedFrame => f.write_str("unexpected frame during the handshake"),
            Self::FrameMaxTooLarge {
                negotiated,
                offered,
            } => {
                write!(
                    f,
                    "negotiated frame_max = {negotiated} is higher than the maximum allowed value ({offered})"
                )
            }
            Self::FrameMaxTooSmall { negotiated, min } => {
                write!(
                    f,
                    "negotiated frame_max = {negotiated} is lower than the minimum allowed value ({min})"
                )
            }
            Self::ChannelMaxTooLarge {
                negotiated,
                offered,
            } => {
                write!(
                    f,
                    "negotiated channel_max = {negotiated} is higher than the maximum allowed value ({offered})"
                )
            }
            Self::NoFrameLimit => f.write_str("frame_max = 0 (no limit)"),
            Self::NoChannelLimit => f.write_str("channel_max = 0 (no limit)"),
        }
    }
}

/// How long a client that failed to log in, or whose input is broken, waits for the end of the socket. It slows down
/// guessing and lets the client read the reason.
pub(crate) const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);

/// Untrusted bytes for the log: escaped and short.
pub(crate) fn printable(bytes: &[u8]) -> String {
    ErlangBinary(&bytes[..bytes.len().min(REPLY_TEXT_SIZE_MAX)]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let exact = Exception::forced(&"x".repeat(255 - "CONNECTION_FORCED - ".len()));
        assert_eq!(exact.reply_text.len(), 255);
        assert!(!exact.reply_text.ends_with("..."));
        for name in ["x".repeat(300), "é".repeat(200)] {
            let text = Exception::forced(&name).reply_text;
            assert!(text.len() <= 255 && text.ends_with("..."), "{text}");
        }
    }

    #[test]
    fn expiration_texts() {
        let check = |value: &[u8], problem, expect: &str| {
            let text = Exception::from(Violation::Expiration { value, problem }).reply_text;
            assert_eq!(
                text,
                format!("PRECONDITION_FAILED - invalid expiration {expect}")
            );
        };
        check(b"abc", ExpirationProblem::NoInteger, "'abc': no_integer");
        check(
            b"1.5",
            ExpirationProblem::Leftover(b".5"),
            "'1.5': {leftover_string,\".5\"}",
        );
        check(
            b"-1",
            ExpirationProblem::Negative,
            "'-1': {value_negative,-1}",
        );
        check(
            b"+0999",
            ExpirationProblem::TooLarge,
            "'+0999': {value_too_large,999}",
        );
    }
}
