//! Page: one answer of Open5GS' SMF as sessions. Field names have changed between its versions; all that were seen are
//! read, what is not known is passed over, and an entry that cannot be read is left out by itself.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use ringbeam_proto::identity::{Imei, Imsi};
use serde::Deserialize;
use serde_json::Value;

use super::{Session, Unread};
use crate::limits::DEVICE_PREFIX_BITS_MIN;

/// Bits of the prefix that a cellular device has of IPv6.
const DEVICE_PREFIX_BITS: u8 = 64;

/// One page of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its sessions.
    pub sessions: Vec<Session>,
    /// What it has of SIMs that are known and cannot be read.
    pub unread: Vec<Unread>,
    /// How many of its entries cannot be read, and the first of them.
    pub odd: Odd,
    /// The query of the next page, where there is one.
    pub next: Option<String>,
}

/// Entries that cannot be read. Each is left out by itself: the rest of the list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Odd {
    /// How many there are.
    pub count: u64,
    /// What is odd about the first one.
    pub first: String,
}

impl Odd {
    /// Those of another list too.
    pub fn add(&mut self, other: Self) {
        if self.count == 0 {
            self.first = other.first;
        }
        self.count = self.count.saturating_add(other.count);
    }

    fn note(&mut self, what: &str, found: &Value) {
        if self.count == 0 {
            let found: String = found.to_string().chars().take(ODD_CHARS).collect();
            self.first = format!("{what}: {found}");
        }
        self.count = self.count.saturating_add(1);
    }
}

/// Characters of an odd entry that are shown.
const ODD_CHARS: usize = 80;

/// Why an answer is no page. Nothing may be made of it: what it leaves out has not ended.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPage {
    /// It is no JSON, or of another shape.
    #[error("no page of sessions ({0})")]
    Form(#[from] serde_json::Error),
    /// It has no list, or says that it is cut: so Open5GS answers when its buffer or memory is too small.
    #[error("a page that Open5GS had no room for; fewer sessions to a page (page_size) may help")]
    Cut,
    /// It names a next page in a way that is not known.
    #[error("no next page where one should be")]
    Next,
}

#[derive(Deserialize)]
struct RawPage {
    items: Option<Vec<Value>>,
    pager: Option<RawPager>,
}

#[derive(Deserialize)]
struct RawPager {
    next: Option<String>,
    #[serde(default)]
    truncated: bool,
}

impl Page {
    /// The page in an answer's body. A SIM without a number of ours, and a session without an address, are passed over.
    ///
    /// # Errors
    /// When it is none, or not all of one.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidPage> {
        let RawPage { items, pager } = serde_json::from_slice(body)?;
        let devices = items.ok_or(InvalidPage::Cut)?;
        if pager.as_ref().is_some_and(|pager| pager.truncated) {
            return Err(InvalidPage::Cut);
        }
        let mut page = Self::default();
        for device in &devices {
            page.device(device);
        }
        if let Some(next) = pager.and_then(|pager| pager.next) {
            let (_, query) = next.split_once('?').ok_or(InvalidPage::Next)?;
            page.next = Some(query.to_owned());
        }
        Ok(page)
    }

    fn device(&mut self, device: &Value) {
        let name = first_text(device, &["supi", "imsi"]);
        let Ok(Some(name)) = name else {
            // Nobody can say whose sessions these are.
            return self.odd.note("an entry without a SIM", device);
        };
        // A device of LTE has its number alone; a name of another kind is nobody that a SIM is known by.
        let Ok(imsi) = name.strip_prefix("imsi-").unwrap_or(name).parse::<Imsi>() else {
            return;
        };
        let modem = ["pei", "imeisv", "imei"].into_iter();
        let imei = modem
            .filter_map(|key| device.get(key)?.as_str())
            .find_map(|modem| {
                let digits = modem.rsplit('-').next()?;
                Imei::with_check_digit(digits)
            });
        for list in ["pdu", "pdu_sessions", "pdn"] {
            match device.get(list) {
                None | Some(Value::Null) => {}
                Some(Value::Array(sessions)) => {
                    for session in sessions {
                        self.session(imsi, imei, session);
                    }
                }
                Some(other) => {
                    self.odd.note("no list of sessions", other);
                    self.unread.push(Unread::all_of(imsi));
                }
            }
        }
    }

    fn session(&mut self, imsi: Imsi, imei: Option<Imei>, session: &Value) {
        if !session.is_object() {
            self.odd.note("no session", session);
            return self.unread.push(Unread::all_of(imsi));
        }
        // An inactive one is idle: the device sleeps, and has its address still.
        if session.get("pdu_state").and_then(Value::as_str) == Some("released") {
            return;
        }
        let dnn = first_text(session, &["dnn", "apn"]).ok().flatten();
        for (is_v4, keys) in [(true, &V4[..]), (false, &V6[..])] {
            let block = first_text(session, keys).and_then(|text| match text {
                Some(text) => block(text, is_v4).ok_or(()),
                None => Ok(None),
            });
            match block {
                Ok(block) => self.sessions.extend(block.map(|block| Session {
                    imsi,
                    imei,
                    block,
                    dnn: dnn.unwrap_or_default().to_owned(),
                })),
                Err(()) => {
                    self.odd.note("no address", session);
                    self.unread.push(Unread {
                        imsi,
                        dnn: dnn.map(str::to_owned),
                        is_v4: Some(is_v4),
                    });
                }
            }
        }
    }
}

/// What an address of IPv4 is called.
const V4: [&str; 3] = ["ipv4", "ipv4_addr", "ipv4_address"];

/// What one of IPv6 is called.
const V6: [&str; 4] = ["ipv6", "ipv6_prefix", "ipv6_addr", "ipv6_address"];

/// The first of these fields that says something; an error where none does and one is no text.
fn first_text<'a>(object: &'a Value, keys: &[&str]) -> Result<Option<&'a str>, ()> {
    let mut is_odd = false;
    for value in keys.iter().filter_map(|key| object.get(key)) {
        match value {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => return Ok(Some(text)),
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => is_odd = true,
        }
    }
    if is_odd { Err(()) } else { Ok(None) }
}

/// A device's block: one address of IPv4; of IPv6 the whole prefix, from which it chooses addresses as it likes. `None`
/// where the text is none; inside, where it says that there is no address yet.
#[expect(
    clippy::option_option,
    reason = "an address that is none is no address that is odd"
)]
fn block(text: &str, is_v4: bool) -> Option<Option<IpNet>> {
    let (address, bits) = match text.parse::<IpNet>() {
        Ok(prefix) => (prefix.addr(), Some(prefix.prefix_len())),
        Err(_) => (text.parse().ok()?, None),
    };
    if address.is_unspecified() {
        return Some(None);
    }
    match address {
        // Whatever mask comes with it: the address is the device's own.
        IpAddr::V4(_) if is_v4 => Some(Some(IpNet::from(address))),
        IpAddr::V6(address) if !is_v4 => prefix(address, bits).map(Some),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn prefix(address: Ipv6Addr, bits: Option<u8>) -> Option<IpNet> {
    // An interface's address is in the device's prefix as any other.
    let bits = bits.unwrap_or(DEVICE_PREFIX_BITS).min(DEVICE_PREFIX_BITS);
    if bits < DEVICE_PREFIX_BITS_MIN {
        return None;
    }
    let prefix = Ipv6Net::new(address, bits).ok()?;
    Some(IpNet::V6(prefix.trunc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(page: &Page) -> Vec<String> {
        let line = |s: &Session| {
            let imei = s.imei.as_ref().map_or("-", Imei::as_str);
            format!("{} {imei} {} {}", s.imsi, s.block, s.dnn)
        };
        page.sessions.iter().map(line).collect()
    }

    /// The answer of an SMF of version 2.7 to a device of 5G and one of LTE.
    const ANSWER: &str = r#"{
      "items": [
        {"supi": "imsi-231510000114763", "pdu": [
           {"psi": 1, "dnn": "internet", "ipv4": "10.45.0.11", "ipv6": "2001:db8:cafe:3::2",
            "snssai": {"sst": 1, "sd": "ffffff"}, "qos_flows": [{"qfi": 1, "5qi": 9}],
            "n3": {"gnb": {"teid": 76, "addr": "[192.168.168.100]:2152"},
                   "upf": {"teid": 11426, "addr": "[192.168.168.7]:2152", "pdr_id": 2}},
            "pdu_state": "inactive", "ue_location_timestamp": 1778223227627488}],
         "ue_activity": "idle"},
        {"supi": "999700000021632", "pdu": [
           {"ebi": 5, "apn": "iot", "ipv4": "10.45.0.8", "snssai": {"sst": 0, "sd": "000000"},
            "qos_flows": [{"ebi": 5, "qci": 9}], "pdu_state": "unknown", "ue_location_timestamp": 0}],
         "ue_activity": "unknown"}],
      "pager": {"page": 0, "page_size": 100, "count": 2, "next": "/pdu-info?page=1"}}"#;

    #[test]
    fn b_id_1_an_answer_is_read_as_it_is_sent() {
        let page = Page::parse(ANSWER.as_bytes()).unwrap();
        assert_eq!(
            shown(&page),
            [
                "231510000114763 - 10.45.0.11/32 internet",
                "231510000114763 - 2001:db8:cafe:3::/64 internet",
                "999700000021632 - 10.45.0.8/32 iot",
            ]
        );
        assert_eq!(page.next.as_deref(), Some("page=1"));
    }

    #[test]
    fn b_id_1_other_names_for_the_same_are_read_too() {
        let check = |device: &str, expected: &[&str]| {
            let body = format!(r#"{{"items": [{device}]}}"#);
            assert_eq!(
                shown(&Page::parse(body.as_bytes()).unwrap()),
                expected,
                "{device}"
            );
        };
        check(
            r#"{"imsi": "440100000000001", "pei": "imeisv-2605317931138301",
                "pdu_sessions": [{"ipv4_addr": "10.0.0.1"}]}"#,
            &["440100000000001 260531793113837 10.0.0.1/32 "],
        );
        check(
            r#"{"supi": "imsi-440100000000001", "pei": "mac-00-00-5e-00-53-00",
                "pdn": [{"apn": "a", "ipv4": "", "ipv6_prefix": "2001:db8::/56"}]}"#,
            &["440100000000001 - 2001:db8::/56 a"],
        );
        check(
            r#"{"supi": "imsi-440100000000001", "pdu": [
                {"dnn": "a", "ipv4": "10.0.0.1", "pdu_state": "released"},
                {"dnn": "a", "ipv4": "0.0.0.0"}, {"dnn": "a", "ipv4": null}]}"#,
            &[],
        );
        check(r#"{"supi": "nai-x@y", "pdu": [{"ipv4": "10.0.0.1"}]}"#, &[]);
    }

    #[test]
    fn what_is_no_whole_page_is_refused() {
        let check = |body: &str, expected: &str| {
            let refusal = Page::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{body}: {refusal}");
        };
        // Open5GS answers so when its buffer is too small: not a word on any session.
        check("{}", "no room");
        check(r#"{"items": [], "pager": {"truncated": true}}"#, "no room");
        check(r#"{"items": [], "pager": {"next": "x"}}"#, "next page");
        check("", "no page");
        check("[]", "no page");
        check(r#"{"items": 5}"#, "no page");
        assert_eq!(Page::parse(br#"{"items": []}"#).unwrap(), Page::default());
    }

    /// Beside a session that can be read: how many entries cannot, and which sessions stay for that.
    #[test]
    fn b_id_6_an_odd_entry_is_left_out_and_the_rest_holds() {
        let check = |entry: &str, expected: &str, unread: &[(Option<&str>, Option<bool>)]| {
            let good = r#"{"supi": "imsi-440100000000002", "pdu": [{"ipv4": "10.0.0.2"}]}"#;
            let body = format!(r#"{{"items": [{entry}, {good}]}}"#);
            let page = Page::parse(body.as_bytes()).unwrap();
            let lines = shown(&page);
            assert_eq!(lines.last().unwrap(), "440100000000002 - 10.0.0.2/32 ");
            assert_eq!(lines[..lines.len() - 1].join(" "), expected, "{entry}");
            assert_eq!(page.odd.count, 1, "{entry}");
            assert!((1..300).contains(&page.odd.first.len()), "{:?}", page.odd);
            let found: Vec<_> = page
                .unread
                .iter()
                .map(|unread| (unread.dnn.as_deref(), unread.is_v4))
                .collect();
            assert_eq!(found, unread, "{entry}");
        };
        let device = |pdu: &str| format!(r#"{{"supi": "imsi-440100000000001", "pdu": {pdu}}}"#);
        let v4 = [(Some("iot"), Some(true))];
        check(&device(r#"[{"dnn": "iot", "ipv4": "n/a"}]"#), "", &v4);
        check(&device(r#"[{"dnn": "iot", "ipv4": 5}]"#), "", &v4);
        check(
            &device(r#"[{"dnn": "iot", "ipv4": "2001:db8::1"}]"#),
            "",
            &v4,
        );
        let both = r#"[{"dnn": "iot", "ipv4": "n/a", "ipv6": "2001:db8::5"}]"#;
        check(&device(both), "440100000000001 - 2001:db8::/64 iot", &v4);
        for odd in ["x", "10.0.0", "2001:db8::/32"] {
            let pdu = format!(r#"[{{"ipv6": "{odd}"}}]"#);
            check(&device(&pdu), "", &[(None, Some(false))]);
        }
        check(&device("5"), "", &[(None, None)]);
        check(&device("[null]"), "", &[(None, None)]);
        let beside = r#"["x", {"dnn": "a", "ipv4": "10.0.0.1"}]"#;
        let expected = "440100000000001 - 10.0.0.1/32 a";
        check(&device(beside), expected, &[(None, None)]);
        // Whose it is nobody knows.
        check(r#"{"supi": 5, "pdu": [{"ipv4": "10.0.0.9"}]}"#, "", &[]);
        check(r#"{"pdu": [{"ipv4": "10.0.0.9"}]}"#, "", &[]);
        check("null", "", &[]);
        let long = format!(r#"{{"x": "{}"}}"#, "é".repeat(5000));
        check(&long, "", &[]);
    }

    #[test]
    fn what_is_of_no_use_is_not_odd() {
        let body = br#"{"items": [{"supi": 5, "imsi": "440100000000001", "pei": 7, "pdu": [
            {"dnn": 5, "apn": "a", "ipv4": "10.0.0.1", "ipv6": "::", "pdu_state": 3, "psi": "x"}]}]}"#;
        let page = Page::parse(body).unwrap();
        assert_eq!(shown(&page), ["440100000000001 - 10.0.0.1/32 a"]);
        assert_eq!((page.odd.count, page.unread.len()), (0, 0));
    }
}
