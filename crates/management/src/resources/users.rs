//! Users, logins and passwords.

use crate::access;
use crate::call::{Answer, Call, Fields as _, Outcome};
use crate::error::ApiError;
use crate::json::{Json, Object, object};
use crate::listing::{Columns, Listing};
use crate::query::Query;
use crate::sessions;
use crate::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::auth::{AttemptCount, Entry, User};
use broker::command::{MetadataCommand, PasswordHash};
use definitions::hashing_algorithm;
use definitions::objects::{self, HASHING_DEFAULT};
use hyper::Method;
use std::sync::Arc;
use std::time::Instant;

/// Users that one request may delete.
const BULK_MAX: usize = 10_000;

pub(crate) async fn list(call: Call) -> Outcome {
    let listing = Listing::new(&call.query)?;
    listing.list(sorted(&call), |user| &user.name, |user| item(user))
}

pub(crate) async fn without_permissions(call: Call) -> Outcome {
    let mut users = sorted(&call);
    users.retain(|user| user.permissions().next().is_none());
    Listing::new(&call.query)?.list(users, |user| &user.name, |user| item(user))
}

fn sorted(call: &Call) -> Vec<Arc<User>> {
    let mut users: Vec<_> = call.metadata.users().cloned().collect();
    users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    users
}

/// A user as lists and definitions show it.
pub(crate) fn item(user: &User) -> Object {
    let (hash, algorithm) = match &user.password_hash {
        Some(hash) => (
            BASE64.encode(&hash.salted),
            hashing_algorithm(hash.algorithm),
        ),
        None => (String::new(), hashing_algorithm(HASHING_DEFAULT)),
    };
    object! {
        "hashing_algorithm" => algorithm,
        "limits" => Json::from(&user.limits.to_json()),
        "name" => &user.name,
        "password_hash" => hash,
        "tags" => tags(user),
    }
}

fn tags(user: &User) -> Vec<String> {
    user.tags.iter().map(|tag| tag.to_string()).collect()
}

pub(crate) async fn one(call: Call) -> Outcome {
    let name = call.parameter(0).clone();
    let known = call.metadata.user(&name);
    if call.method != Method::GET
        && !call.is_operator()
        && known.is_some_and(|user| is_protected(user))
    {
        return Err(ApiError::bad(
            "Protected users cannot be modified via the HTTP API",
        ));
    }
    match call.method {
        Method::PUT => {
            let created = known.is_none();
            let body = call.body()?;
            let settings = call.state.node.settings();
            let is_hashed = body.contains_key("password_hash");
            let password = body.get("password").and_then(|value| value.as_str());
            if password.is_some() || (created && !is_hashed) {
                settings
                    .credential_validator
                    .check(password)
                    .map_err(|reason| {
                        tracing::warn!(user = %name, "credential validation failed: {reason}");
                        ApiError::bad("credential_validation_failed")
                    })?;
            }
            let hashing = settings.password_hashing;
            let mut command = objects::user(&name, &body, hashing, rand::random())?;
            if let (Some(password), MetadataCommand::PutUser { password_hash, .. }) =
                (password, &mut command)
            {
                let password = password.as_bytes();
                let hash = PasswordHash::with_algorithm(hashing, password, rand::random());
                *password_hash = Some(hash);
            }
            call.propose(command).await?;
            Ok(Answer::put(created))
        }
        Method::DELETE => {
            known.ok_or(ApiError::NoObject)?;
            call.propose(MetadataCommand::DeleteUser { name }).await?;
            Ok(Answer::NoContent)
        }
        _ => {
            let user = known.ok_or(ApiError::NoObject)?;
            Ok(Columns::new(&call.query).apply(item(user)).into())
        }
    }
}

/// Users with this tag are changed and deleted by the operator alone.
fn is_protected(user: &User) -> bool {
    user.has_tag("protected")
}

pub(crate) async fn bulk_delete(call: Call) -> Outcome {
    let body = call.body()?;
    let users = body
        .require("users")?
        .as_array()
        .ok_or_else(ApiError::not_json)?;
    if users.len() > BULK_MAX {
        return Err(ApiError::bad(format!("more than {BULK_MAX} users")));
    }
    let names: Option<Vec<_>> = users.iter().map(|user| user.as_str()).collect();
    let names = names.ok_or_else(|| ApiError::bad("users must be text"))?;
    let commands: Vec<_> = names
        .into_iter()
        .filter(|user| {
            let known = call.metadata.user(user);
            known.is_some_and(|user| call.is_operator() || !is_protected(user))
        })
        .map(|user| MetadataCommand::DeleteUser { name: user.into() })
        .collect();
    call.propose_all(&commands).await?;
    Ok(Answer::NoContent)
}

pub(crate) async fn whoami(call: Call) -> Outcome {
    Ok(who(&call.state, call.caller_known()).into())
}

fn who(state: &State, caller: &access::Caller) -> Object {
    let access::Caller { user, principal } = caller;
    let mut item = object! {
        "name" => &user.name,
        "tags" => tags(user),
        "is_internal_user" => principal.is_in_metadata() && principal.authority().is_none(),
    };
    if let Some(minutes) = state.settings().api.login_session_timeout_min {
        item.push("login_session_timeout", minutes);
    }
    item
}

pub(crate) async fn login(call: Call) -> Outcome {
    if call.method == Method::DELETE {
        return Ok(Answer::NoContent);
    }
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let (Some(name), Some(password)) = (form.get("username"), form.get("password")) else {
        return Err(ApiError::WrongCredentials);
    };
    let token = BASE64.encode(format!("{name}:{password}"));
    let header = format!("Basic {token}");
    let peer = call.caller.peer().ip();
    let user = access::login(&call.state, Some(header.as_bytes()), peer).await;
    let attempts = call.state.node.login_attempts();
    attempts.count(Entry::Http, user.is_ok(), peer, name);
    let user = user?;
    access::Access::Management.check(&user.user)?;
    let state = &call.state;
    let (kind, token) = if state.settings().api.login_tokens {
        let lifetime = state.session_lifetime();
        let sessions = &state.sessions;
        let token = sessions.open(header.into_bytes(), lifetime, Instant::now());
        ("bearer", token)
    } else {
        ("basic", token)
    };
    Ok(object! {
        "user" => who(state, &user),
        "token" => object! { "type" => kind, "value" => token },
    }
    .into())
}

/// Whose session the request has.
async fn of_session(call: &Call) -> Result<access::Caller, ApiError> {
    let state = &call.state;
    let credentials = state.sessions.credentials(&call.session, Instant::now())?;
    access::login(state, Some(&credentials), call.caller.peer().ip()).await
}

/// Tells whose session it is, opens and closes sessions of the web UI.
pub(crate) async fn session(call: Call) -> Outcome {
    if call.method == Method::DELETE {
        let forget = call.state.sessions.close(&call.session);
        return Ok(Answer::Cookie(forget, None));
    }
    if call.method == Method::GET {
        return Ok(match of_session(&call).await {
            Ok(user) => who(&call.state, &user).into(),
            Err(_) => Answer::NoContent,
        });
    }
    let body = call.body()?;
    let credentials = match body.get("access_token") {
        Some(_) => format!("Bearer {}", body.require_text("access_token")?),
        None => {
            let name = body.require("username")?.as_str().unwrap_or_default();
            let password = body.require("password")?.as_str().unwrap_or_default();
            format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
        }
    };
    let peer = call.caller.peer().ip();
    let user = access::login(&call.state, Some(credentials.as_bytes()), peer).await;
    let attempts = call.state.node.login_attempts();
    let name = access::name_in(credentials.as_bytes()).unwrap_or_default();
    attempts.count(Entry::Http, user.is_ok(), peer, &name);
    let user = user?;
    access::Access::Management.check(&user.user)?;
    let (state, now) = (&call.state, Instant::now());
    let lifetime = state.session_lifetime();
    let id = state.sessions.open(credentials.into_bytes(), lifetime, now);
    let cookie = sessions::cookie(&id, lifetime);
    Ok(Answer::Cookie(cookie, Some(Json::from(who(state, &user)))))
}

pub(crate) async fn hash_password(call: Call) -> Outcome {
    let algorithm = call.state.node.settings().password_hashing;
    let password = call.parameter(0).as_bytes();
    let hash = PasswordHash::with_algorithm(algorithm, password, rand::random());
    Ok(object! { "ok" => BASE64.encode(&hash.salted) }.into())
}

pub(crate) async fn attempts(call: Call) -> Outcome {
    super::nodes::expect_node(&call)?;
    let attempts = call.state.node.login_attempts();
    if call.method == Method::DELETE {
        attempts.reset();
        return Ok(Answer::NoContent);
    }
    let mut items = Vec::new();
    for entry in Entry::ALL {
        let count = attempts.of(entry);
        if count != AttemptCount::default() {
            let mut item = object! { "protocol" => entry.name() };
            add_attempts(&mut item, count);
            items.push(item);
        }
    }
    Ok(Json::from(items).into())
}

fn add_attempts(item: &mut Object, count: AttemptCount) {
    let AttemptCount { succeeded, failed } = count;
    item.push("auth_attempts", succeeded + failed);
    item.push("auth_attempts_failed", failed);
    item.push("auth_attempts_succeeded", succeeded);
}

/// Attempts by address and name, while and since that is switched on.
pub(crate) async fn attempts_by_source(call: Call) -> Outcome {
    super::nodes::expect_node(&call)?;
    let attempts = call.state.node.login_attempts();
    if call.method == Method::DELETE {
        attempts.reset_sources();
        return Ok(Answer::NoContent);
    }
    let items = attempts.by_source().into_iter().map(|(source, count)| {
        let address = source
            .address
            .map(|address| address.to_canonical().to_string());
        let mut item = object! {
            "remote_address" => address.unwrap_or_default(),
            "username" => source.user,
            "protocol" => source.entry.name(),
        };
        add_attempts(&mut item, count);
        Json::from(item)
    });
    Ok(Json::List(items.collect()).into())
}

/// Switches telling attempts apart by source on (PUT) and off (DELETE), for command line tools.
pub(crate) async fn attempt_sources(call: Call) -> Outcome {
    let attempts = call.state.node.login_attempts();
    attempts.tell_sources(call.method == Method::PUT);
    Ok(Answer::NoContent)
}
