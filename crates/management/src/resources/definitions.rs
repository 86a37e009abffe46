//! Definitions: everything but messages in one file, out and in.
//!
//! What a file says, and that all of it is imported or nothing, is the crate `definitions`' and the node's matter.

use crate::call::{Answer, Call, Document, Outcome};
use crate::error::ApiError;
use crate::json::object;
use base::Name;
use definitions::Product;
use hyper::Method;
use node::RABBITMQ_VERSION;
use serde::Serialize;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

const PRODUCT: Product = Product {
    version: RABBITMQ_VERSION,
};

pub(crate) async fn all(call: Call) -> Outcome {
    if call.method == Method::POST {
        if call.is_operator() && call.query.is_true("skip-if-unchanged") {
            let user = &call.user().name;
            let node = &call.state.node;
            let imported = node.import_changed_definitions(user, &call.body).await?;
            return Ok(object! { "imported" => imported }.into());
        }
        return import(&call, None).await;
    }
    written(&call, &definitions::cluster(&call.metadata, PRODUCT))
}

pub(crate) async fn vhost(call: Call) -> Outcome {
    if call.metadata.vhost(call.parameter(0)).is_none() {
        return Err(ApiError::bad("vhost_not_found"));
    }
    let vhost = Arc::clone(call.vhost()?);
    if call.method == Method::POST {
        return import(&call, Some(&vhost.name)).await;
    }
    written(&call, &definitions::vhost(&vhost, PRODUCT))
}

fn written(call: &Call, file: &impl Serialize) -> Outcome {
    // Texts, numbers and maps with texts for keys: nothing that JSON cannot hold.
    let bytes = serde_json::to_vec(file).map_err(|error| ApiError::bad(error.to_string()))?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let etag = format!("\"{:016x}\"", hasher.finish());
    let known = call.known_etag.as_deref().unwrap_or_default();
    let is_known = known
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == etag);
    Ok(Answer::Document(Document {
        bytes,
        is_known,
        etag,
        file_name: call.query.get("download").map(str::to_owned),
    }))
}

/// The file is the body itself, or the first file of a form.
async fn import(call: &Call, vhost: Option<&Name>) -> Outcome {
    let file = match form_file(&call.body) {
        None => &call.body,
        Some((head, file)) => {
            let needs_extension = call.state.settings().api.require_json_extension;
            if needs_extension && find(head, b".json\"").is_none() {
                return Err(ApiError::bad("the file's name must end in .json"));
            }
            file
        }
    };
    if !file.is_empty() {
        let user = &call.user().name;
        call.state
            .node
            .import_definitions(user, vhost, file)
            .await?;
    }
    Ok(Answer::NoContent)
}

/// The part named `file` of a multipart form, whose first line is its boundary: its headers and what is in it.
fn form_file(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let line_end = find(body, b"\r\n")?;
    let boundary = &body[..line_end];
    if !boundary.starts_with(b"--") {
        return None;
    }
    let mut rest = &body[line_end..];
    loop {
        let head_end = find(rest, b"\r\n\r\n")?;
        let (head, content) = (&rest[..head_end], &rest[head_end + 4..]);
        let end = find(content, boundary)?;
        if find(head, b"name=\"file\"").is_some() {
            return Some((head, content[..end].strip_suffix(b"\r\n")?));
        }
        rest = &content[end + boundary.len()..];
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_form_is_found() {
        let form = b"--x1\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x1\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\
            Content-Type: application/json\r\n\r\n{\"a\":1}\r\n--x1--\r\n";
        let (head, file) = form_file(form).unwrap();
        assert_eq!(file, b"{\"a\":1}");
        assert!(find(head, b"d.json\"").is_some());
        assert_eq!(form_file(b"{}"), None);
        assert_eq!(form_file(b"--x\r\n--x\r\n"), None);
    }
}
