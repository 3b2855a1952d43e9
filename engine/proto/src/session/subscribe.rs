//! A session's subscriptions: filters are rewritten, and the quality of service is what the platform
//! version asks for.

use super::{Front, Session, Side, canonical_first_byte};
use crate::error::{Forbidden, Offence};
use crate::frame::Varint;
use crate::output::Output;
use crate::packet::subscribe::{Entry, Filters};
use crate::packet::{Kind, Qos};
use crate::rewrite::{changes_subscribed, subscribed};

impl Session {
    /// Passes a SUBSCRIBE or UNSUBSCRIBE of the device.
    pub(super) fn filters(
        &self,
        front: Front<'_>,
        kind: Kind,
        body: &[u8],
        output: &mut Output,
    ) -> Result<(), Offence> {
        let filters = Filters::read(kind, body, self.version(Side::Device))?;
        let changed = filters.entries().any(|entry| {
            changes_subscribed(&self.opening.rules.topics, entry.filter)
                || entry.options != self.options(&entry)
        });
        if !changed {
            self.forward(front, output);
            return Ok(());
        }
        let mut body_bytes = filters.before.len();
        for entry in filters.entries() {
            let option_bytes = usize::from(entry.options.is_some());
            body_bytes = body_bytes
                .saturating_add(2)
                .saturating_add(usize::from(self.filter_length(entry.filter)?))
                .saturating_add(option_bytes);
        }
        let length = Varint::encode(body_bytes).ok_or(Forbidden::TooLarge)?;
        self.check_upstream_size(
            body_bytes
                .saturating_add(length.as_bytes().len())
                .saturating_add(1),
        )?;
        let first = front.header.first;
        output.insert(&[if self.is_translated() {
            canonical_first_byte(first)
        } else {
            first
        }]);
        output.insert(length.as_bytes());
        output.insert(filters.before);
        for entry in filters.entries() {
            output.insert(&self.filter_length(entry.filter)?.to_be_bytes());
            for segment in subscribed(
                &self.opening.rules.topics,
                &self.opening.identity,
                entry.filter,
            ) {
                output.insert(segment.text(entry.filter).as_bytes());
            }
            if let Some(options) = self.options(&entry) {
                output.insert(&[options]);
            }
        }
        Ok(())
    }

    /// How long a filter becomes.
    fn filter_length(&self, filter: &str) -> Result<u16, Forbidden> {
        let bytes = subscribed(&self.opening.rules.topics, &self.opening.identity, filter)
            .map(|segment| segment.len())
            .fold(0, usize::saturating_add);
        u16::try_from(bytes).map_err(|_| Forbidden::TopicFilter)
    }

    /// B-VER-2: the options that go upstream.
    fn options(&self, entry: &Entry<'_>) -> Option<u8> {
        let options = entry.options?;
        // B-ERR-6: what is none the upstream sees for itself.
        let Ok(requested) = Qos::from_bits(options) else {
            return Some(options);
        };
        let asked = self.opening.rules.platform.subscription_qos(requested);
        // B-509-1: MQTT 3.1 ignores the upper bits, 3.1.1 reserves them.
        let upper = if self.is_translated() {
            0
        } else {
            options & !0b11
        };
        Some(upper | asked.bits())
    }
}
