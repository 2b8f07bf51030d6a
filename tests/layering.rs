//! The architecture as a test: which room of `src/` may use which, what the core must not know, and how long a file may get.
//!
//! Reads the sources as text: no compiler plug-in, and a message that names file, line and rule. Test code is exempt from the rules for edges.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each room may use besides itself: only what stands before it in the flow. Rooms not listed (`commands`, `cli`, `main`, …) wire the stages and may
/// use all; as no list names them, nothing in the flow may use them.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("event", &[]),
    ("input", &["event"]),
    ("decode", &["event", "input"]),
    ("state", &["event"]),
    ("detect", &["event", "state"]),
    ("filter", &["event", "detect"]),
    ("correlate", &["event", "state", "detect", "filter"]),
    (
        "engine",
        &[
            "event",
            "input",
            "decode",
            "state",
            "detect",
            "filter",
            "correlate",
        ],
    ),
    (
        "output",
        &["event", "state", "detect", "filter", "correlate", "engine"],
    ),
    (
        "tui",
        &[
            "event",
            "state",
            "detect",
            "filter",
            "correlate",
            "engine",
            "output",
        ],
    ),
    ("privilege", &[]),
    // Knows notices and receivers, nothing of what they are about.
    ("deliver", &[]),
];

/// Of `input`, `decode` needs only what it is handed.
const DECODE_MAY_USE_OF_INPUT: [&str; 3] = ["Item", "Record", "Format"];

/// Rooms without clock, files, sockets and tasks: time comes from events (law 1).
const CORE: [&str; 7] = [
    "event",
    "decode",
    "state",
    "detect",
    "filter",
    "correlate",
    "engine",
];
const FORBIDDEN_IN_CORE: [&str; 11] = [
    "tokio",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
];

/// Lines of code (neither blank nor comment nor test): past the ceiling a second noun is hiding in the file. Tables of rules are exempt.
const CEILING: usize = 700;
const WORTH_A_LOOK: usize = 450;
const TABLES: [&str; 1] = ["src/correlate/rules.rs"];

struct Source {
    path: PathBuf,
    /// `["state", "routes"]` for `src/state/routes.rs`.
    module: Vec<String>,
    /// Without comments and test modules; lines keep their numbers.
    code: Vec<String>,
    text: String,
    /// Only compiled for tests.
    test: bool,
}

impl Source {
    fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// The modules that it declares for tests only: `#[cfg(test)] mod NAME;`.
    fn test_modules(&self) -> Vec<Vec<String>> {
        let mut lines = self.text.lines().map(str::trim);
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if line != "#[cfg(test)]" {
                continue;
            }
            let item = lines.find(|l| !l.starts_with("#["));
            let declared = item.and_then(|l| l.strip_suffix(';'));
            let name = declared.and_then(|l| l.rsplit_once("mod ").map(|(_, name)| name));
            if let Some(name) = name {
                let parent = if self.module == ["lib"] {
                    &[][..]
                } else {
                    &self.module
                };
                found.push([parent, &[name.to_owned()]].concat());
            }
        }
        found
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_owned();
                let module = path
                    .with_extension("")
                    .iter()
                    .skip(1)
                    .map(|p| p.to_string_lossy().into_owned())
                    .collect();
                let test = text.starts_with("#![cfg(test)]");
                found.push(Source {
                    test,
                    code: code(&text),
                    path,
                    module,
                    text,
                });
            }
        }
    }
    let tests: Vec<Vec<String>> = found.iter().flat_map(Source::test_modules).collect();
    for source in &mut found {
        source.test |= tests.iter().any(|t| source.module.starts_with(t));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found.len() > 10,
        "the sources are where this test looks for them"
    );
    found
}

/// The text without comments, and without what stands behind `#[cfg(test)]`.
fn code(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut test = None;
    for line in text.lines() {
        let bare = comment_start(line).map_or(line, |at| &line[..at]);
        let indent = bare.len() - bare.trim_start().len();
        match test {
            None if bare.trim() == "#[cfg(test)]" => test = Some((indent, false)),
            None => {
                lines.push(bare.to_owned());
                continue;
            }
            // The item after the attribute: `mod tests;` and `use …;` end at once, a block ends with a brace at the same indent.
            Some((at, false))
                if !bare.trim().is_empty() && !bare.trim_start().starts_with("#[") =>
            {
                let ends = bare.trim_end().ends_with(';') || bare.trim_end().ends_with('}');
                test = if ends { None } else { Some((at, true)) };
            }
            Some((at, true)) if indent == at && bare.trim_start().starts_with('}') => test = None,
            Some(_) => {}
        }
        lines.push(String::new());
    }
    lines
}

/// Where a line comment begins; `//` inside a string (a URL) begins none.
fn comment_start(line: &str) -> Option<usize> {
    let mut quoted = false;
    let bytes = line.as_bytes();
    for at in 0..bytes.len() {
        match bytes[at] {
            b'"' if at == 0 || !matches!(bytes[at - 1], b'\\' | b'\'') => quoted = !quoted,
            b'/' if !quoted && bytes.get(at + 1) == Some(&b'/') => return Some(at),
            _ => {}
        }
    }
    None
}

/// The paths behind `crate::` (and behind as many `super::` as lead to the crate's root) in a file, with their lines: `["state", "routes", …]`.
fn edges(source: &Source) -> BTreeSet<(usize, Vec<String>)> {
    let joined = source.code.join("\n");
    let mut found = BTreeSet::new();
    let climb = "super::".repeat(source.module.len());
    for root in ["crate::", climb.as_str()] {
        for (at, _) in joined.match_indices(root) {
            let before = joined[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let line = joined[..at].matches('\n').count() + 1;
            for path in paths(&joined[at + root.len()..]) {
                found.insert((line, path));
            }
        }
    }
    found
}

/// The paths at the start of `text`: one, or as many as a brace holds. Two segments deep is enough for every rule.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(inside) = text.strip_prefix('{') {
        return split(inside).iter().flat_map(|part| paths(part)).collect();
    }
    let name: String = text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    if name.is_empty() {
        return Vec::new();
    }
    match text[name.len()..].strip_prefix("::") {
        Some(rest) if !rest.trim_start().starts_with('{') => {
            let next: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            vec![vec![name, next]]
        }
        Some(rest) => paths(rest)
            .into_iter()
            .map(|mut p| {
                p.insert(0, name.clone());
                p
            })
            .collect(),
        None => vec![vec![name]],
    }
}

/// The parts of a brace up to its end, split at its own commas.
fn split(inside: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&inside[from..at]);
                return parts;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts
}

fn contains_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part)
            && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

fn report(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} problems:\n  {}",
        problems.len(),
        problems.join("\n  ")
    );
}

#[test]
fn no_room_uses_what_stands_behind_it_in_the_flow() {
    let rooms: BTreeSet<String> = sources().iter().map(|s| s.room().to_owned()).collect();
    let mut problems = Vec::new();
    for source in sources().iter().filter(|s| !s.test) {
        let Some((room, allowed)) = MAY_USE.iter().find(|(room, _)| *room == source.room()) else {
            continue;
        };
        for (line, path) in edges(source) {
            let target = path[0].as_str();
            if rooms.contains(target) && target != *room && !allowed.contains(&target) {
                problems.push(format!(
                    "{}:{line}: {room} may not use {target}",
                    source.path.display()
                ));
            }
            let part = path.get(1).map_or("", String::as_str);
            if *room == "decode" && target == "input" && !DECODE_MAY_USE_OF_INPUT.contains(&part) {
                problems.push(format!(
                    "{}:{line}: of input, decode may use only {}",
                    source.path.display(),
                    DECODE_MAY_USE_OF_INPUT.join(", ")
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn the_core_has_no_clock_no_file_no_socket_and_no_task() {
    let mut problems = Vec::new();
    for source in sources()
        .iter()
        .filter(|s| CORE.contains(&s.room()) && !s.test)
    {
        for (number, line) in source.code.iter().enumerate() {
            for word in FORBIDDEN_IN_CORE
                .iter()
                .filter(|word| contains_word(line, word))
            {
                problems.push(format!(
                    "{}:{}: {} may not know {word}",
                    source.path.display(),
                    number + 1,
                    source.room()
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn files_stay_short_enough_to_read_at_once() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|s| !s.test) {
        let lines = source.code.iter().filter(|l| !l.trim().is_empty()).count();
        let path = source.path.display();
        if lines > CEILING && !TABLES.contains(&path.to_string().as_str()) {
            problems.push(format!("{path}: {lines} lines of code, at most {CEILING}"));
        } else if lines > WORTH_A_LOOK {
            println!("{path}: {lines} lines of code: does it hold one noun?");
        }
    }
    report(&problems);
}

#[test]
fn every_module_opens_with_what_it_owns() {
    let problems: Vec<String> = sources()
        .iter()
        .filter(|s| !s.test && s.module != ["main"])
        .filter_map(|s| {
            let path = s.path.display();
            match s.path.file_name() {
                Some(name) if name == "mod.rs" => {
                    Some(format!("{path}: foo.rs and foo/, never foo/mod.rs"))
                }
                _ if !s.text.starts_with("//!") => Some(format!("{path}: does not open with //!")),
                _ => None,
            }
        })
        .collect();
    report(&problems);
}

#[test]
fn edges_are_found_however_they_are_written() {
    let source = |text: &str| Source {
        path: "src/state/routes.rs".into(),
        module: vec!["state".into(), "routes".into()],
        code: code(text),
        text: text.into(),
        test: false,
    };
    let found = |text: &str| {
        edges(&source(text))
            .into_iter()
            .map(|(line, path)| format!("{line} {}", path.join("::")))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::event::Prefix;"), ["1 event::Prefix"]);
    assert_eq!(
        found("use crate::{detect::Kind, input::{Item, Record}};"),
        ["1 detect::Kind", "1 input::Item", "1 input::Record"]
    );
    assert_eq!(found("\nlet x = crate::engine::run();"), ["2 engine::run"]);
    assert_eq!(found("use super::super::tui;"), ["1 tui"]);
    assert!(
        found("use super::links; // crate::tui\n#[cfg(test)]\nmod tests {\n    use crate::tui;\n}")
            .is_empty()
    );
    assert_eq!(
        found("#[cfg(test)]\nmod tests;\nuse crate::tui;"),
        ["3 tui"]
    );
    assert!(
        contains_word("let t = Instant::now();", "Instant")
            && !contains_word("struct InstantReply;", "Instant")
    );
}
