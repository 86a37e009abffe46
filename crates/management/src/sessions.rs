//! Sessions: a cookie of the web UI, or a token of a login, that stands for credentials, so that nobody has to keep them.
//!
//! The id is random and opaque. Each request is checked anew with the credentials behind it, so a session ends in effect when
//! the password changes or the user goes. A cookie counts only beside the header [`HEADER`], which no foreign page can send
//! without being asked by CORS first.

use crate::access;
use crate::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{self, HeaderMap};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The header that has to be there for the cookie to count.
pub(crate) const HEADER: &str = "x-warren-session";
/// The cookie's name.
const COOKIE: &str = "warren-session";
/// A session ends after this, used or not, unless `management.login_session_timeout` says otherwise.
pub(crate) const LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);
/// Sessions at once; the one that would end first makes room.
const SESSIONS_MAX: usize = 1_000;

/// All sessions of this node.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
}

struct Session {
    /// As the header `Authorization` has them.
    credentials: Vec<u8>,
    until: Instant,
}

impl Sessions {
    /// Opens a session for so long. Returns its id.
    pub(crate) fn open(&self, credentials: Vec<u8>, lifetime: Duration, now: Instant) -> String {
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let until = now + lifetime;
        let mut open = self.open.lock();
        open.retain(|_, session| session.until > now);
        if open.len() >= SESSIONS_MAX {
            let first = open.iter().min_by_key(|(_, session)| session.until);
            let first = first.map(|(id, _)| id.clone());
            first.and_then(|id| open.remove(&id));
        }
        open.insert(id.clone(), Session { credentials, until });
        id
    }

    /// The name and the password that a token of a login stands for.
    pub(crate) fn of_token(&self, token: &str) -> Option<(String, Vec<u8>)> {
        let credentials = self.credentials(token, Instant::now()).ok()?;
        let pair = std::str::from_utf8(&credentials).ok()?;
        access::name_and_password(pair.strip_prefix("Basic ")?)
    }

    /// Ends a session. Returns the header `Set-Cookie` that makes a browser forget it.
    pub(crate) fn close(&self, id: &str) -> String {
        self.open.lock().remove(id);
        cookie("", Duration::ZERO)
    }

    /// The credentials of a session.
    ///
    /// # Errors
    /// There is no such session any more.
    pub(crate) fn credentials(&self, id: &str, now: Instant) -> Result<Vec<u8>, ApiError> {
        let open = self.open.lock();
        let session = open.get(id).ok_or(ApiError::WrongCredentials)?;
        if session.until <= now {
            return Err(ApiError::WrongCredentials);
        }
        Ok(session.credentials.clone())
    }
}

/// The session that the cookies of a request name, wanted or not.
pub(crate) fn id(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The header `Set-Cookie` of a session.
pub(crate) fn cookie(id: &str, lifetime: Duration) -> String {
    let seconds = lifetime.as_secs();
    format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn opened(sessions: &Sessions, credentials: &[u8], now: Instant) -> String {
        let cookie = cookie(
            &sessions.open(credentials.to_vec(), LIFETIME, now),
            LIFETIME,
        );
        let pair = cookie.split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        let value = format!("other=1; {pair}");
        headers.insert(header::COOKIE, HeaderValue::try_from(value).unwrap());
        id(&headers).unwrap().to_owned()
    }

    #[test]
    fn a_session_lasts_until_it_is_closed_or_old() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let first = opened(&sessions, b"Basic a", now);
        let second = opened(&sessions, b"Basic b", now);
        assert_eq!(sessions.credentials(&first, now).unwrap(), b"Basic a");
        sessions.close(&first);
        assert!(sessions.credentials(&first, now).is_err());
        assert_eq!(sessions.credentials(&second, now).unwrap(), b"Basic b");
        assert!(sessions.credentials(&second, now + LIFETIME).is_err());
        assert!(sessions.credentials("", now).is_err());
        let token = sessions.open(b"Basic YTpiOmM=".to_vec(), LIFETIME, now);
        let pair = ("a".to_owned(), b"b:c".to_vec());
        assert_eq!(sessions.of_token(&token), Some(pair));
    }

    #[test]
    fn there_are_never_more_than_the_limit() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let first = opened(&sessions, b"", now);
        for after in 1..=SESSIONS_MAX as u64 {
            sessions.open(Vec::new(), LIFETIME, now + Duration::from_millis(after));
        }
        assert_eq!(sessions.open.lock().len(), SESSIONS_MAX);
        assert!(sessions.credentials(&first, now).is_err());
    }
}
