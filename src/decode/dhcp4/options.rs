//! The walk over DHCPv4 options: main field, then file, then sname (RFC 2131 §4.1), with every place where it breaks the rules.
//!
//! It keeps slices of the packet and copies nothing until somebody asks for a value that was split (RFC 3396).

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Flaws;
use crate::event::dhcp4::Dhcp4Flaw;

/// Option codes without length.
const PAD: u8 = 0;
const END: u8 = 255;
/// Option overload (RFC 2132 §9.3).
const OVERLOAD: u8 = 52;
/// Occurrences kept of one packet. 254 codes exist and RFC 3396 splits at 255 octets, so that a 1500-octet packet that says something
/// new each time has far fewer; beyond it a sender only repeats itself.
const MAX_OCCURRENCES: usize = 1024;

/// A fixed field that option 52 can turn into room for options.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Field {
    File,
    Sname,
}

/// One option as it stands in the packet.
#[derive(Copy, Clone, Debug)]
struct Occurrence<'a> {
    code: u8,
    value: &'a [u8],
}

/// All options of a packet, in wire order.
#[derive(Default, Debug)]
pub(super) struct Walk<'a> {
    occurrences: SmallVec<[Occurrence<'a>; 24]>,
    overload: u8,
}

/// How the pieces of an option that occurs more than once belong together.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Pieces {
    /// It occurs once, or its repetitions say the same.
    One,
    /// Split as RFC 3396 allows: next to each other, or each but the last one full (255 octets).
    Split,
    /// Repeated elsewhere with other content: receivers take the first, the last or the concatenation.
    Ambiguous,
}

impl<'a> Walk<'a> {
    /// Walks the fields that hold options. `snapped`: the capture cut the packet, so that a missing end is not the sender's doing.
    pub(super) fn over(
        main: &'a [u8],
        file: &'a [u8],
        sname: &'a [u8],
        snapped: bool,
        flaws: &mut Flaws,
    ) -> Walk<'a> {
        let mut walk = Walk::default();
        walk.field(main, snapped, flaws);
        walk.overload = walk.overload_of_main(flaws);
        for (field, octets) in [(Field::File, file), (Field::Sname, sname)] {
            if walk.overloads(field) {
                let before = walk.occurrences.len();
                walk.field(octets, false, flaws);
                if walk.since(before).any(|o| o.code == OVERLOAD) {
                    flaws.add(Dhcp4Flaw::BadOverload);
                }
            }
        }
        walk
    }

    /// Whether option 52 says that this field holds options.
    pub(super) fn overloads(&self, field: Field) -> bool {
        match field {
            Field::File => self.overload & 1 != 0,
            Field::Sname => self.overload & 2 != 0,
        }
    }

    /// Codes in wire order.
    pub(super) fn codes(&self) -> impl Iterator<Item = u8> + '_ {
        self.occurrences.iter().map(|occurrence| occurrence.code)
    }

    /// No option at all.
    pub(super) fn is_empty(&self) -> bool {
        self.occurrences.is_empty()
    }

    /// The first occurrence's value: what a receiver that knows nothing of RFC 3396 reads.
    pub(super) fn first(&self, code: u8) -> Option<&'a [u8]> {
        self.all(code).map(|(_, value)| value).next()
    }

    /// All occurrences put together in wire order (RFC 3396 §7): what a receiver that follows it reads. Repetitions with the same content
    /// are one: some servers send an option twice, and concatenating those would make a value nobody meant.
    pub(super) fn joined(&self, code: u8) -> Option<Cow<'a, [u8]>> {
        let first = self.first(code)?;
        if self.pieces(code) == Pieces::One {
            return Some(Cow::Borrowed(first));
        }
        let mut joined = Vec::new();
        for (_, value) in self.all(code) {
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }

    /// How the occurrences of a code belong together.
    pub(super) fn pieces(&self, code: u8) -> Pieces {
        let mut all = self.all(code);
        let Some((mut last_at, first)) = all.next() else {
            return Pieces::One;
        };
        let (mut last, mut same, mut split) = (first, true, true);
        for (at, value) in all {
            same &= value == first;
            split &= at == last_at + 1 || last.len() == usize::from(u8::MAX);
            (last_at, last) = (at, value);
        }
        match (same, split) {
            (true, _) => Pieces::One,
            (false, true) => Pieces::Split,
            (false, false) => Pieces::Ambiguous,
        }
    }

    fn all(&self, code: u8) -> impl Iterator<Item = (usize, &'a [u8])> + '_ {
        self.occurrences
            .iter()
            .enumerate()
            .filter(move |(_, occurrence)| occurrence.code == code)
            .map(|(at, occurrence)| (at, occurrence.value))
    }

    fn since(&self, at: usize) -> impl Iterator<Item = &Occurrence<'a>> {
        self.occurrences.iter().skip(at)
    }

    /// Walks one field up to its END.
    fn field(&mut self, mut rest: &'a [u8], snapped: bool, flaws: &mut Flaws) {
        let before = self.occurrences.len();
        while let Some((&code, after_code)) = rest.split_first() {
            match code {
                PAD => rest = after_code,
                END => {
                    if after_code.iter().any(|octet| *octet != 0) {
                        flaws.add(Dhcp4Flaw::AfterEnd);
                    }
                    return;
                }
                _ => {
                    let value = after_code
                        .split_first()
                        .and_then(|(&len, after_len)| after_len.split_at_checked(len.into()));
                    let Some((value, after)) = value else {
                        flaws.add_unless(snapped, Dhcp4Flaw::OptionOverrun);
                        return;
                    };
                    if self.occurrences.len() == MAX_OCCURRENCES {
                        flaws.add(Dhcp4Flaw::DuplicateOption);
                        return;
                    }
                    self.occurrences.push(Occurrence { code, value });
                    rest = after;
                }
            }
        }
        // A cookie and nothing but padding is what old BOOTP clients send (RFC 1497): nothing there to end.
        let empty = self.occurrences.len() == before;
        flaws.add_unless(snapped || empty, Dhcp4Flaw::NoEnd);
    }

    /// What option 52 in the main field says; 0 where there is none or it is invalid.
    fn overload_of_main(&self, flaws: &mut Flaws) -> u8 {
        let mut all = self.all(OVERLOAD).map(|(_, value)| value);
        let Some(first) = all.next() else { return 0 };
        let contradicts = all.any(|value| value != first);
        match first {
            [value @ 1..=3] => {
                if contradicts {
                    flaws.add(Dhcp4Flaw::BadOverload);
                }
                *value
            }
            _ => {
                flaws.add(Dhcp4Flaw::BadOverload);
                0
            }
        }
    }
}
