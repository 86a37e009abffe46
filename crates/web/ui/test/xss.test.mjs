// Names, arguments, payloads and descriptions are users' text: none of it may ever run.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { api, enter, launch } from "./harness.mjs";

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

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const e = encodeURIComponent;

/** Puts a text wherever a user may put one. */
async function sow(text, index) {
  const vhost = `x${index}${text}`;
  const v = e(vhost);
  await api("PUT", `vhosts/${v}`, { description: text, tags: [text.replaceAll(",", "")] });
  await api("PUT", `users/${e(text)}`, { password: text, tags: [text.replaceAll(",", ""), "management"] });
  await api("PUT", `permissions/${v}/${e(text)}`, { configure: "a", write: "b", read: "c" });
  await api("PUT", `exchanges/${v}/${e(text)}`, { type: "topic", durable: true, arguments: { [text]: text, "alternate-exchange": text } });
  await api("PUT", `topic-permissions/${v}/${e(text)}`, { exchange: text, write: "a", read: "b" });
  await api("PUT", `queues/${v}/${e(text)}`, { durable: true, arguments: { [text]: text, "x-dead-letter-exchange": text } });
  await api("POST", `bindings/${v}/e/${e(text)}/q/${e(text)}`, { routing_key: text, arguments: { [text]: text } });
  await api("PUT", `policies/${v}/${e(text)}`, { pattern: "^x", definition: { "dead-letter-exchange": text, "dead-letter-routing-key": text } });
  await api("PUT", `operator-policies/${v}/${e(text)}`, { pattern: "^x", definition: { "max-length": 5 }, "apply-to": "queues" });
  await api("PUT", `global-parameters/${e(text)}`, { value: { [text]: text } });
  await api("PUT", `vhost-limits/${v}/max-queues`, { value: 9 });
  await api("POST", `exchanges/${v}/amq.default/publish`, {
    routing_key: text,
    payload: text,
    payload_encoding: "string",
    properties: { app_id: text, correlation_id: text, message_id: text, type: text, content_type: text, reply_to: text, headers: { [text]: text } },
  });
  return { text, vhost };
}

test("a text of a user never becomes markup or a script", async () => {
  const sown = [];
  for (const [index, text] of PAYLOADS.entries()) sown.push(await sow(text, index));
  const { page, complaints, open } = await enter(browser);
  let cells = 0;
  const look = async (hash) => {
    await open(hash);
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
    const planted = await page.evaluate(() => document.querySelectorAll("main script, main iframe, main img, [onload], [onerror], [ontoggle], a[href^='javascript']").length);
    assert.equal(planted, 0, hash);
    cells += 1;
  };
  for (const list of ["queues", "exchanges", "users", "vhosts", "policies", "limits", "parameters", "definitions"]) await look(list);
  for (const { text, vhost } of sown) {
    for (const hash of [`queues/${e(vhost)}/${e(text)}`, `exchanges/${e(vhost)}/${e(text)}`, `users/${e(text)}`, `vhosts/${e(vhost)}`, `policies/${e(vhost)}/${e(text)}`, `topology?vhost=${e(vhost)}`]) await look(hash);
    await open(`queues/${e(vhost)}/${e(text)}`);
    const messages = page.locator("#messages");
    await messages.evaluate((element) => (element.open = true));
    await messages.getByRole("button", { name: "Look" }).click();
    await messages.getByText("1 shown").waitFor();
    assert.equal(await messages.locator("pre").first().textContent(), text);
  }
  // An error message repeats what was asked for.
  await page.goto(page.url().replace(/#.*/, `#/queues/${e(PAYLOADS[0])}/${e(PAYLOADS[1])}`));
  await page.getByRole("alert").first().waitFor();
  assert.ok(cells >= 80);
  assert.deepEqual(complaints.filter((one) => !one.includes("404")), []);
});
