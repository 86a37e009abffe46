// Figures and times as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** @param {number|null|undefined|string} count */
export function number(count) {
  return typeof count === "number" ? count.toLocaleString("en-US", { maximumFractionDigits: 2 }) : "–";
}

/** Large figures in few characters: 12.3k. @param {number|null|undefined} count */
export function short(count) {
  if (typeof count !== "number") return "–";
  for (const [limit, unit] of /** @type {[number, string][]} */ ([[1e9, "G"], [1e6, "M"], [1e4, "k"]])) {
    if (Math.abs(count) >= limit) {
      const scaled = unit === "k" ? count / 1e3 : count / limit;
      return scaled.toFixed(scaled >= 100 ? 0 : 1) + unit;
    }
  }
  return number(Math.round(count * 10) / 10);
}

/** @param {number|null|undefined} count */
export function bytes(count) {
  if (typeof count !== "number") return "–";
  let value = count;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(value >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

/** @param {number|null|undefined} perSecond */
export function rate(perSecond) {
  return typeof perSecond === "number" ? `${short(perSecond)}/s` : "–";
}

/** @param {number|null|undefined} milliseconds since 1970 */
export function time(milliseconds) {
  return typeof milliseconds === "number" ? new Date(milliseconds).toLocaleString() : "–";
}

/** @param {number|null|undefined} milliseconds */
export function duration(milliseconds) {
  if (typeof milliseconds !== "number") return "–";
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count !== 0);
  if (first === -1) return "0s";
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count}${unit}`)
    .join(" ");
}

/** A value of a table of arguments, short. @param {any} value */
export function value(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A figure's rate, where the API gives one. @param {any} of @param {string} name */
export function rateOf(of, name) {
  return of?.[`${name}_details`]?.rate;
}
