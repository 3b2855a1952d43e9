//! State: what every request may need.

use std::sync::{Arc, PoisonError};

use tokio::sync::Semaphore;

use super::Request;
use super::error::ApiError;
use super::limits::PASSWORDS_AT_ONCE;
use super::store::Store;
use super::throttle::Throttle;
use super::tokens::Tokens;
use crate::config::Config;
use crate::registry::{StoreError, random};
use crate::server::Server;
use crate::sys::clock::unix_ms;

/// Digits of an operator's id.
const OPERATOR_DIGITS: usize = 10;

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
    pub(super) config: Config,
    pub(super) server: Arc<Server>,
    /// Where the registry can be changed.
    store: Option<Store>,
    pub(super) requests: crossbeam_channel::Sender<Request>,
    pub(super) tokens: Shared<Tokens>,
    pub(super) throttle: Shared<Throttle>,
    /// One is held while a password is verified.
    pub(super) passwords: Arc<Semaphore>,
    /// Whom objects belong to: one operator for each installation.
    pub(super) operator_id: String,
    pub(super) started_ms: i64,
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
            server,
            store,
            requests,
            tokens: Shared::default(),
            throttle: Shared::default(),
            passwords: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
            operator_id: operator_id.unwrap_or_default(),
            started_ms: unix_ms(),
        })
    }

    /// The registry's threads.
    ///
    /// # Errors
    /// Where the fleet is a document that others write.
    pub(super) fn store(&self) -> Result<&Store, ApiError> {
        self.store.as_ref().ok_or_else(ApiError::needs_embedded)
    }

    /// The same, where there being none is no fault.
    pub(super) const fn store_if_any(&self) -> Option<&Store> {
        self.store.as_ref()
    }
}

/// A new operator's id, in the vendor's form.
///
/// # Errors
/// When the system has no random numbers.
pub(super) fn new_operator_id() -> Result<String, StoreError> {
    let text = random::<16>()?;
    let digits = text.bytes().map(|byte| char::from(b'0' + byte % 10));
    Ok(format!(
        "OP{}",
        digits.take(OPERATOR_DIGITS).collect::<String>()
    ))
}
