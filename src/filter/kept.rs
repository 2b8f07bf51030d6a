//! Facts that outlive what they were read off: of an event that is gone, of an incident on a screen. Bounded, plain, and filtered alike.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Fact, Facts, Key};
use crate::event::Prefix;

/// Facts that were read off something else.
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Kept(Vec<(Key, KeptFact)>);

#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
enum KeptFact {
    Word(Box<str>),
    Prefix(IpAddr, u8),
    Address(IpAddr),
    As(u32),
}

impl Kept {
    /// At most `most` facts behind `keys`. What found no room cannot be asked for any more.
    pub fn of(from: &(impl Facts + ?Sized), keys: &[Key], most: usize) -> Kept {
        let mut kept = Vec::new();
        for key in keys {
            from.any(*key, &mut |fact| {
                let fact = match fact {
                    Fact::Prefix(prefix) => KeptFact::Prefix(prefix.addr(), prefix.len()),
                    Fact::Address(addr) => KeptFact::Address(addr),
                    Fact::As(asn) => KeptFact::As(asn),
                    Fact::Word(text) => KeptFact::Word(text.into()),
                    Fact::Shown(shown) => KeptFact::Word(shown.to_string().into()),
                    Fact::Mac(mac) => KeptFact::Word(mac.to_string().into()),
                    Fact::Severity(_) => return false,
                };
                let fact = (*key, fact);
                if !kept.contains(&fact) {
                    kept.push(fact);
                }
                // "Found" ends the telling.
                kept.len() >= most
            });
        }
        kept.shrink_to_fit();
        Kept(kept)
    }

    /// Hands the facts behind `key` to `test` until it says yes; whether it did.
    pub fn any(&self, key: Key, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        self.0
            .iter()
            .filter(|(of, _)| *of == key)
            .any(|(_, fact)| match fact {
                KeptFact::Word(text) => test(Fact::Word(text)),
                KeptFact::Prefix(addr, len) => test(Fact::Prefix(Prefix::new(*addr, *len))),
                KeptFact::Address(addr) => test(Fact::Address(*addr)),
                KeptFact::As(asn) => test(Fact::As(*asn)),
            })
    }
}
