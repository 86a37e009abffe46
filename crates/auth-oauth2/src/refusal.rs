//! Why a token is not taken, in RabbitMQ's words. No text holds the token or a part of it that is not a name.

use thiserror::Error;

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is no JWT, or a longer one than is looked at.
    #[error("Authentication using an OAuth 2/JWT token failed: provided token is invalid")]
    Malformed,
    /// It is not meant for us.
    #[error("Authentication using OAuth 2/JWT token failed: {{error,{}}}", .0.name())]
    Audience(AudienceProblem),
    /// It is signed with a key that nobody has told us.
    #[error("Authentication using an OAuth 2/JWT token failed: {{error,key_not_found}}")]
    UnknownKey,
    /// The key is known and cannot be used, for example because its curve is not supported.
    #[error("Authentication using an OAuth 2/JWT token failed: {{error,{0}}}")]
    UnusableKey(&'static str),
    /// The keys cannot be fetched.
    #[error("Authentication using an OAuth 2/JWT token failed: {{error,{0:?}}}")]
    KeysUnavailable(String),
    /// The signature is wrong, or made with an algorithm that does not fit the key or is not allowed.
    #[error("Authentication using an OAuth 2/JWT token failed: signature_invalid")]
    Signature,
    /// It has more than 2,048 scopes.
    #[error("Authentication using an OAuth 2/JWT token failed: {{error,too_many_scopes}}")]
    TooManyScopes,
    /// It has ended.
    #[error(
        "Authentication using an OAuth 2/JWT token failed: \"Provided JWT token has expired at timestamp {expires} (validated at {now})\""
    )]
    Expired {
        /// When, in seconds since 1970.
        expires: u64,
        /// When it was looked at.
        now: u64,
    },
    /// It has no end.
    #[error(
        "Authentication using an OAuth 2/JWT token failed: \"Provided JWT token has no exp claim\""
    )]
    NoExpiry,
    /// Its end is no number.
    #[error(
        "Authentication using an OAuth 2/JWT token failed: \"Provided JWT token has an invalid exp claim: value is not a number\""
    )]
    BadExpiry,
    /// It begins later.
    #[error(
        "Authentication using an OAuth 2/JWT token failed: \"Provided JWT token is not valid before timestamp {begins} (validated at {now})\""
    )]
    NotYetValid {
        /// When, in seconds since 1970.
        begins: u64,
        /// When it was looked at.
        now: u64,
    },
    /// It takes the place of a token of another user.
    #[error("Not allowed to change username on refreshed token")]
    OtherUser,
}

/// Why no resource server was found for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudienceProblem {
    /// It is meant for somebody else.
    NoMatch,
    /// It is meant for several resource servers of ours.
    ManyMatch,
    /// It does not say for whom, and all resource servers want to know.
    None,
    /// It does not say for whom, and several resource servers do not want to know.
    NoneForMany,
    /// It is meant for somebody else, and several resource servers do not want to know.
    NoMatchForMany,
}

impl AudienceProblem {
    fn name(self) -> &'static str {
        match self {
            Self::NoMatch => "no_matching_aud_found",
            Self::ManyMatch => "aud_matched_many_resource_servers_only_one_allowed",
            Self::None => "no_aud_found",
            Self::NoneForMany => "no_aud_found_cannot_pick_one_from_too_many_resource_servers",
            Self::NoMatchForMany => "too_many_resources_with_verify_aud_false",
        }
    }
}
