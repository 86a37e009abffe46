// One file of tests, on a broker with something in it and clients at work: `node test/furnished.mjs FILE OPTIONS…`. A file that
// is given no broker has one of its own.
import { spawn } from "node:child_process";
import { furnish } from "./harness.mjs";
import { traffic } from "./traffic.mjs";

if (process.env.UI_URL) {
  await furnish();
  await traffic(process.env.AMQP_URL ?? "amqp://127.0.0.1:5672");
}
const [file, ...options] = process.argv.slice(2);
// Without node's runner around it: there is one file, and one process less that has an end of its own.
const tests = spawn(process.execPath, ["--test-force-exit", "--test-reporter=spec", ...options, file], { stdio: "inherit" });
const [code, signal] = await new Promise((resolve) => tests.on("exit", (...how) => resolve(how)));
if (code !== 0) console.error(`${file} ended with ${signal ?? code}`);
process.exit(code ?? 1);
