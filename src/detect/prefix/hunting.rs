//! Path hunting: longer and longer paths before a withdrawal. One failure somewhere, explored by the network; no flap.

use std::collections::BTreeMap;

use crate::detect::{Board, Fidelity, Finding, FindingKey, Kind, Severity, Subject, Touch};
use crate::event::Prefix;
use crate::state::rib::RouteDelta;
use crate::state::rib::hot::Hunt;

use super::Scene;

/// D6: different paths in a row that make a hunt.
const PATHS: u8 = 3;
/// Prefixes with a finding; later hunts of others are as informative as these.
const MAX_HUNTS: usize = 512;

/// `prefix.path-hunting`.
#[derive(Clone, Default)]
pub(super) struct Hunts {
    known: BTreeMap<Prefix, FindingKey>,
}

impl Hunts {
    pub fn ended(&mut self, scene: &Scene<'_>, delta: &RouteDelta, hunt: &Hunt, board: &mut Board) {
        if hunt.paths < PATHS || hunt.shrank || hunt.last_hops <= hunt.first_hops {
            return;
        }
        let Some(prefix) = scene.rib.prefix(delta.slot) else {
            return;
        };
        if let Some(key) = self.known.get(&prefix) {
            board.update(*key, |finding| finding.support(scene.event));
            return;
        }
        if self.known.len() >= MAX_HUNTS {
            return;
        }
        let mut finding = Finding::at(
            Kind::PrefixPathHunting,
            Severity::Info,
            Subject::Prefix(prefix),
            hunt.since,
        );
        finding.support(scene.event);
        finding.also(Subject::Peer(scene.sender, None));
        finding.touch(Touch::Prefix(prefix));
        finding.touch(Touch::Peer(scene.sender));
        finding.affected.prefix(prefix);
        finding.fidelity = if scene.rib.kind.is_exact() {
            Fidelity::Exact
        } else {
            Fidelity::Compressed
        };
        finding.ended = Some(scene.event.at);
        finding.explain = format!(
            "before {} withdrew {prefix} it tried {} paths of growing length ({} to {} hops) in {:.1} s: the network searched for another way",
            scene.sender,
            hunt.paths,
            hunt.first_hops,
            hunt.last_hops,
            scene.event.at.since(hunt.since).as_secs_f64()
        );
        self.known.insert(prefix, board.raise(finding));
    }
}
