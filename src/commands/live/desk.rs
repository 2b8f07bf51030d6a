//! The desk where a live run comes together: merge, recorder, rooms and teller, in this order.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::answers::{self, Office};
use super::courier::Courier;
use super::gauges::{self, Tally};
use super::screen::LiveScreen;
use super::told::Teller;
use crate::config::Config;
use crate::control::bridge::Viewing;
use crate::control::protocol::{Answer, Request, Said};
use crate::control::server::{Asked, News};
use crate::correlate::Told;
use crate::correlate::maintenance::Window;
use crate::detect::baseline::Baseline;
use crate::engine::rooms::{Rooms, ToldIn};
use crate::event::Timestamp;
use crate::input::live::LiveItem;
use crate::input::merge::live::LiveMerge;
use crate::input::record::Recorder;
use crate::output::alert::{Alert, Host};
use crate::tui::link::Request as ScreenRequest;

/// Everything behind the collectors' channel.
pub struct Desk {
    merge: LiveMerge,
    /// `None`: nothing is judged.
    rooms: Option<Rooms>,
    told: Vec<ToldIn>,
    recorder: Option<Recorder>,
    teller: Teller,
    office: Office,
    /// Where subscribers hear of alerts.
    news: Option<broadcast::Sender<News>>,
    /// Takes alerts to sinks, where there are any.
    courier: Option<Courier>,
    tally: Tally,
}

impl Desk {
    /// An empty desk.
    pub fn new(
        rooms: Option<Rooms>,
        recorder: Option<Recorder>,
        teller: Teller,
        office: Office,
    ) -> Desk {
        Desk {
            merge: LiveMerge::default(),
            rooms,
            told: Vec::new(),
            recorder,
            teller,
            office,
            news: None,
            courier: None,
            tally: Tally::default(),
        }
    }

    /// Tells subscribers of alerts from now on.
    pub fn publish(&mut self, news: broadcast::Sender<News>) {
        self.news = Some(news);
    }

    /// Alerts go to sinks, too.
    pub fn deliver_with(&mut self, courier: Courier) {
        self.courier = Some(courier);
    }

    /// Serves a client of the control socket.
    pub fn serve(&mut self, asked: Asked, now: Timestamp) {
        let asked = match &self.courier {
            Some(courier) => courier.answer(asked, now),
            None => Some(asked),
        };
        if let Some(asked) = asked {
            let answer = self.answer(&asked.request, &asked.who, now);
            let _ = asked.reply.send(answer); // it may have left
        }
    }

    /// Other sinks, as a configuration that was read again says.
    pub fn reload_sinks(&mut self, config: &Config) -> anyhow::Result<()> {
        let Some(courier) = &mut self.courier else {
            return match config.sinks.is_empty() {
                true => Ok(()),
                false => self.note("SIGHUP: the first sink needs a restart"),
            };
        };
        for trouble in courier.reload(config) {
            self.note(&format!("SIGHUP: {trouble}"))?;
        }
        Ok(())
    }

    /// Answers a client of the control socket.
    pub fn answer(&mut self, request: &Request, who: &str, now: Timestamp) -> Answer {
        if let Request::Annotate { annotation } = request {
            return match self.office.annotate(annotation, who, now) {
                Ok((said, items)) => {
                    for item in items {
                        self.merge.push(item);
                    }
                    Answer::of(Said::Annotated {
                        from: said.from.to_string(),
                    })
                }
                Err(error) => Answer::wrong(error),
            };
        }
        if *request == Request::Metrics {
            let incidents = self.rooms.as_ref().map(answers::all).unwrap_or_default();
            let samples = gauges::samples(
                self.rooms.as_ref(),
                &incidents,
                &self.tally,
                self.courier.as_ref(),
                self.office.since,
            );
            return Answer::of(Said::Metrics { samples });
        }
        match &self.rooms {
            Some(rooms) => self.office.answer(request, rooms),
            None => Answer::wrong("this service only records"),
        }
    }

    /// Adds what the rooms learned to what was known.
    pub fn learn(&self, baseline: &mut Baseline) {
        for room in self.rooms.iter().flat_map(Rooms::all) {
            room.engine.learn(baseline);
        }
    }

    /// Maintenance windows instead of those before.
    pub fn set_maintenance(&mut self, windows: &[Window]) {
        if let Some(rooms) = &mut self.rooms {
            rooms.set_maintenance(windows);
        }
    }

    /// Says what is watched before anything happens.
    pub fn begin(&mut self, watched: &[String]) -> anyhow::Result<()> {
        self.office.watching = watched.to_vec();
        Ok(self.teller.begin(watched)?)
    }

    /// Nobody reads alerts any more; the recording goes on.
    pub fn mute(&mut self) {
        self.teller.mute();
    }

    /// The terminal takes nothing any more: not a word is written to it.
    pub fn silence(&mut self) {
        self.teller.silence();
    }

    /// Moves received items into the merge; notes go to the reader at once.
    pub fn take(&mut self, batch: &mut Vec<LiveItem>) -> anyhow::Result<()> {
        for item in batch.drain(..) {
            match item {
                LiveItem::Note(text) => self.teller.note(&text)?,
                item => self.merge.push(item),
            }
        }
        Ok(())
    }

    /// Judges what is ripe at wall clock time `now`, and lets time go on.
    pub fn judge(&mut self, now: Timestamp) -> anyhow::Result<()> {
        while let Some(item) = self.merge.pop(now) {
            self.item(item)?;
        }
        let horizon = self.merge.horizon(now);
        if let Some(rooms) = &mut self.rooms {
            rooms.advance(horizon, &mut self.told);
        }
        self.tell()?;
        if let Some(recorder) = &mut self.recorder {
            recorder.advance(horizon);
            // Where nothing is judged there is nothing left to do: a recorder without a recording must not look alive.
            if self.rooms.is_none()
                && let Some(error) = recorder.ended()
            {
                return Err(error.into());
            }
            for news in recorder.news() {
                self.teller.note(&news)?;
            }
        }
        if let Some(courier) = &mut self.courier {
            courier.tend(now);
        }
        for news in self.courier.iter().flat_map(Courier::news) {
            self.teller.note(&news)?;
        }
        self.teller.flush()?;
        Ok(())
    }

    fn item(&mut self, mut item: LiveItem) -> anyhow::Result<()> {
        if let Some(recorder) = &mut self.recorder
            && let Some(place) = item.as_item().and_then(|seen| recorder.write(&seen))
        {
            // Evidence is where the recording has it (law 13).
            item.place(place);
        }
        if let (Some(rooms), Some(item)) = (&mut self.rooms, item.as_item()) {
            let screen = &mut self.teller.screen;
            rooms.item_seen(&item, &mut self.told, &mut |event, engine| {
                if let Some(screen) = screen {
                    screen.keep(event, engine);
                }
            });
        }
        // Packets, and what routers send, belong to the first room.
        if let (Some(screen), Some(room)) = (
            &mut self.teller.screen,
            self.rooms.as_ref().and_then(|rooms| rooms.all().first()),
        ) {
            screen.push(item, &room.decoder);
        }
        self.tell()
    }

    /// Hands over what the rooms have to say; the recorder keeps the minutes before an incident.
    fn tell(&mut self) -> anyhow::Result<()> {
        let Some(rooms) = &self.rooms else {
            return Ok(());
        };
        for (room, said) in self.told.drain(..) {
            if let Some(recorder) = &mut self.recorder {
                let opened = matches!(said, Told::Opened(_));
                let (Told::Opened(incident) | Told::Updated(incident) | Told::Resolved(incident)) =
                    &said;
                recorder.told(incident.updated_at, opened);
            }
            let label = rooms.label(room);
            self.tally.count(&said);
            if let Some(news) = self.news.as_ref().filter(|news| news.receiver_count() > 0) {
                let host = Host {
                    name: self.office.host.clone(),
                };
                let mut line = serde_json::to_string(&Alert::new(&said, &host.inside(label)))?;
                line.push('\n');
                let incident = Arc::new(said.incident().clone());
                let line = line.into();
                let _ = news.send(News { line, incident }); // the last subscriber may just have left
            }
            if let Some(courier) = &mut self.courier {
                let host = Host {
                    name: self.office.host.clone(),
                };
                courier.tell(&host.inside(label), &said);
            }
            self.teller.tell(label, &said)?;
        }
        Ok(())
    }

    /// From here on a screen shows what happens.
    pub fn show_on(&mut self, screen: LiveScreen) {
        self.teller.screen = Some(screen);
    }

    /// Goes on with a search of a screen's.
    pub fn search(&mut self) {
        if let (Some(screen), Some(rooms)) = (&mut self.teller.screen, &self.rooms) {
            screen.screen.slice(&rooms.engines());
        }
    }

    /// Serves the screen, if there is one.
    pub fn show(&mut self, now: Timestamp) {
        if let (Some(screen), Some(rooms)) = (&mut self.teller.screen, &self.rooms) {
            screen.turn(rooms, now);
        }
    }

    /// Answers a question of the screen.
    pub fn ask(&mut self, request: ScreenRequest) {
        if let (Some(screen), Some(rooms)) = (&mut self.teller.screen, &self.rooms) {
            screen.ask(request, rooms);
        }
    }

    /// Serves a screen elsewhere.
    pub fn view(&mut self, viewing: Viewing) {
        match (viewing, &mut self.teller.screen, &self.rooms) {
            (Viewing::Enter { publisher, reply }, Some(screen), Some(_)) => {
                let answer = match screen.enter(publisher) {
                    Ok(()) => self.office.hello(),
                    Err(error) => Answer::wrong(error),
                };
                let _ = reply.send(answer); // it may have left
            }
            (Viewing::Enter { reply, .. }, ..) => {
                let _ = reply.send(Answer::wrong("this service only records")); // as above
            }
            (Viewing::Ask { publisher, request }, Some(screen), Some(rooms)) => {
                screen.ask_from(publisher, request, rooms);
            }
            (Viewing::Ask { .. }, ..) => {}
        }
    }

    /// What the screen asks next; never ready where there is none. `None`: the screen was left.
    pub async fn asked(&mut self) -> Option<ScreenRequest> {
        match &mut self.teller.screen {
            Some(screen) if screen.here => screen.screen.requests.recv().await,
            _ => std::future::pending().await,
        }
    }

    /// Whether a search for the screen goes on.
    pub fn is_busy(&self) -> bool {
        self.teller
            .screen
            .as_ref()
            .is_some_and(|screen| screen.screen.is_busy())
    }

    /// The screen is gone: what is still to be said goes where lines go.
    pub fn without_screen(&mut self) {
        if let Some(screen) = self.teller.screen.take() {
            screen.end();
        }
    }

    /// A sentence for whoever runs the program.
    pub fn note(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.teller.note(text)?)
    }

    /// End of input: the merge is emptied, the engine concludes, the recording is closed, all is written out. Whether a recording that was
    /// asked for is whole.
    pub fn finish(&mut self) -> anyhow::Result<bool> {
        while let Some(item) = self.merge.drain() {
            self.item(item)?;
        }
        if let Some(rooms) = &mut self.rooms {
            rooms.finish(&mut self.told);
        }
        self.tell()?;
        for news in self.courier.take().into_iter().flat_map(Courier::end) {
            self.teller.note(&news)?;
        }
        let summary = self.recorder.as_mut().map(Recorder::finish);
        for news in self.recorder.iter_mut().flat_map(Recorder::news) {
            self.teller.note(&news)?;
        }
        self.teller.end(self.merge.late(), summary.as_ref())?;
        Ok(summary.is_none_or(|summary| summary.shed == 0 && summary.trouble.is_none()))
    }
}
