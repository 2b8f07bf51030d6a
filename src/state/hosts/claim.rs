//! What an ARP or neighbor discovery message claims, whom it tells, and what it asks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Scope;
use crate::event::Timestamp;
use crate::event::frame::Mac;
use crate::event::lan::{Arp, Nd, NdMessage};

/// How sure a claim is, and what prompted it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Proof {
    /// An answer to a question that was seen.
    Answer,
    /// Told without having been asked: gratuitous ARP, unsolicited reply or neighbor advertisement.
    Announcement,
    /// The sender of a question names itself.
    Question,
}

/// Whom a claim tells. A bond in balance-alb tells each client another MAC of its own: only contradictions before the same audience count.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Audience {
    /// Broadcast or all nodes.
    Everybody,
    /// One host.
    One(IpAddr),
}

impl Audience {
    /// The one host that it tells.
    pub fn one(self) -> Option<IpAddr> {
        match self {
            Audience::One(addr) => Some(addr),
            Audience::Everybody => None,
        }
    }
}

/// A message that makes receivers write an address and a MAC into their caches.
#[derive(Copy, Clone, Debug)]
pub(super) struct Claim {
    pub addr: IpAddr,
    pub mac: Mac,
    pub other_sender: Option<Mac>,
    pub proof: Proof,
    pub audience: Audience,
    /// Caches that know another MAC take this one over.
    pub overrides: bool,
}

impl Claim {
    /// Who really sent it, for quotas.
    pub(super) fn sender(&self) -> Mac {
        self.other_sender.unwrap_or(self.mac)
    }
}

/// "Who has this address?"
#[derive(Copy, Clone, Debug)]
pub(super) struct Question {
    pub addr: IpAddr,
    pub by: Mac,
    /// The asker's address; `None` for a probe, which has none yet.
    pub asker: Option<IpAddr>,
}

impl Question {
    pub(super) fn is_probe(&self) -> bool {
        self.asker.is_none()
    }
}

/// An address that one host can use.
fn usable(addr: Ipv4Addr) -> bool {
    !(addr.is_unspecified() || addr.is_broadcast() || addr.is_multicast() || addr.is_loopback())
}

/// What an ARP packet claims and asks.
pub(super) fn of_arp(arp: &Arp) -> (Option<Claim>, Option<Question>) {
    if arp.sender_mac.is_zero() || arp.sender_mac.is_group() {
        return (None, None); // no host has such a MAC, and Linux ignores it
    }
    let to_one = arp.frame.eth_dst.is_some_and(|to| !to.is_group());
    let audience = if to_one && !arp.is_gratuitous() {
        Audience::One(arp.target_ip.into())
    } else {
        Audience::Everybody
    };
    let proof = match arp.op {
        _ if arp.is_gratuitous() => Proof::Announcement,
        1 => Proof::Question,
        // Whether somebody asked is seen later.
        _ => Proof::Answer,
    };
    let claim = usable(arp.sender_ip).then(|| Claim {
        addr: arp.sender_ip.into(),
        mac: arp.sender_mac,
        other_sender: arp.frame.eth_src.filter(|from| *from != arp.sender_mac),
        proof,
        audience,
        overrides: true,
    });
    let asks = arp.op == 1 && !arp.is_gratuitous() && usable(arp.target_ip);
    let question = asks.then(|| Question {
        addr: arp.target_ip.into(),
        by: arp.sender_mac,
        asker: usable(arp.sender_ip).then(|| arp.sender_ip.into()),
    });
    (claim, question)
}

/// What a neighbor discovery message claims and asks. Messages with flaws are discarded by receivers (RFC 4861 §7.1) and claim nothing.
pub(super) fn of_nd(nd: &Nd) -> (Option<Claim>, Option<Question>) {
    if !nd.flaws.is_empty() {
        return (None, None);
    }
    let from = nd.frame.eth_src;
    let to = match nd.frame.ip_dst {
        Some(IpAddr::V6(to)) if !to.is_multicast() => Audience::One(to.into()),
        _ => Audience::Everybody,
    };
    let claim = |addr: IpAddr, mac: Option<Mac>, proof, overrides| {
        let mac = mac.filter(|mac| !mac.is_zero() && !mac.is_group())?;
        let good = !addr.is_unspecified() && !addr.is_multicast();
        good.then_some(Claim {
            addr,
            mac,
            other_sender: from.filter(|from| *from != mac),
            proof,
            audience: to,
            overrides,
        })
    };
    match &nd.message {
        NdMessage::NeighborAdvertisement {
            target,
            solicited,
            overriding,
            ..
        } => {
            // An answer to one host may leave the option out (RFC 4861 §4.4): the frame's source is what counts then.
            let mac = nd.target_mac.or(from.filter(|_| *solicited));
            let proof = if *solicited {
                Proof::Answer
            } else {
                Proof::Announcement
            };
            (claim((*target).into(), mac, proof, *overriding), None)
        }
        NdMessage::NeighborSolicitation { target } => {
            let source = nd.frame.ip_src.filter(|source| !source.is_unspecified());
            let asked = source.and_then(|addr| claim(addr, nd.source_mac, Proof::Question, true));
            let by = nd.source_mac.or(from);
            let question = by.map(|by| Question {
                addr: (*target).into(),
                by,
                asker: source,
            });
            (asked, question)
        }
        NdMessage::RouterSolicitation => {
            let source = nd.frame.ip_src.filter(|source| !source.is_unspecified());
            (
                source.and_then(|addr| claim(addr, nd.source_mac, Proof::Question, true)),
                None,
            )
        }
        NdMessage::RouterAdvertisement(_) | NdMessage::Redirect { .. } => (None, None),
    }
}

/// An answer comes within this time: RFC 5227 §1.1 waits at most 2 s behind the last probe, RFC 4861 §10 retransmits after 1 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Open questions remembered. A scan asks thousands within two seconds; then the oldest give way, and their answers count as announcements.
const MAX_QUESTIONS: usize = 4096;

/// A question and when it was asked.
#[derive(Copy, Clone, Debug)]
pub(super) struct Asked {
    pub question: Question,
    pub at: Timestamp,
}

/// Questions that may still be answered: the last one of a plain asker and of a prober for each address.
#[derive(Clone, Default)]
pub(super) struct Questions {
    asked: BTreeMap<(Scope, IpAddr), [Option<Asked>; 2]>,
    order: std::collections::VecDeque<(Timestamp, (Scope, IpAddr))>,
}

impl Questions {
    pub(super) fn ask(&mut self, scope: Scope, question: Question, at: Timestamp) {
        while let Some((asked, key)) = self.order.front().copied() {
            if self.order.len() < MAX_QUESTIONS && at.since(asked) <= ANSWER_WITHIN {
                break;
            }
            self.order.pop_front();
            // A later question for the same address has its own place in the queue.
            let over = |pair: &[Option<Asked>; 2]| pair.iter().flatten().all(|a| a.at <= asked);
            if self.asked.get(&key).is_some_and(over) {
                self.asked.remove(&key);
            }
        }
        let key = (scope, question.addr);
        let slot = usize::from(question.is_probe());
        if let Some(place) = self.asked.entry(key).or_default().get_mut(slot) {
            *place = Some(Asked { question, at });
        }
        self.order.push_back((at, key));
    }

    /// The question that a claim answers: a probe is answered to everybody or to the prober's unspecified address, a plain question to its
    /// asker.
    pub(super) fn answered(&self, scope: Scope, claim: &Claim, at: Timestamp) -> Option<Asked> {
        let [plain, probe] = self.asked.get(&(scope, claim.addr))?;
        let open =
            |asked: &&Asked| at.since(asked.at) <= ANSWER_WITHIN && asked.question.by != claim.mac;
        let to_asker = |asked: &&Asked| match claim.audience {
            Audience::One(to) => asked.question.asker == Some(to),
            Audience::Everybody => true,
        };
        let to_prober = |_: &&Asked| match claim.audience {
            Audience::One(to) => to.is_unspecified(),
            Audience::Everybody => true,
        };
        let defends = claim.proof != Proof::Question;
        let probe = probe
            .as_ref()
            .filter(open)
            .filter(to_prober)
            .filter(|_| defends);
        let plain = plain.as_ref().filter(open).filter(to_asker);
        let plain = plain.filter(|_| claim.proof == Proof::Answer);
        probe.or(plain).copied()
    }
}
