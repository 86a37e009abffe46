//! Where spans are exported to.

use super::kind::*;
use super::*;
use http_client::Url;

/// Attributes of where the spans come from.
const RESOURCE_MAX: usize = 128;

/// Path of an endpoint that names none.
const TRACES_PATH: &str = "/v1/traces";

/// An option of TLS towards the collector, as `definitions.tls` has it.
macro_rules! tls {
    ($option:literal, $kind:expr, $default:literal) => {
        Key {
            name: concat!("opentelemetry.tls.", $option),
            alias: None,
            env: "",
            kind: $kind,
            default: $default,
            meaning: concat!("As `definitions.tls.", $option, "`."),
            state: State::Honoured(|draft, _, value| {
                draft.settings.opentelemetry.tls.set($option, value)
            }),
        }
    };
}

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "opentelemetry.endpoint",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "Address of a collector for spans (OTLP over HTTP), such as `http://localhost:4318`; without a path it gets `/v1/traces`. Unset, nothing is followed.",
        state: State::Honoured(|draft, _, value| {
            let url: Url = value.parse()?;
            draft.settings.opentelemetry.endpoint = Some(match url.target() {
                "/" => url.with_target(TRACES_PATH),
                _ => url,
            });
            Ok(())
        }),
    },
    Key {
        name: "opentelemetry.headers.$name",
        alias: None,
        env: "",
        kind: SECRET,
        default: "",
        meaning: "A header that the collector wants to see.",
        state: State::Honoured(|draft, name, value| {
            let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if name.is_empty() || !name.chars().all(is_token) {
                return Err("a header's name of letters, digits, - and _ in the key".to_owned());
            }
            let secret = Secret::from(value);
            if !secret.expose().bytes().all(|b| (b' '..=b'~').contains(&b)) {
                return Err("a header's value of ASCII".to_owned());
            }
            let headers = &mut draft.settings.opentelemetry.headers;
            headers.insert(name.to_owned(), secret);
            Ok(())
        }),
    },
    Key {
        name: "opentelemetry.service_name",
        alias: None,
        env: "",
        kind: TEXT,
        default: "warrenmq",
        meaning: "`service.name` of the spans.",
        state: State::Honoured(|draft, _, value| {
            value.clone_into(&mut draft.settings.opentelemetry.service_name);
            Ok(())
        }),
    },
    Key {
        name: "opentelemetry.resource.$name",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "Another attribute of where the spans come from, such as `deployment\\.environment\\.name`.",
        state: State::Honoured(|draft, name, value| {
            let resource = &mut draft.settings.opentelemetry.resource;
            if name.is_empty() || resource.len() >= RESOURCE_MAX {
                return Err(format!(
                    "a name in the key, and at most {RESOURCE_MAX} of them"
                ));
            }
            resource.insert(name.to_owned(), value.to_owned());
            Ok(())
        }),
    },
    Key {
        name: "opentelemetry.timeout",
        alias: None,
        env: "",
        kind: DOUBLE_WORD,
        default: "10000",
        meaning: "Milliseconds that the collector may take for an answer.",
        state: State::Honoured(|draft, _, value| {
            let ms = positive::<u32>(value)?;
            draft.settings.opentelemetry.timeout = Duration::from_millis(ms.into());
            Ok(())
        }),
    },
    Key {
        name: "opentelemetry.sample_rate",
        alias: None,
        env: "",
        kind: FLOAT,
        default: "",
        meaning: "The policy key `trace-sample-rate` where no policy has it, from 0 to 1.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.opentelemetry.sample_rate = Some(fraction(value)?);
            Ok(())
        }),
    },
    tls!("verify", VERIFY, "verify_peer"),
    tls!("cacertfile", TEXT, ""),
    tls!("certfile", TEXT, ""),
    tls!("keyfile", TEXT, ""),
    tls!("password", SECRET, ""),
    tls!("depth", BYTE, "10"),
];
