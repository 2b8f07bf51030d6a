//! A host made of two namespaces: its own, and one that holds the far ends of its links. Both go when it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

/// Whether namespaces can be made here; says so when not.
pub fn possible() -> bool {
    let name = format!("fsl-probe-{}", std::process::id());
    let made = ip(&format!("netns add {name}")).is_some_and(|out| out.status.success());
    ip(&format!("netns del {name}"));
    assert!(
        made || std::env::var_os("REQUIRE_NETNS").is_none(),
        "REQUIRE_NETNS is set and `ip netns add` fails"
    );
    if !made {
        eprintln!("SKIPPED: `ip netns add` fails (no root?)");
    }
    made
}

/// Runs `ip`; `None` when there is none.
pub fn ip(args: &str) -> Option<Output> {
    Command::new("ip")
        .args(args.split_whitespace())
        .output()
        .ok()
}

pub struct Host {
    pub name: String,
    pub far: String,
}

impl Host {
    pub fn new(name: &str) -> Host {
        let name = format!("fsl-{name}-{}", std::process::id());
        let far = format!("{name}-far");
        let host = Host { name, far };
        for namespace in [&host.name, &host.far] {
            run(&format!("netns add {namespace}"));
            run(&format!("-n {namespace} link set lo up"));
        }
        host
    }

    pub fn uplink(&self, link: &str, v4: &str, v6: &str) {
        let far = &self.far;
        self.ip(&format!(
            "link add {link} type veth peer name {link} netns {far}"
        ));
        self.ip(&format!("addr add {v4} dev {link}"));
        self.ip(&format!("addr add {v6} dev {link} nodad"));
        self.ip(&format!("link set {link} up"));
        self.far(&format!("link set {link} up"));
    }

    /// `ip` on the host.
    pub fn ip(&self, args: &str) {
        run(&format!("-n {} {args}", self.name));
    }

    /// `ip` at the far ends.
    pub fn far(&self, args: &str) {
        run(&format!("-n {} {args}", self.far));
    }

    /// What `ip` prints on the host.
    pub fn show(&self, args: &str) -> Vec<u8> {
        run(&format!("-n {} {args}", self.name)).stdout
    }

    /// Waits until `ip` prints `wanted` on the host.
    pub fn until(&self, args: &str, wanted: &str) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !String::from_utf8_lossy(&self.show(args)).contains(wanted) {
            assert!(std::time::Instant::now() < end, "{args}: never {wanted}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Many commands at once.
    pub fn batch(&self, commands: &str) {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(commands.as_bytes()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
    }

    /// A process inside, which is there when this returns; it ends with its standard input.
    pub fn process(&self) -> Child {
        let mut child = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.name,
                "sh",
                "-c",
                "echo here; exec cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "here\n");
        child
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
        ip(&format!("netns del {}", self.far));
    }
}

fn run(args: &str) -> Output {
    let out = ip(args).expect("ip");
    assert!(
        out.status.success(),
        "ip {args}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    out
}
