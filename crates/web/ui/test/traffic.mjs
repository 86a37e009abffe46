// Clients at work, so that lists have rows and charts have lines: a shop that publishes in waves and consumes what comes.
import amqp from "amqplib";

/** Between two handfuls of messages. */
const STEP_MS = 250;
/** Messages of a handful, at least and at most. */
const [FEW, MANY] = [4, 40];
/** From one high tide to the next. */
const WAVE_MS = 40_000;
/** How long the slow consumer takes for a message. */
const SLOW_MS = 150;

/** They end with the process. @param {string} url of the broker */
export async function traffic(url) {
  const connect = (name, product) =>
    amqp.connect(`${url.replace("amqp://", "amqp://guest:guest@")}/shop`, { clientProperties: { connection_name: name, product, version: "1.4.2" } });
  const [front, billing, mailer] = await Promise.all([connect("checkout", "Shop front"), connect("billing", "Billing"), connect("mailer", "Mailer")]);
  const publisher = await front.createConfirmChannel();
  const begun = Date.now();
  setInterval(() => {
    const wave = (1 + Math.sin(((Date.now() - begun) / WAVE_MS) * 2 * Math.PI)) / 2;
    const count = Math.round(FEW + (MANY - FEW) * wave);
    for (let index = 0; index < count; index += 1) {
      const key = index % 3 === 0 ? "order.paid" : "order.new";
      const body = Buffer.from(JSON.stringify({ order: begun + index, total: 10 * index }));
      publisher.publish("events", key, body, { persistent: true, contentType: "application/json", headers: { tenant: index % 2 ? "blue" : "red" } });
    }
  }, STEP_MS);
  const orders = await billing.createChannel();
  await orders.prefetch(50);
  let held = [];
  await orders.consume("orders", (message) => message && held.push(message), { consumerTag: "billing-orders" });
  setInterval(() => {
    const [done, rest] = [held.slice(0, -10), held.slice(-10)];
    held = rest;
    done.forEach((message) => orders.ack(message));
  }, STEP_MS);
  const invoices = await billing.createChannel();
  await invoices.prefetch(20);
  await invoices.consume("invoices", (message) => message && setTimeout(() => invoices.ack(message), SLOW_MS), { consumerTag: "billing-invoices" });
  const mail = await mailer.createChannel();
  await mail.prefetch(100);
  await mail.consume("mail", (message) => message && mail.ack(message), { consumerTag: "mailer" });
  const index = await mailer.createChannel();
  await index.consume("search-index", () => {}, { noAck: true, consumerTag: "indexer" });
  // A connection that a test closes is gone; the others go on.
  for (const one of [front, billing, mailer]) one.on("error", () => {});
}
