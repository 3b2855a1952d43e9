//! Explain: what a CONNECT from one SIM would lead to, and why. It looks up and renders as a shard
//! would, opens no connection, and shows no secret.

mod login;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ringbeam_proto::error::Refusal;
use ringbeam_proto::farewell::{Manner, Manners};
use ringbeam_proto::identity::{Identity, Imsi};
use ringbeam_proto::limits::{KEEP_ALIVE_SECONDS_MAX, KEEP_ALIVE_SECONDS_MIN};
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rewrite::topic_text;
use ringbeam_proto::rules::Rules;

use crate::config::Config;
use crate::fleet::{EntryPoint, Fleet, KEYS, Sim};

/// The topic that shows what becomes of topics.
const TOPIC: &str = "sensors/{{imsi}}/temp";

/// Why a SIM is not served (B-ID-2).
const REFUSALS: [(Refusal, &str); 5] = [
    (Refusal::UnknownAddress, "no SIM has the address"),
    (Refusal::NoGroup, "the SIM is in no group"),
    (Refusal::NoEntryPoint, "the group has no entry point"),
    (Refusal::EntryPointDisabled, "the entry point is disabled"),
    (Refusal::NoCredential, "the SIM's credential is not there"),
];

/// What stands for a password.
const MASK: &str = "********";

/// Which SIM is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The one behind an address.
    Address(IpAddr),
    /// The one with an IMSI.
    Imsi(Imsi),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which SIM.
    pub subject: Subject,
    /// In which network; in all of them where it is not said.
    pub network: Option<String>,
}

/// What the answer is taken from.
struct Context<'a> {
    config: &'a Config,
    fleet: &'a Fleet,
    /// Networks that have a listener.
    listened: BTreeSet<&'a str>,
}

/// The answer, as lines. That there is no such SIM is an answer too.
///
/// # Errors
/// When the question names a network that neither a listener nor a SIM has.
pub fn explain(config: &Config, fleet: &Fleet, query: &Query) -> Result<String, String> {
    let listeners = config.listeners.iter();
    let context = Context {
        config,
        fleet,
        listened: listeners.map(|entry| &*entry.network).collect(),
    };
    let mut networks = context.listened.clone();
    let inhabited = fleet.networks();
    networks.extend(inhabited.iter().map(|name| &**name));
    if let Some(network) = &query.network {
        if !networks.contains(network.as_str()) {
            let known: Vec<&str> = networks.into_iter().collect();
            return Err(format!(
                "no network {network:?}; there are: {}",
                known.join(", ")
            ));
        }
        networks.retain(|known| known == network);
    }
    let sections = match &query.subject {
        Subject::Address(address) => by_address(&context, &networks, *address),
        Subject::Imsi(imsi) => by_imsi(&context, imsi, query.network.as_deref()),
    };
    Ok(sections.join("\n\n"))
}

fn by_address(context: &Context<'_>, networks: &BTreeSet<&str>, address: IpAddr) -> Vec<String> {
    let shown = address.to_canonical().to_string();
    let found = networks.iter().filter_map(|network| {
        let sim = context.fleet.find(network, address)?;
        Some(section(context, &sim, network, &shown))
    });
    let mut sections: Vec<String> = found.collect();
    if sections.is_empty() {
        let networks: Vec<&str> = networks.iter().copied().collect();
        let mut page = Page::default();
        page.line("address", &shown);
        page.line("network", networks.join(", "));
        let mut networks = networks.iter();
        let is_in_doubt = networks.any(|network| context.fleet.is_in_doubt(network, address));
        page.line(
            "SIM",
            if is_in_doubt {
                "nobody's until it can be stored whose it is: the registry cannot be written"
            } else {
                "none has this address"
            },
        );
        page.refusal(Refusal::UnknownAddress, context.manners());
        sections.push(page.text());
    }
    sections
}

fn by_imsi(context: &Context<'_>, imsi: &Imsi, network: Option<&str>) -> Vec<String> {
    let found = context.fleet.find_imsi(imsi, network);
    let mut sections: Vec<String> = found
        .into_iter()
        .map(|located| section(context, &located.sim, &located.network, &located.addresses))
        .collect();
    if sections.is_empty() {
        let mut page = Page::default();
        page.line("IMSI", imsi);
        page.line("network", network.unwrap_or("all"));
        page.line(
            "SIM",
            "none has this IMSI, so no address is known to be its",
        );
        page.refusal(Refusal::UnknownAddress, context.manners());
        sections.push(page.text());
    }
    sections
}

/// One SIM in one network.
fn section(context: &Context<'_>, sim: &Sim, network: &str, addresses: &str) -> String {
    let fleet = context.fleet;
    let mut page = Page::default();
    page.line("SIM", sim.identity.sim_id);
    page.line("IMSI", sim.identity.imsi);
    page.line("IMEI", sim.identity.imei_text());
    page.line(
        "address",
        if addresses.is_empty() {
            "none: it cannot connect"
        } else {
            addresses
        },
    );
    let unserved = if context.listened.contains(network) {
        ""
    } else {
        ", which no listener serves: it cannot connect"
    };
    page.line("network", format_args!("{network}{unserved}"));
    let group = sim.group.and_then(|index| fleet.group(index));
    page.line(
        "group",
        group.map_or_else(
            || "none".to_owned(),
            |group| match group.name() {
                Some(name) => format!("{} ({name})", group.id),
                None => group.id.to_string(),
            },
        ),
    );
    match fleet.entry_point(sim) {
        Ok(entry_point) => {
            page.line(
                "entry point",
                format_args!("{:?}, enabled", entry_point.name),
            );
            let manners = context
                .manners()
                .with_upstream(entry_point.when_unavailable);
            let missing = entry_point.missing_credential(fleet.credentials(), &sim.identity);
            if missing.is_some() {
                page.refusal(Refusal::NoCredential, manners);
            } else {
                page.line("CONNECT", "goes on to the destination");
            }
            page.entry_point(context, entry_point, &sim.identity);
        }
        Err(refusal) => {
            page.refusal(refusal, context.manners());
            // What it would do once it is enabled is worth knowing too.
            if let Some(entry_point) = group.and_then(|group| group.entry_point.as_ref()) {
                page.entry_point(context, entry_point, &sim.identity);
            }
        }
    }
    page.text()
}

impl Context<'_> {
    /// What refusals look like, where an entry point does not say otherwise of its upstream.
    fn manners(&self) -> Manners {
        self.config.engine.manners()
    }
}

/// What a device sees of a refusal.
fn look(refusal: Refusal, manners: Manners) -> String {
    match manners.of(refusal) {
        Manner::Close => "a close without CONNACK".to_owned(),
        Manner::Connack => {
            let (code, reason) = refusal.connack_codes();
            format!("CONNACK {code} (MQTT 5: 0x{reason:02x})")
        }
    }
}

/// Lines of a label and a text each.
#[derive(Default)]
struct Page {
    lines: Vec<String>,
}

impl Page {
    fn text(self) -> String {
        self.lines.join("\n")
    }

    fn line(&mut self, label: &str, text: impl std::fmt::Display) {
        self.lines
            .push(format!("{label:<14}{text}").trim_end().to_owned());
    }

    /// B-ID-2, B-CON-4
    fn refusal(&mut self, refusal: Refusal, manners: Manners) {
        let why = REFUSALS.iter().find(|(known, _)| *known == refusal);
        let why = why.map_or_else(|| refusal.name(), |(_, why)| why);
        let look = look(refusal, manners);
        self.line("CONNECT", format_args!("refused with {look}: {why}"));
    }

    fn entry_point(
        &mut self,
        context: &Context<'_>,
        entry_point: &EntryPoint,
        identity: &Identity,
    ) {
        self.platform(entry_point.rules.platform);
        let protocol = if entry_point.destination.tls {
            "MQTT over TLS"
        } else {
            "MQTT over TCP"
        };
        self.line(
            "destination",
            format_args!("{} ({protocol})", entry_point.destination),
        );
        self.tls(entry_point);
        self.login(context, entry_point, identity);
        self.topics(&entry_point.rules, identity);
        self.line(
            "keep alive",
            format_args!("0, or {KEEP_ALIVE_SECONDS_MIN} to {KEEP_ALIVE_SECONDS_MAX} seconds"),
        );
        let manners = context
            .manners()
            .with_upstream(entry_point.when_unavailable);
        let look_of = |refusal| look(refusal, manners);
        let keep_alive = look_of(Refusal::KeepAlive(0));
        self.line("", format_args!("anything else: {keep_alive}"));
        self.line("unavailable", look_of(Refusal::UpstreamUnreachable));
        self.line("limits", entry_point.limits(&context.config.limits));
        self.settings(entry_point);
        for warning in &entry_point.warnings {
            self.line("warning", warning);
        }
        for note in entry_point.destination_notes() {
            self.line("warning", note);
        }
    }

    /// The rules of the platform version, in the order in which its file has them.
    fn platform(&mut self, platform: Platform) {
        let meaning: &[&str] = match platform {
            Platform::V201912 => &[
                "upstream speaks the device's MQTT version: 3.1, 3.1.1 or 5",
                "QoS 0, 1 and 2 pass unchanged, as the upstream supports them",
                "with a client certificate the destination's own protocol is kept",
            ],
            Platform::V201509 => &[
                "upstream is MQTT 3.1.1 always; an MQTT 5 device is refused with CONNACK 1 of 3.1.1",
                "QoS 1 and 2 are acknowledged here and go on as QoS 0; so do subscriptions",
                "with a client certificate the upstream is MQTT over TLS always",
            ],
        };
        self.line("version", platform);
        for text in meaning {
            self.line("", text);
        }
    }

    /// B-TOP-1, B-TOP-2, B-TOP-4, B-VER-3
    fn topics(&mut self, rules: &Rules, identity: &Identity) {
        let topics = &rules.topics;
        let published = topic_text(topics, identity, TOPIC, true);
        let subscribed = topic_text(topics, identity, TOPIC, false);
        self.line("PUBLISH", format_args!("{TOPIC} goes on as {published}"));
        self.line("SUBSCRIBE", format_args!("{TOPIC} goes on as {subscribed}"));
        self.line(
            "will",
            if !rules.platform.keeps_will() {
                "removed".to_owned()
            } else if topics.rewrite_will {
                format!("passes; topic {TOPIC} goes on as {published}")
            } else {
                "passes, topic unchanged".to_owned()
            },
        );
    }

    /// B-CFG-2: what is not set is at its default.
    fn settings(&mut self, entry_point: &EntryPoint) {
        self.line("configuration", "");
        for key in &KEYS {
            let line = match entry_point.settings.shown(key) {
                Some(value) => format!("  {:<22}set      {value}", key.name),
                None => format!("  {:<22}default  {}", key.name, key.default),
            };
            self.lines.push(line);
        }
        for name in entry_point.settings.unknown_keys() {
            self.lines.push(format!(
                "  {name:<22}set      unknown key, kept without effect"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
