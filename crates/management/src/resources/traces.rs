//! Traces to files, and the files, as long as the plugin `rabbitmq_tracing` is enabled.
//!
//! Compat: a list for a vhost holds the traces of that vhost, where RabbitMQ lists all.

use super::{nodes, plugins, queues};
use crate::call::{Answer, Call, Download, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Object, object};
use crate::listing::{Columns, Listing};
use crate::traces::{Format, Shown, Trace, file};
use base::Name;
use hyper::Method;
use std::io;
use std::path::Path;

/// What RabbitMQ says of everything that is not a mistake of the request; the log says more.
const FAILED: &str = "Something went wrong trying to start the trace - check the logs.";

pub(crate) async fn list(call: Call) -> Outcome {
    expect_enabled(&call)?;
    let vhost = call.parameters.first().cloned();
    of_vhost(&call, vhost).await
}

pub(crate) async fn list_of_node(call: Call) -> Outcome {
    expect_enabled(&call)?;
    expect_node(&call)?;
    let vhost = call.parameters.get(1).cloned();
    of_vhost(&call, vhost).await
}

async fn of_vhost(call: &Call, vhost: Option<Name>) -> Outcome {
    let traces = call.state.traces.list().into_iter();
    let wanted = traces.filter(|trace| vhost.as_ref().is_none_or(|own| *own == trace.vhost));
    let mut items = Vec::new();
    for trace in wanted {
        items.push(item(call, trace).await?);
    }
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

async fn item(call: &Call, trace: Shown) -> Result<Object, ApiError> {
    let mut item = Object::default();
    let vhost = call.metadata.vhost(&trace.vhost);
    if let Some(record) = vhost.and_then(|vhost| vhost.queue(&trace.queue)) {
        item.push("queue", queues::listed(call, record).await?);
    }
    item.append(trace.fields);
    item.push("records_lost", trace.lost);
    Ok(item)
}

pub(crate) async fn one(call: Call) -> Outcome {
    expect_enabled(&call)?;
    let (vhost, name) = (call.parameter(0).clone(), call.parameter(1).clone());
    one_of(&call, vhost, name).await
}

pub(crate) async fn one_of_node(call: Call) -> Outcome {
    expect_enabled(&call)?;
    expect_node(&call)?;
    let (vhost, name) = (call.parameter(1).clone(), call.parameter(2).clone());
    one_of(&call, vhost, name).await
}

async fn one_of(call: &Call, vhost: Name, name: Name) -> Outcome {
    let (state, user) = (&call.state, &call.user().name);
    match call.method {
        Method::PUT => {
            if call.metadata.vhost(&vhost).is_none() {
                return Err(ApiError::NotFound("vhost_not_found".to_owned()));
            }
            let trace = asked_for(call, vhost, name)?;
            let (vhost, name) = (trace.vhost.clone(), trace.name.clone());
            let started = state.traces.start(state, user, trace).await;
            started.map_err(|reason| {
                tracing::warn!(%vhost, trace = %name, reason, "a trace cannot begin");
                ApiError::bad(FAILED)
            })?;
            Ok(Answer::Created(None))
        }
        Method::DELETE => {
            let stopped = state.traces.stop(state, user, &vhost, &name).await;
            match stopped.map_err(ApiError::bad)? {
                true => Ok(Answer::NoContent),
                false => Err(ApiError::NoObject),
            }
        }
        _ => {
            let trace = state.traces.find(&vhost, &name);
            let item = item(call, trace.ok_or(ApiError::NoObject)?).await?;
            Ok(Columns::new(&call.query).apply(item).into())
        }
    }
}

/// The trace that a body describes.
fn asked_for(call: &Call, vhost: Name, name: Name) -> Result<Trace, ApiError> {
    let body = call.body_with(&["format", "pattern"])?;
    if !file::is_safe(&name) {
        return Err(ApiError::bad("invalid trace name"));
    }
    let payload_bytes_max = match body.get("max_payload_bytes") {
        None => None,
        Some(max) if !max.is_i64() && !max.is_u64() => {
            return Err(ApiError::bad("max_payload_bytes not integer"));
        }
        Some(max) => {
            let max = max.as_u64().and_then(|max| usize::try_from(max).ok());
            Some(max.ok_or_else(|| ApiError::bad("max_payload_bytes is negative"))?)
        }
    };
    let format = body.require("format")?.as_str().and_then(Format::parse);
    let text = |key: &'static str| match body.get(key) {
        None => Ok(None),
        Some(value) => {
            let text = value.as_str().map(|text| Some(text.to_owned()));
            text.ok_or_else(|| ApiError::bad(format!("{key} not a string")))
        }
    };
    Ok(Trace {
        vhost,
        name,
        format: format.ok_or_else(|| ApiError::bad("format not json or text"))?,
        pattern: text("pattern")?.unwrap_or_default(),
        payload_bytes_max,
        user: text("tracer_connection_username")?,
        password: text("tracer_connection_password")?,
    })
}

pub(crate) async fn files(call: Call) -> Outcome {
    expect_enabled(&call)?;
    list_files(&call).await
}

pub(crate) async fn files_of_node(call: Call) -> Outcome {
    expect_enabled(&call)?;
    expect_node(&call)?;
    list_files(&call).await
}

async fn list_files(call: &Call) -> Outcome {
    let files = with_files(call, file::list).await?;
    let items = files
        .into_iter()
        .map(|(name, size)| object! { "name" => name, "size" => size })
        .collect();
    Listing::new(&call.query)?.list(items, |_| "", Clone::clone)
}

pub(crate) async fn file(call: Call) -> Outcome {
    expect_enabled(&call)?;
    let name = call.parameter(0).clone();
    one_file(&call, name).await
}

pub(crate) async fn file_of_node(call: Call) -> Outcome {
    expect_enabled(&call)?;
    expect_node(&call)?;
    let name = call.parameter(1).clone();
    one_file(&call, name).await
}

async fn one_file(call: &Call, name: Name) -> Outcome {
    if call.method == Method::DELETE {
        with_files(call, move |directory| file::delete(directory, &name)).await?;
        return Ok(Answer::NoContent);
    }
    let own = name.clone();
    let (file, size_bytes) = with_files(call, move |directory| file::read(directory, &own)).await?;
    Ok(Answer::Download(Download {
        name,
        file,
        size_bytes,
    }))
}

/// Does something with the directory, where a slow disk holds up nobody else.
async fn with_files<T: Send + 'static>(
    call: &Call,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let directory = call.state.node.settings().trace_files.directory.clone();
    let done = tokio::task::spawn_blocking(move || work(&directory)).await;
    done.map_err(|_| ApiError::bad("stopping"))?
        .map_err(|error| {
            // Whatever else is in the way: it is no file of traces.
            if error.kind() == io::ErrorKind::PermissionDenied {
                ApiError::bad(error.to_string())
            } else {
                ApiError::NoObject
            }
        })
}

fn expect_enabled(call: &Call) -> Result<(), ApiError> {
    let names = plugins::enabled_names(&call.state).unwrap_or_default();
    if names.iter().any(|name| name == plugins::TRACING) {
        Ok(())
    } else {
        Err(ApiError::NoObject)
    }
}

fn expect_node(call: &Call) -> Result<(), ApiError> {
    nodes::expect_node(call).map_err(|_| ApiError::bad("Node is not a cluster member"))
}
