//! Tests of what is told of sessions of SIMs, and of the secrets beside the configuration.

use super::*;

/// A configuration with these sections, beside the secrets "one", "two" with a line's end, a short and an empty one.
fn with_sources(text: &str) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in [
        ("one", "hush-1-of-16-bytes"),
        ("two", "hush-2-of-16-bytes\r\n"),
        ("short", "hush5"),
        ("empty", "\n"),
    ] {
        std::fs::write(folder.path().join(name), secret).unwrap();
    }
    let file = folder.path().join("ringbeam.toml");
    let embedded = "[registry]\nkind = \"embedded\"\n";
    let embedded = if text.contains("[registry]") {
        ""
    } else {
        embedded
    };
    Config::from_toml(&format!("{LISTENER}\n{text}\n{embedded}"), &file).map_err(|problems| {
        let folder = format!("{}/", folder.path().display());
        let shown = problems.iter().map(ToString::to_string);
        shown.map(|line| line.replace(&folder, "")).collect()
    })
}

#[test]
fn b_id_1_radius_listeners_and_open5gs_reach_their_places() {
    let config = with_sources(
        r#"
        [[radius]]
        address = "[::]:1813"
        networks = { "APN.example" = "default", "*" = "b" }
        clients = [ { cidr = "10.0.0.0/8", secret_file = "one" }, { cidr = "10.1.1.1", secret_file = "two" } ]
        [[radius]]
        address = "127.0.0.1:1814"
        networks = { x = "default" }
        clients = [ { cidr = "fd00::/8", secret_file = "one" } ]
        [[open5gs]]
        url = "http://smf:9090/pdu-info?page=-1"
        [[open5gs]]
        url = "http://127.0.0.4:9090/pdu-info"
        interval_ms = 100
        network = "c"
        "#,
    )
    .unwrap();
    let radius = &config.radius[0];
    assert_eq!(radius.address, "[::]:1813".parse().unwrap());
    let network = |name: &str| radius.networks.find(name).map(|network| &**network);
    assert_eq!(network("apn.example"), Some("default"));
    assert_eq!(network("other"), Some("b"));
    let client = |address: &str| radius.clients.find(address.parse().unwrap());
    let secret = |address: &str| client(address).map(|client| client.secret.as_slice());
    assert_eq!(secret("10.1.1.1"), Some(&b"hush-2-of-16-bytes"[..]));
    assert_eq!(secret("10.1.1.2"), Some(&b"hush-1-of-16-bytes"[..]));
    assert_eq!(secret("11.0.0.1"), None);
    assert_eq!(config.radius[1].networks.find("other"), None);
    let asked: Vec<_> = config
        .open5gs
        .iter()
        .map(|smf| (smf.url.to_string(), smf.interval.as_millis(), &*smf.network))
        .collect();
    assert_eq!(
        asked,
        [
            (
                "http://smf:9090/pdu-info?page=-1".to_owned(),
                5000,
                "default"
            ),
            ("http://127.0.0.4:9090/pdu-info".to_owned(), 100, "c"),
        ]
    );
    assert_eq!(
        config.warnings,
        [
            "radius.networks: no listener has network \"b\"",
            "open5gs.network: no listener has network \"c\"",
        ]
    );
    assert!(!format!("{config:?}").contains("hush"));
}

/// Checks what is refused, by line and column, key, found and accepted.
fn check(text: &str, expected: &str) {
    let problems = with_sources(text).unwrap_err();
    assert_eq!(problems, [format!("ringbeam.toml:{expected}")], "{text}");
    assert!(!problems[0].contains("hush"));
}

fn radius(address: &str, networks: &str, clients: &str) -> String {
    format!(
        "[[radius]]\naddress = \"{address}\"\nnetworks = {{ {networks} }}\nclients = [ {clients} ]\n"
    )
}

const ADDRESS: &str = "127.0.0.1:1813";
const NETWORKS: &str = "x = \"default\"";
const ONE: &str = "{ cidr = \"10.0.0.0/8\", secret_file = \"one\" }";

#[test]
fn b_id_1_radius_listeners_are_checked() {
    check(
        &radius("localhost", NETWORKS, ONE),
        "5:11: radius.address: found \"localhost\"; \
         accepted: IP:port, such as \"0.0.0.0:1813\" or \"[::]:1813\"",
    );
    let twice = radius(ADDRESS, NETWORKS, ONE) + &radius(ADDRESS, NETWORKS, ONE);
    check(
        &twice,
        "9:11: radius.address: found \"127.0.0.1:1813\", which an earlier [[radius]] has; \
         accepted: an address for each",
    );
    check(
        &radius(ADDRESS, "", ONE),
        "6:12: radius.networks: found none; \
         accepted: one access point or more, each with its network",
    );
    check(
        &radius(ADDRESS, "x = \"\"", ONE),
        "6:18: radius.networks: found \"\"; accepted: a name without spaces",
    );
    check(
        &radius(ADDRESS, "\"\" = \"default\"", ONE),
        "6:19: radius.networks: found \"\"; \
         accepted: the name of an access point, or \"*\" for every other",
    );
    check(
        &radius(ADDRESS, "x = \"default\", X = \"default\"", ONE),
        "6:18: radius.networks: found \"x\" twice; \
         accepted: each access point once, in one spelling",
    );
}

#[test]
fn b_id_1_radius_clients_are_checked() {
    check(
        &radius(ADDRESS, NETWORKS, ""),
        "7:11: radius.clients: found none; accepted: one client or more, each with its secret",
    );
    check(
        &radius(ADDRESS, NETWORKS, &format!("{ONE}, {ONE}")),
        "7:68: radius.clients.cidr: found \"10.0.0.0/8\" twice; accepted: each range once",
    );
    let client = |cidr: &str, secret: &str| {
        let client = format!("{{ cidr = \"{cidr}\", secret_file = \"{secret}\" }}");
        radius(ADDRESS, NETWORKS, &client)
    };
    check(
        &client("10.0.0.1/8", "one"),
        "7:22: radius.clients.cidr: found \"10.0.0.1/8\"; \
         accepted: a prefix without bits behind it, such as 10.0.0.0/8",
    );
    check(
        &client("10.0.0.0/33", "one"),
        "7:22: radius.clients.cidr: found \"10.0.0.0/33\"; \
         accepted: an address or a prefix, such as \"10.0.0.0/8\"",
    );
    check(
        &client("10.0.0.0/8", "empty"),
        "7:50: radius.clients.secret_file: found empty, which is empty; \
         accepted: a file with the secret that the client shares",
    );
    check(
        &client("10.0.0.0/8", "none"),
        "7:50: radius.clients.secret_file: found none, which cannot be read \
         (No such file or directory (os error 2)); \
         accepted: a file with the secret that the client shares",
    );
}

#[test]
fn b_id_6_what_a_client_may_speak_of_stands_with_it() {
    let config = with_sources(
        r#"
        [[radius]]
        address = "127.0.0.1:1813"
        networks = { a = "default", b = "other", c = "other" }
        require_event_timestamp = true
        clients = [
            { cidr = "10.0.0.0/8", secret_file = "one", networks = ["other"], nas = ["pgw-1", "FD00::0:9"] },
            { cidr = "10.1.0.0/16", secret_file = "one" },
            { cidr = "10.2.0.0/16", secret_file = "two" },
            { cidr = "10.3.0.0/16", secret_file = "one" },
        ]
        [[radius]]
        address = "127.0.0.1:1814"
        networks = { a = "default" }
        require_message_authenticator = true
        clients = [
            { cidr = "10.1.0.0/16", secret_file = "one" },
            { cidr = "10.2.0.0/16", secret_file = "short", nas = ["ggsn"] },
            { cidr = "10.3.0.0/16", secret_file = "short", nas = ["ggsn"] },
        ]
        [[listener]]
        network = "other"
        address = "127.0.0.1:1884"
        "#,
    )
    .unwrap();
    let told = |place: usize, address: &str| -> String {
        let client = config.radius[place].clients.find(address.parse().unwrap());
        let client = client.unwrap();
        format!("{} {:?} {:?}", client.name, client.networks, client.nas)
    };
    assert_eq!(
        told(0, "10.0.0.1"),
        r#"10.0.0.0/8 ["other"] ["fd00::9", "pgw-1"]"#
    );
    let any = r#"["default", "other"] []"#;
    assert_eq!(told(0, "10.1.0.1"), format!("10.1.0.0/16 {any}"));
    assert_eq!(told(0, "10.2.0.1"), format!("10.2.0.0/16 {any}"));
    // The same secret and the same rights are one client.
    assert_eq!(told(0, "10.3.0.1"), format!("10.1.0.0/16 {any}"));
    assert_eq!(
        told(1, "10.1.0.1"),
        r#"10.1.0.0/16 at 127.0.0.1:1814 ["default"] []"#
    );
    assert_eq!(told(1, "10.2.0.1"), told(1, "10.3.0.1"));
    for radius in &config.radius {
        let listed = radius.clients.listed();
        assert!(
            ["ggsn", "pgw-1", "fd00::9"]
                .iter()
                .all(|nas| listed.contains(&Arc::from(*nas)))
        );
    }
    let demands: Vec<_> = config
        .radius
        .iter()
        .map(|radius| {
            (
                radius.require_event_timestamp,
                radius.require_message_authenticator,
            )
        })
        .collect();
    assert_eq!(demands, [(true, false), (false, true)]);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("radius.clients.secret_file: the secret in "));
    assert!(config.warnings[0].ends_with("short is short; 16 bytes or more are advised"));
}

#[test]
fn b_id_6_what_a_client_may_speak_of_is_checked() {
    let client = |more: &str| {
        let client = format!("{{ cidr = \"10.0.0.0/8\", secret_file = \"one\", {more} }}");
        radius(ADDRESS, NETWORKS, &client)
    };
    check(
        &client("networks = [\"default\", \"y\"]"),
        "7:80: radius.clients.networks: found \"y\"; accepted: a network to which radius.networks leads",
    );
    check(
        &client("nas = [\"\"]"),
        "7:64: radius.clients.nas: found \"\"; \
         accepted: a NAS-IP-Address, NAS-IPv6-Address or NAS-Identifier",
    );
}

#[test]
fn b_id_1_open5gs_is_checked() {
    let open5gs = |url: &str, more: &str| format!("[[open5gs]]\nurl = \"{url}\"\n{more}\n");
    let accepted = "accepted: a URL such as \"http://127.0.0.4:9090/pdu-info\"";
    check(
        &open5gs("https://h/", ""),
        &format!("5:7: open5gs.url: found \"https://h/\" (not http://); {accepted}"),
    );
    check(
        &open5gs("http://u:hush@h/", ""),
        &format!("5:7: open5gs.url: found a user's name in it; {accepted}"),
    );
    check(
        &(open5gs("http://h/", "") + &open5gs("http://h/", "")),
        "8:7: open5gs.url: found \"http://h/\" twice; accepted: each URL once",
    );
    for wrong in [99, 3_600_001] {
        check(
            &open5gs("http://h/", &format!("interval_ms = {wrong}")),
            &format!("6:15: open5gs.interval_ms: found {wrong}; accepted: 100 to 3600000"),
        );
    }
    check(
        &open5gs("http://h/", "network = \"a b\""),
        "6:11: open5gs.network: found \"a b\"; accepted: a name without spaces",
    );
}

#[test]
fn sources_of_sessions_have_no_effect_without_a_registry_that_keeps_them() {
    let text = format!(
        "{LISTENER}{}[[open5gs]]\nurl = \"http://h/\"\n[registry]\nkind = \"file\"",
        radius(ADDRESS, NETWORKS, ONE)
    );
    let config = Config::from_toml(&text, Path::new("/nowhere/x.toml")).unwrap();
    assert!(config.radius.is_empty() && config.open5gs.is_empty());
    assert_eq!(
        config.warnings,
        ["[[radius]]", "[[open5gs]]"]
            .map(|section| format!("{section}: no effect while registry.kind is \"file\""))
    );
}
