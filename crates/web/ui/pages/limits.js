// Limits of virtual hosts and of users.
import { html } from "../lib/view.js";
import { call, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { attempt } from "../lib/toast.js";
import { useRights } from "../lib/session.js";
import { Form } from "../lib/forms.js";
import { PlainTable } from "../lib/table.js";
import { Choose, Problem, Section } from "../lib/parts.js";
import { number } from "../lib/format.js";
import { namesOf, useVhosts } from "../lib/vhosts.js";

const KINDS = {
  vhost: { source: "vhost-limits", title: "Virtual hosts", label: "Virtual host", limits: ["max-connections", "max-queues"] },
  user: { source: "user-limits", title: "Users", label: "User", limits: ["max-connections", "max-channels"] },
};

/** @param {{kind: "vhost"|"user", those: {names: string[]|undefined, error?: Error}}} props */
function LimitsOf({ kind, those }) {
  const { administrator } = useRights();
  const { source, title, label, limits } = KINDS[kind];
  const { data, error, reload } = usePoll((signal) => get(source, undefined, signal), [source]);
  const rows = data?.flatMap((/** @type {any} */ one) => Object.entries(one.value).map(([limit, value]) => ({ name: one[kind], limit, value })));
  const clear = async (/** @type {any} */ row) => {
    const own = path(source, row.name, row.limit);
    await attempt("Limit cleared.", () => call("DELETE", own), async () => {
      await call("PUT", own, { value: row.value });
      reload();
    });
    reload();
  };
  return html`<h2>${title}</h2><${Problem} error=${error} />
    <${PlainTable} name=${source} filter=${["name", "limit"]} rows=${rows} rowKey=${(/** @type {any} */ row) => `${row.name} ${row.limit}`} empty="No limits." columns=${[
      { name: label, fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<span class="name">${row.name}</span>` },
      { name: "Limit", fixed: true, sort: "limit", cell: (/** @type {any} */ row) => row.limit },
      { name: "Value", fixed: true, figure: true, sort: "value", cell: (/** @type {any} */ row) => (row.value < 0 ? "unlimited" : number(row.value)) },
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => administrator && html`<button class="small" onClick=${() => clear(row)}>Clear</button>` },
    ]} />
    ${administrator && html`<${Section} title=${`Set a limit for a ${label.toLowerCase()}`}><${Choose} of=${those}>${(/** @type {string[]} */ names) => html`<${Form} submit="Set limit" onSubmit=${async (/** @type {any} */ values) => {
      const set = await attempt("Limit set.", () => call("PUT", path(source, values.name, values.limit), { value: Number(values.value) }));
      reload();
      return set;
    }} fields=${[
      { name: "name", label, kind: "select", options: names },
      { name: "limit", label: "Limit", kind: "select", options: limits },
      { name: "value", label: "Value", kind: "number", required: true, hint: "a negative number means no limit" },
    ]} />`}<//><//>`}`;
}

export function Limits() {
  const { administrator } = useRights();
  const vhosts = useVhosts();
  const users = usePoll((signal) => (administrator ? get("users", { columns: "name" }, signal) : Promise.resolve([])), [administrator]);
  return html`<h1>Limits</h1>
    <${LimitsOf} kind="vhost" those=${vhosts} />
    ${administrator && html`<${LimitsOf} kind="user" those=${{ names: namesOf(users.data), error: users.error }} />`}`;
}
