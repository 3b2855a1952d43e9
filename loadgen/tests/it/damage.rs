//! Damage: whatever a proxy does to messages is noticed and called by its name.

use std::time::Duration;

use serde_json::Value;

use crate::process::{Sink, run};
use crate::proxy::{Damage, start};

/// 30 messages from each of four devices, of which one each is damaged.
fn damaged(damage: Damage) -> (Option<i32>, Value) {
    let sink = Sink::start("");
    let target = start(&sink.address, damage);
    let (status, json, text) = run(&format!(
        "publish --target {target} --sink {} --connections 4 --rate 120 --duration 1s --warmup 0s",
        sink.address
    ));
    assert!(json.is_object(), "{text}");
    assert_eq!(json["verified"], true);
    assert_eq!(json["sent"], 120);
    (status, json)
}

/// Every kind of damage that is counted, and how often it was found.
fn found(json: &Value) -> Vec<(&'static str, u64)> {
    [
        "lost",
        "duplicated",
        "reordered",
        "corrupted",
        "wrong_topic",
        "misrouted",
    ]
    .into_iter()
    .map(|name| (name, json[name].as_u64().unwrap()))
    .filter(|(_, count)| *count > 0)
    .collect()
}

#[test]
fn nothing_is_found_where_nothing_was_done() {
    for more in [
        "--qos 0,1,2 --mqtt 3.1,3.1.1,5",
        "--payload 100000",
        "--schedule poisson --seed 3",
    ] {
        let sink = Sink::start("--threads 2");
        let target = start(&sink.address, Damage::None);
        let (status, json, text) = run(&format!(
            "publish --target {target} --sink {} --connections 9 --duration 1s --warmup 200ms --threads 2 {more}",
            sink.address
        ));
        assert_eq!((status, found(&json)), (Some(0), vec![]), "{text}");
        assert_eq!(json["received"], json["sent"]);
        assert!(json["latency_us"]["p50"].as_f64().unwrap() > 0.0);
        assert_eq!(json["errors"], serde_json::json!({}));
    }
}

#[test]
fn each_kind_of_damage_is_called_by_its_name() {
    for (damage, expected) in [
        (Damage::Drop, vec![("lost", 4)]),
        (Damage::Duplicate, vec![("duplicated", 4)]),
        (Damage::Reorder, vec![("reordered", 4)]),
        (Damage::Corrupt, vec![("corrupted", 4)]),
        (Damage::Topic, vec![("wrong_topic", 4)]),
    ] {
        let (status, json) = damaged(damage);
        assert_eq!(
            (status, found(&json)),
            (Some(1), expected),
            "{damage:?} {json}"
        );
    }
}

#[test]
fn a_message_in_another_devices_session_is_misrouted() {
    let (status, json) = damaged(Damage::Misroute);
    assert_eq!(status, Some(1));
    // The last device's message has no session to go to and is lost.
    assert_eq!(json["misrouted"], 3, "{json}");
    assert_eq!(json["lost"], 1, "{json}");
}

#[test]
fn a_stall_shows_in_every_message_that_it_held_up() {
    // The stall is at the sender's 20th message of 30, each 33 ms apart: the messages that were due in its first
    // half are late by more than the limit, though the generator could not have sent them earlier than it did.
    let sink = Sink::start("--stall-limit 300ms");
    let target = start(&sink.address, Damage::Stall(Duration::from_millis(600)));
    let (status, json, text) = run(&format!(
        "publish --target {target} --sink {} --connections 4 --rate 120 --duration 2s --warmup 0s",
        sink.address
    ));
    // A stall is no loss.
    assert_eq!((status, found(&json)), (Some(0), vec![]), "{text}");
    assert!(json["stalled"].as_u64().unwrap() >= 4 * 9, "{json}");
    assert!(
        json["latency_us"]["max"].as_f64().unwrap() >= 600_000.0,
        "{json}"
    );
    assert!(text.contains("stalled"), "{text}");
}

#[test]
fn messages_that_were_held_back_count_from_when_they_were_due() {
    // Messages of 1 MB fill every buffer on the way, so that the generator cannot send while nothing is forwarded.
    let sink = Sink::start("--stall-limit 300ms");
    let target = start(&sink.address, Damage::Stall(Duration::from_millis(1500)));
    let (status, json, text) = run(&format!(
        "publish --target {target} --sink {} --connections 1 --payload 1000000 --rate 20 --duration 3s --warmup 0s",
        sink.address
    ));
    assert_eq!((status, found(&json)), (Some(0), vec![]), "{text}");
    assert_eq!(json["sent"], 60);
    // The victim and those behind it, 50 ms apart, are late by 1.5 s and ever less.
    assert!(json["stalled"].as_u64().unwrap() >= 20, "{json}");
}

#[test]
fn acknowledgements_that_never_come_are_an_error() {
    for (qos, sink_options) in [(1, true), (2, true), (1, false)] {
        let sink = Sink::start("");
        let target = start(&sink.address, Damage::Mute);
        let verified = if sink_options {
            format!("--sink {}", sink.address)
        } else {
            String::new()
        };
        let (status, json, text) = run(&format!(
            "publish --target {target} {verified} --connections 2 --rate 20 --duration 500ms --warmup 0s --qos {qos}"
        ));
        assert_eq!(status, Some(1), "{text}");
        assert_eq!(json["errors"]["not acknowledged"], 10, "{json}");
    }
}

#[test]
fn a_known_delay_is_what_is_measured() {
    let (status, json) = damaged(Damage::Delay(Duration::from_millis(5)));
    assert_eq!(status, Some(0), "{json}");
    let latency = &json["latency_us"];
    assert!(latency["p50"].as_f64().unwrap() >= 5000.0, "{latency}");
    let order: Vec<_> = ["p50", "p90", "p99", "p999", "max"]
        .iter()
        .map(|name| latency[name].as_f64().unwrap())
        .collect();
    assert!(order.is_sorted(), "{latency}");
}

#[test]
fn a_session_that_is_cut_is_an_error_and_its_message_is_lost() {
    let sink = Sink::start("");
    let target = start(&sink.address, Damage::Cut);
    let (status, json, _) = run(&format!(
        "publish --target {target} --sink {} --connections 4 --rate 120 --duration 1s --warmup 0s",
        sink.address
    ));
    assert_eq!(status, Some(1));
    assert!(json["lost"].as_u64().unwrap() >= 4, "{json}");
    let errors = json["errors"].as_object().unwrap();
    let ended = errors
        .keys()
        .any(|reason| reason.starts_with("session ended"));
    assert!(ended, "{errors:?}");
}
