//! seccomp: the system calls that are left.
//!
//! An allow-list that answers everything else with ENOSYS, "this kernel has no such call". Programs built for several kernels know that
//! answer: a newer glibc that tries a newer call falls back to the one listed here, where EPERM would confuse it and a kill would end the
//! watching at 3 a.m. for a harmless probe. What an intruder would want is out either way: starting programs, other processes' memory,
//! new namespaces and mounts, keys, modules, BPF, io_uring, new listening sockets, pages that can be written and then run.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::Role;

/// Memory, threads and their signals, time, what a process may know of itself.
const PROCESS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    libc::SYS_prlimit64,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
];

/// Reading and writing what is open, waiting for it.
const IO: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
];

/// Looking at files. Landlock says at which.
const LOOK: &[i64] = &[
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
];

/// Changing files: the recording, its ring, a saved state. Landlock says where.
const CHANGE: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_umask,
    libc::SYS_flock,
];

/// Sockets: those that are open, and calling out (RTR, DNS). None is made to listen: `listen` is not here.
const SOCKETS: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_socketpair,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// The kernel thread's: its netlink socket is open.
const KERNEL_SOCKETS: &[i64] = &[
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
];

/// Older names of the above, which only this architecture has.
#[cfg(target_arch = "x86_64")]
mod older {
    pub const PROCESS: &[i64] = &[libc::SYS_arch_prctl, libc::SYS_time];
    pub const IO: &[i64] = &[
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_epoll_wait,
        libc::SYS_epoll_create,
        libc::SYS_eventfd,
        libc::SYS_pipe,
        libc::SYS_dup2,
    ];
    pub const LOOK: &[i64] = &[
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_getdents,
    ];
    pub const CHANGE: &[i64] = &[
        libc::SYS_open,
        libc::SYS_mkdir,
        libc::SYS_unlink,
        libc::SYS_rmdir,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_link,
        libc::SYS_chmod,
    ];
    pub const SOCKETS: &[i64] = &[libc::SYS_accept];
}
#[cfg(not(target_arch = "x86_64"))]
mod older {
    pub const PROCESS: &[i64] = &[];
    pub const IO: &[i64] = &[];
    pub const LOOK: &[i64] = &[];
    pub const CHANGE: &[i64] = &[];
    pub const SOCKETS: &[i64] = &[libc::SYS_accept];
}

/// Address families that may be asked for. Capturing has its own thread.
const FAMILIES: &[libc::c_int] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// `prctl` calls: names of threads, names of memory (glibc 2.38 does it), dropping from the bounding set is over.
const PRCTL: &[libc::c_int] = &[
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_CAP_AMBIENT,
];

/// `ioctl` calls that put keystrokes into a terminal's input: the way out of a sandbox that shares its terminal with a shell.
const TYPING: &[u64] = &[0x5412, 0x541c]; // TIOCSTI, TIOCLINUX

/// Confines the calling thread and those that it starts; what is enforced, in a word.
pub fn confine(role: Role) -> io::Result<&'static str> {
    let Some(arch) = architecture() else {
        return Ok("no seccomp (no list for this architecture)");
    };
    let program = compile(role, arch)?;
    match seccompiler::apply_filter(&program) {
        Ok(()) => Ok("seccomp"),
        // Built without CONFIG_SECCOMP_FILTER: EINVAL; a service manager or container runtime may forbid the call.
        Err(seccompiler::Error::Seccomp(error))
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)
            ) =>
        {
            Ok("no seccomp (not available here)")
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether this kernel takes filters: tried on a thread that then ends.
pub fn is_available() -> bool {
    let probe = || confine(Role::Main).is_ok_and(|word| word == "seccomp");
    std::thread::spawn(probe).join().unwrap_or(false)
}

fn architecture() -> Option<TargetArch> {
    TargetArch::try_from(std::env::consts::ARCH).ok()
}

fn compile(role: Role, arch: TargetArch) -> io::Result<BpfProgram> {
    let rules = rules(role).map_err(io::Error::other)?;
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, absent, SeccompAction::Allow, arch)
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(role: Role) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = Rules::new();
    let mut allow = |lists: &[&[i64]]| {
        for call in lists.iter().copied().flatten() {
            rules.insert(*call, Vec::new());
        }
    };
    allow(&[PROCESS, older::PROCESS, IO, older::IO, LOOK, older::LOOK]);
    if role == Role::Kernel {
        // Landlock does not bind this thread, so it opens nothing for writing, and no socket.
        allow(&[KERNEL_SOCKETS]);
        let writing = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
        let reading = only(2, Is::MaskedEq(writing), libc::O_RDONLY as u64)?;
        rules.insert(libc::SYS_openat, vec![reading]);
    } else {
        allow(&[CHANGE, older::CHANGE, SOCKETS, older::SOCKETS]);
        let mut families: Vec<SeccompRule> = FAMILIES
            .iter()
            .map(|family| only(0, Is::Eq, *family as u64))
            .collect::<Result<_, _>>()?;
        if role != Role::Main {
            families.push(only(0, Is::Eq, libc::AF_PACKET as u64)?);
        }
        rules.insert(libc::SYS_socket, families);
    }
    // Threads, not processes. `clone3` hides its flags behind a pointer; glibc takes `clone` when there is none.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(
        libc::SYS_clone,
        vec![only(0, Is::MaskedEq(thread), thread)?],
    );
    // What can be written cannot be run.
    let (write, execute) = (libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
    rules.insert(
        libc::SYS_mmap,
        vec![
            only(2, Is::MaskedEq(execute), 0)?,
            only(2, Is::MaskedEq(write), 0)?,
        ],
    );
    rules.insert(libc::SYS_mprotect, vec![only(2, Is::MaskedEq(execute), 0)?]);
    let named = PRCTL
        .iter()
        .map(|call| only(0, Is::Eq, *call as u64))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_prctl, named);
    // The kernel looks at the lower half of the number only, so the rule must too.
    let typing = TYPING
        .iter()
        .map(|call| SeccompCondition::new(1, Length::Dword, Is::Ne, *call))
        .collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(typing)?]);
    Ok(rules)
}

/// A rule that looks at the lower half of one argument: all that the kernel takes of flags and small numbers.
fn only(argument: u8, is: Is, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        Length::Dword,
        is,
        value,
    )?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_a_filter_that_the_kernels_limit_allows() {
        /// `BPF_MAXINSNS`.
        const LIMIT: usize = 4096;
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            for role in [Role::Main, Role::Kernel, Role::Interfaces] {
                let program = compile(role, arch).unwrap();
                assert!(program.len() < LIMIT, "{role:?}: {}", program.len());
            }
        }
    }

    #[test]
    fn a_confined_thread_reads_and_cannot_start_a_program_or_listen() {
        if !is_available() {
            return;
        }
        std::thread::spawn(|| {
            confine(Role::Main).unwrap();
            assert!(std::fs::read_to_string("/proc/self/status").is_ok());
            std::thread::spawn(|| ()).join().unwrap();
            let started = std::process::Command::new("/bin/true").status();
            assert_eq!(started.unwrap_err().raw_os_error(), Some(libc::ENOSYS));
            let listens = std::net::TcpListener::bind("127.0.0.1:0");
            assert_eq!(listens.unwrap_err().raw_os_error(), Some(libc::ENOSYS));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_kernels_thread_opens_for_reading_only() {
        if !is_available() {
            return;
        }
        let path = std::env::temp_dir().join(format!("flapscope-read-{}", std::process::id()));
        std::fs::write(&path, "text").unwrap();
        let file = path.clone();
        std::thread::spawn(move || {
            confine(Role::Kernel).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
            let written = std::fs::OpenOptions::new().append(true).open(&file);
            assert!(written.is_err());
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
        })
        .join()
        .unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
