// Policies and operator policies.
import { html } from "../lib/view.js";
import { call, get, listed, path } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { departure } from "../lib/route.js";
import { ask } from "../lib/dialog.js";
import { attempt, failed } from "../lib/toast.js";
import { useRights } from "../lib/session.js";
import { Form, argumentsOf, rowsOf } from "../lib/forms.js";
import { PlainTable } from "../lib/table.js";
import { Arguments, Choose, Facts, Link, Problem, Section, Waiting } from "../lib/parts.js";
import { number } from "../lib/format.js";
import { useVhosts } from "../lib/vhosts.js";

const KEYS = [
  { name: "message-ttl", type: "Number" }, { name: "expires", type: "Number" }, { name: "max-length", type: "Number" },
  { name: "max-length-bytes", type: "Number" }, { name: "overflow" }, { name: "dead-letter-exchange" },
  { name: "dead-letter-routing-key" }, { name: "dead-letter-strategy" }, { name: "delivery-limit", type: "Number" },
  { name: "consumer-timeout", type: "Number" }, { name: "queue-leader-locator" }, { name: "alternate-exchange" },
];
const OPERATOR_KEYS = ["message-ttl", "expires", "max-length", "max-length-bytes", "overflow", "delivery-limit"];
const APPLY = ["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"];

/** Where policies of operators are, and the others. @param {boolean} operator */
const kindOf = (operator) => (operator ? "operator-policies" : "policies");

/**
 * @param {{operator: boolean, vhosts: string[], policy?: any, reload: () => void}} props
 */
function PolicyForm({ operator, vhosts, policy, reload }) {
  const save = async (/** @type {any} */ values) => {
    let definition;
    try {
      definition = argumentsOf(values.definition);
    } catch (error) {
      failed(error);
      return false;
    }
    const target = path(kindOf(operator), values.vhost ?? policy.vhost, values.name ?? policy.name);
    const saved = await attempt("The policy is in force.", () =>
      call("PUT", target, { pattern: values.pattern, definition, priority: Number(values.priority), "apply-to": values.apply }));
    reload();
    return saved;
  };
  return html`<${Form} submit=${policy ? "Change policy" : operator ? "Add operator policy" : "Add policy"} onSubmit=${save} keepValues=${Boolean(policy)} fields=${[
    ...(policy ? [] : [
      { name: "vhost", label: "Virtual host", kind: "select", options: vhosts },
      { name: "name", label: "Name", required: true },
    ]),
    { name: "pattern", label: "Pattern", value: policy?.pattern, required: true, hint: "a regular expression over names" },
    { name: "apply", label: "Applies to", kind: "select", options: operator ? APPLY.filter((one) => one !== "all" && one !== "exchanges") : APPLY, value: policy?.["apply-to"] ?? (operator ? "queues" : "all") },
    { name: "priority", label: "Priority", kind: "number", value: String(policy?.priority ?? 0), hint: "the highest that matches wins" },
    { name: "definition", label: "Definition", kind: "arguments", value: rowsOf(policy?.definition), suggestions: operator ? KEYS.filter((key) => OPERATOR_KEYS.includes(key.name)) : KEYS },
  ]} />`;
}

/**
 * Asks, and clears a policy. Gives whether it is gone.
 * @param {boolean} operator
 * @param {any} policy
 * @param {() => void} reload
 */
async function clear(operator, policy, reload) {
  if ((await ask({ title: "Clear this policy?", text: "What it applies to gets the next policy that matches, or none.", confirm: "Clear" })) === undefined) return false;
  const own = path(kindOf(operator), policy.vhost, policy.name);
  let before = policy;
  const remove = async () => {
    // What is shown may be older than what is cleared.
    before = await get(own);
    await call("DELETE", own);
  };
  const cleared = await attempt("Policy cleared.", remove, async () => {
    await call("PUT", own, { pattern: before.pattern, definition: before.definition, priority: before.priority, "apply-to": before["apply-to"] });
    reload();
  });
  reload();
  return cleared;
}

/** @param {{operator: boolean, rows: any[]|undefined, reload: () => void, editable: boolean}} props */
function PolicyTable({ operator, rows, reload, editable }) {
  return html`<${PlainTable} name=${kindOf(operator)} filter=${["name", "vhost", "pattern"]} rows=${rows} rowKey=${(/** @type {any} */ row) => `${row.vhost} ${row.name}`} empty="No policies." columns=${[
    { name: "Virtual host", fixed: true, sort: "vhost", cell: (/** @type {any} */ row) => html`<span class="name">${row.vhost}</span>` },
    { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<${Link} to=${[kindOf(operator), row.vhost, row.name]}>${row.name}<//>` },
    { name: "Pattern", fixed: true, cell: (/** @type {any} */ row) => html`<code>${row.pattern}</code>` },
    { name: "Applies to", fixed: true, sort: "apply-to", cell: (/** @type {any} */ row) => row["apply-to"] },
    { name: "Definition", fixed: true, cell: (/** @type {any} */ row) => html`<${Arguments} of=${row.definition} />` },
    { name: "Priority", fixed: true, figure: true, sort: "priority", cell: (/** @type {any} */ row) => number(row.priority) },
    { name: "Actions", fixed: true, cell: (/** @type {any} */ row) => editable && html`<button class="small" onClick=${() => clear(operator, row, reload)}>Clear…</button>` },
  ]} />`;
}

export function Policies() {
  const { policymaker, administrator } = useRights();
  const vhosts = useVhosts();
  const policies = usePoll((signal) => get("policies", undefined, signal), []);
  const operator = usePoll((signal) => get("operator-policies", undefined, signal), []);
  return html`<h1>Policies</h1><${Problem} error=${policies.error} />
    <${PolicyTable} operator=${false} rows=${policies.data} reload=${policies.reload} editable=${policymaker} />
    ${policymaker && html`<${Section} title="Add a policy"><${Choose} of=${vhosts}>${(/** @type {string[]} */ names) =>
      html`<${PolicyForm} operator=${false} vhosts=${names} reload=${policies.reload} />`}<//><//>`}
    <h2>Operator policies</h2><p class="muted">Limits of the operator, which hold whatever queues and policies say.</p>
    <${Problem} error=${operator.error} />
    <${PolicyTable} operator=${true} rows=${operator.data} reload=${operator.reload} editable=${administrator} />
    ${administrator && html`<${Section} title="Add an operator policy"><${Choose} of=${vhosts}>${(/** @type {string[]} */ names) =>
      html`<${PolicyForm} operator=${true} vhosts=${names} reload=${operator.reload} />`}<//><//>`}`;
}

/** @param {{parts: string[]}} props */
export const Policy = ({ parts }) => html`<${OnePolicy} operator=${false} parts=${parts} />`;

/** @param {{parts: string[]}} props */
export const OperatorPolicy = ({ parts }) => html`<${OnePolicy} operator=${true} parts=${parts} />`;

/** @param {{operator: boolean, parts: string[]}} props */
function OnePolicy({ operator, parts: [vhost, name] }) {
  const own = path(kindOf(operator), vhost, name);
  const { policymaker, administrator } = useRights();
  const editable = operator ? administrator : policymaker;
  const { data, error, reload } = usePoll((signal) => (editable ? get(own, undefined, signal) : listed(path(kindOf(operator), vhost), name, undefined, signal)), [own]);
  const field = operator ? "operator_policy" : "policy";
  const queues = usePoll(async (signal) => {
    const all = await get(path("queues", vhost), { columns: `name,${field},vhost`, page: 1, page_size: 500, pagination: "true" }, signal);
    return all.items.filter((/** @type {any} */ one) => one[field] === name);
  }, [vhost, name]);
  const kind = operator ? "Operator policy" : "Policy";
  if (!data) return html`<h1>${kind} <span class="name">${name}</span></h1><${Waiting} error=${error} />`;
  const remove = async () => {
    const leave = departure();
    if (await clear(operator, data, () => {})) leave("#/policies");
  };
  return html`<div class="title"><h1>${kind} <span class="name">${name}</span></h1><span class="spacer"></span>${editable && html`<button class="danger" onClick=${remove}>Clear…</button>`}</div>
    <${Problem} error=${error} />
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Virtual host", html`<span class="name">${data.vhost}</span>`],
      ["Pattern", html`<code>${data.pattern}</code>`],
      ["Applies to", data["apply-to"]],
      ["Priority", number(data.priority)],
      ["Definition", html`<${Arguments} of=${data.definition} />`],
    ]} /><//>
    <${Section} title="Queues that have it" open=${true}><${PlainTable} name="policy-queues" rows=${queues.data} rowKey=${(/** @type {any} */ row) => row.name} empty="None of the first 500 queues has it." columns=${[
      { name: "Name", fixed: true, sort: "name", cell: (/** @type {any} */ row) => html`<${Link} to=${["queues", vhost, row.name]}>${row.name}<//>` },
    ]} /><//>
    ${editable && html`<${Section} title="Change"><${PolicyForm} key=${JSON.stringify(data)} operator=${operator} vhosts=${[]} policy=${data} reload=${reload} /><//>`}`;
}
