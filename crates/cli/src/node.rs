//! Talking to a node over its control socket: HTTP/1.1, one connection, one request at a time.
//!
//! A connection is opened by the first request. Answers are read as a whole, but lists row by row if the caller likes; the node is
//! trusted to send no more than it says.

use crate::Failure;
use crate::failure::{DATA, TIMEOUT, UNAVAILABLE};
use config::Place;
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value as Json;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for an answer, unless the command says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a node may take to say where its data is, on a busy machine, and how long that may be.
const DIRECTORY_PATIENCE: Duration = Duration::from_secs(10);
const DIRECTORY_BYTES_MAX: u64 = 4_096;

/// Bytes that are read of an answer at once.
const READ_BYTES: usize = 64 << 10;

/// Longest header line of an answer.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// A node that can be asked.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    secret: Option<String>,
    patience: Duration,
    /// What the operation is called when it takes too long.
    operation: String,
    stream: Option<BufReader<UnixStream>>,
    /// Nothing is asked.
    is_dry: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    /// The body; null if there is none.
    body: Json,
}

impl Answer {
    /// Whether what was asked about is not there.
    pub(crate) fn is_missing(&self) -> bool {
        self.status == 404
    }

    /// Why it was refused.
    pub(crate) fn reason(&self) -> String {
        match &self.body["reason"] {
            Json::String(reason) => reason.clone(),
            Json::Null => format!("the node answered with status {}", self.status),
            other => other.to_string(),
        }
    }

    /// What was refused, if it was.
    pub(crate) fn refused(&self) -> Option<String> {
        (self.status >= 300).then(|| self.reason())
    }

    /// The body.
    ///
    /// # Errors
    /// It was refused.
    pub(crate) fn ok(self) -> Result<Json, Failure> {
        if self.status < 300 {
            return Ok(self.body);
        }
        let code = if self.status == 404 {
            DATA
        } else {
            UNAVAILABLE
        };
        Err(Failure::error(code, self.reason()))
    }
}

impl Node {
    /// A node at a place. The secret is the one in its data directory, unless there is another.
    pub(crate) fn new(
        place: Place,
        secret: Option<String>,
        patience: Option<Duration>,
        operation: &str,
    ) -> Self {
        Self {
            place,
            secret,
            patience: patience.unwrap_or(PATIENCE),
            operation: operation.to_owned(),
            stream: None,
            is_dry: false,
        }
    }

    /// Asks nothing from now on: the first request ends the command.
    pub(crate) fn stay_dry(&mut self) {
        self.is_dry = true;
    }

    /// The secret that the node is shown.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub(crate) fn secret(&self) -> io::Result<String> {
        match &self.secret {
            Some(secret) => Ok(secret.clone()),
            None => Ok(std::fs::read_to_string(self.place.control_secret())?
                .trim()
                .to_owned()),
        }
    }

    /// The node's name.
    pub(crate) fn name(&self) -> &str {
        &self.place.node_name
    }

    /// Waits so long from now on.
    pub(crate) fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
        self.stream = None;
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.ask("GET", path, None)
    }

    pub(crate) fn put(&mut self, path: &str, body: &Json) -> Result<Answer, Failure> {
        self.ask("PUT", path, Some(body))
    }

    pub(crate) fn post(&mut self, path: &str, body: &Json) -> Result<Answer, Failure> {
        self.ask("POST", path, Some(body))
    }

    pub(crate) fn delete(&mut self, path: &str) -> Result<Answer, Failure> {
        self.ask("DELETE", path, None)
    }

    /// Asks for a list and passes each row on as it comes. Any other answer, also a refusal, is returned.
    pub(crate) fn list(
        &mut self,
        path: &str,
        each: &mut dyn FnMut(Json),
    ) -> Result<Option<Answer>, Failure> {
        self.request("GET", path, None, |status, body| {
            if status == 200 {
                read_rows(body, each).map(|()| None)
            } else {
                Answer::read(status, body).map(Some)
            }
        })
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Json>) -> Result<Answer, Failure> {
        self.request(method, path, body, Answer::read)
    }

    fn request<T>(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Json>,
        read: impl FnOnce(u16, Body<'_>) -> io::Result<T>,
    ) -> Result<T, Failure> {
        if self.is_dry {
            return Err(Failure::silent());
        }
        if self.patience.is_zero() {
            return Err(self.too_late());
        }
        let (status, answer) = match self.exchange(method, path, body, read) {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&error)),
        };
        if status == 401 {
            return Err(unreachable(
                &self.place,
                "the node refused the secret of this tool",
                "run the tool as the user of the node, or give --erlang-cookie the text in the node's control.secret",
            ));
        }
        Ok(answer)
    }

    fn exchange<T>(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Json>,
        read: impl FnOnce(u16, Body<'_>) -> io::Result<T>,
    ) -> io::Result<(u16, T)> {
        if self.stream.is_none() {
            let stream = self.connect()?;
            stream.set_read_timeout(Some(self.patience))?;
            stream.set_write_timeout(Some(self.patience))?;
            self.stream = Some(BufReader::with_capacity(READ_BYTES, stream));
        }
        let secret = self.secret()?;
        let body = body.map(Json::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\nAuthorization: Secret {}\r\nContent-Length: {}\r\n\r\n{body}",
            secret.trim(),
            body.len(),
        );
        let stream = self.stream.as_mut().expect("it was opened above");
        stream.get_mut().write_all(request.as_bytes())?;
        let (status, body) = Body::begin(stream)?;
        Ok((status, read(status, body)?))
    }

    /// Connects to the node where it should be, or where a process of its name says that it is.
    fn connect(&mut self) -> io::Result<UnixStream> {
        let error = match connect(&self.place) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let is_absent = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        );
        if !is_absent || self.place.is_certain {
            return Err(error);
        }
        let Some(directory) = directory_of(&self.place) else {
            return Err(error);
        };
        let own_list = self.place.data_dir.join("enabled_plugins");
        if self.place.enabled_plugins == own_list {
            self.place.enabled_plugins = directory.join("enabled_plugins");
        }
        self.place.data_dir = directory;
        connect(&self.place)
    }

    fn too_late(&self) -> Failure {
        Failure::plain(
            TIMEOUT,
            format!(
                "Error: operation {} on node {} timed out. Timeout value used: {}",
                self.operation,
                self.place.node_name,
                self.patience.as_millis(),
            ),
        )
    }

    fn failure(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.too_late(),
            io::ErrorKind::PermissionDenied => {
                let owner = owner(&self.place.data_dir);
                unreachable(
                    &self.place,
                    "this user may not read the node's data directory",
                    &match owner {
                        Some(owner) => format!(
                            "run the tool as {owner}, to whom the directory belongs, or as root"
                        ),
                        None => "run the tool as the user of the node, or as root".to_owned(),
                    },
                )
            }
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => unreachable(
                &self.place,
                "no process has the node's control socket open: the node does not run here",
                "start the node, or name another one with -n; RABBITMQ_MNESIA_BASE and RABBITMQ_MNESIA_DIR must be those of the node",
            ),
            _ => unreachable(
                &self.place,
                &format!("the connection to the node broke: {error}"),
                "look at the node's log",
            ),
        }
    }
}

/// The user to whom a directory belongs, or the nearest directory around it that can be looked at.
fn owner(directory: &Path) -> Option<String> {
    let uid = directory
        .ancestors()
        .find_map(|path| path.metadata().ok())?
        .uid()
        .to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    Some(name.unwrap_or_else(|| format!("user {uid}")))
}

/// Paths of sockets are short; that of the directory's descriptor always is.
fn connect(place: &Place) -> io::Result<UnixStream> {
    let directory = File::open(&place.data_dir)?;
    let socket = place.control_socket();
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(socket.file_name().unwrap_or_default());
    UnixStream::connect(short)
}

/// The data directory of a running node, as it says itself. A process of another user is believed by root only.
#[cfg(target_os = "linux")]
fn directory_of(place: &Place) -> Option<PathBuf> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::net::SocketAddr;
    let address = SocketAddr::from_abstract_name(place.directory_socket()).ok()?;
    let stream = UnixStream::connect_addr(&address).ok()?;
    stream.set_read_timeout(Some(DIRECTORY_PATIENCE)).ok()?;
    let other = rustix::net::sockopt::socket_peercred(&stream).ok()?.uid;
    let own = rustix::process::geteuid();
    if !own.is_root() && !other.is_root() && own != other {
        return None;
    }
    let mut path = Vec::new();
    stream
        .take(DIRECTORY_BYTES_MAX)
        .read_to_end(&mut path)
        .ok()?;
    (!path.is_empty()).then(|| PathBuf::from(std::ffi::OsString::from_vec(path)))
}

#[cfg(not(target_os = "linux"))]
fn directory_of(_place: &Place) -> Option<PathBuf> {
    None
}

impl Answer {
    fn read(status: u16, mut body: Body<'_>) -> io::Result<Self> {
        let mut text = Vec::new();
        body.read_to_end(&mut text)?;
        let body = if text.is_empty() {
            Json::Null
        } else {
            serde_json::from_slice(&text).map_err(|_| broken("an answer is not JSON"))?
        };
        Ok(Self { status, body })
    }
}

/// Passes on the rows of a list, and reads what may be behind it.
fn read_rows(body: Body<'_>, each: &mut dyn FnMut(Json)) -> io::Result<()> {
    let mut body = BufReader::with_capacity(READ_BYTES, body);
    let mut document = serde_json::Deserializer::from_reader(&mut body);
    document.deserialize_seq(Rows(each))?;
    io::copy(&mut body, &mut io::sink()).map(drop)
}

/// Takes a list apart.
struct Rows<'a>(&'a mut dyn FnMut(Json));

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element()? {
            (self.0)(row);
        }
        Ok(())
    }
}

/// The body of an answer: of a length that is known from the start, or in chunks that come as they are written.
struct Body<'a> {
    stream: &'a mut BufReader<UnixStream>,
    /// Bytes of what is said to come.
    left: u64,
    /// More chunks may come.
    is_chunked: bool,
}

impl<'a> Body<'a> {
    /// Reads what comes before a body: the status, and how long the body is.
    fn begin(stream: &'a mut BufReader<UnixStream>) -> io::Result<(u16, Self)> {
        let first = read_line(stream)?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| broken("it does not speak HTTP"))?;
        let (mut left, mut is_chunked) = (0, false);
        loop {
            let line = read_line(stream)?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.trim().parse();
                left = length.map_err(|_| broken("a length is no number"))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        let body = Self {
            stream,
            left,
            is_chunked,
        };
        Ok((status, body))
    }

    /// Reads how long the next chunk is, and behind the last one what ends the body.
    fn begin_chunk(&mut self) -> io::Result<()> {
        let line = read_line(self.stream)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16);
        self.left = size.map_err(|_| broken("the size of a chunk is no number"))?;
        if self.left == 0 {
            self.is_chunked = false;
            while !read_line(self.stream)?.is_empty() {}
        }
        Ok(())
    }
}

impl io::Read for Body<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.is_chunked {
            self.begin_chunk()?;
        }
        if self.left == 0 || bytes.is_empty() {
            return Ok(0);
        }
        let count = self.stream.by_ref().take(self.left).read(bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        if self.left == 0 && self.is_chunked && !read_line(self.stream)?.is_empty() {
            return Err(broken("a chunk is longer than it says"));
        }
        Ok(count)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A node that cannot be reached: what is known about it, and what to do.
pub(crate) fn unreachable(place: &Place, what: &str, suggestion: &str) -> Failure {
    let Place {
        node_name,
        data_dir,
        ..
    } = place;
    let host = node_name.split_once('@').map_or("", |(_, host)| host);
    let home = std::env::var("HOME").unwrap_or_default();
    Failure::plain(
        UNAVAILABLE,
        format!(
            "Error: unable to perform an operation on node '{node_name}'. Please see diagnostics information and suggestions below.\n\n\
             DIAGNOSTICS\n===========\n\n\
             attempted to contact: [{node_name}]\n\n\
             {node_name}:\n\
             \x20 * looked on host {host} in data directory {}\n\
             \x20 * {what}\n\
             \x20 * suggestion: {suggestion}\n\n\
             Current node details:\n\
             \x20 * effective user's home directory: {home}\n\
             \x20 * secret of the node: {}\n",
            data_dir.display(),
            place.control_secret().display(),
        ),
    )
}

/// A name as a part of a path.
pub(crate) fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    /// What a body is read as, if the node writes these bytes in one go or one at a time.
    fn read(answer: &'static str, at_once: usize) -> io::Result<(u16, String, Vec<Json>)> {
        let (client, mut server) = UnixStream::pair().unwrap();
        let writing = std::thread::spawn(move || {
            for piece in answer.as_bytes().chunks(at_once) {
                server.write_all(piece).unwrap();
            }
            server.shutdown(Shutdown::Write).unwrap();
        });
        let mut stream = BufReader::new(client);
        let (status, body) = Body::begin(&mut stream)?;
        let mut rows = Vec::new();
        let read = read_rows(body, &mut |row| rows.push(row));
        writing.join().unwrap();
        read?;
        let mut next = String::new();
        stream.read_to_string(&mut next)?;
        Ok((status, next, rows))
    }

    #[test]
    fn a_list_comes_in_chunks_or_as_a_whole() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n[1,[],{\"a\":2}]\nnext",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1,[\r\nb;x=y\r\n],{\"a\":2}]\n\r\n0\r\nA: b\r\n\r\nnext",
        ] {
            for at_once in [1, 7, 1000] {
                let (status, next, rows) = read(answer, at_once).unwrap();
                assert_eq!((status, next.as_str()), (200, "next"));
                assert_eq!(Json::from(rows), serde_json::json!([1, [], { "a": 2 }]));
            }
        }
    }

    #[test]
    fn a_list_that_breaks_off_is_no_list() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n[1,[],{\"a\"",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1,2\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1]\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        ] {
            assert!(read(answer, 1000).is_err(), "{answer}");
        }
    }
}
