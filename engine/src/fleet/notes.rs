//! Notes: what a destination is publicly known not to support. An entry point, or one CONNECT for it, in;
//! lines for people out. Nothing is refused or changed for it: the destination has the last word.

use ringbeam_proto::packet::connect::Connect;
use ringbeam_proto::packet::{Qos, Version};

use super::entry_point::EntryPoint;
use super::login::Login;

/// A destination with limits that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Azure,
    Google,
    Aws,
    Pubnub,
}

/// What it has no support for, beside MQTT 3.1, which none of them speaks.
struct Gaps {
    name: &'static str,
    /// The qualities of service from this one on.
    qos: Qos,
    retain: bool,
    /// The line that says so.
    note: &'static str,
}

impl Cloud {
    fn of(entry_point: &EntryPoint) -> Option<Self> {
        let host = entry_point.destination.server_name_text();
        let is_in = |domain: &str| {
            let start = host.len().checked_sub(domain.len());
            let end = start.and_then(|start| host.get(start..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(domain))
        };
        match &entry_point.login {
            Login::AzureIot { .. } => Some(Self::Azure),
            Login::GoogleIot { .. } => Some(Self::Google),
            Login::Pubnub { .. } => Some(Self::Pubnub),
            // B-AZ-2
            Login::Standard { .. } if is_in(".azure-devices.net") => Some(Self::Azure),
            // B-AWS-1
            Login::Standard { .. } => {
                let is_aws = is_in(".amazonaws.com")
                    || is_in(".amazonaws.com.cn")
                    || entry_point.alpn().is_some();
                is_aws.then_some(Self::Aws)
            }
        }
    }

    const fn gaps(self) -> Gaps {
        match self {
            Self::Azure => Gaps {
                name: "Azure IoT Hub",
                qos: Qos::ExactlyOnce,
                retain: true,
                note: "Azure IoT Hub supports neither QoS 2 nor retained messages, nor MQTT 3.1",
            },
            Self::Google => Gaps {
                name: "Google Cloud IoT Core",
                qos: Qos::ExactlyOnce,
                retain: true,
                note: "Google Cloud IoT Core supports neither QoS 2 nor retained messages, nor MQTT 3.1",
            },
            Self::Aws => Gaps {
                name: "AWS IoT Core",
                qos: Qos::ExactlyOnce,
                retain: false,
                note: "AWS IoT Core supports neither QoS 2 nor MQTT 3.1",
            },
            Self::Pubnub => Gaps {
                name: "PubNub",
                qos: Qos::AtLeastOnce,
                retain: true,
                note: "PubNub promises neither QoS 1 and 2 nor retained messages as MQTT does, nor MQTT 3.1",
            },
        }
    }
}

impl EntryPoint {
    /// What its destination is known not to support. Packets pass unchanged all the same.
    #[must_use]
    pub fn destination_notes(&self) -> Vec<&'static str> {
        let cloud = Cloud::of(self);
        cloud.map(|cloud| cloud.gaps().note).into_iter().collect()
    }

    /// What of a CONNECT goes beyond what the destination is known to support, as one line.
    #[must_use]
    pub fn beyond_destination(&self, connect: &Connect<'_>) -> Option<String> {
        let gaps = Cloud::of(self)?.gaps();
        let platform = self.rules.platform;
        let version = platform.upstream_version(connect.version).ok()?;
        let will = connect.will.filter(|_| platform.keeps_will());
        let mut beyond = Vec::new();
        if version == Version::V31 {
            beyond.push("MQTT 3.1".to_owned());
        }
        if let Some(will) = will.filter(|will| will.qos.bits() >= gaps.qos.bits()) {
            beyond.push(format!("a will with QoS {}", will.qos.bits()));
        }
        if will.is_some_and(|will| will.retain && gaps.retain) {
            beyond.push("a retained will".to_owned());
        }
        (!beyond.is_empty()).then(|| {
            format!(
                "{} is not known to support {}",
                gaps.name,
                beyond.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples;
    use ringbeam_proto::packet::connect::Will;
    use serde_json::{Value, json};

    fn entry_point(value: &Value) -> EntryPoint {
        let list = json!([
            samples::azure("c"),
            samples::google("g", &samples::ec_key(), "ES256"),
            samples::pubnub("p"),
            samples::x509("x", json!({})),
        ]);
        EntryPoint::from_json(value, &samples::read(&list).unwrap()).unwrap()
    }

    fn azure() -> Value {
        json!({"destination": "mqtts://h", "useAzureIoT": true,
               "azureIoTCredential": {"$credentialsId": "c"}})
    }

    fn pubnub() -> Value {
        json!({"usePubnub": true, "pubnubCredential": {"$credentialsId": "p"}})
    }

    fn standard(destination: &str) -> Value {
        json!({"destination": destination})
    }

    #[test]
    fn b_ver_2_what_a_destination_does_not_support_is_one_line() {
        let check = |value: &Value, expected: &str| {
            let notes = entry_point(value).destination_notes();
            let names: Vec<&str> = notes
                .iter()
                .filter_map(|note| note.split(' ').next())
                .collect();
            assert_eq!(names.concat(), expected, "{value}");
        };
        check(&azure(), "Azure");
        check(&pubnub(), "PubNub");
        let google = json!({"destination": "mqtts://h", "useGoogleIoT": true,
                            "googleIoTCredential": {"$credentialsId": "g"}});
        check(&google, "Google");
        // B-AZ-2
        check(&standard("mqtts://a.Azure-Devices.net"), "Azure");
        // B-AWS-1
        check(&standard("mqtts://a.iot.eu.amazonaws.com"), "AWS");
        check(&standard("mqtts://a.iot.cn.amazonaws.com.cn."), "AWS");
        let mut with_protocol = standard("mqtts://iot.example:443");
        check(&with_protocol, "");
        with_protocol["useClientCert"] = json!(true);
        with_protocol["clientCerts"] = json!({"default": {"$credentialsId": "x"}});
        check(&with_protocol, "AWS");
        check(&standard("mqtt://amazonaws.com.example"), "");
        check(&standard("mqtt://h"), "");
    }

    #[test]
    fn b_err_4_a_connect_that_goes_beyond_the_destination_is_one_line() {
        let check = |value: &Value, version: Version, will: Option<(Qos, bool)>, expected: &str| {
            let connect = Connect {
                version,
                is_bridge: false,
                clean: true,
                keep_alive_seconds: 60,
                properties: &[],
                has_authentication_method: false,
                client_id: "c",
                will: will.map(|(qos, retain)| Will {
                    qos,
                    retain,
                    properties: &[],
                    topic: "t",
                    payload: b"",
                }),
                username: None,
                password: None,
            };
            let beyond = entry_point(value).beyond_destination(&connect);
            assert_eq!(beyond.unwrap_or_default(), expected, "{value}");
        };
        let aws = standard("mqtts://a.amazonaws.com");
        let (once, twice) = (Qos::AtLeastOnce, Qos::ExactlyOnce);
        check(&azure(), Version::V311, None, "");
        check(&azure(), Version::V311, Some((once, false)), "");
        check(
            &azure(),
            Version::V31,
            Some((twice, true)),
            "Azure IoT Hub is not known to support MQTT 3.1, a will with QoS 2, a retained will",
        );
        check(&aws, Version::V5, Some((once, true)), "");
        check(
            &aws,
            Version::V311,
            Some((twice, true)),
            "AWS IoT Core is not known to support a will with QoS 2",
        );
        check(
            &pubnub(),
            Version::V311,
            Some((once, false)),
            "PubNub is not known to support a will with QoS 1",
        );
        check(&standard("mqtt://h"), Version::V31, Some((twice, true)), "");
        // B-VER-1, B-VER-3: 201509 speaks 3.1.1 and removes wills.
        let mut old = azure();
        old["version"] = json!("201509");
        check(&old, Version::V31, Some((twice, true)), "");
    }
}
