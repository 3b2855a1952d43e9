//! SIMs: explicit ones and members of ranges, as SIMs and as subscribers, changed while they are connected.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::harness::fleet::{fleet, new_imsi, new_sim, new_sim_id};
use super::super::harness::peer::{Upstream, publish};
use super::super::harness::ringbeam::Setup;
use super::{is_refused, serving};

fn ids(page: &Value, key: &str) -> Vec<String> {
    let page = page.as_array().unwrap();
    page.iter()
        .map(|sim| sim[key].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_sim_is_shown_as_the_vendor_shows_it() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    let sim = api.get("/v1/sims/8981100000000000001").expect(200).json();
    assert_eq!(sim["simId"], "8981100000000000001");
    assert_eq!(sim["groupId"], "new");
    assert_eq!(sim["status"], "active");
    assert_eq!(sim["tags"], json!({"name": ""}));
    let subscriber = &sim["profiles"]["8981100000000000001"]["subscribers"]["440100000000001"];
    assert_eq!(subscriber["imsi"], "440100000000001");
    assert_eq!(sim["sessionStatus"]["online"], true);
    assert_eq!(sim["sessionStatus"]["ueIpAddress"], "127.0.0.2");
    assert_eq!(sim["sessionStatus"]["imei"], "353456789012348");
    let subscriber = api
        .get("/v1/subscribers/440100000000001")
        .expect(200)
        .json();
    assert_eq!(subscriber["ipAddress"], "127.0.0.2");
    assert_eq!(subscriber["simId"], sim["simId"]);
    // A member of a range is one as well.
    let member = api
        .get(&format!("/v1/sims/{}", new_sim_id(7)))
        .expect(200)
        .json();
    assert_eq!(member["sessionStatus"]["ueIpAddress"], "127.1.0.7");
    assert_eq!(member["groupId"], "new");
    for path in [
        "/v1/sims/1",
        "/v1/subscribers/440100000000009",
        "/v1/subscribers/x",
    ] {
        api.get(path).expect(404);
    }
}

#[test]
fn lists_have_explicit_sims_first_and_every_member_once() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    for (first, key) in [
        ("/v1/sims?limit=400", "simId"),
        ("/v1/subscribers?limit=400", "imsi"),
    ] {
        let (mut seen, mut path) = (Vec::new(), first.to_owned());
        for _ in 0..3 {
            let answer = api.get(&path).expect(200);
            seen.extend(ids(&answer.json(), key));
            let link = answer.header("link").unwrap();
            path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        }
        let expected = if key == "simId" {
            "8981100000000000004"
        } else {
            "440100000000004"
        };
        assert_eq!(seen[2], expected);
        assert_eq!(seen.len(), 1200);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 1200);
    }
    let bare = api.get("/v1/groups/bare/subscribers").expect(200).json();
    assert_eq!(ids(&bare, "simId"), ["8981100000000000004"]);
    api.get("/v1/groups/none/subscribers").expect(404);
}

#[test]
fn a_search_by_sessions_looks_at_so_many_sims_and_ends() {
    let mut fleet = fleet(Upstream::listen().address());
    fleet["simRanges"] = json!([{"cidr": "10.0.0.0/8", "imsiBase": "440100100000000",
        "simIdBase": "8981100000100000000", "groupId": "new"}]);
    let ringbeam = Setup::new(&fleet).embedded().control().with_user().start();
    // All of these millions have addresses.
    let found = ringbeam
        .api()
        .get("/v1/query/sims?session_status=OFFLINE")
        .expect(200);
    assert_eq!(found.json(), json!([]));
}

#[test]
fn sims_are_found_by_what_they_have() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    let tags = json!([{"tagName": "name", "tagValue": "pump 50%"}, {"tagName": "site", "tagValue": "north"}]);
    api.put("/v1/sims/8981100000000000001/tags", &tags)
        .expect(200);
    api.put(
        "/v1/groups/new/tags",
        &json!([{"tagName": "name", "tagValue": "New group"}]),
    )
    .expect(200);
    let found_ids = |query: &str| {
        ids(
            &api.get(&format!("/v1/query/sims?{query}"))
                .expect(200)
                .json(),
            "simId",
        )
    };
    assert_eq!(found_ids("name=pump"), ["8981100000000000001"]);
    assert_eq!(found_ids("name=50%25"), ["8981100000000000001"]);
    assert_eq!(found_ids("tag=nor"), ["8981100000000000001"]);
    assert_eq!(found_ids("name=pump&imsi=440100000000003"), [""; 0]);
    assert_eq!(
        found_ids("name=pump&imsi=440100000000003&search_type=or"),
        ["8981100000000000001", "8981100000000000003"]
    );
    assert_eq!(
        found_ids(&format!("imsi={}", new_imsi(300))),
        [new_sim_id(300)]
    );
    assert_eq!(found_ids("group_id=bare,none"), ["8981100000000000004"]);
    assert_eq!(found_ids("group=New").len(), 10);
    assert_eq!(found_ids("status=inactive"), [""; 0]);
    assert_eq!(found_ids("msisdn=1"), [""; 0]);
    assert_eq!(
        found_ids("session_status=ONLINE&group_id=bare"),
        ["8981100000000000004"]
    );
    api.get("/v1/query/sims?search_type=xor").expect(400);
    let subscribers =
        api.get("/v1/subscribers?tag_name=site&tag_value=no&tag_value_match_mode=prefix");
    assert_eq!(
        ids(&subscribers.expect(200).json(), "imsi"),
        ["440100000000001"]
    );
}

#[test]
fn b_cfg_5_a_sim_follows_its_group_and_its_status() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let sim = "/v1/sims/8981100000000000003";
    assert!(is_refused([127, 0, 0, 3], to), "it is in no group");
    let group = json!({"groupId": "new"});
    assert_eq!(
        api.post(&format!("{sim}/set_group"), &group)
            .expect(200)
            .json()["groupId"],
        "new"
    );
    let (mut device, mut peer) = upstream.session(to, [127, 0, 0, 3], 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish("t/440100000000003", b"x"));

    api.send("POST", &format!("{sim}/deactivate"), None)
        .expect(200);
    device.expect_closed();
    assert!(is_refused([127, 0, 0, 3], to), "it is not active");
    api.send("POST", &format!("{sim}/activate"), None)
        .expect(200);
    let (mut device, _peer) = upstream.session(to, [127, 0, 0, 3], 4);
    let subscriber = "/v1/subscribers/440100000000003";
    api.send("POST", &format!("{subscriber}/unset_group"), None)
        .expect(200);
    device.expect_closed();
    api.send("POST", &format!("{subscriber}/unset_group"), None)
        .expect(404);
    api.post(
        &format!("{subscriber}/set_group"),
        &json!({"groupId": "none"}),
    )
    .expect(400);
    api.post(&format!("{subscriber}/set_group"), &json!({}))
        .expect(400);
    api.post("/v1/subscribers/1/set_group", &group).expect(404);

    // A member of a range that is changed stands by itself, at its address.
    let member = format!("/v1/sims/{}", new_sim_id(9));
    let (mut device, _peer) = upstream.session(to, new_sim(9), 4);
    api.send("POST", &format!("{member}/unset_group"), None)
        .expect(200);
    device.expect_closed();
    assert!(is_refused(new_sim(9), to));
    let shown = api.get(&member).expect(200).json();
    assert_eq!(shown["sessionStatus"]["ueIpAddress"], "127.1.0.9");
    assert_eq!(shown.get("groupId"), None);
}

#[test]
fn tags_come_and_go() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    let tags = "/v1/sims/8981100000000000001/tags";
    let put = json!([{"tagName": "a b/c", "tagValue": "1"}]);
    assert_eq!(api.put(tags, &put).expect(200).json()["tags"]["a b/c"], "1");
    api.put(tags, &json!([{"tagName": "a"}])).expect(400);
    api.put(tags, &json!([{"tagName": "a", "tagValue": 1}]))
        .expect(400);
    api.delete(&format!("{tags}/a%20b%2Fc")).expect(204);
    api.delete(&format!("{tags}/a%20b%2Fc")).expect(404);
}

#[test]
fn a_virtual_sim_is_made_and_given_an_address() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let body = json!({"type": "virtual", "subscription": "planArc01"});
    let made = api.post("/v1/sims", &body).expect(201).json();
    api.post("/v1/sims", &json!({"type": "x"})).expect(400);
    let id = made["simId"].as_str().unwrap();
    assert_eq!(made["sessionStatus"]["online"], false);
    api.post(
        &format!("/v1/sims/{id}/set_group"),
        &json!({"groupId": "new"}),
    )
    .expect(200);
    assert!(is_refused([127, 5, 0, 1], to));
    let bound = api.put(
        &format!("/ringbeam/v1/sims/{id}/session"),
        &json!({"ip": "127.5.0.1"}),
    );
    let bound = bound.expect(200).json();
    assert_eq!(bound["sessionStatus"]["ueIpAddress"], "127.5.0.1");
    let imsi = bound["sessionStatus"]["imsi"].as_str().unwrap().to_owned();
    let (mut device, mut peer) = upstream.session(to, [127, 5, 0, 1], 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{imsi}"), b"x"));
    api.delete(&format!("/ringbeam/v1/sims/{id}/session"))
        .expect(204);
    device.expect_closed();
    assert!(is_refused([127, 5, 0, 1], to));
}

#[test]
fn b_id_4_an_address_of_another_sim_is_taken_over_and_given_back() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let session = "/ringbeam/v1/sims/8981100000000000001/session";
    let (mut old, _peer) = upstream.session(to, new_sim(5), 4);
    let body = json!({"network": "default", "ip": "127.1.0.5", "imsi": "440100000000001", "imei": "490154203237518"});
    let sim = api.put(session, &body).expect(200).json();
    assert_eq!(sim["sessionStatus"]["imei"], "490154203237518");
    // Once it is answered, the old connections are gone and the address is the other SIM's.
    old.expect_closed();
    let (mut device, mut peer) = upstream.session(to, new_sim(5), 4);
    device.send(&publish("t/{{imei}}", b"x"));
    peer.expect(&publish("t/490154203237518/440100000000001", b"x"));

    // delete_session ends its connections; its own address stays valid, and the other is the range's again.
    let (mut own, _own_peer) = upstream.session(to, [127, 0, 0, 2], 4);
    api.send(
        "POST",
        "/v1/subscribers/440100000000001/delete_session",
        None,
    )
    .expect(200);
    device.expect_closed();
    own.expect_closed();
    let (mut device, mut peer) = upstream.session(to, new_sim(5), 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(5)), b"x"));
    drop(upstream.session(to, [127, 0, 0, 2], 4));

    let events = api
        .get("/v1/sims/8981100000000000001/events/sessions")
        .expect(200)
        .json();
    let kinds = ids(&events, "event");
    assert_eq!(kinds, ["Deleted", "Created"]);
    assert_eq!(events[1]["ueIpAddress"], "127.1.0.5");
    let first = api
        .get("/v1/subscribers/440100000000001/events/sessions?limit=1")
        .expect(200);
    let next = first.header("x-soracom-next-key").unwrap();
    let path = format!(
        "/v1/subscribers/440100000000001/events/sessions?limit=1&last_evaluated_key={next}"
    );
    assert_eq!(
        ids(&api.get(&path).expect(200).json(), "event"),
        ["Created"]
    );

    for (body, expected) in [
        (
            json!({"ip": "127.1.0.5", "imsi": "440100000000009"}),
            "imsi: the SIM's is 440100000000001",
        ),
        (json!({"ip": "host"}), "ip: found"),
        (json!({}), "ip: found nothing"),
        (json!({"ip": "127.1.0.5", "imei": "x"}), "imei: "),
        (json!({"ip": "127.1.0.5/8"}), "bits are set"),
    ] {
        let answer = api.put(session, &body).expect(400).json();
        assert!(
            answer["message"].as_str().unwrap().contains(expected),
            "{answer}"
        );
    }
    api.put("/ringbeam/v1/sims/1/session", &json!({"ip": "127.1.0.5"}))
        .expect(404);
}

#[test]
fn sessions_and_changes_last_through_a_kill() {
    let upstream = Upstream::listen();
    let mut ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let session = json!({"ip": "127.5.0.1"});
    api.put("/ringbeam/v1/sims/8981100000000000001/session", &session)
        .expect(200);
    let sim = json!({"simId": "77", "imsi": "440100000000077", "groupId": "new", "ip": "127.5.0.2", "tags": {"name": "x"}});
    api.put("/ringbeam/v1/sims", &sim).expect(201);
    api.put("/ringbeam/v1/sims", &sim).expect(200);
    ringbeam.signal("KILL");
    ringbeam.wait();
    let ringbeam = ringbeam.restart();
    let to = ringbeam.address();
    for (address, imsi) in [
        ([127, 5, 0, 1], "440100000000001"),
        ([127, 5, 0, 2], "440100000000077"),
    ] {
        let (mut device, mut peer) = upstream.session(to, address, 4);
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{imsi}"), b"x"));
    }
    let api = ringbeam.api();
    // A reload keeps them, too.
    assert!(ringbeam.reload());
    drop(upstream.session(to, [127, 5, 0, 1], 4));
    api.delete("/ringbeam/v1/sims/77").expect(204);
    assert!(is_refused([127, 5, 0, 2], to));
    api.delete("/ringbeam/v1/sims/77").expect(404);
    api.delete(&format!("/ringbeam/v1/sims/{}", new_sim_id(3)))
        .expect(400);
    for wrong in [
        json!({"imsi": "440100000000078"}),
        json!({"simId": "78", "imsi": "440100000000001"}),
        json!({"simId": "78", "imsi": "440100000000078", "ip": "127.0.0.2"}),
        json!({"simId": "78", "imsi": "440100000000078", "groupId": "none"}),
        json!({"simId": "78", "imsi": "440100000000078", "status": "x"}),
    ] {
        api.put("/ringbeam/v1/sims", &wrong).expect(400);
    }
}

#[test]
fn a_question_of_too_many_texts_is_refused_and_one_of_many_is_not() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
        format!("/v1/query/sims?name={}", names.join(","))
    };
    api.get(&names(100)).expect(200);
    let answer = api.get(&names(2000)).expect(400).json();
    assert!(answer["message"].as_str().unwrap().contains("at most 100"));
}

#[test]
fn b_cfg_5_writing_a_sim_again_ends_nothing_and_refuses_nobody() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let mut sessions: Vec<_> = (0..20)
        .map(|_| upstream.session(to, [127, 0, 0, 2], 4))
        .collect();
    let tags = "/v1/sims/8981100000000000001/tags";
    let sim = json!({"simId": "8981100000000000001", "imsi": "440100000000001", "groupId": "new",
        "imei": "353456789012348", "ips": ["127.0.0.2", "127.5.1.0/30"]});
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (api, sim) = (&api, &sim);
            scope.spawn(move || {
                for round in 0..150 {
                    if writer == 0 {
                        let value = json!([{"tagName": "round", "tagValue": round.to_string()}]);
                        api.put(tags, &value).expect(200);
                    } else {
                        let mut sim = sim.clone();
                        sim["ips"][1] = json!(format!("127.5.{round}.0/30"));
                        api.put("/ringbeam/v1/sims", &sim).expect(200);
                    }
                }
            });
        }
        // Meanwhile its CONNECTs are served.
        for _ in 0..150 {
            let (mut device, _peer) = upstream.session(to, [127, 0, 0, 2], 4);
            device.send(&[0xe0, 0]);
        }
    });
    for (device, peer) in &mut sessions {
        device.send(&publish("t", b"x"));
        peer.expect(&publish("t/440100000000001", b"x"));
    }
}

#[test]
fn a_member_whose_number_another_sim_has_is_listed_once() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    // The SIM id of a member with an IMSI of its own, and the IMSI of another member.
    let clash = json!({"simId": new_sim_id(2), "imsi": "440100000000099"});
    api.put("/ringbeam/v1/sims", &clash).expect(201);
    let twin = json!({"simId": "99", "imsi": new_imsi(4)});
    api.put("/ringbeam/v1/sims", &twin).expect(201);
    let (mut seen, mut path) = (Vec::new(), "/v1/sims?limit=3".to_owned());
    for _ in 0..4 {
        let answer = api.get(&path).expect(200);
        seen.extend(ids(&answer.json(), "simId"));
        let link = answer.header("link").unwrap();
        link.split(['<', '>']).nth(1).unwrap().clone_into(&mut path);
    }
    let expected = [0, 1, 3, 5, 6, 7, 8].map(new_sim_id);
    assert_eq!(seen[5..], expected);
    let shown = api
        .get(&format!("/v1/sims/{}", new_sim_id(2)))
        .expect(200)
        .json();
    assert_eq!(shown["sessionStatus"]["imsi"], "440100000000099");
}

#[test]
fn a_filter_finds_members_of_every_range_and_offline_sims_at_once() {
    let upstream = Upstream::listen();
    let mut document = fleet(upstream.address());
    document["simRanges"] = json!([
        {"cidr": "127.64.0.0/10", "imsiBase": "440100010000000", "simIdBase": "8981100000010000000", "groupId": "new"},
        {"cidr": "127.2.0.0/24", "imsiBase": "440100002000000", "simIdBase": "8981100000002000000", "groupId": "old"},
    ]);
    let setup = Setup::new(&document).embedded().control();
    let ringbeam = setup.with_user().start();
    let api = ringbeam.api();
    let old = api.get("/v1/groups/old/subscribers").expect(200).json();
    assert_eq!(old.as_array().unwrap().len(), 100);
    let found = |query: &str| {
        let answer = api.get(&format!("/v1/query/sims?{query}")).expect(200);
        ids(&answer.json(), "simId")
    };
    assert_eq!(found("imsi=440100013000000"), ["8981100000013000000"]);
    assert_eq!(
        found("imsi=44010001300000"),
        (0..10)
            .map(|n| format!("898110000001300000{n}"))
            .collect::<Vec<_>>()
    );
    assert_eq!(found("session_status=OFFLINE"), [""; 0]);
    api.send("POST", "/v1/sims/8981100000000000003/deactivate", None)
        .expect(200);
    assert_eq!(
        found("session_status=OFFLINE&limit=1"),
        ["8981100000000000003"]
    );
    assert_eq!(found("module_type=nano"), [""; 0]);
    assert_eq!(
        found("subscription=planArc01&msisdn=1&search_type=or").len(),
        10
    );
    let many = vec!["1"; 1200].join(",");
    api.get(&format!("/v1/query/sims?imsi={many}")).expect(400);
}

#[test]
fn b_id_4_a_prefix_is_taken_from_all_who_have_an_address_of_it() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let (mut first, _p1) = upstream.session(to, new_sim(256), 4);
    let (mut second, _p2) = upstream.session(to, new_sim(263), 4);
    let (mut other, mut other_peer) = upstream.session(to, new_sim(512), 4);
    let session = "/ringbeam/v1/sims/8981100000000000001/session";
    api.put(session, &json!({"ip": "127.1.1.0/24"})).expect(200);
    first.expect_closed();
    second.expect_closed();
    other.send(&publish("t", b"x"));
    other_peer.expect(&publish(&format!("t/{}", new_imsi(512)), b"x"));
    for wide in [
        "0.0.0.0/0",
        "127.0.0.0/8",
        "::ffff:127.0.0.0/104",
        "2001::/16",
    ] {
        let answer = api.put(session, &json!({"ip": wide})).expect(400).json();
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("shortest prefix"),
            "{answer}"
        );
    }
    api.put(session, &json!({"ip": "::ffff:127.1.2.0/120"}))
        .expect(200);
    other.expect_closed();
}

#[test]
fn what_was_lent_to_a_sim_that_is_gone_is_its_owners_again() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let (api, to) = (ringbeam.api(), ringbeam.address());
    let sim = |imsi: &str| json!({"simId": "77", "imsi": imsi, "groupId": "new"});
    let lend = |ip: &str| {
        let body = json!({"ip": ip});
        api.put("/ringbeam/v1/sims/77/session", &body).expect(200);
    };
    let is_the_members = |number: u16| {
        let (mut device, mut peer) = upstream.session(to, new_sim(number), 4);
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"x"));
    };
    api.put("/ringbeam/v1/sims", &sim("440100000000077"))
        .expect(201);
    lend("127.1.0.70");
    api.put("/ringbeam/v1/sims", &sim("440100000000078"))
        .expect(200);
    is_the_members(70);
    lend("127.1.0.71");
    api.delete("/ringbeam/v1/sims/77").expect(204);
    is_the_members(71);
    api.put("/ringbeam/v1/sims", &sim("440100000000077"))
        .expect(201);
    lend("127.1.0.72");
    let mut document = api.get("/ringbeam/v1/fleet").expect(200).json();
    let sims = document["sims"].as_array_mut().unwrap();
    sims.retain(|sim| sim["simId"] != "77");
    api.put("/ringbeam/v1/fleet", &document).expect(200);
    is_the_members(72);
    for tags in [json!({"a": 5}), json!([1])] {
        let mut sim = sim("440100000000077");
        sim["tags"] = tags;
        api.put("/ringbeam/v1/sims", &sim).expect(400);
    }
}
