//! The parts of a token (RFC 7515, 7519), before anything in it is believed.

use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Map, Value};

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// A token whose signature has not been looked at.
pub(crate) struct Token<'a> {
    /// Which algorithm it says it is signed with.
    pub(crate) algorithm: String,
    /// With which key.
    pub(crate) key_id: Option<String>,
    /// What it says.
    pub(crate) claims: Map<String, Value>,
    /// The text that is signed.
    pub(crate) message: &'a str,
    /// The signature, as it is in the token.
    pub(crate) signature: &'a str,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        let header = object(header)?;
        // What must be understood is not (RFC 7515 4.1.11).
        if header.contains_key("crit") {
            return Err(Refusal::Malformed);
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            algorithm: text("alg").ok_or(Refusal::Malformed)?,
            key_id: text("kid"),
            claims: object(claims)?,
            message,
            signature,
        })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Refusal> {
    let bytes = BASE64URL.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_refused() {
        let part = |json: &str| BASE64URL.encode(json);
        let token = format!(
            "{}.{}.c2ln",
            part(r#"{"alg":"RS256","kid":"k"}"#),
            part("{}")
        );
        let parsed = Token::parse(&token).unwrap();
        assert_eq!(
            (parsed.algorithm.as_str(), parsed.key_id.as_deref()),
            ("RS256", Some("k"))
        );
        for (header, claims) in [
            ("{}", "{}"),
            ("[]", "{}"),
            (r#"{"alg":7}"#, "{}"),
            (r#"{"alg":"RS256"}"#, "[]"),
            (r#"{"alg":"RS256"}"#, "7"),
            (r#"{"alg":"RS256","crit":["b64"]}"#, "{}"),
        ] {
            let token = format!("{}.{}.", part(header), part(claims));
            assert!(Token::parse(&token).is_err(), "{header} {claims}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let deep = format!("{}.{}.", part(r#"{"alg":"RS256"}"#), part(&deep));
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for text in ["", ".", "..", "a.b", "guest", "a.b.c.d", &deep, &long] {
            assert!(Token::parse(text).is_err());
        }
        for end in 0..token.len() {
            // Only the signature may be cut: that it is wrong is found out later.
            let cut = Token::parse(&token[..end]);
            assert_eq!(cut.is_ok(), end >= token.len() - "c2ln".len());
        }
    }
}
