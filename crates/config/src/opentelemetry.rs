//! The variables of OpenTelemetry's exporters, where no file says the same by a key.
//!
//! Those that this node cannot honour stop it: an operator must not wait for spans that never come.

use crate::error::{Place, Problem};
use crate::schema::{self, Draft};
use crate::surroundings::Surroundings;

/// Longest value of a variable with headers.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// Applies the variables. `has` says whether a file has a key, or one that begins so.
pub(crate) fn apply(
    draft: &mut Draft,
    surroundings: &dyn Surroundings,
    has: impl Fn(&str) -> bool,
    problems: &mut Vec<Problem>,
) {
    let set = |name: &'static str| Some((name, surroundings.variable(name)?));
    let mut put = |name: &'static str, key: &str, value: &str| {
        let place = Place {
            file: name.to_owned(),
            line: 0,
        };
        let Err(problem) = schema::apply(draft, &place, key, value) else {
            return;
        };
        let is_secret = key.starts_with("opentelemetry.headers");
        problems.push(Problem::BadVariable {
            name,
            value: if is_secret { "***" } else { value }.to_owned(),
            expected: if let Problem::BadValue { expected, .. } = problem {
                expected
            } else {
                format!("what {key} takes")
            },
        });
    };
    if !has("opentelemetry.endpoint") {
        if let Some((name, value)) = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            put(name, "opentelemetry.endpoint", &value);
        } else if let Some((name, value)) = set("OTEL_EXPORTER_OTLP_ENDPOINT") {
            let below = format!("{}/v1/traces", value.trim_end_matches('/'));
            put(name, "opentelemetry.endpoint", &below);
        }
    }
    if !has("opentelemetry.headers")
        && let Some((name, value)) =
            set("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| set("OTEL_EXPORTER_OTLP_HEADERS"))
    {
        for pair in value[..value.len().min(HEADERS_BYTES_MAX)].split(',') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = format!("opentelemetry.headers.{}", key.trim());
            put(name, &key, &decoded(value.trim()));
        }
    }
    if !has("opentelemetry.service_name")
        && let Some((name, value)) = set("OTEL_SERVICE_NAME")
    {
        put(name, "opentelemetry.service_name", &value);
    }
    if !has("opentelemetry.tls.cacertfile")
        && let Some((name, value)) = set("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
            .or_else(|| set("OTEL_EXPORTER_OTLP_CERTIFICATE"))
    {
        put(name, "opentelemetry.tls.cacertfile", &value);
    }
    let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        .or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"))
        .filter(|(_, value)| value != "http/protobuf");
    if draft.settings.opentelemetry.endpoint.is_some()
        && let Some((name, value)) = protocol
    {
        problems.push(Problem::BadVariable {
            name,
            value,
            expected: "http/protobuf".to_owned(),
        });
    }
    if surroundings
        .variable("OTEL_SDK_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        draft.settings.opentelemetry.endpoint = None;
    }
}

/// Percent-decodes; what is no text afterwards stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
