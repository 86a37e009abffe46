//! Spans of messages, as a collector of OpenTelemetry gets them.

use anyhow::{Context, ensure};
use client_amqp091::codec::{BasicProperties, Table, TableWriter, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use testkit::client::DURABLE;
use testkit::{Broker, Client, Http};

/// How long spans may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that keeps what it is given.
struct Collector {
    requests: mpsc::Receiver<(String, Vec<u8>)>,
    spans: Vec<Span>,
}

#[derive(Clone, Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    state: String,
    name: String,
    start_ns: u64,
    end_ns: u64,
    attributes: BTreeMap<String, String>,
    /// Where it comes from.
    resource: BTreeMap<String, String>,
}

impl Collector {
    fn start(address: SocketAddr) -> anyhow::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A broker that is killed asks only half of it.
                let Ok(request) = answer(stream) else {
                    continue;
                };
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        let spans = Vec::new();
        Ok((Self { requests, spans }, address))
    }

    /// The spans of the names, in the order of the names, as soon as they are there.
    fn wait_for(&mut self, names: &[&str]) -> anyhow::Result<Vec<Span>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let find = |name: &&str| self.spans.iter().find(|span| span.name == **name).cloned();
            let found: Vec<Span> = names.iter().filter_map(find).collect();
            if found.len() == names.len() {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let (head, body) = self
                .requests
                .recv_timeout(left)
                .with_context(|| format!("waiting for {names:?}, there is {:?}", self.spans))?;
            let head = head.to_lowercase();
            ensure!(head.starts_with("post /v1/traces http/1.1"), "{head}");
            ensure!(
                head.contains("content-type: application/x-protobuf"),
                "{head}"
            );
            ensure!(head.contains("x-token: canary"), "{head}");
            self.spans.extend(spans_of(&body));
        }
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let lower = head.to_lowercase();
    let length = lower.split_once("content-length: ").expect("a length").1;
    let length = length
        .split("\r\n")
        .next()
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.expect("a number")];
    stream.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    Ok((head, body))
}

/// A field of Protobuf.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message; as much as this test needs of Protobuf.
fn fields(mut rest: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(rest: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = rest[0];
            *rest = &rest[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut rest)),
            1 => {
                let (number, behind) = rest.split_at(8);
                rest = behind;
                Field::Number(u64::from_le_bytes(number.try_into().expect("Protobuf")))
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)).expect("Protobuf");
                let (bytes, behind) = rest.split_at(length);
                rest = behind;
                Field::Bytes(bytes)
            }
            kind => panic!("kind {kind}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// The messages in a field.
fn inside(message: &[u8], tag: u64) -> impl Iterator<Item = &[u8]> {
    fields(message)
        .into_iter()
        .filter_map(move |field| match field {
            (own, Field::Bytes(bytes)) if own == tag => Some(bytes),
            _ => None,
        })
}

fn spans_of(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in inside(body, 1) {
        let resource: BTreeMap<_, _> = inside(resource_spans, 1)
            .flat_map(|resource| inside(resource, 1))
            .map(attribute)
            .collect();
        assert_eq!(resource["service.name"], "shop");
        assert_eq!(resource["service.instance.id"], "rabbit@localhost");
        let scopes = inside(resource_spans, 2);
        let own = scopes.flat_map(|scope| inside(scope, 2)).map(span);
        spans.extend(own.map(|span| Span {
            resource: resource.clone(),
            ..span
        }));
    }
    spans
}

fn attribute(message: &[u8]) -> (String, String) {
    let key =
        String::from_utf8(inside(message, 1).next().expect("Protobuf").to_vec()).expect("Protobuf");
    let value = inside(message, 2).next().expect("Protobuf");
    let value = match &fields(value)[0] {
        (1, Field::Bytes(text)) => String::from_utf8(text.to_vec()).expect("Protobuf"),
        (2, Field::Number(switch)) => (*switch == 1).to_string(),
        (_, Field::Number(number)) => number.to_string(),
        (tag, Field::Bytes(_)) => panic!("tag {tag}"),
    };
    (key, value)
}

fn span(message: &[u8]) -> Span {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("Protobuf");
    let mut span = Span::default();
    for field in fields(message) {
        match field {
            (1, Field::Bytes(id)) => span.trace = hex(id),
            (2, Field::Bytes(id)) => span.id = hex(id),
            (3, Field::Bytes(state)) => span.state = text(state),
            (4, Field::Bytes(id)) => span.parent = hex(id),
            (5, Field::Bytes(name)) => span.name = text(name),
            (7, Field::Number(time)) => span.start_ns = time,
            (8, Field::Number(time)) => span.end_ns = time,
            (9, Field::Bytes(pair)) => span.attributes.extend([attribute(pair)]),
            _ => {}
        }
    }
    span
}

fn settings(collector: SocketAddr) -> String {
    format!(
        "opentelemetry.endpoint = http://{collector}\n\
         opentelemetry.service_name = shop\n\
         opentelemetry.headers.x-token = canary\n"
    )
}

/// Publishes to a queue with this flag in its `traceparent`, or without one, and waits for the confirm.
async fn publish(
    client: &mut Client,
    exchange: &str,
    queue: &str,
    flag: Option<&str>,
) -> anyhow::Result<()> {
    let mut headers = Vec::new();
    if let Some(flag) = flag {
        let parent = format!("00-{TRACE}-{PARENT}-{flag}");
        let mut writer = TableWriter::new(&mut headers);
        writer.field(b"traceparent", &Value::LongStr(parent.as_bytes()));
        writer.field(b"tracestate", &Value::LongStr(b"vendor=1"));
    }
    let properties = BasicProperties {
        headers: flag.map(|_| Table::new(&headers)),
        message_id: Some(b"m1"),
        ..testkit::client::PERSISTENT
    };
    let number = client.send(exchange, queue, &properties, b"hello");
    client.confirmed_until(number).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_of_a_sampled_trace_is_followed_from_its_publish_to_its_ack() -> anyhow::Result<()>
{
    let (mut collector, address) = Collector::start("127.0.0.1:0".parse()?)?;
    let broker = Broker::start_with(&settings(address))?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    for queue in ["q", "other"] {
        client.declare(queue, DURABLE).await?;
        client.bind(queue, "amq.direct", "key").await?;
    }
    // One that is not sampled leaves nothing.
    publish(&mut client, "", "q", Some("00")).await?;
    publish(&mut client, "", "q", None).await?;
    publish(&mut client, "amq.direct", "key", Some("01")).await?;
    client.consume("q", false).await?;
    let received = client.receive(3).await?;
    client.ack_until(received[2].delivery_tag).await?;
    let sent = BasicProperties::decode(&received[2].raw_properties)?;
    let header = sent.headers.context("headers")?.get(b"traceparent")?;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    ensure!(matches!(header, Some(Value::LongStr(text)) if text == parent.as_bytes()));

    let names = [
        "publish amq.direct:key",
        "route amq.direct:key",
        "enqueue q",
        "enqueue other",
        "deliver q",
        "settle q",
    ];
    let spans = collector.wait_for(&names)?;
    for span in &spans {
        assert_eq!(
            (&*span.trace, &*span.state),
            (TRACE, "vendor=1"),
            "{span:?}"
        );
        assert!(span.start_ns <= span.end_ns, "{span:?}");
        for (key, value) in [
            ("messaging.system", "rabbitmq"),
            ("messaging.rabbitmq.destination.routing_key", "key"),
            ("messaging.message.body.size", "5"),
            ("messaging.message.id", "m1"),
            ("warren.vhost", "/"),
            ("warren.exchange", "amq.direct"),
            ("warren.user", "guest"),
        ] {
            assert_eq!(span.attributes[key], value, "{span:?}");
        }
    }
    let [publish, route, enqueue, other, deliver, settle] = &spans[..] else {
        anyhow::bail!("{spans:?}")
    };
    assert_eq!(publish.parent, PARENT);
    for child in [route, enqueue, other, deliver] {
        assert_eq!(child.parent, publish.id, "{child:?}");
        assert!(child.start_ns >= publish.start_ns, "{child:?}");
    }
    assert_eq!(settle.parent, deliver.id);
    assert_eq!(settle.start_ns, deliver.end_ns);
    assert!(deliver.end_ns > publish.start_ns);
    assert!(
        publish.end_ns > publish.start_ns,
        "a confirm waits for the disk"
    );
    assert_eq!(publish.attributes["warren.queues"], "2");
    assert_eq!(
        publish.attributes["messaging.destination.name"],
        "amq.direct:key"
    );
    assert_eq!(
        deliver.attributes["messaging.destination.name"],
        "amq.direct:key:q"
    );
    assert_eq!(deliver.attributes["warren.redelivered"], "false");
    assert_eq!(settle.attributes["messaging.operation.type"], "settle");
    assert_eq!(settle.attributes["warren.outcome"], "ack");
    assert_eq!(
        collector.spans.len(),
        names.len(),
        "nothing else: {:?}",
        collector.spans
    );
    assert!(!broker.log().contains("canary"));
    Ok(())
}

#[tokio::test]
async fn policies_choose_what_is_followed() -> anyhow::Result<()> {
    let (mut collector, address) = Collector::start("127.0.0.1:0".parse()?)?;
    let broker = Broker::start_with(&settings(address))?;
    let http = Http::new(&broker);
    let policy = |name: &str, pattern: &str, to: &str, rate: f64| {
        let definition = json!({"trace-sample-rate": rate});
        let body = json!({"pattern": pattern, "definition": definition, "apply-to": to});
        http.put(&format!("/policies/%2F/{name}"), body)
    };
    policy("all", "^all$", "queues", 1.0)?;
    policy("none", "^none$", "queues", 0.0)?;
    policy("exchange", "^amq.fanout$", "exchanges", 1.0)?;
    let bad = json!({"pattern": "x", "definition": {"trace-sample-rate": 1.5}});
    assert_eq!(
        http.request("PUT", "/policies/%2F/bad", Some(&bad))?.status,
        400
    );
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    for queue in ["all", "none", "plain"] {
        client.declare(queue, DURABLE).await?;
    }
    client.bind("plain", "amq.fanout", "").await?;
    publish(&mut client, "", "none", Some("01")).await?;
    publish(&mut client, "", "none", None).await?;
    publish(&mut client, "", "plain", None).await?;
    // A trace that is not sampled stays so.
    publish(&mut client, "", "all", Some("00")).await?;
    for _ in 0..3 {
        publish(&mut client, "", "all", None).await?;
    }
    publish(&mut client, "amq.fanout", "", None).await?;
    client.get("all", false).await?.context("a message")?;
    client.get("all", false).await?.context("another message")?;
    let spans = collector.wait_for(&[
        "publish all",
        "deliver all",
        "publish amq.fanout",
        "enqueue plain",
    ])?;
    assert_eq!(spans[0].parent, "", "it begins a trace");
    assert_ne!(spans[0].trace, TRACE);
    assert_eq!(spans[1].attributes["messaging.operation.name"], "deliver");
    let count = |name: &str| {
        collector
            .spans
            .iter()
            .filter(|span| span.name == name)
            .count()
    };
    assert_eq!(count("publish all"), 3);
    assert_eq!(count("deliver all"), 1);
    assert_eq!(count("publish none"), 0);
    assert_eq!(count("publish plain"), 0);
    // What was not settled when its channel ends has come back.
    client.close().await?;
    let spans = collector.wait_for(&["settle all"])?;
    assert_eq!(spans[0].attributes["warren.outcome"], "return");
    // What is followed is told to whoever gets it later, also after a restart.
    drop(http);
    let mut broker = broker;
    broker.stop()?;
    broker.restart()?;
    collector.spans.clear();
    let mut client = Client::connect(&broker).await?;
    for _ in 0..4 {
        client.get("all", true).await?.context("it was kept")?;
    }
    collector.wait_for(&["deliver all"])?;
    Ok(())
}

/// As an operator's environment has it.
fn start_in(variables: &[String]) -> anyhow::Result<Broker> {
    let variables = variables.iter().map(String::as_str);
    let wrapper: Vec<&str> = std::iter::once("env").chain(variables).collect();
    Broker::start_wrapped("", &wrapper, None)
}

/// The collector looks for the header and the name of the service.
#[tokio::test]
async fn the_variables_of_opentelemetry_count() -> anyhow::Result<()> {
    let (mut collector, address) = Collector::start("127.0.0.1:0".parse()?)?;
    let mut variables = vec![
        format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{address}/"),
        "OTEL_EXPORTER_OTLP_HEADERS=x-token=can%61ry,x-other=1".to_owned(),
        "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf".to_owned(),
        "OTEL_RESOURCE_ATTRIBUTES=service.name=unheard,team=hares%2C inc,service.version=7"
            .to_owned(),
        "OTEL_SERVICE_NAME=shop".to_owned(),
        "OTEL_TRACES_SAMPLER=parentbased_traceidratio".to_owned(),
        "OTEL_TRACES_SAMPLER_ARG=1.0".to_owned(),
    ];
    let broker = start_in(&variables)?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    // A trace that is not sampled stays so, whatever the sampler.
    publish(&mut client, "", "q", Some("00")).await?;
    publish(&mut client, "", "q", None).await?;
    let spans = collector.wait_for(&["publish q", "enqueue q"])?;
    assert_eq!(spans[0].parent, "", "it begins a trace");
    assert_eq!(spans[0].resource["team"], "hares, inc");
    assert_eq!(spans[0].resource["service.version"], "7");
    let publishes = collector.spans.iter();
    assert_eq!(publishes.filter(|span| span.name == "publish q").count(), 1);
    drop(client);
    drop(broker);

    // One for traces counts before one for all.
    let below = format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://{address}/v1/traces");
    variables[0] = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1".to_owned();
    variables.push(below);
    let broker = start_in(&variables)?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("other", DURABLE).await?;
    publish(&mut client, "", "other", Some("01")).await?;
    collector.wait_for(&["publish other"])?;
    drop(client);
    drop(broker);

    variables.push("OTEL_SDK_DISABLED=true".to_owned());
    let broker = start_in(&variables)?;
    assert!(!broker.log().contains("messages are followed"));
    Ok(())
}

#[tokio::test]
async fn a_collector_that_does_not_answer_in_time_is_asked_again() -> anyhow::Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let broker = start_in(&[
        format!(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://{}/v1/traces",
            silent.local_addr()?
        ),
        "OTEL_EXPORTER_OTLP_TIMEOUT=100".to_owned(),
    ])?;
    let (sender, asked) = mpsc::channel();
    std::thread::spawn(move || {
        // They stay open and nothing is said.
        let kept: Vec<_> = silent.incoming().take(2).collect();
        sender.send(kept.len())
    });
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    publish(&mut client, "", "q", Some("01")).await?;
    // The usual timeout is longer.
    assert_eq!(asked.recv_timeout(Duration::from_secs(8))?, 2);
    Ok(())
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_is_down() -> anyhow::Result<()> {
    let address = testkit::free_address();
    let broker = Broker::start_with(&settings(address))?;
    let mut client = Client::connect(&broker).await?;
    client.confirm_select().await?;
    client.declare("q", DURABLE).await?;
    for _ in 0..500 {
        publish(&mut client, "", "q", Some("01")).await?;
    }
    testkit::client::until("the log says it", || {
        broker.log().contains("spans cannot be exported")
    })
    .await?;
    let (mut collector, _) = Collector::start(address)?;
    publish(&mut client, "", "q", Some("01")).await?;
    collector.wait_for(&["publish q"])?;
    testkit::client::until("the log says it", || {
        broker.log().contains("spans are exported again")
    })
    .await?;
    Ok(())
}
