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
  const headers = { "X-Warren-Session": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (options.reason) headers["X-Reason"] = latin1(options.reason);
  let response;
  try {
    response = await fetch(`api/${target}${queryOf(options.query)}`, {
      method,
      headers,
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
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
  const reason = answer?.reason;
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
