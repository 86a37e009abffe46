//! Definitions that RabbitMQ has and this broker would refuse, taken out one by one and told by name.

use serde_json::{Map, Value};

/// Runtime parameters that are not of a plugin or of a feature that is not here.
const COMPONENTS: [&str; 3] = ["operator_policy", "vhost-limits", "limits"];

/// Beginnings of policy keys of mirroring, federation and streams.
const POLICY_KEYS: [&str; 9] = [
    "ha-",
    "federation-",
    "queue-master-locator",
    "queue-mode",
    "queue-version",
    "max-age",
    "stream-",
    "initial-cluster-size",
    "target-group-size",
];

/// Arguments of queues that RabbitMQ 4 refuses as well.
const QUEUE_ARGUMENTS: [&str; 1] = ["x-queue-master-locator"];

/// Takes out what is not supported; returns what that was.
pub(crate) fn take(definitions: &mut Map<String, Value>) -> Vec<String> {
    let mut taken = Vec::new();
    retain(definitions, "parameters", |item| {
        let component = item["component"].as_str().unwrap_or_default();
        let is_kept = COMPONENTS.contains(&component);
        if !is_kept {
            taken.push(format!(
                "parameter of component {component}: {}",
                place(item)
            ));
        }
        is_kept
    });
    retain(definitions, "policies", |item| {
        let place = place(item);
        let Some(definition) = item["definition"].as_object_mut() else {
            return true;
        };
        definition.retain(|key, _| {
            let is_kept = !POLICY_KEYS.iter().any(|start| key.starts_with(start));
            if !is_kept {
                taken.push(format!("key {key} of policy {place}"));
            }
            is_kept
        });
        !definition.is_empty()
    });
    let mut streams = Vec::new();
    retain(definitions, "queues", |item| {
        let place = place(item);
        if item["type"] == "stream" || item["arguments"]["x-queue-type"] == "stream" {
            streams.push((item["vhost"].clone(), item["name"].clone()));
            taken.push(format!("stream {place}"));
            return false;
        }
        if let Some(arguments) = item["arguments"].as_object_mut() {
            for argument in QUEUE_ARGUMENTS {
                if arguments.remove(argument).is_some() {
                    taken.push(format!("argument {argument} of queue {place}"));
                }
            }
        }
        true
    });
    retain(definitions, "bindings", |item| {
        let to = (item["vhost"].clone(), item["destination"].clone());
        item["destination_type"] != "queue" || !streams.contains(&to)
    });
    taken
}

fn retain(definitions: &mut Map<String, Value>, list: &str, keep: impl FnMut(&mut Value) -> bool) {
    if let Some(items) = definitions.get_mut(list).and_then(Value::as_array_mut) {
        items.retain_mut(keep);
    }
}

fn place(item: &Value) -> String {
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    format!("'{}' in vhost '{}'", text("name"), text("vhost"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_supported_is_taken_out_and_named() {
        let Value::Object(mut definitions) = json!({
            "parameters": [
                {"component": "shovel", "name": "s", "vhost": "/", "value": {}},
                {"component": "operator_policy", "name": "o", "vhost": "/", "value": {}},
            ],
            "policies": [
                {"name": "ha", "vhost": "/", "definition": {"ha-mode": "all"}},
                {"name": "both", "vhost": "/", "definition": {"ha-mode": "all", "max-length": 1}},
            ],
            "queues": [
                {"name": "st", "vhost": "/", "arguments": {"x-queue-type": "stream"}},
                {"name": "q", "vhost": "/", "arguments": {"x-queue-master-locator": "random"}},
            ],
            "bindings": [
                {"source": "x", "vhost": "/", "destination": "st", "destination_type": "queue"},
                {"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue"},
            ],
        }) else {
            unreachable!("it is an object")
        };
        let taken = take(&mut definitions);
        assert_eq!(taken.len(), 5, "{taken:?}");
        assert_eq!(taken[0], "parameter of component shovel: 's' in vhost '/'");
        let counts = ["parameters", "policies", "queues", "bindings"]
            .map(|list| definitions[list].as_array().map(Vec::len));
        assert_eq!(counts, [Some(1); 4]);
    }
}
