//! JSON values: what policies, parameters and limits are written in.
//!
//! Objects keep their keys sorted, so equal values have one text. Reading and writing bytes is the callers'.

pub use serde_json::{Map, Number, Value as Json};

/// Levels of arrays and objects that a printed value may have; what is deeper is printed as `...`.
const PRINT_DEPTH_MAX: usize = 16;

/// A value as RabbitMQ prints it in error texts.
///
/// Compat: RabbitMQ breaks long terms into lines; here they stay on one.
pub(crate) fn erlang_term(value: &Json) -> String {
    let mut text = String::new();
    print(value, PRINT_DEPTH_MAX, &mut text);
    text
}

/// Named values as RabbitMQ prints a property list.
pub(crate) fn erlang_pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let pairs: Vec<_> = pairs
        .map(|(key, value)| format!("{{<<\"{key}\">>,{}}}", erlang_term(value)))
        .collect();
    format!("[{}]", pairs.join(","))
}

fn print(value: &Json, depth: usize, text: &mut String) {
    if depth == 0 {
        text.push_str("...");
        return;
    }
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => text.push_str(&value.to_string()),
        Json::String(string) if string.is_empty() => text.push_str("<<>>"),
        Json::String(string) => {
            let escaped = string.replace('\\', "\\\\").replace('"', "\\\"");
            let encoding = if string.is_ascii() { "" } else { "/utf8" };
            text.push_str(&format!("<<\"{escaped}\"{encoding}>>"));
        }
        Json::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                print(item, depth - 1, text);
            }
            text.push(']');
        }
        Json::Object(fields) => {
            text.push_str("#{");
            for (index, (key, field)) in fields.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&format!("<<\"{key}\">> => "));
                print(field, depth - 1, text);
            }
            text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_printed_as_erlang_terms() {
        let value = serde_json::json!([1, "a", null, true, 1.5, {"a": "b"}, "", [], {}]);
        assert_eq!(
            erlang_term(&value),
            r#"[1,<<"a">>,null,true,1.5,#{<<"a">> => <<"b">>},<<>>,[],#{}]"#
        );
    }
}
