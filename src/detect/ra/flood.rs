//! Far more advertisements, routers or prefixes than a link can have: tools that fill hosts' tables (flood_router26 and the like).

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Open, QUIET, keys};
use crate::detect::{Board, Finding, Kind, Severity, Subject};
use crate::event::lan::NdMessage;
use crate::event::{Event, EventKind, Prefix, Timestamp};
use crate::state::NetState;
use crate::state::routers::RouterDelta;

/// Multicast advertisements of a link in one second. A router sends at most one in 3 s (MIN_DELAY_BETWEEN_RAS, RFC 4861 §10); ten routers that
/// all hear one solicitation answer within half a second.
const MOST_IN_SECOND: usize = 10;
/// New routers of a link in one minute, and in its first minute, when all are new.
const MOST_ROUTERS: usize = 5;
const MOST_ROUTERS_AT_FIRST: usize = 15;
/// New prefixes of a link in one minute: Linux takes 16 addresses of advertisements on an interface at most.
const MOST_PREFIXES: usize = 16;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Prefixes known of a link, routers' times kept.
const MAX_PREFIXES: usize = 256;

/// The rates of one link.
#[derive(Clone, Default)]
pub(super) struct Flood {
    since: Option<Timestamp>,
    advertisements: VecDeque<Timestamp>,
    routers: VecDeque<Timestamp>,
    prefixes: VecDeque<Timestamp>,
    known: BTreeSet<Prefix>,
    open: Option<Open>,
}

impl Flood {
    /// Takes an advertisement; whether the link is being flooded.
    pub(super) fn advertised(
        &mut self,
        event: &Event,
        delta: &RouterDelta,
        net: &NetState,
        board: &mut Board,
    ) -> bool {
        let EventKind::Nd(nd) = &event.kind else {
            return false;
        };
        let NdMessage::RouterAdvertisement(ra) = &nd.message else {
            return false;
        };
        let since = *self.since.get_or_insert(event.at);
        let multicast = nd.frame.ip_dst.is_none_or(|to| to.is_multicast());
        let in_second = slide(
            &mut self.advertisements,
            event.at,
            SECOND,
            usize::from(multicast),
        );
        let routers = slide(
            &mut self.routers,
            event.at,
            MINUTE,
            usize::from(delta.new_router),
        );
        let mut new_prefixes = 0;
        for information in &ra.prefixes {
            if self.known.len() >= MAX_PREFIXES {
                self.known.pop_first();
            }
            new_prefixes += usize::from(self.known.insert(information.prefix));
        }
        let prefixes = slide(&mut self.prefixes, event.at, MINUTE, new_prefixes);
        let most_routers = if event.at.since(since) <= MINUTE {
            MOST_ROUTERS_AT_FIRST
        } else {
            MOST_ROUTERS
        };
        let flooded =
            in_second > MOST_IN_SECOND || routers > most_routers || prefixes > MOST_PREFIXES;
        match &mut self.open {
            Some(open) if flooded => {
                open.last = event.at;
                board.update(open.key, |f| f.again(event));
            }
            None if flooded => {
                let subject = Subject::Router(IpAddr::V6(delta.router));
                let mut finding = Finding::new(Kind::RaFlood, Severity::Warning, subject, event);
                finding.explain = format!(
                    "router advertisements flood the link: {in_second} in one second, {routers} new routers and {prefixes} new prefixes in \
                     one minute"
                );
                let macs: Vec<_> = delta.sender.into_iter().collect();
                keys(&mut finding, net, delta.scope, delta.router, &macs);
                for mac in macs {
                    finding.also(Subject::Mac(mac));
                }
                self.open = Some(Open {
                    key: board.raise(finding),
                    last: event.at,
                });
            }
            Some(_) | None => {}
        }
        self.open.is_some()
    }

    /// When the flood counts as over.
    pub(super) fn quiet_at(&self) -> Option<Timestamp> {
        self.open.map(|open| open.last + QUIET)
    }

    /// Ends a finding whose time has come.
    pub(super) fn quiet(&mut self, now: Timestamp, board: &mut Board) {
        if self.quiet_at().is_some_and(|at| at <= now)
            && let Some(open) = self.open.take()
        {
            board.update(open.key, |f| f.ended = Some(now));
        }
    }
}

/// Adds `more` occurrences now and returns how many lie inside the window.
fn slide(times: &mut VecDeque<Timestamp>, now: Timestamp, window: Duration, more: usize) -> usize {
    /// More than any threshold here.
    const ENOUGH: usize = 64;
    while times.front().is_some_and(|at| now.since(*at) > window) || times.len() > ENOUGH {
        times.pop_front();
    }
    times.extend(std::iter::repeat_n(now, more.min(ENOUGH)));
    times.len()
}
