//! SIM shape: a SIM as the vendor's API shows it, as a SIM and as a subscriber.

use serde_json::{Map, Value, json};

use super::lookup::Found;
use crate::fleet::{ACTIVE, NETWORK_DEFAULT};
use crate::registry::sessions::SimSession;

/// What the vendor calls a subscription; here there is one.
const SUBSCRIPTION: &str = "planArc01";

/// A SIM with the sessions that it has.
pub(super) struct Seen {
    pub(super) found: Found,
    pub(super) sessions: Vec<SimSession>,
}

/// The key of the tag and description that a SIM without tags has too.
const NAME: &str = "name";

impl Seen {
    fn status(&self) -> &str {
        match self.found.text("status") {
            "" => ACTIVE,
            status => status,
        }
    }

    fn tags(&self) -> Value {
        let tags = self.found.sim.object.get("tags").and_then(Value::as_object);
        let mut tags = tags.cloned().unwrap_or_default();
        tags.entry(NAME).or_insert_with(|| Value::from(""));
        Value::Object(tags)
    }

    /// The first address of its own, in the fleet.
    fn own_address(&self) -> Option<&str> {
        let object = &self.found.sim.object;
        let first = || object.get("ips")?.as_array()?.first()?.as_str();
        object.get("ip").and_then(Value::as_str).or_else(first)
    }

    /// Whether an address leads to it.
    pub(super) fn is_online(&self) -> bool {
        let has_address = !self.sessions.is_empty() || self.own_address().is_some();
        self.status() == ACTIVE && has_address
    }

    /// Whether an address leads to it, and which: that of its latest session, or its own.
    fn session_status(&self) -> Value {
        let mut status = Map::new();
        let mut put = |key: &str, value: Value| status.insert(key.to_owned(), value);
        let latest = self
            .sessions
            .iter()
            .max_by_key(|session| session.updated_ms);
        let imei = latest.and_then(|session| session.imei.map(|imei| imei.to_string()));
        let imei = imei.or_else(|| Some(self.found.text("imei").to_owned()));
        let address = latest
            .map(shown_address)
            .or_else(|| self.own_address().map(str::to_owned));
        put("online", json!(self.is_online()));
        put("imsi", json!(self.found.text("imsi")));
        if let Some(imei) = imei.filter(|imei| !imei.is_empty()) {
            put("imei", json!(imei));
        }
        if let Some(address) = address {
            put("ueIpAddress", json!(address));
        }
        if let Some(session) = latest {
            put("lastUpdatedAt", json!(session.updated_ms));
            put("subscription", json!(SUBSCRIPTION));
            if !session.session_id.is_empty() {
                put("sessionId", json!(session.session_id));
            }
        }
        Value::Object(status)
    }

    /// As a SIM.
    pub(super) fn sim(&self, operator_id: &str) -> Value {
        let (sim_id, imsi) = (self.found.text("simId"), self.found.text("imsi"));
        let mut shown = json!({
            "simId": sim_id,
            "operatorId": operator_id,
            "type": if self.found.text("imei").is_empty() { "virtual" } else { "uicc" },
            "status": self.status(),
            "tags": self.tags(),
            "createdTime": self.found.sim.created_ms,
            "lastModifiedTime": self.found.sim.modified_ms,
            "speedClass": "s1.standard",
            "capabilities": {"data": true, "sms": false},
            "activeProfileId": sim_id,
            "profiles": {sim_id: {
                "iccid": sim_id,
                "primaryImsi": imsi,
                "subscribers": {imsi: {
                    "imsi": imsi,
                    "status": "active",
                    "subscription": SUBSCRIPTION,
                    "capabilities": {"data": true, "sms": false},
                }},
            }},
            "sessionStatus": self.session_status(),
        });
        self.add_group(&mut shown);
        // What the vendor's API lacks: its own addresses, as a fleet document has them.
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("network".to_owned(), json!(NETWORK_DEFAULT));
        }
        for key in ["network", "ip", "ips", "imei"] {
            let value = self
                .found
                .sim
                .object
                .get(key)
                .filter(|value| !value.is_null());
            if let (Some(value), Some(fields)) = (value, shown.as_object_mut()) {
                fields.insert(key.to_owned(), value.clone());
            }
        }
        shown
    }

    /// As a subscriber.
    pub(super) fn subscriber(&self, operator_id: &str) -> Value {
        let status = self.session_status();
        let (created, modified) = (self.found.sim.created_ms, self.found.sim.modified_ms);
        let mut shown = json!({
            "imsi": self.found.text("imsi"),
            "simId": self.found.text("simId"),
            "iccid": self.found.text("simId"),
            "operatorId": operator_id,
            "status": self.status(),
            "type": "s1.standard",
            "speedClass": "s1.standard",
            "subscription": SUBSCRIPTION,
            "plan": 0,
            "tags": self.tags(),
            "createdAt": created,
            "createdTime": created,
            "lastModifiedAt": modified,
            "lastModifiedTime": modified,
        });
        if let Some(fields) = shown.as_object_mut() {
            if let Some(address) = status.get("ueIpAddress") {
                fields.insert("ipAddress".to_owned(), address.clone());
            }
            let apn = self.sessions.iter().map(|session| session.apn.as_str());
            if let Some(apn) = apn.max().filter(|apn| !apn.is_empty()) {
                fields.insert("apn".to_owned(), json!(apn));
            }
            fields.insert("sessionStatus".to_owned(), status);
        }
        self.add_group(&mut shown);
        shown
    }

    fn add_group(&self, shown: &mut Value) {
        let group = self.found.text("groupId");
        if let Some(fields) = shown.as_object_mut().filter(|_| !group.is_empty()) {
            fields.insert("groupId".to_owned(), json!(group));
        }
    }
}

/// One address as an address, more as a prefix.
fn shown_address(session: &SimSession) -> String {
    let block = session.block;
    if block.prefix_len() == block.max_prefix_len() {
        block.addr().to_string()
    } else {
        block.to_string()
    }
}
