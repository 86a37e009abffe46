//! Reply codes of connection.close, channel.close and basic.return, with the names RabbitMQ's reply texts begin with.
//! Spec: AMQP 0-9-1 §1.2 (constants).

macro_rules! reply_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $hard:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: u16 = $code;)+

        /// Name of a reply code as reply texts have it, such as `NOT_FOUND`; `UNKNOWN` for a code that does not exist.
        pub fn name(code: u16) -> &'static str {
            match code {
                $($code => stringify!($name),)+
                _ => "UNKNOWN",
            }
        }

        /// Whether the code ends the connection rather than only the channel. Unknown codes do.
        pub fn is_hard(code: u16) -> bool {
            match code {
                $($code => $hard,)+
                _ => true,
            }
        }
    };
}

reply_codes! {
    /// Everything went well; the code of an orderly close.
    REPLY_SUCCESS = 200, false;
    /// The content is larger than the server takes now.
    CONTENT_TOO_LARGE = 311, false;
    /// A mandatory message reached no queue (basic.return only).
    NO_ROUTE = 312, false;
    /// An immediate message reached no consumer.
    NO_CONSUMERS = 313, false;
    /// An operator closed the connection.
    CONNECTION_FORCED = 320, true;
    /// The virtual host does not exist.
    INVALID_PATH = 402, true;
    /// The user may not do that.
    ACCESS_REFUSED = 403, false;
    /// The thing does not exist.
    NOT_FOUND = 404, false;
    /// The thing belongs to another connection.
    RESOURCE_LOCKED = 405, false;
    /// The thing is not as the method says it should be.
    PRECONDITION_FAILED = 406, false;
    /// A frame, or the arguments in it, cannot be read.
    FRAME_ERROR = 501, true;
    /// A frame holds illegal values.
    SYNTAX_ERROR = 502, true;
    /// A method came in the wrong order, or does not exist.
    COMMAND_INVALID = 503, true;
    /// A method came on a channel that is not open.
    CHANNEL_ERROR = 504, true;
    /// A frame came that was not expected there.
    UNEXPECTED_FRAME = 505, true;
    /// The server has not enough resources.
    RESOURCE_ERROR = 506, true;
    /// The peer tried what it may never do.
    NOT_ALLOWED = 530, true;
    /// The server does not have that.
    NOT_IMPLEMENTED = 540, true;
    /// The server made a mistake.
    INTERNAL_ERROR = 541, true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names_and_scope() {
        assert_eq!(name(NOT_FOUND), "NOT_FOUND");
        assert_eq!(name(541), "INTERNAL_ERROR");
        assert_eq!(name(1), "UNKNOWN");
        assert!(is_hard(FRAME_ERROR) && is_hard(CONNECTION_FORCED) && is_hard(1));
        assert!(!is_hard(PRECONDITION_FAILED) && !is_hard(CONTENT_TOO_LARGE));
    }
}
