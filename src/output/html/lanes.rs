//! Swim lanes: one lane for each subject of the chain, cause above effect, on one axis from which silence is cut out.

use std::fmt::Write;

use super::markup::escape;
use crate::output::alert::{FindingView, IncidentView};

/// Lanes; a chain with more is read in its list.
const LANES: usize = 16;
/// Places where something begins or ends; more are not told apart on this width.
const INSTANTS: usize = 400;
const WIDTH: f64 = 1000.0;
const LABELS: f64 = 250.0;
const ROW: f64 = 26.0;
const TOP: f64 = 28.0;
/// A mark is never thinner: a moment is seen, too.
const THIN: f64 = 4.0;
/// A stretch in which nothing begins or ends gets at most this part of the axis.
const SILENCE: f64 = 0.12;

/// The axis: instants and where they are.
struct Axis {
    /// Nanoseconds since the epoch, and units from the left; sorted.
    stops: Vec<(i64, f64)>,
    /// Middles of stretches that were cut.
    breaks: Vec<f64>,
}

impl Axis {
    fn new(mut instants: Vec<i64>) -> Axis {
        instants.sort_unstable();
        instants.dedup();
        // Evenly thinned: the ends stay.
        let step = instants.len().div_ceil(INSTANTS).max(1);
        let last = instants.last().copied();
        let mut instants: Vec<i64> = instants.into_iter().step_by(step).collect();
        if instants.last().copied() != last {
            instants.extend(last);
        }
        let lengths: Vec<f64> = instants
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64)
            .collect();
        let total: f64 = lengths.iter().sum();
        let most = total * SILENCE;
        // With two or three instants there is no silence between events, only the events.
        let cuts = lengths.len() > 3;
        let shown: Vec<f64> = lengths
            .iter()
            .map(|length| if cuts { length.min(most) } else { *length })
            .collect();
        let whole: f64 = shown.iter().sum::<f64>().max(1.0);
        let (mut at, mut breaks) = (0.0, Vec::new());
        let mut stops = Vec::with_capacity(instants.len());
        for (n, instant) in instants.iter().enumerate() {
            stops.push((*instant, at / whole));
            if let (Some(shown), Some(length)) = (shown.get(n), lengths.get(n)) {
                if shown < length {
                    breaks.push((at + shown / 2.0) / whole);
                }
                at += shown;
            }
        }
        Axis { stops, breaks }
    }

    /// Where an instant is: 0 to 1.
    fn place(&self, at: i64) -> f64 {
        let next = self.stops.partition_point(|(stop, _)| *stop <= at);
        match (
            next.checked_sub(1).and_then(|n| self.stops.get(n)),
            self.stops.get(next),
        ) {
            (Some((from, x)), Some((to, y))) => {
                x + (y - x) * ((at - from) as f64 / (to - from) as f64)
            }
            (Some((_, x)), None) => *x,
            (None, _) => 0.0,
        }
    }

    fn x(&self, at: i64) -> f64 {
        LABELS + self.place(at) * (WIDTH - LABELS - 10.0)
    }
}

fn nanos(at: &str) -> Option<i64> {
    let at: jiff::Timestamp = at.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok()
}

fn span(finding: &FindingView) -> Option<(i64, i64)> {
    let first = nanos(&finding.first)?;
    let last = finding
        .ended
        .as_deref()
        .and_then(nanos)
        .or(nanos(&finding.last));
    Some((first, last.unwrap_or(first).max(first)))
}

/// The lanes of an incident. A file of its own brings its name space along.
pub fn svg(incident: &IncidentView, alone: bool) -> String {
    let mut rows: Vec<(&FindingView, Option<&str>, (i64, i64))> = Vec::new();
    let chain = incident
        .chain
        .iter()
        .map(|effect| (&effect.finding, Some(effect.cause.as_str())));
    for (finding, cause) in std::iter::once((&incident.root, None))
        .chain(chain)
        .take(LANES)
    {
        if let Some(span) = span(finding) {
            rows.push((finding, cause, span));
        }
    }
    let gaps: Vec<(i64, i64, &str)> = incident
        .gaps
        .iter()
        .filter_map(|gap| Some((nanos(&gap.from)?, nanos(&gap.to)?, gap.kind.as_str())))
        .collect();
    let instants = rows.iter().flat_map(|(_, _, (from, to))| [*from, *to]);
    let axis = Axis::new(instants.collect());
    let height = TOP + rows.len() as f64 * ROW + 8.0;
    let mut out = String::new();
    let space = if alone {
        " xmlns=\"http://www.w3.org/2000/svg\""
    } else {
        ""
    };
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<svg{space} role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\" fill=\"currentColor\"><title>"
    );
    escape(&mut out, &incident.title);
    out.push_str("</title><defs><pattern id=\"loss\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><path d=\"M0 6 6 0\" stroke=\"currentColor\" stroke-opacity=\".5\"/></pattern></defs>");
    scale(&mut out, &axis, height);
    for (from, to, kind) in gaps {
        let (x, end) = (axis.x(from), axis.x(to));
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"url(#loss)\"><title>loss: ",
            (end - x).max(THIN),
            height - TOP
        );
        escape(&mut out, kind);
        out.push_str("</title></rect>");
    }
    for (n, (finding, _, span)) in rows.iter().enumerate() {
        row(&mut out, &axis, n, finding, *span);
    }
    for (n, (_, cause, (from, _))) in rows.iter().enumerate() {
        let cause = cause.and_then(|id| rows.iter().position(|(finding, _, _)| finding.id == id));
        if let Some(cause) = cause {
            let began = rows.get(cause).map_or(*from, |(_, _, (began, _))| *began);
            arrow(
                &mut out,
                (axis.x(began), middle(cause)),
                (axis.x(*from), middle(n)),
            );
        }
    }
    out.push_str("</svg>");
    if alone {
        out.push('\n');
    }
    out
}

fn middle(row: usize) -> f64 {
    TOP + row as f64 * ROW + ROW / 2.0
}

/// The ends of the axis, and where it is cut.
fn scale(out: &mut String, axis: &Axis, height: f64) {
    let (Some((from, _)), Some((to, _))) = (axis.stops.first(), axis.stops.last()) else {
        return;
    };
    let shown = |at: i64| {
        crate::event::Timestamp(at)
            .to_string()
            .get(11..23)
            .unwrap_or_default()
            .to_owned()
    };
    let _ = write!(
        out,
        "<text x=\"{LABELS}\" y=\"12\">{}</text><text x=\"{:.1}\" y=\"12\" text-anchor=\"end\">{} ({:.1} s later)</text>",
        shown(*from),
        WIDTH - 2.0,
        shown(*to),
        (to - from) as f64 / 1e9
    );
    let _ = write!(
        out,
        "<path d=\"M{LABELS} 20H{}\" stroke=\"currentColor\" stroke-opacity=\".4\"/>",
        WIDTH - 10.0
    );
    for at in &axis.breaks {
        let x = LABELS + at * (WIDTH - LABELS - 10.0);
        let _ = write!(
            out,
            "<path d=\"M{:.1} 25l4-10m3 10l4-10\" stroke=\"currentColor\" fill=\"none\"/><path d=\"M{x:.1} {TOP}V{height}\" stroke=\"currentColor\" stroke-opacity=\".25\" stroke-dasharray=\"2 4\"/>",
            x - 5.0
        );
    }
}

fn row(out: &mut String, axis: &Axis, n: usize, finding: &FindingView, (from, to): (i64, i64)) {
    let subject = finding.subjects.first().map_or("", String::as_str);
    let label: String = format!("{} {subject}", finding.kind)
        .chars()
        .take(42)
        .collect();
    let y = middle(n);
    let _ = write!(out, "<text x=\"0\" y=\"{:.1}\">", y + 4.0);
    escape(out, &label);
    let x = axis.x(from);
    let width = (axis.x(to) - x).max(THIN);
    // What it means is told by fill, not by colour alone: critical is full.
    let opacity = match finding.severity.as_str() {
        "critical" => ".9",
        "warning" => ".55",
        _ => ".25",
    };
    let _ = write!(
        out,
        "</text><rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\" rx=\"2\" fill-opacity=\"{opacity}\" stroke=\"currentColor\"><title>",
        y - 6.0
    );
    escape(out, &finding.explain);
    out.push_str("</title></rect>");
    if finding.count > 1 {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\">×{}</text>",
            (x + width + 3.0).min(WIDTH - 40.0),
            y + 4.0,
            finding.count
        );
    }
}

fn arrow(out: &mut String, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
    let _ = write!(
        out,
        "<path d=\"M{x:.1} {:.1}C{x:.1} {:.1} {to_x:.1} {:.1} {to_x:.1} {:.1}m-3-5l3 5 3-5\" stroke=\"currentColor\" stroke-opacity=\".6\" fill=\"none\"/>",
        y + 6.0,
        y + 16.0,
        to_y - 18.0,
        to_y - 7.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_cut_out_and_order_is_kept() {
        let second = 1_000_000_000;
        // A burst, an hour of nothing, a burst.
        let mut instants: Vec<i64> = (0..10).map(|n| n * second).collect();
        instants.extend((0..10).map(|n| (3600 + n) * second));
        let axis = Axis::new(instants.clone());
        assert_eq!(axis.breaks.len(), 1);
        let places: Vec<f64> = instants.iter().map(|at| axis.place(*at)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!((places[0], places[19]) == (0.0, 1.0));
        let thousands = Axis::new((0..100_000).map(|n| n * second).collect());
        assert!(thousands.stops.len() <= INSTANTS + 1);
        assert_eq!(Axis::new(Vec::new()).place(5), 0.0);
    }
}
