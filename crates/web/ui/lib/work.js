// Work on many things at once: how far it has come, what could not be done, and a way to stop.
import { done, failed, progress } from "./toast.js";

/** Requests that are under way at once. */
const AT_ONCE = 8;
/** Fewer are done before anybody could read how far they are. */
const WORTH_SHOWING = 20;

/**
 * Does the same with each of many. Says at the end how many it was done with, and the first reason why not.
 * @template T
 * @param {T[]} rows
 * @param {string} what what was done, behind the number: "queues purged"
 * @param {(row: T) => Promise<any>} action
 */
export async function doEach(rows, what, action) {
  const waiting = [...rows];
  let finished = 0;
  /** @type {unknown[]} */
  const refused = [];
  const shown = rows.length >= WORTH_SHOWING ? progress(what, rows.length, () => void (waiting.length = 0)) : undefined;
  const worker = async () => {
    for (let row = waiting.pop(); row !== undefined; row = waiting.pop()) {
      try {
        await action(row);
        finished += 1;
      } catch (error) {
        refused.push(error);
      }
      shown?.at(finished + refused.length);
    }
  };
  waiting.reverse();
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  shown?.end();
  if (finished > 0 || refused.length === 0) done(`${finished} ${what}.`);
  if (refused.length > 0) {
    const [first] = refused;
    failed(`${refused.length} not: ${first instanceof Error ? first.message : String(first)}`);
  }
}
