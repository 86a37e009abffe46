//! Counting logins by source, and the trust store.

use super::Done;
use crate::call::Call;
use crate::output::Output;
use crate::term::Term;
use serde_json::{Value as Json, json};

pub(crate) fn enable_attempt_sources(call: &mut Call) -> Done {
    call.say("Enabling authentication attempt source tracking ...");
    let answer = call.node.put("/control/auth-attempt-sources", &json!({}))?;
    Call::done(answer)?;
    Ok(Output::Nothing)
}

pub(crate) fn disable_attempt_sources(call: &mut Call) -> Done {
    call.say("Disabling authentication attempt source tracking ...");
    Call::done(call.node.delete("/control/auth-attempt-sources")?)?;
    Ok(Output::Nothing)
}

/// The certificates of the trust store as RabbitMQ's console shows them.
pub(crate) fn trusted_certificates(items: &[Json]) -> String {
    let text = |item: &Json, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let shown = items.iter().map(|item| {
        format!(
            "Name: {}\nSerial: {} | 0x{}\nSubject: {}\nIssuer: {}\nValidity: {}\n",
            text(item, "name"),
            text(item, "serial"),
            text(item, "serial_hex"),
            text(item, "subject"),
            text(item, "issuer"),
            Term::characters(&text(item, "validity")),
        )
    });
    shown.collect::<Vec<_>>().join("\n\n")
}

pub(crate) fn list_trust_store(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Listing trust store certificates on node {node} ..."
    ));
    let items = call.list("/control/trust-store")?;
    Ok(Output::line(trusted_certificates(&items)))
}

pub(crate) fn refresh_trust_store(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    call.say(&format!(
        "Refreshing trust store certificates on node {node} ..."
    ));
    Call::done(call.node.post("/control/trust-store", &Json::Null)?)?;
    Ok(Output::Nothing)
}
