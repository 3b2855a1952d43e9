//! The engine in the test's own process, so that it can be asked.

use std::net::{Ipv4Addr, SocketAddr};

use ringbeam::config::{Config, EngineConfig, Listener};
use ringbeam::fleet::Fleet;
use ringbeam::resolver::Resolver;
use ringbeam::server::Server;
use ringbeam::shard::report::Audience;
use ringbeam::tls::Roots;
use serde_json::Value;

/// A running engine.
pub struct Inside {
    pub server: Server,
    /// Where devices find it.
    pub address: SocketAddr,
    config: Config,
}

impl Inside {
    /// One that nobody listens to.
    pub fn start(fleet: &Value, engine: EngineConfig) -> Self {
        Self::start_before(fleet, engine, Audience::default())
    }

    /// One whose shards tell somebody.
    pub fn start_before(fleet: &Value, engine: EngineConfig, audience: Audience) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            listeners: vec![Listener {
                network: "default".into(),
                address,
            }],
            engine: EngineConfig {
                pin: false,
                ..engine
            },
            ..Config::default()
        };
        let (fleet, tls) = read(fleet);
        let resolver = Resolver::start().unwrap();
        let server = Server::start_before(&config, fleet, tls, &resolver, audience).unwrap();
        let address = server.addresses()[0].1;
        Self {
            server,
            address,
            config,
        }
    }

    /// Replaces the fleet, and ends nobody's session.
    pub fn replace_quietly(&self, fleet: &Value) {
        let (fleet, tls) = read(fleet);
        self.server.replace_quietly(&self.config, fleet, tls);
    }
}

fn read(fleet: &Value) -> (Fleet, ringbeam::tls::Clients) {
    let fleet = Fleet::from_json("a test", fleet.to_string()).unwrap();
    let tls = ringbeam::serve::clients(Roots::system(), &fleet, None).unwrap();
    (fleet, tls)
}
