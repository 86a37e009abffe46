// Addresses: `#/queues/%2F/name?sort=messages`. The same as RabbitMQ's where it has them, so that bookmarks go on working.
import { useEffect, useMemo, useState } from "./view.js";

/**
 * @typedef {{parts: string[], query: Record<string, string>}} Route
 */

/** @returns {Route} */
export function route() {
  const [where, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = where === "" ? [] : where.split("/").map(decoded);
  return { parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * The address of a page.
 * @param {...(string|number)} parts
 */
export function link(...parts) {
  return "#/" + parts.map((part) => encodeURIComponent(String(part))).join("/");
}

/**
 * Remembers the page that is open. What it gives goes to another address, unless the user has left that page meanwhile: an answer
 * that comes late takes nobody away from where they are.
 * @returns {(to: string) => void}
 */
export function departure() {
  const page = () => link(...route().parts);
  const here = page();
  return (to) => {
    if (page() === here) location.hash = to;
  };
}

/**
 * Changes the query of the address without a new entry in the history.
 * @param {Record<string, string|undefined>} changes
 */
export function refine(changes) {
  const now = route();
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...now.query, ...changes })) {
    if (value) query.set(key, value);
  }
  const text = query.toString();
  history.replaceState(null, "", link(...now.parts) + (text ? `?${text}` : ""));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** The route as state. */
export function useRoute() {
  const [hash, change] = useState(location.hash);
  useEffect(() => {
    const listener = () => change(location.hash);
    addEventListener("hashchange", listener);
    // It may be another one by now than when this was drawn.
    listener();
    return () => removeEventListener("hashchange", listener);
  }, []);
  return useMemo(route, [hash]);
}
