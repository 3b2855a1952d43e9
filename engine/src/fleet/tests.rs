//! Tests of whole fleet documents: looking up, overlaps, refusals.

use super::*;
use serde_json::{Value, json};

fn read(document: &str) -> Result<Fleet, Vec<Problem>> {
    read::read(document.as_bytes())
}

fn fleet(document: &Value) -> Fleet {
    read(&document.to_string()).unwrap()
}

fn problems(document: &Value) -> Vec<String> {
    let problems = read(&document.to_string()).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn imsi_at(fleet: &Fleet, network: &str, address: &str) -> Option<String> {
    fleet
        .find(network, address.parse().unwrap())
        .map(|sim| sim.identity.imsi.to_string())
}

fn sim(number: u32, address: &str) -> Value {
    json!({"simId": number.to_string(), "imsi": format!("{number:015}"), "ip": address})
}

#[test]
fn the_sample_fleet_is_read() {
    let fleet = read(include_str!("../../fleet.sample.json")).unwrap();
    let counts = Counts {
        groups: 1,
        sims: 1,
        ranges: 1,
        addresses: 65_537,
    };
    assert_eq!(fleet.counts(), counts);
    assert!(fleet.warnings().is_empty(), "{:?}", fleet.warnings());
    assert_eq!(fleet.credentials().len(), 1);
    let sim = fleet.find("default", "127.0.0.2".parse().unwrap()).unwrap();
    assert_eq!(sim.identity.imei_text(), "353456789012348");
    let entry_point = fleet.entry_point(&sim).unwrap();
    assert_eq!(entry_point.destination.to_string(), "mqtt://127.0.0.1:1884");
    assert_eq!(
        imsi_at(&fleet, "default", "127.1.0.0").unwrap(),
        "440100000100000"
    );
    assert_eq!(
        imsi_at(&fleet, "default", "127.1.1.2").unwrap(),
        "440100000100258"
    );
    assert_eq!(imsi_at(&fleet, "default", "127.2.0.0"), None);
}

#[test]
fn b_id_1_ranges_count_from_their_network_address() {
    let fleet = fleet(&json!({"simRanges": [
        {"cidr": "10.0.0.0/8", "imsiBase": "440100000000000", "simIdBase": "8981100000000000000"},
        {"cidr": "2001:db8::/48", "imsiBase": "440110000000000", "simIdBase": "8981110000000000000"},
        {"cidr": "2001:db9::/120", "memberPrefix": 128, "imsiBase": "440120000000000",
         "simIdBase": "8981120000000000000", "imei": "35345678901234"},
    ]}));
    let check = |address: &str, expected: Option<(&str, &str)>| {
        let sim = fleet.find("default", address.parse().unwrap());
        let found = sim.map(|sim| {
            (
                sim.identity.imsi.to_string(),
                sim.identity.sim_id.to_string(),
            )
        });
        let expected = expected.map(|(imsi, sim_id)| (imsi.to_owned(), sim_id.to_owned()));
        assert_eq!(found, expected, "{address}");
    };
    check("10.0.0.0", Some(("440100000000000", "8981100000000000000")));
    check(
        "10.255.255.255",
        Some(("440100016777215", "8981100000016777215")),
    );
    check(
        "::ffff:10.0.1.0",
        Some(("440100000000256", "8981100000000000256")),
    );
    check("9.255.255.255", None);
    check("11.0.0.0", None);
    check(
        "2001:db8::1",
        Some(("440110000000000", "8981110000000000000")),
    );
    check(
        "2001:db8:0:ffff:1:2:3:4",
        Some(("440110000065535", "8981110000000065535")),
    );
    check("2001:db8:1::", None);
    check(
        "2001:db9::ff",
        Some(("440120000000255", "8981120000000000255")),
    );
    check("2001:db9::100", None);
    assert_eq!(fleet.counts().addresses, (1 << 24) + (1 << 80) + 256);
}

#[test]
fn b_id_3_one_address_is_another_sim_in_another_network() {
    let mut other = sim(2, "10.0.0.1");
    other["network"] = json!("apn2");
    let fleet = fleet(&json!({
        "sims": [sim(1, "10.0.0.1"), other],
        "simRanges": [{"network": "apn3", "cidr": "10.0.0.0/24", "imsiBase": "440100000000000",
                       "simIdBase": "100"}],
    }));
    assert_eq!(
        imsi_at(&fleet, "default", "10.0.0.1").unwrap(),
        "000000000000001"
    );
    assert_eq!(
        imsi_at(&fleet, "default", "::ffff:10.0.0.1").unwrap(),
        "000000000000001"
    );
    assert_eq!(
        imsi_at(&fleet, "apn2", "10.0.0.1").unwrap(),
        "000000000000002"
    );
    assert_eq!(
        imsi_at(&fleet, "apn3", "10.0.0.1").unwrap(),
        "440100000000001"
    );
    assert_eq!(imsi_at(&fleet, "apn4", "10.0.0.1"), None);
    assert_eq!(imsi_at(&fleet, "apn2", "10.0.0.2"), None);
    let networks = fleet.networks();
    let mut networks: Vec<&str> = networks.iter().map(|name| &**name).collect();
    networks.sort_unstable();
    assert_eq!(networks, ["apn2", "apn3", "default"]);
}

#[test]
fn an_explicit_sim_overrides_a_range() {
    let mut prefix = sim(3, "2001:db8:0:5::/64");
    prefix["ips"] = json!(["2001:db8:0:5::1", "2001:db8:0:6::/63", "10.0.0.64/30"]);
    let fleet = fleet(&json!({
        "sims": [sim(1, "10.0.0.1"), sim(2, "10.0.0.255"), prefix],
        "simRanges": [
            {"cidr": "10.0.0.0/24", "imsiBase": "440100000000000", "simIdBase": "100"},
            {"cidr": "2001:db8::/60", "imsiBase": "440200000000000", "simIdBase": "400"},
        ],
    }));
    let check = |address: &str, expected: &str| {
        assert_eq!(
            imsi_at(&fleet, "default", address).unwrap(),
            expected,
            "{address}"
        );
    };
    check("10.0.0.0", "440100000000000");
    check("10.0.0.1", "000000000000001");
    check("10.0.0.2", "440100000000002");
    check("10.0.0.63", "440100000000063");
    check("10.0.0.64", "000000000000003");
    check("10.0.0.67", "000000000000003");
    check("10.0.0.68", "440100000000068");
    check("10.0.0.255", "000000000000002");
    check("2001:db8:0:4::1", "440200000000004");
    check("2001:db8:0:5::1", "000000000000003");
    check("2001:db8:0:5::2", "000000000000003");
    check("2001:db8:0:7:ffff::", "000000000000003");
    check("2001:db8:0:8::", "440200000000008");
    assert_eq!(fleet.counts().addresses, 256 + (1 << 68));

    let located = |imsi: &str| -> Vec<String> {
        let found = fleet.find_imsi(&imsi.parse().unwrap(), None);
        found.into_iter().map(|located| located.addresses).collect()
    };
    assert_eq!(located("000000000000001"), ["10.0.0.1"]);
    assert_eq!(
        located("000000000000003"),
        ["10.0.0.64/30, 2001:db8:0:5::/64, 2001:db8:0:5::1, 2001:db8:0:6::/63"]
    );
    assert_eq!(located("440100000000007"), ["10.0.0.7"]);
    assert_eq!(located("440200000000004"), ["2001:db8:0:4::/64"]);
    assert_eq!(located("440100000000001"), <[&str; 0]>::default());
    assert_eq!(located("440200000000005"), <[&str; 0]>::default());
    assert_eq!(located("440100000000256"), <[&str; 0]>::default());
    assert!(
        fleet
            .find_imsi(&"000000000000001".parse().unwrap(), Some("x"))
            .is_empty()
    );
}

#[test]
fn two_explicit_sims_with_one_address_imsi_or_id_are_refused() {
    let mut same_imsi = sim(4, "10.0.0.4");
    same_imsi["imsi"] = json!("000000000000001");
    let mut same_id = sim(5, "10.0.0.5");
    same_id["simId"] = json!("1");
    let document = json!({"sims": [
        sim(1, "10.0.0.1"), json!("no SIM"), sim(2, "10.0.0.1"), sim(3, "10.0.0.0/30"),
        same_imsi, same_id,
    ]});
    let accepted = "accepted: one that belongs to this SIM alone";
    assert_eq!(
        problems(&document),
        [
            "sims[1]: found a string; accepted: an object".to_owned(),
            format!("sims[2].ip: found 10.0.0.1, which is also that of sims[0]; {accepted}"),
            format!("sims[3].ip: found 10.0.0.1, which is also that of sims[0]; {accepted}"),
            format!(
                "sims[4].imsi: found 000000000000001, which is also that of sims[0]; {accepted}"
            ),
            format!("sims[5].simId: found 1, which is also that of sims[0]; {accepted}"),
        ]
    );
}

#[test]
fn ranges_that_overlap_in_one_network_are_refused() {
    let range = |network: &str, cidr: &str, imsi: &str| json!({"network": network, "cidr": cidr, "imsiBase": imsi, "simIdBase": "1000000000"});
    let apart = json!({"simRanges": [
        range("a", "10.0.0.0/24", "440100000000000"), range("a", "10.0.1.0/24", "440110000000000"),
        range("b", "10.0.0.0/23", "440120000000000"),
    ]});
    assert_eq!(fleet(&apart).counts().addresses, 1024);
    let overlapping = json!({"simRanges": [
        range("a", "10.0.1.0/24", "440100000000000"), range("a", "10.0.0.0/22", "440110000000000"),
        range("a", "10.0.3.0/24", "440120000000000"),
    ]});
    let accepted = "accepted: addresses that no other range of the network has";
    assert_eq!(
        problems(&overlapping),
        [
            format!(
                "simRanges[1].cidr: found 10.0.0.0/22, which overlaps 10.0.1.0/24 of \
                 simRanges[0]; {accepted}"
            ),
            format!(
                "simRanges[2].cidr: found 10.0.3.0/24, which overlaps 10.0.0.0/22 of \
                 simRanges[1]; {accepted}"
            ),
        ]
    );
}

#[test]
fn b_id_2_a_sim_without_a_served_entry_point_is_told_why() {
    let with = |enabled: bool| json!({NAMESPACE: {ENTRY_POINT_KEY: {"destination": "mqtt://h", "enabled": enabled}}});
    let mut sims = [
        sim(1, "10.0.0.1"),
        sim(2, "10.0.0.2"),
        sim(3, "10.0.0.3"),
        sim(4, "10.0.0.4"),
    ];
    for (index, group) in [(1, "empty"), (2, "off"), (3, "on")] {
        sims[index]["groupId"] = json!(group);
    }
    // SIMs before their groups: order does not matter.
    let groups = json!([
        {"groupId": "on", "configuration": with(true)},
        {"groupId": "idle", "configuration": with(true)},
        {"groupId": "empty"},
        {"groupId": "off", "configuration": with(false)},
    ]);
    let fleet = read(&format!(
        "{{\"sims\": {}, \"groups\": {groups}}}",
        json!(sims)
    ))
    .unwrap();
    let check = |address: &str, group: Option<&str>, expected: Option<Refusal>| {
        let sim = fleet.find("default", address.parse().unwrap()).unwrap();
        let found = sim
            .group
            .and_then(|index| fleet.group(index))
            .map(|group| &*group.id);
        assert_eq!(found, group, "{address}");
        assert_eq!(fleet.entry_point(&sim).err(), expected, "{address}");
    };
    check("10.0.0.1", None, Some(Refusal::NoGroup));
    check("10.0.0.2", Some("empty"), Some(Refusal::NoEntryPoint));
    check("10.0.0.3", Some("off"), Some(Refusal::EntryPointDisabled));
    check("10.0.0.4", Some("on"), None);
    assert_eq!(fleet.counts().groups, 4);
}

#[test]
fn b_cfg_4_all_problems_of_a_document_come_at_once() {
    let mut member = sim(1, "10.0.0.1");
    member["groupId"] = json!("g9");
    assert_eq!(
        problems(&json!({
            "sims": [5, member],
            "simRanges": [{"cidr": "10.1.0.0/16", "imsiBase": "440100000000000",
                           "simIdBase": "100000", "groupId": "g8"}],
            "groups": [{"groupId": "g1"}, {"groupId": "g1"}, {}],
            "credentials": {},
            "simrange": [],
        })),
        [
            "simrange: found an unknown key; accepted: groups, credentials, sims, simRanges",
            "sims[0]: found a number; accepted: an object",
            "credentials: found an object; accepted: a list of credentials",
            "groups[1].groupId: found \"g1\", which stands above already; \
             accepted: an id of its own for each group",
            "groups[2].groupId: found nothing; accepted: the id of the group",
            "sims[1].groupId: found \"g9\", which is not in groups; \
             accepted: the id of a group, or null",
            "simRanges[0].groupId: found \"g8\", which is not in groups; \
             accepted: the id of a group, or null",
        ]
    );
}

#[test]
fn b_cfg_4_syntax_errors_name_line_and_column() {
    let check = |document: &str, expected: &str| {
        let problems = read(document).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].to_string().starts_with(expected),
            "{}",
            problems[0]
        );
    };
    check(
        "",
        "line 1 column 0: found EOF while parsing a value; accepted: a JSON object",
    );
    check(
        "{\n  \"sims\": [,]}",
        "line 2 column 12: found expected value",
    );
    check("{} x", "line 1 column 4: found trailing characters");
    check(
        "[]",
        "line 1 column 0: found invalid type: sequence, expected a fleet",
    );
    check(
        "{\"sims\": 5}",
        "line 1 column 10: found invalid type: integer `5`, expected a list of",
    );
    check(
        "{\"sims\": [], \"sims\": []}",
        "line 1 column 19: found a second sims",
    );
}

#[test]
fn problems_are_bounded() {
    let sims: Vec<Value> = (0..1000).map(|_| json!({})).collect();
    let problems = problems(&json!({ "sims": sims }));
    assert_eq!(problems.len(), 101);
    assert_eq!(
        problems[100],
        "found 1900 more problems that are not listed"
    );
}

#[test]
fn no_secret_of_a_whole_fleet_is_shown() {
    let fleet = fleet(&json!({
        "groups": [{"groupId": "g", "configuration": {NAMESPACE: {ENTRY_POINT_KEY: {
            "destination": "mqtt://h", "username": "u", "password": "hush", "pasword": "hush"}}}}],
        "credentials": [samples::pubnub("p"), samples::username_password("u"), samples::azure("a")],
    }));
    assert!(!format!("{fleet:?}").contains("hush"));
    assert!(!fleet.warnings().join(" ").contains("hush"));
    const fn shared<T: Send + Sync>() {}
    shared::<Fleet>();
}

/// A million explicit SIMs in the long run, a tenth of it in the short one.
#[test]
fn a_million_explicit_sims_load() {
    let count = match std::env::var_os("RINGBEAM_SOAK") {
        Some(_) => 1_000_000_u32,
        None => 100_000,
    };
    let mut document = String::from("{\"sims\": [");
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        document.push_str(&format!(
            "{comma}{{\"simId\":\"898110000000{number:07}\",\"imsi\":\"44010{number:010}\",\
             \"imei\":\"353456789012348\",\"groupId\":\"g\",\"ip\":\"{address}\"}}"
        ));
    }
    document.push_str("], \"groups\": [{\"groupId\": \"g\"}]}");
    let fleet = read(&document).unwrap();
    assert_eq!(fleet.counts().addresses, u128::from(count));
    assert_eq!(
        imsi_at(&fleet, "default", "10.0.1.0").unwrap(),
        "440100000000256"
    );
}

#[test]
fn b_cfg_4_a_refused_credential_is_not_said_to_be_missing() {
    let entry_point = serde_json::json!({"destination": "mqtts://h", "useClientCert": true,
        "clientCerts": {"default": {"$credentialsId": "c"}}});
    let document = serde_json::json!({
        "groups": [{"groupId": "g", "configuration": {"SoracomBeam": {
            "mqtt://beam.soracom.io:1883": entry_point}}}],
        "credentials": [{"credentialsId": "c", "type": "x509", "credentials": {"cert": 5}}],
    });
    let problems = Fleet::from_json("fleet.json", document.to_string()).unwrap_err();
    let paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "credentials[0].credentials.cert",
            "credentials[0].credentials.key"
        ]
    );
}
