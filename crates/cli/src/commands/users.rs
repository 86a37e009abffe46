//! Users: passwords, tags and limits.

use super::{Done, document, no_user};
use crate::Failure;
use crate::call::Call;
use crate::failure::{DATA, NO_USER, SOFTWARE, UNAVAILABLE};
use crate::node::encode;
use crate::output::{Formatter, Output};
use crate::term::Term;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value as Json, json};

fn path(user: &str) -> String {
    format!("/api/users/{}", encode(user))
}

fn missing(user: &str) -> Failure {
    Failure::error(NO_USER, format!("User \"{user}\" does not exist"))
}

/// What a new user lacks.
const DONE: &str = "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' to learn more.";

fn not_base64() -> Failure {
    Failure::argument("Bad argument: Could not Base64 decode provided password hash value")
}

pub(crate) fn add_user(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    if user.is_empty() {
        return Err(Failure::argument(
            "Bad argument: user cannot be an empty string",
        ));
    }
    let is_hashed = call.arguments.has("pre-hashed-password");
    if is_hashed && BASE64.decode(call.value(1)).is_err() {
        return Err(not_base64());
    }
    call.say(&format!("Adding user \"{user}\" ..."));
    let password = call.password(1)?;
    let key = if is_hashed {
        if BASE64.decode(&password).is_err() {
            return Err(not_base64());
        }
        "password_hash"
    } else {
        "password"
    };
    if call.user_exists(&user)? {
        return Err(Failure::error(
            SOFTWARE,
            format!("User \"{user}\" already exists"),
        ));
    }
    Call::done(
        call.node
            .put(&path(&user), &json!({ key: password, "tags": [] }))?,
    )?;
    call.say(DONE);
    if call.formatter != Formatter::Json {
        return Ok(Output::Nothing);
    }
    let value = json!({ "status": "ok", "node": call.node.name(), "message": DONE });
    Ok(Output::Report {
        text: String::new(),
        value: Term::from_json(&value),
    })
}

pub(crate) fn delete_user(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!("Deleting user \"{user}\" ..."));
    let answer = call.node.delete(&path(&user))?;
    if !answer.is_missing() {
        Call::done(answer)?;
    }
    Ok(Output::Nothing)
}

/// Changes a user, of whom everything else stays.
fn change(call: &mut Call, user: &str, change: impl FnOnce(&mut Json)) -> Done {
    let answer = call.node.get(&path(user))?;
    if answer.is_missing() {
        return Err(missing(user));
    }
    let known = answer.ok()?;
    let mut body = json!({
        "tags": known["tags"],
        "password_hash": known["password_hash"],
        "hashing_algorithm": known["hashing_algorithm"],
    });
    change(&mut body);
    Call::done(call.node.put(&path(user), &body)?)?;
    Ok(Output::Nothing)
}

pub(crate) fn change_password(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!("Changing password for user \"{user}\" ..."));
    let password = call.password(1)?;
    change(call, &user, |body| {
        *body = json!({ "tags": body["tags"], "password": password });
    })
}

pub(crate) fn clear_password(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!("Clearing password for user \"{user}\" ..."));
    if !call.user_exists(&user)? {
        return Err(no_user(&user));
    }
    change(call, &user, |body| body["password_hash"] = json!(""))
}

pub(crate) fn authenticate_user(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    call.say(&format!("Authenticating user \"{user}\" ..."));
    let password = call.password(1)?;
    let body = json!({ "user": user, "password": password });
    match call.node.post("/control/authenticate", &body)?.refused() {
        None => Ok(Output::message("Success")),
        Some(reason) => Err(Failure::error(
            DATA,
            format!("Error: failed to authenticate user \"{user}\"\n{reason}"),
        )),
    }
}

pub(crate) fn set_user_tags(call: &mut Call) -> Done {
    let user = call.value(0).to_owned();
    let tags: Vec<String> = call.arguments.values.iter().skip(1).cloned().collect();
    call.say(&format!(
        "Setting tags for user \"{user}\" to [{}] ...",
        tags.join(", ")
    ));
    change(call, &user, |body| body["tags"] = json!(tags))
}

pub(crate) fn list_users(call: &mut Call) -> Done {
    call.say("Listing users ...");
    let users = call.list("/api/users")?;
    let rows = users.iter().map(|user| {
        let tags = user["tags"].as_array().into_iter().flatten();
        let tags = tags.filter_map(Json::as_str);
        vec![Term::from_json(&user["name"]), Term::atoms(tags)]
    });
    Ok(Output::rows(&["user", "tags"], rows.collect()))
}

const LIMITS: [&str; 2] = ["max-connections", "max-channels"];

pub(crate) fn set_user_limits(call: &mut Call) -> Done {
    let (user, definition) = (call.value(0).to_owned(), call.value(1).to_owned());
    call.say(&format!(
        "Setting user limits to \"{definition}\" for user \"{user}\" ..."
    ));
    let limits = document(&definition)?;
    if !call.user_exists(&user)? {
        return Err(no_user(&user));
    }
    let limits = limits_in(&limits)?;
    check_limits(&limits, &LIMITS, "user-limits")?;
    for (name, value) in limits {
        let path = format!("/api/user-limits/{}/{}", encode(&user), encode(&name));
        Call::done(call.node.put(&path, &json!({ "value": value }))?)?;
    }
    Ok(Output::Nothing)
}

/// The limits in a document.
///
/// # Errors
/// It is no object.
pub(super) fn limits_in(document: &Json) -> Result<serde_json::Map<String, Json>, Failure> {
    document.as_object().cloned().ok_or_else(|| {
        Failure::error(
            UNAVAILABLE,
            format!("limits are a JSON object such as {{\"max-connections\": 10}}, not {document}"),
        )
    })
}

/// Checks that there are limits of these names.
///
/// # Errors
/// There are not.
pub(super) fn check_limits(
    limits: &serde_json::Map<String, Json>,
    known: &[&str],
    what: &str,
) -> Result<(), Failure> {
    let unknown: Vec<Term> = limits
        .iter()
        .filter(|(name, _)| !known.contains(&name.as_str()))
        .map(|(name, value)| Term::Tuple(vec![Term::text(name), Term::from_json(value)]))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let shown = Term::List(unknown);
    Err(Failure::error(
        UNAVAILABLE,
        format!("Unrecognised terms {shown} in {what}"),
    ))
}

pub(crate) fn clear_user_limits(call: &mut Call) -> Done {
    let (user, limit) = (call.value(0).to_owned(), call.value(1).to_owned());
    let limits = if limit == "all" {
        call.say(&format!("Clearing all limits for user \"{user}\" ..."));
        LIMITS.to_vec()
    } else {
        call.say(&format!(
            "Clearing \"{limit}\" limit for user \"{user}\" ..."
        ));
        vec![limit.as_str()]
    };
    if !call.user_exists(&user)? {
        return Err(no_user(&user));
    }
    for limit in limits {
        let path = format!("/api/user-limits/{}/{}", encode(&user), encode(limit));
        Call::done(call.node.delete(&path)?)?;
    }
    Ok(Output::Nothing)
}

pub(crate) fn list_user_limits(call: &mut Call) -> Done {
    if call.arguments.has("global") {
        call.say("Listing limits for all users ...");
        let all = call.list("/api/user-limits")?;
        let rows = all.iter().map(|item| {
            vec![
                Term::from_json(&item["user"]),
                Term::text(item["value"].to_string()),
            ]
        });
        return Ok(Output::rows(&["user", "limits"], rows.collect()).marking_empty());
    }
    let user = call.arguments.option("user").unwrap_or("guest").to_owned();
    call.say(&format!("Listing limits for user \"{user}\" ..."));
    if !call.user_exists(&user)? {
        return Err(no_user(&user));
    }
    let own = call.list(&format!("/api/user-limits/{}", encode(&user)))?;
    let limits = own
        .first()
        .map_or_else(|| json!({}), |item| item["value"].clone());
    Ok(Output::message(limits.to_string()))
}
