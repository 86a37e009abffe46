//! The header of the PROXY protocol, versions 1 and 2: who the client behind a proxy is.
//!
//! [`parse`] is pure; [`read`] takes exactly the header off a socket and nothing of what follows. Additions of version 2 (TLVs) are skipped.
//! Whether a header is expected is the listener's configuration, never guessed.
//!
//! Spec: haproxy.org, proxy-protocol.txt.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest header of version 1, with its line end.
const V1_BYTES_MAX: usize = 107;
/// Longest header of version 2 that is accepted; additions beyond it are refused.
const V2_BYTES_MAX: usize = 4096;
/// What version 2 begins with.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const V2_FIXED_BYTES: usize = 16;
const V1_SIGNATURE: &[u8] = b"PROXY ";

/// Whom a header tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy itself, or nobody it could name: the addresses are those of the socket.
    Local,
    /// A client of the proxy.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// What it connected to.
        destination: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// They begin like something else.
    #[error("no PROXY protocol header; does the client come past the proxy?")]
    Absent,
    /// They begin like a header, and then break its rules.
    #[error("malformed PROXY protocol header")]
    Malformed,
    /// There are more of them than a header may have.
    #[error("PROXY protocol header is too long")]
    TooLong,
}

/// Reads a header at the start of `input`, and how long it is. `None`: more is needed.
///
/// # Errors
/// There is none, or it is malformed.
pub fn parse(input: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let begins = |signature: &[u8]| {
        let seen = input.len().min(signature.len());
        input[..seen] == signature[..seen]
    };
    if begins(&V2_SIGNATURE) {
        parse_v2(input)
    } else if begins(V1_SIGNATURE) {
        parse_v1(input)
    } else {
        Err(HeaderError::Absent)
    }
}

/// Reads a header off a socket.
///
/// # Errors
/// `UnexpectedEof` if the peer leaves first, `InvalidData` with a [`HeaderError`] inside.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Header> {
    let invalid = |error: HeaderError| io::Error::new(io::ErrorKind::InvalidData, error);
    // No header is shorter than the signature of version 2.
    let mut bytes = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut bytes[..1]).await?;
    parse(&bytes[..1]).map_err(invalid)?;
    stream.read_exact(&mut bytes[1..]).await?;
    loop {
        if let Some((header, _)) = parse(&bytes).map_err(invalid)? {
            return Ok(header);
        }
        let missing = match bytes.get(14..16) {
            // The end of a line is not known before it is there.
            _ if bytes.starts_with(V1_SIGNATURE) => 1,
            None => V2_FIXED_BYTES - bytes.len(),
            Some(_) => v2_length(&bytes).map_err(invalid)? - bytes.len(),
        };
        let old = bytes.len();
        bytes.resize(old + missing, 0);
        stream.read_exact(&mut bytes[old..]).await?;
    }
}

fn parse_v1(input: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let window = &input[..input.len().min(V1_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() >= V1_BYTES_MAX {
            Err(HeaderError::TooLong)
        } else {
            Ok(None)
        };
    };
    let line = std::str::from_utf8(&input[..end]).map_err(|_| HeaderError::Malformed)?;
    let size = end + 2;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(HeaderError::Malformed)?;
    // What follows it means nothing.
    if family == "UNKNOWN" {
        return Ok(Some((Header::Local, size)));
    }
    let [Some(from), Some(to), Some(from_port), Some(to_port), None] = [
        words.next(),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
    ] else {
        return Err(HeaderError::Malformed);
    };
    let ip = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    // Digits only, without leading zeros.
    let port = |text: &str| {
        let port: u16 = text.parse().ok()?;
        (port.to_string() == text).then_some(port)
    };
    let address = |host, number| Some(SocketAddr::new(ip(host)?, port(number)?));
    match (address(from, from_port), address(to, to_port)) {
        (Some(source), Some(destination)) => Ok(Some((
            Header::Proxied {
                source,
                destination,
            },
            size,
        ))),
        _ => Err(HeaderError::Malformed),
    }
}

/// The whole length that a header of version 2 announces; its fixed part must be there.
fn v2_length(input: &[u8]) -> Result<usize, HeaderError> {
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([input[14], input[15]]));
    if length > V2_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    Ok(length)
}

fn parse_v2(input: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    if input.len() < V2_FIXED_BYTES {
        return Ok(None);
    }
    let size = v2_length(input)?;
    let is_local = match input[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Malformed),
    };
    if input.len() < size {
        return Ok(None);
    }
    let addresses = &input[V2_FIXED_BYTES..size];
    let header = match input[13] {
        _ if is_local => Header::Local,
        // TCP, or an unspecified transport, over IPv4.
        0x10 | 0x11 => {
            let bytes: &[u8; 12] = addresses.first_chunk().ok_or(HeaderError::Malformed)?;
            let [a, b, c, d, e, f, g, h, p, q, r, s] = *bytes;
            Header::Proxied {
                source: SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q]))),
                destination: SocketAddr::from(([e, f, g, h], u16::from_be_bytes([r, s]))),
            }
        }
        0x20 | 0x21 => {
            let bytes: &[u8; 36] = addresses.first_chunk().ok_or(HeaderError::Malformed)?;
            let ip = |at: usize| {
                let octets = bytes[at..].first_chunk::<16>().expect("36 bytes hold two");
                Ipv6Addr::from(*octets)
            };
            let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            Header::Proxied {
                source: SocketAddr::from((ip(0), port(32))),
                destination: SocketAddr::from((ip(16), port(34))),
            }
        }
        // Unspecified, or sockets of the proxy's host: nothing that could be shown as an address.
        0x00 | 0x30 | 0x31 => Header::Local,
        _ => return Err(HeaderError::Malformed),
    };
    Ok(Some((header, size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    const IPV4: [u8; 12] = [192, 168, 0, 1, 10, 0, 0, 2, 0xdd, 0x24, 0x16, 0x28];

    fn vectors() -> Vec<(Vec<u8>, Header)> {
        let mut ipv6 = Vec::new();
        ipv6.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        ipv6.extend("::1".parse::<Ipv6Addr>().unwrap().octets());
        ipv6.extend([0xdd, 0x24, 0x16, 0x28]);
        let with_tlv = [&IPV4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        let four = proxied("192.168.0.1:56612", "10.0.0.2:5672");
        vec![
            (
                b"PROXY TCP4 192.168.0.1 10.0.0.2 56612 5672\r\n".to_vec(),
                four,
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 56612 5672\r\n".to_vec(),
                proxied("[2001:db8::1]:56612", "[::1]:5672"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Header::Local),
            (b"PROXY UNKNOWN a b 1 2\r\n".to_vec(), Header::Local),
            (v2(0x21, 0x11, &IPV4), four),
            (v2(0x21, 0x11, &with_tlv), four),
            (
                v2(0x21, 0x21, &ipv6),
                proxied("[2001:db8::1]:56612", "[::1]:5672"),
            ),
            (v2(0x20, 0x11, &IPV4), Header::Local),
            (v2(0x20, 0x00, &[]), Header::Local),
            (v2(0x21, 0x00, &[]), Header::Local),
            (v2(0x21, 0x31, &[0; 216]), Header::Local),
        ]
    }

    #[test]
    fn headers_are_read_at_every_split() {
        for (bytes, header) in vectors() {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{bytes:?} up to {end}");
            }
            let mut more = bytes.clone();
            more.extend(b"AMQP");
            assert_eq!(parse(&more), Ok(Some((header, bytes.len()))));
        }
    }

    #[tokio::test]
    async fn what_follows_a_header_stays_in_the_socket() {
        for (mut bytes, header) in vectors() {
            bytes.extend(b"AMQP\x00\x00\x09\x01");
            let mut input = &bytes[..];
            assert_eq!(read(&mut input).await.unwrap(), header);
            assert_eq!(input, b"AMQP\x00\x00\x09\x01");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for (bytes, error) in [
            (&b"AMQP\x00\x00\x09\x01"[..], HeaderError::Absent),
            (b"\x16\x03\x01", HeaderError::Absent),
            (b"proxy TCP4", HeaderError::Absent),
            (b"PROXY\r\n", HeaderError::Absent),
            (b"PROXY \r\n", HeaderError::Malformed),
            (
                b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
                HeaderError::Malformed,
            ),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", HeaderError::Malformed),
            (
                b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
                HeaderError::Malformed,
            ),
            (
                b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
                HeaderError::Malformed,
            ),
            (
                b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
                HeaderError::Malformed,
            ),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", HeaderError::Malformed),
            (
                b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
                HeaderError::Malformed,
            ),
            (b"PROXY \xff\r\n", HeaderError::Malformed),
        ] {
            assert_eq!(parse(bytes), Err(error), "{bytes:?}");
        }
        assert_eq!(parse(&v2(0x11, 0x11, &IPV4)), Err(HeaderError::Malformed));
        assert_eq!(parse(&v2(0x22, 0x11, &IPV4)), Err(HeaderError::Malformed));
        assert_eq!(parse(&v2(0x21, 0x12, &IPV4)), Err(HeaderError::Malformed));
        assert_eq!(
            parse(&v2(0x21, 0x11, &IPV4[..11])),
            Err(HeaderError::Malformed)
        );
        let long = v2(0x21, 0x11, &[0; V2_BYTES_MAX]);
        assert_eq!(parse(&long[..V2_FIXED_BYTES]), Err(HeaderError::TooLong));
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        assert_eq!(parse(&endless), Err(HeaderError::TooLong));
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), signature in 0..3) {
            let mut input = match signature {
                0 => V2_SIGNATURE.to_vec(),
                1 => V1_SIGNATURE.to_vec(),
                _ => Vec::new(),
            };
            input.extend(&bytes);
            if let Ok(Some((_, size))) = parse(&input) {
                prop_assert!(size <= input.len());
            }
        }
    }
}
