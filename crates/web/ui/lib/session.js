// Who is here and what they may do. What a user may not do is not offered; the broker checks everything again.
import { createContext, useContext } from "./view.js";

/**
 * @typedef {{name: string, tags: string[]}} User
 */

export const Session = createContext(/** @type {User} */ ({ name: "", tags: [] }));

/** Rights of the user who is here. */
export function useRights() {
  const user = useContext(Session);
  const has = (/** @type {string} */ tag) => user.tags.includes(tag);
  const administrator = has("administrator");
  return {
    user,
    administrator,
    monitor: administrator || has("monitoring"),
    policymaker: administrator || has("policymaker"),
  };
}
