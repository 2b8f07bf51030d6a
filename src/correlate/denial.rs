//! What did not happen, as far as somebody looked: the sentences behind `rejected`, each the ledger's answer about this incident's own
//! subjects in its own window (law 14). Where nobody looked, or the model has a witness to the contrary, there is no sentence.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::join::SKEW;
use crate::detect::Kind;
use crate::detect::finding::Finding;
use crate::detect::subject::{Subject, Touch};
use crate::event::bgp::{Nlri, Safi};
use crate::event::{Prefix, Timestamp};
use crate::state::NetState;
use crate::state::ledger::{Answer, Class, DhcpChange, Fact, Key, What};
use crate::state::rib::attributes::AttrId;
use crate::state::sessions::{Session, State};

/// How long before the first sign a cause without a timer of its own is looked for: Linux tells about carrier up to a second late.
const BEFORE: Duration = Duration::from_secs(2);
/// How long a lost lease or address may take to be followed: the client's script runs in between.
const SCRIPT: Duration = Duration::from_secs(2);
/// Interfaces, prefixes and peers asked about for one incident; a sentence names no more.
const MOST: usize = 4;

/// What to ask the ledger when a rule's cause is not among an incident's findings.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Look {
    /// Whether the interface lost its carrier or was set down.
    Carrier,
    /// Whether the BFD session beside the BGP session went down.
    Bfd,
    /// Whether the address's lease ended, or was given back.
    Lease,
    /// Whether DHCP gave another gateway or other routes than before.
    DhcpConfig,
    /// Whether the gateway took its role as a router back.
    Router,
    /// Whether the session's own address went.
    LocalAddress,
    /// Whether an address of the route's interface went.
    InterfaceAddress,
    /// Whether the sessions with the peers concerned went down.
    Session,
    /// Whether BGP withdrew what the kernel lost.
    Withdrawal,
}

/// What comes out of a look.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Denial {
    /// It was looked at and did not happen: the sentence.
    Denied(String),
    /// It did happen. Nothing is denied then; where the witness fits the incident in time and subject, what it says is worth telling.
    Seen(Option<String>),
    /// Nobody looked, or there is nothing to look at.
    Unknown,
}

impl Look {
    /// What is denied: the kind of finding that the witness would have made.
    pub const fn kind(self) -> Kind {
        match self {
            Look::Carrier => Kind::LinkFlap,
            Look::Bfd => Kind::BfdDown,
            Look::Lease => Kind::DhcpLeaseExpired,
            Look::DhcpConfig => Kind::DhcpGatewayChanged,
            Look::Router => Kind::RaRouterWithdrawn,
            Look::LocalAddress | Look::InterfaceAddress => Kind::AddressRemoved,
            Look::Session => Kind::SessionDown,
            Look::Withdrawal => Kind::PrefixFlap,
        }
    }

    /// In words, for `explain` and the docs.
    pub const fn says(self) -> &'static str {
        match self {
            Look::Carrier => "whether the interface lost its carrier or was set down",
            Look::Bfd => "whether BFD between the two ends went down",
            Look::Lease => "whether the lease of the address ended",
            Look::DhcpConfig => "whether DHCP gave another gateway or other routes",
            Look::Router => "whether the gateway took its role as a router back",
            Look::LocalAddress => "whether the session's local address went",
            Look::InterfaceAddress => "whether an address of the interface went",
            Look::Session => "whether the session went down",
            Look::Withdrawal => "whether BGP withdrew the prefix",
        }
    }

    /// Asks about this root. `reach` is how long before the first sign the cause may lie.
    pub fn ask(self, root: &Finding, reach: Duration, net: &NetState) -> Denial {
        let asked = Asked {
            root,
            net,
            from: root.first - reach.max(BEFORE),
            to: root
                .occurrences
                .last()
                .map_or(root.first, |last| last.at)
                .max(root.first)
                + SKEW,
        };
        match self {
            Look::Carrier => asked.carrier(),
            Look::Bfd => asked.bfd(),
            Look::Lease => asked.lease(),
            Look::DhcpConfig => asked.dhcp_config(),
            Look::Router => asked.router(),
            Look::LocalAddress => asked.local_address(),
            Look::InterfaceAddress => asked.interface_address(),
            Look::Session => asked.session(),
            Look::Withdrawal => asked.withdrawal(),
        }
    }
}

struct Asked<'a> {
    root: &'a Finding,
    net: &'a NetState,
    from: Timestamp,
    to: Timestamp,
}

impl<'a> Asked<'a> {
    fn ask(&self, class: Class, key: &Key) -> Answer<'a> {
        self.net.ledger.ask(class, key, self.from, self.to)
    }

    fn seen(&self, class: Class, key: &Key, from: Timestamp, to: Timestamp) -> Option<&'a Fact> {
        self.net.ledger.within(class, key, from, to).next()
    }

    /// Interfaces of the analysed host that the root is about: named ones, else the one that leads to the peer.
    fn interfaces(&self) -> Vec<u32> {
        let named = self
            .root
            .touches
            .iter()
            .filter_map(|touch| match touch {
                Touch::Interface(name) => Some(name),
                _ => None,
            })
            .chain(
                self.root
                    .subjects
                    .iter()
                    .filter_map(|subject| match subject {
                        Subject::Link(name) | Subject::Peer(_, Some(name)) => Some(name),
                        _ => None,
                    }),
            );
        let mut known: Vec<u32> = named
            .filter_map(|name| Some(self.net.links.by_name(name)?.ifindex))
            .collect();
        if known.is_empty()
            && let Some(ends) = &self.root.session
            && self.net.addresses.owner(ends.local).is_some()
        {
            known.extend(self.net.addresses.interface_of(ends.remote));
        }
        known.sort_unstable();
        known.dedup();
        known.truncate(MOST);
        known
    }

    fn carrier(&self) -> Denial {
        let interfaces = self.interfaces();
        let mut kept = Vec::new();
        let mut span = None;
        for ifindex in &interfaces {
            let key = Key::Interface(*ifindex);
            let (since, until) = match self.ask(Class::LinkDown, &key) {
                Answer::Seen(_) => return Denial::Seen(None),
                Answer::LookedAndNot { since, until } => (since, until),
                Answer::NotWatched => return Denial::Unknown,
            };
            if !self.was_up(*ifindex) {
                return Denial::Unknown;
            }
            span = Some(narrowed(span, since, until));
            kept.push(self.net.links.name(*ifindex).into_string());
        }
        match span {
            Some((since, until)) => Denial::Denied(format!(
                "{} kept {} carrier and {} not set down from {} to {}",
                kept.join(" and "),
                if kept.len() == 1 { "its" } else { "their" },
                if kept.len() == 1 { "was" } else { "were" },
                since.clock(),
                until.clock()
            )),
            None => Denial::Unknown,
        }
    }

    /// Whether an interface that lost nothing in the window was up in it, rather than down all along.
    fn was_up(&self, ifindex: u32) -> bool {
        let key = Key::Interface(ifindex);
        let first = |class: Class, from: Timestamp| {
            let facts = self.net.ledger.about(class, &key);
            facts.map(|fact| fact.at).filter(|at| *at >= from).min()
        };
        match (
            first(Class::LinkUp, self.from),
            first(Class::LinkDown, self.to),
        ) {
            (None, None) => self.net.links.usable(ifindex),
            (None, Some(_)) => true,
            (Some(up), Some(down)) => down < up,
            (Some(_), None) => false,
        }
    }

    fn bfd(&self) -> Denial {
        let Some(ends) = &self.root.session else {
            return Denial::Unknown;
        };
        let Some(bfd) = self.net.sessions.bfd().get(ends.local, ends.remote) else {
            return Denial::Unknown;
        };
        match self.ask(Class::BfdDown, &Key::pair(ends.local, ends.remote)) {
            Answer::Seen(_) => Denial::Seen(None),
            Answer::LookedAndNot { since, until } if bfd.up && bfd.since <= self.root.first => {
                // Both ends must have been heard behind the loss, or nobody knows.
                let heard = bfd.ends.iter().map(|end| end.last).min().flatten();
                match heard.filter(|at| *at >= self.root.first) {
                    Some(_) => Denial::Denied(format!(
                        "BFD between {} and {} stayed up from {} to {}",
                        ends.local,
                        ends.remote,
                        since.max(bfd.since).clock(),
                        until.clock()
                    )),
                    None => Denial::Unknown,
                }
            }
            _ => Denial::Unknown,
        }
    }

    /// Addresses that the root is about.
    fn addresses(&self) -> BTreeSet<IpAddr> {
        let mut addresses = BTreeSet::new();
        for subject in &self.root.subjects {
            if let Subject::Address(addr) = subject {
                addresses.insert(*addr);
            }
        }
        addresses
    }

    /// The latest word of a server about the lease of an address.
    fn confirmed(&self, addr: IpAddr, to: Timestamp) -> Option<&'a Fact> {
        [Class::LeaseGranted, Class::LeaseRenewed]
            .into_iter()
            .filter_map(|class| self.net.ledger.last(class, &Key::Address(addr), to))
            .max_by_key(|fact| fact.at)
    }

    fn lease(&self) -> Denial {
        let addresses = self.addresses();
        let [addr] = addresses.iter().copied().collect::<Vec<_>>()[..] else {
            return Denial::Unknown;
        };
        let Some(fact) = self.confirmed(addr, self.root.first) else {
            return Denial::Unknown;
        };
        let (What::LeaseGranted {
            client,
            server,
            until,
            ..
        }
        | What::LeaseRenewed {
            client,
            server,
            until,
            ..
        }) = &fact.what
        else {
            return Denial::Unknown;
        };
        let to = self.to + SCRIPT;
        let ended = [
            Class::LeaseEnded,
            Class::LeaseReleased,
            Class::LeaseRefused,
            Class::AddressDeclined,
        ]
        .into_iter()
        .find_map(|class| self.seen(class, &Key::Client(client.clone()), fact.at, to));
        if ended.is_some() || *until <= to {
            return Denial::Seen(None);
        }
        // A hole behind the confirmation may hide a refusal.
        match self
            .net
            .ledger
            .looked(Class::LeaseRefused, fact.at, self.root.first)
        {
            Answer::LookedAndNot { .. } => Denial::Denied(format!(
                "the lease of {addr}, confirmed by {server} at {}, ran until {}",
                fact.at.clock(),
                until.clock()
            )),
            _ => Denial::Unknown,
        }
    }

    /// The addresses by which DHCP knows the host on the root's interfaces: present ones, and those removed lately.
    fn own_leases(&self) -> Vec<IpAddr> {
        let mut own: Vec<IpAddr> = Vec::new();
        for ifindex in self.interfaces() {
            own.extend(self.net.addresses.on(ifindex).map(|(addr, _)| addr));
            let key = Key::Interface(ifindex);
            for class in [Class::AddressGone, Class::AddressCame] {
                let facts = self.net.ledger.about(class, &key);
                own.extend(facts.take(MOST).filter_map(|fact| match &fact.what {
                    What::AddressGone { addr, .. } | What::AddressCame { addr, .. } => Some(*addr),
                    _ => None,
                }));
            }
        }
        own.retain(IpAddr::is_ipv4);
        own.sort_unstable();
        own.dedup();
        own
    }

    fn dhcp_config(&self) -> Denial {
        if self.prefixes().iter().any(Prefix::is_ipv6) {
            return Denial::Unknown;
        }
        let told = self
            .own_leases()
            .into_iter()
            .filter_map(|addr| Some((addr, self.confirmed(addr, self.to)?)))
            .max_by_key(|(_, fact)| fact.at);
        let Some((addr, fact)) = told else {
            return Denial::Unknown;
        };
        let (What::LeaseGranted { client, server, .. } | What::LeaseRenewed { client, server, .. }) =
            &fact.what
        else {
            return Denial::Unknown;
        };
        let key = Key::Client(client.clone());
        let answers: Vec<Timestamp> = [Class::LeaseGranted, Class::LeaseRenewed]
            .into_iter()
            .flat_map(|class| self.net.ledger.about(class, &key))
            .map(|fact| fact.at)
            .filter(|at| *at <= self.to)
            .collect();
        let since = answers.iter().min().copied().unwrap_or(fact.at);
        if let Some(changed) = self.seen(Class::DhcpChanged, &key, since, self.to) {
            let near = changed.at >= self.from;
            return Denial::Seen(near.then(|| change_words(changed)).flatten());
        }
        match self.net.ledger.looked(Class::DhcpChanged, since, self.to) {
            // One answer alone is like none before it.
            Answer::LookedAndNot { .. } if answers.len() >= 2 => Denial::Denied(format!(
                "{server} gave {addr} the same gateway and routes each time ({} answers, the last at {})",
                answers.len(),
                fact.at.clock()
            )),
            _ => Denial::Unknown,
        }
    }

    fn prefixes(&self) -> Vec<Prefix> {
        super::join::prefixes(self.root).take(64).collect()
    }

    /// Addresses of gateways and peers that the root is about.
    fn gateways(&self) -> BTreeSet<IpAddr> {
        let touched = self.root.touches.iter().filter_map(|touch| match touch {
            Touch::Gateway(addr) | Touch::Peer(addr) => Some(*addr),
            _ => None,
        });
        touched.collect()
    }

    fn router(&self) -> Denial {
        let routers: Vec<IpAddr> = self
            .gateways()
            .into_iter()
            .filter(IpAddr::is_ipv6)
            .take(MOST)
            .collect();
        let mut told = Vec::new();
        for router in routers {
            let key = Key::Address(router);
            for class in [Class::RouterWithdrew, Class::RouterFlagGone] {
                match self.ask(class, &key) {
                    Answer::Seen(_) => return Denial::Seen(None),
                    Answer::LookedAndNot { .. } => {}
                    Answer::NotWatched => return Denial::Unknown,
                }
            }
            let Some(fact) = self
                .net
                .ledger
                .last(Class::RouterAdvertised, &key, self.root.first)
            else {
                return Denial::Unknown;
            };
            let What::RouterAdvertised { lifetime, .. } = fact.what else {
                return Denial::Unknown;
            };
            if fact.at + Duration::from_secs(u64::from(lifetime)) <= self.to {
                return Denial::Seen(None);
            }
            told.push(format!(
                "router {router} advertised itself for {lifetime} s at {} and took nothing back",
                fact.at.clock()
            ));
        }
        if told.is_empty() {
            Denial::Unknown
        } else {
            Denial::Denied(told.join("; "))
        }
    }

    fn local_address(&self) -> Denial {
        let Some(ends) = &self.root.session else {
            return Denial::Unknown;
        };
        let key = Key::Address(ends.local);
        if let Answer::Seen(_) = self.ask(Class::AddressCame, &key) {
            return Denial::Unknown;
        }
        match (
            self.ask(Class::AddressGone, &key),
            self.net.addresses.owner(ends.local),
        ) {
            (Answer::Seen(_), _) => Denial::Seen(None),
            (Answer::LookedAndNot { since, until }, Some(ifindex)) => Denial::Denied(format!(
                "the local address {} stayed on {} from {} to {}",
                ends.local,
                self.net.links.name(ifindex),
                since.clock(),
                until.clock()
            )),
            _ => Denial::Unknown,
        }
    }

    fn interface_address(&self) -> Denial {
        let v6: BTreeSet<bool> = self.prefixes().iter().map(Prefix::is_ipv6).collect();
        let mut span = None;
        let mut names = Vec::new();
        for ifindex in self.interfaces() {
            match self.ask(Class::AddressGone, &Key::Interface(ifindex)) {
                Answer::Seen(fact) => {
                    return Denial::Seen(gone_words(fact, &v6, self));
                }
                Answer::LookedAndNot { since, until } => {
                    span = Some(narrowed(span, since, until));
                    names.push(self.net.links.name(ifindex).into_string());
                }
                Answer::NotWatched => return Denial::Unknown,
            }
        }
        match span {
            Some((since, until)) => Denial::Denied(format!(
                "no address of {} was removed from {} to {}",
                names.join(" or "),
                since.clock(),
                until.clock()
            )),
            None => Denial::Unknown,
        }
    }

    /// Sessions with one of the root's gateways or peers, and that address.
    fn sessions(&self) -> Vec<(IpAddr, &'a Session)> {
        let gateways = self.gateways();
        if gateways.is_empty() {
            return Vec::new();
        }
        let all = self.net.sessions.iter();
        let mut known: Vec<(IpAddr, &Session)> = all
            .filter(|(_, session)| session.feed.is_none() && session.ups > 0 || session.mid_stream)
            .filter_map(|(_, session)| {
                let own = |addr: IpAddr| self.net.addresses.owner(addr).is_some();
                let far = session
                    .ends
                    .iter()
                    .find(|end| gateways.contains(&end.addr) && !own(end.addr))?;
                Some((far.addr, session))
            })
            .collect();
        known.truncate(MOST);
        known
    }

    fn session(&self) -> Denial {
        let mut told = Vec::new();
        for (far, session) in self.sessions() {
            let [a, b] = &session.ends;
            let key = Key::pair(a.addr, b.addr);
            if self
                .seen(Class::SessionDown, &key, self.from, self.to)
                .is_some()
            {
                return Denial::Seen(None);
            }
            let since = session.up_since.unwrap_or(session.first_seen);
            let spoke = session.ends.iter().filter_map(|end| end.last_message).max();
            let up = session.state == State::Established && since < self.root.first;
            let Some(until) = spoke.filter(|at| up && *at >= self.root.first) else {
                return Denial::Unknown;
            };
            told.push(format!(
                "the session to {far} was up from {} to {}",
                since.max(self.from).clock(),
                until.min(self.to).clock()
            ));
        }
        if told.is_empty() {
            Denial::Unknown
        } else {
            Denial::Denied(told.join("; "))
        }
    }

    fn withdrawal(&self) -> Denial {
        let prefixes = self.prefixes();
        let Some(prefix) = prefixes.first().copied() else {
            return Denial::Unknown;
        };
        let nlri = Nlri {
            prefix,
            path_id: 0,
            rd: 0,
            extra: 0,
            safi: Safi::Unicast,
        };
        let mut from = Vec::new();
        for (id, rib) in self.net.rib.iter() {
            let Some((slot, attrs)) = self.net.rib.lookup(id, &nlri) else {
                continue;
            };
            let Some(cold) = rib.cold(slot) else { continue };
            if cold.withdrawals > 0 || attrs == AttrId::NONE {
                return Denial::Seen(None);
            }
            if rib.first_seen(cold) < self.root.first {
                from.push(rib);
            }
        }
        if from.is_empty() || prefixes.len() > 1 {
            return Denial::Unknown;
        }
        Denial::Denied(format!(
            "BGP announced {prefix} before and has not withdrawn it"
        ))
    }
}

fn narrowed(
    span: Option<(Timestamp, Timestamp)>,
    since: Timestamp,
    until: Timestamp,
) -> (Timestamp, Timestamp) {
    span.map_or((since, until), |(a, b)| (a.max(since), b.min(until)))
}

/// What a server's changed answer says about the default route, where it does.
fn change_words(fact: &Fact) -> Option<String> {
    let What::DhcpChanged { server, change, .. } = &fact.what else {
        return None;
    };
    let at = fact.at.clock();
    let (before, after) = (
        DhcpChange::gateway(&change.before),
        DhcpChange::gateway(&change.after),
    );
    if change.begins_routes() {
        let default = if after.is_none() {
            " without a default route, which makes a client ignore the gateway of option 3 (RFC 3442)"
        } else {
            ""
        };
        return Some(format!(
            "the answer of {server} at {at} gave classless routes for the first time{default}"
        ));
    }
    match (before, after) {
        (Some(before), Some(after)) if before != after => Some(format!(
            "the answer of {server} at {at} gave gateway {after} instead of {before}"
        )),
        (Some(before), None) => Some(format!(
            "the answer of {server} at {at} gave no gateway any more, {before} before"
        )),
        _ => None,
    }
}

/// An address that went from the interface of a lost route, where it is of the route's family and went before it.
fn gone_words(fact: &Fact, v6: &BTreeSet<bool>, asked: &Asked<'_>) -> Option<String> {
    let What::AddressGone { ifindex, addr, .. } = &fact.what else {
        return None;
    };
    let fits = v6.contains(&addr.is_ipv6()) && fact.at <= asked.root.first;
    fits.then(|| {
        format!(
            "{addr} of {} was removed at {}",
            asked.net.links.name(*ifindex),
            fact.at.clock()
        )
    })
}

#[cfg(test)]
mod tests;
