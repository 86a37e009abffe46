// Pictures of every page, light and dark, for the documentation.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import UPNG from "upng-js";
import { PAGES, PATIENCE_MS, addressOf, api, enter, launch } from "./harness.mjs";

/** Colours of a picture: enough for text, lines and their soft edges. */
const COLOURS = 96;
/** Points of a line that make a chart worth looking at. */
const SAMPLES = 9;
/** What all pictures together may take. */
const BYTES_MAX = 4 << 20;

const folder = process.env.SCREENSHOTS;
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** The same picture with few colours. */
function small(png) {
  const image = UPNG.decode(png.buffer.slice(png.byteOffset, png.byteOffset + png.byteLength));
  return Buffer.from(UPNG.encode(UPNG.toRGBA8(image), image.width, image.height, COLOURS));
}

test("pictures of all pages, light and dark", { skip: folder === undefined && "SCREENSHOTS names no folder" }, async () => {
  await mkdir(folder, { recursive: true });
  await api("PUT", "traces/shop/orders", { format: "text", pattern: "publish.events" });
  // A minute of samples of everything that has a chart: of single objects they are kept from the first look on.
  const ages = ["lengths", "msg_rates", "data_rates"].map((kind) => `${kind}_age=60&${kind}_incr=5`).join("&");
  const objects = await Promise.all(PAGES.filter(([name]) => ["connection", "channel", "exchange", "queue", "vhost"].includes(name)).map(([, hash]) => addressOf(hash)));
  const full = async () => {
    const answers = await Promise.all(objects.map((path) => api("GET", `${path}?${ages}`)));
    const { samples } = answers.find((one) => one.name === "orders").message_stats.publish_details;
    assert.ok(new Set(samples.map((one) => one.sample)).size >= SAMPLES);
  };
  const until = Date.now() + 4 * PATIENCE_MS;
  while (!(await full().then(() => true, () => false))) {
    assert.ok(Date.now() < until, "the charts did not fill");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  let bytes = 0;
  for (const dark of [false, true]) {
    const { page, open } = await enter(browser, { dark, height: 800 });
    for (const [name, hash] of PAGES) {
      await open(await addressOf(hash));
      await page.mouse.move(0, 0);
      const picture = small(await page.screenshot());
      bytes += picture.length;
      await writeFile(`${folder}/${name}-${dark ? "dark" : "light"}.png`, picture);
    }
    await page.context().close();
  }
  assert.ok(bytes <= BYTES_MAX, `${bytes} bytes of pictures`);
});
