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
use crate::session::{Client, Session, Turn, server_properties};
use base::Name;
use broker::auth;
use broker::metadata::Metadata;
use codec_amqp091::{FRAME_MIN_SIZE, Method, PROTOCOL_HEADER, Table, Value, connection};
use std::sync::Arc;

/// The protocol header we answer with when we cannot speak what was asked for: AMQP 1.0 with SASL.
///
/// Compat: RabbitMQ 4 prefers that to 0-9-1 here.
const HEADER_AMQP10: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

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
    TuneOk,
    Open,
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
        !matches!(self, Self::Open)
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
                log_in(turn, "RABBIT-CR-DEMO", user.as_bytes(), password)
            }
            (Self::TuneOk, Method::ConnectionTuneOk(method)) => tune_ok(turn.session, *method),
            (Self::Open, Method::ConnectionOpen(method)) => open(turn, method),
            (Self::Open, _) => Err(Failure::Told(
                Exception::from(Violation::MethodInState("opening")).caused_by(method.ids()),
            )),
            (Self::Header | Self::StartOk | Self::SecureOk { .. } | Self::TuneOk, _) => {
                Err(Refusal::UnexpectedFrame.into())
            }
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
            log_in(turn, "PLAIN", user, password)
        }
        "AMQPLAIN" => {
            let (user, password) =
                parse_amqplain(method.response).ok_or(Refusal::MalformedResponse)?;
            log_in(turn, "AMQPLAIN", user, password)
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

fn log_in(
    turn: &mut Turn<'_>,
    mechanism: &str,
    user: &[u8],
    password: &[u8],
) -> Result<Step, Failure> {
    let Config { loopback_users, .. } = &*turn.session.config;
    let loopback_users: Vec<Name> = loopback_users
        .iter()
        .map(|name| Name::from(name.as_str()))
        .collect();
    // A name that is no UTF-8 is nobody's, but costs the same.
    let user = String::from_utf8_lossy(user);
    let is_loopback = turn.session.peer.is_loopback;
    match auth::authenticate(turn.metadata, &user, password, is_loopback, &loopback_users) {
        Ok(found) => {
            turn.session.observe_login(&user, mechanism, None);
            Ok(tune(turn.session, found.name.clone()))
        }
        Err(failure) => {
            let error = failure.to_string();
            turn.session.observe_login(&user, mechanism, Some(&error));
            Err(refuse_login(turn.session, mechanism))
        }
    }
}

fn log_in_anonymous(turn: &mut Turn<'_>) -> Result<Step, Failure> {
    let config = Arc::clone(&turn.session.config);
    let Some(user) = &config.anonymous_login_user else {
        return Err(refuse_login(turn.session, "ANONYMOUS"));
    };
    let password = config.anonymous_login_pass.as_bytes();
    log_in(turn, "ANONYMOUS", user.as_bytes(), password)
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
    let is_restricted = turn.session.config.loopback_users.contains(&name);
    match known_user(turn.metadata, &name) {
        Some(user) if turn.session.peer.is_loopback || !is_restricted => {
            turn.session.observe_login(&user, "EXTERNAL", None);
            Ok(tune(turn.session, user))
        }
        found => {
            let reason = found.map_or(reason, |_| "the user can only connect via localhost");
            let error = format!("user '{name}' - {reason}");
            turn.session.observe_login(&name, "EXTERNAL", Some(&error));
            Err(refuse_login(turn.session, "EXTERNAL"))
        }
    }
}

fn known_user(metadata: &Metadata, name: &str) -> Option<Name> {
    metadata.user(name).map(|user| user.name.clone())
}

fn refuse_login(session: &Session, mechanism: &str) -> Failure {
    if session.client.authentication_failure_close {
        return Failure::Told(Violation::LoginRefused(mechanism).into());
    }
    Failure::Untold(Refusal::Login)
}

fn tune(session: &mut Session, user: Name) -> Step {
    session.user = user;
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

fn open(turn: &mut Turn<'_>, method: &connection::Open<'_>) -> Result<Step, Failure> {
    let told = |exception: Exception| Failure::Told(exception.caused_by((10, 40)));
    let vhost = arguments::name(method.virtual_host).map_err(told)?;
    let session = &*turn.session;
    let admission = &session.config.admission;
    let seat = admission
        .admit_connection(turn.metadata, &session.user, &vhost)
        .map_err(|error| told(error.into()))?;
    auth::authorize_vhost(turn.metadata, &turn.session.user, &vhost)
        .map_err(|error| told(error.into()))?;
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
