//! The shapes of sentences, and what each of them must find in the inputs. A shape that is not here is not checked, which is an error.

use std::net::IpAddr;

use super::facts::{Dhcp, Facts};
use super::time;

/// What a sentence is about.
pub struct About<'a> {
    pub facts: &'a Facts,
    pub first: i64,
    pub last: i64,
}

/// The parts of `text` in place of each `{}` of `shape`, if it has that shape.
fn parts<'t>(shape: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let mut literals = shape.split("{}");
    let mut rest = text.strip_prefix(literals.next()?)?;
    let mut found = Vec::new();
    let mut literals = literals.peekable();
    while let Some(literal) = literals.next() {
        let end = if literals.peek().is_none() {
            rest.ends_with(literal)
                .then(|| rest.len() - literal.len())?
        } else {
            rest.find(literal)?
        };
        found.push(&rest[..end]);
        rest = &rest[end + literal.len()..];
    }
    rest.is_empty().then_some(found)
}

/// Sentences of a kind, each with its check: what is wrong with it, or nothing.
type Check<'a, 'b> = fn(&About<'a>, &[&'b str]) -> Option<String>;

const OK: Option<String> = None;

impl<'a> About<'a> {
    fn judged<'b>(&self, text: &'b str, shapes: &[(&str, Check<'a, 'b>)]) -> Option<String> {
        for (shape, check) in shapes {
            if let Some(parts) = parts(shape, text) {
                return check(self, &parts).map(|why| format!("`{text}`: {why}"));
            }
        }
        Some(format!("`{text}`: a shape that nobody checks"))
    }

    /// `NOT …`: several statements may be joined.
    pub fn rejected(&self, text: &str) -> Vec<String> {
        let shapes: &[(&str, Check<'a, '_>)] = &[
            (
                "{} kept its carrier and was not set down from {} to {}",
                About::carrier,
            ),
            (
                "{} kept their carrier and were not set down from {} to {}",
                About::carrier,
            ),
            (
                "BFD between {} and {} stayed up from {} to {}",
                About::bfd_up,
            ),
            (
                "the lease of {}, confirmed by {} at {}, ran until {}",
                About::lease_held,
            ),
            (
                "{} gave {} the same gateway and routes each time ({} answers, the last at {})",
                About::same_answers,
            ),
            (
                "router {} advertised itself for {} s at {} and took nothing back",
                About::router_stays,
            ),
            (
                "the local address {} stayed on {} from {} to {}",
                About::address_stays,
            ),
            (
                "no address of {} was removed from {} to {}",
                About::no_address_gone,
            ),
            ("the session to {} was up from {} to {}", About::session_up),
            (
                "BGP announced {} before and has not withdrawn it",
                About::bgp,
            ),
            (
                "{} was down when the session was lost; the timer that the wire shows ran out because of it",
                About::was_down,
            ),
        ];
        let whole = parts(shapes[10].0, text).is_some();
        let statements: Vec<&str> = if whole {
            vec![text]
        } else {
            text.split("; ").collect()
        };
        statements
            .into_iter()
            .filter_map(|statement| self.judged(statement, shapes))
            .collect()
    }

    /// `BLIND …`.
    pub fn blind(&self, text: &str) -> Option<String> {
        let shapes: &[(&str, Check<'a, '_>)] = &[
            (
                "no netlink recording: a link, address or kernel route cause on this host cannot be seen or excluded",
                |about, _| about.facts.netlink.then(|| "there is netlink".to_owned()),
            ),
            ("no BFD seen: a BFD cause cannot be excluded", |about, _| {
                (!about.facts.bfd.is_empty()).then(|| "there is BFD".to_owned())
            }),
            (
                "no BGP or BMP seen: a routing cause cannot be excluded",
                |about, _| {
                    let seen = about.facts.segments.iter().any(|s| !s.messages.is_empty());
                    (seen || about.facts.bmp).then(|| "there is BGP or BMP".to_owned())
                },
            ),
            (
                "no BMP: what other routers received is unknown",
                |about, _| about.facts.bmp.then(|| "there is BMP".to_owned()),
            ),
            (
                "the watching began in mid-session: no OPEN seen, timers and capabilities are inferred",
                |about, _| {
                    let opened = |s: &super::facts::Segment| {
                        about.facts.segments.iter().any(|o| {
                            o.messages.first() == Some(&1) && o.src == s.src && o.dst == s.dst
                        })
                    };
                    let segments = &about.facts.segments;
                    let all = segments
                        .iter()
                        .filter(|s| !s.messages.is_empty())
                        .all(opened);
                    (all && !segments.is_empty() && !about.facts.opaque && !about.facts.bmp)
                        .then(|| "every session was seen to open".to_owned())
                },
            ),
        ];
        self.judged(text, shapes)
    }

    /// `known: …`.
    pub fn known(&self, text: &str) -> Option<String> {
        // What may be behind such a thing in general: says nothing about the inputs, so there is nothing to hold it against.
        const POSSIBILITIES: &[&str] = &[
            "a static address inside a DHCP pool",
            "the same address configured twice (a clone, a static address inside a DHCP pool)",
            "two VRRP or keepalived masters that do not hear each other",
            "ARP or ND spoofing: traffic to the address is redirected",
            "IPv6 forwarding was turned off on it",
            "cloned /etc/machine-id: the DUID is made from it (systemd)",
            "a new or replaced router, which then belongs on the list of expected ones",
            "a host that shares its connection (Windows ICS, a hotspot), or a container that answers solicitations (CVE-2020-10749)",
            "the router, or its RA daemon, was shut down (RFC 4861 §6.2.5)",
            "another host has the address; or the host's own probe came back to it (a loop, a port in hairpin mode)",
            "or the machine has all these addresses itself",
            "proxy ARP (RFC 1027), ARP suppression or a switch's device tracking answers for addresses that nobody has",
            "two machines with one MAC address (a cloned VM or container)",
            "two machines with one MAC address (a cloned VM or container), or a loop",
            "the bridge or switch port that the host is on reflects frames (hairpin mode, a loop behind it)",
            "they do not hear each other: advertisements (protocol 112) are lost or filtered between them",
            // A fact, but of the incident's past: nothing here reads DAD of link-local addresses yet.
            "its link-local address failed in the same way before",
        ];
        if POSSIBILITIES.contains(&text) {
            return OK;
        }
        let shapes: &[(&str, Check<'a, '_>)] = &[
            (
                "dual-stack: the {} session to the same neighbor stayed up and talked on: only {} is affected",
                About::other_family_up,
            ),
            (
                "dual-stack: the {} default route stays: only {} is cut off, and what has both falls back (RFC 8305)",
                About::other_default,
            ),
            (
                "{} answers for many addresses: proxy ARP or device tracking makes clients give up good addresses",
                About::answers_for_many,
            ),
            (
                "a static address inside a DHCP pool: {} server offered it, and another host has it",
                About::offered,
            ),
            (
                "its DHCP client gave the lease back at {} (RELEASE)",
                About::released,
            ),
            (
                "a DHCP client on its bridge gave its lease back at {} (RELEASE)",
                About::released,
            ),
            (
                "the DHCP lease of {} on {} was acknowledged {} s before: network managers remove what they did not make when a lease renews",
                About::acknowledged,
            ),
            ("{} of {} was removed at {}", About::was_removed),
            (
                "the answer of {} at {} gave classless routes for the first time{}",
                About::first_routes,
            ),
            (
                "the answer of {} at {} gave gateway {} instead of {}",
                About::answered_then,
            ),
            (
                "the answer of {} at {} gave no gateway any more, {} before",
                About::answered_then,
            ),
        ];
        self.judged(text, shapes)
    }

    /// Of a family that is said to have stayed up something was sent behind the loss, and no NOTIFICATION on the session that sent it.
    fn other_family_up(&self, parts: &[&str]) -> Option<String> {
        if self.facts.opaque || self.facts.bmp {
            return OK; // it may be known from there
        }
        let v6 = parts[0] == "IPv6";
        let of = || {
            let segments = self.facts.segments.iter();
            segments.filter(move |s| s.src.is_ipv6() == v6 && !s.messages.is_empty())
        };
        let talked = of().filter(|s| s.at > self.first).any(|s| {
            !of().any(|n| {
                n.messages.contains(&3)
                    && n.at >= self.first - 1_000_000_000
                    && n.at <= self.last
                    && (n.src, n.dst) == (s.src, s.dst)
            })
        });
        (!talked).then(|| "no session of that family talked on".to_owned())
    }

    fn other_default(&self, parts: &[&str]) -> Option<String> {
        if self.facts.opaque {
            return OK;
        }
        let (stays, lost) = (parts[0] == "IPv6", parts[1] == "IPv6");
        let named = self.facts.defaults.iter().any(|r| r.v6 == stays && !r.gone);
        let gone = self.facts.defaults.iter().any(|r| r.v6 == lost && r.gone);
        let silent = self.facts.links.iter().any(|l| l.notified && !l.usable)
            || self.facts.addresses.iter().any(|a| a.gone);
        (!named || !(gone || silent)).then(|| "netlink does not show it".to_owned())
    }

    fn answers_for_many(&self, parts: &[&str]) -> Option<String> {
        let addresses: std::collections::BTreeSet<IpAddr> = self
            .facts
            .arp
            .iter()
            .filter(|(mac, _)| {
                let text: Vec<String> = mac.iter().map(|b| format!("{b:02x}")).collect();
                text.join(":") == parts[0]
            })
            .map(|(_, addr)| *addr)
            .collect();
        (addresses.len() < 4).then(|| format!("it answers for {}", addresses.len()))
    }

    /// Somebody offered or gave an address at all.
    fn offered(&self, _: &[&str]) -> Option<String> {
        let offers = self.facts.dhcp.iter().any(|m| matches!(m.kind, 2 | 5));
        (!offers).then(|| "nobody offered an address".to_owned())
    }

    fn released(&self, parts: &[&str]) -> Option<String> {
        match self.near(parts[0]) {
            Ok(at) => {
                let seen = self
                    .facts
                    .dhcp
                    .iter()
                    .any(|m| m.kind == 7 && same_ms(m.at, at));
                (!seen).then(|| "there is no such RELEASE".to_owned())
            }
            Err(why) => Some(why),
        }
    }

    fn acknowledged(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let addr = ip(parts[0])?;
            let seconds: f64 = parts[2].parse().map_err(|_| "no number".to_owned())?;
            let slack = 60_000_000i64;
            let fits = self.acks(addr).any(|m| {
                let expected = m.at + (seconds * 1e9) as i64;
                expected - slack <= self.last && expected + slack >= self.first
            });
            fits.then_some(())
                .ok_or_else(|| "there is no such ACK".to_owned())
        };
        check().err()
    }

    fn was_removed(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let (addr, index, at) = (ip(parts[0])?, self.index(parts[1])?, self.near(parts[2])?);
            let gone = self
                .facts
                .addresses
                .iter()
                .any(|a| a.gone && a.addr == addr && a.index == index && same_ms(a.at, at));
            gone.then_some(()).ok_or_else(|| "it was not".to_owned())
        };
        check().err()
    }

    fn first_routes(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let at = self.near(parts[1])?;
            let ack = self
                .facts
                .dhcp
                .iter()
                .find(|m| m.kind == 5 && same_ms(m.at, at));
            let ack = ack.ok_or("there is no such ACK")?;
            let before =
                self.facts.dhcp.iter().any(|m| {
                    m.kind == 5 && m.mac == ack.mac && m.at < ack.at && !m.routes.is_empty()
                });
            (!ack.routes.is_empty() && !before)
                .then_some(())
                .ok_or_else(|| "it was not the first".to_owned())
        };
        check().err()
    }

    fn answered_then(&self, parts: &[&str]) -> Option<String> {
        match self.near(parts[1]) {
            Ok(at) => {
                let seen = self
                    .facts
                    .dhcp
                    .iter()
                    .any(|m| m.kind == 5 && same_ms(m.at, at));
                (!seen).then(|| "there is no such ACK".to_owned())
            }
            Err(why) => Some(why),
        }
    }

    fn near(&self, clock: &str) -> Result<i64, String> {
        time::clock(clock, self.first).ok_or_else(|| format!("`{clock}` is no time"))
    }

    fn span(&self, from: &str, to: &str) -> Result<(i64, i64), String> {
        let (from, to) = (self.near(from)?, self.near(to)?);
        if from > to {
            return Err("it ends before it begins".to_owned());
        }
        // Sentences leave microseconds out.
        Ok((from + 1_000_000, to))
    }

    /// Which interface has this name.
    fn index(&self, name: &str) -> Result<u32, String> {
        let index = self.facts.names.get(name).copied();
        index.ok_or_else(|| format!("no interface {name} in the netlink messages"))
    }

    fn carrier(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let (from, to) = self.span(parts[1], parts[2])?;
            self.watched(from, to)?;
            if !self.facts.netlink {
                return Ok(()); // it is in an input that is not read here
            }
            for name in parts[0].split(" and ") {
                let index = self.index(name)?;
                let of = || self.facts.links.iter().filter(|link| link.index == index);
                if let Some(link) = of().find(|l| l.at > from && l.at < to && !l.usable) {
                    return Err(format!("{name} was down at {}", link.at));
                }
                if of().rfind(|l| l.at <= from).is_some_and(|l| !l.usable) {
                    return Err(format!("{name} was down before"));
                }
            }
            Ok(())
        };
        check().err()
    }

    /// Netlink was recorded in all of that time.
    fn watched(&self, from: i64, to: i64) -> Result<(), String> {
        match self.facts.netlink_span {
            Some((began, _)) if began <= from && from <= to => Ok(()),
            _ if self.facts.opaque => Ok(()),
            Some(_) => Err("netlink was not recorded then".to_owned()),
            None => Err("there is no netlink".to_owned()),
        }
    }

    fn was_down(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let index = self.index(parts[0])?;
            let down = self.facts.links.iter().any(|link| {
                link.index == index && !link.usable && link.at <= self.last + 2_000_000_000
            });
            down.then_some(()).ok_or_else(|| "it never was".to_owned())
        };
        check().err()
    }

    fn bfd_up(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let (from, to) = self.span(parts[2], parts[3])?;
            let ends = [ip(parts[0])?, ip(parts[1])?];
            let mut heard = 0;
            for (at, src, dst, state) in &self.facts.bfd {
                if ends.contains(src) && ends.contains(dst) && *at > from && *at < to {
                    heard += 1;
                    if *state != 3 {
                        return Err(format!("state {state} at {at}"));
                    }
                }
            }
            if heard == 0 {
                return Err("no packet of it is there".to_owned());
            }
            Ok(())
        };
        check().err()
    }

    fn acks(&self, addr: IpAddr) -> impl Iterator<Item = &'a Dhcp> {
        self.facts
            .dhcp
            .iter()
            .filter(move |m| m.kind == 5 && (m.yours == addr || m.mine == addr))
    }

    fn lease_held(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let addr = ip(parts[0])?;
            let (at, until) = (self.near(parts[2])?, self.near(parts[3])?);
            let ack = self
                .acks(addr)
                .find(|m| m.at.div_euclid(1_000_000) == at.div_euclid(1_000_000));
            let ack = ack.ok_or("there is no such ACK")?;
            if ack
                .server
                .is_some_and(|server| server.to_string() != parts[1])
            {
                return Err("another server".to_owned());
            }
            let end = ack.at + i64::from(ack.lease) * 1_000_000_000;
            if (end - until).abs() > 1_000_000 {
                return Err(format!("it ran until {end}"));
            }
            let lost = self.facts.dhcp.iter().any(|m| {
                m.mac == ack.mac
                    && matches!(m.kind, 4 | 6 | 7)
                    && m.at > ack.at
                    && m.at <= self.last
            });
            (!lost)
                .then_some(())
                .ok_or_else(|| "it was given back or refused".to_owned())
        };
        check().err()
    }

    fn same_answers(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let addr = ip(parts[1])?;
            let n: usize = parts[2].parse().map_err(|_| "no number".to_owned())?;
            let last = self.near(parts[3])?;
            let acks: Vec<&Dhcp> = self
                .acks(addr)
                .filter(|m| m.at < last + 1_000_000)
                .collect();
            let first = acks.first().ok_or("there is no ACK")?;
            if acks
                .iter()
                .any(|m| m.routers != first.routers || m.routes != first.routes)
            {
                return Err("the answers differ".to_owned());
            }
            // Copies of one packet on two ports count once.
            (acks.len() >= n)
                .then_some(())
                .ok_or_else(|| format!("{} answers", acks.len()))
        };
        check().err()
    }

    fn router_stays(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let router = ip(parts[0])?;
            let lifetime: u16 = parts[1].parse().map_err(|_| "no number".to_owned())?;
            let at = self.near(parts[2])?;
            let said = self.facts.routers.iter().any(|(t, from, l)| {
                *from == router
                    && *l == lifetime
                    && t.div_euclid(1_000_000) == at.div_euclid(1_000_000)
            });
            if !said {
                return Err("there is no such advertisement".to_owned());
            }
            let between = |t: i64| t >= at && t <= self.last;
            let zero = self
                .facts
                .routers
                .iter()
                .any(|(t, from, l)| *from == router && *l == 0 && between(*t));
            let unflagged = self
                .facts
                .neighbors
                .iter()
                .any(|(t, target, flag)| *target == router && !flag && between(*t));
            (!zero && !unflagged)
                .then_some(())
                .ok_or_else(|| "it did".to_owned())
        };
        check().err()
    }

    fn address_stays(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let (addr, index) = (ip(parts[0])?, self.index(parts[1])?);
            let (from, to) = self.span(parts[2], parts[3])?;
            self.watched(from, to)?;
            let of = || self.facts.addresses.iter().filter(|a| a.addr == addr);
            if of().any(|a| a.gone && a.at > from && a.at < to) {
                return Err("it went".to_owned());
            }
            of().any(|a| a.index == index && !a.gone)
                .then_some(())
                .ok_or_else(|| "it is not there".to_owned())
        };
        check().err()
    }

    fn no_address_gone(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let (from, to) = self.span(parts[1], parts[2])?;
            self.watched(from, to)?;
            for name in parts[0].split(" or ") {
                let index = self.index(name)?;
                let gone = self
                    .facts
                    .addresses
                    .iter()
                    .find(|a| a.index == index && a.gone && a.at > from && a.at < to);
                if let Some(gone) = gone {
                    return Err(format!("{} went at {}", gone.addr, gone.at));
                }
            }
            Ok(())
        };
        check().err()
    }

    fn session_up(&self, parts: &[&str]) -> Option<String> {
        let check = || -> Result<(), String> {
            let far = ip(parts[0])?;
            let (from, to) = self.span(parts[1], parts[2])?;
            let of = || {
                let segments = self.facts.segments.iter();
                segments.filter(|s| (s.src == far || s.dst == far) && s.at > from && s.at < to)
            };
            if of().any(|s| s.messages.contains(&3)) {
                return Err("a NOTIFICATION was sent".to_owned());
            }
            if self.facts.opaque || self.facts.bmp {
                return Ok(()); // other routers' sessions may be meant
            }
            of().any(|s| s.octets > 0)
                .then_some(())
                .ok_or_else(|| "nothing was sent on it".to_owned())
        };
        check().err()
    }

    /// Only that there is BGP to speak of: prefixes are not followed here.
    fn bgp(&self, _: &[&str]) -> Option<String> {
        let any = !self.facts.segments.is_empty() || self.facts.bmp || self.facts.opaque;
        (!any).then(|| "there is no BGP".to_owned())
    }
}

fn same_ms(a: i64, b: i64) -> bool {
    a.div_euclid(1_000_000) == b.div_euclid(1_000_000)
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is no address"))
}

impl Facts {
    /// Whether a default route of this family is in the main table at the end of what netlink shows.
    pub fn has_default(&self, v6: bool) -> bool {
        let mut ways = std::collections::BTreeSet::new();
        for route in self
            .defaults
            .iter()
            .filter(|r| r.v6 == v6 && r.table == 254)
        {
            let metric = route.way.0;
            if route.gone {
                ways.remove(&route.way);
            } else {
                if route.replaces && !v6 {
                    ways.retain(|way: &(u32, Option<IpAddr>, Option<u32>)| way.0 != metric);
                }
                ways.insert(route.way);
            }
        }
        // What a link or an address took along silently is not known here: then nothing is claimed.
        let silent = self.links.iter().any(|l| l.notified && !l.usable)
            || self.addresses.iter().any(|a| a.gone && a.addr.is_ipv4());
        !ways.is_empty() && (v6 || !silent)
    }
}
