//! The node: connections, state, drain, reload, explain, preview, documents, metrics, logs.

use serde_json::{Value, json};

use super::super::harness::fleet::{ENTRY_POINT, entry_point, fleet, new_imsi, new_sim};
use super::super::harness::peer::{Upstream, publish};
use super::super::harness::ringbeam::Setup;
use super::super::harness::{wait_for, wait_until};
use super::serving;

#[test]
fn connections_are_listed_looked_for_and_closed() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mut sessions: Vec<_> = (0..5)
        .map(|sim| upstream.session(ringbeam.address(), new_sim(sim), 4))
        .collect();
    let list = |query: &str| {
        api.get(&format!("/ringbeam/v1/connections?{query}"))
            .expect(200)
    };
    let all = wait_for("all sessions", || {
        let all = list("").json();
        (all.as_array().unwrap().len() == 5).then_some(all)
    });
    assert!(all[0]["peer"].as_str().unwrap().starts_with("127.1.0."));
    let (mut seen, mut key) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("limit=2&last_evaluated_key={key}"));
        seen.extend(
            page.json()
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.header("x-soracom-next-key") else {
            break;
        };
        next.clone_into(&mut key);
    }
    assert_eq!(seen.len(), 5);
    let (device, peer) = &mut sessions[3];
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(3)), b"x"));
    let one = wait_for("what is billed", || {
        let one = list(&format!("imsi={}", new_imsi(3))).json()[0].clone();
        (one["inMqtt"] == 1 && one["outMqtt"] == 1).then_some(one)
    });
    assert_eq!(
        (&one["platform"], &one["mqttVersion"], &one["groupId"]),
        (&json!("201912"), &json!("3.1.1"), &json!("new"))
    );
    let id = one["id"].as_str().unwrap();
    api.delete(&format!("/ringbeam/v1/connections/{id}"))
        .expect(204);
    sessions[3].0.expect_closed();
    api.delete(&format!("/ringbeam/v1/connections/{id}"))
        .expect(404);
    api.delete("/ringbeam/v1/connections/x").expect(404);
    list("network=other")
        .json()
        .as_array()
        .unwrap()
        .is_empty()
        .then_some(())
        .unwrap();
    api.get("/ringbeam/v1/connections?imsi=x").expect(400);
}

#[test]
fn what_happens_to_a_sim_is_in_its_log() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let (mut device, _peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&[0xe0, 0]);
    device.expect_closed();
    let path = format!(
        "/v1/logs?resource_type=Subscriber&resource_id={}&service=Beam",
        new_imsi(1)
    );
    let logs = wait_for("two entries", || {
        let logs = api.get(&path).expect(200).json();
        (logs.as_array().unwrap().len() == 2).then_some(logs)
    });
    assert_eq!(logs[0]["body"]["reason"], "device_disconnect");
    assert_eq!(logs[1]["body"]["message"], "session established");
    assert_eq!(logs[0]["resourceId"], new_imsi(1));
    let page = api.get(&format!("{path}&limit=1")).expect(200);
    let key = page.header("x-soracom-next-key").unwrap();
    let next = api
        .get(&format!("{path}&limit=1&last_evaluated_key={key}"))
        .expect(200)
        .json();
    assert_eq!(next, json!([logs[1]]));
    assert_eq!(
        api.get("/v1/logs?service=Air").expect(200).json(),
        json!([])
    );
    api.get("/v1/logs?service=X").expect(400);
}

#[test]
fn metrics_tell_what_went_through() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let nobody = ringbeam.nobody();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    wait_until("the message to be counted", || {
        let text = nobody.get("/metrics").expect(200).text();
        text.contains("ringbeam_packets_total{direction=\"up\",type=\"PUBLISH\"} 1\n")
    });
    let answer = nobody.get("/metrics").expect(200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = answer.text();
    for line in [
        "ringbeam_sessions{version=\"201912\"} 1",
        "ringbeam_sessions_by_destination{destination=\"mqtt\"} 1",
        "ringbeam_sessions_established_total 1",
        "ringbeam_upstream_connect_seconds_count 1",
        "ringbeam_fleet_sim_ranges 2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    // Every sample has its help, and no name stands twice.
    let mut helped = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(
                helped.insert(rest.split(' ').next().unwrap().to_owned()),
                "{line}"
            );
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(
                helped.contains(name) || base.is_some_and(|base| helped.contains(base)),
                "{line}"
            );
            let value = line.rsplit(' ').next().unwrap();
            value.parse::<f64>().unwrap();
        }
    }
    assert_eq!(nobody.get("/healthz").expect(200).text(), "ok\n");
    assert_eq!(nobody.get("/readyz").expect(200).text(), "ready\n");
}

#[test]
fn a_file_registry_has_metrics_and_says_what_else_it_needs() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address())).control().start();
    let nobody = ringbeam.nobody();
    nobody.get("/metrics").expect(200);
    nobody.get("/readyz").expect(200);
    let body = json!({"email": "a@b", "password": "long enough"});
    let answer = nobody.post("/v1/auth", &body).expect(501).json();
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("registry.kind")
    );
    nobody.get("/v1/groups").expect(401);
}

#[test]
fn b_cfg_2_a_preview_shows_what_would_change_and_changes_nothing() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mut object = entry_point(upstream.address(), "201509");
    object["password"] = json!("hush-hush");
    object["username"] = json!("u");
    object.as_object_mut().unwrap().remove("replaceTopic");
    let path = format!("/ringbeam/v1/groups/new/preview?imsi={}", new_imsi(1));
    let preview = api.post(&path, &object).expect(200).json();
    let changes: Vec<&str> = preview["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["key"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["username", "password", "replaceTopic", "version"]);
    let version = &preview["changes"][3];
    assert_eq!(
        (&version["before"], &version["after"]),
        (&json!("\"201912\""), &json!("\"201509\""))
    );
    assert_eq!(preview["changes"][2]["after"], "default false");
    assert!(!preview.to_string().contains("hush-hush"));
    assert!(preview["explain"].as_str().unwrap().contains("201509"));
    let answer = api
        .post(&path, &json!({"destination": "x"}))
        .expect(400)
        .json();
    assert!(answer["message"].as_str().unwrap().contains("destination"));
    api.post("/ringbeam/v1/groups/none/preview", &object)
        .expect(404);
    let group = api.get("/v1/groups/new").expect(200).json();
    assert_eq!(
        group["configuration"]["SoracomBeam"][ENTRY_POINT]["version"],
        "201912"
    );

    let explained = api
        .get("/ringbeam/v1/explain?ip=127.1.0.1")
        .expect(200)
        .json();
    assert!(explained["text"].as_str().unwrap().contains(&new_imsi(1)));
    api.get("/ringbeam/v1/explain").expect(400);
    api.get("/ringbeam/v1/explain?ip=127.1.0.1&network=none")
        .expect(400);
}

#[test]
fn a_whole_fleet_goes_out_without_secrets_and_comes_in_with_them_kept() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mut object = entry_point(upstream.address(), "201912");
    object["username"] = json!("u");
    object["password"] = json!("hush-hush");
    let body = json!([{"key": ENTRY_POINT, "value": object}]);
    api.put("/v1/groups/new/configuration/SoracomBeam", &body)
        .expect(200);
    let credential = json!({"type": "pubnub-credentials", "credentials": {"pubKey": "hush-p", "subKey": "hush-s"}});
    api.post("/v1/credentials/p", &credential).expect(201);
    let exported = api.get("/ringbeam/v1/fleet").expect(200);
    assert!(!exported.text().contains("hush"));
    let mut document = exported.json();
    document["sims"][0]["tags"] = json!({"name": "renamed"});
    let counts = api.put("/ringbeam/v1/fleet", &document).expect(200).json();
    assert_eq!(counts, json!({"groups": 3, "sims": 3, "simRanges": 2}));
    let (status, text, _) =
        super::super::harness::ringbeam::output(&mut ringbeam.setup().fleet_command("export"));
    assert_eq!(status, Some(0));
    let stored: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        stored["groups"][0]["configuration"]["SoracomBeam"][ENTRY_POINT]["password"],
        "hush-hush"
    );
    assert_eq!(
        stored["credentials"][0]["credentials"],
        credential["credentials"]
    );
    assert_eq!(stored["sims"][0]["tags"]["name"], "renamed");

    let mut broken = document.clone();
    broken["sims"][1]["imsi"] = broken["sims"][0]["imsi"].clone();
    let answer = api.put("/ringbeam/v1/fleet", &broken).expect(400).json();
    assert!(
        answer["message"].as_str().unwrap().contains("imsi"),
        "{answer}"
    );
    api.send_text("PUT", "/ringbeam/v1/fleet", b"{").expect(400);
    drop(upstream.session(ringbeam.address(), new_sim(1), 4));
}

#[test]
fn who_changed_what_is_in_the_audit_log() {
    let ringbeam = serving(&Upstream::listen());
    let api = ringbeam.api();
    let group = api.post("/v1/groups", &json!({})).expect(201).json();
    let id = group["groupId"].as_str().unwrap();
    api.delete(&format!("/v1/groups/{id}")).expect(204);
    // What was refused changed nothing.
    api.put(
        "/v1/groups/new/configuration/SoracomBeam",
        &json!([{"key": ENTRY_POINT, "value": {}}]),
    )
    .expect(400);
    let audit = api.get("/ringbeam/v1/audit?limit=2").expect(200);
    let entries = audit.json();
    assert_eq!(
        (&entries[0]["action"], &entries[1]["action"]),
        (&json!("deleteGroup"), &json!("createGroup"))
    );
    assert_eq!(entries[0]["resource"], id);
    assert_eq!(entries[0]["user"], super::super::harness::ringbeam::EMAIL);
    let key = audit.header("x-soracom-next-key").unwrap();
    let older = api
        .get(&format!("/ringbeam/v1/audit?last_evaluated_key={key}"))
        .expect(200)
        .json();
    assert_eq!(older[0]["action"], "addUser");
}

#[test]
fn an_operator_reloads_and_drains() {
    let upstream = Upstream::listen();
    let mut ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let node = api.get("/ringbeam/v1/node").expect(200).json();
    assert_eq!(node["draining"], false);
    assert_eq!(node["shards"].as_array().unwrap().len(), 2);
    assert_eq!(
        api.send("POST", "/ringbeam/v1/reload", None)
            .expect(200)
            .json(),
        json!({"groups": 3})
    );
    let config = api.get("/ringbeam/v1/config").expect(200).json();
    assert_eq!(config["engine"]["drain_timeout_ms"], 30_000);
    assert_eq!(config["registry"]["kind"], "embedded");
    let (mut device, _peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    api.send("POST", "/ringbeam/v1/drain", None).expect(202);
    device.expect_closed();
    ringbeam.ended();
}

#[test]
fn b_cfg_5_what_the_api_changes_keeps_to_the_configuration_that_was_read_last() {
    let section = |port: u16| format!("[upstream]\npubnub_host = \"127.0.0.1:{port}\"");
    let setup = Setup::new(&fleet(Upstream::listen().address()));
    let setup = setup.embedded().control().section(&section(11));
    let mut ringbeam = setup.with_user().start();
    let api = ringbeam.api();
    let keys = json!({"type": "pubnub-credentials", "credentials": {"pubKey": "p", "subKey": "s"}});
    api.post("/v1/credentials/p", &keys).expect(201);
    let object =
        json!({"enabled": true, "usePubnub": true, "pubnubCredential": {"$credentialsId": "p"}});
    let body = json!([{"key": ENTRY_POINT, "value": object}]);
    let destination = || {
        let path = "/v1/groups/new/configuration/SoracomBeam";
        api.put(path, &body).expect(200);
        let path = "/ringbeam/v1/explain?ip=127.1.0.1";
        api.get(path).expect(200).json()["text"].to_string()
    };
    assert!(destination().contains("127.0.0.1:11"));
    ringbeam.setup_mut().replace_sections(&section(12));
    assert!(ringbeam.reload());
    assert!(destination().contains("127.0.0.1:12"));
}

#[test]
fn live_figures_come_every_second() {
    use std::io::BufRead as _;
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mut stream = api.begin("GET", "/ringbeam/v1/live", b"");
    let (status, headers) = super::super::harness::http::read_head(&mut stream);
    assert_eq!(status, 200);
    assert!(
        headers
            .iter()
            .any(|(name, value)| name == "content-type" && value == "text/event-stream")
    );
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    for _ in 0..20 {
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    }
    let mut line = String::new();
    let figures = wait_for("figures with the messages", || {
        line.clear();
        stream.read_line(&mut line).unwrap();
        let data = line.strip_prefix("data: ")?;
        let figures: Value = serde_json::from_str(data).unwrap();
        (figures["messages"]["201912"]["up"].as_f64() > Some(0.0)).then_some(figures)
    });
    assert_eq!(figures["sessions"]["201912"], 1);
    assert_eq!(
        figures["messages"]["201509"],
        json!({"up": 0.0, "down": 0.0})
    );
    assert_eq!(figures["shards"].as_array().unwrap().len(), 2);
}

#[test]
fn how_sessions_ended_outlasts_the_shutdown_that_ended_them() {
    let upstream = Upstream::listen();
    let mut ringbeam = serving(&upstream);
    let sessions: Vec<_> = (0..20)
        .map(|sim| upstream.session(ringbeam.address(), new_sim(sim), 4))
        .collect();
    ringbeam.signal("INT");
    ringbeam.wait();
    drop(sessions);
    let database = rusqlite::Connection::open(ringbeam.setup().path("ringbeam.db")).unwrap();
    let select = "SELECT count(*) FROM logs WHERE body ->> '$.message' = 'session ended'";
    let ended: i64 = database.query_row(select, [], |row| row.get(0)).unwrap();
    assert_eq!(ended, 20);
}

#[test]
fn the_mask_is_never_stored_as_a_secret() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let mask = "********";
    let refused = |answer: super::super::harness::http::Answer, path: &str| {
        let answer = answer.expect(400).json();
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(path), "{message}");
    };
    let mut object = entry_point(upstream.address(), "201912");
    object["username"] = json!("u");
    object["password"] = json!(mask);
    let path = format!("configuration.SoracomBeam.{ENTRY_POINT}.password");
    let body = json!([{"key": ENTRY_POINT, "value": object}]);
    let configuration = "/v1/groups/new/configuration/SoracomBeam";
    refused(api.put(configuration, &body), &path);
    let group = json!({"configuration": {"SoracomBeam": {ENTRY_POINT: object}}});
    refused(api.post("/v1/groups", &group), &path);
    refused(
        api.post("/ringbeam/v1/groups/new/preview", &object),
        "password",
    );
    let credential =
        json!({"type": "pubnub-credentials", "credentials": {"pubKey": mask, "subKey": "s"}});
    refused(
        api.post("/v1/credentials/p", &credential),
        "credentials.pubKey",
    );
    let mut document = api.get("/ringbeam/v1/fleet").expect(200).json();
    document["groups"][0]["configuration"]["SoracomBeam"][ENTRY_POINT] = object;
    let id = document["groups"][0]["groupId"].as_str().unwrap();
    let path = format!("groups.{id}.{path}");
    refused(api.put("/ringbeam/v1/fleet", &document), &path);
    let masked = ringbeam.setup().path("masked.json");
    std::fs::write(&masked, document.to_string()).unwrap();
    let mut import = ringbeam.setup().fleet_command("import");
    let (status, _, errors) = super::super::harness::ringbeam::output(import.arg(masked));
    assert_eq!(status, Some(2), "{errors}");
    assert!(errors.contains(&path), "{errors}");
}
