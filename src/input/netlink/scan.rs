//! A look at the headers of received messages: what they mean for the dumps. Decoding is `decode`'s.

use std::collections::BTreeMap;

use super::dump::Dumps;
use super::namespaces;
use crate::event::Timestamp;
use crate::event::text::sanitized;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_DELNSID: u16 = 89;
const RTM_DELNEXTHOP: u16 = 105;
const NLM_F_MULTI: u16 = 0x02;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// In an error: the quoted request was left out (`NLM_F_CAPPED`); attributes follow (`NLM_F_ACK_TLVS`).
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Interfaces whose flags are remembered; of others every message counts as a change.
const MAX_LINKS: usize = 16_384;

/// What was seen of links, to tell a change from a repetition.
#[derive(Default)]
pub struct Scan {
    flags: BTreeMap<u32, u32>,
    /// The running dump was interrupted.
    interrupted: bool,
}

/// What a look at messages found.
#[derive(Default)]
pub struct Found {
    /// Sentences about what went wrong.
    pub notes: Vec<String>,
    /// Ids of namespaces that are gone.
    pub left: Vec<i32>,
    /// The port of a process that changed something, the last one of the datagram.
    pub port: Option<u32>,
}

impl Scan {
    /// Looks at a datagram of our own namespace.
    pub fn messages(
        &mut self,
        mut rest: &[u8],
        at: Timestamp,
        dumps: &mut Dumps,
        found: &mut Found,
    ) {
        while let Some((length, kind, flags, seq)) = header(rest) {
            let Some(payload) = rest.get(HEADER..length) else {
                return;
            };
            let dump = flags & NLM_F_MULTI != 0;
            if !dump && kind >= RTM_NEWLINK {
                found.port = word(rest, 12).filter(|port| *port != 0).or(found.port);
            }
            if dump {
                self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
                dumps.heard(seq, at);
            }
            match kind {
                NLMSG_DONE => {
                    let interrupted = std::mem::take(&mut self.interrupted);
                    match word(payload, 0).map(|status| status as i32) {
                        Some(status) if status < 0 => {
                            let text = reason(status, flags, payload.get(4..), false);
                            refuse(dumps, seq, &text, &mut found.notes);
                        }
                        _ => dumps.done(seq, interrupted, at),
                    }
                }
                NLMSG_ERROR => {
                    if let Some(status) = word(payload, 0).map(|status| status as i32)
                        && status != 0
                    {
                        let text = reason(status, flags, payload.get(4..), true);
                        refuse(dumps, seq, &text, &mut found.notes);
                    }
                }
                // Dumped ones are remembered too.
                RTM_NEWLINK | RTM_DELLINK if self.link_changed(kind, payload) && !dump => {
                    dumps.touched(at);
                }
                RTM_DELNSID => found.left.extend(namespaces::id_of(payload)),
                RTM_NEWADDR | RTM_DELADDR | RTM_DELNEXTHOP if !dump => dumps.touched(at),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    /// Whether a link message tells something new that routes may depend on: flags hold carrier and administrative state.
    fn link_changed(&mut self, kind: u16, payload: &[u8]) -> bool {
        // Copies of families (bridge ports, IPv6 settings) change no route by themselves.
        if payload.first().is_none_or(|family| *family != 0) {
            return false;
        }
        let (Some(ifindex), Some(flags)) = (word(payload, 4), word(payload, 8)) else {
            return false;
        };
        if kind == RTM_DELLINK {
            self.flags.remove(&ifindex);
            return true;
        }
        if self.flags.len() >= MAX_LINKS && !self.flags.contains_key(&ifindex) {
            return true;
        }
        self.flags.insert(ifindex, flags) != Some(flags)
    }
}

fn refuse(dumps: &mut Dumps, seq: u32, text: &str, notes: &mut Vec<String>) {
    if let Some(table) = dumps.failed(seq) {
        notes.push(format!("the kernel does not list {}: {text}", table.name()));
    }
}

/// Length, type, flags and sequence number of the next message.
fn header(bytes: &[u8]) -> Option<(usize, u16, u16, u32)> {
    let length = word(bytes, 0)? as usize;
    let kind = half(bytes, 4)?;
    let flags = half(bytes, 6)?;
    let seq = word(bytes, 8)?;
    (length >= HEADER).then_some((length, kind, flags, seq))
}

/// What the kernel says about a failure: its own text (extended acknowledgement) where it gives one.
fn reason(status: i32, flags: u16, rest: Option<&[u8]>, quotes: bool) -> String {
    let plain = std::io::Error::from_raw_os_error(status.saturating_neg()).to_string();
    let text = rest
        .filter(|_| flags & NLM_F_ACK_TLVS != 0)
        .and_then(|rest| {
            let quoted = if !quotes {
                0
            } else if flags & NLM_F_CAPPED != 0 {
                HEADER
            } else {
                (word(rest, 0)? as usize).next_multiple_of(4)
            };
            attribute(rest.get(quoted..)?, NLMSGERR_ATTR_MSG)
        })
        .map(|text| {
            String::from_utf8_lossy(text)
                .trim_end_matches('\0')
                .to_owned()
        });
    match text {
        Some(text) if !text.is_empty() => format!("{} ({plain})", sanitized(&text)),
        _ => plain,
    }
}

fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(half(rest, 0)?);
        let value = rest.get(4..length)?;
        if half(rest, 2)? & NLA_TYPE_MASK == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|octets| u32::from_ne_bytes(*octets))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|octets| u16::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = ((16 + payload.len()) as u32).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(seq.to_ne_bytes());
        out.extend(0u32.to_ne_bytes());
        out.extend(payload);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn link(ifindex: u32, flags: u32, family: u8) -> Vec<u8> {
        let mut payload = vec![family, 0, 0, 0];
        payload.extend(ifindex.to_ne_bytes());
        payload.extend(flags.to_ne_bytes());
        payload.extend([0; 4]);
        message(RTM_NEWLINK, 0, 0, &payload)
    }

    fn due(scan: &mut Scan, bytes: &[u8]) -> bool {
        let mut dumps = Dumps::default();
        scan.messages(bytes, Timestamp(0), &mut dumps, &mut Found::default());
        !dumps.is_settled()
    }

    #[test]
    fn only_a_change_of_a_links_flags_asks_for_a_dump() {
        let mut scan = Scan::default();
        assert!(due(&mut scan, &link(3, 0x11043, 0)));
        assert!(!due(&mut scan, &link(3, 0x11043, 0)));
        assert!(!due(&mut scan, &link(3, 0x1003, 10)));
        assert!(due(&mut scan, &link(3, 0x1003, 0)));
        assert!(due(&mut scan, &message(RTM_DELADDR, 0, 0, &[0; 8])));
        assert!(!due(
            &mut scan,
            &message(RTM_NEWADDR, NLM_F_MULTI, 7, &[0; 8])
        ));
        assert!(!due(&mut scan, &message(24, 0, 0, &[0; 12])));
    }

    #[test]
    fn the_kernels_own_words_about_an_error_are_told() {
        let mut dumps = Dumps::default();
        dumps.baseline();
        let (_, seq) = dumps.next(Timestamp(0)).unwrap();
        let mut payload = (-95i32).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend(10u16.to_ne_bytes());
        payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend(b"no\x1bpe\0");
        let error = message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, seq, &payload);
        let mut found = Found::default();
        Scan::default().messages(&error, Timestamp(0), &mut dumps, &mut found);
        let notes = found.notes;
        assert_eq!(notes.len(), 1);
        assert!(
            notes[0].starts_with("the kernel does not list links: no"),
            "{notes:?}"
        );
        assert!(!notes[0].contains('\x1b'));
    }

    #[test]
    fn garbage_is_walked_without_harm() {
        let mut bytes: Vec<u8> = (0..255).collect();
        let mut scan = Scan::default();
        for _ in 0..64 {
            bytes.rotate_left(7);
            due(&mut scan, &bytes);
            due(&mut scan, &[&4u32.to_ne_bytes()[..], &bytes].concat());
            due(
                &mut scan,
                &[&20u32.to_ne_bytes()[..], &[2, 0, 0, 2], &bytes].concat(),
            );
        }
    }
}
