//! Permissions and topic permissions.

use super::{Done, cells, no_user};
use crate::Failure;
use crate::call::Call;
use crate::failure::{NO_USER, UNAVAILABLE};
use crate::node::{Answer, encode};
use crate::output::Output;
use serde_json::json;

const COLUMNS: [&str; 4] = ["user", "configure", "write", "read"];
const USER_COLUMNS: [&str; 4] = ["vhost", "configure", "write", "read"];
const TOPIC_COLUMNS: [&str; 4] = ["user", "exchange", "write", "read"];
const USER_TOPIC_COLUMNS: [&str; 4] = ["vhost", "exchange", "write", "read"];

fn expect_user(call: &mut Call, user: &str) -> Result<(), Failure> {
    if call.user_exists(user)? {
        return Ok(());
    }
    Err(Failure::error(
        NO_USER,
        format!("User {user} does not exist"),
    ))
}

fn expect_place(call: &mut Call) -> Result<(), Failure> {
    if call.vhost_exists()? {
        return Ok(());
    }
    Err(Failure::error(
        UNAVAILABLE,
        format!("Virtual host {} does not exist", call.vhost()),
    ))
}

/// Nothing, or which expression cannot be read.
fn accepted(answer: Answer) -> Done {
    match answer.refused() {
        None => Ok(Output::Nothing),
        Some(reason) => Err(Failure::error(UNAVAILABLE, reason)),
    }
}

pub(crate) fn set_permissions(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    let vhost = call.vhost().to_owned();
    call.say(&format!(
        "Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."
    ));
    expect_user(call, &user)?;
    expect_place(call)?;
    put(call, &vhost, &user)
}

fn put(call: &mut Call, vhost: &str, user: &str) -> Done {
    let path = format!("/api/permissions/{}/{}", encode(vhost), encode(user));
    let body = json!({
        "configure": call.value(1),
        "write": call.value(2),
        "read": call.value(3),
    });
    accepted(call.node.put(&path, &body)?)
}

pub(crate) fn set_permissions_globally(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!(
        "Setting permissions for user \"{user}\" in all virtual hosts ..."
    ));
    expect_user(call, &user)?;
    for vhost in call.list("/api/vhosts?columns=name&disable_stats=true")? {
        put(call, vhost["name"].as_str().unwrap_or_default(), &user)?;
    }
    Ok(Output::Nothing)
}

pub(crate) fn clear_permissions(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!(
        "Clearing permissions for user \"{user}\" in vhost \"{}\" ...",
        call.vhost()
    ));
    // Compat: where there is no such virtual host there are no permissions in it either.
    let path = format!("/api/permissions/{}/{}", call.vhost_path(), encode(&user));
    let answer = call.node.delete(&path)?;
    if !answer.is_missing() {
        Call::done(answer)?;
    }
    Ok(Output::Nothing)
}

pub(crate) fn list_permissions(call: &mut Call) -> Done {
    call.say(&format!(
        "Listing permissions for vhost \"{}\" ...",
        call.vhost()
    ));
    call.expect_vhost()?;
    let path = format!("/api/vhosts/{}/permissions", call.vhost_path());
    list(call, &path, &COLUMNS)
}

pub(crate) fn list_user_permissions(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!("Listing permissions for user \"{user}\" ..."));
    if !call.user_exists(&user)? {
        return Err(no_user(&user));
    }
    list(
        call,
        &format!("/api/users/{}/permissions", encode(&user)),
        &USER_COLUMNS,
    )
}

fn list(call: &mut Call, path: &str, columns: &[&str]) -> Done {
    let items = call.list(path)?;
    let rows = items.iter().map(|item| cells(item, columns));
    Ok(Output::rows(columns, rows.collect()).marking_empty())
}

pub(crate) fn set_topic_permissions(call: &mut Call) -> Done {
    let (user, exchange) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!(
        "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{}\" ...",
        call.vhost()
    ));
    expect_user(call, &user)?;
    expect_place(call)?;
    let known = format!("/api/exchanges/{}/{}", call.vhost_path(), encode(&exchange));
    if call.node.get(&known)?.is_missing() {
        return Err(Failure::error(
            UNAVAILABLE,
            format!("Exchange {exchange} does not exist"),
        ));
    }
    let path = format!(
        "/api/topic-permissions/{}/{}",
        call.vhost_path(),
        encode(&user)
    );
    let body = json!({
        "exchange": exchange,
        "write": call.value(2),
        "read": call.value(3),
    });
    accepted(call.node.put(&path, &body)?)
}

pub(crate) fn clear_topic_permissions(call: &mut Call) -> Done {
    let (user, exchange) = (call.value(0).to_owned(), call.value(1).to_owned());
    let vhost = call.vhost().to_owned();
    let mut path = format!(
        "/api/topic-permissions/{}/{}",
        encode(&vhost),
        encode(&user)
    );
    if exchange.is_empty() {
        call.say(&format!(
            "Clearing topic permissions for user \"{user}\" in vhost \"{vhost}\" ..."
        ));
    } else {
        call.say(&format!(
            "Clearing topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
        ));
        path.push_str(&format!("/{}", encode(&exchange)));
    }
    expect_user(call, &user)?;
    call.expect_vhost()?;
    let answer = call.node.delete(&path)?;
    // The user and the virtual host are there: where there is nothing to clear, it is done.
    if !answer.is_missing() {
        Call::done(answer)?;
    }
    Ok(Output::Nothing)
}

pub(crate) fn list_topic_permissions(call: &mut Call) -> Done {
    call.say(&format!(
        "Listing topic permissions for vhost \"{}\" ...",
        call.vhost()
    ));
    call.expect_vhost()?;
    let path = format!("/api/vhosts/{}/topic-permissions", call.vhost_path());
    list(call, &path, &TOPIC_COLUMNS)
}

pub(crate) fn list_user_topic_permissions(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!(
        "Listing topic permissions for user \"{user}\" ..."
    ));
    if !call.user_exists(&user)? {
        return Err(no_user(&user));
    }
    list(
        call,
        &format!("/api/users/{}/topic-permissions", encode(&user)),
        &USER_TOPIC_COLUMNS,
    )
}
