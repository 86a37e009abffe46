// Consumers of all queues; and how consumers are shown on the pages of queues and channels.
import { html } from "../lib/view.js";
import { path } from "../lib/api.js";
import { PagedTable } from "../lib/table.js";
import { Arguments, Link, State } from "../lib/parts.js";
import { number } from "../lib/format.js";

/** @param {"queue"|"channel"|"all"} of @returns {import("../lib/table.js").Column[]} */
export function consumerColumns(of) {
  const channel = { name: "Channel", fixed: true, cell: (/** @type {any} */ row) => html`<${Link} to=${["channels", row.channel_details?.name ?? ""]}>${row.channel_details?.name}<//>` };
  const queue = { name: "Queue", fixed: true, sort: "queue.name", cell: (/** @type {any} */ row) => html`<${Link} to=${["queues", row.queue?.vhost ?? "", row.queue?.name ?? ""]}>${row.queue?.name}<//>` };
  const vhost = { name: "Virtual host", sort: "queue.vhost", cell: (/** @type {any} */ row) => html`<span class="name">${row.queue?.vhost}</span>` };
  return [
    ...(of === "all" ? [vhost, queue, channel] : of === "queue" ? [channel] : [queue]),
    { name: "Consumer tag", fixed: true, sort: "consumer_tag", cell: (row) => html`<span class="name">${row.consumer_tag}</span>` },
    { name: "Acks", cell: (row) => (row.ack_required ? "required" : "automatic") },
    { name: "Exclusive", cell: (row) => (row.exclusive ? "yes" : "no") },
    { name: "Prefetch", figure: true, sort: "prefetch_count", cell: (row) => number(row.prefetch_count) },
    { name: "Active", cell: (row) => (row.active ? "yes" : "no") },
    { name: "Status", cell: (row) => html`<${State} state=${row.activity_status} />` },
    { name: "Arguments", cell: (row) => html`<${Arguments} of=${row.arguments} />` },
  ];
}

export function Consumers() {
  return html`<h1>Consumers</h1>
    <${PagedTable} name="consumers" source=${(/** @type {string|undefined} */ vhost) => (vhost ? path("consumers", vhost) : "consumers")} columns=${consumerColumns("all")}
      rowKey=${(/** @type {any} */ row) => `${row.channel_details?.name} ${row.consumer_tag}`} empty="No consumers." />`;
}
