//! Annotations as bytes: one JSON object, alone on a line of a file, or behind the header of an exported PDU in a capture.
//!
//! `{"at":"2026-12-01T01:00:00Z","until":…,"text":"deploy X","subjects":["link:up1"],"author":"root","silence":false}`; only `text` is
//! needed where the record has a time.

use serde::{Deserialize, Serialize};

use crate::event::annotation::{Annotation, MAX_SUBJECTS};
use crate::event::text::MAX_TEXT;
use crate::event::{Timestamp, WireText};

/// Octets of one annotation: all its texts at their longest, escaped.
pub const MAX_OCTETS: usize = 64 << 10;

/// `EXP_PDU_TAG_DISSECTOR_NAME` and what Wireshark shall show: JSON (epan/exported_pdu.h).
const DISSECTOR: [u8; 8] = [0, 12, 0, 4, b'j', b's', b'o', b'n'];
/// `EXP_PDU_TAG_END_OF_OPT`.
const END: [u8; 4] = [0; 4];
/// What makes the JSON ours: other programs write exported PDUs too.
const OURS: &str = "flapscope.annotation/1";

/// An annotation as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subjects: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    silence: bool,
}

/// One line of a file, or one message of the control socket. `now` is its time where it has none of its own.
pub fn parse(line: &str, now: Option<Timestamp>) -> Result<Annotation, String> {
    if line.len() > MAX_OCTETS {
        return Err(format!("longer than {MAX_OCTETS} octets"));
    }
    let written: Written = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let from = match (&written.at, now) {
        (Some(at), _) => time(at)?,
        (None, Some(now)) => now,
        (None, None) => return Err("no \"at\": when was it?".into()),
    };
    let until = written.until.as_deref().map(time).transpose()?;
    if until.is_some_and(|until| until <= from) {
        return Err("it ends before it begins".into());
    }
    if written.silence && until.is_none() {
        return Err("silence needs an end (\"until\")".into());
    }
    if written.text.trim().is_empty() {
        return Err("its text is empty".into());
    }
    if written.subjects.len() > MAX_SUBJECTS {
        return Err(format!("more than {MAX_SUBJECTS} subjects"));
    }
    if let Some(long) = written.subjects.iter().find(|s| s.len() > MAX_TEXT) {
        return Err(format!(
            "a subject of {} octets; at most {MAX_TEXT}",
            long.len()
        ));
    }
    let wire = |text: &String| WireText::from(text.as_str());
    Ok(Annotation {
        from,
        until,
        text: wire(&written.text),
        subjects: written.subjects.iter().map(wire).collect(),
        author: written.author.as_ref().map(wire),
        silence: written.silence,
    })
}

/// A time with its zone.
fn time(text: &str) -> Result<Timestamp, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let nanoseconds = parsed.map(jiff::Timestamp::as_nanosecond).ok();
    nanoseconds
        .and_then(|n| i64::try_from(n).ok())
        .map(Timestamp)
        .ok_or_else(|| format!("{text:?} is no time: write it like 2026-12-01T01:00:00Z"))
}

/// As one line of JSON.
pub fn write(annotation: &Annotation) -> String {
    let raw = |text: &WireText| String::from_utf8_lossy(text.octets()).into_owned();
    let written = Written {
        schema: Some(OURS.to_owned()),
        at: Some(annotation.from.to_string()),
        until: annotation.until.map(|at| at.to_string()),
        text: raw(&annotation.text),
        subjects: annotation.subjects.iter().map(raw).collect(),
        author: annotation.author.as_ref().map(raw),
        silence: annotation.silence,
    };
    serde_json::to_string(&written).unwrap_or_default()
}

/// As a packet of link type [`crate::event::annotation::LINK_TYPE`].
pub fn packet(annotation: &Annotation) -> Box<[u8]> {
    [&DISSECTOR[..], &END, write(annotation).as_bytes()]
        .concat()
        .into()
}

/// Reads [`packet`]; `None`: somebody else's PDU.
pub fn decode(packet: &[u8], at: Timestamp) -> Option<Annotation> {
    let json = packet.strip_prefix(&DISSECTOR)?.strip_prefix(&END)?;
    let text = std::str::from_utf8(json).ok()?;
    text.contains(OURS).then(|| parse(text, Some(at)).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_parts(seconds, 0)
    }

    #[test]
    fn annotations_read_back_as_they_were_written() {
        let given = Annotation {
            from: at(1_800_000_000),
            until: Some(at(1_800_000_600)),
            text: "deploy \"X\"\u{1b}[2J".into(),
            subjects: vec!["link:up1".into(), "prefix:192.0.2.0/24".into()],
            author: Some("root".into()),
            silence: true,
        };
        assert_eq!(parse(&write(&given), None).unwrap(), given);
        assert_eq!(decode(&packet(&given), at(0)).unwrap(), given);
        // Nothing of it acts on a terminal.
        assert!(!given.text.to_string().contains('\u{1b}'));
    }

    #[test]
    fn a_line_says_what_is_wrong_with_it() {
        for (line, part) in [
            ("", "EOF"),
            (r#"{"text":"x"}"#, "when was it"),
            (r#"{"text":" ","at":"2026-12-01T01:00:00Z"}"#, "empty"),
            (r#"{"text":"x","at":"yesterday"}"#, "is no time"),
            (
                r#"{"text":"x","at":"2026-12-01T01:00:00Z","until":"2026-12-01T00:00:00Z"}"#,
                "ends before",
            ),
            (
                r#"{"text":"x","at":"2026-12-01T01:00:00Z","silence":true}"#,
                "needs an end",
            ),
            (
                r#"{"txt":"x","at":"2026-12-01T01:00:00Z"}"#,
                "unknown field",
            ),
        ] {
            let error = parse(line, None).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert_eq!(parse(r#"{"text":"x"}"#, Some(at(7))).unwrap().from, at(7));
    }

    #[test]
    fn packets_of_others_are_none() {
        for packet in [
            &b""[..],
            b"\0\x0c\0\x04json\0\0\0\0{}",
            b"\0\x0c\0\x04json\0\0\0\0{\"text\":\"flapscope.annotation/1",
            &[0xff; 64],
        ] {
            assert_eq!(decode(packet, at(1)), None);
        }
    }
}
