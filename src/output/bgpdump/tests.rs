//! Lines as bgpdump 1.6.2 writes them; the differential test compares whole files.

use super::*;

#[test]
fn numbers_and_addresses_print_as_usual() {
    let mut out = Vec::new();
    for value in [0, 9, 10, 255, 4_294_967_295] {
        decimal(&mut out, value);
        out.push(b' ');
    }
    for addr in [
        "192.0.2.100",
        "0.0.0.0",
        "2001:db8::1",
        "::",
        "::1",
        "::192.0.2.1",
    ] {
        address(&mut out, addr.parse().unwrap());
        out.push(b' ');
    }
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "0 9 10 255 4294967295 192.0.2.100 0.0.0.0 2001:db8::1 :: ::1 ::192.0.2.1 "
    );
}

#[test]
fn a_line_has_bgpdumps_fields_in_bgpdumps_order() {
    let mut attributes = Attributes {
        origin: Some(0),
        next_hop: Some("192.0.2.1".parse().unwrap()),
        med: Some(5),
        local_pref: Some(100),
        atomic_aggregate: true,
        aggregator: Some((65_001, "192.0.2.9".parse().unwrap())),
        communities: vec![65_001 << 16 | 7, 0xffff_ff01],
        ..Attributes::default()
    };
    attributes.as_path.push_segment(2, 2);
    attributes.as_path.0.extend([65_001, 65_002]);
    attributes.as_path.push_segment(AS_SET, 2);
    attributes.as_path.0.extend([1, 2]);
    let mut out = Vec::new();
    tail(&mut out, &attributes, true);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "|65001 65002 {1,2}|IGP|192.0.2.1|100|5|65001:7 no-export|AG|65001 192.0.2.9|"
    );
}
