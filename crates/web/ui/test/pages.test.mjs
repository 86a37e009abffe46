// Every page: no complaint of the browser, nothing against accessibility rules, light and dark, wide and narrow.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { PAGES, addressOf, axe, enter, furnish, launch } from "./harness.mjs";

let browser;
before(async () => {
  await furnish();
  browser = await launch();
});
after(() => browser?.close());

const pictures = process.env.SCREENSHOTS;

for (const dark of [false, true]) {
  test(`pages are clean and accessible, ${dark ? "dark" : "light"}`, async () => {
    const { page, complaints, open } = await enter(browser, { dark });
    for (const [name, hash] of PAGES) {
      await open(await addressOf(hash));
      await page.evaluate(() => document.querySelectorAll("details.section").forEach((one) => (one.open = true)));
      assert.deepEqual(await axe(page), [], name);
      assert.equal(await page.locator(".problem").count(), 0, `${name}: ${await page.locator(".problem").allTextContents()}`);
      if (pictures) {
        await mkdir(pictures, { recursive: true });
        await open(await addressOf(hash));
        await page.screenshot({ path: `${pictures}/${name}-${dark ? "dark" : "light"}.jpg`, type: "jpeg", quality: 70 });
      }
    }
    assert.deepEqual(complaints, []);
  });
}

test("a phone shows every page without scrolling sideways", async () => {
  const { page, complaints, open } = await enter(browser, { width: 390 });
  for (const [name, hash] of PAGES) {
    await open(await addressOf(hash));
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `${name} is ${content} wide on ${window}`);
  }
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("link", { name: "Queues and streams" }).click();
  await page.getByRole("heading", { name: "Queues and streams" }).waitFor();
  assert.deepEqual(complaints, []);
});

test("users see what they may and nothing else", async () => {
  const reader = await enter(browser, { user: "reader", password: "reader" });
  const entries = await reader.page.locator("nav.side a").allTextContents();
  assert.deepEqual(entries, ["Overview", "Connections", "Channels", "Exchanges", "Queues and streams", "Topology", "Virtual hosts", "Policies", "Limits", "Features and plugins"]);
  for (const hash of ["queues/shop/orders", "exchanges/shop/events", "vhosts/shop", "policies", "limits"]) await reader.open(hash);
  await reader.page.goto(reader.page.url().replace(/#.*/, "#/users"));
  await reader.page.getByRole("heading", { name: "Not for this user" }).waitFor();
  assert.deepEqual(reader.complaints, []);
  const watcher = await enter(browser, { user: "watcher", password: "watcher" });
  await watcher.page.getByRole("heading", { name: "Nodes" }).waitFor();
  assert.deepEqual(watcher.complaints, []);
});

test("the keyboard alone is enough to log in and to reach the content", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${process.env.UI_URL ?? "http://127.0.0.1:15672"}/`);
  await page.getByLabel("User name").waitFor();
  await page.keyboard.type("guest");
  await page.keyboard.press("Tab");
  await page.keyboard.type("guest");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "content");
});

test("a wrong password is said so, and a closed session asks again", async () => {
  const { page } = await enter(browser);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("User name").fill("guest");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").getByText("Wrong user name or password").waitFor();
  assert.equal((await page.context().cookies()).filter((cookie) => cookie.value !== "").length, 0);
});
