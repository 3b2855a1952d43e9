//! Event: what an accounting request says of a SIM's session: attributes in, an [`AccountingEvent`] or why there is none
//! out. Nothing is kept between two requests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use ringbeam_proto::identity::{Imei, Imsi};

use super::clients::{Client, Clients, Spoken};
use super::identity;
use super::networks::Networks;
use super::packet::{Attribute, Attributes};
use crate::limits::{
    DEVICE_PREFIX_BITS_MIN, RADIUS_BLOCKS, RADIUS_CLOCK_MS, RADIUS_DELAY_SECONDS_MAX,
};

// RFC 2865, 2866, 2869, 3162, 6911
const USER_NAME: u8 = 1;
const NAS_IP_ADDRESS: u8 = 4;
const FRAMED_IP_ADDRESS: u8 = 8;
const VENDOR_SPECIFIC: u8 = 26;
const CALLED_STATION_ID: u8 = 30;
const NAS_IDENTIFIER: u8 = 32;
const ACCT_STATUS_TYPE: u8 = 40;
const ACCT_DELAY_TIME: u8 = 41;
const ACCT_SESSION_ID: u8 = 44;
const ACCT_MULTI_SESSION_ID: u8 = 50;
const EVENT_TIMESTAMP: u8 = 55;
const NAS_IPV6_ADDRESS: u8 = 95;
const FRAMED_IPV6_PREFIX: u8 = 97;
const FRAMED_IPV6_ADDRESS: u8 = 168;

/// 3GPP's number as a vendor, and what it calls its own (TS 29.061, section 16.4.7).
const VENDOR_3GPP: [u8; 4] = 10415_u32.to_be_bytes();
const THREEGPP_IMSI: u8 = 1;
const THREEGPP_IMEISV: u8 = 20;

/// What happened to one session, or to all of an access server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountingEvent {
    /// The access server: its IPv4 address, or else IPv6 address, or else name.
    pub nas: Arc<str>,
    /// The client that tells of it, whose sessions these are; empty where the access server is listed, and so its sessions
    /// are those of all clients that list it.
    pub client: Arc<str>,
    /// The networks that the client may speak of.
    pub networks: Arc<[Arc<str>]>,
    /// What tells this request from every other, where it is known.
    pub request: Option<RequestId>,
    /// When it happened, in milliseconds since the Unix epoch; never later than it was told.
    pub time_ms: i64,
    /// The same by the access server's own clock, whatever that shows; `None` where it did not say.
    pub own_ms: Option<i64>,
    /// What happened.
    pub act: Act,
}

/// A request's authenticator: a digest of all that is in it and of the secret.
pub type RequestId = [u8; 16];

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A session has these addresses.
    Bind {
        /// Whether it begins with that (Start); otherwise it goes on (Interim-Update).
        is_start: bool,
        /// The session's id at its access server.
        session_id: Arc<str>,
        /// What sessions have in common that are bearers of one; empty where nothing was said.
        multi_session_id: Arc<str>,
        /// The network that the addresses belong to.
        network: Arc<str>,
        /// The access point's name, as it was sent.
        apn: Arc<str>,
        /// The SIM.
        imsi: Imsi,
        /// The modem, where it is known.
        imei: Option<Imei>,
        /// One at least.
        blocks: Vec<IpNet>,
    },
    /// A session is over (Stop).
    Stop {
        /// The session's id at its access server.
        session_id: Arc<str>,
        /// The SIM, where it is named.
        imsi: Option<Imsi>,
    },
    /// The access server begins anew (Accounting-On): no session of before is left.
    On,
    /// The access server ends (Accounting-Off): no session is left.
    Off,
}

/// Why a request binds and releases nothing. It is answered all the same: sent again it would say no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Its status type is missing, or none of a session's or access server's beginning, end and going on.
    StatusType,
    /// Its access point leads to no network. Its address must not be taken for one of another network: private pools
    /// overlap, and the address may be another SIM's there (B-ID-3).
    UnknownApn,
    /// It names no SIM. Calling-Station-Id is no help: it is the telephone number.
    NoImsi,
    /// It gives no address, as a session that has none yet.
    NoAddress,
    /// It names no session.
    NoSession,
    /// Its access point leads to a network that its client may not speak of.
    ForeignNetwork,
    /// Its access server is none that its client may speak of.
    ForeignNas,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Where it sends from.
    pub address: IpAddr,
    /// Who that is.
    pub client: &'a Client,
    /// Who there is besides.
    pub clients: &'a Clients,
}

/// What a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What happened.
    pub event: AccountingEvent,
    /// Whether its times are not about now, so that the time of its arrival was taken instead (B-ID-7).
    pub is_clock_wrong: bool,
}

/// What stands in a request, the first of each kind.
#[derive(Default)]
struct Found<'a> {
    status_type: Option<u32>,
    session_id: Option<&'a [u8]>,
    multi_session_id: Option<&'a [u8]>,
    nas_ipv4: Option<Ipv4Addr>,
    nas_ipv6: Option<Ipv6Addr>,
    nas_identifier: Option<&'a [u8]>,
    apn: Option<&'a [u8]>,
    user_name: Option<&'a [u8]>,
    imsi: Option<Imsi>,
    imei: Option<Imei>,
    timestamp_seconds: Option<u32>,
    delay_seconds: Option<u32>,
    blocks: Vec<IpNet>,
}

/// What a request says that came at `now_ms` since the Unix epoch.
///
/// # Errors
/// Why there is nothing to it.
pub fn read(
    attributes: Attributes<'_>,
    sender: Sender<'_>,
    networks: &Networks,
    now_ms: i64,
) -> Result<Reading, Ignored> {
    let found = Found::read(attributes);
    let act = match found.status_type {
        Some(1) => found.bind(true, networks)?,
        Some(2) => Act::Stop {
            session_id: found.session_id()?,
            imsi: found.imsi(),
        },
        Some(3) => found.bind(false, networks)?,
        Some(7) => Act::On,
        Some(8) => Act::Off,
        _ => return Err(Ignored::StatusType),
    };
    let Sender {
        address,
        client,
        clients,
    } = sender;
    let spoken = clients.spoken(client, &found.names(address));
    let Spoken { nas, client: owner } = spoken.ok_or(Ignored::ForeignNas)?;
    if let Act::Bind { network, .. } = &act
        && !client.networks.contains(network)
    {
        return Err(Ignored::ForeignNetwork);
    }
    let (time_ms, is_clock_wrong) = found.time_ms(now_ms);
    let event = AccountingEvent {
        nas,
        client: owner,
        networks: Arc::clone(&client.networks),
        request: None,
        time_ms,
        own_ms: found.own_ms(),
        act,
    };
    Ok(Reading {
        event,
        is_clock_wrong,
    })
}

impl<'a> Found<'a> {
    fn read(attributes: Attributes<'a>) -> Self {
        let mut found = Self::default();
        for attribute in attributes {
            found.take(attribute);
        }
        // The addresses of a device's own prefix go without saying.
        let all = found.blocks.clone();
        let is_inside = |block: &IpNet| {
            let mut others = all.iter().filter(|other| *other != block);
            others.any(|other| other.contains(block))
        };
        found.blocks.retain(|block| !is_inside(block));
        found
    }

    fn take(&mut self, Attribute { kind, value }: Attribute<'a>) {
        match kind {
            USER_NAME => self.user_name = self.user_name.or(Some(value)),
            NAS_IP_ADDRESS => self.nas_ipv4 = self.nas_ipv4.or_else(|| ipv4(value)),
            FRAMED_IP_ADDRESS => self.give(ipv4(value).and_then(framed_ipv4)),
            VENDOR_SPECIFIC => self.take_3gpp(value),
            CALLED_STATION_ID => self.apn = self.apn.or(Some(value)),
            NAS_IDENTIFIER => self.nas_identifier = self.nas_identifier.or(Some(value)),
            ACCT_STATUS_TYPE => self.status_type = self.status_type.or_else(|| number(value)),
            ACCT_DELAY_TIME => self.delay_seconds = self.delay_seconds.or_else(|| number(value)),
            ACCT_SESSION_ID => self.session_id = self.session_id.or(Some(value)),
            ACCT_MULTI_SESSION_ID => self.multi_session_id = self.multi_session_id.or(Some(value)),
            EVENT_TIMESTAMP => {
                self.timestamp_seconds = self.timestamp_seconds.or_else(|| number(value));
            }
            NAS_IPV6_ADDRESS => self.nas_ipv6 = self.nas_ipv6.or_else(|| ipv6(value)),
            FRAMED_IPV6_PREFIX => self.give(framed_prefix(value)),
            FRAMED_IPV6_ADDRESS => self.give(ipv6(value).and_then(framed_ipv6)),
            // Delegated-IPv6-Prefix (123) among them: it is what a router behind the SIM gives on to others.
            _ => {}
        }
    }

    fn take_3gpp(&mut self, value: &'a [u8]) {
        let Some(list) = value.strip_prefix(&VENDOR_3GPP) else {
            return;
        };
        for Attribute { kind, value } in Attributes::new(list) {
            match kind {
                THREEGPP_IMSI => self.imsi = self.imsi.or_else(|| identity::imsi(value)),
                THREEGPP_IMEISV => self.imei = self.imei.or_else(|| identity::imei(value)),
                _ => {}
            }
        }
    }

    fn give(&mut self, block: Option<IpNet>) {
        let block = block.filter(|block| !self.blocks.contains(block));
        if self.blocks.len() < RADIUS_BLOCKS {
            self.blocks.extend(block);
        }
    }

    fn bind(&self, is_start: bool, networks: &Networks) -> Result<Act, Ignored> {
        let session_id = self.session_id()?;
        let apn = text(self.apn.unwrap_or_default());
        let network = networks.find(&apn).ok_or(Ignored::UnknownApn)?;
        let imsi = self.imsi().ok_or(Ignored::NoImsi)?;
        if self.blocks.is_empty() {
            return Err(Ignored::NoAddress);
        }
        Ok(Act::Bind {
            is_start,
            session_id,
            multi_session_id: text(self.multi_session_id.unwrap_or_default()),
            network: Arc::clone(network),
            apn,
            imsi,
            imei: self.imei,
            blocks: self.blocks.clone(),
        })
    }

    fn imsi(&self) -> Option<Imsi> {
        let of_user_name = || identity::imsi_of_user_name(self.user_name?);
        self.imsi.or_else(of_user_name)
    }

    fn session_id(&self) -> Result<Arc<str>, Ignored> {
        let session_id = self.session_id.filter(|value| !value.is_empty());
        session_id.map(text).ok_or(Ignored::NoSession)
    }

    /// The access server's names, the one that it is known by first. Its own word counts, not the sender's address, which
    /// may be one of several proxies'.
    fn names(&self, client: IpAddr) -> Vec<Arc<str>> {
        let mut names = Vec::with_capacity(2);
        names.extend(self.nas_ipv4.map(|address| Arc::from(address.to_string())));
        names.extend(self.nas_ipv6.map(|address| Arc::from(address.to_string())));
        let name = self.nas_identifier.map(text);
        names.extend(name.filter(|name| !name.is_empty()));
        if names.is_empty() {
            names.push(Arc::from(client.to_canonical().to_string()));
        }
        names
    }

    fn own_ms(&self) -> Option<i64> {
        let seconds = self.timestamp_seconds?;
        Some(i64::from(seconds).saturating_mul(1000))
    }

    /// When it happened, and whether that is not what the access server says: its clock is believed while it shows about
    /// now, or as long ago as it says that it tries to tell; otherwise it happened that long ago (B-ID-7). A clock that
    /// goes fast must not make its events outlive those of others.
    fn time_ms(&self, now_ms: i64) -> (i64, bool) {
        let delay_seconds = self.delay_seconds.unwrap_or(0);
        let is_delay_wrong = delay_seconds > RADIUS_DELAY_SECONDS_MAX;
        let delay_ms = if is_delay_wrong {
            0
        } else {
            i64::from(delay_seconds).saturating_mul(1000)
        };
        let told_ms = now_ms.saturating_sub(delay_ms);
        match self.own_ms() {
            Some(own_ms) if own_ms.abs_diff(told_ms) <= RADIUS_CLOCK_MS => {
                (own_ms.min(now_ms), is_delay_wrong)
            }
            Some(_) => (told_ms, true),
            None => (told_ms, is_delay_wrong),
        }
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    number(value).map(Ipv4Addr::from_bits)
}

fn ipv6(value: &[u8]) -> Option<Ipv6Addr> {
    let bytes: [u8; 16] = value.try_into().ok()?;
    Some(Ipv6Addr::from(bytes))
}

/// 255.255.255.254 and .255 leave the choice to somebody else (RFC 2865, section 5.8).
fn framed_ipv4(address: Ipv4Addr) -> Option<IpNet> {
    let is_one = !address.is_unspecified() && address.to_bits() < 0xffff_fffe;
    is_one.then(|| IpNet::from(IpAddr::V4(address)))
}

fn framed_ipv6(address: Ipv6Addr) -> Option<IpNet> {
    let is_one = !address.is_unspecified() && !address.is_multicast();
    is_one.then(|| IpNet::from(IpAddr::V6(address).to_canonical()))
}

/// A reserved byte, a length in bits, and as many bytes of the prefix as the sender thought fit.
fn framed_prefix(value: &[u8]) -> Option<IpNet> {
    let [_, bits, start @ ..] = value else {
        return None;
    };
    let mut bytes = [0; 16];
    bytes.get_mut(..start.len())?.copy_from_slice(start);
    // A prefix that holds more than any one device has would make one SIM of many.
    let bits = Some(*bits).filter(|bits| *bits >= DEVICE_PREFIX_BITS_MIN)?;
    let prefix = Ipv6Net::new(Ipv6Addr::from(bytes), bits).ok()?.trunc();
    framed_ipv6(prefix.addr()).map(|_| IpNet::V6(prefix))
}

/// Text; some gateways end it as C does.
fn text(value: &[u8]) -> Arc<str> {
    let text = String::from_utf8_lossy(value);
    Arc::from(text.trim_end_matches('\0'))
}

#[cfg(test)]
mod tests;
