//! Url: where an SMF tells of its sessions, such as `http://127.0.0.4:9090/pdu-info`.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// The port of HTTP.
const HTTP_PORT: u16 = 80;

/// An address of HTTP without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is no URL.
    #[error("no URL")]
    Form,
    /// It is one of another protocol.
    #[error("not http://")]
    Scheme,
    /// It holds a user's name, which nobody there asks for.
    #[error("a user's name in it")]
    User,
}

impl Url {
    /// The host's name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(HTTP_PORT)
    }

    /// Host and port as a request names them.
    pub(super) fn authority(&self) -> &str {
        self.0
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    /// What is asked for there.
    pub(super) fn target(&self) -> &str {
        self.0
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }

    /// What is asked for when the query is another one.
    pub(super) fn target_with(&self, query: &str) -> String {
        format!("{}?{query}", self.0.path())
    }
}

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Form)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(InvalidUrl::Scheme),
            None => return Err(InvalidUrl::Form),
        }
        let authority = uri.authority().ok_or(InvalidUrl::Form)?.as_str();
        if authority.contains('@') {
            return Err(InvalidUrl::User);
        }
        // A port that is none is left out by the parser.
        let after_host = authority.strip_prefix(uri.host().unwrap_or_default());
        let has_wrong_port = after_host != Some("") && uri.port_u16().is_none_or(|port| port == 0);
        if uri.host().is_none_or(str::is_empty) || has_wrong_port {
            return Err(InvalidUrl::Form);
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused() {
        let check = |text: &str, expected: Result<(&str, u16, &str), InvalidUrl>| {
            let url = text.parse::<Url>();
            let found = url
                .as_ref()
                .map(|url| (url.host(), url.port(), url.target()));
            assert_eq!(found.map_err(|error| *error), expected, "{text}");
        };
        check(
            "http://127.0.0.1:9090/pdu-info",
            Ok(("127.0.0.1", 9090, "/pdu-info")),
        );
        check(
            "http://smf/pdu-info?page=-1",
            Ok(("smf", 80, "/pdu-info?page=-1")),
        );
        check("http://[::1]:9090", Ok(("::1", 9090, "/")));
        check("https://h/", Err(InvalidUrl::Scheme));
        check("http://u:p@h/", Err(InvalidUrl::User));
        check("http://h:0/", Err(InvalidUrl::Form));
        check("http://h:99999/", Err(InvalidUrl::Form));
        check("http://:80/", Err(InvalidUrl::Form));
        check("http:///x", Err(InvalidUrl::Form));
        check("127.0.0.1:9090", Err(InvalidUrl::Form));
        check("/pdu-info", Err(InvalidUrl::Form));
        check("", Err(InvalidUrl::Form));
    }
}
