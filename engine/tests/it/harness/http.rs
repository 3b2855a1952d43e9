//! A client of the control plane: requests over sockets, and answers as they come.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::PATIENCE;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The same, once its status is the one that is expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Whoever asks.
#[derive(Clone, Debug)]
pub struct Api {
    pub address: SocketAddr,
    pub credentials: Vec<(String, String)>,
}

impl Api {
    /// Nobody.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            credentials: Vec::new(),
        }
    }

    /// Somebody who signs in.
    pub fn sign_in(address: SocketAddr, email: &str, password: &str) -> Self {
        let nobody = Self::new(address);
        let body = json!({"email": email, "password": password});
        let answer = nobody.send("POST", "/v1/auth", Some(&body)).expect(200);
        nobody.with(&answer.json())
    }

    /// Somebody who was given these.
    pub fn with(&self, issued: &Value) -> Self {
        let text = |key: &str| issued[key].as_str().unwrap().to_owned();
        Self {
            address: self.address,
            credentials: vec![
                ("X-Soracom-API-Key".to_owned(), text("apiKey")),
                ("X-Soracom-Token".to_owned(), text("token")),
            ],
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    /// One request, on a connection of its own.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(ToString::to_string).unwrap_or_default();
        self.send_text(method, path, body.as_bytes())
    }

    /// One request with any body.
    pub fn send_text(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = self.begin(method, path, body);
        let (status, headers) = read_head(&mut stream);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let is_chunked = headers
            .iter()
            .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if is_chunked { unchunk(&rest) } else { rest };
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Sends a request, and leaves its answer to be read.
    pub fn begin(&self, method: &str, path: &str, body: &[u8]) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in &self.credentials {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A refusal may come before the body is all sent.
        drop(stream.write_all(body));
        BufReader::new(stream)
    }
}

/// The status and the headers, names in small letters.
pub fn read_head(stream: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {line:?}"));
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return (status, headers);
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        let start = end + 2;
        body.extend_from_slice(&rest[start..start + size]);
        rest = &rest[start + size + 2..];
    }
}
