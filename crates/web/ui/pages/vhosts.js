// Virtual hosts, and one of them.
import { html } from "../lib/view.js";
import { call, get, listed, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { departure } from "../lib/route.js";
import { ask } from "../lib/dialog.js";
import { attempt } from "../lib/toast.js";
import { useRights } from "../lib/session.js";
import { Chart, RangePicker, lengthLines, messageLines, useRange } from "../lib/chart.js";
import { Form } from "../lib/forms.js";
import { PlainTable, figure, speed } from "../lib/table.js";
import { Facts, Link, Problem, Section, State, Waiting } from "../lib/parts.js";
import { rate } from "../lib/format.js";
import { PermissionTable, TopicPermissionTable } from "../lib/permissions.js";

/** @param {any} row */
const stateOf = (row) => Object.values(row.cluster_state ?? {})[0];

/** @param {any} [of] @returns {import("../lib/forms.js").Field[]} */
const FIELDS = (of) => [
  { name: "description", label: "Description", value: of?.description },
  { name: "tags", label: "Tags", value: (of?.tags ?? []).join(", ") },
  { name: "default_queue_type", label: "Default queue type", kind: "select", value: of?.default_queue_type, options: ["classic", "quorum", "stream"] },
];

/** @param {any} values */
const bodyOf = (values) => ({ description: values.description, tags: values.tags, default_queue_type: values.default_queue_type });

export function Vhosts() {
  const { administrator } = useRights();
  const { data, error, reload } = usePoll((signal) => get("vhosts", undefined, signal), []);
  return html`<h1>Virtual hosts</h1><${Problem} error=${error} />
    <${PlainTable} name="vhosts" filter=${["name", "description", "tags"]} rows=${data} rowKey=${(/** @type {any} */ row) => row.name} empty="No virtual hosts." columns=${[
      { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<${Link} to=${["vhosts", row.name]}>${row.name}<//> <small class="name">${row.description}</small>` },
      { name: "Default queue type", sort: "default_queue_type", cell: (/** @type {any} */ row) => row.default_queue_type },
      { name: "State", cell: (/** @type {any} */ row) => html`<${State} state=${stateOf(row)} />` },
      figure("Ready", "messages_ready"),
      figure("Unacked", "messages_unacknowledged"),
      figure("Total", "messages"),
      speed("Publish", "publish"), speed("Deliver", "deliver_get"),
    ]} />
    ${administrator && html`<${Section} title="Add a virtual host"><${Form} submit="Add virtual host" onSubmit=${async (/** @type {any} */ values) => {
      const added = await attempt(`Virtual host ${values.name} is there.`, () => call("PUT", path("vhosts", values.name), bodyOf(values)));
      reload();
      return added;
    }} fields=${[{ name: "name", label: "Name", required: true }, ...FIELDS()]} /><//>`}`;
}

/** @param {{parts: string[]}} props */
export function Vhost({ parts: [name] }) {
  const own = path("vhosts", name);
  const { administrator } = useRights();
  const { range, query } = useRange();
  const { data, error, reload } = usePoll((signal) => (administrator ? get(own, query, signal) : listed("vhosts", name, query, signal)), [own, range.name]);
  const sub = (/** @type {string} */ what) => (/** @type {AbortSignal} */ signal) => (administrator ? get(`${own}/${what}`, undefined, signal) : Promise.resolve([]));
  const permissions = usePoll(sub("permissions"), [own]);
  const topics = usePoll(sub("topic-permissions"), [own]);
  if (!data) return html`<h1>Virtual host <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const remove = async () => {
    const leave = departure();
    const sure = await ask({ title: "Delete this virtual host?", text: "All its queues, messages, exchanges, policies and permissions go with it, and its connections are closed.", confirm: "Delete", word: name });
    if (sure === undefined) return;
    if (await attempt("Virtual host deleted.", () => call("DELETE", own))) leave("#/vhosts");
  };
  const protect = async () => {
    const on = data.protected_from_deletion;
    await attempt(on ? "It can be deleted now." : "It is protected from deletion.", () => call(on ? "DELETE" : "POST", `${own}/deletion/protection`));
    reload();
  };
  const trace = async () => {
    await attempt(data.tracing ? "Tracing is off." : "Tracing is on: copies of all messages go to amq.rabbitmq.trace.", () => call("PUT", own, { ...bodyOf({ ...data, tags: data.tags.join(",") }), tracing: !data.tracing }));
    reload();
  };
  return html`<div class="title"><h1>Virtual host <span class="name">${name}</span></h1><${State} state=${stateOf(data)} /><span class="spacer"></span><${RangePicker} />
      ${administrator && html`<button onClick=${trace}>${data.tracing ? "Stop tracing" : "Trace"}</button>
      <button onClick=${protect}>${data.protected_from_deletion ? "Allow deletion" : "Protect"}</button>
      <button class="danger" disabled=${data.protected_from_deletion} onClick=${remove}>Delete…</button>`}</div>
    <${Problem} error=${error} />
    <div class="charts">
      <${Chart} title="Queued messages" lines=${lengthLines(data)} />
      <${Chart} title="Message rates" growth=${true} lines=${messageLines(data.message_stats)} format=${rate} />
    </div>
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Description", html`<span class="name">${data.description}</span>`],
      ["Tags", html`<span class="name">${(data.tags ?? []).join(", ")}</span>`],
      ["Default queue type", data.default_queue_type],
      ["Tracing", data.tracing ? "on" : "off"],
      ["Protected from deletion", data.protected_from_deletion ? "yes" : "no"],
    ]} /><//>
    ${administrator && html`<${Section} title="Permissions" open=${true}>
      <${PermissionTable} rows=${permissions.data} other="user" reload=${permissions.reload} /><${Problem} error=${permissions.error} />
      <h3>Set a permission</h3><${Form} submit="Set permission" onSubmit=${async (/** @type {any} */ values) => {
        const set = await attempt("Permission set.", () => call("PUT", path("permissions", name, values.user), { configure: values.configure, write: values.write, read: values.read }));
        permissions.reload();
        return set;
      }} fields=${[
        { name: "user", label: "User", required: true },
        { name: "configure", label: "Configure", value: ".*", hint: "a regular expression" },
        { name: "write", label: "Write", value: ".*" },
        { name: "read", label: "Read", value: ".*" },
      ]} /><//>
    <${Section} title="Topic permissions"><${TopicPermissionTable} rows=${topics.data} other="user" reload=${topics.reload} /><//>
    <${Section} title="Change"><${Form} key=${data.description} submit="Change virtual host" onSubmit=${async (/** @type {any} */ values) => {
      const changed = await attempt("Virtual host changed.", () => call("PUT", own, bodyOf(values)));
      reload();
      return changed;
    }} fields=${FIELDS(data)} /><//>`}`;
}
