//! The journal, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram of fields. Each kind has a MESSAGE_ID of its own, so
//! that the catalog (`journalctl -x`) explains it, and `INTERFACE=` as networkd has it, so that `journalctl INTERFACE=up1` shows both.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::{Failure, Outcome, Reason, Sink};
use crate::deliver::Notice;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Octets of a datagram; larger ones need a sealed memory file, and what we say is no novel.
const MOST: usize = 48 << 10;

/// Which journal.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Settings {
    pub socket: PathBuf,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            socket: SOCKET.into(),
        }
    }
}

/// A way to it.
pub struct Journald {
    settings: Settings,
    socket: Option<UnixDatagram>,
}

impl Journald {
    /// Connects, if it is there already.
    pub fn open(settings: &Settings) -> Journald {
        Journald {
            settings: settings.clone(),
            socket: connect(settings).ok(),
        }
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(connect(&self.settings)?),
        };
        let sent = socket.send(datagram);
        if sent.is_err() {
            // A restarted journal has another socket of that name.
            self.socket = None;
        }
        sent.map(|_| ())
    }
}

fn connect(settings: &Settings) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(&settings.socket)?;
    // journald may be slow, not gone for ever.
    socket.set_write_timeout(Some(std::time::Duration::from_secs(10)))?;
    Ok(socket)
}

impl Sink for Journald {
    fn deliver(&mut self, notice: &Notice) -> Outcome {
        let datagram = datagram(notice);
        if datagram.len() > MOST {
            return Outcome::Never(Failure::new(Reason::Client, "too long for the journal"));
        }
        match self.send(&datagram) {
            Ok(()) => Outcome::Done(format!("{} octets sent", datagram.len())),
            Err(error) => Outcome::of_io(&error, &self.settings.socket.to_string_lossy()),
        }
    }
}

/// The MESSAGE_ID of a kind: the first half of a hash, marked as a random UUID (RFC 9562, version 8) as the catalog's format wants it.
pub fn message_id(kind: &str) -> String {
    let text = format!("flapscope message id: {kind}");
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut half = [0_u8; 16];
    half.iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    half[6] = (half[6] & 0x0f) | 0x80;
    half[8] = (half[8] & 0x3f) | 0x80;
    half.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn datagram(notice: &Notice) -> Vec<u8> {
    let mut octets = Vec::new();
    let stage = notice.stage.as_str();
    let test = if notice.test { "TEST: " } else { "" };
    let message = format!("{test}{stage}: {} ({})", notice.title, notice.id);
    let rev = notice.rev.to_string();
    let priority = notice.urgency.syslog().to_string();
    for (name, value) in [
        ("MESSAGE", message.as_str()),
        ("MESSAGE_ID", &message_id(&notice.kind)),
        ("PRIORITY", &priority),
        ("SYSLOG_IDENTIFIER", "flapscope"),
        ("FLAPSCOPE_INCIDENT", &notice.id),
        ("FLAPSCOPE_REV", &rev),
        ("FLAPSCOPE_KIND", &notice.kind),
        ("FLAPSCOPE_STATE", stage),
        ("FLAPSCOPE_SEVERITY", notice.urgency.as_str()),
        ("FLAPSCOPE_IMPACT", &notice.text),
        ("FLAPSCOPE_CHAIN", &notice.steps.join("\n")),
    ] {
        field(&mut octets, name, value);
    }
    for (name, value) in &notice.facts {
        let upper = name.to_ascii_uppercase();
        match name.as_str() {
            "interface" => field(&mut octets, &upper, value),
            _ => field(&mut octets, &format!("FLAPSCOPE_{upper}"), value),
        }
    }
    octets
}

/// A field: on one line, or with its length before it.
fn field(octets: &mut Vec<u8>, name: &str, value: &str) {
    octets.extend(name.as_bytes());
    if value.contains('\n') {
        octets.push(b'\n');
        octets.extend((value.len() as u64).to_le_bytes());
    } else {
        octets.push(b'=');
    }
    octets.extend(value.as_bytes());
    octets.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Stage;
    use crate::deliver::notice::sample;

    #[test]
    fn the_journal_gets_fields_and_text_cannot_forge_one() {
        let folder = std::env::temp_dir().join(format!("flapscope-journal-{}", std::process::id()));
        let _ = std::fs::remove_file(&folder);
        let journal = UnixDatagram::bind(&folder).unwrap();
        let mut sink = Journald::open(&Settings {
            socket: folder.clone(),
        });
        let mut notice = sample("i-1", 2, Stage::Updated);
        notice.text = "one\nPRIORITY=0".to_owned();
        assert!(matches!(sink.deliver(&notice), Outcome::Done(_)));
        let mut octets = [0; 4096];
        let got = journal.recv(&mut octets).unwrap();
        let text = String::from_utf8_lossy(&octets[..got]).into_owned();
        assert!(
            text.starts_with("MESSAGE=updated: session to 192.0.2.1"),
            "{text}"
        );
        assert!(text.contains("\nPRIORITY=2\n") && text.contains("FLAPSCOPE_PEER=192.0.2.1\n"));
        // With its length before it, a second line is a part of the value.
        assert!(text.contains("FLAPSCOPE_IMPACT\n\u{e}\0\0\0\0\0\0\0one\nPRIORITY=0\n"));
        std::fs::remove_file(folder).unwrap();
    }

    #[test]
    fn each_kind_has_a_message_id_of_its_own_for_ever() {
        assert_eq!(message_id("session.down"), message_id("session.down"));
        assert_ne!(message_id("session.down"), message_id("session.flap"));
        let id = message_id("link.flap");
        assert!(id.len() == 32 && id.as_bytes()[12] == b'8');
    }
}
