//! Methods and their fields, read from the specification table of the codec.
//!
//! Not the codec itself: a mistake in it must not hide behind the same mistake here.

use std::collections::HashMap;
use std::sync::LazyLock;

const SPEC: &str = include_str!("../../../codec-amqp091/spec/amqp0-9-1.txt");

/// Properties of class basic, first flag bit first.
pub(super) const PROPERTIES: [(&str, FieldType); 14] = [
    ("content_type", FieldType::ShortStr),
    ("content_encoding", FieldType::ShortStr),
    ("headers", FieldType::Table),
    ("delivery_mode", FieldType::Octet),
    ("priority", FieldType::Octet),
    ("correlation_id", FieldType::ShortStr),
    ("reply_to", FieldType::ShortStr),
    ("expiration", FieldType::ShortStr),
    ("message_id", FieldType::ShortStr),
    ("timestamp", FieldType::LongLong),
    ("type", FieldType::ShortStr),
    ("user_id", FieldType::ShortStr),
    ("app_id", FieldType::ShortStr),
    ("cluster_id", FieldType::ShortStr),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldType {
    Octet,
    Short,
    Long,
    LongLong,
    ShortStr,
    LongStr,
    Table,
    Bit,
}

#[derive(Debug)]
pub(super) struct MethodSpec {
    /// As in `queue.declare-ok`.
    pub(super) name: String,
    pub(super) class_id: u16,
    pub(super) method_id: u16,
    pub(super) has_content: bool,
    pub(super) fields: Vec<(String, FieldType)>,
}

static METHODS: LazyLock<Vec<MethodSpec>> = LazyLock::new(|| parse(SPEC));
static BY_NAME: LazyLock<HashMap<&str, &MethodSpec>> = LazyLock::new(|| {
    METHODS
        .iter()
        .map(|method| (method.name.as_str(), method))
        .collect()
});

pub(super) fn by_name(name: &str) -> Option<&'static MethodSpec> {
    BY_NAME.get(name).copied()
}

pub(super) fn by_ids(class_id: u16, method_id: u16) -> Option<&'static MethodSpec> {
    METHODS
        .iter()
        .find(|method| method.class_id == class_id && method.method_id == method_id)
}

/// The method that answers this one, if one does; a set `no_wait` is the caller's matter.
pub(super) fn reply_to(name: &str) -> Option<Vec<&'static str>> {
    Some(match name {
        "connection.start-ok" | "connection.secure-ok" => {
            vec!["connection.tune", "connection.secure"]
        }
        "basic.get" => vec!["basic.get-ok", "basic.get-empty"],
        "connection.tune-ok" | "basic.recover-async" => return None,
        _ => {
            let reply = BY_NAME
                .get_key_value(format!("{name}-ok").as_str())
                .map(|(name, _)| *name);
            vec![reply?]
        }
    })
}

fn parse(spec: &str) -> Vec<MethodSpec> {
    let mut methods: Vec<MethodSpec> = Vec::new();
    let mut class = (0, "");
    for line in spec.lines() {
        let definition = line.split('|').next().unwrap_or_default();
        let words: Vec<&str> = definition.split_whitespace().collect();
        match words.as_slice() {
            ["class", id, name] => class = (id.parse().expect("class ids are numbers"), name),
            ["method", id, name, rest @ ..] => methods.push(MethodSpec {
                name: format!("{}.{name}", class.1),
                class_id: class.0,
                method_id: id.parse().expect("method ids are numbers"),
                has_content: rest.contains(&"content"),
                fields: Vec::new(),
            }),
            [field_type, names @ ..] if line.starts_with(' ') => {
                let field_type = match *field_type {
                    "octet" => FieldType::Octet,
                    "short" => FieldType::Short,
                    "long" => FieldType::Long,
                    "longlong" => FieldType::LongLong,
                    "shortstr" => FieldType::ShortStr,
                    "longstr" => FieldType::LongStr,
                    "table" => FieldType::Table,
                    "bit" => FieldType::Bit,
                    other => panic!("no field type {other}"),
                };
                let method = methods.last_mut().expect("fields follow a method");
                method
                    .fields
                    .extend(names.iter().map(|name| ((*name).to_owned(), field_type)));
            }
            _ => {}
        }
    }
    methods
}
