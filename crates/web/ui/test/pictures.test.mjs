// Pictures of every page, light and dark, for the documentation.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import UPNG from "upng-js";
import { PAGES, PATIENCE_MS, addressOf, api, enter, eventually, launch } from "./harness.mjs";

/** Colours of a picture: enough for text, lines and their soft edges. */
const COLOURS = 96;
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
  // A minute of samples, so that the charts are full.
  const full = async () => {
    const { queue_totals: totals } = await api("GET", "overview?lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5");
    assert.ok((totals.messages_details.samples ?? []).filter((one) => one.sample > 0).length >= 11);
  };
  const until = Date.now() + 4 * PATIENCE_MS;
  await full().catch(async () => {
    while (Date.now() < until && !(await full().then(() => true, () => false))) await new Promise((resolve) => setTimeout(resolve, 500));
    await full();
  });
  let bytes = 0;
  for (const dark of [false, true]) {
    const { page, open } = await enter(browser, { dark, height: 800 });
    for (const [name, hash] of PAGES) {
      await open(await addressOf(hash));
      if (name === "queue" || name === "exchange" || name === "vhost") {
        // Rates of an object are kept from the first look on.
        await eventually(async () => assert.ok((await page.locator(".legend li").count()) > 3));
      }
      await page.mouse.move(0, 0);
      const picture = small(await page.screenshot());
      bytes += picture.length;
      await writeFile(`${folder}/${name}-${dark ? "dark" : "light"}.png`, picture);
    }
    await page.context().close();
  }
  assert.ok(bytes <= BYTES_MAX, `${bytes} bytes of pictures`);
});
