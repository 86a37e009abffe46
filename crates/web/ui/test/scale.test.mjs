// 100,000 queues: the pages go on answering. And how soon the first thing is seen.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { URL_OF_UI, api, enter, launch, leave } from "./harness.mjs";

const QUEUES = 100_000;
/** Milliseconds of the processor that a task of a page may take. It takes a tenth; the rest is for machines that are slower or shared. */
const TASK_MS_MAX = 1_000;
/** Loads of the first page that are measured. */
const LOADS = 10;

let browser;
before(async () => {
  const queues = Array.from({ length: QUEUES }, (_, index) => ({ vhost: "large", name: `queue-${String(index).padStart(6, "0")}`, durable: true, auto_delete: false, arguments: {} }));
  const bindings = queues.slice(0, 2_000).map(({ name }) => ({ source: "amq.topic", vhost: "large", destination: name, destination_type: "queue", routing_key: name, arguments: {} }));
  await api("PUT", "vhosts/large", {});
  await api("PUT", "permissions/large/guest", { configure: ".*", write: ".*", read: ".*" });
  await api("POST", "definitions/large", { queues: queues.map(({ vhost: _, ...rest }) => rest), bindings: bindings.map(({ vhost: _, ...rest }) => rest) });
  browser = await launch();
});
afterEach(leave);
after(async () => {
  await browser?.close();
  await api("DELETE", "vhosts/large");
});

/** Collects tasks that kept the page from answering, from its first script on; what else runs on the machine counts in them. */
function watch() {
  window.longTasks = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.longTasks.push(Math.round(entry.duration));
  }).observe({ type: "longtask", buffered: true });
}

/** The longest task of the pages' main threads in a trace of Chromium, in milliseconds of the processor: of what else runs on the machine nothing counts. */
function longest(trace) {
  const { traceEvents: events } = JSON.parse(trace.toString());
  const main = new Set(events.filter((one) => one.name === "thread_name" && one.args.name === "CrRendererMain").map((one) => `${one.pid} ${one.tid}`));
  const tasks = events.filter((one) => one.name.endsWith("RunTask") && one.tdur !== undefined && main.has(`${one.pid} ${one.tid}`));
  // Of a renderer that does not come to it in time, Chromium has no trace.
  return Math.round(tasks.reduce((most, one) => Math.max(most, one.tdur), 0) / 1000);
}

test("no page with 100,000 queues stops answering", async (context) => {
  const { page, open, complaints } = await enter(browser, { script: watch });
  const tasks = {};
  const observed = {};
  const during = async (what, action) => {
    await page.evaluate(() => void (window.longTasks.length = 0));
    await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline"] });
    await action();
    // Observers are told after the frame in which a task ended.
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve)))));
    tasks[what] = longest(await browser.stopTracing());
    observed[what] = Math.max(0, ...(await page.evaluate(() => window.longTasks)));
  };
  const rows = (count) => page.waitForFunction((wanted) => document.querySelectorAll("tbody tr").length === wanted, count);
  await page.getByLabel("Refresh").selectOption("1");
  await during("overview", () => open(""));
  await during("first page", async () => {
    await open("queues?vhost=large");
    await page.getByText("100,000 of 100,000").waitFor();
    await rows(100);
  });
  await during("500 rows", async () => {
    await page.getByLabel(/^Rows/).first().selectOption("500");
    await rows(500);
  });
  await during("order", async () => {
    // By their places: to find a button by its role, the tester's own script would walk over all rows.
    const total = page.locator("th button.sort").nth(6);
    for (const mark of ["Total ▴", "Total ▾", "Total"]) {
      await total.click();
      await page.waitForFunction((text) => document.querySelectorAll("th button.sort")[6].textContent === text, mark);
    }
  });
  await during("last page", async () => {
    await page.locator("nav.pages button").last().click();
    await page.locator("nav.pages").getByText("Page 200 of 200").waitFor();
    await page.waitForFunction(() => document.querySelector("tbody tr:last-child a")?.textContent === "queue-099999");
  });
  await during("filter", async () => {
    await page.getByLabel("Filter by name").fill("queue-0999");
    await page.keyboard.press("Enter");
    await page.getByText("100 of 100,000").waitFor();
    await rows(100);
  });
  await during("refreshes", async () => {
    for (let turn = 0; turn < 3; turn += 1) await page.waitForResponse((response) => response.url().includes("/api/queues"));
  });
  await during("queue", () => open("queues/large/queue-000001"));
  await during("exchange", () => open("exchanges/large/amq.topic"));
  await during("topology", async () => {
    await open("topology?vhost=large");
    await page.getByText("500 bindings").waitFor();
  });
  const list = (figures) => Object.entries(figures).map(([what, figure]) => `${what} ${figure}`).join(", ");
  context.diagnostic(`longest task in ms of the processor, 0 without a trace: ${list(tasks)}`);
  context.diagnostic(`longest task that the page saw in ms, 0 below 50: ${list(observed)}`);
  assert.deepEqual(Object.entries(tasks).filter(([, ms]) => ms > TASK_MS_MAX), []);
  assert.deepEqual(complaints, []);
});

test("the first paint is soon", async (context) => {
  const loads = [];
  for (let turn = 0; turn < LOADS; turn += 1) {
    const fresh = await browser.newContext();
    const page = await fresh.newPage();
    await page.goto(`${URL_OF_UI}/`);
    await page.getByLabel("User name").waitFor();
    const times = await page.waitForFunction(() => {
      const painted = performance.getEntriesByName("first-contentful-paint")[0];
      const ends = (what) => Math.max(...performance.getEntriesByType("resource").filter(what).map((one) => one.responseEnd));
      return painted && { painted: painted.startTime, styles: ends((one) => one.name.endsWith(".css")), modules: ends((one) => one.name.endsWith(".js")) };
    });
    loads.push(await times.jsonValue());
    await fresh.close();
  }
  const middle = (what) => Math.round(loads.map((load) => load[what]).toSorted((one, other) => one - other)[LOADS / 2]);
  context.diagnostic(`the login page in a fresh browser, middle of ${LOADS} loads, ms: styles there after ${middle("styles")}, first contentful paint after ${middle("painted")}, all modules there after ${middle("modules")}`);
  assert.equal(loads.length, LOADS);
});
