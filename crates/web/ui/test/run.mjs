// Runs the tests, in this order, while clients are at work on the broker. Names of files choose some, and options go to node's
// runner: `node test/run.mjs pages xss --test-name-pattern=phone`.
//
// UI_URL and AMQP_URL say where the broker is. With SCREENSHOTS, pictures of all pages are written to that folder.
import { spawn } from "node:child_process";
import { furnish } from "./harness.mjs";
import { traffic } from "./traffic.mjs";

// Pictures come before the tests that leave their things behind.
const ALL = ["pages", "pictures", "work", "xss", "oauth", "plugins", "scale"];
const chosen = process.argv.slice(2).filter((one) => !one.startsWith("--"));
const options = process.argv.slice(2).filter((one) => one.startsWith("--"));
const files = ALL.filter((name) => chosen.length === 0 || chosen.includes(name)).map((name) => `test/${name}.test.mjs`);

await furnish();
const stop = await traffic(process.env.AMQP_URL ?? "amqp://127.0.0.1:5672");
const tests = spawn(process.execPath, ["--test", "--test-concurrency=1", "--test-force-exit", "--test-reporter=spec", ...options, ...files], { stdio: "inherit" });
const code = await new Promise((resolve) => tests.on("exit", resolve));
await stop();
process.exit(code ?? 1);
