//! Sessions that are asked for: an SMF whose sessions come and go, and the devices that have them (B-ID-1, B-ID-4).

use serde_json::json;

use super::super::harness::fleet::{fleet, new_imsi};
use super::super::harness::peer::{Upstream, publish};
use super::super::harness::ringbeam::{Ringbeam, Setup};
use super::super::harness::smf::Smf;
use super::super::harness::{wait_for, wait_until};
use super::is_refused;

fn asking(smf: &Smf, upstream: &Upstream) -> Ringbeam {
    let url = smf.url();
    Setup::new(&fleet(upstream.address()))
        .embedded()
        .control()
        // What is nobody's is refused at once.
        .engine("unknown_address_wait_ms = 0")
        .section(&format!("[[open5gs]]\nurl = \"{url}\"\ninterval_ms = 100"))
        .with_user()
        .start()
}

/// Waits until everything that the SMF has now was told, and once more, for what a list of pages may have missed.
fn wait_for_lists(smf: &Smf) {
    let lists = smf.lists();
    wait_until("three lists", || smf.lists() >= lists + 3);
}

#[test]
fn b_id_4_sessions_of_an_open5gs_come_and_go() {
    let (smf, upstream) = (Smf::start(2), Upstream::listen());
    let imsis: Vec<String> = (50..55).map(new_imsi).collect();
    let all: Vec<(&str, String)> = imsis
        .iter()
        .zip(1..)
        .map(|(imsi, number)| (imsi.as_str(), format!("127.8.0.{number}")))
        .collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(imsi, ip)| (*imsi, ip.as_str())).collect();
    smf.set(&all);
    let ringbeam = asking(&smf, &upstream);
    let to = ringbeam.address();
    wait_for_lists(&smf);
    let mut sessions: Vec<_> = (1..=5)
        .zip(&imsis)
        .map(|(number, imsi)| {
            let (mut device, mut peer) = upstream.session(to, [127, 8, 0, number], 4);
            device.send(&publish("t", b"x"));
            peer.expect(&publish(&format!("t/{imsi}"), b"x"));
            (device, peer)
        })
        .collect();

    // While it does not answer, everything stays.
    smf.set_broken(true);
    ringbeam.wait_for_log(&[("error", "HTTP status 500")]);
    sessions[4].0.send(&publish("t", b"y"));
    let expected = publish(&format!("t/{}", imsis[4]), b"y");
    sessions[4].1.expect(&expected);

    // The third leaves, the fourth's address goes to the first SIM, too.
    smf.set(&[all[0], all[1], (all[0].0, all[3].1), all[4]]);
    smf.set_broken(false);
    for place in [2, 3] {
        let (device, peer) = &mut sessions[place];
        device.expect_closed();
        // B-KEEP-4: without a DISCONNECT.
        peer.expect_closed();
    }
    assert!(is_refused([127, 8, 0, 3], to));
    wait_for_lists(&smf);
    let (mut device, mut peer) = upstream.session(to, [127, 8, 0, 4], 4);
    device.send(&publish("t", b"z"));
    peer.expect(&publish(&format!("t/{}", imsis[0]), b"z"));
    for place in [0, 1, 4] {
        let (device, peer) = &mut sessions[place];
        device.send(&publish("t", b"still"));
        peer.expect(&publish(&format!("t/{}", imsis[place]), b"still"));
    }
    let path = format!("/v1/subscribers/{}/events/sessions", imsis[2]);
    let events = ringbeam.api().get(&path).expect(200).json();
    assert_eq!(
        (&events[0]["event"], &events[1]["event"]),
        (&"Deleted".into(), &"Created".into())
    );
    assert_eq!(events[1]["ueIpAddress"], "127.8.0.3");
}

#[test]
fn b_id_6_an_odd_entry_of_an_open5gs_neither_freezes_the_list_nor_ends_a_session() {
    let (smf, upstream) = (Smf::start(100), Upstream::listen());
    let imsis: Vec<String> = (61..64).map(new_imsi).collect();
    smf.set(&[(&imsis[0], "127.8.0.61"), (&imsis[1], "127.8.0.62")]);
    let ringbeam = asking(&smf, &upstream);
    let to = ringbeam.address();
    wait_for_lists(&smf);
    let (mut kept, mut kept_peer) = upstream.session(to, [127, 8, 0, 61], 4);
    let (mut gone, mut gone_peer) = upstream.session(to, [127, 8, 0, 62], 4);
    // The first cannot be read any more, the second's address is the third's.
    smf.set(&[(&imsis[0], "n/a"), (&imsis[2], "127.8.0.62")]);
    gone.expect_closed();
    gone_peer.expect_closed();
    wait_for_lists(&smf);
    let (mut device, mut peer) = upstream.session(to, [127, 8, 0, 62], 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", imsis[2]), b"x"));
    kept.send(&publish("t", b"y"));
    kept_peer.expect(&publish(&format!("t/{}", imsis[0]), b"y"));
    assert!(ringbeam.metric("ringbeam_open5gs_odd_entries_total") >= 3.0);
    let told = ringbeam.log_lines().into_iter();
    let told = told.filter(|line| {
        line["first"]
            .as_str()
            .is_some_and(|odd| odd.contains("n/a"))
    });
    assert_eq!(told.count(), 1, "{}", ringbeam.log_text());
    // B-ID-7: what the next list would undo is refused with the reason.
    let path = "/ringbeam/v1/sims/8981100000000000001/session";
    let session = json!({"ip": "127.8.0.62"});
    let refusal = ringbeam.api().put(path, &session).expect(409).text();
    assert!(
        refusal.contains(&imsis[2]) && refusal.contains(&smf.url()),
        "{refusal}"
    );
    device.send(&publish("t", b"z"));
    peer.expect(&publish(&format!("t/{}", imsis[2]), b"z"));
    // The first's address is given to somebody who can be read: in doubt it is nobody's, then it is his.
    smf.set(&[(&imsis[0], "n/a"), (&imsis[1], "127.8.0.61")]);
    kept.expect_closed();
    kept_peer.expect_closed();
}

#[test]
fn an_open5gs_that_is_asked_no_more_leaves_no_sessions() {
    let (smf, upstream) = (Smf::start(100), Upstream::listen());
    let imsi = new_imsi(60);
    smf.set(&[(&imsi, "127.8.0.60")]);
    let mut ringbeam = asking(&smf, &upstream);
    wait_for_lists(&smf);
    drop(upstream.session(ringbeam.address(), [127, 8, 0, 60], 4));
    ringbeam.signal("KILL");
    ringbeam.wait();
    // With the section it is there before anybody is asked; without it, it goes.
    smf.set_broken(true);
    let mut ringbeam = ringbeam.restart();
    drop(upstream.session(ringbeam.address(), [127, 8, 0, 60], 4));
    ringbeam.signal("KILL");
    ringbeam.wait();
    ringbeam.setup_mut().clear_sections();
    let ringbeam = ringbeam.restart();
    ringbeam.wait_for_log(&[("url", &smf.url())]);
    let api = ringbeam.api();
    let subscriber = wait_for("the session's end", || {
        let subscriber = api
            .get(&format!("/v1/subscribers/{imsi}"))
            .expect(200)
            .json();
        (subscriber["ipAddress"] != "127.8.0.60").then_some(subscriber)
    });
    assert_eq!(subscriber["ipAddress"], "127.1.0.60");
    assert!(is_refused([127, 8, 0, 60], ringbeam.address()));
}
