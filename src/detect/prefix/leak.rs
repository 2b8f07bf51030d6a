//! Route leaks, as far as the wire proves them: a neighbor whose BGP role (RFC 9234) says that it must not pass on what it passes on.
//!
//! Without roles on the session nothing is said: whether a neighbor is a customer or a provider cannot be seen in its routes.

use std::collections::{BTreeMap, BTreeSet};

use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::bgp::Attributes;
use crate::event::{Event, Prefix};
use crate::state::rib::{Rib, RibId, RibKind, RouteChange, RouteDelta};
use crate::state::sessions::Session;

use super::Scene;

/// Neighbors with findings, and prefixes of each that are watched for their end.
const MAX_LEAKS: usize = 256;
const MAX_WATCHED: usize = 4096;
/// A leak of a table grows for a while; the finding is written anew when it has doubled.
const FIRST_WORDS: u64 = 1;

/// Roles of RFC 9234 §4.1: what a speaker is to its neighbor.
mod role {
    pub const PROVIDER: u8 = 0;
    pub const RS: u8 = 1;
    pub const RS_CLIENT: u8 = 2;
    pub const CUSTOMER: u8 = 3;
    pub const PEER: u8 = 4;
}

#[derive(Clone)]
struct Leak {
    key: FindingKey,
    prefixes: BTreeSet<Prefix>,
    count: u64,
}

/// `prefix.leak`.
#[derive(Clone, Default)]
pub(super) struct Leaks {
    found: BTreeMap<RibId, Leak>,
}

/// What the sender of a RIB is to the receiver: its own word, or what the receiver's implies (RFC 9234 §4.2).
pub(super) fn sender_role(session: &Session, rib: &Rib) -> Option<u8> {
    // What the router sends out, and what its own policy made of it, proves nothing about a neighbor.
    if !matches!(
        rib.kind,
        RibKind::Packets | RibKind::Mrt | RibKind::BmpPre | RibKind::BmpPost
    ) {
        return None;
    }
    let role = |end: usize| {
        session.ends[end & 1]
            .open
            .as_ref()
            .and_then(|open| open.role)
    };
    let implied = || match role(1 - (rib.sender & 1))? {
        role::PROVIDER => Some(role::CUSTOMER),
        role::CUSTOMER => Some(role::PROVIDER),
        role::RS => Some(role::RS_CLIENT),
        role::RS_CLIENT => Some(role::RS),
        role::PEER => Some(role::PEER),
        _ => None,
    };
    role(rib.sender).or_else(implied)
}

/// Why a route from a neighbor of this role is a leak.
fn verdict(role: u8, sender_as: u32, receiver_as: u32, attributes: &Attributes) -> Option<String> {
    match (role, attributes.otc) {
        // RFC 9234 §5, first and second rule of ingress.
        (role::CUSTOMER | role::RS_CLIENT, Some(otc)) => Some(format!(
            "Only-to-Customer says that AS{otc} sent it down to a customer or across to a peer, and a customer must not send that up (RFC 9234, section 5)"
        )),
        (role::PEER, Some(otc)) if sender_as != 0 && otc != sender_as => Some(format!(
            "Only-to-Customer says that AS{otc} sent it down or across before, and a peer must not pass that on (RFC 9234, section 5)"
        )),
        // What we originate comes back from below through others: somebody there passed a provider's route up.
        (role::CUSTOMER, None)
            if receiver_as != 0
                && attributes.as_path.origin() == Some(receiver_as)
                && attributes.as_path.hops() > 2
                && receiver_as != sender_as =>
        {
            Some(format!(
                "its path begins at AS{receiver_as} itself and leads back through others: a customer passed a provider's route up (RFC 7908, section 3.1)"
            ))
        }
        _ => None,
    }
}

fn name_of(role: u8) -> &'static str {
    match role {
        role::CUSTOMER => "a customer",
        role::RS_CLIENT => "a client of the route server",
        _ => "a peer",
    }
}

impl Leaks {
    pub fn route(&mut self, scene: &Scene<'_>, role: u8, delta: &RouteDelta, board: &mut Board) {
        let Some(prefix) = scene.rib.prefix(delta.slot) else {
            return;
        };
        let attributes = match delta.change {
            RouteChange::Withdrawn => None,
            RouteChange::Duplicate | RouteChange::Spurious => return,
            _ => scene.net.rib.attributes(delta.new),
        };
        let ends = scene.net.sessions.get(scene.rib.session).map(|session| {
            let asn = |end: usize| session.ends[end & 1].asn;
            (asn(scene.rib.sender), asn(1 - (scene.rib.sender & 1)))
        });
        let (sender_as, receiver_as) = ends.unwrap_or_default();
        match attributes.and_then(|a| verdict(role, sender_as, receiver_as, a)) {
            Some(why) => self.leaked(scene, role, sender_as, prefix, &why, board),
            None => self.over(scene.event, scene.id, prefix, board),
        }
    }

    fn leaked(
        &mut self,
        scene: &Scene<'_>,
        role: u8,
        sender_as: u32,
        prefix: Prefix,
        why: &str,
        board: &mut Board,
    ) {
        if let Some(leak) = self.found.get_mut(&scene.id) {
            if leak.prefixes.len() >= MAX_WATCHED || !leak.prefixes.insert(prefix) {
                return;
            }
            leak.count += 1;
            let count = leak.count;
            board.update(leak.key, |finding| {
                finding.affected.prefix(prefix);
                finding.last = scene.event.at;
                finding.ended = None;
                finding.broken.subject = true;
                if count.is_power_of_two() {
                    finding.evidence.add(scene.event.locator);
                    finding.explain = words(scene, role, sender_as, prefix, count, why);
                }
            });
            return;
        }
        if self.found.len() >= MAX_LEAKS {
            return;
        }
        let subject = Subject::Peer(scene.sender, None);
        let mut finding = Finding::new(Kind::PrefixLeak, Severity::Warning, subject, scene.event);
        finding.also(Subject::Prefix(prefix));
        finding.touch(Touch::Peer(scene.sender));
        finding.touch(Touch::Prefix(prefix));
        finding.affected.prefix(prefix);
        finding.broken.subject = true;
        finding.fidelity = if scene.rib.kind.is_exact() {
            Fidelity::Exact
        } else {
            Fidelity::Compressed
        };
        if sender_as != 0 {
            finding.also(Subject::As(sender_as));
            finding.touch(Touch::As(sender_as));
        }
        finding.explain = words(scene, role, sender_as, prefix, FIRST_WORDS, why);
        finding.advice = vec![format!(
            "vtysh -c 'show bgp neighbors {} routes'",
            scene.sender
        )];
        let key = board.raise(finding);
        self.found.insert(
            scene.id,
            Leak {
                key,
                prefixes: BTreeSet::from([prefix]),
                count: FIRST_WORDS,
            },
        );
    }

    fn over(&mut self, event: &Event, rib: RibId, prefix: Prefix, board: &mut Board) {
        let Some(leak) = self.found.get_mut(&rib) else {
            return;
        };
        if !leak.prefixes.remove(&prefix) || !leak.prefixes.is_empty() {
            return;
        }
        board.update(leak.key, |finding| {
            finding.recovered(event.at);
            finding.ended = Some(event.at);
            finding.broken.subject = false;
        });
    }

    /// A session is lost, and with it what it leaked.
    pub fn lost(&mut self, event: &Event, rib: RibId, board: &mut Board) {
        if let Some(leak) = self.found.get_mut(&rib) {
            leak.prefixes.clear();
            board.update(leak.key, |finding| {
                finding.recovered(event.at);
                finding.ended = Some(event.at);
                finding.broken.subject = false;
            });
        }
    }
}

fn words(scene: &Scene<'_>, role: u8, asn: u32, prefix: Prefix, count: u64, why: &str) -> String {
    let more = match count {
        0 | 1 => String::new(),
        n => format!(" and {} more prefixes", n - 1),
    };
    format!(
        "{} (AS{asn}), {} by its BGP role, passes on {prefix}{more}: {why}",
        scene.sender,
        name_of(role)
    )
}
