//! Sends spans to a collector: OTLP over HTTP, in Protobuf.
//!
//! A thread of its own takes what the connections have put into the [`SpanBuffer`] and sends it in batches. A collector that cannot
//! be reached is asked a few times; then its batch is lost, which is counted and logged. Meanwhile the buffer fills and drops what is
//! new: nobody who publishes or consumes ever waits for it.
//!
//! Why not the SDK of OpenTelemetry: it brings threads, a buffer and an HTTP client of its own; what is needed are these few messages.

use crate::config::OpenTelemetrySettings;
use bytes::Bytes;
use frontend_amqp091::spans::{Attribute, Span, SpanBuffer, SpanKind};
use http_client::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_client::{Client, Limits, Method, Request, StatusCode, Url};
use prost::Message as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use transport::{ClientTls, TlsError};

/// How long a span waits before it is sent.
const INTERVAL: Duration = Duration::from_millis(500);
/// Spans of one request.
const BATCH_MAX: usize = 512;
/// How often a batch is sent before it is given up.
const ATTEMPTS_MAX: u32 = 4;
/// Before the second attempt; it doubles with each.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How much the collector may say.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long a node that stops waits for its last spans to be sent.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends spans until it is stopped.
pub(crate) struct Exporter {
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
    ended: std::sync::mpsc::Receiver<()>,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// Certificates cannot be read, or there is no thread to be had.
    pub(crate) fn start(
        settings: &OpenTelemetrySettings,
        endpoint: &Url,
        node_name: &str,
        buffer: Arc<SpanBuffer>,
    ) -> Result<Self, crate::NodeError> {
        let mut sender = Sender::new(settings, endpoint, node_name, buffer)?;
        let system = |source| crate::NodeError::System {
            what: "start thread that exports spans",
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system)?;
        let (stop, stopped) = oneshot::channel();
        let (tell, ended) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("spans".to_owned())
            .spawn(move || {
                runtime.block_on(sender.run(stopped));
                // Whoever stopped it may not have waited so long.
                let _ = tell.send(());
            })
            .map_err(system)?;
        tracing::info!(endpoint = ?endpoint, "messages are followed in exported traces");
        Ok(Self {
            stop: Some(stop),
            thread,
            ended,
        })
    }

    /// Sends what there is, if that does not take long.
    pub(crate) fn stop(mut self) {
        // Dropping it is the sign.
        drop(self.stop.take());
        if self.ended.recv_timeout(STOP_TIMEOUT).is_ok() {
            let _ = self.thread.join();
        }
    }
}

struct Sender {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    resource: Resource,
    buffer: Arc<SpanBuffer>,
    /// Spans that were given up.
    lost: u64,
    /// What of these and of those that the buffer dropped was told.
    told: u64,
    is_failing: bool,
}

/// What became of a request.
enum Sent {
    Done,
    /// It may go better later.
    Later(String),
    Refused(String),
}

impl Sender {
    fn new(
        settings: &OpenTelemetrySettings,
        endpoint: &Url,
        node_name: &str,
        buffer: Arc<SpanBuffer>,
    ) -> Result<Self, TlsError> {
        let tls = match endpoint.is_https() {
            true => Some(ClientTls::new(&settings.tls)?),
            false => None,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let name = HeaderName::try_from(name.as_str());
            let value = HeaderValue::try_from(value.expose());
            // The configuration has been checked for it.
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        let limits = Limits {
            timeout: settings.timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        Ok(Self {
            client: Client::new(tls, limits),
            endpoint: endpoint.clone(),
            headers,
            resource: Resource::of(settings, node_name),
            buffer,
            lost: 0,
            told: 0,
            is_failing: false,
        })
    }

    async fn run(&mut self, mut stopped: oneshot::Receiver<()>) {
        let mut is_last = false;
        while !is_last {
            is_last = tokio::time::timeout(INTERVAL, &mut stopped).await.is_ok();
            let spans = self.buffer.take();
            for batch in spans.chunks(BATCH_MAX) {
                let body = Bytes::from(self.encode(batch));
                is_last |= self.deliver(body, batch.len(), is_last, &mut stopped).await;
            }
            self.tell_lost();
        }
    }

    /// Sends a batch until it has arrived or is given up. True if it was told to stop meanwhile.
    async fn deliver(
        &mut self,
        body: Bytes,
        spans: usize,
        is_last: bool,
        stopped: &mut oneshot::Receiver<()>,
    ) -> bool {
        let mut is_last = is_last;
        let mut delay = RETRY_DELAY;
        let mut attempt = 1;
        let reason = loop {
            match self.send(body.clone()).await {
                Sent::Done => {
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("spans are exported again");
                    }
                    return is_last;
                }
                Sent::Refused(reason) => break reason,
                Sent::Later(reason) if is_last || attempt >= ATTEMPTS_MAX => break reason,
                Sent::Later(_) => {}
            }
            is_last = tokio::time::timeout(delay, &mut *stopped).await.is_ok();
            attempt += 1;
            delay *= 2;
        };
        self.lost += spans as u64;
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(reason, "spans cannot be exported");
        }
        is_last
    }

    async fn send(&self, body: Bytes) -> Sent {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        match self.client.send(&self.endpoint, request).await {
            Ok(answer) if answer.status.is_success() => Sent::Done,
            Ok(answer) => {
                let reason = format!("the collector answers {}", answer.status);
                match answer.status {
                    StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT => Sent::Later(reason),
                    _ => Sent::Refused(reason),
                }
            }
            Err(error) => Sent::Later(error.to_string()),
        }
    }

    /// Says how many spans are lost each time they have doubled.
    fn tell_lost(&mut self) {
        let dropped = self.buffer.dropped();
        let total = self.lost + dropped;
        if total > 2 * self.told {
            self.told = total;
            tracing::warn!(
                total,
                dropped,
                "spans are lost: the collector does not keep up"
            );
        }
    }

    fn encode(&self, spans: &[Span]) -> Vec<u8> {
        let scope = InstrumentationScope {
            name: "warrenmq".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans: spans.iter().map(OtlpSpan::from).collect(),
                }],
            }],
        }
        .encode_to_vec()
    }
}

/// What the wall clock showed, in microseconds since 1970, so long ago.
pub(crate) fn wall_us_before(elapsed: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_sub(elapsed);
    u64::try_from(then.as_micros()).unwrap_or(u64::MAX)
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue::new(key, any_value::Value::String(value.to_owned()))
}

impl KeyValue {
    fn new(key: &str, value: any_value::Value) -> Self {
        Self {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
        }
    }
}

impl From<&Span> for OtlpSpan {
    fn from(span: &Span) -> Self {
        /// Nanoseconds of a microsecond.
        const NANOS: u64 = 1_000;
        /// Kinds of spans in OTLP.
        const INTERNAL: i32 = 1;
        const SERVER: i32 = 2;
        const PRODUCER: i32 = 4;
        /// A status of OTLP.
        const ERROR: i32 = 2;
        let attribute = |(key, value): &(&'static str, Attribute)| {
            let value = match value {
                Attribute::Text(text) => any_value::Value::String(text.clone()),
                Attribute::Int(number) => any_value::Value::Int(*number),
                Attribute::Bool(switch) => any_value::Value::Bool(*switch),
            };
            KeyValue::new(key, value)
        };
        let parent = match span.parent_id {
            0 => Vec::new(),
            parent => parent.to_be_bytes().to_vec(),
        };
        Self {
            trace_id: span.trace_id.to_be_bytes().to_vec(),
            span_id: span.span_id.to_be_bytes().to_vec(),
            trace_state: span.state.to_string(),
            parent_span_id: parent,
            name: span.name.clone(),
            kind: match span.kind {
                SpanKind::Publish | SpanKind::Settle => SERVER,
                SpanKind::Deliver => PRODUCER,
                SpanKind::Route | SpanKind::Enqueue => INTERNAL,
            },
            start_time_unix_nano: span.start_us.saturating_mul(NANOS),
            end_time_unix_nano: span.end_us.saturating_mul(NANOS),
            attributes: span.attributes.iter().map(attribute).collect(),
            status: span.error.map(|message| Status {
                message: message.to_owned(),
                code: ERROR,
            }),
        }
    }
}

// The messages of opentelemetry-proto 1.x, as far as they are filled in.

#[derive(Clone, PartialEq, prost::Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OtlpSpan>,
}

impl Resource {
    /// Where spans come from; what the settings say counts.
    fn of(settings: &OpenTelemetrySettings, node_name: &str) -> Self {
        let own = [
            ("service.name", settings.service_name.as_str()),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", node_name),
        ];
        let is_other = |(name, _): &(&str, &str)| !settings.resource.contains_key(*name);
        let said = settings.resource.iter();
        let said = said.map(|(name, value)| (name.as_str(), value.as_str()));
        let all = own.into_iter().filter(is_other).chain(said);
        Self {
            attributes: all.map(|(name, value)| text(name, value)).collect(),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OtlpSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(oneof = "any_value::Value", tags = "1, 2, 3")]
    value: Option<any_value::Value>,
}

mod any_value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Value {
        #[prost(string, tag = "1")]
        String(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(int64, tag = "3")]
        Int(i64),
    }
}
