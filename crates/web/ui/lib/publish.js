// A form that publishes one message.
import { html } from "./view.js";
import { call, path } from "./api.js";
import { done, failed } from "./toast.js";
import { Form, argumentsOf } from "./forms.js";

const PROPERTIES = [
  "content_type", "content_encoding", "priority", "correlation_id", "reply_to", "expiration", "message_id", "timestamp", "type",
  "user_id", "app_id",
].map((name) => ({ name, type: ["priority", "timestamp"].includes(name) ? "Number" : "String" }));

/** @param {{vhost: string, exchange: string, routingKey?: string, reload: () => void}} props */
export function PublishForm({ vhost, exchange, routingKey, reload }) {
  const fields = /** @type {import("./forms.js").Field[]} */ ([
    ...(routingKey === undefined ? [{ name: "key", label: "Routing key" }] : []),
    { name: "persistent", label: "Delivery mode", kind: "select", options: [["2", "persistent"], ["1", "not persistent"]] },
    { name: "encoding", label: "Payload is", kind: "select", options: [["string", "text"], ["base64", "base64"]] },
    { name: "headers", label: "Headers", kind: "arguments" },
    { name: "properties", label: "Properties", kind: "arguments", suggestions: PROPERTIES },
    { name: "payload", label: "Payload", kind: "area" },
  ]);
  const publish = async (/** @type {any} */ values) => {
    try {
      const properties = { ...argumentsOf(values.properties), delivery_mode: Number(values.persistent) };
      const headers = argumentsOf(values.headers);
      const answer = await call("POST", `${path("exchanges", vhost, exchange === "" ? "amq.default" : exchange)}/publish`, {
        properties: Object.keys(headers).length > 0 ? { ...properties, headers } : properties,
        routing_key: routingKey ?? values.key,
        payload: values.payload,
        payload_encoding: values.encoding,
      });
      if (answer.routed) done("Published and routed.");
      else failed(new Error("Published, but no queue takes it: it is gone."));
      reload();
    } catch (error) {
      failed(error);
    }
    return false;
  };
  return html`<${Form} fields=${fields} submit="Publish" onSubmit=${publish} keepValues=${true} />`;
}
