//! RADIUS: a packet core tells by accounting requests which SIM has which address (B-ID-1). Datagrams in; events to
//! whoever keeps them, and answers once they are kept, out. It knows nothing of fleets, databases or sessions' ends.

mod answers;
mod clients;
mod counters;
mod event;
mod identity;
mod networks;
mod packet;
mod server;
mod told;

pub use clients::{Client, Clients};
pub use counters::{Count, Counters};
pub use event::{AccountingEvent, Act, Ignored, Reading, RequestId, Sender, read};
pub use networks::Networks;
pub use packet::{Attribute, Attributes, Code, Malformed, Packet};
pub use server::{Kept, NotStored, Settings, Sink, bind, serve};
