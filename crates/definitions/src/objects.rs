//! Single objects as requests and files describe them: JSON in, commands out.

use crate::Error;
use crate::fields::{Fields as _, Object};
use base::Name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::command::{HashAlgorithm, MetadataCommand, PasswordHash};
use broker::json::Json;
use broker::policy::{Policy, PolicyScope};
use broker::vhost_metadata::VhostMetadata;
use std::sync::Arc;

/// What a user's hash is made with if nothing says so.
pub const HASHING_DEFAULT: HashAlgorithm = HashAlgorithm::Sha256;

/// A user. `salt` is for a password in clear; `hashing` is what a hash is made with that does not say so.
///
/// # Errors
/// Tags are missing, or something is not what it should be.
pub fn user(
    name: &Name,
    body: &Object,
    hashing: HashAlgorithm,
    salt: u32,
) -> Result<MetadataCommand, Error> {
    if !body.contains_key("tags") {
        return Err(Error::invalid("tags_not_present"));
    }
    Ok(MetadataCommand::PutUser {
        name: name.clone(),
        password_hash: password_hash(body, hashing, salt)?,
        tags: body.texts("tags")?,
    })
}

fn password_hash(
    body: &Object,
    hashing: HashAlgorithm,
    salt: u32,
) -> Result<Option<PasswordHash>, Error> {
    if body.contains_key("password") {
        if body.contains_key("password_hash") {
            return Err(Error::invalid(
                "both_password_and_password_hash_are_provided",
            ));
        }
        let password = body.require_text("password")?;
        return Ok(Some(PasswordHash::new(
            password.as_bytes(),
            salt.to_be_bytes(),
        )));
    }
    let Some(encoded) = body.get("password_hash") else {
        return Ok(None);
    };
    let Some(encoded) = encoded.as_str() else {
        return Err(Error::NotBase64(encoded.to_string()));
    };
    if encoded.is_empty() {
        return Ok(None);
    }
    let salted = BASE64
        .decode(encoded)
        .map_err(|_| Error::NotBase64(encoded.to_owned()))?;
    let algorithm = match body.get("hashing_algorithm").and_then(Json::as_str) {
        None => hashing,
        Some("rabbit_password_hashing_sha256") => HashAlgorithm::Sha256,
        Some("rabbit_password_hashing_sha512") => HashAlgorithm::Sha512,
        Some("rabbit_password_hashing_md5") => HashAlgorithm::Md5,
        Some(other) => {
            return Err(Error::invalid(format!(
                "hashing algorithm '{other}' is not supported"
            )));
        }
    };
    Ok(Some(PasswordHash {
        algorithm,
        salted: salted.into(),
    }))
}

/// The metadata of a vhost.
///
/// # Errors
/// Something is not what it should be.
pub fn vhost_metadata(body: &Object) -> Result<VhostMetadata, Error> {
    let text = |key: &str| match body.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Error::invalid(format!("{key} must be text"))),
    };
    Ok(VhostMetadata {
        description: text("description")?.unwrap_or_default().into(),
        tags: body.texts("tags")?,
        default_queue_type: text("default_queue_type")?
            .filter(|queue_type| *queue_type != "undefined")
            .map(Box::from),
        protected_from_deletion: body.switch("protected_from_deletion")?,
        tracing: body.switch("tracing")?,
    })
}

/// Permissions.
///
/// # Errors
/// One of the patterns is missing.
pub fn permissions(vhost: Name, user: Name, body: &Object) -> Result<MetadataCommand, Error> {
    Ok(MetadataCommand::SetPermissions {
        vhost,
        user,
        configure: body.require_text("configure")?.into(),
        write: body.require_text("write")?.into(),
        read: body.require_text("read")?.into(),
    })
}

/// Topic permissions.
///
/// # Errors
/// The exchange or one of the patterns is missing.
pub fn topic_permissions(vhost: Name, user: Name, body: &Object) -> Result<MetadataCommand, Error> {
    Ok(MetadataCommand::SetTopicPermissions {
        vhost,
        user,
        exchange: body.require_text("exchange")?.into(),
        write: body.require_text("write")?.into(),
        read: body.require_text("read")?.into(),
    })
}

/// A policy.
///
/// # Errors
/// Something is missing, or RabbitMQ's rules for policies are broken.
pub fn policy(
    vhost: Name,
    name: &Name,
    scope: PolicyScope,
    body: &Object,
) -> Result<MetadataCommand, Error> {
    let mut value = Object::new();
    for key in ["pattern", "definition"] {
        value.insert(key.to_owned(), body.require(key)?.clone());
    }
    let priority = body.get("priority").cloned().unwrap_or_else(|| 0.into());
    value.insert("priority".to_owned(), priority);
    if let Some(apply_to) = body.get("apply-to") {
        value.insert("apply-to".to_owned(), apply_to.clone());
    }
    let policy = Policy::from_json(scope, name, &Json::Object(value))?;
    Ok(MetadataCommand::PutPolicy {
        vhost,
        scope,
        policy: Arc::new(policy),
    })
}
