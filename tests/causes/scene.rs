//! Hand-made findings, and what an engineer says caused what. A scene names the rule that must link each pair; whatever is not linked is a root.

use std::time::Duration;

use flapscope::correlate::Correlator;
use flapscope::correlate::explain::{Surroundings, Visibility};
use flapscope::correlate::incident::Incident;
use flapscope::correlate::rule::Book;
use flapscope::detect::finding::Reason;
use flapscope::detect::{Board, Finding, Kind, Severity, Subject, Touch};
use flapscope::event::Timestamp;
use flapscope::state::NetState;

/// Seconds from the begin of the scenes' day.
pub fn at(seconds: f64) -> Timestamp {
    Timestamp(1_700_000_000_000_000_000 + (seconds * 1e9) as i64)
}

/// A finding in the making.
#[derive(Clone)]
pub struct F(pub Finding);

/// A finding of `kind` about something (`link:eth0`, `peer:192.0.2.1`, `prefix:203.0.113.0/24`…) that begins at a time.
pub fn f(kind: Kind, subject: &str, seconds: f64) -> F {
    F(Finding::at(
        kind,
        Severity::Warning,
        subject_of(subject),
        at(seconds),
    ))
    .touches(&[subject])
}

fn subject_of(text: &str) -> Subject {
    let (what, value) = text.split_once(':').expect("a subject is type:value");
    match what {
        "link" => Subject::Link(value.into()),
        "address" => Subject::Address(value.parse().expect("an address")),
        "neighbor" => Subject::Neighbor(value.parse().expect("an address")),
        "nexthop" => Subject::Nexthop(value.parse().expect("an address")),
        "prefix" => Subject::Prefix(value.parse().expect("a prefix")),
        "peer" => Subject::Peer(value.parse().expect("an address"), None),
        "router" => Subject::Router(value.parse().expect("an address")),
        "server" => Subject::Server(value.parse().expect("an address")),
        "client" => Subject::Client(value.into()),
        "source" => Subject::Source(value.into()),
        _ => panic!("{text}"),
    }
}

impl F {
    /// Join keys: `link: net: address: peer: gateway: prefix: as: mac: id: server: client: source:`.
    pub fn touches(mut self, keys: &[&str]) -> F {
        for key in keys {
            let (what, value) = key.split_once(':').expect("a key is type:value");
            let addr = || value.parse().expect("an address");
            match what {
                "link" => self.0.touch(Touch::Interface(value.into())),
                "net" => self
                    .0
                    .touch(Touch::OnLink(value.parse().expect("a prefix"))),
                "address" => self.0.touch(Touch::Address(addr())),
                "peer" => self.0.touch(Touch::Peer(addr())),
                "gateway" | "nexthop" => self.0.touch(Touch::Gateway(addr())),
                "prefix" => self
                    .0
                    .touch(Touch::Prefix(value.parse().expect("a prefix"))),
                "as" => self.0.touch(Touch::As(value.parse().expect("a number"))),
                "mac" => self.0.touch(Touch::Mac(value.parse().expect("a MAC"))),
                "id" => self
                    .0
                    .touch(Touch::RouterId(value.parse().expect("a number"))),
                "server" => self.0.touch(Touch::Server(addr())),
                "client" => self.0.touch(Touch::Client(value.into())),
                "source" => self.0.touch(Touch::Feed(value.into())),
                "neighbor" => {
                    self.0.touch(Touch::Address(addr()));
                    self.0.touch(Touch::Gateway(addr()));
                    self.0.touch(Touch::Peer(addr()));
                }
                "router" => {
                    self.0.touch(Touch::Gateway(addr()));
                    self.0.touch(Touch::Server(addr()));
                    self.0.touch(Touch::Address(addr()));
                }
                _ => panic!("{key}"),
            }
        }
        self
    }

    /// Further occurrences.
    pub fn again(mut self, times: &[f64]) -> F {
        for time in times {
            self.0.again_at(at(*time));
        }
        self
    }

    /// BGP prefixes that it affected.
    pub fn affects(mut self, prefixes: &[&str]) -> F {
        for prefix in prefixes {
            self.0.affected.prefix(prefix.parse().expect("a prefix"));
        }
        self
    }

    pub fn why(mut self, reason: Reason) -> F {
        self.0.reason = Some(reason);
        self
    }

    /// Its negotiated timer.
    pub fn reach(mut self, seconds: u64) -> F {
        self.0.reach = Some(Duration::from_secs(seconds));
        self
    }

    /// Its restart time.
    pub fn keeps(mut self, seconds: u64) -> F {
        self.0.keeps = Some(Duration::from_secs(seconds));
        self
    }

    /// Both ends of its session.
    pub fn ends(mut self, local: &str, remote: &str) -> F {
        let addr = |text: &str| text.parse().expect("an address");
        self.0.session = Some(flapscope::detect::finding::SessionEnds {
            local: addr(local),
            remote: addr(remote),
            local_as: None,
            remote_as: None,
            vrf: None,
            observers: vec!["packets"],
        });
        self
    }

    pub fn actor(mut self, who: &str) -> F {
        self.0.actor = Some(who.to_owned());
        self
    }

    pub fn quiet(mut self) -> F {
        self.0.severity = Severity::Info;
        self
    }

    /// The first occurrence is over after so many seconds.
    pub fn lasts(mut self, seconds: f64) -> F {
        if let Some(first) = self.0.occurrences.first_mut() {
            first.until = Some(first.at + Duration::from_secs_f64(seconds));
        }
        self
    }

    /// The same, later.
    pub fn later(mut self, seconds: f64) -> F {
        let by = (seconds * 1e9) as i64;
        self.0.first = Timestamp(self.0.first.0 + by);
        self.0.last = Timestamp(self.0.last.0 + by);
        for occurrence in &mut self.0.occurrences {
            occurrence.at = Timestamp(occurrence.at.0 + by);
            occurrence.until = occurrence.until.map(|until| Timestamp(until.0 + by));
        }
        self
    }
}

/// A scene: findings, and for each of them the index of its cause with the rule's name, or nothing.
pub struct Scene {
    pub name: String,
    pub findings: Vec<Finding>,
    pub causes: Vec<Option<(usize, &'static str)>>,
    /// Findings that are in no incident.
    pub hidden: Vec<Finding>,
}

impl Scene {
    pub fn new(name: &str) -> Scene {
        Scene {
            name: name.to_owned(),
            findings: Vec::new(),
            causes: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// A finding that nothing caused.
    pub fn root(&mut self, finding: F) -> usize {
        self.findings.push(finding.0);
        self.causes.push(None);
        self.findings.len() - 1
    }

    /// A finding that `cause` caused by `rule`.
    pub fn caused(&mut self, finding: F, cause: usize, rule: &'static str) -> usize {
        let at = self.root(finding);
        self.causes[at] = Some((cause, rule));
        at
    }

    /// Who must hang below whom, as [`links`] tells it.
    pub fn wanted(&self) -> Vec<String> {
        let mut wanted: Vec<String> = self
            .causes
            .iter()
            .enumerate()
            .map(|(at, cause)| match cause {
                None => format!("{} is a root", told(&self.findings[at])),
                Some((cause, rule)) => format!(
                    "{} <- {rule} <- {}",
                    told(&self.findings[at]),
                    told(&self.findings[*cause])
                ),
            })
            .collect();
        wanted.sort();
        wanted
    }
}

fn told(finding: &Finding) -> String {
    let subject = finding.subjects.first().map(ToString::to_string);
    format!(
        "{} {} {}",
        finding.kind,
        subject.unwrap_or_default(),
        finding.first
    )
}

/// Who hangs below whom in these incidents.
pub fn links(incidents: &[Incident]) -> Vec<String> {
    let mut links = Vec::new();
    for incident in incidents {
        links.push(format!("{} is a root", told(&incident.root)));
        for effect in &incident.chain {
            let cause = std::iter::once(&incident.root)
                .chain(incident.chain.iter().map(|e| &e.finding))
                .find(|f| f.id() == effect.cause);
            links.push(format!(
                "{} <- {} <- {}",
                told(&effect.finding),
                effect.rule,
                cause.map(told).unwrap_or_default()
            ));
        }
    }
    links.sort();
    links
}

/// What the correlator makes of the scene when it follows `book`.
pub fn played(scene: &Scene, book: Book) -> Vec<Incident> {
    let (mut board, mut correlator) = (Board::default(), Correlator::new(book));
    let visibility = Visibility {
        kernel: true,
        ..Visibility::default()
    };
    let net = NetState::default();
    let changes = flapscope::correlate::changes::Changes::default();
    let around = Surroundings {
        visibility: &visibility,
        net: &net,
        gaps: &[],
        changes: &changes,
    };
    for finding in scene.findings.iter().chain(&scene.hidden) {
        board.raise(finding.clone());
    }
    let end = scene
        .findings
        .iter()
        .map(|f| f.last)
        .max()
        .expect("a scene has findings");
    correlator.board_changed(end);
    correlator.finish(end, &mut board, &around, &mut Vec::new());
    correlator.incidents(&board, &around)
}

/// Cause and effect of a rule; the same effect where nothing joins them; and the same effect when it is too late.
pub fn pair(rule: &'static str, cause: F, effect: F, elsewhere: F, late: f64) -> Vec<Scene> {
    let mut together = Scene::new(&format!("{rule}: together"));
    let at = together.root(cause.clone());
    together.caused(effect.clone(), at, rule);
    vec![
        together,
        apart(&format!("{rule}: elsewhere"), &[cause.clone(), elsewhere]),
        apart(&format!("{rule}: too late"), &[cause, effect.later(late)]),
    ]
}

/// Cause and effect of a rule that needs no object in common; and the same effect when it is too late.
pub fn anywhere(rule: &'static str, cause: F, effect: F, late: f64) -> Vec<Scene> {
    let mut scenes = pair(rule, cause, effect.clone(), effect, late);
    scenes.remove(1);
    scenes
}

/// Findings that have nothing to do with each other.
pub fn apart(name: &str, findings: &[F]) -> Scene {
    let mut scene = Scene::new(name);
    for finding in findings {
        scene.root(finding.clone());
    }
    scene
}
