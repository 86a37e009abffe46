// Users, and one of them: password, tags, permissions, limits.
import { html } from "../lib/view.js";
import { call, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { departure } from "../lib/route.js";
import { ask } from "../lib/dialog.js";
import { attempt } from "../lib/toast.js";
import { Form } from "../lib/forms.js";
import { PlainTable } from "../lib/table.js";
import { Arguments, Choose, Facts, Link, Problem, Section, Waiting } from "../lib/parts.js";
import { useVhosts } from "../lib/vhosts.js";
import { PermissionTable, TopicPermissionTable } from "../lib/permissions.js";

const TAGS = "administrator, monitoring, policymaker, management, impersonator, or any word";

/** @param {string} text */
const split = (text) => text.split(",").map((tag) => tag.trim()).filter((tag) => tag !== "");

/**
 * What is sent for a user.
 * @param {any} values
 */
function bodyOf(values) {
  const body = /** @type {any} */ ({ tags: split(values.tags) });
  if (values.login === "password") body.password = values.password;
  if (values.login === "hash") body.password_hash = values.hash;
  if (values.login === "none") body.password_hash = "";
  return body;
}

/** @param {string} tags @returns {import("../lib/forms.js").Field[]} */
const LOGIN = (tags) => [
  { name: "login", label: "Logs in with", kind: "select", options: [["password", "password"], ["hash", "hashed password"], ["none", "no password"]] },
  { name: "password", label: "Password", kind: "password", when: (values) => values.login === "password", required: true },
  { name: "hash", label: "Password hash", when: (values) => values.login === "hash", required: true, hint: "base64 of salt and SHA-256, as in definitions" },
  { name: "tags", label: "Tags", value: tags, hint: TAGS },
];

export function Users() {
  const { data, error, reload } = usePoll((signal) => get("users", undefined, signal), []);
  const permissions = usePoll((signal) => get("permissions", undefined, signal), []);
  const add = async (/** @type {any} */ values) => {
    const leave = departure();
    const added = await attempt(`User ${values.name} is there. Give it permissions next.`, () => call("PUT", path("users", values.name), bodyOf(values)));
    if (added) leave(`#/users/${encodeURIComponent(values.name)}`);
    return added;
  };
  const enters = (/** @type {string} */ user) => (permissions.data ?? []).filter((/** @type {any} */ one) => one.user === user).map((/** @type {any} */ one) => one.vhost);
  return html`<h1>Users</h1><${Problem} error=${error} />
    <${PlainTable} name="users" filter=${["name", "tags"]} rows=${data} rowKey=${(/** @type {any} */ row) => row.name} empty="No users." columns=${[
      { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<${Link} to=${["users", row.name]}>${row.name}<//>` },
      { name: "Tags", fixed: true, cell: (/** @type {any} */ row) => html`<span class="name">${(row.tags ?? []).join(", ")}</span>` },
      { name: "Virtual hosts", fixed: true, cell: (/** @type {any} */ row) => html`<span class="name">${enters(row.name).join(", ") || html`<b class="warn">none</b>`}</span>` },
      { name: "Password", fixed: true, cell: (/** @type {any} */ row) => (row.password_hash ? "yes" : "none") },
    ]} />
    <${Section} title="Add a user"><${Form} submit="Add user" onSubmit=${(/** @type {any} */ values) => add(values).finally(reload)} fields=${[
      { name: "name", label: "Name", required: true },
      ...LOGIN(""),
    ]} /><//>`;
}

/** @param {{parts: string[]}} props */
export function User({ parts: [name] }) {
  const own = path("users", name);
  const vhosts = useVhosts();
  const { data, error, reload } = usePoll((signal) => get(own, undefined, signal), [own]);
  const permissions = usePoll((signal) => get(`${own}/permissions`, undefined, signal), [own]);
  const topics = usePoll((signal) => get(`${own}/topic-permissions`, undefined, signal), [own]);
  const limits = usePoll((signal) => get(path("user-limits", name), undefined, signal), [name]);
  if (!data) return html`<h1>User <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const remove = async () => {
    const leave = departure();
    if ((await ask({ title: "Delete this user?", text: "Its permissions go with it.", confirm: "Delete", word: name })) === undefined) return;
    // As they are now, and not as they were at the last look.
    const those = await Promise.all([get(`${own}/permissions`), get(`${own}/topic-permissions`), get(path("user-limits", name))]).catch(() => undefined);
    const back = those && (async () => {
      const [permissions, topics, limits] = those;
      await call("PUT", own, { tags: data.tags, password_hash: data.password_hash, hashing_algorithm: data.hashing_algorithm });
      for (const { vhost, configure, write, read } of permissions) await call("PUT", path("permissions", vhost, name), { configure, write, read });
      for (const { vhost, exchange, write, read } of topics) await call("PUT", path("topic-permissions", vhost, name), { exchange, write, read });
      for (const { value } of limits) for (const limit of Object.keys(value)) await call("PUT", path("user-limits", name, limit), { value: value[limit] });
    });
    if (await attempt("User deleted.", () => call("DELETE", own), back)) leave("#/users");
  };
  return html`<div class="title"><h1>User <span class="name">${name}</span></h1><span class="spacer"></span><button class="danger" onClick=${remove}>Delete…</button></div>
    <${Problem} error=${error} />
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Tags", html`<span class="name">${(data.tags ?? []).join(", ")}</span>`],
      ["Logs in with a password", data.password_hash ? "yes" : "no"],
      ["Hashing algorithm", data.hashing_algorithm],
      ["Limits", limits.data?.length ? html`<${Arguments} of=${limits.data[0].value} />` : null],
    ]} /><//>
    <${Section} title="Permissions" open=${true}>
      <${PermissionTable} rows=${permissions.data} other="vhost" reload=${permissions.reload} />
      <h3>Set a permission</h3><${Choose} of=${vhosts}>${(/** @type {string[]} */ names) => html`<${Form} submit="Set permission" onSubmit=${async (/** @type {any} */ values) => {
        const set = await attempt("Permission set.", () => call("PUT", path("permissions", values.vhost, name), { configure: values.configure, write: values.write, read: values.read }));
        permissions.reload();
        return set;
      }} fields=${[
        { name: "vhost", label: "Virtual host", kind: "select", options: names },
        { name: "configure", label: "Configure", value: ".*", hint: "a regular expression" },
        { name: "write", label: "Write", value: ".*" },
        { name: "read", label: "Read", value: ".*" },
      ]} />`}<//>
    <//>
    <${Section} title="Topic permissions">
      <${TopicPermissionTable} rows=${topics.data} other="vhost" reload=${topics.reload} />
      <h3>Set a topic permission</h3><${Choose} of=${vhosts}>${(/** @type {string[]} */ names) => html`<${Form} submit="Set topic permission" onSubmit=${async (/** @type {any} */ values) => {
        const set = await attempt("Topic permission set.", () => call("PUT", path("topic-permissions", values.vhost, name), { exchange: values.exchange, write: values.write, read: values.read }));
        topics.reload();
        return set;
      }} fields=${[
        { name: "vhost", label: "Virtual host", kind: "select", options: names },
        { name: "exchange", label: "Exchange", value: "amq.topic", required: true },
        { name: "write", label: "Write", value: ".*" },
        { name: "read", label: "Read", value: ".*" },
      ]} />`}<//>
    <//>
    <${Section} title="Change password and tags"><${Form} key=${(data.tags ?? []).join()} submit="Change user" onSubmit=${async (/** @type {any} */ values) => {
      const body = values.login === "keep" ? { tags: split(values.tags), password_hash: data.password_hash, hashing_algorithm: data.hashing_algorithm } : bodyOf(values);
      const changed = await attempt("User changed.", () => call("PUT", own, body));
      reload();
      return changed;
    }} fields=${(() => {
      const fields = LOGIN((data.tags ?? []).join(", "));
      fields[0].options = [["keep", "the same password"], .../** @type {any} */ (fields[0].options)];
      return fields;
    })()} /><//>`;
}
