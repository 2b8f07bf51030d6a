//! `flapscope analyze --tui FILE…`: the screen over files. The same engine runs over the same bytes, up to the moment that is looked at; going
//! back is running again from a copy of the engine that was made on the way ([`checkpoints`]), so what is shown as of a time is what the
//! engine knew then, to the byte.

mod checkpoints;
mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc::error::TryRecvError;

use self::checkpoints::{Checkpoints, Goal};
use self::run::{Run, Script};
use super::evidence::{self, Bundle, Finder, Listener};
use super::inputs;
use super::screen::Screen;
use crate::cli::AnalyzeOptions;
use crate::config::Config;
use crate::engine::snapshot::{self, Mode};
use crate::event::Timestamp;
use crate::input::Item;
use crate::input::merge::InputSet;
use crate::output::log::MAX_LINES;
use crate::tui::Tui;
use crate::tui::link::{Reply, Request, link};
use crate::tui::model::Control;

/// Between two pictures while reading or playing.
const PICTURE: Duration = Duration::from_millis(100);
/// Between two looks at the clock while playing: below a frame of the eye.
const TURN: Duration = Duration::from_millis(20);
/// Records between two looks at the questions while reading fast: at 5 M records a second and below, under a millisecond.
const STRIDE: u32 = 2_048;

/// Shows the files. The terminal is taken only after all of them could be opened.
pub fn run(files: &[PathBuf], options: &AnalyzeOptions) -> anyhow::Result<u8> {
    let opening = super::open_options(&options.cut)?;
    let settings = Config::load(&options.mine)?.settings(&options.mine);
    let script = Script {
        files: files.to_vec(),
        opening,
        settings,
    };
    let first = Run::open(&script)?;
    let (publisher, requests, link) = link();
    let tui = Tui::start(link, super::live::look()).context("cannot use the terminal")?;
    let mut replay = Replay::new(script, first, Screen::new(publisher, requests));
    let shown = replay.show();
    replay.screen.publisher.end();
    tui.join()?;
    shown?;
    Ok(0)
}

/// What playing began with: the recording's time and ours.
#[derive(Copy, Clone)]
struct Playing {
    from: Timestamp,
    since: Instant,
}

struct Replay {
    script: Script,
    run: Run,
    checkpoints: Checkpoints,
    screen: Screen,
    speed: f64,
    /// Time of the end, once it is known.
    to: Option<Timestamp>,
    plays: Option<Playing>,
    pictured: Instant,
    /// The reader has left.
    leaves: bool,
}

impl Replay {
    fn new(script: Script, run: Run, mut screen: Screen) -> Replay {
        // Where the end is shows when all was read.
        screen.log.lazy = rewinds(&script);
        Replay {
            script,
            run,
            checkpoints: Checkpoints::default(),
            screen,
            speed: 1.0,
            to: None,
            plays: None,
            pictured: now(),
            leaves: false,
        }
    }

    fn show(&mut self) -> anyhow::Result<()> {
        self.go(Goal::Until(Timestamp::MAX))?;
        inputs::check_readable(&self.run.inputs)?;
        while !self.leaves {
            if self.plays.is_some() {
                self.play()?;
                self.questions()?;
                rest();
            } else {
                match self.screen.requests.blocking_recv() {
                    Some(request) => self.ask(request)?,
                    None => return Ok(()),
                }
                self.questions()?;
            }
            self.search();
        }
        Ok(())
    }

    fn rewinds(&self) -> bool {
        rewinds(&self.script)
    }

    /// Writes out the last lines of the log, if they were only counted so far: the last part is judged again. What is shown stays.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        if !self.screen.log.is_behind() {
            return Ok(());
        }
        let (items, ended) = (self.run.items, self.run.ended);
        let written = self.screen.log.written();
        let here = Goal::Events(self.run.events());
        self.restart()?;
        self.checkpoints
            .put_back(here, &mut self.run, &mut self.screen.log);
        if !self.screen.log.is_whole() || self.screen.log.is_empty() {
            self.screen.log.from = written.saturating_sub(MAX_LINES as u64);
        }
        while self.run.items < items && self.run.step(Timestamp::MAX, &mut self.screen.log) {}
        if ended {
            while self.run.step(Timestamp::MAX, &mut self.screen.log) {}
        }
        Ok(())
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.run = Run::open(&self.script)?;
        self.screen.log.clear();
        Ok(())
    }

    /// Takes the next record, unless it is later than `until`; whether there was one.
    fn step(&mut self, until: Timestamp) -> bool {
        let more = self.run.step(until, &mut self.screen.log);
        if self.rewinds() {
            self.checkpoints.pass(&self.run, &self.screen.log);
        }
        more
    }

    /// Goes to where a run to `goal` begins, if that is behind us or a copy stands further on than we.
    fn begin_for(&mut self, goal: Goal, behind: bool) -> anyhow::Result<()> {
        let nearest = self.checkpoints.nearest(goal);
        if !behind && nearest.is_none_or(|items| items <= self.run.items) {
            return Ok(());
        }
        if behind && nearest.is_none_or(|items| items < self.run.items || self.run.ended) {
            self.restart()?;
        }
        if nearest.is_some()
            && !self
                .checkpoints
                .put_back(goal, &mut self.run, &mut self.screen.log)
        {
            // The files are not what they were: nothing is taken from a copy.
            self.checkpoints = Checkpoints::default();
            self.restart()?;
        }
        Ok(())
    }

    /// Runs to a goal, from the begin if it lies behind us. New questions are answered on the way; a new goal replaces the old one.
    fn go(&mut self, goal: Goal) -> anyhow::Result<()> {
        let behind = match goal {
            Goal::Until(at) => at < self.run.now(),
            Goal::Events(count) => count < self.run.events(),
        };
        if behind && !self.rewinds() {
            let text = "standard input cannot be read twice: there is no way back".to_owned();
            self.screen.publisher.reply(Reply::Said(text));
            return Ok(());
        }
        self.begin_for(goal, behind)?;
        let until = match goal {
            Goal::Until(at) => at,
            Goal::Events(_) => Timestamp::MAX,
        };
        let mut left = STRIDE;
        loop {
            if let Goal::Events(count) = goal
                && self.run.events() >= count
            {
                break;
            }
            if !self.step(until) {
                break;
            }
            left -= 1;
            if left == 0 {
                left = STRIDE;
                if now() - self.pictured >= PICTURE {
                    self.picture(true, false);
                    // A wish that came meanwhile is more urgent than this one.
                    if self.questions()? {
                        return self.catch_up();
                    }
                }
                if self.leaves {
                    return Ok(());
                }
            }
        }
        self.catch_up()?;
        if self.run.ended {
            self.to = Some(self.run.now());
        }
        self.picture(false, true);
        Ok(())
    }

    fn picture(&mut self, reading: bool, thorough: bool) {
        self.pictured = now();
        let infos = self.run.inputs.inputs();
        let mut picture = self.screen.shoot(&self.run.rooms.engines(), thorough);
        picture.notes = infos
            .iter()
            .flat_map(|input| input.notes.iter().map(move |note| (&input.name, note)))
            .map(|(name, note)| crate::event::text::sanitized(&format!("{name}: {note}")))
            .collect();
        picture.watched = infos
            .iter()
            .map(|input| {
                let name = crate::event::text::sanitized(&input.name);
                format!("{name}: {}, input {}", input.kind, input.id.0)
            })
            .collect();
        picture.mode = Mode::Replay(snapshot::Replay {
            files: infos
                .iter()
                .map(|input| crate::event::text::sanitized(&input.name))
                .collect(),
            from: self.run.from(),
            to: self.to,
            playing: self.plays.is_some(),
            speed: self.speed,
            reading: (reading && self.to.is_none()).then(|| {
                (
                    self.run.inputs.octets_read(),
                    self.run.inputs.octets_total(),
                )
            }),
            rewinds: self.rewinds(),
        });
        self.screen.publisher.publish(picture);
    }

    /// Goes on as far as the clock says.
    fn play(&mut self) -> anyhow::Result<()> {
        let Some(playing) = self.plays else {
            return Ok(());
        };
        let passed = now().duration_since(playing.since).as_secs_f64() * self.speed;
        let target = Timestamp(playing.from.0.saturating_add((passed * 1e9) as i64));
        let begun = now();
        while self.step(target) {
            // Faster than we can is as fast as we can, and keys go first.
            if now() - begun > TURN {
                break;
            }
        }
        if self.run.ended {
            self.plays = None;
            self.picture(false, true);
        } else if now() - self.pictured >= PICTURE {
            self.picture(false, true);
        }
        Ok(())
    }

    /// Answers what was asked meanwhile; whether the reader wants to be elsewhere.
    fn questions(&mut self) -> anyhow::Result<bool> {
        let mut elsewhere = false;
        loop {
            match self.screen.requests.try_recv() {
                Ok(request) => {
                    elsewhere |= matches!(request, Request::Control(_));
                    self.ask(request)?;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.leaves = true;
                    break;
                }
            }
        }
        self.search();
        Ok(elsewhere)
    }

    /// Finishes searches: nothing has to be taken meanwhile.
    fn search(&mut self) {
        while self.screen.is_busy() {
            self.screen.slice(&self.run.rooms.engines());
        }
    }

    fn ask(&mut self, request: Request) -> anyhow::Result<()> {
        let Some(request) = self.screen.answer(request, &self.run.rooms.engines()) else {
            return Ok(());
        };
        match request {
            Request::Control(control) => self.control(control)?,
            Request::Bytes { id, places } => {
                let mut finder = Finder::new(places);
                self.again(&mut |item| finder.item(item))?;
                let found = finder.finish();
                self.screen.publisher.reply(Reply::Bytes { id, found });
            }
            Request::Exchange {
                id,
                exchange,
                around,
            } => {
                let mut listener = Listener::new(exchange, around);
                self.again(&mut |item| listener.item(item))?;
                let rungs = listener.finish();
                self.screen.publisher.reply(Reply::Exchange { id, rungs });
            }
            Request::Bundle { id } => {
                let said = self.bundle(&id)?;
                self.screen.publisher.reply(Reply::Said(said));
            }
            Request::Page { .. }
            | Request::Card { .. }
            | Request::Log { .. }
            | Request::Alert { .. } => {}
        }
        Ok(())
    }

    /// Reads the files anew, until `done` says so. Standard input cannot be: then nothing is found.
    fn again(&self, done: &mut dyn FnMut(&Item<'_>) -> bool) -> anyhow::Result<()> {
        if !self.rewinds() {
            return Ok(());
        }
        let mut inputs = InputSet::open(&self.script.files, &self.script.opening)?;
        while let Some(item) = inputs.next() {
            if done(&item) {
                break;
            }
        }
        Ok(())
    }

    fn bundle(&self, id: &str) -> anyhow::Result<String> {
        if !self.rewinds() {
            return Ok("standard input cannot be read twice: there is no slice of it".to_owned());
        }
        let Some((room, incident)) = evidence::incident(&self.run.rooms.engines(), id) else {
            return Ok(format!("{id} is not known at this moment"));
        };
        let host = inputs::host_name(&self.run.inputs);
        let place = std::path::Path::new(".");
        let begun = Bundle::begin(place, &incident, room.as_deref(), host.as_deref());
        let mut bundle = match begun {
            Ok(bundle) => bundle,
            Err(error) => return Ok(format!("cannot write the bundle here: {error}")),
        };
        self.again(&mut |item| {
            bundle.item(item);
            matches!(item, Item::Record(record) if record.at > bundle.until())
        })?;
        Ok(bundle.finish())
    }

    fn control(&mut self, control: Control) -> anyhow::Result<()> {
        match control {
            Control::Play => {
                if self.run.ended {
                    if !self.rewinds() {
                        return self.go(Goal::Events(0));
                    }
                    self.restart()?;
                }
                // The first record says when it begins.
                self.step(Timestamp::MAX);
                self.begin();
                self.picture(false, true);
            }
            Control::Pause => {
                self.plays = None;
                self.picture(false, true);
            }
            Control::Speed(speed) => {
                self.speed = speed;
                if self.plays.is_some() {
                    self.begin();
                }
                self.picture(false, false);
            }
            Control::Seek(at) => {
                let at = match self.run.from() {
                    Some(from) => at.max(from),
                    None => at,
                };
                self.go(Goal::Until(at))?;
                if self.plays.is_some() {
                    self.begin();
                }
            }
            Control::Step(by) => {
                self.plays = None;
                let count = i64::try_from(self.run.events()).unwrap_or(i64::MAX);
                let count = count.saturating_add(by).max(1);
                self.go(Goal::Events(u64::try_from(count).unwrap_or(1)))?;
            }
            Control::End => {
                self.plays = None;
                self.go(Goal::Until(Timestamp::MAX))?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.plays = Some(Playing {
            from: self.run.now(),
            since: now(),
        });
    }
}

/// Whether the files can be read again.
fn rewinds(script: &Script) -> bool {
    script.files.iter().all(|file| file.as_os_str() != "-")
}

/// Until the next look at the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a replay plays as fast as the reader's clock goes"
)]
fn rest() {
    thread::sleep(TURN);
}

#[expect(
    clippy::disallowed_methods,
    reason = "a replay plays as fast as the reader's clock goes"
)]
fn now() -> Instant {
    Instant::now()
}
