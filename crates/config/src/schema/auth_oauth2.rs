//! Logins with tokens of OAuth 2. The settings themselves know what their values may be; they are used when `auth_backends` names the
//! backend.

use super::kind::*;
use super::*;

described! {
    State::HonouredWhole(|draft, key, value| {
        let key: Vec<&str> = key.iter().skip(1).map(String::as_str).collect();
        draft.settings.auth.oauth2.set(&key, value)
    }) => {
        "auth_oauth2.resource_server_id", "rabbitmq_auth_backend_oauth2.resource_server_id", TEXT, "", "Whom tokens must be meant for (their claim `aud`).";
        "auth_oauth2.scope_prefix", "rabbitmq_auth_backend_oauth2.scope_prefix", TEXT, "", "What scopes begin with that concern this broker; if unset the resource server's id and a full stop.";
        "auth_oauth2.resource_server_type", "rabbitmq_auth_backend_oauth2.resource_server_type", TEXT, "", "Type of the `authorization_details` that concern this broker.";
        "auth_oauth2.additional_scopes_key", "rabbitmq_auth_backend_oauth2.extra_scopes_source", TEXT, "", "Further claims that hold scopes, with blanks between them; a full stop leads into a claim.";
        "auth_oauth2.scope_aliases.$alias", "rabbitmq_auth_backend_oauth2.scope_aliases", TEXT, "", "Scopes, with blanks between them, that a scope or role of this name stands for.";
        "auth_oauth2.scope_aliases.$index.alias", "rabbitmq_auth_backend_oauth2.scope_aliases", TEXT, "", "A scope or role that stands for others.";
        "auth_oauth2.scope_aliases.$index.scope", "rabbitmq_auth_backend_oauth2.scope_aliases", TEXT, "", "The scopes that it stands for.";
        "auth_oauth2.verify_aud", "rabbitmq_auth_backend_oauth2.verify_aud", BOOLEAN, "true", "`false` takes tokens whomever they are meant for.";
        "auth_oauth2.require_exp", "rabbitmq_auth_backend_oauth2.require_exp", BOOLEAN, "true", "`false` takes tokens that never end.";
        "auth_oauth2.preferred_username_claims.$preferred_username_claims", "rabbitmq_auth_backend_oauth2.preferred_username_claims", TEXT, "sub, client_id", "A claim that is the user's name, in the order of the numbers; setting any replaces the default.";
        "auth_oauth2.default_key", "rabbitmq_auth_backend_oauth2.key_config.default_key", TEXT, "", "Id of the key of tokens that name none.";
        "auth_oauth2.signing_keys.$name", "rabbitmq_auth_backend_oauth2.key_config.signing_keys", SECRET, "", "File with the public key of this id, in PEM.";
        "auth_oauth2.issuer", "rabbitmq_auth_backend_oauth2.issuer", TEXT, "", "Who issues tokens, an HTTPS address; says where its keys are.";
        "auth_oauth2.jwks_uri", "rabbitmq_auth_backend_oauth2.jwks_uri", TEXT, "", "Where the issuer's keys are, an HTTPS address; goes before `issuer`.";
        "auth_oauth2.jwks_url", "rabbitmq_auth_backend_oauth2.key_config.jwks_url", TEXT, "", "Older name of `jwks_uri`.";
        "auth_oauth2.discovery_endpoint_path", "rabbitmq_auth_backend_oauth2.discovery_endpoint_path", TEXT, ".well-known/openid-configuration", "Where the issuer describes itself, below its own address.";
        "auth_oauth2.discovery_endpoint_params.$param", "rabbitmq_auth_backend_oauth2.discovery_endpoint_params", TEXT, "", "What is added to that address as a query.";
        "auth_oauth2.algorithms.$algorithm", "rabbitmq_auth_backend_oauth2.key_config.algorithms", TEXT, "", "An algorithm that tokens may be signed with; all that fit the key if none is named.";
        "auth_oauth2.https.verify", "rabbitmq_auth_backend_oauth2.key_config.verify", VERIFY, "verify_peer", "Whether the issuer's certificate is verified.";
        "auth_oauth2.https.peer_verification", "rabbitmq_auth_backend_oauth2.key_config.peer_verification", VERIFY, "verify_peer", "Older name of `https.verify`.";
        "auth_oauth2.https.cacertfile", "rabbitmq_auth_backend_oauth2.key_config.cacertfile", TEXT, "", "Certificates that vouch for the issuer; if unset those that the operating system trusts.";
        "auth_oauth2.https.depth", "rabbitmq_auth_backend_oauth2.key_config.depth", BYTE, "10", "Intermediate certificates between the issuer's and a trusted one.";
        "auth_oauth2.https.hostname_verification", "rabbitmq_auth_backend_oauth2.key_config.hostname_verification", WILDCARD, "none", "The issuer's name is always verified, and may have a wildcard in its certificate.";
        "auth_oauth2.https.crl_check", "rabbitmq_auth_backend_oauth2.key_config.crl_check", CRL_CHECK, "false", "Lists of revoked certificates are not read: `false` only.";
        "auth_oauth2.https.fail_if_no_peer_cert", "rabbitmq_auth_backend_oauth2.key_config.fail_if_no_peer_cert", BOOLEAN, "false", "A server always has a certificate.";
        "auth_oauth2.authorization_endpoint", "rabbitmq_auth_backend_oauth2.authorization_endpoint", TEXT, "", "Where browsers are sent to log in to the web UI, an HTTPS address; if unset the issuer says it.";
        "auth_oauth2.token_endpoint", "rabbitmq_auth_backend_oauth2.token_endpoint", TEXT, "", "Where the web UI's tokens are had, an HTTPS address; if unset the issuer says it.";
        "auth_oauth2.end_session_endpoint", "rabbitmq_auth_backend_oauth2.end_session_endpoint", TEXT, "", "Where browsers are sent to log out, an HTTPS address; if unset the issuer may say it.";
        "auth_oauth2.oauth_providers.$name.authorization_endpoint", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `authorization_endpoint`.";
        "auth_oauth2.oauth_providers.$name.token_endpoint", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `token_endpoint`.";
        "auth_oauth2.oauth_providers.$name.end_session_endpoint", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `end_session_endpoint`.";
        "auth_oauth2.default_oauth_provider", "rabbitmq_auth_backend_oauth2.default_oauth_provider", TEXT, "", "Provider of resource servers that name none; if unset the one without a name.";
        "auth_oauth2.oauth_providers.$name.issuer", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `issuer`, of this provider.";
        "auth_oauth2.oauth_providers.$name.jwks_uri", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `jwks_uri`.";
        "auth_oauth2.oauth_providers.$name.discovery_endpoint_path", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, ".well-known/openid-configuration", "As `discovery_endpoint_path`.";
        "auth_oauth2.oauth_providers.$name.discovery_endpoint_params.$param", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `discovery_endpoint_params`.";
        "auth_oauth2.oauth_providers.$name.algorithms.$algorithm", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `algorithms`.";
        "auth_oauth2.oauth_providers.$name.https.verify", "rabbitmq_auth_backend_oauth2.oauth_providers", VERIFY, "verify_peer", "As `https.verify`.";
        "auth_oauth2.oauth_providers.$name.https.cacertfile", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `https.cacertfile`.";
        "auth_oauth2.oauth_providers.$name.https.depth", "rabbitmq_auth_backend_oauth2.oauth_providers", BYTE, "10", "As `https.depth`.";
        "auth_oauth2.oauth_providers.$name.https.hostname_verification", "rabbitmq_auth_backend_oauth2.oauth_providers", WILDCARD, "none", "As `https.hostname_verification`.";
        "auth_oauth2.oauth_providers.$name.https.crl_check", "rabbitmq_auth_backend_oauth2.oauth_providers", CRL_CHECK, "false", "As `https.crl_check`.";
        "auth_oauth2.oauth_providers.$name.default_key", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "", "As `default_key`.";
        "auth_oauth2.oauth_providers.$name.signing_keys.$id", "rabbitmq_auth_backend_oauth2.oauth_providers", SECRET, "", "As `signing_keys`.";
        "auth_oauth2.resource_servers.$name.id", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "Whom tokens must be meant for; if unset the name.";
        "auth_oauth2.resource_servers.$name.scope_prefix", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "As `scope_prefix`, of this resource server; what it does not set, the one without a name sets.";
        "auth_oauth2.resource_servers.$name.additional_scopes_key", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "As `additional_scopes_key`.";
        "auth_oauth2.resource_servers.$name.resource_server_type", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "As `resource_server_type`.";
        "auth_oauth2.resource_servers.$name.scope_aliases.$alias", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "As `scope_aliases`.";
        "auth_oauth2.resource_servers.$name.scope_aliases.$index.alias", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "As `scope_aliases`.";
        "auth_oauth2.resource_servers.$name.scope_aliases.$index.scope", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "As `scope_aliases`.";
        "auth_oauth2.resource_servers.$name.verify_aud", "rabbitmq_auth_backend_oauth2.resource_servers", BOOLEAN, "", "As `verify_aud`.";
        "auth_oauth2.resource_servers.$name.require_exp", "rabbitmq_auth_backend_oauth2.resource_servers", BOOLEAN, "", "As `require_exp`.";
        "auth_oauth2.resource_servers.$name.oauth_provider_id", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "The provider that issues tokens for this resource server.";
        "auth_oauth2.resource_servers.$name.preferred_username_claims.$preferred_username_claims", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "", "As `preferred_username_claims`.";
    }
}
