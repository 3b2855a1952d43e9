//! The tap: what passes in the sessions of one SIM, read as packets while it does.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::super::harness::fleet::{ENTRY_POINT, entry_point, new_imsi, new_sim};
use super::super::harness::http::{Api, read_head};
use super::super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::serving;

/// Events of a tap, as long as somebody listens.
struct Tapped(BufReader<std::net::TcpStream>);

impl Tapped {
    fn begin(api: &Api, query: &str) -> Self {
        let mut stream = api.begin("GET", &format!("/ringbeam/v1/tap?{query}"), b"");
        let (status, _) = read_head(&mut stream);
        assert_eq!(status, 200);
        Self(stream)
    }

    /// The next event of a name.
    fn next(&mut self, name: &str) -> Value {
        let (mut line, mut event) = (String::new(), String::new());
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the tap is over");
            if let Some(text) = line.trim_end().strip_prefix("event: ") {
                text.clone_into(&mut event);
            } else if let Some(data) = line.trim_end().strip_prefix("data: ")
                && event == name
            {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

#[test]
fn both_legs_are_shown_before_and_after_rewriting_with_passwords_masked() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mut object = entry_point(upstream.address(), "201912");
    object["username"] = json!("user-#{imsi}");
    object["password"] = json!("hush-hush");
    let body = json!([{"key": ENTRY_POINT, "value": object}]);
    api.put("/v1/groups/new/configuration/SoracomBeam", &body)
        .expect(200);
    let mut tapped = Tapped::begin(&api, &format!("imsi={}&seconds=60", new_imsi(1)));
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "c"));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    let begun = tapped.next("begin");
    assert_eq!(begun["platform"], "201912");
    let connect = tapped.next("packet");
    assert_eq!(
        (&connect["leg"], &connect["direction"], &connect["type"]),
        (&json!("upstream"), &json!("sent"), &json!("CONNECT"))
    );
    assert!(
        connect["text"]
            .as_str()
            .unwrap()
            .contains(&format!("user-{}", new_imsi(1)))
    );
    assert!(!connect.to_string().contains("hush"));

    device.send(&publish("a/{{imsi}}", b"21.5"));
    peer.expect(&publish(&format!("a/{0}/{0}", new_imsi(1)), b"21.5"));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let packet = tapped.next("packet");
        if packet["type"] == "PUBLISH" {
            let text = |key: &str| packet[key].as_str().unwrap().to_owned();
            seen.push((
                text("leg"),
                text("direction"),
                text("topic"),
                text("payload"),
            ));
        }
    }
    seen.sort();
    let row = |leg: &str, direction: &str, topic: String| {
        (
            leg.to_owned(),
            direction.to_owned(),
            topic,
            "21.5".to_owned(),
        )
    };
    assert_eq!(
        seen,
        [
            row("device", "received", "a/{{imsi}}".to_owned()),
            row("upstream", "sent", format!("a/{0}/{0}", new_imsi(1))),
        ]
    );
    // Another SIM's packets are its own.
    let (mut other, mut other_peer) = upstream.session(ringbeam.address(), new_sim(2), 4);
    other.send(&publish("secret", b"x"));
    other_peer.expect(&publish(&format!("secret/{}", new_imsi(2)), b"x"));
    device.send(&[0xe0, 0]);
    assert_eq!(tapped.next("packet")["type"], "DISCONNECT");
    let audit = api.get("/ringbeam/v1/audit?limit=1").expect(200).json();
    assert_eq!(audit[0]["action"], "tap");
}

#[test]
fn a_tap_ends_by_itself() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mut short = Tapped::begin(&api, &format!("imsi={}&seconds=1", new_imsi(1)));
    let mut few = Tapped::begin(&api, &format!("imsi={}&packets=2", new_imsi(1)));
    assert!(
        short.next("end")["reason"]
            .as_str()
            .unwrap()
            .contains("time")
    );
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    assert_eq!(few.next("end")["reason"], "enough packets");
    api.get("/ringbeam/v1/tap?imsi=x").expect(400);
    api.get("/ringbeam/v1/tap").expect(400);
}

#[test]
fn the_command_shows_packets_as_the_registrys_user() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let url = format!("http://{}", ringbeam.nobody().address);
    let mut command = ringbeam.setup().command("tap");
    command.args(["--imsi", &new_imsi(1), "--url", &url, "--seconds", "60"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // It listens once it has asked for that.
    let api = ringbeam.api();
    super::super::harness::wait_until("the tap", || {
        api.get("/ringbeam/v1/audit?limit=1").expect(200).json()[0]["action"] == "tap"
    });
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("t", b"21.5"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"21.5"));
    let expected = format!("upstream <- PUBLISH     t/{}, QoS 0 | 21.5", new_imsi(1));
    assert!(lines.any(|line| line.unwrap().ends_with(&expected)));
    // However it ends, the key that it asked by is gone, and that there was one is known.
    child.kill().unwrap();
    child.wait().unwrap();
    let database = rusqlite::Connection::open(ringbeam.setup().path("ringbeam.db")).unwrap();
    let select = "SELECT count(*) FROM auth_keys";
    let keys: i64 = database.query_row(select, [], |row| row.get(0)).unwrap();
    assert_eq!(keys, 0);
    let audit = api.get("/ringbeam/v1/audit?limit=3").expect(200).json();
    let actions: Vec<_> = (0..3).map(|entry| audit[entry]["action"].clone()).collect();
    assert_eq!(actions, ["tap", "deleteAuthKey", "addAuthKey"]);
}
