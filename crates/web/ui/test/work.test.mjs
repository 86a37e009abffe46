// What an administrator does, through the pages alone; the API says whether it came to pass.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import amqp from "amqplib";
import { PAGES, PATIENCE_MS, addressOf, api, confirm, enter, eventually, grave, launch, leave, logIn, section, whileIn } from "./harness.mjs";

const AMQP_URL = (process.env.AMQP_URL ?? "amqp://127.0.0.1:5672").replace("amqp://", "amqp://guest:guest@");
/** Forms that a test has sent. */
const sent = new Set(["Log in"]);

let browser;
before(async () => {
  browser = await launch();
});
afterEach(leave);
after(() => browser?.close());

/** Sends a form. */
async function send(form, name) {
  sent.add(name);
  await form.getByRole("button", { name, exact: true }).click();
}

/** Sends the form of a message, and waits for the answer to this one: what is said of the ones before is still to be read. */
async function publish(page, form) {
  const said = page.locator(".toast").getByText("Published and routed.");
  const before = await said.count();
  await send(form, "Publish");
  await eventually(async () => assert.equal(await said.count(), before + 1));
}

/** Waits until a queue has so many messages. */
const holds = (path, messages) => eventually(async () => assert.equal((await api("GET", `queues/${path}`)).messages, messages, path));

/** Adds an argument by its button, and gives it a value. */
async function argue(form, name, value) {
  await form.getByRole("button", { name, exact: true }).click();
  await eventually(async () => assert.equal(await form.getByLabel("Definition: name").first().inputValue(), name));
  await form.getByLabel("Definition: value").first().fill(value);
}

/** What is typed into fields, by their labels; a label may go on with a hint. */
async function fill(form, fields) {
  for (const [label, value] of Object.entries(fields)) {
    const start = new RegExp(`^${label.replace(/[()]/g, "\\$&")}`);
    await form.locator("input, textarea").and(form.getByLabel(start)).first().fill(value);
  }
}

/** A client, and how it was closed. */
async function client(vhost, name) {
  const connection = await amqp.connect(`${AMQP_URL}/${encodeURIComponent(vhost)}`, { clientProperties: { connection_name: name } });
  const closed = new Promise((resolve) => connection.on("close", (error) => resolve(error?.message ?? "")));
  return { connection, closed };
}

test("a virtual host, a user, permissions, a policy and limits", async () => {
  const { page, open, complaints } = await enter(browser);
  await open("vhosts");
  let form = await section(page, "Add a virtual host");
  await form.getByLabel("Name", { exact: true }).fill("made here");
  await form.getByLabel("Description").fill("by hand");
  await send(form, "Add virtual host");
  assert.equal((await eventually(() => api("GET", "vhosts/made%20here"))).description, "by hand");

  await open("users");
  form = await section(page, "Add a user");
  await form.getByLabel("Name", { exact: true }).fill("ada");
  await form.getByLabel("Password", { exact: true }).fill("lovelace");
  await form.getByLabel("Tags").fill("management, policymaker");
  await send(form, "Add user");
  await page.getByRole("heading", { name: "User ada" }).waitFor();
  form = await section(page, "Permissions");
  await form.getByLabel(/^Virtual host/).first().selectOption("made here");
  await send(form, "Set permission");
  await eventually(() => api("GET", "permissions/made%20here/ada"));
  assert.deepEqual((await api("GET", "whoami", undefined, "ada:lovelace")).tags, ["management", "policymaker"]);

  await open("policies");
  form = await section(page, "Add a policy");
  await form.getByLabel(/^Virtual host/).first().selectOption("made here");
  await form.getByLabel("Name", { exact: true }).fill("limited");
  await form.getByLabel(/^Pattern/).fill("^work");
  await form.getByLabel(/^Applies to/).first().selectOption("queues");
  await argue(form, "max-length", "50");
  await send(form, "Add policy");
  assert.deepEqual((await eventually(() => api("GET", "policies/made%20here/limited"))).definition, { "max-length": 50 });

  await open("limits");
  form = await section(page, "Set a limit for a virtual host");
  await form.getByLabel(/^Virtual host/).first().selectOption("made here");
  await form.getByLabel(/^Limit/).first().selectOption("max-queues");
  await form.getByLabel("Value").fill("7");
  await send(form, "Set limit");
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
  await send(form, "Add exchange");
  assert.equal((await eventually(() => api("GET", "exchanges/job/in"))).type, "topic");

  await open("queues");
  for (const name of ["work.a", "work.b"]) {
    form = await section(page, "Add a queue");
    await form.getByLabel(/^Virtual host/).first().selectOption("job");
    await form.getByLabel("Name", { exact: true }).fill(name);
    await send(form, "Add queue");
    await eventually(() => api("GET", `queues/job/${name}`));
  }

  await open("queues/job/work.a");
  form = await section(page, "Bindings");
  await form.getByLabel("From exchange").fill("in");
  await form.getByLabel("Routing key").fill("job.*");
  await send(form, "Bind");
  await eventually(async () => assert.equal((await api("GET", "bindings/job/e/in/q/work.a")).length, 1));

  await open("exchanges/job/in");
  form = await section(page, "Publish a message");
  for (const payload of ["first", "second", "third"]) {
    await form.getByLabel("Routing key").fill("job.new");
    await form.getByLabel("Payload", { exact: true }).fill(payload);
    await publish(page, form);
  }
  await holds("job/work.a", 3);

  await open("queues/job/work.a");
  form = await section(page, "Messages");
  await form.getByLabel(/^Show/).first().selectOption("body");
  await form.getByRole("textbox", { name: "Filter" }).fill("second");
  await send(form, "Look");
  await form.getByText("1 shown, 3 examined").waitFor();
  await form.getByLabel("Name of the target").fill("work.b");
  await form.getByRole("button", { name: "Move all found…" }).click();
  await confirm(page, undefined, "Move");
  await holds("job/work.b", 1);
  // A message leaves its queue only once the other one has it for good.
  await holds("job/work.a", 2);

  await open("queues/job/work.b");
  form = await section(page, "Get messages");
  await form.getByLabel(/^Ack mode/).first().selectOption("ack_requeue_false");
  await send(form, "Get messages");
  await form.getByText("second").waitFor();
  await holds("job/work.b", 0);

  await open("queues/job/work.a");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Resume" }).waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.getByRole("button", { name: "Purge…" }).click();
  await confirm(page, "work.a", "Purge");
  await holds("job/work.a", 0);
  await page.getByRole("button", { name: "Delete…" }).click();
  await confirm(page, "work.a", "Delete");
  await page.getByRole("heading", { name: "Queues and streams" }).waitFor();
  await assert.rejects(api("GET", "queues/job/work.a"));
  assert.deepEqual(grave(complaints), []);
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
  await page.getByText(/^45 of /).waitFor();
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
  await page.getByRole("columnheader", { name: "Unacked" }).waitFor({ state: "detached" });
  await page.reload();
  await page.getByRole("link", { name: "list-44" }).waitFor();
  assert.equal(await page.getByRole("columnheader", { name: "Unacked" }).count(), 0);
  assert.deepEqual(complaints, []);
});

test("lists without pages have a filter as well, and do not grow without end", async () => {
  const names = Array.from({ length: 520 }, (_, index) => `crowd-${String(index).padStart(3, "0")}`);
  await api("POST", "definitions", { users: names.map((name) => ({ name, password_hash: "", hashing_algorithm: "rabbit_password_hashing_sha256", tags: [name === "crowd-519" ? "odd" : "even"] })) });
  const { page, open, complaints } = await enter(browser);
  await open("users");
  await page.getByText("The first 500 are shown.").waitFor();
  await eventually(async () => assert.equal(await page.locator("tbody tr").count(), 500));
  await page.keyboard.press("/");
  await page.keyboard.type("ODD");
  await eventually(async () => assert.deepEqual(await page.locator("tbody a").allTextContents(), ["crowd-519"]));
  await page.getByText(/^1 of /).waitFor();
  await page.getByLabel("Filter users").fill("nobody");
  await page.getByText("Nothing has such a name.").waitFor();
  assert.deepEqual(complaints, []);
  await api("POST", "users/bulk-delete", { users: names });
});

test("permissions, tags, limits, policies and parameters are set, changed and cleared", async () => {
  await api("PUT", "vhosts/set", { description: "before" });
  await api("PUT", "users/grace", { password: "hopper", tags: "management" });
  const { page, open, complaints } = await enter(browser);
  await open("vhosts/set");
  let form = await section(page, "Permissions");
  await fill(form, { User: "grace", Configure: "^own" });
  await send(form, "Set permission");
  await eventually(async () => assert.equal((await api("GET", "permissions/set/grace")).configure, "^own"));
  form = await section(page, "Change");
  await fill(form, { Description: "after" });
  await send(form, "Change virtual host");
  await eventually(async () => assert.equal((await api("GET", "vhosts/set")).description, "after"));

  await open("users/grace");
  form = await section(page, "Topic permissions");
  await form.getByLabel(/^Virtual host/).first().selectOption("set");
  await fill(form, { Write: "^a" });
  await send(form, "Set topic permission");
  await eventually(async () => assert.equal((await api("GET", "topic-permissions/set/grace"))[0].write, "^a"));
  form = await section(page, "Change password and tags");
  await form.getByLabel("Tags").fill("monitoring");
  await send(form, "Change user");
  await eventually(async () => assert.deepEqual((await api("GET", "whoami", undefined, "grace:hopper")).tags, ["monitoring"]));

  await open("limits");
  form = await section(page, "Set a limit for a user");
  await form.getByLabel(/^User/).first().selectOption("grace");
  await form.getByLabel("Value").fill("3");
  await send(form, "Set limit");
  await eventually(async () => assert.deepEqual((await api("GET", "user-limits/grace"))[0].value, { "max-connections": 3 }));

  await open("policies");
  form = await section(page, "Add an operator policy");
  await form.getByLabel(/^Virtual host/).first().selectOption("set");
  await fill(form, { Name: "roof" });
  await form.getByLabel(/^Pattern/).fill(".*");
  await argue(form, "max-length", "9");
  await send(form, "Add operator policy");
  await eventually(() => api("GET", "operator-policies/set/roof"));
  await api("PUT", "policies/set/mine", { pattern: "a", definition: { "max-length": 1 }, "apply-to": "queues" });
  await open("policies/set/mine");
  form = await section(page, "Change");
  await form.getByLabel("Definition: value").first().fill("2");
  await send(form, "Change policy");
  await eventually(async () => assert.deepEqual((await api("GET", "policies/set/mine")).definition, { "max-length": 2 }));

  await open("operator-policies/set/roof");
  await (await section(page, "Queues that have it")).waitFor();
  form = await section(page, "Change");
  await form.getByLabel("Definition: value").first().fill("8");
  await send(form, "Change policy");
  await eventually(async () => assert.deepEqual((await api("GET", "operator-policies/set/roof")).definition, { "max-length": 8 }));
  await page.getByRole("button", { name: "Clear…", exact: true }).click();
  await confirm(page, undefined, "Clear");
  await page.getByRole("heading", { name: "Policies", level: 1 }).waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await eventually(async () => assert.deepEqual((await api("GET", "operator-policies/set/roof")).definition, { "max-length": 8 }));

  await open("parameters");
  form = await section(page, "Set a global parameter");
  await fill(form, { Name: "colour", "Value (JSON)": "{\"is\": \"green\"}" });
  await send(form, "Set global parameter");
  await eventually(async () => assert.deepEqual((await api("GET", "global-parameters/colour")).value, { is: "green" }));
  form = await section(page, "Set a parameter");
  await fill(form, { Component: "nothing-like-it", Name: "n", "Value (JSON)": "1" });
  await send(form, "Set parameter");
  await page.locator(".toast.failed").getByText("nothing-like-it").waitFor();
  await page.getByRole("row").filter({ hasText: "colour" }).getByRole("button", { name: "Clear…" }).click();
  await confirm(page, undefined, "Clear");
  await eventually(() => assert.rejects(api("GET", "global-parameters/colour")));

  await open("cluster-name");
  form = await section(page, "Cluster name");
  const { name: before } = await api("GET", "cluster-name");
  await fill(form, { Name: "another" });
  await send(form, "Change name");
  await eventually(async () => assert.equal((await api("GET", "cluster-name")).name, "another"));
  await page.locator(".toast").filter({ hasText: "new name" }).getByRole("button", { name: "Undo" }).click();
  await eventually(async () => assert.equal((await api("GET", "cluster-name")).name, before));
  assert.deepEqual(complaints.filter((one) => !/status of 40[04]/.test(one)), []);
});

test("what a consumer has is listed, and what it has settled is replayed", async () => {
  await api("PUT", "vhosts/again", {});
  await api("PUT", "queues/again/kept", { durable: true, arguments: { "x-replay-window-ms": 3_600_000 } });
  const { page, open, complaints } = await enter(browser);
  await open("queues/again/kept");
  let form = await section(page, "Publish a message");
  for (const payload of ["one", "two", "three"]) {
    await fill(form, { Payload: payload });
    await publish(page, form);
  }
  await holds("again/kept", 3);
  const { connection } = await client("again", "holder");
  const channel = await connection.createChannel();
  await channel.prefetch(1);
  let held;
  await channel.consume("kept", (message) => (held = message));
  await eventually(async () => {
    assert.ok(held);
    assert.equal((await api("GET", "queues/again/kept")).messages_unacknowledged, 1);
  });
  form = await section(page, "Messages");
  await form.getByLabel("Which").selectOption("unacknowledged");
  await send(form, "Look");
  await form.getByText("1 shown").waitFor();
  await form.getByText("unacked", { exact: true }).waitFor();
  assert.equal(await form.locator("pre").textContent(), "one");
  // What a client had is back in its queue a little after the client has gone.
  await connection.close();
  await eventually(async () => {
    const { messages_ready: ready, messages_unacknowledged: unacknowledged } = await api("GET", "queues/again/kept");
    assert.deepEqual([ready, unacknowledged], [3, 0]);
  });

  form = await section(page, "Get messages");
  await form.getByLabel(/^Ack mode/).first().selectOption("ack_requeue_false");
  await form.getByLabel("Messages", { exact: true }).fill("3");
  await send(form, "Get messages");
  await eventually(async () => assert.equal((await api("GET", "queues/again/kept")).messages_replayable, 3));
  await open("queues");
  await open("queues/again/kept");
  form = await section(page, "Messages");
  await form.getByLabel("Which").selectOption("settled");
  await form.getByLabel(/^Show/).first().selectOption("body");
  await form.getByRole("textbox", { name: "Filter" }).fill("t");
  await send(form, "Look");
  await form.getByText("2 shown").waitFor();
  await form.getByRole("button", { name: "Replay all found…" }).click();
  await confirm(page, undefined, "Replay");
  await page.locator(".toast").getByText("2 messages done.").waitFor();
  await holds("again/kept", 2);
  await form.getByRole("button", { name: /^Drop all 3 kept/ }).click();
  await confirm(page, undefined, "Drop");
  await eventually(async () => assert.equal((await api("GET", "queues/again/kept")).messages_replayable, 0));
  assert.deepEqual(complaints, []);
});

test("connections are closed one by one and together, and clients are told the reason", async () => {
  await api("PUT", "vhosts/doors", {});
  const clients = await Promise.all(["first", "second", "third"].map((name) => client("doors", name)));
  const { page, open, complaints } = await enter(browser);
  await open("connections?vhost=doors");
  const row = page.getByRole("row").filter({ hasText: "first" });
  await row.getByRole("link").click();
  await page.getByRole("button", { name: "Close…" }).click();
  await page.getByRole("dialog").getByLabel("Reason").fill("moved house");
  await confirm(page, undefined, "Close it");
  assert.match(await clients[0].closed, /moved house/);
  await open("connections?vhost=doors");
  await eventually(async () => assert.equal(await page.locator("tbody tr").count(), 2));
  await page.getByLabel("Select all rows of this page").check();
  await page.getByRole("button", { name: "Close…" }).click();
  await page.getByRole("dialog").getByLabel("Reason").fill("time to go");
  await confirm(page, undefined, "Close them");
  await page.getByText("2 connections closed.").waitFor();
  for (const { closed } of clients.slice(1)) assert.match(await closed, /time to go/);
  assert.deepEqual(grave(complaints), []);
});

/** Lets the answer to a request come only when the test says so. Gives how. */
async function late(page, url, method = "GET") {
  let release;
  const free = new Promise((resolve) => (release = resolve));
  await page.route(url, async (route) => {
    if (route.request().method() !== method) return route.fallback();
    const response = await route.fetch({ timeout: PATIENCE_MS });
    await free;
    // Who asked may have given up by now.
    await route.fulfill({ response }).catch(() => {});
  });
  return release;
}

/** When what has come was drawn. */
const drawn = (page) => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve)))));

test("an answer that comes late takes nobody away from where they are, and nothing that they typed", async () => {
  await api("PUT", "vhosts/late", {});
  for (const name of ["early", "later"]) await api("PUT", `queues/late/${name}`, {});
  const { connection, closed } = await client("late", "slow to go");
  connection.on("error", () => {});
  const { page, open, complaints } = await enter(browser);
  // Closed, and the user goes elsewhere before the broker has said so.
  await open("connections?vhost=late");
  await page.getByRole("row").filter({ hasText: "slow to go" }).getByRole("link").click();
  const answerClose = await late(page, "**/api/connections/*", "DELETE");
  await page.getByRole("button", { name: "Close…" }).click();
  await confirm(page, undefined, "Close it");
  await closed;
  await open("queues?vhost=late");
  answerClose();
  await page.locator(".toast").getByText("Connection closed.").waitFor();
  await drawn(page);
  assert.match(await page.evaluate(() => location.hash), /^#\/queues\?vhost=late$/);

  // What is shown of the old filter cannot be chosen any more, and is not when the answer has come.
  await page.getByLabel("Select all rows of this page").check();
  await page.getByText("2 selected").waitFor();
  const answerList = await late(page, "**/api/queues/late?*name=later*");
  await page.getByLabel("Filter by name").fill("later");
  await page.keyboard.press("Enter");
  await page.locator("tbody.old").waitFor();
  assert.ok(await page.getByLabel("Select all rows of this page").isDisabled());
  await page.getByText("selected").waitFor({ state: "detached" });
  await page.locator("tbody.old").getByRole("link", { name: "early" }).click();
  await page.locator("tbody.old").getByLabel("Select").first().click();
  assert.equal(await page.getByText("selected").count(), 0);
  assert.match(await page.evaluate(() => location.hash), /^#\/queues\?/);
  answerList();
  await eventually(async () => assert.deepEqual(await page.locator("tbody:not(.old) a").allTextContents(), ["later"]));

  // A form that is being sent is not typed into.
  const answerAdd = await late(page, "**/api/queues/late/last", "PUT");
  const form = await section(page, "Add a queue");
  await form.getByLabel(/^Virtual host/).first().selectOption("late");
  await form.getByLabel("Name", { exact: true }).fill("last");
  await page.keyboard.press("Enter");
  await eventually(() => api("GET", "queues/late/last"));
  await eventually(async () => assert.ok(await form.getByLabel("Name", { exact: true }).isDisabled()));
  answerAdd();
  await page.locator(".toast").getByText("Queue last is there.").waitFor();
  await eventually(async () => assert.equal(await form.getByLabel("Name", { exact: true }).inputValue(), ""));
  await eventually(async () => assert.equal(await page.evaluate(() => document.activeElement?.name), "name"));
  assert.deepEqual(grave(complaints), []);
});

test("refreshes change nothing under the user's hands", async () => {
  await api("PUT", "vhosts/hands", {});
  for (const name of ["b", "c", "d"]) await api("PUT", `queues/hands/held-${name}`, {});
  const { page, open, complaints } = await enter(browser);
  await page.getByLabel("Refresh").selectOption("1");
  await open("queues?vhost=hands&sort=name");
  const names = () => page.locator("tbody a").allTextContents();
  const box = page.getByRole("row").filter({ hasText: "held-c" }).getByLabel("Select");
  // Of a request that is given up there is no body.
  const refreshed = (count) => page.waitForResponse(async (response) => response.url().includes("/api/queues/hands") && (await response.json().catch(() => ({}))).items?.length === count);
  // Another row comes before the one that the mouse is pressed on.
  await box.hover();
  await page.mouse.down();
  const [response] = await Promise.all([refreshed(4), api("PUT", "queues/hands/held-a", {})]);
  await response.finished();
  await drawn(page);
  assert.deepEqual(await names(), ["held-b", "held-c", "held-d"]);
  await page.mouse.up();
  await page.getByText("1 selected").waitFor();
  await eventually(async () => assert.deepEqual(await names(), ["held-a", "held-b", "held-c", "held-d"]));
  await eventually(async () => assert.ok(await box.isChecked()));
  // The keyboard is where the mouse was, and goes with its row; and not to another one when the row has gone.
  const focused = (name) => eventually(async () => assert.equal(await page.evaluate(() => document.activeElement?.closest("tr")?.querySelector("a")?.textContent), name));
  await focused("held-c");
  await api("DELETE", "queues/hands/held-a");
  await eventually(async () => assert.deepEqual(await names(), ["held-b", "held-c", "held-d"]));
  await focused("held-c");
  await api("DELETE", "queues/hands/held-c");
  await eventually(async () => assert.deepEqual(await names(), ["held-b", "held-d"]));
  await focused(undefined);
  await eventually(async () => assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("role")), "region"));
  assert.deepEqual(complaints, []);
});

test("what was deleted by mistake comes back", async () => {
  await api("PUT", "vhosts/undo", {});
  await api("PUT", "exchanges/undo/hub", { type: "topic", durable: true, arguments: { "alternate-exchange": "else" } });
  await api("PUT", "queues/undo/spoke", { durable: true, arguments: { "x-max-length": 5 } });
  await api("POST", "bindings/undo/e/hub/q/spoke", { routing_key: "a.*", arguments: { with: "arguments" } });
  await api("PUT", "users/gone", { password: "secret", tags: "management" });
  await api("PUT", "permissions/undo/gone", { configure: "a", write: "b", read: "c" });
  const { page, open, complaints } = await enter(browser);
  for (const [hash, name, list] of [["exchanges/undo/hub", "hub", "Exchanges"], ["queues/undo/spoke", "spoke", "Queues and streams"]]) {
    await open(hash);
    await page.getByRole("heading", { name: "Bindings" }).or(page.getByRole("heading", { name: "Where messages go" })).first().waitFor();
    await page.getByRole("cell", { name: "a.*" }).waitFor();
    await page.getByRole("button", { name: "Delete…" }).click();
    await confirm(page, name, "Delete");
    await page.getByRole("heading", { name: list, level: 1 }).waitFor();
    await page.getByRole("button", { name: "Undo" }).click();
    await eventually(async () => {
      const [binding] = await api("GET", "bindings/undo/e/hub/q/spoke");
      assert.deepEqual([binding?.routing_key, binding?.arguments], ["a.*", { with: "arguments" }]);
    });
  }
  assert.deepEqual((await api("GET", "exchanges/undo/hub")).arguments, { "alternate-exchange": "else" });
  assert.equal((await api("GET", "queues/undo/spoke")).arguments["x-max-length"], 5);
  await open("users/gone");
  await page.getByRole("cell", { name: "undo" }).waitFor();
  await page.getByRole("button", { name: "Delete…" }).click();
  await confirm(page, "gone", "Delete");
  await page.getByRole("heading", { name: "Users", level: 1 }).waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await eventually(async () => {
    assert.equal((await api("GET", "whoami", undefined, "gone:secret")).name, "gone");
    assert.equal((await api("GET", "permissions/undo/gone")).configure, "a");
  });
  assert.deepEqual(grave(complaints), []);
});

test("how a list is looked at is kept for each user, and an address that says otherwise wins", async () => {
  await api("PUT", "vhosts/views", {});
  await api("PUT", "permissions/views/guest", { configure: ".*", write: ".*", read: ".*" });
  for (const name of ["alpha", "beta", "gamma"]) await api("PUT", `queues/views/view-${name}`, {});
  const { page, open, complaints } = await enter(browser, { byHand: true });
  await open("queues");
  await page.getByLabel("Filter by name").fill("^view-(a|b)");
  await page.getByLabel("Regex").check();
  await page.locator(".table-tools > label").filter({ hasText: "Virtual host" }).locator("select").selectOption("views");
  await page.getByRole("button", { name: "Name", exact: true }).click();
  await page.getByRole("button", { name: "Name ▴" }).click();
  const names = () => page.locator("tbody a").allTextContents();
  await eventually(async () => assert.deepEqual(await names(), ["view-beta", "view-alpha"]));
  await page.getByRole("link", { name: "Exchanges" }).click();
  await page.getByRole("heading", { name: "Exchanges" }).waitFor();
  await page.getByRole("link", { name: "Queues and streams" }).click();
  await eventually(async () => assert.deepEqual(await names(), ["view-beta", "view-alpha"]));
  await eventually(async () => assert.match(await page.evaluate(() => location.hash), /name=.*regex=1.*sort=name/));
  await open("queues?name=view-gamma");
  await eventually(async () => assert.deepEqual(await names(), ["view-gamma"]));
  await page.getByRole("button", { name: "Log out" }).click();
  await logIn(page, "watcher", "watcher");
  await page.getByRole("heading", { name: "Queues and streams" }).waitFor();
  await open("exchanges");
  await open("queues");
  await eventually(async () => assert.ok((await names()).length > 3));
  assert.equal(await page.getByLabel("Filter by name").inputValue(), "");
  assert.deepEqual(whileIn(complaints), []);
});

test("work on many things says how far it is, and what was not done", async () => {
  await api("PUT", "vhosts/bulk", {});
  for (let index = 0; index < 30; index += 1) await api("PUT", `queues/bulk/b${index}`, {});
  const { page, open } = await enter(browser);
  await open("queues?vhost=bulk");
  await page.getByText("30 of 30").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 30);
  await page.getByLabel("Select all rows of this page").check();
  // One of them is gone before its turn.
  await api("DELETE", "queues/bulk/b7");
  await page.route("**/api/queues/bulk/**", async (route) => {
    await page.getByRole("progressbar").waitFor();
    await route.continue();
  });
  await page.getByRole("button", { name: "Delete…" }).click();
  await confirm(page, "delete", "Delete");
  await page.getByText("29 queues deleted.").waitFor();
  await page.locator(".toast.failed").getByText("1 not:").waitFor();
  await eventually(async () => assert.deepEqual(await api("GET", "queues/bulk"), []));
});

test("what is shown of messages is what is acted on, whatever was typed or chosen since", async () => {
  await api("PUT", "vhosts/shown", {});
  for (const name of ["from", "to"]) await api("PUT", `queues/shown/${name}`, {});
  for (const payload of ["red", "blue"]) await api("POST", "exchanges/shown/amq.default/publish", { properties: {}, routing_key: "from", payload, payload_encoding: "string" });
  await holds("shown/from", 2);
  const { page, open, complaints } = await enter(browser);
  await open("queues/shown/from");
  const form = await section(page, "Messages");
  await form.getByLabel(/^Show/).first().selectOption("body");
  await form.getByRole("textbox", { name: "Filter" }).fill("red");
  await send(form, "Look");
  await form.getByText("1 shown, 2 examined").waitFor();
  await form.getByRole("textbox", { name: "Filter" }).fill("blue");
  await form.getByLabel("Name of the target").fill("to");
  await form.getByRole("button", { name: "Move all found…" }).click();
  await confirm(page, undefined, "Move");
  await holds("shown/to", 1);
  const [moved] = (await api("POST", "queues/shown/to/browse", { count: 1 })).messages;
  assert.equal(moved.payload, "red");
  // An answer about what waits comes when something else is looked for.
  await page.locator(".toast").getByText("1 messages done.").waitFor();
  await form.getByText("1 shown, 1 examined").waitFor();
  const answer = await late(page, "**/browse", "POST");
  await send(form, "Look");
  await form.getByText("Looking…").waitFor();
  await form.getByLabel("Which").selectOption("unacknowledged");
  const [response] = await Promise.all([page.waitForResponse("**/browse"), answer()]);
  await response.finished();
  await drawn(page);
  assert.equal(await form.locator("pre").count(), 0);
  assert.deepEqual(complaints, []);
});

test("messages that wait for their time are listed where they wait, and cancelled", async () => {
  await api("PUT", "vhosts/waits", {});
  await api("PUT", "exchanges/waits/later", { type: "x-delayed-message", durable: true, arguments: { "x-delayed-type": "direct" } });
  await api("PUT", "queues/waits/slow", { durable: true, arguments: { "x-delayed-publish": true } });
  const delay = (exchange, hours) =>
    api("POST", `exchanges/waits/${exchange}/publish`, { properties: { headers: { "x-delay": hours * 3_600_000 } }, routing_key: "slow", payload: "", payload_encoding: "string" });
  for (const hours of [3, 1, 2]) await delay("later", hours);
  await delay("amq.default", 1);
  const wait = async (path, count) => {
    const { messages, messages_delayed } = await api("GET", `${path}/delayed`);
    assert.deepEqual([messages.length, messages_delayed], [count, count], path);
    return messages.map((one) => one.position);
  };
  const positions = await eventually(() => wait("exchanges/waits/later", 3));
  await eventually(() => wait("queues/waits/slow", 1));
  const { page, open, complaints } = await enter(browser);
  const list = page.locator("details.section").filter({ has: page.getByRole("heading", { name: "Waiting for their time" }) });
  await open("exchanges/waits/later");
  await list.getByText("3 messages").waitFor();
  await list.getByRole("cell", { name: "where the bindings of this exchange lead then" }).last().waitFor();
  // The first is the one that is due first; to think better of it changes nothing.
  await list.getByRole("button", { name: "Cancel…" }).first().click();
  await confirm(page, undefined, "Cancel");
  await list.getByRole("button", { name: "Cancel…" }).first().click();
  await confirm(page, undefined, "Drop it");
  await page.locator(".toast").getByText("1 messages cancelled.").waitFor();
  assert.deepEqual(await eventually(() => wait("exchanges/waits/later", 2)), positions.slice(1));
  await list.getByText("2 messages").waitFor();
  await list.getByRole("button", { name: "Cancel all…" }).click();
  await confirm(page, "cancel", "Drop all");
  await eventually(() => wait("exchanges/waits/later", 0));
  await list.waitFor({ state: "detached" });
  await open("queues/waits/slow");
  await list.getByRole("cell", { name: "into this queue" }).waitFor();
  await list.getByRole("button", { name: "Cancel…" }).click();
  await confirm(page, undefined, "Drop it");
  await eventually(() => wait("queues/waits/slow", 0));
  await list.waitFor({ state: "detached" });
  assert.deepEqual(complaints, []);
});

test("a file of definitions is dropped onto its page", async () => {
  const { page, open, complaints } = await enter(browser);
  await open("definitions");
  const file = await page.evaluateHandle((content) => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([content], "dropped.json", { type: "application/json" }));
    return dropped;
  }, JSON.stringify({ vhosts: [{ name: "dropped" }], queues: [{ vhost: "dropped", name: "q", durable: true, auto_delete: false, arguments: {} }] }));
  await page.locator(".drop").dispatchEvent("drop", { dataTransfer: file });
  await page.getByText("vhosts: 1 new").waitFor();
  await page.getByRole("button", { name: "Import…" }).click();
  await confirm(page, undefined, "Import");
  await eventually(() => api("GET", "queues/dropped/q"));
  assert.deepEqual(complaints, []);
});

/** Sent in plugins.test.mjs. */
const ELSEWHERE = ["Add trace"];

test("no form is left that no test has sent", async () => {
  const { page, open } = await enter(browser);
  const there = new Set();
  for (const [, hash] of PAGES) {
    await open(await addressOf(hash));
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
    for (const name of await page.locator("main form button.primary").allTextContents()) there.add(name);
  }
  assert.ok(there.size > 15, [...there].join(", "));
  assert.deepEqual([...there].filter((name) => !sent.has(name) && !ELSEWHERE.includes(name)), []);
});
