//! Process: the generator and its sink as child processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ringbeam-loadgen");

/// Devices of the tests: the SIMs of a network of their own.
pub(crate) const SIMS: [&str; 4] = ["--sims", "127.9.0.0/16", "--imsi-base", "440100009000000"];

/// A port that nothing listens on, below the kernel's own choices. Every process of tests begins elsewhere.
pub(crate) fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = u16::try_from(std::process::id() * 37 % 5000).unwrap();
        let port = 15_000 + (start + step) % 5000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs the generator to its end; its status and its JSON.
pub(crate) fn run(line: &str) -> (Option<i32>, Value, String) {
    let output: Output = Command::new(PROGRAM)
        .args(line.split_whitespace())
        .args(SIMS)
        .args(["--json", "-", "--progress", "none"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), json, text)
}

/// A sink that ends with the test.
pub(crate) struct Sink {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Sink {
    pub(crate) fn start(options: &str) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut child = Command::new(PROGRAM)
            .args(["sink", "--listen", &listen])
            .args(options.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), format!("ready {listen}"));
        Self {
            child,
            address: listen,
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
