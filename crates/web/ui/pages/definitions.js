// Definitions: taken out as a file, brought in from one, with a look at what would change.
import { html, useRef, useState } from "../lib/view.js";
import { call, get, path, save as saveAs } from "../lib/api.js";
import { ask } from "../lib/dialog.js";
import { attempt, progress } from "../lib/toast.js";
import { jsonOf } from "../lib/forms.js";
import { Problem } from "../lib/parts.js";
import { number } from "../lib/format.js";
import { useVhosts } from "../lib/vhosts.js";

/** Kinds of objects, and what makes two of them the same object. */
const KINDS = /** @type {[string, string[]][]} */ ([
  ["users", ["name"]],
  ["vhosts", ["name"]],
  ["permissions", ["user", "vhost"]],
  ["topic_permissions", ["user", "vhost", "exchange"]],
  ["parameters", ["component", "vhost", "name"]],
  ["global_parameters", ["name"]],
  ["policies", ["vhost", "name"]],
  ["exchanges", ["vhost", "name"]],
  ["queues", ["vhost", "name"]],
  ["bindings", ["vhost", "source", "destination_type", "destination", "routing_key", "arguments"]],
]);

/**
 * What an import would do. It deletes nothing, so there are three cases.
 * @param {any} now
 * @param {any} file
 */
export function compareDefinitions(now, file) {
  return KINDS.map(([kind, parts]) => {
    const key = (/** @type {any} */ one) => JSON.stringify(parts.map((part) => one[part] ?? null));
    const known = new Map((now[kind] ?? []).map((/** @type {any} */ one) => [key(one), JSON.stringify(sorted(one))]));
    const sums = { kind, added: /** @type {string[]} */ ([]), changed: /** @type {string[]} */ ([]), same: 0 };
    for (const one of file[kind] ?? []) {
      const before = known.get(key(one));
      const label = parts.filter((part) => part !== "arguments").map((part) => one[part]).join(" ");
      if (before === undefined) sums.added.push(label);
      else if (before === JSON.stringify(sorted(one))) sums.same += 1;
      else sums.changed.push(label);
    }
    return sums;
  }).filter((sums) => sums.added.length + sums.changed.length + sums.same > 0);
}

/** The same value with its keys in order. @param {any} value @returns {any} */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
}

export function Definitions() {
  const { names: vhosts = [] } = useVhosts();
  const [scope, narrow] = useState("");
  const [file, read] = useState(/** @type {{name: string, content: any}|undefined} */ (undefined));
  const [changes, compare] = useState(/** @type {any[]} */ ([]));
  const [error, report] = useState(/** @type {Error|undefined} */ (undefined));
  const [over, hover] = useState(false);
  const turn = useRef(0);
  const source = scope === "" ? "definitions" : path("definitions", scope);

  const save = async () => {
    report(undefined);
    try {
      const all = await get(source);
      saveAs(new Blob([JSON.stringify(all, null, 2)], { type: "application/json" }), `definitions_${new Date().toISOString().slice(0, 10)}.json`);
    } catch (refused) {
      report(/** @type {Error} */ (refused));
    }
  };
  const open = async (/** @type {File|undefined} */ chosen) => {
    if (!chosen) return;
    const mine = ++turn.current;
    report(undefined);
    read(undefined);
    try {
      const content = jsonOf(await chosen.text(), chosen.name);
      const now = await get(source);
      // Another file, or something else to compare with, was chosen meanwhile.
      if (mine !== turn.current) return;
      compare(compareDefinitions(now, content));
      read({ name: chosen.name, content });
    } catch (refused) {
      if (mine === turn.current) report(/** @type {Error} */ (refused));
    }
  };
  const bring = async () => {
    const sure = await ask({ title: "Import these definitions?", text: "What exists and is in the file becomes as the file says. Nothing is deleted.", confirm: "Import", danger: false });
    if (sure === undefined || !file) return;
    const working = progress(`Importing ${file.name}…`);
    const brought = await attempt("Imported.", () => call("POST", source, file.content));
    working.end();
    if (brought) read(undefined);
  };
  return html`<h1>Definitions</h1>
    <p>Users, virtual hosts, permissions, parameters, policies, exchanges, queues and bindings, without messages.</p>
    <p><label class="inline">Of <select value=${scope} onChange=${(event) => ((turn.current += 1), narrow(event.target.value), read(undefined))}>
      <option value="">everything</option>${vhosts.map((one) => html`<option value=${one}>virtual host ${one}</option>`)}</select></label></p>
    <${Problem} error=${error} />
    <section class="card"><h2>Export</h2><button class="primary" onClick=${save}>Save as a file</button></section>
    <section class="card"><h2>Import</h2>
      <label class=${`drop${over ? " over" : ""}`}
        onDragOver=${(event) => (event.preventDefault(), hover(true))} onDragLeave=${() => hover(false)}
        onDrop=${(event) => (event.preventDefault(), hover(false), open(event.dataTransfer?.files[0]))}>
        Drop a file here, or choose one
        <input type="file" accept="application/json,.json" onChange=${(event) => open(event.target.files[0])} />
      </label>
      ${file && html`<h3 class="name">${file.name}</h3>
        <ul class="changes">${changes.map((sums) => html`<li><b>${sums.kind.replace("_", " ")}</b>: ${number(sums.added.length)} new, ${number(sums.changed.length)} changed, ${number(sums.same)} the same
          ${sums.added.length + sums.changed.length > 0 && html`<details><summary>Which</summary><ul>
            ${sums.added.slice(0, 200).map((/** @type {string} */ one) => html`<li class="added name">+ ${one}</li>`)}
            ${sums.changed.slice(0, 200).map((/** @type {string} */ one) => html`<li class="changed name">~ ${one}</li>`)}</ul></details>`}</li>`)}</ul>
        ${changes.length === 0 && html`<p class="problem">There are no definitions in this file.</p>`}
        <button class="primary" disabled=${changes.length === 0} onClick=${bring}>Import…</button>`}
    </section>`;
}
