//! What a live run watches: opened while there is the right to, then confined, then let run.
//!
//! The order is the point. Everything that needs privilege is opened first, by the only thread there is; then the program gives up what it
//! no longer needs (`confine`); only then do threads, the runtime and the first byte from the wire come. Each kind of collector has
//! its place here.

use std::collections::BTreeSet;
use std::io;

use anyhow::{Context, bail};

use super::confine;
use crate::cli::Live;
use crate::input::bgp_listener::BgpListener;
use crate::input::bgp_listener::config::Config;
use crate::input::bmp::BmpStation;
use crate::input::capture;
use crate::input::live::{Confine, LiveSender, SourceIds, Stop};
use crate::input::netlink::{self, Namespace};
use crate::input::rtr::RtrClient;
use crate::input::vrps;

/// What the collectors have in common.
pub struct Collectors {
    pub sender: LiveSender,
    pub ids: SourceIds,
    pub stop: Stop,
}

/// Everything that was asked for, open and not yet read.
pub struct Opened {
    kernels: Vec<netlink::Collector>,
    capture: Option<(capture::Opened, capture::Options)>,
    station: Option<BmpStation>,
    listener: Option<BgpListener>,
    caches: Option<RtrClient>,
    vrps: Option<vrps::Watched>,
}

/// Runs after the program is confined, inside the runtime.
pub struct Confined {
    control: Option<capture::Control>,
    station: Option<BmpStation>,
    listener: Option<BgpListener>,
    caches: Option<RtrClient>,
    vrps: Option<vrps::Watched>,
}

impl Opened {
    /// Opens all that needs privilege.
    pub fn open(options: &Live) -> anyhow::Result<Opened> {
        let mut kernels = Vec::new();
        for namespace in namespaces(&options.netns)? {
            let config = netlink::Config {
                namespace: namespace.clone(),
                all_nsid: options.all_nsid,
                buffer: options.netlink_buffer,
            };
            // Other namespaces are reached through other users' processes.
            let opened = crate::privilege::with_all(|| netlink::open(&config));
            let collector = opened.with_context(|| match namespace.label() {
                Some(label) => format!("cannot watch the kernel of {label}"),
                None => "cannot watch the kernel".to_owned(),
            })?;
            kernels.push(collector);
        }
        let packets = capture::Options {
            interfaces: options.interface.clone(),
            promiscuous: options.promiscuous,
            tcp_ports: options.bmp_port.clone(),
        };
        let captured = open_capture(options, &packets)?;
        let station = (!options.bmp.is_empty())
            .then(|| BmpStation::bind(&options.bmp))
            .transpose()
            .context("cannot listen for BMP (--bmp)")?;
        let listener = bgp_listener(options)?;
        let caches = (!options.rtr.is_empty())
            .then(|| RtrClient::open(&options.rtr, options.rtr_ca.as_deref()))
            .transpose()
            .context("cannot ask RPKI caches (--rtr)")?;
        let vrps = options.vrps.as_deref().map(vrps::Watched::open);
        let vrps = vrps.transpose().context("cannot use --vrps")?;
        Ok(Opened {
            kernels,
            capture: captured.map(|opened| (opened, packets)),
            station,
            listener,
            caches,
            vrps,
        })
    }

    /// Gives up what opening needed, and starts the threads that keep a right of their own. What is watched goes to `watched`, as sentences.
    pub fn confine(
        self,
        options: &Live,
        collectors: &Collectors,
        watched: &mut Vec<String>,
    ) -> anyhow::Result<Confined> {
        let mut sandbox = confine::begin(options, self.capture.is_some())?;
        let threads = sandbox.threads();
        self.start_kernels(&threads, collectors, watched)
            .and_then(|rest| {
                // What follows sees the file system through Landlock; looking into other processes' /proc would not work there.
                sandbox.enclose()?;
                let confined = rest.start_capture(&threads, collectors, watched)?;
                watched.push(sandbox.finish()?);
                Ok(confined)
            })
    }

    fn start_kernels(
        mut self,
        threads: &Confine,
        collectors: &Collectors,
        watched: &mut Vec<String>,
    ) -> anyhow::Result<Opened> {
        let kernels = std::mem::take(&mut self.kernels).into_iter();
        let mut known = BTreeSet::new();
        for mut collector in kernels.flat_map(netlink::Collector::and_others) {
            let label = collector.label();
            // Named, and found by its id again.
            if !known.insert(label.clone()) {
                continue;
            }
            let notes = std::mem::take(&mut collector.notes);
            collector.spawn(
                collectors.sender.clone(),
                collectors.ids.clone(),
                collectors.stop.clone(),
                threads.clone(),
            )?;
            let of = label.map_or_else(String::new, |label| format!(" of {label}"));
            watched.push(format!(
                "the kernel's links, addresses, neighbors, rules, nexthops and routes{of}"
            ));
            watched.extend(notes);
        }
        Ok(self)
    }

    fn start_capture(
        self,
        threads: &Confine,
        collectors: &Collectors,
        watched: &mut Vec<String>,
    ) -> io::Result<Confined> {
        let mut control = None;
        if let Some((opened, options)) = self.capture {
            watched.extend(packets_watched(&opened));
            control = Some(capture::run(
                opened,
                options,
                collectors.ids.clone(),
                collectors.sender.clone(),
                threads.clone(),
            )?);
        }
        Ok(Confined {
            control,
            station: self.station,
            listener: self.listener,
            caches: self.caches,
            vrps: self.vrps,
        })
    }
}

impl Confined {
    /// Lets the rest run; needs the runtime. What is watched goes to `watched`, as sentences.
    pub fn run(self, collectors: &Collectors, watched: &mut Vec<String>) {
        let common = || {
            (
                collectors.ids.clone(),
                collectors.sender.clone(),
                collectors.stop.clone(),
            )
        };
        if let Some(control) = self.control {
            tokio::spawn(control.stop_with(collectors.stop.clone()));
        }
        if let Some(station) = self.station {
            for address in station.addresses() {
                watched.push(format!("BMP at {address}"));
            }
            let (ids, sender, stop) = common();
            tokio::spawn(station.run(ids, sender, stop));
        }
        if let Some(listener) = self.listener {
            for address in listener.addresses() {
                watched.push(format!("BGP at {address}, receiving only"));
            }
            let (ids, sender, stop) = common();
            tokio::spawn(listener.run(ids, sender, stop));
        }
        if let Some(client) = self.caches {
            for target in client.targets() {
                watched.push(format!("RPKI cache {target}"));
            }
            let (ids, sender, stop) = common();
            tokio::spawn(client.run(ids, sender, stop));
        }
        if let Some(file) = self.vrps {
            watched.push(format!("{} VRPs of {}", file.len(), file.name()));
            let (ids, sender, stop) = common();
            tokio::spawn(file.run(1, ids, sender, stop));
        }
    }
}

fn packets_watched(opened: &capture::Opened) -> Vec<String> {
    let mut lines: Vec<String> = opened.choice.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = opened.handles.iter().map(|h| h.name.as_str()).collect();
    if opened.choice.is_none() && !names.is_empty() {
        lines.push(format!("capturing on {}", names.join(", ")));
    }
    lines.extend(opened.failed.iter().map(ToString::to_string));
    lines
}

/// Opens the interfaces named, or the host's uplinks. Interfaces belong to our own namespace, so another namespace's kernel is
/// watched without packets (`ip netns exec NAME flapscope live` sees both).
fn open_capture(
    options: &Live,
    packets: &capture::Options,
) -> anyhow::Result<Option<capture::Opened>> {
    let named = !packets.interfaces.is_empty();
    if options.no_packets || (!named && !options.netns.is_empty()) {
        return Ok(None);
    }
    let mut opened = capture::open(packets)?;
    // What was asked for by name must be there; what the rule chose may be out of reach for us.
    if named
        && opened.handles.is_empty()
        && let Some(error) = opened.failed.pop()
    {
        return Err(error.into());
    }
    Ok(Some(opened))
}

/// The BGP listener, where one was asked for.
fn bgp_listener(options: &Live) -> anyhow::Result<Option<BgpListener>> {
    if options.bgp_listen.is_empty() {
        return Ok(None);
    }
    let Some(asn) = options.as_number else {
        bail!("--bgp-listen needs --as N: the AS number to speak BGP with");
    };
    let mut config = Config::new(asn);
    config.router_id = options.router_id;
    config.peers = options.bgp_peer.clone();
    BgpListener::bind(&options.bgp_listen, config)
        .map(Some)
        .context("cannot listen for BGP (--bgp-listen)")
}

fn namespaces(given: &[String]) -> anyhow::Result<Vec<Namespace>> {
    if given.is_empty() {
        return Ok(vec![Namespace::Own]);
    }
    let mut all = Vec::new();
    for name in given {
        let namespace = Namespace::parse(name).map_err(anyhow::Error::msg)?;
        if !all.contains(&namespace) {
            all.push(namespace);
        }
    }
    Ok(all)
}
