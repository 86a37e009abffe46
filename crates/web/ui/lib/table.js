// Tables: columns to choose from, sorting, filtering, paging. Long lists are paged, sorted and filtered by the broker.
import { html, useState } from "./view.js";
import { useSetting } from "./settings.js";
import { refine, useRoute } from "./route.js";
import { usePoll } from "./poll.js";
import { get } from "./api.js";
import { number, rate, rateOf } from "./format.js";
import { Problem } from "./parts.js";

/**
 * @typedef {{
 *   name: string,
 *   sort?: string,
 *   cell: (row: any) => any,
 *   figure?: boolean,
 *   hidden?: boolean,
 *   fixed?: boolean,
 * }} Column
 */

/** A column of figures. @param {string} name @param {string} field @returns {Column} */
export function figure(name, field, hidden = false) {
  return { name, figure: true, hidden, sort: field, cell: (row) => number(row[field]) };
}

/** A column of rates of `message_stats`. @param {string} name @param {string} field @returns {Column} */
export function speed(name, field, hidden = false) {
  return {
    name,
    figure: true,
    hidden,
    sort: `message_stats.${field}_details.rate`,
    cell: (row) => rate(rateOf(row.message_stats, field)),
  };
}

const PAGE_SIZES = [20, 50, 100, 250, 500];

/**
 * A list of the API, page by page.
 * @param {{
 *   name: string,
 *   source: string,
 *   columns: Column[],
 *   query?: Record<string, any>,
 *   rowKey: (row: any) => string,
 *   empty: any,
 *   selectable?: {actions: (rows: any[], done: () => void) => any},
 *   tools?: any,
 * }} props
 */
export function PagedTable({ name, source, columns, query = {}, rowKey, empty, selectable, tools }) {
  const at = useRoute().query;
  const [size, resize] = useSetting(`${name}.size`, 100);
  const [filter, retype] = useState(at.name ?? "");
  const [selected, select] = useState(/** @type {Map<string, any>} */ (new Map()));
  const page = Number(at.page ?? 1);
  const asked = {
    page,
    page_size: size,
    name: at.name,
    use_regex: at.regex ? "true" : undefined,
    sort: at.sort,
    sort_reverse: at.reverse ? "true" : undefined,
    pagination: "true",
    ...query,
  };
  const { data, error, reload } = usePoll(
    async (signal) => {
      try {
        return await get(source, asked, signal);
      } catch (refused) {
        // What was on the last page may be gone.
        if (page > 1 && /** @type {any} */ (refused).status === 400) {
          return get(source, { ...asked, page: 1 }, signal);
        }
        throw refused;
      }
    },
    [source, asked],
  );
  const shown = useColumns(name, columns);
  const rows = data?.items ?? [];
  const all = rows.length > 0 && rows.every((/** @type {any} */ row) => selected.has(rowKey(row)));
  const finish = () => (select(new Map()), reload());
  const toggle = (/** @type {any[]} */ which, /** @type {boolean} */ on) => {
    const next = new Map(selected);
    for (const row of which) on ? next.set(rowKey(row), row) : next.delete(rowKey(row));
    select(next);
  };
  return html`<div class="table-tools">
      <form class="filter" role="search" onSubmit=${(event) => (event.preventDefault(), refine({ name: filter, page: undefined }))}>
        <input type="search" aria-label="Filter by name" placeholder="Filter by name" value=${filter}
          onInput=${(event) => retype(event.target.value)} onChange=${(event) => refine({ name: event.target.value, page: undefined })} />
        <label class="inline"><input type="checkbox" checked=${Boolean(at.regex)}
          onChange=${(event) => refine({ regex: event.target.checked ? "1" : undefined, page: undefined })} /> Regex</label>
      </form>
      <span class="count">${data && `${number(data.filtered_count)} of ${number(data.total_count)}`}</span>
      <span class="spacer"></span>
      ${tools}
      <label class="inline">Rows
        <select value=${size} onChange=${(event) => (resize(Number(event.target.value)), refine({ page: undefined }))}>
          ${PAGE_SIZES.map((one) => html`<option value=${one}>${one}</option>`)}
        </select></label>
      <${ColumnPicker} name=${name} columns=${columns} />
    </div>
    <${Problem} error=${error} />
    ${selectable && selected.size > 0 &&
    html`<div class="selection" role="region" aria-label="Selected rows"><b>${selected.size} selected</b>
      ${selectable.actions([...selected.values()], finish)}
      <button class="plain" onClick=${() => select(new Map())}>Clear</button></div>`}
    ${data && rows.length === 0
      ? html`<p class="empty">${at.name ? "Nothing has such a name." : empty}</p>`
      : html`<${Rows} columns=${shown} rows=${rows} rowKey=${rowKey} sort=${at.sort} reverse=${Boolean(at.reverse)} caption=${name}
          onSort=${(/** @type {string} */ by) => refine(sorted(at, by))}
          select=${selectable && { all, has: (/** @type {any} */ row) => selected.has(rowKey(row)), toggle }} />`}
    ${data && data.page_count > 1 && html`<${Pages} page=${data.page} count=${data.page_count} />`}`;
}

/**
 * The next sorting after a click: up, down, none.
 * @param {Record<string, string>} at
 * @param {string} by
 */
function sorted(at, by) {
  if (at.sort !== by) return { sort: by, reverse: undefined };
  return at.reverse ? { sort: undefined, reverse: undefined } : { sort: by, reverse: "1" };
}

/**
 * A short list that is there as a whole.
 * @param {{name: string, columns: Column[], rows: any[]|undefined, rowKey: (row: any) => string, empty: any, caption?: string}} props
 */
export function PlainTable({ name, columns, rows, rowKey, empty, caption }) {
  const [sort, order] = useState(/** @type {{by?: string, reverse?: boolean}} */ ({}));
  const shown = useColumns(name, columns);
  if (!rows) return html`<p class="empty" aria-busy="true">Loading…</p>`;
  if (rows.length === 0) return html`<p class="empty">${empty}</p>`;
  const by = sort.by;
  const ordered = by ? [...rows].sort((a, b) => compare(field(a, by), field(b, by))) : rows;
  if (sort.reverse) ordered.reverse();
  return html`<${Rows} columns=${shown} rows=${ordered} rowKey=${rowKey} sort=${by} reverse=${sort.reverse} caption=${caption ?? name}
    onSort=${(/** @type {string} */ next) => order(next !== by ? { by: next } : sort.reverse ? {} : { by, reverse: true })} />`;
}

/** @param {any} row @param {string} name */
const field = (row, name) => name.split(".").reduce((value, key) => value?.[key], row);

/** @param {any} a @param {any} b */
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true });
}

/** @param {any} props */
function Rows({ columns, rows, rowKey, sort, reverse, onSort, select, caption }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption ?? "Table"}><table>
    <thead><tr>
      ${select && html`<th class="check"><input type="checkbox" aria-label="Select all rows of this page" checked=${select.all}
        onChange=${(event) => select.toggle(rows, event.target.checked)} /></th>`}
      ${columns.map(
        (/** @type {Column} */ column) => html`<th class=${column.figure ? "figure" : ""}
          aria-sort=${column.sort && column.sort === sort ? (reverse ? "descending" : "ascending") : undefined}>
          ${column.sort
            ? html`<button class="sort" onClick=${() => onSort(column.sort)}>${column.name}${
                column.sort === sort ? (reverse ? " ▾" : " ▴") : ""
              }</button>`
            : column.name}
        </th>`,
      )}
    </tr></thead>
    <tbody>${rows.map(
      (/** @type {any} */ row) => html`<tr key=${rowKey(row)}>
        ${select && html`<td class="check"><input type="checkbox" aria-label="Select" checked=${select.has(row)}
          onChange=${(event) => select.toggle([row], event.target.checked)} /></td>`}
        ${columns.map((/** @type {Column} */ column) => html`<td class=${column.figure ? "figure" : ""}>${column.cell(row)}</td>`)}
      </tr>`,
    )}</tbody>
  </table></div>`;
}

/** @param {{page: number, count: number}} props */
function Pages({ page, count }) {
  const to = (/** @type {number} */ next) => refine({ page: next === 1 ? undefined : String(next) });
  return html`<nav class="pages" aria-label="Pages">
    <button disabled=${page <= 1} onClick=${() => to(1)}>First</button>
    <button disabled=${page <= 1} onClick=${() => to(page - 1)}>Previous</button>
    <span>Page ${number(page)} of ${number(count)}</span>
    <button disabled=${page >= count} onClick=${() => to(page + 1)}>Next</button>
    <button disabled=${page >= count} onClick=${() => to(count)}>Last</button>
  </nav>`;
}

/** Those that the user has not hidden. @param {string} table @param {Column[]} columns */
function useColumns(table, columns) {
  const [choice] = useSetting(`${table}.columns`, /** @type {Record<string, boolean>} */ ({}));
  return columns.filter((column) => column.fixed || (choice[column.name] ?? !column.hidden));
}

/** @param {{name: string, columns: Column[]}} props */
function ColumnPicker({ name, columns }) {
  const [choice, choose] = useSetting(`${name}.columns`, /** @type {Record<string, boolean>} */ ({}));
  return html`<details class="picker"><summary>Columns</summary><div class="menu">
    ${columns
      .filter((column) => !column.fixed)
      .map(
        (column) => html`<label><input type="checkbox" checked=${choice[column.name] ?? !column.hidden}
          onChange=${(event) => choose({ ...choice, [column.name]: event.target.checked })} /> ${column.name}</label>`,
      )}
  </div></details>`;
}
