// A provider of OAuth 2 for tests: says yes to everybody, and checks what a provider has to (RFC 6749, RFC 7636).
import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

export const CLIENT = "warren-ui";
export const SECRET = "the broker's own";

const text64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/**
 * @param {string} folder for its certificate
 * @param {{lifetime: number, said: number}} options lifetime: seconds of a token; said: the same as clients are told
 */
export async function provider(folder, { lifetime, said }) {
  const [authorityKey, authority, key, certificate] = ["ca.key", "ca.pem", "provider.key", "provider.pem"].map((name) => `${folder}/${name}`);
  const make = (...rest) => execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", ...rest], { stdio: "ignore" });
  make("-keyout", authorityKey, "-out", authority, "-subj", "/CN=authority");
  make("-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1", "-CA", authority, "-CAkey", authorityKey, "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE");
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const codes = new Map();
  const refreshing = new Map();
  const seen = { tokens: [], first: 0, refresh: "", ended: [], refused: [], scope: "rabbitmq.tag:administrator rabbitmq.read:*/* rabbitmq.write:*/* rabbitmq.configure:*/*", deny: false };
  let issuer = "";
  const issue = (grant) => {
    const now = Math.floor(Date.now() / 1000);
    const head = text64({ alg: "RS256", typ: "JWT", kid: "one" });
    const body = text64({ iss: issuer, aud: "rabbitmq", sub: "ada", user_name: "ada", iat: now, exp: now + lifetime, jti: randomUUID(), scope: seen.scope });
    const token = `${head}.${body}.${sign("sha256", Buffer.from(`${head}.${body}`), privateKey).toString("base64url")}`;
    const refresh = randomUUID();
    refreshing.set(refresh, true);
    seen.refresh = refresh;
    seen.tokens.push(grant);
    seen.first ||= Date.now();
    return { access_token: token, token_type: "bearer", expires_in: said, refresh_token: refresh, id_token: token };
  };
  const take = (form, basic) => {
    const [id, secret] = basic ?? [form.get("client_id"), form.get("client_secret")];
    if (id !== CLIENT || secret !== SECRET) return { error: "invalid_client" };
    if (form.get("grant_type") === "refresh_token") {
      return refreshing.delete(form.get("refresh_token")) ? issue("refresh") : { error: "invalid_grant" };
    }
    const asked = codes.get(form.get("code"));
    codes.delete(form.get("code"));
    if (!asked || asked.redirect !== form.get("redirect_uri")) return { error: "invalid_grant", error_description: "no such code" };
    const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
    return challenge === asked.challenge ? issue("code") : { error: "invalid_grant", error_description: "wrong verifier" };
  };
  const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
    const url = new URL(request.url, issuer);
    const json = (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        return json(200, { issuer, jwks_uri: `${issuer}/keys`, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token`, end_session_endpoint: `${issuer}/end` });
      case "/keys":
        return json(200, { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "one", alg: "RS256", use: "sig" }] });
      case "/authorize": {
        const query = url.searchParams;
        const target = new URL(query.get("redirect_uri"));
        target.searchParams.set("state", query.get("state"));
        const wrong = query.get("response_type") !== "code" || query.get("client_id") !== CLIENT || query.get("code_challenge_method") !== "S256";
        if (wrong) seen.refused.push(url.search);
        if (wrong || seen.deny) {
          target.searchParams.set("error", "access_denied");
          target.searchParams.set("error_description", "<b>Not</b> today");
        } else {
          const code = randomUUID();
          codes.set(code, { challenge: query.get("code_challenge"), redirect: query.get("redirect_uri") });
          target.searchParams.set("code", code);
        }
        return response.writeHead(302, { location: target.href }).end();
      }
      case "/token": {
        let body = "";
        request.on("data", (part) => (body += part));
        return request.on("end", () => {
          const basic = request.headers.authorization?.startsWith("Basic ") ? Buffer.from(request.headers.authorization.slice(6), "base64").toString().split(":").map(decodeURIComponent) : undefined;
          const answer = take(new URLSearchParams(body), basic);
          json(answer.error ? 400 : 200, answer);
        });
      }
      case "/end":
        seen.ended.push(Object.fromEntries(url.searchParams));
        return response.writeHead(302, { location: url.searchParams.get("post_logout_redirect_uri") }).end();
      default:
        return json(404, {});
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  issuer = `https://127.0.0.1:${server.address().port}`;
  const end = () => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve)));
  return { issuer, authority, seen, end };
}
