//! Time as data: nanoseconds since the Unix epoch, as the capture point saw it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since the Unix epoch (UTC). The core's only notion of time; it comes from events, never from a clock.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default, Debug)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before every real time stamp.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// After every real time stamp.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From whole seconds and nanoseconds, saturating.
    pub const fn from_parts(seconds: i64, nanos: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// Signed distance `self - other` in nanoseconds, saturating.
    pub const fn minus(self, other: Timestamp) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// The time of day for sentences, `12:04:07.118` (UTC): a reader of an incident knows the day.
    pub fn clock(self) -> impl fmt::Display {
        let ms = self.0.rem_euclid(86_400_000_000_000) / 1_000_000;
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        format!("{hour:02}:{minute:02}:{second:02}.{:03}", ms % 1000)
    }

    /// The time of day in whole minutes, `12:04`, with the date where `from` is on another day: for times that lie ahead.
    pub fn clock_from(self, from: Timestamp) -> impl fmt::Display {
        const DAY: i64 = 86_400_000_000_000;
        let text = self.to_string();
        let range = if self.0.div_euclid(DAY) == from.0.div_euclid(DAY) {
            11..16
        } else {
            0..16
        };
        text.get(range).unwrap_or(&text).replace('T', " ")
    }

    /// Seconds as a float, for rates and periods only.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(i64::try_from(rhs.as_nanos()).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, rhs: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_sub(i64::try_from(rhs.as_nanos()).unwrap_or(i64::MAX)),
        )
    }
}

/// RFC 3339 in UTC with nine digits, as the JSON contract wants it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (
            self.0.div_euclid(1_000_000_000),
            self.0.rem_euclid(1_000_000_000),
        );
        let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        );
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z"
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What [`Display`](fmt::Display) and `Serialize` write, and nothing else.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| serde::de::Error::custom("not RFC 3339 in UTC with nine digits"))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    // Years may bear a sign; months and days have two digits each.
    let (rest, day) = date.rsplit_once('-')?;
    let (year, month) = rest.rsplit_once('-')?;
    let (clock, nanos) = time.split_once('.')?;
    let mut parts = clock
        .splitn(3, ':')
        .map(|part| part.parse::<u16>().map(i64::from));
    let (hour, minute, second) = (
        parts.next()?.ok()?,
        parts.next()?.ok()?,
        parts.next()?.ok()?,
    );
    let days = days_from_civil(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    let seconds = days
        .checked_mul(86_400)?
        .checked_add(hour * 3600 + minute * 60 + second)?;
    // The first second of the range begins before it: in 128 bits nothing overflows.
    let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanos.parse::<i64>().ok()?);
    (nanos.len() == 9).then_some(Timestamp(i64::try_from(all).ok()?))
}

/// The inverse of [`civil_from_days`].
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year.abs() > 10_000 {
        return None;
    }
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (month + 9) % 12;
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    Some(era * 146_097 + doe - 719_468)
}

/// Days since 1970-01-01 to a proleptic Gregorian date (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_rfc_3339_with_nine_digits() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            Timestamp(1_709_210_096_000_000_007).to_string(),
            "2024-02-29T12:34:56.000000007Z"
        );
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn a_printed_time_reads_back_as_itself() {
        for nanos in [0, -1, 1_709_210_096_000_000_007, i64::MIN, i64::MAX] {
            assert_eq!(parse(&Timestamp(nanos).to_string()), Some(Timestamp(nanos)));
        }
        for wrong in [
            "",
            "2024-02-29",
            "2024-13-01T00:00:00.000000000Z",
            "yesterday",
        ] {
            assert_eq!(parse(wrong), None);
        }
    }

    #[test]
    fn sentences_give_the_time_of_day_and_the_day_only_where_it_is_another() {
        let at = Timestamp(1_709_210_096_123_456_789);
        assert_eq!(at.clock().to_string(), "12:34:56.123");
        assert_eq!(Timestamp(-1).clock().to_string(), "23:59:59.999");
        assert_eq!(at.clock_from(at).to_string(), "12:34");
        let next_day = at + Duration::from_secs(86_400);
        assert_eq!(next_day.clock_from(at).to_string(), "2024-03-01 12:34");
    }

    #[test]
    fn durations_never_go_below_zero() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Duration::ZERO);
    }
}
