// Every page: no complaint of the browser, nothing against accessibility rules, light and dark, wide and narrow, for every tag.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { PAGES, URL_OF_UI, addressOf, api, axe, enter, eventually, launch, leave, logIn } from "./harness.mjs";

let browser;
before(async () => {
  browser = await launch();
});
afterEach(leave);
after(() => browser?.close());

for (const dark of [false, true]) {
  test(`pages are clean and accessible, ${dark ? "dark" : "light"}`, async () => {
    const { page, complaints, open } = await enter(browser, { dark });
    for (const [name, hash] of PAGES) {
      await open(await addressOf(hash));
      await page.evaluate(() => document.querySelectorAll("details.section").forEach((one) => (one.open = true)));
      assert.deepEqual(await axe(page, dark ? { colours: true, place: name === "overview" ? "html" : "main" } : {}), [], name);
      assert.ok(await page.evaluate(() => document.querySelector("main").firstElementChild.matches("h1, :has(> h1)")), `${name} begins with something else than its heading`);
      assert.equal(await page.locator(".problem").count(), 0, `${name}: ${await page.locator(".problem").allTextContents()}`);
    }
    assert.deepEqual(complaints, []);
  });
}

test("a phone shows every page without scrolling sideways", async () => {
  const { page, complaints, open } = await enter(browser, { width: 390 });
  for (const [name, hash] of PAGES) {
    await open(await addressOf(hash));
    await eventually(async () => {
      const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(content <= window, `${name} is ${content} wide on ${window}`);
    });
  }
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByLabel("Theme").selectOption("dark");
  await page.getByRole("link", { name: "Queues and streams" }).click();
  await page.getByRole("heading", { name: "Queues and streams" }).waitFor();
  assert.deepEqual(complaints, []);
});

const FOR_ALL = ["Overview", "Connections", "Channels", "Consumers", "Exchanges", "Queues and streams", "Topology", "Virtual hosts", "Policies", "Limits", "Features and plugins"];
const ENTRIES = {
  reader: FOR_ALL,
  planner: [...FOR_ALL, "Parameters"],
  watcher: [...FOR_ALL, "Cluster"],
  guest: [...FOR_ALL, "Users", "Parameters", "Definitions", "Cluster", "Tracing", "Top"],
};

/** Forms that only some may use: pages, what their buttons say, and who is offered them. */
const FORMS = [
  ["vhosts", "Add virtual host", ["guest"]],
  ["vhost", "Change virtual host", ["guest"]],
  ["policies", "Add policy", ["guest", "planner"]],
  ["policy", "Change policy", ["guest", "planner"]],
  ["policies", "Add operator policy", ["guest"]],
  ["operator-policy", "Change policy", ["guest"]],
  ["limits", "Set limit", ["guest"]],
  ["cluster", "Change name", ["guest"]],
  ["parameters", "Set parameter", ["guest", "planner"]],
];

test("users of every tag see what they may and nothing else, and are offered what they may do", async () => {
  for (const [user, expected] of Object.entries(ENTRIES)) {
    const { page, open, complaints } = await enter(browser, { user, password: user });
    await eventually(async () => assert.deepEqual((await page.locator("nav.side a").allTextContents()).toSorted(), expected.toSorted(), user));
    const hidden = new Set();
    for (const [name, hash] of PAGES) {
      const address = await addressOf(hash);
      // What another user's connection does is not for everyone.
      if (["connection", "channel"].includes(name) && ["reader", "planner"].includes(user)) continue;
      await open(address);
      await page.evaluate(() => document.querySelectorAll("details.section").forEach((one) => (one.open = true)));
      if (await page.getByRole("heading", { name: "Not for this user" }).count()) hidden.add(name);
      assert.equal(await page.locator(".problem").count(), 0, `${user}, ${name}: ${await page.locator(".problem").allTextContents()}`);
      for (const [, form, users] of FORMS.filter(([where]) => where === name)) {
        const button = page.getByRole("button", { name: form, exact: true });
        if (users.includes(user)) await button.first().waitFor();
        else assert.equal(await button.count(), 0, `${user} is offered ${form}`);
      }
    }
    const administrators = ["users", "user", "definitions", "tracing", "top"];
    const monitors = ["node", "cluster"];
    const expectedHidden = { reader: [...administrators, ...monitors, "parameters"], planner: [...administrators, ...monitors], watcher: [...administrators, "parameters"], guest: [] }[user];
    assert.deepEqual([...hidden].toSorted(), expectedHidden.toSorted(), user);
    assert.deepEqual(complaints, [], user);
    await leave();
  }
});

test("the keyboard alone is enough to log in, to reach the content, and to filter a list", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${URL_OF_UI}/#/queues`);
  await page.getByLabel("User name").waitFor();
  await page.getByLabel("User name").focus();
  await page.keyboard.type("guest");
  await page.keyboard.press("Tab");
  await page.keyboard.type("guest");
  await page.keyboard.press("Enter");
  // The address that was asked for, and not the first page.
  await page.getByRole("heading", { name: "Queues and streams", level: 1 }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await eventually(async () => assert.equal(await page.evaluate(() => document.activeElement?.id), "content"));
  await page.getByLabel("Filter by name").waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("invoi");
  await page.keyboard.press("Enter");
  await page.getByText(/^1 of /).waitFor();
  await page.keyboard.press("Tab");
  await eventually(async () => assert.ok(await page.evaluate(() => document.activeElement?.matches("input[type=checkbox]"))));
});

test("a wrong password is said so, and a closed session asks again", async () => {
  const { page } = await enter(browser, { byHand: true });
  await page.getByRole("button", { name: "Log out" }).click();
  await logIn(page, "guest", "wrong");
  await page.getByRole("alert").getByText("Wrong user name or password").waitFor();
  await eventually(async () => assert.deepEqual((await page.context().cookies()).filter((cookie) => cookie.value !== ""), []));
});

test("a session that has ended is said so, and a new one begins where the old one was", async () => {
  const { page, open } = await enter(browser, { byHand: true });
  await open("queues");
  await page.context().clearCookies();
  await page.getByRole("alert").getByText("Your session has ended").waitFor();
  await logIn(page, "guest", "guest");
  await page.getByRole("heading", { name: "Queues and streams", level: 1 }).waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("User name").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0, "who logs out is told that the session has ended");
});

test("what is gone, and a broker that does not answer, are said so once", async () => {
  const { page, open } = await enter(browser);
  const problem = page.locator(".problem:visible");
  await page.getByLabel("Refresh").selectOption("1");
  await api("PUT", "queues/shop/short-lived", { durable: true });
  await open("queues/shop/short-lived");
  await api("DELETE", "queues/shop/short-lived");
  await problem.getByText("not any more").first().waitFor();
  await open("queues");
  await page.route("**/api/**", (route) => route.abort());
  await problem.getByText("The broker does not answer").first().waitFor();
  await eventually(async () => assert.equal(await page.locator(".problem").count(), 2));
  await eventually(async () => assert.equal(await problem.count(), 1));
});

test("charts go on while one looks, and show what the chosen range says", async () => {
  const { page, open, complaints } = await enter(browser);
  await open("queues/shop/orders");
  await page.getByLabel("Refresh").selectOption("1");
  await page.getByRole("region", { name: "Message rates" }).getByText("Publish").waitFor();
  const asked = page.waitForRequest((request) => request.url().includes("msg_rates_age=3600"));
  await page.getByLabel("Range").selectOption("Last hour");
  await asked;
  await open("");
  await eventually(async () => assert.equal(await page.getByLabel("Range").inputValue(), "Last hour"));
  // A click on a chart's area shows what was then.
  await page.getByLabel("Range").selectOption("Last minute");
  const chart = page.getByRole("region", { name: "Queued messages" });
  await eventually(async () => {
    const box = await chart.locator(".u-over").boundingBox();
    await page.mouse.move(box.x + box.width - 5, box.y + 40);
    assert.match(await chart.getByRole("heading").textContent(), /\d:\d\d/);
  });
  assert.deepEqual(complaints, []);
});

test("what is unhealthy is said with its reason", async () => {
  const { page, open, complaints } = await enter(browser);
  await page.getByText("Everything is healthy.").waitFor();
  await page.route("**/api/health/checks/alarms", (route) => route.fulfill({ status: 503, contentType: "application/json", body: JSON.stringify({ status: "failed", reason: "There are alarms in effect in the cluster", alarms: [] }) }));
  const [node] = await api("GET", "nodes");
  await page.route("**/api/nodes?*", (route) => route.fulfill({ json: [{ ...node, mem_alarm: true }] }));
  await page.route("**/api/nodes", (route) => route.fulfill({ json: [{ ...node, mem_alarm: true }] }));
  await open("connections");
  await open("");
  await page.getByRole("alert").getByText("There are alarms in effect in the cluster").waitFor();
  await page.getByRole("alert").getByText("Publishers are blocked").waitFor();
  assert.deepEqual(complaints.filter((one) => !one.includes("503")), []);
});
