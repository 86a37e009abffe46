//! The log at a syslog server, over UDP, TCP or a socket of this machine.
//!
//! A thread that logs never waits for the network: lines go through a channel to a thread of their own. While the server cannot be
//! reached lines are lost, as with any syslog, and the next one that arrives says how many.
//!
//! Limit: [`LINES_MAX`] lines wait.

use super::line::Civil;
use config::log::{SyslogSettings, SyslogTransport};
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracing::Level;

/// Lines that wait to be sent.
const LINES_MAX: usize = 1024;
/// How long a connection may take, and a write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to reach the server.
const RETRY_DELAY: Duration = Duration::from_secs(1);

struct Entry {
    level: Level,
    time: Duration,
    text: String,
}

/// What the threads that log write to.
pub(super) struct Syslog {
    sender: SyncSender<Entry>,
    missing: Arc<AtomicU64>,
}

impl Syslog {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// The operating system refuses the thread.
    pub(super) fn start(settings: &SyslogSettings) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let missing = Arc::<AtomicU64>::default();
        let mut worker = Worker {
            settings: settings.clone(),
            host_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            socket: None,
            tried: None,
            missing: Arc::clone(&missing),
        };
        std::thread::Builder::new()
            .name("syslog".to_owned())
            .spawn(move || worker.run(&receiver))?;
        Ok(Self { sender, missing })
    }

    pub(super) fn send(&self, level: Level, time: Duration, text: String) {
        if self.sender.try_send(Entry { level, time, text }).is_err() {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Tcp(TcpStream),
}

struct Worker {
    settings: SyslogSettings,
    host_name: String,
    socket: Option<Socket>,
    /// When the server was last looked for in vain.
    tried: Option<Instant>,
    missing: Arc<AtomicU64>,
}

impl Worker {
    /// Until nobody logs any more, which is the end of the process.
    fn run(&mut self, entries: &Receiver<Entry>) {
        while let Ok(entry) = entries.recv() {
            let parts: Vec<&str> = match self.settings.splits_lines {
                true => entry.text.lines().collect(),
                false => vec![&entry.text],
            };
            for text in parts {
                let missing = self.missing.swap(0, Ordering::Relaxed);
                let note = match missing {
                    0 => String::new(),
                    _ => format!("({missing} lines are missing before this one) "),
                };
                let message = message(
                    &self.settings,
                    &self.host_name,
                    entry.level,
                    entry.time,
                    &(note + text),
                );
                if self.deliver(message.as_bytes()).is_err() {
                    self.socket = None;
                    self.missing.fetch_add(missing + 1, Ordering::Relaxed);
                }
            }
        }
    }

    fn deliver(&mut self, message: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            if self
                .tried
                .is_some_and(|tried| tried.elapsed() < RETRY_DELAY)
            {
                return Err(io::ErrorKind::NotConnected.into());
            }
            self.tried = Some(Instant::now());
            self.socket = Some(connect(&self.settings)?);
        }
        match &mut self.socket {
            Some(Socket::Udp(socket)) => socket.send(message).map(drop),
            Some(Socket::Unix(socket)) => socket.send(message).map(drop),
            // RFC 6587, octet counting.
            Some(Socket::Tcp(socket)) => {
                let mut framed = format!("{} ", message.len()).into_bytes();
                framed.extend(message);
                socket.write_all(&framed)
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

fn connect(settings: &SyslogSettings) -> io::Result<Socket> {
    if settings.host.starts_with('/') {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&settings.host)?;
        return Ok(Socket::Unix(socket));
    }
    let mut failure = io::ErrorKind::NotFound.into();
    for address in (settings.host.as_str(), settings.port).to_socket_addrs()? {
        let connected = match settings.transport {
            SyslogTransport::Udp => {
                let any = if address.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                UdpSocket::bind(any)
                    .and_then(|socket| socket.connect(address).map(|()| Socket::Udp(socket)))
            }
            SyslogTransport::Tcp => {
                TcpStream::connect_timeout(&address, TIMEOUT).and_then(|socket| {
                    socket.set_write_timeout(Some(TIMEOUT))?;
                    Ok(Socket::Tcp(socket))
                })
            }
        };
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// RFC 3164 or RFC 5424.
fn message(
    settings: &SyslogSettings,
    host_name: &str,
    level: Level,
    time: Duration,
    text: &str,
) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    let priority = u16::from(settings.facility) * 8 + severity;
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = Civil::from_unix(time.as_secs());
    let (identity, process) = (&settings.identity, std::process::id());
    if settings.is_rfc5424 {
        let micros = time.subsec_micros();
        return format!(
            "<{priority}>1 {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z {host_name} {identity} {process} - - {text}"
        );
    }
    let month = MONTHS[usize::from(month) - 1];
    let short = host_name.split('.').next().unwrap_or(host_name);
    format!(
        "<{priority}>{month} {day:>2} {hour:02}:{minute:02}:{second:02} {short} {identity}[{process}]: {text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    const TIME: Duration = Duration::new(1_763_822_297, 635_863_000);

    #[test]
    fn messages_have_the_form_of_their_rfc() {
        let mut settings = SyslogSettings::default();
        let process = std::process::id();
        assert_eq!(
            message(&settings, "box.example.org", Level::WARN, TIME, "x"),
            format!("<28>Nov 22 14:38:17 box rabbitmq-server[{process}]: x")
        );
        settings.is_rfc5424 = true;
        settings.facility = 16;
        assert_eq!(
            message(&settings, "box.example.org", Level::ERROR, TIME, "x"),
            format!(
                "<131>1 2025-11-22T14:38:17.635863Z box.example.org rabbitmq-server {process} - - x"
            )
        );
    }

    fn at(port: u16, transport: SyslogTransport) -> SyslogSettings {
        SyslogSettings {
            port,
            transport,
            ..SyslogSettings::default()
        }
    }

    #[test]
    fn lines_arrive_over_udp() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let port = server.local_addr().unwrap().port();
        let syslog = Syslog::start(&at(port, SyslogTransport::Udp)).unwrap();
        syslog.send(Level::INFO, TIME, "one\ntwo".to_owned());
        for expected in [": one", ": two"] {
            let mut buffer = [0; 1024];
            let size = server.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..size]).unwrap();
            assert!(
                text.starts_with("<30>Nov 22") && text.ends_with(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_arrive_over_tcp_with_their_length() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let syslog = Syslog::start(&at(port, SyslogTransport::Tcp)).unwrap();
        syslog.send(Level::INFO, TIME, "one".to_owned());
        let (mut stream, _) = server.accept().unwrap();
        drop(syslog);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        assert!(message.ends_with(": one"), "{message}");
    }

    #[test]
    fn lines_arrive_over_a_socket_of_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let settings = SyslogSettings {
            host: path.display().to_string(),
            ..SyslogSettings::default()
        };
        let syslog = Syslog::start(&settings).unwrap();
        syslog.send(Level::ERROR, TIME, "one".to_owned());
        let mut buffer = [0; 1024];
        let size = server.recv(&mut buffer).unwrap();
        assert!(buffer[..size].ends_with(b": one"));
    }
}
