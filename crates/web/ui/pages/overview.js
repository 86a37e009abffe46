// The whole broker at a glance, and what is wrong with it.
import { html, useState } from "../lib/view.js";
import { call, get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { useRights } from "../lib/session.js";
import { ask } from "../lib/dialog.js";
import { attempt } from "../lib/toast.js";
import { Chart, RangePicker, lengthLines, messageLines, nodeCharts, useRange } from "../lib/chart.js";
import { PlainTable } from "../lib/table.js";
import { Figure, Link, Problem, Section, State, Waiting } from "../lib/parts.js";
import { bytes, duration, number, rate, rateOf } from "../lib/format.js";

const CHECKS = [
  ["alarms", "Alarms"],
  ["virtual-hosts", "Virtual hosts"],
  ["is-in-service", "In service"],
  ["below-node-connection-limit", "Connection limit"],
  ["ready-to-serve-clients", "Serving clients"],
  ["node-is-quorum-critical", "Quorum"],
  ["certificate-expiration/1/months", "Certificates"],
];

export function Overview() {
  const { administrator, monitor } = useRights();
  const { range, query } = useRange();
  const { data, error, reload } = usePoll((signal) => get("overview", query, signal), [range.name]);
  const nodes = usePoll((signal) => (monitor ? get("nodes", undefined, signal) : Promise.resolve([])), [monitor]);
  if (!data) return html`<h1>Overview</h1><${Waiting} error=${error} />`;
  const counts = data.object_totals ?? {};
  const reset = async () => {
    if ((await ask({ title: "Reset statistics?", text: "Counters and charts begin anew. Messages, queues and connections are not touched.", confirm: "Reset" })) === undefined) return;
    await attempt("Statistics begin anew.", () => call("DELETE", "reset"));
    reload();
  };
  return html`<div class="title"><h1>Overview</h1><span class="spacer"></span><${RangePicker} />
      ${administrator && html`<button onClick=${reset}>Reset statistics…</button>`}</div>
    <${Problem} error=${error} />
    <${Health} nodes=${nodes.data ?? []} />
    <div class="figures">
      <${Figure} name="Queued messages" to=${["queues"]}>${number(data.queue_totals?.messages ?? 0)}<//>
      <${Figure} name="Unacked" to=${["queues"]}>${number(data.queue_totals?.messages_unacknowledged ?? 0)}<//>
      <${Figure} name="Published">${rate(rateOf(data.message_stats, "publish") ?? 0)}<//>
      <${Figure} name="Delivered">${rate(rateOf(data.message_stats, "deliver_get") ?? 0)}<//>
    </div><div class="figures">
      <${Figure} name="Connections" to=${["connections"]}>${number(counts.connections)}<//>
      <${Figure} name="Channels" to=${["channels"]}>${number(counts.channels)}<//>
      <${Figure} name="Consumers" to=${["consumers"]}>${number(counts.consumers)}<//>
      <${Figure} name="Exchanges" to=${["exchanges"]}>${number(counts.exchanges)}<//>
      <${Figure} name="Queues" to=${["queues"]}>${number(counts.queues)}<//>
    </div>
    <div class="charts">
      <${Chart} title="Queued messages" lines=${lengthLines(data.queue_totals)} />
      <${Chart} title="Message rates" growth=${true} lines=${messageLines(data.message_stats)} format=${rate} />
    </div>
    ${monitor && html`<${Section} title="Nodes" open=${true}><${Nodes} rows=${nodes.data} /><${Problem} error=${nodes.error} />
      ${nodes.data?.map((/** @type {any} */ node) => html`<${NodeCharts} key=${node.name} name=${node.name} title=${nodes.data.length > 1 ? node.name : undefined} />`)}<//>`}
    <${Section} title="Churn" open=${true}><${Churn} rates=${data.churn_rates} /><//>
    ${data.listeners && html`<${Section} title="Ports and contexts" open=${true}>
      <${PlainTable} name="listeners" rows=${data.listeners} rowKey=${(/** @type {any} */ row) => `${row.protocol}${row.ip_address}${row.port}`}
        empty="No listener." columns=${[
          { name: "Protocol", cell: (/** @type {any} */ row) => row.protocol },
          { name: "Bound to", cell: (/** @type {any} */ row) => row.ip_address },
          { name: "Port", figure: true, cell: (/** @type {any} */ row) => row.port },
          { name: "TLS", cell: (/** @type {any} */ row) => (row.tls ? "yes" : "no") },
          { name: "Node", cell: (/** @type {any} */ row) => row.node },
        ]} />
      ${data.contexts?.length > 0 && html`<h3>Web contexts</h3>
      <${PlainTable} name="contexts" rows=${data.contexts} rowKey=${(/** @type {any} */ row) => `${row.ip}${row.port}${row.path}`} empty="None." columns=${[
          { name: "Context", cell: (/** @type {any} */ row) => row.description },
          { name: "Bound to", cell: (/** @type {any} */ row) => row.ip ?? "0.0.0.0" },
          { name: "Port", figure: true, cell: (/** @type {any} */ row) => row.port },
          { name: "Path", cell: (/** @type {any} */ row) => row.path },
        ]} />`}
    <//>`}
    ${administrator && html`<p><a href="#/definitions">Export or import definitions</a></p>`}
    <p class="muted">${data.erlang_full_version || `RabbitMQ ${data.rabbitmq_version}`}, compatible with RabbitMQ ${data.rabbitmq_version}</p>`;
}

/** What is unhealthy and why. @param {{nodes: any[]}} props */
function Health({ nodes }) {
  const { data } = usePoll(async (signal) => {
    const results = CHECKS.map(async ([name, label]) => {
      try {
        await get(`health/checks/${name}`, undefined, signal);
        return null;
      } catch (error) {
        return { label, text: /** @type {Error} */ (error).message };
      }
    });
    return (await Promise.all(results)).filter((one) => one !== null);
  }, []);
  const troubles = [...(data ?? [])];
  for (const node of nodes) {
    if (node.mem_alarm) troubles.push({ label: node.name, text: `Memory alarm: ${bytes(node.mem_used)} of ${bytes(node.mem_limit)}. Publishers are blocked until consumers have caught up.` });
    if (node.disk_free_alarm) troubles.push({ label: node.name, text: `Disk alarm: ${bytes(node.disk_free)} free, ${bytes(node.disk_free_limit)} needed. Publishers are blocked until there is room.` });
    if (node.running === false) troubles.push({ label: node.name, text: "The node is not running." });
  }
  if (troubles.length === 0) {
    return data ? html`<p class="health good" role="status">Everything is healthy.</p>` : null;
  }
  return html`<ul class="health bad" role="alert">${troubles.map((one) => html`<li><b>${one.label}</b> ${one.text}</li>`)}</ul>`;
}

/** Memory, disk, files of a node over time. @param {{name: string, title?: string}} props */
function NodeCharts({ name, title }) {
  const { range, query } = useRange();
  const { data } = usePoll((signal) => get(path("nodes", name), query, signal), [name, range.name]);
  return html`${title && html`<h3>${title}</h3>`}<div class="charts">${data && nodeCharts(data).slice(0, 2)}</div>`;
}

/** @param {{rows: any[]|undefined}} props */
export function Nodes({ rows }) {
  const share = (/** @type {number} */ used, /** @type {number} */ limit, /** @type {string} */ label, /** @type {(n: number) => string} */ show) =>
    html`<meter aria-label=${label} min="0" max="1" high="0.85" optimum="0" value=${limit > 0 ? used / limit : 0}></meter> ${show(used)} <span class="muted">of ${show(limit)}</span>`;
  return html`<${PlainTable} name="nodes" rows=${rows} rowKey=${(/** @type {any} */ row) => row.name} empty="No nodes." columns=${[
    { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<${Link} to=${["nodes", row.name]}>${row.name}<//>` },
    { name: "State", cell: (/** @type {any} */ row) => html`<${State} state=${row.running ? (row.mem_alarm || row.disk_free_alarm ? "blocked" : "running") : "down"} />` },
    { name: "Memory", cell: (/** @type {any} */ row) => share(row.mem_used, row.mem_limit, "Memory", bytes) },
    { name: "Disk free", cell: (/** @type {any} */ row) => html`${bytes(row.disk_free)} <span class="muted">limit ${bytes(row.disk_free_limit)}</span>` },
    { name: "File descriptors", cell: (/** @type {any} */ row) => share(row.fd_used, row.fd_total, "File descriptors", number) },
    { name: "Cores", figure: true, cell: (/** @type {any} */ row) => number(row.processors) },
    { name: "Uptime", cell: (/** @type {any} */ row) => duration(row.uptime) },
    { name: "Data directory", hidden: true, cell: (/** @type {any} */ row) => row.db_dir },
  ]} />`;
}

/** @param {{rates: any}} props */
function Churn({ rates }) {
  const groups = [
    ["Connections", ["created", "closed"], "connection"],
    ["Channels", ["created", "closed"], "channel"],
    ["Queues", ["declared", "created", "deleted"], "queue"],
  ];
  return html`<div class="charts">${groups.map(
    ([title, verbs, prefix]) => html`<${Chart} title=${title} growth=${true} format=${rate}
      lines=${/** @type {string[]} */ (verbs).map((verb) => ({
        label: verb,
        samples: rates?.[`${prefix}_${verb}_details`]?.samples,
        now: rateOf(rates, `${prefix}_${verb}`) ?? 0,
      }))} />`,
  )}</div>`;
}
