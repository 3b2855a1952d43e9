//! Tests of ringbeam.toml: defaults, refusals with their place, warnings.

mod sources;

use super::*;
use ringbeam_proto::farewell::Manner;

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:1883\"\n";

fn read(text: &str) -> Result<Config, Vec<String>> {
    Config::from_toml(text, Path::new("/etc/x/ringbeam.toml"))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// Checks what is refused; rows have the text behind a listener of three lines.
fn check_refused(text: &str, expected: &str) {
    let problems = read(&format!("{LISTENER}\n{text}")).unwrap_err();
    assert_eq!(
        problems,
        [format!("/etc/x/ringbeam.toml:{expected}")],
        "{text}"
    );
}

#[test]
fn the_sample_is_read_without_a_warning() {
    let config = read(include_str!("../../ringbeam.sample.toml")).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.engine, EngineConfig::default());
    assert_eq!(config.upstream, UpstreamConfig::default());
    let address = "0.0.0.0:1883".parse().unwrap();
    assert_eq!(
        config.listeners,
        [Listener {
            network: Arc::from("default"),
            address
        }]
    );
    let path = config.registry.path().to_owned();
    assert_eq!(path, Path::new("/etc/x/fleet.json"));
}

#[test]
fn every_commented_line_of_the_sample_is_right() {
    let uncommented: String = include_str!("../../ringbeam.sample.toml")
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    // As it says where sources of sessions stand.
    let uncommented = uncommented.replace("kind = \"file\"", "kind = \"embedded\"");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("radius.secret"), "hush-of-16-bytes\n").unwrap();
    let config = Config::from_toml(&uncommented, &folder.path().join("x.toml")).unwrap();
    assert_eq!(config.listeners.len(), 2);
    assert_eq!((config.radius.len(), config.open5gs.len()), (1, 1));
    assert!(config.warnings.is_empty());
}

#[test]
fn defaults_fill_what_is_not_written() {
    let config = read(LISTENER).unwrap();
    assert_eq!(config.engine, EngineConfig::default());
    assert_eq!(&*config.listeners[0].network, "default");
    assert!(config.warnings.is_empty());
}

#[test]
fn every_key_reaches_its_place() {
    let config = read(
        r#"
        listener = [{ network = "a", address = "[::1]:1883", proxy_protocol = [] },
                    { network = "a", address = "127.0.0.1:0" },
                    { network = "b", address = "127.0.0.1:0" }]
        [engine]
        shards = 2
        pin = false
        coalesce_us = 200
        max_sessions = 100
        connect_timeout_ms = 1000
        when_unavailable = "connack"
        when_refused = "close"
        upstream_timeout_ms = 2000
        drain_timeout_ms = 3000
        stall_timeout_ms = 4000
        unknown_address_wait_ms = 0
        max_sessions_per_sim = 5
        waiting_bytes = 2000000
        [registry]
        kind = "file"
        path = "/var/fleet.json"
        [upstream]
        source_addresses = ["127.0.0.2", "::1"]
        connects_per_second = 50
        pubnub_host = "127.0.0.1:1884"
        token_lifetime_seconds = 5
        [limits]
        messages_per_second = 10
        bytes_per_second = 4294967295
        "#,
    )
    .unwrap();
    assert_eq!(config.listeners.len(), 3);
    assert_eq!(
        config.engine,
        EngineConfig {
            shards: 2,
            pin: false,
            coalesce_us: 200,
            max_sessions: 100,
            connect_timeout: Duration::from_secs(1),
            when_unavailable: Manner::Connack,
            when_refused: Manner::Close,
            upstream_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(3),
            stall_timeout: Duration::from_secs(4),
            unknown_address_wait: Duration::ZERO,
            max_sessions_per_sim: 5,
            waiting_bytes: 2_000_000,
        }
    );
    let path = config.registry.path().to_owned();
    assert_eq!(path, Path::new("/var/fleet.json"));
    assert_eq!(config.upstream.source_addresses.len(), 2);
    assert_eq!(config.upstream.connects_per_second, 50);
    let pubnub = config.upstream.pubnub_host.destination();
    assert_eq!(pubnub.to_string(), "mqtts://127.0.0.1:1884");
    assert_eq!(config.upstream.token_lifetime, Duration::from_secs(5));
    let limits = Limits {
        messages_per_second: 10,
        bytes_per_second: u32::MAX,
    };
    assert_eq!(config.limits, limits);
    assert!(config.warnings.is_empty());
}

#[test]
fn refusals_name_line_column_key_found_and_accepted() {
    let key = "5:10: engine.shards: found";
    check_refused(
        "[engine]\nshards = -1",
        &format!("{key} -1; accepted: 0 to 1024"),
    );
    check_refused(
        "[engine]\nshards = 5000",
        &format!("{key} 5000; accepted: 0 to 1024"),
    );
    for name in ["connect", "upstream", "drain", "stall"] {
        let key = format!("engine.{name}_timeout_ms");
        let column = name.len() + "_timeout_ms = ".len() + 1;
        for wrong in [0, -5, 3_600_001] {
            check_refused(
                &format!("[engine]\n{name}_timeout_ms = {wrong}"),
                &format!("5:{column}: {key}: found {wrong}; accepted: 10 to 3600000"),
            );
        }
    }
    check_refused(
        "[engine]\nmax_sessions_per_sim = 0",
        "5:24: engine.max_sessions_per_sim: found 0; accepted: 1 to 1000000",
    );
    check_refused(
        "[registry]\npath = \"\"",
        "5:8: registry.path: found an empty string; accepted: the path of a file",
    );
    check_refused(
        "[upstream]\nsource_addresses = [\"::1\", \"::1\"]",
        "5:28: upstream.source_addresses: found \"::1\" twice; accepted: each address once",
    );
    check_refused(
        "[upstream]\nsource_addresses = [\"0.0.0.0\"]",
        "5:21: upstream.source_addresses: found \"0.0.0.0\"; \
         accepted: addresses that this host has",
    );
    // B-PN-1
    check_refused(
        "[upstream]\npubnub_host = \"mqtts://h\"",
        "5:15: upstream.pubnub_host: found \"mqtts://h\" (no legal host name or IP address with an \
         optional port); accepted: a host, or host:port",
    );
    check_refused(
        "[upstream]\npubnub_host = \"hush@h\"",
        "5:15: upstream.pubnub_host: found no legal host name or IP address with an optional port; \
         accepted: a host, or host:port",
    );
    // B-TOK-1
    for wrong in [4, 86_401] {
        check_refused(
            &format!("[upstream]\ntoken_lifetime_seconds = {wrong}"),
            &format!("5:26: upstream.token_lifetime_seconds: found {wrong}; accepted: 5 to 86400"),
        );
    }
    check_refused(
        "[upstream]\nconnects_per_second = -1",
        "5:23: upstream.connects_per_second: found -1; accepted: 0 to 1000000",
    );
    for key in ["messages_per_second", "bytes_per_second"] {
        let column = key.len() + " = ".len() + 1;
        for wrong in [-1, 4_294_967_296_i64] {
            check_refused(
                &format!("[limits]\n{key} = {wrong}"),
                &format!("5:{column}: limits.{key}: found {wrong}; accepted: 0 to 4294967295"),
            );
        }
    }
    check_refused(
        "[upstream]\nsource_addresses = [\"host\"]",
        "5:21: upstream.source_addresses: found \"host\"; accepted: IP addresses",
    );
}

#[test]
fn an_embedded_registry_has_a_database_and_a_key() {
    for (text, database, key) in [
        ("", "ringbeam.db", None),
        (
            "path = \"x.db\"\nsecret_key_file = \"key\"",
            "x.db",
            Some("key"),
        ),
        ("secret_key_file = \"\"", "ringbeam.db", None),
    ] {
        let config = read(&format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[registry]\nkind = \"embedded\"\n{text}"
        ))
        .unwrap();
        let folder = config.registry.path().parent().unwrap().to_owned();
        let expected = RegistryConfig::Embedded {
            path: folder.join(database),
            secret_key_file: key.map(|key| folder.join(key)),
        };
        assert_eq!(config.registry, expected, "{text}");
    }
}

#[test]
fn what_is_not_in_this_version_and_may_not_be_asked_for_is_refused() {
    check_refused(
        "[registry]\nkind = \"redis\"",
        "5:8: registry.kind: found \"redis\"; \
         accepted: \"file\", \"embedded\"; redis is not in this version",
    );
    check_refused(
        "[registry]\nkind = \"files\"",
        "5:8: registry.kind: found \"files\"; accepted: \"file\", \"embedded\"",
    );
    check_refused(
        "[[listener]]\naddress = \"127.0.0.1:1884\"\nproxy_protocol = [\"10.0.0.0/8\"]",
        "6:18: listener.proxy_protocol: found a list of ranges; \
         accepted: []; the PROXY protocol is not in this version",
    );
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_with_their_place() {
    let check = |text: &str, place: &str, found: &str| {
        let problems = read(&format!("{LISTENER}\n{text}")).unwrap_err();
        let start = format!("/etc/x/ringbeam.toml:{place}: found ");
        assert!(problems[0].starts_with(&start), "{problems:?}");
        assert!(problems[0].contains(found), "{problems:?}");
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].contains("\\n"), "{problems:?}");
    };
    check(
        "[engine]\nshard = 1",
        "5:1",
        "unknown field `shard`, expected one of `shards`",
    );
    check("[engin]\n", "4:2", "unknown field `engin`");
    check("[control]\nadress = \"\"", "5:1", "unknown field `adress`");
    check("[[radius]]\nx = 1", "5:1", "unknown field `x`");
    check("[[open5gs]]\nx = 1", "5:1", "unknown field `x`");
    check(
        "[engine]\nshards = \"1\"",
        "5:10",
        "invalid type: string \"1\"",
    );
    check(
        "[engine]\nshards = 1.5",
        "5:10",
        "invalid type: floating point",
    );
    check(
        "[[listener]]\nnetwork = \"a\"",
        "4:1",
        "missing field `address`",
    );
    check("[engine\n", "4:8", "unclosed table");
}

#[test]
fn listeners_are_checked() {
    let none = "/etc/x/ringbeam.toml: listener: found none; accepted: one [[listener]] or more";
    assert_eq!(read("").unwrap_err(), [none]);
    for address in [
        "1883",
        "localhost:1883",
        "0.0.0.0",
        ":1883",
        "0.0.0.0:65536",
        "::1:1883",
    ] {
        check_refused(
            &format!("[[listener]]\naddress = \"{address}\""),
            &format!(
                "5:11: listener.address: found \"{address}\"; \
                 accepted: IP:port, such as \"0.0.0.0:1883\" or \"[::]:1883\""
            ),
        );
    }
    for address in ["127.0.0.1:1883", "0.0.0.0:1883", "[::ffff:127.0.0.1]:1883"] {
        check_refused(
            &format!("[[listener]]\nnetwork = \"b\"\naddress = \"{address}\""),
            &format!(
                "6:11: listener.address: found \"{address}\", which an earlier listener has; \
                 accepted: an address for each listener"
            ),
        );
    }
    check_refused(
        "[[listener]]\nnetwork = \"\"\naddress = \"127.0.0.1:1884\"",
        "5:11: listener.network: found \"\"; accepted: a name without spaces",
    );
    check_refused(
        "[[listener]]\nnetwork = \"a b\"\naddress = \"127.0.0.1:1884\"",
        "5:11: listener.network: found \"a b\"; accepted: a name without spaces",
    );
}

#[test]
fn all_refusals_come_at_once() {
    let text = "[engine]\nshards = -1\nstall_timeout_ms = 0\n[registry]\nkind = \"redis\"";
    assert_eq!(read(text).unwrap_err().len(), 4);
}

#[test]
fn the_ca_file_stands_beside_the_configuration() {
    let text = format!("{LISTENER}[upstream]\nca_file = \"roots.pem\"");
    let config = Config::from_toml(&text, Path::new("/etc/ringbeam/ringbeam.toml")).unwrap();
    let expected = Path::new("/etc/ringbeam/roots.pem");
    assert_eq!(config.upstream.ca_file.as_deref(), Some(expected));
}

#[test]
fn what_has_no_effect_is_one_warning_each() {
    let check = |text: &str, expected: &[&str]| {
        let config = read(&format!("{LISTENER}{text}")).unwrap();
        let expected: Vec<String> = expected
            .iter()
            .map(|key| format!("{key}: no effect while registry.kind is \"file\""))
            .collect();
        assert_eq!(config.warnings, expected, "{text}");
    };
    check(
        "[limits]\nmessages_per_second = 1\nbytes_per_second = 1",
        &[],
    );
    check(
        "[upstream]\nca_file = \"\"\npubnub_host = \"mqtt.pndsn.com\"",
        &[],
    );
    check("[upstream]\nconnects_per_second = 5", &[]);
    check("[engine]\ncoalesce_us = 0", &[]);
    check("[engine]\ncoalesce_us = 200", &[]);
    check(
        "[registry]\nsecret_key_file = \"k\"",
        &["registry.secret_key_file"],
    );
}

#[test]
fn a_missing_file_says_where_it_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("a.toml");
    let second = directory.path().join("b.toml");
    let problem = locate(&[&first, &second]).unwrap_err()[0].to_string();
    assert!(problem.contains(first.to_str().unwrap()), "{problem}");
    assert!(problem.contains(second.to_str().unwrap()), "{problem}");
    assert!(problem.contains("--config"), "{problem}");
    std::fs::write(&second, LISTENER).unwrap();
    assert_eq!(locate(&[&first, &second]).unwrap(), second);
    let config = Config::load(Some(&second)).unwrap();
    let path = config.registry.path().to_owned();
    assert_eq!(path, directory.path().join("fleet.json"));
    let problem = Config::load(Some(&first)).unwrap_err()[0].to_string();
    assert!(problem.starts_with(&format!("{}: found no readable file", first.display())));
}

#[test]
fn b_cfg_5_only_what_is_fixed_at_the_start_needs_a_restart() {
    let check = |text: &str, expected: bool| {
        let fresh = read(&format!("{LISTENER}{text}")).unwrap();
        assert_eq!(
            fresh.needs_restart(&read(LISTENER).unwrap()),
            expected,
            "{text}"
        );
    };
    check("", false);
    check("[engine]\nstall_timeout_ms = 100", false);
    check("[registry]\npath = \"other.json\"", false);
    check("[limits]\nmessages_per_second = 1", false);
    check("[engine]\nshards = 2", true);
    check("[engine]\npin = false", true);
    check("[engine]\nmax_sessions = 2", true);
    check("[[listener]]\naddress = \"127.0.0.1:1884\"", true);
    let embedded = "[registry]\nkind = \"embedded\"";
    let open5gs = "[[open5gs]]\nurl = \"http://127.0.0.1/\"";
    check(&format!("{embedded}\n{open5gs}"), true);
}

#[test]
fn the_control_plane_keeps_to_loopback_unless_it_speaks_tls_or_is_told_otherwise() {
    let control =
        |text: &str| read(&format!("{LISTENER}[control]\n{text}")).map(|config| config.control);
    let address = |text: &str| {
        control(text)
            .unwrap()
            .address
            .map(|address| address.to_string())
    };
    assert_eq!(address(""), Some("127.0.0.1:8080".to_owned()));
    assert_eq!(address("address = \"\""), None);
    assert_eq!(address("address = \"[::1]:0\""), Some("[::1]:0".to_owned()));
    let open = "address = \"0.0.0.0:8080\"\n";
    let tls = "tls_cert_file = \"c.pem\"\ntls_key_file = \"k.pem\"\n";
    assert_eq!(
        address(&format!("{open}{tls}")),
        Some("0.0.0.0:8080".to_owned())
    );
    assert_eq!(
        address(&format!("{open}insecure_off_loopback = true")),
        Some("0.0.0.0:8080".to_owned())
    );
    let files = control(tls).unwrap().tls.unwrap();
    assert_eq!(files.0, Path::new("/etc/x/c.pem"));
    let refused = |text: &str| control(text).unwrap_err()[0].to_string();
    assert!(refused(open).contains("control.address: found \"0.0.0.0:8080\", off loopback"));
    assert!(refused("address = \"localhost\"").contains("control.address: found"));
    assert!(refused("tls_key_file = \"k.pem\"").contains("one without the other"));
}
