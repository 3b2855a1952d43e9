//! Traffic while the configuration churns: no message is lost, and no session ends that does not have to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::harness::fleet::{ENTRY_POINT, entry_point, new_imsi, new_sim, old_sim};
use super::super::harness::is_soak;
use super::super::harness::peer::{Upstream, publish};
use super::serving;

/// How long it lasts.
fn duration() -> Duration {
    Duration::from_secs(if is_soak() { 120 } else { 4 })
}

#[test]
fn b_cfg_5_no_message_is_lost_while_everything_else_changes() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let to = ringbeam.address();
    let mut sessions: Vec<_> = (1..=8)
        .map(|sim| (sim, upstream.session(to, new_sim(sim), 4)))
        .collect();
    let is_over = AtomicBool::new(false);
    let (sent, changes) = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut sent = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                for (sim, (device, peer)) in &mut sessions {
                    let payload = sent.to_string();
                    device.send(&publish("t", payload.as_bytes()));
                    peer.expect(&publish(
                        &format!("t/{}", new_imsi(*sim)),
                        payload.as_bytes(),
                    ));
                    peer.send(&publish("d", payload.as_bytes()));
                    device.expect(&publish("d", payload.as_bytes()));
                    sent += 1;
                }
            }
            sent
        });
        let start = Instant::now();
        let mut changes = 0_u16;
        while start.elapsed() < duration() {
            changes += 1;
            let on = changes.is_multiple_of(2);
            // The other group's entry point, a SIM of it and its session, a credential, a group that comes and goes.
            let mut object = entry_point(upstream.address(), "201509");
            object["addSubscriberHeader"] = json!(on);
            let body = json!([{"key": ENTRY_POINT, "value": object}]);
            api.put("/v1/groups/old/configuration/SoracomBeam", &body)
                .expect(200);
            let own =
                json!([{"key": ENTRY_POINT, "value": entry_point(upstream.address(), "201912")}]);
            api.put("/v1/groups/new/configuration/SoracomBeam", &own)
                .expect(200);
            let sim = json!({"simId": "77", "imsi": "440100000000077", "groupId": "old",
                "ip": format!("127.6.0.{}", changes % 250)});
            assert!(matches!(
                api.put("/ringbeam/v1/sims", &sim).status,
                200 | 201
            ));
            let session = json!({"ip": old_sim(changes % 1000).to_string()});
            api.put("/ringbeam/v1/sims/77/session", &session)
                .expect(200);
            let credential = json!({"type": "pubnub-credentials",
                "credentials": {"pubKey": "p", "subKey": "s"}});
            let path = format!("/v1/credentials/c{changes}");
            api.post(&path, &credential).expect(201);
            api.delete(&path).expect(204);
            let group = api.post("/v1/groups", &json!({})).expect(201).json();
            let group = group["groupId"].as_str().unwrap().to_owned();
            api.delete(&format!("/v1/groups/{group}")).expect(204);
            if changes.is_multiple_of(8) {
                api.send("POST", "/ringbeam/v1/reload", None).expect(200);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        (traffic.join().unwrap(), changes)
    });
    assert!(sent > 0 && changes > 0);
    let connections = api.get("/ringbeam/v1/connections").expect(200).json();
    assert_eq!(connections.as_array().unwrap().len(), 8, "none has ended");
}
