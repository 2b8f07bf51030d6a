//! A router's role as default router: withdrawn, coming and going, or run out.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::{Key, Open, QUIET, WINDOW, another_default, keys};
use crate::detect::{Board, Finding, FindingKey, Kind, Severity, Subject};
use crate::event::frame::Mac;
use crate::event::{Event, Locator, Timestamp};
use crate::state::NetState;
use crate::state::hosts::Scope;
use crate::state::routers::{Field, Router, RouterDelta};

/// Withdrawals that make a flap: one is a shutdown or a restart.
const FLAPS: usize = 2;
/// Contradictions within this time come from two mouths, not from one router that thinks again: a router's own advertisements are at least
/// 3 s apart (MIN_DELAY_BETWEEN_RAS, RFC 4861 §10), and a daemon restart takes longer than a few seconds.
const SAME_BREATH: Duration = Duration::from_secs(60);
/// Withdrawals kept.
const MAX_KEPT: usize = 64;
/// Advertisements after which a router's silence means something: one may have been the answer to somebody's solicitation.
const SPOKEN: u64 = 2;

/// A withdrawal: the lifetime went to zero.
#[derive(Copy, Clone, Debug)]
struct Withdrawal {
    at: Timestamp,
    locator: Locator,
    back: Option<Timestamp>,
    /// The withdrawing advertisement differs from the router's others in more than the lifetime.
    differs: bool,
}

/// The role of one router.
#[derive(Clone, Default, Debug)]
pub(super) struct Role {
    withdrawals: VecDeque<Withdrawal>,
    withdrawn: Option<FindingKey>,
    flap: Option<Open>,
    expired: Option<FindingKey>,
    /// Something was lost since its last advertisement.
    gap: bool,
}

impl Role {
    /// Takes an advertisement that is not known to be forged.
    pub(super) fn advertised(
        &mut self,
        event: &Event,
        delta: &RouterDelta,
        net: &NetState,
        board: &mut Board,
    ) {
        self.gap = false;
        if let Some(expired) = self.expired.take() {
            over(board, expired, event.at);
        }
        match delta.lifetime {
            (Some(1..), 0) => self.withdrew(event, delta, net, board),
            (Some(0), 1..) => self.came_back(event, board),
            _ => {}
        }
    }

    /// Somebody forges this router's advertisements: what its lifetime seemed to do was theirs.
    pub(super) fn silence(&mut self, board: &mut Board) {
        for finding in self
            .withdrawn
            .take()
            .into_iter()
            .chain(self.flap.take().map(|f| f.key))
        {
            board.retract(finding);
        }
        self.withdrawals.clear();
        self.gap = false;
        self.expired = None;
    }

    pub(super) fn gap(&mut self) {
        self.gap = true;
    }

    /// Whether its silence would mean anything.
    pub(super) fn may_expire(&self, router: &Router) -> bool {
        !self.gap && router.seen >= SPOKEN
    }

    /// Its lifetime ran out at `at`, and `event` shows that nobody missed an advertisement: its link was still being captured, or the
    /// kernel dropped its route.
    pub(super) fn expired(
        &mut self,
        key: Key,
        at: Timestamp,
        event: &Event,
        net: &NetState,
        board: &mut Board,
    ) {
        let (scope, router) = key;
        if self.gap || self.expired.is_some() {
            return;
        }
        let Some(entry) = net.routers.get(scope, router) else {
            return;
        };
        let alone = !another_default(net, scope, router, at);
        let severity = if alone {
            Severity::Warning
        } else {
            Severity::Info
        };
        let mut finding = Finding::at(Kind::RaExpired, severity, subject(router), at);
        finding.support(event);
        finding.broken.subject = true;
        finding.broken.default_route = alone;
        let lifetime = entry.current().map_or(0, |sender| sender.ra.lifetime);
        finding.explain = format!(
            "{router} was not heard for its whole router lifetime of {lifetime} s (advertisements before: {}{}, the last at {}): hosts drop it \
             as default router",
            entry.seen,
            entry.interval.map_or_else(String::new, |interval| {
                format!(" as often as every {:.0} s", interval.as_secs_f64())
            }),
            entry.last.clock()
        );
        keys(&mut finding, net, scope, router, &macs_of(entry));
        self.expired = Some(board.raise(finding));
    }

    /// When a flap counts as over.
    pub(super) fn quiet_at(&self) -> Option<Timestamp> {
        self.flap.map(|open| open.last + QUIET)
    }

    pub(super) fn quiet(&mut self, now: Timestamp, board: &mut Board) {
        let Some(open) = self.flap.filter(|open| open.last + QUIET <= now) else {
            return;
        };
        let away = board.get(open.key).is_some_and(|f| f.broken.subject);
        if away {
            // Quiet, because it stayed away: that is not over.
            self.flap = Some(Open { last: now, ..open });
            return;
        }
        self.flap = None;
        self.withdrawals.clear();
        board.update(open.key, |f| f.ended = Some(now));
    }

    fn withdrew(&mut self, event: &Event, delta: &RouterDelta, net: &NetState, board: &mut Board) {
        while self
            .withdrawals
            .front()
            .is_some_and(|withdrawal| event.at.since(withdrawal.at) > WINDOW)
            || self.withdrawals.len() == MAX_KEPT
        {
            self.withdrawals.pop_front();
        }
        self.withdrawals.push_back(Withdrawal {
            at: event.at,
            locator: event.locator,
            back: None,
            // Lifetimes of prefixes go to zero with a real shutdown; the kinds of options do not change.
            differs: delta.changed.iter().any(|field| {
                matches!(
                    field,
                    Field::Options | Field::HopLimit | Field::ReachableTime | Field::Mtu
                )
            }),
        });
        let alone = !another_default(net, delta.scope, delta.router, event.at);
        if let Some(open) = &mut self.flap {
            open.last = event.at;
            board.update(open.key, |f| {
                f.again(event);
                f.broken.subject = true;
                f.broken.default_route = alone;
                f.explain = sentence(f.kind, delta.router, f.count);
            });
            return;
        }
        if self.withdrawals.len() >= FLAPS {
            if let Some(withdrawn) = self.withdrawn.take() {
                board.retract(withdrawn); // it was the first of many
            }
            let key = board.raise(self.flapping(delta, event, net, alone));
            self.flap = Some(Open {
                key,
                last: event.at,
            });
            return;
        }
        // Another default router takes over: worth a note. None: hosts lose their way out.
        let severity = if alone {
            Severity::Warning
        } else {
            Severity::Info
        };
        let mut finding = Finding::new(
            Kind::RaRouterWithdrawn,
            severity,
            subject(delta.router),
            event,
        );
        finding.broken.subject = true;
        finding.broken.default_route = alone;
        finding.explain = format!(
            "{} withdrew itself as default router (router lifetime {} s, now 0){}",
            delta.router,
            delta.lifetime.0.unwrap_or_default(),
            if alone {
                "; no other router advertises a default route on this link"
            } else {
                ""
            }
        );
        finding
            .explanations
            .push("the router, or its RA daemon, was shut down (RFC 4861 §6.2.5)".into());
        finding
            .explanations
            .push("IPv6 forwarding was turned off on it".into());
        keys(
            &mut finding,
            net,
            delta.scope,
            delta.router,
            &macs(net, delta.scope, delta.router),
        );
        self.withdrawn = Some(board.raise(finding));
    }

    fn came_back(&mut self, event: &Event, board: &mut Board) {
        if let Some(withdrawal) = self.withdrawals.back_mut() {
            withdrawal.back = Some(event.at);
        }
        if let Some(withdrawn) = self.withdrawn.take() {
            board.update(withdrawn, |f| f.support(event));
            over(board, withdrawn, event.at);
            self.withdrawn = Some(withdrawn).filter(|_| self.flap.is_none());
        }
        if let Some(open) = &mut self.flap {
            open.last = event.at;
            board.update(open.key, |f| {
                f.support(event);
                f.recovered(event.at);
                f.broken = Default::default();
            });
        }
    }

    /// A flap; or, where it contradicts itself in one breath and the withdrawing advertisements look unlike the others, forgeries that
    /// imitate the router's MAC too.
    fn flapping(&self, delta: &RouterDelta, event: &Event, net: &NetState, alone: bool) -> Finding {
        let first = self.withdrawals.front().copied();
        let begin = first.map_or(event.at, |withdrawal| withdrawal.at);
        let forged = self.withdrawals.iter().all(|withdrawal| withdrawal.differs)
            && event.at.since(begin) <= SAME_BREATH;
        let kind = if forged {
            Kind::RaSpoofed
        } else {
            Kind::RaFlap
        };
        let mut finding = Finding::at(kind, Severity::Warning, subject(delta.router), begin);
        for (n, withdrawal) in self.withdrawals.iter().enumerate() {
            if n > 0 {
                finding.again_at(withdrawal.at);
            }
            finding.evidence.add(withdrawal.locator);
            if let Some(back) = withdrawal.back {
                finding.recovered(back);
            }
        }
        finding.broken.subject = true;
        finding.broken.default_route = alone;
        finding.explain = sentence(kind, delta.router, finding.count);
        if !forged {
            finding.explanations.push(
                "the router's uplink or RA daemon flaps, or its configuration is reloaded".into(),
            );
        }
        keys(
            &mut finding,
            net,
            delta.scope,
            delta.router,
            &macs(net, delta.scope, delta.router),
        );
        finding
    }
}

fn sentence(kind: Kind, router: Ipv6Addr, count: u64) -> String {
    if kind == Kind::RaSpoofed {
        format!(
            "{router} withdrew itself {count} times and took it back at once; the withdrawing advertisements are built unlike its others, so \
             somebody else sends them"
        )
    } else {
        format!("{router} stopped and resumed being a default router: {count} withdrawals")
    }
}

fn subject(router: Ipv6Addr) -> Subject {
    Subject::Router(IpAddr::V6(router))
}

fn macs(net: &NetState, scope: Scope, router: Ipv6Addr) -> Vec<Mac> {
    net.routers
        .get(scope, router)
        .map(macs_of)
        .unwrap_or_default()
}

fn macs_of(entry: &Router) -> Vec<Mac> {
    entry
        .senders
        .iter()
        .filter_map(|sender| sender.mac)
        .collect()
}

fn over(board: &mut Board, finding: FindingKey, at: Timestamp) {
    board.update(finding, |f| {
        f.recovered(at);
        f.broken = Default::default();
        f.ended = Some(at);
    });
}
