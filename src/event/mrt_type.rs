//! MRT types and subtypes (RFC 6396, RFC 8050; IANA, "Multi-threaded Routing Toolkit"): which are read, and what the others are called.

/// Whether records of this type are decoded. RIB_GENERIC is as far as its family has keys.
pub const fn is_read(kind: u16, subtype: u16) -> bool {
    match kind {
        // The deprecated type BGP: updates, state changes, KEEPALIVEs.
        5 => matches!(subtype, 1 | 3 | 7),
        // TABLE_DUMP: IPv4, IPv6.
        12 => matches!(subtype, 1 | 2),
        13 => matches!(subtype, 1..=6 | 8..=12),
        16 | 17 => matches!(subtype, 0 | 1 | 4..=11),
        _ => false,
    }
}

/// Name and numbers: `BGP4MP_ENTRY (16/2)`.
pub fn described(kind: u16, subtype: u16) -> String {
    let name = match (kind, subtype) {
        (5, 0) => "BGP_NULL",
        (5, 2) => "BGP_PREF_UPDATE",
        (5, 4) => "BGP_SYNC",
        (5, 5) => "BGP_OPEN",
        (5, 6) => "BGP_NOTIFY",
        (13, 7) => "GEO_PEER_TABLE",
        (16, 2) => "BGP4MP_ENTRY",
        (16, 3) => "BGP4MP_SNAPSHOT",
        (17, 2) => "BGP4MP_ET_ENTRY",
        (17, 3) => "BGP4MP_ET_SNAPSHOT",
        (0, _) => "NULL",
        (1, _) => "START",
        (2, _) => "DIE",
        (3, _) => "I_AM_DEAD",
        (4, _) => "PEER_DOWN",
        (5, _) => "BGP",
        (6, _) => "RIP",
        (7, _) => "IDRP",
        (8, _) => "RIPNG",
        (9, _) => "BGP4PLUS",
        (10, _) => "BGP4PLUS_01",
        (11, _) => "OSPFv2",
        (12, _) => "TABLE_DUMP",
        (13, _) => "TABLE_DUMP_V2",
        (16, _) => "BGP4MP",
        (17, _) => "BGP4MP_ET",
        (32, _) => "ISIS",
        (33, _) => "ISIS_ET",
        (48, _) => "OSPFv3",
        (49, _) => "OSPFv3_ET",
        _ => return format!("{kind}/{subtype}"),
    };
    format!("{name} ({kind}/{subtype})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_not_read_has_a_name_and_its_numbers() {
        assert_eq!(described(16, 2), "BGP4MP_ENTRY (16/2)");
        assert_eq!(described(32, 0), "ISIS (32/0)");
        assert_eq!(described(99, 1), "99/1");
        assert!(is_read(16, 9) && !is_read(16, 3) && !is_read(11, 0));
    }
}
