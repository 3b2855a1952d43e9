//! What requests say, one attribute after the other.

use proptest::collection::vec;
use proptest::prelude::*;

use zeroize::Zeroizing;

use super::*;

const NOW_MS: i64 = 1_700_000_000_500;

/// An attribute, written as RFC 2865 draws it.
fn a(kind: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let length = u8::try_from(value.len() + 2).unwrap();
    [&[kind, length], value].concat()
}

fn vendor(number: u32, kind: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    a(26, [&number.to_be_bytes()[..], &a(kind, value)].concat())
}

fn networks() -> Networks {
    let mut networks = Networks::default();
    assert!(networks.add("apn.example", Arc::from("default")));
    networks
}

fn reading(attributes: &[Vec<u8>]) -> Result<Reading, Ignored> {
    let bytes = attributes.concat();
    let clients = Clients::default();
    let client = client(&["default"], &[]);
    let sender = Sender {
        address: "::ffff:10.9.9.9".parse().unwrap(),
        client: &client,
        clients: &clients,
    };
    read(Attributes::new(&bytes), sender, &networks(), NOW_MS)
}

fn client(networks: &[&str], nas: &[&str]) -> Client {
    let all = |names: &[&str]| -> Vec<Arc<str>> { names.iter().copied().map(Arc::from).collect() };
    Client {
        name: Arc::from("c"),
        secret: Zeroizing::new(b"hush".to_vec()),
        networks: Arc::from(all(networks)),
        nas: all(nas),
    }
}

fn event(attributes: &[Vec<u8>]) -> Result<AccountingEvent, Ignored> {
    reading(attributes).map(|reading| reading.event)
}

/// A Start with all that a gateway sends.
fn start() -> Vec<Vec<u8>> {
    vec![
        a(40, [0, 0, 0, 1]),
        a(44, "0A0B0C0D01020304"),
        a(50, "multi"),
        a(4, [10, 0, 0, 9]),
        a(32, "pgw-1"),
        a(1, "819012345678"),
        a(31, "819012345678"),
        a(30, "apn.example.mnc010.mcc440.gprs"),
        a(8, [10, 1, 2, 3]),
        a(
            97,
            [&[0, 64][..], &[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2]].concat(),
        ),
        a(
            123,
            [&[0, 56][..], &[0x20, 1, 0x0d, 0xb8, 9, 0, 0, 0]].concat(),
        ),
        vendor(10415, 1, "440100000000001"),
        vendor(10415, 8, "44010"),
        vendor(10415, 20, "2605317931138301"),
        vendor(9, 1, "999999999999999"),
        a(55, 1_700_000_000_u32.to_be_bytes()),
    ]
}

/// The same with some attributes of one kind in place of its own.
fn start_with(kind: u8, values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut attributes = start();
    attributes.retain(|attribute| attribute[0] != kind);
    attributes.extend_from_slice(values);
    attributes
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn blocks(attributes: &[Vec<u8>]) -> Result<Vec<String>, Ignored> {
    let Act::Bind { blocks, .. } = event(attributes)?.act else {
        return Ok(Vec::new());
    };
    Ok(blocks.iter().map(ToString::to_string).collect())
}

#[test]
fn b_id_1_a_start_says_which_sim_has_which_addresses() {
    let expected = AccountingEvent {
        nas: Arc::from("10.0.0.9"),
        client: Arc::from("c"),
        networks: Arc::from([Arc::from("default")]),
        request: None,
        time_ms: 1_700_000_000_000,
        own_ms: Some(1_700_000_000_000),
        act: Act::Bind {
            is_start: true,
            session_id: Arc::from("0A0B0C0D01020304"),
            multi_session_id: Arc::from("multi"),
            network: Arc::from("default"),
            apn: Arc::from("apn.example.mnc010.mcc440.gprs"),
            imsi: "440100000000001".parse().unwrap(),
            imei: "260531793113837".parse().ok(),
            blocks: vec![net("10.1.2.3/32"), net("2001:db8:1:2::/64")],
        },
    };
    assert_eq!(event(&start()).unwrap(), expected);
    let interim = event(&start_with(40, &[a(40, [0, 0, 0, 3])])).unwrap();
    assert!(matches!(
        interim.act,
        Act::Bind {
            is_start: false,
            ..
        }
    ));
}

#[test]
fn b_id_4_a_stop_names_its_session_alone() {
    let stop = [a(40, [0, 0, 0, 2]), a(44, "x"), a(4, [10, 0, 0, 9])];
    let mut expected = Act::Stop {
        session_id: Arc::from("x"),
        imsi: None,
    };
    assert_eq!(event(&stop).unwrap().act, expected);
    if let Act::Stop { imsi, .. } = &mut expected {
        *imsi = "440100000000001".parse().ok();
    }
    let named = [&stop[..], &[vendor(10415, 1, "440100000000001")]].concat();
    assert_eq!(event(&named).unwrap().act, expected);
    assert_eq!(event(&[a(40, [0, 0, 0, 7])]).unwrap().act, Act::On);
    assert_eq!(event(&[a(40, [0, 0, 0, 8])]).unwrap().act, Act::Off);
}

#[test]
fn what_says_nothing_is_told_apart() {
    let check = |attributes: &[Vec<u8>], expected: Ignored| {
        assert_eq!(event(attributes).unwrap_err(), expected);
    };
    check(&[], Ignored::StatusType);
    check(&start_with(40, &[]), Ignored::StatusType);
    check(&start_with(40, &[a(40, [0, 0, 0, 9])]), Ignored::StatusType);
    check(&start_with(40, &[a(40, [1])]), Ignored::StatusType);
    check(&start_with(44, &[]), Ignored::NoSession);
    check(&start_with(44, &[a(44, "")]), Ignored::NoSession);
    check(&[a(40, [0, 0, 0, 2])], Ignored::NoSession);
    // B-ID-3
    check(&start_with(30, &[]), Ignored::UnknownApn);
    check(&start_with(30, &[a(30, "other")]), Ignored::UnknownApn);
    // The telephone number is no IMSI, not even where it has as many digits.
    check(&start_with(26, &[]), Ignored::NoImsi);
    let mut attributes = start_with(26, &[]);
    attributes.push(a(31, "440100000000001"));
    check(&attributes, Ignored::NoImsi);
    let mut attributes = start_with(8, &[]);
    attributes.retain(|attribute| attribute[0] != 97);
    check(&attributes, Ignored::NoAddress);
}

#[test]
fn b_id_1_the_user_name_is_second_best() {
    let mut attributes = start_with(26, &[]);
    attributes.retain(|attribute| attribute[0] != 1);
    attributes.push(a(
        1,
        "0440100000000007@nai.epc.mnc010.mcc440.3gppnetwork.org",
    ));
    let Act::Bind { imsi, imei, .. } = event(&attributes).unwrap().act else {
        panic!();
    };
    assert_eq!((imsi.as_str(), imei), ("440100000000007", None));
}

#[test]
fn addresses_are_those_of_the_device_alone() {
    let check = |kind: u8, values: &[Vec<u8>], expected: &[&str]| {
        assert_eq!(blocks(&start_with(kind, values)).unwrap(), expected);
    };
    let (v4, v6) = ("10.1.2.3/32", "2001:db8:1:2::/64");
    for address in [[0; 4], [255; 4], [255, 255, 255, 254]] {
        check(8, &[a(8, address)], &[v6]);
    }
    check(8, &[a(8, [10, 0, 0])], &[v6]);
    let prefix = |bits: u8, start: &[u8]| a(97, [&[0, bits], start].concat());
    // As few bytes as there are bits, all of them, and bits behind the prefix.
    check(
        97,
        &[prefix(56, &[0x20, 1, 0x0d, 0xb8, 0, 0, 5])],
        &[v4, "2001:db8:0:500::/56"],
    );
    let mut all = [0xff; 16];
    all[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    check(97, &[prefix(64, &all)], &[v4, "2001:db8:ffff:ffff::/64"]);
    // A prefix of too many devices, one that is none, and what does not fit.
    for wrong in [
        prefix(0, &[]),
        prefix(47, &[0x20, 1]),
        prefix(129, &all),
        prefix(64, &[0; 17]),
        prefix(64, &[0; 8]),
        a(97, []),
        a(97, [0]),
    ] {
        check(97, &[wrong], &[v4]);
    }
    // An address in the device's own prefix goes without saying; another one does not.
    let mut inside = [0; 16];
    inside[..8].copy_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2]);
    inside[15] = 1;
    check(168, &[a(168, inside)], &[v4, v6]);
    inside[7] = 3;
    check(168, &[a(168, inside)], &[v4, v6, "2001:db8:1:3::1/128"]);
    check(8, &[a(8, [10, 1, 2, 3]), a(8, [10, 1, 2, 3])], &[v6, v4]);
    let many: Vec<_> = (1..100).map(|number| a(8, [10, 2, 0, number])).collect();
    assert_eq!(blocks(&start_with(8, &many)).unwrap().len(), RADIUS_BLOCKS);
}

#[test]
fn an_access_server_is_known_by_its_own_word() {
    let check = |attributes: &[Vec<u8>], expected: &str| {
        let attributes = [&[a(40, [0, 0, 0, 7])], attributes].concat();
        assert_eq!(&*event(&attributes).unwrap().nas, expected);
    };
    let mut v6 = [0; 16];
    v6[0] = 0xfd;
    check(&[a(32, "pgw"), a(95, v6), a(4, [10, 0, 0, 9])], "10.0.0.9");
    check(&[a(32, "pgw"), a(95, v6)], "fd00::");
    check(&[a(32, "pgw\0"), a(4, [1])], "pgw");
    check(&[a(32, "")], "10.9.9.9");
    check(&[], "10.9.9.9");
}

#[test]
fn b_id_6_a_client_speaks_of_its_networks_and_access_servers_alone() {
    let check = |client: &Client, attributes: &[Vec<u8>], expected: Result<&str, Ignored>| {
        let bytes = attributes.concat();
        let mut clients = Clients::default();
        clients.list([Arc::from("pgw-1"), Arc::from("10.0.0.9")]);
        let sender = Sender {
            address: "10.9.9.9".parse().unwrap(),
            client,
            clients: &clients,
        };
        let read = read(Attributes::new(&bytes), sender, &networks(), NOW_MS);
        let whose = read.map(|read| read.event.client.to_string());
        assert_eq!(whose.as_deref().map_err(|ignored| *ignored), expected);
    };
    let off = |nas: [u8; 4]| vec![a(40, [0, 0, 0, 8]), a(4, nas)];
    let owner = client(&["default"], &["pgw-1", "10.0.0.9"]);
    check(&owner, &start(), Ok(""));
    check(&owner, &off([10, 0, 0, 9]), Ok(""));
    check(&owner, &off([10, 0, 0, 8]), Err(Ignored::ForeignNas));
    let any = client(&["default"], &[]);
    check(&any, &start(), Err(Ignored::ForeignNas));
    check(&any, &off([10, 0, 0, 9]), Err(Ignored::ForeignNas));
    check(&any, &off([10, 0, 0, 8]), Ok("c"));
    let elsewhere = client(&["other"], &["10.0.0.9"]);
    check(&elsewhere, &start(), Err(Ignored::ForeignNetwork));
}

#[test]
fn b_id_7_times_are_the_access_servers_own_while_they_are_about_now_and_never_to_come() {
    let check = |attributes: &[Vec<u8>], expected_ms: i64, expected_wrong: bool| {
        let attributes = [&[a(40, [0, 0, 0, 7])], attributes].concat();
        let found = reading(&attributes).unwrap();
        assert_eq!(found.event.time_ms, expected_ms, "{attributes:?}");
        assert_eq!(found.is_clock_wrong, expected_wrong, "{attributes:?}");
    };
    let at = |seconds: u32| a(55, seconds.to_be_bytes());
    let late = |seconds: u32| a(41, seconds.to_be_bytes());
    let now = 1_700_000_000;
    check(&[], NOW_MS, false);
    check(&[late(30)], NOW_MS - 30_000, false);
    check(&[at(now)], 1_700_000_000_000, false);
    check(&[at(now - 299)], 1_699_999_701_000, false);
    check(&[at(now + 300)], NOW_MS, false);
    // Ten minutes slow, ten minutes fast, and never set.
    check(&[at(now - 600)], NOW_MS, true);
    check(&[at(now - 301)], NOW_MS, true);
    check(&[at(now + 600)], NOW_MS, true);
    check(&[at(u32::MAX)], NOW_MS, true);
    check(&[at(946_684_830)], NOW_MS, true);
    check(&[at(5000), late(30)], NOW_MS - 30_000, true);
    // It has tried to tell for as long.
    check(&[at(now - 600), late(600)], 1_699_999_400_000, false);
    check(&[at(now - 600), late(86_400)], NOW_MS - 86_400_000, true);
    check(&[at(now - 86_400), late(86_400)], 1_699_913_600_000, false);
    // For longer than anything is remembered.
    check(&[late(86_401)], NOW_MS, true);
    check(&[late(u32::MAX)], NOW_MS, true);
    check(&[at(now), late(u32::MAX)], 1_700_000_000_000, true);
    check(&[a(55, [1])], NOW_MS, false);
    let own = |attributes: &[Vec<u8>]| event(attributes).unwrap().own_ms;
    assert_eq!(own(&[a(40, [0, 0, 0, 7]), at(5000)]), Some(5_000_000));
    assert_eq!(own(&[a(40, [0, 0, 0, 7])]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_attributes_panic(
        kinds in vec((prop::sample::select(vec![1, 4, 8, 26, 30, 32, 40, 41, 44, 50, 55, 95, 97, 168]), vec(any::<u8>(), 0..40)), 0..12),
        rest in vec(any::<u8>(), 0..60),
    ) {
        let mut attributes: Vec<_> = kinds.iter().map(|(kind, value)| a(*kind, value)).collect();
        attributes.push(vendor(10415, 1, &rest));
        attributes.push(a(26, [&10415_u32.to_be_bytes()[..], &rest].concat()));
        let mut all = start();
        all.extend(attributes.iter().cloned());
        drop(event(&attributes));
        drop(event(&all));
        attributes.extend(start());
        let found = event(&attributes);
        if let Ok(AccountingEvent { time_ms, act: Act::Bind { blocks, .. }, .. }) = found {
            prop_assert!(time_ms <= NOW_MS);
            prop_assert!((1..=RADIUS_BLOCKS).contains(&blocks.len()));
        }
    }
}
