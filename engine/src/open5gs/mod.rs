//! Open5GS: which SIM has which address, asked of its SMF (`GET /pdu-info`). A URL in, all sessions at one moment out; it
//! keeps no database and changes nothing there.

mod page;
mod poller;
mod url;

use ipnet::IpNet;
use ringbeam_proto::identity::{Imei, Imsi};

pub use page::{InvalidPage, Odd, Page};
pub use poller::{List, PollError, Poller};
pub use url::{InvalidUrl, Url};

/// One address block of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The SIM.
    pub imsi: Imsi,
    /// Its modem, where that is told.
    pub imei: Option<Imei>,
    /// The addresses.
    pub block: IpNet,
    /// The data network's or access point's name; empty where that is not told.
    pub dnn: String,
}

/// Something of a SIM's that cannot be read. The SIM has a session, so that what it had before is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The SIM.
    pub imsi: Imsi,
    /// The data network's or access point's name, where that can be read.
    pub dnn: Option<String>,
    /// Whether it is an address of IPv4 or of IPv6; `None` may be either.
    pub is_v4: Option<bool>,
}

impl Unread {
    /// Whatever this SIM has.
    const fn all_of(imsi: Imsi) -> Self {
        Self {
            imsi,
            dnn: None,
            is_v4: None,
        }
    }

    /// Whether a block that the SIM had at this name may be what cannot be read.
    #[must_use]
    pub fn may_be(&self, imsi: &Imsi, block: &IpNet, dnn: &str) -> bool {
        self.imsi == *imsi
            && self.dnn.as_deref().is_none_or(|own| own == dnn)
            && self
                .is_v4
                .is_none_or(|is_v4| is_v4 == matches!(block, IpNet::V4(_)))
    }
}
