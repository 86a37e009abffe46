//! Settings of authentication backends whose Erlang terms are maps and lists of lists.

use super::Reader;
use crate::erlang::Node;

impl Reader<'_> {
    /// `false` if the setting is a plain one.
    pub(super) fn oauth2(&mut self, path: &str, node: &Node) -> bool {
        let Some(setting) = path.strip_prefix("rabbitmq_auth_backend_oauth2.") else {
            return false;
        };
        match setting {
            "scope_aliases" => self.scope_aliases(node, path, "auth_oauth2"),
            "key_config.signing_keys" => self.signing_keys(node, path, "auth_oauth2"),
            "discovery_endpoint_params" => self.texts(node, path, "auth_oauth2", setting),
            "oauth_providers" => {
                for (name, settings) in self.bindings(node, path) {
                    let prefix = format!("auth_oauth2.oauth_providers.{}", escaped(&name));
                    self.provider(settings, path, &prefix);
                }
            }
            "resource_servers" => {
                for (name, settings) in self.bindings(node, path) {
                    let prefix = format!("auth_oauth2.resource_servers.{}", escaped(&name));
                    self.resource_server(settings, path, &prefix);
                }
            }
            _ => return false,
        }
        true
    }

    /// `false` if the setting is a plain one.
    pub(super) fn ldap(&mut self, path: &str, node: &Node) -> bool {
        match path.strip_prefix("rabbitmq_auth_backend_ldap.") {
            Some("vhost_access_query") => self.query(node, "vhost_access"),
            Some("resource_access_query") => self.query(node, "resource_access"),
            Some("topic_access_query") => self.query(node, "topic_access"),
            Some("tag_queries") => self.query(node, "tags"),
            Some(name @ ("other_bind" | "dn_lookup_bind")) => match node.tuple() {
                Some([dn, password]) => {
                    self.text(dn, path, format!("auth_ldap.{name}.user_dn"));
                    self.text(password, path, format!("auth_ldap.{name}.password"));
                }
                _ => self.text(node, path, format!("auth_ldap.{name}")),
            },
            _ => return false,
        }
        true
    }

    /// A query as text, which is read again where those of `rabbitmq.conf` are.
    fn query(&mut self, node: &Node, name: &str) {
        self.entry(node, format!("auth_ldap.queries.{name}"), node.to_string());
    }

    fn provider(&mut self, node: &Node, path: &str, prefix: &str) {
        for (setting, value) in self.bindings(node, path) {
            match setting.as_str() {
                "signing_keys" => self.signing_keys(value, path, prefix),
                "algorithms" => self.numbered(value, path, &format!("{prefix}.{setting}")),
                "discovery_endpoint_params" | "https" => {
                    self.texts(value, path, prefix, &setting);
                }
                _ => self.text(value, path, format!("{prefix}.{setting}")),
            }
        }
    }

    fn resource_server(&mut self, node: &Node, path: &str, prefix: &str) {
        for (setting, value) in self.bindings(node, path) {
            match setting.as_str() {
                "scope_aliases" => self.scope_aliases(value, path, prefix),
                "preferred_username_claims" => {
                    self.numbered(value, path, &format!("{prefix}.{setting}"));
                }
                "extra_scopes_source" => {
                    self.text(value, path, format!("{prefix}.additional_scopes_key"));
                }
                _ => self.text(value, path, format!("{prefix}.{setting}")),
            }
        }
    }

    /// `#{<<"alias">> => [<<"scope">>, ...]}`.
    fn scope_aliases(&mut self, node: &Node, path: &str, prefix: &str) {
        for (alias, scopes) in self.bindings(node, path) {
            let scopes = match scopes.list() {
                Some(items) => items.iter().map(Node::scalar).collect(),
                None => scopes.scalar().map(|one| vec![one]),
            };
            match scopes {
                Some(scopes) => {
                    let key = format!("{prefix}.scope_aliases.{}", escaped(&alias));
                    self.entry(node, key, scopes.join(" "));
                }
                None => self.expect(node, path, "an alias and a list of scopes"),
            }
        }
    }

    /// `#{<<"id">> => {pem, <<"...">>}}`; the other kinds are `pem_file`, `map` and `json`.
    fn signing_keys(&mut self, node: &Node, path: &str, prefix: &str) {
        for (id, key) in self.bindings(node, path) {
            let value = match key.pair() {
                Some(("pem" | "pem_file" | "json", value)) => value.scalar(),
                Some(("map", value)) => {
                    let members = self.bindings(value, path);
                    let members = members
                        .into_iter()
                        .map(|(name, value)| Some((name, value.scalar()?.into())));
                    let members: Option<serde_json::Map<_, _>> = members.collect();
                    members.map(|members| serde_json::Value::Object(members).to_string())
                }
                _ => None,
            };
            match value {
                Some(value) => {
                    self.entry(
                        key,
                        format!("{prefix}.signing_keys.{}", escaped(&id)),
                        value,
                    );
                }
                None => self.expect(
                    key,
                    path,
                    "{pem, Text}, {pem_file, Path}, {json, Text} or {map, Map}",
                ),
            }
        }
    }

    /// A map, or a list of pairs, of texts.
    fn texts(&mut self, node: &Node, path: &str, prefix: &str, setting: &str) {
        for (name, value) in self.bindings(node, path) {
            self.text(
                value,
                path,
                format!("{prefix}.{setting}.{}", escaped(&name)),
            );
        }
    }

    /// A list of texts as numbered keys.
    fn numbered(&mut self, node: &Node, path: &str, key: &str) {
        let Some(items) = node.list() else {
            return self.expect(node, path, "a list");
        };
        for (index, item) in items.iter().enumerate() {
            self.text(item, path, format!("{key}.{}", index + 1));
        }
    }

    fn text(&mut self, node: &Node, path: &str, key: String) {
        match node.scalar() {
            Some(value) => self.entry(node, key, value),
            None => self.expect(node, path, "an atom, number, string or binary"),
        }
    }

    /// The pairs of a map or of a list of pairs.
    fn bindings<'n>(&mut self, node: &'n Node, path: &str) -> Vec<(String, &'n Node)> {
        let Some(items) = node.list() else {
            self.expect(node, path, "a map or a list of pairs");
            return Vec::new();
        };
        let mut bindings = Vec::new();
        for item in items {
            match item.tuple() {
                Some([name, value]) if name.scalar().is_some() => {
                    bindings.push((name.scalar().unwrap_or_default(), value));
                }
                _ => self.expect(item, path, "a pair"),
            }
        }
        bindings
    }
}

/// A name as a part of a key.
fn escaped(name: &str) -> String {
    name.replace('.', "\\.")
}
