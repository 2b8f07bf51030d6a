//! Scenes of sessions, announcements and RPKI.

use flapscope::detect::Kind::*;
use flapscope::detect::finding::Reason;

use crate::local::session;
use crate::scene::{F, Scene, anywhere, apart, at, f, pair};

const TABLE: &[&str] = &["203.0.113.0/25", "203.0.113.128/25"];
const OTHERS: &[&str] = &["198.18.0.0/24", "198.18.1.0/24"];

pub fn all() -> Vec<Scene> {
    let mut all = Vec::new();
    let down =
        |peer: &str, seconds| session(SessionDown, peer, seconds).why(Reason::HoldTimerExpired);
    let prefix = |kind, prefix: &str, seconds| f(kind, &format!("prefix:{prefix}"), seconds);

    all.extend(pair(
        "feed-restart-repeats-state",
        f(FeedRestarted, "source:192.0.2.200", 1.0),
        f(PrefixTableTransfer, "peer:192.0.2.1", 2.0).touches(&["source:192.0.2.200"]),
        f(PrefixTableTransfer, "peer:192.0.2.1", 2.0).touches(&["source:192.0.2.201"]),
        90.0,
    ));

    // --- sessions ---
    let known = |peer: &str, id: &str, seconds| down(peer, seconds).touches(&[id]);
    all.extend(pair(
        "same-neighbor-other-session",
        known("192.0.2.1", "id:7", 1.0),
        known("2001:db8::1", "id:7", 3.0),
        known("2001:db8::2", "id:8", 3.0),
        40.0,
    ));
    all.push(apart(
        "one session expired, the other one to the same neighbor was reset by hand",
        &[
            known("192.0.2.1", "id:7", 1.0),
            session(SessionDown, "2001:db8::1", 3.0)
                .why(Reason::AdminReset)
                .touches(&["id:7"]),
        ],
    ));
    let bfd = |peer: &str, id: &str, seconds| {
        f(BfdDown, &format!("peer:{peer}"), seconds)
            .reach(1)
            .touches(&[id])
    };
    all.extend(pair(
        "same-neighbor-other-bfd",
        bfd("192.0.2.1", "id:7", 1.0),
        bfd("2001:db8::1", "id:7", 1.5),
        bfd("2001:db8::2", "id:8", 1.5),
        9.0,
    ));
    all.push(apart(
        "one BFD session timed out, the other one was told to go down",
        &[
            bfd("192.0.2.1", "id:7", 1.0).why(Reason::DetectionExpired),
            bfd("2001:db8::1", "id:7", 1.5).why(Reason::Admin),
        ],
    ));
    let restarted =
        f(SessionSpeakerRestarted, "router:192.0.2.1", 1.0).touches(&["id:7", "peer:192.0.2.1"]);
    all.extend(pair(
        "speaker-restart-drops-sessions",
        restarted,
        known("192.0.2.1", "id:7", 1.5),
        known("192.0.2.2", "id:8", 1.5),
        30.0,
    ));
    let speaker = f(SessionDown, "router:192.0.2.9", 1.0)
        .why(Reason::SpeakerGone)
        .touches(&["peer:192.0.2.1"]);
    let closed = |peer: &str| session(SessionDown, peer, 1.2).why(Reason::TcpClosed);
    all.extend(pair(
        "speaker-gone-drops-sessions",
        speaker,
        closed("192.0.2.1"),
        closed("192.0.2.2"),
        30.0,
    ));
    all.push(apart(
        "a session that is lost takes no other one along that names its peer",
        &[
            down("192.0.2.1", 1.0),
            session(SessionDown, "192.0.2.2", 1.2)
                .why(Reason::AdminReset)
                .touches(&["peer:192.0.2.1"]),
        ],
    ));
    let carries = || down("192.0.2.1", 1.0).affects(TABLE);
    let gone = |prefixes: &[&str], seconds| {
        f(PrefixMassWithdrawal, "peer:192.0.2.1", seconds).affects(prefixes)
    };
    all.extend(pair(
        "session-down-withdraws-prefixes",
        carries(),
        gone(TABLE, 1.2),
        gone(OTHERS, 1.2),
        60.0,
    ));
    let mut lasting = Scene::new(
        "what happens to its prefixes while a session is away is the session's, also late",
    );
    let session_down = lasting.root(down("192.0.2.1", 1.0).affects(TABLE).lasts(300.0));
    lasting.caused(
        gone(TABLE, 200.0),
        session_down,
        "session-down-withdraws-prefixes",
    );
    all.push(lasting);
    let graceful = || {
        session(SessionRestarted, "192.0.2.1", 1.0)
            .why(Reason::GracefulRestart)
            .affects(TABLE)
    };
    all.extend(pair(
        "restart-gives-up",
        graceful().keeps(120),
        gone(TABLE, 121.5),
        gone(OTHERS, 121.5),
        60.0,
    ));
    all.push(apart(
        "nothing is given up late that was not kept",
        &[carries(), gone(TABLE, 121.5)],
    ));
    let mut at_once = Scene::new("a session that kept nothing gave its routes up at once");
    let lost = at_once.root(session(SessionDown, "192.0.2.1", 1.0).affects(TABLE));
    at_once.caused(
        f(RouteWithdrawn, "nexthop:192.0.2.9", 6.9)
            .affects(TABLE)
            .touches(&["gateway:192.0.2.1"]),
        lost,
        "session-down-moves-kernel-routes",
    );
    at_once.findings[1].first = crate::scene::at(5.5);
    at_once.findings[1].occurrences[0].at = crate::scene::at(5.5);
    all.push(at_once);
    all.push(apart(
        "without a graceful restart a late kernel change is not the session's",
        &[
            session(SessionDown, "192.0.2.1", 1.0).affects(TABLE),
            f(RouteWithdrawn, "nexthop:192.0.2.9", 9.5).affects(TABLE),
        ],
    ));
    let sent = |peer: &str, seconds| f(PrefixTableTransfer, &format!("peer:{peer}"), seconds);
    all.extend(pair(
        "session-down-resends-table",
        down("192.0.2.1", 1.0),
        sent("192.0.2.1", 30.0),
        sent("192.0.2.2", 30.0),
        90.0,
    ));
    let empty = |peer: &str, seconds| f(SessionEmpty, &format!("peer:{peer}"), seconds);
    all.extend(pair(
        "session-comes-back-wrong",
        down("192.0.2.1", 1.0),
        empty("192.0.2.1", 30.0),
        empty("192.0.2.2", 30.0),
        90.0,
    ));
    let stalled = || f(SessionStalled, "peer:192.0.2.1", 1.0);
    all.extend(pair(
        "stalled-session-ends",
        stalled(),
        down("192.0.2.1", 60.0),
        down("192.0.2.2", 60.0),
        200.0,
    ));
    all.push(apart(
        "a stalled session that somebody resets ended by hand",
        &[
            stalled(),
            session(SessionDown, "192.0.2.1", 60.0).why(Reason::AdminReset),
        ],
    ));
    all.push(apart(
        "two ends that stall are two stalls",
        &[
            stalled(),
            f(SessionStalled, "peer:192.0.2.2", 3.0).touches(&["peer:192.0.2.1"]),
        ],
    ));
    let moved =
        |gateway: &str, seconds| f(RouteNexthopChurn, &format!("nexthop:{gateway}"), seconds);
    all.extend(pair(
        "session-down-moves-kernel-routes",
        down("192.0.2.1", 1.0),
        moved("192.0.2.1", 1.3),
        moved("192.0.2.2", 1.3),
        20.0,
    ));
    let bare = |p: &str| f(AddressUnannounced, "address:203.0.113.7", 40.0).touches(&[p]);
    all.extend(pair(
        "lost-announcement-leaves-address",
        down("192.0.2.1", 1.0).affects(&["203.0.113.7/32"]),
        bare("prefix:203.0.113.7/32"),
        bare("prefix:203.0.113.8/32"),
        90.0,
    ));

    let stuck = || f(SessionMtuBlackhole, "peer:192.0.2.1", 1.0).reach(9);
    all.extend(pair(
        "full-size-loss-ends-session",
        stuck(),
        down("192.0.2.1", 10.0),
        down("192.0.2.2", 10.0),
        60.0,
    ));
    all.push(apart(
        "a session with lost segments that somebody shuts down ended by hand",
        &[
            stuck(),
            session(SessionDown, "192.0.2.1", 10.0).why(Reason::AdminShutdown),
        ],
    ));

    // --- announcements ---
    all.extend(pair(
        "same-upstream-failure",
        f(PrefixMassWithdrawal, "peer:192.0.2.1", 1.0).affects(TABLE),
        f(PrefixMassWithdrawal, "peer:198.51.100.1", 3.0).affects(TABLE),
        f(PrefixMassWithdrawal, "peer:198.51.100.1", 3.0).affects(OTHERS),
        90.0,
    ));
    let flap = |p: &str, seconds| prefix(PrefixFlap, p, seconds);
    all.extend(pair(
        "withdrawal-removes-kernel-routes",
        flap("203.0.113.0/24", 1.0),
        prefix(RouteFlap, "203.0.113.0/24", 1.2),
        prefix(RouteFlap, "198.18.0.0/24", 1.2),
        10.0,
    ));
    let mut weather =
        Scene::new("an unstable prefix of the Internet that nobody has to act on explains nothing");
    weather.root(prefix(RouteFlap, "203.0.113.0/24", 1.2));
    weather.hidden = vec![flap("203.0.113.0/24", 1.0).quiet().0];
    all.push(weather);
    let unresolved = |gateway: &str, seconds| {
        prefix(PrefixNexthopUnresolved, "198.18.0.0/24", seconds)
            .touches(&[&format!("gateway:{gateway}")])
    };
    let mute = f(NeighborUnreachable, "neighbor:192.0.2.9", 1.0);
    all.extend(pair(
        "neighbor-lost-unresolves-prefix",
        mute,
        unresolved("192.0.2.9", 6.0),
        unresolved("192.0.2.8", 6.0),
        90.0,
    ));
    let cut = f(LinkCarrierLost, "link:wan0", 1.0);
    let through = |link: &str| unresolved("192.0.2.9", 2.0).touches(&[link]);
    all.extend(pair(
        "link-or-address-loss-hides-nexthop",
        cut,
        through("link:wan0"),
        through("link:lan0"),
        20.0,
    ));
    let hidden = |p: &str| unresolved("203.0.113.9", 2.0).touches(&[p]);
    all.extend(pair(
        "route-loss-hides-nexthop",
        prefix(RouteWithdrawn, "203.0.113.0/24", 1.0),
        hidden("prefix:203.0.113.9/32"),
        hidden("prefix:192.0.2.9/32"),
        20.0,
    ));
    let stays =
        |kind, prefixes: &[&str], seconds| f(kind, "nexthop:192.0.2.9", seconds).affects(prefixes);
    let unusable = unresolved("192.0.2.9", 1.0).affects(TABLE);
    all.extend(pair(
        "unresolved-nexthop-removes-routes",
        unusable,
        stays(RouteWithdrawn, TABLE, 2.0),
        stays(RouteWithdrawn, &["198.19.0.0/24"], 2.0),
        20.0,
    ));
    let taken = stays(RouteForeignDelete, TABLE, 1.0);
    all.extend(pair(
        "lost-route-is-not-restored",
        taken,
        stays(RouteFibMissing, TABLE, 7.0),
        stays(RouteFibMissing, OTHERS, 7.0),
        30.0,
    ));
    all.extend(pair(
        "withdrawn-route-stays",
        gone(TABLE, 1.0),
        stays(RouteFibStale, TABLE, 60.0),
        stays(RouteFibStale, OTHERS, 60.0),
        400.0,
    ));
    let blackhole = |p: &str| prefix(PrefixBlackholed, p, 3.0);
    all.extend(pair(
        "lost-address-blackholes-prefix",
        f(AddressRemoved, "address:203.0.113.7", 1.0),
        blackhole("203.0.113.7/32"),
        blackhole("203.0.113.8/32"),
        30.0,
    ));
    let stranger = || prefix(PrefixOriginConflict, "203.0.113.0/24", 1.0);
    all.extend(pair(
        "origin-conflict-moves-paths",
        stranger(),
        prefix(PrefixPathOscillation, "203.0.113.0/24", 9.0),
        prefix(PrefixPathOscillation, "198.18.0.0/24", 9.0),
        90.0,
    ));
    all.extend(pair(
        "one-announcement-many-faults",
        stranger(),
        prefix(PrefixRpkiInvalid, "203.0.113.0/24", 1.1),
        prefix(PrefixRpkiInvalid, "198.18.0.0/24", 1.1),
        30.0,
    ));
    all.push(apart(
        "two more specifics of one prefix are two findings",
        &[
            prefix(PrefixMoreSpecific, "203.0.113.0/25", 1.0),
            prefix(PrefixMoreSpecific, "203.0.113.0/26", 2.0),
        ],
    ));
    let changed = || f(RpkiVrpChanged, "source:rpki", 1.0).affects(TABLE);
    all.extend(pair(
        "vrp-change-turns-routes-invalid",
        changed(),
        prefix(PrefixRpkiInvalid, "203.0.113.0/25", 5.0),
        prefix(PrefixRpkiInvalid, "198.18.0.0/24", 5.0),
        200.0,
    ));
    all.extend(pair(
        "vrp-change-removes-kernel-routes",
        changed(),
        prefix(RouteWithdrawn, "203.0.113.0/25", 9.0),
        prefix(RouteWithdrawn, "198.18.0.0/24", 9.0),
        200.0,
    ));
    let mut back = f(RpkiCacheLost, "source:rpki", 1.0);
    back.0.ended = Some(at(60.0));
    all.push(apart(
        "ROAs that change after a cache is back are somebody's change",
        &[back, f(RpkiVrpChanged, "source:other", 3600.0)],
    ));
    all.extend(anywhere(
        "revalidation-resends-table",
        f(RpkiVrpChanged, "source:rpki", 1.0),
        f(PrefixTableTransfer, "peer:192.0.2.1", 20.0),
        90.0,
    ));
    all.extend(anywhere(
        "cache-loss-changes-roas",
        f(RpkiCacheLost, "source:rpki", 1.0),
        f(RpkiVrpChanged, "source:other", 3600.0),
        7200.0,
    ));
    all.extend(pair(
        "flap-hunts-paths",
        flap("203.0.113.0/24", 1.0),
        prefix(PrefixPathHunting, "203.0.113.0/24", 90.0),
        prefix(PrefixPathHunting, "198.18.0.0/24", 90.0),
        200.0,
    ));
    let swings = |p: &str, seconds: f64| -> F { prefix(PrefixAttributeOscillation, p, seconds) };
    all.extend(pair(
        "oscillation-shows-elsewhere",
        swings("203.0.113.0/24", 1.0),
        f(PrefixDuplicateUpdates, "peer:198.51.100.1", 9.0).affects(&["203.0.113.0/24"]),
        f(PrefixDuplicateUpdates, "peer:198.51.100.1", 9.0).affects(OTHERS),
        90.0,
    ));

    all.push(apart(
        "a session was reset and is back; seconds later prefixes go that it carries, too",
        &[
            session(SessionFlap, "192.0.2.1", 1.0)
                .why(Reason::AdminReset)
                .affects(TABLE)
                .lasts(0.5),
            gone(TABLE, 9.0),
        ],
    ));

    // --- faults of their own ---
    let mut both = Scene::new("two unrelated faults one second apart, each with its own effects");
    let link = both.root(f(LinkCarrierLost, "link:wan0", 1.0).touches(&["net:192.0.2.0/24"]));
    both.caused(down("192.0.2.1", 1.4), link, "link-down-drops-session");
    let reset = both.root(
        session(SessionDown, "198.51.100.1", 2.0)
            .why(Reason::AdminReset)
            .affects(OTHERS),
    );
    both.caused(gone(OTHERS, 2.1), reset, "session-down-withdraws-prefixes");
    all.push(both);
    all
}
