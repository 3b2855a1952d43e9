//! Destination: the URL of an upstream broker, taken apart. What stands behind the host is ignored.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// MQTT's port (IANA `mqtt`).
pub const MQTT_PORT: u16 = 1883;

/// MQTT's port over TLS (IANA `secure-mqtt`).
pub const MQTTS_PORT: u16 = 8883;

/// PubNub's broker, which an entry point for PubNub need not name (B-PN-1).
pub const PUBNUB_HOST: &str = "mqtt.pndsn.com";

/// Longest host name in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// Longest part of a host name in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// What a destination may look like.
pub(super) const ACCEPTED: &str = "mqtt://host, mqtts://host, either with :port";

/// Where sessions go on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Host name, or IP address without brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Whether it is TLS.
    pub tls: bool,
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(formatter, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// A URL as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) tls: bool,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    /// Whether something follows that has no effect.
    pub(super) has_path: bool,
}

/// Why a text is no MQTT URL. The text itself may hold a password and is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidUrl {
    #[error("a scheme that is neither mqtt:// nor mqtts://")]
    Scheme,
    #[error("a user name before the host: it belongs into \"username\"")]
    UserName,
    #[error("no legal host name or IP address")]
    Host,
    #[error("no port from 1 to 65535")]
    Port,
}

impl<'a> Url<'a> {
    /// Takes a URL apart.
    pub(super) fn parse(text: &'a str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(InvalidUrl::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(InvalidUrl::Host)?;
        if authority.contains('@') {
            return Err(InvalidUrl::UserName);
        }
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, port) = bracketed.split_once(']').ok_or(InvalidUrl::Host)?;
            let _: Ipv6Addr = host.parse().map_err(|_| InvalidUrl::Host)?;
            (host, port)
        } else {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if !is_host(host) {
                return Err(InvalidUrl::Host);
            }
            (host, port)
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if port.is_empty() => None,
            None => return Err(InvalidUrl::Host),
        };
        Ok(Self {
            tls,
            host,
            port,
            has_path: !matches!(path, "" | "/"),
        })
    }
}

fn parse_port(digits: &str) -> Result<u16, InvalidUrl> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|port| is_number && *port > 0)
        .ok_or(InvalidUrl::Port)
}

/// An IPv4 address or a host name; names in other scripts must be written in their ASCII form.
fn is_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_cfg_4_only_mqtt_urls_are_accepted() {
        let check = |text: &str, expected: Result<(bool, &str, Option<u16>, bool), InvalidUrl>| {
            let found = Url::parse(text).map(|url| (url.tls, url.host, url.port, url.has_path));
            assert_eq!(found, expected, "{text}");
        };
        check(
            "mqtt://broker.example",
            Ok((false, "broker.example", None, false)),
        );
        check(
            "MQTTS://broker.example:443",
            Ok((true, "broker.example", Some(443), false)),
        );
        check(
            "mqtt://127.0.0.1:1884",
            Ok((false, "127.0.0.1", Some(1884), false)),
        );
        check(
            "mqtt://[2001:db8::1]",
            Ok((false, "2001:db8::1", None, false)),
        );
        check("mqtt://[::1]:1884/a", Ok((false, "::1", Some(1884), true)));
        check("mqtt://localhost/", Ok((false, "localhost", None, false)));
        check(
            "mqtts://mqtt.example.com/topicname",
            Ok((true, "mqtt.example.com", None, true)),
        );
        check("mqtt://host?a=b", Ok((false, "host", None, true)));
        check(
            "mqtt://a_b.example.",
            Ok((false, "a_b.example.", None, false)),
        );
        check("http://host", Err(InvalidUrl::Scheme));
        check("host:1883", Err(InvalidUrl::Scheme));
        check("", Err(InvalidUrl::Scheme));
        check("mqtt://user:hush@host", Err(InvalidUrl::UserName));
        for host in [
            "",
            "-a",
            "a..b",
            "a b",
            "日本",
            "1.2.3",
            "256.1.1.1",
            "#{imsi}",
            "[::1",
            "[x]",
        ] {
            check(&format!("mqtt://{host}"), Err(InvalidUrl::Host));
        }
        check("mqtt://[::1]1883", Err(InvalidUrl::Host));
        check("mqtt://::1", Err(InvalidUrl::Host));
        for port in ["", "0", "65536", "+1", "a", "1:2"] {
            check(&format!("mqtt://h:{port}"), Err(InvalidUrl::Port));
        }
    }

    #[test]
    fn ipv6_is_written_in_brackets() {
        let check = |host: &str, tls, expected: &str| {
            let destination = Destination {
                host: Arc::from(host),
                port: 1,
                tls,
            };
            assert_eq!(destination.to_string(), expected);
        };
        check("::1", false, "mqtt://[::1]:1");
        check("host", true, "mqtts://host:1");
    }
}
