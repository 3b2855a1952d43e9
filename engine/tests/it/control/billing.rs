//! Billing figures: what was counted comes out, once, by SIM and bucket, whatever ends the process.

use serde_json::{Value, json};

use super::super::harness::fleet::{new_imsi, new_sim, old_imsi, old_sim};
use super::super::harness::http::Api;
use super::super::harness::peer::{Upstream, packet, publish};
use super::super::harness::wait_until;
use super::serving;

/// A span that holds today.
const SPAN: &str = "from=1600000000&to=4000000000";

fn month(api: &Api, imsi: &str) -> Value {
    let path = format!("/v1/stats/beam/subscribers/{imsi}?{SPAN}&period=month");
    let answer = api.get(&path).expect(200).json();
    assert!(answer.as_array().unwrap().len() <= 1, "{answer}");
    answer[0].clone()
}

#[test]
fn b_bill_1_each_leg_counts_by_itself_and_once() {
    let upstream = Upstream::listen();
    let mut ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    for _ in 0..3 {
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    }
    peer.send(&publish("d", b"x"));
    device.expect(&publish("d", b"x"));
    // B-VER-5: a PINGREQ is billed under 201509 alone.
    device.send(&packet(0xc0, &[]));
    peer.expect(&packet(0xc0, &[]));
    let (mut old, mut old_peer) = upstream.session(ringbeam.address(), old_sim(1), 4);
    old.send(&packet(0xc0, &[]));
    old_peer.expect(&packet(0xc0, &[]));

    let row = month(&api, &new_imsi(1));
    assert_eq!(
        row["beamStatsMap"],
        json!({"inMqtt": {"count": 4}, "outMqtt": {"count": 4}})
    );
    assert_eq!(row["date"].as_str().unwrap().len(), 6);
    assert_eq!(
        month(&api, &old_imsi(1))["beamStatsMap"],
        json!({"inMqtt": {"count": 1}, "outMqtt": {"count": 1}})
    );
    // Asked again it is the same, though the session goes on; what comes later is added.
    assert_eq!(month(&api, &new_imsi(1)), row);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    assert_eq!(
        month(&api, &new_imsi(1))["beamStatsMap"]["inMqtt"]["count"],
        5
    );
    for period in ["day", "minutes"] {
        let path = format!(
            "/v1/stats/beam/subscribers/{}?{SPAN}&period={period}",
            new_imsi(1)
        );
        let rows = api.get(&path).expect(200).json();
        let sum: i64 = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["beamStatsMap"]["inMqtt"]["count"].as_i64().unwrap())
            .sum();
        assert_eq!(sum, 5);
        let width = if period == "day" { 86_400 } else { 300 };
        assert_eq!(
            (rows[0]["unixtime"].as_i64().unwrap() + 9 * 3600) % width,
            0
        );
    }

    // What the last seconds brought is there after an orderly end, and nothing twice.
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    device.send(&packet(0xe0, &[]));
    device.expect_closed();
    ringbeam.end();
    let ringbeam = ringbeam.restart();
    assert_eq!(
        month(&ringbeam.api(), &new_imsi(1))["beamStatsMap"]["inMqtt"]["count"],
        6
    );
}

#[test]
fn b_bill_1_a_kill_loses_seconds_at_most_and_doubles_nothing() {
    let upstream = Upstream::listen();
    let mut ringbeam = serving(&upstream);
    let mut sent = 0;
    for round in 1..=3 {
        let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
        for _ in 0..50 {
            device.send(&publish("t", b"x"));
            peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
        }
        sent += 50;
        let count = |api: &Api| {
            month(api, &new_imsi(1))["beamStatsMap"]["inMqtt"]["count"]
                .as_i64()
                .unwrap_or(0)
        };
        let api = ringbeam.api();
        // What was told was stored.
        assert_eq!(count(&api), sent, "round {round}");
        ringbeam.signal("KILL");
        ringbeam.wait();
        ringbeam = ringbeam.restart();
        assert_eq!(count(&ringbeam.api()), sent, "round {round}");
    }
    // Nobody asks: it is stored all the same, in less than ten seconds.
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    let database = ringbeam.setup().path("ringbeam.db");
    wait_until("the figures to be in the database", || {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let select = "SELECT coalesce(sum(in_mqtt), 0) FROM usage WHERE period = 86400";
        let stored: i64 = connection.query_row(select, [], |row| row.get(0)).unwrap();
        stored == sent + 1
    });
}

#[test]
fn b_bill_2_questions_and_exports_have_the_vendors_form() {
    let upstream = Upstream::listen();
    let ringbeam = serving(&upstream);
    let api = ringbeam.api();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));
    let stats = "/v1/stats/beam/subscribers";
    let imsi = new_imsi(1);
    for wrong in [
        format!("{stats}/{imsi}"),
        format!("{stats}/{imsi}?{SPAN}&period=year"),
        format!("{stats}/{imsi}?from=2&to=1&period=day"),
        format!("{stats}/{imsi}?from=x&to=1&period=day"),
    ] {
        api.get(&wrong).expect(400);
    }
    api.get(&format!("{stats}/440100000000009?{SPAN}&period=day"))
        .expect(404);
    assert_eq!(
        api.get(&format!("{stats}/{}?{SPAN}&period=day", new_imsi(2)))
            .expect(200)
            .json(),
        json!([])
    );

    let operator = api.get("/ringbeam/v1/node").expect(200).json()["operatorId"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({"from": 1_600_000_000, "to": 4_000_000_000_u32});
    let export = format!("/v1/stats/beam/operators/{operator}/export");
    let url = api
        .post(&format!("{export}?export_mode=sync"), &body)
        .expect(200)
        .json();
    // The address of a file needs no token, as the vendor's do not.
    let url = url["url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{}", api.address));
    let file = Api::new(api.address)
        .get(path.unwrap_or_else(|| panic!("{url}")))
        .expect(200);
    assert!(file.header("content-type").unwrap().starts_with("text/csv"));
    let text = file.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "imsi,date,unixtime,platform,inMqtt,outMqtt,outMqtts"
    );
    assert!(
        lines[1].starts_with(&imsi) && lines[1].ends_with(",201912,1,1,0"),
        "{}",
        lines[1]
    );
    let asked = api.post(&export, &body).expect(200).json();
    let id = asked["exportedFileId"].as_str().unwrap();
    let exported = api
        .get(&format!("/v1/files/exported/{id}"))
        .expect(200)
        .json();
    assert_eq!(exported["status"], "exported");
    api.get("/v1/files/exported/none").expect(404);
    api.post("/v1/stats/beam/operators/OP0/export", &body)
        .expect(404);
    api.post(&format!("{export}?export_mode=x"), &body)
        .expect(400);

    let usage = api
        .get(&format!("/ringbeam/v1/usage?{SPAN}&period=month"))
        .expect(200)
        .json();
    assert_eq!(usage["total"][0]["beamStatsMap"]["inMqtt"]["count"], 1);
    assert_eq!(usage["platforms"]["201912"]["inMqtt"]["count"], 1);
    assert_eq!(usage["sims"][0]["imsi"], imsi);
}

#[test]
fn b_id_7_nothing_is_forgotten_by_a_clock_that_jumped() {
    let upstream = Upstream::listen();
    let mut ringbeam = serving(&upstream);
    ringbeam.signal("TERM");
    ringbeam.wait();
    // Everything that is known is of 600 days ago: to who starts now its clock is as far ahead.
    let database = ringbeam.setup().path("ringbeam.db");
    let rows = |ago_days: i64| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let fill = format!(
            "DELETE FROM usage; DELETE FROM logs; DELETE FROM session_events; DELETE FROM meta WHERE name = 'believed_ms'; \
             INSERT INTO usage SELECT '440100000000001', period, (unixepoch() / 86400 - {ago_days}) * 86400, '201912', 1, 1, 0 \
             FROM (SELECT 300 AS period UNION SELECT 86400); \
             INSERT INTO logs (time_ms, imsi, level, body) VALUES ((unixepoch() - {ago_days} * 86400) * 1000, '440100000000001', 'info', '{{}}'); \
             INSERT INTO session_events (imsi, time_ms, event, network, address, apn, session_id) \
             VALUES ('440100000000001', (unixepoch() - {ago_days} * 86400) * 1000, 'Created', 'default', '127.0.0.1', '', ''); \
             INSERT OR REPLACE INTO accounting VALUES ('n', 's', '', (unixepoch() - {ago_days} * 86400) * 1000, 1, NULL, NULL);"
        );
        connection.execute_batch(&fill).unwrap();
    };
    let left = || -> Vec<i64> {
        let connection = rusqlite::Connection::open(&database).unwrap();
        ["usage", "logs", "session_events", "accounting"]
            .iter()
            .map(|table| {
                let query = format!(
                    "SELECT count(*) FROM {table} WHERE imsi IS NULL OR imsi = '440100000000001'"
                );
                connection.query_row(&query, [], |row| row.get(0)).unwrap()
            })
            .collect()
    };
    rows(600);
    let mut ringbeam = ringbeam.restart();
    // It is told behind the first time that something would have been forgotten.
    let told = ringbeam.wait_for_log(&[("level", "ERROR")]);
    assert!(told["ahead_hours"].as_i64().unwrap() >= 599 * 24, "{told}");
    assert_eq!(left(), [2, 1, 1, 1]);
    ringbeam.signal("KILL");
    ringbeam.wait();
    // Once more, with what was believed.
    let mut ringbeam = ringbeam.restart();
    ringbeam.wait_for_log(&[("level", "ERROR")]);
    assert_eq!(left(), [2, 1, 1, 1]);
    ringbeam.signal("TERM");
    ringbeam.wait();
    // A clock that goes as it should forgets what is too old.
    rows(600);
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch("INSERT INTO meta VALUES ('believed_ms', CAST(unixepoch() * 1000 AS BLOB))")
        .unwrap();
    drop(connection);
    let _ringbeam = ringbeam.restart();
    wait_until("what is too old to be forgotten", || left() == [0, 0, 0, 0]);
}
