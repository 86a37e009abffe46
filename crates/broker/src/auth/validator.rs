//! What a password has to be like before a user gets it.
//!
//! Hashes are not looked at: what they were made from is not known. RabbitMQ docs: passwords#validation.

use super::Pattern;

/// The rule that an operator has chosen (`credential_validator`).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CredentialValidator {
    /// Any password, and none.
    #[default]
    AcceptEverything,
    /// At least so many bytes.
    MinLength(usize),
    /// This pattern is found in it.
    Regexp(Pattern),
}

impl CredentialValidator {
    /// Whether a user may have this password; `None` for none at all.
    ///
    /// # Errors
    /// What is wrong, in RabbitMQ's words.
    pub fn check(&self, password: Option<&str>) -> Result<(), String> {
        match self {
            Self::AcceptEverything => Ok(()),
            Self::MinLength(min) if password.is_some_and(|text| text.len() >= *min) => Ok(()),
            Self::MinLength(min) => Err(format!("minimum required password length is {min}")),
            Self::Regexp(pattern) if password.is_some_and(|text| pattern.matches(text)) => Ok(()),
            Self::Regexp(_) => {
                Err("provided password does not match the validator regular expression".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_says_what_it_wants() {
        let short = CredentialValidator::MinLength(5);
        assert_eq!(short.check(Some("abcde")), Ok(()));
        assert_eq!(
            short.check(Some("abcd")).unwrap_err(),
            "minimum required password length is 5"
        );
        assert!(short.check(None).is_err());
        let digits = CredentialValidator::Regexp(Pattern::new("^[a-z]+[0-9]$").unwrap());
        assert_eq!(digits.check(Some("abc1")), Ok(()));
        assert!(digits.check(Some("abc")).is_err());
        assert!(digits.check(None).is_err());
        assert_eq!(CredentialValidator::default().check(None), Ok(()));
    }
}
