// A browser, a broker with something in it, and what every page must hold.
import assert from "node:assert/strict";
import axeCore from "axe-core";
import { chromium } from "playwright-core";

export const URL_OF_UI = (process.env.UI_URL ?? "http://127.0.0.1:15672").replace(/\/$/, "");
/** How long anything may take that a test waits for, on a machine with much else to do. */
export const PATIENCE_MS = 60_000;
/** Paths that answer 404 while their plugin is off; the page says so. */
const OF_PLUGINS = /\/api\/(traces|trace-files|top\/)/;
/** Features that are off: what Playwright turns off (the last list counts), and surfaces of the browser's own, two renderers for each page. */
const OFF = [
  "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable", "LensOverlay",
  "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints",
  "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch", "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
];
const FLAGS = [
  `--disable-features=${OFF.join()}`,
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Asks the API as the administrator. */
export async function api(method, path, body, user = "guest:guest") {
  const response = await fetch(`${URL_OF_UI}/api/${path}`, {
    method,
    // A connection for each request: one that is kept may be closed by the broker in the moment in which it is used again.
    headers: { Authorization: `Basic ${Buffer.from(user).toString("base64")}`, "Content-Type": "application/json", Connection: "close" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

/** How much later an answer of the API comes at most: in any order, they show what a test takes for granted. */
const LATE_MS = Number(process.env.LATE_MS ?? 0);

/** What browsers have open. */
const visits = new Set();

/** Toasts stay as long as a test may take to come to them. Nothing else in a page waits that long. */
function keepToasts() {
  const plain = window.setTimeout;
  window.setTimeout = (what, ms, ...rest) => plain(what, ms > 5_000 ? 100 * ms : ms, ...rest);
}

/** A browser whose every context is patient, and ends with `leave`. @returns {Promise<import("playwright-core").Browser>} */
export async function launch() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS, timeout: PATIENCE_MS });
  const newContext = browser.newContext.bind(browser);
  browser.newContext = async (options) => {
    const context = await newContext(options);
    visits.add(context);
    context.on("close", () => visits.delete(context));
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(keepToasts);
    if (LATE_MS > 0) await context.route("**/api/**", async (route) => {
      await new Promise((resolve) => setTimeout(resolve, LATE_MS * Math.random()));
      // Whoever asked may be gone.
      await route.continue().catch(() => undefined);
    });
    return context;
  };
  return browser;
}

/** Cookies of users who have logged in. */
const cookies = new Map();

/** Opens a session as the login page does, once for each user. */
async function session(user, password) {
  const response = await fetch(`${URL_OF_UI}/api/session`, { method: "POST", headers: { "Content-Type": "application/json", "X-Warren-Session": "1" }, body: JSON.stringify({ username: user, password }) });
  assert.ok(response.ok, `${user} logs in: ${response.status}`);
  return response.headers.getSetCookie().map((one) => {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(one);
    return { name, value, url: URL_OF_UI, httpOnly: true, sameSite: "Strict" };
  });
}

/** Complaints but those about what a test has deleted while the page was asking for it. */
export const grave = (complaints) => complaints.filter((one) => !one.includes("status of 404"));
/** Complaints but those about requests that were under way when the user logged out. */
export const whileIn = (complaints) => complaints.filter((one) => !one.includes("status of 401"));

/**
 * A page with a user logged in. Whatever the page complains about is collected.
 * With `script`, that runs before the page's own; with `byHand`, the user logs in as users do, and may log out.
 * @returns {Promise<{page: import("playwright-core").Page, complaints: string[], open: (hash: string) => Promise<void>}>}
 */
export async function enter(browser, { user = "guest", password = "guest", dark = false, width = 1280, height = 900, script, byHand = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light" });
  if (script) await context.addInitScript(script);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    const { url } = message.location();
    if (["error", "warning"].includes(message.type()) && !(message.text().includes("404") && OF_PLUGINS.test(url))) complaints.push(`${message.text()} ${url}`);
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("dialog", (dialog) => (complaints.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on("request", (request) => request.url().startsWith(URL_OF_UI) || request.url().startsWith("blob:") || complaints.push(`asks ${request.url()}`));
  if (!byHand) {
    if (!cookies.has(user)) cookies.set(user, session(user, password));
    await context.addCookies(await cookies.get(user));
  }
  await page.goto(`${URL_OF_UI}/`);
  if (byHand) await logIn(page, user, password);
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  return { page, complaints, open: (hash) => open(page, hash) };
}

/** Ends all visits: a page that is open goes on asking. What it asks for now is nobody's matter any more. */
export const leave = () =>
  Promise.all([...visits].map(async (context) => {
    for (const one of [...context.pages(), context]) await one.unrouteAll({ behavior: "ignoreErrors" });
    await context.close();
  }));

/** Fills the form of the login page. */
export async function logIn(page, user, password) {
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in", exact: true }).click();
}

/** Goes to a page, and waits until it is there and has all that it asks for. What was said on the one before has been read. */
async function open(page, hash) {
  await page.evaluate((to) => new Promise((resolve) => {
    document.querySelectorAll(".toast [aria-label=Dismiss]").forEach((one) => one.click());
    if (location.hash === to) return resolve();
    // Behind the page's own listeners, which draw the other page at once.
    addEventListener("hashchange", () => setTimeout(resolve), { once: true });
    location.hash = to;
  }), `#/${hash}`);
  await page.waitForFunction(() => document.querySelector("main h1") && !document.querySelector("[aria-busy=true]"));
}

/** Rules that depend on colours. */
const OF_COLOURS = ["color-contrast", "link-in-text-block"];

/**
 * What axe has against the page as it is.
 * @param {{colours?: boolean, place?: string}} [options] colours: ask only for what depends on them, of a page that is known in
 *   others; place: look only there
 */
export async function axe(page, { colours = false, place = "html" } = {}) {
  if (await page.evaluate(() => !("axe" in window))) await page.evaluate(axeCore.source);
  const options = { resultTypes: ["violations"], preload: false, ...(colours && { runOnly: OF_COLOURS }) };
  const violations = await page.evaluate(async ([place, options]) => (await window.axe.run(place, options)).violations, [place, options]);
  return violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`);
}

/** Objects of every kind, so that no page is empty. */
export async function furnish() {
  await api("PUT", "vhosts/shop", { description: "The shop", tags: "production", default_queue_type: "classic" });
  await api("PUT", "users/reader", { password: "reader", tags: "management" });
  await api("PUT", "users/watcher", { password: "watcher", tags: "monitoring" });
  await api("PUT", "users/planner", { password: "planner", tags: "policymaker" });
  for (const user of ["planner", "watcher"]) await api("PUT", `permissions/shop/${user}`, { configure: "", write: "", read: ".*" });
  await api("PUT", "permissions/shop/reader", { configure: "", write: "", read: ".*" });
  await api("PUT", "permissions/shop/guest", { configure: ".*", write: ".*", read: ".*" });
  await api("PUT", "topic-permissions/shop/reader", { exchange: "amq.topic", write: "^a", read: ".*" });
  await api("PUT", "vhost-limits/shop/max-queues", { value: 1000 });
  await api("PUT", "user-limits/reader/max-connections", { value: 10 });
  await api("PUT", "policies/shop/short", { pattern: "^orders", definition: { "max-length": 100000 }, "apply-to": "queues", priority: 1 });
  await api("PUT", "operator-policies/shop/ceiling", { pattern: ".*", definition: { "max-length": 1000000 }, "apply-to": "queues" });
  await api("PUT", "cluster-name", { name: "warren@shop" });
  await api("PUT", "global-parameters/contact", { value: "ops@example.org" });
  for (const [name, type] of [["events", "topic"], ["audit", "fanout"], ["dead", "direct"]]) {
    await api("PUT", `exchanges/shop/${name}`, { type, durable: true });
  }
  await api("POST", "bindings/shop/e/events/e/audit", { routing_key: "#" });
  await api("PUT", "exchanges/shop/reminders", { type: "x-delayed-message", durable: true, arguments: { "x-delayed-type": "direct" } });
  for (const days of [1, 7]) {
    await api("POST", "exchanges/shop/reminders/publish", { properties: { headers: { "x-delay": days * 86_400_000 } }, routing_key: "renew", payload: "", payload_encoding: "string" });
  }
  for (const name of ["orders", "orders.dlq", "invoices", "mail", "search-index"]) {
    await api("PUT", `queues/shop/${name}`, {
      durable: true,
      arguments: name === "orders" ? { "x-dead-letter-exchange": "dead", "x-message-ttl": 86400000 } : name === "invoices" ? { "x-replay-window-ms": 3600000 } : {},
    });
  }
  await api("POST", "bindings/shop/e/events/q/orders", { routing_key: "order.*" });
  await api("POST", "bindings/shop/e/events/q/invoices", { routing_key: "order.paid" });
  await api("POST", "bindings/shop/e/audit/q/search-index", { routing_key: "" });
  await api("POST", "bindings/shop/e/dead/q/orders.dlq", { routing_key: "order.new" });
  await api("POST", "bindings/shop/e/events/q/mail", { routing_key: "order.#" });
  for (let index = 0; index < 20; index += 1) {
    await api("POST", "exchanges/shop/dead/publish", {
      properties: { delivery_mode: 2, content_type: "application/json", headers: { tenant: index % 2 ? "blue" : "red" } },
      routing_key: "order.new",
      payload: JSON.stringify({ order: index, total: 10 * index }),
      payload_encoding: "string",
    });
  }
}

/** Every page. */
export const PAGES = [
  ["overview", ""],
  ["node", nodeAddress],
  ["connections", "connections"],
  ["connection", connectionAddress],
  ["channels", "channels"],
  ["channel", channelAddress],
  ["consumers", "consumers"],
  ["exchanges", "exchanges"],
  ["exchange", "exchanges/shop/events"],
  ["delaying-exchange", "exchanges/shop/reminders"],
  ["queues", "queues"],
  ["queue", "queues/shop/orders"],
  ["topology", "topology?vhost=shop"],
  ["users", "users"],
  ["user", "users/reader"],
  ["vhosts", "vhosts"],
  ["vhost", "vhosts/shop"],
  ["policies", "policies"],
  ["policy", "policies/shop/short"],
  ["operator-policy", "operator-policies/shop/ceiling"],
  ["limits", "limits"],
  ["parameters", "parameters"],
  ["definitions", "definitions"],
  ["features", "feature-flags"],
  ["cluster", "cluster-name"],
  ["tracing", "traces"],
  ["top", "top"],
];

/** The address of a page; some have names that the broker gives. */
export const addressOf = (hash) => (typeof hash === "string" ? hash : hash());

async function nodeAddress() {
  const [{ name }] = await api("GET", "nodes");
  return `nodes/${encodeURIComponent(name)}`;
}

async function connectionAddress() {
  const found = (await api("GET", "connections")).find((one) => one.vhost === "shop");
  return `connections/${encodeURIComponent(found.name)}`;
}

async function channelAddress() {
  const found = (await api("GET", "channels")).find((one) => one.vhost === "shop" && one.consumer_count > 0);
  return `channels/${encodeURIComponent(found.name)}`;
}

/** Asks until the answer holds. */
export async function eventually(ask) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Opens a section and gives it. */
export async function section(page, title) {
  const found = page.locator("details.section").filter({ has: page.getByRole("heading", { name: title, exact: true }) });
  await found.evaluate((element) => (element.open = true));
  return found;
}

/** Answers the question that a page asks. */
export async function confirm(page, word, button) {
  const dialog = page.getByRole("dialog");
  if (word !== undefined) await dialog.getByRole("textbox").fill(word);
  await dialog.getByRole("button", { name: button, exact: true }).click();
}
