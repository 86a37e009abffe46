//! The variables of OpenTelemetry's exporters, where no file says the same by a key.
//!
//! Those that this node cannot honour stop it: an operator must not wait for spans that never come.

use crate::error::{Place, Problem};
use crate::schema::{self, Draft};
use crate::surroundings::Surroundings;

/// As much of a list in a variable as is read.
const LIST_BYTES_MAX: usize = 64 << 10;

/// Samplers that are known, for whoever asks for another.
const SAMPLERS: &str =
    "parentbased_always_off, parentbased_always_on, parentbased_traceidratio or always_off";

/// Keys that one variable each stands for: the first where it is set, else the second.
const TAKEN: &[(&str, &str, &str)] = &[
    (
        "opentelemetry.service_name",
        "OTEL_SERVICE_NAME",
        "OTEL_SERVICE_NAME",
    ),
    (
        "opentelemetry.timeout",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    ),
    (
        "opentelemetry.tls.cacertfile",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    ),
    (
        "opentelemetry.tls.certfile",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    ),
    (
        "opentelemetry.tls.keyfile",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    ),
];

/// Variables that may say one thing only, where spans are exported.
const ONLY: &[(&[&str], &str)] = &[
    (
        &[
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ],
        "http/protobuf",
    ),
    (
        &[
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            "OTEL_EXPORTER_OTLP_COMPRESSION",
        ],
        "none",
    ),
    (&["OTEL_TRACES_EXPORTER"], "otlp"),
];

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
        for (key, value) in pairs(&value) {
            put(name, &format!("opentelemetry.headers.{key}"), &value);
        }
    }
    if let Some((name, value)) = set("OTEL_RESOURCE_ATTRIBUTES") {
        for (attribute, value) in pairs(&value) {
            let key = match attribute {
                "service.name" => "opentelemetry.service_name".to_owned(),
                _ => format!("opentelemetry.resource.{}", attribute.replace('.', "\\.")),
            };
            if !has(&key) {
                put(name, &key, &value);
            }
        }
    }
    let mut take = |key: &str, of_traces: &'static str, of_all: &'static str| {
        if !has(key)
            && let Some((name, value)) = set(of_traces).or_else(|| set(of_all))
        {
            put(name, key, &value);
        }
    };
    for (key, of_traces, of_all) in TAKEN {
        take(key, of_traces, of_all);
    }
    if !has("opentelemetry.sample_rate")
        && let Some((name, sampler)) = set("OTEL_TRACES_SAMPLER")
    {
        let ratio = || surroundings.variable("OTEL_TRACES_SAMPLER_ARG");
        match sampler.as_str() {
            "parentbased_always_off" => {}
            "always_off" => put(name, "opentelemetry.sample_rate", "0"),
            "parentbased_always_on" => put(name, "opentelemetry.sample_rate", "1"),
            "parentbased_traceidratio" => {
                let ratio = ratio().unwrap_or_else(|| "1".to_owned());
                put(
                    "OTEL_TRACES_SAMPLER_ARG",
                    "opentelemetry.sample_rate",
                    &ratio,
                );
            }
            _ => problems.push(Problem::BadVariable {
                name,
                value: sampler,
                expected: SAMPLERS.to_owned(),
            }),
        }
    }
    let is_off = |name: &'static str, off: &str| {
        let value = surroundings.variable(name);
        value.is_some_and(|value| value.eq_ignore_ascii_case(off))
    };
    if is_off("OTEL_SDK_DISABLED", "true") || is_off("OTEL_TRACES_EXPORTER", "none") {
        draft.settings.opentelemetry.endpoint = None;
    }
    if draft.settings.opentelemetry.endpoint.is_none() {
        return;
    }
    for (names, expected) in ONLY {
        let other = names.iter().find_map(|name| set(name));
        if let Some((name, value)) = other.filter(|(_, value)| value != expected) {
            problems.push(Problem::BadVariable {
                name,
                value,
                expected: (*expected).to_owned(),
            });
        }
    }
}

/// Names and values of a list with commas, in which values are percent-encoded.
fn pairs(list: &str) -> impl Iterator<Item = (&str, String)> {
    let list = list.get(..LIST_BYTES_MAX).unwrap_or(list);
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.trim(), decoded(value.trim()))
    })
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
