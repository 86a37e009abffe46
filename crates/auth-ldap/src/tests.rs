//! Queries over a directory that is written down.

use super::*;
use std::collections::BTreeMap;

/// Entries by their names, each with attributes.
#[derive(Clone, Default)]
struct Written {
    entries: Vec<(&'static str, Vec<(&'static str, &'static str)>)>,
    /// Names of entries that cannot be asked for.
    broken: Vec<&'static str>,
    searches: usize,
}

impl Directory for Written {
    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attribute: &str,
    ) -> Result<Vec<Entry>, DirectoryError> {
        self.searches += 1;
        if self.broken.contains(&base) {
            return Err(DirectoryError::Search("insufficientAccess".to_owned()));
        }
        let is_below = |dn: &str| match scope {
            Scope::Base => dn == base,
            Scope::OneLevel => dn.split_once(',').is_some_and(|(_, above)| above == base),
            Scope::Subtree => dn == base || dn.ends_with(&format!(",{base}")),
        };
        let fits = |attributes: &[(&str, &str)]| match filter {
            Filter::All => true,
            Filter::Equals(name, value) => attributes.contains(&(name.as_str(), value.as_str())),
        };
        let found = self.entries.iter();
        let found = found.filter(|(dn, attributes)| is_below(dn) && fits(attributes));
        Ok(found
            .map(|(dn, attributes)| Entry {
                dn: (*dn).to_owned(),
                values: attributes
                    .iter()
                    .filter(|(name, _)| *name == attribute)
                    .map(|(_, value)| (*value).to_owned())
                    .collect(),
            })
            .collect())
    }
}

fn directory() -> Written {
    Written {
        entries: vec![
            ("dc=x", vec![]),
            (
                "cn=anna,ou=people,dc=x",
                vec![("mail", "anna@x"), ("role", "dev"), ("role", "ops")],
            ),
            ("cn=bert,ou=people,dc=x", vec![("mail", "bert@x")]),
            (
                "cn=admins,ou=groups,dc=x",
                vec![("member", "cn=anna,ou=people,dc=x")],
            ),
            (
                "cn=staff,ou=groups,dc=x",
                vec![("member", "cn=admins,ou=groups,dc=x")],
            ),
            (
                "cn=all,ou=groups,dc=x",
                vec![("member", "cn=staff,ou=groups,dc=x")],
            ),
            // A circle.
            (
                "cn=a,ou=groups,dc=x",
                vec![
                    ("member", "cn=b,ou=groups,dc=x"),
                    ("member", "cn=bert,ou=people,dc=x"),
                ],
            ),
            (
                "cn=b,ou=groups,dc=x",
                vec![("member", "cn=a,ou=groups,dc=x")],
            ),
            (
                "cn=prod-users,ou=vhosts,dc=x",
                vec![("uniqueMember", "cn=anna,ou=people,dc=x")],
            ),
            ("cn=rules,dc=x", vec![("pattern", "^q-"), ("pattern", "^x")]),
        ],
        broken: vec!["cn=secret,dc=x"],
        searches: 0,
    }
}

async fn answer_of(username: &str, query: &Query) -> Result<bool, DirectoryError> {
    let user_dn = format!("cn={username},ou=people,dc=x");
    let mut variables = Variables::of_user(username);
    variables.set("user_dn", &user_dn);
    variables.set("vhost", "prod");
    variables.set("resource", "queue");
    variables.set("name", "q-1");
    variables.set("permission", "read");
    evaluate(query, &variables, Some("ou=groups,dc=x"), &mut directory()).await
}

async fn answer(query: Query) -> Result<bool, DirectoryError> {
    answer_of("anna", &query).await
}

fn exists(dn: &str) -> Query {
    Query::Exists(dn.into())
}

fn literal(text: &str) -> Text {
    Text::Literal(text.into())
}

fn attribute(dn: &str, name: &str) -> Text {
    Text::Attribute {
        dn: dn.into(),
        attribute: name.to_owned(),
    }
}

const YES: Query = Query::Constant(true);
const NO: Query = Query::Constant(false);

#[tokio::test]
async fn entries_and_members_are_found() {
    assert_eq!(
        answer(exists("cn=${username},ou=people,dc=x")).await,
        Ok(true)
    );
    assert_eq!(
        answer(exists("cn=${vhost}-users,ou=vhosts,dc=x")).await,
        Ok(true)
    );
    assert_eq!(answer(exists("cn=nobody,dc=x")).await, Ok(false));
    assert!(answer(exists("cn=secret,dc=x")).await.is_err());
    let member = |dn: &str, attribute: &str| Query::InGroup {
        dn: dn.into(),
        attribute: attribute.to_owned(),
    };
    assert_eq!(
        answer(member("cn=admins,ou=groups,dc=x", "member")).await,
        Ok(true)
    );
    assert_eq!(
        answer(member("cn=staff,ou=groups,dc=x", "member")).await,
        Ok(false)
    );
    let vhost = member("cn=${vhost}-users,ou=vhosts,dc=x", "uniqueMember");
    assert_eq!(answer_of("anna", &vhost).await, Ok(true));
    assert_eq!(answer_of("bert", &vhost).await, Ok(false));
}

#[tokio::test]
async fn groups_in_groups_are_looked_into_once() {
    let nested = |dn: &str, scope| Query::InGroupNested {
        dn: dn.into(),
        attribute: "member".to_owned(),
        scope,
    };
    let all = nested("CN=All,ou=groups,dc=x", Scope::Subtree);
    assert_eq!(answer_of("anna", &all).await, Ok(true));
    assert_eq!(answer_of("bert", &all).await, Ok(false));
    let b = nested("cn=b,ou=groups,dc=x", Scope::OneLevel);
    assert_eq!(answer_of("bert", &b).await, Ok(true));
    assert_eq!(answer_of("anna", &b).await, Ok(false));
    let variables = Variables::of_user("anna");
    assert!(
        evaluate(&all, &variables, None, &mut directory())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_first_case_that_fits_decides() {
    let case = |name: &str, value: &str, query| (name.to_owned(), value.to_owned(), query);
    let query = Query::For(vec![
        case("permission", "configure", NO),
        case(
            "permission",
            "read",
            Query::For(vec![
                case("resource", "exchange", NO),
                case("resource", "queue", exists("cn=${username},ou=people,dc=x")),
            ]),
        ),
    ]);
    assert_eq!(answer(query).await, Ok(true));
    assert!(
        answer(Query::For(vec![case("permission", "write", YES)]))
            .await
            .is_err()
    );
    assert!(
        answer(Query::For(vec![case("routing_key", "x", YES)]))
            .await
            .is_err()
    );
    assert!(answer(Query::For(vec![])).await.is_err());
}

#[tokio::test]
async fn answers_are_combined() {
    let broken = || exists("cn=secret,dc=x");
    for (query, expected) in [
        (Query::And(vec![]), true),
        (Query::And(vec![YES, YES]), true),
        (Query::And(vec![YES, NO]), false),
        (Query::And(vec![YES, broken()]), false),
        (Query::Or(vec![]), false),
        (Query::Or(vec![NO, YES]), true),
        (Query::Or(vec![NO, broken(), YES]), true),
        (Query::Or(vec![NO, broken()]), false),
        (Query::Not(Box::new(YES)), false),
        (Query::Not(Box::new(exists("cn=nobody,dc=x"))), true),
    ] {
        assert_eq!(answer_of("anna", &query).await, Ok(expected), "{query:?}");
    }
    assert!(answer(Query::Not(Box::new(broken()))).await.is_err());
}

#[tokio::test]
async fn texts_and_attributes_are_compared_and_matched() {
    let own = |name: &str| attribute("${user_dn}", name);
    for (query, expected) in [
        (Query::Equals(literal("${username}"), literal("anna")), true),
        (
            Query::Equals(literal("${username}"), literal("Anna")),
            false,
        ),
        (Query::Equals(own("mail"), literal("${username}@x")), true),
        (Query::Equals(literal("ops"), own("role")), true),
        (Query::Equals(own("role"), literal("boss")), false),
        (Query::Equals(own("nothing"), literal("x")), false),
        (
            Query::Equals(attribute("cn=nobody", "x"), literal("x")),
            false,
        ),
        (
            Query::Equals(attribute("cn=secret,dc=x", "x"), literal("x")),
            false,
        ),
        (Query::Match(literal("${name}"), literal("^q-")), true),
        (
            Query::Match(literal("${name}"), literal("^${username}-")),
            false,
        ),
        (
            Query::Match(literal("${name}"), attribute("cn=rules,dc=x", "pattern")),
            true,
        ),
        (Query::Match(own("role"), literal("^o")), true),
        (
            Query::Match(own("role"), attribute("cn=rules,dc=x", "pattern")),
            false,
        ),
        (Query::Match(literal("x"), literal("(")), false),
        (
            Query::Match(
                literal("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
                literal("(?=(a+)+$)"),
            ),
            false,
        ),
    ] {
        assert_eq!(answer_of("anna", &query).await, Ok(expected), "{query:?}");
    }
}

#[tokio::test]
async fn nobody_gets_into_a_group_by_their_name() {
    let query = Query::Exists("cn=${username},ou=people,dc=x".into());
    for name in ["anna,ou=people,dc=x", "x)(cn=anna", "*", "anna\0"] {
        assert_eq!(answer_of(name, &query).await, Ok(false), "{name:?}");
    }
}

#[tokio::test]
async fn a_users_entry_is_looked_for_and_must_be_the_only_one() {
    let mut settings = Settings::default();
    for (key, value) in [
        ("user_dn_pattern", "${username}@x"),
        ("dn_lookup_attribute", "mail"),
        ("dn_lookup_base", "ou=people,dc=x"),
    ] {
        settings.set(&[key], value).unwrap();
    }
    let mut directory = directory();
    let found = lookup(&mut directory, &settings, "anna").await;
    assert_eq!(found.as_deref(), Ok("cn=anna,ou=people,dc=x"));
    let by_pattern = lookup(&mut directory, &settings, "nobody").await;
    assert_eq!(by_pattern.as_deref(), Ok("nobody@x"));
    directory
        .entries
        .push(("cn=other,ou=people,dc=x", vec![("mail", "anna@x")]));
    let by_pattern = lookup(&mut directory, &settings, "anna").await;
    assert_eq!(by_pattern.as_deref(), Ok("anna@x"));
}

#[tokio::test]
async fn tags_are_those_whose_queries_say_yes() {
    let mut settings = Settings::default();
    let tags: BTreeMap<&str, Query> = [
        ("administrator", exists("cn=secret,dc=x")),
        ("management", YES),
        ("monitoring", exists("cn=${username},ou=people,dc=x")),
        ("policymaker", NO),
    ]
    .into();
    settings.tags = tags
        .into_iter()
        .map(|(tag, query)| TagQuery {
            tag: tag.to_owned(),
            query,
        })
        .collect();
    let login = login("anna", "cn=anna,ou=people,dc=x".to_owned(), None);
    let login = with_tags(&mut directory(), &settings, login).await.unwrap();
    assert_eq!(login.tags(), ["management", "monitoring"]);
}

#[test]
fn settings_that_do_not_fit_together_are_told() {
    let problem = |lines: &[(&str, &str)]| {
        let mut settings = Settings::default();
        for (key, value) in lines {
            let parts: Vec<&str> = key.split('.').collect();
            settings.set(&parts, value).unwrap();
        }
        Ldap::new(&settings).unwrap_err().to_string()
    };
    let server = ("servers.1", "ldap.example.org");
    assert!(problem(&[]).contains("auth_ldap.servers"));
    assert!(
        problem(&[server, ("use_ssl", "true"), ("use_starttls", "true")])
            .contains("exclude each other")
    );
    assert!(problem(&[server, ("dn_lookup_attribute", "cn")]).contains("dn_lookup_base"));
    assert!(problem(&[server, ("other_bind.user_dn", "cn=x")]).contains("other_bind"));
    assert!(
        problem(&[
            server,
            ("use_ssl", "true"),
            ("ssl_options.cacertfile", "/nowhere")
        ])
        .contains("/nowhere")
    );
    for (key, value) in [
        ("servers.1", "ldap://x"),
        ("port", "0"),
        ("log", "network_unsafe"),
        ("connection_pool_size", "0"),
        ("timeout", "soon"),
        ("dn_lookup_attribute", "(cn=*)"),
        ("other_bind", "root"),
        ("ssl_options.crl_check", "peer"),
        ("surprise", "1"),
    ] {
        let parts: Vec<&str> = key.split('.').collect();
        assert!(
            Settings::default().set(&parts, value).is_err(),
            "{key} = {value}"
        );
    }
}

#[test]
fn passwords_do_not_show() {
    let mut settings = Settings::default();
    settings
        .set(&["other_bind", "password"], "plain:canary")
        .unwrap();
    settings.set(&["other_bind", "user_dn"], "cn=x").unwrap();
    assert_eq!(
        settings.other_bind,
        Bind::As("cn=x".to_owned(), "canary".to_owned())
    );
    let login = login("anna", "cn=anna".to_owned(), Some("canary"));
    assert!(!format!("{settings:?} {login:?}").contains("canary"));
}

/// A future that a thread of another runtime may drive.
#[test]
fn questions_may_be_asked_from_any_thread() {
    fn is_send<T: Send>(_: T) {}
    let mut settings = Settings::default();
    settings.set(&["servers", "1"], "localhost").unwrap();
    let ldap = Ldap::new(&settings).unwrap();
    let login = login("anna", "cn=anna".to_owned(), None);
    is_send(ldap.authenticate("anna", None));
    is_send(ldap.may_access_vhost(&login, "/"));
}
