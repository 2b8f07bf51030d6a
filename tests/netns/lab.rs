//! A laboratory: namespaces, cables, and real daemons in them without an init system. What it made goes when it is dropped; processes
//! are ended by their own id.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where daemons are that no PATH names.
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/usr/lib/frr"];

pub struct Lab {
    tag: String,
    spaces: Vec<String>,
    pub dir: PathBuf,
    processes: Vec<(String, Child)>,
}

/// The path of a program.
pub fn program(name: &str) -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists())
}

impl Lab {
    /// `None`, loudly, where namespaces cannot be made or a program is missing; that fails with `REQUIRE_NETNS=1`.
    pub fn new(tag: &str, spaces: &[&str], programs: &[&str]) -> Option<Lab> {
        if !super::host::possible() {
            return None;
        }
        let missing: Vec<&&str> = programs.iter().filter(|p| program(p).is_none()).collect();
        if !missing.is_empty() {
            assert!(
                std::env::var_os("REQUIRE_NETNS").is_none(),
                "REQUIRE_NETNS is set and {missing:?} are not installed"
            );
            eprintln!("SKIPPED: {missing:?} are not installed");
            return None;
        }
        let tag = format!("fsd-{tag}{}", std::process::id());
        let dir = std::env::temp_dir().join(&tag);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let mut lab = Lab {
            tag,
            spaces: Vec::new(),
            dir,
            processes: Vec::new(),
        };
        for space in spaces {
            let name = lab.ns(space);
            run("ip", &["netns", "add", &name]);
            lab.spaces.push(name);
            lab.sysctl(space, "net.ipv6.conf.all.accept_dad=0");
            lab.sysctl(space, "net.ipv6.conf.default.accept_dad=0");
            lab.ip(space, "link set lo up");
        }
        Some(lab)
    }

    /// The namespace's real name.
    pub fn ns(&self, space: &str) -> String {
        format!("{}-{space}", self.tag)
    }

    pub fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a command in a namespace; what it prints.
    #[track_caller]
    pub fn sh(&self, space: &str, command: &str) -> String {
        let name = self.ns(space);
        let mut words = vec!["netns", "exec", &name];
        words.extend(command.split_whitespace());
        run("ip", &words)
    }

    #[track_caller]
    pub fn ip(&self, space: &str, command: &str) {
        self.sh(space, &format!("ip {command}"));
    }

    pub fn sysctl(&self, space: &str, setting: &str) {
        self.sh(space, &format!("sysctl -qw {setting}"));
    }

    /// A cable between two namespaces, with addresses, up.
    pub fn cable(&self, a: (&str, &str, &[&str]), b: (&str, &str, &[&str])) {
        let (far, (near, near_port, _), (_, far_port, _)) = (self.ns(b.0), a, b);
        let command = format!("link add {near_port} type veth peer name {far_port} netns {far}");
        self.ip(near, &command);
        for (space, port, addresses) in [a, b] {
            for address in addresses {
                self.ip(space, &format!("addr add {address} dev {port}"));
            }
            self.ip(space, &format!("link set {port} up"));
        }
    }

    /// Drops packets with an nft rule, seen before the stack (`input`) or after it (`output`).
    pub fn drop_packets(&self, space: &str, rules: &[&str]) {
        let chain = |hook: &str| {
            let rules: String = rules.iter().map(|rule| format!("{rule} drop; ")).collect();
            format!("chain {hook} {{ type filter hook {hook} priority -300; {rules} }}\n")
        };
        let text = format!(
            "table inet lab {{\n{}{}}}\n",
            chain("input"),
            chain("output")
        );
        let file = self.write(&format!("{space}.nft"), &text);
        self.sh(space, &format!("nft -f {file}"));
    }

    pub fn pass_packets(&self, space: &str) {
        self.sh(space, "nft delete table inet lab");
    }

    /// Starts a daemon; it runs until it is ended or the laboratory goes.
    pub fn spawn(&mut self, space: &str, name: &str, words: &[&str]) {
        let log = fs::File::create(self.dir.join(format!("{space}-{name}.log"))).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.ns(space)]);
        command.args(words).current_dir(&self.dir);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.push((format!("{space}/{name}"), child));
    }

    /// Signals a daemon; waits for its end where that ends it.
    pub fn signal(&mut self, space: &str, name: &str, signal: &str) {
        let wanted = format!("{space}/{name}");
        let found = self
            .processes
            .iter()
            .position(|(known, _)| *known == wanted);
        let (_, mut child) = self
            .processes
            .remove(found.expect("a process of that name"));
        run("kill", &[signal, &child.id().to_string()]);
        child.wait().unwrap();
    }

    /// Waits until `test` holds.
    #[track_caller]
    pub fn until(&self, what: &str, test: impl Fn(&Lab) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !test(self) {
            if Instant::now() > end {
                panic!("{what} did not come\n{}", self.logs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last lines of each daemon.
    fn logs(&self) -> String {
        let mut all = String::new();
        for entry in fs::read_dir(&self.dir).unwrap().map_while(Result::ok) {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            if entry.path().extension().is_some_and(|e| e == "log") {
                let last = lines[lines.len().saturating_sub(8)..].join("\n");
                all += &format!("--- {}\n{last}\n", entry.path().display());
            }
        }
        all
    }

    /// FRR: zebra, bgpd with BMP, and bfdd where a configuration for it is given.
    pub fn frr(&mut self, space: &str, bgp: &str, bfd: Option<&str>) {
        let home = self.dir.join(format!("frr-{space}"));
        fs::create_dir_all(&home).unwrap();
        let home = home.to_str().unwrap().to_owned();
        fs::write(format!("{home}/zebra.conf"), format!("hostname {space}\n")).unwrap();
        fs::write(
            format!("{home}/bgpd.conf"),
            format!("hostname {space}\n{bgp}"),
        )
        .unwrap();
        if let Some(bfd) = bfd {
            fs::write(
                format!("{home}/bfdd.conf"),
                format!("hostname {space}\n{bfd}"),
            )
            .unwrap();
        }
        run("chown", &["-R", "frr:frr", &home]);
        run("chmod", &["755", self.dir.to_str().unwrap()]);
        self.frr_daemon(space, &home, "zebra", &[]);
        self.until("zebra", |_| {
            Path::new(&format!("{home}/zserv.api")).exists()
        });
        if bfd.is_some() {
            let control = format!("{home}/bfdd.sock");
            self.frr_daemon(space, &home, "bfdd", &["--bfdctl", &control]);
        }
        self.frr_daemon(space, &home, "bgpd", &["-M", "bmp"]);
        self.until("bgpd", |_| Path::new(&format!("{home}/bgpd.vty")).exists());
    }

    fn frr_daemon(&mut self, space: &str, home: &str, name: &str, more: &[&str]) {
        let path = program(name).unwrap();
        let (conf, pid) = (format!("{home}/{name}.conf"), format!("{home}/{name}.pid"));
        let api = format!("{home}/zserv.api");
        let mut words = vec![path.to_str().unwrap(), "-f", &conf, "-i", &pid, "-z", &api];
        words.extend(["--vty_socket", home, "-A", "127.0.0.1", "-P", "0"]);
        words.extend(more);
        self.spawn(space, name, &words);
    }

    pub fn vtysh(&self, space: &str, command: &str) -> String {
        let home = self.file(&format!("frr-{space}"));
        let out = Command::new("vtysh")
            .args(["--vty_socket", &home, "-c", command])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// BIRD with this configuration.
    pub fn bird(&mut self, space: &str, config: &str) {
        let conf = self.write(&format!("bird-{space}.conf"), config);
        let (socket, pid) = (
            self.file(&format!("{space}.ctl")),
            self.file(&format!("{space}.pid")),
        );
        self.spawn(
            space,
            "bird",
            &["bird", "-f", "-c", &conf, "-s", &socket, "-P", &pid],
        );
        self.until("bird", |_| Path::new(&socket).exists());
    }

    pub fn birdc(&self, space: &str, words: &[&str]) -> String {
        let socket = self.file(&format!("{space}.ctl"));
        let out = Command::new("birdc")
            .args(["-s", &socket])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Kea for IPv4 on `port`, with leases of this many seconds.
    pub fn kea(
        &mut self,
        space: &str,
        port: &str,
        subnet: &str,
        pool: &str,
        router: &str,
        lease: u32,
    ) {
        // Kea opens no socket on an interface that is not running yet.
        self.until("a running port", |lab| {
            lab.sh(space, &format!("ip -o link show {port}"))
                .contains("state UP")
        });
        let (renew, rebind) = (lease / 3, lease * 2 / 3);
        let config = format!(
            r#"{{"Dhcp4": {{"interfaces-config": {{"interfaces": ["{port}"], "service-sockets-max-retries": 20, "service-sockets-retry-wait-time": 200}},
 "lease-database": {{"type": "memfile", "persist": false}}, "valid-lifetime": {lease}, "renew-timer": {renew}, "rebind-timer": {rebind}, "authoritative": true,
 "subnet4": [{{"subnet": "{subnet}", "pools": [{{"pool": "{pool}"}}], "option-data": [{{"name": "routers", "data": "{router}"}}]}}],
 "loggers": [{{"name": "kea-dhcp4", "output_options": [{{"output": "stdout"}}], "severity": "INFO"}}]}}}}"#
        );
        let conf = self.write("kea4.json", &config);
        let home = format!("KEA_PIDFILE_DIR={}", self.dir.display());
        let locks = format!("KEA_LOCKFILE_DIR={}", self.dir.display());
        self.spawn(
            space,
            "kea",
            &["env", &home, &locks, "kea-dhcp4", "-c", &conf],
        );
        let log = self.file(&format!("{space}-kea.log"));
        self.until("Kea", |_| {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("DHCP4_STARTED"))
        });
    }

    /// ISC dhclient with Debian's own script, which edits /etc: it gets a private copy of it.
    pub fn dhclient(&mut self, space: &str, port: &str) {
        let etc = self.dir.join("etc");
        if !etc.exists() {
            fs::create_dir_all(&etc).unwrap();
            for name in [
                "dhcp",
                "nsswitch.conf",
                "passwd",
                "group",
                "ld.so.cache",
                "ld.so.conf",
                "ld.so.conf.d",
                "alternatives",
            ] {
                let from = Path::new("/etc").join(name);
                if from.exists() {
                    run("cp", &["-a", from.to_str().unwrap(), etc.to_str().unwrap()]);
                }
            }
            // Debian's script reads them; without them the client DECLINEs what it was given.
            for name in ["fstab", "resolv.conf", "hosts"] {
                fs::write(etc.join(name), "").unwrap();
            }
            fs::create_dir_all(etc.join("dhcp")).unwrap();
            let ask =
                "request subnet-mask, routers;\nretry 4;\ninitial-interval 1;\nbackoff-cutoff 4;\n";
            fs::write(etc.join("dhcp/dhclient.conf"), ask).unwrap();
        }
        let script = format!(
            "mount --bind {} /etc && exec dhclient -d -4 -lf {} -pf {} {port}",
            etc.display(),
            self.file(&format!("{space}.leases")),
            self.file(&format!("{space}.dpid"))
        );
        self.spawn(space, "dhclient", &["unshare", "-m", "sh", "-c", &script]);
    }

    /// dnsmasq that hands out this range with itself as gateway.
    pub fn dnsmasq(&mut self, space: &str, port: &str, range: &str) {
        let (port, range) = (
            format!("--interface={port}"),
            format!("--dhcp-range={range}"),
        );
        let leases = format!(
            "--dhcp-leasefile={}",
            self.file(&format!("{space}.dnsmasq"))
        );
        let words = [
            "dnsmasq",
            "-k",
            "--conf-file=/dev/null",
            "--user=root",
            "--log-facility=-",
            "--port=0",
            "--bind-dynamic",
            "--no-ping",
            "--dhcp-authoritative",
            "--pid-file=",
        ];
        self.spawn(
            space,
            "dnsmasq",
            &[&words[..], &[&port, &range, &leases]].concat(),
        );
        let log = self.file(&format!("{space}-dnsmasq.log"));
        self.until("dnsmasq", |_| {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("DHCP, IP range"))
        });
    }

    /// radvd with this configuration.
    pub fn radvd(&mut self, space: &str, config: &str) {
        let conf = self.write(&format!("radvd-{space}.conf"), config);
        let pid = self.file(&format!("radvd-{space}.pid"));
        self.spawn(
            space,
            "radvd",
            &[
                "radvd",
                "-n",
                "-m",
                "stderr",
                "-C",
                &conf,
                "-p",
                &pid,
                "--username=root",
            ],
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            // The program behind `unshare` and `sh` is the same process: each of them execs.
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in &self.spaces {
            super::host::ip(&format!("netns del {name}"));
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

#[track_caller]
pub fn run(program: &str, words: &[&str]) -> String {
    let out = Command::new(program).args(words).output().unwrap();
    assert!(
        out.status.success(),
        "{program} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}
