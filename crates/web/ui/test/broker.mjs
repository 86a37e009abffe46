// A broker of a test's own, with a configuration of its own.
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";

/** The program, or nothing where a test cannot start brokers. */
export const program = process.env.WARREN;
export const skip = program === undefined && "WARREN names no program";

/**
 * @param {string} folder for its configuration and its data
 * @param {string[]} conf lines of rabbitmq.conf
 * @param {Record<string, string>} env
 * @returns {Promise<{address: string, amqp: string, end: () => Promise<unknown>}>} address: of its pages; amqp: for clients
 */
export async function startBroker(folder, conf, env = {}) {
  await writeFile(`${folder}/rabbitmq.conf`, ["management.tcp.ip = 127.0.0.1", "management.tcp.port = 0", "prometheus.tcp.ip = 127.0.0.1", "prometheus.tcp.port = 0", ...conf, ""].join("\n"));
  const places = { RABBITMQ_CONFIG_FILE: `${folder}/rabbitmq.conf`, RABBITMQ_CONFIG_FILES: `${folder}/conf.d`, RABBITMQ_MNESIA_DIR: `${folder}/data`, RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1", RABBITMQ_NODE_PORT: "0" };
  const broker = spawn(program, ["server"], { env: { ...process.env, ...places, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise((resolve) => broker.on("exit", resolve));
  let log = "";
  broker.stderr.on("data", (part) => (log += part));
  const ready = await new Promise((resolve, reject) => {
    createInterface({ input: broker.stdout }).on("line", (line) => line.includes("is ready") && resolve(line));
    broker.on("exit", (code) => reject(new Error(`the broker ended with ${code}: ${log}`)));
  });
  const [address, amqp] = [/http:\/\/[^\s,]+/, /amqp:\/\/[^\s,]+/].map((kind) => kind.exec(ready)[0].replace(/\/$/, ""));
  return { address, amqp, end: () => (broker.kill(), ended) };
}
