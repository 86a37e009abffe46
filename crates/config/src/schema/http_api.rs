//! Answers of the HTTP API and logins to it. [`ApiSettings`](crate::ApiSettings) knows what the values may be.

use super::kind::*;
use super::*;

const LOGON: &[Type] = &[Type::OneOf(&["sp_initiated", "idp_initiated"])];

described! {
    State::HonouredWhole(|draft, key, value| {
        let key: Vec<&str> = key.iter().skip(1).map(String::as_str).collect();
        draft.settings.management.api.set(&key, value)
    }) => {
        "management.csp.policy", "rabbitmq_management.content_security_policy", TEXT, "script-src 'self'; object-src 'self'", "The header `Content-Security-Policy` of answers; pages of the web UI, which have a stricter one of their own, get both.";
        "management.hsts.policy", "rabbitmq_management.strict_transport_security", TEXT, "", "The header `Strict-Transport-Security` of answers; none if unset.";
        "management.headers.content_type_options", "rabbitmq_management.headers.content_type_options", TEXT, "", "The header `X-Content-Type-Options` of answers.";
        "management.headers.xss_protection", "rabbitmq_management.headers.xss_protection", TEXT, "", "The header `X-XSS-Protection` of answers.";
        "management.headers.frame_options", "rabbitmq_management.headers.frame_options", TEXT, "", "The header `X-Frame-Options` of answers.";
        "management.headers.referrer_policy", "rabbitmq_management.headers.referrer_policy", TEXT, "", "The header `Referrer-Policy` of answers.";
        "management.http.hide_allow_header", "rabbitmq_management.hide_http_allow_header", BOOLEAN, "false", "`true` leaves the header `Allow` out.";
        "management.definitions.require_json_extension", "rabbitmq_management.require_definition_json_extension", BOOLEAN, "false", "`true` takes a file of definitions from a form only if its name ends in `.json`.";
        "management.disable_basic_auth", "rabbitmq_management.disable_basic_auth", BOOLEAN, "false", "`true` takes tokens only, and neither names nor passwords.";
        "management.credential_encryption_secret", "rabbitmq_management.credential_encryption_secret", SECRET, "", "If set, `POST /api/login` answers with a token that stands for name and password until the login's time is over or the node stops.";
        "management.login_session_timeout", "rabbitmq_management.login_session_timeout", NON_NEGATIVE, "480", "Minutes after which a user of the web UI has to log in again.";
        "management.require_auth_for_api_reference", "rabbitmq_management.require_auth_for_api_reference", BOOLEAN, "false", "`true` shows `/api/index.html` and `/api/openapi.json` to users only.";
        "management.restrictions.quorum_queue_replica_operations.disabled", "rabbitmq_management.restrictions.quorum_queue_replica_operations.disabled", BOOLEAN, "false", "`true` refuses changes of the members of quorum queues over HTTP.";
        "management.oauth_enabled", "rabbitmq_management.oauth_enabled", BOOLEAN, "false", "Whether users log in to the web UI with OAuth 2.";
        "management.oauth_disable_basic_auth", "rabbitmq_management.oauth_disable_basic_auth", BOOLEAN, "true", "`false` lets the web UI ask for a name and a password as well.";
        "management.oauth_provider_url", "rabbitmq_management.oauth_provider_url", TEXT, "", "Where the provider is; if unset the issuer of `auth_oauth2`.";
        "management.oauth_client_id", "rabbitmq_management.oauth_client_id", TEXT, "", "The web UI's name at the provider.";
        "management.oauth_client_secret", "rabbitmq_management.oauth_client_secret", SECRET, "", "Its secret, which no browser gets.";
        "management.oauth_response_type", "rabbitmq_management.oauth_response_type", TEXT, "code", "`code`: the authorization code flow with PKCE.";
        "management.oauth_metadata_url", "rabbitmq_management.oauth_metadata_url", TEXT, "", "Where the provider describes itself; if unset, at the usual place below its address.";
        "management.oauth_authorization_endpoint_params.$name", "rabbitmq_management.oauth_authorization_endpoint_params", TEXT, "", "What is added to requests for a login.";
        "management.oauth_token_endpoint_params.$name", "rabbitmq_management.oauth_token_endpoint_params", TEXT, "", "What is added to requests for a token.";
        "management.oauth_scopes", "rabbitmq_management.oauth_scopes", TEXT, "", "Scopes that are asked for, with blanks between them; `openid profile` if unset.";
        "management.oauth_initiated_logon_type", "rabbitmq_management.oauth_initiated_logon_type", LOGON, "sp_initiated", "`idp_initiated`: users come from the provider.";
        "management.oauth_resource_servers.$name.id", "rabbitmq_management.oauth_resource_servers", TEXT, "", "The resource server of `auth_oauth2` that this is about; if unset the name.";
        "management.oauth_resource_servers.$name.disabled", "rabbitmq_management.oauth_resource_servers", BOOLEAN, "false", "`true` does not offer it in the web UI.";
        "management.oauth_resource_servers.$name.label", "rabbitmq_management.oauth_resource_servers", TEXT, "", "What the web UI calls it; if unset its id.";
        "management.oauth_resource_servers.$name.oauth_provider_url", "rabbitmq_management.oauth_resource_servers", TEXT, "", "As `oauth_provider_url`, of this resource server; what it does not set, the keys without a name set.";
        "management.oauth_resource_servers.$name.oauth_client_id", "rabbitmq_management.oauth_resource_servers", TEXT, "", "As `oauth_client_id`.";
        "management.oauth_resource_servers.$name.oauth_client_secret", "rabbitmq_management.oauth_resource_servers", SECRET, "", "As `oauth_client_secret`.";
        "management.oauth_resource_servers.$name.oauth_response_type", "rabbitmq_management.oauth_resource_servers", TEXT, "", "As `oauth_response_type`.";
        "management.oauth_resource_servers.$name.oauth_scopes", "rabbitmq_management.oauth_resource_servers", TEXT, "", "As `oauth_scopes`.";
        "management.oauth_resource_servers.$name.oauth_metadata_url", "rabbitmq_management.oauth_resource_servers", TEXT, "", "As `oauth_metadata_url`.";
        "management.oauth_resource_servers.$name.oauth_initiated_logon_type", "rabbitmq_management.oauth_resource_servers", LOGON, "", "As `oauth_initiated_logon_type`.";
        "management.oauth_resource_servers.$name.oauth_authorization_endpoint_params.$param", "rabbitmq_management.oauth_resource_servers", TEXT, "", "As `oauth_authorization_endpoint_params`.";
        "management.oauth_resource_servers.$name.oauth_token_endpoint_params.$param", "rabbitmq_management.oauth_resource_servers", TEXT, "", "As `oauth_token_endpoint_params`.";
    }
}

/// Who lets users of the HTTP API in.
pub(super) static BACKEND_KEYS: &[Key] = &[
    Key {
        name: "http_dispatch.auth_backends.$num",
        alias: None,
        env: "rabbitmq_web_dispatch.auth_backends",
        kind: TEXT,
        default: "",
        meaning: "A backend for users of the HTTP API, as `auth_backends`; if none is set those of `auth_backends`.",
        state: State::Honoured(|draft, number, value| {
            let link = draft.http_backend(number)?;
            let name = Some(BackendName::parse(value)?);
            (link.authn, link.authz) = (name, name);
            Ok(())
        }),
    },
    Key {
        name: "http_dispatch.auth_backends.$num.authn",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "As `auth_backends.$num.authn`.",
        state: State::Honoured(|draft, number, value| {
            draft.http_backend(number)?.authn = Some(BackendName::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "http_dispatch.auth_backends.$num.authz",
        alias: None,
        env: "",
        kind: TEXT,
        default: "",
        meaning: "As `auth_backends.$num.authz`.",
        state: State::Honoured(|draft, number, value| {
            draft.http_backend(number)?.authz = Some(BackendName::parse(value)?);
            Ok(())
        }),
    },
];
