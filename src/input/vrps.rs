//! Files of VRPs as validators write them, for `analyze` and for live runs.
//!
//! What a file says is told as RTR: one way of VRPs into the model, and a live run's recording holds them as packets, file or cache. Live,
//! the file is looked at every few seconds and read again when it changed; what changed is sent as a cache would send it. A file that can
//! no longer be read is a cache that is lost: what it said stays good until it expires.

pub mod json;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::live::{LiveItem, LiveSender, SourceIds, Stop, now};
use super::rtr::pdu;
use super::station::Clock;
use super::station::tap::{Gone, Tap};
use super::synthetic::{SEGMENT, Sender};
use crate::event::rtr::{RtrEvent, RtrMessage, Timers, Vrp, VrpChange};
use crate::event::source::{OwnFeed, Unit};
use crate::event::{
    Event, EventKind, InputId, Locator, SourceId, SourceInfo, SourceKind, Timestamp,
};
use json::VrpFile;

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A file whose own time stamp is older says nothing about today: StayRTR refuses such files (`-checktime`), validators write one every
/// ten minutes to an hour.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How often a file that did not change is told to be still good: well within the longest time that RTR can say (two days).
const REPEAT_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Expiry of a file that has no time of its own: none.
pub const NEVER: u32 = u32::MAX;
/// The version that a file speaks, and the session id of its first connection.
const VERSION: u8 = 1;
const SESSION: u16 = 1;
/// The ends of its connection: RTR's port, and the first that nobody in particular has (RFC 6335 §6).
const CACHE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 323);
const ROUTER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 49_152);
/// Prefixes in one event offline, as many as a packet of a recording holds.
const BATCH: usize = 3072;

/// The VRPs that hold at `at`, and how many had run out by then.
fn in_force(file: &VrpFile, at: Timestamp) -> (Vec<Vrp>, usize) {
    let seconds = at.0.div_euclid(1_000_000_000);
    let good = |expires: Option<i64>| expires.is_none_or(|expires| expires > seconds);
    let vrps: Vec<Vrp> = file
        .vrps
        .iter()
        .filter(|(_, expires)| good(*expires))
        .map(|(vrp, _)| *vrp)
        .collect();
    let expired = file.vrps.len() - vrps.len();
    (vrps, expired)
}

/// What `from` must be told to become `to`; both ordered.
fn difference(from: &[Vrp], to: &[Vrp]) -> Vec<VrpChange> {
    let mut changes = Vec::new();
    let (mut old, mut new) = (from.iter().peekable(), to.iter().peekable());
    loop {
        let (vrp, announce) = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a == b => {
                old.next();
                new.next();
                continue;
            }
            (Some(a), Some(b)) if a < b => (**a, false),
            (Some(a), None) => (**a, false),
            (_, Some(b)) => (**b, true),
            (None, None) => return changes,
        };
        if announce {
            new.next();
        } else {
            old.next();
        }
        changes.push(VrpChange { vrp, announce });
    }
}

/// The events that bring a file's VRPs into an analysis that begins at `at`, and how many of its VRPs had run out by then.
pub fn events(file: &VrpFile, at: Timestamp) -> (Vec<Event>, usize) {
    let source = SourceInfo {
        // No input numbers so high.
        id: SourceId(u32::MAX - 1),
        input: InputId(u16::MAX),
        kind: SourceKind::Packets,
        interface: Some(format!("{}-1", OwnFeed::Vrps.name()).into()),
        host: None,
        role: None,
    };
    let (vrps, expired) = in_force(file, at);
    let id = source.id;
    let event = |kind: EventKind| Event {
        at,
        origin_at: None,
        source: id,
        locator: Locator {
            input: InputId(u16::MAX),
            unit: Unit::Record,
            // No evidence of its own.
            number: 0,
            offset: 0,
        },
        kind,
    };
    let rtr = |message: RtrMessage| {
        event(EventKind::Rtr(Box::new(RtrEvent {
            cache: CACHE,
            router: None,
            version: VERSION,
            message,
        })))
    };
    let mut events = vec![
        event(EventKind::Source(Box::new(source))),
        rtr(RtrMessage::ResetQuery),
        rtr(RtrMessage::CacheResponse { session: SESSION }),
    ];
    for batch in vrps.chunks(BATCH) {
        let changes = batch.iter().map(|vrp| VrpChange {
            vrp: *vrp,
            announce: true,
        });
        events.push(rtr(RtrMessage::Prefixes(changes.collect())));
    }
    events.push(rtr(RtrMessage::EndOfData {
        session: SESSION,
        serial: 1,
        timers: Some(timers(NEVER)),
    }));
    (events, expired)
}

const fn timers(expire: u32) -> Timers {
    Timers {
        expire,
        ..Timers::DEFAULT
    }
}

/// What tells that a file changed: also one that was replaced within the same second.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
struct Mark {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Mark {
    fn of(path: &Path) -> io::Result<Mark> {
        let meta = std::fs::metadata(path)?;
        Ok(Mark {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

/// A file that is watched.
pub struct Watched {
    path: PathBuf,
    file: VrpFile,
    mark: Mark,
    look_every: Duration,
}

impl Watched {
    /// Reads the file; a first error is the operator's to mend, so it is one.
    pub fn open(path: &Path) -> io::Result<Watched> {
        let mark = Mark::of(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        Ok(Watched {
            path: path.to_owned(),
            file: json::read(path)?,
            mark,
            look_every: LOOK_EVERY,
        })
    }

    /// The file, as it can be shown.
    pub fn name(&self) -> String {
        crate::event::text::sanitized(&self.path.display().to_string())
    }

    /// VRPs in it.
    pub fn len(&self) -> usize {
        self.file.vrps.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.file.vrps.is_empty()
    }

    /// Watches it until `stop`, or until the pipeline is gone.
    pub async fn run(self, index: usize, ids: SourceIds, out: LiveSender, mut stop: Stop) {
        let name = format!("{}-{index}", OwnFeed::Vrps.name());
        let info = ids.announce(SourceKind::Packets, Some(&name));
        let mut teller = Teller {
            name,
            path: self.path.clone(),
            source: info.id,
            number: 0,
            tap: None,
            serial: 0,
            said: None,
            told: None,
            out: out.clone(),
        };
        if out.send(LiveItem::Source(info)).await.is_err() {
            return;
        }
        let clock = Clock::start();
        let (path, mut mark) = (self.path, Some(self.mark));
        let mut current: Result<VrpFile, String> = Ok(self.file);
        // When something is to be said although the file did not change.
        let mut due = Timestamp::MIN;
        loop {
            let at = now();
            if at >= due {
                let said = match &current {
                    Ok(file) => match freshness(file, at) {
                        Ok(expire) => {
                            due = next_expiry(file, at).min(at + REPEAT_EVERY);
                            let (vrps, _) = in_force(file, at);
                            teller.tell(at, vrps, expire).await
                        }
                        Err(why) => teller.fail(at, &why).await,
                    },
                    Err(why) => teller.fail(at, why).await,
                };
                if said.is_err() {
                    return;
                }
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = clock.pause(self.look_every) => {}
            }
            let seen = Mark::of(&path);
            if let (Ok(seen), Some(known)) = (&seen, &mark)
                && seen == known
            {
                continue;
            }
            mark = seen.as_ref().ok().copied();
            let again = path.clone();
            let read = tokio::task::spawn_blocking(move || json::read(&again)).await;
            current = match read {
                Ok(Ok(file)) => Ok(file),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => return, // the runtime ends
            };
            due = Timestamp::MIN;
        }
    }
}

/// When the next VRP of a file runs out, or the file itself goes stale.
fn next_expiry(file: &VrpFile, at: Timestamp) -> Timestamp {
    let expiries = file.vrps.iter().filter_map(|(_, expires)| *expires);
    expiries
        .map(|seconds| Timestamp::from_parts(seconds, 0))
        .chain(file.generated.map(|generated| generated + STALE_AFTER))
        .filter(|expiry| *expiry > at)
        .min()
        .unwrap_or(Timestamp::MAX)
}

/// For how many seconds a file is still good.
fn freshness(file: &VrpFile, at: Timestamp) -> Result<u32, String> {
    let Some(generated) = file.generated else {
        return Ok(NEVER);
    };
    let age = at.since(generated);
    match STALE_AFTER.checked_sub(age).filter(|left| !left.is_zero()) {
        Some(left) => Ok(u32::try_from(left.as_secs()).unwrap_or(NEVER)),
        None => Err(format!(
            "it was generated at {generated}, more than a day ago"
        )),
    }
}

/// Speaks for a file as a cache.
struct Teller {
    name: String,
    path: PathBuf,
    source: SourceId,
    number: u64,
    tap: Option<Tap>,
    serial: u32,
    /// What was said last.
    said: Option<Vec<Vrp>>,
    /// The last failure that the operator was told.
    told: Option<String>,
    out: LiveSender,
}

impl Teller {
    async fn tell(&mut self, at: Timestamp, vrps: Vec<Vrp>, expire: u32) -> Result<(), Gone> {
        let mut tap = match self.tap.take() {
            Some(tap) => tap,
            None => {
                Tap::open(
                    (ROUTER, CACHE),
                    self.source,
                    self.number,
                    at,
                    self.out.clone(),
                )
                .await?
            }
        };
        let (query, changes) = match &self.said {
            Some(said) => (
                pdu::serial_query(VERSION, SESSION, self.serial),
                difference(said, &vrps),
            ),
            None => (pdu::reset_query(VERSION), difference(&[], &vrps)),
        };
        self.serial = self.serial.wrapping_add(1);
        tap.data(at, Sender::Remote, &query).await?;
        let mut octets = pdu::cache_response(VERSION, SESSION);
        for change in &changes {
            octets.extend(pdu::prefix(VERSION, change));
            if octets.len() >= SEGMENT {
                tap.data(at, Sender::Local, &octets).await?;
                octets.clear();
            }
        }
        octets.extend(pdu::end_of_data(
            VERSION,
            SESSION,
            self.serial,
            timers(expire),
        ));
        tap.data(at, Sender::Local, &octets).await?;
        self.tap = Some(tap);
        if self.said.is_none() || !changes.is_empty() || self.told.is_some() {
            let text = format!(
                "{} VRPs are in force, {} changed",
                vrps.len(),
                changes.len()
            );
            self.note(&text).await;
        }
        (self.said, self.told) = (Some(vrps), None);
        Ok(())
    }

    async fn fail(&mut self, at: Timestamp, why: &str) -> Result<(), Gone> {
        if self.told.as_deref() == Some(why) {
            return Ok(());
        }
        match self.tap.take() {
            Some(tap) => self.number = tap.close(at, Sender::Local, Some(why)).await?,
            None => {
                let out = self.out.clone();
                let ends = (ROUTER, CACHE);
                self.number = Tap::refused(ends, self.source, self.number, at, out, why).await?;
            }
        }
        self.note(&format!("cannot be used: {why}")).await;
        self.told = Some(why.to_owned());
        // What was said may run out meanwhile: the next word is everything.
        self.said = None;
        Ok(())
    }

    async fn note(&self, what: &str) {
        let text = format!("{}: {} {what}", self.name, self.path.display());
        let text = crate::event::text::sanitized(&text);
        let _ = self.out.send(LiveItem::Note(text)).await; // nobody is left to tell when the channel is gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::live::channel;

    fn vrp(text: &str, asn: u32) -> Vrp {
        let prefix: crate::event::Prefix = text.parse().unwrap();
        Vrp {
            prefix,
            max_len: prefix.len(),
            asn,
        }
    }

    #[test]
    fn a_difference_names_what_came_and_what_went() {
        let (a, b, c) = (
            vrp("192.0.2.0/24", 1),
            vrp("198.51.100.0/24", 1),
            vrp("2001:db8::/32", 1),
        );
        let words = |from: &[Vrp], to: &[Vrp]| -> Vec<String> {
            let sign = |c: &VrpChange| if c.announce { "+" } else { "-" };
            difference(from, to)
                .iter()
                .map(|c| format!("{}{}", sign(c), c.vrp.prefix))
                .collect()
        };
        assert!(words(&[a, b], &[a, b]).is_empty());
        assert_eq!(words(&[], &[a]), ["+192.0.2.0/24"]);
        assert_eq!(words(&[a, b], &[b, c]), ["-192.0.2.0/24", "+2001:db8::/32"]);
    }

    #[test]
    fn vrps_that_ran_out_before_the_input_are_not_used() {
        let file = VrpFile {
            vrps: vec![
                (vrp("192.0.2.0/24", 1), Some(100)),
                (vrp("198.51.100.0/24", 1), None),
            ],
            generated: None,
        };
        let (events, expired) = events(&file, Timestamp::from_parts(100, 0));
        assert_eq!((events.len(), expired), (5, 1));
        assert_eq!(super::events(&file, Timestamp::from_parts(99, 0)).1, 0);
    }

    #[test]
    fn a_file_with_a_time_of_its_own_goes_stale_and_one_without_does_not() {
        let mut file = VrpFile::default();
        assert_eq!(freshness(&file, Timestamp(0)), Ok(NEVER));
        file.generated = Some(Timestamp::from_parts(1000, 0));
        let at = |seconds| Timestamp::from_parts(seconds, 0);
        assert_eq!(freshness(&file, at(1000 + 86_000)), Ok(400));
        assert!(freshness(&file, at(1000 + 86_400)).is_err());
        assert!(freshness(&file, at(900)).is_ok());
    }

    #[tokio::test]
    async fn a_changed_file_is_told_as_news_and_a_broken_one_as_a_loss() {
        let path = std::env::temp_dir().join(format!("flapscope-vrps-{}.json", std::process::id()));
        let write = |roas: &str| std::fs::write(&path, format!("{{\"roas\":[{roas}]}}")).unwrap();
        let one = r#"{"asn":64500,"prefix":"192.0.2.0/24","maxLength":24}"#;
        write(one);
        let mut watched = Watched::open(&path).unwrap();
        watched.look_every = Duration::from_millis(10);
        let (out, mut items) = channel();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(watched.run(1, SourceIds::default(), out, stopped));
        let mut decoder = crate::decode::Decoder::new();
        let mut said = Vec::new();
        let mut step = 0;
        while let Some(item) = items.recv().await {
            if let Some(item) = item.as_item() {
                decoder.item(&item, &mut |event| {
                    if let EventKind::Rtr(rtr) = &event.kind {
                        said.push(format!("{:?}", rtr.message));
                    }
                });
            }
            let ends = said
                .iter()
                .filter(|word| word.starts_with("EndOfData"))
                .count();
            let lost = said.iter().any(|word| word.starts_with("Disconnected"));
            match step {
                0 if ends == 1 => {
                    write(&format!(
                        "{one},{{\"asn\":\"AS64501\",\"prefix\":\"2001:db8::/32\"}}"
                    ));
                    step = 1;
                }
                1 if ends == 2 => {
                    write("nonsense");
                    step = 2;
                }
                2 if lost => break,
                _ => {}
            }
        }
        stop.send(true).unwrap();
        task.await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(
            said.iter().any(|word| word.starts_with("SerialQuery")),
            "{said:?}"
        );
        assert!(
            said.iter().any(|word| word.contains("2001:db8::/32")),
            "{said:?}"
        );
        assert!(said.iter().any(|word| word.contains("byte")), "{said:?}");
    }
}
