//! What `live` can be confined with on this kernel.

use crate::output::doctor::{Area, Check};
use crate::privilege::{has_seccomp, landlock_abi};

/// The checks: each layer is tried on a thread that then ends.
pub fn checks() -> Vec<Check> {
    let landlock = match landlock_abi() {
        // TCP ports since 4; below, files only.
        Some(abi) if abi >= 4 => Check::ok(
            Area::Confinement,
            "Landlock",
            format!("ABI {abi}: `live` reaches only the files and TCP ports that it needs"),
        ),
        Some(abi) => Check::limited(
            Area::Confinement,
            "Landlock",
            format!(
                "ABI {abi}: `live` reaches only the files that it needs; TCP needs ABI 4 (Linux 6.7)"
            ),
            None,
        ),
        None => Check::limited(
            Area::Confinement,
            "Landlock",
            "this kernel has no Landlock, or not in its lsm= list: files are guarded by capabilities and seccomp alone",
            None,
        ),
    };
    let seccomp = if has_seccomp() {
        Check::ok(
            Area::Confinement,
            "seccomp",
            "`live` can use only the system calls that it needs, and start no program",
        )
    } else {
        Check::limited(
            Area::Confinement,
            "seccomp",
            "system calls cannot be limited here",
            None,
        )
    };
    vec![landlock, seccomp]
}
