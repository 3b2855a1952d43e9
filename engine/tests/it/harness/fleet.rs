//! Fleets: one group `new` (201912) on 127.1.0.0/16, one group `old` (201509) on 127.2.0.0/16, both with
//! both topic rewritings, towards one upstream.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

/// The key of the entry point in a group's configuration.
pub const ENTRY_POINT: &str = "mqtt://beam.soracom.io:1883";

/// SIM number `number` of the group under 201912.
pub fn new_sim(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// SIM number `number` of the group under 201509.
pub fn old_sim(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 2, high, low)
}

/// The IMSI of [`new_sim`].
pub fn new_imsi(number: u16) -> String {
    format!("44010{:010}", 1_000_000 + u32::from(number))
}

/// The IMSI of [`old_sim`].
pub fn old_imsi(number: u16) -> String {
    format!("44010{:010}", 2_000_000 + u32::from(number))
}

/// The SIM id of [`new_sim`].
pub fn new_sim_id(number: u16) -> String {
    format!("898110000000{:07}", 1_000_000 + u32::from(number))
}

/// The entry point object of one version, with both rewritings.
pub fn entry_point(upstream: SocketAddr, version: &str) -> Value {
    json!({
        "enabled": true,
        "destination": format!("mqtt://{upstream}"),
        "addSubscriberHeader": true,
        "replaceTopic": true,
        "version": version,
    })
}

/// The fleet, its entry points changed by `change(group, object)`.
pub fn fleet_with(upstream: SocketAddr, change: impl Fn(&str, &mut Value)) -> Value {
    let group = |id: &str, version: &str| {
        let mut object = entry_point(upstream, version);
        change(id, &mut object);
        json!({ "groupId": id, "configuration": { "SoracomBeam": { ENTRY_POINT: object } } })
    };
    json!({
        "groups": [group("new", "201912"), group("old", "201509"), { "groupId": "bare" }],
        "sims": [
            { "simId": "8981100000000000001", "imsi": "440100000000001", "groupId": "new",
              "imei": "353456789012348", "ip": "127.0.0.2" },
            { "simId": "8981100000000000003", "imsi": "440100000000003", "ip": "127.0.0.3" },
            { "simId": "8981100000000000004", "imsi": "440100000000004", "groupId": "bare",
              "ip": "127.0.0.4" },
        ],
        "simRanges": [
            { "cidr": "127.1.0.0/16", "imsiBase": "440100001000000",
              "simIdBase": "8981100000001000000", "groupId": "new" },
            { "cidr": "127.2.0.0/16", "imsiBase": "440100002000000",
              "simIdBase": "8981100000002000000", "groupId": "old" },
        ],
    })
}

/// The fleet as it is.
pub fn fleet(upstream: SocketAddr) -> Value {
    fleet_with(upstream, |_, _| {})
}

/// A fleet whose devices get a CONNACK while their upstream cannot be had.
pub fn saying(mut fleet: Value) -> Value {
    for group in fleet["groups"].as_array_mut().unwrap() {
        let configuration = group.get_mut("configuration");
        let namespace = configuration.and_then(|namespaces| namespaces.get_mut("SoracomBeam"));
        if let Some(object) = namespace.and_then(|keys| keys.get_mut(ENTRY_POINT)) {
            object["whenUnavailable"] = "connack".into();
        }
    }
    fleet
}

/// The fleet with its upstream over TLS, reached by its address.
pub fn tls_fleet(upstream: SocketAddr) -> Value {
    tls_fleet_to(&upstream.to_string())
}

/// The fleet with its upstream over TLS, reached as `host:port` says.
pub fn tls_fleet_to(upstream: &str) -> Value {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    fleet_with(nowhere, |_, object| {
        object["destination"] = format!("mqtts://{upstream}").into();
        // So that a refusal is seen to be one.
        object["whenUnavailable"] = "connack".into();
    })
}
