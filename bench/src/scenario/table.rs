//! Table: all scenarios, and how long a run of them takes.

use super::{Place, Scenario, Work};

const COST: &[&str] = &[
    "cpu_us_per_msg",
    "core_busy_us_per_msg",
    "msgs_per_s",
    "latency_us_p99",
];
const MOST: &[&str] = &[
    "cpu_us_per_msg",
    "core_busy_share",
    "msgs_per_s",
    "latency_us_p99",
];
const TURN: &[&str] = &["cpu_us_per_msg", "msgs_per_s", "latency_us_p50"];
const SET_UP: &[&str] = &["cpu_us_per_connect", "conns_per_s", "connect_us_p99"];
const MEMORY: &[&str] = &[
    "pss_bytes_per_session",
    "rss_bytes_per_session",
    "slab_bytes_per_session",
    "idle_cpu_us_per_s",
];
const LATENCY: &[&str] = &[
    "latency_us_p50",
    "latency_us_p99",
    "latency_us_p999",
    "generator_lag_us_p99",
];
const NEIGHBOUR_SHOWS: &[&str] = &["latency_us_p50", "latency_us_p99", "flood_mib_per_s"];
const BULK: &[&str] = &["cpu_us_per_mib", "mib_per_s"];

/// What most of them have in common: 1,000 connections, small messages, a core for the proxy alone.
const BASE: Scenario = Scenario {
    name: "",
    about: "",
    connections: 1000,
    ramp: 5000,
    work: Work::Lockstep,
    payload: 64,
    qos: 0,
    flood: None,
    measured_ms: [3000, 1500],
    place: Place::OwnCpus,
    has_tls: false,
    has_tickets: true,
    is_quick: false,
    shows: COST,
};
const LOCKSTEP: Scenario = Scenario {
    place: Place::ProxyCpu,
    shows: TURN,
    ..BASE
};
const IDLE: Scenario = Scenario {
    ramp: 3000,
    work: Work::Hold(3000),
    shows: MEMORY,
    ..BASE
};
const SCALE: Scenario = Scenario {
    work: Work::Rate {
        per_second: 20_000,
        is_poisson: false,
    },
    ..BASE
};
const NEIGHBOUR: Scenario = Scenario {
    connections: 1,
    work: Work::Rate {
        per_second: 500,
        is_poisson: true,
    },
    measured_ms: [6000, 3000],
    shows: NEIGHBOUR_SHOWS,
    ..BASE
};
const TLS: Scenario = Scenario {
    has_tls: true,
    ..BASE
};

const fn rate(per_second: u32) -> Work {
    Work::Rate {
        per_second,
        is_poisson: false,
    }
}

/// All of them, in the order in which they run.
//
// What a run takes: start, settling and end of the processes about 0.6 s, connections at 5,000 (idle: 3,000) a
// second, 0.5 s of warming up, the measured time, and up to 0.3 s until the last message has arrived.
//
// The full run, one round, in seconds: lockstep 3 x 5 subjects x 4.2 = 63; rate 6 + 6 + 6 subjects x 4.6 = 83;
// window-32 5 x 4.3 = 22; connect 5 x 2.5 = 13; idle 4 x (4.5 + 6.5 + 9) = 80; scale 4 x (4.3 + 4.6 + 5.4 + 6.6)
// = 84; qos 2 x 5 x 4.6 = 46; fanout 4 x 4.8 = 19; latency 6 x 7.6 = 46; neighbour 5 x 3 x 7.4 = 111; bulk 5 x 4.3 =
// 22; storm 4 x 7 = 28; tls 3 subjects x (4.2 + 4.3 + 3 + 4 + 5) = 62. Together 679 s; five rounds 57 minutes.
//
// The quick run, one round: lockstep-1 and -128 2 x 5 x 2.7 = 27; rate-20k 6 x 2.9 = 17; window-32 5 x 2.8 = 14;
// connect 5 x 2.5 = 13; idle-5k 4 x 6.5 = 26; qos1 5 x 2.9 = 15; latency 6 x 4.1 = 25; bulk-1m 5 x 2.8 = 14;
// tls-1 3 x 2.7 = 8. Together 159 s; three rounds 8 minutes.
//
// One round of each, taken once on two processors that others used too, before ringbeam ran the tls scenarios: 513 s
// and 143 s.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "lockstep-1",
        about: "1 connection, one message under way, load and proxy on one core: the cost of a lone message",
        connections: 1,
        is_quick: true,
        ..LOCKSTEP
    },
    Scenario {
        name: "lockstep-8",
        about: "8 connections, one message each under way, load and proxy on one core",
        connections: 8,
        ..LOCKSTEP
    },
    Scenario {
        name: "lockstep-128",
        about: "128 connections, one message each under way, load and proxy on one core: the cost in company",
        connections: 128,
        is_quick: true,
        ..LOCKSTEP
    },
    Scenario {
        name: "rate-20k",
        about: "1,000 connections, 20,000 messages a second at even intervals",
        work: rate(20_000),
        is_quick: true,
        ..BASE
    },
    Scenario {
        name: "rate-50k",
        about: "1,000 connections, 50,000 messages a second at even intervals",
        work: rate(50_000),
        ..BASE
    },
    Scenario {
        name: "rate-80k",
        about: "1,000 connections, 80,000 messages a second at even intervals",
        work: rate(80_000),
        ..BASE
    },
    Scenario {
        name: "window-32",
        about: "100 connections, 32 messages each always under way: as many messages as go through",
        connections: 100,
        work: Work::Window(32),
        is_quick: true,
        shows: MOST,
        ..BASE
    },
    Scenario {
        name: "connect",
        about: "5,000 sessions opened as fast as they can be, each up to CONNACK",
        connections: 5000,
        ramp: 0,
        work: Work::Hold(500),
        is_quick: true,
        shows: SET_UP,
        ..BASE
    },
    Scenario {
        name: "idle-1k",
        about: "1,000 silent sessions: memory per session, and work while nothing happens",
        ..IDLE
    },
    Scenario {
        name: "idle-5k",
        about: "5,000 silent sessions",
        connections: 5000,
        is_quick: true,
        ..IDLE
    },
    Scenario {
        name: "idle-9k",
        about: "9,000 silent sessions",
        connections: 9000,
        ..IDLE
    },
    Scenario {
        name: "scale-100",
        about: "20,000 messages a second over 100 connections",
        connections: 100,
        ..SCALE
    },
    Scenario {
        name: "scale-1k",
        about: "20,000 messages a second over 1,000 connections",
        ..SCALE
    },
    Scenario {
        name: "scale-5k",
        about: "20,000 messages a second over 5,000 connections",
        connections: 5000,
        ..SCALE
    },
    Scenario {
        name: "scale-9k",
        about: "20,000 messages a second over 9,000 connections",
        connections: 9000,
        ..SCALE
    },
    Scenario {
        name: "qos1",
        about: "1,000 connections, 20,000 messages a second at QoS 1, each acknowledged; under 201509 ringbeam acknowledges \
                them itself and sends them on at QoS 0, so that 201509 / 201912 compares different guarantees",
        work: rate(20_000),
        qos: 1,
        is_quick: true,
        ..BASE
    },
    Scenario {
        name: "qos2",
        about: "1,000 connections, 10,000 messages a second at QoS 2, four packets each; under 201509 ringbeam \
                acknowledges them itself and sends them on at QoS 0, so that 201509 / 201912 compares different guarantees",
        work: rate(10_000),
        qos: 2,
        ..BASE
    },
    Scenario {
        name: "fanout",
        about: "a real broker behind the proxy sends 20 messages a second to each of 1,000 subscribers",
        work: Work::Fanout(20),
        ..BASE
    },
    Scenario {
        name: "latency",
        about: "100 connections, 2,000 messages a second at random intervals: time from due to received",
        connections: 100,
        work: Work::Rate {
            per_second: 2000,
            is_poisson: true,
        },
        measured_ms: [6000, 2500],
        is_quick: true,
        shows: LATENCY,
        ..BASE
    },
    Scenario {
        name: "neighbour-none",
        about: "1 connection, 500 messages a second at random intervals, and nobody else: what the next ones are compared with",
        ..NEIGHBOUR
    },
    Scenario {
        name: "neighbour-3k",
        about: "the same while another SIM floods from 100 connections: messages with 3 KiB of properties, as fast as they \
                are taken",
        flood: Some((100, 3 << 10)),
        ..NEIGHBOUR
    },
    Scenario {
        name: "neighbour-12k",
        about: "the same with 12 KiB of properties in each message",
        flood: Some((100, 12 << 10)),
        ..NEIGHBOUR
    },
    Scenario {
        name: "neighbour-120k",
        about: "the same with 120 KiB",
        flood: Some((100, 120 << 10)),
        ..NEIGHBOUR
    },
    Scenario {
        name: "neighbour-250",
        about: "the same with 12 KiB from 250 connections",
        flood: Some((250, 12 << 10)),
        ..NEIGHBOUR
    },
    Scenario {
        name: "bulk-1m",
        about: "4 connections, messages of 1 MiB, two each always under way",
        connections: 4,
        work: Work::Window(2),
        payload: 1 << 20,
        is_quick: true,
        shows: BULK,
        ..BASE
    },
    Scenario {
        name: "storm",
        about: "3,000 sessions cut at once that all come back, three times: cost per session, with its one checked \
                message and, for three of four, its end",
        connections: 3000,
        ramp: 0,
        work: Work::Storm(3),
        shows: SET_UP,
        ..BASE
    },
    Scenario {
        name: "tls-1",
        about: "lockstep-1, on one core too, with TLS towards the upstream",
        connections: 1,
        place: Place::ProxyCpu,
        is_quick: true,
        shows: TURN,
        ..TLS
    },
    Scenario {
        name: "tls-32",
        about: "window-32 with TLS towards the upstream",
        connections: 100,
        work: Work::Window(32),
        ..TLS
    },
    Scenario {
        name: "tls-connect",
        about: "1,000 sessions opened as fast as they can be, each with a TLS handshake upstream, resumed where both \
                sides can",
        ramp: 0,
        work: Work::Hold(500),
        shows: SET_UP,
        ..TLS
    },
    Scenario {
        name: "tls-connect-full",
        about: "the same with full TLS handshakes alone: the upstream gives no tickets, nobody resumes",
        ramp: 0,
        work: Work::Hold(500),
        has_tickets: false,
        shows: SET_UP,
        ..TLS
    },
    Scenario {
        name: "tls-idle",
        about: "5,000 silent sessions with TLS towards the upstream",
        connections: 5_000,
        ramp: 1000,
        work: Work::Hold(3000),
        shows: MEMORY,
        ..TLS
    },
];
