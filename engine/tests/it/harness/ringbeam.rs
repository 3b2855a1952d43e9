//! The built binary under test, in a folder of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::http::Api;
use super::{PATIENCE, wait_for, wait_until};

/// The path of the binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ringbeam");

/// Who may use the API of [`Setup::with_user`].
pub const EMAIL: &str = "operator@example.com";
pub const PASSWORD: &str = "correct horse battery";

/// No control plane.
const OFF: &str = "address = \"\"";

/// A folder with a configuration and a fleet.
pub struct Setup {
    folder: TempDir,
    listeners: String,
    engine: String,
    registry: &'static str,
    control: String,
    more: String,
    arguments: Vec<String>,
    descriptors: Option<u32>,
    has_disk: bool,
}

/// A running `ringbeam serve`.
pub struct Ringbeam {
    child: Child,
    setup: Setup,
    addresses: Vec<(String, SocketAddr)>,
}

impl Setup {
    /// One listener on loopback, two shards.
    pub fn new(fleet: &Value) -> Self {
        let setup = Self {
            listeners: "[[listener]]\nnetwork = \"default\"\naddress = \"127.0.0.1:0\"\n"
                .to_owned(),
            registry: "path = \"fleet.json\"",
            control: OFF.to_owned(),
            ..Self::in_folder(TempDir::new().unwrap())
        };
        setup.write_fleet(fleet);
        setup.write_config();
        setup
    }

    /// A folder with copies of another's files, a configuration among them.
    pub fn copied_from(folder: &Path) -> Self {
        let setup = Self::in_folder(TempDir::new().unwrap());
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            fs::copy(
                entry.path(),
                setup.path(entry.file_name().to_str().unwrap()),
            )
            .unwrap();
        }
        setup
    }

    /// Nothing is in it yet.
    fn in_folder(folder: TempDir) -> Self {
        Self {
            folder,
            listeners: String::new(),
            engine: String::new(),
            registry: "",
            control: String::new(),
            more: String::new(),
            arguments: Vec::new(),
            descriptors: None,
            has_disk: false,
        }
    }

    /// Adds a line to `[engine]`.
    pub fn engine(mut self, line: &str) -> Self {
        writeln!(self.engine, "{line}").unwrap();
        self.write_config();
        self
    }

    /// Adds an argument of `ringbeam serve`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Lets it have so many descriptors at most.
    pub const fn descriptors(mut self, count: u32) -> Self {
        self.descriptors = Some(count);
        self
    }

    /// Adds a listener.
    pub fn listener(mut self, network: &str, address: &str) -> Self {
        writeln!(
            self.listeners,
            "[[listener]]\nnetwork = \"{network}\"\naddress = \"{address}\""
        )
        .unwrap();
        self.write_config();
        self
    }

    /// Adds whole sections.
    pub fn section(mut self, text: &str) -> Self {
        writeln!(self.more, "{text}").unwrap();
        self.write_config();
        self
    }

    /// Takes those sections away again.
    pub fn clear_sections(&mut self) {
        self.more.clear();
        self.write_config();
    }

    /// Replaces those sections.
    pub fn replace_sections(&mut self, text: &str) {
        text.clone_into(&mut self.more);
        self.write_config();
    }

    /// Writes a file into the folder.
    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    /// Has the fleet in a database, which is empty at first.
    pub fn embedded(mut self) -> Self {
        self.registry = "kind = \"embedded\"\nsecret_key_file = \"key\"";
        self.write_key('a');
        self.write_config();
        self
    }

    /// The same on a disk of its own, which is small, and a copy of the folder `disk` at each start.
    pub fn on_small_disk(mut self) -> Self {
        self = self.embedded();
        self.registry =
            "kind = \"embedded\"\nsecret_key_file = \"key\"\npath = \"disk/ringbeam.db\"";
        self.has_disk = true;
        fs::create_dir(self.path("disk")).unwrap();
        self.write_config();
        self
    }

    /// Has the control plane on a port of its own.
    pub fn control(mut self) -> Self {
        self.control = "address = \"127.0.0.1:0\"".to_owned();
        self.write_config();
        self
    }

    /// Adds lines to `[control]`; an address there is the only one.
    pub fn control_lines(mut self, lines: &str) -> Self {
        if lines.starts_with("address") {
            self.control.clear();
        }
        writeln!(self.control, "\n{lines}").unwrap();
        self.write_config();
        self
    }

    /// Has the fleet of the file imported, and a user who may use the API.
    pub fn with_user(self) -> Self {
        let file = self.path("fleet.json");
        let (status, _, errors) = output(self.fleet_command("import").arg(file));
        assert_eq!(status, Some(0), "{errors}");
        let mut add = self.user_command("add", EMAIL);
        let mut child = add
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{PASSWORD}").unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        self
    }

    /// `ringbeam user`, with this configuration.
    pub fn user_command(&self, command: &str, email: &str) -> Command {
        let mut user = Command::new(BINARY);
        user.args(["user", command]);
        user.arg("--config").arg(self.config());
        user.args(["--email", email]);
        user
    }

    /// Replaces the key of the database by one that is made of a digit.
    pub fn write_key(&self, digit: char) {
        let key = String::from(digit).repeat(64);
        fs::write(self.folder.path().join("key"), key).unwrap();
    }

    /// `ringbeam fleet`, with this configuration.
    pub fn fleet_command(&self, command: &str) -> Command {
        let mut fleet = Command::new(BINARY);
        fleet.args(["fleet", command]);
        fleet.arg("--config").arg(self.config());
        fleet
    }

    /// Where a file of the folder is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the fleet.
    pub fn write_fleet(&self, fleet: &Value) {
        fs::write(self.folder.path().join("fleet.json"), fleet.to_string()).unwrap();
    }

    /// Replaces the fleet by any text.
    pub fn write_fleet_text(&self, text: &str) {
        fs::write(self.folder.path().join("fleet.json"), text).unwrap();
    }

    fn write_config(&self) {
        let Self {
            listeners,
            engine,
            registry,
            control,
            more,
            ..
        } = self;
        let shards = if engine.contains("shards") {
            ""
        } else {
            "shards = 2\n"
        };
        let text = format!(
            "{listeners}\n[engine]\n{shards}{engine}\n[registry]\n{registry}\n[control]\n{control}\n{more}"
        );
        fs::write(self.config(), text).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("ringbeam.toml")
    }

    /// The log file of a running engine.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A command with this configuration.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.arg(subcommand).arg("--config").arg(self.config());
        command
    }

    fn serve(&self) -> Command {
        let serve = self.command("serve");
        let mut command = match self.descriptors {
            None => serve,
            Some(count) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\"")]);
                shell.arg(serve.get_program()).args(serve.get_args());
                shell
            }
        };
        command.args(&self.arguments);
        if self.has_disk {
            return on_disk(&self.folder.path().join("disk"), &command);
        }
        command
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Ringbeam {
        let log = File::create(self.log()).unwrap();
        let mut child = self
            .serve()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addresses = line
            .strip_prefix("ready ")
            .unwrap_or_else(|| {
                panic!(
                    "not ready: {line:?} {}",
                    fs::read_to_string(self.log()).unwrap()
                )
            })
            .split_whitespace()
            .map(|listener| {
                let (network, address) = listener.split_once('=').unwrap();
                (network.to_owned(), address.parse().unwrap())
            })
            .collect();
        Ringbeam {
            child,
            setup: self,
            addresses,
        }
    }
}

impl Ringbeam {
    /// Starts with a fleet and nothing special.
    pub fn start(fleet: &Value) -> Self {
        Setup::new(fleet).start()
    }

    /// Another one in the same folder, once this one has ended.
    pub fn restart(mut self) -> Self {
        self.wait();
        let empty = Setup::in_folder(TempDir::new().unwrap());
        std::mem::replace(&mut self.setup, empty).start()
    }

    /// The first listener's address, as a device on 127.0.0.0/8 reaches it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.addresses[0].1.port()))
    }

    /// All listeners' addresses.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().map(|(_, address)| *address)
    }

    /// The address of a network's listener.
    pub fn address_of(&self, network: &str) -> SocketAddr {
        self.addresses
            .iter()
            .find(|(name, _)| name == network)
            .unwrap()
            .1
    }

    /// The control plane, asked by nobody.
    pub fn nobody(&self) -> Api {
        let line = self.wait_for_log(&[("message", "API, console and metrics")]);
        Api::new(line["address"].as_str().unwrap().parse().unwrap())
    }

    /// The control plane, asked by the user.
    pub fn api(&self) -> Api {
        Api::sign_in(self.nobody().address, EMAIL, PASSWORD)
    }

    /// Where it listens for RADIUS, in the order of its configuration.
    pub fn radius(&self) -> Vec<SocketAddr> {
        // The control plane says where it listens once all of them do.
        self.wait_for_log(&[("message", "API, console and metrics")]);
        let lines = self.log_lines().into_iter();
        lines
            .filter(|line| line["message"] == "RADIUS accounting")
            .map(|line| line["address"].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// A number that the metrics have, by its whole name with labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.nobody().get("/metrics").expect(200).text();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("{name} in {text}"))
            .parse()
            .unwrap()
    }

    /// Its folder and files.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The same, to be changed.
    pub const fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "it did not end: {}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Drains it and returns its last line, which says that nothing was left behind.
    pub fn end(&mut self) -> Value {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its orderly end and returns its last line.
    pub fn ended(&mut self) -> Value {
        assert_eq!(self.wait().code(), Some(0));
        let stopped = self.wait_for_log(&[("message", "stopped")]);
        for left in ["live", "buffers_in_use", "waiting_bytes"] {
            assert_eq!(stopped[left], 0, "{left}: {stopped}");
        }
        stopped
    }

    /// Everything logged so far.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.setup.log()).unwrap()
    }

    /// The log lines so far, as objects.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log_text()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for a log line that has these fields.
    pub fn wait_for_log(&self, fields: &[(&str, &str)]) -> Value {
        wait_for(
            &format!("a log line with {fields:?} in\n{}", self.log_text()),
            || {
                self.log_lines().into_iter().find(|line| {
                    fields.iter().all(|(key, expected)| {
                        let value = &line[*key];
                        let text = value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned);
                        text == *expected
                    })
                })
            },
        )
    }

    /// Waits until so many log lines have these fields.
    pub fn wait_for_logs(&self, count: usize, key: &str, expected: &str) {
        wait_until(
            &format!("{count} log lines with {key} = {expected}"),
            || {
                self.log_lines()
                    .iter()
                    .filter(|line| line[key] == expected)
                    .count()
                    >= count
            },
        );
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id()))
            .unwrap()
            .count()
    }

    /// Those of them that are ends of pipes: a relay keeps the pipes that it has made.
    pub fn pipes(&self) -> usize {
        let links = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let is_pipe = |link: PathBuf| link.to_string_lossy().starts_with("pipe:");
        links
            .flatten()
            .filter(|link| fs::read_link(link.path()).is_ok_and(is_pipe))
            .count()
    }

    /// A file on its small disk, which it alone has at its place.
    pub fn on_disk(&self, name: &str) -> PathBuf {
        let disk = self.setup.path("disk");
        let disk = disk.strip_prefix("/").unwrap();
        Path::new("/proc")
            .join(self.id().to_string())
            .join("root")
            .join(disk)
            .join(name)
    }

    /// Leaves no room on its small disk.
    pub fn fill_disk(&self) {
        let mut file = File::create(self.on_disk("ballast")).unwrap();
        for size in [64 * 1024, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    /// Makes room again.
    pub fn empty_disk(&self) {
        fs::remove_file(self.on_disk("ballast")).unwrap();
    }

    /// Has it do nothing until it is told to go on.
    pub fn freeze(&self) {
        self.signal("STOP");
        wait_until("every thread to stand still", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
            threads.flatten().all(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.contains(") T ")
            })
        });
    }

    /// Has it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Processor time that it has used.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        // A hundred a second, on every Linux.
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<u64>()
            .unwrap()
            * 1024
    }

    /// Reloads, and waits until it says how that went.
    pub fn reload(&self) -> bool {
        let count = |text: &str| {
            let lines = self.log_lines();
            lines
                .iter()
                .filter(|line| {
                    line["message"]
                        .as_str()
                        .is_some_and(|m| m.starts_with(text))
                })
                .count()
        };
        let (done, refused) = (count("reloaded"), count("reload refused"));
        self.signal("HUP");
        let mut succeeded = false;
        wait_until("a reload's result", || {
            succeeded = count("reloaded") > done;
            succeeded || count("reload refused") > refused
        });
        succeeded
    }
}

impl Drop for Ringbeam {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- ringbeam's log ---\n{}", self.log_text());
        }
    }
}

/// A command that finds a small disk at `folder`, with what is there now, and that nobody else sees there.
fn on_disk(folder: &Path, command: &Command) -> Command {
    let mut shell = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        shell.arg("--map-root-user");
    }
    let script = "mkdir \"$0.was\" && cp -a \"$0/.\" \"$0.was\" && mount -t tmpfs -o size=4m tmpfs \"$0\" \
                  && cp -a \"$0.was/.\" \"$0\" && rm -r \"$0.was\" && exec \"$@\"";
    shell.args(["--mount", "sh", "-c", script]).arg(folder);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

/// Sends a process a signal, by its name.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(id.to_string())
        .status();
    assert!(status.unwrap().success());
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A file of the project.
pub fn project_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(name)
}

/// The interpreter that has what `.ci/requirements.txt` names.
pub fn python() -> PathBuf {
    let python = project_file("target/test-venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: `make test` installs it",
        python.display()
    );
    python
}
