//! What a client's identifier and its habits tell about it: the kind of its DUID or option 61, and what runs there.
//!
//! Facts about programs, each with its source; a habit that two programs share is not listed. Reads what was learned, keeps nothing.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::client::Client;
use crate::event::frame::Mac;
use crate::event::{Timestamp, WireText};

/// 2000-01-01 00:00:00 UTC: a DUID-LLT counts its seconds from here (RFC 8415 §11.2).
const LLT_EPOCH: Timestamp = Timestamp(946_684_800_000_000_000);
/// Ethernet in IANA's table of hardware types.
const ETHERNET: [u8; 2] = [0, 1];
/// Shortest option 61 of type 0 that is read as text: container runtimes and iSCSI names are longer, hardware addresses are 6.
const LEAST_TEXT: usize = 7;

/// An identifier taken apart: option 61 (RFC 2132 §9.14, RFC 4361), or the DUID and IAID of DHCPv6 (RFC 8415 §11, §12).
#[derive(Clone, Eq, PartialEq, Debug, Default, Serialize)]
pub struct Identifier {
    /// `DUID-LLT`, `DUID-EN`, `DUID-LL`, `DUID-UUID`, `hardware address`, `text`, or `unknown`.
    pub kind: &'static str,
    /// Which of the client's associations it is.
    pub iaid: Option<u32>,
    /// IANA's number of the maker of a DUID-EN, and its name where it is one of those that data centres meet.
    pub enterprise: Option<u32>,
    pub maker: Option<&'static str>,
    /// The link-layer address inside.
    pub mac: Option<Mac>,
    /// When a DUID-LLT was made: the day of the client's installation.
    pub made: Option<Timestamp>,
    /// What an identifier of type 0 says.
    pub text: Option<WireText>,
}

impl Identifier {
    /// Of a DHCPv6 client; `identity` holds the IAID behind the DUID, where the client asked for something.
    pub fn of_duid(duid: &[u8], identity: Option<&[u8]>) -> Identifier {
        let iaid = identity
            .and_then(|identity| identity.strip_prefix(duid))
            .and_then(|iaid| <[u8; 4]>::try_from(iaid).ok());
        Identifier {
            iaid: iaid.map(u32::from_be_bytes),
            ..duid_of(duid)
        }
    }

    /// Of option 61.
    pub fn of_option(octets: &[u8]) -> Identifier {
        match octets {
            // RFC 4361 §6.1: type 255, IAID, DUID.
            [255, a, b, c, d, duid @ ..] => Identifier {
                iaid: Some(u32::from_be_bytes([*a, *b, *c, *d])),
                ..duid_of(duid)
            },
            [1, mac @ ..] if mac.len() == 6 => Identifier {
                kind: "hardware address",
                mac: mac_of(mac),
                ..Identifier::default()
            },
            [0, text @ ..]
                if text.len() >= LEAST_TEXT
                    && text.iter().all(|c| c.is_ascii_graphic() || *c == b' ') =>
            {
                Identifier {
                    kind: "text",
                    text: Some(WireText::new(text)),
                    ..Identifier::default()
                }
            }
            _ => Identifier {
                kind: "unknown",
                ..Identifier::default()
            },
        }
    }
}

/// "DUID-LLT of 2026-11-23, IAID 20497", for tables.
impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        match (self.enterprise, self.maker) {
            (_, Some(maker)) => write!(f, " by {maker}")?,
            (Some(enterprise), None) => write!(f, " by enterprise {enterprise}")?,
            (None, None) => {}
        }
        if let Some(made) = self.made {
            let stamp = made.to_string();
            let day = stamp.split('T').next().unwrap_or_default();
            write!(f, " of {day}")?;
        }
        if let Some(text) = &self.text {
            write!(f, " {text}")?;
        }
        if let Some(iaid) = self.iaid {
            write!(f, ", IAID {iaid}")?;
        }
        Ok(())
    }
}

fn mac_of(octets: &[u8]) -> Option<Mac> {
    <[u8; 6]>::try_from(octets).ok().map(Mac)
}

/// RFC 8415 §11.2 – §11.5.
fn duid_of(octets: &[u8]) -> Identifier {
    let of = |kind| Identifier {
        kind,
        ..Identifier::default()
    };
    match octets {
        [0, 1, h0, h1, t0, t1, t2, t3, address @ ..] => {
            let seconds = u32::from_be_bytes([*t0, *t1, *t2, *t3]);
            Identifier {
                mac: mac_of(address).filter(|_| [*h0, *h1] == ETHERNET),
                made: Some(LLT_EPOCH + Duration::from_secs(u64::from(seconds))),
                ..of("DUID-LLT")
            }
        }
        [0, 2, a, b, c, d, ..] => {
            let enterprise = u32::from_be_bytes([*a, *b, *c, *d]);
            Identifier {
                enterprise: Some(enterprise),
                maker: maker(enterprise),
                ..of("DUID-EN")
            }
        }
        [0, 3, h0, h1, address @ ..] => Identifier {
            mac: mac_of(address).filter(|_| [*h0, *h1] == ETHERNET),
            ..of("DUID-LL")
        },
        [0, 4, uuid @ ..] if uuid.len() == 16 => of("DUID-UUID"),
        _ => of("unknown"),
    }
}

/// Private enterprise numbers (IANA's registry) of systems that ask for addresses.
pub fn maker(enterprise: u32) -> Option<&'static str> {
    Some(match enterprise {
        9 => "Cisco",
        11 => "HP",
        311 => "Microsoft",
        343 => "Intel",
        674 => "Dell",
        2011 => "Huawei",
        2495 => "ISC",
        2636 => "Juniper",
        3561 => "Broadband Forum",
        4491 => "CableLabs",
        6876 => "VMware",
        14_988 => "MikroTik",
        30_065 => "Arista",
        40_712 => "dhcpcd",
        43_793 => "systemd",
        _ => return None,
    })
}

/// What runs on a client, and by what that was told.
pub fn class(client: &Client) -> Option<(&'static str, &'static str)> {
    if let Some(user) = &client.user_class
        && contains(user.octets(), b"iPXE")
    {
        return Some(("iPXE boot loader", "user class"));
    }
    if let Some(vendor) = &client.vendor_class {
        // Many add version and model behind the name.
        let known = VENDORS
            .iter()
            .find(|(start, _)| vendor.octets().starts_with(start.as_bytes()));
        if let Some((_, class)) = known {
            return Some((class, "vendor class"));
        }
    }
    if let Some(told) = by_identity(client) {
        return Some(told);
    }
    let codes = client.fingerprint.as_slice();
    let list = if client.v6 { REQUESTS_V6 } else { REQUESTS };
    list.iter()
        .find(|(start, _)| codes.starts_with(start))
        .map(|(_, class)| (*class, if client.v6 { "option 6" } else { "option 55" }))
}

fn by_identity(client: &Client) -> Option<(&'static str, &'static str)> {
    let identity = client.identity.as_ref().unwrap_or(&client.id).octets();
    let id = if client.v6 {
        Identifier::of_duid(client.id.octets(), Some(identity))
    } else {
        Identifier::of_option(identity)
    };
    if id.enterprise == Some(43_793) {
        // networkd's DUID-EN is made from /etc/machine-id.
        return Some(("Linux, systemd-networkd", "DUID"));
    }
    // The CNI dhcp plugin's identifier is CONTAINER-ID/NETWORK/INTERFACE.
    let text = id.text.as_ref()?;
    let parts: Vec<&[u8]> = text.octets().split(|c| *c == b'/').collect();
    match parts.as_slice() {
        [container, _, _]
            if container.len() >= 12 && container.iter().all(u8::is_ascii_hexdigit) =>
        {
            Some(("a pod, by the CNI dhcp plugin", "option 61"))
        }
        _ => None,
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// Begin of option 60 (or of DHCPv6's option 16), as the programs set it.
const VENDORS: &[(&str, &str)] = &[
    ("MSFT ", "Windows"),
    ("android-dhcp-", "Android"),
    ("dhcpcd", "dhcpcd (Linux or BSD)"),
    ("udhcp ", "BusyBox udhcpc (embedded Linux, container)"),
    // PXE specification 2.1 §2.2.3 and RFC 5970 with the UEFI specification §24.7: the architecture follows.
    ("PXEClient:Arch:00000", "PXE boot ROM (BIOS)"),
    ("PXEClient:Arch:00006", "PXE boot ROM (UEFI, 32 bit)"),
    ("PXEClient:Arch:00007", "PXE boot ROM (UEFI x64)"),
    ("PXEClient:Arch:00009", "PXE boot ROM (UEFI x64)"),
    ("PXEClient:Arch:00011", "PXE boot ROM (UEFI arm64)"),
    ("PXEClient", "PXE boot ROM"),
    ("HTTPClient", "UEFI HTTP boot"),
    ("AAPLBSDPC", "Apple network boot"),
    ("anaconda", "Red Hat installer"),
    ("d-i", "Debian installer"),
    ("onie_vendor", "switch in ONIE"),
    ("docsis", "cable modem"),
    ("pktc", "cable telephony adapter"),
    ("dslforum.org", "home gateway (TR-069)"),
    ("ciscopnp", "Cisco device (plug and play)"),
    ("Cisco AP", "Cisco access point"),
    ("Cisco Systems, Inc. IP Phone", "Cisco IP phone"),
    ("ArubaAP", "Aruba access point"),
    ("Arista", "Arista switch"),
    ("Juniper", "Juniper device"),
    ("ubnt", "Ubiquiti device"),
    ("iDRAC", "Dell iDRAC"),
    ("CPQRIB", "HPE iLO"),
    ("Hewlett-Packard JetDirect", "HP printer"),
    ("snom", "snom phone"),
    ("yealink", "Yealink phone"),
];

/// Begin of option 55, in wire order. Lists of the programs' sources, or of what they are seen to send: dhclient's default `request` statement;
/// Windows 7 and later; Apple's and Android's stacks.
const REQUESTS: &[(&[u16], &str)] = &[
    (
        &[1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42],
        "Linux, ISC dhclient",
    ),
    (
        &[1, 28, 2, 121, 15, 6, 12, 40, 41, 42, 26, 119, 3],
        "Linux, ISC dhclient (Red Hat)",
    ),
    (&[1, 28, 2, 3, 15, 6, 12], "ISC dhclient"),
    (&[1, 3, 6, 15, 31, 33, 43, 44, 46, 47], "Windows"),
    (&[1, 15, 3, 6, 44, 46, 47, 31, 33], "Windows"),
    (&[1, 121, 3, 6, 15, 108, 114, 119, 252], "Apple"),
    (&[1, 121, 3, 6, 15, 114, 119, 252], "Apple"),
    (&[1, 121, 3, 6, 15, 119, 252], "Apple"),
    (&[1, 3, 6, 15, 26, 28, 51, 58, 59, 43], "Android"),
    (
        &[1, 121, 33, 3, 6, 12, 15, 28, 42, 51, 54, 58, 59],
        "dhcpcd (Linux or BSD)",
    ),
];

/// The same for DHCPv6's option request option.
const REQUESTS_V6: &[(&[u16], &str)] = &[(&[24, 23, 17, 39], "Windows")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duids_tell_their_kind_maker_day_and_hardware() {
        let llt = [
            0, 1, 0, 1, 0x32, 0x97, 0, 0x29, 0x52, 0x54, 0, 0, 0x50, 0x11,
        ];
        let mut with_iaid = llt.to_vec();
        with_iaid.extend([0, 0, 0x50, 0x11]);
        let id = Identifier::of_duid(&llt, Some(&with_iaid));
        assert_eq!(id.mac, "52:54:00:00:50:11".parse().ok());
        assert_eq!(id.to_string(), "DUID-LLT of 2026-11-23, IAID 20497");
        let systemd = [0, 2, 0, 0, 0xab, 0x11, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(
            Identifier::of_duid(&systemd, None).to_string(),
            "DUID-EN by systemd"
        );
        let unlisted = [0, 2, 0, 0, 0x75, 0x72, 0x48];
        let id = Identifier::of_duid(&unlisted, None);
        assert_eq!(id.to_string(), "DUID-EN by enterprise 30066");
        assert_eq!(
            Identifier::of_duid(&[0, 3, 0, 6, 1, 2, 3, 4, 5, 6], None).mac,
            None
        );
        assert_eq!(Identifier::of_duid(&[0, 9], None).kind, "unknown");
        assert_eq!(Identifier::of_duid(&[], None).kind, "unknown");
    }

    #[test]
    fn option_61_holds_hardware_a_duid_or_a_name() {
        let of = Identifier::of_option;
        assert_eq!(of(&[1, 2, 0, 0x5e, 0x10, 0, 1]).kind, "hardware address");
        let rfc4361 = [
            255, 0, 0, 0, 7, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        ];
        assert_eq!(of(&rfc4361).to_string(), "DUID-UUID, IAID 7");
        assert_eq!(
            of(b"\0iqn.2026-11.example:web").to_string(),
            "text iqn.2026-11.example:web"
        );
        assert_eq!(of(b"\0a\x1b[2Jbcdefg").kind, "unknown");
    }

    #[test]
    fn no_habit_hides_a_later_one() {
        for list in [REQUESTS, REQUESTS_V6] {
            for (nth, (codes, _)) in list.iter().enumerate() {
                assert!(
                    list.iter()
                        .take(nth)
                        .all(|(before, _)| !codes.starts_with(before)),
                    "{codes:?}"
                );
            }
        }
        for (nth, (start, _)) in VENDORS.iter().enumerate() {
            assert!(
                VENDORS
                    .iter()
                    .take(nth)
                    .all(|(before, _)| !start.starts_with(before)),
                "{start}"
            );
        }
    }
}
