// The cluster: its name and its nodes.
import { html } from "../lib/view.js";
import { call, get } from "../lib/api.js";
import { usePoll } from "../lib/poll.js";
import { attempt } from "../lib/toast.js";
import { useRights } from "../lib/session.js";
import { Form } from "../lib/forms.js";
import { Arguments, Facts, Problem, Section, Waiting } from "../lib/parts.js";
import { Nodes } from "./overview.js";

export function Cluster() {
  const { administrator } = useRights();
  const { data, error, reload } = usePoll((signal) => get("overview", { columns: "cluster_name,cluster_tags,node_tags,rabbitmq_version,erlang_full_version,default_queue_type,rates_mode" }, signal), []);
  const nodes = usePoll((signal) => get("nodes", undefined, signal), []);
  if (!data) return html`<h1>Cluster</h1><${Waiting} error=${error} />`;
  const rename = async (/** @type {any} */ values) => {
    const before = data.cluster_name;
    const back = async () => {
      await call("PUT", "cluster-name", { name: before });
      reload();
    };
    const renamed = await attempt("The cluster has a new name.", () => call("PUT", "cluster-name", { name: values.name }), back);
    reload();
    return renamed;
  };
  return html`<h1>Cluster <span class="name">${data.cluster_name}</span></h1><${Problem} error=${error} />
    <${Section} title="Details" open=${true}><${Facts} rows=${[
      ["Version", data.erlang_full_version],
      ["Compatible with RabbitMQ", data.rabbitmq_version],
      ["Default queue type", data.default_queue_type],
      ["Rates", data.rates_mode],
      ["Tags of the cluster", html`<${Arguments} of=${data.cluster_tags} />`],
      ["Tags of the node", html`<${Arguments} of=${data.node_tags} />`],
    ]} /><//>
    <${Section} title="Nodes" open=${true}><${Problem} error=${nodes.error} /><${Nodes} rows=${nodes.data} /><//>
    ${administrator && html`<${Section} title="Cluster name" open=${true}><${Form} key=${data.cluster_name} submit="Change name" onSubmit=${rename}
      fields=${[{ name: "name", label: "Name", value: data.cluster_name, required: true, hint: "clients see it in the server properties" }]} /><//>`}`;
}
