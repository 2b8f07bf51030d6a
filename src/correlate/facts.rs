//! Findings and incidents as something to filter. An incident has what any of its findings has; its affected prefixes, routes, sessions
//! and clients count too, so that `prefix:` finds the link that took the prefix away.

use std::net::IpAddr;

use super::incident::{Incident, Life};
use crate::detect::{Finding, Subject, Touch};
use crate::event::Prefix;
use crate::filter::{Fact, Facts, Key};

type Test<'t> = dyn FnMut(Fact<'_>) -> bool + 't;

impl Facts for Finding {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Sev => test(Fact::Severity(self.severity)),
            Key::Kind => test(Fact::Word(self.kind.as_str())),
            Key::Subject => self.subjects.iter().any(|s| test(Fact::Shown(s))),
            Key::State => {
                test(Fact::Word(if self.ended.is_some() {
                    "ended"
                } else {
                    "active"
                })) || (self.planned && test(Fact::Word("planned")))
            }
            Key::If => {
                let touched = self.touches.iter().filter_map(|touch| match touch {
                    Touch::Interface(name) => Some(name),
                    _ => None,
                });
                let named = self.subjects.iter().filter_map(|subject| match subject {
                    Subject::Link(name) | Subject::Peer(_, Some(name)) => Some(name),
                    _ => None,
                });
                named.chain(touched).any(|name| test(Fact::Word(name)))
            }
            Key::Prefix => {
                self.subjects
                    .iter()
                    .filter_map(prefix_of)
                    .any(|prefix| test(Fact::Prefix(prefix)))
                    || self
                        .affected
                        .prefixes
                        .iter()
                        .chain(&self.affected.routes)
                        .any(|prefix| test(Fact::Prefix(*prefix)))
            }
            Key::Peer => {
                let ends = self
                    .session
                    .iter()
                    .flat_map(|ends| [ends.remote, ends.local]);
                self.subjects.iter().any(|s| peer(s, test))
                    || self.affected.sessions.iter().any(|s| peer(s, test))
                    || ends.into_iter().any(|addr| test(Fact::Address(addr)))
            }
            Key::Asn => {
                let told = self.subjects.iter().filter_map(|subject| match subject {
                    Subject::Origin(asn) | Subject::As(asn) => Some(*asn),
                    _ => None,
                });
                let touched = self.touches.iter().filter_map(|touch| match touch {
                    Touch::As(asn) => Some(*asn),
                    _ => None,
                });
                let ends = self
                    .session
                    .iter()
                    .flat_map(|ends| [ends.local_as, ends.remote_as])
                    .flatten();
                told.chain(touched)
                    .chain(ends)
                    .any(|asn| test(Fact::As(asn)))
            }
            Key::Mac => {
                let clients = self.affected.clients.iter();
                self.subjects
                    .iter()
                    .chain(clients)
                    .any(|subject| match subject {
                        Subject::Mac(mac) => test(Fact::Mac(*mac)),
                        Subject::Client(id) => test(Fact::Word(id)),
                        _ => false,
                    })
                    || self.touches.iter().any(|touch| match touch {
                        Touch::Mac(mac) => test(Fact::Mac(*mac)),
                        _ => false,
                    })
            }
            Key::Src => {
                let observers = self.session.iter().flat_map(|ends| &ends.observers);
                observers.into_iter().any(|name| test(Fact::Word(name)))
                    || self.subjects.iter().any(|subject| match subject {
                        Subject::Source(name) => test(Fact::Word(name)),
                        _ => false,
                    })
                    || self.touches.iter().any(|touch| match touch {
                        Touch::Feed(name) => test(Fact::Word(name)),
                        _ => false,
                    })
            }
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        test(Fact::Word(self.kind.as_str()))
            || test(Fact::Word(&self.explain))
            || self.subjects.iter().any(|s| test(Fact::Shown(s)))
            || self.actor.iter().any(|actor| test(Fact::Word(actor)))
            || self.explanations.iter().any(|text| test(Fact::Word(text)))
            || test(Fact::Shown(&self.id()))
    }
}

/// Peers that print with their interface are compared with it too.
fn peer(subject: &Subject, test: &mut Test<'_>) -> bool {
    match subject {
        Subject::Peer(addr, interface) => {
            test(Fact::Address(*addr))
                || interface
                    .as_ref()
                    .is_some_and(|name| test(Fact::Shown(&format_args!("{addr}%{name}"))))
        }
        _ => false,
    }
}

fn prefix_of(subject: &Subject) -> Option<Prefix> {
    match subject {
        Subject::Prefix(prefix) => Some(*prefix),
        Subject::Address(addr) | Subject::Nexthop(addr) | Subject::Neighbor(addr) => {
            Some(Prefix::host(*addr))
        }
        _ => None,
    }
}

impl Incident {
    /// Words for its state.
    fn states(&self) -> impl Iterator<Item = &'static str> {
        let life = match self.life {
            Life::Open => "open",
            Life::Resolved => "resolved",
        };
        [
            Some(life),
            self.merged_into.is_some().then_some("merged"),
            self.root.planned.then_some("planned"),
            self.silenced.is_some().then_some("silenced"),
        ]
        .into_iter()
        .flatten()
    }
}

impl Facts for Incident {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Sev => test(Fact::Severity(self.severity)),
            Key::State => self.states().any(|state| test(Fact::Word(state))),
            Key::Prefix => {
                let affected = self.affected.prefixes.iter().chain(&self.affected.routes);
                affected
                    .into_iter()
                    .any(|prefix| test(Fact::Prefix(*prefix)))
                    || self.findings().any(|finding| finding.any(key, test))
            }
            Key::Peer => {
                // Subjects as they print: `peer:ADDRESS[%INTERFACE]`.
                self.affected.sessions.iter().any(|session| {
                    let shown = session.strip_prefix("peer:").unwrap_or(session);
                    match shown.parse::<IpAddr>() {
                        Ok(addr) => test(Fact::Address(addr)),
                        Err(_) => test(Fact::Word(shown)),
                    }
                }) || self.findings().any(|finding| finding.any(key, test))
            }
            Key::Mac => {
                let ids = self.affected.clients.iter();
                ids.into_iter()
                    .any(|id| test(Fact::Word(id.strip_prefix("client:").unwrap_or(id))))
                    || self.findings().any(|finding| finding.any(key, test))
            }
            _ => self.findings().any(|finding| finding.any(key, test)),
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        [&self.id, &self.title, &self.impact]
            .into_iter()
            .any(|text| test(Fact::Word(text)))
            || self
                .changes
                .iter()
                .any(|change| test(Fact::Word(&change.text)))
            || self.findings().any(|finding| finding.text(test))
    }
}
