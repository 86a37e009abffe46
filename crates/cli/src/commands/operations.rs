//! Acts on queues and connections.

use super::Done;
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, UNAVAILABLE, USAGE};
use crate::node::encode;
use crate::output::Output;
use crate::term::Term;
use serde_json::{Value as Json, json};
use std::time::Duration;

fn queue_path(call: &Call, queue: &str, act: &str) -> String {
    format!(
        "/control/queues/{}/{}/{act}",
        call.vhost_path(),
        encode(queue)
    )
}

pub(crate) fn purge_queue(call: &mut Call) -> Done {
    let queue = call.value(0).to_owned();
    call.say(&format!(
        "Purging queue '{queue}' in vhost '{}' ...",
        call.vhost()
    ));
    let path = queue_path(call, &queue, "purge");
    let answer = call.node.post(&path, &Json::Null)?;
    if answer.is_missing() {
        return Err(Failure::plain(
            DATA,
            "Object (queue, stream, exchange, etc) was not found",
        ));
    }
    Call::done(answer)?;
    Ok(Output::Nothing)
}

pub(crate) fn delete_queue(call: &mut Call) -> Done {
    let queue = call.value(0).to_owned();
    let mut conditions = Vec::new();
    let mut query = String::new();
    for (option, text) in [
        ("if-empty", "if queue is empty"),
        ("if-unused", "if queue is unused"),
    ] {
        if call.arguments.has(option) {
            conditions.push(text);
            query.push_str(&format!("&{option}=true"));
        }
    }
    let conditions = match conditions.join(" and ") {
        text if text.is_empty() => text,
        text => format!(" {text}"),
    };
    call.say(&format!(
        "Deleting queue '{queue}' on vhost '{}'{conditions} ...",
        call.vhost()
    ));
    let path = format!("{}?{query}", queue_path(call, &queue, "delete"));
    let answer = call.node.post(&path, &Json::Null)?;
    if answer.is_missing() {
        return Err(Failure::error(USAGE, "No such queue was found"));
    }
    if let Some(reason) = answer.refused() {
        let what = if reason.contains("not empty") {
            "not empty"
        } else if reason.contains("in use") {
            "in use"
        } else {
            return Err(Failure::error(UNAVAILABLE, reason));
        };
        return Err(Failure::error(
            UNAVAILABLE,
            format!(
                "{{:amqp_error, :precondition_failed, ~c\"queue '{queue}' in vhost '{}' {what}\", :none}}",
                call.vhost()
            ),
        ));
    }
    let messages = answer.ok()?["messages"].clone();
    Ok(Output::message(format!(
        "Queue was successfully deleted with {messages} ready messages"
    )))
}

pub(crate) fn close_connection(call: &mut Call) -> Done {
    let (pid, reason) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!("Closing connection {pid}, reason: {reason}..."));
    if !is_pid(&pid) {
        let shown = Term::text(&pid).inspect();
        return Err(Failure::error(
            UNAVAILABLE,
            format!("Error:\n{{:invalid_pid_syntax, {shown}}}"),
        ));
    }
    // One that is gone is closed.
    let _ = close(call, &pid, &reason)?;
    Ok(Output::Nothing)
}

fn is_pid(text: &str) -> bool {
    let inner = text
        .strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'));
    inner.is_some_and(|inner| {
        let numbers: Vec<_> = inner.rsplitn(4, '.').take(3).collect();
        numbers.len() == 3
            && numbers
                .iter()
                .take(2)
                .all(|part| part.parse::<u64>().is_ok())
    })
}

/// Closes one connection. Returns whether there was one.
fn close(call: &mut Call, pid: &str, reason: &str) -> Result<bool, Failure> {
    let body = json!({ "pid": pid, "reason": reason });
    let answer = call.node.post("/control/connections/close", &body)?;
    Ok(answer.refused().is_none() && answer.ok()?["closed"] == true)
}

/// Closes those connections that pass, as many as the options say.
fn close_all(
    call: &mut Call,
    reason: &str,
    passes: impl Fn(&Json) -> bool,
) -> Result<usize, Failure> {
    let number = |call: &Call, option| call.arguments.option(option).and_then(|n| n.parse().ok());
    let limit = match number(call, "limit") {
        None | Some(0) => usize::MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let delay = Duration::from_millis(number(call, "per-connection-delay").unwrap_or(0));
    let all = call.list("/api/connections?columns=name,pid,user,vhost")?;
    let mut closed = 0;
    for connection in all.iter().filter(|item| passes(item)).take(limit) {
        let pid = connection["pid"].as_str().unwrap_or_default();
        if close(call, pid, reason)? {
            closed += 1;
        }
        std::thread::sleep(delay);
    }
    Ok(closed)
}

pub(crate) fn close_all_connections(call: &mut Call) -> Done {
    let reason = call.value(0).to_owned();
    let vhost = call.vhost().to_owned();
    let everywhere = call.arguments.has("global");
    if everywhere {
        call.say(&format!(
            "Closing all connections to node {} (across all vhosts), reason: {reason}...",
            call.node.name()
        ));
    } else {
        call.say(&format!(
            "Closing all connections in vhost {vhost}, reason: {reason}..."
        ));
    }
    let closed = close_all(call, &reason, |item| {
        everywhere || item["vhost"] == vhost.as_str()
    })?;
    Ok(Output::line(format!("Closed {closed} connections")))
}

pub(crate) fn close_all_user_connections(call: &mut Call) -> Done {
    let (user, reason) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!(
        "Closing connections of user {user}, reason: {reason}..."
    ));
    close_all(call, &reason, |item| item["user"] == user.as_str())?;
    Ok(Output::Nothing)
}
