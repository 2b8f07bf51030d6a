//! Live packets: one thread for each interface, kernel filters, drop counters.
//!
//! [`open`] needs the right to capture (CAP_NET_RAW) and does all that needs it; [`run`] only reads. Not libpcap's immediate mode: that
//! takes the ring version whose slots are as long as the snap length (128 packets in 8 MiB), while version 3 packs frames densely
//! and hands them over at most [`HANDOVER_MS`] late, a tenth of what the merge waits anyway.

pub mod devices;
pub mod filter;
mod reader;
mod supervisor;

use pcap::{Active, Capture, Precision, TimestampType};

pub use devices::{Choice, Device, Why};
pub use supervisor::{Control, run};

/// Longest frame kept, as tcpdump: receive offload joins segments up to 64 KiB and more, BGP and BMP streams must stay whole.
const SNAPLEN: i32 = 262_144;

/// Ring of each handle in octets. Dense: 80,000 small packets, or half a second of 100 Mbit/s of filtered control traffic. Its
/// pages count as ours, so some interfaces must fit the bar of 64 MB.
const RING: i32 = 8 << 20;

/// A block of the ring is handed over when full or after this time.
const HANDOVER_MS: i32 = 50;

/// What is captured and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names given (`-i`); none: by the rule of [`devices`].
    pub interfaces: Vec<String>,
    /// Frames for other hosts too (`-p` turns it off in tcpdump; here it is off unless asked for).
    pub promiscuous: bool,
    /// TCP ports besides BGP's that pass: those on which BMP is spoken.
    pub tcp_ports: Vec<u16>,
}

/// Why packets cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "-i any would show each frame once for every device it passes (port, bridge, VLAN): leave -i out, or name the interfaces"
    )]
    Any,
    #[error("{0}: no such interface")]
    Missing(String),
    #[error(
        "{0}: no right to capture; run as root or `setcap cap_net_raw,cap_net_admin=ep` the program"
    )]
    Permission(String),
    #[error("{0}: is down")]
    Down(String),
    #[error("{name}: {source}")]
    Pcap {
        name: String,
        #[source]
        source: pcap::Error,
    },
    #[error("the list of interfaces cannot be read")]
    List(#[source] std::io::Error),
}

/// An interface that is open for capture; packets wait in its ring.
pub struct Handle {
    pub name: String,
    /// `LINKTYPE_*`.
    pub link_type: u16,
    capture: Capture<Active>,
}

/// What [`open`] could do.
pub struct Opened {
    pub handles: Vec<Handle>,
    /// By the rule, when no interface was named. Prints as one line.
    pub choice: Option<Choice>,
    /// Chosen and not open: down, or without right. [`run`] tries the former again when they come up.
    pub failed: Vec<OpenError>,
}

/// Opens the interfaces named, or those the rule chooses. Fails for names that cannot be: `any`, or a missing interface.
pub fn open(options: &Options) -> Result<Opened, OpenError> {
    let devices = devices::list().map_err(OpenError::List)?;
    for name in &options.interfaces {
        if name == "any" {
            return Err(OpenError::Any);
        }
        if !devices.iter().any(|device| device.name == *name) {
            return Err(OpenError::Missing(name.clone()));
        }
    }
    let (names, choice) = wanted(options, &devices);
    let mut opened = Opened {
        handles: Vec::new(),
        choice,
        failed: Vec::new(),
    };
    for name in names {
        match open_one(&name, options) {
            Ok(handle) => opened.handles.push(handle),
            Err(error) => opened.failed.push(error),
        }
    }
    Ok(opened)
}

/// The names to capture on now; the rule's choice when it was asked.
fn wanted(options: &Options, devices: &[Device]) -> (Vec<String>, Option<Choice>) {
    if options.interfaces.is_empty() {
        let choice = devices::choose(devices);
        return (choice.chosen.clone(), Some(choice));
    }
    let mut names = options.interfaces.clone();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| devices.iter().any(|device| device.name == *name));
    (names, None)
}

fn open_one(name: &str, options: &Options) -> Result<Handle, OpenError> {
    let failed = |source: pcap::Error| {
        let text = source.to_string();
        // libpcap gives words only (pcap-linux.c, pcap.c: PCAP_ERROR_PERM_DENIED, _IFACE_NOT_UP, _NO_SUCH_DEVICE).
        if text.contains("ermission") || text.contains("not permitted") {
            OpenError::Permission(name.to_owned())
        } else if text.contains("not up") {
            OpenError::Down(name.to_owned())
        } else if text.contains("o such device") {
            OpenError::Missing(name.to_owned())
        } else {
            OpenError::Pcap {
                name: name.to_owned(),
                source,
            }
        }
    };
    let mut capture = Capture::from_device(name)
        .map_err(failed)?
        .snaplen(SNAPLEN)
        .promisc(options.promiscuous)
        .buffer_size(RING)
        .timeout(HANDOVER_MS)
        .tstamp_type(TimestampType::Host)
        .precision(Precision::Nano)
        .open()
        .map_err(failed)?;
    let link_type = link_type(capture.get_datalink().0);
    let expression = filter::expression(link_type, &options.tcp_ports);
    capture.filter(&expression, true).map_err(failed)?;
    Ok(Handle {
        name: name.to_owned(),
        link_type,
        capture,
    })
}

/// libpcap's DLT number as files say it: they differ for raw IP only, of those that Linux interfaces have.
fn link_type(dlt: i32) -> u16 {
    match dlt {
        12 => 101,
        other => u16::try_from(other).unwrap_or(u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Device {
        Device {
            name: name.into(),
            kind: 1,
            is_up: true,
            is_hardware: true,
            ..Device::default()
        }
    }

    #[test]
    fn any_and_misspelt_names_are_refused_at_once() {
        let named = |name: &str| Options {
            interfaces: vec![name.into()],
            ..Options::default()
        };
        assert!(matches!(open(&named("any")), Err(OpenError::Any)));
        assert!(matches!(
            open(&named("no-such-if0")),
            Err(OpenError::Missing(name)) if name == "no-such-if0"
        ));
    }

    #[test]
    fn names_given_replace_the_rule_and_count_once() {
        let devices = [device("eth0"), device("eth1")];
        let options = Options {
            interfaces: vec!["eth1".into(), "eth1".into(), "gone0".into()],
            ..Options::default()
        };
        assert_eq!(wanted(&options, &devices), (vec!["eth1".into()], None));
        let (names, choice) = wanted(&Options::default(), &devices);
        assert_eq!(names, ["eth0", "eth1"]);
        assert!(choice.is_some());
    }
}
