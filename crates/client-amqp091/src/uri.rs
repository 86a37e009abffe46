//! AMQP URIs: `amqp://user:password@host:port/vhost`.
//!
//! Only plain TCP is spoken here; an `amqps` URI is refused by name rather than connected to in the clear.
//! RabbitMQ docs: uri-spec.

use std::fmt;
use std::str::FromStr;

/// Port of plain AMQP when the URI names none.
const DEFAULT_PORT: u16 = 5672;

/// Where a broker is and who connects to which vhost.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUri {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port, 5672 unless given.
    pub port: u16,
    /// User name, `guest` unless given.
    pub user: String,
    /// Password, `guest` unless given.
    pub password: String,
    /// Virtual host, `/` unless the URI has a path.
    pub vhost: String,
}

impl Default for AmqpUri {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: DEFAULT_PORT,
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
        }
    }
}

/// Why a text is not an AMQP URI we can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// The text does not begin with `amqp://`.
    #[error("URI scheme must be amqp://")]
    Scheme,
    /// TLS is asked for.
    #[error("amqps is not supported by this client")]
    Tls,
    /// The text behind the colon of the host is not a port.
    #[error("invalid port {0:?} in URI")]
    Port(String),
    /// A percent escape is cut short, not hexadecimal, or does not give UTF-8.
    #[error("invalid percent escape in URI")]
    Escape,
    /// The path has more than one segment; a slash in a vhost name is written `%2F`.
    #[error("vhost in URI has an unescaped '/'")]
    Vhost,
}

impl FromStr for AmqpUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.starts_with("amqps://") {
            return Err(UriError::Tls);
        }
        let rest = text.strip_prefix("amqp://").ok_or(UriError::Scheme)?;
        let rest = rest.split_once('?').map_or(rest, |(before, _query)| before);
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let mut uri = Self::default();
        let address = match authority.rsplit_once('@') {
            Some((login, address)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, "guest"));
                uri.user = percent_decoded(user)?;
                uri.password = percent_decoded(password)?;
                address
            }
            None => authority,
        };
        let (host, port) = split_host_port(address)?;
        if !host.is_empty() {
            uri.host = percent_decoded(host)?;
        }
        if let Some(port) = port {
            uri.port = port.parse().map_err(|_| UriError::Port(port.to_owned()))?;
        }
        // `amqp://host` and `amqp://host/` both mean the default vhost: load generators and scripts write the
        // trailing slash without meaning the vhost with the empty name.
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            if path.contains('/') {
                return Err(UriError::Vhost);
            }
            uri.vhost = percent_decoded(path)?;
        }
        Ok(uri)
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_host_port(address: &str) -> Result<(&str, Option<&str>), UriError> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, behind) = rest
            .split_once(']')
            .ok_or_else(|| UriError::Port(address.to_owned()))?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if behind.is_empty() => Ok((host, None)),
            None => Err(UriError::Port(behind.to_owned())),
        };
    }
    Ok(match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    })
}

fn percent_decoded(text: &str) -> Result<String, UriError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (Some(high), Some(low)) = (
                rest.next().and_then(hex_value),
                rest.next().and_then(hex_value),
            ) else {
                return Err(UriError::Escape);
            };
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| UriError::Escape)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The URI without its password, for messages to people.
impl fmt::Display for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "amqp://{}@{}:{} vhost {:?}",
            self.user, self.host, self.port, self.vhost
        )
    }
}

impl fmt::Debug for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AmqpUri, UriError> {
        text.parse()
    }

    #[test]
    fn defaults_fill_what_the_uri_leaves_out() {
        assert_eq!(parse("amqp://").unwrap(), AmqpUri::default());
        let uri = parse("amqp://broker/").unwrap();
        assert_eq!(uri.host, "broker");
        assert_eq!(uri.port, 5672);
        assert_eq!(uri.vhost, "/");
    }

    #[test]
    fn every_part_is_percent_decoded() {
        let uri = parse("amqp://us%40er:p%3Aw@10.0.0.1:25672/%2Ftest?heartbeat=5").unwrap();
        assert_eq!(uri.user, "us@er");
        assert_eq!(uri.password, "p:w");
        assert_eq!(uri.host, "10.0.0.1");
        assert_eq!(uri.port, 25672);
        assert_eq!(uri.vhost, "/test");
    }

    #[test]
    fn ipv6_addresses_are_in_brackets() {
        let uri = parse("amqp://[::1]:1234/v").unwrap();
        assert_eq!((uri.host.as_str(), uri.port), ("::1", 1234));
        assert_eq!(parse("amqp://[::1]").unwrap().host, "::1");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("http://x"), Err(UriError::Scheme));
        assert_eq!(parse("amqps://x"), Err(UriError::Tls));
        assert_eq!(
            parse("amqp://x:70000"),
            Err(UriError::Port("70000".to_owned()))
        );
        assert_eq!(parse("amqp://x/%2"), Err(UriError::Escape));
        assert_eq!(parse("amqp://x/%ff"), Err(UriError::Escape));
        assert_eq!(parse("amqp://x/a/b"), Err(UriError::Vhost));
    }

    #[test]
    fn the_password_is_not_shown() {
        let uri = parse("amqp://u:secret@h").unwrap();
        assert!(!format!("{uri:?} {uri}").contains("secret"));
    }
}
