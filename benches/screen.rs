//! The screen over a million tracked prefixes: how long a frame takes at each view and size, how long a search keeps the engine from its
//! events in one slice, and what a picture costs. `cargo bench --bench screen`; no corpus needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)] // a measurement
#![allow(clippy::print_stdout)] // its output is for people

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flapscope::commands::screen::Screen;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::engine::query::{Order, Query, Scan, Table};
use flapscope::event::bgp::{
    AS_SEQUENCE, Attributes, BgpEvent, BgpMessage, Direction, Nlri, Update,
};
use flapscope::event::frame::Frame;
use flapscope::event::source::Unit;
use flapscope::event::{Event, EventKind, InputId, Locator, Prefix, SourceId, Timestamp};
use flapscope::tui::link::{Link, Request, link};
use flapscope::tui::model::{Effect, Message, Model, View};
use flapscope::tui::theme::Look;
use flapscope::tui::{update, view};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;

const PREFIXES: u32 = 1_000_000;
/// In one UPDATE.
const TOGETHER: u32 = 500;
/// Prefixes that flap, so that there are hot records and incidents.
const FLAPPING: u32 = 20_000;
const FRAMES: u32 = 200;

fn prefix(n: u32) -> Prefix {
    Prefix::v4((0x0b00_0000_u32 + n * 256).to_be_bytes(), 24)
}

fn event(ms: i64, number: u64, update: Update) -> Event {
    let addr = |text: &str| text.parse::<IpAddr>().unwrap();
    Event {
        at: Timestamp(ms * 1_000_000),
        origin_at: None,
        source: SourceId(1),
        locator: Locator {
            input: InputId(0),
            unit: Unit::Frame,
            number,
            offset: 0,
        },
        kind: EventKind::Bgp(Box::new(BgpEvent {
            frame: Frame::default(),
            session: Direction {
                from: addr("192.0.2.1"),
                to: addr("192.0.2.2"),
                from_port: 179,
                to_port: 40_000,
                from_as: 0,
                to_as: 0,
            },
            message: BgpMessage::Update(Box::new(update)),
        })),
    }
}

fn nlri(range: std::ops::Range<u32>) -> Vec<Nlri> {
    range.map(|n| Nlri::unicast(prefix(n))).collect()
}

fn announce(range: std::ops::Range<u32>, origin: u32) -> Update {
    let mut attributes = Attributes::default();
    attributes.as_path.push_segment(AS_SEQUENCE, 2);
    attributes.as_path.0.extend([64_801, origin]);
    attributes.next_hop = Some("192.0.2.1".parse().unwrap());
    Update {
        announced: nlri(range),
        attributes,
        ..Update::default()
    }
}

fn withdraw(range: std::ops::Range<u32>) -> Update {
    Update {
        withdrawn: nlri(range),
        ..Update::default()
    }
}

struct Times(Vec<Duration>);

impl Times {
    fn of(mut work: impl FnMut(), rounds: u32) -> Times {
        let mut all: Vec<Duration> = (0..rounds)
            .map(|_| {
                let begun = Instant::now();
                work();
                begun.elapsed()
            })
            .collect();
        all.sort_unstable();
        Times(all)
    }

    fn say(&self, what: &str) {
        let ms = |at: usize| self.0.get(at).map_or(0.0, |d| d.as_secs_f64() * 1e3);
        let last = self.0.len() - 1;
        println!(
            "{what:<44} median {:>8.3} ms   p99 {:>8.3} ms   most {:>8.3} ms",
            ms(last / 2),
            ms(last * 99 / 100),
            ms(last)
        );
    }
}

fn main() {
    let mut engine = Engine::new(&Settings::default());
    let (mut told, mut number, mut ms) = (Vec::new(), 0, 0);
    let mut handle = |engine: &mut Engine, ms: i64, update: Update| {
        number += 1;
        engine.handle(&event(ms, number, update), &mut told);
        told.clear();
    };
    for from in (0..PREFIXES).step_by(TOGETHER as usize) {
        ms += 1;
        let update = announce(from..from + TOGETHER, 64_900 + from / 50_000);
        handle(&mut engine, ms, update);
    }
    for _ in 0..6 {
        for from in (0..FLAPPING).step_by(TOGETHER as usize) {
            ms += 20;
            handle(&mut engine, ms, withdraw(from..from + TOGETHER));
            handle(
                &mut engine,
                ms + 500,
                announce(from..from + TOGETHER, 64_900),
            );
        }
        ms += 5_000;
    }
    println!(
        "{} prefixes, {} incidents",
        engine.net().rib.len(),
        engine.incidents().len()
    );

    let (publisher, requests, link) = link();
    let mut screen = Screen::new(publisher, requests);
    let rooms = [(None, &engine)];
    Times::of(|| drop(screen.shoot(&rooms, true)), 20).say("picture, incidents and totals anew");
    Times::of(|| drop(screen.shoot(&rooms, false)), 200).say("picture");

    for (order, filter) in [
        (Order::Worst, ""),
        (Order::Name, ""),
        (Order::Worst, "prefix:11.1.0.0/16"),
        (Order::Worst, "peer:192.0.2.1"),
        (Order::Worst, "asn:64910"),
        (Order::Worst, "state:suppressed"),
        (Order::Name, "nowhere-to-be-found"),
    ] {
        let query = Query {
            table: Table::Prefixes,
            order,
            reverse: false,
            filter: filter.to_owned(),
            offset: 0,
            limit: 120,
        };
        let mut scan = Scan::new(query);
        let mut slices = Vec::new();
        let whole = Instant::now();
        let mut done = false;
        while !done {
            let begun = Instant::now();
            done = scan.advance(&[&engine]);
            slices.push(begun.elapsed());
        }
        let whole = whole.elapsed();
        slices.sort_unstable();
        Times(slices).say(&format!(
            "search by {order:?} {filter:?}: a slice of {:.0} ms",
            whole.as_secs_f64() * 1e3
        ));
    }

    for (columns, rows) in [(80, 24), (120, 40), (200, 60)] {
        for (at, (_, name)) in View::ALL.iter().enumerate() {
            let mut model = Model::new((columns, rows), Look::default());
            let mut effects = update::update(
                &mut model,
                Message::Snapshot(Arc::new(screen.shoot(&rooms, false))),
            );
            let key = KeyEvent::new(
                KeyCode::Char(char::from(b'1' + at as u8)),
                KeyModifiers::NONE,
            );
            effects.extend(update::update(&mut model, Message::Key(key)));
            for effect in effects {
                if let Effect::Ask(request) = effect {
                    screen.answer(request, &rooms);
                }
            }
            while screen.is_busy() {
                screen.slice(&rooms);
            }
            for message in link.take() {
                update::update(&mut model, message);
            }
            let down = KeyEvent::new(KeyCode::Down, KeyModifiers::NONE);
            let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
            let frames = Times::of(
                || {
                    update::update(&mut model, Message::Key(down));
                    buffer.reset();
                    view::paint(&model, &mut buffer);
                },
                FRAMES,
            );
            frames.say(&format!("key and frame: {name} at {columns}×{rows}"));
        }
    }
    cards(&mut screen, &rooms, &link);
    under_load(engine, &mut number, ms);
}

/// What the card of a row costs the engine, and its frame.
fn cards(screen: &mut Screen, rooms: &[(Option<&str>, &Engine)], link: &Link) {
    let mut model = Model::new((120, 40), Look::default());
    let subject = format!("prefix:{}", prefix(7));
    let asked = Times::of(
        || {
            let subject = subject.clone();
            screen.answer(Request::Card { id: 1, subject }, rooms);
            drop(link.take());
        },
        FRAMES,
    );
    asked.say("the card of a prefix");
    let key = |c| Message::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    serve(screen, rooms, link, &mut model, key('2'));
    let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
    serve(screen, rooms, link, &mut model, Message::Key(enter));
    let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 40));
    let frames = Times::of(
        || {
            buffer.reset();
            view::paint(&model, &mut buffer);
        },
        FRAMES,
    );
    frames.say("frame: a card at 120×40");
}

/// A message, and everything that follows from it.
fn serve(
    screen: &mut Screen,
    rooms: &[(Option<&str>, &Engine)],
    link: &Link,
    model: &mut Model,
    message: Message,
) {
    let mut effects = update::update(model, message);
    while !effects.is_empty() {
        for effect in std::mem::take(&mut effects) {
            if let Effect::Ask(request) = effect {
                screen.answer(request, rooms);
            }
        }
        while screen.is_busy() {
            screen.slice(rooms);
        }
        for message in link.take() {
            effects.extend(update::update(model, message));
        }
    }
}

/// Ten seconds of 50,000 updates a second with the table of routes on the screen: ten pictures a second as a live run takes them, a new page
/// twenty pictures apart, a key and a frame for each picture. All on one core, where a live run has the screen on a thread of its own.
fn under_load(mut engine: Engine, number: &mut u64, mut ms: i64) {
    const TURNS: u32 = 100;
    const EACH_TURN: u32 = 5_000;
    let (publisher, requests, link) = link();
    let mut screen = Screen::new(publisher, requests);
    let mut told = Vec::new();
    for (view, name) in [('1', "Incidents"), ('2', "Routes")] {
        let mut model = Model::new((120, 40), Look::default());
        let press = |c| Message::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        serve(
            &mut screen,
            &[(None, &engine)],
            &link,
            &mut model,
            press(view),
        );
        let (mut judged, mut pictures, mut searched, mut frames) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 40));
        for turn in 0..TURNS {
            // The updates of a tenth of a second, one prefix each, all over the table.
            let begun = Instant::now();
            screen.log.turn();
            for n in 0..EACH_TURN {
                let at = (turn * EACH_TURN + n).wrapping_mul(7_919) % PREFIXES;
                *number += 1;
                let update = match turn % 2 {
                    0 => withdraw(at..at + 1),
                    _ => announce(at..at + 1, 64_900 + n % 7),
                };
                let event = event(ms + i64::from(n / 50), *number, update);
                screen.log.keep(&event, &engine);
                engine.handle(&event, &mut told);
                told.clear();
            }
            ms += 100;
            judged.push(begun.elapsed());

            let begun = Instant::now();
            let picture = screen.shoot(&[(None, &engine)], turn.is_multiple_of(5));
            pictures.push(begun.elapsed());

            let begun = Instant::now();
            let mut effects = update::update(&mut model, Message::Snapshot(Arc::new(picture)));
            let down = KeyEvent::new(KeyCode::Down, KeyModifiers::NONE);
            effects.extend(update::update(&mut model, Message::Key(down)));
            buffer.reset();
            view::paint(&model, &mut buffer);
            frames.push(begun.elapsed());

            for effect in effects {
                if let Effect::Ask(request) = effect {
                    screen.answer(request, &[(None, &engine)]);
                }
            }
            while screen.is_busy() {
                let begun = Instant::now();
                screen.slice(&[(None, &engine)]);
                searched.push(begun.elapsed());
            }
            for message in link.take() {
                update::update(&mut model, message);
            }
        }
        for (mut all, what) in [
            (frames, "key, picture and frame"),
            (judged, "judging 5,000 updates"),
            (pictures, "picture"),
            (searched, "a slice of a search"),
        ] {
            if all.is_empty() {
                continue;
            }
            all.sort_unstable();
            Times(all).say(&format!("50,000/s, {name}: {what}"));
        }
    }
}
