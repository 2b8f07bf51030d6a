//! Every labelled scenario, transformed in ways that an expert would not mind: cut, mirrored, thinned, tagged, renumbered, beside another one.
//! What must remain of its verdict is known without a new label; a verdict that hangs on how the capture was made does not survive.
//!
//! A sample runs with the other tests; `make matrix` (`MATRIX=all`) runs all of it, and the labelled corpora where they are. What is known to
//! fall short stands in `metamorphic/known.txt` with the reason, and must leave it once it holds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "metamorphic/capture.rs"]
mod capture;
#[path = "captures/judge.rs"]
mod judge;
#[path = "captures/pattern.rs"]
mod pattern;
#[path = "metamorphic/transform.rs"]
mod transform;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use capture::Capture;
use serde_json::{Value, json};
use transform::{Changed, Input, Phases, Remains, Transformation};

/// One in this many of all pairs (scenario, transformation) is in the sample, by a hash of both names: the same ones in every run.
const SAMPLE: u64 = 5;
const KNOWN: &str = include_str!("metamorphic/known.txt");

struct Scenario {
    /// `captures/link-flap`, `lab/link-flap`.
    name: String,
    expect: Value,
    label: Value,
    inputs: Vec<Input>,
}

fn parsed(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("expect.json").exists() && path.join("label.json").exists())
        .collect();
    found.sort();
    found
}

fn load(folder: &Path) -> Scenario {
    let expect = parsed(&folder.join("expect.json"));
    let inputs = judge::list(&expect, "inputs")
        .iter()
        .filter_map(Value::as_str)
        .map(|name| {
            let bytes = capture::octets(&folder.join(name));
            Input {
                name: name.trim_end_matches(".gz").to_owned(),
                capture: Capture::read(&bytes),
                bytes,
            }
        })
        .collect();
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_name)
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    };
    Scenario {
        name: format!("{}/{}", part(folder.parent()), part(Some(folder))),
        label: parsed(&folder.join("label.json")),
        expect,
        inputs,
    }
}

fn everything() -> bool {
    std::env::var("MATRIX").is_ok_and(|v| v == "all")
}

fn scenarios() -> Vec<Scenario> {
    let mut roots = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")];
    if let Some(corpus) = std::env::var_os("FLAPSCOPE_CORPUS").filter(|_| everything()) {
        roots.extend(["lab", "field"].map(|part| Path::new(&corpus).join(part)));
    }
    let only = std::env::var("CAPTURE").ok();
    let found: Vec<Scenario> = roots
        .iter()
        .flat_map(|root| folders(root))
        .filter(|path| only.as_deref().is_none_or(|name| path.ends_with(name)))
        .map(|path| load(&path))
        .collect();
    assert!(!found.is_empty(), "no scenario");
    found
}

fn phases(scenario: &Scenario) -> Option<Phases> {
    let at = |name| judge::phase(&scenario.label, name).map(|s| (s * 1e9) as i128);
    Some(Phases {
        fault: at("fault_start")?,
        end: at("record_end")?,
    })
}

/// FNV-1a: a choice that is the same on every machine.
fn chosen(scenario: &str, transformation: &str) -> bool {
    let bytes = scenario.bytes().chain(*b" ").chain(transformation.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.is_multiple_of(SAMPLE)
}

/// The program's report over these files.
fn analyze(inputs: &[Input], format: &str) -> Result<String, String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let own = format!(
        "flapscope-metamorphic-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = std::env::temp_dir().join(own);
    std::fs::create_dir(&folder).map_err(|e| e.to_string())?;
    for input in inputs {
        std::fs::write(folder.join(&input.name), &input.bytes).map_err(|e| e.to_string())?;
    }
    let done = Command::new(program())
        .current_dir(&folder)
        .env_clear()
        .args(["analyze", "--format", format])
        .args(inputs.iter().map(|i| &i.name))
        .output();
    std::fs::remove_dir_all(&folder).map_err(|e| e.to_string())?;
    let done = done.map_err(|e| e.to_string())?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(format!("{}: {said}", done.status));
    }
    String::from_utf8(done.stdout).map_err(|e| e.to_string())
}

fn program() -> String {
    std::env::var("FLAPSCOPE_BIN").unwrap_or_else(|_| {
        option_env!("CARGO_BIN_EXE_flapscope").map_or_else(|| "flapscope".to_owned(), str::to_owned)
    })
}

fn report(changed: &Changed) -> Result<Value, String> {
    let mut text = analyze(&changed.inputs, "json")?;
    for (new, old) in &changed.words {
        text = replaced(&text, new, old);
    }
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// Whole numbers only: 192.0.2.3 is no part of 192.0.2.31.
fn replaced(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let apart = !digit(before.chars().last()) && !digit(after.chars().next());
        out.push_str(before);
        out.push_str(if apart { to } else { from });
        rest = after;
    }
    out + rest
}

fn loud(report: &Value) -> Vec<&Value> {
    judge::list(report, "incidents")
        .iter()
        .filter(|i| matches!(i["severity"].as_str(), Some("warning" | "critical")))
        .collect()
}

fn kinds(report: &Value) -> BTreeSet<String> {
    let incidents = judge::list(report, "incidents").iter();
    incidents
        .flat_map(|i| std::iter::once(&i["root"]).chain(judge::list(i, "chain")))
        .filter_map(|f| f["kind"].as_str().map(str::to_owned))
        .collect()
}

/// Alerts as `judge` wants them: the incidents, told.
fn alerts(report: &Value) -> Vec<Value> {
    let incidents = judge::list(report, "incidents").iter();
    incidents
        .map(|i| json!({ "incident": { "id": i["id"] } }))
        .collect()
}

/// What is asked of the transformed scenario.
fn weaker(expect: &Value, remains: Remains) -> Value {
    let mut weaker = expect.clone();
    let fields = weaker.as_object_mut().unwrap();
    match remains {
        Remains::All => {}
        Remains::Root => {
            for field in ["effects", "findings", "affected", "also"] {
                fields.remove(field);
            }
            if let Some(root) = fields.get_mut("root").and_then(Value::as_object_mut) {
                root.remove("count");
                root.remove("reason");
            }
        }
        Remains::Nothing => {
            for field in ["root", "effects", "findings", "affected", "also"] {
                fields.remove(field);
            }
        }
    }
    weaker
}

/// In what the transformed scenario falls short.
fn problems(scenario: &Scenario, how: &Transformation, plain: &Value) -> Option<Vec<String>> {
    let changed = (how.apply)(&scenario.inputs, phases(scenario)?, &scenario.expect)?;
    let got = match report(&changed) {
        Ok(report) => report,
        // Nothing of the scenario was left.
        Err(_) if how.remains == Remains::Nothing && empty(&changed) => return None,
        Err(problem) => return Some(vec![problem]),
    };
    let expect = weaker(&scenario.expect, how.remains);
    let mut found = judge::judge(&expect, &scenario.label, &got, &alerts(&got));
    if how.remains == Remains::Nothing {
        // A symptom may be the root of what is left, but nothing new may be told.
        let mut known = kinds(plain);
        let wished = judge::wishes(&scenario.expect).into_iter();
        known.extend(
            wished
                .flat_map(|w| judge::list(w, "kinds"))
                .filter_map(|k| k.as_str().map(str::to_owned)),
        );
        for incident in loud(&got) {
            let kind = incident["kind"].as_str().unwrap_or_default();
            // A flap of which one part is left is a loss, and the other way round.
            let family = kind.split('.').next().unwrap_or_default();
            let near =
                known.contains(kind) || known.iter().any(|k| k.starts_with(&format!("{family}.")));
            if !near {
                found.push(format!("tells of {kind}, which the whole does not hold"));
            }
        }
    }
    Some(found)
}

/// What a scenario is put beside: something of another layer on the same wire at the same time, by packets alone.
#[derive(Copy, Clone)]
enum Beside {
    /// DHCP that is in order: the verdict stays.
    Calm,
    /// A fault of DHCP, one second after the scenario's own: two incidents.
    Fault,
}

const BESIDE: [(&str, Beside); 2] = [
    ("beside-calm", Beside::Calm),
    ("two-at-once", Beside::Fault),
];

/// How long after the scenario's fault its partner's begins.
const APART_NS: i128 = 1_000_000_000;

fn wants_layer(scenario: &Scenario, layers: &[&str]) -> bool {
    let kinds = judge::list(&scenario.expect["root"], "kinds");
    let is = |k: &Value| {
        k.as_str()
            .is_some_and(|k| layers.iter().any(|l| k.starts_with(l)))
    };
    !kinds.is_empty() && kinds.iter().all(is)
}

/// Its captures of packets, moved to the scenario's time.
fn packets_at(partner: &Scenario, fault: i128) -> Option<Vec<Input>> {
    let shift = fault + APART_NS - phases(partner)?.fault;
    let mut inputs = Vec::new();
    for input in &partner.inputs {
        let mut capture = input.capture.clone()?;
        if capture.frames().any(capture::Frame::is_kernel) {
            continue;
        }
        capture.each(|mut f| {
            f.at += shift;
            vec![f]
        });
        inputs.push(Input {
            name: format!("other-{}", input.name),
            bytes: capture.write(),
            capture: Some(capture),
        });
    }
    (!inputs.is_empty()).then_some(inputs)
}

/// In what a scenario beside another one falls short; the partner is the first one, from a place that hangs on both names, that fits.
fn problems_beside(scenario: &Scenario, all: &[Scenario], how: Beside) -> Option<Vec<String>> {
    if !wants_layer(scenario, &["session.", "prefix.", "link.", "bfd."]) {
        return None;
    }
    let fits = |other: &Scenario| match how {
        Beside::Fault => wants_layer(other, &["dhcp."]),
        Beside::Calm => other.name.contains("benign-dhcp") || other.name.contains("benign-pxe"),
    };
    let from = scenario.name.len() * 7 % all.len();
    let fault = phases(scenario)?.fault;
    let circle = all[from..].iter().chain(&all[..from]);
    let (partner, packets) = circle
        .filter(|other| fits(other) && other.name != scenario.name)
        .find_map(|other| {
            let packets = packets_at(other, fault)?;
            // By packets alone it must be what it is as a whole.
            let alone = Changed {
                inputs: packets.clone(),
                words: transform::Words::new(),
            };
            let told = report(&alone).ok()?;
            let mut expect = other.expect.clone();
            expect.as_object_mut()?.remove("effects");
            let mut label = other.label.clone();
            label.as_object_mut()?.remove("phases");
            judge::judge(&expect, &label, &told, &alerts(&told))
                .is_empty()
                .then_some((other, packets))
        })?;
    let mut inputs = scenario.inputs.clone();
    inputs.extend(packets);
    let changed = Changed {
        inputs,
        words: transform::Words::new(),
    };
    let got = match report(&changed) {
        Ok(report) => report,
        Err(problem) => return Some(vec![problem]),
    };
    let mut expect = scenario.expect.clone();
    if let Beside::Fault = how {
        let max = |s: &Scenario| s.expect["max"].as_u64().unwrap_or_default();
        expect["max"] = json!(max(scenario) + max(partner));
        let mut also = judge::list(&expect, "also").to_vec();
        also.push(json!({ "root": partner.expect["root"] }));
        expect["also"] = json!(also);
        // What the one must not be, the other may be.
        expect["not"] = json!([]);
    }
    let mut found = judge::judge(&expect, &scenario.label, &got, &alerts(&got));
    if let Some(first) = found.first_mut() {
        *first = format!("with {}: {first}", partner.name);
    }
    Some(found)
}

fn empty(changed: &Changed) -> bool {
    changed.inputs.iter().all(|i| {
        i.capture
            .as_ref()
            .is_some_and(|c| c.frames().next().is_none())
    })
}

/// Pairs that are known to fall short, with the reason.
fn known() -> BTreeMap<(String, String), String> {
    KNOWN
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (pair, why) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("`scenario transformation: reason`, not {line:?}"));
            let (scenario, transformation) = pair.split_once(' ').expect("two names");
            assert!(
                transform::ALL.iter().any(|t| t.name == transformation)
                    || BESIDE.iter().any(|(name, _)| *name == transformation),
                "no transformation {transformation}"
            );
            (
                (scenario.to_owned(), transformation.to_owned()),
                why.to_owned(),
            )
        })
        .collect()
}

#[test]
fn a_verdict_survives_what_an_expert_would_not_mind() {
    let (scenarios, known) = (scenarios(), known());
    let next = AtomicUsize::new(0);
    let (tried, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let untouched = Changed {
                        inputs: scenario.inputs.clone(),
                        words: transform::Words::new(),
                    };
                    let plain = report(&untouched)
                        .unwrap_or_else(|problem| panic!("{}: {problem}", scenario.name));
                    // What is wrong before is no matter of this test.
                    let holds =
                        judge::judge(&scenario.expect, &scenario.label, &plain, &alerts(&plain));
                    if !holds.is_empty() {
                        continue;
                    }
                    let alone = transform::ALL.iter().map(|how| {
                        let judged = || problems(scenario, how, &plain);
                        (
                            how.name,
                            Box::new(judged) as Box<dyn Fn() -> Option<Vec<String>> + '_>,
                        )
                    });
                    let beside = BESIDE.iter().map(|(name, how)| {
                        let judged = || problems_beside(scenario, &scenarios, *how);
                        (
                            *name,
                            Box::new(judged) as Box<dyn Fn() -> Option<Vec<String>> + '_>,
                        )
                    });
                    for (how, judged) in alone.chain(beside) {
                        if !everything() && !chosen(&scenario.name, how) {
                            continue;
                        }
                        let Some(found) = judged() else {
                            continue;
                        };
                        tried.fetch_add(1, Ordering::Relaxed);
                        let pair = (scenario.name.clone(), how.to_owned());
                        let line = match (found.is_empty(), known.get(&pair)) {
                            (true, Some(_)) => {
                                format!("{} {}: holds: take it off known.txt", pair.0, pair.1)
                            }
                            (false, None) => {
                                format!("{} {}: {}", pair.0, pair.1, found.join("\n      "))
                            }
                            _ => continue,
                        };
                        wrong.lock().unwrap().push(line);
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let tried = tried.into_inner();
    assert!(
        wrong.is_empty(),
        "{} of {tried} transformed scenarios are wrong:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    );
    eprintln!("{tried} transformed scenarios");
}
