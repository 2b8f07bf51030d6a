//! `rpki.cache-lost`: a cache that cannot be reached, how long what it said is still good, and what is left when it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::detect::{Board, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::Timestamp;
use crate::state::vrps::{Cache, CacheId, Rov, VrpDelta};
use crate::state::{NetState, Observation};

/// A validator restarts within a minute or two (it reads its own store first); what it said is good for hours meanwhile.
const GRACE: Duration = Duration::from_secs(120);

#[derive(Clone)]
struct Loss {
    key: FindingKey,
    /// When it is judged again.
    judge_at: Option<Timestamp>,
}

/// Losses of one cache within this are one finding that counts: RFC 8210 §6 has a router refresh once an hour by default.
const FLAP_WINDOW: Duration = Duration::from_secs(3600);
/// So many in that time are no restart of a validator any more.
const FLAPS: u64 = 4;

/// The lost caches.
#[derive(Clone, Default)]
pub(super) struct Losses {
    lost: BTreeMap<CacheId, Loss>,
    /// The finding of each cache that was lost, and when that was last.
    told: BTreeMap<CacheId, (FindingKey, Timestamp)>,
}

/// A cache's name in subjects and joins.
pub(super) fn name(cache: &Cache) -> String {
    match (&cache.name, cache.is_file) {
        (Some(name), true) => name.to_string(),
        _ => cache.addr.to_string(),
    }
}

/// A cache as a subject.
pub(super) fn subject(cache: &Cache) -> Subject {
    Subject::Source(name(cache).into())
}

impl Losses {
    pub fn delta(
        &mut self,
        delta: &VrpDelta,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        match delta {
            VrpDelta::Disconnected { cache, .. } => self.lost(*cache, seen, net, board),
            VrpDelta::Fresh { cache, .. } => {
                if let Some(loss) = self.lost.remove(cache) {
                    let at = seen.event.at;
                    board.update(loss.key, |finding| {
                        finding.support(seen.event);
                        finding.recovered(at);
                        finding.ended = Some(at);
                        finding.broken.subject = false;
                    });
                }
            }
            VrpDelta::Expired { cache, removed } => {
                self.expired(*cache, *removed, seen, net, board)
            }
            VrpDelta::Connected(_) => {}
        }
    }

    fn lost(&mut self, id: CacheId, seen: &Observation<'_>, net: &NetState, board: &mut Board) {
        let Some(cache) = net.vrps.cache(id) else {
            return;
        };
        let explain = sentence(cache);
        if let Some(loss) = self.lost.get(&id) {
            board.update(loss.key, |finding| {
                finding.support(seen.event);
                finding.explain = explain;
            });
            return;
        }
        let at = seen.event.at;
        let judge_at = Some(at + GRACE);
        if let Some((key, last)) = self.told.get_mut(&id)
            && at.since(*last) <= FLAP_WINDOW
        {
            *last = at;
            board.update(*key, |finding| {
                finding.again(seen.event);
                finding.explain = format!(
                    "{explain}; it was lost {} times in {:.0} s",
                    finding.count,
                    at.since(finding.first).as_secs_f64()
                );
                if finding.count >= FLAPS {
                    finding.severity = Severity::Warning;
                }
            });
            self.lost.insert(
                id,
                Loss {
                    key: *key,
                    judge_at,
                },
            );
            return;
        }
        let mut finding = Finding::new(
            Kind::RpkiCacheLost,
            Severity::Info,
            subject(cache),
            seen.event,
        );
        if let Some(router) = cache.router {
            finding.also(Subject::Router(router));
        }
        finding.touch(Touch::Feed(name(cache).into()));
        finding.explain = explain;
        finding.advice = advice(cache);
        let key = board.raise(finding);
        self.told.insert(id, (key, at));
        self.lost.insert(id, Loss { key, judge_at });
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.lost.values().filter_map(|loss| loss.judge_at).min()
    }

    /// Caches that did not come back in time: a warning when it was the last one.
    pub fn expire(&mut self, now: Timestamp, net: &NetState, board: &mut Board) {
        for (id, loss) in &mut self.lost {
            if loss.judge_at.is_none_or(|at| at > now) {
                continue;
            }
            loss.judge_at = None;
            let Some(cache) = net.vrps.cache(*id) else {
                continue;
            };
            // Of a router that we only watch we do not know whether it has other caches.
            // A router that is this host was seen with all its caches: they are in this very capture.
            let ours = cache
                .router
                .is_none_or(|router| net.addresses.owner(router).is_some());
            let last = ours && all_lost(net, cache);
            board.update(loss.key, |finding| {
                finding.explain = sentence(cache);
                if last {
                    finding.severity = Severity::Warning;
                    finding.broken.subject = true;
                    finding.last = finding.last.max(now);
                }
            });
        }
    }

    fn expired(
        &mut self,
        id: CacheId,
        removed: usize,
        seen: &Observation<'_>,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(cache) = net.vrps.cache(id) else {
            return;
        };
        let worse: Vec<_> = seen
            .changes
            .rov
            .routes
            .iter()
            .filter(|delta| delta.before == Some(Rov::Valid) && delta.after == Rov::NotFound)
            .collect();
        let blind = !net.vrps.is_usable();
        let age = cache
            .fresh_at
            .map_or_else(String::new, |at| format!(" since {at}"));
        let left = match (blind, worse.len()) {
            (true, 0) => "no route can be validated any more".to_owned(),
            (true, n) => format!(
                "{n} announced prefixes that were valid are not-found now, and no invalid one is recognised"
            ),
            (false, 0) => "other caches still say the same".to_owned(),
            (false, n) => format!("{n} announced prefixes that were valid are not-found now"),
        };
        let explain = format!(
            "{} said nothing new{age}, and its {removed} VRPs have expired: {left}",
            cache.label()
        );
        let key = match self.lost.get(&id) {
            Some(loss) => loss.key,
            None => {
                let at = seen.event.at;
                let finding = Finding::at(Kind::RpkiCacheLost, Severity::Info, subject(cache), at);
                let key = board.raise(finding);
                let judge_at = None;
                self.lost.insert(id, Loss { key, judge_at });
                key
            }
        };
        board.update(key, |finding| {
            finding.explain = explain;
            finding.last = finding.last.max(seen.event.at);
            finding.touch(Touch::Feed(name(cache).into()));
            finding.advice = advice(cache);
            // Its effects begin now.
            finding.again_at(seen.event.at);
            for delta in &worse {
                finding.affected.prefix(delta.prefix);
            }
            if blind || !worse.is_empty() {
                finding.severity = Severity::Warning;
                finding.broken.subject = true;
            }
        });
    }
}

/// Whether every cache of the same router is lost.
fn all_lost(net: &NetState, cache: &Cache) -> bool {
    net.vrps
        .caches()
        .filter(|(_, other)| other.router == cache.router)
        .all(|(_, other)| other.lost_at.is_some())
}

/// What is lost, why, and how long it can be borne.
fn sentence(cache: &Cache) -> String {
    let why = cache
        .why
        .as_ref()
        .map_or_else(String::new, |why| format!(" ({why})"));
    let who = match cache.router {
        Some(router) => format!("{router} lost {}", cache.label()),
        None if cache.is_file => format!("{} cannot be used", cache.label()),
        None if cache.fresh_at.is_some() => format!("the connection to {} is lost", cache.label()),
        None => format!("{} cannot be reached", cache.label()),
    };
    match (cache.fresh_at, cache.expires_at) {
        (Some(fresh), Some(expires)) => format!(
            "{who}{why}; its {} VRPs are of {fresh} and may be used until {expires}",
            cache.vrps
        ),
        (Some(fresh), None) => format!("{who}{why}; its {} VRPs are of {fresh}", cache.vrps),
        (None, _) => format!("{who}{why}; it never sent its VRPs"),
    }
}

fn advice(cache: &Cache) -> Vec<String> {
    if cache.is_file {
        return vec!["systemctl status rpki-client.timer routinator".to_owned()];
    }
    let (ip, port) = (cache.addr.ip(), cache.addr.port());
    vec![
        format!("nc -vz {ip} {port}"),
        "vtysh -c 'show rpki cache-connection'".to_owned(),
    ]
}
