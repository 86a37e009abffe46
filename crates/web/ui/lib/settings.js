// What a user prefers, kept in this browser: refresh interval, page sizes, columns, filters. Never a secret.
import { useEffect, useState } from "./view.js";

const PREFIX = "warren.";
/** These belong to the browser: they hold before anybody has logged in. */
const OF_BROWSER = ["theme"];
/** Whose settings the others are. */
let owner = "";
/** @type {Map<string, Set<() => void>>} */
const listeners = new Map();

/** Says who is here; users of one browser have settings of their own. @param {string} user */
export function settingsOf(user) {
  owner = user;
}

/** @param {string} name */
const keyOf = (name) => PREFIX + (OF_BROWSER.includes(name) ? name : `${encodeURIComponent(owner)}.${name}`);

/**
 * @template T
 * @param {string} name
 * @param {T} fallback
 * @returns {T}
 */
export function setting(name, fallback) {
  try {
    const kept = localStorage.getItem(keyOf(name));
    return kept === null ? fallback : JSON.parse(kept);
  } catch {
    return fallback;
  }
}

/**
 * @param {string} name
 * @param {any} value
 */
export function keep(name, value) {
  try {
    localStorage.setItem(keyOf(name), JSON.stringify(value));
  } catch {
    // A browser that keeps nothing still shows everything.
  }
  listeners.get(name)?.forEach((listener) => listener());
}

/**
 * A setting as state: all who use it see a change.
 * @template T
 * @param {string} name
 * @param {T} fallback
 * @returns {[T, (value: T) => void]}
 */
export function useSetting(name, fallback) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listener = () => redraw((count) => count + 1);
    const own = listeners.get(name) ?? new Set();
    listeners.set(name, own.add(listener));
    return () => void own.delete(listener);
  }, [name]);
  return [setting(name, fallback), (value) => keep(name, value)];
}
