// Bindings as a picture: exchanges and queues as boxes in columns, bindings as curves between them.
import { html } from "./view.js";
import { link } from "./route.js";
import { exchangeName } from "./parts.js";

const [BOX, ROW, GAP, HEIGHT] = [210, 44, 150, 30];
/** Longest name that fits into a box. */
const NAME_MAX = 26;

/** @typedef {import("./bindings.js").Binding} Binding */

/**
 * @param {{bindings: Binding[], vhost: string}} props
 */
export function Drawing({ bindings, vhost }) {
  const drawn = bindings.filter((one) => one.source !== "");
  if (drawn.length === 0) return html`<p class="empty">No bindings to draw.</p>`;
  const nodes = place(drawn);
  const width = Math.max(...[...nodes.values()].map((node) => node.x)) + BOX + 2;
  const height = Math.max(...[...nodes.values()].map((node) => node.y)) + HEIGHT + 4;
  return html`<div class="scroll drawing" tabindex="0" role="region" aria-label="Bindings as a picture; the table says the same">
    <svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`}>
      ${drawn.map((binding) => {
        const from = nodes.get(`e ${binding.source}`);
        const to = nodes.get(keyOf(binding));
        if (!from || !to) return null;
        const [x1, y1, x2, y2] = [from.x + BOX, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
        const bend = Math.max(40, Math.abs(x2 - x1) / 2);
        return html`<g class="edge"><path d=${`M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`} />
          <text x=${x2 - 6} y=${y2 - 5} text-anchor="end">${cut(binding.routing_key || describe(binding.arguments), 18)}</text></g>`;
      })}
      ${[...nodes.values()].map(
        (node) => html`<a href=${link(node.kind === "q" ? "queues" : "exchanges", vhost, node.name)}>
          <g class=${`box ${node.kind}`} transform=${`translate(${node.x} ${node.y})`}>
            <title>${node.name}</title>
            <rect width=${BOX} height=${HEIGHT} rx=${node.kind === "q" ? 3 : 15} />
            <text x="12" y="20">${cut(exchangeName(node.name), NAME_MAX)}</text></g></a>`,
      )}
    </svg></div>`;
}

/** @param {Binding} binding */
const keyOf = (binding) => `${binding.destination_type === "queue" ? "q" : "e"} ${binding.destination}`;

/** @param {string} text @param {number} max */
const cut = (text, max) => (text.length > max ? `${text.slice(0, max - 1)}…` : text);

/** @param {any} table */
const describe = (table) => Object.entries(table ?? {}).map(([name, value]) => `${name}=${value}`).join(" ");

/**
 * A column for each step from the exchanges that nothing leads to; queues in the last.
 * @param {Binding[]} bindings
 */
function place(bindings) {
  /** @type {Map<string, {kind: string, name: string, level: number, x: number, y: number}>} */
  const nodes = new Map();
  const node = (/** @type {string} */ key) => {
    const found = nodes.get(key) ?? { kind: key[0], name: key.slice(2), level: 0, x: 0, y: 0 };
    nodes.set(key, found);
    return found;
  };
  for (const binding of bindings) {
    node(`e ${binding.source}`);
    node(keyOf(binding));
  }
  // Exchanges can be bound in circles, so the number of rounds has a limit.
  for (let round = 0; round < 8; round += 1) {
    for (const binding of bindings) {
      const [from, to] = [node(`e ${binding.source}`), node(keyOf(binding))];
      if (to !== from && to.level <= from.level && from.level < 7) to.level = from.level + 1;
    }
  }
  const all = [...nodes.values()];
  const last = Math.max(...all.map((one) => one.level));
  /** @type {number[]} */
  const rows = [];
  for (const one of all) {
    if (one.kind === "q") one.level = last;
    const row = rows[one.level] ?? 0;
    rows[one.level] = row + 1;
    one.x = one.level * (BOX + GAP) + 1;
    one.y = row * ROW + 2;
  }
  return nodes;
}
