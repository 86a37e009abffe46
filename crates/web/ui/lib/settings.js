// What a user prefers, kept in this browser: theme, refresh interval, page sizes, columns. Never a secret.
import { useEffect, useState } from "./view.js";

const PREFIX = "warren.";
/** @type {Map<string, Set<() => void>>} */
const listeners = new Map();

/**
 * @template T
 * @param {string} name
 * @param {T} fallback
 * @returns {T}
 */
export function setting(name, fallback) {
  try {
    const kept = localStorage.getItem(PREFIX + name);
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
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
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
