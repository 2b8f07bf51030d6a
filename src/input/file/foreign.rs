//! Files that are captures or archives of other kinds: not read, but known by their first octets, so that the refusal says what to do.

use super::bytes::be16;

/// What a file is that is not read.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Foreign {
    /// With its article.
    pub name: &'static str,
    pub way: Way,
}

/// How it becomes something that is read.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Way {
    /// Wireshark's reader knows it.
    Editcap,
    /// It holds files.
    Unpack(&'static str),
}

impl Way {
    /// The command for this file.
    pub fn command(self, file: &str) -> String {
        let quoted = quoted(file);
        match self {
            Way::Editcap => format!("convert it: editcap -F pcapng {quoted} {quoted}.pcapng"),
            Way::Unpack(tool) => format!("unpack it first: {tool} {quoted}"),
        }
    }
}

/// As a shell takes it.
fn quoted(file: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+=:,@%".contains(c);
    if !file.is_empty() && file.chars().all(plain) {
        file.to_owned()
    } else {
        format!("'{}'", file.replace('\'', "'\\''"))
    }
}

/// First octets, and what they mean. Magic numbers as in Wireshark's wiretap and in file(1).
const MAGICS: &[(&[u8], &str, Way)] = &[
    (
        b"snoop\0\0\0",
        "a Solaris snoop capture (RFC 1761)",
        Way::Editcap,
    ),
    (
        b"GMBU",
        "a Microsoft Network Monitor 2 capture",
        Way::Editcap,
    ),
    (
        b"RTSS",
        "a Microsoft Network Monitor 1 capture",
        Way::Editcap,
    ),
    (b"iptrace 1.0", "an AIX iptrace 1.0 capture", Way::Editcap),
    (b"iptrace 2.0", "an AIX iptrace 2.0 capture", Way::Editcap),
    (b"btsnoop\0", "a Bluetooth btsnoop log", Way::Editcap),
    (&[0xac, 1, 0, 0x1c], "an Ixia lcap capture", Way::Editcap),
    (&[0x1c, 0, 1, 0xac], "an Ixia lcap capture", Way::Editcap),
    (&[0xab, 1, 0, 0x1c], "an Ixia lcap capture", Way::Editcap),
    (&[0x1c, 0, 1, 0xab], "an Ixia lcap capture", Way::Editcap),
    (
        &[0x54, 0x52, 0, 0x64, 0],
        "an HP-UX nettl trace",
        Way::Editcap,
    ),
    (
        b"TRSNIFF data    \x1a",
        "a Sniffer (DOS) capture",
        Way::Editcap,
    ),
    (
        b"XCP\0",
        "a NetXRay or Sniffer (Windows) capture",
        Way::Editcap,
    ),
    (b"VL\0\0", "a NetXRay 1 capture", Way::Editcap),
    (
        b"ObserverPktBuffe",
        "a Network Instruments Observer capture",
        Way::Editcap,
    ),
    (b"\x05VNF", "a Visual Networks capture", Way::Editcap),
    (b"\x7fver", "an OmniPeek capture", Way::Editcap),
    (
        &[0, 0, 2, 0, 0x12, 5, 0, 0x10],
        "a Tektronix K12 capture",
        Way::Editcap,
    ),
    (b"EyeSDN", "an EyeSDN trace", Way::Editcap),
    (b"PK\x03\x04", "a zip archive", Way::Unpack("unzip")),
    (
        b"7z\xbc\xaf\x27\x1c",
        "a 7-Zip archive",
        Way::Unpack("7z x"),
    ),
    (b"Rar!\x1a\x07", "a RAR archive", Way::Unpack("unrar x")),
    (
        &[0x04, 0x22, 0x4d, 0x18],
        "lz4-compressed",
        Way::Unpack("lz4 -d"),
    ),
    (
        &[0x1f, 0x9d],
        "compressed by compress(1)",
        Way::Unpack("uncompress"),
    ),
];

/// Where tar writes its magic.
const TAR_MAGIC: usize = 257;

/// What the file is whose first octets are `head`.
pub fn recognise(head: &[u8]) -> Option<Foreign> {
    let known = MAGICS.iter().find(|(magic, ..)| head.starts_with(magic));
    if let Some((_, name, way)) = known {
        return Some(Foreign { name, way: *way });
    }
    if head
        .get(TAR_MAGIC..)
        .is_some_and(|at| at.starts_with(b"ustar"))
    {
        return Some(Foreign {
            name: "a tar archive",
            way: Way::Unpack("tar -xf"),
        });
    }
    is_erf(head).then_some(Foreign {
        name: "an Endace ERF capture",
        way: Way::Editcap,
    })
}

/// ERF has no magic: records of a known type with a length chain, their times (little-endian, seconds above) going on slowly.
fn is_erf(head: &[u8]) -> bool {
    /// Records that must follow one another.
    const CHAIN: usize = 3;
    /// Types that Endace's card manual lists end here.
    const LAST_TYPE: u8 = 48;
    /// Seconds between two packets at most.
    const PAUSE: u32 = 3600;
    let (mut at, mut count, mut before) = (0usize, 0, None);
    while let Some(record) = head.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let [_, _, _, _, a, b, c, d, kind, ..] = *record;
        let seconds = u32::from_le_bytes([a, b, c, d]);
        let length = usize::from(be16(record, 10).unwrap_or(0));
        let goes_on = before.is_none_or(|before| seconds.abs_diff(before) <= PAUSE);
        if !(1..=LAST_TYPE).contains(&(kind & 0x7f)) || length < 16 || !goes_on {
            return false;
        }
        before = Some(seconds);
        count += 1;
        if count == CHAIN {
            return true;
        }
        at += length;
    }
    count > 1 && at == head.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_capture_is_named_with_the_command_that_converts_it() {
        let snoop = recognise(b"snoop\0\0\0\0\0\0\x02").unwrap();
        assert_eq!(
            (snoop.name, snoop.way.command("a b.snoop")),
            (
                "a Solaris snoop capture (RFC 1761)",
                "convert it: editcap -F pcapng 'a b.snoop' 'a b.snoop'.pcapng".to_owned()
            )
        );
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(recognise(&tar).unwrap().name, "a tar archive");
        assert_eq!(
            recognise(b"PK\x03\x04").unwrap().way.command("x.zip"),
            "unpack it first: unzip x.zip"
        );
    }

    #[test]
    fn erf_is_known_by_its_chain_and_noise_is_nothing() {
        let record = |seconds: u32, body: usize| {
            let mut bytes = vec![0; 4];
            bytes.extend(seconds.to_le_bytes());
            bytes.extend([2, 4]);
            bytes.extend((16 + body as u16).to_be_bytes());
            bytes.resize(16 + body, 0);
            bytes
        };
        let chain = [record(9000, 60), record(9000, 62), record(9001, 70)].concat();
        assert_eq!(recognise(&chain).unwrap().name, "an Endace ERF capture");
        let torn = [record(9000, 60), record(9_000_000, 62)].concat();
        assert_eq!(recognise(&torn), None);
        assert_eq!(recognise(&[0; 4096]), None);
        assert_eq!(recognise(&[0x33; 4096]), None);
        assert_eq!(recognise(b""), None);
    }
}
