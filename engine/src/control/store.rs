//! Store: the registry's own threads. Whoever waits for the disk is never the control loop: jobs go into bounded
//! queues, one thread writes and one reads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::error::ApiError;
use super::limits::{STORE_JOBS, WRITE_WAIT, WRITE_WAIT_FAILING};
use super::state::Shared;
use crate::registry::{EmbeddedRegistry, SecretKey, StoreError, Unwritten};
use crate::sys::thread::spawn;

/// Something to be done with the registry.
type Job = Box<dyn FnOnce(&EmbeddedRegistry) + Send>;

/// Sends jobs to both threads.
#[derive(Clone, Debug)]
pub(super) struct Store {
    writer: Sender<Job>,
    reader: Sender<Job>,
    /// Why the last attempt to write failed, if it did.
    unwritten: Arc<Shared<Option<Unwritten>>>,
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
        let unwritten: Arc<Shared<Option<Unwritten>>> = Arc::default();
        let open =
            |name: &str, told: Arc<Shared<Option<Unwritten>>>| -> Result<Sender<Job>, StoreError> {
                let key = key().ok_or(StoreError::WrongKey)?;
                let registry = EmbeddedRegistry::open(path, key)?;
                let (sender, jobs) = bounded(STORE_JOBS);
                spawn(name, move || work(&registry, &jobs, &told))?;
                Ok(sender)
            };
        Ok(Self {
            writer: open("store-writer", Arc::clone(&unwritten))?,
            // It writes nothing, and has nothing to tell.
            reader: open("store-reader", Arc::default())?,
            unwritten,
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

    /// Why the last attempt to write failed, if it did.
    pub(super) fn unwritten(&self) -> Option<Unwritten> {
        self.unwritten.with(|unwritten| *unwritten)
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

fn work(registry: &EmbeddedRegistry, jobs: &Receiver<Job>, told: &Shared<Option<Unwritten>>) {
    for job in jobs {
        let patience = if registry.unwritten().is_some() {
            WRITE_WAIT_FAILING
        } else {
            WRITE_WAIT
        };
        if let Err(error) = registry.set_patience(patience) {
            error!(%error, "how long it waits for others stays as it was");
        }
        // Its transaction is undone, and whoever waits for it is told.
        if catch_unwind(AssertUnwindSafe(|| job(registry))).is_err() {
            error!("a job of the registry panicked");
        }
        tell(told, registry.unwritten());
    }
}

/// Says once that writing fails, and once that it does not any more.
fn tell(told: &Shared<Option<Unwritten>>, unwritten: Option<Unwritten>) {
    match (
        told.with(|told| std::mem::replace(told, unwritten)),
        unwritten,
    ) {
        (None, Some(why)) => error!(%why, "the registry cannot be written"),
        (Some(_), None) => info!("the registry can be written again"),
        _ => {}
    }
}
