// Virtual hosts that the user may enter, for lists to choose from.
import { get } from "./api.js";
import { usePoll } from "./poll.js";

/** @returns {string[]} their names */
export function useVhosts() {
  const { data } = usePoll((signal) => get("vhosts", { columns: "name" }, signal), []);
  return (data ?? []).map((/** @type {any} */ one) => one.name);
}
