//! Fragments as networks and attackers send them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn key(id: u32) -> Key {
    Key {
        source: SourceId(0),
        ifindex: None,
        vlans: [None; 3],
        src: Ipv4Addr::new(192, 0, 2, 1).into(),
        dst: Ipv4Addr::new(192, 0, 2, 2).into(),
        id,
        protocol: Some(protocol::UDP),
    }
}

fn fragment(offset: u32, more: bool, payload: &[u8]) -> Fragment<'_> {
    Fragment {
        id: 1,
        protocol: protocol::UDP,
        offset,
        more,
        payload,
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp(ms * 1_000_000)
}

/// A DHCP datagram of `len` octets.
fn datagram(len: usize) -> Vec<u8> {
    let mut bytes = vec![0, 68, 0, 67, 0, 0, 0, 0];
    bytes.extend((8..len).map(|n| n as u8));
    bytes
}

#[test]
fn pieces_in_any_order_make_the_datagram() {
    let whole = datagram(40);
    let pieces = [(0, 16), (16, 32), (32, 40)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut defrag = Defrag::new();
        let mut outcome = Outcome::Waiting;
        for (step, index) in order.into_iter().enumerate() {
            assert_eq!(outcome, Outcome::Waiting, "step {step}");
            let (from, to) = pieces[index];
            let part = fragment(from as u32, to < 40, &whole[from..to]);
            outcome = defrag.fragment(key(1), &part, at(0));
        }
        assert_eq!(outcome, Outcome::Complete(protocol::UDP, whole.clone()));
        assert!(defrag.slots.is_empty());
    }
}

#[test]
fn an_exact_copy_is_ignored_but_an_overlap_discards_all_that_follows() {
    let whole = datagram(40);
    let mut defrag = Defrag::new();
    let first = fragment(0, true, &whole[..16]);
    assert_eq!(defrag.fragment(key(1), &first, at(0)), Outcome::Waiting);
    assert_eq!(defrag.fragment(key(1), &first, at(0)), Outcome::Waiting);
    let overlap = fragment(8, true, &whole[8..24]);
    assert!(matches!(
        defrag.fragment(key(1), &overlap, at(1)),
        Outcome::Discarded(_)
    ));
    for part in [
        fragment(16, true, &whole[16..32]),
        fragment(32, false, &whole[32..]),
        first,
    ] {
        assert_eq!(defrag.fragment(key(1), &part, at(2)), Outcome::Ignored);
    }
    // The other way round: the new one starts before a known one and runs into it; and the same place with other octets.
    let attacks: [&[u8]; 2] = [&whole[8..32], &[0xff; 16]];
    for attack in attacks {
        let mut defrag = Defrag::new();
        defrag.fragment(key(1), &fragment(16, true, &whole[16..32]), at(0));
        let offset = if attack.len() == 24 { 8 } else { 16 };
        assert!(matches!(
            defrag.fragment(key(1), &fragment(offset, true, attack), at(0)),
            Outcome::Discarded(_)
        ));
    }
}

#[test]
fn impossible_fragments_discard_their_datagram() {
    let whole = datagram(40);
    let cases: [&[Fragment<'_>]; 5] = [
        &[fragment(65_528, false, &whole[..16])],
        &[fragment(0, true, &whole[..13])],
        &[fragment(0, true, &[])],
        &[
            fragment(32, false, &whole[32..]),
            fragment(24, false, &whole[24..32]),
        ],
        &[
            fragment(16, false, &whole[16..24]),
            fragment(24, true, &whole[24..32]),
        ],
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let mut defrag = Defrag::new();
        let last = case
            .iter()
            .map(|part| defrag.fragment(key(1), part, at(0)))
            .last();
        assert!(
            matches!(last, Some(Outcome::Discarded(_))),
            "case {index}: {last:?}"
        );
    }
}

#[test]
fn a_flood_is_bounded_in_slots_pieces_and_time() {
    let whole = datagram(16);
    let mut defrag = Defrag::new();
    for id in 0..10_000 {
        defrag.fragment(key(id), &fragment(0, true, &whole), at(0));
    }
    assert_eq!(defrag.slots.len(), SLOTS);
    assert_eq!(defrag.evicted, 10_000 - SLOTS as u64);
    defrag.fragment(key(0), &fragment(0, true, &whole), at(5000));
    assert_eq!(defrag.slots.len(), 1, "five seconds are enough");
    // Tiny pieces.
    let mut outcome = Outcome::Waiting;
    for n in 0..=MAX_PIECES as u32 {
        outcome = defrag.fragment(key(7), &fragment(8 + n * 16, true, &[0; 8]), at(5000));
    }
    assert!(matches!(outcome, Outcome::Discarded(_)));
}

#[test]
fn unwanted_and_dead_datagrams_make_room_first() {
    let mut defrag = Defrag::new();
    let dns = [0, 53, 0xc0, 0, 0, 0, 0, 0];
    for id in 0..SLOTS as u32 - 1 {
        let outcome = defrag.fragment(key(id), &fragment(0, true, &dns), at(0));
        assert_eq!(outcome, Outcome::Ignored);
    }
    let whole = datagram(16);
    defrag.fragment(key(900), &fragment(0, true, &whole[..8]), at(1));
    for id in 1000..1050 {
        defrag.fragment(key(id), &fragment(0, true, &dns), at(2));
    }
    assert_eq!(defrag.evicted, 0);
    assert_eq!(
        defrag.fragment(key(900), &fragment(8, false, &whole[8..]), at(3)),
        Outcome::Complete(protocol::UDP, whole)
    );
}

#[test]
fn what_differs_in_vlan_source_or_id_never_mixes() {
    let whole = datagram(16);
    let mut others = [key(1); 4];
    others[0].vlans[0] = Some(7);
    others[1].source = SourceId(1);
    others[2].id = 2;
    others[3].src = Ipv6Addr::LOCALHOST.into();
    for other in others {
        let mut defrag = Defrag::new();
        defrag.fragment(key(1), &fragment(0, true, &whole[..8]), at(0));
        let outcome = defrag.fragment(other, &fragment(8, false, &whole[8..]), at(0));
        assert_eq!(outcome, Outcome::Waiting);
    }
}
