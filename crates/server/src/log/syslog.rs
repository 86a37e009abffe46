//! The log at a syslog server, over UDP, TCP, TLS or a socket of this machine.
//!
//! A thread that logs never waits for the network: this runs behind a [`feed`](super::feed). While the server cannot be reached lines
//! are lost, as with any syslog, and the next one that arrives says how many.

use super::feed::{Entry, Sink};
use super::line::{severity, syslog_time};
use base::Civil;
use config::log::{SyslogSettings, SyslogTransport};
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use tracing::Level;
use transport::{ClientTls, TlsOverTcp};

/// How long a connection may take, and a write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to reach the server.
const RETRY_DELAY: Duration = Duration::from_secs(1);

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Tcp(TcpStream),
    Tls(Box<TlsOverTcp>),
}

/// The server.
pub(super) struct Syslog {
    settings: SyslogSettings,
    /// What TLS makes of the settings, if it is to be spoken.
    tls: Option<ClientTls>,
    host_name: String,
    socket: Option<Socket>,
    /// When the server was last looked for in vain.
    tried: Option<Instant>,
}

impl Syslog {
    /// A server that nothing was sent to yet.
    ///
    /// # Errors
    /// A file of TLS is missing or wrong.
    pub(super) fn new(settings: &SyslogSettings) -> io::Result<Self> {
        let tls = match settings.transport {
            SyslogTransport::Tls => Some(ClientTls::new(&settings.tls)),
            SyslogTransport::Udp | SyslogTransport::Tcp => None,
        };
        let wrong = |error| io::Error::other(format!("log.syslog.ssl_options: {error}"));
        Ok(Self {
            settings: settings.clone(),
            tls: tls.transpose().map_err(wrong)?,
            host_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            socket: None,
            tried: None,
        })
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
            self.socket = Some(connect(&self.settings, self.tls.as_ref())?);
        }
        match &mut self.socket {
            Some(Socket::Udp(socket)) => socket.send(message).map(drop),
            Some(Socket::Unix(socket)) => socket.send(message).map(drop),
            Some(Socket::Tcp(socket)) => socket.write_all(&framed(message)),
            Some(Socket::Tls(socket)) => {
                socket.write_all(&framed(message))?;
                socket.flush()
            }
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Sink for Syslog {
    fn send(&mut self, entry: &Entry, note: &str) -> Result<(), usize> {
        let parts: Vec<&str> = match self.settings.splits_lines {
            true => entry.text.lines().collect(),
            false => vec![&entry.text],
        };
        let mut lost = 0;
        for (index, text) in parts.into_iter().enumerate() {
            let note = if index == 0 { note } else { "" };
            let text = format!("{note}{text}");
            let message = message(
                &self.settings,
                &self.host_name,
                entry.level,
                entry.time,
                &text,
            );
            if self.deliver(message.as_bytes()).is_err() {
                self.socket = None;
                lost += 1;
            }
        }
        if lost == 0 { Ok(()) } else { Err(lost) }
    }
}

/// RFC 6587, octet counting.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = format!("{} ", message.len()).into_bytes();
    framed.extend(message);
    framed
}

fn connect(settings: &SyslogSettings, tls: Option<&ClientTls>) -> io::Result<Socket> {
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
            SyslogTransport::Tcp | SyslogTransport::Tls => {
                TcpStream::connect_timeout(&address, TIMEOUT).and_then(|socket| {
                    socket.set_write_timeout(Some(TIMEOUT))?;
                    socket.set_read_timeout(Some(TIMEOUT))?;
                    match tls {
                        None => Ok(Socket::Tcp(socket)),
                        Some(tls) => {
                            let secured = tls.connect_blocking(&settings.host, socket)?;
                            Ok(Socket::Tls(Box::new(secured)))
                        }
                    }
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
    let priority = u16::from(settings.facility) * 8 + u16::from(severity(level));
    let (identity, process) = (&settings.identity, std::process::id());
    if settings.is_rfc5424 {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ..
        } = Civil::from_unix(time.as_secs());
        let micros = time.subsec_micros();
        return format!(
            "<{priority}>1 {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z {host_name} {identity} {process} - - {text}"
        );
    }
    let time = syslog_time(time);
    let short = host_name.split('.').next().unwrap_or(host_name);
    format!("<{priority}>{time} {short} {identity}[{process}]: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::feed::Feed;
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

    fn start(settings: &SyslogSettings) -> Feed {
        Feed::start("syslog", Syslog::new(settings).unwrap()).unwrap()
    }

    fn entry(level: Level, text: &str) -> Entry {
        Entry {
            level,
            time: TIME,
            text: text.to_owned(),
            fields: Vec::new(),
        }
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
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let port = server.local_addr().unwrap().port();
        let syslog = start(&at(port, SyslogTransport::Udp));
        syslog.send(entry(Level::INFO, "one\ntwo"));
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
        let syslog = start(&at(port, SyslogTransport::Tcp));
        syslog.send(entry(Level::INFO, "one"));
        let (mut stream, _) = server.accept().unwrap();
        drop(syslog);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        assert!(message.ends_with(": one"), "{message}");
    }

    #[test]
    fn lines_arrive_over_tls_at_a_server_that_is_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        transport::generate(directory.path(), "localhost", "guest").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let acceptor = transport::TlsAcceptor::start(transport::TlsSettings {
            certfile: Some(path("server_certificate.pem")),
            keyfile: Some(path("server_key.pem")),
            ..Default::default()
        })
        .unwrap();
        let text = runtime.block_on(async {
            use tokio::io::AsyncReadExt as _;
            let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = server.local_addr().unwrap().port();
            let mut settings = at(port, SyslogTransport::Tls);
            settings.tls.tls.cacertfile = Some(path("ca_certificate.pem"));
            let syslog = start(&settings);
            syslog.send(entry(Level::INFO, "one"));
            let (stream, _) = server.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap().stream;
            let mut text = Vec::new();
            while !text.ends_with(b": one") {
                text.push(stream.read_u8().await.unwrap());
            }
            String::from_utf8(text).unwrap()
        });
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        let mut settings = at(1, SyslogTransport::Tls);
        settings.tls.tls.cacertfile = Some(path("none.pem"));
        assert!(Syslog::new(&settings).is_err());
    }

    #[test]
    fn lines_arrive_over_a_socket_of_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let settings = SyslogSettings {
            host: path.display().to_string(),
            ..SyslogSettings::default()
        };
        let syslog = start(&settings);
        syslog.send(entry(Level::ERROR, "one"));
        let mut buffer = [0; 1024];
        let size = server.recv(&mut buffer).unwrap();
        assert!(buffer[..size].ends_with(b": one"));
    }
}
