//! `flapscope doctor`: what this host lets us see, what it does not, and the one command that fixes it.
//!
//! Everything is measured by trying it, as `live` would: sockets are opened, options set, a thread is confined. Nothing is changed and no
//! other program is started. It needs no privilege: without any it tells what is missing.

mod clock;
mod confinement;
mod daemons;
mod delivery;
mod feeds;
mod interfaces;
mod kernel;
mod rights;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

use anyhow::bail;

use super::analyze::style;
use crate::cli::{Doctor as Options, DoctorFormat};
use crate::event::text::sanitized;
use crate::input::paste::{self, Paste};
use crate::output::doctor::{Daemon, Doctor, Lines, pasted};
use crate::output::report::Style;

/// Columns when nobody says how many there are.
const WIDTH: usize = 80;

/// Where routers would connect unless told otherwise: GoBGP's and many stations' BMP port (IANA has 11019 for BMP), and an address of
/// its own for the listener, as a speaker on this host calls from 127.0.0.1.
const BMP: ([u8; 4], u16) = ([0, 0, 0, 0], 11_019);
const LISTENER: ([u8; 4], u16) = ([127, 0, 0, 2], 1_790);

/// Looks, and says what it found.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let found = daemons::find();
    let lines = lines(options, &found.daemons, found.asn);
    if let Some(program) = &options.paste {
        out.write_all(chosen(&lines, program)?.as_bytes())?;
        return Ok(0);
    }
    let rights = rights::Held::look()?;
    let mut checks = rights.checks();
    checks.extend(kernel::checks(&rights));
    checks.extend(interfaces::checks(&rights));
    checks.extend(found.checks);
    checks.extend(feeds::checks(
        &addresses(&options.bmp, BMP),
        &addresses(&options.bgp_listen, LISTENER),
        &options.rtr,
    ));
    checks.extend(confinement::checks());
    checks.extend(delivery::checks());
    checks.extend(clock::checks());
    let host = nix::unistd::gethostname()
        .ok()
        .map(|name| sanitized(&name.to_string_lossy()));
    let doctor = Doctor::new(host, checks, found.daemons, lines);
    match options.format {
        DoctorFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &doctor)?;
            writeln!(out)?;
        }
        DoctorFormat::Text => {
            let style = if io::stdout().is_terminal() {
                style()
            } else {
                Style {
                    width: WIDTH,
                    ..Style::default()
                }
            };
            out.write_all(doctor.text(style).as_bytes())?;
        }
    }
    Ok(0)
}

fn addresses(given: &[SocketAddr], otherwise: ([u8; 4], u16)) -> Vec<SocketAddr> {
    if given.is_empty() {
        vec![otherwise.into()]
    } else {
        given.to_vec()
    }
}

/// All lines that there are, filled in.
fn lines(options: &Options, daemons: &[Daemon], asn: Option<u32>) -> Vec<Lines> {
    let mut all = Vec::new();
    for (feed, pastes, addresses) in [
        ("bmp", &paste::BMP[..], addresses(&options.bmp, BMP)),
        (
            "bgp-listener",
            &paste::LISTENER[..],
            addresses(&options.bgp_listen, LISTENER),
        ),
    ] {
        let Some(address) = addresses.first() else {
            continue;
        };
        for paste in pastes {
            let program = paste.program.split(' ').next().unwrap_or_default();
            let runs_here = daemons
                .iter()
                .any(|daemon| daemon.program == program && daemon.feed.as_deref() == Some(feed));
            all.push(Lines {
                program: paste.program.into(),
                feed: feed.into(),
                place: paste.place.into(),
                lines: filled(paste, *address, runs_here, asn),
                runs_here,
            });
        }
    }
    all
}

/// A daemon here calls this host; routers elsewhere call the address that leads out.
fn filled(paste: &Paste, listens: SocketAddr, runs_here: bool, asn: Option<u32>) -> String {
    let mut called = listens;
    if listens.ip().is_unspecified() {
        called.set_ip(if runs_here {
            [127, 0, 0, 1].into()
        } else {
            feeds::outward().unwrap_or_else(|| listens.ip())
        });
    }
    paste::filled(paste, called, asn.filter(|_| runs_here))
}

/// The lines of one program, or of all.
fn chosen(lines: &[Lines], program: &str) -> anyhow::Result<String> {
    let plain = |name: &str| {
        name.chars()
            .filter(|c| c.is_ascii_alphanumeric())
            .collect::<String>()
            .to_ascii_lowercase()
    };
    let wanted = plain(program);
    let found: Vec<String> = lines
        .iter()
        .filter(|lines| plain(&lines.program).starts_with(&wanted))
        .map(|lines| pasted(lines, WIDTH))
        .collect();
    if found.is_empty() {
        bail!(
            "no lines for {}: there are some for frr, bird, gobgp, ios-xr and junos",
            sanitized(program)
        );
    }
    Ok(found.join("\n"))
}
