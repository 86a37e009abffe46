// Small pieces that pages share.
import { html } from "./view.js";
import { link } from "./route.js";
import { number, value } from "./format.js";

/** An error, where its cause is. @param {{error: Error|undefined}} props */
export function Problem({ error }) {
  return error ? html`<p class="problem" role="alert">${error.message}</p>` : null;
}

/** What a page shows before its data is there. @param {{error?: Error}} props */
export function Waiting({ error }) {
  return error ? html`<${Problem} error=${error} />` : html`<p class="empty" aria-busy="true">Loading…</p>`;
}

/**
 * What needs one of some names, once they are known.
 * @param {{of: {names: string[]|undefined, error?: Error}, children: (names: string[]) => any}} props
 */
export function Choose({ of: { names, error }, children }) {
  if (names === undefined) return html`<${Waiting} error=${error} />`;
  return names.length > 0 ? children(names) : html`<p class="empty">There is nothing to choose from.</p>`;
}

/** Characters of a name of which not all may be in sight. */
const LONG_NAME = 40;

/** A link to a page, with a name that a user chose. @param {{to: string[], children?: any}} props */
export function Link({ to, children }) {
  const title = typeof children === "string" && children.length > LONG_NAME ? children : undefined;
  return html`<a class="name" href=${link(...to)} title=${title}>${children}</a>`;
}

/** The name of an exchange, which may be empty. @param {string} name */
export const exchangeName = (name) => (name === "" ? "(AMQP default)" : name);

/** The state of an object, by a word and a colour. @param {{state: any}} props */
export function State({ state }) {
  const bad = ["down", "blocked", "crashed", "stopped", "closed", "minority", "terminated"];
  const pale = ["idle", "flow", "blocking", "paused", "opening", "starting", "closing", "tuning"];
  const kind = bad.includes(state) ? "bad" : pale.includes(state) ? "pale" : "good";
  return state ? html`<span class=${`state ${kind}`}>${state}</span>` : "–";
}

/** Short marks: D for durable. @param {{marks: [boolean|undefined, string, string][]}} props */
export function Marks({ marks }) {
  return html`${marks
    .filter(([on]) => on)
    .map(([, letter, meaning]) => html`<abbr class="mark" title=${meaning}>${letter}</abbr>`)}`;
}

/** Arguments, one to a line. @param {{of: any}} props */
export function Arguments({ of }) {
  const entries = Object.entries(of ?? {});
  if (entries.length === 0) return "–";
  return html`<ul class="plain-list">${entries.map(
    ([name, one]) => html`<li><span class="muted">${name}</span> ${value(one)}</li>`,
  )}</ul>`;
}

/** Names and values. @param {{rows: [string, any][]}} props */
export function Facts({ rows }) {
  return html`<dl class="facts">${rows
    .filter(([, one]) => one !== undefined)
    .map(([name, one]) => html`<div><dt>${name}</dt><dd>${one === null || one === "" ? "–" : one}</dd></div>`)}</dl>`;
}

/** A part of a page that can be folded. @param {{title: string, open?: boolean, children?: any, id?: string}} props */
export function Section({ title, open = false, children, id }) {
  return html`<details class="card section" open=${open} id=${id}><summary><h2>${title}</h2></summary><div class="body">${children}</div></details>`;
}

/** Says that a list is longer than what is shown of it. @param {{of: {items: any[], total_count: number}|undefined}} props */
export function Rest({ of }) {
  if (!of || of.total_count <= of.items.length) return null;
  return html`<p class="muted">The first ${number(of.items.length)} of ${number(of.total_count)}.</p>`;
}

/** A large figure. @param {{name: string, children?: any, to?: string[], bad?: boolean}} props */
export function Figure({ name, children, to, bad }) {
  const inside = html`<b>${children}</b><span>${name}</span>`;
  const kind = `figure-card${bad ? " bad" : ""}`;
  return to ? html`<a class=${kind} href=${link(...to)}>${inside}</a>` : html`<div class=${kind}>${inside}</div>`;
}
