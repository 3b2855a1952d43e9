//! Sealing: the TLS of a leg. Records come in and go out; what is in clear counts as sent when the kernel has
//! the last of its records.

use crate::tls::{Link, TlsError, Workspace};

/// A connection's TLS, open.
#[derive(Debug)]
pub(super) struct Sealing {
    link: Box<Link>,
    /// Whether nothing was sent yet.
    is_fresh: bool,
    /// What it said when it failed.
    failure: Option<String>,
}

impl Sealing {
    pub(super) fn new(link: Box<Link>) -> Box<Self> {
        Box::new(Self {
            link,
            is_fresh: true,
            failure: None,
        })
    }

    pub(super) const fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// What came in clear before this.
    pub(super) fn take_clear(&mut self) -> Vec<u8> {
        self.link.take_clear()
    }

    /// Opens records, appends what is in them, and says whether the peer has closed. Answers of TLS itself are
    /// in [`Self::outgoing`] then.
    pub(super) fn open(
        &mut self,
        records: &mut [u8],
        clear: &mut Vec<u8>,
    ) -> Result<bool, TlsError> {
        match self.link.open(records, clear) {
            Ok(()) => Ok(self.link.has_peer_closed()),
            Err(error) => {
                self.failure = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// The peer closed without saying so.
    pub(super) fn was_cut(&mut self) {
        let failure = || "it closed without ending TLS".to_owned();
        self.failure.get_or_insert_with(failure);
    }

    /// Turns bytes in clear into records, behind those that wait.
    pub(super) fn seal<'a>(
        &mut self,
        workspace: &mut Workspace,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), TlsError> {
        let sealed = self.link.seal(workspace, slices);
        if let Err(error) = &sealed {
            // What failed first is the reason.
            self.failure.get_or_insert_with(|| error.to_string());
        }
        sealed
    }

    /// Records to be sent.
    pub(super) fn outgoing(&self) -> &[u8] {
        self.link.outgoing()
    }

    /// They are with the kernel, or were taken. True the first time.
    pub(super) fn sent(&mut self, workspace: &mut Workspace) -> bool {
        let count = self.link.outgoing().len();
        self.link.sent(workspace, count);
        count > 0 && std::mem::take(&mut self.is_fresh)
    }

    /// Takes records to be sent, from a place on, for somebody else who sends them.
    pub(super) fn take(&mut self, workspace: &mut Workspace, from: usize) -> Vec<u8> {
        let records = self.outgoing().get(from..).unwrap_or_default().to_vec();
        self.sent(workspace);
        records
    }

    /// Says that nothing more will be sent.
    pub(super) fn close(&mut self) {
        self.link.close();
    }
}
