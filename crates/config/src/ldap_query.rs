//! Queries of the LDAP backend, from Erlang terms.
//!
//! ```text
//! {in_group, "cn=${vhost}-users,ou=vhosts,dc=example,dc=com"}
//! ```
//!
//! RabbitMQ docs: ldap#query-types. What a query means is not known here.

use crate::erlang::{self, Node, Term};
use auth_ldap::{Query, Scope, TagQuery, Template, Text};

/// Reads a query; the full stop behind it may be missing.
///
/// # Errors
/// What was expected.
pub(crate) fn query(text: &str) -> Result<Query, String> {
    read(&term(text)?)
}

/// Reads a list of tags and their queries.
///
/// # Errors
/// What was expected.
pub(crate) fn tags(text: &str) -> Result<Vec<TagQuery>, String> {
    let term = term(text)?;
    let items = term.list().ok_or("a list of {tag, Query}")?;
    let tag = |item: &Node| {
        let (tag, query) = item.pair().ok_or("{tag, Query}")?;
        Ok(TagQuery {
            tag: tag.to_owned(),
            query: read(query)?,
        })
    };
    items.iter().map(tag).collect()
}

fn term(text: &str) -> Result<Node, String> {
    let text = text.trim();
    let dot = if text.ends_with('.') { "" } else { "." };
    erlang::parse(&format!("{text}{dot}")).map_err(|error| {
        format!(
            "a query as an Erlang term, and in its line {} {}",
            error.line, error.expected
        )
    })
}

/// The term's depth is bounded by its parser.
fn read(node: &Node) -> Result<Query, String> {
    let misfit = || format!("a query and not {node}");
    let [name, arguments @ ..] = node.tuple().ok_or_else(misfit)? else {
        return Err(misfit());
    };
    Ok(match (name.atom().ok_or_else(misfit)?, arguments) {
        ("constant", [answer]) => match answer.atom() {
            Some("true") => Query::Constant(true),
            Some("false") => Query::Constant(false),
            _ => return Err(misfit()),
        },
        ("exists", [dn]) => Query::Exists(template(dn)?),
        ("in_group", [dn, rest @ ..]) if rest.len() <= 1 => Query::InGroup {
            dn: template(dn)?,
            attribute: member(rest.first())?,
        },
        ("in_group_nested", [dn, rest @ ..]) if rest.len() <= 2 => Query::InGroupNested {
            dn: template(dn)?,
            attribute: member(rest.first())?,
            scope: match rest.get(1).map(Node::atom) {
                None | Some(Some("subtree")) => Scope::Subtree,
                Some(Some("singlelevel" | "single_level" | "onelevel" | "one_level")) => {
                    Scope::OneLevel
                }
                Some(_) => return Err("subtree or single_level".to_owned()),
            },
        },
        ("for", [cases]) => {
            let cases = cases.list().ok_or_else(misfit)?;
            Query::For(cases.iter().map(case).collect::<Result<_, _>>()?)
        }
        ("not", [query]) => Query::Not(Box::new(read(query)?)),
        ("and", [queries]) => Query::And(all(queries)?),
        ("or", [queries]) => Query::Or(all(queries)?),
        ("equals", [one, other]) => Query::Equals(text(one)?, text(other)?),
        ("match", [subject, pattern]) => Query::Match(text(subject)?, text(pattern)?),
        _ => return Err(misfit()),
    })
}

fn all(node: &Node) -> Result<Vec<Query>, String> {
    let queries = node
        .list()
        .ok_or_else(|| format!("a list of queries and not {node}"))?;
    queries.iter().map(read).collect()
}

fn case(node: &Node) -> Result<(String, String, Query), String> {
    let misfit = || format!("{{variable, value, Query}} and not {node}");
    let Some([variable, value, query]) = node.tuple() else {
        return Err(misfit());
    };
    let variable = variable.atom().ok_or_else(misfit)?;
    let value = value.scalar().ok_or_else(misfit)?;
    Ok((variable.to_owned(), value, read(query)?))
}

fn text(node: &Node) -> Result<Text, String> {
    let misfit = || format!("{{string, Text}} or {{attribute, DN, Name}} and not {node}");
    match node.tuple() {
        None => template(node).map(Text::Literal),
        Some([kind, literal]) if kind.atom() == Some("string") => {
            template(literal).map(Text::Literal)
        }
        Some([kind, dn, name]) if kind.atom() == Some("attribute") => Ok(Text::Attribute {
            dn: template(dn)?,
            attribute: attribute(name)?,
        }),
        Some(_) => Err(misfit()),
    }
}

fn template(node: &Node) -> Result<Template, String> {
    match &node.term {
        Term::String(text) | Term::Binary(text) => Ok(Template::from(text.as_str())),
        Term::Atom(_) | Term::Integer(_) | Term::Float(_) | Term::List(_) | Term::Tuple(_) => {
            Err(format!("a text in quotes and not {node}"))
        }
    }
}

fn attribute(node: &Node) -> Result<String, String> {
    auth_ldap::attribute(&node.scalar().unwrap_or_default())
}

/// The attribute of a group that holds its members.
fn member(node: Option<&Node>) -> Result<String, String> {
    node.map_or_else(|| Ok("member".to_owned()), attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let group = |dn: &str, attribute: &str| Query::InGroup {
            dn: dn.into(),
            attribute: attribute.to_owned(),
        };
        let nested = |attribute: &str, scope| Query::InGroupNested {
            dn: "g".into(),
            attribute: attribute.to_owned(),
            scope,
        };
        let literal = |text: &str| Text::Literal(text.into());
        for (text, expected) in [
            ("{constant, true}", Query::Constant(true)),
            ("\n {constant, false}. ", Query::Constant(false)),
            (
                "{exists, \"ou=${vhost},dc=x\"}",
                Query::Exists("ou=${vhost},dc=x".into()),
            ),
            ("{in_group, \"g\"}", group("g", "member")),
            (
                "{in_group, <<\"g\">>, \"uniqueMember\"}",
                group("g", "uniqueMember"),
            ),
            ("{in_group_nested, \"g\"}", nested("member", Scope::Subtree)),
            (
                "{in_group_nested, \"g\", \"m\"}",
                nested("m", Scope::Subtree),
            ),
            (
                "{in_group_nested, \"g\", \"m\", one_level}",
                nested("m", Scope::OneLevel),
            ),
            (
                "{'not', {constant, true}}",
                Query::Not(Box::new(Query::Constant(true))),
            ),
            ("{'and', []}", Query::And(vec![])),
            (
                "{'or', [{constant, true}]}",
                Query::Or(vec![Query::Constant(true)]),
            ),
            (
                "{for, [{permission, read, {constant, true}}, {vhost, <<\"a b\">>, {constant, false}}]}",
                Query::For(vec![
                    (
                        "permission".to_owned(),
                        "read".to_owned(),
                        Query::Constant(true),
                    ),
                    ("vhost".to_owned(), "a b".to_owned(), Query::Constant(false)),
                ]),
            ),
            (
                "{equals, \"${username}\", {string, \"anna\"}}",
                Query::Equals(literal("${username}"), literal("anna")),
            ),
            (
                "{match, {attribute, \"${user_dn}\", \"mail\"}, {string, \"@x$\"}}",
                Query::Match(
                    Text::Attribute {
                        dn: "${user_dn}".into(),
                        attribute: "mail".to_owned(),
                    },
                    literal("@x$"),
                ),
            ),
        ] {
            assert_eq!(query(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_query_is_told() {
        for (text, expected) in [
            ("true", "a query and not true"),
            ("{}", "a query and not {}"),
            ("{constant, maybe}", "a query and not {constant,maybe}"),
            ("{in_group}", "a query and not {in_group}"),
            ("{in_group, group}", "a text in quotes and not group"),
            ("{in_group, \"g\", \"(x=*)\"}", "the name of an attribute"),
            (
                "{in_group_nested, \"g\", \"m\", up}",
                "subtree or single_level",
            ),
            (
                "{'and', {constant, true}}",
                "a list of queries and not {constant,true}",
            ),
            (
                "{for, [{permission, read}]}",
                "{variable, value, Query} and not {permission,read}",
            ),
            (
                "{equals, {constant, true}, \"x\"}",
                "{string, Text} or {attribute, DN, Name} and not {constant,true}",
            ),
            (
                "{constant,\ntrue",
                "a query as an Erlang term, and in its line 2 ',' or '}'",
            ),
        ] {
            assert_eq!(query(text), Err(expected.to_owned()), "{text}");
        }
        let deep = "{'not',".repeat(100_000);
        assert!(query(&deep).unwrap_err().contains("64 deep"));
    }

    #[test]
    fn tags_are_read() {
        let tag = |tag: &str, answer| TagQuery {
            tag: tag.to_owned(),
            query: Query::Constant(answer),
        };
        assert_eq!(
            tags("[{administrator, {constant, false}}, {management, {constant, true}}]"),
            Ok(vec![tag("administrator", false), tag("management", true)])
        );
        assert_eq!(tags("[]"), Ok(vec![]));
        assert!(tags("{administrator, {constant, false}}").is_err());
        assert!(tags("[administrator]").is_err());
    }
}
