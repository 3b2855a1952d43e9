//! ringbeam: one listener, one group with both topic rewritings on, one range of SIMs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Setting, Subject};
use crate::process::pinned;

/// The SIMs' addresses: number n of this range is the SIM with IMSI base + n.
pub const SIMS: &str = "127.1.0.0/16";
/// The IMSI of the range's address number 0.
pub const IMSI_BASE: &str = "440100001000000";

/// The command that serves.
///
/// # Errors
/// When its files cannot be written.
pub fn command(subject: Subject, setting: &Setting, bin_dir: &Path) -> anyhow::Result<Command> {
    let Setting {
        port,
        threads,
        folder,
        ..
    } = setting;
    let config = folder.join("ringbeam.toml");
    let coalesce_us = if subject == Subject::RingbeamCoalesce {
        200
    } else {
        0
    };
    let mut text = format!(
        "[[listener]]\nnetwork = \"default\"\naddress = \"127.0.0.1:{port}\"\n\
        [engine]\nshards = {threads}\npin = true\ncoalesce_us = {coalesce_us}\nmax_sessions_per_sim = 512\n[registry]\nkind = \"file\"\npath = \"fleet.json\"\n[control]\naddress = \"\"\n"
    );
    let scheme = match &setting.certificate {
        None => "mqtt",
        // The certificate is checked, as any operator would.
        Some(certificate) => {
            let file = Value::from(certificate.to_string_lossy());
            text.push_str(&format!("[upstream]\nca_file = {file}\n"));
            "mqtts"
        }
    };
    fs::write(&config, text)?;
    let destination = format!("{scheme}://127.0.0.1:{}", setting.upstream_port);
    fs::write(
        folder.join("fleet.json"),
        fleet(subject, &destination).to_string(),
    )?;
    let mut command = pinned(&setting.cpus, bin_dir.join("ringbeam"));
    command
        .args(["serve", "--log", "warn", "--config"])
        .arg(config);
    Ok(command)
}

fn fleet(subject: Subject, destination: &str) -> Value {
    let version = if subject == Subject::Ringbeam201509 {
        "201509"
    } else {
        "201912"
    };
    let entry_point = json!({
        "enabled": true,
        "destination": destination,
        "addSubscriberHeader": true,
        "replaceTopic": true,
        "version": version,
    });
    let services = json!({ "SoracomBeam": { "mqtt://beam.soracom.io:1883": entry_point } });
    json!({
        "groups": [{ "groupId": "load", "configuration": services }],
        "simRanges": [{
            "cidr": SIMS,
            "imsiBase": IMSI_BASE,
            "simIdBase": "8981100000001000000",
            "groupId": "load",
        }],
    })
}

/// Whether its output says that every shard accepts connections.
#[must_use]
pub fn is_ready(output: &str) -> bool {
    output.lines().any(|line| line.starts_with("ready "))
}

/// Its version.
///
/// # Errors
/// When it is not built.
pub fn version(bin_dir: &Path) -> anyhow::Result<String> {
    let path = bin_dir.join("ringbeam");
    let output = Command::new(&path)
        .arg("--version")
        .output()
        .with_context(|| {
            format!(
                "{} is not there: cargo build --release -p ringbeam",
                path.display()
            )
        })?;
    ensure!(
        output.status.success(),
        "{} --version failed",
        path.display()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
