//! What is logged and where to.

use super::kind::*;
use super::*;

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
        name: "log.console",
        alias: None,
        env: "rabbit.log.console.enabled",
        kind: BOOLEAN,
        default: "true",
        meaning: "Whether the log goes to the standard error stream.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.log.console = boolean(value)?;
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
            draft.settings.log.console_level = Some(LogLevel::parse(value)?);
            Ok(())
        }),
    },
    Key {
        name: "log.file",
        alias: None,
        env: "rabbit.log.file.file",
        kind: TEXT,
        default: "false",
        meaning: "`false`: there is no log file yet.",
        state: State::Honoured(|_, _, value| match value {
            "false" => Ok(()),
            _ => Err("false".to_owned()),
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
            draft.settings.log.exchange = boolean(value)?;
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
            draft.settings.log.exchange_level = Some(LogLevel::parse(value)?);
            Ok(())
        }),
    },
];

rows! {
    State::Refused(NOT_YET) => {
        "log.summarize_process_state", "rabbit.summarize_process_state_when_logged", BOOLEAN, "";
        "log.error_logger_format_depth", "kernel.error_logger_format_depth", OR_UNLIMITED, "";
        "log.dir", "rabbit.log_root", TEXT, "";
        "log.console.stdio", "rabbit.log.console.stdio", &[Type::OneOf(&["stdout", "stderr"])], "stdout";
        "log.console.use_colors", "rabbit.log.console.formatter", FLAG, "on";
        "log.console.color_esc_seqs.debug", "rabbit.log.console.formatter", TEXT, "\\e[38;5;246m";
        "log.console.color_esc_seqs.info", "rabbit.log.console.formatter", TEXT, "";
        "log.console.color_esc_seqs.notice", "rabbit.log.console.formatter", TEXT, "\\e[38;5;87m";
        "log.console.color_esc_seqs.warning", "rabbit.log.console.formatter", TEXT, "\\e[38;5;214m";
        "log.console.color_esc_seqs.error", "rabbit.log.console.formatter", TEXT, "\\e[38;5;160m";
        "log.console.color_esc_seqs.critical", "rabbit.log.console.formatter", TEXT, "\\e[1;37m\\e[48;5;20m";
        "log.console.color_esc_seqs.alert", "rabbit.log.console.formatter", TEXT, "\\e[1;37m\\e[48;5;93m";
        "log.console.color_esc_seqs.emergency", "rabbit.log.console.formatter", TEXT, "\\e[1;37m\\e[48;5;196m";
        "log.console.formatter", "rabbit.log.console.formatter", FORMATTER, "plaintext";
        "log.console.formatter.time_format", "rabbit.log.console.formatter", TIME_FORMAT, "rfc3339_space";
        "log.console.formatter.level_format", "rabbit.log.console.formatter", LEVEL_FORMAT, "lc";
        "log.console.formatter.single_line", "rabbit.log.console.formatter", FLAG, "off";
        "log.console.formatter.plaintext.format", "rabbit.log.console.formatter", TEXT, "$time [$level] $pid $msg";
        "log.console.formatter.json.field_map", "rabbit.log.console.formatter", TEXT, "time level msg gl:- logger_formatter:- report_cb:- error_logger:-";
        "log.console.formatter.json.verbosity_map", "rabbit.log.console.formatter", TEXT, "";
        "log.exchange.formatter", "rabbit.log.exchange.formatter", FORMATTER, "plaintext";
        "log.exchange.formatter.time_format", "rabbit.log.console.formatter", TEXT, "rfc3339_space";
        "log.exchange.formatter.level_format", "rabbit.log.exchange.formatter", LEVEL_FORMAT, "lc";
        "log.exchange.formatter.single_line", "rabbit.log.exchange.formatter", FLAG, "off";
        "log.exchange.formatter.plaintext.format", "rabbit.log.exchange.formatter", TEXT, "$time [$level] $pid $msg";
        "log.exchange.formatter.json.field_map", "rabbit.log.exchange.formatter", TEXT, "time level msg gl:- logger_formatter:- report_cb:- error_logger:-";
        "log.exchange.formatter.json.verbosity_map", "rabbit.log.exchange.formatter", TEXT, "";
        "log.journald", "rabbit.log.journald.enabled", BOOLEAN, "";
        "log.journald.level", "rabbit.log.journald.level", LOG_LEVEL, "";
        "log.journald.fields", "rabbit.log.journald.fields", TEXT, "SYSLOG_IDENTIFIER=\\\"rabbitmq-server\\\" syslog_timestamp syslog_pid priority ERL_PID=pid CODE_FILE=file CODE_LINE=line CODE_MFA=mfa";
        "log.syslog", "rabbit.log.syslog.enabled", BOOLEAN, "";
        "log.syslog.level", "rabbit.log.syslog.level", LOG_LEVEL, "";
        "log.syslog.formatter", "rabbit.log.syslog.formatter", FORMATTER, "plaintext";
        "log.syslog.formatter.time_format", "rabbit.log.console.formatter", TEXT, "rfc3339_space";
        "log.syslog.formatter.level_format", "rabbit.log.syslog.formatter", LEVEL_FORMAT, "lc";
        "log.syslog.formatter.single_line", "rabbit.log.syslog.formatter", FLAG, "off";
        "log.syslog.formatter.plaintext.format", "rabbit.log.syslog.formatter", TEXT, "$msg";
        "log.syslog.formatter.json.field_map", "rabbit.log.syslog.formatter", TEXT, "time level msg gl:- logger_formatter:- report_cb:- error_logger:-";
        "log.syslog.formatter.json.verbosity_map", "rabbit.log.syslog.formatter", TEXT, "";
        "log.syslog.identity", "syslog.app_name", TEXT, "rabbitmq-server";
        "log.syslog.facility", "syslog.facility", FACILITY, "";
        "log.syslog.multiline_mode", "syslog.multiline_mode", BOOLEAN, "";
        "log.syslog.ip", "syslog.dest_host", TEXT, "";
        "log.syslog.host", "syslog.dest_host", TEXT, "";
        "log.syslog.port", "syslog.dest_port", INTEGER, "";
        "log.syslog.transport", "syslog.protocol", &[Type::OneOf(&["udp", "tcp", "tls", "ssl"])], "";
        "log.syslog.protocol", "syslog.protocol", &[Type::OneOf(&["rfc3164", "rfc5424"])], "";
        "log.file.level", "rabbit.log.file.level", LOG_LEVEL, "";
        "log.file.rotation.date", "rabbit.log.file.date", TEXT, "";
        "log.file.rotation.compress", "rabbit.log.file.compress", BOOLEAN, "false";
        "log.file.rotation.size", "rabbit.log.file.size", INTEGER, "";
        "log.file.rotation.count", "rabbit.log.file.count", INTEGER, "";
        "log.file.formatter", "rabbit.log.file.formatter", FORMATTER, "plaintext";
        "log.file.formatter.time_format", "rabbit.log.file.formatter", TEXT, "rfc3339_space";
        "log.file.formatter.level_format", "rabbit.log.file.formatter", LEVEL_FORMAT, "lc";
        "log.file.formatter.single_line", "rabbit.log.file.formatter", FLAG, "off";
        "log.file.formatter.plaintext.format", "rabbit.log.file.formatter", TEXT, "$time [$level] $pid $msg";
        "log.file.formatter.json.field_map", "rabbit.log.file.formatter", TEXT, "time level msg gl:- logger_formatter:- report_cb:- error_logger:-";
        "log.file.formatter.json.verbosity_map", "rabbit.log.file.formatter", TEXT, "";
        "log.connection.level", "rabbit.log.categories.connection.level", LOG_LEVEL, "";
        "log.connection.file", "rabbit.log.categories.connection.file", TEXT, "";
        "log.connection.rotation.date", "rabbit.log.categories.connection.rotate_on_date", TEXT, "";
        "log.connection.rotation.compress", "rabbit.log.categories.connection.compress_on_rotate", BOOLEAN, "false";
        "log.connection.rotation.size", "rabbit.log.categories.connection.max_no_bytes", INTEGER, "";
        "log.connection.rotation.count", "rabbit.log.categories.connection.max_no_files", INTEGER, "";
        "log.channel.level", "rabbit.log.categories.channel.level", LOG_LEVEL, "";
        "log.channel.file", "rabbit.log.categories.channel.file", TEXT, "";
        "log.channel.rotation.date", "rabbit.log.categories.channel.rotate_on_date", TEXT, "";
        "log.channel.rotation.compress", "rabbit.log.categories.channel.compress_on_rotate", BOOLEAN, "false";
        "log.channel.rotation.size", "rabbit.log.categories.channel.max_no_bytes", INTEGER, "";
        "log.channel.rotation.count", "rabbit.log.categories.channel.max_no_files", INTEGER, "";
        "log.mirroring.level", "rabbit.log.categories.mirroring.level", LOG_LEVEL, "";
        "log.mirroring.file", "rabbit.log.categories.mirroring.file", TEXT, "";
        "log.mirroring.rotation.date", "rabbit.log.categories.mirroring.rotate_on_date", TEXT, "";
        "log.mirroring.rotation.compress", "rabbit.log.categories.mirroring.compress_on_rotate", BOOLEAN, "false";
        "log.mirroring.rotation.size", "rabbit.log.categories.mirroring.max_no_bytes", INTEGER, "";
        "log.mirroring.rotation.count", "rabbit.log.categories.mirroring.max_no_files", INTEGER, "";
        "log.queue.level", "rabbit.log.categories.queue.level", LOG_LEVEL, "";
        "log.queue.file", "rabbit.log.categories.queue.file", TEXT, "";
        "log.queue.rotation.date", "rabbit.log.categories.queue.rotate_on_date", TEXT, "";
        "log.queue.rotation.compress", "rabbit.log.categories.queue.compress_on_rotate", BOOLEAN, "false";
        "log.queue.rotation.size", "rabbit.log.categories.queue.max_no_bytes", INTEGER, "";
        "log.queue.rotation.count", "rabbit.log.categories.queue.max_no_files", INTEGER, "";
        "log.federation.level", "rabbit.log.categories.federation.level", LOG_LEVEL, "";
        "log.federation.file", "rabbit.log.categories.federation.file", TEXT, "";
        "log.federation.rotation.date", "rabbit.log.categories.federation.rotate_on_date", TEXT, "";
        "log.federation.rotation.compress", "rabbit.log.categories.federation.compress_on_rotate", BOOLEAN, "false";
        "log.federation.rotation.size", "rabbit.log.categories.federation.max_no_bytes", INTEGER, "";
        "log.federation.rotation.count", "rabbit.log.categories.federation.max_no_files", INTEGER, "";
        "log.upgrade.level", "rabbit.log.categories.upgrade.level", LOG_LEVEL, "";
        "log.upgrade.file", "rabbit.log.categories.upgrade.file", TEXT, "";
        "log.upgrade.rotation.date", "rabbit.log.categories.upgrade.rotate_on_date", TEXT, "";
        "log.upgrade.rotation.compress", "rabbit.log.categories.upgrade.compress_on_rotate", BOOLEAN, "false";
        "log.upgrade.rotation.size", "rabbit.log.categories.upgrade.max_no_bytes", INTEGER, "";
        "log.upgrade.rotation.count", "rabbit.log.categories.upgrade.max_no_files", INTEGER, "";
        "log.user.level", "rabbit.log.categories.user.level", LOG_LEVEL, "";
        "log.user.file", "rabbit.log.categories.user.file", TEXT, "";
        "log.user.rotation.date", "rabbit.log.categories.user.rotate_on_date", TEXT, "";
        "log.user.rotation.compress", "rabbit.log.categories.user.compress_on_rotate", BOOLEAN, "false";
        "log.user.rotation.size", "rabbit.log.categories.user.max_no_bytes", INTEGER, "";
        "log.user.rotation.count", "rabbit.log.categories.user.max_no_files", INTEGER, "";
        "log.ra.level", "rabbit.log.categories.ra.level", LOG_LEVEL, "";
        "log.ra.file", "rabbit.log.categories.ra.file", TEXT, "";
        "log.ra.rotation.date", "rabbit.log.categories.ra.rotate_on_date", TEXT, "";
        "log.ra.rotation.compress", "rabbit.log.categories.ra.compress_on_rotate", BOOLEAN, "false";
        "log.ra.rotation.size", "rabbit.log.categories.ra.max_no_bytes", INTEGER, "";
        "log.ra.rotation.count", "rabbit.log.categories.ra.max_no_files", INTEGER, "";
        "log.default.rotation.date", "rabbit.log.categories.default.rotate_on_date", TEXT, "";
        "log.default.rotation.compress", "rabbit.log.categories.default.compress_on_rotate", BOOLEAN, "false";
        "log.default.rotation.size", "rabbit.log.categories.default.max_no_bytes", INTEGER, "";
        "log.default.rotation.count", "rabbit.log.categories.default.max_no_files", INTEGER, "";
    }
    State::Refused(NO_TLS) => {
        "log.syslog.ssl_options.verify", "syslog.protocol", VERIFY, "";
        "log.syslog.ssl_options.fail_if_no_peer_cert", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.cacertfile", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.certfile", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.cert", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.client_renegotiation", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.crl_check", "syslog.protocol", CRL_CHECK, "";
        "log.syslog.ssl_options.depth", "syslog.protocol", BYTE, "";
        "log.syslog.ssl_options.dh", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.dhfile", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.honor_cipher_order", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.honor_ecc_order", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.key.RSAPrivateKey", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.key.DSAPrivateKey", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.key.PrivateKeyInfo", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.keyfile", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.log_alert", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.password", "syslog.protocol", SECRET, "";
        "log.syslog.ssl_options.psk_identity", "syslog.protocol", TEXT, "";
        "log.syslog.ssl_options.reuse_sessions", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.secure_renegotiate", "syslog.protocol", BOOLEAN, "";
        "log.syslog.ssl_options.versions.$version", "syslog.protocol", TEXT, "";
    }
}
