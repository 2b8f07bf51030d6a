//! Each envelope from hand-made bytes.

use super::*;

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

#[test]
fn names_are_in_order_and_tell_the_number() {
    for number in 0..400 {
        if is_known(number) {
            assert!(name(number).is_some(), "{number} is read and has no name");
        }
    }
    assert_eq!(described(284), "DSA_TAG_DSA (284)");
    assert_eq!(described(60_000), "60000");
    assert_eq!(name(107), Some("FRELAY"));
    assert_eq!(name(7), Some("ARCNET_BSD"));
}

#[test]
fn the_tags_of_a_switch_are_stepped_over_and_only_a_replaced_vlan_tag_is_a_vlan() {
    let frame = |tag: &[u8]| [&MACS[..], tag, &[0x08, 0x06, 0, 1]].concat();
    let dsa = |tag: &[u8], kind| inside(kind, &frame(tag)).unwrap();
    let plain = dsa(&[0xc0, 0x18, 0x00, 0x01], DSA_TAG_DSA);
    assert_eq!((plain.start, plain.vlan), (Start::Ether(0x0806, 18), None));
    let was_tagged = dsa(&[0xe0, 0x18, 0x61, 0x2c], DSA_TAG_DSA);
    assert_eq!(was_tagged.vlan, Some(0x12c));
    let edsa = dsa(&[0xda, 0xda, 0, 0, 0xe0, 0x18, 0, 7], DSA_TAG_EDSA);
    assert_eq!((edsa.start, edsa.vlan), (Start::Ether(0x0806, 22), Some(7)));
    let brcm = dsa(&[0x20, 0, 0, 3], DSA_TAG_BRCM);
    assert_eq!(brcm.start, Start::Ether(0x0806, 18));
    assert_eq!(brcm.src, Some([2, 0, 0, 0, 0, 2]));
    assert_eq!(
        inside(DSA_TAG_BRCM_PREPEND, &[0; 30]).unwrap().start,
        Start::Link(ETHERNET, 4)
    );
}

/// A data frame from a station to its access point, with QoS.
fn wireless(flags: u8) -> Vec<u8> {
    let mut frame = vec![0x88, flags, 0, 0];
    for last in [0xa, 1, 2] {
        frame.extend([2, 0, 0, 0, 0, last]);
    }
    frame.extend([0x10, 0, 5, 0]); // sequence 1, QoS
    frame.extend([0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00, 0x45]);
    frame
}

#[test]
fn a_wireless_data_frame_in_the_clear_is_read_and_an_encrypted_one_is_not() {
    let clear = inside(IEEE802_11, &wireless(1)).unwrap();
    assert_eq!(clear.start, Start::Ether(0x0800, 34));
    assert_eq!(
        (clear.dst, clear.src),
        (Some([2, 0, 0, 0, 0, 2]), Some([2, 0, 0, 0, 0, 1])),
        "the access point is neither end"
    );
    assert_eq!(
        inside(IEEE802_11, &wireless(0x41)).unwrap().start,
        Start::Foreign
    );
    let beacon = [[0x80, 0].as_slice(), &[0; 40]].concat();
    assert_eq!(inside(IEEE802_11, &beacon).unwrap().start, Start::Foreign);
    assert_eq!(
        inside(IEEE802_11, &wireless(1)[..20]).unwrap().start,
        Start::Short
    );
}

#[test]
fn radiotap_flags_are_found_behind_time_and_more_bitmaps() {
    // Two bitmaps, TSFT (aligned to eight) and flags.
    let header = |flags: u8| {
        let mut bytes = vec![0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0; 8]);
        bytes.push(flags);
        bytes
    };
    let plain = [header(0x10), wireless(1)].concat();
    assert_eq!(
        inside(IEEE802_11_RADIOTAP, &plain).unwrap().start,
        Start::Ether(0x0800, 25 + 34)
    );
    let bad = [header(0x40), wireless(1)].concat();
    assert_eq!(
        inside(IEEE802_11_RADIOTAP, &bad).unwrap().start,
        Start::Foreign
    );
    // 26 octets of header are padded to 28.
    let mut padded = wireless(1);
    padded.splice(26..26, [0, 0]);
    let padded = [header(0x20), padded].concat();
    assert_eq!(
        inside(IEEE802_11_RADIOTAP, &padded).unwrap().start,
        Start::Ether(0x0800, 25 + 36)
    );
    let ppi = [&[0, 0, 8, 0, 127, 0, 0, 0][..], &plain].concat();
    assert_eq!(
        inside(PPI, &ppi).unwrap().start,
        Start::Ether(0x0800, 8 + 25 + 34)
    );
}

#[test]
fn nflog_tells_protocol_direction_and_device_in_either_byte_order() {
    let log = |order: fn(u16) -> [u8; 2]| {
        let mut bytes = vec![2, 0, 0, 5];
        for (kind, value) in [
            (1, vec![0x08, 0x00, 3, 0]),
            (5, vec![0, 0, 0, 9]),
            (10, b"ab\0".to_vec()),
            (9, vec![0x45, 0]),
        ] {
            bytes.extend(order(4 + value.len() as u16));
            bytes.extend(order(kind));
            bytes.extend(&value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    };
    for bytes in [log(u16::to_le_bytes), log(u16::to_be_bytes)] {
        let found = inside(NFLOG, &bytes).unwrap();
        assert_eq!(found.start, Start::Ether(0x0800, 32));
        assert_eq!((found.outgoing, found.ifindex), (Some(true), Some(9)));
    }
    assert_eq!(inside(NFLOG, &[2, 0, 0, 5]).unwrap().start, Start::Foreign);
}

#[test]
fn pktap_juniper_and_frame_relay_lead_to_what_they_hold() {
    let mut bytes = vec![108, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend([0; 24]);
    bytes.extend([2, 0, 0, 0]);
    bytes.resize(108, 0);
    let found = inside(PKTAP, &bytes).unwrap();
    assert_eq!(found.start, Start::Link(ETHERNET, 108));
    assert_eq!(found.outgoing, Some(true));
    let juniper = inside(
        JUNIPER_ETHER,
        &[0x4d, 0x47, 0x43, 0x81, 0, 6, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(juniper.unwrap().start, Start::Link(ETHERNET, 12));
    let relay = |bytes: &[u8]| inside(FRELAY, bytes).unwrap().start;
    assert_eq!(relay(&[0x18, 0x41, 3, 0xcc, 0x45]), Start::Link(RAW, 4));
    assert_eq!(
        relay(&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 0x08, 0x06, 0]),
        Start::Ether(0x0806, 10)
    );
    assert_eq!(relay(&[0x18, 0x41, 8, 0, 0x45]), Start::Ether(0x0800, 4));
    assert_eq!(relay(&[0x00, 0x01, 3, 8, 0]), Start::Foreign);
}

#[test]
fn envelopes_end_and_short_frames_are_short() {
    // PPI in PPI in PPI …
    let endless = [0, 0, 8, 0, 192, 0, 0, 0].repeat(20);
    assert_eq!(inside(PPI, &endless).unwrap().start, Start::Foreign);
    for kind in (0..400).filter(|kind| is_envelope(*kind)) {
        for cut in 0..16 {
            let _ = inside(kind, &vec![0xff; cut]);
        }
    }
    assert_eq!(inside(ETHERNET, &MACS), None);
    assert!(is_cisco_hdlc(&[0x8f, 0, 0x80, 0x35]));
    assert!(!is_cisco_hdlc(&[0xff, 3, 0, 0x21]));
}
