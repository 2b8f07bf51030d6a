//! Capabilities, which Linux keeps by thread: what this one has, and how it gives up all but some.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};

/// What a thread may do.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    effective: CapsHashSet,
    permitted: CapsHashSet,
}

impl Rights {
    /// Those of the calling thread.
    pub fn of_this_thread() -> io::Result<Rights> {
        Ok(Rights {
            effective: caps::read(None, CapSet::Effective).map_err(io::Error::other)?,
            permitted: caps::read(None, CapSet::Permitted).map_err(io::Error::other)?,
        })
    }

    /// Whether it is used now.
    pub fn effective(&self, right: Capability) -> bool {
        self.effective.contains(&right)
    }

    /// Whether it could be used.
    pub fn permitted(&self, right: Capability) -> bool {
        self.permitted.contains(&right)
    }

    /// Nothing at all.
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty()
    }
}

/// Programs that we would start get nothing. (We start none, and seccomp sees to that; without CAP_SETPCAP the bounding set stays.)
pub fn bequeath_nothing() {
    let _ = caps::clear(None, CapSet::Ambient); // older than Linux 4.3: there are none
    let _ = caps::clear(None, CapSet::Inheritable);
    let _ = caps::clear(None, CapSet::Bounding);
}

/// Rights over files and processes of others: with them in effect, whoever may start the program would read through it what only root may.
const OVER_OTHERS: [Capability; 5] = [
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_FOWNER,
];

/// Takes them out of effect, so that files named by the user are opened with the user's own rights. Threads that need one
/// [`keep`](keep) it, which puts it into effect; [`with_all`] does for a moment. Root is asked nothing: it may read its files anyway.
pub fn set_aside() -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let mut effective = caps::read(None, CapSet::Effective).map_err(io::Error::other)?;
    let before = effective.len();
    effective.retain(|right| !OVER_OTHERS.contains(right));
    if effective.len() < before {
        caps::set(None, CapSet::Effective, &effective).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Does something that needs rights set aside, and names nothing that a user chose freely.
pub fn with_all<T>(act: impl FnOnce() -> T) -> T {
    let effective = caps::read(None, CapSet::Effective).ok();
    if let Ok(permitted) = caps::read(None, CapSet::Permitted) {
        let _ = caps::set(None, CapSet::Effective, &permitted); // else `act` says what it lacks
    }
    let done = act();
    if let Some(effective) = effective {
        let _ = caps::set(None, CapSet::Effective, &effective); // a subset: cannot fail
    }
    done
}

/// The calling thread keeps these, where it has them, and loses all others.
pub fn keep(rights: &[Capability]) -> io::Result<()> {
    let wanted: CapsHashSet = rights.iter().copied().collect();
    let has = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let rest: HashSet<Capability> = has.intersection(&wanted).copied().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &rest).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Puts these into effect in the calling thread, where it may have them; it loses none.
pub fn raise(rights: &[Capability]) -> io::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let mut effective = caps::read(None, CapSet::Effective).map_err(io::Error::other)?;
    effective.extend(rights.iter().filter(|right| permitted.contains(right)));
    caps::set(None, CapSet::Effective, &effective).map_err(io::Error::other)
}

/// Whether we may make files in a folder without a capability for it: by its owner, its group or for all.
pub fn may_write_plainly(folder: &Path) -> bool {
    /// Write and search, as the mode's lowest three bits.
    const WRITE_SEARCH: u32 = 0o3;
    let Ok(found) = std::fs::metadata(folder) else {
        return false;
    };
    let user = nix::unistd::geteuid().as_raw();
    let group = |gid: u32| {
        nix::unistd::getegid().as_raw() == gid
            || nix::unistd::getgroups()
                .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
    };
    let class = if found.uid() == user {
        6
    } else if group(found.gid()) {
        3
    } else {
        0
    };
    (found.mode() >> class) & WRITE_SEARCH == WRITE_SEARCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_ours_needs_no_capability_and_one_that_is_not_there_does() {
        let folder = std::env::temp_dir();
        assert!(may_write_plainly(&folder), "{}", folder.display());
        assert!(!may_write_plainly(&folder.join("flapscope-is-not-there")));
        assert!(!may_write_plainly(Path::new("/proc")));
    }

    #[test]
    fn a_right_that_was_set_aside_is_in_effect_again_where_it_is_kept() {
        let right = Capability::CAP_DAC_READ_SEARCH;
        if !Rights::of_this_thread().unwrap().permitted(right) {
            return;
        }
        std::thread::spawn(move || {
            caps::drop(None, CapSet::Effective, right).unwrap();
            assert!(with_all(|| Rights::of_this_thread()
                .unwrap()
                .effective(right)));
            assert!(!Rights::of_this_thread().unwrap().effective(right));
            keep(&[right]).unwrap();
            assert!(Rights::of_this_thread().unwrap().effective(right));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_that_keeps_nothing_has_nothing_and_others_are_as_before() {
        let before = Rights::of_this_thread().unwrap();
        std::thread::spawn(|| {
            keep(&[]).unwrap();
            assert!(Rights::of_this_thread().unwrap().is_empty());
        })
        .join()
        .unwrap();
        let after = Rights::of_this_thread().unwrap();
        assert_eq!(before.permitted, after.permitted);
    }
}
