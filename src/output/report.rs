//! The analysis as an engineer's report in plain text: verdict, chain, what was rejected, what could not be seen, what to try, tables.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::alert::InputView;
use super::json::tally;
use super::selection::Selection;
use crate::correlate::explain::{headline, reason_words};
use crate::correlate::incident::{Effect, Incident};
use crate::correlate::rules::Grade;
use crate::detect::{Finding, Reason, Severity};
use crate::engine::Engine;
use crate::event::source::Unit;
use crate::event::{Locator, Timestamp, text};

/// How to paint.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Style {
    /// Columns; prose wraps, addresses never do.
    pub width: usize,
    /// ANSI colours (never when piped or with NO_COLOR).
    pub color: bool,
    /// No box-drawing characters.
    pub ascii: bool,
}

impl Default for Style {
    fn default() -> Style {
        Style {
            width: 100,
            color: false,
            ascii: false,
        }
    }
}

/// Roles, not colours; every state also has a word.
#[derive(Copy, Clone)]
enum Role {
    Critical,
    Warning,
    Ok,
    Accent,
    Muted,
    Strong,
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    fn paint(&self, role: Role, text: &str) -> String {
        if !self.style.color {
            return text.to_owned();
        }
        let code = match role {
            Role::Critical => "1;31",
            Role::Warning => "33",
            Role::Ok => "32",
            Role::Accent => "36",
            Role::Muted => "2",
            Role::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// `text` after `head`, wrapped, continued under the text. `head_width` is the head's width on screen.
    fn wrapped(&mut self, head: &str, head_width: usize, text: &str, role: Option<Role>) {
        let room = self.style.width.saturating_sub(head_width).max(30);
        for (n, line) in wrap(text, room).iter().enumerate() {
            let start = if n == 0 {
                head.to_owned()
            } else {
                " ".repeat(head_width)
            };
            let painted = role.map_or_else(|| line.clone(), |role| self.paint(role, line));
            self.line(&format!("{start}{painted}"));
        }
    }

    fn heading(&mut self, text: &str) {
        self.blank();
        let painted = self.paint(Role::Strong, text);
        self.line(&painted);
    }

    /// A table: right-aligned numbers, columns as wide as their widest cell, no cell ever cut.
    fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let mut widths: Vec<usize> = head.iter().map(|h| h.width()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let numeric = |column: usize| {
            !rows.is_empty()
                && rows.iter().all(|row| {
                    row[column]
                        .chars()
                        .all(|c| c.is_ascii_digit() || "., -".contains(c))
                })
        };
        let paint_row = |cells: Vec<&str>| {
            let mut line = String::from(" ");
            for (column, cell) in cells.iter().enumerate() {
                let pad = " ".repeat(widths[column].saturating_sub(cell.width()));
                let _ = if numeric(column) {
                    write!(line, " {pad}{cell} ")
                } else {
                    write!(line, " {cell}{pad} ")
                }; // a String takes all
            }
            line
        };
        let top = paint_row(head.to_vec());
        let top = self.paint(Role::Muted, top.trim_end());
        self.line(&top);
        for row in rows {
            let line = paint_row(row.iter().map(String::as_str).collect());
            self.line(&line);
        }
    }
}

/// The whole report, as far as `selection` lets it through. `incidents` are all there are.
pub fn render(
    engine: &Engine,
    incidents: &[Incident],
    inputs: &[InputView],
    selection: &Selection,
    style: Style,
) -> String {
    let mut page = Page {
        out: String::new(),
        style,
    };
    let top = selection.top;
    summary(&mut page, engine, incidents, inputs);
    if !selection.filter.is_empty() {
        let sentence = selection.sentence(incidents);
        let hint = format!("{sentence}; findings and tables show what matches it, too.");
        page.wrapped("           ", 11, &hint, Some(Role::Accent));
    }
    let shown = selection.incidents(incidents);
    for incident in shown.iter().filter(|i| i.merged_into.is_none()) {
        page.blank();
        self::incident(&mut page, incident);
    }
    let quiet: Vec<&Finding> = selection
        .findings(engine)
        .filter(|(_, incident)| incident.is_none())
        .map(|(finding, _)| finding)
        .collect();
    notes(&mut page, &quiet);
    tables(&mut page, engine, selection);
    announced(&mut page, engine, top);
    let gaps = engine.gaps();
    if !gaps.is_empty() {
        page.heading("GAPS");
        for (_, gap) in gaps.iter().take(top) {
            let head = format!("  {} – {}  ", clock(gap.from), clock(gap.to));
            let width = head.width();
            page.wrapped(&head, width, &gap.detail.to_string(), None);
        }
        if gaps.len() > top {
            page.line(&format!("  … and {} more", gaps.len() - top));
        }
    }
    let blind = engine.blind_spots();
    if !blind.is_empty() {
        page.heading("BLIND SPOTS");
        for spot in &blind {
            page.wrapped("  ", 2, spot, None);
        }
    }
    page.out
}

/// What people said, on the timeline of the report.
fn announced(page: &mut Page, engine: &Engine, top: usize) {
    let all: Vec<_> = engine.annotations().collect();
    if all.is_empty() {
        return;
    }
    page.heading("ANNOUNCED");
    for said in all.iter().rev().take(top).rev() {
        let until = said
            .until
            .map(|until| format!(" – {}", clock(until)))
            .unwrap_or_default();
        let head = format!("  {}{until}  ", day_and_clock(said.from));
        let mut text = format!("\"{}\"", said.text);
        if let Some(author) = &said.author {
            let _ = write!(text, " by {author}"); // a String takes all
        }
        for subject in &said.subjects {
            let _ = write!(text, " · {subject}");
        }
        if said.silence {
            text.push_str(" · silences what it explains");
        }
        let width = head.width();
        page.wrapped(&head, width, &text, None);
    }
    if all.len() > top {
        page.line(&format!("  … and {} before", all.len() - top));
    }
}

fn summary(page: &mut Page, engine: &Engine, incidents: &[Incident], inputs: &[InputView]) {
    let counts = engine.counts();
    let span = match engine.from() {
        Some(from) => format!(
            "{} – {} UTC ({})",
            day_and_clock(from),
            clock(engine.now()),
            length(engine.now().since(from).as_secs_f64())
        ),
        None => "no events".to_owned(),
    };
    // Evidence is given as input:frame: with several inputs each says its number.
    let names: Vec<String> = inputs
        .iter()
        .map(|i| match inputs.len() {
            1 => text::sanitized(&i.name),
            _ => format!("{}:{}", i.id, text::sanitized(&i.name)),
        })
        .collect();
    let head = page.paint(Role::Strong, "flapscope");
    page.wrapped(
        &format!("{head}  "),
        11,
        &format!(
            "{span} · {} events from {}",
            grouped(counts.events),
            names.join(", ")
        ),
        None,
    );
    let open: Vec<&Incident> = incidents
        .iter()
        .filter(|i| i.merged_into.is_none())
        .collect();
    let verdict = match open.len() {
        // Not the calm of a quiet network: nobody looked.
        0 if !engine.saw_anything() => page.paint(
            Role::Warning,
            "Nothing was read: whether there were incidents is unknown.",
        ),
        0 => page.paint(Role::Ok, "No incidents."),
        1 => format!("1 incident: {}.", tally(incidents)),
        n => format!("{n} incidents: {}.", tally(incidents)),
    };
    page.line(&format!("           {verdict}"));
    for sentence in engine.known() {
        page.wrapped("           ", 11, sentence, Some(Role::Muted));
    }
    for input in inputs {
        for note in &input.notes {
            page.wrapped(
                "           ",
                11,
                &format!(
                    "{}: {}",
                    text::sanitized(&input.name),
                    text::sanitized(note)
                ),
                Some(Role::Muted),
            );
        }
    }
}

/// One incident: verdict sentence, impact, chain, what it was not, gaps, blind spots, what to try.
pub fn incident_text(incident: &Incident, style: Style) -> String {
    let mut page = Page {
        out: String::new(),
        style,
    };
    self::incident(&mut page, incident);
    page.out
}

fn incident(page: &mut Page, incident: &Incident) {
    let (word, role) = match incident.severity {
        Severity::Critical => ("CRITICAL", Role::Critical),
        Severity::Warning => ("WARNING", Role::Warning),
        Severity::Info => ("INFO", Role::Muted),
    };
    let state = match incident.resolved_at {
        Some(at) => format!("resolved {}", clock(at)),
        None => "open".to_owned(),
    };
    let head = format!("{} {} {}  ", page.paint(role, word), incident.id, state);
    let head_width = word.len() + incident.id.len() + state.len() + 4;
    page.wrapped(&head, head_width, &incident.title, Some(Role::Strong));
    page.wrapped("  IMPACT  ", 10, &incident.impact, None);
    let root_head = format!(
        "  WHY     {}  {}  ",
        clock(incident.root.first),
        page.paint(Role::Accent, "ROOT")
    );
    page.wrapped(
        &root_head,
        10 + 12 + 2 + 4 + 2,
        &headline(&incident.root),
        None,
    );
    details(page, &incident.root, 28);
    for (at, effect) in incident.chain.iter().enumerate() {
        let last = incident.chain[at + 1..]
            .iter()
            .all(|later| later.depth < effect.depth);
        self::effect(page, incident.root.first, effect, last);
    }
    for (n, change) in incident.changes.iter().enumerate() {
        let head = if n == 0 { "  CHANGE  " } else { "          " };
        let text = format!(
            "{}  possible cause: {}",
            clock(change.from),
            change.because()
        );
        page.wrapped(head, 10, &text, None);
    }
    for joint in &incident.cooccurring {
        let text = format!("{} {}: {}", joint.kind, joint.subject, joint.because);
        page.wrapped("  MAYBE   ", 10, &text, None);
    }
    if let Some(window) = &incident.silenced {
        let text = format!(
            "\"{window}\" was announced and covers all of this: told at info, it wakes nobody"
        );
        page.wrapped("  SILENT  ", 10, &text, None);
    }
    for (n, rejected) in incident.rejected.iter().enumerate() {
        let head = if n == 0 { "  NOT     " } else { "          " };
        let reason = rejected
            .reason
            .map(|r: Reason| format!(" ({})", reason_words(r)))
            .unwrap_or_default();
        page.wrapped(
            head,
            10,
            &format!("{}{reason}: {}", rejected.kind, rejected.because),
            None,
        );
    }
    for (n, (_, gap)) in incident.gaps.iter().enumerate() {
        let head = if n == 0 { "  GAP     " } else { "          " };
        page.wrapped(
            head,
            10,
            &format!("{} – {}: {}", clock(gap.from), clock(gap.to), gap.detail),
            None,
        );
    }
    for (n, blind) in incident.blind.iter().enumerate() {
        page.wrapped(
            if n == 0 { "  BLIND   " } else { "          " },
            10,
            blind,
            None,
        );
    }
    for (n, advice) in incident.advice.iter().enumerate() {
        page.wrapped(
            if n == 0 { "  TRY     " } else { "          " },
            10,
            advice,
            Some(Role::Accent),
        );
    }
}

fn effect(page: &mut Page, origin: Timestamp, effect: &Effect, last: bool) {
    let offset = format!("{:>+12.3}", effect.at().minus(origin) as f64 / 1e9);
    let sure = effect.grade == Grade::Certain;
    let branch = match (page.style.ascii, sure, last) {
        (true, true, _) => "|->",
        (true, false, _) => "|.>",
        (false, true, false) => "├─▶",
        (false, true, true) => "└─▶",
        (false, false, false) => "├┄▷",
        (false, false, true) => "└┄▷",
    };
    let indent = "   ".repeat(effect.depth.saturating_sub(1).min(6));
    let head = format!("          {offset}  {indent}{branch} ");
    let width = 10 + 12 + 2 + indent.len() + 4;
    let grade = match effect.grade {
        Grade::Certain => String::new(),
        Grade::Likely => "likely: ".to_owned(),
        Grade::Possible => "possible: ".to_owned(),
    };
    let down = if effect.finding.ended.is_none() && effect.finding.broken.subject {
        " … still down"
    } else {
        ""
    };
    let support = if effect.of > 1 {
        format!(" [{} of {}]", effect.hits, effect.of)
    } else {
        String::new()
    };
    page.wrapped(
        &head,
        width,
        &format!("{grade}{}{support}{down}", headline(&effect.finding)),
        None,
    );
    details(page, &effect.finding, width);
}

/// The sentence, known explanations, the notification's text, and the frames.
fn details(page: &mut Page, finding: &Finding, indent: usize) {
    let head = " ".repeat(indent);
    if !finding.explain.is_empty() {
        page.wrapped(&head, indent, &finding.sentence(), Some(Role::Muted));
    }
    if let Some(period) = &finding.period {
        let matches = period
            .matches
            .as_ref()
            .map(|m| format!(": {m}"))
            .unwrap_or_default();
        // Waits that double have a first one and no period.
        let text = if period.is_steady() {
            format!(
                "every {} ± {}{matches}",
                measure(period.seconds),
                measure(period.seconds * period.spread)
            )
        } else {
            format!("first after {}{matches}", measure(period.seconds))
        };
        page.wrapped(&head, indent, &text, Some(Role::Muted));
    }
    for explanation in &finding.explanations {
        page.wrapped(
            &head,
            indent,
            &format!("known: {explanation}"),
            Some(Role::Muted),
        );
    }
    if let Some((notification, from)) = &finding.notification
        && let Some(said) = &notification.text
    {
        page.wrapped(
            &head,
            indent,
            &format!("{from} said: \"{said}\""),
            Some(Role::Muted),
        );
    }
    let frames: Vec<String> = finding.evidence.kept().iter().map(place).collect();
    if !frames.is_empty() {
        let more = finding.evidence.total.saturating_sub(frames.len() as u64);
        let more = if more > 0 {
            format!(" (+{more})")
        } else {
            String::new()
        };
        page.wrapped(
            &head,
            indent,
            &format!("evidence {}{more}", frames.join(" ")),
            Some(Role::Muted),
        );
    }
}

/// `input:frame`, or `input@record`.
fn place(locator: &Locator) -> String {
    match locator.unit {
        Unit::Frame => format!("{}:{}", locator.input.0, locator.number),
        Unit::Record => format!("{}@{}", locator.input.0, locator.number),
    }
}

/// What was noticed and is no incident.
fn notes(page: &mut Page, findings: &[&Finding]) {
    if findings.is_empty() {
        return;
    }
    page.heading("NOTICED, NO INCIDENT");
    const SHOWN: usize = 20;
    for finding in findings.iter().take(SHOWN) {
        let head = format!("  {}  {:<26} ", clock(finding.first), finding.kind.as_str());
        let width = head.width();
        let said = if finding.explain.is_empty() {
            headline(finding)
        } else {
            finding.sentence()
        };
        page.wrapped(&head, width, &said, None);
    }
    if findings.len() > SHOWN {
        page.line(&format!(
            "  … and {} more (--format json has all)",
            findings.len() - SHOWN
        ));
    }
}

fn tables(page: &mut Page, engine: &Engine, selection: &Selection) {
    for table in super::tables::all(engine, selection) {
        if table.rows.is_empty() {
            continue;
        }
        page.heading(table.title);
        page.table(&table.head, &table.rows);
        if let Some(more) = table.more {
            page.line(&format!("  … and {more} more (--top shows more)"));
        }
    }
}

/// Greedy wrap at spaces; a word longer than the room stands alone, uncut.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `12:04:07.118`.
pub fn clock(at: Timestamp) -> String {
    at.clock().to_string()
}

fn day_and_clock(at: Timestamp) -> String {
    at.to_string()
        .get(..23)
        .unwrap_or_default()
        .replace('T', " ")
}

/// A period, as exact as it means something.
fn measure(seconds: f64) -> String {
    match seconds {
        s if s < 0.0005 => "0 ms".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

/// A time span for people.
pub fn length(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

/// Thousands separated by commas.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_wraps_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("2001:db8:aaaa:bbbb::1/128 x", 5),
            ["2001:db8:aaaa:bbbb::1/128", "x"]
        );
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }
}
