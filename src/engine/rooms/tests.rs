//! Rooms over hand-made sources.

use super::*;
use crate::event::loss::{Gap, GapKind};
use crate::event::source::Unit;
use crate::event::{InputId, Locator, WireText};

fn source(id: u32, kind: SourceKind, name: Option<&str>) -> SourceInfo {
    SourceInfo {
        id: SourceId(id),
        input: InputId(0),
        kind,
        interface: name.map(Into::into),
        host: None,
        role: None,
    }
}

fn hear(rooms: &mut Rooms, info: SourceInfo) {
    rooms.item(&Item::Source(info), &mut Vec::new());
}

fn gap(rooms: &mut Rooms, source: u32) {
    let at = Timestamp(5);
    let gap = Gap {
        kind: GapKind::NetlinkOverrun,
        from: at,
        to: at,
        lost: None,
        detail: WireText::from("lost"),
    };
    let locator = Locator {
        input: InputId(0),
        unit: Unit::Record,
        number: 1,
        offset: 0,
    };
    let source = SourceId(source);
    let item = Item::Gap {
        at,
        source,
        locator,
        gap,
    };
    rooms.item(&item, &mut Vec::new());
}

fn gaps(rooms: &Rooms) -> Vec<usize> {
    let of = |room: &Room| room.engine.gaps().len();
    rooms.all().iter().map(of).collect()
}

#[test]
fn the_first_namespace_shares_its_room_with_packets_and_others_have_their_own() {
    let mut rooms = Rooms::new(&Settings::default());
    let odd = Some("netns is a strange name of an interface");
    hear(&mut rooms, source(0, SourceKind::Packets, odd));
    hear(&mut rooms, source(1, SourceKind::Netlink, Some("netns a")));
    hear(&mut rooms, source(2, SourceKind::Netlink, Some("netns b")));
    for id in [0, 1, 2, 2] {
        gap(&mut rooms, id);
    }
    assert_eq!(rooms.label(0), Some("netns a"));
    assert_eq!(rooms.label(1), Some("netns b"));
    assert_eq!(gaps(&rooms), [2, 2]);
}

#[test]
fn the_hosts_own_kernel_keeps_the_first_room_and_segments_of_one_namespace_share_one() {
    let mut rooms = Rooms::new(&Settings::default());
    hear(&mut rooms, source(0, SourceKind::Netlink, None));
    hear(&mut rooms, source(1, SourceKind::Netlink, Some("nsid 3")));
    hear(&mut rooms, source(2, SourceKind::Netlink, Some("nsid 3")));
    // A monitoring device of somebody else's capture is no namespace.
    hear(&mut rooms, source(3, SourceKind::Netlink, Some("nlmon0")));
    for id in 0..4 {
        gap(&mut rooms, id);
    }
    assert_eq!((rooms.label(0), rooms.label(1)), (None, Some("nsid 3")));
    assert_eq!(gaps(&rooms), [2, 2]);
}

#[test]
fn namespaces_beyond_the_bound_are_not_mixed_into_others() {
    let mut rooms = Rooms::new(&Settings::default());
    for id in 0..MAX_ROOMS as u32 + 5 {
        let name = format!("netns {id}");
        hear(&mut rooms, source(id, SourceKind::Netlink, Some(&name)));
        gap(&mut rooms, id);
    }
    assert_eq!(gaps(&rooms), [1; MAX_ROOMS]);
}
