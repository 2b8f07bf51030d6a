#![cfg(test)]

use super::*;
use crate::detect::{Finding, Kind, Subject};
use crate::event::Timestamp;

fn filter(text: &str) -> Filter {
    text.parse()
        .unwrap_or_else(|error: FilterError| panic!("{text}: {error}\n{}", error.caret()))
}

fn error(text: &str) -> FilterError {
    text.parse::<Filter>()
        .expect_err(&format!("{text} is no filter"))
}

fn finding() -> Finding {
    let mut finding = Finding::at(
        Kind::SessionDown,
        Severity::Warning,
        Subject::Peer("192.0.2.1".parse().unwrap(), None),
        Timestamp(0),
    );
    finding.also(Subject::Link("up1".into()));
    finding.also(Subject::As(65_001));
    finding.also(Subject::Mac("02:00:5e:00:53:01".parse().unwrap()));
    finding.explain = "The session to 192.0.2.1 (AS65001) went down".into();
    for prefix in ["198.51.100.0/24", "2001:db8:1::/48", "0.0.0.0/0"] {
        finding.affected.prefix(prefix.parse().unwrap());
    }
    finding
}

#[test]
fn every_term_of_the_language_says_what_it_should() {
    let row = finding();
    for (text, matches) in [
        ("", true),
        ("   ", true),
        ("went", true),
        ("WENT down", true),
        ("went up1", true),
        ("\"went down\"", true),
        ("\"down went\"", false),
        ("!went", false),
        ("!!went", true),
        ("absent,went", true),
        ("absent went", false),
        ("192.0.2", true),
        // Severity.
        ("sev:warn", true),
        ("sev:warning", true),
        ("sev:warn+", true),
        ("sev:info+", true),
        ("sev:crit", false),
        ("sev:info,critical", false),
        ("!sev:critical", true),
        // Kinds, states.
        ("kind:session", true),
        ("kind:session.down", true),
        ("kind:link,session", true),
        ("kind:session.flap", false),
        ("kind:*.down", true),
        ("state:active", true),
        ("state:ended", false),
        // Subjects, with and without the word.
        ("subject:link:up1", true),
        ("link:up1", true),
        ("subject:up", true),
        ("link:up2", false),
        // Names are whole.
        ("if:up1", true),
        ("if:up", false),
        ("if:up*", true),
        ("if:*1", true),
        ("if:*2*", false),
        // Prefixes by containment; an address asks what contains it, and the default route contains nothing in particular.
        ("prefix:198.51.100.0/24", true),
        ("prefix:198.51.0.0/16", true),
        ("prefix:198.51.100.128/25", false),
        ("prefix:198.51.100.7", true),
        ("prefix:203.0.113.7", false),
        ("prefix:2001:db8::/32", true),
        ("prefix:2001:db8:1::1", true),
        ("prefix:default", true),
        ("prefix:0.0.0.0/0", true),
        ("prefix:203.0.113.0/24,198.51.100.0/24", true),
        // Peers.
        ("peer:192.0.2.1", true),
        ("peer:192.0.2.10", false),
        ("peer:192.0.2.0/24", true),
        ("peer:192.0", true),
        ("peer:10.9", false),
        // Numbers.
        ("asn:65001", true),
        ("asn:AS65001", true),
        ("asn:as65001", true),
        ("asn:65000-65010", true),
        ("asn:65002", false),
        // MACs.
        ("mac:02:00:5e", true),
        ("mac:02-00-5E-00-53-01", true),
        ("mac:02:00:5f", false),
        ("mac:*:01", true),
        // What looks like an address and has no key is a word.
        ("02:00:5e:00:53:01", true),
        ("2001:db8", false),
        // All together.
        ("sev:warn+ kind:session !asn:65002 if:up1,up2 went", true),
        ("sev:warn+ kind:session !asn:65001", false),
    ] {
        assert_eq!(filter(text).matches(&row), matches, "{text}");
    }
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, at, len, part) in [
        ("sev:loud", 4, 4, "info, warn, critical"),
        ("kind:session sve:warn", 13, 3, "did you mean sev?"),
        ("colour:red", 0, 6, "there are sev kind"),
        ("prefix:10.0.0.0/33", 7, 11, "not a prefix"),
        ("asn:x", 4, 1, "no AS number"),
        ("mac:zz", 4, 2, "no part of a MAC"),
        ("up1 !", 4, 1, "something to negate"),
        ("kind:", 0, 5, "needs a value"),
        ("kind:a,,b", 5, 4, "between commas"),
        ("a \"b c", 2, 1, "not closed"),
    ] {
        let error = error(text);
        assert_eq!((error.at, error.len), (at, len), "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
    assert_eq!(error("up1 sev:loud").caret(), "up1 sev:loud\n        ^^^^");
    // The caret stands under the mistake, whatever is before it.
    assert_eq!(error("é sev:x").caret(), "é sev:x\n      ^");
    assert_eq!(error("é sev:x").column(), 7);
}

#[test]
fn quotes_take_the_meaning_from_commas_stars_colons_and_spaces() {
    let mut row = finding();
    row.explain = "a,b *c key:value \"q\"".into();
    for text in ["\"a,b\"", "\"*c\"", "\"key:value\"", r#""\"q\"""#] {
        assert!(filter(text).matches(&row), "{text}");
    }
}

#[test]
fn no_text_is_too_long_too_deep_or_too_strange() {
    assert!(error(&"a ".repeat(600)).message.contains("octets"));
    assert!(error(&"a ".repeat(100)).message.contains("terms"));
    assert!(
        error(&format!("kind:{}", "a,".repeat(100)))
            .message
            .contains("values")
    );
    for text in [
        "\\",
        "\"\\",
        "!\"\"",
        ":",
        "::",
        ",",
        "é:é",
        "\u{202e}:x",
        "if:\"\"",
    ] {
        // Whatever it is, it is answered, and the caret can be drawn.
        if let Err(error) = text.parse::<Filter>() {
            assert!(error.caret().contains('^'), "{text}");
        }
    }
    // A hostile pattern ends.
    let row = finding();
    assert!(!filter(&format!("if:{}", "*a".repeat(300))).matches(&row));
}

#[test]
fn a_subject_gives_the_filter_that_finds_it() {
    let row = finding();
    for subject in &row.subjects {
        let filter = Filter::about(subject);
        assert!(
            !filter.is_empty() && filter.matches(&row),
            "{subject}: {filter}"
        );
    }
    let client = Subject::Client("00:01:00:01".into());
    assert_eq!(
        Filter::about(&client).as_str(),
        "subject:client:00:01:00:01"
    );
    let odd = Subject::Link("my,if".into());
    assert_eq!(Filter::about(&odd).as_str(), "if:\"my,if\"");
    let local = Subject::Peer("fe80::1".parse().unwrap(), Some("up1".into()));
    let mut row = finding();
    row.also(local.clone());
    assert!(Filter::about(&local).matches(&row));
}

#[test]
fn what_a_row_does_not_have_is_not_asked_of_it() {
    struct Row;
    impl Facts for Row {
        fn any(&self, _: Key, _: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
            false
        }
        fn text(&self, _: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
            false
        }
        fn has(&self, key: Key) -> bool {
            key != Key::Sev
        }
    }
    assert!(filter("sev:warn+").matches(&Row));
    assert!(filter("!sev:warn+").matches(&Row));
    assert!(!filter("if:up1").matches(&Row));
}
