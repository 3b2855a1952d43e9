//! Page: one answer of Open5GS' SMF as sessions. Field names have changed between its versions; all that were seen are
//! read, and what is not known is passed over.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use ringbeam_proto::identity::{Imei, Imsi};
use serde::Deserialize;

use super::Session;
use crate::limits::DEVICE_PREFIX_BITS_MIN;

/// Bits of the prefix that a cellular device has of IPv6.
const DEVICE_PREFIX_BITS: u8 = 64;

/// One page of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its sessions.
    pub sessions: Vec<Session>,
    /// The query of the next page, where there is one.
    pub next: Option<String>,
}

/// Why an answer is no page. Nothing may be made of it: what it leaves out has not ended.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPage {
    /// It is no JSON, or of another shape.
    #[error("no page of sessions ({0})")]
    Form(#[from] serde_json::Error),
    /// It has no list, or says that it is cut: so Open5GS answers when its buffer or memory is too small.
    #[error("a page that Open5GS had no room for; fewer sessions to a page (page_size) may help")]
    Cut,
    /// An address that is none.
    #[error("an address that is none")]
    Address,
    /// It names a next page in a way that is not known.
    #[error("no next page where one should be")]
    Next,
}

#[derive(Deserialize)]
struct RawPage {
    items: Option<Vec<RawDevice>>,
    pager: Option<RawPager>,
}

#[derive(Deserialize)]
struct RawPager {
    next: Option<String>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct RawDevice {
    supi: Option<String>,
    imsi: Option<String>,
    pei: Option<String>,
    imeisv: Option<String>,
    imei: Option<String>,
    #[serde(default)]
    pdu: Vec<RawSession>,
    #[serde(default)]
    pdu_sessions: Vec<RawSession>,
    #[serde(default)]
    pdn: Vec<RawSession>,
}

#[derive(Deserialize)]
struct RawSession {
    dnn: Option<String>,
    apn: Option<String>,
    ipv4: Option<String>,
    ipv4_addr: Option<String>,
    ipv4_address: Option<String>,
    ipv6: Option<String>,
    ipv6_addr: Option<String>,
    ipv6_address: Option<String>,
    ipv6_prefix: Option<String>,
    pdu_state: Option<String>,
}

impl Page {
    /// The page in an answer's body. A SIM without a number, and a session without an address, are passed over.
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
            device.read(&mut page.sessions)?;
        }
        if let Some(next) = pager.and_then(|pager| pager.next) {
            let (_, query) = next.split_once('?').ok_or(InvalidPage::Next)?;
            page.next = Some(query.to_owned());
        }
        Ok(page)
    }
}

impl RawDevice {
    fn read(&self, sessions: &mut Vec<Session>) -> Result<(), InvalidPage> {
        let name = self.supi.as_deref().or(self.imsi.as_deref());
        let name = name.unwrap_or_default();
        // A device of LTE has its number alone; a name of another kind is nobody that a SIM is known by.
        let Ok(imsi) = name.strip_prefix("imsi-").unwrap_or(name).parse::<Imsi>() else {
            return Ok(());
        };
        let modem = [&self.pei, &self.imeisv, &self.imei].into_iter().flatten();
        let imei = modem.into_iter().find_map(|modem| {
            let digits = modem.rsplit('-').next()?;
            Imei::with_check_digit(digits)
        });
        let all = [&self.pdu, &self.pdu_sessions, &self.pdn];
        for session in all.into_iter().flatten() {
            // An inactive one is idle: the device sleeps, and has its address still.
            if session.pdu_state.as_deref() == Some("released") {
                continue;
            }
            let dnn = session.dnn.as_deref().or(session.apn.as_deref());
            for block in session.blocks()? {
                sessions.push(Session {
                    imsi,
                    imei,
                    block,
                    dnn: dnn.unwrap_or_default().to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl RawSession {
    fn blocks(&self) -> Result<impl Iterator<Item = IpNet>, InvalidPage> {
        let v4 = [&self.ipv4, &self.ipv4_addr, &self.ipv4_address];
        let v6 = [
            &self.ipv6,
            &self.ipv6_prefix,
            &self.ipv6_addr,
            &self.ipv6_address,
        ];
        let first = |fields: &[&Option<String>]| {
            let mut texts = fields.iter().filter_map(|field| field.as_deref());
            let text = texts.find(|text| !text.is_empty());
            text.map_or(Ok(None), block)
        };
        let blocks = [first(&v4)?, first(&v6)?];
        Ok(blocks.into_iter().flatten())
    }
}

/// A device's block: one address of IPv4; of IPv6 the whole prefix, from which it chooses addresses as it likes.
fn block(text: &str) -> Result<Option<IpNet>, InvalidPage> {
    let (address, bits) = match text.parse::<IpNet>() {
        Ok(prefix) => (prefix.addr(), Some(prefix.prefix_len())),
        Err(_) => {
            let address: IpAddr = text.parse().map_err(|_| InvalidPage::Address)?;
            (address, None)
        }
    };
    if address.is_unspecified() {
        return Ok(None);
    }
    match address {
        // Whatever mask comes with it: the address is the device's own.
        IpAddr::V4(_) => Ok(Some(IpNet::from(address))),
        IpAddr::V6(address) => prefix(address, bits).map(Some),
    }
}

fn prefix(address: Ipv6Addr, bits: Option<u8>) -> Result<IpNet, InvalidPage> {
    // An interface's address is in the device's prefix as any other.
    let bits = bits.unwrap_or(DEVICE_PREFIX_BITS).min(DEVICE_PREFIX_BITS);
    if bits < DEVICE_PREFIX_BITS_MIN {
        return Err(InvalidPage::Address);
    }
    let prefix = Ipv6Net::new(address, bits).map_err(|_| InvalidPage::Address)?;
    Ok(IpNet::V6(prefix.trunc()))
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
        check(r#"{"pdu": [{"ipv4": "10.0.0.1"}]}"#, &[]);
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
        check(r#"{"items": [{"supi": 5}]}"#, "no page");
        for address in ["10.0.0", "::/0", "x"] {
            let device = format!(r#"{{"supi":"440100000000001","pdu":[{{"ipv6":"{address}"}}]}}"#);
            let is_any = address == "::/0";
            let page = Page::parse(format!(r#"{{"items": [{device}]}}"#).as_bytes());
            assert_eq!(page.is_err(), !is_any, "{address}");
        }
        let short = r#"{"items": [{"supi":"440100000000001","pdu":[{"ipv6":"2001:db8::/32"}]}]}"#;
        check(short, "address");
        assert_eq!(Page::parse(br#"{"items": []}"#).unwrap(), Page::default());
    }
}
