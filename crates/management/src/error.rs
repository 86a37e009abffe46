//! Why a request was not carried out, and how clients hear of it.
//!
//! Status codes and the words in `error` are RabbitMQ's; texts of the core are passed on as they are.

use crate::json::{Json, object};
use broker::Error;
use codec_amqp091::reply_code;
use hyper::StatusCode;
use node::ImportError;

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ApiError {
    /// No credentials, where some are needed.
    NoCredentials,
    /// Wrong credentials.
    WrongCredentials,
    /// The user may not do that.
    NotAuthorised(&'static str),
    /// The same, in AMQP's words.
    AccessRefused(String),
    /// No such path, vhost, queue, …
    NoObject,
    /// What a request names besides its own object does not exist.
    NotFound(String),
    /// The request makes no sense; the reason is text or a list.
    BadRequest(Json),
    /// An AMQP exception: reply code and reply text.
    Refused { code: u16, text: String },
    /// Pagination, with a word of its own.
    Invalid(&'static str, String),
    /// The path has other methods.
    MethodNotAllowed,
    /// The settings switch the method off.
    Disallowed(&'static str),
    /// The body is larger than `management.http.max_body_size`.
    TooLarge,
    /// It cannot be understood, or only in more than one way.
    Malformed(StatusCode),
    /// The body is compressed.
    CodedBody,
    /// Wrong credentials came too often from there.
    TooManyAttempts {
        /// Seconds until the next attempt is looked at.
        wait_s: u64,
    },
    /// It cannot be done as things are.
    Precondition(String),
    /// A member of a quorum queue cannot come or go.
    NoReplicas(&'static str),
    /// Somebody else who had to be asked does not answer as they should.
    BadGateway(String),
    /// A health check failed, or the node cannot answer now.
    Unavailable(Json),
}

impl ApiError {
    /// 400 with a text.
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self::BadRequest(Json::from(reason.into()))
    }

    /// 400 for a body that is no JSON object.
    pub(crate) fn not_json() -> Self {
        Self::bad("not_json")
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoCredentials
            | Self::WrongCredentials
            | Self::NotAuthorised(_)
            | Self::AccessRefused(_)
            | Self::Refused {
                code: reply_code::ACCESS_REFUSED,
                ..
            } => StatusCode::UNAUTHORIZED,
            Self::NoObject
            | Self::NotFound(_)
            | Self::Refused {
                code: reply_code::NOT_FOUND,
                ..
            } => StatusCode::NOT_FOUND,
            Self::BadRequest(_) | Self::Invalid(..) | Self::Refused { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::MethodNotAllowed | Self::Disallowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(status) => *status,
            Self::CodedBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Precondition(_) => StatusCode::PRECONDITION_FAILED,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Unavailable(_) | Self::NoReplicas(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The body; some have none.
    pub(crate) fn body(self) -> Option<Json> {
        let (error, reason): (&'static str, Json) = match self {
            Self::NoCredentials | Self::MethodNotAllowed => return None,
            Self::Unavailable(body) => return Some(body),
            Self::WrongCredentials => ("not_authorized", "Not_Authorized".into()),
            Self::NotAuthorised(reason) => ("not_authorised", reason.into()),
            Self::NoObject => ("Object Not Found", "Not Found".into()),
            Self::NotFound(reason) => ("not_found", reason.into()),
            Self::BadRequest(reason) => ("bad_request", reason),
            Self::AccessRefused(text) => ("not_authorised", text.into()),
            Self::Refused {
                code: reply_code::ACCESS_REFUSED,
                ..
            } => ("not_authorised", "Access refused.".into()),
            Self::Refused { code, text } => {
                let explanation = match text.split_once(" - ") {
                    Some((_, explanation)) => explanation.to_owned(),
                    None => text,
                };
                let error = if code == reply_code::NOT_FOUND {
                    "not_found"
                } else {
                    "bad_request"
                };
                (error, explanation.into())
            }
            Self::Invalid(error, reason) => (error, reason.into()),
            Self::TooLarge => ("payload_too_large", "request body is too large".into()),
            Self::Malformed(_) => ("bad_request", "malformed request".into()),
            Self::CodedBody => (
                "unsupported_media_type",
                "request body is compressed".into(),
            ),
            Self::TooManyAttempts { .. } => {
                ("too_many_requests", "too many wrong credentials".into())
            }
            Self::Precondition(reason) => ("precondition_failed", reason.into()),
            Self::Disallowed(reason) => ("method_not_allowed", reason.into()),
            Self::NoReplicas(reason) => ("service_unavailable", reason.into()),
            Self::BadGateway(reason) => ("bad_gateway", reason.into()),
        };
        Some(object! { "error" => error, "reason" => reason }.into())
    }
}

/// What is wrong with an object that a request describes.
impl From<definitions::Error> for ApiError {
    fn from(error: definitions::Error) -> Self {
        use definitions::Error as E;
        let pair = |word: &'static str, value: String| {
            Self::BadRequest(Json::List(vec![word.into(), value.into()]))
        };
        match error {
            E::KeyMissing(_) | E::Invalid(_) | E::In { .. } => Self::bad(error.to_string()),
            E::NotText(_) => pair("not_string", "value".to_owned()),
            E::NotBoolean(value) => pair("not_boolean", value),
            E::NotBase64(value) => pair("not_base64", value),
            E::Broker(error) => error.into(),
        }
    }
}

/// Why definitions were not imported.
impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Refused {
                error: error @ Error::Storage(_),
                ..
            } => error.into(),
            ImportError::File(_) | ImportError::Refused { .. } => Self::bad(error.to_string()),
        }
    }
}

/// What a metadata command was refused for.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match &error {
            Error::VhostNotFound { .. } | Error::UserNotFound { .. } => {
                Self::bad("vhost_or_user_not_found")
            }
            Error::NotFound { .. } => Self::NotFound(error.to_string()),
            Error::ParameterNotFound => Self::NoObject,
            Error::VhostProtected { .. } => Self::Precondition(error.to_string()),
            Error::Storage(_) => Self::Unavailable(
                object! { "error" => "unavailable", "reason" => error.to_string() }.into(),
            ),
            Error::VhostAccessRefused { .. }
            | Error::InequivalentArgument { .. }
            | Error::ExclusiveToOther { .. }
            | Error::ReservedName { .. }
            | Error::DefaultExchange
            | Error::SystemExchange { .. }
            | Error::InUse { .. }
            | Error::NotEmpty { .. }
            | Error::InternalExchange { .. }
            | Error::ExclusiveUse { .. }
            | Error::Precondition(_)
            | Error::NotImplemented(_)
            | Error::Deprecated(_)
            | Error::AccessRefused { .. }
            | Error::TopicAccessRefused { .. }
            | Error::Unanswered(_)
            | Error::Invalid(_)
            | Error::LimitReached(_) => Self::bad(error.to_string()),
        }
    }
}
