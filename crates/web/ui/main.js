// The frame around all pages: who is here, where one can go, which page the address means.
import { html, render, useEffect, useRef, useState } from "./lib/view.js";
import { get, whenSignedOut } from "./lib/api.js";
import { Session, useRights } from "./lib/session.js";
import { link, useRoute } from "./lib/route.js";
import { settingsOf, useSetting } from "./lib/settings.js";
import { comeBack, forget, keepFresh, logOut } from "./lib/oauth.js";
import { REFRESH, usePoll } from "./lib/poll.js";
import { Toasts, failed } from "./lib/toast.js";
import { Dialogs } from "./lib/dialog.js";
import { Problem } from "./lib/parts.js";
import { Login } from "./pages/login.js";
import { Overview } from "./pages/overview.js";
import { Node } from "./pages/node.js";
import { Connection, Connections } from "./pages/connections.js";
import { Channel, Channels } from "./pages/channels.js";
import { Exchange, Exchanges } from "./pages/exchanges.js";
import { Queue, Queues } from "./pages/queues.js";
import { Topology } from "./pages/topology.js";
import { User, Users } from "./pages/users.js";
import { Vhost, Vhosts } from "./pages/vhosts.js";
import { OperatorPolicy, Policies, Policy } from "./pages/policies.js";
import { Limits } from "./pages/limits.js";
import { Parameters } from "./pages/parameters.js";
import { Definitions } from "./pages/definitions.js";
import { Features } from "./pages/features.js";
import { Consumers } from "./pages/consumers.js";
import { Cluster } from "./pages/cluster.js";
import { Traces } from "./pages/traces.js";
import { Top } from "./pages/top.js";

/**
 * @typedef {{path: string, label: string, list: any, detail?: any, parts?: number, under?: string, who?: "administrator"|"monitor"|"policymaker"}} Page
 */

/** @type {Page[]} */
const MAIN = [
  { path: "", label: "Overview", list: Overview },
  { path: "connections", label: "Connections", list: Connections, detail: Connection, parts: 1 },
  { path: "channels", label: "Channels", list: Channels, detail: Channel, parts: 1 },
  { path: "consumers", label: "Consumers", list: Consumers },
  { path: "exchanges", label: "Exchanges", list: Exchanges, detail: Exchange, parts: 2 },
  { path: "queues", label: "Queues and streams", list: Queues, detail: Queue, parts: 2 },
  { path: "topology", label: "Topology", list: Topology },
];

/** @type {Page[]} */
const ADMIN = [
  { path: "users", label: "Users", list: Users, detail: User, parts: 1, who: "administrator" },
  { path: "vhosts", label: "Virtual hosts", list: Vhosts, detail: Vhost, parts: 1 },
  { path: "policies", label: "Policies", list: Policies, detail: Policy, parts: 2 },
  { path: "limits", label: "Limits", list: Limits },
  { path: "parameters", label: "Parameters", list: Parameters, who: "policymaker" },
  { path: "definitions", label: "Definitions", list: Definitions, who: "administrator" },
  { path: "feature-flags", label: "Features and plugins", list: Features },
  { path: "cluster-name", label: "Cluster", list: Cluster, who: "monitor" },
  { path: "traces", label: "Tracing", list: Traces, who: "administrator" },
  { path: "top", label: "Top", list: Top, who: "administrator" },
];

/** Pages without an entry of their own. @type {Page[]} */
const HIDDEN = [
  { path: "nodes", label: "Node", list: Overview, detail: Node, parts: 1, who: "monitor" },
  { path: "operator-policies", label: "Policies", list: Policies, detail: OperatorPolicy, parts: 2, under: "policies" },
];

const THEMES = /** @type {const} */ (["auto", "light", "dark"]);

function App() {
  const [user, change] = useState(/** @type {import("./lib/session.js").User|null|undefined} */ (undefined));
  const [refused, refuse] = useState(/** @type {Error|undefined} */ (undefined));
  const [problem, report] = useState(/** @type {Error|undefined} */ (undefined));
  // Who logs out need not be told that the session has ended, as requests may be that are still under way.
  const leaving = useRef(false);
  const [theme] = useSetting("theme", "auto");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  useEffect(() => {
    whenSignedOut(() => {
      if (leaving.current) return;
      forget();
      refuse(new Error("Your session has ended. Log in again."));
      change(null);
    });
    const begin = async () => {
      try {
        await comeBack();
      } catch (refused) {
        refuse(/** @type {Error} */ (refused));
      }
      change((await get("session")) ?? null);
    };
    begin().catch(report);
  }, []);
  useEffect(() => (user ? keepFresh() : undefined), [user]);
  if (problem) return html`<main class="notice"><h1>WarrenMQ</h1><${Problem} error=${problem} /></main>`;
  // What the start page shows before there is a script.
  if (user === undefined) return html`<header class="top"><span class="brand"><img src="favicon.svg" alt="" width="22" height="22" />WarrenMQ</span></header>`;
  if (user === null) return html`<${Login} onLogin=${(/** @type {any} */ user) => ((leaving.current = false), refuse(undefined), change(user))} error=${refused} />`;
  settingsOf(user.name);
  const logout = async () => {
    leaving.current = true;
    try {
      if (await logOut()) return;
      refuse(undefined);
      change(null);
    } catch (error) {
      leaving.current = false;
      failed(error);
    }
  };
  return html`<${Session.Provider} value=${user}><${Frame} key=${user.name} onLogout=${logout} /><//>`;
}

/** @param {{onLogout: () => void}} props */
function Frame({ onLogout }) {
  const { user, ...rights } = useRights();
  const { parts } = useRoute();
  const [open, fold] = useState(false);
  const [theme, paint] = useSetting("theme", "auto");
  const [seconds, refresh] = useSetting("refresh", REFRESH);
  const { data: overview, error } = usePoll((signal) => get("overview", { columns: "cluster_name,rabbitmq_version" }, signal), []);
  useEffect(() => fold(false), [parts.join("/")]);
  useEffect(() => {
    addEventListener("keydown", onKey);
    addEventListener("click", closeMenus);
    return () => (removeEventListener("keydown", onKey), removeEventListener("click", closeMenus));
  }, []);
  const may = (/** @type {Page} */ page) =>
    !page.who || { administrator: rights.administrator, monitor: rights.monitor, policymaker: rights.policymaker }[page.who];
  const here = parts[0] ?? "";
  const page = [...MAIN, ...ADMIN, ...HIDDEN].find((one) => one.path === here);
  const inside = page?.detail !== undefined && parts.length > (page.parts ?? 0);
  const title = page ? (inside ? parts.slice(1).join(" / ") : page.label) : "Not found";
  useEffect(() => {
    document.title = `${title} · WarrenMQ`;
  }, [title]);
  const entry = (/** @type {Page} */ one) => html`<li><a href=${link(...(one.path ? [one.path] : []))}
    aria-current=${(page?.under ?? here) === one.path ? "page" : undefined}>${one.label}</a></li>`;
  return html`<a class="skip" href="#content" onClick=${(event) => (event.preventDefault(), document.getElementById("content")?.focus())}>To the content</a>
    <header class=${`top${open ? " open" : ""}`}>
      <button class="burger" aria-label="Menu" aria-expanded=${open} onClick=${() => fold(!open)}>☰</button>
      <a class="brand" href="#/"><img src="favicon.svg" alt="" width="22" height="22" />WarrenMQ</a>
      <span class="cluster name" title="Cluster name">${overview?.cluster_name}</span>
      <span class="spacer"></span>
      <label class="inline">Refresh
        <select value=${seconds} onChange=${(event) => refresh(Number(event.target.value))}>
          ${[1, 5, 10, 30].map((one) => html`<option value=${one}>${one} s</option>`)}<option value="0">off</option>
        </select></label>
      <label class="inline">Theme
        <select value=${theme} onChange=${(event) => paint(event.target.value)}>
          ${THEMES.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
      <span class="who name" title=${user.tags.join(", ")}>${user.name}</span>
      <button onClick=${onLogout}>Log out</button>
    </header>
    <div class="frame">
      <nav class=${`side${open ? " open" : ""}`} aria-label="Pages">
        <ul>${MAIN.map(entry)}</ul>
        <h2>Admin</h2>
        <ul>${ADMIN.filter(may).map(entry)}</ul>
      </nav>
      <main id="content" tabindex="-1">
        ${error && html`<div class="outage"><${Problem} error=${error} /></div>`}
        ${page && may(page)
          ? html`<${inside ? page.detail : page.list} key=${parts.join("/")} parts=${parts.slice(1)} />`
          : html`<h1>${page ? "Not for this user" : "There is no such page"}</h1>
              <p>${page ? "This page needs another user tag." : html`Go to the <a href="#/">overview</a>.`}</p>`}
      </main>
    </div>
    <${Toasts} /><${Dialogs} />`;
}

/** Keys that work on every page. @param {KeyboardEvent} event */
function onKey(event) {
  const inField = event.target instanceof HTMLElement && event.target.matches("input, select, textarea");
  if (event.key === "Escape") closeMenus();
  if (event.key !== "/" || inField || event.ctrlKey || event.metaKey || event.altKey) return;
  const filter = /** @type {HTMLElement|null} */ (document.querySelector("main input[type=search]"));
  if (filter) {
    event.preventDefault();
    filter.focus();
  }
}

/** Closes menus, but the one that was clicked into. @param {Event} [event] */
function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.picker[open]")) {
    if (!(event?.target instanceof Element && menu.contains(event.target))) menu.removeAttribute("open");
  }
}

render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
