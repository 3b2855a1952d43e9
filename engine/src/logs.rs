//! Logs: text on a terminal, JSON otherwise or on request, always to standard error, and never in the
//! way of a shard: lines go through a bounded queue to a thread of their own.

use std::io::{IsTerminal as _, stderr};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait; more are dropped and counted.
const LINES_WAITING: usize = 64 * 1024;

/// What is logged unless asked for otherwise. The demo's broker speaks at every connection.
const DEFAULT_FILTER: &str = "info,rmqtt=warn,rmqtt_net=warn";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log {filter:?}: {error}; accepted are directives such as `info` or `warn,ringbeam=debug`"
)]
pub struct InvalidFilter {
    filter: String,
    error: tracing_subscriber::filter::ParseError,
}

/// Begins to log. The guard writes what is still waiting when it is dropped.
///
/// # Errors
/// When the filter is not legal.
pub fn begin(filter: Option<&str>, format: Option<Format>) -> Result<WorkerGuard, InvalidFilter> {
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let parsed = EnvFilter::try_new(filter).map_err(|error| InvalidFilter {
        filter: filter.to_owned(),
        error,
    })?;
    let is_terminal = stderr().is_terminal();
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING)
        .thread_name("logs")
        .finish(stderr());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(writer);
    // A second call, as in tests, keeps the first one's.
    match format {
        Some(Format::Json) => drop(subscriber.json().flatten_event(true).try_init()),
        None if !is_terminal => drop(subscriber.json().flatten_event(true).try_init()),
        Some(Format::Text) | None => drop(subscriber.with_ansi(is_terminal).try_init()),
    }
    Ok(guard)
}
