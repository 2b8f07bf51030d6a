use super::*;
use crate::detect::{Finding, Severity};
use crate::event::bgp::{AS_SEQUENCE, BgpEvent, BgpMessage, Direction, Nlri, Open, Update};
use crate::event::frame::Frame;
use crate::event::source::Unit;
use crate::event::{InputId, Locator, SourceId};
use crate::state::Changes;

pub(super) struct Lab {
    pub(super) net: NetState,
    detector: Box<dyn Detector>,
    pub(super) board: Board,
    changes: Changes,
    number: u64,
}

/// A path, a MED and prefixes.
pub(super) type Route<'a> = (&'a [u32], Option<u32>, &'a [&'a str]);

impl Lab {
    fn new() -> Lab {
        Lab::of(0, &Settings::default())
    }

    /// With one of this family's detectors.
    pub(super) fn of(index: usize, settings: &Settings) -> Lab {
        let mut detectors = Vec::new();
        register(settings, &mut detectors);
        Lab {
            net: NetState::default(),
            detector: detectors.remove(index),
            board: Board::default(),
            changes: Changes::default(),
            number: 0,
        }
    }

    pub(super) fn fire(&mut self, to: Timestamp) {
        loop {
            let model = self.net.next_deadline().filter(|at| *at <= to);
            let detector = self.detector.next_deadline().filter(|at| *at <= to);
            let Some(now) = [model, detector].into_iter().flatten().min() else {
                break;
            };
            if model == Some(now) {
                self.net.expire(now, &mut self.changes);
                let deadline = Event::deadline(now);
                let seen = Observation {
                    event: &deadline,
                    changes: &self.changes,
                };
                self.detector.observe(&seen, &self.net, &mut self.board);
            }
            self.detector.expire(now, &self.net, &mut self.board);
        }
    }

    /// An UPDATE of peer 192.0.2.`peer`.
    pub(super) fn update(&mut self, ms: i64, peer: u8, announced: Route<'_>, withdrawn: &[&str]) {
        self.send(ms, peer, announced, withdrawn, &[]);
    }

    /// Announces a prefix with a community.
    fn tagged(&mut self, ms: i64, peer: u8, tag: u32, prefix: &str) {
        self.send(ms, peer, (&[64501], None, &[prefix]), &[], &[tag]);
    }

    fn send(
        &mut self,
        ms: i64,
        peer: u8,
        announced: Route<'_>,
        withdrawn: &[&str],
        communities: &[u32],
    ) {
        let nlri = |p: &&str| Nlri::unicast(p.parse().unwrap());
        let mut update = Update {
            announced: announced.2.iter().map(nlri).collect(),
            withdrawn: withdrawn.iter().map(nlri).collect(),
            ..Update::default()
        };
        update
            .attributes
            .as_path
            .push_segment(AS_SEQUENCE, announced.0.len());
        update.attributes.as_path.0.extend(announced.0);
        update.attributes.med = announced.1;
        update
            .attributes
            .communities
            .extend(communities.iter().copied());
        self.say(ms, peer, BgpMessage::Update(Box::new(update)));
    }

    /// The OPENs of a session with peer 192.0.2.`peer`, which has this AS and is known by this BGP identifier.
    pub(super) fn open(&mut self, ms: i64, peer: u8, asn: u32, router_id: u32) {
        for (from_peer, asn, router_id) in [(true, asn, router_id), (false, 64496, 1)] {
            let open = Open {
                version: 4,
                asn,
                hold_time: 0,
                router_id,
                four_octet_as: true,
                ..Open::default()
            };
            self.message(ms, peer, from_peer, BgpMessage::Open(Box::new(open)));
        }
        for from_peer in [true, false] {
            self.message(ms, peer, from_peer, BgpMessage::Keepalive);
        }
    }

    fn say(&mut self, ms: i64, peer: u8, message: BgpMessage) {
        self.message(ms, peer, true, message);
    }

    fn message(&mut self, ms: i64, peer: u8, from_peer: bool, message: BgpMessage) {
        self.number += 1;
        let peer: IpAddr = format!("192.0.2.{peer}").parse().unwrap();
        let us: IpAddr = "192.0.2.254".parse().unwrap();
        let (from, to) = if from_peer { (peer, us) } else { (us, peer) };
        let (from_port, to_port) = if from_peer { (179, 4000) } else { (4000, 179) };
        let event = Event {
            at: Timestamp(ms * 1_000_000),
            origin_at: None,
            source: SourceId(0),
            locator: Locator {
                input: InputId(0),
                unit: Unit::Frame,
                number: self.number,
                offset: 0,
            },
            kind: EventKind::Bgp(Box::new(BgpEvent {
                frame: Frame::default(),
                session: Direction {
                    from,
                    to,
                    from_port,
                    to_port,
                    from_as: 0,
                    to_as: 0,
                },
                message,
            })),
        };
        self.fire(event.at);
        self.net.apply(&event, &mut self.changes);
        let seen = Observation {
            event: &event,
            changes: &self.changes,
        };
        self.detector.observe(&seen, &self.net, &mut self.board);
    }

    fn done(&mut self) -> Vec<(Kind, u64)> {
        let now = Timestamp(i64::MAX / 2);
        self.detector.finish(now, &self.net, &mut self.board);
        self.board.iter().map(|(_, f)| (f.kind, f.count)).collect()
    }

    /// The first finding of a kind.
    fn first(&self, kind: Kind) -> &Finding {
        self.board.of_kind(kind).next().unwrap().1
    }
}

pub(super) const P: &str = "198.51.100.0/24";
pub(super) const NONE: Route<'static> = (&[], None, &[]);

#[test]
fn one_flap_seen_on_two_peers_is_one_finding_and_is_not_added_up() {
    let mut lab = Lab::new();
    for cycle in 0..6 {
        for peer in [1, 2] {
            lab.update(
                cycle * 1000 + i64::from(peer),
                peer,
                (&[64501, 64510], None, &[P]),
                &[],
            );
            lab.update(cycle * 1000 + 500 + i64::from(peer), peer, NONE, &[P]);
        }
    }
    assert_eq!(lab.done(), [(Kind::PrefixFlap, 6)]);
    let (_, finding) = lab.board.iter().next().unwrap();
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.explain.contains("AS64510"), "{}", finding.explain);
}

#[test]
fn prefixes_of_one_origin_that_flap_together_are_one_finding() {
    let mut lab = Lab::new();
    let all = ["198.51.100.0/25", "198.51.100.128/25", "203.0.113.0/24"];
    for cycle in 0..5 {
        lab.update(cycle * 2000, 1, (&[64501, 64510], None, &all), &[]);
        lab.update(cycle * 2000 + 1000, 1, NONE, &all);
    }
    assert_eq!(lab.done(), [(Kind::PrefixFlap, 5)]);
    assert_eq!(
        lab.board.iter().next().unwrap().1.affected.prefixes.len(),
        3
    );
}

#[test]
fn a_single_withdrawal_and_return_is_nothing() {
    let mut lab = Lab::new();
    lab.update(0, 1, (&[64501], None, &[P]), &[]);
    lab.update(1000, 1, NONE, &[P]);
    lab.update(2000, 1, (&[64501], None, &[P]), &[]);
    assert!(lab.done().is_empty());
}

#[test]
fn an_alternating_path_is_an_oscillation_and_an_alternating_med_another_one() {
    let mut lab = Lab::new();
    for n in 0..10i64 {
        let path: &[u32] = if n % 2 == 0 {
            &[64501, 64510]
        } else {
            &[64501, 64502, 64510]
        };
        lab.update(n * 700, 1, (path, None, &[P]), &[]);
        lab.update(
            n * 700 + 1,
            1,
            (&[64501], Some(n as u32 % 2), &["203.0.113.0/24"]),
            &[],
        );
    }
    assert_eq!(
        lab.done(),
        [
            (Kind::PrefixPathOscillation, 9),
            (Kind::PrefixAttributeOscillation, 9)
        ]
    );
}

#[test]
fn growing_paths_before_a_withdrawal_are_hunting_and_no_oscillation() {
    let mut lab = Lab::new();
    for (n, path) in [&[1u32, 9][..], &[1, 2, 9], &[1, 2, 3, 9], &[1, 2, 3, 4, 9]]
        .into_iter()
        .enumerate()
    {
        lab.update(n as i64 * 1000, 1, (path, None, &[P]), &[]);
    }
    lab.update(5000, 1, NONE, &[P]);
    assert_eq!(lab.done(), [(Kind::PrefixPathHunting, 1)]);
}

#[test]
fn a_second_origin_beside_the_first_is_a_conflict_and_a_replacement_is_not() {
    let mut lab = Lab::new();
    lab.update(0, 1, (&[64501, 64510], None, &[P, "203.0.113.0/24"]), &[]);
    lab.update(60_000, 2, (&[64502, 64666], None, &[P]), &[]);
    lab.update(60_001, 1, NONE, &["203.0.113.0/24"]);
    lab.update(60_002, 2, (&[64502, 64777], None, &["203.0.113.0/24"]), &[]);
    assert_eq!(lab.done(), [(Kind::PrefixOriginConflict, 1)]);
    let subjects: Vec<String> = lab
        .board
        .iter()
        .next()
        .unwrap()
        .1
        .subjects
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        subjects[..3],
        ["prefix:198.51.100.0/24", "origin:AS64666", "origin:AS64510"]
    );
}

/// An anycast site is drained and returns: the receiver's session was up before the capture, another feed tells of the other site.
fn drained_and_returned(lab: &mut Lab) {
    // The other site, known from its table.
    lab.open(0, 1, 64501, 101);
    lab.update(1000, 1, (&[64501, 64510], None, &[P]), &[]);
    // The drained one was here; its neighbor falls back to the other site, and back again.
    lab.update(60_000, 2, (&[64502, 64510], None, &[P]), &[]);
    lab.update(90_000, 2, (&[64502, 64511], None, &[P]), &[]);
}

#[test]
fn an_anycast_site_that_returns_is_no_hijack_and_an_origin_out_of_the_blue_is_one() {
    let mut lab = Lab::new();
    drained_and_returned(&mut lab);
    lab.done();
    let told = lab.first(Kind::PrefixOriginConflict);
    assert_eq!(told.severity, Severity::Info);
    assert!(told.explanations[0].starts_with("anycast"));
    let mut hijack = Lab::new();
    hijack.open(0, 1, 64501, 101);
    hijack.update(1000, 1, (&[64501, 64510], None, &[P]), &[]);
    hijack.update(60_000, 2, (&[64502, 64511], None, &[P]), &[]);
    hijack.done();
    let told = hijack.first(Kind::PrefixOriginConflict);
    assert_eq!(told.severity, Severity::Warning);
}

#[test]
fn the_return_of_an_own_prefix_to_a_foreign_as_stays_loud() {
    let settings = Settings {
        own_prefixes: vec![P.parse().unwrap()],
        ..Settings::default()
    };
    let mut lab = Lab::of(0, &settings);
    drained_and_returned(&mut lab);
    lab.done();
    let told = lab.first(Kind::PrefixOriginConflict);
    assert_eq!(told.severity, Severity::Warning);
}

#[test]
fn a_move_is_told_where_the_first_announcement_came_before_the_capture() {
    let mut lab = Lab::new();
    lab.update(10_000, 1, NONE, &["203.0.113.7/32"]);
    lab.update(11_000, 2, (&[64502], None, &["203.0.113.7/32"]), &[]);
    assert_eq!(lab.done(), [(Kind::PrefixMoved, 1)]);
    // Announced by the new host first.
    let mut lab = Lab::new();
    lab.update(10_000, 2, (&[64502], None, &["203.0.113.7/32"]), &[]);
    lab.update(11_000, 1, NONE, &["203.0.113.7/32"]);
    assert_eq!(lab.done(), [(Kind::PrefixMoved, 1)]);
}

fn many(n: u32) -> Vec<String> {
    (0..n).map(|n| format!("198.18.{}.0/24", n % 256)).collect()
}

#[test]
fn a_mass_withdrawal_is_one_finding_with_the_as_that_its_paths_share() {
    let mut lab = Lab::new();
    let names = many(100);
    let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
    for peer in [1, 2] {
        for (n, prefix) in prefixes.iter().enumerate() {
            lab.update(
                0,
                peer,
                (
                    &[64500 + u32::from(peer), 64000, 65000 + n as u32],
                    None,
                    &[prefix],
                ),
                &[],
            );
        }
    }
    lab.update(60_000, 1, NONE, &prefixes);
    lab.update(60_100, 2, NONE, &prefixes);
    assert_eq!(lab.done(), [(Kind::PrefixMassWithdrawal, 1)]);
    let finding = lab.board.iter().next().unwrap().1;
    assert_eq!(finding.affected.prefixes.len(), 100);
    let subjects: Vec<String> = finding.subjects.iter().map(ToString::to_string).collect();
    assert_eq!(subjects, ["peer:192.0.2.1", "peer:192.0.2.2", "as:AS64000"]);
}

#[test]
fn the_prefixes_of_a_large_mass_withdrawal_are_all_counted_whatever_is_remembered() {
    let names: Vec<String> = (0..10_000)
        .map(|n| format!("10.{}.{}.0/24", n / 250, n % 250))
        .collect();
    let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = Lab::new();
    for peer in [1, 2] {
        for part in prefixes.chunks(500) {
            lab.update(0, peer, (&[64501, 64000], None, part), &[]);
        }
    }
    for peer in [1, 2] {
        for part in prefixes.chunks(500) {
            lab.update(60_000 + i64::from(peer), peer, NONE, part);
        }
    }
    lab.done();
    let gone = &lab.first(Kind::PrefixMassWithdrawal);
    let counted = gone.affected.prefixes.len() as u64 + gone.affected.more_prefixes;
    assert_eq!(counted, 10_000);
    assert!(
        gone.explain.contains("withdrew 10000 prefixes"),
        "{}",
        gone.explain
    );
}

#[test]
fn a_table_that_goes_twice_is_one_mass_withdrawal_of_two_rounds() {
    let names = many(100);
    let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = Lab::new();
    lab.update(0, 1, (&[64501, 64000], None, &prefixes), &[]);
    lab.update(60_000, 1, NONE, &prefixes);
    lab.update(63_000, 1, (&[64501, 64000], None, &prefixes), &[]);
    lab.update(66_000, 1, NONE, &prefixes);
    assert_eq!(lab.done(), [(Kind::PrefixMassWithdrawal, 2)]);
    let gone = lab.first(Kind::PrefixMassWithdrawal);
    let back = gone.occurrences[0].until.map(|at| at.0 / 1_000_000);
    assert_eq!(back, Some(63_000));
    assert_eq!(gone.affected.more_prefixes, 0);
}

#[test]
fn an_announcement_with_the_receivers_own_as_is_its_echo_and_no_second_host() {
    // The receiver is AS64496; peer 1 withdraws its address, and peer 2 says the receiver's own announcement back, or has it itself.
    let moved = |path: &[u32]| {
        let mut lab = Lab::new();
        lab.open(0, 1, 64501, 11);
        lab.open(0, 2, 64502, 12);
        lab.update(20_000, 1, (&[64501], None, &["203.0.113.7/32"]), &[]);
        lab.update(40_000, 1, NONE, &["203.0.113.7/32"]);
        lab.update(41_000, 2, (path, None, &["203.0.113.7/32"]), &[]);
        let done = lab.done();
        done.iter().any(|(kind, _)| *kind == Kind::PrefixMoved)
    };
    assert!(moved(&[64502]));
    assert!(!moved(&[64502, 64496]));
}

#[test]
fn a_table_sent_again_and_again_is_a_storm_of_duplicates_and_once_is_not() {
    let names = many(100);
    let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
    for (resends, expected) in [(1, 0), (5, 1)] {
        let mut lab = Lab::new();
        for n in 0..=resends {
            lab.update(n * 2000, 1, (&[64501], None, &prefixes), &[]);
        }
        assert_eq!(lab.done().len(), expected, "{resends} re-sends");
    }
}

#[test]
fn one_prefix_that_is_announced_again_and_again_is_noted_and_now_and_then_is_not() {
    for (every, expected) in [(5_000, 1), (300_000, 0)] {
        let mut lab = Lab::new();
        lab.update(
            0,
            1,
            (&[64501], None, &["198.51.100.7/32", "203.0.113.0/24"]),
            &[],
        );
        for n in 1..=8 {
            lab.update(
                60_000 + n * every,
                1,
                (&[64501], None, &["198.51.100.7/32"]),
                &[],
            );
        }
        lab.done();
        let told: Vec<_> = lab.board.of_kind(Kind::PrefixDuplicateUpdates).collect();
        assert_eq!(told.len(), expected, "{every}");
        for (_, finding) in told {
            assert_eq!((finding.severity, finding.count), (Severity::Info, 8));
            assert_eq!(finding.subjects[0].to_string(), "prefix:198.51.100.7/32");
        }
    }
}

#[test]
fn an_elastic_ip_that_changes_hosts_moved_and_does_not_flap() {
    let mut lab = Lab::new();
    lab.update(0, 1, (&[64501], None, &["203.0.113.7/32"]), &[]);
    lab.update(10_000, 1, NONE, &["203.0.113.7/32"]);
    lab.update(11_000, 2, (&[64501], None, &["203.0.113.7/32"]), &[]);
    assert_eq!(lab.done(), [(Kind::PrefixMoved, 1)]);
}

#[test]
fn a_small_table_that_goes_whole_is_a_mass_withdrawal_and_a_part_of_it_is_not() {
    let names = many(20);
    let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
    for (gone, expected) in [(9, 0), (12, 0), (20, 1)] {
        let mut lab = Lab::new();
        lab.update(0, 1, (&[64501, 64000], None, &prefixes), &[]);
        for (n, prefix) in prefixes[..gone].iter().enumerate() {
            lab.update(60_000 + n as i64, 1, NONE, &[prefix]);
        }
        let found = lab.done();
        let mass = found
            .iter()
            .filter(|(kind, _)| *kind == Kind::PrefixMassWithdrawal);
        assert_eq!(mass.count(), expected, "{gone} of 20 went");
    }
}

#[test]
fn all_routes_from_behind_one_as_are_a_mass_withdrawal_in_a_larger_table() {
    let names = many(200);
    let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
    for (gone, expected) in [(15, 1), (8, 0)] {
        let mut lab = Lab::new();
        lab.update(0, 1, (&[64501, 64000, 64600], None, &prefixes[..15]), &[]);
        lab.update(0, 1, (&[64501, 64700], None, &prefixes[15..]), &[]);
        lab.update(60_000, 1, NONE, &prefixes[..gone]);
        let found = lab.done();
        let mass = found
            .iter()
            .filter(|(kind, _)| *kind == Kind::PrefixMassWithdrawal);
        assert_eq!(mass.count(), expected, "{gone} of 15 went");
    }
}

#[test]
fn communities_that_alternate_strictly_oscillate_and_a_walk_needs_more() {
    for (tags, expected) in [
        (&[1, 2, 1, 2, 1, 2, 1, 2, 1, 2][..], 1),
        (&[1, 2, 3, 1, 3, 2, 3, 1, 2, 1][..], 0),
        (&[1, 2, 1, 2][..], 0),
    ] {
        let mut lab = Lab::new();
        for (n, tag) in tags.iter().enumerate() {
            lab.tagged(n as i64 * 800, 1, *tag, P);
        }
        let found = lab.done();
        assert_eq!(found.len(), expected, "{tags:?}: {found:?}");
        assert!(
            found
                .iter()
                .all(|(kind, _)| *kind == Kind::PrefixAttributeOscillation)
        );
    }
}

#[test]
fn a_small_table_that_goes_again_and_again_flaps() {
    let names = many(20);
    let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = Lab::new();
    for round in 0..5 {
        lab.update(round * 4000, 1, (&[64501, 64000], None, &prefixes), &[]);
        lab.update(round * 4000 + 2000, 1, NONE, &prefixes);
    }
    assert_eq!(lab.done(), [(Kind::PrefixFlap, 5)]);
}

#[test]
fn foreign_prefixes_of_the_internet_are_weather_from_the_first_second_and_own_ones_are_not() {
    let settings = Settings {
        own_as: vec![64999],
        ..Settings::default()
    };
    let mut lab = Lab::of(0, &settings);
    let prefixes = many(130);
    for (n, prefix) in prefixes.iter().enumerate() {
        // Public origins: a second's worth of a collector's updates.
        lab.update(
            n as i64,
            1,
            (&[64501, 1000 + n as u32], None, &[prefix]),
            &[],
        );
    }
    for n in 0..5 {
        lab.update(
            2000 + n * 2000,
            1,
            (&[64501, 1000], None, &["198.51.100.0/24"]),
            &[],
        );
        lab.update(2500 + n * 2000, 1, NONE, &["198.51.100.0/24"]);
        lab.update(
            2000 + n * 2000,
            1,
            (&[64501, 64999], None, &["203.0.113.0/24"]),
            &[],
        );
        lab.update(2500 + n * 2000, 1, NONE, &["203.0.113.0/24"]);
    }
    lab.done();
    let loud: Vec<_> = lab
        .board
        .of_kind(Kind::PrefixFlap)
        .map(|(_, f)| (f.subjects[0].to_string(), f.severity))
        .collect();
    assert!(
        loud.contains(&("prefix:198.51.100.0/24".to_owned(), Severity::Info)),
        "{loud:?}"
    );
    assert!(
        loud.contains(&("prefix:203.0.113.0/24".to_owned(), Severity::Warning)),
        "{loud:?}"
    );
}

#[test]
fn withdrawals_of_routes_announced_before_we_looked_count_in_full() {
    let mut lab = Lab::new();
    lab.update(0, 1, (&[64501], None, &[P]), &[]);
    let prefixes = many(200);
    let gone: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    lab.update(1000, 1, NONE, &gone);
    lab.done();
    let (_, mass) = lab
        .board
        .of_kind(Kind::PrefixMassWithdrawal)
        .next()
        .unwrap();
    assert_eq!(mass.affected.prefixes.len(), 200);
}
