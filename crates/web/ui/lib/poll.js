// Data that stays fresh: asked for again and again while somebody looks.
import { useCallback, useEffect, useRef, useState } from "./view.js";
import { useSetting } from "./settings.js";

/** Seconds between two requests, without a choice of the user. */
export const REFRESH = 5;

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {any[]} inputs ask again at once when one of these changes
 * @returns {{data: T | undefined, error: Error | undefined, isOld: boolean, reload: () => void}}
 *   isOld: the data is not what is asked for now, but what was asked for before
 */
export function usePoll(ask, inputs) {
  const [state, change] = useState(/** @type {{data?: T, of?: string, error?: Error}} */ ({}));
  const [seconds] = useSetting("refresh", REFRESH);
  const [turn, again] = useState(0);
  const asking = useRef(ask);
  asking.current = ask;
  const key = JSON.stringify(inputs);
  const shown = useRef(key);
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    if (shown.current !== key) {
      shown.current = key;
      change((old) => ({ ...old, error: undefined }));
    }
    const tick = async () => {
      try {
        const data = await asking.current(stop.signal);
        if (!stop.signal.aborted) change({ data, of: key });
      } catch (error) {
        if (!stop.signal.aborted) change((old) => ({ ...old, error: /** @type {Error} */ (error) }));
      }
      if (!stop.signal.aborted && seconds > 0) timer = window.setTimeout(waken, seconds * 1000);
    };
    // A page that nobody sees asks for nothing.
    const waken = () => {
      if (!document.hidden) return void tick();
      document.addEventListener("visibilitychange", waken, { once: true });
    };
    void tick();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", waken);
    };
  }, [key, seconds, turn]);
  return { data: state.data, error: state.error, isOld: state.data !== undefined && state.of !== key, reload: useCallback(() => again((count) => count + 1), []) };
}
