//! Destination: the URL of an upstream broker, taken apart. What stands behind the host is ignored.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::ServerName;

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

impl Destination {
    /// The name that TLS asks for and checks (B-AWS-1); `None` where the host cannot be one.
    #[must_use]
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        let name = ServerName::try_from(self.server_name_text()).ok()?;
        Some(name.to_owned())
    }

    /// The host without the dot that ends a fully qualified name: names in TLS and in tokens have none.
    #[must_use]
    pub fn server_name_text(&self) -> &str {
        self.host.strip_suffix('.').unwrap_or(&self.host)
    }
}

/// PubNub's broker: host, or host and port (B-PN-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubnubHost {
    destination: Destination,
}

impl PubnubHost {
    /// What may be written.
    pub const ACCEPTED: &str = "a host, or host:port";

    /// Where it is.
    #[must_use]
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }
}

impl Default for PubnubHost {
    fn default() -> Self {
        Self {
            destination: Destination {
                host: Arc::from(PUBNUB_HOST),
                port: MQTTS_PORT,
                tls: true,
            },
        }
    }
}

impl FromStr for PubnubHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        // Nothing but host and port: that is all that may stand between scheme and path.
        let url = format!("mqtts://{text}");
        let url = Url::parse(&url).map_err(|_| InvalidHost)?;
        let destination = Destination {
            host: Arc::from(url.host),
            port: url.port.unwrap_or(MQTTS_PORT),
            tls: true,
        };
        let is_host = !text.contains(['/', '?', '#']) && destination.server_name().is_some();
        is_host.then_some(Self { destination }).ok_or(InvalidHost)
    }
}

/// A text is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no legal host name or IP address with an optional port")]
pub struct InvalidHost;

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

/// A URL as it may be shown: what stands behind host and port, or before an @, has no effect here and may
/// be a secret.
pub(super) fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, ignored) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let before = if host.len() < authority.len() {
        "…@"
    } else {
        ""
    };
    let behind = if ignored.len() > 1 { "/…" } else { ignored };
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{before}{host}{behind}")
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
    fn b_aws_1_the_server_name_is_the_host_without_its_last_dot() {
        let check = |host: &str, expected: Option<&str>| {
            let destination = Destination {
                host: Arc::from(host),
                port: 1,
                tls: true,
            };
            let name = destination.server_name();
            let found = name.as_ref().map(|name| name.to_str().into_owned());
            assert_eq!(found.as_deref(), expected, "{host}");
        };
        check("broker.example", Some("broker.example"));
        check("broker.example.", Some("broker.example"));
        check("a_b.example", Some("a_b.example"));
        check("127.0.0.1", Some("127.0.0.1"));
        check("2001:db8::1", Some("2001:db8::1"));
        // A name to resolvers, but to TLS a number.
        check("a.0x1", None);
        check("", None);
    }

    #[test]
    fn b_pn_1_pubnubs_host_is_a_host_and_perhaps_a_port() {
        let check = |text: &str, expected: Result<&str, InvalidHost>| {
            let found = text.parse::<PubnubHost>();
            let found = found.map(|host| host.destination().to_string());
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        };
        check("mqtt.pndsn.com", Ok("mqtts://mqtt.pndsn.com:8883"));
        check("127.0.0.1:1884", Ok("mqtts://127.0.0.1:1884"));
        check("[::1]:1884", Ok("mqtts://[::1]:1884"));
        for wrong in ["", "a:0", "a/b", "a?", "a#", "mqtts://a", "u@a", "a b"] {
            check(wrong, Err(InvalidHost));
        }
        let written: PubnubHost = PUBNUB_HOST.parse().unwrap();
        assert_eq!(written, PubnubHost::default());
    }

    #[test]
    fn what_has_no_effect_in_a_url_is_not_shown() {
        let check = |text: &str, expected: &str| assert_eq!(shown(text), expected);
        check("mqtt://h", "mqtt://h");
        check("mqtt://[::1]:1883/", "mqtt://[::1]:1883/");
        check("mqtts://h:1/hush", "mqtts://h:1/…");
        check("mqtts://h?sig=hush", "mqtts://h/…");
        check("mqtts://user:hush@h/hush#hush", "mqtts://…@h/…");
        check("hush@host?hush", "…@host/…");
        check("http://h", "http://h");
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
