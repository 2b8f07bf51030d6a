//! The help overlay and the palette: both read from the one table of keys, both searched by typing.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::{rule, span};
use crate::tui::keymap::{self, Group};
use crate::tui::model::{Line as Typed, Model};
use crate::tui::text::{left, wrap};
use crate::tui::theme::Role;

/// All lines of the help that match a text.
pub fn lines_for(model: &Model, text: &str, columns: usize) -> Vec<Line<'static>> {
    let look = model.look;
    let matching = keymap::matching(text);
    let mut all = Vec::new();
    for (group, title) in Group::ALL {
        let bindings: Vec<_> = matching.iter().filter(|b| b.group == group).collect();
        if bindings.is_empty() {
            continue;
        }
        all.push(rule(look, title, columns, false));
        for binding in bindings {
            let room = columns.saturating_sub(11);
            let why = (binding.ready)(model).err();
            let help = match why {
                Some(why) => format!("{} (now: {why})", binding.help),
                None => binding.help.to_owned(),
            };
            for (row, text) in wrap(&help, room).into_iter().enumerate() {
                let keys = if row == 0 { binding.shown } else { "" };
                let role = if why.is_some() {
                    Role::Muted
                } else {
                    Role::Text
                };
                all.push(Line::from(vec![
                    span(look, Role::Accent, format!(" {}", left(keys, 9))),
                    span(look, role, text),
                ]));
            }
        }
    }
    if all.is_empty() {
        all.push(Line::from(span(
            look,
            Role::Muted,
            format!("  no key or command is about {text:?}"),
        )));
    }
    all
}

/// The same in the screen's width.
pub fn lines(model: &Model, text: &str) -> Vec<Line<'static>> {
    lines_for(model, text, usize::from(model.size.0))
}

/// Paints the help.
pub fn help(model: &Model, find: &Typed, top: usize, area: Rect, buffer: &mut Buffer) {
    let title = if find.text.is_empty() {
        "HELP · type to search by text or key · ↑↓ scroll · esc closes".to_owned()
    } else {
        format!("HELP · {} · esc closes", find.text)
    };
    let head = rule(model.look, &title, usize::from(area.width), true);
    let all = self::lines(model, &find.text).into_iter().skip(top);
    super::lines(buffer, area, std::iter::once(head).chain(all));
}

/// Paints the palette.
pub fn palette(model: &Model, typed: &Typed, at: usize, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let head = rule(
        look,
        &format!(": {}▏", typed.text),
        usize::from(area.width),
        true,
    );
    let matching = keymap::matching(&typed.text);
    let rows = usize::from(area.height.saturating_sub(1));
    let all = matching.into_iter().enumerate().map(|(row, binding)| {
        let mut style = look.style(Role::Text);
        if row == at {
            style = style.add_modifier(Modifier::REVERSED | Modifier::BOLD);
        }
        Line::from(vec![
            span(look, Role::Accent, if row == at { "▌" } else { " " }),
            Span::styled(left(binding.name, 18), style),
            span(look, Role::Accent, left(binding.shown, 10)),
            span(look, Role::Muted, binding.help),
        ])
    });
    let skip = (at + 1).saturating_sub(rows);
    super::lines(buffer, area, std::iter::once(head).chain(all.skip(skip)));
}
