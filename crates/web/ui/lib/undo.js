// Brings back an exchange or queue that was deleted, with its bindings.
import { call, part, path } from "./api.js";

/**
 * Looks, before it is deleted, at what will have to come back.
 * @param {string} own its path in the API
 * @param {any} body as it is declared
 * @param {...string} lists paths of its bindings, in and out
 * @returns {Promise<(() => Promise<void>)|undefined>} nothing if not all of its bindings can be known
 */
export async function bringBack(own, body, ...lists) {
  const found = await Promise.all(lists.map((list) => part(list))).catch(() => undefined);
  if (!found || found.some((known) => known.items.length < known.total_count)) return undefined;
  const explicit = found.flatMap((known) => known.items).filter((one) => one.source !== "");
  return async () => {
    await call("PUT", own, body);
    for (const { vhost, source, destination, destination_type: kind, routing_key, arguments: table } of explicit) {
      await call("POST", path("bindings", vhost, "e", source, kind === "queue" ? "q" : "e", destination), { routing_key, arguments: table });
    }
  };
}
