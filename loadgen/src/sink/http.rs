//! HTTP: the verdict of a sink, on the same port as its MQTT, in plain also where that is TLS: it holds counts
//! and topics alone. `curl http://127.0.0.1:1884/verdict` shows every run.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Books;
use crate::histogram::{Durations, Percentiles};
use crate::sys::{Socket, boot_id};
use crate::verify::{Book, Verdict};

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
    /// Latencies, all of them, as HDR logs have them.
    pub latency: String,
}

/// An answer of a sink.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Which boot of which machine it runs on: whose monotonic clock it reads.
    pub boot_id: String,
    /// The runs that were asked for.
    pub runs: Vec<Report>,
}

impl Report {
    /// What a book says now.
    ///
    /// # Errors
    /// When its latencies cannot be written down.
    pub fn of(book: &Book, books: &Books) -> anyhow::Result<Self> {
        let (mut verdict, latency) = book.verdict();
        books.add_unattributed(&mut verdict);
        Ok(Self {
            verdict,
            latency_us: latency.percentiles(),
            latency: latency.to_text()?,
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
    let found = match target.split_once('?').unwrap_or((target, "")) {
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
        found.iter().map(|book| Report::of(book, books)).collect();
    let body = runs.and_then(|runs| {
        let answer = Answer {
            boot_id: boot_id(),
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

/// Asks a sink what it says of a run. Waits for it, so it has no place in a generator's own threads.
///
/// # Errors
/// When it cannot be had within the time.
pub fn fetch(sink: SocketAddr, run: u32, within: Duration) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&sink, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    write!(
        stream,
        "GET /verdict?run={run} HTTP/1.1\r\nhost: {sink}\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow::anyhow!("{sink} is no sink of ringbeam-loadgen"))?;
    let status = head.lines().next().unwrap_or_default();
    anyhow::ensure!(status.contains(" 200 "), "{sink} answered {status}");
    Ok(serde_json::from_str(body)?)
}
