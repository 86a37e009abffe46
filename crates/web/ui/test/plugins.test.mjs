// Pages of plugins that are off without a word: tracing and top, on a broker of its own where they are on.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after, afterEach, before, test } from "node:test";
import { axe, confirm, eventually, launch, leave, section } from "./harness.mjs";
import { skip, startBroker } from "./broker.mjs";

let browser;
let folder;
let broker;
before(async () => {
  if (skip) return;
  folder = await mkdtemp(`${tmpdir()}/warren-plugins-`);
  broker = await startBroker(folder, [`tracing.dir = ${folder}/traces`], { RABBITMQ_ENABLED_PLUGINS: "rabbitmq_management,rabbitmq_tracing,rabbitmq_top" });
  browser = await launch();
});
afterEach(leave);
after(async () => {
  await browser?.close();
  await broker?.end();
  if (folder) await rm(folder, { recursive: true, force: true });
});

async function visit(hash) {
  const context = await browser.newContext({ acceptDownloads: true });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(`${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`${broker.address}/#/${hash}`);
  await page.getByLabel("User name").fill("guest");
  await page.getByLabel("Password").fill("guest");
  await page.getByRole("button", { name: "Log in" }).click();
  return { page, complaints };
}

test("a trace is begun, its file is read, and both end", { skip }, async () => {
  const { page, complaints } = await visit("traces");
  await page.getByText("Nothing is traced.").waitFor();
  const form = await section(page, "Add a trace");
  await form.getByLabel(/^Name/).fill("watch");
  await form.getByLabel(/^Format/).first().selectOption("json");
  await form.getByRole("button", { name: "Add trace" }).click();
  await page.getByRole("cell", { name: "watch", exact: true }).waitFor();
  assert.deepEqual(await axe(page), []);
  const publish = () =>
    page.evaluate(() => fetch("api/exchanges/%2F/amq.fanout/publish", { method: "POST", headers: { "X-Warren-Session": "1", "content-type": "application/json" }, body: JSON.stringify({ properties: {}, routing_key: "k", payload: "seen by the trace", payload_encoding: "string" }) }).then((response) => response.status));
  await eventually(async () => {
    assert.equal(await publish(), 200);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
    assert.match(download.suggestedFilename(), /^watch/);
    const line = (await readFile(await download.path(), "utf8")).split("\n").find((one) => one !== "");
    const record = JSON.parse(line);
    assert.equal(record.type, "published");
    assert.equal(Buffer.from(record.payload, "base64").toString(), "seen by the trace");
  });
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Nothing is traced.").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("cell", { name: "watch", exact: true }).waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Nothing is traced.").waitFor();
  await page.getByRole("button", { name: "Delete…" }).click();
  await confirm(page, undefined, "Delete");
  await page.getByText("No files.").waitFor();
  assert.deepEqual(complaints, []);
});

test("what keeps a node busy is listed, and ordered as one likes", { skip }, async () => {
  const { page, complaints } = await visit("top");
  await page.waitForFunction(() => document.querySelectorAll("main tbody tr").length > 1);
  await page.getByLabel(/^Rows/).first().selectOption("50");
  await page.locator("th button.sort").nth(1).click();
  assert.deepEqual(await axe(page), []);
  assert.deepEqual(complaints, []);
});
