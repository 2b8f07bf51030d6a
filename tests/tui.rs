//! The screens: each view at five sizes as text, with the roles of its colours, over real captures; and what keys do, as a table.
//!
//! `BLESS=1` writes the goldens and the pages of `docs/` that are made from them. Read the diff: it is what an operator sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "tui/svg.rs"]
mod svg;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flapscope::commands::evidence;
use flapscope::commands::screen::Screen;
use flapscope::decode::Decoder;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::engine::snapshot::{Mode, Replay};
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::tui::link::{Link, Reply, Request, link};
use flapscope::tui::model::{Effect, Message, Model, View};
use flapscope::tui::theme::{Look, Theme};
use flapscope::tui::{keymap, update, view};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

/// Sizes at which every view is looked at: one inside each breakpoint, and a large screen.
const SIZES: [(u16, u16); 5] = [(60, 20), (80, 24), (100, 30), (120, 40), (200, 60)];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files that a capture's verdict is about.
fn inputs(capture: &str) -> Vec<PathBuf> {
    let folder = root().join("captures").join(capture);
    let text = std::fs::read_to_string(folder.join("expect.json")).unwrap();
    let expect: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = expect["inputs"].as_array().unwrap().iter();
    names
        .map(|name| folder.join(name.as_str().unwrap()))
        .collect()
}

/// Compares with what is stored, or stores it.
fn golden(path: &Path, made: &str) {
    let path = root().join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == made,
        "{} differs; BLESS=1 stores this:\n{made}",
        path.display()
    );
}

/// A screen over files that were read to their end, without a terminal.
struct Stage {
    model: Model,
    engine: Engine,
    screen: Screen,
    link: Link,
    /// What would have been done to the terminal.
    done: Vec<Effect>,
}

impl Stage {
    fn over(capture: &str, size: (u16, u16), look: Look) -> Stage {
        let mut inputs = InputSet::open(&inputs(capture), &OpenOptions::default()).unwrap();
        let mut engine = Engine::new(&Settings::default());
        let mut decoder = Decoder::new();
        let (publisher, requests, link) = link();
        let mut screen = Screen::new(publisher, requests);
        let mut told = Vec::new();
        while let Some(item) = inputs.next() {
            decoder.item(&item, &mut |event| {
                screen.log.turn();
                screen.log.keep(event, &engine);
                engine.handle(event, &mut told);
            });
        }
        decoder.finish(&mut |event| engine.handle(event, &mut told));
        engine.finish(&mut told);
        let mut stage = Stage {
            model: Model::new(size, look),
            engine,
            screen,
            link,
            done: Vec::new(),
        };
        stage.picture(capture);
        stage
    }

    fn picture(&mut self, name: &str) {
        let mut picture = self.screen.shoot(&[(None, &self.engine)], true);
        picture.mode = Mode::Replay(Replay {
            files: vec![name.to_owned()],
            from: picture.from,
            to: Some(picture.at),
            speed: 1.0,
            rewinds: true,
            ..Replay::default()
        });
        self.send(Message::Snapshot(Arc::new(picture)));
    }

    /// Lets something happen, and everything that follows from it.
    fn send(&mut self, message: Message) {
        let mut effects = update::update(&mut self.model, message);
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Ask(request) => {
                        let rooms = [(None, &self.engine)];
                        match self.screen.answer(request, &rooms) {
                            // As a live run answers it: from the log.
                            Some(Request::Exchange {
                                id,
                                exchange,
                                around,
                            }) => {
                                let entries = self.screen.log.iter();
                                let of_it =
                                    entries.filter(|e| e.exchange.as_ref() == Some(&exchange));
                                let mut rungs: Vec<_> = of_it.cloned().collect();
                                evidence::nearest(&mut rungs, around);
                                self.screen.publisher.reply(Reply::Exchange { id, rungs });
                            }
                            Some(request) => self.done.push(Effect::Ask(request)),
                            None => {}
                        }
                        while self.screen.is_busy() {
                            self.screen.slice(&rooms);
                        }
                    }
                    other => self.done.push(other),
                }
            }
            for message in self.link.take() {
                effects.extend(update::update(&mut self.model, message));
            }
        }
    }

    fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            let key = match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                c => KeyCode::Char(c),
            };
            self.send(Message::Key(KeyEvent::new(key, KeyModifiers::NONE)));
        }
    }

    fn buffer(&self) -> Buffer {
        let (columns, rows) = self.model.size;
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        view::paint(&self.model, &mut buffer);
        buffer
    }

    fn text(&self) -> String {
        text(&self.buffer())
    }
}

fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut out = String::new();
    for y in 0..area.height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..area.width {
            // A wide character covers the next cell.
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let symbol = buffer[(x, y)].symbol();
            skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
            line.push_str(symbol);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Each cell's style as one letter: what colours and attributes say, in text.
fn roles(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut out = String::new();
    for y in 0..area.height {
        let line: String = (0..area.width)
            .map(|x| letter(buffer[(x, y)].style()))
            .collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn letter(style: Style) -> char {
    let has = |modifier| style.add_modifier.contains(modifier);
    let letter = match style.fg {
        Some(Color::Red) => 'r',
        Some(Color::Yellow | Color::Magenta) => 'y',
        Some(Color::Green) => 'g',
        Some(Color::Cyan | Color::Blue) => 'c',
        _ if has(Modifier::DIM) => '.',
        _ if has(Modifier::BOLD) => 'b',
        _ => ' ',
    };
    if has(Modifier::REVERSED) {
        if letter == ' ' {
            '#'
        } else {
            letter.to_ascii_uppercase()
        }
    } else {
        letter
    }
}

#[test]
fn every_view_at_every_size_looks_as_it_did() {
    for (view, name) in View::ALL {
        for size in SIZES {
            let mut stage = Stage::over("link-flap-under-bgp", size, Look::default());
            let key = View::ALL.iter().position(|(v, _)| *v == view).unwrap() + 1;
            stage.press(&key.to_string());
            let buffer = stage.buffer();
            let (columns, rows) = size;
            let file = format!("{}-{columns}x{rows}.txt", name.to_lowercase());
            golden(
                &Path::new("tests/tui").join(file),
                &format!("{}\n{}", text(&buffer), roles(&buffer)),
            );
        }
    }
}

/// Cards, ladders, empty and narrow states: a name, the recording, the keys.
const STATES: [(&str, &str, &str); 16] = [
    ("several-incidents", "dual-fault", ""),
    ("chain-with-cursor", "lease-expiry-breaks-bgp", "\njj"),
    ("lanes", "lease-expiry-breaks-bgp", "v"),
    ("nothing-wrong", "benign-renewals", ""),
    ("filter-hides-all", "dual-fault", "/kind:bfd\n"),
    ("route-card", "link-flap-under-bgp", "2\n"),
    ("kernel-route-card", "link-flap-under-bgp", "2\t\n"),
    ("no-routes", "dhcp-nak-storm", "2"),
    ("client-card", "dhcp-nak-storm", "3\n"),
    ("client-ladder", "dhcp-nak-storm", "3\n\n"),
    ("leases", "benign-renewals", "3\t"),
    ("server-card", "rogue-dhcp-server", "3\t\t\n"),
    ("routers", "ra-rogue-router", "3\t\t\t"),
    ("session-card", "bfd-down", "4\n"),
    ("session-ladder", "admin-reset-bird-ipv6", "4\n\n"),
    ("no-sessions", "benign-renewals", "4"),
];

#[test]
fn every_card_ladder_and_empty_state_looks_as_it_did() {
    for (name, capture, keys) in STATES {
        for size in SIZES {
            let mut stages = [Theme::Dark, Theme::Mono].map(|theme| {
                let look = Look {
                    theme,
                    ascii: false,
                };
                let mut stage = Stage::over(capture, size, look);
                stage.press(keys);
                stage
            });
            let [dark, mono] = stages.each_mut().map(|stage| stage.buffer());
            assert_eq!(text(&dark), text(&mono), "{name} {size:?}");
            let (columns, rows) = size;
            let file = format!("{name}-{columns}x{rows}.txt");
            golden(
                &Path::new("tests/tui/states").join(file),
                &format!("{}\n{}", text(&dark), roles(&dark)),
            );
        }
    }
}

/// A run that cannot see everything: losses, a feed that fell silent, blind spots, what collectors said.
#[test]
fn what_is_lost_and_not_seen_is_told_with_what_lifts_it() {
    use flapscope::event::Timestamp;
    for size in SIZES {
        let mut stage = Stage::over("dhcp-nak-storm", size, Look::default());
        let mut picture = stage.screen.shoot(&[(None, &stage.engine)], true);
        let at = picture.at;
        if let Some(feed) = picture.feeds.first_mut() {
            (feed.gaps, feed.lost) = (2, 3_117);
            let detail = "the kernel dropped messages; tables were read again";
            feed.last_gap = Some((Timestamp(at.0 - 7_000_000_000), detail.to_owned()));
        }
        picture.blind = vec![
            flapscope::engine::blind::NO_NETLINK.to_owned(),
            flapscope::engine::blind::NO_BGP.to_owned(),
        ];
        picture.watched = vec!["netlink of this host".to_owned()];
        picture.notes = vec!["packets: not permitted (CAP_NET_RAW)".to_owned()];
        stage.send(Message::Snapshot(Arc::new(picture)));
        stage.press("6");
        let text = stage.text();
        for wanted in [
            "3,117",
            "tables were read again",
            "flapscope doctor",
            "CAP_NET_RAW",
        ] {
            let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                plain.contains(wanted),
                "no {wanted:?} at {size:?} in\n{text}"
            );
        }
        let (columns, rows) = size;
        golden(
            &Path::new("tests/tui/states").join(format!("degraded-{columns}x{rows}.txt")),
            &format!("{text}\n{}", roles(&stage.buffer())),
        );
    }
}

#[test]
fn without_colour_nothing_is_lost() {
    for (number, (_, name)) in View::ALL.into_iter().enumerate() {
        for size in SIZES {
            let look = |theme| Look {
                theme,
                ascii: false,
            };
            let mut coloured = Stage::over("link-flap-under-bgp", size, look(Theme::Dark));
            let mut mono = Stage::over("link-flap-under-bgp", size, look(Theme::Mono));
            for stage in [&mut coloured, &mut mono] {
                stage.press(&(number + 1).to_string());
            }
            assert_eq!(coloured.text(), mono.text(), "{name} {size:?}");
            let colours = mono
                .buffer()
                .content
                .iter()
                .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
            assert!(!colours, "{name} {size:?}");
        }
    }
}

#[test]
fn an_ascii_terminal_gets_ascii_only_and_the_same_columns() {
    let ascii = Look {
        theme: Theme::Mono,
        ascii: true,
    };
    for number in 1..=6 {
        let mut stage = Stage::over("link-flap-under-bgp", (120, 40), ascii);
        stage.press(&number.to_string());
        assert!(stage.text().is_ascii());
    }
    let stage = Stage::over("link-flap-under-bgp", (80, 24), ascii);
    golden(
        Path::new("tests/tui/incidents-80x24-ascii.txt"),
        &stage.text(),
    );
}

#[test]
fn the_page_of_keys_is_the_table_of_keys() {
    golden(Path::new("docs/keys.md"), &keymap::page());
}

#[test]
fn a_screen_that_is_too_small_says_so_and_only_quits() {
    let mut stage = Stage::over("link-flap-under-bgp", (48, 12), Look::default());
    assert!(stage.text().contains("needs 60×16, is 48×12"));
    stage.press("5");
    assert_eq!(stage.model.view, View::Incidents);
    stage.press("q");
    assert_eq!(stage.done, [Effect::Quit]);
}

/// Keys, and what is then on the screen: all of it without a terminal.
#[test]
fn keys_do_what_the_table_says() {
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    );
    let rows: &[Row] = &[
        ("", &["WHY  pe0 lost carrier", "ROOT", "TRY"], &["FROZEN"]),
        ("5", &["EVENTS"], &["WHY"]),
        ("51", &["WHY"], &["EVENTS  "]),
        ("4", &["BGP SESSIONS", "192.0.2."], &["WHY"]),
        ("?", &["HELP", "Move"], &["WHY"]),
        ("?osc 52", &["Copy as JSON"], &["One row or line up"]),
        ("?\u{1b}", &["WHY"], &["HELP"]),
        (":bund", &["bundle"], &["next found"]),
        (
            "/kind:link.flap\n",
            &["filter kind:link.flap 1/1", "WHY"],
            &[],
        ),
        (
            "/kind:dhcp\n",
            &["0 of 1 match \"kind:dhcp\". esc clears."],
            &["WHY"],
        ),
        ("/kind:dhcp\n\u{1b}", &["WHY"], &["kind:dhcp"]),
        ("/kind:link.flap sev:", &["needs a value, at column"], &[]),
        ("/sev:\n", &["the last one that was stays"], &[]),
        ("f", &["subject link:pe0", "WHY"], &[]),
        ("f5", &["subject link:pe0", "link"], &["pe1 "]),
        ("fF", &["1 open"], &["subject link"]),
        ("\n\n", &["fields", "frame"], &["WHY"]),
        ("\n\nx", &["octets"], &["WHY"]),
        ("F", &["no subject is set: f sets one"], &[]),
        ("n", &["nothing is looked for"], &[]),
        ("v", &["ORDER OF EVENTS", "link", "session"], &[]),
        ("2s", &["PREFIX ↓"], &[]),
        ("2ssS", &["PEER ↑"], &[]),
        ("txx\n", &["is no time"], &[]),
        ("M", &["mouse on"], &[]),
        ("2\t", &["KERNEL ROUTES", "BGP PREFIXES"], &[]),
        ("2z", &["BGP PREFIXES"], &["KERNEL ROUTES"]),
        (
            "2\n",
            &[
                "BGP SAYS",
                "KERNEL HAS",
                "STABILITY",
                "HISTORY",
                "suppressed until",
            ],
            &["BGP PREFIXES"],
        ),
        (
            "2\n\u{1b}",
            &["BGP PREFIXES", "KERNEL ROUTES"],
            &["BGP SAYS"],
        ),
        ("2\nf1", &["subject prefix:"], &[]),
        ("2\nj5", &["EVENTS"], &["BGP SAYS"]),
        (
            "4\n",
            &["SESSION  ", "hold time", "from remote", "LOSSES"],
            &["BGP SESSIONS"],
        ),
        ("4\n\n", &["⏎ frames", "KEEPALIVE"], &["BGP SESSIONS"]),
        ("4\n\n\u{1b}", &["SESSION  "], &["⏎ frames"]),
        (
            "3",
            &[
                "DHCP CLIENTS",
                "LEASES",
                "DHCP SERVERS",
                "IPV6 ROUTERS",
                "NEIGHBORS",
            ],
            &[],
        ),
        ("3\t\t\t\t", &["NEIGHBOR", "reachable"], &[]),
        ("6j\n", &["EVENTS", "subject link:pe0"], &["SOURCES"]),
    ];
    let stage = || Stage::over("link-flap-under-bgp", (100, 40), Look::default());
    for (keys, there, gone) in rows {
        let mut stage = stage();
        stage.press(keys);
        let text = stage.text();
        for wanted in *there {
            assert!(text.contains(wanted), "{keys:?}: no {wanted:?} in\n{text}");
        }
        for unwanted in *gone {
            assert!(
                !text.contains(unwanted),
                "{keys:?}: {unwanted:?} in\n{text}"
            );
        }
    }
}

#[test]
fn a_live_screen_freezes_looks_back_and_returns() {
    let mut stage = Stage::over("link-flap-under-bgp", (120, 40), Look::default());
    let live = |stage: &mut Stage| {
        let mut picture = stage.screen.shoot(&[(None, &stage.engine)], true);
        picture.tally.events += 7 * picture.seq;
        stage.send(Message::Snapshot(Arc::new(picture)));
    };
    live(&mut stage);
    assert!(stage.text().contains("● LIVE"));
    stage.press(" ");
    live(&mut stage);
    assert!(
        stage.text().contains("FROZEN −0.00 s · 7 new"),
        "{}",
        stage.text()
    );
    stage.press(" ");
    assert!(stage.text().contains("● LIVE"));
    // The step before the end of the incident, then the one before that: what came later is not there yet.
    stage.press("[");
    let last = stage.text();
    assert!(last.contains("AS OF 16:30:4"), "{last}");
    for _ in 0..40 {
        stage.press("[");
    }
    let first = stage.text();
    assert!(first.contains("AS OF 16:30:28.326"), "{first}");
    assert!(!first.contains("back the last time"), "{first}");
    // Tables say that they are of now.
    stage.press("2");
    assert!(stage.text().contains("AS OF NOW"));
    stage.press("1L");
    assert!(stage.text().contains("● LIVE"));
}

#[test]
fn what_is_copied_is_the_alert_the_story_and_the_row() {
    let mut stage = Stage::over("link-flap-under-bgp", (120, 40), Look::default());
    stage.press("y");
    let Some(Effect::Copy { text, .. }) = stage.done.pop() else {
        panic!("nothing was copied");
    };
    let incident: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(incident["kind"], "link.flap");
    stage.press("Y");
    let Some(Effect::Copy { text, .. }) = stage.done.pop() else {
        panic!("nothing was copied");
    };
    assert!(text.contains("ROOT") && text.contains("NOT "), "{text}");
    golden(Path::new("tests/tui/story.txt"), &text);
    stage.press("4y");
    let Some(Effect::Copy { text, .. }) = stage.done.pop() else {
        panic!("nothing was copied");
    };
    let row: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(row["state"], "established");
    stage.press("w");
    assert!(stage.done.is_empty() || matches!(stage.done.pop(), Some(Effect::Ask(_))));
}

/// Names from the wire and the host: escape sequences, bidi overrides, combining marks without end, wide and zero-width characters.
const HOSTILE: [&str; 7] = [
    "\u{1b}]0;owned\u{7}\u{1b}[2J",
    "\u{202e}drowssap\u{2066}",
    "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "漢字漢字漢字漢字漢字漢字漢字",
    "\u{200b}\u{200d}\u{feff}\u{e0041}",
    "line\nbreak\ttab\rreturn",
    "👨\u{200d}👩\u{200d}👧\u{fe0f}",
];

#[test]
fn hostile_names_cannot_leave_their_cells() {
    for name in HOSTILE {
        let told = flapscope::event::WireText::from(name).to_string();
        let shown = flapscope::event::text::sanitized(name);
        for text in [told, shown] {
            for (view, _) in View::ALL {
                for size in [(60, 20), (120, 40)] {
                    let mut stage = Stage::over("dhcp-nak-storm", size, Look::default());
                    let mut picture = stage.screen.shoot(&[(None, &stage.engine)], true);
                    for case in &mut picture.cases {
                        let case = Arc::make_mut(case);
                        case.title = format!("{text} {}", case.title);
                        case.root.headline.clone_from(&text);
                        case.root.subjects = vec![format!("link:{text}")];
                        case.room = Some(text.clone());
                        case.advice.push(text.clone());
                    }
                    for feed in &mut picture.feeds {
                        feed.name = Some(text.clone());
                    }
                    picture.notes.push(text.clone());
                    picture.host = Some(text.clone());
                    stage.send(Message::Snapshot(Arc::new(picture)));
                    let number = View::ALL.iter().position(|(v, _)| *v == view).unwrap() + 1;
                    stage.press(&format!("{number}f"));
                    let buffer = stage.buffer();
                    for y in 0..size.1 {
                        let mut x = 0;
                        while x < size.0 {
                            let symbol = buffer[(x, y)].symbol();
                            assert!(
                                !symbol
                                    .chars()
                                    .any(|c| c.is_control()
                                        || ('\u{202a}'..='\u{202e}').contains(&c)),
                                "{symbol:?}"
                            );
                            // A cell holds one character and a few marks: no tower of them covers other lines.
                            assert!(symbol.chars().count() <= 4, "{symbol:?}");
                            let wide = unicode_width::UnicodeWidthStr::width(symbol).max(1);
                            assert!(x + wide as u16 <= size.0, "{symbol:?} leaves the screen");
                            x += wide as u16;
                        }
                    }
                    // Nor the clipboard, nor the incident's text.
                    stage.press("Y");
                    for effect in &stage.done {
                        if let Effect::Copy { text, .. } = effect {
                            assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
                        }
                    }
                }
            }
        }
    }
}

/// The pages of `docs/` that show screens: made here, so that they never go stale.
#[test]
fn the_screens_in_the_documentation_are_what_the_program_paints() {
    let mut page = String::from(
        "# Screens\n\nGenerated by `tests/tui.rs` from recordings in `captures/`; `BLESS=1 cargo test --test tui` writes them anew. Keys: [keys.md](keys.md).\n",
    );
    type Shot = (
        &'static str,
        &'static str,
        (u16, u16),
        &'static str,
        &'static str,
    );
    let shots: &[Shot] = &[
        (
            "Incidents at 80×24: the design size",
            "lease-expiry-breaks-bgp",
            (80, 24),
            "",
            "What is wrong, since when, why, what is still down. `j` in the chain scrolls to what it was not and what to type next.",
        ),
        (
            "Incidents at 120×40: list, chain, evidence, lanes",
            "link-flap-under-bgp",
            (120, 40),
            "\njj",
            "`⏎` goes into the chain; the evidence at the right follows the cursor: the rule that links a step to its cause, how sure it is, and the frames.",
        ),
        (
            "The order of events at 80×24 (`v`)",
            "lease-expiry-breaks-bgp",
            (80, 24),
            "v",
            "One lane for each plane on one time axis: what came first is at the left.",
        ),
        (
            "A narrow terminal: the list, or the chain (`⏎`)",
            "rogue-dhcp-server",
            (60, 20),
            "\n",
            "Below 80 columns one pane is shown at a time.",
        ),
        (
            "Frames behind a step (`⏎`, deeper with `x`)",
            "bfd-down",
            (100, 30),
            "5",
            "View 5, the raw stream; the same filter language as `analyze --filter` narrows it (`/`), `⏎` opens the frame under the cursor.",
        ),
        (
            "BGP sessions and BFD",
            "bfd-down",
            (100, 30),
            "4",
            "`f` on a row narrows every view to that peer.",
        ),
        (
            "A prefix: what BGP says, what the kernel has (`2`, `⏎`)",
            "link-flap-under-bgp",
            (100, 40),
            "2\n",
            "Every way to it with its peer, the kernel's route or what covers it, penalties of each damping profile, what happened to it. `⏎` shows its messages, `x` their frames.",
        ),
        (
            "Routes at 120 columns: the card beside the tables",
            "link-flap-under-bgp",
            (120, 40),
            "2",
            "The card follows the cursor. Columns that find no room are left out by their importance, addresses are never cut.",
        ),
        (
            "A session: timers, capabilities, losses, BFD (`4`, `⏎`)",
            "bfd-down",
            (100, 40),
            "4\n",
            "What both ends offered and what only one did, how long each has been silent, why it was lost.",
        ),
        (
            "An exchange as a ladder (`⏎` on a session's or client's card)",
            "admin-reset-bird-ipv6",
            (80, 24),
            "4\n\n",
            "`Y` copies it as text, `⏎` leads to the frames.",
        ),
        (
            "Leases with their timers (`3`, `tab`)",
            "benign-renewals",
            (80, 24),
            "3\t",
            "Clients, leases, servers, IPv6 routers, neighbors: the one under the keys is open, of the others one sees how many there are.",
        ),
        (
            "What is seen, and what is not (`6`)",
            "lease-expiry-breaks-bgp",
            (80, 24),
            "6",
            "Rates and losses of each source; each blind spot with the command that lifts it.",
        ),
        (
            "Nothing wrong",
            "benign-renewals",
            (80, 24),
            "",
            "What is watched, what is not, and that nothing is wrong.",
        ),
        (
            "Help",
            "benign-renewals",
            (100, 30),
            "?time",
            "`?`, filtered by typing.",
        ),
    ];
    for (title, capture, size, keys, words) in shots {
        let mut stage = Stage::over(capture, *size, Look::default());
        stage.press(keys);
        page.push_str(&format!(
            "\n## {title}\n\n{words}\n\n```text\n{}```\n",
            stage.text()
        ));
    }
    golden(Path::new("docs/screens.md"), &page);
    let mut stage = Stage::over("lease-expiry-breaks-bgp", (132, 44), Look::default());
    stage.press("\nj");
    let picture = svg::svg(
        &stage.buffer(),
        "flapscope: a DHCP server dies, and a BGP session with it",
    );
    golden(Path::new("docs/screen.svg"), &picture);
}
