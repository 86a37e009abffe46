// One node: its limits, its memory, what runs on it.
import { html } from "../lib/view.js";
import { get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { PlainTable } from "../lib/table.js";
import { Facts, Figure, Problem, Section, State, Waiting } from "../lib/parts.js";
import { bytes, duration, number } from "../lib/format.js";

/** @param {{parts: string[]}} props */
export function Node({ parts: [name] }) {
  const { data, error } = usePoll((signal) => get(path("nodes", name), undefined, signal), [name]);
  const memory = usePoll((signal) => get(`${path("nodes", name)}/memory`, undefined, signal), [name]);
  if (!data) return html`<h1>Node <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const parts = Object.entries(memory.data?.memory ?? {}).filter(([, size]) => typeof size === "number" && size > 0);
  const sum = parts.reduce((total, [, size]) => total + /** @type {number} */ (size), 0);
  return html`<div class="title"><h1>Node <span class="name">${name}</span></h1><${State} state=${data.running ? "running" : "down"} /></div>
    <${Problem} error=${error} />
    <div class="figures">
      <${Figure} name=${`Memory of ${bytes(data.mem_limit)}`} bad=${data.mem_alarm}>${bytes(data.mem_used)}<//>
      <${Figure} name=${`Disk free, limit ${bytes(data.disk_free_limit)}`} bad=${data.disk_free_alarm}>${bytes(data.disk_free)}<//>
      <${Figure} name=${`File descriptors of ${number(data.fd_total)}`}>${number(data.fd_used)}<//>
      <${Figure} name=${`Sockets of ${number(data.sockets_total)}`}>${number(data.sockets_used)}<//>
      <${Figure} name="Uptime">${duration(data.uptime)}<//>
    </div>
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
        .map(([part, size]) => html`<li><span>${part}</span>
          <meter aria-label=${part} min="0" max=${sum} value=${size}></meter><b>${bytes(/** @type {number} */ (size))}</b></li>`)}</ul>
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
