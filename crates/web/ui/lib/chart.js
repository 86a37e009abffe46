// Lines over time, drawn by uPlot. The figures under a chart say the same to those who cannot see it.
import { html, useEffect, useRef, useState } from "./view.js";
import { useSetting } from "./settings.js";
import { bytes, number, rate, short } from "./format.js";
import uPlot from "../vendor/uplot.js";

/** Ranges that a user can choose: seconds back, seconds between two points. */
export const RANGES = [
  { name: "Last minute", age: 60, step: 5 },
  { name: "Last ten minutes", age: 600, step: 5 },
  { name: "Last hour", age: 3600, step: 60 },
  { name: "Last eight hours", age: 28800, step: 600 },
  { name: "Last day", age: 86400, step: 1800 },
];

const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6", "--line-7", "--line-8"];

/**
 * What is written under a tick: the time, with seconds if ticks are that near to each other.
 * @param {number} tick in seconds
 * @param {number} step
 * @param {number} index
 */
function clock(tick, step, index) {
  if (index === 0) return "";
  const at = new Date(tick * 1000);
  const digits = [at.getHours(), at.getMinutes(), ...(step < 60 ? [at.getSeconds()] : [])];
  return digits.map((one) => String(one).padStart(2, "0")).join(":");
}

/** Steps between ticks of bytes. */
const POWERS = Array.from({ length: 50 }, (_, exponent) => 2 ** exponent);
/** Steps between other ticks, which are shown with one decimal at most. */
const ROUND = Array.from({ length: 17 }, (_, exponent) => [1, 2, 5].map((step) => step * 10 ** exponent)).flat();
const TENTHS = [0.1, 0.2, 0.5];

/** What may lie between two ticks. @param {(value: number) => string} format @param {boolean} growth */
const stepsOf = (format, growth) => (format(1024).includes("KiB") ? POWERS : growth ? [...TENTHS, ...ROUND] : ROUND);
/** Pixels of the vertical axis, at least: so that most charts of a page begin at the same place. */
const AXIS_MIN = 54;
/** Pixels between what is written at a tick and the chart. */
const AXIS_GAP = 10;

/** As wide as what is written on it. @param {any} plot @param {string[]|null} texts @param {number} axis @param {number} cycle */
function widthOf(plot, texts, axis, cycle) {
  // Once for each draw: another width may change what is written, and that the width again.
  if (cycle > 1) return plot.axes[axis]._size;
  plot.ctx.font = plot.axes[axis].font[0];
  const widths = (texts ?? []).map((text) => plot.ctx.measureText(text).width / devicePixelRatio);
  return Math.ceil(Math.max(AXIS_MIN, ...widths.map((width) => width + AXIS_GAP)));
}

/** Seconds of a chart, at least. */
const SPAN_MIN = 55;

/** Where a chart begins and ends that has its first points, or none. @param {number|null} low @param {number|null} high @returns {[number, number]} */
function widened(low, high) {
  const end = high ?? Date.now() / 1000;
  return [Math.min(low ?? end, end - SPAN_MIN), end];
}

/** The same colour, hardly there: for what is below a line. @param {string} colour as #rrggbb */
const faint = (colour) => `${colour}1c`;

/** The chosen range, as the API wants it. */
export function useRange() {
  const [name, choose] = useSetting("range", RANGES[0].name);
  const range = RANGES.find((one) => one.name === name) ?? RANGES[0];
  const query = {};
  for (const kind of ["msg_rates", "data_rates", "lengths", "node_stats"]) {
    query[`${kind}_age`] = range.age;
    query[`${kind}_incr`] = range.step;
  }
  return { range, query, choose };
}

/** Lets the user choose the range. */
export function RangePicker() {
  const { range, choose } = useRange();
  return html`<label class="inline">Range
    <select value=${range.name} onChange=${(event) => choose(event.target.value)}>
      ${RANGES.map((one) => html`<option value=${one.name}>${one.name}</option>`)}
    </select>
  </label>`;
}

/**
 * @typedef {{label: string, samples?: {sample: number, timestamp: number}[], now?: number}} Line
 */

/**
 * Samples of the API, newest first, as points: figures, or how fast they grow.
 * @param {Line["samples"]} samples
 * @param {boolean} growth
 * @returns {[number[], number[]]}
 */
export function points(samples, growth) {
  const ordered = [...(samples ?? [])].reverse();
  if (!growth) return [ordered.map((one) => one.timestamp / 1000), ordered.map((one) => one.sample)];
  const times = [];
  const values = [];
  for (let index = 1; index < ordered.length; index += 1) {
    const [before, now] = [ordered[index - 1], ordered[index]];
    const seconds = (now.timestamp - before.timestamp) / 1000;
    times.push(now.timestamp / 1000);
    values.push(seconds > 0 ? Math.max(0, (now.sample - before.sample) / seconds) : 0);
  }
  return [times, values];
}

/** Points of a line that the API keeps no samples of. */
const WATCHED_MAX = 240;

/**
 * What was seen of a line while this page was open, with what it is now.
 * @param {Map<string, [number[], number[]]>} seen
 * @param {Line} line
 * @returns {[number[], number[]]}
 */
function watched(seen, line) {
  const [times, values] = seen.get(line.label) ?? [[], []];
  const time = Math.round(Date.now() / 1000);
  if (line.now !== undefined && times.at(-1) !== time) {
    times.push(time);
    values.push(line.now);
  }
  const own = /** @type {[number[], number[]]} */ ([times.slice(-WATCHED_MAX), values.slice(-WATCHED_MAX)]);
  seen.set(line.label, own);
  return own;
}

/**
 * @param {{title: string, lines: Line[], growth?: boolean, format?: (value: number) => string}} props
 */
export function Chart({ title, lines, growth = false, format = short }) {
  const place = useRef(/** @type {HTMLElement|null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const seen = useRef(/** @type {Map<string, [number[], number[]]>} */ (new Map()));
  const [hovered, hover] = useState(/** @type {number|null} */ (null));
  const shown = lines.filter((line) => line.samples?.length || line.now !== undefined);
  const signature = shown.map((line) => line.label).join("|");
  const [theme] = useSetting("theme", "auto");

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--grid"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    plot.current = new uPlot(
      {
        width: element.clientWidth || 300,
        height: 180,
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        hooks: { setCursor: [(/** @type {any} */ self) => hover(self.cursor.idx ?? null)] },
        scales: { x: { range: (/** @type {any} */ _, /** @type {number|null} */ low, /** @type {number|null} */ high) => widened(low, high) }, y: { range: (_, low, high) => [Math.min(0, low), Math.max(1, high * 1.1)] } },
        axes: [
          { ...axis, space: 70, size: 28, values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick, index) => clock(tick, ticks[1] - ticks[0], index)) },
          { ...axis, size: widthOf, incrs: stepsOf(format, growth), values: (_, ticks) => ticks.map(format) },
        ],
        series: [
          {},
          ...shown.map((line, index) => ({
            label: line.label,
            stroke: colour(COLOURS[index % COLOURS.length]),
            width: 2,
            points: { show: false },
            ...(index === 0 ? { fill: faint(colour(COLOURS[0])) } : {}),
          })),
        ],
      },
      [[], ...shown.map(() => [])],
      element,
    );
    const resized = new ResizeObserver(() => {
      plot.current?.setSize({ width: element.clientWidth, height: 180 });
    });
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [signature, theme]);

  useEffect(() => {
    const series = shown.map((line) => (line.samples?.length ? points(line.samples, growth) : watched(seen.current, line)));
    const times = series.reduce((longest, [own]) => (own.length > longest.length ? own : longest), /** @type {number[]} */ ([]));
    const aligned = series.map(([own, values]) => {
      const at = new Map(own.map((time, index) => [time, values[index]]));
      return times.map((time) => at.get(time) ?? null);
    });
    // Of a single point uPlot makes a span of its own.
    if (times.length === 1) {
      times.unshift(times[0] - SPAN_MIN);
      aligned.forEach((values) => values.unshift(null));
    }
    plot.current?.setData([times, ...aligned]);
  }, [lines]);
  const at = hovered === null ? undefined : plot.current?.data[0][hovered];

  const figureOf = (/** @type {number|null|undefined} */ one) => (typeof one === "number" ? format(one) : "–");
  return html`<section class="card chart" aria-label=${title}>
    <h2>${title}${at !== undefined && html` <small>${new Date(at * 1000).toLocaleTimeString()}</small>`}</h2>
    <div class="plot" ref=${place} aria-hidden="true"></div>
    <ul class="legend">
      ${shown.map(
        (line, index) => html`<li><span class=${`key key-${(index % COLOURS.length) + 1}`}></span>${line.label}
          <b>${figureOf(at === undefined ? line.now : plot.current.data[index + 1]?.[hovered ?? 0])}</b></li>`,
      )}
    </ul>
    ${shown.length === 0 && html`<p class="empty">Nothing yet.</p>`}
  </section>`;
}

/** Lines of `message_stats`, those that a user of RabbitMQ looks for first. @param {any} stats @returns {Line[]} */
export function messageLines(stats) {
  const names = /** @type {[string, string][]} */ ([
    ["publish", "Publish"],
    ["confirm", "Confirm"],
    ["deliver", "Deliver (manual ack)"],
    ["deliver_no_ack", "Deliver (auto ack)"],
    ["ack", "Acknowledge"],
    ["redeliver", "Redelivered"],
    ["get", "Get (manual ack)"],
    ["get_no_ack", "Get (auto ack)"],
    ["return_unroutable", "Unroutable (returned)"],
    ["drop_unroutable", "Unroutable (dropped)"],
    ["disk_reads", "Disk read"],
    ["disk_writes", "Disk write"],
  ]);
  return names
    .filter(([name]) => stats?.[name] > 0)
    .map(([name, label]) => ({
      label,
      samples: stats[`${name}_details`]?.samples,
      now: stats[`${name}_details`]?.rate,
    }));
}

/** Lines of queued messages. @param {any} totals @returns {Line[]} */
export function lengthLines(totals) {
  return [
    { label: "Ready", samples: totals?.messages_ready_details?.samples, now: totals?.messages_ready },
    { label: "Unacked", samples: totals?.messages_unacknowledged_details?.samples, now: totals?.messages_unacknowledged },
    { label: "Total", samples: totals?.messages_details?.samples, now: totals?.messages },
  ].filter((line) => line.now !== undefined);
}

/** Charts of what a node uses. @param {any} node */
export function nodeCharts(node) {
  const line = (/** @type {string} */ label, /** @type {string} */ field, /** @type {any} */ now = node[field]) => ({ label, samples: node[`${field}_details`]?.samples, now });
  const speed = (/** @type {string} */ label, /** @type {string} */ field) => line(label, field, node[`${field}_details`]?.rate);
  return [
    html`<${Chart} title="Memory" format=${bytes} lines=${[line("Used", "mem_used")]} />`,
    html`<${Chart} title="Disk free" format=${bytes} lines=${[line("Free", "disk_free")]} />`,
    html`<${Chart} title="Files and sockets" format=${number} lines=${[line("File descriptors", "fd_used"), line("Sockets", "sockets_used")]} />`,
    html`<${Chart} title="Threads" format=${number} lines=${[line("Threads", "proc_used")]} />`,
    html`<${Chart} title="Context switches" growth=${true} format=${rate} lines=${[speed("Switches", "context_switches")]} />`,
  ];
}
