//! What a live run answers over its control socket: looked up in the rooms as they stand between two items.

use crate::control::protocol::{Answer, InRoom, Request, RoomView, Said, Sources};
use crate::correlate::incident::Incident;
use crate::decode::annotation;
use crate::engine::rooms::{Room, Rooms};
use crate::event::annotation::{Annotation, LINK_TYPE};
use crate::event::{SourceId, SourceKind, Timestamp};
use crate::filter::Filter;
use crate::input::Format;
use crate::input::live::{LiveItem, LiveRecord, SourceIds, locator, now};
use crate::output::alert::{GapView, IncidentView, time};
use crate::output::json;
use crate::output::report::{self, Style};

/// Columns of a page that nobody said the width of, and the widest that is made.
const WIDTH: (usize, usize) = (100, 200);

/// What the run knows besides its rooms.
pub struct Office {
    pub host: Option<String>,
    /// As told at the start.
    pub watching: Vec<String>,
    /// Annotations come from a source of their own, so that a recording holds them.
    source: Option<crate::event::SourceInfo>,
    ids: SourceIds,
    annotations: u64,
    pub since: Timestamp,
}

impl Office {
    /// An office; `ids` numbers the source of annotations.
    pub fn new(host: Option<String>, ids: SourceIds) -> Office {
        Office {
            host,
            watching: Vec::new(),
            source: None,
            ids,
            annotations: 0,
            since: now(),
        }
    }

    /// Who we are.
    pub fn hello(&self) -> Answer {
        Answer::of(Said::Hello {
            version: env!("CARGO_PKG_VERSION"),
            host: self.host.clone(),
            pid: std::process::id(),
            since: self.since.to_string(),
        })
    }

    /// Answers what needs no more than looking.
    pub fn answer(&self, request: &Request, rooms: &Rooms) -> Answer {
        match request {
            Request::Hello => self.hello(),
            Request::Incidents { filter } => {
                match filter.as_deref().unwrap_or_default().parse::<Filter>() {
                    Ok(filter) => incidents(rooms, &filter),
                    Err(error) => Answer::wrong(format!("filter: {error}")),
                }
            }
            Request::Show { id, width } => show(rooms, id, *width),
            Request::Sources => self.sources(rooms),
            Request::DeliverStatus | Request::DeliverTest { .. } => Answer::wrong(
                "this service has no sinks: write [[sink]] into its configuration (docs/delivery.md)",
            ),
            Request::Metrics
            | Request::Annotate { .. }
            | Request::Attach { .. }
            | Request::Subscribe { .. } => Answer::wrong("this is not a question"),
        }
    }

    fn sources(&self, rooms: &Rooms) -> Answer {
        let of = |room: &Room| RoomView {
            namespace: label(room),
            from: time(room.engine.from()),
            to: time(room.engine.from().map(|_| room.engine.now())),
            counts: json::counts(&room.engine, room.decoder.stats().records),
            gaps: room
                .engine
                .gaps()
                .iter()
                .map(|(source, gap)| GapView::new(*source, gap))
                .collect(),
            blind: room.engine.blind_spots(),
            known: room.engine.known().to_vec(),
        };
        Answer::of(Said::Sources(Box::new(Sources {
            watching: self.watching.clone(),
            rooms: rooms.all().iter().map(of).collect(),
        })))
    }

    /// An annotation as items for the merge: its source, itself, and that nothing else comes from there for now, so that nobody waits.
    pub fn annotate(
        &mut self,
        given: &serde_json::Value,
        who: &str,
        now: Timestamp,
    ) -> Result<(Annotation, [LiveItem; 3]), String> {
        let mut said = annotation::parse(&given.to_string(), Some(now))?;
        if said.author.is_none() {
            said.author = Some(who.into());
        }
        let ids = &self.ids;
        let info = self
            .source
            .get_or_insert_with(|| {
                let name = format!("{}-1", crate::event::OwnFeed::Operator.name());
                ids.announce(SourceKind::Packets, Some(&name))
            })
            .clone();
        let source: SourceId = info.id;
        self.annotations += 1;
        let bytes = annotation::packet(&said);
        let record = LiveRecord {
            at: now,
            source,
            locator: locator(self.annotations),
            format: Format::Packet(LINK_TYPE),
            wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            bytes,
        };
        let items = [
            LiveItem::Source(info),
            LiveItem::Record(record),
            LiveItem::Closed { source },
        ];
        Ok((said, items))
    }
}

fn label(room: &Room) -> Option<String> {
    room.label.as_deref().map(str::to_owned)
}

/// Every incident with its room, oldest first.
pub fn all(rooms: &Rooms) -> Vec<(Option<String>, Incident)> {
    let mut all: Vec<(Option<String>, Incident)> = rooms
        .all()
        .iter()
        .flat_map(|room| {
            let incidents = room.engine.incidents().into_iter();
            incidents.map(|incident| (label(room), incident))
        })
        .collect();
    all.sort_by(|(_, a), (_, b)| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
    all
}

fn incidents(rooms: &Rooms, filter: &Filter) -> Answer {
    let mut all = all(rooms);
    // What turned out to be part of another incident is told there.
    all.retain(|(_, incident)| incident.merged_into.is_none());
    let of = all.len();
    let incidents = all
        .iter()
        .filter(|(_, incident)| filter.matches(incident))
        .map(|(namespace, incident)| InRoom {
            namespace: namespace.clone(),
            incident: IncidentView::new(incident),
        })
        .collect();
    Answer::of(Said::Incidents { of, incidents })
}

fn show(rooms: &Rooms, id: &str, width: Option<usize>) -> Answer {
    let all = all(rooms);
    let exact = all.iter().find(|(_, incident)| incident.id == id);
    let mut begins = all.iter().filter(|(_, incident)| {
        incident.id.starts_with(id) || incident.id.trim_start_matches("i-").starts_with(id)
    });
    let found = match (exact, begins.next(), begins.next()) {
        (Some(exact), _, _) => exact,
        (None, Some(only), None) => only,
        (None, Some(_), Some(_)) => {
            return Answer::wrong(format!("several incidents begin with {id:?}"));
        }
        (None, None, _) => return Answer::wrong(format!("there is no incident {id:?}")),
    };
    let (namespace, incident) = found;
    let style = Style {
        width: width.unwrap_or(WIDTH.0).clamp(60, WIDTH.1),
        ..Style::default()
    };
    Answer::of(Said::Show {
        text: report::incident_text(incident, style),
        incident: Box::new(InRoom {
            namespace: namespace.clone(),
            incident: IncidentView::new(incident),
        }),
    })
}
