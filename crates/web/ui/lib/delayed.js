// Messages that wait for their time at an exchange or before a queue: when they go and where to; a way to cancel them.
import { html } from "./view.js";
import { call, get } from "./api.js";
import { usePoll } from "./poll.js";
import { ask } from "./dialog.js";
import { done, failed } from "./toast.js";
import { PlainTable } from "./table.js";
import { Section } from "./parts.js";
import { number, time } from "./format.js";

/** Messages that are listed, those that are due first. */
const LISTED = 100;

/** Whether messages may wait before a queue. @param {any} queue */
export const mayWait = (queue) => Object.keys({ ...queue.arguments, ...queue.effective_policy_definition }).some((name) => name.includes("delayed-"));

/**
 * A section, if anything waits and the user may know.
 * @param {{own: string, to: string, reload: () => void}} props own: the path of the exchange or queue; to: where its messages go
 */
export function Delayed({ own, to, reload }) {
  const { data, reload: look } = usePoll((signal) => get(`${own}/delayed`, { count: LISTED }, signal), [own]);
  const { messages = [], messages_delayed: count = 0 } = data ?? {};
  if (messages.length === 0) return null;
  const cancel = async (/** @type {import("./dialog.js").Question} */ question, /** @type {Record<string, string>} */ which) => {
    if ((await ask(question)) === undefined) return;
    try {
      const { done: cancelled } = await call("DELETE", `${own}/delayed`, undefined, { query: which });
      if (cancelled > 0) done(`${number(cancelled)} messages cancelled.`);
      else failed(new Error("Nothing was cancelled: it has gone its way."));
    } catch (error) {
      failed(error);
    }
    look();
    reload();
  };
  const one = (/** @type {any} */ row) =>
    cancel({ title: "Cancel this message?", text: `It is due ${time(row.due_at)}. It is dropped, and cannot be brought back.`, confirm: "Drop it" }, { position: row.position });
  const all = () =>
    cancel({ title: "Cancel all messages that wait?", text: `All ${number(count)} are dropped, and cannot be brought back.`, confirm: "Drop all", word: "cancel" }, { all: "true" });
  return html`<${Section} title="Waiting for their time" open=${true}>
    <div class="table-tools"><span class="count">${count > messages.length ? `The first ${number(messages.length)} of ${number(count)}` : `${number(count)} messages`}</span>
      <span class="spacer"></span><button class="danger" onClick=${all}>Cancel all…</button></div>
    <${PlainTable} name="delayed" still=${true} rows=${messages} rowKey=${(/** @type {any} */ row) => row.position} empty="Nothing waits." columns=${[
      { name: "Goes at", fixed: true, sort: "due_at", cell: (/** @type {any} */ row) => time(row.due_at) },
      { name: "Where to", fixed: true, cell: (/** @type {any} */ row) => (row.retry ? "back to this queue, to be tried again" : to) },
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => html`<button class="small" onClick=${() => one(row)}>Cancel…</button>` },
    ]} />
  <//>`;
}
