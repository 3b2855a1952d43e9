//! Debian's mosquitto, as a broker and as clients.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use super::ringbeam::signal;
use super::{PATIENCE, wait_until};

/// A running broker.
pub struct Mosquitto {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    /// Its port for TLS, where it has one.
    tls: Option<SocketAddr>,
}

impl Mosquitto {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one that logs little.
    pub fn start_quiet() -> Self {
        Self::start_with("log_type error")
    }

    /// Starts one with more lines of configuration.
    pub fn start_with(more: &str) -> Self {
        let port = free_port();
        Self::start_on(port, more)
    }

    /// Starts one on a port.
    pub fn start_on(port: u16, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n{more}\n"
        );
        fs::write(&config, text).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new("sh")
            .args([
                "-c",
                "ulimit -n $(ulimit -Hn); exec mosquitto $VERBOSE -c \"$0\"",
            ])
            .arg(&config)
            .env("VERBOSE", if more.contains("log_type") { "" } else { "-v" })
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("mosquitto is installed: make test does it");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("mosquitto to listen", || {
            TcpStream::connect(address).is_ok()
        });
        Self {
            child,
            folder,
            address,
            tls: None,
        }
    }

    /// Starts one that also listens with TLS, which `more` may say more about.
    pub fn start_tls(certificate: &Path, key: &Path, more: &str) -> Self {
        let port = free_port();
        let [certificate, key] = [certificate, key].map(Path::display);
        // It would give up its rights to read the key.
        let tls = format!(
            "user root\nlistener {port} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n{more}"
        );
        let mut broker = Self::start_with(&tls);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("mosquitto to listen with TLS", || {
            TcpStream::connect(address).is_ok()
        });
        broker.tls = Some(address);
        broker
    }

    /// Where it speaks TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.tls.unwrap()
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Waits for a text in its log.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in mosquitto's log"), || {
            self.log().contains(text)
        });
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A free port below those that connections get by themselves, so that none takes it meanwhile.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        let start = u16::try_from(std::process::id() % 10_000).unwrap();
        let port = 21_000 + (start + offset) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// `mosquitto_pub` or `mosquitto_sub` towards an address, from a SIM's address where one is given.
pub fn client(program: &str, from: Option<Ipv4Addr>, to: SocketAddr) -> Command {
    let mut command = Command::new(program);
    address(&mut command, from, to);
    command
}

fn address(command: &mut Command, from: Option<Ipv4Addr>, to: SocketAddr) {
    command.args(["-h", &to.ip().to_string(), "-p", &to.port().to_string()]);
    if let Some(from) = from {
        command.args(["-A", &from.to_string()]);
    }
    command.stdin(Stdio::null());
}

/// A subscriber whose lines are read one by one.
pub struct Subscriber {
    child: Child,
    lines: Receiver<String>,
    /// Messages that came before the subscription stood: those of a session that was kept.
    early: VecDeque<String>,
}

impl Subscriber {
    /// Starts `mosquitto_sub` with these options and waits until it is subscribed. Its lines are
    /// `topic qos retain payload`.
    pub fn start(from: Option<Ipv4Addr>, to: SocketAddr, options: &[&str]) -> Self {
        // Line by line, though it is no terminal.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub"]);
        address(&mut command, from, to);
        // Debug lines go to the same output; they tell when the subscription stands.
        command
            .args(["-d", "-F", "MESSAGE %t %q %r %p"])
            .args(options);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let early = VecDeque::new();
        let mut subscriber = Self {
            child,
            lines,
            early,
        };
        loop {
            let line = subscriber.any_line();
            if line.starts_with("Subscribed") {
                return subscriber;
            }
            subscriber
                .early
                .extend(line.strip_prefix("MESSAGE ").map(str::to_owned));
        }
    }

    /// The next message.
    pub fn message(&mut self) -> String {
        if let Some(message) = self.early.pop_front() {
            return message;
        }
        loop {
            if let Some(message) = self.any_line().strip_prefix("MESSAGE ") {
                return message.to_owned();
            }
        }
    }

    /// The next line, debug or not.
    fn any_line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("a line of mosquitto_sub")
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
