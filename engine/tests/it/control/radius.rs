//! RADIUS accounting through the built binary: what gateways tell, and the devices that it is about (B-ID-1, B-ID-4).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ringbeam::registry::sessions::sessions;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::super::harness::dice::Dice;
use super::super::harness::fleet::{fleet, new_imsi};
use super::super::harness::is_soak;
use super::super::harness::peer::{Peer, Upstream, publish};
use super::super::harness::radius::{Attributes, Gateway, SECRET, Status, radclient};
use super::super::harness::ringbeam::{Ringbeam, Setup, output, project_file};
use super::is_refused;

mod doubts;

const RADIUS: &str = "[[radius]]\naddress = \"127.0.0.1:0\"\nnetworks = { \"iot.example\" = \"default\" }\n\
                      clients = [ { cidr = \"127.0.0.0/16\", secret_file = \"radius.secret\" } ]";

/// How long it is listened for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(300);

fn setup(upstream: &Upstream) -> Setup {
    let setup = Setup::new(&fleet(upstream.address()));
    // What is nobody's is refused at once.
    let setup = setup
        .embedded()
        .control()
        .engine("unknown_address_wait_ms = 0");
    setup.file("radius.secret", SECRET).section(RADIUS)
}

fn listening(upstream: &Upstream) -> (Ringbeam, Gateway) {
    let ringbeam = setup(upstream).with_user().start();
    let gateway = Gateway::new(ringbeam.radius()[0]);
    (ringbeam, gateway)
}

/// The address of session `number`.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 7, 0, number)
}

/// The device at an address is served as this SIM.
#[track_caller]
fn is_served_as(
    upstream: &Upstream,
    to: SocketAddr,
    from: impl Into<IpAddr>,
    imsi: &str,
) -> (Peer, Peer) {
    let (mut device, mut peer) = upstream.session(to, from, 4);
    passes(&mut device, &mut peer, imsi);
    (device, peer)
}

#[track_caller]
fn passes(device: &mut Peer, peer: &mut Peer, imsi: &str) {
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{imsi}"), b"x"));
}

/// Both legs are closed, and nothing more came on them: no DISCONNECT either (B-KEEP-4).
#[track_caller]
fn are_dead((device, peer): &mut (Peer, Peer)) {
    device.expect_closed();
    peer.expect_closed();
}

fn start(number: u8) -> Attributes {
    let id = format!("s{number}");
    Attributes::session(
        Status::Start,
        &id,
        &new_imsi(number.into()),
        address(number),
    )
}

fn stop(number: u8) -> Attributes {
    let id = format!("s{number}");
    Attributes::session(Status::Stop, &id, &new_imsi(number.into()), address(number))
}

#[test]
fn b_id_1_b_id_4_a_session_by_radclient_is_served_from_its_start_to_its_stop() {
    let upstream = Upstream::listen();
    let (ringbeam, _) = listening(&upstream);
    let (to, server) = (ringbeam.address(), ringbeam.radius()[0]);
    let tell = |status: &str| {
        let request = format!(
            "Acct-Status-Type = {status}\nAcct-Session-Id = \"s1\"\nNAS-IP-Address = 10.0.0.9\n\
             Called-Station-Id = \"IoT.example.mnc010.mcc440.gprs\"\nFramed-IP-Address = 127.7.0.1\n\
             3GPP-IMSI = \"{}\"\n3GPP-IMEISV = \"2605317931138301\"\nMessage-Authenticator = 0x00\n",
            new_imsi(1)
        );
        let (is_answered, said) = radclient(server, SECRET, "acct", &request);
        assert!(is_answered, "{said}");
    };
    assert!(is_refused(address(1), to));
    tell("Start");
    let (mut device, mut peer) = upstream.session(to, address(1), 4);
    device.send(&publish("t/{{imei}}", b"x"));
    // With the check digit in the place of the software's version.
    let expected = format!("t/260531793113837/{}", new_imsi(1));
    peer.expect(&publish(&expected, b"x"));
    tell("Interim-Update");
    passes(&mut device, &mut peer, &new_imsi(1));
    tell("Stop");
    are_dead(&mut (device, peer));
    assert!(is_refused(address(1), to));

    let path = format!("/v1/subscribers/{}/events/sessions", new_imsi(1));
    let events = ringbeam.api().get(&path).expect(200).json();
    let kinds: Vec<&Value> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["event"])
        .collect();
    assert_eq!(kinds, ["Deleted", "Created"]);
    assert_eq!(
        (
            &events[1]["ueIpAddress"],
            &events[1]["imei"],
            &events[1]["sessionId"]
        ),
        (&json!("127.7.0.1"), &json!("260531793113837"), &json!("s1"))
    );
    assert!(ringbeam.metric("ringbeam_radius_requests_total{outcome=\"stored\"}") >= 3.0);
}

#[test]
fn b_id_1_sessions_by_pyrad_are_served() {
    let python = project_file("target/test-venv/bin/python");
    assert!(
        python.exists(),
        "{}: `make test` installs it",
        python.display()
    );
    let upstream = Upstream::listen();
    let ringbeam = setup(&upstream)
        .file("radius.secret", "pyrad-hush\n")
        .with_user()
        .start();
    let mut command = std::process::Command::new(&python);
    command.arg(project_file("engine/tests/it/pyrad_client.py"));
    command.arg(ringbeam.radius()[0].port().to_string());
    let (status, said, errors) = output(&mut command);
    assert_eq!(status, Some(0), "{errors}");
    let answered: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&answered["start"], &answered["wrong"]),
        (&json!(true), &json!(false))
    );
    let explained = |address: &str| {
        let path = format!("/ringbeam/v1/explain?ip={address}");
        ringbeam.api().get(&path).json()["text"].to_string()
    };
    assert!(explained("10.7.0.1").contains("440100000000001"));
    assert!(explained("2001:db8:7::5").contains("440100000000001"));
}

#[test]
fn b_id_4_once_a_start_is_answered_the_old_sims_connections_are_gone() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let to = ringbeam.address();
    let claim = |number: u16| {
        let (id, imsi) = (format!("turn-{number}"), new_imsi(number));
        Attributes::session(Status::Start, &id, &imsi, address(9))
    };
    gateway.tell(&claim(0));
    let mut held = is_served_as(&upstream, to, address(9), &new_imsi(0));
    for number in 1..20 {
        let mut second = is_served_as(&upstream, to, address(9), &new_imsi(number - 1));
        gateway.tell(&claim(number));
        // What is sent now is on a connection that is dead, and goes nowhere.
        drop(held.0.try_send(&publish("t", b"late")));
        are_dead(&mut held);
        are_dead(&mut second);
        held = is_served_as(&upstream, to, address(9), &new_imsi(number));
    }
    // The API gives it to somebody else, and a Start of later takes it again.
    let session = json!({"ip": address(9).to_string()});
    let path = "/ringbeam/v1/sims/8981100000000000001/session";
    ringbeam.api().put(path, &session).expect(200);
    are_dead(&mut held);
    let mut held = is_served_as(&upstream, to, address(9), "440100000000001");
    gateway.tell(&claim(20));
    are_dead(&mut held);
    drop(is_served_as(&upstream, to, address(9), &new_imsi(20)));
}

#[test]
fn b_id_4_requests_that_come_again_late_or_for_others_evict_nobody() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let to = ringbeam.address();
    let (one, two) = (new_imsi(1), new_imsi(2));
    let of = |status, id: &str, imsi: &str| Attributes::session(status, id, imsi, address(1));
    let now = u32::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap();

    // The address goes from one SIM to another, whose connection outlives whatever is said of the first.
    let first = gateway.request(&of(Status::Start, "a", &one).at(now - 100));
    gateway.tell_again(&first);
    gateway.tell(&of(Status::Start, "b", &two).at(now - 90));
    let (mut device, mut peer) = is_served_as(&upstream, to, address(1), &two);
    let mut nothing_changes = |what: &str, request: &[u8]| {
        gateway.tell_again(request);
        passes(&mut device, &mut peer, &two);
        let found = ringbeam
            .api()
            .get("/ringbeam/v1/explain?ip=127.7.0.1")
            .json();
        assert!(found["text"].to_string().contains(&two), "{what}");
    };
    nothing_changes("sent again", &first);
    let late = |request: Attributes| gateway.request(&request);
    nothing_changes(
        "an interim of before",
        &late(of(Status::Interim, "a", &one).at(now - 95)),
    );
    nothing_changes(
        "a stop of before",
        &late(of(Status::Stop, "a", &one).at(now - 91)),
    );
    nothing_changes("a stop of now", &late(of(Status::Stop, "a", &one).at(now)));
    nothing_changes(
        "what is over",
        &late(of(Status::Interim, "a", &one).at(now - 92)),
    );
    nothing_changes(
        "its own, once more",
        &late(of(Status::Interim, "b", &two).at(now - 80)),
    );

    // A Stop comes before its Start: the session never was.
    gateway.tell(&Attributes::session(Status::Stop, "c", &one, address(3)).at(now - 10));
    gateway.tell(&Attributes::session(Status::Start, "c", &one, address(3)).at(now - 20));
    assert!(is_refused(address(3), to));
    passes(&mut device, &mut peer, &two);
    assert!(ringbeam.metric("ringbeam_radius_requests_total{outcome=\"repeated\"}") >= 1.0);
}

#[test]
fn b_id_4_an_access_server_that_begins_anew_ends_its_own_sessions_alone() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let to = ringbeam.address();
    let servers = [Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 0, 10)];
    let start = |server: usize, number: u8| {
        let (id, imsi) = (format!("s{number}"), new_imsi(number.into()));
        let nas = servers[server];
        gateway.tell(&Attributes::new(Status::Start, nas).of(
            &id,
            &imsi,
            address(number),
            "iot.example",
        ));
        is_served_as(&upstream, to, address(number), &imsi)
    };
    let (mut one, mut two, mut other) = (start(0, 1), start(0, 2), start(1, 3));
    gateway.tell(&Attributes::new(Status::Off, servers[0]));
    are_dead(&mut one);
    are_dead(&mut two);
    passes(&mut other.0, &mut other.1, &new_imsi(3));
    assert!(is_refused(address(1), to));
    // Another session, for an id stays over.
    let mut again = start(0, 4);
    // What begins with the access server itself must not be ended by it: On is of the millisecond in which it comes.
    std::thread::sleep(Duration::from_millis(2));
    gateway.tell(&Attributes::new(Status::On, servers[0]));
    are_dead(&mut again);
    passes(&mut other.0, &mut other.1, &new_imsi(3));
    drop(start(0, 5));
}

#[test]
fn b_id_3_access_points_lead_to_networks_whose_addresses_overlap() {
    let upstream = Upstream::listen();
    let second = RADIUS.replace(
        "\"iot.example\" = \"default\"",
        "\"iot.example\" = \"other\", \"six.example\" = \"six\"",
    );
    let ringbeam = setup(&upstream)
        .listener("other", "127.0.0.1:0")
        .listener("six", "[::1]:0")
        .section(&second)
        .with_user()
        .start();
    let gateways: Vec<Gateway> = ringbeam.radius().into_iter().map(Gateway::new).collect();
    let (default, other) = (ringbeam.address(), ringbeam.address_of("other"));
    gateways[0].tell(&start(1));
    assert!(is_refused(address(1), other), "it is nobody's there");
    let imsi = new_imsi(77);
    let nas = Ipv4Addr::new(10, 0, 0, 10);
    let of = |status, access_point: &str| {
        Attributes::new(status, nas).of("x", &imsi, address(1), access_point)
    };
    gateways[1].tell(&of(Status::Start, "iot.example"));
    let mut here = is_served_as(&upstream, default, address(1), &new_imsi(1));
    let mut there = is_served_as(&upstream, other, address(1), &imsi);
    gateways[1].tell(&of(Status::Stop, "iot.example"));
    are_dead(&mut there);
    passes(&mut here.0, &mut here.1, &new_imsi(1));

    // What leads nowhere binds nothing, and is answered all the same.
    gateways[1].tell(&Attributes::new(Status::Start, nas).of(
        "y",
        &imsi,
        address(2),
        "nowhere.example",
    ));
    assert!(is_refused(address(2), default) && is_refused(address(2), other));
    assert!(
        ringbeam.metric("ringbeam_radius_requests_total{outcome=\"ignored_unknown_apn\"}") >= 1.0
    );

    let six = ringbeam.address_of("six");
    let of =
        |status| Attributes::new(status, nas).of("z", &imsi, Ipv6Addr::LOCALHOST, "six.example");
    assert!(is_refused(Ipv6Addr::LOCALHOST, six));
    gateways[1].tell(&of(Status::Start));
    let mut session = is_served_as(&upstream, six, Ipv6Addr::LOCALHOST, &imsi);
    gateways[1].tell(&of(Status::Stop));
    are_dead(&mut session);
}

#[test]
fn strangers_and_garbage_get_silence_and_are_counted() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let (server, to) = (ringbeam.radius()[0], ringbeam.address());
    let stranger = Gateway::with(Ipv4Addr::new(127, 9, 0, 1), server, SECRET);
    let liar = Gateway::with(Ipv4Addr::LOCALHOST, server, "another");
    for (who, outcome) in [
        (&stranger, "dropped_unknown_client"),
        (&liar, "dropped_wrong_authenticator"),
    ] {
        let request = who.request(&start(1));
        who.send(&request);
        assert_eq!(who.receive(SILENCE), None, "{outcome}");
        let name = format!("ringbeam_radius_requests_total{{outcome=\"{outcome}\"}}");
        assert!(ringbeam.metric(&name) >= 1.0, "{outcome}");
    }
    assert!(is_refused(address(1), to));

    // Requests with a bit turned, cut or longer than they say, and noise.
    let good = gateway.request(&start(1));
    let mut dice = Dice::new(7);
    for round in 0..if is_soak() { 200_000 } else { 5_000 } {
        let mut datagram = good.clone();
        match round % 4 {
            0 => {
                let place = dice.below(datagram.len());
                datagram[place] ^= 1 << dice.below(8);
            }
            1 => datagram.truncate(dice.below(good.len())),
            2 => datagram.extend((0..dice.below(4200)).map(|_| 0xff)),
            _ => {
                datagram = (0..dice.below(400))
                    .map(|_| u8::try_from(dice.below(256)).unwrap())
                    .collect();
            }
        }
        datagram.truncate(60_000);
        gateway.send(&datagram);
    }
    // Attributes in an honest request that are none.
    for attributes in [
        &[40, 1][..],
        &[26, 3, 0],
        &[8, 3, 1],
        &[97, 4, 0, 200],
        &[44, 255, 1],
        &[26, 8, 0, 0, 0x28, 0xaf, 1, 9],
    ] {
        let request = gateway.request(&Attributes::raw(attributes));
        gateway.is_answered(&request, Duration::from_millis(20));
    }
    gateway.tell(&start(2));
    drop(is_served_as(&upstream, to, address(2), &new_imsi(2)));
    assert!(
        ringbeam.metric("ringbeam_radius_requests_total{outcome=\"dropped_malformed\"}") >= 1.0
    );
    assert!(!ringbeam.log_text().contains(SECRET));
}

#[test]
fn b_id_1_nothing_that_was_answered_is_lost_by_a_kill() {
    let upstream = Upstream::listen();
    let mut ringbeam = setup(&upstream).with_user().start();
    let database = ringbeam.setup().path("ringbeam.db");
    let mut dice = Dice::new(11);
    let rounds = if is_soak() { 200 } else { 6 };
    let mut total = 0;
    for round in 0..rounds {
        let gateway = Gateway::new(ringbeam.radius()[0]);
        let id = ringbeam.id();
        let patience = Duration::from_millis(u64::try_from(dice.below(300)).unwrap());
        let killer = std::thread::spawn(move || {
            std::thread::sleep(patience);
            super::super::harness::ringbeam::signal(id, "KILL");
        });
        // 32 at a time; whose answer came is kept for good.
        let mut answered = Vec::new();
        'alive: for batch in 0..200_u32 {
            let sent: Vec<_> = (0..32_u32)
                .map(|place| {
                    let number = batch * 32 + place;
                    let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
                    let (session, imsi) = (
                        format!("{round}-{number}"),
                        new_imsi(u16::try_from(number).unwrap()),
                    );
                    let request = gateway.request(&Attributes::session(
                        Status::Start,
                        &session,
                        &imsi,
                        address,
                    ));
                    gateway.send(&request);
                    (request, address, session)
                })
                .collect();
            for _ in 0..32 {
                let Some(answer) = gateway.receive(Duration::from_millis(500)) else {
                    break 'alive;
                };
                let whose = sent
                    .iter()
                    .find(|(request, ..)| gateway.is_answer(request, &answer));
                let (_, address, session) = whose.unwrap();
                answered.push((*address, session.clone()));
            }
        }
        killer.join().unwrap();
        ringbeam.wait();
        let mut stored = BTreeMap::new();
        sessions(&Connection::open(&database).unwrap(), |session| {
            drop(stored.insert(session.block.addr(), session.session_id));
        })
        .unwrap();
        for (address, session) in &answered {
            let found = stored.get(&IpAddr::from(*address));
            assert_eq!(found, Some(session), "round {round}: answered and lost");
        }
        total += answered.len();
        ringbeam = ringbeam.restart();
    }
    assert!(total > 0);
    // What was kept is served.
    let gateway = Gateway::new(ringbeam.radius()[0]);
    gateway.tell(&start(1));
    ringbeam.signal("KILL");
    ringbeam.wait();
    let ringbeam = ringbeam.restart();
    drop(is_served_as(
        &upstream,
        ringbeam.address(),
        address(1),
        &new_imsi(1),
    ));
}

#[test]
fn b_id_1_a_sim_that_comes_after_its_session_is_served_and_follows_its_object() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let imsi = "440109999999999";
    gateway.tell(&Attributes::session(Status::Start, "u", imsi, address(5)));
    assert!(is_refused(address(5), to), "nobody knows the SIM");
    let sim = json!({"simId": "8999", "imsi": imsi, "groupId": "new"});
    api.put("/ringbeam/v1/sims", &sim).expect(201);
    let mut session = is_served_as(&upstream, to, address(5), imsi);
    let shown = api.get("/v1/sims/8999").expect(200).json();
    assert_eq!(shown["sessionStatus"]["ueIpAddress"], "127.7.0.5");

    api.send("POST", "/v1/sims/8999/deactivate", None)
        .expect(200);
    are_dead(&mut session);
    assert!(is_refused(address(5), to));
    api.send("POST", "/v1/sims/8999/activate", None).expect(200);
    let mut session = is_served_as(&upstream, to, address(5), imsi);

    api.send("POST", "/v1/sims/8999/unset_group", None)
        .expect(200);
    session.0.expect_closed();
    // B-KEEP-4: the operator has switched the entry point off.
    assert_eq!(session.1.rest(), [0xe0, 0]);
    assert!(is_refused(address(5), to));
    api.post("/v1/sims/8999/set_group", &json!({"groupId": "old"}))
        .expect(200);
    let mut session = is_served_as(&upstream, to, address(5), imsi);

    // An operator ends it; the core may tell of it again.
    api.send("POST", "/v1/sims/8999/delete_session", None)
        .expect(200);
    are_dead(&mut session);
    assert!(is_refused(address(5), to));
    gateway.tell(&Attributes::session(Status::Start, "v", imsi, address(5)));
    let mut session = is_served_as(&upstream, to, address(5), imsi);
    api.delete("/ringbeam/v1/sims/8999").expect(204);
    are_dead(&mut session);
    assert!(is_refused(address(5), to));
}

#[test]
fn b_cfg_5_a_reload_takes_over_secrets_clients_and_networks() {
    let upstream = Upstream::listen();
    let (mut ringbeam, gateway) = listening(&upstream);
    let (server, to) = (ringbeam.radius()[0], ringbeam.address());
    gateway.tell(&start(1));
    let mut session = is_served_as(&upstream, to, address(1), &new_imsi(1));

    std::fs::write(ringbeam.setup().path("radius.secret"), "hush-new").unwrap();
    assert!(ringbeam.reload());
    let renewed = Gateway::with(Ipv4Addr::LOCALHOST, server, "hush-new");
    assert!(
        !gateway.is_answered(&gateway.request(&start(2)), SILENCE),
        "the secret of before"
    );
    renewed.tell(&start(2));
    passes(&mut session.0, &mut session.1, &new_imsi(1));

    let changed = RADIUS
        .replace("127.0.0.0/16", "127.9.0.0/16")
        .replace("iot.example", "next.example");
    ringbeam.setup_mut().replace_sections(&changed);
    ringbeam
        .api()
        .send("POST", "/ringbeam/v1/reload", None)
        .expect(200);
    assert!(
        !renewed.is_answered(&renewed.request(&start(3)), SILENCE),
        "a client of before"
    );
    let other = Gateway::with(Ipv4Addr::new(127, 9, 0, 1), server, "hush-new");
    other.tell(&start(3));
    assert!(is_refused(address(3), to), "an access point of before");
    let nas = Ipv4Addr::new(10, 0, 0, 9);
    other.tell(&Attributes::new(Status::Start, nas).of(
        "s4",
        &new_imsi(4),
        address(4),
        "next.example",
    ));
    drop(is_served_as(&upstream, to, address(4), &new_imsi(4)));

    // A secret that cannot be read leaves everything as it is.
    std::fs::remove_file(ringbeam.setup().path("radius.secret")).unwrap();
    assert!(!ringbeam.reload());
    other.tell(&stop(4));
    // An address is for the next start, and that is said.
    std::fs::write(ringbeam.setup().path("radius.secret"), "hush-new").unwrap();
    let more = format!(
        "{changed}\n{}",
        changed.replace("127.0.0.1:0", "127.0.0.2:0")
    );
    ringbeam.setup_mut().replace_sections(&more);
    assert!(ringbeam.reload());
    assert!(ringbeam.log_text().contains("addresses of RADIUS"));
    other.tell(&stop(3));
}

#[test]
fn another_registry_waits_for_a_restart() {
    let upstream = Upstream::listen();
    let (ringbeam, _) = listening(&upstream);
    let setup = ringbeam.setup();
    std::fs::copy(setup.path("ringbeam.db"), setup.path("other.db")).unwrap();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let changed = text.replace("[registry]\n", "[registry]\npath = \"other.db\"\n");
    std::fs::write(setup.config(), changed).unwrap();
    assert!(!ringbeam.reload());
    assert!(ringbeam.log_text().contains("another registry"));
    std::fs::write(setup.config(), text).unwrap();
    assert!(ringbeam.reload());
}
