//! The one table of keys: it decides what a key does, and the footer, the help overlay, the palette and `docs/keys.md` are read from it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Model, View};

/// What keys do.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Action {
    View(View),
    NextPane,
    PreviousPane,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Enter,
    Back,
    Filter,
    Find,
    FindNext,
    FindPrevious,
    Subject,
    ClearSubject,
    Freeze,
    StepBack,
    StepOn,
    CaseBack,
    CaseOn,
    Time,
    Now,
    Slower,
    Faster,
    Sort,
    Reverse,
    Deeper,
    CopyJson,
    CopyText,
    Bundle,
    Lanes,
    Zoom,
    Mouse,
    Palette,
    Help,
    Redraw,
    Suspend,
    Quit,
}

/// A key and what it needs.
#[derive(Copy, Clone, Debug)]
pub struct Key {
    pub code: KeyCode,
    pub control: bool,
}

const fn char(c: char) -> Key {
    Key {
        code: KeyCode::Char(c),
        control: false,
    }
}

const fn control(c: char) -> Key {
    Key {
        code: KeyCode::Char(c),
        control: true,
    }
}

const fn code(code: KeyCode) -> Key {
    Key {
        code,
        control: false,
    }
}

/// A row of the table.
pub struct Binding {
    pub keys: &'static [Key],
    /// The keys as they are written.
    pub shown: &'static str,
    pub action: Action,
    /// One or two words, for the footer and the palette.
    pub name: &'static str,
    pub help: &'static str,
    pub group: Group,
    /// Place in the footer, 0 for none: lower numbers stay longest when it gets narrow.
    pub footer: u8,
    /// Why it does nothing now, if it does nothing.
    pub ready: fn(&Model) -> Result<(), &'static str>,
}

/// Where a key belongs.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Group {
    Move,
    Narrow,
    Time,
    Look,
    Take,
    Program,
}

impl Group {
    /// All of them in the order of the help, with their names.
    pub const ALL: [(Group, &'static str); 6] = [
        (Group::Move, "Move"),
        (Group::Narrow, "Narrow down"),
        (Group::Time, "Time"),
        (Group::Look, "Look closer"),
        (Group::Take, "Take along"),
        (Group::Program, "Program"),
    ];
}

fn always(_: &Model) -> Result<(), &'static str> {
    Ok(())
}

fn a_subject(model: &Model) -> Result<(), &'static str> {
    match model.subject {
        Some(_) => Ok(()),
        None => Err("no subject is set: f sets one"),
    }
}

fn something_found(model: &Model) -> Result<(), &'static str> {
    if model.find.is_empty() {
        Err("nothing is looked for: ctrl-f does")
    } else {
        Ok(())
    }
}

fn a_case(model: &Model) -> Result<(), &'static str> {
    match model.case() {
        Some(_) => Ok(()),
        None => Err("there is no incident"),
    }
}

fn some_row(model: &Model) -> Result<(), &'static str> {
    match super::select::subject(model) {
        Some(_) => Ok(()),
        None => Err("nothing is under the cursor"),
    }
}

fn a_table(model: &Model) -> Result<(), &'static str> {
    match model.table() {
        Some(_) => Ok(()),
        None => Err("this view has one order only"),
    }
}

fn a_replay(model: &Model) -> Result<(), &'static str> {
    if model.replays() {
        Ok(())
    } else {
        Err("only a replay has a speed")
    }
}

macro_rules! bindings {
    ($($keys:expr, $shown:literal, $action:expr, $name:literal, $group:ident, $footer:literal, $ready:ident, $help:literal;)+) => {
        /// Every binding.
        pub const BINDINGS: &[Binding] = &[$(Binding {
            keys: &$keys, shown: $shown, action: $action, name: $name, help: $help, group: Group::$group, footer: $footer, ready: $ready,
        },)+];
    };
}

use Action as A;
use KeyCode as C;

bindings! {
    [code(C::Up), char('k')], "↑ k", A::Up, "up", Move, 0, always, "One row or line up.";
    [code(C::Down), char('j')], "↓ j", A::Down, "down", Move, 0, always, "One row or line down.";
    [code(C::PageUp), control('b')], "PgUp", A::PageUp, "page up", Move, 0, always, "A page up.";
    [code(C::PageDown), control('d')], "PgDn", A::PageDown, "page down", Move, 0, always, "A page down.";
    [code(C::Home), char('g')], "g Home", A::Top, "first", Move, 0, always, "To the first row.";
    [code(C::End), char('G')], "G End", A::Bottom, "last", Move, 0, always, "To the last row; in Events: follow the stream again.";
    [code(C::Enter), code(C::Right), char('l')], "⏎ l", A::Enter, "open", Move, 2, always, "Into the row: from the list to its chain, from a step to its frames, from a row to its card, from a card or packet to its exchange as a ladder.";
    [code(C::Esc), code(C::Left), char('h')], "esc h", A::Back, "back", Move, 0, always, "One step out: overlay, typing, filter, pane, subject, view.";
    [code(C::Tab)], "tab", A::NextPane, "pane", Move, 9, always, "To the next pane.";
    [code(C::BackTab)], "⇧tab", A::PreviousPane, "pane back", Move, 0, always, "To the pane before.";
    [char('1')], "1", A::View(View::Incidents), "Incidents", Move, 0, always, "Incidents: what is wrong, since when, why, and what to type next.";
    [char('2')], "2", A::View(View::Routes), "Routes", Move, 0, always, "Routes: what BGP announces and what the kernel has, side by side.";
    [char('3')], "3", A::View(View::Dhcp), "DHCP", Move, 0, always, "DHCP: clients, leases, servers; IPv6 routers and neighbors.";
    [char('4')], "4", A::View(View::Bgp), "BGP", Move, 0, always, "BGP: sessions with timers and reasons, BFD.";
    [char('5')], "5", A::View(View::Events), "Events", Move, 0, always, "Events: the raw stream.";
    [char('6')], "6", A::View(View::Sources), "Sources", Move, 0, always, "Sources: what is seen, what was lost, what cannot be seen and what lifts that.";
    [char('/')], "/", A::Filter, "filter", Narrow, 3, always, "Filter all views while typing: word, key:value, !not, sev:warn+. ⏎ keeps it, esc drops it.";
    [control('f')], "ctrl-f", A::Find, "find", Narrow, 0, always, "Find text in this view without hiding anything.";
    [char('n')], "n", A::FindNext, "next found", Narrow, 0, something_found, "To the next place found.";
    [char('N')], "N", A::FindPrevious, "previous found", Narrow, 0, something_found, "To the place found before.";
    [char('f')], "f", A::Subject, "subject", Narrow, 5, some_row, "Narrow every view to what is under the cursor: interface, prefix, peer or client.";
    [char('F')], "F", A::ClearSubject, "all subjects", Narrow, 0, a_subject, "Show all subjects again.";
    [char('s')], "s", A::Sort, "sort", Narrow, 10, a_table, "Sort by the next column that this table can be sorted by.";
    [char('S')], "S", A::Reverse, "reverse", Narrow, 0, a_table, "Sort the other way round.";
    [char(' ')], "space", A::Freeze, "freeze", Time, 4, always, "Live: freeze the screen and go on, nothing is lost meanwhile. Replay: play and pause.";
    [char('[')], "[", A::StepBack, "step back", Time, 0, always, "One step back: to the event before in a replay or in Events, else to the step of the incident before.";
    [char(']')], "]", A::StepOn, "step on", Time, 8, always, "One step on.";
    [char('{')], "{", A::CaseBack, "incident back", Time, 0, a_case, "To the begin of the incident before this moment.";
    [char('}')], "}", A::CaseOn, "incident on", Time, 0, a_case, "To the begin of the next incident.";
    [char('t')], "t", A::Time, "time", Time, 7, always, "Go to a time: 12:04, 12:04:07.5, -5m, +30s.";
    [char('L')], "L", A::Now, "now", Time, 0, always, "Back to now; in a replay to its end.";
    [char('-')], "-", A::Slower, "slower", Time, 0, a_replay, "Replay at half the speed.";
    [char('+'), char('=')], "+", A::Faster, "faster", Time, 0, a_replay, "Replay at twice the speed.";
    [char('x')], "x", A::Deeper, "deeper", Look, 11, always, "Deeper: the frames of a row; in them sentence, fields, octets, and back.";
    [char('v')], "v", A::Lanes, "lanes", Look, 12, a_case, "The incident as lanes on one time axis, where there is no room for both.";
    [char('z')], "z", A::Zoom, "zoom", Look, 13, always, "This pane alone on the whole screen, and back.";
    [char('y')], "y", A::CopyJson, "copy", Take, 6, always, "Copy as JSON into the clipboard of your terminal (OSC 52, also over SSH).";
    [char('Y')], "Y", A::CopyText, "copy text", Take, 0, always, "Copy as text.";
    [char('w')], "w", A::Bundle, "bundle", Take, 14, a_case, "Write the incident into files: its alert as JSON, its story as text, its packets as pcapng.";
    [char('M')], "M", A::Mouse, "mouse", Program, 0, always, "Mouse on or off; it is off so that your terminal can select text.";
    [char(':')], ":", A::Palette, "commands", Program, 0, always, "Any of these by name.";
    [char('?'), code(C::F(1))], "?", A::Help, "help", Program, 1, always, "This help; typing filters it by text or key.";
    [control('l')], "ctrl-l", A::Redraw, "redraw", Program, 0, always, "Draw the screen anew.";
    [control('z')], "ctrl-z", A::Suspend, "suspend", Program, 0, always, "Give the shell the terminal; fg comes back. Watching stops meanwhile, and says so.";
    [char('q'), control('c')], "q", A::Quit, "quit", Program, 1, always, "Quit: the terminal is as it was, what was recorded is told.";
}

/// The binding of a key.
pub fn find(key: KeyEvent) -> Option<&'static Binding> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    BINDINGS.iter().find(|binding| {
        binding
            .keys
            .iter()
            .any(|k| k.code == key.code && k.control == control)
    })
}

/// The binding of an action.
pub fn of(action: Action) -> Option<&'static Binding> {
    BINDINGS.iter().find(|binding| binding.action == action)
}

/// Bindings that match a text: their keys, names or help.
pub fn matching(text: &str) -> Vec<&'static Binding> {
    let text = text.to_lowercase();
    let shows = |binding: &&Binding| {
        text.is_empty()
            || binding
                .shown
                .split(' ')
                .any(|key| key.to_lowercase() == text)
            || binding.name.to_lowercase().contains(&text)
            || binding.help.to_lowercase().contains(&text)
    };
    BINDINGS.iter().filter(shows).collect()
}

/// The page for `docs/`.
pub fn page() -> String {
    let mut page = String::from(
        "# Keys\n\nGenerated from the program's one table of keys (`src/tui/keymap.rs`) by `tests/tui.rs`; `?` shows the same on the screen.\n",
    );
    for (group, title) in Group::ALL {
        page.push_str(&format!(
            "\n## {title}\n\n| keys | command | what it does |\n|---|---|---|\n"
        ));
        for binding in BINDINGS.iter().filter(|b| b.group == group) {
            let keys: Vec<String> = binding
                .shown
                .split(' ')
                .map(|key| format!("`{key}`"))
                .collect();
            page.push_str(&format!(
                "| {} | {} | {} |\n",
                keys.join(" "),
                binding.name,
                binding.help
            ));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_two_meanings() {
        let mut seen = Vec::new();
        for key in BINDINGS.iter().flat_map(|b| b.keys) {
            assert!(!seen.contains(&(key.code, key.control)), "{key:?}");
            seen.push((key.code, key.control));
        }
    }

    #[test]
    fn help_is_found_by_key_name_and_text() {
        assert!(
            matching("osc 52")
                .iter()
                .any(|b| b.action == Action::CopyJson)
        );
        assert!(
            matching("bundle")
                .iter()
                .any(|b| b.action == Action::Bundle)
        );
        assert!(
            matching("ctrl-z")
                .iter()
                .any(|b| b.action == Action::Suspend)
        );
    }
}
