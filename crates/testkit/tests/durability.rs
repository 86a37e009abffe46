//! What survives a stop, a crash, a full disk and a failing one, and what does not.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it waits for; whatever else comes fails it"
)]

use anyhow::{Context, bail, ensure};
use client_amqp091::codec::{BasicProperties, Method, Table, Value, queue, write_table};
use client_amqp091::{Event, QueueOptions};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::client::{CHANNEL, DURABLE, PERSISTENT, within};
use testkit::random::Random;
use testkit::{Broker, Client};
use tokio::sync::{Mutex, MutexGuard};

/// A message that does not outlive the broker.
const TRANSIENT: BasicProperties<'static> = BasicProperties {
    delivery_mode: Some(1),
    ..PERSISTENT
};

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    Kill,
}

fn end_and_restart(broker: &mut Broker, end: End) -> anyhow::Result<()> {
    match end {
        End::Stop => broker.stop()?,
        End::Kill => broker.kill()?,
    }
    broker.restart()
}

/// Tests that need the machine for themselves, because they look at memory or time or fill it with data.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Everything in a queue, acked.
async fn drain(client: &mut Client, queue: &str) -> anyhow::Result<Vec<testkit::client::Received>> {
    let inspected = client.inspect(queue).await?;
    let left = inspected
        .with_context(|| format!("{queue} is gone"))?
        .message_count;
    client.consume(queue, false).await?;
    let received = client.receive(left as usize).await?;
    if let Some(last) = received.last() {
        client.ack_until(last.delivery_tag).await?;
    }
    client.connection.cancel(CHANNEL, queue).await?;
    Ok(received)
}

fn bodies(received: &[testkit::client::Received]) -> Vec<String> {
    let text = |body: &Vec<u8>| String::from_utf8_lossy(body).into_owned();
    received.iter().map(|message| text(&message.body)).collect()
}

fn numbered(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect()
}

// ── what survives ──

async fn survives(end: End) -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("durable", DURABLE).await?;
    client.declare("transient", QueueOptions::default()).await?;
    let exclusive = QueueOptions {
        exclusive: true,
        ..DURABLE
    };
    client.declare("exclusive", exclusive).await?;
    client.declare_exchange("bound", "topic").await?;
    client.bind("durable", "bound", "a.*").await?;
    for number in 0..200 {
        let properties = if number % 2 == 0 {
            &PERSISTENT
        } else {
            &TRANSIENT
        };
        let body = move |_| number.to_string().into_bytes();
        client.publish_all("durable", properties, 1, body).await?;
    }
    for queue in ["transient", "exclusive"] {
        client
            .publish_all(queue, &PERSISTENT, 10, |_| b"gone".to_vec())
            .await?;
    }
    drop(client);
    end_and_restart(&mut broker, end)?;

    let mut client = Client::connect(&broker).await?;
    for queue in ["transient", "exclusive"] {
        assert_eq!(client.inspect(queue).await?, None, "{queue} after {end:?}");
    }
    let received = drain(&mut client, "durable").await?;
    assert_eq!(
        bodies(&received),
        numbered((0..200).step_by(2)),
        "after {end:?}"
    );
    client.confirm_select().await?;
    let tag = client.send("bound", "a.b", &PERSISTENT, b"through the binding");
    client.confirmed_until(tag).await?;
    assert_eq!(
        bodies(&drain(&mut client, "durable").await?),
        ["through the binding"]
    );
    Ok(())
}

#[tokio::test]
async fn durable_things_survive_a_stop_and_others_do_not() -> anyhow::Result<()> {
    survives(End::Stop).await
}

#[tokio::test]
async fn durable_things_survive_a_crash_and_others_do_not() -> anyhow::Result<()> {
    survives(End::Kill).await
}

#[tokio::test]
async fn properties_and_headers_come_back_byte_for_byte() -> anyhow::Result<()> {
    let mut headers = Vec::new();
    write_table(&mut headers, |table| {
        table.field(b"long", &Value::I64(i64::MIN));
        table.field(b"text", &Value::LongStr("häder\0".as_bytes()));
        table.field(b"double", &Value::F64(-0.5));
        table.field(b"void", &Value::Void);
        table.table(b"table", |inner| inner.field(b"flag", &Value::Bool(true)));
        table.array(b"array", |inner| inner.value(&Value::U8(200)));
        // Twice the same name: nothing may sort or merge them.
        table.field(b"text", &Value::Timestamp(u64::MAX));
    });
    let full = BasicProperties {
        content_type: Some(b"application/x"),
        content_encoding: Some(b""),
        headers: Some(Table::new(&headers[4..])),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some(b"correlation \xff"),
        reply_to: Some(b"somewhere"),
        expiration: Some(b"3600000"),
        message_id: Some(&[b'm'; 255]),
        timestamp: Some(1),
        message_type: Some(b"type"),
        user_id: Some(b"guest"),
        app_id: Some(b"app"),
        cluster_id: Some(b"cluster"),
    };
    let body: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    for (properties, body) in [(&full, body.clone()), (&PERSISTENT, Vec::new())] {
        client
            .publish_all("q", properties, 1, |_| body.clone())
            .await?;
    }
    drop(client);
    for end in [End::Kill, End::Stop] {
        end_and_restart(&mut broker, end)?;
        let mut client = Client::connect(&broker).await?;
        client.consume("q", false).await?;
        let received = client.receive(2).await?;
        for (message, (properties, body)) in received
            .iter()
            .zip([(&full, body.as_slice()), (&PERSISTENT, b"")])
        {
            let mut wanted = Vec::new();
            properties.encode(&mut wanted);
            assert_eq!(message.raw_properties, wanted);
            assert!(message.body == body, "another body");
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_delivered_messages_are_marked_after_a_stop_and_all_of_them_after_a_crash()
-> anyhow::Result<()> {
    for end in [End::Stop, End::Kill] {
        let mut broker = Broker::start()?;
        let mut client = Client::connect(&broker).await?;
        client.confirm_select().await?;
        client.declare("q", DURABLE).await?;
        let number = |index: u64| index.to_string().into_bytes();
        client.publish_all("q", &PERSISTENT, 10, number).await?;
        client.connection.qos(CHANNEL, 4).await?;
        client.consume("q", false).await?;
        client.receive(4).await?;
        drop(client);
        end_and_restart(&mut broker, end)?;
        let mut client = Client::connect(&broker).await?;
        let received = drain(&mut client, "q").await?;
        assert_eq!(bodies(&received), numbered(0..10));
        let marks: Vec<bool> = received.iter().map(|message| message.redelivered).collect();
        assert_eq!(marks[..4], [true; 4], "{end:?}");
        if end == End::Stop {
            assert_eq!(marks[4..], [false; 6]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn acks_survive() -> anyhow::Result<()> {
    for end in [End::Stop, End::Kill] {
        let mut broker = Broker::start()?;
        let mut client = Client::connect(&broker).await?;
        client.confirm_select().await?;
        client.declare("q", DURABLE).await?;
        let number = |index: u64| index.to_string().into_bytes();
        client.publish_all("q", &PERSISTENT, 1000, number).await?;
        client.consume("q", false).await?;
        for message in client.receive(1000).await?.iter().step_by(2) {
            client
                .connection
                .outgoing()
                .ack(CHANNEL, message.delivery_tag, false);
        }
        client.close().await?;
        end_and_restart(&mut broker, end)?;
        let mut client = Client::connect(&broker).await?;
        let left = bodies(&drain(&mut client, "q").await?);
        assert_eq!(left, numbered((1..1000).step_by(2)), "{end:?}");
    }
    Ok(())
}

#[tokio::test]
async fn large_messages_survive() -> anyhow::Result<()> {
    const SIZE: usize = 16 << 20;
    let body = |number: u64| {
        let mut body = vec![0; SIZE - usize::try_from(number).expect("small")];
        Random::new(number).fill(&mut body);
        body
    };
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    client.publish_all("q", &PERSISTENT, 3, body).await?;
    drop(client);
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    for (number, message) in (0..).zip(drain(&mut client, "q").await?) {
        assert!(message.body == body(number), "message {number} has changed");
    }
    Ok(())
}

#[tokio::test]
async fn thousands_of_queues_survive() -> anyhow::Result<()> {
    const QUEUES: u64 = 3000;
    let _alone = alone().await;
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    let names: Vec<String> = (0..QUEUES)
        .map(|number| format!("queue-{number}"))
        .collect();
    for name in &names {
        let declare = queue::Declare {
            queue: name.as_bytes(),
            durable: true,
            ..queue::Declare::default()
        };
        declare.encode(CHANNEL, client.connection.outgoing().bytes());
    }
    for _ in &names {
        let declared = client.call(|_| {}, |method| matches!(method, Method::QueueDeclareOk(_)));
        declared.await?;
    }
    let mut last = 0;
    for name in &names {
        last = client.send("", name, &PERSISTENT, name.as_bytes());
    }
    let mut confirmed = 0;
    while confirmed < last {
        // With many queues confirms come in any order; a later barrier is enough here.
        match within(client.connection.next_event()).await? {
            Event::Confirmed {
                delivery_tag,
                multiple,
                ..
            } => {
                confirmed = if multiple {
                    delivery_tag.max(confirmed)
                } else {
                    confirmed + 1
                };
            }
            other => bail!("{other:?}"),
        }
    }
    drop(client);
    for end in [End::Kill, End::Stop] {
        end_and_restart(&mut broker, end)?;
        eprintln!(
            "{QUEUES} queues: ready {:?} after {end:?}",
            broker.start_took
        );
        let mut client = Client::connect(&broker).await?;
        for name in names.iter().step_by(7) {
            let got = client.get(name, false).await?;
            let body = got.with_context(|| format!("{name} is empty"))?.body;
            assert_eq!(body, name.as_bytes());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_backlog_survives_without_filling_the_memory() -> anyhow::Result<()> {
    const MESSAGES: u64 = 300_000;
    const ANONYMOUS_BYTES_MAX: u64 = 160 << 20;
    let _alone = alone().await;
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    let body = |number: u64| {
        let mut body = vec![b'.'; 1024];
        body[..8].copy_from_slice(&number.to_be_bytes());
        body
    };
    client.publish_all("q", &PERSISTENT, MESSAGES, body).await?;
    // Without the program itself, which is larger where it is built for debugging.
    let published = broker.anonymous_bytes()?;
    drop(client);
    for end in [End::Kill, End::Stop] {
        end_and_restart(&mut broker, end)?;
        let resident = broker.anonymous_bytes()?;
        eprintln!(
            "{MESSAGES} messages of 1 KiB: {} MiB before and {} MiB after {end:?}, ready in {:?}",
            published >> 20,
            resident >> 20,
            broker.start_took
        );
        assert!(
            resident < ANONYMOUS_BYTES_MAX,
            "{resident} bytes after {end:?}"
        );
    }
    let mut client = Client::connect(&broker).await?;
    client.connection.qos(CHANNEL, 2000).await?;
    client.consume("q", false).await?;
    for number in 0..MESSAGES {
        let message = client.next_delivery().await?;
        assert!(
            message.body == body(number),
            "another message in the place of {number}"
        );
        if number % 1000 == 999 {
            client.ack_until(message.delivery_tag).await?;
        }
    }
    let resident = broker.anonymous_bytes()?;
    eprintln!("drained: {} MiB", resident >> 20);
    assert!(
        resident < ANONYMOUS_BYTES_MAX,
        "{resident} bytes after the drain"
    );
    assert!(
        published < ANONYMOUS_BYTES_MAX,
        "{published} bytes with the backlog"
    );
    Ok(())
}

#[test]
fn a_stop_under_load_is_quick_and_clean() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _alone = runtime.block_on(alone());
    let mut broker = Broker::start()?;
    runtime.block_on(async {
        let mut client = Client::connect(&broker).await?;
        client.declare("q", DURABLE).await?;
        client.close().await
    })?;
    let confirmed = Arc::new(AtomicU64::new(0));
    let address = broker.address();
    let publisher = {
        let confirmed = Arc::clone(&confirmed);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let options = client_amqp091::ConnectOptions::default();
                let mut client = Client::connect_with(address, &options).await?;
                client.confirm_select().await?;
                let (mut sent, mut done) = (0, 0);
                let end: anyhow::Error = loop {
                    while sent < done + 500 {
                        let body = format!("{sent}");
                        sent = client.send("", "q", &PERSISTENT, body.as_bytes());
                    }
                    match client.confirmed_until(done + 1).await {
                        Ok(until) => done = until,
                        Err(error) => break error,
                    }
                    confirmed.store(done, Ordering::SeqCst);
                };
                anyhow::Ok(end)
            })
        })
    };
    runtime.block_on(testkit::client::until("some confirms", || {
        confirmed.load(Ordering::SeqCst) > 2000
    }))?;
    let asked = Instant::now();
    broker.stop()?;
    let took = asked.elapsed();
    let Ok(end) = publisher.join() else {
        bail!("the publisher panicked");
    };
    let end = end?.to_string();
    ensure!(
        end.contains("320 CONNECTION_FORCED"),
        "the publisher saw '{end}'"
    );
    assert!(took < Duration::from_secs(30), "the stop took {took:?}");
    broker.restart()?;
    runtime.block_on(async {
        let mut client = Client::connect(&broker).await?;
        let received = drain(&mut client, "q").await?;
        let confirmed = confirmed.load(Ordering::SeqCst);
        eprintln!(
            "stopped in {took:?} with {confirmed} confirmed, {} there",
            received.len()
        );
        assert!(received.len() as u64 >= confirmed);
        assert_eq!(bodies(&received), numbered(0..received.len() as u64));
        // The mark would say that the log had no proper end.
        assert!(received.iter().all(|message| !message.redelivered));
        // What was told to the clients is in the log too.
        let log = broker.log();
        let unexpected = log.lines().find(|line| {
            line.contains("[error]")
                && !line.contains("Error on AMQP connection")
                && !line.contains("connection_forced")
        });
        assert_eq!(unexpected, None, "{log}");
        Ok(())
    })
}

// ── directories that are not to be used ──

/// Names, sizes and bytes of a directory's files, but for the lock.
fn content(directory: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        files.insert(path.clone(), std::fs::read(&path)?);
    }
    Ok(files)
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    let said = Broker::refused(&[], &broker.data_directory())?;
    assert!(said.contains("in use by another process"), "{said}");
    assert!(
        said.contains(&broker.data_directory().display().to_string()),
        "{said}"
    );
    client
        .publish_all("q", &PERSISTENT, 10, |_| b"on".to_vec())
        .await?;
    assert_eq!(drain(&mut client, "q").await?.len(), 10);
    Ok(())
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_left_alone() -> anyhow::Result<()> {
    let mut broker = Broker::start()?;
    let mut client = Client::connect(&broker).await?;
    client.declare("q", DURABLE).await?;
    client.close().await?;
    broker.stop()?;
    let format = broker.data_directory().join("format");
    std::fs::write(&format, newer(&std::fs::read(&format)?))?;
    let before = content(&broker.data_directory())?;
    let said = Broker::refused(&[], &broker.data_directory())?;
    assert!(
        said.contains("has format 3, this release reads formats up to 2"),
        "{said}"
    );
    assert!(
        content(&broker.data_directory())? == before,
        "files were changed"
    );
    Ok(())
}

/// The format file with the next version in both of its copies: magic(8) kind(1) version(1) 0(6) length(8) crc(4) 0(4) payload.
fn newer(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let half = file.len() / 2;
    for copy in file.chunks_mut(half) {
        assert_eq!(copy[..8], *b"WARRENMQ");
        copy[9] += 1;
        let mut hasher = crc32fast::Hasher::new();
        for range in [0..24, 32..copy.len()] {
            hasher.update(&copy[range]);
        }
        let crc = hasher.finalize().to_le_bytes();
        copy[24..28].copy_from_slice(&crc);
    }
    file
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let said = Broker::refused(&[], file.path())?;
    assert!(said.contains("create data directory"), "{said}");
    assert!(said.contains(&file.path().display().to_string()), "{said}");
    Ok(())
}

#[test]
fn a_read_only_file_system_is_refused() -> anyhow::Result<()> {
    let disk = SmallDisk::mount("ro,size=1m")?;
    let said = Broker::refused(&disk.wrapper(), disk.path())?;
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains(&disk.path().display().to_string()), "{said}");
    Ok(())
}

// ── full disks ──

/// A tmpfs in a mount namespace of its own; it is gone when this is dropped.
struct SmallDisk {
    directory: tempfile::TempDir,
    holder: Child,
    enter: Vec<String>,
}

impl SmallDisk {
    fn mount(options: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let id = Command::new("id").arg("-u").output().context("run id")?;
        let is_root = id.stdout.trim_ascii() == b"0";
        // Mounting takes root's powers; where the test has them not, a user namespace gives them.
        let mut holder = Command::new("unshare")
            .arg(if is_root { "-m" } else { "-Urm" })
            .args([
                "sh",
                "-c",
                r#"mount -t tmpfs -o "$1" tmpfs "$0" && echo mounted && exec sleep 600"#,
            ])
            .arg(directory.path())
            .arg(options)
            .stdout(Stdio::piped())
            .spawn()
            .context("run unshare")?;
        let mut line = String::new();
        let stdout = holder.stdout.take().context("standard output is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let pid = holder.id().to_string();
        let namespaces: &[&str] = if is_root {
            &["-m"]
        } else {
            &["-U", "-m", "--preserve-credentials"]
        };
        let enter = ["nsenter", "-t", &pid]
            .into_iter()
            .chain(namespaces.iter().copied());
        let disk = Self {
            directory,
            holder,
            enter: enter.map(|word| (*word).to_owned()).collect(),
        };
        ensure!(line == "mounted\n", "cannot mount a small file system");
        Ok(disk)
    }

    /// What runs a command inside.
    fn wrapper(&self) -> Vec<&str> {
        self.enter.iter().map(String::as_str).collect()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes what is free but for `rest` KiB; returns the file that holds it.
    fn fill(&self, rest_kib: u64) -> anyhow::Result<()> {
        let filler = self.path().join("filler");
        let script = r#"free=$(df -k --output=avail "$0" | tail -1); fallocate -l $(( (free - $1) * 1024 )) "$0/filler""#;
        ensure!(!filler.exists(), "outside nothing is mounted");
        let rest = rest_kib.to_string();
        self.run(&["sh", "-c", script, &self.path().to_string_lossy(), &rest])
    }

    fn empty(&self) -> anyhow::Result<()> {
        self.run(&["rm", &self.path().join("filler").to_string_lossy()])
    }

    fn run(&self, command: &[&str]) -> anyhow::Result<()> {
        let (program, arguments) = self.enter.split_first().context("a program")?;
        let status = Command::new(program)
            .args(arguments)
            .args(command)
            .status()
            .context("run nsenter")?;
        ensure!(status.success(), "{command:?} failed");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing is left to do about an error here.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[tokio::test]
async fn a_full_disk_stops_publishers_and_nothing_else() -> anyhow::Result<()> {
    const BODY: usize = 64 << 10;
    let _alone = alone().await;
    let disk = SmallDisk::mount("size=300m")?;
    // The disk is full before the alarm that should prevent it is raised.
    let settings = "disk_free_limit.absolute = 1KB\n";
    let data = disk.path().join("data");
    let mut broker = Broker::start_wrapped(settings, &disk.wrapper(), Some(&data))?;
    let mut consumer = Client::connect(&broker).await?;
    consumer.declare("q", DURABLE).await?;
    let mut publisher = Client::connect(&broker).await?;
    publisher.confirm_select().await?;
    disk.fill(1024)?;

    let body = |number: u64| {
        let mut body = vec![0; BODY];
        Random::new(number).fill(&mut body);
        body
    };
    let (mut sent, mut confirmed) = (0, 0);
    // Until the broker says that it is full, which it does when a publish comes then.
    let reason = loop {
        ensure!(
            sent * (BODY as u64) < 600 << 20,
            "it never gets full\n{}",
            broker.log()
        );
        while sent < confirmed + 100 {
            sent = publisher.send("", "q", &PERSISTENT, &body(sent + 1));
        }
        let wait = Duration::from_millis(100);
        match tokio::time::timeout(wait, publisher.connection.next_event()).await {
            Err(_) => sent = publisher.send("", "q", &PERSISTENT, &body(sent + 1)),
            Ok(event) => match event? {
                Event::Confirmed { delivery_tag, .. } => confirmed = delivery_tag,
                Event::Blocked { reason } => break String::from_utf8_lossy(reason).into_owned(),
                other => bail!("{other:?}"),
            },
        }
    };
    assert_eq!(reason, "low on disk");
    eprintln!("full after {confirmed} confirms of {sent}");

    // It still delivers, and does not die.
    consumer.connection.qos(CHANNEL, 50).await?;
    consumer.consume("q", false).await?;
    for (number, message) in (1..).zip(consumer.receive(50).await?) {
        assert!(message.body == body(number), "message {number} has changed");
    }
    drop(consumer);

    // What it has confirmed is there after a crash, on a disk that is still full.
    while let Ok(Ok(event)) =
        tokio::time::timeout(Duration::from_millis(1), publisher.connection.next_event()).await
    {
        if let Event::Confirmed { delivery_tag, .. } = event {
            confirmed = delivery_tag;
        }
    }
    drop(publisher);
    broker.kill()?;
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    client.consume("q", false).await?;
    for number in 1..=confirmed {
        let message = client
            .next_delivery()
            .await
            .with_context(|| format!("{number} of {confirmed}"))?;
        assert!(message.body == body(number), "message {number} has changed");
    }
    drop(client);

    // And with space again it takes messages again.
    disk.empty()?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    let asked = Instant::now();
    client.publish_all("q", &PERSISTENT, 100, body).await?;
    eprintln!("took messages again {:?} after space came", asked.elapsed());
    drop(client);
    broker.stop()?;
    Ok(())
}

// ── disks that fail ──

/// The broker under strace, with the sync of this number and all after it failing. Returns how many messages were confirmed.
async fn sync_fails_at(number: u32) -> anyhow::Result<u64> {
    let trace = tempfile::NamedTempFile::new()?;
    let trace_path = trace.path().to_string_lossy().into_owned();
    let inject = format!("inject=fdatasync:error=EIO:when={number}+");
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "-o",
        &trace_path,
        "-e",
        "trace=fdatasync",
        "-e",
        &inject,
    ];
    let data = tempfile::tempdir()?;
    let mut broker = Broker::start_wrapped("", &wrapper, Some(data.path()))?;
    let mut client = Client::connect(&broker).await?;
    let mut confirmed = 0;
    let publishing = async {
        client.declare("q", DURABLE).await?;
        client.confirm_select().await?;
        loop {
            let body = confirmed.to_string();
            let tag = client.send("", "q", &PERSISTENT, body.as_bytes());
            client.confirmed_until(tag).await?;
            confirmed = tag;
        }
    };
    let end: anyhow::Result<()> = publishing.await;
    ensure!(end.is_err(), "publishing has no end");
    drop(client);
    let status = broker.wait()?;
    assert!(!status.success(), "exited with {status}");
    let log = broker.log();
    assert!(
        log.contains("sync") && log.contains("Input/output error"),
        "{log}"
    );

    // Each confirm had a sync of its own before the first that failed.
    let syncs = std::fs::read_to_string(&trace_path)?;
    let succeeded = syncs
        .lines()
        .take_while(|line| !line.contains("INJECTED"))
        .count() as u64;
    assert!(syncs.contains("INJECTED"), "{syncs}");
    assert!(
        confirmed <= succeeded,
        "{confirmed} confirms after {succeeded} syncs"
    );

    broker.unwrap_command();
    broker.restart()?;
    let mut client = Client::connect(&broker).await?;
    if confirmed > 0 {
        let received = bodies(&drain(&mut client, "q").await?);
        let wanted = numbered(0..confirmed);
        // The one that was never confirmed may be there or not.
        assert_eq!(received[..wanted.len().min(received.len())], wanted);
        assert!(received.len() <= wanted.len() + 1);
    }
    drop(client);
    broker.stop()?;
    Ok(confirmed)
}

#[tokio::test]
async fn nothing_is_confirmed_after_a_sync_that_failed() -> anyhow::Result<()> {
    let mut confirmed = Vec::new();
    for number in [12, 20, 40] {
        confirmed.push(sync_fails_at(number).await?);
    }
    eprintln!("confirms before the sync failed: {confirmed:?}");
    assert!(
        confirmed.iter().any(|confirmed| *confirmed > 5),
        "{confirmed:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_first_start_on_a_failing_disk_is_refused() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO:when=1+",
    ];
    let said = Broker::refused(&wrapper, data.path())?;
    assert!(said.contains("Input/output error"), "{said}");
    Ok(())
}
