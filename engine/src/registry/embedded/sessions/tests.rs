//! What events make of the sessions, whatever their order. Rows of the tables: events as
//! `seconds kind access-server session sim addresses [bearers]`, then what the directory is told, then what is left. Behind
//! the seconds may stand those of the access server's own clock (`20@15`), behind the access server its client (`n/c`).

use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::Transaction;

use super::super::schema;
use super::*;
use crate::radius::Act;

mod doubts;

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    connection
}

/// Later than everything that happens in these tests.
const LATE_SECONDS: i64 = 1_000_000;

fn imsi(number: &str) -> Imsi {
    format!("4401000000000{number:0>2}").parse().unwrap()
}

fn net(text: &str) -> IpNet {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.unwrap_or_else(|_| text.parse().unwrap())
}

fn network() -> Arc<str> {
    Arc::from("default")
}

fn imei(sim: &str) -> Option<Imei> {
    let (_, modem) = sim.split_once('/')?;
    Imei::with_check_digit(&format!("{modem:0>14}"))
}

fn number(sim: &str) -> Imsi {
    imsi(sim.split('/').next().unwrap())
}

/// A list of an Open5GS.
fn replace(words: &[&str]) -> SessionAct {
    SessionAct::Replace {
        network: network(),
        url: Arc::from(words[2]),
        unread: words[3..]
            .iter()
            .filter_map(|entry| {
                let (sim, dnn) = entry.split_once('?')?;
                let dnn = Some(dnn).filter(|dnn| !dnn.is_empty());
                Some(open5gs::Unread {
                    imsi: number(sim),
                    dnn: dnn.map(str::to_owned),
                    is_v4: Some(true),
                })
            })
            .collect(),
        sessions: words[3..]
            .iter()
            .filter(|entry| !entry.contains('?'))
            .map(|entry| {
                let (sim, block) = entry.split_once('=').unwrap();
                open5gs::Session {
                    imsi: number(sim),
                    imei: imei(sim),
                    block: net(block),
                    dnn: "dnn".to_owned(),
                }
            })
            .collect(),
    }
}

/// One event of a table. A SIM may be followed by its modem: `1/7`.
fn event(line: &str) -> SessionEvent {
    let words: Vec<&str> = line.split(' ').collect();
    let word = |index: usize| words[index];
    let (seconds, own) = match word(0).split_once('@') {
        Some((seconds, own)) => (seconds, Some(own)),
        None => (word(0), None),
    };
    let ms = |seconds: &str| seconds.parse::<i64>().unwrap() * 1000;
    let (nas, client) = words
        .get(2)
        .map_or(("", ""), |word| word.split_once('/').unwrap_or((word, "")));
    let accounting = |act| {
        SessionAct::Accounting(AccountingEvent {
            nas: Arc::from(nas),
            client: Arc::from(client),
            networks: Arc::from([network()]),
            request: None,
            time_ms: ms(seconds),
            own_ms: own.map(ms),
            act,
        })
    };
    let act = match word(1) {
        kind @ ("start" | "interim") => accounting(Act::Bind {
            is_start: kind == "start",
            session_id: Arc::from(word(3)),
            multi_session_id: Arc::from(words.get(6).copied().unwrap_or_default()),
            network: network(),
            apn: Arc::from("apn"),
            imsi: number(word(4)),
            imei: imei(word(4)),
            blocks: word(5).split(',').map(net).collect(),
        }),
        "stop" => accounting(Act::Stop {
            session_id: Arc::from(word(3)),
            imsi: words.get(4).map(|sim| number(sim)),
        }),
        "on" => accounting(Act::On),
        "off" => accounting(Act::Off),
        "bind" => SessionAct::Bind {
            network: network(),
            block: net(word(3)),
            imsi: number(word(2)),
            imei: imei(word(2)),
        },
        "unbind" => SessionAct::Unbind {
            network: network(),
            block: net(word(2)),
        },
        "unbind-sim" => SessionAct::UnbindSim {
            imsi: number(word(2)),
        },
        "replace" => replace(&words),
        other => panic!("{other}"),
    };
    SessionEvent {
        time_ms: ms(seconds),
        act,
    }
}

/// The number of a SIM, and of its modem.
fn sim(imsi: Imsi, imei: Option<Imei>) -> String {
    let number = |digits: &str| digits.parse::<u64>().unwrap();
    let modem = imei.map(|imei| format!("/{}", number(&imei.as_str()[..14])));
    let number = number(imsi.as_str()) - 440_100_000_000_000;
    format!("{number}{}", modem.unwrap_or_default())
}

fn shown(block: IpNet) -> String {
    let text = block.to_string();
    text.trim_end_matches("/32").to_owned()
}

fn change(change: &SessionChange) -> String {
    match change {
        SessionChange::Bound {
            block,
            imsi,
            imei,
            before,
            ..
        } => {
            let before = before.map(|before| format!(" was {}", sim(before, None)));
            format!(
                "+{} {}{}",
                shown(*block),
                sim(*imsi, *imei),
                before.unwrap_or_default()
            )
        }
        SessionChange::Released { block, imsi, .. } => {
            format!("-{} {}", shown(*block), sim(*imsi, None))
        }
    }
}

fn commit(connection: &mut Connection, events: &[SessionEvent]) -> Vec<String> {
    commit_at(connection, LATE_SECONDS, events)
}

/// The same at a time in seconds.
fn commit_at(connection: &mut Connection, now: i64, events: &[SessionEvent]) -> Vec<String> {
    let transaction = connection.transaction().unwrap();
    let applied = apply(&transaction, events, now * 1000).unwrap();
    transaction.commit().unwrap();
    applied.changes.iter().map(change).collect()
}

fn left(connection: &Connection) -> Vec<String> {
    let mut rows = Vec::new();
    sessions(connection, |session| {
        rows.push(format!(
            "{} {} {} {}..{}",
            shown(session.block),
            sim(session.imsi, session.imei),
            [session.source.name(), &session.session_id]
                .join(" ")
                .trim_end(),
            session.started_ms / 1000,
            session.updated_ms / 1000
        ));
    })
    .unwrap();
    rows
}

fn check(events: &[&str], changes: &[&str], rows: &[&str]) {
    let parsed: Vec<_> = events.iter().map(|line| event(line)).collect();
    // All in one transaction, and each in its own, is the same.
    let mut connection = database();
    assert_eq!(commit(&mut connection, &parsed), changes, "{events:?}");
    assert_eq!(left(&connection), rows, "{events:?}");
    let mut connection = database();
    let each = parsed.chunks(1);
    let told: Vec<_> = each.flat_map(|one| commit(&mut connection, one)).collect();
    assert_eq!(told, changes, "{events:?}");
    // Everything once more changes nothing.
    let before = left(&connection);
    let again = commit(&mut connection, &parsed);
    assert_eq!(again, [""; 0], "again: {events:?}");
    assert_eq!(left(&connection), before, "again: {events:?}");
}

#[test]
fn b_id_1_a_session_comes_goes_on_and_ends() {
    check(
        &["10 start n s 1/7 10.0.0.1,2001:db8::/64"],
        &["+10.0.0.1 1/7", "+2001:db8::/64 1/7"],
        &[
            "10.0.0.1 1/7 radius s 10..10",
            "2001:db8::/64 1/7 radius s 10..10",
        ],
    );
    check(
        &["10 start n s 1 10.0.0.1", "20 interim n s 1 10.0.0.1"],
        &["+10.0.0.1 1"],
        &["10.0.0.1 1 radius s 10..20"],
    );
    check(
        &["10 start n s 1 10.0.0.1", "20 stop n s"],
        &["+10.0.0.1 1", "-10.0.0.1 1"],
        &[],
    );
    // An Interim without Start is as good.
    check(
        &["20 interim n s 1 10.0.0.1"],
        &["+10.0.0.1 1"],
        &["10.0.0.1 1 radius s 20..20"],
    );
}

#[test]
fn b_id_4_a_stop_before_its_start_suppresses_it() {
    check(&["20 stop n s", "10 start n s 1 10.0.0.1"], &[], &[]);
    check(&["20 stop n s", "20 start n s 1 10.0.0.1"], &[], &[]);
    check(&["20 stop n s", "15 interim n s 1 10.0.0.1"], &[], &[]);
    // Without a clock of its own the Start may seem to be later; the next one with its id is hours later.
    check(&["20 stop n s", "21 start n s 1 10.0.0.1"], &[], &[]);
    // Another access server's id is another session.
    check(
        &["20 stop m s", "10 start n s 1 10.0.0.1"],
        &["+10.0.0.1 1"],
        &["10.0.0.1 1 radius s 10..10"],
    );
}

#[test]
fn b_id_4_an_older_interim_never_undoes_a_newer_stop() {
    check(
        &[
            "10 start n s 1 10.0.0.1",
            "30 stop n s",
            "20 interim n s 1 10.0.0.1",
            "30 interim n s 1 10.0.0.1",
        ],
        &["+10.0.0.1 1", "-10.0.0.1 1"],
        &[],
    );
}

#[test]
fn an_id_that_is_used_again_much_later_is_another_session() {
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10 start n s 1 10.0.0.1");
    told("20 stop n s");
    assert_eq!(told("320 start n s 1 10.0.0.1"), [""; 0]);
    assert_eq!(told("900 interim n s 1 10.0.0.1"), [""; 0]);
    assert_eq!(told("321 start n s 1 10.0.0.1"), ["+10.0.0.1 1"]);
    // The Stop of the one before, once more.
    assert_eq!(told("20 stop n s"), [""; 0]);
    assert_eq!(told("330 stop n s"), ["-10.0.0.1 1"]);
}

#[test]
fn b_id_4_an_address_goes_to_whoever_was_given_it_last() {
    check(
        &["10 start n s 1 10.0.0.1", "20 start n t 2 10.0.0.1"],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 radius t 20..20"],
    );
    // An older Start does not take it over, nor does an Interim, though it be as old.
    check(
        &[
            "20 start n t 2 10.0.0.1",
            "10 start n s 1 10.0.0.1",
            "15 interim n s 1 10.0.0.1",
            "20 interim n s 1 10.0.0.1",
        ],
        &["+10.0.0.1 2"],
        &["10.0.0.1 2 radius t 20..20"],
    );
    // In one second the address is used first and given to another one then.
    check(
        &["10 interim n s 1 10.0.0.1", "10 start n t 2 10.0.0.1"],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 radius t 10..10"],
    );
    // Other access servers as well.
    check(
        &["10 start n s 1 10.0.0.1", "20 interim m s 2 10.0.0.1"],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 radius s 20..20"],
    );
}

#[test]
fn b_id_4_a_stop_that_does_not_own_the_address_evicts_nobody() {
    check(
        &[
            "10 start n s 1 10.0.0.1",
            "20 start n t 2 10.0.0.1",
            "30 stop n s",
            "30 stop n unknown",
        ],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 radius t 20..20"],
    );
}

#[test]
fn b_id_4_the_same_sim_with_a_new_session_keeps_its_connections() {
    check(
        &[
            "10 start n s 1 10.0.0.1",
            "20 start n t 1 10.0.0.1",
            "30 stop n s",
        ],
        &["+10.0.0.1 1"],
        &["10.0.0.1 1 radius t 20..20"],
    );
}

#[test]
fn b_id_1_a_modem_that_is_told_later_or_changed_is_told_on() {
    check(
        &["10 start n s 1 10.0.0.1", "20 interim n s 1/7 10.0.0.1"],
        &["+10.0.0.1 1", "+10.0.0.1 1/7 was 1"],
        &["10.0.0.1 1/7 radius s 10..20"],
    );
    // What is not said again stays.
    check(
        &["10 start n s 1/7 10.0.0.1", "20 interim n s 1 10.0.0.1"],
        &["+10.0.0.1 1/7"],
        &["10.0.0.1 1/7 radius s 10..20"],
    );
    // A Start that comes late knows it, and when it all began.
    check(
        &["20 interim n s 1 10.0.0.1", "10 start n s 1/7 10.0.0.1"],
        &["+10.0.0.1 1", "+10.0.0.1 1/7 was 1"],
        &["10.0.0.1 1/7 radius s 10..20"],
    );
    // The SIM was put into another device.
    check(
        &["10 start n s 1/7 10.0.0.1", "20 start n t 1/8 10.0.0.1"],
        &["+10.0.0.1 1/7", "+10.0.0.1 1/8 was 1"],
        &["10.0.0.1 1/8 radius t 20..20"],
    );
}

#[test]
fn b_id_4_another_address_is_instead_of_the_one_before() {
    let v6 = "2001:db8::/64";
    check(
        &[
            &format!("10 start n s 1 10.0.0.1,{v6}"),
            "20 interim n s 1 10.0.0.2",
            "15 interim n s 1 10.0.0.1",
        ],
        &[
            "+10.0.0.1 1",
            &format!("+{v6} 1"),
            "+10.0.0.2 1",
            "-10.0.0.1 1",
        ],
        &[
            "10.0.0.2 1 radius s 10..20",
            &format!("{v6} 1 radius s 10..10"),
        ],
    );
}

#[test]
fn b_id_4_a_further_bearer_comes_and_goes_without_the_address() {
    check(
        &[
            "10 start n s 1 10.0.0.1 m",
            "20 start n t 1 10.0.0.1 m",
            "30 stop n t",
        ],
        &["+10.0.0.1 1"],
        &["10.0.0.1 1 radius s 10..10"],
    );
    check(
        &[
            "20 start n t 1 10.0.0.1 m",
            "10 start n s 1 10.0.0.1 m",
            "30 stop n t",
            "40 stop n s",
        ],
        &["+10.0.0.1 1", "-10.0.0.1 1"],
        &[],
    );
}

#[test]
fn b_id_4_an_access_server_that_begins_or_ends_has_no_sessions_of_before() {
    for kind in ["on", "off"] {
        check(
            &[
                "10 start n s 1 10.0.0.1",
                "10 start m s 2 10.0.0.2",
                "30 start n t 3 10.0.0.3",
                &format!("20 {kind} n"),
                // All of them late.
                "12 start n u 4 10.0.0.4",
                "15 interim n s 1 10.0.0.1",
                "15 stop n t",
            ],
            &["+10.0.0.1 1", "+10.0.0.2 2", "+10.0.0.3 3", "-10.0.0.1 1"],
            &["10.0.0.2 2 radius s 10..10", "10.0.0.3 3 radius t 30..30"],
        );
    }
    // In the same second: it begins before its first session, and ends after its last.
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10 start n s 1 10.0.0.1");
    assert_eq!(told("10 on n"), [""; 0]);
    assert_eq!(told("10 off n"), ["-10.0.0.1 1"]);
    // Ids count from the beginning again.
    told("10 stop n s");
    assert_eq!(told("20 on n"), [""; 0]);
    assert_eq!(told("21 start n s 2 10.0.0.1"), ["+10.0.0.1 2"]);
}

#[test]
fn b_id_1_an_operator_gives_and_takes_addresses() {
    check(
        &["10 start n s 1 10.0.0.1", "20 bind 2/7 10.0.0.1"],
        &["+10.0.0.1 1", "+10.0.0.1 2/7 was 1"],
        &["10.0.0.1 2/7 api 20..20"],
    );
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10 bind 1 10.0.0.1");
    told("10 start n s 1 10.0.0.2");
    told("10 start n t 2 10.0.0.3");
    assert_eq!(told("20 unbind 10.0.0.9"), [""; 0]);
    assert_eq!(told("20 unbind 10.0.0.3"), ["-10.0.0.3 2"]);
    assert_eq!(told("20 unbind-sim 1"), ["-10.0.0.1 1", "-10.0.0.2 1"]);
    assert_eq!(told("20 unbind-sim 1"), [""; 0]);
    // A packet core's word counts again when it is newer.
    told("30 bind 1 10.0.0.1");
    assert_eq!(told("29 start n u 2 10.0.0.1"), [""; 0]);
    assert_eq!(told("31 start n v 2 10.0.0.1"), ["+10.0.0.1 2 was 1"]);
}

#[test]
fn b_id_1_a_list_replaces_what_the_same_one_told_before() {
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    assert_eq!(
        told("10 replace u 1=10.0.0.1 1=2001:db8::/64 2=10.0.0.2"),
        ["+10.0.0.1 1", "+2001:db8::/64 1", "+10.0.0.2 2"]
    );
    assert_eq!(
        told("20 replace u 2=10.0.0.2 1=2001:db8::/64 1=10.0.0.1"),
        [""; 0]
    );
    // Another one's sessions stay, and so do a packet core's.
    assert_eq!(told("20 replace w 3=10.0.0.3"), ["+10.0.0.3 3"]);
    assert_eq!(told("20 start n s 4 10.0.0.4"), ["+10.0.0.4 4"]);
    assert_eq!(
        told("30 replace u 5=10.0.0.1 2/7=10.0.0.2"),
        [
            "-2001:db8::/64 1",
            "+10.0.0.1 5 was 1",
            "+10.0.0.2 2/7 was 2"
        ]
    );
    // What a packet core tells too stays its own; what it told since the list was asked for is newer.
    assert_eq!(
        told("40 replace u 4=10.0.0.4"),
        ["-10.0.0.1 5", "-10.0.0.2 2"]
    );
    assert_eq!(told("41 stop n s"), ["-10.0.0.4 4"]);
    told("50 start n t 4 10.0.0.4");
    assert_eq!(told("49 replace u 6=10.0.0.4"), [""; 0]);
    assert_eq!(told("51 replace u 6=10.0.0.4"), ["+10.0.0.4 6 was 4"]);
    // Of two with one address it is the later one's, in every list.
    assert_eq!(
        told("60 replace u 7=10.0.0.5 8=10.0.0.5 6=10.0.0.4"),
        ["+10.0.0.5 8"]
    );
    assert_eq!(
        told("61 replace u 7=10.0.0.5 8=10.0.0.5 6=10.0.0.4"),
        [""; 0]
    );
    assert_eq!(told("70 replace u"), ["-10.0.0.4 6", "-10.0.0.5 8"]);
}

#[test]
fn b_id_6_what_cannot_be_read_of_a_sim_has_not_ended() {
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10 replace u 1=10.0.0.1 1=2001:db8::/64 2=10.0.0.2 3=10.0.0.3");
    // Of the other kind of address, and of other SIMs, nothing is in doubt.
    assert_eq!(
        told("20 replace u 1? 3=10.0.0.3"),
        ["-10.0.0.2 2", "-2001:db8::/64 1"]
    );
    assert_eq!(told("30 replace u 1?dnn 3=10.0.0.3"), [""; 0]);
    // Whoever is listed with it has it.
    assert_eq!(told("40 replace u 1?dnn 4=10.0.0.3"), ["+10.0.0.3 4 was 3"]);
    assert_eq!(
        told("50 replace u 1?dnn 4=10.0.0.1"),
        ["-10.0.0.3 4", "+10.0.0.1 4 was 1"]
    );
    assert_eq!(told("60 replace u 4?other"), ["-10.0.0.1 4"]);
}

#[test]
fn sessions_of_a_sim_and_its_history_are_found() {
    let mut connection = database();
    let lines = [
        "10 start n s 1 10.0.0.1",
        "20 interim n s 1/7 10.0.0.1",
        "30 start n t 2 10.0.0.1",
        "40 start n u 1 2001:db8::/64",
    ];
    let events: Vec<_> = lines.iter().map(|line| event(line)).collect();
    commit(&mut connection, &events);
    let mine = of_imsi(&connection, &imsi("1")).unwrap();
    assert_eq!(mine.len(), 1);
    assert_eq!(mine[0].block, net("2001:db8::/64"));
    assert_eq!(
        (
            mine[0].nas.as_str(),
            mine[0].session_id.as_str(),
            mine[0].apn.as_str()
        ),
        ("n", "u", "apn")
    );
    assert_eq!(of_imsi(&connection, &imsi("3")).unwrap(), []);

    let history = |from: i64, to: i64, limit: usize, before: Option<i64>| -> Vec<String> {
        let before = before.map(|before| before * 1000);
        let found = super::events(
            &connection,
            &imsi("1"),
            from * 1000..=to * 1000,
            limit,
            before,
        );
        let line = |event: HistoryEvent| {
            let modem = event
                .imei
                .map_or(0, |imei| imei.as_str()[..14].parse().unwrap());
            format!(
                "{} {} {} {modem} {}",
                event.time_ms / 1000,
                event.kind.name(),
                event.address,
                event.session_id
            )
        };
        found.unwrap().into_iter().map(line).collect()
    };
    let all = [
        "40 Created 2001:db8::/64 0 u",
        "30 Deleted 10.0.0.1 7 s",
        "20 Modified 10.0.0.1 7 s",
        "10 Created 10.0.0.1 0 s",
    ];
    assert_eq!(history(0, 100, 10, None), all);
    assert_eq!(history(20, 30, 10, None), all[1..3]);
    assert_eq!(history(0, 100, 2, None), all[..2]);
    assert_eq!(history(0, 100, 2, Some(30)), all[2..]);
    assert_eq!(history(0, 100, 2, Some(10)), [""; 0]);
    assert_eq!(history(0, 100, 0, None), [""; 0]);
}

#[test]
fn a_page_of_history_does_not_end_within_a_moment() {
    let mut connection = database();
    let lines = [
        "10 start n s 1 10.0.0.1,10.0.0.2,10.0.0.3",
        "20 stop n s",
        "30 start n t 1 10.0.0.1",
    ];
    let events: Vec<_> = lines.iter().map(|line| event(line)).collect();
    commit(&mut connection, &events);
    let page = |limit: usize, before: Option<i64>| -> Vec<i64> {
        let found = super::events(&connection, &imsi("1"), 0..=i64::MAX, limit, before);
        found
            .unwrap()
            .iter()
            .map(|event| event.time_ms / 1000)
            .collect()
    };
    assert_eq!(page(2, None), [30, 20, 20, 20]);
    assert_eq!(page(2, Some(20_000)), [10, 10, 10]);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut connection = database();
    for second in 0..20 {
        let lines = [
            format!("{second} start n s{second} 1 10.0.0.1"),
            format!("{second} stop n s{second}"),
        ];
        let events: Vec<_> = lines.iter().map(|line| event(line)).collect();
        commit(&mut connection, &events);
    }
    commit(&mut connection, &[event("5 start n open 2 10.0.0.2")]);
    let count = |connection: &Connection, table: &str| -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        connection.query_row(&query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&connection, "session_events"), 41);
    assert_eq!(prune(&connection, 5_000, 1000).unwrap(), 10);
    assert_eq!(prune(&connection, 5_000, 1000).unwrap(), 0);
    assert_eq!(prune(&connection, 5_000, 6).unwrap(), 25);
    assert_eq!(count(&connection, "session_events"), 6);
    // A session that has an address is known for as long as it has it.
    assert_eq!(count(&connection, "accounting"), 21);
    assert_eq!(prune_over(&connection, 10_000).unwrap(), 10);
    assert_eq!(count(&connection, "accounting"), 11);
    let bounded = history::prune_over_beyond(&connection, 0, 4);
    assert_eq!(bounded.unwrap(), 6);
    let transaction = connection.transaction().unwrap();
    let told = |line: &str, transaction: &Transaction<'_>| {
        let applied = apply(transaction, &[event(line)], LATE_SECONDS * 1000);
        applied.unwrap().changes.len()
    };
    assert_eq!(told("18 start n s19 1 10.0.0.1", &transaction), 0);
    assert_eq!(told("19 start n s1 1 10.0.0.1", &transaction), 1);
}

#[test]
fn a_row_that_somebody_else_wrote_is_an_error() {
    let mut connection = database();
    commit(&mut connection, &[event("10 start n s 1 10.0.0.1")]);
    for change in ["address = 'x'", "prefix = 99", "imsi = 'x'", "imei = 'x'"] {
        let transaction = connection.transaction().unwrap();
        let update = format!("UPDATE sessions SET {change}");
        transaction.execute(&update, []).unwrap();
        sessions(&transaction, |_| {}).unwrap_err();
    }
}

#[test]
fn everything_that_is_looked_up_has_an_index() {
    let connection = database();
    let check = |query: &str, expected: &str| {
        let mut plan = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
            .unwrap();
        let steps: Vec<String> = plan
            .query_map([], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(steps[0].contains(expected), "{query}: {steps:?}");
    };
    check(
        "SELECT * FROM sessions WHERE network = 1 AND address = 2 AND prefix = 3",
        "PRIMARY KEY",
    );
    check("SELECT * FROM sessions WHERE imsi = 1", "sessions_by_imsi");
    check(
        "SELECT * FROM sessions WHERE nas = 1 AND session_id = 2 AND source = 'radius'",
        "sessions_by_nas",
    );
    check("SELECT * FROM sessions WHERE nas = 1", "sessions_by_nas");
    check(
        "SELECT * FROM session_events WHERE imsi = 1 AND time_ms <= 2 AND time_ms >= 3 ORDER BY time_ms DESC",
        "session_events_by_imsi",
    );
    check(
        "SELECT count(*) FROM accounting WHERE is_over = 1",
        "accounting_over_by_time",
    );
}

/// What happened: sessions one after the other on few addresses, each over before its address is given away; the access
/// server says when, or does not.
fn history(steps: &[(u8, u8, u8)], is_dated: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut second = 0;
    let mut open: [Option<usize>; 3] = [None; 3];
    for (number, (place, sim, what)) in steps.iter().enumerate() {
        second += 1;
        let place = usize::from(place % 3);
        let sim = sim % 4 + 1;
        let address = format!("10.0.0.{place}");
        let when = if is_dated {
            format!("{second}@{second}")
        } else {
            second.to_string()
        };
        match open[place] {
            None => {
                lines.push(format!("{when} start n s{number} {sim} {address}"));
                open[place] = Some(lines.len() - 1);
            }
            Some(start) => {
                let words: Vec<String> = lines[start].split(' ').map(str::to_owned).collect();
                match what % 4 {
                    0 => {
                        lines.push(format!("{when} stop n {}", words[3]));
                        open[place] = None;
                    }
                    1 if what % 16 == 1 => {
                        lines.push(format!("{when} on n"));
                        open = [None; 3];
                    }
                    _ => lines.push(format!(
                        "{when} interim n {} {} {address}",
                        words[3], words[4]
                    )),
                }
            }
        }
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order and however often: what is left depends on what happened alone, and the changes that were told
    /// lead to it.
    #[test]
    fn b_id_4_what_is_left_does_not_depend_on_the_order(
        steps in vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..25),
        keys in vec(any::<u16>(), 60),
        is_dated in any::<bool>(),
    ) {
        let lines = history(&steps, is_dated);
        let ordered: Vec<_> = lines.iter().map(|line| event(line)).collect();
        let mut connection = database();
        commit(&mut connection, &ordered);
        let expected = left(&connection);

        let twice = ordered.iter().chain(&ordered).zip(keys.iter().cycle());
        let mut shuffled: Vec<_> = twice.map(|(event, key)| (*key, event.clone())).collect();
        let half = shuffled.len() / 2;
        for (place, entry) in shuffled.iter_mut().enumerate().skip(half) {
            entry.0 = keys[(place * 7) % keys.len()];
        }
        shuffled.sort_by_key(|(key, _)| *key);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(_, event)| event).collect();
        let mut connection = database();
        let transaction = connection.transaction().unwrap();
        let changes = apply(&transaction, &shuffled, LATE_SECONDS * 1000).unwrap().changes;
        transaction.commit().unwrap();
        prop_assert_eq!(left(&connection), expected, "{:?}", lines);

        let mut directory: Vec<(IpNet, Imsi)> = Vec::new();
        for change in changes {
            match change {
                SessionChange::Bound { block, imsi, before, .. } => {
                    let held = directory.iter().position(|(other, _)| *other == block);
                    prop_assert_eq!(held.map(|place| directory[place].1), before);
                    directory.retain(|(other, _)| *other != block);
                    directory.push((block, imsi));
                }
                SessionChange::Released { block, imsi, .. } => {
                    let held = directory.iter().position(|entry| *entry == (block, imsi));
                    directory.remove(held.unwrap());
                }
            }
        }
        directory.sort();
        let mut rows = Vec::new();
        sessions(&connection, |session| rows.push((session.block, session.imsi))).unwrap();
        rows.sort();
        prop_assert_eq!(directory, rows);
    }
}
