//! What a live run writes: alerts to standard output as they become known, everything else to standard error.

use std::io::{self, Write};

use super::Mode;
use super::screen::LiveScreen;
use crate::cli::LiveFormat;
use crate::commands::analyze::style;
use crate::correlate::Told;
use crate::input::record::Summary;
use crate::output::alert::{Alert, AlertKind, Host, severity};
use crate::output::report::{self, Style};

/// Standard output, until nobody reads it any more.
struct Out {
    to: io::BufWriter<io::Stdout>,
    muted: bool,
}

impl Write for Out {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.muted {
            return Ok(octets.len());
        }
        self.to.write(octets).map_err(gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.muted {
            return Ok(());
        }
        self.to.flush().map_err(gone)
    }
}

/// A terminal that was hung up answers with EIO; it is as gone as a closed pipe.
fn gone(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::EIO) {
        io::ErrorKind::BrokenPipe.into()
    } else {
        error
    }
}

/// Writes alerts.
pub struct Teller {
    format: LiveFormat,
    mode: Mode,
    host: Option<String>,
    style: Style,
    out: Out,
    dirty: bool,
    told: u64,
    /// Standard error takes nothing any more, either.
    silent: bool,
    /// A screen instead of lines, where it is here; screens elsewhere are served beside them.
    pub screen: Option<LiveScreen>,
}

impl Teller {
    /// For this host.
    pub fn new(format: LiveFormat, mode: Mode, host: Option<String>) -> Teller {
        Teller {
            format,
            mode,
            host,
            style: style(),
            out: Out {
                to: io::BufWriter::new(io::stdout()),
                muted: false,
            },
            dirty: false,
            told: 0,
            silent: false,
            screen: None,
        }
    }

    /// Whoever writes a word waits for ever.
    pub fn silence(&mut self) {
        self.mute();
        self.silent = true;
    }

    /// Nobody reads alerts any more.
    pub fn mute(&mut self) {
        self.out.muted = true;
    }

    /// Says what is watched before anything happens.
    pub fn begin(&mut self, watched: &[String]) -> io::Result<()> {
        let host = self.host.as_deref().unwrap_or("this host").to_owned();
        if let Some(screen) = &mut self.screen {
            screen.begin(watched);
            if screen.here {
                return Ok(());
            }
        }
        match self.format {
            // A recording may go to standard output.
            _ if self.mode == Mode::Record => watched.iter().try_for_each(|line| self.note(line)),
            LiveFormat::Text => {
                writeln!(self.out, "flapscope watches {host} (^C ends):")?;
                for line in watched {
                    writeln!(self.out, "  {line}")?;
                }
                self.out.flush()
            }
            LiveFormat::Json => {
                for line in watched {
                    self.note(line)?;
                }
                Ok(())
            }
        }
    }

    /// A sentence for whoever runs the program.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        if let Some(screen) = &mut self.screen {
            // Standard error is the screen's terminal too.
            screen.note(text);
            if screen.here {
                return Ok(());
            }
        }
        self.flush()?;
        if self.silent {
            return Ok(());
        }
        // A closed stderr is nobody who wants to know.
        let _ = writeln!(
            io::stderr(),
            "flapscope: {}",
            crate::event::text::sanitized(text)
        );
        Ok(())
    }

    /// Writes an alert of a room.
    pub fn tell(&mut self, room: Option<&str>, said: &Told) -> anyhow::Result<()> {
        if self.mode == Mode::Record {
            return Ok(());
        }
        self.told += 1;
        if let Some(screen) = &mut self.screen {
            screen.told();
            if screen.here {
                return Ok(());
            }
        }
        self.dirty = true;
        let host = Host {
            name: self.host.clone(),
        };
        let alert = Alert::new(said, &host.inside(room));
        match self.format {
            LiveFormat::Json => {
                serde_json::to_writer(&mut self.out, &alert)?;
                self.out.write_all(b"\n")?;
            }
            LiveFormat::Text => {
                let word = match alert.kind {
                    AlertKind::Opened => "opened",
                    AlertKind::Updated => "updated",
                    AlertKind::Resolved => "resolved",
                };
                let place = room.map(|room| format!(" [{room}]")).unwrap_or_default();
                let (Told::Opened(incident) | Told::Updated(incident) | Told::Resolved(incident)) =
                    said;
                writeln!(
                    self.out,
                    "{} {:<8} {word:<8} {}{place}  {}",
                    report::clock(incident.updated_at),
                    severity(incident.severity),
                    incident.id,
                    incident.title,
                )?;
                if alert.kind != AlertKind::Updated {
                    let text = report::incident_text(incident, self.style);
                    self.out.write_all(text.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Lets the reader see what was written.
    pub fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.out.flush()?;
        }
        Ok(())
    }

    /// The last words.
    pub fn end(&mut self, late: u64, recorded: Option<&Summary>) -> io::Result<()> {
        let silent = self.mode == Mode::Tell && self.told == 0;
        if self.format == LiveFormat::Text && silent {
            writeln!(self.out, "nothing happened that is worth an alert")?;
        }
        self.out.flush()?;
        if let Some(summary) = recorded {
            self.note(&format!(
                "recorded {} frames of {} sources in {} file(s)",
                summary.frames,
                summary.sources.len(),
                summary.files
            ))?;
            for source in summary.sources.iter() {
                self.note(&format!(
                    "{}: {} frames, {} known to be lost",
                    source.name, source.frames, source.lost
                ))?;
            }
        }
        if let Some(summary) = recorded.filter(|summary| summary.shed > 0) {
            self.note(&format!(
                "the recording is short of {} frames: the disk was full",
                summary.shed
            ))?;
        }
        if late > 0 {
            self.note(&format!(
                "{late} records came later than {} ms and were judged when they came",
                crate::input::merge::live::WATERMARK.as_millis()
            ))?;
        }
        Ok(())
    }
}
