//! Secure: a broker's end of TLS, which is a real server of rustls. Its handshake is over before the relay begins. Keys
//! and what is in records differ from run to run; how long they are, and all that a seed decides, does not.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, LazyLock};

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig, ServerConnection};

use crate::tls::{Clients, Link, Roots, Workspace};

/// Bytes in clear that a record has room for.
const RECORD_BYTES: usize = 16_384;

/// One end of a connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(super) struct Secure {
    server: ServerConnection,
    is_new: bool,
    /// Everything that was said, in clear.
    said: Vec<u8>,
    /// Bytes of records so far.
    records: usize,
    /// Where records end: bytes of records, and bytes in clear.
    marks: Vec<(usize, usize)>,
    /// Whether something was said that is no TLS.
    has_lied: bool,
    /// Everything that was heard, in clear, and bytes of records that it was in.
    heard: Vec<u8>,
    fed: usize,
    has_closed: bool,
    /// An alert has ended it.
    has_ended: bool,
}

/// What passed over a connection, in clear.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(super) struct Clear {
    /// Of the broker, as far as the relay has received it.
    pub(super) said: Vec<u8>,
    /// To the broker, as far as the kernel took it.
    pub(super) heard: Vec<u8>,
    /// Whether the broker has ended TLS in good order, or said what is none.
    pub(super) has_closed: bool,
    pub(super) has_lied: bool,
    /// Whether an alert has told it so.
    pub(super) is_alerted: bool,
}

/// Who trusts the brokers, and what they are: of TLS 1.2 alone, and of 1.3.
fn world() -> &'static (Clients, [Arc<ServerConfig>; 2]) {
    static WORLD: LazyLock<(Clients, [Arc<ServerConfig>; 2])> = LazyLock::new(|| {
        let own = rcgen::generate_simple_self_signed(["broker.example".to_owned()]).unwrap();
        let configs = [&TLS12, &TLS13].map(|version| {
            let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![own.cert.der().clone()], key)
                .unwrap();
            Arc::new(config)
        });
        let roots = Roots::system().with(&[own.cert.der().clone()]).unwrap();
        (Clients::new(roots, [], None).unwrap(), configs)
    });
    &WORLD
}

impl Secure {
    /// Both ends of a connection. What the server has said beyond the handshake is still to be sent.
    pub(super) fn pair(is_new: bool) -> (Box<Self>, Box<Link>, Vec<u8>) {
        let (clients, configs) = world();
        let config = Arc::clone(&configs[usize::from(is_new)]);
        let mut server = ServerConnection::new(config).unwrap();
        let name = ServerName::try_from("broker.example").unwrap();
        let mut link = clients.anonymous().link(name, None).unwrap();
        let workspace = &mut Workspace::default();
        let mut answer = Vec::new();
        while server.is_handshaking() || !link.is_open() {
            let sent = server.read_tls(&mut link.outgoing()).unwrap();
            link.sent(workspace, sent);
            server.process_new_packets().unwrap();
            answer = written(&mut server);
            if !link.is_open() {
                let read = |room: &mut [u8]| {
                    room[..answer.len()].copy_from_slice(&answer);
                    Ok(answer.len())
                };
                link.receive(workspace, read).unwrap();
                answer.clear();
            }
        }
        let mut secure = Self {
            server,
            is_new,
            said: Vec::new(),
            records: 0,
            marks: Vec::new(),
            has_lied: false,
            heard: Vec::new(),
            fed: 0,
            has_closed: false,
            has_ended: false,
        };
        secure.note(&answer);
        (Box::new(secure), Box::new(link), answer)
    }

    /// Records are on their way.
    fn note(&mut self, records: &[u8]) {
        self.records += records.len();
        if !self.has_lied {
            self.marks.push((self.records, self.said.len()));
        }
    }

    /// Turns bytes in clear into records.
    pub(super) fn say(&mut self, clear: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        for clear in clear.chunks(RECORD_BYTES) {
            if self.has_closed || self.has_ended {
                break;
            }
            self.server.writer().write_all(clear).unwrap();
            let record = written(&mut self.server);
            self.said.extend_from_slice(clear);
            self.note(&record);
            records.extend(record);
        }
        records
    }

    /// Something that is no TLS. Says behind how many bytes.
    pub(super) fn lie(&mut self, bytes: &[u8]) -> usize {
        let from = self.records;
        self.has_lied = true;
        self.note(bytes);
        from
    }

    /// Opens records: what was in them, and what TLS itself answers.
    pub(super) fn hear(&mut self, mut records: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.fed += records.len();
        let start = self.heard.len();
        assert!(
            !self.has_ended || records.is_empty(),
            "{} bytes behind an alert",
            records.len()
        );
        while !records.is_empty() {
            if self.server.read_tls(&mut records).unwrap() == 0 {
                break;
            }
            let processed = self.server.process_new_packets();
            // It ends with an error where more may come.
            drop(self.server.reader().read_to_end(&mut self.heard));
            match processed {
                Ok(_) => {}
                // It was told what is no TLS.
                Err(Error::AlertReceived(_)) if self.has_lied => {
                    assert!(
                        records.is_empty(),
                        "{} bytes behind an alert",
                        records.len()
                    );
                    self.has_ended = true;
                    return (self.heard[start..].to_vec(), Vec::new());
                }
                Err(error) => panic!("no TLS of the relay's: {error}"),
            }
        }
        let answer = written(&mut self.server);
        self.note(&answer);
        (self.heard[start..].to_vec(), answer)
    }

    /// Says that nothing more will be said; nothing where that was said before.
    pub(super) fn close(&mut self) -> Vec<u8> {
        if std::mem::replace(&mut self.has_closed, true) {
            return Vec::new();
        }
        self.server.send_close_notify();
        let records = written(&mut self.server);
        self.note(&records);
        records
    }

    /// Takes other keys, and asks for that.
    pub(super) fn renew_keys(&mut self) -> Vec<u8> {
        if self.is_new && !self.has_closed && !self.has_ended {
            self.server.refresh_traffic_keys().unwrap();
        }
        let records = written(&mut self.server);
        self.note(&records);
        records
    }

    /// What has passed, of which the relay received so many bytes of records, and the kernel took these.
    pub(super) fn clear(&mut self, received: usize, taken: &[u8]) -> Clear {
        self.hear(&taken[self.fed..]);
        let marks = self.marks.iter().rev();
        let mark = marks.copied().find(|(records, _)| *records <= received);
        let (_, said) = mark.unwrap_or_default();
        Clear {
            said: self.said[..said].to_vec(),
            heard: self.heard.clone(),
            has_closed: self.has_closed,
            has_lied: self.has_lied,
            is_alerted: self.has_ended,
        }
    }
}

fn written(server: &mut ServerConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut records).unwrap();
    }
    records
}
