// Questions before something that cannot be taken back.
import { html, useEffect, useRef, useState } from "./view.js";

/**
 * @typedef {{title: string, text?: any, confirm: string, word?: string, danger?: boolean, field?: {label: string, value: string}}} Question
 */

/** @type {(question: Question) => Promise<string|undefined>} */
let put = async () => undefined;

/**
 * Asks. Gives nothing if the user thought better of it, else what was typed.
 * @param {Question} question with `word`, the user has to type it; with `field`, is asked for a text
 */
export function ask(question) {
  return put(question);
}

/** The place where questions appear. */
export function Dialogs() {
  const [open, change] = useState(/** @type {{question: Question, answer: (text: string|undefined) => void}|null} */ (null));
  const element = useRef(/** @type {HTMLDialogElement|null} */ (null));
  const [text, type] = useState("");
  useEffect(() => {
    put = (question) =>
      new Promise((answer) => {
        type(question.field?.value ?? "");
        change({ question, answer });
      });
  }, []);
  useEffect(() => {
    if (open) element.current?.showModal();
  }, [open]);
  if (!open) return null;
  const { question, answer } = open;
  const close = (/** @type {string|undefined} */ result) => {
    element.current?.close();
    change(null);
    answer(result);
  };
  const ready = question.word === undefined || text === question.word;
  return html`<dialog ref=${element} aria-labelledby="dialog-title" onCancel=${() => close(undefined)}>
    <form method="dialog" onSubmit=${(event) => (event.preventDefault(), ready && close(text))}>
      <h2 id="dialog-title">${question.title}</h2>
      ${question.text && html`<p>${question.text}</p>`}
      ${question.word !== undefined &&
      html`<label>Type <b class="name">${question.word}</b> to go on
        <input value=${text} autocomplete="off" onInput=${(event) => type(event.target.value)} /></label>`}
      ${question.field &&
      html`<label>${question.field.label}
        <input value=${text} onInput=${(event) => type(event.target.value)} /></label>`}
      <div class="actions">
        <button type="button" onClick=${() => close(undefined)}>Cancel</button>
        <button class=${question.danger === false ? "primary" : "danger"} disabled=${!ready}>${question.confirm}</button>
      </div>
    </form>
  </dialog>`;
}
