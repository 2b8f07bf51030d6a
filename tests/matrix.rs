//! The matrix kind × input × family: what the catalogue claims is proven by a capture that shows it from that input alone, or told as unproven.
//!
//! `BLESS=1 cargo test --test matrix` looks for proofs anew and writes `src/detect/catalogue/proofs.txt`; without it every proof that stands
//! there must hold, and every unit test that stands in for a capture must exist.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // a test that cannot go on ends here; a blessing tells what is unproven

#[path = "matrix/scenes.rs"]
mod scenes;
#[path = "matrix/stage.rs"]
mod stage;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use flapscope::detect::catalogue::matrix::{self, Family};
use flapscope::detect::catalogue::{self, Seen};
use flapscope::detect::{Finding, Kind, Settings, Subject, Touch};
use flapscope::engine::Engine;
use flapscope::event::{Event, EventKind, SourceId, SourceKind};

/// Which kind of input an event belongs to; what announces sources and losses belongs to all.
fn input_of(event: &Event, mrt: &BTreeSet<SourceId>) -> Option<Seen> {
    Some(match &event.kind {
        EventKind::Source(info) if info.kind == SourceKind::Netlink => Seen::Netlink,
        EventKind::Source(_) | EventKind::Gap(_) | EventKind::Deadline => return None,
        EventKind::Link(_)
        | EventKind::Address(_)
        | EventKind::Neighbor(_)
        | EventKind::Route(_)
        | EventKind::Rule(_)
        | EventKind::Nexthop(_)
        | EventKind::DumpDone(_)
        | EventKind::Actor(_) => Seen::Netlink,
        EventKind::Bmp(_) => Seen::Bmp,
        _ if mrt.contains(&event.source) => Seen::Mrt,
        _ => Seen::Packets,
    })
}

/// Families that a finding is about: its subjects', else those of the addresses and servers it touches.
fn families(finding: &Finding) -> BTreeSet<Family> {
    let family = |addr: IpAddr| {
        if addr.is_ipv6() {
            Family::Ipv6
        } else {
            Family::Ipv4
        }
    };
    let named: BTreeSet<Family> = finding
        .subjects
        .iter()
        .filter_map(|subject| match subject {
            Subject::Address(a)
            | Subject::Neighbor(a)
            | Subject::Nexthop(a)
            | Subject::Router(a)
            | Subject::Server(a)
            | Subject::Peer(a, _) => Some(*a),
            Subject::Prefix(prefix) => Some(prefix.addr()),
            _ => None,
        })
        .map(family)
        .collect();
    if !named.is_empty() {
        return named;
    }
    let touched = finding.touches.iter().filter_map(|touch| match touch {
        Touch::Server(a) | Touch::Address(a) | Touch::Peer(a) => Some(*a),
        Touch::Prefix(prefix) => Some(prefix.addr()),
        _ => None,
    });
    let affected = finding
        .affected
        .prefixes
        .iter()
        .chain(&finding.affected.routes)
        .map(|p| p.addr());
    touched.chain(affected).map(family).collect()
}

/// What the engine finds in some of the events: kind and family.
fn found<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeSet<(Kind, Option<Family>)> {
    let (mut engine, mut told) = (Engine::new(&Settings::default()), Vec::new());
    for event in events {
        engine.handle(event, &mut told);
    }
    engine.finish(&mut told);
    let mut found = BTreeSet::new();
    for (_, finding, _) in engine.findings() {
        if matrix::families(finding.kind).is_empty() {
            found.insert((finding.kind, None));
        } else {
            found.extend(
                families(finding)
                    .into_iter()
                    .map(|family| (finding.kind, Some(family))),
            );
        }
    }
    found
}

/// The cells that a capture shows: from one kind of input alone, or from several and not without this one.
fn shown(directory: &Path) -> BTreeSet<String> {
    let events = support::events(&support::inputs_of(directory));
    let mrt: BTreeSet<SourceId> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Source(info) if info.kind == SourceKind::Mrt => Some(info.id),
            _ => None,
        })
        .collect();
    let whole = found(events.iter());
    let mut cells = BTreeSet::new();
    for seen in Seen::ALL {
        let of = |event: &&Event| input_of(event, &mrt).is_none_or(|own| own == seen);
        let not_of = |event: &&Event| input_of(event, &mrt) != Some(seen);
        if !events
            .iter()
            .any(|event| input_of(event, &mrt) == Some(seen))
        {
            continue;
        }
        let without = found(events.iter().filter(not_of));
        let needed = whole.difference(&without).copied();
        // Beside the kernel's word alone, which makes more of what the others say.
        let kernel = |event: &&Event| input_of(event, &mrt) == Some(Seen::Netlink);
        let beside = found(events.iter().filter(|event| of(event) || kernel(event)));
        let alone = found(events.iter().filter(kernel));
        let beside = beside.difference(&alone).copied();
        for (kind, family) in found(events.iter().filter(of))
            .into_iter()
            .chain(needed)
            .chain(beside)
        {
            cells.insert(matrix::key(kind, seen, family));
        }
    }
    cells
}

/// The events of a scene, in the order of time.
fn staged(scene: &scenes::Scene, view: Seen, v6: bool, quiet: bool) -> Vec<Event> {
    let mut stage = stage::Stage::new(view, v6);
    (scene.play)(&mut stage, quiet);
    let mut events = stage.events;
    events.sort_by_key(|event| event.at);
    events
}

/// Whether a scene shows its kind in a family, and would not without the view that tells it.
fn plays(scene: &scenes::Scene, view: Seen, v6: bool, quiet: bool) -> bool {
    let events = staged(scene, view, v6, quiet);
    let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
    let wanted = match matrix::families(scene.kind) {
        [] => (scene.kind, None),
        _ => (scene.kind, Some(family)),
    };
    let without = |event: &&Event| event.source != stage::VIEW;
    found(events.iter()).contains(&wanted)
        && !found(events.iter().filter(without)).contains(&wanted)
}

/// The views of BGP in which a scene is told; netlink is shown beside packets.
fn told_by(view: Seen, kind: Kind) -> Seen {
    match view {
        Seen::Netlink if kind.layer() != "feed" => Seen::Packets,
        other => other,
    }
}

/// The cells that scenes show.
fn staged_cells() -> BTreeMap<String, &'static str> {
    let mut cells = BTreeMap::new();
    for scene in scenes::SCENES {
        for view in scene.views {
            for v6 in [false, true] {
                let family = match matrix::families(scene.kind) {
                    [] => None,
                    _ if v6 => Some(Family::Ipv6),
                    _ => Some(Family::Ipv4),
                };
                if shows(scene, *view, v6, false) {
                    cells.insert(matrix::key(scene.kind, *view, family), scene.name);
                }
            }
        }
    }
    cells
}

fn shows(scene: &scenes::Scene, view: Seen, v6: bool, quiet: bool) -> bool {
    let by = told_by(view, scene.kind);
    if by == view {
        return plays(scene, view, v6, quiet);
    }
    let events = staged(scene, by, v6, quiet);
    let family = Some(if v6 { Family::Ipv6 } else { Family::Ipv4 });
    let kernel = |event: &&Event| event.source != stage::BESIDE;
    found(events.iter()).contains(&(scene.kind, family))
        && !found(events.iter().filter(kernel)).contains(&(scene.kind, family))
}

#[test]
fn every_scene_shows_its_kind_in_every_view_and_its_quiet_twin_does_not() {
    let mut wrong = Vec::new();
    for scene in scenes::SCENES {
        for view in scene.views {
            for v6 in [false, true] {
                for quiet in [false, true] {
                    if shows(scene, *view, v6, quiet) == quiet {
                        let twin = if quiet { " (its quiet twin)" } else { "" };
                        wrong.push(format!(
                            "{}{twin} by {}, IPv6 {v6}",
                            scene.name,
                            view.as_str()
                        ));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    );
}

/// The cells that the catalogue claims.
fn claimed() -> BTreeSet<String> {
    catalogue::rows()
        .flat_map(|row| {
            matrix::cells(row).map(|(seen, family)| matrix::key(row.kind, seen, family))
        })
        .collect()
}

#[test]
fn what_a_capture_proves_it_still_shows() {
    if std::env::var_os("BLESS").is_some() {
        bless();
        return;
    }
    let mut by_capture: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in matrix::proofs() {
        let (cell, capture) = line.trim_end().rsplit_once(' ').unwrap();
        by_capture
            .entry(capture)
            .or_default()
            .push(format!("{cell} "));
    }
    let claimed = claimed();
    let mut wrong = Vec::new();
    let staged = staged_cells();
    for (capture, cells) in by_capture {
        if let Some(scene) = capture.strip_prefix(matrix::SCENE) {
            for cell in cells {
                if staged.get(&cell) != Some(&scene) || !claimed.contains(&cell) {
                    wrong.push(format!("{cell}is not shown by the scene {scene}"));
                }
            }
            continue;
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("captures")
            .join(capture);
        let shown = if directory.is_dir() {
            shown(&directory)
        } else {
            BTreeSet::new()
        };
        for cell in cells {
            if !shown.contains(&cell) {
                wrong.push(format!("{cell}is not shown by {capture}"));
            }
            if !claimed.contains(&cell) {
                wrong.push(format!(
                    "{cell}is shown by {capture} and not claimed by the catalogue"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "BLESS=1 cargo test --test matrix looks for other proofs:\n  {}",
        wrong.join("\n  ")
    );
}

fn bless() {
    let claimed = claimed();
    let mut proofs: BTreeMap<String, String> = BTreeMap::new();
    let mut more: BTreeMap<String, String> = BTreeMap::new();
    for directory in support::own_scenarios() {
        let name = directory
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        for cell in shown(&directory) {
            let table = if claimed.contains(&cell) {
                &mut proofs
            } else {
                &mut more
            };
            table.entry(cell).or_insert_with(|| name.clone());
        }
    }
    for (cell, scene) in staged_cells() {
        let table = if claimed.contains(&cell) {
            &mut proofs
        } else {
            &mut more
        };
        table
            .entry(cell)
            .or_insert_with(|| format!("{}{scene}", matrix::SCENE));
    }
    let mut text = String::from(
        "# kind, input, family, capture or scene: written by BLESS=1 cargo test --test matrix\n",
    );
    for (cell, capture) in &proofs {
        text.push_str(&format!("{cell}{capture}\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/detect/catalogue/proofs.txt");
    std::fs::write(path, text).unwrap();
    for (cell, capture) in &more {
        println!("not claimed by the catalogue: {cell}({capture})");
    }
    for cell in claimed.iter().filter(|cell| !proofs.contains_key(*cell)) {
        println!("unproven: {cell}");
    }
}

#[test]
fn what_nothing_proves_has_a_reason_that_the_docs_tell() {
    let unproven: BTreeSet<(Kind, Seen)> = catalogue::rows()
        .flat_map(|row| matrix::cells(row).map(|(seen, family)| (row.kind, seen, family)))
        .filter(|(kind, seen, family)| matrix::proof(*kind, *seen, *family) == matrix::Proof::None)
        .map(|(kind, seen, _)| (kind, seen))
        .collect();
    let told: BTreeSet<(Kind, Seen)> = matrix::OPEN
        .iter()
        .map(|(kind, seen, _)| (*kind, *seen))
        .collect();
    let missing: Vec<_> = unproven.symmetric_difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn unit_tests_that_stand_for_captures_exist() {
    fn sources(at: &Path, text: &mut String) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|e| e == "rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["src", "tests"] {
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut text,
        );
    }
    for stand_in in matrix::UNIT_TESTS {
        assert!(
            text.contains(&format!("fn {}()", stand_in.test)),
            "{}",
            stand_in.test
        );
    }
}
