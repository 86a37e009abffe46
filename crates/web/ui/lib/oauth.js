// Login with OAuth 2: authorization code with PKCE (RFC 7636) at a provider that the broker knows.
//
// The broker asks the provider for tokens, so no page needs to reach it and no secret of the client is here. The token becomes a
// session like any other. Only what renews it is kept, in this tab: `sessionStorage` forgets it with the tab.
import { call, get, path } from "./api.js";

/**
 * @typedef {{id: string, label: string, oauth_client_id: string, oauth_scopes?: string, oauth_response_type?: string,
 *   oauth_initiated_logon_type?: string, oauth_provider_url?: string, oauth_authorization_endpoint_params?: Record<string, string>}} Server
 * @typedef {{oauth_enabled: boolean, oauth_disable_basic_auth?: boolean, oauth_resource_servers?: Server[]}} Choice
 * @typedef {{server: string, refresh?: string, identity?: string, renewAt: number}} Kept
 */

/** What a login has to find again when the browser comes back. */
const UNDER_WAY = "warren.login";
/** What renews a session and ends it at the provider. */
const KEPT = "warren.token";
/** Part of a token's life after which it is renewed. */
const RENEW_AT = 0.75;
/** Random bytes of a state and of a verifier. */
const RANDOM_BYTES = 32;

/** What can be chosen from. @returns {Promise<Choice>} */
export const choice = () => get("oauth");

/** Where a provider sends the browser back to. */
const redirectUri = () => new URL("js/oidc-oauth/login-callback.html", baseUri()).href;
const baseUri = () => location.origin + location.pathname;

/**
 * Goes to a provider. What comes back is taken by `comeBack`.
 * @param {Server} server
 */
export async function leave(server) {
  if (!crypto.subtle) throw new Error("A login with OAuth needs HTTPS, or the address localhost.");
  const { authorization_endpoint: endpoint } = await get(path("oauth", server.id));
  const [state, verifier] = [random(), random()];
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  sessionStorage.setItem(UNDER_WAY, JSON.stringify({ state, verifier, server: server.id, hash: location.hash }));
  const target = new URL(endpoint);
  if (target.protocol !== "https:" && target.protocol !== "http:") throw new Error("The provider's address is neither http nor https.");
  const parameters = {
    response_type: server.oauth_response_type ?? "code",
    client_id: server.oauth_client_id,
    redirect_uri: redirectUri(),
    scope: server.oauth_scopes ?? "openid profile",
    state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
    ...server.oauth_authorization_endpoint_params,
  };
  for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value);
  location.assign(target);
}

/** Ends a login that a provider has sent back, if that is why this page was opened. Gives whether it was. */
export async function comeBack() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("state") || (!answer.has("code") && !answer.has("error"))) return false;
  const kept = JSON.parse(sessionStorage.getItem(UNDER_WAY) ?? "null");
  sessionStorage.removeItem(UNDER_WAY);
  // A code is good once, and has no business in a history.
  history.replaceState(null, "", baseUri() + (kept?.hash ?? ""));
  if (kept?.state !== answer.get("state")) throw new Error("This login was not begun here. Begin again.");
  if (answer.has("error")) throw new Error(`The provider says: ${answer.get("error_description") ?? answer.get("error")}`);
  await enter(kept.server, { grant_type: "authorization_code", code: answer.get("code") ?? "", redirect_uri: redirectUri(), code_verifier: kept.verifier });
  return true;
}

/**
 * Gets a token and opens a session with it, or gives the session that is open the new one.
 * @param {string} server
 * @param {Record<string, string>} grant
 */
async function enter(server, grant) {
  const token = await call("POST", `${path("oauth", server)}/token`, new URLSearchParams(grant));
  const before = kept();
  const lifetime = typeof token.expires_in === "number" ? token.expires_in : 0;
  /** @type {Kept} */
  const next = {
    server,
    refresh: token.refresh_token ?? before?.refresh,
    identity: token.id_token ?? before?.identity,
    renewAt: Date.now() + lifetime * RENEW_AT * 1000,
  };
  // At once: what renewed it may be good no more, and this page may be left at any time.
  sessionStorage.setItem(KEPT, JSON.stringify(next));
  try {
    await call("POST", "session", { access_token: token.access_token });
  } catch (error) {
    forget();
    throw error;
  }
}

/** @returns {Kept|null} */
const kept = () => JSON.parse(sessionStorage.getItem(KEPT) ?? "null");

/** The renewal that is under way, or the last one. @type {Promise<void>} */
let renewal = Promise.resolve();

/** When the next one begins. */
let timer = 0;

/** Renews the session before its token ends, until it is called off. @returns {() => void} */
export function keepFresh() {
  const plan = () => {
    const now = kept();
    if (!now?.refresh) return;
    timer = window.setTimeout(() => {
      // If it cannot be renewed, the next refused request asks for a login.
      renewal = enter(now.server, { grant_type: "refresh_token", refresh_token: /** @type {string} */ (now.refresh) }).then(plan, forget);
    }, Math.max(0, now.renewAt - Date.now()));
  };
  plan();
  return () => clearTimeout(timer);
}

/** Forgets what renews the session. */
export function forget() {
  sessionStorage.removeItem(KEPT);
}

/** Ends the session, and the provider's if it was opened there and can be ended. Gives whether the browser goes there. */
export async function logOut() {
  // A renewal that ends later, or begins yet, would open the session again.
  await renewal;
  clearTimeout(timer);
  const before = kept();
  forget();
  await call("DELETE", "session");
  if (!before) return false;
  const { end_session_endpoint: end } = await get(path("oauth", before.server)).catch(() => ({}));
  if (typeof end !== "string" || !/^https?:/.test(end)) return false;
  const target = new URL(end);
  if (before.identity) target.searchParams.set("id_token_hint", before.identity);
  target.searchParams.set("post_logout_redirect_uri", baseUri());
  location.assign(target);
  return true;
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)));

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
