//! The control socket: how command line tools reach the process of a node.
//!
//! HTTP/1 on a Unix socket in the data directory, open to its owner and to whoever knows the secret beside it. Below `/control/` are
//! answers that only operators on this host may have, below `/api/` those of the HTTP API, for an administrator who needs no
//! password. The socket belongs to the process: it is open while the broker is stopped, and then only knows how to start it.
//!
//! It listens to nobody on the network, and decides nothing that the API does not decide.

use crate::call::Caller;
use crate::json::{Json, Object, object};
use crate::server::{self, Server};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use node::config::{Place, Settings};
use node::{Lifecycle, Phase};
use parking_lot::RwLock;
use std::convert::Infallible;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;
use tokio::net::{UnixListener, UnixStream};

/// Connections at once; others wait in the kernel.
const CONNECTIONS_MAX: usize = 64;
/// From the first byte of a header to its end.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, so that it is not tried in a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Characters of a new secret: 120 bits and more.
const SECRET_LENGTH: usize = 24;
/// A secret that is longer is no secret.
const SECRET_BYTES_MAX: u64 = 1_024;
/// Longest wait that a client can ask for.
const PATIENCE_MAX: Duration = Duration::from_secs(86_400);

/// The control socket of this process.
pub struct Control {
    shared: Arc<Shared>,
    socket: PathBuf,
    /// Says that this process is the one that has the socket.
    _lock: OwnedFd,
}

struct Shared {
    lifecycle: Arc<Lifecycle>,
    place: Place,
    secret: String,
    started: Instant,
    /// The API of the broker, while it runs.
    api: RwLock<Option<Arc<Server>>>,
    /// Held while the broker is started, stopped or reset.
    changing: tokio::sync::Mutex<()>,
}

impl Control {
    /// Opens the socket in the data directory of these settings, which is created if it is missing. `None` if it cannot be opened,
    /// which is logged, or another process has it: that one has the data directory too, and this one will not get far.
    pub fn open(settings: &Settings, lifecycle: Arc<Lifecycle>, started: Instant) -> Option<Self> {
        Self::try_open(settings, lifecycle, started).unwrap_or_else(|error| {
            tracing::warn!(%error, "command line tools will not reach this node: no control socket");
            None
        })
    }

    fn try_open(
        settings: &Settings,
        lifecycle: Arc<Lifecycle>,
        started: Instant,
    ) -> io::Result<Option<Self>> {
        let place = Place::of(settings);
        fs::create_dir_all(&place.data_dir)?;
        let Some(lock) = lock(&place)? else {
            return Ok(None);
        };
        let shared = Arc::new(Shared {
            lifecycle,
            secret: secret(&place)?,
            started,
            api: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            place,
        });
        let socket = shared.place.control_socket();
        let listener = listen(&shared.place.data_dir, &socket)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Both are open before anybody is told that the node is ready.
        if let Some(asked) = listen_by_name(&shared.place) {
            runtime.spawn(tell_directory(shared.place.clone(), asked));
        }
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || runtime.block_on(accept(accepting, listener)))?;
        Ok(Some(Self {
            shared,
            socket,
            _lock: lock,
        }))
    }

    /// The broker runs, and this is its API.
    pub(crate) fn attach(&self, server: Arc<Server>) -> Attached {
        *self.shared.api.write() = Some(server);
        Attached(Arc::clone(&self.shared))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The next process makes a new one in any case.
        let _ = fs::remove_file(&self.socket);
    }
}

/// The broker's API is reached over the socket as long as this is there.
pub(crate) struct Attached(Arc<Shared>);

impl Drop for Attached {
    fn drop(&mut self) {
        *self.0.api.write() = None;
    }
}

/// Locks the socket's place. `None` if another process has.
fn lock(place: &Place) -> io::Result<Option<OwnedFd>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(place.control_lock())?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file.into())),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The secret that is there, or a new one.
fn secret(place: &Place) -> io::Result<String> {
    let path = place.control_secret();
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => _ = file.take(SECRET_BYTES_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if !text.trim().is_empty() {
        return Ok(text.trim().to_owned());
    }
    let letter = |_| char::from(b'A' + rand::random_range(0..26));
    let new: String = (0..SECRET_LENGTH).map(letter).collect();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(new.as_bytes())?;
    file.sync_all()?;
    Ok(new)
}

/// Paths of sockets are short; that of the directory's descriptor always is.
fn listen(data_dir: &Path, socket: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let directory = File::open(data_dir)?;
    let name = socket.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    let listener = std::os::unix::net::UnixListener::bind(short)?;
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(shared: Arc<Shared>, listener: std::os::unix::net::UnixListener) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the control socket cannot be used");
            return;
        }
    };
    let connections = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&connections)
            .acquire_owned()
            .await
            .expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    drive(shared, stream).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

/// Opens the socket at which tools that know no more than the node's name ask where its data is.
#[cfg(target_os = "linux")]
fn listen_by_name(place: &Place) -> Option<std::os::unix::net::UnixListener> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;
    let bound = SocketAddr::from_abstract_name(place.directory_socket())
        .and_then(|address| std::os::unix::net::UnixListener::bind_addr(&address))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound
        .inspect_err(|error| {
            let node = &place.node_name;
            tracing::warn!(node, %error, "tools find this node by its data directory only: another one of its name runs on this host");
        })
        .ok()
}

/// There is no such namespace here: tools find the node by its data directory.
#[cfg(not(target_os = "linux"))]
fn listen_by_name(_place: &Place) -> Option<std::os::unix::net::UnixListener> {
    None
}

/// Answers them.
async fn tell_directory(place: Place, asked: std::os::unix::net::UnixListener) {
    use std::os::unix::ffi::OsStrExt as _;
    let listener = match UnixListener::from_std(asked) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "tools find this node by its data directory only");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let path = place.data_dir.as_os_str().as_bytes();
                // Whoever does not listen does not want to know.
                let told = tokio::io::AsyncWriteExt::write_all(&mut stream, path);
                let _ = tokio::time::timeout(HEADER_TIMEOUT, told).await;
            }
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

async fn drive(shared: Arc<Shared>, stream: UnixStream) {
    let service = service_fn(|request| respond(Arc::clone(&shared), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "control connection ended");
    }
}

async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<server::Body>, Infallible> {
    let (head, body) = request.into_parts();
    if !shared.knows_secret(&head.headers) {
        return Ok(error(StatusCode::UNAUTHORIZED, "wrong secret"));
    }
    if let Some(action) = head.uri.path().strip_prefix("/control/node/") {
        return Ok(shared
            .node(action, &head.method, head.uri.query().unwrap_or_default())
            .await);
    }
    let api = shared.api.read().clone();
    let Some(api) = api else {
        return Ok(error(StatusCode::SERVICE_UNAVAILABLE, "not running"));
    };
    Ok(server::answer(&api, &head, body.into(), Caller::Operator).await)
}

impl Shared {
    fn knows_secret(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes())
            .and_then(|value| value.strip_prefix(b"Secret "));
        given.is_some_and(|given| bool::from(given.ct_eq(self.secret.as_bytes())))
    }

    /// What the process can do whether the broker runs or not.
    async fn node(&self, action: &str, method: &Method, query: &str) -> Response<server::Body> {
        let is_change = *method == Method::POST;
        match action {
            "ping" => server::json(StatusCode::OK, self.describe()),
            "await" => {
                let seconds = query.parse().map_or(PATIENCE_MAX, Duration::from_secs);
                let running = self.lifecycle.await_running(seconds.min(PATIENCE_MAX));
                let running = running.await;
                server::json(StatusCode::OK, object! { "running" => running })
            }
            "halt" if is_change => {
                self.lifecycle.end();
                server::json(StatusCode::OK, self.describe())
            }
            "stop" if is_change => {
                let _changing = self.changing.lock().await;
                self.lifecycle.stop().await;
                server::json(StatusCode::OK, self.describe())
            }
            "start" if is_change => {
                let _changing = self.changing.lock().await;
                match self.lifecycle.start().await {
                    Ok(()) => server::json(StatusCode::OK, self.describe()),
                    Err(reason) => error(StatusCode::INTERNAL_SERVER_ERROR, &reason),
                }
            }
            "reset" if is_change => {
                let _changing = self.changing.lock().await;
                self.reset()
            }
            _ => error(StatusCode::NOT_FOUND, "no such action"),
        }
    }

    fn describe(&self) -> Object {
        let (phase, failure) = match self.lifecycle.phase() {
            Phase::Booting => ("booting", None),
            Phase::Running => ("running", None),
            Phase::Stopping => ("stopping", None),
            Phase::Stopped { failure } => ("stopped", failure),
        };
        object! {
            "node" => self.place.node_name.clone(),
            "pid" => std::process::id(),
            "phase" => phase,
            "failure" => failure.map_or(Json::Null, Json::from),
            "uptime_ms" => self.started.elapsed().as_millis(),
            "data_directory" => self.place.data_dir.display().to_string(),
            "version" => node::RABBITMQ_VERSION,
        }
    }

    fn reset(&self) -> Response<server::Body> {
        if !matches!(self.lifecycle.phase(), Phase::Stopped { .. }) {
            return error(StatusCode::CONFLICT, "the broker is running");
        }
        match node::erase_data(&self.place.data_dir) {
            Ok(()) => {
                tracing::warn!("the data directory was reset");
                server::json(StatusCode::OK, self.describe())
            }
            Err(failure) => error(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!(
                    "cannot erase data in {}: {failure}",
                    self.place.data_dir.display()
                ),
            ),
        }
    }
}

fn error(status: StatusCode, reason: &str) -> Response<server::Body> {
    server::json(
        status,
        object! { "error" => "control", "reason" => reason.to_owned() },
    )
}
