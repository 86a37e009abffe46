// Exchanges, and one of them: where it routes, publish, delete.
import { html } from "../lib/view.js";
import { call, get, part, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { departure } from "../lib/route.js";
import { ask } from "../lib/dialog.js";
import { attempt, failed } from "../lib/toast.js";
import { Chart, RangePicker, useRange } from "../lib/chart.js";
import { Form, argumentsOf } from "../lib/forms.js";
import { PagedTable } from "../lib/table.js";
import { BindForm, BindingTable } from "../lib/bindings.js";
import { PublishForm } from "../lib/publish.js";
import { Arguments, Choose, Facts, Link, Marks, Problem, Rest, Section, Waiting, exchangeName } from "../lib/parts.js";
import { Delayed } from "../lib/delayed.js";
import { Drawing } from "../lib/drawing.js";
import { number, rate, rateOf } from "../lib/format.js";
import { namesOf, useVhosts } from "../lib/vhosts.js";
import { Breakdown } from "../lib/breakdown.js";
import { bringBack } from "../lib/undo.js";

/** @param {any} row */
const features = (row) => html`<${Marks} marks=${[
  [row.durable, "D", "durable"],
  [row.auto_delete, "AD", "auto-delete"],
  [row.internal, "I", "internal"],
]} />${row.policy && html` <${Link} to=${["policies", row.vhost, row.policy]}>${row.policy}<//>`}`;

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "Virtual host", sort: "vhost", cell: (row) => html`<span class="name">${row.vhost}</span>` },
  { name: "Name", fixed: true, sort: "name", cell: (row) => html`<${Link} to=${["exchanges", row.vhost, row.name === "" ? "amq.default" : row.name]}>${exchangeName(row.name)}<//>` },
  { name: "Type", sort: "type", cell: (row) => html`<span class="name">${row.type}</span>` },
  { name: "Features", cell: features },
  { name: "Arguments", hidden: true, cell: (row) => html`<${Arguments} of=${row.arguments} />` },
  { name: "In", figure: true, sort: "message_stats.publish_in_details.rate", cell: (row) => rate(rateOf(row.message_stats, "publish_in")) },
  { name: "Out", figure: true, sort: "message_stats.publish_out_details.rate", cell: (row) => rate(rateOf(row.message_stats, "publish_out")) },
];

export function Exchanges() {
  return html`<h1>Exchanges</h1>
    <${PagedTable} name="exchanges" source=${(/** @type {string|undefined} */ vhost) => (vhost ? path("exchanges", vhost) : "exchanges")} columns=${COLUMNS} rowKey=${(/** @type {any} */ row) => `${row.vhost} ${row.name}`} empty="No exchanges." />
    <${Section} title="Add an exchange"><${AddExchange} /><//>`;
}

function AddExchange() {
  const vhosts = useVhosts();
  const { data, error } = usePoll((signal) => get("overview", { columns: "exchange_types" }, signal), []);
  const add = async (/** @type {any} */ values) => {
    let table;
    try {
      table = argumentsOf(values.arguments);
    } catch (error) {
      failed(error);
      return false;
    }
    return attempt(`Exchange ${values.name} is there.`, () =>
      call("PUT", path("exchanges", values.vhost, values.name), {
        type: values.type,
        durable: values.durable === "true",
        auto_delete: values.auto_delete,
        internal: values.internal,
        arguments: table,
      }),
    );
  };
  return html`<${Choose} of=${{ names: data && vhosts.names, error: error ?? vhosts.error }}>${(/** @type {string[]} */ names) => html`<${Form} submit="Add exchange" onSubmit=${add} fields=${[
    { name: "vhost", label: "Virtual host", kind: "select", options: names },
    { name: "name", label: "Name", required: true },
    { name: "type", label: "Type", kind: "select", options: namesOf(data.exchange_types) },
    { name: "durable", label: "Durability", kind: "select", options: [["true", "durable"], ["false", "transient"]] },
    { name: "auto_delete", label: "Auto-delete", kind: "check", hint: "goes when its last binding goes" },
    { name: "internal", label: "Internal", kind: "check", hint: "clients cannot publish to it" },
    { name: "arguments", label: "Arguments", kind: "arguments", suggestions: [
      { name: "alternate-exchange", hint: "takes what this exchange cannot route" },
      { name: "x-delayed-type", hint: "the type behind x-delayed-message", value: "direct" },
      { name: "hash-header", hint: "x-consistent-hash: hash this header" },
      { name: "x-recent-history-length", type: "Number", hint: "x-recent-history: messages kept" },
    ] },
  ]} />`}<//>`;
}

/** @param {{parts: string[]}} props */
export function Exchange({ parts: [vhost, name] }) {
  const { range, query } = useRange();
  const own = path("exchanges", vhost, name);
  const { data, error, reload } = usePoll((signal) => get(own, query, signal), [own, range.name]);
  const out = usePoll((signal) => part(`${own}/bindings/source`, signal), [own]);
  const into = usePoll((signal) => part(`${own}/bindings/destination`, signal), [own]);
  if (!data) return html`<h1>Exchange <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const isDefault = data.name === "";
  const isPredeclared = isDefault || data.name.startsWith("amq.");
  const remove = async () => {
    const leave = departure();
    const sure = await ask({ title: "Delete this exchange?", text: "Its bindings go with it. Publishers get an error.", confirm: "Delete", word: data.name });
    if (sure === undefined) return;
    const body = { type: data.type, durable: data.durable, auto_delete: data.auto_delete, internal: data.internal, arguments: data.arguments };
    const undo = await bringBack(own, body, `${own}/bindings/destination`, `${own}/bindings/source`);
    if (await attempt("Exchange deleted.", () => call("DELETE", own), undo)) leave("#/exchanges");
  };
  const line = (/** @type {string} */ label, /** @type {string} */ field) => ({
    label,
    samples: data.message_stats?.[`${field}_details`]?.samples,
    now: rateOf(data.message_stats, field) ?? 0,
  });
  return html`<div class="title"><h1>Exchange <span class="name">${exchangeName(data.name)}</span></h1><span class="spacer"></span>
      <${RangePicker} />${!isPredeclared && html`<button class="danger" onClick=${remove}>Delete…</button>`}</div>
    <${Problem} error=${error} />
    <div class="charts"><${Chart} title="Message rates" growth=${true} format=${rate} lines=${[line("In", "publish_in"), line("Out", "publish_out")]} /></div>
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Virtual host", html`<span class="name">${data.vhost}</span>`],
      ["Type", html`<span class="name">${data.type}</span>`],
      ["Features", features(data)],
      ["Arguments", html`<${Arguments} of=${data.arguments} />`],
      ["Policy", data.policy ? html`<${Link} to=${["policies", data.vhost, data.policy]}>${data.policy}<//>` : null],
      ["Delayed", data.messages_delayed === undefined ? undefined : number(data.messages_delayed)],
    ]} /><//>
    ${data.messages_delayed > 0 && html`<${Delayed} own=${own} to="where the bindings of this exchange lead then" reload=${reload} />`}
    ${!isDefault && html`<${Section} title="Where messages go" open=${true}>
      <${Drawing} bindings=${[...(into.data?.items ?? []), ...(out.data?.items ?? [])].slice(0, 200)} vhost=${vhost} />
      <${Problem} error=${out.error} />
      <${Rest} of=${out.data} />
      <${BindingTable} name="bindings-out" side="destination" rows=${out.data?.items} reload=${out.reload} />
      <h3>Bind to</h3><${BindForm} vhost=${vhost} source=${data.name} reload=${out.reload} />
    <//>
    <${Section} title="Where messages come from"><${BindingTable} name="bindings-in" side="source" rows=${into.data?.items} reload=${into.reload} /><//>`}
    <${Breakdown} title="Published by" name="exchange-incoming" rows=${data.incoming} end="channel" fields=${[["Publish", "publish"], ["Confirm", "confirm"]]} />
    <${Breakdown} title="Routed to" name="exchange-outgoing" rows=${data.outgoing} end="queue" fields=${[["Publish", "publish"]]} />
    <${Section} title="Publish a message"><${PublishForm} vhost=${vhost} exchange=${data.name} reload=${() => {}} /><//>`;
}
