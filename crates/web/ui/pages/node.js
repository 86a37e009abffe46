// One node: its limits, its memory, what runs on it.
import { html } from "../lib/view.js";
import { get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { RangePicker, nodeCharts, useRange } from "../lib/chart.js";
import { PlainTable } from "../lib/table.js";
import { Facts, Figure, Problem, Section, State, Waiting } from "../lib/parts.js";
import { bytes, duration, number } from "../lib/format.js";

/** What people call the parts that the API names after RabbitMQ's. @type {Record<string, string>} */
const PARTS = {
  connection_readers: "Connections: reading", connection_writers: "Connections: writing", connection_channels: "Channels",
  connection_other: "Connections", queue_procs: "Classic queues", quorum_queue_procs: "Quorum queues", stream_queue_procs: "Streams",
  metadata_store: "Metadata", metadata_store_ets: "Metadata tables", mgmt_db: "Statistics", metrics: "Metrics", plugins: "Plugins",
  binary: "Log, with what waits to be written", msg_index: "Index of the log", code: "Program and mapped files", other_proc: "Other",
  other_ets: "Other tables", other_system: "Other of the system", allocated_unused: "Allocated, not used", reserved_unallocated: "Reserved, not allocated",
};

/** @param {{of: any}} props */
function Totals({ of }) {
  const total = of?.total ?? {};
  return html`<p class="muted">${[
    ["Resident", total.rss],
    ["Allocated", total.allocated],
    ["Runtime", total.erlang],
  ].filter(([, size]) => typeof size === "number").map(([name, size]) => `${name} ${bytes(size)}`).join(" · ")}${of?.strategy && ` · measured by ${of.strategy}`}</p>`;
}

/** @param {{parts: string[]}} props */
export function Node({ parts: [name] }) {
  const { range, query } = useRange();
  const { data, error } = usePoll((signal) => get(path("nodes", name), query, signal), [name, range.name]);
  const memory = usePoll((signal) => get(`${path("nodes", name)}/memory`, undefined, signal), [name]);
  if (!data) return html`<h1>Node <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const parts = Object.entries(memory.data?.memory ?? {}).filter(([, size]) => typeof size === "number" && size > 0);
  const sum = parts.reduce((total, [, size]) => total + /** @type {number} */ (size), 0);
  return html`<div class="title"><h1>Node <span class="name">${name}</span></h1><${State} state=${data.running ? "running" : "down"} /><span class="spacer"></span><${RangePicker} /></div>
    <${Problem} error=${error} />
    <div class="figures">
      <${Figure} name=${`Memory of ${bytes(data.mem_limit)}`} bad=${data.mem_alarm}>${bytes(data.mem_used)}<//>
      <${Figure} name=${`Disk free, limit ${bytes(data.disk_free_limit)}`} bad=${data.disk_free_alarm}>${bytes(data.disk_free)}<//>
      <${Figure} name=${`File descriptors of ${number(data.fd_total)}`}>${number(data.fd_used)}<//>
      <${Figure} name=${`Sockets of ${number(data.sockets_total)}`}>${number(data.sockets_used)}<//>
      <${Figure} name="Uptime">${duration(data.uptime)}<//>
    </div>
    <div class="charts">${nodeCharts(data)}</div>
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Process", data.os_pid],
      ["Cores", number(data.processors)],
      ["Data directory", html`<code>${data.db_dir}</code>`],
      ["Configuration files", (data.config_files ?? []).join(", ")],
      ["Logs", (data.log_files ?? []).join(", ")],
      ["Rates", data.rates_mode],
      ["Plugins", (data.enabled_plugins ?? []).join(", ")],
    ]} /><//>
    <${Section} title="Memory" open=${true}>
      <${Problem} error=${memory.error} />
      <ul class="bars">${parts
        .sort(([, a], [, b]) => /** @type {number} */ (b) - /** @type {number} */ (a))
        .map(([part, size]) => html`<li><span title=${part}>${PARTS[part] ?? part}</span>
          <meter aria-label=${part} min="0" max=${sum} value=${size}></meter><b>${bytes(/** @type {number} */ (size))}</b></li>`)}</ul>
      <${Totals} of=${memory.data?.memory} />
    <//>
    <${Section} title="Authentication mechanisms"><${Named} name="mechanisms" rows=${data.auth_mechanisms} /><//>
    <${Section} title="Exchange types"><${Named} name="exchange-types" rows=${data.exchange_types} /><//>
    <${Section} title="Applications"><${Named} name="applications" rows=${data.applications} /><//>`;
}

/** @param {{name: string, rows: any[]}} props */
function Named({ name, rows }) {
  return html`<${PlainTable} name=${name} rows=${rows} rowKey=${(/** @type {any} */ row) => row.name} empty="None." columns=${[
    { name: "Name", sort: "name", fixed: true, cell: (/** @type {any} */ row) => row.name },
    { name: "Description", fixed: true, cell: (/** @type {any} */ row) => row.description },
    { name: "Version", fixed: true, cell: (/** @type {any} */ row) => row.version ?? "" },
  ]} />`;
}
