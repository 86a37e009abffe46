//! The node itself: memory, disk, threads, names.

use super::kind::*;
use super::*;

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "product.name",
        alias: None,
        env: "rabbit.product_name",
        kind: TEXT,
        default: "",
        meaning: "Name of the product that the HTTP API and `status` show.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.labels.product_name = Some(value.to_owned());
            Ok(())
        }),
    },
    Key {
        name: "product.version",
        alias: None,
        env: "rabbit.product_version",
        kind: TEXT,
        default: "",
        meaning: "Its version.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.labels.product_version = Some(value.to_owned());
            Ok(())
        }),
    },
    Key {
        name: "vm_memory_high_watermark.relative",
        alias: None,
        env: "rabbit.vm_memory_high_watermark",
        kind: FLOAT,
        default: "0.6",
        meaning: "Fraction of the machine's memory above which publishers are blocked.",
        state: State::Honoured(|draft, _, value| {
            draft.memory_relative = Some(fraction(value)?);
            Ok(())
        }),
    },
    Key {
        name: "vm_memory_high_watermark.absolute",
        alias: None,
        env: "rabbit.vm_memory_high_watermark",
        kind: UNIT,
        default: "",
        meaning: "The same as a size, for example `2GB`.",
        state: State::Honoured(|draft, _, value| {
            draft.memory_absolute = Some(information_unit(value)?);
            Ok(())
        }),
    },
    Key {
        name: "total_memory_available_override_value",
        alias: None,
        env: "rabbit.total_memory_available_override_value",
        kind: UNIT,
        default: "",
        meaning: "Memory of the machine as a size, where the measured one is wrong.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.total_memory_override_bytes = Some(information_unit(value)?);
            Ok(())
        }),
    },
    Key {
        name: "vm_memory_calculation_strategy",
        alias: None,
        env: "rabbit.vm_memory_calculation_strategy",
        kind: &[Type::OneOf(&["rss", "erlang", "allocated", "legacy"])],
        default: "rss",
        meaning: "What counts as memory in use: the resident size, with `allocated` without files such as the program, with `erlang` or `legacy` what the node has counted.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.memory_calculation = match value {
                "allocated" => MemoryCalculation::Allocated,
                "erlang" | "legacy" => MemoryCalculation::Erlang,
                _ => MemoryCalculation::Rss,
            };
            Ok(())
        }),
    },
    Key {
        name: "disk_free_limit.absolute",
        alias: None,
        env: "rabbit.disk_free_limit",
        kind: UNIT,
        default: "50000000",
        meaning: "Free disk space as a size below which publishers are blocked.",
        state: State::Honoured(|draft, _, value| {
            draft.disk_absolute = Some(information_unit(value)?);
            Ok(())
        }),
    },
    Key {
        name: "disk_free_limit.relative",
        alias: None,
        env: "rabbit.disk_free_limit",
        kind: FLOAT,
        default: "",
        meaning: "The same as a multiple of the machine's memory.",
        state: State::Honoured(|draft, _, value| {
            draft.disk_relative = Some(non_negative(value)?);
            Ok(())
        }),
    },
    Key {
        name: "warren.track_auth_attempt_source",
        alias: None,
        env: "rabbit.track_auth_attempt_source",
        kind: BOOLEAN,
        default: "false",
        meaning: "Whether logins are counted by address and name, too, as after `enable_auth_attempt_source_tracking`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.tracks_auth_attempt_source = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "warren.shards",
        alias: None,
        env: "",
        kind: POSITIVE,
        default: "",
        meaning: "Threads that serve connections and queues; one less than the machine has cores if unset, at least 1.",
        state: State::Honoured(|draft, _, value| {
            let count = value
                .parse::<NonZeroU16>()
                .ok()
                .filter(|count| count.get() <= SHARDS_MAX);
            draft.settings.shards = Some(count.ok_or("an integer from 1 to 256")?);
            Ok(())
        }),
    },
    Key {
        name: "motd_file",
        alias: None,
        env: "rabbit.motd_file",
        kind: TEXT,
        default: "",
        meaning: "Text that is logged at start.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.motd_file = Some(value.into());
            Ok(())
        }),
    },
];

rows! {
    State::Accepted => {
        "erlang.K", "vm_args.+K", TEXT, "true";
        "default_worker_pool_size", "rabbit.default_worker_pool_size", NON_NEGATIVE, "";
        "vm_memory_high_watermark_paging_ratio", "rabbit.vm_memory_high_watermark_paging_ratio", FRACTION, "";
        "memory_monitor_interval", "rabbit.memory_monitor_interval", INTEGER, "";
        "hipe_compile", "rabbit.hipe_compile", BOOLEAN, "";
        "background_gc_enabled", "rabbit.background_gc_enabled", BOOLEAN, "false";
        "background_gc_target_interval", "rabbit.background_gc_target_interval", INTEGER, "60000";
        "sysmon_handler.thresholds.busy_processes", "sysmon_handler.process_limit", INTEGER, "100";
        "sysmon_handler.thresholds.busy_ports", "sysmon_handler.port_limit", INTEGER, "100";
        "sysmon_handler.triggers.process.garbage_collection", "sysmon_handler.gc_ms_limit", OFF_OR_DURATION, "0";
        "sysmon_handler.triggers.process.long_scheduled_execution", "sysmon_handler.schedule_ms_limit", OFF_OR_DURATION, "0";
        "sysmon_handler.triggers.process.heap_size", "sysmon_handler.heap_word_limit", OFF_OR_SIZE, "0";
        "sysmon_handler.triggers.port", "sysmon_handler.busy_port", FLAG, "false";
        "sysmon_handler.triggers.distribution_port", "sysmon_handler.busy_dist_port", FLAG, "true";
    }
}
