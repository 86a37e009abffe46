// Tables: columns to choose from, sorting, filtering, paging. Long lists are paged, sorted and filtered by the broker.
//
// What the user chose last (columns, order, filter, rows of a page) is kept; an address that says otherwise wins.
import { Component, html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./view.js";
import { useSetting } from "./settings.js";
import { refine, useRoute } from "./route.js";
import { usePoll } from "./poll.js";
import { get } from "./api.js";
import { number, rate, rateOf } from "./format.js";
import { Problem } from "./parts.js";
import { useVhosts } from "./vhosts.js";

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
/** Rows of a list without pages that are shown at once. */
const ROWS_MAX = 500;
/** Rows that are drawn in one go; more would keep the page from answering. */
const ROWS_AT_ONCE = 15;
/** What an address says about a list, and what is kept of it. */
const VIEW = ["vhost", "name", "regex", "sort", "reverse"];

/**
 * How a list is looked at: as the address says, else as the user did last.
 * @param {string} list
 * @returns {[Record<string, string>, (changes: Record<string, string|undefined>) => void]}
 */
function useView(list) {
  const { query } = useRoute();
  const [kept, keep] = useSetting(`${list}.view`, /** @type {Record<string, string>} */ ({}));
  const says = VIEW.some((key) => query[key] !== undefined);
  useLayoutEffect(() => {
    // So that the address can be passed on. At once: later it may be another page's.
    if (!says && Object.keys(kept).length > 0) refine(kept);
  }, [says]);
  const at = says ? query : { ...query, ...kept };
  const change = (/** @type {Record<string, string|undefined>} */ changes) => {
    const next = { ...at, ...changes };
    keep(Object.fromEntries(VIEW.flatMap((key) => (next[key] ? [[key, next[key]]] : []))));
    refine({ ...at, ...changes });
  };
  return [at, change];
}

/**
 * A list of the API, page by page.
 * @param {{
 *   name: string,
 *   source: (vhost: string|undefined) => string,
 *   columns: Column[],
 *   query?: Record<string, any>,
 *   rowKey: (row: any) => string,
 *   empty: any,
 *   selectable?: {actions: (rows: any[], done: () => void) => any},
 *   tools?: any,
 * }} props
 */
export function PagedTable({ name, source, columns, query = {}, rowKey, empty, selectable, tools }) {
  const [at, change] = useView(name);
  const { names: vhosts = NONE } = useVhosts();
  const [size, resize] = useSetting(`${name}.size`, 100);
  const [filter, retype] = useState(at.name ?? "");
  const [selected, select] = useState(/** @type {Map<string, any>} */ (new Map()));
  // Before anybody can type again, who would lose it.
  useLayoutEffect(() => retype(at.name ?? ""), [at.name]);
  const page = Number(at.page ?? 1);
  const target = source(at.vhost);
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
  const { data, error, isOld, reload } = usePoll(
    async (signal) => {
      try {
        return await get(target, asked, signal);
      } catch (refused) {
        // What was on the last page may be gone.
        if (page > 1 && /** @type {any} */ (refused).status === 400) {
          return get(target, { ...asked, page: 1 }, signal);
        }
        throw refused;
      }
    },
    [target, asked],
  );
  const shown = useColumns(name, columns);
  const rows = data?.items ?? NONE;
  const { drawn, press, isPressed } = useParts(rows);
  const all = drawn.length > 0 && drawn.every((/** @type {any} */ row) => selected.has(rowKey(row)));
  // Whoever looks for others does not see any more what was chosen, not even for a moment.
  useLayoutEffect(() => select((old) => (old.size === 0 ? old : new Map())), [target, at.name, at.regex]);
  const finish = () => (select(new Map()), reload());
  const toggle = (/** @type {any[]} */ which, /** @type {boolean} */ on) =>
    select((old) => {
      const next = new Map(old);
      for (const row of which) on ? next.set(rowKey(row), row) : next.delete(rowKey(row));
      return next;
    });
  return html`<div class="table-tools">
      <form class="filter" role="search" onSubmit=${(event) => (event.preventDefault(), change({ name: filter, page: undefined }))}>
        <input type="search" aria-label="Filter by name" placeholder="Filter by name  /" title="Press / to come here" value=${filter}
          onInput=${(event) => retype(event.target.value)} onChange=${(event) => change({ name: event.target.value, page: undefined })} />
        <label class="inline"><input type="checkbox" checked=${Boolean(at.regex)}
          onChange=${(event) => change({ regex: event.target.checked ? "1" : undefined, page: undefined })} /> Regex</label>
      </form>
      ${(vhosts.length > 1 || at.vhost) && html`<label class="inline">Virtual host
        <select value=${at.vhost ?? ""} onChange=${(event) => change({ vhost: event.target.value || undefined, page: undefined })}>
          <option value="">all</option>${vhosts.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>`}
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
      ? html`<p class="empty">${at.name ? "Nothing has such a name." : at.vhost ? "Nothing in this virtual host." : empty}</p>`
      : html`<${Rows} columns=${shown} rows=${drawn} rowKey=${rowKey} sort=${at.sort} reverse=${Boolean(at.reverse)} caption=${name} still=${true}
          isBusy=${!error && (!data || isOld || drawn.length !== rows.length)} isOld=${isOld && !isPressed()} onPress=${press}
          onSort=${(/** @type {string} */ by) => change(sorted(at, by))}
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
 * A short list that is there as a whole. Should it be long nevertheless, its first rows are shown, and a filter finds the others.
 * @param {{name: string, columns: Column[], rows: any[]|undefined, rowKey: (row: any) => string, empty: any, caption?: string, still?: boolean, filter?: string[]}} props
 *   still: that all it shows is in the rows, so that hundreds of them are no burden; filter: the fields that can be filtered by
 */
export function PlainTable({ name, columns, rows, rowKey, empty, caption, still = false, filter }) {
  const [sort, order] = useSetting(`${name}.order`, /** @type {{by?: string, reverse?: boolean}} */ ({}));
  const shown = useColumns(name, columns);
  const { by, reverse = false } = sort;
  const [wanted, retype] = useState("");
  const found = useMemo(() => having(rows ?? NONE, filter ?? [], wanted), [rows, wanted]);
  const ordered = useMemo(() => inOrder(found, by, reverse).slice(0, ROWS_MAX), [found, by, reverse]);
  const { drawn, press } = useParts(still ? ordered : NONE);
  if (!rows) return html`<p class="empty" aria-busy="true">Loading…</p>`;
  if (rows.length === 0) return html`<p class="empty">${empty}</p>`;
  const picker = columns.some((column) => !column.fixed) && html`<span class="spacer"></span><${ColumnPicker} name=${name} columns=${columns} />`;
  return html`${filter
      ? html`<div class="table-tools"><input type="search" aria-label=${`Filter ${(caption ?? name).replaceAll("-", " ")}`} placeholder="Filter  /" title="Press / to come here"
            value=${wanted} onInput=${(event) => retype(event.target.value)} />
          <span class="count">${`${number(found.length)} of ${number(rows.length)}`}</span>${picker}</div>`
      : picker && html`<div class="table-tools short">${picker}</div>`}
    ${found.length > ROWS_MAX && html`<p class="muted">The first ${number(ROWS_MAX)} are shown.</p>`}
    ${found.length === 0 && html`<p class="empty">Nothing has such a name.</p>`}
    <${Rows} columns=${shown} rows=${still ? drawn : ordered} rowKey=${rowKey} sort=${by} reverse=${reverse} caption=${caption ?? name} still=${still} onPress=${press}
    onSort=${(/** @type {string} */ next) => order(next !== by ? { by: next } : reverse ? {} : { by, reverse: true })} />`;
}

/** Those that have a text in one of these fields, in letters of either kind. @param {any[]} rows @param {string[]} fields @param {string} text */
function having(rows, fields, text) {
  const wanted = text.toLowerCase();
  return wanted === "" ? rows : rows.filter((row) => fields.some((name) => String(field(row, name) ?? "").toLowerCase().includes(wanted)));
}

/** @param {any[]} rows @param {string|undefined} by @param {boolean} reverse */
function inOrder(rows, by, reverse) {
  const ordered = by ? [...rows].sort((a, b) => compare(field(a, by), field(b, by))) : rows;
  return reverse ? [...ordered].reverse() : ordered;
}

/** @param {any} row @param {string} name */
const field = (row, name) => name.split(".").reduce((value, key) => value?.[key], row);

/** @param {any} a @param {any} b */
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true });
}

/** @type {any[]} */
const NONE = [];

/**
 * The rows that are drawn: new ones take the places of old ones in parts, one part a frame. None do while the mouse is down on
 * them: what was pressed is what is clicked.
 * @param {any[]} rows
 */
function useParts(rows) {
  const [drawn, draw] = useState(NONE);
  const length = useRef(0);
  const pressed = useRef(false);
  useEffect(() => {
    // The click comes before the next turn.
    const release = () => void setTimeout(() => (pressed.current = false));
    for (const end of RELEASES) addEventListener(end, release);
    return () => {
      for (const end of RELEASES) removeEventListener(end, release);
    };
  }, []);
  useEffect(() => {
    let [frame, count] = [0, 0];
    const step = () => {
      if (pressed.current) {
        frame = requestAnimationFrame(step);
        return;
      }
      count += ROWS_AT_ONCE;
      // What is too much goes in parts as well.
      const end = Math.max(rows.length, length.current - 2 * ROWS_AT_ONCE);
      draw((old) => {
        const next = [...rows.slice(0, count), ...old.slice(count, end)];
        length.current = next.length;
        return next;
      });
      if (count < rows.length || end > rows.length) frame = requestAnimationFrame(step);
    };
    step();
    return () => cancelAnimationFrame(frame);
  }, [rows]);
  const press = (/** @type {PointerEvent} */ event) => {
    if (event.button === 0) pressed.current = true;
  };
  return { drawn, press, isPressed: () => pressed.current };
}

/** What ends a press. */
const RELEASES = ["pointerup", "pointercancel", "blur"];
/** What the keyboard can be on in a row. */
const CONTROLS = "a, button, input, summary";

/**
 * Keeps the keyboard on the row that it is on, wherever that goes when rows take each other's places.
 * @param {any[]} rows
 * @param {(row: any) => string} rowKey
 * @param {boolean} isBusy rows are still on their way to their places
 */
function useFocus(rows, rowKey, isBusy) {
  const body = useRef(/** @type {HTMLTableSectionElement|null} */ (null));
  const held = useRef(/** @type {{key: string, control: number}|null} */ (null));
  const onFocusIn = (/** @type {FocusEvent} */ event) => {
    const control = /** @type {HTMLElement} */ (event.target);
    const line = control.closest("tr");
    const row = line && rows[line.sectionRowIndex];
    held.current = row ? { key: rowKey(row), control: [...line.querySelectorAll(CONTROLS)].indexOf(control) } : null;
  };
  useLayoutEffect(() => {
    const line = document.activeElement?.closest("tr");
    if (isBusy || !held.current || !line || line.parentNode !== body.current) return;
    const { key, control } = held.current;
    const now = rows[line.sectionRowIndex];
    if (now && rowKey(now) === key) return;
    const at = rows.findIndex((row) => rowKey(row) === key);
    const found = at === -1 ? undefined : body.current?.rows[at]?.querySelectorAll(CONTROLS)[control];
    // A row that has gone leaves the keyboard to the list and not to whatever came into its place.
    const next = found instanceof HTMLElement ? found : body.current?.closest("div");
    next?.focus({ preventScroll: true });
  });
  return { body, onFocusIn };
}

/** What one does with rows that are no longer asked for. To make them inert would be to style all of them anew. @param {Event} event */
function refuse(event) {
  event.preventDefault();
  event.stopPropagation();
}

/** @param {any} props */
function Rows({ columns, rows, rowKey, sort, reverse, onSort, select, caption, still = false, isBusy = false, isOld = false, onPress }) {
  const { body, onFocusIn } = useFocus(rows, rowKey, isBusy);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption ?? "Table"} aria-busy=${isBusy ? "true" : undefined}><table>
    <thead><tr>
      ${select && html`<th class="check"><input type="checkbox" aria-label="Select all rows of this page" checked=${select.all} disabled=${isOld}
        onChange=${(event) => select.toggle(rows, event.target.checked)} /></th>`}
      ${columns.map(
        (/** @type {Column} */ column) => html`<th class=${column.figure ? "figure" : ""}
          aria-sort=${column.sort && column.sort === sort ? (reverse ? "descending" : "ascending") : undefined}>
          ${column.sort
            ? html`<button class="sort" onClick=${() => onSort(column.sort)}>${column.name}${
                column.sort === sort && html`<span class="arrow">${reverse ? " ▾" : " ▴"}</span>`
              }</button>`
            : column.name}
        </th>`,
      )}
    </tr></thead>
    <tbody ref=${body} class=${isOld ? "old" : ""} onClickCapture=${isOld ? refuse : undefined} onPointerDown=${onPress} onfocusin=${onFocusIn}>${rows.map((/** @type {any} */ row, /** @type {number} */ index) => html`<${Row} key=${still ? index : rowKey(row)} row=${row} columns=${columns} select=${select} selected=${select?.has(row)} still=${still} />`)}</tbody>
  </table></div>`;
}

/** One row. Where all that it shows is in its data (`still`), it stays in its place and is drawn again only when these change. */
class Row extends Component {
  /** @param {any} next */
  shouldComponentUpdate(next) {
    const now = /** @type {any} */ (this.props);
    if (!next.still || next.selected !== now.selected || next.columns.length !== now.columns.length) return true;
    if (next.columns.some((/** @type {Column} */ column, /** @type {number} */ index) => column.name !== now.columns[index].name)) return true;
    return next.row !== now.row && JSON.stringify(next.row) !== JSON.stringify(now.row);
  }

  render() {
    const { row, columns, select, selected } = /** @type {any} */ (this.props);
    return html`<tr>
      ${select && html`<td class="check"><input type="checkbox" aria-label="Select" checked=${selected}
        onChange=${(event) => select.toggle([row], event.target.checked)} /></td>`}
      ${columns.map((/** @type {Column} */ column) => html`<td class=${column.figure ? "figure" : ""}>${column.cell(row)}</td>`)}
    </tr>`;
  }
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
