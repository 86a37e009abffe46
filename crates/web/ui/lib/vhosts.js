// Virtual hosts that the user may enter, for lists to choose from.
import { get } from "./api.js";
import { usePoll } from "./poll.js";

/** @returns {{names: string[]|undefined, error: Error|undefined}} names: undefined before they are known */
export function useVhosts() {
  const { data, error } = usePoll((signal) => get("vhosts", { columns: "name" }, signal), []);
  return { names: namesOf(data), error };
}

/** @param {any[]|undefined} rows @returns {string[]|undefined} */
export const namesOf = (rows) => rows?.map((one) => one.name);
