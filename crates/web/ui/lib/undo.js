// Brings back what was deleted, as far as its page knew it: an exchange or queue with its bindings.
import { call, path } from "./api.js";

/**
 * @param {string} own its path in the API
 * @param {any} body as it is declared
 * @param {...({items: any[], total_count: number}|undefined)} bindings in and out
 * @returns {(() => Promise<void>)|undefined} nothing if not all of its bindings are known
 */
export function bringBack(own, body, ...bindings) {
  if (bindings.some((known) => !known || known.items.length < known.total_count)) return undefined;
  const explicit = bindings.flatMap((known) => known?.items ?? []).filter((one) => one.source !== "");
  return async () => {
    await call("PUT", own, body);
    for (const { vhost, source, destination, destination_type: kind, routing_key, arguments: table } of explicit) {
      await call("POST", path("bindings", vhost, "e", source, kind === "queue" ? "q" : "e", destination), { routing_key, arguments: table });
    }
  };
}
