//! The links of the project's survey that no row of the table stands for, and what does.
//!
//! The survey numbers causal links C1–C46 (routing) and L1–L15 (DHCP and neighbor discovery). Rows of `rules` name theirs; together with this
//! list every number is accounted for, which a test checks.

/// A link of the survey without a row.
#[derive(Clone, Debug)]
pub struct Link {
    pub number: &'static str,
    pub link: &'static str,
    /// What stands for it, or why nothing does.
    pub instead: &'static str,
}

/// All of them.
pub const ELSEWHERE: &[Link] = &[
    Link {
        number: "C12",
        link: "a starved host loses several sessions",
        instead: "no input shows the host's load; sessions to different neighbors that fall together stay incidents of their own",
    },
    Link {
        number: "C25",
        link: "a DHCP renewal makes a network manager remove foreign addresses and routes",
        instead: "a renewal is no finding: `route.foreign-delete` and `address.removed` explain themselves with the renewal that was acknowledged \
                  within 3 s before; as a period it is matched against T1",
    },
    Link {
        number: "C33",
        link: "a period equals a timer",
        instead: "the table of timers: `period.match`",
    },
    Link {
        number: "C37",
        link: "a mitigation system announces and withdraws a host route",
        instead: "its ban time is in the table of timers",
    },
    Link {
        number: "C42",
        link: "a flood of neighbor discovery overruns netlink",
        instead: "`feed.gap`; no cause is asserted across a gap",
    },
    Link {
        number: "C43",
        link: "a daemon's netlink overrun parts RIB and FIB",
        instead: "another process's overrun is not visible; `route.fib-missing` and `route.fib-stale` tell what it leaves",
    },
    Link {
        number: "C45",
        link: "redistribution that feeds itself",
        instead: "one finding, `prefix.flap` with its period and `route.flap` below it: cause and effect are the same route",
    },
    Link {
        number: "L1",
        link: "a lease brings address and routes",
        instead: "benign: no finding",
    },
    Link {
        number: "L7",
        link: "switching forwarding on removes the advertised default route",
        instead: "sysctl changes are not in the inputs; `route.default-lost` names the kernel as actor and rejects the router's withdrawal",
    },
];
