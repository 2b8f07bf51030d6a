//! Detectors of our own feeds: holes, restarts, clock steps, and routers whose BMP says what cannot be.
//!
//! They come first: a feed that lies or has a hole makes every other finding doubtful (law 4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::event::bmp::{BmpEvent, BmpMessage};
use crate::event::loss::{Gap, GapKind};
use crate::event::{Classes, EventKind, SourceId, SourceKind, Timestamp};
use crate::state::rib::{RibEvent, RibId, RibKind};
use crate::state::sessions::{SessionDelta, SessionId};
use crate::state::{NetState, Observation};

use super::{
    Board, Detector, Fidelity, Finding, FindingKey, Kind, Settings, Severity, Subject, Touch,
};

/// D48: withdrawals without a single announcement that no working feed sends. Routers with FRR's defect #22588 sent 1,966,176.
const WITHDRAWALS: u64 = 1000;
/// Feeds with findings.
const MAX_FEEDS: usize = 1024;

/// Adds this family's detectors.
pub fn register(_settings: &Settings, detectors: &mut Vec<Box<dyn Detector>>) {
    detectors.push(Box::new(Feeds::default()));
}

/// `feed.gap`, `feed.restarted`, `feed.implausible`, `feed.clock-step`.
#[derive(Clone, Default)]
struct Feeds {
    gaps: BTreeMap<(SourceId, GapKind), FindingKey>,
    restarts: BTreeMap<Option<IpAddr>, FindingKey>,
    implausible: BTreeMap<RibId, FindingKey>,
    /// Tables of routers that are no longer reported.
    tables: BTreeMap<RibId, FindingKey>,
}

impl Detector for Feeds {
    fn name(&self) -> &'static str {
        "feeds"
    }

    fn wants(&self) -> Classes {
        Classes::GAP
            .and(Classes::BMP)
            .and(Classes::BGP)
            .and(Classes::TCP)
    }

    fn observe(&mut self, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        if let EventKind::Gap(gap) = &seen.event.kind {
            self.gap(seen, gap, net, board);
        }
        for delta in &seen.changes.sessions {
            match delta {
                SessionDelta::FeedUp {
                    router,
                    again: true,
                } => self.restarted(*router, seen, board),
                SessionDelta::ClockAhead { id, from, to, hold } => {
                    self.ahead(*id, (*from, *to, *hold), seen, net, board);
                }
                SessionDelta::FeedDown { router } => {
                    if let Some(key) = self.restarts.get(router) {
                        board.update(*key, |finding| finding.support(seen.event));
                    }
                }
                _ => {}
            }
        }
        for change in &seen.changes.rib.events {
            if let (RibEvent::Lost { rib, routes, .. }, EventKind::Bmp(bmp)) =
                (change, &seen.event.kind)
            {
                self.table_gone(*rib, *routes, bmp, seen, net, board);
            }
        }
        // Also where no route changed: withdrawals of what was never announced change none.
        if let (EventKind::Bmp(_), Some(id)) = (&seen.event.kind, seen.changes.rib.rib) {
            self.plausible(id, seen, net, board);
        }
    }
}

impl Feeds {
    fn gap(&mut self, seen: &Observation<'_>, gap: &Gap, net: &NetState, board: &mut Board) {
        let name = net.sources.get(&seen.event.source).map_or_else(
            || "input".to_owned(),
            |info| match (&info.interface, info.kind) {
                (Some(name), _) => name.to_string(),
                (None, SourceKind::Netlink) => "netlink".to_owned(),
                (None, SourceKind::Packets) => "packets".to_owned(),
                (None, SourceKind::Bmp) => "bmp".to_owned(),
                (None, SourceKind::Mrt) => "mrt".to_owned(),
            },
        );
        let place = (seen.event.source, gap.kind);
        if let Some(key) = self.gaps.get(&place) {
            board.update(*key, |finding| {
                finding.again(seen.event);
                finding.recovered(gap.to);
            });
            return;
        }
        if self.gaps.len() >= MAX_FEEDS {
            return;
        }
        let kind = if gap.kind == GapKind::ClockStep {
            Kind::FeedClockStep
        } else {
            Kind::FeedGap
        };
        let mut finding = Finding::new(
            kind,
            Severity::Info,
            Subject::Source(name.as_str().into()),
            seen.event,
        );
        finding.first = gap.from.min(seen.event.at);
        finding.fidelity = Fidelity::Gap;
        finding.touch(Touch::Feed(name.into()));
        finding.recovered(gap.to.max(finding.first));
        finding.ended = Some(seen.event.at);
        let lost = gap
            .lost
            .map(|lost| format!(" ({lost} lost)"))
            .unwrap_or_default();
        let therefore = if kind == Kind::FeedClockStep {
            "durations across it are doubtful"
        } else {
            "what happened meanwhile was not seen"
        };
        finding.explain = format!("{}{lost}; {therefore}", gap.detail);
        self.gaps.insert(place, board.raise(finding));
    }

    /// A router no longer reports a table of its own (RFC 9069 §5.3): what is in it is out of sight, and no session went down.
    fn table_gone(
        &mut self,
        id: RibId,
        routes: u32,
        bmp: &BmpEvent,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(rib) = net.rib.get(id).filter(|rib| rib.kind == RibKind::BmpLoc) else {
            return;
        };
        let Some(session) = net.sessions.get(rib.session) else {
            return;
        };
        let router = session.ends[rib.sender & 1].addr;
        let name = match &bmp.message {
            BmpMessage::PeerDown { table, .. } => table.as_ref(),
            _ => None,
        };
        let table = match (name, session.distinguisher()) {
            (Some(name), Some(rd)) => format!("the table of VRF {name} ({rd})"),
            (Some(name), None) => format!("the table {name}"),
            (None, Some(rd)) => format!("the table of VRF {rd}"),
            (None, None) => "its table".to_owned(),
        };
        if self.tables.len() >= MAX_FEEDS && !self.tables.contains_key(&id) {
            return;
        }
        if let Some(key) = self.tables.get(&id) {
            return board.update(*key, |finding| finding.again(seen.event));
        }
        let mut finding = Finding::new(
            Kind::FeedGap,
            Severity::Info,
            Subject::Router(router),
            seen.event,
        );
        finding.fidelity = Fidelity::Gap;
        finding.explain = format!(
            "{router} no longer reports {table}, {routes} prefixes: the VRF was removed there, or is not monitored any more"
        );
        finding.ended = Some(seen.event.at);
        self.tables.insert(id, board.raise(finding));
    }

    /// Nothing marks a clock that is set ahead but what should have ended meanwhile and did not.
    fn ahead(
        &mut self,
        id: SessionId,
        (from, to, hold): (Timestamp, Timestamp, Duration),
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(session) = net.sessions.get(id) else {
            return;
        };
        let gap = Gap {
            kind: GapKind::ClockStep,
            from,
            to,
            lost: None,
            detail: format!(
                "the clock was set ahead by about {:.0} s: nothing came for so long, and the session between {} and {} with its hold time of {} s went on without a loss",
                to.since(from).as_secs_f64(),
                session.ends[0].addr,
                session.ends[1].addr,
                hold.as_secs()
            )
            .as_str()
            .into(),
        };
        self.gap(seen, &gap, net, board);
    }

    fn restarted(&mut self, router: Option<IpAddr>, seen: &Observation<'_>, board: &mut Board) {
        if let Some(key) = self.restarts.get(&router) {
            board.update(*key, |finding| finding.again(seen.event));
            return;
        }
        if self.restarts.len() >= MAX_FEEDS {
            return;
        }
        let subject = match router {
            Some(addr) => Subject::Router(addr),
            None => Subject::Source("bmp".into()),
        };
        let mut finding = Finding::new(Kind::FeedRestarted, Severity::Info, subject, seen.event);
        if let Some(addr) = router {
            finding.touch(Touch::Feed(addr.to_string().into()));
            // A router is one end of the sessions that its feed reports.
            finding.touch(Touch::Peer(addr));
        }
        finding.ended = Some(seen.event.at);
        let who = router.map_or_else(|| "a router".to_owned(), |addr| addr.to_string());
        finding.explain = format!(
            "The feed of {who} connected again and repeats its whole state; the repetition is no churn"
        );
        self.restarts.insert(router, board.raise(finding));
    }

    /// A pre-policy feed of withdrawals alone is FRR without `soft-reconfiguration inbound` (FRR #22588), not an outage.
    fn plausible(&mut self, id: RibId, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(rib) = net.rib.get(id) else { return };
        if rib.kind != RibKind::BmpPre
            || rib.announcements > 0
            || rib.withdrawals < WITHDRAWALS
            || self.implausible.contains_key(&id)
            || self.implausible.len() >= MAX_FEEDS
        {
            return;
        }
        let Some(session) = net.sessions.get(rib.session) else {
            return;
        };
        let sender = session.ends[rib.sender].addr;
        let mut finding = Finding::new(
            Kind::FeedImplausible,
            Severity::Warning,
            Subject::Peer(sender, None),
            seen.event,
        );
        finding.touch(Touch::Peer(sender));
        finding.fidelity = Fidelity::Compressed;
        finding.explain = format!(
            "BMP reports {} withdrawals of {sender} and not one announcement: no peer sends that; FRR does so without `soft-reconfiguration inbound`",
            rib.withdrawals
        );
        finding.advice = vec![
            "vtysh -c 'show running-config bgpd' | grep -e bmp -e soft-reconfiguration".to_owned(),
        ];
        self.implausible.insert(id, board.raise(finding));
    }
}
