//! Statistics: what is counted and for how long it is kept.

use super::kind::*;
use super::*;
use crate::statistics::{INTERVAL_MIN, RatesMode, StatisticsLevel};

pub(super) static KEYS: &[Key] = &[
    Key {
        name: "collect_statistics",
        alias: None,
        env: "rabbit.collect_statistics",
        kind: &[Type::OneOf(&["none", "coarse", "fine"])],
        default: "none",
        meaning: "What is shown where `management.rates_mode` is `none`: queues, channels and connections (`none`, `coarse`), or what happens to messages too (`fine`). With rates it is `fine`.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.statistics.level = match value {
                "fine" => StatisticsLevel::Fine,
                "coarse" => StatisticsLevel::Coarse,
                _ => StatisticsLevel::None,
            };
            Ok(())
        }),
    },
    Key {
        name: "collect_statistics_interval",
        alias: None,
        env: "rabbit.collect_statistics_interval",
        kind: INTEGER,
        default: "5000",
        meaning: "Milliseconds between two samples, from which rates are reckoned; at least 100.",
        state: State::Honoured(|draft, _, value| {
            let interval = value.parse().ok().map(Duration::from_millis);
            let interval = interval.filter(|interval| *interval >= INTERVAL_MIN);
            draft.settings.statistics.interval =
                interval.ok_or_else(|| "milliseconds, an integer from 100".to_owned())?;
            Ok(())
        }),
    },
    Key {
        name: "management.rates_mode",
        alias: None,
        env: "rabbitmq_management.rates_mode",
        kind: &[Type::OneOf(&["basic", "detailed", "none"])],
        default: "basic",
        meaning: "`basic` shows what happens at each object; `detailed` also between each two of them, such as an exchange and a queue, and makes publishing slower; `none` nothing.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.statistics.rates = match value {
                "detailed" => RatesMode::Detailed,
                "none" => RatesMode::None,
                _ => RatesMode::Basic,
            };
            Ok(())
        }),
    },
    Key {
        name: "management.sample_retention_policies.$section.$interval",
        alias: None,
        env: "rabbitmq_management.sample_retention_policies",
        kind: INTEGER,
        default: "",
        meaning: "Seconds between two samples that are kept for that long: `minute`, `hour`, `day` or a number of seconds. Sections are `global`, `basic` and `detailed`; one that is not mentioned keeps RabbitMQ's own.",
        state: State::HonouredWhole(|draft, parts, value| match parts {
            [.., section, age] => draft.retention.set(section, age, value),
            _ => Err("a section and an age".to_owned()),
        }),
    },
    Key {
        name: "management.disable_stats",
        alias: None,
        env: "rabbitmq_management.disable_management_stats",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` shows objects in the HTTP API without any figures, as `disable_stats=true` does for one request.",
        state: State::Honoured(|draft, _, value| {
            draft.stats_disabled = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "management.enable_queue_totals",
        alias: None,
        env: "rabbitmq_management.enable_queue_totals",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` shows the lengths of queues even so.",
        state: State::Honoured(|draft, _, value| {
            draft.settings.statistics.queue_totals = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "management_agent.disable_metrics_collector",
        alias: None,
        env: "rabbitmq_management_agent.disable_metrics_collector",
        kind: BOOLEAN,
        default: "false",
        meaning: "`true` takes no samples, and shows no figures in the HTTP API; metrics for Prometheus go on.",
        state: State::Honoured(|draft, _, value| {
            draft.collector_disabled = boolean(value)?;
            Ok(())
        }),
    },
    Key {
        name: "management_agent.filter_aggregated_queue_metrics_pattern",
        alias: None,
        env: "rabbitmq_management_agent.filter_aggregated_queue_metrics_pattern",
        kind: TEXT,
        default: "",
        meaning: "A regular expression; queues whose names match are left out of the totals of messages.",
        state: State::Honoured(|draft, _, value| {
            let pattern = Pattern::new(value).map_err(|error| error.to_string())?;
            draft.settings.statistics.filter = Some(pattern);
            Ok(())
        }),
    },
];
