//! What may come in on an HTTP connection: requests that no two readers can understand differently.
//!
//! It reads every byte before hyper does, and lets through what has one meaning: one host, one length or chunks, lines that end in
//! CRLF, header names without blanks, values without control characters, chunk sizes in plain hexadecimal. Whatever a proxy in front
//! takes it for, it is the same request. A head that is anything else is replaced by a request for a refusal ([`refusal`]), so that the
//! answer comes in its turn; behind it nothing is read any more. A body that breaks off is an error of the connection.
//!
//! [`Guard`] is the machine, [`Guarded`] the socket around it. Here are also the limits of what a head may be, and how long a client may
//! leave an answer unread.

use bytes::{Buf as _, BytesMut};
use hyper::{Method, StatusCode, Uri};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes of a head.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Header lines of a request.
pub(crate) const HEADERS_MAX: usize = 100;
/// Bytes of the target in the first line of a request.
const TARGET_BYTES_MAX: usize = 16 << 10;
/// Bytes of the line in front of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 1_024;
/// Bytes of what follows the last chunk.
const TRAILER_BYTES_MAX: usize = 8 << 10;
/// Bytes of a method.
const METHOD_BYTES_MAX: usize = 32;
/// Bytes read at once.
const READ_BYTES: usize = 8 << 10;
/// How long a client may leave us waiting with an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long, and how much, is read from a client that was refused, so that it gets to read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 4 << 20;

/// The method of requests that stand for what was refused. No client can send it.
const REFUSED: &str = "REFUSED";

/// What a request that stands for a refusal says, if this is one.
pub(crate) fn refusal(method: &Method, uri: &Uri) -> Option<StatusCode> {
    if method.as_str() != REFUSED {
        return None;
    }
    let code = uri.path().trim_start_matches('/').parse().ok();
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    Some(status.unwrap_or(StatusCode::BAD_REQUEST))
}

/// A body that has no end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BrokenBody;

/// Reads one connection's requests.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    state: State,
    /// Bytes of a head that were looked at.
    searched: usize,
    /// Bytes of the trailer so far.
    trailer: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Bytes of a body that are still to come.
    Body(u64),
    ChunkSize,
    /// Bytes of a chunk that are still to come.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    Refused,
}

impl Guard {
    /// Moves what is understood from `raw` to `cleared`.
    ///
    /// # Errors
    /// A body is not framed as its head says; nothing behind it can be understood.
    pub(crate) fn advance(
        &mut self,
        raw: &mut BytesMut,
        cleared: &mut BytesMut,
    ) -> Result<(), BrokenBody> {
        loop {
            let before = (self.state, raw.len());
            match self.state {
                State::Head => self.head(raw, cleared),
                State::Body(left) => {
                    let left = pass(left, raw, cleared);
                    self.state = if left == 0 {
                        State::Head
                    } else {
                        State::Body(left)
                    };
                }
                State::ChunkSize => self.chunk_size(raw, cleared)?,
                State::Chunk(left) => {
                    let left = pass(left, raw, cleared);
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::Chunk(left)
                    };
                }
                State::ChunkEnd => {
                    if !b"\r\n".starts_with(&raw[..raw.len().min(2)]) {
                        return Err(BrokenBody);
                    }
                    if raw.len() >= 2 {
                        cleared.extend_from_slice(&raw.split_to(2));
                        self.state = State::ChunkSize;
                    }
                }
                State::Trailer => self.trailer(raw, cleared)?,
                State::Refused => raw.clear(),
            }
            if raw.is_empty() || before == (self.state, raw.len()) {
                return Ok(());
            }
        }
    }

    /// Nothing that comes now is read.
    fn is_refused(&self) -> bool {
        self.state == State::Refused
    }

    /// Between two requests, as far as is known.
    fn is_between(&self) -> bool {
        self.state == State::Head
    }

    fn head(&mut self, raw: &mut BytesMut, cleared: &mut BytesMut) {
        while raw.starts_with(b"\r\n") {
            raw.advance(2);
        }
        // What was looked at is not looked at again, or bytes that come one at a time would cost their square.
        let from = std::mem::replace(&mut self.searched, raw.len()).saturating_sub(3);
        let from = from.min(raw.len());
        let mut windows = raw[from..].windows(4);
        let end = windows.position(|window| window == b"\r\n\r\n");
        let found = match end.map(|end| from + end) {
            Some(end) if end + 4 <= HEAD_BYTES_MAX => {
                framing(&raw[..end]).map(|state| (end, state))
            }
            Some(_) => Err(too_long(raw)),
            None if raw.len() > HEAD_BYTES_MAX => Err(too_long(raw)),
            None if has_bare_line_end(raw, from) => Err(StatusCode::BAD_REQUEST),
            None => return,
        };
        self.searched = 0;
        match found {
            Ok((end, state)) => {
                cleared.extend_from_slice(&raw.split_to(end + 4));
                self.state = state;
            }
            Err(status) => {
                let code = status.as_u16();
                let head =
                    format!("{REFUSED} /{code} HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n");
                cleared.extend_from_slice(head.as_bytes());
                raw.clear();
                self.state = State::Refused;
            }
        }
    }

    fn chunk_size(&mut self, raw: &mut BytesMut, cleared: &mut BytesMut) -> Result<(), BrokenBody> {
        let Some(line) = line(raw, CHUNK_LINE_BYTES_MAX)? else {
            return Ok(());
        };
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (size, extension) = line.split_at(digits);
        let size = std::str::from_utf8(size).map_err(|_| BrokenBody)?;
        // No sign, and no more than fits.
        let size = u64::from_str_radix(size, 16).map_err(|_| BrokenBody)?;
        let is_plain = extension.first().is_none_or(|first| *first == b';');
        if size > i64::MAX as u64 || !is_plain || !is_text(extension) {
            return Err(BrokenBody);
        }
        let length = line.len() + 2;
        cleared.extend_from_slice(&raw.split_to(length));
        self.trailer = 0;
        self.state = if size == 0 {
            State::Trailer
        } else {
            State::Chunk(size)
        };
        Ok(())
    }

    fn trailer(&mut self, raw: &mut BytesMut, cleared: &mut BytesMut) -> Result<(), BrokenBody> {
        let Some(line) = line(raw, TRAILER_BYTES_MAX)? else {
            return Ok(());
        };
        let length = line.len() + 2;
        self.trailer += length;
        if self.trailer > TRAILER_BYTES_MAX {
            return Err(BrokenBody);
        }
        if line.is_empty() {
            self.state = State::Head;
        } else {
            field(line).map_err(|_| BrokenBody)?;
        }
        cleared.extend_from_slice(&raw.split_to(length));
        Ok(())
    }
}

fn pass(left: u64, raw: &mut BytesMut, cleared: &mut BytesMut) -> u64 {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(raw.len());
    cleared.extend_from_slice(&raw.split_to(length));
    left - length as u64
}

/// The line in front, without its end; `None` if it is not there as a whole.
fn line(raw: &BytesMut, max: usize) -> Result<Option<&[u8]>, BrokenBody> {
    match raw.iter().position(|byte| *byte == b'\n') {
        Some(end) if end <= max => match raw[..end].strip_suffix(b"\r") {
            Some(line) => Ok(Some(line)),
            None => Err(BrokenBody),
        },
        None if raw.len() <= max => Ok(None),
        Some(_) | None => Err(BrokenBody),
    }
}

/// Whether a line that begins or ends behind `from` ends in LF alone.
fn has_bare_line_end(raw: &[u8], from: usize) -> bool {
    let mut ends = (from..raw.len()).filter(|end| raw[*end] == b'\n');
    ends.any(|end| end == 0 || raw[end - 1] != b'\r')
}

/// Which limit a head is beyond.
fn too_long(raw: &[u8]) -> StatusCode {
    let first = raw.iter().position(|byte| *byte == b'\r');
    if first.is_none_or(|first| first > TARGET_BYTES_MAX + METHOD_BYTES_MAX) {
        StatusCode::URI_TOO_LONG
    } else {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    }
}

/// What follows a head; `head` is without its last line ends.
fn framing(head: &[u8]) -> Result<State, StatusCode> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let is_only_line = first.len() == head.len();
    let first = unended(first, is_only_line)?;
    let is_1_1 = request_line(first)?;
    let (mut hosts, mut headers) = (0, 0);
    let (mut length, mut is_chunked) = (None, false);
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        let line = unended(line, lines.peek().is_none())?;
        headers += 1;
        if headers > HEADERS_MAX {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(digits(value)?).is_some() {
                return Err(StatusCode::BAD_REQUEST);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(StatusCode::BAD_REQUEST);
            }
            is_chunked = true;
        }
    }
    let has_one_length = !(is_chunked && (length.is_some() || !is_1_1));
    let has_one_host = if is_1_1 { hosts == 1 } else { hosts <= 1 };
    if !has_one_length || !has_one_host {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok(match length {
        _ if is_chunked => State::ChunkSize,
        Some(length) if length > 0 => State::Body(length),
        Some(_) | None => State::Head,
    })
}

/// A line of a head, which ends in CRLF unless it is the last.
fn unended(line: &[u8], is_last: bool) -> Result<&[u8], StatusCode> {
    if is_last {
        return Ok(line);
    }
    line.strip_suffix(b"\r").ok_or(StatusCode::BAD_REQUEST)
}

/// Whether it is HTTP/1.1.
fn request_line(line: &[u8]) -> Result<bool, StatusCode> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(StatusCode::BAD_REQUEST);
    };
    if target.len() > TARGET_BYTES_MAX {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let is_known = is_token(method) && method.len() <= METHOD_BYTES_MAX;
    if !is_known || method == REFUSED.as_bytes() {
        return Err(StatusCode::BAD_REQUEST);
    }
    if method == b"CONNECT" {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let is_path = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
    if !is_path || target.iter().any(|byte| byte.is_ascii_control()) {
        return Err(StatusCode::BAD_REQUEST);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// Name and value of a header line.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), StatusCode> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.ok_or(StatusCode::BAD_REQUEST)?);
    let value = &value[1..];
    if is_token(name) && is_text(value) {
        Ok((name, value))
    } else {
        Err(StatusCode::BAD_REQUEST)
    }
}

/// A length in digits alone, behind one blank at most.
fn digits(value: &[u8]) -> Result<u64, StatusCode> {
    let digits = value.strip_prefix(b" ").unwrap_or(value);
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| StatusCode::BAD_REQUEST)?;
    digits.parse().map_err(|_| StatusCode::BAD_REQUEST)
}

fn is_token(word: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(is_of_token)
}

fn is_text(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// How long nothing may come from a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// Whatever it is doing.
    pub(crate) always: Option<Duration>,
    /// While a request of it is incomplete.
    pub(crate) in_request: Option<Duration>,
}

/// A socket behind a guard.
pub(crate) struct Guarded<S> {
    socket: S,
    patience: Patience,
    /// When something came or went last.
    moved: Instant,
    /// When something must have come, while we wait for that.
    read_until: Option<Pin<Box<Sleep>>>,
    guard: Guard,
    raw: BytesMut,
    cleared: BytesMut,
    /// When the client must have taken something, while we wait for that.
    write_until: Option<Pin<Box<Sleep>>>,
    /// Until when it is read at the end, and how much more.
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(socket: S, patience: Patience) -> Self {
        Self {
            socket,
            patience,
            moved: Instant::now(),
            read_until: None,
            guard: Guard::default(),
            raw: BytesMut::new(),
            cleared: BytesMut::new(),
            write_until: None,
            linger: None,
        }
    }

    /// What a write came to: an error if it has been waiting for too long.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_until = None;
            return written;
        }
        let until = self
            .write_until
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S> Guarded<S> {
    /// Remembers when something went to the client.
    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(count)) if *count > 0) {
            self.moved = Instant::now();
        }
    }

    /// Waits for input: an error if that takes too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Patience { always, in_request } = self.patience;
        let is_between = self.guard.is_between() && self.raw.is_empty();
        let limit = match in_request.filter(|_| !is_between) {
            Some(limit) => Some(always.map_or(limit, |always| limit.min(always))),
            None => always,
        };
        let Some(limit) = limit else {
            return Poll::Pending;
        };
        loop {
            // An answer may have gone since it was begun to wait.
            let at = self.moved + limit;
            let until = self
                .read_until
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            ready!(until.as_mut().poll(context));
            if at <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.read_until = None;
        }
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads up to `into.len()` bytes; 0 at the end.
    fn poll_raw(
        &mut self,
        context: &mut Context<'_>,
        into: &mut [u8; READ_BYTES],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.cleared.is_empty() {
            if this.guard.is_refused() {
                // The refusal ends the connection.
                return Poll::Pending;
            }
            let mut bytes = [0; READ_BYTES];
            let count = match this.poll_raw(context, &mut bytes) {
                Poll::Ready(count) => count?,
                Poll::Pending => return this.wait(context),
            };
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            this.read_until = None;
            this.moved = Instant::now();
            this.raw.extend_from_slice(&bytes[..count]);
            this.guard
                .advance(&mut this.raw, &mut this.cleared)
                .map_err(|BrokenBody| io::Error::from(io::ErrorKind::InvalidData))?;
        }
        let count = this.cleared.len().min(out.remaining());
        out.put_slice(&this.cleared.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.note(&written);
        this.watched(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.note(&written);
        this.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(context);
        this.watched(context, flushed)
    }

    /// Whoever was refused in the middle of sending gets some time to read why: closing a socket with unread input would take the answer
    /// away from it.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let closed = Pin::new(&mut this.socket).poll_shutdown(context);
            ready!(this.watched(context, closed))?;
            if this.guard.is_between() && this.raw.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let until = tokio::time::sleep_until(Instant::now() + LINGER);
            this.linger = Some((Box::pin(until), LINGER_BYTES_MAX));
        }
        loop {
            let mut bytes = [0; READ_BYTES];
            let read = this.poll_raw(context, &mut bytes);
            let Some((until, left)) = &mut this.linger else {
                return Poll::Ready(Ok(()));
            };
            match read {
                Poll::Ready(Ok(count)) if count > 0 && count < *left => *left -= count,
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(until.as_mut().poll(context));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What gets through, in whatever pieces it comes.
    fn through(input: &[u8]) -> Result<String, BrokenBody> {
        let whole = in_pieces(input, input.len().max(1));
        for size in [1, 2, 3, 7] {
            assert_eq!(in_pieces(input, size), whole, "pieces of {size}");
        }
        whole
    }

    fn in_pieces(input: &[u8], size: usize) -> Result<String, BrokenBody> {
        let mut guard = Guard::default();
        let (mut raw, mut cleared) = (BytesMut::new(), BytesMut::new());
        for piece in input.chunks(size) {
            raw.extend_from_slice(piece);
            guard.advance(&mut raw, &mut cleared)?;
        }
        Ok(String::from_utf8_lossy(&cleared).into_owned())
    }

    fn is_refused_with(input: &[u8], code: u16) {
        let passed = through(input).unwrap();
        let shown = String::from_utf8_lossy(&input[..input.len().min(200)]);
        assert!(
            passed.contains(&format!("REFUSED /{code} ")),
            "{shown}: {passed}"
        );
    }

    fn passes(input: &str) {
        assert_eq!(through(input.as_bytes()).as_deref(), Ok(input), "{input}");
    }

    #[test]
    fn plain_requests_pass_as_they_are() {
        passes("GET /api/x?y=%2F HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
        passes("GET / HTTP/1.0\r\n\r\n");
        passes("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        passes("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab\n\r\x00");
        passes("PUT /a HTTP/1.1\r\nhost:a\r\ncontent-length:0\r\n\r\n");
        passes(concat!(
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
            "GET /b HTTP/1.1\r\nHost: a\r\nX: \tok\u{e9}\r\n\r\n",
        ));
        assert_eq!(
            through(b"\r\nGET / HTTP/1.0\r\n\r\n").unwrap(),
            "GET / HTTP/1.0\r\n\r\n"
        );
    }

    #[test]
    fn heads_of_two_meanings_are_refused() {
        let with = |lines: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 5,5\r\n",
            "Content-Length:  5\r\n",
            "Content-Length: 5 \r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding:\x0bchunked\r\n",
            "X: a\n",
            "X: a\r\n folded\r\n",
            "X : a\r\n",
            ": a\r\n",
            "X\r\n",
            "X: a\0b\r\n",
            "X: a\rb\r\n",
            "X: a\x7f\r\n",
            "Host: b\r\n",
        ] {
            is_refused_with(with(lines).as_bytes(), 400);
        }
        for head in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "REFUSED /200 HTTP/1.1\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
        ] {
            is_refused_with(head.as_bytes(), 400);
        }
        is_refused_with(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405);
    }

    #[test]
    fn what_follows_a_refusal_is_not_read() {
        let input = b"GET /\r\n\r\nGET /api HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(!through(input).unwrap().contains("/api"));
        let input = b"GET /api HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n";
        let passed = through(input).unwrap();
        assert!(passed.starts_with("GET /api") && passed.contains("REFUSED /400"));
    }

    #[test]
    fn heads_have_limits() {
        let many = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(HEADERS_MAX)
        );
        is_refused_with(many.as_bytes(), 431);
        let large = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nA: {}",
            "x".repeat(HEAD_BYTES_MAX)
        );
        assert!(
            in_pieces(large.as_bytes(), READ_BYTES)
                .unwrap()
                .contains("/431")
        );
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "x".repeat(TARGET_BYTES_MAX)
        );
        assert!(
            in_pieces(long.as_bytes(), READ_BYTES)
                .unwrap()
                .contains("/414")
        );
        let endless = format!("GET /{}", "x".repeat(1 << 20));
        assert!(
            in_pieces(endless.as_bytes(), READ_BYTES)
                .unwrap()
                .contains("/414")
        );
    }

    #[test]
    fn chunks_of_two_meanings_break_the_connection() {
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in [
            "FFFFFFFFFFFFFFFF\r\n",
            "10000000000000000\r\n",
            "0x5\r\nhello\r\n",
            "-1\r\n",
            "+5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5;a=\0\r\nhello\r\n",
            "0\r\nBad Trailer: x\r\n\r\n",
            "0\r\n\n",
        ] {
            let input = format!("{head}{body}");
            assert_eq!(through(input.as_bytes()), Err(BrokenBody), "{body:?}");
        }
        for body in [
            format!("5;{}\r\nhello\r\n", "x".repeat(1 << 20)),
            format!("0\r\n{}\r\n", "A: b\r\n".repeat(1 << 17)),
            format!("0\r\nA: {}\r\n\r\n", "b".repeat(1 << 20)),
        ] {
            let input = format!("{head}{body}");
            assert_eq!(in_pieces(input.as_bytes(), READ_BYTES), Err(BrokenBody));
        }
    }
}
