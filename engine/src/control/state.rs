//! State: what every request may need.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Request;
use super::change::Act;
use super::error::ApiError;
use super::exports::Exports;
use super::limits::{PASSWORDS_AT_ONCE, REPORT_PATIENCE, STREAMS};
use super::listeners::RadiusListener;
use super::notes::Notes;
use super::store::Store;
use super::throttle::Throttle;
use super::tokens::Tokens;
use super::unstored::{Unstored, settle};
use super::usage::{self, Pending};
use crate::config::Config;
use crate::radius::Counters;
use crate::registry::{EmbeddedRegistry, Unwritten};
use crate::server::Server;
use crate::shard::counters::Totals;
use crate::sys::clock::unix_ms;

/// Something that requests change in turns, each for no longer than a look at a table.
#[derive(Debug, Default)]
#[expect(
    clippy::disallowed_types,
    reason = "the control plane's own; no shard ever takes it"
)]
pub(super) struct Shared<T>(std::sync::Mutex<T>);

impl<T> Shared<T> {
    /// Changes it.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        // A table that a panic left behind is still a table.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What every request may need.
pub(super) struct State {
    /// As the engine was started.
    pub(super) config: Config,
    /// As it was read last.
    pub(super) current: ArcSwap<Config>,
    pub(super) server: Arc<Server>,
    /// Where the registry can be changed.
    store: Option<Store>,
    pub(super) requests: crossbeam_channel::Sender<Request>,
    pub(super) tokens: Shared<Tokens>,
    pub(super) throttle: Shared<Throttle>,
    /// One is held while a password is verified.
    pub(super) passwords: Arc<Semaphore>,
    /// One is held while somebody listens to what goes on for long.
    pub(super) streams: Arc<Semaphore>,
    /// Whom objects belong to: one operator for each installation.
    pub(super) operator_id: String,
    pub(super) started_ms: i64,
    /// What is billed and not stored yet.
    pub(super) usage: Shared<Pending>,
    /// What happened to SIMs' connections and is not stored yet.
    pub(super) notes: Shared<Notes>,
    pub(super) exports: Shared<Exports>,
    /// What cannot be stored yet.
    pub(super) unstored: Shared<Unstored>,
    /// What became of RADIUS datagrams.
    pub(super) radius: Arc<Counters>,
    pub(super) radius_listeners: Vec<RadiusListener>,
    /// Entries of Open5GS' lists that could not be read.
    pub(super) open5gs_odd: AtomicU64,
}

impl State {
    pub(super) fn new(
        config: &Config,
        server: Arc<Server>,
        store: Option<(Store, String)>,
        requests: crossbeam_channel::Sender<Request>,
    ) -> Arc<Self> {
        let (store, operator_id) = store.unzip();
        Arc::new(Self {
            config: config.clone(),
            current: ArcSwap::from_pointee(config.clone()),
            server,
            store,
            requests,
            tokens: Shared::default(),
            throttle: Shared::default(),
            passwords: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
            streams: Arc::new(Semaphore::new(STREAMS)),
            operator_id: operator_id.unwrap_or_default(),
            started_ms: unix_ms(),
            usage: Shared::default(),
            notes: Shared::default(),
            exports: Shared::default(),
            unstored: Shared::default(),
            radius: Arc::default(),
            radius_listeners: RadiusListener::all(&config.radius),
            open5gs_odd: AtomicU64::new(0),
        })
    }

    /// The registry's threads.
    ///
    /// # Errors
    /// Where the fleet is a document that others write.
    pub(super) fn store(&self) -> Result<&Store, ApiError> {
        self.store.as_ref().ok_or_else(ApiError::needs_embedded)
    }

    /// A place for somebody who listens for long.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| ApiError::busy())
    }

    /// The figures of all shards, front and relay each.
    ///
    /// # Errors
    /// When this cannot wait for them.
    pub(super) async fn reports(&self) -> Result<Vec<(usize, Totals)>, ApiError> {
        let server = Arc::clone(&self.server);
        let gathered = tokio::task::spawn_blocking(move || {
            let answers = server.reports();
            let expected = server.shards().saturating_mul(2);
            let mut reports = Vec::with_capacity(expected);
            // A shard that has ended, or is stuck, has none.
            while reports.len() < expected
                && let Ok(report) = answers.recv_timeout(REPORT_PATIENCE)
            {
                reports.push(report);
            }
            reports
        });
        gathered.await.map_err(|_| ApiError::internal())
    }

    /// Has what is billed up to now stored before it is read.
    pub(super) async fn collect_usage(self: &Arc<Self>) {
        let state = Arc::clone(self);
        if let Some(store) = &self.store {
            let collected = store.write(move |registry| usage::collect(registry, &state));
            // Otherwise it is stored a few seconds later.
            drop(collected.await);
        }
    }

    /// Notes what somebody did that changes nothing in the registry: now, or as soon as that can be done.
    ///
    /// # Errors
    /// Where the fleet is a document that others write.
    pub(super) async fn note(self: &Arc<Self>, act: Act) -> Result<(), ApiError> {
        let store = self.store()?;
        self.unstored.with(|unstored| unstored.note(act, unix_ms()));
        self.settle(store).await;
        Ok(())
    }

    /// Tries to store what could not be stored.
    pub(super) async fn settle(self: &Arc<Self>, store: &Store) {
        let state = Arc::clone(self);
        let settle = move |registry: &EmbeddedRegistry| {
            // What fails is tried again.
            drop(state.server.exclusively(|| settle(registry, &state)));
        };
        drop(store.write(settle).await);
    }

    /// Why the last attempt to write to the registry failed, if it did.
    pub(super) fn unwritten(&self) -> Option<Unwritten> {
        self.store.as_ref().and_then(Store::unwritten)
    }
}
