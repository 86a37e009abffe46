//! From the protocol header to an open vhost: versions, login, limits.
//!
//! Each step takes the one method that may come now and says what is next. Passwords pass through here and are kept nowhere.
//!
//! ```text
//! client: header  StartOk                  TuneOk  Open            SecureOk only for mechanisms with a challenge
//! server:   Start        (Secure SecureOk) Tune            OpenOk
//! ```
//!
//! Spec: AMQP 0-9-1 §2.2.4, §4.2.2; RabbitMQ docs: access-control, auth mechanisms.

use crate::arguments;
use crate::config::Config;
use crate::exception::{Exception, Refusal, Violation};
use crate::request::connection_address;
use crate::session::{Client, Session, Turn, server_properties};
use base::Name;
use broker::Error;
use broker::auth::{self, Authenticator, Credentials, Login, LoginFailure, Principal, Secret};
use broker::command::AccessRequest;
use broker::metadata::Metadata;
use codec_amqp091::{FRAME_MIN_SIZE, Method, PROTOCOL_HEADER, Table, Value, connection};
use std::sync::Arc;

/// The protocol header we answer with when we cannot speak what was asked for: AMQP 1.0 with SASL.
///
/// Compat: RabbitMQ 4 prefers that to 0-9-1 here.
const HEADER_AMQP10: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// Class and method of connection.open.
const OPEN: (u16, u16) = (10, 40);

const CHALLENGE: &[u8] = b"Please tell me your password";
const CHALLENGE_ANSWER_PREFIX: &[u8] = b"My password is ";

/// What has to come next.
#[derive(Debug)]
pub(crate) enum Handshake {
    Header,
    StartOk,
    /// `RABBIT-CR-DEMO`: the user is known, the password is asked for.
    SecureOk {
        user: String,
    },
    /// Somebody outside the metadata says whether the user may log in.
    LoggingIn {
        /// The name it gave.
        user: Name,
    },
    TuneOk,
    Open,
    /// Somebody outside the metadata says whether the user may open this vhost.
    Opening {
        vhost: Name,
    },
}

/// What a step leads to.
#[derive(Debug)]
pub(crate) enum Step {
    Next(Handshake),
    /// Limits are agreed on; heartbeats begin, at this interval in seconds.
    Tuned {
        heartbeat_s: u16,
    },
    /// The vhost is open.
    Open,
}

/// Why a handshake ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client gets to know.
    Told(Exception),
    /// Only the log gets to know.
    Untold(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Untold(refusal)
    }
}

/// What to do about a protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// 0-9-1 or 0-9.
    Accepted,
    /// Answer with this header and close.
    Refused([u8; 8]),
}

/// Looks at the first eight bytes, or earlier if they can only be wrong. `None`: more is needed.
pub(crate) fn judge_header(input: &[u8]) -> Option<Header> {
    let known = b"AMQP";
    let seen = input.len().min(known.len());
    if input[..seen] != known[..seen] && input.len() >= 4 {
        return Some(Header::Refused(HEADER_AMQP10));
    }
    match input.first_chunk::<8>()? {
        // The second one is how 0-9 was announced.
        &PROTOCOL_HEADER | b"AMQP\x01\x01\x00\x09" => Some(Header::Accepted),
        [b'A', b'M', b'Q', b'P', 0, 0, minor, _] if *minor >= 9 => {
            Some(Header::Refused(PROTOCOL_HEADER))
        }
        _ => Some(Header::Refused(HEADER_AMQP10)),
    }
}

/// Sends connection.start.
pub(crate) fn start(metadata: &Metadata, session: &mut Session) -> Handshake {
    let properties = server_properties(metadata, &session.config);
    let mechanisms = session.config.mechanisms_offered(&session.peer);
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: Table::new(&properties),
        mechanisms: mechanisms.as_bytes(),
        locales: b"en_US",
    }
    .encode(0, session.encoded());
    Handshake::StartOk
}

impl Handshake {
    /// Whether a failure is still told by silence only.
    pub(crate) fn is_before_tuning(&self) -> bool {
        !matches!(self, Self::Open | Self::Opening { .. })
    }

    /// Whether the client has to wait until somebody has been asked.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(self, Self::LoggingIn { .. } | Self::Opening { .. })
    }

    /// Takes the next method on channel 0.
    ///
    /// # Errors
    /// The client may not go on.
    pub(crate) fn handle_method(
        &self,
        turn: &mut Turn<'_>,
        method: &Method<'_>,
    ) -> Result<Step, Failure> {
        match (self, method) {
            (Self::StartOk, Method::ConnectionStartOk(method)) => start_ok(turn, method),
            (Self::SecureOk { user }, Method::ConnectionSecureOk(method)) => {
                let password = method
                    .response
                    .strip_prefix(CHALLENGE_ANSWER_PREFIX)
                    .ok_or(Refusal::MalformedResponse)?;
                log_in(turn, user.as_bytes(), password)
            }
            (Self::TuneOk, Method::ConnectionTuneOk(method)) => tune_ok(turn.session, *method),
            (Self::Open, Method::ConnectionOpen(method)) => {
                let vhost = arguments::name(method.virtual_host)
                    .map_err(|exception| Failure::Told(exception.caused_by(OPEN)))?;
                open(turn, vhost)
            }
            (Self::Open, _) => Err(Failure::Told(
                Exception::from(Violation::MethodInState("opening")).caused_by(method.ids()),
            )),
            (
                Self::Header
                | Self::StartOk
                | Self::SecureOk { .. }
                | Self::LoggingIn { .. }
                | Self::TuneOk
                | Self::Opening { .. },
                _,
            ) => Err(Refusal::UnexpectedFrame.into()),
        }
    }
}

fn start_ok(turn: &mut Turn<'_>, method: &connection::StartOk<'_>) -> Result<Step, Failure> {
    let properties = arguments::from_table(method.client_properties)
        .map_err(|_| Failure::from(Refusal::MalformedResponse))?;
    turn.session.client = Client::new(properties);
    let mechanism = String::from_utf8_lossy(method.mechanism);
    if !turn.session.config.offers(&mechanism, &turn.session.peer) {
        return Err(Refusal::Mechanism(crate::exception::printable(method.mechanism)).into());
    }
    turn.session.mechanism = mechanism.clone().into_owned();
    match &*mechanism {
        "PLAIN" => {
            let (user, password) =
                parse_plain(method.response).ok_or(Refusal::MalformedResponse)?;
            log_in(turn, user, password)
        }
        "AMQPLAIN" => {
            let (user, password) =
                parse_amqplain(method.response).ok_or(Refusal::MalformedResponse)?;
            log_in(turn, user, password)
        }
        "ANONYMOUS" => log_in_anonymous(turn),
        "EXTERNAL" => log_in_by_certificate(turn),
        "RABBIT-CR-DEMO" => {
            connection::Secure {
                challenge: CHALLENGE,
            }
            .encode(0, turn.session.encoded());
            let user = String::from_utf8_lossy(method.response).into_owned();
            Ok(Step::Next(Handshake::SecureOk { user }))
        }
        _ => Err(Refusal::Mechanism(mechanism.into_owned()).into()),
    }
}

/// `NUL user NUL password`, and nothing else.
fn parse_plain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = response.strip_prefix(&[0])?.split(|byte| *byte == 0);
    let user = parts.next()?;
    let password = parts.next()?;
    parts.next().is_none().then_some((user, password))
}

/// A table without its length, with `LOGIN` and `PASSWORD`.
fn parse_amqplain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let table = Table::new(response);
    table.validate().ok()?;
    let field = |key: &[u8]| match table.get(key).ok()?? {
        Value::LongStr(bytes) | Value::Binary(bytes) => Some(bytes),
        Value::Bool(_)
        | Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::Decimal(..)
        | Value::Array(_)
        | Value::Timestamp(_)
        | Value::Table(_)
        | Value::Void => None,
    };
    Some((field(b"LOGIN")?, field(b"PASSWORD")?))
}

fn log_in(turn: &mut Turn<'_>, user: &[u8], password: &[u8]) -> Result<Step, Failure> {
    // A name that is no UTF-8 is nobody's, but costs the same.
    let user = String::from_utf8_lossy(user);
    if let Some(authenticator) = turn.session.config.authenticator.clone() {
        let password = Some(Secret::new(password));
        return Ok(ask_who(turn.session, authenticator, &user, password));
    }
    let Config { loopback_users, .. } = &*turn.session.config;
    let loopback_users: Vec<Name> = loopback_users
        .iter()
        .map(|name| Name::from(name.as_str()))
        .collect();
    let is_loopback = turn.session.peer.is_loopback;
    match auth::authenticate(turn.metadata, &user, password, is_loopback, &loopback_users) {
        Ok(found) => {
            let user = found.name.clone();
            Ok(let_in(turn.session, user.into()))
        }
        Err(failure) => Err(refuse_login(turn.session, &user, &failure.to_string())),
    }
}

fn log_in_anonymous(turn: &mut Turn<'_>) -> Result<Step, Failure> {
    let config = Arc::clone(&turn.session.config);
    let Some(user) = &config.anonymous_login_user else {
        return Err(login_refusal(turn.session));
    };
    let password = config.anonymous_login_pass.as_bytes();
    log_in(turn, user.as_bytes(), password)
}

/// The user is who the client's certificate stands for; that it holds was seen to before.
fn log_in_by_certificate(turn: &mut Turn<'_>) -> Result<Step, Failure> {
    let certificate = turn
        .session
        .peer
        .tls
        .as_ref()
        .and_then(|tls| tls.certificate.as_ref());
    let (name, reason) = match certificate.map(|certificate| &certificate.login) {
        None => ("", "the client has presented no certificate"),
        Some(None) => ("", "no name found in the client's certificate"),
        Some(Some(name)) => (&**name, "no such user"),
    };
    let name = name.to_owned();
    if !name.is_empty()
        && let Some(authenticator) = turn.session.config.authenticator.clone()
    {
        return Ok(ask_who(turn.session, authenticator, &name, None));
    }
    match known_user(turn.metadata, &name) {
        Some(user) if may_come_from_there(turn.session, &user) => {
            Ok(let_in(turn.session, user.into()))
        }
        found => {
            let reason = found.map_or(reason, |_| "the user can only connect via localhost");
            let error = format!("user '{name}' - {reason}");
            Err(refuse_login(turn.session, &name, &error))
        }
    }
}

fn known_user(metadata: &Metadata, name: &str) -> Option<Name> {
    metadata.user(name).map(|user| user.name.clone())
}

/// Whether the user may connect from where the client is.
fn may_come_from_there(session: &Session, user: &Name) -> bool {
    let loopback_users = &session.config.loopback_users;
    session.peer.is_loopback || !loopback_users.iter().any(|name| **name == **user)
}

/// Asks who the client is; the client waits.
fn ask_who(
    session: &mut Session,
    authenticator: Arc<dyn Authenticator>,
    user: &str,
    password: Option<Secret>,
) -> Step {
    let user = Name::from(user);
    let credentials = Credentials {
        user: user.clone(),
        password,
        address: session.peer.address.ip(),
        is_loopback: session.peer.is_loopback,
    };
    let request = AccessRequest::LogIn {
        authenticator,
        credentials,
    };
    session.ask_access(connection_address(session.id), request);
    Step::Next(Handshake::LoggingIn { user })
}

/// Takes the answer to the question who `user` is.
///
/// # Errors
/// Nobody who may come in.
pub(crate) fn logged_in(
    session: &mut Session,
    user: &Name,
    result: Result<Login, LoginFailure>,
) -> Result<Step, Failure> {
    let login = result.map_err(|failure| refuse_login(session, user, &failure.to_string()))?;
    if !may_come_from_there(session, &login.name) {
        let error = format!("user '{}' can only connect via localhost", login.name);
        return Err(refuse_login(session, user, &error));
    }
    Ok(let_in(session, login.into()))
}

fn let_in(session: &mut Session, principal: Principal) -> Step {
    let mechanism = session.mechanism.clone();
    session.observe_login(principal.name(), &mechanism, None);
    tune(session, principal)
}

fn refuse_login(session: &mut Session, user: &str, error: &str) -> Failure {
    let mechanism = session.mechanism.clone();
    session.observe_login(user, &mechanism, Some(error));
    login_refusal(session)
}

fn login_refusal(session: &Session) -> Failure {
    if session.client.authentication_failure_close {
        return Failure::Told(Violation::LoginRefused(&session.mechanism).into());
    }
    Failure::Untold(Refusal::Login)
}

fn tune(session: &mut Session, principal: Principal) -> Step {
    session.become_user(principal);
    let Config {
        channel_max,
        frame_max,
        heartbeat_s,
        ..
    } = *session.config;
    connection::Tune {
        channel_max,
        frame_max,
        heartbeat: heartbeat_s,
    }
    .encode(0, session.encoded());
    Step::Next(Handshake::TuneOk)
}

/// Zero means no limit, so it is above every offer but zero.
fn tune_ok(session: &mut Session, method: connection::TuneOk) -> Result<Step, Failure> {
    let Config {
        channel_max: channels_offered,
        frame_max: frame_offered,
        ..
    } = *session.config;
    let connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    } = method;
    if frame_offered != 0 && frame_max == 0 {
        return Err(Refusal::NoFrameLimit.into());
    }
    if frame_offered != 0 && frame_max > frame_offered {
        return Err(Refusal::FrameMaxTooLarge {
            negotiated: frame_max,
            offered: frame_offered,
        }
        .into());
    }
    if frame_max != 0 && frame_max < FRAME_MIN_SIZE {
        return Err(Refusal::FrameMaxTooSmall {
            negotiated: frame_max,
            min: FRAME_MIN_SIZE,
        }
        .into());
    }
    if channels_offered != 0 && channel_max == 0 {
        return Err(Refusal::NoChannelLimit.into());
    }
    if channels_offered != 0 && channel_max > channels_offered {
        return Err(Refusal::ChannelMaxTooLarge {
            negotiated: channel_max,
            offered: channels_offered,
        }
        .into());
    }
    session.frame_max = frame_max;
    session.channel_max = channel_max;
    Ok(Step::Tuned {
        heartbeat_s: heartbeat,
    })
}

/// Opens the vhost, if the user may.
///
/// # Errors
/// There is no such vhost, no room for one more connection, or no permission.
pub(crate) fn open(turn: &mut Turn<'_>, vhost: Name) -> Result<Step, Failure> {
    let told = |error: Error| Failure::Told(Exception::from(error).caused_by(OPEN));
    let session = &*turn.session;
    let admission = &session.config.admission;
    let seat = admission
        .admit_connection(turn.metadata, &session.user, &vhost)
        .map_err(told)?;
    match auth::authorize_vhost(turn.metadata, &session.principal, &vhost) {
        Ok(()) => {}
        Err(Error::Unanswered(question)) => {
            let asker = connection_address(session.id);
            turn.session.ask_authority(asker, *question);
            return Ok(Step::Next(Handshake::Opening { vhost }));
        }
        Err(error) => return Err(told(error)),
    }
    turn.session.vhost = vhost;
    turn.session.seat = Some(seat);
    turn.session.refresh_taps(turn.metadata);
    turn.session.refresh_throttle(turn.metadata);
    turn.session.has_own_user = turn.metadata.user(&turn.session.user).is_some();
    connection::OpenOk::default().encode(0, turn.session.encoded());
    Ok(Step::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_headers() {
        let refused_091 = Some(Header::Refused(PROTOCOL_HEADER));
        let refused_10 = Some(Header::Refused(HEADER_AMQP10));
        for (input, expect) in [
            (&b"AMQP\x00\x00\x09\x01"[..], Some(Header::Accepted)),
            (b"AMQP\x01\x01\x00\x09", Some(Header::Accepted)),
            (b"AMQP\x00\x00\x09\x00", refused_091),
            (b"AMQP\x00\x00\x0a\x00", refused_091),
            (b"AMQP\x00\x00\x08\x00", refused_10),
            (b"AMQP\x01\x01\x08\x00", refused_10),
            (b"AMQP\x00\x01\x00\x00", refused_10),
            (b"AMQP\x02\x01\x00\x00", refused_10),
            (b"GET / HTTP/1.1\r\n", refused_10),
            (b"GET ", refused_10),
            (b"\x16\x03\x01\x02\x00", refused_10),
            (b"AMQ", None),
            (b"AMQP\x00\x00\x09", None),
            (b"", None),
            (b"GE", None),
        ] {
            assert_eq!(judge_header(input), expect, "{input:?}");
        }
    }

    #[test]
    fn plain_is_exactly_two_fields() {
        assert_eq!(
            parse_plain(b"\0guest\0secret"),
            Some((&b"guest"[..], &b"secret"[..]))
        );
        assert_eq!(parse_plain(b"\0guest\0"), Some((&b"guest"[..], &b""[..])));
        for malformed in [
            &b""[..],
            b"\0",
            b"guest",
            b"\0guest",
            b"authzid\0guest\0secret",
            b"\0a\0b\0c",
        ] {
            assert_eq!(parse_plain(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn amqplain_takes_both_kinds_of_string() {
        let mut bytes = Vec::new();
        let mut writer = codec_amqp091::TableWriter::new(&mut bytes);
        writer.field(b"LOGIN", &Value::LongStr(b"guest"));
        assert_eq!(parse_amqplain(&bytes), None);
        codec_amqp091::TableWriter::new(&mut bytes).field(b"PASSWORD", &Value::Binary(b"secret"));
        assert_eq!(
            parse_amqplain(&bytes),
            Some((&b"guest"[..], &b"secret"[..]))
        );
        bytes.pop();
        assert_eq!(parse_amqplain(&bytes), None);
    }
}
