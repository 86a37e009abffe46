// Feature flags, deprecated features, plugins.
import { html } from "../lib/view.js";
import { call, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { attempt } from "../lib/toast.js";
import { useRights } from "../lib/session.js";
import { PlainTable } from "../lib/table.js";
import { Problem, State } from "../lib/parts.js";

export function Features() {
  const { administrator, monitor } = useRights();
  const flags = usePoll((signal) => get("feature-flags", undefined, signal), []);
  const deprecated = usePoll((signal) => get("deprecated-features", undefined, signal), []);
  const nodes = usePoll((signal) => (monitor ? get("nodes", { columns: "name,enabled_plugins" }, signal) : Promise.resolve([])), [monitor]);
  const enable = async (/** @type {string} */ name) => {
    await attempt("Enabled.", () => call("PUT", `${path("feature-flags", name)}/enable`));
    flags.reload();
  };
  const name = { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => row.name };
  const text = { name: "Description", fixed: true, cell: (/** @type {any} */ row) => row.desc };
  // What no row has is no column.
  const texts = (/** @type {any[]|undefined} */ rows) => (rows?.some((row) => row.desc) ? [text] : []);
  const isOff = (/** @type {any} */ row) => row.state !== "enabled";
  return html`<h1>Features and plugins</h1>
    <h2>Plugins</h2>
    ${(nodes.data ?? []).map((/** @type {any} */ node) => html`<p><b>${node.name}</b>: ${(node.enabled_plugins ?? []).join(", ") || "none"}</p>`)}
    <h2>Feature flags</h2><${Problem} error=${flags.error} />
    <${PlainTable} name="flags" rows=${flags.data} rowKey=${(/** @type {any} */ row) => row.name} empty="There are no feature flags: all features of this version are on." columns=${[name,
      { name: "State", fixed: true, sort: "state", cell: (/** @type {any} */ row) => html`<${State} state=${row.state} />` },
      { name: "Stability", fixed: true, sort: "stability", cell: (/** @type {any} */ row) => row.stability },
      { name: "Provided by", fixed: true, sort: "provided_by", cell: (/** @type {any} */ row) => row.provided_by },
      ...texts(flags.data),
      ...(administrator && flags.data?.some(isOff) ? [{ name: "Actions", fixed: true, cell: (/** @type {any} */ row) => isOff(row) && html`<button class="small" onClick=${() => enable(row.name)}>Enable</button>` }] : []),
    ]} />
    <h2>Deprecated features</h2><${Problem} error=${deprecated.error} />
    <${PlainTable} name="deprecated" rows=${deprecated.data} rowKey=${(/** @type {any} */ row) => row.name} empty="None." columns=${[name,
      { name: "State", fixed: true, cell: (/** @type {any} */ row) => row.state },
      { name: "Phase", fixed: true, cell: (/** @type {any} */ row) => row.deprecation_phase }, ...texts(deprecated.data),
    ]} />`;
}
