//! The screens: each view at five sizes as text, with the roles of its colours, over real captures; and what keys do, as a table.
//!
//! `BLESS=1` writes the goldens and the pages of `docs/` that are made from them. Read the diff: it is what an operator sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flapscope::commands::screen::Screen;
use flapscope::decode::Decoder;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::engine::snapshot::{Mode, Replay};
use flapscope::input::file::OpenOptions;
use flapscope::input::merge::InputSet;
use flapscope::tui::link::{Link, link};
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
                        if let Some(request) = self.screen.answer(request, &rooms) {
                            self.done.push(Effect::Ask(request));
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
