//! Times as reports write them.

/// Nanoseconds of `2026-11-29T07:20:13.206000000Z`; 0 for anything else.
pub fn rfc3339(text: &str) -> i64 {
    let n = |range: std::ops::Range<usize>| text.get(range).and_then(|t| t.parse::<i64>().ok());
    let parts = (|| {
        let (y, m, d) = (n(0..4)?, n(5..7)?, n(8..10)?);
        let (hour, minute, second) = (n(11..13)?, n(14..16)?, n(17..19)?);
        let nanos = n(20..29).unwrap_or(0);
        // Days from the civil calendar (Howard Hinnant's algorithm).
        let year = if m <= 2 { y - 1 } else { y };
        let era = year.div_euclid(400);
        let of_era = year - era * 400;
        let of_year = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos)
    })();
    parts.unwrap_or(0)
}

/// A time of day `07:20:13.206`, on the day on which it is nearest to `near`. The sentence leaves the microseconds out.
pub fn clock(text: &str, near: i64) -> Option<i64> {
    const DAY: i64 = 86_400_000_000_000;
    let n = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    if text.len() != 12 {
        return None;
    }
    let (hour, minute, second, ms) = (n(0..2)?, n(3..5)?, n(6..8)?, n(9..12)?);
    let of_day = ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + ms * 1_000_000;
    let midnight = near.div_euclid(DAY) * DAY;
    [midnight - DAY, midnight, midnight + DAY]
        .into_iter()
        .map(|day| day + of_day)
        .min_by_key(|at| (at - near).abs())
}
