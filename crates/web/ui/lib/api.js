// The HTTP API: every request of every page goes through here.
//
// Who asks is in a cookie that scripts cannot read; the header says that the request comes from these pages and not from
// somebody else's.

/** What the API refused, in its own words. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} reason
   */
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** @type {() => void} */
let onSignedOut = () => {};

/**
 * Says what happens when the session has ended.
 * @param {() => void} action
 */
export function whenSignedOut(action) {
  onSignedOut = action;
}

/**
 * A path of the API from parts, each encoded.
 * @param {...(string|number)} parts
 */
export function path(...parts) {
  return parts.map((part) => encodeURIComponent(String(part))).join("/");
}

/** What says who asks. @returns {Record<string, string>} */
const credentials = () => ({ "X-Warren-Session": "1" });

/** Most rows that are asked for of a list without pages. */
export const PART = 500;

/**
 * A list that may be long: its first rows, and how many there are.
 * @param {string} target
 * @param {AbortSignal} [signal]
 * @returns {Promise<{items: any[], total_count: number}>}
 */
export const part = (target, signal) => get(target, { page: 1, page_size: PART, pagination: "true" }, signal);

/**
 * Asks the API.
 * @param {string} method
 * @param {string} target below `api/`
 * @param {any} [body]
 * @param {{query?: Record<string, any>, reason?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function call(method, target, body, options = {}) {
  /** @type {Record<string, string>} */
  const headers = credentials();
  // A form says itself what it is.
  const isForm = body instanceof URLSearchParams;
  if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  if (options.reason) headers["X-Reason"] = latin1(options.reason);
  let response;
  try {
    response = await fetch(`api/${target}${queryOf(options.query)}`, {
      method,
      headers,
      body: body === undefined ? undefined : isForm ? body : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: options.signal,
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "The broker does not answer. It may be stopped, or the network is down.");
  }
  if (response.ok) return bodyOf(response);
  const answer = await bodyOf(response).catch(() => undefined);
  if (response.status === 401 && answer?.error === "not_authorized" && target !== "session") {
    onSignedOut();
  }
  throw new ApiError(response.status, reasonOf(answer, response));
}

/**
 * @param {string} target
 * @param {Record<string, any>} [query]
 * @param {AbortSignal} [signal]
 */
export const get = (target, query, signal) => call("GET", target, undefined, { query, signal });

/**
 * One of a list, for users who may see the list and are not told of a single one.
 * @param {string} list
 * @param {string} name
 * @param {Record<string, any>} [query]
 * @param {AbortSignal} [signal]
 */
export async function listed(list, name, query, signal) {
  const found = (await get(list, query, signal)).find((/** @type {any} */ one) => one.name === name);
  if (!found) throw new ApiError(404, "There is no such object, or this user may not see it.");
  return found;
}

/**
 * Saves an answer of the API as a file.
 * @param {string} target
 * @param {string} name the file's
 */
export async function download(target, name) {
  const response = await fetch(`api/${target}`, { headers: credentials(), credentials: "same-origin", cache: "no-store" });
  if (!response.ok) throw new ApiError(response.status, reasonOf(await bodyOf(response).catch(() => undefined), response));
  save(await response.blob(), name);
}

/** @param {Blob} content @param {string} name */
export function save(content, name) {
  const url = URL.createObjectURL(content);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  // The browser has opened it by the next turn.
  setTimeout(() => URL.revokeObjectURL(url));
}

/** @param {Response} response */
async function bodyOf(response) {
  const text = await response.text();
  return text === "" ? undefined : JSON.parse(text);
}

/**
 * @param {any} answer
 * @param {Response} response
 */
function reasonOf(answer, response) {
  // Providers of OAuth have a word of their own for it.
  const reason = answer?.reason ?? answer?.error_description;
  if (response.status === 404 && reason === "Not Found") return "It is not there, or not any more.";
  if (typeof reason === "string") return reason;
  if (reason !== undefined) return JSON.stringify(reason);
  return `${response.status} ${response.statusText}`.trim();
}

/** Headers are bytes; what is not Latin-1 cannot be sent. @param {string} text */
function latin1(text) {
  return text.replace(/[^\x20-\xff]/g, "?");
}

/** @param {Record<string, any>} [query] */
function queryOf(query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== "");
  if (given.length === 0) return "";
  return "?" + given.map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join("&");
}
