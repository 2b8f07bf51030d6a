//! The home view: incidents, and why. One below the other from 80 columns, side by side from 100, with the evidence from 120; lanes where
//! there is room for them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{chain, empty, lanes, line, lines, rule, span};
use crate::engine::snapshot::case::{Case, Step};
use crate::output::report::clock;
use crate::tui::model::Model;
use crate::tui::text::{age, clause, cut, left, length, right, width, wrap};
use crate::tui::theme::Role;

/// Rows of the list when it stands above its chain: enough for a bad night's worst, the rest scrolls.
const LIST: u16 = 6;
/// A chain with fewer rows hides what to type next: lanes go away first (`v` brings them).
const LEAST_CHAIN: u16 = 20;

/// Where the panes are.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Panes {
    pub list: Option<Rect>,
    pub chain: Option<Rect>,
    pub evidence: Option<Rect>,
    pub lanes: Option<Rect>,
}

/// By width, height and what is zoomed.
pub fn panes(model: &Model, body: Rect) -> Panes {
    let shown = model.shown().len();
    if shown == 0 {
        return Panes {
            list: Some(body),
            ..Panes::default()
        };
    }
    let mut panes = Panes::default();
    let mut body = body;
    let only = model.zoom || body.width < 80;
    if only && model.pane == 0 {
        panes.list = Some(body);
        return panes;
    }
    let wanted = model.case().map_or(0, |case| lanes::height(case, model));
    if model.lanes && (only || body.height < LEAST_CHAIN + wanted + LIST) {
        // Lanes instead of the chain.
        let above = if only { 0 } else { list_rows(shown, body) };
        panes.list = (above > 0).then_some(Rect {
            height: above,
            ..body
        });
        panes.lanes = Some(Rect {
            y: body.y + above,
            height: body.height - above,
            ..body
        });
        return panes;
    }
    let beside = body.width >= 100 && !only;
    let above = if beside { 0 } else { LIST };
    if wanted > 0 && body.height >= LEAST_CHAIN + above + wanted {
        panes.lanes = Some(Rect {
            y: body.bottom() - wanted,
            height: wanted,
            ..body
        });
        body.height -= wanted;
    }
    if only {
        panes.chain = Some(body);
    } else if beside {
        let list = (body.width * 30 / 100).clamp(36, 60);
        let evidence = if body.width >= 120 {
            (body.width * 26 / 100).clamp(30, 56)
        } else {
            0
        };
        panes.list = Some(Rect {
            width: list,
            ..body
        });
        panes.chain = Some(Rect {
            x: body.x + list + 1,
            width: body.width - list - 1 - if evidence > 0 { evidence + 1 } else { 0 },
            ..body
        });
        panes.evidence = (evidence > 0).then(|| Rect {
            x: body.right() - evidence,
            width: evidence,
            ..body
        });
    } else {
        let list = list_rows(shown, body);
        panes.list = Some(Rect {
            height: list,
            ..body
        });
        panes.chain = Some(Rect {
            y: body.y + list + 1,
            height: body.height.saturating_sub(list + 1),
            ..body
        });
    }
    panes
}

/// Lines of an incident in the list: two where the list stands beside its chain and is narrow, so that the sentence is read there.
pub fn case_lines(panes: &Panes) -> usize {
    match (panes.list, panes.chain) {
        (Some(list), Some(chain)) if list.right() < chain.x => 2,
        _ => 1,
    }
}

/// As many rows as there are incidents, within reason, and the head.
fn list_rows(shown: usize, body: Rect) -> u16 {
    let most = LIST.max(body.height / 4);
    u16::try_from(shown).unwrap_or(most).min(most) + 1
}

/// Paints the view.
pub fn paint(model: &Model, area: Rect, buffer: &mut Buffer) {
    let Some(case) = model.case().cloned() else {
        return empty::incidents(model, area, buffer);
    };
    let panes = panes(model, area);
    if let Some(at) = panes.list {
        list(model, at, case_lines(&panes), buffer);
    }
    if let Some(at) = panes.chain {
        chain_pane(model, &case, at, buffer);
        if panes.list.is_some_and(|list| list.right() < at.x) {
            upright(model, at.x - 1, at, buffer);
        } else if let Some(list) = panes.list {
            let row = Rect {
                y: list.bottom(),
                height: 1,
                ..list
            };
            let title = if model.pane > 0 { "chain" } else { "" };
            let text = if title.is_empty() {
                Line::from(span(
                    model.look,
                    Role::Muted,
                    "─".repeat(usize::from(row.width)),
                ))
            } else {
                rule(model.look, title, usize::from(row.width), true)
            };
            line(buffer, row, text);
        }
    }
    if let Some(at) = panes.evidence {
        upright(model, at.x - 1, at, buffer);
        let step = case
            .steps()
            .nth(if model.pane > 0 { model.step.at } else { 0 });
        if let Some(step) = step {
            lines(buffer, at, evidence(model, step, usize::from(at.width)));
        }
    }
    if let Some(at) = panes.lanes {
        lanes::paint(&case, model, at, buffer);
    }
}

/// The chain, as far as it fits. What to type next is always on the screen: where the chain is longer than its pane, the last line has it.
fn chain_pane(model: &Model, case: &Case, at: Rect, buffer: &mut Buffer) {
    let all = chain::fitted(model, case, at);
    let hidden = all
        .len()
        .saturating_sub(model.scroll + usize::from(at.height));
    let columns = usize::from(at.width);
    let advice = case.advice.iter().find(|text| width(text) + 7 <= columns);
    let advice = advice.filter(|_| model.pane == 0 && hidden > 0 && at.height > 8);
    let mut body = at;
    body.height -= u16::from(advice.is_some());
    let more = all
        .len()
        .saturating_sub(model.scroll + usize::from(body.height));
    let shown = all.into_iter().skip(model.scroll).map(|l| l.line);
    lines(buffer, body, shown);
    if let Some(text) = advice {
        let last = Rect {
            y: body.bottom(),
            height: 1,
            ..at
        };
        let parts = vec![
            span(model.look, Role::Strong, " TRY   "),
            span(model.look, Role::Accent, text.clone()),
        ];
        line(buffer, last, Line::from(parts));
    }
    if more > 0 && body.height > 0 {
        let text = format!(" ↓ {more} more ");
        let wide = u16::try_from(width(&text)).unwrap_or(0);
        let style = model.look.style(Role::Accent);
        buffer.set_string(
            at.right().saturating_sub(wide),
            body.bottom() - 1,
            text,
            style.add_modifier(Modifier::REVERSED),
        );
    }
}

fn upright(model: &Model, x: u16, beside: Rect, buffer: &mut Buffer) {
    for y in beside.top()..beside.bottom() {
        buffer.set_string(x, y, "│", model.look.style(Role::Muted));
    }
}

/// Columns of the list for a width: age, severity and words always, the effects where there is room.
fn list(model: &Model, area: Rect, each: usize, buffer: &mut Buffer) {
    let look = model.look;
    let shown = model.shown();
    let columns = usize::from(area.width);
    // The sentence has the room: what it is about stands in it mostly, and beside it where it does not.
    let effects = match columns {
        0..=47 => 0,
        48..=71 => 7,
        _ => 9,
    };
    let room = columns.saturating_sub(12 + effects + 1);
    let mut head = format!(
        " {}{} {}",
        left("SEV", 5),
        right("AGE", 4),
        left(" INCIDENT", room + 1)
    );
    if effects > 0 {
        head.push_str(&right("EFFECTS", effects));
    }
    line(
        buffer,
        Rect { height: 1, ..area },
        Line::from(span(look, Role::Muted, head)),
    );
    let rows = Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(1),
        ..area
    };
    let all = shown.iter().enumerate().skip(model.cases.top);
    let all = all.flat_map(|(at, case)| {
        let selected = at == model.cases.at;
        let (word, role) = chain::severity(case);
        let mut text = look.style(if case.open { Role::Text } else { Role::Muted });
        if selected {
            text = look.style(Role::Selected);
            if model.pane == 0 {
                text = text.add_modifier(Modifier::REVERSED);
            }
        }
        let mut spans = vec![
            span(look, Role::Accent, if selected { "▌" } else { " " }),
            span(look, role, left(word, 5)),
            span(
                look,
                Role::Muted,
                right(&age(model.now().minus(case.root.first)), 4),
            ),
            Span::raw("  "),
        ];
        let words = title(case);
        let name = case.subject();
        let beside = width(name) + 2;
        let mut second = None;
        if !words.contains(name) && width(&words) + beside <= room {
            let rest = room - width(&words) - 2;
            spans.push(Span::styled(words + "  ", text));
            spans.push(span(look, Role::Accent, left(name, rest)));
        } else if each > 1 {
            let first = wrap(&words, room).into_iter().next().unwrap_or_default();
            let rest = words.get(first.len()..).unwrap_or_default().trim_start();
            let room = columns.saturating_sub(13);
            second = Some(left(&clause(rest, room), room));
            spans.push(Span::styled(
                left(&first, columns.saturating_sub(12 + effects + 1)),
                text,
            ));
        } else {
            spans.push(Span::styled(left(&clause(&words, room), room), text));
        }
        if effects > 0 {
            spans.push(span(look, Role::Muted, right(&effect_count(case), effects)));
        }
        let mut both = vec![Line::from(spans)];
        if each > 1 {
            both.push(Line::from(vec![
                span(look, Role::Accent, if selected { "▌" } else { " " }),
                Span::raw(" ".repeat(11)),
                Span::styled(second.unwrap_or_default(), text),
            ]));
        }
        both
    });
    lines(buffer, rows, all);
}

fn title(case: &Case) -> String {
    match &case.room {
        Some(room) => format!("[{room}] {}", case.title),
        None => case.title.clone(),
    }
}

/// How many things fell with it, and how many are still down.
fn effect_count(case: &Case) -> String {
    let most = case.affected.most().max(case.chain.len() as u64);
    let down = if case.still_down() > 0 { " ↓" } else { "  " };
    format!("{most}{down}")
}

/// What proves a step: its sentence, why it hangs where it hangs, its frames.
fn evidence(model: &Model, step: &Step, columns: usize) -> Vec<Line<'static>> {
    let look = model.look;
    let room = columns.saturating_sub(2);
    let mut all = vec![rule(look, "EVIDENCE", columns, false)];
    let mut put = |role: Role, text: &str| {
        for text in wrap(text, room) {
            all.push(Line::from(span(look, role, format!(" {text}"))));
        }
    };
    put(Role::Accent, &step.kind);
    for subject in &step.subjects {
        put(Role::Text, subject);
    }
    for sentence in chain::sentences(step) {
        put(Role::Text, &sentence);
    }
    if let Some(reason) = &step.reason {
        put(Role::Text, &format!("reason: {reason}"));
    }
    put(
        Role::Muted,
        &format!(
            "{} to {}, {} {}",
            clock(step.first),
            clock(step.last),
            step.count,
            if step.count == 1 { "time" } else { "times" },
        ),
    );
    if step.fidelity != "exact" {
        put(Role::Warning, &format!("fidelity: {}", step.fidelity));
    }
    if let Some(link) = &step.link {
        put(Role::Strong, &format!("rule {}", link.rule));
        let grade = match link.grade {
            crate::correlate::rules::Grade::Certain => {
                "certain: same object, mandated by kernel or RFC"
            }
            crate::correlate::rules::Grade::Likely => "likely: same path, inside the window",
            crate::correlate::rules::Grade::Possible => "possible: by time only",
        };
        put(Role::Text, grade);
        put(Role::Muted, &link.because);
        put(
            Role::Muted,
            &format!(
                "{} behind its cause, {} of {} times",
                length(link.lag_ns),
                link.hits,
                link.of
            ),
        );
    }
    if !step.evidence.is_empty() {
        let places: Vec<String> = step.evidence.iter().map(ToString::to_string).collect();
        put(
            Role::Strong,
            &format!("{} of {} frames", places.len(), step.evidence_total),
        );
        put(Role::Text, &places.join(" "));
        put(Role::Muted, &cut("⏎ opens them (input:frame)", room));
    }
    all
}
