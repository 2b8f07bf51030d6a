//! Annotations from a file (`analyze --annotations FILE`): one JSON object a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};

use crate::decode::annotation::{self, MAX_OCTETS};
use crate::event::annotation::Annotation;
use crate::event::text::sanitized;

/// Octets of a whole file: a million deployments.
const MAX_FILE: u64 = 256 << 20;

/// All annotations of a file in the order of their times. Blank lines and lines that begin with `#` are passed over.
pub fn read(path: &Path) -> anyhow::Result<Vec<Annotation>> {
    let name = sanitized(&path.to_string_lossy());
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut lines = BufReader::new(file.take(MAX_FILE));
    let mut found = Vec::new();
    let mut line = String::new();
    for number in 1u64.. {
        line.clear();
        let room = MAX_OCTETS as u64 + 1;
        let got = lines
            .by_ref()
            .take(room)
            .read_line(&mut line)
            .with_context(|| format!("cannot read {name}, line {number}"))?;
        if got == 0 {
            break;
        }
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match annotation::parse(text, None) {
            Ok(annotation) => found.push(annotation),
            Err(why) => bail!("{name}:{number}: {why}"),
        }
    }
    found.sort_by(|a, b| (a.from, &a.text).cmp(&(b.from, &b.text)));
    Ok(found)
}
