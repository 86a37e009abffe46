//! What is logged and where to.

use super::kind::*;
use super::*;
use crate::log::{self, Rotation, RotationDate, SyslogTransport};

/// The keys of one output's form.
macro_rules! format_keys {
    ($prefix:literal, $env:literal, $draft:ident => $format:expr, $text:literal) => {
        [
            format_key!($prefix, $env, "formatter", "formatter", FORMATTER, "plaintext", "Form of a line: text or a JSON object.", $draft => $format),
            format_key!($prefix, $env, "formatter.time_format", "time_format", TEXT, "rfc3339_space", "How the time is written: `rfc3339_space`, `rfc3339_T`, `epoch_usecs`, `epoch_secs` or `lager_default`.", $draft => $format),
            format_key!($prefix, $env, "formatter.level_format", "level_format", LEVEL_FORMAT, "lc", "How the level is written: lower or upper case, whole or three or four letters.", $draft => $format),
            format_key!($prefix, $env, "formatter.single_line", "single_line", FLAG, "off", "Whether a message of several lines stays one.", $draft => $format),
            format_key!($prefix, $env, "formatter.plaintext.format", "plaintext.format", TEXT, $text, "A line of text, with `$time`, `$level`, `$pid` and `$msg` in it.", $draft => $format),
            format_key!($prefix, $env, "formatter.json.verbosity_map", "json.verbosity_map", TEXT, "", "Numbers of levels, such as `debug:7 info:6`, for the object's field `verbosity`.", $draft => $format),
            format_key!($prefix, $env, "formatter.json.field_map", "json.field_map", TEXT, "", "Fields of the object: `time level:severity pid:-` keeps, renames and removes some.", $draft => $format),
        ]
    };
}

macro_rules! format_key {
    ($prefix:literal, $env:literal, $key:literal, $part:literal, $kind:expr, $default:literal, $meaning:literal, $draft:ident => $format:expr) => {
        Key {
            name: concat!($prefix, ".", $key),
            alias: None,
            env: concat!("rabbit.log.", $env, ".formatter"),
            kind: $kind,
            default: $default,
            meaning: $meaning,
            state: State::Honoured(|$draft, _, value| $format.set($part, value)),
        }
    };
}

/// Level, file and rotation of one category.
macro_rules! category_keys {
    ($name:literal) => {
        [
            Key {
                name: concat!("log.", $name, ".level"),
                alias: None,
                env: concat!("rabbit.log.categories.", $name, ".level"),
                kind: LOG_LEVEL,
                default: "",
                meaning: "Least severe level of this category where it differs from `log.level`.",
                state: State::Honoured(|draft, _, value| {
                    category(draft, $name).level = Some(LogLevel::parse(value)?);
                    Ok(())
                }),
            },
            Key {
                name: concat!("log.", $name, ".file"),
                alias: None,
                env: concat!("rabbit.log.categories.", $name, ".file"),
                kind: TEXT,
                default: "",
                meaning: "File of this category in place of the common one, from `log.dir`.",
                state: State::Honoured(|draft, _, value| {
                    category(draft, $name).file = Some(value.into());
                    Ok(())
                }),
            },
            Key {
                name: concat!("log.", $name, ".rotation.date"),
                alias: None,
                env: concat!("rabbit.log.categories.", $name, ".rotate_on_date"),
                kind: TEXT,
                default: "",
                meaning: "As `log.file.rotation.date`, for that file.",
                state: State::Honoured(|draft, _, value| {
                    rotation(draft, $name).date = Some(rotation_date(value)?);
                    Ok(())
                }),
            },
            Key {
                name: concat!("log.", $name, ".rotation.size"),
                alias: None,
                env: concat!("rabbit.log.categories.", $name, ".max_no_bytes"),
                kind: INTEGER_OR_UNIT,
                default: "",
                meaning: "As `log.file.rotation.size`, for that file.",
                state: State::Honoured(|draft, _, value| {
                    rotation(draft, $name).size_bytes = log::rotation_size(value)?;
                    Ok(())
                }),
            },
            Key {
                name: concat!("log.", $name, ".rotation.count"),
                alias: None,
                env: concat!("rabbit.log.categories.", $name, ".max_no_files"),
                kind: INTEGER,
                default: "",
                meaning: "As `log.file.rotation.count`, for that file.",
                state: State::Honoured(|draft, _, value| {
                    rotation(draft, $name).count = rotation_count(value)?;
                    Ok(())
                }),
            },
            Key {
                name: concat!("log.", $name, ".rotation.compress"),
                alias: None,
                env: concat!("rabbit.log.categories.", $name, ".compress_on_rotate"),
                kind: BOOLEAN,
                default: "false",
                meaning: "As `log.file.rotation.compress`, for those files.",
                state: State::Honoured(|draft, _, value| {
                    rotation(draft, $name).compresses = boolean(value)?;
                    Ok(())
                }),
            },
        ]
    };
}

pub(super) static CATEGORY_KEYS: &[[Key; 6]] = &[
    category_keys!("connection"),
    category_keys!("channel"),
    category_keys!("mirroring"),
    category_keys!("queue"),
    category_keys!("federation"),
    category_keys!("upgrade"),
    category_keys!("user"),
    category_keys!("ra"),
];

pub(super) static FORMAT_KEYS: &[[Key; 7]] = &[
    format_keys!("log.console", "console", draft => draft.settings.log.console.output.format, "$time [$level] $pid $msg"),
    format_keys!("log.file", "file", draft => draft.settings.log.file_output.format, "$time [$level] $pid $msg"),
    format_keys!("log.exchange", "exchange", draft => draft.log.exchange.format, "$time [$level] $pid $msg"),
    format_keys!("log.syslog", "syslog", draft => draft.log.syslog.output.format, "$msg"),
];

/// An option of TLS to the syslog server.
macro_rules! syslog_tls_key {
    ($option:literal, $kind:expr, $default:literal, $meaning:literal) => {
        Key {
            name: concat!("log.syslog.ssl_options.", $option),
            alias: None,
            env: "syslog.protocol",
            kind: $kind,
            default: $default,
            meaning: $meaning,
            state: State::Honoured(|draft, _, value| draft.log.syslog.tls.set($option, value)),
        }
    };
}

pub(super) static SYSLOG_TLS_KEYS: &[Key] = &[
    syslog_tls_key!(
        "verify",
        VERIFY,
        "verify_peer",
        "`verify_none` takes any server for the one that is meant."
    ),
    syslog_tls_key!(
        "cacertfile",
        TEXT,
        "",
        "Certificates that vouch for the server, a PEM file; those that the operating system trusts if unset."
    ),
    syslog_tls_key!(
        "certfile",
        TEXT,
        "",
        "A certificate that the server may ask for, a PEM file."
    ),
    syslog_tls_key!(
        "client_renegotiation",
        BOOLEAN,
        "false",
        "There is none; `true` is refused."
    ),
    syslog_tls_key!(
        "crl_check",
        CRL_CHECK,
        "false",
        "Lists of revoked certificates are not read; anything but `false` is refused."
    ),
    syslog_tls_key!(
        "depth",
        BYTE,
        "10",
        "Intermediate certificates between that of the server and a trusted one."
    ),
    syslog_tls_key!(
        "keyfile",
        TEXT,
        "",
        "Its private key, a PEM file; in `certfile` if unset."
    ),
    syslog_tls_key!(
        "password",
        SECRET,
        "",
        "Password of the private key (PKCS#8)."
    ),
    Key {
        name: "log.syslog.ssl_options.versions.$version",
        alias: None,
        env: "syslog.protocol",
        kind: TEXT,
        default: "",
        meaning: "A version that is spoken, `tlsv1.2` or `tlsv1.3`; both if unset.",
        state: State::Honoured(|draft, part, value| {
            draft.log.syslog.tls.set(&format!("versions.{part}"), value)
        }),
    },
];

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "log.level",
        alias: Some("log.default.level"),
        env: "rabbit.log.categories.default.level",
        kind: LOG_LEVEL,
        default: "info",
        meaning: "Least severe level that is logged: `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert`, `emergency` or `none`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.level = LogLevel::parse(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.dir",
        alias: None,
        env: "rabbit.log_root",
        kind: TEXT,
        default: "",
        meaning: "Directory of log files; setting it turns the log file on.",
        state: State::Honoured(|draft, _, value| {
            draft.log.dir = Some(value.into());
            Ok(())
        }),
    },
    Key {
        name: "log.console",
        alias: None,
        env: "rabbit.log.console.enabled",
        kind: BOOLEAN,
        default: "",
        meaning: "Whether the log goes to a standard stream; `true` if there is no log file.",
        state: State::Honoured(|draft, _, value| {
            draft.log.console = Some(boolean(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.console.level",
        alias: None,
        env: "rabbit.log.console.level",
        kind: LOG_LEVEL,
        default: "",
        meaning: "Level of the console log where it differs from `log.level`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console.output.level = Some(LogLevel::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.console.stdio",
        alias: None,
        env: "rabbit.log.console.stdio",
        kind: &[Type::OneOf(&["stdout", "stderr"])],
        default: "stderr",
        meaning: "The stream; the standard output has the line that tells that the node is ready.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console.to_stdout = value == "stdout";
            Ok(())
        }),
    },
    Key {
        name: "log.console.use_colors",
        alias: None,
        env: "rabbit.log.console.formatter",
        kind: FLAG,
        default: "",
        meaning: "Whether levels have colours; unset, on a terminal.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console.colors = Some(value == "on");
            Ok(())
        }),
    },
    Key {
        name: "log.file",
        alias: None,
        env: "rabbit.log.file.file",
        kind: TEXT,
        default: "",
        meaning: "Name of the log file, from `log.dir`, or `false` for none; unset, the name of the node if there is a directory.",
        state: State::Honoured(|draft, _, value| {
            draft.log.file = Some(value.to_owned());
            Ok(())
        }),
    },
    Key {
        name: "log.file.level",
        alias: None,
        env: "rabbit.log.file.level",
        kind: LOG_LEVEL,
        default: "",
        meaning: "Level of the log file where it differs from `log.level`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.file_output.level = Some(LogLevel::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.file.rotation.date",
        alias: Some("log.default.rotation.date"),
        env: "rabbit.log.file.date",
        kind: TEXT,
        default: "",
        meaning: "When the file makes room for a new one: `$D0` at midnight, `$W0D23` on Sundays at 23:00, `$M1D0` on the first of a month, `$H30` each hour; in UTC.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.rotation.date = Some(rotation_date(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.file.rotation.size",
        alias: Some("log.default.rotation.size"),
        env: "rabbit.log.file.size",
        kind: INTEGER_OR_UNIT,
        default: "",
        meaning: "Bytes at which it does; 0 for no limit.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.rotation.size_bytes = log::rotation_size(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.file.rotation.count",
        alias: Some("log.default.rotation.count"),
        env: "rabbit.log.file.count",
        kind: INTEGER,
        default: "0",
        meaning: "Old files that stay; `.0` is the newest.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.rotation.count = rotation_count(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.file.rotation.compress",
        alias: Some("log.default.rotation.compress"),
        env: "rabbit.log.file.compress",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether old files are compressed with gzip; then their names end in `.gz`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.rotation.compresses = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.exchange",
        alias: None,
        env: "rabbit.log.exchange.enabled",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether the log goes to the exchange `amq.rabbitmq.log` of the default vhost; the routing key of a line is its level.",
        state: State::Honoured(|draft, _, value| {
            draft.log.exchange_on = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.exchange.level",
        alias: None,
        env: "rabbit.log.exchange.level",
        kind: LOG_LEVEL,
        default: "",
        meaning: "Level of the log in the exchange where it differs from `log.level`.",
        state: State::Honoured(|draft, _, value| {
            draft.log.exchange.level = Some(LogLevel::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.syslog",
        alias: None,
        env: "rabbit.log.syslog.enabled",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether the log goes to a syslog server.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog_on = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.console.color_esc_seqs.debug",
        alias: None,
        env: "rabbit.log.console.formatter",
        kind: TEXT,
        default: "\\e[38;5;246m",
        meaning: "What stands before a line of this level where lines have colours; `\\e` is the escape character.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console.escapes.debug = log::escape_sequence(value);
            Ok(())
        }),
    },
    Key {
        name: "log.console.color_esc_seqs.info",
        alias: None,
        env: "rabbit.log.console.formatter",
        kind: TEXT,
        default: "",
        meaning: "What stands before a line of this level where lines have colours; `\\e` is the escape character.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console.escapes.info = log::escape_sequence(value);
            Ok(())
        }),
    },
    Key {
        name: "log.console.color_esc_seqs.warning",
        alias: None,
        env: "rabbit.log.console.formatter",
        kind: TEXT,
        default: "\\e[38;5;214m",
        meaning: "What stands before a line of this level where lines have colours; `\\e` is the escape character.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console.escapes.warning = log::escape_sequence(value);
            Ok(())
        }),
    },
    Key {
        name: "log.console.color_esc_seqs.error",
        alias: None,
        env: "rabbit.log.console.formatter",
        kind: TEXT,
        default: "\\e[38;5;160m",
        meaning: "What stands before a line of this level where lines have colours; `\\e` is the escape character.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console.escapes.error = log::escape_sequence(value);
            Ok(())
        }),
    },
    Key {
        name: "log.journald",
        alias: None,
        env: "rabbit.log.journald.enabled",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether the log goes to the journal of systemd, with fields.",
        state: State::Honoured(|draft, _, value| {
            draft.log.journald_on = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.journald.level",
        alias: None,
        env: "rabbit.log.journald.level",
        kind: LOG_LEVEL,
        default: "",
        meaning: "Level of the log there where it differs from `log.level`.",
        state: State::Honoured(|draft, _, value| {
            draft.log.journald.output.level = Some(LogLevel::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.journald.fields",
        alias: None,
        env: "rabbit.log.journald.fields",
        kind: TEXT,
        default: "SYSLOG_IDENTIFIER=\"rabbitmq-server\" syslog_timestamp syslog_pid priority ERL_PID=pid CODE_FILE=file CODE_LINE=line CODE_MFA=mfa",
        meaning: "The fields of an entry beside its message: `name`, `NAME=name` or `NAME=\"text\"`; names are `syslog_timestamp`, `syslog_pid`, `priority`, `pid`, `file`, `line`, `mfa`, `level` and `domain`.",
        state: State::Honoured(|draft, _, value| {
            draft.log.journald.fields = log::journal_fields(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.level",
        alias: None,
        env: "rabbit.log.syslog.level",
        kind: LOG_LEVEL,
        default: "",
        meaning: "Level of the log there where it differs from `log.level`.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.output.level = Some(LogLevel::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.identity",
        alias: None,
        env: "syslog.app_name",
        kind: TEXT,
        default: "rabbitmq-server",
        meaning: "Name of the program in syslog.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.identity = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.facility",
        alias: None,
        env: "syslog.facility",
        kind: FACILITY,
        default: "daemon",
        meaning: "Facility in syslog.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.facility = log::facility(value).ok_or("a facility")?;
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.multiline_mode",
        alias: None,
        env: "syslog.multiline_mode",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether a message of several lines stays one message.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.splits_lines = !boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.host",
        alias: None,
        env: "syslog.dest_host",
        kind: TEXT,
        default: "127.0.0.1",
        meaning: "Host name or address of the server, or the path of its socket, for example `/dev/log`.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.host = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.ip",
        alias: None,
        env: "syslog.dest_host",
        kind: TEXT,
        default: "",
        meaning: "Address of the server.",
        state: State::Honoured(|draft, _, value| {
            if !log::is_ip(value) {
                return Err("value should be a valid IP address".to_owned());
            }
            draft.log.syslog.host = value.to_owned();
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.port",
        alias: None,
        env: "syslog.dest_port",
        kind: INTEGER,
        default: "514",
        meaning: "Port of the server.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.port = value.parse().map_err(|_| "a port, 0 to 65535")?;
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.transport",
        alias: None,
        env: "syslog.protocol",
        kind: &[Type::OneOf(&["udp", "tcp", "tls", "ssl"])],
        default: "udp",
        meaning: "`udp`, `tcp` or `tls`, which `ssl` is another word for.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.transport = match value {
                "udp" => SyslogTransport::Udp,
                "tcp" => SyslogTransport::Tcp,
                "tls" | "ssl" => SyslogTransport::Tls,
                _ => return Err("udp, tcp, tls or ssl".to_owned()),
            };
            Ok(())
        }),
    },
    Key {
        name: "log.syslog.protocol",
        alias: None,
        env: "syslog.protocol",
        kind: &[Type::OneOf(&["rfc3164", "rfc5424"])],
        default: "rfc3164",
        meaning: "Form of the messages.",
        state: State::Honoured(|draft, _, value| {
            draft.log.syslog.is_rfc5424 = value == "rfc5424";
            Ok(())
        }),
    },
];

rows! {
    // Lines here have four levels.
    State::Accepted => {
        "log.console.color_esc_seqs.notice", "rabbit.log.console.formatter", TEXT, "\\e[38;5;87m";
        "log.console.color_esc_seqs.critical", "rabbit.log.console.formatter", TEXT, "\\e[1;37m\\e[48;5;20m";
        "log.console.color_esc_seqs.alert", "rabbit.log.console.formatter", TEXT, "\\e[1;37m\\e[48;5;93m";
        "log.console.color_esc_seqs.emergency", "rabbit.log.console.formatter", TEXT, "\\e[1;37m\\e[48;5;196m";
        "log.summarize_process_state", "rabbit.summarize_process_state_when_logged", BOOLEAN, "";
        "log.error_logger_format_depth", "kernel.error_logger_format_depth", OR_UNLIMITED, "";
    }
    // There is nothing of this to choose for who opens a connection.
    State::Accepted => {
        "log.syslog.ssl_options.fail_if_no_peer_cert", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.honor_cipher_order", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.honor_ecc_order", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.log_alert", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.reuse_sessions", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.secure_renegotiate", "syslog.protocol", BOOLEAN, "";
    }
    State::Refused(NO_SUCH_TLS) => {
        "log.syslog.ssl_options.cert", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.dh", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.dhfile", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.key.RSAPrivateKey", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.key.DSAPrivateKey", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.key.PrivateKeyInfo", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.psk_identity", "syslog.protocol", TEXT, "";
    }
}

fn category<'a>(draft: &'a mut Draft, name: &str) -> &'a mut log::CategoryLog {
    let categories = &mut draft.settings.log.categories;
    categories.entry(name.to_owned()).or_default()
}

fn rotation<'a>(draft: &'a mut Draft, name: &str) -> &'a mut Rotation {
    let rotation = &mut category(draft, name).rotation;
    rotation.get_or_insert_default()
}

fn rotation_date(value: &str) -> Result<RotationDate, String> {
    RotationDate::parse(value).ok_or_else(|| "a time such as $D0, $W0D23, $M1D0 or $H30".to_owned())
}

fn rotation_count(value: &str) -> Result<u32, String> {
    /// Each rotation renames all of them.
    const COUNT_MAX: u32 = 1_000;
    let count = value.parse().ok().filter(|count| *count <= COUNT_MAX);
    count.ok_or_else(|| "an integer from 0 to 1000".to_owned())
}
