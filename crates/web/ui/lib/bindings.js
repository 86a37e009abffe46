// Bindings of an exchange or a queue: shown, added, taken away.
import { html } from "./view.js";
import { call, path } from "./api.js";
import { ask } from "./dialog.js";
import { attempt, failed } from "./toast.js";
import { Form, argumentsOf } from "./forms.js";
import { Arguments, Link, exchangeName } from "./parts.js";
import { PlainTable } from "./table.js";

/**
 * @typedef {{source: string, vhost: string, destination: string, destination_type: "queue"|"exchange",
 *   routing_key: string, arguments: any, properties_key: string}} Binding
 */

/** The address of a binding without its key. @param {Binding} binding */
const between = (binding) =>
  path("bindings", binding.vhost, "e", binding.source, binding.destination_type === "queue" ? "q" : "e", binding.destination);

/**
 * @param {{rows: Binding[]|undefined, side: "source"|"destination", reload: () => void, name: string}} props
 *   side: which end is of interest, the other being the page's own object
 */
export function BindingTable({ rows, side, reload, name }) {
  const unbind = async (/** @type {Binding} */ binding) => {
    const sure = await ask({
      title: "Remove this binding?",
      text: `Messages with the key “${binding.routing_key}” will no longer go from ${exchangeName(binding.source)} to ${binding.destination}.`,
      confirm: "Unbind",
    });
    if (sure === undefined) return;
    await attempt(
      "Binding removed.",
      () => call("DELETE", `${between(binding)}/${encodeURIComponent(binding.properties_key)}`),
      async () => {
        await call("POST", between(binding), { routing_key: binding.routing_key, arguments: binding.arguments });
        reload();
      },
    );
    reload();
  };
  const other =
    side === "source"
      ? { name: "From", fixed: true, sort: "source", cell: (/** @type {Binding} */ row) =>
          row.source === "" ? html`<span class="muted">(default exchange)</span>` : html`<${Link} to=${["exchanges", row.vhost, row.source]}>${row.source}<//>` }
      : { name: "To", fixed: true, sort: "destination", cell: (/** @type {Binding} */ row) =>
          html`<${Link} to=${[row.destination_type === "queue" ? "queues" : "exchanges", row.vhost, row.destination]}>${row.destination}<//> <small>${row.destination_type}</small>` };
  return html`<${PlainTable} name=${name} still=${true} rows=${rows} rowKey=${(/** @type {Binding} */ row) => `${row.source} ${row.destination_type} ${row.destination} ${row.properties_key}`}
    empty="No bindings." columns=${[
      other,
      { name: "Routing key", fixed: true, sort: "routing_key", cell: (/** @type {Binding} */ row) => html`<span class="name">${row.routing_key}</span>` },
      { name: "Arguments", fixed: true, cell: (/** @type {Binding} */ row) => html`<${Arguments} of=${row.arguments} />` },
      { name: "Actions", fixed: true, cell: (/** @type {Binding} */ row) => row.source !== "" && html`<button class="small" onClick=${() => unbind(row)}>Unbind…</button>` },
    ]} />`;
}

/**
 * @param {{vhost: string, source?: string, queue?: string, reload: () => void}} props
 *   either from an exchange to something, or to a queue from some exchange
 */
export function BindForm({ vhost, source, queue, reload }) {
  const fields = /** @type {import("./forms.js").Field[]} */ ([
    ...(source !== undefined
      ? [
          { name: "kind", label: "To", kind: "select", options: [["q", "queue"], ["e", "exchange"]] },
          { name: "other", label: "Name", required: true },
        ]
      : [{ name: "other", label: "From exchange", required: true }]),
    { name: "key", label: "Routing key" },
    { name: "arguments", label: "Arguments", kind: "arguments" },
  ]);
  const bind = async (/** @type {any} */ values) => {
    let table;
    try {
      table = argumentsOf(values.arguments);
    } catch (error) {
      failed(error);
      return false;
    }
    const target =
      source !== undefined
        ? path("bindings", vhost, "e", source, values.kind, values.other)
        : path("bindings", vhost, "e", values.other, "q", queue ?? "");
    const bound = await attempt("Bound.", () => call("POST", target, { routing_key: values.key, arguments: table }));
    if (bound) reload();
    return bound;
  };
  return html`<${Form} fields=${fields} submit="Bind" onSubmit=${bind} />`;
}
