// Connections, and one of them.
import { html } from "../lib/view.js";
import { call, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { departure } from "../lib/route.js";
import { Chart, RangePicker, useRange } from "../lib/chart.js";
import { ask } from "../lib/dialog.js";
import { attempt } from "../lib/toast.js";
import { doEach } from "../lib/work.js";
import { PagedTable, PlainTable } from "../lib/table.js";
import { Facts, Figure, Link, Problem, Section, State, Waiting } from "../lib/parts.js";
import { bytes, number, rateOf, time, value } from "../lib/format.js";
import { channelColumns } from "./channels.js";

const traffic = (/** @type {number|undefined} */ perSecond) => `${bytes(perSecond ?? 0)}/s`;

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "Name", fixed: true, sort: "name", cell: (row) => html`<div class="peers"><${Link} to=${["connections", row.name]}>${row.name}<//>
      ${row.user_provided_name && html`<small class="name">${row.user_provided_name}</small>`}</div>` },
  { name: "Virtual host", sort: "vhost", cell: (row) => html`<span class="name">${row.vhost}</span>` },
  { name: "User", sort: "user", cell: (row) => html`<span class="name">${row.user}</span>` },
  { name: "State", sort: "state", cell: (row) => html`<${State} state=${row.state} />` },
  { name: "TLS", sort: "ssl", cell: (row) => (row.ssl ? (row.ssl_protocol ?? "yes") : "–") },
  { name: "Protocol", sort: "protocol", cell: (row) => html`<span class="short">${row.protocol}</span>` },
  { name: "Channels", figure: true, sort: "channels", cell: (row) => number(row.channels) },
  { name: "From client", figure: true, sort: "recv_oct_details.rate", cell: (row) => traffic(rateOf(row, "recv_oct")) },
  { name: "To client", figure: true, sort: "send_oct_details.rate", cell: (row) => traffic(rateOf(row, "send_oct")) },
  { name: "Client", cell: (row) => clientOf(row.client_properties) },
  { name: "Since", sort: "connected_at", hidden: true, cell: (row) => time(row.connected_at) },
  { name: "Node", sort: "node", hidden: true, cell: (row) => row.node },
  { name: "Mechanism", sort: "auth_mechanism", hidden: true, cell: (row) => row.auth_mechanism },
  { name: "Heartbeat", figure: true, sort: "timeout", hidden: true, cell: (row) => `${row.timeout} s` },
];

/** @param {any} properties */
function clientOf(properties) {
  return [properties?.product, properties?.version].filter((part) => typeof part === "string").join(" ") || "–";
}

export function Connections() {
  return html`<h1>Connections</h1>
    <${PagedTable} name="connections" source=${(/** @type {string|undefined} */ vhost) => (vhost ? `${path("vhosts", vhost)}/connections` : "connections")} columns=${COLUMNS} rowKey=${(/** @type {any} */ row) => row.name}
      empty="Nobody is connected."
      selectable=${{
        actions: (/** @type {any[]} */ rows, /** @type {() => void} */ done) => html`<button class="danger"
          onClick=${async () => {
            const reason = await ask({ title: `Close ${rows.length} connections?`, text: "Their clients are told the reason. Most connect again at once.", confirm: "Close them", field: { label: "Reason", value: "Closed via management plugin" } });
            if (reason === undefined) return;
            await doEach(rows, "connections closed", (row) => call("DELETE", path("connections", row.name), undefined, { reason }));
            done();
          }}>Close…</button>`,
      }} />`;
}

/** @param {string|undefined} host @param {number|undefined} port */
const peer = (host, port) => (host === undefined ? null : html`<code>${host.includes(":") ? `[${host}]` : host}:${port}</code>`);

/** @param {{parts: string[]}} props */
export function Connection({ parts: [name] }) {
  const { range, query } = useRange();
  const { data, error } = usePoll((signal) => get(path("connections", name), query, signal), [name, range.name]);
  const channels = usePoll((signal) => get(`${path("connections", name)}/channels`, undefined, signal), [name]);
  if (!data) return html`<h1>Connection <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const close = async () => {
    const leave = departure();
    const reason = await ask({ title: "Close this connection?", text: "The client is told the reason.", confirm: "Close it", field: { label: "Reason", value: "Closed via management plugin" } });
    if (reason === undefined) return;
    if (await attempt("Connection closed.", () => call("DELETE", path("connections", name), undefined, { reason }))) leave("#/connections");
  };
  const line = (/** @type {string} */ label, /** @type {string} */ field) => ({ label, samples: data[`${field}_details`]?.samples, now: rateOf(data, field) ?? 0 });
  return html`<div class="title"><h1>Connection <span class="name">${name}</span></h1><${State} state=${data.state} />
      <span class="spacer"></span><${RangePicker} /><button class="danger" onClick=${close}>Close…</button></div>
    <${Problem} error=${error} />
    <div class="figures">
      <${Figure} name="From client">${traffic(rateOf(data, "recv_oct"))}<//>
      <${Figure} name="To client">${traffic(rateOf(data, "send_oct"))}<//>
      <${Figure} name="Received">${bytes(data.recv_oct)}<//>
      <${Figure} name="Sent">${bytes(data.send_oct)}<//>
      <${Figure} name="Channels">${number(data.channels)}<//>
    </div>
    <div class="charts"><${Chart} title="Data rates" growth=${true} format=${traffic} lines=${[line("From client", "recv_oct"), line("To client", "send_oct")]} /></div>
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Name given by the client", data.user_provided_name && html`<span class="name">${data.user_provided_name}</span>`],
      ["User", html`<span class="name">${data.user}</span>`],
      ["Virtual host", html`<span class="name">${data.vhost}</span>`],
      ["From", peer(data.peer_host, data.peer_port)],
      ["To", peer(data.host, data.port)],
      ["Protocol", data.protocol],
      ["Mechanism", data.auth_mechanism],
      ["Connected at", time(data.connected_at)],
      ["Heartbeat", `${data.timeout} s`],
      ["Frame max", bytes(data.frame_max)],
      ["Channel limit", number(data.channel_max)],
      ["Node", data.node],
    ]} /><//>
    ${data.ssl && html`<${Section} title="TLS" open=${true}><${Facts} rows=${[
      ["Version", data.ssl_protocol],
      ["Cipher", data.ssl_cipher],
      ["Subject", html`<span class="name">${data.peer_cert_subject}</span>`],
      ["Issuer", html`<span class="name">${data.peer_cert_issuer}</span>`],
      ["Valid", data.peer_cert_validity],
    ]} /><//>`}
    <${Section} title="Channels" open=${true}>
      <${PlainTable} name="connection-channels" rows=${channels.data} columns=${channelColumns()} rowKey=${(/** @type {any} */ row) => row.name} empty="No channels." />
    <//>
    <${Section} title="Client properties"><${Facts} rows=${Object.entries(data.client_properties ?? {}).map(([key, one]) => [key, html`<span class="name">${value(one)}</span>`])} /><//>`;
}
