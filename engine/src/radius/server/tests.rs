//! A real socket, and a sink that does as it is told.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use md5::{Digest as _, Md5};
use tokio::sync::{Semaphore, mpsc};
use zeroize::Zeroizing;

use super::*;
use crate::radius::Client;

const SECRET: &[u8] = b"hush";

/// Keeps a batch when it is allowed to, or refuses.
struct Told {
    batches: mpsc::UnboundedSender<usize>,
    permits: Semaphore,
    refusals: AtomicUsize,
}

impl Sink for &Told {
    async fn store(&self, events: Vec<AccountingEvent>) -> Result<Kept, NotStored> {
        self.batches.send(events.len()).unwrap();
        self.permits.acquire().await.unwrap().forget();
        let refusals = &self.refusals;
        let is_refused = refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        match is_refused {
            Ok(_) => Err(NotStored),
            Err(_) => Ok(Kept::default()),
        }
    }
}

/// An accounting request, by its attributes.
fn request(identifier: u8, attributes: &[u8], secret: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + attributes.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let head = [4, identifier, high, low];
    let mut digest = Md5::new();
    digest.update(head);
    digest.update([0; 16]);
    digest.update(attributes);
    digest.update(secret);
    [&head[..], &digest.finalize(), attributes].concat()
}

fn start(identifier: u8, apn: &str) -> Vec<u8> {
    let apn_length = u8::try_from(apn.len() + 2).unwrap();
    let attributes = [
        &[40, 6, 0, 0, 0, 1, 44, 3, b'x', 8, 6, 10, 0, 0, identifier][..],
        b"\x01\x11440100000000001",
        &[30, apn_length],
        apn.as_bytes(),
    ];
    request(identifier, &attributes.concat(), SECRET)
}

struct Bench {
    server: SocketAddr,
    client: UdpSocket,
    counters: Arc<Counters>,
    batches: mpsc::UnboundedReceiver<usize>,
}

impl Bench {
    async fn send(&self, datagram: &[u8]) {
        let sent = self.client.send_to(datagram, self.server).await.unwrap();
        assert_eq!(sent, datagram.len());
    }

    /// The identifier of the next answer.
    async fn answer(&self) -> u8 {
        let mut buffer = [0; 64];
        let answer = self.client.recv(&mut buffer);
        let length = tokio::time::timeout(Duration::from_secs(10), answer).await;
        assert!(length.unwrap().unwrap() >= 20);
        assert_eq!(buffer[0], 5);
        buffer[1]
    }

    /// Waits until this has happened so many times.
    async fn counted(&self, count: Count, times: u64) {
        for _ in 0..10_000 {
            if self.counters.value(count) == times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{count:?}: {:?}", self.counters);
    }
}

/// Runs a server beside what `act` does with it; the sink has so many permits.
fn with_server<F: Future<Output = ()>>(permits: usize, act: impl FnOnce(Bench, Arc<Told>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = bind(local).unwrap();
        let mut clients = Clients::default();
        let client = Client {
            name: Arc::from("x"),
            secret: Zeroizing::new(SECRET.to_vec()),
            networks: Arc::from([Arc::from("default")]),
            nas: Vec::new(),
        };
        assert!(clients.add(IpAddr::from(Ipv4Addr::LOCALHOST).into(), client));
        let mut networks = Networks::default();
        assert!(networks.add("apn", Arc::from("default")));
        let settings = Settings {
            clients,
            networks,
            require_event_timestamp: false,
            require_message_authenticator: false,
            now_ms: || 1_700_000_000_000,
        };
        let (sender, batches) = mpsc::unbounded_channel();
        let told = Arc::new(Told {
            batches: sender,
            permits: Semaphore::new(permits),
            refusals: AtomicUsize::new(0),
        });
        let counters = Arc::new(Counters::default());
        let bench = Bench {
            server: socket.local_addr().unwrap(),
            client: UdpSocket::bind(local).await.unwrap(),
            counters: Arc::clone(&counters),
            batches,
        };
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let mut server = Box::pin(serve(socket, settings, &*told, counters));
        let mut act = Box::pin(act(bench, Arc::clone(&told)));
        poll_fn(|context| {
            assert!(server.as_mut().poll(context).is_pending());
            act.as_mut().poll(context)
        })
        .await;
    });
}

#[test]
fn an_answer_comes_when_the_event_is_stored_and_again_when_the_request_does() {
    with_server(0, |mut bench, told| async move {
        bench.send(&start(1, "apn")).await;
        assert_eq!(bench.batches.recv().await, Some(1));
        // It is being stored.
        bench.send(&start(1, "apn")).await;
        bench.counted(Count::Storing, 1).await;
        assert_eq!(bench.counters.value(Count::Stored), 0);
        told.permits.add_permits(1);
        assert_eq!(bench.answer().await, 1);
        bench.send(&start(1, "apn")).await;
        assert_eq!(bench.answer().await, 1);
        bench.counted(Count::Repeated, 1).await;
        assert_eq!(bench.counters.value(Count::Stored), 1);
        bench.batches.try_recv().unwrap_err();
    });
}

#[test]
fn what_is_not_stored_is_not_answered_and_may_come_again() {
    with_server(2, |mut bench, told| async move {
        told.refusals.store(1, Ordering::Relaxed);
        bench.send(&start(1, "apn")).await;
        bench.counted(Count::NotStored, 1).await;
        bench.send(&start(1, "apn")).await;
        assert_eq!(bench.answer().await, 1);
        assert_eq!(bench.counters.value(Count::Stored), 1);
        assert_eq!(bench.batches.recv().await, Some(1));
        assert_eq!(bench.batches.recv().await, Some(1));
    });
}

#[test]
fn what_is_not_for_us_is_dropped_and_counted() {
    with_server(1, |mut bench, _| async move {
        let mut access = start(1, "apn");
        access[0] = 1;
        bench.send(&access).await;
        bench.counted(Count::OtherCode, 1).await;
        bench.send(&start(1, "apn")[..30]).await;
        bench.send(b"").await;
        bench.counted(Count::Malformed, 2).await;
        bench
            .send(&request(1, &[40, 6, 0, 0, 0, 1], b"other"))
            .await;
        bench.counted(Count::WrongAuthenticator, 1).await;
        let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
        stranger
            .send_to(&start(1, "apn"), bench.server)
            .await
            .unwrap();
        bench.counted(Count::UnknownClient, 1).await;
        // B-ID-3: answered, and nothing is bound.
        bench.send(&start(2, "other")).await;
        assert_eq!(bench.answer().await, 2);
        bench.counted(Count::UnknownApn, 1).await;
        bench.send(&request(3, &[40, 6, 0, 0, 0, 15], SECRET)).await;
        assert_eq!(bench.answer().await, 3);
        bench.counted(Count::OtherStatus, 1).await;
        bench.batches.try_recv().unwrap_err();
        // It is as well as ever.
        bench.send(&start(4, "apn")).await;
        assert_eq!(bench.answer().await, 4);
    });
}

#[test]
fn what_comes_while_batches_are_stored_waits_and_goes_together() {
    with_server(0, |mut bench, told| async move {
        for identifier in 0..4 {
            bench.send(&start(identifier, "apn")).await;
            assert_eq!(bench.batches.recv().await, Some(1));
        }
        assert_eq!(RADIUS_BATCHES, 4);
        for identifier in 4..104 {
            bench.send(&start(identifier, "apn")).await;
        }
        bench.batches.try_recv().unwrap_err();
        told.permits.add_permits(1);
        assert_eq!(bench.batches.recv().await, Some(100));
        told.permits.add_permits(100);
        let mut answered = Vec::new();
        for _ in 0..104 {
            answered.push(bench.answer().await);
        }
        answered.sort_unstable();
        assert_eq!(answered, (0..104).collect::<Vec<u8>>());
    });
}
