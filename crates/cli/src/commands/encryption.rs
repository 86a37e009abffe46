//! Values that are encrypted in configuration files. No node is asked.

use super::Done;
use super::environment::term;
use crate::Failure;
use crate::call::Call;
use crate::external;
use crate::failure::{DATA, UNAVAILABLE};
use crate::output::Output;
use crate::pretty::pretty;
use crate::term::{Term, text_of};
use config::encrypted::{Cipher, Decoder, Hash, ITERATIONS_MAX, OF_TOOLS, Scheme};
use config::erlang;

/// The scheme that the options name.
fn scheme(call: &Call) -> Result<Scheme, Failure> {
    let mut scheme = OF_TOOLS;
    if let Some(name) = call.arguments.option("cipher") {
        scheme.cipher = Cipher::parse(name).ok_or_else(|| {
            Failure::argument("Bad argument: The requested cipher is not supported.")
        })?;
    }
    if let Some(name) = call.arguments.option("hash") {
        scheme.hash = Hash::parse(name).ok_or_else(|| {
            Failure::argument("Bad argument: The requested hash is not supported")
        })?;
    }
    if let Some(count) = call.arguments.option("iterations") {
        scheme.iterations = count
            .parse()
            .ok()
            .filter(|count| (1..=ITERATIONS_MAX).contains(count))
            .ok_or_else(|| {
                Failure::argument("Bad argument: The requested number of iterations is incorrect")
            })?;
    }
    Ok(scheme)
}

/// Value and passphrase: arguments, or lines of the standard input.
fn inputs(call: &Call, prompt: &str) -> Result<(String, String), Failure> {
    let missing = || Failure::error(UNAVAILABLE, "not_enough_args");
    let value = call.secret(0, prompt).ok_or_else(missing)?;
    let passphrase = call.secret(1, "Passphrase: ").ok_or_else(missing)?;
    Ok((value, passphrase))
}

fn parse(text: &str) -> Result<Term, Failure> {
    erlang::parse(&format!("{text}."))
        .map(|node| term(&node))
        .map_err(|error| {
            Failure::error(
                DATA,
                format!(
                    "the value is no Erlang term (expected {}): text has quotes, as in '\"text\"'",
                    error.expected
                ),
            )
        })
}

/// The text of an argument that is a term; what is none is text itself.
fn text_argument(text: &str) -> String {
    match erlang::parse(&format!("{text}.")).map(|node| term(&node)) {
        Ok(Term::List(items)) => text_of(&items).unwrap_or_else(|| text.to_owned()),
        Ok(other @ (Term::Atom(_) | Term::Binary(_))) => other.plain(),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

fn encrypt(scheme: Scheme, passphrase: &str, value: &Term) -> Result<String, Failure> {
    let bytes = external::encode(value).ok_or_else(|| {
        Failure::error(DATA, "the value has something in it that cannot be encoded")
    })?;
    Ok(scheme.encode_bytes(passphrase, rand::random(), rand::random(), &bytes))
}

/// The scheme, if an option says something about it; else all that values are usually made with are tried.
fn given_scheme(call: &Call) -> Result<Option<Scheme>, Failure> {
    let scheme = scheme(call)?;
    let is_given = ["cipher", "hash", "iterations"]
        .iter()
        .any(|option| call.arguments.has(option));
    Ok(is_given.then_some(scheme))
}

fn decrypt(scheme: Option<Scheme>, passphrase: String, base64: &str) -> Result<Term, Failure> {
    let decoder = Decoder { passphrase, scheme };
    decoder
        .decode_with(base64, external::decode)
        .map_err(|reason| {
            Failure::error(
                UNAVAILABLE,
                format!("Failed to decrypt the value: {reason}, or it was made with other options"),
            )
        })
}

pub(crate) fn encode(call: &mut Call) -> Done {
    let scheme = scheme(call)?;
    call.say("Encrypting value to be used in advanced.config...");
    let (text, passphrase) = inputs(call, "Value to encode: ")?;
    let value = encrypt(scheme, &passphrase, &parse(&text)?)?;
    let value = Term::pair("encrypted", Term::text(value));
    Ok(Output::Report {
        text: value.to_string(),
        value,
    })
}

pub(crate) fn decode(call: &mut Call) -> Done {
    let scheme = given_scheme(call)?;
    call.say("Decrypting an advanced.config (Erlang term) value...");
    let (text, passphrase) = inputs(call, "Value to decode: ")?;
    let base64 = match parse(&text)? {
        Term::Tuple(pair) => match pair.as_slice() {
            [Term::Atom(tag), value] if tag == "encrypted" => value.plain(),
            _ => text_argument(&text),
        },
        _ => text_argument(&text),
    };
    let value = decrypt(scheme, passphrase, &base64)?;
    Ok(Output::Report {
        text: pretty(&value),
        value,
    })
}

pub(crate) fn encrypt_conf_value(call: &mut Call) -> Done {
    let scheme = scheme(call)?;
    call.say("Encrypting value to be used in rabbitmq.conf...");
    let (text, passphrase) = inputs(call, "Value to encode: ")?;
    let value = encrypt(scheme, &passphrase, &Term::text(text_argument(&text)))?;
    Ok(Output::line(format!("encrypted:{value}")))
}

pub(crate) fn decrypt_conf_value(call: &mut Call) -> Done {
    let scheme = given_scheme(call)?;
    call.say("Decrypting a rabbitmq.conf string value...");
    let (text, passphrase) = inputs(call, "Value to decode: ")?;
    let text = text_argument(&text);
    let base64 = text.strip_prefix("encrypted:").unwrap_or(&text);
    let value = decrypt(scheme, passphrase, base64)?;
    Ok(Output::line(match &value {
        Term::List(items) => text_of(items).unwrap_or_else(|| value.to_string()),
        other => other.plain(),
    }))
}

fn names(banner: &str, names: &[&str], call: &Call) -> Output {
    call.say(banner);
    let value = Term::atoms(names.iter().copied());
    Output::Report {
        text: pretty(&value),
        value,
    }
}

pub(crate) fn list_ciphers(call: &mut Call) -> Done {
    let known = [
        "aes_192_cbc",
        "aes_256_cbc",
        "aes_128_cbc",
        "aes_cbc",
        "aes_cbc128",
        "aes_cbc256",
    ];
    Ok(names("Listing supported ciphers ...", &known, call))
}

pub(crate) fn list_hashes(call: &mut Call) -> Done {
    let known = ["sha512", "sha384", "sha256", "sha224"];
    Ok(names("Listing supported hash algorithms ...", &known, call))
}
