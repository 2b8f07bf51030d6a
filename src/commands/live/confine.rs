//! What a live run still needs after it has opened everything, from its options; duties of collectors as roles of `privilege`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::cli::Live;
use crate::input::live::{Confine, Duty};
use crate::privilege::{self, Needs, Role, Sandbox};

/// The program on its way into confinement, or as free as it was started (`--no-sandbox`).
pub struct Confining {
    sandbox: Option<Sandbox>,
    needs: Arc<Needs>,
}

/// Begins to confine the program: called by the only thread there is, when everything is open.
pub fn begin(options: &Live, captures: bool) -> anyhow::Result<Confining> {
    let needs = Arc::new(needs(options, captures));
    let sandbox = (!options.no_sandbox)
        .then(|| Sandbox::begin((*needs).clone()))
        .transpose()
        .context(FAILED)?;
    Ok(Confining { sandbox, needs })
}

const FAILED: &str = "cannot give up rights (`--no-sandbox` runs with all of them)";

impl Confining {
    /// What threads do first.
    pub fn threads(&self) -> Confine {
        let confined = self.sandbox.is_some();
        let needs = Arc::clone(&self.needs);
        Confine::with(move |duty| {
            let role = match duty {
                Duty::Kernel => Role::Kernel,
                Duty::Interfaces => Role::Interfaces,
                Duty::Packets => Role::Packets,
            };
            if confined {
                privilege::enter(role, &needs).map(|_| ())
            } else {
                privilege::allow(role, &needs)
            }
        })
    }

    /// Files and network become what the run needs, for all threads that are started from here on.
    pub fn enclose(&mut self) -> anyhow::Result<()> {
        self.sandbox
            .as_mut()
            .map_or(Ok(()), Sandbox::enclose)
            .context(FAILED)
    }

    /// The main thread gives up the rest; what is enforced, as a sentence.
    pub fn finish(self) -> anyhow::Result<String> {
        match self.sandbox {
            Some(sandbox) => sandbox.finish().context(FAILED),
            None => Ok("not confined (--no-sandbox)".to_owned()),
        }
    }
}

/// Each option that means a file or a call after the start has its line here.
fn needs(options: &Live, captures: bool) -> Needs {
    let mut needs = Needs {
        interfaces: captures,
        ..Needs::default()
    };
    // A single file is open already; a ring makes, keeps and removes files.
    if let Some(path) = &options.write
        && !options.ring.is_empty()
    {
        needs.write.push(folder(path));
    }
    // A reader may ask for a bundle of files, which is made where the program was started.
    if super::wants_screen(options, super::Mode::Tell) {
        needs.write.push(PathBuf::from("."));
    }
    needs.read.extend(options.vrps.as_deref().map(folder));
    // Read again on SIGHUP.
    if !options.mine.no_config {
        let path = options.mine.config.as_deref();
        let folder = folder(path.unwrap_or(Path::new(crate::config::DEFAULT_PATH)));
        needs.read.extend(folder.exists().then_some(folder));
    }
    // Written beside its place and renamed.
    needs
        .write
        .extend(options.mine.state.as_deref().map(folder));
    // The control socket is removed at the end.
    if let Some(path) = &options.socket {
        needs.write.push(folder(path));
    }
    let reach = &options.reach;
    needs.write.extend(reach.write.iter().cloned());
    needs.connect.extend(&reach.ports);
    needs.names |= reach.names;
    needs
        .connect
        .extend(options.rtr.iter().map(|cache| cache.port));
    // The file of trusted certificates is read already.
    needs.names |= options.rtr.iter().any(|cache| cache.addr().is_none());
    needs
}

/// The folder that a file is in.
fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
