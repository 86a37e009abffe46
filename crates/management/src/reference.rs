//! The API described by itself: an OpenAPI document and a page for readers, both made of the [table of routes](crate::routes) and of
//! the [table of fields](crate::schemas).
//!
//! Nothing is described here; what is not in the tables is not in the answers.

use crate::access::Access;
use crate::call::{Answer, Call, Outcome};
use crate::json::{Json, Object, object};
use crate::routes::{
    self, Body, COLUMNS, ENDPOINTS, Endpoint, Field, Kind, Operation, PAGES, Parameter, SORT,
    Shape, Verb,
};
use crate::schemas::{Described, SCHEMAS, Schema, Type, meaning_of_field};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The version of OpenAPI that the document is written in.
const OPENAPI: &str = "3.1.0";

/// What each answer has to say of itself that is not of its path.
const DESCRIPTION: &str = "The HTTP API of RabbitMQ 4.3's management plugin. HEAD is there where GET is, and OPTIONS everywhere. \
    Names in paths are percent-encoded.";

pub(crate) async fn openapi(call: Call) -> Outcome {
    Ok(document(&call.state.settings().path_prefix).into())
}

pub(crate) async fn page(_call: Call) -> Outcome {
    Ok(Answer::Page(html()))
}

impl Verb {
    /// As HTTP writes it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

impl Access {
    /// The tag that is needed.
    fn tag(self) -> &'static str {
        match self {
            Self::Open | Self::Reference => "none",
            Self::Management => "management",
            Self::Monitoring => "monitoring",
            Self::Policymaker => "policymaker",
            Self::Administrator => "administrator",
        }
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Reference)
    }
}

impl Endpoint {
    /// The parts of the path that vary.
    fn parts(&self) -> impl Iterator<Item = &'static str> {
        let segments = self.path.split('/');
        segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The kind of thing that it is about.
    fn area(&self) -> &'static str {
        self.path.split('/').next().unwrap_or(self.path)
    }
}

impl Operation {
    /// All parameters in the query.
    fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let of_lists: &[&[Parameter]] = match self.answer {
            Shape::List => &[COLUMNS, SORT],
            Shape::Pages => &[COLUMNS, SORT, PAGES],
            Shape::Object
            | Shape::Text
            | Shape::Plain
            | Shape::Html
            | Shape::Check
            | Shape::Made
            | Shape::Created
            | Shape::Accepted
            | Shape::Done => &[],
        };
        self.query.iter().chain(of_lists).copied().flatten()
    }
}

/// The OpenAPI document of an API behind a prefix.
fn document(prefix: &str) -> Object {
    let mut areas: Vec<&str> = ENDPOINTS.iter().map(Endpoint::area).collect();
    areas.sort_unstable();
    areas.dedup();
    let areas: Vec<Object> = areas
        .into_iter()
        .map(|area| object! { "name" => area })
        .collect();
    let mut paths = Object::default();
    for endpoint in ENDPOINTS {
        let mut item = Object::default();
        for operation in endpoint.operations {
            let verb = operation.verb.as_str().to_ascii_lowercase();
            item.push(verb, described(endpoint, operation));
        }
        paths.push(format!("/{}", endpoint.path), item);
    }
    object! {
        "openapi" => OPENAPI,
        "info" => object! {
            "title" => "WarrenMQ HTTP API",
            "version" => env!("CARGO_PKG_VERSION"),
            "description" => DESCRIPTION,
        },
        "servers" => vec![object! { "url" => format!("{prefix}/api") }],
        "security" => security(),
        "tags" => areas,
        "paths" => paths,
        "components" => components(),
    }
}

fn security() -> Vec<Object> {
    let none = || Json::List(Vec::new());
    vec![
        object! { "basic" => none() },
        object! { "bearer" => none() },
    ]
}

fn described(endpoint: &Endpoint, operation: &Operation) -> Object {
    let name = endpoint.path.replace(['/', '-'], "_");
    let name = name.replace(['{', '}', '.'], "");
    let verb = operation.verb.as_str().to_ascii_lowercase();
    let mut item = object! {
        "operationId" => format!("{verb}_{name}"),
        "summary" => operation.summary,
        "tags" => vec![endpoint.area()],
        "x-user-tag" => operation.access.tag(),
    };
    if operation.access.is_open() {
        item.push("security", Json::List(Vec::new()));
    }
    let of_path = endpoint.parts().map(|part| {
        object! {
            "name" => part,
            "in" => "path",
            "required" => true,
            "description" => routes::meaning(part),
            "schema" => schema(Kind::Text),
        }
    });
    let of_query = operation
        .parameters()
        .map(|parameter| reference("parameters", parameter.name));
    let parameters: Vec<Object> = of_path.chain(of_query).collect();
    if !parameters.is_empty() {
        item.push("parameters", parameters);
    }
    if let Some(body) = &operation.body {
        item.push("requestBody", request_body(body));
    }
    item.push("responses", responses(endpoint, operation));
    item
}

fn reference(kind: &str, name: &str) -> Object {
    object! { "$ref" => format!("#/components/{kind}/{name}") }
}

/// A type, or nothing.
fn typed(name: &'static str, may_be_null: bool) -> Object {
    match may_be_null {
        false => object! { "type" => name },
        true => object! { "type" => vec![name, "null"] },
    }
}

fn list_of(items: Object) -> Object {
    object! { "type" => "array", "items" => items }
}

/// An object of the table of fields.
fn described_object(schema: &Schema) -> Object {
    let mut properties = Object::default();
    for field in schema.fields {
        properties.push(field.name, described_field(field));
        if matches!(field.kind, Type::Sampled) {
            let mut details = reference("schemas", crate::schemas::RATE.name);
            details.push("description", format!("How `{}` changes.", field.name));
            properties.push(format!("{}_details", field.name), details);
        }
    }
    object! {
        "type" => "object",
        "description" => schema.meaning,
        "properties" => properties,
    }
}

fn described_field(field: &Described) -> Object {
    let simple = |name| typed(name, field.may_be_null);
    let several = |of| {
        let mut list = simple("array");
        list.push("items", typed(of, false));
        list
    };
    let mut item = match field.kind {
        Type::Bool => simple("boolean"),
        Type::Count | Type::Sampled => simple("integer"),
        Type::Number => simple("number"),
        Type::Text => simple("string"),
        Type::Map => simple("object"),
        Type::Texts => several("string"),
        Type::Counts => several("integer"),
        Type::One(schema) => reference("schemas", schema.name),
        Type::Many(schema) => list_of(reference("schemas", schema.name)),
        Type::Any => Object::default(),
    };
    item.push("description", field.meaning);
    item
}

fn schema(kind: Kind) -> Object {
    match kind {
        Kind::Bool => object! { "type" => "boolean" },
        Kind::Number => object! { "type" => "integer" },
        Kind::Text => object! { "type" => "string" },
        Kind::Texts => object! { "type" => "array", "items" => schema(Kind::Text) },
        Kind::Object => object! { "type" => "object" },
        Kind::Any => Object::default(),
    }
}

/// An object with these fields, and others.
fn fields(must: &[Field], may: &[Field]) -> Object {
    let mut properties = Object::default();
    for (name, kind) in must.iter().chain(may) {
        let mut field = schema(*kind);
        field.push("description", meaning_of_field(name));
        properties.push(*name, field);
    }
    let mut item = object! { "type" => "object", "properties" => properties };
    if !must.is_empty() {
        let names: Vec<&str> = must.iter().map(|(name, _)| *name).collect();
        item.push("required", names);
    }
    item
}

fn content(media_type: &'static str, schema: Object) -> Object {
    object! { media_type => object! { "schema" => schema } }
}

fn request_body(body: &Body) -> Object {
    match body {
        Body::Fields(must, may) => object! {
            "required" => !must.is_empty(),
            "content" => content("application/json", fields(must, may)),
        },
        Body::Form(of_form) => object! {
            "required" => true,
            "content" => content("application/x-www-form-urlencoded", fields(of_form, &[])),
        },
        Body::Definitions => {
            let mut either = content("application/json", schema(Kind::Object));
            let file = [("file", Kind::Text)];
            either.append(content("multipart/form-data", fields(&file, &[])));
            object! { "required" => true, "content" => either }
        }
    }
}

fn json_answer(schema: Object) -> Object {
    object! { "description" => "It is so.", "content" => content("application/json", schema) }
}

/// A page of a list.
fn page_of(items: Object) -> Object {
    let items = object! { "items" => list_of(items) };
    let own = object! { "type" => "object", "properties" => items };
    object! { "allOf" => vec![reference("schemas", "Page"), own] }
}

fn responses(endpoint: &Endpoint, operation: &Operation) -> Object {
    let bare = |description: &'static str| object! { "description" => description };
    let one = || match operation.gives {
        Some(schema) => reference("schemas", schema.name),
        None => schema(Kind::Object),
    };
    let list = || list_of(one());
    let mut item = match operation.answer {
        Shape::Object => object! { "200" => json_answer(one()) },
        Shape::List => object! { "200" => json_answer(list()) },
        Shape::Pages => object! {
            "200" => json_answer(object! {
                "oneOf" => vec![list(), page_of(one())],
            }),
        },
        Shape::Text => object! { "200" => json_answer(schema(Kind::Text)) },
        Shape::Plain => object! {
            "200" => object! {
                "description" => "The text.",
                "content" => content("text/plain", schema(Kind::Text)),
            },
        },
        Shape::Html => object! {
            "200" => object! {
                "description" => "The page.",
                "content" => content("text/html", schema(Kind::Text)),
            },
        },
        Shape::Check => object! {
            "200" => json_answer(reference("schemas", "Check")),
            "503" => object! {
                "description" => "The check failed.",
                "content" => content("application/json", reference("schemas", "Check")),
            },
        },
        Shape::Made => object! {
            "201" => bare("It is new."),
            "204" => bare("It was there, and is as asked for now."),
        },
        Shape::Created => object! {
            "201" => object! {
                "description" => "It is there.",
                "headers" => object! {
                    "Location" => object! {
                        "description" => "Its path, from here.",
                        "schema" => schema(Kind::Text),
                    },
                },
            },
        },
        Shape::Accepted => object! { "202" => bare("It goes on.") },
        Shape::Done => object! { "204" => bare("It is done.") },
    };
    let takes = operation.body.is_some() || operation.parameters().next().is_some();
    for (status, applies) in [
        ("400", takes),
        ("401", !operation.access.is_open()),
        ("404", endpoint.parts().next().is_some()),
    ] {
        if applies {
            item.push(status, reference("responses", "Refused"));
        }
    }
    item
}

fn components() -> Object {
    let mut known: BTreeMap<&str, &Parameter> = BTreeMap::new();
    for operation in ENDPOINTS.iter().flat_map(|endpoint| endpoint.operations) {
        known.extend(operation.parameters().map(|own| (own.name, own)));
    }
    let mut parameters = Object::default();
    for (name, parameter) in known {
        let item = object! {
            "name" => name,
            "in" => "query",
            "description" => parameter.meaning,
            "schema" => schema(parameter.kind),
        };
        parameters.push(name, item);
    }
    let refused = object! {
        "description" => "It was refused; `reason` says why.",
        "content" => content("application/json", reference("schemas", "Error")),
    };
    let scheme = |scheme: &'static str| object! { "type" => "http", "scheme" => scheme };
    let mut schemas = Object::default();
    for schema in SCHEMAS {
        schemas.push(schema.name, described_object(schema));
    }
    object! {
        "securitySchemes" => object! { "basic" => scheme("basic"), "bearer" => scheme("bearer") },
        "parameters" => parameters,
        "responses" => object! { "Refused" => refused },
        "schemas" => schemas,
    }
}

/// The page for readers. All that is in it comes from the table, whose texts are ours.
fn html() -> String {
    let mut page = String::from(concat!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>HTTP API</title>\n<style>\n",
        ":root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }\n",
        "body { max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }\n",
        "table { border-collapse: collapse; width: 100%; }\n",
        "th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8884; }\n",
        "code { font-size: 13px; overflow-wrap: anywhere; }\n",
        "small { display: block; opacity: .8; }\n</style>\n</head>\n<body>\n<h1>HTTP API</h1>\n",
    ));
    let mut text = |line: std::fmt::Arguments<'_>| {
        page.write_fmt(line).expect("a string takes all");
    };
    text(format_args!(
        "<p>{}</p>\n<p>The same as an <a href=\"openapi.json\">OpenAPI document</a>.</p>\n",
        escaped(DESCRIPTION)
    ));
    text(format_args!(
        "<table>\n<thead><tr><th>Path</th><th>Method</th><th>Tag</th><th></th></tr></thead>\n<tbody>\n"
    ));
    for endpoint in ENDPOINTS {
        for (index, operation) in endpoint.operations.iter().enumerate() {
            let path = if index == 0 { endpoint.path } else { "" };
            let shown = if path.is_empty() { "" } else { "/api/" };
            text(format_args!(
                "<tr><td><code>{shown}{path}</code></td><td>{}</td><td>{}</td><td>{}",
                operation.verb.as_str(),
                operation.access.tag(),
                escaped(operation.summary)
            ));
            let query: Vec<&str> = operation.parameters().map(|own| own.name).collect();
            if !query.is_empty() {
                let query = query.join(", ");
                text(format_args!("<small>Query: <code>{query}</code></small>"));
            }
            if let Some(body) = &operation.body {
                text(format_args!(
                    "<small>Body: <code>{}</code></small>",
                    body_line(body)
                ));
            }
            if let Some(Schema { name, .. }) = operation.gives {
                text(format_args!(
                    "<small>Answer: <a href=\"#{name}\">{name}</a></small>"
                ));
            }
            text(format_args!("</td></tr>\n"));
        }
    }
    text(format_args!("</tbody>\n</table>\n"));
    for schema in SCHEMAS {
        text(format_args!(
            "<h2 id=\"{name}\">{name}</h2>\n<p>{}</p>\n<table>\n<tbody>\n",
            escaped(schema.meaning),
            name = schema.name
        ));
        for field in schema.fields {
            text(format_args!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
                field.name,
                type_line(field.kind),
                escaped(field.meaning)
            ));
        }
        text(format_args!("</tbody>\n</table>\n"));
    }
    text(format_args!("</body>\n</html>\n"));
    page
}

fn type_line(kind: Type) -> String {
    let link = |schema: &Schema| format!("<a href=\"#{0}\">{0}</a>", schema.name);
    match kind {
        Type::Bool => "switch".to_owned(),
        Type::Count => "whole number".to_owned(),
        Type::Number => "number".to_owned(),
        Type::Sampled => format!(
            "whole number; <code>_details</code>: {}",
            link(&crate::schemas::RATE)
        ),
        Type::Text => "text".to_owned(),
        Type::Texts => "texts".to_owned(),
        Type::Counts => "whole numbers".to_owned(),
        Type::Map => "object".to_owned(),
        Type::One(schema) => link(schema),
        Type::Many(schema) => format!("list of {}", link(schema)),
        Type::Any => "any".to_owned(),
    }
}

fn body_line(body: &Body) -> String {
    let names = |fields: &[Field]| fields.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    match body {
        Body::Fields(must, may) => {
            let may = names(may).into_iter().map(|name| format!("{name}?"));
            let all = names(must).into_iter().map(str::to_owned).chain(may);
            all.collect::<Vec<_>>().join(", ")
        }
        Body::Form(fields) => names(fields).join("=…&amp;") + "=…",
        Body::Definitions => "a file of definitions".to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::HashSet;

    fn openapi() -> Value {
        let text = serde_json::to_string(&Json::from(document("/rabbit"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_route_is_described() {
        let document = openapi();
        assert_eq!(document["servers"][0]["url"], "/rabbit/api");
        let mut ids = HashSet::new();
        let page = html();
        for endpoint in ENDPOINTS {
            assert!(page.contains(&format!("<code>/api/{}</code>", endpoint.path)));
            let item = &document["paths"][format!("/{}", endpoint.path)];
            for operation in endpoint.operations {
                let verb = operation.verb.as_str().to_ascii_lowercase();
                let own = &item[&verb];
                let what = format!("{verb} {}", endpoint.path);
                assert_eq!(own["summary"], operation.summary, "{what}");
                assert_eq!(own["x-user-tag"], operation.access.tag(), "{what}");
                assert!(ids.insert(own["operationId"].to_string()), "{what}");
                assert!(operation.summary.ends_with('.'), "{what}");
            }
            assert_eq!(
                item.as_object().unwrap().len(),
                endpoint.operations.len(),
                "{}",
                endpoint.path
            );
            for part in endpoint.parts() {
                assert!(!routes::meaning(part).is_empty(), "{part}");
            }
        }
    }

    #[test]
    fn every_object_and_every_field_of_a_body_is_described() {
        let without = ["openapi.json", "oauth/{resource}/token"];
        for endpoint in ENDPOINTS {
            for operation in endpoint.operations {
                let is_object =
                    matches!(operation.answer, Shape::Object | Shape::List | Shape::Pages);
                let is_described = operation.gives.is_some()
                    || without.contains(&endpoint.path)
                    || endpoint.path.ends_with("/sessions");
                assert!(!is_object || is_described, "{}", endpoint.path);
                let fields = match &operation.body {
                    Some(Body::Fields(must, may)) => [*must, *may].concat(),
                    Some(Body::Form(fields)) => fields.to_vec(),
                    Some(Body::Definitions) | None => Vec::new(),
                };
                for (field, _) in fields {
                    assert!(!meaning_of_field(field).is_empty(), "{field}");
                }
            }
        }
    }

    /// What the format asks for beyond being JSON: a validator of others reads the same document in `tests/interop`.
    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(target) = fields.get("$ref") {
                        let pointer = target.as_str().unwrap().strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{target}");
                    }
                    fields.values().for_each(|value| walk(value, document));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = openapi();
        walk(&document, &document);
    }

    #[test]
    fn templates_and_parameters_agree() {
        let document = openapi();
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let given = operation["parameters"].as_array();
                let given = given
                    .into_iter()
                    .flatten()
                    .filter(|own| own["in"] == "path");
                let names: Vec<&str> = given.map(|own| own["name"].as_str().unwrap()).collect();
                let wanted: Vec<&str> = path
                    .split('/')
                    .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                    .collect();
                assert_eq!(names, wanted, "{path}");
                assert!(!operation["responses"].as_object().unwrap().is_empty());
            }
        }
    }
}
