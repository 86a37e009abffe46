//! Users, logins and the backends that know them.

use super::kind::*;
use super::*;
use ::broker::auth::Pattern;
use ::broker::command::HashAlgorithm;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "default_vhost",
        alias: None,
        env: "rabbit.default_vhost",
        kind: TEXT,
        default: "/",
        meaning: "Virtual host that a new node begins with.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.default_vhost = name(value)?;
            Ok(())
        }),
    },
    Key {
        name: "default_user",
        alias: None,
        env: "rabbit.default_user",
        kind: TEXT,
        default: "guest",
        meaning: "User that a new node begins with.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.default_user = name(value)?;
            Ok(())
        }),
    },
    Key {
        name: "default_pass",
        alias: None,
        env: "rabbit.default_pass",
        kind: SECRET,
        default: "guest",
        meaning: "That user's password.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.default_pass = Secret::parse(value);
            Ok(())
        }),
    },
    Key {
        name: "default_permissions.configure",
        alias: None,
        env: "rabbit.default_permissions",
        kind: TEXT,
        default: ".*",
        meaning: "That user's configure permission in the default vhost, a regular expression.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.default_permissions.configure = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "default_permissions.write",
        alias: None,
        env: "rabbit.default_permissions",
        kind: TEXT,
        default: ".*",
        meaning: "The write permission.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.default_permissions.write = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "default_permissions.read",
        alias: None,
        env: "rabbit.default_permissions",
        kind: TEXT,
        default: ".*",
        meaning: "The read permission.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.default_permissions.read = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "default_user_tags.$tag",
        alias: None,
        env: "rabbit.default_user_tags",
        kind: BOOLEAN,
        default: "administrator",
        meaning: "`true` gives that user the tag; setting any replaces the default.",
        state: State::Honoured(|draft, tag, value| {
            draft.user_tags.insert(tag.to_owned(), boolean(value)?);
            Ok(())
        }),
    },
    Key {
        name: "default_users.$name.vhost_pattern",
        alias: None,
        env: "rabbit.default_users",
        kind: TEXT,
        default: ".*",
        meaning: "New virtual hosts that this user is let into, a regular expression; the user is made if there is none of the name.",
        state: State::Honoured(|draft, name, value| {
            let pattern = Pattern::of_policy(value).map_err(|_| "a regular expression")?;
            default_user(draft, name).vhost_pattern = Some(pattern);
            Ok(())
        }),
    },
    Key {
        name: "default_users.$name.password",
        alias: None,
        env: "rabbit.default_users",
        kind: SECRET,
        default: "",
        meaning: "The password of such a user, if it is made; without one it cannot log in with a password.",
        state: State::Honoured(|draft, name, value| {
            default_user(draft, name).password = Some(Secret::parse(value));
            Ok(())
        }),
    },
    Key {
        name: "default_users.$name.configure",
        alias: None,
        env: "rabbit.default_users",
        kind: TEXT,
        default: ".*",
        meaning: "Its configure permission there, a regular expression.",
        state: State::Honoured(|draft, name, value| {
            default_user(draft, name).permissions.configure = pattern_text(value)?;
            Ok(())
        }),
    },
    Key {
        name: "default_users.$name.write",
        alias: None,
        env: "rabbit.default_users",
        kind: TEXT,
        default: ".*",
        meaning: "Its write permission there, a regular expression.",
        state: State::Honoured(|draft, name, value| {
            default_user(draft, name).permissions.write = pattern_text(value)?;
            Ok(())
        }),
    },
    Key {
        name: "default_users.$name.read",
        alias: None,
        env: "rabbit.default_users",
        kind: TEXT,
        default: ".*",
        meaning: "Its read permission there, a regular expression.",
        state: State::Honoured(|draft, name, value| {
            default_user(draft, name).permissions.read = pattern_text(value)?;
            Ok(())
        }),
    },
    Key {
        name: "default_users.$name.tags",
        alias: None,
        env: "rabbit.default_users",
        kind: TEXT,
        default: "",
        meaning: "The tags of such a user, if it is made, with commas between them.",
        state: State::Honoured(|draft, name, value| {
            let tags = value
                .split(',')
                .map(str::trim)
                .filter(|tag| !tag.is_empty());
            default_user(draft, name).tags = tags.map(str::to_owned).collect();
            Ok(())
        }),
    },
    Key {
        name: "loopback_users",
        alias: None,
        env: "rabbit.loopback_users",
        kind: NONE,
        default: "",
        meaning: "`none` lets every user log in from any address.",
        state: State::Honoured(|draft, _, value| {
            none_only(value)?;
            draft.loopback_users_off = true;
            Ok(())
        }),
    },
    Key {
        name: "loopback_users.$user",
        alias: None,
        env: "rabbit.loopback_users",
        kind: TEXT,
        default: "guest",
        meaning: "`true` restricts the user to loopback addresses; setting any replaces the default.",
        state: State::Honoured(|draft, user, value| {
            draft
                .loopback_users
                .insert(user.to_owned(), boolean(value)?);
            Ok(())
        }),
    },
    Key {
        name: "auth_mechanisms.$number",
        alias: None,
        env: "rabbit.auth_mechanisms",
        kind: TEXT,
        default: "PLAIN, AMQPLAIN, ANONYMOUS",
        meaning: "A SASL mechanism offered to clients, in the order of the numbers; setting any replaces the default.",
        state: State::Honoured(|draft, number, value| {
            let mechanism = match value {
                "PLAIN" => AuthMechanism::Plain,
                "AMQPLAIN" => AuthMechanism::AmqPlain,
                "ANONYMOUS" => AuthMechanism::Anonymous,
                "EXTERNAL" => AuthMechanism::External,
                _ => return Err("PLAIN, AMQPLAIN, ANONYMOUS or EXTERNAL".to_owned()),
            };
            let order = number.parse().unwrap_or(u64::MAX);
            draft
                .auth_mechanisms
                .insert((order, number.to_owned()), mechanism);
            Ok(())
        }),
    },
    Key {
        name: "anonymous_login_user",
        alias: None,
        env: "rabbit.anonymous_login_user",
        kind: TEXT,
        default: "guest",
        meaning: "User that SASL ANONYMOUS logs in as; `none` refuses such logins.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.anonymous_login_user = match value {
                "none" => None,
                value => Some(name(value)?),
            };
            Ok(())
        }),
    },
    Key {
        name: "anonymous_login_pass",
        alias: None,
        env: "rabbit.anonymous_login_pass",
        kind: SECRET,
        default: "guest",
        meaning: "Password of that user; such logins are refused if it is another one.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.anonymous_login_pass = Secret::parse(value);
            Ok(())
        }),
    },
    Key {
        name: "password_hashing_module",
        alias: None,
        env: "rabbit.password_hashing_module",
        kind: TEXT,
        default: "rabbit_password_hashing_sha256",
        meaning: "How new passwords are hashed: `rabbit_password_hashing_sha256`, `rabbit_password_hashing_sha512` or `rabbit_password_hashing_md5`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.password_hashing = match value {
                "rabbit_password_hashing_sha256" => HashAlgorithm::Sha256,
                "rabbit_password_hashing_sha512" => HashAlgorithm::Sha512,
                "rabbit_password_hashing_md5" => HashAlgorithm::Md5,
                _ => return Err("rabbit_password_hashing_sha256, …_sha512 or …_md5".to_owned()),
            };
            Ok(())
        }),
    },
    Key {
        name: "credential_validator.validation_backend",
        alias: None,
        env: "rabbit.credential_validator.validation_backend",
        kind: TEXT,
        default: "rabbit_credential_validator_accept_everything",
        meaning: "What new passwords have to be like: `rabbit_credential_validator_accept_everything`, `rabbit_credential_validator_min_password_length` or `rabbit_credential_validator_password_regexp`.",
        state: State::Honoured(|draft, _, value| {
            draft.validation_backend = match value {
                "rabbit_credential_validator_accept_everything" => ValidationBackend::AcceptEverything,
                "rabbit_credential_validator_min_password_length" => ValidationBackend::MinLength,
                "rabbit_credential_validator_password_regexp" => ValidationBackend::Regexp,
                _ => return Err("rabbit_credential_validator_accept_everything, …_min_password_length or …_password_regexp".to_owned()),
            };
            Ok(())
        }),
    },
    Key {
        name: "credential_validator.min_length",
        alias: None,
        env: "rabbit.credential_validator.min_length",
        kind: NON_NEGATIVE,
        default: "1",
        meaning: "Bytes of a new password, for the validator `…_min_password_length`.",
        state: State::Honoured(|draft, _, value| {
            draft.validation_min_length = Some(value.parse().map_err(|_| "a number from 0")?);
            Ok(())
        }),
    },
    Key {
        name: "credential_validator.regexp",
        alias: None,
        env: "rabbit.credential_validator.regexp",
        kind: TEXT,
        default: "",
        meaning: "What has to be found in a new password, for the validator `…_password_regexp`.",
        state: State::Honoured(|draft, _, value| {
            let pattern = Pattern::of_policy(value).map_err(|error| error.to_string())?;
            draft.validation_regexp = Some(pattern);
            Ok(())
        }),
    },
];

rows! {
    State::Accepted => {
        "credentials_obfuscation.enabled", "credentials_obfuscation.enabled", BOOLEAN, "true";
        "credentials_obfuscation.cipher", "credentials_obfuscation.cipher", TEXT, "";
        "credentials_obfuscation.hash", "credentials_obfuscation.hash", TEXT, "";
        "credentials_obfuscation.iterations", "credentials_obfuscation.iterations", INTEGER, "";
    }
    State::Refused(NO_LDAP) => {
        "auth_ldap.servers", "rabbitmq_auth_backend_ldap.servers", NONE, "";
        "auth_ldap.servers.$server", "rabbitmq_auth_backend_ldap.servers", TEXT, "";
        "auth_ldap.port", "rabbitmq_auth_backend_ldap.port", INTEGER, "389";
        "auth_ldap.connection_pool_size", "rabbitmq_auth_backend_ldap.pool_size", INTEGER, "64";
        "auth_ldap.timeout", "rabbitmq_auth_backend_ldap.timeout", OR_INFINITY, "infinity";
        "auth_ldap.idle_timeout", "rabbitmq_auth_backend_ldap.idle_timeout", OR_INFINITY, "300000";
        "auth_ldap.log", "rabbitmq_auth_backend_ldap.log", &[Type::OneOf(&["true", "false", "network", "network_unsafe"])], "false";
        "auth_ldap.user_bind_pattern", "rabbitmq_auth_backend_ldap.user_bind_pattern", TEXT, "none";
        "auth_ldap.user_dn_pattern", "rabbitmq_auth_backend_ldap.user_dn_pattern", TEXT, "${username}";
        "auth_ldap.dn_lookup_attribute", "rabbitmq_auth_backend_ldap.dn_lookup_attribute", TEXT, "none";
        "auth_ldap.dn_lookup_base", "rabbitmq_auth_backend_ldap.dn_lookup_base", TEXT, "none";
        "auth_ldap.dn_lookup_bind", "rabbitmq_auth_backend_ldap.dn_lookup_bind", &[Type::OneOf(&["as_user", "anon"])], "as_user";
        "auth_ldap.dn_lookup_bind.user_dn", "rabbitmq_auth_backend_ldap.dn_lookup_bind", TEXT, "as_user";
        "auth_ldap.dn_lookup_bind.password", "rabbitmq_auth_backend_ldap.dn_lookup_bind", SECRET, "as_user";
        "auth_ldap.other_bind", "rabbitmq_auth_backend_ldap.other_bind", &[Type::OneOf(&["as_user", "anon"])], "as_user";
        "auth_ldap.other_bind.user_dn", "rabbitmq_auth_backend_ldap.other_bind", TEXT, "as_user";
        "auth_ldap.other_bind.password", "rabbitmq_auth_backend_ldap.other_bind", SECRET, "as_user";
        "auth_ldap.group_lookup_base", "rabbitmq_auth_backend_ldap.group_lookup_base", TEXT, "none";
        "auth_ldap.use_ssl", "rabbitmq_auth_backend_ldap.use_ssl", BOOLEAN, "false";
        "auth_ldap.use_starttls", "rabbitmq_auth_backend_ldap.use_starttls", BOOLEAN, "false";
        "auth_ldap.ssl_options.verify", "rabbitmq_auth_backend_ldap.ssl_options.verify", VERIFY, "";
        "auth_ldap.ssl_options.fail_if_no_peer_cert", "rabbitmq_auth_backend_ldap.ssl_options.fail_if_no_peer_cert", BOOLEAN, "";
        "auth_ldap.ssl_options.cacertfile", "rabbitmq_auth_backend_ldap.ssl_options.cacertfile", TEXT, "";
        "auth_ldap.ssl_options.certfile", "rabbitmq_auth_backend_ldap.ssl_options.certfile", TEXT, "";
        "auth_ldap.ssl_options.cert", "rabbitmq_auth_backend_ldap.ssl_options.cert", TEXT, "";
        "auth_ldap.ssl_options.crl_check", "rabbitmq_auth_backend_ldap.ssl_options.crl_check", CRL_CHECK, "";
        "auth_ldap.ssl_options.depth", "rabbitmq_auth_backend_ldap.ssl_options.depth", BYTE, "";
        "auth_ldap.ssl_options.dh", "rabbitmq_auth_backend_ldap.ssl_options.dh", TEXT, "";
        "auth_ldap.ssl_options.dhfile", "rabbitmq_auth_backend_ldap.ssl_options.dhfile", TEXT, "";
        "auth_ldap.ssl_options.keyfile", "rabbitmq_auth_backend_ldap.ssl_options.keyfile", TEXT, "";
        "auth_ldap.ssl_options.log_alert", "rabbitmq_auth_backend_ldap.ssl_options.log_alert", BOOLEAN, "";
        "auth_ldap.ssl_options.password", "rabbitmq_auth_backend_ldap.ssl_options.password", SECRET, "";
        "auth_ldap.ssl_options.psk_identity", "rabbitmq_auth_backend_ldap.ssl_options.psk_identity", TEXT, "";
        "auth_ldap.ssl_options.reuse_sessions", "rabbitmq_auth_backend_ldap.ssl_options.reuse_sessions", BOOLEAN, "";
        "auth_ldap.ssl_options.secure_renegotiate", "rabbitmq_auth_backend_ldap.ssl_options.secure_renegotiate", BOOLEAN, "";
        "auth_ldap.ssl_options.versions.$version", "rabbitmq_auth_backend_ldap.ssl_options.versions", TEXT, "";
        "auth_ldap.ssl_options.ciphers.$cipher", "rabbitmq_auth_backend_ldap.ssl_options.ciphers", TEXT, "";
        "auth_ldap.ssl_options", "rabbitmq_auth_backend_ldap.ssl_options", NONE, "";
        "auth_ldap.ssl_options.key.RSAPrivateKey", "rabbitmq_auth_backend_ldap.ssl_options.key", TEXT, "";
        "auth_ldap.ssl_options.key.DSAPrivateKey", "rabbitmq_auth_backend_ldap.ssl_options.key", TEXT, "";
        "auth_ldap.ssl_options.key.PrivateKeyInfo", "rabbitmq_auth_backend_ldap.ssl_options.key", TEXT, "";
        "auth_ldap.ssl_options.client_renegotiation", "rabbitmq_auth_backend_ldap.ssl_options.client_renegotiation", BOOLEAN, "";
        "auth_ldap.ssl_options.honor_cipher_order", "rabbitmq_auth_backend_ldap.ssl_options.honor_cipher_order", BOOLEAN, "";
        "auth_ldap.ssl_options.honor_ecc_order", "rabbitmq_auth_backend_ldap.ssl_options.honor_ecc_order", BOOLEAN, "";
        "auth_ldap.ssl_options.sni", "rabbitmq_auth_backend_ldap.ssl_options.server_name_indication", TEXT, "";
        "auth_ldap.ssl_options.hostname_verification", "rabbitmq_auth_backend_ldap.ssl_hostname_verification", WILDCARD, "";
        "auth_ldap.queries.vhost_access", "rabbitmq_auth_backend_ldap.vhost_access_query", TEXT, "{constant,true}";
        "auth_ldap.queries.resource_access", "rabbitmq_auth_backend_ldap.resource_access_query", TEXT, "{constant,true}";
        "auth_ldap.queries.topic_access", "rabbitmq_auth_backend_ldap.topic_access_query", TEXT, "{constant,true}";
        "auth_ldap.queries.tags", "rabbitmq_auth_backend_ldap.tag_queries", TEXT, "[{administrator,{constant,false}}]";
    }
    State::Refused(NO_OAUTH) => {
        "auth_oauth2.resource_server_id", "rabbitmq_auth_backend_oauth2.resource_server_id", TEXT, "";
        "auth_oauth2.scope_prefix", "rabbitmq_auth_backend_oauth2.scope_prefix", TEXT, "";
        "auth_oauth2.resource_server_type", "rabbitmq_auth_backend_oauth2.resource_server_type", TEXT, "";
        "auth_oauth2.additional_scopes_key", "rabbitmq_auth_backend_oauth2.extra_scopes_source", TEXT, "";
        "auth_oauth2.scope_aliases.$alias", "rabbitmq_auth_backend_oauth2.scope_aliases", TEXT, "";
        "auth_oauth2.scope_aliases.$index.alias", "rabbitmq_auth_backend_oauth2.scope_aliases", TEXT, "";
        "auth_oauth2.scope_aliases.$index.scope", "rabbitmq_auth_backend_oauth2.scope_aliases", TEXT, "";
        "auth_oauth2.verify_aud", "rabbitmq_auth_backend_oauth2.verify_aud", BOOLEAN, "";
        "auth_oauth2.require_exp", "rabbitmq_auth_backend_oauth2.require_exp", BOOLEAN, "";
        "auth_oauth2.preferred_username_claims.$preferred_username_claims", "rabbitmq_auth_backend_oauth2.preferred_username_claims", TEXT, "";
        "auth_oauth2.default_key", "rabbitmq_auth_backend_oauth2.key_config.default_key", TEXT, "";
        "auth_oauth2.signing_keys.$name", "rabbitmq_auth_backend_oauth2.key_config.signing_keys", TEXT, "";
        "auth_oauth2.issuer", "rabbitmq_auth_backend_oauth2.issuer", TEXT, "";
        "auth_oauth2.token_endpoint", "rabbitmq_auth_backend_oauth2.token_endpoint", TEXT, "";
        "auth_oauth2.jwks_uri", "rabbitmq_auth_backend_oauth2.jwks_uri", TEXT, "";
        "auth_oauth2.jwks_url", "rabbitmq_auth_backend_oauth2.key_config.jwks_url", TEXT, "";
        "auth_oauth2.end_session_endpoint", "rabbitmq_auth_backend_oauth2.end_session_endpoint", TEXT, "";
        "auth_oauth2.authorization_endpoint", "rabbitmq_auth_backend_oauth2.authorization_endpoint", TEXT, "";
        "auth_oauth2.discovery_endpoint_path", "rabbitmq_auth_backend_oauth2.discovery_endpoint_path", TEXT, "";
        "auth_oauth2.discovery_endpoint_params.$param", "rabbitmq_auth_backend_oauth2.discovery_endpoint_params", TEXT, "";
        "auth_oauth2.oauth_providers.$name.discovery_endpoint_params.$param", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.discovery_endpoint_path", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.algorithms.$algorithm", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.https.peer_verification", "rabbitmq_auth_backend_oauth2.key_config.peer_verification", VERIFY, "";
        "auth_oauth2.https.verify", "rabbitmq_auth_backend_oauth2.key_config.verify", VERIFY, "";
        "auth_oauth2.https.cacertfile", "rabbitmq_auth_backend_oauth2.key_config.cacertfile", TEXT, "";
        "auth_oauth2.https.depth", "rabbitmq_auth_backend_oauth2.key_config.depth", INTEGER, "";
        "auth_oauth2.https.hostname_verification", "rabbitmq_auth_backend_oauth2.key_config.hostname_verification", WILDCARD, "";
        "auth_oauth2.https.crl_check", "rabbitmq_auth_backend_oauth2.key_config.crl_check", CRL_CHECK, "";
        "auth_oauth2.https.fail_if_no_peer_cert", "rabbitmq_auth_backend_oauth2.key_config.fail_if_no_peer_cert", BOOLEAN, "";
        "auth_oauth2.algorithms.$algorithm", "rabbitmq_auth_backend_oauth2.key_config.algorithms", TEXT, "";
        "auth_oauth2.default_oauth_provider", "rabbitmq_auth_backend_oauth2.default_oauth_provider", TEXT, "";
        "auth_oauth2.oauth_providers.$name.issuer", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.token_endpoint", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.jwks_uri", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.end_session_endpoint", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.authorization_endpoint", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.https.verify", "rabbitmq_auth_backend_oauth2.oauth_providers", VERIFY, "";
        "auth_oauth2.oauth_providers.$name.https.cacertfile", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.https.depth", "rabbitmq_auth_backend_oauth2.oauth_providers", INTEGER, "";
        "auth_oauth2.oauth_providers.$name.https.hostname_verification", "rabbitmq_auth_backend_oauth2.oauth_providers", WILDCARD, "";
        "auth_oauth2.oauth_providers.$name.https.crl_check", "rabbitmq_auth_backend_oauth2.oauth_providers", CRL_CHECK, "";
        "auth_oauth2.oauth_providers.$name.default_key", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.oauth_providers.$name.signing_keys.$id", "rabbitmq_auth_backend_oauth2.oauth_providers", TEXT, "";
        "auth_oauth2.resource_servers.$name.id", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.scope_prefix", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.additional_scopes_key", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.resource_server_type", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.scope_aliases.$alias", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.scope_aliases.$index.alias", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.scope_aliases.$index.scope", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.oauth_provider_id", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
        "auth_oauth2.resource_servers.$name.preferred_username_claims.$preferred_username_claims", "rabbitmq_auth_backend_oauth2.resource_servers", TEXT, "";
    }
}

fn default_user<'a>(draft: &'a mut Draft, name: &str) -> &'a mut VhostUser {
    let users = &mut draft.settings.default_users;
    users.entry(name.to_owned()).or_default()
}

fn pattern_text(value: &str) -> Result<String, String> {
    Pattern::new(value)
        .map(|_| value.to_owned())
        .map_err(|_| "a regular expression".to_owned())
}
