//! Maintenance windows: when, and about what. Pure data with the questions asked of it; times are UTC, as everywhere.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::event::Timestamp;
use crate::filter::Filter;

/// Windows that a configuration may hold; each is asked of every incident.
pub const MAX_WINDOWS: usize = 256;
/// A window is at most a week long: a longer one is forgotten by its owner, and silences what nobody planned.
pub const MAX_LENGTH: Duration = Duration::from_secs(7 * 86_400);

const DAY: i64 = 86_400 * 1_000_000_000;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A window in which trouble was announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    pub name: String,
    pub when: When,
    /// What it is about; the empty filter is everything.
    pub about: Filter,
}

/// When a window is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    Once { from: Timestamp, until: Timestamp },
    Weekly { at: WeekTime, length: Duration },
}

/// Days of the week and a time of day, UTC: `Sun,Wed 02:00 UTC`, `day 23:30 UTC`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WeekTime {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes after midnight.
    minute: u16,
}

impl When {
    /// The opening that holds `at`, as (from, until).
    pub fn holds(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        match self {
            When::Once { from, until } => (*from <= at && at <= *until).then_some((*from, *until)),
            When::Weekly { at: week, length } => {
                let today = at.0.div_euclid(DAY);
                // It may have opened some days ago; the latest opening counts.
                let back = length.as_secs().div_ceil(86_400) as i64;
                (today.saturating_sub(back)..=today).rev().find_map(|day| {
                    let from = week.on(day)?;
                    (from <= at && at <= from + *length).then_some((from, from + *length))
                })
            }
        }
    }
}

impl WeekTime {
    /// The opening on a day (since 1970-01-01), if it has one.
    fn on(self, day: i64) -> Option<Timestamp> {
        // 1970-01-01 was a Thursday.
        let weekday = day.saturating_add(3).rem_euclid(7);
        let start = day.checked_mul(DAY)?;
        let minute = i64::from(self.minute) * 60_000_000_000;
        (self.days >> weekday & 1 == 1).then_some(Timestamp(start.saturating_add(minute)))
    }
}

impl FromStr for WeekTime {
    type Err = String;

    fn from_str(text: &str) -> Result<WeekTime, String> {
        let bad = || {
            format!(
                "{text:?} is no day and time: write \"Sun 02:00 UTC\", \"Mon,Thu 22:30 UTC\" or \"day 03:00 UTC\""
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let &[days, time, zone] = words.as_slice() else {
            return Err(if words.len() == 2 {
                format!(
                    "{text:?} does not say its time zone: only UTC is known, write \"{text} UTC\""
                )
            } else {
                bad()
            });
        };
        if !zone.eq_ignore_ascii_case("utc") {
            return Err(format!(
                "{zone:?} is not UTC, the only time zone that never shifts"
            ));
        }
        let mut set = 0;
        for day in days.split(',') {
            let known = DAYS.iter().position(|name| name.eq_ignore_ascii_case(day));
            set |= match known {
                Some(at) => 1 << at,
                None if day.eq_ignore_ascii_case("day") => 0x7f,
                None => return Err(bad()),
            };
        }
        let (hour, minute) = time.split_once(':').ok_or_else(bad)?;
        let number = |part: &str, below: u16| {
            let number = part.parse::<u16>().ok().filter(|n| *n < below);
            number.filter(|_| part.len() == 2).ok_or_else(bad)
        };
        Ok(WeekTime {
            days: set,
            minute: number(hour, 24)? * 60 + number(minute, 60)?,
        })
    }
}

impl fmt::Display for WeekTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = DAYS
            .iter()
            .enumerate()
            .filter(|(at, _)| self.days >> at & 1 == 1)
            .map(|(_, name)| *name)
            .collect();
        let days = if names.len() == 7 {
            "day".to_owned()
        } else {
            names.join(",")
        };
        write!(
            f,
            "{days} {:02}:{:02} UTC",
            self.minute / 60,
            self.minute % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let parsed: jiff::Timestamp = text.parse().unwrap();
        Timestamp(i64::try_from(parsed.as_nanosecond()).unwrap())
    }

    #[test]
    fn a_weekly_window_opens_on_its_days_and_over_midnight() {
        let when = When::Weekly {
            at: "Sun,Wed 23:00 UTC".parse().unwrap(),
            length: Duration::from_secs(2 * 3600),
        };
        // 2026-11-22 is a Sunday.
        for (time, open) in [
            ("2026-11-22T22:59:59Z", false),
            ("2026-11-22T23:00:00Z", true),
            ("2026-11-23T00:59:59Z", true),
            ("2026-11-23T01:00:01Z", false),
            ("2026-11-23T23:30:00Z", false),
            ("2026-11-25T23:30:00Z", true),
        ] {
            assert_eq!(when.holds(at(time)).is_some(), open, "{time}");
        }
        assert_eq!(
            when.holds(at("2026-11-23T00:30:00Z")),
            Some((at("2026-11-22T23:00:00Z"), at("2026-11-23T01:00:00Z")))
        );
    }

    #[test]
    fn a_daily_window_and_one_of_days_are_open_when_they_should() {
        let daily = When::Weekly {
            at: "day 03:00 UTC".parse().unwrap(),
            length: Duration::from_secs(600),
        };
        assert!(daily.holds(at("2024-02-29T03:09:00Z")).is_some());
        assert!(daily.holds(at("2024-02-29T03:11:00Z")).is_none());
        let long = When::Weekly {
            at: "Fri 18:00 UTC".parse().unwrap(),
            length: Duration::from_secs(62 * 3600),
        };
        assert!(long.holds(at("2026-11-23T07:59:00Z")).is_some());
        assert!(long.holds(at("2026-11-23T08:01:00Z")).is_none());
    }

    #[test]
    fn a_time_must_say_its_zone_and_be_one() {
        for (text, part) in [
            ("Sun 02:00", "does not say its time zone"),
            ("Sun 02:00 CET", "is not UTC"),
            ("Sum 02:00 UTC", "no day and time"),
            ("Sun 24:00 UTC", "no day and time"),
            ("Sun 2:00 UTC", "no day and time"),
            ("", "no day and time"),
        ] {
            let error = text.parse::<WeekTime>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let round: WeekTime = "wed,SUN 02:05 utc".parse().unwrap();
        assert_eq!(round.to_string(), "Wed,Sun 02:05 UTC");
        assert_eq!(
            "day 00:00 UTC".parse::<WeekTime>().unwrap().to_string(),
            "day 00:00 UTC"
        );
    }

    #[test]
    fn no_time_is_too_early_or_too_late_to_ask() {
        let when = When::Weekly {
            at: "day 00:00 UTC".parse().unwrap(),
            length: MAX_LENGTH,
        };
        for time in [Timestamp::MIN, Timestamp::MAX, Timestamp(0)] {
            let _ = when.holds(time);
        }
    }
}
