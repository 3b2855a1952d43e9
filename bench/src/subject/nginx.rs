//! nginx with its stream module.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use minijinja::context;

use super::{Setting, printed, write_config};
use crate::process::pinned;

const CONFIG: &str = include_str!("../../peers/nginx.conf");
/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The command that serves.
///
/// # Errors
/// When its configuration cannot be written.
pub fn command(setting: &Setting) -> anyhow::Result<Command> {
    let values = context! {
        setting,
        module => MODULE,
        mask => setting.cpus.mask(),
        is_root => rustix::process::geteuid().is_root(),
    };
    let config = write_config("nginx.conf", CONFIG, values, &setting.folder)?;
    let mut command = pinned(&setting.cpus, "nginx");
    command
        .arg("-p")
        .arg(&setting.folder)
        .arg("-c")
        .arg(config)
        .args(["-e", "stderr"]);
    Ok(command)
}

/// Its version.
///
/// # Errors
/// When it or its stream module is not installed.
pub fn version() -> anyhow::Result<String> {
    let text = printed("nginx", "-v", "nginx-light libnginx-mod-stream")?;
    ensure!(
        Path::new(MODULE).exists(),
        "not installed: apt-get install libnginx-mod-stream"
    );
    let (_, number) = text
        .trim()
        .split_once('/')
        .context("nginx -v says nothing")?;
    Ok(format!("nginx {number}"))
}
