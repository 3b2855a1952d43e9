//! Listeners: where packet cores tell of sessions by RADIUS, and who may tell what there. Clients, secrets and networks
//! follow a reload; an address that is new or gone takes effect at the next start.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::RadiusConfig;
use crate::radius::Settings;
use crate::registry::{EmbeddedRegistry, StoreError};
use crate::sys::clock::unix_ms;

/// One address that is listened on.
pub(super) struct RadiusListener {
    /// As the configuration has it.
    pub(super) address: SocketAddr,
    /// What holds for the next datagram.
    pub(super) settings: Arc<ArcSwap<Settings>>,
}

impl RadiusListener {
    /// Those of a configuration.
    pub(super) fn all(configs: &[RadiusConfig]) -> Vec<Self> {
        let listener = |config: &RadiusConfig| Self {
            address: config.address,
            settings: Arc::new(ArcSwap::from_pointee(settings(config))),
        };
        configs.iter().map(listener).collect()
    }
}

/// Has listeners follow another configuration. One that is not in it stays as it was.
pub(super) fn follow(listeners: &[RadiusListener], configs: &[RadiusConfig]) {
    // Of several whose port the kernel chose each has its own entry, in order.
    let mut left: Vec<&RadiusConfig> = configs.iter().collect();
    for listener in listeners {
        let place = left
            .iter()
            .position(|config| config.address == listener.address);
        if let Some(place) = place {
            let config = left.remove(place);
            listener.settings.store(Arc::new(settings(config)));
        }
    }
}

/// Has the registry's sessions follow the clients of a configuration: whose they are, and which access servers are
/// listed.
///
/// # Errors
/// When the registry refuses.
pub(super) fn settle(
    registry: &EmbeddedRegistry,
    configs: &[RadiusConfig],
) -> Result<(), StoreError> {
    let clients = configs.iter().flat_map(|config| config.clients.all());
    let names: Vec<&str> = clients.map(|client| &*client.name).collect();
    let listed = configs.iter().flat_map(|config| config.clients.listed());
    let listed: Vec<&str> = listed.map(|name| &**name).collect();
    registry.change(|moment| moment.settle_clients(&names, &listed))
}

fn settings(config: &RadiusConfig) -> Settings {
    Settings {
        clients: config.clients.clone(),
        networks: config.networks.clone(),
        require_event_timestamp: config.require_event_timestamp,
        require_message_authenticator: config.require_message_authenticator,
        now_ms: unix_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::{Clients, Networks};

    fn config(address: &str, access_point: &str) -> RadiusConfig {
        let mut networks = Networks::default();
        assert!(networks.add(access_point, Arc::from("default")));
        RadiusConfig {
            address: address.parse().unwrap(),
            networks,
            clients: Clients::default(),
            require_event_timestamp: false,
            require_message_authenticator: false,
        }
    }

    #[test]
    fn listeners_follow_the_entry_of_their_address() {
        let listeners = RadiusListener::all(&[
            config("127.0.0.1:0", "a"),
            config("127.0.0.1:1813", "b"),
            config("127.0.0.1:0", "c"),
        ]);
        let leads = |place: usize, name: &str| {
            let settings = listeners[place].settings.load();
            settings.networks.find(name).is_some()
        };
        follow(
            &listeners,
            &[
                config("127.0.0.1:1814", "x"),
                config("127.0.0.1:0", "d"),
                config("127.0.0.1:0", "e"),
            ],
        );
        assert!(leads(0, "d") && !leads(0, "a"));
        assert!(leads(1, "b"), "what is gone waits for the next start");
        assert!(leads(2, "e") && !leads(2, "c"));
    }
}
