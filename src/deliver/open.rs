//! What was told and is not over: kept beside the spool, so that a restarted program goes on under the same ids instead of opening everything
//! anew and leaving what it forgot open for ever.

use std::collections::BTreeMap;
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
    /// What is kept knows everything below this number.
    upto: u64,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Written {
    schema: String,
    /// Everything below this number is in it.
    upto: u64,
    open: Vec<(u64, Record)>,
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
        let (known, upto) = match read() {
            Some(written) => {
                let by_id =
                    |(number, record): (u64, Record)| (record.notice.id.clone(), (number, record));
                (written.open.into_iter().map(by_id).collect(), written.upto)
            }
            None => (BTreeMap::new(), 0),
        };
        let open = Open {
            path,
            known,
            upto,
            changed: false,
        };
        (open, upto)
    }

    /// Another word.
    pub(super) fn heard(&mut self, number: u64, record: &Record) {
        if self.path.is_none() || record.notice.test {
            return;
        }
        self.changed = true;
        if record.notice.is_over() {
            self.known.remove(&record.notice.id);
            return;
        }
        self.known
            .insert(record.notice.id.clone(), (number, record.clone()));
        if self.known.len() > MAX {
            let oldest = self.known.iter().min_by_key(|(_, (number, _))| *number);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.known.remove(&id);
            }
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
        let written = Written {
            schema: SCHEMA.to_owned(),
            upto,
            open: self.known.values().cloned().collect(),
        };
        let kept = serde_json::to_vec(&written)
            .map_err(std::io::Error::from)
            .and_then(|octets| spool::replace(path, &octets, false));
        // A full disk: tried again with the next word; until then the spool tells the rest.
        match kept {
            Ok(()) => self.upto = upto,
            Err(_) => self.changed = true,
        }
    }
}
