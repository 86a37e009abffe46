//! Settings of a running node, and definitions.

use super::Done;
use crate::call::Call;
use crate::failure::{DATA, FILE, SOFTWARE, UNAVAILABLE};
use crate::output::Output;
use crate::term::Term;
use crate::{Failure, external};
use config::size;
use serde_json::{Value as Json, json};
use std::path::Path;

fn fraction(text: &str) -> Option<f64> {
    text.parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() && *value >= 0.0)
}

fn bytes(text: &str) -> Result<u64, Failure> {
    size::parse_information_unit(text)
        .ok_or_else(|| Failure::argument("Bad argument: Invalid units."))
}

pub(crate) fn set_vm_memory_high_watermark(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    let limit = if call.value(0) == "absolute" {
        let text = call.value(1).to_owned();
        if text.is_empty() {
            return Err(Failure::usage("not enough arguments."));
        }
        let bytes = bytes(&text)?;
        call.say(&format!(
            "Setting memory threshold on {node} to {text} bytes ..."
        ));
        json!({ "absolute": bytes })
    } else {
        if call.arguments.values.len() > 1 {
            return Err(Failure::usage("too many arguments."));
        }
        let share = fraction(call.value(0)).ok_or_else(|| Failure::argument("Bad argument."))?;
        if share > 1.0 {
            return Err(Failure::argument(
                "Bad argument: The threshold should be a fraction between 0.0 and 1.0",
            ));
        }
        call.say(&format!(
            "Setting memory threshold on {node} to {} ...",
            crate::term::float(share)
        ));
        json!({ "relative": share })
    };
    Call::done(
        call.node
            .put("/control/watermarks", &json!({ "memory": limit }))?,
    )?;
    Ok(Output::Nothing)
}

pub(crate) fn set_disk_free_limit(call: &mut Call) -> Done {
    let node = call.node.name().to_owned();
    let limit = if call.value(0) == "mem_relative" {
        if call.arguments.values.len() < 2 {
            return Err(Failure::usage("not enough arguments."));
        }
        let share = fraction(call.value(1)).ok_or_else(|| Failure::argument("Bad argument."))?;
        call.say(&format!(
            "Setting disk free limit on {node} to {} times the total RAM ...",
            crate::term::float(share)
        ));
        json!({ "relative": share })
    } else {
        if call.arguments.values.len() > 1 {
            return Err(Failure::usage("too many arguments."));
        }
        let text = call.value(0).to_owned();
        let bytes = size::parse_information_unit(&text)
            .ok_or_else(|| Failure::argument("Bad argument."))?;
        call.say(&format!(
            "Setting disk free limit on {node} to {text} bytes ..."
        ));
        json!({ "absolute": bytes })
    };
    Call::done(
        call.node
            .put("/control/watermarks", &json!({ "disk": limit }))?,
    )?;
    Ok(Output::Nothing)
}

/// How a file of definitions is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    /// A term in Erlang's external format.
    Erlang,
}

impl Format {
    fn of(call: &Call) -> Result<Self, Failure> {
        let name = call.arguments.option("format").unwrap_or("json");
        match name.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "erlang" => Ok(Self::Erlang),
            _ => Err(Failure::argument(
                "Bad argument: Format should be either json or erlang",
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Erlang => "Erlang term",
        }
    }
}

pub(crate) fn export_definitions(call: &mut Call) -> Done {
    let target = call.value(0).to_owned();
    let format = Format::of(call)?;
    if target != "-" {
        let directory = Path::new(&target).parent();
        if let Some(directory) =
            directory.filter(|path| !path.as_os_str().is_empty() && !path.is_dir())
        {
            return Err(Failure::argument(format!(
                "Bad argument: Directory {} does not exist",
                directory.display()
            )));
        }
        call.say(&format!(
            "Exporting definitions in {} to a file at \"{target}\" ...",
            format.name()
        ));
    }
    let definitions = call.node.get("/api/definitions")?.ok()?;
    let bytes = match format {
        Format::Json => definitions.to_string().into_bytes(),
        Format::Erlang => external::encode(&Term::from_json(&definitions)).ok_or_else(|| {
            Failure::error(SOFTWARE, "the definitions have no form as an Erlang term")
        })?,
    };
    if target == "-" {
        call.print_bytes(&bytes);
        return Ok(Output::line(if format == Format::Json { "\n" } else { "" }));
    }
    std::fs::write(&target, bytes)
        .map_err(|error| Failure::error(FILE, format!("cannot write {target}: {error}")))?;
    Ok(Output::Nothing)
}

pub(crate) fn import_definitions(call: &mut Call) -> Done {
    let format = Format::of(call)?;
    let source = call.value(0).to_owned();
    let bytes = if source.is_empty() || source == "-" {
        call.say(&format!(
            "Importing definitions in {} from standard input ...",
            format.name()
        ));
        call.input()?
    } else {
        if !Path::new(&source).exists() {
            return Err(Failure::argument(format!(
                "Bad argument: File {source} does not exist"
            )));
        }
        call.say(&format!(
            "Importing definitions in {} from a file at \"{source}\" ...",
            format.name()
        ));
        std::fs::read(&source)
            .map_err(|error| Failure::error(FILE, format!("cannot read {source}: {error}")))?
    };
    let definitions: Json = match format {
        Format::Json => serde_json::from_slice(&bytes).map_err(|error| {
            Failure::error(
                DATA,
                format!("Failed to deserialise input (format: JSON) (error: {error})"),
            )
        })?,
        Format::Erlang => external::decode(&bytes)
            .ok_or_else(|| {
                Failure::error(
                    DATA,
                    "Failed to deserialise input (format: Erlang): it is no term",
                )
            })?
            .to_json(),
    };
    let path = if call.arguments.has("skip-if-unchanged") {
        "/api/definitions?skip-if-unchanged=true"
    } else {
        "/api/definitions"
    };
    match call.node.post(path, &definitions)?.refused() {
        None => Ok(Output::line(
            "Successfully started definition import. This process is asynchronous and can take some time. Watch target node logs for completion.",
        )),
        Some(reason) => Err(Failure::error(UNAVAILABLE, reason)),
    }
}
