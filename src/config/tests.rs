#![cfg(test)]

use super::*;
use crate::correlate::maintenance::When;

fn parsed(text: &str) -> Config {
    Config::parse(text, "t.toml").unwrap_or_else(|error| panic!("{error}\n{:?}", error.caret()))
}

/// The sample with its examples switched on.
fn sample() -> String {
    let text = crate::commands::config::SAMPLE;
    let on = |line: &str| {
        let example = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
        match example {
            Some(example) => example.to_owned(),
            None => line.to_owned(),
        }
    };
    text.lines().map(|line| on(line) + "\n").collect()
}

#[test]
fn the_sample_as_it_is_changes_nothing() {
    assert_eq!(parsed(crate::commands::config::SAMPLE), Config::default());
}

#[test]
fn every_example_of_the_sample_is_right_and_every_key_has_one() {
    let config = parsed(&sample());
    assert_eq!(config.own_as, [64500]);
    assert_eq!(config.dhcp_servers.len(), 2);
    assert_eq!(config.bgp_peers.len(), 1);
    assert_eq!(config.rtr[0].to_string(), "rpki.example.net:3323");
    assert_eq!(config.maintenance.len(), 2);
    let set = [
        config.own_prefixes.is_empty(),
        config.dhcp_relays.is_empty(),
        config.routers.is_empty(),
        config.gateways.is_empty(),
        config.interfaces.is_empty(),
        config.bmp.is_empty(),
        config.bmp_ports.is_empty(),
        config.bgp_listen.is_empty(),
        config.as_number.is_none(),
        config.router_id.is_none(),
        config.rtr_ca.is_none(),
        config.vrps.is_none(),
        config.socket.is_none(),
        config.state.is_none(),
        config.http.is_none(),
        config.spool.is_none(),
        config.spool_megabytes.is_none(),
        config.report_url.is_none(),
    ];
    assert!(!set.contains(&true), "{config:?}");
}

#[test]
fn every_kind_of_sink_has_an_example_and_none_shows_a_secret() {
    let config = parsed(&sample());
    let shown: Vec<String> = config
        .sinks
        .iter()
        .map(|sink| format!("{}: {}", sink.plan.name, sink.plan.target))
        .collect();
    assert_eq!(
        shown,
        [
            "alertmanager: alertmanager https://am1.example.net:9093 https://am2.example.net:9093",
            "mattermost: mattermost credential:mattermost-url",
            "automation: webhook https://hooks.example.net",
            "pager: pagerduty https://events.pagerduty.com",
            "central-syslog: syslog tls://logs.example.net:6514",
            "journal: journald",
            "archive: file /var/lib/flapscope/alerts.ndjson",
            "ticket: exec /usr/local/bin/open-ticket",
        ]
    );
}

#[test]
fn a_wrong_sink_is_an_error_with_its_place_and_a_secret_in_the_file_is_not_repeated() {
    let wrong = |text: &str| Config::parse(text, "f").unwrap_err();
    let said = |text: &str| wrong(text).to_string();
    let sink = |rest: &str| format!("[[sink]]\nname = \"a\"\n{rest}\n");
    assert!(said("[[sink]]\ntype = \"file\"\n").contains("needs a name"));
    assert!(said(&sink("type = \"fille\"")).contains("did you mean \"file\"?"));
    assert!(said(&sink("type = \"file\"")).contains("needs `path`"));
    assert!(said(&sink("type = \"webhook\"\nurl = \"ftp://x/\"")).contains("f:4:7"));
    assert!(
        said(&sink("type = \"file\"\npath = \"/x\"\nseverity = \"loud\"")).contains("critical")
    );
    let two = sink("type = \"journald\"").repeat(2);
    assert!(said(&two).contains("two sinks"));
    let leak = wrong(&sink(
        "type = \"webhook\"\nurl = \"http://x/\"\nsecret = \"hunter2\"",
    ));
    let all = format!("{leak} {:?} {}", leak, leak.caret().unwrap());
    assert!(
        all.contains("do not stand in this file") && !all.contains("hunter2"),
        "{all}"
    );
}

#[test]
fn a_range_becomes_the_prefixes_that_are_exactly_it() {
    let config = parsed(
        "[own]\nranges = [\"198.51.100.10-198.51.100.17\", \"2001:db8::/64\", \"255.255.255.255-255.255.255.255\"]",
    );
    let shown: Vec<String> = config
        .own_prefixes
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "198.51.100.10/31",
            "198.51.100.12/30",
            "198.51.100.16/31",
            "2001:db8::/64",
            "255.255.255.255/32"
        ]
    );
    let all = parsed(
        "[own]\nranges = [\"0.0.0.0-255.255.255.255\", \"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\"]",
    );
    let shown: Vec<String> = all.own_prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["0.0.0.0/0", "::/0"]);
}

#[test]
fn a_mistake_is_told_with_line_column_and_what_was_meant() {
    for (text, line, column, part) in [
        ("[own]\nprefixs = []\n", 2, 1, "did you mean `prefixes`?"),
        ("[owned]\n", 1, 2, "did you mean `own`?"),
        (
            "[service]\ncolour = 1\n",
            2,
            1,
            "there are socket, http, state",
        ),
        (
            "[own]\nprefixes = [\"10.0.0.0/8\", \"10.0.0.0/33\"]",
            2,
            27,
            "is not a prefix",
        ),
        (
            "[own]\nranges = [\"10.0.0.9-10.0.0.1\"]",
            2,
            11,
            "ends before it begins",
        ),
        ("[own]\nasns = [\"x\"]", 2, 9, "invalid type"),
        (
            "[declared]\nrouters = [\"fe80::1%eth0\"]",
            2,
            12,
            "fe80::1%eth0",
        ),
        (
            "[watch]\nbgp-listen = [\"127.0.0.1:1790\"]",
            2,
            15,
            "needs `as`",
        ),
        (
            "[watch]\nrtr = [\"ssh://a:1\"]",
            2,
            8,
            "neither tcp nor tls",
        ),
        ("[own\n", 1, 5, ""),
        (
            "[[maintenance]]\nevery = \"Sun 02:00 UTC\"\nfor = \"1h\"",
            1,
            1,
            "needs a name",
        ),
        (
            "[[maintenance]]\nname = \"x\"\nevery = \"Sun 02:00\"\nfor = \"1h\"",
            3,
            9,
            "time zone",
        ),
        (
            "[[maintenance]]\nname = \"x\"\nevery = \"Sun 02:00 UTC\"\nfor = \"9d\"",
            4,
            7,
            "",
        ),
        (
            "[[maintenance]]\nname = \"x\"\nevery = \"Sun 02:00 UTC\"\nfor = \"200h\"",
            4,
            7,
            "more than a week",
        ),
        (
            "[[maintenance]]\nname = \"x\"\nstart = 2026-12-01T01:00:00\nend = 2026-12-01T02:00:00Z",
            3,
            9,
            "time zone",
        ),
        (
            "[[maintenance]]\nname = \"x\"\nstart = 2026-12-01T01:00:00Z\nend = 2026-12-01T00:00:00Z",
            4,
            7,
            "not behind the start",
        ),
        (
            "[[maintenance]]\nname = \"x\"\nstart = 2026-12-01T01:00:00Z",
            1,
            1,
            "start and end",
        ),
        (
            "[[maintenance]]\nname = \"x\"\nevery = \"Sun 02:00 UTC\"\nfor = \"1h\"\nsubjects = \"iff:up1\"",
            5,
            12,
            "did you mean if?",
        ),
    ] {
        match Config::parse(text, "t.toml") {
            Err(ConfigError::Wrong {
                line: l,
                column: c,
                message,
                shown,
                ..
            }) => {
                assert_eq!((l, c), (line, column), "{text}\n{message}\n{shown}");
                assert!(message.contains(part), "{text}\n{message}");
                assert!(shown.contains('^'));
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_was_typed_goes_before_the_file_list_by_list() {
    let config = parsed(
        "[own]\nprefixes = [\"192.0.2.0/24\"]\nasns = [64500]\n[watch]\ninterfaces = [\"eth0\"]\nbmp = [\"127.0.0.1:1\"]",
    );
    let mine = Mine {
        own_prefix: vec!["198.51.100.0/24".parse().unwrap()],
        ..Mine::default()
    };
    let settings = config.settings(&mine);
    assert_eq!(settings.own_prefixes, mine.own_prefix);
    assert_eq!(settings.own_as, [64500]);
    let mut live = Live {
        interface: vec!["up1".into()],
        ..Live::default()
    };
    config.complete(&mut live);
    assert_eq!(live.interface, ["up1"]);
    assert_eq!(live.bmp.len(), 1);
    let mut quiet = Live {
        no_packets: true,
        ..Live::default()
    };
    config.complete(&mut quiet);
    assert!(quiet.interface.is_empty());
}

#[test]
fn once_and_weekly_windows_are_read() {
    let config = parsed(
        "[[maintenance]]\nname = \"a\"\nstart = 2026-12-01T02:00:00+01:00\nfor = \"90m\"\n[[maintenance]]\nname = \"b\"\nevery = \"day 23:00 UTC\"\nfor = \"2h\"\nsubjects = \"if:up1\"",
    );
    let When::Once { from, until } = config.maintenance[0].when else {
        panic!("{:?}", config.maintenance[0]);
    };
    assert_eq!(from.to_string(), "2026-12-01T01:00:00.000000000Z");
    assert_eq!(until.since(from).as_secs(), 5400);
    assert_eq!(config.maintenance[1].about.as_str(), "if:up1");
}
