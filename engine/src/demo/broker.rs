//! A real MQTT broker inside the process, for `ringbeam demo` and the tests.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use rmqtt::context::ServerContext;
use rmqtt::net::{Builder, Listener};
use rmqtt::retain::{DefaultRetainStorage, RetainStorage};
use rmqtt::server::MqttServer;
use rmqtt::types::{Retain, TopicFilter, TopicName};
use tokio::sync::oneshot;

/// The largest remaining length an MQTT packet can have.
const MAX_PACKET: u32 = 268_435_455;
/// Connections the kernel holds until the broker takes them.
const BACKLOG: i32 = 4096;
/// QoS 1 and 2 messages under way on one connection: all the packet ids there are.
const MAX_INFLIGHT: NonZeroU16 = NonZeroU16::MAX;
/// Messages waiting for one client before the broker drops some.
const MAX_QUEUED: usize = 100_000;
/// MQTT 5 topic aliases per direction.
const MAX_ALIASES: u16 = 16;
/// How long one packet may take to reach a slow client.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a session and the messages waiting in it outlive the connection.
const OFFLINE: Duration = Duration::from_secs(2 * 60 * 60);

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address would have opened the broker, which asks no password, to a network.
    #[error("the demo broker listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is in use or cannot be listened on.
    #[error("the demo broker cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The broker's thread or its runtime could not be made.
    #[error("the demo broker's thread could not be started")]
    Thread(#[source] io::Error),
    /// The broker's thread ended before it listened.
    #[error("the demo broker stopped while it started")]
    Stopped,
}

/// A real broker on a loopback port, on a thread of its own.
///
/// It takes MQTT 3.1, 3.1.1 and 5, every QoS, wills, retained messages and any or no password, and
/// keeps everything in memory. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker on `address`, where port 0 means any free port.
    ///
    /// It accepts connections once this returns.
    pub fn start(address: SocketAddr) -> Result<Self, BrokerError> {
        if !address.ip().is_loopback() {
            return Err(BrokerError::NotLoopback(address));
        }
        let (ready, started) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("demo-broker".to_owned())
            .spawn(move || run(address, &ready, stopped))
            .map_err(BrokerError::Thread)?;
        let address = started.recv().map_err(|_| BrokerError::Stopped)??;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where the broker listens, with the port it really got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!(address = %self.address, "the demo broker's thread panicked");
        }
    }
}

type Started = mpsc::SyncSender<Result<SocketAddr, BrokerError>>;

/// The broker's thread: reports how the start went, then serves until `stopped` resolves.
fn run(address: SocketAddr, ready: &Started, stopped: oneshot::Receiver<()>) {
    let started = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BrokerError::Thread)
        .and_then(|runtime| {
            let address = runtime.block_on(serve(address))?;
            Ok((runtime, address))
        });
    let (report, runtime) = match started {
        Ok((runtime, address)) => (Ok(address), Some(runtime)),
        Err(error) => (Err(error), None),
    };
    if ready.send(report).is_ok()
        && let Some(runtime) = runtime
    {
        // An error only says that the other half is gone, which asks for the same.
        drop(runtime.block_on(stopped));
        // Dropping the runtime here ends the broker's tasks, and with them its sockets.
    }
}

/// Listens on `address` and leaves the broker running on the current runtime.
async fn serve(address: SocketAddr) -> Result<SocketAddr, BrokerError> {
    let failed = |error: rmqtt::Error| BrokerError::Listen {
        address,
        source: error.downcast().unwrap_or_else(io::Error::other),
    };
    let listener = listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let context = ServerContext::new().busy_check_enable(false).build().await;
    *context.extends.retain_mut().await = Box::new(Retained(DefaultRetainStorage::new()));
    // The id keeps apart the listeners of one server, and this one has no other.
    let server = MqttServer::new(context).listener_by_id(listener, 1).build();
    tokio::spawn(server.run());
    Ok(bound)
}

fn listen(address: SocketAddr) -> rmqtt::Result<Listener> {
    Builder::new()
        .name("demo")
        .laddr(address)
        .backlog(BACKLOG)
        .reuseaddr(Some(true))
        .nodelay(true)
        .allow_anonymous(true)
        .allow_zero_keepalive(true)
        .max_keepalive(u16::MAX)
        .max_packet_size(MAX_PACKET)
        .max_inflight(MAX_INFLIGHT)
        .max_mqueue_len(MAX_QUEUED)
        .max_topic_aliases(MAX_ALIASES)
        .send_timeout(SEND_TIMEOUT)
        .session_expiry_interval(OFFLINE)
        .message_expiry_interval(OFFLINE)
        // MQTT 5 forbids sending again while the connection lives; zero turns that off.
        .message_retry_interval(Duration::ZERO)
        .bind()?
        .tcp()
}

/// Retained messages in memory: rmqtt has the store, but its own glue to it drops every message.
struct Retained(DefaultRetainStorage);

#[async_trait]
impl RetainStorage for Retained {
    fn enable(&self) -> bool {
        true
    }

    /// Ignores `_queued`, which is how long a message waits in a session: a retained message stays
    /// until its publisher's own expiry, if it named one.
    async fn set(
        &self,
        topic: &TopicName,
        retain: Retain,
        _queued: Option<Duration>,
    ) -> rmqtt::Result<()> {
        let properties = retain.publish.properties.as_ref();
        let expiry = properties
            .and_then(|properties| properties.message_expiry_interval)
            .map(|seconds| Duration::from_secs(seconds.get().into()));
        self.0.set_with_timeout(topic, retain, expiry).await
    }

    async fn get(&self, filter: &TopicFilter) -> rmqtt::Result<Vec<(TopicName, Retain)>> {
        self.0.get_message(filter).await
    }

    async fn count(&self) -> isize {
        self.0.count().await
    }

    async fn max(&self) -> isize {
        self.0.max().await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn accepts_a_client_refuses_a_taken_port_and_stops() {
        let broker = Broker::start((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = broker.address();
        assert_ne!(address.port(), 0);

        let mut client = TcpStream::connect(address).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client
            .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x04\xb0\x00\x01c")
            .unwrap();
        let mut connack = [0; 4];
        client.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);

        let taken = Broker::start(address);
        assert!(matches!(taken, Err(BrokerError::Listen { source, .. })
            if source.kind() == io::ErrorKind::AddrInUse));

        drop(broker);
        assert!(matches!(client.read(&mut connack), Ok(0) | Err(_)));
        TcpStream::connect(address).unwrap_err();
    }
}
