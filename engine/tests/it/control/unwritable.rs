//! A registry that cannot be written: its disk is full, or another program writes. What takes an address away is in effect
//! all the same, what gives one waits, whoever asked is told which of both, and in the end fleet and registry say the
//! same (B-ID-6).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringbeam::registry::sessions::sessions;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::super::harness::fleet::{
    ENTRY_POINT, entry_point, fleet, new_imsi, new_sim, new_sim_id, old_sim,
};
use super::super::harness::http::{Answer, Api};
use super::super::harness::peer::{Peer, Upstream, publish};
use super::super::harness::radius::{Attributes, Gateway, SECRET, Status};
use super::super::harness::ringbeam::{Ringbeam, Setup};
use super::super::harness::smf::Smf;
use super::super::harness::wait_until;
use super::is_refused;

const RADIUS: &str = "[[radius]]\naddress = \"127.0.0.1:0\"\nnetworks = { \"iot.example\" = \"default\" }\n\
                      clients = [ { cidr = \"127.0.0.0/16\", secret_file = \"radius.secret\" } ]";

/// How long it is listened for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(300);

fn setup(upstream: &Upstream) -> Setup {
    // B-ID-8 would let them wait.
    let setup = Setup::new(&fleet(upstream.address()))
        .engine("unknown_address_wait_ms = 0")
        .control();
    setup.file("radius.secret", SECRET).section(RADIUS)
}

fn on_small_disk(upstream: &Upstream) -> Ringbeam {
    setup(upstream).on_small_disk().with_user().start()
}

/// The address of session `number`.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 7, 0, number)
}

fn told(status: Status, number: u8, imsi: &str, at: u8) -> Attributes {
    Attributes::session(status, &format!("s{number}"), imsi, address(at))
}

/// The device at an address is served as this SIM.
#[track_caller]
fn is_served_as(upstream: &Upstream, to: SocketAddr, from: Ipv4Addr, imsi: &str) -> (Peer, Peer) {
    let mut session = upstream.session(to, from, 4);
    passes(&mut session, imsi);
    session
}

#[track_caller]
fn passes((device, peer): &mut (Peer, Peer), imsi: &str) {
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{imsi}"), b"x"));
}

/// Both legs are closed, and nothing more came on them.
#[track_caller]
fn are_dead((device, peer): &mut (Peer, Peer)) {
    device.expect_closed();
    peer.expect_closed();
}

/// The operator has ended it (B-KEEP-4).
#[track_caller]
fn is_closed((device, peer): &mut (Peer, Peer)) {
    device.expect_closed();
    assert_eq!(peer.rest(), [0xe0, 0]);
}

/// It is not answered, however often it is sent.
#[track_caller]
fn is_not_stored(gateway: &Gateway, attributes: &Attributes) {
    let request = gateway.request(attributes);
    assert!(!gateway.is_answered(&request, SILENCE));
    assert!(!gateway.is_answered(&request, SILENCE));
}

fn wait_until_ready(ringbeam: &Ringbeam) {
    wait_until("the registry to be written again", || {
        ringbeam.nobody().get("/readyz").status == 200
    });
    // What was kept is stored in the same turn, or in the next.
    wait_until("what was kept to be stored", || {
        ringbeam.metric("ringbeam_registry_unstored") == 0.0
    });
}

/// Who has which address, as it is stored.
fn stored(ringbeam: &Ringbeam) -> BTreeMap<IpAddr, String> {
    let mut stored = BTreeMap::new();
    // A copy: SQLite would follow the path to the file that this process sees there.
    let copy = tempfile::TempDir::new().unwrap();
    for name in ["ringbeam.db", "ringbeam.db-wal"] {
        std::fs::copy(ringbeam.on_disk(name), copy.path().join(name)).unwrap();
    }
    let database = Connection::open(copy.path().join("ringbeam.db")).unwrap();
    sessions(&database, |session| {
        drop(stored.insert(session.block.addr(), session.imsi.to_string()));
    })
    .unwrap();
    stored
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap().to_owned()
}

fn post(api: &Api, path: &str) -> Answer {
    api.send("POST", path, None)
}

#[test]
fn b_id_6_what_a_gateway_takes_is_nobodys_while_the_disk_is_full_and_all_is_stored_in_the_end() {
    let upstream = Upstream::listen();
    let ringbeam = on_small_disk(&upstream);
    let (to, gateway) = (ringbeam.address(), Gateway::new(ringbeam.radius()[0]));
    let imsi = |number: u8| new_imsi(number.into());
    for number in [1, 2, 4, 5, 6] {
        gateway.tell(&told(Status::Start, number, &imsi(number), number));
    }
    let mut held: Vec<_> = [1, 2, 4, 5, 6]
        .map(|number| is_served_as(&upstream, to, address(number), &imsi(number)))
        .into();
    let mut steady = held.remove(2);

    ringbeam.fill_disk();
    // A Stop, a Start of another SIM, a session that has another address now, and one that begins where nobody is.
    is_not_stored(&gateway, &told(Status::Stop, 1, &imsi(1), 1));
    is_not_stored(&gateway, &told(Status::Start, 20, &imsi(20), 2));
    is_not_stored(&gateway, &told(Status::Interim, 5, &imsi(5), 15));
    is_not_stored(&gateway, &told(Status::Start, 3, &imsi(3), 3));
    for session in &mut held[..3] {
        are_dead(session);
    }
    for at in [1, 2, 3, 5, 15] {
        assert!(is_refused(address(at), to), "{at}");
    }
    let explained = ringbeam.api().get("/ringbeam/v1/explain?ip=127.7.0.1");
    let explained = explained.expect(200).json()["text"].to_string();
    assert!(
        explained.contains("nobody's until it can be stored"),
        "{explained}"
    );
    // Who goes on as before is not harmed by what is said of it.
    is_not_stored(&gateway, &told(Status::Interim, 4, &imsi(4), 4));
    passes(&mut steady, &imsi(4));
    drop(is_served_as(&upstream, to, address(4), &imsi(4)));
    let nobody = ringbeam.nobody();
    let told_of = nobody.get("/readyz").expect(503).text();
    assert!(told_of.contains("the disk is full"), "{told_of}");
    assert!(ringbeam.metric("ringbeam_registry_unstored") >= 5.0);
    // What is read anew is what is stored: it brings nothing back.
    assert!(ringbeam.reload());
    for at in [1, 2, 3, 5, 15] {
        assert!(is_refused(address(at), to), "{at}");
    }
    passes(&mut steady, &imsi(4));

    // Nobody sends anything again: the gateways have given up.
    ringbeam.empty_disk();
    wait_until_ready(&ringbeam);
    assert!(is_refused(address(1), to) && is_refused(address(5), to));
    drop(is_served_as(&upstream, to, address(2), &imsi(20)));
    drop(is_served_as(&upstream, to, address(3), &imsi(3)));
    drop(is_served_as(&upstream, to, address(15), &imsi(5)));
    passes(&mut steady, &imsi(4));
    passes(&mut held[3], &imsi(6));
    let expected = [(2, 20), (3, 3), (4, 4), (6, 6), (15, 5)];
    let expected = expected.map(|(at, number)| (IpAddr::from(address(at)), imsi(number)));
    assert_eq!(stored(&ringbeam), BTreeMap::from(expected));
    // What was withheld is given to whoever comes next.
    gateway.tell(&told(Status::Start, 21, &imsi(1), 1));
    drop(is_served_as(&upstream, to, address(1), &imsi(1)));
}

#[test]
fn b_id_6_a_gateway_that_begins_anew_while_the_disk_is_full_ends_its_sessions() {
    let upstream = Upstream::listen();
    let ringbeam = on_small_disk(&upstream);
    let (to, gateway) = (ringbeam.address(), Gateway::new(ringbeam.radius()[0]));
    let mut sessions: Vec<_> = (1..=3)
        .map(|number| {
            let imsi = new_imsi(number.into());
            gateway.tell(&told(Status::Start, number, &imsi, number));
            is_served_as(&upstream, to, address(number), &imsi)
        })
        .collect();
    ringbeam.fill_disk();
    is_not_stored(
        &gateway,
        &Attributes::new(Status::Off, Ipv4Addr::new(10, 0, 0, 9)),
    );
    sessions.iter_mut().for_each(are_dead);
    assert!((1..=3).all(|number| is_refused(address(number), to)));
    ringbeam.empty_disk();
    wait_until_ready(&ringbeam);
    assert!((1..=3).all(|number| is_refused(address(number), to)));
    assert_eq!(stored(&ringbeam), BTreeMap::new());
}

#[test]
fn b_id_6_what_an_operator_takes_is_in_effect_while_the_disk_is_full_and_is_told_so() {
    let upstream = Upstream::listen();
    let ringbeam = on_small_disk(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let sim = |number: u16, verb: &str| format!("/v1/sims/{}/{verb}", new_sim_id(number));
    let lent = json!({"ip": address(9).to_string()});
    let object = entry_point(upstream.address(), "201912");
    let group = json!({"configuration": {"SoracomBeam": {ENTRY_POINT: object}}});
    let other = api.post("/v1/groups", &group).expect(201).json()["groupId"].clone();
    let session = |number: u16| format!("/ringbeam/v1/sims/{}/session", new_sim_id(number));
    api.put(&session(4), &lent).expect(200);
    let serve = |number: u16| is_served_as(&upstream, to, new_sim(number), &new_imsi(number));
    let mut sessions: Vec<_> = (0..6).map(serve).collect();
    let mut lent_to = is_served_as(&upstream, to, address(9), &new_imsi(4));
    let mut old = upstream.session(to, old_sim(1), 4);

    ringbeam.fill_disk();
    let in_effect = |answer: Answer| {
        let said = message(&answer.expect(507));
        let expected = "the disk is full: what it takes away is in effect";
        assert!(said.contains(expected), "{said}");
    };
    in_effect(post(&api, &sim(0, "deactivate")));
    are_dead(&mut sessions[0]);
    in_effect(post(&api, &sim(1, "unset_group")));
    is_closed(&mut sessions[1]);
    in_effect(post(&api, &sim(2, "delete_session")));
    are_dead(&mut sessions[2]);
    in_effect(api.put(&session(5), &lent));
    are_dead(&mut lent_to);
    // B-CFG-5: a session goes on where another group serves the SIM; what comes later does not know which it is.
    in_effect(api.post(&sim(3, "set_group"), &json!({"groupId": other})));
    passes(&mut sessions[3], &new_imsi(3));
    for from in [new_sim(0), new_sim(1), new_sim(3), address(9)] {
        assert!(is_refused(from, to), "{from}");
    }
    // Its own address stays valid, and so does everybody's who was not spoken of.
    drop(serve(2));
    passes(&mut sessions[4], &new_imsi(4));
    let mut disabled = entry_point(upstream.address(), "201509");
    disabled["enabled"] = json!(false);
    let configuration = "/v1/groups/old/configuration/SoracomBeam";
    in_effect(api.put(
        configuration,
        &json!([{"key": ENTRY_POINT, "value": disabled}]),
    ));
    is_closed(&mut old);
    assert!(is_refused(old_sim(1), to));
    passes(&mut sessions[4], &new_imsi(4));

    // What gives is not kept, and what makes no sense is refused as ever.
    let nothing = |answer: Answer| {
        let said = message(&answer.expect(507));
        assert!(said.contains("nothing has changed"), "{said}");
    };
    nothing(post(&api, &sim(0, "activate")));
    nothing(api.put(
        "/ringbeam/v1/sims",
        &json!({"simId": "8999", "imsi": "440109999999999"}),
    ));
    nothing(api.put(&session(5), &json!({"ip": address(10).to_string()})));
    nothing(api.post("/v1/groups", &json!({"tags": {"name": "x"}})));
    api.delete("/v1/groups/none").expect(404);
    post(&api, "/v1/sims/1/deactivate").expect(404);
    assert!(is_refused(address(10), to));

    // Closing works, and so does reading anew.
    let open = api
        .get(&format!("/ringbeam/v1/connections?imsi={}", new_imsi(4)))
        .expect(200)
        .json();
    let id = open[0]["id"].as_str().unwrap().to_owned();
    api.delete(&format!("/ringbeam/v1/connections/{id}"))
        .expect(204);
    is_closed(&mut sessions[4]);
    post(&api, "/ringbeam/v1/reload").expect(200);
    assert!(is_refused(new_sim(0), to) && is_refused(old_sim(1), to));
    assert_eq!(audited(&api), ["addUser", "createGroup", "putSession"]);

    ringbeam.empty_disk();
    wait_until_ready(&ringbeam);
    let acts = audited(&api);
    for act in [
        "deactivateSim",
        "unsetGroup",
        "deleteSession",
        "setGroup",
        "putConfigurationParameters",
        "closeConnection",
        "reload",
    ] {
        assert!(acts.contains(&act.to_owned()), "{act} in {acts:?}");
    }
    assert_eq!(acts.iter().filter(|act| *act == "putSession").count(), 2);
    assert!(is_refused(new_sim(0), to) && is_refused(new_sim(1), to));
    drop(is_served_as(&upstream, to, address(9), &new_imsi(5)));
    passes(&mut sessions[3], &new_imsi(3));
    let shown = |number: u16| {
        api.get(&format!("/v1/sims/{}", new_sim_id(number)))
            .expect(200)
            .json()
    };
    assert_eq!(
        (&shown(0)["status"], &shown(3)["groupId"]),
        (&json!("inactive"), &other)
    );
    let group = api.get("/v1/groups/old").expect(200).json();
    assert_eq!(
        group["configuration"]["SoracomBeam"][ENTRY_POINT]["enabled"],
        false
    );
    // What is asked for anew is as it would ever have been.
    post(&api, &sim(0, "deactivate")).expect(200);
    post(&api, &sim(0, "activate")).expect(200);
    drop(serve(0));
    let enabled = entry_point(upstream.address(), "201509");
    api.put(
        configuration,
        &json!([{"key": ENTRY_POINT, "value": enabled}]),
    )
    .expect(200);
    drop(upstream.session(to, old_sim(1), 4));
    drop(upstream.session(to, new_sim(3), 4));
}

/// What was done, the first first.
fn audited(api: &Api) -> Vec<String> {
    let entries = api.get("/ringbeam/v1/audit?limit=1000").expect(200).json();
    let entries = entries.as_array().unwrap().iter().rev();
    let actions = entries.map(|entry| entry["action"].as_str().unwrap().to_owned());
    actions.collect()
}

#[test]
fn b_id_6_while_another_program_writes_what_takes_is_in_effect_and_is_stored_later() {
    let upstream = Upstream::listen();
    let ringbeam = setup(&upstream).embedded().with_user().start();
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let gateway = Gateway::new(ringbeam.radius()[0]);
    gateway.tell(&told(Status::Start, 1, &new_imsi(1), 1));
    let mut first = is_served_as(&upstream, to, address(1), &new_imsi(1));
    let mut second = is_served_as(&upstream, to, new_sim(2), &new_imsi(2));
    let other = Connection::open(ringbeam.setup().path("ringbeam.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let path = format!("/ringbeam/v1/sims/{}/session", new_sim_id(3));
    let lend = || api.put(&path, &json!({"ip": address(1).to_string()}));
    let said = message(&lend().expect(503));
    assert!(said.contains("another program is writing"), "{said}");
    are_dead(&mut first);
    assert!(is_refused(address(1), to));
    let deactivate = format!("/v1/sims/{}/deactivate", new_sim_id(2));
    post(&api, &deactivate).expect(503);
    are_dead(&mut second);
    is_not_stored(&gateway, &told(Status::Start, 4, &new_imsi(4), 4));
    assert!(is_refused(address(4), to));
    ringbeam.nobody().get("/readyz").expect(503);

    other.execute_batch("ROLLBACK").unwrap();
    lend().expect(200);
    drop(is_served_as(&upstream, to, address(1), &new_imsi(3)));
    // All that came before is stored before.
    assert!(is_refused(new_sim(2), to));
    drop(is_served_as(&upstream, to, address(4), &new_imsi(4)));
    wait_until_ready(&ringbeam);
}

#[test]
fn b_id_6_a_session_that_open5gs_does_not_list_any_more_is_over_while_the_disk_is_full() {
    let (upstream, smf) = (Upstream::listen(), Smf::start(100));
    let imsi = |number: u8| new_imsi(number.into());
    let all = [
        (imsi(1), "127.7.0.1"),
        (imsi(2), "127.7.0.2"),
        (imsi(3), "127.7.0.3"),
    ];
    let list = |places: &[usize]| {
        let listed: Vec<(&str, &str)> = places
            .iter()
            .map(|place| (&*all[*place].0, all[*place].1))
            .collect();
        smf.set(&listed);
        let lists = smf.lists();
        wait_until("three lists", || smf.lists() >= lists + 3);
    };
    let url = smf.url();
    let section = format!("[[open5gs]]\nurl = \"{url}\"\ninterval_ms = 100");
    let setup = Setup::new(&fleet(upstream.address()))
        .control()
        .on_small_disk();
    let setup = setup.engine("unknown_address_wait_ms = 0");
    let ringbeam = setup.section(&section).with_user().start();
    let to = ringbeam.address();
    list(&[0, 1]);
    let mut sessions: Vec<_> = [1, 2]
        .map(|at| is_served_as(&upstream, to, address(at), &imsi(at)))
        .into();
    ringbeam.fill_disk();
    list(&[1, 2]);
    are_dead(&mut sessions[0]);
    passes(&mut sessions[1], &imsi(2));
    assert!(is_refused(address(1), to) && is_refused(address(3), to));
    ringbeam.empty_disk();
    wait_until_ready(&ringbeam);
    passes(&mut sessions[1], &imsi(2));
    assert!(is_refused(address(1), to));
    drop(is_served_as(&upstream, to, address(3), &imsi(3)));
    // It is there again, and served again.
    list(&[0, 1, 2]);
    drop(is_served_as(&upstream, to, address(1), &imsi(1)));
}

#[test]
fn b_id_6_a_drain_works_while_the_disk_is_full() {
    let upstream = Upstream::listen();
    let mut ringbeam = on_small_disk(&upstream);
    let api = ringbeam.api();
    let mut session = is_served_as(&upstream, ringbeam.address(), new_sim(1), &new_imsi(1));
    ringbeam.fill_disk();
    post(&api, "/ringbeam/v1/drain").expect(202);
    is_closed(&mut session);
    ringbeam.ended();
    let lost: Vec<Value> = ringbeam.log_lines();
    let is_said = |line: &Value| line["message"] == "what was not stored is lost with this process";
    assert!(lost.iter().any(is_said), "{}", ringbeam.log_text());
}
