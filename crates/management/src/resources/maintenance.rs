//! Taking the node out of service and back, its log, its configuration and process: what only the operator on this host may ask.

use super::{health, overview};
use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use node::SIZE_BOUNDS;
use node::config::{DiskFreeLimit, LogLevel, MemoryHighWatermark};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Most that is read of a log file at once.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

pub(crate) async fn suspend(call: Call) -> Outcome {
    call.state.node.suspend_listeners().await;
    Ok(Answer::NoContent)
}

pub(crate) async fn resume(call: Call) -> Outcome {
    opened(call.state.node.resume_listeners().await)
}

pub(crate) async fn drain(call: Call) -> Outcome {
    call.state.node.drain().await;
    Ok(Answer::NoContent)
}

pub(crate) async fn revive(call: Call) -> Outcome {
    opened(call.state.node.revive().await)
}

fn opened(all: bool) -> Outcome {
    if all {
        return Ok(Answer::NoContent);
    }
    Err(ApiError::bad(
        "a listener cannot be opened again; the log says which and why, and it is tried on",
    ))
}

pub(crate) async fn force_gc(call: Call) -> Outcome {
    call.state.node.release_memory();
    Ok(Answer::NoContent)
}

/// How many published messages were how large, by classes with upper bounds in bytes; the last class has none.
pub(crate) async fn message_sizes(call: Call) -> Outcome {
    let sizes = call.state.node.traffic().sizes;
    let bounds = SIZE_BOUNDS.iter().copied().map(Some).chain([None]);
    let classes = bounds.zip(sizes.classes).map(
        |(bound, count)| object! { "bound" => bound.map_or(Json::Null, Json::from), "count" => count },
    );
    Ok(Json::from(classes.collect::<Vec<Object>>()).into())
}

/// Switches the watch over free disk space off and on again, with the limit that it had.
pub(crate) async fn disk_monitor(call: Call) -> Outcome {
    let wanted = call.body()?.require("active")?.as_bool();
    let wanted = wanted.ok_or_else(|| ApiError::bad("active must be true or false"))?;
    let mut watermarks = call.state.node.watermarks();
    let mut before = call.state.disk_limit_before.lock();
    match (wanted, before.take()) {
        (true, Some(limit)) => watermarks.disk = limit,
        (true, None) => {}
        (false, known) => {
            *before = Some(known.unwrap_or(watermarks.disk));
            watermarks.disk = DiskFreeLimit::Absolute(0);
        }
    }
    call.state.node.set_watermarks(watermarks);
    tracing::warn!(
        active = wanted,
        "monitoring of free disk space was switched"
    );
    Ok(Answer::NoContent)
}

pub(crate) async fn log_level(call: Call) -> Outcome {
    let body = call.body()?;
    let text = body.require_text("level")?;
    let level = LogLevel::parse(text).map_err(ApiError::bad)?;
    let category = body.get("category").and_then(serde_json::Value::as_str);
    let log = node::log_control().ok_or_else(|| ApiError::bad("there is no log"))?;
    if !log.set_level(category, level) {
        return Err(ApiError::bad("there is no such category of the log"));
    }
    tracing::info!(level = text, category, "the level of the log was set");
    Ok(Answer::NoContent)
}

pub(crate) async fn log_rotate(_call: Call) -> Outcome {
    let log = node::log_control().ok_or_else(|| ApiError::bad("there is no log"))?;
    if log.files().is_empty() {
        return Err(ApiError::bad(
            "the log goes to no file: there is nothing to rotate",
        ));
    }
    log.rotate();
    tracing::info!("log files were rotated");
    Ok(Answer::NoContent)
}

/// Where a log file was read to: the file, which another one may have replaced since, and the byte.
struct Place {
    inode: u64,
    at: u64,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (inode, at) = text.split_once(':')?;
        Some(Self {
            inode: inode.parse().ok()?,
            at: at.parse().ok()?,
        })
    }
}

/// The last lines of the log's file (`lines`), or what came behind a place (`from`).
pub(crate) async fn log(call: Call) -> Outcome {
    let path = log_file(&call).ok_or_else(|| {
        ApiError::NotFound(
            "the log goes to no file: set log.file or RABBITMQ_LOGS and start the node again"
                .to_owned(),
        )
    })?;
    let read = match call.query.get("from") {
        Some(from) => {
            let from = Place::parse(from).ok_or_else(|| ApiError::bad("from is no place"))?;
            read_from(&path, &from)
        }
        None => {
            let lines = call.query.get("lines").and_then(|lines| lines.parse().ok());
            read_tail(&path, lines.unwrap_or(0))
        }
    };
    let (text, next) = read.map_err(|error| {
        ApiError::bad(format!(
            "cannot read the log file {}: {error}",
            path.display()
        ))
    })?;
    Ok(object! {
        "file" => path.display().to_string(),
        "text" => String::from_utf8_lossy(&text).into_owned(),
        "next" => format!("{}:{}", next.inode, next.at),
    }
    .into())
}

fn log_file(call: &Call) -> Option<PathBuf> {
    let common = call.state.node.settings().log.file.clone();
    common.or_else(|| node::log_control()?.files().into_iter().next())
}

fn read_from(path: &Path, from: &Place) -> io::Result<(Vec<u8>, Place)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // A new file is read from its beginning.
    let is_same = metadata.ino() == from.inode && metadata.len() >= from.at;
    let start = if is_same { from.at } else { 0 };
    read_at(&mut file, start, metadata.ino())
}

fn read_at(file: &mut File, start: u64, inode: u64) -> io::Result<(Vec<u8>, Place)> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    let at = start + bytes.len() as u64;
    Ok((bytes, Place { inode, at }))
}

fn read_tail(path: &Path, lines: usize) -> io::Result<(Vec<u8>, Place)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let start = metadata.len().saturating_sub(LOG_BYTES_MAX);
    let (mut bytes, next) = read_at(&mut file, start, metadata.ino())?;
    let ends: Vec<usize> = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(index, _)| index + 1)
        .collect();
    // The lines behind the end of the last one that is not shown.
    let first = match ends.len().checked_sub(lines + 1) {
        Some(index) => ends[index],
        None => 0,
    };
    bytes.drain(..first);
    Ok((bytes, next))
}

/// Applications with their settings, each a name and a term.
type Applications = Vec<(String, Vec<(String, String)>)>;

/// The configuration in Erlang's terms; what was changed while the node runs is as it is now.
fn applications(call: &Call) -> Applications {
    let watermarks = call.state.node.watermarks();
    let memory = match watermarks.memory {
        MemoryHighWatermark::Relative(share) => format!("{share:?}"),
        MemoryHighWatermark::Absolute(bytes) => format!("{{absolute,{bytes}}}"),
    };
    let disk = match watermarks.disk {
        DiskFreeLimit::Relative(share) => format!("{{mem_relative,{share:?}}}"),
        DiskFreeLimit::Absolute(bytes) => bytes.to_string(),
    };
    let environment = &call.state.node.settings().environment;
    let applications = environment.applications().map(|(application, values)| {
        let values = values.into_iter().map(|(key, value)| {
            let value = match (application, key) {
                ("rabbit", "vm_memory_high_watermark") => memory.clone(),
                ("rabbit", "disk_free_limit") => disk.clone(),
                _ => value,
            };
            (key.to_owned(), value)
        });
        (application.to_owned(), values.collect())
    });
    applications.collect()
}

pub(crate) async fn environment(call: Call) -> Outcome {
    let items = applications(&call)
        .into_iter()
        .map(|(application, values)| {
            let values = values
                .into_iter()
                .map(|(key, value)| object! { "key" => key, "value" => value });
            object! {
                "application" => application,
                "settings" => values.collect::<Vec<Object>>(),
            }
        });
    Ok(Json::from(items.collect::<Vec<Object>>()).into())
}

pub(crate) async fn effective_configuration(call: Call) -> Outcome {
    Ok(Answer::Text(term_of(&applications(&call))))
}

/// All of it as one term, a setting on each line.
fn term_of(applications: &Applications) -> String {
    let application = |(name, settings): &(String, Vec<(String, String)>)| {
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| format!("{{{key},{value}}}"))
            .collect();
        if settings.is_empty() {
            return format!("{{{name},[]}}");
        }
        format!("{{{name},\n     [{}]}}", settings.join(",\n      "))
    };
    let all: Vec<_> = applications.iter().map(application).collect();
    format!("[{}]\n", all.join(",\n "))
}

/// Arguments and variables of the process, whose secrets are hidden, and where it tells of events.
pub(crate) async fn process(call: Call) -> Outcome {
    let settings = call.state.node.settings();
    let events = settings.event_exchange_vhost.as_ref();
    let text = |text: std::ffi::OsString| Json::from(text.to_string_lossy().into_owned());
    let arguments = std::env::args_os().map(text).collect();
    let mut variables: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name, value.to_string_lossy().into_owned())
        })
        .filter(|(name, _)| name.starts_with("RABBITMQ_"))
        .collect();
    variables.sort();
    let variables = variables.into_iter().map(|(name, value)| {
        let value = if is_secret(&name) {
            HIDDEN.to_owned()
        } else {
            value
        };
        Json::List(vec![name.into(), value.into()])
    });
    Ok(object! {
        "arguments" => Json::List(arguments),
        "variables" => Json::List(variables.collect()),
        "event_exchange_vhost" => events.unwrap_or(&settings.default_vhost).clone(),
    }
    .into())
}

/// Whether a variable may hold a secret, by its name.
fn is_secret(name: &str) -> bool {
    let is_file = name.ends_with("_FILE");
    let parts = [
        "PASS",
        "COOKIE",
        "SECRET",
        "TOKEN",
        "KEY",
        "ERL_ARGS",
        "START_ARGS",
    ];
    !is_file && parts.iter().any(|part| name.contains(part))
}

/// The certificates of the listeners that speak TLS.
pub(crate) async fn certificates(call: Call) -> Outcome {
    let settings = call.state.node.settings();
    let found = overview::listeners(&call)
        .into_iter()
        .filter_map(|(protocol, address)| {
            let tls = match protocol {
                "amqp/ssl" => &settings.tls,
                "https" => &settings.management.tls,
                _ => return None,
            };
            Some(object! {
                "protocol" => protocol,
                "interface" => address.ip().to_string(),
                "port" => address.port(),
                "certfile" => health::shown(tls.certfile.as_deref()),
                "certfile_expires_on" => health::expiring(tls.certfile.as_deref(), i64::MAX),
                "cacertfile" => health::shown(tls.cacertfile.as_deref()),
                "cacertfile_expires_on" => health::expiring(tls.cacertfile.as_deref(), i64::MAX),
            })
        });
    Ok(Json::from(found.collect::<Vec<Object>>()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_term() {
        let text = |text: &str| text.to_owned();
        let settings = vec![(text("heartbeat"), text("60")), (text("a"), text("[]"))];
        let applications = vec![(text("rabbit"), settings), (text("x"), Vec::new())];
        assert_eq!(
            term_of(&applications),
            "[{rabbit,\n     [{heartbeat,60},\n      {a,[]}]},\n {x,[]}]\n"
        );
    }

    #[test]
    fn the_end_of_a_file_is_read_and_what_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.log");
        std::fs::write(&path, "a\nb\nc\n").unwrap();
        let (text, next) = read_tail(&path, 2).unwrap();
        assert_eq!(text, b"b\nc\n");
        assert_eq!(read_tail(&path, 9).unwrap().0, b"a\nb\nc\n");
        assert_eq!(read_tail(&path, 0).unwrap().0, b"");
        std::fs::write(&path, "a\nb\nc\nd\n").unwrap();
        let (text, next) = read_from(&path, &next).unwrap();
        assert_eq!(text, b"d\n");
        // It was rotated: another file has its name.
        std::fs::rename(&path, directory.path().join("node.log.0")).unwrap();
        std::fs::write(&path, "e\n").unwrap();
        assert_eq!(read_from(&path, &next).unwrap().0, b"e\n");
    }

    #[test]
    fn variables_with_secrets_are_known_by_their_names() {
        for name in [
            "RABBITMQ_DEFAULT_PASS",
            "RABBITMQ_ERLANG_COOKIE",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_NODENAME"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
