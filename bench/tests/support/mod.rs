//! Support: `ringbeam-bench` as a process, what it left behind, and a path that damages what passes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::spawn;
use std::time::{Duration, Instant};

use ringbeam_bench::model::{Row, Run};
use tempfile::TempDir;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Every so many reads of the damaging path, one is damaged.
const DAMAGED_EACH: usize = 5;

/// A comparison that is over.
pub(crate) struct Finished {
    pub(crate) out: TempDir,
    pub(crate) code: Option<i32>,
    /// Both outputs.
    pub(crate) output: String,
}

/// A process, told from a later one with the same number.
#[derive(Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) pid: u32,
    pub(crate) name: String,
    parent: u32,
    started: String,
}

/// Where the programs are. They are built if nobody has built them yet.
pub(crate) fn bin_dir() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_ringbeam-bench"))
            .parent()
            .unwrap()
            .to_owned();
        for package in ["ringbeam", "ringbeam-loadgen"] {
            if !folder.join(package).exists() {
                let profile = folder.ends_with("release").then_some("--release");
                let status = Command::new(env!("CARGO"))
                    .args(["build", "--quiet", "-p", package])
                    .args(profile)
                    .current_dir(env!("CARGO_MANIFEST_DIR"))
                    .status();
                assert!(status.unwrap().success(), "{package} cannot be built");
            }
        }
        folder
    })
}

/// Runs a comparison to its end.
pub(crate) fn compare(arguments: &[&str]) -> Finished {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().display().to_string();
    let out_option = if arguments.contains(&"--out") {
        vec![]
    } else {
        vec!["--out", &folder]
    };
    let output = command(&[arguments, &out_option].concat())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Finished::read(out, output.status.code(), String::from_utf8(text).unwrap())
}

/// Starts a comparison whose temporary files are below a folder, where they may be left.
pub(crate) fn start(arguments: &[&str], temporary: &Path) -> Child {
    command(arguments)
        .env("TMPDIR", temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbeam-bench"));
    command.arg("compare").stdin(Stdio::null());
    bin_dir();
    command.args(arguments);
    command
}

impl Finished {
    pub(crate) fn read(out: TempDir, code: Option<i32>, output: String) -> Self {
        Self { out, code, output }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        serde_json::from_str(&self.text("raw.json")).unwrap()
    }

    pub(crate) fn run(&self) -> Run {
        serde_json::from_str(&self.text("run.json")).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.out.path().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.output))
    }
}

/// Sends a signal, such as `INT`, which is what Ctrl-C does.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every process below another one.
pub(crate) fn descendants(pid: u32) -> Vec<Known> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<_> = pids.filter_map(known).collect();
    let mut below = vec![pid];
    let mut found = Vec::new();
    let mut left = all;
    loop {
        let (children, others): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|process| below.contains(&process.parent));
        if children.is_empty() {
            return found;
        }
        below.extend(children.iter().map(|process| process.pid));
        found.extend(children);
        left = others;
    }
}

/// Whether it is still there.
pub(crate) fn is_running(process: &Known) -> bool {
    known(process.pid).is_some_and(|now| now.started == process.started)
}

fn known(pid: u32) -> Option<Known> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    let name = start.split_once('(')?.1.to_owned();
    Some(Known {
        pid,
        name,
        parent: fields.get(1)?.parse().ok()?,
        started: (*fields.get(19)?).to_owned(),
    })
}

/// A path to a port on loopback that changes the last byte of some of what devices send. Returns its own port.
pub(crate) fn lossy_path(to: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(move || {
        for device in listener.incoming() {
            let (device, upstream) = (
                device.unwrap(),
                TcpStream::connect((Ipv4Addr::LOCALHOST, to)).unwrap(),
            );
            let back = (upstream.try_clone().unwrap(), device.try_clone().unwrap());
            spawn(move || pass(device, upstream, Some(DAMAGED_EACH)));
            spawn(move || pass(back.0, back.1, None));
        }
    });
    port
}

/// The first read, a CONNECT, is left as it is.
fn pass(mut from: TcpStream, mut to: TcpStream, damaged_each: Option<usize>) {
    let mut buffer = [0; 16384];
    for count in 1.. {
        let Ok(length @ 1..) = from.read(&mut buffer) else {
            break;
        };
        if damaged_each.is_some_and(|each| count % each == 0) {
            buffer[length - 1] ^= 1;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}
