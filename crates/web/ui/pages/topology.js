// All exchanges and queues of a virtual host and what binds them, as one picture.
import { html } from "../lib/view.js";
import { PART, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { refine, useRoute } from "../lib/route.js";
import { useVhosts } from "../lib/vhosts.js";
import { Drawing } from "../lib/drawing.js";
import { Waiting } from "../lib/parts.js";
import { number } from "../lib/format.js";

/** More than this is no picture any more. */
const BINDINGS_MAX = 300;
/** The default exchange has a binding to each queue, and by this order they come last. */
const LAST = { sort: "source", sort_reverse: "true", page: 1, page_size: PART, pagination: "true" };

export function Topology() {
  const { names, error: refused } = useVhosts();
  const vhosts = names ?? [];
  const { query } = useRoute();
  const vhost = query.vhost ?? (vhosts.includes("/") ? "/" : vhosts[0]);
  const { data, error } = usePoll(
    (signal) => (vhost === undefined ? Promise.resolve(undefined) : get(path("bindings", vhost), LAST, signal)),
    [vhost],
  );
  const wanted = (query.name ?? "").toLowerCase();
  const shown = (data?.items ?? []).filter(
    (/** @type {any} */ one) =>
      one.source !== "" && [one.source, one.destination, one.routing_key].some((text) => text.toLowerCase().includes(wanted)),
  );
  return html`<h1>Topology</h1>
    <div class="table-tools">
      <label class="inline">Virtual host <select value=${vhost} onChange=${(event) => refine({ vhost: event.target.value })}>
        ${vhosts.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      <input type="search" aria-label="Filter by name or key" placeholder="Filter by name or key" value=${query.name ?? ""}
        onInput=${(event) => refine({ name: event.target.value })} />
      <span class="count">${number(shown.length)} bindings</span>
    </div>
    ${shown.length > BINDINGS_MAX && html`<p class="problem">The first ${BINDINGS_MAX} of ${number(shown.length)} are drawn; a filter makes them fewer.</p>`}
    ${data ? html`<${Drawing} bindings=${shown.slice(0, BINDINGS_MAX)} vhost=${vhost} />` : names?.length === 0 ? html`<p class="empty">There is no virtual host to draw.</p>` : html`<${Waiting} error=${error ?? refused} />`}`;
}
