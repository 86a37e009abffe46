//! Logins and permissions by an LDAP directory. The settings themselves know what their values may be; they are used when `auth_backends`
//! names the backend. Queries are Erlang terms in text.

use super::kind::*;
use super::*;
use crate::ldap_query;

described! {
    State::HonouredWhole(|draft, key, value| {
        let ldap = &mut draft.settings.auth.ldap;
        let key: Vec<&str> = key.iter().skip(1).map(String::as_str).collect();
        match key.as_slice() {
            ["queries", "vhost_access"] => ldap.vhost_access = ldap_query::query(value)?,
            ["queries", "resource_access"] => ldap.resource_access = ldap_query::query(value)?,
            ["queries", "topic_access"] => ldap.topic_access = ldap_query::query(value)?,
            ["queries", _] => ldap.tags = ldap_query::tags(value)?,
            key => ldap.set(key, value)?,
        }
        Ok(())
    }) => {
        "auth_ldap.servers", "rabbitmq_auth_backend_ldap.servers", NONE, "", "`none` forgets the servers that other files name.";
        "auth_ldap.servers.$server", "rabbitmq_auth_backend_ldap.servers", TEXT, "", "A server's name or address; tried in the order of the numbers.";
        "auth_ldap.port", "rabbitmq_auth_backend_ldap.port", INTEGER, "389", "Port of all servers.";
        "auth_ldap.connection_pool_size", "rabbitmq_auth_backend_ldap.pool_size", INTEGER, "64", "Most connections to them, 1 to 1024.";
        "auth_ldap.timeout", "rabbitmq_auth_backend_ldap.timeout", OR_INFINITY, "infinity", "Milliseconds for connecting and for each operation; never more than a minute.";
        "auth_ldap.idle_timeout", "rabbitmq_auth_backend_ldap.idle_timeout", OR_INFINITY, "300000", "Milliseconds after which a connection that is not used is closed; 0 keeps none.";
        "auth_ldap.log", "rabbitmq_auth_backend_ldap.log", &[Type::OneOf(&["true", "false", "network", "network_unsafe"])], "false", "`true` logs what is decided, `network` also what is asked. `network_unsafe` is refused: passwords are never logged.";
        "auth_ldap.user_bind_pattern", "rabbitmq_auth_backend_ldap.user_bind_pattern", TEXT, "none", "What users are bound as, if it is not `user_dn_pattern`.";
        "auth_ldap.user_dn_pattern", "rabbitmq_auth_backend_ldap.user_dn_pattern", TEXT, "${username}", "A user's distinguished name.";
        "auth_ldap.dn_lookup_attribute", "rabbitmq_auth_backend_ldap.dn_lookup_attribute", TEXT, "none", "Attribute by which a user's entry is looked for; its value is `user_dn_pattern`.";
        "auth_ldap.dn_lookup_base", "rabbitmq_auth_backend_ldap.dn_lookup_base", TEXT, "none", "Where it is looked for.";
        "auth_ldap.dn_lookup_bind", "rabbitmq_auth_backend_ldap.dn_lookup_bind", &[Type::OneOf(&["as_user", "anon"])], "as_user", "In whose name it is looked for.";
        "auth_ldap.dn_lookup_bind.user_dn", "rabbitmq_auth_backend_ldap.dn_lookup_bind", TEXT, "", "In the name of this entry.";
        "auth_ldap.dn_lookup_bind.password", "rabbitmq_auth_backend_ldap.dn_lookup_bind", SECRET, "", "With this password.";
        "auth_ldap.other_bind", "rabbitmq_auth_backend_ldap.other_bind", &[Type::OneOf(&["as_user", "anon"])], "as_user", "In whose name queries are put.";
        "auth_ldap.other_bind.user_dn", "rabbitmq_auth_backend_ldap.other_bind", TEXT, "", "In the name of this entry.";
        "auth_ldap.other_bind.password", "rabbitmq_auth_backend_ldap.other_bind", SECRET, "", "With this password.";
        "auth_ldap.group_lookup_base", "rabbitmq_auth_backend_ldap.group_lookup_base", TEXT, "none", "Where groups are looked for by `in_group_nested`; if `none` at `dn_lookup_base`.";
        "auth_ldap.use_ssl", "rabbitmq_auth_backend_ldap.use_ssl", BOOLEAN, "false", "Connections begin with TLS.";
        "auth_ldap.use_starttls", "rabbitmq_auth_backend_ldap.use_starttls", BOOLEAN, "false", "Connections change to TLS.";
        "auth_ldap.ssl_options", "rabbitmq_auth_backend_ldap.ssl_options", NONE, "", "`none` forgets the options that other files set.";
        "auth_ldap.ssl_options.verify", "rabbitmq_auth_backend_ldap.ssl_options.verify", VERIFY, "verify_peer", "Whether the server's certificate is verified.";
        "auth_ldap.ssl_options.fail_if_no_peer_cert", "rabbitmq_auth_backend_ldap.ssl_options.fail_if_no_peer_cert", BOOLEAN, "", "A server always has a certificate.";
        "auth_ldap.ssl_options.cacertfile", "rabbitmq_auth_backend_ldap.ssl_options.cacertfile", TEXT, "", "Certificates that vouch for the server; if unset those that the operating system trusts.";
        "auth_ldap.ssl_options.certfile", "rabbitmq_auth_backend_ldap.ssl_options.certfile", TEXT, "", "The node's own certificate, for servers that want one.";
        "auth_ldap.ssl_options.keyfile", "rabbitmq_auth_backend_ldap.ssl_options.keyfile", TEXT, "", "Its private key.";
        "auth_ldap.ssl_options.password", "rabbitmq_auth_backend_ldap.ssl_options.password", SECRET, "", "What protects the key.";
        "auth_ldap.ssl_options.depth", "rabbitmq_auth_backend_ldap.ssl_options.depth", BYTE, "10", "Intermediate certificates between the server's and a trusted one.";
        "auth_ldap.ssl_options.versions.$version", "rabbitmq_auth_backend_ldap.ssl_options.versions", TEXT, "", "A version that may be spoken: `tlsv1.2` or `tlsv1.3`.";
        "auth_ldap.ssl_options.ciphers.$cipher", "rabbitmq_auth_backend_ldap.ssl_options.ciphers", TEXT, "", "A cipher suite that may be used.";
        "auth_ldap.ssl_options.sni", "rabbitmq_auth_backend_ldap.ssl_options.server_name_indication", TEXT, "", "Name that the server's certificate must have, if it is not the one that is connected to.";
        "auth_ldap.ssl_options.hostname_verification", "rabbitmq_auth_backend_ldap.ssl_hostname_verification", WILDCARD, "none", "The server's name is always verified, and may have a wildcard in its certificate.";
        "auth_ldap.ssl_options.crl_check", "rabbitmq_auth_backend_ldap.ssl_options.crl_check", CRL_CHECK, "false", "Lists of revoked certificates are not read: `false` only.";
        "auth_ldap.ssl_options.client_renegotiation", "rabbitmq_auth_backend_ldap.ssl_options.client_renegotiation", BOOLEAN, "", "There is no renegotiation: `false` only.";
        "auth_ldap.ssl_options.honor_cipher_order", "rabbitmq_auth_backend_ldap.ssl_options.honor_cipher_order", BOOLEAN, "", "The server decides.";
        "auth_ldap.ssl_options.honor_ecc_order", "rabbitmq_auth_backend_ldap.ssl_options.honor_ecc_order", BOOLEAN, "", "The server decides.";
        "auth_ldap.ssl_options.log_alert", "rabbitmq_auth_backend_ldap.ssl_options.log_alert", BOOLEAN, "", "Failures are always logged.";
        "auth_ldap.ssl_options.secure_renegotiate", "rabbitmq_auth_backend_ldap.ssl_options.secure_renegotiate", BOOLEAN, "", "There is no renegotiation.";
        "auth_ldap.queries.vhost_access", "rabbitmq_auth_backend_ldap.vhost_access_query", TEXT, "{constant,true}", "Query that decides who may open a virtual host.";
        "auth_ldap.queries.resource_access", "rabbitmq_auth_backend_ldap.resource_access_query", TEXT, "{constant,true}", "Query that decides who has a permission on a queue or an exchange.";
        "auth_ldap.queries.topic_access", "rabbitmq_auth_backend_ldap.topic_access_query", TEXT, "{constant,true}", "Query that decides who may use a routing key on a topic exchange.";
        "auth_ldap.queries.tags", "rabbitmq_auth_backend_ldap.tag_queries", TEXT, "[{administrator,{constant,false}}]", "Queries that decide who has which tag.";
    }
}

rows! {
    State::Refused(NO_SUCH_TLS) => {
        "auth_ldap.ssl_options.cert", "rabbitmq_auth_backend_ldap.ssl_options.cert", TEXT, "";
        "auth_ldap.ssl_options.dh", "rabbitmq_auth_backend_ldap.ssl_options.dh", TEXT, "";
        "auth_ldap.ssl_options.dhfile", "rabbitmq_auth_backend_ldap.ssl_options.dhfile", TEXT, "";
        "auth_ldap.ssl_options.psk_identity", "rabbitmq_auth_backend_ldap.ssl_options.psk_identity", TEXT, "";
        "auth_ldap.ssl_options.reuse_sessions", "rabbitmq_auth_backend_ldap.ssl_options.reuse_sessions", BOOLEAN, "";
        "auth_ldap.ssl_options.key.RSAPrivateKey", "rabbitmq_auth_backend_ldap.ssl_options.key", TEXT, "";
        "auth_ldap.ssl_options.key.DSAPrivateKey", "rabbitmq_auth_backend_ldap.ssl_options.key", TEXT, "";
        "auth_ldap.ssl_options.key.PrivateKeyInfo", "rabbitmq_auth_backend_ldap.ssl_options.key", TEXT, "";
    }
}
