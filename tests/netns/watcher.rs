//! The collector, the merge and the engine as `live` wires them, with a look at the model.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use flapscope::decode::Decoder;
use flapscope::detect::Settings;
use flapscope::engine::Engine;
use flapscope::event::Prefix;
use flapscope::event::loss::GapKind;
use flapscope::input::live::{self, Confine, LiveItem, SourceIds};
use flapscope::input::merge::live::LiveMerge;
use flapscope::input::netlink::{self, Config, Namespace};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use super::host::Host;

/// Longest wait for the model to become what it should be: the longest back-off of a resync and then some.
const PATIENCE: Duration = Duration::from_secs(25);

/// A route as both sides know it: table, prefix, metric, protocol, type, next hops (gateway, device).
pub type Row = (u32, Prefix, u32, u8, u8, BTreeSet<(Option<IpAddr>, String)>);

pub struct Watcher<'a> {
    host: &'a Host,
    runtime: Runtime,
    items: mpsc::Receiver<LiveItem>,
    _stop: watch::Sender<bool>,
    merge: LiveMerge,
    decoder: Decoder,
    engine: Engine,
    quiet_since: Instant,
}

impl<'a> Watcher<'a> {
    pub fn start(host: &'a Host, buffer: usize) -> Watcher<'a> {
        Watcher::of(&host.name, host, buffer)
    }

    pub fn of(namespace: &str, host: &'a Host, buffer: usize) -> Watcher<'a> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, items) = live::channel();
        let (stop, stopped) = watch::channel(false);
        let config = Config {
            namespace: Namespace::parse(namespace).unwrap(),
            buffer,
            ..Config::default()
        };
        let collector = netlink::open(&config).unwrap();
        collector
            .spawn(sender, SourceIds::default(), stopped, Confine::default())
            .unwrap();
        Watcher {
            host,
            runtime,
            items,
            _stop: stop,
            merge: LiveMerge::default(),
            decoder: Decoder::new(),
            engine: Engine::new(&Settings::default()),
            quiet_since: Instant::now(),
        }
    }

    /// Runs until `done`; panics with the difference when that takes too long.
    pub fn until(&mut self, what: &str, done: impl Fn(&Watcher<'_>) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        loop {
            let received = self.runtime.block_on(async {
                tokio::time::timeout(Duration::from_millis(50), self.items.recv()).await
            });
            if let Ok(item) = received {
                let item = item.expect("the collector ended");
                if item.at().is_some() {
                    self.quiet_since = Instant::now();
                }
                self.merge.push(item);
            }
            while let Ok(item) = self.items.try_recv() {
                if item.at().is_some() {
                    self.quiet_since = Instant::now();
                }
                self.merge.push(item);
            }
            while let Some(item) = self.merge.pop(live::now()) {
                if let Some(item) = item.as_item() {
                    self.decoder
                        .item(&item, &mut |event| self.engine.handle(event, &mut told));
                }
            }
            self.engine
                .advance(self.merge.horizon(live::now()), &mut told);
            if done(self) {
                return;
            }
            if Instant::now() > end {
                let (ours, kernels) = (self.routes(), self.kernel());
                panic!(
                    "{what} did not come.\nonly ours: {:#?}\nonly the kernel's: {:#?}",
                    ours.difference(&kernels).take(5).collect::<Vec<_>>(),
                    kernels.difference(&ours).take(5).collect::<Vec<_>>(),
                );
            }
        }
    }

    /// The collector has said nothing for so long.
    pub fn is_quiet(&self, long: Duration) -> bool {
        self.quiet_since.elapsed() > long
    }

    pub fn gap(&self, kind: GapKind) -> bool {
        self.engine.gaps().iter().any(|(_, gap)| gap.kind == kind)
    }

    pub fn equals_kernel(&self) -> bool {
        self.routes() == self.kernel()
    }

    /// The model's routes.
    pub fn routes(&self) -> BTreeSet<Row> {
        let net = self.engine.net();
        net.routes
            .iter()
            .map(|(key, route)| {
                let hops = route.hops.iter().map(|hop| {
                    let device = hop.ifindex.map(|index| net.links.name(index).to_string());
                    (hop.gateway, device.unwrap_or_default())
                });
                (
                    key.table,
                    key.prefix,
                    key.metric,
                    route.protocol,
                    route.kind,
                    hops.collect(),
                )
            })
            .collect()
    }

    /// The kernel's routes, as `ip -j route show table all` tells them.
    pub fn kernel(&self) -> BTreeSet<Row> {
        let mut rows = BTreeSet::new();
        for (family, all, host) in [("-4", "0.0.0.0/0", 32), ("-6", "::/0", 128)] {
            let out = self
                .host
                .show(&format!("{family} -N -j route show table all"));
            let list: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap_or_default();
            for route in &list {
                let number = |name: &str, otherwise: u32| {
                    let value = &route[name];
                    value
                        .as_u64()
                        .map(|n| n as u32)
                        .or_else(|| value.as_str()?.parse().ok())
                        .unwrap_or(otherwise)
                };
                let prefix: Prefix = match route["dst"].as_str().unwrap() {
                    "default" => all.parse().unwrap(),
                    dst if dst.contains('/') => dst.parse().unwrap(),
                    dst => format!("{dst}/{host}").parse().unwrap(),
                };
                let hop = |hop: &serde_json::Value| {
                    let gateway = hop["gateway"].as_str().or(hop["via"]["host"].as_str());
                    (
                        gateway.map(|g| g.parse().unwrap()),
                        hop["dev"].as_str().unwrap_or_default().to_owned(),
                    )
                };
                let hops = match route["nexthops"].as_array() {
                    Some(legs) => legs.iter().map(hop).collect(),
                    None if route["dev"].is_null() => BTreeSet::new(),
                    None => BTreeSet::from([hop(route)]),
                };
                rows.insert((
                    number("table", 254),
                    prefix,
                    number("metric", 0),
                    // `ip` leaves out what is the default: RTPROT_BOOT, RTN_UNICAST.
                    number("protocol", 3) as u8,
                    number("type", 1) as u8,
                    hops,
                ));
            }
        }
        rows
    }
}
