//! Measurements of the control plane, for `cargo test --release -- --ignored --nocapture how_`: how fast packet cores
//! are answered, and how long changes of a large fleet take.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::harness::fleet::{ENTRY_POINT, entry_point, fleet, new_sim};
use super::super::harness::peer::{Peer, Upstream, connack, connect_packet};
use super::super::harness::radius::{Attributes, Gateway, SECRET, Status};
use super::super::harness::ringbeam::{Ringbeam, Setup};
use super::super::harness::wait_until;

const SESSIONS: u32 = 100_000;
/// Requests a second, for so many seconds.
const RATE: u32 = 5_000;
const SECONDS: u32 = 10;
/// Sockets of a gateway: each has 256 identifiers.
const SOCKETS: usize = 16;

fn request_of(status: Status, round: &str, number: u32) -> Attributes {
    let imsi = format!("44010{number:010}");
    let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
    Attributes::session(status, &format!("{round}-{number}"), &imsi, address)
}

/// A gateway of several sockets that sends at given times, and measures from those times on.
struct Burst {
    gateways: Vec<Gateway>,
    /// By socket and identifier: when it should have been sent, while there is no answer.
    sent: Vec<[Option<Instant>; 256]>,
    latencies: Vec<Duration>,
}

impl Burst {
    fn new(server: SocketAddr) -> Self {
        let gateways: Vec<Gateway> = (0..SOCKETS).map(|_| Gateway::new(server)).collect();
        Self {
            gateways,
            sent: vec![[None; 256]; SOCKETS],
            latencies: Vec::new(),
        }
    }

    fn run(&mut self, requests: u32, rate: u32, request: impl Fn(u32) -> Attributes) {
        let began = Instant::now();
        let mut next = 0;
        while next < requests {
            let due = began + Duration::from_secs(1) * next / rate;
            if due <= Instant::now() {
                let socket = next as usize % SOCKETS;
                let datagram = self.gateways[socket].request(&request(next));
                self.sent[socket][usize::from(datagram[1])] = Some(due);
                self.gateways[socket].send(&datagram);
                next += 1;
            } else {
                self.receive();
            }
        }
        let over = Instant::now();
        while self.unanswered() > 0 && over.elapsed() < Duration::from_secs(3) {
            self.receive();
        }
    }

    fn receive(&mut self) {
        for (gateway, sent) in self.gateways.iter().zip(&mut self.sent) {
            while let Some(answer) = gateway.receive_now() {
                if let Some(due) = sent[usize::from(answer[1])].take() {
                    self.latencies.push(due.elapsed());
                }
            }
        }
    }

    fn unanswered(&self) -> usize {
        let sent = self.sent.iter().flatten();
        sent.filter(|sent| sent.is_some()).count()
    }

    /// Says how it went, and forgets it.
    fn report(&mut self, what: &str, took: Duration) {
        let mut latencies = std::mem::take(&mut self.latencies);
        latencies.sort_unstable();
        let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1000];
        eprintln!(
            "{what}: {} answered in {took:.2?} ({:.0}/s), p50 {:.2?} p99 {:.2?} max {:.2?}",
            latencies.len(),
            latencies.len() as f64 / took.as_secs_f64(),
            at(500),
            at(990),
            at(1000),
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn how_a_burst_of_radius_is_answered() {
    let upstream = Upstream::listen();
    let section = "[[radius]]\naddress = \"127.0.0.1:0\"\nnetworks = { \"*\" = \"default\" }\n\
                   clients = [ { cidr = \"127.0.0.0/8\", secret_file = \"radius.secret\" } ]";
    let setup = Setup::new(&fleet(upstream.address())).embedded().control();
    let setup = setup.file("radius.secret", SECRET).section(section);
    let mut ringbeam = setup.with_user().start();
    let mut burst = Burst::new(ringbeam.radius()[0]);
    let mut measure =
        |ringbeam: &Ringbeam, what: &str, count, rate, request: &dyn Fn(u32) -> Attributes| {
            let (began, cpu) = (Instant::now(), ringbeam.processor_time());
            burst.run(count, rate, request);
            let took = began.elapsed();
            burst.report(what, took);
            let used = ringbeam.processor_time() - cpu;
            eprintln!(
                "  {:.0} % of a processor",
                100.0 * used.as_secs_f64() / took.as_secs_f64()
            );
            let lost = burst.unanswered();
            eprintln!("  {lost} never answered");
            burst.sent = vec![[None; 256]; SOCKETS];
        };
    measure(
        &ringbeam,
        "100,000 starts at 10,000/s",
        SESSIONS,
        10_000,
        &|number| request_of(Status::Start, "a", number),
    );
    measure(&ringbeam, "interims", RATE * SECONDS, RATE, &|number| {
        request_of(Status::Interim, "a", number)
    });
    measure(
        &ringbeam,
        "starts of others at these addresses",
        RATE * SECONDS,
        RATE,
        &|number| request_of(Status::Start, "b", number),
    );
    measure(
        &ringbeam,
        "stops and starts by turns",
        RATE * SECONDS,
        RATE,
        &|number| {
            let of = number / 2 + 50_000;
            let (status, round) = if number % 2 == 0 {
                (Status::Stop, "a")
            } else {
                (Status::Start, "c")
            };
            request_of(status, round, of)
        },
    );
    ringbeam.signal("KILL");
    ringbeam.wait();
    let began = Instant::now();
    drop(ringbeam.restart());
    eprintln!("started again in {:?}", began.elapsed());
}

#[test]
#[ignore = "a measurement"]
fn how_long_changes_of_a_large_fleet_take() {
    let upstream = Upstream::listen();
    let mut small = fleet(upstream.address());
    let groups = small["groups"].as_array_mut().unwrap();
    for number in 0..1000 {
        let object = entry_point(upstream.address(), "201912");
        let configuration = json!({"SoracomBeam": {ENTRY_POINT: object}});
        groups.push(json!({"groupId": format!("g{number}"), "configuration": configuration}));
    }
    let credential = json!({"username": "u", "password": "hush"});
    small["credentials"] = json!([{"credentialsId": "c", "type": "username-password-credentials", "credentials": credential}]);
    let sims: Vec<Value> = std::mem::take(small["sims"].as_array_mut().unwrap());
    let mut list: String = sims.iter().map(|sim| format!("{sim},")).collect();
    for number in 0..1_000_000_u32 {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
        let comma = if number == 0 { "" } else { "," };
        write!(
            list,
            "{comma}{{\"simId\":\"8942310{number:012}\",\"imsi\":\"44011{number:010}\",\"groupId\":\"g{}\",\"ip\":\"{address}\"}}",
            number % 1000
        )
        .unwrap();
    }
    let text = small
        .to_string()
        .replace("\"sims\":[]", &format!("\"sims\":[{list}]"));
    let setup = Setup::new(&json!({})).embedded().control();
    setup.write_fleet_text(&text);
    let setup = setup.with_user();
    let began = Instant::now();
    let ringbeam = setup.start();
    eprintln!("started in {:?}", began.elapsed());
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let mut took: [Vec<Duration>; 3] = Default::default();
    for round in 0..60 {
        let mut timed = |place: usize, act: &dyn Fn()| {
            let began = Instant::now();
            act();
            took[place].push(began.elapsed());
        };
        let mut object = entry_point(upstream.address(), "201912");
        object["username"] = json!(format!("user-{round}"));
        let body = json!([{"key": ENTRY_POINT, "value": object}]);
        timed(0, &|| {
            drop(
                api.put("/v1/groups/new/configuration/SoracomBeam", &body)
                    .expect(200),
            );
        });
        // The next CONNECT follows.
        let mut device = Peer::connect(new_sim(round), to);
        device.send(&connect_packet(4, "d"));
        let (_peer, connect) = upstream.accept_connect(connack(4));
        let text = String::from_utf8_lossy(&connect).into_owned();
        assert!(text.contains(&format!("user-{round}")), "{text}");
        let body = json!({"type": "username-password-credentials", "credentials": {"username": "u", "password": format!("{round}")}});
        timed(1, &|| drop(api.put("/v1/credentials/c", &body).expect(200)));
        let sim = format!("/v1/sims/8942310{:012}/set_group", 1000 + u32::from(round));
        timed(2, &|| {
            drop(api.post(&sim, &json!({"groupId": "bare"})).expect(200));
        });
    }
    for (what, mut took) in ["a group", "a credential", "a SIM"].into_iter().zip(took) {
        took.sort_unstable();
        let (middle, most) = (took[took.len() / 2], took[took.len() - 1]);
        eprintln!("{what}: from the request to its answer p50 {middle:.2?}, max {most:.2?}");
    }
    let before = ringbeam.resident_bytes();
    eprintln!("{} MiB resident", before / 1024 / 1024);
    for _ in 0..3 {
        let began = Instant::now();
        assert!(ringbeam.reload());
        eprintln!("reloaded in {:?}", began.elapsed());
        wait_until("the fleet of before to be given back", || {
            ringbeam.resident_bytes() < before + before / 5
        });
    }
}
