//! Resolver: names to addresses, by the system's resolver on a thread of its own, so that no shard ever
//! waits for it. Answers are kept for a while, failures briefly.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use ahash::RandomState;
use crossbeam_channel::{Receiver, Sender, bounded};
use futures_channel::oneshot;
use hashbrown::HashMap;

use crate::limits::{RESOLVER_KEEP_MS, RESOLVER_NAMES, RESOLVER_QUEUE};
use crate::sys::clock::now_ms;
use crate::sys::thread::spawn;

/// Why a name has no address.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unresolved {
    /// The system's resolver says so.
    #[error("the name does not resolve: {0}")]
    Failed(Arc<str>),
    /// Too many look-ups wait.
    #[error("too many name look-ups are waiting")]
    Busy,
}

type Answer = Result<Arc<[SocketAddr]>, Unresolved>;

struct Question {
    host: Arc<str>,
    port: u16,
    reply: oneshot::Sender<Answer>,
}

/// Asks the resolver's thread. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    questions: Sender<Question>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Resolver")
            .field("waiting", &self.questions.len())
            .finish()
    }
}

impl Resolver {
    /// Starts the thread. It ends when the last handle is gone.
    ///
    /// # Errors
    /// When there is no thread left.
    pub fn start() -> io::Result<Self> {
        let (questions, queue) = bounded(RESOLVER_QUEUE);
        spawn("resolver", move || answer_all(&queue))?;
        Ok(Self { questions })
    }

    /// The addresses of a host, in the system's order of preference. An address needs no look-up.
    ///
    /// # Errors
    /// When it has none.
    pub async fn resolve(&self, host: &Arc<str>, port: u16) -> Answer {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::from([SocketAddr::new(address, port)]));
        }
        let (reply, answer) = oneshot::channel();
        let question = Question {
            host: Arc::clone(host),
            port,
            reply,
        };
        self.questions
            .try_send(question)
            .map_err(|_| Unresolved::Busy)?;
        answer.await.unwrap_or(Err(Unresolved::Busy))
    }
}

fn answer_all(queue: &Receiver<Question>) {
    let mut kept: HashMap<(Arc<str>, u16), (u64, Answer), RandomState> = HashMap::default();
    for Question { host, port, reply } in queue {
        if reply.is_canceled() {
            continue;
        }
        let now = now_ms();
        let key = (host, port);
        let fresh = kept
            .get(&key)
            .filter(|(until_ms, _)| *until_ms > now)
            .map(|(_, answer)| answer.clone());
        let answer = fresh.unwrap_or_else(|| {
            let answer = look_up(&key.0, key.1);
            let (good_ms, bad_ms) = RESOLVER_KEEP_MS;
            let keep_ms = if answer.is_ok() { good_ms } else { bad_ms };
            if kept.len() >= RESOLVER_NAMES {
                kept.clear();
            }
            kept.insert(key, (now.saturating_add(keep_ms), answer.clone()));
            answer
        });
        // Whoever asked may be gone.
        drop(reply.send(answer));
    }
}

fn look_up(host: &str, port: u16) -> Answer {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Arc<[SocketAddr]> = addresses.collect();
            if addresses.is_empty() {
                return Err(Unresolved::Failed(Arc::from("no address")));
            }
            Ok(addresses)
        }
        Err(error) => Err(Unresolved::Failed(Arc::from(error.to_string()))),
    }
}
