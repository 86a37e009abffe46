// Runs the tests. Names of files choose some, and options go to node's runner:
// `WARREN=PROGRAM node test/run.mjs pages xss --test-name-pattern=phone`.
//
// Each file has a broker to itself, with clients at work on it, so that files run side by side and disturb nobody. With UI_URL and
// AMQP_URL all run against the broker that is there, one after the other. With SCREENSHOTS, pictures of all pages are written to
// that folder. With LATE_MS=800, each answer of the API comes up to so many milliseconds later.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { program, startBroker } from "./broker.mjs";

/** What runs side by side; what takes long comes first. */
const TOGETHER = ["xss", "work", "pages", "oauth", "plugins"];
/** What measures, or waits for charts to fill, has the machine to itself. */
const ALONE = ["scale", ...(process.env.SCREENSHOTS ? ["pictures"] : [])];
/** These start brokers themselves, with configurations of their own. */
const WITH_THEIR_OWN = ["oauth", "plugins"];

/** So that no picture says that there is nothing to see. */
const WITH_PLUGINS = { RABBITMQ_ENABLED_PLUGINS: "rabbitmq_management,rabbitmq_prometheus,rabbitmq_tracing,rabbitmq_top" };

const chosen = process.argv.slice(2).filter((one) => !one.startsWith("--"));
const options = process.argv.slice(2).filter((one) => one.startsWith("--"));
const those = (names) => names.filter((name) => chosen.length === 0 || chosen.includes(name));

/** Runs one file. Gives whether all of it passed, and prints what it says in one piece. */
async function run(name) {
  const begun = Date.now();
  const folder = await mkdtemp(`${tmpdir()}/warren-ui-`);
  const broker = process.env.UI_URL || WITH_THEIR_OWN.includes(name) ? undefined : await startBroker(folder, [`tracing.dir = ${folder}/traces`], name === "pictures" ? WITH_PLUGINS : {});
  const env = { ...process.env, ...(broker && { UI_URL: broker.address, AMQP_URL: broker.amqp }) };
  try {
    const tests = spawn(process.execPath, ["test/furnished.mjs", `test/${name}.test.mjs`, ...options], { env, stdio: ["ignore", "pipe", "pipe"] });
    const parts = [];
    for (const stream of [tests.stdout, tests.stderr]) stream.on("data", (part) => parts.push(part));
    const [code, signal] = await new Promise((resolve) => tests.on("close", (...how) => resolve(how)));
    console.log(`${name}: ${code === 0 ? "passed" : `FAILED with ${signal ?? code}`} after ${Math.round((Date.now() - begun) / 1000)} s\n${Buffer.concat(parts)}`);
    return code === 0;
  } finally {
    await broker?.end();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs files, so many at a time. Gives whether all passed. */
async function runAll(names, workers) {
  const waiting = [...names];
  const passed = [];
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) passed.push(await run(name));
  };
  await Promise.all(Array.from({ length: workers }, work));
  return passed.every(Boolean);
}

if (!process.env.UI_URL && !program) throw new Error("WARREN names no program, and UI_URL no broker");
// One more than there are processors: a test also waits.
const together = await runAll(those(TOGETHER), process.env.UI_URL ? 1 : availableParallelism() + 1);
const alone = await runAll(those(ALONE), 1);
process.exit(together && alone ? 0 : 1);
