//! `docs/troubleshooting/`: one page for each family, which names all its kinds, and whose example is what the program says of a recording.
//!
//! `BLESS=1 cargo test --test troubleshooting` fills the examples from the goldens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flapscope::detect::Kind;

const MARK: &str = "<!-- captures/";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn page(family: &str) -> String {
    let path = root().join(format!("docs/troubleshooting/{family}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The first incident of a report, or what it noticed where there is none.
fn excerpt(report: &str) -> String {
    let begins = |line: &&str| {
        ["WARNING ", "CRITICAL ", "NOTICED"]
            .iter()
            .any(|head| line.starts_with(head))
    };
    let lines = report.lines().skip_while(|line| !begins(line));
    let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// The page with its example as it should be.
fn filled(page: &str) -> String {
    let Some(at) = page.find(MARK) else {
        return page.to_owned();
    };
    let (head, rest) = page.split_at(at);
    let (mark, _) = rest.split_once(" -->").expect("the mark ends");
    let name = mark.trim_start_matches("<!-- ");
    let report =
        std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    format!("{head}{mark} -->\n```text\n{}\n```\n", excerpt(&report))
}

#[test]
fn every_family_has_a_page_that_names_its_kinds_and_shows_what_the_program_says() {
    let bless = std::env::var_os("BLESS").is_some();
    let index = page("README");
    let families: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.layer()).collect();
    for family in families {
        let text = page(family);
        let want = filled(&text);
        if bless {
            std::fs::write(
                root().join(format!("docs/troubleshooting/{family}.md")),
                &want,
            )
            .unwrap();
        } else {
            assert_eq!(
                text, want,
                "{family}.md: BLESS=1 cargo test --test troubleshooting"
            );
        }
        assert!(
            index.contains(&format!("]({family}.md)")),
            "the index lacks {family}"
        );
        for kind in Kind::ALL.iter().filter(|kind| kind.layer() == family) {
            let name = format!("`{kind}`");
            assert!(
                text.contains(&name) && index.contains(&name),
                "{family}.md lacks {kind}"
            );
        }
    }
}
