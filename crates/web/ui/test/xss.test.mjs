// Names, arguments, payloads and descriptions are users' text: none of it may ever run.
//
// A grid: every place where a user can put a text, and every payload. A cell holds if the page shows the text as it is and nothing
// ran. What ran would open a dialog, ask elsewhere, or be refused by the Content-Security-Policy: all of that is a complaint.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import amqp from "amqplib";
import { api, enter, eventually, grave, launch, leave, section } from "./harness.mjs";

const PAYLOADS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg/onload=alert(1)>",
  "\"><script>alert(1)</script>",
  "'-alert(1)-'",
  "javascript:alert(1)",
  "</title><script>alert(1)</script>",
  "<a href=javascript:alert(1)>x</a>",
  "{{constructor.constructor('alert(1)')()}}",
  "${alert(1)}",
  "<iframe srcdoc='<script>alert(1)</script>'>",
  "\u202e<details open ontoggle=alert(1)>",
];
/** Cells of the grid, at least: 35 places. */
const CELLS_MIN = 420;
const AMQP_URL = (process.env.AMQP_URL ?? "amqp://127.0.0.1:5672").replace("amqp://", "amqp://guest:guest@");

let browser;
before(async () => {
  browser = await launch();
});
afterEach(leave);
after(() => browser?.close());

const e = encodeURIComponent;

/** Names of the places, each of which makes its text its own: `vhost description<script>…`. */
const at = (place, payload) => `${place} ${payload}`;
/** The same as a regular expression. */
const literally = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
/** Tags and lists are cut at commas; no payload has one. */
const V = (payload) => at("vhost", payload);

/** Puts a payload wherever a user may put a text. Gives how to take the client away again. */
async function sow(payload) {
  const t = (place) => at(place, payload);
  const v = e(V(payload));
  const user = t("user");
  await api("PUT", `vhosts/${v}`, { description: t("description"), tags: [t("vhost tag")] });
  await api("PUT", `permissions/${v}/guest`, { configure: ".*", write: ".*", read: ".*" });
  await api("PUT", `users/${e(user)}`, { password: "p", tags: [t("user tag"), "management"] });
  await api("PUT", `permissions/${v}/${e(user)}`, { configure: literally(t("configure")), write: literally(t("write")), read: literally(t("read")) });
  const exchange = t("exchange");
  await api("PUT", `exchanges/${v}/${e(exchange)}`, { type: "topic", durable: true, arguments: { [t("exchange argument")]: t("exchange value"), "alternate-exchange": t("alternate") } });
  await api("PUT", `topic-permissions/${v}/${e(user)}`, { exchange, write: literally(t("topic write")), read: literally(t("topic read")) });
  const queue = t("queue");
  await api("PUT", `queues/${v}/${e(queue)}`, { durable: true, arguments: { [t("queue argument")]: t("queue value"), "x-dead-letter-exchange": t("dead"), "x-dead-letter-routing-key": t("dead key") } });
  await api("POST", `bindings/${v}/e/${e(exchange)}/q/${e(queue)}`, { routing_key: t("binding key"), arguments: { [t("binding argument")]: t("binding value") } });
  await api("PUT", `policies/${v}/${e(t("policy"))}`, { pattern: `^${literally(t("pattern"))}`, definition: { "dead-letter-exchange": t("definition") } });
  await api("PUT", `operator-policies/${v}/${e(t("operator policy"))}`, { pattern: `^${literally(t("operator pattern"))}`, definition: { "max-length": 5 }, "apply-to": "queues" });
  await api("PUT", `global-parameters/${e(t("parameter"))}`, { value: { [t("parameter key")]: t("parameter value") } });
  await api("PUT", `vhost-limits/${v}/max-queues`, { value: 9 });
  const message = Object.fromEntries(["app_id", "correlation_id", "message_id", "type", "content_type", "reply_to"].map((name) => [name, t(name)]));
  await api("POST", `exchanges/${v}/amq.default/publish`, {
    routing_key: queue,
    payload: t("payload"),
    payload_encoding: "string",
    properties: { ...message, headers: { [t("header")]: t("header value") } },
  });
  await eventually(async () => assert.equal((await api("GET", `queues/${v}/${e(queue)}`)).messages, 1));
  const connection = await amqp.connect(`${AMQP_URL}/${v}`, { clientProperties: { connection_name: t("connection name"), product: t("product"), [t("property")]: t("property value") } });
  const channel = await connection.createChannel();
  const other = t("consumed");
  await channel.assertQueue(other, { exclusive: true });
  await channel.consume(other, () => {}, { consumerTag: t("consumer tag"), arguments: { [t("consumer argument")]: t("consumer value") } });
  return () => connection.close();
}

/** Where each text has to be seen. */
const PAGES = [
  ["vhosts", () => "vhosts?", ["vhost", "description"]],
  ["vhost", (p) => `vhosts/${e(V(p))}`, ["vhost", "description", "vhost tag", "user", "\\configure", "\\write", "\\read", "exchange", "\\topic write", "\\topic read"]],
  ["users", () => "users", ["user", "user tag", "vhost"]],
  ["user", (p) => `users/${e(at("user", p))}`, ["user", "user tag", "vhost", "\\configure", "\\topic write", "exchange"]],
  ["exchanges", (p) => `exchanges?vhost=${e(V(p))}`, ["exchange", "vhost"]],
  ["exchange", (p) => `exchanges/${e(V(p))}/${e(at("exchange", p))}`, ["exchange", "exchange argument", "exchange value", "alternate", "queue", "binding key", "binding argument", "binding value"]],
  ["queues", (p) => `queues?vhost=${e(V(p))}`, ["queue", "vhost", "consumed"]],
  ["queue", (p) => `queues/${e(V(p))}/${e(at("queue", p))}`, ["queue", "queue argument", "queue value", "dead", "dead key", "exchange", "binding key", "binding argument"]],
  ["consumed", (p) => `queues/${e(V(p))}/${e(at("consumed", p))}`, ["consumed", "consumer tag", "consumer argument", "consumer value"]],
  ["topology", (p) => `topology?vhost=${e(V(p))}`, ["vhost", "exchange", "queue"]],
  ["policies", () => "policies", ["policy", "\\pattern", "definition", "operator policy", "\\operator pattern", "vhost"]],
  ["operator policy", (p) => `operator-policies/${e(V(p))}/${e(at("operator policy", p))}`, ["operator policy", "\\operator pattern"]],
  ["policy", (p) => `policies/${e(V(p))}/${e(at("policy", p))}`, ["policy", "\\pattern", "definition"]],
  ["limits", () => "limits", ["vhost"]],
  ["parameters", () => "parameters", ["parameter", "\"parameter key", "\"parameter value"]],
  ["consumers", (p) => `consumers?vhost=${e(V(p))}`, ["vhost", "consumed", "consumer tag", "consumer argument", "consumer value"]],
  ["connections", (p) => `connections?vhost=${e(V(p))}`, ["vhost", "connection name", "product"]],
];

/** A text as the page has it: behind `\` it is a regular expression, behind `"` it is inside JSON. */
function shownAs(place, payload) {
  if (place.startsWith("\\")) return literally(at(place.slice(1), payload));
  if (place.startsWith("\"")) return JSON.stringify(at(place.slice(1), payload)).slice(1, -1);
  return at(place, payload);
}

/** Texts that a page does not show, and how much was planted in it. */
const looked = (page, texts) =>
  page.evaluate((wanted) => {
    document.querySelectorAll("details").forEach((one) => (one.open = true));
    const main = document.querySelector("main");
    const inputs = [...main.querySelectorAll("input, textarea, option")].map((one) => one.value);
    const titles = [...main.querySelectorAll("[title]")].map((one) => one.title);
    const all = [main.textContent, document.title, ...inputs, ...titles].join("\n");
    return {
      missing: wanted.filter((text) => !all.includes(text)),
      planted: document.querySelectorAll("main script, main iframe, main object, main img, [onload], [onerror], [ontoggle], [onclick], a[href^='javascript' i], form[action]").length,
    };
  }, texts);

test("a text of a user never becomes markup or a script", async (context) => {
  const { page, complaints, open } = await enter(browser);
  const cells = new Set();
  const look = async (payload, places, name) => {
    const texts = places.map((place) => shownAs(place, payload));
    await eventually(async () => assert.deepEqual(await looked(page, texts), { missing: [], planted: 0 }, name));
    for (const place of places) cells.add(at(place.replace(/^[\\"]/, ""), payload));
  };
  for (const payload of PAYLOADS) {
    const leave = await sow(payload);
    try {
      for (const [name, hash, places] of PAGES) {
        await open(hash(payload));
        await look(payload, places, name);
      }
      // One connection and its channel, by the links of the list.
      await page.getByRole("link").filter({ hasText: "→" }).or(page.locator("main tbody a")).first().click();
      await page.getByRole("heading", { name: /^Connection /, level: 1 }).waitFor();
      await look(payload, ["connection name", "property", "property value", "product"], "connection");
      await page.locator("main tbody a").first().click();
      await page.getByRole("heading", { name: /^Channel /, level: 1 }).waitFor();
      await look(payload, ["consumer tag", "consumer value", "consumed"], "channel");
      // Messages: looked at and got.
      await open(`queues/${e(V(payload))}/${e(at("queue", payload))}`);
      const messages = await section(page, "Messages");
      await messages.getByRole("button", { name: "Look" }).click();
      await messages.getByText("1 shown").waitFor();
      const parts = ["payload", "header", "header value", "app_id", "correlation_id", "message_id", "type", "content_type", "reply_to"];
      await look(payload, parts, "messages");
      assert.equal(await messages.locator("pre").first().textContent(), at("payload", payload));
      const get = await section(page, "Get messages");
      await get.getByRole("button", { name: "Get messages" }).click();
      await get.locator("pre").first().waitFor();
      assert.equal(await get.locator("pre").first().textContent(), at("payload", payload));
      // Questions and their answers name what they are about.
      await page.getByRole("button", { name: "Delete…" }).click();
      await page.getByRole("dialog").locator("b.name").getByText(at("queue", payload), { exact: true }).waitFor();
      await page.keyboard.press("Escape");
      // An error repeats what was asked for.
      await open(`queues/${e(at("no such vhost", payload))}/${e(at("no such queue", payload))}`);
      await look(payload, ["no such queue"], "error");
      await open(`connections?name=${e(at("filter", payload))}`);
      await look(payload, ["filter"], "filter");
      await page.getByLabel("Filter by name").fill("");
      await page.keyboard.press("Enter");
      // Files are named and filled by others.
      await open("definitions");
      const file = { parameters: [], queues: [{ vhost: "/", name: at("queue in a file", payload), durable: true, auto_delete: false, arguments: {} }] };
      await page.locator("input[type=file]").setInputFiles({ name: `${at("file", payload).replaceAll("/", "")}.json`, mimeType: "application/json", buffer: Buffer.from(JSON.stringify(file)) });
      await page.getByText(": 1 new").waitFor();
      await look(payload, ["queue in a file"], "definitions");
      await eventually(async () => assert.ok((await page.locator("h3.name").textContent()).includes(at("file", payload).replaceAll("/", ""))));
      cells.add(at("file", payload));
      await api("PUT", "cluster-name", { name: at("cluster", payload) });
      await open("cluster-name");
      await look(payload, ["cluster"], "cluster");
      // A name that a login fails with, and a reason that a provider gives.
      const stranger = await browser.newContext();
      const login = await stranger.newPage();
      login.on("dialog", (dialog) => (complaints.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
      await login.goto(`${page.url().replace(/#.*/, "")}?state=s&error=${e(at("provider error", payload))}&error_description=${e(at("provider reason", payload))}`);
      await login.getByLabel("User name").fill(at("login", payload));
      await login.getByRole("button", { name: "Log in", exact: true }).click();
      await login.getByRole("alert").getByText("Wrong user name").waitFor();
      cells.add(at("login", payload)).add(at("provider reason", payload));
      await stranger.close();
    } finally {
      await leave();
    }
  }
  await api("PUT", "cluster-name", { name: "warren@shop" });
  context.diagnostic(`${cells.size} cells: ${cells.size / PAYLOADS.length} places, ${PAYLOADS.length} payloads, nothing ran`);
  assert.ok(cells.size >= CELLS_MIN, `${cells.size} cells`);
  assert.deepEqual(grave(complaints), []);
});
