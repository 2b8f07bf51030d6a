//! The causal rules: hand-made scenes with an engineer's verdict, and a mutation test that takes every rule, join, window and discriminator out
//! of the book and demands that a scene or a capture notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends here

#[path = "causes/dhcp.rs"]
mod dhcp;
#[path = "causes/kernel.rs"]
mod kernel;
#[path = "causes/local.rs"]
mod local;
#[path = "causes/routing.rs"]
mod routing;
#[path = "causes/scene.rs"]
mod scene;
mod support;

use std::collections::BTreeSet;

use flapscope::correlate::rule::{Book, Mutation};
use flapscope::correlate::rules::RULES;
use scene::{Scene, links, played};

fn scenes() -> Vec<Scene> {
    let all = [local::all(), dhcp::all(), routing::all(), kernel::all()];
    all.into_iter().flatten().collect()
}

#[test]
fn every_scene_gets_the_engineers_verdict() {
    let mut wrong = Vec::new();
    for scene in scenes() {
        let (wanted, got) = (scene.wanted(), links(&played(&scene, Book::default())));
        if wanted != got {
            wrong.push(format!(
                "{}\n  wanted {wanted:#?}\n  got {got:#?}",
                scene.name
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} scenes:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Nothing that an observer sees may depend on the order in which findings came up (law 13).
#[test]
fn the_order_of_findings_changes_no_verdict() {
    for mut scene in scenes() {
        let forward = links(&played(&scene, Book::default()));
        scene.findings.reverse();
        scene.hidden.reverse();
        assert_eq!(
            links(&played(&scene, Book::default())),
            forward,
            "{}",
            scene.name
        );
    }
}

#[test]
fn every_rule_is_shown_by_a_scene_of_its_name() {
    let scenes = scenes();
    let shown: BTreeSet<&str> = scenes
        .iter()
        .flat_map(|scene| &scene.causes)
        .flatten()
        .map(|(_, rule)| *rule)
        .collect();
    let missing: Vec<&str> = RULES
        .iter()
        .map(|rule| rule.name)
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Rules that no capture in the repository shows yet; scenes of hand-made findings stand for them. Shrinks; grows only by new rules,
/// or with a reason.
const ONLY_IN_SCENES: &[&str] = &[
    "vrp-change-removes-kernel-routes",
    "neighbor-lost-unresolves-prefix",
    "feed-restart-repeats-state",
    "link-down-removes-address",
    "link-down-loses-neighbor",
    "link-flap-restarts-dhcp",
    "address-move-flips-neighbor",
    "pool-exhausted-silences-server",
    "new-identities-empty-pool",
    "unserved-client-insists",
    "route-injection-by-server",
    "dhcp-moves-address",
    "delegation-end-removes-route",
    "request-storm-churns-routes",
    "ra-one-sender",
    "router-change-renumbers",
    "address-gone-but-announced",
    "prefix-cut-removes-address",
    "prefix-cut-removes-route",
    "delegation-cuts-prefix",
    "withdrawn-address-is-claimed-elsewhere",
    "same-neighbor-other-bfd",
    "stalled-session-ends",
    "same-upstream-failure",
    "origin-conflict-moves-paths",
    "cache-loss-changes-roas",
    "lease-end-drops-session",
    "one-actor-clears-the-interface",
    "foreign-write-drops-session",
    "route-loss-drops-session",
    "kernel-route-change-announced",
    "one-change-many-views",
    // Rules that came after the captures.
    "conflict-is-two-masters",
    "mastership-moves-address",
    "forged-frames-move-the-entry",
    "one-mac-two-machines",
    "route-change-moves-peer-path",
    "peer-path-drops-session",
    "rule-loss-drops-session",
    "speaker-gone-drops-sessions",
    // `dhcp-decline-loop` showed it while each address in use was a conflict of its own; now one machine that answers for all is one finding.
    "decline-shows-conflict",
];

#[test]
fn captures_show_the_rules_in_real_traffic() {
    let mut shown = BTreeSet::new();
    for directory in support::own_scenarios() {
        for incident in support::plain(&support::inputs_of(&directory))
            .engine
            .incidents()
        {
            shown.extend(incident.chain.iter().map(|effect| effect.rule));
        }
    }
    let unseen: Vec<&str> = RULES
        .iter()
        .map(|rule| rule.name)
        .filter(|name| !shown.contains(name) && !ONLY_IN_SCENES.contains(name))
        .collect();
    assert!(unseen.is_empty(), "no capture shows {unseen:#?}");
    let stale: Vec<&&str> = ONLY_IN_SCENES
        .iter()
        .filter(|name| shown.contains(**name))
        .collect();
    assert!(stale.is_empty(), "captures show these too: {stale:#?}");
}

fn name(part: Mutation) -> String {
    let rule = |row: usize| RULES[row].name;
    match part {
        Mutation::Rule(row) => rule(row).to_owned(),
        Mutation::Condition(row, at) => {
            format!("{} without {}", rule(row), RULES[row].when[at].name)
        }
        Mutation::Join(row) => format!("{} without its join", rule(row)),
        Mutation::Window(row) => format!("{} without its window", rule(row)),
        other => format!("{other:?}"),
    }
}

/// Without any one part of the book some verdict changes: a scene's here, or a capture's (`support::replay`).
#[test]
fn no_part_of_the_book_can_be_taken_out_unnoticed() {
    let scenes: Vec<(Scene, Vec<String>)> = scenes()
        .into_iter()
        .map(|scene| {
            let verdict = links(&played(&scene, Book::default()));
            (scene, verdict)
        })
        .collect();
    let survivors: Vec<String> = Book::parts()
        .into_iter()
        .filter(|part| {
            !scenes
                .iter()
                .any(|(scene, verdict)| links(&played(scene, Book::without(*part))) != *verdict)
        })
        .map(name)
        .collect();
    assert!(
        survivors.is_empty(),
        "{} survive:\n  {}",
        survivors.len(),
        survivors.join("\n  ")
    );
}
