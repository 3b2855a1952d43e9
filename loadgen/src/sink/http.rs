//! HTTP: the verdict of a sink, on the same port as its MQTT, in plain also where that is TLS: it holds counts
//! and topics alone. `curl http://127.0.0.1:1884/verdict` shows every run.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Books;
use crate::histogram::{Durations, Percentiles};
use crate::sys::{Socket, boot_id, monotonic_ns};
use crate::verify::{Book, Handshakes, Unattributed, Verdict};

/// Longest request, in bytes.
const REQUEST_MAX: usize = 4096;

/// What a sink says of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The counts.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Latencies, to be read.
    pub latency_us: Option<Percentiles>,
    /// Latencies, all of them, as HDR logs have them; empty where only a brief answer was asked for.
    pub latency: String,
}

/// An answer of a sink.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Which boot of which machine it runs on: whose monotonic clock it reads.
    pub boot_id: String,
    /// What it has seen of no run.
    pub unattributed: Unattributed,
    /// Its TLS handshakes, of all runs.
    pub handshakes: Handshakes,
    /// The runs that were asked for.
    pub runs: Vec<Report>,
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What shows progress.
    Brief,
    /// Everything.
    Full,
}

impl Report {
    /// What a book says now.
    ///
    /// # Errors
    /// When its latencies cannot be written down.
    pub fn of(book: &Book, detail: Detail) -> anyhow::Result<Self> {
        let (verdict, latency) = book.verdict();
        Ok(Self {
            verdict,
            latency_us: latency.percentiles(),
            latency: match detail {
                Detail::Brief => String::new(),
                Detail::Full => latency.to_text()?,
            },
        })
    }

    /// All latencies.
    ///
    /// # Errors
    /// When they are not what a sink writes.
    pub fn durations(&self) -> anyhow::Result<Durations> {
        Durations::from_text(&self.latency)
    }
}

/// Answers a request on a connection, the beginning of which has been read.
pub(super) async fn answer(socket: &Socket, books: &Books, mut request: Vec<u8>) -> io::Result<()> {
    let is_whole = |request: &[u8]| request.windows(4).any(|end| end == b"\r\n\r\n");
    while !is_whole(&request) && request.len() <= REQUEST_MAX {
        socket.readable().await?;
        let mut part = [0; 512];
        match socket.receive(&mut part) {
            Ok(0) => return Ok(()),
            Ok(length) => request.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if request.len() > REQUEST_MAX {
        let response = respond("431 Request Header Fields Too Large", "{}");
        return socket.send_all(&response).await;
    }
    let text = String::from_utf8_lossy(&request);
    let target = text.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (query, detail) = match query.strip_suffix("&brief") {
        Some(query) => (query, Detail::Brief),
        None => (query, Detail::Full),
    };
    let found = match (path, query) {
        ("/verdict", "") => Some(books.all()),
        ("/verdict", query) => query
            .strip_prefix("run=")
            .and_then(|run| run.parse().ok())
            .map(|run| books.find(run).into_iter().collect()),
        _ => None,
    };
    let Some(found) = found else {
        let body = r#"{"message":"there is /verdict, and /verdict?run=NUMBER"}"#;
        return socket.send_all(&respond("404 Not Found", body)).await;
    };
    let runs: anyhow::Result<Vec<Report>> =
        found.iter().map(|book| Report::of(book, detail)).collect();
    let body = runs.and_then(|runs| {
        let answer = Answer {
            boot_id: boot_id(),
            unattributed: books.unattributed(),
            handshakes: books.handshakes(),
            runs,
        };
        Ok(serde_json::to_string_pretty(&answer)?)
    });
    let response = match body {
        Ok(body) => respond("200 OK", &body),
        Err(error) => respond("500 Internal Server Error", &error.to_string()),
    };
    socket.send_all(&response).await
}

fn respond(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Longest answer, in bytes: a verdict has a few hundred KiB of latencies at most.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Asks a sink what it says of a run. Waits for it, so it has no place in a generator's own threads.
///
/// # Errors
/// When it cannot be had within the time.
pub fn fetch(
    sink: SocketAddr,
    run: u32,
    detail: Detail,
    within: Duration,
) -> anyhow::Result<Answer> {
    let until_ns = monotonic_ns().saturating_add(u64::try_from(within.as_nanos())?);
    let mut stream = TcpStream::connect_timeout(&sink, within)?;
    stream.set_write_timeout(Some(within))?;
    let brief = match detail {
        Detail::Brief => "&brief",
        Detail::Full => "",
    };
    write!(
        stream,
        "GET /verdict?run={run}{brief} HTTP/1.1\r\nhost: {sink}\r\n\r\n"
    )?;
    let mut response = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        let left_ns = until_ns.saturating_sub(monotonic_ns());
        anyhow::ensure!(left_ns > 0, "{sink} did not answer in time");
        stream.set_read_timeout(Some(Duration::from_nanos(left_ns)))?;
        let length = stream.read(&mut part)?;
        if length == 0 {
            break;
        }
        response.extend_from_slice(part.get(..length).unwrap_or_default());
        anyhow::ensure!(response.len() < ANSWER_MAX, "{sink} answers without end");
    }
    let response = String::from_utf8(response)?;
    let (head, body) = response
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow::anyhow!("{sink} is no sink of ringbeam-loadgen"))?;
    let status = head.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 200 "), "{sink} answered {status}");
    Ok(serde_json::from_str(body)?)
}
