//! How much of what happens is shown as figures, how often it is looked at and for how long it is kept.

use broker::auth::Pattern;
use std::time::Duration;

/// Most samples that one tier of a retention policy may ask for.
pub(crate) const TIER_SAMPLES_MAX: u64 = 10_000;
/// Shortest time between two samples.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How much is counted and kept for the HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct StatisticsSettings {
    /// How much rates tell (`management.rates_mode`).
    pub rates: RatesMode,
    /// What is counted where nobody asks for rates (`collect_statistics`).
    pub level: StatisticsLevel,
    /// Between two samples (`collect_statistics_interval`), at least 100 ms.
    pub interval: Duration,
    /// The HTTP API shows no statistics (`management.disable_stats`, `management_agent.disable_metrics_collector`).
    pub disabled: bool,
    /// Queues are shown with their lengths even so (`management.enable_queue_totals`).
    pub queue_totals: bool,
    /// Queues whose names match are left out of sums (`management_agent.filter_aggregated_queue_metrics_pattern`).
    pub filter: Option<Pattern>,
    /// For how long samples are kept.
    pub retention: Retention,
}

impl Default for StatisticsSettings {
    fn default() -> Self {
        Self {
            rates: RatesMode::Basic,
            level: StatisticsLevel::None,
            interval: Duration::from_secs(5),
            disabled: false,
            queue_totals: false,
            filter: None,
            retention: Retention::default(),
        }
    }
}

impl StatisticsSettings {
    /// Whether what happens to messages is shown: with rates always, without them only where `collect_statistics` is `fine`.
    pub fn shows_messages(&self) -> bool {
        self.rates != RatesMode::None || self.level == StatisticsLevel::Fine
    }

    /// What is counted in effect.
    pub(crate) fn effective_level(&self) -> StatisticsLevel {
        if self.shows_messages() {
            StatisticsLevel::Fine
        } else {
            StatisticsLevel::Coarse
        }
    }

    /// Whether it is shown for each pair of neighbours, such as an exchange and a queue, too.
    pub fn shows_neighbours(&self) -> bool {
        self.rates == RatesMode::Detailed
    }
}

/// How much rates tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatesMode {
    /// What happens at each object.
    #[default]
    Basic,
    /// And between each two of them.
    Detailed,
    /// Nothing.
    None,
}

impl RatesMode {
    /// Its name in configurations and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Detailed => "detailed",
            Self::None => "none",
        }
    }
}

/// What is counted (`collect_statistics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatisticsLevel {
    /// As little as there is: the HTTP API wants `coarse` at least.
    #[default]
    None,
    /// Queues, channels and connections.
    Coarse,
    /// And what happens to messages.
    Fine,
}

impl StatisticsLevel {
    /// Its name in configurations and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Coarse => "coarse",
            Self::Fine => "fine",
        }
    }
}

/// For how long samples are kept, by what they are of; each list is in the order of the ages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of the node, and of all queues together.
    pub global: Vec<RetentionTier>,
    /// Of queues, channels and connections.
    pub basic: Vec<RetentionTier>,
    /// Of exchanges and of pairs of neighbours.
    pub detailed: Vec<RetentionTier>,
}

/// Samples of one density.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionTier {
    /// Age in seconds at which they are forgotten.
    pub age_s: u64,
    /// Seconds between two, at least 1.
    pub step_s: u64,
}

impl RetentionTier {
    const fn new(age_s: u64, step_s: u64) -> Self {
        Self { age_s, step_s }
    }
}

/// RabbitMQ's own.
impl Default for Retention {
    fn default() -> Self {
        let tier = RetentionTier::new;
        Self {
            global: vec![
                tier(605, 5),
                tier(3_660, 60),
                tier(29_400, 600),
                tier(86_400, 1_800),
            ],
            basic: vec![tier(605, 5), tier(3_600, 60)],
            detailed: vec![tier(605, 5)],
        }
    }
}

impl Retention {
    /// The policy of that name.
    fn section(&mut self, name: &str) -> Option<&mut Vec<RetentionTier>> {
        Some(match name {
            "global" => &mut self.global,
            "basic" => &mut self.basic,
            "detailed" => &mut self.detailed,
            _ => return None,
        })
    }
}

/// What files say of samples: the tiers of a policy that they mention take the place of all its own.
#[derive(Debug, Default)]
pub(crate) struct RetentionDraft {
    tiers: std::collections::BTreeMap<String, Vec<RetentionTier>>,
}

impl RetentionDraft {
    /// `management.sample_retention_policies.SECTION.AGE = STEP`.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn set(&mut self, section: &str, age: &str, step: &str) -> Result<(), String> {
        if Retention::default().section(section).is_none() {
            return Err("a policy called global, basic or detailed".to_owned());
        }
        let age_s = match age {
            "minute" => 60,
            "hour" => 3_600,
            "day" => 86_400,
            seconds => seconds.parse().map_err(|_| {
                "an age called minute, hour or day, or a number of seconds".to_owned()
            })?,
        };
        let step_s = step.parse().ok().filter(|step| *step >= 1);
        let step_s = step_s.filter(|step| age_s / step <= TIER_SAMPLES_MAX);
        let step_s = step_s.ok_or_else(|| {
            format!("seconds between two samples, above 0, and no more than {TIER_SAMPLES_MAX} of them in that time")
        })?;
        let tiers = self.tiers.entry(section.to_owned()).or_default();
        tiers.retain(|tier| tier.age_s != age_s);
        tiers.push(RetentionTier::new(age_s, step_s));
        tiers.sort_unstable_by_key(|tier| tier.age_s);
        Ok(())
    }

    pub(crate) fn finish(self, retention: &mut Retention) {
        for (section, tiers) in self.tiers {
            if let Some(own) = retention.section(&section) {
                *own = tiers;
            }
        }
    }
}
