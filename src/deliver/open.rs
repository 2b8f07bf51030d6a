//! What was told and is not over: kept beside the spool, so that a restarted program goes on under the same ids instead of opening everything
//! anew and leaving what it forgot open for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spool;
use super::worker::Record;

const SCHEMA: &str = "flapscope.open/1";
const FILE: &str = "open.state";
/// More than are open in a bad night; the least recent go first.
const MAX: usize = 1000;
/// Octets that are believed of the file.
const MAX_OCTETS: u64 = 64 << 20;

/// Notices that are open, by id.
#[derive(Debug, Default)]
pub(super) struct Open {
    path: Option<PathBuf>,
    /// Number and record of the last word about each.
    known: BTreeMap<String, (u64, Record)>,
    /// Their numbers and ids, the oldest first: in a storm each word makes one go, and a search of all for it let the channel run full.
    by_age: BTreeSet<(u64, String)>,
    /// What is kept knows everything below this number.
    upto: u64,
    changed: bool,
}

#[derive(Deserialize)]
struct Written {
    schema: String,
    /// Everything below this number is in it.
    upto: u64,
    open: Vec<(u64, Record)>,
}

/// The same on its way out.
#[derive(Serialize)]
struct Writes<'a> {
    schema: &'a str,
    upto: u64,
    open: Vec<&'a (u64, Record)>,
}

impl Open {
    /// Reads what was kept in `folder`, and up to which number. A file that cannot be read is none.
    pub(super) fn read(folder: Option<&Path>) -> (Open, u64) {
        let path = folder.map(|folder| folder.join(FILE));
        let read = || -> Option<Written> {
            let path = path.as_ref()?;
            let small = fs::metadata(path).ok()?.len() <= MAX_OCTETS;
            let written = serde_json::from_slice(&fs::read(path).ok().filter(|_| small)?);
            written
                .ok()
                .filter(|written: &Written| written.schema == SCHEMA)
        };
        let (words, upto) = read().map_or((Vec::new(), 0), |written| (written.open, written.upto));
        let mut open = Open {
            path,
            upto,
            ..Open::default()
        };
        for (number, record) in words {
            open.insert(number, record);
        }
        (open, upto)
    }

    /// Another word.
    pub(super) fn heard(&mut self, number: u64, record: &Record) {
        if self.path.is_none() || record.notice.test {
            return;
        }
        self.changed = true;
        if record.notice.is_over() {
            self.remove(&record.notice.id);
            return;
        }
        self.insert(number, record.clone());
        if self.known.len() > MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.known.remove(&oldest);
        }
    }

    fn insert(&mut self, number: u64, record: Record) {
        let id = record.notice.id.clone();
        self.remove(&id);
        self.by_age.insert((number, id.clone()));
        self.known.insert(id, (number, record));
    }

    fn remove(&mut self, id: &str) {
        if let Some((number, record)) = self.known.remove(id) {
            self.by_age.remove(&(number, record.notice.id));
        }
    }

    /// Everything that is open.
    pub(super) fn all(&self) -> Vec<Record> {
        self.known
            .values()
            .map(|(_, record)| record.clone())
            .collect()
    }

    /// What is kept knows everything below this number; the spool must not forget what comes after.
    pub(super) fn upto(&self) -> u64 {
        self.upto
    }

    /// Keeps it, if it changed; `upto` is the next number.
    pub(super) fn keep(&mut self, upto: u64) {
        let (true, Some(path)) = (std::mem::take(&mut self.changed), &self.path) else {
            // Nothing was said meanwhile that it does not know.
            self.upto = upto;
            return;
        };
        let writes = Writes {
            schema: SCHEMA,
            upto,
            open: self.known.values().collect(),
        };
        let kept = serde_json::to_vec(&writes)
            .map_err(std::io::Error::from)
            .and_then(|octets| spool::replace(path, &octets, false));
        // A full disk: tried again with the next word; until then the spool tells the rest.
        match kept {
            Ok(()) => self.upto = upto,
            Err(_) => self.changed = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Stage;
    use crate::deliver::notice::sample;

    fn record(id: &str, rev: u32, stage: Stage) -> Record {
        Record {
            to: vec!["ops".to_owned()],
            notice: sample(id, rev, stage),
        }
    }

    #[test]
    fn of_too_many_the_least_recent_go_and_a_new_word_makes_one_recent() {
        let mut open = Open {
            path: Some("/nowhere".into()),
            ..Open::default()
        };
        let most = MAX as u64;
        for number in 0..most {
            open.heard(number, &record(&format!("i-{number}"), 1, Stage::Opened));
        }
        open.heard(most, &record("i-0", 2, Stage::Updated));
        open.heard(most + 1, &record("i-new", 1, Stage::Opened));
        let known = |open: &Open, id: &str| open.known.contains_key(id);
        assert!(known(&open, "i-0") && known(&open, "i-new") && !known(&open, "i-1"));
        open.heard(most + 2, &record("i-0", 3, Stage::Resolved));
        assert!(!known(&open, "i-0"));
        assert_eq!((open.known.len(), open.by_age.len()), (MAX - 1, MAX - 1));
    }
}
