//! Control: the plane beside the data path: HTTP API, console, metrics, billing, and the sources of SIM sessions, on
//! a thread of its own. It reads counters and changes the fleet; it never touches a device's socket.
//!
//! ```text
//! request -> serve (TLS, connections) -> router (who asks) -> groups, credentials, sims, ... (what is asked)
//!         -> store (the registry's threads) -> change (the fleet that shards look up in)
//! ```

mod auth;
mod background;
mod calendar;
mod change;
mod connections;
mod console;
mod credentials;
mod error;
mod events;
mod events_stream;
mod exports;
mod extract;
mod fleet;
mod forgetting;
mod groups;
mod ids;
mod limits;
mod listeners;
mod live;
mod lookup;
mod mask;
mod metrics;
mod node;
mod notes;
mod openapi;
mod page;
mod patient;
mod places;
mod query;
mod router;
mod serve;
mod sessions;
mod sim_shape;
mod sims;
mod state;
mod stats;
mod store;
mod tap;
mod throttle;
mod tokens;
mod unstored;
mod usage;

pub(crate) use self::mask::keep_object;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, bounded};
use tokio::sync::oneshot;
use tracing::{error, warn};

use self::state::State;
use self::store::Store;
use crate::config::{Config, RegistryConfig};
use crate::limits::SIM_EVENTS;
use crate::problem::Problem;
use crate::registry::{EmbeddedRegistry, Refusal as _, SecretKey, StoreError};
use crate::server::Server;
use crate::shard::report::{Audience, SimEvent, Usage};
use crate::sys::clock::unix_ms;
use crate::sys::thread::spawn;

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Its address cannot be listened on.
    #[error("control.address: cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// Its certificate or key cannot be used, or the registry's key is gone.
    #[error("{0}")]
    Refused(Problem),
    /// The registry cannot be opened.
    #[error("the registry: {0}")]
    Store(#[from] StoreError),
    /// Something else that the kernel refused.
    #[error("starting the control plane: {0}")]
    System(#[from] io::Error),
}

/// A running control plane.
pub struct Control {
    address: Option<SocketAddr>,
    state: Arc<State>,
    events: Receiver<SimEvent>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Control")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What the control plane asks of whoever runs the engine.
#[derive(Debug)]
pub enum Request {
    /// Read configuration and fleet anew, and say how many groups there are then, or what was refused.
    Reload(oneshot::Sender<Result<usize, Vec<Problem>>>),
    /// End sessions in order, then stop.
    Drain,
}

/// What the engine hears and is heard by while the control plane runs.
#[derive(Clone, Debug)]
pub struct Ends {
    /// What the plane asks.
    pub requests: crossbeam_channel::Sender<Request>,
    /// What shards tell of SIMs.
    pub events: Receiver<SimEvent>,
}

/// What shards have to tell where this configuration holds, and where it is heard.
#[must_use]
pub fn audience(config: &Config) -> (Audience, Receiver<SimEvent>) {
    let (sender, events) = bounded(SIM_EVENTS);
    let is_kept = matches!(config.registry, RegistryConfig::Embedded { .. });
    let audience = Audience {
        collects_usage: is_kept,
        events: is_kept.then_some(sender),
    };
    (audience, events)
}

impl Control {
    /// Starts what the configuration asks for: the API where it has an address, and what an embedded registry
    /// needs; `None` where that is nothing.
    ///
    /// # Errors
    /// When an address, a certificate or the registry stands in the way.
    pub fn start(
        config: &Config,
        server: &Arc<Server>,
        ends: Ends,
    ) -> Result<Option<Self>, ControlError> {
        let store = open_store(config)?;
        if store.is_none() && config.control.address.is_none() {
            return Ok(None);
        }
        let front = match config.control.address {
            Some(address) => listen(config, address)?,
            None => None,
        };
        let address = front.as_ref().and_then(|front| front.address().ok());
        let state = State::new(config, Arc::clone(server), store, ends.requests);
        let (stop, stopped) = oneshot::channel();
        let events = ends.events.clone();
        let (ready, is_ready) = bounded(1);
        let thread = spawn("control", {
            let state = Arc::clone(&state);
            move || serve::run(front, state, ends.events, &ready, stopped)
        })?;
        let control = Self {
            address,
            state,
            events,
            stop: Some(stop),
            thread: Some(thread),
        };
        // Where it ended at once, it has said why.
        is_ready.recv().unwrap_or(Ok(()))?;
        Ok(Some(control))
    }

    /// Follows a configuration that was read anew, as far as that takes no restart.
    pub fn follow(&self, config: &Config) {
        listeners::follow(&self.state.radius_listeners, &config.radius);
        if let Ok(store) = self.state.store() {
            let radius = config.radius.clone();
            // Nobody waits for it: whoever reloads may hold what a job before it waits for.
            store.write_later(move |registry| {
                if let Err(error) = listeners::settle(registry, &radius) {
                    error!(%error, "sessions do not follow the clients of RADIUS yet; they do at the next reload");
                }
            });
        }
        self.state.current.store(Arc::new(config.clone()));
    }

    /// Where the API is, if anywhere.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Ends it once the shards have ended, and stores what was billed and is not told yet (B-BILL-1), and how sessions
    /// have ended.
    pub fn finish(mut self, left: &[Usage]) {
        self.end();
        let state = Arc::clone(&self.state);
        let snapshot = state.server.snapshot();
        state.usage.with(|usage| usage.add(left, &snapshot.fleet));
        // What was told and not heard before the shards ended.
        while let Ok(share) = state.server.collect_usage().try_recv() {
            let add = |usage: &mut usage::Pending| usage.add(&share.usage, &snapshot.fleet);
            state.usage.with(add);
        }
        if let Ok(store) = self.state.store() {
            let events = self.events.clone();
            store.write_and_wait(move |registry| {
                if let Err(error) = state
                    .server
                    .exclusively(|| unstored::settle(registry, &state))
                {
                    let lost = state.unstored.with(|unstored| unstored.len());
                    error!(%error, lost, "what was not stored is lost with this process");
                }
                usage::store(registry, &state);
                while notes::store(registry, &state.notes, &events) {}
            });
        }
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where requests come in. What the configuration does not name must not keep the engine from starting.
fn listen(config: &Config, address: SocketAddr) -> Result<Option<serve::Front>, ControlError> {
    let tls = serve::tls(&config.control).map_err(ControlError::Refused)?;
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    match listener {
        Ok(listener) => Ok(Some(serve::Front { listener, tls })),
        Err(error) if !config.control.is_written => {
            warn!(%address, %error, "no API, console and metrics; control.address says where they shall be");
            Ok(None)
        }
        Err(error) => Err(ControlError::Listen { address, error }),
    }
}

/// The registry's threads and whose it is, where the registry is one that can be changed.
fn open_store(config: &Config) -> Result<Option<(Store, String)>, ControlError> {
    let RegistryConfig::Embedded {
        path,
        secret_key_file,
    } = &config.registry
    else {
        return Ok(None);
    };
    let find = || SecretKey::find(secret_key_file.as_deref());
    let key = find().map_err(ControlError::Refused)?;
    let registry = EmbeddedRegistry::open(path, key)?;
    let operator_id =
        registry.change(|moment| moment.own_text("operator_id", ids::new_operator_id))?;
    // On a full disk devices are served all the same (B-ID-6).
    or_later(listeners::settle(&registry, &config.radius))?;
    // Before anything is written that is of now.
    or_later(registry.change(|moment| moment.believe_clock(0, unix_ms()).map(drop)))?;
    if registry.read(|moment| moment.first_user())?.is_none() {
        warn!(
            "the registry has no user: `ringbeam user add` makes one, who may use API and console"
        );
    }
    Ok(Some((Store::start(path, || find().ok())?, operator_id)))
}

/// What can be written later, where nothing can be written now.
fn or_later(written: Result<(), StoreError>) -> Result<(), StoreError> {
    match written {
        Err(error) if error.unwritten().is_some() => {
            error!(%error, "the registry cannot be written");
            Ok(())
        }
        written => written,
    }
}
