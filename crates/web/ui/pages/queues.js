// Queues, and one of them: figures, consumers, bindings, messages.
import { html } from "../lib/view.js";
import { call, get, part, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { departure } from "../lib/route.js";
import { ask } from "../lib/dialog.js";
import { attempt, failed } from "../lib/toast.js";
import { doEach } from "../lib/work.js";
import { Chart, RangePicker, lengthLines, messageLines, useRange } from "../lib/chart.js";
import { Form, argumentsOf } from "../lib/forms.js";
import { PagedTable, PlainTable, figure, speed } from "../lib/table.js";
import { BindForm, BindingTable } from "../lib/bindings.js";
import { PublishForm } from "../lib/publish.js";
import { Delayed, mayWait } from "../lib/delayed.js";
import { GetForm, MessageBrowser } from "../lib/messages.js";
import { Arguments, Choose, Facts, Figure, Link, Marks, Problem, Rest, Section, State, Waiting } from "../lib/parts.js";
import { bytes, number, rate, rateOf, time, value } from "../lib/format.js";
import { useVhosts } from "../lib/vhosts.js";
import { Breakdown } from "../lib/breakdown.js";
import { bringBack } from "../lib/undo.js";
import { consumerColumns } from "./consumers.js";

/** @param {any} row */
const features = (row) => {
  const table = row.arguments ?? {};
  const args = Object.keys(table).filter((name) => name !== "x-queue-type");
  return html`<${Marks} marks=${[
      [row.durable, "D", "durable"],
      [row.auto_delete, "AD", "auto-delete"],
      [row.exclusive, "Excl", "exclusive"],
      ["x-message-ttl" in table, "TTL", `messages live ${table["x-message-ttl"]} ms`],
      ["x-expires" in table, "Exp", `the queue expires after ${table["x-expires"]} ms`],
      ["x-max-length" in table || "x-max-length-bytes" in table, "Lim", "limited length"],
      ["x-dead-letter-exchange" in table, "DLX", `dead letters go to ${table["x-dead-letter-exchange"]}`],
      ["x-max-priority" in table, "Pri", `priorities up to ${table["x-max-priority"]}`],
      ["x-single-active-consumer" in table, "SAC", "single active consumer"],
      [args.length > 0, "Args", args.join(", ")],
    ]} />${row.policy && html` <${Link} to=${["policies", row.vhost, row.policy]}>${row.policy}<//>`}`;
};

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "Virtual host", sort: "vhost", cell: (row) => html`<span class="name">${row.vhost}</span>` },
  { name: "Name", fixed: true, sort: "name", cell: (row) => html`<${Link} to=${["queues", row.vhost, row.name]}>${row.name}<//>` },
  { name: "Type", sort: "type", cell: (row) => row.type },
  { name: "Features", cell: features },
  { name: "State", sort: "state", cell: (row) => html`<${State} state=${row.state} />` },
  figure("Ready", "messages_ready"),
  figure("Unacked", "messages_unacknowledged"),
  figure("Total", "messages"),
  speed("In", "publish"),
  speed("Deliver", "deliver_get"),
  speed("Ack", "ack"),
  figure("Consumers", "consumers"),
  { name: "Bytes", figure: true, hidden: true, sort: "message_bytes", cell: (row) => bytes(row.message_bytes) },
  { name: "Utilisation", figure: true, hidden: true, sort: "consumer_capacity", cell: (row) => (typeof row.consumer_capacity === "number" ? `${Math.round(row.consumer_capacity * 100)} %` : "–") },
  { name: "Node", hidden: true, sort: "node", cell: (row) => row.node },
];

export function Queues() {
  return html`<h1>Queues and streams</h1>
    <${PagedTable} name="queues" source=${(/** @type {string|undefined} */ vhost) => (vhost ? path("queues", vhost) : "queues")} columns=${COLUMNS} rowKey=${(/** @type {any} */ row) => `${row.vhost} ${row.name}`} empty="No queues yet."
      selectable=${{
        actions: (/** @type {any[]} */ rows, /** @type {() => void} */ done) => html`
          <button onClick=${async () => {
            if ((await ask({ title: `Purge ${rows.length} queues?`, text: "What waits in them is dropped and cannot be brought back.", confirm: "Purge", word: "purge" })) === undefined) return;
            await doEach(rows, "queues purged", (row) => call("DELETE", `${path("queues", row.vhost, row.name)}/contents`));
            done();
          }}>Purge…</button>
          <button class="danger" onClick=${async () => {
            if ((await ask({ title: `Delete ${rows.length} queues?`, text: "Their messages and bindings go with them.", confirm: "Delete", word: "delete" })) === undefined) return;
            await doEach(rows, "queues deleted", (row) => call("DELETE", path("queues", row.vhost, row.name)));
            done();
          }}>Delete…</button>`,
      }} />
    <${Section} title="Add a queue"><${AddQueue} /><//>`;
}

const ARGUMENTS = [
  { name: "x-message-ttl", type: "Number", hint: "milliseconds until a message expires" },
  { name: "x-expires", type: "Number", hint: "milliseconds without use until the queue is deleted" },
  { name: "x-max-length", type: "Number", hint: "messages at most" },
  { name: "x-max-length-bytes", type: "Number", hint: "bytes at most" },
  { name: "x-overflow", hint: "drop-head, reject-publish or reject-publish-dlx", value: "drop-head" },
  { name: "x-dead-letter-exchange", hint: "where messages go that were rejected or have expired" },
  { name: "x-dead-letter-routing-key", hint: "their routing key; without it they keep their own" },
  { name: "x-single-active-consumer", type: "Boolean", hint: "one consumer at a time", value: "true" },
  { name: "x-max-priority", type: "Number", hint: "classic: highest priority", value: "5" },
  { name: "x-delivery-limit", type: "Number", hint: "quorum: deliveries until a message is dead-lettered" },
  { name: "x-queue-leader-locator", hint: "quorum, stream: client-local or balanced" },
];

function AddQueue() {
  const vhosts = useVhosts();
  const add = async (/** @type {any} */ values) => {
    let table;
    try {
      table = argumentsOf(values.arguments);
    } catch (error) {
      failed(error);
      return false;
    }
    if (values.type !== "") table["x-queue-type"] = values.type;
    return attempt(`Queue ${values.name} is there.`, () =>
      call("PUT", path("queues", values.vhost, values.name), {
        durable: values.durable === "true",
        auto_delete: values.auto_delete,
        arguments: table,
      }),
    );
  };
  return html`<${Choose} of=${vhosts}>${(/** @type {string[]} */ names) => html`<${Form} submit="Add queue" onSubmit=${add} fields=${[
    { name: "vhost", label: "Virtual host", kind: "select", options: names },
    { name: "type", label: "Type", kind: "select", options: [["", "default of the virtual host"], "classic", "quorum", "stream"] },
    { name: "name", label: "Name", required: true },
    { name: "durable", label: "Durability", kind: "select", options: [["true", "durable"], ["false", "transient"]] },
    { name: "auto_delete", label: "Auto-delete", kind: "check", hint: "goes when its last consumer goes" },
    { name: "arguments", label: "Arguments", kind: "arguments", suggestions: ARGUMENTS },
  ]} />`}<//>`;
}

/** Whether what consumers have settled can be replayed. @param {any} queue */
const keepsSettled = (queue) =>
  queue.messages_replayable > 0 || Object.keys({ ...queue.arguments, ...queue.effective_policy_definition }).some((name) => name.includes("replay-window-"));

/** @param {{parts: string[]}} props */
export function Queue({ parts: [vhost, name] }) {
  const own = path("queues", vhost, name);
  const { range, query } = useRange();
  const { data, error, reload } = usePoll((signal) => get(own, query, signal), [own, range.name]);
  const bindings = usePoll((signal) => part(`${own}/bindings`, signal), [own]);
  if (!data) return html`<h1>Queue <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const purge = async () => {
    const text = `${number(data.messages_ready)} messages are dropped and cannot be brought back. Unacknowledged ones stay.`;
    if ((await ask({ title: "Purge this queue?", text, confirm: "Purge", word: name })) === undefined) return;
    await attempt("Queue purged.", () => call("DELETE", `${own}/contents`));
    reload();
  };
  const remove = async () => {
    const leave = departure();
    const text = `${number(data.messages)} messages and ${number(bindings.data?.total_count)} bindings go with it; ${number(data.consumers)} consumers are cancelled.`;
    if ((await ask({ title: "Delete this queue?", text, confirm: "Delete", word: name })) === undefined) return;
    // Messages would not come back.
    const undo = data.messages === 0 && !data.exclusive ? await bringBack(own, { durable: data.durable, auto_delete: data.auto_delete, arguments: data.arguments }, `${own}/bindings`) : undefined;
    if (await attempt("Queue deleted.", () => call("DELETE", own), undo)) leave("#/queues");
  };
  const replayable = keepsSettled(data) ? data.messages_replayable : undefined;
  const paused = data.state === "paused";
  const pause = async () => {
    await attempt(paused ? "Deliveries go on." : "Paused: nothing is delivered until you resume.", () => call("PUT", `${own}/${paused ? "resume" : "pause"}`), () => call("PUT", `${own}/${paused ? "pause" : "resume"}`));
    reload();
  };
  return html`<div class="title"><h1>Queue <span class="name">${name}</span></h1><${State} state=${data.state} /><span class="spacer"></span>
      <${RangePicker} /><button onClick=${pause}>${paused ? "Resume" : "Pause"}</button>
      <button onClick=${purge}>Purge…</button><button class="danger" onClick=${remove}>Delete…</button></div>
    <${Problem} error=${error} />
    <div class="figures">
      <${Figure} name="Ready">${number(data.messages_ready)}<//>
      <${Figure} name="Unacked">${number(data.messages_unacknowledged)}<//>
      <${Figure} name="Bytes">${bytes(data.message_bytes)}<//>
      <${Figure} name="In">${rate(rateOf(data.message_stats, "publish") ?? 0)}<//>
      <${Figure} name="Delivered">${rate(rateOf(data.message_stats, "deliver_get") ?? 0)}<//>
      <${Figure} name="Consumers">${number(data.consumers)}<//>
    </div>
    <div class="charts">
      <${Chart} title="Queued messages" lines=${lengthLines(data)} />
      <${Chart} title="Message rates" growth=${true} lines=${messageLines(data.message_stats)} format=${rate} />
    </div>
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Virtual host", html`<span class="name">${data.vhost}</span>`],
      ["Type", data.type],
      ["Features", features(data)],
      ["Arguments", html`<${Arguments} of=${data.arguments} />`],
      ["Policy", data.policy ? html`<${Link} to=${["policies", data.vhost, data.policy]}>${data.policy}<//>` : null],
      ["Operator policy", data.operator_policy ? html`<${Link} to=${["operator-policies", data.vhost, data.operator_policy]}>${data.operator_policy}<//>` : null],
      ["Effective policy", html`<${Arguments} of=${data.effective_policy_definition} />`],
      ["Owner", data.owner_pid_details ? html`<${Link} to=${["connections", data.owner_pid_details.name ?? ""]}>${data.owner_pid_details.name}<//>` : undefined],
      ["Node", data.node],
      ["Consumer capacity", typeof data.consumer_capacity === "number" ? `${Math.round(data.consumer_capacity * 100)} %` : null],
      ["Bytes ready", bytes(data.message_bytes_ready)],
      ["Bytes unacked", bytes(data.message_bytes_unacknowledged)],
      ["In memory", bytes(data.message_bytes_ram)],
      ["Kept for replay", replayable === undefined ? undefined : `${number(replayable)}, ${bytes(data.message_bytes_replayable)}`],
      ["Delayed", data.messages_delayed === undefined ? undefined : number(data.messages_delayed)],
      ["First message", data.head_message_timestamp ? time(data.head_message_timestamp * 1000) : null],
      ["Delivery limit", data.delivery_limit === undefined ? undefined : value(data.delivery_limit)],
    ]} /><//>
    <${Section} title="Consumers" open=${true}>
      <${PlainTable} name="queue-consumers" rows=${data.consumer_details ?? []} columns=${consumerColumns("queue")}
        rowKey=${(/** @type {any} */ row) => `${row.channel_details?.name} ${row.consumer_tag}`} empty="No consumers." />
    <//>
    <${Breakdown} title="Published from" name="queue-incoming" rows=${data.incoming} end="exchange" fields=${[["Publish", "publish"]]} />
    <${Breakdown} title="Delivered to" name="queue-deliveries" rows=${data.deliveries} end="channel" fields=${[["Deliver", "deliver_get"], ["Redelivered", "redeliver"], ["Ack", "ack"]]} />
    <${Section} title="Bindings" open=${true}>
      <${Problem} error=${bindings.error} />
      <${Rest} of=${bindings.data} />
      <${BindingTable} name="queue-bindings" side="source" rows=${bindings.data?.items} reload=${bindings.reload} />
      <h3>Bind to this queue</h3><${BindForm} vhost=${vhost} queue=${name} reload=${bindings.reload} />
    <//>
    ${mayWait(data) && html`<${Delayed} own=${own} to="into this queue" reload=${reload} />`}
    <${Section} title="Messages" id="messages"><${MessageBrowser} vhost=${vhost} queue=${name} replayable=${replayable} reload=${reload} /><//>
    <${Section} title="Get messages"><${GetForm} vhost=${vhost} queue=${name} reload=${reload} /><//>
    <${Section} title="Publish a message"><${PublishForm} vhost=${vhost} exchange="" routingKey=${name} reload=${reload} /><//>`;
}
