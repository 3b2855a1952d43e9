//! A server that answers as it is told.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use socket2::SockRef;

use super::*;

/// Gives these answers in a row, each to the request line that it is for.
fn answer(listener: &TcpListener, answers: &[(&str, String)]) {
    let mut answers: VecDeque<_> = answers.iter().collect();
    while !answers.is_empty() {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        while let Some((line, answer)) = answers.pop_front() {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let request = String::from_utf8(request).unwrap();
            assert!(request.starts_with(line), "{request}");
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.contains("connection: close") {
                break;
            }
        }
    }
}

fn ok(body: &str, more: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{more}\r\n{body}")
}

/// A page with these addresses' last numbers.
fn page(numbers: &[u8], next: &str) -> String {
    let items: Vec<String> = numbers
        .iter()
        .map(|n| {
            format!(r#"{{"supi":"imsi-4401000000000{n:02}","pdu":[{{"ipv4":"10.0.0.{n}"}}]}}"#)
        })
        .collect();
    format!(r#"{{"items":[{}],"pager":{{{next}}}}}"#, items.join(","))
}

const NEXT: &str = r#""next":"/pdu-info?page=1""#;

/// Polls as often as there are lists expected, and compares.
fn check(answers: &[(&str, String)], expected: &[Result<&[u8], &str>]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Nobody waits for ever when a test fails.
    let patience = Some(Duration::from_secs(10));
    SockRef::from(&listener).set_read_timeout(patience).unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/x/pdu-info");
    let mut poller = Poller::new(url.parse().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| answer(&listener, answers));
        for expected in expected {
            let found = runtime.block_on(poller.poll());
            match expected {
                Ok(numbers) => {
                    let found = found.unwrap();
                    let sessions = found.sessions.iter();
                    let blocks: Vec<String> = sessions.map(|s| s.block.to_string()).collect();
                    let expected: Vec<String> =
                        numbers.iter().map(|n| format!("10.0.0.{n}/32")).collect();
                    assert_eq!(blocks, expected);
                }
                Err(text) => {
                    let error = found.unwrap_err().to_string();
                    assert!(error.contains(text), "{error}");
                }
            }
        }
    });
}

const FIRST: &str = "GET /x/pdu-info HTTP/1.1\r\nhost: 127.0.0.1:";
const SECOND: &str = "GET /x/pdu-info?page=1 HTTP/1.1";

#[test]
fn b_id_1_all_pages_are_one_list() {
    check(
        &[(FIRST, ok(&page(&[1, 2], ""), "connection: close\r\n"))],
        &[Ok(&[1, 2])],
    );
    check(
        &[
            (FIRST, ok(&page(&[1, 2], NEXT), "")),
            (SECOND, ok(&page(&[3], ""), "connection: close\r\n")),
        ],
        &[Ok(&[1, 2, 3])],
    );
    // Servers that close after every answer, and that do not say how long it is.
    let (first, last) = (page(&[1], NEXT), page(&[2], ""));
    let chunks = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{last}\r\n0\r\n\r\n",
        last.len()
    );
    check(
        &[
            (FIRST, ok(&first, "connection: close\r\n")),
            (SECOND, chunks),
        ],
        &[Ok(&[1, 2])],
    );
}

#[test]
fn b_id_4_a_session_that_slips_between_two_pages_is_not_over() {
    let close = "connection: close\r\n";
    let lists: [(&[u8], &[u8]); 4] = [
        (&[1, 2], &[3, 4]),
        (&[2, 3], &[5]),
        (&[2, 3], &[5]),
        (&[2], &[]),
    ];
    let mut answers = Vec::new();
    for (first, second) in lists {
        answers.push((FIRST, ok(&page(first, NEXT), close)));
        answers.push((SECOND, ok(&page(second, ""), close)));
    }
    answers.push((FIRST, ok(&page(&[9], ""), close)));
    check(
        &answers,
        &[
            Ok(&[1, 2, 3, 4]),
            Ok(&[2, 3, 5, 1, 4]),
            Ok(&[2, 3, 5]),
            Ok(&[2, 3, 5]),
            // One page is as of one moment.
            Ok(&[9]),
        ],
    );
}

#[test]
fn a_poll_that_fails_tells_nothing() {
    let close = "connection: close\r\n";
    check(
        &[
            (
                FIRST,
                format!("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n{close}\r\n"),
            ),
            (FIRST, ok("{}", close)),
            (FIRST, ok("<html>", close)),
            (
                FIRST,
                format!("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n{close}\r\n{{"),
            ),
            (
                FIRST,
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{close}\r\n",
                    OPEN5GS_BYTES + 1
                ),
            ),
            (FIRST, ok(&page(&[1], NEXT), close)),
            (SECOND, ok("{}", close)),
            (FIRST, format!("220 FTP\r\n{close}\r\n")),
            (FIRST, ok(&page(&[1], ""), close)),
        ],
        &[
            Err("HTTP status 404"),
            Err("no room"),
            Err("no page of sessions"),
            Err("broke"),
            Err("without an end"),
            Err("no room"),
            Err("broke"),
            Ok(&[1]),
        ],
    );
    let mut poller = Poller::new("http://127.0.0.1:1/".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = runtime.block_on(poller.poll()).unwrap_err().to_string();
    assert!(error.contains("cannot connect"), "{error}");
}
