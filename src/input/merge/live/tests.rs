use proptest::prelude::*;

use super::*;
use crate::event::{InputId, SourceKind};
use crate::input::Format;
use crate::input::live::LiveRecord;

const MS: i64 = 1_000_000;

fn source(id: u32) -> LiveItem {
    LiveItem::Source(SourceInfo {
        id: SourceId(id),
        input: InputId(0),
        kind: SourceKind::Packets,
        interface: Some(format!("if{id}").into()),
        host: None,
        role: None,
    })
}

fn record(id: u32, at: i64, number: u64) -> LiveItem {
    LiveItem::Record(LiveRecord {
        at: Timestamp(at),
        source: SourceId(id),
        locator: locator(number),
        format: Format::Packet(1),
        bytes: number.to_be_bytes().into(),
        wire_len: 8,
    })
}

/// (time, source, number) of a record; sources are skipped.
fn told(item: LiveItem) -> Option<(i64, u32, u64)> {
    match item {
        LiveItem::Record(record) => Some((record.at.0, record.source.0, record.locator.number)),
        _ => None,
    }
}

fn popped(merge: &mut LiveMerge, now: i64) -> Vec<(i64, u32, u64)> {
    std::iter::from_fn(|| merge.pop(Timestamp(now)))
        .filter_map(told)
        .collect()
}

proptest! {
    #[test]
    fn times_never_decrease_and_nothing_is_lost(
        items in proptest::collection::vec((0u32..4, 0i64..2000), 1..300),
    ) {
        let mut merge = LiveMerge::default();
        let mut out = Vec::new();
        for (index, (id, delay)) in items.iter().enumerate() {
            let now = index as i64 * 10 * MS + 2_000 * MS;
            merge.push(record(*id, now - delay * MS, index as u64));
            out.extend(popped(&mut merge, now));
        }
        out.extend(std::iter::from_fn(|| merge.drain()).filter_map(told));
        prop_assert!(out.is_sorted_by_key(|(at, ..)| *at));
        for id in 0..4 {
            let of: Vec<u64> = out.iter().filter(|o| o.1 == id).map(|o| o.2).collect();
            prop_assert!(of.is_sorted());
        }
        prop_assert_eq!(out.len(), items.len());
        prop_assert_eq!(merge.held(), 0);
    }

    #[test]
    fn what_arrives_inside_the_watermark_comes_out_as_if_all_had_been_there(
        items in proptest::collection::vec((0u32..4, 0i64..40), 1..200),
        delays in proptest::collection::vec(0i64..400, 4),
        promise in any::<bool>(),
    ) {
        // Each source's items in order, each source with its own delay to us.
        let mut times = [0i64; 4];
        let mut all = Vec::new();
        for (index, (id, step)) in items.iter().enumerate() {
            times[*id as usize] += step * MS;
            all.push((times[*id as usize], *id, index as u64));
        }
        let mut arrivals: Vec<(i64, i64, u32, u64)> = all
            .iter()
            .map(|(at, id, index)| (at + delays[*id as usize] * MS, *at, *id, *index))
            .collect();
        arrivals.sort_by_key(|a| (a.0, a.3));
        let mut merge = LiveMerge::default();
        let mut out = Vec::new();
        (0..4).for_each(|id| merge.push(source(id)));
        for (now, at, id, index) in arrivals {
            merge.push(record(id, at, index));
            if promise {
                let until = Timestamp(now - delays[id as usize] * MS);
                merge.push(LiveItem::Idle { source: SourceId(id), until });
            }
            out.extend(popped(&mut merge, now));
        }
        out.extend(std::iter::from_fn(|| merge.drain()).filter_map(told));
        prop_assert_eq!(merge.late(), 0);
        // The files' order: time, then source by name, then place in the source.
        all.sort();
        prop_assert_eq!(out, all);
    }
}

#[test]
fn an_item_waits_for_a_silent_source_until_that_promises_or_the_watermark_has_passed() {
    let mut merge = LiveMerge::default();
    merge.push(source(0));
    merge.push(source(1));
    merge.push(record(0, 1000 * MS, 1));
    assert!(popped(&mut merge, 1100 * MS).is_empty());
    assert_eq!(merge.horizon(Timestamp(1100 * MS)).0, 600 * MS - 1);
    merge.push(LiveItem::Idle {
        source: SourceId(1),
        until: Timestamp(1050 * MS),
    });
    assert_eq!(popped(&mut merge, 1100 * MS), [(1000 * MS, 0, 1)]);
    merge.push(record(0, 1200 * MS, 2));
    assert!(popped(&mut merge, 1700 * MS).is_empty());
    assert_eq!(popped(&mut merge, 1701 * MS), [(1200 * MS, 0, 2)]);
}

#[test]
fn a_closed_source_is_not_waited_for() {
    let mut merge = LiveMerge::default();
    merge.push(source(0));
    merge.push(source(1));
    merge.push(record(0, 1000 * MS, 1));
    merge.push(record(1, 1001 * MS, 1));
    merge.push(LiveItem::Closed {
        source: SourceId(0),
    });
    merge.push(LiveItem::Closed {
        source: SourceId(1),
    });
    assert_eq!(popped(&mut merge, 1002 * MS).len(), 2);
    assert!(merge.lanes.is_empty());
}

#[test]
fn a_source_is_announced_right_before_its_first_item() {
    let mut merge = LiveMerge::default();
    merge.push(source(0));
    assert!(merge.drain().is_none());
    merge.push(record(0, MS, 1));
    assert!(matches!(merge.drain(), Some(LiveItem::Source(_))));
    assert!(matches!(merge.drain(), Some(LiveItem::Record(_))));
}

#[test]
fn what_comes_too_late_gets_the_engines_time_and_is_counted() {
    let mut merge = LiveMerge::default();
    merge.push(record(0, 2000 * MS, 1));
    assert_eq!(popped(&mut merge, 2600 * MS).len(), 1);
    merge.push(record(1, 1900 * MS, 1));
    assert_eq!(popped(&mut merge, 2700 * MS), [(2000 * MS, 1, 1)]);
    assert_eq!(merge.late(), 1);
}

#[test]
fn a_clock_set_back_is_told_and_time_goes_on() {
    let mut merge = LiveMerge::default();
    merge.push(record(0, 5_000_000 * MS, 1));
    merge.push(record(0, 5_000_010 * MS, 2));
    assert_eq!(popped(&mut merge, 5_001_000 * MS).len(), 2);
    merge.push(record(0, 1_000_000 * MS, 3));
    merge.push(record(0, 1_000_020 * MS, 4));
    let out: Vec<LiveItem> = std::iter::from_fn(|| merge.pop(Timestamp(1_001_000 * MS))).collect();
    assert!(matches!(&out[0], LiveItem::Gap { gap, .. } if gap.kind == GapKind::ClockStep));
    assert_eq!(out[1].at(), Some(Timestamp(5_000_010 * MS)));
    assert_eq!(out[2].at(), Some(Timestamp(5_000_030 * MS)));
}

#[test]
fn a_flood_goes_out_early_instead_of_growing() {
    let mut merge = LiveMerge::default();
    for number in 0..300_000 {
        merge.push(record(0, 5, number));
        while merge.pop(Timestamp(5)).is_some() {}
        assert!(merge.held() <= MAX_HELD);
    }
}

#[test]
fn nobody_waits_for_a_source_that_rests_until_it_is_awake_again() {
    let mut merge = LiveMerge::default();
    for id in [1, 2] {
        merge.push(source(id));
        merge.push(record(id, 1000 * MS, 1));
    }
    merge.push(LiveItem::Idle {
        source: SourceId(2),
        until: Timestamp::MAX,
    });
    merge.push(record(1, 1010 * MS, 2));
    assert_eq!(popped(&mut merge, 1011 * MS).len(), 3);
    merge.push(record(2, 1012 * MS, 2));
    merge.push(record(1, 1014 * MS, 3));
    let held = popped(&mut merge, 1015 * MS);
    assert_eq!(held, [(1012 * MS, 2, 2)], "awake, it is waited for");
}
