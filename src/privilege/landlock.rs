//! Landlock: the file system and the network shrink to what the run still needs.
//!
//! Unlike a capability it binds root too, and needs no privilege. It also keeps a thread out of other processes' /proc/PID/fd (the
//! kernel's ptrace check), which is why the thread that looks up who changed a route is started before.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Needs;

/// The rights that we name; a newer kernel's further rights are not handled and stay as they are.
const KNOWN: ABI = ABI::V6;

/// Read at any time: the kernel's view of interfaces (links in /sys/class lead into /sys/devices), and of sockets and processes. /proc as a
/// whole, since its inodes come and go and a rule holds on to one; other processes' secrets there are behind the ptrace check.
const READ: [&str; 3] = ["/sys/class/net", "/sys/devices", "/proc"];

/// What glibc's resolver reads: its configuration where systemd, NetworkManager and resolvconf put it, and its modules.
const NAMES: [&str; 9] = [
    "/etc",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/nscd",
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
];

/// DNS falls back to TCP for long answers (RFC 7766).
const DNS: u16 = 53;

/// The terminal, which a screen asks for its size by name.
const TERMINAL: &str = "/dev/tty";

/// Encloses the calling thread and those that it starts. What is enforced, in a few words.
pub fn enclose(needs: &Needs) -> io::Result<String> {
    let status = restrict(needs).map_err(io::Error::other)?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            "no Landlock (not enabled at boot: lsm=landlock,…)".to_owned()
        }
        (RulesetStatus::NotEnforced, _) => "no Landlock (this kernel has none)".to_owned(),
        (ruleset, LandlockStatus::Available { effective_abi, .. }) => {
            let partly = match ruleset {
                RulesetStatus::FullyEnforced => "",
                _ => ", in part",
            };
            format!("Landlock (ABI {}{partly})", effective_abi as i32)
        }
        (_, _) => "Landlock".to_owned(),
    })
}

/// The version of Landlock that this kernel enforces; `None` without. Found by really enclosing a thread, which then ends.
pub fn kernel_abi() -> Option<i32> {
    let probe = || {
        let rules = Ruleset::default()
            .handle_access(AccessFs::Execute)
            .and_then(Ruleset::create)
            .and_then(RulesetCreated::restrict_self);
        match rules.ok()?.landlock {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } => Some(kernel_abi.unwrap_or(effective_abi as i32)),
            _ => None,
        }
    };
    std::thread::spawn(probe).join().ok()?
}

fn restrict(needs: &Needs) -> Result<RestrictionStatus, landlock::RulesetError> {
    let read = AccessFs::from_read(KNOWN) & !BitFlags::from(AccessFs::Execute);
    let write = AccessFs::from_all(KNOWN) & !BitFlags::from(AccessFs::Execute);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    for path in READ {
        rules = allow(rules, Path::new(path), read)?;
    }
    for path in &needs.read {
        rules = allow(rules, path, read)?;
    }
    for path in &needs.write {
        rules = allow(rules, path, write)?;
    }
    rules = allow(
        rules,
        Path::new(TERMINAL),
        AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
    )?;
    if needs.names {
        // Modules of the resolver are loaded, which is reading; what they would run is seccomp's to refuse.
        for path in NAMES {
            rules = allow(rules, Path::new(path), read)?;
        }
        rules = rules.add_rule(NetPort::new(DNS, AccessNet::ConnectTcp))?;
    }
    for port in &needs.connect {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    rules.restrict_self()
}

/// What is not there now needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(rules);
    };
    // Rights of folders mean nothing for a file, and are an error there.
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(KNOWN)
    };
    rules.add_rule(PathBeneath::new(opened, access))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_not_needed_cannot_be_read_written_or_called() {
        if kernel_abi().is_none() {
            return;
        }
        let folder = std::env::temp_dir().join(format!("flapscope-lock-{}", std::process::id()));
        let (mine, others) = (folder.join("mine"), folder.join("others"));
        fs::create_dir_all(&mine).unwrap();
        fs::create_dir_all(&others).unwrap();
        fs::write(others.join("secret"), "x").unwrap();
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [cache, other] = listeners.each_ref().map(|l| l.local_addr().unwrap());
        let needs = Needs {
            write: vec![mine.clone()],
            connect: vec![cache.port()],
            ..Needs::default()
        };
        let ports_too = kernel_abi() >= Some(4);
        std::thread::spawn(move || {
            let told = enclose(&needs).unwrap();
            assert!(told.starts_with("Landlock (ABI "), "{told}");
            let file = mine.join("ring");
            fs::write(&file, "octets").unwrap();
            fs::rename(&file, mine.join("kept")).unwrap();
            fs::remove_file(mine.join("kept")).unwrap();
            assert!(fs::write(others.join("new"), "x").is_err());
            assert!(fs::read_to_string(others.join("secret")).is_err());
            assert!(fs::read_to_string("/etc/passwd").is_err());
            assert!(fs::read_to_string("/proc/thread-self/net/dev").is_ok());
            assert!(fs::read_dir("/sys/class/net/lo").is_ok());
            assert!(TcpStream::connect(cache).is_ok());
            if ports_too {
                assert!(TcpStream::connect(other).is_err());
                assert!(TcpListener::bind("127.0.0.1:0").is_err());
            }
        })
        .join()
        .unwrap();
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn names_are_looked_up_only_where_that_is_needed() {
        if kernel_abi().is_none() {
            return;
        }
        let needs = Needs {
            names: true,
            ..Needs::default()
        };
        std::thread::spawn(move || {
            enclose(&needs).unwrap();
            assert!(fs::read_dir("/etc").is_ok());
            assert!(fs::write("/etc/flapscope-test", "x").is_err());
        })
        .join()
        .unwrap();
    }
}
