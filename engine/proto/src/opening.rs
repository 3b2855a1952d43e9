//! Opening: the device's CONNECT -> the upstream's. What the configuration replaces is replaced, what
//! the platform version does not carry is removed, the rest passes.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Cause, Forbidden};
use crate::identity::Identity;
use crate::limits::STRING_BYTES_MAX;
use crate::packet::connect::{Connect, Will, check_keep_alive};
use crate::rewrite::topic_text;
use crate::rules::Rules;
use crate::topic::has_wildcard;

/// What goes upstream as user name and password (B-CON-2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// The device's own.
    PassThrough,
    /// These, and never the device's own.
    Configured {
        /// User name.
        username: Option<&'a str>,
        /// Password.
        password: Option<&'a str>,
    },
}

impl core::fmt::Debug for Credentials<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::PassThrough => "PassThrough",
            Self::Configured { .. } => "Configured",
        })
    }
}

/// The CONNECT that goes upstream. A `client_id` takes the place of the device's own (B-GCP-1, B-PN-1).
///
/// # Errors
/// When the device's keep alive or MQTT version is not served, or a field is longer than MQTT can say.
pub fn upstream_connect(
    connect: &Connect<'_>,
    rules: &Rules,
    identity: &Identity,
    credentials: Credentials<'_>,
    client_id: Option<&str>,
) -> Result<Vec<u8>, Cause> {
    check_keep_alive(connect.keep_alive_seconds).map_err(Cause::Refused)?;
    let version = rules
        .platform
        .upstream_version(connect.version)
        .map_err(Cause::Refused)?;
    let (username, password) = match credentials {
        Credentials::PassThrough => (connect.username, connect.password),
        Credentials::Configured { username, password } => (username, password.map(str::as_bytes)),
    };
    // B-VER-3
    let will = connect.will.filter(|_| rules.platform.keeps_will());
    // B-TOP-4
    let rewritten = will.filter(|_| rules.topics.rewrite_will);
    let topic = rewritten.map_or_else(String::new, |will| {
        topic_text(&rules.topics, identity, will.topic, true)
    });
    // B-TOP-5: what is rewritten must be a topic, and stay one.
    let is_none = rewritten.is_some_and(|will| will.topic.is_empty()) || has_wildcard(&topic);
    if is_none || topic.len() > STRING_BYTES_MAX {
        return Err(Cause::DeviceOffence(Forbidden::TopicName.into()));
    }
    let will = will.map(|will| Will {
        topic: if rules.topics.rewrite_will {
            &topic
        } else {
            will.topic
        },
        ..will
    });
    let upstream = Connect {
        version,
        is_bridge: connect.is_bridge && rules.platform.keeps_bridge_bit(),
        client_id: client_id.unwrap_or(connect.client_id),
        will,
        username,
        password,
        ..*connect
    };
    upstream
        .write()
        .map_err(|forbidden| Cause::DeviceOffence(forbidden.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use crate::packet::connect::{Opening, read};
    use crate::platform::Platform;
    use crate::rules::TopicRules;

    const WITH_WILL: &[u8] =
        b"\x10\x1a\x00\x04MQTT\x04\xf6\x00\x3c\x00\x01c\x00\x01t\x00\x02hi\x00\x01u\x00\x01p";
    const PLAIN_31: &[u8] = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a";
    const PLAIN_5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
    const NONE: Credentials<'_> = Credentials::Configured {
        username: None,
        password: None,
    };

    fn upstream(
        packet: &[u8],
        rules: &Rules,
        credentials: Credentials<'_>,
    ) -> Result<Vec<u8>, Cause> {
        let identity = Identity {
            imsi: "440100000000001".parse().unwrap(),
            sim_id: "8981100000000000001".parse().unwrap(),
            imei: None,
        };
        let Ok(Opening::Whole(connect, _)) = read(packet) else {
            panic!("{packet:02x?}")
        };
        upstream_connect(&connect, rules, &identity, credentials, None)
    }

    fn rules(platform: Platform) -> Rules {
        Rules {
            platform,
            topics: TopicRules::default(),
        }
    }

    #[test]
    fn b_con_2_the_devices_credentials_pass_only_when_told_to() {
        let new = rules(Platform::V201912);
        assert_eq!(
            upstream(WITH_WILL, &new, Credentials::PassThrough).unwrap(),
            WITH_WILL
        );
        let without = b"\x10\x14\x00\x04MQTT\x04\x36\x00\x3c\x00\x01c\x00\x01t\x00\x02hi";
        assert_eq!(upstream(WITH_WILL, &new, NONE).unwrap(), without);
        let own = Credentials::Configured {
            username: Some("x"),
            password: Some("yz"),
        };
        let with =
            b"\x10\x1b\x00\x04MQTT\x04\xf6\x00\x3c\x00\x01c\x00\x01t\x00\x02hi\x00\x01x\x00\x02yz";
        assert_eq!(upstream(WITH_WILL, &new, own).unwrap(), with);
    }

    #[test]
    fn b_ver_1_and_3_201509_speaks_3_1_1_without_a_will() {
        let old = rules(Platform::V201509);
        let expected = b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p";
        assert_eq!(
            upstream(WITH_WILL, &old, Credentials::PassThrough).unwrap(),
            expected
        );
        let expected = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
        assert_eq!(upstream(PLAIN_31, &old, NONE).unwrap(), expected);
        assert_eq!(
            upstream(PLAIN_31, &rules(Platform::V201912), NONE).unwrap(),
            PLAIN_31
        );
        // B-509-1
        assert_eq!(
            upstream(PLAIN_5, &old, NONE),
            Err(Cause::Refused(Refusal::UnsupportedVersion))
        );
        assert_eq!(
            upstream(PLAIN_5, &rules(Platform::V201912), NONE).unwrap(),
            PLAIN_5
        );
    }

    #[test]
    fn b_con_6_the_bit_of_a_bridge_goes_on_under_201912_alone() {
        let old = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
        for (name, level) in [(&b"\x00\x06MQIsdp"[..], 0x83), (b"\x00\x04MQTT", 0x84)] {
            let body = [name, &[level], &b"\x02\x00\x3c\x00\x01a"[..]].concat();
            let length = u8::try_from(body.len()).unwrap();
            let bridge = [&[0x10, length], &body[..]].concat();
            let new = upstream(&bridge, &rules(Platform::V201912), NONE);
            assert_eq!(new.unwrap(), bridge);
            let plain = upstream(&bridge, &rules(Platform::V201509), NONE);
            assert_eq!(plain.unwrap(), old);
        }
    }

    #[test]
    fn b_top_4_the_will_topic_is_rewritten_only_when_told_to() {
        let mut new = rules(Platform::V201912);
        new.topics.append_imsi = true;
        assert_eq!(
            upstream(WITH_WILL, &new, Credentials::PassThrough).unwrap(),
            WITH_WILL
        );
        new.topics.rewrite_will = true;
        let rewritten = upstream(WITH_WILL, &new, Credentials::PassThrough).unwrap();
        let Ok(Opening::Whole(connect, _)) = read(&rewritten) else {
            panic!()
        };
        assert_eq!(connect.will.unwrap().topic, "t/440100000000001");
        // B-TOP-5: what is rewritten must be a topic; what is not the upstream judges.
        let wildcard = b"\x10\x14\x00\x04MQTT\x04\x06\x00\x3c\x00\x01c\x00\x03t/#\x00\x00";
        let refused = Cause::DeviceOffence(Forbidden::TopicName.into());
        assert_eq!(upstream(wildcard, &new, NONE), Err(refused));
        new.topics.rewrite_will = false;
        assert_eq!(upstream(wildcard, &new, NONE).unwrap(), wildcard);
    }

    #[test]
    fn b_gcp_1_and_b_pn_1_a_client_id_takes_the_place_of_the_devices() {
        let write = |client_id: &str| {
            let identity = Identity {
                imsi: "440100000000001".parse().unwrap(),
                sim_id: "8981100000000000001".parse().unwrap(),
                imei: None,
            };
            let Ok(Opening::Whole(connect, _)) = read(PLAIN_31) else {
                panic!()
            };
            let rules = rules(Platform::V201912);
            upstream_connect(&connect, &rules, &identity, NONE, Some(client_id))
        };
        let expected = b"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03p/d";
        assert_eq!(write("p/d").unwrap(), expected);
        let longest = "i".repeat(STRING_BYTES_MAX);
        write(&longest).unwrap();
        let refused = Cause::DeviceOffence(Forbidden::TooLarge.into());
        assert_eq!(write(&(longest + "i")), Err(refused));
    }

    #[test]
    fn b_keep_1_an_illegal_keep_alive_goes_nowhere() {
        let packet = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x04\x00\x01a";
        let refused = upstream(packet, &rules(Platform::V201912), NONE);
        assert_eq!(refused, Err(Cause::Refused(Refusal::KeepAlive(4))));
    }
}
