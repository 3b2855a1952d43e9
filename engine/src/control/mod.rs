//! Control: the plane beside the data path: HTTP API, console, metrics, billing, and the sources of SIM sessions, on
//! a thread of its own. It reads counters and changes the fleet; it never touches a device's socket.
//!
//! ```text
//! request -> serve (TLS, connections) -> router (who asks) -> groups, credentials, sims, ... (what is asked)
//!         -> store (the registry's threads) -> change (the fleet that shards look up in)
//! ```

mod auth;
mod change;
mod credentials;
mod error;
mod extract;
mod groups;
mod limits;
mod lookup;
mod mask;
mod page;
mod router;
mod serve;
mod sessions;
mod sim_shape;
mod state;
mod store;
mod throttle;
mod tokens;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use self::state::State;
use self::store::Store;
use crate::config::{Config, RegistryConfig};
use crate::problem::Problem;
use crate::registry::{EmbeddedRegistry, SecretKey};
use crate::server::Server;
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
    Store(#[from] crate::registry::StoreError),
    /// Something else that the kernel refused.
    #[error("starting the control plane: {0}")]
    System(#[from] io::Error),
}

/// A running control plane.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the control plane asks of whoever runs the engine.
#[derive(Debug)]
pub enum Request {
    /// Read configuration and fleet anew, and say how many groups there are then, or what was refused.
    Reload(oneshot::Sender<Result<usize, Vec<Problem>>>),
    /// End sessions in order, then stop.
    Drain,
}

impl Control {
    /// Starts it where the configuration wants it; `None` where that turns it off.
    ///
    /// # Errors
    /// When an address, a certificate or the registry stands in the way.
    pub fn start(
        config: &Config,
        server: &Arc<Server>,
        requests: crossbeam_channel::Sender<Request>,
    ) -> Result<Option<Self>, ControlError> {
        let Some(address) = config.control.address else {
            return Ok(None);
        };
        let tls = serve::tls(&config.control).map_err(ControlError::Refused)?;
        let listener = std::net::TcpListener::bind(address)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .map_err(|error| ControlError::Listen { address, error })?;
        let address = listener.local_addr()?;
        let store = open_store(&config.registry)?;
        let state = State::new(config, Arc::clone(server), store, requests);
        let (stop, stopped) = oneshot::channel();
        let thread = spawn("control", move || serve::run(listener, tls, state, stopped))?;
        Ok(Some(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            drop(stop.send(()));
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The registry's threads and whose it is, where the registry is one that can be changed.
fn open_store(config: &RegistryConfig) -> Result<Option<(Store, String)>, ControlError> {
    let RegistryConfig::Embedded {
        path,
        secret_key_file,
    } = config
    else {
        return Ok(None);
    };
    let find = || SecretKey::find(secret_key_file.as_deref());
    let key = find().map_err(ControlError::Refused)?;
    let registry = EmbeddedRegistry::open(path, key)?;
    let operator_id =
        registry.change(|moment| moment.own_text("operator_id", state::new_operator_id))?;
    Ok(Some((Store::start(path, || find().ok())?, operator_id)))
}
