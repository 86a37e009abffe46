//! The trust store over the control socket: what is trusted, and looking again now.

use crate::call::{Answer, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Json, object};
use hyper::Method;

/// The certificates; POST asks the providers again first. Where the plugin is off there is no trust store.
pub(crate) async fn trust_store(call: Call) -> Outcome {
    let store = call.state.node.trust_store();
    let store = store.ok_or_else(|| ApiError::bad("the trust store is not running"))?;
    if call.method == Method::POST {
        store.refresh().await;
        return Ok(Answer::NoContent);
    }
    let certificates = store.list().into_iter().map(|listed| {
        let certificate = &listed.certificate;
        object! {
            "name" => listed.name,
            "serial" => certificate.serial_number.clone(),
            "serial_hex" => certificate.says.serial_number.clone(),
            "subject" => certificate.says.subject.clone(),
            "issuer" => certificate.says.issuer.clone(),
            "validity" => certificate.says.validity.clone(),
        }
    });
    Ok(Json::List(certificates.map(Json::from).collect()).into())
}
