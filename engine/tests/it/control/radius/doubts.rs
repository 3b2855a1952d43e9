//! What is in doubt: clocks that are wrong, ids that are used again, requests that are sent again, and clients that speak of
//! what is not their own (B-ID-6, B-ID-7).

use super::*;

/// Seconds since 1970, so much later.
fn seconds(later: i64) -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    u32::try_from(now + later).unwrap()
}

/// A session's request at an access server that is known by its address.
fn at(nas: [u8; 4], status: Status, id: &str, number: u16, from: u8) -> Attributes {
    let request = Attributes::new(status, Ipv4Addr::from(nas));
    request.of(id, &new_imsi(number), address(from), "iot.example")
}

const OURS: [u8; 4] = [10, 0, 0, 9];
const OTHER: [u8; 4] = [10, 0, 0, 10];

fn outcome(ringbeam: &Ringbeam, outcome: &str) -> f64 {
    ringbeam.metric(&format!(
        "ringbeam_radius_requests_total{{outcome=\"{outcome}\"}}"
    ))
}

/// Changes what is stored, as if it had been written then.
fn rewrite(ringbeam: &Ringbeam, change: &str) {
    let database = Connection::open(ringbeam.setup().path("ringbeam.db")).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    database.execute_batch(change).unwrap();
}

#[test]
fn b_id_7_an_access_server_whose_clock_is_wrong_is_believed_about_everything_else() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let to = ringbeam.address();
    gateway.tell(&at(OTHER, Status::Start, "a", 1, 1));
    let mut first = is_served_as(&upstream, to, address(1), &new_imsi(1));
    // A clock that was never set: half a minute into the year 2000.
    let (on, start) = (946_684_800, 946_684_830);
    gateway.tell(&Attributes::new(Status::On, Ipv4Addr::from(OURS)).at(on));
    gateway.tell(&at(OURS, Status::Start, "1", 2, 1).at(start));
    are_dead(&mut first);
    let mut second = is_served_as(&upstream, to, address(1), &new_imsi(2));
    assert!(outcome(&ringbeam, "wrong_clock") >= 2.0);
    // Ten minutes slow, and ten minutes fast.
    gateway.tell(&at(OTHER, Status::Start, "b", 3, 1).at(seconds(-600)));
    are_dead(&mut second);
    let mut third = is_served_as(&upstream, to, address(1), &new_imsi(3));
    gateway.tell(&at(OTHER, Status::Start, "c", 4, 2).at(seconds(600)));
    let mut other = is_served_as(&upstream, to, address(2), &new_imsi(4));
    gateway.tell(&at(OURS, Status::Start, "2", 5, 2).at(seconds(0)));
    are_dead(&mut other);
    gateway.tell(&at(OTHER, Status::Stop, "b", 3, 1).at(seconds(-590)));
    are_dead(&mut third);
    assert!(outcome(&ringbeam, "wrong_clock") >= 5.0);
    let told = |nas: [u8; 4]| {
        let nas = Ipv4Addr::from(nas).to_string();
        let lines = ringbeam.log_lines().into_iter();
        let lines = lines.filter(|line| line["nas"] == nas && line["level"] == "WARN");
        lines.count()
    };
    assert_eq!((told(OURS), told(OTHER)), (1, 1), "{}", ringbeam.log_text());
}

#[test]
fn b_id_7_what_was_written_while_this_hosts_clock_was_ahead_does_not_outlive_its_correction() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let (to, api) = (ringbeam.address(), ringbeam.api());
    let mut served: Vec<_> = (1..=4)
        .map(|number| {
            gateway.tell(&at(
                OURS,
                Status::Start,
                &format!("s{number}"),
                number.into(),
                number,
            ));
            is_served_as(&upstream, to, address(number), &new_imsi(number.into()))
        })
        .collect();
    gateway.tell(&Attributes::new(Status::On, Ipv4Addr::from(OTHER)));
    // All of it was an hour ahead.
    rewrite(
        &ringbeam,
        "UPDATE sessions SET started_ms = started_ms + 3600000, updated_ms = updated_ms + 3600000; \
         UPDATE accounting SET updated_ms = updated_ms + 3600000;",
    );
    gateway.tell(&at(OURS, Status::Stop, "s1", 1, 1));
    are_dead(&mut served[0]);
    assert!(is_refused(address(1), to));
    gateway.tell(&at(OTHER, Status::Start, "x", 11, 2).at(seconds(0)));
    are_dead(&mut served[1]);
    drop(is_served_as(&upstream, to, address(2), &new_imsi(11)));
    let session = json!({"ip": address(3).to_string()});
    let path = "/ringbeam/v1/sims/8981100000000000001/session";
    let bound = api.put(path, &session).expect(200).json();
    assert_eq!(
        bound["sessionStatus"]["ueIpAddress"],
        address(3).to_string()
    );
    are_dead(&mut served[2]);
    drop(is_served_as(&upstream, to, address(3), "440100000000001"));
    gateway.tell(&Attributes::new(Status::Off, Ipv4Addr::from(OURS)));
    are_dead(&mut served[3]);
}

#[test]
fn b_id_7_a_session_id_that_is_used_again_at_once_is_another_session() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let to = ringbeam.address();
    gateway.tell(&at(OURS, Status::Start, "1", 1, 1).at(seconds(-60)));
    let mut first = is_served_as(&upstream, to, address(1), &new_imsi(1));
    gateway.tell(&at(OURS, Status::Stop, "1", 1, 1).at(seconds(-50)));
    are_dead(&mut first);
    // Another SIM, no Accounting-On.
    gateway.tell(&at(OURS, Status::Start, "1", 2, 1).at(seconds(-20)));
    let mut second = is_served_as(&upstream, to, address(1), &new_imsi(2));
    // The first one's end once more, by another request.
    gateway.tell(&at(OURS, Status::Stop, "1", 1, 1).at(seconds(-50)));
    passes(&mut second.0, &mut second.1, &new_imsi(2));
    gateway.tell(&at(OURS, Status::Stop, "1", 2, 1).at(seconds(-10)));
    are_dead(&mut second);
    // The same SIM, later by the access server's own clock.
    gateway.tell(&at(OURS, Status::Start, "1", 2, 1).at(seconds(-5)));
    drop(is_served_as(&upstream, to, address(1), &new_imsi(2)));
}

#[test]
fn b_id_7_a_request_that_was_recorded_ends_and_gives_nothing_when_it_is_sent_again() {
    let upstream = Upstream::listen();
    let (ringbeam, gateway) = listening(&upstream);
    let server = ringbeam.radius()[0];
    let off = gateway.request(&Attributes::new(Status::Off, Ipv4Addr::from(OURS)));
    gateway.tell_again(&off);
    let start = gateway.request(&at(OURS, Status::Start, "a", 1, 1));
    gateway.tell_again(&start);
    gateway.tell(&at(OURS, Status::Stop, "a", 1, 1));
    gateway.tell(&at(OURS, Status::Start, "b", 2, 1));
    let (mut device, mut peer) =
        is_served_as(&upstream, ringbeam.address(), address(1), &new_imsi(2));
    // As long after that as it takes for an id to be used again.
    rewrite(
        &ringbeam,
        "UPDATE sessions SET started_ms = started_ms - 400000, updated_ms = updated_ms - 400000; \
         UPDATE accounting SET updated_ms = updated_ms - 400000;",
    );
    // From another port: what is known of a socket's requests for some seconds is no help.
    let attacker = Gateway::new(server);
    for request in [&off, &start] {
        attacker.tell_again(request);
        passes(&mut device, &mut peer, &new_imsi(2));
    }
    assert!(outcome(&ringbeam, "ignored_replayed") >= 2.0);
    drop((device, peer));
    let mut ringbeam = ringbeam;
    ringbeam.signal("KILL");
    ringbeam.wait();
    let ringbeam = ringbeam.restart();
    let attacker = Gateway::new(ringbeam.radius()[0]);
    let mut session = is_served_as(&upstream, ringbeam.address(), address(1), &new_imsi(2));
    for request in [&off, &start] {
        attacker.tell_again(request);
        passes(&mut session.0, &mut session.1, &new_imsi(2));
    }
    // What is new is heard.
    attacker.tell(&Attributes::new(Status::Off, Ipv4Addr::from(OURS)).named("x"));
    are_dead(&mut session);
}

#[test]
fn b_id_7_a_time_and_a_signature_are_asked_for_where_that_is_configured() {
    let upstream = Upstream::listen();
    let demand = |line: &str| RADIUS.replace("clients", &format!("{line} = true\nclients"));
    let setup = Setup::new(&fleet(upstream.address())).embedded().control();
    let ringbeam = setup
        .file("radius.secret", SECRET)
        .section(&demand("require_event_timestamp"))
        .section(&demand("require_message_authenticator"))
        .with_user()
        .start();
    let (to, servers) = (ringbeam.address(), ringbeam.radius());
    let gateway = Gateway::new(servers[0]);
    for request in [
        start(1),
        start(1).at(seconds(-600)),
        start(1).at(seconds(600)),
        start(1).at(946_684_830),
    ] {
        let request = gateway.request(&request);
        assert!(!gateway.is_answered(&request, SILENCE));
        assert!(is_refused(address(1), to));
    }
    assert!(outcome(&ringbeam, "dropped_no_event_timestamp") >= 4.0);
    gateway.tell(&start(1).at(seconds(-30)));
    let session = is_served_as(&upstream, to, address(1), &new_imsi(1));
    drop(session);

    // Unsigned; then by FreeRADIUS's client, with and without.
    let gateway = Gateway::new(servers[1]);
    assert!(!gateway.is_answered(&gateway.request(&stop(1)), SILENCE));
    let radclient = |more: &str| {
        let request = format!(
            "Acct-Status-Type = Start\nAcct-Session-Id = \"r\"\nNAS-IP-Address = 10.0.0.9\n\
             Called-Station-Id = \"iot.example\"\nFramed-IP-Address = 127.7.0.2\n3GPP-IMSI = \"{}\"\n{more}",
            new_imsi(2)
        );
        radclient(servers[1], SECRET, "acct", &request)
    };
    let (is_answered, said) = radclient("");
    assert!(!is_answered && is_refused(address(2), to), "{said}");
    assert!(outcome(&ringbeam, "dropped_no_message_authenticator") >= 2.0);
    let (is_answered, said) = radclient("Message-Authenticator = 0x00\n");
    assert!(is_answered, "{said}");
    drop(is_served_as(&upstream, to, address(2), &new_imsi(2)));
}

#[test]
fn b_id_6_a_client_takes_and_ends_nothing_that_is_not_its_own() {
    let upstream = Upstream::listen();
    let text = "[[radius]]\naddress = \"127.0.0.1:0\"\n\
         networks = { \"iot.example\" = \"default\", \"other.example\" = \"other\" }\n\
         clients = [ { cidr = \"127.0.0.1\", secret_file = \"radius.secret\", nas = [\"10.0.0.9\"] }, \
         { cidr = \"127.0.0.2\", secret_file = \"two.secret\", networks = [\"other\"] }, \
         { cidr = \"127.0.0.3\", secret_file = \"three.secret\" } ]";
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .embedded()
        .control()
        .file("radius.secret", SECRET)
        .file("two.secret", "two-hush")
        .file("three.secret", "three-hush")
        .listener("other", "127.0.0.1:0")
        .section(text)
        .with_user()
        .start();
    let (to, other, server) = (
        ringbeam.address(),
        ringbeam.address_of("other"),
        ringbeam.radius()[0],
    );
    let owner = Gateway::new(server);
    let two = Gateway::with(Ipv4Addr::new(127, 0, 0, 2), server, "two-hush");
    let three = Gateway::with(Ipv4Addr::new(127, 0, 0, 3), server, "three-hush");
    owner.tell(&at(OURS, Status::Start, "s1", 1, 1));
    three.tell(&at(OTHER, Status::Start, "s1", 2, 2));
    let mut first = is_served_as(&upstream, to, address(1), &new_imsi(1));
    let mut second = is_served_as(&upstream, to, address(2), &new_imsi(2));
    let mut stay = |what: &str| {
        passes(&mut first.0, &mut first.1, &new_imsi(1));
        passes(&mut second.0, &mut second.1, &new_imsi(2));
        let found = ringbeam
            .api()
            .get("/ringbeam/v1/explain?ip=127.7.0.1")
            .json();
        assert!(found["text"].to_string().contains(&new_imsi(1)), "{what}");
    };
    // An address of another network, and of the same by an access server that is another's.
    two.tell(&at(OTHER, Status::Start, "t", 3, 1));
    stay("another network's address");
    assert_eq!(outcome(&ringbeam, "ignored_foreign_network"), 1.0);
    for (who, nas) in [(&two, OURS), (&three, OURS), (&owner, OTHER)] {
        who.tell(&at(nas, Status::Start, "t", 3, 1));
        who.tell(&at(nas, Status::Stop, "s1", 1, 1));
        who.tell(&Attributes::new(Status::Off, Ipv4Addr::from(nas)));
        stay("another's access server");
    }
    assert_eq!(outcome(&ringbeam, "ignored_foreign_nas"), 9.0);
    // One that nobody lists, of which another client told.
    two.tell(&at(OTHER, Status::Stop, "s1", 2, 2));
    two.tell(&Attributes::new(Status::Off, Ipv4Addr::from(OTHER)));
    stay("another client's sessions");
    assert!(outcome(&ringbeam, "ignored_foreign_session") >= 1.0);
    ringbeam.wait_for_log(&[("what", "ignored_foreign_network")]);
    ringbeam.wait_for_log(&[("what", "ignored_foreign_nas")]);
    // What is its own.
    let nas = Ipv4Addr::from(OTHER);
    two.tell(&Attributes::new(Status::Start, nas).of(
        "o",
        &new_imsi(4),
        address(1),
        "other.example",
    ));
    let mut there = is_served_as(&upstream, other, address(1), &new_imsi(4));
    three.tell(&Attributes::new(Status::Off, nas).named("again"));
    are_dead(&mut second);
    passes(&mut there.0, &mut there.1, &new_imsi(4));
    owner.tell(&at(OURS, Status::Stop, "s1", 1, 1));
    are_dead(&mut first);
    assert!(!ringbeam.log_text().contains("-hush"));
}
