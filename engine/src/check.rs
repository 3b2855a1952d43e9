//! Check: what `ringbeam check` says of a configuration and a fleet that were accepted.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::fleet::{Fleet, Group};
use crate::problem::quoted;
use crate::sys::clock::unix_seconds;

/// A summary and every warning, as lines.
#[must_use]
pub fn report(config: &Config, fleet: &Fleet) -> String {
    let mut lines = vec!["configuration and fleet are accepted".to_owned()];
    for listener in &config.listeners {
        lines.push(format!(
            "listener      {} (network {})",
            listener.address, listener.network
        ));
    }
    let path = config.registry.path();
    lines.push(format!("fleet         {}", path.display()));
    let counts = fleet.counts();
    lines.push(format!("groups        {}", describe_groups(fleet)));
    lines.push(format!("credentials   {}", fleet.credentials().len()));
    lines.push(format!(
        "SIMs          {} one by one, {}",
        counts.sims,
        plural(counts.ranges, "range", "ranges")
    ));
    lines.push(format!("addresses     {}", counts.addresses));
    let mut warnings = warnings(config, fleet);
    warnings.extend(config.changed_defaults.clone());
    lines.push(match warnings.len() {
        0 => "no warnings".to_owned(),
        count => plural(count, "warning", "warnings"),
    });
    lines.extend(warnings.iter().map(|warning| format!("  {warning}")));
    lines.join("\n")
}

/// Everything that was accepted without effect, that nobody can use, or that will not last.
#[must_use]
pub fn warnings(config: &Config, fleet: &Fleet) -> Vec<String> {
    warnings_at(config, fleet, unix_seconds())
}

fn warnings_at(config: &Config, fleet: &Fleet, now_unix_seconds: u64) -> Vec<String> {
    let mut warnings = config.warnings.clone();
    warnings.extend(fleet.warnings().iter().cloned());
    warnings.extend(fleet.expiry_warnings(now_unix_seconds));
    warnings.extend(destination_notes(fleet));
    let served: BTreeSet<&str> = config
        .listeners
        .iter()
        .map(|entry| &*entry.network)
        .collect();
    let networks = fleet.networks();
    let inhabited: BTreeSet<&str> = networks.iter().map(|name| &**name).collect();
    for network in inhabited.difference(&served) {
        warnings.push(format!("network {network}: it has SIMs, but no listener"));
    }
    for network in served.difference(&inhabited) {
        warnings.push(format!("network {network}: it has a listener, but no SIMs"));
    }
    warnings.extend(missing_credentials(fleet));
    warnings
}

/// What the destinations are known not to support, a line for each group that is served.
fn destination_notes(fleet: &Fleet) -> impl Iterator<Item = String> {
    fleet.groups().flat_map(|group| {
        let entry_point = group.entry_point.as_ref();
        let served = entry_point.filter(|entry_point| entry_point.enabled);
        let notes = served.map(|entry_point| entry_point.destination_notes());
        let notes = notes.into_iter().flatten();
        notes.map(|note| format!("group {}: {note}; packets pass unchanged", group.id))
    })
}

/// SIMs that are looked at for credentials of their own.
const SIMS_LOOKED_AT: usize = 1_000_000;

/// SIMs that are named.
const SIMS_NAMED: usize = 5;

/// B-CFG-4: the SIMs whose credential is not there, where its id depends on the SIM.
fn missing_credentials(fleet: &Fleet) -> Option<String> {
    let depends = |group: &Group| {
        let entry_point = group.entry_point.as_ref();
        entry_point.is_some_and(|entry_point| entry_point.has_credential_per_sim())
    };
    if !fleet.groups().any(depends) {
        return None;
    }
    let mut named = Vec::new();
    let mut count = 0_usize;
    for sim in fleet.sims().take(SIMS_LOOKED_AT) {
        let Ok(entry_point) = fleet.entry_point(&sim) else {
            continue;
        };
        let missing = entry_point.missing_credential(fleet.credentials(), &sim.identity);
        if let Some(id) = missing {
            count = count.saturating_add(1);
            if named.len() < SIMS_NAMED {
                named.push(format!("{} needs {}", sim.identity.imsi, quoted(&id)));
            }
        }
    }
    let more = if count > named.len() { ", …" } else { "" };
    (count > 0).then(|| {
        let sims = plural(count, "SIM", "SIMs");
        format!(
            "{sims} without a credential, refused at CONNECT: {}{more}",
            named.join(", ")
        )
    })
}

fn describe_groups(fleet: &Fleet) -> String {
    let groups = fleet.groups().count();
    let entry_points = fleet
        .groups()
        .filter_map(|group| group.entry_point.as_ref());
    let (enabled, disabled) = entry_points.fold((0_usize, 0_usize), |(on, off), entry_point| {
        let is_on = usize::from(entry_point.enabled);
        (on.saturating_add(is_on), off.saturating_add(1 - is_on))
    });
    let without = groups.saturating_sub(enabled).saturating_sub(disabled);
    format!(
        "{}: entry point enabled in {enabled}, disabled in {disabled}, absent in {without}",
        groups
    )
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn the_samples_are_summed_up() {
        let toml = include_str!("../ringbeam.sample.toml");
        let config = Config::from_toml(toml, Path::new("a/ringbeam.toml")).unwrap();
        let fleet = Fleet::from_json("fleet.json", include_bytes!("../fleet.sample.json")).unwrap();
        assert_eq!(
            report(&config, &fleet),
            "configuration and fleet are accepted\n\
             listener      0.0.0.0:1883 (network default)\n\
             fleet         a/fleet.json\n\
             groups        1: entry point enabled in 1, disabled in 0, absent in 0\n\
             credentials   1\n\
             SIMs          1 one by one, 1 range\n\
             addresses     65537\n\
             no warnings"
        );
    }

    #[test]
    fn certificates_that_end_and_sims_without_their_credential_are_listed() {
        let toml = "[[listener]]\naddress = \"127.0.0.1:1883\"";
        let config = Config::from_toml(toml, Path::new("ringbeam.toml")).unwrap();
        let document = json!({
            "groups": [{"groupId": "g", "configuration": {"SoracomBeam": {
                "mqtt://beam.soracom.io:1883": {"destination": "mqtts://h", "enabled": true,
                    "useAzureIoT": true, "azureIoTCredential": {"$credentialsId": "a-#{imsi}"}}}}}],
            "credentials": [samples::x509("x", json!({"insecureSkipVerify": "true"})),
                            samples::azure("a-440100000000001"), samples::pubnub("a-440100000000002")],
            "sims": [
                {"simId": "1", "imsi": "440100000000001", "groupId": "g", "ip": "10.0.0.1"},
                {"simId": "2", "imsi": "440100000000002", "groupId": "g", "ip": "10.0.0.2"},
                {"simId": "3", "imsi": "440100000000003", "groupId": "g", "ip": "10.0.0.3"},
            ],
        });
        let fleet = Fleet::from_json("fleet.json", document.to_string()).unwrap();
        let at = |now| warnings_at(&config, &fleet, now);
        let early = at(0);
        assert_eq!(early.len(), 3, "{early:?}");
        assert!(
            early[0].starts_with("credential \"x\": insecureSkipVerify is on"),
            "{early:?}"
        );
        // B-CRED-1: it is there; it is of another type; it is not there.
        assert!(early[1].starts_with("group g: Azure IoT Hub"), "{early:?}");
        assert_eq!(
            early[2],
            "2 SIMs without a credential, refused at CONNECT: \
             440100000000002 needs \"a-440100000000002\", 440100000000003 needs \"a-440100000000003\""
        );
        let late = at(samples::EXPIRES_UNIX_SECONDS + 1);
        assert_eq!(late.len(), 4, "{late:?}");
        assert!(
            late[1].starts_with("credential \"x\": its certificate expired on Jan"),
            "{late:?}"
        );
        assert!(!late.join(" ").contains("hush"), "{late:?}");
    }

    #[test]
    fn warnings_of_all_parts_come_together() {
        let toml = "[registry]\nsecret_key_file = \"key\"\n[[listener]]\naddress = \"127.0.0.1:1883\"\nnetwork = \"a\"";
        let config = Config::from_toml(toml, Path::new("ringbeam.toml")).unwrap();
        let fleet = Fleet::from_json("fleet.json", include_bytes!("../fleet.sample.json")).unwrap();
        let report = report(&config, &fleet);
        let expected = "4 warnings\n  \
             registry.secret_key_file: no effect while registry.kind is \"file\"\n  \
             network default: it has SIMs, but no listener\n  \
             network a: it has a listener, but no SIMs\n  \
             defaults of [engine] have changed since version 0.1: connect_timeout_ms is 30000 (was 10000); \
             max_sessions_per_sim is 32 (was 256); when_unavailable, and whenUnavailable of an entry point, is \
             \"close\" (a device was told CONNACK 3); write a key down to have either, and no warning";
        assert!(report.ends_with(expected), "{report}");
    }
}
