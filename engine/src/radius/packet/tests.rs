//! Packets of an encoder of the tests' own, of FreeRADIUS and of nobody: what is right is answered, what is not is
//! refused, and nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECRET: &[u8] = b"xyzzy5461";

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    Md5::digest(parts.concat()).into()
}

/// HMAC-MD5 as RFC 2104 writes it down.
fn hmac_md5(secret: &[u8], text: &[u8]) -> [u8; 16] {
    let mut key = [0; 64];
    key[..secret.len()].copy_from_slice(secret);
    let pad = |with: u8| key.map(|byte| byte ^ with);
    md5(&[&pad(0x5c), &md5(&[&pad(0x36), text])])
}

fn attribute(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len() + 2).unwrap();
    [&[kind, length], value].concat()
}

fn head(code: u8, identifier: u8, attributes: &[u8]) -> [u8; 4] {
    let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
    [code, identifier, length[0], length[1]]
}

/// An accounting request; signed where an attribute 80 with zeros is among these.
fn accounting(identifier: u8, attributes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut attributes = attributes.to_vec();
    let head = head(4, identifier, &attributes);
    let unsigned = attribute(80, &[0; 16]);
    if let Some(place) = attributes.windows(18).position(|part| part == unsigned) {
        let mac = hmac_md5(secret, &[&head, &[0; 16][..], &attributes].concat());
        attributes[place + 2..place + 18].copy_from_slice(&mac);
    }
    let authenticator = md5(&[&head, &[0; 16], &attributes, secret]);
    [&head[..], &authenticator, &attributes].concat()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    pairs.map(|p| u8::from_str_radix(p, 16).unwrap()).collect()
}

/// A request with everything that an answer has to look at.
fn full() -> Vec<u8> {
    let attributes = [
        attribute(40, &[0, 0, 0, 1]),
        attribute(33, b"first"),
        attribute(80, &[0; 16]),
        attribute(44, b"session"),
        attribute(33, b""),
        attribute(33, &[7; 253]),
    ];
    accounting(7, &attributes.concat(), SECRET)
}

#[test]
fn a_status_server_of_the_rfc_is_authentic() {
    // RFC 5997, section 6.2.
    let datagram = from_hex(
        "0c b3 00 26 92 5f 6b 66 dd 5f ed 57 1f cb 1d b7 ad 38 82 60 \
         50 12 e8 d6 ea bd a9 10 87 5c d9 1f da de 26 36 78 58",
    );
    let packet = Packet::parse(&datagram).unwrap();
    assert_eq!((packet.code(), packet.identifier()), (Code::Status, 0xb3));
    assert!(packet.is_authentic(SECRET));
    assert!(!packet.is_authentic(b"xyzzy5462"));
    let answer = packet.answer(SECRET);
    assert_eq!(answer.len(), 38);
    check_answer(&answer, &datagram, SECRET);
}

/// Checks an answer by the rules that a client goes by.
fn check_answer(answer: &[u8], request: &[u8], secret: &[u8]) {
    assert_eq!(answer[..2], [5, request[1]]);
    let length = usize::from(u16::from_be_bytes([answer[2], answer[3]]));
    assert_eq!(length, answer.len());
    let attributes = &answer[20..];
    let authenticator = md5(&[&answer[..4], &request[4..20], attributes, secret]);
    assert_eq!(answer[4..20], authenticator);
    let of = |bytes: &[u8], kind: u8| -> Vec<Vec<u8>> {
        let all = Attributes::new(bytes).filter(|attribute| attribute.kind == kind);
        all.map(|attribute| attribute.value.to_vec()).collect()
    };
    assert_eq!(of(attributes, 33), of(&request[20..], 33));
    let signed = of(attributes, 80);
    assert_eq!(signed.len(), of(&request[20..], 80).len());
    if let Some(found) = signed.first() {
        let zeros = [0; 16];
        let vector = if request[0] == 12 {
            &request[4..20]
        } else {
            &zeros
        };
        let mut unsigned = attributes.to_vec();
        unsigned[2..18].fill(0);
        let right = hmac_md5(secret, &[&answer[..4], vector, &unsigned].concat());
        assert_eq!(found[..], right);
    }
}

#[test]
fn requests_are_parsed_checked_and_answered() {
    let check = |datagram: &[u8], secret: &[u8]| {
        let packet = Packet::parse(datagram).unwrap();
        assert_eq!(packet.code(), Code::Accounting);
        assert!(packet.is_authentic(secret));
        assert!(!packet.is_authentic(b"other"));
        assert!(!packet.is_authentic(b""));
        check_answer(&packet.answer(secret), datagram, secret);
    };
    check(&accounting(0, &[], SECRET), SECRET);
    check(
        &accounting(255, &attribute(1, b""), &[0xff; 64]),
        &[0xff; 64],
    );
    check(&full(), SECRET);
    // The longest there is, all of it to be sent back.
    let states = attribute(33, &[1; 253]).repeat(15);
    let rest = attribute(33, &vec![2; 4096 - 20 - states.len() - 18 - 2]);
    let all = [attribute(80, &[0; 16]), states, rest].concat();
    let longest = accounting(1, &all, SECRET);
    assert_eq!(longest.len(), 4096);
    check(&longest, SECRET);
    // What follows the stated length is padding.
    let mut padded = full();
    padded.extend([0xff; 100]);
    let packet = Packet::parse(&padded).unwrap();
    assert!(packet.is_authentic(SECRET));
    assert_eq!(packet.attributes().count(), 6);
}

#[test]
fn what_is_no_request_is_refused() {
    let check = |datagram: &[u8], expected: Malformed| {
        assert_eq!(
            Packet::parse(datagram).unwrap_err(),
            expected,
            "{datagram:?}"
        );
    };
    let with_length = |length: u16| {
        let mut datagram = full();
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        datagram
    };
    check(&[], Malformed::Short);
    check(&full()[..19], Malformed::Short);
    check(&full()[..21], Malformed::Short);
    check(&with_length(0), Malformed::Length(0));
    check(&with_length(19), Malformed::Length(19));
    check(&with_length(4096), Malformed::Short);
    check(&with_length(4097), Malformed::Length(4097));
    check(&with_length(65_535), Malformed::Length(65_535));
    for attributes in [&[1][..], &[1, 0], &[1, 1], &[1, 3], &[1, 4, 0, 1, 255, 0]] {
        check(&accounting(1, attributes, SECRET), Malformed::Attribute);
    }
    for wrong in [
        attribute(80, &[0; 15]),
        attribute(80, &[]),
        attribute(80, &[0; 16]).repeat(2),
    ] {
        check(
            &accounting(1, &wrong, SECRET),
            Malformed::MessageAuthenticator,
        );
    }
    for code in [0, 1, 2, 3, 5, 11, 13, 40, 43, 255] {
        let mut datagram = full();
        datagram[0] = code;
        check(&datagram, Malformed::Code(code));
    }
    // A Status-Server that is not signed could be anybody's (RFC 5997, section 3).
    let mut status = accounting(1, &attribute(44, b"x"), SECRET);
    status[0] = 12;
    assert!(!Packet::parse(&status).unwrap().is_authentic(SECRET));
}

#[test]
fn every_truncation_and_every_changed_byte_is_noticed() {
    let whole = full();
    for length in 0..whole.len() {
        Packet::parse(&whole[..length]).unwrap_err();
    }
    for place in 0..whole.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[place] ^= change;
            let is_taken = Packet::parse(&changed).is_ok_and(|packet| packet.is_authentic(SECRET));
            assert!(!is_taken, "{place} {change}");
        }
    }
}

#[test]
fn a_signature_counts_where_there_is_one() {
    let mut attributes = [attribute(80, &[9; 16]), attribute(44, b"x")].concat();
    let forged = accounting(1, &attributes, SECRET);
    assert!(!Packet::parse(&forged).unwrap().is_authentic(SECRET));
    attributes[2..18].fill(0);
    let right = accounting(1, &attributes, SECRET);
    assert!(Packet::parse(&right).unwrap().is_authentic(SECRET));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(mut bytes in vec(any::<u8>(), 0..300), is_framed in any::<bool>(), secret in vec(any::<u8>(), 0..80)) {
        if is_framed && bytes.len() >= 20 {
            bytes[0] = if bytes[0] < 128 { 4 } else { 12 };
            let length = u16::try_from(bytes.len()).unwrap();
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert!(packet.attributes().count() <= bytes.len() / 2);
            let _: bool = packet.is_authentic(&secret);
            prop_assert!(packet.answer(&secret).len() <= bytes.len());
        }
        let _: usize = Attributes::new(&bytes).count();
    }

    #[test]
    fn whatever_is_encoded_is_taken_and_answered(
        list in vec((any::<u8>(), vec(any::<u8>(), 0..60)), 0..30),
        identifier in any::<u8>(),
        secret in vec(any::<u8>(), 1..64),
    ) {
        let list: Vec<_> = list.into_iter().filter(|(kind, _)| *kind != 80).collect();
        let attributes: Vec<u8> = list.iter().flat_map(|(kind, value)| attribute(*kind, value)).collect();
        let datagram = accounting(identifier, &attributes, &secret);
        let packet = Packet::parse(&datagram).unwrap();
        prop_assert!(packet.is_authentic(&secret));
        let read: Vec<_> = packet.attributes().map(|a| (a.kind, a.value.to_vec())).collect();
        prop_assert_eq!(read, list);
        check_answer(&packet.answer(&secret), &datagram, &secret);
    }
}
