//! Texts with variables: `cn=${username},ou=people,dc=example,dc=com`.
//!
//! A variable is replaced once, and what it holds is not looked at again. In a distinguished name what a variable holds is a value and
//! nothing more (RFC 4514 2.4), so that nobody changes the name by theirs.

use std::borrow::Cow;

/// A text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Template {
    /// The text with its variables, as it is compared and matched. Variables that there are not stay as they are.
    pub(crate) fn fill(&self, variables: &Variables<'_>) -> String {
        self.replace(|name| variables.get(name).map(Cow::Borrowed))
    }

    /// The text as a distinguished name.
    pub(crate) fn fill_dn(&self, variables: &Variables<'_>) -> String {
        let active_directory = variables.active_directory.filter(|split| split.is_safe());
        self.replace(|name| match (name, active_directory) {
            // It is one already.
            ("user_dn", _) => variables.get(name).map(Cow::Borrowed),
            // `DOMAIN\user` is no value but what Active Directory takes in the place of a name.
            ("username", Some(Split { domain, user })) => Some(Cow::Owned(format!(
                "{}\\{}",
                escaped(domain),
                escaped(user)
            ))),
            ("ad_domain" | "ad_user", None) => None,
            _ => variables.get(name).map(escaped).map(Cow::Owned),
        })
    }

    fn replace<'v>(&self, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> String {
        let mut filled = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
        while let Some((before, behind)) = rest.split_once("${") {
            filled.push_str(before);
            let found = behind.split_once('}');
            match found.and_then(|(name, after)| Some((value(name)?, after))) {
                Some((value, after)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                None => {
                    filled.push_str("${");
                    rest = behind;
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

/// What variables hold.
#[derive(Clone, Debug)]
pub(crate) struct Variables<'a> {
    values: Vec<(&'static str, &'a str)>,
    active_directory: Option<Split<'a>>,
}

/// A name of the form `DOMAIN\user`.
#[derive(Clone, Copy, Debug)]
struct Split<'a> {
    domain: &'a str,
    user: &'a str,
}

impl Split<'_> {
    /// Whether the backslash between the two cannot be taken for the beginning of something else.
    fn is_safe(&self) -> bool {
        !self.user.contains('\\') && !escaped(self.user).starts_with('\\')
    }
}

impl<'a> Variables<'a> {
    pub(crate) fn of_user(username: &'a str) -> Self {
        let active_directory = username
            .split_once('\\')
            .filter(|(domain, user)| !domain.is_empty() && !user.is_empty())
            .map(|(domain, user)| Split { domain, user });
        let mut values = vec![("username", username)];
        if let Some(Split { domain, user }) = active_directory {
            values.extend([("ad_domain", domain), ("ad_user", user)]);
        }
        Self {
            values,
            active_directory,
        }
    }

    pub(crate) fn set(&mut self, name: &'static str, value: &'a str) {
        self.values.push((name, value));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values.iter();
        values.find_map(|(known, value)| (*known == name).then_some(*value))
    }
}

/// A value as a part of a distinguished name.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '\0' => text.push_str("\\00"),
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                text.push('\\');
                text.push(character);
            }
            ' ' | '#' if index == 0 => {
                text.push('\\');
                text.push(character);
            }
            ' ' if index == last => text.push_str("\\ "),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, username: &str) -> String {
        Template::from(template).fill_dn(&Variables::of_user(username))
    }

    #[test]
    fn variables_are_replaced_once() {
        let mut variables = Variables::of_user("${vhost}");
        variables.set("vhost", "v");
        let fill = |text: &str| Template::from(text).fill(&variables);
        assert_eq!(fill("x${username}-${vhost}${vhost}"), "x${vhost}-vv");
        for unchanged in ["", "${", "${}", "${nothing}", "${vhost", "$vhost", "}${"] {
            assert_eq!(fill(unchanged), unchanged);
        }
        assert_eq!(fill("${${vhost}"), "${v");
    }

    #[test]
    fn values_stay_values_in_a_distinguished_name() {
        for (username, expected) in [
            ("anna", "cn=anna,dc=x"),
            ("evil,ou=admins", r"cn=evil\,ou=admins,dc=x"),
            (r#"+"<>;"#, r#"cn=\+\"\<\>\;,dc=x"#),
            (" both ", r"cn=\ both\ ,dc=x"),
            ("#x", r"cn=\#x,dc=x"),
            (" ", r"cn=\ ,dc=x"),
            ("a b", "cn=a b,dc=x"),
            ("a\0b", r"cn=a\00b,dc=x"),
            ("", "cn=,dc=x"),
            ("\\", r"cn=\\,dc=x"),
        ] {
            assert_eq!(filled("cn=${username},dc=x", username), expected);
        }
        let mut variables = Variables::of_user("x,y");
        variables.set("user_dn", "cn=a,dc=b");
        let template = Template::from("${user_dn};${username}");
        assert_eq!(template.fill_dn(&variables), r"cn=a,dc=b;x\,y");
    }

    #[test]
    fn names_of_active_directory_keep_their_backslash() {
        assert_eq!(filled("${username}", r"DOM\anna"), r"DOM\anna");
        assert_eq!(filled("${ad_user}@${ad_domain}", r"DOM\anna"), "anna@DOM");
        assert_eq!(filled("${username}", r"D,M\an+na"), r"D\,M\an\+na");
        // Where the backslash could be taken for something else, all of it is a value.
        assert_eq!(filled("${username}", r"DOM\,ou=x"), r"DOM\\\,ou=x");
        assert_eq!(filled("${username}", r"DOM\a\b"), r"DOM\\a\\b");
        assert_eq!(filled("${ad_user}", r"DOM\a\b"), "${ad_user}");
        assert_eq!(filled("${ad_user}", "anna"), "${ad_user}");
        assert_eq!(filled("${username}", r"\anna"), r"\\anna");
    }
}
