//! Places: how many connections there may be at once, and who leaves when a new one finds none: whoever has been there longest of those
//! on which nobody has signed in. So nobody keeps probes out by doing nothing.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Whether somebody has signed in on a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<AtomicBool>);

impl Known {
    /// Somebody has.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The connections that there are.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Those that came first are in front.
    taken: VecDeque<(AbortHandle, Known)>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            taken: VecDeque::with_capacity(count),
        }
    }

    /// A place for one more, which may take a while where everybody is known.
    pub(super) async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        self.taken.retain(|(task, _)| !task.is_finished());
        if self.free.available_permits() == 0 {
            let first = self.taken.iter().position(|(_, known)| !known.is_set());
            if let Some((task, _)) = first.and_then(|first| self.taken.remove(first)) {
                task.abort();
            }
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Has a connection served at its place.
    pub(super) fn take(
        &mut self,
        place: OwnedSemaphorePermit,
        known: Known,
        serve: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = tokio::spawn(async move {
            serve.await;
            drop(place);
        });
        self.taken.push_back((task.abort_handle(), known));
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    /// A connection that does nothing, and what tells of its end.
    fn connection() -> (oneshot::Receiver<()>, impl Future<Output = ()> + Send) {
        let (sender, ended) = oneshot::channel();
        let serve = async move {
            pending::<()>().await;
            drop(sender);
        };
        (ended, serve)
    }

    #[test]
    fn the_first_of_those_that_nobody_knows_makes_room() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut places = Places::new(3);
            let mut all = Vec::new();
            for number in 0..3 {
                let place = places.place().await.unwrap();
                let (ended, serve) = connection();
                let known = Known::default();
                places.take(place, known.clone(), serve);
                if number == 0 {
                    known.set();
                }
                all.push(ended);
            }
            let place = places.place().await.unwrap();
            (&mut all[1]).await.unwrap_err();
            for kept in [0, 2] {
                let kept = all[kept].try_recv().unwrap_err();
                assert_eq!(kept, oneshot::error::TryRecvError::Empty);
            }
            drop(place);
        });
    }
}
