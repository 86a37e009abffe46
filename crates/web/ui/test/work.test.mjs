// What an administrator does, through the pages alone; the API says whether it came to pass.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PATIENCE_MS, api, enter, launch } from "./harness.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** Asks until the answer holds. */
async function eventually(ask) {
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
async function section(page, title) {
  const found = page.locator("details.section").filter({ has: page.getByRole("heading", { name: title, exact: true }) });
  await found.evaluate((element) => (element.open = true));
  return found;
}

const confirm = async (page, word, button) => {
  const dialog = page.getByRole("dialog");
  if (word !== undefined) await dialog.getByRole("textbox").fill(word);
  await dialog.getByRole("button", { name: button, exact: true }).click();
};

test("a virtual host, a user, permissions, a policy and limits", async () => {
  const { page, open, complaints } = await enter(browser);
  await open("vhosts");
  let form = await section(page, "Add a virtual host");
  await form.getByLabel("Name", { exact: true }).fill("made here");
  await form.getByLabel("Description").fill("by hand");
  await form.getByRole("button", { name: "Add virtual host" }).click();
  assert.equal((await eventually(() => api("GET", "vhosts/made%20here"))).description, "by hand");

  await open("users");
  form = await section(page, "Add a user");
  await form.getByLabel("Name", { exact: true }).fill("ada");
  await form.getByLabel("Password", { exact: true }).fill("lovelace");
  await form.getByLabel("Tags").fill("management, policymaker");
  await form.getByRole("button", { name: "Add user" }).click();
  await page.getByRole("heading", { name: "User ada" }).waitFor();
  form = await section(page, "Permissions");
  await form.getByLabel(/^Virtual host/).first().selectOption("made here");
  await form.getByRole("button", { name: "Set permission" }).click();
  await eventually(() => api("GET", "permissions/made%20here/ada"));
  assert.deepEqual((await api("GET", "whoami", undefined, "ada:lovelace")).tags, ["management", "policymaker"]);

  await open("policies");
  form = await section(page, "Add a policy");
  await form.getByLabel(/^Virtual host/).first().selectOption("made here");
  await form.getByLabel("Name", { exact: true }).fill("limited");
  await form.getByLabel(/^Pattern/).fill("^work");
  await form.getByLabel(/^Applies to/).first().selectOption("queues");
  await form.getByRole("button", { name: "max-length", exact: true }).click();
  await form.getByLabel("Definition: value").first().fill("50");
  await form.getByRole("button", { name: "Add policy" }).click();
  assert.deepEqual((await eventually(() => api("GET", "policies/made%20here/limited"))).definition, { "max-length": 50 });

  await open("limits");
  form = await section(page, "Set a limit for a virtual host");
  await form.getByLabel(/^Virtual host/).first().selectOption("made here");
  await form.getByLabel(/^Limit/).first().selectOption("max-queues");
  await form.getByLabel("Value").fill("7");
  await form.getByRole("button", { name: "Set limit" }).click();
  await eventually(async () => assert.deepEqual((await api("GET", "vhost-limits/made%20here"))[0].value, { "max-queues": 7 }));
  // Cleared by mistake, and brought back.
  await page.getByRole("row").filter({ hasText: "made here" }).getByRole("button", { name: "Clear" }).click();
  await eventually(async () => assert.deepEqual(await api("GET", "vhost-limits/made%20here"), []));
  await page.getByRole("button", { name: "Undo" }).click();
  await eventually(async () => assert.deepEqual((await api("GET", "vhost-limits/made%20here"))[0].value, { "max-queues": 7 }));
  assert.deepEqual(complaints, []);
});

test("an exchange, a queue and a binding; messages published, looked at, moved, taken, purged", async () => {
  await api("PUT", "vhosts/job", {});
  const { page, open, complaints } = await enter(browser);
  await open("exchanges");
  let form = await section(page, "Add an exchange");
  await form.getByLabel(/^Virtual host/).first().selectOption("job");
  await form.getByLabel("Name", { exact: true }).fill("in");
  await form.getByLabel(/^Type/).first().selectOption("topic");
  await form.getByRole("button", { name: "Add exchange" }).click();
  assert.equal((await eventually(() => api("GET", "exchanges/job/in"))).type, "topic");

  await open("queues");
  for (const name of ["work.a", "work.b"]) {
    form = await section(page, "Add a queue");
    await form.getByLabel(/^Virtual host/).first().selectOption("job");
    await form.getByLabel("Name", { exact: true }).fill(name);
    await form.getByRole("button", { name: "Add queue" }).click();
    await eventually(() => api("GET", `queues/job/${name}`));
  }

  await open("queues/job/work.a");
  form = await section(page, "Bindings");
  await form.getByLabel("From exchange").fill("in");
  await form.getByLabel("Routing key").fill("job.*");
  await form.getByRole("button", { name: "Bind" }).click();
  await eventually(async () => assert.equal((await api("GET", "bindings/job/e/in/q/work.a")).length, 1));

  await open("exchanges/job/in");
  form = await section(page, "Publish a message");
  for (const payload of ["first", "second", "third"]) {
    await form.getByLabel("Routing key").fill("job.new");
    await form.getByLabel("Payload", { exact: true }).fill(payload);
    await form.getByRole("button", { name: "Publish" }).click();
    await page.getByText("Published and routed.").last().waitFor();
    const count = { first: 1, second: 2, third: 3 }[payload];
    await eventually(async () => assert.equal((await api("GET", "queues/job/work.a")).messages, count));
  }

  await open("queues/job/work.a");
  form = await section(page, "Messages");
  await form.getByLabel(/^Show/).first().selectOption("body");
  await form.getByRole("textbox", { name: "Filter" }).fill("second");
  await form.getByRole("button", { name: "Look" }).click();
  await form.getByText("1 shown, 3 examined").waitFor();
  await form.getByLabel("Name of the target").fill("work.b");
  await form.getByRole("button", { name: "Move all found…" }).click();
  await confirm(page, undefined, "Move");
  await eventually(async () => assert.equal((await api("GET", "queues/job/work.b")).messages, 1));
  assert.equal((await api("GET", "queues/job/work.a")).messages, 2);

  await open("queues/job/work.b");
  form = await section(page, "Get messages");
  await form.getByLabel(/^Ack mode/).first().selectOption("ack_requeue_false");
  await form.getByRole("button", { name: "Get messages" }).click();
  await form.getByText("second").waitFor();
  await eventually(async () => assert.equal((await api("GET", "queues/job/work.b")).messages, 0));

  await open("queues/job/work.a");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Resume" }).waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.getByRole("button", { name: "Purge…" }).click();
  await confirm(page, "work.a", "Purge");
  await eventually(async () => assert.equal((await api("GET", "queues/job/work.a")).messages, 0));
  await page.getByRole("button", { name: "Delete…" }).click();
  await confirm(page, "work.a", "Delete");
  await page.getByRole("heading", { name: "Queues and streams" }).waitFor();
  await assert.rejects(api("GET", "queues/job/work.a"));
  assert.deepEqual(complaints.filter((one) => !one.includes("404")), []);
});

test("definitions are compared before they are imported", async () => {
  const { page, open, complaints } = await enter(browser);
  await open("definitions");
  const content = JSON.stringify({ queues: [{ vhost: "/", name: "from a file", durable: true, auto_delete: false, arguments: {} }] });
  await page.locator("input[type=file]").setInputFiles({ name: "some.json", mimeType: "application/json", buffer: Buffer.from(content) });
  await page.getByText("1 new, 0 changed, 0 the same").waitFor();
  await page.getByRole("button", { name: "Import…" }).click();
  await confirm(page, undefined, "Import");
  await eventually(() => api("GET", "queues/%2F/from%20a%20file"));
  await page.locator("input[type=file]").setInputFiles({ name: "bad.json", mimeType: "application/json", buffer: Buffer.from("{") });
  await page.getByText("bad.json is not JSON").waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save as a file" }).click()]);
  assert.match(download.suggestedFilename(), /^definitions_.*\.json$/);
  assert.deepEqual(complaints, []);
});

test("lists are paged, filtered and sorted by the broker, and columns can be chosen", async () => {
  await api("PUT", "vhosts/many", {});
  for (let index = 0; index < 45; index += 1) await api("PUT", `queues/many/list-${String(index).padStart(2, "0")}`, { durable: false, auto_delete: true });
  const { page, open, complaints } = await enter(browser);
  await open("queues");
  await page.getByLabel(/^Rows/).first().selectOption("20");
  await page.getByLabel("Filter by name").fill("list-");
  await page.keyboard.press("Enter");
  await page.getByText("45 of").waitFor();
  await page.getByText("Page 1 of 3").waitFor();
  await page.getByRole("button", { name: "Last" }).click();
  await page.getByText("Page 3 of 3").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 5);
  await page.getByRole("button", { name: "First" }).click();
  await page.getByRole("button", { name: "Name", exact: true }).click();
  await page.getByRole("button", { name: "Name ▴" }).click();
  await page.getByRole("link", { name: "list-44" }).waitFor();
  await page.getByText("Columns").click();
  await page.locator(".menu").getByLabel("Unacked").uncheck();
  assert.equal(await page.getByRole("columnheader", { name: "Unacked" }).count(), 0);
  await page.reload();
  await page.getByRole("link", { name: "list-44" }).waitFor();
  assert.equal(await page.getByRole("columnheader", { name: "Unacked" }).count(), 0);
  assert.deepEqual(complaints, []);
});
