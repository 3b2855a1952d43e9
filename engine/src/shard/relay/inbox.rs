//! Inbox: what other threads tell a relay. A queue and a call that wakes it, made only when the relay has said
//! that it is about to sleep; no call is lost between the two, whichever comes first.
//!
//! ```text
//! sender: push, then call if `wants_call` was set        relay: set `wants_call`, then take everything, then sleep
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use super::lag::Lag;

/// A flag that two threads share.
pub(super) trait Flag {
    /// Sets it: by an exchange, so that all changes of it are in one order.
    fn set(&self);
    /// Clears it, and says whether it was set.
    fn take(&self) -> bool;
}

/// Something that one thread at a time changes.
pub(super) trait Locked<T> {
    /// Changes it.
    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R;
}

/// A queue of messages for one thread.
#[derive(Debug)]
pub(super) struct Inbox<Q, F> {
    queue: Q,
    wants_call: F,
    /// How long messages wait.
    pub(super) lag: Lag,
}

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full<T>(pub(super) T);

impl<Q, F: Flag> Inbox<Q, F> {
    pub(super) fn new(queue: Q, wants_call: F) -> Self {
        Self {
            queue,
            wants_call,
            lag: Lag::default(),
        }
    }

    /// Appends a message, unless there are `max` already. True when the thread has to be called.
    pub(super) fn push<T>(&self, message: T, max: usize) -> Result<bool, Full<T>>
    where
        Q: Locked<VecDeque<T>>,
    {
        self.queue.with(|queue| {
            if queue.len() >= max {
                return Err(Full(message));
            }
            queue.push_back(message);
            Ok(())
        })?;
        Ok(self.wants_call.take())
    }

    /// Takes everything that is there. Whatever comes later calls.
    pub(super) fn take<T>(&self, messages: &mut VecDeque<T>)
    where
        Q: Locked<VecDeque<T>>,
    {
        self.wants_call.set();
        self.queue.with(|queue| messages.append(queue));
    }
}

/// The flag and the lock of the standard library.
pub(super) mod std_parts {
    use std::sync::PoisonError;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{Flag, Locked};

    #[derive(Debug, Default)]
    pub(in crate::shard::relay) struct StdFlag(AtomicBool);

    impl Flag for StdFlag {
        fn set(&self) {
            self.0.swap(true, Ordering::AcqRel);
        }

        fn take(&self) -> bool {
            self.0.swap(false, Ordering::AcqRel)
        }
    }

    #[derive(Debug, Default)]
    #[expect(
        clippy::disallowed_types,
        reason = "taken once per session and round, for as long as moving a pointer takes"
    )]
    pub(in crate::shard::relay) struct StdLocked<T>(std::sync::Mutex<T>);

    impl<T> Locked<T> for StdLocked<T> {
        fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
            // Nothing that is done under it can panic half-way.
            change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

/// An inbox as the engine has it.
pub(super) type SharedInbox<T> = Arc<Inbox<std_parts::StdLocked<VecDeque<T>>, std_parts::StdFlag>>;

/// A new one.
pub(super) fn shared<T>() -> SharedInbox<T> {
    Arc::new(Inbox::new(
        std_parts::StdLocked::default(),
        std_parts::StdFlag::default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::sync::atomic::{AtomicBool, Ordering};

    struct LoomFlag(AtomicBool);

    impl Flag for LoomFlag {
        fn set(&self) {
            self.0.swap(true, Ordering::AcqRel);
        }

        fn take(&self) -> bool {
            self.0.swap(false, Ordering::AcqRel)
        }
    }

    struct LoomLocked<T>(loom::sync::Mutex<T>);

    impl<T> Locked<T> for LoomLocked<T> {
        fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
            change(&mut self.0.lock().unwrap())
        }
    }

    /// Two senders and a relay that sleeps until it is called, in every order that there is: each message
    /// arrives. If a call could be lost, some order would never end, which the checker reports.
    #[test]
    fn no_order_of_events_loses_a_call() {
        let mut model = loom::model::Builder::new();
        // Enough for every order that matters; without it the search takes half a minute.
        model.preemption_bound = Some(3);
        model.check(|| {
            type Queue = LoomLocked<VecDeque<u32>>;
            let inbox = loom::sync::Arc::new(Inbox::<Queue, _>::new(
                LoomLocked(loom::sync::Mutex::new(VecDeque::new())),
                LoomFlag(AtomicBool::new(false)),
            ));
            // The ring's wake-up: a call that comes before the sleep ends it at once.
            let call = loom::sync::Arc::new(loom::sync::Notify::new());
            let senders = [1, 2].map(|message| {
                let (inbox, call) = (inbox.clone(), call.clone());
                loom::thread::spawn(move || {
                    if inbox.push(message, 8).unwrap() {
                        call.notify();
                    }
                })
            });
            let mut received = VecDeque::new();
            loop {
                inbox.take(&mut received);
                if received.len() == 2 {
                    break;
                }
                call.wait();
            }
            for sender in senders {
                sender.join().unwrap();
            }
        });
    }

    #[test]
    fn a_full_queue_gives_the_message_back() {
        let inbox = shared();
        assert!(!inbox.push(1, 2).unwrap(), "nobody sleeps yet");
        inbox.push(2, 2).unwrap();
        assert!(matches!(inbox.push(3, 2), Err(Full(3))));
        let mut received = VecDeque::new();
        inbox.take(&mut received);
        assert_eq!(received, [1, 2]);
        assert!(inbox.push(4, 2).unwrap(), "it may be asleep");
        assert!(!inbox.push(5, 2).unwrap(), "one call is enough");
    }
}
