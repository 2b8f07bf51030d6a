//! The filter language of `analyze --filter`, of the screens, of maintenance windows and of the control socket.
//!
//! `word` is a substring anywhere; `key:value` asks one property; `!` negates a term; a space is *and*, a comma inside a value is *or*;
//! `sev:warn+` means warning and above; prefixes match by containment. Pure: no clock, no I/O, and nothing is allocated while matching,
//! because a screen asks it of a million rows. What is filtered answers through [`Facts`], beside its own type.

pub mod events;
pub mod kept;
mod parse;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::detect::{Severity, Subject};
use crate::event::Prefix;
use crate::event::frame::Mac;

pub use parse::{FilterError, closest};

#[cfg(test)]
mod tests;

/// What can be asked for by name.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
pub enum Key {
    Sev,
    Kind,
    Subject,
    If,
    Prefix,
    Peer,
    Asn,
    Mac,
    Src,
    State,
}

impl Key {
    /// Every key with the word for it and what its value means; the parser, its errors and the documentation read this table.
    pub const ALL: &'static [(Key, &'static str, &'static str)] = &[
        (
            Key::Sev,
            "sev",
            "info, warn or critical; sev:warn+ is warning and above",
        ),
        (
            Key::Kind,
            "kind",
            "part of a kind: kind:session, kind:route.silent-loss",
        ),
        (
            Key::Subject,
            "subject",
            "part of a subject: subject:link:up1, subject:client:02:00",
        ),
        (
            Key::If,
            "if",
            "an interface's whole name; * stands for anything: if:up1, if:veth*",
        ),
        (
            Key::Prefix,
            "prefix",
            "a prefix and all inside it: prefix:10.0.0.0/8; an address: all that contains it, default routes apart; prefix:default",
        ),
        (
            Key::Peer,
            "peer",
            "an address, a prefix that holds it, or how it begins: peer:192.0.2.1, peer:10.0.0.0/8, peer:10.9",
        ),
        (
            Key::Asn,
            "asn",
            "an AS number or a range: asn:65001, asn:AS65001, asn:64512-65534",
        ),
        (
            Key::Mac,
            "mac",
            "a MAC address or how it begins: mac:02:00:5e",
        ),
        (
            Key::Src,
            "src",
            "part of a source's name or kind: src:bmp, src:eth0",
        ),
        (
            Key::State,
            "state",
            "how a state begins: state:open, state:resolved, state:silenced, state:est",
        ),
    ];

    fn word(self) -> &'static str {
        Key::ALL
            .iter()
            .find(|(key, _, _)| *key == self)
            .map_or("", |(_, word, _)| word)
    }
}

/// One property of what is filtered.
#[derive(Copy, Clone)]
pub enum Fact<'a> {
    Severity(Severity),
    Word(&'a str),
    /// Something that prints: a subject, an identifier. Compared as it prints.
    Shown(&'a dyn fmt::Display),
    Prefix(Prefix),
    Address(IpAddr),
    As(u32),
    Mac(Mac),
}

/// What is filtered: an incident, a finding, an event, a row of a table.
pub trait Facts {
    /// Hands the facts behind `key` to `test` until it says yes; whether it did.
    fn any(&self, key: Key, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool;

    /// Hands every text that a reader sees of it to `test` until it says yes; whether it did.
    fn text(&self, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool;

    /// Whether `key` can be asked of it at all. Terms with other keys are passed over: `sev:warn+` leaves the table of sessions as it is.
    fn has(&self, _key: Key) -> bool {
        true
    }
}

/// What a term asks for; one of several with a comma between.
#[derive(Clone, Eq, PartialEq, Debug)]
enum Value {
    /// A substring, in lower case.
    Part(Box<str>),
    /// The whole text with `*` for anything, in lower case.
    Glob(Box<str>),
    /// How the text begins, in lower case.
    Start(Box<str>),
    /// From one severity to another.
    Severity(Severity, Severity),
    /// This prefix and everything inside it.
    Inside(Prefix),
    /// All prefixes that contain this address.
    Around(IpAddr),
    /// Exactly this address.
    Address(IpAddr),
    DefaultRoute,
    /// From one AS to another.
    As(u32, u32),
}

#[derive(Clone, Eq, PartialEq, Debug)]
struct Term {
    negated: bool,
    /// `None`: anywhere.
    key: Option<Key>,
    /// At least one.
    values: Vec<Value>,
}

/// A parsed filter. The empty one matches everything.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Filter {
    text: String,
    terms: Vec<Term>,
}

impl Filter {
    /// The filter that looks for `text` as it is.
    pub fn word(text: &str) -> Filter {
        parse::quoted(text).parse().unwrap_or_default()
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether `row` has what every term asks for.
    pub fn matches(&self, row: &(impl Facts + ?Sized)) -> bool {
        self.terms.iter().all(|term| term.matches(row))
    }

    /// The filter that leaves what is about `subject`: what `f` on a row of the screen sets.
    pub fn about(subject: &Subject) -> Filter {
        let shown = subject.to_string();
        let value = shown.split_once(':').map_or("", |(_, value)| value);
        let text = match subject {
            Subject::Link(_) => format!("if:{}", parse::quoted(value)),
            Subject::Address(_)
            | Subject::Nexthop(_)
            | Subject::Neighbor(_)
            | Subject::Prefix(_) => {
                format!("prefix:{value}")
            }
            Subject::Peer(..) => format!("peer:{}", parse::quoted(value)),
            Subject::Origin(asn) | Subject::As(asn) => format!("asn:{asn}"),
            Subject::Mac(_) => format!("mac:{value}"),
            Subject::Client(id) if id.parse::<Mac>().is_ok() => format!("mac:{value}"),
            Subject::Router(_) | Subject::Server(_) | Subject::Client(_) | Subject::Source(_) => {
                format!("subject:{}", parse::quoted(&shown))
            }
        };
        text.parse().unwrap_or_default()
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        parse::filter(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Term {
    fn matches(&self, row: &(impl Facts + ?Sized)) -> bool {
        let mut test = |fact: Fact<'_>| self.values.iter().any(|value| value.meets(fact));
        let found = match self.key {
            Some(key) if !row.has(key) => return true,
            Some(key) => row.any(key, &mut test),
            None => row.text(&mut test),
        };
        found != self.negated
    }
}

impl Value {
    fn meets(&self, fact: Fact<'_>) -> bool {
        match (self, fact) {
            (Value::Severity(from, to), Fact::Severity(severity)) => {
                (*from..=*to).contains(&severity)
            }
            (Value::Inside(around), Fact::Prefix(prefix)) => around.covers(&prefix),
            (Value::Inside(around), Fact::Address(addr)) => around.contains(addr),
            // The default route contains every address and says nothing about it.
            (Value::Around(addr), Fact::Prefix(prefix)) => {
                !prefix.is_default() && prefix.contains(*addr)
            }
            (Value::Around(wanted) | Value::Address(wanted), Fact::Address(addr)) => {
                addr == *wanted
            }
            (Value::DefaultRoute, Fact::Prefix(prefix)) => prefix.is_default(),
            (Value::As(from, to), Fact::As(asn)) => (*from..=*to).contains(&asn),
            (Value::Part(part), fact) => shown(fact, |text| contains(text, part)),
            (Value::Start(start), fact) => shown(fact, |text| begins(text, start)),
            (Value::Glob(pattern), fact) => {
                shown(fact, |text| glob(pattern.as_bytes(), text.as_bytes()))
            }
            _ => false,
        }
    }
}

/// Longest text that is compared without allocating: every address, kind and interface name, most subjects.
const SHORT: usize = 96;

/// A fact as text.
fn shown(fact: Fact<'_>, test: impl Fn(&str) -> bool) -> bool {
    match fact {
        Fact::Word(text) => test(text),
        Fact::Shown(shown) => printed(shown, test),
        Fact::Prefix(prefix) => printed(&prefix, test),
        Fact::Address(addr) => printed(&addr, test),
        Fact::As(asn) => printed(&format_args!("AS{asn}"), test),
        Fact::Mac(mac) => printed(&mac, test),
        Fact::Severity(_) => false,
    }
}

fn printed(value: &dyn fmt::Display, test: impl Fn(&str) -> bool) -> bool {
    struct Short {
        octets: [u8; SHORT],
        len: usize,
    }
    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let end = self.len + text.len();
            let room = self.octets.get_mut(self.len..end).ok_or(fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.len = end;
            Ok(())
        }
    }
    let mut short = Short {
        octets: [0; SHORT],
        len: 0,
    };
    if fmt::write(&mut short, format_args!("{value}")).is_ok() {
        let text = short
            .octets
            .get(..short.len)
            .and_then(|octets| std::str::from_utf8(octets).ok());
        return test(text.unwrap_or_default());
    }
    test(&value.to_string())
}

/// Whether `text` contains `part` (which is in lower case), ASCII case ignored.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty()
        || text
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
}

fn begins(text: &str, start: &str) -> bool {
    text.as_bytes()
        .get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

/// Whether the whole of `text` is `pattern`, in which `*` stands for any octets. No recursion: the last star is the only one to return to.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(octet) if text.get(t).is_some_and(|c| c.eq_ignore_ascii_case(octet)) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|octet| *octet == b'*'))
}
