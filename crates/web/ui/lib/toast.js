// Short messages at the edge of the page: what was done, and how to undo it.
import { html, useEffect, useState } from "./view.js";

/**
 * @typedef {{id: number, text: string, kind: "done"|"failed", undo?: () => Promise<any>}} Toast
 */

const SECONDS = 8;
let last = 0;
/** @type {(toast: Toast) => void} */
let show = () => {};

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
  const [toasts, change] = useState(/** @type {Toast[]} */ ([]));
  const drop = (/** @type {number} */ id) => change((all) => all.filter((one) => one.id !== id));
  useEffect(() => {
    show = (toast) => {
      change((all) => [...all.slice(-4), toast]);
      setTimeout(() => drop(toast.id), SECONDS * 1000);
    };
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.map(
      (toast) => html`<div class=${`toast ${toast.kind}`} key=${toast.id}>
        <span>${toast.text}</span>
        ${toast.undo &&
        html`<button onClick=${() => (drop(toast.id), attempt("Undone.", /** @type {any} */ (toast.undo)))}>Undo</button>`}
        <button class="plain" aria-label="Dismiss" onClick=${() => drop(toast.id)}>×</button>
      </div>`,
    )}
  </div>`;
}
