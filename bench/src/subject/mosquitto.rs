//! mosquitto: as a bridge, which is a subject, and as the real broker behind subjects.

use std::process::Command;

use anyhow::Context as _;
use minijinja::context;

use super::{Setting, printed, write_config};
use crate::process::pinned;

const BRIDGE: &str = include_str!("../../peers/mosquitto-bridge.conf");
const BROKER: &str = include_str!("../../peers/mosquitto-broker.conf");

/// What the bridge puts in front of every topic.
pub const PREFIX: &str = "bridge/";

/// The command that bridges.
///
/// # Errors
/// When its configuration cannot be written.
pub fn bridge(setting: &Setting) -> anyhow::Result<Command> {
    serve("mosquitto-bridge.conf", BRIDGE, setting)
}

/// The command of a broker; it listens on the upstream's port.
///
/// # Errors
/// When its configuration cannot be written.
pub fn broker(setting: &Setting) -> anyhow::Result<Command> {
    serve("mosquitto-broker.conf", BROKER, setting)
}

fn serve(name: &str, template: &str, setting: &Setting) -> anyhow::Result<Command> {
    let values = context! { setting, prefix => PREFIX };
    let config = write_config(name, template, values, &setting.folder)?;
    let mut command = pinned(&setting.cpus, "mosquitto");
    command.arg("-c").arg(config);
    Ok(command)
}

/// Its version.
///
/// # Errors
/// When it is not installed.
pub fn version() -> anyhow::Result<String> {
    let text = printed("mosquitto", "-h", "mosquitto")?;
    let number = text
        .split_whitespace()
        .nth(2)
        .context("mosquitto -h says nothing")?;
    Ok(format!("mosquitto {number}"))
}
