//! What was configured of a sink, and what it will need once rights are given up.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::sink::{Sink, alertmanager, exec, file, journald, syslog, webhook};

/// A sink before it is opened.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    pub name: String,
    /// Notices that may wait for it.
    pub bound: usize,
    pub target: Target,
}

/// Where to.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    File(file::Settings),
    Syslog(syslog::Settings),
    Journald(journald::Settings),
    Webhook(Box<webhook::Settings>),
    Alertmanager(Box<alertmanager::Settings>),
    Exec(exec::Settings),
}

/// What a sink needs of files and network after it was opened.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub struct Reach {
    pub write: Vec<PathBuf>,
    /// TCP ports that are called.
    pub ports: Vec<u16>,
    /// Names are looked up.
    pub names: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::File(settings) => write!(f, "file {}", settings.path.display()),
            Target::Syslog(settings) => write!(f, "syslog {}", settings.address),
            Target::Journald(_) => f.write_str("journald"),
            Target::Webhook(settings) => match &settings.url {
                webhook::Address::Plain(url) => write!(f, "{} {}", settings.shape, url.shown()),
                webhook::Address::Secret(source) => write!(f, "{} {source}", settings.shape),
            },
            Target::Alertmanager(settings) => {
                let members: Vec<String> = settings.urls.iter().map(|url| url.shown()).collect();
                write!(f, "alertmanager {}", members.join(" "))
            }
            Target::Exec(settings) => {
                write!(
                    f,
                    "exec {}",
                    settings.command.first().map_or("", String::as_str)
                )
            }
        }
    }
}

impl Plan {
    /// Opens it, with the rights that there are. What it needs to know across restarts it keeps in `keep`.
    pub fn open(&self, keep: Option<&std::path::Path>) -> io::Result<Box<dyn Sink>> {
        let keep = keep.map(|folder| folder.join(format!("{}.state", self.name)));
        Ok(match &self.target {
            Target::File(settings) => Box::new(file::FileSink::open(settings)?),
            Target::Syslog(settings) => Box::new(syslog::Syslog::open(settings)?),
            Target::Journald(settings) => Box::new(journald::Journald::open(settings)),
            Target::Webhook(settings) => Box::new(webhook::Webhook::open(settings)?),
            Target::Alertmanager(settings) => {
                Box::new(alertmanager::Alertmanager::open(settings, keep)?)
            }
            Target::Exec(settings) => Box::new(exec::Exec::open(settings)?),
        })
    }

    /// What it needs then.
    pub fn reach(&self) -> io::Result<Reach> {
        let mut reach = Reach::default();
        let mut route = |route: &super::http::Route, urls: &[super::http::Url]| {
            let proxy = route.proxy.as_ref().and_then(|proxy| proxy.parse().ok());
            match proxy {
                Some(proxy) => add(&mut reach, &proxy),
                None => urls.iter().for_each(|url| add(&mut reach, url)),
            }
        };
        match &self.target {
            Target::File(settings) => reach.write.push(settings.folder()),
            Target::Syslog(settings) => {
                reach.ports.extend(settings.address.tcp_port());
                reach.names = settings.address.is_named();
            }
            Target::Webhook(settings) => route(&settings.route, &[settings.url.read()?]),
            Target::Alertmanager(settings) => route(&settings.route, &settings.urls),
            // Its helper is outside.
            Target::Journald(_) | Target::Exec(_) => {}
        }
        Ok(reach)
    }
}

fn add(reach: &mut Reach, url: &super::http::Url) {
    reach.ports.push(url.port());
    reach.names |= url.is_named();
}
