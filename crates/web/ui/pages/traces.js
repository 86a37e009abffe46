// Traces: copies of the messages of a virtual host, written to files that can be had from here.
import { html } from "../lib/view.js";
import { call, download, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { ask } from "../lib/dialog.js";
import { attempt, failed } from "../lib/toast.js";
import { Form } from "../lib/forms.js";
import { PlainTable, figure } from "../lib/table.js";
import { Choose, Problem, Section } from "../lib/parts.js";
import { bytes, number, rate, rateOf } from "../lib/format.js";
import { useVhosts } from "../lib/vhosts.js";

/** What a plugin's paths answer while it is off. @param {Error|undefined} error */
export const isOff = (error) => /** @type {any} */ (error)?.status === 404;

export function Traces() {
  const vhosts = useVhosts();
  const traces = usePoll((signal) => get("traces", undefined, signal), []);
  const files = usePoll((signal) => get("trace-files", undefined, signal), []);
  const reload = () => (traces.reload(), files.reload());
  if (isOff(traces.error)) return html`<h1>Tracing</h1><p class="empty">The plugin rabbitmq_tracing is off.</p><pre class="payload" tabindex="0">rabbitmq-plugins enable rabbitmq_tracing</pre>`;
  const add = async (/** @type {any} */ values) => {
    const body = {
      format: values.format,
      pattern: values.pattern,
      ...(values.max === "" ? {} : { max_payload_bytes: Number(values.max) }),
      ...(values.user === "" ? {} : { tracer_connection_username: values.user, tracer_connection_password: values.password }),
    };
    const added = await attempt(`The trace ${values.name} has begun.`, () => call("PUT", path("traces", values.vhost, values.name), body));
    reload();
    return added;
  };
  const stop = async (/** @type {any} */ row) => {
    const own = path("traces", row.vhost, row.name);
    await attempt("The trace has ended. Its file stays.", () => call("DELETE", own), async () => {
      await call("PUT", own, { format: row.format, pattern: row.pattern, ...(row.max_payload_bytes === undefined ? {} : { max_payload_bytes: row.max_payload_bytes }) });
      reload();
    });
    reload();
  };
  const remove = async (/** @type {any} */ row) => {
    if ((await ask({ title: "Delete this file?", text: `${row.name} with ${sizeOf(row)} cannot be brought back.`, confirm: "Delete" })) === undefined) return;
    await attempt("File deleted.", () => call("DELETE", path("trace-files", row.name)));
    reload();
  };
  return html`<h1>Tracing</h1>
    <p class="muted">A trace writes every message that is published to or delivered in a virtual host, and that the pattern matches, to a file. It costs throughput: stop it when you have seen enough.</p>
    <${Problem} error=${traces.error} />
    <${PlainTable} name="traces" rows=${traces.data} rowKey=${(/** @type {any} */ row) => `${row.vhost} ${row.name}`} empty="Nothing is traced." columns=${[
      { name: "Virtual host", sort: "vhost", cell: (/** @type {any} */ row) => html`<span class="name">${row.vhost}</span>` },
      { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<span class="name">${row.name}</span>` },
      { name: "Pattern", fixed: true, cell: (/** @type {any} */ row) => html`<code>${row.pattern}</code>` },
      { name: "Format", cell: (/** @type {any} */ row) => row.format },
      { name: "Payload at most", figure: true, cell: (/** @type {any} */ row) => (typeof row.max_payload_bytes === "number" ? bytes(row.max_payload_bytes) : "whole") },
      { name: "Rate", figure: true, cell: (/** @type {any} */ row) => rate(rateOf(row.queue?.message_stats, "deliver_no_ack")) },
      { name: "Waiting", figure: true, cell: (/** @type {any} */ row) => number(row.queue?.messages) },
      { name: "Lost", figure: true, cell: (/** @type {any} */ row) => number(row.records_lost) },
      { name: "User", cell: (/** @type {any} */ row) => html`<span class="name">${row.tracer_connection_username ?? "–"}</span>` },
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => html`<button class="small" onClick=${() => stop(row)}>Stop</button>` },
    ]} />
    <${Section} title="Add a trace"><${Choose} of=${vhosts}>${(/** @type {string[]} */ names) => html`<${Form} submit="Add trace" onSubmit=${add} fields=${[
      { name: "vhost", label: "Virtual host", kind: "select", options: names },
      { name: "name", label: "Name", required: true, hint: "of the file, without its ending" },
      { name: "format", label: "Format", kind: "select", options: [["text", "text"], ["json", "JSON"]] },
      { name: "pattern", label: "Pattern", value: "#", required: true, hint: "publish.EXCHANGE, deliver.QUEUE, or # for all" },
      { name: "max", label: "Payload bytes at most", kind: "number", hint: "whole payloads without it" },
      { name: "user", label: "User", hint: "who sees the messages; without it the configured one" },
      { name: "password", label: "Password", kind: "password", when: (/** @type {any} */ values) => values.user !== "" },
    ]} />`}<//><//>
    <h2>Files</h2><${Problem} error=${files.error} />
    <${PlainTable} name="trace-files" rows=${files.data} rowKey=${(/** @type {any} */ row) => row.name} empty="No files." columns=${[
      { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<span class="name">${row.name}</span>` },
      { ...figure("Size", "size"), fixed: true, cell: sizeOf },
      { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => html`<span class="pair"><button class="small" onClick=${() => download(path("trace-files", row.name), row.name).catch(failed)}>Download</button>
        <button class="small danger" onClick=${() => remove(row)}>Delete…</button></span>` },
    ]} />`;
}

/** @param {any} row */
const sizeOf = (row) => bytes(row.size);
