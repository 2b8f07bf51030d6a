//! Which of two readings is right, where no OPEN was seen: AS size and ADD-PATH, for each direction of a session.
//!
//! A reading is preferred when it consumes attributes and NLRI exactly and yields prefixes this direction has named before.
//! ADD-PATH is never guessed from looks: as long as the plain reading is sound, it is taken. A decision, once made on evidence,
//! stays until repeated contradiction. All bounded by [`KNOWN_PREFIXES`].
//!
//! What others took down (BMP, MRT) says how it is written, and is at times wrong: [`recorded`] believes it until the octets refute it.

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use super::nlri::{self, Fit, Layout};
use super::update::{fields, split_reach};
use super::{Cursor, Encoding, FamilySet, Reading, UPDATE, as_path, attributes, split, update};
use crate::event::Prefix;
use crate::event::bgp::{Family, Nlri, Update};
use crate::event::loss::Malformed;

/// Prefixes remembered for each direction. Enough to recognise the routes that flap (those come again); 1,024 × 18 octets, doubled by the table.
const KNOWN_PREFIXES: usize = 1024;
/// Octets that one direction's memory takes at most, roughly.
pub const INFERENCE_WEIGHT: usize = 32 << 10;
/// Contradictions in a row that overturn a decision: one damaged message must not, and encodings never change inside a session.
const OVERTURN: u8 = 3;

/// Remembers what one direction's messages have shown.
#[derive(Clone, Debug, Default)]
pub struct Inference {
    as4: Option<bool>,
    as4_contradictions: u8,
    /// Families decided to have path identifiers, and those decided not to.
    with_ids: FamilySet,
    without_ids: FamilySet,
    id_contradictions: u8,
    known: HashSet<Prefix, RandomState>,
    scratch: Vec<Nlri>,
}

/// Reads an UPDATE that somebody took down and said how it is written. Says whether its NLRI speak against that: then an [`Inference`] should read it,
/// and what this peer sends after it. An AS_PATH that is none with four-octet numbers and is one with two (a BMP router that forgets the A flag, an MRT
/// writer with the wrong subtype) is read so, at once: no path fits both.
pub fn recorded(bytes: &[u8], encoding: &Encoding, out: &mut Update) -> Result<bool, Malformed> {
    super::update(bytes, encoding, out)?;
    if out.errors.is_empty() && !repeats_default(&out.announced) {
        return Ok(false);
    }
    if encoding.as4 == Some(true)
        && out
            .errors
            .iter()
            .any(|e| e.attribute == attributes::AS_PATH)
    {
        let (_, body) = split(bytes)?;
        let two = fields(body).is_some_and(|(_, found, _)| as_size_evidence(found) == Some(false));
        if two {
            let other = Encoding {
                as4: Some(false),
                ..*encoding
            };
            super::update(bytes, &other, out)?;
            out.inferred = true;
        }
    }
    Ok(repeats_default(&out.announced) || out.errors.iter().any(|error| nlri::is_why(error.why)))
}

/// Identifiers below 2^24 look like default routes in front of everything: no speaker announces one twice in a message.
fn repeats_default(announced: &[Nlri]) -> bool {
    match announced {
        [first, second, ..] => first.prefix.len() == 0 && first == second,
        _ => false,
    }
}

/// A field of NLRI in an UPDATE and its family.
type Field<'a> = (Family, &'a [u8]);

impl Inference {
    /// Reads a whole UPDATE with its header; what `encoding` leaves open is inferred, remembered, and marked in `out`.
    /// With `doubt`, even a negotiated ADD-PATH is checked: FRR negotiates it and leaves the identifiers out of its BMP messages.
    pub fn update(
        &mut self,
        bytes: &[u8],
        encoding: &Encoding,
        doubt: bool,
        out: &mut Update,
    ) -> Result<(), Malformed> {
        let (kind, body) = split(bytes)?;
        let doubtful = doubt && encoding.add_path.is_some_and(|set| !set.is_empty());
        if kind != UPDATE || (encoding.as4.is_some() && encoding.add_path.is_some() && !doubtful) {
            return super::update(bytes, encoding, out);
        }
        let mut reading = Reading::of(encoding);
        if let Some((withdrawn, attributes, announced)) = fields(body) {
            if encoding.as4.is_none() {
                reading.as4 = self.as_size(attributes);
            }
            if encoding.add_path.is_none() || doubtful {
                let prior = encoding.add_path.unwrap_or_default();
                reading.add_path = self.add_path(withdrawn, attributes, announced, prior);
                reading.inferred |= reading.add_path != prior;
            }
        }
        update::body(body, &reading, out);
        for key in out.announced.iter().chain(&out.withdrawn) {
            if self.known.len() >= KNOWN_PREFIXES {
                break;
            }
            self.known.insert(key.prefix);
        }
        Ok(())
    }

    /// The same for what somebody took down: a two-octet AS_PATH where four octets were said is read as what it is.
    pub fn recorded(
        &mut self,
        bytes: &[u8],
        encoding: &Encoding,
        doubt: bool,
        out: &mut Update,
    ) -> Result<(), Malformed> {
        self.update(bytes, encoding, doubt, out)?;
        if encoding.as4 == Some(true)
            && out
                .errors
                .iter()
                .any(|error| error.attribute == attributes::AS_PATH)
        {
            let (_, body) = split(bytes)?;
            let says = fields(body).and_then(|(_, found, _)| as_size_evidence(found));
            if says == Some(false) {
                let other = Encoding {
                    as4: Some(false),
                    ..*encoding
                };
                self.update(bytes, &other, doubt, out)?;
                out.inferred = true;
            }
        }
        Ok(())
    }

    /// AS size of this message: by its AS_PATH and AGGREGATOR, else as decided before, else four octets (all speakers since 2010).
    fn as_size(&mut self, bytes: &[u8]) -> bool {
        let evidence = as_size_evidence(bytes);
        match (evidence, self.as4) {
            (Some(found), None) => self.as4 = Some(found),
            (Some(found), Some(decided)) if found != decided => {
                self.as4_contradictions = self.as4_contradictions.saturating_add(1);
                if self.as4_contradictions >= OVERTURN {
                    self.as4 = Some(found);
                    self.as4_contradictions = 0;
                }
            }
            (Some(_), Some(_)) => self.as4_contradictions = 0,
            (None, _) => {}
        }
        self.as4.unwrap_or(true)
    }

    /// Families of this message to be read with path identifiers.
    fn add_path(
        &mut self,
        withdrawn: &[u8],
        attributes: &[u8],
        announced: &[u8],
        prior: FamilySet,
    ) -> FamilySet {
        let mut set = prior;
        let (reach, unreach) = mp_fields(attributes);
        let fields = [
            Some((Family::IPV4_UNICAST, withdrawn)),
            Some((Family::IPV4_UNICAST, announced)),
            reach,
            unreach,
        ];
        for field in fields
            .into_iter()
            .flatten()
            .filter(|(_, bytes)| !bytes.is_empty())
        {
            if self.has_ids(field, prior) {
                set.insert(field.0);
            } else {
                set.remove(field.0);
            }
        }
        set
    }

    fn has_ids(&mut self, (family, bytes): Field<'_>, prior: FamilySet) -> bool {
        let expected = prior.contains(family);
        let Layout::Plain { v6, .. } = Layout::of(family) else {
            // Labels and EVPN types leave no room for a mistake worth the code: the plain reading unless it is negotiated.
            return expected;
        };
        let plain = nlri::fit(bytes, v6, false);
        let with = nlri::fit(bytes, v6, true);
        let decided = if self.with_ids.contains(family) {
            Some(true)
        } else if self.without_ids.contains(family) {
            Some(false)
        } else {
            None
        };
        if let Some(decided) = decided
            && Fit::Clean == if decided { with } else { plain }
        {
            self.id_contradictions = 0;
            return decided;
        }
        let found = match (plain, with) {
            (Fit::Clean, Fit::Clean) => self.by_known(family, bytes),
            (Fit::Clean, _) => Some(false),
            (_, Fit::Clean) => Some(true),
            _ => None,
        };
        match (found, decided) {
            (Some(found), None) => self.decide(family, found),
            // The decided reading is not sound here and the other is.
            (Some(found), Some(_)) => {
                self.id_contradictions = self.id_contradictions.saturating_add(1);
                if self.id_contradictions >= OVERTURN {
                    self.decide(family, found);
                }
            }
            (None, _) => {}
        }
        // A reading that does not parse helps nobody: without a lasting decision, this message is read as it fits.
        found.or(decided).unwrap_or(expected)
    }

    fn decide(&mut self, family: Family, with_ids: bool) {
        self.id_contradictions = 0;
        self.with_ids.remove(family);
        self.without_ids.remove(family);
        if with_ids {
            self.with_ids.insert(family);
        } else {
            self.without_ids.insert(family);
        }
    }

    /// Both readings are sound: only prefixes that this direction has named before can tell.
    fn by_known(&mut self, family: Family, bytes: &[u8]) -> Option<bool> {
        let mut known = |add_path| {
            self.scratch.clear();
            // Both readings have been found to parse.
            let _ = nlri::read(bytes, Layout::of(family), add_path, &mut self.scratch);
            !self.scratch.is_empty()
                && self
                    .scratch
                    .iter()
                    .all(|key| self.known.contains(&key.prefix))
        };
        match (known(false), known(true)) {
            (true, false) => Some(false),
            (false, true) => Some(true),
            _ => None,
        }
    }
}

/// The AS size that the attributes prove, if they do.
fn as_size_evidence(bytes: &[u8]) -> Option<bool> {
    let mut cursor = Cursor(bytes);
    let mut evidence = None;
    while let Some((_, code, value)) = attributes::next(&mut cursor) {
        let found = match code {
            attributes::AS_PATH => {
                match (as_path::fits(value, false), as_path::fits(value, true)) {
                    (true, false) => Some(false),
                    (false, true) => Some(true),
                    _ => None,
                }
            }
            attributes::AGGREGATOR => match value.len() {
                6 => Some(false),
                8 => Some(true),
                _ => None,
            },
            _ => None,
        };
        match (found, evidence) {
            (Some(found), None) => evidence = Some(found),
            // They contradict each other: damage, not evidence.
            (Some(found), Some(before)) if found != before => return None,
            _ => {}
        }
    }
    evidence
}

/// NLRI fields of MP_REACH and MP_UNREACH.
fn mp_fields(bytes: &[u8]) -> (Option<Field<'_>>, Option<Field<'_>>) {
    let mut cursor = Cursor(bytes);
    let (mut reach, mut unreach) = (None, None);
    while let Some((_, code, value)) = attributes::next(&mut cursor) {
        match code {
            attributes::MP_REACH => {
                reach = split_reach(value).map(|(family, _, routes)| (family, routes));
            }
            attributes::MP_UNREACH => {
                let mut value = Cursor(value);
                unreach = attributes::family(&mut value).map(|family| (family, value.0));
            }
            _ => {}
        }
    }
    (reach, unreach)
}
