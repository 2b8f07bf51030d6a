use super::super::tests::{Lab, NONE, P};
use super::*;
use crate::detect::Settings;

fn lab(own: bool) -> Lab {
    let settings = Settings {
        own_prefixes: if own {
            vec![P.parse().unwrap()]
        } else {
            vec![]
        },
        ..Settings::default()
    };
    Lab::of(1, &settings)
}

/// So many neighbors announce the prefix of AS64999 behind AS64900, and all but one withdraw it at 60 s.
fn withdrawn_by_all_but_one(lab: &mut Lab, peers: u8) {
    for peer in 1..=peers {
        let first = 64500 + u32::from(peer);
        lab.update(
            i64::from(peer),
            peer,
            (&[first, 64900, 64999], None, &[P]),
            &[],
        );
    }
    for peer in 1..peers {
        lab.update(60_000 + i64::from(peer), peer, NONE, &[P]);
    }
}

fn until(lab: &mut Lab, seconds: i64) -> Vec<Finding> {
    lab.fire(Timestamp(seconds * 1_000_000_000));
    lab.board.iter().map(|(_, f)| f.clone()).collect()
}

#[test]
fn an_own_prefix_that_one_neighbor_keeps_after_five_minutes_is_a_zombie_until_it_goes() {
    let mut lab = lab(true);
    withdrawn_by_all_but_one(&mut lab, 4);
    assert!(until(&mut lab, 350).is_empty());
    let found = until(&mut lab, 400);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].kind, found[0].severity),
        (Kind::PrefixZombie, Severity::Warning)
    );
    assert!(
        found[0].explain.starts_with("192.0.2.4 still announces"),
        "{}",
        found[0].explain
    );
    lab.update(500_000, 4, NONE, &[P]);
    assert!(until(&mut lab, 501)[0].ended.is_some());
}

#[test]
fn a_foreign_prefix_needs_ten_neighbors_and_ninety_minutes() {
    let mut few = lab(false);
    withdrawn_by_all_but_one(&mut few, 4);
    assert!(until(&mut few, 9000).is_empty());
    let mut many = lab(false);
    withdrawn_by_all_but_one(&mut many, 12);
    assert!(until(&mut many, 5000).is_empty());
    assert_eq!(until(&mut many, 5600).len(), 1);
}

#[test]
fn backup_paths_and_what_is_announced_anew_are_alive() {
    // Another way to the origin.
    let mut lab_a = lab(true);
    lab_a.update(0, 9, (&[64509, 64777, 64999], None, &[P]), &[]);
    for peer in 1..4 {
        lab_a.update(
            10,
            peer,
            (&[64500 + u32::from(peer), 64900, 64999], None, &[P]),
            &[],
        );
        lab_a.update(60_000, peer, NONE, &[P]);
    }
    assert!(until(&mut lab_a, 9000).is_empty());
    // The last one changed after the withdrawal.
    let mut lab_b = lab(true);
    withdrawn_by_all_but_one(&mut lab_b, 4);
    lab_b.update(61_000, 4, (&[64504, 64900, 64900, 64999], None, &[P]), &[]);
    assert!(until(&mut lab_b, 9000).is_empty());
    // Everybody came back, and two keep it.
    let mut lab_c = lab(true);
    withdrawn_by_all_but_one(&mut lab_c, 4);
    lab_c.update(90_000, 1, (&[64501, 64900, 64999], None, &[P]), &[]);
    lab_c.update(90_000, 2, (&[64502, 64900, 64999], None, &[P]), &[]);
    assert!(until(&mut lab_c, 9000).is_empty());
}
