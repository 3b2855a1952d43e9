//! Cross-check with a codec that shares nothing with this crate: what it writes passes unchanged, and
//! what is rewritten here reads there as it should.

#[cfg(test)]
#[path = "common/caller.rs"]
mod caller;
#[cfg(test)]
#[path = "common/packets.rs"]
mod packets;
#[cfg(test)]
#[path = "common/search_and_replace.rs"]
mod search_and_replace;

#[cfg(test)]
mod cross_check {
    use std::fmt::Debug;
    use std::num::{NonZeroU16, NonZeroU32};

    use bytes::{Bytes, BytesMut};
    use bytestring::ByteString;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use ringbeam_proto::opening::{Credentials, upstream_connect};
    use ringbeam_proto::packet::Version;
    use ringbeam_proto::packet::connect::{self, Opening};
    use ringbeam_proto::platform::Platform;
    use ringbeam_proto::rules::Rules;
    use ringbeam_proto::session::Side;
    use rmqtt_codec::types::{Protocol, Publish, QoS};
    use rmqtt_codec::v5::{
        Auth, Disconnect, PublishAck, PublishAck2, PublishProperties, RetainHandling, Subscribe,
        SubscribeAck, SubscribeAckReason, SubscriptionOptions, Unsubscribe, UnsubscribeAck,
        UnsubscribeAckReason,
    };
    use rmqtt_codec::{v3, v5};
    use tokio_util::codec::{Decoder, Encoder};

    use super::caller::{Caller, Direction, identity};
    use super::packets::Source;
    use super::search_and_replace::search_and_replace;

    const ID: NonZeroU16 = NonZeroU16::MIN;
    const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

    fn text(text: &str) -> ByteString {
        ByteString::from(text)
    }

    fn encode<P, C: Encoder<P, Error: Debug>>(mut codec: C, packet: P) -> BytesMut {
        let mut bytes = BytesMut::new();
        codec.encode(packet, &mut bytes).unwrap();
        bytes
    }

    /// Every packet in `bytes`; `None` where the other codec does not take one.
    fn decode<P, C: Decoder<Item = (P, u32)>>(mut codec: C, bytes: &[u8]) -> Option<Vec<P>> {
        let mut bytes = BytesMut::from(bytes);
        let mut packets = Vec::new();
        while !bytes.is_empty() {
            packets.push(codec.decode(&mut bytes).ok()??.0);
        }
        Some(packets)
    }

    fn codec_of_3() -> v3::Codec {
        v3::Codec::new(0)
    }

    fn codec_of_5() -> v5::Codec {
        v5::Codec::new(0, 0)
    }

    /// `bytes` of an established 201912 session without rewriting pass unchanged.
    fn check_passes(version: Version, from: Side, bytes: &[u8]) {
        let mut caller = Caller::open(version, Rules::default());
        caller.feed(from, bytes, &mut |pending| pending);
        let Direction {
            forwarded, replied, ..
        } = caller.direction(from);
        assert_eq!(forwarded, bytes, "{version:?}");
        assert!(replied.is_empty());
    }

    fn messages(properties: Option<&PublishProperties>) -> Vec<Publish> {
        let mut messages = Vec::new();
        for qos in QOS {
            for (retain, dup) in [(false, false), (true, qos != QoS::AtMostOnce)] {
                for length in [0, 1, 127, 128, 20_000] {
                    messages.push(Publish {
                        dup,
                        retain,
                        qos,
                        topic: text("a/日本/{{imsi}}"),
                        packet_id: (qos != QoS::AtMostOnce).then_some(ID),
                        payload: Bytes::from(vec![b'x'; length]),
                        properties: properties.cloned(),
                    });
                }
            }
        }
        messages
    }

    #[test]
    fn b_ver_2_packets_of_3_1_and_3_1_1_pass_unchanged() {
        let topic_filters: Vec<_> = QOS.map(|qos| (text("a/+/#"), qos)).to_vec();
        let both = [
            v3::Packet::PublishAck { packet_id: ID },
            v3::Packet::PublishReceived { packet_id: ID },
            v3::Packet::PublishRelease { packet_id: ID },
            v3::Packet::PublishComplete { packet_id: ID },
        ];
        let device = [
            v3::Packet::Subscribe {
                packet_id: ID,
                topic_filters,
            },
            v3::Packet::Unsubscribe {
                packet_id: ID,
                topic_filters: vec![text("a"), text("b/#")],
            },
            v3::Packet::PingRequest,
            v3::Packet::Disconnect,
        ];
        let mut status: Vec<_> = QOS.map(v3::SubscribeReturnCode::Success).to_vec();
        status.push(v3::SubscribeReturnCode::Failure);
        let upstream = [
            v3::Packet::SubscribeAck {
                packet_id: ID,
                status,
            },
            v3::Packet::UnsubscribeAck { packet_id: ID },
            v3::Packet::PingResponse,
        ];
        let messages = messages(None).into_iter().map(v3::Packet::from);
        let both: Vec<_> = messages.chain(both).collect();
        for version in [Version::V31, Version::V311] {
            for packet in both.iter().chain(&device) {
                check_passes(version, Side::Device, &encode(codec_of_3(), packet.clone()));
            }
            for packet in both.iter().chain(&upstream) {
                check_passes(
                    version,
                    Side::Upstream,
                    &encode(codec_of_3(), packet.clone()),
                );
            }
        }
    }

    #[test]
    fn b_con_5_packets_of_5_pass_unchanged() {
        let properties = PublishProperties {
            topic_alias: Some(ID),
            correlation_data: Some(Bytes::from_static(b"\x00\xff")),
            message_expiry_interval: NonZeroU32::new(9),
            content_type: Some(text("text/plain")),
            user_properties: vec![(text("k"), text("v")), (text("k"), text("w"))],
            is_utf8_payload: true,
            response_topic: Some(text("r/{{imsi}}")),
            subscription_ids: vec![],
        };
        let acknowledged = PublishAck {
            packet_id: ID,
            properties: vec![(text("k"), text("v"))],
            reason_string: Some(text("why")),
            ..PublishAck::default()
        };
        let released = PublishAck2 {
            packet_id: ID,
            properties: vec![(text("k"), text("v"))],
            reason_string: Some(text("why")),
            ..PublishAck2::default()
        };
        let mut both: Vec<_> = [Some(&PublishProperties::default()), Some(&properties)]
            .into_iter()
            .flat_map(messages)
            .map(|message| v5::Packet::Publish(Box::new(message)))
            .collect();
        both.extend([
            v5::Packet::PublishAck(acknowledged.clone()),
            v5::Packet::PublishReceived(acknowledged),
            v5::Packet::PublishRelease(released.clone()),
            v5::Packet::PublishComplete(released),
            v5::Packet::Auth(Auth {
                auth_method: Some(text("m")),
                auth_data: Some(Bytes::from_static(b"d")),
                ..Auth::default()
            }),
            v5::Packet::Disconnect(Disconnect {
                reason_string: Some(text("why")),
                ..Disconnect::default()
            }),
        ]);
        for packet in both {
            let bytes = encode(codec_of_5(), packet);
            check_passes(Version::V5, Side::Device, &bytes);
            check_passes(Version::V5, Side::Upstream, &bytes);
        }
    }

    #[test]
    fn b_con_5_subscriptions_of_5_pass_unchanged() {
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::NoAtSubscribe,
        };
        for packet in [
            v5::Packet::Subscribe(Subscribe {
                packet_id: ID,
                id: NonZeroU32::new(268_435_455),
                user_properties: vec![(text("k"), text("v"))],
                topic_filters: vec![
                    (text("a/+/#"), options),
                    (text("$share/g/a"), SubscriptionOptions::default()),
                ],
            }),
            v5::Packet::Unsubscribe(Unsubscribe {
                packet_id: ID,
                user_properties: vec![],
                topic_filters: vec![text("a"), text("$share/g/a")],
            }),
            v5::Packet::PingRequest,
        ] {
            check_passes(Version::V5, Side::Device, &encode(codec_of_5(), packet));
        }
        for packet in [
            v5::Packet::SubscribeAck(SubscribeAck {
                packet_id: ID,
                properties: vec![],
                reason_string: Some(text("why")),
                status: vec![
                    SubscribeAckReason::GrantedQos1,
                    SubscribeAckReason::NotAuthorized,
                ],
            }),
            v5::Packet::UnsubscribeAck(UnsubscribeAck {
                packet_id: ID,
                properties: vec![],
                reason_string: None,
                status: vec![
                    UnsubscribeAckReason::Success,
                    UnsubscribeAckReason::NoSubscriptionExisted,
                ],
            }),
            v5::Packet::PingResponse,
        ] {
            check_passes(Version::V5, Side::Upstream, &encode(codec_of_5(), packet));
        }
    }

    #[test]
    fn b_con_1_connacks_pass_unchanged() {
        let accepted = v5::ConnectAck {
            session_present: true,
            session_expiry_interval_secs: Some(7),
            receive_max: NonZeroU16::MIN,
            max_qos: QoS::AtLeastOnce,
            max_packet_size: Some(1000),
            assigned_client_id: Some(text("id")),
            topic_alias_max: 3,
            retain_available: false,
            wildcard_subscription_available: false,
            subscription_identifiers_available: false,
            shared_subscription_available: false,
            server_keepalive_sec: Some(30),
            response_info: Some(text("r")),
            server_reference: Some(text("s")),
            auth_method: Some(text("m")),
            auth_data: Some(Bytes::from_static(b"d")),
            reason_string: Some(text("why")),
            user_properties: vec![(text("k"), text("v"))],
            ..v5::ConnectAck::default()
        };
        let refused = v3::ConnectAck {
            return_code: v3::ConnectAckReason::NotAuthorized,
            session_present: false,
        };
        for (version, bytes) in [
            (
                Version::V311,
                encode(codec_of_3(), v3::Packet::ConnectAck(refused)),
            ),
            (
                Version::V5,
                encode(codec_of_5(), v5::Packet::ConnectAck(Box::new(accepted))),
            ),
        ] {
            let mut caller = Caller::connecting(version, Rules::default());
            caller.feed(Side::Upstream, &bytes, &mut |pending| pending);
            assert_eq!(caller.from_upstream.forwarded, bytes);
        }
    }

    /// A CONNECT is read here as it was meant there, and goes upstream unchanged.
    fn check_connect(bytes: &[u8], check: impl Fn(&connect::Connect<'_>)) {
        let Ok(Opening::Whole(connect, length)) = connect::read(bytes) else {
            panic!("{bytes:02x?}")
        };
        assert_eq!(length, bytes.len());
        check(&connect);
        let rules = Rules::default();
        let upstream = upstream_connect(
            &connect,
            &rules,
            &identity(),
            Credentials::PassThrough,
            None,
        );
        assert_eq!(upstream.unwrap(), bytes);
    }

    #[test]
    fn b_con_1_connects_pass_unchanged() {
        for level in [3, 4] {
            for qos in QOS {
                let packet = v3::Connect {
                    protocol: Protocol(level),
                    clean_session: qos != QoS::AtLeastOnce,
                    keep_alive: 60,
                    last_will: Some(v3::LastWill {
                        qos,
                        retain: true,
                        topic: text("w/日本"),
                        message: Bytes::from_static(b"gone"),
                    }),
                    client_id: text("client"),
                    username: Some(text("user")),
                    password: Some(Bytes::from_static(b"\x00\xff")),
                    cert: None,
                };
                let mut bytes = encode(codec_of_3(), packet.into());
                if level == 3 {
                    // That codec writes MQTT 3.1's name with the level of 3.1.1.
                    assert_eq!(std::mem::replace(&mut bytes[10], 3), 4);
                }
                check_connect(&bytes, |connect| {
                    assert_eq!(connect.version.level(), level);
                    assert_eq!(connect.clean, qos != QoS::AtLeastOnce);
                    assert_eq!(
                        (connect.client_id, connect.keep_alive_seconds),
                        ("client", 60)
                    );
                    assert_eq!(connect.username, Some("user"));
                    assert_eq!(connect.password, Some(&b"\x00\xff"[..]));
                    let will = connect.will.unwrap();
                    assert_eq!((will.qos.bits(), will.retain), (qos.value(), true));
                    assert_eq!((will.topic, will.payload), ("w/日本", &b"gone"[..]));
                });
            }
        }
    }

    #[test]
    fn b_con_5_connects_of_5_pass_unchanged() {
        let packet = v5::Connect {
            keep_alive: 1200,
            session_expiry_interval_secs: 9,
            auth_method: Some(text("m")),
            auth_data: Some(Bytes::from_static(b"d")),
            request_problem_info: false,
            request_response_info: true,
            receive_max: Some(ID),
            topic_alias_max: 3,
            user_properties: vec![(text("k"), text("v"))],
            max_packet_size: NonZeroU32::new(1000),
            last_will: Some(v5::LastWill {
                qos: QoS::AtLeastOnce,
                retain: false,
                topic: text("w"),
                message: Bytes::from_static(b"gone"),
                will_delay_interval_sec: Some(5),
                correlation_data: Some(Bytes::from_static(b"c")),
                message_expiry_interval: NonZeroU32::new(9),
                content_type: Some(text("t")),
                user_properties: vec![(text("k"), text("v"))],
                is_utf8_payload: Some(true),
                response_topic: Some(text("r")),
            }),
            client_id: ByteString::default(),
            password: Some(Bytes::from_static(b"lone")),
            ..v5::Connect::default()
        };
        check_connect(
            &encode(codec_of_5(), v5::Packet::Connect(Box::new(packet))),
            |connect| {
                assert_eq!((connect.version, connect.clean), (Version::V5, false));
                assert!(connect.has_authentication_method);
                assert_eq!(
                    (connect.username, connect.password),
                    (None, Some(&b"lone"[..]))
                );
            },
        );
    }

    /// What becomes of a message on the way up, or down.
    fn expected_message(message: &mut Publish, rules: Rules, from: Side) {
        if rules.platform == Platform::V201509 {
            // B-VER-2
            (message.qos, message.dup, message.packet_id) = (QoS::AtMostOnce, false, None);
        }
        if from == Side::Device && !message.topic.is_empty() {
            message.topic = search_and_replace(&rules.topics, &message.topic, true).into();
        }
    }

    fn expected_of_3(packets: Vec<v3::Packet>, rules: Rules, from: Side) -> Vec<v3::Packet> {
        let old = rules.platform == Platform::V201509;
        let filter = |filter: &ByteString| search_and_replace(&rules.topics, filter, false).into();
        let mut expected = Vec::new();
        for mut packet in packets {
            match &mut packet {
                v3::Packet::Publish(message) => expected_message(message, rules, from),
                v3::Packet::Subscribe { topic_filters, .. } => {
                    for (name, qos) in topic_filters {
                        *name = filter(name);
                        *qos = if old { QoS::AtMostOnce } else { *qos };
                    }
                }
                v3::Packet::Unsubscribe { topic_filters, .. } => {
                    for name in topic_filters {
                        *name = filter(name);
                    }
                }
                v3::Packet::PublishAck { .. }
                | v3::Packet::PublishReceived { .. }
                | v3::Packet::PublishRelease { .. }
                | v3::Packet::PublishComplete { .. } => {
                    if old {
                        continue;
                    }
                }
                v3::Packet::Connect(_)
                | v3::Packet::ConnectAck(_)
                | v3::Packet::SubscribeAck { .. }
                | v3::Packet::UnsubscribeAck { .. }
                | v3::Packet::PingRequest
                | v3::Packet::PingResponse
                | v3::Packet::Disconnect => {}
            }
            expected.push(packet);
        }
        expected
    }

    fn expected_of_5(mut packets: Vec<v5::Packet>, rules: Rules, from: Side) -> Vec<v5::Packet> {
        let filter = |filter: &ByteString| search_and_replace(&rules.topics, filter, false).into();
        for packet in &mut packets {
            if let v5::Packet::Publish(message) = packet {
                expected_message(message, rules, from);
            } else if let v5::Packet::Subscribe(subscribe) = packet {
                for (name, _) in &mut subscribe.topic_filters {
                    *name = filter(name);
                }
            } else if let v5::Packet::Unsubscribe(unsubscribe) = packet {
                for name in &mut unsubscribe.topic_filters {
                    *name = filter(name);
                }
            }
        }
        packets
    }

    /// Compares what the other codec reads before and after; returns whether it reads the stream at all.
    fn check_stream(packets: &[u8]) -> bool {
        let mut source = Source(packets);
        let version = source.version();
        let rules = source.rules(version);
        let mut caller = Caller::open(version, rules);
        let streams = [
            (Side::Device, source.device_stream(version)),
            (Side::Upstream, source.upstream_stream(version)),
        ];
        let mut is_read = true;
        for (from, stream) in streams {
            caller.feed(from, &stream.bytes, &mut |pending| pending);
            assert_eq!(caller.end, None);
            let forwarded = &caller.direction(from).forwarded;
            if version == Version::V5 {
                let Some(before) = decode(codec_of_5(), &stream.bytes) else {
                    is_read = false;
                    continue;
                };
                let expected = Some(expected_of_5(before, rules, from));
                assert_eq!(decode(codec_of_5(), forwarded), expected);
            } else {
                let before = decode(codec_of_3(), &stream.bytes).unwrap();
                let expected = Some(expected_of_3(before, rules, from));
                assert_eq!(decode(codec_of_3(), forwarded), expected);
            }
        }
        is_read
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// B-TOP-1, B-TOP-2, B-VER-2: another codec reads what is forwarded as the rules say.
        #[test]
        fn what_is_rewritten_reads_as_the_rules_say(packets in vec(any::<u8>(), 0..600)) {
            check_stream(&packets);
            check_rewritten_connect(&packets);
        }
    }

    /// B-CON-2, B-VER-1, B-VER-3, B-TOP-4: the CONNECT that goes upstream reads as the rules say.
    fn check_rewritten_connect(packets: &[u8]) {
        let mut source = Source(packets);
        let version = source.version();
        let rules = source.rules(version);
        let bytes = source.connect(version);
        let Ok(Opening::Whole(connect, _)) = connect::read(&bytes) else {
            panic!("{bytes:02x?}")
        };
        let credentials = Credentials::Configured {
            username: Some("u"),
            password: Some("p"),
        };
        let written = upstream_connect(&connect, &rules, &identity(), credentials, None).unwrap();
        let will_topic = |topic: &ByteString| match rules.topics.rewrite_will {
            true => search_and_replace(&rules.topics, topic, true).into(),
            false => topic.clone(),
        };
        if version == Version::V5 {
            let Some(mut packets) = decode(codec_of_5(), &bytes) else {
                return;
            };
            let [v5::Packet::Connect(expected)] = packets.as_mut_slice() else {
                panic!("{packets:?}")
            };
            (expected.username, expected.password) =
                (Some(text("u")), Some(Bytes::from_static(b"p")));
            if let Some(will) = &mut expected.last_will {
                will.topic = will_topic(&will.topic);
            }
            assert_eq!(decode(codec_of_5(), &written), Some(packets));
        } else {
            let mut packets = decode(codec_of_3(), &bytes).unwrap();
            let [v3::Packet::Connect(expected)] = packets.as_mut_slice() else {
                panic!("{packets:?}")
            };
            (expected.username, expected.password) =
                (Some(text("u")), Some(Bytes::from_static(b"p")));
            if let Some(will) = &mut expected.last_will {
                will.topic = will_topic(&will.topic);
            }
            if rules.platform == Platform::V201509 {
                expected.protocol = Protocol(4);
                expected.last_will = None;
            }
            assert_eq!(decode(codec_of_3(), &written), Some(packets));
        }
    }

    #[test]
    fn the_other_codec_reads_most_streams() {
        let is_read = |seed: u8| {
            check_stream(
                &[
                    &[2, seed, seed][..],
                    &[seed ^ 0x5a, 7, seed, 1, 9].repeat(40),
                ]
                .concat(),
            )
        };
        assert!((0..100).filter(|seed| is_read(*seed)).count() > 50);
    }
}
