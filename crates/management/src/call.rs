//! One request on its way through the API, and its answer.

use crate::access;
use crate::error::ApiError;
use crate::json::Json;
use crate::listing::Stream;
use crate::query::Query;
use crate::state::State;
use crate::strict_json;
use base::Name;
use broker::auth::{Principal, User};
use broker::metadata::Metadata;
use broker::vhost::Vhost;
use bytes::Bytes;
use definitions::fields::is_too_deep;
use hyper::{Method, StatusCode};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Longest name in a path; longer ones are nobody's.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// Compat: from here on a list of terms has a line for each.
const TERM_LINE_MAX: usize = 78;

/// The body of a request as an object.
pub(crate) use definitions::fields::Object as Body;

/// What handlers read from it.
pub(crate) use definitions::fields::Fields;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The network: whoever it is has to say so.
    Network(SocketAddr),
    /// The control socket: the node's operator.
    Operator,
}

impl Caller {
    /// The client's address.
    pub(crate) fn peer(self) -> SocketAddr {
        match self {
            Self::Network(peer) => peer,
            Self::Operator => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

/// What a handler gets.
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    /// As of when the request came.
    pub(crate) metadata: Arc<Metadata>,
    /// Nobody, where the path asks for nobody.
    pub(crate) user: Option<access::Caller>,
    /// GET stands for HEAD too.
    pub(crate) method: Method,
    /// The decoded parts of the path that vary.
    pub(crate) parameters: Vec<Name>,
    pub(crate) query: Query,
    /// The header `If-None-Match`.
    pub(crate) known_etag: Option<String>,
    /// The header `X-Vhost`: lists whose path names no vhost are about this one only.
    pub(crate) vhost_wanted: Option<Name>,
    /// The header `X-Reason`.
    pub(crate) reason: Option<String>,
    /// The session that the cookies name, valid or not; empty without one.
    pub(crate) session: String,
    pub(crate) caller: Caller,
    pub(crate) body: Bytes,
}

/// What a handler answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// 200 with a body.
    Json(Json),
    /// 200 with JSON that was written already.
    Written(Vec<u8>),
    /// 200 with JSON that is written while it is sent.
    Streamed(Stream),
    /// 200 with plain text.
    Text(String),
    /// 201; what was created may have an address.
    Created(Option<String>),
    /// 204
    NoContent,
    /// 202
    Accepted,
    /// 301 to a path.
    Moved(String),
    /// 302 to a path.
    SeeOther(String),
    /// Somebody else's answer.
    Passed(StatusCode, Json),
    /// A page for readers.
    Page(String),
    /// A document that a client may have already.
    Document(Document),
    /// 200 or 204, and the header `Set-Cookie`.
    Cookie(String, Option<Json>),
    /// A file of the web UI.
    File(web::Asset),
    /// A file that is sent as it is.
    Download(Download),
    /// 304: the file is the one that the client has.
    NotModified(web::Asset),
}

/// A file for the client to keep.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) name: Name,
    pub(crate) file: std::fs::File,
    /// As much of it as is sent.
    pub(crate) size_bytes: u64,
}

/// JSON that was written already, and how a client knows it again.
#[derive(Debug)]
pub(crate) struct Document {
    /// Empty if the client has it.
    pub(crate) bytes: Vec<u8>,
    /// The client has this version of it.
    pub(crate) is_known: bool,
    pub(crate) etag: String,
    /// What a browser calls the file that it keeps.
    pub(crate) file_name: Option<String>,
}

/// What becomes of a call.
pub(crate) type Outcome = Result<Answer, ApiError>;

impl<T: Into<Json>> From<T> for Answer {
    fn from(body: T) -> Self {
        Self::Json(body.into())
    }
}

impl Answer {
    /// 201 for what is new, 204 for what was there.
    pub(crate) fn put(created: bool) -> Self {
        if created {
            Self::Created(None)
        } else {
            Self::NoContent
        }
    }
}

impl Call {
    /// Who calls.
    pub(crate) fn user(&self) -> &Arc<User> {
        &self.caller_known().user
    }

    /// Who calls, for what is decided elsewhere.
    pub(crate) fn principal(&self) -> &Principal {
        &self.caller_known().principal
    }

    /// Who calls, in all forms.
    pub(crate) fn caller_known(&self) -> &access::Caller {
        self.user
            .as_ref()
            .expect("the table lets nobody in without a name")
    }

    /// Whether it is the node's operator who calls, who may do everything and has no permissions of a user.
    pub(crate) fn is_operator(&self) -> bool {
        self.caller == Caller::Operator
    }

    /// A part of the path, by its place among those that vary.
    pub(crate) fn parameter(&self, index: usize) -> &Name {
        &self.parameters[index]
    }

    /// The vhost that the path names, if there is one with that name that the user may enter.
    ///
    /// # Errors
    /// No such vhost, or none that this user may know of.
    pub(crate) fn vhost(&self) -> Result<&Arc<Vhost>, ApiError> {
        self.vhost_named(self.parameter(0))
    }

    fn vhost_named(&self, name: &Name) -> Result<&Arc<Vhost>, ApiError> {
        let Some(vhost) = self.metadata.vhost(name) else {
            if self.method == Method::GET {
                return Err(ApiError::NoObject);
            }
            return Err(ApiError::NotFound("vhost_not_found".to_owned()));
        };
        if access::may_enter(self.user(), name) {
            Ok(vhost)
        } else {
            Err(ApiError::NotFound("Not Found".to_owned()))
        }
    }

    /// The same where monitors may look into every vhost.
    ///
    /// # Errors
    /// As [`Call::vhost`].
    pub(crate) fn watched_vhost(&self) -> Result<&Arc<Vhost>, ApiError> {
        let known = self.metadata.vhost(self.parameter(0));
        match known.filter(|_| access::is_monitor(self.user())) {
            Some(vhost) => Ok(vhost),
            None => self.vhost(),
        }
    }

    /// The vhosts that a list is about: the one in the path, else the one in the header `X-Vhost`, else all that the user may enter.
    ///
    /// # Errors
    /// As [`Call::vhost`].
    pub(crate) fn vhosts(&self) -> Result<Vec<&Arc<Vhost>>, ApiError> {
        self.named_vhosts(self.parameters.first())
    }

    /// The same where the path may name something else.
    ///
    /// # Errors
    /// As [`Call::vhost`].
    pub(crate) fn named_vhosts(&self, name: Option<&Name>) -> Result<Vec<&Arc<Vhost>>, ApiError> {
        match name.or(self.vhost_wanted.as_ref()) {
            Some(name) => Ok(vec![self.vhost_named(name)?]),
            None => Ok(access::vhosts(&self.metadata, self.user())),
        }
    }

    /// Whether objects are to be shown without figures: for this request, or for all of them.
    pub(crate) fn without_stats(&self) -> bool {
        self.query.is_true("disable_stats") || self.state.node.settings().statistics.disabled
    }

    /// Whether the lengths of queues are to be shown even so.
    pub(crate) fn with_queue_totals(&self) -> bool {
        let settings = &self.state.node.settings().statistics;
        self.query.is_true("enable_queue_totals") || settings.queue_totals
    }

    /// The body as an object that has these keys.
    ///
    /// # Errors
    /// 400; it names all that are missing.
    pub(crate) fn body_with(&self, keys: &[&str]) -> Result<Body, ApiError> {
        let body = self.body()?;
        let missing = keys.iter().filter(|key| !body.contains_key(**key));
        let missing: Vec<_> = missing
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        if missing.is_empty() {
            return Ok(body);
        }
        let mut text = missing.join(",");
        if text.len() > TERM_LINE_MAX {
            text = missing.join(",\n ");
        }
        Err(ApiError::bad(format!("[{text}]")))
    }

    /// The body as an object; an empty body is an empty object.
    ///
    /// # Errors
    /// 400
    pub(crate) fn body(&self) -> Result<Body, ApiError> {
        if self.body.is_empty() {
            return Ok(Body::new());
        }
        let parsed = strict_json::parse(&self.body).map_err(|_| ApiError::not_json())?;
        let serde_json::Value::Object(fields) = parsed else {
            return Err(ApiError::not_json());
        };
        if is_too_deep(&fields) {
            return Err(ApiError::not_json());
        }
        Ok(fields)
    }
}
