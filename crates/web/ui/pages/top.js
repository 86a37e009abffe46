// What keeps a node busy: its tasks, the busiest first.
import { html } from "../lib/view.js";
import { get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { refine, useRoute } from "../lib/route.js";
import { PlainTable } from "../lib/table.js";
import { Problem, Waiting } from "../lib/parts.js";
import { bytes, number, value } from "../lib/format.js";
import { isOff } from "./traces.js";

/** Rows that are asked for. */
const ROWS = [20, 50, 100];
/** Microseconds of a processor in a second that is all work, in hundredths. */
const PERCENT = 10_000;
/** Figures of a task, what people call them, and whether they are worth a column where all are 0. */
const FIGURES = /** @type {[string, string, (figure: any) => string, boolean][]} */ ([
  ["reduction_delta", "Of a core", (used) => `${number(Math.round((used / PERCENT) * 10) / 10)} %`, true],
  ["reductions", "Worked", (used) => `${number(Math.round(used / 1000) / 1000)} s`, true],
  ["memory", "Memory", bytes, false],
  ["message_queue_len", "Waiting", number, false],
]);

export function Top() {
  const { query } = useRoute();
  const nodes = usePoll((signal) => get("nodes", { columns: "name" }, signal), []);
  const node = query.node ?? nodes.data?.[0]?.name;
  const rows = Number(query.rows ?? ROWS[0]);
  const { data, error } = usePoll((signal) => (node === undefined ? Promise.resolve(undefined) : get(path("top", node), { row_count: rows }, signal)), [node, rows]);
  if (isOff(error)) return html`<h1>Top</h1><p class="empty">The plugin rabbitmq_top is off.</p><pre class="payload" tabindex="0">rabbitmq-plugins enable rabbitmq_top</pre>`;
  if (!data) return html`<h1>Top</h1><${Waiting} error=${error ?? nodes.error} />`;
  const processes = data.processes ?? [];
  const shown = FIGURES.filter(([field, , , always]) => always || processes.some((/** @type {any} */ one) => one[field] > 0));
  return html`<h1>Top</h1><${Problem} error=${error} />
    <div class="table-tools">
      <label class="inline">Node <select value=${node} onChange=${(event) => refine({ node: event.target.value })}>
        ${(nodes.data ?? []).map((/** @type {any} */ one) => html`<option value=${one.name}>${one.name}</option>`)}</select></label>
      <label class="inline">Rows <select value=${rows} onChange=${(event) => refine({ rows: event.target.value })}>
        ${ROWS.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
    </div>
    <${PlainTable} name="top" rows=${processes} rowKey=${(/** @type {any} */ row) => row.pid} empty="Nothing runs." columns=${[
      { name: "Task", fixed: true, sort: "name.name", cell: (/** @type {any} */ row) => html`<span class="name">${nameOf(row)}</span> <small>${row.name?.supertype}</small>` },
      ...shown.map(([field, name, show]) => ({ name, figure: true, sort: field, cell: (/** @type {any} */ row) => show(row[field]) })),
      { name: "State", cell: (/** @type {any} */ row) => row.status ?? "–" },
    ]} />`;
}

/** @param {any} row */
const nameOf = (row) => value(row.name?.name ?? row.name);
