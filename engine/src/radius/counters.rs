//! Counters: what became of every datagram, by reason, since the start. Written by the server, read by whoever is asked.

use std::sync::atomic::{AtomicU64, Ordering};

use super::event::Ignored;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// What can become of a datagram.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[$doc])* $name,)*
        }

        impl Count {
            /// Every one, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As metrics call it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        /// One number for each [`Count`].
        #[derive(Debug, Default)]
        pub struct Counters([AtomicU64; Count::ALL.len()]);
    };
}

counts! {
    /// A request whose event was stored, and which was answered.
    Stored "stored",
    /// One that was answered already, and was again.
    Repeated "repeated",
    /// A Status-Server that was answered.
    Status "status",
    /// A request that says nothing of sessions and addresses, answered: its status type is another.
    OtherStatus "ignored_status_type",
    /// One whose access point leads to no network, answered.
    UnknownApn "ignored_unknown_apn",
    /// One that names no SIM, answered.
    NoImsi "ignored_no_imsi",
    /// One that gives no address, answered.
    NoAddress "ignored_no_address",
    /// One that names no session, answered.
    NoSession "ignored_no_session",
    /// One whose access point leads to a network that its client may not speak of, answered.
    ForeignNetwork "ignored_foreign_network",
    /// One of an access server that its client may not speak of, answered.
    ForeignNas "ignored_foreign_nas",
    /// One that would end sessions of an access server of which another client told, stored and answered.
    ForeignSession "ignored_foreign_session",
    /// One that gave or ended something long ago, answered again and without effect.
    Replayed "ignored_replayed",
    /// One whose time was not about now, stored with the time at which it was told.
    WrongClock "wrong_clock",
    /// One without a time, or whose time is not about now, where that is asked for: no answer.
    NoTimestamp "dropped_no_event_timestamp",
    /// One without a Message-Authenticator where that is asked for: no answer.
    Unsigned "dropped_no_message_authenticator",
    /// One that came again while it was being stored; its answer comes then.
    Storing "dropped_storing",
    /// One whose event could not be stored: no answer, so that it comes again.
    NotStored "dropped_not_stored",
    /// One from an address that no client has.
    UnknownClient "dropped_unknown_client",
    /// One whose sender does not know the secret.
    WrongAuthenticator "dropped_wrong_authenticator",
    /// One that is no RADIUS packet.
    Malformed "dropped_malformed",
    /// One that asks for something else.
    OtherCode "dropped_other_code",
    /// An answer that the kernel did not take; the request comes again.
    Unsent "answers_unsent",
}

impl Counters {
    /// One more.
    pub fn count(&self, count: Count) {
        self.add(count, 1);
    }

    /// That many more.
    pub fn add(&self, count: Count, more: u64) {
        if let Some(number) = self.number(count) {
            number.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn value(&self, count: Count) -> u64 {
        let number = self.number(count);
        number.map_or(0, |number| number.load(Ordering::Relaxed))
    }

    /// All of them by name.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Count::ALL.iter();
        all.map(|count| (count.name(), self.value(*count)))
    }

    fn number(&self, count: Count) -> Option<&AtomicU64> {
        self.0.get(count as usize)
    }
}

impl From<Ignored> for Count {
    fn from(reason: Ignored) -> Self {
        match reason {
            Ignored::StatusType => Self::OtherStatus,
            Ignored::UnknownApn => Self::UnknownApn,
            Ignored::NoImsi => Self::NoImsi,
            Ignored::NoAddress => Self::NoAddress,
            Ignored::NoSession => Self::NoSession,
            Ignored::ForeignNetwork => Self::ForeignNetwork,
            Ignored::ForeignNas => Self::ForeignNas,
        }
    }
}
