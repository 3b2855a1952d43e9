//! HAProxy: plain, splicing, or with TLS towards the upstream.

use std::process::Command;

use anyhow::Context as _;
use minijinja::context;

use super::{Setting, Subject, printed, write_config};
use crate::process::pinned;

const PLAIN: &str = include_str!("../../peers/haproxy.cfg");
const SPLICE: &str = include_str!("../../peers/haproxy-splice.cfg");
const TLS: &str = include_str!("../../peers/haproxy-tls.cfg");

/// The command that serves.
///
/// # Errors
/// When its configuration cannot be written.
pub fn command(subject: Subject, setting: &Setting) -> anyhow::Result<Command> {
    let template = if subject == Subject::HaproxySplice {
        SPLICE
    } else if subject == Subject::HaproxyTls {
        TLS
    } else {
        PLAIN
    };
    let cpus = setting.cpus.numbers();
    let count = u32::try_from(cpus.len())?;
    let values = context! {
        setting,
        // It takes one processor for all threads, or one for each; taskset keeps to them anyway.
        maps_cpus => count == 1 || count == setting.threads,
        cpus => cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(" "),
    };
    let config = write_config("haproxy.cfg", template, values, &setting.folder)?;
    let mut command = pinned(&setting.cpus, "haproxy");
    // -db: in the foreground.
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

/// Its version.
///
/// # Errors
/// When it is not installed.
pub fn version() -> anyhow::Result<String> {
    let text = printed("haproxy", "-v", "haproxy")?;
    let word = text
        .split_whitespace()
        .nth(2)
        .context("haproxy -v says nothing")?;
    let number = word.split('-').next().unwrap_or(word);
    Ok(format!("HAProxy {number}"))
}
