//! Typing: the filter (applied while typing), what is looked for, a time, and the searches of help and palette.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{control, moving, run};
use crate::event::Timestamp;
use crate::tui::keymap;
use crate::tui::model::{Control, Edit, Effect, Line, Model, Overlay};

/// Longest line that can be typed or pasted, in octets.
const MAX_LINE: usize = 1000;

impl Line {
    /// A line with its cursor at the end.
    pub fn of(text: String) -> Line {
        Line {
            at: text.len(),
            text,
        }
    }

    fn insert(&mut self, text: &str) {
        // Tabs and line breaks of a paste are spaces; nothing else that acts is typed on purpose.
        for c in text.chars() {
            let c = if c.is_whitespace() { ' ' } else { c };
            if !c.is_control() && self.text.len() + c.len_utf8() <= MAX_LINE {
                self.text.insert(self.at, c);
                self.at += c.len_utf8();
            }
        }
    }

    fn before(&self) -> Option<usize> {
        let typed = self.text.get(..self.at)?;
        typed.char_indices().next_back().map(|(at, _)| at)
    }

    fn behind(&self) -> Option<usize> {
        let rest = self.text.get(self.at..)?;
        rest.chars().next().map(|c| self.at + c.len_utf8())
    }

    /// Whether the key was one of a line's.
    fn key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, control) {
            (KeyCode::Char('u'), true) => *self = Line::default(),
            (KeyCode::Char('w'), true) => {
                let typed = self.text.get(..self.at).unwrap_or_default().trim_end();
                let word = typed.rfind(' ').map_or(0, |at| at + 1);
                self.text.replace_range(word..self.at, "");
                self.at = word;
            }
            (KeyCode::Char('a'), true) | (KeyCode::Home, _) => self.at = 0,
            (KeyCode::Char('e'), true) | (KeyCode::End, _) => self.at = self.text.len(),
            (KeyCode::Char(c), false) => self.insert(c.encode_utf8(&mut [0; 4])),
            (KeyCode::Left, _) => self.at = self.before().unwrap_or(0),
            (KeyCode::Right, _) => self.at = self.behind().unwrap_or(self.text.len()),
            (KeyCode::Backspace, _) => {
                if let Some(at) = self.before() {
                    self.text.remove(at);
                    self.at = at;
                }
            }
            (KeyCode::Delete, _) => {
                if self.at < self.text.len() {
                    self.text.remove(self.at);
                }
            }
            _ => return false,
        }
        true
    }
}

/// A key while something is typed.
pub fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    if let Some(edit) = model.edit.take() {
        return edited(model, edit, key);
    }
    match model.overlay.take() {
        Some(Overlay::Help { mut find, mut top }) => {
            match key.code {
                KeyCode::Esc => return Vec::new(),
                KeyCode::Char('?') if find.text.is_empty() => return Vec::new(),
                KeyCode::Char('q') if find.text.is_empty() => return Vec::new(),
                KeyCode::Down => top += 1,
                KeyCode::Up => top = top.saturating_sub(1),
                KeyCode::PageDown => top += 10,
                KeyCode::PageUp => top = top.saturating_sub(10),
                _ => {
                    find.key(key);
                    top = 0;
                }
            }
            let last = crate::tui::view::help::lines(model, &find.text)
                .len()
                .saturating_sub(1);
            model.overlay = Some(Overlay::Help {
                find,
                top: top.min(last),
            });
        }
        Some(Overlay::Palette { mut line, mut at }) => {
            let matching = keymap::matching(&line.text);
            match key.code {
                KeyCode::Esc => return Vec::new(),
                KeyCode::Enter => {
                    return match matching.get(at) {
                        Some(binding) => run(model, binding),
                        None => Vec::new(),
                    };
                }
                KeyCode::Down => at = (at + 1).min(matching.len().saturating_sub(1)),
                KeyCode::Up => at = at.saturating_sub(1),
                _ => {
                    line.key(key);
                    at = 0;
                }
            }
            model.overlay = Some(Overlay::Palette { line, at });
        }
        other => model.overlay = other,
    }
    Vec::new()
}

fn edited(model: &mut Model, edit: Edit, key: KeyEvent) -> Vec<Effect> {
    match (edit, key.code) {
        (Edit::Filter(_), KeyCode::Esc) => {
            model.filter = Default::default();
            moving::settle(model);
        }
        (Edit::Filter(_), KeyCode::Enter) => {
            if model.filter.error.take().is_some() {
                model.filter.text = model.filter.applied.as_str().to_owned();
                model.status = Some("that was no filter: the last one that was stays".to_owned());
            }
        }
        (Edit::Filter(mut line), _) => {
            line.key(key);
            filter(model, line);
        }
        (Edit::Find(_), KeyCode::Esc) => model.find.clear(),
        (Edit::Find(line), KeyCode::Enter) => {
            model.find = line.text;
            moving::find(model, true);
        }
        (Edit::Find(mut line), _) => {
            line.key(key);
            model.edit = Some(Edit::Find(line));
        }
        (Edit::Time(_), KeyCode::Esc) => {}
        (Edit::Time(line), KeyCode::Enter) => return go_to(model, &line.text),
        (Edit::Time(mut line), _) => {
            line.key(key);
            model.edit = Some(Edit::Time(line));
        }
    }
    Vec::new()
}

/// What is typed is applied at once.
fn filter(model: &mut Model, line: Line) {
    model.filter.text = line.text.clone();
    match line.text.parse() {
        Ok(filter) => {
            model.filter.applied = filter;
            model.filter.error = None;
        }
        // The last good one stays.
        Err(error) => model.filter.error = Some(error.to_string()),
    }
    model.edit = Some(Edit::Filter(line));
    moving::settle(model);
}

/// Pasted text goes where typed text goes, and nowhere else: it never runs commands.
pub fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    match model.edit.take() {
        Some(Edit::Filter(mut line)) => {
            line.insert(text);
            filter(model, line);
        }
        Some(Edit::Find(mut line)) => {
            line.insert(text);
            model.edit = Some(Edit::Find(line));
        }
        Some(Edit::Time(mut line)) => {
            line.insert(text);
            model.edit = Some(Edit::Time(line));
        }
        None => match &mut model.overlay {
            Some(Overlay::Help { find, .. }) => find.insert(text),
            Some(Overlay::Palette { line, .. }) => line.insert(text),
            _ => {}
        },
    }
    Vec::new()
}

fn go_to(model: &mut Model, text: &str) -> Vec<Effect> {
    match moment(text.trim(), model.now()) {
        Some(at) => moving::to(model, at),
        None => {
            model.status = Some(format!(
                "{text:?} is no time: write 12:04, 12:04:07.5, -5m or +30s"
            ));
            Vec::new()
        }
    }
}

/// A time of the day that `now` lies in, or a distance from `now`.
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    const SECOND: f64 = 1e9;
    const DAY: i64 = 86_400_000_000_000;
    if let Some(sign) = text.chars().next().filter(|c| "+-".contains(*c)) {
        let rest = text.get(1..)?;
        let digits = rest.trim_end_matches(['s', 'm', 'h', 'd']);
        let unit = match rest.get(digits.len()..)? {
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let distance: f64 = digits.parse().ok().filter(|n: &f64| n.is_finite())?;
        let distance = (distance * unit * SECOND) as i64;
        return Some(Timestamp(match sign {
            '-' => now.0.saturating_sub(distance),
            _ => now.0.saturating_add(distance),
        }));
    }
    let mut parts = text.split(':');
    let hours: u32 = parts.next()?.parse().ok()?;
    let minutes: u32 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |s| s.parse().ok())?;
    let valid = hours < 24 && minutes < 60 && (0.0..61.0).contains(&seconds);
    if !valid || parts.next().is_some() {
        return None;
    }
    let of_day = i64::from(hours * 3600 + minutes * 60) * 1_000_000_000 + (seconds * SECOND) as i64;
    // A whole second without fraction means all of it.
    let whole = !text.contains('.');
    let end = if whole { 999_999_999 } else { 0 };
    Some(Timestamp(
        (now.0 - now.0.rem_euclid(DAY)).saturating_add(of_day + end),
    ))
}

/// What a moment means for a replay, which moves itself, and for a live screen, which looks back.
pub fn seek(model: &mut Model, at: Timestamp) -> Vec<Effect> {
    if model.replays() {
        return control(Control::Seek(at));
    }
    model.moment = (at < model.snapshot.at).then_some(at);
    Vec::new()
}
