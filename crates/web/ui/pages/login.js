// Name and password.
import { html, useState } from "../lib/view.js";
import { call } from "../lib/api.js";
import { Problem } from "../lib/parts.js";

/** @param {{onLogin: (user: any) => void}} props */
export function Login({ onLogin }) {
  const [error, report] = useState(/** @type {Error|undefined} */ (undefined));
  const [busy, work] = useState(false);
  const send = async (/** @type {any} */ event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    work(true);
    try {
      onLogin(await call("POST", "session", { username: form.get("username"), password: form.get("password") }));
    } catch (refused) {
      const { status, message } = /** @type {any} */ (refused);
      report(new Error(status === 401 ? why(message) : message));
      work(false);
    }
  };
  return html`<main class="login">
    <form class="card" onSubmit=${send}>
      <h1>WarrenMQ</h1>
      <label>User name<input name="username" autocomplete="username" required autofocus /></label>
      <label>Password<input name="password" type="password" autocomplete="current-password" /></label>
      <${Problem} error=${error} />
      <button class="primary" disabled=${busy}>Log in</button>
    </form>
  </main>`;
}

/** @param {string} reason */
function why(reason) {
  return reason === "Not management user"
    ? "This user has none of the tags management, policymaker, monitoring and administrator."
    : "Wrong user name or password. Note that guest can log in from the broker's own machine only.";
}
