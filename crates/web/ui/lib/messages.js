// Messages of a queue: looked at without taking them out, found by a filter, moved, copied, deleted, replayed after consumers
// have settled them; or taken out as a client would.
import { html, useRef, useState } from "./view.js";
import { call, path } from "./api.js";
import { ask } from "./dialog.js";
import { done, failed } from "./toast.js";
import { Form, jsonOf } from "./forms.js";
import { Arguments, Problem } from "./parts.js";
import { bytes, number, time } from "./format.js";

/** Bytes of a payload that are shown. */
const TRUNCATE = 4096;
const LOOKING = "Looking…";

const KINDS = /** @type {[string, string][]} */ ([
  ["all", "All"],
  ["body", "Body contains"],
  ["routing_key", "Routing key matches (* and ?)"],
  ["exchange", "Published to exchange"],
  ["header", "Header equals (name=value)"],
  ["json", "JSON path equals ($.path=value)"],
  ["expert", "Filter as JSON"],
]);

/**
 * The filter that the API understands.
 * @param {string} kind
 * @param {string} text
 */
export function filterOf(kind, text) {
  switch (kind) {
    case "all":
      return {};
    case "expert":
      return jsonOf(text, "The filter");
    case "header":
    case "json": {
      const cut = text.indexOf("=");
      if (cut === -1) return { [kind]: text.trim() };
      return { [kind]: text.slice(0, cut).trim(), equals: scalar(text.slice(cut + 1).trim()) };
    }
    default:
      return { [kind]: text };
  }
}

/** A value as one would write it: numbers and booleans are such, quotes make text. @param {string} text */
function scalar(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? text : value;
  } catch {
    return text;
  }
}

const PRESENT = /** @type {[string, string][]} */ ([
  ["waiting", "Waiting"],
  ["unacknowledged", "Unacknowledged"],
  ["settled", "Settled, kept for replay"],
]);

/** What can be done with messages: verbs of the API and what buttons say. */
const ACTIONS = /** @type {[string, string][]} */ ([["move", "Move"], ["copy", "Copy"], ["delete-messages", "Delete"]]);
const SETTLED_ACTIONS = /** @type {[string, string][]} */ ([["replay", "Replay"]]);

const NOTHING = /** @type {Record<string, string>} */ ({
  waiting: "No message waits here.",
  unacknowledged: "No consumer has a message of this queue.",
  settled: "Nothing is kept.",
});

/**
 * What a request says about the messages that it means.
 * @param {string} present
 * @param {any} filter
 */
function chosen(present, filter) {
  if (present !== "unacknowledged") return { filter };
  const unacknowledged = { unacknowledged: true };
  return { filter: Object.keys(filter).length > 0 ? { all: [unacknowledged, filter] } : unacknowledged };
}

/** @param {{vhost: string, queue: string, replayable?: number, reload: () => void}} props */
export function MessageBrowser({ vhost, queue, replayable, reload }) {
  const own = path("queues", vhost, queue);
  const [present, seek] = useState("waiting");
  const stop = useRef(false);
  const turn = useRef(0);
  const [kind, choose] = useState("all");
  const [text, type] = useState("");
  const [page, show] = useState(/** @type {any} */ (undefined));
  const [error, report] = useState(/** @type {Error|undefined} */ (undefined));
  const [selected, select] = useState(/** @type {Set<any>} */ (new Set()));
  const [busy, work] = useState("");
  const [target, aim] = useState({ kind: "to_queue", name: "", key: "" });

  const look = async (/** @type {any} */ from, /** @type {any} */ again = undefined) => {
    const mine = ++turn.current;
    work(LOOKING);
    report(undefined);
    try {
      const sought = again ?? chosen(present, filterOf(kind, text));
      const settled = present === "settled" ? { settled: true } : {};
      const answer = await call("POST", `${own}/browse`, { ...sought, ...settled, count: 50, truncate: TRUNCATE, ...(from === undefined ? {} : { from }) });
      // The user looks at something else by now.
      if (mine !== turn.current) return;
      show({ ...answer, sought });
      select(new Set());
    } catch (refused) {
      if (mine !== turn.current) return;
      report(/** @type {Error} */ (refused));
    }
    work("");
  };

  // The API does a part at a time and says where it stopped; this goes on until all is done.
  const carryOut = async (/** @type {string} */ verb, /** @type {boolean} */ everything, /** @type {any} */ where) => {
    const sums = { done: 0, unroutable: 0, refused: 0, busy: 0 };
    report(undefined);
    stop.current = false;
    work("Working…");
    try {
      // All that the shown ones were found by, whatever has been typed since.
      const which = everything ? page.sought : { positions: [...selected] };
      let next;
      do {
        const answer = await call("POST", `${own}/${verb}`, { ...which, ...where, ...(next == null ? {} : { from: next }) });
        for (const name of /** @type {(keyof typeof sums)[]} */ (Object.keys(sums))) sums[name] += answer[name] ?? 0;
        next = everything ? answer.next : null;
        work(`${number(sums.done)} done…`);
      } while (next != null && !stop.current);
      const rest = Object.entries(sums).filter(([name, count]) => name !== "done" && count > 0);
      done([`${number(sums.done)} messages done.`, ...rest.map(([name, count]) => `${number(count)} ${name}.`)].join(" "));
    } catch (refused) {
      report(/** @type {Error} */ (refused));
    }
    work("");
    reload();
    await look(undefined);
  };

  const act = async (/** @type {string} */ verb, /** @type {boolean} */ everything) => {
    const what = everything ? "All messages that the filter finds" : `${selected.size} messages`;
    if (verb === "delete-messages") {
      const sure = await ask({ title: "Delete messages?", text: `${what} are dropped. They are not dead-lettered and cannot be brought back.`, confirm: "Delete", word: "delete" });
      if (sure !== undefined) await carryOut(verb, everything, {});
      return;
    }
    if (verb === "replay") {
      const sure = await ask({ title: "Replay messages?", text: `Copies of ${what.toLowerCase()} go to ${target.name || "this queue"}.`, confirm: "Replay", danger: false });
      if (sure !== undefined) await carryOut(verb, everything, target.name === "" ? {} : where());
      return;
    }
    if (target.kind === "to_queue" && target.name === "") return void failed(new Error("Say where to: the name of a queue or an exchange."));
    const sure = await ask({ title: verb === "move" ? "Move messages?" : "Copy messages?", text: `${what} ${verb === "move" ? "go" : "are copied"} to ${target.name || "the default exchange"}.`, confirm: verb === "move" ? "Move" : "Copy", danger: false });
    if (sure === undefined) return;
    await carryOut(verb, everything, where());
  };

  const where = () => ({ [target.kind]: target.name, ...(target.kind === "to_exchange" && target.key !== "" ? { routing_key: target.key } : {}) });
  const forget = async () => {
    if ((await ask({ title: "Drop what is kept for replay?", text: "It cannot be replayed after that. Messages that wait are not touched.", confirm: "Drop" })) === undefined) return;
    try {
      done(`${number((await call("DELETE", `${own}/replay`)).done)} messages dropped.`);
      show(undefined);
    } catch (refused) {
      report(/** @type {Error} */ (refused));
    }
    reload();
  };
  const change = (/** @type {string} */ to) => {
    turn.current += 1;
    work("");
    seek(to);
    show(undefined);
    select(new Set());
  };

  const messages = page?.messages ?? [];
  const needsText = kind !== "all";
  const choices = PRESENT.filter(([name]) => name !== "settled" || replayable !== undefined);
  return html`<form class="table-tools" onSubmit=${(event) => (event.preventDefault(), look(undefined))}>
      <label class="inline">Which <select value=${present} disabled=${busy !== "" && busy !== LOOKING} onChange=${(event) => change(event.target.value)}>
        ${choices.map(([name, label]) => html`<option value=${name}>${label}</option>`)}</select></label>
      <label class="inline">Show <select value=${kind} onChange=${(event) => choose(event.target.value)}>
        ${KINDS.map(([name, label]) => html`<option value=${name}>${label}</option>`)}</select></label>
      ${needsText && html`<input class="grow" aria-label="Filter" value=${text} spellcheck=${false}
        placeholder=${kind === "expert" ? '{"all": [{"routing_key": "order.*"}, {"json": "$.price", "min": 100}]}' : ""}
        onInput=${(event) => type(event.target.value)} />`}
      <button class="primary" disabled=${busy !== ""}>Look</button>
      <span class="count" role="status">${busy || (page && `${messages.length} shown, ${number(page.examined)} examined`)}</span>
      ${busy !== "" && busy !== LOOKING && html`<button type="button" onClick=${() => (stop.current = true)}>Stop</button>`}
      ${present === "settled" && replayable !== undefined && replayable > 0 && html`<span class="spacer"></span><button type="button" class="danger" onClick=${forget}>Drop all ${number(replayable)} kept…</button>`}
    </form>
    <p class="muted">${present === "settled" ? "What consumers have settled and the queue keeps: it can be published again, as often as you like." : "Looking changes nothing: messages stay where they are, in their order, without a mark."}</p>
    <${Problem} error=${error} />
    ${page && messages.length === 0 && html`<p class="empty">${needsText ? "No message passes the filter." : NOTHING[present]}</p>`}
    ${messages.length > 0 &&
    html`<div class="selection" role="region" aria-label="What to do with messages">
        <b>${selected.size} selected</b>
        <select aria-label="Kind of target" value=${target.kind} onChange=${(event) => aim({ ...target, kind: event.target.value })}>
          <option value="to_queue">to queue</option><option value="to_exchange">to exchange</option></select>
        <input aria-label="Name of the target" placeholder=${present === "settled" ? "name (this queue)" : "name"} value=${target.name} onInput=${(event) => aim({ ...target, name: event.target.value })} />
        ${target.kind === "to_exchange" && html`<input aria-label="Routing key" placeholder="routing key (own)" value=${target.key} onInput=${(event) => aim({ ...target, key: event.target.value })} />`}
        ${(present === "settled" ? SETTLED_ACTIONS : ACTIONS).map(
          ([verb, label]) => html`<span class="pair"><button class=${verb === "delete-messages" ? "danger" : ""} disabled=${selected.size === 0 || busy !== ""} onClick=${() => act(verb, false)}>${label} selected…</button>
            <button class=${verb === "delete-messages" ? "danger" : ""} disabled=${busy !== ""} onClick=${() => act(verb, true)}>${label} all found…</button></span>`,
        )}
      </div>
      <ul class="messages">${messages.map(
        (/** @type {any} */ message) => html`<${Message} key=${message.position} message=${message} selected=${selected.has(message.position)}
          onSelect=${(/** @type {boolean} */ on) => {
            const next = new Set(selected);
            on ? next.add(message.position) : next.delete(message.position);
            select(next);
          }} />`,
      )}</ul>
      ${page.next != null && html`<button disabled=${busy !== ""} onClick=${() => look(page.next, page.sought)}>Next</button>`}`}`;
}

/** @param {{message: any, selected?: boolean, onSelect?: (on: boolean) => void}} props */
function Message({ message, selected, onSelect }) {
  const { headers, ...properties } = message.properties ?? {};
  return html`<li class="message card">
    <div class="message-head">
      ${onSelect && html`<input type="checkbox" aria-label=${`Select message ${message.position}`} checked=${selected} onChange=${(event) => onSelect(event.target.checked)} />`}
      ${message.position !== undefined && html`<b>#${message.position}</b>`}
      <span>${message.exchange === "" ? "(default exchange)" : html`<span class="name">${message.exchange}</span>`} → <span class="name">${message.routing_key}</span></span>
      <span class="muted">${bytes(message.payload_bytes)}</span>
      ${message.state === "unacknowledged" && html`<span class="state pale">unacked</span>`}
      ${message.redelivered && html`<span class="state pale">redelivered</span>`}
      ${message.settled_at && html`<span class="muted">settled ${time(message.settled_at)}</span>`}
      ${message.expires_at && html`<span class="muted">expires ${time(message.expires_at)}</span>`}
    </div>
    <pre class="payload" tabindex="0">${message.payload}</pre>
    ${message.payload_encoding === "base64" && html`<small>base64</small>`}
    <details><summary>Properties and headers</summary><${Arguments} of=${properties} /><${Arguments} of=${headers} /></details>
  </li>`;
}

/** @param {{vhost: string, queue: string, reload: () => void}} props */
export function GetForm({ vhost, queue, reload }) {
  const [messages, show] = useState(/** @type {any[]|undefined} */ (undefined));
  const take = async (/** @type {any} */ values) => {
    try {
      show(await call("POST", `${path("queues", vhost, queue)}/get`, { count: Number(values.count), ackmode: values.ackmode, encoding: values.encoding, truncate: 50_000 }));
      reload();
    } catch (error) {
      failed(error);
    }
    return false;
  };
  return html`<p class="muted">Takes messages as a client would. Requeued ones are marked as redelivered; to only look, use “Messages”.</p>
    <${Form} submit="Get messages" onSubmit=${take} keepValues=${true} fields=${[
      { name: "ackmode", label: "Ack mode", kind: "select", options: [
        ["ack_requeue_true", "Nack, requeue"],
        ["ack_requeue_false", "Automatic ack"],
        ["reject_requeue_true", "Reject, requeue"],
        ["reject_requeue_false", "Reject, do not requeue"],
      ] },
      { name: "encoding", label: "Encoding", kind: "select", options: [["auto", "text if it is, else base64"], ["base64", "base64"]] },
      { name: "count", label: "Messages", kind: "number", value: "1", required: true },
    ]} />
    ${messages && (messages.length === 0 ? html`<p class="empty">The queue is empty.</p>` : html`<ul class="messages">${messages.map((message) => html`<${Message} message=${message} />`)}</ul>`)}`;
}
