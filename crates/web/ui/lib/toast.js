// Short messages at the edge of the page: what was done and how to undo it, why something was not done, how far work is.
import { html, useEffect, useState } from "./view.js";

/**
 * @typedef {{
 *   id: number, text: string, kind: "done"|"failed"|"working",
 *   undo?: () => Promise<any>, share?: number, stop?: () => void,
 * }} Toast
 */

/** How long one is shown, and one that offers to undo something: to be read, thought about and reached by the keyboard. */
const SECONDS = 8;
const SECONDS_TO_UNDO = 20;
/** Toasts at once; the oldest make room. */
const TOASTS_MAX = 5;
let last = 0;
/** @type {(change: (all: Toast[]) => Toast[]) => void} */
let change = () => {};

/** @param {Toast} toast */
function show(toast) {
  change((all) => [...all.slice(1 - TOASTS_MAX), toast]);
  if (toast.kind !== "working") setTimeout(() => drop(toast.id), (toast.undo ? SECONDS_TO_UNDO : SECONDS) * 1000);
}

/** @param {number} id */
const drop = (id) => change((all) => all.filter((one) => one.id !== id));

/**
 * Says that something was done.
 * @param {string} text
 * @param {() => Promise<any>} [undo]
 */
export function done(text, undo) {
  show({ id: ++last, text, kind: "done", undo });
}

/** Says why something was not done. @param {unknown} error */
export function failed(error) {
  show({ id: ++last, text: error instanceof Error ? error.message : String(error), kind: "failed" });
}

/**
 * Says how far some work is, until it ends.
 * @param {string} what
 * @param {number} [total] without it nobody knows how long it takes
 * @param {() => void} [stop]
 * @returns {{at: (count: number) => void, end: () => void}}
 */
export function progress(what, total, stop) {
  const id = ++last;
  const toast = { id, text: total === undefined ? what : `0 of ${total} ${what}`, kind: /** @type {const} */ ("working"), stop };
  show(total === undefined ? toast : { ...toast, share: 0 });
  return {
    at: (count) =>
      change((all) => all.map((one) => (one.id !== id || !total ? one : { ...toast, text: `${count} of ${total} ${what}`, share: count / total }))),
    end: () => drop(id),
  };
}

/**
 * Does something and says what came of it. Gives whether it was done.
 * @param {string} text what was done
 * @param {() => Promise<any>} action
 * @param {() => Promise<any>} [undo]
 */
export async function attempt(text, action, undo) {
  try {
    await action();
    done(text, undo);
    return true;
  } catch (error) {
    failed(error);
    return false;
  }
}

/** All that are shown. */
export function Toasts() {
  const [toasts, set] = useState(/** @type {Toast[]} */ ([]));
  useEffect(() => {
    change = set;
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.map(
      (toast) => html`<div class=${`toast ${toast.kind}`} key=${toast.id}>
        <span>${toast.text}${toast.kind === "working" && html`<progress aria-label=${toast.text} max="1" value=${toast.share}></progress>`}</span>
        ${toast.undo &&
        html`<button onClick=${() => (drop(toast.id), attempt("Undone.", /** @type {any} */ (toast.undo)))}>Undo</button>`}
        ${toast.stop && html`<button onClick=${toast.stop}>Stop</button>`}
        ${toast.kind !== "working" && html`<button class="plain" aria-label="Dismiss" onClick=${() => drop(toast.id)}>×</button>`}
      </div>`,
    )}
  </div>`;
}
