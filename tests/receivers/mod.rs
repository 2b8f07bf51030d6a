//! Receivers: a webhook that fails as it is told to, and real programs from packages.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// What the webhook does with a request.
pub enum Answer {
    /// A status, and further header lines.
    Status(u16, &'static str),
    /// Closes without a word.
    Reset,
    Garbage,
}

/// A request as it came.
#[derive(Clone)]
pub struct Heard {
    pub at: Instant,
    pub id: String,
}

/// A webhook on a thread of its own.
pub struct Hook {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Hook {
    /// Listens; `behaves` answers the request of that number.
    pub fn start(port: u16, behaves: impl Fn(usize) -> Answer + Send + 'static) -> Hook {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &all, &behaves);
            }
        });
        Hook { port, heard }
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The idempotency keys, in order.
    pub fn ids(&self) -> Vec<String> {
        self.heard().into_iter().map(|heard| heard.id).collect()
    }
}

/// All requests of one connection.
fn serve(stream: TcpStream, heard: &Mutex<Vec<Heard>>, behaves: &impl Fn(usize) -> Answer) {
    let mut lines = BufReader::new(stream);
    loop {
        let (mut length, mut id) = (0, String::new());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.trim().to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if let Some(value) = lower.strip_prefix("webhook-id:") {
                id = value.trim().to_owned();
            }
            if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap();
        let nth = {
            let mut heard = heard.lock().unwrap();
            heard.push(Heard {
                at: Instant::now(),
                id,
            });
            heard.len() - 1
        };
        let out = lines.get_mut();
        match behaves(nth) {
            Answer::Reset => return,
            Answer::Garbage => {
                out.write_all(b"\x00\x01 what?\r\n\r\n").unwrap();
                return;
            }
            Answer::Status(code, headers) => {
                write!(
                    out,
                    "HTTP/1.1 {code} so\r\ncontent-length: 0\r\n{headers}\r\n"
                )
                .unwrap();
            }
        }
    }
}

/// A program from a package, ended with the test.
pub struct Real {
    child: Child,
    pub port: u16,
    output: PathBuf,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("REQUIRE_ALL").is_none(),
            "{program} is not installed"
        );
        println!("SKIPPED: {program} is not installed");
    }
    found
}

fn listening(port: u16) {
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Real {
    /// rsyslogd, which writes what it understood of each message.
    pub fn rsyslog(folder: &Path) -> Option<Real> {
        let program = installed("rsyslogd")?;
        let (port, output) = (free_port(), folder.join("messages"));
        let config = format!(
            "module(load=\"imtcp\")\nmodule(load=\"imudp\")\ninput(type=\"imtcp\" port=\"{port}\")\ninput(type=\"imudp\" port=\"{port}\")\n\
             template(name=\"seen\" type=\"string\" string=\"%syslogfacility-text% %app-name% %msgid% %structured-data% %msg%\\n\")\n\
             *.* action(type=\"omfile\" file=\"{}\" template=\"seen\")\nglobal(workDirectory=\"{}\")\n",
            output.display(),
            folder.display()
        );
        let path = folder.join("rsyslog.conf");
        std::fs::write(&path, config).unwrap();
        let child = Command::new(program)
            .args(["-n", "-iNONE", "-f"])
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        listening(port);
        Some(Real {
            child,
            port,
            output,
        })
    }

    /// Two members of one cluster.
    pub fn alertmanagers(folder: &Path) -> Option<Vec<Real>> {
        let program = installed("prometheus-alertmanager")?;
        let config = folder.join("alertmanager.yml");
        std::fs::write(
            &config,
            "route:\n  receiver: nobody\nreceivers:\n- name: nobody\n",
        )
        .unwrap();
        let gossip = [free_port(), free_port()];
        let members = [0, 1].map(|n| {
            let port = free_port();
            let log = std::fs::File::create(folder.join(format!("{n}.log"))).unwrap();
            let child = Command::new(&program)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!(
                    "--storage.path={}",
                    folder.join(n.to_string()).display()
                ))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg(format!("--cluster.listen-address=127.0.0.1:{}", gossip[n]))
                .arg("--cluster.advertise-address=127.0.0.1:".to_owned() + &gossip[n].to_string())
                .arg(format!("--cluster.peer=127.0.0.1:{}", gossip[1 - n]))
                .stdout(Stdio::null())
                .stderr(Stdio::from(log))
                .spawn()
                .unwrap();
            Real {
                child,
                port,
                output: folder.to_owned(),
            }
        });
        members.iter().for_each(|member| listening(member.port));
        Some(members.into_iter().collect())
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it wrote.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The alerts that fire.
    pub fn firing(&self) -> Vec<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = "GET /api/v2/alerts?active=true HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("[]", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }
}
