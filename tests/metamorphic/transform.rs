//! The transformations: what is done to a scenario, and what must remain of its verdict.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::capture::{Capture, ETHERNET, Frame};

/// What a transformation leaves of a verdict.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Remains {
    /// The whole of it.
    All,
    /// The root (its kind and subject) and what must not be said; counts and effects may be less.
    Root,
    /// Nothing need be found; but nothing may be said that the whole would not say.
    Nothing,
}

/// One input of a scenario; `capture` is `None` for what is no capture file (MRT), which stays as it is.
#[derive(Clone)]
pub struct Input {
    pub name: String,
    pub bytes: Vec<u8>,
    pub capture: Option<Capture>,
}

/// When the scenario's fault began and its recording ended, nanoseconds since the epoch.
#[derive(Copy, Clone)]
pub struct Phases {
    pub fault: i128,
    pub end: i128,
}

/// Words of a report that stand for others in the expectation: what was renumbered.
pub type Words = BTreeMap<String, String>;

/// A scenario after a transformation.
pub struct Changed {
    pub inputs: Vec<Input>,
    pub words: Words,
}

pub struct Transformation {
    pub name: &'static str,
    pub remains: Remains,
    /// `None` where it does not apply.
    pub apply: fn(&[Input], Phases, &Value) -> Option<Changed>,
}

pub const ALL: &[Transformation] = &[
    Transformation {
        name: "begin-cut",
        remains: Remains::Root,
        apply: |inputs, phases, _| {
            // Packets of the second before the fault are kept; a capture of the kernel begins with its tables, whenever it is begun.
            let from = phases.fault - 1_000_000_000;
            each(inputs, |f| {
                if f.is_kernel() || f.at >= from {
                    vec![f]
                } else {
                    vec![]
                }
            })
        },
    },
    Transformation {
        name: "end-cut",
        remains: Remains::Nothing,
        apply: |inputs, phases, _| {
            let to = phases.fault + (phases.end - phases.fault) * 6 / 10;
            each(inputs, |f| if f.at <= to { vec![f] } else { vec![] })
        },
    },
    Transformation {
        name: "without-the-first-input",
        remains: Remains::Nothing,
        apply: |inputs, _, _| without(inputs, 0),
    },
    Transformation {
        name: "without-the-second-input",
        remains: Remains::Nothing,
        apply: |inputs, _, _| without(inputs, 1),
    },
    Transformation {
        name: "one-direction",
        remains: Remains::Nothing,
        apply: |inputs, _, _| {
            let stations = talkative(inputs)?;
            each(inputs, |f| {
                if f.sender() == Some(stations) {
                    vec![]
                } else {
                    vec![f]
                }
            })
        },
    },
    Transformation {
        name: "mirrored",
        remains: Remains::All,
        // A mirror port that sends both what came in and what went out shows each frame twice, microseconds apart.
        apply: |inputs, _, _| {
            each(inputs, |f| {
                if f.is_kernel() {
                    return vec![f];
                }
                let mut copy = f.clone();
                copy.at += 2_000;
                vec![f, copy]
            })
        },
    },
    Transformation {
        name: "one-percent-lost",
        remains: Remains::Root,
        apply: |inputs, _, _| {
            let mut seed = 0x5eed_u64;
            each(inputs, |f| {
                // SplitMix64's step and output are enough for one in a hundred.
                seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                if !f.is_kernel() && (mixed ^ (mixed >> 27)).is_multiple_of(100) {
                    vec![]
                } else {
                    vec![f]
                }
            })
        },
    },
    Transformation {
        name: "kernel-50-ms-late",
        remains: Remains::All,
        // Netlink stamps are taken in user space and lag packets by up to 100 ms (measured).
        apply: |inputs, _, _| {
            kernel(inputs).then_some(())?;
            each(inputs, |mut f| {
                if f.is_kernel() {
                    f.at += 50_000_000;
                }
                vec![f]
            })
        },
    },
    Transformation {
        name: "tagged",
        remains: Remains::All,
        apply: |inputs, _, _| {
            each(inputs, |mut f| {
                if f.link == ETHERNET && f.data.len() >= 14 {
                    f.data.splice(12..12, [0x81, 0x00, 0x00, 0x64]);
                }
                vec![f]
            })
        },
    },
    Transformation {
        name: "other-stations",
        remains: Remains::All,
        apply: restationed,
    },
    Transformation {
        name: "stretched",
        remains: Remains::Nothing,
        // KEEPALIVEs come three times in a hold time (RFC 4271 §4.4): twice as slow no timer runs out that did not.
        apply: |inputs, _, expect| {
            let routing = expect.get("root").is_some_and(|root| {
                let kinds = root["kinds"].as_array().cloned().unwrap_or_default();
                let is = |k: &Value| k.as_str().is_some_and(|k| k.starts_with("prefix."));
                !kinds.is_empty() && kinds.iter().all(is)
            });
            routing.then_some(())?;
            let first = inputs
                .iter()
                .filter_map(|i| i.capture.as_ref())
                .flat_map(Capture::frames)
                .map(|f| f.at)
                .min()?;
            each(inputs, |mut f| {
                f.at = first + (f.at - first) * 2;
                vec![f]
            })
        },
    },
];

fn kernel(inputs: &[Input]) -> bool {
    inputs
        .iter()
        .filter_map(|i| i.capture.as_ref())
        .any(|c| c.frames().any(Frame::is_kernel))
}

/// `None` when not one frame changed.
fn each(inputs: &[Input], mut change: impl FnMut(Frame) -> Vec<Frame>) -> Option<Changed> {
    let mut changed = inputs.to_vec();
    for input in &mut changed {
        let Some(capture) = &mut input.capture else {
            continue;
        };
        capture.each(&mut change);
        input.bytes = capture.write();
    }
    let same = changed.iter().zip(inputs).all(|(a, b)| a.bytes == b.bytes);
    (!same).then_some(Changed {
        inputs: changed,
        words: Words::new(),
    })
}

fn without(inputs: &[Input], which: usize) -> Option<Changed> {
    if inputs.len() < 2 || which >= inputs.len() {
        return None;
    }
    let mut inputs = inputs.to_vec();
    inputs.remove(which);
    Some(Changed {
        inputs,
        words: Words::new(),
    })
}

/// The station that sends most, by its link-layer address.
fn talkative(inputs: &[Input]) -> Option<[u8; 6]> {
    let mut sent: BTreeMap<[u8; 6], usize> = BTreeMap::new();
    let frames = inputs
        .iter()
        .filter_map(|i| i.capture.as_ref())
        .flat_map(Capture::frames);
    for sender in frames.filter_map(Frame::sender) {
        *sent.entry(sender).or_default() += 1;
    }
    sent.into_iter().max_by_key(|(_, n)| *n).map(|(mac, _)| mac)
}

/// Other stations: the fourth octet of each sender's link-layer address differs, wherever the six octets stand, with the checksums that follow
/// from it. The vendor stays, and so do addresses that a protocol gives out (VRRP's, RFC 9568 §7.3).
fn restationed(inputs: &[Input], _: Phases, _: &Value) -> Option<Changed> {
    let frames = || {
        inputs
            .iter()
            .filter_map(|i| i.capture.as_ref())
            .flat_map(Capture::frames)
    };
    let own = |mac: &[u8; 6]| mac[0] & 1 == 0 && *mac != [0; 6] && mac[..3] != [0, 0, 0x5e];
    let map: BTreeMap<[u8; 6], [u8; 6]> = frames()
        .filter_map(Frame::sender)
        .filter(own)
        .map(|mac| {
            let mut other = mac;
            other[3] ^= 0x15;
            (mac, other)
        })
        .collect();
    let mut changed = each(inputs, |mut f| {
        let sums = if f.is_kernel() { None } else { inner_sum(&f) };
        let mut at = 0;
        while let Some(six) = f.data.get(at..at + 6) {
            match map.get(six) {
                Some(new) => {
                    f.data[at..at + 6].copy_from_slice(new);
                    at += 6;
                }
                None => at += 1,
            }
        }
        if let Some(sum) = sums {
            sum.mend(&mut f);
        }
        vec![f]
    })?;
    let shown = |mac: &[u8; 6]| mac.map(|octet| format!("{octet:02x}")).join(":");
    changed.words = map
        .iter()
        .map(|(old, new)| (shown(new), shown(old)))
        .collect();
    Some(changed)
}

/// Where the checksum of what an IP packet carries is, and what it covers; only of one that is right, as offload leaves others unfinished.
struct Sum {
    at: usize,
    body: std::ops::Range<usize>,
    pseudo: u32,
}

impl Sum {
    fn total(&self, frame: &Frame) -> u32 {
        let words = frame.data[self.body.clone()].chunks(2).map(|two| {
            u32::from(u16::from_be_bytes([
                two[0],
                two.get(1).copied().unwrap_or(0),
            ]))
        });
        let mut total = words.sum::<u32>() + self.pseudo;
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        total
    }

    fn mend(&self, frame: &mut Frame) {
        frame.data[self.at..self.at + 2].fill(0);
        let sum = !(self.total(frame) as u16);
        frame.data[self.at..self.at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

fn inner_sum(frame: &Frame) -> Option<Sum> {
    let data = &frame.data;
    let two = |at: usize| Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
    let mut at = match frame.link {
        ETHERNET => 12,
        _ => return None,
    };
    while two(at)? == 0x8100 {
        at += 4;
    }
    let ip = at + 2;
    let (protocol, body, addresses) = match two(at)? {
        0x0800 => {
            let header = usize::from(data.get(ip)? & 15) * 4;
            let end = ip + usize::from(two(ip + 2)?);
            (*data.get(ip + 9)?, ip + header..end, ip + 12..ip + 20)
        }
        0x86dd => {
            let end = ip + 40 + usize::from(two(ip + 4)?);
            (*data.get(ip + 6)?, ip + 40..end, ip + 8..ip + 40)
        }
        _ => return None,
    };
    let offset = match protocol {
        6 => 16,
        17 => 6,
        1 | 58 => 2,
        _ => return None,
    };
    data.get(body.clone()).filter(|b| b.len() > offset + 1)?;
    let mut pseudo = 0;
    if protocol != 1 {
        pseudo = data.get(addresses)?.chunks_exact(2).fold(0, |sum, two| {
            sum + u32::from(u16::from_be_bytes([two[0], two[1]]))
        });
        pseudo += u32::from(protocol) + body.len() as u32;
    }
    let sum = Sum {
        at: body.start + offset,
        body,
        pseudo,
    };
    (sum.total(frame) == 0xffff).then_some(sum)
}
