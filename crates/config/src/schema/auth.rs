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
            draft.settings.default_pass = Secret::from(value);
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
            Pattern::new(value).map_err(|_| "a regular expression")?;
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
            Pattern::new(value).map_err(|_| "a regular expression")?;
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
            Pattern::new(value).map_err(|_| "a regular expression")?;
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
            default_user(draft, name).password = Some(Secret::from(value));
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
            draft.settings.anonymous_login_pass = Secret::from(value);
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
