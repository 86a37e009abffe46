// Forms from lists of fields, and tables of arguments typed in by hand.
import { html, useLayoutEffect, useRef, useState } from "./view.js";

/**
 * @typedef {{
 *   name: string,
 *   label: string,
 *   kind?: "text"|"number"|"password"|"select"|"check"|"area"|"arguments",
 *   value?: any,
 *   options?: (string|[string, string])[],
 *   hint?: string,
 *   required?: boolean,
 *   suggestions?: {name: string, type?: string, hint?: string, value?: string}[],
 *   when?: (values: any) => boolean,
 *   wide?: boolean,
 * }} Field
 */

/**
 * @param {{
 *   fields: Field[],
 *   submit: string,
 *   onSubmit: (values: any) => Promise<boolean|void>,
 *   keepValues?: boolean,
 * }} props
 */
export function Form({ fields, submit, onSubmit, keepValues = false }) {
  const initial = () => Object.fromEntries(fields.map((field) => [field.name, startOf(field)]));
  const [values, change] = useState(initial);
  const [busy, work] = useState(false);
  const held = useRef(/** @type {Element|null} */ (null));
  useLayoutEffect(() => {
    // What is disabled loses the keyboard.
    if (!busy && held.current instanceof HTMLElement && document.activeElement === document.body) held.current.focus();
  }, [busy]);
  const set = (/** @type {string} */ name) => (/** @type {any} */ value) => change((old) => ({ ...old, [name]: value }));
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (busy) return;
    held.current = document.activeElement;
    work(true);
    const result = await onSubmit(values);
    work(false);
    if (result !== false && !keepValues) change(initial());
  };
  // Nothing can be typed while the answer is waited for: with the answer the fields begin anew.
  return html`<form onSubmit=${send}><fieldset class="grid-form" disabled=${busy}>
    ${fields
      .filter((field) => !field.when || field.when(values))
      .map((field) => html`<${Input} key=${field.name} field=${field} value=${values[field.name]} onChange=${set(field.name)} />`)}
    <div class="actions"><button class="primary">${submit}</button></div>
  </fieldset></form>`;
}

/** @param {Field} field */
function startOf(field) {
  if (field.value !== undefined) return field.value;
  if (field.kind === "check") return false;
  if (field.kind === "arguments") return [];
  if (field.kind === "select") return optionValue(field.options?.[0] ?? "");
  return "";
}

/** @param {string|[string, string]} option */
const optionValue = (option) => (typeof option === "string" ? option : option[0]);

/** @param {{field: Field, value: any, onChange: (value: any) => void}} props */
function Input({ field, value, onChange }) {
  const hint = field.hint && html`<small>${field.hint}</small>`;
  if (field.kind === "arguments") {
    return html`<${ArgumentRows} field=${field} rows=${value} onChange=${onChange} />`;
  }
  if (field.kind === "check") {
    return html`<label class="check-field"><input type="checkbox" name=${field.name} checked=${value}
      onChange=${(event) => onChange(event.target.checked)} /> ${field.label}${hint}</label>`;
  }
  const common = { name: field.name, value, required: field.required };
  if (field.kind === "select") {
    return html`<label>${field.label}<select ...${common} onChange=${(event) => onChange(event.target.value)}>
      ${(field.options ?? []).map(
        (option) => html`<option value=${optionValue(option)}>${typeof option === "string" ? option : option[1]}</option>`,
      )}</select>${hint}</label>`;
  }
  if (field.kind === "area") {
    return html`<label class="wide">${field.label}<textarea ...${common} rows="5" spellcheck=${false}
      onInput=${(event) => onChange(event.target.value)}></textarea>${hint}</label>`;
  }
  return html`<label class=${field.wide ? "wide" : ""}>${field.label}<input ...${common} type=${field.kind ?? "text"}
    autocomplete=${field.kind === "password" ? "new-password" : "off"} spellcheck=${false}
    onInput=${(event) => onChange(event.target.value)} />${hint}</label>`;
}

const TYPES = ["String", "Number", "Boolean", "List"];

/** @param {{field: Field, rows: {name: string, type: string, value: string}[], onChange: (rows: any) => void}} props */
function ArgumentRows({ field, rows, onChange }) {
  const shown = [...rows, { name: "", type: "String", value: "" }];
  const set = (/** @type {number} */ index, /** @type {any} */ part) => {
    const next = shown.map((row, at) => (at === index ? { ...row, ...part } : row));
    onChange(next.filter((row, at) => at < rows.length || row.name !== "" || row.value !== ""));
  };
  return html`<fieldset class="wide arguments"><legend>${field.label}</legend>
    ${shown.map(
      (row, index) => html`<div class="argument">
        <input aria-label=${`${field.label}: name`} placeholder="name" value=${row.name} spellcheck=${false}
          onInput=${(event) => set(index, { name: event.target.value })} />
        <span aria-hidden="true">=</span>
        <input aria-label=${`${field.label}: value`} placeholder="value" value=${row.value} spellcheck=${false}
          onInput=${(event) => set(index, { value: event.target.value })} />
        <select aria-label=${`${field.label}: type`} value=${row.type} onChange=${(event) => set(index, { type: event.target.value })}>
          ${TYPES.map((type) => html`<option value=${type}>${type}</option>`)}</select>
        ${index < rows.length &&
        html`<button type="button" class="plain" aria-label="Remove" onClick=${() => onChange(rows.filter((_, at) => at !== index))}>×</button>`}
      </div>`,
    )}
    ${field.suggestions &&
    html`<div class="suggestions">${field.suggestions.map(
      (one) => html`<button type="button" class="chip" title=${one.hint ?? one.name}
        onClick=${() => onChange([...rows.filter((row) => row.name !== one.name), { name: one.name, type: one.type ?? "String", value: one.value ?? "" }])}>${one.name}</button>`,
    )}</div>`}
  </fieldset>`;
}

/**
 * Rows as the object they stand for.
 * @param {{name: string, type: string, value: string}[]} rows
 * @returns {Record<string, any>}
 */
export function argumentsOf(rows) {
  return Object.fromEntries(rows.filter((row) => row.name !== "").map((row) => [row.name, typed(row)]));
}

/** @param {{name: string, type: string, value: string}} row */
function typed({ name, type, value }) {
  if (type === "Number") {
    const number = Number(value);
    if (value.trim() === "" || Number.isNaN(number)) throw new Error(`${name}: “${value}” is not a number.`);
    return number;
  }
  if (type === "Boolean") {
    if (value !== "true" && value !== "false") throw new Error(`${name} must be true or false, not “${value}”.`);
    return value === "true";
  }
  if (type === "List") return value.split(",").map((one) => one.trim());
  return value;
}

/** An object as rows, to be edited. @param {Record<string, any>} object */
export function rowsOf(object) {
  return Object.entries(object ?? {}).map(([name, one]) => ({
    name,
    type: typeof one === "number" ? "Number" : typeof one === "boolean" ? "Boolean" : Array.isArray(one) ? "List" : "String",
    value: Array.isArray(one) ? one.join(", ") : typeof one === "object" ? JSON.stringify(one) : String(one),
  }));
}

/** JSON typed in by hand. @param {string} text @param {string} what */
export function jsonOf(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is not JSON: ${/** @type {Error} */ (error).message}`);
  }
}
