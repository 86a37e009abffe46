//! The API's description of itself, and whether answers are as it says: every field has to be described, with its type.
//!
//! It knows as much of OpenAPI and JSON Schema as our own document uses; a validator of others reads the same document in
//! `tests/interop`.

use crate::Http;
use serde_json::{Map, Value};

/// An OpenAPI document.
pub struct Document(Value);

impl Document {
    /// What a broker says of itself.
    ///
    /// # Errors
    /// There is none.
    pub fn of(http: &Http) -> anyhow::Result<Self> {
        Ok(Self(http.get("/openapi.json")?))
    }

    /// How an answer with status 200 differs from what is said of it.
    pub fn problems(&self, method: &str, path: &str, answer: &Value) -> Vec<String> {
        let path = path.split('?').next().unwrap_or(path);
        let Some(operation) = self.operation(method, path) else {
            return vec![format!("{method} {path} is not described")];
        };
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let mut problems = Vec::new();
        self.compare(schema, answer, "", &mut problems);
        problems
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let matches = |template: &str| {
            let (mut parts, mut given) = (template.split('/'), path.split('/'));
            parts
                .by_ref()
                .zip(given.by_ref())
                .all(|(part, given)| part.starts_with('{') || part == given)
                && template.split('/').count() == path.split('/').count()
        };
        // Braces come behind letters, so what is fixed comes first.
        let paths = self.0["paths"].as_object()?;
        let (_, item) = paths.iter().find(|(template, _)| matches(template))?;
        item.get(method.to_ascii_lowercase())
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let target = schema["$ref"]
            .as_str()
            .and_then(|target| target.strip_prefix('#'));
        match target.and_then(|pointer| self.0.pointer(pointer)) {
            Some(schema) => schema,
            None => schema,
        }
    }

    fn compare(&self, schema: &Value, found: &Value, path: &str, problems: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let of = |choice| {
                let mut problems = Vec::new();
                self.compare(choice, found, path, &mut problems);
                problems
            };
            let least = choices.iter().map(of).min_by_key(Vec::len);
            problems.extend(least.unwrap_or_default());
            return;
        }
        if !has_type(schema, found) {
            problems.push(format!(
                "{path} is {found}, described as {}",
                schema["type"]
            ));
            return;
        }
        match found {
            Value::Array(items) => {
                for item in items {
                    self.compare(&schema["items"], item, &format!("{path}[]"), problems);
                }
            }
            Value::Object(fields) => {
                let known = self.properties(schema);
                for (key, value) in fields.iter().filter(|_| !known.is_empty()) {
                    let path = format!("{path}.{key}");
                    match known.get(key) {
                        Some(schema) => self.compare(schema, value, &path, problems),
                        None => problems.push(format!("{path} is not described")),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The fields of an object, and of all that it is made of; none if it may have any.
    fn properties(&self, schema: &Value) -> Map<String, Value> {
        let mut known = schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            known.extend(self.properties(self.resolve(part)));
        }
        known
    }
}

fn has_type(schema: &Value, found: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap_or_default() {
        "null" => found.is_null(),
        "boolean" => found.is_boolean(),
        "integer" => found.is_i64() || found.is_u64(),
        "number" => found.is_number(),
        "string" => found.is_string(),
        "array" => found.is_array(),
        "object" => found.is_object(),
        _ => false,
    };
    match &schema["type"] {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is),
        name @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            is(name)
        }
    }
}
