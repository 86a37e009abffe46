//! Talking to a node over its control socket: HTTP/1.1, one connection, one request at a time.
//!
//! A connection is opened by the first request. Answers are read as a whole; the node is trusted to send no more than it says.

use crate::Failure;
use crate::failure::{DATA, TIMEOUT, UNAVAILABLE};
use config::Place;
use serde_json::Value as Json;
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

    fn ask(&mut self, method: &str, path: &str, body: Option<&Json>) -> Result<Answer, Failure> {
        if self.is_dry {
            return Err(Failure::silent());
        }
        if self.patience.is_zero() {
            return Err(self.too_late());
        }
        let answer = match self.exchange(method, path, body) {
            Ok(answer) => answer,
            Err(error) => return Err(self.failure(&error)),
        };
        if answer.status == 401 {
            return Err(unreachable(
                &self.place,
                "the node refused the secret of this tool",
                "run the tool as the user of the node, or give --erlang-cookie the text in the node's control.secret",
            ));
        }
        Ok(answer)
    }

    fn exchange(&mut self, method: &str, path: &str, body: Option<&Json>) -> io::Result<Answer> {
        if self.stream.is_none() {
            let stream = self.connect()?;
            stream.set_read_timeout(Some(self.patience))?;
            stream.set_write_timeout(Some(self.patience))?;
            self.stream = Some(BufReader::new(stream));
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
        read_answer(stream)
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

fn read_answer(stream: &mut BufReader<UnixStream>) -> io::Result<Answer> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let first = read_line(stream)?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| broken("it does not speak HTTP"))?;
    let mut length = 0_u64;
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value
                .trim()
                .parse()
                .map_err(|_| broken("a length is no number"))?;
        }
    }
    let mut body = Vec::new();
    stream.by_ref().take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let body = if body.is_empty() {
        Json::Null
    } else {
        serde_json::from_slice(&body).map_err(|_| broken("an answer is not JSON"))?
    };
    Ok(Answer { status, body })
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
