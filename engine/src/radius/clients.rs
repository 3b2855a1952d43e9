//! Clients: who may send accounting requests, and the secret that each shares with us. An address in, a secret out;
//! no secret is ever shown.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use zeroize::Zeroizing;

/// Ranges of addresses, each with its secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Clients {
    /// The longest prefixes first.
    entries: Vec<(IpNet, Zeroizing<Vec<u8>>)>,
}

impl Clients {
    /// The secret of these addresses; `false` where they have one already, or there is nothing secret about it.
    #[must_use]
    pub fn add(&mut self, range: IpNet, secret: Zeroizing<Vec<u8>>) -> bool {
        let range = range.trunc();
        let is_known = self.entries.iter().any(|(other, _)| *other == range);
        if is_known || secret.is_empty() {
            return false;
        }
        let length = range.prefix_len();
        let place = self
            .entries
            .partition_point(|(other, _)| other.prefix_len() >= length);
        self.entries.insert(place, (range, secret));
        true
    }

    /// The secret of the most specific range that an address is in.
    #[must_use]
    pub fn secret(&self, address: IpAddr) -> Option<&[u8]> {
        let address = address.to_canonical();
        let mut entries = self.entries.iter();
        let (_, secret) = entries.find(|(range, _)| range.contains(&address))?;
        Some(secret)
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody may send anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.entries.iter().map(|(range, _)| range);
        formatter.debug_set().entries(ranges).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_has_the_say_and_no_secret_is_shown() {
        let mut clients = Clients::default();
        let mut add = |range: &str, secret: &str| {
            clients.add(
                range.parse().unwrap(),
                Zeroizing::new(secret.as_bytes().to_vec()),
            )
        };
        assert!(add("10.0.0.0/8", "hush-eight"));
        assert!(add("10.1.1.1/32", "hush-one"));
        assert!(add("10.1.0.0/16", "hush-sixteen"));
        assert!(add("fd00::/8", "hush-six"));
        assert!(!add("10.1.0.1/16", "twice"));
        assert!(!add("10.2.0.0/16", ""));
        let check = |address: &str, expected: Option<&str>| {
            let secret = clients.secret(address.parse().unwrap());
            assert_eq!(secret, expected.map(str::as_bytes), "{address}");
        };
        check("10.1.1.1", Some("hush-one"));
        check("::ffff:10.1.1.1", Some("hush-one"));
        check("10.1.1.2", Some("hush-sixteen"));
        check("10.2.0.0", Some("hush-eight"));
        check("11.0.0.0", None);
        check("fd00::1", Some("hush-six"));
        check("fe80::1", None);
        let shown = format!("{clients:?}");
        assert!(shown.contains("10.1.0.0/16"), "{shown}");
        assert!(!shown.contains("hush") && !shown.contains("104"), "{shown}");
    }
}
