//! Rows of the tables as something to filter. They have no severity and no kind: such terms leave tables as they are.

use crate::detect::prefix::rows::{PrefixRow, SessionRow};
use crate::event::Prefix;
use crate::event::frame::Mac;
use crate::filter::{Fact, Facts, Key};
use crate::state::leases::rows::{ClientRow, ServerRow};

type Test<'t> = dyn FnMut(Fact<'_>) -> bool + 't;

/// What only findings and incidents have.
fn is_judgement(key: Key) -> bool {
    matches!(key, Key::Sev | Key::Kind)
}

impl Facts for PrefixRow {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Subject => test(Fact::Shown(&format_args!("prefix:{}", self.prefix))),
            Key::Prefix => test(Fact::Prefix(self.prefix)),
            Key::Peer => test(Fact::Address(self.peer)),
            Key::Asn => self.origin.is_some_and(|asn| test(Fact::As(asn))),
            Key::State => self
                .damping
                .iter()
                .any(|row| row.suppressed && test(Fact::Word("suppressed"))),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        test(Fact::Prefix(self.prefix))
            || test(Fact::Address(self.peer))
            || self.origin.is_some_and(|asn| test(Fact::As(asn)))
            || self.rov.is_some_and(|rov| test(Fact::Word(rov)))
    }

    fn has(&self, key: Key) -> bool {
        !is_judgement(key)
    }
}

impl Facts for SessionRow {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Subject => test(Fact::Shown(&format_args!("peer:{}", self.remote))),
            Key::Peer => test(Fact::Address(self.remote)) || test(Fact::Address(self.local)),
            Key::Asn => [self.remote_as, self.local_as]
                .into_iter()
                .flatten()
                .any(|asn| test(Fact::As(asn))),
            Key::State => test(Fact::Word(self.state)),
            Key::Src => self.observers.iter().any(|name| test(Fact::Word(name))),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        self.any(Key::Peer, test)
            || self.any(Key::Asn, test)
            || test(Fact::Word(self.state))
            || self.vrf.as_ref().is_some_and(|vrf| test(Fact::Word(vrf)))
    }

    fn has(&self, key: Key) -> bool {
        !is_judgement(key)
    }
}

impl Facts for ServerRow {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Subject => {
                test(Fact::Shown(&format_args!("server:{}", self.id)))
                    || self
                        .address
                        .is_some_and(|addr| test(Fact::Shown(&format_args!("server:{addr}"))))
            }
            Key::Prefix => self
                .address
                .is_some_and(|addr| test(Fact::Prefix(Prefix::host(addr)))),
            Key::Mac => self.mac.is_some_and(|mac| test(Fact::Mac(mac))),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        test(Fact::Word(&self.id))
            || self.address.is_some_and(|addr| test(Fact::Address(addr)))
            || self.mac.is_some_and(|mac| test(Fact::Mac(mac)))
            || self
                .routers
                .iter()
                .chain(&self.dns)
                .any(|addr| test(Fact::Address(*addr)))
    }

    fn has(&self, key: Key) -> bool {
        !is_judgement(key)
    }
}

impl Facts for ClientRow {
    fn any(&self, key: Key, test: &mut Test<'_>) -> bool {
        match key {
            Key::Subject => test(Fact::Shown(&format_args!("client:{}", self.id))),
            // Its address, and who gave it: a server's subject leads to its clients.
            Key::Prefix => self.lease.as_ref().is_some_and(|lease| {
                test(Fact::Prefix(Prefix::host(lease.address)))
                    || lease
                        .server
                        .parse()
                        .is_ok_and(|server| test(Fact::Prefix(Prefix::host(server))))
            }),
            Key::Mac => {
                self.mac.is_some_and(|mac| test(Fact::Mac(mac)))
                    || self.id.parse().is_ok_and(|mac: Mac| test(Fact::Mac(mac)))
            }
            Key::State => test(Fact::Word(if self.lease.is_some() {
                "bound"
            } else {
                "unbound"
            })),
            _ => false,
        }
    }

    fn text(&self, test: &mut Test<'_>) -> bool {
        let wire = [&self.hostname, &self.vendor_class, &self.user_class];
        let port = [&self.circuit_id, &self.remote_id];
        test(Fact::Word(&self.id))
            || test(Fact::Word(&self.fingerprint))
            || port.into_iter().flatten().any(|id| test(Fact::Word(id)))
            || self.class.is_some_and(|class| test(Fact::Word(class)))
            || wire
                .into_iter()
                .flatten()
                .any(|text| test(Fact::Shown(text)))
            || self.lease.as_ref().is_some_and(|lease| {
                test(Fact::Address(lease.address)) || test(Fact::Word(&lease.server))
            })
    }

    fn has(&self, key: Key) -> bool {
        !is_judgement(key)
    }
}
