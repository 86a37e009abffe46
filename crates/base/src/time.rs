//! The time, as an argument.

use std::time::Duration;

/// The moment at which a machine is asked to act. Drivers read the clocks once a turn and pass this on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic time since the node process started; all deadlines and timeouts are in this clock.
    pub monotonic: Duration,
    /// Wall clock, milliseconds since 1970-01-01 UTC; for timestamps and for expiry across restarts only.
    pub wall_ms: u64,
}

/// A time of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// After Christ.
    pub year: u64,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    /// 0 is Sunday.
    pub week_day: u8,
    /// From 0.
    pub hour: u8,
    /// From 0.
    pub minute: u8,
    /// From 0; there are no leap seconds.
    pub second: u8,
}

impl Civil {
    /// The time so many seconds after the beginning of 1970. The calendar repeats every 400 years of 146,097 days; years begin in March, so that a leap day is the last.
    pub fn from_unix(seconds: u64) -> Self {
        let days = seconds / 86_400;
        let of_day = seconds % 86_400;
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            week_day: ((days + 4) % 7) as u8,
            hour: (of_day / 3_600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
        }
    }
}
