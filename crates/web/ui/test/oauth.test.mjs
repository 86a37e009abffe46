// Login with OAuth 2, against a broker of its own that knows a provider of its own.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after, afterEach, before, test } from "node:test";
import { axe, eventually, launch, leave, whileIn } from "./harness.mjs";
import { skip, startBroker } from "./broker.mjs";
import { CLIENT, SECRET, provider } from "./provider.mjs";

/** Seconds of a token, and after how many the provider says that it ends: soon renewed, and with much time to spare. */
const LIFETIME = 20;
const SAID = 3;

let browser;
let folder;
let issuer;
let broker;
before(async () => {
  if (skip) return;
  folder = await mkdtemp(`${tmpdir()}/warren-oauth-`);
  issuer = await provider(folder, { lifetime: LIFETIME, said: SAID });
  broker = await startBroker(folder, [
    "auth_backends.1 = oauth2", "auth_backends.2 = internal",
    "auth_oauth2.resource_server_id = rabbitmq", `auth_oauth2.issuer = ${issuer.issuer}`, `auth_oauth2.https.cacertfile = ${issuer.authority}`,
    "auth_oauth2.preferred_username_claims.1 = user_name",
    "management.oauth_enabled = true", "management.oauth_disable_basic_auth = false",
    `management.oauth_client_id = ${CLIENT}`, `management.oauth_client_secret = ${SECRET}`, "management.oauth_scopes = openid rabbitmq.tag:administrator",
  ]);
  browser = await launch();
});
afterEach(leave);
after(async () => {
  await browser?.close();
  await broker?.end();
  await issuer?.end();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** A browser of its own, at an address. */
async function visit(hash = "") {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("dialog", (dialog) => (complaints.push(dialog.message()), dialog.dismiss()));
  await page.goto(`${broker.address}/${hash}`);
  return { page, complaints };
}

test("a user of a provider comes to the page that was asked for, stays, and leaves", { skip }, async () => {
  const { page, complaints } = await visit("#/users");
  await page.getByRole("button", { name: /^Log in with/ }).waitFor();
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: /^Log in with/ }).click();
  await page.getByRole("heading", { name: "Users", level: 1 }).waitFor();
  assert.equal(await page.locator(".who").textContent(), "ada");
  assert.deepEqual(issuer.seen.refused, []);
  assert.deepEqual(issuer.seen.tokens.filter((grant) => grant !== "refresh"), ["code"]);
  // Nothing of the exchange stays in the address, and no script can read what the session is.
  assert.ok(!page.url().includes("code="), page.url());
  assert.equal(await page.evaluate(() => document.cookie), "");
  assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes("refresh"));
  // Longer than a token lives: it was renewed, and nobody was asked.
  await eventually(async () => assert.ok(Date.now() > issuer.seen.first + LIFETIME * 1000));
  await page.waitForResponse((response) => response.url().includes("/api/users") && response.ok());
  assert.ok(issuer.seen.tokens.includes("refresh"));
  // A page takes up what the one before has kept. Providers take that once: the one before is left when it is about to send it.
  let about;
  const next = new Promise((resolve) => (about = resolve));
  await page.route("**/api/oauth/*/token", (route) => {
    if (about === undefined) return route.fallback();
    about();
    about = undefined;
  });
  await next;
  assert.equal(await page.evaluate(() => JSON.parse(sessionStorage.getItem("warren.token")).refresh), issuer.seen.refresh);
  await page.reload();
  await page.getByRole("heading", { name: "Users", level: 1 }).waitFor();
  const renewed = issuer.seen.tokens.length;
  await eventually(async () => assert.ok(issuer.seen.tokens.length > renewed));
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: /^Log in with/ }).waitFor();
  assert.equal(issuer.seen.ended.length, 1);
  assert.ok(issuer.seen.ended[0].id_token_hint);
  await page.reload();
  await page.getByRole("button", { name: /^Log in with/ }).waitFor();
  assert.deepEqual(whileIn(complaints), []);
});

test("a name and a password go on being good, where the configuration lets them", { skip }, async () => {
  const { page } = await visit();
  await page.getByLabel("User name").fill("guest");
  await page.getByLabel("Password").fill("guest");
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
});

test("a provider's refusal is shown as the text that it is", { skip }, async () => {
  const { page, complaints } = await visit();
  issuer.seen.deny = true;
  await page.getByRole("button", { name: /^Log in with/ }).click();
  await page.getByRole("alert").getByText("The provider says: <b>Not</b> today").waitFor();
  issuer.seen.deny = false;
  assert.deepEqual(complaints, []);
});

test("a login that was not begun here is refused", { skip }, async () => {
  const { page, complaints } = await visit("?code=stolen&state=of-somebody-else");
  await page.getByRole("alert").getByText("This login was not begun here").waitFor();
  assert.ok(!page.url().includes("stolen"));
  assert.deepEqual(complaints, []);
});

test("a token without a tag lets nobody in", { skip }, async () => {
  const { page } = await visit();
  const before = issuer.seen.scope;
  issuer.seen.scope = "rabbitmq.read:*/*";
  await page.getByRole("button", { name: /^Log in with/ }).click();
  await page.getByRole("alert").waitFor();
  issuer.seen.scope = before;
});
