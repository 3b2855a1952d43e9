//! Open5GS: which SIM has which address, asked of its SMF (`GET /pdu-info`). A URL in, all sessions at one moment out; it
//! keeps no database and changes nothing there.

mod page;
mod poller;
mod url;

use ipnet::IpNet;
use ringbeam_proto::identity::{Imei, Imsi};

pub use page::{InvalidPage, Page};
pub use poller::{PollError, Poller};
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
