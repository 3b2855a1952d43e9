//! What is in doubt: clocks that are wrong, ids that are used again, requests that are sent again, and clients that speak of
//! what is not their own.

use super::*;

#[test]
fn b_id_7_an_id_is_used_again_at_once_by_another_sim_or_later_by_the_servers_clock() {
    // Another SIM, with and without a clock, and whether the Stop names the first one or not.
    for stop in ["20 stop n 1 1", "20@20 stop n 1 1"] {
        check(
            &["10 start n 1 1 10.0.0.1", stop, "50 start n 1 2 10.0.0.1"],
            &["+10.0.0.1 1", "-10.0.0.1 1", "+10.0.0.1 2"],
            &["10.0.0.1 2 radius 1 50..50"],
        );
    }
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10 start n 1 1 10.0.0.1");
    told("20 stop n 1");
    assert_eq!(told("50 start n 1 2 10.0.0.1"), ["+10.0.0.1 2"]);
    // The first one's Stop comes late.
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10@10 start n 1 1 10.0.0.1");
    assert_eq!(told("50@50 start n 1 1 10.0.0.1"), [""; 0]);
    assert_eq!(told("20@20 stop n 1"), [""; 0]);
    assert_eq!(told("60@60 stop n 1"), ["-10.0.0.1 1"]);
    // What comes late of the first one neither ends the second nor takes its address.
    check(
        &[
            "10@10 start n 1 1 10.0.0.1",
            "50@50 start n 1 2 10.0.0.1",
            "20@20 stop n 1",
            "20@20 stop n 1 1",
            "15@15 interim n 1 1 10.0.0.1",
            "10@10 start n 1 1 10.0.0.1",
        ],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 radius 1 50..50"],
    );
    // A Stop without a clock names the first one.
    check(
        &[
            "10 start n 1 1 10.0.0.1",
            "50 start n 1 2 10.0.0.1",
            "51 stop n 1 1",
        ],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 radius 1 50..50"],
    );
    // What the second one does not have is not left to it.
    check(
        &[
            "10 start n 1 1 10.0.0.1,2001:db8::/64",
            "50 start n 1 2 10.0.0.1",
        ],
        &[
            "+10.0.0.1 1",
            "+2001:db8::/64 1",
            "-2001:db8::/64 1",
            "+10.0.0.1 2 was 1",
        ],
        &["10.0.0.1 2 radius 1 50..50"],
    );
}

#[test]
fn b_id_7_the_same_sim_is_another_session_when_it_begins_later_than_it_ended() {
    // By the server's own clock, though that be wrong; then its Stop.
    for (stop, start, end) in [
        (
            "20@20 stop n 1",
            "50@50 start n 1 1 10.0.0.1",
            "60@60 stop n 1",
        ),
        (
            "720@20 stop n 1",
            "750@50 start n 1 1 10.0.0.1",
            "760@60 stop n 1",
        ),
    ] {
        check(
            &[stop, start, stop],
            &["+10.0.0.1 1"],
            &[&format!(
                "10.0.0.1 1 radius 1 {0}..{0}",
                start.split('@').next().unwrap()
            )],
        );
        check(&[stop, start, end], &["+10.0.0.1 1", "-10.0.0.1 1"], &[]);
    }
    // Not later by that clock, or who knows, or only still going on.
    check(&["20@20 stop n 1", "50@20 start n 1 1 10.0.0.1"], &[], &[]);
    check(&["20 stop n 1", "50@50 start n 1 1 10.0.0.1"], &[], &[]);
    check(
        &["20@20 stop n 1", "50@50 interim n 1 1 10.0.0.1"],
        &[],
        &[],
    );
    // A clock that was set anew, and the Stop of what it began: in doubt the address is nobody's.
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("700@700 start n 1 1 10.0.0.1");
    assert_eq!(told("800@5 stop n 1"), ["-10.0.0.1 1"]);
}

#[test]
fn b_id_7_what_the_clock_wrote_while_it_was_ahead_does_not_outlive_its_correction() {
    let written = [
        "10000 start n s 1 10.0.0.1",
        "10000 start n t 2 10.0.0.2",
        "10000 start m u 3 10.0.0.3",
        "10000 on k",
        "10000 stop n v",
        "10000 bind 4 10.0.0.4",
    ];
    for story in [
        "5000 stop n s => -10.0.0.1 1 => 5001 interim n s 1 10.0.0.1 => ",
        "5000 start n w 5 10.0.0.1 => +10.0.0.1 5 was 1 => 5000 stop n s => ",
        "5000@5000 start m w 5 10.0.0.1 => +10.0.0.1 5 was 1 => 5001 stop m w => -10.0.0.1 5",
        "4999@4999 interim m w 5 10.0.0.1 => +10.0.0.1 5 was 1 => 5000 unbind 10.0.0.1 => -10.0.0.1 5",
        "5000 bind 5 10.0.0.1 => +10.0.0.1 5 was 1 => 5001 start n w 1 10.0.0.1 => +10.0.0.1 1 was 5",
        "5000 bind 5 10.0.0.4 => +10.0.0.4 5 was 4 => 5001 unbind-sim 5 => -10.0.0.4 5",
        "5000 off n => -10.0.0.1 1, -10.0.0.2 2 => 5001 start n s 1 10.0.0.1 => +10.0.0.1 1",
        "5000 start k s 6 10.0.0.6 => +10.0.0.6 6 => 5001 stop k s => -10.0.0.6 6",
        "5000 interim n v 6 10.0.0.6 =>  => 5001 start n v2 6 10.0.0.6 => +10.0.0.6 6",
        "5000 replace u 6=10.0.0.1 => +10.0.0.1 6 was 1 => 5001 replace u => -10.0.0.1 6",
    ] {
        let parts: Vec<&str> = story.split(" => ").collect();
        let mut connection = database();
        let events: Vec<_> = written.iter().map(|line| event(line)).collect();
        commit_at(&mut connection, 10_000, &events);
        for (now, step) in (5000..).zip(parts.chunks(2)) {
            let changes = commit_at(&mut connection, now, &[event(step[0])]);
            assert_eq!(changes.join(", "), step[1], "{story}");
        }
    }
}

#[test]
fn b_id_7_what_the_api_gave_goes_on_a_new_sessions_word_alone() {
    check(
        &[
            "10 start n s 1 10.0.0.1",
            "20 bind 2 10.0.0.1",
            "30 interim n s 1 10.0.0.1",
            "40 interim n s 1 10.0.0.1",
        ],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 api 20..20"],
    );
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10 bind 2 10.0.0.1");
    assert_eq!(told("30 interim n s 1 10.0.0.1"), [""; 0]);
    // Whoever had it goes on having it when the operator has done.
    assert_eq!(told("40 unbind-sim 2"), ["-10.0.0.1 2"]);
    assert_eq!(told("50 interim n s 1 10.0.0.1"), ["+10.0.0.1 1"]);
    told("60 bind 2 10.0.0.1");
    assert_eq!(told("70 start n t 3 10.0.0.1"), ["+10.0.0.1 3 was 2"]);
}

#[test]
fn b_id_7_a_start_by_a_clock_of_seconds_is_not_before_what_was_told_in_its_second() {
    let mut connection = database();
    let mut told = |line: &str, ms: i64| {
        let mut event = event(line);
        event.time_ms += ms;
        commit(&mut connection, &[event])
    };
    assert_eq!(told("10 start n s 1 10.0.0.1", 300), ["+10.0.0.1 1"]);
    assert_eq!(told("10@10 interim m t 2 10.0.0.1", 0), [""; 0]);
    assert_eq!(told("10@10 start m t 2 10.0.0.1", 0), ["+10.0.0.1 2 was 1"]);
    assert_eq!(told("20 on m", 300), ["-10.0.0.1 2"]);
    assert_eq!(told("20@20 start m u 2 10.0.0.1", 0), ["+10.0.0.1 2"]);
    assert_eq!(told("19@19 start m v 3 10.0.0.3", 0), [""; 0]);
}

#[test]
fn b_id_7_a_session_whose_address_was_given_away_takes_nothing_back() {
    check(
        &[
            "10 start n s 1 10.0.0.1",
            "400 start n t 2 10.0.0.1",
            // Its clock may be none: an Interim that is sent again seems to be of now.
            "900 interim n s 1 10.0.0.1",
        ],
        &["+10.0.0.1 1", "+10.0.0.1 2 was 1"],
        &["10.0.0.1 2 radius t 400..400"],
    );
    // It has another address still.
    check(
        &[
            "10 start n s 1 10.0.0.1,10.0.0.2",
            "400 start n t 2 10.0.0.1",
            "900 interim n s 1 10.0.0.2",
        ],
        &["+10.0.0.1 1", "+10.0.0.2 1", "+10.0.0.1 2 was 1"],
        &[
            "10.0.0.1 2 radius t 400..400",
            "10.0.0.2 1 radius s 10..900",
        ],
    );
}

#[test]
fn b_id_7_a_request_that_gave_or_ended_something_does_so_once() {
    let request = |line: &str, number: u8| {
        let SessionEvent { time_ms, act } = event(line);
        let SessionAct::Accounting(event) = act else {
            panic!("{line}");
        };
        let event = AccountingEvent {
            request: Some([number; 16]),
            ..event
        };
        SessionEvent {
            time_ms,
            act: SessionAct::Accounting(event),
        }
    };
    let mut connection = database();
    let mut told = |line: &str, number: u8| {
        let transaction = connection.transaction().unwrap();
        let applied = apply(&transaction, &[request(line, number)], LATE_SECONDS * 1000);
        transaction.commit().unwrap();
        let Applied { changes, kept } = applied.unwrap();
        let changes: Vec<String> = changes.iter().map(change).collect();
        (changes.join(" "), kept.replayed.len())
    };
    let nothing = || (String::new(), 1);
    assert_eq!(told("10 off n", 1), (String::new(), 0));
    assert_eq!(told("20 start n s 1 10.0.0.1", 2).0, "+10.0.0.1 1");
    assert_eq!(told("55 off n", 1), nothing());
    assert_eq!(told("60 stop n s", 3).0, "-10.0.0.1 1");
    assert_eq!(told("70 start n t 2 10.0.0.1", 4).0, "+10.0.0.1 2");
    assert_eq!(told("400 start n s 1 10.0.0.1", 2), nothing());
    // An Interim that gave something, and one that did not.
    assert_eq!(told("410 interim n u 3 10.0.0.3", 5).0, "+10.0.0.3 3");
    assert_eq!(told("420 interim n u 3 10.0.0.3", 6), (String::new(), 0));
    assert_eq!(told("430 interim n u 3 10.0.0.3", 6), (String::new(), 0));
    assert_eq!(told("440 interim n u 3 10.0.0.3", 5), nothing());
    // Another access server that says the same has said something else.
    assert_eq!(told("450 start m s 5 10.0.0.5", 2).0, "+10.0.0.5 5");
    // For as long as it is remembered, and as long as there is room.
    let late_ms = LATE_SECONDS * 1000;
    let count = |connection: &Connection| -> i64 {
        let count = "SELECT count(*) FROM accounting_requests";
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&connection), 6);
    assert_eq!(prune_requests(&connection, late_ms, 6).unwrap(), 0);
    assert_eq!(prune_requests(&connection, late_ms, 4).unwrap(), 2);
    assert_eq!(prune_requests(&connection, late_ms + 1, 4).unwrap(), 4);
    assert_eq!(count(&connection), 0);
}

#[test]
fn b_id_6_a_client_ends_nothing_that_another_one_told_of() {
    let mut connection = database();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    told("10 start n/a s 1 10.0.0.1");
    told("10 start n/b s 2 10.0.0.2");
    told("10 start n/b t 3 10.0.0.3");
    assert_eq!(told("20 stop n/c s"), [""; 0]);
    assert_eq!(told("20 off n/c"), [""; 0]);
    assert_eq!(told("20 on n/a"), ["-10.0.0.1 1"]);
    assert_eq!(told("30 stop n/b s"), ["-10.0.0.2 2"]);
    assert_eq!(told("30 start n/a t 4 10.0.0.4"), ["+10.0.0.4 4"]);
    // A client that is not there any more, and one whose access server is listed now: whoever may speak of it.
    settle_clients(&connection, &["a"], &[]).unwrap();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    assert_eq!(told("40 off n/c"), ["-10.0.0.3 3"]);
    settle_clients(&connection, &["a"], &["n"]).unwrap();
    let mut told = |line: &str| commit(&mut connection, &[event(line)]);
    assert_eq!(told("50 stop n t"), ["-10.0.0.4 4"]);
    // Of a network that is none of the client's.
    told("60 start n x 5 10.0.0.5");
    let SessionEvent { time_ms, act } = event("70 off n");
    let SessionAct::Accounting(off) = act else {
        panic!();
    };
    let off = AccountingEvent {
        networks: Arc::from([Arc::from("other")]),
        ..off
    };
    let act = SessionAct::Accounting(off);
    assert_eq!(
        commit(&mut connection, &[SessionEvent { time_ms, act }]),
        [""; 0]
    );
}

#[test]
fn what_is_told_of_another_clients_sessions_is_said() {
    let check = |line: &str, expected: usize| {
        let mut connection = database();
        commit(&mut connection, &[event("10 start n/a s 1 10.0.0.1")]);
        let transaction = connection.transaction().unwrap();
        let applied = apply(&transaction, &[event(line)], LATE_SECONDS * 1000).unwrap();
        assert_eq!(applied.kept.foreign.len(), expected, "{line}");
        assert_eq!(applied.changes.len(), 1 - expected, "{line}");
    };
    check("20 stop n/a s", 0);
    check("20 off n/a", 0);
    check("20 stop n/b s", 1);
    check("20 on n/b", 1);
}
