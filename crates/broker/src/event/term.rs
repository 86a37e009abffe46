//! Values as Erlang prints them, for headers in which RabbitMQ has such texts.
//!
//! It prints and does not parse. Recursion is as deep as the value, which whoever decoded it has limited.

use crate::value::{Arguments, Value};
use base::ConnectionId;
use std::fmt::Write as _;
use std::net::IpAddr;

/// The fields of a table, one text each: `{<<"x-max-length">>,signedint,10}`.
pub fn fields(table: &Arguments) -> Value {
    let texts = table.iter().map(|(key, value)| {
        let mut out = String::new();
        push_field(&mut out, key, value);
        Value::LongStr(out.into())
    });
    Value::Array(texts.collect())
}

/// An address: `{127,0,0,1}`, `{0,0,0,0,0,0,0,1}`.
pub fn address(ip: IpAddr) -> String {
    let parts: Vec<String> = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().iter().map(u8::to_string).collect(),
        IpAddr::V6(ip) => ip.segments().iter().map(u16::to_string).collect(),
    };
    format!("{{{}}}", parts.join(","))
}

/// A connection in the form of a process id.
pub fn connection(node: &str, id: ConnectionId) -> String {
    process(node, id, 0)
}

/// A channel in the form of a process id; number 0 is the connection itself.
pub fn process(node: &str, id: ConnectionId, channel: u32) -> String {
    format!("<{node}.{}.{}.{channel}>", id.shard.0, id.serial)
}

fn push_field(out: &mut String, key: &str, value: &Value) {
    out.push('{');
    push_binary(out, key.as_bytes());
    out.push(',');
    push_typed(out, value);
    out.push('}');
}

/// Type and value, with a comma between them.
fn push_typed(out: &mut String, value: &Value) {
    out.push_str(value.type_name());
    out.push(',');
    // Writing to a string does not fail.
    let _ = match value {
        Value::Bool(value) => write!(out, "{value}"),
        Value::Int(_, value) => write!(out, "{value}"),
        Value::Float(value) => write!(out, "{value:?}"),
        Value::Double(value) => write!(out, "{value:?}"),
        Value::Decimal(scale, unscaled) => write!(out, "{{{scale},{unscaled}}}"),
        Value::Timestamp(seconds) => write!(out, "{seconds}"),
        Value::Void => write!(out, "undefined"),
        Value::LongStr(bytes) | Value::Binary(bytes) => {
            push_binary(out, bytes);
            Ok(())
        }
        Value::Array(values) => {
            push_list(out, values.iter(), |out, value| {
                out.push('{');
                push_typed(out, value);
                out.push('}');
            });
            Ok(())
        }
        Value::Table(table) => {
            push_list(out, table.iter(), |out, (key, value)| {
                push_field(out, key, value);
            });
            Ok(())
        }
    };
}

fn push_list<T>(
    out: &mut String,
    items: impl Iterator<Item = T>,
    mut push: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

/// `<<"text">>`, or the octets where some are not text.
fn push_binary(out: &mut String, bytes: &[u8]) {
    let printable = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.chars().any(char::is_control));
    match printable {
        Some("") => out.push_str("<<>>"),
        Some(text) => {
            out.push_str("<<\"");
            for character in text.chars() {
                if matches!(character, '"' | '\\') {
                    out.push('\\');
                }
                out.push(character);
            }
            out.push_str("\">>");
        }
        None => {
            let octets: Vec<String> = bytes.iter().map(u8::to_string).collect();
            out.push_str("<<");
            out.push_str(&octets.join(","));
            out.push_str(">>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::IntKind;

    #[test]
    fn values_are_printed_as_erlang_prints_them() {
        let text = |text: &'static str| Value::LongStr(text.as_bytes().into());
        let nested = Arguments::from_pairs([("t".into(), Value::Bool(true))]);
        let table = Arguments::from_pairs([
            (
                "a".into(),
                Value::Array(vec![text("x"), Value::Int(IntKind::I32, -1)]),
            ),
            ("b".into(), Value::LongStr(b"\x00\xff"[..].into())),
            ("c".into(), text("say \"hi\\\"")),
            ("d".into(), Value::Double(0.5)),
            ("e".into(), text("")),
            ("f".into(), Value::Table(nested)),
            ("g".into(), Value::Void),
        ]);
        let Value::Array(fields) = fields(&table) else {
            panic!("fields are an array");
        };
        let texts: Vec<_> = fields.iter().filter_map(Value::as_str).collect();
        assert_eq!(
            texts,
            [
                r#"{<<"a">>,array,[{longstr,<<"x">>},{signedint,-1}]}"#,
                r#"{<<"b">>,longstr,<<0,255>>}"#,
                r#"{<<"c">>,longstr,<<"say \"hi\\\"">>}"#,
                r#"{<<"d">>,double,0.5}"#,
                r#"{<<"e">>,longstr,<<>>}"#,
                r#"{<<"f">>,table,[{<<"t">>,bool,true}]}"#,
                r#"{<<"g">>,void,undefined}"#,
            ]
        );
    }

    #[test]
    fn addresses_are_tuples() {
        assert_eq!(address([127, 0, 0, 1].into()), "{127,0,0,1}");
        assert_eq!(address("::1".parse().unwrap()), "{0,0,0,0,0,0,0,1}");
        assert_eq!(address("::ffff:10.0.0.1".parse().unwrap()), "{10,0,0,1}");
    }
}
