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

/// The calling thread keeps these, where it has them, and loses all others.
pub fn keep(rights: &[Capability]) -> io::Result<()> {
    let wanted: CapsHashSet = rights.iter().copied().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        let has = caps::read(None, set).map_err(io::Error::other)?;
        let rest: HashSet<Capability> = has.intersection(&wanted).copied().collect();
        caps::set(None, set, &rest).map_err(io::Error::other)?;
    }
    Ok(())
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
