//! Resolver: names to addresses, by the system's resolver on threads of its own, so that no shard ever
//! waits for it, and a name whose servers are dead holds up nobody else's. What is known of the names
//! stands in `names`.

mod names;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select, tick};
use futures_channel::oneshot;

use self::names::Names;
use crate::limits::{RESOLVER_ADDRESSES, RESOLVER_LOOK_MS, RESOLVER_QUEUE, RESOLVER_THREADS};
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

/// A host with the port that its addresses shall have.
type Name = (Arc<str>, u16);

/// The addresses of a name, in the system's order of preference, or why there are none.
pub type Answer = Result<Arc<[SocketAddr]>, Unresolved>;

struct Question {
    name: Name,
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
    /// Starts the threads, which ask the system. They end when the last handle is gone.
    ///
    /// # Errors
    /// When there are no threads left.
    pub fn start() -> io::Result<Self> {
        Self::start_with(look_up)
    }

    /// Starts the threads with another way to look up a host and port than the system's.
    ///
    /// # Errors
    /// When there are no threads left.
    pub fn start_with(
        look_up: impl Fn(&str, u16) -> Answer + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, queue) = bounded(RESOLVER_QUEUE);
        let (jobs, waiting_jobs) = bounded::<Name>(RESOLVER_QUEUE);
        let (done, results) = bounded(RESOLVER_QUEUE);
        for _ in 0..RESOLVER_THREADS {
            let (waiting_jobs, done) = (waiting_jobs.clone(), done.clone());
            let look_up = look_up.clone();
            spawn("look-up", move || {
                for (host, port) in waiting_jobs {
                    let answer = look_up(&host, port);
                    if done.send(((host, port), answer)).is_err() {
                        break;
                    }
                }
            })?;
        }
        spawn("resolver", move || answer_all(&queue, jobs, &results))?;
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
            name: (Arc::clone(host), port),
            reply,
        };
        self.questions
            .try_send(question)
            .map_err(|_| Unresolved::Busy)?;
        answer.await.unwrap_or(Err(Unresolved::Busy))
    }
}

/// Answers at once what is known; everything else goes to the look-up threads, each name once.
fn answer_all(questions: &Receiver<Question>, jobs: Sender<Name>, done: &Receiver<(Name, Answer)>) {
    let mut names = Names::new(jobs);
    let look = tick(Duration::from_millis(RESOLVER_LOOK_MS));
    loop {
        select! {
            recv(questions) -> question => match question {
                Ok(question) => names.ask(question, now_ms()),
                Err(_) => return,
            },
            recv(done) -> result => {
                let Ok((name, answer)) = result else { return };
                names.settle(name, answer, now_ms());
            }
            recv(look) -> _ => names.look(now_ms()),
        }
    }
}

fn look_up(host: &str, port: u16) -> Answer {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Arc<[SocketAddr]> = addresses.take(RESOLVER_ADDRESSES).collect();
            if addresses.is_empty() {
                return Err(Unresolved::Failed(Arc::from("no address")));
            }
            Ok(addresses)
        }
        Err(error) => Err(Unresolved::Failed(Arc::from(error.to_string()))),
    }
}
