//! VRPs as JSON, in the dialects of Routinator (`json`, `jsonext`), rpki-client, StayRTR and GoRTR, read as a stream.
//!
//! They agree on an object with `roas`, each with `asn` (a number or "AS65000"), `prefix` and `maxLength`; what else they say is skipped.
//! A VRP that makes no sense fails the whole file, with the byte where it stands: half a file would make valid routes look invalid.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::event::rtr::Vrp;
use crate::event::{Prefix, Timestamp};

/// VRPs believed of one file, as many as of a cache.
const MAX_VRPS: usize = 2_000_000;
/// Octets of a file. All VRPs of 2026 are some 100 MB in Routinator's `jsonext`, the longest dialect.
const MAX_OCTETS: u64 = 1 << 30;

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct VrpFile {
    /// Ordered, without repetitions, each with the second at which it runs out, where the file tells.
    pub vrps: Vec<(Vrp, Option<i64>)>,
    /// When it was made, where the file tells.
    pub generated: Option<Timestamp>,
}

/// Counts octets. `serde_json` takes them one at a time, so that the count is where it stands.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

/// Reads a file. Errors name the file and the byte.
pub fn read(path: &Path) -> io::Result<VrpFile> {
    let name =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(name)?;
    parse(BufReader::with_capacity(1 << 16, file)).map_err(name)
}

/// Reads VRPs from a stream. Errors name the byte.
pub fn parse(input: impl Read) -> io::Result<VrpFile> {
    let count = Rc::new(Cell::new(0));
    let input = Counted {
        inner: input.take(MAX_OCTETS + 1),
        count: count.clone(),
    };
    let mut json = serde_json::Deserializer::from_reader(input);
    let mut file = VrpFile::default();
    let result = Document(&mut file)
        .deserialize(&mut json)
        .and_then(|()| json.end());
    if let Err(error) = result {
        if let Some(kind) = error.io_error_kind() {
            return Err(io::Error::new(kind, error.to_string()));
        }
        let at = count.get();
        let why = if at > MAX_OCTETS {
            format!("longer than {MAX_OCTETS} octets")
        } else {
            // serde_json's own line and column say the same less usefully: these files are one line, often.
            let text = error.to_string();
            text.split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let why = format!("byte {at}: {why}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // The same VRP from two trust anchors, or with several expiries: the last one counts.
    file.vrps.sort_unstable_by_key(|(vrp, expires)| {
        (*vrp, std::cmp::Reverse(expires.unwrap_or(i64::MAX)))
    });
    file.vrps.dedup_by_key(|(vrp, _)| *vrp);
    file.vrps.shrink_to_fit();
    Ok(file)
}

/// The outermost object.
struct Document<'a>(&'a mut VrpFile);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `roas`, as Routinator, rpki-client and StayRTR write it")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "roas" => {
                    found = true;
                    map.next_value_seed(Roas(&mut self.0.vrps))?;
                }
                "metadata" => self.0.generated = map.next_value::<Metadata>()?.time(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if found {
            Ok(())
        } else {
            Err(de::Error::custom(
                "no `roas`: this is not what Routinator, rpki-client or StayRTR write as JSON",
            ))
        }
    }
}

/// `generated` is Routinator's and StayRTR's, `buildtime` rpki-client's.
#[derive(Deserialize)]
struct Metadata {
    generated: Option<Seconds>,
    buildtime: Option<String>,
}

impl Metadata {
    fn time(self) -> Option<Timestamp> {
        let built = || -> Option<Timestamp> {
            let time: jiff::Timestamp = self.buildtime?.parse().ok()?;
            Some(Timestamp::from_parts(time.as_second(), 0))
        };
        match self.generated {
            Some(Seconds(seconds)) => Some(Timestamp::from_parts(seconds, 0)),
            None => built(),
        }
    }
}

/// A number of seconds; older tools write it as text.
struct Seconds(i64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Seconds, E> {
                Ok(Seconds(i64::try_from(value).unwrap_or(i64::MAX)))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Seconds, E> {
                Ok(Seconds(value))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Seconds, E> {
                let bad = |_| E::invalid_value(de::Unexpected::Str(value), &self);
                value.parse().map(Seconds).map_err(bad)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The array.
struct Roas<'a>(&'a mut Vec<(Vrp, Option<i64>)>);

impl<'de> DeserializeSeed<'de> for Roas<'_> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Roas<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of VRPs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(roa) = sequence.next_element::<Roa>()? {
            if self.0.len() >= MAX_VRPS {
                return Err(de::Error::custom(format_args!("more than {MAX_VRPS} VRPs")));
            }
            self.0.push((roa.vrp, roa.expires));
        }
        Ok(())
    }
}

/// One VRP, checked as it is read, so that an error stands where it is.
struct Roa {
    vrp: Vrp,
    expires: Option<i64>,
}

impl<'de> Deserialize<'de> for Roa {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Roa, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            asn: Asn,
            prefix: PrefixText,
            #[serde(rename = "maxLength")]
            max_length: Option<u8>,
            expires: Option<Seconds>,
        }
        let fields = Fields::deserialize(deserializer)?;
        let prefix = fields.prefix.0;
        let longest = if prefix.is_ipv6() { 128 } else { 32 };
        let max_len = fields.max_length.unwrap_or(prefix.len());
        if max_len < prefix.len() || max_len > longest {
            return Err(de::Error::custom(format_args!(
                "maxLength {max_len} is none for {prefix}"
            )));
        }
        Ok(Roa {
            vrp: Vrp {
                prefix,
                max_len,
                asn: fields.asn.0,
            },
            expires: fields.expires.map(|Seconds(seconds)| seconds),
        })
    }
}

struct Asn(u32);

impl<'de> Deserialize<'de> for Asn {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Asn, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Asn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an AS number like 65000 or \"AS65000\"")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Asn, E> {
                let bad = |_| E::invalid_value(de::Unexpected::Unsigned(value), &self);
                u32::try_from(value).map(Asn).map_err(bad)
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Asn, E> {
                let digits = value
                    .strip_prefix("AS")
                    .or_else(|| value.strip_prefix("as"))
                    .unwrap_or(value);
                let bad = |_| E::invalid_value(de::Unexpected::Str(value), &self);
                digits.parse().map(Asn).map_err(bad)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

struct PrefixText(Prefix);

impl<'de> Deserialize<'de> for PrefixText {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<PrefixText, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = PrefixText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a prefix like \"192.0.2.0/24\"")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<PrefixText, E> {
                value.parse().map(PrefixText).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let file = parse(text.as_bytes()).unwrap();
        file.vrps.iter().map(|(vrp, _)| vrp.to_string()).collect()
    }

    #[test]
    fn the_dialects_of_validators_say_the_same() {
        let wanted = ["192.0.2.0/24-26 AS64500", "2001:db8::/32 AS64501"];
        let routinator = r#"{"metadata":{"generated":1700000000,"generatedTime":"2023-11-14T22:13:20Z"},"roas":[
            {"asn":"AS64500","prefix":"192.0.2.0/24","maxLength":26,"ta":"ripe"},{"asn":"AS64501","prefix":"2001:db8::/32","maxLength":32,"ta":"arin"}]}"#;
        let extended = r#"{"metadata":{"generated":1700000000},"roas":[{"asn":"AS64500","prefix":"192.0.2.0/24","maxLength":26,
            "source":[{"type":"roa","uri":"rsync://example/1.roa","validity":{"notBefore":"2023-01-01T00:00:00Z"},"stale":"x"}]},
            {"asn":"AS64501","prefix":"2001:db8::/32","maxLength":32,"source":[]}],"routerKeys":[],"aspas":[{"customer":"AS1","providers":["AS2"]}]}"#;
        let rpki_client = r#"{"metadata":{"buildmachine":"x","buildtime":"2023-11-14T22:13:20Z","elapsedtime":3,"roas":2},"roas":[
            {"asn":64500,"prefix":"192.0.2.0/24","maxLength":26,"ta":"ripe","expires":1800000000},
            {"asn":64501,"prefix":"2001:db8::/32","maxLength":32,"ta":"arin","expires":1800000001}],"bgpsec_keys":[]}"#;
        let stayrtr = r#"{"metadata":{"counts":2,"generated":1700000000,"valid":1700003600},"roas":[
            {"prefix":"2001:db8::/32","maxLength":32,"asn":64501},{"prefix":"192.0.2.0/24","maxLength":26,"asn":"64500"}]}"#;
        for text in [routinator, extended, rpki_client, stayrtr] {
            assert_eq!(words(text), wanted);
            let file = parse(text.as_bytes()).unwrap();
            assert_eq!(
                file.generated,
                Some(Timestamp::from_parts(1_700_000_000, 0))
            );
        }
        let file = parse(rpki_client.as_bytes()).unwrap();
        assert_eq!(file.vrps[0].1, Some(1_800_000_000));
    }

    #[test]
    fn a_vrp_from_two_trust_anchors_is_one_and_lasts_as_long_as_the_longer() {
        let file = parse(
            r#"{"roas":[{"asn":1,"prefix":"192.0.2.0/24","expires":5},{"asn":1,"prefix":"192.0.2.0/24","expires":9}]}"#
                .as_bytes(),
        )
        .unwrap();
        assert_eq!(file.vrps.len(), 1);
        assert_eq!(file.vrps[0].1, Some(9));
    }

    #[test]
    fn errors_say_what_is_wrong_and_at_which_byte() {
        for (text, what, least) in [
            ("", "byte 0: EOF", 0),
            ("<html>", "byte 1: expected value", 1),
            ("[1]", "an object with `roas`", 1),
            ("{}", "no `roas`", 1),
            (
                r#"{"roas":[{"asn":1,"prefix":"192.0.2.0/33"}]}"#,
                "is not a prefix",
                40,
            ),
            (
                r#"{"roas":[{"asn":1,"prefix":"192.0.2.0/24","maxLength":40}]}"#,
                "maxLength 40 is none for 192.0.2.0/24",
                50,
            ),
            (
                r#"{"roas":[{"asn":-1,"prefix":"192.0.2.0/24"}]}"#,
                "an AS number",
                15,
            ),
            (
                r#"{"roas":[{"asn":"ASx","prefix":"192.0.2.0/24"}]}"#,
                "an AS number",
                15,
            ),
            (
                r#"{"roas":[{"prefix":"192.0.2.0/24"}]}"#,
                "missing field `asn`",
                20,
            ),
            (r#"{"roas":[{"asn":1,"prefix":"192.0.2.0/24""#, "EOF", 41),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
            let at: u64 = error
                .strip_prefix("byte ")
                .and_then(|rest| rest.split(':').next())
                .unwrap()
                .parse()
                .unwrap();
            assert!(at >= least && at <= text.len() as u64, "{text}: {error}");
        }
    }
}
