// Permissions in tables, of one user or of one virtual host.
import { html } from "./view.js";
import { call, path } from "./api.js";
import { attempt } from "./toast.js";
import { PlainTable } from "./table.js";
import { Link } from "./parts.js";

const pattern = (/** @type {string} */ name, /** @type {string} */ field) => ({ name, fixed: true, cell: (/** @type {any} */ row) => html`<code>${row[field]}</code>` });

/** @param {"user"|"vhost"} other */
const whose = (other) => ({
  name: other === "user" ? "User" : "Virtual host",
  fixed: true,
  sort: other,
  cell: (/** @type {any} */ row) => html`<${Link} to=${[other === "user" ? "users" : "vhosts", row[other]]}>${row[other]}<//>`,
});

/** @param {{rows: any[]|undefined, other: "user"|"vhost", reload: () => void}} props */
export function PermissionTable({ rows, other, reload }) {
  const clear = async (/** @type {any} */ row) => {
    const own = path("permissions", row.vhost, row.user);
    const back = async () => {
      await call("PUT", own, { configure: row.configure, write: row.write, read: row.read });
      reload();
    };
    await attempt("Permission cleared.", () => call("DELETE", own), back);
    reload();
  };
  return html`<${PlainTable} name="permissions" rows=${rows} rowKey=${(/** @type {any} */ row) => `${row.vhost} ${row.user}`}
    empty=${other === "user" ? "Nobody may enter." : "No permissions: this user can enter no virtual host."} columns=${[
      whose(other), pattern("Configure", "configure"), pattern("Write", "write"), pattern("Read", "read"),
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => html`<button class="small" onClick=${() => clear(row)}>Clear</button>` },
    ]} />`;
}

/** @param {{rows: any[]|undefined, other: "user"|"vhost", reload: () => void}} props */
export function TopicPermissionTable({ rows, other, reload }) {
  const clear = async (/** @type {any} */ row) => {
    const own = path("topic-permissions", row.vhost, row.user);
    const back = async () => {
      await call("PUT", own, { exchange: row.exchange, write: row.write, read: row.read });
      reload();
    };
    await attempt("Topic permission cleared.", () => call("DELETE", `${own}/${encodeURIComponent(row.exchange)}`), back);
    reload();
  };
  return html`<${PlainTable} name="topic-permissions" rows=${rows} rowKey=${(/** @type {any} */ row) => `${row.vhost} ${row.user} ${row.exchange}`}
    empty="No topic permissions: all routing keys may be used." columns=${[
      whose(other),
      { name: "Exchange", fixed: true, sort: "exchange", cell: (/** @type {any} */ row) => html`<span class="name">${row.exchange}</span>` },
      pattern("Write", "write"), pattern("Read", "read"),
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => html`<button class="small" onClick=${() => clear(row)}>Clear</button>` },
    ]} />`;
}
