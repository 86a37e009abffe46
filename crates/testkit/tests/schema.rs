//! Schemas of exchanges over the life of a broker.

use serde_json::{Value, json};
use testkit::{Broker, Http};

fn publish(http: &Http, payload: &str) -> anyhow::Result<Value> {
    let body = json!({
        "properties": {}, "routing_key": "", "payload": payload, "payload_encoding": "string",
    });
    http.post("/exchanges/%2F/orders/publish", body)
}

#[test]
fn a_schema_holds_at_once_and_after_a_crash() {
    let mut broker = Broker::start().unwrap();
    let http = Http::new(&broker);
    http.put("/queues/%2F/q", json!({"durable": true})).unwrap();
    let exchange = json!({"type": "fanout", "durable": true});
    http.put("/exchanges/%2F/orders", exchange).unwrap();
    http.post("/bindings/%2F/e/orders/q/q", json!({"routing_key": ""}))
        .unwrap();
    assert_eq!(publish(&http, "no JSON").unwrap(), json!({"routed": true}));
    let schema = json!({"type": "object", "required": ["id"]});
    let parameter = "/parameters/json-schema/%2F/order";
    http.put(parameter, json!({"value": schema})).unwrap();
    let policy = json!({
        "pattern": "^orders$", "apply-to": "exchanges",
        "definition": {"schema-parameter": "order"},
    });
    http.put("/policies/%2F/p", policy).unwrap();
    for _ in 0..2 {
        let http = Http::new(&broker);
        assert_eq!(http.get(parameter).unwrap()["value"], schema);
        let fits = publish(&http, r#"{"id": 1}"#).unwrap();
        assert_eq!(fits, json!({"routed": true}));
        let refused = publish(&http, "{}").unwrap_err().to_string();
        assert!(refused.contains("rejected"), "{refused}");
        broker.kill().unwrap();
        broker.restart().unwrap();
    }
    let refused = Http::new(&broker).put(parameter, json!({"value": {"type": 5}}));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("not a valid JSON schema"), "{refused}");
}
