//! Resolver: names to addresses, by the system's resolver on threads of its own, so that no shard ever
//! waits for it, and a name whose servers are dead holds up nobody else's. Answers are kept for a while,
//! failures briefly.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use ahash::RandomState;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use futures_channel::oneshot;
use hashbrown::HashMap;

use crate::limits::{RESOLVER_KEEP_MS, RESOLVER_NAMES, RESOLVER_QUEUE, RESOLVER_THREADS};
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
    /// Starts the threads. They end when the last handle is gone.
    ///
    /// # Errors
    /// When there are no threads left.
    pub fn start() -> io::Result<Self> {
        let (questions, queue) = bounded(RESOLVER_QUEUE);
        let (jobs, waiting_jobs) = bounded::<Name>(RESOLVER_QUEUE);
        let (done, results) = bounded(RESOLVER_QUEUE);
        for _ in 0..RESOLVER_THREADS {
            let (waiting_jobs, done) = (waiting_jobs.clone(), done.clone());
            spawn("look-up", move || {
                for (host, port) in waiting_jobs {
                    let answer = look_up(&host, port);
                    if done.send(((host, port), answer)).is_err() {
                        break;
                    }
                }
            })?;
        }
        spawn("resolver", move || answer_all(&queue, &jobs, &results))?;
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

/// What is known of a name.
#[derive(Default)]
struct Known {
    /// The last answer, and until when it counts, in milliseconds.
    answer: Option<(u64, Answer)>,
    /// Those who wait for the look-up that is under way.
    waiting: Vec<oneshot::Sender<Answer>>,
}

type Name = (Arc<str>, u16);

/// Answers at once what is known; everything else goes to the look-up threads, each name once.
fn answer_all(
    questions: &Receiver<Question>,
    jobs: &Sender<Name>,
    done: &Receiver<(Name, Answer)>,
) {
    let mut names: HashMap<Name, Known, RandomState> = HashMap::default();
    loop {
        select! {
            recv(questions) -> question => match question {
                Ok(question) => ask(&mut names, question, jobs),
                Err(_) => return,
            },
            recv(done) -> result => {
                let Ok((name, answer)) = result else { return };
                settle(names.entry(name).or_default(), answer);
            }
        }
    }
}

fn ask(names: &mut HashMap<Name, Known, RandomState>, question: Question, jobs: &Sender<Name>) {
    if names.len() >= RESOLVER_NAMES {
        names.retain(|_, known| !known.waiting.is_empty());
    }
    let name = (question.host, question.port);
    let known = names.entry(name.clone()).or_default();
    if let Some((until_ms, answer)) = &known.answer
        && *until_ms > now_ms()
    {
        // Whoever asked may be gone, here and below.
        drop(question.reply.send(answer.clone()));
        return;
    }
    let is_under_way = !known.waiting.is_empty();
    known.waiting.push(question.reply);
    if !is_under_way && jobs.try_send(name).is_err() {
        settle(known, Err(Unresolved::Busy));
    }
}

/// Keeps an answer and hands it to those who wait. A failure does not replace addresses that were
/// good once: the name's servers may be the ones that are gone.
fn settle(known: &mut Known, answer: Answer) {
    let (good_ms, bad_ms) = RESOLVER_KEEP_MS;
    let keep_ms = if answer.is_ok() { good_ms } else { bad_ms };
    let answer = match (answer, known.answer.take()) {
        (Err(_), Some((_, Ok(addresses)))) => Ok(addresses),
        (answer, _) => answer,
    };
    for reply in known.waiting.drain(..) {
        drop(reply.send(answer.clone()));
    }
    known.answer = Some((now_ms().saturating_add(keep_ms), answer));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(port: u16) -> Answer {
        Ok(Arc::from([SocketAddr::from(([127, 0, 0, 1], port))]))
    }

    #[test]
    fn a_name_is_looked_up_once_however_many_ask() {
        let (jobs, queue) = bounded(8);
        let mut names = HashMap::default();
        let mut ask_for = |host: &str| {
            let (reply, answer) = oneshot::channel();
            ask(
                &mut names,
                Question {
                    host: Arc::from(host),
                    port: 1883,
                    reply,
                },
                &jobs,
            );
            answer
        };
        let mut answers = [ask_for("a"), ask_for("a"), ask_for("b")];
        assert_eq!(queue.len(), 2);
        assert!(
            answers
                .iter_mut()
                .all(|answer| answer.try_recv().unwrap().is_none())
        );
        settle(
            names.get_mut(&(Arc::from("a"), 1883)).unwrap(),
            addresses(1),
        );
        for answer in &mut answers[..2] {
            assert_eq!(answer.try_recv().unwrap().unwrap().unwrap().len(), 1);
        }
        assert!(answers[2].try_recv().unwrap().is_none());
    }

    #[test]
    fn addresses_that_were_good_outlive_a_failure() {
        let mut known = Known::default();
        settle(&mut known, addresses(1));
        settle(&mut known, Err(Unresolved::Failed(Arc::from("gone"))));
        assert!(matches!(&known.answer, Some((_, Ok(found))) if found[0].port() == 1));
        settle(&mut known, addresses(2));
        assert!(matches!(&known.answer, Some((_, Ok(found))) if found[0].port() == 2));
    }
}
