//! A file: one JSON document a line, appended. After SIGHUP it is opened anew by its name, as logrotate wants it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::{Outcome, Sink};
use crate::deliver::Notice;

/// Owner writes, group reads: log shippers run in a group.
const MODE: u32 = 0o640;

/// Which file.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Settings {
    pub path: PathBuf,
}

impl Settings {
    /// Where it is made anew.
    pub fn folder(&self) -> PathBuf {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }
}

/// The file, open.
pub struct FileSink {
    settings: Settings,
    file: Option<File>,
}

impl FileSink {
    /// Opens it, or makes it.
    pub fn open(settings: &Settings) -> io::Result<FileSink> {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("{}: {error}", settings.path.display()),
            )
        };
        Ok(FileSink {
            settings: settings.clone(),
            file: Some(append(settings).map_err(named)?),
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(append(&self.settings)?),
        };
        let before = file.metadata()?;
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Half a line would swallow the next one. A pipe has no length.
            if before.is_file() {
                let _ = file.set_len(before.len()); // the disk is as full as before
            }
            return Err(error);
        }
        Ok(())
    }
}

fn append(settings: &Settings) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(&settings.path)
}

impl Sink for FileSink {
    fn deliver(&mut self, notice: &Notice) -> Outcome {
        let line = format!("{}\n", notice.body);
        match self.write(&line) {
            Ok(()) => Outcome::Done(format!("{} octets written", line.len())),
            Err(error) => Outcome::of_io(&error, &self.settings.path.to_string_lossy()),
        }
    }

    fn reopen(&mut self) {
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Stage;
    use crate::deliver::notice::sample;

    #[test]
    fn a_rotated_file_is_made_anew_after_a_hang_up() {
        let path =
            std::env::temp_dir().join(format!("flapscope-sink-{}.ndjson", std::process::id()));
        let rotated = path.with_extension("1");
        let settings = Settings { path: path.clone() };
        let mut sink = FileSink::open(&settings).unwrap();
        let notice = sample("i-1", 1, Stage::Opened);
        assert!(matches!(sink.deliver(&notice), Outcome::Done(_)));
        std::fs::rename(&path, &rotated).unwrap();
        sink.deliver(&notice);
        sink.reopen();
        sink.deliver(&notice);
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&rotated), lines(&path)), (2, 1));
        let _ = (std::fs::remove_file(path), std::fs::remove_file(rotated));
    }

    #[test]
    fn a_full_disk_is_tried_again() {
        let settings = Settings {
            path: "/dev/full".into(),
        };
        let mut sink = FileSink::open(&settings).unwrap();
        let outcome = sink.deliver(&sample("i-1", 1, Stage::Opened));
        assert!(matches!(outcome, Outcome::Again(..)), "{outcome:?}");
    }
}
