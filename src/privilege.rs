//! Open first, then drop: what the program gives up once everything is open, and what of that the kernel really enforces.
//!
//! Four layers, each on its own: capabilities (by thread), no_new_privs, Landlock (files, TCP, abstract sockets), seccomp (system calls). A
//! layer that this kernel does not have is told, not fatal; a right that should go and does not is. Nothing here knows collectors: a
//! [`Role`] is all a thread is.
//!
//! Threads share memory, so a thread's rights are as safe as the program: what a thread keeps is kept small, and named in the line
//! that tells what was enforced.

mod capabilities;
mod landlock;
mod seccomp;

use std::io;
use std::path::PathBuf;

pub use caps::Capability;

pub use capabilities::{Rights, may_write_plainly, set_aside, with_all};
pub use landlock::kernel_abi as landlock_abi;
pub use seccomp::is_available as has_seccomp;

/// What a thread is there for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Role {
    /// Decodes, judges, writes, speaks to routers: meets the bytes of strangers.
    Main,
    /// Reads the kernel's messages and looks up in /proc who made them.
    Kernel,
    /// Opens interfaces that come later.
    Interfaces,
    /// Copies packets from one open interface.
    Packets,
}

/// What a run needs after it has opened everything.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Folders in which files are made, renamed and removed.
    pub write: Vec<PathBuf>,
    /// Files and folders that are read again. Of a file its folder, as editors replace files.
    pub read: Vec<PathBuf>,
    /// TCP ports that are called.
    pub connect: Vec<u16>,
    /// Host names are looked up: the resolver's files, libraries and DNS.
    pub names: bool,
    /// Interfaces may come that shall be captured.
    pub interfaces: bool,
}

/// Capabilities that a role keeps when the program has them, and why.
fn kept(role: Role, needs: &Needs) -> Vec<Capability> {
    match role {
        // A root without CAP_DAC_OVERRIDE cannot make files in somebody else's folder.
        Role::Main if !needs.write.iter().all(|folder| may_write_plainly(folder)) => {
            vec![Capability::CAP_DAC_OVERRIDE]
        }
        Role::Main | Role::Packets => Vec::new(),
        // /proc/PID/fd of other users' processes: the folder needs the one, its links the other.
        Role::Kernel => vec![Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH],
        Role::Interfaces if needs.interfaces => vec![Capability::CAP_NET_RAW],
        Role::Interfaces => Vec::new(),
    }
}

/// The program on its way into confinement: [`Sandbox::begin`], then threads that [`enter`] their role, [`Sandbox::enclose`], more
/// threads, [`Sandbox::finish`]. In this order: each step also binds every thread that is started after it.
pub struct Sandbox {
    needs: Needs,
    before: Rights,
    landlock: String,
}

impl Sandbox {
    /// Nothing can be gained from here on. Called by the only thread there is.
    pub fn begin(needs: Needs) -> io::Result<Sandbox> {
        let before = Rights::of_this_thread()?;
        capabilities::bequeath_nothing();
        nix::sys::prctl::set_no_new_privs()?;
        Ok(Sandbox {
            needs,
            before,
            landlock: String::new(),
        })
    }

    /// The file system and the network become what [`Needs`] says, for this thread and those that it starts.
    pub fn enclose(&mut self) -> io::Result<()> {
        self.landlock = landlock::enclose(&self.needs)?;
        Ok(())
    }

    /// The last step, of the main thread. What is enforced, as a sentence.
    pub fn finish(self) -> io::Result<String> {
        let seccomp = enter(Role::Main, &self.needs)?;
        let mut rights: Vec<String> = Vec::new();
        for (role, what) in [
            (Role::Main, "files in the recording's folder"),
            (Role::Interfaces, "interfaces that come later"),
            (Role::Kernel, "names of who changes routes"),
        ] {
            let kept: Vec<String> = kept(role, &self.needs)
                .into_iter()
                .filter(|right| self.before.permitted(*right))
                .map(|right| right.to_string().to_ascii_lowercase())
                .collect();
            if !kept.is_empty() {
                rights.push(format!("{} for {what}", kept.join(" and ")));
            }
        }
        let rights = if rights.is_empty() {
            "no capabilities".to_owned()
        } else {
            format!("no capabilities but {}", rights.join(", "))
        };
        Ok(format!(
            "confined: no_new_privs, {}, {seccomp}, {rights}",
            self.landlock
        ))
    }
}

/// Makes the calling thread what its role needs, for good. What seccomp does about it, in a word.
pub fn enter(role: Role, needs: &Needs) -> io::Result<&'static str> {
    capabilities::keep(&kept(role, needs))?;
    match role {
        // Its parent is confined already.
        Role::Packets => Ok(""),
        role => seccomp::confine(role),
    }
}

/// The calling process, which has one thread, gives up everything that it could gain by being who it is.
pub fn keep_nothing() -> io::Result<()> {
    capabilities::bequeath_nothing();
    nix::sys::prctl::set_no_new_privs()?;
    capabilities::keep(&[])
}

/// Puts what a role needs into effect in a thread that is not confined.
pub fn allow(role: Role, needs: &Needs) -> io::Result<()> {
    capabilities::raise(&kept(role, needs))
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use super::*;

    #[test]
    fn a_confined_program_looks_names_up_when_it_needs_to() {
        let needs = Needs {
            names: true,
            ..Needs::default()
        };
        std::thread::spawn(move || {
            let mut sandbox = Sandbox::begin(needs).unwrap();
            sandbox.enclose().unwrap();
            let told = sandbox.finish().unwrap();
            assert!(told.contains("no capabilities"), "{told}");
            let found = ("localhost", 323).to_socket_addrs().unwrap();
            assert!(found.count() > 0);
            assert!(Rights::of_this_thread().unwrap().is_empty());
        })
        .join()
        .unwrap();
    }
}
