//! Delivery against receivers that fail on purpose: nothing is lost, nothing comes under another key, and whoever posts never waits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)] // a test's helpers fail loudly, say what they skip, and measure on the wall

mod receivers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use flapscope::deliver::http::Route;
use flapscope::deliver::plan::{Plan, Target};
use flapscope::deliver::shape::Shape;
use flapscope::deliver::sink::{alertmanager, file, syslog, webhook};
use flapscope::deliver::{Delivery, Notice, Settings, Stage, Urgency};
use receivers::{Answer, Hook, Real};
use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(40);

fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("flapscope-deliver-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn notice(id: &str, rev: u32, stage: Stage) -> Notice {
    Notice {
        id: id.to_owned(),
        rev,
        stage,
        urgency: Urgency::Warning,
        kind: "session.down".to_owned(),
        title: "session to 192.0.2.1 went down".to_owned(),
        text: "3 prefixes lost their last path".to_owned(),
        steps: Vec::new(),
        advice: Vec::new(),
        host: Some("edge1".to_owned()),
        at: "2026-12-01T01:02:03.000000004Z".to_owned(),
        opened_at: "2026-12-01T01:02:00.000000000Z".to_owned(),
        facts: vec![("peer".to_owned(), "192.0.2.1".to_owned())],
        link: None,
        body: format!("{{\"incident\":{{\"id\":\"{id}\",\"rev\":{rev}}}}}"),
        test: false,
    }
}

fn plan(name: &str, target: Target) -> Plan {
    Plan {
        name: name.to_owned(),
        bound: 10_000,
        target,
    }
}

fn to_hook(port: u16) -> Plan {
    let url = format!("http://127.0.0.1:{port}/hook").parse().unwrap();
    plan(
        "hook",
        Target::Webhook(Box::new(webhook::Settings {
            url: webhook::Address::Plain(url),
            shape: Shape::Plain,
            route: Route::default(),
            secret: None,
            routing_key: None,
            template: None,
        })),
    )
}

fn to_file(path: &Path) -> Plan {
    plan(
        "file",
        Target::File(file::Settings {
            path: path.to_owned(),
        }),
    )
}

fn start(spool: Option<&Path>, plans: &[Plan]) -> Delivery {
    let settings = Settings {
        spool: spool.map(Path::to_owned),
        ..Settings::default()
    };
    start_with(settings, plans)
}

fn start_with(settings: Settings, plans: &[Plan]) -> Delivery {
    let keep = settings.spool.clone();
    let sinks = plans
        .iter()
        .map(|plan| (plan.clone(), plan.open(keep.as_deref()).unwrap()))
        .collect();
    Delivery::start(settings, sinks).unwrap()
}

fn post(delivery: &Delivery, notice: Notice, to: &[&str]) {
    delivery.post(notice, to.iter().map(ToString::to_string).collect());
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn keys(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let key = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let incident = &value["incident"];
        format!("{}/{}", incident["id"].as_str().unwrap(), incident["rev"])
    };
    text.lines().map(key).collect()
}

#[test]
fn a_receiver_that_was_down_during_the_whole_incident_hears_its_beginning_and_its_end() {
    let folder = folder("outage");
    let port = receivers::free_port();
    let delivery = start(Some(&folder), &[to_hook(port)]);
    post(&delivery, notice("i-1", 1, Stage::Opened), &["hook"]);
    for rev in 2..=9 {
        post(&delivery, notice("i-1", rev, Stage::Updated), &["hook"]);
    }
    until("tried", || {
        delivery.inquiry().status()[0].failing_s.is_some()
    });
    post(&delivery, notice("i-1", 10, Stage::Resolved), &["hook"]);
    // A restart in the middle of the outage.
    delivery.end(Duration::ZERO);
    let delivery = start(Some(&folder), &[to_hook(port)]);
    assert_eq!(delivery.inquiry().status()[0].waiting, 2);
    let hook = Hook::start(port, |_| Answer::Status(204, ""));
    until("delivered", || hook.heard().len() == 2);
    assert_eq!(hook.ids(), ["i-1/1", "i-1/10"]);
    delivery.end(Duration::from_secs(2));
    // And the next run has nothing to repeat.
    let delivery = start(Some(&folder), &[to_hook(port)]);
    assert_eq!(delivery.inquiry().status()[0].waiting, 0);
    delivery.end(Duration::from_secs(2));
    assert_eq!(hook.heard().len(), 2);
}

#[test]
fn a_receiver_that_fails_in_every_way_gets_each_alert_in_the_end_and_under_its_key() {
    let hook = Hook::start(0, |nth| match nth {
        0 => Answer::Status(500, ""),
        1 => Answer::Reset,
        2 => Answer::Status(429, "retry-after: 1\r\n"),
        3 => Answer::Garbage,
        4 => Answer::Status(302, "location: http://192.0.2.1/\r\n"),
        5 => Answer::Status(400, ""),
        _ => Answer::Status(200, ""),
    });
    let folder = folder("failing");
    let delivery = start(Some(&folder), &[to_hook(hook.port)]);
    for n in 1..=3 {
        post(
            &delivery,
            notice(&format!("i-{n}"), 1, Stage::Opened),
            &["hook"],
        );
    }
    until("all were judged", || {
        let status = &delivery.inquiry().status()[0];
        status.delivered + status.refused == 3
    });
    let status = delivery.inquiry().status().remove(0);
    // The redirect and the 400 are final answers; what came before was tried again with the same key.
    assert_eq!(
        hook.ids(),
        [
            "i-1/1", "i-1/1", "i-1/1", "i-1/1", "i-1/1", "i-2/1", "i-3/1"
        ]
    );
    assert_eq!((status.delivered, status.refused), (1, 2));
    assert_eq!(
        (
            status.failures["serverError"],
            status.failures["rateLimited"]
        ),
        (1, 1)
    );
    let waited = hook.heard()[3].at.duration_since(hook.heard()[2].at);
    assert!(waited >= Duration::from_secs(1), "Retry-After: {waited:?}");
    delivery.end(Duration::from_secs(1));
}

#[test]
fn a_kill_in_the_middle_loses_nothing_and_a_torn_record_is_no_alert() {
    let folder = folder("kill");
    let path = folder.join("out.ndjson");
    let spool = folder.join("spool");
    let mut posted = Vec::new();
    for round in 0..5 {
        let delivery = start(Some(&spool), &[to_file(&path)]);
        for n in 0..40 {
            let id = format!("i-{round}-{n}");
            posted.push(format!("{id}/1"));
            post(&delivery, notice(&id, 1, Stage::Opened), &["file"]);
        }
        until("all are in the spool", || {
            let status = &delivery.inquiry().status()[0];
            status.waiting as u64 + status.delivered >= 40
        });
        // Killed: nothing of it runs an orderly end. What the last write left is half a record.
        std::mem::forget(delivery);
        let newest = std::fs::read_dir(&spool)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "spool"))
            .max();
        let mut octets = std::fs::read(newest.as_ref().unwrap()).unwrap();
        octets.extend([200, 0, 0, 0, 1, 2, 3, 4, b'{']);
        std::fs::write(newest.unwrap(), octets).unwrap();
    }
    until("all are there", || {
        let delivered = keys(&path);
        posted.iter().all(|key| delivered.contains(key))
    });
    assert!(
        keys(&path).iter().all(|key| posted.contains(key)),
        "no other key"
    );
}

#[test]
fn ten_thousand_alerts_are_posted_in_a_moment_and_all_arrive_once_and_in_order() {
    let folder = folder("storm");
    let path = folder.join("out.ndjson");
    let delivery = start(Some(&folder.join("spool")), &[to_file(&path)]);
    let mut longest = Duration::ZERO;
    let began = Instant::now();
    for n in 0..10_000 {
        // An engine hands over at most some thousands a second, even in a storm.
        if n % 1000 == 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        let notice = notice(&format!("i-{n}"), 1, Stage::Opened);
        let before = Instant::now();
        post(&delivery, notice, &["file"]);
        longest = longest.max(before.elapsed());
    }
    println!(
        "10,000 posted in {:?}, the longest post {longest:?}",
        began.elapsed()
    );
    until("all are there", || keys(&path).len() >= 10_000);
    println!("all delivered after {:?}", began.elapsed());
    let expected: Vec<String> = (0..10_000).map(|n| format!("i-{n}/1")).collect();
    assert_eq!(keys(&path), expected);
    assert_eq!(delivery.inquiry().overrun(), 0);
    delivery.end(Duration::from_secs(2));
}

#[test]
fn a_dead_sink_is_told_once_through_the_others_and_its_return_too() {
    let folder = folder("dead");
    let path = folder.join("out.ndjson");
    let port = receivers::free_port();
    let settings = Settings {
        spool: Some(folder.join("spool")),
        dead: Duration::from_millis(300),
        ..Settings::default()
    };
    let delivery = start_with(settings, &[to_hook(port), to_file(&path)]);
    post(&delivery, notice("i-1", 1, Stage::Opened), &["hook"]);
    let told = |path: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    until("told", || !told(&path).is_empty());
    std::thread::sleep(Duration::from_millis(1000));
    let words = told(&path);
    assert_eq!(words.len(), 1, "once: {words:?}");
    assert_eq!(
        (&words[0]["type"], &words[0]["sink"]),
        (&"delivery.dead.opened".into(), &"hook".into())
    );
    let hook = Hook::start(port, |_| Answer::Status(200, ""));
    until("back", || told(&path).len() == 2);
    assert_eq!(told(&path)[1]["type"], "delivery.dead.resolved");
    assert_eq!(told(&path)[1]["id"], words[0]["id"]);
    assert_eq!(hook.ids(), ["i-1/1"]);
    delivery.end(Duration::from_secs(1));
}

#[test]
fn what_a_bounded_queue_had_to_drop_is_counted_and_said_through_the_others() {
    let folder = folder("bound");
    let path = folder.join("out.ndjson");
    let mut hook = to_hook(receivers::free_port());
    hook.bound = 3;
    let delivery = start(None, &[hook, to_file(&path)]);
    for n in 1..=10 {
        post(
            &delivery,
            notice(&format!("i-{n}"), 1, Stage::Opened),
            &["hook"],
        );
    }
    until("said", || {
        path.exists()
            && std::fs::read_to_string(&path)
                .unwrap()
                .contains("delivery.dropped")
    });
    until("counted", || delivery.inquiry().status()[0].dropped == 7);
    delivery.end(Duration::ZERO);
}

#[test]
fn a_full_disk_keeps_alerts_in_memory_and_says_so() {
    const INSIDE: &str = "FLAPSCOPE_TEST_FULL_DISK";
    let Some(spool) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        let folder = folder("full");
        let script = format!(
            "mount -t tmpfs -o size=64k none '{0}' && exec env {INSIDE}='{0}' \"$0\" --exact a_full_disk_keeps_alerts_in_memory_and_says_so --nocapture",
            folder.display()
        );
        let this = std::env::current_exe().unwrap();
        let done = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .arg(this)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let possible = said.contains("running 1 test");
        assert!(
            possible || std::env::var_os("REQUIRE_NETNS").is_none(),
            "{done:?}"
        );
        if !possible {
            println!("SKIPPED: no right to mount a small disk");
            return;
        }
        assert!(done.status.success(), "{done:?}");
        return;
    };
    let port = receivers::free_port();
    let delivery = start(Some(&spool), &[to_hook(port)]);
    for n in 0..200 {
        let mut notice = notice(&format!("i-{n}"), 1, Stage::Opened);
        notice.text = "x".repeat(1000);
        post(&delivery, notice, &["hook"]);
    }
    until("all are kept", || {
        delivery.inquiry().status()[0].waiting == 200
    });
    let said: Vec<String> = delivery.news.try_iter().collect();
    assert!(
        said.iter().any(|line| line.contains("takes nothing")),
        "{said:?}"
    );
    let hook = Hook::start(port, |_| Answer::Status(200, ""));
    until("all arrive", || hook.heard().len() == 200);
    let expected: Vec<String> = (0..200).map(|n| format!("i-{n}/1")).collect();
    assert_eq!(hook.ids(), expected);
    delivery.end(Duration::from_secs(1));
}

#[test]
fn a_restart_knows_what_was_told_and_is_not_over() {
    let folder = folder("open");
    let path = folder.join("out.ndjson");
    let spool = folder.join("spool");
    let delivery = start(Some(&spool), &[to_file(&path)]);
    assert!(delivery.left.is_empty());
    post(&delivery, notice("i-1", 1, Stage::Opened), &["file"]);
    post(&delivery, notice("i-2", 1, Stage::Opened), &["file"]);
    post(&delivery, notice("i-2", 2, Stage::Updated), &["file"]);
    post(&delivery, notice("i-1", 2, Stage::Resolved), &["file"]);
    until("delivered", || keys(&path).len() == 4);
    let left = |delivery: &Delivery| -> Vec<(String, Vec<String>)> {
        delivery
            .left
            .iter()
            .map(|record| (record.notice.key(), record.to.clone()))
            .collect()
    };
    // Killed: the spool tells what the file beside it does not know yet.
    std::mem::forget(delivery);
    let delivery = start(Some(&spool), &[to_file(&path)]);
    assert_eq!(
        left(&delivery),
        [("i-2/2".to_owned(), vec!["file".to_owned()])]
    );
    delivery.end(Duration::from_secs(1));
    // And the file tells it when the spool's segments are long gone.
    for entry in std::fs::read_dir(&spool).unwrap() {
        let entry = entry.unwrap().path();
        if entry.extension().is_some_and(|e| e == "spool") {
            std::fs::remove_file(entry).unwrap();
        }
    }
    let delivery = start(Some(&spool), &[to_file(&path)]);
    assert_eq!(left(&delivery).len(), 1);
    post(&delivery, notice("i-2", 3, Stage::Resolved), &["file"]);
    delivery.end(Duration::from_secs(1));
    let delivery = start(Some(&spool), &[to_file(&path)]);
    assert!(delivery.left.is_empty());
    delivery.end(Duration::ZERO);
}

#[test]
fn rsyslog_takes_every_alert_with_its_structured_data() {
    let Some(rsyslog) = Real::rsyslog(&folder("rsyslog")) else {
        return;
    };
    let target = |over: &str, port: u16| {
        Target::Syslog(syslog::Settings {
            address: format!("{over}://127.0.0.1:{port}").parse().unwrap(),
            facility: 16,
            enterprise: syslog::EXAMPLE_ENTERPRISE,
            ca: None,
        })
    };
    let plans = [
        plan("tcp", target("tcp", rsyslog.port)),
        plan("udp", target("udp", rsyslog.port)),
    ];
    let delivery = start(None, &plans);
    for n in 1..=50 {
        post(
            &delivery,
            notice(&format!("i-{n}"), 1, Stage::Opened),
            &["tcp"],
        );
    }
    post(&delivery, notice("i-udp", 1, Stage::Opened), &["udp"]);
    until("all are written", || rsyslog.lines().len() == 51);
    for line in rsyslog.lines() {
        // As the configuration of the receiver writes it: facility, program, message id, structured data, message.
        assert!(
            line.starts_with("local0 flapscope session.down [flapscope@32473 incident=\"i-"),
            "{line}"
        );
        assert!(
            line.contains("peer=\"192.0.2.1\"] opened: session to 192.0.2.1"),
            "{line}"
        );
    }
    delivery.end(Duration::from_secs(1));
}

#[test]
fn alertmanager_fires_what_is_open_and_nothing_else() {
    let Some(members) = Real::alertmanagers(&folder("alertmanager")) else {
        return;
    };
    let urls = members
        .iter()
        .map(|member| member.url().parse().unwrap())
        .collect();
    let target = || {
        Target::Alertmanager(Box::new(alertmanager::Settings {
            urls,
            labels: vec![("site".to_owned(), "fra1".to_owned())],
            route: Route::default(),
        }))
    };
    let spool = folder("alertmanager-spool");
    let plans = [plan("am", target())];
    let delivery = start(Some(&spool), &plans);
    post(&delivery, notice("i-1", 1, Stage::Opened), &["am"]);
    post(&delivery, notice("i-2", 1, Stage::Opened), &["am"]);
    let firing = |member: &Real| -> BTreeMap<String, String> {
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap().to_owned();
        let alerts = member.firing();
        alerts
            .iter()
            .map(|alert| (label(alert, "incident"), label(alert, "severity")))
            .collect()
    };
    let says = |severities: &[(&str, &str)]| -> BTreeMap<String, String> {
        severities
            .iter()
            .map(|(id, s)| ((*id).to_owned(), (*s).to_owned()))
            .collect()
    };
    for member in &members {
        until("both fire", || {
            firing(member) == says(&[("i-1", "warning"), ("i-2", "warning")])
        });
    }
    let mut worse = notice("i-1", 2, Stage::Updated);
    worse.urgency = Urgency::Critical;
    post(&delivery, worse, &["am"]);
    for member in &members {
        until("one alert of the new severity, no ghost", || {
            member.firing().len() == 2
                && firing(member) == says(&[("i-1", "critical"), ("i-2", "warning")])
        });
    }
    // Killed and started again it goes on with the same alerts, and ends the one that is over.
    std::mem::forget(delivery);
    let delivery = start(Some(&spool), &plans);
    let mut over = notice("i-1", 3, Stage::Resolved);
    over.urgency = Urgency::Critical;
    post(&delivery, over, &["am"]);
    for member in &members {
        until("one is over", || {
            firing(member) == says(&[("i-2", "warning")])
        });
    }
    delivery.end(Duration::from_secs(1));
}
