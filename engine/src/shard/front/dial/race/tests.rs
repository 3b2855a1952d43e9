//! Tests of the race over real sockets: listeners that accept, ports that refuse, and listeners whose
//! backlog is full, which answer nothing at all.

use std::net::TcpListener;

use socket2::{Domain, Type};

use super::*;
use crate::limits::ATTEMPTS_SPARE;

/// A deadline that nothing here waits for.
const LONG_MS: u64 = 3_600_000;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn run<T>(future: impl Future<Output = T>) -> T {
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .enable_timer()
        .build()
        .unwrap()
        .block_on(async { monoio::time::timeout(PATIENCE, future).await })
        .unwrap()
}

/// A shard's share in a race, and the addresses that stand for a destination.
struct Scene {
    addresses: Addresses,
    spare: Spare,
    found: Vec<SocketAddr>,
}

impl Scene {
    fn new(found: &[SocketAddr]) -> Self {
        Self {
            addresses: Addresses::new(0),
            spare: Spare::default(),
            found: found.to_vec(),
        }
    }

    fn race(&self, time_ms: u64) -> Race<'_> {
        let means = Means {
            addresses: &self.addresses,
            spare: &self.spare,
            sources: &[],
            patience: Duration::from_secs(60),
        };
        Race::new(means, &self.found, now_ms() + time_ms)
    }

    fn permits_left(&self) -> usize {
        let all: Vec<_> = std::iter::from_fn(|| self.spare.take()).collect();
        all.len()
    }

    /// The addresses that are tried first and last from now on.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        // Twice, since every address of a family gets its turn to be the first.
        let turns = [(); 2].map(|()| self.addresses.order(&self.found, now_ms()));
        assert_eq!(turns[0], turns[1], "an address is preferred");
        (turns[0][0], turns[0][self.found.len() - 1])
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that refuses.
fn closed() -> SocketAddr {
    listen().1
}

/// An address that never answers, as long as what comes with it lives.
fn silent() -> (Vec<socket2::Socket>, SocketAddr) {
    let socket = || socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let filler = socket();
        filler.set_nonblocking(true).unwrap();
        // The first ones fill the backlog, and for the others it is under way for good.
        drop(filler.connect(&address));
        sockets.push(filler);
    }
    (sockets, address.as_socket().unwrap())
}

/// The kernel's connections that are under way to an address.
fn connecting_to(address: SocketAddr) -> usize {
    let port = format!(":{:04X}", address.port());
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        let is_to = fields.next().is_some_and(|remote| remote.ends_with(&port));
        is_to && fields.next() == Some("02")
    };
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().filter(is_one).count()
}

#[test]
fn b_con_4_where_the_first_address_refuses_the_second_is_used() {
    let (listener, open) = listen();
    let closed = closed();
    let scene = Scene::new(&[closed, open]);
    run(async {
        let mut race = scene.race(LONG_MS);
        assert!(race.run().await.is_some());
        assert_eq!(race.report(), format!("{closed}: Connection refused"));
    });
    listener.accept().unwrap();
    assert_eq!(scene.ends(), (open, closed));
}

#[test]
fn b_con_4_both_families_are_tried_whichever_comes_first() {
    let (listener, open) = listen();
    let other = SocketAddr::new("::1".parse().unwrap(), open.port());
    for found in [[open, other], [other, open]] {
        let scene = Scene::new(&found);
        assert!(run(async { scene.race(LONG_MS).run().await.is_some() }));
        listener.accept().unwrap();
    }
}

#[test]
fn b_con_4_an_address_that_never_answers_holds_up_no_other_and_is_avoided_then() {
    let (listener, open) = listen();
    let (_sockets, silent) = silent();
    let scene = Scene::new(&[silent, open]);
    let before = connecting_to(silent);
    run(async {
        assert!(scene.race(LONG_MS).run().await.is_some());
        // The attempt that lost is closed, by the ring.
        while connecting_to(silent) > before {
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    listener.accept().unwrap();
    assert_eq!(scene.ends(), (open, silent));
    assert_eq!(scene.permits_left(), ATTEMPTS_SPARE);
}

#[test]
fn b_con_4_without_spare_descriptors_addresses_are_tried_one_after_the_other() {
    let (listener, open) = listen();
    let (_sockets, silent) = silent();
    let scene = Scene::new(&[silent, open]);
    let _permits: Vec<_> = std::iter::from_fn(|| scene.spare.take()).collect();
    run(async {
        let mut race = scene.race(1_000);
        assert!(race.run().await.is_some());
        assert_eq!(race.report(), format!("{silent}: timed out"));
    });
    listener.accept().unwrap();
}

#[test]
fn b_con_4_more_silent_addresses_than_may_be_tried_at_a_time_keep_the_last_from_none() {
    let (listener, open) = listen();
    let silent: Vec<_> = (0..ATTEMPTS_AT_ONCE).map(|_| silent()).collect();
    let mut found: Vec<_> = silent.iter().map(|(_, address)| *address).collect();
    found.push(open);
    let scene = Scene::new(&found);
    run(async {
        let mut race = scene.race(5_000);
        let mut most = 0;
        let mut running = Box::pin(race.run());
        // The attempts beyond the session's own are those that permits are taken for.
        let socket = poll_fn(|context| {
            most = most.max(1 + ATTEMPTS_SPARE - scene.permits_left());
            running.as_mut().poll(context)
        })
        .await;
        assert!(socket.is_some());
        assert_eq!(most, ATTEMPTS_AT_ONCE);
    });
    listener.accept().unwrap();
}

#[test]
fn b_con_4_when_none_answers_every_address_is_named_with_its_reason() {
    let (closed, (_sockets, silent)) = (closed(), silent());
    let scene = Scene::new(&[closed, silent]);
    run(async {
        let mut race = scene.race(LONG_MS);
        let patience = Duration::from_millis(2 * ATTEMPT_STAGGER_MS);
        monoio::time::timeout(patience, race.run())
            .await
            .unwrap_err();
        race.give_up();
        assert_eq!(
            race.report(),
            format!("{closed}: Connection refused; {silent}: timed out")
        );
    });
    let all_closed: Vec<_> = (0..REASONS_NAMED + 3).map(|_| self::closed()).collect();
    let scene = Scene::new(&all_closed);
    run(async {
        let mut race = scene.race(LONG_MS);
        assert!(race.run().await.is_none());
        let report = race.report();
        assert_eq!(report.matches("refused").count(), REASONS_NAMED, "{report}");
        assert!(report.ends_with("; 3 more failed"), "{report}");
    });
}
