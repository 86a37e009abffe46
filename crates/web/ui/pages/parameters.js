// Runtime parameters of components, and global ones.
import { html } from "../lib/view.js";
import { call, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { ask } from "../lib/dialog.js";
import { attempt, failed } from "../lib/toast.js";
import { Form, jsonOf } from "../lib/forms.js";
import { PlainTable } from "../lib/table.js";
import { Choose, Problem, Section } from "../lib/parts.js";
import { value } from "../lib/format.js";
import { useVhosts } from "../lib/vhosts.js";

export function Parameters() {
  const vhosts = useVhosts();
  const own = usePoll((signal) => get("parameters", undefined, signal), []);
  const global = usePoll((signal) => get("global-parameters", undefined, signal), []);
  const clear = async (/** @type {string} */ target, /** @type {any} */ row, /** @type {() => void} */ reload) => {
    if ((await ask({ title: `Clear the parameter ${row.name}?`, confirm: "Clear" })) === undefined) return;
    await attempt("Parameter cleared.", () => call("DELETE", target), async () => {
      await call("PUT", target, { value: row.value });
      reload();
    });
    reload();
  };
  const set = async (/** @type {string} */ target, /** @type {string} */ text, /** @type {() => void} */ reload) => {
    let parsed;
    try {
      parsed = jsonOf(text, "The value");
    } catch (error) {
      failed(error);
      return false;
    }
    const done = await attempt("Parameter set.", () => call("PUT", target, { value: parsed }));
    reload();
    return done;
  };
  const name = { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<span class="name">${row.name}</span>` };
  const shown = { name: "Value", fixed: true, cell: (/** @type {any} */ row) => html`<code>${value(row.value)}</code>` };
  return html`<h1>Parameters</h1>
    <h2>Runtime parameters</h2><${Problem} error=${own.error} />
    <${PlainTable} name="parameters" rows=${own.data} rowKey=${(/** @type {any} */ row) => `${row.vhost} ${row.component} ${row.name}`} empty="No parameters." columns=${[
      { name: "Virtual host", fixed: true, sort: "vhost", cell: (/** @type {any} */ row) => html`<span class="name">${row.vhost}</span>` },
      { name: "Component", fixed: true, sort: "component", cell: (/** @type {any} */ row) => row.component }, name, shown,
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => html`<button class="small" onClick=${() => clear(path("parameters", row.component, row.vhost, row.name), row, own.reload)}>Clear…</button>` },
    ]} />
    <${Section} title="Set a parameter"><${Choose} of=${vhosts}>${(/** @type {string[]} */ names) => html`<${Form} submit="Set parameter" onSubmit=${(/** @type {any} */ values) => set(path("parameters", values.component, values.vhost, values.name), values.value, own.reload)} fields=${[
      { name: "vhost", label: "Virtual host", kind: "select", options: names },
      { name: "component", label: "Component", required: true },
      { name: "name", label: "Name", required: true },
      { name: "value", label: "Value (JSON)", kind: "area", required: true },
    ]} />`}<//><//>
    <h2>Global parameters</h2><${Problem} error=${global.error} />
    <${PlainTable} name="global-parameters" rows=${global.data} rowKey=${(/** @type {any} */ row) => row.name} empty="No global parameters." columns=${[name, shown,
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => html`<button class="small" onClick=${() => clear(path("global-parameters", row.name), row, global.reload)}>Clear…</button>` },
    ]} />
    <${Section} title="Set a global parameter"><${Form} submit="Set global parameter" onSubmit=${(/** @type {any} */ values) => set(path("global-parameters", values.name), values.value, global.reload)} fields=${[
      { name: "name", label: "Name", required: true },
      { name: "value", label: "Value (JSON)", kind: "area", required: true },
    ]} /><//>`;
}
