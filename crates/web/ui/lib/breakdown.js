// Where the messages of an object come from and where they go, one row for each other end. The broker counts this if the
// configuration says `management.rates_mode = detailed`; without it there is nothing to show.
import { html } from "./view.js";
import { PlainTable, speed } from "./table.js";
import { Link, Section, exchangeName } from "./parts.js";

/** @typedef {"exchange"|"queue"|"channel"} End */

/** What the other end is called, and where its page is. @param {End} end @param {any} row */
function linkTo(end, row) {
  if (end === "channel") {
    const name = row.channel_details?.name ?? "";
    return html`<${Link} to=${["channels", name]}>${name}<//>`;
  }
  const { vhost = "", name = "" } = row[end] ?? {};
  return html`<${Link} to=${[`${end}s`, vhost, end === "exchange" && name === "" ? "amq.default" : name]}>${end === "exchange" ? exchangeName(name) : name}<//>`;
}

/** @param {any} row */
const keyOf = (row) => JSON.stringify([row.exchange, row.queue, row.channel_details?.name]);

/**
 * @param {{title: string, name: string, rows: any[]|undefined, end: End, fields: [string, string][]}} props
 */
export function Breakdown({ title, name, rows, end, fields }) {
  if (!rows || rows.length === 0) return null;
  const shown = rows.map((row) => ({ ...row, message_stats: row.stats }));
  return html`<${Section} title=${title} open=${true}><${PlainTable} name=${name} rows=${shown} rowKey=${keyOf} empty="None." columns=${[
    { name: end[0].toUpperCase() + end.slice(1), fixed: true, cell: (/** @type {any} */ row) => linkTo(end, row) },
    ...fields.map(([label, field]) => speed(label, field)),
  ]} /><//>`;
}
