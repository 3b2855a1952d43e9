//! Groups and credentials, changed while devices are served by them.

use serde_json::{Value, json};

use super::super::harness::fleet::{ENTRY_POINT, entry_point, new_imsi, new_sim};
use super::super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::serving;

/// The entry point's key as one part of a path, both ways that people write it.
const ESCAPED: [&str; 2] = [
    "mqtt:%2F%2Fbeam.soracom.io:1883",
    "mqtt%3A%2F%2Fbeam.soracom.io%3A1883",
];

const BEAM: &str = "/v1/groups/new/configuration/SoracomBeam";

fn put_entry_point(object: &Value) -> Value {
    json!([{"key": ENTRY_POINT, "value": object}])
}

#[test]
fn b_cfg_5_the_next_session_follows_a_changed_entry_point() {
    let (first, second) = (Upstream::listen(), Upstream::listen());
    let ringbeam = serving(&first);
    let api = ringbeam.api();
    let (mut device, mut peer) = first.session(ringbeam.address(), new_sim(1), 4);

    let mut object = entry_point(second.address(), "201912");
    object["addSubscriberHeader"] = json!(false);
    let group = api.put(BEAM, &put_entry_point(&object)).expect(200).json();
    let written = &group["configuration"]["SoracomBeam"][ENTRY_POINT];
    assert_eq!(written["destination"], object["destination"]);
    assert!(group["lastModifiedTime"].as_i64() >= group["createdTime"].as_i64());

    // The old session stays as it is, the next one goes the new way.
    device.send(&publish("t", b"old"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"old"));
    let (mut next, mut other) = second.session(ringbeam.address(), new_sim(2), 4);
    next.send(&publish("t", b"new"));
    other.expect(&publish("t", b"new"));

    // B-CFG-2: what is omitted is at its default, which is disabled: both sessions end.
    let bare = json!({"destination": object["destination"]});
    api.put(BEAM, &put_entry_point(&bare)).expect(200);
    device.expect_closed();
    next.expect_closed();
}

#[test]
fn b_cfg_4_a_refused_entry_point_leaves_the_old_one() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let before = api.get("/v1/groups/new").expect(200).json();
    let refusals = [
        (json!({"destination": "http://h"}), ".destination: found"),
        (
            json!({"destination": "mqtt://h", "version": "1"}),
            ".version: found \"1\"; accepted: \"201912\" or \"201509\"",
        ),
        (
            json!({"destination": "mqtt://h", "enabled": 5}),
            ".enabled: found the number 5; accepted: true or false",
        ),
        (
            json!({"destination": "mqtt://h", "password": "hush-hush"}),
            ".username: found nothing beside a password",
        ),
        (
            json!({"destination": "mqtts://h", "useClientCert": true,
                "clientCerts": {"default": {"$credentialsId": "none"}}}),
            "not in credentials",
        ),
    ];
    for (object, expected) in refusals {
        let answer = api.put(BEAM, &put_entry_point(&object)).expect(400).json();
        let message = answer["message"].as_str().unwrap();
        let path = "configuration.SoracomBeam[\"mqtt://beam.soracom.io:1883\"]";
        assert!(
            message.starts_with(path) && message.contains(expected),
            "{message}"
        );
        assert!(!message.contains("hush-hush"));
    }
    for wrong in [
        json!({}),
        json!([{"key": ENTRY_POINT}]),
        json!([{"key": "", "value": {}}]),
        json!([5]),
    ] {
        api.put(BEAM, &wrong).expect(400);
    }
    api.put("/v1/groups/new/configuration/Other", &json!([]))
        .expect(400);
    api.put("/v1/groups/none/configuration/SoracomBeam", &json!([]))
        .expect(404);
    assert_eq!(api.get("/v1/groups/new").expect(200).json(), before);
    drop(upstream.session(ringbeam.address(), new_sim(1), 4));
}

#[test]
fn b_cfg_1_unknown_keys_stay_and_secrets_do_not_come_back() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mut object = entry_point(upstream.address(), "201912");
    object["username"] = json!("u-#{imsi}");
    object["password"] = json!("hush-hush");
    object["later"] = json!({"kept": [1, null]});
    let group = api.put(BEAM, &put_entry_point(&object)).expect(200).json();
    let mut shown = group["configuration"]["SoracomBeam"][ENTRY_POINT].clone();
    assert_eq!(shown["password"], "********");
    assert_eq!(shown["later"], object["later"]);
    // What was shown, sent back, is the same entry point.
    shown["name"] = json!("renamed");
    api.put(BEAM, &put_entry_point(&shown)).expect(200);
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "c"));
    let (_peer, connect) = upstream.accept_connect(connack(4));
    assert!(connect.windows(9).any(|window| window == b"hush-hush"));
    assert!(!ringbeam.log_text().contains("hush-hush"));
    for path in ["/v1/groups", "/v1/groups/new"] {
        assert!(!api.get(path).expect(200).text().contains("hush-hush"));
    }
}

#[test]
fn the_entry_points_key_is_found_however_it_is_escaped() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let object = put_entry_point(&entry_point(upstream.address(), "201912"));
    for key in ESCAPED.into_iter().chain([ENTRY_POINT]) {
        api.put(BEAM, &object).expect(200);
        let (mut device, _peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
        api.delete(&format!("{BEAM}/{key}")).expect(204);
        device.expect_closed();
        let group = api.get("/v1/groups/new").expect(200).json();
        assert_eq!(group["configuration"]["SoracomBeam"], json!({}), "{key}");
    }
    api.delete(BEAM).expect(204);
    api.delete(BEAM).expect(400);
    api.delete("/v1/groups/none/configuration/SoracomBeam")
        .expect(404);
}

#[test]
fn groups_come_change_and_go_with_their_sims_left() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let body =
        json!({"tags": {"name": "made"}, "configuration": {"SoracomAir": {"useCustomDns": true}}});
    let made = api.post("/v1/groups", &body).expect(201).json();
    let id = made["groupId"].as_str().unwrap().to_owned();
    assert_eq!(made["tags"], body["tags"]);
    assert_eq!(made["configuration"], body["configuration"]);
    assert!(made["operatorId"].as_str().unwrap().starts_with("OP"));
    for wrong in [
        json!([]),
        json!({"tags": {"a": 1}}),
        json!({"configuration": {"X": {}}}),
        json!({"configuration": {"SoracomBeam": 5}}),
    ] {
        api.post("/v1/groups", &wrong).expect(400);
    }

    let path = format!("/v1/groups/{id}");
    let tags = json!([{"tagName": "site", "tagValue": "north"}]);
    let tagged = api.put(&format!("{path}/tags"), &tags).expect(200).json();
    assert_eq!(tagged["tags"], json!({"name": "made", "site": "north"}));
    api.delete(&format!("{path}/tags/site")).expect(204);
    api.delete(&format!("{path}/tags/site")).expect(404);

    let (mut device, _peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    api.delete("/v1/groups/new").expect(204);
    api.delete("/v1/groups/new").expect(404);
    device.expect_closed();
    api.delete(&path).expect(204);
    let left = api.get("/v1/groups").expect(200).json();
    let ids: Vec<&str> = left
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["groupId"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["bare", "old"]);
}

#[test]
fn a_list_of_groups_has_pages_and_is_looked_through_by_tags() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    for number in 0..4 {
        let body = json!({"tags": {"name": format!("site {number}")}});
        api.post("/v1/groups", &body).expect(201);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/groups?limit=3".to_owned();
    loop {
        let answer = api.get(&path).expect(200);
        let page = answer.json();
        let page = page.as_array().unwrap();
        seen.extend(
            page.iter()
                .map(|group| group["groupId"].as_str().unwrap().to_owned()),
        );
        let Some(link) = answer.header("link") else {
            break;
        };
        assert!(answer.header("x-soracom-next-key").is_some() && page.len() == 3);
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted());
    let count = |query: &str| {
        api.get(&format!("/v1/groups?{query}"))
            .expect(200)
            .json()
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("tag_name=name&tag_value=site%202"), 1);
    assert_eq!(
        count("tag_name=name&tag_value=site&tag_value_match_mode=prefix"),
        4
    );
    assert_eq!(count("tag_name=name&tag_value=site"), 0);
    api.get("/v1/groups?tag_name=name").expect(400);
}

#[test]
fn credentials_go_in_and_their_secrets_do_not_come_out() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let body = json!({"type": "azureIoT-credentials", "description": "d",
        "credentials": {"sharedAccessKeyName": "device", "sharedAccessKey": "aHVzaA=="}});
    let made = api
        .post("/v1/credentials/azure-%23%7Bimsi%7D", &body)
        .expect(201)
        .json();
    assert_eq!(made["credentialsId"], "azure-#{imsi}");
    let path = "/v1/credentials/azure";
    api.post(path, &body).expect(201);
    api.post(path, &body).expect(409);
    let listed = api.get("/v1/credentials").expect(200);
    assert!(!listed.text().contains("aHVzaA=="));
    assert_eq!(
        listed.json()[0]["credentials"],
        json!({"sharedAccessKeyName": "device", "sharedAccessKey": "********"})
    );
    for wrong in [
        json!({"type": "azureIoT-credentials"}),
        json!({"type": "x", "credentials": {}}),
        json!([]),
    ] {
        api.put(path, &wrong).expect(400);
    }
    api.put("/v1/credentials/none", &body).expect(404);

    // While an entry point refers to it, it stays and stays of its kind.
    let mut object = entry_point(upstream.address(), "201912");
    object["useAzureIoT"] = json!(true);
    object["azureIoTCredential"] = json!({"$credentialsId": "azure"});
    api.put(BEAM, &put_entry_point(&object)).expect(200);
    let answer = api.delete(path).expect(400).json();
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("not in credentials")
    );
    let other =
        json!({"type": "pubnub-credentials", "credentials": {"pubKey": "p", "subKey": "s"}});
    api.put(path, &other).expect(400);
    let mut renamed = body;
    renamed["credentials"]["sharedAccessKey"] = json!("********");
    renamed["description"] = json!("renamed");
    assert_eq!(
        api.put(path, &renamed).expect(200).json()["description"],
        "renamed"
    );
    api.delete(BEAM).expect(204);
    api.delete(path).expect(204);
    api.delete(path).expect(404);
}
