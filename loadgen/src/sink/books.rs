//! Books: the runs that a sink has seen, and who waits for their messages to arrive.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use atomic_waker::AtomicWaker;
use crossbeam_channel::Sender;

use crate::shared::Shared;
use crate::verify::{Book, Handshakes, Rules, Unattributed};

/// Runs whose books are kept; the one that was not heard of for longest makes room.
const RUNS_MAX: usize = 64;

/// All runs.
#[derive(Debug)]
pub struct Books {
    /// Those that were heard of last stand last.
    runs: Shared<Vec<Arc<Book>>>,
    pages: usize,
    rules: Rules,
    feedback: Option<Feedback>,
    /// Where the ends of a flood's connections go.
    drain: Option<Sender<OwnedFd>>,
    unrecognised: AtomicU64,
    malformed: AtomicU64,
    full_handshakes: AtomicU64,
    resumed_handshakes: AtomicU64,
    sessions: AtomicI64,
}

/// Tells the threads of a generator in the same process which of their messages have arrived.
#[derive(Debug)]
pub struct Feedback {
    /// The run that it is about.
    pub run: u32,
    /// By thread; device `n` is on thread `n % owners`.
    pub owners: Vec<(Sender<u32>, Arc<AtomicWaker>)>,
}

impl Books {
    /// For a number of threads; messages that take longer than `stalled_after_ns` count as stalled.
    #[must_use]
    pub fn new(pages: usize, stalled_after_ns: u64, feedback: Option<Feedback>) -> Self {
        Self {
            runs: Shared::default(),
            pages,
            rules: Rules {
                stalled_after_ns,
                has_order: true,
            },
            feedback,
            drain: None,
            unrecognised: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            full_handshakes: AtomicU64::new(0),
            resumed_handshakes: AtomicU64::new(0),
            sessions: AtomicI64::new(0),
        }
    }

    /// With somebody who takes the ends of a flood's connections.
    #[must_use]
    pub fn with_drain(self, drain: Sender<OwnedFd>) -> Self {
        Self {
            drain: Some(drain),
            ..self
        }
    }

    /// Who takes the ends of a flood's connections, if anybody does.
    pub(super) fn drain(&self) -> Option<&Sender<OwnedFd>> {
        self.drain.as_ref()
    }

    /// The book of a run, begun if there is none.
    #[must_use]
    pub fn of(&self, run: u32) -> Arc<Book> {
        self.runs.with(|runs| {
            let place = runs.iter().position(|book| book.run() == run);
            let book = match place {
                Some(place) => runs.remove(place),
                None => Arc::new(Book::new(run, self.pages, self.rules)),
            };
            if runs.len() >= RUNS_MAX {
                runs.remove(0);
            }
            runs.push(Arc::clone(&book));
            book
        })
    }

    /// The book of a run that has been seen.
    #[must_use]
    pub fn find(&self, run: u32) -> Option<Arc<Book>> {
        let same = |book: &&Arc<Book>| book.run() == run;
        self.runs.with(|runs| runs.iter().find(same).cloned())
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Book>> {
        self.runs.with(|runs| runs.clone())
    }

    /// What cannot be told to belong to any run.
    #[must_use]
    pub fn unattributed(&self) -> Unattributed {
        Unattributed {
            unrecognised: self.unrecognised.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
        }
    }

    /// TLS handshakes so far.
    #[must_use]
    pub fn handshakes(&self) -> Handshakes {
        Handshakes {
            full: self.full_handshakes.load(Ordering::Relaxed),
            resumed: self.resumed_handshakes.load(Ordering::Relaxed),
        }
    }

    /// Sessions that are open.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        u64::try_from(self.sessions.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// Tells the publisher of a message that it has arrived.
    pub(super) fn credit(&self, run: u32, device: u32) {
        let Some(feedback) = self.feedback.as_ref().filter(|found| found.run == run) else {
            return;
        };
        let index = usize::try_from(device).unwrap_or_default() % feedback.owners.len().max(1);
        if let Some((sender, waker)) = feedback.owners.get(index)
            && sender.send(device).is_ok()
        {
            waker.wake();
        }
    }

    pub(super) fn unrecognised(&self) {
        self.unrecognised.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shaken_hands(&self, is_resumed: bool) {
        let handshakes = if is_resumed {
            &self.resumed_handshakes
        } else {
            &self.full_handshakes
        };
        handshakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session in with 1, and out with -1.
    pub(super) fn count_session(&self, change: i64) {
        self.sessions.fetch_add(change, Ordering::Relaxed);
    }
}
