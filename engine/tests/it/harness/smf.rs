//! An SMF: tells its sessions page by page, as Open5GS does, to whoever asks.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

/// What it does with questions.
#[derive(Debug, Default)]
struct Told {
    /// IMSI and address of each session; whatever is no address is told as one all the same.
    sessions: ArcSwap<Vec<(String, String)>>,
    /// Whether it answers 500.
    is_broken: AtomicBool,
    /// Lists that were asked for to their end.
    lists: AtomicU64,
}

/// A running SMF; it ends with the process.
pub struct Smf {
    address: SocketAddr,
    told: Arc<Told>,
}

impl Smf {
    /// One without sessions, and with so many devices to a page.
    pub fn start(page_size: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let smf = Self {
            address: listener.local_addr().unwrap(),
            told: Arc::default(),
        };
        let told = Arc::clone(&smf.told);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                thread::spawn(move || serve(stream, &told, page_size));
            }
        });
        smf
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/pdu-info", self.address)
    }

    /// Has these sessions from now on.
    pub fn set(&self, sessions: &[(&str, &str)]) {
        let owned = |(imsi, ip): &(&str, &str)| ((*imsi).to_owned(), (*ip).to_owned());
        let sessions = sessions.iter().map(owned).collect();
        self.told.sessions.store(Arc::new(sessions));
    }

    /// Breaks, or is mended.
    pub fn set_broken(&self, is_broken: bool) {
        self.told.is_broken.store(is_broken, Ordering::Relaxed);
    }

    /// How often all of its sessions were asked for.
    pub fn lists(&self) -> u64 {
        self.told.lists.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, told: &Told, page_size: usize) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            match reader.read_line(&mut request) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let page = request.split(['=', ' ']).nth(2);
        let page: usize = page.and_then(|page| page.parse().ok()).unwrap_or(0);
        let (status, body) = told.answer(page, page_size);
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

impl Told {
    fn answer(&self, page: usize, page_size: usize) -> (&'static str, String) {
        if self.is_broken.load(Ordering::Relaxed) {
            return ("500 Internal Server Error", String::new());
        }
        let sessions = self.sessions.load();
        let devices = sessions.iter().skip(page * page_size).take(page_size);
        let items: Vec<Value> = devices
            .map(|(imsi, ip)| {
                let session =
                    json!({"psi": 1, "dnn": "internet", "ipv4": ip, "pdu_state": "active"});
                json!({"supi": format!("imsi-{imsi}"), "pdu": [session]})
            })
            .collect();
        let mut pager = json!({"page": page, "page_size": page_size, "count": items.len()});
        if (page + 1) * page_size < sessions.len() {
            pager["next"] = json!(format!("/pdu-info?page={}", page + 1));
        } else {
            self.lists.fetch_add(1, Ordering::Relaxed);
        }
        (
            "200 OK",
            json!({"items": items, "pager": pager}).to_string(),
        )
    }
}
