// Name and password, or a provider of OAuth 2, as the broker is configured.
import { html, useEffect, useState } from "../lib/view.js";
import { call } from "../lib/api.js";
import { choice, leave } from "../lib/oauth.js";
import { Problem } from "../lib/parts.js";

/** @param {{onLogin: (user: any) => void, error?: Error}} props error: why one has to log in again */
export function Login({ onLogin, error: before }) {
  const [offer, choose] = useState(/** @type {import("../lib/oauth.js").Choice|undefined} */ (undefined));
  const [error, report] = useState(/** @type {Error|undefined} */ (undefined));
  // Not to be asked is not to be configured: an API that is older than this page, say.
  useEffect(() => void choice().then(choose, () => choose({ oauth_enabled: false })), []);
  if (!offer) return null;
  const withPassword = !offer.oauth_enabled || offer.oauth_disable_basic_auth === false;
  return html`<main class="login">
    <div class="card">
      <h1><img src="favicon.svg" alt="" width="28" height="28" /> WarrenMQ</h1>
      ${offer.oauth_enabled && html`<${Providers} servers=${offer.oauth_resource_servers ?? []} report=${report} />`}
      ${withPassword && html`<${PasswordForm} onLogin=${onLogin} report=${report} />`}
      <${Problem} error=${error ?? before} />
    </div>
  </main>`;
}

/** @param {{servers: import("../lib/oauth.js").Server[], report: (error: Error) => void}} props */
function Providers({ servers, report }) {
  if (servers.length === 0) return html`<p class="problem">OAuth is on, and no provider is configured.</p>`;
  return servers.map((server) =>
    server.oauth_initiated_logon_type === "idp_initiated"
      ? html`<a class="button" href=${webAddress(server.oauth_provider_url)}>Log in at ${server.label}</a>`
      : html`<button class="primary" onClick=${() => leave(server).catch(report)}>Log in with ${server.label}</button>`,
  );
}

/** An address that a link may have. @param {string|undefined} address */
const webAddress = (address) => (/^https?:\/\//.test(address ?? "") ? address : undefined);

/** @param {{onLogin: (user: any) => void, report: (error: Error|undefined) => void}} props */
function PasswordForm({ onLogin, report }) {
  const [busy, work] = useState(false);
  const send = async (/** @type {any} */ event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    work(true);
    report(undefined);
    try {
      onLogin(await call("POST", "session", { username: form.get("username"), password: form.get("password") }));
    } catch (refused) {
      const { status, message } = /** @type {any} */ (refused);
      report(new Error(status === 401 ? why(message) : message));
      work(false);
    }
  };
  return html`<form onSubmit=${send}>
    <label>User name<input name="username" autocomplete="username" required autofocus /></label>
    <label>Password<input name="password" type="password" autocomplete="current-password" /></label>
    <button class="primary" disabled=${busy}>Log in</button>
  </form>`;
}

/** @param {string} reason */
function why(reason) {
  return reason === "Not management user"
    ? "This user has none of the tags management, policymaker, monitoring and administrator."
    : "Wrong user name or password. Note that guest can log in from the broker's own machine only.";
}
