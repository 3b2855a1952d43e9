//! Store: the registry's own threads. Whoever waits for the disk is never the control loop: jobs go into bounded
//! queues, one thread writes and one reads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;
use tracing::error;

use super::error::ApiError;
use super::limits::STORE_JOBS;
use crate::registry::{EmbeddedRegistry, SecretKey, StoreError};
use crate::sys::thread::spawn;

/// Something to be done with the registry.
type Job = Box<dyn FnOnce(&EmbeddedRegistry) + Send>;

/// Sends jobs to both threads.
#[derive(Clone, Debug)]
pub(super) struct Store {
    writer: Sender<Job>,
    reader: Sender<Job>,
}

impl Store {
    /// Starts both threads on a registry that is there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn start(
        path: &Path,
        key: impl Fn() -> Option<SecretKey>,
    ) -> Result<Self, StoreError> {
        let open = |name: &str| -> Result<Sender<Job>, StoreError> {
            let key = key().ok_or(StoreError::WrongKey)?;
            let registry = EmbeddedRegistry::open(path, key)?;
            let (sender, jobs) = bounded(STORE_JOBS);
            spawn(name, move || work(&registry, &jobs))?;
            Ok(sender)
        };
        Ok(Self {
            writer: open("store-writer")?,
            reader: open("store-reader")?,
        })
    }

    /// Has something changed, and waits for it. Changes happen one after another.
    ///
    /// # Errors
    /// When too much is waiting, or it panicked.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&EmbeddedRegistry) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        run(&self.writer, act).await
    }

    /// Has something read, and waits for it.
    ///
    /// # Errors
    /// When too much is waiting, or it panicked.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&EmbeddedRegistry) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        run(&self.reader, act).await
    }
}

impl Store {
    /// The same for whoever is no task, and may wait.
    pub(super) fn write_and_wait(&self, act: impl FnOnce(&EmbeddedRegistry) + Send + 'static) {
        let (reply, answer) = bounded(1);
        let job: Job = Box::new(move |registry| {
            act(registry);
            let _ = reply.send(());
        });
        if self.writer.send(job).is_ok() {
            // It ends with the job, or with the thread.
            let _ = answer.recv();
        }
    }
}

impl Store {
    /// The same for whoever must not wait; lost where too much is waiting.
    pub(super) fn write_later(&self, act: impl FnOnce(&EmbeddedRegistry) + Send + 'static) {
        let job: Job = Box::new(act);
        if self.writer.try_send(job).is_err() {
            error!("too much waits for the registry; a job is left out");
        }
    }
}

async fn run<T: Send + 'static>(
    jobs: &Sender<Job>,
    act: impl FnOnce(&EmbeddedRegistry) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move |registry| {
        // Whoever asked may be gone.
        drop(reply.send(act(registry)));
    });
    jobs.try_send(job).map_err(|_| ApiError::busy())?;
    answer.await.map_err(|_| ApiError::internal())
}

fn work(registry: &EmbeddedRegistry, jobs: &Receiver<Job>) {
    for job in jobs {
        // Its transaction is undone, and whoever waits for it is told.
        if catch_unwind(AssertUnwindSafe(|| job(registry))).is_err() {
            error!("a job of the registry panicked");
        }
    }
}
