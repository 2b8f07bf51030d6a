//! Small texts for narrow columns: counts over time as bars, lengths of time, times of day.

use crate::event::Timestamp;

/// Eight heights; nothing is a line on the ground, so that one sees that the time was watched.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Counts as bars, the greatest as high as can be.
pub fn bars(counts: &[u32]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u32| {
        // Whatever happened is higher than the ground.
        let height = u64::from(*count) * 7 / u64::from(most);
        let height = usize::try_from(height)
            .unwrap_or(7)
            .max(usize::from(*count > 0));
        HEIGHTS.get(height).copied().unwrap_or('█')
    };
    counts.iter().map(bar).collect()
}

/// `412 ms`, `4.2 s`, `41 s`, `12 m`, `3.5 h`, `2 d`: a length in few columns.
pub fn short(nanos: i64) -> String {
    let seconds = nanos.max(0) as f64 / 1e9;
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} m", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// `in 12 m`, `past`: how long until a time.
pub fn ahead(now: Timestamp, at: Timestamp) -> String {
    match at.minus(now) {
        _ if at == Timestamp::MAX => "never".to_owned(),
        left if left >= 0 => format!("in {}", short(left)),
        _ => "past".to_owned(),
    }
}

/// `12:04:07`: a time of day in whole seconds, with the day where it is another one.
pub fn second(now: Timestamp, at: Timestamp) -> String {
    const DAY: i64 = 86_400_000_000_000;
    let text = at.to_string();
    let range = if at.0.div_euclid(DAY) == now.0.div_euclid(DAY) {
        11..19
    } else {
        0..19
    };
    text.get(range).unwrap_or(&text).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happened_is_higher_than_the_ground() {
        assert_eq!(bars(&[0, 1, 1000, 500]), "▁▂█▄");
        assert_eq!(bars(&[0, 0]), "▁▁");
        assert_eq!(bars(&[]), "");
    }

    #[test]
    fn lengths_take_few_columns() {
        let of = |ms: i64| short(ms * 1_000_000);
        assert_eq!(
            [of(412), of(4_200), of(41_000), of(720_000), of(12_600_000)],
            ["412 ms", "4.2 s", "41 s", "12 m", "3.5 h"]
        );
    }

    #[test]
    fn a_time_on_another_day_bears_its_day() {
        let now = Timestamp(86_400_000_000_000 - 1_000_000_000);
        assert_eq!(second(now, now), "23:59:59");
        assert_eq!(
            second(now, Timestamp(now.0 + 2_000_000_000)),
            "1970-01-02 00:00:01"
        );
    }
}
