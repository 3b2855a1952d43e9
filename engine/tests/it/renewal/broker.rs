//! A mosquitto that is ended and started again where it was, with its port, its disk and its log.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tempfile::TempDir;

use crate::harness::mosquitto::free_port;
use crate::harness::wait_until;

/// A broker with a life of several runs.
pub struct Broker {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Broker {
    /// Starts one on a free port of 127.0.0.1. `more` gives lines of its configuration for its folder.
    pub fn start(more: impl FnOnce(&Path) -> String) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())), more)
    }

    /// Starts one at an address.
    pub fn start_at(address: SocketAddr, more: impl FnOnce(&Path) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        let (port, place) = (address.port(), folder.path());
        // It reads its files as whoever runs the tests. At the bound of what is in flight, mosquitto 2.0.11
        // may keep the last message of a burst back until there is another.
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n\
             max_inflight_messages 0\nuser root\npersistence_location {}/\n{}\n",
            place.display(),
            more(place)
        );
        fs::write(place.join("mosquitto.conf"), text).unwrap();
        let child = run(place, address);
        Self {
            folder,
            address,
            child,
        }
    }

    /// Where devices' messages go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file beside its configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it logged in all of its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in good order, and waits until it has written everything to its disk.
    pub fn terminate(&mut self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status();
        assert!(status.unwrap().success());
        self.child.wait().unwrap();
    }

    /// Runs it again.
    pub fn start_again(&mut self) {
        self.child = run(self.folder.path(), self.address);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the broker's log ---\n{}", self.log());
        }
    }
}

fn run(folder: &Path, address: SocketAddr) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let child = Command::new("mosquitto")
        .arg("-v")
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("mosquitto is installed: make test does it");
    wait_until("the broker to listen", || {
        TcpStream::connect(address).is_ok()
    });
    child
}
