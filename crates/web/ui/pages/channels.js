// Channels, and one of them.
import { html } from "../lib/view.js";
import { get, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { Chart, RangePicker, messageLines, useRange } from "../lib/chart.js";
import { PagedTable, PlainTable, figure, speed } from "../lib/table.js";
import { Facts, Figure, Link, Marks, Problem, Section, State, Waiting } from "../lib/parts.js";
import { number, rate, rateOf } from "../lib/format.js";
import { Breakdown } from "../lib/breakdown.js";
import { consumerColumns } from "./consumers.js";

/** @returns {import("../lib/table.js").Column[]} */
export function channelColumns() {
  return [
    { name: "Channel", fixed: true, sort: "name", cell: (row) => html`<div class="peers"><${Link} to=${["channels", row.name]}>${row.name}<//></div>` },
    { name: "Virtual host", sort: "vhost", cell: (row) => html`<span class="name">${row.vhost}</span>` },
    { name: "User", sort: "user", cell: (row) => html`<span class="name">${row.user}</span>` },
    { name: "Mode", cell: (row) => html`<${Marks} marks=${[[row.confirm, "C", "publisher confirms"], [row.transactional, "T", "transactional"]]} />` },
    { name: "State", sort: "state", cell: (row) => html`<${State} state=${row.state} />` },
    figure("Consumers", "consumer_count", true),
    figure("Prefetch", "prefetch_count"),
    figure("Unacked", "messages_unacknowledged"),
    figure("Unconfirmed", "messages_unconfirmed"),
    figure("Uncommitted", "messages_uncommitted", true),
    figure("Acks uncommitted", "acks_uncommitted", true),
    speed("Publish", "publish"),
    speed("Confirm", "confirm"),
    speed("Unroutable (dropped)", "drop_unroutable", true),
    speed("Unroutable (returned)", "return_unroutable", true),
    speed("Deliver", "deliver_get"),
    speed("Redelivered", "redeliver", true),
    speed("Ack", "ack"),
    { name: "Node", hidden: true, sort: "node", cell: (row) => row.node },
  ];
}

export function Channels() {
  return html`<h1>Channels</h1>
    <${PagedTable} name="channels" source=${(/** @type {string|undefined} */ vhost) => (vhost ? `${path("vhosts", vhost)}/channels` : "channels")} columns=${channelColumns()} rowKey=${(/** @type {any} */ row) => row.name} empty="No channel is open." />`;
}

/** @param {{parts: string[]}} props */
export function Channel({ parts: [name] }) {
  const { range, query } = useRange();
  const { data, error } = usePoll((signal) => get(path("channels", name), query, signal), [name, range.name]);
  if (!data) return html`<h1>Channel <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  return html`<div class="title"><h1>Channel <span class="name">${name}</span></h1><${State} state=${data.state} /><span class="spacer"></span><${RangePicker} /></div>
    <${Problem} error=${error} />
    <div class="figures">
      <${Figure} name="Published">${rate(rateOf(data.message_stats, "publish") ?? 0)}<//>
      <${Figure} name="Delivered">${rate(rateOf(data.message_stats, "deliver_get") ?? 0)}<//>
      <${Figure} name="Acknowledged">${rate(rateOf(data.message_stats, "ack") ?? 0)}<//>
      <${Figure} name="Unacked">${number(data.messages_unacknowledged)}<//>
      <${Figure} name="Unconfirmed">${number(data.messages_unconfirmed)}<//>
      <${Figure} name="Consumers">${number(data.consumer_count)}<//>
    </div>
    <div class="charts"><${Chart} title="Message rates" growth=${true} lines=${messageLines(data.message_stats)} format=${rate} /></div>
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Connection", html`<${Link} to=${["connections", data.connection_details?.name ?? ""]}>${data.connection_details?.name}<//>`],
      ["User", html`<span class="name">${data.user}</span>`],
      ["Virtual host", html`<span class="name">${data.vhost}</span>`],
      ["Mode", data.confirm ? "confirms" : data.transactional ? "transactional" : "plain"],
      ["Prefetch of new consumers", number(data.prefetch_count)],
      ["Prefetch of the channel", number(data.global_prefetch_count)],
      ["Number", number(data.number)],
      ["Node", data.node],
      ["Unacknowledged", number(data.messages_unacknowledged)],
      ["Unconfirmed", number(data.messages_unconfirmed)],
      ["Uncommitted", number(data.messages_uncommitted)],
      ["Acks uncommitted", number(data.acks_uncommitted)],
    ]} /><//>
    <${Section} title="Consumers" open=${true}>
      <${PlainTable} name="channel-consumers" rows=${data.consumer_details ?? []} columns=${consumerColumns("channel")} rowKey=${(/** @type {any} */ row) => row.consumer_tag} empty="No consumers." />
    <//>
    <${Breakdown} title="Published to" name="channel-publishes" rows=${data.publishes} end="exchange" fields=${[["Publish", "publish"], ["Confirm", "confirm"]]} />
    <${Breakdown} title="Delivered from" name="channel-deliveries" rows=${data.deliveries} end="queue" fields=${[["Deliver", "deliver_get"], ["Redelivered", "redeliver"], ["Ack", "ack"]]} />`;
}
