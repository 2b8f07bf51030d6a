//! What a recording says in comments, for us to read again: what a source was, and what was lost when.
//!
//! One line of plain words and numbers, which Wireshark shows as a comment. Believed only in files that we wrote; a forged one can only
//! claim losses.

use crate::event::loss::{Gap, GapKind};
use crate::event::{SourceKind, Timestamp};

/// How the application of our sections begins (`shb_userappl`).
pub const APPLICATION: &str = "flapscope ";

/// The end of time as the engine saw it.
pub const WATCHED: &str = "flapscope watched";

const HOST: &str = "flapscope host ";
const SOURCE: &str = "flapscope source ";
const GAP: &str = "flapscope gap ";

/// Names of kinds, in their order.
const KINDS: [(SourceKind, &str); 4] = [
    (SourceKind::Netlink, "netlink"),
    (SourceKind::Packets, "packets"),
    (SourceKind::Bmp, "bmp"),
    (SourceKind::Mrt, "mrt"),
];

/// Names of losses, as JSON has them.
const LOSSES: [(GapKind, &str); 7] = [
    (GapKind::CaptureDrops, "capture-drops"),
    (GapKind::NetlinkOverrun, "netlink-overrun"),
    (GapKind::DamagedInput, "damaged-input"),
    (GapKind::TcpLoss, "tcp-loss"),
    (GapKind::FeedLost, "feed-lost"),
    (GapKind::ClockStep, "clock-step"),
    (GapKind::StateFull, "state-full"),
];

/// The comment of a section: the name of the host that alerts bear.
pub fn host(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("{HOST}{name}"))
}

/// Reads [`host`].
pub fn parse_host(comment: &str) -> Option<&str> {
    comment.strip_prefix(HOST)
}

/// The comment of an interface.
pub fn source(kind: SourceKind) -> String {
    let name = KINDS.iter().find(|(known, _)| *known == kind);
    format!("{SOURCE}{}", name.map_or("packets", |(_, name)| name))
}

/// Reads [`source`].
pub fn parse_source(comment: &str) -> Option<SourceKind> {
    let name = comment.strip_prefix(SOURCE)?;
    KINDS
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(kind, _)| *kind)
}

/// The name of an interface in a file. The host's own netlink has no name with us, and a file shall say what it is.
pub fn interface(kind: SourceKind, name: Option<&str>) -> String {
    match (kind, name) {
        (SourceKind::Netlink, None) => "netlink".into(),
        (SourceKind::Netlink, Some(name)) => format!("netlink@{name}"),
        (SourceKind::Bmp, None) => "bmp".into(),
        (SourceKind::Bmp, Some(name)) => format!("bmp@{name}"),
        (_, name) => name.unwrap_or_default().to_owned(),
    }
}

/// The name it has with us.
pub fn parse_interface(kind: SourceKind, name: Option<String>) -> Option<String> {
    let name = name?;
    let bare = match kind {
        SourceKind::Netlink => name.strip_prefix("netlink"),
        SourceKind::Bmp => name.strip_prefix("bmp"),
        SourceKind::Packets | SourceKind::Mrt => return Some(name),
    };
    match bare {
        Some("") => None,
        Some(rest) => Some(rest.strip_prefix('@').unwrap_or(rest).to_owned()),
        None => Some(name),
    }
}

/// The comment of a loss: `flapscope gap capture-drops 1700000000000000000 1700000001000000000 12 WORDS`.
pub fn gap(gap: &Gap) -> String {
    let kind = LOSSES.iter().find(|(known, _)| *known == gap.kind);
    let lost = gap.lost.map_or("-".into(), |lost| lost.to_string());
    format!(
        "{GAP}{} {} {} {lost} {}",
        kind.map_or("damaged-input", |(_, name)| name),
        gap.from.0,
        gap.to.0,
        gap.detail
    )
}

/// Reads [`gap`].
pub fn parse_gap(comment: &str) -> Option<Gap> {
    let mut words = comment.strip_prefix(GAP)?.splitn(5, ' ');
    let name = words.next()?;
    let (kind, _) = LOSSES.iter().find(|(_, known)| *known == name)?;
    let from = Timestamp(words.next()?.parse().ok()?);
    let to = Timestamp(words.next()?.parse().ok()?);
    let lost = match words.next()? {
        "-" => None,
        number => Some(number.parse().ok()?),
    };
    Some(Gap {
        kind: *kind,
        from,
        to,
        lost,
        detail: words.next().unwrap_or_default().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_read_back_as_they_were_written() {
        for (kind, _) in LOSSES {
            for lost in [None, Some(0), Some(u64::MAX)] {
                let loss = Gap {
                    kind,
                    from: Timestamp::MIN,
                    to: Timestamp(7),
                    lost,
                    detail: "eth0: 5 lost, says the kernel".into(),
                };
                assert_eq!(parse_gap(&gap(&loss)), Some(loss));
            }
        }
        for bad in [
            "",
            "flapscope gap",
            "flapscope gap x 1 2 - y",
            "flapscope gap tcp-loss 1 2",
        ] {
            assert_eq!(parse_gap(bad), None, "{bad}");
        }
    }

    #[test]
    fn sources_read_back_as_they_were_named() {
        for (kind, _) in KINDS {
            assert_eq!(parse_source(&source(kind)), Some(kind));
            for name in [Some("eth0"), Some("blue, nsid 3"), None] {
                let written = interface(kind, name);
                let read = Some(written).filter(|written| !written.is_empty());
                assert_eq!(parse_interface(kind, read).as_deref(), name, "{kind:?}");
            }
        }
    }
}
