//! An incident in words: the sentence, the tree of causes with one absolute time (the root's) and offsets, recovery on the same spine, what is
//! still down, what it was not, gaps, what to type next. The screen and the clipboard are painted from the same lines.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::span;
use crate::correlate::rules::Grade;
use crate::engine::snapshot::case::{Case, Step};
use crate::event::Timestamp;
use crate::output::report::clock;
use crate::tui::model::Model;
use crate::tui::text::{left, length, right, width, wrap};
use crate::tui::theme::{Look, Role, Theme};

/// Columns of the time: `12:04:07.118` or `+1234567.123`.
const TIME: usize = 12;
/// Lines of the root's sentence where room is short.
const SENTENCE: usize = 2;
/// Deepest indentation: beyond it depth is not seen any more, but the words still are.
const MAX_DEPTH: usize = 6;

/// How lines are made.
#[derive(Copy, Clone, Debug)]
pub struct Setting {
    pub width: usize,
    pub look: Look,
    /// The step under the cursor.
    pub selected: Option<usize>,
    pub now: Timestamp,
    /// Nothing after this time is shown.
    pub moment: Option<Timestamp>,
    /// The sentence of every step, not only of the root and the selected one.
    pub verbose: bool,
    /// Fewer lines: what came back says so behind its headline, the root's sentence is two lines at most.
    pub compact: bool,
}

impl Setting {
    /// For the screen.
    pub fn of(model: &Model, width: u16) -> Setting {
        Setting {
            width: usize::from(width),
            look: model.look,
            selected: (model.pane > 0).then_some(model.step.at),
            now: model.now(),
            moment: model.moment,
            verbose: false,
            compact: false,
        }
    }
}

/// A line, and the step that it belongs to.
pub struct ChainLine {
    pub line: Line<'static>,
    pub step: Option<usize>,
}

/// A node of the tree: a finding, or its recovery.
struct Node<'a> {
    depth: usize,
    at: Timestamp,
    text: String,
    /// Over, back, ended.
    ok: bool,
    grade: Option<Grade>,
    layer: &'a str,
    step: usize,
}

/// The same as one text.
pub fn story(case: &Case) -> String {
    /// Columns of a mail or a ticket.
    const WIDTH: u16 = 100;
    super::plain(text(case, WIDTH))
}

/// The incident as text for a ticket.
pub fn text(case: &Case, width: u16) -> Vec<Line<'static>> {
    let setting = Setting {
        width: usize::from(width),
        look: Look {
            theme: Theme::Mono,
            ascii: false,
        },
        selected: None,
        now: case.span().1,
        moment: None,
        verbose: true,
        compact: false,
    };
    let mut all = vec![Line::from(format!(
        " {} {} rev {} · opened {}",
        severity(case).0,
        case.id,
        case.rev,
        case.opened_at
    ))];
    all.extend(lines(case, &setting).into_iter().map(|l| l.line));
    all
}

/// The word for an incident's weight, and its role.
pub fn severity(case: &Case) -> (&'static str, Role) {
    use crate::detect::Severity::{Critical, Info, Warning};
    match (case.open, case.severity) {
        (false, _) => ("ok", Role::Ok),
        (_, Critical) => ("CRIT", Role::Critical),
        (_, Warning) => ("WARN", Role::Warning),
        (_, Info) => ("info", Role::Muted),
    }
}

/// The lines for a pane: compact ones where all of them find no room and nobody reads in them yet.
pub fn fitted(model: &Model, case: &Case, at: Rect) -> Vec<ChainLine> {
    let setting = Setting::of(model, at.width);
    let all = lines(case, &setting);
    if model.pane > 0 || all.len() <= usize::from(at.height) {
        return all;
    }
    lines(
        case,
        &Setting {
            compact: true,
            ..setting
        },
    )
}

/// All lines.
pub fn lines(case: &Case, setting: &Setting) -> Vec<ChainLine> {
    let mut out = Vec::new();
    head(case, setting, &mut out);
    tree(case, setting, &mut out);
    tail(case, setting, &mut out);
    out
}

fn plain(out: &mut Vec<ChainLine>, line: Line<'static>) {
    out.push(ChainLine { line, step: None });
}

fn head(case: &Case, setting: &Setting, out: &mut Vec<ChainLine>) {
    let look = setting.look;
    let (_, role) = severity(case);
    let down = case.still_down();
    let lasting = match case.resolved_at.filter(|at| setting.now >= *at) {
        Some(at) => format!("over since {}", clock(at)),
        None => format!("for {}", length(setting.now.minus(case.root.first))),
    };
    let state = match (down, case.steps().count()) {
        (0, _) => lasting,
        (down, all) => format!("{down} of {all} still down · {lasting}"),
    };
    let room = setting.width.saturating_sub(6);
    for (at, text) in wrap(&case.title, room).into_iter().enumerate() {
        let start = if at == 0 { " WHY  " } else { "      " };
        plain(
            out,
            Line::from(vec![
                span(look, role, start),
                span(look, Role::Strong, text),
            ]),
        );
    }
    for text in wrap(&format!("{} · {state}", case.impact), room) {
        plain(
            out,
            Line::from(span(look, Role::Muted, format!("      {text}"))),
        );
    }
}

/// Findings and recoveries in the order of the tree.
fn nodes<'a>(case: &'a Case, setting: &Setting) -> Vec<Node<'a>> {
    let seen = |at: &Timestamp| setting.moment.is_none_or(|moment| *at <= moment);
    let mut nodes = Vec::new();
    for (number, step) in case.steps().enumerate().filter(|(_, s)| seen(&s.first)) {
        let back = recovery(step, setting).filter(|(at, _)| seen(at));
        let mut text = words(step);
        if let Some((_, back)) = back.as_ref().filter(|_| setting.compact) {
            // `… back after 5.0 s`: of what, the headline says.
            let back = back.strip_prefix(step.subject()).unwrap_or(back).trim();
            text.push_str(&format!(" · {back}"));
        }
        nodes.push(Node {
            depth: step.depth,
            at: step.first,
            text,
            ok: false,
            grade: step.link.as_ref().map(|link| link.grade),
            layer: step.layer(),
            step: number,
        });
        if let Some((at, text)) = back.filter(|_| !setting.compact) {
            nodes.push(Node {
                depth: step.depth + 1,
                at,
                text,
                ok: true,
                grade: None,
                layer: step.layer(),
                step: number,
            });
        }
    }
    nodes
}

/// The headline, with how many of its occurrences follow their cause.
fn words(step: &Step) -> String {
    let planned = if step.planned { " (planned)" } else { "" };
    let support = match &step.link {
        Some(link) if link.of > 1 => format!(" [{} of {}]", link.hits, link.of),
        _ => String::new(),
    };
    let inferred = match step.fidelity.as_str() {
        "exact" => "",
        // Some of several may have been folded on the way; one was told.
        "compressed" if step.count > 1 => " (at least)",
        "compressed" => "",
        "gap" => " (seen through a gap)",
        _ => " (inferred)",
    };
    format!("{}{support}{planned}{inferred}", step.headline)
}

/// When it was over, and how that reads.
fn recovery(step: &Step, setting: &Setting) -> Option<(Timestamp, String)> {
    if step.down {
        return None;
    }
    let last = step.spans.last()?;
    let at = last.until.or(step.ended)?;
    let lasted = length(at.minus(last.at));
    let which = if step.spans.len() > 1 && !setting.compact {
        "the last time "
    } else {
        ""
    };
    // What can be up or down comes back; everything else is over.
    let comes_back = [
        "link", "address", "neighbor", "path", "bfd", "session", "route",
    ];
    let text = if comes_back.contains(&step.layer()) {
        format!("{} back {which}after {lasted}", step.subject())
    } else {
        format!("over {which}after {lasted}")
    };
    Some((at, text))
}

fn tree(case: &Case, setting: &Setting, out: &mut Vec<ChainLine>) {
    let look = setting.look;
    let nodes = nodes(case, setting);
    // Where it is narrow grade and layer share a column.
    let layered = setting.width >= 96;
    let tail = if layered { 17 } else { 9 };
    for (at, node) in nodes.iter().enumerate() {
        let root = node.depth == 0 && !node.ok;
        let step = if node.step == 0 {
            Some(&case.root)
        } else {
            case.chain.get(node.step - 1)
        };
        let selected = setting.selected == Some(node.step) && !node.ok;
        let time = if root {
            clock(node.at)
        } else {
            format!("{:+.3}", node.at.minus(case.root.first) as f64 / 1e9)
        };
        let (first, next) = branches(&nodes, at);
        let first = if root { "ROOT  ".to_owned() } else { first };
        let next = if root { "      ".to_owned() } else { next };
        let room = setting
            .width
            .saturating_sub(1 + TIME + 1 + width(&first) + tail);
        let word = match node.grade {
            _ if node.ok => "ok",
            Some(Grade::Likely) => "likely",
            Some(Grade::Possible) => "possible",
            _ => "",
        };
        let role = match (node.ok, root) {
            (true, _) => Role::Ok,
            (_, true) => Role::Strong,
            _ => Role::Text,
        };
        // What is still down says so behind its headline where there is room, else in a line of its own.
        let still = step
            .filter(|step| !node.ok && step.down && setting.moment.is_none())
            .map(|step| {
                let since = step.spans.last().map_or(step.first, |span| span.at);
                format!("… still down {}", length(setting.now.minus(since)))
            });
        let texts = wrap(&node.text, room);
        let behind = still.as_ref().filter(|still| {
            texts
                .last()
                .is_some_and(|last| width(last) + 1 + width(still) <= room)
        });
        let last_row = texts.len().saturating_sub(1);
        for (row, text) in texts.into_iter().enumerate() {
            let mark = if selected { "▌" } else { " " };
            let mut spans = vec![span(look, Role::Accent, mark)];
            let branch = if row == 0 { &first } else { &next };
            if row == 0 {
                let role = if root { Role::Strong } else { Role::Muted };
                spans.push(span(look, role, right(&time, TIME) + " "));
            } else {
                spans.push(Span::raw(" ".repeat(TIME + 1)));
            }
            spans.push(span(
                look,
                if root { Role::Accent } else { Role::Muted },
                branch.clone(),
            ));
            let style = if selected {
                look.style(Role::Selected)
            } else {
                look.style(role)
            };
            match behind.filter(|_| row == last_row) {
                Some(still) => {
                    let rest = room.saturating_sub(width(&text) + 1);
                    spans.push(Span::styled(text + " ", style));
                    spans.push(span(look, Role::Critical, left(still, rest)));
                }
                None => spans.push(Span::styled(left(&text, room), style)),
            }
            if row == 0 {
                let word_role = if node.ok { Role::Ok } else { Role::Warning };
                // Where there is one column for both, the layer gives way to the word.
                let (word, word_role) = match (layered, word) {
                    (false, "") => (node.layer, Role::Muted),
                    _ => (word, word_role),
                };
                spans.push(span(look, word_role, right(word, 9)));
                if layered {
                    let layer = right(node.layer, 8);
                    spans.push(span(look, Role::Muted, layer));
                }
            }
            out.push(ChainLine {
                line: Line::from(spans),
                step: (!node.ok && row == 0).then_some(node.step),
            });
        }
        let Some(step) = step.filter(|_| !node.ok) else {
            continue;
        };
        let indent = 1 + TIME + 1 + width(&next);
        if let Some(still) = still.as_ref().filter(|_| behind.is_none()) {
            under(still, indent, &next, Role::Critical, setting, out);
        }
        if selected || setting.verbose || (root && setting.width >= 70) {
            let before = out.len();
            for text in sentences(step) {
                under(&text, indent, &next, Role::Muted, setting, out);
            }
            if setting.compact && !selected && out.len() > before + SENTENCE {
                out.truncate(before + SENTENCE);
                if let Some(last) = out.last_mut() {
                    last.line.spans.push(span(look, Role::Muted, " …"));
                }
            }
        }
    }
}

/// A line below a step, with the tree's lines going through.
fn under(
    text: &str,
    indent: usize,
    next: &str,
    role: Role,
    setting: &Setting,
    out: &mut Vec<ChainLine>,
) {
    for text in wrap(text, setting.width.saturating_sub(indent + 1)) {
        plain(
            out,
            Line::from(vec![
                Span::raw(" ".repeat(1 + TIME + 1)),
                span(setting.look, Role::Muted, next.to_owned()),
                span(setting.look, role, text),
            ]),
        );
    }
}

/// What stands before a node and before its further lines.
fn branches(nodes: &[Node<'_>], at: usize) -> (String, String) {
    let Some(node) = nodes.get(at) else {
        return Default::default();
    };
    // Whether another node of this level follows below the same parent.
    let goes_on = |level: usize| {
        nodes
            .iter()
            .skip(at + 1)
            .take_while(|later| later.depth >= level)
            .any(|later| later.depth == level)
    };
    let (mut first, mut next) = (String::new(), String::new());
    for level in 1..node.depth.min(MAX_DEPTH) {
        let line = if goes_on(level) { "│   " } else { "    " };
        first.push_str(line);
        next.push_str(line);
    }
    let sure = matches!(node.grade, None | Some(Grade::Certain));
    let on = goes_on(node.depth);
    first.push_str(match (sure, on) {
        (true, true) => "├─▶ ",
        (true, false) => "└─▶ ",
        (false, true) => "├┄▷ ",
        (false, false) => "└┄▷ ",
    });
    next.push_str(if on { "│   " } else { "    " });
    (first, next)
}

/// What a step says beyond its headline.
pub fn sentences(step: &Step) -> Vec<String> {
    let mut all = Vec::new();
    if !step.explain.is_empty() {
        all.push(step.explain.clone());
    }
    all.extend(step.period.clone());
    let actor = step.actor.as_ref().map(|actor| format!("by {actor}"));
    // The sentence may say it already.
    all.extend(actor.filter(|by| !step.explain.contains(by.as_str())));
    all.extend(step.known.iter().map(|known| format!("known: {known}")));
    all.extend(step.said.clone());
    all
}

fn tail(case: &Case, setting: &Setting, out: &mut Vec<ChainLine>) {
    let look = setting.look;
    let room = setting.width.saturating_sub(7);
    let mut section = |name: &str, role: Role, texts: Vec<String>| {
        for (at, text) in texts.iter().enumerate() {
            for (row, text) in wrap(text, room).into_iter().enumerate() {
                let start = if at == 0 && row == 0 {
                    left(name, 5)
                } else {
                    "     ".to_owned()
                };
                plain(
                    out,
                    Line::from(vec![
                        span(look, Role::Strong, format!(" {start} ")),
                        span(look, role, text),
                    ]),
                );
            }
        }
    };
    section("MAYBE", Role::Text, case.maybe.clone());
    let rejected = case.rejected.iter().map(|rejected| {
        let reason = rejected
            .reason
            .as_ref()
            .map(|r| format!(" ({r})"))
            .unwrap_or_default();
        format!("{}{reason}: {}", rejected.kind, rejected.because)
    });
    section("NOT", Role::Text, rejected.collect());
    let gaps = case
        .gaps
        .iter()
        .map(|gap| format!("{} – {}: {}", clock(gap.from), clock(gap.to), gap.detail));
    section("GAP", Role::Warning, gaps.collect());
    section("BLIND", Role::Muted, case.blind.clone());
    let narrow = setting.verbose || setting.width < 60;
    let advice = if narrow {
        case.advice.clone()
    } else {
        joined(&case.advice, room)
    };
    section("TRY", Role::Accent, advice);
}

/// Commands side by side, as many as fit into a line; none is ever broken.
fn joined(commands: &[String], room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for command in commands {
        match lines.last_mut() {
            Some(line) if width(line) + width(command) + 3 <= room => {
                line.push_str(" · ");
                line.push_str(command);
            }
            _ => lines.push(command.clone()),
        }
    }
    lines
}
