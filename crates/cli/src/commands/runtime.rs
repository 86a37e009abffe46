//! The process of a node and what is around it: threads, certificates, interfaces, secrets.

use super::Done;
use super::diagnostics::told;
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, UNAVAILABLE};
use crate::node::encode;
use crate::output::{Formatter, Output};
use crate::pretty::pretty;
use crate::term::Term;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::command::{HashAlgorithm, PasswordHash};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

/// What TLS here can speak, best first: OpenSSL's name, key exchange, cipher, hash.
const SUITES: [(&str, &str, &str, &str); 9] = [
    ("TLS_AES_256_GCM_SHA384", "any", "aes_256_gcm", "sha384"),
    ("TLS_AES_128_GCM_SHA256", "any", "aes_128_gcm", "sha256"),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        "any",
        "chacha20_poly1305",
        "sha256",
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ecdhe_ecdsa",
        "aes_256_gcm",
        "sha384",
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ecdhe_ecdsa",
        "aes_128_gcm",
        "sha256",
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ecdhe_ecdsa",
        "chacha20_poly1305",
        "sha256",
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ecdhe_rsa",
        "aes_256_gcm",
        "sha384",
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ecdhe_rsa",
        "aes_128_gcm",
        "sha256",
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ecdhe_rsa",
        "chacha20_poly1305",
        "sha256",
    ),
];

/// Clock ticks a second in the files of `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long threads are watched for one that is stuck, and how often they are looked at meanwhile.
const WATCH: Duration = Duration::from_secs(5);
const WATCH_STEP: Duration = Duration::from_millis(500);

/// Longest sample in seconds.
const SAMPLE_SECONDS_MAX: f64 = 3_600.0;

pub(crate) fn certificates(call: &mut Call) -> Done {
    call.say(&format!("Certificates of node {} ...", call.node.name()));
    let listeners = call.list("/control/certificates")?;
    let pairs = listeners.iter().map(|listener| {
        let key = Term::Tuple(vec![
            Term::atom(listener["protocol"].as_str().unwrap_or_default()),
            Term::from_json(&listener["port"]),
        ]);
        (key, Term::from_json(listener))
    });
    let shown = Term::Map(pairs.collect());
    Ok(Output::Report {
        text: pretty(&shown),
        // Compat: nothing is a list.
        value: if listeners.is_empty() {
            Term::List(Vec::new())
        } else {
            shown
        },
    })
}

pub(crate) fn tls_versions(call: &mut Call) -> Done {
    call.say("Listing all TLS versions supported by the runtime...");
    let versions = ["tlsv1.3", "tlsv1.2"];
    Ok(Output::Report {
        text: versions.join("\n"),
        value: Term::Map(vec![(
            Term::atom("versions"),
            Term::List(versions.map(Term::text).to_vec()),
        )]),
    })
}

pub(crate) fn cipher_suites(call: &mut Call) -> Done {
    let format = call
        .arguments
        .option("format")
        .unwrap_or("openssl")
        .to_owned();
    let (title, terms): (&str, Vec<Term>) = match format.as_str() {
        "openssl" => (
            "OpenSSL",
            SUITES.iter().map(|(name, ..)| Term::text(name)).collect(),
        ),
        "erlang" => (
            "Erlang term",
            SUITES
                .iter()
                .map(|(_, exchange, cipher, hash)| {
                    Term::Tuple(
                        [exchange, cipher, &"aead", hash]
                            .map(|word| Term::atom(*word))
                            .to_vec(),
                    )
                })
                .collect(),
        ),
        "map" => (
            "map",
            SUITES
                .iter()
                .map(|(_, exchange, cipher, hash)| {
                    let pair = |key: &str, value: &str| (Term::atom(key), Term::atom(value));
                    Term::Map(vec![
                        pair("cipher", cipher),
                        pair("key_exchange", exchange),
                        pair("mac", "aead"),
                        pair("prf", hash),
                    ])
                })
                .collect(),
        ),
        _ => {
            return Err(Failure::argument(
                "Bad argument: Format should be either openssl, erlang or map",
            ));
        }
    };
    call.say(&format!(
        "Listing available cipher suites in {title} format"
    ));
    let lines: Vec<String> = terms.iter().map(Term::plain).collect();
    Ok(Output::Report {
        text: lines.join("\n"),
        value: Term::List(terms),
    })
}

/// The directory of `/proc` with the threads of the node.
fn threads(call: &mut Call) -> Result<Vec<Thread>, Failure> {
    let state = call.node.get("/control/node/ping")?.ok()?;
    let directory = format!("/proc/{}/task", state["pid"]);
    let entries = fs::read_dir(&directory).map_err(|error| {
        Failure::error(UNAVAILABLE, format!("cannot read {directory}: {error}"))
    })?;
    let mut found: Vec<Thread> = entries
        .flatten()
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Thread::read(&stat)
        })
        .collect();
    found.sort_by_key(|thread| thread.id);
    Ok(found)
}

/// A thread of the node.
struct Thread {
    id: u64,
    name: String,
    /// `R`, `S`, `D` and so on.
    state: String,
    user_ticks: u64,
    system_ticks: u64,
}

impl Thread {
    /// Reads a line of `/proc/PID/task/ID/stat`: the name stands in brackets and may hold anything.
    fn read(stat: &str) -> Option<Self> {
        let (id, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            id: id.parse().ok()?,
            name: name.to_owned(),
            state: (*fields.first()?).to_owned(),
            user_ticks: fields.get(11)?.parse().ok()?,
            system_ticks: fields.get(12)?.parse().ok()?,
        })
    }
}

pub(crate) fn runtime_thread_stats(call: &mut Call) -> Done {
    let interval = call
        .arguments
        .option("sample-interval")
        .unwrap_or("5")
        .to_owned();
    let seconds = interval
        .parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= SAMPLE_SECONDS_MAX)
        .ok_or_else(|| Failure::argument("Bad argument: the sample interval in seconds"))?;
    call.say(&format!(
        "Will collect runtime thread stats on {} for {interval} seconds...",
        call.node.name()
    ));
    let before: BTreeMap<u64, Thread> = threads(call)?
        .into_iter()
        .map(|thread| (thread.id, thread))
        .collect();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let share = |ticks: u64| ticks as f64 / TICKS_PER_SECOND / seconds * 100.0;
    let mut text = format!(
        "{:>16} {:>8} {:>8} {:>8}\n\nStats per thread:\n",
        "Thread", "user", "system", "sleep"
    );
    let mut rows = Vec::new();
    for thread in threads(call)? {
        let (mut user, mut system) = (thread.user_ticks, thread.system_ticks);
        if let Some(earlier) = before.get(&thread.id) {
            user = user.saturating_sub(earlier.user_ticks);
            system = system.saturating_sub(earlier.system_ticks);
        }
        let (user, system) = (share(user), share(system));
        let sleep = (100.0 - user - system).max(0.0);
        text.push_str(&format!(
            "{:>16} {user:>7.2}% {system:>7.2}% {sleep:>7.2}%\n",
            thread.name
        ));
        rows.push(json!({
            "thread": thread.name,
            "user": user,
            "system": system,
            "sleep": sleep,
        }));
    }
    Ok(Output::Report {
        text,
        value: Term::from_json(&Json::Array(rows)),
    })
}

/// A thread is stuck that waits for a device each time that it is looked at.
pub(crate) fn maybe_stuck(call: &mut Call) -> Done {
    call.say(&format!(
        "Asking node {} to detect potentially stuck threads...",
        call.node.name()
    ));
    let all = threads(call)?;
    call.say(&format!("There are {} threads.", all.len()));
    let is_stuck = |thread: &Thread| thread.state == "D";
    let mut suspicious: BTreeMap<u64, String> = all
        .into_iter()
        .filter(is_stuck)
        .map(|thread| (thread.id, thread.name))
        .collect();
    let mut left = WATCH;
    while !left.is_zero() && !suspicious.is_empty() {
        call.say(&format!(
            "Investigated {} threads this round, {}ms to go.",
            suspicious.len(),
            left.as_millis()
        ));
        std::thread::sleep(WATCH_STEP);
        left = left.saturating_sub(WATCH_STEP);
        let still: Vec<u64> = threads(call)?
            .into_iter()
            .filter(is_stuck)
            .map(|thread| thread.id)
            .collect();
        suspicious.retain(|id, _| still.contains(id));
    }
    let mut text = format!("Found {} suspicious threads.", suspicious.len());
    for (id, name) in &suspicious {
        text.push_str(&format!("\n{id} {name}"));
    }
    Ok(Output::line(text))
}

pub(crate) fn cookie_hash(call: &mut Call) -> Done {
    call.say(&format!(
        "Asking node {} its Erlang cookie hash...",
        call.node.name()
    ));
    let secret = call.node.secret().map_err(|error| {
        Failure::error(
            UNAVAILABLE,
            format!("cannot read the node's secret: {error}"),
        )
    })?;
    // Without a salt, so that two hosts can be compared.
    let hash = PasswordHash::with_algorithm(HashAlgorithm::Md5, secret.as_bytes(), [0; 4]);
    let text = BASE64.encode(&hash.salted[4..]);
    let value = json!({ "value": text, "result": "ok" });
    Ok(told(text, &value))
}

pub(crate) fn cookie_sources(call: &mut Call) -> Done {
    call.say("Listing Erlang cookie sources used by CLI tools...");
    let path = call.node.place.control_secret();
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut text = format!(
        "Cookie File\nEffective user: {}\nEffective home directory: {}\nCookie file path: {}\n",
        variable("USER"),
        variable("HOME"),
        path.display()
    );
    let found = fs::metadata(&path);
    match &found {
        Ok(metadata) => text.push_str(&format!(
            "Cookie file exists? true\nCookie file type: regular\nCookie file access: {:o}\nCookie file size: {}\n",
            metadata.mode() & 0o777,
            metadata.len()
        )),
        Err(_) => text.push_str("Cookie file exists? false\n"),
    }
    let switch = call.arguments.option("erlang-cookie");
    text.push_str(&format!(
        "\nCookie CLI Switch\n--erlang-cookie value set? {}\n--erlang-cookie value length: {}\n",
        switch.is_some(),
        switch.map_or(0, str::len)
    ));
    let set = std::env::var_os("RABBITMQ_ERLANG_COOKIE");
    let set_length = set.as_ref().map_or(0, |value| value.len());
    text.push_str(&format!(
        "\nEnv variable  (Deprecated)\nRABBITMQ_ERLANG_COOKIE value set? {}\nRABBITMQ_ERLANG_COOKIE value length: {set_length}\n",
        set.is_some(),
    ));
    let value = json!({
        "effective_user": variable("USER"),
        "home_dir": variable("HOME"),
        "cookie_file_path": path,
        "cookie_file_exists": found.is_ok(),
        "cookie_file_type": found.is_ok().then_some("regular"),
        "cookie_file_access": found.as_ref().ok().map(|found| format!("{:o}", found.mode() & 0o777)),
        "cookie_file_size": found.as_ref().ok().map(fs::Metadata::len),
        "switch_cookie_set": switch.is_some(),
        "switch_cookie_value_length": switch.map_or(0, str::len),
        "os_env_cookie_set": set.is_some(),
        "os_env_cookie_value_length": set_length,
    });
    Ok(told(text, &value))
}

pub(crate) fn list_network_interfaces(call: &mut Call) -> Done {
    call.say(&format!(
        "Asking node {} to report its network interfaces ...",
        call.node.name()
    ));
    let mut names: Vec<String> = fs::read_dir("/sys/class/net")
        .map_err(|error| Failure::error(UNAVAILABLE, format!("cannot list interfaces: {error}")))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let offline = call.arguments.has("offline");
    let mut text = String::new();
    let mut found = serde_json::Map::new();
    for name in names {
        let field = |field: &str| {
            let path = format!("/sys/class/net/{name}/{field}");
            fs::read_to_string(path).map_or_else(|_| String::new(), |text| text.trim().to_owned())
        };
        let (address, state, mtu) = (field("address"), field("operstate"), field("mtu"));
        if offline && state == "up" {
            continue;
        }
        text.push_str(&format!(
            "Interface {name}\n\nhwaddr: {address}\nstate: {state}\nmtu: {mtu}\n\n"
        ));
        found.insert(
            name,
            json!({ "hwaddr": address, "state": state, "mtu": mtu }),
        );
    }
    let message = format!("Node {} reported network interfaces", call.node.name());
    Ok(Output::Report {
        text,
        value: Term::from_json(&json!({ "result": "ok", "message": message, "interfaces": found })),
    })
}

pub(crate) fn resolver_info(call: &mut Call) -> Done {
    call.say(&format!(
        "Asking node {} for its effective hostname resolver (inetrc) configuration...",
        call.node.name()
    ));
    let text = "Runtime Hostname Resolver (inetrc) Settings\n\nLookup order: native\nHosts file: /etc/hosts\nResolver conf file: /etc/resolv.conf\nCache size: \n\ninetrc File Host Entries\n\n(none)";
    Ok(Output::Report {
        text: text.to_owned(),
        value: Term::from_json(&json!({
            "node": call.node.name(),
            "result": "ok",
            "resolver": {
                "lookup": "native",
                "hosts_file": "/etc/hosts",
                "resolv_conf": "/etc/resolv.conf",
            },
        })),
    })
}

/// The metadata is in the node's one log, which has one writer.
pub(crate) fn metadata_store_status(call: &mut Call) -> Done {
    call.say(&format!(
        "Status of metadata store on node {} ...",
        call.node.name()
    ));
    let node = call.node.name().to_owned();
    Ok(super::replicas::single_member(&node))
}

pub(crate) fn ring_state(call: &mut Call) -> Done {
    let name = call.value(0).to_owned();
    call.say(&format!(
        "Inspecting consistent hashing ring state for exchange {name} in virtual host '{}'...",
        call.vhost()
    ));
    let path = format!("/api/exchanges/{}/{}", call.vhost_path(), encode(&name));
    let answer = call.node.get(&path)?;
    let is_ring = !answer.is_missing() && answer.ok()?["type"] == "x-consistent-hash";
    if !is_ring {
        let message = "Exchange does not exist or is of a different type";
        if call.formatter == Formatter::Json {
            let node = call.node.name();
            let failure = json!({ "message": message, "node": node, "result": "error" });
            return Err(Failure::plain(UNAVAILABLE, failure.to_string()));
        }
        return Err(Failure::error(DATA, message));
    }
    let bindings = call.list(&format!("{path}/bindings/source"))?;
    let mut lines = Vec::new();
    for binding in &bindings {
        let weight = binding["routing_key"].as_str().unwrap_or_default();
        let kind = binding["destination_type"].as_str().unwrap_or("queue");
        let target = binding["destination"].as_str().unwrap_or_default();
        for _ in 0..weight.parse::<u16>().unwrap_or_default() {
            lines.push(format!("Ring index: {}, {kind}: '{target}'", lines.len()));
        }
    }
    lines.push(String::new());
    Ok(Output::line(lines.join("\n") + "\n"))
}

/// How many published messages were how large.
pub(crate) fn message_size_stats(call: &mut Call) -> Done {
    call.say(&format!(
        "Gathering message size statistics across the cluster using node {} ...",
        call.node.name()
    ));
    let classes = call.list("/control/message-sizes")?;
    let count = |class: &Json| class["count"].as_u64().unwrap_or_default();
    let total: u64 = classes.iter().map(count).sum();
    let mut below = None;
    let rows = classes.iter().map(|class| {
        let bound = class["bound"].as_u64();
        let size = match (below, bound.map(round_size)) {
            (None, Some(bound)) => format!("below {bound}"),
            (Some(below), Some(bound)) => format!("between {} and {bound}", round_size(below)),
            (below, None) => format!("above {}", round_size(below.unwrap_or_default())),
        };
        below = bound;
        let percent = count(class) as f64 * 100.0 / total.max(1) as f64;
        vec![
            Term::text(size),
            Term::from_json(&class["count"]),
            Term::text(format!("{percent:.2}")),
        ]
    });
    let columns = ["Message Size", "Count", "Percentage"];
    Ok(Output::rows(&columns, rows.collect()))
}

/// A number of bytes that is a round one in its unit.
fn round_size(bytes: u64) -> String {
    let (size, unit) = match bytes {
        0..1_000 => (1, "B"),
        1_000..1_000_000 => (1_000, "KB"),
        _ => (1_000_000, "MB"),
    };
    format!("{}{unit}", bytes / size)
}

pub(crate) fn list_channel_interceptors(call: &mut Call) -> Done {
    call.say("Listing channel interceptors ...");
    Ok(Output::rows(&["interceptor", "priority"], Vec::new()).marking_empty())
}

pub(crate) fn set_channel_interceptor_priorities(call: &mut Call) -> Done {
    let words = call.arguments.values.clone();
    if !words.len().is_multiple_of(2) {
        return Err(Failure::argument(
            "Bad argument: Interceptors and priorities must be provided as <interceptor> <priority> pairs",
        ));
    }
    let priorities = words.iter().skip(1).step_by(2);
    if let Some(word) = priorities.clone().find(|word| word.parse::<i64>().is_err()) {
        return Err(Failure::argument(format!(
            "Bad argument: Priority {} is not a valid integer",
            Term::text(word).inspect()
        )));
    }
    let pairs: Vec<String> = words.chunks(2).map(|pair| pair.join("=")).collect();
    call.say(&format!(
        "Setting channel interceptor priorities to [{}] ...",
        pairs.join(", ")
    ));
    let names = Term::List(words.iter().step_by(2).map(Term::text).collect());
    Err(Failure::error(
        UNAVAILABLE,
        format!(
            "cannot set channel interceptor priorities: the following are not registered as channel interceptors: {names}"
        ),
    ))
}

pub(crate) fn remove_mirroring(call: &mut Call) -> Done {
    call.say("Will remove keys that enable classic queue mirroring from all regular and operator policies");
    // Such keys are refused when a policy is set, so no policy has one.
    Ok(Output::Nothing)
}

pub(crate) fn reset_auth_attempts(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!("Reset auth attempt metrics on node {node} ..."));
    Call::done(
        call.node
            .delete(&format!("/api/auth/attempts/{}", encode(&node)))?,
    )?;
    Ok(Output::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_read_whatever_its_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20";
        let thread = Thread::read(&format!("77 (a) b) {fields}")).unwrap();
        assert_eq!((thread.id, thread.name.as_str()), (77, "a) b"));
        assert_eq!((thread.user_ticks, thread.system_ticks), (120, 34));
        assert!(Thread::read("77 (cut").is_none());
    }
}
