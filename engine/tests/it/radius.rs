//! RADIUS from a gateway's socket to the disk: FreeRADIUS's and pyrad's clients, and a sink that is a database.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use md5::{Digest as _, Md5};
use ringbeam::radius::{
    AccountingEvent, Client, Clients, Count, Counters, Kept, Networks, NotStored, Sender, Settings,
    Sink, bind, serve,
};
use ringbeam::registry::sessions::{SessionEvent, apply, of_imsi, sessions};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::harness::radius::radclient;
use super::harness::ringbeam::{output, project_file, python};

/// Events on their way to the disk.
struct Job {
    events: Vec<AccountingEvent>,
    done: oneshot::Sender<Result<Kept, NotStored>>,
}

struct Store(mpsc::UnboundedSender<Job>);

impl Sink for Store {
    async fn store(&self, events: Vec<AccountingEvent>) -> Result<Kept, NotStored> {
        let (done, answer) = oneshot::channel();
        self.0.send(Job { events, done }).map_err(|_| NotStored)?;
        answer.await.map_err(|_| NotStored)?
    }
}

fn database(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    let wal = connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()));
    wal.unwrap();
    connection
        .pragma_update(None, "synchronous", "full")
        .unwrap();
    let tables = concat!(
        include_str!("../../src/registry/embedded/schema-sessions.sql"),
        include_str!("../../src/registry/embedded/schema-3.sql")
    );
    if connection.prepare("SELECT * FROM sessions").is_err() {
        connection.execute_batch(tables).unwrap();
    }
    connection
}

fn write(path: &Path, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut connection = database(path);
    while let Some(Job { events, done }) = jobs.blocking_recv() {
        let events: Vec<SessionEvent> = events.into_iter().map(SessionEvent::from).collect();
        let transaction = connection.transaction().unwrap();
        let applied = apply(&transaction, &events, now_ms());
        let kept = applied.and_then(|applied| transaction.commit().map(|()| applied.kept));
        // The server may be gone.
        drop(done.send(kept.map_err(|_| NotStored)));
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}

/// Whoever knows this secret.
fn client(secret: &str) -> Client {
    Client {
        name: Arc::from(secret),
        secret: Zeroizing::new(secret.as_bytes().to_vec()),
        networks: Arc::from([Arc::from("default")]),
        nas: Vec::new(),
    }
}

/// A server, its database and what it counted, for as long as `act` runs.
fn with_server(act: impl FnOnce(SocketAddr, &Path, &Counters)) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    let mut clients = Clients::default();
    for (range, secret) in [
        ("127.0.0.0/8", "pyrad-hush"),
        ("127.0.0.64/26", "radclient-hush"),
    ] {
        assert!(clients.add(range.parse().unwrap(), client(secret)));
    }
    let mut networks = Networks::default();
    assert!(networks.add("iot.example", Arc::from("default")));
    let settings = Settings {
        clients,
        networks,
        require_event_timestamp: false,
        require_message_authenticator: false,
        now_ms,
    };
    let counters = Arc::new(Counters::default());
    let counted = Arc::clone(&counters);
    let (jobs, queue) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, bound) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| write(&path, queue));
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
                ready.send(socket.local_addr().unwrap()).unwrap();
                let settings = Arc::new(ArcSwap::from_pointee(settings));
                let server = tokio::spawn(serve(socket, settings, Store(jobs), counted));
                drop(stopped.await);
                server.abort();
            });
        });
        let address = bound.recv().unwrap();
        // Ends the server when it panics too.
        let _stop = stop;
        act(address, &path, &counters);
    });
}

fn stored(path: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    sessions(&database(path), |session| {
        let imei = session
            .imei
            .map_or_else(|| "-".to_owned(), |imei| imei.to_string());
        rows.push(format!(
            "{} {} {imei} {} {}",
            session.block, session.imsi, session.nas, session.session_id
        ));
    })
    .unwrap();
    rows
}

#[test]
fn b_id_1_radclient_tells_of_sessions_and_believes_the_answers() {
    with_server(|server, path, counters| {
        let start = |number: u32| {
            format!(
                "Acct-Status-Type = Start\nAcct-Session-Id = \"s{number}\"\nNAS-IP-Address = 10.0.0.9\n\
                 Called-Station-Id = \"IoT.example.mnc010.mcc440.gprs\"\nFramed-IP-Address = 10.1.0.{number}\n\
                 Framed-IPv6-Prefix = 2001:db8:{number}::/64\n3GPP-IMSI = \"44010000000000{number}\"\n\
                 3GPP-IMEISV = \"2605317931138301\"\nMessage-Authenticator = 0x00\nProxy-State = 0x0102\n\
                 Event-Timestamp = {}\n",
                now_ms() / 1000
            )
        };
        let told = |kind: &str, requests: &str| {
            let (is_answered, said) = radclient(server, "radclient-hush", kind, requests);
            assert!(is_answered, "{said}");
            said
        };
        let said = told("acct", &[start(1), start(2)].join("\n"));
        assert!(said.contains("Proxy-State = 0x0102"), "{said}");
        assert_eq!(
            stored(path),
            [
                "10.1.0.1/32 440100000000001 260531793113837 10.0.0.9 s1",
                "10.1.0.2/32 440100000000002 260531793113837 10.0.0.9 s2",
                "2001:db8:1::/64 440100000000001 260531793113837 10.0.0.9 s1",
                "2001:db8:2::/64 440100000000002 260531793113837 10.0.0.9 s2",
            ]
        );
        let stop = "Acct-Status-Type = Stop\nAcct-Session-Id = \"s1\"\nNAS-IP-Address = 10.0.0.9\n";
        told("acct", stop);
        assert_eq!(stored(path).len(), 2);
        let off = "Acct-Status-Type = Accounting-Off\nNAS-IP-Address = 10.0.0.9\n";
        told("acct", off);
        assert_eq!(stored(path), [""; 0]);
        let said = told("status", "Message-Authenticator = 0x00\n");
        assert!(said.contains("Accounting-Response"), "{said}");
        assert_eq!(counters.value(Count::Status), 1);
        assert_eq!(counters.value(Count::Stored), 4);

        let (is_answered, said) = radclient(server, "pyrad-hush", "acct", &start(3));
        assert!(!is_answered, "the secret of other addresses: {said}");
        assert!(counters.value(Count::WrongAuthenticator) >= 1);
        assert_eq!(stored(path), [""; 0]);
    });
}

#[test]
fn b_id_1_pyrad_tells_of_sessions_and_believes_the_answers() {
    with_server(|server, path, _| {
        let mut command = Command::new(python());
        command
            .arg(project_file("engine/tests/it/pyrad_client.py"))
            .arg(server.port().to_string());
        let (status, said, errors) = output(&mut command);
        assert_eq!(status, Some(0), "{errors}");
        let answered: Value = serde_json::from_str(&said).unwrap();
        let expected = json!({"on": true, "start": true, "interim": true, "other_start": true,
            "stop": true, "wrong": false});
        assert_eq!(answered, expected, "{errors}");
        assert_eq!(
            stored(path),
            [
                "10.7.0.1/32 440100000000001 260531793113837 pyrad-gateway session-1",
                "10.7.0.2/32 440100000000002 - pyrad-gateway session-2",
                "2001:db8:7::/64 440100000000001 260531793113837 pyrad-gateway session-1",
            ]
        );
        let mine = of_imsi(&database(path), &"440100000000002".parse().unwrap());
        assert_eq!(mine.unwrap().len(), 1);
    });
}

/// A Start of session and SIM number `number`.
fn start(number: u32) -> Vec<u8> {
    let mut attributes = vec![40, 6, 0, 0, 0, 1, 4, 6, 10, 0, 0, 9, 8, 6];
    attributes.extend((0x0a00_0000 | number).to_be_bytes());
    let mut text = |kind: u8, value: &str| {
        attributes.extend([kind, u8::try_from(value.len() + 2).unwrap()]);
        attributes.extend(value.as_bytes());
    };
    let mut imsi = String::new();
    write!(imsi, "{}", 440_100_000_000_000_u64 + u64::from(number)).unwrap();
    text(1, &imsi);
    text(44, &format!("{number:016x}"));
    text(30, "iot.example");
    let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
    let head = [4, u8::try_from(number % 256).unwrap(), length[0], length[1]];
    let mut digest = Md5::new();
    digest.update(head);
    digest.update([0; 16]);
    digest.update(&attributes);
    digest.update(b"pyrad-hush");
    [&head[..], &digest.finalize(), &attributes].concat()
}

/// Sends this many Starts with at most 200 unanswered, and says how long that took.
fn flood(server: SocketAddr, count: u32) -> Duration {
    let socket = UdpSocket::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).unwrap();
    socket.connect(server).unwrap();
    let patience = Some(Duration::from_secs(10));
    socket.set_read_timeout(patience).unwrap();
    let requests: Vec<Vec<u8>> = (0..count).map(start).collect();
    let began = Instant::now();
    let mut buffer = [0; 4096];
    let mut unanswered = 0;
    for request in requests {
        while unanswered >= 200 {
            socket.recv(&mut buffer).unwrap();
            unanswered -= 1;
        }
        socket.send(&request).unwrap();
        unanswered += 1;
    }
    while unanswered > 0 {
        socket.recv(&mut buffer).unwrap();
        unanswered -= 1;
    }
    began.elapsed()
}

#[test]
fn b_id_1_every_answered_request_is_on_the_disk() {
    with_server(|server, path, counters| {
        flood(server, 1000);
        assert_eq!(counters.value(Count::Stored), 1000);
        assert_eq!(stored(path).len(), 1000);
    });
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture how_many_requests"]
fn how_many_requests_a_second_are_stored() {
    with_server(|server, path, _| {
        for _ in 0..3 {
            let count = 20_000;
            let took = flood(server, count).as_secs_f64();
            eprintln!(
                "{count} requests in {took:.2} s: {:.0}/s",
                f64::from(count) / took
            );
        }
        let began = Instant::now();
        let read = stored(path).len();
        eprintln!("{read} sessions read in {:?}", began.elapsed());
    });
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture how_long_a_burst"]
fn how_long_a_burst_of_events_takes() {
    let folder = TempDir::new().unwrap();
    let mut connection = database(&folder.path().join("db"));
    let mut clock = 0;
    let mut networks = Networks::default();
    assert!(networks.add("iot.example", Arc::from("default")));
    let (client, clients) = (client("x"), Clients::default());
    let mut burst = |connection: &mut Connection, from: u32, count: u32| {
        clock += 1000;
        let events: Vec<SessionEvent> = (from..from + count)
            .map(|number| {
                let request = start(number);
                let packet = ringbeam::radius::Packet::parse(&request).unwrap();
                let sender = Sender {
                    address: IpAddr::from(Ipv4Addr::LOCALHOST),
                    client: &client,
                    clients: &clients,
                };
                let read = ringbeam::radius::read(packet.attributes(), sender, &networks, clock);
                read.unwrap().event.into()
            })
            .collect();
        let began = Instant::now();
        let transaction = connection.transaction().unwrap();
        let applied = apply(&transaction, &events, clock).unwrap();
        transaction.commit().unwrap();
        (applied.changes.len(), began.elapsed())
    };
    for from in (0..100_000).step_by(2000) {
        burst(&mut connection, from, 2000);
    }
    for what in ["known", "known again"] {
        let (changes, took) = burst(&mut connection, 50_000, 512);
        eprintln!("512 {what} events among 100,000 sessions: {took:?}, {changes} changes");
    }
    let (changes, took) = burst(&mut connection, 200_000, 512);
    eprintln!("512 new events among 100,000 sessions: {took:?}, {changes} changes");
    let began = Instant::now();
    let mut count = 0;
    sessions(&connection, |_| count += 1).unwrap();
    eprintln!("{count} sessions read in {:?}", began.elapsed());
}
