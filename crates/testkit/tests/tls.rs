//! What comes before the protocol: TLS, certificates, the PROXY header.
//!
//! Clients speak plain AMQP to a relay of the test, which does the handshake or writes the header and then only copies.

use anyhow::{Context, ensure};
use client_amqp091::codec::{BasicProperties, Method, Table, connection};
use client_amqp091::{ConnectOptions, QueueOptions};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use testkit::client::{DURABLE, PATIENCE, PERSISTENT, until, within};
use testkit::http::Http;
use testkit::{Broker, Client};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// Certificates of `warren tls generate`.
fn certificates(directory: &Path, user: &str) -> anyhow::Result<()> {
    let status = Command::new(testkit::binary()?)
        .args(["tls", "generate"])
        .arg(directory)
        .args(["--user", user])
        .status()?;
    ensure!(status.success(), "certificates are not made");
    Ok(())
}

/// The lines of rabbitmq.conf for a TLS listener on a port that the kernel chooses.
fn listener(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "listeners.ssl.1 = 127.0.0.1:0\nssl_options.cacertfile = {directory}/ca_certificate.pem\n\
         ssl_options.certfile = {directory}/server_certificate.pem\nssl_options.keyfile = {directory}/server_key.pem\n"
    )
}

fn client_config(
    directory: &Path,
    version: &'static SupportedProtocolVersion,
    with_certificate: bool,
) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(
        directory.join("ca_certificate.pem"),
    )?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots);
    let config = if with_certificate {
        let chain = vec![CertificateDer::from_pem_file(
            directory.join("client_certificate.pem"),
        )?];
        let key = PrivateKeyDer::from_pem_file(directory.join("client_key.pem"))?;
        builder.with_client_auth_cert(chain, key)?
    } else {
        builder.with_no_client_auth()
    };
    Ok(Arc::new(config))
}

async fn secured(
    to: SocketAddr,
    config: &Arc<ClientConfig>,
    header: &[u8],
) -> anyhow::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    stream.write_all(header).await?;
    let name = ServerName::try_from("localhost")?;
    let connector = TlsConnector::from(Arc::clone(config));
    Ok(connector.connect(name, stream).await?)
}

/// A place where plain AMQP comes out at the broker with a header before it, and TLS around it.
async fn relay(
    to: SocketAddr,
    config: Option<Arc<ClientConfig>>,
    header: Vec<u8>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (config, header) = (config.clone(), header.clone());
            tokio::spawn(async move {
                match &config {
                    Some(config) => {
                        let mut broker = secured(to, config, &header).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut broker).await?;
                    }
                    None => {
                        let mut broker = TcpStream::connect(to).await?;
                        broker.write_all(&header).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut broker).await?;
                    }
                }
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}

async fn logged(broker: &Broker, words: &str) -> anyhow::Result<()> {
    until(words, || broker.log().contains(words))
        .await
        .with_context(|| broker.log())
}

async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
    let options = ConnectOptions {
        reply_timeout: PATIENCE,
        ..ConnectOptions::default()
    };
    Client::connect_with(address, &options).await
}

#[tokio::test]
async fn messages_of_all_sizes_pass_through_tls() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    let broker = Broker::start_with(&listener(directory.path()))?;
    let tls = broker.tls_address().context("no TLS listener")?;
    for (version, protocol) in [(&TLS12, "tlsv1.2"), (&TLS13, "tlsv1.3")] {
        let config = client_config(directory.path(), version, false)?;
        let mut client = connect(relay(tls, Some(config), Vec::new()).await?).await?;
        client.declare(protocol, DURABLE).await?;
        client.confirm_select().await?;
        let sizes = [0, 1, 100, 4_000, 16_384, 70_000, 1_000_000, 9_000_000];
        let body = |index: u64| vec![u8::try_from(index).unwrap_or(0); sizes[index as usize]];
        let count = sizes.len() as u64;
        client
            .publish_all(protocol, &PERSISTENT, count, body)
            .await?;
        client.consume(protocol, true).await?;
        for (index, received) in client.receive(sizes.len()).await?.iter().enumerate() {
            ensure!(received.body == body(index as u64), "message {index}");
        }
        // Many small ones, more than any buffer holds.
        let many = format!("many-{protocol}");
        let number = |index: u64| index.to_be_bytes().repeat(8);
        client.declare(&many, DURABLE).await?;
        client
            .publish_all(&many, &PERSISTENT, 20_000, number)
            .await?;
        client.consume(&many, true).await?;
        for (index, received) in client.receive(20_000).await?.iter().enumerate() {
            ensure!(received.body == number(index as u64), "message {index}");
        }
        let connections = Http::new(&broker).get("/connections")?;
        ensure!(connections[0]["ssl"] == true, "{connections}");
        ensure!(connections[0]["ssl_protocol"] == protocol, "{connections}");
        ensure!(connections[0]["ssl_hash"] == "aead", "{connections}");
        client.close().await?;
        until("the connection to be gone", || {
            Http::new(&broker)
                .get("/connections")
                .is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
        })
        .await?;
    }
    Ok(())
}

/// Logs in by a certificate and returns what the broker says to that.
async fn log_in_externally(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> anyhow::Result<String> {
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let start = frame(stream).await?;
    let Some(Method::ConnectionStart(start)) = Method::decode(&start).ok() else {
        anyhow::bail!("no connection.start");
    };
    let offered = String::from_utf8_lossy(start.mechanisms).into_owned();
    ensure!(offered.contains("EXTERNAL"), "{offered}");
    let mut answer = Vec::new();
    connection::StartOk {
        client_properties: Table::default(),
        mechanism: b"EXTERNAL",
        response: b"",
        locale: b"en_US",
    }
    .encode(0, &mut answer);
    stream.write_all(&answer).await?;
    let next = frame(stream).await?;
    Ok(match Method::decode(&next) {
        Ok(Method::ConnectionTune(_)) => "tune".to_owned(),
        other => format!("{other:?}"),
    })
}

async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Vec<u8>> {
    let mut header = [0; 7];
    stream.read_exact(&mut header).await?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut payload = vec![0; size as usize + 1];
    stream.read_exact(&mut payload).await?;
    payload.pop();
    Ok(payload)
}

#[tokio::test]
async fn a_certificate_logs_its_user_in() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    let settings = listener(directory.path())
        + "ssl_options.verify = verify_peer\nssl_cert_login_from = common_name\n\
           auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n";
    let broker = Broker::start_with(&settings)?;
    let tls = broker.tls_address().context("no TLS listener")?;
    for version in [&TLS12, &TLS13] {
        let config = client_config(directory.path(), version, true)?;
        let mut stream = secured(tls, &config, b"").await?;
        ensure!(log_in_externally(&mut stream).await? == "tune");
        let connections = Http::new(&broker).get("/connections")?;
        ensure!(
            connections[0]["peer_cert_subject"] == "CN=guest"
                && connections[0]["peer_cert_issuer"] == "CN=WarrenMQ test CA"
                && connections[0]["auth_mechanism"] == "EXTERNAL",
            "{connections}"
        );
    }
    // Without a certificate the mechanism is offered, and the log says what is missing.
    let config = client_config(directory.path(), &TLS13, false)?;
    let mut stream = secured(tls, &config, b"").await?;
    ensure!(log_in_externally(&mut stream).await.is_err());
    logged(&broker, "presented no certificate").await?;
    // Nor does it exist without TLS.
    let mut plain = TcpStream::connect(broker.address()).await?;
    plain.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let start = frame(&mut plain).await?;
    ensure!(!String::from_utf8_lossy(&start).contains("EXTERNAL"));
    Ok(())
}

#[tokio::test]
async fn who_has_no_good_certificate_is_refused() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let stranger = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    certificates(stranger.path(), "guest")?;
    let settings = listener(directory.path())
        + "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
           ssl_options.versions.1 = tlsv1.2\nssl_handshake_timeout = 3000\n";
    let broker = Broker::start_with(&settings)?;
    let tls = broker.tls_address().context("no TLS listener")?;
    let good = client_config(directory.path(), &TLS12, true)?;
    secured(tls, &good, b"").await?;
    let none = client_config(directory.path(), &TLS12, false)?;
    ensure!(secured(tls, &none, b"").await.is_err());
    // The stranger trusts our server, and has a certificate of somebody whom we do not know.
    std::fs::copy(
        directory.path().join("ca_certificate.pem"),
        stranger.path().join("ca_certificate.pem"),
    )?;
    let strange = client_config(stranger.path(), &TLS12, true)?;
    ensure!(secured(tls, &strange, b"").await.is_err());
    let other_version = client_config(directory.path(), &TLS13, true)?;
    ensure!(secured(tls, &other_version, b"").await.is_err());
    logged(&broker, "refused before its protocol began").await?;

    // Who speaks AMQP to the TLS port, or TLS to the AMQP port, finds out from the log.
    let mut plain = TcpStream::connect(tls).await?;
    plain.write_all(b"AMQP\x00\x00\x09\x01").await?;
    logged(&broker, "the client does not speak TLS").await?;
    let wrong_port = secured(broker.address(), &good, b"").await;
    ensure!(wrong_port.is_err());
    logged(&broker, "the client speaks TLS").await?;

    // Who says nothing does not stay.
    let mut silent = TcpStream::connect(tls).await?;
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await??;
    Ok(())
}

/// Whether the client of a directory gets as far as a login.
async fn is_let_in(tls: SocketAddr, directory: &Path) -> anyhow::Result<bool> {
    let config = client_config(directory, &TLS13, true)?;
    let Ok(mut stream) = secured(tls, &config, b"").await else {
        return Ok(false);
    };
    // In TLS 1.3 a client hears of it only now.
    Ok(log_in_externally(&mut stream)
        .await
        .is_ok_and(|next| next == "tune"))
}

/// Waits until it is let in, or until it is not any more: the log tells of a certificate before it counts.
async fn until_let_in(tls: SocketAddr, directory: &Path, expected: bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while is_let_in(tls, directory).await? != expected {
        ensure!(Instant::now() < deadline, "let in is not {expected}");
    }
    Ok(())
}

fn run(broker: &Broker, tool: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = broker.tool(tool)?.args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {text}{error}");
    Ok(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trust_store_lets_in_whoever_is_in_it() -> anyhow::Result<()> {
    let ours = tempfile::tempdir()?;
    certificates(ours.path(), "guest")?;
    let strangers = [tempfile::tempdir()?, tempfile::tempdir()?];
    for stranger in &strangers {
        certificates(stranger.path(), "guest")?;
        let authority = "ca_certificate.pem";
        std::fs::copy(ours.path().join(authority), stranger.path().join(authority))?;
    }
    let [first, second] = [strangers[0].path(), strangers[1].path()];
    let whitelist = tempfile::tempdir()?;
    let trust = |who: &Path, name: &str| {
        std::fs::copy(
            who.join("client_certificate.pem"),
            whitelist.path().join(name),
        )
    };
    trust(first, "first.pem")?;
    let settings = format!(
        "{}ssl_cert_login_from = common_name\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n\
         trust_store.directory = {}\ntrust_store.refresh_interval = 1\n",
        listener(ours.path()),
        whitelist.path().display()
    );
    let broker = Broker::start_with(&settings)?;
    let tls = broker.tls_address().context("no TLS listener")?;
    ensure!(
        is_let_in(tls, ours.path()).await?,
        "an authority vouches for it"
    );
    ensure!(is_let_in(tls, first).await?);
    ensure!(!is_let_in(tls, second).await?);
    let none = client_config(ours.path(), &TLS12, false)?;
    ensure!(secured(tls, &none, b"").await.is_err());

    let config = client_config(first, &TLS13, true)?;
    let mut client = connect(relay(tls, Some(config), Vec::new()).await?).await?;
    trust(second, "second.pem")?;
    logged(&broker, "loading certificate 'second.pem'").await?;
    until_let_in(tls, second, true).await?;
    std::fs::remove_file(whitelist.path().join("first.pem"))?;
    logged(&broker, "'first.pem' is no longer trusted").await?;
    until_let_in(tls, first, false).await?;
    ensure!(is_let_in(tls, second).await?);
    // Who is there already stays.
    client.declare("q", QueueOptions::default()).await?;

    let listed = run(&broker, "rabbitmqctl", &["list_trust_store_certificates"])?;
    ensure!(listed.contains("Name: second.pem"), "{listed}");
    ensure!(listed.contains("Subject: CN=guest"), "{listed}");
    ensure!(!listed.contains("first.pem"), "{listed}");
    let length = "length(rabbit_trust_store:list()) > 100.";
    ensure!(run(&broker, "rabbitmqctl", &["eval", length])? == "true\n");
    // Without the plugin nobody is asked for a certificate.
    run(
        &broker,
        "rabbitmq-plugins",
        &["disable", "rabbitmq_trust_store"],
    )?;
    secured(tls, &none, b"").await?;
    run(
        &broker,
        "rabbitmq-plugins",
        &["enable", "rabbitmq_trust_store"],
    )?;
    ensure!(secured(tls, &none, b"").await.is_err());
    ensure!(is_let_in(tls, second).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trust_store_is_asked_again_when_the_operator_says_so() -> anyhow::Result<()> {
    let (ours, stranger) = (tempfile::tempdir()?, tempfile::tempdir()?);
    certificates(ours.path(), "guest")?;
    certificates(stranger.path(), "guest")?;
    let authority = "ca_certificate.pem";
    std::fs::copy(ours.path().join(authority), stranger.path().join(authority))?;
    let pages = Arc::new(std::sync::Mutex::new(r#"{"certificates": []}"#.to_owned()));
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let url = server.local_addr()?;
    let certificate = std::fs::read_to_string(stranger.path().join("client_certificate.pem"))?;
    let served = Arc::clone(&pages);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let body = match String::from_utf8_lossy(&head).contains(" /certs/one ") {
                true => certificate.clone(),
                false => served.lock().map(|page| page.clone()).unwrap_or_default(),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await?;
        }
        anyhow::Ok(())
    });
    let settings = format!(
        "{}ssl_cert_login_from = common_name\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n\
         trust_store.providers.1 = http\ntrust_store.url = http://{url}/certs\ntrust_store.refresh_interval = 0\n",
        listener(ours.path()),
    );
    let broker = Broker::start_with(&settings)?;
    let tls = broker.tls_address().context("no TLS listener")?;
    let refresh = || run(&broker, "rabbitmqctl", &["refresh_trust_store"]);
    let list = |page: &str| {
        if let Ok(mut pages) = pages.lock() {
            page.clone_into(&mut pages);
        }
    };
    refresh()?;
    ensure!(!is_let_in(tls, stranger.path()).await?);
    list(r#"{"certificates": [{"id": "one", "path": "/one"}]}"#);
    refresh()?;
    ensure!(is_let_in(tls, stranger.path()).await?);
    list(r#"{"certificates": []}"#);
    run(
        &broker,
        "rabbitmqctl",
        &["eval", "rabbit_trust_store:refresh()."],
    )?;
    ensure!(!is_let_in(tls, stranger.path()).await?);
    Ok(())
}

#[tokio::test]
async fn certificates_are_read_again_when_they_change() -> anyhow::Result<()> {
    let (directory, next) = (tempfile::tempdir()?, tempfile::tempdir()?);
    certificates(directory.path(), "guest")?;
    certificates(next.path(), "guest")?;
    let broker = Broker::start_with(&listener(directory.path()))?;
    let tls = broker.tls_address().context("no TLS listener")?;
    let old = client_config(directory.path(), &TLS13, false)?;
    let new = client_config(next.path(), &TLS13, false)?;
    let mut client = connect(relay(tls, Some(Arc::clone(&old)), Vec::new()).await?).await?;
    ensure!(secured(tls, &new, b"").await.is_err());

    // A file that is no certificate changes nothing.
    std::fs::write(directory.path().join("server_certificate.pem"), "nonsense")?;
    logged(&broker, "the old ones stay").await?;
    secured(tls, &old, b"").await?;

    for file in ["server_key.pem", "server_certificate.pem"] {
        std::fs::copy(next.path().join(file), directory.path().join(file))?;
    }
    logged(&broker, "TLS certificates were read again").await?;
    secured(tls, &new, b"").await?;
    ensure!(secured(tls, &old, b"").await.is_err());
    // Who is there already stays.
    client.declare("q", QueueOptions::default()).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_certificate_stops_the_start() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    let settings = listener(directory.path()).replace("server_key", "client_key");
    let Err(error) = Broker::start_with(&settings) else {
        anyhow::bail!("it starts");
    };
    ensure!(format!("{error:#}").contains("no ready line"), "{error:#}");
    Ok(())
}

/// A header of version 2 for IPv4.
fn header_v2(command: u8, source: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, 0x11, 0, 12]);
    bytes.extend(source);
    bytes.extend([127, 0, 0, 1, 0xdd, 0x24, 0x16, 0x28]);
    bytes
}

#[tokio::test]
async fn behind_a_proxy_the_client_is_who_the_header_says() -> anyhow::Result<()> {
    let broker = Broker::start_with("proxy_protocol = true\n")?;
    let to = broker.address();
    for (header, source) in [
        (
            b"PROXY TCP4 127.0.0.9 127.0.0.1 56612 5672\r\n".to_vec(),
            "127.0.0.9:56612 -> 127.0.0.1:5672",
        ),
        (
            b"PROXY TCP6 ::1 ::1 56612 5672\r\n".to_vec(),
            "[::1]:56612 -> [::1]:5672",
        ),
        (
            header_v2(0x21, [127, 0, 0, 8]),
            "127.0.0.8:56612 -> 127.0.0.1:5672",
        ),
    ] {
        let mut client = connect(relay(to, None, header).await?).await?;
        client.declare("q", DURABLE).await?;
        let connections = Http::new(&broker).get("/connections")?;
        let name = connections[0]["name"].as_str().unwrap_or_default();
        ensure!(
            name.replace(['[', ']'], "") == source.replace(['[', ']'], ""),
            "{connections}"
        );
        client.close().await?;
        until("the connection to be gone", || {
            Http::new(&broker)
                .get("/connections")
                .is_ok_and(|list| list.as_array().is_some_and(Vec::is_empty))
        })
        .await?;
    }
    // The proxy speaks for itself.
    connect(relay(to, None, header_v2(0x20, [0; 4])).await?).await?;
    connect(relay(to, None, b"PROXY UNKNOWN\r\n".to_vec()).await?).await?;
    // Guest may only come from this host, and that is the client's, not the proxy's.
    let far = b"PROXY TCP4 192.0.2.7 127.0.0.1 56612 5672\r\n".to_vec();
    ensure!(connect(relay(to, None, far).await?).await.is_err());
    logged(&broker, "can only connect via localhost").await?;
    Ok(())
}

#[tokio::test]
async fn without_its_header_a_proxied_client_is_closed() -> anyhow::Result<()> {
    let broker = Broker::start_with("proxy_protocol = true\nlog.console.level = info\n")?;
    // A health check: connect and leave.
    for _ in 0..20 {
        drop(TcpStream::connect(broker.address()).await?);
    }
    for (bytes, words) in [
        (&b"AMQP\x00\x00\x09\x01"[..], "no PROXY protocol header"),
        (b"PROXY TCP4 x y 1 2\r\n", "malformed PROXY protocol header"),
    ] {
        let mut stream = TcpStream::connect(broker.address()).await?;
        stream.write_all(bytes).await?;
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        // A reset is an end, too.
        let _ = tokio::time::timeout(PATIENCE, read).await?;
        ensure!(rest.is_empty());
        logged(&broker, words).await?;
    }
    ensure!(
        broker.log().matches("refused before").count() == 2,
        "{}",
        broker.log()
    );
    ensure!(!broker.log().contains("left before"), "{}", broker.log());
    Ok(())
}

#[tokio::test]
async fn header_and_tls_come_in_this_order() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    let settings = listener(directory.path()) + "proxy_protocol = true\n";
    let broker = Broker::start_with(&settings)?;
    let tls = broker.tls_address().context("no TLS listener")?;
    let config = client_config(directory.path(), &TLS13, false)?;
    let address = relay(tls, Some(config), header_v2(0x21, [127, 0, 0, 8])).await?;
    let mut client = connect(address).await?;
    client.declare("q", DURABLE).await?;
    client.confirm_select().await?;
    let properties = BasicProperties::default();
    client
        .publish_all("q", &properties, 10, |_| vec![1])
        .await?;
    let connections = Http::new(&broker).get("/connections")?;
    ensure!(connections[0]["peer_host"] == "127.0.0.8", "{connections}");
    ensure!(connections[0]["ssl"] == true, "{connections}");
    within(client.connection.close()).await?;
    Ok(())
}

#[tokio::test]
async fn certificates_that_expire_are_told_of() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    let broker = Broker::start_with(&listener(directory.path()))?;
    let http = Http::new(&broker);
    let check = |within: &str| {
        let path = format!("/health/checks/certificate-expiration/{within}");
        http.request("GET", &path, None)
    };
    let well = check("1/months")?;
    ensure!(well.status == 200, "{well:?}");
    let soon = check("5000/years")?;
    ensure!(soon.status == 503, "{soon:?}");
    let expired = soon.json()?;
    let listener = &expired["expired"][0];
    ensure!(
        expired["reason"] == "Certificates expiring"
            && listener["protocol"] == "amqp/ssl"
            && listener["certfile_expires_on"][0] == "4096-01-01 00:00:00",
        "{expired}"
    );
    Ok(())
}

#[tokio::test]
async fn the_http_api_speaks_tls_behind_a_proxy() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    let at = directory.path().display();
    let settings = format!(
        "management.ssl.port = 0\nmanagement.ssl.ip = 127.0.0.1\nmanagement.ssl.certfile = {at}/server_certificate.pem\n\
         management.ssl.keyfile = {at}/server_key.pem\nwarren.management.proxy_protocol = true\n"
    );
    let broker = Broker::start_with(&settings)?;
    let https = broker.https_address().context("no HTTPS listener")?;
    let config = client_config(directory.path(), &TLS13, false)?;
    for (header, status) in [
        (&b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n"[..], "200"),
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n", "401"),
    ] {
        let mut stream = secured(https, &config, header).await?;
        stream
            .write_all(
                b"GET /api/whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                  Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n",
            )
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_metrics_speak_tls_and_may_ask_for_a_certificate() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    certificates(directory.path(), "guest")?;
    let at = directory.path().display();
    let settings = format!(
        "prometheus.ssl.port = 0\nprometheus.ssl.ip = 127.0.0.1\nprometheus.ssl.certfile = {at}/server_certificate.pem\n\
         prometheus.ssl.keyfile = {at}/server_key.pem\nprometheus.ssl.cacertfile = {at}/ca_certificate.pem\n\
         prometheus.ssl.verify = verify_peer\nprometheus.ssl.fail_if_no_peer_cert = true\n"
    );
    let broker = Broker::start_with(&settings)?;
    let metrics = broker.metrics_tls_address().context("no TLS listener")?;
    let ask = async |with_certificate| {
        let config = client_config(directory.path(), &TLS12, with_certificate)?;
        let mut stream = secured(metrics, &config, b"").await?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask(true).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    ensure!(answer.contains("rabbitmq_build_info"), "{answer}");
    ensure!(
        ask(false).await.is_err(),
        "somebody without a certificate is answered"
    );
    let listeners = Http::new(&broker).get("/overview")?["listeners"].clone();
    let is_told = listeners.as_array().is_some_and(|all| {
        let mut all = all.iter();
        all.any(|one| one["protocol"] == "https/prometheus" && one["port"] == metrics.port())
    });
    ensure!(is_told, "{listeners}");
    Ok(())
}
