//! Sockets and HTTP: accepts, reads requests, writes responses.
//!
//! HTTP/1.1 only. What the API answers is `table`'s matter, and what is a request `guard`'s; here are the limits that hold for all of
//! it: connections, time of headers, size and time of bodies.

use crate::access_log::Entry;
use crate::call::{Answer, Caller};
use crate::download::{self, FileBody};
use crate::error::ApiError;
use crate::guard::{Guarded, HEAD_BYTES_MAX, HEADERS_MAX, Patience, refusal};
use crate::listing::Stream;
use crate::metrics;
use crate::pieces::{Pieces, pieces};
use crate::state::State;
use crate::statistics::now_ms;
use crate::table;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use node::config::HttpService;
use node::{EnteredStream, Entrance, FileReserve, FileUser, NO_FILES_FOR_CLIENTS};
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once; others wait in the kernel.
const CONNECTIONS_MAX: usize = 4_096;
/// Requests that are being carried out at once; others wait.
const REQUESTS_MAX: usize = 256;
/// From the first byte of a header to its end.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// From the end of the header to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same while connections are short: who sends slowly then makes room for others soon.
const SHORT_HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that are read ahead: any head fits.
const BUFFER_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;
/// Pause after a failed accept (no file descriptors left, say), so that it is not tried in a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Smaller responses are not worth compressing.
const COMPRESS_BYTES_MIN: usize = 1_024;
/// Longest text of `X-Reason` that is passed on to a client.
const REASON_BYTES_MAX: usize = 200;

/// Longest name of a file that a browser keeps.
const FILE_NAME_CHARS_MAX: usize = 200;

const POLICY: HeaderValue = HeaderValue::from_static("script-src 'self'; object-src 'self'");
/// For the web UI, which loads nothing from elsewhere and never makes markup of text.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const VARY: HeaderValue = HeaderValue::from_static("accept, accept-encoding, origin");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain");
const REALM: HeaderValue = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
const X_REASON: HeaderName = HeaderName::from_static("x-reason");

/// The body of a response.
pub(crate) type Body = Either<Full<Bytes>, Either<FileBody, Pieces>>;

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// The API and the web UI.
    Api,
    /// What Prometheus scrapes.
    Metrics,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HasTls {
    No,
    Yes,
}

/// What all connections share.
pub(crate) struct Server {
    state: Arc<State>,
    site: Site,
    connections: Arc<Semaphore>,
    requests: Semaphore,
}

impl Server {
    pub(crate) fn new(state: Arc<State>, site: Site) -> Self {
        Self {
            state,
            site,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            requests: Semaphore::new(REQUESTS_MAX),
        }
    }

    /// How long a client may take for the header of a request.
    fn header_timeout(&self, service: HttpService) -> Duration {
        let timeout = service.request_timeout.unwrap_or(HEADER_TIMEOUT);
        if self.connections.available_permits() < CONNECTIONS_MAX / 2 {
            timeout.min(SHORT_HEADER_TIMEOUT)
        } else {
            timeout
        }
    }

    /// What clients are served like, by this program's settings.
    fn service(&self, has_tls: HasTls) -> HttpService {
        let settings = self.state.node.settings();
        let (plain, tls) = match self.site {
            Site::Api => (settings.management.service, settings.management.tls_service),
            Site::Metrics => (settings.prometheus.service, settings.prometheus.tls_service),
        };
        match has_tls {
            HasTls::No => plain,
            HasTls::Yes => tls,
        }
    }
}

/// Accepts on all listeners until the task is dropped.
pub(crate) async fn serve(server: Arc<Server>, listeners: Vec<(TcpListener, Entrance)>) {
    let mut accepting = tokio::task::JoinSet::new();
    for (listener, entrance) in listeners {
        accepting.spawn(accept(Arc::clone(&server), listener, entrance));
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(server: Arc<Server>, listener: TcpListener, entrance: Entrance) {
    let mut failing = false;
    let service = server.service(match entrance.tls {
        None => HasTls::No,
        Some(_) => HasTls::Yes,
    });
    let limit = service.connections_max.unwrap_or(u32::MAX) as usize;
    let own = Arc::new(Semaphore::new(limit.min(CONNECTIONS_MAX)));
    let reserve = FileReserve::against(FileUser::Operator);
    loop {
        let permits = (permit(&own).await, permit(&server.connections).await);
        match listener.accept().await {
            Ok((stream, peer)) => {
                let is_last = reserve.is_touched_by(&stream);
                failing &= is_last;
                let (server, entrance) = (Arc::clone(&server), entrance.clone());
                tokio::spawn(async move {
                    enter(&server, &entrance, stream, peer).await;
                    drop(permits);
                });
                if is_last {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!("cannot accept HTTP connections: {NO_FILES_FOR_CLIENTS}");
                    }
                    reserve.wait_for_room(&listener).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "cannot accept HTTP connections");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn permit(connections: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = Arc::clone(connections).acquire_owned().await;
    permit.expect("it is never closed")
}

async fn enter(server: &Arc<Server>, entrance: &Entrance, stream: TcpStream, peer: SocketAddr) {
    // A socket that refuses it is slower, not wrong.
    let _ = stream.set_nodelay(true);
    match entrance.enter(stream, peer).await {
        Ok(entered) => match entered.stream {
            EnteredStream::Plain(stream) => {
                let service = server.service(HasTls::No);
                drive(server, stream, entered.address, service).await;
            }
            EnteredStream::Tls(stream, _) => {
                let service = server.service(HasTls::Yes);
                drive(server, stream, entered.address, service).await;
            }
        },
        Err(error) => entrance.log_refusal(peer, &error),
    }
}

async fn drive(
    server: &Arc<Server>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    settings: HttpService,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(server.header_timeout(settings))
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    let patience = Patience {
        always: settings.inactivity_timeout,
        in_request: settings.idle_timeout,
    };
    let stream = TokioIo::new(Guarded::new(stream, patience));
    let requests = AtomicU32::new(0);
    let service = service_fn(|mut request| {
        forget_codings(&mut request, settings);
        let number = requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let is_last = settings.requests_max.is_some_and(|max| number >= max);
        let server = Arc::clone(server);
        async move {
            let log = server.state.access_log.as_ref();
            let entry = log.map(|log| (log, Entry::new(&request, peer, now_ms() / 1000)));
            let mut response = match server.site {
                Site::Api => respond(&server, settings, request, peer).await,
                Site::Metrics => {
                    let state = Arc::clone(&server.state);
                    let response = metrics::respond(state, &request, peer).await;
                    response.map(|body| match body {
                        Either::Left(whole) => Either::Left(whole),
                        Either::Right(pieces) => Either::Right(Either::Right(pieces)),
                    })
                }
            };
            if is_last {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            if let Some((log, entry)) = entry {
                log.write(entry, &response);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let served = http.serve_connection(stream, service).await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}

/// Takes out what a client can read, where nothing is to be compressed.
fn forget_codings(request: &mut Request<Incoming>, settings: HttpService) {
    if !settings.compresses {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
}

async fn respond(
    server: &Server,
    settings: HttpService,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<Body> {
    if let Some(status) = refusal(request.method(), request.uri()) {
        let mut response = refused(ApiError::Malformed(status), "");
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        return response.map(Either::Left);
    }
    let (head, body) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let body = Upload {
        body,
        timeout: settings
            .idle_timeout
            .map_or(BODY_TIMEOUT, |idle| idle.max(BODY_TIMEOUT)),
    };
    let mut response = answer(server, &head, body, Caller::Network(peer)).await;
    decorate(&server.state, &head, &mut response);
    if is_head {
        // What is written while it is sent has no length yet.
        let length = hyper::body::Body::size_hint(response.body()).exact();
        *response.body_mut() = Either::Left(Full::default());
        if let Some(length) = length {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    response
}

/// The body of a request, and how long it may take as a whole.
pub(crate) struct Upload {
    body: Incoming,
    timeout: Duration,
}

impl From<Incoming> for Upload {
    fn from(body: Incoming) -> Self {
        Self {
            body,
            timeout: BODY_TIMEOUT,
        }
    }
}

/// What the path of a request answers.
pub(crate) async fn answer(
    server: &Server,
    head: &hyper::http::request::Parts,
    body: Upload,
    caller: Caller,
) -> Response<Body> {
    let compressed = accepts_gzip(&head.headers);
    match outcome(server, head, body, caller).await {
        Ok((Answer::Download(file), allow)) => {
            common(download::response(file), allow).map(|file| Either::Right(Either::Left(file)))
        }
        Ok((Answer::Streamed(list), allow)) => {
            common(streamed(list, compressed), allow).map(|list| Either::Right(Either::Right(list)))
        }
        Ok((answer, allow)) => written(answer, allow, compressed).map(Either::Left),
        Err((error, allow)) => refused(error, allow).map(Either::Left),
    }
}

/// A response that no path gives.
pub(crate) fn json(status: StatusCode, body: impl Into<crate::json::Json>) -> Response<Body> {
    let mut response = written(Answer::Json(body.into()), "", false);
    *response.status_mut() = status;
    response.map(Either::Left)
}

type Allow = &'static str;

async fn outcome(
    server: &Server,
    head: &hyper::http::request::Parts,
    body: Upload,
    caller: Caller,
) -> Result<(Answer, Allow), (ApiError, Allow)> {
    if has_coded_body(&head.headers) {
        return Err((ApiError::CodedBody, ""));
    }
    let found = table::find(&server.state, head.uri.path(), caller);
    let Some(found) = found else {
        if let Some(moved) = table::moved(&server.state, head.uri.path()) {
            return Ok((moved, ""));
        }
        return match table::file(&server.state, head) {
            Some(file) => Ok((file, "")),
            None => Err((ApiError::NoObject, "HEAD, GET, OPTIONS")),
        };
    };
    let allow = found.allow();
    if head.method == Method::OPTIONS {
        return Ok((Answer::Json(crate::json::Json::Null), allow));
    }
    let result = async {
        let user = found.admit(&server.state, head, caller).await?;
        let body = read(server, body).await?;
        let _permit = server.requests.acquire().await.expect("it is never closed");
        let reason = head.headers.get(X_REASON).map(reason);
        found
            .carry_out(&server.state, head, user, reason, caller, body)
            .await
    };
    match result.await {
        Ok(answer) => Ok((answer, allow)),
        Err(error) => Err((error, allow)),
    }
}

/// Nothing that is sent is unpacked: a small body must not become a large one.
fn has_coded_body(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

async fn read(server: &Server, Upload { body, timeout }: Upload) -> Result<Bytes, ApiError> {
    let limit = server.state.settings().http_max_body_bytes;
    let whole = Limited::new(body, limit).collect();
    match tokio::time::timeout(timeout, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge),
        Ok(Err(_)) => Err(ApiError::bad("request body ended early")),
        Err(_) => Err(ApiError::bad("request body took too long")),
    }
}

/// Text for a client, on one line and not long.
fn reason(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let mut reason = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if reason.len() + character.len_utf8() > REASON_BYTES_MAX {
            break;
        }
        reason.push(character);
    }
    reason
}

fn written(answer: Answer, allow: Allow, compressed: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    match answer {
        // OPTIONS
        Answer::Json(crate::json::Json::Null) => {}
        Answer::Json(body) => {
            headers.insert(header::CONTENT_TYPE, JSON);
            let bytes = serde_json::to_vec(&body).expect("JSON values can be written");
            set_body(&mut response, bytes, compressed);
        }
        Answer::Written(bytes) => {
            headers.insert(header::CONTENT_TYPE, JSON);
            set_body(&mut response, bytes, compressed);
        }
        Answer::Text(text) => {
            headers.insert(header::CONTENT_TYPE, PLAIN);
            set_body(&mut response, text.into_bytes(), compressed);
        }
        Answer::Created(location) => {
            if let Some(location) =
                location.and_then(|location| HeaderValue::try_from(location).ok())
            {
                headers.insert(header::LOCATION, location);
            }
            *response.status_mut() = StatusCode::CREATED;
        }
        Answer::NoContent => *response.status_mut() = StatusCode::NO_CONTENT,
        Answer::Moved(target) => {
            located(&mut response, StatusCode::MOVED_PERMANENTLY, target);
        }
        Answer::SeeOther(target) => located(&mut response, StatusCode::FOUND, target),
        Answer::Accepted => *response.status_mut() = StatusCode::ACCEPTED,
        Answer::Passed(status, body) => {
            headers.insert(header::CONTENT_TYPE, JSON);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            *response.status_mut() = status;
            let bytes = serde_json::to_vec(&body).expect("JSON values can be written");
            set_body(&mut response, bytes, compressed);
        }
        Answer::Page(text) => {
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, html);
            set_body(&mut response, text.into_bytes(), compressed);
        }
        Answer::Document(document) => {
            headers.insert(header::CONTENT_TYPE, JSON);
            if let Ok(etag) = HeaderValue::try_from(document.etag) {
                headers.insert(header::ETAG, etag);
            }
            if let Some(name) = document.file_name {
                headers.insert(header::CONTENT_DISPOSITION, attachment(&name));
            }
            if document.is_known {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
            } else {
                set_body(&mut response, document.bytes, compressed);
            }
        }
        Answer::Cookie(cookie, body) => {
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                headers.insert(header::SET_COOKIE, cookie);
            }
            if let Some(body) = body {
                headers.insert(header::CONTENT_TYPE, JSON);
                let bytes = serde_json::to_vec(&body).expect("JSON values can be written");
                set_body(&mut response, bytes, compressed);
            } else {
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
        }
        Answer::File(file) => {
            page(headers, &file);
            let content_type = HeaderValue::from_static(file.content_type);
            headers.insert(header::CONTENT_TYPE, content_type);
            set_body(&mut response, file.bytes.into_owned(), compressed);
            return response;
        }
        Answer::NotModified(file) => {
            page(headers, &file);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        // They have responses of their own.
        Answer::Download(_) | Answer::Streamed(_) => {}
    }
    common(response, allow)
}

fn streamed(list: Stream, compressed: bool) -> Response<Pieces> {
    let (writer, body) = pieces(compressed);
    tokio::spawn(list.write(writer));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(header::CONTENT_TYPE, JSON);
    if compressed {
        headers.insert(header::CONTENT_ENCODING, GZIP);
    }
    response
}

fn located(response: &mut Response<Full<Bytes>>, status: StatusCode, target: String) {
    if let Ok(target) = HeaderValue::try_from(target) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    *response.status_mut() = status;
}

/// Tells a browser to keep the answer as a file. Of its name only what is safe on every system is left.
fn attachment(name: &str) -> HeaderValue {
    let safe = |c: &char| c.is_ascii_alphanumeric() || "-._@".contains(*c);
    let name: String = name
        .chars()
        .filter(safe)
        .take(FILE_NAME_CHARS_MAX)
        .collect();
    HeaderValue::try_from(format!("attachment; filename={name}"))
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// Headers of the web UI's files: scripts from here only, in no frame, and a browser asks each time whether they have changed.
fn page(headers: &mut HeaderMap, file: &web::Asset) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::try_from(&file.etag) {
        headers.insert(header::ETAG, etag);
    }
}

fn refused(error: ApiError, allow: Allow) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    if error == ApiError::NoCredentials {
        headers.insert(header::WWW_AUTHENTICATE, REALM);
    }
    if let ApiError::TooManyAttempts { wait_s } = error {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
    }
    if error == ApiError::TooLarge {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(body) = error.body() {
        headers.insert(header::CONTENT_TYPE, JSON);
        let bytes = serde_json::to_vec(&body).expect("JSON values can be written");
        *response.body_mut() = Full::from(bytes);
    }
    common(response, allow)
}

fn common<B>(mut response: Response<B>, allow: Allow) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(header::VARY, VARY);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    if !allow.is_empty() {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn set_body(response: &mut Response<Full<Bytes>>, bytes: Vec<u8>, compressed: bool) {
    let mut bytes = bytes;
    if compressed && bytes.len() >= COMPRESS_BYTES_MIN {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        if encoder.write_all(&bytes).is_ok()
            && let Ok(smaller) = encoder.finish()
        {
            bytes = smaller;
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, GZIP);
        }
    }
    *response.body_mut() = Full::from(bytes);
}

pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            is_gzip && !parts.any(|part| part.replace(' ', "") == "q=0")
        })
}

/// Headers that the configuration adds or takes away.
fn decorate<B>(state: &State, request: &hyper::http::request::Parts, response: &mut Response<B>) {
    allow_origin(state, request, response);
    let api = &state.settings().api;
    let headers = response.headers_mut();
    for (name, value) in &api.response_headers {
        let (name, Ok(value)) = (HeaderName::from_static(name), HeaderValue::try_from(value))
        else {
            continue;
        };
        // Pages have a policy of their own; browsers obey both.
        let is_added = name == header::CONTENT_SECURITY_POLICY
            && headers.get(&name).is_some_and(|own| *own == PAGE_POLICY);
        if is_added {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
    if api.hide_allow_header {
        headers.remove(header::ALLOW);
    }
}

/// CORS, where the configuration names origins (`management.cors.allow_origins`). An origin that is named may send credentials; if
/// all origins may ask, none may.
fn allow_origin<B>(
    state: &State,
    request: &hyper::http::request::Parts,
    response: &mut Response<B>,
) {
    let settings = state.settings();
    let Some(origin) = request.headers.get(header::ORIGIN) else {
        return;
    };
    if origin == "null" || origin == "*" {
        return;
    }
    let mut allowed = settings.cors_allow_origins.iter();
    let is_named = allowed.any(|allowed| allowed.as_bytes() == origin.as_bytes());
    let mut allowed = settings.cors_allow_origins.iter();
    if !is_named && !allowed.any(|allowed| allowed == "*") {
        return;
    }
    let headers = response.headers_mut();
    if is_named {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    } else {
        let all = HeaderValue::from_static("*");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, all);
    }
    if request.method != Method::OPTIONS {
        return;
    }
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from(settings.cors_max_age_s),
    );
    if let Some(wanted) = request.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    if let Some(allow) = headers.get(header::ALLOW).cloned() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        let long = format!("bad\tthing {}", "ü".repeat(500));
        let value = HeaderValue::from_bytes(long.as_bytes()).unwrap();
        let reason = reason(&value);
        assert!(reason.starts_with("badthing ü"));
        assert!(reason.len() <= REASON_BYTES_MAX);
    }

    #[test]
    fn gzip_is_used_only_when_it_is_wanted() {
        let wants = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            accepts_gzip(&headers)
        };
        assert!(wants("gzip"));
        assert!(wants("deflate, GZIP;q=0.5"));
        assert!(!wants("gzip; q=0"));
        assert!(!wants("br"));
    }
}
