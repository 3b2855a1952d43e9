//! Networks: which network's addresses a packet core gives out for an access point name. A name in, a network out.

use std::sync::Arc;

/// The key that stands for every name which is no other key.
const ANY: &str = "*";

/// Networks by access point name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Names in lower case, without the operator's part.
    by_name: Vec<(String, Arc<str>)>,
    any: Option<Arc<str>>,
}

impl Networks {
    /// Sets the network of a name, or of every other one (`*`); `false` where it has one already.
    #[must_use]
    pub fn add(&mut self, name: &str, network: Arc<str>) -> bool {
        if name == ANY {
            let is_first = self.any.is_none();
            self.any.get_or_insert(network);
            return is_first;
        }
        let name = own_part(name);
        match self.place(&name) {
            Ok(_) => false,
            Err(place) => {
                self.by_name.insert(place, (name, network));
                true
            }
        }
    }

    /// The network of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<str>> {
        match self.place(&own_part(name)) {
            Ok(place) => self.by_name.get(place).map(|(_, network)| network),
            Err(_) => self.any.as_ref(),
        }
    }

    /// Every network that a name leads to; one may come more than once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<str>> {
        let named = self.by_name.iter().map(|(_, network)| network);
        named.chain(&self.any)
    }

    /// Whether no name leads anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.any.is_none()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.by_name
            .binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

/// A name in lower case and without its operator identifier, `.mncXXX.mccXXX.gprs` (3GPP TS 23.003, section 9.1):
/// gateways send it with and without.
fn own_part(name: &str) -> String {
    let mut name = name.trim_end_matches(['\0', '.']).to_ascii_lowercase();
    let own = name.strip_suffix(".gprs").and_then(|name| {
        let name = without_code(name, ".mcc")?;
        without_code(name, ".mnc")
    });
    if let Some(length) = own.map(str::len) {
        name.truncate(length);
    }
    name
}

fn without_code<'a>(name: &'a str, label: &str) -> Option<&'a str> {
    let digits = name.len().saturating_sub(3);
    let (start, code) = name.split_at_checked(digits)?;
    let is_code = code.bytes().all(|byte| byte.is_ascii_digit());
    start.strip_suffix(label).filter(|_| is_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_networks_in_any_spelling() {
        let mut networks = Networks::default();
        assert!(networks.is_empty());
        assert!(networks.add("APN.example", Arc::from("a")));
        assert!(networks.add("iot.mnc010.mcc440.gprs", Arc::from("b")));
        assert!(!networks.add("apn.EXAMPLE", Arc::from("c")));
        let check = |networks: &Networks, name: &str, expected: Option<&str>| {
            assert_eq!(networks.find(name).map(|n| &**n), expected, "{name}");
        };
        check(&networks, "apn.example", Some("a"));
        check(&networks, "Apn.Example.MNC010.MCC440.GPRS", Some("a"));
        check(&networks, "apn.example.", Some("a"));
        check(&networks, "iot", Some("b"));
        check(&networks, "apn.example.mnc10.mcc440.gprs", None);
        check(&networks, "apn.example.mncabc.mcc440.gprs", None);
        check(&networks, "apn.example.gprs", None);
        check(&networks, ".mnc010.mcc440.gprs", None);
        check(&networks, "é.mcc440.gprs", None);
        check(&networks, "", None);
        assert!(networks.add("*", Arc::from("d")));
        assert!(!networks.add("*", Arc::from("e")));
        check(&networks, "", Some("d"));
        check(&networks, "other", Some("d"));
        check(&networks, "apn.example", Some("a"));
    }
}
