//! Help, versions and hashes: commands that ask no node.

use super::Done;
use crate::call::Call;
use crate::output::{Formatter, Output};
use crate::term::Term;
use crate::{Failure, catalogue, help};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker::command::{HashAlgorithm, PasswordHash};

/// The release of RabbitMQ whose commands these are.
pub(crate) const VERSION: &str = "4.3.6";

pub(crate) fn help(call: &mut Call) -> Done {
    if call.arguments.has("list-commands") {
        return Ok(Output::line(help::beginning_with(call.tool, "").join("\n")));
    }
    let name = call.value(0);
    if name.is_empty() {
        return Ok(Output::line(help::overview(call.tool)));
    }
    match catalogue::find(call.tool, name) {
        Some(command) => Ok(Output::line(help::of_command(call.tool, command))),
        None => Err(Failure::plain(
            crate::failure::USAGE,
            format!(
                "\nCommand '{name}' not found. \n{}",
                help::overview(call.tool)
            ),
        )),
    }
}

pub(crate) fn version(call: &mut Call) -> Done {
    Ok(Output::Report {
        text: VERSION.to_owned(),
        value: Term::Map(vec![
            (Term::atom("result"), Term::atom("ok")),
            (Term::atom("node"), Term::atom(call.node.name())),
            (
                Term::atom("value"),
                Term::Map(vec![(Term::atom("version"), Term::text(VERSION))]),
            ),
        ]),
    })
}

pub(crate) fn autocomplete(call: &mut Call) -> Done {
    let names = help::beginning_with(call.tool, call.value(0));
    if call.formatter == Formatter::Json {
        let rows = names.iter().map(|name| vec![Term::text(name)]);
        return Ok(Output::rows(&["message"], rows.collect()));
    }
    Ok(Output::line(names.join("\n")))
}

pub(crate) fn hash_password(call: &mut Call) -> Done {
    let algorithm = match call.arguments.option("hashing-algorithm") {
        None | Some("sha256" | "rabbit_password_hashing_sha256") => HashAlgorithm::Sha256,
        Some("sha512" | "rabbit_password_hashing_sha512") => HashAlgorithm::Sha512,
        Some("md5" | "rabbit_password_hashing_md5") => HashAlgorithm::Md5,
        Some(other) => {
            return Err(Failure::argument(format!(
                "Bad argument: unsupported hashing algorithm: {other}"
            )));
        }
    };
    let password = call.password(0)?;
    if password.is_empty() {
        return Err(Failure::argument("Bad argument: password cannot be blank"));
    }
    // Compat: RabbitMQ's line repeats the password, which does not belong on a screen.
    call.say("Will hash the password");
    let hash = PasswordHash::with_algorithm(algorithm, password.as_bytes(), rand::random());
    Ok(Output::line(BASE64.encode(&hash.salted)))
}
